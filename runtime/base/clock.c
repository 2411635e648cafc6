/* SPDX-License-Identifier: MIT */
/*
 * CLOCK_MONOTONIC in nanoseconds behind a replaceable source. The pointer is written only while
 * no runtime runs, so a plain load is enough: thread creation orders it.
 */
#include "base/clock.h"

#include <stddef.h>
#include <time.h>

static clock_source replacement;

int64_t clock_now(void)
{
    struct timespec ts;

    if (replacement)
        return replacement();
    clock_gettime(CLOCK_MONOTONIC, &ts); /* cannot fail for this clock */
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

void clock_set_source(clock_source source)
{
    replacement = source;
}
