/* SPDX-License-Identifier: MIT */
/*
 * Groups: see group.h for the invariants.
 *
 * Cancels need no work here: members' root scopes hang below the group's, which hangs below the
 * opener's current scope. What is decided here is who counts as failed, when the rest is cancelled,
 * and what the close says.
 *
 * Threads: open, close, errors, winner: the opener. Spawn and member_ended: the opener and members,
 * on any worker. Cancel: anyone who knows the group is open.
 */
#include "group/group.h"

#include <errno.h>

#include "base/clock.h"
#include "sched/scope_api.h"
#include "sched/spawn.h"
#include "sched/wait.h"
#include "task/task.h"

static struct group *group_of(jd_group *g)
{
    return (struct group *)(void *)g;
}

/* For readers that must lock: the record is the opener's own and never in read-only memory. */
static struct group *group_of_const(const jd_group *g)
{
    return (struct group *)(uintptr_t)g;
}

void jd_group_open(jd_group *jg, unsigned flags, int64_t timeout)
{
    struct group *g = group_of(jg);
    struct jd_task *t = task_current();

    g->flags = flags;
    spin_init(&g->lock);
    g->live = 0;
    g->error_count = 0;
    g->has_winner = false;
    g->cut_short = false;
    g->closer = NULL;
    g->state = GROUP_OPEN;
    g->rt = t ? task_runtime(t) : NULL;
    if (!t)
        return;
    scope_open_timed(&g->scope, t, timeout, 0, __builtin_return_address(0));
}

/* Lock held, live lowered. Whom the caller makes ready after the unlock, its last access (I2). */
static struct wait_target *group_wake_closer(struct group *g)
{
    struct waiter *node = g->closer;

    if (g->live || !node)
        return NULL;
    g->closer = NULL;
    /* Losing: the close's wait was ended by a cancel; it looks at `live` again. */
    if (word_wake(&node->target->word, node->seq, node->cause) != WAKE_QUEUE)
        return NULL;
    return node->target;
}

/* One member less; nothing of the group may be touched after this. */
static void group_leave(struct group *g)
{
    struct wait_target *target;

    spin_lock(&g->lock);
    JD_ASSERT(g->live > 0);
    g->live--;
    target = group_wake_closer(g);
    spin_unlock(&g->lock);
    if (target)
        wait_target_ready(target);
}

static int group_admit(struct group *g)
{
    int err = 0;

    if (!g->rt || !worker_current())
        return -EPERM;
    spin_lock(&g->lock);
    if (g->state != GROUP_OPEN)
        err = -EPIPE;
    else
        g->live++; /* before the look at the flags: a close cannot end in between */
    spin_unlock(&g->lock);
    if (err || !scope_check(&g->scope.scope))
        return err;
    spin_lock(&g->lock);
    g->cut_short = true;
    spin_unlock(&g->lock);
    group_leave(g);
    return -ECANCELED;
}

int jd_group_spawn_with(jd_group *jg, jd_fn fn, void *arg, const jd_task_options *opt,
                        jd_task **ret_task)
{
    struct group *g = group_of(jg);
    int err;

    if (!g || !fn)
        return -EINVAL;
    err = group_admit(g);
    if (err)
        return err;
    err = sched_spawn(g->rt, fn, arg, opt, &g->scope.scope, g, ret_task);
    if (JD_UNLIKELY(err))
        group_leave(g);
    return err;
}

int jd_group_spawn(jd_group *jg, jd_fn fn, void *arg)
{
    return jd_group_spawn_with(jg, fn, arg, NULL, NULL);
}

/* Lock held. */
static void group_note_error(struct group *g, jd_result result)
{
    if (g->error_count < GROUP_ERRORS_KEPT)
        g->errors[g->error_count] = result;
    g->error_count++;
}

static bool group_error_cancels(const struct group *g)
{
    return !(g->flags & (JD_GROUP_KEEP_GOING | JD_GROUP_FIRST_OK));
}

enum member_end { MEMBER_OK, MEMBER_FAILED, MEMBER_CANCELLED, MEMBER_CUT_SHORT };

/* Someone's -ECANCELED is no failure when he was asked to end, alone or with the group. */
static enum member_end member_judge(struct group *g, struct jd_task *t, jd_result result)
{
    if (JD_LIKELY(!result.error))
        return MEMBER_OK;
    if (result.error != -ECANCELED)
        return MEMBER_FAILED;
    if (scope_is_cancelled(&g->scope.scope))
        return MEMBER_CUT_SHORT;
    /* Relaxed: written by this worker when it published the outcome. */
    return atom_load(&t->future.flags, relaxed) & FUTURE_CANCELLED ? MEMBER_CANCELLED
                                                                   : MEMBER_FAILED;
}

/* The uncommon ends: they leave a note, and may cancel the rest while they count as live (I4). */
static void member_note(struct group *g, enum member_end end, jd_result result)
{
    bool cancel = false;

    spin_lock(&g->lock);
    switch (end) {
    case MEMBER_OK:
        cancel = !g->has_winner;
        if (cancel)
            g->winner = result;
        g->has_winner = true;
        break;
    case MEMBER_FAILED:
        group_note_error(g, result);
        cancel = group_error_cancels(g);
        break;
    case MEMBER_CUT_SHORT:
        g->cut_short = true;
        break;
    case MEMBER_CANCELLED:
        break;
    }
    spin_unlock(&g->lock);
    if (cancel)
        scope_cancel(&g->scope.scope, SCOPE_CANCELLED);
}

