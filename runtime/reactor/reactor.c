/* SPDX-License-Identifier: MIT */
/*
 * The reactor: admission, the end of an op, cancel and close, over whichever port was chosen.
 *
 * Close (I3 of reactor.h). S1 under the slot lock: mark CLOSING, ask every op on the list to end;
 * from here on nobody is admitted. S2 without it: finish the ops that only waited in a queue of
 * ours, let the ports carry the wish to the kernel. S3 whoever finishes the last op finds CLOSING
 * and an empty list, moves to RELEASING, and does close(2) and done(). Staged submissions cannot
 * act on a later file of the same number, since S3 waits for their completions.
 *
 * Rejected: IORING_ASYNC_CANCEL_FD to end all ops of a descriptor: it matches by the open file, so
 * ops on a file that the user closed himself would never be found.
 */
#include "reactor/reactor.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/mark.h"
#include "reactor/port.h"

#define SQ_ENTRIES_DEFAULT 256u
#define SQ_ENTRIES_MAX 32768u /* the kernel's own limit */
#define WORKERS_MAX 65535u    /* arbitrary; worker indexes fit 16 bits elsewhere */

/* Written by the thread itself in enter and leave. */
static _Thread_local struct {
    const struct reactor *reactor;
    unsigned index;
} self;

/* noinline: a caller's stack may have moved to another thread since its last look. */
JD_NOINLINE unsigned reactor_self(const struct reactor *r)
{
    return self.reactor == r ? self.index : REACTOR_NO_WORKER;
}

/* --- Life --------------------------------------------------------------------------------- */

int port_init(struct port *p, struct reactor *r, unsigned index)
{
    p->reactor = r;
    p->index = index;
    spin_init(&p->reap_lock);
    atom_init(&p->admitted, 0);
    atom_init(&p->finished, 0);
    return waker_init(&p->waker);
}

void port_fini(struct port *p)
{
    waker_fini(&p->waker);
}

static int choose_port(struct reactor *r, const struct reactor_config *cfg)
{
    int error;

    if (cfg->replace) {
        r->ops = cfg->replace;
        snprintf(r->why, sizeof(r->why), "replaced by the caller");
        return 0;
    }
    if (cfg->want == REACTOR_EPOLL) {
        r->ops = &port_epoll_ops;
        snprintf(r->why, sizeof(r->why), "epoll was asked for");
        return 0;
    }
    error = port_uring_ops.probe(r->why);
    if (error == 0) {
        r->ops = &port_uring_ops;
    } else if (cfg->want == REACTOR_URING || error == -EMFILE || error == -ENFILE) {
        return error; /* too few descriptors is not io_uring's fault: report it, do not hide it */
    } else {
        r->ops = &port_epoll_ops;
    }
    return 0;
}

static int make_ports(struct reactor *r, unsigned sq_entries)
{
    for (unsigned i = 0; i < r->workers; i++) {
        int error = r->ops->new (r, i, sq_entries, &r->ports[i]);

        if (error < 0)
            return error;
    }
    return 0;
}

static void free_ports(struct reactor *r)
{
    for (unsigned i = 0; r->ports && i < r->workers; i++) {
        if (r->ports[i])
            r->ops->free(r->ports[i]);
        r->ports[i] = NULL;
    }
}

/* The probe passed, but one ring per worker did not fit (locked memory on old kernels). */
static int make_ports_or_fall_back(struct reactor *r, const struct reactor_config *cfg)
{
    int error = make_ports(r, cfg->sq_entries ? cfg->sq_entries : SQ_ENTRIES_DEFAULT);

    if (error != -ENOMEM || cfg->want != REACTOR_AUTO || r->ops != &port_uring_ops)
        return error;
    free_ports(r);
    r->ops = &port_epoll_ops;
    snprintf(r->why, sizeof(r->why), "io_uring_setup: ENOMEM for %u rings", r->workers);
    return make_ports(r, 0);
}

int reactor_new(const struct reactor_config *cfg, struct reactor **ret)
{
    struct reactor *r;
    int error;

    if (cfg->workers == 0 || cfg->workers > WORKERS_MAX || cfg->sq_entries > SQ_ENTRIES_MAX ||
        cfg->want > REACTOR_EPOLL)
        return -EINVAL;
    r = mem_calloc(sizeof(*r));
    if (!r)
        return -ENOMEM;
    r->workers = cfg->workers;
    if (cfg->files)
        r->files = *cfg->files;
    r->ports = mem_calloc(r->workers * sizeof(struct port *));
    error = r->ports ? fd_table_init(&r->fds) : -ENOMEM;
    if (error == 0)
        error = nudge_init(&r->nudge, r->workers);
    if (error == 0)
        error = choose_port(r, cfg);
    if (error == 0)
        error = make_ports_or_fall_back(r, cfg);
    if (error < 0) {
        reactor_free(r);
        return error;
    }
    *ret = r;
    return 0;
}

