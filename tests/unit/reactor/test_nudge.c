/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "base/fault.h"
#include "jd_test.h"
#include "reactor/nudge.h"

struct target {
    struct nudge nudge;
    atomic_int entered, interrupted;
    atomic_bool stop;
};

static void no_membarrier(void)
{
    fault_arm(FAULT_MEMBARRIER, 0, UINT64_MAX);
}

static bool sigurg_is_default(void)
{
    struct sigaction now;

    cr_assert_eq(sigaction(SIGURG, NULL, &now), 0);
    return now.sa_handler == SIG_DFL;
}

Test(nudge, membarrier_touches_no_signal)
{
    struct nudge n;

    cr_assert_eq(nudge_init(&n, 2), 0);
    cr_assert(n.how == NUDGE_CPU || n.how == NUDGE_ALL, "%s", nudge_name(&n));
    cr_assert(sigurg_is_default());
    nudge_fini(&n);
}

Test(nudge, the_handler_comes_and_goes)
{
    struct nudge a, b;

    no_membarrier();
    cr_assert_eq(nudge_init(&a, 1), 0);
    cr_assert_eq(nudge_init(&b, 1), 0);
    cr_assert(a.how == NUDGE_SIGNAL && b.how == NUDGE_SIGNAL);
    cr_assert_not(sigurg_is_default());
    nudge_fini(&a);
    cr_assert_not(sigurg_is_default(), "the other one still needs it");
    nudge_fini(&b);
    cr_assert(sigurg_is_default());
}

static void users_handler(int sig)
{
    (void)sig;
}

Test(nudge, a_users_handler_is_left_alone)
{
    struct sigaction user = { .sa_handler = users_handler }, now;
    struct nudge n;

    no_membarrier();
    cr_assert_eq(sigaction(SIGURG, &user, NULL), 0);
    cr_assert_eq(nudge_init(&n, 1), 0);
    cr_assert_eq(n.how, NUDGE_NONE);
    cr_assert_not(nudge_send(&n, 0));
    nudge_fini(&n);
    cr_assert_eq(sigaction(SIGURG, NULL, &now), 0);
    cr_assert_eq(now.sa_handler, users_handler);
}

/*
 * poll() is never restarted: it tells that a handler ran. Not pselect(): valgrind 3.19 puts a block of
 * its own in the place of the signal mask, and reports that block as a bad access ("pselect6(sig)
 * points to unaddressable byte(s) ... in arena core") when a signal interrupts the call; a thread
 * that does nothing else gets the report, too.
 */
static void *wait_for_signals(void *arg)
{
    struct target *t = arg;

    nudge_enter(&t->nudge, 1);
    atomic_store(&t->entered, 1);
    while (!atomic_load(&t->stop))
        if (poll(NULL, 0, 20) < 0 && errno == EINTR)
            atomic_fetch_add(&t->interrupted, 1);
    nudge_leave(&t->nudge, 1);
    return NULL;
}

static void start(struct target *t, pthread_t *thread)
{
    atomic_init(&t->entered, 0);
    atomic_init(&t->interrupted, 0);
    atomic_init(&t->stop, false);
    cr_assert_eq(nudge_init(&t->nudge, 2), 0);
    cr_assert_eq(pthread_create(thread, NULL, wait_for_signals, t), 0);
    while (atomic_load(&t->entered) == 0)
        sched_yield();
}

static void stop(struct target *t, pthread_t thread)
{
    atomic_store(&t->stop, true);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    cr_assert_not(nudge_send(&t->nudge, 1), "it left");
    nudge_fini(&t->nudge);
}

Test(nudge, the_signal_reaches_its_thread)
{
    struct target t;
    pthread_t thread;

    no_membarrier();
    start(&t, &thread);
    while (atomic_load(&t.interrupted) == 0) { /* bounded by the test's time */
        (void)nudge_send(&t.nudge, 1);
        sched_yield();
    }
    stop(&t, thread);
}

Test(nudge, a_membarrier_is_no_signal)
{
    struct target t;
    pthread_t thread;

    start(&t, &thread);
    for (int sent = 0; sent < 20;) /* bounded by the rate limit */
        sent += nudge_send(&t.nudge, 1);
    stop(&t, thread);
    cr_assert_eq(atomic_load(&t.interrupted), 0);
}

Test(nudge, the_rate_is_limited)
{
    struct target t;
    pthread_t thread;
    int64_t begin;

    start(&t, &thread);
    begin = clock_now();
    for (int sent = 0; sent < 10;)
        sent += nudge_send(&t.nudge, 1);
    cr_assert_geq(clock_now() - begin, 9 * NUDGE_INTERVAL_NS);
    stop(&t, thread);
}

Test(nudge, never_oneself_nor_nobody)
{
    struct nudge n;

    cr_assert_eq(nudge_init(&n, 2), 0);
    cr_assert_not(nudge_send(&n, 0), "nobody serves it");
    nudge_enter(&n, 0);
    cr_assert_not(nudge_send(&n, 0), "it is the caller");
    nudge_leave(&n, 0);
    nudge_fini(&n);
}
