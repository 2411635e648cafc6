/* SPDX-License-Identifier: MIT */
/* Batches that try again: verdicts, back-off, budget, what is free meanwhile (BR1, BR3, BR9, BR13). */
#include "attempt_rig.h"

#include "base/rng.h"

/* The item's index says how many attempts fail. */
static int fails_index_times(struct play *p, struct actor *a, unsigned attempt)
{
    (void)p;
    if (a->index % 3 == 1)
        (void)jd_yield();
    return (int)attempt < a->index ? -ECONNRESET : 0;
}

static int always_reset(struct play *p, struct actor *a, unsigned attempt)
{
    (void)p, (void)a, (void)attempt;
    return -ECONNRESET;
}

static int fails_once(struct play *p, struct actor *a, unsigned attempt)
{
    (void)p, (void)a;
    return attempt == 0 ? -ECONNRESET : 0;
}

ON_WORKERS(an_item_is_tried_until_it_succeeds, 2, 20)
{
    for (unsigned limit = 1; limit <= 16; limit *= 4) {
        struct play *p = play_new(10);
        jd_batch_options o = play_options(p, limit);
        jd_batch_stats s;

        p->script = fails_index_times;
        o.attempts = 10;
        o.retry_budget_percent = 1000;
        cr_assert_eq(play_run(p, &o, &s), 0);
        cr_assert_eq(s.ok, 10);
        cr_assert_eq(s.retried, 45);
        for (int i = 0; i < 10; i++) {
            cr_assert_eq(atomic_load(&p->actors[i].attempts), i + 1);
            cr_assert_eq(p->actors[i].discarded, i);
        }
        free(p);
    }
    return jd_ok(NULL);
}

ON_WORKERS(attempts_are_bounded_and_the_last_failure_is_the_outcome, 2, 20)
{
    for (unsigned attempts = 0; attempts <= 4; attempts++) {
        int each = attempts ? (int)attempts : 1;
        struct play *p = play_new(50);
        jd_batch_options o = play_options(p, 5);
        jd_batch_stats s;

        p->script = always_reset;
        o.attempts = attempts;
        o.retry_budget_percent = 1000;
        cr_assert_eq(play_run(p, &o, &s), 0);
        cr_assert_eq(s.failed, 50);
        cr_assert_eq(s.retried, (uint64_t)(50 * (each - 1)));
        for (int i = 0; i < 50; i++) {
            cr_assert_eq(atomic_load(&p->actors[i].attempts), each);
            cr_assert_eq(p->actors[i].end.error, -ECONNRESET);
        }
        free(p);
    }
    return jd_ok(NULL);
}

static const struct {
    int error;
    bool again;
} by_default[] = {
    { -ETIMEDOUT, true }, { -ECONNRESET, true }, { -ECONNREFUSED, true }, { -ECONNABORTED, true },
    { -EPIPE, true },     { -EIO, false },       { -ENOENT, false },      { -EINVAL, false },
    { -ENOMEM, false },   { -ECANCELED, false },
};
#define DEFAULTS ((int)(sizeof(by_default) / sizeof(by_default[0])))

static int fails_by_table(struct play *p, struct actor *a, unsigned attempt)
{
    (void)p, (void)attempt;
    return by_default[a->index].error;
}

ON_WORKERS(timeouts_resets_and_refused_are_retried_by_default, 1, 10)
{
    struct play *p = play_new(DEFAULTS);
    jd_batch_options o = play_options(p, 2);

    p->script = fails_by_table;
    o.attempts = 2;
    cr_assert_eq(play_run(p, &o, NULL), 0);
    for (int i = 0; i < DEFAULTS; i++)
        cr_assert_eq(atomic_load(&p->actors[i].attempts), by_default[i].again ? 2 : 1, "%d",
                     by_default[i].error);
    free(p);
    return jd_ok(NULL);
}

static int always_eio(struct play *p, struct actor *a, unsigned attempt)
{
    (void)p, (void)a, (void)attempt;
    return -EIO;
}

