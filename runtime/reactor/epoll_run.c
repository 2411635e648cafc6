/* SPDX-License-Identifier: MIT */
/*
 * Ops of the epoll port: waiting on their slot, arming the descriptor, being run when it is ready.
 * The invariants are in epoll_port.h.
 *
 * Op states, guarded by the slot lock: NEW, RUNNING (some thread does its system call), WAITING,
 * HANDED (epoll_file.c), ENDED (exactly one thread will call op_finish()). A wish to end finds
 * WAITING: the asker ends it; HANDED: the same, if it was not begun; RUNNING: the runner looks at
 * `asked` under the lock when the call said -EAGAIN.
 *
 * Threads: any worker; ask and forget also plain threads.
 */
#include <errno.h>
#include <sys/epoll.h>

#include "base/assert.h"
#include "base/mark.h"
#include "reactor/epoll_op.h"
#include "reactor/epoll_port.h"

/* --- Arming; slot lock held throughout ------------------------------------------------------- */

static uint32_t wanted_events(const struct op *op)
{
    switch (op->direction) {
    case FD_IN:
        return EPOLLIN | EPOLLRDHUP; /* op_result_when_shut() */
    case FD_OUT:
        return EPOLLOUT;
    default:
        return (unsigned short)op->events;
    }
}

static struct op *first_waiting(struct fd_slot *slot, unsigned direction)
{
    list_for_each(link, &slot->ops) {
        struct op *op = JD_CONTAINER_OF(link, struct op, fd_link);

        if (op->state == EPOLL_WAITING && op->direction == direction)
            return op;
    }
    return NULL;
}

static uint32_t wanted_by_all(const struct fd_slot *slot)
{
    uint32_t events = 0;

    list_for_each(link, &slot->ops) {
        const struct op *op = JD_CONTAINER_OF(link, struct op, fd_link);

        if (op->state == EPOLL_WAITING &&
            (op->direction == FD_ANY || !slot->running[op->direction]))
            events |= wanted_events(op);
    }
    return events;
}

static int instance_of(struct reactor *r, int port)
{
    return epoll_port_of(r->ports[port])->fd;
}

static int register_at(struct fd_slot *slot, int instance, int fd, uint32_t events, bool known)
{
    struct epoll_event ev = {
        .events = events | EPOLLONESHOT,
        .data.u64 = (uint64_t)slot->generation << 32 | (unsigned)fd,
    };
    int ctl = known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;

    if (epoll_ctl(instance, ctl, fd, &ev) == 0)
        return 0;
    if (errno == ENOENT) { /* the user closed the number and got it again */
        MARK(EPOLL_FOUND_NOTHING);
        return epoll_ctl(instance, EPOLL_CTL_ADD, fd, &ev) < 0 ? -errno : 0;
    }
    if (errno == EEXIST)
        return epoll_ctl(instance, EPOLL_CTL_MOD, fd, &ev) < 0 ? -errno : 0;
    return -errno;
}

/* Makes I2 hold; on an error nothing is armed. `home`: the port that should see the events. */
static int arm(struct reactor *r, struct fd_slot *slot, int fd, int home)
{
    uint32_t events = wanted_by_all(slot);
    int error;

    if (events == 0 || (slot->epoll_armed && (events & ~slot->epoll_armed) == 0))
        return 0;
    if (slot->epoll_armed)
        home = slot->epoll_port; /* others wait there */
    else if (slot->epoll_port >= 0 && slot->epoll_port != home) {
        MARK(EPOLL_MOVED);
        /* ENOENT: closed by the user meanwhile. */
        (void)epoll_ctl(instance_of(r, slot->epoll_port), EPOLL_CTL_DEL, fd, NULL);
    }
    error = register_at(slot, instance_of(r, home), fd, events, slot->epoll_port == home);
    slot->epoll_port = error < 0 ? -1 : home;
    slot->epoll_armed = error < 0 ? 0 : events;
    return error;
}

/* --- Running ops ----------------------------------------------------------------------------------- */

/* Nothing waits for anything that cannot come: after a failed arm() all waiting ops end. */
static void fail_waiting(struct fd_slot *slot, struct list *ended, int error)
{
    list_for_each(link, &slot->ops) {
        struct op *op = JD_CONTAINER_OF(link, struct op, fd_link);

        if (op->state == EPOLL_WAITING &&
            (op->direction == FD_ANY || !slot->running[op->direction])) {
            op->state = EPOLL_ENDED;
            op->result = error;
            list_add_tail(ended, &op->port_link);
        }
    }
}

