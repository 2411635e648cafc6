/* SPDX-License-Identifier: MIT */
/*
 * Tests that must fail, each in its own way, and a few that must pass: check_runner.py compares the
 * runner's verdicts with the names. The suites are pass, skip, fail and leak (ASan builds only).
 */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "jd_test.h"

static int init_calls;

static void count_init(void)
{
    init_calls++;
}

static void fail_in_fini(void)
{
    cr_assert_eq(init_calls, -1, "fini ran");
}

static void *assert_false(void *arg)
{
    (void)arg;
    cr_assert(false, "on a thread of its own");
    return NULL;
}

Test(pass, plain)
{
    cr_assert(true);
    cr_assert_eq(1, 1);
    cr_assert_neq(1, 2, "with a message %d", 3);
    cr_assert_lt(1, 2);
    cr_assert_leq(2, 2);
    cr_assert_gt(2, 1);
    cr_assert_geq(2, 2);
    cr_assert_null(NULL);
    cr_assert_not_null("");
    cr_assert_str_eq("a", "a");
    cr_assert_str_neq("a", "b");
    cr_assert_arr_eq("ab", "ab", 2);
    cr_expect(true);
    cr_expect_eq(1, 1);
}

Test(pass, init_runs_once, .init = count_init)
{
    cr_assert_eq(init_calls, 1);
}

Test(pass, dies_of_the_expected_signal, .signal = SIGSEGV)
{
    raise(SIGSEGV);
}

Test(pass, ends_with_the_expected_status, .exit_code = 3)
{
    exit(3);
}

Test(skip, says_why)
{
    jd_test_skip("no such device");
}

Test(skip, disabled, .disabled = true)
{
    cr_assert(false);
}

Test(fail, assertion)
{
    cr_assert_eq(1, 2, "planted %d", 7);
}

Test(fail, expectation)
{
    cr_expect_str_eq("a", "b");
}

Test(fail, assertion_on_a_thread)
{
    pthread_t thread;

    cr_assert_eq(pthread_create(&thread, NULL, assert_false, NULL), 0);
    pthread_join(thread, NULL);
}

Test(fail, assertion_in_fini, .fini = fail_in_fini)
{
}

Test(fail, timeout, .timeout = 0.2)
{
    for (;;)
        pause();
}

Test(fail, crash)
{
    raise(SIGSEGV);
}

Test(fail, returns_instead_of_dying, .signal = SIGABRT)
{
}

Test(fail, returns_instead_of_exiting, .exit_code = 3)
{
}

Test(fail, status_77_without_a_reason)
{
    exit(77);
}

Test(leak, block)
{
    void *volatile block = malloc(100);

    cr_assert_not_null(block);
    block = NULL;
}
