/* SPDX-License-Identifier: MIT */
/*
 * Everything at once, from a seed: a tree of tasks that spawn, join, await, cancel, sleep under
 * deadlines, fork, and use futures that plain threads complete. Checked: each task ends once, each
 * value arrives, a join returns only after the end, and nothing is left (the sanitizers and the
 * shutdown look at that).
 */
#include <errno.h>

#include "base/rng.h"
#include "contract.h"
#include "jd_test.h"

#define DEPTH 4
#define FUTURES 64

static struct mix {
    jd_future *futures[FUTURES];
    atomic_long started, ended;
} mix;

struct node {
    unsigned depth;
    uint64_t seed;
    atomic_int *ended; /* set right before the end; in the parent's frame */
};

static bool is_expected(int error)
{
    return error == 0 || error == -ECANCELED || error == -ETIMEDOUT;
}

static void wait_under_deadline(struct rng *rng)
{
    jd_scope s;
    int err, ended;

    jd_scope_open(&s, JD_US(rng_below(rng, 200)));
    switch (rng_below(rng, 4)) {
    case 0:
        err = jd_sleep(JD_US(rng_below(rng, 200)));
        break;
    case 1:
        err = jd_future_wait(mix.futures[rng_below(rng, FUTURES)], JD_US(rng_below(rng, 100)));
        break;
    case 2:
        err = jd_yield();
        break;
    default:
        err = jd_await(mix.futures[rng_below(rng, FUTURES)]).error;
        break;
    }
    ended = jd_scope_close(&s);
    cr_assert(is_expected(err), "%d", err);
    cr_assert(is_expected(ended), "%d", ended);
    if (ended)
        cr_assert_eq(err, -ECANCELED);
}

static jd_result forked(void *arg)
{
    (void)jd_sleep(JD_US((intptr_t)arg)); /* cancelled or not */
    return jd_ok(arg);
}

static void fork_some(struct rng *rng)
{
    jd_fork f[3];
    intptr_t values[3];

    for (unsigned i = 0; i < 3; i++) {
        values[i] = (intptr_t)rng_below(rng, 30);
        jd_fork_start(&f[i], forked, (void *)values[i]);
    }
    for (unsigned i = 3; i-- > 0;)
        cr_assert_eq(jd_fork_join(&f[i]).num, values[i]);
}

static jd_result grow(void *arg);

static jd_task *spawn_child(struct node *child, struct rng *rng)
{
    jd_task_options opt = JD_TASK_OPTIONS_INIT;
    static const unsigned flags[] = {
        0, 0, 0, 0, JD_TASK_PINNED, JD_TASK_EAGER, JD_TASK_PINNED | JD_TASK_EAGER, 0
    };

    opt.flags = flags[rng_below(rng, 8)];
    return jd_spawn_with(grow, child, &opt);
}

static void end_child(jd_task *t, struct node *child, struct rng *rng)
{
    jd_result r;

    if (rng_below(rng, 4) == 0)
        (void)jd_task_cancel(t, "mix"); /* -EALREADY: it has ended */
    if (rng_below(rng, 4) == 0) {
        (void)jd_await(t).error; /* may be ended by a cancel; the join is what counts */
        (void)jd_future_cancel_reason(jd_task_future(t));
    }
    r = jd_join(t);
    cr_assert(is_expected(r.error), "%d", r.error);
    cr_assert_eq(atomic_load(child->ended), 1, "joined before its end");
}

static void grow_children(struct node *self, struct rng *rng)
{
    struct node children[4];
    atomic_int ended[4];
    jd_task *tasks[4];
    unsigned n = 1 + rng_below(rng, 4);

    for (unsigned i = 0; i < n; i++) {
        atomic_init(&ended[i], 0);
        children[i] = (struct node){ self->depth + 1, rng_next(rng), &ended[i] };
        tasks[i] = spawn_child(&children[i], rng);
        cr_assert_not_null(tasks[i]);
    }
    for (unsigned i = 0; i < n; i++) {
        unsigned k = self->seed & 1 ? i : n - 1 - i;

        end_child(tasks[k], &children[k], rng);
    }
}

static jd_result grow(void *arg)
{
    struct node *self = arg;
    struct rng rng;

    atomic_fetch_add(&mix.started, 1);
    rng_seed(&rng, self->seed);
    for (unsigned i = rng_below(&rng, 4); i > 0; i--)
        wait_under_deadline(&rng);
    if (self->depth < DEPTH)
        grow_children(self, &rng);
    if (rng_below(&rng, 3) == 0)
        fork_some(&rng);
    atomic_fetch_add(&mix.ended, 1);
    atomic_store(self->ended, 1);
    return rng_below(&rng, 2) ? jd_ok_num((intptr_t)self->depth) : jd_err(-ECANCELED);
}

