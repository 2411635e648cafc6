/* SPDX-License-Identifier: MIT */
/*
 * Cancel and help while the submitting worker burns CPU in user code. Where a time is asserted, the
 * best of a few attempts counts: the machine may be busy, but a lost cancel never ends.
 */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <unistd.h>

#include "base/fault.h"
#include "jd_test.h"
#include "reactor_rig.h"
#include "run_delay.h"

#define ATTEMPTS 20 /* at most; one is enough on a quiet machine */
#define END_LIMIT_NS INT64_C(20000000)

/* Helps until the op is done. Returns how long that took. */
static int64_t help_until_done(struct rig *rig, struct rig_op *o)
{
    int64_t start = rig_now();

    rig_help_until_done(rig, o);
    return rig_now() - start;
}

ON_BOTH_PORTS(cancel_of_an_own_op)
{
    struct rig rig;
    struct rig_op o;
    char byte;
    int pair[2];

    rig_start(&rig, want, 1, 0);
    rig_pair(pair);
    for (int submitted = 0; submitted < 2; submitted++) {
        o = rig_recv(pair[0], &byte, 1);
        rig_submit(&rig, 0, &o);
        if (submitted)
            (void)reactor_poll(rig.reactor, 0);
        reactor_cancel(rig.reactor, 0, &o.op);
        reactor_cancel(rig.reactor, 0, &o.op); /* twice is once */
        cr_assert_eq(rig_wait(&rig, 0, &o), -ECANCELED);
        reactor_cancel(rig.reactor, 0, &o.op); /* too late, but the record lives: harmless */
        cr_assert(rig_is_done(&o));
    }
    cr_assert_eq(write(pair[1], "x", 1), 1);
    o = rig_recv(pair[0], &byte, 1);
    rig_submit(&rig, 0, &o);
    cr_assert_eq(rig_wait(&rig, 0, &o), 1, "a cancelled receive took no data");
    rig_pair_close(pair);
    rig_stop(&rig);
}

ON_BOTH_PORTS(success_beats_cancel)
{
    struct rig rig;
    struct rig_op o;
    char byte;
    int pair[2], result;

    rig_start(&rig, want, 1, 0);
    rig_pair(pair);
    for (int i = 0; i < 50; i++) {
        o = rig_recv(pair[0], &byte, 1);
        rig_submit(&rig, 0, &o);
        if (i % 2)
            (void)reactor_poll(rig.reactor, 0);
        cr_assert_eq(write(pair[1], "x", 1), 1);
        reactor_cancel(rig.reactor, 0, &o.op);
        result = rig_wait(&rig, 0, &o);
        cr_assert(result == 1 || result == -ECANCELED);
        if (result < 0)
            cr_assert_eq(read(pair[0], &byte, 1), 1, "the data is still there");
    }
    rig_pair_close(pair);
    rig_stop(&rig);
}

static void cancel_while_burning(enum reactor_want want, bool polled)
{
    int64_t best = INT64_MAX;

    for (int i = 0; i < ATTEMPTS && best >= END_LIMIT_NS; i++) {
        struct rig rig;
        struct rig_thread t;
        struct rig_op o;
        struct rig_burner b = { &o, polled };
        int64_t took, delay;
        char byte;
        int pair[2];

        rig_start(&rig, want, 2, 0);
        rig_pair(pair);
        o = rig_recv(pair[0], &byte, 1);
        rig_burner_start(&rig, &t, &b);
        delay = run_delay_ns(0);
        reactor_cancel(rig.reactor, 0, &o.op);
        took = help_until_done(&rig, &o);
        took -= run_delay_ns(0) - delay; /* what the machine was busy with is not ours */
        cr_assert_eq(o.op.result, -ECANCELED);
        best = took < best ? took : best;
        rig_thread_stop(&t);
        rig_pair_close(pair);
        rig_stop(&rig);
    }
    cr_assert_lt(best, END_LIMIT_NS, "the best of %d took %ld ns", ATTEMPTS, (long)best);
}

ON_BOTH_PORTS(cancel_while_the_submitter_burns)
{
    cancel_while_burning(want, true);
}

ON_BOTH_PORTS(cancel_of_a_staged_op)
{
    cancel_while_burning(want, false);
}

static void data_while_burning(enum reactor_want want, bool polled)
{
    int64_t best = INT64_MAX;

    for (int i = 0; i < ATTEMPTS && best >= END_LIMIT_NS; i++) {
        struct rig rig;
        struct rig_thread t;
        struct rig_op o;
        struct rig_burner b = { &o, polled };
        int64_t took, delay;
        char byte = 0;
        int pair[2];

        rig_start(&rig, want, 2, 0);
        rig_pair(pair);
        o = rig_recv(pair[0], &byte, 1);
        rig_burner_start(&rig, &t, &b);
        delay = run_delay_ns(0);
        cr_assert_eq(write(pair[1], "d", 1), 1);
        took = help_until_done(&rig, &o);
        took -= run_delay_ns(0) - delay; /* what the machine was busy with is not ours */
        cr_assert_eq(o.op.result, 1);
        cr_assert_eq(byte, 'd');
        best = took < best ? took : best;
        rig_thread_stop(&t);
        rig_pair_close(pair);
        rig_stop(&rig);
    }
    cr_assert_lt(best, END_LIMIT_NS, "the best of %d took %ld ns", ATTEMPTS, (long)best);
}

