/* SPDX-License-Identifier: MIT */
/*
 * The semaphore's public calls: the kernel (sem.h) and one wait (sched/wait.h).
 *
 * I1  The short way is one atomic addition, or a CAS for a bounded semaphore, and touches neither
 *     lock nor queue.
 * I2  Targets whose waits ended are queued after the unlock, at most WAKE_BATCH at a time.
 *
 * Threads: any; a task suspends, a plain thread parks, a loop callback gets -EPERM.
 */
#include "sync/sem.h"

#include <errno.h>

#include "base/clock.h"
#include "sched/wait.h"

static bool is_count(unsigned n)
{
    return n <= (unsigned)INT_MAX;
}

static int sem_init(jd_sem *s, unsigned n, bool is_bounded)
{
    if (!s || !is_count(n))
        return -EINVAL;
    *s = (jd_sem){ { 0 } };
    sem_init_kernel(sem_of(s), n, is_bounded);
    return 0;
}

int jd_sem_init(jd_sem *s, unsigned n)
{
    return sem_init(s, n, /* is_bounded= */ false);
}

int jd_sem_init_bounded(jd_sem *s, unsigned n)
{
    return sem_init(s, n, /* is_bounded= */ true);
}

static JD_NOINLINE void serve_more(struct sem *s, struct wake_batch *batch)
{
    bool full = true;

    while (full) { /* bounded by the queue */
        batch->count = 0;
        spin_lock(&s->lock);
        full = sem_serve(s, batch);
        spin_unlock(&s->lock);
        wake_batch_flush(batch);
    }
}

/* After the unlock: queues the targets, and serves the queue until nothing more can be granted. */
static inline void serve_all(struct sem *s, struct wake_batch *batch, bool full)
{
    wake_batch_flush(batch);
    if (JD_UNLIKELY(full))
        serve_more(s, batch);
}

void sem_quit(struct sem *s, struct waiter *node)
{
    struct wake_batch batch;

    wake_batch_init(&batch);
    serve_all(s, &batch, sem_leave(s, node, &batch));
}

/* After sem_put() found a debt, or that there are too many now. */
static JD_NOINLINE int give_slow(struct sem *s, uint32_t k, int64_t found)
{
    struct wake_batch batch;

    if (found >= 0)
        return sem_undo(s, k) ? -EOVERFLOW : 0;
    wake_batch_init(&batch);
    serve_all(s, &batch, sem_settle(s, k, found, &batch));
    return 0;
}

static enum sem_put give_indebted(struct sem *s, uint32_t k)
{
    struct wake_batch batch;
    enum sem_put done;
    bool full = false;

    wake_batch_init(&batch);
    spin_lock(&s->lock);
    done = sem_put_indebted(s, k);
    if (done == SEM_DONE)
        full = sem_serve(s, &batch);
    spin_unlock(&s->lock);
    serve_all(s, &batch, full);
    return done;
}

static JD_NOINLINE int give_bounded(struct sem *s, uint32_t k)
{
    enum sem_put done = SEM_AGAIN;

    while (done == SEM_AGAIN) { /* bounded by others coming and going */
        if (sem_put_bounded(s, k))
            return 0;
        done = give_indebted(s, k);
    }
    return done == SEM_DONE ? 0 : -EOVERFLOW;
}

static JD_ALWAYS_INLINE int give(struct sem *s, uint32_t k)
{
    int64_t found;

    if (JD_UNLIKELY(s->is_bounded))
        return give_bounded(s, k);
    found = sem_put(s, k);
    if (JD_UNLIKELY((uint64_t)found > (uint64_t)INT_MAX - k))
        return give_slow(s, k, found);
    return 0;
}

int sem_give(struct sem *s, uint32_t k)
{
    return give(s, k);
}

static int acquire_wait(struct sem *s, struct wait *w, struct waiter *node, int64_t timeout)
{
    int64_t deadline = timeout == JD_FOREVER ? CLOCK_FOREVER : clock_after(clock_now(), timeout);
    unsigned cause = wait_sleep(w, deadline);

    if (cause != CAUSE_GRANTED || !wait_was_queued(w)) /* I6 of sem.h */
        sem_quit(s, node);
    wait_close(w);
    return cause == CAUSE_GRANTED ? 0 : wait_error(w, cause);
}

/* A task that took in vain and found less than k. */
static JD_NOINLINE int acquire_owing(struct sem *s, struct jd_task *task, uint32_t k, int64_t found,
                                     int64_t timeout)
{
    struct wake_batch batch;
    struct waiter node;
    struct wait w;

    (void)wait_open(&w, task, WAIT_CANCELLABLE | WAIT_LOCKS); /* fails for threads only */
    waiter_init(&node, w.target, w.seq);
    node.want = k;
    wake_batch_init(&batch);
    serve_all(s, &batch, sem_join_owing(s, &node, found, &batch));
    return acquire_wait(s, &w, &node, timeout);
}

