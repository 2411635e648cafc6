/* SPDX-License-Identifier: MIT */
/*
 * A runtime and its process: what is left after a run, forks, signals, tasks that resist the end.
 * L11, L14, L15, M26 of the contract.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "contract.h"
#include "footprint.h"
#include "jd_test.h"

static jd_result busy_main(void *arg)
{
    jd_task *t[32];

    (void)arg;
    for (unsigned i = 0; i < 32; i++)
        t[i] = jd_spawn(i % 2 ? sleep_forever : return_arg, NULL);
    yields(3);
    for (unsigned i = 0; i < 32; i++) {
        if (i % 2)
            cr_assert_eq(jd_task_cancel(t[i], NULL), 0);
        (void)jd_join(t[i]).error; /* either end is right */
    }
    cr_assert_eq(jd_sleep(JD_US(100)), 0);
    return jd_ok(NULL);
}

/* The first run may leave what the allocator and libc keep; from then on nothing may grow. */
Test(process_life, m26_after_a_run_no_thread_descriptor_or_mapping_is_left, .timeout = 30)
{
    unsigned threads, fds, mappings = 0;

    if (jd_test_is_emulated())
        jd_test_skip("qemu-user has threads and mappings of its own");
    cr_assert_eq(run_workers(3, busy_main, NULL).error, 0);
    threads = footprint_threads();
    fds = footprint_descriptors();
    for (unsigned i = 0; i < 20; i++) {
        cr_assert_eq(run_workers(3, busy_main, NULL).error, 0);
        cr_assert_eq(footprint_threads(), threads);
        cr_assert_eq(footprint_descriptors(), fds);
        if (i == 4)
            mappings = footprint_mappings();
    }
    cr_assert_leq(footprint_mappings(), mappings + 8, "not one for each run");
}

