/* SPDX-License-Identifier: MIT */
/*
 * Callbacks, handles and timers: group A of the contract, from tasks and from plain threads.
 */
#include <errno.h>

#include "contract.h"
#include "footprint.h"
#include "jd_test.h"

static void count(void *arg)
{
    atomic_fetch_add((atomic_int *)arg, 1);
}

struct order {
    atomic_int next;
    atomic_int wrong;
};

struct numbered {
    struct order *order;
    int number;
};

static void in_order(void *arg)
{
    struct numbered *n = arg;

    if (atomic_fetch_add(&n->order->next, 1) != n->number)
        atomic_fetch_add(&n->order->wrong, 1);
}

#define SUBMITS 500
struct submitter {
    struct order order;
    struct numbered items[SUBMITS];
};
static struct submitter submitters[4];

static void submit(unsigned index, void *arg)
{
    struct submitter *s = &submitters[index];

    for (int i = 0; i < SUBMITS; i++) {
        s->items[i] = (struct numbered){ &s->order, i };
        cr_assert_eq(jd_call_soon(arg, in_order, &s->items[i], NULL), 0);
    }
}

static jd_result nothing(void *arg)
{
    (void)arg;
    return jd_ok(NULL);
}

static void submit_to(jd_runtime *rt, unsigned loop)
{
    static struct crew crew;

    crew_start(&crew, 4, submit, jd_runtime_loop(rt, loop));
    crew_join(&crew);
}

Test(callbacks, a1_a16_the_order_of_each_submitting_thread_is_kept_and_a_sleeping_loop_wakes)
{
    jd_runtime *rt = runtime_of(2, 0);

    cr_assert_eq(jd_runtime_start(rt), 0);
    submit_to(rt, 1);
    runtime_end(rt); /* drains what was posted */
    for (unsigned i = 0; i < 4; i++) {
        cr_assert_eq(atomic_load(&submitters[i].order.next), SUBMITS);
        cr_assert_eq(atomic_load(&submitters[i].order.wrong), 0);
    }
}

static void open_gate(void *arg)
{
    gate_open(arg);
}

Test(callbacks, a16_a_parked_loop_hears_of_each_callback_and_timer_of_a_plain_thread)
{
    jd_runtime *rt = runtime_of(2, 0);
    sem_t gate;

    cr_assert_eq(sem_init(&gate, 0, 0), 0);
    cr_assert_eq(jd_runtime_start(rt), 0);
    for (unsigned long i = jd_test_rounds(300); i > 0; i--) {
        jd_loop *loop = jd_runtime_loop(rt, (unsigned)i % 2);

        cr_assert_eq(jd_call_soon(loop, open_gate, &gate, NULL), 0);
        gate_pass(&gate);
        cr_assert_eq(jd_call_later(loop, JD_US(i % 300), open_gate, &gate, NULL), 0);
        gate_pass(&gate);
    }
    runtime_end(rt);
    sem_destroy(&gate);
}

static void s_calls(void *arg)
{
    jd_future *f = arg;

    cr_assert_null(jd_task_current());
    cr_assert_eq(jd_yield(), -EPERM);
    cr_assert_eq(jd_sleep(0), -EPERM);
    cr_assert_eq(jd_sleep(JD_SEC(1)), -EPERM);
    cr_assert_eq(jd_sleep_until(0), -EPERM);
    cr_assert_eq(jd_checkpoint(), -EPERM);
    cr_assert_eq(jd_future_wait(f, 0), -EPERM);
    cr_assert_eq(jd_await(f).error, -EPERM);
    cr_assert_eq(jd_await(jd_coro_of(nothing, NULL)).error, -EPERM);
    cr_assert_eq(jd_should_yield(), 0);
    cr_assert_eq(jd_deadline(), JD_FOREVER);
    cr_assert_eq(jd_run(nothing, NULL, NULL).error, -EBUSY);
    rec("ran");
}

static jd_result s_calls_main(void *arg)
{
    jd_future *f;
    jd_task *t = jd_spawn(sleep_forever, NULL);

    (void)arg;
    cr_assert_eq(jd_future_new(NULL, &f), 0);
    cr_assert_eq(jd_call_soon(jd_loop_current(), s_calls, f, NULL), 0);
    yields(1);
    jd_future_unref(f);
    jd_task_unref(t);
    return jd_ok(NULL);
}

