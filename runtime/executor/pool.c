/* SPDX-License-Identifier: MIT */
/*
 * A pool's life, and what the roster's answers mean in threads: see pool.h.
 */
#include "executor/pool.h"

#include <errno.h>
#include <sched.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/fault.h"
#include "sched/choice.h"
#include "task/stub.h"

/* A pool that the child of a fork inherits refuses work (-ESHUTDOWN) and is never freed. */
static void in_child_of_fork(struct forked *f)
{
    struct jd_executor *p = JD_CONTAINER_OF(f, struct jd_executor, forked);

    atom_store(&p->is_orphan, 1, relaxed); /* Relaxed: this process has one thread. */
}

struct jd_executor *pool_new(const struct pool_config *c)
{
    struct jd_executor *p = mem_aligned(JD_CACHE_LINE, sizeof(*p));

    if (!p)
        return NULL;
    roster_init(&p->roster, c->threads_max, c->cpus);
    atom_init(&p->refs, 1);
    atom_init(&p->users, 1);
    atom_init(&p->spin_pays, 1);
    p->is_runtimes = c->is_runtimes;
    p->can_spin = c->can_spin;
    p->is_simulated = choice_simulated();
    strncpy(p->name, c->name, sizeof(p->name) - 1);
    (void)jd_sem_init(&p->ended, 0); /* cannot fail */
    spin_init(&p->lock);
    list_init(&p->living);
    list_init(&p->gone);
    spin_init(&p->stats_lock);
    if (forked_watch(&p->forked, in_child_of_fork)) {
        mem_free_aligned(p, JD_CACHE_LINE, sizeof(*p));
        return NULL;
    }
    runtime_stub_ref(c->stub);
    p->stub = c->stub;
    return p;
}

/* --- Threads that have ended ----------------------------------------------------------------------- */

/* NULL: none, or none whose maker has written down which thread it is. */
static struct pool_thread *next_gone(struct jd_executor *p, bool *ret_more)
{
    struct pool_thread *found = NULL;

    spin_lock(&p->lock);
    list_for_each(link, &p->gone) {
        struct pool_thread *t = JD_CONTAINER_OF(link, struct pool_thread, link);

        if (!t->has_id)
            continue;
        list_del(link);
        found = t;
        break;
    }
    *ret_more = !list_is_empty(&p->gone);
    spin_unlock(&p->lock);
    return found;
}

/* Frees the records of threads that are quite over, without waiting for any. */
static void reap_some(struct jd_executor *p)
{
    struct pool_thread *t;
    bool more;

    while ((t = next_gone(p, &more))) { /* bounded by the threads that ended */
        if (!thread_join(t, /* wait= */ false)) {
            spin_lock(&p->lock);
            list_add_tail(&p->gone, &t->link);
            spin_unlock(&p->lock);
            return;
        }
        mem_free(t, sizeof(*t));
    }
}

/* Waits for each to go its last instructions; the calling one, if it is one of them, is detached. */
static void reap_all(struct jd_executor *p)
{
    struct pool_thread *t;
    bool more;

    do { /* bounded by the threads, and by makers that are about to write down an id */
        t = next_gone(p, &more);
        if (t) {
            (void)thread_join(t, /* wait= */ true);
            mem_free(t, sizeof(*t));
        } else if (more) {
            sched_yield();
        }
    } while (t || more);
}

/* --- References ------------------------------------------------------------------------------------- */

static void pool_let_go(struct jd_executor *p)
{
    /* [POOL-1] Acq_rel, pairs with itself: what each holder did is before the end. */
    if (atom_fetch_sub(&p->refs, 1, acq_rel) > 1)
        return;
    forked_unwatch(&p->forked);
    reap_all(p);
    JD_ASSERT(list_is_empty(&p->living));
    JD_ASSERT(list_is_empty(&p->roster.jobs));
    runtime_stub_unref(p->stub);
    mem_free_aligned(p, JD_CACHE_LINE, sizeof(*p));
}

void pool_ref(struct jd_executor *p)
{
    /* Relaxed: made from a reference. */
    uint32_t before = atom_fetch_add(&p->users, 1, relaxed);

    JD_ASSERT(before > 0);
}

void pool_unref(struct jd_executor *p)
{
    /* [POOL-1] Acq_rel, as above. */
    uint32_t before = atom_fetch_sub(&p->users, 1, acq_rel);

    JD_ASSERT(before > 0);
    if (before > 1)
        return;
    if (atom_load(&p->is_orphan, relaxed)) /* Relaxed: set before this process had threads. */
        return; /* its locks and lists are as the fork met them: leaked on purpose */
    pool_close(p, /* cancel_pending= */ false);
    pool_let_go(p);
}

/* --- Making threads --------------------------------------------------------------------------------- */

/* Lock held. True: the caller tells the waiters, after the unlock. */
static bool is_end(struct jd_executor *p)
{
    if (!p->no_threads || !list_is_empty(&p->living) || p->end_told)
        return false;
    p->end_told = true;
    return true;
}

static void tell_end(struct jd_executor *p)
{
    (void)jd_sem_release(&p->ended); /* unbounded, and the only one: cannot fail */
}

