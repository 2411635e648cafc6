/* SPDX-License-Identifier: MIT */
/*
 * jd_curl_get() and jd_curl_perform() against a server of jd_serve() in the same runtime: every body
 * runs on each port, with one worker and with two.
 */
#include <stdatomic.h>

#include <curl/curl.h>

#include <jackdaw/curl.h>

#include "../io/io_test.h"
#include "footprint.h"

#define REQUEST_BYTES 4096
#define BIG (1024 * 1024)

/*
 * TSan follows descriptors by their numbers: libcurl closes one, an accept of io_uring, which TSan does
 * not see, gets the same number, and another worker closes it: to TSan these are two closes of one file.
 */
const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
    return "called_from_lib:libcurl\nrace:^on_socket$\n";
}

/* --- The server ------------------------------------------------------------------------------ */

static struct {
    int listen_fd;
    char address[64];
    jd_task *task;
    _Atomic unsigned accepted, requests, slow, open;
} server;

/* The headers of a request, and where its body starts; 0: the client has gone. */
static size_t read_request(int fd, char *text, size_t *len)
{
    for (;;) { /* bounded by the room */
        char *end = strstr(text, "\r\n\r\n");
        ssize_t got;

        if (end)
            return (size_t)(end - text) + 4;
        cr_assert_lt(*len, REQUEST_BYTES - 1);
        got = jd_recv(fd, text + *len, REQUEST_BYTES - 1 - *len, 0);
        if (got <= 0)
            return 0;
        *len += (size_t)got;
        text[*len] = '\0';
    }
}

/* In one piece: the second of two would wait for the client's delayed acknowledgement. */
static int answer(int fd, const char *head, const char *body, size_t len)
{
    size_t room = strlen(head) + len + 64;
    char *text = malloc(room);
    int n, err;

    cr_assert_not_null(text);
    n = snprintf(text, room, "HTTP/1.1 %s\r\nContent-Length: %zu\r\n\r\n", head, len);
    if (len)
        memcpy(text + n, body, len);
    err = jd_send_all(fd, text, (size_t)n + len);
    free(text);
    return err;
}

static int answer_big(int fd, size_t len)
{
    char *body = malloc(len);
    int err;

    cr_assert_not_null(body);
    memset(body, 'b', len);
    err = answer(fd, "200 OK", body, len);
    free(body);
    return err;
}

/* Until the client goes away. */
static int stall(int fd)
{
    char byte;

    atomic_fetch_add(&server.slow, 1);
    (void)jd_recv(fd, &byte, 1, 0);
    atomic_fetch_sub(&server.slow, 1);
    return -EPIPE;
}

