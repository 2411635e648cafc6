/* SPDX-License-Identifier: MIT */
#ifndef JD_TASK_H
#define JD_TASK_H

#include <stddef.h>
#include <stdint.h>

#include <jackdaw/export.h>
#include <jackdaw/future.h>
#include <jackdaw/types.h>

JD_BEGIN_DECLS

/**
 * @file
 * A task: a coroutine function that runs beside others, on a stack of its own. A task is a future.
 *
 * Life: jd_spawn() -> runs, suspends, resumes, perhaps on another worker -> ends with the result of
 * its function -> jd_join(), which takes the reference. The runtime holds a reference of its own
 * until the function has returned: dropping yours never stops a task. A spawned function is always
 * entered, also when the task was cancelled before: it sees the cancel at its first suspending
 * call.
 *
 * A failed task that nobody looks at is reported once through the error handler: when it has failed
 * and no reference of the user is left.
 */

#define JD_TASK_PINNED (1u << 0) /**< Stays on the worker it was spawned on. */
#define JD_TASK_EAGER (1u << 1)  /**< Its first step runs inside the spawn. */

/** Options of a spawn. A NULL pointer to them means JD_TASK_OPTIONS_INIT. */
typedef struct jd_task_options {
    size_t size;        /**< Set by JD_TASK_OPTIONS_INIT. */
    const char *name;   /**< Copied, and cut when long. NULL = a unique one is made up. */
    size_t stack_bytes; /**< Address space, committed page by page. 0 = the runtime's default. */
    unsigned flags;     /**< JD_TASK_PINNED | JD_TASK_EAGER. */
} jd_task_options;

#define JD_TASK_OPTIONS_INIT \
    { \
        sizeof(jd_task_options), NULL, 0, 0 \
    }

/**
 * Name a coroutine. Runs nothing: awaiting it runs it at once, inside the caller's task.
 *
 * @param fn   Coroutine function.
 * @param arg  Passed to @p fn.
 *
 * @suspends No.  @threads Any.  @cancel No.
 * @memory   None.  @cost Constant.  @since 0.1
 */
JD_API jd_coro jd_coro_of(jd_fn fn, void *arg);

/**
 * Start a task: queued behind what is ready, makes progress without being awaited.
 *
 * @param fn   Coroutine function; runs once.
 * @param arg  Passed to @p fn. Stays the caller's when NULL is returned.
 * @return     One reference, for jd_join() or jd_task_unref(). NULL: out of memory, the runtime is
 *             stopping, @p fn is NULL, or the caller is on no worker.
 *
 * @suspends No.  @threads Tasks and callbacks of a runtime.
 * @cancel   No: also in a cancelled scope. The child has a root scope of its own: it is not cancelled
 *           with its spawner (a group's members are).
 * @memory   One task and one stack, from per-worker caches.  @cost One queue insertion.  @since 0.1
 */
JD_API JD_NODISCARD jd_task *jd_spawn(jd_fn fn, void *arg);

/**
 * Start a task with options.
 *
 * @param fn   Coroutine function; runs once.
 * @param arg  Passed to @p fn. Stays the caller's when NULL is returned.
 * @param opt  Options; NULL = jd_spawn(). Copied.
 * @return     As jd_spawn(); NULL also for options of a wrong size or with unknown flags.
 *
 * @suspends No; with JD_TASK_EAGER the child's first step runs first.
 * @threads  Tasks and callbacks of a runtime.  @cancel No.
 * @memory   As jd_spawn().  @cost As jd_spawn().  @since 0.1
 */
JD_API JD_NODISCARD jd_task *jd_spawn_with(jd_fn fn, void *arg, const jd_task_options *opt);

/**
 * Start a task without a reference to it. A failure of it is reported at once.
 *
 * @param fn   Coroutine function; runs once.
 * @param arg  Passed to @p fn. Stays the caller's on failure.
 *
 * @retval 0           It will run.
 * @retval -EINVAL     @p fn is NULL.
 * @retval -ENOMEM     Out of memory.
 * @retval -ESHUTDOWN  The runtime is stopping.
 * @retval -EPERM      The caller is on no worker.
 *
 * @suspends No.  @threads Tasks and callbacks of a runtime.  @cancel No.
 * @memory   As jd_spawn().  @cost As jd_spawn().  @since 0.1
 */
