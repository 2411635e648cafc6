/* SPDX-License-Identifier: MIT */
/*
 * Groups, and waits for several tasks. See program.h.
 */
#include <errno.h>
#include <string.h>

#include "program.h"

/* --- Groups ------------------------------------------------------------------------------------ */

/* Its last step: the library counts the result when the function has returned. */
void group_member_ends(struct group_model *g, jd_result r)
{
    g->ended++;
    if (!r.error && g->won++ == 0)
        g->first_win = r.num;
    if (r.error && g->failed++ == 0)
        g->first_error = r.error;
    if (g->flags & JD_GROUP_FIRST_OK ? !r.error : r.error && !(g->flags & JD_GROUP_KEEP_GOING))
        g->limit.may++; /* the rest is cancelled */
}

static bool is_an_error(const struct group_model *g, int error)
{
    jd_result kept[4];
    unsigned count = jd_group_errors(&g->group, kept, 4);

    for (unsigned i = 0; i < count && i < 4; i++)
        if (kept[i].error == error)
            return true;
    return false;
}

/* A cancelled member is no failure, so `failed` may be more than the library counts. */
static void check_errors(const struct group_model *g, int body_error)
{
    unsigned count = jd_group_errors(&g->group, NULL, 0), most = g->failed + (body_error < 0);

    FUZZ_CHECK_THAT(count <= most, "%u errors of %u", count, most);
    FUZZ_CHECK(count > 0 || g->first_error == 0 || g->first_error == -ECANCELED);
}

static void check_group_end(const struct group_model *g, const struct body *b, int ended)
{
    jd_result winner;

    FUZZ_CHECK_THAT(g->started == g->ended, "%u of %u", g->ended, g->started);
    if (g->flags & JD_GROUP_FIRST_OK) {
        int error = jd_group_winner(&g->group, &winner);

        FUZZ_CHECK_THAT((error == 0) == (g->won > 0), "%d", error);
        FUZZ_CHECK(error || ended == 0);
        if (b->p->workers == 1 && error == 0)
            FUZZ_CHECK(winner.num == g->first_win);
        if (error == 0)
            return;
    }
    if (ended == 0) {
        FUZZ_CHECK(jd_group_errors(&g->group, NULL, 0) == 0);
    } else if (jd_group_errors(&g->group, NULL, 0) > 0) {
        FUZZ_CHECK_THAT(is_an_error(g, ended), "%d", ended);
    } else if (ended == -ETIMEDOUT) {
        FUZZ_CHECK(g->limit.earliest <= model_now());
    } else {
        FUZZ_CHECK_THAT(ended == -ECANCELED, "%d", ended);
        FUZZ_CHECK(limit_may_be_cancelled(g->limit.outer));
    }
}

void step_group(struct body *b, struct instruction i)
{
    static const unsigned kinds[] = { 0, JD_GROUP_KEEP_GOING, JD_GROUP_FIRST_OK, 0 };
    struct group_model g = { .outer = b->groups, .flags = kinds[i.a % 4] };
    int64_t before = model_now(), timeout = i.b % 2 ? JD_FOREVER : short_time(i.b);
    int body_error = i.a & 8 ? -EBADMSG : 0, ended;

    if (b->nest > NEST_MAX)
        return;
    g.limit.group = &g.group;
    jd_group_open(&g.group, g.flags, timeout);
    limit_open(b, &g.limit, before, timeout);
    b->groups = &g;
    body_block(b);
    b->groups = g.outer;
    if (body_error && !(g.flags & (JD_GROUP_KEEP_GOING | JD_GROUP_FIRST_OK)))
        g.limit.may++;
    ended = jd_group_close_with(&g.group, body_error);
    limit_close(b, &g.limit);
    check_group_end(&g, b, ended);
    check_errors(&g, body_error);
}

