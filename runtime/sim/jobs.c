/* SPDX-License-Identifier: MIT */
/*
 * Jobs: what would run on a thread of its own runs on the controller's stack, at a random later
 * time, as a plain thread would (worker_current() is NULL there). It must not wait for a worker:
 * wait_open() refuses that with -EDEADLK.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "sim/sim.h"

#define DELAY_MIN_NS INT64_C(1000)
#define DELAY_MAX_NS INT64_C(5000000)

static bool make_room(struct sim *sim)
{
    unsigned room = sim->job_room ? 2 * sim->job_room : 8;
    struct sim_job *jobs;

    if (sim->job_count < sim->job_room)
        return true;
    sim->quiet = true;
    jobs = mem_alloc(room * sizeof(*jobs));
    sim->quiet = false;
    if (!jobs)
        return false;
    if (sim->job_count > 0)
        memcpy(jobs, sim->jobs, sim->job_count * sizeof(*jobs));
    mem_free(sim->jobs, sim->job_room * sizeof(*jobs));
    sim->jobs = jobs;
    sim->job_room = room;
    return true;
}

bool sim_run_later(void *(*fn)(void *arg), void *arg)
{
    struct sim *sim = sim_current();

    if (!sim || !make_room(sim))
        return false;
    sim->jobs[sim->job_count++] = (struct sim_job){
        .due = sim->now + sim_between(sim, DELAY_MIN_NS, DELAY_MAX_NS), .fn = fn, .arg = arg
    };
    return true;
}

/* The first of the earliest. */
static unsigned earliest(const struct sim *sim)
{
    unsigned best = 0;

    for (unsigned i = 1; i < sim->job_count; i++)
        if (sim->jobs[i].due < sim->jobs[best].due)
            best = i;
    return best;
}

int64_t sim_jobs_next(struct sim *sim)
{
    return sim->job_count ? sim->jobs[earliest(sim)].due : CLOCK_FOREVER;
}

/* The run is over: threads would still end. */
void sim_jobs_end(struct sim *sim)
{
    while (sim->job_count > 0) { /* bounded: a job that starts another one does it with a purpose */
        int64_t due = sim_jobs_next(sim);

        sim->now = due > sim->now ? due : sim->now;
        (void)sim_jobs_run(sim); /* there is one */
    }
}

void sim_finish_jobs(void)
{
    struct sim *sim = sim_current();

    if (sim)
        sim_jobs_end(sim);
}

bool sim_jobs_run(struct sim *sim)
{
    unsigned index;
    struct sim_job job;

    if (sim->job_count == 0)
        return false;
    index = earliest(sim);
    job = sim->jobs[index];
    if (job.due > sim->now)
        return false;
    sim->job_count--;
    memmove(&sim->jobs[index], &sim->jobs[index + 1],
            (sim->job_count - index) * sizeof(*sim->jobs));
    sim_trace(sim, EVENT_JOB, 0, 0);
    (void)job.fn(job.arg); /* a thread's result, which nobody takes */
    return true;
}
