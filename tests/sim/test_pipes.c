/* SPDX-License-Identifier: MIT */
/*
 * Simulated pipes: what pipe(7) promises, under many orders and with faults.
 */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>

#include "jd_test.h"
#include "run_seeds.h"
#include "seeds.h"
#include "sweep.h"

#include <jackdaw/jackdaw.h>

/* --- Bytes in order, over two pipes and three tasks ------------------------------------------- */

#define STREAM_BYTES 30000u

struct stage {
    int in, out;
    unsigned short_reads, short_writes;
};

static unsigned char byte_at(size_t i)
{
    return (unsigned char)(i * 31 + i / 251);
}

static jd_result produce(void *arg)
{
    struct stage *s = arg;
    unsigned char buf[STREAM_BYTES];
    size_t done = 0;

    for (size_t i = 0; i < STREAM_BYTES; i++)
        buf[i] = byte_at(i);
    while (done < STREAM_BYTES) {
        size_t part = 1 + done % 9000, left = STREAM_BYTES - done;
        ssize_t n;

        part = part < left ? part : left;
        n = jd_write(s->out, buf + done, part);
        CHECK(n > 0);
        CHECK(part > PIPE_BUF || (size_t)n == part); /* all or nothing */
        s->short_writes += (size_t)n < part;
        done += (size_t)n;
    }
    CHECK(jd_close(s->out) == 0);
    return jd_ok(NULL);
}

static jd_result pass_on(void *arg)
{
    struct stage *s = arg;
    char buf[700];
    ssize_t n;

    while ((n = jd_read(s->in, buf, sizeof(buf))) > 0) {
        s->short_reads += (size_t)n < sizeof(buf);
        CHECK(jd_write_all(s->out, buf, (size_t)n) == 0);
    }
    CHECK(n == 0);
    CHECK(jd_close(s->in) == 0);
    CHECK(jd_close(s->out) == 0);
    return jd_ok(NULL);
}

static jd_result consume(int fd)
{
    unsigned char buf[900];
    size_t done = 0;
    ssize_t n;

    while ((n = jd_read(fd, buf, sizeof(buf))) > 0)
        for (ssize_t i = 0; i < n; i++)
            CHECK(buf[i] == byte_at(done++));
    CHECK(n == 0);
    CHECK(done == STREAM_BYTES);
    CHECK(jd_close(fd) == 0);
    return jd_ok(NULL);
}

static jd_result three_stages(void *arg)
{
    struct stage first = { .in = -1 }, second = { .in = -1 }, *total = arg;
    int near[2], far[2];
    jd_task *t[2];
    jd_result r;

    CHECK(jd_sim_pipe(near) == 0);
    CHECK(jd_sim_pipe(far) == 0);
    first.out = near[1];
    second.in = near[0];
    second.out = far[1];
    t[0] = jd_spawn(produce, &first);
    t[1] = jd_spawn(pass_on, &second);
    r = consume(far[0]);
    for (int i = 0; i < 2; i++) {
        jd_result other = jd_join(t[i]);

        r = r.error ? r : other;
    }
    total->short_reads += second.short_reads;
    total->short_writes += first.short_writes;
    return r;
}

Test(sim_pipes, bytes_arrive_in_order_and_then_the_end)
{
    struct stage total = { .in = -1 };

    run_seeds(three_stages, &total, 100, 0, JD_SIM_NO_ENOMEM);
    run_seeds(three_stages, &total, 100, 20, JD_SIM_NO_ENOMEM);
    cr_assert(seeds_given() || (total.short_reads > 0 && total.short_writes > 0));
}

/* --- Writers that share a pipe ------------------------------------------------------------------ */

#define WRITERS 4
#define RECORDS 6
#define RECORD_BYTES 1500u

struct writer {
    int fd;
    unsigned char mark;
};

static jd_result write_records(void *arg)
{
    struct writer *w = arg;
    unsigned char record[RECORD_BYTES];

    memset(record, w->mark, sizeof(record));
    for (int i = 0; i < RECORDS; i++)
        CHECK(jd_write(w->fd, record, sizeof(record)) == (ssize_t)sizeof(record));
    return jd_ok(NULL);
}

