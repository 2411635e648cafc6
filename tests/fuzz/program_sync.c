/* SPDX-License-Identifier: MIT */
/*
 * Semaphores and futures, and their models. See program.h.
 */
#include <errno.h>
#include <limits.h>

#include "program.h"

/* --- Semaphores -------------------------------------------------------------------------------- */

void sems_init(struct program *p, struct fuzz_input *in)
{
    for (unsigned i = 0; i < SEMS; i++) {
        struct sem_model *s = &p->sems[i];
        unsigned permits = fuzz_byte(in) % 5;

        *s = (struct sem_model){ .bounded = i == 1, .total = (int)permits };
        FUZZ_CHECK((s->bounded ? jd_sem_init_bounded(&s->sem, permits)
                               : jd_sem_init(&s->sem, permits)) == 0);
    }
}

static int free_permits(const struct sem_model *s)
{
    return s->total > s->held ? s->total - s->held : 0;
}

/* Called whenever the model is about to change: what each waiter could have had at this moment. */
static void look(struct sem_model *s)
{
    for (struct acquiring *a = s->first; a; a = a->next)
        a->best = free_permits(s) > a->best ? free_permits(s) : a->best;
}

static void changed(struct sem_model *s)
{
    look(s);
    s->events++;
    s->changed_at = model_now();
}

static void acquiring_begin(struct sem_model *s, struct acquiring *a)
{
    struct acquiring **last = &s->first;

    while (*last)
        last = &(*last)->next;
    *last = a;
    changed(s);
}

static void acquiring_end(struct sem_model *s, struct acquiring *a)
{
    struct acquiring **link = &s->first;

    look(s);
    while (*link != a)
        link = &(*link)->next;
    *link = a->next;
}

/* Nothing has happened for long: whoever is first would have been served. */
static void check_not_forgotten(const struct sem_model *s, const struct acquiring *a)
{
    unsigned most = a->k;

    if (model_now() - s->changed_at <= SOON)
        return;
    for (const struct acquiring *other = s->first; other; other = other->next)
        most = other->k > most ? other->k : most;
    FUZZ_CHECK_THAT((unsigned)free_permits(s) < most, "%d are free", free_permits(s));
}

/* 0: taken, and the model says so. */
static int acquire(struct body *b, struct sem_model *s, unsigned k, int64_t timeout)
{
    struct acquiring a = { .b = b, .k = k, .best = INT_MIN };
    bool alone = !s->first && free_permits(s) >= (int)k;
    unsigned events;
    struct call c;
    int error;

    acquiring_begin(s, &a);
    events = s->events;
    c = call_starts(b);
    error = k == 1 && timeout == JD_FOREVER ? jd_sem_acquire(&s->sem)
            : timeout == JD_FOREVER         ? jd_sem_acquire_n(&s->sem, k)
            : k == 1                        ? jd_sem_acquire_for(&s->sem, timeout)
                                            : jd_sem_acquire_n_for(&s->sem, k, timeout);
    if (error == -EINVAL) {
        FUZZ_CHECK(s->bounded && ((int)k > s->total || s->events != events));
        acquiring_end(s, &a);
        return error;
    }
    call_ends(&c, error);
    FUZZ_CHECK(error == 0 || !alone || s->events != events || error == -ECANCELED);
    if (error)
        check_not_forgotten(s, &a);
    acquiring_end(s, &a);
    if (error) {
        FUZZ_CHECK_THAT(error == -ECANCELED || error == -ETIMEDOUT, "%d", error);
        FUZZ_CHECK(error == -ECANCELED || model_now() >= c.began + timeout);
        changed(s);
        return error;
    }
    FUZZ_CHECK_THAT(a.best >= (int)k, "%u taken, at most %d were free", k, a.best);
    s->held += (int)k;
    changed(s);
    return 0;
}

static void release(struct sem_model *s, unsigned k)
{
    int error;

    look(s);
    s->held -= (int)k;
    error = k == 1 ? jd_sem_release(&s->sem) : jd_sem_release_n(&s->sem, k);
    FUZZ_CHECK_THAT(error == 0, "%d", error);
    changed(s);
}

