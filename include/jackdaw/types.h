/* SPDX-License-Identifier: MIT */
#ifndef JD_TYPES_H
#define JD_TYPES_H

#include <stddef.h>
#include <stdint.h>

#include <jackdaw/export.h>
#include <jackdaw/result.h>

JD_BEGIN_DECLS

/**
 * @file
 * The names that more than one header needs: opaque handles, coroutine functions, coroutines.
 * Include the header of the thing you use; this one comes with it.
 */
typedef struct jd_runtime jd_runtime; /**< Workers, timers, reactor: see runtime.h. */
typedef struct jd_loop jd_loop;       /**< One worker's event loop: see loop.h. */
typedef struct jd_handle jd_handle;   /**< A callback that was scheduled: see loop.h. */
typedef struct jd_future jd_future;   /**< A value that is still to come: see future.h. */
typedef struct jd_task jd_task;       /**< A coroutine function that runs: see task.h. */

/**
 * A coroutine function: any function that calls suspending functions, at any depth. It may resume
 * on another worker thread after each of them, so nothing thread-local (errno included) survives
 * one. A C++ exception that leaves it terminates the process.
 */
typedef jd_result (*jd_fn)(void *arg);

/** A coroutine that was named and does not run yet. Plain data; made by jd_coro_of(). */
typedef struct jd_coro {
    jd_fn fn;
    void *arg;
} jd_coro;

JD_END_DECLS
#endif /* JD_TYPES_H */
