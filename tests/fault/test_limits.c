/* SPDX-License-Identifier: MIT */
/*
 * A kernel that says no: mappings, address space, membarrier, io_uring.
 *
 * Each test is a process of its own, so limits and filters may stay. What must hold: a refusal is
 * an error code or a fallback that jd_runtime_info() names, and the runtime goes on.
 */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <jackdaw/jackdaw.h>

#include "base/fault.h"
#include "filter.h"
#include "footprint.h"
#include "jd_test.h"
#include "refused.h"

static void plain_builds_only(void)
{
    if (!jd_test_is_plain())
        jd_test_skip("sanitizers and valgrind have mappings of their own");
}

/* --- Many stacks ------------------------------------------------------------------------------ */

struct crowd {
    jd_future *gate;
    _Atomic long waiting, ended;
};

static jd_result wait_at_gate(void *arg)
{
    struct crowd *c = arg;

    atomic_fetch_add(&c->waiting, 1);
    (void)jd_future_wait(c->gate, JD_FOREVER); /* 0: nobody cancels */
    atomic_fetch_add(&c->ended, 1);
    return jd_ok(NULL);
}

/* Spawns up to max tasks that wait; answers how many there were before one was refused. */
static long crowd_fill(struct crowd *c, long max)
{
    long n = 0;
    int err = 0;

    *c = (struct crowd){ .gate = NULL };
    cr_assert_eq(jd_future_new(NULL, &c->gate), 0);
    while (n < max && (err = jd_spawn_detached(wait_at_gate, c)) == 0)
        n++;
    cr_assert(err == 0 || err == -ENOMEM, "%d", err);
    while (c->waiting < n)
        cr_assert_eq(jd_sleep(JD_MS(1)), 0);
    return n;
}

static void crowd_end(struct crowd *c, long n)
{
    cr_assert_eq(jd_future_set(c->gate, jd_ok(NULL)), 0);
    while (c->ended < n)
        cr_assert_eq(jd_sleep(JD_MS(1)), 0);
    jd_future_unref(c->gate);
}

static long number_in(const char *path)
{
    FILE *file = fopen(path, "re");
    long value = 0;

    if (file && fscanf(file, "%ld", &value) != 1)
        value = 0;
    if (file)
        (void)fclose(file);
    return value;
}

static jd_result more_stacks_than_mappings(void *arg)
{
    long max = number_in("/proc/sys/vm/max_map_count"), n;
    long wanted = max / 2 + 3000;
    jd_info info = JD_INFO_INIT;
    struct crowd c;

    (void)arg;
    n = crowd_fill(&c, wanted);
    fprintf(stderr, "# %ld of %ld tasks wait, %u mappings of %ld\n", n, wanted,
            footprint_mappings(), max);
    cr_expect_eq(n, wanted, "the guards' budget must not limit the tasks");
    cr_expect_lt(footprint_mappings(), max);
    cr_assert_eq(jd_runtime_info(jd_runtime_current(), &info), 0);
    cr_expect_eq(info.guard_pages, 0, "from the budget on there are canaries, and it says so");
    crowd_end(&c, n);
    return jd_ok_num(1);
}

Test(limits, guards_end_before_max_map_count, .timeout = 60)
{
    jd_config cfg = JD_CONFIG_INIT;

    plain_builds_only();
    if (number_in("/proc/sys/vm/max_map_count") > 70000)
        jd_test_skip("vm.max_map_count is larger than the default");
    setenv("JACKDAW_STACK_GUARD", "mprotect", 1);
    cfg.workers = 2;
    cfg.stack_bytes = 16384;
    cr_assert_eq(jd_run(more_stacks_than_mappings, NULL, &cfg).num, 1);
}

static jd_result fill_address_space(void *arg)
{
    struct rlimit limit;
    struct crowd c;
    long n, pages = number_in("/proc/self/statm");

    (void)arg;
    cr_assert_eq(getrlimit(RLIMIT_AS, &limit), 0);
    limit.rlim_cur = (rlim_t)pages * 4096 + (64 << 20);
    cr_assert_eq(setrlimit(RLIMIT_AS, &limit), 0);
    n = crowd_fill(&c, 200000);
    fprintf(stderr, "# %ld tasks until -ENOMEM\n", n);
    cr_expect_lt(n, 200000, "the limit did not bite");
    crowd_end(&c, n);
    n = crowd_fill(&c, 100); /* it goes on */
    cr_expect_eq(n, 100);
    crowd_end(&c, n);
    return jd_ok_num(1);
}

Test(limits, address_space, .timeout = 60)
{
    jd_config cfg = JD_CONFIG_INIT;

    plain_builds_only();
    cfg.workers = 2;
    cr_assert_eq(jd_run(fill_address_space, NULL, &cfg).num, 1);
}

