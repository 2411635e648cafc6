/* SPDX-License-Identifier: MIT */
/*
 * A worker without work: search for a moment, then sleep in its port.
 *
 * I1  The protocol is idle.h's: announce (W1), look again (W2), sleep.
 * I2  The lock of the own completion queue is held from before W1 until the port has reaped; if it
 *     is busy the worker does not park (a thief is reaping: there will be work).
 * I3  It sleeps until its own next deadline at the latest; the deadline is read after W1, so a timer
 *     that somebody arms later rings the bell (sched_wake_worker).
 * I4  It spins before the park only if the last spin paid and the cgroup leaves it the CPU.
 */
#include "base/clock.h"
#include "base/mark.h"
#include "sched/choice.h"
#include "sched/worker.h"

/* How often a draining runtime looks whether its last task has ended. */
#define DRAIN_LOOK_NS INT64_C(1000000)

static uint32_t search_limit(const struct jd_runtime *rt)
{
    /* Relaxed: a heuristic. */
    uint32_t running = atom_load(&rt->running, relaxed);

    return running / 2 > 0 ? running / 2 : 1;
}

static bool anything_now(struct worker *w)
{
    return sched_has_work(w) || timer_wheel_next(&w->timers) <= clock_now() ||
           reactor_needs_help(w->rt->reactor, w->index);
}

/* True: work appeared while spinning. */
static bool spin_for_work(struct worker *w)
{
    int64_t end;

    if (!w->spin_pays || w->rt->has_quota || w->rt->worker_count < 2)
        return false;
    end = clock_now() + SPIN_NS;
    while (clock_now() < end) { /* bounded by SPIN_NS */
        if (anything_now(w))
            return true;
        cpu_relax();
    }
    w->spin_pays = false;
    return false;
}

static void unpark(struct worker *w, bool was_claimed)
{
    atom_store(&w->is_parked, 0, relaxed);       /* Relaxed: a hint. */
    atom_fetch_add(&w->rt->running, 1, seq_cst); /* [DOG-1] */
    w->searching = was_claimed;                  /* the waker counted us (idle.h I2) */
    watchdog_poke(w->rt);
}

static void park(struct worker *w)
{
    struct jd_runtime *rt = w->rt;
    int64_t deadline, slept_at;
    bool found;

    if (!reactor_park_begin(rt->reactor, w->index))
        return;
    atom_store(&w->is_parked, 1, relaxed);    /* Relaxed: a hint. */
    atom_fetch_sub(&rt->running, 1, seq_cst); /* [DOG-1] */
    watchdog_poke(rt);                        /* it looks after those who go on running */
    idle_park_announce(&rt->idle, w->index, w->searching); /* W1 */
    w->searching = false;
    deadline = timer_wheel_next(&w->timers);
    slept_at = clock_now();
    if (JD_UNLIKELY(atom_load(&rt->draining, acquire)) && deadline > slept_at + DRAIN_LOOK_NS)
        deadline = slept_at + DRAIN_LOOK_NS; /* [STOP-1] the end may be missed by a hair (run.c) */
    choice(CHOICE_PARK);
    found = sched_has_work(w); /* W2 */
    if (found)
        MARK(STALE_PARK);
    choice(CHOICE_PARK);
    if (found || deadline <= slept_at)
        reactor_park_abort(rt->reactor, w->index);
    else
        (void)reactor_park(rt->reactor, w->index, deadline); /* early returns are legal */
    unpark(w, !idle_park_retract(&rt->idle, w->index));
    if (found &&
        !w->searching) /* counted again, so that the first find wakes one more (idle.h I3) */
        w->searching = idle_search_begin(&rt->idle, rt->worker_count);
    w->now = clock_now();
    w->spin_pays = w->now - slept_at < 2 * SPIN_NS;
    atom_store(&w->epoch, atom_load(&w->epoch, relaxed) + 1, relaxed);
}

void sched_idle(struct worker *w)
{
    struct jd_runtime *rt = w->rt;
    bool helped;

    if (!w->searching)
        w->searching = idle_search_begin(&rt->idle, search_limit(rt));
    helped = w->searching && (sched_help_stale(w) || spin_for_work(w));
    if (!helped)
        park(w);
    sched_poll(w);
    (void)loop_queue_begin_tick(&w->loop_queue);
}