void reactor_free(struct reactor *r)
{
    if (!r)
        return;
    if (r->ports) {
        JD_ASSERT(!r->ops || reactor_in_flight(r) == 0);
        free_ports(r);
        mem_free(r->ports, r->workers * sizeof(struct port *));
    }
    nudge_fini(&r->nudge);
    fd_table_fini(&r->fds);
    mem_free(r, sizeof(*r));
}

const char *reactor_name(const struct reactor *r)
{
    return r->ops->name;
}

const char *reactor_why(const struct reactor *r)
{
    return r->why;
}

void reactor_thread_enter(struct reactor *r, unsigned index)
{
    JD_ASSERT(index < r->workers);
    JD_ASSERT(!self.reactor);
    nudge_enter(&r->nudge, index);
    self.reactor = r;
    self.index = index;
    r->ops->thread_enter(r->ports[index]);
}

void reactor_thread_leave(struct reactor *r, unsigned index)
{
    JD_ASSERT(reactor_self(r) == index);
    r->ops->thread_leave(r->ports[index]);
    self.reactor = NULL;
    nudge_leave(&r->nudge, index);
}

void reactor_thread_play(const struct reactor *r, unsigned index)
{
    self.reactor = r;
    self.index = index;
}

void reactor_thread_forget(void)
{
    self.reactor = NULL;
}

/* --- Submission and completion -------------------------------------------------------------- */

int reactor_submit(struct reactor *r, unsigned index, struct op *op)
{
    struct port *p = r->ports[index];
    int error = fd_table_slot(&r->fds, op->fd, &op->slot);

    JD_ASSERT(op->kind < OP_KIND_COUNT);
    JD_ASSERT_SLOW(reactor_self(r) == index);
    if (error < 0)
        return error;
    op->port = index;
    op->state = 0;
    op->stage = 0;
    op->restaged = 0;
    list_init(&op->port_link);
    atom_init(&op->asked, 0);
    error = fd_slot_admit(op->slot, op);
    if (error < 0)
        return error;
    /* Relaxed: only the owner writes it; readers want a sum at quiet moments. */
    atom_store(&p->admitted, atom_load(&p->admitted, relaxed) + 1, relaxed);
    r->ops->submit(p, op); /* the op may be gone from here on */
    return 0;
}

/* EINTR: Linux has closed it all the same. */
static int release_fd(struct reactor *r, int fd)
{
    if (r->ops->close_fd)
        return r->ops->close_fd(r, fd);
    return close(fd) < 0 && errno != EINTR ? -errno : 0;
}

static void close_and_tell(struct reactor *r, struct fd_slot *slot, struct fd_close *c)
{
    int fd = c->fd;

    r->ops->forget_fd(r, slot, fd);
    c->result = release_fd(r, fd);
    fd_slot_reopen(slot);
    c->done(c);
}

static int result_when_asked(struct reactor *r, const struct op *op, uint8_t asked, int result)
{
    if ((asked & OP_ASKED_CLOSE) && op->kind == OP_ACCEPT && result >= 0) {
        MARK(ACCEPTED_INTO_CLOSE);
        (void)release_fd(
            r, result); /* nobody who closes a listener expects another connection from it */
        return -EBADF;
    }
    if (result == -ECANCELED && !(asked & OP_ASKED_CANCEL))
        return -EBADF;
    return result;
}

void op_finish(struct reactor *r, struct op *op, int result)
{
    struct fd_slot *slot = op->slot;
    struct port *p = r->ports[op->port];
    /* Relaxed: the port has ordered its last look at `asked` before this call. */
    uint8_t asked = atom_load(&op->asked, relaxed) & (OP_ASKED_CANCEL | OP_ASKED_CLOSE);
    struct fd_close *closer;

    op->result = asked ? result_when_asked(r, op, asked, result) : result;
    closer = fd_slot_leave(slot, op);
    op->complete(op); /* the op may be gone from here on */
    if (closer)
        close_and_tell(r, slot, closer);
    /* Relaxed: a counter; quiet moments are made by joining. After the close, so that a zero sum
     * also means that no close is under way. */
    atom_fetch_add(&p->finished, 1, relaxed);
}

