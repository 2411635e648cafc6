/* SPDX-License-Identifier: MIT */
#ifndef JD_FUTURE_H
#define JD_FUTURE_H

#include <stdint.h>

#include <jackdaw/export.h>
#include <jackdaw/time.h>
#include <jackdaw/types.h>

JD_BEGIN_DECLS

/**
 * @file
 * A value that is still to come, completed once, awaited by any number of tasks and plain threads.
 *
 * Life: jd_future_new() -> jd_future_set() or jd_future_cancel(), the first one stands -> results
 * are read -> jd_future_unref(). A task is a future too: jd_task_future(). A future may be awaited
 * from every worker and from every runtime. An error that nobody looked at is reported once through
 * the error handler when the user's last reference goes.
 *
 * What was written before the completion is visible to whoever sees the future done.
 */

/**
 * Make a pending future.
 *
 * @param rt   Its home runtime; NULL = the caller's.
 * @param ret  Receives one reference on success.
 *
 * @retval 0        Done.
 * @retval -EINVAL  @p ret is NULL.
 * @retval -EPERM   @p rt is NULL and the caller is on no worker.
 * @retval -ENOMEM  Out of memory.
 *
 * @suspends No.  @threads Any, with @p rt given.  @cancel No.
 * @memory   One allocation.  @cost Constant.  @since 0.1
 */
JD_API int jd_future_new(jd_runtime *rt, jd_future **ret);

/**
 * One more reference.
 *
 * @param f  Future or NULL.
 * @return   @p f.
 *
 * @suspends No.  @threads Any.  @cancel No.
 * @memory   None.  @cost One atomic increment.  @since 0.1
 */
JD_API jd_future *jd_future_ref(jd_future *f);

/**
 * Drop a reference, in any state.
 *
 * @param f  Future; NULL is a no-op.
 *
 * @suspends No.  @threads Any.  @cancel No.
 * @memory   Frees the future with its last reference.  @cost One atomic decrement.  @since 0.1
 */
JD_API void jd_future_unref(jd_future *f);

/**
 * Complete a future. Of several callers exactly one wins; losing a race is no fault.
 *
 * @param f  Future, no task.
 * @param r  The outcome; r.error != 0 makes it a failed one.
 *
 * @retval 0          This outcome stands; awaiters and callbacks are scheduled, none runs in here.
 * @retval -EALREADY  It was done or cancelled before: the first outcome stands.
 * @retval -EPERM     @p f is a task: its outcome comes from its function.
 * @retval -EINVAL    @p f is NULL, or r.error is positive.
 *
 * @suspends No.  @threads Any.  @cancel No.
 * @memory   None.  @cost One compare-and-swap, and one wake-up per waiter.  @since 0.1
 */
JD_API int jd_future_set(jd_future *f, jd_result r);

/**
 * Cancel a future: a pending one is done with -ECANCELED; a task is asked to end, as
 * jd_task_cancel().
 *
 * @param f       Future or a task's future.
 * @param reason  A literal or any string that outlives the future, or NULL; the first one stays.
 *
 * @retval 0          Cancelled (a task: requested).
 * @retval -EALREADY  It was done before.
 * @retval -EINVAL    @p f is NULL.
 *
 * @suspends No.  @threads Any.  @cancel No: it cancels, it is not cancelled.
 * @memory   None.  @cost As jd_future_set().  @since 0.1
 */
JD_API int jd_future_cancel(jd_future *f, const char *reason);

/**
 * Whether the outcome is there.
 *
 * @param f  Future.
 * @return   1 or 0; 0 for NULL.
 *
 * @suspends No.  @threads Any.  @cancel No.
 * @memory   None.  @cost One load.  @since 0.1
 */
JD_API int jd_future_done(const jd_future *f);

/**
 * Whether it ended cancelled: a cancel was requested and the outcome is -ECANCELED.
 *
 * @param f  Future.
 * @return   1 or 0; 0 while pending, and for NULL.
 *
 * @suspends No.  @threads Any.  @cancel No.
 * @memory   None.  @cost One load.  @since 0.1
 */
JD_API int jd_future_cancelled(const jd_future *f);

/**
 * Read the outcome of a future that is done. Counts as looked at.
 *
 * @param f    Future.
 * @param ret  Receives the outcome; untouched while pending.
 *
 * @retval 0        @p ret holds the outcome, which may be a failure.
 * @retval -EAGAIN  Still pending.
 * @retval -EINVAL  @p f or @p ret is NULL.
 *
 * @suspends No.  @threads Any.  @cancel No.
 * @memory   The value is copied; what it points to is shared.  @cost One load.  @since 0.1
 */
JD_API int jd_future_result(jd_future *f, jd_result *ret);

/**
 * The reason the first cancel gave.
 *
 * @param f  Future.
 * @return   The string as given; NULL when none was given or nothing was cancelled.
 *
 * @suspends No.  @threads Any.  @cancel No.
 * @memory   Borrowed from whoever gave it.  @cost One load.  @since 0.1
 */
