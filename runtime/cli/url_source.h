/* SPDX-License-Identifier: MIT */
#ifndef CLI_URL_SOURCE_H
#define CLI_URL_SOURCE_H

/*
 * URLs one after the other from words, files and pipes, in flat memory.
 *
 * I1  An input that cannot be read is counted, named on stderr, and the next one follows.
 * I2  After url_source_stop() there are no more, and a read that waits ends.
 *
 * Threads: one task reads; any task stops.
 */
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jackdaw/jackdaw.h>

#include "cli/batch_settings.h"

#define URL_SOURCE_BYTES ((size_t)64 * 1024) /* of a chunk, and of the longest line */

struct url_source {
    const struct batch_settings *options;
    unsigned next_input;
    unsigned unreadable; /* inputs */
    int fd;              /* of the current one; -1: none */
    char *buf;
    size_t begin, end; /* of what is read and not used */
    bool skips_line;   /* the rest of one that was too long */
    /* Guarded by lock, which nobody holds over a suspension. */
    pthread_mutex_t lock;
    bool is_stopped;
    jd_scope *reading; /* open while a read waits */
};

int url_source_init(struct url_source *s, const struct batch_settings *o);
void url_source_fini(struct url_source *s);

/*
 * 1 a URL, 0 the end, < 0 the caller was cancelled. *ret is valid until the next call; a URL that is
 * too long is cut, and *ret_cut says so.
 */
JD_SUSPENDS int url_source_next(struct url_source *s, const char **ret, size_t *ret_len,
                                bool *ret_cut);
void url_source_stop(struct url_source *s);
bool url_source_is_stopped(struct url_source *s);

#endif /* CLI_URL_SOURCE_H */
