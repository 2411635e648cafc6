/* SPDX-License-Identifier: MIT */
#ifndef REACTOR_URING_PORT_H
#define REACTOR_URING_PORT_H

/*
 * One worker's ring and what surrounds it.
 *
 * I1  submit_lock guards SQE writes, the FIFO, the cancel list, and each op's `state`. It is not
 *     only the owner's: whoever reaps may have to stage a follow-up SQE (a poll after -EAGAIN, an
 *     op whose submitting thread ended).
 * I2  An op's end is one fetch_or of OP_DONE into `asked`. Who asks does the same with OP_ASKED_*
 *     under the lock: either the asker sees OP_DONE and leaves the op alone, or the finisher sees
 *     the wish and takes the op off the cancel list under the lock.
 * I3  An op on the cancel list is cancelled again every CANCEL_INTERVAL_NS until its last CQE is
 *     there: the kernel may miss a request which is just between two states.
 * I4  A cancel needs no SQE (IORING_REGISTER_SYNC_CANCEL), so a full queue never delays it.
 * I5  A request belongs to the thread that submitted it; `foreign` remembers which workers did so
 *     for this ring, since its completions may be pending with them.
 */
#include "reactor/port.h"
#include "reactor/uring_ring.h"

#define OP_DONE 4u
#define FOREIGN_WORDS 4u /* 256 bits; workers beyond share bits, which costs a vain nudge */
#define CANCEL_INTERVAL_NS NUDGE_INTERVAL_NS

enum { URING_NEW, URING_WAITING, URING_STAGED };

struct uring_port {
    struct port base;
    struct ring ring;

    /* Written by the owner. */
    int registered; /* its own index of the ring, -1: none */

    /* Guarded by submit_lock; the counts are looked at without it. */
    struct spin submit_lock JD_ALIGNED(JD_CACHE_LINE);
    struct list fifo;    /* ops in state WAITING */
    struct list cancels; /* ops in state STAGED that were asked to end */
    uint16_t generation;
    JD_ATOMIC(unsigned) fifo_len, cancels_len;

    /* Written by whoever acts. */
    JD_ATOMIC(bool) wake_armed;          /* the multishot poll of the wake device is in the ring */
    JD_ATOMIC(uint16_t) wake_generation; /* which one: the owner writes, reapers compare */
    JD_ATOMIC(int64_t) cancel_next_at;
    JD_ATOMIC(uint64_t) foreign[FOREIGN_WORDS];
};

static inline struct uring_port *uring_port_of(struct port *p)
{
    return JD_CONTAINER_OF(p, struct uring_port, base);
}

/* uring_queue.c: towards the kernel */
void uring_queue_op(struct uring_port *p, struct op *op);    /* a new one; owner */
bool uring_queue_again(struct uring_port *p, struct op *op); /* reaper; false: asked to end */
void uring_queue_drain(struct uring_port *p);                /* FIFO -> SQ as far as it fits */
void uring_queue_wake_poll(struct uring_port *p);            /* owner */
void uring_queue_submit(struct uring_port *p);               /* what is staged; any worker */
bool uring_queue_ask(struct uring_port *p, struct op *op, uint8_t why);
void uring_queue_end(struct uring_port *p, struct op *op); /* after it: op_finish() */
void uring_queue_cancel(struct uring_port *p);             /* carries out the cancel list */
bool uring_queue_cancel_is_due(const struct uring_port *p);
void uring_port_nudge(struct uring_port *p);
int uring_port_fd_index(const struct uring_port *p); /* for ring_enter() by this thread */

/* uring_probe.c */
int uring_probe(char why[PORT_WHY_BYTES]);

#endif /* REACTOR_URING_PORT_H */
