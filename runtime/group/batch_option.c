/* SPDX-License-Identifier: MIT */
/*
 * Checking a batch's options. What this version has no code for yet is refused, never ignored: a
 * caller who asks for retries must not get a batch without them.
 *
 * Threads: any.
 */
#include <errno.h>
#include <string.h>

#include "group/batch.h"

#define KNOWN_FLAGS (JD_BATCH_ORDERED | JD_BATCH_FIRST_OK | JD_BATCH_ADAPTIVE)

/* A longer structure is fine as long as what we do not know is zero. */
static int copy_by_size(jd_batch_options *ret, const jd_batch_options *o)
{
    const unsigned char *bytes = (const unsigned char *)o;

    if (o->size == 0)
        return -EINVAL;
    for (size_t i = sizeof(*ret); i < o->size; i++)
        if (bytes[i])
            return -E2BIG;
    memset(ret, 0, sizeof(*ret));
    memcpy(ret, o, o->size < sizeof(*ret) ? o->size : sizeof(*ret));
    return 0;
}

/* Retries, hedges, rates and everything that parks items between pull and call. */
static bool wants_more_than_there_is(const jd_batch_options *o)
{
    bool items_park = o->item_sem || o->waiting_max || o->reorder_max || o->sleeping_max || o->rate;
    bool retries = o->attempts > 1 || o->backoff || o->backoff_max || o->retry_budget_percent ||
                   o->classify || o->hedge_after || o->discard;
    bool clocks = o->attempt_timeout || o->item_timeout;

    return o->flags || items_park || retries || clocks;
}

int batch_options_take(jd_batch_options *ret, const jd_batch_options *o)
{
    int err;

    if (!o)
        return -EINVAL;
    err = copy_by_size(ret, o);
    if (err)
        return err;
    if (ret->limit == 0 || (ret->flags & ~KNOWN_FLAGS))
        return -EINVAL;
    return wants_more_than_there_is(ret) ? -ENOSYS : 0;
}
