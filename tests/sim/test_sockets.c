/* SPDX-License-Identifier: MIT */
/*
 * Simulated sockets: what stream sockets promise, under many orders and with faults.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "jd_test.h"
#include "run_seeds.h"
#include "scenario.h"
#include "seeds.h"
#include "sim/sim.h"

#include <jackdaw/jackdaw.h>

/* Two ends of one connection. */
static int connect_pair(const char *address, int fds[2])
{
    int listener = jd_listen(address, 0, 0);
    char name[64];

    if (listener < 0)
        return listener;
    (void)jd_local_address(listener, name, sizeof(name));
    fds[0] = jd_dial(name);
    fds[1] = jd_accept(listener, NULL, NULL, 0);
    (void)jd_close(listener);
    return fds[0] < 0 ? fds[0] : fds[1] < 0 ? fds[1] : 0;
}

static void close_pair(int fds[2])
{
    (void)jd_close(fds[0]);
    (void)jd_close(fds[1]);
}

Test(sim_sockets, an_echo_server_answers_every_client)
{
    jd_sim_options o = JD_SIM_OPTIONS_INIT;

    for_each_seed(seed, jd_test_rounds(500)) {
        jd_result r = jd_sim_run(seed, scenario_echo, NULL, &o);

        cr_assert_eq(r.error, 0, "seed %lu", (unsigned long)seed);
        cr_assert_eq(r.num, ECHO_CLIENTS * ECHO_ROUNDS, "seed %lu", (unsigned long)seed);
        cr_assert_eq(sim_last().open_files, 0);
    }
}

Test(sim_sockets, with_faults_bytes_are_lost_only_with_their_connection)
{
    run_seeds(scenario_echo, NULL, jd_test_rounds(500), 20, 0);
    run_seeds(scenario_echo, NULL, jd_test_rounds(100), 100, 0);
}

Test(sim_sockets, a_read_that_is_assumed_to_be_full_is_found)
{
    jd_sim_options o = JD_SIM_OPTIONS_INIT;
    uint64_t seed = 0;

    o.flags = JD_SIM_NO_ERRORS | JD_SIM_NO_ENOMEM;
    for_each_seed(quiet, 100) /* no faults: the bug does not show */
        cr_assert_eq(jd_sim_run(quiet, scenario_assumes_full_read, NULL, &o).error, 0);
    o.fault_percent = 10;
    for (; seed < 300; seed++)
        if (jd_sim_run(seed, scenario_assumes_full_read, NULL, &o).error == -EBADMSG)
            break;
    cr_assert_lt(seed, 300);
}

static jd_result ends(void *arg)
{
    int fds[2];
    char buf[16];

    (void)arg;
    CHECK(connect_pair("127.0.0.1:0", fds) == 0);
    CHECK(jd_send(fds[0], "abc", 3, 0) == 3);
    CHECK(jd_shutdown(fds[0], SHUT_WR) == 0);
    CHECK(jd_send(fds[0], "d", 1, 0) == -EPIPE);
    CHECK(jd_recv(fds[1], buf, 2, MSG_PEEK) == 2);
    CHECK(jd_read_full(fds[1], buf, sizeof(buf)) == 3);
    CHECK(memcmp(buf, "abc", 3) == 0);
    CHECK(jd_recv(fds[1], buf, sizeof(buf), 0) == 0);
    CHECK(jd_send(fds[1], "back", 4, 0) == 4);
    CHECK(jd_recv(fds[0], buf, 4, MSG_WAITALL) == 4);
    close_pair(fds);
    return jd_ok(NULL);
}

Test(sim_sockets, a_shutdown_is_an_end_of_file_behind_the_bytes)
{
    run_seeds(ends, NULL, jd_test_rounds(200), 0, 0);
}

static jd_result late_reader(void *arg)
{
    int fd = *(int *)arg;
    char buf[512];
    intptr_t sum = 0;
    ssize_t n;

    (void)jd_sleep(JD_MS(50));
    while ((n = jd_recv(fd, buf, sizeof(buf), 0)) > 0)
        sum += n;
    return n < 0 ? jd_err(n) : jd_ok_num(sum);
}