JD_API const char *jd_future_cancel_reason(const jd_future *f);

/**
 * The home runtime of a future.
 *
 * @param f  Future.
 * @return   Borrowed; NULL for NULL.
 *
 * @suspends No.  @threads Any.  @cancel No.
 * @memory   None.  @cost One load.  @since 0.1
 */
JD_API jd_runtime *jd_future_runtime(const jd_future *f);

/** A done callback. A callback in the sense of loop.h: it must not suspend. @p f is borrowed. */
typedef void (*jd_done_fn)(jd_future *f, void *arg);

/**
 * Have a callback scheduled on the caller's loop (from a plain thread: loop 0 of the future's
 * runtime) when the future is done, after those added earlier; at once if it is done already. Never
 * called from within this call nor within the one that completes.
 *
 * @param f    Future.
 * @param cb   Callback. Added twice, it runs twice.
 * @param arg  Passed to @p cb.
 *
 * @retval 0           It will run once.
 * @retval -EINVAL     @p f or @p cb is NULL.
 * @retval -ENOMEM     Out of memory.
 * @retval -ESHUTDOWN  The runtime takes no more callbacks.
 *
 * @suspends No.  @threads Any.  @cancel No.
 * @memory   One allocation; holds a reference to @p f until it ran.  @cost O(1).  @since 0.1
 */
JD_API int jd_future_add_done_callback(jd_future *f, jd_done_fn cb, void *arg);

/**
 * Remove every equal pair of callback and argument that is not scheduled yet.
 *
 * @param f    Future.
 * @param cb   Callback as added.
 * @param arg  Argument as added.
 *
 * @retval >=0      How many were removed; 0 after completion: scheduled ones still run.
 * @retval -EINVAL  @p f or @p cb is NULL.
 *
 * @suspends No.  @threads Any.  @cancel No.
 * @memory   None.  @cost O(callbacks).  @since 0.1
 */
JD_API int jd_future_remove_done_callback(jd_future *f, jd_done_fn cb, void *arg);

/**
 * Remove every equal pair, and return only when none of them runs or will run any more.
 *
 * @param f    Future.
 * @param cb   Callback as added.
 * @param arg  Argument as added.
 *
 * @retval >=0         How many were removed before they ran.
 * @retval -EDEADLK    Called inside that very callback.
 * @retval -EPERM      Called inside another callback when it would have to wait.
 * @retval -ECANCELED  The caller was cancelled while it waited.
 * @retval -EINVAL     @p f or @p cb is NULL.
 *
 * @suspends Yes, while one of them runs.  @threads A task suspends, a plain thread blocks.
 * @cancel   Cancellation point.
 * @memory   None.  @cost O(callbacks).  @since 0.1
 */
JD_API JD_SUSPENDS int jd_future_remove_done_callback_wait(jd_future *f, jd_done_fn cb, void *arg);

/**
 * Wait until a future is done, and say how the wait ended. The outcome is not looked at.
 *
 * @param f        Future.
 * @param timeout  Nanoseconds; 0 polls, JD_FOREVER waits without limit.
 *
 * @retval 0           Done; read it with jd_future_result().
 * @retval -ETIMEDOUT  Still pending.
 * @retval -ECANCELED  The calling task was cancelled; the future goes on.
 * @retval -EDEADLK    A task waits for itself.
 * @retval -EPERM      Called inside a loop callback.
 * @retval -EINVAL     @p f is NULL.
 *
 * @suspends Yes, while pending.  @threads A task suspends, a plain thread blocks.
 * @cancel   Cancellation point; leaves @p f alone.
 * @memory   None: the waiter lives in the caller's frame.  @cost One suspend, one wake-up.
 * @since 0.1
 */
JD_API JD_SUSPENDS int jd_future_wait(jd_future *f, int64_t timeout);

/**
 * Wait for a future and return its outcome. The form jd_await() takes for a future.
 *
 * Cancelling the awaiter ends the wait and leaves the awaited alone. Where an -ECANCELED must be
 * told apart (the awaiter's own, or the outcome of what it awaits), use jd_await_outcome().
 *
 * @param f  Future, borrowed. The caller must hold it alive.
 * @return   The outcome; or error -ECANCELED (the caller was cancelled), -EDEADLK (a task awaits
 *           itself), -EPERM (in a loop callback), -EINVAL (@p f is NULL).
 *
 * @suspends Yes, while pending; a done one is read without yielding.
 * @threads  A task suspends, a plain thread blocks.  @cancel Cancellation point.
 * @memory   None: the waiter lives in the caller's frame.  @cost One suspend, one wake-up.
 * @since 0.1
 */
JD_API JD_SUSPENDS jd_result jd_await_future(jd_future *f);

/**
 * jd_await() for a task: as jd_await_future(). The reference stays the caller's.
 *
 * @param t  Task, borrowed.
 * @return   As jd_await_future().
 *
 * @suspends Yes, while it runs.  @threads A task suspends, a plain thread blocks.
 * @cancel   Cancellation point; the awaited task goes on.
 * @memory   None.  @cost One suspend, one wake-up.  @since 0.1
 */