void step_group_spawn(struct body *b, struct instruction i)
{
    struct group_model *g = b->groups ? b->groups : b->member_of;
    jd_task_options opt = JD_TASK_OPTIONS_INIT;
    struct body *child = g ? body_new(b, i.b, &g->limit) : NULL;
    bool must;
    int error;

    if (!child)
        return;
    child->is_task = true;
    child->member_of = g;
    opt.flags = i.a & 64 ? JD_TASK_EAGER : 0;
    g->started++;
    must = g->limit.must > 0 || g->limit.latest <= model_now();
    error = opt.flags ? jd_group_spawn_with(&g->group, body_run, child, &opt, NULL)
                      : jd_group_spawn(&g->group, body_run, child);
    FUZZ_CHECK(!must || error);
    if (error == 0)
        return;
    g->started--;
    body_drop(child);
    switch (error) {
    case -ECANCELED:
        FUZZ_CHECK(limit_may_be_cancelled(&g->limit));
        break;
    case -ENOMEM:
        FUZZ_CHECK(!b->p->quiet);
        break;
    case -ESHUTDOWN:
        FUZZ_CHECK(b->p->ending);
        break;
    default:
        FUZZ_CHECK_THAT(false, "%d", error);
    }
}

void step_group_cancel(struct body *b, struct instruction i)
{
    struct group_model *g = b->groups ? b->groups : b->member_of;

    (void)i;
    if (!g)
        return;
    g->limit.may++;
    jd_group_cancel(&g->group);
    g->limit.must++;
}

/* --- Several ----------------------------------------------------------------------------------- */

struct several {
    jd_task *tasks[2 * SLOTS];
    struct body *bodies[2 * SLOTS];
    unsigned n;
};

/* Those in the slots that the bits of `which` name; the upper bits name them once more. */
static void choose(const struct body *b, uint8_t which, struct several *ret)
{
    ret->n = 0;
    for (unsigned bit = 0; bit < 2 * SLOTS; bit++) {
        if (!(which & 1u << bit) || !b->slots[bit % SLOTS])
            continue;
        ret->tasks[ret->n] = b->slots[bit % SLOTS];
        ret->bodies[ret->n++] = b->slot_bodies[bit % SLOTS];
    }
}

static void check_gathered(const struct several *s, const jd_result *results, int error,
                           unsigned flags)
{
    bool told = error == 0;

    for (unsigned i = 0; i < s->n; i++) {
        const struct body *child = s->bodies[i];

        if (results[i].error != -EAGAIN)
            body_check_result(child, results[i]);
        else
            FUZZ_CHECK(error && !(flags & JD_GATHER_CANCEL));
        FUZZ_CHECK(error || (flags & JD_GATHER_COLLECT) || results[i].error == 0);
        told |= child->ended && child->result.error == error;
    }
    FUZZ_CHECK_THAT(told || error == -ECANCELED || error == -ENOMEM, "%d", error);
}

void step_gather(struct body *b, struct instruction i)
{
    static const unsigned kinds[] = { 0, JD_GATHER_COLLECT, JD_GATHER_CANCEL,
                                      JD_GATHER_COLLECT | JD_GATHER_CANCEL };
    unsigned flags = kinds[i.b % 4];
    jd_result results[2 * SLOTS];
    struct several s;
    int error;

    choose(b, i.a, &s);
    if (s.n == 0)
        return;
    memset(results, 0x55, sizeof(results));
    for (unsigned n = 0; n < s.n && (flags & JD_GATHER_CANCEL); n++) {
        s.bodies[n]->owner = b;
        s.bodies[n]->root.may++; /* another one's error ends it */
    }
    error = jd_gather(s.tasks, s.n, results, flags);
    for (unsigned n = 0; n < s.n; n++)
        s.bodies[n]->owner = NULL;
    FUZZ_CHECK(error != -ENOMEM || !b->p->quiet);
    if (error == -ENOMEM)
        return; /* nothing was done */
    if (error == -ECANCELED) {
        bool from_one = false;

        for (unsigned n = 0; n < s.n; n++)
            from_one |= s.bodies[n]->ended && s.bodies[n]->result.error == -ECANCELED;
        FUZZ_CHECK(from_one || may_be_cancelled(b));
    }
    check_gathered(&s, results, error, flags);
}

/* Is the condition met, as far as the functions have returned? */
static bool is_met(const struct several *s, unsigned when)
{
    unsigned ended = 0;

    for (unsigned i = 0; i < s->n; i++) {
        const struct body *child = s->bodies[i];

        if (!child->ended)
            continue;
        ended++;
        if (when == JD_FIRST_COMPLETED || (when == JD_FIRST_ERROR && child->result.error))
            return true;
    }
    return ended == s->n;
}

