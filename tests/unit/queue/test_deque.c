/* SPDX-License-Identifier: MIT */
/* The fork deque: both ends, growth, index wrap, failure to grow, conservation under thieves. */
#include "jd_test.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/rng.h"
#include "queue/deque.h"

static unsigned allocations_left = 1000;
static size_t bytes_out;

static void *count_alloc(size_t bytes)
{
    if (allocations_left == 0)
        return NULL;
    allocations_left--;
    bytes_out += bytes;
    return malloc(bytes);
}

static void count_free(void *ptr, size_t bytes)
{
    bytes_out -= bytes;
    free(ptr);
}

static const struct ring_memory memory = { count_alloc, count_free };

static void *item(uintptr_t n)
{
    return (void *)(n + 1); /* never NULL, never followed */
}

static void start_at(struct deque *d, uint64_t index)
{
    atom_store(&d->top, index, relaxed);
    atom_store(&d->bottom, index, relaxed);
    d->top_seen = index;
}

Test(deque, owner_takes_newest_and_thief_steals_oldest)
{
    struct deque d;
    bool lost;

    cr_assert(deque_init(&d, 2, &memory));
    start_at(&d, UINT64_MAX - 2); /* the indexes wrap in the middle */
    cr_assert_null(deque_take(&d));
    cr_assert_null(deque_steal(&d, &lost));
    cr_assert_not(lost, "empty is not a lost race");
    for (uintptr_t i = 0; i < 20; i++)
        cr_assert(deque_push(&d, item(i)));
    cr_assert_eq(deque_len(&d), 20);
    for (uintptr_t i = 0; i < 10; i++) {
        cr_assert_eq(deque_take(&d), item(19 - i));
        cr_assert_eq(deque_steal(&d, &lost), item(i));
    }
    cr_assert_null(deque_take(&d));
    cr_assert_null(deque_take(&d));
    cr_assert_eq(deque_len(&d), 0);
    deque_fini(&d);
    cr_assert_eq(bytes_out, 0);
}

Test(deque, stays_usable_after_it_was_emptied_from_either_end)
{
    struct deque d;
    bool lost;

    cr_assert(deque_init(&d, 1, &memory));
    for (uintptr_t i = 0; i < 50; i++) {
        cr_assert(deque_push(&d, item(i)));
        cr_assert_eq(i % 2 ? deque_take(&d) : deque_steal(&d, &lost), item(i));
        cr_assert_null(deque_take(&d));
        cr_assert_null(deque_steal(&d, &lost));
    }
    cr_assert_eq(allocations_left, 999, "it grew without need");
    deque_fini(&d);
}

Test(deque, push_without_memory_changes_nothing)
{
    struct deque d;
    bool lost;

    allocations_left = 1;
    cr_assert(deque_init(&d, 1, &memory));
    cr_assert(deque_push(&d, item(0)));
    cr_assert(deque_push(&d, item(1)));
    cr_assert_not(deque_push(&d, item(2)));
    cr_assert_eq(deque_steal(&d, &lost), item(0));
    cr_assert(deque_push(&d, item(2)), "there is room again");
    cr_assert_eq(deque_take(&d), item(2));
    cr_assert_eq(deque_take(&d), item(1));
    cr_assert_null(deque_take(&d));
    allocations_left = 0;
    struct deque unborn;

    cr_assert_not(deque_init(&unborn, 1, &memory));
    deque_fini(&d);
}

#define STRESS_THIEVES 2

static struct deque shared;
static unsigned char *seen;
static JD_ATOMIC(uint32_t) done;

static void see(void *got)
{
    seen[(uintptr_t)got - 1]++; /* one taker per item: no race unless the deque is broken */
}

static void *thief(void *arg)
{
    uintptr_t last = 0;
    bool lost;

    (void)arg;
    for (;;) {
        /* Acquire, before the look: pairs with the release of done. */
        bool last_look = atom_load(&done, acquire) != 0;
        void *got = deque_steal(&shared, &lost);

        if (got) {
            cr_assert((uintptr_t)got > last, "steals are not oldest first");
            last = (uintptr_t)got;
            see(got);
        } else if (last_look && !lost) {
            return NULL;
        }
    }
}

/* The owner goes up and down around empty, where owner and thieves compete for the last item. */
Test(deque, nothing_is_lost_or_doubled_under_thieves, .timeout = 60)
{
    uintptr_t count = jd_test_rounds(600000), pushed = 0;
    pthread_t threads[STRESS_THIEVES];
    struct rng r;
    void *got;

    rng_seed(&r, jd_test_seed());
    seen = calloc(count, 1);
    cr_assert_not_null(seen);
    cr_assert(deque_init(&shared, 1, &memory));
    start_at(&shared, UINT64_MAX - count / 2);
    for (unsigned i = 0; i < STRESS_THIEVES; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, thief, NULL), 0);
    while (pushed < count) {
        for (unsigned n = rng_below(&r, 6); n > 0 && pushed < count; n--)
            cr_assert(deque_push(&shared, item(pushed++)));
        for (unsigned n = rng_below(&r, 6); n > 0; n--)
            if ((got = deque_take(&shared)))
                see(got);
    }
    while ((got = deque_take(&shared)))
        see(got);
    atom_store(&done, 1, release);
    for (unsigned i = 0; i < STRESS_THIEVES; i++)
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
    for (uintptr_t i = 0; i < count; i++)
        cr_assert_eq(seen[i], 1, "item %lu seen %d times", (unsigned long)i, seen[i]);
    deque_fini(&shared);
    cr_assert_eq(bytes_out, 0);
    free(seen);
}
