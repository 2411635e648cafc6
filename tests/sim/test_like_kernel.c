/* SPDX-License-Identifier: MIT */
/*
 * One program on what the kernel makes and on what the simulation makes: each call must have the same
 * result in both.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "jd_test.h"
#include "seeds.h"

#include <jackdaw/jackdaw.h>

#define NOTES_MAX 400

struct world {
    int (*pipe)(int fds[2]);
    int (*pair)(int type, int fds[2]);
    int (*datagram)(const char *address);
    int (*open)(const char *name, int flags);
    unsigned count;
    struct {
        int line;
        long value;
    } notes[NOTES_MAX];
};

static void note(struct world *w, int line, long value)
{
    cr_assert_lt(w->count, NOTES_MAX);
    w->notes[w->count].line = line;
    w->notes[w->count++].value = value;
}

#define NOTE(w, value) note((w), __LINE__, (long)(value))

static long sum(const char *buf, ssize_t n)
{
    long total = n;

    for (ssize_t i = 0; i < n; i++)
        total = total * 31 + buf[i];
    return total;
}

/* --- The program -------------------------------------------------------------------------------- */

static void use_no_socket(struct world *w, int fd)
{
    char buf[32];

    NOTE(w, jd_recv(fd, buf, 1, 0));
    NOTE(w, jd_recv(fd, buf, 1, MSG_DONTWAIT));
    NOTE(w, jd_send(fd, buf, 1, 0));
    NOTE(w, jd_accept(fd, NULL, NULL, 0));
    NOTE(w, jd_shutdown(fd, SHUT_RD));
    NOTE(w, jd_local_address(fd, buf, sizeof(buf)));
    NOTE(w, jd_peer_address(fd, buf, sizeof(buf)));
}

static void use_pipe(struct world *w)
{
    static char big[65536];
    char buf[16];
    int fds[2];

    NOTE(w, w->pipe(fds));
    use_no_socket(w, fds[0]);
    use_no_socket(w, fds[1]);
    NOTE(w, jd_read(fds[1], buf, 1));
    NOTE(w, jd_write(fds[0], buf, 1));
    NOTE(w, jd_read(fds[0], buf, 0));
    NOTE(w, jd_read(fds[1], buf, 0));
    NOTE(w, jd_write(fds[1], buf, 0));
    NOTE(w, jd_poll(fds[0], POLLIN, 0));
    NOTE(w, jd_write(fds[1], "hello", 5));
    NOTE(w, jd_poll(fds[0], POLLIN | POLLOUT, 0));
    NOTE(w, sum(buf, jd_read(fds[0], buf, 3)));
    NOTE(w, sum(buf, jd_read(fds[0], buf, 16)));
    NOTE(w, jd_write(fds[1], big, sizeof(big)));
    NOTE(w, jd_poll(fds[1], POLLOUT, 0));
    NOTE(w, jd_read(fds[0], buf, 1));
    NOTE(w, jd_poll(fds[1], POLLOUT, 0));
    NOTE(w, jd_read_full(fds[0], big, 8192));
    NOTE(w, jd_poll(fds[1], POLLOUT, 0));
    NOTE(w, jd_close(fds[1]));
    NOTE(w, jd_poll(fds[0], POLLIN, 0));
    NOTE(w, jd_read_full(fds[0], big, sizeof(big)));
    NOTE(w, jd_poll(fds[0], POLLIN, 0));
    NOTE(w, jd_read(fds[0], buf, 1));
    NOTE(w, jd_close(fds[0]));
    NOTE(w, w->pipe(fds));
    NOTE(w, jd_close(fds[0]));
    NOTE(w, jd_poll(fds[1], POLLOUT, 0));
    NOTE(w, jd_write(fds[1], "x", 1));
    NOTE(w, jd_close(fds[1]));
}

