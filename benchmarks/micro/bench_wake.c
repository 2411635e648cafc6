/* SPDX-License-Identifier: MIT */
/*
 * Suspend and wake on one worker, through the shared library. Goal: at most 60 ns for one suspend,
 * one wake and the switch between them.
 *
 *   futures      two tasks in turn await a future that the other sets: made before and freed after
 *   semaphores   two tasks pass a permit back and forth
 *   new futures  a fresh future each time, whose making and freeing is included, and a yield
 */
#include "measure.h"

static jd_future **balls; /* of the next run */
static long balls_count;

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

/* Frees those of the last run, too. */
static void make_balls(long n)
{
    for (long i = 0; i < balls_count; i++)
        jd_future_unref(balls[i]);
    free(balls);
    balls = calloc((size_t)n, sizeof(jd_future *));
    balls_count = 0;
    while (balls && balls_count < n && jd_future_new(NULL, &balls[balls_count]) == 0)
        balls_count++;
    if (balls_count < n) {
        fprintf(stderr, "no memory for %ld futures\n", n);
        exit(1);
    }
}

/* Awaits the odd ones and sets the even ones; the main task the other way round. */
static jd_result odd_partner(void *arg)
{
    for (long i = 1; i < balls_count; i += 2) {
        (void)jd_await(balls[i]);
        if (i + 1 < balls_count)
            (void)jd_future_set(balls[i + 1], jd_ok(NULL));
    }
    return jd_ok(arg);
}

/* One step is one suspend and one wake. */
static void run_balls(long n)
{
    jd_task *partner = jd_spawn(odd_partner, NULL);

    (void)jd_yield(); /* it waits: from here on on a stack of its own */
    for (long i = 1; i < n; i += 2) {
        (void)jd_future_set(balls[i], jd_ok(NULL));
        if (i + 1 < n)
            (void)jd_await(balls[i + 1]);
    }
    (void)jd_join(partner);
}

static jd_result main_task(void *arg)
{
    const struct row rows[] = {
        { "suspend+wake, futures", run_balls, 5000, make_balls },
        { "suspend+wake, semaphores", run_semaphores, 10000, NULL },
        { "suspend+wake+yield, new futures", run_futures, 5000, NULL },
        { "future: new+set+await+unref", run_future_alone, 10000, NULL },
    };

    measure_rows(ROWS(rows));
    make_balls(0);
    return jd_ok(arg);
}

int main(void)
{
    return run_main(main_task, 1);
}
