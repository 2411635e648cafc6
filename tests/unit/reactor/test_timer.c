/* SPDX-License-Identifier: MIT */
/* The timer wheel against a naive sorted model, its edges, and two threads at once. */
#include "jd_test.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/rng.h"
#include "reactor/timer.h"

#define LOG_MAX 8192

struct node {
    struct timer timer;
    JD_ATOMIC(uint32_t) fired;
    bool refuses; /* claim answers NULL: the wait ended another way */
    bool armed;   /* the model's idea */
    uint64_t order;
};

static struct timer_wheel wheel;
static struct node *fired_log[LOG_MAX];
static unsigned fired_len;

static void *claim_node(struct timer *t)
{
    struct node *n = JD_CONTAINER_OF(t, struct node, timer);

    /* Relaxed: counted, read after the threads are joined. */
    atom_fetch_add(&n->fired, 1, relaxed);
    return n->refuses ? NULL : n;
}

static void deliver_log(void *token, void *ctx)
{
    (void)ctx;
    cr_assert_lt(fired_len, LOG_MAX);
    fired_log[fired_len++] = token;
}

static void node_init(struct node *n)
{
    timer_init(&n->timer, claim_node);
    atom_init(&n->fired, 0);
    n->refuses = false;
    n->armed = false;
    n->order = 0;
}

static unsigned expire_all(int64_t now)
{
    unsigned total = 0;

    fired_len = 0;
    do
        total += timer_wheel_expire(&wheel, now, deliver_log, NULL);
    while (timer_wheel_count(&wheel) > 0 && timer_wheel_next(&wheel) <= now);
    return total;
}

/* Asyncio's rule: call_at() with equal times runs in the order of the calls. */
Test(timer, equal_deadlines_fire_in_submission_order_whatever_level_they_came_from)
{
    static struct node nodes[64];
    int64_t deadline = INT64_C(10000000000);
    unsigned i;

    timer_wheel_init(&wheel, 0);
    for (i = 0; i < 32; i++) {
        node_init(&nodes[i]);
        timer_arm(&wheel, &nodes[i].timer, deadline);
    }
    static struct node step;

    node_init(&step);
    /* Moves the wheel close to the deadline, so that the second half is armed on low levels. */
    timer_arm(&wheel, &step.timer, deadline - 3);
    cr_assert_eq(expire_all(deadline - 2), 1);
    for (; i < 64; i++) {
        node_init(&nodes[i]);
        timer_arm(&wheel, &nodes[i].timer, deadline);
    }
    cr_assert_eq(expire_all(deadline - 1), 0, "fired before the deadline");
    cr_assert_eq(expire_all(deadline), 64);
    for (i = 0; i < 64; i++)
        cr_assert_eq(fired_log[i], &nodes[i], "place %u", i);
    cr_assert_eq(timer_wheel_count(&wheel), 0);
    cr_assert_eq(timer_wheel_next(&wheel), INT64_MAX);
}

Test(timer, past_and_negative_deadlines_are_due_at_once_in_order)
{
    static const int64_t deadlines[] = { 5, -7, INT64_MIN, 5, 999, 0, 1000 };
    static const unsigned order[] = { 2, 1, 5, 0, 3, 4, 6 };
    static struct node nodes[7];

    timer_wheel_init(&wheel, 1000);
    for (unsigned i = 0; i < 7; i++) {
        node_init(&nodes[i]);
        timer_arm(&wheel, &nodes[i].timer, deadlines[i]);
    }
    cr_assert_eq(timer_wheel_next(&wheel), INT64_MIN);
    cr_assert_eq(expire_all(1000), 7);
    for (unsigned i = 0; i < 7; i++)
        cr_assert_eq(fired_log[i], &nodes[order[i]], "place %u", i);
}

Test(timer, far_future_reaches_the_end_of_time)
{
    static struct node nodes[4];
    static const int64_t deadlines[] = { INT64_MAX, INT64_MAX - 1, INT64_C(1) << 62,
                                         (INT64_C(1) << 60) - 1 };

    timer_wheel_init(&wheel, 12345);
    for (unsigned i = 0; i < 4; i++) {
        node_init(&nodes[i]);
        timer_arm(&wheel, &nodes[i].timer, deadlines[i]);
    }
    for (unsigned i = 4; i-- > 0;) {
        cr_assert_eq(timer_wheel_next(&wheel), deadlines[i]);
        cr_assert_eq(expire_all(deadlines[i] - 1), 0);
        cr_assert_eq(expire_all(deadlines[i]), 1);
        cr_assert_eq(fired_log[0], &nodes[i]);
    }
}

