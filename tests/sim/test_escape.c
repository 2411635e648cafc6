/* SPDX-License-Identifier: MIT */
/*
 * Escapes of simulated tasks: each is reported with the name of the call and of the task, and the
 * run goes on as if nobody had looked.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "chaos.h"
#include "jd_test.h"
#include "scenario.h"
#include "sim/sim.h"

#include <jackdaw/jackdaw.h>

struct told {
    unsigned count;
    char text[4096];
};

static void listen_to(const jd_report *r, void *arg)
{
    struct told *told = arg;
    size_t len = strlen(told->text);

    if (r->kind != JD_REPORT_ESCAPE)
        return;
    told->count++;
    snprintf(told->text + len, sizeof(told->text) - len, "%s\n", r->message);
}

struct escapade {
    void (*fn)(void);
    struct told *told;
};

static jd_result escaping(void *arg)
{
    const struct escapade *e = arg;
    void (*fn)(void) = e->fn;

    fn();
    (void)jd_checkpoint();
    return jd_ok_num(1);
}

static jd_result spawn_escaping(void *arg)
{
    const struct escapade *e = arg;
    jd_task_options opt = JD_TASK_OPTIONS_INIT;
    jd_task *t;

    jd_set_error_handler(NULL, listen_to, e->told);
    opt.name = "culprit";
    t = jd_spawn_with(escaping, arg, &opt);
    return jd_join(t);
}

/* False: this machine cannot. */
static bool run(void (*fn)(void), struct told *told)
{
    jd_sim_options o = JD_SIM_OPTIONS_INIT;
    struct escapade e = { fn, told };
    jd_result r;

    *told = (struct told){ .count = 0 };
    o.flags = JD_SIM_CATCH_ESCAPES;
    r = jd_sim_run(1, spawn_escaping, &e, &o);
    if (r.error == -ENOSYS)
        return false;
    cr_assert_eq(r.error, 0, "%d", r.error);
    cr_assert_eq(r.num, 1);
    return true;
}

static void check_told(void (*fn)(void), const char *calls[])
{
    struct told told;

    if (!run(fn, &told))
        jd_test_skip("no syscall user dispatch here");
    for (unsigned i = 0; calls[i]; i++) {
        char text[96];

        snprintf(text, sizeof(text), "task culprit (id 2) called %s()", calls[i]);
        cr_assert(strstr(told.text, text) != NULL, "%s in: %s", text, told.text);
    }
}

/* --- What is caught ----------------------------------------------------------------------------- */

static void read_clocks(void)
{
    struct timespec now;
    struct timeval day;

    cr_assert_eq(clock_gettime(CLOCK_MONOTONIC, &now), 0);
    cr_assert_gt(now.tv_sec + now.tv_nsec, 0);
    cr_assert_eq(gettimeofday(&day, NULL), 0);
    cr_assert_gt(day.tv_sec, 1000000000);
    cr_assert_gt(time(NULL), 1000000000);
}

/* They are no system calls unless the vDSO is out of the way. */
Test(sim_escape, clocks)
{
    static const char *calls[] = { "clock_gettime", "gettimeofday", "time", NULL };

    if (sim_watch_check() == 0 && !sim_watch_clocks())
        jd_test_skip("the clock functions cannot be replaced here");
    check_told(read_clocks, calls);
}

static void sleep_really(void)
{
    const struct timespec short_time = { 0, 1000 };

    /* tidy: allow nanosleep it is what must be caught */
    cr_assert_eq(nanosleep(&short_time, NULL), 0);
}

Test(sim_escape, real_sleep)
{
    static const char *calls[] = { "clock_nanosleep", NULL };

    check_told(sleep_really, calls);
}

static void take_chance(void)
{
    unsigned char bytes[16];

    cr_assert_eq(getrandom(bytes, sizeof(bytes), 0), (ssize_t)sizeof(bytes));
}

Test(sim_escape, randomness)
{
    static const char *calls[] = { "getrandom", NULL };

    check_told(take_chance, calls);
}

static void use_files(void)
{
    char byte;
    int fd = open("/dev/zero", O_RDONLY);

    cr_assert_geq(fd, 0);
    cr_assert_eq(read(fd, &byte, 1), 1);
    cr_assert_eq(byte, 0);
    cr_assert_eq(close(fd), 0);
}

Test(sim_escape, real_files)
{
    static const char *calls[] = { "openat", "read", "close", NULL };

    check_told(use_files, calls);
}

static void use_sockets(void)
{
    int pair[2];

    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    cr_assert_eq(send(pair[0], "x", 1, 0), 1);
    cr_assert_eq(close(pair[0]), 0);
    cr_assert_eq(close(pair[1]), 0);
}

