/* SPDX-License-Identifier: MIT */
/*
 * Tasks, timers and locks under simulation: virtual time, many interleavings, ends.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "jd_test.h"
#include "seeds.h"
#include "sim/sim.h"

#include <jackdaw/jackdaw.h>

/* --- Time ----------------------------------------------------------------------------------- */

static jd_result sleep_a_day(void *arg)
{
    int64_t start = jd_now();

    (void)arg;
    for (int hour = 0; hour < 24; hour++)
        if (jd_sleep(JD_SEC(3600)))
            return jd_err(-EIO);
    return jd_ok_num((intptr_t)((jd_now() - start) / JD_SEC(1)));
}

/* The timer must not be early, and nothing may depend on real time. */
Test(sim_tasks, a_day_of_sleep_passes_at_once)
{
    jd_result r = jd_sim_run(1, sleep_a_day, NULL, NULL);

    cr_assert_eq(r.error, 0);
    cr_assert_eq(r.num, 24 * 3600);
}

struct order {
    int next;
    int at[8];
};

struct sleeper {
    struct order *order;
    int index;
};

static jd_result sleep_and_note(void *arg)
{
    struct sleeper *s = arg;

    (void)jd_sleep(JD_MS(10) * (8 - s->index));
    s->order->at[s->index] = s->order->next++;
    return jd_ok(NULL);
}

static jd_result sleepers(void *arg)
{
    struct order *order = arg;
    struct sleeper s[8];
    jd_task *t[8];

    for (int i = 0; i < 8; i++) {
        s[i] = (struct sleeper){ order, i };
        t[i] = jd_spawn(sleep_and_note, &s[i]);
    }
    for (int i = 0; i < 8; i++)
        (void)jd_join(t[i]);
    return jd_ok(NULL);
}

Test(sim_tasks, sleepers_wake_in_the_order_of_their_deadlines)
{
    for_each_seed(seed, jd_test_rounds(200)) {
        struct order order = { .next = 0 };

        cr_assert_eq(jd_sim_run(seed, sleepers, &order, NULL).error, 0);
        for (int i = 0; i < 8; i++)
            cr_assert_eq(order.at[i], 7 - i, "seed %lu", (unsigned long)seed);
    }
}

static jd_result sleep_for_ever(void *arg)
{
    while (jd_sleep(JD_SEC(1)) == 0)
        ++*(int *)arg;
    return jd_ok(NULL);
}

Test(sim_tasks, the_time_limit_ends_a_program_that_would_not)
{
    jd_sim_options o = JD_SIM_OPTIONS_INIT;
    int count = 0;

    o.time_limit = JD_SEC(100) + JD_MS(500);
    cr_assert_eq(jd_sim_run(3, sleep_for_ever, &count, &o).error, -ETIMEDOUT);
    cr_assert_eq(count, 100);
    cr_assert(!sim_last().stuck);
}

/* --- Interleavings -------------------------------------------------------------------------- */

static jd_result note_worker(void *arg)
{
    unsigned *seen = arg;

    for (int i = 0; i < 4; i++) {
        *seen |= 1u << (unsigned)jd_worker_index();
        (void)jd_yield();
    }
    return jd_ok_num(1);
}

static jd_result spawn_and_join(void *arg)
{
    jd_task *t[16];
    intptr_t sum = 0;

    for (int i = 0; i < 16; i++)
        t[i] = jd_spawn(note_worker, arg);
    for (int i = 0; i < 16; i++)
        sum += jd_join(t[i]).num;
    return jd_ok_num(sum);
}

/* A simulation in which nothing is ever stolen would test one worker three times. */
Test(sim_tasks, all_virtual_workers_take_part)
{
    unsigned full = 0;

    for_each_seed(seed, 20) {
        unsigned seen = 0;

        cr_assert_eq(jd_sim_run(seed, spawn_and_join, &seen, NULL).num, 16);
        full += seen == 7;
    }
    if (!seeds_given())
        cr_assert_geq(full, 15, "%u", full);
}

struct tree {
    unsigned depth;
    unsigned *workers;
};

static jd_result count_leaves(void *arg)
{
    const struct tree *t = arg;
    struct tree child = { t->depth - 1, t->workers };
    jd_fork left;
    intptr_t sum;

    *t->workers |= 1u << (unsigned)jd_worker_index();
    (void)jd_checkpoint(); /* where others may run */
    if (t->depth == 0)
        return jd_ok_num(1);
    jd_fork_start(&left, count_leaves, &child);
    sum = count_leaves(&child).num;
    return jd_ok_num(sum + jd_fork_join(&left).num);
}

