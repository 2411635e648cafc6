/* SPDX-License-Identifier: MIT */
/*
 * Programs that are wrong in a way that no return value can tell: they end at once, by abort(), with a line
 * that names the task and what to do. And what speaks to stderr where no handler is set.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child.h"
#include "contract.h"
#include "jd_test.h"

static jd_result named(const char *name, jd_fn fn)
{
    jd_task_options o = JD_TASK_OPTIONS_INIT;
    jd_task *t;

    o.name = name;
    t = jd_spawn_with(fn, NULL, &o);
    return t ? jd_await(t) : jd_err(-ENOMEM); /* a join might run it inside its caller */
}

static jd_result leave_scope_open(void *arg)
{
    jd_scope s;

    (void)arg;
    jd_scope_open(&s, JD_FOREVER);
    return jd_ok(NULL);
}

static jd_result leave_scope_open_main(void *arg)
{
    (void)arg;
    return named("forgetful", leave_scope_open);
}

static void leave_scope_open_child(void)
{
    (void)run_workers(2, leave_scope_open_main, NULL);
}

Test(misuse, a_task_that_returns_with_an_open_scope_ends_the_process)
{
    struct child c = child_run(leave_scope_open_child);

    cr_assert(child_died_of(&c, SIGABRT), "status %x", c.status);
    cr_assert(child_said(&c, "jackdaw: forgetful returned with a scope or group still open"));
}

static jd_result leave_group_open(void *arg)
{
    jd_group g;

    (void)arg;
    jd_group_open(&g, 0, JD_FOREVER);
    return jd_ok(NULL);
}

static jd_result leave_group_open_main(void *arg)
{
    (void)arg;
    return named("gregarious", leave_group_open);
}

static void leave_group_open_child(void)
{
    (void)run_workers(2, leave_group_open_main, NULL);
}

Test(misuse, a_task_that_returns_with_an_open_group_ends_the_process)
{
    struct child c = child_run(leave_group_open_child);

    cr_assert(child_died_of(&c, SIGABRT), "status %x", c.status);
    cr_assert(child_said(&c, "gregarious returned with a scope or group still open"));
}

static jd_result leave_fork(void *arg)
{
    static jd_fork f; /* a thief may write to it while the process ends */

    jd_fork_start(&f, return_arg, arg);
    return jd_ok(NULL);
}

static jd_result leave_fork_main(void *arg)
{
    (void)arg;
    return named("prodigal", leave_fork);
}

static void leave_fork_child(void)
{
    (void)run_workers(1, leave_fork_main, NULL);
}

Test(misuse, a_task_that_returns_without_joining_its_fork_ends_the_process)
{
    struct child c = child_run(leave_fork_child);

    cr_assert(child_died_of(&c, SIGABRT), "status %x", c.status);
    cr_assert(child_said(&c, "prodigal returned with a fork that was not joined"));
}

static jd_result close_out_of_order(void *arg)
{
    jd_scope outer, inner;

    (void)arg;
    jd_scope_open(&outer, JD_FOREVER);
    jd_scope_open(&inner, JD_FOREVER);
    return jd_err(jd_scope_close(&outer));
}

static void close_out_of_order_child(void)
{
    jd_config cfg = config_of(1, JD_DEBUG);

    (void)jd_run(close_out_of_order, NULL, &cfg);
}

Test(misuse, in_debug_mode_closing_the_outer_scope_first_ends_the_process)
{
    struct child c = child_run(close_out_of_order_child);

    cr_assert(child_died_of(&c, SIGABRT), "status %x", c.status);
    cr_assert(child_said(&c, "was closed out of order"));
}

/* --- Reports without a handler ---------------------------------------------------------------- */

static jd_result nobody_looks(void *arg)
{
    (void)arg;
    cr_assert_eq(jd_spawn_detached(fail_with, (void *)(intptr_t)-EIO), 0);
    yields(3);
    return jd_ok(NULL);
}

static void nobody_looks_child(void)
{
    (void)run_workers(1, nobody_looks, NULL);
}

Test(misuse, a_failure_that_nobody_looks_at_is_told_to_stderr)
{
    struct child c = child_run(nobody_looks_child);

    cr_assert(WIFEXITED(c.status) && WEXITSTATUS(c.status) == 0, "status %x", c.status);
    cr_assert(child_said(&c, "jackdaw: "));
    cr_assert(child_said(&c, "task-"), "it names the task");
}

/* --- Overflow of a stack ---------------------------------------------------------------------- */

static __attribute__((noinline)) int recurse(int depth)
{
    char block[512];
    int below;

    memset(block, depth, sizeof(block));
    below = depth < 1 << 30 ? recurse(depth + 1) : 0;
    __asm__ volatile("" ::"r"(block) : "memory");
    return below + block[3];
}

static jd_result overflow(void *arg)
{
    (void)arg;
    return jd_ok_num(recurse(1));
}

static jd_result overflow_named_main(void *arg)
{
    (void)arg;
    return named("bottomless", overflow);
}

static void overflow_named_child(void)
{
    (void)run_workers(1, overflow_named_main, NULL);
}

static jd_result overflow_nameless_main(void *arg)
{
    jd_task *t = jd_spawn(overflow, arg);

    return jd_join(t);
}

static void overflow_nameless_child(void)
{
    (void)run_workers(1, overflow_nameless_main, NULL);
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define TOOL_TAKES_FAULTS true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define TOOL_TAKES_FAULTS true
#endif
#endif
#ifndef TOOL_TAKES_FAULTS
#define TOOL_TAKES_FAULTS false
#endif

static void expect_overflow(void (*scenario)(void), const char *who)
{
    struct child c;

    if (TOOL_TAKES_FAULTS || getenv("JD_TEST_NO_EXEC"))
        jd_test_skip("the tool has its own report of an overflow");
    c = child_run(scenario);
    cr_assert(child_died_of(&c, SIGSEGV), "status %x", c.status);
    cr_assert(child_said(&c, who), "it names the task");
    cr_assert(child_said(&c, "function 0x"));
}

Test(misuse, an_overflow_names_the_task)
{
    expect_overflow(overflow_named_child, "task bottomless (id ");
}

Test(misuse, an_overflow_names_a_task_without_a_name_by_its_number)
{
    expect_overflow(overflow_nameless_child, "task task-");
}
