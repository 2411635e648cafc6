/* SPDX-License-Identifier: MIT */
/*
 * Batches and maps: each item once, never more at a time than allowed. See program.h.
 */
#include <errno.h>
#include <string.h>

#include "program.h"

#define ITEMS_MAX 12u

struct lot {
    struct body *b;
    jd_task *owner;
    unsigned count, pulled, running, allowed, fails, sink_fails;
    uint8_t calls[ITEMS_MAX], ends[ITEMS_MAX];
    jd_result results[ITEMS_MAX];
};

static unsigned index_of(const struct lot *lot, const void *item)
{
    unsigned i = (unsigned)(uintptr_t)item - 1;

    FUZZ_CHECK(i < lot->count);
    return i;
}

static void *item_of(unsigned i)
{
    return (void *)(uintptr_t)(i + 1);
}

static jd_result call_item(void *item, void *arg)
{
    struct lot *lot = arg;
    unsigned i = index_of(lot, item);
    int error;

    FUZZ_CHECK(lot->calls[i]++ == 0 && lot->ends[i] == 0);
    lot->running++;
    FUZZ_CHECK_THAT(lot->running <= lot->allowed, "%u of %u", lot->running, lot->allowed);
    FUZZ_CHECK(jd_call_attempt() == 0 && !jd_call_is_hedge());
    error = jd_sleep(short_time((uint8_t)(i * 37 + lot->fails)));
    lot->running--;
    if (error)
        lot->results[i] = jd_err(error);
    else if (lot->fails & 1u << i % 8)
        lot->results[i] = jd_err(-EIO);
    else
        lot->results[i] = jd_ok_num((intptr_t)i);
    return lot->results[i];
}

/* --- jd_batch_run() ---------------------------------------------------------------------------- */

static int pull(void *arg, void **ret_item)
{
    struct lot *lot = arg;

    FUZZ_CHECK(jd_task_current() == lot->owner);
    if (lot->pulled == lot->count)
        return 0;
    if (lot->pulled % 3 == 1)
        (void)jd_yield();
    *ret_item = item_of(lot->pulled++);
    return 1;
}

static void item_ends(struct lot *lot, void *item, jd_result r)
{
    unsigned i = index_of(lot, item);

    FUZZ_CHECK(jd_task_current() == lot->owner);
    FUZZ_CHECK_THAT(lot->ends[i]++ == 0, "item %u ends twice", i);
    FUZZ_CHECK(!lot->calls[i] || r.error == lot->results[i].error || r.error == -ECANCELED);
    FUZZ_CHECK(r.error || (lot->calls[i] && r.num == (intptr_t)i));
}

static int take(void *item, jd_result r, void *arg)
{
    struct lot *lot = arg;

    item_ends(lot, item, r);
    (void)jd_checkpoint();
    return lot->sink_fails && --lot->sink_fails == 0 ? -EPROTO : 0;
}

static void abandon(void *item, jd_result r, void *arg)
{
    item_ends(arg, item, r);
}

static void check_lot(const struct lot *lot, const jd_batch_stats *stats, int error)
{
    FUZZ_CHECK_THAT(lot->running == 0, "%u", lot->running);
    for (unsigned i = 0; i < lot->count; i++)
        FUZZ_CHECK_THAT(lot->ends[i] == (i < lot->pulled), "item %u of %u", i, lot->pulled);
    FUZZ_CHECK(stats->pulled == lot->pulled && stats->in_flight == 0);
    FUZZ_CHECK(stats->pulled == stats->ok + stats->failed + stats->cancelled + stats->abandoned);
    FUZZ_CHECK(stats->in_flight_max <= lot->allowed);
    FUZZ_CHECK(error || lot->pulled == lot->count);
}

static void check_error(const struct lot *lot, const jd_batch_options *o, int error, bool sink)
{
    switch (error) {
    case 0:
        FUZZ_CHECK(!sink || lot->sink_fails > 0);
        break;
    case -ECANCELED:
        FUZZ_CHECK(may_be_cancelled(lot->b));
        break;
    case -EIO:
        FUZZ_CHECK(lot->fails && o->errors_max != JD_ALL);
        break;
    case -EPROTO:
        FUZZ_CHECK(sink);
        break;
    case -ETIMEDOUT:
        FUZZ_CHECK(o->total_timeout > 0);
        break;
    case -ESHUTDOWN:
        FUZZ_CHECK(lot->b->p->ending);
        break;
    default:
        FUZZ_CHECK_THAT(error == -ENOMEM && !lot->b->p->quiet, "%d", error);
    }
}

void step_batch(struct body *b, struct instruction i)
{
    struct lot lot = { .b = b, .owner = jd_task_current(), .count = i.a % (ITEMS_MAX + 1) };
    jd_batch_options o = JD_BATCH_OPTIONS_INIT;
    jd_batch_stats stats = JD_BATCH_STATS_INIT;
    unsigned permits = 1 + i.b / 4 % 3;
    jd_sem sem;
    int error;

    FUZZ_CHECK(jd_sem_init(&sem, permits) == 0);
    o.limit = 1 + i.b % 4;
    o.sem = i.a & 128 ? &sem : NULL;
    lot.allowed = o.sem && permits < o.limit ? permits : o.limit;
    lot.fails = i.b & 16 ? i.a : 0;
    lot.sink_fails = i.b & 32 ? 3 : 0;
    o.errors_max = i.b & 64 ? JD_ALL : i.b % 3;
    o.total_timeout = i.b & 128 ? short_time(i.a) : 0;
    o.abandon = abandon;
    o.ctx = &lot;
    error = jd_batch_run(pull, call_item, take, &o, &stats);
    check_lot(&lot, &stats, error);
    check_error(&lot, &o, error, (i.b & 32) != 0);
    FUZZ_CHECK_THAT(jd_sem_value(&sem) == (int)permits, "%d", jd_sem_value(&sem));
}

/* --- jd_map() ---------------------------------------------------------------------------------- */

void step_map(struct body *b, struct instruction i)
{
    struct lot lot = { .b = b, .count = i.a % (ITEMS_MAX + 1), .allowed = 1 + i.b % 4 };
    void *items[ITEMS_MAX];
    jd_result results[ITEMS_MAX];
    int error;

    for (unsigned n = 0; n < lot.count; n++)
        items[n] = item_of(n);
    memset(results, 0x55, sizeof(results));
    lot.fails = i.b & 16 ? i.a : 0;
    error = jd_map(items, lot.count, lot.allowed, call_item, &lot, results);
    FUZZ_CHECK(lot.running == 0);
    FUZZ_CHECK_THAT(error == 0 || (error == -ECANCELED && may_be_cancelled(b)) ||
                        (error == -ENOMEM && !b->p->quiet) || (error == -ESHUTDOWN && b->p->ending),
                    "%d", error);
    for (unsigned n = 0; (error == 0 || error == -ECANCELED) && n < lot.count; n++) {
        if (results[n].error == -ECANCELED)
            continue;
        FUZZ_CHECK(lot.calls[n] == 1 && results[n].error == lot.results[n].error);
        FUZZ_CHECK(results[n].error || results[n].num == (intptr_t)n);
    }
    for (unsigned n = 0; error == 0 && n < lot.count; n++)
        FUZZ_CHECK(lot.calls[n] == 1);
}