Test(timer, each_digit_boundary_is_crossed_exactly)
{
    static struct node n;
    int64_t now = (INT64_C(1) << 36) - 1; /* all low digits are 63: the next step carries */

    timer_wheel_init(&wheel, now);
    for (unsigned shift = 0; shift < 48; shift++) {
        int64_t deadline = now + (INT64_C(1) << shift);

        node_init(&n);
        cr_assert(timer_arm(&wheel, &n.timer, deadline));
        cr_assert_eq(timer_wheel_next(&wheel), deadline);
        cr_assert_eq(expire_all(deadline - 1), 0, "shift %u", shift);
        cr_assert_eq(expire_all(deadline), 1, "shift %u", shift);
        now = deadline;
    }
}

Test(timer, arm_says_when_it_is_the_earliest)
{
    static struct node a, b, c, d;

    timer_wheel_init(&wheel, 0);
    node_init(&a), node_init(&b), node_init(&c), node_init(&d);
    cr_assert(timer_arm(&wheel, &a.timer, 1000));
    cr_assert_not(timer_arm(&wheel, &b.timer, 1000));
    cr_assert_not(timer_arm(&wheel, &c.timer, 2000));
    cr_assert(timer_arm(&wheel, &d.timer, 999));
}

Test(timer, disarm_tells_who_won_and_gives_the_timer_back)
{
    static struct node n;

    timer_wheel_init(&wheel, 0);
    node_init(&n);
    cr_assert_not(timer_disarm(&n.timer), "never armed");
    timer_arm(&wheel, &n.timer, 100);
    cr_assert(timer_disarm(&n.timer));
    cr_assert_not(timer_disarm(&n.timer));
    cr_assert_eq(expire_all(1000), 0);
    timer_arm(&wheel, &n.timer, 2000); /* may be armed again */
    cr_assert_eq(expire_all(2000), 1);
    cr_assert_not(timer_disarm(&n.timer));
    cr_assert_eq(atom_load(&n.fired, relaxed), 1);
}

Test(timer, a_refused_claim_is_not_delivered)
{
    static struct node n[3];

    timer_wheel_init(&wheel, 0);
    for (unsigned i = 0; i < 3; i++) {
        node_init(&n[i]);
        timer_arm(&wheel, &n[i].timer, 10 + i);
    }
    n[1].refuses = true;
    cr_assert_eq(expire_all(100), 2);
    cr_assert_eq(fired_log[0], &n[0]);
    cr_assert_eq(fired_log[1], &n[2]);
}

/* I8: an idle process with cancelled timeouts must fall asleep. */
Test(timer, a_wheel_of_cancelled_timers_stops_waking)
{
    static struct node nodes[1000];
    unsigned wakes = 0;

    timer_wheel_init(&wheel, 0);
    for (unsigned i = 0; i < 1000; i++) {
        node_init(&nodes[i]);
        timer_arm(&wheel, &nodes[i].timer, INT64_C(30000000000) + i * 1000);
    }
    for (unsigned i = 0; i < 999; i++)
        cr_assert(timer_disarm(&nodes[i].timer));
    int64_t last = INT64_C(30000000000) + 999 * 1000;

    while (timer_wheel_next(&wheel) < last) {
        cr_assert_eq(expire_all(timer_wheel_next(&wheel)), 0);
        cr_assert_leq(++wakes, 10);
    }
    cr_assert_eq(timer_wheel_next(&wheel), last, "later than the truth");
    cr_assert(timer_disarm(&nodes[999].timer));
    cr_assert_eq(timer_wheel_next(&wheel), INT64_MAX);
    cr_assert_eq(timer_wheel_count(&wheel), 0);
}

Test(timer, an_empty_wheel_never_wakes_in_whatever_order_it_was_emptied)
{
    static struct node nodes[300];

    timer_wheel_init(&wheel, 0);
    for (unsigned stride = 1; stride < 300; stride += 97) {
        for (unsigned i = 0; i < 300; i++) {
            node_init(&nodes[i]);
            timer_arm(&wheel, &nodes[i].timer, INT64_C(30000000000) + i);
        }
        for (unsigned i = 0; i < 300; i++)
            timer_disarm(&nodes[i * stride % 300].timer);
        for (unsigned i = 0; i < 300; i++)
            timer_disarm(&nodes[i].timer);
        cr_assert_eq(timer_wheel_next(&wheel), INT64_MAX, "stride %u", stride);
    }
}

static void deliver_and_rearm(void *token, void *ctx)
{
    struct node *n = token;
    unsigned *rounds = ctx;

    if (++*rounds < 100)
        timer_arm(&wheel, &n->timer, n->timer.deadline); /* overdue by now */
}

