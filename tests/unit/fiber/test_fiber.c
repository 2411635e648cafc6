/* SPDX-License-Identifier: MIT */
/*
 * The context switch: who comes from where, what survives it, where backtraces end, and a life from
 * take to put. Entry functions find their test in fiber->user, which fiber_init() clears, so it is
 * set after it.
 */
#include <execinfo.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include "fiber/fiber.h"
#include "fiber/stack.h"
#include "footprint.h"
#include "jd_test.h"

void fiber_start_asm(void);

static struct stack_pool pool;
static struct stack_cache cache;
static struct fiber native;

static void setup(void)
{
    cr_assert_eq(stack_pool_init(&pool, STACK_BYTES_DEFAULT, STACK_GUARD_AUTO), 0);
    cr_assert_eq(stack_cache_init(&cache, &pool), 0);
    cr_assert_eq(stack_pool_reserve(&pool, 64), 0);
    fiber_init_native(&native);
}

static void teardown(void)
{
    stack_pool_unreserve(&pool, 64);
    stack_cache_fini(&cache);
    stack_pool_fini(&pool);
}

static struct fiber *start(void (*entry)(struct fiber *prev))
{
    struct fiber *f = stack_take(&cache);
    fiber_init(f, entry);
    return f;
}

/* Resume an abandoning fiber for the last time and clean up after it. */
static void finish(struct fiber *f)
{
    struct fiber *dead = fiber_switch(&native, f);
    cr_assert_eq(dead, f);
    fiber_retire(dead);
    stack_put(&cache, dead);
}

/* The fiber that runs: the tests' worker pointer. */
static struct fiber *self;
static struct fiber *seen_prev;

static void entry_records_prev(struct fiber *prev)
{
    seen_prev = prev;
    struct fiber *me = self;
    seen_prev = fiber_switch(me, &native);
    fiber_abandon(me, &native);
}

Test(fiber, switch_returns_the_fiber_that_ran_before, .init = setup, .fini = teardown)
{
    struct fiber *f = self = start(entry_records_prev);
    cr_assert_eq(fiber_switch(&native, f), f);
    cr_assert_eq(seen_prev, &native);
    seen_prev = NULL;
    finish(f);
    cr_assert_eq(seen_prev, &native);
}

static struct fiber *ring[3];

static void entry_hands_on(struct fiber *prev)
{
    (void)prev;
    /* 0 -> 1 -> 2 -> native: prev of each fresh one is its neighbour. */
    size_t i = self == ring[0] ? 0 : self == ring[1] ? 1 : 2;
    if (i > 0)
        cr_assert_eq(prev, ring[i - 1]);
    struct fiber *next = i == 2 ? &native : ring[i + 1];
    self = next;
    (void)fiber_switch(ring[i], next);
    fiber_abandon(ring[i], &native);
}

Test(fiber, switches_directly_between_fibers, .init = setup, .fini = teardown)
{
    for (size_t i = 0; i < 3; i++)
        ring[i] = start(entry_hands_on);
    self = ring[0];
    cr_assert_eq(fiber_switch(&native, ring[0]), ring[2]);
    for (size_t i = 0; i < 3; i++)
        finish(ring[i]);
}

/* More live values than there are callee-saved registers, different on each fiber. */
static uint64_t churn(struct fiber *me, struct fiber *to, uint64_t seed, int rounds)
{
    uint64_t a = seed, b = seed * 3, c = seed * 5, d = seed * 7, e = seed * 11, f = seed * 13;
    uint64_t g = seed * 17, h = seed * 19;
    double x = (double)seed, y = x * 2, z = x * 4;
    for (int i = 0; i < rounds; i++) {
        a += b ^ c;
        b += c ^ d;
        c += d ^ e;
        d += e ^ f;
        e += f ^ g;
        f += g ^ h;
        g += h ^ a;
        h += a ^ b;
        x += y;
        y += z;
        z += 1.0;
        if (me)
            (void)fiber_switch(me, to);
    }
    return a ^ b ^ c ^ d ^ e ^ f ^ g ^ h ^ (uint64_t)x ^ (uint64_t)y;
}

static uint64_t churned;

