/* SPDX-License-Identifier: MIT */
#ifndef SCHED_WORKER_H
#define SCHED_WORKER_H

/*
 * The two records of the scheduler: a worker and its runtime.
 *
 * A worker is what one thread serves at a time; the record outlives the thread, so a run may go on
 * on another thread. The loop (loop.c) is the base frame of every fiber stack: it keeps no worker
 * in a local variable, because a stack moves between workers whenever its task is stolen.
 *
 * I1  worker_current() is the only way to the worker of this thread; after anything that can
 *     suspend it must be asked again.
 * I2  `current` is the task whose frames are innermost on the stack this worker stands on, or NULL
 *     in the loop and in callbacks.
 * I3  `post` is set right before a switch and carried out right after it by the same worker, on
 *     the other stack (suspend.c).
 * I4  A worker's timers, ready queue, forks and port may be served by any worker; its loop queue
 *     only by itself.
 */
#include <pthread.h>

#include <jackdaw/jackdaw.h>

#include "base/forked.h"
#include "base/rng.h"
#include "fiber/overflow.h"
#include "fiber/stack.h"
#include "queue/deque.h"
#include "queue/fifo.h"
#include "queue/inbox.h"
#include "queue/injector.h"
#include "queue/lifo.h"
#include "queue/loop_queue.h"
#include "reactor/reactor.h"
#include "reactor/timer.h"
#include "sched/current.h"
#include "sched/idle.h"
#include "sched/live.h"
#include "task/slab.h"
#include "task/stub.h"
#include "task/task.h"

struct attachment;
struct jd_runtime;
struct sim;

/* Steps or nanoseconds after which a busy worker looks at its port, timers and inbox. */
#define POLL_STEPS 61
#define SLICE_NS 200000
/* Operations that complete without waiting before the next S call yields. */
#define BUDGET_OPS 128
#define BUDGET_CLOCK_OPS 32
/* Stacks of up to 1 GiB. */
#define STACK_CLASSES 31
/* How often in a row the LIFO slot may be served before the ready queue. */
#define LIFO_RUNS_MAX 3
/* Spin before a park, if it paid lately. */
#define SPIN_NS 30000
#define SLOW_STEP_DEFAULT JD_MS(100)
/* Pools of a runtime (executor/executor.h). */
#define EXECUTOR_CLASSES 3

enum post_kind {
    POST_NONE,    /* a native fiber was entered or left: nothing to do */
    POST_PARK,    /* the task waits: RUNNING -> PARKED, or queue it again */
    POST_YIELD,   /* the task goes to the end of the queue */
    POST_HANDOFF, /* the task is kept in `resume_first` (eager start) */
    POST_RETIRE,  /* the stack that we left is free */
};

/* jd_loop is the public face of a worker. */
struct jd_loop {
    struct jd_runtime *rt;
    unsigned index;
};

struct worker {
    /* The owner's: touched by the serving thread only. */
    struct jd_loop loop;
    struct jd_runtime *rt;
    unsigned index;
    struct jd_task *current;
    struct fiber *fiber;          /* the stack it stands on */
    struct jd_task *handoff;      /* fresh task for the stack that is entered next */
    struct jd_task *resume_first; /* parents of eager starts, innermost first */
    struct {
        enum post_kind kind;
        struct jd_task *task;
    } post;
    uint32_t budget;
    uint32_t steps; /* since the last poll */
    uint32_t lifo_runs;
    bool searching;
    bool ticked; /* has polled since it entered the loop: only then it may stop */
    int64_t now; /* read once per turn */
    int64_t slice_end;
    int64_t last_poll;
    struct rng rng;
    struct slab_cache slab;
    uint64_t next_id, id_end;
    struct stack_cache stacks;
    struct loop_queue loop_queue;
    struct deque forks;
    struct fiber native;
    struct overflow_thread overflow;
    bool spin_pays;
    jd_handle *running_handle;

    /* Written by the owner, read by all: one line. */
    JD_ALIGNED(JD_CACHE_LINE) JD_ATOMIC(uint64_t) epoch; /* turns; a stale one means user code */
    struct live live;
    JD_ATOMIC(uint32_t) serving; /* a thread is inside */
    JD_ATOMIC(uint32_t) is_parked;

