/* SPDX-License-Identifier: MIT */
/*
 * The public face of futures: making, setting, looking, awaiting.
 */
#include <errno.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "sched/spawn.h"
#include "sched/wait.h"

int jd_future_new(jd_runtime *rt, jd_future **ret)
{
    struct worker *w = worker_current();
    jd_future *f;

    if (!ret)
        return -EINVAL;
    if (!rt && !w)
        return -EPERM;
    f = mem_alloc(sizeof(*f));
    if (!f)
        return -ENOMEM;
    if (!rt)
        rt = w->rt;
    runtime_stub_ref(rt->stub);
    future_init(f, rt->stub, 1, 0);
    *ret = f;
    return 0;
}

jd_future *jd_future_ref(jd_future *f)
{
    if (f)
        future_ref(f);
    return f;
}

void jd_future_unref(jd_future *f)
{
    if (f)
        future_unref(f);
}

int jd_future_set(jd_future *f, jd_result r)
{
    if (!f)
        return -EINVAL;
    if (r.error > 0)
        return -EINVAL;
    if (future_is_task(f))
        return -EPERM;
    return future_complete(f, r, 0) ? 0 : -EALREADY;
}

int jd_future_cancel(jd_future *f, const char *reason)
{
    const char *none = NULL;

    if (!f)
        return -EINVAL;
    if (future_is_task(f))
        return jd_task_cancel(task_of_future(f), reason);
    if (outcome_is_done(&f->outcome))
        return -EALREADY;
    if (reason) /* [REASON-1] Release, pairs with the acquire of readers. The first one stays. */
        (void)atom_cas(&f->reason, &none, reason, release, relaxed);
    return future_complete(f, jd_err(-ECANCELED), FUTURE_CANCELLED) ? 0 : -EALREADY;
}

int jd_future_done(const jd_future *f)
{
    return f && outcome_is_done(&f->outcome);
}

int jd_future_cancelled(const jd_future *f)
{
    /* Relaxed: published by DONE. */
    return jd_future_done(f) && (atom_load(&f->flags, relaxed) & FUTURE_CANCELLED) != 0;
}

int jd_future_result(jd_future *f, jd_result *ret)
{
    if (!f || !ret)
        return -EINVAL;
    if (!outcome_is_done(&f->outcome))
        return -EAGAIN;
    *ret = f->result;
    if (JD_UNLIKELY(ret->error))
        future_mark(f, FUTURE_LOOKED_AT);
    return 0;
}

const char *jd_future_cancel_reason(const jd_future *f)
{
    /* A future whose cancel lost the race has none; a task has it from the request on. */
    if (!f || !(future_is_task(f) || jd_future_cancelled(f)))
        return NULL;
    return atom_load(&f->reason, acquire); /* [REASON-1] */
}

jd_runtime *jd_future_runtime(const jd_future *f)
{
    jd_runtime *rt;

    if (!f)
        return NULL;
    spin_lock(&f->stub->lock);
    rt = f->stub->rt;
    spin_unlock(&f->stub->lock);
    return rt;
}

int jd_future_wait(jd_future *f, int64_t timeout)
{
    if (!f)
        return -EINVAL;
    return outcome_await(f, clock_after(timeout == CLOCK_FOREVER ? 0 : clock_now(), timeout),
                         WAIT_CANCELLABLE | WAIT_THREADS);
}

int jd_await_outcome_future(jd_future *f, jd_result *ret)
{
    int err;

    if (!f || !ret)
        return -EINVAL;
    err = outcome_await(f, CLOCK_FOREVER, WAIT_CANCELLABLE | WAIT_THREADS);
    if (err)
        return err;
    *ret = f->result;
    if (JD_UNLIKELY(ret->error))
        future_mark(f, FUTURE_LOOKED_AT);
    return 0;
}

jd_result jd_await_future(jd_future *f)
{
    jd_result r;
    int err = jd_await_outcome_future(f, &r);

    return err ? jd_err(err) : r;
}

int jd_await_outcome_task(jd_task *t, jd_result *ret)
{
    return jd_await_outcome_future(t ? &t->future : NULL, ret);
}

jd_result jd_await_task(jd_task *t)
{
    return jd_await_future(t ? &t->future : NULL);
}

/* A named coroutine runs at once, as a part of the caller. */
int jd_await_outcome_coro(jd_coro c, jd_result *ret)
{
    struct jd_task *task;
    int err;

    if (!c.fn || !ret)
        return -EINVAL;
    err = call_begin(WAIT_CANCELLABLE | WAIT_THREADS, &task);
    if (err)
        return err;
    *ret = c.fn(c.arg);
    return 0;
}

jd_result jd_await_coro(jd_coro c)
{
    jd_result r;
    int err = jd_await_outcome_coro(c, &r);

    return err ? jd_err(err) : r;
}

jd_future *jd_ensure_from_future(jd_future *f)
{
    return worker_current() ? jd_future_ref(f) : NULL;
}

jd_future *jd_ensure_from_task(jd_task *t)
{
    return t && worker_current() ? jd_future_ref(&t->future) : NULL;
}

jd_future *jd_ensure_from_coro(jd_coro c)
{
    jd_task *t = jd_spawn(c.fn, c.arg);

    return t ? &t->future : NULL;
}
