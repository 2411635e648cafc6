/* SPDX-License-Identifier: MIT */
#ifndef JD_INSPECT_H
#define JD_INSPECT_H

#include <stddef.h>
#include <stdint.h>

#include <jackdaw/export.h>
#include <jackdaw/time.h>
#include <jackdaw/types.h>

JD_BEGIN_DECLS

/**
 * @file
 * What a runtime reports when something goes wrong that no caller hears about.
 */

/* jd_report.kind; more may come. */
#define JD_REPORT_UNHANDLED 0u      /**< A failed task or future that nobody looked at. */
#define JD_REPORT_SLOW_STEP 1u      /**< A step ran too long without suspending; see duration. */
#define JD_REPORT_DEADLOCK 2u       /**< Tasks wait for each other in a circle. */
#define JD_REPORT_SHUTDOWN 3u       /**< A task that resisted the cancel of the shutdown. */
#define JD_REPORT_LOCK_HELD 4u      /**< A task ended or suspended with a lock held. */
#define JD_REPORT_STACK 5u          /**< A task came near the end of its stack. */
#define JD_REPORT_CANCEL_IGNORED 6u /**< A task goes on suspending long after its cancel. */
#define JD_REPORT_ESCAPE 7u         /**< A simulated task used something real. */

/** One report. Borrowed: valid during the call of the handler. */
typedef struct jd_report {
    size_t size;         /**< What the library filled; look before reading later fields. */
    unsigned kind;       /**< JD_REPORT_*. */
    const char *message; /**< One readable line, without a newline; never NULL. */
    jd_task *task;       /**< Whom it is about; NULL when no task. */
    int error;           /**< Negative errno, or 0. */
    int64_t duration;    /**< Nanoseconds, or 0. */
    const char *site;    /**< Where it was opened or spawned, in debug mode; else NULL. */
} jd_report;

/** Takes reports, on any worker, at any time, several at once. Must not suspend. */
typedef void (*jd_error_fn)(const jd_report *r, void *arg);

/**
 * Have reports handed to a function.
 *
 * @param rt   Runtime; NULL = the caller's.
 * @param fn   Handler; NULL restores the default: one clear line on stderr.
 * @param arg  Passed to @p fn.
 *
 * @suspends No.
 * @threads Any; reports being handed out meanwhile may still go to the former handler.
 * @cancel   No.
 * @memory   None.  @cost Constant.  @since 0.1
 */
JD_API void jd_set_error_handler(jd_runtime *rt, jd_error_fn fn, void *arg);

/**
 * From how long on a step without a suspension is reported, in debug mode.
 *
 * @param rt         Runtime; NULL = the caller's.
 * @param threshold  Nanoseconds; <= 0 restores the default, 100 ms; JD_FOREVER = never.
 *
 * @suspends No.  @threads Any.  @cancel No.
 * @memory   None.  @cost One store.  @since 0.1
 */
JD_API void jd_set_slow_step(jd_runtime *rt, int64_t threshold);

JD_END_DECLS
#endif /* JD_INSPECT_H */
