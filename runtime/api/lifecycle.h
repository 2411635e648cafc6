/* SPDX-License-Identifier: MIT */
#ifndef API_LIFECYCLE_H
#define API_LIFECYCLE_H

/*
 * The phases of a runtime, shared by the files of this folder.
 */
#include "sched/worker.h"

struct config;
struct done_callback;

/* runtime.c */
int runtime_new(const struct config *c, jd_runtime **ret);

/* attach.c: latest first; nobody uses the runtime any more. */
void attachments_free(struct jd_runtime *rt);

/* run.c: the calling thread serves worker 0 until the runtime stops. 0, -EBUSY, -ESHUTDOWN, ... */
/* until: its end stops the run, through `stopper`, which is consumed; both NULL = jd_stop(). */
int runtime_run(struct jd_runtime *rt, jd_future *until, struct done_callback *stopper);
/* Runs until fut is done; `stopper` as above. */
jd_result runtime_run_for(struct jd_runtime *rt, jd_future *fut, struct done_callback *stopper);
void runtime_stop_now(struct jd_runtime *rt);
void runtime_join_threads(struct jd_runtime *rt);

/* shutdown.c: cancels what is left and runs until it has ended. 0 or -ETIMEDOUT. */
int runtime_drain(struct jd_runtime *rt);

/* forked.c */
int runtime_register(struct jd_runtime *rt);
void runtime_unregister(struct jd_runtime *rt);

/* signals.c */
int signals_take(struct jd_runtime *rt);
void signals_restore(struct jd_runtime *rt);
/* Did a handled signal arrive since signals_take()? */
bool signals_seen(struct jd_runtime *rt);

#endif /* API_LIFECYCLE_H */
