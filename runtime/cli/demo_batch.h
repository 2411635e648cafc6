/* SPDX-License-Identifier: MIT */
#ifndef CLI_DEMO_BATCH_H
#define CLI_DEMO_BATCH_H

/*
 * `jackdaw batch` without URLs: a demonstration that is also a measurement: real HTTP calls over
 * loopback, a bounded number at a time.
 */
#include "cli/batch_settings.h"

/* Returns the exit status. */
int demo_batch(const struct batch_settings *o);

#endif /* CLI_DEMO_BATCH_H */
