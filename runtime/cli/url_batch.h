/* SPDX-License-Identifier: MIT */
#ifndef CLI_URL_BATCH_H
#define CLI_URL_BATCH_H

/*
 * `jackdaw batch` with URLs: calls them by libjackdaw-curl.
 *
 * I1  Each URL that was pulled ends in one result line (done or failed), or in none at all: then it
 *     counts as not done, and --resume will do it.
 * I2  No input, URL or host is fatal to the others: it is counted and named.
 *
 * Threads: the main thread.
 */
#include "cli/batch_settings.h"

/* Returns the exit status. Where libcurl was missing when this was built: says so. */
int url_batch(const struct batch_settings *o);

#endif /* CLI_URL_BATCH_H */
