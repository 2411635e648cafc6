/* SPDX-License-Identifier: MIT */
/*
 * A program with exact totals for check_inject.py, which runs it while the kernel's answers are
 * tampered with: sockets (serve, dial, send, receive, receives that time out), a pipe, a file,
 * sleeps, calls from a plain thread; on two workers.
 *
 * Prints one line and ends: "total ..." with status 0; or "failed CALL ERROR", the first one, with
 * status 3. Whoever fails closes what others wait for, so that a failure is never a hang.
 * getppid(2) marks the end of what the loader and the C library did.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <jackdaw/jackdaw.h>

#define CLIENTS 6
#define ROUNDS 8
#define TIMEOUT_EVERY 4
#define NUMBERS 48
#define BLOCKS 8
#define CALLS 10

static struct {
    atomic_long echoed, bytes, timeouts, numbers, blocks, calls;
} total;

static struct {
    atomic_bool set;
    const char *what; /* of the first failure, as `error` */
    int error;
} failure;

/* Keeps the first failure, and passes the error on. */
static int note(const char *what, int error)
{
    bool set = false;

    if (error < 0 && error != -ECANCELED &&
        atomic_compare_exchange_strong(&failure.set, &set, true)) {
        failure.what = what;
        failure.error = error;
    }
    return error;
}

static void close_noted(int fd)
{
    if (note("jd_close", jd_close(fd)) < 0)
        close(fd);
}

/* --- Sockets ------------------------------------------------------------------------------------ */

static void echo(int fd, void *arg)
{
    char buf[256];
    ssize_t got;

    (void)arg;
    while ((got = jd_recv(fd, buf, sizeof(buf), 0)) > 0)
        if (note("server jd_send_all", jd_send_all(fd, buf, (size_t)got)) < 0)
            return;
    (void)note("server jd_recv", (int)got);
}

static jd_result serve(void *arg)
{
    int err = jd_serve(*(int *)arg, echo, NULL, NULL);

    return jd_err(note("jd_serve", err));
}

/* A receive that nobody answers. */
static int wait_in_vain(int fd)
{
    jd_scope scope;
    char byte;
    ssize_t end;

    jd_scope_open(&scope, JD_MS(1));
    end = jd_scope_close_with(&scope, jd_recv(fd, &byte, 1, 0));
    if (end != -ETIMEDOUT)
        return note("jd_recv in vain", end < 0 ? (int)end : -EPROTO);
    atomic_fetch_add(&total.timeouts, 1);
    return 0;
}

static int talk(int fd, unsigned client)
{
    for (unsigned round = 0; round < ROUNDS; round++) {
        char said[48], heard[48] = "";
        int len = snprintf(said, sizeof(said), "client %u says %u", client, round * 7 % 13);
        int err = note("jd_send_all", jd_send_all(fd, said, (size_t)len));
        ssize_t got = err < 0 ? err : jd_read_full(fd, heard, (size_t)len);

        if (note("jd_read_full", (int)got) < 0)
            return (int)got;
        if (got != len || strcmp(said, heard) != 0)
            return note("echo", -EPROTO);
        atomic_fetch_add(&total.echoed, 1);
        atomic_fetch_add(&total.bytes, len);
        if (round % TIMEOUT_EVERY == TIMEOUT_EVERY - 1 && (err = wait_in_vain(fd)) < 0)
            return err;
    }
    return 0;
}

static char address[64];
static atomic_uint next_client;

static jd_result client(void *arg)
{
    int fd = note("jd_dial", jd_dial(address)), err;

    (void)arg;
    if (fd < 0)
        return jd_err(fd);
    err = talk(fd, atomic_fetch_add(&next_client, 1) % 10);
    close_noted(fd);
    return jd_err(err);
}

/* --- A pipe and a file ----------------------------------------------------------------------------- */

static int pipe_ends[2];

static jd_result write_numbers(void *arg)
{
    int err = 0;

    (void)arg;
    for (uint32_t i = 1; i <= NUMBERS && err >= 0; i++) {
        err = note("jd_write_all", jd_write_all(pipe_ends[1], &i, sizeof(i)));
        if (err >= 0 && i % 8 == 0)
            err = note("jd_sleep", jd_sleep(JD_US(300)));
    }
    close_noted(pipe_ends[1]);
    return jd_err(err);
}

static jd_result read_numbers(void *arg)
{
    ssize_t got = sizeof(uint32_t);

    (void)arg;
    while (got == sizeof(uint32_t)) {
        uint32_t number;

        got = jd_read_full(pipe_ends[0], &number, sizeof(number));
        if (got == sizeof(number))
            atomic_fetch_add(&total.numbers, (long)number);
    }
    close_noted(pipe_ends[0]);
    return jd_err(note("jd_read_full of the pipe", (int)got));
}

