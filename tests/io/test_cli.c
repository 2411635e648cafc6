/* SPDX-License-Identifier: MIT */
/*
 * The jackdaw command from the outside: exit status, what goes to stdout and what to stderr. The
 * program is the one of this build, next to the tests' folder, unless JACKDAW_BIN names another.
 */
#include "jd_test.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define TEXT_MAX 65536
#define WORDS_MAX 10

/* One run of the program: stdout is a file in memory, stderr a pipe. */
struct program {
    pid_t pid;
    int out, err;
    int status; /* exit status; 128 + signal */
    char out_text[TEXT_MAX], err_text[TEXT_MAX];
    size_t err_len;
};

static const char *program_path(void)
{
    static char path[PATH_MAX];
    const char *named = getenv("JACKDAW_BIN");
    ssize_t len;
    char *slash;

    if (named)
        return named;
    len = readlink("/proc/self/exe", path, sizeof(path) - 16);
    cr_assert_gt(len, 0);
    path[len] = '\0';
    slash = strrchr(path, '/');
    cr_assert_not_null(slash);
    memcpy(slash, "/../jackdaw", sizeof("/../jackdaw"));
    cr_assert_eq(access(path, X_OK), 0, "no program at %s", path);
    return path;
}

/* `line` is words with single spaces between them; `setting`, if not NULL, goes to the environment. */
static struct program *program_start(const char *line, const char *setting)
{
    static char words[256];
    struct program *p = calloc(1, sizeof(*p));
    const char *path = program_path();
    char *argv[WORDS_MAX] = { words };
    unsigned argc = 1;
    int err[2];

    cr_assert_not_null(p);
    snprintf(words, sizeof(words), "jackdaw %s", line);
    for (char *space = strchr(words, ' '); space && space[1]; space = strchr(space + 1, ' ')) {
        *space = '\0';
        cr_assert_lt(argc, WORDS_MAX - 1);
        argv[argc++] = space + 1;
    }
    p->out = memfd_create("stdout", MFD_CLOEXEC);
    cr_assert_geq(p->out, 0);
    cr_assert_eq(pipe2(err, O_CLOEXEC), 0);
    p->pid = fork();
    cr_assert_geq(p->pid, 0);
    if (p->pid == 0) {
        if (setting)
            putenv((char *)(uintptr_t)setting);
        dup2(p->out, STDOUT_FILENO);
        dup2(err[1], STDERR_FILENO);
        execv(path, argv);
        _exit(127);
    }
    close(err[1]);
    p->err = err[0];
    return p;
}

/* Some more of stderr; false at its end. */
static bool program_read(struct program *p)
{
    ssize_t got = read(p->err, p->err_text + p->err_len, TEXT_MAX - 1 - p->err_len);

    cr_assert_geq(got, 0);
    p->err_len += (size_t)got;
    return got > 0;
}

static void program_end(struct program *p)
{
    int status;

    while (program_read(p))
        ;
    cr_assert_eq(waitpid(p->pid, &status, 0), p->pid);
    p->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    cr_assert_geq(pread(p->out, p->out_text, TEXT_MAX - 1, 0), 0);
    close(p->out);
    close(p->err);
}

static struct program *program_run(const char *line, const char *setting)
{
    struct program *p = program_start(line, setting);

    program_end(p);
    return p;
}

static unsigned lines_of(const char *text)
{
    unsigned lines = 0;

    for (; *text; text++)
        lines += *text == '\n';
    return lines;
}

static void assert_contains(const char *text, const char *part)
{
    cr_assert_not_null(strstr(text, part), "no '%s' in: %s", part, text);
}

/* The number behind a key of the JSON object. */
static double number_of(const char *json, const char *key)
{
    char quoted[64];
    const char *at;

    snprintf(quoted, sizeof(quoted), "\"%s\":", key);
    at = strstr(json, quoted);
    cr_assert_not_null(at, "no %s in: %s", quoted, json);
    return strtod(at + strlen(quoted), NULL);
}

Test(cli, usage_errors_are_one_line_and_status_2)
{
    static const struct {
        const char *line, *names;
    } wrong[] = {
        { "", "no command" },
        { "fetch", "fetch" },
        { "batch --count 0", "--count" },
        { "batch --limit 0", "--limit" },
        { "batch --limit=0", "--limit" },
        { "batch --count 12x", "12x" },
        { "batch --count -1", "-1" },
        { "batch --count 99999999999999999999999", "--count" },
        { "batch --count", "--count" },
        { "batch --progress sometimes", "sometimes" },
        { "batch --colour", "--colour" },
        { "batch extra", "extra" },
        { "batch --rate 5", "--rate" },
        { "batch --ordered", "--ordered" },
        { "batch --url http://x/ --count 5", "--count" },
        { "batch --url http://x/ --limit 1000001", "--limit" },
        { "batch --url http://x/ --method get", "get" },
        { "batch --url http://x/ --header colourless", "colourless" },
        { "batch --url http://x/ --timeout 0", "--timeout" },
        { "batch --url http://x/ --timeout nan", "nan" },
        { "batch --url http://x/ --rate -1", "-1" },
        { "batch --url http://x/ --attempts 0", "--attempts" },
        { "batch --url http://x/ --resume -", "--resume" },
        { "batch --url http://x/ --data @/nowhere/data", "/nowhere/data" },
        { "batch --url", "--url" },
    };

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct program *p = program_run(wrong[i].line, NULL);

        cr_assert_eq(p->status, 2, "%s: status %d", wrong[i].line, p->status);
        cr_assert_str_eq(p->out_text, "");
        cr_assert_eq(lines_of(p->err_text), 1, "%s", p->err_text);
        assert_contains(p->err_text, wrong[i].names);
        free(p);
    }
}

