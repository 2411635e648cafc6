/* SPDX-License-Identifier: MIT */
/* Which of a batch's clocks has fired: said about each outcome to whom it is told (BR8). Virtual time. */
#include "attempt_rig.h"

/* What each item's end, and each attempt before it, said of its clock. */
struct heard {
    int ends[4];     /* by JD_CLOCK_*, in sink and abandon */
    int discards[4]; /* of attempts */
    atomic_int asked[4];
    jd_call_fn in_sink; /* the sink makes a call of its own with it; NULL: none */
};

static int clock_heard(void)
{
    int clock = jd_batch_clock();

    cr_assert(clock >= JD_CLOCK_NONE && clock <= JD_CLOCK_TOTAL);
    return clock;
}

static void note_end(struct play *p, struct actor *a)
{
    struct heard *h = p->more;
    jd_batch_options o = JD_BATCH_OPTIONS_INIT;

    (void)a;
    h->ends[clock_heard()]++;
    if (!h->in_sink)
        return;
    o.item_timeout = JD_SEC(1);
    cr_assert_eq(jd_call(h->in_sink, NULL, &o).error, -ETIMEDOUT);
    cr_assert_eq(clock_heard(), JD_CLOCK_ITEM, "of the call in the sink");
}

static void note_discard(void *item, jd_result r, void *ctx)
{
    struct play *p = ctx;

    ((struct heard *)p->more)->discards[clock_heard()]++;
    play_discard(item, r, ctx);
}

static int note_classify(void *item, jd_result r, int64_t *ret_after, void *ctx)
{
    struct play *p = ctx;
    struct heard *h = p->more;

    (void)item, (void)r, (void)ret_after;
    atomic_fetch_add(&h->asked[clock_heard()], 1);
    return JD_RETRY;
}

static struct play *listening(struct heard *h, int items, jd_batch_options *ret_o, unsigned limit)
{
    struct play *p = play_new(items);

    memset(h, 0, sizeof(*h));
    p->more = h;
    p->on_end = note_end;
    *ret_o = play_options(p, limit);
    ret_o->discard = note_discard;
    ret_o->classify = note_classify;
    return p;
}

static void check_heard(const int *counts, int none, int attempt, int item, int total)
{
    cr_assert_eq(counts[JD_CLOCK_NONE], none);
    cr_assert_eq(counts[JD_CLOCK_ATTEMPT], attempt);
    cr_assert_eq(counts[JD_CLOCK_ITEM], item);
    cr_assert_eq(counts[JD_CLOCK_TOTAL], total);
}

static int hangs(struct play *p, struct actor *a, unsigned attempt)
{
    (void)p, (void)a, (void)attempt;
    return jd_sleep(JD_SEC(1000));
}

static jd_result hang(void *item, void *ctx)
{
    (void)item, (void)ctx;
    return jd_err(jd_sleep(JD_SEC(1000)));
}

static int says_so_itself(struct play *p, struct actor *a, unsigned attempt)
{
    (void)p, (void)a, (void)attempt;
    return -ETIMEDOUT;
}

IN_SIMULATION(the_attempts_clock, 20)
{
    struct heard h;
    jd_batch_options o;
    struct play *p = listening(&h, 6, &o, 3);

    p->script = hangs;
    o.attempts = 3;
    o.retry_budget_percent = 1000;
    o.attempt_timeout = JD_SEC(1);
    o.item_timeout = JD_SEC(100);
    cr_assert_eq(play_run(p, &o, NULL), 0);
    cr_assert_eq(jd_batch_clock(), JD_CLOCK_NONE, "the batch itself ended well");
    check_heard(h.ends, 0, 6, 0, 0);
    check_heard(h.discards, 0, 12, 0, 0);
    cr_assert_eq(atomic_load(&h.asked[JD_CLOCK_ATTEMPT]), 18);
    free(p);
    return jd_ok(NULL);
}

