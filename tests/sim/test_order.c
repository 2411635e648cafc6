/* SPDX-License-Identifier: MIT */
/*
 * Orders that are promised across workers.
 */
#include <errno.h>

#include "jd_test.h"
#include "sim/sim.h"

#include <jackdaw/jackdaw.h>

struct order {
    jd_future *future;
    int next, at[2];
};

struct mark {
    struct order *order;
    int index;
};

static void on_done(jd_future *f, void *arg)
{
    struct mark *m = arg;

    (void)f;
    m->order->at[m->index] = ++m->order->next;
}

static jd_result set_it(void *arg)
{
    struct order *o = arg;

    return jd_err(jd_future_set(o->future, jd_ok(NULL)));
}

static jd_result add_two(void *arg)
{
    struct order *o = arg;
    struct mark marks[2] = { { o, 0 }, { o, 1 } };
    jd_task *setter;

    cr_assert_eq(jd_future_new(NULL, &o->future), 0);
    setter = jd_spawn(set_it, o);
    cr_assert_eq(jd_future_add_done_callback(o->future, on_done, &marks[0]), 0);
    while (!jd_future_done(o->future)) /* bounded: the others get their turns */
        (void)jd_now();                /* this worker goes on, without a look at its inbox */
    cr_assert_eq(jd_future_add_done_callback(o->future, on_done, &marks[1]), 0);
    while (o->next < 2)
        cr_assert_eq(jd_yield(), 0);
    cr_assert_eq(jd_join(setter).error, 0);
    jd_future_unref(o->future);
    return jd_ok(NULL);
}

/* The first one comes by the inbox, from the worker that completed; the second one is given here. */
Test(sim_order, done_callbacks_run_in_the_order_of_their_adding)
{
    jd_sim_options o = JD_SIM_OPTIONS_INIT;

    o.workers = 2;
    for (uint64_t seed = 0; seed < jd_test_rounds(200); seed++) {
        struct order order = { .next = 0 };

        cr_assert_eq(jd_sim_run(seed, add_two, &order, &o).error, 0);
        cr_assert_lt(order.at[0], order.at[1], "seed %lu", (unsigned long)seed);
    }
}
