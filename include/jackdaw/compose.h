/* SPDX-License-Identifier: MIT */
#ifndef JD_COMPOSE_H
#define JD_COMPOSE_H

#include <stddef.h>
#include <stdint.h>

#include <jackdaw/export.h>
#include <jackdaw/future.h>
#include <jackdaw/task.h>
#include <jackdaw/time.h>
#include <jackdaw/types.h>

JD_BEGIN_DECLS

/**
 * @file
 * Waiting for several things at once, and for one thing with a limit. Arrays may be of jd_future *
 * or of jd_task *; a NULL entry is rejected before anything is done. No reference of the caller is
 * taken; it must hold all of them alive during the call.
 */

/* jd_gather(): 0 = the first error is returned at once and the rest keep running. */
#define JD_GATHER_COLLECT (1u << 0) /**< Wait for all; errors are results. */
#define JD_GATHER_CANCEL (1u << 1)  /**< First error, or a cancel: cancel and join the rest. */

/* jd_wait(): when to return. */
#define JD_ALL_COMPLETED 0u   /**< All are done. */
#define JD_FIRST_COMPLETED 1u /**< One is done. */
#define JD_FIRST_ERROR 2u     /**< One has failed (a cancelled one has not), or all are done. */

/**
 * Wait for all of several futures; results in input order. The form jd_gather() takes for futures.
 *
 * @param futs   Array of @p n; duplicates are allowed and give the same result twice.
 * @param n      Elements; 0 returns 0 at once.
 * @param ret    Receives @p n results, undone entries error -EAGAIN; NULL = not wanted. Nothing is
 *               written after the return.
 * @param flags  0 | JD_GATHER_COLLECT | JD_GATHER_CANCEL.
 *
 * @retval 0           All are done; without JD_GATHER_COLLECT all succeeded.
 * @retval -ECANCELED  The caller was cancelled: without JD_GATHER_CANCEL this only ends its wait.
 * @retval -EDEADLK    The caller is one of them.
 * @retval -EPERM      The caller is not a task.
 * @retval -EINVAL     NULL array or element, unknown flags.
 * @return             Else the first error of one of them.
 *
 * @suspends Yes, unless all are done.  @threads Tasks only.
 * @cancel   Cancellation point; with JD_GATHER_CANCEL it waits for those it cancels.
 * @memory   O(n) for long arrays, none for short ones (else -ENOMEM).  @cost O(n), one wake-up.
 * @since    0.1
 */
JD_API JD_SUSPENDS int jd_gather_futures(jd_future *const *futs, size_t n, jd_result *ret,
                                         unsigned flags);

/**
 * jd_gather() for an array of tasks: as jd_gather_futures().
 *
 * @param tasks  Array of @p n.
 * @param n      Elements.
 * @param ret    Receives @p n results; NULL = not wanted.
 * @param flags  0 | JD_GATHER_COLLECT | JD_GATHER_CANCEL.
 * @return       As jd_gather_futures().
 *
 * @suspends Yes, unless all are done.  @threads Tasks only.  @cancel As jd_gather_futures().
 * @memory   As jd_gather_futures().  @cost O(n), one wake-up.  @since 0.1
 */
JD_API JD_SUSPENDS int jd_gather_tasks(jd_task *const *tasks, size_t n, jd_result *ret,
                                       unsigned flags);

/**
 * Wait for some of several futures; cancels nothing, reads no outcome. The form jd_wait() takes for
 * futures.
 *
 * @param futs      Array of @p n; a duplicate counts once.
 * @param n         Elements, >= 1.
 * @param when      JD_ALL_COMPLETED | JD_FIRST_COMPLETED | JD_FIRST_ERROR.
 * @param timeout   Nanoseconds; 0 polls, JD_FOREVER waits without limit.
 * @param ret_done  Receives @p n bytes, 1 where done, which may be more than what was waited for;
 *                  NULL = not wanted.
 *
 * @retval >=0         How many are done; on timeout 0 when the condition was not met.
 * @retval -ECANCELED  The caller was cancelled; the futures go on.
 * @retval -EDEADLK    The caller is one of them.
 * @retval -EPERM      The caller is not a task.
 * @retval -EINVAL     NULL array or element, @p n 0 or over INT_MAX, unknown @p when.
 *
 * @suspends Yes, unless the condition holds.  @threads Tasks only.  @cancel Cancellation point.
 * @memory   As jd_gather_futures().  @cost O(n), one wake-up.  @since 0.1
 */
JD_API JD_SUSPENDS int jd_wait_futures(jd_future *const *futs, size_t n, unsigned when,
                                       int64_t timeout, unsigned char *ret_done);

/**
 * jd_wait() for an array of tasks: as jd_wait_futures().
 *
 * @param tasks     Array of @p n.
 * @param n         Elements, >= 1.
 * @param when      JD_ALL_COMPLETED | JD_FIRST_COMPLETED | JD_FIRST_ERROR.
 * @param timeout   Nanoseconds.
 * @param ret_done  Receives @p n bytes, 1 where done; NULL = not wanted.
 * @return          As jd_wait_futures().
 *
 * @suspends Yes, unless the condition holds.  @threads Tasks only.  @cancel Cancellation point.
 * @memory   As jd_gather_futures().  @cost O(n), one wake-up.  @since 0.1
 */
JD_API JD_SUSPENDS int jd_wait_tasks(jd_task *const *tasks, size_t n, unsigned when,
                                     int64_t timeout, unsigned char *ret_done);

