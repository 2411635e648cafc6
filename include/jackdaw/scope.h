/* SPDX-License-Identifier: MIT */
#ifndef JD_SCOPE_H
#define JD_SCOPE_H

#include <stdint.h>
#include <sys/types.h> /* ssize_t */

#include <jackdaw/export.h>
#include <jackdaw/group.h> /* JD_GROUP(), the third of the block macros */
#include <jackdaw/time.h>
#include <jackdaw/types.h>

JD_BEGIN_DECLS

/**
 * @file
 * Cancellation and deadlines, level-triggered: inside a cancelled scope every suspending call fails
 * with -ECANCELED, again and again, until the scope is closed. Tasks spawned under a scope are
 * under it too. jd_task_cancel() cancels a task's outermost scope.
 *
 * Life: open -> body -> close, by the same task, in the same frame, innermost first. A closed scope
 * may be opened again. Debug mode aborts when one outlives its frame, is closed out of order or was
 * copied; release mode returns -EINVAL for the order.
 */
typedef struct jd_scope jd_scope;
JD_VALUE_TYPE(jd_scope, 24);

/**
 * Open a scope around what follows, with a deadline.
 *
 * Of nested deadlines the earliest holds. Outside a task the scope is inert and its close returns
 * -EPERM.
 *
 * @param s        Space in the caller's frame, not open.
 * @param timeout  Nanoseconds from now; <= 0: the next suspending call fails; JD_FOREVER: none.
 *
 * @suspends No.  @threads Tasks; inert elsewhere.  @cancel No.
 * @memory   None.  @cost A few stores; one timer insertion with a deadline.  @since 0.1
 */
JD_API void jd_scope_open(jd_scope *s, int64_t timeout);

/**
 * Open a scope for clean-up that must suspend: cancels from outside wait until it is closed, its
 * own deadline and jd_scope_cancel() do not.
 *
 * @param s        Space in the caller's frame, not open.
 * @param timeout  Nanoseconds from now; give one: a clean-up that hangs holds up everybody.
 *
 * @suspends No.  @threads Tasks; inert elsewhere.  @cancel No: it holds cancels off.
 * @memory   None.  @cost As jd_scope_open().  @since 0.1
 */
JD_API void jd_scope_open_shielded(jd_scope *s, int64_t timeout);

/**
 * Close a scope and say whether it ended anything.
 *
 * @param s  The innermost open scope of the caller.
 *
 * @retval 0           It ended nothing: also when its deadline passed after the last suspending
 *                     call.
 * @retval -ETIMEDOUT  Its deadline made a call fail.
 * @retval -ECANCELED  jd_scope_cancel() on it made a call fail.
 * @retval -EPERM      It was opened outside a task.
 * @retval -EINVAL     NULL, not open, or not the innermost one.
 *
 * @suspends No; a jd_scope_cancel() in progress on another thread is waited for, briefly.
 * @threads  The task that opened it.  @cancel No.
 * @memory   None.  @cost A few loads and stores; one timer removal with a deadline.  @since 0.1
 */
JD_API JD_NODISCARD int jd_scope_close(jd_scope *s);

/**
 * Close a scope and give the body's result, with this scope's code in the place of an -ECANCELED
 * that came from it: `return jd_scope_close_with(&s, jd_read(fd, buf, len));`
 *
 * @param s     The innermost open scope of the caller.
 * @param body  What the body returned, a count or a negative errno.
 *
 * @return  @p body; or -ETIMEDOUT or -ECANCELED of this scope when @p body is -ECANCELED because of
 *          it; or -EPERM, -EINVAL as jd_scope_close(), when @p body is no error.
 *
 * @suspends No.  @threads The task that opened it.  @cancel No.
 * @memory   None.  @cost As jd_scope_close().  @since 0.1
 */
JD_API JD_NODISCARD ssize_t jd_scope_close_with(jd_scope *s, ssize_t body);

/**
 * Cancel everything under a scope, at any depth, on any worker. Idempotent.
 *
 * @param s  Scope. The caller guarantees that it is open; a close waits for a cancel in progress.
 *           Across tasks prefer jd_task_cancel(). NULL is a no-op.
 *
 * @suspends No.  @threads Any, under that guarantee.  @cancel No: it cancels.
 * @memory   None.  @cost O(scopes and suspended waits below).  @since 0.1
 */
JD_API void jd_scope_cancel(jd_scope *s);

/**
 * Move the deadline of an open scope, earlier or later.
 *
 * @param s     An open scope of the calling task.
 * @param when  Absolute nanoseconds on jd_now(); past: the next suspending call fails; JD_FOREVER:
 *              none.
 *
 * @retval 0           Moved.
 * @retval -ETIMEDOUT  The deadline had passed already and its effect stays.
 * @retval -ECANCELED  It was cancelled already and its effect stays.
 * @retval -EINVAL     NULL or not open.
 * @retval -EPERM      Opened outside a task, or not the caller's.
 *
 * @suspends No.  @threads The task that opened it.  @cancel No.
 * @memory   None.  @cost One timer removal and insertion.  @since 0.1
 */
JD_API int jd_scope_set_deadline(jd_scope *s, int64_t when);

/**
 * The deadline that holds here: what is left for a remote call is jd_deadline() - jd_now().
 *
 * @return  Absolute nanoseconds on jd_now(), the earliest of the open scopes that can reach here;
 *          JD_FOREVER when there is none, and outside a task.
 *
 * @suspends No.  @threads Tasks; JD_FOREVER elsewhere.  @cancel No.
 * @memory   None.  @cost O(nested scopes).  @since 0.1
 */
JD_API int64_t jd_deadline(void);

/**
 * Look whether the caller is cancelled, and yield when its time slice is used up. For long
 * computations.
 *
 * @retval 0           Go on.
 * @retval -ECANCELED  A scope around the caller is cancelled or reached its deadline.
 * @retval -EPERM      The caller is not a task.
 *
 * @suspends Only when the slice is used up.  @threads Tasks only.  @cancel Cancellation point.
 * @memory   None.  @cost Two loads, mostly.  @since 0.1
 */
JD_API JD_SUSPENDS int jd_checkpoint(void);

/** Not for users: the end of JD_SCOPE() and JD_SHIELD(). */
JD_INLINE void jd_scope_leave(jd_scope *s)
{
    int ended = jd_scope_close(s);

    (void)ended; /* The macros are for bodies whose own result tells enough. */
}

JD_END_DECLS

/**
 * Declare and open a scope that is closed at the end of the block, however it is left. Its result
 * is discarded: the body's -ECANCELED tells; who must know why opens and closes by hand. Two
 * statements, for use at block level: `JD_SCOPE(limit, JD_SEC(2));`
 */
#define JD_SCOPE(name, timeout) \
    JD_CLEANUP(jd_scope_leave) jd_scope name; \
    jd_scope_open(&name, (timeout))

/** JD_SCOPE() with jd_scope_open_shielded(). */
#define JD_SHIELD(name, timeout) \
    JD_CLEANUP(jd_scope_leave) jd_scope name; \
    jd_scope_open_shielded(&name, (timeout))

#endif /* JD_SCOPE_H */
