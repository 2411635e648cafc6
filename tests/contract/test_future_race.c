/* SPDX-License-Identifier: MIT */
/*
 * Futures between threads and workers: M2-M5, B18, B23. Threads start at a barrier; each round is a
 * fresh future.
 */
#include <errno.h>

#include "contract.h"
#include "jd_test.h"

static jd_future *new_future(jd_runtime *rt)
{
    jd_future *f = NULL;

    cr_assert_eq(jd_future_new(rt, &f), 0);
    return f;
}

struct setters {
    jd_future *f;
    atomic_uint winners;
    atomic_long winner;
};

static void set_or_cancel(unsigned index, void *arg)
{
    struct setters *s = arg;
    int err = index == 0 ? jd_future_cancel(s->f, "raced")
                         : jd_future_set(s->f, jd_ok_num((intptr_t)index));

    if (err == 0) {
        atomic_fetch_add(&s->winners, 1);
        atomic_store(&s->winner, (long)index);
    } else {
        cr_assert_eq(err, -EALREADY);
    }
}

Test(future_race, m2_of_many_completers_exactly_one_wins)
{
    jd_runtime *rt = runtime_of(1, 0);
    static struct crew crew;

    for (unsigned long i = jd_test_rounds(100); i > 0; i--) {
        struct setters s = { .f = new_future(rt) };
        jd_result r;

        crew_start(&crew, 6, set_or_cancel, &s);
        crew_join(&crew);
        cr_assert_eq(atomic_load(&s.winners), 1);
        cr_assert_eq(jd_future_result(s.f, &r), 0);
        cr_assert_eq(jd_future_cancelled(s.f), atomic_load(&s.winner) == 0);
        if (atomic_load(&s.winner) != 0)
            cr_assert_eq(r.num, atomic_load(&s.winner));
        jd_future_unref(s.f);
    }
    runtime_end(rt);
}

struct callback_race {
    jd_future *f;
    atomic_int ran, removed;
    bool remove;
};

static void count_run(jd_future *f, void *arg)
{
    struct callback_race *c = arg;

    cr_assert_eq(jd_future_done(f), 1);
    atomic_fetch_add(&c->ran, 1);
}

static void add_against_set(unsigned index, void *arg)
{
    struct callback_race *c = arg;

    if (index == 0)
        cr_assert_eq(jd_future_set(c->f, jd_ok(NULL)), 0);
    else if (c->remove)
        atomic_fetch_add(&c->removed, jd_future_remove_done_callback(c->f, count_run, c));
    else
        cr_assert_eq(jd_future_add_done_callback(c->f, count_run, c), 0);
}

static jd_result nothing(void *arg)
{
    (void)arg;
    return jd_ok(NULL);
}

Test(future_race, m4_a_callback_added_while_it_completes_runs_exactly_once)
{
    jd_runtime *rt = runtime_of(2, 0);
    static struct crew crew;
    static struct callback_race rounds[100];
    unsigned long n = jd_test_rounds(100);

    cr_assert_eq(jd_runtime_start(rt), 0);
    for (unsigned long i = 0; i < n; i++) {
        rounds[i].f = new_future(rt);
        crew_start(&crew, 3, add_against_set, &rounds[i]);
        crew_join(&crew);
        jd_future_unref(rounds[i].f);
    }
    cr_assert_eq(jd_runtime_call(rt, nothing, NULL).error, 0);
    runtime_end(rt);
    for (unsigned long i = 0; i < n; i++)
        cr_assert_eq(atomic_load(&rounds[i].ran), 2, "round %lu", i);
}