/* Negative: the connection ends. */
static int serve_request(int fd, const char *text, const char *body, size_t body_len)
{
    char path[64] = "", method[16] = "";
    unsigned long n = 0;

    cr_assert_eq(sscanf(text, "%15s %63s", method, path), 2);
    atomic_fetch_add(&server.requests, 1);
    if (!strcmp(method, "HEAD"))
        return answer(fd, "200 OK\r\nX-Method: HEAD", NULL, 0);
    if (!strcmp(path, "/slow"))
        return stall(fd);
    if (!strcmp(path, "/drop"))
        return -EPIPE;
    if (!strcmp(path, "/half"))
        return jd_send_all(fd, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhal", 42) ? -1 : -EPIPE;
    if (!strcmp(path, "/noise"))
        return jd_send_all(fd, "this is no HTTP\r\n\r\n", 19) ? -1 : -EPIPE;
    if (!strcmp(path, "/busy"))
        return answer(fd, "503 Busy\r\nRetry-After: 2", "later", 5);
    if (!strcmp(path, "/away"))
        return answer(fd, "302 Found\r\nLocation: /n/7", NULL, 0);
    if (!strcmp(path, "/loop"))
        return answer(fd, "302 Found\r\nLocation: /loop", NULL, 0);
    if (!strcmp(path, "/once"))
        return answer(fd, "200 OK\r\nConnection: close", "once", 4) ? -1 : -EPIPE;
    if (!strcmp(path, "/echo"))
        return answer(fd, strstr(text, "X-Mine: yes") ? "201 Mine" : "200 OK", body, body_len);
    cr_assert_eq(sscanf(path, "/n/%lu", &n), 1, "%s", path);
    return answer_big(fd, n);
}

static size_t content_length(const char *text)
{
    const char *line = strstr(text, "Content-Length: ");
    size_t n = 0;

    if (line)
        cr_assert_eq(sscanf(line, "Content-Length: %zu", &n), 1);
    return n;
}

static void serve(int fd, void *arg)
{
    char text[REQUEST_BYTES] = "";
    size_t len = 0;
    int err = 0;

    (void)arg;
    atomic_fetch_add(&server.accepted, 1);
    atomic_fetch_add(&server.open, 1);
    while (!err) { /* bounded by the client */
        size_t head = read_request(fd, text, &len), body;

        if (head == 0)
            break;
        body = content_length(text);
        cr_assert_lt(head + body, REQUEST_BYTES);
        if (len < head + body) {
            if (jd_read_full(fd, text + len, head + body - len) != (ssize_t)(head + body - len))
                break;
            len = head + body;
        }
        err = serve_request(fd, text, text + head, body);
        len -= head + body;
        memmove(text, text + head + body, len + 1);
        text[len] = '\0';
    }
    atomic_fetch_sub(&server.open, 1);
}

static jd_result server_run(void *arg)
{
    jd_serve_options o = JD_SERVE_OPTIONS_INIT;

    (void)arg;
    o.grace = JD_MS(1);
    return jd_err(jd_serve(server.listen_fd, serve, NULL, &o));
}

static void server_start(void)
{
    memset(&server, 0, sizeof(server));
    server.listen_fd = jd_listen("127.0.0.1:0", 0, 0);
    cr_assert_geq(server.listen_fd, 0);
    cr_assert_eq(jd_local_address(server.listen_fd, server.address, sizeof(server.address)), 0);
    server.task = jd_spawn(server_run, NULL);
    cr_assert_not_null(server.task);
}

static void server_stop(void)
{
    cr_assert_eq(jd_task_cancel(server.task, "the test is over"), 0);
    cr_assert_eq(jd_join(server.task).error, -ECANCELED);
    cr_assert_eq(jd_close(server.listen_fd), 0);
}

static const char *url_of(const char *path)
{
    static char url[4][160]; /* of one task at a time: four per expression are enough */
    static unsigned next;
    char *text = url[next++ % 4];

    snprintf(text, sizeof(url[0]), "http://%s%s", server.address, path);
    return text;
}

/* --- Bodies that run between the server's start and stop ------------------------------------- */

static void (*body_of_test)(void);

static jd_result with_server(void *arg)
{
    (void)arg;
    server_start();
    body_of_test();
    server_stop();
    return jd_ok(NULL);
}

static void on_each_port_with_server(void (*body)(void))
{
    body_of_test = body;
    on_each_port(with_server);
}

static int get(const char *path, const jd_curl_options *o, jd_curl_response *r)
{
    char url[160];

    snprintf(url, sizeof(url), "http://%s%s", server.address, path);
    return jd_curl_get(url, o, r);
}

static void assert_gets(unsigned n)
{
    jd_curl_response r = JD_CURL_RESPONSE_INIT;
    char path[32];
    int err;

    snprintf(path, sizeof(path), "/n/%u", n);
    err = get(path, NULL, &r);
    cr_assert_eq(err, 0, "%s", r.message);
    cr_assert_eq(r.status, 200);
    cr_assert_eq(r.body_len, n);
    jd_curl_response_fini(&r);
}

static void check_answer(void)
{
    jd_curl_response r = JD_CURL_RESPONSE_INIT;

    cr_assert_eq(get("/n/5", NULL, &r), 0);
    cr_assert_eq(r.status, 200);
    cr_assert_eq(r.http, 11);
    cr_assert_eq(r.body_len, 5);
    cr_assert_str_eq(r.body, "bbbbb");
    cr_assert_eq(strncmp(r.headers, "HTTP/1.1 200 OK\r\n", 17), 0);
    cr_assert_eq(r.headers_len, strlen(r.headers));
    cr_assert_not_null(strstr(r.headers, "Content-Length: 5\r\n"));
    cr_assert_gt(r.elapsed, 0);
    cr_assert_not_null(r.message);
    /* A status is no error, and the second answer takes the place of the first. */
    cr_assert_eq(get("/busy", NULL, &r), 0);
    cr_assert_eq(r.status, 503);
    cr_assert_str_eq(r.body, "later");
    cr_assert_eq(r.retry_after, JD_SEC(2));
    jd_curl_response_fini(&r);
    cr_assert_null(r.body);
    jd_curl_response_fini(&r);
    jd_curl_response_fini(NULL);
}

Test(curl, an_answer_has_status_headers_and_body)
{
    on_each_port_with_server(check_answer);
}

static void check_methods(void)
{
    static const char *const headers[] = { "X-Mine: yes", NULL };
    jd_curl_response r = JD_CURL_RESPONSE_INIT;
    jd_curl_options o = JD_CURL_OPTIONS_INIT;

    o.data = "some\0data";
    o.data_len = 9;
    o.headers = headers;
    cr_assert_eq(get("/echo", &o, &r), 0);
    cr_assert_eq(r.status, 201);
    cr_assert_eq(r.body_len, 9);
    cr_assert_arr_eq(r.body, "some\0data", 10);
    o.method = "PUT";
    cr_assert_eq(get("/echo", &o, &r), 0);
    cr_assert_eq(r.body_len, 9);
    o = (jd_curl_options)JD_CURL_OPTIONS_INIT;
    o.method = "HEAD";
    cr_assert_eq(get("/n/5", &o, &r), 0);
    cr_assert_not_null(strstr(r.headers, "X-Method: HEAD"));
    cr_assert_eq(r.body_len, 0);
    jd_curl_response_fini(&r);
}

Test(curl, data_is_sent_and_the_method_is_the_callers)
{
    on_each_port_with_server(check_methods);
}

/* The driver ends between the calls; the connection stays. */
static void check_reuse(void)
{
    for (unsigned i = 0; i < 20; i++)
        assert_gets(i);
    cr_assert_eq(atomic_load(&server.accepted), 1);
}

Test(curl, calls_one_after_the_other_use_one_connection)
{
    on_each_port_with_server(check_reuse);
}

static jd_result get_number(void *item, void *ctx)
{
    unsigned n = *(const unsigned *)item;

    (void)ctx;
    assert_gets(n);
    return jd_ok_num((intptr_t)n);
}

static void check_many(void)
{
    enum { CALLS = 300 };
    static unsigned numbers[CALLS];
    static void *items[CALLS];
    static jd_result results[CALLS];

    for (unsigned i = 0; i < CALLS; i++) {
        numbers[i] = i * 7;
        items[i] = &numbers[i];
    }
    cr_assert_eq(jd_map(items, CALLS, 20, get_number, NULL, results), 0);
    for (unsigned i = 0; i < CALLS; i++)
        cr_assert(results[i].error == 0 && results[i].num == (intptr_t)i * 7);
    cr_assert_leq(atomic_load(&server.accepted), 20);
    cr_assert_eq(atomic_load(&server.requests), CALLS);
}

Test(curl, tasks_share_the_connections_of_the_runtime, .timeout = 20)
{
    on_each_port_with_server(check_many);
}

static void check_bounds(void)
{
    jd_curl_response r = JD_CURL_RESPONSE_INIT;
    jd_curl_options o = JD_CURL_OPTIONS_INIT;

    o.body_max = 1000;
    cr_assert_eq(get("/n/1000", &o, &r), 0);
    cr_assert_eq(r.body_len, 1000);
    cr_assert_eq(get("/n/1001", &o, &r), -EMSGSIZE);
    cr_assert_eq(get("/n/1000000", &o, &r), -EMSGSIZE);
    cr_assert_leq(r.body_len, 1000);
    o.header_max = 20;
    cr_assert_eq(get("/n/0", &o, &r), -EMSGSIZE);
    o = (jd_curl_options)JD_CURL_OPTIONS_INIT;
    cr_assert_eq(get("/n/1048576", &o, &r), 0);
    cr_assert_eq(r.body_len, BIG);
    for (size_t i = 0; i < BIG; i++)
        cr_assert_eq(r.body[i], 'b');
    o.flags = JD_CURL_DISCARD_BODY | JD_CURL_NO_HEADERS;
    o.body_max = 1;
    cr_assert_eq(get("/n/1048576", &o, &r), 0);
    cr_assert_eq(r.body_len, BIG);
    cr_assert_null(r.body);
    cr_assert_null(r.headers);
    jd_curl_response_fini(&r);
}

Test(curl, a_body_grows_up_to_its_bound, .timeout = 20)
{
    on_each_port_with_server(check_bounds);
}

static void check_errors(void)
{
    static const struct {
        const char *path;
        int error;
    } wrong[] = { { "/drop", -ECONNRESET }, { "/half", -ECONNRESET }, { "/loop", -ELOOP } };
    jd_curl_response r = JD_CURL_RESPONSE_INIT;
    jd_curl_options o = JD_CURL_OPTIONS_INIT;
    char closed[64], url[96];
    int fd;

    o.redirects_max = 5;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        int err = get(wrong[i].path, &o, &r);

        cr_assert_eq(err, wrong[i].error, "%s: %s (%s)", wrong[i].path, jd_strerror(err),
                     r.message);
    }
    cr_assert_eq(get("/away", &o, &r), 0);
    cr_assert_eq(r.body_len, 7);
    cr_assert_eq(r.redirects, 1);
    cr_assert_null(strstr(r.headers, "302"));
    cr_assert_eq(get("/away", NULL, &r), 0);
    cr_assert_eq(r.status, 302);
    cr_assert_lt(get("/noise", &o, &r), 0);
    cr_assert_eq(jd_curl_get("http://a b/", NULL, &r), -EINVAL);
    cr_assert_eq(jd_curl_get("", NULL, &r), -EINVAL);
    cr_assert_eq(jd_curl_get("gopher://127.0.0.1/", NULL, &r), -EPROTONOSUPPORT);
    cr_assert_eq(jd_curl_get("file:///etc/hostname", NULL, &r), -EPROTONOSUPPORT);
    cr_assert_neq(strlen(r.message), 0);
    fd = jd_listen("127.0.0.1:0", 0, 0);
    cr_assert_eq(jd_local_address(fd, closed, sizeof(closed)), 0);
    cr_assert_eq(jd_close(fd), 0);
    snprintf(url, sizeof(url), "http://%s/", closed);
    cr_assert_eq(jd_curl_get(url, NULL, &r), -ECONNREFUSED);
    assert_gets(3);
    jd_curl_response_fini(&r);
}

