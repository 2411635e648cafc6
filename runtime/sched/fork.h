/* SPDX-License-Identifier: MIT */
#ifndef SCHED_FORK_H
#define SCHED_FORK_H

/*
 * Fork-join: children in the caller's frame. See fork.c.
 */
#include "sched/worker.h"

/* Makes tasks of all forks of the stack that runs on w, oldest first. Before it is left. */
void fork_promote_all(struct worker *w);
/* The oldest fork of the victim as a claimed task, or NULL. */
struct jd_task *fork_steal(struct worker *w, struct worker *victim);

#endif /* SCHED_FORK_H */
