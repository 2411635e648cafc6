/* SPDX-License-Identifier: MIT */
/*
 * A runtime without work costs nothing, and one that ended leaves nothing: invariants I7 and I8.
 *
 * quiet: four workers, a far timer and an armed recv. From 200 ms after the last work on, over three
 * seconds (one when quick; JD_TEST_IDLE_SECONDS), all threads but the measuring one together make at most two
 * context switches and use no CPU time.
 *
 * nothing_left: jd_run() again and again; threads, descriptors and mappings are what they were after
 * the first runs (which fill caches of libc and of the allocator).
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <jackdaw/jackdaw.h>

#include "footprint.h"
#include "jd_test.h"
#include "refused.h"

#define SWITCHES_MAX 2
#define WARM_UP_RUNS 5
#define RUNS 20

/* --- What the kernel says about the threads ------------------------------------------------- */

struct activity {
    long switches;
    long ticks; /* of CPU time, 10 ms each */
    int threads;
};

static void read_switches(const char *tid, struct activity *sum)
{
    char path[64], line[256];
    FILE *file;

    (void)snprintf(path, sizeof(path), "/proc/self/task/%.16s/status", tid);
    file = fopen(path, "re");
    while (file && fgets(line, sizeof(line), file)) {
        const char *at = strstr(line, "voluntary_ctxt_switches:"); /* in nonvoluntary_..., too */

        if (at)
            sum->switches += strtol(strchr(at, ':') + 1, NULL, 10);
    }
    if (file)
        (void)fclose(file);
}

static void read_ticks(const char *tid, struct activity *sum)
{
    char path[64], text[1024];
    long user = 0, system = 0;
    FILE *file;

    (void)snprintf(path, sizeof(path), "/proc/self/task/%.16s/stat", tid);
    file = fopen(path, "re");
    if (file && fgets(text, sizeof(text), file)) {
        const char *at = strrchr(text, ')'); /* the name may hold anything */

        if (at && sscanf(at, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %ld %ld", &user,
                         &system) == 2)
            sum->ticks += user + system;
    }
    if (file)
        (void)fclose(file);
}

/* Of all threads but this one. */
static struct activity activity_of_others(void)
{
    struct activity sum = { 0, 0, 0 };
    DIR *tasks = opendir("/proc/self/task");
    long self = syscall(SYS_gettid);

    cr_assert_not_null(tasks);
    for (struct dirent *entry; (entry = readdir(tasks));) {
        if (entry->d_name[0] == '.' || strtol(entry->d_name, NULL, 10) == self)
            continue;
        sum.threads++;
        read_switches(entry->d_name, &sum);
        read_ticks(entry->d_name, &sum);
    }
    closedir(tasks);
    return sum;
}

static void nap(int64_t ns)
{
    struct timespec ts = { .tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000 };

    /* tidy: allow nanosleep the quiet time is what is measured */
    while (nanosleep(&ts, &ts) != 0 && errno == EINTR) { /* the rest of it */
    }
}

/* --- quiet ------------------------------------------------------------------------------------ */

struct quiet {
    int near, far;
};

static jd_result work(void *arg)
{
    (void)arg;
    for (int i = 0; i < 50; i++)
        (void)jd_yield();
    return jd_ok(NULL);
}

static jd_result wait_for_byte(void *arg)
{
    struct quiet *q = arg;
    char byte;

    return jd_ok_num(jd_recv(q->near, &byte, 1, 0));
}

static jd_result far_timer(void *arg)
{
    (void)arg;
    return jd_err(jd_sleep(JD_SEC(3600)));
}

static jd_result do_work(void *arg)
{
    jd_task *tasks[64];

    (void)arg;
    for (int i = 0; i < 64; i++)
        tasks[i] = jd_spawn(work, NULL);
    for (int i = 0; i < 64; i++)
        cr_assert_eq(jd_join(tasks[i]).error, 0);
    return jd_ok(NULL);
}

static void expect_silence(void)
{
    const char *text = getenv("JD_TEST_IDLE_SECONDS");
    long seconds = text ? strtol(text, NULL, 10) : jd_test_quick() ? 1 : 3;
    struct activity before, after;

    nap(JD_MS(200)); /* the time the promise leaves */
    before = activity_of_others();
    nap(JD_SEC(seconds));
    after = activity_of_others();
    fprintf(stderr, "# %d threads, %ld s: %ld context switches, %ld ticks of CPU time\n",
            after.threads, seconds, after.switches - before.switches, after.ticks - before.ticks);
    cr_assert_eq(before.threads, after.threads);
    cr_assert_leq(after.switches - before.switches, SWITCHES_MAX);
    cr_assert_eq(after.ticks - before.ticks, 0);
}