static jd_result mix_main(void *arg)
{
    atomic_int ended = 0;
    struct node root = { 0, *(uint64_t *)arg, &ended };

    (void)grow(&root).error; /* its outcome is random */
    cr_assert_eq(atomic_load(&mix.started), atomic_load(&mix.ended));
    return jd_ok(NULL);
}

static void complete_some(unsigned index, void *arg)
{
    (void)arg;
    for (unsigned i = index; i < FUTURES; i += 2)
        (void)jd_future_set(mix.futures[i], jd_ok_num((intptr_t)i)); /* may be cancelled */
}

static void mix_round(unsigned workers, unsigned flags, uint64_t seed)
{
    jd_runtime *rt = runtime_of(workers, flags);
    static struct crew crew;
    jd_task *t;

    sink_install(rt);
    for (unsigned i = 0; i < FUTURES; i++)
        cr_assert_eq(jd_future_new(rt, &mix.futures[i]), 0);
    t = jd_runtime_spawn(rt, mix_main, &seed, NULL);
    cr_assert_eq(jd_runtime_start(rt), 0);
    crew_start(&crew, 2, complete_some, NULL);
    crew_join(&crew);
    cr_assert_eq(jd_await(t).error, 0);
    jd_task_unref(t);
    for (unsigned i = 0; i < FUTURES; i++)
        jd_future_unref(mix.futures[i]);
    runtime_end(rt);
}

static void mix_rounds(unsigned workers, unsigned flags)
{
    uint64_t seed = jd_test_seed();

    for (unsigned long i = jd_test_rounds(100); i > 0; i--)
        mix_round(workers, flags, seed + i);
}

Test(mix, one_worker, .timeout = 30)
{
    mix_rounds(1, 0);
}

Test(mix, four_workers, .timeout = 30)
{
    mix_rounds(4, 0);
}

Test(mix, conformance_order_on_one_worker, .timeout = 30)
{
    mix_rounds(1, JD_FIFO);
}

Test(mix, conformance_order_on_three_workers, .timeout = 30)
{
    mix_rounds(3, JD_FIFO);
}

static atomic_int pings;

static jd_result ping(void *arg)
{
    for (unsigned i = 0; i < 200; i++) {
        int err = i % 16 ? jd_yield() : jd_sleep(JD_US(i % 5));

        if (err)
            return jd_err(err);
        if (atomic_fetch_add(&pings, 1) % 97 == 96)
            jd_stop(jd_runtime_current());
    }
    return jd_ok(arg);
}

static jd_result ping_main(void *arg)
{
    jd_task *t[16];

    for (unsigned i = 0; i < 16; i++)
        t[i] = jd_spawn(ping, arg);
    for (unsigned i = 0; i < 16; i++)
        cr_assert_eq(jd_join(t[i]).error, 0);
    return jd_ok(NULL);
}

/* Stopped again and again by its tasks, with work on all workers, and resumed each time. */
static void stop_and_go(unsigned workers, unsigned flags)
{
    jd_runtime *rt = runtime_of(workers, flags);
    jd_task *t = jd_runtime_spawn(rt, ping_main, NULL, NULL);
    unsigned long stops = 0;
    jd_result r;

    do { /* bounded by the test's time limit */
        r = jd_run_until_complete(rt, jd_task_future(t));
        stops += r.error == -EAGAIN;
    } while (r.error == -EAGAIN);
    cr_assert_eq(r.error, 0);
    cr_assert_gt(stops, 0);
    cr_assert_eq(atomic_load(&pings), 16 * 200);
    jd_task_unref(t);
    runtime_end(rt);
}

Test(mix, l17_l5_runs_that_are_stopped_and_resumed_lose_nothing, .timeout = 30)
{
    stop_and_go(3, 0);
    atomic_store(&pings, 0);
    stop_and_go(1, JD_FIFO);
    atomic_store(&pings, 0);
    stop_and_go(3, JD_FIFO);
}

static void start_stop(unsigned index, void *arg)
{
    (void)index;
    for (unsigned long i = jd_test_rounds(60); i > 0; i--)
        cr_assert_eq(jd_runtime_call(arg, return_arg, (void *)i).num, (intptr_t)i);
}

Test(mix, a_started_runtime_is_freed_right_after_its_last_call, .timeout = 30)
{
    static struct crew crew;

    for (unsigned long i = jd_test_rounds(30); i > 0; i--) {
        jd_runtime *rt = runtime_of(3, i % 2 ? JD_PIN_WORKERS : 0);

        cr_assert_eq(jd_runtime_start(rt), 0);
        crew_start(&crew, 2, start_stop, rt);
        crew_join(&crew);
        runtime_end(rt);
    }
}
