/* SPDX-License-Identifier: MIT */
/*
 * Handles: callbacks given to a loop.
 *
 * I1  A handle's state leaves PENDING once: RUNNING by its loop or CANCELLED by a canceller, by
 *     CAS. So it runs exactly once or never, and the canceller knows which.
 * I2  References: the loop holds one from the call until the item was met (also for a cancelled one,
 *     which is skipped when met); the user holds one if he asked for the handle.
 * I3  A timer that is cancelled is truly unlinked (timer_disarm), and the loop's reference goes.
 * I4  Whoever waits for the end of a running callback hangs in `outcome`, completed after the run.
 *
 * Threads: any for call and cancel; callback_run on the loop's worker.
 */
#include "sched/callback.h"

#include <errno.h>

#include "base/clock.h"
#include "sched/wait.h"

enum handle_state { HANDLE_PENDING, HANDLE_RUNNING, HANDLE_RAN, HANDLE_CANCELLED };

struct jd_handle {
    struct loop_item item;
    struct timer timer;
    JD_ATOMIC(uint32_t) state;
    JD_ATOMIC(uint32_t) refs;
    struct outcome finished; /* done when the callback has run */
    struct worker *worker;   /* constant; valid while the runtime lives */
    jd_callback cb;
    void *arg;
    int64_t when;
};

static void handle_drop_ref(struct jd_handle *h)
{
    /* [REF-1] Acq_rel: what other holders did is before the end. */
    if (atom_fetch_sub(&h->refs, 1, acq_rel) == 1)
        mem_free(h, sizeof(*h));
}

void callback_run(struct worker *w, struct loop_item *item)
{
    struct jd_handle *h = JD_CONTAINER_OF(item, struct jd_handle, item);
    uint32_t state = HANDLE_PENDING;

    /* Relaxed: a hint for the watchdog, that this is a step of its own. */
    atom_store(&w->epoch, atom_load(&w->epoch, relaxed) + 1, relaxed);
    if (item->kind == ITEM_DONE_CALLBACK) {
        done_callback_run(w, item);
        return;
    }
    /* [HANDLE-1] Acq_rel, pairs with the canceller's CAS: one of us wins. */
    if (atom_cas(&h->state, &state, HANDLE_RUNNING, acq_rel, acquire)) {
        w->running_handle = h;
        h->cb(h->arg);
        worker_current()->running_handle = NULL;
        atom_store(&h->state, HANDLE_RAN, release); /* [HANDLE-1] */
        outcome_finish(&h->finished);
    }
    handle_drop_ref(h);
}

/* The runtime ends: whoever cancels the handle later must find no timer and no worker. */
void handle_drop(void *handle)
{
    struct jd_handle *h = handle;
    uint32_t state = HANDLE_PENDING;

    (void)atom_cas(&h->state, &state, HANDLE_CANCELLED, acq_rel, acquire); /* [HANDLE-1] */
    handle_drop_ref(h);
}

void callback_drop(struct loop_item *item)
{
    if (item->kind == ITEM_DONE_CALLBACK)
        done_callback_drop(item);
    else
        handle_drop(JD_CONTAINER_OF(item, struct jd_handle, item));
}

/* Under the wheel's lock: the timer's reference becomes the loop's. */
static void *handle_timer_claim(struct timer *timer)
{
    struct jd_handle *h = JD_CONTAINER_OF(timer, struct jd_handle, timer);

    return (void *)((uintptr_t)h | TOKEN_HANDLE);
}

void handle_timer_fired(void *handle)
{
    struct jd_handle *h = handle;

    sched_post(h->worker, &h->item);
}

static int handle_new(jd_loop *loop, jd_callback cb, void *arg, int64_t when, bool shared,
                      struct jd_handle **ret)
{
    struct jd_handle *h;

    if (!loop || !cb)
        return -EINVAL;
    /* [STOP-2] Acquire, pairs with the shutdown's store: callbacks that go on and on would keep the
     * drain from its end. */
    if (atom_load(&loop->rt->refuse_spawns, acquire))
        return -ESHUTDOWN;
    h = mem_alloc(sizeof(*h));
    if (!h)
        return -ENOMEM;
    *h = (struct jd_handle){ .item.kind = ITEM_HANDLE,
                             .worker = &loop->rt->workers[loop->index],
                             .cb = cb,
                             .arg = arg,
                             .when = when };
    atom_init(&h->state, HANDLE_PENDING);
    atom_init(&h->refs, shared ? 2 : 1);
    outcome_init(&h->finished);
    timer_init(&h->timer, handle_timer_claim);
    *ret = h;
    return 0;
}