void reactor_cancel(struct reactor *r, unsigned index, struct op *op)
{
    struct port *p = r->ports[op->port];
    struct fd_slot *slot = op->slot;
    bool idle;

    (void)index; /* every port can be cancelled on from every thread */
    spin_lock(&slot->lock);
    idle = r->ops->ask(p, op, OP_ASKED_CANCEL);
    spin_unlock(&slot->lock);
    if (idle)
        op_finish(r, op, -ECANCELED);
    else
        r->ops->flush_asked(p);
}

/* --- Close ----------------------------------------------------------------------------------- */

/* Slot lock held. Moves the ops which nobody works on to `idle`. */
static void ask_all(struct reactor *r, struct fd_slot *slot, struct list *idle)
{
    list_for_each(link, &slot->ops) {
        struct op *op = JD_CONTAINER_OF(link, struct op, fd_link);

        if (r->ops->ask(r->ports[op->port], op, OP_ASKED_CLOSE))
            list_add_tail(idle, &op->port_link);
    }
}

static int close_idle_fd(struct reactor *r, struct fd_slot *slot, struct fd_close *c)
{
    int error;

    r->ops->forget_fd(r, slot, c->fd);
    error = release_fd(r, c->fd);
    fd_slot_reopen(slot);
    if (error == -EBADF)
        return error;
    c->result = error;
    c->done(c);
    return 0;
}

/* No memory for the slot, so no op was ever on this descriptor: there is nothing to end. An ENOMEM
 * here would leave it open for ever. */
static int close_without_slot(struct reactor *r, struct fd_close *c)
{
    int error = release_fd(r, c->fd);

    MARK(CLOSE_WITHOUT_SLOT);
    if (error == -EBADF)
        return error;
    c->result = error;
    c->done(c);
    return 0;
}

int reactor_close(struct reactor *r, unsigned index, struct fd_close *c)
{
    struct fd_slot *slot;
    struct list idle, *link;
    int error = fd_table_slot(&r->fds, c->fd, &slot);

    (void)index; /* the calling thread is known, and a plain one is as good */
    if (error == -ENOMEM)
        return close_without_slot(r, c);
    if (error < 0)
        return error;
    fd_slot_lock(slot);
    if (slot->state == FD_CLOSING) {
        spin_unlock(&slot->lock);
        return -EBADF;
    }
    if (list_is_empty(&slot->ops)) {
        slot->state = FD_RELEASING;
        spin_unlock(&slot->lock);
        return close_idle_fd(r, slot, c);
    }
    slot->state = FD_CLOSING;
    slot->closer = c;
    list_init(&idle);
    ask_all(r, slot, &idle);
    spin_unlock(&slot->lock);
    /* c may be gone from here on: others may finish the last op. */
    while ((link = list_pop_head(&idle)))
        op_finish(r, JD_CONTAINER_OF(link, struct op, port_link), -ECANCELED);
    for (unsigned i = 0; i < r->workers; i++)
        r->ops->flush_asked(r->ports[i]);
    return 0;
}

/* --- Driving a port --------------------------------------------------------------------------- */

int reactor_poll(struct reactor *r, unsigned index)
{
    return r->ops->poll(r->ports[index]);
}

bool reactor_has_staged(const struct reactor *r, unsigned index)
{
    return r->ops->has_staged(r->ports[index]);
}

int reactor_help(struct reactor *r, unsigned victim)
{
    JD_ASSERT(reactor_self(r) != REACTOR_NO_WORKER);
    return r->ops->help(r->ports[victim]);
}

bool reactor_needs_help(struct reactor *r, unsigned victim)
{
    return r->ops->needs_help(r->ports[victim]);
}

bool reactor_park_begin(struct reactor *r, unsigned index)
{
    return spin_try_lock(&r->ports[index]->reap_lock);
}

int reactor_park(struct reactor *r, unsigned index, int64_t deadline)
{
    return r->ops->park(r->ports[index], deadline);
}

void reactor_park_abort(struct reactor *r, unsigned index)
{
    spin_unlock(&r->ports[index]->reap_lock);
}

void reactor_wake(struct reactor *r, unsigned index)
{
    waker_wake(&r->ports[index]->waker);
}

unsigned reactor_in_flight(const struct reactor *r)
{
    unsigned sum = 0;

    for (unsigned i = 0; i < r->workers; i++) {
        const struct port *p = r->ports[i];

        /* Relaxed: exact only when nobody is inside; then whatever joined them orders it. */
        if (p)
            sum += atom_load(&p->admitted, relaxed) - atom_load(&p->finished, relaxed);
    }
    return sum;
}