/**
 * Wait for a future for at most so long, and own its end: on timeout or cancel it is cancelled and
 * waited for, so this may take longer than @p timeout. The form jd_wait_for() takes for a future.
 *
 * @param f        Future; the reference stays the caller's.
 * @param timeout  Nanoseconds; <= 0: a done one gives its outcome, another is cancelled;
 *                 JD_FOREVER: no limit.
 * @return         Its outcome, when it came by itself or all the same after the cancel, an error of
 *                 its unwinding included; else error -ETIMEDOUT or -ECANCELED; -EDEADLK (waits for
 *                 itself), -EPERM (not a task), -EINVAL (NULL).
 *
 * @suspends Yes, while pending.  @threads Tasks only.
 * @cancel   No cancellation point: passes the cancel on; one that comes with the value is seen at
 *           the next suspending call.
 * @memory   None.  @cost One suspend, one timer.  @since 0.1
 */
JD_API JD_SUSPENDS jd_result jd_wait_for_future(jd_future *f, int64_t timeout);

/**
 * jd_wait_for() for a task: as jd_wait_for_future().
 *
 * @param t        Task; the reference stays the caller's.
 * @param timeout  Nanoseconds.
 * @return         As jd_wait_for_future().
 *
 * @suspends Yes, while it runs.  @threads Tasks only.  @cancel As jd_wait_for_future().
 * @memory   None.  @cost One suspend, one timer.  @since 0.1
 */
JD_API JD_SUSPENDS jd_result jd_wait_for_task(jd_task *t, int64_t timeout);

/**
 * jd_wait_for() for a coroutine: runs it with a deadline and waits for its end.
 *
 * @param c        Coroutine.
 * @param timeout  Nanoseconds; <= 0: it is not entered, error -ETIMEDOUT.
 * @return         As jd_wait_for_future(); error -EINVAL when it has no function.
 *
 * @suspends Yes.  @threads Tasks only.  @cancel As jd_wait_for_future().
 * @memory   At most one task.  @cost A scope and a function call, or a task.  @since 0.1
 */
JD_API JD_SUSPENDS jd_result jd_wait_for_coro(jd_coro c, int64_t timeout);

JD_END_DECLS

/*
 * The generic calls; a bare NULL is taken for futures. Arguments are evaluated once. The
 * controlling expression of _Generic decays, so arrays and arrays of const pointers select the
 * pointer forms.
 */
#ifdef __cplusplus
JD_BEGIN_OVERLOADS
JD_SUSPENDS inline int jd_gather(jd_future *const *futs, size_t n, jd_result *ret, unsigned flags)
{
    return jd_gather_futures(futs, n, ret, flags);
}
JD_SUSPENDS inline int jd_gather(jd_task *const *tasks, size_t n, jd_result *ret, unsigned flags)
{
    return jd_gather_tasks(tasks, n, ret, flags);
}
JD_SUSPENDS inline int jd_gather(decltype(nullptr), size_t n, jd_result *ret, unsigned flags)
{
    return jd_gather_futures(nullptr, n, ret, flags);
}
JD_SUSPENDS inline int jd_wait(jd_future *const *futs, size_t n, unsigned when, int64_t timeout,
                               unsigned char *ret_done)
{
    return jd_wait_futures(futs, n, when, timeout, ret_done);
}
JD_SUSPENDS inline int jd_wait(jd_task *const *tasks, size_t n, unsigned when, int64_t timeout,
                               unsigned char *ret_done)
{
    return jd_wait_tasks(tasks, n, when, timeout, ret_done);
}
JD_SUSPENDS inline int jd_wait(decltype(nullptr), size_t n, unsigned when, int64_t timeout,
                               unsigned char *ret_done)
{
    return jd_wait_futures(nullptr, n, when, timeout, ret_done);
}
JD_SUSPENDS inline jd_result jd_wait_for(jd_future *f, int64_t timeout)
{
    return jd_wait_for_future(f, timeout);
}
JD_SUSPENDS inline jd_result jd_wait_for(jd_task *t, int64_t timeout)
{
    return jd_wait_for_task(t, timeout);
}
JD_SUSPENDS inline jd_result jd_wait_for(jd_coro c, int64_t timeout)
{
    return jd_wait_for_coro(c, timeout);
}
JD_SUSPENDS inline jd_result jd_wait_for(decltype(nullptr), int64_t timeout)
{
    return jd_wait_for_future(nullptr, timeout);
}
JD_END_OVERLOADS
#else
#define jd_gather(futs, n, ret, flags) \
    _Generic((futs),                                                                               \
        jd_future **: jd_gather_futures,                                                           \
        jd_future *const *: jd_gather_futures,                                                     \
        jd_task **: jd_gather_tasks,                                                               \
        jd_task *const *: jd_gather_tasks,                                                         \
        void *: jd_gather_futures)((futs), (n), (ret), (flags))
#define jd_wait(futs, n, when, timeout, ret_done) \
    _Generic((futs),                                                                               \
        jd_future **: jd_wait_futures,                                                             \
        jd_future *const *: jd_wait_futures,                                                       \
        jd_task **: jd_wait_tasks,                                                                 \
        jd_task *const *: jd_wait_tasks,                                                           \
        void *: jd_wait_futures)((futs), (n), (when), (timeout), (ret_done))
#define jd_wait_for(awaitable, timeout) \
    _Generic((awaitable),                                                                          \
        jd_future *: jd_wait_for_future,                                                           \
        jd_task *: jd_wait_for_task,                                                               \
        jd_coro: jd_wait_for_coro,                                                                 \
        void *: jd_wait_for_future)((awaitable), (timeout))
#endif

#endif /* JD_COMPOSE_H */
