/* SPDX-License-Identifier: MIT */
#ifndef JD_EXECUTOR_H
#define JD_EXECUTOR_H

#include <stddef.h>
#include <stdint.h>

#include <jackdaw/export.h>
#include <jackdaw/result.h>
#include <jackdaw/time.h>
#include <jackdaw/types.h>

JD_BEGIN_DECLS

/**
 * @file
 * Threads for code that blocks: a database driver, a compressor, a library of somebody else.
 *
 * A *blocking function* has the type of a coroutine function but runs on a thread of a pool, which it
 * may block for as long as it likes. It is no task there: calls that only tasks may make answer
 * -EPERM, and those that plain threads may make, too, work: jd_runtime_call() to run a function as a
 * task and wait for it, semaphores, futures. While it waits in one of these, its place in the pool is
 * given to another thread, so that what it waits for may use the same pool.
 *
 * A pool makes its threads when there is work for them, up to its bound, and lets them go when there
 * is none. Functions start in the order in which they were given. Where the system refuses a thread,
 * the work is left to those that there are; if all of these wait in the runtime, perhaps for that very
 * work, it fails with -EAGAIN.
 *
 * Each runtime has pools of its own, by class: a slow name server does not hold up files, and neither
 * holds up what you run in a thread. jd_runtime_free() and jd_run() cancel what has not started and
 * wait for what runs, at most config.shutdown_timeout; jd_thread_cancelled() says 1 from then on.
 *
 * Life of a pool of one's own: jd_executor_new() -> jd_to_thread_with(), jd_run_in_executor() ->
 * jd_executor_shutdown() -> jd_executor_unref().
 */
typedef struct jd_executor jd_executor;

/* Which pool of a runtime: jd_runtime_executor(). */
#define JD_EXECUTOR_USER 0u  /**< What NULL means: jd_to_thread(). config.blocking_threads_max. */
#define JD_EXECUTOR_DNS 1u   /**< jd_resolve() and names in jd_dial(). At most 32 threads. */
#define JD_EXECUTOR_FILES 2u /**< Files where the kernel offers nothing better. At most 16. */

/* jd_to_thread_with() */
#define JD_ABANDON (1u << 0) /**< When the caller is cancelled, leave the function to itself. */

/* jd_executor_shutdown() */
#define JD_CANCEL_PENDING (1u << 0) /**< What has not started never will: -ECANCELED. */

/**
 * Make a pool.
 *
 * @param threads_max  Functions that run at once, 1 .. 32767; 0 = 64. With 1 they run one after the
 *                     other, except that one which waits in the runtime lets the next one start.
 * @param name         Of its threads, for people; copied, 15 characters count. NULL = "executor".
 * @param ret          Receives the pool on success.
 *
 * @retval 0        Made; jd_executor_unref() it.
 * @retval -EINVAL  @p ret is NULL, or @p threads_max is out of range.
 * @retval -ENOMEM  Out of memory.
 *
 * @suspends No.  @threads Any.  @cancel No.
 * @memory   The pool; no thread yet.  @cost Constant.  @since 0.1
 */
JD_API JD_NODISCARD int jd_executor_new(unsigned threads_max, const char *name, jd_executor **ret);

/**
 * One more reference.
 *
 * @param e  Pool; NULL is allowed.
 * @return   @p e.
 *
 * @suspends No.  @threads Any.  @cancel No.
 * @memory   None.  @cost One locked operation.  @since 0.1
 */
JD_API jd_executor *jd_executor_ref(jd_executor *e);

/**
 * Drop a reference. With the last one the pool closes: what was accepted still runs, then its threads
 * end and its memory goes. Nobody waits for that; to wait, call jd_executor_shutdown() before.
 *
 * @param e  Pool; NULL is a no-op.
 *
 * @suspends No.  @threads Any.  @cancel No.
 * @memory   Frees the pool, when nothing runs in it any more.  @cost One locked operation.  @since 0.1
 */
JD_API void jd_executor_unref(jd_executor *e);

/**
 * Close a pool and wait until its threads have ended. Later submissions fail with -ESHUTDOWN.
 *
 * @param e        Pool; not one of a runtime.
 * @param flags    0: what was accepted still runs. JD_CANCEL_PENDING: what has not started is
 *                 cancelled.
 * @param timeout  Nanoseconds; JD_FOREVER waits as long as it takes, <= 0 does not wait.
 *
 * @retval 0           Everything has ended; also when it had before.
 * @retval -ETIMEDOUT  Something runs yet. The pool stays closed; call again to wait on.
 * @retval -ECANCELED  The caller was cancelled; the same.
 * @retval -EDEADLK    The caller is a function that runs in this pool.
 * @retval -EINVAL     @p e is NULL, or flags that are not known.
 * @retval -EPERM      @p e belongs to a runtime, or the caller is a loop callback.
 * @retval -ESHUTDOWN  The child of a fork: the threads stayed with the parent.
 *
 * @suspends Yes; a plain thread blocks.  @threads Tasks and plain threads.
 * @cancel   Cancellation point, after the pool was closed.
 * @memory   None.  @cost The end of each thread.  @since 0.1
 */
JD_API JD_SUSPENDS int jd_executor_shutdown(jd_executor *e, unsigned flags, int64_t timeout);

/**
 * A pool of a runtime.
 *
 * @param rt     Runtime; NULL = the caller's.
 * @param which  JD_EXECUTOR_USER, JD_EXECUTOR_DNS or JD_EXECUTOR_FILES.
 * @return       Borrowed, valid until the runtime is freed; NULL for another @p which, or NULL off
 *               the workers.
 *
 * @suspends No.  @threads Any.  @cancel No.
 * @memory   None.  @cost One load.  @since 0.1
 */
