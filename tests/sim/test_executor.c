/* SPDX-License-Identifier: MIT */
/*
 * Executors under simulation: the threads of pools are simulated, their jobs run at random moments of
 * virtual time, over the production kernel. Orders, cancels at every checkpoint, refused threads.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "jd_test.h"
#include "seeds.h"
#include "sim/sim.h"
#include "sweep.h"

#include <jackdaw/jackdaw.h>

static void nothing_left(uint64_t seed)
{
    struct sim_summary left = sim_last();

    cr_assert(!left.stuck, "seed %lu", (unsigned long)seed);
    cr_assert_eq(left.handles, 0, "seed %lu: %u handles", (unsigned long)seed, left.handles);
}

/* --- Time and order --------------------------------------------------------------------------- */

struct order {
    unsigned threads;
    int next, at[6];
};

struct place {
    struct order *order;
    int index;
};

static jd_result take_place(void *arg)
{
    struct place *p = arg;

    p->order->at[p->index] = p->order->next++;
    return jd_ok(NULL);
}

static jd_result order_main(void *arg)
{
    struct order *o = arg;
    struct place place[6];
    jd_executor *e;
    jd_future *f[6];
    int64_t start = jd_now();

    if (jd_executor_new(o->threads, NULL, &e))
        return jd_err(-ENOMEM);
    for (int i = 0; i < 6; i++) {
        place[i] = (struct place){ o, i };
        f[i] = jd_run_in_executor(e, take_place, &place[i]);
        cr_assert_not_null(f[i]);
    }
    for (int i = 0; i < 6; i++) {
        cr_assert_eq(jd_await(f[i]).error, 0);
        jd_future_unref(f[i]);
    }
    cr_assert_gt(jd_now(), start + JD_US(1)); /* each takes its time */
    cr_assert_eq(jd_executor_shutdown(e, 0, JD_FOREVER), 0);
    jd_executor_unref(e);
    return jd_ok(NULL);
}

/* How many of the seeds kept the order. */
static unsigned in_order(unsigned threads, unsigned *ret_seeds)
{
    unsigned kept = 0;

    *ret_seeds = 0;
    for_each_seed(seed, jd_test_rounds(200)) {
        struct order o = { .threads = threads };
        bool sorted = true;

        cr_assert_eq(jd_sim_run(seed, order_main, &o, NULL).error, 0);
        nothing_left(seed);
        for (int i = 0; i < 6; i++)
            sorted &= o.at[i] == i;
        kept += sorted;
        ++*ret_seeds;
    }
    return kept;
}

Test(sim_executor, one_thread_keeps_the_order_and_several_do_not)
{
    unsigned seeds, kept = in_order(1, &seeds);

    cr_assert_eq(kept, seeds);
    kept = in_order(4, &seeds);
    if (!seeds_given())
        cr_assert(kept < seeds, "%u of %u", kept, seeds);
}

static uint64_t hash_of(uint64_t seed)
{
    jd_sim_options opt = JD_SIM_OPTIONS_INIT;
    struct order o = { .threads = 3 };

    cr_assert_eq(jd_sim_run(seed, order_main, &o, &opt).error, 0);
    return jd_sim_trace_hash();
}

Test(sim_executor, the_same_seed_is_the_same_run)
{
    for_each_seed(seed, 20)
        cr_assert_eq(hash_of(seed), hash_of(seed), "seed %lu", (unsigned long)seed);
}

/* --- A cancel at every checkpoint ----------------------------------------------------------------- */

struct calls {
    jd_executor *e;
    int begun, ended, told, balance; /* balance: of what a scenario counts itself */
};

static void calls_before(void *arg)
{
    *(struct calls *)arg = (struct calls){ .e = NULL };
}

static void calls_after(void *arg, jd_result r, unsigned where)
{
    const struct calls *c = arg;

    (void)r;
    cr_assert_eq(c->begun, c->ended, "checkpoint %u", where);
    cr_assert_eq(c->balance, 0, "checkpoint %u: %d", where, c->balance);
}

struct frame {
    struct calls *calls;
    int alive;
};

static jd_result touch_frame(void *arg)
{
    struct frame *f = arg;

    cr_assert_eq(f->alive, 0x1eaf);
    f->calls->begun++;
    f->calls->told += jd_thread_cancelled();
    f->calls->ended++;
    return jd_ok_num(7);
}

static jd_result join_main(void *arg)
{
    struct calls *c = arg;
    jd_result r = jd_ok(NULL);

    for (int i = 0; i < 4; i++) {
        struct frame f = { c, 0x1eaf };
        int begun = c->begun;

        r = jd_to_thread(touch_frame, &f);
        f.alive = 0;
        cr_assert(r.error == 0 ? r.num == 7 && c->begun == begun + 1 : c->begun == begun, "%d",
                  r.error);
        cr_assert(r.error == 0 || r.error == -ECANCELED || r.error == -EAGAIN, "%d", r.error);
        if (r.error)
            break;
        (void)jd_yield(); /* a cancel is seen by the next call */
    }
    return r;
}

