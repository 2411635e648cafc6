/* SPDX-License-Identifier: MIT */
/*
 * See http_call.h. An answer must carry Content-Length: what ends with the connection cannot be
 * told from what was cut off.
 */
#include "cli/http_call.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <jackdaw/jackdaw.h>

#define ANSWER_BYTES 1024

struct answer {
    char text[ANSWER_BYTES + 1];
    size_t len;
    int status;
    const char *body; /* NULL until the headers are whole */
    size_t body_len;  /* as announced */
};

/* The value of a header line, or NULL. */
static const char *header_find(const char *headers, const char *name)
{
    size_t len = strlen(name);

    for (const char *line = strstr(headers, "\r\n"); line; line = strstr(line, "\r\n")) {
        line += 2;
        if (!strncasecmp(line, name, len) && line[len] == ':')
            return line + len + 1 + strspn(line + len + 1, " \t");
    }
    return NULL;
}

/* The three digits of a status line; 0: it is none. */
static int status_of(const char *line)
{
    static const char version[] = "HTTP/1.1 ";
    int status = 0;

    if (strncmp(line, version, sizeof(version) - 1) != 0)
        return 0;
    line += sizeof(version) - 1;
    for (int i = 0; i < 3; i++) {
        if (line[i] < '0' || line[i] > '9')
            return 0;
        status = status * 10 + (line[i] - '0');
    }
    return status >= 100 && (line[3] == ' ' || line[3] == '\r' || line[3] == '\0') ? status : 0;
}

/* 1: the answer is whole, 0: more must come, < 0: it is none. */
static int answer_parse(struct answer *a)
{
    if (!a->body) {
        char *end = strstr(a->text, "\r\n\r\n");
        const char *length;

        if (!end)
            return 0;
        *end = '\0'; /* headers are searched as one string */
        length = header_find(a->text, "Content-Length");
        a->status = status_of(a->text);
        if (a->status == 0 || !length || *length < '0' || *length > '9')
            return -EPROTO;
        a->body = end + 4;
        a->body_len = strtoul(length, NULL, 10);
        if (a->body_len > ANSWER_BYTES)
            return -ENOBUFS;
    }
    return (size_t)(a->text + a->len - a->body) >= a->body_len;
}

static int answer_read(int fd, struct answer *a)
{
    int whole = 0;

    a->len = 0;
    a->body = NULL;
    while (!whole) { /* bounded by the room */
        ssize_t got;

        if (a->len == ANSWER_BYTES)
            return -ENOBUFS;
        got = jd_recv(fd, a->text + a->len, ANSWER_BYTES - a->len, 0);
        if (got <= 0)
            return got < 0 ? (int)got : -EPROTO; /* cut off */
        a->len += (size_t)got;
        a->text[a->len] = '\0';
        whole = answer_parse(a);
    }
    return whole < 0 ? whole : 0;
}

static int exchange(int fd, const char *address, const char *path, char *body, size_t room)
{
    struct answer a;
    char request[256];
    int len = snprintf(request, sizeof(request),
                       "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", path, address);
    int err;

    if (len < 0 || (size_t)len >= sizeof(request))
        return -ENOBUFS;
    err = jd_send_all(fd, request, (size_t)len);
    if (!err)
        err = answer_read(fd, &a);
    if (err)
        return err;
    if (a.body_len >= room)
        return -ENOBUFS;
    memcpy(body, a.body, a.body_len);
    body[a.body_len] = '\0';
    return a.status;
}

int http_get(const char *address, const char *path, char *body, size_t room)
{
    int fd = jd_dial(address);
    int status;

    if (fd < 0)
        return fd;
    status = exchange(fd, address, path, body, room);
    (void)jd_close(fd); /* the answer is there, or its error */
    return status;
}