JD_API jd_executor *jd_runtime_executor(jd_runtime *rt, unsigned which);

/**
 * Run a blocking function in a pool and go on. The future is done when the function has returned.
 *
 * jd_future_cancel() of it: a function that has not started never runs. One that runs goes on, learns
 * of it by jd_thread_cancelled(), and its result is dropped. So @p arg must live until the function
 * has run or the pool has ended, whatever happens to the future.
 *
 * @param e    Pool; NULL = the runtime's.
 * @param fn   Blocking function.
 * @param arg  Passed to @p fn.
 * @return     A future, one reference; or NULL: out of memory, closed, no thread and none to be had,
 *             or @p e is NULL and the caller is on no worker. jd_executor_submit() says which.
 *
 * @suspends No.  @threads Any.  @cancel No.
 * @memory   One allocation.  @cost 0.3 us, and a wake-up when the pool sleeps.  @since 0.1
 */
JD_API JD_NODISCARD jd_future *jd_run_in_executor(jd_executor *e, jd_fn fn, void *arg);

/**
 * jd_run_in_executor(), saying why it failed.
 *
 * @param e    Pool; NULL = the runtime's.
 * @param fn   Blocking function.
 * @param arg  Passed to @p fn.
 * @param ret  Receives the future, one reference; untouched on failure.
 *
 * @retval 0           Accepted.
 * @retval -ESHUTDOWN  The pool is closed.
 * @retval -EAGAIN     The pool has no thread that could take it, and the system gives none.
 * @retval -ENOMEM     Out of memory.
 * @retval -EINVAL     @p fn or @p ret is NULL.
 * @retval -EPERM      @p e is NULL and the caller is on no worker.
 *
 * @suspends No.  @threads Any.  @cancel No.
 * @memory   One allocation.  @cost As jd_run_in_executor().  @since 0.1
 */
JD_API JD_NODISCARD int jd_executor_submit(jd_executor *e, jd_fn fn, void *arg, jd_future **ret);

/**
 * Run a blocking function in the runtime's pool and wait for its result.
 *
 * When the caller is cancelled: a function that has not started never runs, and the call returns
 * -ECANCELED. One that runs is waited for, and learns of the cancel by jd_thread_cancelled(); its
 * result is returned, whatever it is.
 *
 * @param fn   Blocking function.
 * @param arg  Passed to @p fn; need not live longer than the call.
 *
 * @return  What @p fn returned; or error -ECANCELED (it did not run), -EPERM (not in a task),
 *          -EINVAL (NULL), -ESHUTDOWN, -EAGAIN (no thread and none to be had; it did not run).
 *
 * @suspends Yes.  @threads Tasks only.
 * @cancel   Not a cancellation point while @p fn runs: always waits for its end.
 * @memory   None.  @cost Two wake-ups of threads, some 20 us, and less when calls follow each other.
 * @since    0.1
 */
JD_API JD_SUSPENDS jd_result jd_to_thread(jd_fn fn, void *arg);

/**
 * jd_to_thread() with a pool and flags.
 *
 * @param e      Pool; NULL = the runtime's.
 * @param fn     Blocking function.
 * @param arg    Passed to @p fn.
 * @param flags  0, or JD_ABANDON: a cancelled caller leaves at once. The function goes on without it
 *               and its result is dropped, so @p arg must live until then; its place in the pool is
 *               taken until it really ends.
 *
 * @return  As jd_to_thread(); -ENOMEM with JD_ABANDON.
 *
 * @suspends Yes.  @threads Tasks only.
 * @cancel   As jd_to_thread(); with JD_ABANDON a cancellation point.
 * @memory   None; with JD_ABANDON one allocation.  @cost As jd_to_thread().  @since 0.1
 */
JD_API JD_SUSPENDS jd_result jd_to_thread_with(jd_executor *e, jd_fn fn, void *arg, unsigned flags);

/**
 * Does anybody still want the result of the blocking function that the caller is in?
 *
 * @return  1 when its caller was cancelled, its future was, or its runtime ends; else 0, also off
 *          the threads of pools.
 *
 * @suspends No.  @threads Any.  @cancel No.
 * @memory   None.  @cost A few loads.  @since 0.1
 */
JD_API int jd_thread_cancelled(void);

/** A pool's state, a snapshot. */
typedef struct jd_executor_stats {
    size_t size;          /**< Set by JD_EXECUTOR_STATS_INIT; filled up to this size. */
    unsigned threads_max; /**< The bound. */
    unsigned threads;     /**< That there are. */
    unsigned idle;        /**< Of these, asleep. */
    unsigned blocked;     /**< Of these, in a function that waits in the runtime. */
    uint64_t queued;      /**< Functions that wait for a thread. */
    uint64_t started;     /**< Functions given to a thread so far. */
    uint64_t refused;     /**< Threads that the system refused. */
    int64_t wait_p50;     /**< Nanoseconds in the queue of those started; 0 when there are none. */
    int64_t wait_p99;
    int64_t wait_max;
} jd_executor_stats;

#define JD_EXECUTOR_STATS_INIT \
    { \
        sizeof(jd_executor_stats), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 \
    }

/**
 * How a pool is doing: above all, how long work waits for a thread.
 *
 * @param e    Pool; NULL = the runtime's.
 * @param ret  Its size says how much is filled.
 *
 * @retval 0        Filled.
 * @retval -EINVAL  @p ret is NULL or its size is 0.
 * @retval -EPERM   @p e is NULL and the caller is on no worker.
 *
 * @suspends No.  @threads Any.  @cancel No.
 * @memory   None.  @cost Some microseconds.  @since 0.1
 */
JD_API int jd_executor_get_stats(jd_executor *e, jd_executor_stats *ret);

JD_END_DECLS
#endif /* JD_EXECUTOR_H */