ON_BOTH_PORTS(help_reaps_for_a_burning_worker)
{
    data_while_burning(want, true);
}

ON_BOTH_PORTS(help_submits_what_is_staged)
{
    data_while_burning(want, false);
}

ON_BOTH_PORTS(help_works_with_the_signal_nudge)
{
    fault_arm(FAULT_MEMBARRIER, 0, UINT64_MAX);
    data_while_burning(want, true);
    cancel_while_burning(want, true);
}

#define FAST_NS INT64_C(100000)

/* *ret_delay: for how long of that time a thread, or both, had to wait for a CPU. */
static int64_t time_one_completion(int64_t *ret_delay)
{
    struct rig rig;
    struct rig_thread t;
    struct rig_op o;
    struct rig_burner b = { &o, true };
    int64_t took, delay;
    char byte;
    int pair[2];

    rig_start(&rig, REACTOR_URING, 2, 0);
    rig_pair(pair);
    o = rig_recv(pair[0], &byte, 1);
    rig_burner_start(&rig, &t, &b);
    delay = run_delay_ns(0);
    cr_assert_eq(write(pair[1], "d", 1), 1);
    took = help_until_done(&rig, &o);
    *ret_delay = run_delay_ns(0) - delay;
    rig_thread_stop(&t);
    rig_pair_close(pair);
    rig_stop(&rig);
    return took;
}

/*
 * With the nudge a burning worker's completion is there within some 25 us. Without it the timer
 * tick brings it, evenly spread over 4 ms or more: one in forty would be below 100 us. A time that
 * is long only because a thread had no CPU says nothing.
 */
Test(uring, the_nudge_beats_the_timer_tick, .timeout = 30)
{
    int fast = 0, slow = 0;

    for (int i = 0; i < 1000 && fast + slow < 40; i++) {
        int64_t delay, took = time_one_completion(&delay);

        fast += took < FAST_NS;
        slow += took - delay >= FAST_NS;
    }
    if (fast + slow < 40)
        jd_test_skip("two threads hardly ever have two CPUs here");
    cr_assert_geq(fast, 15, "%d of %d were fast", fast, fast + slow);
}

ON_BOTH_PORTS(help_follows_up_on_a_nonblocking_descriptor)
{
    struct rig rig;
    struct rig_thread t;
    struct rig_op o;
    struct rig_burner b = { &o, false };
    char byte;
    int pair[2];

    rig_start(&rig, want, 2, 0);
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    o = rig_recv(pair[0], &byte, 1);
    rig_burner_start(&rig, &t, &b);
    for (int i = 0; i < 100; i++) /* the helper meets -EAGAIN and stages the poll */
        rig_help_all(&rig, 0);
    cr_assert_not(rig_is_done(&o));
    cr_assert_eq(write(pair[1], "d", 1), 1);
    (void)help_until_done(&rig, &o);
    cr_assert_eq(o.op.result, 1);
    rig_thread_stop(&t);
    rig_pair_close(pair);
    rig_stop(&rig);
}

/* A thread leaves its worker index while an op it submitted waits; the next thread goes on. */
static void submit_and_leave(struct rig_thread *t)
{
    struct rig_burner *b = t->data;

    rig_submit(t->rig, t->index, b->op);
    (void)reactor_poll(t->rig->reactor, t->index);
}

ON_BOTH_PORTS(the_submitting_thread_ends)
{
    struct rig rig;
    struct rig_thread t;
    struct rig_op o;
    struct rig_burner b = { &o, true };
    char byte;
    int pair[2];

    rig_start(&rig, want, 2, 0);
    rig_pair(pair);
    o = rig_recv(pair[0], &byte, 1);
    rig_thread_start(&rig, &t, 1, submit_and_leave, &b);
    rig_thread_stop(&t);
    cr_assert_not(rig_is_done(&o), "nobody asked it to end");
    rig_help_all(&rig, 0);
    cr_assert_eq(write(pair[1], "d", 1), 1);
    (void)help_until_done(&rig, &o);
    cr_assert_eq(o.op.result, 1);
    /* The index has a new thread, which can be woken. */
    rig_thread_start(&rig, &t, 1, rig_help_loop, NULL);
    rig_thread_stop(&t);
    rig_pair_close(pair);
    rig_stop(&rig);
}

/* A parked owner and a helper that would like to take its wake-up. */
static void park_and_count(struct rig_thread *t)
{
    while (!atomic_load(&t->stop)) { /* until told */
        (void)reactor_poll(t->rig->reactor, t->index);
        if (reactor_park_begin(t->rig->reactor, t->index)) {
            (void)reactor_park(t->rig->reactor, t->index, INT64_MAX);
            atomic_fetch_add(&t->stage, 1);
        }
    }
}

ON_BOTH_PORTS(nobody_takes_a_parked_workers_wake)
{
    struct rig rig;
    struct rig_thread parked, helper;

    rig_start(&rig, want, 3, 0);
    rig_thread_start(&rig, &parked, 1, park_and_count, NULL);
    rig_thread_start(&rig, &helper, 2, rig_help_loop, NULL);
    for (unsigned long i = jd_test_rounds(2000); i > 0; i--) {
        int before = atomic_load(&parked.stage);

        reactor_wake(rig.reactor, 1);
        while (atomic_load(&parked.stage) == before) /* else it sleeps for ever: a timeout */
            sched_yield();
    }
    rig_thread_stop(&helper);
    rig_thread_stop(&parked);
    rig_stop(&rig);
}
