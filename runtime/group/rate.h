/* SPDX-License-Identifier: MIT */
#ifndef GROUP_RATE_H
#define GROUP_RATE_H

/*
 * A token bucket, as the generic cell rate algorithm: instead of a level that somebody would have
 * to refill, the time `full_at` at which the bucket is full again.
 *
 * I1  A token costs `step` ns. k tokens may be taken at `now` if max(full_at, now) + k * step is at
 *     most burst * step after now; that sum is then the new full_at.
 * I2  Who waits holds `turn`, a semaphore with one permit: waiting is first in, first out, only one
 *     sleeps for a token, and whoever is cancelled has taken nothing.
 * I3  The holder of the turn sleeps on `bell`, which has no permits but the one that a change of the
 *     rate gives to a sleeper, under the lock; the sleeper looks at the clock again.
 *
 * Threads: any. Rejected: reservations of a time to come (a cancelled one leaves a hole in it).
 */
#include <jackdaw/rate.h>
#include <jackdaw/sync.h>

#include "atomic/spin.h"

struct rate {
    jd_sem turn, bell;
    struct spin lock; /* guards the rest; the bell's own is below it */
    uint32_t burst;
    int64_t full_at;
    double full_at_fraction; /* of a nanosecond, 0 <= it < 1 */
    double step;             /* nanoseconds */
    int64_t paused_until;
    uint32_t is_waiting; /* on the bell */
};
_Static_assert(sizeof(struct rate) <= sizeof(jd_rate), "a jd_rate holds a rate");

/* Lock held. When k tokens can be taken; at `now` or before it: they are taken. */
static inline int64_t rate_take(struct rate *r, unsigned k, int64_t now)
{
    bool is_full = r->full_at < now;
    int64_t base = is_full ? now : r->full_at;
    double cost = (double)k * r->step;
    double room = (double)(k > r->burst ? k : r->burst) * r->step;
    double after = (is_full ? 0 : r->full_at_fraction) + cost; /* from base on */
    double wait = (double)(base - now) + after - room;
    int64_t whole = (int64_t)after;

    if (now < r->paused_until)
        return r->paused_until;
    if (wait > 0)
        return now + (int64_t)wait + 1; /* never early */
    r->full_at = base + whole;
    r->full_at_fraction = after - (double)whole;
    return now;
}

#endif /* GROUP_RATE_H */
