/* SPDX-License-Identifier: MIT */
#ifndef JD_CURL_H
#define JD_CURL_H

#include <stddef.h>
#include <stdint.h>

#include <jackdaw/export.h>
#include <jackdaw/time.h>

JD_BEGIN_DECLS

/**
 * @file
 * HTTP(S) requests by libcurl that suspend the task. A library of its own beside libjackdaw:
 * libjackdaw-curl, pkg-config name jackdaw-curl. Not part of <jackdaw/jackdaw.h>.
 *
 * Redirects, proxies, HTTPS, HTTP/2, cookies and reuse of connections are libcurl's. All transfers
 * of a runtime share one multi handle, and so one cache of connections and names; one task of the
 * library drives it while there are transfers, and none is left when there are none.
 *
 * Errors are negative errno, besides those of every S function: -EINVAL the URL is none;
 * -EPROTONOSUPPORT its scheme is unknown or refused; -ENXIO there is no such host; -ECONNREFUSED,
 * -ECONNRESET and others as the network calls; -ETIMEDOUT a timeout of libcurl or of the options;
 * -EMSGSIZE more than body_max or header_max; -ELOOP too many redirects; -EPROTO the answer is none
 * of the protocol; -EKEYREJECTED the peer's certificate was not accepted; -EIO any other.
 * An HTTP status is no error.
 */

#define JD_CURL_INSECURE (1u << 0)     /**< Accept any certificate. */
#define JD_CURL_DISCARD_BODY (1u << 1) /**< Count the body's bytes and keep none; any length. */
#define JD_CURL_NO_HEADERS (1u << 2)   /**< Keep no headers. */
#define JD_CURL_HTTP1 (1u << 3)        /**< HTTP/1.1, also where the server has HTTP/2. */
#define JD_CURL_FRESH (1u << 4)        /**< A connection of its own, closed afterwards. */

/** What a request is. A NULL pointer to it means JD_CURL_OPTIONS_INIT: a GET. */
typedef struct jd_curl_options {
    size_t size;                /**< Set by JD_CURL_OPTIONS_INIT. */
    const char *method;         /**< NULL = GET, or POST when there is data. */
    const char *const *headers; /**< "Name: value", NULL at the end; may be NULL. */
    const void *data;           /**< Sent as the request's body. Borrowed for the call. */
    size_t data_len;            /**< Bytes of @p data; with data NULL: 0. */
    size_t body_max;            /**< Most bytes of the answer's body; 0 = 16 MiB. */
    size_t header_max;          /**< Most bytes of the answer's headers; 0 = 256 KiB. */
    unsigned redirects_max;     /**< Redirects that are followed; 0 = none. */
    int64_t timeout;            /**< Nanoseconds for all of it; 0 = none but the scope's. */
    unsigned flags;             /**< JD_CURL_INSECURE | JD_CURL_DISCARD_BODY | ... */
    const char *ca_file;        /**< Certificates that are trusted instead of the system's. */
    int (*setup)(void *easy, void *arg); /**< Sets what is not above by curl_easy_setopt(), last,
                                              in the caller's task; < 0 ends the call with it. */
    void *setup_arg;                     /**< Passed to @p setup. */
} jd_curl_options;

#define JD_CURL_OPTIONS_INIT \
    { \
        sizeof(jd_curl_options), NULL, NULL, NULL, 0, 0, 0, 0, 0, 0, NULL, NULL, NULL \
    }

/** An answer. Filled also where the call failed, as far as it came. */
typedef struct jd_curl_response {
    size_t size;         /**< Set by JD_CURL_RESPONSE_INIT; filled up to this size. */
    int status;          /**< Of HTTP, after redirects; 0 = there was none. */
    unsigned http;       /**< Version times ten: 11, 20; 0 = none. */
    char *body;          /**< Ends in a zero byte that is not counted; NULL = empty. */
    size_t body_len;     /**< Bytes; with JD_CURL_DISCARD_BODY of what was discarded. */
    char *headers;       /**< Of the last answer, as received; likewise. */
    size_t headers_len;  /**< Bytes. */
    unsigned redirects;  /**< That were followed. */
    int64_t elapsed;     /**< Nanoseconds the transfer took. */
    int64_t retry_after; /**< Nanoseconds the server asks to wait; 0 = it does not ask. */
    const char *message; /**< What went wrong, in libcurl's words; never NULL after a call. */
} jd_curl_response;

#define JD_CURL_RESPONSE_INIT \
    { \
        sizeof(jd_curl_response), 0, 0, NULL, 0, NULL, 0, 0, 0, 0, NULL \
    }

/**
 * Do one HTTP(S) request and return its answer.
 *
 * @param url       "http://host:port/path" or "https://...". Other schemes are refused.
 * @param o         Options; NULL = a GET. Borrowed for the call.
 * @param response  Initialised with JD_CURL_RESPONSE_INIT, or used before: what it held is freed.
 *                  jd_curl_response_fini() frees it, on errors too.
 *
 * @retval 0           The answer is whole. Its status may be any: 503 is an answer.
 * @retval -ETIMEDOUT  o->timeout is over; the transfer was ended.
 * @retval -ECANCELED  The caller was cancelled, or a deadline of its scopes is over; likewise.
 * @retval -EINVAL     A NULL that must not be, size 0, unknown flags, or no URL.
 * @retval -E2BIG      Options of a later version set what this one does not know.
 * @retval -ESHUTDOWN  The runtime is stopping.
 * @retval -ENOMEM     Out of memory.
 * @retval -EPERM      The caller is not a task.
 * @retval -EDEADLK    Called by a callback of libcurl.
 * @return             Else as this file says.
 *
 * @suspends Yes.  @threads Tasks only.
 * @cancel   Cancellation point. An answer that was whole wins over a cancel.
 * @memory   O(body_max + header_max), grown as needed.  @cost One request; two suspensions.
 * @since 0.1
 */
JD_API JD_NODISCARD JD_SUSPENDS int jd_curl_get(const char *url, const jd_curl_options *o,
                                                jd_curl_response *response);

/**
 * Free what an answer holds and make it empty. NULL is a no-op.
 *
 * @param response  Initialised.
 *
 * @suspends No.  @threads Any, one at a time.  @cancel No.
 * @memory   Frees.  @cost Constant.  @since 0.1
 */
JD_API void jd_curl_response_fini(jd_curl_response *response);

/**
 * curl_easy_perform() that suspends the task: any transfer of libcurl.
 *
 * The handle's callbacks run in the library's task, one at a time and not at the same time as those
 * of other transfers of the runtime: they must not suspend and should be short. CURLOPT_NOSIGNAL is
 * set to 1. The handle must not have been added to a multi handle.
 *
 * @param easy  A CURL *, the caller's; nobody else touches it meanwhile.
 *
 * @retval 0           The transfer ended well.
 * @retval -ECANCELED  The caller was cancelled; the transfer was ended, the handle may be used again.
 * @retval -EINVAL     @p easy is NULL, or is part of a multi handle.
 * @retval -ESHUTDOWN  The runtime is stopping.
 * @retval -ENOMEM     Out of memory.
 * @retval -EPERM      The caller is not a task.
 * @retval -EDEADLK    Called by a callback of libcurl.
 * @return             Else as this file says.
 *
 * @suspends Yes.  @threads Tasks only.
 * @cancel   Cancellation point. A transfer that has ended wins over a cancel.
 * @memory   libcurl's.  @cost As jd_curl_get().  @since 0.1
 */
JD_API JD_NODISCARD JD_SUSPENDS int jd_curl_perform(void *easy);

JD_END_DECLS
#endif /* JD_CURL_H */