/* --- membarrier -------------------------------------------------------------------------------- */

static jd_result late_recv(void *arg)
{
    int *ends = arg;
    char byte;
    ssize_t n = jd_recv(ends[0], &byte, 1, 0);

    return n == 1 ? jd_ok_num((intptr_t)jd_now()) : jd_err(n);
}

/* The same worker arms the recv, then burns. */
static jd_result burn_beside_recv(void *arg)
{
    jd_task_options eager = JD_TASK_OPTIONS_INIT;
    int64_t written, end;
    int *ends = arg;
    jd_task *t;
    jd_result r;

    eager.flags = JD_TASK_EAGER;
    t = jd_spawn_with(late_recv, ends, &eager);
    cr_assert_not_null(t);
    cr_assert_eq(jd_sleep(JD_MS(5)), 0);
    written = jd_now();
    cr_assert_eq(write(ends[1], "x", 1), 1);
    end = written + JD_MS(200);
    while (jd_now() < end) { /* bounded by 200 ms */
    }
    r = jd_join(t);
    cr_assert_eq(r.error, 0);
    return jd_ok_num(r.num - (intptr_t)written);
}

static int64_t serve_while_burning(void)
{
    jd_task_options pinned = JD_TASK_OPTIONS_INIT;
    jd_config cfg = JD_CONFIG_INIT;
    int64_t best = INT64_MAX;
    jd_runtime *rt;
    int ends[2], err;

    cfg.workers = 2;
    cfg.reactor = JD_REACTOR_URING;
    pinned.flags = JD_TASK_PINNED;
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    err = jd_runtime_new(&cfg, &rt);
    skip_if_refused(cfg.reactor, err);
    cr_assert_eq(err, 0);
    cr_assert_eq(jd_runtime_start(rt), 0);
    for (int i = 0; i < 3; i++) {
        jd_task *t = jd_runtime_spawn(rt, burn_beside_recv, ends, &pinned);
        jd_result r = jd_await(t);

        cr_assert_eq(r.error, 0);
        fprintf(stderr, "# served after %.3f ms\n", (double)r.num / 1e6);
        best = r.num < best ? r.num : best;
        jd_task_unref(t);
    }
    jd_stop(rt);
    cr_assert_eq(jd_runtime_free(rt), 0);
    close(ends[0]);
    close(ends[1]);
    return best;
}

Test(limits, membarrier_refused, .timeout = 20)
{
    struct sigaction now;

    fault_arm(FAULT_MEMBARRIER, 0, UINT64_MAX);
    cr_assert_lt(serve_while_burning(), JD_MS(20));
    cr_assert_gt(fault_visits(FAULT_MEMBARRIER), 0);
    cr_assert_eq(sigaction(SIGURG, NULL, &now), 0);
    cr_assert(now.sa_handler == SIG_DFL, "SIGURG was not given back");
}

static void users_handler(int sig)
{
    (void)sig;
}

/* Neither membarrier nor the signal: slower, but complete, and the handler stays the user's. */
Test(limits, membarrier_refused_and_sigurg_taken, .timeout = 20)
{
    struct sigaction mine = { .sa_handler = users_handler }, now;

    fault_arm(FAULT_MEMBARRIER, 0, UINT64_MAX);
    cr_assert_eq(sigaction(SIGURG, &mine, NULL), 0);
    (void)serve_while_burning();
    cr_assert_eq(sigaction(SIGURG, NULL, &now), 0);
    cr_assert(now.sa_handler == users_handler);
}

/* --- io_uring ---------------------------------------------------------------------------------- */

static jd_result exchange(void *arg)
{
    int *ends = arg;
    char byte;
    jd_task *t = jd_spawn(late_recv, ends);

    cr_assert_eq(jd_yield(), 0);
    cr_assert_eq(jd_send(ends[1], "x", 1, 0), 1);
    cr_assert_eq(jd_join(t).error, 0);
    cr_assert_eq(jd_send(ends[0], "y", 1, 0), 1);
    cr_assert_eq(jd_recv(ends[1], &byte, 1, 0), 1);
    return jd_ok(NULL);
}

