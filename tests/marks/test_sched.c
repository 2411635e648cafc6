/* SPDX-License-Identifier: MIT */
/*
 * Marks of task/, sync/ and sched/. What depends on the order of things runs in simulation, seed after seed
 * until the mark was reached; the program's own promises are asserted for each of them.
 */
#include <errno.h>

#include "base/fault.h"
#include "chaos.h"
#include "contract.h"
#include "jd_test.h"
#include "marks.h"
#include "task/word.h"

#define SEEDS_MAX 5000u

/* --- task/ and sync/ ------------------------------------------------------------------------------ */

MARK_TEST(WAKE_BEFORE_PARK)
{
    struct task_word w = { 0 };
    uint32_t seq;

    word_reset(&w, WORD_RUNNING);
    seq = word_wait_begin(&w, /* cancellable= */ false);
    cr_assert_eq(word_wake(&w, seq, CAUSE_GRANTED), WAKE_WON, "who parks will queue the task");
    cr_assert_not(word_park(&w), "there is nothing to wait for");
    cr_assert_eq(word_cause(&w), CAUSE_GRANTED);
}

MARK_TEST(STALE_WAKE)
{
    struct task_word w = { 0 };
    uint32_t first, second;

    word_reset(&w, WORD_RUNNING);
    first = word_wait_begin(&w, /* cancellable= */ true);
    cr_assert_eq(word_wake(&w, first, CAUSE_CANCELLED), WAKE_WON);
    cr_assert_eq(word_wake(&w, first, CAUSE_GRANTED), WAKE_LOST, "it was cancelled");
    second = word_wait_begin(&w, /* cancellable= */ false);
    cr_assert_eq(word_wake(&w, first, CAUSE_TIMED_OUT), WAKE_LOST, "that wait is over");
    cr_assert_eq(word_cause(&w), CAUSE_NONE, "the second one is not");
    cr_assert_eq(word_wake(&w, second, CAUSE_GRANTED), WAKE_WON);
}

#define CROWD 100 /* more than one hold of a lock wakes */

static jd_future *gate;

static jd_result await_gate(void *arg)
{
    (void)arg;
    return jd_await(gate);
}

static jd_result open_gate(void *arg)
{
    jd_task *tasks[CROWD];

    (void)arg;
    cr_assert_eq(jd_future_new(NULL, &gate), 0);
    for (int i = 0; i < CROWD; i++)
        tasks[i] = jd_spawn(await_gate, NULL);
    yields(3); /* they wait now */
    cr_assert_eq(jd_future_set(gate, jd_ok_num(7)), 0);
    for (int i = 0; i < CROWD; i++)
        cr_assert_eq(jd_join(tasks[i]).num, 7);
    jd_future_unref(gate);
    return jd_ok(NULL);
}

MARK_TEST(WAKE_ROUNDS)
{
    cr_assert_eq(run_workers(1, open_gate, NULL).error, 0);
}

static jd_sem permits;

static jd_result take_permit(void *arg)
{
    (void)arg;
    return jd_err(jd_sem_acquire(&permits));
}

static jd_result give_many(void *arg)
{
    jd_task *tasks[CROWD];

    (void)arg;
    cr_assert_eq(jd_sem_init(&permits, 0), 0);
    for (int i = 0; i < CROWD; i++)
        tasks[i] = jd_spawn(take_permit, NULL);
    yields(3); /* they wait now */
    cr_assert_eq(jd_sem_release_n(&permits, CROWD), 0);
    for (int i = 0; i < CROWD; i++)
        cr_assert_eq(jd_join(tasks[i]).error, 0);
    cr_assert_eq(jd_sem_value(&permits), 0);
    return jd_ok(NULL);
}

MARK_TEST(GRANT_ROUNDS)
{
    cr_assert_eq(run_workers(1, give_many, NULL).error, 0);
}

/* A waiter that was cancelled and has not run since is still in the list, before the other one. */
static jd_result give_to_the_cancelled(void *arg)
{
    jd_task *first, *second;

    cr_assert_eq(jd_sem_init(&permits, 0), 0);
    first = jd_spawn(take_permit, NULL);
    second = jd_spawn(take_permit, NULL);
    yields(3); /* they wait now */
    cr_assert_eq(jd_task_cancel(first, NULL), 0);
    cr_assert_eq(jd_sem_release(&permits), 0);
    cr_assert_eq(jd_join(second).error, 0);
    cr_assert_eq(jd_join(first).error, -ECANCELED);
    cr_assert_eq(jd_sem_value(&permits), 0);
    return jd_ok(arg);
}

MARK_TEST(GRANT_LOST)
{
    cr_assert_eq(run_workers(1, give_to_the_cancelled, NULL).error, 0);
}

/* --- Stacks ----------------------------------------------------------------------------- */

/* Each of the crowd has a stack until the gate opens. */
static jd_result two_crowds(void *arg)
{
    for (int i = 0; i < 2; i++)
        cr_assert_eq(open_gate(NULL).error, 0);
    return jd_ok(arg);
}

MARK_TEST(STACK_CACHE_EMPTY)
{
    cr_assert_eq(run_workers(1, two_crowds, NULL).error, 0);
}

MARK_TEST(STACKS_SPILLED)
{
    cr_assert_eq(run_workers(1, two_crowds, NULL).error, 0);
}

/* --- Queues of ready tasks -------------------------------------------------------------------------- */

static jd_result join_at_once(void *arg)
{
    jd_task *t = jd_spawn(return_arg, arg);

    cr_assert_eq(jd_join(t).error, 0); /* runs it here: its entry is still in the queue */
    yields(2);
    return jd_ok(NULL);
}

