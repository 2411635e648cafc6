/* SPDX-License-Identifier: MIT */
#ifndef SUPPORT_CHILD_H
#define SUPPORT_CHILD_H

/*
 * A scenario in a child process: how it ended and what it wrote to its standard error. For what ends a
 * process, or speaks to stderr.
 */
#include <stdbool.h>

struct child {
    int status; /* as from waitpid */
    char text[8192];
};

/* Before the caller starts threads. A scenario that returns is an exit with 0. */
struct child child_run(void (*scenario)(void));
bool child_died_of(const struct child *c, int signo);
bool child_said(const struct child *c, const char *words);

#endif /* SUPPORT_CHILD_H */
