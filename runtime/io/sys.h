/* SPDX-License-Identifier: MIT */
#ifndef IO_SYS_H
#define IO_SYS_H

/*
 * System calls that never block, with their error in the return value: >= 0 or a negative errno.
 *
 * I1  errno is as before on return: the library promises its callers not to touch it.
 * I2  No function here suspends, and none is inlined into one that does: the address of errno
 *     belongs to a thread, and a task may leave its thread at any suspension.
 *
 * Threads: any.
 */
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/types.h>

int sys_socket(int domain, int type, int protocol);
int sys_set_option(int fd, int level, int name, int value);
int sys_bind(int fd, const struct sockaddr *addr, socklen_t len);
int sys_listen(int fd, int backlog);
int sys_connect(int fd, const struct sockaddr *addr, socklen_t len);
int sys_local_name(int fd, struct sockaddr *addr, socklen_t *len);
int sys_peer_name(int fd, struct sockaddr *addr, socklen_t *len);
int sys_shutdown(int fd, int how);
int sys_close(int fd);
int sys_unlink(const char *path);
bool sys_is_socket_file(const char *path);

/* With MSG_DONTWAIT added. */
ssize_t sys_recv(int fd, void *buf, size_t len, int flags);
ssize_t sys_send(int fd, const void *buf, size_t len, int flags); /* and MSG_NOSIGNAL */
int sys_poll_now(int fd, short events); /* the events that hold, 0 for none */
int sys_status_flags(int fd);           /* O_* */

/*
 * The same calls, simulated: every function above goes there while the calling thread simulates
 * (sched/choice.h). NULL: the kernel's again.
 */
struct io_system {
    int (*socket)(int domain, int type, int protocol);
    int (*set_option)(int fd, int level, int name, int value);
    int (*bind)(int fd, const struct sockaddr *addr, socklen_t len);
    int (*listen)(int fd, int backlog);
    int (*connect)(int fd, const struct sockaddr *addr, socklen_t len);
    int (*local_name)(int fd, struct sockaddr *addr, socklen_t *len);
    int (*peer_name)(int fd, struct sockaddr *addr, socklen_t *len);
    int (*shutdown)(int fd, int how);
    int (*close)(int fd);
    int (*unlink)(const char *path);
    bool (*is_socket_file)(const char *path);
    ssize_t (*recv)(int fd, void *buf, size_t len, int flags);
    ssize_t (*send)(int fd, const void *buf, size_t len, int flags);
    int (*poll_now)(int fd, short events);
    int (*status_flags)(int fd);
};

void sys_replace(const struct io_system *system);

/* The error that this thread's last failed call of the C library left; sets errno to `saved`. */
int sys_error_save(void);
int sys_error_take(int saved);

#endif /* IO_SYS_H */
