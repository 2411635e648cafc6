/* SPDX-License-Identifier: MIT */
/*
 * A thousand HTTP requests by libcurl, fifty at a time, with a deadline for each. The server runs in
 * the same process and answers "pong", so the program needs no network.
 *
 * Worth a look: the fifty tasks share the connections of the runtime, and nothing here says so.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <jackdaw/curl.h>
#include <jackdaw/jackdaw.h>

#define CALLS 1000u
#define LIMIT 50u

/* --- The server: any number of requests per connection ---------------------------------------- */

static void pong(int fd, void *connections)
{
    static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npong";
    char request[1024];
    size_t len = 0;
    ssize_t got;

    ++*(unsigned *)connections; /* one worker: see main() */
    while ((got = jd_recv(fd, request + len, sizeof(request) - 1 - len, 0)) > 0) {
        len += (size_t)got;
        request[len] = '\0';
        if (!strstr(request, "\r\n\r\n"))
            continue;
        len = 0;
        if (jd_send_all(fd, answer, sizeof(answer) - 1))
            return; /* the client has gone */
    }
}

struct server {
    int fd;
    unsigned connections;
};

static jd_result serve(void *arg)
{
    jd_serve_options o = JD_SERVE_OPTIONS_INIT;
    struct server *s = arg;

    o.grace = JD_MS(10); /* at the end only idle connections are left */
    return jd_err(jd_serve(s->fd, pong, &s->connections, &o));
}

/* --- The calls -------------------------------------------------------------------------------- */

static jd_result call(void *url, void *ctx)
{
    jd_curl_response r = JD_CURL_RESPONSE_INIT;
    jd_curl_options o = JD_CURL_OPTIONS_INIT;
    int err;

    (void)ctx;
    o.timeout = JD_SEC(10); /* a cancel or a deadline ends the transfer, too */
    err = jd_curl_get(url, &o, &r);
    if (!err && (r.status != 200 || strcmp(r.body, "pong") != 0))
        err = -EPROTO;
    jd_curl_response_fini(&r);
    return err ? jd_err(err) : jd_ok(NULL);
}

static int call_all(char *url)
{
    static void *urls[CALLS];
    static jd_result results[CALLS];
    unsigned right = 0;
    int err;

    for (unsigned i = 0; i < CALLS; i++)
        urls[i] = url;
    err = jd_map(urls, CALLS, LIMIT, call, NULL, results);
    for (unsigned i = 0; i < CALLS; i++)
        right += results[i].error == 0;
    printf("%u of %u right", right, CALLS);
    return err || right == CALLS ? err : -EPROTO;
}

static jd_result run(void *arg)
{
    struct server s = { .fd = jd_listen("127.0.0.1:0", 0, 0) };
    char address[64], url[96];
    jd_task *server;
    int err;

    (void)arg;
    if (s.fd < 0)
        return jd_err(s.fd);
    server = jd_spawn(serve, &s);
    err = jd_local_address(s.fd, address, sizeof(address));
    if (!err) {
        snprintf(url, sizeof(url), "http://%s/ping", address);
        err = call_all(url);
        printf(", over %u connections\n", s.connections);
    }
    (void)jd_task_cancel(server, "all calls are done"); /* NULL: the join says so */
    if (jd_join(server).error != -ECANCELED && !err)
        err = -EPROTO; /* it ended by itself */
    (void)jd_close(s.fd);
    if (!err && s.connections > LIMIT)
        err = -EPROTO;
    return err ? jd_err(err) : jd_ok(NULL);
}

int main(void)
{
    jd_config cfg = JD_CONFIG_INIT;
    jd_result r;

    cfg.workers = 1; /* so that the count needs no atomics */
    cfg.flags = JD_NO_ENV;
    r = jd_run(run, NULL, &cfg);
    if (r.error)
        fprintf(stderr, "curl_calls: %s\n", jd_strerror(r.error));
    return r.error != 0;
}