Test(callbacks, a_suspending_call_in_a_callback_is_refused)
{
    cr_assert_eq(run_workers(1, s_calls_main, NULL).error, 0);
    cr_assert_str_eq(rec_text(), "ran");
}

struct long_callback {
    sem_t inside, go_on;
    atomic_int over;
    jd_handle *self;
};

static void long_running(void *arg)
{
    struct long_callback *c = arg;

    gate_open(&c->inside);
    gate_pass(&c->go_on);
    atomic_store(&c->over, 1);
}

static void cancel_late(unsigned index, void *arg)
{
    struct long_callback *c = arg;

    if (index == 0) {
        gate_open(&c->go_on);
        return;
    }
    cr_assert_eq(jd_handle_cancel_wait(c->self), 0);
    cr_assert_eq(atomic_load(&c->over), 1, "it still runs");
}

Test(callbacks, a17_cancel_wait_on_plain_threads_outlasts_the_running_callback)
{
    jd_runtime *rt = runtime_of(1, 0);
    static struct crew crew;
    static struct long_callback c;

    cr_assert_eq(sem_init(&c.inside, 0, 0) | sem_init(&c.go_on, 0, 0), 0);
    cr_assert_eq(jd_runtime_start(rt), 0);
    cr_assert_eq(jd_call_soon(jd_runtime_loop(rt, 0), long_running, &c, &c.self), 0);
    gate_pass(&c.inside);
    cr_assert_eq(jd_handle_cancel(c.self), 0, "it runs");
    cr_assert_eq(jd_handle_cancelled(c.self), 0);
    crew_start(&crew, 3, cancel_late, &c);
    crew_join(&crew);
    cr_assert_eq(jd_handle_cancel_wait(c.self), 0);
    jd_handle_unref(c.self);
    runtime_end(rt);
}

static jd_result wait_in_task(void *arg)
{
    struct long_callback *c = arg;

    cr_assert_eq(jd_handle_cancel_wait(c->self), 0);
    return jd_ok_num(atomic_load(&c->over));
}

Test(callbacks, a17_cancel_wait_in_a_task_suspends_it_while_the_callback_runs)
{
    jd_runtime *rt = runtime_of(2, 0);
    static struct long_callback c;
    jd_task *t;

    cr_assert_eq(sem_init(&c.inside, 0, 0) | sem_init(&c.go_on, 0, 0), 0);
    cr_assert_eq(jd_runtime_start(rt), 0);
    cr_assert_eq(jd_call_soon(jd_runtime_loop(rt, 0), long_running, &c, &c.self), 0);
    gate_pass(&c.inside);
    t = jd_runtime_spawn(rt, wait_in_task, &c, NULL);
    cr_assert_eq(jd_runtime_call(rt, nothing, NULL).error, 0);
    gate_open(&c.go_on);
    cr_assert_eq(jd_await(t).num, 1);
    jd_task_unref(t);
    jd_handle_unref(c.self);
    runtime_end(rt);
}

struct self_cancel {
    jd_handle *self, *other;
    int results[4];
};

static void cancel_inside(void *arg)
{
    struct self_cancel *c = arg;

    c->results[0] = jd_handle_cancel(c->self);
    c->results[1] = jd_handle_cancel_wait(c->self);
    c->results[2] = jd_handle_cancel_wait(c->other);
    c->results[3] = jd_handle_cancel_wait(c->other);
}

static jd_result a17_inside_main(void *arg)
{
    static struct self_cancel c;
    atomic_int ran = 0;

    (void)arg;
    cr_assert_eq(jd_call_soon(jd_loop_current(), cancel_inside, &c, &c.self), 0);
    cr_assert_eq(jd_call_soon(jd_loop_current(), count, &ran, &c.other), 0);
    yields(2);
    cr_assert_eq(c.results[0], 0);
    cr_assert_eq(c.results[1], -EDEADLK);
    cr_assert_eq(c.results[2], 1, "it does not run: no wait");
    cr_assert_eq(c.results[3], 0);
    cr_assert_eq(atomic_load(&ran), 0);
    jd_handle_unref(c.self);
    jd_handle_unref(c.other);
    return jd_ok(NULL);
}

