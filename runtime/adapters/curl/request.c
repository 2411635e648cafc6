/* SPDX-License-Identifier: MIT */
/*
 * jd_curl_get() and jd_curl_perform(): what a caller's task does itself, before and after the
 * transfer; on_body() and on_header() run in the driver, which has the request meanwhile.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include <jackdaw/curl.h>

#include "client.h"

#define FLAGS_KNOWN \
    (JD_CURL_INSECURE | JD_CURL_DISCARD_BODY | JD_CURL_NO_HEADERS | JD_CURL_HTTP1 | JD_CURL_FRESH)
#define BODY_MAX ((size_t)16 << 20)
#define HEADER_MAX ((size_t)256 << 10)
#define ROOM_FIRST ((size_t)1024) /* of a buffer; arbitrary */
#define USER_AGENT "jackdaw"

/* Bytes that grow up to a bound, with a zero behind them. */
struct buffer {
    char *data;
    size_t len, room, max;
};

struct request {
    CURL *easy;
    struct curl_slist *headers;
    struct buffer body, header;
    bool discards;
    int error; /* of a callback: why it refused */
};

/*
 * In the driver.
 */

static int buffer_add(struct buffer *b, const char *data, size_t len)
{
    size_t room = b->room ? b->room : ROOM_FIRST;
    char *grown;

    if (len > b->max - b->len)
        return -EMSGSIZE;
    while (room < b->len + len + 1) /* bounded by the bits of a size */
        room *= 2;
    if (room != b->room) {
        grown = realloc(b->data, room);
        if (!grown)
            return -ENOMEM;
        b->data = grown;
        b->room = room;
    }
    memcpy(b->data + b->len, data, len);
    b->len += len;
    b->data[b->len] = '\0';
    return 0;
}

static size_t on_body(char *data, size_t one, size_t len, void *request)
{
    struct request *r = request;

    (void)one;
    if (r->discards)
        r->body.len += len;
    else
        r->error = buffer_add(&r->body, data, len);
    return r->error ? 0 : len;
}

/* A line at a time; the first of each answer is the status line. */
static size_t on_header(char *data, size_t one, size_t len, void *request)
{
    struct request *r = request;

    (void)one;
    if (len >= 5 && !memcmp(data, "HTTP/", 5))
        r->header.len = 0;
    r->error = buffer_add(&r->header, data, len);
    return r->error ? 0 : len;
}

/* libcurl's own sockets would be inherited by the children of the process. */
static curl_socket_t on_open(void *ctx, curlsocktype purpose, struct curl_sockaddr *a)
{
    (void)ctx;
    (void)purpose;
    return socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
}

/*
 * In the caller's task.
 */

static int options_read(const jd_curl_options *o, jd_curl_options *ret)
{
    const char *bytes = (const char *)o;

    *ret = (jd_curl_options)JD_CURL_OPTIONS_INIT;
    if (!o)
        return 0;
    if (o->size == 0)
        return -EINVAL;
    for (size_t i = sizeof(*ret); i < o->size; i++)
        if (bytes[i])
            return -E2BIG;
    memcpy(ret, o, o->size < sizeof(*ret) ? o->size : sizeof(*ret));
    ret->size = sizeof(*ret);
    if (ret->flags & ~FLAGS_KNOWN || ret->timeout < 0 || (ret->data_len && !ret->data))
        return -EINVAL;
    return 0;
}

static int headers_add(struct request *r, const char *const *lines)
{
    for (; lines && *lines; lines++) {
        struct curl_slist *grown = curl_slist_append(r->headers, *lines);

        if (!grown)
            return -ENOMEM;
        r->headers = grown;
    }
    return 0;
}

/* Of curl_easy_setopt(): all of ours are known and of the right type, so only memory is short. */
#define SET(easy, option, value) (code = code ? code : curl_easy_setopt(easy, option, value))

