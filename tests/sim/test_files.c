/* SPDX-License-Identifier: MIT */
/*
 * Simulated files: bytes at positions, short transfers, a disk that fills.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>

#include "jd_test.h"
#include "run_seeds.h"
#include "seeds.h"
#include "sweep.h"

#include <jackdaw/jackdaw.h>

#define BYTES 20000u

static unsigned char byte_at(size_t i)
{
    return (unsigned char)(i * 17 + i / 253);
}

static jd_result copy(int from, int to)
{
    char buf[999];
    ssize_t n;

    while ((n = jd_read(from, buf, sizeof(buf))) > 0)
        CHECK(jd_write_all(to, buf, (size_t)n) == 0);
    CHECK(n == 0);
    CHECK(jd_close(from) == 0);
    CHECK(jd_close(to) == 0);
    return jd_ok(NULL);
}

static jd_result write_copy_compare(void *arg)
{
    unsigned char bytes[BYTES], back[BYTES + 1];
    int fd = jd_sim_open("a", O_WRONLY | O_CREAT | O_EXCL), to;

    (void)arg;
    for (size_t i = 0; i < BYTES; i++)
        bytes[i] = byte_at(i);
    CHECK(fd >= 0);
    CHECK(jd_write_all(fd, bytes, BYTES) == 0);
    CHECK(jd_close(fd) == 0);
    fd = jd_sim_open("a", O_RDONLY);
    to = jd_sim_open("b", O_RDWR | O_CREAT);
    CHECK(copy(fd, to).error == 0);
    fd = jd_sim_open("b", O_RDONLY);
    CHECK(jd_read_full(fd, back, sizeof(back)) == BYTES);
    CHECK(memcmp(bytes, back, BYTES) == 0);
    CHECK(jd_read(fd, back, 1) == 0);
    CHECK(jd_close(fd) == 0);
    return jd_ok(NULL);
}

Test(sim_files, what_was_written_is_read)
{
    run_seeds(write_copy_compare, NULL, 100, 0, JD_SIM_NO_ENOMEM);
    run_seeds(write_copy_compare, NULL, 100, 20, JD_SIM_NO_ENOMEM | JD_SIM_NO_ERRORS);
}

static jd_result short_ones(void *arg)
{
    unsigned *count = arg;
    char buf[100] = { 0 };
    int fd = jd_sim_open("a", O_RDWR | O_CREAT | O_APPEND);

    CHECK(fd >= 0);
    for (int i = 0; i < 40; i++) {
        ssize_t n = jd_write(fd, buf, sizeof(buf));

        CHECK((n > 0 && n <= (ssize_t)sizeof(buf)) || n == -EIO || n == -ENOSPC);
        count[0] += n > 0 && n < (ssize_t)sizeof(buf);
        count[1] += n == -EIO;
        count[2] += n == -ENOSPC;
    }
    CHECK(jd_close(fd) == 0);
    return jd_ok(NULL);
}

Test(sim_files, faults_shorten_and_fail)
{
    unsigned count[3] = { 0 };

    run_seeds(short_ones, count, 100, 20, JD_SIM_NO_ENOMEM);
    for (int i = 0; i < 3 && !seeds_given(); i++)
        cr_assert_gt(count[i], 0, "%d", i);
}

static jd_result edges(void *arg)
{
    char buf[8] = "";
    int a, b, fds[2];

    (void)arg;
    CHECK(jd_sim_open("none", O_RDONLY) == -ENOENT);
    CHECK(jd_sim_open(NULL, O_RDONLY) == -EINVAL);
    CHECK(jd_sim_open("a", O_PATH) == -EINVAL);
    a = jd_sim_open("a", O_WRONLY | O_CREAT);
    b = jd_sim_open("a", O_RDONLY);
    CHECK(a >= 0 && b >= 0);
    CHECK(jd_sim_open("a", O_RDWR | O_CREAT | O_EXCL) == -EEXIST);
    CHECK(jd_read(a, buf, 1) == -EBADF);
    CHECK(jd_read(a, buf, 0) == -EBADF);
    CHECK(jd_write(b, buf, 1) == -EBADF);
    CHECK(jd_recv(b, buf, 1, 0) == -ENOTSOCK);
    CHECK(jd_send(a, buf, 1, 0) == -ENOTSOCK);
    CHECK(jd_shutdown(a, SHUT_WR) == -ENOTSOCK);
    CHECK(jd_local_address(a, buf, sizeof(buf)) == -ENOTSOCK);
    CHECK(jd_accept(a, NULL, NULL, 0) == -ENOTSOCK);
    CHECK(jd_poll(b, POLLIN | POLLOUT, JD_FOREVER) == (POLLIN | POLLOUT));
    CHECK(jd_read(b, buf, 1) == 0); /* the end; then more comes */
    CHECK(jd_write(a, "abc", 3) == 3);
    CHECK(jd_read(b, buf, 2) == 2 && memcmp(buf, "ab", 2) == 0);
    CHECK(jd_close(a) == 0);
    a = jd_sim_open("a", O_WRONLY | O_APPEND);
    CHECK(jd_write(a, "de", 2) == 2);
    CHECK(jd_read_full(b, buf, 8) == 3 && memcmp(buf, "cde", 3) == 0);
    CHECK(jd_close(a) == 0);
    a = jd_sim_open("a", O_WRONLY | O_TRUNC);
    CHECK(jd_write(a, "x", 1) == 1);
    CHECK(jd_read(b, buf, 1) == 0); /* its position is beyond the end now */
    CHECK(jd_close(a) == 0);
    CHECK(jd_close(b) == 0);

    CHECK(jd_sim_pipe(fds) == 0);
    CHECK(jd_read(fds[1], buf, 1) == -EBADF);
    CHECK(jd_write(fds[0], buf, 1) == -EBADF);
    CHECK(jd_send(fds[1], buf, 1, 0) == -ENOTSOCK);
    CHECK(jd_close(fds[0]) == 0);
    CHECK(jd_close(fds[1]) == 0);
    CHECK(jd_sim_socketpair(SOCK_SEQPACKET, fds) == -EINVAL);
    return jd_ok(NULL);
}

