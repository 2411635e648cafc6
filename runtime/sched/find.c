/* SPDX-License-Identifier: MIT */
/*
 * What to run next: the order of the sources, and stealing.
 *
 * Own work first (warm), then the injector (oldest), then other workers' queues. The LIFO slot is
 * served at most LIFO_RUNS_MAX times in a row, so two tasks that wake each other starve nobody.
 *
 * Stealing: victims in turn from a random start; half of a ready queue at once; forks one by one.
 * What a burning worker leaves behind otherwise (completions, due timers, its LIFO slot) is taken
 * only when the watchdog calls it stale.
 */
#include "base/mark.h"
#include "sched/choice.h"
#include "sched/fork.h"
#include "sched/worker.h"

#define STEAL_MAX 32

/* The task of a ready queue's entry, claimed if it is fresh; NULL: stale, it was joined inline. */
static inline struct jd_task *accept_entry(void *entry)
{
    struct jd_task *t = (struct jd_task *)((uintptr_t)entry & ~ENTRY_FRESH);

    if (JD_LIKELY(!((uintptr_t)entry & ENTRY_FRESH)))
        return t;
    if (word_claim(&t->target.word)) {
        t->fiber = NULL;
        return t;
    }
    MARK(STALE_ENTRY);
    future_unref(&t->future); /* the entry's reference */
    return NULL;
}

/* Of an intrusive queue: fresh or READY, never stale (ready.c I4). */
static struct jd_task *accept_linked(struct jd_task *t)
{
    if (word_claim(&t->target.word))
        t->fiber = NULL;
    return t;
}

static unsigned injector_share(struct jd_runtime *rt)
{
    uint64_t share = injector_len(&rt->injector) / rt->worker_count + 1;

    return share < STEAL_MAX ? (unsigned)share : STEAL_MAX;
}

/* From the injector to the own ready queue: a fresh task gets a fresh entry. */
static void push_again(struct worker *w, struct jd_task *t)
{
    /* Relaxed: nobody can claim it, it is TASK_LINKED and in our hands. */
    bool fresh = word_run(atom_load(&t->target.word.bits, relaxed)) == WORD_NEW;

    if (!fifo_push(&w->ready, fresh ? entry_fresh(t) : (void *)t))
        injector_push(&w->rt->injector, w->index, &t->link.node);
}

static JD_NOINLINE struct jd_task *take_injected(struct worker *w)
{
    struct qlist list;
    struct qnode *node;
    struct jd_task *first = NULL;

    qlist_init(&list);
    if (!injector_pop_batch(&w->rt->injector, w->index, &list, injector_share(w->rt)))
        return NULL;
    while ((node = qlist_pop(&list))) {
        struct jd_task *t = JD_CONTAINER_OF(node, struct jd_task, link.node);

        if (!first)
            first = accept_linked(t);
        else
            push_again(w, t);
    }
    return first;
}

/* The parent of an eager start; parents of nested ones hang behind it by their queue links. */
static JD_NOINLINE struct jd_task *take_resume_first(struct worker *w)
{
    struct jd_task *t = w->resume_first;
    struct qnode *next = qnode_next(&t->link.node);

    w->resume_first = next ? JD_CONTAINER_OF(next, struct jd_task, link.node) : NULL;
    return t;
}

/* Own sources only. NULL too when it is time for the loop (poll due, budget spent). */
struct jd_task *sched_next_local(struct worker *w)
{
    struct jd_task *t;
    void *entry;

    if (JD_UNLIKELY(w->resume_first))
        return take_resume_first(w);
    if (JD_UNLIKELY(runtime_is_fifo(w->rt) || ++w->steps >= POLL_STEPS))
        return NULL;
    if (w->lifo_runs < LIFO_RUNS_MAX && (t = lifo_take(&w->lifo))) {
        w->lifo_runs++;
        return t;
    }
    w->lifo_runs = 0;
    while ((entry = fifo_pop(&w->ready))) { /* bounded by stale entries */
        t = accept_entry(entry);
        if (t)
            return t;
    }
    t = lifo_take(&w->lifo);
    return t ? t : take_injected(w);
}

static struct jd_task *steal_ready(struct worker *w, struct worker *victim)
{
    void *items[STEAL_MAX];
    unsigned n = fifo_steal(&victim->ready, items, STEAL_MAX);
    struct jd_task *first = NULL;

    for (unsigned i = 0; i < n; i++) {
        if (!first) {
            first = accept_entry(items[i]);
        } else {
            bool pushed = fifo_push(&w->ready, items[i]);

            JD_ASSERT(pushed); /* a thief's queue is empty and holds more than STEAL_MAX */
        }
    }
    return first;
}

static struct jd_task *steal_stale(struct worker *victim)
{
    /* Relaxed: the watchdog's hint. */
    if (!atom_load(&victim->stale, relaxed))
        return NULL;
    return lifo_take(&victim->lifo);
}

static struct jd_task *steal_from(struct worker *w, struct worker *victim)
{
    struct jd_task *t = steal_ready(w, victim);

    if (!t)
        t = fork_steal(w, victim);
    if (!t) {
        t = steal_stale(victim);
        if (t)
            MARK(LIFO_STOLEN);
    }
    return t;
}

struct jd_task *sched_steal(struct worker *w)
{
    unsigned count = w->rt->worker_count;
    unsigned start = count > 1 ? rng_below(&w->rng, count) : 0;

    for (unsigned i = 0; i < count; i++) {
        struct worker *victim = &w->rt->workers[(start + i) % count];
        struct jd_task *t;

        if (victim == w)
            continue;
        choice(CHOICE_STEAL);
        t = steal_from(w, victim);
        if (t)
            return t;
    }
    return NULL;
}

/* Serves ports and timers of workers that the watchdog calls stale. True: something happened. */
bool sched_help_stale(struct worker *w)
{
    unsigned done = 0;

    for (unsigned i = 0; i < w->rt->worker_count; i++) {
        struct worker *victim = &w->rt->workers[i];

        /* Relaxed: a hint; the port and the wheel have locks of their own. */
        if (victim == w || !atom_load(&victim->stale, relaxed))
            continue;
        done += (unsigned)reactor_help(w->rt->reactor, i);
        done += sched_expire(w, victim, w->now);
    }
    if (done > 0)
        MARK(HELPED_STALE);
    return done > 0;
}

/* W2 of idle.h: after the announcement, is there anything for this worker? */
bool sched_has_work(struct worker *w)
{
    struct jd_runtime *rt = w->rt;

    /* [STOP-1] Seq_cst, pairs with runtime_stop_workers(). */
    if (atom_load(&rt->stop, seq_cst) || atom_load(&rt->signalled, seq_cst) ||
        (atom_load(&rt->draining, seq_cst) && runtime_may_stop(w)) || !inbox_is_empty(&w->inbox))
        return true;
    if (!loop_queue_is_empty(&w->loop_queue) || !injector_is_empty(&rt->injector))
        return true;
    for (unsigned i = 0; i < rt->worker_count; i++) {
        struct worker *other = &rt->workers[i];

        if (!fifo_is_empty(&other->ready) || deque_ask(&other->forks))
            return true;
    }
    return !lifo_is_empty(&w->lifo); /* own slot, or a thief has it */
}
