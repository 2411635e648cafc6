/* SPDX-License-Identifier: MIT */
#ifndef JD_RUNTIME_H
#define JD_RUNTIME_H

#include <stddef.h>
#include <stdint.h>

#include <jackdaw/export.h>
#include <jackdaw/result.h>
#include <jackdaw/task.h>
#include <jackdaw/time.h>
#include <jackdaw/types.h>

JD_BEGIN_DECLS

/**
 * @file
 * A runtime: workers that share their tasks, each with an event loop, timers and a reactor.
 *
 * Life, short: jd_run(). Life, long: jd_runtime_new() -> jd_runtime_start(), or
 * jd_run_until_complete() and jd_run_forever() any number of times -> jd_stop() ->
 * jd_runtime_free(). Several runtimes may live in a process.
 *
 * The environment overrides the configuration (read with secure_getenv, unless JD_NO_ENV):
 * JACKDAW_WORKERS, JACKDAW_REACTOR=uring|epoll, JACKDAW_DEBUG=1, JACKDAW_SEED.
 */

/* jd_config.reactor */
#define JD_REACTOR_AUTO 0u  /**< io_uring where the kernel allows it, else epoll. */
#define JD_REACTOR_URING 1u /**< -ENOSYS or -EPERM at the start where it is not allowed. */
#define JD_REACTOR_EPOLL 2u

/* jd_config.flags */
#define JD_DEBUG (1u << 0)          /**< Check misuse, name sites, report slow steps. */
#define JD_PIN_WORKERS (1u << 1)    /**< Each worker thread stays on one CPU. */
#define JD_FIFO (1u << 2)           /**< Conformance order: first in, first out per worker. */
#define JD_HANDLE_SIGINT (1u << 3)  /**< jd_run(): SIGINT cancels main, the second one kills. */
#define JD_HANDLE_SIGTERM (1u << 4) /**< The same for SIGTERM. */
#define JD_NO_SIGNALS (1u << 5)     /**< Touch no signal handler at all. */
#define JD_NO_ENV (1u << 6)         /**< Do not read the environment. */

/** How a runtime is made. A NULL pointer to it means JD_CONFIG_INIT. */
typedef struct jd_config {
    size_t size;                   /**< Set by JD_CONFIG_INIT. */
    unsigned workers;              /**< 0 = the CPUs this process may use: affinity, cgroup. */
    size_t stack_bytes;            /**< Per task; 0 = 256 KiB of address space. */
    unsigned blocking_threads_max; /**< Of the default executor; 0 = 64. */
    unsigned reactor;              /**< JD_REACTOR_*. */
    unsigned flags;                /**< JD_DEBUG | JD_PIN_WORKERS | ... */
    int64_t shutdown_timeout;      /**< Nanoseconds leftovers may resist the cancel; 0 = 10 s. */
    const char *name;              /**< For people; copied. NULL = "jackdaw". */
} jd_config;

#define JD_CONFIG_INIT \
    { \
        sizeof(jd_config), 0, 0, 0, JD_REACTOR_AUTO, 0, 0, NULL \
    }

/**
 * Make a runtime, run a function as its main task, cancel and await whatever is left, and free all.
 *
 * @param fn   Coroutine function of the main task.
 * @param arg  Passed to @p fn.
 * @param cfg  Configuration; NULL = the defaults.
 *
 * @return  What @p fn returned; or error -EINTR (a handled signal cancelled and so ended it),
 *          -ETIMEDOUT (leftovers resisted cfg->shutdown_timeout; named through the error handler),
 *          -EBUSY (called on a worker), -EINVAL, -E2BIG (configuration), or what jd_runtime_new()
 *          and jd_runtime_start() fail with.
 *
 * @suspends No: blocks the thread, which serves as worker 0.  @threads Plain threads.  @cancel No.
 * @memory   Everything is freed when it returns, unless -ETIMEDOUT.
 * @cost     As jd_runtime_new(), and a thread per worker.  @since 0.1
 */
JD_API jd_result jd_run(jd_fn fn, void *arg, const jd_config *cfg);

/**
 * Make a runtime. No worker runs yet; spawns and callbacks are queued.
 *
 * @param cfg  Configuration; NULL = the defaults. Copied.
 * @param ret  Receives the runtime on success.
 *
 * @retval 0        Made; jd_runtime_free() it.
 * @retval -EINVAL  @p ret is NULL, cfg->size is 0, an unknown flag or reactor, workers out of
 *                  range.
 * @retval -E2BIG   A configuration of a later version sets what this one does not know.
 * @retval -ENOMEM  Out of memory. Also -EMFILE, -ENFILE.
 * @retval -ENOSYS  The reactor asked for is not there (-EPERM: not allowed).
 *
 * @suspends No.  @threads Any.  @cancel No.
 * @memory   The runtime.
 * @cost     Some system calls per worker. The first runtime of a process that has other threads already: some
 *           20 ms more, which the kernel takes to register it for membarrier(2).  @since 0.1
 */
