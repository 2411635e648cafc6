/* SPDX-License-Identifier: MIT */
/*
 * Strict overcommit (vm.overcommit_memory=2) is used up: the kernel refuses memory that may be
 * written. Spawns answer -ENOMEM, what runs goes on, ended tasks make room, and once there is memory
 * again it is as before.
 *
 * The setting is the whole machine's, so a filter gives that answer to this process: ENOMEM for an
 * mprotect() that opens memory for writing, and for a private writable mmap(). Reservations
 * (PROT_NONE) are free, as they are for the kernel. Sanitizers cannot live with refused mappings of
 * their own, so there only stacks are refused: writable mprotect().
 */
#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <jackdaw/jackdaw.h>

#include "filter.h"
#include "footprint.h"
#include "jd_test.h"
#include "refused.h"

#define CROWD 200
#define ROUNDS 5
#define SPAWNS_MAX 2000 /* far more than what was opened before can hold */
#define WIDE_STACK ((size_t)1 << 20)

/* --- The kernel's answers ----------------------------------------------------------------------- */

static struct {
    atomic_bool short_of_memory;
    atomic_long refused;
} kernel;

static int judge_mapping(long number, const uint64_t args[6], void *arg)
{
    bool private = number != SYS_mmap || (args[3] & MAP_PRIVATE);

    (void)arg;
    if (!atomic_load(&kernel.short_of_memory) || !(args[2] & PROT_WRITE) || !private)
        return 0;
    atomic_fetch_add(&kernel.refused, 1);
    return ENOMEM;
}

static void judge(bool heap_too)
{
    static const long calls[] = { SYS_mprotect, SYS_mmap };

    filter_judge_calls(calls, heap_too ? 2 : 1, judge_mapping, NULL);
}

/* --- Tasks that run all the time ----------------------------------------------------------------- */

struct pair {
    int ends[2];
    atomic_long rounds;
    atomic_bool stop;
};

static jd_result echo_back(void *arg)
{
    struct pair *p = arg;
    ssize_t n;
    char byte;

    while ((n = jd_recv(p->ends[1], &byte, 1, 0)) == 1) /* until the other end is closed */
        cr_assert_eq(jd_send_all(p->ends[1], &byte, 1), 0);
    cr_assert_eq(n, 0, "%s", jd_strerror((int)n));
    return jd_ok(NULL);
}

static jd_result play(void *arg)
{
    struct pair *p = arg;
    char byte = 'b';

    while (!atomic_load(&p->stop)) { /* until told */
        cr_assert_eq(jd_send_all(p->ends[0], &byte, 1), 0);
        cr_assert_eq(jd_recv(p->ends[0], &byte, 1, 0), 1);
        atomic_fetch_add(&p->rounds, 1);
    }
    return jd_ok_num(jd_close(p->ends[0]));
}

static void await_rounds(struct pair *p, long more)
{
    long from = atomic_load(&p->rounds);

    while (atomic_load(&p->rounds) < from + more) /* bounded by the test's time */
        cr_assert_eq(jd_yield(), 0);
}

/* --- Tasks that wait -------------------------------------------------------------------------------- */

struct crowd {
    jd_sem gate;
    atomic_long ended;
    long size;
};

static jd_result wait_at_gate(void *arg)
{
    struct crowd *c = arg;

    cr_assert_eq(jd_sem_acquire(&c->gate), 0);
    atomic_fetch_add(&c->ended, 1);
    return jd_ok(NULL);
}

/* Until max, or until one is refused; the error of that one. */
static int crowd_add(struct crowd *c, long max)
{
    int err = 0;

    for (long i = 0; i < max && err == 0; i++) {
        err = jd_spawn_detached(wait_at_gate, c);
        c->size += err == 0;
    }
    return err;
}

static void crowd_release(struct crowd *c, long n)
{
    cr_assert_eq(jd_sem_release_n(&c->gate, (unsigned)n), 0);
    c->size -= n;
    while (atomic_load(&c->ended) < n) /* bounded by the test's time */
        cr_assert_eq(jd_yield(), 0);
    atomic_store(&c->ended, 0);
}

static jd_result answer(void *arg)
{
    (void)jd_yield(); /* 0: nobody cancels */
    return jd_ok(arg);
}

