/* SPDX-License-Identifier: MIT */
/*
 * Groups under load: a thousand members on four workers that yield, sleep, spawn, fail, are
 * cancelled. What must hold (F20): the close returns after the last end, once, and its result and
 * the errors fit what members returned.
 */
#include "group_rig.h"

#include "base/rng.h"

#define MEMBERS 1000

static struct {
    jd_group *g;
    atomic_int started, ended, failed, refused;
    atomic_int closed; /* a member that runs after the close is an error */
    int fail_percent;
    struct rng rng; /* guarded by the opener: seeds are drawn before the spawn */
} s;

static jd_result member(void *arg)
{
    uint64_t dice = (uint64_t)(uintptr_t)arg;
    jd_result r = jd_ok(NULL);

    cr_assert_eq(atomic_load(&s.closed), 0);
    atomic_fetch_add(&s.started, 1);
    for (unsigned i = 0; i < (dice & 3); i++)
        if (jd_yield())
            r = jd_err(-ECANCELED);
    if (!r.error && (dice & 4) && jd_sleep(JD_US(dice % 50)))
        r = jd_err(-ECANCELED);
    if (!r.error && (dice & 0x18) == 0x18) {
        int err = jd_group_spawn(s.g, member, (void *)(uintptr_t)(dice & ~UINT64_C(0x18)));

        cr_assert(err == 0 || err == -ECANCELED);
        atomic_fetch_add(&s.refused, err ? 1 : 0);
    }
    if (!r.error && (int)((dice >> 8) % 100) < s.fail_percent) {
        atomic_fetch_add(&s.failed, 1);
        r = jd_err(-EDOM);
    }
    cr_assert_eq(atomic_load(&s.closed), 0);
    atomic_fetch_add(&s.ended, 1);
    return r;
}

static void round_of(unsigned flags, int fail_percent)
{
    jd_group g;
    int closed, err = 0, spawned = 0;

    s.g = &g;
    s.fail_percent = fail_percent;
    atomic_store(&s.started, 0);
    atomic_store(&s.ended, 0);
    atomic_store(&s.failed, 0);
    atomic_store(&s.closed, 0);
    jd_group_open(&g, flags, JD_FOREVER);
    while (!err && spawned < MEMBERS) {
        err = jd_group_spawn(&g, member, (void *)(uintptr_t)(rng_next(&s.rng) & 0xffffff));
        spawned += !err;
    }
    closed = jd_group_close(&g);
    atomic_store(&s.closed, 1);
    cr_assert_eq(atomic_load(&s.ended), atomic_load(&s.started));
    cr_assert_geq(atomic_load(&s.ended), spawned);
    cr_assert_eq(jd_group_errors(&g, NULL, 0), (unsigned)atomic_load(&s.failed));
    if (!(flags & JD_GROUP_FIRST_OK))
        cr_assert_eq(closed, atomic_load(&s.failed) ? -EDOM : 0);
    if (flags & JD_GROUP_KEEP_GOING)
        cr_assert_eq(spawned, MEMBERS);
    cr_assert_eq(jd_yield(), 0, "the opener is not cancelled");
}

static jd_result rounds_body(void *arg)
{
    unsigned long rounds = jd_test_rounds(100);

    (void)arg;
    rng_seed(&s.rng, jd_test_seed());
    for (unsigned long i = 0; i < rounds; i++) {
        round_of(0, 0);
        round_of(0, 1);
        round_of(JD_GROUP_KEEP_GOING, 30);
        round_of(JD_GROUP_FIRST_OK, 100);
        round_of(JD_GROUP_FIRST_OK, 90);
    }
    return RIG_DONE;
}

Test(group_stress, thousand_members_with_random_failures, .timeout = 60)
{
    rig_run(4, rounds_body);
}

static atomic_int opened;

static jd_result opener(void *arg)
{
    jd_group g;
    int closed;

    jd_group_open(&g, 0, JD_FOREVER);
    for (intptr_t i = 0; i < 8; i++)
        (void)jd_group_spawn(&g, i % 2 ? rig_yields : rig_sleep_for_ever, rig_num(i * 3));
    atomic_fetch_add(&opened, 1);
    closed = jd_group_close(&g);
    cr_assert_eq(closed, -ECANCELED);
    *(int *)arg = closed;
    return jd_ok(NULL);
}

static jd_result cancel_race_body(void *arg)
{
    enum { OPENERS = 16 };
    unsigned long rounds = jd_test_rounds(500);

    (void)arg;
    for (unsigned long i = 0; i < rounds; i++) {
        jd_task *tasks[OPENERS];
        int closed[OPENERS] = { 0 };

        atomic_store(&opened, 0);
        for (int k = 0; k < OPENERS; k++)
            cr_assert_not_null(tasks[k] = jd_spawn(opener, &closed[k]));
        rig_until(&opened, (int)(i % OPENERS));
        for (int k = 0; k < OPENERS; k++)
            (void)jd_task_cancel(tasks[k], NULL);
        for (int k = 0; k < OPENERS; k++)
            cr_assert_eq(jd_join(tasks[k]).error, 0);
        for (int k = 0; k < OPENERS; k++)
            cr_assert_eq(closed[k], -ECANCELED);
    }
    return RIG_DONE;
}

/* The cancel meets openers before, at and inside their close, members before and in their wait. */
Test(group_stress, cancelled_openers_join_their_members, .timeout = 60)
{
    rig_run(4, cancel_race_body);
}

static jd_result deadline_race_body(void *arg)
{
    unsigned long rounds = jd_test_rounds(300);

    (void)arg;
    for (unsigned long i = 0; i < rounds; i++) {
        jd_group g;
        int closed;

        jd_group_open(&g, 0, JD_US(20 + i % 50));
        for (int k = 0; k < 4; k++)
            (void)jd_group_spawn(&g, rig_yields, rig_num(k * 40));
        closed = jd_group_close(&g);
        cr_assert(closed == 0 || closed == -ETIMEDOUT, "%d", closed);
        cr_assert_eq(jd_yield(), 0);
    }
    return RIG_DONE;
}

/* The frame of the group is used again at once: a late timer or member would hit the next one. */
Test(group_stress, deadline_races_with_the_close, .timeout = 60)
{
    rig_run(4, deadline_race_body);
}
