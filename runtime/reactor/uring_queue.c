/* SPDX-License-Identifier: MIT */
/*
 * The submission side of a ring: staging, the FIFO behind a full queue, cancels. See uring_port.h
 * for the invariants.
 *
 * Threads: any worker of the reactor; asking and cancelling also plain threads.
 *
 * Rejected: SQEs written by the owner only (the brief design): a helper that reaps an -EAGAIN or a
 * stray -ECANCELED could not continue the op, and the I/O of a burning worker would be stranded.
 * The uncontended lock costs 5 ns of a 4 us request.
 */
#include <errno.h>
#include <poll.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/mark.h"
#include "reactor/uring_op.h"
#include "reactor/uring_port.h"

#define SUBMIT_ROUNDS 4u /* short submits in a row before the rest waits for the next turn */
#define CANCEL_BATCH 32u

int uring_port_fd_index(const struct uring_port *p)
{
    return reactor_self(p->base.reactor) == p->base.index ? p->registered : -1;
}

/* Submit lock held. */
static bool stage(struct uring_port *p, struct op *op)
{
    struct io_uring_sqe *sqe = fault_hit(FAULT_SQ_FULL) ? NULL : ring_sqe(&p->ring);

    if (!sqe) {
        MARK(SQ_FULL);
        return false;
    }
    op->generation = p->generation++;
    op->state = URING_STAGED;
    uring_op_prepare(op, sqe);
    sqe->user_data = uring_user_data(op, URING_TAG_OP, op->generation);
    uring_note_submitted(op);
    ring_publish(&p->ring);
    return true;
}

/* Submit lock held. The lengths are hints to those who look without it, hence relaxed. */
static void fifo_add(struct uring_port *p, struct op *op)
{
    op->state = URING_WAITING;
    list_add_tail(&p->fifo, &op->port_link);
    atom_fetch_add(&p->fifo_len, 1, relaxed); /* Relaxed: see above. */
}

static void fifo_del(struct uring_port *p, struct op *op)
{
    list_del(&op->port_link);
    atom_fetch_sub(&p->fifo_len, 1, relaxed); /* Relaxed: see above. */
}

static void cancels_del(struct uring_port *p, struct op *op)
{
    list_del(&op->port_link);
    atom_fetch_sub(&p->cancels_len, 1, relaxed); /* Relaxed: see above. */
}

/* Submit lock held: has somebody asked the op to end? Relaxed: written under this lock. */
static bool is_asked(struct op *op)
{
    return (atom_load(&op->asked, relaxed) & (OP_ASKED_CANCEL | OP_ASKED_CLOSE)) != 0;
}

/* False: asked to end meanwhile, the caller ends it. */
static bool stage_or_wait(struct uring_port *p, struct op *op, bool *ret_waits)
{
    spin_lock(&p->submit_lock);
    if (is_asked(op)) {
        spin_unlock(&p->submit_lock);
        return false;
    }
    *ret_waits = !list_is_empty(&p->fifo) || !stage(p, op); /* nothing passes an op that waits */
    if (*ret_waits)
        fifo_add(p, op);
    spin_unlock(&p->submit_lock);
    return true;
}

void uring_queue_op(struct uring_port *p, struct op *op)
{
    bool waits = false;

    uring_op_start(op);
    if (!stage_or_wait(p, op, &waits)) { /* a close came between admission and here */
        uring_queue_end(p, op);
        op_finish(p->base.reactor, op, -ECANCELED);
    } else if (waits) { /* the op may be gone; make room for those in the queue */
        uring_queue_submit(p);
        uring_queue_drain(p);
    }
}

bool uring_queue_again(struct uring_port *p, struct op *op)
{
    bool waits;

    return stage_or_wait(p, op, &waits);
}

void uring_queue_drain(struct uring_port *p)
{
    if (atom_load(&p->fifo_len, relaxed) == 0) /* Relaxed: a hint. */
        return;
    spin_lock(&p->submit_lock);
    while (!list_is_empty(&p->fifo)) { /* bounded by the room in the queue */
        struct op *op = JD_CONTAINER_OF(p->fifo.next, struct op, port_link);

        fifo_del(p, op);
        if (!stage(p, op)) {
            op->state = URING_WAITING;
            list_add_head(&p->fifo, &op->port_link);
            atom_fetch_add(&p->fifo_len, 1, relaxed); /* Relaxed: see fifo_add(). */
            break;
        }
    }
    spin_unlock(&p->submit_lock);
}

/* The owner only. A full queue: the next park tries again before it sleeps. */
void uring_queue_wake_poll(struct uring_port *p)
{
    struct io_uring_sqe *sqe;

    spin_lock(&p->submit_lock);
    sqe = ring_sqe(&p->ring);
    if (sqe) {
        /* Relaxed, all: only the owner arms, and no CQE of this generation can be there yet. */
        uint16_t generation = (uint16_t)(atom_load(&p->wake_generation, relaxed) + 1);

        io_uring_prep_poll_multishot(sqe, p->base.waker.fd, POLLIN);
        sqe->user_data = uring_user_data(NULL, URING_TAG_WAKE, generation);
        atom_store(&p->wake_generation, generation, relaxed);
        atom_store(&p->wake_armed, true, relaxed);
        ring_publish(&p->ring);
    }
    spin_unlock(&p->submit_lock);
}

/* --- Submitting -------------------------------------------------------------------------------- */

