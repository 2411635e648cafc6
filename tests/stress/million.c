/* SPDX-License-Identifier: MIT */
/*
 * A million sleeping tasks, each with a guarded stack: what they cost and that all of them wake.
 * (A hundred thousand when quick; each costs the same.)
 *
 * Bounds, for one task that sleeps in its first frame, page tables included: 4.5 KiB with stacks of
 * 64 KiB, 4.8 KiB with the default of 256 KiB; the process has fewer than 1,000 mappings meanwhile.
 *
 * Rules
 *   1. Measured is the growth of VmRSS + VmPTE between the start of the main task and the moment
 *      when all tasks have counted themselves as asleep (and none of them is due yet).
 *   2. All sleep until one and the same point in time. While the machine is too slow to start them
 *      all before it, the point moves; who wakes too early sleeps again.
 *   3. Plain builds on kernels with lightweight guards only (6.13), with memory to spare: elsewhere
 *      the test says why it does not run.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/utsname.h>

#include <jackdaw/jackdaw.h>

#include "footprint.h"
#include "jd_test.h"

#define TASKS_MAX 1000000L
#define MEMORY_KIB (8L << 20) /* free memory that the test asks for */
#define VMAS_MAX 1000

struct crowd {
    long tasks;
    int64_t step_ns;      /* the point moves so far at a time */
    int64_t margin_ns;    /* and when it is so near */
    _Atomic int64_t when; /* all sleep until then */
    _Atomic long asleep;
    _Atomic long woken;
};

struct bill {
    long tasks;
    double bytes_each;
    double rss_each, tables_each;
    unsigned vmas;
    long early;   /* awake before the others were asleep */
    long refused; /* spawns that answered NULL */
    long woken;
    double spawn_ns, wake_ns; /* per task */
};

/* KiB of the line that starts with key in a file of /proc. */
static long proc_kib(const char *file_name, const char *key)
{
    FILE *file = fopen(file_name, "re");
    char line[256];
    long kib = 0;

    while (file && fgets(line, sizeof(line), file))
        if (strncmp(line, key, strlen(key)) == 0)
            kib = strtol(line + strlen(key), NULL, 10);
    if (file)
        (void)fclose(file);
    return kib;
}

/* By whoever goes to sleep: its own place in line says how the machine keeps up. */
static void postpone(struct crowd *c)
{
    int64_t when = atomic_load_explicit(&c->when, memory_order_relaxed);

    if (jd_now() > when - c->margin_ns)
        (void)atomic_compare_exchange_strong(&c->when, &when, when + c->step_ns);
}

static jd_result sleeper(void *arg)
{
    struct crowd *c = arg;
    int64_t when;
    int err;

    postpone(c);
    atomic_fetch_add_explicit(&c->asleep, 1, memory_order_relaxed);
    do { /* bounded: the point stops moving when all are asleep */
        when = atomic_load(&c->when);
        err = jd_sleep_until(when);
    } while (err == 0 && when != atomic_load(&c->when));
    if (err == 0)
        atomic_fetch_add_explicit(&c->woken, 1, memory_order_relaxed);
    return jd_ok(NULL);
}

static void measure(struct bill *bill, long rss, long tables)
{
    double tasks = (double)bill->tasks;

    bill->rss_each = (double)(proc_kib("/proc/self/status", "VmRSS:") - rss) * 1024.0 / tasks;
    bill->tables_each = (double)(proc_kib("/proc/self/status", "VmPTE:") - tables) * 1024.0 / tasks;
    bill->bytes_each = bill->rss_each + bill->tables_each;
    bill->vmas = footprint_mappings();
}

static void crowd_run(struct crowd *c, struct bill *bill)
{
    long rss = proc_kib("/proc/self/status", "VmRSS:");
    long tables = proc_kib("/proc/self/status", "VmPTE:");
    int64_t start = jd_now();

    atomic_store(&c->when, start + c->step_ns);
    for (long i = 0; i < c->tasks; i++)
        bill->refused += jd_spawn_detached(sleeper, c) != 0;
    while (atomic_load(&c->asleep) < c->tasks - bill->refused)
        (void)jd_sleep(JD_MS(5)); /* 0: nobody cancels us */
    bill->spawn_ns = (double)(jd_now() - start) / (double)c->tasks;
    measure(bill, rss, tables);
    bill->early = atomic_load(&c->woken);
    (void)jd_sleep_until(c->when);
    while (atomic_load(&c->woken) < c->tasks - bill->refused)
        (void)jd_sleep(JD_MS(5));
    bill->wake_ns = (double)(jd_now() - c->when) / (double)c->tasks;
    bill->woken = atomic_load(&c->woken);
}

static jd_result main_task(void *arg)
{
    static struct crowd crowd;
    struct bill *bill = arg;

    crowd.tasks = bill->tasks;
    crowd.step_ns = jd_test_quick() ? JD_MS(1200) : JD_SEC(4);
    crowd.margin_ns = jd_test_quick() ? JD_MS(800) : JD_MS(1500);
    crowd_run(&crowd, bill);
    return jd_ok(NULL);
}

static void skip_where_it_makes_no_sense(void)
{
    struct utsname kernel;
    int major = 0, minor = 0;

    if (!jd_test_is_plain())
        jd_test_skip("a million tasks: not under sanitizers and valgrind");
    if (uname(&kernel) || sscanf(kernel.release, "%d.%d", &major, &minor) != 2 ||
        major * 1000 + minor < 6013)
        jd_test_skip("a million tasks: guards without mappings need Linux 6.13");
    if (proc_kib("/proc/meminfo", "MemAvailable:") < MEMORY_KIB)
        jd_test_skip("a million tasks: less than 8 GiB of memory are free");
}

static void million(size_t stack_bytes, double kib_max)
{
    jd_config cfg = JD_CONFIG_INIT;
    struct bill bill = { .tasks = jd_test_quick() ? TASKS_MAX / 10 : TASKS_MAX };

    skip_where_it_makes_no_sense();
    cfg.workers = 2;
    cfg.stack_bytes = stack_bytes;
    cr_assert_eq(jd_run(main_task, &bill, &cfg).error, 0);
    fprintf(stderr,
            "# %zu KiB stacks: %.0f B each (%.0f resident, %.0f page tables), %u mappings, "
            "spawned in %.0f ns and woken in %.0f ns each\n",
            stack_bytes / 1024, bill.bytes_each, bill.rss_each, bill.tables_each, bill.vmas,
            bill.spawn_ns, bill.wake_ns);
    cr_assert_eq(bill.early, 0);
    cr_assert_eq(bill.refused, 0);
    cr_assert_eq(bill.woken, bill.tasks);
    cr_expect_lt(bill.vmas, VMAS_MAX);
    cr_expect_leq(bill.bytes_each, kib_max * 1024, "%.0f B for each task", bill.bytes_each);
}

Test(million, stacks_of_64_kib, .timeout = 60)
{
    million((size_t)64 << 10, 4.5);
}

Test(million, default_stacks, .timeout = 60)
{
    million((size_t)256 << 10, 4.8);
}