static int child_status(pid_t pid)
{
    int status = 0;

    cr_assert_eq(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void no_callback(void *arg)
{
    (void)arg;
}

/* Returns the number of the first check that failed, 0 when none. */
static int in_child(jd_runtime *rt)
{
    jd_task *t = NULL;

    if (jd_runtime_spawn_task(rt, return_arg, NULL, NULL, &t) != -ESHUTDOWN || t)
        return 1;
    if (jd_runtime_spawn(rt, return_arg, NULL, NULL))
        return 2;
    if (jd_runtime_call(rt, return_arg, NULL).error != -ESHUTDOWN)
        return 3;
    if (jd_run_forever(rt) != -ESHUTDOWN || jd_runtime_start(rt) != -ESHUTDOWN)
        return 4;
    if (jd_call_soon(jd_runtime_loop(rt, 0), no_callback, NULL, NULL) != -ESHUTDOWN)
        return 5;
    if (jd_runtime_current() || jd_task_current() || jd_loop_current())
        return 6;
    if (jd_runtime_is_running(rt))
        return 7;
    jd_stop(rt);
    if (jd_runtime_free(rt) != -ESHUTDOWN)
        return 8;
    /* ThreadSanitizer lets no child of a fork start threads. */
    return jd_test_is_tsan() || run_workers(2, return_arg, (void *)5).num == 5 ? 0 : 9;
}

Test(process_life, l15_in_the_child_of_a_fork_the_runtime_is_dead_and_a_new_one_lives)
{
    jd_runtime *rt = runtime_of(2, 0);
    pid_t pid;

    if (jd_test_is_emulated())
        jd_test_skip("the child of a fork with threads dies in qemu-user");
    cr_assert_eq(jd_runtime_start(rt), 0);
    cr_assert_eq(jd_runtime_call(rt, return_arg, NULL).error, 0);
    pid = fork();
    if (pid == 0)
        _exit(in_child(rt));
    cr_assert_eq(child_status(pid), 0);
    cr_assert_eq(jd_runtime_call(rt, return_arg, (void *)3).num, 3, "the parent's lives on");
    runtime_end(rt);
}

static jd_result fork_in_task(void *arg)
{
    jd_runtime *rt = jd_runtime_current();
    pid_t pid = fork();

    (void)arg;
    if (pid == 0)
        _exit(in_child(rt));
    cr_assert_eq(child_status(pid), 0);
    yields(2);
    return jd_ok(NULL);
}

Test(process_life, l15_a_fork_inside_a_task)
{
    if (jd_test_is_emulated())
        jd_test_skip("the child of a fork with threads dies in qemu-user");
    cr_assert_eq(run_workers(2, fork_in_task, NULL).error, 0);
}

static jd_result until_cancelled(void *arg)
{
    int err;

    gate_open(arg);
    err = jd_sleep(JD_FOREVER);
    rec("cancelled");
    return jd_err(err);
}

static jd_result ignore_cancel(void *arg)
{
    gate_open(arg);
    cr_assert_eq(jd_sleep(JD_FOREVER), -ECANCELED);
    return jd_ok_num(3);
}

/*
 * The kernel gives a process's signal to the main thread, which is worker 0. ThreadSanitizer keeps it
 * there for the fiber on which it came (tests/io/test_cli.c), so under it this thread takes its own.
 */
static void raise_when_open(unsigned index, void *arg)
{
    (void)index;
    gate_pass(arg);
    cr_assert_eq(jd_test_is_tsan() ? raise(SIGINT) : kill(getpid(), SIGINT), 0);
}

static jd_result run_with_sigint(jd_fn fn)
{
    static struct crew crew;
    static sem_t gate;
    jd_config cfg = config_of(2, JD_HANDLE_SIGINT);
    jd_result r;

    cr_assert_eq(sem_init(&gate, 0, 0), 0);
    crew_start(&crew, 1, raise_when_open, &gate);
    r = jd_run(fn, &gate, &cfg);
    crew_join(&crew);
    return r;
}

Test(process_life, l14_sigint_cancels_main_and_the_run_says_eintr)
{
    struct sigaction before, after;

    cr_assert_eq(sigaction(SIGINT, NULL, &before), 0);
    cr_assert_eq(run_with_sigint(until_cancelled).error, -EINTR);
    cr_assert_str_eq(rec_text(), "cancelled");
    cr_assert_eq(run_with_sigint(ignore_cancel).num, 3, "main ended otherwise");
    cr_assert_eq(sigaction(SIGINT, NULL, &after), 0);
    cr_assert_eq(after.sa_handler, before.sa_handler, "restored");
}

static jd_result two_signals(void *arg)
{
    (void)arg;
    (void)raise(SIGINT);
    while (jd_runtime_current()) { /* the second signal kills */
        (void)jd_sleep(JD_MS(1));
        (void)raise(SIGINT);
    }
    return jd_ok(NULL);
}

Test(process_life, l14_the_second_sigint_kills, .signal = SIGINT)
{
    jd_config cfg = config_of(1, JD_HANDLE_SIGINT);

    signal(SIGINT, SIG_DFL);
    (void)jd_run(two_signals, NULL, &cfg);
}

static jd_result second_owner(void *arg)
{
    (void)arg;
    rec("entered");
    return jd_ok(NULL);
}

static void run_second(unsigned index, void *arg)
{
    jd_config cfg = config_of(1, JD_HANDLE_SIGINT);

    (void)index;
    (void)arg;
    cr_assert_eq(jd_run(second_owner, NULL, &cfg).error, -EBUSY);
}

static jd_result first_owner(void *arg)
{
    struct crew *crew = arg;

    crew_start(crew, 1, run_second, NULL);
    crew_join(crew);
    return jd_ok(NULL);
}

Test(process_life, only_one_run_of_a_process_handles_signals)
{
    static struct crew crew;
    jd_config cfg = config_of(1, JD_HANDLE_SIGINT);

    cr_assert_eq(jd_run(first_owner, &crew, &cfg).error, 0);
    cr_assert_str_eq(rec_text(), "", "a main that is refused is never entered");
}

static jd_result resist(void *arg)
{
    jd_scope shield;

    (void)arg;
    jd_scope_open_shielded(&shield, JD_FOREVER);
    while (jd_runtime_current()) /* for ever: the point of the test */
        (void)jd_sleep(JD_FOREVER);
    return jd_ok(NULL);
}

static jd_result leave_resisting(void *arg)
{
    jd_task_options opt = JD_TASK_OPTIONS_INIT;

    (void)arg;
    sink_install(NULL);
    opt.name = "stubborn";
    jd_task_unref(jd_spawn_with(resist, NULL, &opt));
    yields(2);
    return jd_ok(NULL);
}

/* In a child that ends by _exit(): the resisting task is leaked on purpose. */
static int resisting_child(void)
{
    jd_config cfg = config_of(2, 0);

    cfg.shutdown_timeout = JD_MS(30);
    if (jd_run(leave_resisting, NULL, &cfg).error != -ETIMEDOUT)
        return 1;
    if (sink_count(JD_REPORT_SHUTDOWN) != 1)
        return 2;
    return strstr(sink_last().message, "stubborn") ? 0 : 3;
}

Test(process_life, l11_a_task_that_resists_the_shutdown_is_named_and_the_run_ends)
{
    pid_t pid = fork();

    if (pid == 0)
        _exit(resisting_child());
    cr_assert_eq(child_status(pid), 0);
}
