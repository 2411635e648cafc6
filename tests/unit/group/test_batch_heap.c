/* SPDX-License-Identifier: MIT */
/* The heap of a batch's deadlines against a plain array. */
#include "jd_test.h"

#include "base/rng.h"
#include "group/batch_heap.h"

#define NODES 200

static struct batch_timer timers[NODES];
static struct batch_heap heap;

static void check(void)
{
    for (unsigned i = 0; i < heap.count; i++) {
        cr_assert_eq(heap.nodes[i]->index, i + 1);
        if (i > 0)
            cr_assert_not(batch_timer_before(heap.nodes[i], heap.nodes[(i - 1) / 2]));
    }
}

static struct batch_timer *earliest(void)
{
    struct batch_timer *found = NULL;

    for (int i = 0; i < NODES; i++)
        if (batch_timer_is_armed(&timers[i]) && (!found || batch_timer_before(&timers[i], found)))
            found = &timers[i];
    return found;
}

Test(batch_heap, any_node_leaves_and_the_first_is_the_earliest)
{
    struct rng rng;
    unsigned armed = 0;

    rng_seed(&rng, jd_test_seed());
    for (unsigned long round = 0; round < jd_test_rounds(20000); round++) {
        struct batch_timer *t = &timers[rng_below(&rng, NODES)];

        cr_assert(batch_heap_reserve(&heap, armed + 1));
        if (batch_timer_is_armed(t))
            batch_heap_remove(&heap, t);
        else
            batch_heap_add(&heap, t, (int64_t)rng_below(&rng, 50));
        armed = batch_timer_is_armed(t) ? armed + 1 : armed - 1;
        cr_assert_eq(heap.count, armed);
        check();
        cr_assert_eq(batch_heap_next(&heap), armed ? earliest()->when : CLOCK_FOREVER);
    }
    for (; heap.count > 0; armed--) {
        cr_assert_eq(heap.nodes[0], earliest());
        batch_heap_remove(&heap, heap.nodes[0]);
    }
    cr_assert_eq(armed, 0);
    batch_heap_free(&heap);
}

Test(batch_heap, equal_times_leave_in_the_order_they_came)
{
    cr_assert(batch_heap_reserve(&heap, NODES));
    for (int i = 0; i < NODES; i++)
        batch_heap_add(&heap, &timers[i], i % 3);
    for (int when = 0; when < 3; when++)
        for (int i = when; i < NODES; i += 3) {
            cr_assert_eq(heap.nodes[0], &timers[i]);
            batch_heap_remove(&heap, &timers[i]);
        }
    batch_heap_free(&heap);
}
