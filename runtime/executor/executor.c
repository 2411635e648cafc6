/* SPDX-License-Identifier: MIT */
/*
 * Pools as users see them, and those of a runtime: see executor.h.
 */
#include "executor/executor.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "executor/pool.h"
#include "sched/choice.h"
#include "sched/error.h"
#include "task/stub.h"

/* --- Of users ------------------------------------------------------------------------------------------ */

int jd_executor_new(unsigned threads_max, const char *name, jd_executor **ret)
{
    struct worker *w = worker_current();
    struct pool_config c = { .threads_max = threads_max ? threads_max : POOL_THREADS_DEFAULT,
                             .name = name ? name : "executor" };
    unsigned quota;

    if (!ret || threads_max > POOL_THREADS_MAX)
        return -EINVAL;
    c.cpus = cpu_count_usable(&quota);
    c.can_spin = c.cpus > 1 && quota == 0;
    c.stub = w ? w->rt->stub : runtime_stub_new(NULL);
    if (!c.stub)
        return -ENOMEM;
    *ret = pool_new(&c);
    if (!w)
        runtime_stub_unref(c.stub); /* the pool has one of its own */
    return *ret ? 0 : -ENOMEM;
}

jd_executor *jd_executor_ref(jd_executor *e)
{
    if (e)
        pool_ref(e);
    return e;
}

void jd_executor_unref(jd_executor *e)
{
    if (e)
        pool_unref(e);
}

int jd_executor_shutdown(jd_executor *e, unsigned flags, int64_t timeout)
{
    if (!e || (flags & ~JD_CANCEL_PENDING))
        return -EINVAL;
    if (e->is_runtimes)
        return -EPERM;
    if (atom_load(&e->is_orphan, relaxed)) /* Relaxed: set before this process had threads. */
        return -ESHUTDOWN;
    if (thread_pool() == e)
        return -EDEADLK;
    pool_close(e, (flags & JD_CANCEL_PENDING) != 0);
    return pool_wait(e, timeout);
}

struct jd_executor *executor_or_default(struct jd_executor *e)
{
    struct worker *w = worker_current();

    if (e)
        return e;
    return w ? w->rt->executors[JD_EXECUTOR_USER] : NULL;
}

jd_executor *jd_runtime_executor(jd_runtime *rt, unsigned which)
{
    if (!rt)
        rt = jd_runtime_current();
    return rt && which < EXECUTOR_CLASSES ? rt->executors[which] : NULL;
}

int jd_executor_get_stats(jd_executor *e, jd_executor_stats *ret)
{
    jd_executor_stats all = JD_EXECUTOR_STATS_INIT;

    if (!ret || ret->size == 0)
        return -EINVAL;
    e = executor_or_default(e);
    if (!e)
        return -EPERM;
    spin_lock(&e->roster.lock);
    all.threads_max = e->roster.max;
    all.threads = e->roster.threads;
    all.idle = e->roster.idle_count;
    all.blocked = e->roster.blocked;
    all.queued = atom_load(&e->roster.queued, relaxed); /* Relaxed: under the lock. */
    spin_unlock(&e->roster.lock);
    spin_lock(&e->stats_lock);
    all.started = e->started;
    all.refused = e->refused;
    all.wait_p50 = histogram_percentile(&e->waits, 500);
    all.wait_p99 = histogram_percentile(&e->waits, 990);
    all.wait_max = e->waits.max;
    spin_unlock(&e->stats_lock);
    all.size = ret->size;
    memcpy(ret, &all, ret->size < sizeof(all) ? ret->size : sizeof(all));
    return 0;
}

static int sink_submit(void *pool, struct job *job)
{
    return pool_submit(pool, job);
}

static bool sink_withdraw(void *pool, struct job *job)
{
    return pool_withdraw(pool, job);
}

struct job_sink executor_sink(struct jd_executor *e)
{
    return (struct job_sink){ sink_submit, sink_withdraw, e };
}

/* --- Of a runtime ---------------------------------------------------------------------------------------- */