static jd_result fill(void *arg)
{
    static const char block[50000];
    int fds[2];
    jd_task *reader;
    int64_t start = jd_now();
    jd_result r;

    (void)arg;
    CHECK(connect_pair("unix:sim", fds) == 0);
    reader = jd_spawn(late_reader, &fds[1]);
    CHECK(reader);
    for (int i = 0; i < 4; i++)
        CHECK(jd_send_all(fds[0], block, sizeof(block)) == 0);
    CHECK(jd_now() - start >= JD_MS(50)); /* it had to wait for room */
    CHECK(jd_shutdown(fds[0], SHUT_WR) == 0);
    r = jd_join(reader);
    CHECK(r.num == 4 * sizeof(block));
    close_pair(fds);
    return jd_ok(NULL);
}

Test(sim_sockets, a_full_socket_makes_the_sender_wait)
{
    run_seeds(fill, NULL, jd_test_rounds(100), 0, 0);
    run_seeds(fill, NULL, jd_test_rounds(100), 30, JD_SIM_NO_ERRORS | JD_SIM_NO_ENOMEM);
}

static jd_result wait_for_bytes(void *arg)
{
    char buf[8];
    int fd = *(int *)arg;
    ssize_t n = jd_recv(fd, buf, sizeof(buf), 0);

    return n < 0 ? jd_err(n) : jd_ok_num(n);
}

static jd_result close_under_reader(void *arg)
{
    int fds[2];
    jd_task *reader;

    (void)arg;
    CHECK(connect_pair("127.0.0.1:0", fds) == 0);
    reader = jd_spawn(wait_for_bytes, &fds[0]);
    CHECK(jd_sleep(JD_MS(1)) == 0);
    CHECK(jd_close(fds[0]) == 0);
    CHECK(jd_join(reader).error == -EBADF);
    CHECK(jd_close(fds[0]) == -EBADF);
    CHECK(jd_close(fds[1]) == 0);
    return jd_ok(NULL);
}

Test(sim_sockets, a_close_ends_what_waits_on_the_descriptor)
{
    run_seeds(close_under_reader, NULL, jd_test_rounds(300), 0, 0);
}

/* Bytes and cancel at the same time: either the bytes, or -ECANCELED and the bytes are still there. */
static jd_result cancel_against_bytes(void *arg)
{
    unsigned *seen = arg;
    int fds[2];
    char buf[8];
    jd_task *reader;
    jd_result r;

    CHECK(connect_pair("127.0.0.1:0", fds) == 0);
    reader = jd_spawn(wait_for_bytes, &fds[1]);
    CHECK(jd_sleep(JD_MS(1)) == 0);
    CHECK(jd_send(fds[0], "12345", 5, 0) == 5);
    CHECK(jd_task_cancel(reader, NULL) == 0 || 1);
    r = jd_join(reader);
    if (r.error == 0) {
        CHECK(r.num == 5);
        seen[0]++;
    } else {
        CHECK(r.error == -ECANCELED);
        CHECK(jd_recv(fds[1], buf, sizeof(buf), 0) == 5);
        seen[1]++;
    }
    close_pair(fds);
    return jd_ok(NULL);
}

Test(sim_sockets, a_cancel_and_a_completion_race_both_ways_and_lose_no_byte)
{
    unsigned seen[2] = { 0, 0 };

    for_each_seed(seed, 300) {
        jd_result r = jd_sim_run(seed, cancel_against_bytes, seen, NULL);

        cr_assert_eq(r.error, 0, "seed %lu: line %d", (unsigned long)seed, -r.error - 1000);
    }
    if (!seeds_given()) {
        cr_assert_gt(seen[0], 20, "%u", seen[0]);
        cr_assert_gt(seen[1], 20, "%u", seen[1]);
    }
}

