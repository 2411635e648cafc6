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
#include <stdio.h>

#include <jackdaw/jackdaw.h>

#include "base/histogram.h"

#define ERROR_KINDS_MAX 16

#define ERROR_TEXT_BYTES 96
#define ERROR_EXAMPLE_BYTES 256

struct error_kind {
    int error; /* negative errno */
    char text[ERROR_TEXT_BYTES];
    char example[ERROR_EXAMPLE_BYTES]; /* the first URL it happened to; empty: none */
    uint64_t count;
};

struct summary {
    uint64_t count; /* as asked for; of URLs: as read */
    unsigned limit;
    unsigned workers;
    char reactor[16];
    bool interrupted;
    int error; /* that ended the batch; 0: none */
    jd_batch_stats stats;
    bool is_remote;      /* URLs: what is next, and no server's side */
    uint64_t skipped;    /* a former run has done them */
    uint64_t bytes;      /* of bodies */
    unsigned unreadable; /* inputs */
    uint32_t server_max; /* requests the server worked on at once */
    uint64_t server_requests;
    struct histogram latencies;                /* of calls that succeeded */
    struct error_kind errors[ERROR_KINDS_MAX]; /* the last one takes what finds no place */
    unsigned error_kinds;
};

/* Asks the caller's runtime. */
void summary_note_runtime(struct summary *s);
/* Kinds differ by their text. example: may be NULL. */
void summary_add_error(struct summary *s, int error, const char *text, const char *example);
void summary_print(const struct summary *s, FILE *to);
void summary_print_json(const struct summary *s, FILE *to);

#endif /* CLI_SUMMARY_H */