JD_API int jd_runtime_new(const jd_config *cfg, jd_runtime **ret);

/**
 * Start all workers on threads of their own, for embedding.
 *
 * @param rt  Runtime that does not run.
 *
 * @retval 0        They run.
 * @retval -EBUSY   It runs already.
 * @retval -EAGAIN  The system gives no thread; nothing runs.
 * @retval -EINVAL  @p rt is NULL.
 *
 * @suspends No.  @threads Any, one at a time.  @cancel No.
 * @memory   Thread stacks.  @cost One thread per worker.  @since 0.1
 */
JD_API int jd_runtime_start(jd_runtime *rt);

/**
 * Serve as worker 0 until a future is done.
 *
 * @param rt   Runtime that does not run.
 * @param fut  Future or a task's future; borrowed.
 *
 * @return  Its outcome; or error -EAGAIN (stopped before; @p fut stays usable), -EBUSY (it runs
 *          already, or the caller is a worker), -EINVAL, -ENOMEM.
 *
 * @suspends No: blocks the thread.  @threads Plain threads, one at a time.  @cancel No.
 * @memory   One callback.  @cost Starts and stops the other workers' threads.  @since 0.1
 */
JD_API jd_result jd_run_until_complete(jd_runtime *rt, jd_future *fut);

/**
 * Serve as worker 0 until jd_stop().
 *
 * @param rt  Runtime that does not run.
 *
 * @retval 0        Stopped.
 * @retval -EBUSY   It runs already, or the caller is a worker.
 * @retval -EAGAIN  The system gives no thread.
 * @retval -EINVAL  @p rt is NULL.
 *
 * @suspends No: blocks the thread.  @threads Plain threads, one at a time.  @cancel No.
 * @memory   None.  @cost Starts and stops the other workers' threads.  @since 0.1
 */
JD_API int jd_run_forever(jd_runtime *rt);

/**
 * End the run in progress: the current tick of worker 0 is finished, nothing is cancelled. Before a
 * run: that run does one tick and returns.
 *
 * @param rt  Runtime; NULL is a no-op.
 *
 * @suspends No.  @threads Any.  @cancel No.
 * @memory   None.  @cost One wake-up.  @since 0.1
 */
JD_API void jd_stop(jd_runtime *rt);

/**
 * Cancel and drain what is left, done callbacks included, with the caller as worker 0; then free
 * all. A runtime from jd_runtime_start() is stopped by jd_stop() first.
 *
 * @param rt  Runtime; NULL returns 0.
 *
 * @retval 0           Gone; no thread of it touches the user's memory any more.
 * @retval -EBUSY      It runs, or the caller is one of its workers; nothing happened.
 * @retval -ETIMEDOUT  Leftovers resisted the shutdown timeout; named through the error handler, and
 *                     what they use stays allocated.
 *
 * @suspends No: blocks the thread.  @threads Plain threads; nobody else uses it.  @cancel No.
 * @memory   Frees the runtime.  @cost O(what is left).  @since 0.1
 */
JD_API int jd_runtime_free(jd_runtime *rt);

/**
 * Start a task in a runtime, from anywhere.
 *
 * @param rt   Runtime, running or not.
 * @param fn   Coroutine function; runs once.
 * @param arg  Passed to @p fn. Stays the caller's when NULL is returned.
 * @param opt  Options; NULL = the defaults.
 * @return     One reference; NULL: jd_runtime_spawn_task() says why.
 *
 * @suspends No.  @threads Any.  @cancel No.
 * @memory   As jd_spawn().  @cost As jd_spawn(), and a wake-up from a plain thread.  @since 0.1
 */
JD_API jd_task *jd_runtime_spawn(jd_runtime *rt, jd_fn fn, void *arg, const jd_task_options *opt);

/**
 * Start a task in a runtime, and say why when it fails.
 *
 * @param rt   Runtime, running or not.
 * @param fn   Coroutine function; runs once.
 * @param arg  Passed to @p fn. Stays the caller's on failure.
 * @param opt  Options; NULL = the defaults.
 * @param ret  Receives one reference; NULL = not wanted.
 *
 * @retval 0           It will run.
 * @retval -ENOMEM     Out of memory.
 * @retval -ESHUTDOWN  The runtime is stopping.
 * @retval -E2BIG      Options of a later version set what this one does not know.
 * @retval -EINVAL     @p rt or @p fn is NULL, options of size 0 or with unknown flags.
 *
 * @suspends No.  @threads Any.  @cancel No.
 * @memory   As jd_spawn().  @cost As jd_runtime_spawn().  @since 0.1
 */
