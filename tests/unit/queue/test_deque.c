/* SPDX-License-Identifier: MIT */
/* The fork deque: both ends, growth, index wrap, failure to grow, conservation under thieves. */
#include "jd_test.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/membarrier.h"
#include "base/rng.h"
#include "queue/deque.h"
#include "ring_rig.h"

static void start_at(struct deque *d, uint64_t index)
{
    atom_store(&d->top, index, relaxed);
    atom_store(&d->split, index | (atom_load(&d->split, relaxed) & DEQUE_PUBLIC), relaxed);
    atom_store(&d->bottom, index, relaxed);
    d->top_seen = index;
}

Test(deque, owner_takes_newest_and_thief_steals_oldest)
{
    struct deque d;
    bool lost;

    cr_assert(deque_init(&d, 2, &memory, /* may_force= */ false));
    start_at(&d, UINT32_MAX - 2);
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

    cr_assert(deque_init(&d, 1, &memory, /* may_force= */ false));
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
    cr_assert(deque_init(&d, 1, &memory, /* may_force= */ false));
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

    cr_assert_not(deque_init(&unborn, 1, &memory, /* may_force= */ false));
    deque_fini(&d);
}

/* Nothing private is given away unasked, and all of it when asked often enough. */
Test(deque, private_items_are_shown_when_asked)
{
    struct deque d;
    bool lost;

    cr_assert(deque_init(&d, 1, &memory, /* may_force= */ true));
    for (uintptr_t i = 0; i < 5; i++)
        cr_assert(deque_push(&d, item(i)));
    cr_assert_null(deque_steal(&d, &lost));
    cr_assert_not(deque_ask(&d), "nothing is public yet");
    cr_assert_eq(deque_take(&d), item(4), "the owner answers in its next operation");
    for (uintptr_t i = 0; i < 2; i++) {
        cr_assert(deque_ask(&d), "half of four");
        cr_assert_eq(deque_steal(&d, &lost), item(i));
    }
    cr_assert_null(deque_steal(&d, &lost));
    cr_assert_not(deque_ask(&d));
    cr_assert(deque_push(&d, item(4)), "or here");
    cr_assert_eq(deque_steal(&d, &lost), item(2));
    deque_publish(&d);
    cr_assert_eq(deque_take(&d), item(4));
    cr_assert_eq(deque_steal(&d, &lost), item(3));
    cr_assert_null(deque_take(&d));
    cr_assert_not(deque_ask(&d));
    deque_fini(&d);
}

Test(deque, private_items_are_shown_by_the_forcer)
{
    struct deque d;
    bool lost;

    cr_assert(deque_init(&d, 1, &memory, /* may_force= */ true));
    cr_assert_not(deque_lease(&d), "it is empty");
    for (uintptr_t i = 0; i < 3; i++)
        cr_assert(deque_push(&d, item(i)));
    cr_assert(deque_lease(&d));
    deque_force(&d); /* no fence: there is one thread */
    cr_assert_eq(deque_steal(&d, &lost), item(0));
    cr_assert_not(deque_lease(&d), "all is public");
    cr_assert(deque_push(&d, item(3)));
    cr_assert(deque_lease(&d));
    cr_assert_eq(deque_take(&d), item(3), "the owner ends the lease");
    deque_force(&d);
    cr_assert_eq(deque_take(&d), item(2));
    cr_assert_eq(deque_take(&d), item(1));
    cr_assert_null(deque_take(&d));
    cr_assert_null(deque_steal(&d, &lost));
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
        void *got;

        (void)deque_ask(&shared);
        got = deque_steal(&shared, &lost);
        if (got) {
            cr_assert((uintptr_t)got > last, "steals are not oldest first");
            last = (uintptr_t)got;
            see(got);
        } else if (last_look && !lost) {
            return NULL;
        }
    }
}

static void *forcer(void *arg)
{
    (void)arg;
    /* Acquire: pairs with the release of done. */
    while (!atom_load(&done, acquire))
        if (deque_lease(&shared) && membarrier_fence())
            deque_force(&shared);
    return NULL;
}

/* The owner goes up and down around empty, where owner and thieves compete for the last item. */
static void stress(bool private_end, bool forced)
{
    uintptr_t count = jd_test_rounds(forced ? 200000 : 600000), pushed = 0;
    pthread_t threads[STRESS_THIEVES + 1];
    unsigned thread_count = STRESS_THIEVES + forced;
    struct rng r;
    void *got;

    rng_seed(&r, jd_test_seed());
    seen = calloc(count, 1);
    cr_assert_not_null(seen);
    cr_assert(deque_init(&shared, 1, &memory, private_end));
    start_at(&shared, UINT32_MAX - count / 2);
    for (unsigned i = 0; i < thread_count; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, i < STRESS_THIEVES ? thief : forcer, NULL),
                     0);
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
    for (unsigned i = 0; i < thread_count; i++)
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
    for (uintptr_t i = 0; i < count; i++)
        cr_assert_eq(seen[i], 1, "item %lu seen %d times", (unsigned long)i, seen[i]);
    deque_fini(&shared);
    cr_assert_eq(bytes_out, 0);
    free(seen);
}

Test(deque, nothing_is_lost_or_doubled_under_thieves, .timeout = 60)
{
    stress(/* private_end= */ false, /* forced= */ false);
}

Test(deque, nothing_is_lost_or_doubled_with_a_private_end, .timeout = 60)
{
    stress(/* private_end= */ true, /* forced= */ false);
}

Test(deque, nothing_is_lost_or_doubled_under_a_forcer, .timeout = 60)
{
    cr_assert(membarrier_fence_init(), "this kernel refuses membarrier");
    stress(/* private_end= */ true, /* forced= */ true);
}
