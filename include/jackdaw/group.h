/* SPDX-License-Identifier: MIT */
#ifndef JD_GROUP_H
#define JD_GROUP_H

#include <stdint.h>

#include <jackdaw/export.h>
#include <jackdaw/task.h>
#include <jackdaw/time.h>
#include <jackdaw/types.h>

JD_BEGIN_DECLS

/**
 * @file
 * Structured concurrency: tasks that cannot outlive a block.
 *
 * Life: jd_group_open() -> jd_group_spawn() any number of times, also by members ->
 * jd_group_close(), which waits for every member. A group is a scope as well: its deadline and its
 * cancel reach the body and all members. A member that was cancelled on its own is no error.
 * Members may run on any worker; a finished one is dropped at once, so a long-lived group does not
 * grow.
 */
typedef struct jd_group jd_group;
JD_VALUE_TYPE(jd_group, 56);

/* 0 = the first error cancels the rest. */
#define JD_GROUP_KEEP_GOING (1u << 0) /**< An error cancels nobody; close returns the first. */
#define JD_GROUP_FIRST_OK (1u << 1)   /**< The first success cancels the rest; errors do not. */

/**
 * Open a group around what follows.
 *
 * @param g        Space in the caller's frame, not open. Debug mode aborts when it outlives that.
 * @param flags    0 | JD_GROUP_KEEP_GOING | JD_GROUP_FIRST_OK.
 * @param timeout  Nanoseconds from now for the body and all members; JD_FOREVER = none.
 *
 * @suspends No.  @threads Tasks; elsewhere it is inert: spawns and its close return -EPERM.
 * @cancel   No.
 * @memory   None.  @cost As jd_scope_open().  @since 0.1
 */
JD_API void jd_group_open(jd_group *g, unsigned flags, int64_t timeout);

/**
 * Start a member. On failure @p arg stays the caller's.
 *
 * @param g    Open group; the caller is its owner or one of its members.
 * @param fn   Coroutine function; runs once.
 * @param arg  Passed to @p fn.
 *
 * @retval 0           It will run, and the close waits for it.
 * @retval -ECANCELED  The group is cancelled.
 * @retval -EPIPE      The group is closed.
 * @retval -ENOMEM     Out of memory.
 * @retval -ESHUTDOWN  The runtime is stopping.
 * @retval -EPERM      The caller is on no worker.
 * @retval -EINVAL     @p g or @p fn is NULL.
 *
 * @suspends No.  @threads Tasks of the group: owner and members, on any worker.
 * @cancel   No cancellation point, though it fails in a cancelled group.
 * @memory   One task and one stack, from per-worker caches.  @cost As jd_spawn().  @since 0.1
 */
JD_API int jd_group_spawn(jd_group *g, jd_fn fn, void *arg);

/**
 * Start a member with options, and perhaps keep a reference to it.
 *
 * @param g         Open group; the caller is its owner or one of its members.
 * @param fn        Coroutine function; runs once.
 * @param arg       Passed to @p fn.
 * @param opt       Options, copied; NULL = the defaults.
 * @param ret_task  Receives one reference, through which the member is readable and cancellable on
 *                  its own; NULL = not wanted.
 *
 * @retval 0        It will run, and the close waits for it.
 * @retval -E2BIG   Options of a later version set what this one does not know.
 * @return          Others as jd_group_spawn(); -EINVAL also for options of size 0 or unknown flags.
 *
 * @suspends No; with JD_TASK_EAGER the member's first step runs first.
 * @threads  Tasks of the group.  @cancel As jd_group_spawn().
 * @memory   As jd_group_spawn().  @cost As jd_spawn().  @since 0.1
 */
JD_API int jd_group_spawn_with(jd_group *g, jd_fn fn, void *arg, const jd_task_options *opt,
                               jd_task **ret_task);

/**
 * End a group early, without an error: cancels members and body; the close then returns 0.
 * Idempotent.
 *
 * @param g  Open group. The caller guarantees that it is open. NULL is a no-op.
 *
 * @suspends No.  @threads Any, under that guarantee.  @cancel No: it cancels.
 * @memory   None.  @cost O(members).  @since 0.1
 */
JD_API void jd_group_cancel(jd_group *g);

/**
 * Wait for every member, and say how the group ended. When the caller is cancelled the members are
 * too, and it still waits. Members may spawn further members meanwhile.
 *
 * @param g  The innermost open group or scope of the caller.
 *
 * @retval 0           No error; or ended by jd_group_cancel(); or, FIRST_OK: somebody succeeded.
 * @retval -ETIMEDOUT  Its deadline ended something and no member failed.
 * @retval -ECANCELED  The caller was cancelled and no member failed.
 * @retval -EPERM      Opened outside a task.
 * @retval -EINVAL     NULL, not open, or not the innermost.
 * @return             Else the first error of a member.
 *
 * @suspends Yes, while members run.  @threads The task that opened it.
 * @cancel   No cancellation point: passes the cancel on.
 * @memory   What the members used is free when it returns.  @cost One suspend, one wake-up.
 * @since 0.1
 */
JD_API JD_NODISCARD JD_SUSPENDS int jd_group_close(jd_group *g);

/**
 * jd_group_close() after a body that may have failed: an error of the body is a member's error, it
 * is recorded and cancels the rest.
 *
 * @param g           The innermost open group or scope of the caller.
 * @param body_error  0 or a negative errno. A count > 0 is no error. -ECANCELED that came from the
 *                    group itself is no error.
 * @return            As jd_group_close().
 *
 * @suspends Yes, while members run.  @threads The task that opened it.
 * @cancel   No cancellation point: passes the cancel on.
 * @memory   As jd_group_close().  @cost As jd_group_close().  @since 0.1
 */
JD_API JD_NODISCARD JD_SUSPENDS int jd_group_close_with(jd_group *g, int body_error);

/**
 * The errors of a group, in the order they happened. The first four are kept, valid until the group
 * is opened again.
 *
 * @param g    Group, open or closed.
 * @param ret  Receives up to @p max of those kept; NULL = only count.
 * @param max  Room in @p ret, in elements.
 * @return     How many there were, which may be more than were written.
 *
 * @suspends No.  @threads The task that opened it.  @cancel No.
 * @memory   None.  @cost Constant.  @since 0.1
 */
JD_API unsigned jd_group_errors(const jd_group *g, jd_result *ret, unsigned max);

/**
 * The success that ended a JD_GROUP_FIRST_OK group.
 *
 * @param g    Group, after its close.
 * @param ret  Receives the winner's result.
 *
 * @retval 0        @p ret holds it.
 * @retval -EAGAIN  Nobody has succeeded.
 * @retval -EINVAL  NULL, or no FIRST_OK group.
 *
 * @suspends No.  @threads The task that opened it.  @cancel No.
 * @memory   None.  @cost Constant.  @since 0.1
 */
JD_API int jd_group_winner(const jd_group *g, jd_result *ret);

/** Not for users: the end of JD_GROUP(). */
JD_INLINE JD_SUSPENDS void jd_group_leave(jd_group *g)
{
    int ended = jd_group_close(g);

    (void)ended; /* Kept by jd_group_errors() for who looks; the error was a member's. */
}

JD_END_DECLS

/**
 * Declare and open a group that is closed at the end of the block, however it is left; that is
 * where the block waits for its members. The close's result is discarded. Two statements, for use
 * at block level: `JD_GROUP(workers, 0, JD_FOREVER);`
 */
#define JD_GROUP(name, flags, timeout) \
    JD_CLEANUP(jd_group_leave) jd_group name; \
    jd_group_open(&name, (flags), (timeout))

#endif /* JD_GROUP_H */