static void use_stream_pair(struct world *w)
{
    char buf[64];
    int fds[2];

    NOTE(w, w->pair(SOCK_STREAM, fds));
    NOTE(w, jd_local_address(fds[0], buf, sizeof(buf)));
    NOTE(w, sum(buf, (ssize_t)strlen(buf)));
    NOTE(w, jd_send(fds[0], "hello", 5, 0));
    NOTE(w, sum(buf, jd_recv(fds[1], buf, 2, MSG_PEEK)));
    NOTE(w, sum(buf, jd_recv(fds[1], buf, 5, MSG_WAITALL)));
    NOTE(w, jd_recv(fds[1], buf, 5, MSG_DONTWAIT));
    NOTE(w, jd_accept(fds[0], NULL, NULL, 0));
    NOTE(w, jd_poll(fds[0], POLLIN | POLLOUT, 0));
    NOTE(w, jd_write(fds[1], "there", 5));
    NOTE(w, jd_shutdown(fds[1], SHUT_WR));
    NOTE(w, jd_write(fds[1], "x", 1));
    NOTE(w, jd_poll(fds[0], POLLIN | POLLRDHUP, 0));
    NOTE(w, sum(buf, jd_read(fds[0], buf, 64)));
    NOTE(w, jd_read(fds[0], buf, 64));
    NOTE(w, jd_write(fds[0], "back", 4));
    NOTE(w, jd_close(fds[0]));
    NOTE(w, sum(buf, jd_read_full(fds[1], buf, 64)));
    NOTE(w, jd_close(fds[1]));
}

/* A message is there, if it was accepted, and no other. */
static void receive_when_shut(struct world *w, int fd)
{
    char buf[16];

    NOTE(w, jd_poll(fd, POLLIN | POLLRDHUP, 0));
    NOTE(w, sum(buf, jd_recv(fd, buf, 16, 0)));
    NOTE(w, jd_recv(fd, buf, 16, 0));
    NOTE(w, jd_recv(fd, buf, 16, MSG_DONTWAIT));
    NOTE(w, jd_read(fd, buf, 16));
    NOTE(w, jd_poll(fd, POLLIN | POLLRDHUP, 0));
}

static void use_datagram_pair(struct world *w)
{
    char buf[64];
    int fds[2];

    NOTE(w, w->pair(SOCK_DGRAM, fds));
    NOTE(w, jd_recv(fds[1], buf, 5, MSG_DONTWAIT));
    NOTE(w, jd_poll(fds[1], POLLIN | POLLOUT, 0));
    NOTE(w, jd_send(fds[0], "", 0, 0));
    NOTE(w, jd_send(fds[0], "one two", 7, 0));
    NOTE(w, jd_write(fds[0], "three", 5));
    NOTE(w, jd_poll(fds[1], POLLIN, 0));
    NOTE(w, jd_recv(fds[1], buf, 64, 0));
    NOTE(w, sum(buf, jd_recv(fds[1], buf, 3, MSG_PEEK)));
    NOTE(w, jd_recv(fds[1], buf, 3, MSG_PEEK | MSG_TRUNC));
    NOTE(w, sum(buf, jd_recv(fds[1], buf, 3, 0)));
    NOTE(w, sum(buf, jd_read(fds[1], buf, 64)));
    NOTE(w, jd_accept(fds[0], NULL, NULL, 0));
    NOTE(w, jd_send(fds[0], "last", 4, 0));
    NOTE(w, jd_shutdown(fds[1], SHUT_RD));
    NOTE(w, jd_send(fds[0], "x", 1, 0));
    receive_when_shut(w, fds[1]);
    NOTE(w, jd_close(fds[1]));
    NOTE(w, jd_send(fds[0], "x", 1, 0));
    NOTE(w, jd_send(fds[0], "x", 1, 0));
    NOTE(w, jd_close(fds[0]));
}

static int connect_to(int fd, int other)
{
    char name[64];
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int error = jd_local_address(other, name, sizeof(name));

    to.sin_port = htons((uint16_t)atoi(strchr(name, ':') + 1));
    return error < 0 ? error : jd_connect(fd, (struct sockaddr *)&to, sizeof(to));
}

