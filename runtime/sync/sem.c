/* SPDX-License-Identifier: MIT */
/*
 * The semaphore's public calls: the kernel (sem.h) and one wait (sched/wait.h).
 *
 * I1  The short way is one CAS and touches neither lock nor queue.
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
        /* Relaxed: guarded by the lock. Others may have served the rest meanwhile. */
        full = (atom_load(&s->word, relaxed) & SEM_QUEUED) && sem_serve(s, batch);
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

static JD_ALWAYS_INLINE enum sem_fast change_queued(struct sem *s, uint32_t k,
                                                    const uint32_t *total)
{
    struct wake_batch batch;
    enum sem_fast done;
    bool full = false;

    wake_batch_init(&batch);
    spin_lock(&s->lock);
    done = sem_change_queued(s, k, total);
    if (done == SEM_DONE)
        full = sem_serve(s, &batch);
    spin_unlock(&s->lock);
    serve_all(s, &batch, full);
    return done;
}

static JD_NOINLINE int give_slow(struct sem *s, uint32_t k)
{
    enum sem_fast done = SEM_MUST_LOCK;

    while (done == SEM_MUST_LOCK) { /* bounded by others coming and going */
        done = change_queued(s, k, /* total= */ NULL);
        if (done == SEM_MUST_LOCK)
            done = sem_try_give(s, k);
    }
    return done == SEM_DONE ? 0 : -EOVERFLOW;
}

static inline int give(struct sem *s, uint32_t k)
{
    return JD_LIKELY(sem_try_give(s, k) == SEM_DONE) ? 0 : give_slow(s, k);
}

int sem_give(struct sem *s, uint32_t k)
{
    return give(s, k);
}

static JD_NOINLINE int acquire_slow(struct sem *s, struct jd_task *task, uint32_t k,
                                    int64_t timeout)
{
    int64_t deadline = timeout == JD_FOREVER ? CLOCK_FOREVER : clock_after(clock_now(), timeout);
    struct waiter node;
    struct wait w;
    unsigned cause;
    int err = wait_open(&w, task, WAIT_CANCELLABLE | WAIT_THREADS);

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
    cause = wait_sleep(&w, deadline);
    if (cause != CAUSE_GRANTED || !wait_was_queued(&w)) /* I6 of sem.h */
        sem_quit(s, &node);
    wait_close(&w);
    return cause == CAUSE_GRANTED ? 0 : wait_error(&w, cause);
}

static JD_ALWAYS_INLINE int acquire(jd_sem *pub, unsigned k, int64_t timeout)
{
    struct sem *s = sem_of(pub);
    struct jd_task *task;
    int err;

    if (!pub || !is_count(k))
        return -EINVAL;
    /* Relaxed: a resize in progress may be seen or not. */
    if (s->is_bounded && k > sem_total(atom_load(&s->word, relaxed)))
        return -EINVAL;
    if (k == 0)
        return 0;
    err = call_begin_here(WAIT_CANCELLABLE | WAIT_THREADS, &task);
    if (JD_UNLIKELY(err))
        return err;
    if (JD_LIKELY(sem_try_take(s, k)))
        return 0;
    if (timeout <= 0)
        return -ETIMEDOUT;
    return acquire_slow(s, task, k, timeout);
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
    uint64_t word;

    if (!s)
        return -EINVAL;
    word = atom_load(&sem_of(s)->word, relaxed); /* Relaxed: a number for people. */
    return (word & SEM_QUEUED) || sem_free(word) < 0 ? 0 : sem_free(word);
}

int jd_sem_resize(jd_sem *pub, unsigned n)
{
    struct sem *s = sem_of(pub);
    uint64_t word, next;

    if (!pub || !is_count(n))
        return -EINVAL;
    word = atom_load(&s->word, relaxed); /* Relaxed: only a guess, the CAS decides. */
    for (;;) {                           /* bounded by others' success */
        if (word & SEM_QUEUED) {
            enum sem_fast done = change_queued(s, 0, &n);

            if (done != SEM_MUST_LOCK)
                return done == SEM_DONE ? 0 : -EOVERFLOW;
            word = atom_load(&s->word, relaxed); /* Relaxed: as above. */
            continue;
        }
        if (!sem_changed(s, word, 0, n, &next))
            return -EOVERFLOW;
        /* [SEM-1] Release: as a permit that comes back. */
        if (atom_cas_weak(&s->word, &word, next, release, relaxed))
            return 0;
    }
}