Test(curl, each_failure_has_its_errno)
{
    on_each_port_with_server(check_errors);
}

static int refuse(void *easy, void *arg)
{
    cr_assert_not_null(easy);
    return *(int *)arg;
}

static void check_misuse(void)
{
    jd_curl_response r = JD_CURL_RESPONSE_INIT, none = { .size = 0 };
    struct {
        jd_curl_options o;
        uint64_t later;
    } longer = { JD_CURL_OPTIONS_INIT, 0 };
    int err = -EXFULL;

    cr_assert_eq(jd_curl_get(NULL, NULL, &r), -EINVAL);
    cr_assert_eq(jd_curl_get(url_of("/n/1"), NULL, NULL), -EINVAL);
    cr_assert_eq(jd_curl_get(url_of("/n/1"), NULL, &none), -EINVAL);
    cr_assert_eq(jd_curl_perform(NULL), -EINVAL);
    longer.o.flags = 1u << 31;
    cr_assert_eq(get("/n/1", &longer.o, &r), -EINVAL);
    longer.o = (jd_curl_options)JD_CURL_OPTIONS_INIT;
    longer.o.data_len = 1;
    cr_assert_eq(get("/n/1", &longer.o, &r), -EINVAL);
    longer.o = (jd_curl_options)JD_CURL_OPTIONS_INIT;
    longer.o.size = 0;
    cr_assert_eq(get("/n/1", &longer.o, &r), -EINVAL);
    longer.o.size = sizeof(longer);
    cr_assert_eq(get("/n/1", &longer.o, &r), 0);
    longer.later = 1;
    cr_assert_eq(get("/n/1", &longer.o, &r), -E2BIG);
    longer.o.size = sizeof(longer.o);
    longer.o.setup = refuse;
    longer.o.setup_arg = &err;
    cr_assert_eq(get("/n/1", &longer.o, &r), -EXFULL);
    err = 0;
    cr_assert_eq(get("/n/1", &longer.o, &r), 0);
    jd_curl_response_fini(&r);
}

