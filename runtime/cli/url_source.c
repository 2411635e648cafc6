/* SPDX-License-Identifier: MIT */
/*
 * See url_source.h. A read of a pipe suspends; it does so in a scope of its own, so that a stop ends
 * the read and nothing else.
 */
#include "cli/url_source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int url_source_init(struct url_source *s, const struct batch_settings *o)
{
    *s = (struct url_source){ .options = o, .fd = -1, .buf = malloc(URL_SOURCE_BYTES) };
    return s->buf ? -pthread_mutex_init(&s->lock, NULL) : -ENOMEM;
}

static void input_close(struct url_source *s)
{
    if (s->fd > STDIN_FILENO)
        (void)close(s->fd); /* was only read */
    s->fd = -1;
    s->begin = s->end = 0;
    s->skips_line = false;
}

void url_source_fini(struct url_source *s)
{
    input_close(s);
    pthread_mutex_destroy(&s->lock);
    free(s->buf);
}

void url_source_stop(struct url_source *s)
{
    pthread_mutex_lock(&s->lock);
    s->is_stopped = true;
    if (s->reading)
        jd_scope_cancel(s->reading);
    pthread_mutex_unlock(&s->lock);
}

bool url_source_is_stopped(struct url_source *s)
{
    bool is_stopped;

    pthread_mutex_lock(&s->lock);
    is_stopped = s->is_stopped;
    pthread_mutex_unlock(&s->lock);
    return is_stopped;
}

/* False: stopped. */
static bool reading_begin(struct url_source *s, jd_scope *scope)
{
    bool begun;

    pthread_mutex_lock(&s->lock);
    begun = !s->is_stopped;
    if (begun) {
        jd_scope_open(scope, JD_FOREVER);
        s->reading = scope;
    }
    pthread_mutex_unlock(&s->lock);
    return begun;
}

static JD_SUSPENDS ssize_t read_more(struct url_source *s)
{
    jd_scope scope;
    ssize_t got;
    int ended;

    if (!reading_begin(s, &scope))
        return -EPIPE;
    got = jd_read(s->fd, s->buf + s->end, URL_SOURCE_BYTES - s->end);
    pthread_mutex_lock(&s->lock);
    s->reading = NULL;
    pthread_mutex_unlock(&s->lock);
    ended = jd_scope_close(&scope);
    return ended && got == -ECANCELED ? -EPIPE : got;
}

static void complain(struct url_source *s, const char *name, int error)
{
    s->unreadable++;
    fprintf(stderr, "jackdaw batch: cannot read '%s': %s\n", name, jd_strerror(error));
}

static void input_open(struct url_source *s, const char *name)
{
    s->fd = strcmp(name, "-") != 0 ? open(name, O_RDONLY | O_CLOEXEC) : STDIN_FILENO;
    if (s->fd < 0)
        complain(s, name, -errno);
}

/* The next line of what is read: 1; 0: more must be read. */
static int take_line(struct url_source *s, bool is_end, const char **ret, size_t *ret_len,
                     bool *ret_cut)
{
    char *line = s->buf + s->begin;
    size_t have = s->end - s->begin;
    char *newline = memchr(line, '\n', have);
    size_t len = newline ? (size_t)(newline - line) : have;

    *ret_cut = !newline && have == URL_SOURCE_BYTES;
    if (!newline && !is_end && !*ret_cut)
        return 0;
    s->begin += len + (newline ? 1 : 0);
    *ret = line;
    *ret_len = len;
    return 1;
}

/* Room behind what is not used yet. */
static void move_to_front(struct url_source *s)
{
    memmove(s->buf, s->buf + s->begin, s->end - s->begin);
    s->end -= s->begin;
    s->begin = 0;
}

/* 1 a line, 0 the end of the input, -EPIPE stopped, else its error. */
static JD_SUSPENDS int next_line(struct url_source *s, const char **ret, size_t *ret_len,
                                 bool *ret_cut)
{
    for (;;) { /* bounded by the input */
        ssize_t got;

        if (s->begin < s->end && take_line(s, false, ret, ret_len, ret_cut)) {
            bool is_rest = s->skips_line;

            s->skips_line = *ret_cut;
            if (is_rest)
                continue;
            return 1;
        }
        move_to_front(s);
        got = read_more(s);
        if (got < 0)
            return (int)got;
        s->end += (size_t)got;
        if (got == 0)
            return s->end > 0 && !s->skips_line ? take_line(s, true, ret, ret_len, ret_cut) : 0;
    }
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* Without blanks at both ends. False: nothing is left, or it is a comment. */
static bool trim(const char **text, size_t *len)
{
    while (*len && is_blank(**text)) {
        ++*text;
        --*len;
    }
    while (*len && is_blank((*text)[*len - 1]))
        --*len;
    return *len > 0 && **text != '#';
}

int url_source_next(struct url_source *s, const char **ret, size_t *ret_len, bool *ret_cut)
{
    while (!url_source_is_stopped(s)) { /* bounded by the inputs */
        const struct batch_input *input;
        int got;

        if (s->fd < 0) {
            if (s->next_input == s->options->input_count)
                return 0;
            input = &s->options->inputs[s->next_input++];
            if (input->is_file) {
                input_open(s, input->text);
                continue;
            }
            *ret = input->text;
            *ret_len = strlen(input->text);
            *ret_cut = false;
            return 1;
        }
        got = next_line(s, ret, ret_len, ret_cut);
        if (got == 1 && trim(ret, ret_len))
            return 1;
        if (got == 1)
            continue;
        if (got == -EPIPE)
            return 0;
        if (got == -ECANCELED)
            return got;
        if (got < 0)
            complain(s, s->options->inputs[s->next_input - 1].text, got);
        input_close(s);
    }
    return 0;
}