Test(callbacks, a17_from_inside_a_cancel_has_no_effect_and_its_waiting_form_refuses)
{
    cr_assert_eq(run_workers(1, a17_inside_main, NULL).error, 0);
}

static jd_result when_main(void *arg)
{
    jd_handle *soon, *at, *never;
    atomic_int ran = 0;
    int64_t when = jd_now() + JD_MS(1);

    (void)arg;
    cr_assert_eq(jd_call_soon(jd_loop_current(), count, &ran, &soon), 0);
    cr_assert_eq(jd_call_at(jd_loop_current(), when, count, &ran, &at), 0);
    cr_assert_eq(jd_call_later(jd_loop_current(), JD_FOREVER, count, &ran, &never), 0);
    cr_assert_eq(jd_handle_when(soon), 0);
    cr_assert_eq(jd_handle_when(at), when);
    cr_assert_eq(jd_handle_when(never), JD_FOREVER);
    cr_assert_eq(jd_handle_when(NULL), 0);
    cr_assert_eq(jd_sleep(JD_MS(2)), 0);
    cr_assert_eq(atomic_load(&ran), 2);
    cr_assert_eq(jd_handle_cancel(never), 1);
    cr_assert_eq(jd_handle_cancelled(never), 1);
    jd_handle_unref(soon);
    jd_handle_unref(at);
    jd_handle_unref(never);
    return jd_ok(NULL);
}

Test(callbacks, a11_times_of_handles_and_a_timer_that_never_comes)
{
    cr_assert_eq(run_workers(1, when_main, NULL).error, 0);
}

struct due {
    int64_t when;
    atomic_int early;
};

static void check_due(void *arg)
{
    struct due *d = arg;

    if (jd_now() < d->when)
        atomic_fetch_add(&d->early, 1);
}

static jd_result a7_main(void *arg)
{
    static struct due due[200];

    (void)arg;
    for (unsigned i = 0; i < 200; i++) {
        due[i].when = jd_now() + JD_US(10) * (int64_t)((i * 37) % 300);
        cr_assert_eq(jd_call_at(jd_loop_current(), due[i].when, check_due, &due[i], NULL), 0);
    }
    cr_assert_eq(jd_sleep(JD_MS(8)), 0);
    for (unsigned i = 0; i < 200; i++)
        cr_assert_eq(atomic_load(&due[i].early), 0);
    return jd_ok(NULL);
}

Test(callbacks, a7_a_timer_never_fires_before_its_time)
{
    cr_assert_eq(run_workers(2, a7_main, NULL).error, 0);
}

#define TIMERS 10000
static jd_handle *handles[TIMERS];

static jd_result a12_main(void *arg)
{
    atomic_int ran = 0;
    long before = footprint_resident_bytes();

    (void)arg;
    for (unsigned long round = jd_test_rounds(40); round > 0; round--) {
        for (unsigned i = 0; i < TIMERS; i++)
            cr_assert_eq(
                jd_call_later(jd_loop_current(), JD_SEC(1 + i % 3600), count, &ran, &handles[i]),
                0);
        for (unsigned i = 0; i < TIMERS; i++) {
            cr_assert_eq(jd_handle_cancel(handles[(i * 7919) % TIMERS]), 1);
            jd_handle_unref(handles[(i * 7919) % TIMERS]);
        }
    }
    /* All rounds together would be 60 MiB. */
    cr_assert_leq(footprint_resident_bytes(), before + (16 << 20),
                  "cancelled timers are gone at once");
    yields(2);
    cr_assert_eq(atomic_load(&ran), 0);
    return jd_ok(NULL);
}

Test(callbacks, a12_ten_thousand_cancelled_timers_leave_nothing)
{
    cr_assert_eq(run_workers(1, a12_main, NULL).error, 0);
}

struct flood {
    atomic_int stop;
    long runs;
};

static void flood(void *arg)
{
    struct flood *f = arg;

    f->runs++;
    if (!atomic_load(&f->stop))
        cr_assert_eq(jd_call_soon(jd_loop_current(), flood, f, NULL), 0);
}

