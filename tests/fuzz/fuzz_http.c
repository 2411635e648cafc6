/* SPDX-License-Identifier: MIT */
/*
 * The HTTP client of the command against a server that answers whatever the bytes say, in pieces
 * that the simulator chooses.
 *
 *   seed, faults, answer...
 */
#include <errno.h>
#include <string.h>

#include "cli/http_call.h"
#include "fuzz.h"

#define ADDRESS "127.0.0.1:80"
#define ROOM 64

struct exchange {
    const uint8_t *answer;
    size_t size;
    int listener, status;
    char body[ROOM];
};

static jd_result answer(void *arg)
{
    struct exchange *e = arg;
    char request[256];
    int fd;

    do /* bounded by the faults: the connection stays in the queue */
        fd = jd_accept(e->listener, NULL, NULL, 0);
    while (fd < 0 && fd != -EBADF && fd != -ECANCELED);
    if (fd < 0)
        return jd_err(fd);
    if (jd_recv(fd, request, sizeof(request), 0) > 0)
        (void)jd_send_all(fd, e->answer, e->size);
    (void)jd_shutdown(fd, SHUT_WR);
    while (jd_recv(fd, request, sizeof(request), 0) > 0) /* bounded by the client */
        ;
    (void)jd_close(fd);
    return jd_ok(NULL);
}

static jd_result call(void *arg)
{
    struct exchange *e = arg;
    jd_task *server;

    e->listener = jd_listen(ADDRESS, 0, 0);
    if (e->listener < 0)
        return jd_err(e->listener);
    server = jd_spawn(answer, e);
    e->status = server ? http_get(ADDRESS, "/", e->body, sizeof(e->body)) : -ENOMEM;
    (void)jd_close(e->listener);
    if (server)
        (void)jd_join(server);
    return jd_ok(NULL);
}

/* What the answer says, if it is one that any client would take; -1: not sure. */
static int status_expected(const uint8_t *answer, size_t size)
{
    static const char head[] = "HTTP/1.1 ", length[] = "\r\nContent-Length: 0\r\n\r\n";
    size_t at = sizeof(head) - 1 + 3;

    if (size < at + sizeof(length) - 1 || memcmp(answer, head, sizeof(head) - 1) != 0 ||
        memcmp(answer + at, length, sizeof(length) - 1) != 0)
        return -1;
    for (size_t i = at - 3; i < at; i++)
        if (answer[i] < '0' || answer[i] > '9')
            return -1;
    return (answer[at - 3] - '0') * 100 + (answer[at - 2] - '0') * 10 + (answer[at - 1] - '0');
}

static bool is_documented(int status)
{
    switch (status) {
    case -EPROTO:
    case -ENOBUFS:
    case -ENOMEM:
    case -ECONNRESET:
    case -ECONNREFUSED:
    case -ECONNABORTED:
    case -ETIMEDOUT:
    case -EPIPE:
        return true;
    default:
        return status >= 100 && status <= 999;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = { data, data + size };
    struct fuzz_life life = { .seed = fuzz_byte(&in), .workers = 2 };
    struct exchange e = { .status = -EPROTO };
    int expected;
    jd_result r;

    life.fault_percent = fuzz_byte(&in) % 3 * 10;
    e.answer = in.at;
    e.size = fuzz_left(&in);
    r = fuzz_live(&life, call, &e);
    if (r.error) {
        FUZZ_CHECK_THAT(life.fault_percent > 0, "%d", r.error);
        return 0;
    }
    FUZZ_CHECK_THAT(is_documented(e.status), "%d", e.status);
    FUZZ_CHECK(e.status < 0 || memchr(e.body, 0, sizeof(e.body)));
    expected = life.fault_percent ? -1 : status_expected(e.answer, e.size);
    if (expected >= 100)
        FUZZ_CHECK_THAT(e.status == expected, "%d", e.status);
    return 0;
}
