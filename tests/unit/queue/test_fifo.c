/* SPDX-License-Identifier: MIT */
/* The ready FIFO: order, growth, index wrap, failure to grow, conservation under thieves. */
#include "jd_test.h"

#include <pthread.h>
#include <stdlib.h>

#include "queue/fifo.h"
#include "ring_rig.h"

/* As if the queue had run for 580 years: the arithmetic must not care. */
static void start_at(struct fifo *f, uint64_t index)
{
    atom_store(&f->head, index, relaxed);
    atom_store(&f->tail, index, relaxed);
    f->head_seen = index;
}

Test(fifo, pops_in_push_order_across_growth_and_index_wrap)
{
    struct fifo f;

    cr_assert(fifo_init(&f, 1, &memory));
    start_at(&f, UINT64_MAX - 5);
    cr_assert_null(fifo_pop(&f));
    cr_assert(fifo_is_empty(&f));
    for (uintptr_t i = 0; i < 100; i++) {
        cr_assert(fifo_push(&f, item(2 * i)));
        cr_assert(fifo_push_quiet(&f, item(2 * i + 1)));
        cr_assert_eq(fifo_pop(&f), item(i));
    }
    cr_assert_eq(fifo_len(&f), 100);
    cr_assert_not(fifo_is_empty(&f));
    for (uintptr_t i = 100; i < 200; i++)
        cr_assert_eq(fifo_pop(&f), item(i));
    cr_assert_null(fifo_pop(&f));
    fifo_fini(&f);
    cr_assert_eq(bytes_out, 0);
}

Test(fifo, steal_takes_half_rounded_up_and_at_most_max)
{
    static const unsigned before[] = { 1, 2, 3, 8, 9, 100 };
    static const unsigned taken[] = { 1, 1, 2, 4, 5, 16 };
    struct fifo f;
    void *out[16];

    cr_assert(fifo_init(&f, 2, &memory));
    cr_assert_eq(fifo_steal(&f, out, 16), 0);
    for (unsigned c = 0; c < JD_ARRAY_LEN(before); c++) {
        for (uintptr_t i = 0; i < before[c]; i++)
            cr_assert(fifo_push(&f, item(i)));
        cr_assert_eq(fifo_steal(&f, out, 16), taken[c]);
        for (uintptr_t i = 0; i < taken[c]; i++)
            cr_assert_eq(out[i], item(i));
        for (uintptr_t i = taken[c]; i < before[c]; i++)
            cr_assert_eq(fifo_pop(&f), item(i));
    }
    fifo_fini(&f);
}

Test(fifo, push_many_is_all_or_nothing)
{
    struct fifo f;
    void *items[5];

    allocations_left = 1;
    for (uintptr_t i = 0; i < 5; i++)
        items[i] = item(i);
    cr_assert(fifo_init(&f, 2, &memory));
    cr_assert_not(fifo_push_many(&f, items, 5), "5 in a ring of 4 without memory");
    cr_assert(fifo_is_empty(&f));
    cr_assert(fifo_push_many(&f, items, 4));
    cr_assert_not(fifo_push(&f, item(9)));
    cr_assert_not(fifo_push_quiet(&f, item(9)));
    cr_assert_eq(fifo_len(&f), 4);
    allocations_left = 1;
    cr_assert(fifo_push_many(&f, items, 5));
    for (uintptr_t i = 0; i < 9; i++)
        cr_assert_eq(fifo_pop(&f), item(i < 4 ? i : i - 4));
    fifo_fini(&f);
    cr_assert_eq(bytes_out, 0);
}

Test(fifo, init_reports_missing_memory)
{
    struct fifo f;

    allocations_left = 0;
    cr_assert_not(fifo_init(&f, 8, &memory));
}

#define STRESS_THIEVES 2

static struct fifo shared;
static unsigned char *seen;
static JD_ATOMIC(uint32_t) done;

static void see(void *got, uintptr_t *last)
{
    uintptr_t n = (uintptr_t)got - 1;

    cr_assert(n > *last || *last == UINTPTR_MAX, "claims of one thread go backwards");
    *last = n;
    seen[n]++; /* one claimer per item: no race unless the queue is broken */
}

static void *thief(void *arg)
{
    uintptr_t last = UINTPTR_MAX;
    void *out[8];

    (void)arg;
    /* Acquire: pairs with the release of done, so that the last look sees all pushes. */
    for (bool last_look = false;;) {
        unsigned n = fifo_steal(&shared, out, 8);

        for (unsigned i = 0; i < n; i++)
            see(out[i], &last);
        if (n > 0)
            continue;
        if (last_look)
            return NULL;
        last_look = atom_load(&done, acquire) != 0;
    }
}

/* Conservation and order: every item exactly once, each thread sees ascending numbers. */
Test(fifo, nothing_is_lost_or_doubled_under_thieves, .timeout = 60)
{
    uintptr_t count = jd_test_rounds(600000), last = UINTPTR_MAX;
    pthread_t threads[STRESS_THIEVES];
    void *got;

    seen = calloc(count, 1);
    cr_assert_not_null(seen);
    cr_assert(fifo_init(&shared, 1, &memory));
    start_at(&shared, UINT64_MAX - count / 2);
    for (unsigned i = 0; i < STRESS_THIEVES; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, thief, NULL), 0);
    for (uintptr_t i = 0; i < count; i++) {
        cr_assert(fifo_push(&shared, item(i)));
        if (i % 3 == 0 && (got = fifo_pop(&shared)))
            see(got, &last);
    }
    atom_store(&done, 1, release);
    while ((got = fifo_pop(&shared)))
        see(got, &last);
    for (unsigned i = 0; i < STRESS_THIEVES; i++)
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
    for (uintptr_t i = 0; i < count; i++)
        cr_assert_eq(seen[i], 1, "item %lu seen %d times", (unsigned long)i, seen[i]);
    fifo_fini(&shared);
    cr_assert_eq(bytes_out, 0);
    free(seen);
}
