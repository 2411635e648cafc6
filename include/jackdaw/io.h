/* SPDX-License-Identifier: MIT */
#ifndef JD_IO_H
#define JD_IO_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h> /* socklen_t */
#include <sys/types.h>  /* ssize_t */

#include <jackdaw/export.h>
#include <jackdaw/time.h>

JD_BEGIN_DECLS

/**
 * @file
 * System calls that suspend the task instead of blocking the thread.
 *
 * POSIX names, parameters and order; errors are the negative errno of the call of that name, and
 * these: -ECANCELED the caller is cancelled and nothing happened; -EBADF the descriptor was closed
 * by jd_close() meanwhile; -EPERM the caller is not a task; -EINVAL a NULL that must not be. A
 * transfer that took place wins over a cancel. Descriptors may be blocking or not; the library does
 * not change what others see of them. A buffer lent to a call is the caller's again when it
 * returns, cancelled or not. SIGPIPE is never raised on a socket.
 */

/**
 * Read up to @p len bytes; returns as soon as at least one is there.
 *
 * @param fd   Open descriptor.
 * @param buf  Destination; lent until this returns.
 * @param len  Bytes.
 *
 * @retval >0  Bytes read.
 * @retval 0   End of file.
 * @return     Else a negative errno: as read(2), and those of this file.
 *
 * @suspends Yes, when nothing is there.  @threads Tasks only.
 * @cancel   Cancellation point; -ECANCELED: no byte was taken.
 * @memory   None.  @cost One system call, or one entry of a batched submission.  @since 0.1
 */
JD_API JD_SUSPENDS ssize_t jd_read(int fd, void *buf, size_t len);

/**
 * Write up to @p len bytes; may write fewer: jd_write_all() goes on.
 *
 * @param fd   Open descriptor.
 * @param buf  Source; lent until this returns.
 * @param len  Bytes.
 * @return     Bytes written, or a negative errno: as write(2), and those of this file.
 *
 * @suspends Yes, when there is no room.  @threads Tasks only.
 * @cancel   Cancellation point; -ECANCELED: no byte was written.
 * @memory   None.  @cost One system call, or one entry of a batched submission.  @since 0.1
 */
JD_API JD_SUSPENDS ssize_t jd_write(int fd, const void *buf, size_t len);

/**
 * Receive up to @p len bytes from a socket.
 *
 * @param fd     Socket.
 * @param buf    Destination; lent until this returns.
 * @param len    Bytes.
 * @param flags  As recv(2); with MSG_DONTWAIT or MSG_ERRQUEUE it does not suspend.
 *
 * @retval >0  Bytes received.
 * @retval 0   The peer has shut down, or an empty datagram; or this side was shut for reading,
 *             before or during the wait, and nothing is left. (UDP sockets that are shut go on
 *             taking datagrams; with MSG_DONTWAIT an empty datagram socket answers -EAGAIN, shut or
 *             not. So does recv(2).)
 * @return     Else a negative errno: as recv(2), and those of this file.
 *
 * @suspends Yes, when nothing is there.  @threads Tasks only.
 * @cancel   Cancellation point; -ECANCELED: no byte was taken.
 * @memory   None.  @cost As jd_read().  @since 0.1
 */
JD_API JD_SUSPENDS ssize_t jd_recv(int fd, void *buf, size_t len, int flags);

/**
 * Send up to @p len bytes on a socket; may send fewer: jd_send_all() goes on.
 *
 * @param fd     Socket.
 * @param buf    Source; lent until this returns.
 * @param len    Bytes.
 * @param flags  As send(2); with MSG_DONTWAIT it does not suspend. MSG_NOSIGNAL is implied.
 * @return       Bytes sent, or a negative errno: as send(2), and those of this file.
 *
 * @suspends Yes, when there is no room.  @threads Tasks only.
 * @cancel   Cancellation point; -ECANCELED: no byte was sent.
 * @memory   None.  @cost As jd_write().  @since 0.1
 */
JD_API JD_SUSPENDS ssize_t jd_send(int fd, const void *buf, size_t len, int flags);

/**
 * Accept one connection.
 *
 * @param fd       Listening socket.
 * @param addr     Receives the peer's address; may be NULL.
 * @param addrlen  In: room at @p addr in bytes; out: length of the address. NULL with NULL.
 * @param flags    As accept4(2): SOCK_CLOEXEC, SOCK_NONBLOCK.
 * @return         The new descriptor, the caller's to close; or a negative errno: as accept4(2),
 *                 and those of this file.
 *
 * @suspends Yes, when nobody connects.  @threads Tasks only; several may accept on one socket.
 * @cancel   Cancellation point; -ECANCELED: no connection was taken.
 * @memory   None.  @cost As jd_read().  @since 0.1
 */
JD_API JD_SUSPENDS int jd_accept(int fd, struct sockaddr *addr, socklen_t *addrlen, int flags);