static void arm_or_fail(struct reactor *r, struct fd_slot *slot, int fd, unsigned home,
                        struct list *ended)
{
    int error = arm(r, slot, fd, (int)home);

    if (error < 0)
        fail_waiting(slot, ended, error);
}

static int finish_all(struct reactor *r, struct list *ended)
{
    struct list *link;
    int count = 0;

    while ((link = list_pop_head(ended))) {
        struct op *op = JD_CONTAINER_OF(link, struct op, port_link);

        op_finish(r, op, op->result);
        count++;
    }
    return count;
}

/* Slot lock held. A receive that did not fill its buffer has drained the socket. */
static void learn(struct fd_slot *slot, const struct op *op, int result)
{
    if (op->kind == OP_RECV && result > 0)
        slot->expect_wait = (size_t)result < op->len;
}

bool epoll_is_asked(struct op *op)
{
    /* Relaxed: written under the slot lock, which the caller holds. */
    return (atom_load(&op->asked, relaxed) & (OP_ASKED_CANCEL | OP_ASKED_CLOSE)) != 0;
}

/*
 * The caller has set running[direction] and the op RUNNING. Tries it and those behind it until one
 * must wait. Returns how many ended. `events`: what the kernel has said before; 0: nothing.
 */
static int run_direction(struct reactor *r, struct fd_slot *slot, struct op *op, uint32_t events)
{
    unsigned direction = op->direction;
    int ended_count = 0;

    while (op) { /* bounded by the ops in flight on this descriptor, and by -EAGAIN */
        struct op *next = NULL;
        struct list ended;
        int result = epoll_op_try(op);

        if (result == -EAGAIN && (events & EPOLLRDHUP) && epoll_op_may_wait(op)) {
            MARK(FOUND_SHUT);
            result = op_result_when_shut(op);
        }
        list_init(&ended);
        spin_lock(&slot->lock);
        learn(slot, op, result);
        if (result == -EAGAIN && epoll_op_may_wait(op) && !epoll_is_asked(op)) {
            op->state = EPOLL_WAITING;
        } else {
            op->result = result == -EAGAIN && epoll_is_asked(op) ? -ECANCELED : result;
            op->state = EPOLL_ENDED;
            next = first_waiting(slot, direction);
        }
        if (next) {
            next->state = EPOLL_RUNNING;
        } else {
            slot->running[direction] = false;
            arm_or_fail(r, slot, op->fd, op->port, &ended);
        }
        if (op->state == EPOLL_ENDED && !list_is_linked(&op->port_link))
            list_add_head(&ended, &op->port_link);
        spin_unlock(&slot->lock);
        ended_count += finish_all(r, &ended);
        op = next;
    }
    return ended_count;
}

/* --- Submission ------------------------------------------------------------------------------ */

/* For ops that take no turns: polls. */
static void run_alone(struct reactor *r, struct fd_slot *slot, struct op *op)
{
    int result = epoll_op_try(op);
    struct list ended;

    list_init(&ended);
    spin_lock(&slot->lock);
    if (result != -EAGAIN || epoll_is_asked(op)) {
        op->state = EPOLL_ENDED;
        op->result = result == -EAGAIN ? -ECANCELED : result;
        list_add_tail(&ended, &op->port_link);
    } else {
        op->state = EPOLL_WAITING;
        arm_or_fail(r, slot, op->fd, op->port, &ended);
    }
    spin_unlock(&slot->lock);
    (void)finish_all(r, &ended);
}

/* Slot lock held. True: run it now. False: it waits, for readiness or its turn. */
static bool take_turn(struct reactor *r, struct fd_slot *slot, struct op *op, struct list *ended)
{
    bool likely_vain = op->kind == OP_RECV && slot->expect_wait && epoll_op_may_wait(op);

    if (!slot->running[op->direction] && !likely_vain && !first_waiting(slot, op->direction)) {
        slot->running[op->direction] = true;
        op->state = EPOLL_RUNNING;
        return true;
    }
    op->state = EPOLL_WAITING;
    if (!slot->running[op->direction]) /* else whoever runs tries it next */
        arm_or_fail(r, slot, op->fd, op->port, ended);
    return false;
}

