/* SPDX-License-Identifier: MIT */
/*
 * Wait: until some of several futures are done. Cancels nothing and reads no outcome.
 *
 * I1  The number and the flags are computed after the wait, so they may hold more than its trigger.
 * I2  A duplicate counts once: the done ones are put into a set, in the space of the nodes.
 *
 * Threads: tasks.
 */
#include <jackdaw/compose.h>

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "base/clock.h"
#include "group/many.h"
#include "sched/wait.h"

/* Open addressing; `mask` + 1 slots, at least twice the entries. True: it was not in it yet. */
static bool set_add(jd_future **set, size_t mask, jd_future *f)
{
    /* Fibonacci hashing: records are aligned, so the low bits say nothing. */
    size_t slot = (size_t)(((uintptr_t)f * UINT64_C(0x9e3779b97f4a7c15)) >> 32) & mask;

    while (set[slot] && set[slot] != f) /* bounded: half of the slots stay free */
        slot = (slot + 1) & mask;
    if (set[slot])
        return false;
    set[slot] = f;
    return true;
}

static int count_done(const struct many *m, struct many_room *room, unsigned char *ret_done)
{
    jd_future **set = room->space->set;
    size_t slots = 2;
    int count = 0;

    while (slots < 2 * m->n)
        slots *= 2;
    memset(set, 0, slots * sizeof(*set));
    for (size_t i = 0; i < m->n; i++) {
        jd_future *f = many_at(m, i);
        bool done = outcome_is_done(&f->outcome);

        if (done)
            count += set_add(set, slots - 1, f);
        if (ret_done)
            ret_done[i] = done;
    }
    return count;
}
_Static_assert(sizeof(struct counter_node) >= 4 * sizeof(jd_future *), "the set fits the nodes");

static int wait_some(const struct many *m, struct many_room *room, struct jd_task *t,
                     enum many_until until, int64_t timeout, unsigned char *ret_done)
{
    int err = 0, count;
    bool met;

    if (timeout > 0)
        err = many_wait(m, room, t, until, clock_after(clock_now(), timeout), WAIT_CANCELLABLE);
    if (err && err != -ETIMEDOUT)
        return err;
    met = many_holds(m, until);
    count = count_done(m, room, ret_done); /* after the look: what made it true is counted */
    return met ? count : 0;
}

static int wait_many(const struct many *m, unsigned when, int64_t timeout, unsigned char *ret_done)
{
    static const enum many_until conditions[] = {
        [JD_ALL_COMPLETED] = MANY_ALL,
        [JD_FIRST_COMPLETED] = MANY_FIRST,
        [JD_FIRST_ERROR] = MANY_FIRST_FAILURE,
    };
    struct many_room room;
    struct jd_task *t;
    int err;

    if (!m->n || m->n > INT_MAX || when >= JD_ARRAY_LEN(conditions) || many_check(m))
        return -EINVAL;
    err = call_begin(WAIT_CANCELLABLE, &t);
    if (err)
        return err;
    if (many_has(m, &t->future))
        return -EDEADLK;
    err = many_room_init(&room, m->n);
    if (err)
        return err;
    err = wait_some(m, &room, t, conditions[when], timeout, ret_done);
    many_room_fini(&room);
    return err;
}

int jd_wait_futures(jd_future *const *futs, size_t n, unsigned when, int64_t timeout,
                    unsigned char *ret_done)
{
    struct many m = { .futs = futs, .n = n };

    return wait_many(&m, when, timeout, ret_done);
}

int jd_wait_tasks(jd_task *const *tasks, size_t n, unsigned when, int64_t timeout,
                  unsigned char *ret_done)
{
    struct many m = { .tasks = tasks, .n = n };

    return wait_many(&m, when, timeout, ret_done);
}
