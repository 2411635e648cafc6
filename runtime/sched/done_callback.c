/* SPDX-License-Identifier: MIT */
/*
 * Done callbacks of futures: nodes in the outcome's list until they have run.
 *
 * I1  A callback is linked before the future is done, or posted at once: both under the outcome's
 *     lock bit. So it is never lost and never doubled.
 * I2  It runs on the loop it was registered on (a plain thread's: loop 0), by its loop queue.
 * I3  It holds a reference on its future until it has run or was removed. node.cause is CAUSE_NONE
 *     while it is pending, CAUSE_GRANTED from the post on; only pending ones can be removed.
 * I4  A waiting remove links a NODE_DRAIN; each callback that has run wakes all drains, which look
 *     again.
 */
#include <errno.h>

#include "base/clock.h"
#include "sched/callback.h"
#include "sched/wait.h"

struct done_callback {
    struct waiter node; /* in the outcome's list; want == NODE_CALLBACK */
    struct loop_item item;
    jd_future *future;
    jd_done_fn cb;
    void *arg;
    unsigned loop;
    const void *runner; /* the worker inside cb; guarded by the lock bit */
};

bool future_post_callback(struct waiter *node)
{
    struct done_callback *c = JD_CONTAINER_OF(node, struct done_callback, node);
    struct runtime_stub *stub = c->future->stub;
    struct worker *w = worker_current();

    if (w && w->rt->stub == stub) {
        sched_post(&w->rt->workers[c->loop], &c->item);
        return true;
    }
    spin_lock(&stub->lock); /* the runtime stays while we hold it */
    bool alive = stub->rt != NULL;
    if (alive)
        sched_post(&stub->rt->workers[c->loop], &c->item);
    spin_unlock(&stub->lock);
    return alive;
}

static void done_callback_free(struct done_callback *c)
{
    future_unref(c->future);
    mem_free(c, sizeof(*c));
}

void future_drop_callback(struct waiter *node)
{
    done_callback_free(JD_CONTAINER_OF(node, struct done_callback, node));
}

/* Lock bit held. Wakes those who wait for callbacks to end; *ret_more: the batch is full. */
static struct list *wake_drains(struct list *first, struct wake_batch *batch, bool *ret_more)
{
    struct list *node = first, *last = first ? first->prev : NULL;

    *ret_more = false;
    while (node) {
        struct list *next = node == last ? NULL : node->next;
        struct waiter *w = JD_CONTAINER_OF(node, struct waiter, link);

        if (w->want == NODE_DRAIN) {
            *ret_more = batch->count == WAKE_BATCH;
            if (*ret_more)
                break;
            first = outcome_unlink(first, node);
            (void)waiter_grant(w, batch); /* losing: it gave up */
        }
        node = next;
    }
    return first;
}

static void done_callback_unlink(struct done_callback *c)
{
    struct outcome *o = &c->future->outcome;
    struct wake_batch batch;
    uintptr_t word = outcome_lock(o);
    struct list *first = outcome_unlink(outcome_first(word), &c->node.link);
    bool more;

    wake_batch_init(&batch);
    do { /* bounded by the list */
        first = wake_drains(first, &batch, &more);
        outcome_unlock(o, first, word & OUTCOME_DONE);
        wake_batch_flush(&batch);
        if (more)
            first = outcome_first(outcome_lock(o));
    } while (more);
}

static void done_callback_set_runner(struct done_callback *c, const void *runner)
{
    uintptr_t word = outcome_lock(&c->future->outcome);

    c->runner = runner;
    outcome_unlock(&c->future->outcome, outcome_first(word), word & OUTCOME_DONE);
}

void done_callback_run(struct worker *w, struct loop_item *item)
{
    struct done_callback *c = JD_CONTAINER_OF(item, struct done_callback, item);

    done_callback_set_runner(c, w);
    c->cb(c->future, c->arg);
    done_callback_unlink(c);
    done_callback_free(c);
}

void done_callback_drop(struct loop_item *item)
{
    struct done_callback *c = JD_CONTAINER_OF(item, struct done_callback, item);

    done_callback_unlink(c);
    done_callback_free(c);
}

static bool runtime_is_gone(struct runtime_stub *stub)
{
    spin_lock(&stub->lock);
    bool gone = stub->rt == NULL;
    spin_unlock(&stub->lock);
    return gone;
}

struct done_callback *done_callback_new(void)
{
    return mem_alloc(sizeof(struct done_callback));
}

void done_callback_unused(struct done_callback *c)
{
    mem_free(c, sizeof(*c));
}

void done_callback_add(struct done_callback *c, jd_future *f, jd_done_fn cb, void *arg)
{
    struct worker *w = worker_current();
    struct list *first;
    uintptr_t word;
    bool keep = true;

    *c = (struct done_callback){ .item.kind = ITEM_DONE_CALLBACK,
                                 .future = jd_future_ref(f),
                                 .cb = cb,
                                 .arg = arg,
                                 .loop = w && w->rt->stub == f->stub ? w->index : 0 };
    c->node.want = NODE_CALLBACK;
    c->node.cause = CAUSE_NONE;
    word = outcome_lock(&f->outcome);
    first = outcome_first(word);
    if (word & OUTCOME_DONE) {
        c->node.cause = CAUSE_GRANTED;
        keep = future_post_callback(&c->node);
    }
    if (keep)
        first = outcome_append(first, &c->node.link);
    outcome_unlock(&f->outcome, first, word & OUTCOME_DONE);
    if (!keep)
        done_callback_free(c); /* its loop is gone for ever (contract B20) */
}