ON_WORKERS(classify_decides, 2, 10)
{
    static const int verdicts[] = { JD_RETRY, JD_FAIL, 77, JD_STOP };

    for (size_t v = 0; v < 4; v++) {
        struct play *p = play_new(20);
        jd_batch_options o = play_options(p, 1);
        jd_batch_stats s;
        bool stop = verdicts[v] == JD_STOP;

        p->script = always_eio;
        p->classified = verdicts[v];
        p->after = -1;
        o.classify = play_classify;
        o.attempts = 3;
        o.retry_budget_percent = 1000;
        cr_assert_eq(play_run(p, &o, &s), stop ? -EIO : 0);
        cr_assert_eq(s.failed, stop ? 1 : 20); /* the sink has had the one that stopped it */
        cr_assert_eq(s.retried, verdicts[v] == JD_RETRY ? 40 : 0);
        cr_assert_eq(atomic_load(&p->asked), stop ? 1 : verdicts[v] == JD_RETRY ? 60 : 20);
        free(p);
    }
    return jd_ok(NULL);
}

/* Also with one attempt: JD_STOP is not about retries. */
ON_WORKERS(classify_may_stop_a_batch_without_retries, 1, 10)
{
    struct play *p = play_new(20);
    jd_batch_options o = play_options(p, 4);

    p->script = always_eio;
    p->classified = JD_STOP;
    o.classify = play_classify;
    cr_assert_eq(play_run(p, &o, NULL), -EIO);
    cr_assert_eq(p->failed, 1);
    cr_assert_leq(p->next, 4);
    free(p);
    return jd_ok(NULL);
}

static int64_t wait_before(const struct actor *a, int attempt)
{
    return a->called_at[attempt] - a->called_at[attempt - 1];
}

/* Uniform in 0 .. backoff * 2^k, capped: bounds, mean, and that both ends are reached. */
IN_SIMULATION(back_off_doubles_with_full_jitter_up_to_its_cap, 20)
{
    static const int64_t bounds[] = { 0, JD_MS(100), JD_MS(200), JD_MS(400), JD_MS(500) };
    enum { ITEMS = 300 };
    struct play *p = play_new(ITEMS);
    jd_batch_options o = play_options(p, ITEMS);

    p->script = always_reset;
    o.attempts = 5;
    o.backoff = JD_MS(100);
    o.backoff_max = JD_MS(500);
    o.retry_budget_percent = 1000;
    cr_assert_eq(play_run(p, &o, NULL), 0);
    for (int k = 1; k < 5; k++) {
        int64_t least = INT64_MAX, most = 0, sum = 0;

        for (int i = 0; i < ITEMS; i++) {
            int64_t d = wait_before(&p->actors[i], k);

            least = d < least ? d : least;
            most = d > most ? d : most;
            sum += d;
        }
        cr_assert_leq(most, bounds[k] + JD_MS(20), "retry %d: %ld", k, (long)most);
        cr_assert_gt(most, bounds[k] * 9 / 10);
        cr_assert_lt(least, bounds[k] / 10 + JD_MS(5));
        cr_assert_gt(sum / ITEMS, bounds[k] * 4 / 10);
        cr_assert_lt(sum / ITEMS, bounds[k] * 6 / 10 + JD_MS(10));
    }
    free(p);
    return jd_ok(NULL);
}

IN_SIMULATION(the_wait_that_classify_asks_for_is_kept, 20)
{
    struct play *p = play_new(10);
    jd_batch_options o = play_options(p, 10);

    p->script = fails_once;
    p->classified = JD_RETRY;
    p->after = JD_SEC(3);
    o.classify = play_classify;
    o.attempts = 2;
    o.backoff = JD_MS(1);
    o.backoff_max = JD_MS(2);
    cr_assert_eq(play_run(p, &o, NULL), 0);
    cr_assert_eq(p->ok, 10);
    for (int i = 0; i < 10; i++) {
        cr_assert_geq(wait_before(&p->actors[i], 1), JD_SEC(3));
        cr_assert_lt(wait_before(&p->actors[i], 1), JD_SEC(3) + JD_MS(50));
    }
    free(p);
    return jd_ok(NULL);
}

