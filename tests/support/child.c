/* SPDX-License-Identifier: MIT */
#include "child.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "jd_test.h"

__attribute__((noreturn)) static void be_the_child(void (*scenario)(void), int out)
{
    static const int signals[] = { SIGABRT, SIGSEGV, SIGBUS };
    struct rlimit no_core = { 0, 0 };

    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
        signal(signals[i], SIG_DFL); /* the runner may have handlers, and so may a tool */
    setrlimit(RLIMIT_CORE, &no_core);
    dup2(out, STDERR_FILENO);
    scenario();
    _exit(0);
}

struct child child_run(void (*scenario)(void))
{
    struct child c = { 0 };
    char rest[4096];
    size_t len = 0;
    int ends[2];
    pid_t pid;

    cr_assert_eq(pipe(ends), 0);
    fflush(NULL);
    pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0)
        be_the_child(scenario, ends[1]);
    close(ends[1]);
    for (ssize_t n; (n = read(ends[0], rest, sizeof(rest))) > 0;) { /* until the child ends */
        size_t room = sizeof(c.text) - 1 - len;
        size_t keep = (size_t)n < room ? (size_t)n : room;

        memcpy(c.text + len, rest, keep);
        len += keep;
    }
    close(ends[0]);
    cr_assert_eq(waitpid(pid, &c.status, 0), pid);
    fputs(c.text, stderr);
    return c;
}

bool child_died_of(const struct child *c, int signo)
{
    return WIFSIGNALED(c->status) && WTERMSIG(c->status) == signo;
}

bool child_said(const struct child *c, const char *words)
{
    return strstr(c->text, words) != NULL;
}
