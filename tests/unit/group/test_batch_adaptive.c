/* SPDX-License-Identifier: MIT */
/* The adaptive limit against servers that answer in virtual time (BR27). */
#include "attempt_rig.h"

#define CAPACITY 10

struct server {
    int64_t bad_until;
    bool queues; /* slower by the load; else what is too much hangs */
};

static int serve(struct play *p, struct actor *a, unsigned attempt)
{
    struct server *s = p->more;
    int load = atomic_load(&p->running);

    (void)a, (void)attempt;
    if (jd_now() < s->bad_until)
        return jd_sleep(JD_SEC(1000));
    if (load <= CAPACITY)
        return jd_sleep(JD_MS(10));
    return jd_sleep(s->queues ? JD_MS(10) * load / CAPACITY : JD_SEC(1000));
}

static jd_batch_stats run_against(struct server *s, int items, unsigned limit, unsigned flags)
{
    struct play *p = play_new(items);
    jd_batch_options o = play_options(p, limit);
    jd_batch_stats stats;

    p->more = s;
    p->script = serve;
    o.flags = flags;
    o.attempt_timeout = JD_MS(200);
    cr_assert_eq(play_run(p, &o, &stats), 0);
    cr_assert_geq(stats.limit, 1);
    cr_assert_leq(stats.limit, limit);
    free(p);
    return stats;
}

IN_SIMULATION(timeouts_lower_the_limit_to_what_the_server_takes, 30)
{
    struct server s = { 0 };
    jd_batch_stats fixed = run_against(&s, 2000, 100, 0);
    jd_batch_stats adaptive = run_against(&s, 2000, 100, JD_BATCH_ADAPTIVE);

    cr_assert_gt(fixed.failed, 1500);
    cr_assert_eq(fixed.lowered, 0);
    cr_assert_eq(fixed.limit, 100);
    cr_assert_lt(adaptive.failed, 500, "%d of 2000", (int)adaptive.failed);
    cr_assert_leq(adaptive.limit, 2 * CAPACITY);
    cr_assert_gt(adaptive.lowered, 5);
    return jd_ok(NULL);
}

IN_SIMULATION(latency_lowers_the_limit_before_anything_fails, 30)
{
    struct server s = { .queues = true };
    jd_batch_stats fixed = run_against(&s, 2000, 150, 0);
    jd_batch_stats adaptive = run_against(&s, 2000, 150, JD_BATCH_ADAPTIVE);

    cr_assert_eq(fixed.failed, 0);
    cr_assert_eq(adaptive.failed, 0);
    cr_assert_gt(adaptive.lowered, 0);
    cr_assert_lt(adaptive.limit, 100, "%d", (int)adaptive.limit);
    cr_assert_lt(adaptive.p50, fixed.p50);
    return jd_ok(NULL);
}

IN_SIMULATION(the_limit_of_a_good_server_stays, 30)
{
    struct server s = { 0 };
    jd_batch_stats stats = run_against(&s, 2000, CAPACITY, JD_BATCH_ADAPTIVE);

    cr_assert_eq(stats.lowered, 0);
    cr_assert_eq(stats.limit, CAPACITY);
    cr_assert_eq(stats.in_flight_max, CAPACITY);
    return jd_ok(NULL);
}

/* After a bad time the limit rises to where it was. */
IN_SIMULATION(the_limit_recovers, 30)
{
    struct server s = { .bad_until = jd_now() + JD_SEC(2) };
    jd_batch_stats stats = run_against(&s, 3000, CAPACITY, JD_BATCH_ADAPTIVE);

    cr_assert_geq(stats.lowered, 3);
    cr_assert_eq(stats.limit, CAPACITY);
    return jd_ok(NULL);
}

/* One call at a time is the least. */
IN_SIMULATION(the_limit_never_falls_below_one, 30)
{
    struct server s = { .bad_until = INT64_MAX };
    jd_batch_stats stats = run_against(&s, 100, 16, JD_BATCH_ADAPTIVE);

    cr_assert_eq(stats.failed, 100);
    cr_assert_eq(stats.limit, 1);
    return jd_ok(NULL);
}

/* The bound that is asked for meanwhile holds, too. */
static int steered_source(void *ctx, void **ret_item)
{
    struct play *p = ctx;

    if (!p->consumer)
        p->consumer = jd_task_current();
    return play_source(ctx, ret_item);
}

IN_SIMULATION(an_adaptive_limit_can_be_set, 30)
{
    struct server s = { 0 };
    struct play *p = play_new(500);
    jd_batch_options o = play_options(p, 4);
    jd_batch_stats stats = JD_BATCH_STATS_INIT;
    jd_outcome out;
    jd_batch *b;
    int taken = 0;

    p->more = &s;
    p->script = serve;
    o.flags = JD_BATCH_ADAPTIVE;
    cr_assert_eq(jd_batch_open(&b, steered_source, play_call, &o), 0);
    while (jd_batch_next(b, &out) == 1) {
        taken++;
        if (taken == 100)
            jd_batch_set_limit(b, 2);
        if (taken == 200) {
            cr_assert_eq(jd_batch_get_stats(b, &stats), 0);
            cr_assert_leq(stats.limit, 2);
            jd_batch_set_limit(b, CAPACITY);
        }
    }
    cr_assert_eq(taken, 500);
    cr_assert_eq(jd_batch_get_stats(b, &stats), 0);
    cr_assert_gt(stats.limit, 4);
    cr_assert_leq(stats.limit, CAPACITY);
    cr_assert_eq(jd_batch_close(b), 0);
    free(p);
    return jd_ok(NULL);
}
