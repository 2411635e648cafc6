/* SPDX-License-Identifier: MIT */
#ifndef JD_TIME_H
#define JD_TIME_H

#include <stdint.h>

#include <jackdaw/export.h>

JD_BEGIN_DECLS

/**
 * @file
 * The clock and sleeping.
 *
 * Durations and times are int64_t nanoseconds; times are absolute on jd_now(). As a parameter 0
 * means at once, a negative value counts as 0, JD_FOREVER means no limit. As an option field 0
 * means the default, or none.
 */
#define JD_FOREVER INT64_MAX

/**
 * Microseconds, milliseconds, seconds as nanoseconds. They take integers and fractions, are
 * constant expressions when the argument is one, and compute in 64 bits, so JD_SEC(3600) does not
 * overflow an int. A fraction of a nanosecond is cut off.
 */
#define JD_US(x) JD_NANOSECONDS((x)*INT64_C(1000))
#define JD_MS(x) JD_NANOSECONDS((x)*INT64_C(1000000))
#define JD_SEC(x) JD_NANOSECONDS((x)*INT64_C(1000000000))

/** Not for users: the cast behind the three above, in the form each language warns least about. */
#ifdef __cplusplus
#define JD_NANOSECONDS(x) static_cast<int64_t>(x)
#else
#define JD_NANOSECONDS(x) ((int64_t)(x))
#endif

/**
 * Now, on the monotonic clock that every deadline of the library uses. Never decreases on one
 * thread. In a simulation it is the virtual time.
 *
 * @return  Nanoseconds since an arbitrary start, > 0.
 *
 * @suspends No.  @threads Any.  @cancel No.
 * @memory   None.  @cost One vDSO clock read.  @since 0.1
 */
JD_API int64_t jd_now(void);

/**
 * Suspend for at least a duration.
 *
 * @param d  Nanoseconds. <= 0 is jd_yield(); JD_FOREVER sleeps until cancelled.
 *
 * @retval 0           The time has passed.
 * @retval -ECANCELED  A scope around the caller was cancelled or reached its deadline.
 * @retval -EPERM      The caller is not a task.
 *
 * @suspends Yes.  @threads Tasks only.
 * @cancel   Cancellation point; the timer is gone when it returns.
 * @memory   None: the timer lives in the caller's frame.  @cost O(1) timer insertion.  @since 0.1
 */
JD_API JD_SUSPENDS int jd_sleep(int64_t d);

/**
 * Suspend until a point in time.
 *
 * @param when  Absolute nanoseconds on jd_now(). Past times are jd_yield(); JD_FOREVER sleeps until
 *              cancelled.
 *
 * @retval 0           The time has come; it is never woken before it.
 * @retval -ECANCELED  A scope around the caller was cancelled or reached its deadline.
 * @retval -EPERM      The caller is not a task.
 *
 * @suspends Yes.  @threads Tasks only.
 * @cancel   Cancellation point; the timer is gone when it returns.
 * @memory   None: the timer lives in the caller's frame.  @cost O(1) timer insertion.  @since 0.1
 */
JD_API JD_SUSPENDS int jd_sleep_until(int64_t when);

JD_END_DECLS
#endif /* JD_TIME_H */
