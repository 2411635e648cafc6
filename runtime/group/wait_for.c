/* SPDX-License-Identifier: MIT */
/*
 * Wait for one thing with a limit, and own its end.
 *
 * I1  When it returns the awaited is done: a timeout or a cancel of the caller cancels it, and its
 *     clean-up is waited for, by a wait that nothing ends.
 * I2  What came all the same is returned: a value, or an error of the unwinding. Only an end that
 *     our cancel caused becomes -ETIMEDOUT or -ECANCELED.
 *
 * Threads: tasks.
 */
#include <jackdaw/compose.h>

#include <errno.h>

#include "base/clock.h"
#include "sched/scope_api.h"
#include "sched/wait.h"

static jd_result outcome_take(jd_future *f)
{
    future_mark(f, FUTURE_LOOKED_AT);
    return f->result;
}

/* `why`: what our caller gets when this ends it. */
static jd_result cancel_and_join(jd_future *f, int why)
{
    bool asked = jd_future_cancel(f, "jd_wait_for") == 0;
    int err = outcome_await(f, CLOCK_FOREVER, /*kind=*/0);
    jd_result outcome;

    if (err)
        return jd_err(err);
    outcome = outcome_take(f);
    /* Relaxed: written before the outcome was published. */
    if (asked && (atom_load(&f->flags, relaxed) & FUTURE_CANCELLED))
        return jd_err(why);
    return outcome;
}

static jd_result wait_for_end(jd_future *f, int64_t timeout)
{
    struct jd_task *t = task_current();
    int err;

    if (!t)
        return jd_err(-EPERM);
    if (f == &t->future)
        return jd_err(-EDEADLK);
    if (outcome_is_done(&f->outcome))
        return outcome_take(f);
    if (timeout <= 0)
        return cancel_and_join(f, -ETIMEDOUT);
    err = outcome_await(f, clock_after(clock_now(), timeout), WAIT_CANCELLABLE);
    if (!err)
        return outcome_take(f);
    return cancel_and_join(f, err);
}

jd_result jd_wait_for_future(jd_future *f, int64_t timeout)
{
    return f ? wait_for_end(f, timeout) : jd_err(-EINVAL);
}

jd_result jd_wait_for_task(jd_task *t, int64_t timeout)
{
    return t ? wait_for_end(&t->future, timeout) : jd_err(-EINVAL);
}

jd_result jd_wait_for_coro(jd_coro c, int64_t timeout)
{
    struct jd_task *t = task_current();
    struct timed_scope limit;
    jd_result outcome;
    int ended;

    if (!c.fn)
        return jd_err(-EINVAL);
    if (!t)
        return jd_err(-EPERM);
    if (timeout <= 0)
        return jd_err(-ETIMEDOUT);
    scope_open_timed(&limit, t, timeout, 0, __builtin_return_address(0));
    outcome = c.fn(c.arg);
    ended = scope_close_timed(&limit);
    JD_ASSERT(ended != -EINVAL); /* the coroutine left a scope or group of its own open */
    /* The scope's own end only: under an outer cancel this is 0 and -ECANCELED stays. */
    return outcome.error == -ECANCELED && ended ? jd_err(ended) : outcome;
}
