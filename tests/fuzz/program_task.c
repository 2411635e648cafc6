/* SPDX-License-Identifier: MIT */
/*
 * Tasks, forks and calls in the same frame. See program.h.
 */
#include <errno.h>

#include "program.h"

/* --- Slots ------------------------------------------------------------------------------------- */

static jd_task *slot(const struct body *b, struct instruction i, struct body **ret)
{
    *ret = b->slot_bodies[i.a % SLOTS];
    return b->slots[i.a % SLOTS];
}

static jd_task *slot_take(struct body *b, struct instruction i, struct body **ret)
{
    jd_task *t = slot(b, i, ret);

    b->slots[i.a % SLOTS] = NULL;
    b->slot_bodies[i.a % SLOTS] = NULL;
    return t;
}

void step_spawn(struct body *b, struct instruction i)
{
    jd_task_options opt = JD_TASK_OPTIONS_INIT;
    struct body *child, *old;
    jd_task *t;

    if (slot(b, i, &old))
        return;
    child = body_new(b, i.b, NULL);
    if (!child)
        return;
    child->is_task = true;
    opt.flags = (i.a & 32 ? JD_TASK_PINNED : 0) | (i.a & 64 ? JD_TASK_EAGER : 0);
    t = opt.flags ? jd_spawn_with(body_run, child, &opt) : jd_spawn(body_run, child);
    if (!t) {
        FUZZ_CHECK(!b->p->quiet || b->p->ending);
        body_drop(child);
        return;
    }
    FUZZ_CHECK(!child->started || (opt.flags & JD_TASK_EAGER));
    b->slots[i.a % SLOTS] = t;
    b->slot_bodies[i.a % SLOTS] = child;
}

void step_join(struct body *b, struct instruction i)
{
    struct body *child;
    jd_task *t = slot_take(b, i, &child);
    int64_t began = model_now();

    if (!t)
        return;
    child->owner = b;
    body_check_result(child, jd_join(t));
    child->owner = NULL;
    check_soon(child->ended_at, began);
}

void step_await(struct body *b, struct instruction i)
{
    struct body *child;
    jd_task *t = slot(b, i, &child);
    struct call c = call_starts(b);
    jd_result r = { .error = 1 };
    int error;

    if (!t)
        return;
    if (i.b % 4 == 0) {
        r = jd_await(t);
        FUZZ_CHECK(r.error == -ECANCELED || child->ended);
        return;
    }
    error = jd_await_outcome(t, &r);
    call_ends(&c, error);
    if (error) {
        FUZZ_CHECK_THAT(error == -ECANCELED && r.error == 1, "%d", error);
        return;
    }
    body_check_result(child, r);
    check_soon(child->ended_at, c.began);
}

/* Ended: its function has returned; the library knows that a little later. */
static void check_cancel(const struct body *child, int error, bool ended_before, int64_t ended_at)
{
    FUZZ_CHECK_THAT(error == 0 || error == -EALREADY, "%d", error);
    if (error == -EALREADY)
        FUZZ_CHECK(child->ended);
    else
        FUZZ_CHECK(!ended_before || model_now() - ended_at <= SOON);
}

void step_cancel(struct body *b, struct instruction i)
{
    struct body *child;
    jd_task *t = slot(b, i, &child);
    int error;

    if (!t)
        return;
    child->root.may++;
    error = jd_task_cancel(t, "fuzz");
    check_cancel(child, error, child->ended, child->ended_at);
    child->root.must += error == 0;
    FUZZ_CHECK(error || jd_task_cancelling(t) > 0);
}

void step_cancel_wait(struct body *b, struct instruction i)
{
    struct body *child;
    jd_task *t = slot(b, i, &child);
    bool ended_before = child && child->ended;
    struct call c = call_starts(b);
    int error;

    if (!t)
        return;
    child->root.may++;
    error = jd_task_cancel_wait(t, "fuzz");
    call_ends(&c, error);
    if (error == -ECANCELED)
        return;
    check_cancel(child, error, ended_before, child->ended_at);
    FUZZ_CHECK(child->ended);
    check_soon(child->ended_at, c.began);
}

/* The task goes on by itself. */
void step_drop(struct body *b, struct instruction i)
{
    struct body *child;
    jd_task *t = slot_take(b, i, &child);

    jd_task_unref(t);
}

/* --- Without a task of its own ----------------------------------------------------------------- */

void step_fork(struct body *b, struct instruction i)
{
    struct body *child;
    int64_t began;
    jd_fork f;

    if (b->nest > NEST_MAX)
        return;
    child = body_new(b, i.b, b->limit);
    if (!child)
        return;
    jd_fork_start(&f, body_run, child);
    body_block(b);
    began = model_now();
    child->owner = b;
    body_check_result(child, jd_fork_join(&f));
    child->owner = NULL;
    check_soon(child->ended_at, began);
}

void step_call(struct body *b, struct instruction i)
{
    struct body *child = body_new(b, i.b, b->limit);
    struct call c = call_starts(b);
    jd_result r = { .error = 1 };
    int error;

    if (!child)
        return;
    error = jd_await_outcome(jd_coro_of(body_run, child), &r);
    call_ends(&c, error);
    if (error) {
        FUZZ_CHECK_THAT(error == -ECANCELED && r.error == 1, "%d", error);
        body_drop(child);
        return;
    }
    body_check_result(child, r);
}
