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
 *                 (all interfaces), "unix:/run/x.sock" (a stale socket file is replaced),
 *                 "unix:@name" (abstract: no file). No names of hosts.
 * @param backlog  As listen(2); 0 = the system's maximum.
 * @param flags    0; others are reserved.
 * @return         A descriptor, the caller's to close; or -EINVAL for text it cannot read, or a unix
 *                 name of more than 108 bytes; else a negative errno: as socket(2), bind(2),
 *                 listen(2).
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
 * @param address  "host:port", "unix:path" or "unix:@abstract". A name is resolved off the workers;
 *                 of several addresses the next one is tried when an attempt has failed or taken
 *                 250 ms, and the first connection is taken (Happy Eyeballs).
 * @return         A descriptor, the caller's to close; or -EINVAL for text it cannot read, or a unix
 *                 name of more than 108 bytes; -ECANCELED, -EPERM, the errors of jd_resolve(); else
 *                 the negative errno of an attempt: of the first address that was met at all, like
 *                 -ECONNREFUSED, else of the first one, like -ENETUNREACH.
 *
 * @suspends Yes.  @threads Tasks only.
 * @cancel   Cancellation point; no descriptor is left open.
 * @memory   Temporary, for names.  @cost Resolving, and one connection per attempt.  @since 0.1
 */
JD_API JD_SUSPENDS int jd_dial(const char *address);

#define JD_DIAL_ATTEMPTS_MAX 8 /**< So many addresses of a name are tried; the best come first. */
#define JD_ADDRESS_BYTES 128   /**< Room for every address as text. */

/** One attempt of a dial. */
typedef struct jd_dial_attempt {
    int error; /**< 0: connected; -ECANCELED: ended, since another one was first, or by a cancel. */
    char address[JD_ADDRESS_BYTES]; /**< As jd_peer_address() has it. */
} jd_dial_attempt;

/** How to dial. A NULL pointer to them means JD_DIAL_OPTIONS_INIT. */
typedef struct jd_dial_options {
    size_t size;               /**< Set by JD_DIAL_OPTIONS_INIT. */
    int64_t stagger;           /**< Head start of an attempt, nanoseconds; 0 = 250 ms. */
    jd_dial_attempt *attempts; /**< Receives attempts in the order of their starts; may be NULL. */
    unsigned attempts_max;     /**< Room there. */
} jd_dial_options;

#define JD_DIAL_OPTIONS_INIT \
    { \
        sizeof(jd_dial_options), 0, NULL, 0 \
    }

/**
 * As jd_dial(), and tells what became of each address.
 *
 * @param address       As jd_dial().
 * @param o             Options, copied; NULL = jd_dial().
 * @param ret_attempts  Receives how many attempts there were, on errors too; o->attempts has the
 *                      first o->attempts_max of them. 0: it did not come to one. May be NULL.
 * @return              As jd_dial(); and -EINVAL for a size of 0, a negative stagger, or room without
 *                      memory, -E2BIG for options of a later version that this one does not know.
 *
 * @suspends Yes.  @threads Tasks only.
 * @cancel   Cancellation point; no descriptor is left open.
 * @memory   Temporary, for names.  @cost As jd_dial().  @since 0.1
 */
JD_API JD_SUSPENDS int jd_dial_with(const char *address, const jd_dial_options *o,
                                    unsigned *ret_attempts);

struct addrinfo; /* <netdb.h> */

/**
 * getaddrinfo(3) off the workers, on the runtime's pool for names (JD_EXECUTOR_DNS).
 *
 * @param host     Name or numbers; may be NULL, if @p service is not.
 * @param service  Name or port; may be NULL.
 * @param hints    Flags, family, socket type and protocol, copied; NULL = any.
 * @param ret      Receives the list on success, to be freed by freeaddrinfo(3).
 *
 * @retval 0              Resolved; the list is not empty.
 * @retval -ENXIO         There is no such host, or it has no such address.
 * @retval -EHOSTUNREACH  No name server has answered.
 * @retval -EINVAL        Both names NULL, @p ret NULL, or hints or a service that make no sense.
 * @retval -ENAMETOOLONG  @p host of more than 255 bytes, @p service of more than 31.
 * @retval -ENOMEM        Out of memory, or of threads.
 * @retval -ECANCELED     The caller was cancelled; the look-up may go on by itself.
 * @retval -EPERM         Not in a task.
 * @return                Else a negative errno of the system.
 *
 * @suspends Yes.  @threads Tasks only.
 * @cancel   Cancellation point; does not wait for the look-up.
 * @memory   A record, and what getaddrinfo() takes.  @cost A wake-up of a thread, and what the name
 * servers take.
 * @since    0.1
 */
JD_API JD_NODISCARD JD_SUSPENDS int jd_resolve(const char *host, const char *service,
                                               const struct addrinfo *hints, struct addrinfo **ret);

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