#define SWEEP_SEEDS 20

static void sweep(jd_fn fn)
{
    struct calls c;
    struct sweep s = {
        .fn = fn, .arg = &c, .before = calls_before, .after = calls_after, .seeds = SWEEP_SEEDS
    };

    sweep_or_sample(s, SWEEP_SEEDS); /* at least one for each seed */
}

Test(sim_executor, a_call_returns_when_its_frame_is_nobody_else_s, .timeout = 30)
{
    sweep(join_main);
}

static jd_result touch_calls(void *arg)
{
    struct calls *c = arg; /* outlives the runtime, as it must */

    c->begun++;
    c->told += jd_thread_cancelled();
    c->ended++;
    return jd_ok(NULL);
}

static jd_result abandon_main(void *arg)
{
    jd_result r = jd_ok(NULL);

    for (int i = 0; i < 4 && !r.error; i++) {
        r = jd_to_thread_with(NULL, touch_calls, arg, JD_ABANDON);
        (void)jd_yield(); /* a cancel is seen by the next call */
    }
    return r;
}

Test(sim_executor, an_abandoned_call_leaves_nothing, .timeout = 30)
{
    sweep(abandon_main);
}

/* Jobs take time, too: in seed 1029 the watchdog's look became due within one, and nothing else was. */
Test(sim_executor, a_look_of_the_watchdog_may_become_due_within_a_job)
{
    struct calls c;
    struct sweep s = { .fn = abandon_main,
                       .arg = &c,
                       .before = calls_before,
                       .after = calls_after,
                       .fault_percent = 20 };

    cr_assert_gt(sweep_sample(&s, 1029), 0);
}

static jd_result shutdown_main(void *arg)
{
    struct calls *c = arg;
    jd_future *f[5];
    jd_executor *e;
    unsigned n = 0;
    int error = jd_executor_new(2, NULL, &e);

    if (error)
        return jd_err(error);
    for (int i = 0; i < 5; i++)
        n += (f[n] = jd_run_in_executor(e, touch_calls, c)) ? 1 : 0;
    (void)jd_yield();
    for (unsigned i = 0; i < n; i += 2)
        (void)jd_future_cancel(f[i], "swept"); /* -EALREADY: it has run */
    error = jd_executor_shutdown(e, c->balance++ % 2 ? JD_CANCEL_PENDING : 0, JD_MS(1));
    c->balance = 0;
    cr_assert(error == 0 || error == -ECANCELED || error == -ETIMEDOUT, "%d", error);
    for (unsigned i = 0; i < n; i++) {
        cr_assert(error || jd_future_done(f[i]));
        jd_future_unref(f[i]);
    }
    jd_executor_unref(e); /* what is still queued runs */
    return jd_err(error);
}

Test(sim_executor, a_shutdown_ends_all_or_says_that_it_did_not, .timeout = 30)
{
    sweep(shutdown_main);
}

/* --- Random programs ------------------------------------------------------------------------------ */

#define TASKS 5
#define STEPS 8

struct books {
    uint64_t seed;
    jd_executor *pool[2];
    unsigned given, begun, ended, dropped, refused, before, inside;
};

struct member {
    struct books *books;
    struct rng rng;
};

static jd_result keep_book(void *arg)
{
    struct books *b = arg;

    b->begun++;
    b->inside += jd_thread_cancelled() ? 1 : 0;
    b->ended++;
    return jd_ok(NULL);
}

/* A future: awaited, cancelled at some moment, or forgotten. */
static void offload_one(struct member *m)
{
    struct books *b = m->books;
    unsigned begun = b->begun;
    jd_future *f;
    int error = jd_executor_submit(b->pool[rng_below(&m->rng, 2)], keep_book, b, &f);

    if (error) {
        cr_assert(error == -ENOMEM || error == -EAGAIN || error == -ESHUTDOWN, "%d", error);
        b->refused++;
        return;
    }
    b->given++;
    if (rng_below(&m->rng, 2))
        (void)jd_sleep(JD_US(1) * rng_below(&m->rng, 8000));
    if (rng_below(&m->rng, 3) == 0 && jd_future_cancel(f, NULL) == 0 && b->begun == begun)
        b->before++;
    else if (rng_below(&m->rng, 2))
        (void)jd_await(f).error; /* all are fine */
    jd_future_unref(f);
}

