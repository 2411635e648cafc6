/* SPDX-License-Identifier: MIT */
/*
 * A thousand remote calls, fifty at a time. The server runs in the same process, so the program
 * needs no network; each call opens a connection of its own, asks for a square and checks it.
 *
 * Worth a look: a slot is taken before the next number is pulled from the source, so memory depends
 * on the limit, not on the number of calls; results arrive one by one in this task (the sink).
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>

#include <jackdaw/jackdaw.h>

#define CALLS 1000u
#define LIMIT 50u

struct calls {
    char server[64];
    uint64_t numbers[CALLS];
    unsigned pulled;
    unsigned right;
};

/* --- The server: reads a number, answers its square ------------------------------------------ */

static void square(int fd, void *arg)
{
    uint64_t n;

    (void)arg;
    if (jd_read_full(fd, &n, sizeof(n)) != (ssize_t)sizeof(n))
        return;
    n *= n;
    /* A client that has gone away is its own business: jd_serve() closes the connection. */
    (void)jd_send_all(fd, &n, sizeof(n));
}

static jd_result serve(void *listen_fd)
{
    return jd_err(jd_serve(*(int *)listen_fd, square, NULL, NULL));
}

/* --- The batch: where items come from, one call, where results go ---------------------------- */

static int next_number(void *ctx, void **ret_item)
{
    struct calls *c = ctx;

    if (c->pulled == CALLS)
        return 0;
    c->numbers[c->pulled] = c->pulled;
    *ret_item = &c->numbers[c->pulled++];
    return 1;
}

/* In a task of its own: written as if it blocked. */
static jd_result call_server(void *item, void *ctx)
{
    const struct calls *c = ctx;
    const uint64_t *n = item;
    uint64_t answer = 0;
    int fd = jd_dial(c->server), err;

    if (fd < 0)
        return jd_err(fd);
    err = jd_send_all(fd, n, sizeof(*n));
    if (!err && jd_read_full(fd, &answer, sizeof(answer)) != (ssize_t)sizeof(answer))
        err = -EPROTO;
    (void)jd_close(fd); /* nothing is written that a close could lose */
    return err ? jd_err(err) : jd_ok_num((intptr_t)answer);
}

static int take_result(void *item, jd_result r, void *ctx)
{
    struct calls *c = ctx;
    const uint64_t *n = item;

    if (!r.error && (uint64_t)r.num == *n * *n)
        c->right++;
    return 0;
}

static int call_all(struct calls *c)
{
    jd_batch_options o = JD_BATCH_OPTIONS_INIT;
    jd_batch_stats stats = JD_BATCH_STATS_INIT;
    int err;

    o.limit = LIMIT;
    o.errors_max = JD_ALL;
    o.total_timeout = JD_SEC(30);
    o.ctx = c;
    err = jd_batch_run(next_number, call_server, take_result, &o, &stats);
    printf("%u of %u right, at most %u in flight, %.1f ms\n", c->right, CALLS,
           (unsigned)stats.in_flight_max, (double)stats.elapsed / 1e6);
    if (err)
        return err;
    return c->right == CALLS && stats.in_flight_max <= LIMIT ? 0 : -EPROTO;
}

static jd_result run(void *arg)
{
    struct calls *c = arg;
    int listen_fd = jd_listen("127.0.0.1:0", 0, 0);
    jd_task *server;
    int err;

    if (listen_fd < 0)
        return jd_err(listen_fd);
    server = jd_spawn(serve, &listen_fd);
    err = jd_local_address(listen_fd, c->server, sizeof(c->server));
    if (!err)
        err = call_all(c);
    (void)jd_task_cancel(server, "all calls are done"); /* NULL: the join says so */
    if (jd_join(server).error != -ECANCELED && !err)
        err = -EPROTO; /* it ended by itself */
    (void)jd_close(listen_fd);
    return err ? jd_err(err) : jd_ok(NULL);
}

int main(void)
{
    static struct calls calls;
    jd_result r = jd_run(run, &calls, NULL);

    if (r.error)
        fprintf(stderr, "thousand_calls: %s\n", jd_strerror(r.error));
    return r.error != 0;
}