static void entry_churns(struct fiber *prev)
{
    (void)prev;
    struct fiber *me = self;
    churned = churn(me, &native, 0x9e3779b97f4a7c15u >> 32, 1000);
    fiber_abandon(me, &native);
}

Test(fiber, callee_saved_registers_survive, .init = setup, .fini = teardown)
{
    struct fiber *f = self = start(entry_churns);
    uint64_t mine = churn(&native, f, 12345, 1000);
    cr_assert_eq(mine, churn(NULL, NULL, 12345, 1000));
    finish(f);
    cr_assert_eq(churned, churn(NULL, NULL, 0x9e3779b97f4a7c15u >> 32, 1000));
}

static void entry_checks_alignment(struct fiber *prev)
{
    (void)prev;
    struct fiber *me = self;
    char *frame = __builtin_frame_address(0);
    cr_assert_eq((uintptr_t)frame % 16, 0, "both ABIs keep the frame address 16-aligned");
    cr_assert(frame > me->low && frame < me->high);
    cr_assert(fiber_is_half_free(me));
    cr_assert_gt(fiber_stack_left(me, frame), (size_t)(me->high - me->low) - 8192);
    fiber_abandon(me, &native);
}

Test(fiber, runs_on_its_own_aligned_stack, .init = setup, .fini = teardown)
{
    self = start(entry_checks_alignment);
    cr_assert_eq((uintptr_t)self->high % 16, 0);
    finish(self);
}

Test(fiber, native_fibers_promise_no_stack, .init = setup, .fini = teardown)
{
    int here = 0;
    cr_assert(fiber_is_native(&native));
    cr_assert_eq(fiber_stack_left(&native, &here), 0);
    cr_assert_not(fiber_is_half_free(&native));
}

static JD_NOINLINE int burn_half(struct fiber *me)
{
    char block[2048];
    memset(block, 1, sizeof(block));
    int depth = fiber_is_half_free(me) ? burn_half(me) + 1 : 1;
    __asm__ volatile("" ::"r"(block) : "memory"); /* in use after the call: no loop instead of it */
    return depth;
}

static void entry_burns(struct fiber *prev)
{
    (void)prev;
    struct fiber *me = self;
    int frames_in_half = (int)((me->high - me->low) / 2 / 2048);
    int depth = burn_half(me);
    cr_assert_leq(depth, frames_in_half + 2, "%d frames", depth);
    cr_assert_geq(depth, frames_in_half / 4, "tools make frames larger, not four times");
    fiber_abandon(me, &native);
}

Test(fiber, half_free_turns_false_in_the_middle, .init = setup, .fini = teardown)
{
    finish(self = start(entry_burns));
}

static int frame_count;
static void *frames[64];

static void entry_backtraces(struct fiber *prev)
{
    (void)prev;
    struct fiber *me = self;
    frame_count = backtrace(frames, 64);
    fiber_abandon(me, &native);
}

Test(fiber, backtraces_end_at_the_first_frame, .init = setup, .fini = teardown)
{
    finish(self = start(entry_backtraces));
    /* entry, fiber_begin, fiber_start_asm; compilers and tools add a few on top. */
    cr_assert_geq(frame_count, 3);
    cr_assert_lt(frame_count, 8);
    uintptr_t last = (uintptr_t)frames[frame_count - 1];
    cr_assert_lt(last - (uintptr_t)fiber_start_asm, 64);
}

Test(fiber, fresh_frame_has_the_layout_debuggers_read, .init = setup, .fini = teardown)
{
    struct fiber *f = self = start(entry_records_prev);
    const uintptr_t *frame = f->sp;
#if defined(__x86_64__)
    cr_assert_eq(frame[5], 0, "rbp ends the chain of frames");
    cr_assert_eq(frame[6], (uintptr_t)fiber_start_asm);
#else
    cr_assert_eq(frame[10], 0, "x29 ends the chain of frames");
    cr_assert_eq(frame[11], (uintptr_t)fiber_start_asm);
#endif
    (void)fiber_switch(&native, f);
    finish(f);
}

/* pthread_self() is declared const, so the compiler keeps its value across a switch. */
static JD_NOINLINE pthread_t this_thread(void)
{
    __asm__ volatile("" ::: "memory");
    return pthread_self();
}

