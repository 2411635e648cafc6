/* SPDX-License-Identifier: MIT */
#include "scenario.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

#define MESSAGE 96

struct echo {
    int listener;
    char address[64];
    jd_task *handlers[ECHO_CLIENTS];
    long done[ECHO_CLIENTS];
};

static jd_result echo_handle(void *arg)
{
    int fd = (int)(intptr_t)arg;
    char buf[MESSAGE];
    ssize_t n;

    while ((n = jd_recv(fd, buf, sizeof(buf), 0)) > 0) /* bounded by the client */
        if (jd_send_all(fd, buf, (size_t)n) < 0)
            break;
    (void)jd_close(fd);
    return jd_ok(NULL);
}

static int exchange(int fd, char seed)
{
    char out[MESSAGE], in[MESSAGE];
    size_t got = 0;
    int error;

    memset(out, seed, sizeof(out));
    error = jd_send_all(fd, out, sizeof(out));
    while (error == 0 && got < sizeof(in)) {
        ssize_t n = jd_recv(fd, in + got, sizeof(in) - got, 0);

        if (n <= 0)
            return n < 0 ? (int)n : -ECONNRESET;
        got += (size_t)n;
    }
    if (error == 0 && memcmp(in, out, sizeof(in)) != 0)
        return -EBADMSG;
    return error;
}

struct client {
    struct echo *echo;
    int index;
};

static jd_result echo_call(void *arg)
{
    struct client *c = arg;
    int fd = jd_dial(c->echo->address);
    int error = fd < 0 ? fd : 0;

    for (int i = 0; error == 0 && i < ECHO_ROUNDS; i++) {
        error = exchange(fd, (char)(c->index * ECHO_ROUNDS + i));
        if (error == 0)
            c->echo->done[c->index]++;
    }
    if (fd >= 0)
        (void)jd_close(fd);
    return error == -EBADMSG ? jd_err(error) : jd_ok(NULL);
}

/* Accepts until its caller is cancelled. */
static jd_result echo_accept(void *arg)
{
    struct echo *e = arg;
    unsigned count = 0;

    for (;;) {
        int fd = jd_accept(e->listener, NULL, NULL, 0);

        if (fd == -ECANCELED || fd == -EBADF)
            break;
        if (fd < 0)
            continue; /* a fault: the connection waits on */
        if (count == ECHO_CLIENTS ||
            !(e->handlers[count] = jd_spawn(echo_handle, (void *)(intptr_t)fd)))
            (void)jd_close(fd);
        else
            count++;
    }
    for (unsigned i = 0; i < count; i++)
        (void)jd_join(e->handlers[i]);
    return jd_ok(NULL);
}

jd_result scenario_echo(void *arg)
{
    struct echo e = { .listener = jd_listen("127.0.0.1:0", 16, 0) };
    struct client clients[ECHO_CLIENTS];
    jd_task *acceptor, *tasks[ECHO_CLIENTS];
    jd_result result = jd_ok_num(0);

    (void)arg;
    if (e.listener < 0)
        return jd_err(e.listener);
    (void)jd_local_address(e.listener, e.address, sizeof(e.address));
    acceptor = jd_spawn(echo_accept, &e);
    if (!acceptor) { /* a fault: no memory */
        (void)jd_close(e.listener);
        return result;
    }
    for (int i = 0; i < ECHO_CLIENTS; i++) {
        clients[i] = (struct client){ &e, i };
        tasks[i] = jd_spawn(echo_call, &clients[i]);
    }
    for (int i = 0; i < ECHO_CLIENTS; i++) {
        jd_result r = tasks[i] ? jd_join(tasks[i]) : jd_ok(NULL);

        if (r.error)
            result = r;
        else if (!result.error)
            result.num += e.done[i];
    }
    (void)jd_task_cancel(acceptor, "the clients are done");
    (void)jd_join(acceptor);
    (void)jd_close(e.listener);
    return result;
}

/* --- A bug for the simulator to find --------------------------------------------------------- */

#define LONG_MESSAGE 600

static jd_result send_two(void *arg)
{
    char message[LONG_MESSAGE];
    int fd = jd_dial(arg);

    memset(message, 'm', sizeof(message));
    if (fd < 0)
        return jd_err(fd);
    for (int i = 0; i < 2; i++)
        if (jd_send_all(fd, message, sizeof(message)) == 0)
            (void)jd_sleep(JD_MS(1));
    (void)jd_close(fd);
    return jd_ok(NULL);
}

jd_result scenario_assumes_full_read(void *arg)
{
    int listener = jd_listen("127.0.0.1:7000", 0, 0);
    jd_task *sender = jd_spawn(send_two, (void *)(uintptr_t) "127.0.0.1:7000");
    char buf[LONG_MESSAGE];
    intptr_t right = 0;
    int fd = jd_accept(listener, NULL, NULL, 0);

    (void)arg;
    for (int i = 0; fd >= 0 && i < 2; i++)
        right += jd_recv(fd, buf, sizeof(buf), 0) == LONG_MESSAGE; /* the bug */
    if (fd >= 0)
        (void)jd_close(fd);
    (void)jd_join(sender);
    (void)jd_close(listener);
    return right == 2 ? jd_ok(NULL) : jd_err(-EBADMSG);
}