static void no_threads(struct jd_executor *p)
{
    bool told;

    spin_lock(&p->lock);
    p->no_threads = true;
    told = is_end(p);
    spin_unlock(&p->lock);
    if (told)
        tell_end(p);
}

void pool_thread_gone(struct pool_thread *t, bool was_last)
{
    struct jd_executor *p = t->pool;
    bool told;

    spin_lock(&p->lock);
    list_del(&t->link);
    list_add_tail(&p->gone, &t->link);
    p->no_threads |= was_last;
    told = is_end(p);
    spin_unlock(&p->lock);
    if (told)
        tell_end(p);
    pool_let_go(p);
}

static struct pool_thread *record_new(struct jd_executor *p)
{
    struct pool_thread *t = mem_calloc(sizeof(*t));

    if (!t)
        return NULL;
    seat_init(&t->seat);
    t->pool = p;
    t->may_spin = true;
    /* Relaxed: made from the maker's. */
    atom_fetch_add(&p->refs, 1, relaxed);
    spin_lock(&p->lock);
    list_add_tail(&p->living, &t->link);
    spin_unlock(&p->lock);
    return t;
}

static void record_undo(struct pool_thread *t)
{
    struct jd_executor *p = t->pool;

    spin_lock(&p->lock);
    list_del(&t->link);
    spin_unlock(&p->lock);
    mem_free(t, sizeof(*t));
    pool_let_go(p); /* not the last: the maker has one */
}

static bool make_thread(struct jd_executor *p)
{
    struct pool_thread *t;

    reap_some(p);
    t = record_new(p);
    if (!t)
        return false;
    if (!fault_hit(FAULT_THREAD) && thread_make(t))
        return true;
    record_undo(t);
    return false;
}

static void ring(struct seat *seat)
{
    thread_ring(JD_CONTAINER_OF(seat, struct pool_thread, seat));
}

static void count_refusal(struct jd_executor *p)
{
    spin_lock(&p->stats_lock);
    p->refused++;
    spin_unlock(&p->stats_lock);
}

static void drop_all(struct jd_executor *p, int error)
{
    struct job *job;

    while ((job = roster_pop(&p->roster))) /* bounded by the queue: nobody is there to serve it */
        job->type->drop(job, error);
}

/* Does what the roster asks for. */
static enum roster_left carry_out(struct jd_executor *p, struct roster_call *call)
{
    enum roster_left left = ROSTER_SERVED;

    if (call->start && !make_thread(p)) {
        count_refusal(p);
        left = roster_refused(&p->roster, clock_now(), call);
    }
    if (left == ROSTER_ENDED)
        no_threads(p);
    if (call->ring)
        ring(call->ring);
    return left;
}

void pool_carry_out(struct jd_executor *p, struct roster_call *call)
{
    if (carry_out(p, call) != ROSTER_SERVED)
        drop_all(p, -EAGAIN); /* the caller is about to block, and was the last one */
}

/* --- Jobs ----------------------------------------------------------------------------------------- */

static int submit_called(struct jd_executor *p, struct job *job, struct roster_call *call)
{
    int error;

    if (carry_out(p, call) == ROSTER_SERVED)
        return 0;
    error = roster_withdraw(&p->roster, job) ? -EAGAIN : 0; /* 0: somebody has it */
    drop_all(p, -EAGAIN); /* of others, who counted on this thread */
    return error;
}

int pool_submit(struct jd_executor *p, struct job *job)
{
    struct roster_call call;

    if (JD_UNLIKELY(atom_load(&p->is_orphan, relaxed))) /* Relaxed: as above. */
        return -ESHUTDOWN;
    if (JD_UNLIKELY(p->is_simulated != choice_simulated()))
        return -EPERM;
    job->queued_at = clock_now();
    if (!roster_submit(&p->roster, job, job->queued_at, &call))
        return -ESHUTDOWN;
    if (JD_LIKELY(!call.ring && !call.start))
        return 0;
    return submit_called(p, job, &call);
}

bool pool_withdraw(struct jd_executor *p, struct job *job)
{
    return roster_withdraw(&p->roster, job);
}

void pool_started(struct jd_executor *p, int64_t waited)
{
    spin_lock(&p->stats_lock);
    p->started++;
    histogram_add(&p->waits, waited);
    spin_unlock(&p->stats_lock);
}

/* --- The end ----------------------------------------------------------------------------------------- */

void pool_close(struct jd_executor *p, bool cancel_pending)
{
    struct list rings, *link;

    list_init(&rings);
    if (roster_close(&p->roster, &rings))
        no_threads(p);
    if (cancel_pending)
        drop_all(p, -ECANCELED);
    while ((link = list_pop_head(&rings))) /* bounded by the threads */
        ring(JD_CONTAINER_OF(link, struct seat, link));
}

int pool_wait(struct jd_executor *p, int64_t timeout)
{
    int error = jd_sem_acquire_for(&p->ended, timeout);

    if (error < 0)
        return error;
    tell_end(p); /* to the next one who waits */
    reap_all(p);
    return 0;
}
