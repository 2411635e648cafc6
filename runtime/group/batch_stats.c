/* SPDX-License-Identifier: MIT */
/*
 * What a batch tells about itself, by size: a caller built against another version gets the fields
 * it knows.
 *
 * Threads: the consumer; fill and give: any, if the batch is shared.
 */
#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "group/batch.h"

static jd_percentiles percentiles(const struct histogram *h)
{
    return (jd_percentiles){ .p50 = histogram_percentile(h, 500),
                             .p90 = histogram_percentile(h, 900),
                             .p99 = histogram_percentile(h, 990),
                             .p999 = histogram_percentile(h, 999),
                             .max = h->max };
}

static void histograms_fill(const struct batch *b, jd_batch_stats *ret)
{
    /* The lock is no part of what a reader must not change. */
    struct spin *lock = b->is_shared ? (struct spin *)(uintptr_t)&b->histograms_lock : NULL;
    jd_percentiles latency;

    if (lock)
        spin_lock(lock);
    latency = percentiles(&b->latencies);
    if (b->waits) {
        ret->slot_wait = percentiles(&b->waits->slot);
        ret->token_wait = percentiles(&b->waits->token);
    }
    if (lock)
        spin_unlock(lock);
    ret->p50 = latency.p50;
    ret->p90 = latency.p90;
    ret->p99 = latency.p99;
    ret->p999 = latency.p999;
    ret->max = latency.max;
}

int batch_stats_want(struct batch *b)
{
    if (b->is_plain && !b->sem)
        return 0;
    b->waits = mem_calloc(sizeof(*b->waits));
    return b->waits ? 0 : -ENOMEM;
}

static void histograms_add(struct batch *b, const struct batch_slot *slot)
{
    histogram_add(&b->latencies, slot->latency);
    if (!b->waits)
        return;
    histogram_add(&b->waits->slot, slot->slot_wait);
    if (b->o.rate)
        histogram_add(&b->waits->token, slot->token_wait);
}

void batch_stats_attempt(struct batch *b, const struct batch_slot *slot)
{
    if (JD_LIKELY(!b->is_shared)) {
        histograms_add(b, slot);
        return;
    }
    spin_lock(&b->histograms_lock);
    histograms_add(b, slot);
    spin_unlock(&b->histograms_lock);
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
    ret->waiting_for_token = atom_load(&b->without_token, relaxed);
    ret->waiting = atom_load(&b->counts.parked, relaxed) + ret->waiting_for_token;
    ret->in_flight = atom_load(&b->running, relaxed);
    ret->in_flight_max = atom_load(&b->running_max, relaxed);
    ret->limit = atom_load(&b->counts.limit, relaxed);
    ret->lowered = atom_load(&b->counts.lowered, relaxed);
    ret->elapsed = clock_now() - b->start;
    histograms_fill(b, ret);
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