static jd_result records_whole(void *arg)
{
    struct writer writers[WRITERS];
    unsigned char record[RECORD_BYTES];
    jd_task *t[WRITERS];
    int fds[2];

    (void)arg;
    CHECK(jd_sim_pipe(fds) == 0);
    for (unsigned char i = 0; i < WRITERS; i++) {
        writers[i] = (struct writer){ .fd = fds[1], .mark = i };
        t[i] = jd_spawn(write_records, &writers[i]);
    }
    for (int i = 0; i < WRITERS * RECORDS; i++) {
        CHECK(jd_read_full(fds[0], record, sizeof(record)) == (ssize_t)sizeof(record));
        for (size_t k = 1; k < sizeof(record); k++)
            CHECK(record[k] == record[0]);
    }
    for (int i = 0; i < WRITERS; i++)
        CHECK(jd_join(t[i]).error == 0);
    CHECK(jd_close(fds[0]) == 0);
    CHECK(jd_close(fds[1]) == 0);
    return jd_ok(NULL);
}

Test(sim_pipes, records_up_to_pipe_buf_are_not_mixed)
{
    run_seeds(records_whole, NULL, 50, 0, JD_SIM_NO_ENOMEM);
    run_seeds(records_whole, NULL, 50, 20, JD_SIM_NO_ENOMEM);
}

/* --- Ends --------------------------------------------------------------------------------------- */

static jd_result write_until_it_breaks(void *arg)
{
    char buf[3000] = { 0 };
    ssize_t n;
    int fd = *(int *)arg;

    do
        n = jd_write(fd, buf, sizeof(buf));
    while (n > 0);
    return jd_err(n == -EPIPE && jd_close(fd) == 0 ? 0 : -1000);
}

/* The pipe fills, so the writer waits when the reader goes. */
static jd_result reader_goes(void *arg)
{
    jd_task *t;
    char buf[10];
    int fds[2];

    (void)arg;
    CHECK(jd_sim_pipe(fds) == 0);
    t = jd_spawn(write_until_it_breaks, &fds[1]);
    CHECK(jd_read(fds[0], buf, sizeof(buf)) > 0);
    CHECK(jd_sleep(JD_MS(100)) == 0);
    CHECK(jd_close(fds[0]) == 0);
    return jd_join(t);
}

Test(sim_pipes, a_writer_without_reader_gets_epipe)
{
    run_seeds(reader_goes, NULL, 50, 0, JD_SIM_NO_ENOMEM);
    run_seeds(reader_goes, NULL, 50, 20, JD_SIM_NO_ENOMEM);
}

static jd_result wait_for_byte(void *arg)
{
    const int *fds = arg;
    char byte;

    CHECK(jd_poll(fds[0], POLLIN, JD_US(1)) == -ETIMEDOUT);
    CHECK(jd_poll(fds[0], POLLIN, JD_FOREVER) == POLLIN);
    CHECK(jd_read(fds[0], &byte, 1) == 1 && byte == 'x');
    CHECK(jd_poll(fds[0], POLLIN, JD_FOREVER) == POLLHUP);
    CHECK(jd_read(fds[0], &byte, 1) == 0);
    return jd_ok(NULL);
}

static jd_result polled(void *arg)
{
    static char fill[65536];
    jd_task *t;
    int fds[2];

    (void)arg;
    CHECK(jd_sim_pipe(fds) == 0);
    t = jd_spawn(wait_for_byte, fds);
    CHECK(jd_sleep(JD_MS(50)) == 0);
    CHECK(jd_poll(fds[1], POLLOUT, 0) == POLLOUT);
    CHECK(jd_write(fds[1], "x", 1) == 1);
    CHECK(jd_sleep(JD_MS(100)) == 0);
    CHECK(jd_close(fds[1]) == 0);
    CHECK(jd_join(t).error == 0);
    CHECK(jd_close(fds[0]) == 0);

    CHECK(jd_sim_pipe(fds) == 0);
    CHECK(jd_write_all(fds[1], fill, sizeof(fill)) == 0);
    CHECK(jd_poll(fds[1], POLLOUT, JD_MS(1)) == -ETIMEDOUT);
    CHECK(jd_close(fds[0]) == 0);
    CHECK(jd_poll(fds[1], POLLOUT, JD_FOREVER) == (POLLOUT | POLLERR));
    CHECK(jd_write(fds[1], "x", 1) == -EPIPE);
    CHECK(jd_close(fds[1]) == 0);
    return jd_ok(NULL);
}

Test(sim_pipes, poll_tells_bytes_room_and_ends)
{
    run_seeds(polled, NULL, 100, 0, JD_SIM_NO_ENOMEM);
}

static jd_result read_closed(void *arg)
{
    char byte;
    ssize_t n = jd_read(*(int *)arg, &byte, 1);

    return jd_err(n == -EBADF ? 0 : -1000);
}

static jd_result closed_meanwhile(void *arg)
{
    jd_task *t;
    int fds[2];

    (void)arg;
    CHECK(jd_sim_pipe(fds) == 0);
    t = jd_spawn(read_closed, &fds[0]);
    CHECK(jd_sleep(JD_MS(1)) == 0);
    CHECK(jd_close(fds[0]) == 0);
    CHECK(jd_close(fds[1]) == 0);
    return jd_join(t);
}

