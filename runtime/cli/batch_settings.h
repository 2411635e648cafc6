/* SPDX-License-Identifier: MIT */
#ifndef CLI_BATCH_SETTINGS_H
#define CLI_BATCH_SETTINGS_H

/*
 * The words of `jackdaw batch`, understood.
 *
 * Threads: the main thread; constant afterwards.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/progress.h"

struct batch_input {
    const char *text;
    bool is_file; /* of URLs, one per line; "-" is stdin */
};

struct batch_settings {
    bool json;
    bool help;
    enum progress_when progress;
    unsigned limit;
    uint64_t count; /* of the demonstration */
    bool has_count; /* somebody said it */

    /* Remote calls. */
    struct batch_input *inputs; /* in the order of the words */
    unsigned input_count;
    const char *method;
    const char **headers; /* NULL at the end */
    unsigned header_count;
    const char *data; /* a text, or the contents of a file */
    size_t data_len;
    char *data_memory;
    double rate; /* calls per second; 0 = any */
    int64_t timeout;
    unsigned attempts;
    unsigned retry_budget;
    int64_t hedge;
    unsigned per_host;
    bool ordered;
    bool insecure;
    const char *ca_file;
    const char *output;
    const char *resume;
};

/*
 * argv[0] is the command's name; a NULL ends it; its strings are borrowed. 0, or an exit status: then
 * one line on stderr has told why. Free it in both cases.
 */
int batch_settings_read(struct batch_settings *o, int argc, char **argv);
void batch_settings_free(struct batch_settings *o);
void batch_settings_help(void);

#endif /* CLI_BATCH_SETTINGS_H */