void step_acquire(struct body *b, struct instruction i)
{
    struct sem_model *s = &b->p->sems[i.a % SEMS];
    unsigned k = 1 + i.a / SEMS % 3;

    if (b->nest > NEST_MAX || acquire(b, s, k, wait_time(b, i.b)))
        return;
    body_block(b);
    release(s, k);
}

void step_try_acquire(struct body *b, struct instruction i)
{
    struct sem_model *s = &b->p->sems[i.a % SEMS];
    int error;

    if (b->nest > NEST_MAX)
        return;
    look(s);
    error = jd_sem_try_acquire(&s->sem);
    FUZZ_CHECK_THAT(error == 0 || error == -EAGAIN, "%d", error);
    if (error) {
        FUZZ_CHECK(s->first || free_permits(s) == 0);
        return;
    }
    FUZZ_CHECK(free_permits(s) > 0);
    s->held++;
    changed(s);
    body_block(b);
    release(s, 1);
}

void step_resize(struct body *b, struct instruction i)
{
    struct sem_model *s = &b->p->sems[i.a % SEMS];
    int total = i.b % 6 + s->extra;

    look(s);
    s->total = total > s->total ? total : s->total;
    look(s);
    FUZZ_CHECK(jd_sem_resize(&s->sem, i.b % 6) == 0);
    s->total = total;
    changed(s);
}

/* A permit that nobody took. */
void step_donate(struct body *b, struct instruction i)
{
    struct sem_model *s = &b->p->sems[i.a % SEMS];
    unsigned k = 1 + i.b % 3;

    if (s->bounded) {
        if (!s->first && s->held < (int)k) /* else it may be somebody's, given back for him */
            FUZZ_CHECK(jd_sem_release_n(&s->sem, k) == -EOVERFLOW);
        return;
    }
    look(s);
    s->total += (int)k;
    s->extra += (int)k;
    look(s);
    FUZZ_CHECK(jd_sem_release_n(&s->sem, k) == 0);
    changed(s);
}

void step_value(struct body *b, struct instruction i)
{
    const struct sem_model *s = &b->p->sems[i.a % SEMS];
    int value = jd_sem_value(&s->sem);

    FUZZ_CHECK_THAT(value >= 0 && value <= free_permits(s), "%d of %d", value, free_permits(s));
    FUZZ_CHECK_THAT(s->first || value == free_permits(s), "%d, not %d", value, free_permits(s));
}

void sems_check_end(struct program *p)
{
    for (unsigned i = 0; i < SEMS; i++) {
        const struct sem_model *s = &p->sems[i];

        FUZZ_CHECK_THAT(s->held == 0 && !s->first, "semaphore %u: %d held", i, s->held);
        FUZZ_CHECK_THAT(jd_sem_value(&s->sem) == s->total, "semaphore %u: %d, not %d", i,
                        jd_sem_value(&s->sem), s->total);
    }
}

/* --- Futures ----------------------------------------------------------------------------------- */

bool futures_init(struct program *p)
{
    for (unsigned i = 0; i < FUTURES; i++) {
        if (jd_future_new(NULL, &p->futures[i].future)) {
            futures_unref(p);
            return false;
        }
    }
    return true;
}

void futures_unref(struct program *p)
{
    for (unsigned i = 0; i < FUTURES; i++) {
        jd_future_unref(p->futures[i].future);
        p->futures[i].future = NULL;
    }
}

static void future_end(struct future_model *f, jd_result r, bool cancel)
{
    int error = cancel ? jd_future_cancel(f->future, "fuzz") : jd_future_set(f->future, r);

    FUZZ_CHECK_THAT(error == (f->done ? -EALREADY : 0), "%d", error);
    FUZZ_CHECK(jd_future_done(f->future));
    if (error)
        return;
    f->done = true;
    f->cancelled = cancel;
    f->result = cancel ? jd_err(-ECANCELED) : r;
    f->done_at = model_now();
}

/* Main is over: whoever waits gets something. */
void futures_settle(struct program *p)
{
    for (unsigned i = 0; i < FUTURES; i++)
        future_end(&p->futures[i], jd_ok_num((intptr_t)i), i == 2);
}