    /* Written by others. */
    JD_ALIGNED(JD_CACHE_LINE) JD_ATOMIC(uint32_t) preempt; /* the slice is used up */
    JD_ATOMIC(uint32_t) stale;                             /* the watchdog says: others may help */
    struct lifo lifo;
    struct inbox inbox;
    struct fifo ready;
    struct timer_wheel timers;

    /* The watchdog's notes. */
    uint64_t seen_epoch;
    int64_t seen_since;
    uint64_t reported_epoch;
};

enum runtime_state {
    RUNTIME_NEW,      /* no worker runs */
    RUNTIME_RUNNING,  /* between start and stop */
    RUNTIME_STOPPING, /* workers are leaving */
    RUNTIME_DEAD,     /* being freed, or the child of a fork */
};

/* rt->stop */
enum runtime_stop {
    STOP_ASKED = 1u << 0, /* leave between two ticks; while draining: when the own queue is empty */
    STOP_NOW = 1u << 1,   /* the drain took too long: leave what is queued */
};

struct jd_runtime {
    struct runtime_stub *stub;
    struct worker *workers;
    unsigned worker_count;
    uint32_t flags; /* JD_DEBUG ... */
    int64_t shutdown_timeout;
    size_t stack_bytes;
    char name[16];

    struct reactor *reactor;
    struct stack_pool stacks;
    struct stack_pool *stack_classes[STACK_CLASSES]; /* by log2 of the bytes; made when asked for,
                                                        under class_lock, kept until the end */
    pthread_mutex_t class_lock;
    struct injector injector;
    struct slab_depot depot;
    struct idle idle;
    JD_ATOMIC(uint64_t) next_id_block;

    JD_ATOMIC(uint32_t) state; /* enum runtime_state */
    JD_ATOMIC(uint32_t) stop;  /* enum runtime_stop: workers leave their loops */
    JD_ATOMIC(uint32_t) refuse_spawns;
    JD_ATOMIC(uint32_t) foreign; /* threads that are inside task_ready() from outside */
    struct live foreign_live;    /* tasks spawned, and undone, by threads from outside */
    JD_ATOMIC(uint32_t) running; /* workers that serve and are not parked: a hint */

    JD_ATOMIC(uint32_t) draining;  /* the end: leave when no task is left */
    JD_ATOMIC(uint32_t) signalled; /* a handled signal arrived: worker 0 cancels `main_task` */
    struct jd_task *main_task;     /* of jd_run(), constant while it runs */
    struct jd_future *until;       /* of the run in progress, by the thread of worker 0 */

    /* Threads of workers 1.. (jd_runtime_start: of all); guarded by run_lock. */
    pthread_mutex_t run_lock;
    pthread_cond_t run_cond;
    struct worker_thread {
        pthread_t thread;
        struct jd_runtime *rt; /* NULL: not created */
        unsigned index;
        uint64_t served;    /* run_number when it was created: not its runs */
    } * threads;            /* by worker */
    unsigned thread_count;  /* created */
    unsigned threads_ready; /* of them: have allocated once */
    unsigned inside;        /* serving a worker */
    uint64_t run_number;    /* each number is served once by each thread */
    bool started;           /* jd_runtime_start(): worker 0 has a thread, too */
    bool quit;              /* threads end */

    struct {
        pthread_t thread;
        bool running;
        JD_ATOMIC(uint32_t) stop;
        JD_ATOMIC(uint32_t) sleeping; /* futex word: 1 while nobody ticks */
    } watchdog;

    JD_ATOMIC(int64_t) slow_step; /* ns; 0 = off */
    struct spin handler_lock;
    jd_error_fn error_fn; /* guarded by handler_lock */
    void *error_arg;
    bool overflow_reports; /* we installed the handler */
    bool has_quota;        /* the cgroup gives less than the workers could use */
    struct sim *sim;       /* plays the workers in place of threads; else NULL */
    JD_ATOMIC(struct attachment *) attachments; /* what other libraries keep here: api/attach.c */
    struct jd_executor *executors[EXECUTOR_CLASSES]; /* by JD_EXECUTOR_*; constant */
    struct forked forked;
};

