/* SPDX-License-Identifier: MIT */
#ifndef CLI_SUMMARY_H
#define CLI_SUMMARY_H

/*
 * What a run of `jackdaw batch` has found out, and its two forms: text for people, one JSON object
 * for programs.
 *
 * Threads: filled by the batch's consumer and after its end; printed by the main thread.
 */
#include <stdbool.h>
#include <stdint.h>

#include <jackdaw/jackdaw.h>

#include "base/histogram.h"

#define ERROR_KINDS_MAX 16

struct error_kind {
    int error; /* negative errno */
    uint64_t count;
};

struct summary {
    uint64_t count; /* as asked for */
    unsigned limit;
    unsigned workers;
    char reactor[16];
    bool interrupted;
    int error; /* that ended the batch; 0: none */
    jd_batch_stats stats;
    uint32_t server_max; /* requests the server worked on at once */
    uint64_t server_requests;
    struct histogram latencies;                /* of calls that succeeded */
    struct error_kind errors[ERROR_KINDS_MAX]; /* the last one takes what finds no place */
    unsigned error_kinds;
};

void summary_add_error(struct summary *s, int error);
void summary_print(const struct summary *s);
void summary_print_json(const struct summary *s);

#endif /* CLI_SUMMARY_H */