Test(sim_pipes, a_close_ends_who_waits)
{
    run_seeds(closed_meanwhile, NULL, 200, 20, JD_SIM_NO_ENOMEM);
}

static jd_result nobody_writes(void *arg)
{
    char byte;
    int fds[2];
    ssize_t n;

    (void)arg;
    if (jd_sim_pipe(fds) != 0)
        return jd_err(-1000);
    n = jd_read(fds[0], &byte, 1);
    (void)jd_close(fds[0]);
    (void)jd_close(fds[1]);
    return jd_err(n == -ECANCELED ? 0 : -1000);
}

Test(sim_pipes, a_pipe_that_nobody_writes_to_is_a_deadlock)
{
    cr_assert_eq(jd_sim_run(1, nobody_writes, NULL, NULL).error, -EDEADLK);
}

Test(sim_pipes, outside_of_a_simulation_there_are_none)
{
    int fds[2];

    cr_assert_eq(jd_sim_pipe(fds), -EPERM);
    cr_assert_eq(jd_sim_pipe(NULL), -EINVAL);
}

/* --- Cancelled at every checkpoint ---------------------------------------------------------------- */

struct counts {
    size_t written, read;
};

static void counts_before(void *arg)
{
    *(struct counts *)arg = (struct counts){ 0, 0 };
}

static void counts_after(void *arg, jd_result r, unsigned where)
{
    const struct counts *c = arg;

    cr_assert_eq(c->written, c->read, "checkpoint %u: %zu written, %zu read", where, c->written,
                 c->read);
    cr_assert(where != 0 || r.error == 0 || r.error == -ENOMEM, "%d", r.error);
}

struct drain {
    struct counts *counts;
    int fd;
};

static jd_result drain(void *arg)
{
    struct drain *d = arg;
    char buf[300];
    ssize_t n;

    do { /* a fault, no memory: goes on, as the writer would wait for ever */
        n = jd_read(d->fd, buf, sizeof(buf));
        d->counts->read += n > 0 ? (size_t)n : 0;
    } while (n > 0 || n == -ENOMEM);
    return jd_err((int)n);
}

static void drain_the_rest(struct drain *d)
{
    jd_scope shield;
    int ended;

    jd_scope_open_shielded(&shield, JD_FOREVER);
    (void)drain(d);
    ended = jd_scope_close(&shield);
    (void)ended;
}

/* A cancelled write has written nothing, and a cancelled read has taken nothing. */
static jd_result write_and_drain(void *arg)
{
    struct drain d = { .counts = arg };
    char buf[5000] = { 0 };
    jd_task *t;
    int fds[2], error = 0;

    if (jd_sim_pipe(fds) != 0)
        return jd_err(-1000);
    d.fd = fds[0];
    t = jd_spawn(drain, &d);
    for (int i = 0; t && i < 4 && !error; i++) {
        size_t done = 0;

        error = jd_write_all_count(fds[1], buf, sizeof(buf), &done);
        d.counts->written += done;
    }
    if (jd_close(fds[1]) != 0)
        return jd_err(-1000);
    if (t)
        (void)jd_join(t);
    drain_the_rest(&d); /* the reader was cancelled with us */
    if (jd_close(fds[0]) != 0)
        return jd_err(-1000);
    return jd_err(error);
}

Test(sim_pipes, a_cancel_takes_no_byte_away, .timeout = 30)
{
    struct counts c;
    struct sweep s = { .fn = write_and_drain,
                       .arg = &c,
                       .before = counts_before,
                       .after = counts_after,
                       .seeds = 10 };

    sweep_or_sample(s, 60);
}

static jd_result read_slowly(void *arg)
{
    struct drain d = { .counts = arg };
    jd_result r;
    int fds[2];

    if (jd_sim_pipe(fds) != 0)
        return jd_err(-1000);
    for (int i = 0; i < 3; i++)
        if (jd_write(fds[1], "0123456789", 10) == 10)
            d.counts->written += 10;
    d.fd = fds[0];
    (void)jd_close(fds[1]);
    r = drain(&d);
    if (r.error)
        drain_the_rest(&d);
    (void)jd_close(fds[0]);
    return r;
}

Test(sim_pipes, a_cancelled_read_leaves_the_bytes)
{
    struct counts c;
    struct sweep s = {
        .fn = read_slowly, .arg = &c, .before = counts_before, .after = counts_after, .seeds = 10
    };

    sweep_or_sample(s, 40);
}
