/* SPDX-License-Identifier: MIT */
/*
 * Making and freeing a runtime.
 *
 * Order of the making: stub, workers' memory, stacks, reactor, watchdog later (with the first run).
 * runtime_destroy() undoes any prefix of it.
 */
#include <errno.h>
#include <sched.h>
#include <string.h>

#include "api/config.h"
#include "api/lifecycle.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/membarrier.h"
#include "executor/executor.h"
#include "sched/callback.h"
#include "sched/error.h"
#include "sim/sim.h"

#define FIFO_LOG2 8
#define FORKS_LOG2 8

static const struct ring_memory ring_memory = { mem_alloc, mem_free };

static void worker_fini(struct worker *w)
{
    overflow_thread_fini(&w->overflow);
    stack_cache_fini(&w->stacks);
    deque_fini(&w->forks);
    fifo_fini(&w->ready);
}

static int worker_init(struct worker *w, struct jd_runtime *rt, unsigned index, uint64_t seed)
{
    w->rt = rt;
    w->index = index;
    w->loop = (struct jd_loop){ .rt = rt, .index = index };
    rng_seed(&w->rng, seed + index);
    atom_init(&w->epoch, 1); /* the watchdog has seen 0 */
    loop_queue_init(&w->loop_queue);
    inbox_init(&w->inbox);
    timer_wheel_init(&w->timers, clock_now());
    if (!fifo_init(&w->ready, FIFO_LOG2, &ring_memory))
        return -ENOMEM;
    if (!deque_init(&w->forks, FORKS_LOG2, &ring_memory, membarrier_fence_init())) {
        fifo_fini(&w->ready);
        return -ENOMEM;
    }
    if (stack_cache_init(&w->stacks, &rt->stacks)) {
        deque_fini(&w->forks);
        fifo_fini(&w->ready);
        return -ENOMEM;
    }
    if (!rt->sim && overflow_thread_init(&w->overflow)) { /* simulated workers have no thread */
        worker_fini(w);
        return -ENOMEM;
    }
    return 0;
}

static int workers_new(struct jd_runtime *rt, const struct config *c)
{
    size_t bytes = sizeof(struct worker) * c->workers;

    rt->workers = mem_aligned(JD_CACHE_LINE, bytes);
    if (!rt->workers)
        return -ENOMEM;
    for (unsigned i = 0; i < c->workers; i++) {
        int err = worker_init(&rt->workers[i], rt, i, c->seed);

        if (err) {
            while (i-- > 0)
                worker_fini(&rt->workers[i]);
            mem_free_aligned(rt->workers, JD_CACHE_LINE, bytes);
            rt->workers = NULL;
            return err;
        }
    }
    rt->worker_count = c->workers;
    return 0;
}

static void workers_free(struct jd_runtime *rt)
{
    if (!rt->workers)
        return;
    for (unsigned i = 0; i < rt->worker_count; i++)
        worker_fini(&rt->workers[i]);
    mem_free_aligned(rt->workers, JD_CACHE_LINE, sizeof(struct worker) * rt->worker_count);
}

static int injector_new(struct jd_runtime *rt, unsigned workers)
{
    unsigned shards = injector_shards_for(workers);
    struct injector_shard *memory =
        mem_aligned(JD_CACHE_LINE, shards * sizeof(struct injector_shard));

    if (!memory)
        return -ENOMEM;
    injector_init(&rt->injector, memory, shards);
    return 0;
}

static void runtime_init(struct jd_runtime *rt, const struct config *c)
{
    rt->flags = c->flags;
    rt->shutdown_timeout = c->shutdown_timeout;
    rt->stack_bytes = c->stack_bytes;
    rt->has_quota = c->has_quota;
    rt->sim = c->sim;
    strncpy(rt->name, c->name, sizeof(rt->name) - 1);
    slab_depot_init(&rt->depot);
    idle_init(&rt->idle);
    spin_init(&rt->handler_lock);
    atom_init(&rt->next_id_block, 1);
    atom_init(&rt->slow_step, c->flags & JD_DEBUG ? SLOW_STEP_DEFAULT : 0);
    pthread_mutex_init(&rt->run_lock, NULL); /* cannot fail without attributes */
    pthread_mutex_init(&rt->class_lock, NULL);
    pthread_cond_init(&rt->run_cond, NULL);
}

static void classes_free(struct jd_runtime *rt)
{
    for (unsigned i = 0; i < STACK_CLASSES; i++) {
        if (rt->stack_classes[i]) {
            stack_pool_fini(rt->stack_classes[i]);
            mem_free(rt->stack_classes[i], sizeof(*rt->stack_classes[i]));
        }
    }
}

/* Undoes any prefix of the making. */
static void runtime_destroy(struct jd_runtime *rt)
{
    executors_free(rt);
    workers_free(rt);
    reactor_free(rt->reactor);
    if (rt->stacks.slot_bytes)
        stack_pool_fini(&rt->stacks);
    classes_free(rt);
    if (rt->overflow_reports)
        overflow_handler_uninstall();
    if (rt->injector.shards)
        mem_free_aligned(rt->injector.shards, JD_CACHE_LINE,
                         rt->injector.shard_count * sizeof(struct injector_shard));
    if (rt->threads)
        mem_free(rt->threads, rt->worker_count * sizeof(*rt->threads));
    pthread_mutex_destroy(&rt->run_lock);
    pthread_mutex_destroy(&rt->class_lock);
    pthread_cond_destroy(&rt->run_cond);
    if (rt->stub)
        runtime_stub_unref(rt->stub);
    mem_free_aligned(rt, JD_CACHE_LINE, sizeof(*rt));
}

