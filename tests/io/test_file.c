/* SPDX-License-Identifier: MIT */
/*
 * read, write, poll and the whole-buffer forms, on pipes, files and sockets.
 */
#include "io_test.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <sys/mman.h>

struct pipe_reader {
    int fd;
    char *buf;
    size_t len;
};

static jd_result read_full_run(void *arg)
{
    struct pipe_reader *r = arg;
    ssize_t n = jd_read_full(r->fd, r->buf, r->len);

    return n < 0 ? jd_err(n) : jd_ok_num(n);
}

static jd_result pipe_body(void *arg)
{
    static char data[300000], back[sizeof(data) + 10];
    struct pipe_reader reader;
    jd_task *task;
    int fds[2];

    (void)arg;
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (char)(i * 7);
    for (int nonblock = 0; nonblock < 2; nonblock++) {
        memset(back, 0, sizeof(back));
        cr_assert_eq(pipe2(fds, nonblock ? O_NONBLOCK : 0), 0);
        reader = (struct pipe_reader){ fds[0], back, sizeof(back) };
        task = jd_spawn(read_full_run, &reader);
        cr_assert_eq(jd_write_all(fds[1], data, sizeof(data)), 0);
        cr_assert_eq(jd_close(fds[1]), 0);
        cr_assert_eq(jd_join(task).num, sizeof(data)); /* short at the end of the file only */
        cr_assert_arr_eq(back, data, sizeof(data));
        cr_assert_eq(jd_read(fds[0], back, 1), 0);
        cr_assert_eq(jd_close(fds[0]), 0);
    }
    return jd_ok(NULL);
}

Test(file, a_pipe_carries_more_than_it_holds)
{
    on_each_port(pipe_body);
}

static jd_result count_body(void *arg)
{
    static char data[1 << 20];
    size_t done = 1;
    jd_scope limit;
    int fds[2], error;

    (void)arg;
    cr_assert_eq(pipe2(fds, 0), 0);
    jd_scope_open(&limit, JD_MS(20));
    error = jd_write_all_count(fds[1], data, sizeof(data), &done); /* nobody reads */
    cr_assert_eq(jd_scope_close_with(&limit, error), -ETIMEDOUT);
    cr_assert_gt(done, 0);
    cr_assert_lt(done, sizeof(data));
    cr_assert_eq(jd_read_full(fds[0], data, done), (ssize_t)done); /* exactly what it said */
    cr_assert_eq(jd_poll(fds[0], POLLIN, 0), -ETIMEDOUT);
    cr_assert_eq(jd_close(fds[0]), 0);
    cr_assert_eq(jd_write_all_count(fds[1], data, 5, &done), -EPIPE);
    cr_assert_eq(done, 0);
    cr_assert_eq(jd_close(fds[1]), 0);
    return jd_ok(NULL);
}

Test(file, write_all_count_tells_how_far_it_got)
{
    on_each_port(count_body);
}

static jd_result regular_body(void *arg)
{
    char path[] = "/tmp/jd-test-XXXXXX", buf[16] = "";
    int fd = mkstemp(path);

    (void)arg;
    if (fd >= 0)
        cr_assert_eq(unlink(path), 0);
    else if (errno == EROFS) /* in a container (tests/container) */
        fd = memfd_create("jd-test", MFD_CLOEXEC);
    cr_assert_geq(fd, 0);
    cr_assert_eq(jd_write_all(fd, "hello world", 11), 0);
    cr_assert_eq(lseek(fd, 0, SEEK_CUR), 11); /* the file's own position moves */
    cr_assert_eq(lseek(fd, 6, SEEK_SET), 6);
    cr_assert_eq(jd_read_full(fd, buf, sizeof(buf)), 5);
    cr_assert_str_eq(buf, "world");
    cr_assert_eq(jd_read(fd, buf, 1), 0);
    cr_assert_eq(jd_poll(fd, POLLIN | POLLOUT, JD_FOREVER), POLLIN | POLLOUT);
    cr_assert_eq(jd_close(fd), 0);
    return jd_ok(NULL);
}

Test(file, a_regular_file_is_read_and_written_at_its_position)
{
    on_each_port(regular_body);
}

static jd_result misuse_body(void *arg)
{
    static char buf[4]; /* low in the address space: a length is checked against its end */
    int fds[2], directory;

    (void)arg;
    cr_assert_eq(pipe2(fds, 0), 0);
    cr_assert_eq(jd_read(fds[0], NULL, 1), -EINVAL);
    cr_assert_eq(jd_write(fds[1], NULL, 1), -EINVAL);
    cr_assert_eq(jd_read(-1, buf, 1), -EBADF);
    cr_assert_eq(jd_write(-1, buf, 1), -EBADF);
    cr_assert_eq(jd_read(1 << 29, buf, 1), -EBADF);
    cr_assert_eq(jd_read(fds[0], NULL, 0), 0);
    cr_assert_eq(jd_write(fds[1], NULL, 0), 0);
    cr_assert_eq(jd_read(fds[1], NULL, 0), -EBADF); /* the wrong end */
    cr_assert_eq(jd_write(fds[0], NULL, 0), -EBADF);
    cr_assert_eq(jd_read(1 << 29, NULL, 0), -EBADF);
    cr_assert_eq(jd_write_all(fds[1], NULL, 0), 0);
    cr_assert_eq(jd_read_full(fds[0], NULL, 0), 0);
    cr_assert_eq(jd_read_full(fds[0], buf, SIZE_MAX), -EINVAL);
    cr_assert_eq(jd_write(fds[1], "x", 1), 1);
    cr_assert_eq(jd_read(fds[0], buf, SSIZE_MAX), 1, "lengths are cut"); /* more than buf holds */
    directory = open("/", O_RDONLY | O_DIRECTORY);
    cr_assert_eq(jd_read(directory, buf, 1), -EISDIR);
    cr_assert_eq(jd_close(directory), 0);
    close_pair(fds);
    cr_assert_eq(jd_read(fds[0], buf, 1), -EBADF);
    return jd_ok(NULL);
}

