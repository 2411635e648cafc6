/* SPDX-License-Identifier: MIT */
/*
 * No file is left on the machine (ENFILE) when a server accepts: it backs off, asks a bounded number
 * of times, and serves everybody who waited.
 *
 * ENFILE itself needs fs.file-max, which is the whole machine's. On epoll accept4(2) is refused by
 * the kernel, through a filter that a thread of the test judges; a ring's accept is not a system call,
 * so there the port completes a request with ENFILE (FAULT_NFILE).
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <jackdaw/jackdaw.h>

#include "base/fault.h"
#include "filter.h"
#include "jd_test.h"
#include "refused.h"

#define EARLY 3    /* clients that wait before the server runs */
#define REFUSALS 4 /* in a row: the back-off is 10, 20, 40 and 80 ms */
#define BACKOFF_ALL JD_MS(10 + 20 + 40 + 80)

/* --- The kernel's answers to accept4() --------------------------------------------------------- */

static struct {
    atomic_int refusals_left, refused, allowed;
} books;

static int judge_accept(long number, const uint64_t args[6], void *arg)
{
    (void)number, (void)args, (void)arg;
    if (atomic_load(&books.refusals_left) == 0) {
        atomic_fetch_add(&books.allowed, 1);
        return 0;
    }
    atomic_fetch_sub(&books.refusals_left, 1);
    atomic_fetch_add(&books.refused, 1);
    return ENFILE;
}

/* --- A server and its clients ------------------------------------------------------------------ */

static void answer_one(int fd, void *arg)
{
    char byte;

    (void)arg;
    cr_assert_eq(jd_read_full(fd, &byte, 1), 1);
    cr_assert_eq(jd_send_all(fd, &byte, 1), 0);
}

static jd_result serve_task(void *arg)
{
    return jd_ok_num(jd_serve(*(int *)arg, answer_one, NULL, NULL));
}

static void talk(int fd, char say)
{
    char byte;

    cr_assert_eq(jd_send_all(fd, &say, 1), 0);
    cr_assert_eq(jd_read_full(fd, &byte, 1), 1);
    cr_assert_eq(byte, say, "somebody else's answer");
    cr_assert_eq(jd_close(fd), 0);
}

static jd_result shortage(void *arg)
{
    int listener = jd_listen("127.0.0.1:0", 0, 0), fds[EARLY];
    int64_t begin, took;
    char address[64];
    jd_task *server;
    jd_result r;

    cr_assert_geq(listener, 0);
    cr_assert_eq(jd_local_address(listener, address, sizeof(address)), 0);
    for (int i = 0; i < EARLY; i++)
        cr_assert_geq(fds[i] = jd_dial(address), 0); /* the kernel's backlog takes them */
    begin = jd_now();
    server = jd_spawn(serve_task, &listener);
    cr_assert_not_null(server);
    for (int i = 0; i < EARLY; i++)
        talk(fds[i], (char)('a' + i));
    took = jd_now() - begin;
    fprintf(stderr, "# served after %.1f ms\n", (double)took / 1e6);
    cr_assert_geq(took, BACKOFF_ALL, "it did not back off");
    talk(jd_dial(address), 'z'); /* as if nothing had been */
    cr_assert_eq(jd_task_cancel(server, "enough"), 0);
    r = jd_join(server);
    cr_assert_eq(r.num, -ECANCELED, "%s", jd_strerror((int)r.num));
    cr_assert_eq(jd_close(listener), 0);
    return jd_ok(arg);
}

static void run_on(unsigned reactor, unsigned workers)
{
    jd_config cfg = JD_CONFIG_INIT;
    int err;

    cfg.flags = JD_NO_ENV;
    cfg.reactor = reactor;
    cfg.workers = workers;
    err = jd_run(shortage, NULL, &cfg).error;
    skip_if_refused(cfg.reactor, err);
    cr_assert_eq(err, 0, "%s", jd_strerror(err));
}

Test(accept, enfile_on_epoll, .timeout = 20)
{
    static const long calls[] = { SYS_accept4 };

    filter_judge_calls(calls, 1, judge_accept, NULL);
    for (unsigned workers = 1; workers <= 2; workers++) {
        atomic_store(&books.refused, 0);
        atomic_store(&books.allowed, 0);
        atomic_store(&books.refusals_left, REFUSALS);
        run_on(JD_REACTOR_EPOLL, workers);
        cr_assert_eq(atomic_load(&books.refused), REFUSALS);
        /* One call for each client; one in vain when there is none, before each sleep. */
        cr_assert_geq(atomic_load(&books.allowed), EARLY + 1);
        cr_assert_leq(atomic_load(&books.allowed), 2 * (EARLY + 1) + 1);
    }
}

Test(accept, enfile_on_uring, .timeout = 20)
{
    for (unsigned workers = 1; workers <= 2; workers++) {
        fault_arm(FAULT_NFILE, 0, REFUSALS);
        run_on(JD_REACTOR_URING, workers);
        /* The refused ones, one for each client, and the one that was cancelled. */
        cr_assert_eq(fault_visits(FAULT_NFILE), REFUSALS + EARLY + 1 + 1);
    }
}