JD_API JD_NODISCARD int jd_spawn_detached(jd_fn fn, void *arg);

/**
 * jd_ensure_future() for a future: comes back with one more reference.
 *
 * @param f  Future.
 * @return   @p f; NULL for NULL, or where the caller is on no worker.
 *
 * @suspends No.  @threads Tasks and callbacks of a runtime.  @cancel No.
 * @memory   None.  @cost One atomic increment.  @since 0.1
 */
JD_API jd_future *jd_ensure_from_future(jd_future *f);

/**
 * jd_ensure_future() for a task: its future, with one more reference.
 *
 * @param t  Task.
 * @return   jd_task_future(t); NULL for NULL, or where the caller is on no worker.
 *
 * @suspends No.  @threads Tasks and callbacks of a runtime.  @cancel No.
 * @memory   None.  @cost One atomic increment.  @since 0.1
 */
JD_API jd_future *jd_ensure_from_task(jd_task *t);

/**
 * jd_ensure_future() for a coroutine: it becomes a task, as by jd_spawn().
 *
 * @param c  Coroutine.
 * @return   The new task's future, one reference; NULL as jd_spawn().
 *
 * @suspends No.  @threads Tasks and callbacks of a runtime.  @cancel No.
 * @memory   As jd_spawn().  @cost As jd_spawn().  @since 0.1
 */
JD_API jd_future *jd_ensure_from_coro(jd_coro c);

/**
 * The owner's await: waits for a task's end, always, and takes the reference.
 *
 * When the caller is cancelled it passes the cancel on to @p t and still waits. A task that nobody
 * has started yet may run right here, as a function call.
 *
 * @param t  Task; the reference is consumed, whatever is returned except for -EDEADLK and -EPERM.
 * @return   Its outcome; or error -EINVAL (@p t is NULL), -EDEADLK (a task joins itself), -EPERM
 *           (the caller is not a task).
 *
 * @suspends Yes, until @p t has ended.  @threads Tasks only.
 * @cancel   No cancellation point: passes the cancel on.
 * @memory   Frees the task with its last reference.  @cost One suspend, one wake-up.  @since 0.1
 */
JD_API JD_SUSPENDS jd_result jd_join(jd_task *t);

/**
 * A task as a future: a cast. Const in, const out.
 *
 * @param t  Task or NULL.
 * @return   The same object; no reference is added.
 *
 * @suspends No.  @threads Any.  @cancel No.
 * @memory   None.  @cost None.  @since 0.1
 */
JD_API jd_future *jd_task_future(jd_task *t);

/**
 * jd_task_future() for a pointer to const.
 *
 * @param t  Task or NULL.
 * @return   The same object; no reference is added.
 *
 * @suspends No.  @threads Any.  @cancel No.
 * @memory   None.  @cost None.  @since 0.1
 */
JD_API const jd_future *jd_task_future_const(const jd_task *t);

/**
 * One more reference.
 *
 * @param t  Task or NULL.
 * @return   @p t.
 *
 * @suspends No.  @threads Any.  @cancel No.
 * @memory   None.  @cost One atomic increment.  @since 0.1
 */
JD_API jd_task *jd_task_ref(jd_task *t);

/**
 * Drop a reference. Never stops the task: the runtime holds its own until it ends.
 *
 * @param t  Task; NULL is a no-op.
 *
 * @suspends No.  @threads Any.  @cancel No.
 * @memory   Frees the task with its last reference.  @cost One atomic decrement.  @since 0.1
 */
JD_API void jd_task_unref(jd_task *t);

/**
 * Ask a task to end: its outermost scope is cancelled, so every suspending call in it fails with
 * -ECANCELED from now on, except under a shield. What it then returns is its outcome.
 *
 * @param t       Task; may be the caller.
 * @param reason  A literal or any string that outlives the task, or NULL; the first one stays.
 *
 * @retval 0          Requested. It ends when its function returns.
 * @retval -EALREADY  It had ended.
 * @retval -EINVAL    @p t is NULL.
 *
 * @suspends No.  @threads Any.  @cancel No.
 * @memory   None.  @cost O(nested scopes and suspended waits below).  @since 0.1
 */
