/* SPDX-License-Identifier: MIT */
/*
 * See results.h. The reader understands what the writer writes and nothing else: a line that is
 * neither is a file of something else, and a run that appended to it would spoil it.
 */
#include "cli/results.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BUFFER_BYTES ((size_t)256 * 1024)
#define LINE_MAX_BYTES ((size_t)100 * 1024) /* of the longest URL, escaped as far as it fits */
#define REST_BYTES ((size_t)512)            /* of all but the URL and the error */
#define DONE_FIRST ((size_t)4096)

/*
 * JSON.
 */

/* Bytes of the character that starts here; 0: none that UTF-8 allows. */
static size_t utf8_bytes(const unsigned char *s, size_t left)
{
    size_t bytes = *s < 0x80 ? 1 : *s >= 0xf0 ? 4 : *s >= 0xe0 ? 3 : 2;
    unsigned low = *s == 0xe0 ? 0xa0 : *s == 0xf0 ? 0x90 : 0x80; /* else it would be shorter */
    unsigned high = *s == 0xed   ? 0x9f
                    : *s == 0xf4 ? 0x8f
                                 : 0xbf; /* no surrogates, nothing beyond */

    if (bytes == 1)
        return 1;
    if (*s < 0xc2 || *s > 0xf4 || bytes > left || s[1] < low || s[1] > high)
        return 0;
    for (size_t i = 2; i < bytes; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    return bytes;
}

static bool is_utf8(const char *text, size_t len)
{
    size_t bytes = 1;

    for (size_t i = 0; i < len && bytes; i += bytes)
        bytes = utf8_bytes((const unsigned char *)text + i, len - i);
    return bytes > 0;
}

size_t json_string(char *to, size_t room, const char *text, size_t len)
{
    bool is_text = is_utf8(text, len);
    size_t n = 0;

    to[n++] = '"';
    for (size_t i = 0; i < len && n + 8 < room; i++) {
        unsigned char c = (unsigned char)text[i];

        if (c == '"' || c == '\\') {
            to[n++] = '\\';
            to[n++] = (char)c;
        } else if (c < 0x20 || c == 0x7f || (c >= 0x80 && !is_text)) {
            n += (size_t)snprintf(to + n, 7, "\\u%04x", c);
        } else {
            to[n++] = (char)c;
        }
    }
    to[n++] = '"';
    return n;
}

/* FNV-1a; never 0. */
static uint32_t hash_of(const char *text, size_t len)
{
    uint32_t hash = 2166136261u;

    for (size_t i = 0; i < len; i++)
        hash = (hash ^ (unsigned char)text[i]) * 16777619u;
    return hash ? hash : 1;
}

/*
 * What a former run has done.
 */

static int note_done(struct results *r, uint64_t number, uint32_t hash)
{
    size_t room = r->done_room ? r->done_room : DONE_FIRST;
    uint32_t *grown;

    if (number > UINT32_MAX)
        return -ERANGE;
    while (room <= number) /* bounded by the bits of a size */
        room *= 2;
    if (room != r->done_room) {
        grown = realloc(r->done, room * sizeof(*grown));
        if (!grown)
            return -ENOMEM;
        memset(grown + r->done_room, 0, (room - r->done_room) * sizeof(*grown));
        r->done = grown;
        r->done_room = room;
    }
    r->done_count += r->done[number] == 0;
    r->done[number] = hash;
    return 0;
}

/* A line without its end. */
static int read_line(struct results *r, const char *line, size_t len)
{
    static const char before_url[] = ",\"url\":", after_url[] = ",\"ok\":";
    unsigned long long number;
    const char *url, *end;
    char *rest;

    if (len < 8 || memcmp(line, "{\"n\":", 5) != 0 || line[len - 1] != '}')
        return -EBADMSG;
    number = strtoull(line + 5, &rest, 10);
    if (strncmp(rest, before_url, sizeof(before_url) - 1) != 0)
        return -EBADMSG;
    url = rest + sizeof(before_url) - 1;
    for (end = url + 1; *end && *end != '"'; end++) /* bounded by the zero behind the line */
        end += *end == '\\' && end[1];
    if (*url != '"' || strncmp(end, "\"", 1) != 0 ||
        strncmp(end + 1, after_url, sizeof(after_url) - 1) != 0)
        return -EBADMSG;
    return note_done(r, number, hash_of(url, (size_t)(end + 1 - url)));
}

/* ret_whole: bytes up to the end of the last whole line. */
static int read_lines(struct results *r, FILE *file, off_t *ret_whole)
{
    char *line = NULL;
    size_t room = 0;
    ssize_t len;
    int err = 0;

    while (!err && (len = getline(&line, &room, file)) > 0 && line[len - 1] == '\n') {
        line[len - 1] = '\0';
        err = read_line(r, line, (size_t)len - 1);
        *ret_whole += err ? 0 : len;
    }
    if (!err && ferror(file))
        err = -EIO;
    free(line);
    return err;
}

static int read_former(struct results *r, const char *name, off_t *ret_whole)
{
    FILE *file = fopen(name, "re");
    int err;

    *ret_whole = 0;
    if (!file)
        return errno == ENOENT ? 0 : -errno; /* the first run with these words */
    err = read_lines(r, file, ret_whole);
    fclose(file); /* was only read */
    return err;
}

bool results_has(struct results *r, uint64_t number, const char *url, size_t len)
{
    if (number >= r->done_room || r->done[number] == 0)
        return false;
    len = json_string(r->scratch, LINE_MAX_BYTES, url, len);
    return r->done[number] == hash_of(r->scratch, len);
}

/*
 * Writing.
 */

static int open_output(struct results *r, const char *output, const char *resume, off_t whole)
{
    bool appends = resume && (!output || !strcmp(output, resume));

    r->name = output ? output : resume;
    if (!r->name)
        return 0;
    r->buf = malloc(BUFFER_BYTES);
    r->scratch = malloc(LINE_MAX_BYTES);
    if (!r->buf || !r->scratch)
        return -ENOMEM;
    if (!strcmp(r->name, "-")) {
        r->fd = STDOUT_FILENO;
        return 0;
    }
    r->fd =
        open(r->name, O_WRONLY | O_CREAT | O_CLOEXEC | O_APPEND | (appends ? 0 : O_TRUNC), 0666);
    if (r->fd < 0)
        return -errno;
    return appends && ftruncate(r->fd, whole) ? -errno : 0;
}

int results_open(struct results *r, const char *output, const char *resume)
{
    off_t whole = 0;
    int err = 0;

    *r = (struct results){ .fd = -1 };
    if (resume)
        err = read_former(r, resume, &whole);
    if (err) {
        fprintf(stderr, "jackdaw batch: --resume: '%s': %s\n", resume,
                err == -EBADMSG ? "no results of a former run" : jd_strerror(err));
        return err;
    }
    err = open_output(r, output, resume, whole);
    if (err)
        fprintf(stderr, "jackdaw batch: cannot write '%s': %s\n", r->name, jd_strerror(err));
    return err;
}

int results_flush(struct results *r)
{
    size_t len = r->len;
    jd_scope shield;
    int err;

    if (len == 0)
        return 0;
    r->len = 0; /* also on an error: it ends the run, and the lines would come twice */
    /* What is done must be on record, whoever has lost patience meanwhile. */
    jd_scope_open_shielded(&shield, JD_FOREVER);
    err = jd_write_all(r->fd, r->buf, len);
    return (int)jd_scope_close_with(&shield, err);
}

int results_close(struct results *r)
{
    int err = r->fd >= 0 ? results_flush(r) : 0;

    if (r->fd > STDOUT_FILENO && close(r->fd) && !err)
        err = -errno;
    free(r->buf);
    free(r->scratch);
    free(r->done);
    *r = (struct results){ .fd = -1 };
    return err;
}

int results_add(struct results *r, const struct result *x)
{
    size_t room = LINE_MAX_BYTES + REST_BYTES;
    char *to;
    int err;

    if (!r->name)
        return 0;
    err = r->len + room > BUFFER_BYTES ? results_flush(r) : 0;
    if (err)
        return err;
    to = r->buf + r->len;
    to += sprintf(to, "{\"n\":%llu,\"url\":", (unsigned long long)x->number);
    to += json_string(to, LINE_MAX_BYTES, x->url, x->url_len);
    to += sprintf(to, ",\"ok\":%s,\"status\":%d,", x->ok ? "true" : "false", x->status);
    if (x->error) {
        to += sprintf(to, "\"error\":");
        to += json_string(to, REST_BYTES / 2, x->error, strlen(x->error));
        *to++ = ',';
    }
    to += sprintf(to, "\"bytes\":%llu,\"ms\":%.3f,\"attempts\":%u}\n", (unsigned long long)x->bytes,
                  (double)x->elapsed / 1e6, x->attempts);
    r->len = (size_t)(to - r->buf);
    return 0;
}
