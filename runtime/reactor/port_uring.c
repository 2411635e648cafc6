/* SPDX-License-Identifier: MIT */
/*
 * The io_uring port: life, reaping, helping, parking. The submission side is in uring_queue.c,
 * the meaning of SQEs and CQEs in uring_op.c.
 *
 * Reaping: under the reap lock at most PORT_BATCH CQEs are copied, nothing else; then they are
 * handled without it, so complete() may push tasks and wake workers. One SQE per op is in flight,
 * so nobody overtakes us on the same op.
 *
 * Parking: see waker.h for the lost wake-up, reactor.h I4 for why the reap lock is held.
 *
 * Rejected: one wait for several completions (min_complete > 1): latency for nothing at low load.
 */
#include <errno.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/mark.h"
#include "reactor/uring_op.h"
#include "reactor/uring_port.h"

#define POLL_ROUNDS 8 /* 256 completions; then the tasks they woke should run */
/* Kernel threads per ring for what cannot be polled; the kernel's default is RLIMIT_NPROC. */
#define IOWQ_BOUNDED 16u
#define IOWQ_UNBOUNDED 64u

struct harvest {
    struct ring_completion cqes[PORT_BATCH];
    unsigned count;
};

/* --- Life ---------------------------------------------------------------------------------------- */

static void uring_free(struct port *base)
{
    struct uring_port *p = uring_port_of(base);

    ring_fini(&p->ring);
    port_fini(base);
    mem_free_aligned(p, JD_CACHE_LINE, sizeof(*p));
}

static int uring_new(struct reactor *r, unsigned index, unsigned sq_entries, struct port **ret)
{
    struct uring_port *p = mem_aligned(JD_CACHE_LINE, sizeof(*p));
    int error;

    if (!p)
        return -ENOMEM;
    *p = (struct uring_port){ .registered = -1 };
    spin_init(&p->submit_lock);
    list_init(&p->fifo);
    list_init(&p->cancels);
    error = port_init(&p->base, r, index);
    if (error == 0)
        error = ring_init(&p->ring, sq_entries);
    if (error < 0) {
        port_fini(&p->base);
        mem_free_aligned(p, JD_CACHE_LINE, sizeof(*p));
        return error;
    }
    *ret = &p->base;
    return 0;
}

static void uring_thread_enter(struct port *base)
{
    struct uring_port *p = uring_port_of(base);
    unsigned limits[2] = { IOWQ_BOUNDED, IOWQ_UNBOUNDED };

    p->registered = ring_register_self(&p->ring);
    if (p->registered < 0) /* an older kernel, all 16 places are taken, or out of memory */
        p->registered = -1;
    /* Refused by kernels before 5.15 only; then there is no bound. */
    (void)io_uring_register_iowq_max_workers(&p->ring.lib, limits);
    uring_queue_wake_poll(p);
    uring_queue_submit(p); /* what is not taken now is taken by the next poll or park */
}

/* --- Reaping ------------------------------------------------------------------------------------ */

static void handle_wake(struct uring_port *p, const struct ring_completion *cqe)
{
    /* Relaxed: the owner looks when it parks; an earlier generation is no longer its business. */
    uint16_t generation = atom_load(&p->wake_generation, relaxed);

    if (!(cqe->flags & IORING_CQE_F_MORE) &&
        cqe->user_data == uring_user_data(NULL, URING_TAG_WAKE, generation))
        atom_store(&p->wake_armed, false, relaxed); /* Relaxed: as above. */
}

/* True: the op is finished. False: it goes on with another SQE. */
static bool handle_op(struct uring_port *p, const struct ring_completion *cqe)
{
    struct op *op = uring_user_record(cqe->user_data);
    int result = -ECANCELED;

    uring_note_completed(op);
    JD_ASSERT(op->generation == (uint16_t)(cqe->user_data >> 48));
    if (!uring_op_ended(op, cqe->res, &result)) {
        MARK(OP_GOES_ON);
        if (uring_queue_again(p, op))
            return false;
        result = -ECANCELED;
    }
    uring_queue_end(p, op);
    op_finish(p->base.reactor, op, result);
    return true;
}