MARK_TEST(STALE_ENTRY)
{
    cr_assert_eq(run_workers(1, join_at_once, NULL).error, 0);
}

#define MANY 1000 /* more than a ready queue holds at first */

static jd_result count_up(void *arg)
{
    (*(int *)arg)++;
    return jd_ok(NULL);
}

static jd_result spawn_many(void *arg)
{
    int ran = 0, given = 0;
    jd_task *tasks[MANY];

    fault_arm(FAULT_ALLOC, *(uint64_t *)arg, 1);
    for (int i = 0; i < MANY; i++)
        given += (tasks[i] = jd_spawn(count_up, &ran)) != NULL;
    fault_arm(FAULT_ALLOC, 0, 0);
    for (int i = MANY; i-- > 0;)
        if (tasks[i])
            cr_assert_eq(jd_join(tasks[i]).error, 0);
    cr_assert_eq(ran, given, "what was given was run");
    return jd_ok_num(given);
}

/* Of all allocations one is that of a bigger queue. */
MARK_TEST(QUEUE_OVERFLOW)
{
    for (uint64_t n = 0; n < 200 && !mark_rose(MARK_QUEUE_OVERFLOW); n++)
        cr_assert_geq(run_workers(1, spawn_many, &n).num, MANY - 200);
}

MARK_TEST(RECORDS_SPILLED)
{
    uint64_t nth = UINT64_MAX; /* none fails */

    cr_assert_eq(run_workers(1, spawn_many, &nth).num, MANY);
}

/* --- Forks ------------------------------------------------------------------------------------------ */

static jd_result suspend_beside_fork(void *arg)
{
    jd_fork f;

    jd_fork_start(&f, return_arg, arg);
    yields(1);
    cr_assert_eq(jd_fork_join(&f).ptr, arg);
    return jd_ok(NULL);
}

MARK_TEST(FORK_PROMOTED)
{
    cr_assert_eq(run_workers(1, suspend_beside_fork, WORD("x")).error, 0);
}

static jd_result join_the_older_first(void *arg)
{
    jd_fork older, younger;

    jd_fork_start(&older, return_arg, arg);
    jd_fork_start(&younger, return_arg, NULL);
    cr_assert_eq(jd_fork_join(&older).ptr, arg);
    cr_assert_null(jd_fork_join(&younger).ptr);
    return jd_ok(NULL);
}

MARK_TEST(FORK_OUT_OF_ORDER)
{
    cr_assert_eq(run_workers(1, join_the_older_first, WORD("x")).error, 0);
}

/* In simulation, from now on. */
static void simulate_until(enum mark_id m, jd_fn fn, void *arg, intptr_t result)
{
    uint64_t seed = 0;

    do {
        jd_result r = jd_sim_run(++seed, fn, arg, NULL);

        cr_assert_eq(r.error, 0, "seed %lu", (unsigned long)seed);
        cr_assert_eq(r.num, result, "seed %lu", (unsigned long)seed);
    } while (seed < SEEDS_MAX && !mark_rose(m));
}

static jd_result count_leaves(void *depth)
{
    intptr_t below = (intptr_t)depth - 1, sum;
    jd_fork left;

    (void)jd_checkpoint(); /* where others may run */
    if (below < 0)
        return jd_ok_num(1);
    jd_fork_start(&left, count_leaves, (void *)below);
    sum = count_leaves((void *)below).num;
    return jd_ok_num(sum + jd_fork_join(&left).num);
}

MARK_TEST(FORK_STOLEN)
{
    simulate_until(MARK_FORK_STOLEN, count_leaves, (void *)5, 32);
}

/* --- A worker that burns ---------------------------------------------------------------------------- */

static void burn(int64_t ns)
{
    for (int64_t end = jd_now() + ns; jd_now() < end;) { /* bounded: a look moves virtual time */
    }
}

static jd_task *start_here(jd_fn fn)
{
    jd_task_options o = JD_TASK_OPTIONS_INIT;

    o.flags = JD_TASK_EAGER;
    return jd_spawn_with(fn, NULL, &o);
}

static jd_result wake_and_burn(void *arg)
{
    jd_task *t;

    (void)arg;
    (void)jd_sem_init(&permits, 0);
    t = start_here(take_permit);
    (void)jd_sem_release(&permits); /* it lies in our slot now */
    burn(JD_MS(6));
    return jd_ok_num(jd_join(t).error);
}

MARK_TEST(LIFO_STOLEN)
{
    simulate_until(MARK_LIFO_STOLEN, wake_and_burn, NULL, 0);
}

static jd_result sleep_a_ms(void *arg)
{
    (void)arg;
    return jd_err(jd_sleep(JD_MS(1)));
}

static jd_result burn_beside_timer(void *arg)
{
    jd_task *t = start_here(sleep_a_ms);

    (void)arg;
    burn(JD_MS(6));
    return jd_ok_num(jd_join(t).error);
}

MARK_TEST(HELPED_STALE)
{
    simulate_until(MARK_HELPED_STALE, burn_beside_timer, NULL, 0);
}

/* --- Between the last look and the sleep -------------------------------------------------------------- */

MARK_TEST(STALE_PARK)
{
    static struct chaos c;
    uint64_t seed = 0;

    do {
        chaos_init(&c, ++seed);
        cr_assert_eq(jd_sim_run(seed, chaos_main, &c, NULL).error, 0);
        cr_assert_eq(c.wrong, 0, "seed %lu: chaos.c:%d", (unsigned long)seed, c.wrong);
        cr_assert_eq(c.started, c.ended, "seed %lu", (unsigned long)seed);
    } while (seed < SEEDS_MAX && !mark_rose(MARK_STALE_PARK));
}