static void use_udp(struct world *w)
{
    static char big[66000];
    char buf[64];
    int a = w->datagram("127.0.0.1:0"), b = w->datagram("127.0.0.1:0");
    int c = w->datagram("127.0.0.1:0"), d = w->datagram("127.0.0.1:0");

    NOTE(w, jd_send(a, "x", 1, 0));
    NOTE(w, jd_peer_address(a, buf, sizeof(buf)));
    NOTE(w, jd_shutdown(d, SHUT_RDWR));
    NOTE(w, jd_poll(d, POLLIN | POLLOUT, 0));
    NOTE(w, connect_to(d, b));
    NOTE(w, jd_send(d, "x", 1, 0));
    NOTE(w, jd_close(d));
    NOTE(w, jd_accept(a, NULL, NULL, 0));
    NOTE(w, jd_poll(a, POLLIN | POLLOUT, 0));
    NOTE(w, connect_to(a, b));
    NOTE(w, connect_to(c, b));
    NOTE(w, jd_send(a, big, sizeof(big), 0));
    NOTE(w, jd_send(a, "", 0, 0));
    NOTE(w, jd_send(a, "one two", 7, 0));
    NOTE(w, jd_send(c, "three", 5, 0));
    NOTE(w, jd_poll(b, POLLIN, JD_SEC(1)));
    NOTE(w, jd_recv(b, buf, 64, 0));
    NOTE(w, jd_recv(b, buf, 3, MSG_PEEK | MSG_TRUNC));
    NOTE(w, sum(buf, jd_recv(b, buf, 3, 0)));
    NOTE(w, sum(buf, jd_read(b, buf, 64)));
    NOTE(w, connect_to(b, a));
    NOTE(w, jd_send(c, "no", 2, 0)); /* b hears a alone now */
    NOTE(w, jd_poll(c, POLLIN, JD_SEC(1)));
    NOTE(w, jd_recv(c, buf, 64, 0));
    NOTE(w, jd_send(a, "yes", 3, 0));
    NOTE(w, sum(buf, jd_recv(b, buf, 64, 0)));
    NOTE(w, jd_send(a, "last", 4, 0));
    NOTE(w, jd_poll(b, POLLIN, JD_SEC(1)));
    NOTE(w, jd_shutdown(b, SHUT_RD));
    receive_when_shut(w, b);
    NOTE(w, jd_send(a, "one more", 8, 0));
    receive_when_shut(w, b);
    NOTE(w, jd_shutdown(b, SHUT_WR));
    NOTE(w, jd_send(b, "x", 1, 0));
    NOTE(w, jd_close(b));
    NOTE(w, jd_send(a, "x", 1, 0));
    NOTE(w, jd_poll(a, POLLOUT, JD_SEC(1)) & POLLERR);
    NOTE(w, jd_send(a, "x", 1, 0));
    NOTE(w, jd_close(a));
    NOTE(w, jd_close(c));
}

static jd_result accept_one(void *arg)
{
    return jd_ok_num(jd_accept(*(int *)arg, NULL, NULL, SOCK_CLOEXEC));
}

static void use_listener(struct world *w, const char *address)
{
    char name[64];
    int fd = jd_listen(address, 0, 0), caller, served;
    jd_task *t;

    NOTE(w, fd < 0);
    NOTE(w, jd_local_address(fd, name, sizeof(name)));
    NOTE(w, jd_shutdown(fd, SHUT_WR));
    NOTE(w, jd_poll(fd, POLLIN | POLLRDHUP, 0));
    caller = jd_dial(name);
    NOTE(w, caller < 0);
    served = jd_accept(fd, NULL, NULL, SOCK_CLOEXEC);
    NOTE(w, served < 0);
    NOTE(w, jd_close(served));
    NOTE(w, jd_close(caller));
    t = jd_spawn(accept_one, &fd);
    NOTE(w, jd_sleep(JD_MS(1)));
    NOTE(w, jd_shutdown(fd, SHUT_RD));
    NOTE(w, jd_join(t).num);
    NOTE(w, jd_accept(fd, NULL, NULL, 0));
    NOTE(w, jd_poll(fd, POLLIN | POLLRDHUP, 0));
    NOTE(w, jd_dial(name));
    NOTE(w, jd_close(fd));
}

/* Somebody is in the backlog. */
static void use_full_listener(struct world *w, const char *address)
{
    char name[64];
    int fd = jd_listen(address, 0, 0), caller, served;

    NOTE(w, jd_local_address(fd, name, sizeof(name)));
    caller = jd_dial(name);
    NOTE(w, caller < 0);
    NOTE(w, jd_shutdown(fd, SHUT_RDWR));
    served = jd_accept(fd, NULL, NULL, SOCK_CLOEXEC);
    NOTE(w, served < 0 ? served : 0);
    NOTE(w, served < 0 ? jd_recv(caller, name, 1, 0) : jd_send(served, "x", 1, 0));
    NOTE(w, served < 0 ? 0 : jd_close(served));
    NOTE(w, jd_close(caller));
    NOTE(w, jd_close(fd));
}

