/* SPDX-License-Identifier: MIT */
/* Batches whose items have bounds of their own, by host or tenant (BR2, BR11, BR16, BR25). */
#include <pthread.h>

#include "attempt_rig.h"

#include "base/rng.h"

#define HOSTS 4

struct hosts {
    jd_sem sems[HOSTS];
    atomic_int inside[HOSTS], inside_max[HOSTS];
    int64_t pause;
    int fails; /* of so many attempts one fails; 0: none */
};

static void hosts_init(struct hosts *h, unsigned each)
{
    memset(h, 0, sizeof(*h));
    for (int i = 0; i < HOSTS; i++)
        cr_assert_eq(jd_sem_init_bounded(&h->sems[i], each), 0);
}

static jd_sem *sem_of_host(void *item, void *ctx)
{
    struct play *p = ctx;

    cr_assert_eq(jd_task_current(), p->consumer);
    return &((struct hosts *)p->more)->sems[((struct actor *)item)->index % HOSTS];
}

static int visit(struct play *p, struct actor *a, unsigned attempt)
{
    struct hosts *h = p->more;
    int host = a->index % HOSTS, err = 0;
    int now = atomic_fetch_add(&h->inside[host], 1) + 1, max = atomic_load(&h->inside_max[host]);

    while (now > max && !atomic_compare_exchange_weak(&h->inside_max[host], &max, now))
        ;
    if (h->pause > 0)
        err = jd_sleep(h->pause);
    else if (h->pause < 0)
        err = jd_yield();
    atomic_fetch_sub(&h->inside[host], 1);
    if (!err && h->fails && (a->index + (int)attempt) % h->fails == 0)
        err = -ECONNRESET;
    return err;
}

static void check_hosts(struct hosts *h, int each)
{
    for (int i = 0; i < HOSTS; i++) {
        cr_assert_leq(atomic_load(&h->inside_max[i]), each);
        cr_assert_eq(jd_sem_value(&h->sems[i]), each);
    }
}

ON_WORKERS(each_host_has_its_own_bound, 2, 30)
{
    static const int64_t pauses[] = { 0, -1, JD_US(20) };

    for (size_t c = 0; c < 9; c++) {
        struct hosts h;
        struct play *p = play_new(1000);
        jd_batch_options o = play_options(p, c / 3 == 0 ? 1 : c / 3 == 1 ? 8 : 100);
        jd_batch_stats s;

        hosts_init(&h, 2);
        h.pause = pauses[c % 3];
        h.fails = 5;
        p->more = &h;
        p->script = visit;
        o.item_sem = sem_of_host;
        o.attempts = 2;
        o.retry_budget_percent = 100;
        cr_assert_eq(play_run(p, &o, &s), 0);
        cr_assert_eq(s.ok, 1000);
        cr_assert_eq(s.retried, 200);
        check_hosts(&h, 2);
        free(p);
    }
    return jd_ok(NULL);
}

/* The place of an item that waits for its host goes to others: one slow host holds up nobody. */
static int first_host_is_slow(struct play *p, struct actor *a, unsigned attempt)
{
    (void)p, (void)attempt;
    return jd_sleep(a->index % HOSTS == 0 ? JD_SEC(1) : JD_MS(1));
}

IN_SIMULATION(a_slow_host_holds_up_nobody, 20)
{
    struct hosts h;
    struct play *p = play_new(40);
    jd_batch_options o = play_options(p, 2);
    jd_batch_stats s;

    hosts_init(&h, 1);
    p->more = &h;
    p->script = first_host_is_slow;
    o.item_sem = sem_of_host;
    o.waiting_max = 100;
    cr_assert_eq(play_run(p, &o, &s), 0);
    cr_assert_eq(s.ok, 40);
    for (int i = 0; i < 40; i++)
        if (i % HOSTS)
            cr_assert_lt(p->actors[i].ended_at - p->start, JD_MS(200), "item %d", i);
    cr_assert_geq(p->actors[36].ended_at - p->start, JD_SEC(10));
    for (int i = HOSTS; i < 40; i += HOSTS) /* and among its own, first come, first served */
        cr_assert_gt(p->actors[i].ended_at, p->actors[i - HOSTS].ended_at);
    check_hosts(&h, 1);
    free(p);
    return jd_ok(NULL);
}

/* BR1: pulling stops at waiting_max. */
static jd_sem *one_for_all(void *item, void *ctx)
{
    (void)item;
    return &((struct hosts *)((struct play *)ctx)->more)->sems[0];
}