/* Some worker of a runtime is this thread's, and it runs a task. */
static inline struct jd_task *task_current(void)
{
    struct worker *w = worker_current();

    return w ? w->current : NULL;
}

static inline struct jd_runtime *task_runtime(const struct jd_task *t)
{
    return t->future.stub->rt; /* a worker of it reads it, or the caller holds the runtime */
}

/* suspend.c */
void sched_suspend(enum post_kind kind);
void sched_give_way(struct worker *w); /* jd_yield() */
void sched_after_switch(struct fiber *prev);
void sched_enter_loop(struct worker *w); /* from the native stack; returns at stop */
/* The first half of it: the loop's stack, to be switched to from w->native. */
struct fiber *sched_begin_loop(struct worker *w);
void sched_loop_entry(struct fiber *prev);
JD_NORETURN void sched_leave_loop(struct worker *w);
JD_NORETURN void sched_switch_to_task(struct worker *w, struct jd_task *t);
JD_NORETURN void sched_switch_to_class(struct worker *w, struct jd_task *t);
JD_NORETURN void sched_leave_class(struct worker *w);

/* ready.c */
void sched_push(struct worker *w, struct jd_task *t);         /* at the end of w's queue */
void sched_push_yielded(struct worker *w, struct jd_task *t); /* by itself: ready.c I1 */
void sched_push_fresh(struct worker *w, struct jd_task *t);   /* a task that was never run */
void sched_wake_idle(struct jd_runtime *rt); /* one, if one sleeps and nobody searches */
void sched_post(struct worker *w, struct loop_item *item); /* to w's loop, from anywhere */
void sched_wake_worker(struct worker *w);

/* find.c */
struct jd_task *sched_next_local(struct worker *w);
struct jd_task *sched_steal(struct worker *w);
bool sched_help_stale(struct worker *w);
bool sched_has_work(struct worker *w);

/* poll.c */
void sched_poll(struct worker *w);
unsigned sched_expire(struct worker *w, struct worker *of, int64_t now);
void sched_inbox_drain(struct worker *w);
void sched_deliver(void *token, void *ctx);

/* park.c */
void sched_idle(struct worker *w);

/* run.c */
void sched_run_fresh(struct jd_task *t);
void sched_run_inline(struct jd_task *t);
void sched_run_eager(struct jd_task *t); /* suspend.c: its first step, then the caller goes on */

/* watchdog.c */
int watchdog_start(struct jd_runtime *rt);
void watchdog_stop(struct jd_runtime *rt);
void watchdog_poke(struct jd_runtime *rt);
void watchdog_tick(struct jd_runtime *rt); /* one look at all workers */

/* What the loops ask the runtime (api/run.c): may a worker leave now? */
bool runtime_may_stop(struct worker *w);
uint64_t runtime_tasks_left(struct jd_runtime *rt);
void runtime_stop_workers(struct jd_runtime *rt);
void runtime_cancel_main(struct jd_runtime *rt);

/* cpu.c */
/* Whole ones, rounded up; and the quota in thousandths where it is less than that of the CPUs. */
unsigned cpu_count_usable(unsigned *ret_quota);

/* Entries of a ready queue (ready.c I3). */
#define ENTRY_FRESH ((uintptr_t)1)

static inline void *entry_fresh(struct jd_task *t)
{
    return (void *)((uintptr_t)t | ENTRY_FRESH);
}

/* What a timer's claim() hands to sched_deliver(): a pointer with its kind in the low bits. */
enum timer_token { TOKEN_TARGET = 0, TOKEN_SCOPE = 1, TOKEN_HANDLE = 2 };

/* The kind of a loop item. */
enum loop_item_kind { ITEM_TASK, ITEM_HANDLE, ITEM_DONE_CALLBACK };

/* Charges an operation that did not wait; true: yield now (budget or slice used up). */
bool sched_charge_slow(struct worker *w);

static inline bool sched_charge(struct worker *w)
{
    if (JD_LIKELY(--w->budget % BUDGET_CLOCK_OPS != 0))
        return false;
    return sched_charge_slow(w);
}

static inline bool runtime_is_fifo(const struct jd_runtime *rt)
{
    return (rt->flags & JD_FIFO) != 0;
}

#endif /* SCHED_WORKER_H */
