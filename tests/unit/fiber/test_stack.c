/* SPDX-License-Identifier: MIT */
/*
 * The stack pool and the worker caches: the promise of a reservation, geometry, trimming, and what
 * happens when memory ends. Guards are in test_guard.c.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/rng.h"
#include "fiber/stack.h"
#include "jd_test.h"

static struct stack_pool pool;
static struct stack_cache cache;

static void setup(void)
{
    cr_assert_eq(stack_pool_init(&pool, STACK_BYTES_DEFAULT, STACK_GUARD_AUTO), 0);
    cr_assert_eq(stack_cache_init(&cache, &pool), 0);
}

static void teardown(void)
{
    stack_cache_fini(&cache);
    stack_pool_fini(&pool);
}

static struct stack_stats stats_now(void)
{
    struct stack_stats stats;
    stack_pool_stats(&pool, &stats);
    return stats;
}

/* Pages above low, in its slot, that hold memory. Does not touch them. */
static size_t resident_pages(char *low)
{
    static unsigned char pages[4096];
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t bytes = pool.slot_bytes - pool.guard_bytes;
    size_t sum = 0;
    cr_assert_eq(mincore(low, bytes, pages), 0);
    for (size_t i = 0; i < bytes / page; i++)
        sum += pages[i] & 1;
    return sum;
}

Test(stack, geometry_is_as_documented, .init = setup, .fini = teardown)
{
    struct fiber *f = stack_take(&cache);
    uintptr_t slot = (uintptr_t)f & ~(uintptr_t)(pool.slot_bytes - 1);
    cr_assert_eq(pool.slot_bytes, STACK_BYTES_DEFAULT);
    cr_assert_eq((uintptr_t)f->low, slot + pool.guard_bytes);
    cr_assert_eq((uintptr_t)f->high, (uintptr_t)f);
    cr_assert_eq((uintptr_t)f % 64, 0);
    cr_assert_leq((uintptr_t)(f + 1), slot + pool.slot_bytes);
    cr_assert_eq(f->pool, &pool);
    memset(f->low, 0xa5, (size_t)(f->high - f->low)); /* all of it is ours */
    stack_put(&cache, f);
}

Test(stack, sizes_are_rounded_up, .init = setup, .fini = teardown)
{
    const size_t asked[] = { 0, 1, STACK_BYTES_MIN, STACK_BYTES_MIN + 1, 100000, 1u << 20 };
    for (size_t i = 0; i < JD_ARRAY_LEN(asked); i++) {
        struct stack_pool other;
        cr_assert_eq(stack_pool_init(&other, asked[i], STACK_GUARD_AUTO), 0);
        cr_assert_eq(stack_pool_reserve(&other, 1), 0);
        struct fiber *f = stack_pool_take(&other);
        cr_assert_eq(other.slot_bytes & (other.slot_bytes - 1), 0);
        cr_assert_geq(other.slot_bytes, asked[i]);
        cr_assert_geq((size_t)(f->high - f->low), STACK_BYTES_MIN / 2);
        cr_assert_lt(f->low + 1, f->high);
        stack_pool_put(&other, f);
        stack_pool_unreserve(&other, 1);
        stack_pool_fini(&other);
    }
    struct stack_pool absurd;
    cr_assert_eq(stack_pool_init(&absurd, (size_t)1 << 40, STACK_GUARD_AUTO), -EINVAL);
}

Test(stack, tops_are_coloured, .init = setup, .fini = teardown)
{
    struct fiber *taken[16];
    unsigned seen = 0;
    cr_assert_eq(stack_pool_reserve(&pool, 16), 0);
    for (int i = 0; i < 16; i++) {
        taken[i] = stack_take(&cache);
        uintptr_t below_end = -(uintptr_t)(taken[i] + 1) & (pool.slot_bytes - 1);
        cr_assert_lt(below_end, 1024);
        seen |= 1u << (below_end / 64);
    }
    cr_assert_eq(seen, 0xffffu, "16 neighbours have 16 colours");
    for (int i = 0; i < 16; i++)
        stack_put(&cache, taken[i]);
    stack_pool_unreserve(&pool, 16);
}