static void call_one(struct member *m)
{
    struct books *b = m->books;
    jd_scope s;
    jd_result r;

    jd_scope_open(&s, JD_US(1) * rng_below(&m->rng, 20000));
    r = jd_to_thread_with(b->pool[rng_below(&m->rng, 2)], keep_book, b, 0);
    if (jd_scope_close(&s) == -ETIMEDOUT)
        cr_assert(r.error == -ECANCELED || r.error == 0 || r.error == -ESHUTDOWN);
    b->given++;
    if (r.error) {
        cr_assert(r.error == -ECANCELED || r.error == -EAGAIN || r.error == -ESHUTDOWN, "%d",
                  r.error);
        b->dropped++;
    }
}

static jd_result member_run(void *arg)
{
    struct member *m = arg;

    for (int i = 0; i < STEPS; i++) {
        if (rng_below(&m->rng, 2))
            offload_one(m);
        else
            call_one(m);
    }
    return jd_ok(NULL);
}

static jd_result books_main(void *arg)
{
    struct books *b = arg;
    struct member members[TASKS];
    struct rng rng;
    jd_group g;

    rng_seed(&rng, b->seed);
    for (int i = 0; i < 2; i++)
        if (jd_executor_new(1 + rng_below(&rng, 3), NULL, &b->pool[i]))
            b->pool[i] = jd_executor_ref(b->pool[0]);
    jd_group_open(&g, JD_GROUP_KEEP_GOING, JD_FOREVER);
    for (int i = 0; i < TASKS && b->pool[0]; i++) {
        members[i].books = b;
        rng_seed(&members[i].rng, rng_next(&rng));
        (void)jd_group_spawn(&g, member_run, &members[i]); /* -ENOMEM: one less */
    }
    (void)jd_sleep(JD_US(1) * rng_below(&rng, 30000));
    if (rng_below(&rng, 3) == 0 && b->pool[0]) {
        unsigned flags = rng_below(&rng, 2);

        (void)jd_executor_shutdown(b->pool[0], flags, JD_US(1) * rng_below(&rng, 9000));
    }
    cr_assert_eq(jd_group_close(&g), 0);
    for (int i = 0; i < 2; i++)
        jd_executor_unref(b->pool[i]);
    return jd_ok(NULL);
}

static void balance(unsigned faults, unsigned workers)
{
    jd_sim_options o = JD_SIM_OPTIONS_INIT;
    unsigned before = 0, inside = 0, refused = 0;

    o.fault_percent = faults;
    o.workers = workers;
    for_each_seed(seed, jd_test_rounds(1000)) {
        struct books b = { .seed = seed };

        cr_assert_eq(jd_sim_run(seed, books_main, &b, &o).error, 0, "seed %lu",
                     (unsigned long)seed);
        nothing_left(seed);
        cr_assert_eq(b.begun, b.ended);
        cr_assert_leq(b.begun + b.dropped + b.before, b.given, "seed %lu: %u %u %u of %u",
                      (unsigned long)seed, b.begun, b.dropped, b.before, b.given);
        before += b.before;
        inside += b.inside;
        refused += b.refused;
    }
    if (seeds_given())
        return;
    cr_assert_gt(before, 0); /* cancelled before, and while it ran: both were met */
    cr_assert_gt(inside, 0);
    cr_assert(faults == 0 || refused > 0);
}

Test(sim_executor, random_programs_on_one_worker, .timeout = 60)
{
    balance(0, 1);
}

Test(sim_executor, random_programs_with_faults_on_three_workers, .timeout = 60)
{
    balance(20, 3);
}

/* --- Escapes ------------------------------------------------------------------------------------------ */

static jd_result outside_main(void *arg)
{
    jd_future *f = NULL;

    cr_assert_eq(jd_executor_submit(arg, touch_calls, NULL, &f), -EPERM);
    cr_assert_eq(jd_to_thread_with(arg, touch_calls, NULL, 0).error, -EPERM);
    return jd_ok(NULL);
}

Test(sim_executor, a_pool_with_real_threads_is_refused)
{
    jd_executor *e;

    cr_assert_eq(jd_executor_new(1, NULL, &e), 0);
    cr_assert_eq(jd_sim_run(1, outside_main, e, NULL).error, 0);
    cr_assert_eq(jd_executor_shutdown(e, 0, JD_FOREVER), 0);
    jd_executor_unref(e);
}

static jd_result calls_back(void *arg)
{
    return jd_runtime_call(arg, (jd_fn)touch_calls, NULL);
}

static jd_result back_main(void *arg)
{
    (void)arg;
    cr_assert_eq(jd_to_thread(calls_back, jd_runtime_current()).error, -EDEADLK);
    return jd_ok(NULL);
}

/* One thread plays all workers: it cannot wait for one. */
Test(sim_executor, a_call_back_into_the_runtime_is_refused)
{
    cr_assert_eq(jd_sim_run(1, back_main, NULL, NULL).error, 0);
    nothing_left(1);
}