/* While it flies, while it backs off, and while it waits for a token. */
IN_SIMULATION(the_items_clock, 20)
{
    jd_rate rate;

    for (int where = 0; where < 3; where++) {
        struct heard h;
        jd_batch_options o;
        struct play *p = listening(&h, 4, &o, 4);

        cr_assert_eq(jd_rate_init(&rate, 1e-3, 1), 0);
        p->script = where == 0 ? hangs : says_so_itself;
        o.attempts = 2;
        o.backoff = JD_FOREVER;
        o.rate = where == 2 ? &rate : NULL;
        o.attempt_timeout = JD_SEC(5);
        o.item_timeout = JD_SEC(1);
        cr_assert_eq(play_run(p, &o, NULL), 0);
        check_heard(h.ends, 0, 0, 4, 0);
        free(p);
    }
    return jd_ok(NULL);
}

/* What was cut short is the total clock's, and so is what the batch returns. */
IN_SIMULATION(the_batchs_clock, 20)
{
    struct heard h;
    jd_batch_options o;
    struct play *p = listening(&h, 100, &o, 4);

    p->script = hangs;
    o.attempt_timeout = JD_SEC(5);
    o.total_timeout = JD_SEC(2);
    cr_assert_eq(play_run(p, &o, NULL), -ETIMEDOUT);
    cr_assert_eq(jd_batch_clock(), JD_CLOCK_TOTAL);
    check_heard(h.ends, 0, 0, 0, 4);
    free(p);
    return jd_ok(NULL);
}

/* A call that answers -ETIMEDOUT itself has had no clock of ours, in a batch with clocks too. */
IN_SIMULATION(no_clock, 20)
{
    for (int clocks = 0; clocks < 2; clocks++) {
        struct heard h;
        jd_batch_options o;
        struct play *p = listening(&h, 5, &o, 2);

        p->script = says_so_itself;
        o.classify = NULL;
        o.attempt_timeout = clocks ? JD_SEC(1) : 0;
        o.errors_max = 2;
        cr_assert_eq(play_run(p, &o, NULL), -ETIMEDOUT);
        cr_assert_eq(jd_batch_clock(), JD_CLOCK_NONE);
        cr_assert_eq(h.ends[JD_CLOCK_NONE], p->next);
        free(p);
    }
    return jd_ok(NULL);
}

static int first_hangs_others_take_long(struct play *p, struct actor *a, unsigned attempt)
{
    (void)p, (void)attempt;
    return jd_sleep(a->index == 0 ? JD_SEC(1000) : JD_MS(1500));
}

/* The batch's error is the fatal item's: what is abandoned after it changes nothing. */
IN_SIMULATION(the_clock_of_the_fatal_item, 20)
{
    struct heard h;
    jd_batch_options o;
    struct play *p = listening(&h, 3, &o, 3);

    p->script = hangs;
    o.classify = NULL;
    o.errors_max = 0;
    o.attempt_timeout = JD_SEC(1);
    o.item_timeout = JD_SEC(2);
    cr_assert_eq(play_run(p, &o, NULL), -ETIMEDOUT);
    cr_assert_eq(jd_batch_clock(), JD_CLOCK_ATTEMPT);
    free(p);
    p = listening(&h, 2, &o, 2);
    p->script = first_hangs_others_take_long;
    o.classify = NULL;
    o.errors_max = 0;
    o.item_timeout = JD_SEC(1);
    cr_assert_eq(play_run(p, &o, NULL), -ETIMEDOUT);
    cr_assert_eq(jd_batch_clock(), JD_CLOCK_ITEM);
    free(p);
    return jd_ok(NULL);
}

static int fails(struct play *p, struct actor *a, unsigned attempt)
{
    (void)p, (void)attempt;
    return a->index == 0 ? -EIO : jd_sleep(JD_SEC(1000));
}

