/* SPDX-License-Identifier: MIT */
/*
 * Files on the epoll port: what would wait for the disk goes to the runtime's pool for files, and the
 * worker goes on. The pool is held up here, so that whatever goes there stays there.
 */
#include "io_test.h"

#include <semaphore.h>

#include "executor/executor.h"
#include "io/op_wait.h"

static struct {
    sem_t begun, gate;
    jd_future *held[EXECUTOR_FILES_THREADS];
    char path[64];
    int fd;
} s;

static jd_result hold(void *arg)
{
    sem_post(&s.begun);
    while (sem_wait(&s.gate) != 0)
        ;
    return jd_ok(arg);
}

static jd_executor *files_pool(void)
{
    return jd_runtime_executor(NULL, JD_EXECUTOR_FILES);
}

static jd_executor_stats pool_stats(void)
{
    jd_executor_stats stats = JD_EXECUTOR_STATS_INIT;

    cr_assert_eq(jd_executor_get_stats(files_pool(), &stats), 0);
    return stats;
}

static void hold_pool(void)
{
    sem_init(&s.begun, 0, 0);
    sem_init(&s.gate, 0, 0);
    for (unsigned i = 0; i < EXECUTOR_FILES_THREADS; i++)
        cr_assert_not_null(s.held[i] = jd_run_in_executor(files_pool(), hold, NULL));
    for (unsigned i = 0; i < EXECUTOR_FILES_THREADS; i++)
        while (sem_trywait(&s.begun) != 0)
            cr_assert_eq(jd_yield(), 0);
}

static void let_pool_go(void)
{
    for (unsigned i = 0; i < EXECUTOR_FILES_THREADS; i++)
        sem_post(&s.gate);
    for (unsigned i = 0; i < EXECUTOR_FILES_THREADS; i++) {
        cr_assert_eq(jd_await(s.held[i]).error, 0);
        jd_future_unref(s.held[i]);
    }
}

static void open_file(void)
{
    snprintf(s.path, sizeof(s.path), "/tmp/jd-test-file-XXXXXX");
    s.fd = mkstemp(s.path);
    cr_assert_geq(s.fd, 0);
    cr_assert_eq(unlink(s.path), 0);
}

static void on_epoll(jd_fn body)
{
    for (unsigned workers = 1; workers <= 2; workers++) {
        jd_config cfg = JD_CONFIG_INIT;

        cfg.reactor = JD_REACTOR_EPOLL;
        cfg.workers = workers;
        cfg.flags = JD_NO_ENV | JD_DEBUG;
        open_file();
        cr_assert_eq(jd_run(body, NULL, &cfg).error, 0);
        if (s.fd >= 0)
            close(s.fd);
    }
}

/* jd_fsync() as it will be: always more than what is in memory. */
static jd_result sync_file(void *arg)
{
    struct op_wait w = { .op = { .kind = OP_FSYNC, .fd = s.fd } };
    struct jd_task *task;
    int error = call_begin(WAIT_CANCELLABLE, &task);

    (void)arg;
    return jd_err(error < 0 ? error : op_wait(task, &w, JD_FOREVER));
}

static void await_queued(uint64_t n)
{
    while (pool_stats().queued < n)
        cr_assert_eq(jd_yield(), 0);
}

static jd_result waits_body(void *arg)
{
    jd_task *t;

    (void)arg;
    hold_pool();
    t = jd_spawn(sync_file, NULL);
    await_queued(1); /* on one worker, too: it does not wait for the disk */
    cr_assert_eq(jd_future_done(jd_task_future(t)), 0);
    let_pool_go();
    cr_assert_eq(jd_join(t).error, 0);
    cr_assert_eq(pool_stats().started, EXECUTOR_FILES_THREADS + 1);
    return jd_ok(NULL);
}

Test(file_threads, an_fsync_waits_on_a_thread_and_not_on_the_worker)
{
    on_epoll(waits_body);
}

static jd_result cancel_body(void *arg)
{
    jd_task *t;

    (void)arg;
    hold_pool();
    t = jd_spawn(sync_file, NULL);
    await_queued(1);
    cr_assert_eq(jd_task_cancel(t, "test"), 0);
    cr_assert_eq(jd_join(t).error, -ECANCELED); /* the pool is still held */
    cr_assert_eq(pool_stats().queued, 0);
    let_pool_go();
    return jd_ok(NULL);
}

Test(file_threads, one_that_has_not_begun_is_cancelled_at_once)
{
    on_epoll(cancel_body);
}

static jd_result close_body(void *arg)
{
    jd_task *t[3];

    (void)arg;
    hold_pool();
    for (int i = 0; i < 3; i++)
        t[i] = jd_spawn(sync_file, NULL);
    await_queued(3);
    cr_assert_eq(jd_close(s.fd), 0);
    s.fd = -1;
    for (int i = 0; i < 3; i++)
        cr_assert_eq(jd_join(t[i]).error, -EBADF);
    cr_assert_eq(pool_stats().queued, 0);
    let_pool_go();
    return jd_ok(NULL);
}

Test(file_threads, a_close_ends_those_that_have_not_begun)
{
    on_epoll(close_body);
}

/* Bytes through the pool or not: what comes is what was written, whichever part was in memory. */
static jd_result bytes_body(void *arg)
{
    static char data[3 << 20], back[sizeof(data)];
    size_t done = 0;
    ssize_t n;

    (void)arg;
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (char)(i * 31 + i / 4096);
    cr_assert_eq(jd_write_all(s.fd, data, sizeof(data)), 0);
    cr_assert_eq(sync_file(NULL).error, 0);
    for (int round = 0; round < 6; round++) {
        /* Some of it leaves memory, if the file system lets it. */
        (void)posix_fadvise(s.fd, (off_t)(round * 300000), 500000, POSIX_FADV_DONTNEED);
        cr_assert_eq(lseek(s.fd, 0, SEEK_SET), 0);
        memset(back, 0, sizeof(back));
        done = 0;
        while ((n = jd_read(s.fd, back + done, sizeof(back) - done)) > 0)
            done += (size_t)n;
        cr_assert_eq(n, 0);
        cr_assert_eq(done, sizeof(data));
        cr_assert_arr_eq(back, data, sizeof(data));
        cr_assert_eq(jd_read(s.fd, back, 10), 0); /* the end */
        cr_assert_eq(lseek(s.fd, -5, SEEK_END), (off_t)sizeof(data) - 5);
        cr_assert_eq(jd_read(s.fd, back, 10), 5);
    }
    return jd_ok(NULL);
}

Test(file_threads, bytes_are_the_same_whether_they_were_in_memory_or_not, .timeout = 30)
{
    on_epoll(bytes_body);
}

static jd_result errors_body(void *arg)
{
    char byte;
    int dir = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int reader = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

    (void)arg;
    cr_assert_eq(jd_read(dir, &byte, 1), -EISDIR);
    cr_assert_eq(jd_write(reader, "x", 1), -EBADF);
    cr_assert_eq(jd_close(dir), 0);
    cr_assert_eq(jd_close(reader), 0);
    cr_assert_eq(sync_file(NULL).error, 0);
    return jd_ok(NULL);
}

Test(file_threads, errors_are_those_of_the_call)
{
    on_epoll(errors_body);
}