Test(sim_tasks, forks_are_stolen_and_joined)
{
    unsigned workers = 0;

    for_each_seed(seed, jd_test_rounds(100)) {
        struct tree root = { 6, &workers };

        cr_assert_eq(jd_sim_run(seed, count_leaves, &root, NULL).num, 64);
    }
    if (!seeds_given())
        cr_assert_eq(workers, 7);
}

struct critical {
    jd_sem sem;
    int inside, most, rounds;
};

static jd_result enter_often(void *arg)
{
    struct critical *c = arg;

    for (int i = 0; i < 5; i++) {
        if (jd_sem_acquire(&c->sem))
            return jd_err(-EIO);
        c->inside++;
        c->most = c->inside > c->most ? c->inside : c->most;
        (void)(i % 2 ? jd_yield() : jd_sleep(JD_US(30)));
        c->inside--;
        c->rounds++;
        (void)jd_sem_release(&c->sem);
    }
    return jd_ok(NULL);
}

static jd_result contend(void *arg)
{
    struct critical *c = arg;
    jd_task *t[8];
    jd_result r = jd_ok(NULL);

    (void)jd_sem_init(&c->sem, 2);
    for (int i = 0; i < 8; i++)
        t[i] = jd_spawn(enter_often, c);
    for (int i = 0; i < 8; i++) {
        jd_result each = jd_join(t[i]);

        r = each.error ? each : r;
    }
    return r;
}

Test(sim_tasks, a_semaphore_holds_its_bound_in_every_interleaving)
{
    for_each_seed(seed, jd_test_rounds(300)) {
        struct critical c = { .inside = 0 };

        cr_assert_eq(jd_sim_run(seed, contend, &c, NULL).error, 0);
        cr_assert_eq(c.most, 2, "seed %lu", (unsigned long)seed);
        cr_assert_eq(c.rounds, 40);
        cr_assert_eq(jd_sem_value(&c.sem), 2);
    }
}

/* A lost update that needs another worker between the read and the write. */
static jd_result add_racily(void *arg)
{
    int *count = arg;
    int seen = *count;

    (void)jd_checkpoint();
    *count = seen + 1;
    return jd_ok(NULL);
}

static jd_result race(void *arg)
{
    jd_task *a = jd_spawn(add_racily, arg), *b = jd_spawn(add_racily, arg);

    (void)jd_sleep(JD_MS(1));
    (void)jd_join(a);
    (void)jd_join(b);
    return jd_ok_num(*(int *)arg);
}

Test(sim_tasks, a_race_shows_in_some_interleavings_and_not_in_others)
{
    unsigned lost = 0, right = 0;

    for_each_seed(seed, 200) {
        int count = 0;
        jd_result r = jd_sim_run(seed, race, &count, NULL);

        cr_assert(r.num == 1 || r.num == 2);
        lost += r.num == 1;
        right += r.num == 2;
    }
    if (!seeds_given()) {
        cr_assert_gt(lost, 0);
        cr_assert_gt(right, 0);
    }
}

/* --- Groups --------------------------------------------------------------------------------- */

static jd_result member(void *arg)
{
    (void)jd_sleep(JD_US(100));
    return jd_ok(arg);
}

static jd_result failing_member(void *arg)
{
    (void)arg;
    (void)jd_yield();
    return jd_err(-EIO);
}

static jd_result use_groups(void *arg)
{
    jd_group g;
    int error;

    jd_group_open(&g, 0, JD_FOREVER);
    for (int i = 0; i < 4; i++)
        (void)jd_group_spawn(&g, member, arg);
    (void)jd_group_spawn(&g, failing_member, NULL);
    error = jd_group_close(&g);
    if (error != -EIO)
        return jd_err(-EBADMSG);
    return jd_wait_for(jd_coro_of(member, arg), JD_SEC(1));
}

Test(sim_tasks, a_group_ends_with_the_error_of_its_member)
{
    for_each_seed(seed, jd_test_rounds(300)) {
        int word;
        jd_result r = jd_sim_run(seed, use_groups, &word, NULL);

        cr_assert_eq(r.error, 0, "seed %lu: %d", (unsigned long)seed, r.error);
        cr_assert_eq(r.ptr, &word);
        cr_assert_eq(sim_last().handles, 0);
    }
}