/* AUTO falls back and says why; URING fails with one of the two documented errors. */
static void expect_fallback(const char *in_why)
{
    jd_config cfg = JD_CONFIG_INIT;
    jd_info info = JD_INFO_INIT;
    jd_runtime *rt;
    int ends[2], err;

    cfg.flags = JD_NO_ENV;
    cfg.reactor = JD_REACTOR_URING;
    err = jd_runtime_new(&cfg, &rt);
    cr_assert(err == -ENOSYS || err == -EPERM, "%d", err);
    cfg.reactor = JD_REACTOR_AUTO;
    cr_assert_eq(jd_runtime_new(&cfg, &rt), 0);
    cr_assert_eq(jd_runtime_info(rt, &info), 0);
    fprintf(stderr, "# %s: %s\n", info.reactor, info.why);
    cr_expect_str_eq(info.reactor, "epoll");
    cr_expect(strstr(info.why, in_why) != NULL, "%s", info.why);
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    cr_assert_eq(jd_runtime_start(rt), 0);
    cr_assert_eq(jd_runtime_call(rt, exchange, ends).error, 0);
    jd_stop(rt);
    cr_assert_eq(jd_runtime_free(rt), 0);
    close(ends[0]);
    close(ends[1]);
}

Test(limits, uring_refused)
{
    fault_arm(FAULT_URING_SETUP, 0, UINT64_MAX);
    expect_fallback("io_uring");
}

Test(limits, uring_filtered_eperm)
{
    filter_refuse(SYS_io_uring_setup, EPERM);
    expect_fallback("io_uring");
}

Test(limits, uring_filtered_enosys)
{
    filter_refuse(SYS_io_uring_setup, ENOSYS);
    expect_fallback("io_uring");
}

static jd_result exchange_number(void *arg)
{
    (void)jd_yield(); /* 0: nobody cancels */
    return jd_ok_num((intptr_t)arg);
}

static void expect_missing(const jd_report *r, void *arg)
{
    cr_expect(strstr(r->message, "goes on without it") != NULL, "%s", r->message);
    ++*(int *)arg;
}

static jd_result add_up(void *arg)
{
    jd_task *t[8];
    intptr_t sum = 0;

    (void)arg;
    for (int i = 0; i < 8; i++)
        t[i] = jd_spawn(exchange_number, (void *)(intptr_t)i);
    for (int i = 0; i < 8; i++)
        sum += jd_join(t[i]).num;
    return jd_ok_num(sum);
}

/* A container's limit on threads: the work goes to the worker that is left, and people are told. */
Test(limits, threads_refused)
{
    jd_config cfg = JD_CONFIG_INIT;
    jd_runtime *rt;
    jd_task *t;
    int reports = 0;

    cfg.flags = JD_NO_ENV;
    cfg.workers = 3;
    cr_assert_eq(jd_runtime_new(&cfg, &rt), 0);
    jd_set_error_handler(rt, expect_missing, &reports);
    filter_refuse(SYS_clone3, EAGAIN);
    t = jd_runtime_spawn(rt, add_up, NULL, NULL);
    cr_assert_not_null(t);
    cr_assert_eq(jd_run_until_complete(rt, jd_task_future(t)).num, 28);
    jd_task_unref(t);
    cr_expect_geq(reports, 2); /* the watchdog and a worker */
    cr_assert_eq(jd_runtime_start(rt), -EAGAIN);
    cr_assert_eq(jd_runtime_free(rt), 0);
}

/* --- A descriptor that was closed without the library ------------------------------------------- */

static jd_result recv_cancelled(void *arg)
{
    char byte;

    return jd_err(jd_recv(*(int *)arg, &byte, 1, 0));
}

/* A recv is cancelled, close(2) ends the file, its number comes again: the next recv must be served
 * although the kernel has forgotten every registration of that number. */
static jd_result reuse_number(void *arg)
{
    jd_task_options eager = JD_TASK_OPTIONS_INIT;

    eager.flags = JD_TASK_EAGER;
    for (int round = 0; round < 4; round++) {
        int ends[2];
        jd_task *t;

        cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
        t = jd_spawn_with(round % 2 ? late_recv : recv_cancelled, ends, &eager);
        cr_assert_eq(jd_sleep(JD_MS(1)), 0);
        if (round % 2)
            cr_assert_eq(write(ends[1], "x", 1), 1);
        else
            cr_assert_eq(jd_task_cancel(t, "reuse"), 0);
        cr_assert_eq(jd_join(t).error, round % 2 ? 0 : -ECANCELED);
        close(ends[0]);
        close(ends[1]);
    }
    return jd_ok(arg);
}

static void reuse(unsigned reactor)
{
    jd_config cfg = JD_CONFIG_INIT;
    int err;

    cfg.workers = 2;
    cfg.reactor = reactor;
    cfg.flags = JD_NO_ENV;
    err = jd_run(reuse_number, NULL, &cfg).error;
    skip_if_refused(cfg.reactor, err);
    cr_assert_eq(err, 0);
}

Test(limits, number_reused_uring)
{
    reuse(JD_REACTOR_URING);
}

Test(limits, number_reused_epoll)
{
    reuse(JD_REACTOR_EPOLL);
}
