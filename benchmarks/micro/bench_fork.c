/* SPDX-License-Identifier: MIT */
/*
 * Fork-join through the shared library: a fork that nobody steals costs no allocation and no atomic
 * read-modify-write. Goal: at most 10 ns for jd_fork_start() + jd_fork_join() of an empty child.
 *
 * flat: one fork after another. fib: a tree of them, nanoseconds per fork, the additions included.
 */
#include "measure.h"

#define FIB_N 22

static void run_flat(long n)
{
    for (long i = 0; i < n; i++) {
        jd_fork f;

        jd_fork_start(&f, plain_call, NULL);
        (void)jd_fork_join(&f);
    }
}

static jd_result fib(void *arg)
{
    intptr_t n = (intptr_t)arg, right;
    jd_fork f;

    if (n < 2)
        return (jd_result){ 0, { .num = n } };
    jd_fork_start(&f, fib, (void *)(n - 1));
    right = fib((void *)(n - 2)).num;
    return (jd_result){ 0, { .num = jd_fork_join(&f).num + right } };
}

static __attribute__((noinline)) jd_result fib_plain(void *arg)
{
    intptr_t n = (intptr_t)arg;

    if (n < 2)
        return (jd_result){ 0, { .num = n } };
    return (
        jd_result){ 0, { .num = fib_plain((void *)(n - 1)).num + fib_plain((void *)(n - 2)).num } };
}

/* Forks in fib(n): each call with n >= 2 makes one. */
static long forks_of(int n)
{
    long a = 0, b = 0;

    for (int i = 2; i <= n; i++) {
        long c = a + b + 1;

        a = b;
        b = c;
    }
    return b;
}

static void run_tree(long n, jd_fn tree)
{
    int depth = FIB_N;

    while (forks_of(depth) > n)
        depth--;
    for (long done = 0; done + forks_of(depth) <= n; done += forks_of(depth))
        (void)tree((void *)(intptr_t)depth);
}

static void run_fib(long n)
{
    run_tree(n, fib);
}

static void run_fib_plain(long n)
{
    run_tree(n, fib_plain);
}

static jd_result main_task(void *arg)
{
    const struct row rows[] = {
        { "fork+join", run_flat, 50000, NULL },
        { "fib, per fork", run_fib, 28656, NULL },
        { "fib, plain calls", run_fib_plain, 28656, NULL },
    };

    measure_rows(ROWS(rows));
    return jd_ok(arg);
}

static jd_result two_workers(void *arg)
{
    const struct row rows[] = { { "fib, per fork, two workers", run_fib, 28656, NULL } };

    measure_rows(ROWS(rows));
    return jd_ok(arg);
}

int main(void)
{
    return run_main(main_task, 1) || run_main(two_workers, 2);
}