/* A bounded semaphore, a plain thread, or no time: takes all or nothing, then joins the queue. */
static int acquire_exact(struct sem *s, struct jd_task *task, uint32_t k, int64_t timeout)
{
    struct waiter node;
    struct wait w;
    int err;

    if (sem_try_take(s, k))
        return 0;
    if (timeout <= 0)
        return -ETIMEDOUT;
    err = wait_open(&w, task, WAIT_CANCELLABLE | WAIT_THREADS | WAIT_LOCKS);
    if (err)
        return err;
    waiter_init(&node, w.target, w.seq);
    node.want = k;
    if (sem_join(s, &node, w.seq)) {
        /* Ours whatever comes: a cancel that is first only stays pending. */
        (void)word_wake(&w.target->word, w.seq, CAUSE_GRANTED);
        (void)wait_sleep(&w, CLOCK_FOREVER);
        wait_close(&w);
        return 0;
    }
    return acquire_wait(s, &w, &node, timeout);
}

static JD_NOINLINE int acquire_slow(struct sem *s, uint32_t k, int64_t timeout)
{
    struct jd_task *task;
    int64_t found;
    int err;

    if (!s || !is_count(k))
        return -EINVAL;
    /* Relaxed: a resize in progress may be seen or not. */
    if (s->is_bounded && (int64_t)k > atom_load(&s->total, relaxed))
        return -EINVAL;
    if (k == 0)
        return 0;
    err = call_begin(WAIT_CANCELLABLE | WAIT_THREADS, &task);
    if (err)
        return err;
    if (s->is_bounded || !task || timeout <= 0)
        return acquire_exact(s, task, k, timeout);
    found = sem_take(s, k);
    return found >= (int64_t)k ? 0 : acquire_owing(s, task, k, found, timeout);
}

static JD_ALWAYS_INLINE int acquire(jd_sem *pub, unsigned k, int64_t timeout)
{
    struct sem *s = sem_of(pub);
    struct jd_task *task;
    int64_t found;

    if (JD_UNLIKELY(!pub || k == 0 || !is_count(k) || timeout <= 0 || s->is_bounded))
        return acquire_slow(s, k, timeout);
    task = call_begin_plain();
    if (JD_UNLIKELY(!task))
        return acquire_slow(s, k, timeout);
    found = sem_take(s, k);
    if (JD_UNLIKELY(found < (int64_t)k))
        return acquire_owing(s, task, k, found, timeout);
    return 0;
}

int jd_sem_acquire(jd_sem *s)
{
    return acquire(s, 1, JD_FOREVER);
}

int jd_sem_acquire_for(jd_sem *s, int64_t timeout)
{
    return acquire(s, 1, timeout);
}

int jd_sem_acquire_n(jd_sem *s, unsigned k)
{
    return acquire(s, k, JD_FOREVER);
}

int jd_sem_acquire_n_for(jd_sem *s, unsigned k, int64_t timeout)
{
    return acquire(s, k, timeout);
}

int jd_sem_try_acquire(jd_sem *s)
{
    if (!s)
        return -EINVAL;
    return sem_try_take(sem_of(s), 1) ? 0 : -EAGAIN;
}

int jd_sem_release(jd_sem *s)
{
    return s ? give(sem_of(s), 1) : -EINVAL;
}

int jd_sem_release_n(jd_sem *s, unsigned k)
{
    if (!s || !is_count(k))
        return -EINVAL;
    return k == 0 ? 0 : give(sem_of(s), k);
}

int jd_sem_value(const jd_sem *s)
{
    int64_t free;

    if (!s)
        return -EINVAL;
    free = atom_load(&sem_of(s)->free, relaxed); /* Relaxed: a number for people. */
    if (free > INT_MAX)                          /* I8 */
        return INT_MAX;
    return free < 0 ? 0 : (int)free;
}

int jd_sem_resize(jd_sem *pub, unsigned n)
{
    struct sem *s = sem_of(pub);
    struct wake_batch batch;
    bool full = false, fits;

    if (!pub || !is_count(n))
        return -EINVAL;
    wake_batch_init(&batch);
    spin_lock(&s->lock);
    fits = sem_set_total(s, n);
    if (fits)
        full = sem_serve(s, &batch);
    spin_unlock(&s->lock);
    serve_all(s, &batch, full);
    return fits ? 0 : -EOVERFLOW;
}