/* Since when, for those conditions that are about ends alone. */
static int64_t met_since(const struct several *s, unsigned when)
{
    int64_t first = JD_FOREVER, last = 0;

    for (unsigned i = 0; i < s->n; i++) {
        int64_t each = s->bodies[i]->ended ? s->bodies[i]->ended_at : JD_FOREVER;

        first = each < first ? each : first;
        last = each > last ? each : last;
    }
    return when == JD_FIRST_COMPLETED ? first : last;
}

static unsigned count_told(const struct several *s, const unsigned char *done)
{
    unsigned count = 0;

    for (unsigned i = 0; i < s->n; i++) {
        bool again = false;

        FUZZ_CHECK(done[i] <= 1);
        FUZZ_CHECK(!done[i] || s->bodies[i]->ended);
        for (unsigned j = 0; j < i; j++)
            again |= s->bodies[j] == s->bodies[i];
        count += done[i] && !again;
    }
    return count;
}

void step_wait(struct body *b, struct instruction i)
{
    unsigned when = i.b % 3;
    int64_t timeout = i.b & 4 ? LONG : short_time(i.b);
    unsigned char done[2 * SLOTS];
    struct several s;
    struct call c;
    int ended;

    choose(b, i.a, &s);
    if (s.n == 0)
        return;
    memset(done, 0x55, sizeof(done));
    c = call_starts(b);
    ended = jd_wait(s.tasks, s.n, when, timeout, done);
    call_ends(&c, ended);
    FUZZ_CHECK_THAT(ended >= 0 || ended == -ECANCELED || (ended == -ENOMEM && !b->p->quiet), "%d",
                    ended);
    if (ended < 0)
        return;
    FUZZ_CHECK(ended == 0 || (unsigned)ended == count_told(&s, done));
    FUZZ_CHECK(ended == 0 || is_met(&s, when));
    FUZZ_CHECK(ended > 0 || model_now() >= c.began + timeout);
    check_soon(met_since(&s, when), c.began);
    if (timeout < LONG)
        check_soon(c.began + timeout, c.began);
}

/* --- One with a limit -------------------------------------------------------------------------- */

/* Its outcome, or what ended it. */
static void check_ended(const struct body *b, const struct body *child, jd_result r,
                        int64_t deadline)
{
    FUZZ_CHECK(child->ended);
    if (r.error == child->result.error && (r.error || r.num == child->result.num))
        return;
    FUZZ_CHECK_THAT(child->result.error == -ECANCELED, "%d, not %d", r.error, child->result.error);
    if (r.error == -ETIMEDOUT)
        FUZZ_CHECK(deadline <= model_now());
    else
        FUZZ_CHECK_THAT(r.error == -ECANCELED && may_be_cancelled(b), "%d", r.error);
}

void step_wait_for(struct body *b, struct instruction i)
{
    int64_t timeout = i.a == 255 ? JD_FOREVER : short_time(i.a), began = model_now();
    struct limit l = { .scope = NULL };
    struct body *child;
    jd_result r;

    limit_open(b, &l, began, timeout);
    l.latest = JD_FOREVER; /* opened by the call, a little later */
    child = body_new(b, i.b, &l);
    if (child) {
        r = jd_wait_for(jd_coro_of(body_run, child), timeout);
        if (timeout <= 0 || !child->started) {
            FUZZ_CHECK(timeout <= 0 && r.error == -ETIMEDOUT);
            body_drop(child);
        } else {
            check_ended(b, child, r, l.earliest);
        }
    }
    limit_close(b, &l);
}

void step_wait_for_task(struct body *b, struct instruction i)
{
    int64_t timeout = short_time(i.b), began = model_now();
    jd_task *t = b->slots[i.a % SLOTS];
    struct body *child = b->slot_bodies[i.a % SLOTS];
    jd_result r;

    if (!t)
        return;
    child->owner = b;
    child->root.may++; /* by the timeout */
    r = i.a & 8 ? jd_wait_for(jd_task_future(t), timeout) : jd_wait_for(t, timeout);
    child->owner = NULL;
    check_ended(b, child, r, began + timeout);
    check_soon(child->ended_at, began);
}