static int compare_pointers(const void *a, const void *b)
{
    uintptr_t x = *(const uintptr_t *)a;
    uintptr_t y = *(const uintptr_t *)b;
    return (x > y) - (x < y);
}

Test(stack, a_reservation_is_a_promise_of_distinct_stacks, .init = setup, .fini = teardown)
{
    enum { N = 5000 };
    static struct fiber *taken[N];
    cr_assert_eq(stack_pool_reserve(&pool, N), 0);
    fault_arm(FAULT_STACK, 0, UINT64_MAX); /* from here on nothing can be mapped */
    fault_arm(FAULT_ALLOC, 0, UINT64_MAX);
    for (int i = 0; i < N; i++)
        taken[i] = stack_take(&cache);
    fault_arm(FAULT_STACK, 0, 0);
    fault_arm(FAULT_ALLOC, 0, 0);
    qsort(taken, N, sizeof(taken[0]), compare_pointers);
    for (int i = 1; i < N; i++)
        cr_assert_lt(taken[i - 1] + 1, (struct fiber *)(void *)taken[i]->low);
    for (int i = 0; i < N; i++)
        stack_put(&cache, taken[i]);
    stack_pool_unreserve(&pool, N);
    struct stack_stats stats = stats_now();
    cr_assert_eq(stats.idle_hot + stats.idle_cold + cache.count, stats.carved);
}

/* Idle stacks in one worker's cache must not break the promise made to another. */
Test(stack, hoarding_caches_do_not_starve_others, .init = setup, .fini = teardown)
{
    enum { CACHES = 4, N = STACK_CACHE_MAX };
    struct stack_cache hoards[CACHES];
    struct fiber *taken[2 * N];
    for (int c = 0; c < CACHES; c++) {
        cr_assert_eq(stack_cache_init(&hoards[c], &pool), 0);
        cr_assert_eq(stack_pool_reserve(&pool, N), 0);
        for (int i = 0; i < N; i++)
            taken[i] = stack_take(&hoards[c]);
        for (int i = 0; i < N; i++)
            stack_put(&hoards[c], taken[i]);
        stack_pool_unreserve(&pool, N);
        cr_assert_eq(hoards[c].count, N);
    }
    cr_assert_eq(stack_pool_reserve(&pool, 2 * N), 0);
    for (int i = 0; i < 2 * N; i++)
        taken[i] = stack_take(&cache); /* asserts inside if there is none */
    for (int i = 0; i < 2 * N; i++)
        stack_put(&cache, taken[i]);
    stack_pool_unreserve(&pool, 2 * N);
    for (int c = 0; c < CACHES; c++)
        stack_cache_fini(&hoards[c]);
}

Test(stack, a_take_without_a_reservation_is_caught, .init = setup, .signal = SIGABRT)
{
    while (true)
        (void)stack_take(&cache);
}

Test(stack, caches_are_lifo_and_spill_the_oldest, .init = setup, .fini = teardown)
{
    enum { N = STACK_CACHE_MAX + 1 };
    struct fiber *taken[N];
    cr_assert_eq(stack_pool_reserve(&pool, N), 0);
    for (int i = 0; i < N; i++)
        taken[i] = stack_take(&cache);
    for (int i = 0; i < N; i++)
        stack_put(&cache, taken[i]);
    cr_assert_eq(cache.count, N - STACK_CACHE_BATCH);
    cr_assert_eq(stats_now().idle_hot, STACK_CACHE_BATCH);
    for (int i = N - 1; i >= 0; i--)
        cr_assert_eq(stack_take(&cache), taken[i], "newest first, also out of the shared list");
    for (int i = 0; i < N; i++)
        stack_put(&cache, taken[i]);
    stack_pool_unreserve(&pool, N);
}

