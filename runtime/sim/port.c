/* SPDX-License-Identifier: MIT */
/*
 * The simulated port: ops take effect at a random later time, in random order.
 *
 *   submit -> TIMED (in the heap, until due) -> tried by the worker that reaps
 *               ^                                 | done: op_finish()
 *               | the file's state changed        | not yet: WAITING (on its file's list)
 *               +---------------------------------+
 *
 * I1  An op is TIMED in its port's heap, or WAITING at its file, or in the hands of the reaper.
 * I2  A cancel meets one of two fates, by seed: the op ends at once, or it stays TIMED and the end
 *     comes by its last try, which may still succeed. A WAITING op that was asked to end becomes
 *     TIMED, so it is always tried once more.
 * I3  The waker's eventfd does not exist: a park is over when the word says so, and the controller
 *     looks at it.
 *
 * Faults: a submission held back (queue full), a reap that ends early (overflow), a try put off
 * (EINTR, EAGAIN inside the kernel).
 */
#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "sim/sim.h"

#define LATENCY_MIN_NS INT64_C(500)
#define LATENCY_MAX_NS INT64_C(50000)
#define HELD_BACK_MAX_NS INT64_C(10000000)

enum { SIM_OP_TIMED, SIM_OP_WAITING, SIM_OP_TRIED };

static struct sim_port *sim_port_of(struct port *base)
{
    return JD_CONTAINER_OF(base, struct sim_port, base);
}

/* --- The heap ------------------------------------------------------------------------------- */

static bool before(const struct sim_timed *a, const struct sim_timed *b)
{
    return a->due != b->due ? a->due < b->due : a->order < b->order;
}

static void sift_up(struct sim_port *p, unsigned i)
{
    struct sim_timed moved = p->heap[i];

    for (; i > 0 && before(&moved, &p->heap[(i - 1) / 2]); i = (i - 1) / 2)
        p->heap[i] = p->heap[(i - 1) / 2];
    p->heap[i] = moved;
}

static void sift_down(struct sim_port *p, unsigned i)
{
    struct sim_timed moved = p->heap[i];

    for (;;) { /* bounded by the height */
        unsigned child = 2 * i + 1;

        if (child + 1 < p->count && before(&p->heap[child + 1], &p->heap[child]))
            child++;
        if (child >= p->count || !before(&p->heap[child], &moved))
            break;
        p->heap[i] = p->heap[child];
        i = child;
    }
    p->heap[i] = moved;
}

static void heap_remove(struct sim_port *p, unsigned i)
{
    p->heap[i] = p->heap[--p->count];
    if (i < p->count) {
        sift_down(p, i);
        sift_up(p, i);
    }
}

/* Makes room for every op that is admitted, so that an op which waits can always be timed again. */
static void heap_reserve(struct sim_port *p, unsigned count)
{
    unsigned room = p->room ? p->room : 16;
    struct sim_timed *heap;

    while (room < count)
        room *= 2;
    if (room == p->room)
        return;
    p->sim->quiet = true;
    heap = mem_alloc(room * sizeof(*heap));
    p->sim->quiet = false;
    JD_ASSERT(heap != NULL); /* a simulation without memory ends here */
    if (p->count > 0)
        memcpy(heap, p->heap, p->count * sizeof(*heap));
    mem_free(p->heap, p->room * sizeof(*heap));
    p->heap = heap;
    p->room = room;
}

static void op_time(struct sim_port *p, struct op *op, int64_t max_delay)
{
    struct sim *sim = p->sim;

    op->state = SIM_OP_TIMED;
    heap_reserve(p, p->count + 1);
    p->heap[p->count++] = (struct sim_timed){
        .due = sim->now + sim_between(sim, LATENCY_MIN_NS, max_delay),
        .order = sim->next_order++,
        .op = op,
    };
    sift_up(p, p->count - 1);
}

static void heap_drop(struct sim_port *p, const struct op *op)
{
    unsigned i = 0;

    while (p->heap[i].op != op) /* bounded: it is in there */
        i++;
    heap_remove(p, i);
}

int64_t sim_port_next(struct port *base)
{
    struct sim_port *p = sim_port_of(base);

    return p->count ? p->heap[0].due : CLOCK_FOREVER;
}

/* --- Ops ------------------------------------------------------------------------------------ */

void sim_port_retry(struct sim *sim, struct op *op)
{
    JD_ASSERT(op->state == SIM_OP_WAITING);
    op_time(sim_port_of(sim->rt->reactor->ports[op->port]), op, LATENCY_MAX_NS);
}

static void sim_submit(struct port *base, struct op *op)
{
    struct sim_port *p = sim_port_of(base);

    sim_trace(p->sim, EVENT_SUBMIT, (uint64_t)op->fd, op->kind);
    op_time(p, op, sim_fault(p->sim, 1) ? HELD_BACK_MAX_NS : LATENCY_MAX_NS);
}