JD_API JD_SUSPENDS jd_result jd_await_task(jd_task *t);

/**
 * jd_await() for a coroutine: runs it to its end at once, inside the caller's task.
 *
 * @param c  Coroutine.
 * @return   What its function returns; error -EINVAL when it has none, -EPERM in a loop callback,
 *           -ECANCELED in a cancelled scope, where the function is not entered.
 *
 * @suspends As its function does.  @threads A task; on a plain thread the function runs there.
 * @cancel   Cancellation point.
 * @memory   None.  @cost A function call.  @since 0.1
 */
JD_API JD_SUSPENDS jd_result jd_await_coro(jd_coro c);

/**
 * Wait for a future; how the wait ended, and the outcome apart from it. The form jd_await_outcome()
 * takes for a future.
 *
 * @param f    Future, borrowed.
 * @param ret  Receives the outcome when 0 is returned; untouched otherwise.
 *
 * @retval 0           The wait came to its end: @p ret holds the outcome, -ECANCELED included.
 * @retval -ECANCELED  The calling task was cancelled; the future goes on.
 * @retval -EDEADLK    A task waits for itself.
 * @retval -EPERM      Called inside a loop callback.
 * @retval -EINVAL     @p f or @p ret is NULL.
 *
 * @suspends Yes, while pending.  @threads A task suspends, a plain thread blocks.
 * @cancel   Cancellation point; leaves @p f alone.
 * @memory   None.  @cost One suspend, one wake-up.  @since 0.1
 */
JD_API JD_SUSPENDS int jd_await_outcome_future(jd_future *f, jd_result *ret);

/**
 * jd_await_outcome() for a task: as jd_await_outcome_future().
 *
 * @param t    Task, borrowed.
 * @param ret  Receives the outcome when 0 is returned.
 * @return     As jd_await_outcome_future().
 *
 * @suspends Yes, while it runs.  @threads A task suspends, a plain thread blocks.
 * @cancel   Cancellation point; the awaited task goes on.
 * @memory   None.  @cost One suspend, one wake-up.  @since 0.1
 */
JD_API JD_SUSPENDS int jd_await_outcome_task(jd_task *t, jd_result *ret);

/**
 * jd_await_outcome() for a coroutine: runs it at once, inside the caller's task.
 *
 * @param c    Coroutine.
 * @param ret  Receives what its function returned when 0 is returned.
 * @return     0, or as jd_await_coro() when the function was not entered.
 *
 * @suspends As its function does.  @threads A task; on a plain thread the function runs there.
 * @cancel   Cancellation point.
 * @memory   None.  @cost A function call.  @since 0.1
 */
JD_API JD_SUSPENDS int jd_await_outcome_coro(jd_coro c, jd_result *ret);

JD_END_DECLS

/*
 * The generic calls. AWAITABLE is a jd_future *, a jd_task * or a jd_coro; a bare NULL is a future,
 * so that it gives -EINVAL. The argument is evaluated once.
 */
#ifdef __cplusplus
JD_BEGIN_OVERLOADS
JD_SUSPENDS inline jd_result jd_await(jd_future *f)
{
    return jd_await_future(f);
}
JD_SUSPENDS inline jd_result jd_await(jd_task *t)
{
    return jd_await_task(t);
}
JD_SUSPENDS inline jd_result jd_await(jd_coro c)
{
    return jd_await_coro(c);
}
JD_SUSPENDS inline jd_result jd_await(decltype(nullptr))
{
    return jd_await_future(nullptr);
}
JD_SUSPENDS inline int jd_await_outcome(jd_future *f, jd_result *ret)
{
    return jd_await_outcome_future(f, ret);
}
JD_SUSPENDS inline int jd_await_outcome(jd_task *t, jd_result *ret)
{
    return jd_await_outcome_task(t, ret);
}
JD_SUSPENDS inline int jd_await_outcome(jd_coro c, jd_result *ret)
{
    return jd_await_outcome_coro(c, ret);
}
JD_SUSPENDS inline int jd_await_outcome(decltype(nullptr), jd_result *ret)
{
    return jd_await_outcome_future(nullptr, ret);
}
JD_END_OVERLOADS
#else
/* Variadic, so that a compound literal with a comma in it can be awaited. */
#define jd_await(...) \
    _Generic((__VA_ARGS__),                                                                        \
        jd_future *: jd_await_future,                                                              \
        jd_task *: jd_await_task,                                                                  \
        jd_coro: jd_await_coro,                                                                    \
        void *: jd_await_future)(__VA_ARGS__)
#define jd_await_outcome(awaitable, ret) \
    _Generic((awaitable),                                                                          \
        jd_future *: jd_await_outcome_future,                                                      \
        jd_task *: jd_await_outcome_task,                                                          \
        jd_coro: jd_await_outcome_coro,                                                            \
        void *: jd_await_outcome_future)((awaitable), (ret))
#endif

#endif /* JD_FUTURE_H */
