/* SPDX-License-Identifier: MIT */
/*
 * A pool's threads: the bound, how they come and go, what happens when the system refuses them.
 */
#include <stdlib.h>

#include "executor_rig.h"

#include "base/fault.h"
#include "base/rng.h"

/* --- The bound ---------------------------------------------------------------------------------- */

#define BOUND 5

struct crowd {
    atomic_int inside, most, ran;
    pthread_barrier_t *meet; /* that many must be inside at once */
};

static jd_result be_inside(void *arg)
{
    struct crowd *c = arg;
    int inside = atomic_fetch_add(&c->inside, 1) + 1, most = c->most;

    while (inside > most && !atomic_compare_exchange_weak(&c->most, &most, inside))
        ;
    if (c->meet)
        pthread_barrier_wait(c->meet);
    atomic_fetch_sub(&c->inside, 1);
    atomic_fetch_add(&c->ran, 1);
    return jd_ok(NULL);
}

static void submit_and_await(jd_executor *e, jd_fn fn, void *arg, unsigned n)
{
    jd_future **f = calloc(n, sizeof(jd_future *));

    for (unsigned i = 0; i < n; i++)
        cr_assert_not_null(f[i] = jd_run_in_executor(e, fn, arg));
    for (unsigned i = 0; i < n; i++) {
        cr_assert_eq(jd_future_wait(f[i], JD_FOREVER), 0);
        cr_assert_eq(jd_await(f[i]).error, 0);
        jd_future_unref(f[i]);
    }
    free(f);
}

static jd_result bound_body(void *arg)
{
    jd_executor *e = pool_of(BOUND);
    pthread_barrier_t meet;
    struct crowd c = { .meet = &meet };

    (void)arg;
    pthread_barrier_init(&meet, NULL, BOUND);
    submit_and_await(e, be_inside, &c, 40 * BOUND); /* blocking ones: all threads come */
    cr_assert_eq(c.most, BOUND);
    c.meet = NULL;
    submit_and_await(e, be_inside, &c, (unsigned)jd_test_rounds(20000)); /* short ones */
    cr_assert_eq(c.most, BOUND);
    cr_assert_leq(stats_of(e).threads, BOUND);
    pthread_barrier_destroy(&meet);
    pool_end(e);
    return jd_ok(NULL);
}

Test(threads, as_many_as_the_bound_and_never_more, .timeout = 30)
{
    cr_assert_eq(run_workers(2, bound_body, NULL).error, 0);
}

static jd_result sequential_body(void *arg)
{
    atomic_int ran = 0;

    (void)arg;
    for (int i = 0; i < 200; i++)
        cr_assert_eq(jd_to_thread(count_up, &ran).error, 0);
    cr_assert_eq(ran, 200);
    /* One that was preempted on its way back from a job is not waited for, hence some more. */
    cr_assert_leq(stats_of(NULL).threads, 8, "%u", stats_of(NULL).threads);
    cr_assert_eq(stats_of(NULL).started, 200);
    return jd_ok(NULL);
}

Test(threads, calls_one_after_the_other_share_a_thread)
{
    cr_assert_eq(run_workers(1, sequential_body, NULL).error, 0);
}

/* One at a time, and none of them beside another one, although submitters are many. */
static void submit_alone(unsigned index, void *arg)
{
    struct {
        jd_executor *e;
        struct crowd c;
    } *one = arg;

    (void)index;
    submit_and_await(one->e, be_inside, &one->c, (unsigned)jd_test_rounds(2000));
}

Test(threads, a_pool_of_one_runs_one_at_a_time, .timeout = 30)
{
    struct {
        jd_executor *e;
        struct crowd c;
    } one = { .e = pool_of(1) };
    struct crew crew;

    crew_start(&crew, 4, submit_alone, &one);
    crew_join(&crew);
    cr_assert_eq(one.c.most, 1);
    cr_assert_eq(one.c.ran, 4 * (int)jd_test_rounds(2000));
    pool_end(one.e);
}

