/* SPDX-License-Identifier: MIT */
#ifndef SCHED_WAIT_H
#define SCHED_WAIT_H

/*
 * One wait of a task or a plain thread: the frame around every suspension.
 *
 *   err = wait_open(&w, WAIT_CANCELLABLE);     who waits, is it cancelled already
 *   link a waiter node with w.target, w.seq    under the lock of what is waited for
 *   cause = wait_sleep(&w, deadline);          ends by exactly one of grant, cancel, timeout
 *   if (cause < CAUSE_GRANTED) unlink the node
 *   wait_close(&w);
 *
 * I1  Nothing between wait_open() and wait_sleep() may suspend.
 * I2  After wait_sleep() the worker may be another one.
 */
#include <errno.h>

#include "sched/choice.h"
#include "sched/worker.h"

enum wait_kind {
    WAIT_CANCELLABLE = 1, /* S: an outer cancel ends it */
    WAIT_THREADS = 2,     /* TS: plain threads may do it, too */
    WAIT_LOCKS = 4,       /* the caller links its node under a lock, before wait_sleep() */
};

struct parker;

/* Which function waits, for reports. */
struct wait_site {
    const char *file, *function;
};

struct wait {
    const struct wait_site *site;
    struct wait_target *target;
    struct jd_task *task; /* NULL: a plain thread */
    struct parker *parker;
    uint32_t seq;
    bool cancellable;
    struct wait_timer {
        struct timer timer;
        struct wait_target *target;
        uint32_t seq;
    } timer;
};

/*
 * For calls that may complete without waiting: 0 when the caller may go on, -EPERM in a wrong
 * place, -ECANCELED in a cancelled scope. Charges the budget, and yields when it is used up.
 * *ret_task is NULL on a plain thread (only with WAIT_THREADS).
 */
int call_begin(unsigned kind, struct jd_task **ret_task);

/*
 * The usual case of it in the caller's own code, for the few calls that take no longer than a
 * function call: a task that nothing cancels and whose budget lasts. It is charged. NULL: nothing
 * was done; go the long way, in a function of its own, so that this one needs no stack: a locked
 * instruction waits for all stores before it.
 */
static JD_ALWAYS_INLINE struct jd_task *call_begin_plain(void)
{
    struct worker *w = worker_current();
    struct jd_task *t = JD_LIKELY(w) ? w->current : NULL;

    if (JD_UNLIKELY(!t) || choice_is_armed() || JD_UNLIKELY(!scope_is_plain(t->scope)) ||
        JD_UNLIKELY(w->budget % BUDGET_CLOCK_OPS == 1)) /* sched_charge() would look further */
        return NULL;
    w->budget--;
    return t;
}

/* After call_begin(). -ENOMEM: no parker for a plain thread; -EDEADLK: one that simulates. */
int wait_open_at(struct wait *w, struct jd_task *task, unsigned kind, const struct wait_site *site);
#define wait_open(w, task, kind) \
    __extension__({ \
        static const struct wait_site wait_site_here = { __FILE_NAME__, __func__ }; \
        wait_open_at(w, task, kind, &wait_site_here); \
    })
/* How it ended: enum word_cause. */
unsigned wait_sleep(struct wait *w, int64_t deadline);
void wait_close(struct wait *w);

/* After a grant: the granter has queued the task, so it has left the lock it granted under. A plain
 * thread may see the grant earlier. */
static inline bool wait_was_queued(const struct wait *w)
{
    return w->task && word_was_parked(&w->target->word);
}

/* -ECANCELED or -ETIMEDOUT for a wait that was not granted; notes which scope did it. */
int wait_error(const struct wait *w, unsigned cause);

/* Waits for an outcome. 0, -ETIMEDOUT, -ECANCELED, -EPERM, -EDEADLK. */
int outcome_await(struct jd_future *f, int64_t deadline, unsigned kind);

/* executor/thread.c: a plain thread is about to wait, and goes on. Resolved at link time. */
void executor_thread_blocks(void);
void executor_thread_goes_on(void);

/* Whose wheel a timer of this thread goes to: the worker's, else worker 0's of rt. */
void sched_arm(struct jd_runtime *rt, struct timer *t, int64_t deadline);

#endif /* SCHED_WAIT_H */