Test(future_race, m5_a_callback_is_removed_or_runs_never_both)
{
    jd_runtime *rt = runtime_of(2, 0);
    static struct crew crew;
    static struct callback_race rounds[100];
    unsigned long n = jd_test_rounds(100);

    cr_assert_eq(jd_runtime_start(rt), 0);
    for (unsigned long i = 0; i < n; i++) {
        rounds[i].f = new_future(rt);
        rounds[i].remove = true;
        cr_assert_eq(jd_future_add_done_callback(rounds[i].f, count_run, &rounds[i]), 0);
        cr_assert_eq(jd_future_add_done_callback(rounds[i].f, count_run, &rounds[i]), 0);
        crew_start(&crew, 3, add_against_set, &rounds[i]);
        crew_join(&crew);
        jd_future_unref(rounds[i].f);
    }
    runtime_end(rt);
    for (unsigned long i = 0; i < n; i++)
        cr_assert_eq(atomic_load(&rounds[i].ran) + atomic_load(&rounds[i].removed), 2);
}

struct long_callback {
    jd_future *f;
    sem_t inside, go_on;
    atomic_int over;
};

static void block_in_callback(jd_future *f, void *arg)
{
    struct long_callback *c = arg;

    (void)f;
    gate_open(&c->inside);
    gate_pass(&c->go_on);
    atomic_store(&c->over, 1);
}

static void open_late(unsigned index, void *arg)
{
    struct long_callback *c = arg;

    if (index == 1) {
        gate_open(&c->go_on);
        return;
    }
    cr_assert_eq(jd_future_remove_done_callback_wait(c->f, block_in_callback, c), 0);
    cr_assert_eq(atomic_load(&c->over), 1, "it still runs");
}

Test(future_race, b11_a_waiting_remove_on_a_plain_thread_outlasts_the_running_callback)
{
    jd_runtime *rt = runtime_of(2, 0);
    static struct crew crew;
    struct long_callback c = { .f = new_future(rt) };

    cr_assert_eq(sem_init(&c.inside, 0, 0) | sem_init(&c.go_on, 0, 0), 0);
    cr_assert_eq(jd_runtime_start(rt), 0);
    cr_assert_eq(jd_future_add_done_callback(c.f, block_in_callback, &c), 0);
    cr_assert_eq(jd_future_set(c.f, jd_ok(NULL)), 0);
    gate_pass(&c.inside);
    cr_assert_eq(jd_future_remove_done_callback(c.f, block_in_callback, &c), 0);
    crew_start(&crew, 2, open_late, &c);
    crew_join(&crew);
    jd_future_unref(c.f);
    runtime_end(rt);
}

static jd_result await_it(void *arg)
{
    return jd_await((jd_future *)arg);
}

struct awaited {
    jd_runtime *rt;
    jd_future *f;
};

static void await_everywhere(unsigned index, void *arg)
{
    struct awaited *a = arg;

    if (index == 0)
        cr_assert_eq(jd_future_set(a->f, jd_ok_num(11)), 0);
    else if (index < 3)
        cr_assert_eq(jd_await(a->f).num, 11);
    else
        cr_assert_eq(jd_runtime_call(a->rt, await_it, a->f).num, 11);
}

Test(future_race, b18_m2_tasks_and_threads_await_one_future_everywhere)
{
    jd_runtime *home = runtime_of(1, 0), *other = runtime_of(2, 0);
    static struct crew crew;

    cr_assert_eq(jd_runtime_start(other), 0);
    for (unsigned long i = jd_test_rounds(60); i > 0; i--) {
        struct awaited a = { other, new_future(home) };

        crew_start(&crew, 5, await_everywhere, &a);
        crew_join(&crew);
        jd_future_unref(a.f);
    }
    runtime_end(other);
    runtime_end(home);
}

#define CROWD 100

static void count_call(jd_future *f, void *arg)
{
    (void)f;
    atomic_fetch_add((atomic_int *)arg, 1);
}

static jd_result crowd_main(void *arg)
{
    jd_future *f = NULL;
    jd_task *t[CROWD];
    atomic_int calls[4] = { 0 };

    (void)arg;
    cr_assert_eq(jd_future_new(NULL, &f), 0);
    for (unsigned i = 0; i < CROWD; i++) {
        if (i % 25 == 0)
            cr_assert_eq(jd_future_add_done_callback(f, count_call, &calls[i / 25]), 0);
        t[i] = jd_spawn(await_it, f);
        yields(1);
    }
    cr_assert_eq(jd_future_set(f, jd_ok_num(4)), 0);
    for (unsigned i = 0; i < CROWD; i++)
        cr_assert_eq(jd_join(t[i]).num, 4);
    yields(1);
    for (unsigned i = 0; i < 4; i++)
        cr_assert_eq(atomic_load(&calls[i]), 1);
    jd_future_unref(f);
    return jd_ok(NULL);
}