/* Jobs of all lengths: whatever the lookouts think of the short ones, each long one gets a thread. */
static jd_result mixed_body(void *arg)
{
    jd_executor *e = pool_of(8);
    struct held h[4];
    jd_future *f[4];
    atomic_int ran = 0;

    (void)arg;
    for (int round = 0; round < (int)jd_test_rounds(50); round++) {
        for (int i = 0; i < 4; i++) {
            held_init(&h[i]);
            f[i] = jd_run_in_executor(e, held_run, &h[i]);
            cr_assert_not_null(f[i]);
            submit_and_await(e, count_up, &ran, 100);
        }
        for (int i = 0; i < 4; i++)
            await_begun(&h[i]); /* though all of them are held */
        for (int i = 3; i >= 0; i--) {
            gate_open(&h[i].gate);
            cr_assert_eq(jd_await(f[i]).error, 0);
            jd_future_unref(f[i]);
        }
    }
    pool_end(e);
    return jd_ok(NULL);
}

Test(threads, long_functions_do_not_hold_up_short_ones, .timeout = 30)
{
    cr_assert_eq(run_workers(2, mixed_body, NULL).error, 0);
}

/* --- Coming and going ------------------------------------------------------------------------------ */

static jd_result retire_body(void *arg)
{
    jd_executor *e = pool_of(6);
    pthread_barrier_t meet;
    struct crowd c = { .meet = &meet };

    (void)arg;
    pthread_barrier_init(&meet, NULL, 6);
    for (int round = 0; round < 2; round++) {
        submit_and_await(e, be_inside, &c, 6);
        cr_assert_eq(stats_of(e).threads, 6);
        while (stats_of(e).threads > 1) /* the others go by themselves, this one stays */
            cr_assert_eq(jd_sleep(JD_MS(5)), 0);
        cr_assert_eq(stats_of(e).idle, 1);
    }
    pthread_barrier_destroy(&meet);
    pool_end(e);
    return jd_ok(NULL);
}

Test(threads, go_when_there_is_nothing_to_do_and_come_again)
{
    cr_assert_eq(run_workers(1, retire_body, NULL).error, 0);
}

static jd_result wait_body(void *arg)
{
    jd_executor *e = pool_of(1);
    jd_executor_stats s;
    struct held h;
    jd_future *f, *behind;
    atomic_int ran = 0;

    (void)arg;
    held_init(&h);
    s = stats_of(e);
    cr_assert_eq(s.started, 0);
    cr_assert_eq(s.wait_p50, 0);
    f = jd_run_in_executor(e, held_run, &h);
    await_begun(&h);
    behind = jd_run_in_executor(e, count_up, &ran);
    cr_assert_eq(stats_of(e).queued, 1);
    cr_assert_eq(jd_sleep(JD_MS(20)), 0);
    gate_open(&h.gate);
    cr_assert_eq(jd_await(behind).error, 0);
    s = stats_of(e);
    cr_assert_eq(s.queued, 0);
    cr_assert_eq(s.started, 2);
    cr_assert_geq(s.wait_max, JD_MS(20));
    cr_assert_geq(s.wait_p99, s.wait_p50);
    cr_assert_leq(s.wait_p99, s.wait_max);
    jd_future_unref(f);
    jd_future_unref(behind);
    pool_end(e);
    return jd_ok(NULL);
}

Test(threads, time_in_the_queue_is_measured)
{
    cr_assert_eq(run_workers(1, wait_body, NULL).error, 0);
}

/* --- Refused ------------------------------------------------------------------------------------------ */

static jd_result refused_body(void *arg)
{
    jd_executor *e = pool_of(8);
    atomic_int ran = 0;
    jd_future *f = NULL;

    (void)arg;
    fault_arm(FAULT_THREAD, 0, UINT64_MAX);
    cr_assert_eq(jd_to_thread_with(e, count_up, &ran, 0).error, -EAGAIN);
    cr_assert_eq(jd_to_thread_with(e, count_up, &ran, JD_ABANDON).error, -EAGAIN);
    cr_assert_eq(jd_executor_submit(e, count_up, &ran, &f), -EAGAIN);
    cr_assert_null(jd_run_in_executor(e, count_up, &ran));
    cr_assert_null(f);
    cr_assert_eq(stats_of(e).refused, 4);
    cr_assert_eq(stats_of(e).queued, 0);
    fault_arm(FAULT_THREAD, 0, 0);
    cr_assert_eq(jd_to_thread_with(e, count_up, &ran, 0).error, 0); /* it comes round */
    cr_assert_eq(ran, 1);
    fault_arm(FAULT_THREAD, 0, UINT64_MAX);
    submit_and_await(e, count_up, &ran, 500); /* the work goes to the one that there is */
    cr_assert_eq(ran, 501);
    cr_assert_eq(stats_of(e).threads, 1);
    cr_assert_gt(stats_of(e).refused, 4);
    cr_assert_lt(stats_of(e).refused, 100, "it does not ask for each job");
    fault_arm(FAULT_THREAD, 0, 0);
    pool_end(e);
    return jd_ok(NULL);
}