/**
 * Connect a socket and wait until it is connected.
 *
 * @param fd       Socket.
 * @param addr     Address.
 * @param addrlen  Its length in bytes.
 *
 * @retval 0  Connected.
 * @return    Else a negative errno: as connect(2), and those of this file.
 *
 * @suspends Yes.  @threads Tasks only.
 * @cancel   Cancellation point; -ECANCELED: not connected. The attempt may go on in the kernel:
 *           close the socket.
 * @memory   None.  @cost As jd_read().  @since 0.1
 */
JD_API JD_SUSPENDS int jd_connect(int fd, const struct sockaddr *addr, socklen_t addrlen);

/**
 * Shut down one or both directions of a socket.
 *
 * @param fd   Socket.
 * @param how  SHUT_RD, SHUT_WR or SHUT_RDWR.
 *
 * @retval 0  Done.
 * @return    Else a negative errno: as shutdown(2), and those of this file.
 *
 * @suspends Perhaps.  @threads Tasks only.  @cancel Cancellation point.
 * @memory   None.  @cost One system call.  @since 0.1
 */
JD_API JD_SUSPENDS int jd_shutdown(int fd, int how);

/**
 * Wait until a descriptor is ready.
 *
 * @param fd       Descriptor that poll(2) supports.
 * @param events   POLLIN, POLLOUT, ... of poll(2).
 * @param timeout  Nanoseconds; 0 looks, JD_FOREVER waits without limit.
 *
 * @retval >0          The events that hold, POLLERR, POLLHUP and POLLNVAL included.
 * @retval -ETIMEDOUT  None held in time.
 * @return             Else those of this file.
 *
 * @suspends Yes, when not ready.  @threads Tasks only.  @cancel Cancellation point.
 * @memory   None.  @cost As jd_read().  @since 0.1
 */
JD_API JD_SUSPENDS int jd_poll(int fd, short events, int64_t timeout);

/**
 * Close a descriptor after ending what waits on it: those calls return -EBADF, so that none of them
 * can hit a new file with the same number.
 *
 * @param fd  Descriptor; gone afterwards, whatever is returned, except for -EPERM.
 *
 * @retval 0       Closed.
 * @retval -EBADF  Not open.
 * @retval -EPERM  The caller is not a task; the descriptor stays open. Elsewhere close(2) does.
 * @return         Else a negative errno, as close(2).
 *
 * @suspends Yes, until the others have let go.  @threads Tasks only.
 * @cancel   No cancellation point: closes in a cancelled scope too.
 * @memory   None.  @cost One system call when nobody waits.  @since 0.1
 */
JD_API JD_SUSPENDS int jd_close(int fd);

/**
 * Write all of a buffer.
 *
 * @param fd   Open descriptor.
 * @param buf  Source; lent until this returns.
 * @param len  Bytes; 0 returns 0.
 *
 * @retval 0  All written.
 * @return    Else as jd_write(), -ECANCELED included; some bytes may have been written: who must
 *            know how many calls jd_write_all_count().
 *
 * @suspends Yes, when there is no room.  @threads Tasks only.  @cancel Cancellation point.
 * @memory   None.  @cost One jd_write() per piece.  @since 0.1
 */
JD_API JD_SUSPENDS int jd_write_all(int fd, const void *buf, size_t len);

/**
 * Write all of a buffer, and say how far it got.
 *
 * @param fd        Open descriptor.
 * @param buf       Source; lent until this returns.
 * @param len       Bytes.
 * @param ret_done  Receives the bytes written, on success and on errors; may be NULL.
 * @return          As jd_write_all().
 *
 * @suspends Yes, when there is no room.  @threads Tasks only.  @cancel Cancellation point.
 * @memory   None.  @cost One jd_write() per piece.  @since 0.1
 */
JD_API JD_SUSPENDS int jd_write_all_count(int fd, const void *buf, size_t len, size_t *ret_done);

/**
 * Send all of a buffer on a stream socket, without SIGPIPE.
 *
 * @param fd   Socket.
 * @param buf  Source; lent until this returns.
 * @param len  Bytes; 0 returns 0.
 *
 * @retval 0  All sent.
 * @return    Else as jd_send(), -ECANCELED included; some bytes may have been sent.
 *
 * @suspends Yes, when there is no room.  @threads Tasks only.  @cancel Cancellation point.
 * @memory   None.  @cost One jd_send() per piece.  @since 0.1
 */
JD_API JD_SUSPENDS int jd_send_all(int fd, const void *buf, size_t len);

/**
 * Read until a buffer is full or the file ends.
 *
 * @param fd   Open descriptor.
 * @param buf  Destination; lent until this returns.
 * @param len  Bytes.
 *
 * @retval >=0  Bytes read; fewer than @p len only at end of file.
 * @return      Else as jd_read(), -ECANCELED included; bytes read before are in @p buf, and how
 *              many is not told: use jd_read() where it matters.
 *
 * @suspends Yes, when nothing is there.  @threads Tasks only.  @cancel Cancellation point.
 * @memory   None.  @cost One jd_read() per piece.  @since 0.1
 */
JD_API JD_SUSPENDS ssize_t jd_read_full(int fd, void *buf, size_t len);

JD_END_DECLS
#endif /* JD_IO_H */