Test(sim_files, modes_ends_and_wrong_calls)
{
    run_seeds(edges, NULL, 50, 0, JD_SIM_NO_ENOMEM);
}

static jd_result fill_the_disk(void *arg)
{
    static char block[1 << 20];
    int fd = jd_sim_open("big", O_WRONLY | O_CREAT), error = 0;
    size_t total = 0, done = 0;

    (void)arg;
    CHECK(fd >= 0);
    for (int i = 0; i < 100 && !error; i++) {
        error = jd_write_all_count(fd, block, sizeof(block), &done);
        total += done;
    }
    CHECK(error == -ENOSPC);
    CHECK(total == 64u << 20);
    CHECK(jd_close(fd) == 0);
    return jd_ok(NULL);
}

Test(sim_files, the_disk_is_finite)
{
    cr_assert_eq(jd_sim_run(1, fill_the_disk, NULL, NULL).error, 0);
}

Test(sim_files, outside_of_a_simulation_there_are_none)
{
    int fds[2];

    cr_assert_eq(jd_sim_open("a", O_RDONLY), -EPERM);
    cr_assert_eq(jd_sim_socketpair(SOCK_STREAM, fds), -EPERM);
    cr_assert_eq(jd_sim_datagram("127.0.0.1:1"), -EPERM);
}

/* --- Cancelled at every checkpoint ---------------------------------------------------------------- */

struct log {
    int written;
};

static void log_before(void *arg)
{
    *(struct log *)arg = (struct log){ 0 };
}

/* A cancelled write has written nothing: the file has what the calls said. */
static jd_result append_lines(void *arg)
{
    struct log *log = arg;
    int fd = jd_sim_open("log", O_WRONLY | O_CREAT | O_APPEND), error = 0;
    char back[200];
    jd_scope shield;
    int ended;
    ssize_t n;

    if (fd < 0)
        return jd_err(-1000);
    for (int i = 0; i < 5 && !error; i++) {
        n = jd_write(fd, "0123456789", 10);
        error = n < 0 ? (int)n : 0;
        log->written += n > 0 ? (int)n : 0;
    }
    (void)jd_close(fd);
    jd_scope_open_shielded(&shield, JD_FOREVER);
    do { /* bounded: a fault, now and then */
        fd = jd_sim_open("log", O_RDONLY);
        n = jd_read_full(fd, back, sizeof(back));
        (void)jd_close(fd);
    } while (n == -ENOMEM);
    ended = jd_scope_close(&shield);
    (void)ended;
    if (n >= 0 && n != log->written)
        return jd_err(-1000);
    return jd_err(error == -ECANCELED ? error : 0);
}

static void log_after(void *arg, jd_result r, unsigned where)
{
    (void)arg;
    cr_assert(r.error == 0 || (where != 0 && r.error == -ECANCELED), "checkpoint %u: %d", where,
              r.error);
}

Test(sim_files, a_cancelled_write_has_written_nothing, .timeout = 30)
{
    struct log log;
    struct sweep s = {
        .fn = append_lines, .arg = &log, .before = log_before, .after = log_after, .seeds = 10
    };

    sweep_or_sample(s, 50);
}