Test(future_race, a_crowd_of_awaiters_and_callbacks_is_served_once_each)
{
    cr_assert_eq(run_fifo(crowd_main, NULL).error, 0);
    cr_assert_eq(run_workers(1, crowd_main, NULL).error, 0);
}

struct ref_race {
    jd_future *f;
    atomic_int ran;
};

static void count_ran(jd_future *f, void *arg)
{
    (void)f;
    atomic_fetch_add((atomic_int *)arg, 1);
}

static void drop_in_any_state(unsigned index, void *arg)
{
    struct ref_race *r = arg;

    if (index == 0)
        (void)jd_future_set(r->f, jd_ok(NULL));
    else if (index == 1)
        cr_assert_eq(jd_future_add_done_callback(r->f, count_ran, &r->ran), 0);
    jd_future_unref(r->f);
}

Test(future_race, b23_the_last_reference_goes_in_any_state_on_any_thread)
{
    jd_runtime *rt = runtime_of(2, 0);
    static struct crew crew;
    static struct ref_race rounds[100];
    unsigned long n = jd_test_rounds(100);

    cr_assert_eq(jd_runtime_start(rt), 0);
    for (unsigned long i = 0; i < n; i++) {
        rounds[i].f = new_future(rt);
        (void)jd_future_ref(rounds[i].f);
        (void)jd_future_ref(rounds[i].f);
        crew_start(&crew, 3, drop_in_any_state, &rounds[i]);
        crew_join(&crew);
    }
    runtime_end(rt);
    for (unsigned long i = 0; i < n; i++)
        cr_assert_eq(atomic_load(&rounds[i].ran), 1);
}

struct end_race {
    jd_runtime *rt;
    jd_future *f[8];
};

static void complete_at_the_end(unsigned index, void *arg)
{
    struct end_race *e = arg;

    if (index == 0) {
        cr_assert_eq(jd_runtime_free(e->rt), 0);
        return;
    }
    (void)jd_future_set(e->f[index], index % 2 ? jd_ok(NULL) : jd_err(-EIO));
    jd_future_unref(e->f[index]);
}

/* A late completion finds its runtime alive or gone: callbacks and reports run or are dropped. */
Test(future_race, b20_l17_completions_while_the_runtime_is_freed)
{
    static struct crew crew;

    for (unsigned long i = jd_test_rounds(60); i > 0; i--) {
        struct end_race e = { .rt = runtime_of(1, 0) };
        atomic_int ran = 0;

        sink_install(e.rt);
        for (unsigned k = 1; k < 5; k++) {
            e.f[k] = new_future(e.rt);
            cr_assert_eq(jd_future_add_done_callback(e.f[k], count_ran, &ran), 0);
        }
        crew_start(&crew, 5, complete_at_the_end, &e);
        crew_join(&crew);
    }
}

/* All wakes of one future by a completer that races with timeouts. */
static void wait_a_moment(unsigned index, void *arg)
{
    jd_future *f = arg;
    int err;

    if (index == 0) {
        cr_assert_eq(jd_future_set(f, jd_ok(NULL)), 0);
        return;
    }
    err = jd_future_wait(f, JD_US(20) * (int64_t)index);
    cr_assert(err == 0 || err == -ETIMEDOUT);
    cr_assert_eq(jd_await(f).error, 0);
}

Test(future_race, a_timeout_that_races_with_the_completion_loses_nothing)
{
    jd_runtime *rt = runtime_of(1, 0);
    static struct crew crew;

    for (unsigned long i = jd_test_rounds(60); i > 0; i--) {
        jd_future *f = new_future(rt);

        crew_start(&crew, 4, wait_a_moment, f);
        crew_join(&crew);
        jd_future_unref(f);
    }
    runtime_end(rt);
}
