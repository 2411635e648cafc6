/* SPDX-License-Identifier: MIT */
/*
 * A pool's threads in a simulation: each is a record that gets its turns from sim/jobs.c, at random
 * moments of virtual time, on the controller's stack.
 *
 * I1  The roster is the production one, and so is who is woken and made when. A turn ends where a
 *     thread would sleep, and where time would pass: between taking a job and running it, so that a
 *     cancel may come while the job "runs".
 * I2  `has_turn` says that a turn is under way; a ring that comes before it needs no other.
 * I3  A simulated thread never blocks: waits of plain threads are refused in a simulation.
 */
#include "base/clock.h"
#include "executor/pool.h"
#include "sched/choice.h"

static void *take_turn(void *arg);

/* The caller cannot do without it: a simulation for which there is no memory is over. */
static void next_turn(struct pool_thread *t, enum pool_turn turn)
{
    bool has_memory;

    t->turn = turn;
    has_memory = sim_run_later(take_turn, t);
    JD_ASSERT(has_memory);
    t->has_turn = true;
}

/* Until it waits for something. */
static void look(struct pool_thread *t)
{
    struct jd_executor *p = t->pool;
    struct roster_call call;
    enum pool_turn turn = TURN_SIT;

    switch (
        roster_next(&p->roster, &t->seat, clock_now(), /* may_spin= */ false, &t->taken, &call)) {
    case ROSTER_QUIT:
        pool_thread_gone(t, false);
        return;
    case ROSTER_LAST:
        pool_thread_gone(t, true);
        return;
    case ROSTER_RUN:
        pool_carry_out(p, &call);
        turn = TURN_JOB;
        break;
    case ROSTER_DOZE:
        turn = TURN_DOZE;
        break;
    case ROSTER_SPIN:
    case ROSTER_SIT:
        break;
    }
    next_turn(t, turn);
}

/* False: it sleeps on, or has retired. */
static bool wakes(struct pool_thread *t)
{
    if (seat_was_rung(&t->seat))
        return true;
    if (t->turn == TURN_DOZE)
        return roster_doze_over(&t->pool->roster, &t->seat);
    if (roster_retire(&t->pool->roster, &t->seat) == ROSTER_RETIRED)
        pool_thread_gone(t, false);
    return false;
}

static void *take_turn(void *arg)
{
    struct pool_thread *t = arg;
    struct job *job = t->taken;

    t->has_turn = false;
    switch (t->turn) {
    case TURN_ARRIVE:
        roster_arrive(&t->pool->roster, &t->seat, clock_now());
        break;
    case TURN_JOB:
        thread_run(t, job, clock_now());
        break;
    case TURN_DOZE:
    case TURN_SIT:
        if (!wakes(t))
            return NULL;
        break;
    }
    look(t);
    return NULL;
}

void thread_sim_make(struct pool_thread *t)
{
    t->has_id = true;
    next_turn(t, TURN_ARRIVE);
}

void thread_sim_ring(struct pool_thread *t)
{
    seat_ring(&t->seat);
    if (!t->has_turn)
        next_turn(t, t->turn);
}