static void note_foreign(struct uring_port *p, unsigned self)
{
    uint64_t bit = UINT64_C(1) << (self % 64);
    unsigned i = self / 64 % FOREIGN_WORDS;

    /* Relaxed: says whom to nudge; a missed bit is seen by the next round, 1 ms later. */
    if (self != p->base.index && !(atom_load(&p->foreign[i], relaxed) & bit))
        atom_fetch_or(&p->foreign[i], bit, relaxed);
}

void uring_queue_submit(struct uring_port *p)
{
    unsigned self = reactor_self(p->base.reactor), n;

    if (self == REACTOR_NO_WORKER) /* the requests would die with a plain thread */
        return;
    for (unsigned round = 0; round < SUBMIT_ROUNDS && (n = ring_unsubmitted(&p->ring)); round++) {
        int ret;

        note_foreign(p, self);
        if (self != p->base.index)
            MARK(HELPER_SUBMITS);
        ret = ring_enter(&p->ring, uring_port_fd_index(p), n, 0, 0, 0);
        JD_ASSERT(ret >= 0 || ring_will_recover(ret));
        if (ret < 0 && ret != -EINTR)
            return; /* never spin here */
    }
}

/* --- Asking ops to end -------------------------------------------------------------------------- */

bool uring_queue_ask(struct uring_port *p, struct op *op, uint8_t why)
{
    bool idle = false;
    uint8_t before;

    spin_lock(&p->submit_lock);
    /* [URING-1] RMW against the one in uring_queue_end(): the second sees the first (I2). */
    before = atom_fetch_or(&op->asked, why, acq_rel);
    if (before & OP_DONE) {
        MARK(ASKED_TOO_LATE); /* its last CQE was reaped: success beats cancel */
    } else if (op->state == URING_WAITING) {
        fifo_del(p, op);
        MARK(ENDED_IN_QUEUE);
        /* [URING-1] Nobody else ends an op in the FIFO; keeps a second asker off. */
        atom_fetch_or(&op->asked, OP_DONE, acq_rel);
        idle = true;
    } else if (op->state == URING_STAGED && !list_is_linked(&op->port_link)) {
        list_add_tail(&p->cancels, &op->port_link);
        atom_fetch_add(&p->cancels_len, 1, relaxed); /* Relaxed: see fifo_add(). */
    }
    spin_unlock(&p->submit_lock);
    return idle;
}

void uring_queue_end(struct uring_port *p, struct op *op)
{
    /* [URING-1] RMW against the one in uring_queue_ask(). */
    uint8_t before = atom_fetch_or(&op->asked, OP_DONE, acq_rel);

    JD_ASSERT(!(before & OP_DONE));
    if (!(before & (OP_ASKED_CANCEL | OP_ASKED_CLOSE)))
        return;
    spin_lock(&p->submit_lock);
    if (list_is_linked(&op->port_link))
        cancels_del(p, op);
    spin_unlock(&p->submit_lock);
}

/* Submit lock held: copies the names of at most CANCEL_BATCH ops, which move to the list's end. */
static unsigned name_cancels(struct uring_port *p, uint64_t *names, unsigned left)
{
    unsigned n = 0;

    while (n < left && n < CANCEL_BATCH && !list_is_empty(&p->cancels)) {
        struct op *op = JD_CONTAINER_OF(p->cancels.next, struct op, port_link);

        names[n++] = uring_user_data(op, URING_TAG_OP, op->generation);
        list_del(&op->port_link);
        list_add_tail(&p->cancels, &op->port_link);
    }
    return n;
}

bool uring_queue_cancel_is_due(const struct uring_port *p)
{
    /* Relaxed: hints; the list is looked at under the lock. */
    return atom_load(&p->cancels_len, relaxed) > 0 &&
           clock_now() >= atom_load(&p->cancel_next_at, relaxed);
}

void uring_queue_cancel(struct uring_port *p)
{
    unsigned left = atom_load(&p->cancels_len, relaxed); /* Relaxed: a bound for this round. */

    if (left == 0)
        return;
    /* Relaxed: limits the rate only. */
    atom_store(&p->cancel_next_at, clock_now() + CANCEL_INTERVAL_NS, relaxed);
    uring_queue_submit(p); /* the kernel finds only what it knows */
    while (left > 0) {
        uint64_t names[CANCEL_BATCH];
        unsigned n;

        spin_lock(&p->submit_lock);
        n = name_cancels(p, names, left);
        spin_unlock(&p->submit_lock);
        /* Results are ignored: the op's own CQE tells the end, and I3 repeats what was missed. */
        for (unsigned i = 0; i < n; i++)
            (void)ring_sync_cancel(&p->ring, names[i], 0);
        left = n == 0 ? 0 : left - n;
    }
    uring_port_nudge(p);
}

/* First the owner; while its turn is used up and the flag stays, those who submitted for it. */
void uring_port_nudge(struct uring_port *p)
{
    struct reactor *r = p->base.reactor;

    if (!(ring_flags(&p->ring) & IORING_SQ_TASKRUN) || nudge_send(&r->nudge, p->base.index))
        return;
    for (unsigned i = 0; i < r->workers; i++) {
        uint64_t bits = atom_load(&p->foreign[i / 64 % FOREIGN_WORDS], relaxed); /* a hint */

        if ((bits >> (i % 64) & 1) && nudge_send(&r->nudge, i))
            return;
    }
}
