/* SPDX-License-Identifier: MIT */
#ifndef JD_RATE_H
#define JD_RATE_H

#include <stdint.h>

#include <jackdaw/export.h>
#include <jackdaw/time.h>

JD_BEGIN_DECLS

/**
 * @file
 * Token buckets: how often something may start, as a jd_sem says how many may run.
 */

/**
 * A token bucket: so many tokens a second, shared by whoever knows it. A bucket holds `burst`
 * tokens; it is full at the start. Life: jd_rate_init() -> use; no end call, but nobody may wait on
 * it when its memory goes. Needs no runtime and is bound to none.
 */
typedef struct jd_rate jd_rate;
JD_VALUE_TYPE(jd_rate, 24);

/**
 * Make a rate.
 *
 * @param r           Space of the caller, nobody uses it.
 * @param per_second  Tokens per second, > 0, at most 1e12.
 * @param burst       Tokens that may be taken at once after a quiet time; 0 = 1: evenly spaced.
 *
 * @retval 0        Done.
 * @retval -EINVAL  @p r is NULL, or the rate is out of range.
 *
 * @suspends No.  @threads Any, before it is shared.  @cancel No.
 * @memory   None.  @cost Constant.  @since 0.1
 */
JD_API int jd_rate_init(jd_rate *r, double per_second, unsigned burst);

/**
 * Change a rate that is in use; who waits goes on with the new one. What was taken stays taken.
 *
 * @param r           Rate.
 * @param per_second  As in jd_rate_init().
 * @param burst       As in jd_rate_init().
 *
 * @retval 0        Done.
 * @retval -EINVAL  As jd_rate_init(); nothing changed.
 *
 * @suspends No.  @threads Any.  @cancel No.
 * @memory   None.  @cost Constant, and a wake-up when somebody waits.  @since 0.1
 */
JD_API int jd_rate_set(jd_rate *r, double per_second, unsigned burst);

/**
 * Take tokens, waiting behind those who came earlier.
 *
 * @param r  Rate.
 * @param n  Tokens, at most the burst; 0 takes nothing and returns 0.
 *
 * @retval 0           Taken.
 * @retval -ECANCELED  The calling task is cancelled; nothing was taken.
 * @retval -EINVAL     @p r is NULL or @p n over the burst.
 * @retval -EPERM      Called inside a loop callback.
 *
 * @suspends Yes, when it must wait.  @threads A task suspends, a plain thread blocks.
 * @cancel   Cancellation point.
 * @memory   None.  @cost Without a wait: three atomics and a look at the clock.  @since 0.1
 */
JD_API JD_SUSPENDS int jd_rate_acquire(jd_rate *r, unsigned n);

/**
 * Take tokens if they are there and nobody waits for some.
 *
 * @param r  Rate.
 * @param n  Tokens, at most the burst.
 *
 * @retval 0        Taken.
 * @retval -EAGAIN  Would have to wait; nothing was taken.
 * @retval -EINVAL  @p r is NULL or @p n over the burst.
 *
 * @suspends No.  @threads Any, callbacks included.  @cancel No.
 * @memory   None.  @cost As jd_rate_acquire().  @since 0.1
 */
JD_API int jd_rate_try_acquire(jd_rate *r, unsigned n);

/**
 * Give out no token before a time: what a server asks for that says "too many requests". Of several
 * pauses the longest holds.
 *
 * @param r     Rate; NULL is a no-op.
 * @param when  Absolute, on jd_now().
 *
 * @suspends No.  @threads Any, callbacks included.  @cancel No.
 * @memory   None.  @cost Constant.  @since 0.1
 */
JD_API void jd_rate_pause_until(jd_rate *r, int64_t when);

JD_END_DECLS
#endif /* JD_RATE_H */
