/* SPDX-License-Identifier: MIT */
/*
 * Bugs in tasks that a sanitizer must see through our stacks, switches and ports; check_bugs.py runs
 * them and wants each one red. The suite names the sanitizer that must speak; a test of the suite
 * `clean` is the same program without its bug and must pass, so a report is not just noise.
 *
 * I1  Each bug is an ordinary one of a user, or of a port: nothing here calls a sanitizer.
 * I2  Tasks meet by relaxed flags, which order nothing: a race stays a race.
 */
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>

#include <jackdaw/jackdaw.h>

#include "jd_test.h"
#include "reactor/port.h"
#include "sched/worker.h"

#define LEAKS 8 /* a stale register or stack word may hide one, not all */

static char with_bug; /* as an argument: the other way is the clean one */

static jd_result run(unsigned workers, jd_fn fn)
{
    jd_config config = JD_CONFIG_INIT;

    config.workers = workers;
    return jd_run(fn, NULL, &config);
}

static void suspend(void)
{
    cr_assert_eq(jd_sleep(JD_MS(1)), 0);
}

/* --- A block is lost by a task that was suspended meanwhile ---------------------------------- */

static void *volatile block;

__attribute__((noinline)) static void lose_blocks(void)
{
    for (int i = 0; i < LEAKS; i++)
        block = malloc(1000);
    block = NULL;
}

static jd_result leaker(void *arg)
{
    (void)arg;
    suspend();
    lose_blocks();
    suspend();
    return jd_ok(NULL);
}

Test(asan, leak_in_a_task)
{
    cr_assert_eq(run(2, leaker).error, 0);
}

/* The only pointer to a block lives in the frame of a suspended task: no leak. */
static jd_result holder(void *arg)
{
    char *mine = malloc(1000);

    (void)arg;
    cr_assert_not_null(mine);
    suspend();
    free(mine);
    return jd_ok(NULL);
}

Test(clean, block_held_by_a_task)
{
    cr_assert_eq(run(2, holder).error, 0);
}

/* --- Frames of a task's stack ---------------------------------------------------------------- */

static int *volatile frame;

__attribute__((noinline)) static int local_of_a_call(bool after_return)
{
    volatile int local = 7;

    frame = (int *)(uintptr_t)&local;
    suspend(); /* the frame survives the switch, and maybe a change of the thread */
    return after_return ? 0 : *frame;
}

static jd_result returner(void *arg)
{
    int before = local_of_a_call(arg != NULL);

    suspend();
    return jd_ok_num(arg ? *frame : before);
}

static jd_result return_early(void *arg)
{
    (void)arg;
    return returner(&with_bug);
}

Test(asan, use_after_return)
{
    cr_assert_eq(run(2, return_early).num, 7);
}

Test(clean, use_before_return)
{
    cr_assert_eq(run(2, returner).num, 7);
}

static jd_result overrunner(void *arg)
{
    volatile char bytes[16];
    volatile char *volatile past = bytes + 16; /* UBSan knows the bounds of an array only */

    (void)arg;
    bytes[0] = 0;
    suspend();
    return jd_ok_num(*past);
}

Test(asan, overrun_on_a_task_stack)
{
    (void)run(2, overrunner);
}

static jd_result heap_user(void *arg)
{
    volatile char *bytes = malloc(16);

    (void)arg;
    cr_assert_not_null((void *)(uintptr_t)bytes);
    bytes[3] = 1;
    free((void *)(uintptr_t)bytes);
    suspend();
    return jd_ok_num(bytes[3]);
}

Test(asan, use_after_free_over_a_suspension)
{
    (void)run(2, heap_user);
}

/* --- Undefined arithmetic -------------------------------------------------------------------- */

static volatile int big = INT_MAX;

static jd_result overflower(void *arg)
{
    (void)arg;
    suspend();
    big = big + 1;
    return jd_ok(NULL);
}

Test(ubsan, overflow_in_a_task)
{
    (void)run(2, overflower);
}

/* --- Two tasks at once ----------------------------------------------------------------------- */

static volatile int shared; /* each access counts: one that is simultaneous may be missed */
static atomic_int arrived;
static atomic_int handed;