static int move_blocks(int fd)
{
    char block[512], back[512];

    for (int i = 0; i < BLOCKS; i++) {
        int err;

        memset(block, 'a' + i, sizeof(block));
        err = note("jd_write_all of the file", jd_write_all(fd, block, sizeof(block)));
        if (err < 0)
            return err;
    }
    if (lseek(fd, 0, SEEK_SET) != 0)
        return note("lseek", -errno);
    for (int i = 0; i < BLOCKS; i++) {
        ssize_t got = jd_read_full(fd, back, sizeof(back));

        if (note("jd_read_full of the file", (int)got) < 0)
            return (int)got;
        if (got != sizeof(back) || back[0] != 'a' + i ||
            memcmp(back, back + 1, sizeof(back) - 1) != 0)
            return note("file", -EPROTO);
        atomic_fetch_add(&total.blocks, 1);
    }
    return 0;
}

static jd_result use_file(void *arg)
{
    int fd = memfd_create("blocks", MFD_CLOEXEC), err;

    (void)arg;
    if (fd < 0)
        return jd_err(note("memfd_create", -errno));
    err = move_blocks(fd);
    close_noted(fd);
    return jd_err(err);
}

/* --- The whole ----------------------------------------------------------------------------------------- */

/* The first failure cancels the others. */
static int run_all(void)
{
    jd_group g;
    int err = 0;

    if (pipe2(pipe_ends, O_CLOEXEC) != 0)
        return note("pipe2", -errno);
    jd_group_open(&g, 0, JD_SEC(20));
    for (int i = 0; i < CLIENTS && err == 0; i++)
        err = jd_group_spawn(&g, client, NULL);
    if (err == 0)
        err = jd_group_spawn(&g, use_file, NULL);
    if (err == 0 && (err = jd_group_spawn(&g, write_numbers, NULL)) != 0)
        close_noted(pipe_ends[1]);
    if (err == 0 && (err = jd_group_spawn(&g, read_numbers, NULL)) != 0)
        close_noted(pipe_ends[0]);
    (void)note("jd_group_spawn", err);
    return note("jd_group_close", jd_group_close_with(&g, err));
}

static jd_result traffic(void *arg)
{
    int listener = note("jd_listen", jd_listen("127.0.0.1:0", 0, 0)), err;
    jd_task *server;

    (void)arg;
    if (listener < 0)
        return jd_err(listener);
    err = note("jd_local_address", jd_local_address(listener, address, sizeof(address)));
    server = jd_spawn(serve, &listener);
    if (!server)
        err = note("jd_spawn", -ENOMEM);
    if (err == 0)
        err = run_all();
    if (server) {
        (void)jd_task_cancel(server, "done"); /* -EALREADY: it failed, and said so */
        (void)jd_join(server);
    }
    close_noted(listener);
    return jd_err(err);
}

static jd_result count_call(void *arg)
{
    (void)jd_yield(); /* 0: nobody cancels */
    atomic_fetch_add(&total.calls, 1);
    return jd_ok(arg);
}

/* What the runtime goes on without is for the reader; totals are the same. */
static void print_report(const jd_report *report, void *arg)
{
    (void)arg;
    fprintf(stderr, "# %s\n", report->message);
}

/* stdio gives up where a write is interrupted. */
static void print(const char *line)
{
    size_t len = strlen(line), done = 0;

    while (done < len) { /* bounded by interruptions */
        ssize_t put = write(STDOUT_FILENO, line + done, len - done);

        if (put < 0 && errno != EINTR)
            _exit(4);
        done += put > 0 ? (size_t)put : 0;
    }
}

static int run(void)
{
    jd_config cfg = JD_CONFIG_INIT;
    jd_info info = JD_INFO_INIT;
    char line[64];
    jd_runtime *rt;
    int err;

    cfg.workers = 2;
    err = note("jd_runtime_new", jd_runtime_new(&cfg, &rt));
    if (err)
        return err;
    jd_set_error_handler(rt, print_report, NULL);
    (void)jd_runtime_info(rt, &info); /* cannot fail here */
    snprintf(line, sizeof(line), "reactor %s\n", info.reactor);
    print(line);
    err = note("jd_runtime_start", jd_runtime_start(rt));
    if (!err)
        err = note("jd_runtime_call", jd_runtime_call(rt, traffic, NULL).error);
    for (int i = 0; i < CALLS && !err; i++)
        err = note("jd_runtime_call", jd_runtime_call(rt, count_call, NULL).error);
    jd_stop(rt);
    return note("jd_runtime_free", jd_runtime_free(rt));
}

/* A handler without SA_RESTART: every call that a SIGURG meets is interrupted. */
static void ignore_signal(int sig)
{
    (void)sig;
}

int main(void)
{
    struct sigaction action = { .sa_handler = ignore_signal };
    char line[160];

    (void)getppid();
    if (getenv("TRAFFIC_SIGNAL"))
        (void)sigaction(SIGURG, &action, NULL); /* cannot fail */
    (void)run();                                /* what failed was noted */
    if (atomic_load(&failure.set)) {
        snprintf(line, sizeof(line), "failed %s: %s\n", failure.what,
                 strerrorname_np(-failure.error));
        print(line);
        return 3;
    }
    snprintf(line, sizeof(line),
             "total %ld echoed, %ld bytes, %ld timeouts, %ld numbers, %ld blocks, %ld calls\n",
             total.echoed, total.bytes, total.timeouts, total.numbers, total.blocks, total.calls);
    print(line);
    return 0;
}
