/* SPDX-License-Identifier: MIT */
/*
 * What a batch tells about itself, by size: a caller built against another version gets the fields
 * it knows.
 *
 * Threads: the consumer; fill and give: any, if the batch is shared.
 */
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "group/batch.h"

static void latencies_fill(const struct batch *b, jd_batch_stats *ret)
{
    /* The lock is no part of what a reader must not change. */
    struct spin *lock = b->is_shared ? (struct spin *)(uintptr_t)&b->latencies_lock : NULL;

    if (lock)
        spin_lock(lock);
    ret->p50 = histogram_percentile(&b->latencies, 500);
    ret->p90 = histogram_percentile(&b->latencies, 900);
    ret->p99 = histogram_percentile(&b->latencies, 990);
    ret->p999 = histogram_percentile(&b->latencies, 999);
    ret->max = b->latencies.max;
    if (lock)
        spin_unlock(lock);
}

void batch_stats_latency(struct batch *b, int64_t latency)
{
    if (JD_LIKELY(!b->is_shared)) {
        histogram_add(&b->latencies, latency);
        return;
    }
    spin_lock(&b->latencies_lock);
    histogram_add(&b->latencies, latency);
    spin_unlock(&b->latencies_lock);
}

void batch_stats_fill(const struct batch *b, jd_batch_stats *ret)
{
    *ret = (jd_batch_stats)JD_BATCH_STATS_INIT;
    /* Relaxed, all: numbers for people. */
    ret->pulled = atom_load(&b->counts.pulled, relaxed);
    ret->ok = atom_load(&b->counts.ok, relaxed);
    ret->failed = atom_load(&b->counts.failed, relaxed);
    ret->timed_out = atom_load(&b->counts.timed_out, relaxed);
    ret->cancelled = atom_load(&b->counts.cancelled, relaxed);
    ret->abandoned = atom_load(&b->counts.abandoned, relaxed);
    ret->retried = atom_load(&b->counts.retried, relaxed);
    ret->sleeping = atom_load(&b->counts.sleeping, relaxed);
    ret->waiting = atom_load(&b->counts.parked, relaxed) + atom_load(&b->without_token, relaxed);
    ret->in_flight = atom_load(&b->running, relaxed);
    ret->in_flight_max = atom_load(&b->running_max, relaxed);
    ret->limit = atom_load(&b->counts.limit, relaxed);
    ret->lowered = atom_load(&b->counts.lowered, relaxed);
    ret->elapsed = clock_now() - b->start;
    latencies_fill(b, ret);
}

int batch_stats_check(const jd_batch_stats *ret)
{
    return ret && ret->size == 0 ? -EINVAL : 0;
}

void batch_stats_give(const struct batch *b, jd_batch_stats *ret)
{
    jd_batch_stats all;
    size_t size;

    if (!ret)
        return;
    size = ret->size;
    batch_stats_fill(b, &all);
    memcpy(ret, &all, size < sizeof(all) ? size : sizeof(all));
    ret->size = size;
}

void batch_progress(struct batch *b, bool is_final)
{
    jd_batch_stats stats;

    if (!b->o.progress || (!is_final && clock_now() < b->progress_at))
        return;
    batch_stats_fill(b, &stats);
    b->o.progress(&stats, b->o.ctx);
    b->progress_at = clock_after(clock_now(), b->o.progress_every);
}