Test(file, bad_arguments_and_lengths)
{
    on_each_port(misuse_body);
}

static jd_result poll_run(void *arg)
{
    return jd_ok_num(jd_poll(*(int *)arg, POLLIN, JD_SEC(5)));
}

static jd_result poll_body(void *arg)
{
    int64_t before;
    jd_task *task;
    int fds[2];

    (void)arg;
    socket_pair(fds);
    cr_assert_eq(jd_poll(fds[0], POLLOUT, 0), POLLOUT);
    cr_assert_eq(jd_poll(fds[0], POLLIN, 0), -ETIMEDOUT);
    cr_assert_eq(jd_poll(fds[0], POLLIN, -5), -ETIMEDOUT);
    before = jd_now();
    cr_assert_eq(jd_poll(fds[0], POLLIN, JD_MS(15)), -ETIMEDOUT);
    cr_assert_geq(jd_now() - before, JD_MS(15));
    task = jd_spawn(poll_run, &fds[0]);
    await_in_flight(1);
    cr_assert_eq(jd_task_cancel(task, NULL), 0);
    cr_assert_eq(jd_join(task).num, -ECANCELED);
    task = jd_spawn(poll_run, &fds[0]);
    await_in_flight(1);
    cr_assert_eq(jd_send(fds[1], "x", 1, 0), 1);
    cr_assert_eq(jd_join(task).num, POLLIN);
    cr_assert_eq(jd_close(fds[1]), 0);
    cr_assert_eq(jd_poll(fds[0], 0, JD_FOREVER), POLLHUP); /* unasked */
    cr_assert_eq(jd_close(fds[0]), 0);
    cr_assert_eq(jd_poll(fds[0], POLLIN, JD_FOREVER), POLLNVAL);
    cr_assert_eq(jd_poll(-1, POLLIN, JD_FOREVER), -EBADF);
    return jd_ok(NULL);
}

Test(file, poll_reports_what_holds_or_a_timeout)
{
    on_each_port(poll_body);
}

/* What the runtime remembers of a number must not fail the next file of that number. */
static jd_result foreign_close_body(void *arg)
{
    int sockets[2], pipes[2];
    char buf[4];

    (void)arg;
    socket_pair(sockets);
    cr_assert_eq(jd_write(sockets[0], "ab", 2), 2);
    cr_assert_eq(jd_write(sockets[1], "ab", 2), 2);
    cr_assert_eq(close(sockets[0]), 0); /* not jd_close(): the runtime does not hear of it */
    cr_assert_eq(close(sockets[1]), 0);
    cr_assert_eq(pipe(pipes), 0);
    cr_assert_eq(pipes[1], sockets[1]);
    cr_assert_eq(jd_write(pipes[1], "cd", 2), 2);
    cr_assert_eq(jd_read(pipes[0], buf, sizeof(buf)), 2);
    cr_assert_eq(close(pipes[0]), 0);
    cr_assert_eq(close(pipes[1]), 0);
    socket_pair(sockets);
    cr_assert_eq(close(sockets[0]), 0);
    cr_assert_eq(jd_write(sockets[1], "ef", 2), -EPIPE); /* and no SIGPIPE */
    cr_assert_eq(close(sockets[1]), 0);
    return jd_ok(NULL);
}

Test(file, a_number_closed_behind_the_runtime_s_back_may_be_another_kind_of_file)
{
    on_each_port(foreign_close_body);
}

/* The wrong end of a pipe never becomes ready: waiting for it would hang. A pipe without a reader
 * answers by an error, not by a signal that kills the process. */
static jd_result wrong_ends(void *arg)
{
    int ends[2];
    char byte = 'x';

    (void)arg;
    cr_assert_eq(pipe(ends), 0);
    cr_assert_eq(jd_read(ends[1], &byte, 1), -EBADF);
    cr_assert_eq(jd_write(ends[0], &byte, 1), -EBADF);
    cr_assert_eq(jd_close(ends[0]), 0);
    cr_assert_eq(jd_write(ends[1], &byte, 1), -EPIPE);
    cr_assert_eq(jd_close(ends[1]), 0);
    return jd_ok(NULL);
}

Test(file, the_wrong_end_of_a_pipe_is_refused_and_a_broken_pipe_is_an_error)
{
    on_each_port(wrong_ends);
}