IN_SIMULATION(pulling_stops_while_too_many_wait, 20)
{
    for (unsigned max = 0; max <= 6; max += 3) {
        struct hosts h;
        struct play *p = play_new(50);
        jd_batch_options o = play_options(p, 3);
        int early = 0;

        hosts_init(&h, 1);
        h.pause = JD_SEC(1);
        p->more = &h;
        p->script = visit;
        o.item_sem = one_for_all;
        o.waiting_max = max;
        cr_assert_eq(play_run(p, &o, NULL), 0);
        for (int i = 0; i < 50; i++)
            early += p->actors[i].pulled_at < p->start + JD_MS(900);
        cr_assert_eq(early, 1 + (int)(max ? max : 12)); /* the one that flies, and those */
        cr_assert_eq(p->ok, 50);
        free(p);
    }
    return jd_ok(NULL);
}

static jd_sem *some_have_none(void *item, void *ctx)
{
    struct actor *a = item;

    return a->index % 2 ? NULL : one_for_all(item, ctx);
}

IN_SIMULATION(an_item_without_a_bound_goes_at_once, 20)
{
    struct hosts h;
    struct play *p = play_new(20);
    jd_batch_options o = play_options(p, 2);

    hosts_init(&h, 0); /* nobody gets one, until later */
    p->more = &h;
    p->script = visit;
    o.item_sem = some_have_none;
    o.waiting_max = 100;
    o.item_timeout = JD_SEC(1);
    cr_assert_eq(play_run(p, &o, NULL), 0);
    for (int i = 0; i < 20; i++) {
        cr_assert_eq(p->actors[i].end.error, i % 2 ? 0 : -ETIMEDOUT);
        cr_assert_eq(atomic_load(&p->actors[i].attempts), i % 2); /* never called */
    }
    free(p);
    return jd_ok(NULL);
}

/* A grant that comes in the very moment in which the item's time is up, or the batch is cancelled. */
struct meddler {
    struct hosts *h;
    atomic_int stop;
};

static jd_result meddle(void *arg)
{
    struct meddler *m = arg;
    struct rng rng;

    rng_seed(&rng, jd_test_seed());
    while (!atomic_load(&m->stop)) {
        jd_sem *s = &m->h->sems[rng_below(&rng, HOSTS)];

        if (!jd_sem_try_acquire(s)) {
            (void)jd_yield();
            cr_assert_eq(jd_sem_release(s), 0);
        }
        (void)jd_yield();
    }
    return jd_ok(NULL);
}

ON_WORKERS(waiting_items_cancelled_at_any_point, 2, 60)
{
    unsigned long rounds = jd_test_rounds(300);
    struct rng rng;
    struct hosts h;
    struct meddler m = { &h, 0 };
    jd_task *meddler;
    int cancelled = 0;

    hosts_init(&h, 2);
    meddler = jd_spawn(meddle, &m);
    rng_seed(&rng, jd_test_seed());
    for (unsigned long i = 0; i < rounds; i++) {
        struct play_apart run = { .p = play_new(150), .err = 1 };
        jd_sem shared = JD_SEM_INIT(3);

        h.pause = rng_below(&rng, 2) ? -1 : JD_US(20);
        h.fails = (int)rng_below(&rng, 4);
        run.p->more = &h;
        run.p->script = visit;
        run.o = play_options(run.p, 1 + rng_below(&rng, 20));
        run.o.item_sem = sem_of_host;
        run.o.waiting_max = rng_below(&rng, 30);
        run.o.attempts = 1 + rng_below(&rng, 3);
        run.o.backoff = JD_US(rng_below(&rng, 50));
        run.o.retry_budget_percent = 300;
        run.o.item_timeout = rng_below(&rng, 2) ? JD_US(200) : 0;
        run.o.sem = rng_below(&rng, 2) ? &shared : NULL;
        cancelled += play_cut_after(&run, JD_US(rng_below(&rng, 1000)));
        cr_assert_eq(jd_sem_value(&shared), 3); /* BR25 */
        free(run.p);
    }
    atomic_store(&m.stop, 1);
    (void)jd_join(meddler);
    check_hosts(&h, 2);
    cr_assert_gt(cancelled, 0);
    return jd_ok(NULL);
}

/* Permits come from a plain thread, too. */
static void *release_all(void *arg)
{
    struct hosts *h = arg;

    for (int i = 0; i < 100; i++)
        cr_assert_eq(jd_sem_release(&h->sems[0]), 0);
    return NULL;
}