Test(curl, misuse_is_refused)
{
    jd_curl_response r = JD_CURL_RESPONSE_INIT;
    CURL *easy;

    cr_assert_eq(jd_curl_get("http://127.0.0.1/", NULL, &r), -EPERM);
    easy = curl_easy_init();
    cr_assert_eq(jd_curl_perform(easy), -EPERM);
    curl_easy_cleanup(easy);
    on_each_port_with_server(check_misuse);
}

/* --- Cancel and deadlines -------------------------------------------------------------------- */

static void await_slow(unsigned n)
{
    while (atomic_load(&server.slow) != n) /* bounded by the test's timeout */
        cr_assert_eq(jd_yield(), 0);
}

static jd_result get_slow(void *arg)
{
    jd_curl_response r = JD_CURL_RESPONSE_INIT;
    int err = get("/slow", NULL, &r);

    (void)arg;
    jd_curl_response_fini(&r);
    return jd_err(err);
}

static void check_cancel(void)
{
    jd_task *tasks[5];

    for (unsigned i = 0; i < 5; i++)
        tasks[i] = jd_spawn(get_slow, NULL);
    await_slow(5);
    for (unsigned i = 0; i < 5; i++) {
        cr_assert_eq(jd_task_cancel(tasks[i], "no need"), 0);
        cr_assert_eq(jd_join(tasks[i]).error, -ECANCELED);
    }
    await_slow(0); /* the server has seen the connections end */
    assert_gets(2);
}