static int first_item_fails_once(struct play *p, struct actor *a, unsigned attempt)
{
    jd_sem *sem = p->more;

    cr_assert_eq(jd_sem_value(sem), 0);
    return a->index == 0 && attempt == 0 ? -ECONNRESET : 0;
}

/* Place and permit of a sleeping retry are others' meanwhile: there is one of each. */
IN_SIMULATION(place_and_permit_are_free_while_a_retry_sleeps, 20)
{
    jd_sem sem = JD_SEM_INIT(1);
    struct play *p = play_new(20);
    jd_batch_options o = play_options(p, 1);

    p->script = first_item_fails_once;
    p->more = &sem;
    p->classified = JD_RETRY;
    p->after = JD_SEC(1);
    o.classify = play_classify;
    o.attempts = 2;
    o.sem = &sem;
    cr_assert_eq(play_run(p, &o, NULL), 0);
    cr_assert_eq(p->ok, 20);
    for (int i = 1; i < 20; i++)
        cr_assert_lt(p->actors[i].ended_at, p->actors[0].called_at[1]);
    cr_assert_eq(jd_sem_value(&sem), 1);
    free(p);
    return jd_ok(NULL);
}

static int reset_within_3(struct play *p, struct actor *a, unsigned attempt)
{
    (void)p, (void)a;
    (void)jd_yield();
    return attempt < 2 ? -ECONNRESET : 0;
}

/* BR1, BR9: pulling stops while sleeping_max items sleep; one that is too many keeps its place. */
IN_SIMULATION(pulling_stops_while_too_many_sleep, 30)
{
    static const struct {
        unsigned limit, sleeping_max, pulled;
    } cases[] = { { 1, 1, 1 }, { 1, 3, 3 }, { 4, 1, 4 }, { 4, 2, 5 }, { 2, 8, 9 } };

    for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
        struct play *p = play_new(40);
        jd_batch_options o = play_options(p, cases[c].limit);
        jd_batch_stats s;
        int early = 0;

        p->script = reset_within_3;
        p->classified = JD_RETRY;
        p->after = JD_SEC(1);
        o.classify = play_classify;
        o.attempts = 3;
        o.retry_budget_percent = 1000;
        o.sleeping_max = cases[c].sleeping_max;
        o.progress_every = JD_MS(10);
        cr_assert_eq(play_run(p, &o, &s), 0);
        cr_assert_eq(s.ok, 40);
        cr_assert_eq(s.retried, 80);
        cr_assert_leq(p->sleeping_max, cases[c].sleeping_max);
        for (int i = 0; i < 40; i++)
            early += p->actors[i].pulled_at < p->start + JD_MS(900);
        cr_assert_leq(early, (int)cases[c].pulled, "case %d: %d", (int)c, early);
        cr_assert_geq(early, (int)cases[c].sleeping_max);
        free(p);
    }
    return jd_ok(NULL);
}

static int notes_pulled(struct play *p, struct actor *a, unsigned attempt)
{
    if (attempt == 1)
        cr_assert_eq(p->next, a->index + 1); /* nothing was pulled before this retry */
    return attempt == 0 ? -ECONNRESET : 0;
}

ON_WORKERS(a_due_retry_goes_before_new_items, 1, 10)
{
    struct play *p = play_new(50);
    jd_batch_options o = play_options(p, 1);

    p->script = notes_pulled;
    o.attempts = 2;
    o.retry_budget_percent = 100;
    cr_assert_eq(play_run(p, &o, NULL), 0);
    cr_assert_eq(p->ok, 50);
    free(p);
    return jd_ok(NULL);
}