Test(threads, refused_ones_leave_the_work_to_those_that_there_are)
{
    cr_assert_eq(run_workers(2, refused_body, NULL).error, 0);
}

static jd_result call_back(void *arg);

struct calling {
    jd_runtime *rt;
    jd_executor *e;
    atomic_int ran;
};

static jd_result needs_a_thread(void *arg)
{
    struct calling *c = arg;

    fault_arm(FAULT_THREAD, 0, UINT64_MAX);
    return jd_to_thread_with(c->e, count_up, &c->ran, 0);
}

static jd_result call_back(void *arg)
{
    struct calling *c = arg;

    return jd_runtime_call(c->rt, needs_a_thread, c);
}

static jd_result refused_inside_body(void *arg)
{
    struct calling c = { .rt = jd_runtime_current(), .e = pool_of(1) };

    (void)arg;
    cr_assert_eq(jd_to_thread_with(c.e, call_back, &c, 0).error, -EAGAIN);
    fault_arm(FAULT_THREAD, 0, 0);
    cr_assert_eq(c.ran, 0);
    cr_assert_eq(jd_to_thread_with(c.e, count_up, &c.ran, 0).error, 0);
    pool_end(c.e);
    return jd_ok(NULL);
}

Test(threads, where_all_wait_for_the_pool_a_refused_thread_is_an_error_and_no_deadlock)
{
    cr_assert_eq(run_workers(2, refused_inside_body, NULL).error, 0);
}

/* Submitters beside each other while every third thread is refused: all is accounted for. */
struct books {
    jd_executor *e;
    uint64_t seed;
    atomic_int accepted, ran, dropped, refused;
};

static void submit_under_refusals(unsigned index, void *arg)
{
    struct books *b = arg;
    struct rng rng;

    rng_seed(&rng, b->seed + index);
    for (unsigned long i = 0; i < jd_test_rounds(3000); i++) {
        jd_future *f = jd_run_in_executor(b->e, count_up, &b->ran);
        jd_result r;

        if (!f) {
            atomic_fetch_add(&b->refused, 1);
            continue;
        }
        atomic_fetch_add(&b->accepted, 1);
        if (rng_below(&rng, 4) == 0) /* else several are under way */
            cr_assert_eq(jd_future_wait(f, JD_FOREVER), 0);
        r = jd_await(f);
        cr_assert(r.error == 0 || r.error == -EAGAIN, "%d", r.error);
        atomic_fetch_add(&b->dropped, r.error != 0);
        jd_future_unref(f);
    }
}

Test(threads, nothing_is_lost_when_threads_are_refused_at_random, .timeout = 30)
{
    uint64_t seed = jd_test_seed();

    for (unsigned first = 0; first < 12; first++) {
        struct books b = { .e = pool_of(4), .seed = seed + first * CREW_MAX };
        struct crew crew;

        fault_arm(FAULT_THREAD, first % 4, 1 + first);
        crew_start(&crew, 4, submit_under_refusals, &b);
        crew_join(&crew);
        fault_arm(FAULT_THREAD, 0, 0);
        cr_assert_eq(b.accepted, b.ran + b.dropped, "%d accepted, %d ran, %d dropped", b.accepted,
                     b.ran, b.dropped);
        cr_assert_eq(b.accepted + b.refused, 4 * (int)jd_test_rounds(3000));
        pool_end(b.e);
    }
}