Test(curl, a_cancel_ends_the_transfer_and_its_connection)
{
    on_each_port_with_server(check_cancel);
}

static void check_deadlines(void)
{
    jd_curl_response r = JD_CURL_RESPONSE_INIT;
    jd_curl_options o = JD_CURL_OPTIONS_INIT;
    jd_scope scope;
    int64_t start = jd_now();

    o.timeout = JD_MS(20);
    cr_assert_eq(get("/slow", &o, &r), -ETIMEDOUT);
    cr_assert_geq(jd_now() - start, JD_MS(20));
    cr_assert_eq(r.status, 0);
    await_slow(0);
    jd_scope_open(&scope, JD_MS(20));
    cr_assert_eq(get("/slow", NULL, &r), -ECANCELED);
    cr_assert_eq(get("/n/1", NULL, &r), -ECANCELED); /* at once, without a request */
    cr_assert_eq(jd_scope_close(&scope), -ETIMEDOUT);
    cr_assert_eq(atomic_load(&server.requests), 2);
    await_slow(0);
    assert_gets(2);
    jd_curl_response_fini(&r);
}

Test(curl, deadlines_end_the_transfer)
{
    on_each_port_with_server(check_deadlines);
}

/* Cancels at every stage of a transfer: each call ends in its answer or in -ETIMEDOUT. */
static jd_result get_in_a_hurry(void *item, void *ctx)
{
    unsigned n = *(const unsigned *)item;
    jd_curl_response r = JD_CURL_RESPONSE_INIT;
    jd_curl_options o = JD_CURL_OPTIONS_INIT;
    char path[32];
    int err;

    (void)ctx;
    o.timeout = JD_US(1 + n * 7);
    if (n % 5 == 0)
        o.flags = JD_CURL_FRESH;
    snprintf(path, sizeof(path), "/n/%u", n * 100);
    err = get(path, &o, &r);
    cr_assert(err == 0 || err == -ETIMEDOUT, "%s (%s)", jd_strerror(err), r.message);
    if (!err)
        cr_assert(r.status == 200 && r.body_len == n * 100, "a mixed-up answer");
    jd_curl_response_fini(&r);
    return jd_err(err);
}