ON_WORKERS(a_plain_thread_grants_waiting_items, 2, 20)
{
    for (unsigned long i = 0; i < jd_test_rounds(50); i++) {
        struct play *p = play_new(50);
        jd_batch_options o = play_options(p, 5);
        struct hosts h;
        pthread_t thread;

        memset(&h, 0, sizeof(h));
        p->more = &h;
        p->script = visit;
        o.item_sem = one_for_all;
        cr_assert_eq(jd_sem_init(&h.sems[0], 0), 0);
        cr_assert_eq(pthread_create(&thread, NULL, release_all, &h), 0);
        cr_assert_eq(play_run(p, &o, NULL), 0);
        cr_assert_eq(p->ok, 50);
        pthread_join(thread, NULL);
        cr_assert_eq(jd_sem_value(&h.sems[0]), 100);
        free(p);
    }
    return jd_ok(NULL);
}

/* BR16: a call that holds a permit and would wait for another of the same semaphore. */
struct nested {
    jd_sem sem;
    bool outer_by_item, inner_by_item; /* the permit is the item's own */
};

static jd_sem *outer_sem(void *item, void *ctx)
{
    (void)item;
    return &((struct nested *)((struct play *)ctx)->more)->sem;
}

struct inner {
    struct actor *next;
    struct nested *nested;
    int abandoned;
};

static jd_sem *inner_sem(void *item, void *ctx)
{
    (void)item;
    return &((struct inner *)ctx)->nested->sem;
}

static void inner_abandon(void *item, jd_result r, void *ctx)
{
    struct inner *inner = ctx;

    cr_assert_not_null(item);
    cr_assert_eq(r.error, -EDEADLK);
    inner->abandoned++;
}

static int one_item(void *ctx, void **ret_item)
{
    struct inner *inner = ctx;

    *ret_item = inner->next;
    inner->next = NULL;
    return *ret_item != NULL;
}

static jd_result innermost(void *item, void *ctx)
{
    (void)ctx;
    return jd_ok(item);
}

static int nest(struct play *p, struct actor *a, unsigned attempt)
{
    struct inner inner = { a, p->more, 0 };
    jd_batch_options o = JD_BATCH_OPTIONS_INIT;
    int err;

    (void)attempt;
    o.limit = 1;
    if (inner.nested->inner_by_item)
        o.item_sem = inner_sem;
    else
        o.sem = &inner.nested->sem;
    o.abandon = inner_abandon;
    o.ctx = &inner;
    err = jd_batch_run(one_item, innermost, NULL, &o, NULL);
    cr_assert_eq(inner.abandoned, err == -EDEADLK && inner.nested->inner_by_item);
    return err;
}

static jd_result nest_once(void *arg)
{
    struct nested *n = arg;
    struct play *p = play_new(1);
    jd_batch_options o = play_options(p, 1);
    int err;

    p->more = n;
    p->script = nest;
    if (n->outer_by_item)
        o.item_sem = outer_sem;
    else
        o.sem = &n->sem;
    (void)play_run(p, &o, NULL);
    err = p->actors[0].end.error;
    free(p);
    return jd_err(err);
}

Test(batch, nesting_on_one_semaphore_is_refused_in_debug_mode)
{
    for (int how = 0; how < 4; how++) {
        struct nested n = { JD_SEM_INIT(2), how & 1, how & 2 };
        jd_config cfg = JD_CONFIG_INIT;

        cfg.workers = 1;
        cr_assert_eq(jd_run(nest_once, &n, &cfg).error, 0); /* there are enough */
        cfg.flags = JD_DEBUG;
        cr_assert_eq(jd_run(nest_once, &n, &cfg).error, -EDEADLK);
        cr_assert_eq(jd_sem_value(&n.sem), 2);
    }
}

ON_WORKERS(waiting_out_of_memory_at_any_point, 1, 60)
{
    int failed = 0, err = 1;

    for (uint64_t visits = 0; err; visits++) {
        struct play *p = play_new(200);
        struct hosts h;
        jd_batch_options o = play_options(p, 70);

        hosts_init(&h, 1);
        h.pause = -1;
        p->more = &h;
        p->script = visit;
        o.item_sem = sem_of_host;
        err = play_run_short(p, &o, visits);
        failed += err == -ENOMEM;
        check_hosts(&h, 1);
        free(p);
    }
    cr_assert_gt(failed, 0);
    return jd_ok(NULL);
}
