/* SPDX-License-Identifier: MIT */
/*
 * A simulation's life, its chance and its trace: see sim.h.
 *
 * The hooks of sched/choice.h are here. Each asks first whether the calling thread simulates: they
 * are armed for the whole process.
 */
#include "sim/sim.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include <jackdaw/sim.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/fault.h"
#include "sched/wait.h"

#define SWITCH_PERCENT 20u            /* of choice points give the turn away; arbitrary */
#define STALL_MAX_NS INT64_C(3000000) /* beyond the watchdog's tick, so that others must help */
#define CLOCK_READ_NS 20 /* what a look at the clock costs: a program that spins on it goes on */

struct choice_flag choice_flag;

static _Thread_local struct {
    struct sim *sim;
    struct sim_summary last;
    sim_checkpoint_fn checkpoint;
    void *checkpoint_arg;
    const unsigned char *choices;
    size_t choice_count;
} self;

JD_NOINLINE struct sim *sim_current(void)
{
    return self.sim;
}

JD_NOINLINE struct sim_summary sim_last(void)
{
    return self.last;
}

JD_NOINLINE void sim_set_checkpoint(sim_checkpoint_fn fn, void *arg)
{
    self.checkpoint = fn;
    self.checkpoint_arg = arg;
}

JD_NOINLINE void sim_set_choices(const unsigned char *bytes, size_t count)
{
    self.choices = bytes;
    self.choice_count = count;
}

static JD_NOINLINE void at_checkpoint(struct jd_task *t)
{
    if (self.checkpoint && t)
        self.checkpoint(t, self.checkpoint_arg);
}

/* --- Chance --------------------------------------------------------------------------------- */

/* One byte decides between few, two between many. */
uint32_t sim_below(struct sim *sim, uint32_t n)
{
    uint32_t value;

    if (JD_LIKELY(sim->choice_count == 0))
        return rng_below(&sim->rng, n);
    value = *sim->choices++;
    sim->choice_count--;
    if (n > 256 && sim->choice_count > 0) {
        value = value << 8 | *sim->choices++;
        sim->choice_count--;
    }
    return n > 256 ? (uint32_t)((uint64_t)value * n >> 16) : value % n;
}

bool sim_percent(struct sim *sim, unsigned percent)
{
    return percent > 0 && sim_below(sim, 100) < percent;
}

int64_t sim_between(struct sim *sim, int64_t low, int64_t high)
{
    JD_ASSERT(low <= high && high - low < UINT32_MAX);
    return low + sim_below(sim, (uint32_t)(high - low + 1));
}

bool sim_fault(struct sim *sim, unsigned divisor)
{
    if (sim->fault_percent == 0 || sim_below(sim, 100 * divisor) >= sim->fault_percent)
        return false;
    sim_trace(sim, EVENT_FAULT, 0, divisor);
    return true;
}

/* --- The trace ------------------------------------------------------------------------------ */

static uint64_t mix(uint64_t hash, uint64_t value)
{
    hash = (hash ^ value) * UINT64_C(0x9fb21c651e98df25);
    return hash ^ (hash >> 32);
}

static void print_event(const struct sim *sim, unsigned worker, enum choice_event event,
                        uint64_t id, int64_t value)
{
    static const char *const names[] = {
        [EVENT_STEP] = "step",   [EVENT_SPAWN] = "spawn",   [EVENT_WAKE] = "wake",
        [EVENT_END] = "end",     [EVENT_SUBMIT] = "submit", [EVENT_COMPLETE] = "complete",
        [EVENT_PARK] = "park",   [EVENT_UNPARK] = "unpark", [EVENT_JUMP] = "jump",
        [EVENT_FAULT] = "fault", [EVENT_JOB] = "job",
    };

    fprintf(stderr, "sim: %12" PRId64 " w%u %-8s %" PRIu64 " %" PRId64 "\n",
            sim->now - SIM_START_NS, worker, names[event], id, value);
}

void sim_trace(struct sim *sim, enum choice_event event, uint64_t id, int64_t value)
{
    unsigned worker = sim->running ? sim->running->w->index : sim->worker_count;
    uint64_t hash = mix(sim->hash, (uint64_t)sim->now);

    hash = mix(hash, (uint64_t)worker << 8 | (uint64_t)event);
    sim->hash = mix(mix(hash, id), (uint64_t)value);
    sim->events++;
    if (JD_UNLIKELY(sim->flags & JD_SIM_TRACE))
        print_event(sim, worker, event, id, value);
}

/* --- The scheduler's hooks ------------------------------------------------------------------ */

bool sim_is_here(void)
{
    return sim_current() != NULL;
}

