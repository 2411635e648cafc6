/* SPDX-License-Identifier: MIT */
/*
 * A small test runner for the builds in which Criterion cannot be trusted (jd_test.h).
 *
 * The parent runs one test after another: fork, exec of the same binary with --run suite/name, wait
 * with a deadline, one TAP line on stdout. Everything the test prints goes to stderr.
 *
 * I1  The verdict is the wait status, never what the test says: a leak, a sanitizer report or a
 *     crash at exit, after the last assertion, is red.
 * I2  A test is the leader of its process group; the group is killed when the test ends.
 * I3  Only a test that wrote a reason into the report pipe may skip (exit status 77).
 *
 * JD_TEST_NO_EXEC=1 leaves the exec out, for valgrind, whose start costs most of a second: a test runs
 * in a fork of the parent, which has run no test. Those that expect a signal or an exit status are
 * skipped there.
 */
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "jd_test.h"

#define EXIT_FAILED 70  /* not a status of a sanitizer (1, 23, 66) or of valgrind's wrapper */
#define EXIT_SKIPPED 77 /* as in automake and meson */
#define ID_MAX 256
#define REASON_MAX 256

struct verdict {
    bool timed_out;
    int status; /* as from waitpid */
    char skip_reason[REASON_MAX];
};

static struct jd_test *first_test;
static struct jd_test **last_link = &first_test;
static bool expectation_failed; /* atomic builtins: cr_expect runs on any thread */
static int report_fd = -1;      /* child: where a skip writes its reason */
static bool without_exec;       /* a test's process is a fork of this one */

void jd_test_register(struct jd_test *test)
{
    *last_link = test;
    last_link = &test->next;
}

void jd_test_failed(bool fatal, const char *file, int line, const char *what, const char *format,
                    ...)
{
    char text[1024];
    va_list args;
    int used = snprintf(text, sizeof(text), "%s:%d: false: %s", file, line, what);

    if (*format && used > 0 && (size_t)used + 3 < sizeof(text)) {
        text[used++] = ':';
        text[used++] = ' ';
        va_start(args, format);
        vsnprintf(text + used, sizeof(text) - (size_t)used, format, args);
        va_end(args);
    }
    fprintf(stderr, "%s\n", text);
    /* _exit: atexit handlers would run on whatever stack and locks we stand on. */
    if (fatal)
        _exit(EXIT_FAILED);
    __atomic_store_n(&expectation_failed, true, __ATOMIC_RELAXED);
}

void jd_test_skip(const char *reason)
{
    if (write(report_fd, reason, strnlen(reason, REASON_MAX - 1)) < 0)
        _exit(EXIT_FAILED);
    _exit(EXIT_SKIPPED);
}

static void test_id(const struct jd_test *test, char id[ID_MAX])
{
    snprintf(id, ID_MAX, "%s/%s", test->suite, test->name);
}

static void run_body(const struct jd_test *test)
{
    if (test->options.init)
        test->options.init();
    test->run();
    if (test->options.fini)
        test->options.fini();
}

/* The child after exec. Returning from main runs the leak check. */
static int run_one(const char *wanted)
{
    char id[ID_MAX];

    for (struct jd_test *test = first_test; test; test = test->next) {
        test_id(test, id);
        if (strcmp(id, wanted) != 0)
            continue;
        run_body(test);
        return __atomic_load_n(&expectation_failed, __ATOMIC_RELAXED) ? EXIT_FAILED : 0;
    }
    fprintf(stderr, "no test named %s\n", wanted);
    return EXIT_FAILED;
}

/* A sanitizer turns signals into exits; a test that wants the signal wants the real one. */
static void expect_signal_environment(void)
{
    static const char *const names[] = { "ASAN_OPTIONS", "TSAN_OPTIONS", "UBSAN_OPTIONS" };
    char value[1024];
    struct rlimit no_core = { 0, 0 };

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const char *old = getenv(names[i]);

        snprintf(value, sizeof(value),
                 "%s:handle_segv=0:handle_sigbus=0:handle_abort=0:handle_sigill=0:handle_sigfpe=0",
                 old ? old : "");
        setenv(names[i], value, 1);
    }
    setrlimit(RLIMIT_CORE, &no_core);
}

static void exec_test(const struct jd_test *test, const char *self, int report)
{
    char id[ID_MAX];
    char fd_text[16];
    sigset_t none;

    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    dup2(STDERR_FILENO, STDOUT_FILENO);
    if (test->options.signal != 0)
        expect_signal_environment();
    if (without_exec) {
        report_fd = report;
        run_body(test);
        exit(__atomic_load_n(&expectation_failed, __ATOMIC_RELAXED) ? EXIT_FAILED : 0);
    }
    test_id(test, id);
    snprintf(fd_text, sizeof(fd_text), "%d", report);
    execl(self, self, "--run", id, "--report", fd_text, (char *)NULL);
    perror("exec");
    _exit(EXIT_FAILED);
}

/* Waits for the end of a child. SIGCHLD is blocked, so sigtimedwait cannot miss it. */
static bool wait_until_end(pid_t pid, double seconds, int *status)
{
    struct timespec limit = { (time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9) };
    struct timespec start;
    struct timespec now;
    sigset_t child;

    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (;;) {
        if (waitpid(pid, status, WNOHANG) == pid)
            return true;
        clock_gettime(CLOCK_MONOTONIC, &now);
        if (seconds > 0 &&
            (double)(now.tv_sec - start.tv_sec) + (double)(now.tv_nsec - start.tv_nsec) / 1e9 >=
                seconds)
            return false;
        if (seconds > 0)
            sigtimedwait(&child, NULL, &limit);
        else
            sigwaitinfo(&child, NULL);
    }
}

