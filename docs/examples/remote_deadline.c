/* SPDX-License-Identifier: MIT */
/*
 * A deadline that reaches the remote call: the caller has so much time for three answers, each
 * request says how much of it is left, and the server stops working when nobody waits any more.
 */
#include <jackdaw/jackdaw.h>

#include <errno.h>
#include <stdint.h>
#include <stdio.h>

/* A request: how long its caller will wait, and how long the answer takes to make, milliseconds. */
struct request {
    uint32_t left_ms;
    uint32_t work_ms;
};

/* --- The server ------------------------------------------------------------------------------------ */

struct server {
    int fd;
    char address[64];
    jd_sem gave_up; /* one permit for each request that it stopped working on */
};

static int work(const struct request *q)
{
    return jd_sleep(JD_MS(q->work_ms)); /* reads a database, calls the next server, ... */
}

static void handle(int fd, void *arg)
{
    struct server *server = arg;
    struct request q;

    while (jd_read_full(fd, &q, sizeof(q)) == sizeof(q)) {
        jd_scope limit;
        int error;

        jd_scope_open(&limit, JD_MS(q.left_ms));
        error = (int)jd_scope_close_with(&limit, work(&q));
        if (error == -ETIMEDOUT)
            (void)jd_sem_release(&server->gave_up);
        if (error || jd_send_all(fd, "y", 1))
            return; /* nobody reads an answer now: jd_serve() closes the connection */
    }
}

static jd_result serve(void *arg)
{
    struct server *server = arg;

    return jd_err(jd_serve(server->fd, handle, server, NULL));
}

/* --- Its caller ------------------------------------------------------------------------------------ */

/* What is left of the caller's time, whoever has set the deadline. Not a point in time: the server
 * has another clock. */
static uint32_t time_left_ms(void)
{
    int64_t left = jd_deadline() == JD_FOREVER ? JD_SEC(60) : jd_deadline() - jd_now();

    return left > 0 ? (uint32_t)(left / JD_MS(1)) : 0;
}

/* Knows of no deadline: each call in it ends with the caller's. */
static int ask(const struct server *server, uint32_t work_ms)
{
    struct request q = { 0, work_ms };
    char answer;
    ssize_t n;
    int fd = jd_dial(server->address), error;

    if (fd < 0)
        return fd;
    q.left_ms = time_left_ms(); /* as late as possible: the dial has taken some of it */
    error = jd_send_all(fd, &q, sizeof(q));
    if (!error) {
        n = jd_recv(fd, &answer, 1, 0);
        error = n == 1 ? 0 : n < 0 ? (int)n : -EPIPE;
    }
    (void)jd_close(fd); /* also when cancelled */
    return error;
}

static int ask_three(const struct server *server)
{
    static const uint32_t work_ms[] = { 1, 2, 60000 };

    for (int i = 0; i < 3; i++) {
        int error = ask(server, work_ms[i]);

        if (error)
            return error;
        printf("answer %d\n", i + 1);
    }
    return 0;
}

/* -EPIPE: the server's timer was faster than ours. */
static int with_deadline(struct server *server)
{
    jd_scope limit;
    int error;

    jd_scope_open(&limit, JD_SEC(1)); /* for all three together */
    error = (int)jd_scope_close_with(&limit, ask_three(server));
    if (error != -ETIMEDOUT && error != -EPIPE)
        return error ? error : -EPROTO;
    printf("no answer 3 in time\n");
    error = jd_sem_acquire(&server->gave_up);
    if (!error)
        printf("the server has stopped, too\n");
    return error;
}

static jd_result main_task(void *arg)
{
    struct server server = { .fd = jd_listen("127.0.0.1:0", 0, 0) };
    jd_task *task;
    int error;

    (void)arg;
    if (server.fd < 0)
        return jd_err(server.fd);
    error = jd_local_address(server.fd, server.address, sizeof(server.address));
    if (!error)
        error = jd_sem_init(&server.gave_up, 0);
    if (!error) {
        task = jd_spawn(serve, &server);
        if (!task)
            return jd_err(-ENOMEM);
        error = with_deadline(&server);
        (void)jd_task_cancel(task, "done");
        (void)jd_join(task).error; /* -ECANCELED */
    }
    (void)jd_close(server.fd);
    return error ? jd_err(error) : jd_ok(NULL);
}

int main(void)
{
    jd_result r = jd_run(main_task, NULL, NULL);

    if (r.error)
        fprintf(stderr, "remote_deadline: %s\n", jd_strerror(r.error));
    return r.error != 0;
}