/* A stack larger than the runtime's default is of a pool of its own. */
static bool can_spawn_wide(void)
{
    jd_task_options wide = JD_TASK_OPTIONS_INIT;
    jd_task *t;

    wide.stack_bytes = WIDE_STACK;
    t = jd_spawn_with(answer, &wide, &wide);
    if (!t)
        return false;
    cr_assert_eq(jd_join(t).ptr, (void *)&wide);
    return true;
}

/* --- The test ---------------------------------------------------------------------------------------- */

/* From "memory is short" to "there is some again". */
static void one_shortage(struct crowd *c, struct pair *p)
{
    long before = c->size, refused = atomic_load(&kernel.refused);
    jd_group g;

    atomic_store(&kernel.short_of_memory, true);
    cr_assert_eq(crowd_add(c, SPAWNS_MAX), -ENOMEM, "the filter did not bite");
    cr_assert_gt(atomic_load(&kernel.refused), refused, "somebody else said ENOMEM");
    for (int i = 0; i < 20; i++)
        cr_assert_eq(crowd_add(c, 1), -ENOMEM);
    jd_group_open(&g, 0, JD_FOREVER);
    cr_assert_eq(jd_group_spawn(&g, answer, NULL), -ENOMEM);
    cr_assert_eq(jd_group_close(&g), 0);
    await_rounds(p, 50);
    if (c->size > before) /* what was given is complete */
        crowd_release(c, c->size - before);
    crowd_release(c, 40);
    cr_assert_eq(crowd_add(c, 20), 0, "what ended makes room");
    atomic_store(&kernel.short_of_memory, false);
    cr_assert_eq(crowd_add(c, CROWD), 0);
    cr_assert(can_spawn_wide());
    crowd_release(c, CROWD - 20);
    await_rounds(p, 10);
}

static jd_result shortages(void *arg)
{
    struct crowd c = { .size = 0 };
    struct pair p = { .ends = { -1, -1 } };
    jd_task *echo, *player;

    cr_assert_eq(jd_sem_init(&c.gate, 0), 0);
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, p.ends), 0);
    cr_assert_not_null(echo = jd_spawn(echo_back, &p));
    cr_assert_not_null(player = jd_spawn(play, &p));
    await_rounds(&p, 2); /* a descriptor's first operation needs memory */
    atomic_store(&kernel.short_of_memory, true);
    cr_assert_not(can_spawn_wide(), "its pool has nothing yet");
    atomic_store(&kernel.short_of_memory, false);
    cr_assert_eq(crowd_add(&c, CROWD), 0);
    for (int i = 0; i < ROUNDS; i++) {
        one_shortage(&c, &p);
        cr_assert_eq(c.size, CROWD);
    }
    crowd_release(&c, CROWD);
    atomic_store(&p.stop, true);
    cr_assert_eq(jd_join(player).error, 0);
    cr_assert_eq(jd_join(echo).error, 0);
    cr_assert_eq(jd_close(p.ends[1]), 0);
    return jd_ok(arg);
}

static void run_shortages(unsigned reactor)
{
    jd_config cfg = JD_CONFIG_INIT;
    long before = footprint_mapped_bytes();
    jd_result r;

    cfg.flags = JD_NO_ENV;
    cfg.reactor = reactor;
    cfg.workers = 2;
    r = jd_run(shortages, NULL, &cfg); /* its end asserts that no stack is missing */
    skip_if_refused(cfg.reactor, r.error);
    cr_assert_eq(r.error, 0, "%s", jd_strerror(r.error));
    cr_assert_lt(footprint_mapped_bytes() - before, 512L << 20,
                 "a region of stacks is still mapped");
    atomic_store(&kernel.short_of_memory, true);
    r = jd_run(answer, NULL, &cfg);
    cr_assert_eq(r.error, -ENOMEM, "%s", jd_strerror(r.error));
    atomic_store(&kernel.short_of_memory, false);
    r = jd_run(answer, &cfg, &cfg);
    cr_assert_eq(r.ptr, (void *)&cfg);
}

Test(overcommit, stacks_are_refused_uring, .timeout = 20)
{
    judge(false);
    run_shortages(JD_REACTOR_URING);
}

