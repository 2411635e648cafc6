/* SPDX-License-Identifier: MIT */
#ifndef JD_LOOP_H
#define JD_LOOP_H

#include <stdint.h>

#include <jackdaw/export.h>
#include <jackdaw/time.h>
#include <jackdaw/types.h>

JD_BEGIN_DECLS

/**
 * @file
 * Callbacks. Each worker is an event loop.
 *
 * A callback runs on the loop it was given to, in the order it was given (per submitting thread),
 * exactly once, and never at the same time as another callback of that loop; never inside the call
 * that schedules it. It must not suspend: a suspending call in it returns -EPERM. Within one tick
 * come first the callbacks that were ready, then I/O completions, then due timers.
 *
 * Life of a handle: jd_call_soon(.., &h) -> optional jd_handle_cancel(h) -> jd_handle_unref(h). The
 * runtime holds its own reference until the callback ran or was cancelled.
 */
typedef void (*jd_callback)(void *arg);

/**
 * The loop of the worker that the caller runs on.
 *
 * @return  Borrowed, valid as long as the runtime. NULL on a plain thread. A task may find itself
 *          on another loop after each suspension, unless pinned.
 *
 * @suspends No.  @threads Tasks and callbacks; NULL elsewhere.  @cancel No.
 * @memory   None.  @cost Constant.  @since 0.1
 */
JD_API jd_loop *jd_loop_current(void);

/**
 * The loop of one worker of a runtime.
 *
 * @param rt     Runtime.
 * @param index  0 .. jd_worker_count(rt) - 1. Worker 0 is the one that jd_run() and its kin serve.
 * @return       Borrowed, valid as long as the runtime. NULL when out of range or @p rt is NULL.
 *
 * @suspends No.  @threads Any.  @cancel No.
 * @memory   None.  @cost Constant.  @since 0.1
 */
JD_API jd_loop *jd_runtime_loop(jd_runtime *rt, unsigned index);

/**
 * Have a callback run on a loop, after those that were given to it before.
 *
 * @param loop  Loop of any runtime, also from another thread: a sleeping worker is woken.
 * @param cb    Callback.
 * @param arg   Passed to @p cb.
 * @param ret   Receives one reference to the handle on success; NULL = not wanted.
 *
 * @retval 0           It will run once, unless cancelled.
 * @retval -EINVAL     @p loop or @p cb is NULL.
 * @retval -ENOMEM     Out of memory.
 * @retval -ESHUTDOWN  The runtime takes no more work.
 *
 * @suspends No.  @threads Any.  @cancel No.
 * @memory   One handle.  @cost One queue insertion, one wake-up from another thread.  @since 0.1
 */
JD_API int jd_call_soon(jd_loop *loop, jd_callback cb, void *arg, jd_handle **ret);

/**
 * Have a callback run on a loop after a delay; jd_call_at(jd_now() + delay).
 *
 * @param loop   Loop of any runtime.
 * @param delay  Nanoseconds; <= 0 is due in the next tick; JD_FOREVER never comes.
 * @param cb     Callback.
 * @param arg    Passed to @p cb.
 * @param ret    Receives one reference to the handle on success; NULL = not wanted.
 *
 * @retval 0           It will run once, not before its time, unless cancelled.
 * @retval -EINVAL     @p loop or @p cb is NULL.
 * @retval -ENOMEM     Out of memory.
 * @retval -ESHUTDOWN  The runtime takes no more work.
 *
 * @suspends No.  @threads Any.  @cancel No.
 * @memory   One handle.  @cost As jd_call_soon(), and one timer insertion.  @since 0.1
 */
JD_API int jd_call_later(jd_loop *loop, int64_t delay, jd_callback cb, void *arg, jd_handle **ret);

/**
 * Have a callback run on a loop at a point in time. Equal times fire in the order given.
 *
 * @param loop  Loop of any runtime.
 * @param when  Absolute nanoseconds on jd_now(); past times are due in the next tick, earliest
 *              first.
 * @param cb    Callback.
 * @param arg   Passed to @p cb.
 * @param ret   Receives one reference to the handle on success; NULL = not wanted.
 *
 * @retval 0           It will run once, not before its time, unless cancelled.
 * @retval -EINVAL     @p loop or @p cb is NULL.
 * @retval -ENOMEM     Out of memory.
 * @retval -ESHUTDOWN  The runtime takes no more work.
 *
 * @suspends No.  @threads Any.  @cancel No.
 * @memory   One handle.  @cost As jd_call_soon(), and one timer insertion.  @since 0.1
 */
JD_API int jd_call_at(jd_loop *loop, int64_t when, jd_callback cb, void *arg, jd_handle **ret);

/**
 * Keep a callback from running. Says whether that succeeded; does not wait.
 *
 * @param h  Handle.
 *
 * @retval 1        It will not run, and the library has forgotten its argument.
 * @retval 0        It ran, runs right now, or was cancelled before.
 * @retval -EINVAL  @p h is NULL.
 *
 * @suspends No.  @threads Any.  @cancel No.
 * @memory   None.  @cost One atomic exchange; a timer is truly removed.  @since 0.1
 */
JD_API int jd_handle_cancel(jd_handle *h);

/**
 * Keep a callback from running, and return only when it does not run any more.
 *
 * @param h  Handle.
 *
 * @retval 1           It will not run.
 * @retval 0           It ran, and has returned; or was cancelled before.
 * @retval -EDEADLK    Called inside that very callback.
 * @retval -EPERM      Called inside another callback while this one runs.
 * @retval -ECANCELED  The caller was cancelled; the handle is as before.
 * @retval -EINVAL     @p h is NULL.
 *
 * @suspends Yes, while the callback runs.  @threads A task suspends, a plain thread blocks.
 * @cancel   Cancellation point.
 * @memory   None.  @cost As jd_handle_cancel() when it does not run.  @since 0.1
 */
JD_API JD_SUSPENDS int jd_handle_cancel_wait(jd_handle *h);

/**
 * Whether a cancel kept the callback from running. False after it ran.
 *
 * @param h  Handle.
 * @return   1 or 0; 0 for NULL.
 *
 * @suspends No.  @threads Any.  @cancel No.
 * @memory   None.  @cost One load.  @since 0.1
 */
JD_API int jd_handle_cancelled(const jd_handle *h);

/**
 * The time a callback is due.
 *
 * @param h  Handle.
 * @return   Absolute nanoseconds on jd_now(); 0 for jd_call_soon() and for NULL.
 *
 * @suspends No.  @threads Any.  @cancel No.
 * @memory   None.  @cost One load.  @since 0.1
 */
JD_API int64_t jd_handle_when(const jd_handle *h);

/**
 * Drop the caller's reference. The callback still runs.
 *
 * @param h  Handle; NULL is a no-op.
 *
 * @suspends No.  @threads Any.  @cancel No.
 * @memory   Frees the handle with its last reference.  @cost One atomic decrement.  @since 0.1
 */
JD_API void jd_handle_unref(jd_handle *h);

JD_END_DECLS
#endif /* JD_LOOP_H */