Test(stack, credits_are_kept_and_given_back, .init = setup)
{
    size_t base = stats_now().reserved;
    for (int i = 0; i < 100; i++)
        cr_assert_eq(stack_cache_reserve(&cache), 0);
    cr_assert_geq(stats_now().reserved, base + 100);
    cr_assert_leq(stats_now().reserved, base + 100 + STACK_CACHE_BATCH);
    for (int i = 0; i < 100; i++)
        stack_cache_unreserve(&cache);
    cr_assert_leq(stats_now().reserved, base + 2 * STACK_CACHE_BATCH);
    teardown(); /* asserts that no reservation is left */
}

/* Every mapping step fails once; after each failure the pool works. */
Test(stack, reserve_survives_every_failure)
{
    const enum fault_point points[] = { FAULT_STACK, FAULT_ALLOC };
    const uint64_t steps[] = { 100, 2 };
    unsigned failures = 0;
    for (size_t p = 0; p < 2; p++) {
        for (uint64_t step = 0; step < steps[p]; step++) {
            cr_assert_eq(stack_pool_init(&pool, 65536, STACK_GUARD_AUTO), 0);
            fault_arm(points[p], step, 1);
            int err = stack_pool_reserve(&pool, 80);
            cr_assert(err == 0 || err == -ENOMEM);
            failures += err != 0;
            fault_arm(points[p], 0, 0);
            if (err) {
                cr_assert_eq(stats_now().reserved, 0);
                cr_assert_eq(stack_pool_reserve(&pool, 80), 0);
            }
            cr_assert_eq(stats_now().idle_cold, stats_now().carved);
            stack_pool_unreserve(&pool, 80);
            stack_pool_fini(&pool);
        }
    }
    cr_assert_gt(failures, 2);
}

/* With a limited address space reserve ends in -ENOMEM, and what it promised before is there. */
Test(stack, address_space_limit_ends_in_enomem)
{
    if (FIBER_ASAN || FIBER_TSAN || tools_is_valgrind() || jd_test_is_emulated())
        jd_test_skip("the tool needs the address space");
    const rlim_t limit = (rlim_t)1 << 30;
    struct rlimit former;
    cr_assert_eq(getrlimit(RLIMIT_AS, &former), 0);
    cr_assert_eq(setrlimit(RLIMIT_AS, &(struct rlimit){ limit, former.rlim_max }), 0);
    cr_assert_eq(stack_pool_init(&pool, STACK_BYTES_DEFAULT, STACK_GUARD_AUTO), 0);
    size_t n = 0;
    while (n < 100000 && stack_pool_reserve(&pool, 1) == 0)
        n++;
    cr_assert_eq(stack_pool_reserve(&pool, 1), -ENOMEM);
    cr_assert_geq(n, limit / STACK_BYTES_DEFAULT / 2, "most of the limit is used: %zu", n);
    cr_assert_leq(n, limit / STACK_BYTES_DEFAULT);
    static struct fiber *taken[100000];
    for (size_t i = 0; i < n; i++)
        taken[i] = stack_pool_take(&pool);
    for (size_t i = 0; i < n; i++)
        stack_pool_put(&pool, taken[i]);
    stack_pool_unreserve(&pool, n);
    stack_pool_fini(&pool);
    cr_assert_eq(setrlimit(RLIMIT_AS, &former), 0);
}

static struct fiber native;

static void entry_parks(struct fiber *prev)
{
    struct fiber *self = prev->user;
    (void)fiber_switch(self, prev);
    fiber_abandon(self, &native);
}

/* 4 KiB per parked fiber: its record and its frames share a page. */
Test(stack, a_parked_fiber_costs_one_page, .init = setup, .fini = teardown)
{
    if (FIBER_ASAN || FIBER_TSAN)
        jd_test_skip("the tool touches more");
    enum { N = 48 };
    struct fiber *taken[N];
    fiber_init_native(&native);
    cr_assert_eq(stack_pool_reserve(&pool, N), 0);
    for (int i = 0; i < N; i++) {
        taken[i] = stack_take(&cache);
        fiber_init(taken[i], entry_parks);
        native.user = taken[i];
        (void)fiber_switch(&native, taken[i]);
    }
    for (int i = 0; i < N; i++)
        cr_assert_eq(resident_pages(taken[i]->low), 1);
    for (int i = 0; i < N; i++) {
        struct fiber *dead = fiber_switch(&native, taken[i]);
        fiber_retire(dead);
        stack_put(&cache, dead);
    }
    stack_pool_unreserve(&pool, N);
}