static jd_result a21_main(void *arg)
{
    struct flood f = { 0 };

    (void)arg;
    cr_assert_eq(jd_call_soon(jd_loop_current(), flood, &f, NULL), 0);
    cr_assert_eq(jd_sleep(JD_MS(2)), 0);
    for (unsigned i = 0; i < 5; i++)
        yields(1);
    atomic_store(&f.stop, 1);
    yields(3);
    cr_assert_gt(f.runs, 5);
    return jd_ok(NULL);
}

Test(callbacks, a21_a_flood_of_callbacks_starves_neither_timers_nor_tasks)
{
    cr_assert_eq(run_fifo(a21_main, NULL).error, 0);
    cr_assert_eq(run_workers(1, a21_main, NULL).error, 0);
}

static jd_result flood_yields(void *arg)
{
    while (!atomic_load((atomic_int *)arg)) /* bounded by the test's time limit */
        cr_assert_eq(jd_yield(), 0);
    return jd_ok(NULL);
}

static void store_one(void *arg)
{
    atomic_store((atomic_int *)arg, 1);
}

static jd_result m8_main(void *arg)
{
    atomic_int stop = 0;
    jd_task *t[4];

    (void)arg;
    for (unsigned i = 0; i < 4; i++)
        t[i] = jd_spawn(flood_yields, &stop);
    cr_assert_eq(jd_call_later(jd_loop_current(), JD_MS(1), store_one, &stop, NULL), 0);
    for (unsigned i = 0; i < 4; i++)
        cr_assert_eq(jd_join(t[i]).error, 0);
    return jd_ok(NULL);
}

Test(callbacks, m8_tasks_that_yield_all_the_time_do_not_starve_timers)
{
    cr_assert_eq(run_workers(1, m8_main, NULL).error, 0);
    cr_assert_eq(run_fifo(m8_main, NULL).error, 0);
}

static void race_cancel(unsigned index, void *arg)
{
    jd_handle **h = arg;

    (void)index;
    for (unsigned i = 0; i < 100; i++)
        if (jd_handle_cancel(h[i]) == 1)
            cr_assert_eq(jd_handle_cancelled(h[i]), 1);
}

Test(callbacks, a4_a_cancel_that_races_with_the_loop_prevents_it_or_not_but_never_both)
{
    jd_runtime *rt = runtime_of(1, 0);
    static struct crew crew;
    static atomic_int ran[100];

    cr_assert_eq(jd_runtime_start(rt), 0);
    for (unsigned long r = jd_test_rounds(30); r > 0; r--) {
        memset(ran, 0, sizeof(ran));
        for (unsigned i = 0; i < 100; i++)
            cr_assert_eq(i % 2 ? jd_call_soon(jd_runtime_loop(rt, 0), count, &ran[i], &handles[i])
                               : jd_call_later(jd_runtime_loop(rt, 0), JD_US(i), count, &ran[i],
                                               &handles[i]),
                         0);
        crew_start(&crew, 2, race_cancel, handles);
        crew_join(&crew);
        for (unsigned i = 0; i < 100; i++) {
            (void)jd_handle_cancel_wait(handles[i]); /* 0: it ran or was cancelled before */
            cr_assert_eq(atomic_load(&ran[i]), !jd_handle_cancelled(handles[i]));
            jd_handle_unref(handles[i]);
        }
    }
    runtime_end(rt);
}

Test(callbacks, a_handle_outlives_its_runtime)
{
    jd_runtime *rt = runtime_of(2, 0);
    atomic_int ran = 0;
    jd_handle *timer, *soon;

    cr_assert_eq(jd_call_later(jd_runtime_loop(rt, 1), JD_SEC(60), count, &ran, &timer), 0);
    cr_assert_eq(jd_call_soon(jd_runtime_loop(rt, 0), count, &ran, &soon), 0);
    runtime_end(rt);
    cr_assert_eq(jd_handle_cancel(timer), 0);
    cr_assert_eq(jd_handle_cancelled(timer), 1);
    cr_assert_eq(jd_handle_cancel_wait(soon), 0);
    jd_handle_unref(timer);
    jd_handle_unref(soon);
}
