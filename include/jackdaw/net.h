/* SPDX-License-Identifier: MIT */
#ifndef JD_NET_H
#define JD_NET_H

#include <stddef.h>
#include <stdint.h>

#include <jackdaw/export.h>
#include <jackdaw/io.h>
#include <jackdaw/time.h>
#include <jackdaw/types.h>

JD_BEGIN_DECLS

/**
 * @file
 * Addresses as text, listening, connecting, and a server loop. Sockets are plain descriptors,
 * created non-blocking and close-on-exec; the calls on them are in io.h.
 */

/**
 * A listening socket.
 *
 * @param address  "127.0.0.1:8080", "[::1]:0" (0 = any free port, see jd_local_address()), ":8080"
 *                 (all interfaces), "unix:/run/x.sock" (a stale socket file is replaced). No names.
 * @param backlog  As listen(2); 0 = the system's maximum.
 * @param flags    0; others are reserved.
 * @return         A descriptor, the caller's to close; or -EINVAL for text it cannot read; else a
 *                 negative errno: as socket(2), bind(2), listen(2).
 *
 * @suspends No.  @threads Any.  @cancel No.
 * @memory   None.  @cost A few system calls.  @since 0.1
 */
JD_API int jd_listen(const char *address, int backlog, unsigned flags);

/**
 * The local address of a socket as text: "127.0.0.1:43211", "[::1]:80", "unix:/run/x.sock".
 *
 * @param fd   Socket.
 * @param buf  Receives the text, always terminated when @p len > 0.
 * @param len  Room in bytes.
 *
 * @retval 0        @p buf holds the text, which jd_dial() and jd_listen() can read.
 * @retval -ENOBUFS It does not fit; 64 bytes hold every address but long unix paths.
 * @retval -EAFNOSUPPORT It has no text: of another family, or a unix name that would be read as
 *                  another one (a path that begins with '@', an abstract name with a zero in it).
 * @retval -EINVAL  @p buf is NULL or @p len 0.
 * @return          Else a negative errno, as getsockname(2).
 *
 * @suspends No.  @threads Any.  @cancel No.
 * @memory   None.  @cost One system call.  @since 0.1
 */
JD_API int jd_local_address(int fd, char *buf, size_t len);

/**
 * The peer's address of a connected socket as text, as jd_local_address().
 *
 * @param fd   Socket.
 * @param buf  Receives the text, always terminated when @p len > 0.
 * @param len  Room in bytes.
 * @return     As jd_local_address(), with the errors of getpeername(2).
 *
 * @suspends No.  @threads Any.  @cancel No.
 * @memory   None.  @cost One system call.  @since 0.1
 */
JD_API int jd_peer_address(int fd, char *buf, size_t len);

/**
 * A connection to an address.
 *
 * @param address  "host:port" or "unix:path". A name is resolved off the workers; several addresses
 *                 are tried with staggered starts (Happy Eyeballs) and the first connection
 *                 is taken.
 * @return         A descriptor, the caller's to close; or -EINVAL for text it cannot read,
 *                 -ECANCELED, -EPERM; else the negative errno of the first attempt that failed.
 *
 * @suspends Yes.  @threads Tasks only.
 * @cancel   Cancellation point; no descriptor is left open.
 * @memory   Temporary, for names.  @cost Resolving, and one connection per attempt.  @since 0.1
 */
JD_API JD_SUSPENDS int jd_dial(const char *address);

/** Serves one connection, in a task of its own. */
typedef void (*jd_serve_fn)(int fd, void *arg);

#define JD_SERVE_KEEP_FD (1u << 0) /**< The handler closes the descriptor, not jd_serve(). */

/** How a server runs. A NULL pointer to them means JD_SERVE_OPTIONS_INIT. */
typedef struct jd_serve_options {
    size_t size;              /**< Set by JD_SERVE_OPTIONS_INIT. */
    unsigned connections_max; /**< Over it accepting stops; 0 = no bound. */
    int64_t grace;            /**< Nanoseconds handlers may go on after a cancel; 0 = 5 s. */
    unsigned flags;           /**< JD_SERVE_KEEP_FD. */
    int backlog_pause;        /**< Connections that must end before accepting goes on; 0 = 1. */
} jd_serve_options;

#define JD_SERVE_OPTIONS_INIT \
    { \
        sizeof(jd_serve_options), 0, 0, 0, 0 \
    }

/**
 * Accept connections and run a handler task for each, until the caller is cancelled. Then it stops
 * accepting; handlers are shielded from that cancel for o->grace, then cancelled; all are joined.
 *
 * It alone closes connection descriptors, after the handler returned (unless JD_SERVE_KEEP_FD), and
 * leaves the listening one open. When the process runs out of descriptors it backs off.
 *
 * @param listen_fd  Listening socket; stays the caller's.
 * @param handler    Runs in a task of its own.
 * @param arg        Passed to @p handler; must live until this returns.
 * @param o          Options, copied; NULL = no bound, grace 5 s.
 *
 * @retval -ECANCELED  The caller was cancelled, and everything has ended.
 * @retval -EINVAL     NULL handler, size 0, unknown flags.
 * @retval -E2BIG      Options of a later version set what this one does not know.
 * @retval -EPERM      The caller is not a task.
 * @return             Else the negative errno that made accepting impossible, after all handlers
 *                     ended.
 *
 * @suspends Yes.  @threads Tasks only.
 * @cancel   Ends it, in order; it always waits for the handlers.
 * @memory   One task per connection.  @cost As jd_accept() and jd_group_spawn().  @since 0.1
 */
JD_API JD_SUSPENDS int jd_serve(int listen_fd, jd_serve_fn handler, void *arg,
                                const jd_serve_options *o);

/**
 * In a handler: a future that is done when its server has stopped accepting, so that the handler
 * can finish the request at hand and leave.
 *
 * @return  Borrowed, valid until the handler returns; NULL outside a handler.
 *
 * @suspends No.  @threads A handler's task; NULL elsewhere.  @cancel No.
 * @memory   None.  @cost One load.  @since 0.1
 */
JD_API jd_future *jd_serve_draining(void);

JD_END_DECLS
#endif /* JD_NET_H */