/* No lock. Returns how many ops it finished; `ret_wake`: the wake device spoke. */
static int handle_all(struct uring_port *p, const struct harvest *h, bool *ret_wake, bool submit)
{
    int finished = 0;
    unsigned ops = 0;

    for (unsigned i = 0; i < h->count; i++) {
        if ((h->cqes[i].user_data & URING_TAG_MASK) == URING_TAG_WAKE) {
            handle_wake(p, &h->cqes[i]);
            *ret_wake = true;
        } else {
            ops++;
            finished += handle_op(p, &h->cqes[i]);
        }
    }
    if (submit && ops > (unsigned)finished)
        uring_queue_submit(p); /* the follow-ups: their tasks wait already */
    return finished;
}

/* Takes the reap lock if it is free. False: busy or nothing there. */
static bool try_harvest(struct uring_port *p, struct harvest *h)
{
    if (!ring_has_cqe(&p->ring) || !spin_try_lock(&p->base.reap_lock))
        return false;
    h->count = ring_reap(&p->ring, h->cqes, PORT_BATCH);
    spin_unlock(&p->base.reap_lock);
    return h->count > 0;
}

static int reap(struct uring_port *p, int rounds, bool submit)
{
    struct harvest h;
    bool wake = false;
    int finished = 0;

    while (rounds-- > 0 && try_harvest(p, &h))
        finished += handle_all(p, &h, &wake, submit);
    /* The eventfd stays readable; waker_finish() of some later park reads it. No matter: its
     * multishot poll fires on every write. */
    return finished;
}

/* --- Driving --------------------------------------------------------------------------------------- */

static unsigned kernel_wants(const struct uring_port *p)
{
    unsigned flags = ring_flags(&p->ring);

    if (flags & IORING_SQ_CQ_OVERFLOW)
        MARK(CQ_OVERFLOW);
    return flags & (IORING_SQ_CQ_OVERFLOW | IORING_SQ_TASKRUN);
}

static int uring_poll(struct port *base)
{
    struct uring_port *p = uring_port_of(base);

    uring_queue_drain(p);
    if (kernel_wants(p)) {
        int ret = ring_enter(&p->ring, p->registered, ring_unsubmitted(&p->ring), 0,
                             IORING_ENTER_GETEVENTS, 0);

        JD_ASSERT(ret >= 0 || ring_will_recover(ret));
    } else {
        uring_queue_submit(p);
    }
    if (uring_queue_cancel_is_due(p))
        uring_queue_cancel(p);
    return reap(p, POLL_ROUNDS, true);
}

static int uring_help(struct port *base)
{
    struct uring_port *p = uring_port_of(base);

    uring_queue_drain(p);
    uring_queue_submit(p);
    if (ring_flags(&p->ring) & IORING_SQ_CQ_OVERFLOW) {
        int ret = ring_enter(&p->ring, -1, 0, 0, IORING_ENTER_GETEVENTS, 0);

        JD_ASSERT(ret >= 0 || ring_will_recover(ret));
    }
    if (uring_queue_cancel_is_due(p))
        uring_queue_cancel(p);
    else
        uring_port_nudge(p);
    return reap(p, 1, true);
}

static bool uring_needs_help(struct port *base)
{
    struct uring_port *p = uring_port_of(base);

    return ring_has_cqe(&p->ring) || kernel_wants(p) || ring_unsubmitted(&p->ring) > 0 ||
           atom_load(&p->fifo_len, relaxed) > 0 || /* Relaxed: a hint. */
           uring_queue_cancel_is_due(p);
}

static bool uring_has_staged(struct port *base)
{
    struct uring_port *p = uring_port_of(base);

    return ring_unsubmitted(&p->ring) > 0 || atom_load(&p->fifo_len, relaxed) > 0; /* a hint */
}

/* --- Parking --------------------------------------------------------------------------------------- */

/* How long to sleep at most: cancels that the kernel missed are repeated. */
static int64_t sleep_limit(const struct uring_port *p, int64_t deadline, int64_t now)
{
    if (atom_load(&p->cancels_len, relaxed) > 0 || /* Relaxed: hints. */
        atom_load(&p->fifo_len, relaxed) > 0)
        return CANCEL_INTERVAL_NS;
    return deadline == CLOCK_FOREVER ? INT64_MAX : deadline - now;
}

