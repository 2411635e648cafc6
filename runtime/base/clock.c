/* SPDX-License-Identifier: MIT */
/*
 * CLOCK_MONOTONIC in nanoseconds behind a replaceable source. The pointer is relaxed: whoever
 * replaces it cares for its own thread only. base/ lies below atomic/, hence the builtins.
 */
#include "base/clock.h"

#include <stddef.h>
#include <time.h>

static clock_source replacement;

int64_t clock_real(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts); /* cannot fail for this clock */
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

int64_t clock_now(void)
{
    clock_source source = __atomic_load_n(&replacement, __ATOMIC_RELAXED);

    return __builtin_expect(source != NULL, 0) ? source() : clock_real();
}

void clock_set_source(clock_source source)
{
    __atomic_store_n(&replacement, source, __ATOMIC_RELAXED);
}
