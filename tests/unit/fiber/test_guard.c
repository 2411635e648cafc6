/* SPDX-License-Identifier: MIT */
/*
 * Guards: each kind stops or finds an overflow, each falls to the weaker one, and a great many of
 * them stay cheap in VMAs. Children die on purpose: their standard error is read.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fiber/stack.h"
#include "footprint.h"
#include "jd_test.h"

static struct stack_pool pool;

/* Does the child die of this signal (or, with a tool's handler, of anything) while it runs f? */
static bool dies(void (*f)(struct fiber *), struct fiber *arg, int signo)
{
    fflush(NULL);
    pid_t child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) {
        signal(signo, SIG_DFL);
        f(arg);
        _exit(0);
    }
    int status;
    cr_assert_eq(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) && WTERMSIG(status) == signo;
}

static void touch_below(struct fiber *f)
{
    *(volatile char *)(f->low - 1) = 1;
}

static void touch_guard_start(struct fiber *f)
{
    *(volatile char *)(f->low - pool.guard_bytes) = 1;
}

static void touch_low(struct fiber *f)
{
    *(volatile char *)f->low = 1;
}

static void overwrite_and_put(struct fiber *f)
{
    touch_below(f);
    stack_pool_put(&pool, f);
}

static bool is_kind_there(enum stack_guard kind)
{
    return stack_pool_init(&pool, 65536, kind) == 0;
}

static void check_kernel_guard(void)
{
    struct stack_stats stats;
    cr_assert_eq(stack_pool_reserve(&pool, 100), 0);
    struct fiber *f = stack_pool_take(&pool);
    cr_assert_not(f->canary);
    cr_assert(dies(touch_below, f, SIGSEGV));
    cr_assert(dies(touch_guard_start, f, SIGSEGV));
    cr_assert_not(dies(touch_low, f, SIGSEGV));
    /* Memory goes, the guard stays. */
    stack_pool_put(&pool, f);
    stack_pool_unreserve(&pool, 100);
    cr_assert_eq(stack_pool_trim(&pool, 0), 1);
    cr_assert_eq(stack_pool_reserve(&pool, 1), 0);
    f = stack_pool_take(&pool);
    cr_assert(dies(touch_below, f, SIGSEGV));
    stack_pool_stats(&pool, &stats);
    cr_assert_eq(stats.canary_slots, 0);
    stack_pool_put(&pool, f);
    stack_pool_unreserve(&pool, 1);
    stack_pool_fini(&pool);
}

Test(guard, madv_stops_an_overflow)
{
    if (jd_test_is_emulated())
        jd_test_skip("qemu-user's madvise() does nothing");
    if (!is_kind_there(STACK_GUARD_MADV))
        jd_test_skip("no MADV_GUARD_INSTALL before Linux 6.13");
    check_kernel_guard();
}

Test(guard, mprotect_stops_an_overflow)
{
    cr_assert(is_kind_there(STACK_GUARD_MPROTECT));
    check_kernel_guard();
}

Test(guard, canary_finds_an_overflow_on_put)
{
    struct stack_stats stats;
    cr_assert(is_kind_there(STACK_GUARD_CANARY));
    cr_assert_eq(stack_pool_reserve(&pool, 1), 0);
    struct fiber *f = stack_pool_take(&pool);
    cr_assert(f->canary);
    cr_assert(fiber_canary_is_intact(f));
    cr_assert(dies(overwrite_and_put, f, SIGABRT));
    stack_pool_stats(&pool, &stats);
    cr_assert_eq(stats.canary_slots, stats.carved, "a loud metric");
    stack_pool_put(&pool, f);
    stack_pool_unreserve(&pool, 1);
    stack_pool_fini(&pool);
}

static size_t anonymous_bytes(void)
{
    char line[256];
    size_t kib = 0;
    FILE *file = fopen("/proc/self/status", "re");
    cr_assert_not_null(file);
    while (fgets(line, sizeof(line), file))
        kib += strncmp(line, "RssAnon:", 8) == 0 ? strtoull(line + 8, NULL, 10) : 0;
    (void)fclose(file);
    return kib * 1024;
}

/* The check reads the page below the stack; only a write would give it memory. */
Test(guard, canary_costs_no_memory_until_it_is_hit)
{
    enum { N = 2000 };
    static struct fiber *taken[N];
    if (FIBER_ASAN || FIBER_TSAN)
        jd_test_skip("the tool's shadow memory counts as well");
    cr_assert(is_kind_there(STACK_GUARD_CANARY));
    cr_assert_eq(stack_pool_reserve(&pool, N), 0);
    memset(taken, 1, sizeof(taken));
    size_t before = anonymous_bytes();
    for (int i = 0; i < N; i++)
        taken[i] = stack_pool_take(&pool); /* writes struct fiber: a page */
    for (int i = 0; i < N; i++)
        stack_pool_put(&pool, taken[i]);
    cr_assert_lt(anonymous_bytes() - before, (size_t)N * 6144);
    stack_pool_unreserve(&pool, N);
    stack_pool_fini(&pool);
}

