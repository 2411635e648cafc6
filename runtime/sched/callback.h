/* SPDX-License-Identifier: MIT */
#ifndef SCHED_CALLBACK_H
#define SCHED_CALLBACK_H

/*
 * Callbacks of a loop: handles (call_soon, call_later, call_at) and done callbacks of futures.
 */
#include "sched/worker.h"

/* Runs one item of a loop queue that is no task. On its loop's worker. */
void callback_run(struct worker *w, struct loop_item *item);
void handle_timer_fired(void *handle);
void handle_drop(void *handle); /* the loop's reference, without a run */
/* In two steps, for callers that must not fail half-way: memory, then the callback. */
struct done_callback *done_callback_new(void); /* NULL: out of memory */
void done_callback_unused(struct done_callback *c);
void done_callback_add(struct done_callback *c, jd_future *f, jd_done_fn cb, void *arg);
void done_callback_run(struct worker *w, struct loop_item *item);
/* A handle or done callback that will never run: the runtime is being freed. */
void callback_drop(struct loop_item *item);
void done_callback_drop(struct loop_item *item);

/* scope_api.c */
void scope_timer_fired(void *scope);

#endif /* SCHED_CALLBACK_H */
