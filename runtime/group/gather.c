/* SPDX-License-Identifier: MIT */
/*
 * Gather: wait for all of several futures, results in input order.
 *
 * I1  Arguments are checked before anything is done; `ret` is written once, after the last wait.
 * I2  Whose result was asked for has been looked at, also a sibling of the one that failed and that
 *     is still running: its error is not reported as unhandled. A cancelled caller only looked at
 *     those that were done.
 * I3  With JD_GATHER_CANCEL nothing is pending when it returns.
 *
 * Threads: tasks.
 */
#include <jackdaw/compose.h>

#include <errno.h>

#include "base/clock.h"
#include "group/many.h"
#include "sched/wait.h"

#define GATHER_FLAGS (JD_GATHER_COLLECT | JD_GATHER_CANCEL)

/* The first error in input order of those that are done; 0: none. */
static int gather_error(const struct many *m)
{
    for (size_t i = 0; i < m->n; i++) {
        const jd_future *f = many_at(m, i);

        if (outcome_is_done(&f->outcome) && f->result.error)
            return f->result.error;
    }
    return 0;
}

static void gather_results(const struct many *m, jd_result *ret, int err)
{
    for (size_t i = 0; i < m->n; i++) {
        jd_future *f = many_at(m, i);
        bool done = outcome_is_done(&f->outcome);

        if (done || err != -ECANCELED)
            future_mark(f, FUTURE_LOOKED_AT);
        if (ret)
            ret[i] = done ? f->result : jd_err(-EAGAIN);
    }
}

static void gather_cancel(const struct many *m)
{
    for (size_t i = 0; i < m->n; i++)
        (void)jd_future_cancel(many_at(m, i), "jd_gather"); /* done ones stay as they are */
}

/* `cancelled`: the caller was before it waited. */
static int gather_run(const struct many *m, struct many_room *room, struct jd_task *t,
                      unsigned flags, bool cancelled)
{
    enum many_until until = flags & JD_GATHER_COLLECT ? MANY_ALL : MANY_FIRST_ERROR;
    int err = -ECANCELED;

    if (!cancelled)
        err = many_wait(m, room, t, until, CLOCK_FOREVER, WAIT_CANCELLABLE);
    if (!err && !(flags & JD_GATHER_COLLECT))
        err = gather_error(m);
    if (!err || !(flags & JD_GATHER_CANCEL))
        return err;
    gather_cancel(m);
    (void)many_wait(m, room, t, MANY_ALL, CLOCK_FOREVER, 0); /* no cancel, no deadline: it is 0 */
    return gather_error(m) ? err : 0;                        /* all have ended well all the same */
}

static int gather(const struct many *m, jd_result *ret, unsigned flags)
{
    struct many_room room;
    struct jd_task *t;
    int err = flags & ~GATHER_FLAGS ? -EINVAL : 0;

    if (err || !m->n)
        return err;
    err = many_check(m);
    if (err)
        return err;
    err = call_begin(WAIT_CANCELLABLE, &t);
    if (err && err != -ECANCELED)
        return err;
    if (many_has(m, &t->future))
        return -EDEADLK;
    if (many_room_init(&room, m->n))
        return -ENOMEM;
    if (!err || (flags & JD_GATHER_CANCEL))
        err = gather_run(m, &room, t, flags, err != 0);
    gather_results(m, ret, err);
    many_room_fini(&room);
    return err;
}

int jd_gather_futures(jd_future *const *futs, size_t n, jd_result *ret, unsigned flags)
{
    struct many m = { .futs = futs, .n = n };

    return gather(&m, ret, flags);
}

int jd_gather_tasks(jd_task *const *tasks, size_t n, jd_result *ret, unsigned flags)
{
    struct many m = { .tasks = tasks, .n = n };

    return gather(&m, ret, flags);
}