JD_API int jd_task_cancel(jd_task *t, const char *reason);

/**
 * Ask a task to end and wait for its end. The reference stays the caller's.
 *
 * @param t       Task.
 * @param reason  As jd_task_cancel().
 *
 * @retval 0           It has ended; jd_future_result() tells how.
 * @retval -EALREADY   It had ended before.
 * @retval -ECANCELED  The caller was cancelled while it waited; the request stands.
 * @retval -EDEADLK    @p t is the caller.
 * @retval -EPERM      Called inside a loop callback.
 * @retval -EINVAL     @p t is NULL.
 *
 * @suspends Yes, until @p t has ended.  @threads A task suspends, a plain thread blocks.
 * @cancel   Cancellation point.
 * @memory   None.  @cost As jd_task_cancel(), one suspend, one wake-up.  @since 0.1
 */
JD_API JD_SUSPENDS int jd_task_cancel_wait(jd_task *t, const char *reason);

/**
 * How many cancels are requested and not withdrawn.
 *
 * @param t  Task.
 * @return   >= 0; 0 for NULL.
 *
 * @suspends No.  @threads Any.  @cancel No.
 * @memory   None.  @cost One load.  @since 0.1
 */
JD_API int jd_task_cancelling(const jd_task *t);

/**
 * Withdraw one request. At 0 the task's outermost scope is not cancelled any more.
 *
 * @param t  Task.
 *
 * @retval >=0      How many requests are left; never below 0.
 * @retval -EINVAL  @p t is NULL.
 *
 * @suspends No.  @threads Any.  @cancel No: it withdraws one.
 * @memory   None.  @cost O(nested scopes).  @since 0.1
 */
JD_API int jd_task_uncancel(jd_task *t);

/**
 * The task the caller is.
 *
 * @return  Borrowed. NULL on a plain thread and in a loop callback.
 *
 * @suspends No.  @threads Any.  @cancel No.
 * @memory   None.  @cost Constant.  @since 0.1
 */
JD_API jd_task *jd_task_current(void);

/**
 * A number of its own for each task of the process, never used again.
 *
 * @param t  Task.
 * @return   > 0; 0 for NULL.
 *
 * @suspends No.  @threads Any.  @cancel No.
 * @memory   None.  @cost One load.  @since 0.1
 */
JD_API uint64_t jd_task_id(const jd_task *t);

/**
 * The name of a task, for people.
 *
 * @param t  Task.
 * @return   Borrowed, valid until the name is set again or the last reference goes; "" for NULL.
 *
 * @suspends No.  @threads Any, but not while another thread sets it.  @cancel No.
 * @memory   None.  @cost Constant.  @since 0.1
 */
JD_API const char *jd_task_name(const jd_task *t);

/**
 * Rename a task.
 *
 * @param t     Task; NULL is a no-op.
 * @param name  Copied, and cut when long; NULL goes back to the made-up one.
 *
 * @suspends No.  @threads Any.  @cancel No.
 * @memory   None.  @cost A short copy.  @since 0.1
 */
JD_API void jd_task_set_name(jd_task *t, const char *name);

/**
 * The function and argument a task was spawned with.
 *
 * @param t  Task.
 * @return   The pair; both NULL for NULL.
 *
 * @suspends No.  @threads Any.  @cancel No.
 * @memory   None.  @cost Constant.  @since 0.1
 */
JD_API jd_coro jd_task_coro(const jd_task *t);

/**
 * Call a function for each unfinished task of a runtime: a weakly consistent snapshot. Every task
 * that lives during the whole call is seen once; one that comes or goes meanwhile, at most once.
 *
 * @param rt   Runtime; NULL = the caller's.
 * @param fn   Called without a lock held, so it may spawn, cancel and unref; must not suspend. The
 *             task is borrowed. Non-zero ends the walk.
 * @param arg  Passed to @p fn.
 *
 * @return  What @p fn last returned, 0 when it saw all of them, -EINVAL when @p fn is NULL, -EPERM
 *          when @p rt is NULL and the caller is on no worker, -ENOMEM.
 *
 * @suspends No.  @threads Any.  @cancel No.
 * @memory   A temporary snapshot.  @cost O(tasks); the world is not stopped.  @since 0.1
 */