JD_API int jd_runtime_spawn_task(jd_runtime *rt, jd_fn fn, void *arg, const jd_task_options *opt,
                                 jd_task **ret);

/**
 * From a plain thread: run a function as a task and block for its result.
 *
 * @param rt   Runtime that runs, or will.
 * @param fn   Coroutine function.
 * @param arg  Passed to @p fn.
 * @return     What @p fn returned; or error -EDEADLK (called on a worker), or as
 *             jd_runtime_spawn_task().
 *
 * @suspends No: blocks the thread.  @threads Plain threads.  @cancel No.
 * @memory   As jd_spawn().  @cost One spawn, one thread wake-up.  @since 0.1
 */
JD_API jd_result jd_runtime_call(jd_runtime *rt, jd_fn fn, void *arg);

/**
 * The runtime the caller runs in.
 *
 * @return  Borrowed; NULL on a plain thread.
 *
 * @suspends No.  @threads Tasks and callbacks; NULL elsewhere.  @cancel No.
 * @memory   None.  @cost Constant.  @since 0.1
 */
JD_API jd_runtime *jd_runtime_current(void);

/**
 * Whether workers of a runtime run.
 *
 * @param rt  Runtime.
 * @return    1 or 0; 0 for NULL.
 *
 * @suspends No.  @threads Any.  @cancel No.
 * @memory   None.  @cost One load.  @since 0.1
 */
JD_API int jd_runtime_is_running(const jd_runtime *rt);

/**
 * How many workers a runtime has.
 *
 * @param rt  Runtime.
 * @return    >= 1; 0 for NULL.
 *
 * @suspends No.  @threads Any.  @cancel No.
 * @memory   None.  @cost One load.  @since 0.1
 */
JD_API unsigned jd_worker_count(const jd_runtime *rt);

/**
 * Which worker the caller runs on. May change at every suspension.
 *
 * @return  0 .. jd_worker_count() - 1; -EPERM on a plain thread.
 *
 * @suspends No.  @threads Tasks and callbacks.  @cancel No.
 * @memory   None.  @cost Constant.  @since 0.1
 */
JD_API int jd_worker_index(void);

/**
 * Keep something with a runtime until that is freed: what a library beside this one needs once per
 * runtime. There is one value per key, and it stays.
 *
 * @param rt      Runtime.
 * @param key     Which value: any address that is the library's own, as that of a static variable.
 * @param value   Not NULL. Stays the caller's on failure.
 * @param detach  Called with @p value by jd_runtime_free() when no task and no other thread of the
 *                runtime is left, the latest first; NULL = nothing is to be done.
 *
 * @retval 0          Kept.
 * @retval -EALREADY  The key has a value, perhaps since a moment ago: jd_runtime_attached() has it.
 * @retval -ENOMEM    Out of memory.
 * @retval -EINVAL    A NULL that must not be.
 *
 * @suspends No.  @threads Any.  @cancel No.
 * @memory   One small block until the runtime is freed.  @cost O(keys).  @since 0.1
 */
JD_API JD_NODISCARD int jd_runtime_attach(jd_runtime *rt, const void *key, void *value,
                                          void (*detach)(void *value));

/**
 * What jd_runtime_attach() keeps under a key.
 *
 * @param rt   Runtime.
 * @param key  As given to jd_runtime_attach().
 * @return     The value; NULL: none, or @p rt is NULL.
 *
 * @suspends No.  @threads Any.  @cancel No.
 * @memory   None.  @cost O(keys), without a lock.  @since 0.1
 */
JD_API void *jd_runtime_attached(const jd_runtime *rt, const void *key);

/** What a runtime found and chose; a snapshot. Strings are valid as long as the runtime. */
typedef struct jd_info {
    size_t size;         /**< Set by JD_INFO_INIT; filled up to this size. */
    unsigned workers;    /**< As jd_worker_count(). */
    const char *reactor; /**< "io_uring" or "epoll". */
    const char *why;     /**< In words, why that one. */
    const char *version; /**< As jd_version(). */
    int guard_pages;     /**< 1 when stacks end in a guard page. */
} jd_info;

#define JD_INFO_INIT \
    { \
        sizeof(jd_info), 0, NULL, NULL, NULL, 0 \
    }

/**
 * Fill in a jd_info.
 *
 * @param rt   Runtime.
 * @param ret  Initialised with JD_INFO_INIT.
 *
 * @retval 0        Filled.
 * @retval -EINVAL  NULL, or ret->size is 0.
 *
 * @suspends No.  @threads Any.  @cancel No.
 * @memory   Borrowed strings.  @cost Constant.  @since 0.1
 */
JD_API int jd_runtime_info(const jd_runtime *rt, jd_info *ret);

JD_END_DECLS
#endif /* JD_RUNTIME_H */