void epoll_run_submit(struct reactor *r, struct op *op)
{
    struct fd_slot *slot = op->slot;
    struct list ended;
    bool run = false, alone, asked;
    int is_file = epoll_op_is_file(op);

    list_init(&ended);
    op->direction = (uint8_t)epoll_op_direction(op);
    alone = is_file > 0 || op->direction == FD_ANY;
    spin_lock(&slot->lock);
    asked = epoll_is_asked(op); /* a close came between admission and here */
    if (asked || is_file < 0) {
        op->state = EPOLL_ENDED;
        op->result = asked ? -ECANCELED : is_file;
        list_add_tail(&ended, &op->port_link);
    } else if (alone) {
        op->state = EPOLL_RUNNING;
        run = true;
    } else {
        run = take_turn(r, slot, op, &ended);
    }
    spin_unlock(&slot->lock);
    if (run && is_file > 0)
        epoll_file_submit(r, op);
    else if (run && alone)
        run_alone(r, slot, op);
    else if (run)
        (void)run_direction(r, slot, op, 0);
    (void)finish_all(r, &ended);
}

bool epoll_run_ask(struct op *op, uint8_t why)
{
    atom_fetch_or(&op->asked, why, relaxed); /* Relaxed: under the slot lock. */
    if (op->state == EPOLL_HANDED)
        return epoll_file_withdraw(op);
    if (op->state != EPOLL_WAITING)
        return false;
    op->state = EPOLL_ENDED;
    /* Nobody waits any more: from here on the user may close the number, and the kernel forgets
     * what is armed without telling. So do we; the next op arms anew. */
    if (wanted_by_all(op->slot) == 0)
        op->slot->epoll_armed = 0;
    return true;
}

void epoll_run_forget(struct reactor *r, struct fd_slot *slot, int fd)
{
    /* RELEASING: the slot is the caller's. A descriptor that was dup()ed stays registered after
     * close(2), hence the explicit removal; ENOENT: never mind, it is gone already. */
    if (slot->epoll_port >= 0)
        (void)epoll_ctl(instance_of(r, slot->epoll_port), EPOLL_CTL_DEL, fd, NULL);
    slot->epoll_port = -1;
    slot->epoll_armed = 0;
}

/* --- Events ------------------------------------------------------------------------------------ */

/* Slot lock held. */
static void end_ready_polls(struct fd_slot *slot, uint32_t events, struct list *ended)
{
    list_for_each(link, &slot->ops) {
        struct op *op = JD_CONTAINER_OF(link, struct op, fd_link);
        uint32_t ready = events & ((unsigned short)op->events | EPOLLERR | EPOLLHUP);

        if (op->state == EPOLL_WAITING && op->direction == FD_ANY && ready) {
            op->state = EPOLL_ENDED;
            op->result = (int)ready;
            list_add_tail(ended, &op->port_link);
        }
    }
}

/* Slot lock held. */
static struct op *take_ready(struct fd_slot *slot, unsigned direction, uint32_t events)
{
    uint32_t mine = (direction == FD_IN ? EPOLLIN | EPOLLRDHUP : EPOLLOUT) | EPOLLERR | EPOLLHUP;
    struct op *op;

    if (!(events & mine) || slot->running[direction])
        return NULL;
    op = first_waiting(slot, direction);
    if (op) {
        op->state = EPOLL_RUNNING;
        slot->running[direction] = true;
    }
    return op;
}

int epoll_run_event(struct reactor *r, unsigned index, uint64_t tag, uint32_t events)
{
    struct op *ready[FD_ANY] = { NULL };
    struct fd_slot *slot;
    struct list ended;
    int fd = (int)(tag & UINT32_MAX), count = 0;

    list_init(&ended);
    if (fd_table_slot(&r->fds, fd, &slot) < 0)
        return 0;
    spin_lock(&slot->lock);
    /* Else: an event of an earlier life of the number. RELEASING first: then the rest of the slot is
     * the closer's, who writes it without the lock. */
    if (slot->state != FD_RELEASING && slot->generation == (uint32_t)(tag >> 32) &&
        slot->epoll_port == (int)index) {
        slot->epoll_armed = 0; /* EPOLLONESHOT */
        end_ready_polls(slot, events, &ended);
        for (unsigned d = 0; d < FD_ANY; d++)
            ready[d] = take_ready(slot, d, events);
        arm_or_fail(r, slot, fd, index, &ended);
    }
    spin_unlock(&slot->lock);
    for (unsigned d = 0; d < FD_ANY; d++)
        if (ready[d])
            count += run_direction(r, slot, ready[d], d == FD_IN ? events : 0);
    return count + finish_all(r, &ended);
}