static jd_result polls(void *arg)
{
    int fds[2];
    int64_t start;

    (void)arg;
    CHECK(connect_pair("127.0.0.1:0", fds) == 0);
    start = jd_now();
    CHECK(jd_poll(fds[0], POLLIN, JD_SEC(5)) == -ETIMEDOUT);
    CHECK(jd_now() - start >= JD_SEC(5) && jd_now() - start < JD_SEC(6));
    CHECK(jd_poll(fds[0], POLLOUT, JD_SEC(5)) == POLLOUT);
    CHECK(jd_send(fds[1], "x", 1, 0) == 1);
    CHECK(jd_poll(fds[0], POLLIN, JD_SEC(5)) == POLLIN);
    close_pair(fds);
    return jd_ok(NULL);
}

Test(sim_sockets, poll_waits_in_virtual_time)
{
    run_seeds(polls, NULL, jd_test_rounds(100), 0, 0);
}

static jd_result addresses(void *arg)
{
    int a = jd_listen("127.0.0.1:80", 0, 0), b, fd;
    char text[64], other[64];

    (void)arg;
    CHECK(a >= SIM_FD_BASE); /* port 80 costs nothing here */
    CHECK(jd_listen("127.0.0.1:80", 0, 0) == -EADDRINUSE);
    CHECK(jd_dial("127.0.0.1:81") == -ECONNREFUSED);
    CHECK(jd_dial("nowhere.example:80") == -ENXIO);
    fd = jd_dial("localhost:80");
    CHECK(fd >= 0);
    b = jd_accept(a, NULL, NULL, 0);
    CHECK(jd_local_address(fd, text, sizeof(text)) == 0);
    CHECK(jd_peer_address(b, other, sizeof(other)) == 0);
    CHECK(strcmp(text, other) == 0);
    CHECK(jd_peer_address(fd, text, sizeof(text)) == 0 && strcmp(text, "127.0.0.1:80") == 0);
    CHECK(jd_close(fd) == 0 && jd_close(b) == 0 && jd_close(a) == 0);
    a = jd_listen(":80", 0, 0); /* free again, on all addresses */
    fd = jd_dial("127.0.0.1:80");
    CHECK(a >= 0 && fd >= 0);
    CHECK(jd_close(a) == 0);
    CHECK(jd_recv(fd, text, sizeof(text), 0) == -ECONNRESET); /* it was never accepted */
    CHECK(jd_close(fd) == 0);
    return jd_ok(NULL);
}

Test(sim_sockets, addresses_belong_to_the_simulation)
{
    run_seeds(addresses, NULL, jd_test_rounds(50), 0, 0);
}

/* --- Escapes -------------------------------------------------------------------------------- */

static void note_escape(const jd_report *r, void *arg)
{
    *(unsigned *)arg += r->kind == JD_REPORT_ESCAPE;
}

static jd_result use_real(void *arg)
{
    int fds[2];
    char byte = 0;

    jd_set_error_handler(NULL, note_escape, arg);
    CHECK(pipe(fds) == 0);
    CHECK(jd_write(fds[1], &byte, 1) == -EBADF);
    CHECK(jd_recv(fds[0], &byte, 1, MSG_DONTWAIT) == -EBADF);
    close(fds[0]);
    close(fds[1]);
    return jd_ok(NULL);
}

Test(sim_sockets, a_real_descriptor_is_refused_and_reported)
{
    unsigned escapes = 0;

    cr_assert_eq(jd_sim_run(1, use_real, &escapes, NULL).error, 0);
    cr_assert_eq(escapes, 2);
}

/* --- The end --------------------------------------------------------------------------------- */

static jd_result close_nothing(void *arg)
{
    int first = jd_listen("127.0.0.1:81", 0, 0), listener = jd_listen("127.0.0.1:80", 0, 0);
    int client;

    (void)arg;
    CHECK(first >= 0 && listener >= 0);
    CHECK(jd_close(first) == 0);
    client = jd_dial("127.0.0.1:80");
    CHECK(client == first); /* so it is freed before the listener, in whose backlog its peer is */
    return jd_ok(NULL);
}

Test(sim_sockets, what_nobody_closed_ends_with_the_run)
{
    cr_assert_eq(jd_sim_run(1, close_nothing, NULL, NULL).error, 0);
    cr_assert_eq(sim_last().open_files, 2);
}