/* Both tasks are on a worker of their own: nobody leaves before the other one has come. */
static void meet(void)
{
    atomic_fetch_add_explicit(&arrived, 1, memory_order_relaxed);
    while (atomic_load_explicit(&arrived, memory_order_relaxed) < 2)
        ;
}

static jd_result racer(void *arg)
{
    (void)arg;
    meet();
    for (int i = 0; i < 1000; i++)
        shared++;
    return jd_ok(NULL);
}

/* Hand over by release and acquire: no race. */
static jd_result giver(void *arg)
{
    (void)arg;
    meet();
    shared = 1;
    atomic_store_explicit(&handed, 1, memory_order_release);
    return jd_ok(NULL);
}

static jd_result taker(void *arg)
{
    (void)arg;
    meet();
    while (!atomic_load_explicit(&handed, memory_order_acquire))
        ;
    shared++;
    return jd_ok(NULL);
}

static jd_result two_tasks(jd_fn first, jd_fn second)
{
    jd_task *a = jd_spawn(first, NULL), *b = jd_spawn(second, NULL);

    cr_assert_not_null(a);
    cr_assert_not_null(b);
    suspend(); /* a join would run them one after the other, here */
    cr_assert_eq(jd_join(a).error, 0);
    return jd_join(b);
}

static jd_result two_racers(void *arg)
{
    (void)arg;
    return two_tasks(racer, racer);
}

static jd_result giver_and_taker(void *arg)
{
    (void)arg;
    return two_tasks(giver, taker);
}

Test(tsan, race_of_two_workers)
{
    cr_assert_eq(run(2, two_racers).error, 0);
}

Test(clean, handed_over_between_workers)
{
    cr_assert_eq(run(2, giver_and_taker).error, 0);
    cr_assert_eq(shared, 2);
}

/* --- A port that writes after the op has ended ----------------------------------------------- */

static struct port_ops bad_port;
static const struct port_ops *good_port;
static void *late_buf;
static atomic_int freed;

/* As the kernel would if an op were completed before its last completion (op.h I2). */
static void *write_late(void *arg)
{
    while (!atomic_load_explicit(&freed, memory_order_relaxed))
        ;
    *(volatile char *)late_buf = 'x';
    return arg;
}

static bool bad_ask(struct port *p, struct op *op, uint8_t why)
{
    late_buf = op->buf;
    return good_port->ask(p, op, why);
}

static void misbehave(struct jd_runtime *rt)
{
    good_port = rt->reactor->ops;
    bad_port = *good_port;
    bad_port.ask = bad_ask;
    rt->reactor->ops = &bad_port;
}

/* The buffer is on the heap, and its owner ends with the read. */
static void read_until_cancelled(int fd)
{
    char *buf = calloc(1, 64);
    jd_scope scope;

    cr_assert_not_null(buf);
    jd_scope_open(&scope, JD_MS(2));
    cr_assert_eq(jd_recv(fd, buf, 64, 0), -ECANCELED);
    cr_assert_eq(jd_scope_close(&scope), -ETIMEDOUT);
    cr_assert_eq(buf[0], 0);
    free(buf);
}

static jd_result late_reader(void *arg)
{
    pthread_t kernel;
    int fds[2];

    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    if (arg)
        misbehave(jd_runtime_current());
    read_until_cancelled(fds[0]);
    if (arg) {
        cr_assert_eq(pthread_create(&kernel, NULL, write_late, NULL), 0);
        atomic_store_explicit(&freed, 1, memory_order_relaxed);
        pthread_join(kernel, NULL);
    }
    cr_assert_eq(jd_close(fds[0]), 0);
    cr_assert_eq(jd_close(fds[1]), 0);
    return jd_ok(NULL);
}

static jd_result late_reader_with_bad_port(void *arg)
{
    (void)arg;
    return late_reader(&with_bug);
}

Test(asan, write_after_a_cancelled_read)
{
    (void)run(2, late_reader_with_bad_port);
}

Test(clean, cancelled_read)
{
    cr_assert_eq(run(2, late_reader).error, 0);
}
