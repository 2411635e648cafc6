/* SPDX-License-Identifier: MIT */
/*
 * Scopes and their model: who may be cancelled, and who must be. See program.h.
 *
 * A walk goes outwards from the innermost scope and ends at a shield; the shield's own cancel and
 * deadline count. At the outermost scope of a body comes also whoever waits for it in a call that
 * passes a cancel on.
 */
#include <errno.h>

#include "program.h"

static bool owner_may_be_cancelled(const struct limit *l)
{
    const struct body *b = l->root_of;

    return b && (b->p->ending || (b->owner && may_be_cancelled(b->owner)));
}

static bool is_dead(const struct limit *l, int64_t now)
{
    return l->may > 0 || l->earliest <= now || owner_may_be_cancelled(l);
}

bool limit_may_be_cancelled(const struct limit *l)
{
    int64_t now = model_now();

    for (; l; l = l->shield ? NULL : l->outer)
        if (is_dead(l, now))
            return true;
    return false;
}

bool may_be_cancelled(const struct body *b)
{
    return limit_may_be_cancelled(b->limit);
}

bool must_be_cancelled(const struct body *b)
{
    int64_t now = model_now();

    for (const struct limit *l = b->limit; l; l = l->shield ? NULL : l->outer)
        if (l->must > 0 || l->latest <= now)
            return true;
    return false;
}

static int64_t after(int64_t now, int64_t timeout)
{
    if (timeout <= 0)
        return now;
    return timeout >= JD_FOREVER - now ? JD_FOREVER : now + timeout;
}

void limit_open(struct body *b, struct limit *l, int64_t before, int64_t timeout)
{
    l->outer = b->limit;
    l->earliest = after(before, timeout);
    l->latest = after(model_now(), timeout);
    b->limit = l;
}

void limit_close(struct body *b, struct limit *l)
{
    FUZZ_CHECK(b->limit == l);
    b->limit = l->outer;
}

struct call call_starts(struct body *b)
{
    return (struct call){ b, must_be_cancelled(b), model_now() };
}

/* A call has failed: if only one scope can have been the cause, its close must say so. */
static void blame(const struct body *b)
{
    struct limit *only = NULL;
    int64_t now = model_now();

    for (struct limit *l = b->limit; l; l = l->shield ? NULL : l->outer) {
        if (!is_dead(l, now))
            continue;
        if (only)
            return;
        only = l;
    }
    FUZZ_CHECK(only != NULL);
    only->blamed = true;
}

void call_ends(const struct call *c, int error)
{
    FUZZ_CHECK_THAT(!c->must || error == -ECANCELED, "%d in a cancelled scope", error);
    if (error != -ECANCELED)
        return;
    FUZZ_CHECK_THAT(may_be_cancelled(c->b), "nobody cancelled it");
    blame(c->b);
}

/* --- Calls that only wait --------------------------------------------------------------------- */

void step_yield(struct body *b, struct instruction i)
{
    struct call c = call_starts(b);
    int error = jd_yield();

    (void)i;
    FUZZ_CHECK_THAT(error == 0 || error == -ECANCELED, "%d", error);
    call_ends(&c, error);
    check_soon(c.began, c.began);
}

void step_checkpoint(struct body *b, struct instruction i)
{
    struct call c = call_starts(b);
    int error = jd_checkpoint();

    (void)i;
    FUZZ_CHECK_THAT(error == 0 || error == -ECANCELED, "%d", error);
    call_ends(&c, error);
}

void step_sleep(struct body *b, struct instruction i)
{
    int64_t d = short_time(i.a);
    struct call c = call_starts(b);
    int error = i.b % 2 ? jd_sleep(d) : jd_sleep_until(c.began + d);

    FUZZ_CHECK_THAT(error == 0 || error == -ECANCELED, "%d", error);
    call_ends(&c, error);
    if (error)
        return;
    FUZZ_CHECK(model_now() >= c.began + d);
    check_soon(c.began + d, c.began);
}

/* --- Scopes ---------------------------------------------------------------------------------- */

/* The latest that it can be: of the scopes around. */
static int64_t deadline_latest(const struct limit *l)
{
    int64_t least = JD_FOREVER;

    for (; l; l = l->shield ? NULL : l->outer)
        least = l->latest < least ? l->latest : least;
    return least;
}

