/* SPDX-License-Identifier: MIT */
#ifndef ATTEMPT_RIG_H
#define ATTEMPT_RIG_H

/*
 * A world around one batch whose items may be tried several times. A script says how each attempt
 * ends; each result that an attempt returns carries a token.
 *
 * I1  Each pulled item ends exactly once, in the consumer, and no attempt of it runs then.
 * I2  Tokens are conserved: each comes out of exactly one of sink, abandon and discard.
 * I3  The attempts of an item are numbered 0, 1, ...
 * I4  A clock is named only with what it ends in: -ETIMEDOUT, or, of the whole batch, -ECANCELED.
 */
#include "jd_test.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include <jackdaw/jackdaw.h>

#include "base/fault.h"

#define PLAY_ITEMS 4096

struct play;

struct actor {
    int index;
    atomic_int attempts, running, hedges;
    int ended, discarded;
    bool abandoned;
    jd_result end;
    int64_t pulled_at, ended_at;
    int64_t called_at[16]; /* of the first attempts */
};

struct play {
    int items, next;
    /* How this attempt ends; it may suspend. NULL: well. */
    int (*script)(struct play *p, struct actor *a, unsigned attempt);
    int classified; /* what classify says, and how often it was asked */
    int64_t after;
    atomic_int asked;
    jd_task *consumer;
    atomic_int running, running_max, tokens;
    int ok, failed, abandoned, sunk;
    uint64_t sleeping_max;
    void (*on_end)(struct play *p, struct actor *a);
    int (*on_pull)(struct play *p);
    int64_t start;
    void *more;
    struct actor actors[PLAY_ITEMS];
};

static int play_source(void *ctx, void **ret_item)
{
    struct play *p = ctx;
    struct actor *a = &p->actors[p->next];
    int err = p->on_pull ? p->on_pull(p) : 0;

    if (err < 0)
        return err;
    cr_assert_eq(jd_task_current(), p->consumer);
    if (p->next == p->items)
        return 0;
    a->index = p->next++;
    a->pulled_at = jd_now();
    *ret_item = a;
    return 1;
}

static jd_result play_call(void *item, void *ctx)
{
    struct play *p = ctx;
    struct actor *a = item;
    unsigned attempt = jd_call_attempt();
    int now = atomic_fetch_add(&p->running, 1) + 1, max = atomic_load(&p->running_max), err;

    while (now > max && !atomic_compare_exchange_weak(&p->running_max, &max, now))
        ;
    atomic_fetch_add(&a->running, 1);
    cr_assert_neq(jd_task_current(), p->consumer);
    cr_assert_eq(a->ended, 0);
    if (jd_call_is_hedge()) {
        atomic_fetch_add(&a->hedges, 1);
    } else {
        cr_assert_eq(atomic_fetch_add(&a->attempts, 1), (int)attempt);
        if (attempt < 16)
            a->called_at[attempt] = jd_now();
    }
    err = p->script ? p->script(p, a, attempt) : 0;
    atomic_fetch_sub(&a->running, 1);
    atomic_fetch_sub(&p->running, 1);
    atomic_fetch_add(&p->tokens, 1);
    return (jd_result){ .error = err, .num = a->index + 1 };
}

static void play_take(struct play *p, struct actor *a, jd_result r)
{
    cr_assert_eq(jd_task_current(), p->consumer);
    if (r.num == 0)
        return; /* no attempt's */
    cr_assert_eq(r.num, a->index + 1);
    atomic_fetch_sub(&p->tokens, 1);
}

static void play_end(struct play *p, struct actor *a, jd_result r)
{
    play_take(p, a, r);
    cr_assert_eq(a->ended++, 0);
    cr_assert_eq(atomic_load(&a->running), 0);
    if (jd_batch_clock() != JD_CLOCK_NONE)
        cr_assert_eq(r.error, jd_batch_clock() == JD_CLOCK_TOTAL ? -ECANCELED : -ETIMEDOUT);
    a->end = r;
    a->ended_at = jd_now();
    if (p->on_end)
        p->on_end(p, a);
}

static int play_sink(void *item, jd_result r, void *ctx)
{
    struct play *p = ctx;

    p->sunk++;
    if (r.error)
        p->failed++;
    else
        p->ok++;
    play_end(p, item, r);
    return 0;
}

static void play_abandon(void *item, jd_result r, void *ctx)
{
    struct play *p = ctx;

    ((struct actor *)item)->abandoned = true;
    p->abandoned++;
    play_end(p, item, r);
}

static void play_discard(void *item, jd_result r, void *ctx)
{
    cr_assert_eq(((struct actor *)item)->ended, 0);
    ((struct actor *)item)->discarded++;
    cr_assert_neq(r.num, 0);
    play_take(ctx, item, r);
}