Test(cli, help_and_version_go_to_stdout)
{
    struct program *help = program_run("--help", NULL), *version = program_run("--version", NULL);
    struct program *batch = program_run("batch --help", NULL);

    cr_assert_eq(help->status + version->status + batch->status, 0);
    assert_contains(help->out_text, "batch");
    assert_contains(version->out_text, "jackdaw 0.");
    assert_contains(batch->out_text, "--limit");
    cr_assert_eq(help->err_len + version->err_len + batch->err_len, 0);
    free(help);
    free(version);
    free(batch);
}

static void check_json_run(const char *setting, const char *reactor)
{
    struct program *p = program_run("batch --count 60 --limit 7 --json", setting);
    const char *json = p->out_text;

    cr_assert_eq(p->status, 0, "%s", p->err_text);
    cr_assert_eq(p->err_len, 0, "a progress line in a pipe: %s", p->err_text);
    cr_assert_eq(lines_of(json), 1);
    if (reactor)
        assert_contains(json, reactor);
    cr_assert_eq(number_of(json, "pulled"), 60);
    cr_assert_eq(number_of(json, "ok"), 60);
    cr_assert_eq(number_of(json, "failed"), 0);
    cr_assert_eq(number_of(json, "server_requests"), 60);
    cr_assert_eq(number_of(json, "client"), 7);
    cr_assert_leq(number_of(json, "server"), 7);
    cr_assert_geq(number_of(json, "server"), 2);
    cr_assert_geq(number_of(json, "p50"), 14);
    cr_assert_geq(number_of(json, "max"), number_of(json, "p50"));
    /* At most 7 at a time, each at least 15 ms. */
    cr_assert_geq(number_of(json, "elapsed_s"), 60 / 7 * 0.015);
    assert_contains(json, "\"errors\":[]");
    assert_contains(json, "\"interrupted\":false");
    free(p);
}

Test(cli, a_run_over_either_reactor_as_json, .timeout = 20)
{
    check_json_run(NULL, NULL);
    check_json_run("JACKDAW_REACTOR=epoll", "epoll");
}

Test(cli, one_worker_is_enough, .timeout = 20)
{
    check_json_run("JACKDAW_WORKERS=1", "\"workers\":1");
}

Test(cli, the_summary_tells_all, .timeout = 20)
{
    struct program *p = program_run("batch --count 20 --limit 20", NULL);

    cr_assert_eq(p->status, 0);
    assert_contains(p->out_text, "20 ok, 0 failed");
    assert_contains(p->out_text, "reactor ");
    assert_contains(p->out_text, "calls per second");
    assert_contains(p->out_text, "at once     20 at most");
    assert_contains(p->out_text, "p99");
    assert_contains(p->out_text, " ms |#");
    free(p);
}

Test(cli, progress_in_a_pipe_only_when_asked_for, .timeout = 20)
{
    struct program *always = program_run("batch --count 30 --limit 2 --progress always", NULL);
    struct program *never = program_run("batch --count 30 --limit 9 --progress=never", NULL);

    cr_assert_eq(always->status, 0);
    cr_assert_geq(lines_of(always->err_text), 2);
    /* At least 15 ms * 30 / 2 of run time, at most 10 lines per second and the final one. */
    assert_contains(always->err_text, "30/30");
    assert_contains(always->err_text, "in flight");
    assert_contains(always->err_text, "eta");
    cr_assert_null(strchr(always->err_text, '\r'));
    cr_assert_eq(never->status, 0);
    cr_assert_eq(never->err_len, 0);
    free(always);
    free(never);
}

/*
 * Not under TSan: it defers a signal to the next intercepted call of the fiber that was running, and
 * the busy worker 0 may leave that fiber for good. Shown by two fibers without Jackdaw: a signal that
 * arrives while B computes is not handled by any call of A, is handled when B goes on, and is lost
 * when B is destroyed. Rejected: to take signals on a thread without fibers, with SIGINT blocked on
 * worker 0, where children that a task starts would inherit the block, and raise() in a task would do
 * nothing. tests/contract/test_process_life.c has the same under TSan, by a thread that raises it.
 */
Test(cli, an_interrupt_ends_it_with_the_summary_so_far, .timeout = 20)
{
    struct program *p;

    if (jd_test_is_tsan())
        jd_test_skip("TSan keeps a signal for the fiber that it met, which may be gone");
    p = program_start("batch --count 1000000 --progress always", NULL);
    while (!strchr(p->err_text, '\n')) /* it runs: the first state was shown */
        cr_assert(program_read(p), "it ended by itself");
    cr_assert_eq(kill(p->pid, SIGINT), 0);
    program_end(p);
    cr_assert_eq(p->status, 130, "%d: %s", p->status, p->err_text);
    assert_contains(p->out_text, "interrupted");
    assert_contains(p->out_text, "latency");
    assert_contains(p->out_text, " 0 failed");
    free(p);
}
