/* SPDX-License-Identifier: MIT */
/*
 * A server of one's own, tested under simulation: counters that clients raise over TCP. A request
 * is one byte, the counter; the answer is its new value, four bytes.
 *
 *   simulated_server           200 seeds; 0 when all are right
 *   simulated_server SEED      this one again, with its trace on stderr
 */
#include <jackdaw/jackdaw.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLIENTS 4
#define REQUESTS 8

/* --- The server: nothing in it knows of the simulation --------------------------------------- */

struct server {
    jd_sem lock;
    uint32_t counters[256];
};

static void handle(int fd, void *arg)
{
    struct server *s = arg;
    unsigned char name;
    uint32_t value;

    while (jd_recv(fd, &name, 1, 0) == 1) {
        if (jd_sem_acquire(&s->lock) < 0)
            return;
        value = ++s->counters[name];
        (void)jd_sem_release(&s->lock);
        if (jd_send_all(fd, &value, sizeof(value)) < 0)
            return; /* counted, but not told: the client may ask again and count twice */
    }
}

struct listening {
    struct server *server;
    int fd;
};

static jd_result serve(void *arg)
{
    struct listening *l = arg;
    int error = jd_serve(l->fd, handle, l->server, NULL);

    /* Else clients of a server that could not start wait for ever: seed 71. */
    (void)jd_close(l->fd);
    return jd_err(error);
}

/* --- The scenario ---------------------------------------------------------------------------- */

struct client {
    const char *address;
    uint32_t sent, answered, last;
};

static jd_result client(void *arg)
{
    struct client *c = arg;
    uint32_t value;
    int fd = jd_dial(c->address);

    if (fd < 0)
        return jd_ok(NULL); /* refused by a fault */
    for (int i = 0; i < REQUESTS; i++) {
        c->sent++;
        if (jd_send_all(fd, "n", 1) < 0 ||
            jd_read_full(fd, &value, sizeof(value)) != (ssize_t)sizeof(value))
            break; /* the connection broke */
        if (value <= c->last) {
            (void)jd_close(fd);
            return jd_err(-EBADMSG); /* a counter went backwards */
        }
        c->last = value;
        c->answered++;
    }
    (void)jd_close(fd);
    return jd_ok(NULL);
}

static jd_result scenario(void *arg)
{
    struct server s = { .lock = JD_SEM_INIT(1) };
    struct listening l = { &s, jd_listen("127.0.0.1:80", 0, 0) };
    struct client clients[CLIENTS] = { { .address = "127.0.0.1:80" } };
    jd_task *server, *tasks[CLIENTS];
    uint32_t sent = 0, answered = 0;
    int error = 0;

    (void)arg;
    if (l.fd < 0)
        return jd_err(l.fd);
    server = jd_spawn(serve, &l);
    for (int i = 0; i < CLIENTS; i++) {
        clients[i].address = "127.0.0.1:80";
        tasks[i] = server ? jd_spawn(client, &clients[i]) : NULL;
    }
    for (int i = 0; i < CLIENTS; i++) {
        jd_result r = tasks[i] ? jd_join(tasks[i]) : jd_ok(NULL);

        error = r.error ? r.error : error;
        sent += clients[i].sent;
        answered += clients[i].answered;
    }
    if (server) {
        (void)jd_task_cancel(server, "the clients are done");
        (void)jd_join(server);
    } else {
        (void)jd_close(l.fd);
    }
    if (s.counters['n'] < answered || s.counters['n'] > sent)
        error = -ERANGE; /* the promise: every answer was counted, and nothing else */
    return jd_err(error);
}

/* --- Many lives ------------------------------------------------------------------------------ */

static int run(uint64_t seed, unsigned flags)
{
    jd_sim_options o = JD_SIM_OPTIONS_INIT;
    jd_result r;

    o.fault_percent = seed % 2 ? 10 : 0; /* every other life is a quiet one */
    o.time_limit = JD_SEC(3600);
    o.flags = flags;
    r = jd_sim_run(seed, scenario, NULL, &o);
    if (r.error)
        printf("seed %" PRIu64 ": %s\n", seed, jd_strerror(r.error));
    return r.error;
}

int main(int argc, char **argv)
{
    int failed = 0;

    if (argc > 1)
        return run(strtoull(argv[1], NULL, 10), JD_SIM_TRACE) != 0;
    for (uint64_t seed = 0; seed < 200; seed++)
        failed += run(seed, 0) != 0;
    printf("%d of 200 lives went wrong\n", failed);
    return failed != 0;
}