int jd_future_add_done_callback(jd_future *f, jd_done_fn cb, void *arg)
{
    struct done_callback *c;

    if (!f || !cb)
        return -EINVAL;
    if (!worker_current() && runtime_is_gone(f->stub))
        return -ESHUTDOWN;
    c = done_callback_new();
    if (!c)
        return -ENOMEM;
    done_callback_add(c, f, cb, arg);
    return 0;
}

static bool callback_matches(struct waiter *node, jd_done_fn cb, void *arg)
{
    struct done_callback *c = JD_CONTAINER_OF(node, struct done_callback, node);

    return node->want == NODE_CALLBACK && c->cb == cb && c->arg == arg;
}

/* Lock bit held. Takes the first pending match off; NULL when none. *ret_busy: a match was posted
 * and has not ended; *ret_inside: it runs on this very worker. */
static struct waiter *take_match(struct list **first, jd_done_fn cb, void *arg, bool *ret_busy,
                                 bool *ret_inside)
{
    struct list *node = *first, *last = node ? node->prev : NULL;

    while (node) {
        struct waiter *w = JD_CONTAINER_OF(node, struct waiter, link);

        if (callback_matches(w, cb, arg)) {
            struct done_callback *c = JD_CONTAINER_OF(w, struct done_callback, node);

            if (w->cause == CAUSE_NONE) {
                *first = outcome_unlink(*first, node);
                return w;
            }
            *ret_busy = true;
            *ret_inside |= c->runner && c->runner == worker_current();
        }
        node = node == last ? NULL : node->next;
    }
    return NULL;
}

static int remove_pending(jd_future *f, jd_done_fn cb, void *arg, bool *ret_busy, bool *ret_inside)
{
    struct waiter *taken;
    int count = 0;

    do { /* bounded by the list */
        uintptr_t word = outcome_lock(&f->outcome);
        struct list *first = outcome_first(word);

        taken = take_match(&first, cb, arg, ret_busy, ret_inside);
        outcome_unlock(&f->outcome, first, word & OUTCOME_DONE);
        if (taken) {
            count++;
            done_callback_free(JD_CONTAINER_OF(taken, struct done_callback, node));
        }
    } while (taken);
    return count;
}

int jd_future_remove_done_callback(jd_future *f, jd_done_fn cb, void *arg)
{
    bool busy = false, inside = false;

    return f && cb ? remove_pending(f, cb, arg, &busy, &inside) : -EINVAL;
}

/* In a callback, which cannot wait. */
static int remove_without_waiting(jd_future *f, jd_done_fn cb, void *arg)
{
    bool busy = false, inside = false;
    int count = remove_pending(f, cb, arg, &busy, &inside);

    if (inside)
        return -EDEADLK;
    return busy ? -EPERM : count;
}

/* Waits until one more callback has ended; 0 when no match is left, 1 = look again. */
static int drain_once(jd_future *f, jd_done_fn cb, void *arg, struct jd_task *task)
{
    bool busy = false, inside = false, linked;
    struct waiter node;
    struct wait w;
    uintptr_t word;
    struct list *first;
    unsigned cause;
    int err = wait_open(&w, task, WAIT_CANCELLABLE | WAIT_THREADS);

    if (err)
        return err;
    waiter_init(&node, w.target, w.seq);
    node.link.next = NULL;
    node.want = NODE_DRAIN;
    word = outcome_lock(&f->outcome);
    first = outcome_first(word);
    (void)take_match(&first, cb, arg, &busy, &inside); /* none is pending: removed before */
    linked = busy && !inside;
    if (linked)
        first = outcome_append(first, &node.link);
    else
        (void)word_wake(&w.target->word, w.seq, CAUSE_GRANTED); /* losing: cancelled first */
    outcome_unlock(&f->outcome, first, word & OUTCOME_DONE);
    cause = wait_sleep(&w, CLOCK_FOREVER);
    if (linked)
        outcome_leave(&f->outcome, &node);
    wait_close(&w);
    if (inside)
        return -EDEADLK;
    if (!busy)
        return 0;
    return cause == CAUSE_GRANTED ? 1 : wait_error(&w, cause);
}

int jd_future_remove_done_callback_wait(jd_future *f, jd_done_fn cb, void *arg)
{
    struct jd_task *task;
    int count, again, err;

    if (!f || !cb)
        return -EINVAL;
    err = call_begin(WAIT_CANCELLABLE | WAIT_THREADS, &task);
    if (err)
        return err == -EPERM ? remove_without_waiting(f, cb, arg) : err;
    count = jd_future_remove_done_callback(f, cb, arg);
    do { /* bounded by the callbacks that were posted */
        again = drain_once(f, cb, arg, task);
    } while (again > 0);
    return again < 0 ? again : count;
}