/* Nobody has won: the first failure, and its clock, are the race's. */
IN_SIMULATION(the_clock_of_a_race, 20)
{
    struct heard h;
    jd_batch_options o;
    struct play *p = listening(&h, 1, &o, 1);

    p->script = hangs;
    o.flags = JD_BATCH_FIRST_OK;
    o.errors_max = 0;
    o.classify = NULL;
    o.attempt_timeout = JD_SEC(1);
    cr_assert_eq(play_run(p, &o, NULL), -ETIMEDOUT);
    cr_assert_eq(jd_batch_clock(), JD_CLOCK_ATTEMPT);
    free(p);
    p = listening(&h, 4, &o, 1);
    p->script = fails;
    o.flags = JD_BATCH_FIRST_OK;
    o.errors_max = 0;
    o.classify = NULL;
    o.attempt_timeout = JD_SEC(1);
    cr_assert_eq(play_run(p, &o, NULL), -EIO);
    cr_assert_eq(jd_batch_clock(), JD_CLOCK_NONE);
    free(p);
    return jd_ok(NULL);
}

/* A sink that makes calls of its own hears of the next outcome all the same. */
IN_SIMULATION(a_call_in_the_sink_has_a_clock_of_its_own, 20)
{
    struct heard h;
    jd_batch_options o;
    struct play *p = listening(&h, 5, &o, 2);

    h.in_sink = hang;
    o.classify = NULL;
    cr_assert_eq(play_run(p, &o, NULL), 0);
    cr_assert_eq(jd_batch_clock(), JD_CLOCK_NONE);
    check_heard(h.ends, 5, 0, 0, 0);
    free(p);
    return jd_ok(NULL);
}

static int clock_of_call(jd_call_fn call, int64_t attempt, int64_t item, int64_t total)
{
    jd_batch_options o = JD_BATCH_OPTIONS_INIT;

    o.attempt_timeout = attempt;
    o.item_timeout = item;
    o.total_timeout = total;
    cr_assert_eq(jd_call(call, NULL, &o).error, call == hang ? -ETIMEDOUT : 0);
    return jd_batch_clock();
}

static jd_result answer(void *item, void *ctx)
{
    (void)ctx;
    return jd_ok(item);
}

IN_SIMULATION(the_clock_of_one_call, 20)
{
    cr_assert_eq(jd_batch_clock(), JD_CLOCK_NONE, "nothing was told so far");
    cr_assert_eq(clock_of_call(hang, JD_SEC(1), JD_SEC(2), JD_SEC(3)), JD_CLOCK_ATTEMPT);
    cr_assert_eq(clock_of_call(hang, JD_SEC(2), JD_SEC(1), JD_SEC(3)), JD_CLOCK_ITEM);
    cr_assert_eq(clock_of_call(hang, JD_SEC(2), JD_SEC(3), JD_SEC(1)), JD_CLOCK_TOTAL);
    cr_assert_eq(clock_of_call(answer, JD_SEC(2), JD_SEC(3), JD_SEC(1)), JD_CLOCK_NONE);
    return jd_ok(NULL);
}

static int three(void *ctx, void **ret_item)
{
    int *left = ctx;

    *ret_item = left;
    return (*left)-- > 0;
}

/* What the batch's own task was told comes along with the outcome, and with the end. */
IN_SIMULATION(the_pull_form_tells_the_taker, 20)
{
    jd_batch_options o = JD_BATCH_OPTIONS_INIT;
    jd_outcome out;
    jd_batch *b;
    int left = 3;

    o.limit = 1;
    o.errors_max = JD_ALL;
    o.attempt_timeout = JD_SEC(1);
    o.total_timeout = JD_MS(2500);
    o.ctx = &left;
    cr_assert_eq(jd_batch_open(&b, three, hang, &o), 0);
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(jd_batch_next(b, &out), 1);
        cr_assert_eq(out.result.error, -ETIMEDOUT);
        cr_assert_eq(jd_batch_clock(), JD_CLOCK_ATTEMPT);
    }
    cr_assert_eq(jd_batch_next(b, &out), -ETIMEDOUT);
    cr_assert_eq(jd_batch_clock(), JD_CLOCK_TOTAL);
    cr_assert_eq(jd_batch_close(b), -ETIMEDOUT);
    return jd_ok(NULL);
}

Test(batch, no_clock_outside_a_task)
{
    cr_assert_eq(jd_batch_clock(), JD_CLOCK_NONE);
}