/* A delivery holds no lock, so it may use the wheel; one at a time expires. */
Test(timer, a_delivery_may_arm_the_same_wheel)
{
    static struct node n;
    unsigned rounds = 0;

    timer_wheel_init(&wheel, 0);
    node_init(&n);
    timer_arm(&wheel, &n.timer, 500);
    while (timer_wheel_next(&wheel) <= 600)
        timer_wheel_expire(&wheel, 600, deliver_and_rearm, &rounds);
    cr_assert_eq(rounds, 100);
}

static void deliver_nested(void *token, void *ctx)
{
    (void)token;
    cr_assert_eq(timer_wheel_expire(&wheel, 1000, deliver_nested, ctx), 0, "expired twice at once");
    ++*(unsigned *)ctx;
}

Test(timer, expiry_is_refused_while_another_delivers)
{
    static struct node nodes[100];
    unsigned delivered = 0;

    timer_wheel_init(&wheel, 0);
    for (unsigned i = 0; i < 100; i++) {
        node_init(&nodes[i]);
        timer_arm(&wheel, &nodes[i].timer, 10);
    }
    cr_assert_eq(timer_wheel_expire(&wheel, 1000, deliver_nested, &delivered), 100);
    cr_assert_eq(delivered, 100);
}

static struct node *cancel_list;
static unsigned cancel_from, cancel_to;

static void deliver_and_disturb(void *token, void *ctx)
{
    (void)ctx;
    fired_log[fired_len++] = token;
    /* While the slot is open: cancel some of it, and arm equals of what is still in it. */
    if (fired_len == 1) {
        for (unsigned i = cancel_from; i < cancel_to; i++)
            cr_assert(timer_disarm(&cancel_list[i].timer));
        for (unsigned i = cancel_from; i < cancel_to; i++)
            timer_arm(&wheel, &cancel_list[i].timer, cancel_list[cancel_to].timer.deadline);
    }
}

/* A slot with more timers than one hold of the lock moves: what is armed meanwhile into its range
 * queues up behind the equal deadlines that were there (I3). */
Test(timer, arming_into_a_slot_that_is_being_opened_keeps_the_order)
{
    static struct node nodes[2000];
    static struct node first;
    int64_t base = INT64_C(1) << 40;

    timer_wheel_init(&wheel, 0);
    node_init(&first);
    timer_arm(&wheel, &first.timer, base - 1);
    for (unsigned i = 0; i < 2000; i++) {
        node_init(&nodes[i]);
        timer_arm(&wheel, &nodes[i].timer, base + 1000 + i / 1000);
    }
    cancel_list = nodes;
    cancel_from = 100;
    cancel_to = 1100;
    fired_len = 0;
    while (timer_wheel_next(&wheel) <= base + 100000)
        timer_wheel_expire(&wheel, base + 100000, deliver_and_disturb, NULL);
    cr_assert_eq(fired_len, 2001);
    for (unsigned i = 0; i < 100; i++)
        cr_assert_eq(fired_log[1 + i], &nodes[i]);
    for (unsigned i = 1100; i < 2000; i++)
        cr_assert_eq(fired_log[1 + i - 1000], &nodes[i]);
    for (unsigned i = 100; i < 1100; i++)
        cr_assert_eq(fired_log[1 + 900 + i], &nodes[i], "place of %u", i);
}

/* ---- random operations against a list that is searched for its least (deadline, order) ---- */

#define MODEL_NODES 400

static struct node model[MODEL_NODES];

static struct node *model_least(int64_t now)
{
    struct node *least = NULL;

    for (unsigned i = 0; i < MODEL_NODES; i++) {
        struct node *n = &model[i];

        if (n->armed && n->timer.deadline <= now &&
            (!least || n->timer.deadline < least->timer.deadline ||
             (n->timer.deadline == least->timer.deadline && n->order < least->order)))
            least = n;
    }
    return least;
}

static int64_t random_delay(struct rng *r)
{
    unsigned bits = rng_below(r, 50);
    int64_t delay = (int64_t)(rng_next(r) & ((UINT64_C(1) << bits) - 1));

    switch (rng_below(r, 8)) {
    case 0:
        return -delay;
    case 1:
        return (int64_t)rng_below(r, 4); /* equal deadlines */
    case 2:
        return INT64_C(30000000000); /* the usual timeout */
    default:
        return delay;
    }
}

static void model_expire(int64_t now)
{
    unsigned fired = expire_all(now);

    for (unsigned i = 0; i < fired; i++) {
        struct node *least = model_least(now);

        cr_assert_not_null(least, "fired too early or twice");
        cr_assert_eq(fired_log[i], least, "place %u of %u: deadline %lld, not %lld", i, fired,
                     (long long)fired_log[i]->timer.deadline, (long long)least->timer.deadline);
        least->armed = false;
    }
    cr_assert_null(model_least(now), "a due timer did not fire");
}

