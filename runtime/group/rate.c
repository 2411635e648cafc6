/* SPDX-License-Identifier: MIT */
/*
 * Rates: see rate.h for the invariants. Waiting is the semaphore's.
 *
 * Threads: any; a task suspends, a plain thread blocks.
 */
#include "group/rate.h"

#include <errno.h>

#include "base/clock.h"

/* Longest time that a bucket may take to fill: 29 years, so that no sum overflows. */
#define FILL_MAX 9e17

static struct rate *rate_of(jd_rate *r)
{
    return (struct rate *)(void *)r;
}

/* Nanoseconds for a token; 0: not a rate. */
static double step_of(double per_second, unsigned burst)
{
    double step;

    if (!(per_second > 0) || per_second > 1e12) /* NaN, too */
        return 0;
    step = 1e9 / per_second;
    return step * burst <= FILL_MAX ? step : 0;
}

int jd_rate_init(jd_rate *pub, double per_second, unsigned burst)
{
    struct rate *r = rate_of(pub);
    unsigned room = burst ? burst : 1;
    double step = step_of(per_second, room);

    if (!r || step == 0)
        return -EINVAL;
    *pub = (jd_rate){ { 0 } };
    (void)jd_sem_init(&r->turn, 1);
    (void)jd_sem_init(&r->bell, 0);
    spin_init(&r->lock);
    r->step = step;
    r->burst = room;
    r->full_at = INT64_MIN;
    return 0;
}

int jd_rate_set(jd_rate *pub, double per_second, unsigned burst)
{
    struct rate *r = rate_of(pub);
    unsigned room = burst ? burst : 1;
    double step = step_of(per_second, room);

    if (!r || step == 0)
        return -EINVAL;
    spin_lock(&r->lock);
    r->step = step;
    r->burst = room;
    if (r->is_waiting)
        (void)jd_sem_release(&r->bell); /* never refused: it had none */
    r->is_waiting = false;
    spin_unlock(&r->lock);
    return 0;
}

/* 0, or how long to sleep. The caller has the turn. */
static int64_t take(struct rate *r, unsigned k, bool will_wait)
{
    int64_t now = clock_now(), when;

    spin_lock(&r->lock);
    when = rate_take(r, k, now);
    r->is_waiting = will_wait && when > now;
    spin_unlock(&r->lock);
    return when - now;
}

/* The caller has the turn and has slept, however it ended: no permit stays behind in the bell. */
static void stop_waiting(struct rate *r, bool was_rung)
{
    bool is_rung;

    spin_lock(&r->lock);
    is_rung = !r->is_waiting;
    r->is_waiting = false;
    spin_unlock(&r->lock);
    if (is_rung && !was_rung)
        (void)jd_sem_try_acquire(&r->bell); /* it is there: rung under the lock */
}

static int wait_for_tokens(struct rate *r, unsigned k)
{
    int64_t left;

    while ((left = take(r, k, /* will_wait= */ true)) > 0) { /* bounded by pauses and changes */
        int err = jd_sem_acquire_for(&r->bell, left);

        stop_waiting(r, /* was_rung= */ err == 0);
        if (err && err != -ETIMEDOUT)
            return err;
    }
    return 0;
}

int jd_rate_acquire(jd_rate *pub, unsigned n)
{
    struct rate *r = rate_of(pub);
    int err;

    if (!r || n > r->burst)
        return -EINVAL;
    if (n == 0)
        return 0;
    err = jd_sem_acquire(&r->turn);
    if (err)
        return err;
    err = wait_for_tokens(r, n);
    (void)jd_sem_release(&r->turn); /* never refused: it is unbounded, and this permit was ours */
    return err;
}

int jd_rate_try_acquire(jd_rate *pub, unsigned n)
{
    struct rate *r = rate_of(pub);
    int64_t left;

    if (!r || n > r->burst)
        return -EINVAL;
    if (n == 0)
        return 0;
    if (jd_sem_try_acquire(&r->turn))
        return -EAGAIN; /* somebody is before us */
    left = take(r, n, /* will_wait= */ false);
    (void)jd_sem_release(&r->turn); /* as above */
    return left > 0 ? -EAGAIN : 0;
}

void jd_rate_pause_until(jd_rate *pub, int64_t when)
{
    struct rate *r = rate_of(pub);

    if (!r)
        return;
    spin_lock(&r->lock);
    if (when > r->paused_until)
        r->paused_until = when; /* a sleeper that wakes before sees it then */
    spin_unlock(&r->lock);
}