int executors_new(struct jd_runtime *rt, unsigned user_threads)
{
    static const char *const names[EXECUTOR_CLASSES] = { "jd-thread", "jd-names", "jd-files" };
    const unsigned most[EXECUTOR_CLASSES] = { user_threads, EXECUTOR_DNS_THREADS,
                                              EXECUTOR_FILES_THREADS };

    for (unsigned i = 0; i < EXECUTOR_CLASSES; i++) {
        rt->executors[i] =
            pool_new(&(struct pool_config){ .threads_max = most[i],
                                            .cpus = rt->worker_count,
                                            .name = names[i],
                                            .stub = rt->stub,
                                            .is_runtimes = true,
                                            .can_spin = rt->worker_count > 1 && !rt->has_quota });
        if (!rt->executors[i])
            return -ENOMEM;
    }
    return 0;
}

void executors_free(struct jd_runtime *rt)
{
    for (unsigned i = 0; i < EXECUTOR_CLASSES; i++)
        if (rt->executors[i])
            pool_unref(rt->executors[i]);
}

struct stuck {
    uintptr_t what;
    int64_t since;
};

static void report_stuck(struct jd_runtime *rt, const struct stuck *stuck)
{
    int64_t age = clock_now() - stuck->since;
    char message[256];

    snprintf(message, sizeof(message),
             "a blocking function (%p) has run for %lld ms and did not end within the shutdown "
             "timeout; jd_thread_cancelled() tells it when to",
             (void *)stuck->what, (long long)(age / 1000000));
    error_report(rt, &(jd_report){ .size = sizeof(jd_report),
                                   .kind = JD_REPORT_SHUTDOWN,
                                   .message = message,
                                   .error = -ETIMEDOUT,
                                   .duration = age });
}

#define STUCK_TOLD 8u /* arbitrary: the first ones say enough */

static void report_all_stuck(struct jd_runtime *rt, struct jd_executor *p)
{
    struct stuck stuck[STUCK_TOLD];
    unsigned count = 0;

    spin_lock(&p->lock);
    list_for_each(link, &p->living) {
        struct pool_thread *t = JD_CONTAINER_OF(link, struct pool_thread, link);
        uintptr_t what = atom_load(&t->what, relaxed); /* Relaxed, both: may be a little off. */

        if (what && count < STUCK_TOLD)
            stuck[count++] = (struct stuck){ what, atom_load(&t->since, relaxed) };
    }
    spin_unlock(&p->lock);
    for (unsigned i = 0; i < count; i++)
        report_stuck(rt, &stuck[i]);
}

static int wait_for_pool(struct jd_executor *p, int64_t deadline)
{
    int error;

    do { /* bounded by the deadline */
        int64_t left = deadline == CLOCK_FOREVER ? CLOCK_FOREVER : deadline - clock_now();

        error = pool_wait(p, left > 0 ? left : 0);
        if (error == -ENOMEM) /* for the wait itself */
            sched_yield();
    } while (error == -ENOMEM && clock_now() < deadline);
    return error;
}

int executors_end(struct jd_runtime *rt, int64_t deadline)
{
    int error = 0;

    for (unsigned i = 0; i < EXECUTOR_CLASSES; i++) {
        pool_close(rt->executors[i], /* cancel_pending= */ true);
        /* Only now: who hears of it and ends must not find the next in the queue. Relaxed: a wish, which
         * carries nothing. */
        atom_store(&rt->executors[i]->is_ending, 1, relaxed);
    }
    if (rt->sim) {
        sim_finish_jobs(); /* this thread plays them all */
        return 0;
    }
    for (unsigned i = 0; i < EXECUTOR_CLASSES && !error; i++) {
        if (i == JD_EXECUTOR_DNS)
            continue; /* I2 */
        error = wait_for_pool(rt->executors[i], deadline);
        if (error)
            report_all_stuck(rt, rt->executors[i]);
    }
    return error ? -ETIMEDOUT : 0;
}