void group_member_ended(struct group *g, struct jd_task *t, jd_result result)
{
    enum member_end end = member_judge(g, t, result);

    if (end == MEMBER_FAILED)
        future_mark(&t->future, FUTURE_LOOKED_AT); /* the group carries it from here on */
    if (end != MEMBER_OK || (g->flags & JD_GROUP_FIRST_OK))
        member_note(g, end, result);
    group_leave(g);
}

void jd_group_cancel(jd_group *jg)
{
    struct group *g = group_of(jg);

    if (g && g->rt)
        scope_cancel_timed(&g->scope, SCOPE_CANCELLED);
}

/*
 * Sleeps until all members are gone. A cancellable wait may end before: it tells that the caller, or
 * the group, was cancelled while members lived; the wait for them is then repeated without.
 */
static void group_sleep(struct group *g, struct jd_task *t, unsigned kind)
{
    struct waiter node;
    struct wait w;
    unsigned cause;
    bool empty;

    (void)wait_open(&w, t, kind); /* fails for plain threads only */
    waiter_init(&node, w.target, w.seq);
    spin_lock(&g->lock);
    empty = g->live == 0;
    if (!empty)
        g->closer = &node;
    spin_unlock(&g->lock);
    if (empty)
        (void)word_wake(&t->target.word, w.seq, CAUSE_GRANTED); /* losing: cancelled first */
    cause = wait_sleep(&w, CLOCK_FOREVER);
    spin_lock(&g->lock); /* whoever granted has left the lock, and with it the group (I2) */
    g->closer = NULL;
    if (g->live == 0)
        g->state = GROUP_CLOSED;
    if (cause == CAUSE_CANCELLED && !empty)
        g->cut_short = true; /* also when they all ended since: the cancel came before the end */
    spin_unlock(&g->lock);
    wait_close(&w);
}

static void group_join(struct group *g, struct jd_task *t)
{
    unsigned kind = WAIT_CANCELLABLE;

    spin_lock(&g->lock);
    if (g->live == 0)
        g->state = GROUP_CLOSED;
    spin_unlock(&g->lock);
    /* Bounded: twice at most, the second wait cannot be cancelled. Only we write the state. */
    for (; g->state != GROUP_CLOSED; kind = 0)
        group_sleep(g, t, kind);
}

/* The group's own cancel gives a body -ECANCELED, too: that is no error of the body. */
static void group_note_body(struct group *g, int body_error)
{
    if (body_error >= 0)
        return;
    if (body_error == -ECANCELED && scope_is_cancelled(&g->scope.scope))
        member_note(g, MEMBER_CUT_SHORT, jd_err(body_error));
    else
        member_note(g, MEMBER_FAILED, jd_err(body_error));
}

int jd_group_close_with(jd_group *jg, int body_error)
{
    struct group *g = group_of(jg);
    struct jd_task *t = task_current();
    struct scope *outer;
    int ended;

    if (!g)
        return -EINVAL;
    if (!g->rt)
        return -EPERM;
    if (g->state != GROUP_OPEN)
        return -EINVAL;
    if (!t || t->scope != &g->scope.scope)
        return scope_close_timed(&g->scope); /* it refuses; debug mode names the site */
    outer = g->scope.scope.parent;
    group_note_body(g, body_error);
    group_join(g, t);
    ended = scope_close_timed(&g->scope);
    if (g->has_winner)
        return 0;
    if (g->error_count)
        return g->errors[0].error;
    if (g->cut_short && scope_check(outer))
        return -ECANCELED;
    return ended == -ETIMEDOUT ? ended : 0; /* -ECANCELED: jd_group_cancel(), an early end */
}

bool group_is_expired(const jd_group *jg)
{
    struct group *g = group_of((jd_group *)(uintptr_t)jg); /* only looked at */

    /* Relaxed: whoever asks why has seen the cancel. */
    return (atom_load(&g->scope.scope.flags, relaxed) & SCOPE_EXPIRED) != 0;
}

int jd_group_close(jd_group *jg)
{
    return jd_group_close_with(jg, 0);
}

unsigned jd_group_errors(const jd_group *jg, jd_result *ret, unsigned max)
{
    struct group *g = group_of_const(jg);
    unsigned count;

    if (!g)
        return 0;
    spin_lock(&g->lock); /* members of an open group still add */
    count = g->error_count;
    for (unsigned i = 0; ret && i < max && i < count && i < GROUP_ERRORS_KEPT; i++)
        ret[i] = g->errors[i];
    spin_unlock(&g->lock);
    return count;
}

int jd_group_winner(const jd_group *jg, jd_result *ret)
{
    struct group *g = group_of_const(jg);
    int err = -EAGAIN;

    if (!g || !ret || !(g->flags & JD_GROUP_FIRST_OK))
        return -EINVAL;
    spin_lock(&g->lock);
    if (g->has_winner) {
        *ret = g->winner;
        err = 0;
    }
    spin_unlock(&g->lock);
    return err;
}