static void check_hurry(void)
{
    enum { CALLS = 400 };
    static unsigned numbers[CALLS];
    static void *items[CALLS];
    static jd_result results[CALLS];
    unsigned ok = 0;

    for (unsigned i = 0; i < CALLS; i++) {
        numbers[i] = i;
        items[i] = &numbers[i];
    }
    cr_assert_eq(jd_map(items, CALLS, 16, get_in_a_hurry, NULL, results), 0);
    for (unsigned i = 0; i < CALLS; i++)
        ok += results[i].error == 0;
    cr_assert_lt(ok, CALLS); /* 1 us is not enough for a connection */
    for (unsigned i = 0; i < 5; i++)
        assert_gets(i);
}

Test(curl, deadlines_at_every_stage_leave_whole_answers_or_none, .timeout = 30)
{
    on_each_port_with_server(check_hurry);
}

/* --- Any transfer ---------------------------------------------------------------------------- */

static size_t count_bytes(char *data, size_t one, size_t len, void *sum)
{
    (void)data;
    (void)one;
    *(size_t *)sum += len;
    return len;
}

static size_t call_again(char *data, size_t one, size_t len, void *ret)
{
    jd_curl_response r = JD_CURL_RESPONSE_INIT;

    (void)data;
    (void)one;
    *(int *)ret = jd_curl_get(url_of("/n/1"), NULL, &r);
    return len;
}

static jd_result perform_slow(void *easy)
{
    cr_assert_eq(curl_easy_setopt(easy, CURLOPT_URL, url_of("/slow")), CURLE_OK);
    return jd_err(jd_curl_perform(easy));
}

static void check_perform(void)
{
    CURL *easy = curl_easy_init();
    size_t sum = 0;
    void *mine = NULL;
    long status = 0;
    int err = 0;
    jd_task *task;

    cr_assert_not_null(easy);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, &sum);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, count_bytes);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, &sum);
    task = jd_spawn(perform_slow, easy);
    await_slow(1);
    cr_assert_eq(jd_task_cancel(task, "no need"), 0);
    cr_assert_eq(jd_join(task).error, -ECANCELED);
    curl_easy_setopt(easy, CURLOPT_URL, url_of("/n/3000"));
    cr_assert_eq(jd_curl_perform(easy), 0);
    cr_assert_eq(jd_curl_perform(easy), 0);
    cr_assert_eq(sum, 6000);
    cr_assert_eq(curl_easy_getinfo(easy, CURLINFO_PRIVATE, &mine), CURLE_OK);
    cr_assert_eq(mine, &sum);
    cr_assert_eq(curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status), CURLE_OK);
    cr_assert_eq(status, 200);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, call_again);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, &err);
    cr_assert_eq(jd_curl_perform(easy), 0);
    cr_assert_eq(err, -EDEADLK);
    curl_easy_setopt(easy, CURLOPT_URL, url_of("/drop"));
    cr_assert_eq(jd_curl_perform(easy), -ECONNRESET);
    curl_easy_cleanup(easy);
}

Test(curl, perform_runs_a_handle_of_the_caller)
{
    on_each_port_with_server(check_perform);
}

static void check_taken_handle(void)
{
    CURLM *multi = curl_multi_init();
    CURL *easy = curl_easy_init();

    curl_easy_setopt(easy, CURLOPT_URL, url_of("/n/1"));
    cr_assert_eq(curl_multi_add_handle(multi, easy), CURLM_OK);
    cr_assert_eq(jd_curl_perform(easy), -EINVAL);
    cr_assert_eq(curl_multi_remove_handle(multi, easy), CURLM_OK);
    curl_easy_cleanup(easy);
    curl_multi_cleanup(multi);
}