/* One sleep. False: there is no point in another one. */
static bool sleep_once(struct uring_port *p, int64_t deadline)
{
    int64_t now = clock_now(), limit;
    int ret;

    if (now >= deadline)
        return false;
    limit = sleep_limit(p, deadline, now);
    ret = fault_hit(FAULT_EINTR)
              ? -EINTR
              : ring_enter(&p->ring, p->registered, ring_unsubmitted(&p->ring), 1, 0, limit);
    JD_ASSERT(ret >= 0 || ret == -ETIME || ring_will_recover(ret));
    return ret >= 0 || ret == -EINTR;
}

static int uring_park(struct port *base, int64_t deadline)
{
    struct uring_port *p = uring_port_of(base);
    struct harvest h;
    bool wake = false, armed;
    int finished;

    uring_queue_drain(p);
    armed = atom_load(&p->wake_armed, relaxed); /* Relaxed: see handle_wake(). */
    if (!armed)
        uring_queue_wake_poll(p);
    if (waker_prepare(&base->waker)) {
        /* Unbounded but for the deadline: spurious returns of the kernel end nothing. */
        while (!ring_has_cqe(&p->ring) && !waker_is_woken(&base->waker) && sleep_once(p, deadline))
            ;
    }
    h.count = ring_reap(&p->ring, h.cqes, PORT_BATCH);
    spin_unlock(&base->reap_lock);
    for (unsigned i = 0; i < h.count; i++)
        wake |= (h.cqes[i].user_data & URING_TAG_MASK) == URING_TAG_WAKE;
    waker_finish(&base->waker, wake);
    finished = handle_all(p, &h, &wake, true);
    uring_queue_submit(p); /* what a completed CQ or a full queue left behind */
    if (uring_queue_cancel_is_due(p))
        uring_queue_cancel(p);
    return finished;
}

/*
 * What this thread submitted dies with it, silently at worst. So it is cancelled now, everywhere
 * this thread submitted; nobody asked for it, so it is staged again, for the next to come.
 */
static void uring_thread_leave(struct port *base)
{
    struct reactor *r = base->reactor;
    struct uring_port *own = uring_port_of(base);
    uint64_t bit = UINT64_C(1) << (base->index % 64);
    unsigned word = base->index / 64 % FOREIGN_WORDS;

    for (unsigned i = 0; i < r->workers; i++) {
        struct uring_port *p = uring_port_of(r->ports[i]);

        /* Relaxed: this thread set the bit itself. */
        if (p != own && !(atom_fetch_and(&p->foreign[word], ~bit, relaxed) & bit))
            continue;
        (void)ring_sync_cancel(&p->ring, 0, IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL);
    }
    /* Runs this thread's pending work, so that all those CQEs are there before it goes. */
    (void)ring_enter(&own->ring, own->registered, 0, 0, IORING_ENTER_GETEVENTS, 0);
    (void)reap(own, POLL_ROUNDS, false);
    if (own->registered >= 0)
        ring_unregister_self(&own->ring, own->registered);
    own->registered = -1;
    atom_store(&own->wake_armed, false, relaxed); /* Relaxed: the next owner arms its own. */
}

static void uring_submit(struct port *base, struct op *op)
{
    uring_queue_op(uring_port_of(base), op);
}

static bool uring_ask(struct port *base, struct op *op, uint8_t why)
{
    return uring_queue_ask(uring_port_of(base), op, why);
}

static void uring_flush_asked(struct port *base)
{
    uring_queue_cancel(uring_port_of(base));
}

static void uring_forget_fd(struct reactor *r, struct fd_slot *slot, int fd)
{
    (void)r, (void)slot, (void)fd; /* a ring keeps nothing of a descriptor between ops */
}

const struct port_ops port_uring_ops = {
    .name = "uring",
    .probe = uring_probe,
    .new = uring_new,
    .free = uring_free,
    .thread_enter = uring_thread_enter,
    .thread_leave = uring_thread_leave,
    .submit = uring_submit,
    .has_staged = uring_has_staged,
    .ask = uring_ask,
    .flush_asked = uring_flush_asked,
    .forget_fd = uring_forget_fd,
    .poll = uring_poll,
    .help = uring_help,
    .needs_help = uring_needs_help,
    .park = uring_park,
};