int jd_call_soon(jd_loop *loop, jd_callback cb, void *arg, jd_handle **ret)
{
    struct jd_handle *h;
    int err = handle_new(loop, cb, arg, 0, ret != NULL, &h);

    if (err)
        return err;
    if (ret)
        *ret = h;
    sched_post(h->worker, &h->item);
    return 0;
}

static int call_at(jd_loop *loop, int64_t when, jd_callback cb, void *arg, jd_handle **ret)
{
    struct jd_handle *h;
    struct worker *w;
    int err = handle_new(loop, cb, arg, when, ret != NULL, &h);

    if (err)
        return err;
    if (ret)
        *ret = h;
    if (when == CLOCK_FOREVER) { /* no timer, and no loop that would ever drop its reference */
        handle_drop_ref(h);
        return 0;
    }
    w = h->worker; /* once armed it may run and be gone */
    /* The timer belongs to the loop it was given to: equal times fire in the order given. */
    if (timer_arm(&w->timers, &h->timer, when) && w != worker_current())
        sched_wake_worker(w);
    return 0;
}

int jd_call_later(jd_loop *loop, int64_t delay, jd_callback cb, void *arg, jd_handle **ret)
{
    int64_t now = clock_now();

    /* A negative delay keeps its order among the past ones (contract A8). */
    return call_at(loop, delay < 0 ? (delay < -now ? 0 : now + delay) : clock_after(now, delay), cb,
                   arg, ret);
}

int jd_call_at(jd_loop *loop, int64_t when, jd_callback cb, void *arg, jd_handle **ret)
{
    return call_at(loop, when, cb, arg, ret);
}

int jd_handle_cancel(jd_handle *h)
{
    uint32_t state = HANDLE_PENDING;

    if (!h)
        return -EINVAL;
    /* [HANDLE-1] Acq_rel, pairs with callback_run(): one of us wins. */
    if (!atom_cas(&h->state, &state, HANDLE_CANCELLED, acq_rel, acquire))
        return 0;
    if (h->when != CLOCK_FOREVER && timer_disarm(&h->timer))
        handle_drop_ref(h); /* the loop's: it will not meet it */
    return 1;
}

int jd_handle_cancel_wait(jd_handle *h)
{
    struct jd_task *task;
    struct worker *worker = worker_current();
    struct waiter node;
    struct wait w;
    unsigned cause;
    int prevented, err;

    if (!h)
        return -EINVAL;
    if (worker && worker->running_handle == h)
        return -EDEADLK;
    err = call_begin(WAIT_CANCELLABLE | WAIT_THREADS, &task);
    if (err && err != -EPERM)
        return err;
    prevented = jd_handle_cancel(h);
    if (prevented || atom_load(&h->state, acquire) != HANDLE_RUNNING) /* [HANDLE-1] */
        return prevented;
    if (err) /* in another callback, which cannot wait */
        return err;
    err = wait_open(&w, task, WAIT_CANCELLABLE | WAIT_THREADS);
    if (err)
        return err;
    waiter_init(&node, w.target, w.seq);
    node.want = NODE_WAITER;
    if (!outcome_wait(&h->finished, &node))
        (void)word_wake(&w.target->word, w.seq, CAUSE_GRANTED); /* losing: cancelled first */
    cause = wait_sleep(&w, CLOCK_FOREVER);
    if (cause != CAUSE_GRANTED)
        outcome_leave(&h->finished, &node);
    wait_close(&w);
    return cause == CAUSE_GRANTED ? 0 : wait_error(&w, cause);
}

int jd_handle_cancelled(const jd_handle *h)
{
    /* Relaxed: a snapshot. */
    return h && atom_load(&h->state, relaxed) == HANDLE_CANCELLED;
}

int64_t jd_handle_when(const jd_handle *h)
{
    return h ? h->when : 0;
}

void jd_handle_unref(jd_handle *h)
{
    if (h)
        handle_drop_ref(h);
}

jd_loop *jd_loop_current(void)
{
    struct worker *w = worker_current();

    return w ? &w->loop : NULL;
}

jd_loop *jd_runtime_loop(jd_runtime *rt, unsigned index)
{
    return rt && index < rt->worker_count ? &rt->workers[index].loop : NULL;
}