struct trip {
    struct fiber *f;
    struct fiber thread;
    pthread_t at[2];
};

static struct fiber *trip_home;

static void entry_travels(struct fiber *prev)
{
    struct trip *trip = self->user;
    struct fiber *me = self;
    trip->at[0] = this_thread();
    prev = fiber_switch(me, prev);
    cr_assert_eq(prev, trip_home);
    trip->at[1] = this_thread();
    fiber_abandon(me, prev);
}

static void *resume_on_thread(void *arg)
{
    struct trip *trip = arg;
    fiber_init_native(&trip->thread);
    trip_home = &trip->thread;
    cr_assert_eq(fiber_switch(&trip->thread, trip->f), trip->f);
    return NULL;
}

Test(fiber, resumes_on_another_thread, .init = setup, .fini = teardown)
{
    struct trip trip = { .f = start(entry_travels) };
    self = trip.f;
    trip.f->user = &trip;
    (void)fiber_switch(&native, trip.f);
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, resume_on_thread, &trip), 0);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    cr_assert(pthread_equal(trip.at[0], pthread_self()));
    cr_assert(pthread_equal(trip.at[1], thread));
    fiber_retire(trip.f);
    stack_put(&cache, trip.f);
}

static void entry_ends(struct fiber *prev)
{
    fiber_abandon(self, prev);
}

Test(fiber, a_stack_has_many_lives, .init = setup, .fini = teardown)
{
    struct fiber *first = NULL;
    long before = footprint_mapped_bytes();
    for (int i = 0; i < 10000; i++) {
        self = start(entry_ends);
        if (!first)
            first = self;
        cr_assert_eq(self, first, "the newest stack is the hottest: it is reused at once");
        finish(self);
    }
    cr_assert_lt(footprint_mapped_bytes() - before, 1L << 30, "TSan keeps 256 KiB per fiber");
}

#if FIBER_ASAN
static JD_NOINLINE void use(char *block)
{
    __asm__ volatile("" ::"r"(block) : "memory");
}

/* What fiber_abandon() does: before a call that is known not to return ASan cleans up by itself. */
static void leave_for_good(void)
{
    self->dying = true;
    (void)fiber_switch(self, &native);
}

static void (*volatile leave)(void) = leave_for_good;

static JD_NOINLINE void leave_from_a_fake_frame(void)
{
    char small[256]; /* lives on ASan's fake stack, which is mapped for it */
    use(small);
    leave();
    use(small);
}

static void entry_is_left_in_deep_frames(struct fiber *prev)
{
    char large[80000]; /* too large for that: red zones on the stack itself */
    (void)prev;
    use(large);
    leave_from_a_fake_frame();
    use(large);
}

Test(fiber, nothing_of_asan_outlives_a_life, .init = setup, .fini = teardown)
{
    long before = footprint_mapped_bytes();
    for (int i = 0; i < 1000; i++) {
        self = start(entry_is_left_in_deep_frames);
        size_t bytes = (size_t)(self->high - self->low);
        cr_assert_null(__asan_region_is_poisoned(self->low, bytes), "red zones of the last life");
        finish(self);
    }
    cr_assert_lt(footprint_mapped_bytes() - before, 1L << 30, "a fake stack takes megabytes");
}
#endif

static void entry_keeps_a_block(struct fiber *prev)
{
    void *volatile only_here = malloc(64);
    (void)prev;
    struct fiber *me = self;
    (void)fiber_switch(me, &native);
    free(only_here);
    fiber_abandon(me, &native);
}

/* In a build with leak detection the block must be seen through the parked stack. */
Test(fiber, blocks_held_by_parked_stacks_are_no_leaks, .init = setup)
{
    struct fiber *f = self = start(entry_keeps_a_block);
    (void)fiber_switch(&native, f);
#if FIBER_ASAN
    cr_assert_eq(__lsan_do_recoverable_leak_check(), 0);
#endif
    finish(f);
    teardown();
}

static void entry_returns(struct fiber *prev)
{
    (void)prev;
}

Test(fiber, an_entry_that_returns_is_caught, .init = setup, .signal = SIGABRT)
{
    self = start(entry_returns);
    (void)fiber_switch(&native, self);
}
