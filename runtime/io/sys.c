/* SPDX-License-Identifier: MIT */
/*
 * See sys.h. All looks at errno of this layer are in the two functions below, which are not inlined:
 * a caller cannot keep the address of errno.
 */
#include "io/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/attr.h"
#include "sched/choice.h"

static const struct io_system *simulated; /* of the thread that simulates */

void sys_replace(const struct io_system *system)
{
    simulated = system;
}

JD_NOINLINE int sys_error_save(void)
{
    return errno; /* tidy: allow errno noinline, see above */
}

JD_NOINLINE int sys_error_take(int saved)
{
    int error = errno; /* tidy: allow errno noinline, see above */

    errno = saved; /* tidy: allow errno noinline, see above */
    return -error;
}

#define SYS_CALL(type, expression) \
    int saved = sys_error_save(); \
    type ret = (expression); \
    return ret < 0 ? sys_error_take(saved) : ret

JD_NOINLINE int sys_socket(int domain, int type, int protocol)
{
    if (choice_simulated())
        return simulated->socket(domain, type, protocol);
    SYS_CALL(int, socket(domain, type, protocol));
}

JD_NOINLINE int sys_set_option(int fd, int level, int name, int value)
{
    if (choice_simulated())
        return simulated->set_option(fd, level, name, value);
    SYS_CALL(int, setsockopt(fd, level, name, &value, sizeof(value)));
}

JD_NOINLINE int sys_bind(int fd, const struct sockaddr *addr, socklen_t len)
{
    if (choice_simulated())
        return simulated->bind(fd, addr, len);
    SYS_CALL(int, bind(fd, addr, len));
}

JD_NOINLINE int sys_listen(int fd, int backlog)
{
    if (choice_simulated())
        return simulated->listen(fd, backlog);
    SYS_CALL(int, listen(fd, backlog));
}

JD_NOINLINE int sys_connect(int fd, const struct sockaddr *addr, socklen_t len)
{
    if (choice_simulated())
        return simulated->connect(fd, addr, len);
    SYS_CALL(int, connect(fd, addr, len));
}

JD_NOINLINE int sys_local_name(int fd, struct sockaddr *addr, socklen_t *len)
{
    if (choice_simulated())
        return simulated->local_name(fd, addr, len);
    SYS_CALL(int, getsockname(fd, addr, len));
}

JD_NOINLINE int sys_peer_name(int fd, struct sockaddr *addr, socklen_t *len)
{
    if (choice_simulated())
        return simulated->peer_name(fd, addr, len);
    SYS_CALL(int, getpeername(fd, addr, len));
}

JD_NOINLINE int sys_shutdown(int fd, int how)
{
    if (choice_simulated())
        return simulated->shutdown(fd, how);
    SYS_CALL(int, shutdown(fd, how));
}

JD_NOINLINE int sys_close(int fd)
{
    if (choice_simulated())
        return simulated->close(fd);
    SYS_CALL(int, close(fd));
}

JD_NOINLINE int sys_unlink(const char *path)
{
    if (choice_simulated())
        return simulated->unlink(path);
    SYS_CALL(int, unlink(path));
}

JD_NOINLINE bool sys_is_socket_file(const char *path)
{
    struct stat st;
    int saved = sys_error_save();

    if (choice_simulated())
        return simulated->is_socket_file(path);
    if (lstat(path, &st) < 0) {
        (void)sys_error_take(saved);
        return false;
    }
    return S_ISSOCK(st.st_mode);
}

JD_NOINLINE ssize_t sys_recv(int fd, void *buf, size_t len, int flags)
{
    if (choice_simulated())
        return simulated->recv(fd, buf, len, flags);
    SYS_CALL(ssize_t, recv(fd, buf, len, flags | MSG_DONTWAIT));
}

JD_NOINLINE ssize_t sys_send(int fd, const void *buf, size_t len, int flags)
{
    if (choice_simulated())
        return simulated->send(fd, buf, len, flags);
    SYS_CALL(ssize_t, send(fd, buf, len, flags | MSG_DONTWAIT | MSG_NOSIGNAL));
}

JD_NOINLINE int sys_poll_now(int fd, short events)
{
    struct pollfd p = { .fd = fd, .events = events };
    int saved = sys_error_save();

    if (choice_simulated())
        return simulated->poll_now(fd, events);
    if (poll(&p, 1, 0) < 0)
        return sys_error_take(saved);
    return (unsigned short)p.revents;
}

JD_NOINLINE int sys_status_flags(int fd)
{
    if (choice_simulated())
        return simulated->status_flags(fd);
    SYS_CALL(int, fcntl(fd, F_GETFL));
}