static int runtime_build(struct jd_runtime *rt, const struct config *c)
{
    struct reactor_config reactor = { .workers = c->workers,
                                      .want = c->reactor,
                                      .replace = c->sim ? &port_sim_ops : NULL };
    struct job_sink files;
    int err;

    rt->stub = runtime_stub_new(rt);
    if (!rt->stub)
        return -ENOMEM;
    err = injector_new(rt, c->workers);
    if (!err)
        err = stack_pool_init(&rt->stacks, c->stack_bytes, c->guard);
    if (!err)
        err = workers_new(rt, c);
    if (!err)
        err = executors_new(rt, c->blocking_threads);
    if (!err) {
        files = executor_sink(rt->executors[JD_EXECUTOR_FILES]);
        reactor.files = &files;
        err = reactor_new(&reactor, &rt->reactor);
    }
    if (!err && !(c->flags & JD_NO_SIGNALS)) {
        err = overflow_handler_install();
        rt->overflow_reports = err == 0;
        overflow_set_describe(error_describe_fiber);
    }
    if (!err && !(rt->threads = mem_calloc(c->workers * sizeof(*rt->threads))))
        err = -ENOMEM;
    return err ? err : runtime_register(rt);
}

int runtime_new(const struct config *c, jd_runtime **ret)
{
    struct jd_runtime *rt;
    int err;

    rt = mem_aligned(JD_CACHE_LINE, sizeof(*rt));
    if (!rt)
        return -ENOMEM;
    runtime_init(rt, c);
    err = runtime_build(rt, c);
    if (err) {
        runtime_destroy(rt);
        return err;
    }
    *ret = rt;
    return 0;
}

int jd_runtime_new(const jd_config *cfg, jd_runtime **ret)
{
    struct config c = { .sim =
                            NULL }; /* and what else neither the caller nor the environment says */
    int err;

    if (!ret)
        return -EINVAL;
    err = config_read(cfg, &c);
    return err ? err : runtime_new(&c, ret);
}

/* Callbacks that will not run any more. */
static void drop_posted(struct worker *w)
{
    struct loop_item *item;

    sched_inbox_drain(w);
    (void)loop_queue_begin_tick(&w->loop_queue);
    while ((item = loop_queue_next(&w->loop_queue))) {
        JD_ASSERT(item->kind != ITEM_TASK); /* no task is left */
        callback_drop(item);
    }
}

/* And stale queue entries (joined inline). */
static void worker_drop_leftovers(struct worker *w)
{
    void *entry;

    drop_posted(w);
    while ((entry = fifo_pop(&w->ready))) { /* stale ones: no task is left */
        JD_ASSERT((uintptr_t)entry & ENTRY_FRESH);
        future_unref(&((struct jd_task *)((uintptr_t)entry & ~ENTRY_FRESH))->future);
    }
}

static void drop_token(void *token, void *ctx)
{
    (void)ctx;
    JD_ASSERT(((uintptr_t)token & 3) == TOKEN_HANDLE); /* no task is left: no waits, no scopes */
    handle_drop((void *)((uintptr_t)token & ~(uintptr_t)3));
}

static void drop_leftovers(struct jd_runtime *rt)
{
    for (unsigned i = 0; i < rt->worker_count; i++) {
        while (timer_wheel_next(&rt->workers[i].timers) !=
               CLOCK_FOREVER) /* bounded by the timers */
            (void)timer_wheel_expire(&rt->workers[i].timers, CLOCK_FOREVER - 1, drop_token, NULL);
        worker_drop_leftovers(&rt->workers[i]);
    }
    JD_ASSERT(injector_is_empty(&rt->injector)); /* no task is left */
}

/* Done callbacks of futures that strangers have completed while the leftovers were dropped. */
static void drop_late_posts(struct jd_runtime *rt)
{
    for (unsigned i = 0; i < rt->worker_count; i++)
        drop_posted(&rt->workers[i]);
}

/* From here on handles and futures that outlive the runtime find the stub only. */
static void orphan_handles(struct jd_runtime *rt)
{
    struct runtime_stub *stub = rt->stub;
    uint32_t handles;

    spin_lock(&stub->lock);
    handles = slab_count_used(stub);
    /* Relaxed: guarded by the lock against the handles' ends. */
    atom_fetch_add(&stub->refs, handles, relaxed);
    stub->rt = NULL;
    spin_unlock(&stub->lock);
}

/* Threads that made a task ready from outside may still be ringing the bell. */
static void wait_for_strangers(struct jd_runtime *rt)
{
    while (atom_load(&rt->foreign, seq_cst) != 0) /* [FOREIGN-1] bounded: a few instructions */
        sched_yield();
}

int jd_runtime_free(jd_runtime *rt)
{
    int64_t deadline;
    int err;

    if (!rt)
        return 0;
    if (worker_current())
        return -EBUSY;
    if (atom_load(&rt->state, acquire) == RUNTIME_DEAD) /* [STATE-1] the child of a fork */
        return -ESHUTDOWN;
    deadline = clock_after(clock_now(), rt->shutdown_timeout);
    err = runtime_drain(rt);
    if (err == -EBUSY)
        return err;
    if (!err)
        err = executors_end(rt, deadline);
    runtime_unregister(rt);
    if (err) /* tasks and functions that resist still use all of it: leaked on purpose */
        return err;
    watchdog_stop(rt);
    wait_for_strangers(rt);
    atom_store(&rt->state, RUNTIME_DEAD, release); /* [STATE-1] */
    drop_leftovers(rt);
    orphan_handles(rt);
    wait_for_strangers(rt); /* the last ones that found it by its stub */
    drop_late_posts(rt);
    attachments_free(rt);
    runtime_destroy(rt);
    return 0;
}
