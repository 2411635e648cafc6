/* SPDX-License-Identifier: MIT */
/*
 * The demonstration's server: see demo_server.h. One request per connection; the answer to
 * `GET /N` is N, so that a client can tell a mixed-up answer from a right one.
 */
#include "cli/demo_server.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/rng.h"

#define REQUEST_BYTES 1024
#define DELAY JD_MS(20)
#define JITTER_US 5000u /* each way */

/* The headers of one request; negative when there is none. */
static int read_request(int fd, char *buf, size_t room)
{
    size_t len = 0;

    while (len < room - 1) { /* bounded by the room */
        ssize_t got = jd_recv(fd, buf + len, room - 1 - len, 0);

        if (got <= 0)
            return got < 0 ? (int)got : -EPIPE;
        len += (size_t)got;
        buf[len] = '\0';
        if (strstr(buf, "\r\n\r\n"))
            return 0;
    }
    return -EMSGSIZE;
}

static int answer(int fd, const char *status, const char *body)
{
    char text[256];
    int len = snprintf(text, sizeof(text),
                       "HTTP/1.1 %s\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n"
                       "Connection: close\r\n\r\n%s",
                       status, strlen(body), body);

    return jd_send_all(fd, text, (size_t)len);
}

/* The same delays in each run with the same seed, whatever the order of the requests. */
static int64_t delay_of(const struct demo_server *s, unsigned long number)
{
    struct rng rng;

    rng_seed(&rng, s->seed + number);
    return DELAY + JD_US((int64_t)rng_below(&rng, 2 * JITTER_US + 1) - (int64_t)JITTER_US);
}

/* Relaxed, all below: numbers that are read after the server has ended. */

static void serving_enter(struct demo_server *s)
{
    uint32_t now = atom_fetch_add(&s->serving, 1, relaxed) + 1;
    uint32_t max = atom_load(&s->serving_max, relaxed);

    while (now > max && !atom_cas_weak(&s->serving_max, &max, now, relaxed, relaxed))
        ; /* bounded: the maximum only grows */
}

static void serving_leave(struct demo_server *s)
{
    atom_fetch_sub(&s->serving, 1, relaxed);
    atom_fetch_add(&s->requests, 1, relaxed);
}

static int serve_request(struct demo_server *s, int fd, const char *request)
{
    unsigned long number;
    char body[24];
    int err;

    if (sscanf(request, "GET /%lu HTTP/1.1\r\n", &number) != 1)
        return answer(fd, "400 Bad Request", "");
    serving_enter(s);
    err = jd_sleep(delay_of(s, number));
    serving_leave(s);
    if (err)
        return err;
    snprintf(body, sizeof(body), "%lu", number);
    return answer(fd, "200 OK", body);
}

static void serve(int fd, void *server)
{
    char request[REQUEST_BYTES];

    if (read_request(fd, request, sizeof(request)) == 0)
        (void)serve_request(server, fd, request); /* a client that has gone is its own business */
}

static jd_result server_main(void *arg)
{
    struct demo_server *s = arg;
    jd_serve_options o = JD_SERVE_OPTIONS_INIT;

    o.grace = JD_SEC(1);
    return jd_err(jd_serve(s->listen_fd, serve, s, &o));
}

int demo_server_start(struct demo_server *s, uint64_t seed)
{
    int err;

    memset(s, 0, sizeof(*s));
    s->seed = seed;
    s->listen_fd = jd_listen("127.0.0.1:0", 0, 0);
    if (s->listen_fd < 0)
        return s->listen_fd;
    err = jd_local_address(s->listen_fd, s->address, sizeof(s->address));
    if (!err) {
        s->task = jd_spawn(server_main, s);
        err = s->task ? 0 : -ENOMEM;
    }
    if (err)
        (void)close(s->listen_fd); /* nothing to lose */
    return err;
}

void demo_server_stop(struct demo_server *s)
{
    jd_result r;

    (void)jd_task_cancel(s->task, "stop"); /* -EALREADY: then the result tells */
    r = jd_join(s->task);
    if (r.error != -ECANCELED)
        fprintf(stderr, "jackdaw: the server ended: %s\n", jd_strerror(r.error));
    (void)close(s->listen_fd); /* nothing to lose */
}
