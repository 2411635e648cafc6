/* SPDX-License-Identifier: MIT */
/*
 * Suspend and wake on one worker, through the shared library. Goal: at most 60 ns for one suspend,
 * one wake and the switch between them.
 *
 *   semaphores  two tasks pass a permit back and forth: nothing but the suspend and the wake
 *   futures     the same with a fresh future each time, whose making and freeing is included
 */
#include "measure.h"

struct table {
    jd_sem ping, pong;
    jd_future *ball; /* the next one to be set */
    long rounds;
};

static jd_result sem_partner(void *arg)
{
    struct table *t = arg;

    for (long i = 0; i < t->rounds; i++) {
        (void)jd_sem_acquire(&t->ping);
        (void)jd_sem_release(&t->pong);
    }
    return jd_ok(NULL);
}

/* One round is two suspends and two wakes. */
static void run_semaphores(long n)
{
    struct table t = { .rounds = n / 2 };
    jd_task *partner;

    (void)jd_sem_init(&t.ping, 0);
    (void)jd_sem_init(&t.pong, 0);
    partner = jd_spawn(sem_partner, &t);
    (void)jd_yield(); /* it waits: from here on on a stack of its own */
    for (long i = 0; i < t.rounds; i++) {
        (void)jd_sem_release(&t.ping);
        (void)jd_sem_acquire(&t.pong);
    }
    (void)jd_join(partner);
}

static jd_result future_partner(void *arg)
{
    struct table *t = arg;

    for (long i = 0; i < t->rounds; i++) {
        (void)jd_future_set(t->ball, jd_ok(NULL));
        (void)jd_yield();
    }
    return jd_ok(NULL);
}

static void run_futures(long n)
{
    struct table t = { .rounds = n };
    jd_task *partner = NULL;

    for (long i = 0; i < n; i++) {
        (void)jd_future_new(NULL, &t.ball);
        if (!partner)
            partner = jd_spawn(future_partner, &t);
        (void)jd_await(t.ball);
        jd_future_unref(t.ball);
    }
    (void)jd_join(partner);
}

static void run_future_alone(long n)
{
    for (long i = 0; i < n; i++) {
        jd_future *f;

        (void)jd_future_new(NULL, &f);
        (void)jd_future_set(f, jd_ok(NULL));
        (void)jd_await(f);
        jd_future_unref(f);
    }
}

static jd_result main_task(void *arg)
{
    const struct row rows[] = {
        { "suspend+wake, semaphores", run_semaphores, 10000 },
        { "suspend+wake+yield, new futures", run_futures, 5000 },
        { "future: new+set+await+unref", run_future_alone, 10000 },
    };

    measure_rows(ROWS(rows));
    return jd_ok(arg);
}

int main(void)
{
    return run_main(main_task, 1);
}