Test(stack, trim_returns_memory_and_keeps_the_newest, .init = setup, .fini = teardown)
{
    enum { N = 2500 }; /* more than two batches */
    static struct fiber *taken[N];
    cr_assert_eq(stack_pool_reserve(&pool, N), 0);
    for (int i = 0; i < N; i++) {
        taken[i] = stack_pool_take(&pool);
        memset(taken[i]->high - 9000, 1, 9000);
    }
    char *oldest_low = taken[0]->low;
    cr_assert_geq(resident_pages(oldest_low), 3);
    for (int i = 0; i < N; i++)
        stack_pool_put(&pool, taken[i]);
    cr_assert_eq(stack_pool_trim(&pool, 0), 0, "all of them are promised");
    stack_pool_unreserve(&pool, N);
    cr_assert_eq(stack_pool_trim(&pool, 100), N - 100);
    cr_assert_eq(stats_now().idle_hot, 100);
    cr_assert_eq(stats_now().trimmed, N - 100);
    cr_assert_eq(resident_pages(oldest_low), 0, "the oldest lost its memory");
    cr_assert_eq(taken[N - 1]->pool, &pool, "the newest kept it");
    cr_assert_eq(stack_pool_trim(&pool, 100), 0);
    cr_assert_eq(stack_pool_reserve(&pool, N), 0);
    for (int i = 0; i < N; i++) {
        taken[i] = stack_pool_take(&pool);
        cr_assert_eq(taken[i]->pool, &pool);
        if (i >= 100)
            cr_assert_eq(taken[i]->high[-9000], 0);
    }
    for (int i = 0; i < N; i++)
        stack_pool_put(&pool, taken[i]);
    stack_pool_unreserve(&pool, N);
}

struct churner {
    pthread_t thread;
    uint64_t seed;
};

static JD_ATOMIC(int) churners_left;

/* Reserve, take, mark, check the mark, put, unreserve: a stack given to two would show. */
static void *churn(void *arg)
{
    const struct churner *me = arg;
    struct fiber *held[64];
    size_t count = 0;
    struct stack_cache mine;
    struct rng rng;
    rng_seed(&rng, me->seed);
    cr_assert_eq(stack_cache_init(&mine, &pool), 0);
    for (unsigned long i = 0; i < jd_test_rounds(200000); i++) {
        if (count < 64 && rng_below(&rng, 2) == 0) {
            cr_assert_eq(stack_cache_reserve(&mine), 0);
            struct fiber *f = stack_take(&mine);
            f->user = held;
            held[count++] = f;
        } else if (count > 0) {
            size_t which = rng_below(&rng, (uint32_t)count);
            struct fiber *f = held[which];
            held[which] = held[--count];
            cr_assert_eq(f->user, held);
            stack_put(&mine, f);
            stack_cache_unreserve(&mine);
        }
    }
    while (count > 0) {
        stack_put(&mine, held[--count]);
        stack_cache_unreserve(&mine);
    }
    stack_cache_fini(&mine);
    atom_fetch_sub(&churners_left, 1, relaxed); /* Relaxed: ends a loop, joined after it. */
    return NULL;
}

Test(stack, threads_never_share_a_stack, .init = setup, .timeout = 30)
{
    enum { THREADS = 3 };
    struct churner churners[THREADS];
    uint64_t seed = jd_test_seed();
    atom_init(&churners_left, THREADS);
    for (unsigned i = 0; i < THREADS; i++) {
        churners[i].seed = seed + i;
        cr_assert_eq(pthread_create(&churners[i].thread, NULL, churn, &churners[i]), 0);
    }
    while (atom_load(&churners_left, relaxed) > 0) { /* trims race with takes */
        (void)stack_pool_trim(&pool, 8);
        sched_yield();
    }
    for (unsigned i = 0; i < THREADS; i++)
        cr_assert_eq(pthread_join(churners[i].thread, NULL), 0);
    teardown(); /* asserts that all stacks are back */
}