void sim_event(enum choice_event event, uint64_t id, int64_t value)
{
    struct sim *sim = sim_current();

    if (!sim)
        return;
    if (event == EVENT_STEP) {
        sim->steps++;
        sim->now += sim_between(sim, 50, 500);
    }
    sim_trace(sim, event, id, value);
}

void sim_point(enum choice_point point)
{
    struct sim *sim = sim_current();
    struct sim_worker *sw = sim ? sim->running : NULL;

    if (!sw || fiber_is_native(sw->w->fiber)) /* the last post-switch hook of a leaving worker */
        return;
    if (JD_UNLIKELY(sim->watch.on))
        sim_watch_tell(sim);
    if (point == CHOICE_CHECKPOINT)
        at_checkpoint(sw->w->current);
    if (point == CHOICE_TURN && sim_fault(sim, 20))
        sw->stalled_until = sim->now + sim_between(sim, 1000, STALL_MAX_NS);
    else if (!sim_percent(sim, SWITCH_PERCENT))
        return;
    sim_yield(sim);
}

void sim_wait(struct wait *w)
{
    struct sim *sim = sim_current();

    if (sim && sim->running)
        sim->running->w->fiber->wait = w;
}

/* The stack's depth is the compiler's business, so it must not decide. */
bool sim_may_inline(void)
{
    struct sim *sim = sim_current();

    return sim && sim_percent(sim, 50);
}

/* --- What is replaced for the process --------------------------------------------------------- */

static int64_t virtual_now(void)
{
    struct sim *sim = sim_current();

    return sim ? (sim->now += CLOCK_READ_NS) : clock_real();
}

/* Only what a task asks for: the simulation itself must not fail. */
static bool virtual_fault(enum fault_point point)
{
    struct sim *sim = sim_current();

    if (!sim || sim->quiet || (sim->flags & JD_SIM_NO_ENOMEM))
        return false;
    if (point == FAULT_THREAD)
        return sim_fault(sim, 2);
    return point == FAULT_ALLOC && sim->running && sim->running->w->current && sim_fault(sim, 10);
}

/* --- Life ----------------------------------------------------------------------------------- */

static void sim_free(struct sim *sim)
{
    sim_net_end(sim);
    mem_free(sim->jobs, sim->job_room * sizeof(*sim->jobs));
    mem_free(sim->workers, sim->worker_count * sizeof(*sim->workers));
    mem_free(sim, sizeof(*sim));
}

int sim_begin(const struct sim_config *c, struct sim **ret)
{
    uint32_t none = 0;
    struct sim *sim;

    /* Acq_rel, [SIM-1] pairs with the release in sim_end(): one simulation after the other. */
    if (!atom_cas(&choice_flag.armed, &none, 1, acq_rel, relaxed))
        return -EBUSY;
    sim = mem_calloc(sizeof(*sim));
    if (sim)
        sim->workers = mem_calloc(c->workers * sizeof(*sim->workers));
    if (!sim || !sim->workers) {
        mem_free(sim, sizeof(*sim));
        atom_store(&choice_flag.armed, 0, release); /* [SIM-1] */
        return -ENOMEM;
    }
    rng_seed(&sim->rng, c->seed ^ UINT64_C(0x51a3b2c96e0f47d8));
    sim->worker_count = c->workers;
    sim->now = SIM_START_NS;
    sim->limit = c->time_limit > 0 ? clock_after(sim->now, c->time_limit) : CLOCK_FOREVER;
    /* What fails always never ends: a try that is put off must succeed some day. */
    sim->fault_percent = c->fault_percent < 90 ? c->fault_percent : 90;
    sim->flags = c->flags;
    sim->watch.wanted = (c->flags & JD_SIM_CATCH_ESCAPES) != 0;
    sim->hash = mix(UINT64_C(0x6a61636b64617721), c->seed);
    sim->next_port = 40000;
    list_init(&sim->bound);
    list_init(&sim->disk);
    sim->choices = self.choices;
    sim->choice_count = self.choice_count;
    self.sim = sim;
    clock_set_source(virtual_now);
    fault_set_source(virtual_fault);
    sim_system_install();
    *ret = sim;
    return 0;
}

void sim_end(struct sim *sim)
{
    sim_system_remove();
    fault_set_source(NULL);
    clock_set_source(NULL);
    self.last = (struct sim_summary){ .hash = mix(sim->hash, sim->events),
                                      .events = sim->events,
                                      .steps = sim->steps,
                                      .virtual_time = sim->now - SIM_START_NS,
                                      .open_files = sim->file_count,
                                      .handles = sim->handles,
                                      .escapes = sim->escapes,
                                      .stuck = sim->stuck };
    self.sim = NULL;
    sim_free(sim);
    atom_store(&choice_flag.armed, 0, release); /* [SIM-1] */
}