static void model_arm(struct rng *r, struct node *n, int64_t now, uint64_t order)
{
    if (n->armed) {
        cr_assert(timer_disarm(&n->timer));
        n->armed = false;
        return;
    }
    cr_assert_not(timer_disarm(&n->timer));
    int64_t deadline = now + random_delay(r);
    struct node *least = model_least(INT64_MAX);
    bool earliest = timer_arm(&wheel, &n->timer, deadline);

    /* May miss it only when next is early, which is safe: the owner is awake by then. */
    cr_assert(!earliest || !least || deadline < least->timer.deadline);
    n->armed = true;
    n->order = order;
}

Test(timer, random_operations_agree_with_a_sorted_list, .timeout = 60)
{
    uint64_t seed = jd_test_seed();
    unsigned long rounds = jd_test_rounds(40000);
    int64_t now = INT64_C(1) << 41;
    struct rng r;

    rng_seed(&r, seed);
    timer_wheel_init(&wheel, now);
    for (unsigned i = 0; i < MODEL_NODES; i++)
        node_init(&model[i]);
    for (unsigned long round = 0; round < rounds; round++) {
        unsigned choice = rng_below(&r, 10);

        if (choice < 7) {
            model_arm(&r, &model[rng_below(&r, MODEL_NODES)], now, round);
        } else {
            int64_t next = timer_wheel_next(&wheel);
            struct node *least = model_least(INT64_MAX);

            cr_assert(least ? next <= least->timer.deadline : next == INT64_MAX, "next too late");
            if (choice == 7 && next != INT64_MAX && next > now)
                now = next;
            else if (choice == 8)
                now += (int64_t)(rng_next(&r) & ((UINT64_C(1) << rng_below(&r, 38)) - 1));
            model_expire(now);
            next = timer_wheel_next(&wheel);
            cr_assert(next > now);
        }
    }
}

/* ---- two threads: each timer ends exactly one way ---- */

#define STRESS_NODES 512

static struct node stress[STRESS_NODES];
static JD_ATOMIC(uint32_t) stress_stop;
static JD_ATOMIC(uint64_t) stress_delivered;

static void deliver_count(void *token, void *ctx)
{
    (void)token;
    (void)ctx;
    atom_fetch_add(&stress_delivered, 1, relaxed);
}

static void *stress_expirer(void *arg)
{
    int64_t now = 0;

    (void)arg;
    while (atom_load(&stress_stop, relaxed) == 0) {
        now += 997;
        timer_wheel_expire(&wheel, now, deliver_count, NULL);
    }
    return NULL;
}

Test(timer, each_timer_is_either_fired_or_cancelled_under_two_threads, .timeout = 60)
{
    unsigned long rounds = jd_test_rounds(400000);
    uint64_t cancelled = 0, armed = 0, fired = 0;
    int64_t guess = 0;
    struct rng r;
    pthread_t thread;

    rng_seed(&r, jd_test_seed());
    timer_wheel_init(&wheel, 0);
    for (unsigned i = 0; i < STRESS_NODES; i++)
        node_init(&stress[i]);
    atom_init(&stress_stop, 0);
    atom_init(&stress_delivered, (uint64_t)0);
    cr_assert_eq(pthread_create(&thread, NULL, stress_expirer, NULL), 0);
    for (unsigned long i = 0; i < rounds; i++) {
        struct node *n = &stress[rng_below(&r, STRESS_NODES)];

        cancelled += timer_disarm(&n->timer); /* true or false, it is ours now */
        guess += 500;
        timer_arm(&wheel, &n->timer, guess + (int64_t)rng_below(&r, 1u << 20));
        armed++;
    }
    for (unsigned i = 0; i < STRESS_NODES; i++)
        cancelled += timer_disarm(&stress[i].timer);
    atom_store(&stress_stop, 1, relaxed);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    for (unsigned i = 0; i < STRESS_NODES; i++)
        fired += atom_load(&stress[i].fired, relaxed);
    cr_assert_eq(armed, cancelled + fired, "%llu armed, %llu cancelled, %llu fired",
                 (unsigned long long)armed, (unsigned long long)cancelled,
                 (unsigned long long)fired);
    cr_assert_eq(fired, atom_load(&stress_delivered, relaxed));
    cr_assert_eq(timer_wheel_count(&wheel), 0);
    cr_assert_eq(timer_wheel_next(&wheel), INT64_MAX);
}
