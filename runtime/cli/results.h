/* SPDX-License-Identifier: MIT */
#ifndef CLI_RESULTS_H
#define CLI_RESULTS_H

/*
 * The results of a run, one JSON object per line and URL, and what a former run left of them.
 *
 *   {"n":17,"url":"http://...","ok":true,"status":200,"bytes":5,"ms":1.250,"attempts":1}
 *
 * I1  n is the number of the URL in the input, from 0: by it, and by a hash of the URL as it is
 *     written here, a later run knows what it need not do again.
 * I2  A file has whole lines only: what a killed run left of one is cut off before more is appended.
 * I3  A cancel does not lose a line: writing is shielded.
 * I4  Lines wait in memory until there are many or results_flush() is called.
 *
 * Threads: the batch's consumer, and before and after it the main task.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jackdaw/jackdaw.h>

struct result {
    uint64_t number;
    const char *url;
    size_t url_len;
    bool ok;
    int status;        /* of HTTP; 0: there was no answer */
    const char *error; /* NULL: none */
    uint64_t bytes;
    int64_t elapsed;
    unsigned attempts;
};

struct results {
    const char *name; /* of the file; NULL: nobody wants them */
    int fd;
    char *buf;
    size_t len;
    char *scratch;  /* for one URL as it is written */
    uint32_t *done; /* by number: a hash of the URL that was done, never 0; 0: not done */
    size_t done_room;
    uint64_t done_count;
};

/*
 * Opens `output`, or `resume` to read it first and to append to it unless `output` is another file;
 * either may be NULL. Complains by itself.
 */
int results_open(struct results *r, const char *output, const char *resume);
/* Writes what is left. The error of that, or of the close. */
JD_SUSPENDS int results_close(struct results *r);

bool results_has(struct results *r, uint64_t number, const char *url, size_t len);
JD_SUSPENDS int results_add(struct results *r, const struct result *result);
JD_SUSPENDS int results_flush(struct results *r);

/* A JSON string of any bytes, with its quotes; cut where the room ends. Returns the bytes written. */
size_t json_string(char *to, size_t room, const char *text, size_t len);

#endif /* CLI_RESULTS_H */
