/* SPDX-License-Identifier: MIT */
/*
 * A TCP echo server.
 *
 *   echo_server 127.0.0.1:7007    serves until SIGINT or SIGTERM
 *   echo_server                   serves a few clients of its own, checks them, and ends
 *
 * One task per connection, written as a loop that seems to block. A signal cancels the main task:
 * jd_serve() then stops accepting, gives the handlers `grace` to end, cancels what is left, joins.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <jackdaw/jackdaw.h>

#define CLIENTS 8
#define ROUNDS 16

static void echo(int fd, void *arg)
{
    char buf[1024];
    ssize_t got;

    (void)arg;
    while ((got = jd_recv(fd, buf, sizeof(buf), 0)) > 0)
        if (jd_send_all(fd, buf, (size_t)got) < 0)
            return;
}

/* Until cancelled: then -ECANCELED, with every connection closed. */
static int serve(int listen_fd)
{
    jd_serve_options o = JD_SERVE_OPTIONS_INIT;

    o.connections_max = 1000;
    o.grace = JD_SEC(1);
    return jd_serve(listen_fd, echo, NULL, &o);
}

static jd_result serve_address(void *address)
{
    int listen_fd = jd_listen(address, 0, 0);
    char bound[64];
    int err;

    if (listen_fd < 0)
        return jd_err(listen_fd);
    err = jd_local_address(listen_fd, bound, sizeof(bound));
    if (!err) {
        printf("echoing on %s\n", bound);
        (void)fflush(stdout);
        err = serve(listen_fd);
    }
    (void)jd_close(listen_fd);
    return jd_err(err); /* serving never ends well: by a cancel at best */
}

/* --- Without an argument ----------------------------------------------------------------------- */

static jd_result serve_task(void *listen_fd)
{
    return jd_err(serve(*(int *)listen_fd));
}

static int talk(int fd)
{
    for (int round = 0; round < ROUNDS; round++) {
        char said[32], heard[32] = "";
        int len = snprintf(said, sizeof(said), "round %d\n", round);
        int err = jd_send_all(fd, said, (size_t)len);

        if (err)
            return err;
        if (jd_read_full(fd, heard, (size_t)len) != len || strcmp(said, heard) != 0)
            return -EPROTO;
    }
    return 0;
}

static jd_result client(void *address)
{
    int fd = jd_dial(address), err;

    if (fd < 0)
        return jd_err(fd);
    err = talk(fd);
    (void)jd_close(fd); /* the server sees the end and leaves its loop */
    return err ? jd_err(err) : jd_ok(NULL);
}

/* The group ends no earlier than its members; the first failure cancels the others. */
static int run_clients(char *address)
{
    jd_group g;
    int err = 0;

    jd_group_open(&g, 0, JD_SEC(10));
    for (int i = 0; i < CLIENTS && !err; i++)
        err = jd_group_spawn(&g, client, address);
    return jd_group_close_with(&g, err);
}

static jd_result self_test(void *arg)
{
    int listen_fd = jd_listen("127.0.0.1:0", 0, 0);
    char address[64];
    jd_task *server;
    int err;

    (void)arg;
    if (listen_fd < 0)
        return jd_err(listen_fd);
    server = jd_spawn(serve_task, &listen_fd);
    err = jd_local_address(listen_fd, address, sizeof(address));
    if (!err)
        err = run_clients(address);
    (void)jd_task_cancel(server, "the clients have left");
    if (jd_join(server).error != -ECANCELED && !err)
        err = -EPROTO; /* it ended by itself */
    (void)jd_close(listen_fd);
    if (err)
        return jd_err(err);
    printf("%d clients, %d rounds each: all echoed\n", CLIENTS, ROUNDS);
    return jd_ok(NULL);
}

int main(int argc, char **argv)
{
    jd_config config = JD_CONFIG_INIT;
    jd_result r;

    config.flags = JD_HANDLE_SIGINT | JD_HANDLE_SIGTERM;
    r = argc > 1 ? jd_run(serve_address, argv[1], &config) : jd_run(self_test, NULL, &config);
    if (r.error == -EINTR) {
        printf("stopped by a signal\n");
        return 0;
    }
    if (r.error)
        fprintf(stderr, "echo_server: %s\n", jd_strerror(r.error));
    return r.error != 0;
}