__attribute__((unused)) static int play_classify(void *item, jd_result r, int64_t *ret_after,
                                                 void *ctx)
{
    struct play *p = ctx;

    cr_assert_neq(r.error, 0);
    cr_assert(r.num == ((struct actor *)item)->index + 1);
    cr_assert_eq(*ret_after, -1);
    atomic_fetch_add(&p->asked, 1);
    *ret_after = p->after;
    return p->classified;
}

static void play_progress(const jd_batch_stats *s, void *ctx)
{
    struct play *p = ctx;

    if (s->sleeping > p->sleeping_max)
        p->sleeping_max = s->sleeping;
}

static jd_batch_options play_options(struct play *p, unsigned limit)
{
    jd_batch_options o = JD_BATCH_OPTIONS_INIT;

    o.limit = limit;
    o.errors_max = JD_ALL;
    o.discard = play_discard;
    o.abandon = play_abandon;
    o.progress = play_progress;
    o.ctx = p;
    return o;
}

/* What must hold however it ended. */
static void play_check(struct play *p, const jd_batch_options *o, const jd_batch_stats *s)
{
    cr_assert_eq(s->pulled, (uint64_t)p->next);
    cr_assert_eq(s->pulled, s->ok + s->failed + s->cancelled + s->abandoned);
    cr_assert_eq(s->ok, (uint64_t)p->ok);
    cr_assert_eq(s->failed, (uint64_t)p->failed);
    cr_assert_eq(s->cancelled + s->abandoned, (uint64_t)p->abandoned);
    cr_assert_eq(s->in_flight, 0);
    cr_assert_eq(s->sleeping, 0);
    cr_assert_eq(s->waiting, 0);
    cr_assert_eq(atomic_load(&p->running), 0);
    cr_assert_eq(atomic_load(&p->tokens), 0);
    cr_assert_leq((unsigned)atomic_load(&p->running_max), o->limit);
    for (int i = 0; i < p->next; i++)
        cr_assert_eq(p->actors[i].ended, 1, "item %d", i);
}

__attribute__((unused)) static int play_run(struct play *p, const jd_batch_options *o,
                                            jd_batch_stats *ret)
{
    jd_batch_stats s = JD_BATCH_STATS_INIT;
    int err;

    p->consumer = jd_task_current();
    p->start = jd_now();
    err = jd_batch_run(play_source, play_call, play_sink, o, &s);
    play_check(p, o, &s);
    if (ret)
        *ret = s;
    return err;
}

/* The same while one allocation fails, the one that comes after `visit` others. */
__attribute__((unused)) static int play_run_short(struct play *p, const jd_batch_options *o,
                                                  uint64_t visit)
{
    int err;

    fault_arm(FAULT_ALLOC, visit, 1);
    err = play_run(p, o, NULL);
    fault_arm(FAULT_ALLOC, 0, 0);
    cr_assert(err == 0 || err == -ENOMEM, "visit %d: %d", (int)visit, err);
    return err;
}

/* A batch in a task of its own, which the test may cancel. */
struct play_apart {
    struct play *p;
    jd_batch_options o;
    int err;
};

__attribute__((unused)) static jd_result play_run_apart(void *arg)
{
    struct play_apart *run = arg;

    run->err = play_run(run->p, &run->o, NULL);
    return jd_ok(NULL);
}

/* Cancelled after a while. True: the batch was not faster. */
__attribute__((unused)) static bool play_cut_after(struct play_apart *run, int64_t duration)
{
    jd_task *t = jd_spawn(play_run_apart, run);

    (void)jd_sleep(duration);
    (void)jd_task_cancel(t, NULL); /* -EALREADY: it was faster */
    (void)jd_join(t);
    cr_assert(run->err == -ECANCELED || run->err == 0, "%d", run->err);
    return run->err == -ECANCELED;
}

static struct play *play_new(int items)
{
    struct play *p = calloc(1, sizeof(*p));

    cr_assert_not_null(p);
    cr_assert_lt(items, PLAY_ITEMS);
    p->items = items;
    return p;
}

/* A test whose body is the main task on so many workers. */
#define ON_WORKERS(name, count, seconds) \
    static jd_result name##_main(void *unused); \
    Test(batch, name, .timeout = seconds) \
    { \
        jd_config cfg = JD_CONFIG_INIT; \
        cfg.workers = count; \
        cr_assert_eq(jd_run(name##_main, NULL, &cfg).error, 0); \
    } \
    static jd_result name##_main(void *unused __attribute__((unused)))

/* The same in virtual time, for a few seeds. What the clock says is exact, but for the few
 * microseconds that the simulator takes for each step. */
#define IN_SIMULATION(name, seconds) \
    static jd_result name##_main(void *unused); \
    Test(batch, name, .timeout = seconds) \
    { \
        for (uint64_t seed = 1; seed <= jd_test_rounds(20); seed++) \
            cr_assert_eq(jd_sim_run(seed, name##_main, NULL, NULL).error, 0); \
    } \
    static jd_result name##_main(void *unused __attribute__((unused)))

#endif /* ATTEMPT_RIG_H */