static void use_files(struct world *w)
{
    char buf[64];
    int a, b;

    NOTE(w, w->open("none", O_RDONLY));
    a = w->open("a", O_WRONLY | O_CREAT);
    b = w->open("a", O_RDONLY);
    NOTE(w, w->open("a", O_RDWR | O_CREAT | O_EXCL));
    use_no_socket(w, a);
    NOTE(w, jd_read(a, buf, 1));
    NOTE(w, jd_read(a, buf, 0));
    NOTE(w, jd_write(b, buf, 1));
    NOTE(w, jd_poll(b, POLLIN | POLLOUT, 0));
    NOTE(w, jd_read(b, buf, 1));
    NOTE(w, jd_write(a, "hello", 5));
    NOTE(w, sum(buf, jd_read(b, buf, 2)));
    NOTE(w, jd_close(a));
    a = w->open("a", O_WRONLY | O_APPEND);
    NOTE(w, jd_write_all(a, ", you", 5));
    NOTE(w, sum(buf, jd_read_full(b, buf, 64)));
    NOTE(w, jd_close(a));
    a = w->open("a", O_RDWR);
    NOTE(w, jd_write(a, "J", 1));
    NOTE(w, sum(buf, jd_read_full(a, buf, 64)));
    NOTE(w, jd_close(a));
    a = w->open("a", O_WRONLY | O_TRUNC);
    NOTE(w, jd_write(a, "x", 1));
    NOTE(w, jd_read(b, buf, 1));
    NOTE(w, jd_close(a));
    NOTE(w, jd_close(b));
    NOTE(w, jd_close(b));
}

static jd_result use_all(void *arg)
{
    struct world *w = arg;

    w->count = 0;
    use_pipe(w);
    use_stream_pair(w);
    use_datagram_pair(w);
    use_udp(w);
    use_listener(w, "127.0.0.1:0");
    use_listener(w, "unix:@jackdaw-like-kernel");
    use_full_listener(w, "127.0.0.1:0");
    use_full_listener(w, "unix:@jackdaw-like-kernel");
    use_files(w);
    return jd_ok(NULL);
}

/* --- The kernel's world -------------------------------------------------------------------------- */

static int folder = -1;

static int kernel_pipe(int fds[2])
{
    return pipe2(fds, O_CLOEXEC) == 0 ? 0 : -errno;
}

static int kernel_pair(int type, int fds[2])
{
    return socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds) == 0 ? 0 : -errno;
}

static int kernel_datagram(const char *address)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    (void)address; /* "127.0.0.1:0" */
    cr_assert_geq(fd, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    return fd;
}

static int kernel_open(const char *name, int flags)
{
    int fd = openat(folder, name, flags | O_CLOEXEC, 0600);

    return fd >= 0 ? fd : -errno;
}

static void run_for_real(struct world *w, unsigned reactor)
{
    char path[] = "/tmp/jackdaw-like-XXXXXX";
    jd_config cfg = JD_CONFIG_INIT;

    cr_assert_not_null(mkdtemp(path));
    folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    cr_assert_geq(folder, 0);
    cfg.workers = 1;
    cfg.reactor = reactor;
    cr_assert_eq(jd_run(use_all, w, &cfg).error, 0);
    cr_assert_eq(unlinkat(folder, "a", 0), 0);
    close(folder);
    cr_assert_eq(rmdir(path), 0);
}

static void compare(const struct world *real, const struct world *simulated, const char *what)
{
    cr_assert_eq(real->count, simulated->count);
    for (unsigned i = 0; i < real->count; i++) {
        cr_expect_eq(real->notes[i].value, simulated->notes[i].value,
                     "line %d: %ld on %s, %ld simulated", real->notes[i].line, real->notes[i].value,
                     what, simulated->notes[i].value);
    }
}

Test(sim_like_kernel, every_call_has_the_same_result, .timeout = 30)
{
    struct world real = { kernel_pipe, kernel_pair, kernel_datagram, kernel_open, 0, { { 0 } } };
    struct world simulated = { jd_sim_pipe, jd_sim_socketpair, jd_sim_datagram, jd_sim_open,
                               0,           { { 0 } } };

    for_each_seed(seed, 20)
        cr_assert_eq(jd_sim_run(seed, use_all, &simulated, NULL).error, 0);
    run_for_real(&real, JD_REACTOR_AUTO);
    compare(&real, &simulated, "the default port");
    run_for_real(&real, JD_REACTOR_EPOLL);
    compare(&real, &simulated, "epoll");
}