Test(overcommit, stacks_are_refused_epoll, .timeout = 20)
{
    judge(false);
    run_shortages(JD_REACTOR_EPOLL);
}

Test(overcommit, all_memory_is_refused, .timeout = 20)
{
    if (!jd_test_is_plain())
        jd_test_skip("sanitizers cannot live with refused mappings of their own");
    judge(true);
    run_shortages(JD_REACTOR_EPOLL);
}

/* What a run needs was taken when the runtime was made; only more threads are not to be had. */
static void count_report(const jd_report *r, void *arg)
{
    cr_expect(strstr(r->message, "goes on without it") != NULL, "%s", r->message);
    ++*(int *)arg;
}

Test(overcommit, a_runtime_that_was_made_can_run)
{
    jd_config cfg = JD_CONFIG_INIT;
    jd_runtime *rt;
    jd_result r;
    jd_task *t;
    int reports = 0;

    if (!jd_test_is_plain())
        jd_test_skip("sanitizers cannot live with refused mappings of their own");
    judge(true);
    cfg.flags = JD_NO_ENV;
    cfg.workers = 2;
    cr_assert_eq(jd_runtime_new(&cfg, &rt), 0);
    jd_set_error_handler(rt, count_report, &reports);
    cr_assert_not_null(t = jd_runtime_spawn(rt, answer, &cfg, NULL));
    atomic_store(&kernel.short_of_memory, true);
    r = jd_run_until_complete(rt, jd_task_future(t));
    atomic_store(&kernel.short_of_memory, false);
    cr_assert_eq(r.error, 0, "%s", jd_strerror(r.error));
    cr_assert_eq(r.ptr, (void *)&cfg);
    cr_assert_eq(reports, 2, "the watchdog's thread and a worker's");
    jd_task_unref(t);
    cr_assert_eq(jd_runtime_free(rt), 0);
}

/* A worker whose thread has allocated nothing yet, when nothing is left: jemalloc would crash. */
struct first {
    atomic_bool here, go, done;
    int err;
};

static void allocate_first(void *arg)
{
    struct first *f = arg;
    jd_future *future = NULL;

    atomic_store(&f->here, true);
    while (!atomic_load(&f->go)) /* bounded by the test's time */
        sched_yield();
    f->err = jd_future_new(NULL, &future);
    if (f->err == 0)
        jd_future_unref(future);
    atomic_store(&f->done, true);
}

/* All that the allocator has: a list of blocks, ever smaller. */
static void *take_all_memory(void)
{
    void **all = NULL, **block;

    for (size_t bytes = (size_t)1 << 20; bytes >= sizeof(void *); bytes /= 2) {
        while ((block = malloc(bytes))) { /* bounded: no more is mapped */
            *block = (void *)all;
            all = block;
        }
    }
    return (void *)all;
}

static void give_all_memory(void *list)
{
    for (void **block = list, **next; block; block = next) {
        next = *block;
        free((void *)block);
    }
}

Test(overcommit, a_worker_allocates_for_the_first_time)
{
    struct first f = { .err = 1 };
    jd_config cfg = JD_CONFIG_INIT;
    jd_runtime *rt;
    void *all;

    if (!jd_test_is_plain())
        jd_test_skip("sanitizers cannot live with refused mappings of their own");
    judge(true);
    cfg.flags = JD_NO_ENV;
    cfg.workers = 2;
    cr_assert_eq(jd_runtime_new(&cfg, &rt), 0);
    cr_assert_eq(jd_call_soon(jd_runtime_loop(rt, 1), allocate_first, &f, NULL), 0);
    cr_assert_eq(jd_runtime_start(rt), 0);
    while (!atomic_load(&f.here)) /* bounded by the test's time */
        sched_yield();
    atomic_store(&kernel.short_of_memory, true);
    all = take_all_memory();
    atomic_store(&f.go, true);
    while (!atomic_load(&f.done)) /* as above */
        sched_yield();
    atomic_store(&kernel.short_of_memory, false);
    give_all_memory(all);
    cr_assert(f.err == 0 || f.err == -ENOMEM, "%d", f.err);
    jd_stop(rt);
    cr_assert_eq(jd_runtime_free(rt), 0);
}