/* --- Deadlocks ------------------------------------------------------------------------------ */

struct reports {
    unsigned deadlocks;
    bool told_name, told_place, told_joined;
};

static void note_report(const jd_report *r, void *arg)
{
    struct reports *reports = arg;

    if (r->kind != JD_REPORT_DEADLOCK)
        return;
    reports->deadlocks++;
    reports->told_name |= strstr(r->message, "task left (id ") != NULL;
    reports->told_joined |= strstr(r->message, "for the end of task left") != NULL;
    reports->told_place |= strstr(r->message, "(sem.c)") != NULL;
}

static jd_result hold_and_want(void *arg)
{
    jd_sem **sems = arg;

    if (jd_sem_acquire(sems[0]) || jd_sleep(JD_MS(1)))
        return jd_err(-EIO);
    int error = jd_sem_acquire(sems[1]);

    return jd_err(error);
}

static jd_result embrace(void *arg)
{
    jd_sem a = JD_SEM_INIT(1), b = JD_SEM_INIT(1);
    jd_sem *left[] = { &a, &b }, *right[] = { &b, &a };
    jd_task_options opt = JD_TASK_OPTIONS_INIT;
    jd_task *l, *r;

    jd_set_error_handler(NULL, note_report, arg);
    opt.name = "left";
    l = jd_spawn_with(hold_and_want, left, &opt);
    r = jd_spawn(hold_and_want, right);
    (void)jd_join(l);
    return jd_join(r);
}

Test(sim_tasks, a_deadlock_is_reported_with_every_task_and_its_place)
{
    unsigned joined = 0;

    for_each_seed(seed, 20) {
        struct reports reports = { .deadlocks = 0 };

        cr_assert_eq(jd_sim_run(seed, embrace, &reports, NULL).error, -EDEADLK);
        cr_assert_eq(reports.deadlocks, 3);
        cr_assert(reports.told_name);
        cr_assert(reports.told_place);
        cr_assert(!sim_last().stuck, "the run ends all the same");
        joined += reports.told_joined;
    }
    if (!seeds_given())
        cr_assert_gt(joined, 0); /* not always: main may run it in its own frame */
}

/* --- Wrong calls ---------------------------------------------------------------------------- */

static jd_result simulate_inside(void *arg)
{
    (void)arg;
    return jd_sim_run(1, member, NULL, NULL);
}

Test(sim_tasks, wrong_calls_are_refused)
{
    jd_sim_options o = JD_SIM_OPTIONS_INIT;
    struct {
        jd_sim_options known;
        uint64_t unknown;
    } newer = { JD_SIM_OPTIONS_INIT, 1 };

    cr_expect_eq(jd_sim_run(1, NULL, NULL, NULL).error, -EINVAL);
    o.size = 0;
    cr_expect_eq(jd_sim_run(1, member, NULL, &o).error, -EINVAL);
    o = (jd_sim_options)JD_SIM_OPTIONS_INIT;
    o.workers = 65;
    cr_expect_eq(jd_sim_run(1, member, NULL, &o).error, -EINVAL);
    o.workers = 0;
    o.fault_percent = 101;
    cr_expect_eq(jd_sim_run(1, member, NULL, &o).error, -EINVAL);
    newer.known.size = sizeof(newer);
    cr_expect_eq(jd_sim_run(1, member, NULL, &newer.known).error, -E2BIG);
    cr_expect_eq(jd_sim_run(1, simulate_inside, NULL, NULL).error, -EBUSY);
}

/* Other threads keep the real clock, and a runtime of theirs goes on. */
static jd_result read_clock(void *arg)
{
    *(int64_t *)arg = jd_now();
    return jd_ok(NULL);
}

Test(sim_tasks, a_real_runtime_is_as_before_after_a_simulation)
{
    int64_t before = jd_now(), inside = 0;

    cr_assert_eq(jd_sim_run(1, read_clock, &inside, NULL).error, 0);
    cr_assert_lt(inside, JD_SEC(2), "virtual time begins near 1 s");
    cr_assert_geq(jd_now(), before);
    cr_assert_eq(jd_run(read_clock, &inside, NULL).error, 0);
    cr_assert_geq(inside, before);
}