/* The earliest: a task that runs in the frame of its joiner is under his deadlines, too. */
static int64_t deadline_earliest(const struct limit *l)
{
    int64_t least = JD_FOREVER, owner;

    for (; l; l = l->shield ? NULL : l->outer) {
        least = l->earliest < least ? l->earliest : least;
        owner = l->root_of && l->root_of->owner ? deadline_earliest(l->root_of->owner->limit)
                                                : JD_FOREVER;
        least = owner < least ? owner : least;
    }
    return least;
}

static void check_deadline(const struct body *b)
{
    int64_t told = jd_deadline(), low = deadline_earliest(b->limit);
    int64_t high = deadline_latest(b->limit);

    FUZZ_CHECK_THAT(told >= low && told <= high, "%ld, not in %ld..%ld", (long)told, (long)low,
                    (long)high);
}

/* What ended it can have done so. */
static void check_end(const struct limit *l, int error)
{
    switch (error) {
    case -ETIMEDOUT:
        FUZZ_CHECK(l->earliest <= model_now());
        break;
    case -ECANCELED:
        FUZZ_CHECK(l->may > 0);
        break;
    default:
        FUZZ_CHECK_THAT(false, "%d", error);
    }
}

static void check_close(const struct limit *l, int ended)
{
    if (ended)
        check_end(l, ended);
    else
        FUZZ_CHECK_THAT(!l->blamed, "it made a call fail");
}

static void scope_block(struct body *b, bool shield, int64_t timeout, bool close_with)
{
    jd_scope s;
    struct limit l = { .scope = &s, .shield = shield };
    int64_t before = model_now();
    ssize_t body;
    int ended;

    if (shield)
        jd_scope_open_shielded(&s, timeout);
    else
        jd_scope_open(&s, timeout);
    limit_open(b, &l, before, timeout);
    check_deadline(b);
    body_block(b);
    if (close_with) {
        body = l.blamed ? -ECANCELED : 7;
        ended = (int)jd_scope_close_with(&s, body);
        FUZZ_CHECK_THAT(body < 0 || ended == 7, "%d", ended);
        ended = body < 0 ? ended : 0;
    } else {
        ended = jd_scope_close(&s);
    }
    limit_close(b, &l);
    if (!close_with || l.blamed)
        check_close(&l, ended);
}

void step_scope(struct body *b, struct instruction i)
{
    scope_block(b, false, i.a == 255 ? JD_FOREVER : short_time(i.a), i.b % 4 == 0);
}

/* Short: what is shielded holds up the end of the runtime. */
void step_shield(struct body *b, struct instruction i)
{
    scope_block(b, true, short_time(i.a), i.b % 4 == 0);
}

/* One of the scopes and groups around the body, its spawner's included: they are open. */
void step_scope_cancel(struct body *b, struct instruction i)
{
    struct limit *l = b->limit;

    for (unsigned n = i.a % 4; l && n > 0; n--)
        l = l->outer;
    if (!l || (!l->scope && !l->group))
        return;
    l->may++;
    if (l->scope)
        jd_scope_cancel(l->scope);
    else
        jd_group_cancel(l->group);
    l->must++;
}

void step_set_deadline(struct body *b, struct instruction i)
{
    struct limit *l = b->limit;
    int64_t when = model_now() + short_time(i.a) - (i.b % 4 == 0 ? JD_MS(1) : 0);
    int error;

    if (!l->scope || l->root_of)
        return;
    error = jd_scope_set_deadline(l->scope, when);
    if (error) {
        check_end(l, error);
    } else {
        FUZZ_CHECK(l->must == 0);
        l->earliest = l->latest = when < 0 ? 0 : when;
    }
    check_deadline(b);
}

/* Cancels its own task, and takes it back. */
void step_cancel_self(struct body *b, struct instruction i)
{
    jd_task *self = jd_task_current();
    int before = jd_task_cancelling(self), left;
    struct call c;

    if (!b->is_task)
        return;
    FUZZ_CHECK(jd_task_cancel(self, "itself") == 0);
    FUZZ_CHECK(jd_task_cancelling(self) == before + 1);
    b->root.may++; /* for good: those below may have seen it */
    b->root.must++;
    c = call_starts(b);
    if (i.a % 2)
        call_ends(&c, jd_yield());
    left = jd_task_uncancel(self);
    b->root.must--;
    FUZZ_CHECK_THAT(left >= before, "%d, %d", left, before);
}