Test(curl, a_handle_of_another_multi_handle_is_refused)
{
    on_each_port_with_server(check_taken_handle);
}

/* --- Descriptors ----------------------------------------------------------------------------- */

/* The runtime's own sockets and those of libcurl take the same numbers in turn. */
static jd_result own_sockets(void *stop)
{
    while (!atomic_load((_Atomic bool *)stop)) { /* bounded by the other tasks */
        int fds[2];
        char text[4] = "";

        tcp_pair(fds);
        cr_assert_eq(jd_send_all(fds[0], "abc", 3), 0);
        cr_assert_eq(jd_read_full(fds[1], text, 3), 3);
        cr_assert_eq(strcmp(text, "abc"), 0);
        close_pair(fds);
    }
    return jd_ok(NULL);
}

static jd_result get_once(void *item, void *ctx)
{
    jd_curl_response r = JD_CURL_RESPONSE_INIT;
    int err = get("/once", NULL, &r);

    (void)item;
    (void)ctx;
    cr_assert_eq(err, 0, "%s", r.message);
    cr_assert_eq(strcmp(r.body, "once"), 0);
    jd_curl_response_fini(&r);
    return jd_ok(NULL);
}

static void check_numbers(void)
{
    enum { CALLS = 200 };
    static void *items[CALLS];
    static jd_result results[CALLS];
    static _Atomic bool stop;
    jd_task *others[3];

    atomic_store(&stop, false);
    for (unsigned i = 0; i < 3; i++)
        others[i] = jd_spawn(own_sockets, &stop);
    cr_assert_eq(jd_map(items, CALLS, 8, get_once, NULL, results), 0);
    for (unsigned i = 0; i < CALLS; i++)
        cr_assert_eq(results[i].error, 0);
    atomic_store(&stop, true);
    for (unsigned i = 0; i < 3; i++)
        cr_assert_eq(jd_join(others[i]).error, 0);
    cr_assert_eq(atomic_load(&server.accepted), CALLS);
}

Test(curl, sockets_that_libcurl_closes_may_come_back_as_ours, .timeout = 30)
{
    on_each_port_with_server(check_numbers);
}

static void check_some(void)
{
    check_many();
    assert_gets(1);
}

Test(curl, a_runtime_that_ends_closes_its_connections)
{
    unsigned before;

    on_each_port_with_server(check_some); /* what the process opens once */
    before = footprint_descriptors();
    on_each_port_with_server(check_some);
    cr_assert_eq(footprint_descriptors(), before);
}

static jd_result leave_them(void *arg)
{
    (void)arg;
    server_start();
    for (unsigned i = 0; i < 5; i++)
        cr_assert_eq(jd_spawn_detached(get_slow, NULL), 0);
    await_slow(5);
    jd_task_unref(server.task);
    return jd_ok(NULL);
}

Test(curl, a_runtime_that_ends_cancels_its_transfers)
{
    for (unsigned i = 0; i < 4; i++) {
        jd_config cfg = JD_CONFIG_INIT;

        cfg.reactor = i % 2 ? JD_REACTOR_EPOLL : JD_REACTOR_AUTO;
        cfg.workers = 1 + i / 2;
        cr_assert_eq(jd_run(leave_them, NULL, &cfg).error, 0);
        cr_assert_eq(close(server.listen_fd), 0);
    }
}

static void check_name(void)
{
    jd_curl_response r = JD_CURL_RESPONSE_INIT;
    char url[96];
    int err;

    snprintf(url, sizeof(url), "http://localhost:%s/n/4", strchr(server.address, ':') + 1);
    err = jd_curl_get(url, NULL, &r);
    cr_assert_eq(err, 0, "%s", r.message);
    cr_assert_eq(r.body_len, 4);
    jd_curl_response_fini(&r);
}

Test(curl, names_are_resolved_off_the_workers)
{
    on_each_port_with_server(check_name);
}