/* Slot lock held (port.h). */
static bool sim_ask(struct port *base, struct op *op, uint8_t why)
{
    struct sim_port *p = sim_port_of(base);
    bool at_once = sim_percent(p->sim, 50);

    atom_fetch_or(&op->asked, why, relaxed); /* Relaxed: one thread. */
    if (op->state == SIM_OP_TRIED)
        return false; /* it is being finished */
    if (op->state == SIM_OP_WAITING) {
        sim_net_leave(p->sim, op);
        if (!at_once)
            op_time(p, op, LATENCY_MAX_NS);
    } else if (at_once) {
        heap_drop(p, op);
    }
    if (at_once)
        op->state = SIM_OP_TRIED;
    return at_once;
}

static int try_now(struct sim_port *p, struct op *op)
{
    bool asked = atom_load(&op->asked, relaxed) != 0; /* Relaxed: one thread. */
    int result;

    if (!asked && sim_fault(p->sim, 1)) {
        op_time(p, op, HELD_BACK_MAX_NS);
        return 0;
    }
    op->state = SIM_OP_WAITING;
    result = sim_net_try(p->sim, op);
    if (result == -EAGAIN && !asked)
        return 0;
    if (result == -EINPROGRESS && !asked) {
        op_time(p, op, HELD_BACK_MAX_NS);
        return 0;
    }
    if (result == -EAGAIN)
        sim_net_leave(p->sim, op);
    if (result == -EAGAIN || result == -EINPROGRESS)
        result = -ECANCELED;
    op->state = SIM_OP_TRIED;
    sim_trace(p->sim, EVENT_COMPLETE, (uint64_t)op->fd, result);
    op_finish(p->base.reactor, op, result);
    return 1;
}

/* Reap lock not held: nobody else is inside, and what completes may look at the port. */
static int reap(struct sim_port *p)
{
    int finished = 0;

    while (p->count > 0 && p->heap[0].due <= p->sim->now) { /* bounded: a retry is later */
        struct op *op = p->heap[0].op;

        heap_remove(p, 0);
        finished += try_now(p, op);
        if (sim_fault(p->sim, 2))
            break;
    }
    return finished;
}

static int sim_poll(struct port *base)
{
    if (!spin_try_lock(&base->reap_lock))
        return 0; /* its owner is parked */
    spin_unlock(&base->reap_lock);
    return reap(sim_port_of(base));
}

static int sim_park(struct port *base, int64_t deadline)
{
    struct sim_port *p = sim_port_of(base);
    struct sim_worker *sw = p->sim->running;

    sw->parked = true;
    sw->deadline = deadline;
    sim_trace(p->sim, EVENT_PARK, 0, 0);
    sim_yield(p->sim);
    sw->parked = false;
    sim_trace(p->sim, EVENT_UNPARK, 0, 0);
    atom_store(&base->waker.word, WAKER_RUNNING, relaxed); /* Relaxed: one thread. */
    spin_unlock(&base->reap_lock);
    return reap(p);
}

static bool sim_needs_help(struct port *base)
{
    struct sim_port *p = sim_port_of(base);

    return p->count > 0 && p->heap[0].due <= p->sim->now;
}

/* --- Life ----------------------------------------------------------------------------------- */

static int sim_probe(char why[PORT_WHY_BYTES])
{
    (void)why;
    return 0;
}

static int sim_new(struct reactor *r, unsigned index, unsigned sq_entries, struct port **ret)
{
    struct sim_port *p = mem_aligned(JD_CACHE_LINE, sizeof(*p));

    (void)sq_entries;
    if (!p)
        return -ENOMEM;
    p->base.reactor = r;
    p->base.index = index;
    spin_init(&p->base.reap_lock);
    atom_init(&p->base.admitted, 0);
    atom_init(&p->base.finished, 0);
    atom_init(&p->base.waker.word, WAKER_RUNNING);
    p->base.waker.fd = -1; /* I3 */
    p->sim = sim_current();
    *ret = &p->base;
    return 0;
}

static void sim_free(struct port *base)
{
    struct sim_port *p = sim_port_of(base);

    mem_free(p->heap, p->room * sizeof(*p->heap));
    mem_free_aligned(p, JD_CACHE_LINE, sizeof(*p));
}

static void sim_thread_enter(struct port *base)
{
    (void)base;
}

static void sim_thread_leave(struct port *base)
{
    (void)base;
}

static bool sim_has_staged(struct port *base)
{
    return sim_percent(sim_port_of(base)->sim, 50); /* a send goes straight, or to the batch */
}

static void sim_flush_asked(struct port *base)
{
    (void)base; /* what was asked for is timed */
}

static void sim_forget_fd(struct reactor *r, struct fd_slot *slot, int fd)
{
    (void)r, (void)slot, (void)fd;
}

static int sim_close_fd(struct reactor *r, int fd)
{
    return sim_net_close(sim_port_of(r->ports[0])->sim, fd);
}

const struct port_ops port_sim_ops = {
    .name = "simulated",
    .probe = sim_probe,
    .new = sim_new,
    .free = sim_free,
    .thread_enter = sim_thread_enter,
    .thread_leave = sim_thread_leave,
    .submit = sim_submit,
    .has_staged = sim_has_staged,
    .ask = sim_ask,
    .flush_asked = sim_flush_asked,
    .forget_fd = sim_forget_fd,
    .close_fd = sim_close_fd,
    .poll = sim_poll,
    .help = sim_poll,
    .needs_help = sim_needs_help,
    .park = sim_park,
};
