/* SPDX-License-Identifier: MIT */
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H

/*
 * The live line: on a terminal it is redrawn in place; elsewhere (only when asked for) each state
 * is a line of its own.
 *
 * Threads: one at a time.
 */
#include <stdbool.h>

#include <jackdaw/jackdaw.h>

#define PROGRESS_EVERY JD_MS(100)

enum progress_when { PROGRESS_AUTO, PROGRESS_ALWAYS, PROGRESS_NEVER };

struct progress {
    uint64_t total; /* 0: nobody knows */
    bool is_on;
    bool in_place;
};

void progress_init(struct progress *p, enum progress_when when, uint64_t total);
void progress_show(const struct progress *p, const jd_batch_stats *s);
/* The live line goes: what is printed next starts at its place. */
void progress_clear(const struct progress *p);

#endif /* CLI_PROGRESS_H */
