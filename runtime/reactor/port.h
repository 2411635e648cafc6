/* SPDX-License-Identifier: MIT */
#ifndef REACTOR_PORT_H
#define REACTOR_PORT_H

/*
 * What a port is to the reactor: one per worker, behind one table of functions, so that io_uring,
 * epoll and a simulated one look the same from above.
 *
 * I1  reap_lock is only ever tried (spin_try_lock): a parked owner holds it while it sleeps.
 * I2  A port ends each submitted op by exactly one op_finish(), with no lock held.
 * I3  Lock order: fd slot, then a port's submit lock. Nobody takes a slot lock under a port's.
 */
#include <stdbool.h>
#include <stdint.h>

#include "atomic/spin.h"
#include "reactor/fd_table.h"
#include "reactor/nudge.h"
#include "reactor/op.h"
#include "reactor/reactor.h"
#include "reactor/waker.h"

#define PORT_BATCH 32u /* completions taken under one hold of the reap lock */
#define PORT_WHY_BYTES 192

struct port {
    struct reactor *reactor;
    unsigned index;
    struct spin reap_lock;
    struct waker waker;
    /* Written by the owner. */
    JD_ATOMIC(unsigned) admitted;
    /* Written by whoever completes. */
    JD_ATOMIC(unsigned) finished JD_ALIGNED(JD_CACHE_LINE);
};

struct port_ops {
    const char *name;
    /* Can this kind of port be used here? Negative errno and a sentence when not. */
    int (*probe)(char why[PORT_WHY_BYTES]);
    int (*new)(struct reactor *r, unsigned index, unsigned sq_entries, struct port **ret);
    void (*free)(struct port *p);
    void (*thread_enter)(struct port *p);
    void (*thread_leave)(struct port *p);
    /* Owner. The op is admitted to its fd slot; a full queue is the port's problem (FIFO). */
    void (*submit)(struct port *p, struct op *op);
    bool (*has_staged)(struct port *p);
    /*
     * Slot lock held: notes the wish to end the op (OP_ASKED_*). True: nobody else will touch the
     * op any more, the caller finishes it with -ECANCELED after unlocking.
     */
    bool (*ask)(struct port *p, struct op *op, uint8_t why);
    /* No lock: carries out what was asked for. */
    void (*flush_asked)(struct port *p);
    /* No lock: a descriptor is about to be closed; no op is in flight on it. */
    void (*forget_fd)(struct reactor *r, struct fd_slot *slot, int fd);
    /* In place of close(2); NULL: that one. 0 or a negative errno. */
    int (*close_fd)(struct reactor *r, int fd);
    int (*poll)(struct port *p);
    int (*help)(struct port *p);
    bool (*needs_help)(struct port *p);
    int (*park)(struct port *p, int64_t deadline);
};

extern const struct port_ops port_uring_ops;
extern const struct port_ops port_epoll_ops;

struct reactor {
    const struct port_ops *ops;
    unsigned workers;
    struct port **ports;
    struct fd_table fds;
    struct nudge nudge;
    struct job_sink files; /* constant; submit is NULL: there is none */
    char why[PORT_WHY_BYTES];
};

int port_init(struct port *p, struct reactor *r, unsigned index);
void port_fini(struct port *p);

/* Which worker of r the calling thread is; REACTOR_NO_WORKER: none. */
unsigned reactor_self(const struct reactor *r);

/* The one end of every op: leaves the slot, calls complete(), closes if that was the last one. */
void op_finish(struct reactor *r, struct op *op, int result);

#endif /* REACTOR_PORT_H */
