/* SPDX-License-Identifier: MIT */
#ifndef EXECUTOR_EXECUTOR_H
#define EXECUTOR_EXECUTOR_H

/*
 * The pools of a runtime, by class: made with it, without a thread; each gets its first thread with
 * its first job.
 *
 * I1  They accept work until no task is left: cleaning up may need them. Then they are closed, what
 *     has not begun is cancelled, and what runs is waited for until the shutdown's deadline.
 * I2  Not so look-ups of names: they touch nothing but their own records, may take half a minute, and
 *     nobody can interrupt them. They are left to themselves, and their pool goes with the last one.
 */
#include <jackdaw/executor.h>

#include "sched/worker.h"

#define EXECUTOR_DNS_THREADS 32u   /* arbitrary: name servers that do not answer hold one each */
#define EXECUTOR_FILES_THREADS 16u /* arbitrary: what a disk likes to have queued */

/* 0, -ENOMEM; after an error executors_free() undoes it. */
int executors_new(struct jd_runtime *rt, unsigned user_threads);
void executors_free(struct jd_runtime *rt);
/* No task is left. 0, or -ETIMEDOUT: a function did not end, and was reported. On a plain thread. */
int executors_end(struct jd_runtime *rt, int64_t deadline);

/* For layers that do not know pools. */
struct job_sink executor_sink(struct jd_executor *e);

/* e, or the one that NULL means here; NULL: none. */
struct jd_executor *executor_or_default(struct jd_executor *e);

#endif /* EXECUTOR_EXECUTOR_H */
