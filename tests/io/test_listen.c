/* SPDX-License-Identifier: MIT */
/*
 * Addresses as text: what jd_listen() takes, what jd_local_address() gives, and stale unix sockets.
 * None of it needs a task.
 */
#include "io_test.h"

#include <sys/stat.h>
#include <sys/un.h>

static void listens(const char *address, const char *prefix)
{
    char buf[64];
    int fd = jd_listen(address, 0, 0), again;

    cr_assert_geq(fd, 0, "%s: %s", address, jd_strerror(fd));
    cr_assert_eq(jd_local_address(fd, buf, sizeof(buf)), 0);
    cr_assert_eq(strncmp(buf, prefix, strlen(prefix)), 0, "%s gives %s", address, buf);
    cr_assert_neq(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
    cr_assert_neq(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
    again = jd_listen(buf, 0, 0);
    cr_assert_eq(again, -EADDRINUSE, "%s: %d", buf, again);
    cr_assert_eq(close(fd), 0);
    again = jd_listen(buf, 5, 0); /* what was printed can be read */
    cr_assert_geq(again, 0, "%s: %s", buf, jd_strerror(again));
    cr_assert_eq(close(again), 0);
}

Test(listen, takes_numeric_addresses_and_prints_them_the_same_way)
{
    listens("127.0.0.1:0", "127.0.0.1:");
    listens("0.0.0.0:0", "0.0.0.0:");
    listens("[::1]:0", "[::1]:");
    listens("[0:0::0001]:0", "[::1]:");
    listens(":0", "[::]:");
    listens("unix:@jd-test-abstract", "unix:@jd-test-abstract");
}

Test(listen, refuses_what_is_no_address)
{
    static const char *const bad[] = { "",
                                       ":",
                                       "80",
                                       "127.0.0.1",
                                       "127.0.0.1:",
                                       "127.0.0.1:-1",
                                       "127.0.0.1:65536",
                                       "127.0.0.1: 80",
                                       "127.0.0.1:80 ",
                                       "127.0.0.1:0x50",
                                       "127.0.0.1:000080",
                                       "127.1:80",
                                       "010.0.0.1:80",
                                       "256.0.0.1:80",
                                       "::1:80",
                                       "[::1]",
                                       "[::1]:",
                                       "[::1:80",
                                       "[]:80",
                                       "[127.0.0.1]:80",
                                       "[::1%]:80",
                                       "[fe80::1%no-such-interface]:80",
                                       "localhost:80",
                                       "*:80",
                                       "unix:",
                                       "unix:@",
                                       "http://127.0.0.1:80",
                                       " 127.0.0.1:80",
                                       "127.0.0.1:99999999999999999999" };
    char longer[512];

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        cr_assert_eq(jd_listen(bad[i], 0, 0), -EINVAL, "'%s'", bad[i]);
    memset(longer, 'x', sizeof(longer));
    memcpy(longer, "unix:", 5);
    longer[511] = '\0';
    cr_assert_eq(jd_listen(longer, 0, 0), -EINVAL);
    longer[400] = ':';
    cr_assert_eq(jd_listen(longer + 5, 0, 0), -EINVAL);
    cr_assert_eq(jd_listen(NULL, 0, 0), -EINVAL);
    cr_assert_eq(jd_listen("127.0.0.1:0", 0, 1), -EINVAL);
    cr_assert_eq(jd_listen("192.0.2.1:0", 0, 0), -EADDRNOTAVAIL); /* not ours */
}

Test(listen, on_all_interfaces_takes_both_families)
{
    char address[64], text[80];
    const char *port;
    struct sockaddr_in in = { .sin_family = AF_INET };
    int fd = jd_listen(":0", 0, 0), client;

    cr_assert_eq(jd_local_address(fd, address, sizeof(address)), 0);
    port = strrchr(address, ':');
    in.sin_port = htons((uint16_t)atoi(port + 1));
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    client = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(connect(client, (struct sockaddr *)&in, sizeof(in)), 0);
    cr_assert_eq(jd_peer_address(client, address, sizeof(address)), 0);
    snprintf(text, sizeof(text), "127.0.0.1:%d", ntohs(in.sin_port));
    cr_assert_str_eq(address, text);
    cr_assert_eq(close(client), 0);
    cr_assert_eq(close(fd), 0);
}

Test(listen, says_when_the_text_does_not_fit_or_there_is_none)
{
    char buf[64] = "old";
    int fd = jd_listen("127.0.0.1:0", 0, 0), pair[2];
    size_t need;

    cr_assert_eq(jd_local_address(fd, NULL, 5), -EINVAL);
    cr_assert_eq(jd_local_address(fd, buf, 0), -EINVAL);
    cr_assert_str_eq(buf, "old");
    cr_assert_eq(jd_local_address(fd, buf, 1), -ENOBUFS);
    cr_assert_str_eq(buf, "");
    cr_assert_eq(jd_local_address(fd, buf, sizeof(buf)), 0);
    need = strlen(buf) + 1;
    cr_assert_eq(jd_local_address(fd, buf, need - 1), -ENOBUFS);
    cr_assert_eq(jd_local_address(fd, buf, need), 0);
    cr_assert_eq(jd_peer_address(fd, buf, sizeof(buf)), -ENOTCONN);
    cr_assert_str_eq(buf, "");
    cr_assert_eq(close(fd), 0);
    errno = 77;
    cr_assert_eq(jd_local_address(fd, buf, sizeof(buf)), -EBADF);
    cr_assert_eq(errno, 77);
    socket_pair(pair);
    cr_assert_eq(jd_peer_address(pair[0], buf, sizeof(buf)), 0);
    cr_assert_str_eq(buf, "unix:"); /* it has no name */
    cr_assert_eq(close(pair[0]), 0);
    cr_assert_eq(close(pair[1]), 0);
    fd = open("/dev/null", O_RDONLY);
    cr_assert_eq(jd_local_address(fd, buf, sizeof(buf)), -ENOTSOCK);
    cr_assert_eq(close(fd), 0);
}

/* A unix socket of this name, of so many bytes; closed by the caller. */
static int bound(const char *name, size_t bytes)
{
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    memcpy(un.sun_path, name, bytes);
    cr_assert_eq(bind(fd, (struct sockaddr *)&un,
                      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + bytes)),
                 0);
    return fd;
}

Test(listen, a_name_has_a_text_only_if_that_is_read_as_the_same_name)
{
    char address[128] = "unix:@", buf[128];
    int fd;

    memset(address + 6, 'x', 107); /* the longest there is */
    fd = jd_listen(address, 0, 0);
    cr_assert_geq(fd, 0, "%s", jd_strerror(fd));
    cr_assert_eq(jd_local_address(fd, buf, sizeof(buf)), 0);
    cr_assert_str_eq(buf, address);
    cr_assert_eq(close(fd), 0);
    address[113] = 'x';
    cr_assert_eq(jd_listen(address, 0, 0), -EINVAL);
    fd = bound("\0jd\0test", 8);
    cr_assert_eq(jd_local_address(fd, buf, sizeof(buf)), -EAFNOSUPPORT);
    cr_assert_str_eq(buf, "");
    cr_assert_eq(close(fd), 0);
}

Test(listen, replaces_a_stale_unix_socket_but_no_living_one_and_no_other_file)
{
    char dir[] = "/tmp/jd-test-XXXXXX", address[64], buf[64];
    const char *path = address + 5;
    struct stat st;
    int fd, file;

    cr_assert_not_null(mkdtemp(dir));
    snprintf(address, sizeof(address), "unix:%s/s", dir);
    fd = jd_listen(address, 0, 0);
    cr_assert_geq(fd, 0);
    cr_assert_eq(jd_local_address(fd, buf, sizeof(buf)), 0);
    cr_assert_str_eq(buf, address);
    cr_assert_eq(jd_listen(address, 0, 0), -EADDRINUSE);
    cr_assert_eq(close(fd), 0); /* the file stays */
    cr_assert_eq(stat(path, &st), 0);
    fd = jd_listen(address, 0, 0);
    cr_assert_geq(fd, 0, "%s", jd_strerror(fd));
    cr_assert_eq(close(fd), 0);
    cr_assert_eq(unlink(path), 0);
    file = open(path, O_CREAT | O_WRONLY, 0600);
    cr_assert_eq(jd_listen(address, 0, 0), -EADDRINUSE);
    cr_assert_eq(stat(path, &st), 0);
    cr_assert_eq(close(file), 0);
    cr_assert_eq(unlink(path), 0);
    snprintf(address, sizeof(address), "unix:%s/none/s", dir);
    cr_assert_eq(jd_listen(address, 0, 0), -ENOENT);
    cr_assert_eq(rmdir(dir), 0);
}
