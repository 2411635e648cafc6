/* SPDX-License-Identifier: MIT */
#ifndef EXECUTOR_POOL_H
#define EXECUTOR_POOL_H

/*
 * A pool: the roster (roster.h decides), and the threads around it (this carries out).
 *
 * I1  `refs` counts one for all users together, and one for each thread from before it is made until
 *     its last access. Who drops the last one frees the pool.
 * I2  A thread's record is on `living` from before it is made, on `gone` from its last look at the
 *     roster on. Whoever finds it there joins it: makers of threads without waiting, a shutdown and
 *     the end of the pool with. The thread that frees the pool detaches itself.
 * I3  The pool has ended when the roster says that it has no thread (told once, since it is closed by
 *     then) and `living` is empty. `ended` gets one permit then, which each waiter passes on.
 * I4  No lock is held over a system call, a job, or the making of a thread.
 * I5  A pool made in a simulation has simulated threads: each is a record whose turns run on the
 *     controller's stack (sched/choice.h), over the same roster. Nobody else may use it, and in a
 *     simulation no other pool.
 *
 * Threads: any. Rejected: detached threads (nobody could tell when the last one is really gone; a
 * program that unloads the library, or counts its threads, wants to know).
 */
#include <pthread.h>

#include <jackdaw/executor.h>
#include <jackdaw/sync.h>

#include "base/forked.h"
#include "base/histogram.h"
#include "executor/roster.h"

#define POOL_THREADS_DEFAULT 64u
#define POOL_THREADS_MAX 32767u
#define POOL_NAME_BYTES 16 /* as the kernel's names of threads */

struct runtime_stub;

enum pool_turn { TURN_ARRIVE, TURN_JOB, TURN_DOZE, TURN_SIT };

struct pool_thread {
    struct seat seat;
    struct list link;         /* in living or gone; pool's lock */
    struct jd_executor *pool; /* constant */
    pthread_t id;             /* pool's lock */
    bool has_id;              /* pool's lock: `id` is written, the maker is done with the record */
    /* The thread's own. */
    bool may_spin;
    int64_t tick; /* of its next doze */
    /* A simulated one's. */
    enum pool_turn turn; /* what its next turn is */
    bool has_turn;       /* it will come by itself */
    struct job *taken;   /* TURN_JOB */
    /* Written by the thread, read by reports. */
    JD_ATOMIC(uintptr_t) what; /* struct job.what; 0: no job */
    JD_ATOMIC(int64_t) since;  /* when it began */
};

struct jd_executor {
    struct roster roster;
    JD_ATOMIC(uint32_t) refs;
    JD_ATOMIC(uint32_t) users;
    JD_ATOMIC(uint32_t) spin_pays; /* a hint: the last spin met a job */
    JD_ATOMIC(uint32_t) is_ending; /* its runtime ends: jd_thread_cancelled() */
    JD_ATOMIC(uint32_t) is_orphan; /* the child of a fork: the threads stayed with the parent */
    bool is_runtimes;              /* constant: its life is not the user's business */
    bool can_spin;                 /* constant: there is a CPU for it */
    bool is_simulated;             /* constant */
    char name[POOL_NAME_BYTES];    /* constant */
    struct runtime_stub *stub;     /* constant; a reference: of futures made off the workers */
    jd_sem ended;                  /* I3 */
    struct forked forked;

    struct spin lock;
    struct list living, gone; /* I2; guarded by lock */
    bool no_threads;          /* I3; guarded by lock */
    bool end_told;            /* I3; guarded by lock */

    struct spin stats_lock;
    uint64_t started, refused; /* guarded by stats_lock */
    struct histogram waits;    /* in the queue; guarded by stats_lock */
};

struct pool_config {
    unsigned threads_max, cpus;
    const char *name;
    struct runtime_stub *stub; /* takes a reference */
    bool is_runtimes, can_spin;
};

/* pool.c: one reference. NULL: out of memory. */
struct jd_executor *pool_new(const struct pool_config *c);
void pool_ref(struct jd_executor *p);
void pool_unref(struct jd_executor *p); /* of the users; the last one closes */

/* 0, -ESHUTDOWN, -EPERM (I5), or -EAGAIN: no thread can take it. After an error the job is the
 * caller's; else it may have ended by now. */
int pool_submit(struct jd_executor *p, struct job *job);
/* True: it will not run and is the caller's again. Only while the caller knows that the record lives. */
bool pool_withdraw(struct jd_executor *p, struct job *job);

void pool_close(struct jd_executor *p, bool cancel_pending);
/* After pool_close(). 0, -ETIMEDOUT; -ECANCELED, -EPERM, -ENOMEM of the wait. */
int pool_wait(struct jd_executor *p, int64_t timeout);

/* For thread.c. */
void pool_carry_out(struct jd_executor *p, struct roster_call *call);
void pool_started(struct jd_executor *p, int64_t waited);
void pool_thread_gone(struct pool_thread *t, bool was_last); /* its last access */

/* thread.c. False: the system gives none. The record is on `living`. */
bool thread_make(struct pool_thread *t);
void thread_ring(struct pool_thread *t);
/* True: it is over, and the record may be freed. */
bool thread_join(struct pool_thread *t, bool wait);
/* Of the calling thread; NULL: it is in no job. */
const struct job *thread_job(void);
struct jd_executor *thread_pool(void);

/* thread_sim.c: the same for simulated ones. */
void thread_sim_make(struct pool_thread *t);
void thread_sim_ring(struct pool_thread *t);
void thread_run(struct pool_thread *t, struct job *job, int64_t now);

#endif /* EXECUTOR_POOL_H */