Test(guard, forty_thousand_stacks_are_a_few_vmas, .timeout = 30)
{
    enum { N = 40000 }; /* mprotect would stop at 32,753 */
    if (FIBER_TSAN || tools_is_valgrind())
        jd_test_skip("the tool's own mappings count as well");
    struct stack_stats stats;
    size_t before = footprint_mappings();
    if (!is_kind_there(STACK_GUARD_MADV))
        jd_test_skip("no MADV_GUARD_INSTALL before Linux 6.13");
    cr_assert_eq(stack_pool_reserve(&pool, N), 0);
    cr_assert_lt(footprint_mappings(), before + 16);
    stack_pool_stats(&pool, &stats);
    cr_assert_geq(stats.carved, N);
    cr_assert_eq(stats.canary_slots, 0);
    stack_pool_unreserve(&pool, N);
    stack_pool_fini(&pool);
}

/* Half of vm.max_map_count is ours at most; the rest of the stacks are canaries, and say so. */
Test(guard, mprotect_leaves_half_of_the_vmas, .timeout = 30)
{
    enum { N = 40000 };
    if (FIBER_TSAN || tools_is_valgrind())
        jd_test_skip("the tool's own mappings count as well");
    struct stack_stats stats;
    unsigned long max = 65530;
    FILE *file = fopen("/proc/sys/vm/max_map_count", "re");
    if (file) {
        cr_assert_eq(fscanf(file, "%lu", &max), 1);
        (void)fclose(file);
    }
    if (max > 2 * N)
        jd_test_skip("vm.max_map_count is raised: the test would need too many stacks");
    size_t before = footprint_mappings();
    for (int life = 0; life < 2; life++) { /* the budget comes back when a pool ends */
        cr_assert(is_kind_there(STACK_GUARD_MPROTECT));
        cr_assert_eq(stack_pool_reserve(&pool, N), 0);
        cr_assert_leq(footprint_mappings(), before + max / 2 + 16);
        stack_pool_stats(&pool, &stats);
        cr_assert_eq(stats.canary_slots, stats.carved - max / 4);
        cr_assert_eq(stats.guard, STACK_GUARD_CANARY, "what the next slot gets");
        stack_pool_unreserve(&pool, N);
        stack_pool_fini(&pool);
    }
}

/* mlock()ed memory takes no guard markers: the pool goes on with mprotect by itself. */
Test(guard, madv_falls_to_mprotect)
{
    if (jd_test_is_emulated())
        jd_test_skip("qemu-user's madvise() does nothing");
    if (FIBER_ASAN || FIBER_TSAN)
        jd_test_skip("the tool swallows mlockall()");
    if (!is_kind_there(STACK_GUARD_MADV))
        jd_test_skip("no MADV_GUARD_INSTALL before Linux 6.13");
    if (mlockall(MCL_FUTURE | MCL_ONFAULT) != 0)
        jd_test_skip("not allowed to lock memory");
    int err = stack_pool_reserve(&pool, 4);
    munlockall();
    if (err)
        jd_test_skip("not allowed to lock this much memory");
    struct stack_stats stats;
    stack_pool_stats(&pool, &stats);
    cr_assert_eq(stats.guard, STACK_GUARD_MPROTECT);
    struct fiber *f = stack_pool_take(&pool);
    cr_assert(dies(touch_below, f, SIGSEGV));
    stack_pool_put(&pool, f);
    stack_pool_unreserve(&pool, 4);
    stack_pool_fini(&pool);
}

Test(guard, environment_chooses_where_the_caller_does_not)
{
    cr_assert_eq(setenv("JACKDAW_STACK_GUARD", "canary", 1), 0);
    cr_assert_eq(stack_pool_init(&pool, 65536, STACK_GUARD_AUTO), 0);
    cr_assert_eq(pool.guard, STACK_GUARD_CANARY);
    stack_pool_fini(&pool);
    cr_assert_eq(stack_pool_init(&pool, 65536, STACK_GUARD_MPROTECT), 0);
    cr_assert_eq(pool.guard, STACK_GUARD_MPROTECT);
    stack_pool_fini(&pool);
    cr_assert_eq(setenv("JACKDAW_STACK_GUARD", "wall", 1), 0);
    cr_assert_eq(stack_pool_init(&pool, 65536, STACK_GUARD_AUTO), -EINVAL);
}

Test(guard, addresses_are_recognised)
{
    cr_assert(is_kind_there(STACK_GUARD_MPROTECT));
    cr_assert_eq(stack_pool_reserve(&pool, 4), 0);
    struct fiber *a = stack_pool_take(&pool);
    struct fiber *b = stack_pool_take(&pool);
    cr_assert_eq(stack_find_guard(a->low - 1), a);
    cr_assert_eq(stack_find_guard(a->low - pool.guard_bytes), a);
    cr_assert_eq(stack_find_guard(b->low - 1), b);
    cr_assert_null(stack_find_guard(a->low));
    cr_assert_null(stack_find_guard(a));
    cr_assert_null(stack_find_guard(&pool));
    cr_assert_null(stack_find_guard(NULL));
    cr_assert_null(stack_find_guard(pool.regions[0].base + pool.regions[0].bytes - 65536),
                   "not carved yet");
    cr_assert_null(stack_find_guard(b->low - 1 + 65536), "never used");
    stack_pool_put(&pool, a);
    stack_pool_put(&pool, b);
    stack_pool_unreserve(&pool, 4);
    char *gone = a->low - 1;
    stack_pool_fini(&pool);
    cr_assert_null(stack_find_guard(gone));
}
