/* SPDX-License-Identifier: MIT */
/*
 * Listening sockets and the names of sockets. Nothing here suspends; any thread may call it.
 *
 * A unix socket's file stays when its server has gone. Such a stale file is replaced: after an
 * EADDRINUSE we connect to it, and only a refused connection, which says that nobody listens,
 * removes it. A file that is no socket is never touched.
 */
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <jackdaw/net.h>

#include "io/address.h"
#include "io/sys.h"

#define SOCKET_TYPE (SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC)

static bool is_stale(struct address *a)
{
    const char *path = ((struct sockaddr_un *)(void *)&a->storage)->sun_path;
    int fd, error;

    if (path[0] == '\0' || !sys_is_socket_file(path))
        return false;
    fd = sys_socket(AF_UNIX, SOCKET_TYPE, 0);
    if (fd < 0)
        return false;
    error = sys_connect(fd, address_sockaddr(a), a->len);
    (void)sys_close(fd);
    return error == -ECONNREFUSED;
}

static int bind_replacing_stale(int fd, struct address *a)
{
    int error = sys_bind(fd, address_sockaddr(a), a->len);

    if (error != -EADDRINUSE || !address_is_unix(a) || !is_stale(a))
        return error;
    error = sys_unlink(((struct sockaddr_un *)(void *)&a->storage)->sun_path);
    if (error < 0 && error != -ENOENT)
        return -EADDRINUSE;
    return sys_bind(fd, address_sockaddr(a), a->len);
}

/* `both`: IPv4 clients, too, on an IPv6 socket, whatever the system's default is. */
static int set_up(int fd, struct address *a, int backlog, bool both)
{
    int error = 0;

    if (!address_is_unix(a))
        error = sys_set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (error == 0 && both)
        error = sys_set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
    if (error == 0)
        error = bind_replacing_stale(fd, a);
    if (error == 0)
        error = sys_listen(fd, backlog == 0 ? INT_MAX : backlog); /* the kernel cuts it */
    return error;
}

static int listen_on(struct address *a, int backlog, bool both)
{
    int fd = sys_socket(a->storage.ss_family, SOCKET_TYPE, 0);
    int error;

    if (fd < 0)
        return fd;
    error = set_up(fd, a, backlog, both);
    if (error < 0) {
        (void)sys_close(fd);
        return error;
    }
    return fd;
}

static int listen_on_all(uint16_t port, int backlog)
{
    struct address a;
    int fd;

    address_set_any6(&a, port);
    fd = listen_on(&a, backlog, true);
    if (fd != -EAFNOSUPPORT && fd != -EADDRNOTAVAIL)
        return fd;
    address_set_any4(&a, port); /* a system without IPv6 */
    return listen_on(&a, backlog, false);
}

int jd_listen(const char *address, int backlog, unsigned flags)
{
    struct address a;
    uint16_t port;
    int error;

    if (!address || flags != 0)
        return -EINVAL;
    if (address_parse_port_only(address, &port))
        return listen_on_all(port, backlog);
    error = address_parse(address, &a);
    return error < 0 ? error : listen_on(&a, backlog, false);
}

static int name_of(int fd, int (*name)(int, struct sockaddr *, socklen_t *), char *buf, size_t len)
{
    struct address a = { .len = sizeof(a.storage) };
    int error;

    if (!buf || len == 0)
        return -EINVAL;
    buf[0] = '\0';
    error = name(fd, address_sockaddr(&a), &a.len);
    return error < 0 ? error : address_format(&a, buf, len);
}

int jd_local_address(int fd, char *buf, size_t len)
{
    return name_of(fd, sys_local_name, buf, len);
}

int jd_peer_address(int fd, char *buf, size_t len)
{
    return name_of(fd, sys_peer_name, buf, len);
}
