/* SPDX-License-Identifier: MIT */
#ifndef SCHED_SCOPE_API_H
#define SCHED_SCOPE_API_H

/*
 * Opening and closing scopes in a task: shared by jd_scope and jd_group.
 */
#include "sched/worker.h"

/* Makes s the innermost scope of t, the running task. flags: 0 or SCOPE_SHIELD. */
void scope_open_timed(struct timed_scope *s, struct jd_task *t, int64_t timeout, uint32_t flags,
                      const void *site);
/* 0, -ETIMEDOUT, -ECANCELED; -EINVAL: not the innermost (nothing is closed); -EPERM: never opened. */
int scope_close_timed(struct timed_scope *s);
/* Any thread; the scope stays open: its close waits for a cancel in progress. */
void scope_cancel_timed(struct timed_scope *s, uint32_t flag);

#endif /* SCHED_SCOPE_API_H */
