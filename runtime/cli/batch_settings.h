/* SPDX-License-Identifier: MIT */
#ifndef CLI_BATCH_SETTINGS_H
#define CLI_BATCH_SETTINGS_H

/*
 * The words after `jackdaw batch`.
 *
 * Threads: any. argv's strings are written to: "--name=value" is split in place.
 */
#include <stdbool.h>
#include <stdint.h>

#include "cli/progress.h"

struct batch_settings {
    uint64_t count;
    unsigned limit;
    bool json;
    bool help;
    enum progress_when progress;
};

/* argv[0] is the command's name; a NULL ends it. 0, or -EINVAL after a line on stderr. */
int batch_settings_read(struct batch_settings *cmd, int argc, char **argv);

#endif /* CLI_BATCH_SETTINGS_H */
