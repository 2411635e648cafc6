/* SPDX-License-Identifier: MIT */
/*
 * The controller: which worker goes on, and what time it is then.
 *
 * I1  w->native is where the controller stands while worker w runs: a worker that leaves its loop
 *     (sched_leave_loop) arrives in the controller by the same door as one that gives way.
 * I2  Time jumps only when no worker can run, to the earliest of: a park's deadline, an op of a port,
 *     the end of a stall, a job, the watchdog's tick if somebody is stalled. None of them, and the
 *     run not over: nothing can ever happen again, a deadlock.
 */
#include <errno.h>

#include "base/clock.h"
#include "sim/sim.h"

#define TICK_NS INT64_C(1000000) /* as the watchdog's */

void sim_yield(struct sim *sim)
{
    struct worker *w = sim->running->w;

    (void)fiber_switch(w->fiber, &w->native); /* who resumed us is known */
}

static void worker_begin(struct sim *sim, struct sim_worker *sw, struct worker *w)
{
    *sw = (struct sim_worker){ .w = w, .alive = true };
    w->ticked = false;
    atom_store(&w->serving, 1, relaxed); /* Relaxed, both: one thread. */
    atom_fetch_add(&w->rt->running, 1, relaxed);
    w->fiber = sched_begin_loop(w);
    sim->alive++;
}

static void worker_left(struct sim *sim, struct sim_worker *sw, struct fiber *prev)
{
    struct worker *w = sw->w;

    sched_after_switch(prev);
    atom_fetch_sub(&w->rt->running, 1, relaxed); /* Relaxed, both: one thread. */
    atom_store(&w->serving, 0, relaxed);
    sw->alive = false;
    sim->alive--;
}

static void worker_resume(struct sim *sim, struct sim_worker *sw)
{
    struct worker *w = sw->w;
    struct fiber *prev;

    sim->running = sw;
    worker_set_current(w);
    reactor_thread_play(sim->rt->reactor, w->index);
    prev = fiber_switch(&w->native, w->fiber);
    if (w->fiber == &w->native)
        worker_left(sim, sw, prev);
    sim->running = NULL;
    worker_set_current(NULL);
    reactor_thread_play(NULL, 0);
}

/* When this worker has something to do; CLOCK_FOREVER: only if somebody wakes it. */
static int64_t runnable_at(struct sim *sim, const struct sim_worker *sw)
{
    struct port *port = sim->rt->reactor->ports[sw->w->index];
    int64_t at = 0, next;

    if (sw->parked && !waker_is_woken(&port->waker)) {
        next = sim_port_next(port);
        at = next < sw->deadline ? next : sw->deadline;
    }
    return at > sw->stalled_until ? at : sw->stalled_until;
}

/* A random worker that can run now; NULL: none, and *ret_next is when the first one can. */
static struct sim_worker *choose(struct sim *sim, int64_t *ret_next)
{
    struct sim_worker *chosen = NULL;
    int64_t next = sim_jobs_next(sim);
    uint32_t candidates = 0;
    bool stalled = false;

    for (unsigned i = 0; i < sim->worker_count; i++) {
        struct sim_worker *sw = &sim->workers[i];
        int64_t at = sw->alive ? runnable_at(sim, sw) : CLOCK_FOREVER;

        if (sw->alive && at <= sim->now && sim_below(sim, ++candidates) == 0)
            chosen = sw;
        stalled |= sw->alive && !sw->parked;
        next = at < next ? at : next;
    }
    if (stalled && sim->next_tick < next)
        next = sim->next_tick;
    *ret_next = next;
    return chosen;
}

/* Others help a worker that does not move: the watchdog sees to it. */
static void watchdog(struct sim *sim)
{
    if (sim->now < sim->next_tick)
        return;
    sim->next_tick = sim->now + TICK_NS;
    if (sim->worker_count > 1)
        watchdog_tick(sim->rt);
}

void sim_stop(struct sim *sim, int error)
{
    sim->error = error;
    sim->limit = CLOCK_FOREVER; /* the end itself has the shutdown's timeout */
    runtime_stop_workers(sim->rt);
}

/* Nobody can run. */
static void jump(struct sim *sim, int64_t next)
{
    if (next == CLOCK_FOREVER) {
        sim_report_deadlock(sim);
        sim_stop(sim, -EDEADLK);
        return;
    }
    if (next > sim->limit) {
        sim->now = sim->limit;
        sim_stop(sim, -ETIMEDOUT);
        return;
    }
    JD_ASSERT(next > sim->now);
    sim->now = next;
    sim_trace(sim, EVENT_JUMP, 0, 0);
}

static void watch_begin(struct sim *sim)
{
    if (!sim->watch.wanted)
        return;
    if (!sim_watch_clocks())
        sim_report_escape(sim, NULL,
                          "clocks are not watched: other threads were running, or the kernel does "
                          "not let their functions be replaced");
    sim_watch_on(sim);
}

/* Tells what no choice point has told. */
static void watch_end(struct sim *sim)
{
    if (!sim->watch.wanted)
        return;
    sim_watch_tell(sim);
    sim_watch_off(sim);
}

void sim_serve(struct sim *sim, struct jd_runtime *rt)
{
    sim->rt = rt;
    watch_begin(sim);
    for (unsigned i = 0; i < sim->worker_count; i++)
        worker_begin(sim, &sim->workers[i], &rt->workers[i]);
    while (sim->alive > 0) { /* unbounded: until the run is over */
        struct sim_worker *sw;
        int64_t next;

        if (sim->now > sim->limit)
            sim_stop(sim, -ETIMEDOUT);
        watchdog(sim);
        while (sim_jobs_run(sim)) /* bounded by the jobs that are due */
            ;
        sw = choose(sim, &next);
        if (sw)
            worker_resume(sim, sw);
        else if (next > sim->now) /* else a job took so long that something is due by now */
            jump(sim, next);
    }
    watch_end(sim);
}
