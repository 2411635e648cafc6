/* SPDX-License-Identifier: MIT */
#ifndef SIM_SIM_H
#define SIM_SIM_H

/*
 * Deterministic simulation: one OS thread plays all workers of one runtime.
 *
 *   controller (native stack)            virtual worker (its loop, on fibers, as ever)
 *     choose by seed  ---- switch ---->    runs until a choice point or its park
 *                     <--- switch -----    back to the controller
 *     none can run: time jumps
 *
 * The workers run the scheduler's own code. What they share with the machine is replaced: the clock
 * (virtual, base/clock.h), chance (one generator), the port and the files behind it (port.c, net.h,
 * system.c), allocation failures (base/fault.h), threads (jobs.c).
 *
 * I1  All choices come from `rng`, in an order that depends on nothing but the seed and the program:
 *     no address, no real time, no hash of a pointer, no size of a frame decides anything.
 * I2  The controller runs on the native stack only, and nothing of the scheduler's runs there but
 *     the post-switch hook of a worker that leaves.
 * I3  At a choice point no lock is held that another worker would wait for (sched/choice.h), so no
 *     worker ever spins in vain.
 * I4  The trace hash covers the virtual time, the worker, the subject and the kind of each event.
 *
 * Threads: the one that runs jd_sim_run(). At most one simulation per process at a time, since the
 * clock, the faults and the system calls are replaced process-wide; other threads keep the real
 * ones, and their runtimes run on.
 * Rejected: a scheduler of its own (would not test ours); one OS thread per worker with a baton
 * (a switch by futex costs 5 us; the run is 50 times slower).
 */
#include <stdbool.h>
#include <stdint.h>

#include <jackdaw/sim.h>

#include "base/rng.h"
#include "reactor/port.h"
#include "sched/choice.h"
#include "sched/worker.h"
#include "sim/watch.h"

#define SIM_FD_BASE (1 << 20) /* above any limit of open files that a test has */
#define SIM_START_NS INT64_C(1000000000)

struct sim_file;

struct sim_worker {
    struct worker *w;
    bool alive;            /* has not left its loop */
    bool parked;           /* in sim_park() */
    int64_t deadline;      /* of the park */
    int64_t stalled_until; /* a fault: runs nothing before */
};

/* An op in the heap of its port. */
struct sim_timed {
    int64_t due;
    uint64_t order; /* of submission: ties */
    struct op *op;
};

struct sim_port {
    struct port base;
    struct sim *sim;
    struct sim_timed *heap; /* by (due, order) */
    unsigned count, room;
};

/* What would run on a thread of its own: at a random later time, on the controller's stack. */
struct sim_job {
    int64_t due;
    void *(*fn)(void *arg);
    void *arg;
};

struct sim {
    struct rng rng;
    const unsigned char *choices; /* taken before rng, while there are any */
    size_t choice_count;
    struct jd_runtime *rt;
    struct sim_worker *workers;
    unsigned worker_count, alive;
    struct sim_worker *running; /* NULL: the controller */

    int64_t now;
    int64_t limit;     /* CLOCK_FOREVER: none */
    int64_t next_tick; /* the watchdog's look */
    uint64_t hash, events, steps;
    unsigned fault_percent, flags;
    unsigned inline_depth;
    int error;        /* -EDEADLK, -ETIMEDOUT: why the run was ended */
    bool quiet;       /* the library is not made to fail: in the simulator's own work */
    unsigned escapes; /* reported, and those that were too many to be */
    struct sim_watch watch;

    struct sim_job *jobs; /* unordered; the earliest is searched for */
    unsigned job_count, job_room;
    uint64_t next_order;

    struct sim_file **files; /* by fd - SIM_FD_BASE */
    unsigned file_room, file_count;
    struct list bound; /* sockets with a name of their own */
    uint16_t next_port;
    struct list disk; /* what jd_sim_open() made */
    size_t disk_bytes;

    unsigned handles; /* references of the program that outlived the runtime */
    bool stuck;       /* tasks resisted the final cancel */
};

/* What is left when a run is over. */
struct sim_summary {
    uint64_t hash, events, steps;
    int64_t virtual_time;
    unsigned open_files, handles, escapes;
    bool stuck;
};

/* For tests: called at each checkpoint of a task, before it looks whether it is cancelled. */
typedef void (*sim_checkpoint_fn)(struct jd_task *t, void *arg);

struct sim_config {
    uint64_t seed;
    unsigned workers, fault_percent, flags;
    int64_t time_limit;
};

extern const struct port_ops port_sim_ops;

/* sim.c: life. -EBUSY: another simulation runs. -ENOMEM. */
int sim_begin(const struct sim_config *c, struct sim **ret);
void sim_end(struct sim *sim);
struct sim *sim_current(void);                       /* of the calling thread, or NULL */
uint32_t sim_below(struct sim *sim, uint32_t n);     /* a choice: [0, n) */
bool sim_percent(struct sim *sim, unsigned percent); /* a choice: true that often */
bool sim_fault(struct sim *sim, unsigned divisor);   /* fault_percent / divisor; noted when true */
int64_t sim_between(struct sim *sim, int64_t low, int64_t high); /* inclusive */
void sim_trace(struct sim *sim, enum choice_event event, uint64_t id, int64_t value);
struct sim_summary sim_last(void); /* of this thread's last run */
/* The choices of this thread's next runs come from these bytes while there are any, then from the
 * seed: for fuzzing. NULL: none. Borrowed. */
void sim_set_choices(const unsigned char *bytes, size_t count);
void sim_set_checkpoint(sim_checkpoint_fn fn, void *arg); /* of this thread's next runs */

/* controller.c */
void sim_serve(struct sim *sim, struct jd_runtime *rt);
void sim_yield(struct sim *sim); /* the running worker gives way to the controller */
void sim_stop(struct sim *sim, int error);

/* port.c: for the files. The op's condition may hold now: it is tried again, a little later. */
void sim_port_retry(struct sim *sim, struct op *op);
int64_t sim_port_next(struct port *base);

/* jobs.c */
int64_t sim_jobs_next(struct sim *sim);
bool sim_jobs_run(struct sim *sim); /* one that is due; false: none is */
void sim_jobs_end(struct sim *sim); /* all that are left */

/* report.c */
void sim_report_deadlock(struct sim *sim);
void sim_report_escape(struct sim *sim, struct jd_task *t, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void sim_report_descriptor(struct sim *sim, struct jd_task *t, const char *call, int fd);
const char *sim_op_name(unsigned kind);

/* system.c, files.c: for the port */
int sim_net_try(struct sim *sim, struct op *op); /* -EAGAIN: the op now waits at its file */
void sim_net_leave(struct sim *sim, struct op *op);
int sim_net_close(struct sim *sim, int fd);
void sim_net_end(struct sim *sim);

/* system.c: the calls of io/sys.h */
void sim_system_install(void);
void sim_system_remove(void);

#endif /* SIM_SIM_H */