static CURLcode set_method(CURL *easy, const jd_curl_options *o)
{
    CURLcode code = CURLE_OK;

    if (o->data) {
        SET(easy, CURLOPT_POST, 1L);
        SET(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)o->data_len);
        SET(easy, CURLOPT_POSTFIELDS, o->data);
    }
    if (o->method && !strcmp(o->method, "HEAD"))
        SET(easy, CURLOPT_NOBODY, 1L);
    else if (o->method && strcmp(o->method, o->data ? "POST" : "GET") != 0)
        SET(easy, CURLOPT_CUSTOMREQUEST, o->method);
    return code;
}

static CURLcode set_connection(CURL *easy, const jd_curl_options *o)
{
    CURLcode code = CURLE_OK;

    SET(easy, CURLOPT_OPENSOCKETFUNCTION, on_open);
    if (o->flags & JD_CURL_INSECURE) {
        SET(easy, CURLOPT_SSL_VERIFYPEER, 0L);
        SET(easy, CURLOPT_SSL_VERIFYHOST, 0L);
    }
    if (o->ca_file)
        SET(easy, CURLOPT_CAINFO, o->ca_file);
    if (o->flags & JD_CURL_HTTP1)
        SET(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    if (o->flags & JD_CURL_FRESH) {
        SET(easy, CURLOPT_FRESH_CONNECT, 1L);
        SET(easy, CURLOPT_FORBID_REUSE, 1L);
    }
    if (o->redirects_max) {
        SET(easy, CURLOPT_FOLLOWLOCATION, 1L);
        SET(easy, CURLOPT_MAXREDIRS, (long)o->redirects_max);
    }
    return code;
}

static CURLcode set_sinks(struct request *r, const jd_curl_options *o)
{
    CURLcode code = CURLE_OK;

    SET(r->easy, CURLOPT_WRITEFUNCTION, on_body);
    SET(r->easy, CURLOPT_WRITEDATA, r);
    if (!(o->flags & JD_CURL_NO_HEADERS)) {
        SET(r->easy, CURLOPT_HEADERFUNCTION, on_header);
        SET(r->easy, CURLOPT_HEADERDATA, r);
    }
    if (r->headers)
        SET(r->easy, CURLOPT_HTTPHEADER, r->headers);
    return code;
}

static int request_init(struct request *r, const char *url, const jd_curl_options *o)
{
    CURLcode code = CURLE_OK;
    int err = headers_add(r, o->headers);

    if (err)
        return err;
    r->discards = o->flags & JD_CURL_DISCARD_BODY;
    r->body.max = o->body_max ? o->body_max : BODY_MAX;
    r->header.max = o->header_max ? o->header_max : HEADER_MAX;
    r->easy = curl_easy_init();
    if (!r->easy)
        return -ENOMEM;
    SET(r->easy, CURLOPT_URL, url);
    SET(r->easy, CURLOPT_PROTOCOLS_STR, "http,https");
    SET(r->easy, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    SET(r->easy, CURLOPT_USERAGENT, USER_AGENT);
    if (!code)
        code = set_method(r->easy, o);
    if (!code)
        code = set_connection(r->easy, o);
    if (!code)
        code = set_sinks(r, o);
    if (code)
        return code == CURLE_OUT_OF_MEMORY ? -ENOMEM : -EINVAL; /* -EINVAL: an absurd length */
    err = o->setup ? o->setup(r->easy, o->setup_arg) : 0;
    return err < 0 ? err : 0;
}

static void request_fini(struct request *r)
{
    curl_easy_cleanup(r->easy); /* NULL is a no-op, here and below */
    curl_slist_free_all(r->headers);
    free(r->body.data);
    free(r->header.data);
}

static long info_long(CURL *easy, CURLINFO info)
{
    long number = 0;

    return curl_easy_getinfo(easy, info, &number) ? 0 : number;
}

static curl_off_t info_large(CURL *easy, CURLINFO info)
{
    curl_off_t number = 0;

    return curl_easy_getinfo(easy, info, &number) ? 0 : number;
}

static unsigned http_version(long version)
{
    switch (version) {
    case CURL_HTTP_VERSION_1_0:
        return 10;
    case CURL_HTTP_VERSION_1_1:
        return 11;
    case CURL_HTTP_VERSION_2_0:
        return 20;
    case CURL_HTTP_VERSION_3:
        return 30;
    default:
        return 0;
    }
}

static char *take(struct buffer *b)
{
    char *data = b->data;

    b->data = NULL;
    return data;
}

static void response_fill(jd_curl_response *ret, struct request *r, const char *message)
{
    jd_curl_response all = JD_CURL_RESPONSE_INIT;
    size_t size = ret->size < sizeof(all) ? ret->size : sizeof(all);

    all.size = ret->size;
    all.status = (int)info_long(r->easy, CURLINFO_RESPONSE_CODE);
    all.http = http_version(info_long(r->easy, CURLINFO_HTTP_VERSION));
    all.redirects = (unsigned)info_long(r->easy, CURLINFO_REDIRECT_COUNT);
    all.elapsed = JD_US((int64_t)info_large(r->easy, CURLINFO_TOTAL_TIME_T));
    all.retry_after = JD_SEC((int64_t)info_large(r->easy, CURLINFO_RETRY_AFTER));
    all.body_len = r->body.len;
    all.body = take(&r->body);
    all.headers_len = r->header.len;
    all.headers = take(&r->header);
    all.message = message;
    memcpy(ret, &all, size);
}

/* Runs the transfer of a handle: 0 or a negative errno, and libcurl's code. */
static JD_SUSPENDS int perform(struct client *c, CURL *easy, CURLcode *ret_code)
{
    struct transfer t = { .easy = easy };
    int err;

    if (curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L))
        return -EINVAL;
    err = client_run(c, &t);
    *ret_code = t.code;
    if (err || t.error)
        return err ? err : t.error;
    return transfer_error(easy, t.code);
}

static JD_SUSPENDS int perform_within(struct client *c, CURL *easy, int64_t timeout,
                                      CURLcode *ret_code)
{
    jd_scope scope;
    int err;

    if (timeout == 0)
        return perform(c, easy, ret_code);
    jd_scope_open(&scope, timeout);
    err = perform(c, easy, ret_code);
    return (int)jd_scope_close_with(&scope, err);
}

static const char *message_of(int err, CURLcode code)
{
    return err == 0 || code == CURLE_OK ? jd_strerror(err) : curl_easy_strerror(code);
}

int jd_curl_get(const char *url, const jd_curl_options *o, jd_curl_response *response)
{
    struct request r = { .error = 0 };
    CURLcode code = CURLE_OK;
    jd_curl_options all;
    struct client *c;
    int err;

    if (!url || !response || response->size == 0)
        return -EINVAL;
    jd_curl_response_fini(response);
    err = options_read(o, &all);
    if (!err)
        err = client_current(&c);
    if (!err)
        err = request_init(&r, url, &all);
    if (!err) {
        err = perform_within(c, r.easy, all.timeout, &code);
        if (r.error && err == -EIO) { /* a callback refused */
            err = r.error;
            code = CURLE_OK;
        }
    }
    response_fill(response, &r, message_of(err, code));
    request_fini(&r);
    return err;
}

void jd_curl_response_fini(jd_curl_response *response)
{
    jd_curl_response all = JD_CURL_RESPONSE_INIT;
    size_t size;

    if (!response || response->size == 0)
        return;
    size = response->size < sizeof(all) ? response->size : sizeof(all);
    memcpy(&all, response, size);
    free(all.body);
    free(all.headers);
    all = (jd_curl_response)JD_CURL_RESPONSE_INIT;
    all.size = response->size;
    memcpy(response, &all, size);
}

int jd_curl_perform(void *easy)
{
    CURLcode code = CURLE_OK;
    struct client *c;
    int err;

    if (!easy)
        return -EINVAL;
    err = client_current(&c);
    return err ? err : perform(c, easy, &code);
}