static jd_runtime *runtime_on(unsigned reactor, unsigned workers)
{
    jd_config cfg = JD_CONFIG_INIT;
    jd_runtime *rt;
    int err;

    cfg.workers = workers;
    cfg.reactor = reactor;
    cfg.flags = JD_NO_ENV;
    err = jd_runtime_new(&cfg, &rt);
    skip_if_refused(cfg.reactor, err);
    cr_assert_eq(err, 0);
    return rt;
}

/* ThreadSanitizer has a thread that ticks, and its memory grows as it likes. */
static void only_our_threads(void)
{
    if (jd_test_is_tsan() || getenv("JD_TEST_SLOW"))
        jd_test_skip("the tool's own thread and memory would be counted");
}

static void quiet(unsigned reactor)
{
    static struct quiet q;
    jd_task *receiver, *sleeper;
    jd_runtime *rt;
    int ends[2];

    only_our_threads();
    rt = runtime_on(reactor, 4);
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    q = (struct quiet){ .near = ends[0], .far = ends[1] };
    cr_assert_eq(jd_runtime_start(rt), 0);
    receiver = jd_runtime_spawn(rt, wait_for_byte, &q, NULL);
    sleeper = jd_runtime_spawn(rt, far_timer, NULL, NULL);
    cr_assert_eq(jd_runtime_call(rt, do_work, NULL).error, 0);
    expect_silence();
    /* It is asleep, not dead: it serves at once, and then is silent again. */
    cr_assert_eq(write(q.far, "x", 1), 1);
    cr_assert_eq(jd_await(receiver).num, 1);
    expect_silence();
    jd_task_unref(receiver);
    (void)jd_task_cancel(sleeper, "the test is over");
    cr_assert_eq(jd_await(sleeper).error, -ECANCELED);
    jd_task_unref(sleeper);
    jd_stop(rt);
    cr_assert_eq(jd_runtime_free(rt), 0);
    close(q.near);
    close(q.far);
}

Test(idle, quiet_uring, .timeout = 60)
{
    quiet(JD_REACTOR_URING);
}

Test(idle, quiet_epoll, .timeout = 60)
{
    quiet(JD_REACTOR_EPOLL);
}

/* --- nothing_left ----------------------------------------------------------------------------- */

static jd_result some_of_everything(void *arg)
{
    struct quiet q;
    jd_task *receiver;
    int ends[2];

    (void)arg;
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    q = (struct quiet){ .near = ends[0], .far = ends[1] };
    receiver = jd_spawn(wait_for_byte, &q);
    (void)do_work(NULL);
    (void)jd_sleep(JD_MS(1));
    cr_assert_eq(jd_send(q.far, "x", 1, 0), 1);
    cr_assert_eq(jd_join(receiver).num, 1);
    cr_assert_eq(jd_close(q.near), 0);
    cr_assert_eq(jd_close(q.far), 0);
    cr_assert_eq(jd_spawn_detached(far_timer, NULL), 0); /* a leftover, cancelled at the end */
    return jd_ok(NULL);
}

static void run_once(unsigned reactor)
{
    jd_config cfg = JD_CONFIG_INIT;
    jd_result result;

    cfg.workers = 3;
    cfg.reactor = reactor;
    cfg.flags = JD_NO_ENV;
    result = jd_run(some_of_everything, NULL, &cfg);
    skip_if_refused(cfg.reactor, result.error);
    cr_assert_eq(result.error, 0);
}

static void nothing_left(unsigned reactor)
{
    unsigned threads, fds, vmas;

    only_our_threads();
    for (int i = 0; i < WARM_UP_RUNS; i++)
        run_once(reactor);
    threads = footprint_threads();
    fds = footprint_descriptors();
    vmas = footprint_mappings();
    for (int i = 0; i < RUNS; i++)
        run_once(reactor);
    cr_expect_eq(footprint_threads(), threads);
    cr_expect_eq(footprint_descriptors(), fds);
    /* The allocator may keep a little more or less; what grows with the runs is ours. */
    cr_expect_lt(footprint_mappings(), vmas + RUNS / 2, "%u mappings before, %u after", vmas,
                 footprint_mappings());
    fprintf(stderr, "# after %d more runs: %u mappings, before %u\n", RUNS, footprint_mappings(),
            vmas);
}

Test(idle, nothing_left_uring, .timeout = 30)
{
    nothing_left(JD_REACTOR_URING);
}

Test(idle, nothing_left_epoll, .timeout = 30)
{
    nothing_left(JD_REACTOR_EPOLL);
}
