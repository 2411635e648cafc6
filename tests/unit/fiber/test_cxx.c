/* SPDX-License-Identifier: MIT */
/*
 * C++ callers suspend inside catch blocks: the two words of __cxa_get_globals() must follow the
 * fiber. This program plays the C++ runtime by defining the function, one object per thread.
 */
#include <pthread.h>
#include <stdint.h>

#include "fiber/fiber.h"
#include "fiber/stack.h"
#include "jd_test.h"

static _Thread_local uintptr_t exception_state[2];

void *__cxa_get_globals(void) /* the weak reference in fiber.h finds this one */
{
    return exception_state;
}

static struct stack_pool pool;
static struct stack_cache cache;
static struct fiber native;
static struct fiber *fibers[2];

/* A function of its own: the thread may differ before and after a switch. */
static JD_NOINLINE void set_state(uintptr_t caught, uintptr_t uncaught)
{
    exception_state[0] = caught;
    exception_state[1] = uncaught;
    __asm__ volatile("" ::: "memory");
}

static JD_NOINLINE void check_state(uintptr_t caught, uintptr_t uncaught)
{
    __asm__ volatile("" ::: "memory");
    cr_assert_eq(exception_state[0], caught);
    cr_assert_eq(exception_state[1], uncaught);
}

static void entry(struct fiber *prev)
{
    uintptr_t id = native.user == fibers[0] ? 10 : 20;
    struct fiber *me = native.user;
    check_state(0, 0); /* a fresh fiber handles no exception, whoever switched to it */
    set_state(id, id + 1);
    prev = fiber_switch(me, prev);
    check_state(id, id + 1);
    set_state(id + 2, id + 3);
    prev = fiber_switch(me, prev);
    check_state(id + 2, id + 3);
    fiber_abandon(me, prev);
}

static void entry_of_next_life(struct fiber *prev)
{
    struct fiber *me = native.user;
    check_state(0, 0); /* the former life on this stack was abandoned inside a catch block */
    fiber_abandon(me, prev);
}

static void *resume_both(void *arg)
{
    struct fiber thread;
    (void)arg;
    fiber_init_native(&thread);
    set_state(5, 6);
    for (int i = 1; i >= 0; i--) {
        (void)fiber_switch(&thread, fibers[i]);
        check_state(5, 6);
    }
    return NULL;
}

Test(fiber, cxx_exception_state_follows_the_fiber)
{
    cr_assert_eq(stack_pool_init(&pool, STACK_BYTES_DEFAULT, STACK_GUARD_AUTO), 0);
    cr_assert_eq(stack_cache_init(&cache, &pool), 0);
    cr_assert_eq(stack_pool_reserve(&pool, 2), 0);
    fiber_init_native(&native);
    set_state(1, 2);
    for (int i = 0; i < 2; i++) {
        fibers[i] = stack_take(&cache);
        fiber_init(fibers[i], entry);
        native.user = fibers[i];
        (void)fiber_switch(&native, fibers[i]);
        check_state(1, 2);
    }
    pthread_t thread; /* the second leg runs elsewhere, in the other order */
    cr_assert_eq(pthread_create(&thread, NULL, resume_both, NULL), 0);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    for (int i = 0; i < 2; i++) {
        struct fiber *dead = fiber_switch(&native, fibers[i]);
        check_state(1, 2);
        fiber_retire(dead);
        fiber_init(dead, entry_of_next_life);
        native.user = dead;
        fiber_retire(fiber_switch(&native, dead));
        stack_put(&cache, dead);
    }
    stack_pool_unreserve(&pool, 2);
    stack_cache_fini(&cache);
    stack_pool_fini(&pool);
}
