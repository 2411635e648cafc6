/* SPDX-License-Identifier: MIT */
#ifndef SCHED_SPAWN_H
#define SCHED_SPAWN_H

/*
 * Making tasks and ending their records.
 */
#include "sched/worker.h"

/*
 * A queued task. From a worker of rt or from any other thread. `ret` NULL: no reference for the
 * caller (a detached task). parent_scope NULL: a root scope of its own. -ENOMEM, -ESHUTDOWN, -EINVAL.
 */
int sched_spawn(struct jd_runtime *rt, jd_fn fn, void *arg, const jd_task_options *opt,
                struct scope *parent_scope, struct group *group, jd_task **ret);

/* A record that is claimed already and in no queue, without references yet: for a thief. */
struct jd_task *sched_make_claimed(struct worker *w, jd_fn fn, void *arg, struct scope *parent);
/* Gives such a record back unused. */
void sched_unmake_claimed(struct worker *w, struct jd_task *t);
/* The same, queued: a promoted fork; the caller keeps one reference. */
struct jd_task *sched_make_queued(struct worker *w, jd_fn fn, void *arg, struct scope *parent);

#endif /* SCHED_SPAWN_H */
