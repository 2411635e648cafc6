/* SPDX-License-Identifier: MIT */
/*
 * Completion of futures and tasks: the node kinds behind the protocol of outcome.h.
 *
 * I1  future_complete() is called under a reference of the caller, kept to its last access.
 * I2  Waiters are ended under the lock bit, at most WAKE_BATCH per hold, and queued after it.
 * I3  Callbacks stay linked after DONE until they have run, so that a waiting remove can see them;
 *     they are posted in list order, each under the lock bit, which keeps the order per loop.
 *
 * Threads: any.
 */
#include "base/mark.h"
#include "task/parker.h"
#include "task/stub.h"
#include "task/task.h"

void future_init(struct jd_future *f, struct runtime_stub *stub, uint32_t refs, uint32_t flags)
{
    outcome_init(&f->outcome);
    atom_init(&f->refs, refs);
    atom_init(&f->flags, flags);
    f->result = (jd_result){ 0 };
    atom_init(&f->reason, NULL);
    f->stub = stub;
}

void future_ref(struct jd_future *f)
{
    /* Relaxed: made from a reference that the caller holds. */
    uint32_t before = atom_fetch_add(&f->refs, 1, relaxed);

    JD_ASSERT(before > 0);
}

void future_unref(struct jd_future *f)
{
    /* [REF-1] Release, pairs with the acquire of the last dropper (itself): what other holders
     * did to the record is before its end. */
    uint32_t before = atom_fetch_sub(&f->refs, 1, acq_rel);

    JD_ASSERT(before > 0);
    if (before > 1)
        return;
    if (future_is_task(f)) {
        task_free(task_of_future(f));
        return;
    }
    if (outcome_is_done(&f->outcome) && f->result.error)
        future_report_unhandled(f);
    runtime_stub_unref(f->stub);
    if (atom_load(&f->flags, relaxed) & FUTURE_IS_OFFLOAD) /* Relaxed: constant. */
        future_free_offload(f);
    else
        mem_free(f, sizeof(*f));
}

void wait_target_ready(struct wait_target *target)
{
    if (target->kind == TARGET_TASK) {
        task_ready(task_of_target(target));
    } else if (target->kind == TARGET_THREAD) {
        parker_ready(target);
    } else {
        struct wait_proxy *proxy = JD_CONTAINER_OF(target, struct wait_proxy, target);

        proxy->ready(proxy);
    }
}

void wake_batch_flush(struct wake_batch *batch)
{
    for (unsigned i = 0; i < batch->count; i++)
        wait_target_ready(batch->targets[i]);
    batch->count = 0;
}

static void counter_done(struct counter_node *node, bool failed, struct wake_batch *batch)
{
    struct outcome_counter *counter = node->counter;

    /* [COUNT-1] Acq_rel chain: the last one has seen all results before the wake. */
    if (atom_fetch_sub(&counter->pending, 1, acq_rel) == 1 || (counter->stop_at_error && failed))
        (void)waiter_grant(&node->waiter, batch); /* losing: woken before, or given up */
}

/* What one hold of the lock collects, to be carried out after it. */
struct drained {
    struct wake_batch wakes;
    struct list orphans; /* callbacks whose loop is gone */
    bool more;           /* waiters are left */
};

static void drain_waiter(struct waiter *w, bool failed, struct drained *d)
{
    if (w->want == NODE_COUNTER)
        counter_done(JD_CONTAINER_OF(w, struct counter_node, waiter), failed, &d->wakes);
    else
        (void)waiter_grant(w, &d->wakes); /* losing: cancelled or timed out before */
}

/* Lock bit held. Takes off up to WAKE_BATCH waiters, posts callbacks; the new first node. */
static struct list *outcome_drain(struct list *first, bool failed, struct drained *d)
{
    struct list *node = first;
    struct list *last = first ? first->prev : NULL;

    d->more = false;
    while (node) { /* bounded by the list */
        struct list *next = node == last ? NULL : node->next;
        struct waiter *w = JD_CONTAINER_OF(node, struct waiter, link);

        if (w->want == NODE_WAITER || w->want == NODE_COUNTER) {
            if (d->wakes.count == WAKE_BATCH) {
                MARK(WAKE_ROUNDS);
                d->more = true;
                return first;
            }
            first = outcome_unlink(first, node);
            drain_waiter(w, failed, d);
        } else if (w->want == NODE_CALLBACK && w->cause == CAUSE_NONE) {
            w->cause = CAUSE_GRANTED; /* posted */
            if (!future_post_callback(w)) {
                first = outcome_unlink(first, node);
                list_add_tail(&d->orphans, node);
            }
        }
        node = next;
    }
    return first;
}

static void drained_flush(struct drained *d)
{
    struct list *node;

    wake_batch_flush(&d->wakes);
    while ((node = list_pop_head(&d->orphans)))
        future_drop_callback(JD_CONTAINER_OF(node, struct waiter, link));
}

/* Lock bit held: the usual end, where nobody has asked but one waiter. */
static inline bool outcome_end_lone(struct outcome *o, struct list *first)
{
    struct waiter *w = JD_CONTAINER_OF(first, struct waiter, link);
    struct wait_target *target = w->target;
    enum word_wake_result won;

    if (first->next != first || w->want != NODE_WAITER)
        return false;
    first->next = NULL;                               /* as outcome_unlink() */
    won = word_wake(&target->word, w->seq, w->cause); /* losing: cancelled or timed out before */
    outcome_unlock(o, NULL, OUTCOME_DONE);
    if (won == WAKE_QUEUE)
        wait_target_ready(target);
    return true;
}

/* Lock bit held. Says DONE, and wakes everybody. */
static JD_NOINLINE void outcome_end_many(struct outcome *o, struct list *first, bool failed)
{
    struct drained d;

    wake_batch_init(&d.wakes);
    list_init(&d.orphans);
    do { /* bounded by the list; nobody adds waiters after DONE */
        first = outcome_drain(first, failed, &d);
        outcome_unlock(o, first, OUTCOME_DONE);
        drained_flush(&d);
        if (d.more)
            first = outcome_first(outcome_lock(o));
    } while (d.more);
}

static inline void outcome_end(struct outcome *o, struct list *first, bool failed)
{
    if (!first || !outcome_end_lone(o, first))
        outcome_end_many(o, first, failed);
}

void outcome_finish(struct outcome *o)
{
    outcome_end(o, outcome_first(outcome_lock(o)), false);
}

bool future_complete(struct jd_future *f, jd_result result, uint32_t flags)
{
    uintptr_t word = outcome_lock(&f->outcome);
    struct list *first = outcome_first(word);

    if (word & OUTCOME_DONE) {
        outcome_unlock(&f->outcome, first, OUTCOME_DONE);
        return false;
    }
    f->result = result;
    if (flags)
        atom_fetch_or(&f->flags, flags, relaxed); /* Relaxed: published by DONE. */
    if (JD_LIKELY(!first)) {
        outcome_unlock(&f->outcome, NULL, OUTCOME_DONE);
        return true;
    }
    outcome_end(&f->outcome, first, result.error != 0);
    return true;
}