Test(sim_escape, real_sockets)
{
    static const char *calls[] = { "socketpair", "sendto", "close", NULL };

    check_told(use_sockets, calls);
}

static void *nothing(void *arg)
{
    return arg;
}

static void start_thread(void)
{
    pthread_t thread;
    void *result;
    int word;

    cr_assert_eq(pthread_create(&thread, NULL, nothing, &word), 0);
    cr_assert_eq(pthread_join(thread, &result), 0);
    cr_assert_eq(result, &word);
}

Test(sim_escape, threads)
{
    static const char *calls[] = { "clone3", NULL };

    check_told(start_thread, calls);
}

static void escape_often(void)
{
    for (int i = 0; i < 100; i++)
        take_chance();
}

Test(sim_escape, the_first_eight_are_told)
{
    struct told told;

    if (!run(escape_often, &told))
        jd_test_skip("no syscall user dispatch here");
    cr_assert_eq(told.count, 8, "%s", told.text);
}

/* --- What is not --------------------------------------------------------------------------------- */

static void allocate_and_print(void)
{
    void *blocks[64];

    for (int round = 0; round < 20; round++) {
        for (size_t i = 0; i < 64; i++) {
            blocks[i] = malloc(1u << (i % 20));
            cr_assert_not_null(blocks[i]);
            memset(blocks[i], 1, 1);
        }
        for (size_t i = 0; i < 64; i++)
            free(blocks[i]);
    }
    printf("# what a task prints is no escape\n");
    fflush(stdout);
}

Test(sim_escape, memory_and_output_are_none)
{
    struct told told;

    if (!run(allocate_and_print, &told))
        jd_test_skip("no syscall user dispatch here");
    cr_assert_eq(told.count, 0, "%s", told.text);
}

/* Looking changes nothing, and there is nothing to see in the programs of the other tests. */
Test(sim_escape, a_program_without_escapes_lives_the_same_life)
{
    jd_sim_options o = JD_SIM_OPTIONS_INIT;
    static struct chaos c;

    o.fault_percent = 10;
    for (uint64_t seed = 1; seed <= jd_test_rounds(100); seed++) {
        uint64_t hash;

        o.flags = 0;
        chaos_init(&c, seed);
        cr_assert_eq(jd_sim_run(seed, chaos_main, &c, &o).error, 0);
        hash = jd_sim_trace_hash();
        o.flags = JD_SIM_CATCH_ESCAPES;
        chaos_init(&c, seed);
        jd_result r = jd_sim_run(seed, chaos_main, &c, &o);

        if (r.error == -ENOSYS)
            jd_test_skip("no syscall user dispatch here");
        cr_assert_eq(jd_sim_trace_hash(), hash, "seed %lu", (unsigned long)seed);
        cr_assert_eq(sim_last().escapes, 0, "seed %lu", (unsigned long)seed);
    }
}

/* --- Real descriptors, which do not work ----------------------------------------------------------- */

static jd_result use_descriptor(void *arg)
{
    char byte;

    jd_set_error_handler(NULL, listen_to, arg);
    cr_assert_eq(jd_read(0, &byte, 1), -EBADF);
    cr_assert_eq(jd_send(1, "x", 1, 0), -EBADF);
    cr_assert_eq(jd_shutdown(1, SHUT_RD), -EBADF);
    cr_assert_eq(jd_close(77), -EBADF);
    return jd_ok(NULL);
}

Test(sim_escape, a_real_descriptor_is_reported_with_call_and_task)
{
    struct told told = { .count = 0 };

    cr_assert_eq(jd_sim_run(1, use_descriptor, &told, NULL).error, 0);
    cr_assert_eq(told.count, 4, "%s", told.text);
    cr_assert_not_null(strstr(told.text, "task main (id 1): read on descriptor 0, "));
    cr_assert_not_null(strstr(told.text, "task main (id 1): send on descriptor 1, "));
    cr_assert_not_null(strstr(told.text, "task main (id 1): shutdown on descriptor 1, "));
    cr_assert_not_null(strstr(told.text, "close on descriptor 77, "));
}

/* --- Afterwards ------------------------------------------------------------------------------------ */

Test(sim_escape, the_thread_is_as_before)
{
    struct told told;
    sigset_t before, after;

    cr_assert_eq(pthread_sigmask(SIG_SETMASK, NULL, &before), 0);
    if (!run(take_chance, &told))
        jd_test_skip("no syscall user dispatch here");
    cr_assert_eq(pthread_sigmask(SIG_SETMASK, NULL, &after), 0);
    for (int s = 1; s < 32; s++)
        cr_assert_eq(sigismember(&before, s), sigismember(&after, s), "%d", s);
    take_chance();
    read_clocks(); /* by system call from now on, and right */
    cr_assert_eq(told.count, 1, "%s", told.text);
}