/* BR9: a storm becomes failures, a small batch may retry. */
ON_WORKERS(the_retry_budget_bounds_a_storm, 2, 20)
{
    static const unsigned percent[] = { 0, 1, 25, 100 };

    for (size_t c = 0; c < 4; c++) {
        unsigned expected = (percent[c] ? percent[c] : 10) * 40;
        struct play *p = play_new(4000);
        jd_batch_options o = play_options(p, 20);
        jd_batch_stats s;

        p->script = always_reset;
        o.attempts = 8;
        o.retry_budget_percent = percent[c];
        cr_assert_eq(play_run(p, &o, &s), 0);
        cr_assert_eq(s.failed, 4000);
        cr_assert_leq(s.retried, expected + 10);
        cr_assert_geq(s.retried, expected - 10);
        free(p);
    }
    return jd_ok(NULL);
}

ON_WORKERS(the_first_failed_item_stops_after_its_last_attempt, 1, 10)
{
    struct play *p = play_new(20);
    jd_batch_options o = play_options(p, 2);
    jd_batch_stats s;

    p->script = always_reset;
    o.errors_max = 0;
    o.attempts = 3;
    cr_assert_eq(play_run(p, &o, &s), -ECONNRESET);
    cr_assert_eq(s.failed, 1);
    free(p);
    return jd_ok(NULL);
}

static int at_random(struct play *p, struct actor *a, unsigned attempt)
{
    struct rng rng;
    int err = 0;

    rng_seed(&rng, (uint64_t)a->index * 31 + attempt);
    (void)p;
    if (rng_below(&rng, 2))
        err = jd_sleep(JD_US(rng_below(&rng, 50)));
    else if (rng_below(&rng, 2))
        err = jd_yield();
    if (err)
        return err;
    return rng_below(&rng, 2) ? -ECONNRESET : 0;
}

/* BR12, BR13, BR24: whatever sleeps, starts or flies when the cancel comes ends once. */
ON_WORKERS(retries_cancelled_at_any_point, 2, 60)
{
    unsigned long rounds = jd_test_rounds(300);
    struct rng rng;
    int cancelled = 0;

    rng_seed(&rng, jd_test_seed());
    for (unsigned long i = 0; i < rounds; i++) {
        jd_sem sem = JD_SEM_INIT(3);
        struct play_apart run = { .p = play_new(200), .err = 1 };

        run.p->script = at_random;
        run.o = play_options(run.p, 1 + rng_below(&rng, 10));
        run.o.attempts = 1 + rng_below(&rng, 4);
        run.o.backoff = JD_US(rng_below(&rng, 100));
        run.o.sleeping_max = rng_below(&rng, 4);
        run.o.retry_budget_percent = 400;
        run.o.attempt_timeout = rng_below(&rng, 2) ? JD_US(30) : 0;
        run.o.item_timeout = rng_below(&rng, 2) ? JD_US(100) : 0;
        run.o.sem = rng_below(&rng, 2) ? &sem : NULL;
        cancelled += play_cut_after(&run, JD_US(rng_below(&rng, 1000)));
        cr_assert_eq(jd_sem_value(&sem), 3); /* BR25 */
        free(run.p);
    }
    cr_assert_gt(cancelled, 0);
    return jd_ok(NULL);
}

/* Every allocation fails once in turn. */
ON_WORKERS(retries_out_of_memory_at_any_point, 1, 60)
{
    int failed = 0, err = 1;

    for (uint64_t visit = 0; err; visit++) {
        struct play *p = play_new(200);
        jd_batch_options o = play_options(p, 70); /* more than one chunk of slots */

        p->script = at_random;
        o.attempts = 3;
        o.backoff = JD_US(50);
        o.retry_budget_percent = 400;
        err = play_run_short(p, &o, visit);
        failed += err == -ENOMEM;
        free(p);
    }
    cr_assert_gt(failed, 0);
    return jd_ok(NULL);
}
