/* SPDX-License-Identifier: MIT */
#ifndef SCHED_ERROR_H
#define SCHED_ERROR_H

/*
 * Reports for people: the runtime's error handler, and the one line on stderr without one.
 */
#include "sched/worker.h"

void error_report(struct jd_runtime *rt, const jd_report *report);
/* The watchdog's: the step that the worker is in runs for `duration`. */
void error_report_slow_step(struct jd_runtime *rt, unsigned worker, int64_t duration);
void error_report_leftover(struct jd_runtime *rt, struct jd_task *t);
void task_made_up_name(const struct jd_task *t, char *buf, size_t bytes); /* "task-12" */
/* That or the given name, always a string. */
const char *task_display_name(struct jd_task *t, char *buf, size_t bytes);

/* Broken promises of user code about its own frames: memory is lost by then, so these abort. */
JD_NORETURN void error_scope_outlived(struct jd_task *t);
JD_NORETURN void error_fork_outlived(struct jd_task *t);
/* JD_DEBUG: s was closed, but it is not the innermost open scope of the caller. */
JD_NORETURN void error_scope_order(const struct timed_scope *s);

/* For the stack overflow report: who runs on this stack. Async-signal-safe. */
void error_describe_fiber(const struct fiber *f, char *buf, size_t bytes);

#endif /* SCHED_ERROR_H */