static double timeout_factor(void)
{
    const char *text = getenv("JD_TEST_TIMEOUT_FACTOR");
    double factor = text ? strtod(text, NULL) : 1;

    return factor > 0 ? factor : 1;
}

static void run_child(const struct jd_test *test, const char *self, struct verdict *verdict)
{
    int report[2];
    pid_t pid;
    ssize_t len;

    memset(verdict, 0, sizeof(*verdict));
    if (pipe2(report, O_NONBLOCK) != 0 || (pid = fork()) < 0) {
        perror("runner");
        exit(EXIT_FAILED);
    }
    if (pid == 0) {
        close(report[0]);
        exec_test(test, self, report[1]);
    }
    close(report[1]);
    verdict->timed_out =
        !wait_until_end(pid, test->options.timeout * timeout_factor(), &verdict->status);
    kill(pid, SIGKILL); /* it may not have reached setpgid() */
    kill(-pid, SIGKILL);
    if (verdict->timed_out)
        waitpid(pid, &verdict->status, 0);
    len = read(report[0], verdict->skip_reason, REASON_MAX - 1);
    verdict->skip_reason[len > 0 ? len : 0] = '\0';
    close(report[0]);
}

static bool is_skip(const struct verdict *verdict)
{
    return !verdict->timed_out && WIFEXITED(verdict->status) &&
           WEXITSTATUS(verdict->status) == EXIT_SKIPPED && verdict->skip_reason[0] != '\0';
}

static bool is_pass(const struct jd_test *test, const struct verdict *verdict)
{
    if (verdict->timed_out)
        return false;
    if (test->options.signal != 0)
        return WIFSIGNALED(verdict->status) && WTERMSIG(verdict->status) == test->options.signal;
    return WIFEXITED(verdict->status) && WEXITSTATUS(verdict->status) == test->options.exit_code;
}

/* Prints one TAP line; true unless the test failed. */
static bool report_verdict(int number, const struct jd_test *test, const struct verdict *verdict)
{
    if (is_skip(verdict)) {
        printf("ok %d %s::%s # SKIP %s\n", number, test->suite, test->name, verdict->skip_reason);
        return true;
    }
    if (is_pass(test, verdict)) {
        printf("ok %d %s::%s\n", number, test->suite, test->name);
        return true;
    }
    printf("not ok %d %s::%s ", number, test->suite, test->name);
    if (verdict->timed_out)
        printf("timed out after %.1f s\n", test->options.timeout * timeout_factor());
    else if (WIFSIGNALED(verdict->status))
        printf("killed by signal %d (%s)\n", WTERMSIG(verdict->status),
               strsignal(WTERMSIG(verdict->status)));
    else
        printf("exit status %d%s\n", WEXITSTATUS(verdict->status),
               WEXITSTATUS(verdict->status) == EXIT_FAILED ? " (failed assertion)" : "");
    return false;
}

static bool run_and_report(int number, const struct jd_test *test, const char *self)
{
    struct verdict verdict = { 0 };

    if (test->options.disabled) {
        printf("ok %d %s::%s # SKIP disabled\n", number, test->suite, test->name);
        return true;
    }
    if (without_exec && (test->options.signal != 0 || test->options.exit_code != 0)) {
        printf("ok %d %s::%s # SKIP the tool has its own ways with signals and exit codes\n",
               number, test->suite, test->name);
        return true;
    }
    run_child(test, self, &verdict);
    return report_verdict(number, test, &verdict);
}

static bool is_selected(const struct jd_test *test, const char *filter)
{
    char id[ID_MAX];

    test_id(test, id);
    return !filter || fnmatch(filter, id, 0) == 0;
}

static int run_all(const char *filter, const char *self)
{
    char seed[32];
    sigset_t child;
    int number = 0;
    bool good = true;

    for (struct jd_test *test = first_test; test; test = test->next)
        number += is_selected(test, filter);
    printf("TAP version 13\n1..%d\n", number);
    snprintf(seed, sizeof(seed), "%" PRIu64, jd_test_seed());
    setenv("JD_TEST_SEED", seed, 1);
    printf("# seed %s\n", seed);
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child, NULL);
    number = 0;
    fflush(stdout); /* else each child would print it again */
    for (struct jd_test *test = first_test; test; test = test->next) {
        if (is_selected(test, filter))
            good &= run_and_report(++number, test, self);
        fflush(stdout);
    }
    return good ? 0 : 1;
}

int main(int argc, char **argv)
{
    const char *run = NULL;
    const char *filter = NULL;
    char self[4096];
    ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);

    self[len > 0 ? len : 0] = '\0';
    without_exec = getenv("JD_TEST_NO_EXEC") != NULL;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--run") == 0 && i + 1 < argc)
            run = argv[++i];
        else if (strcmp(argv[i], "--report") == 0 && i + 1 < argc)
            report_fd = atoi(argv[++i]);
        else if (strcmp(argv[i], "--filter") == 0 && i + 1 < argc)
            filter = argv[++i];
        else if (strcmp(argv[i], "--list") == 0) {
            for (struct jd_test *test = first_test; test; test = test->next)
                printf("%s/%s\n", test->suite, test->name);
            return 0;
        }
        /* --tap and -jN are Criterion's: TAP is all we speak, one at a time is all we do. */
    }
    if (run)
        return run_one(run);
    return run_all(filter, self);
}