JD_API int jd_task_foreach(jd_runtime *rt, int (*fn)(jd_task *t, void *arg), void *arg);

/**
 * Let everything that is ready on this loop run first; asyncio's sleep(0).
 *
 * @retval 0           The others had their turn.
 * @retval -ECANCELED  A scope around the caller is cancelled.
 * @retval -EPERM      The caller is not a task.
 *
 * @suspends Yes.  @threads Tasks only.  @cancel Cancellation point.
 * @memory   None.  @cost Two stack switches and a trip through the queue.  @since 0.1
 */
JD_API JD_SUSPENDS int jd_yield(void);

/**
 * Whether the caller's time slice is used up, so that a long computation can jd_yield() only then.
 *
 * @return  1 or 0; 0 on a plain thread.
 *
 * @suspends No.  @threads Any.  @cancel No.
 * @memory   None.  @cost One load.  @since 0.1
 */
JD_API int jd_should_yield(void);

/**
 * Fork-join in the caller's frame, without allocation. What was forked last is joined first, and
 * all before the frame ends; debug mode aborts otherwise.
 */
typedef struct jd_fork jd_fork;
JD_VALUE_TYPE(jd_fork, 8);

/**
 * Offer a child to the other workers. It runs there if one of them steals it, else in
 * jd_fork_join().
 *
 * @param f    Space in the caller's frame; untouched by others until joined.
 * @param fn   Coroutine function; runs once.
 * @param arg  Passed to @p fn.
 *
 * @suspends No.  @threads Any; outside a task it only records the call.  @cancel No.
 * @memory   None; a stolen child gets a stack of the thief's.  @cost A few stores.  @since 0.1
 */
JD_API void jd_fork_start(jd_fork *f, jd_fn fn, void *arg);

/**
 * Take the child's result. A child that nobody stole runs right here as a function call; outside a
 * task it always does.
 *
 * @param f  The fork that was started last and is not joined yet.
 * @return   What its function returned; error -EINVAL when @p f is NULL or out of order.
 *
 * @suspends Yes, while a thief still runs the child.  @threads Any.
 * @cancel   No cancellation point: passes the cancel on and still waits.
 * @memory   None.  @cost Not stolen: a call and a few loads and stores.  @since 0.1
 */
JD_API JD_SUSPENDS jd_result jd_fork_join(jd_fork *f);

JD_END_DECLS

/*
 * jd_ensure_future(AWAITABLE): a coroutine becomes a task, a future or task comes back with one
 * more reference. jd_task_future() keeps const; it is a function too, whose definition must write
 * its name in parentheses. Arguments are evaluated once.
 */
#ifdef __cplusplus
JD_BEGIN_OVERLOADS
inline jd_future *jd_ensure_future(jd_future *f)
{
    return jd_ensure_from_future(f);
}
inline jd_future *jd_ensure_future(jd_task *t)
{
    return jd_ensure_from_task(t);
}
inline jd_future *jd_ensure_future(jd_coro c)
{
    return jd_ensure_from_coro(c);
}
inline jd_future *jd_ensure_future(decltype(nullptr))
{
    return jd_ensure_from_future(nullptr);
}
inline const jd_future *jd_task_future(const jd_task *t)
{
    return jd_task_future_const(t);
}
inline jd_future *jd_task_future(decltype(nullptr))
{
    return nullptr;
}
JD_END_OVERLOADS
#else
#define jd_ensure_future(...) \
    _Generic((__VA_ARGS__),                                                                        \
        jd_future *: jd_ensure_from_future,                                                        \
        jd_task *: jd_ensure_from_task,                                                            \
        jd_coro: jd_ensure_from_coro,                                                              \
        void *: jd_ensure_from_future)(__VA_ARGS__)
#define jd_task_future(...) \
    _Generic((__VA_ARGS__),                                                                        \
        const jd_task *: jd_task_future_const,                                                     \
        default: jd_task_future)(__VA_ARGS__)
#endif

#endif /* JD_TASK_H */