void step_future_set(struct body *b, struct instruction i)
{
    struct future_model *f = &b->p->futures[i.a % FUTURES];

    future_end(f, i.b % 4 == 1 ? jd_err(-EIO) : jd_ok_num(i.b), i.b % 4 == 0);
}

static void check_outcome(const struct future_model *f, jd_result r)
{
    FUZZ_CHECK(f->done);
    FUZZ_CHECK_THAT(r.error == f->result.error && (r.error || r.num == f->result.num), "%d",
                    r.error);
    FUZZ_CHECK(jd_future_cancelled(f->future) == f->cancelled);
}

/* For the time of the call the future is held. */
static int wait_held(jd_future *future, int64_t timeout, bool await, jd_result *ret)
{
    int error = await ? jd_await_outcome(future, ret) : jd_future_wait(future, timeout);

    if (error == 0 && !await)
        FUZZ_CHECK(jd_future_result(future, ret) == 0);
    return error;
}

void step_future_wait(struct body *b, struct instruction i)
{
    struct future_model *f = &b->p->futures[i.a % FUTURES];
    int64_t timeout = wait_time(b, i.b);
    jd_result r = { .error = 1 };
    bool done = f->done, await;
    struct call c;
    int error;

    await = i.b % 2 && (done || jd_deadline() != JD_FOREVER);
    c = call_starts(b);
    error = wait_held(f->future, timeout, await, &r);
    call_ends(&c, error);
    FUZZ_CHECK(!done || error == 0 || error == -ECANCELED);
    switch (error) {
    case 0:
        check_outcome(f, r);
        check_soon(f->done_at, c.began);
        break;
    case -ETIMEDOUT:
        FUZZ_CHECK(model_now() >= c.began + timeout);
        FUZZ_CHECK(!f->done || model_now() - f->done_at <= SOON);
        break;
    case -ECANCELED:
        break;
    default:
        FUZZ_CHECK_THAT(false, "%d", error);
    }
}

static void on_done(jd_future *f, void *arg)
{
    struct callback_model *c = arg;

    FUZZ_CHECK(f == c->future->future || !c->future->future);
    FUZZ_CHECK(jd_future_done(f) && c->future->done);
    callback_runs(c);
}

void step_future_callback(struct body *b, struct instruction i)
{
    struct callback_model *c = callback_new(b->p, CALLBACK_DONE);
    int error;

    if (!c)
        return;
    c->future = &b->p->futures[i.a % FUTURES];
    c->loop = c->giver;
    error = jd_future_add_done_callback(c->future->future, on_done, c);
    if (error == 0)
        return;
    FUZZ_CHECK_THAT((error == -ENOMEM && !b->p->quiet) || (error == -ESHUTDOWN && b->p->ending),
                    "%d", error);
    callback_refused(c);
}

/* Removes one that was added, if it is not scheduled yet. */
void step_future_forget(struct body *b, struct instruction i)
{
    struct program *p = b->p;
    struct callback_model *cb = p->callback_count ? &p->callbacks[i.a % p->callback_count] : NULL;
    bool before, wait = i.b % 2;
    struct call c;
    int removed;

    if (!cb || cb->kind != CALLBACK_DONE || !cb->given || !cb->future->future)
        return;
    before = cb->ran || cb->prevented;
    cb->removers++;
    c = call_starts(b);
    removed = wait ? jd_future_remove_done_callback_wait(cb->future->future, on_done, cb)
                   : jd_future_remove_done_callback(cb->future->future, on_done, cb);
    cb->removers--;
    if (wait)
        call_ends(&c, removed);
    if (removed == -ECANCELED && wait)
        return;
    FUZZ_CHECK_THAT(removed == 0 || (removed == 1 && !before), "%d", removed);
    if (removed) {
        FUZZ_CHECK(!cb->ran);
        cb->prevented = true;
    } else {
        FUZZ_CHECK(cb->prevented || cb->removers > 0 || cb->future->done);
        FUZZ_CHECK(!wait || cb->prevented || cb->removers > 0 || cb->ran);
    }
}
