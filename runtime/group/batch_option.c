/* SPDX-License-Identifier: MIT */
/*
 * Checking a batch's options, and what is meant by those that are not set.
 *
 * Threads: any.
 */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "group/batch.h"

#define KNOWN_FLAGS (JD_BATCH_ORDERED | JD_BATCH_FIRST_OK | JD_BATCH_ADAPTIVE)

/* A longer structure is fine as long as what we do not know is zero. */
int batch_options_read(jd_batch_options *ret, const jd_batch_options *o)
{
    const unsigned char *bytes = (const unsigned char *)o;

    if (!o || o->size == 0)
        return -EINVAL;
    for (size_t i = sizeof(*ret); i < o->size; i++)
        if (bytes[i])
            return -E2BIG;
    memset(ret, 0, sizeof(*ret));
    memcpy(ret, o, o->size < sizeof(*ret) ? o->size : sizeof(*ret));
    return 0;
}

bool batch_options_are_plain(const jd_batch_options *o)
{
    bool clocks = o->attempt_timeout || o->item_timeout;

    return o->attempts == 1 && !o->classify && !clocks && !o->item_sem && !o->rate &&
           !o->hedge_after;
}

static unsigned four_times(unsigned limit)
{
    return limit > UINT_MAX / 4 ? UINT_MAX : 4 * limit;
}

static void fill_defaults(jd_batch_options *o)
{
    if (o->waiting_max == 0)
        o->waiting_max = four_times(o->limit);
    if (o->reorder_max == 0)
        o->reorder_max = four_times(o->limit);
    if (o->sleeping_max == 0)
        o->sleeping_max = four_times(o->limit);
    if (o->attempts == 0)
        o->attempts = 1;
    if (o->retry_budget_percent == 0)
        o->retry_budget_percent = 10;
}

int batch_options_check(jd_batch_options *o)
{
    unsigned both = JD_BATCH_ORDERED | JD_BATCH_FIRST_OK;

    if (o->limit == 0 || (o->flags & ~KNOWN_FLAGS) || (o->flags & both) == both)
        return -EINVAL;
    fill_defaults(o);
    return 0;
}

int batch_options_take(jd_batch_options *ret, const jd_batch_options *o)
{
    int err = batch_options_read(ret, o);

    return err ? err : batch_options_check(ret);
}
