/* SPDX-License-Identifier: MIT */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

/*
 * The one source of time: nanoseconds on CLOCK_MONOTONIC. Nobody else reads a clock, so that a
 * simulator can replace it (clock_set_source) before any worker runs.
 */
#include <stdint.h>

#define CLOCK_FOREVER INT64_MAX

typedef int64_t (*clock_source)(void);

int64_t clock_now(void);
int64_t clock_real(void); /* whatever the source is: for a source that serves one thread only */

/* NULL restores the system's clock. Threads that run a runtime meanwhile must be served by the new
 * source as by the old one. */
void clock_set_source(clock_source source);

/* now + delay without overflow: CLOCK_FOREVER stays for ever, a negative delay is 0. */
static inline int64_t clock_after(int64_t now, int64_t delay)
{
    if (delay <= 0)
        return now;
    return delay >= CLOCK_FOREVER - now ? CLOCK_FOREVER : now + delay;
}

#endif /* BASE_CLOCK_H */
