/* SPDX-License-Identifier: MIT */
#ifndef TASK_TASK_H
#define TASK_TASK_H

/*
 * The records: a future, and a task, which is a future with a state word, a function and scopes.
 *
 * I1  A task record is type-stable: it comes from a slab (slab.h) that lives as long as the runtime
 *     or the last handle, whichever is longer. A late waker finds a record of the same type and a
 *     wait number that does not fit (word.h I2).
 * I2  References: one of the runtime from spawn to end, one per user handle, one of a stale queue
 *     entry. The record returns to a slab when the last one is dropped.
 * I3  The runtime's reference is dropped by the task's last step on its worker, after the outcome
 *     was published.
 * I4  Written by the runner only: scope, fiber, fn's frame. `group`, `fork`: written before the
 *     task is queued.
 *
 * Threads: see each field's line.
 */
#include <jackdaw/future.h>
#include <jackdaw/task.h>

#include "base/attr.h"
#include "queue/loop_queue.h"
#include "task/outcome.h"
#include "task/scope.h"
#include "task/wait_list.h"

struct runtime_stub;
struct fiber;
struct group;
struct fork;

enum future_flag {
    FUTURE_IS_TASK = 1u << 0,
    FUTURE_LOOKED_AT = 1u << 1, /* its failure is somebody's business */
    FUTURE_CANCEL_REQUESTED = 1u << 2,
    FUTURE_CANCELLED = 1u << 3,  /* ended because of it; written before DONE */
    FUTURE_REPORTED = 1u << 4,   /* the error handler has had it */
    FUTURE_IS_OFFLOAD = 1u << 5, /* part of a record of executor/call.c */
};

struct jd_future {
    struct outcome outcome;
    JD_ATOMIC(uint32_t) refs;
    JD_ATOMIC(uint32_t) flags;
    jd_result result;               /* written before DONE, constant after */
    JD_ATOMIC(const char *) reason; /* of the first cancel; a literal */
    struct runtime_stub *stub;      /* constant */
};

enum task_flag {
    TASK_PINNED = 1u << 0,
    TASK_DETACHED = 1u << 1,      /* a failure is reported at once */
    TASK_FOREIGN_STACK = 1u << 2, /* a stack class of its own */
    TASK_LINKED = 1u << 3,        /* its first entry is in an intrusive queue: never inline */
    TASK_JOINED = 1u << 4,        /* claimed by its joiner, who sees how it ends; set after spawn */
};

#define TASK_NAME_BYTES 32

struct jd_task {
    struct jd_future future;
    struct wait_target target;
    struct loop_item link; /* in an inbox, an injector, a loop queue or a chain of woken tasks */
    struct fiber *fiber;   /* where it stands while suspended */
    jd_fn fn;
    void *arg;
    struct scope *scope;    /* innermost open scope of the runner */
    struct scope root;      /* outermost */
    JD_ATOMIC(char *) name; /* TASK_NAME_BYTES on the heap; NULL = made up when asked for */
    uint64_t id;            /* 0 = the record is free */
    struct group *group;    /* whose member it is */
    uint16_t worker;        /* pinned to */
    uint16_t flags;         /* enum task_flag, constant after spawn */
    uint16_t stack_class;   /* log2 of the stack's bytes; 0 = the runtime's default */
    uint8_t clock;          /* of the batch whose outcome it was told of last: JD_CLOCK_* */
};

/* Three cache lines: a million tasks in a queue cost 192 MB (ADR 0003). */
_Static_assert(sizeof(struct jd_task) <= 192, "a task record takes at most three cache lines");

static inline struct jd_task *task_of_target(struct wait_target *target)
{
    return JD_CONTAINER_OF(target, struct jd_task, target);
}

static inline struct jd_task *task_of_future(struct jd_future *f)
{
    return JD_CONTAINER_OF(f, struct jd_task, future);
}

static inline bool future_is_task(const struct jd_future *f)
{
    /* Relaxed: constant since the record was made. */
    return (atom_load(&f->flags, relaxed) & FUTURE_IS_TASK) != 0;
}

static inline void future_mark(struct jd_future *f, uint32_t flag)
{
    /* Relaxed: flags tell later readers of the same thread or behind the outcome's word. */
    if (!(atom_load(&f->flags, relaxed) & flag))
        atom_fetch_or(&f->flags, flag, relaxed);
}

/* Kinds of nodes in an outcome's list (waiter.want). */
enum outcome_node {
    NODE_WAITER,   /* its wait ends */
    NODE_COUNTER,  /* one of many: see struct outcome_counter */
    NODE_CALLBACK, /* a done callback, pending or queued on its loop */
    NODE_DRAIN,    /* waits until a callback does not run any more */
};

/* Waiting for several outcomes with one wait: gather, wait. Lives in the waiting frame. */
struct outcome_counter {
    JD_ATOMIC(uint32_t) pending; /* wakes at 0 */
    bool stop_at_error;          /* or at the first failure */
};

struct counter_node {
    struct waiter waiter;
    struct outcome_counter *counter;
};

/* Done, for an outcome of its own, which has waiters only: wakes them all. Once. */
void outcome_finish(struct outcome *o);
/* Completes a future with this result: wakes waiters, queues callbacks. False: it was done. */
bool future_complete(struct jd_future *f, jd_result result, uint32_t flags);
void future_ref(struct jd_future *f);
void future_unref(struct jd_future *f);
void future_init(struct jd_future *f, struct runtime_stub *stub, uint32_t refs, uint32_t flags);

/* Ends the wait of a target whose word said WAKE_QUEUE. */
void wait_target_ready(struct wait_target *target);
void wake_batch_flush(struct wake_batch *batch);

/*
 * What higher layers give to this one: the only upward edges, resolved at link time.
 */
void task_ready(struct jd_task *t); /* sched/ready.c: queue a task that is READY */
void task_free(struct jd_task *t);  /* sched/spawn.c: the last reference is gone */
/* sched/done_callback.c: a NODE_CALLBACK to its loop; false: the runtime is gone, drop it. */
bool future_post_callback(struct waiter *node);
void future_drop_callback(struct waiter *node);
void future_report_unhandled(struct jd_future *f); /* sched/error.c */
void future_free_offload(struct jd_future *f);     /* executor/call.c: its memory */
/* group/group.c: the last access of a member's end to its group. */
void group_member_ended(struct group *g, struct jd_task *t, jd_result result);

#endif /* TASK_TASK_H */
