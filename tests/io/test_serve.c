/* SPDX-License-Identifier: MIT */
/*
 * jd_serve(): connections, bounds, shortage of descriptors, and its orderly end.
 */
#include "io_test.h"

#include <sys/resource.h>

#include "base/fault.h"

struct server {
    int listener;
    char address[64];
    jd_serve_options options;
    jd_serve_fn handler;
    jd_sem entered; /* one permit per handler that has started */
    jd_sem go;      /* handlers wait for it */
    JD_ATOMIC(int) now, most, cancelled, drained;
    jd_task *task;
};

static jd_result server_run(void *arg)
{
    struct server *s = arg;

    return jd_ok_num(jd_serve(s->listener, s->handler, s, &s->options));
}

static void server_start(struct server *s, jd_serve_fn handler)
{
    *s = (struct server){ .options = JD_SERVE_OPTIONS_INIT, .handler = handler };
    s->listener = jd_listen("127.0.0.1:0", 0, 0);
    cr_assert_geq(s->listener, 0);
    cr_assert_eq(jd_local_address(s->listener, s->address, sizeof(s->address)), 0);
    cr_assert_eq(jd_sem_init(&s->entered, 0), 0);
    cr_assert_eq(jd_sem_init(&s->go, 0), 0);
}

static void server_spawn(struct server *s)
{
    s->task = jd_spawn(server_run, s);
    cr_assert_not_null(s->task);
}

static intptr_t server_stop(struct server *s)
{
    jd_result r;

    cr_assert_eq(jd_task_cancel(s->task, "stop"), 0);
    r = jd_join(s->task);
    cr_assert_eq(r.error, 0, "%s", jd_strerror(r.error));
    cr_assert_eq(jd_close(s->listener), 0); /* it left it open */
    return r.num;
}

static int client_of(const struct server *s)
{
    int fd = jd_dial(s->address);

    cr_assert_geq(fd, 0, "%s", jd_strerror(fd));
    return fd;
}

static void count_in(struct server *s)
{
    int now = atom_fetch_add(&s->now, 1, relaxed) + 1, most = atom_load(&s->most, relaxed);

    while (most < now && !atom_cas(&s->most, &most, now, relaxed, relaxed)) {
    }
    cr_assert_eq(jd_sem_release(&s->entered), 0);
}

static void echo(int fd, void *arg)
{
    struct server *s = arg;
    char buf[256];
    ssize_t n;

    count_in(s);
    cr_assert_not_null(jd_serve_draining());
    while ((n = jd_recv(fd, buf, sizeof(buf), 0)) > 0)
        if (jd_send_all(fd, buf, (size_t)n) < 0)
            break;
    atom_fetch_sub(&s->now, 1, relaxed);
}

static jd_result talk(void *arg)
{
    int fd = client_of(arg);

    for (int i = 0; i < 20; i++) {
        char buf[32], back[32];
        int len = snprintf(buf, sizeof(buf), "message %d", i);

        cr_assert_eq(jd_send_all(fd, buf, (size_t)len), 0);
        cr_assert_eq(jd_read_full(fd, back, (size_t)len), len);
        cr_assert_arr_eq(buf, back, (size_t)len);
    }
    cr_assert_eq(jd_close(fd), 0);
    return jd_ok(NULL);
}

static jd_result echo_body(void *arg)
{
    struct server s;
    jd_group clients;

    (void)arg;
    server_start(&s, echo);
    server_spawn(&s);
    jd_group_open(&clients, 0, JD_FOREVER);
    for (int i = 0; i < 50; i++)
        cr_assert_eq(jd_group_spawn(&clients, talk, &s), 0);
    cr_assert_eq(jd_group_close(&clients), 0);
    cr_assert_eq(jd_sem_acquire_n(&s.entered, 50), 0);
    cr_assert_eq(server_stop(&s), -ECANCELED);
    cr_assert_null(jd_serve_draining());
    return jd_ok(NULL);
}

Test(serve, serves_many_connections_at_once, .timeout = 20)
{
    on_each_port(echo_body);
    cr_assert_null(jd_serve_draining());
}

static void wait_for_go(int fd, void *arg)
{
    struct server *s = arg;

    (void)fd;
    count_in(s);
    if (jd_sem_acquire(&s->go) < 0)
        atom_fetch_add(&s->cancelled, 1, relaxed);
    atom_fetch_sub(&s->now, 1, relaxed);
}

static jd_result bound_body(void *arg)
{
    struct server s;
    int fds[10];

    (void)arg;
    for (int pause = 0; pause <= 3; pause += 3) {
        server_start(&s, wait_for_go);
        s.options.connections_max = 3;
        s.options.backlog_pause = pause;
        server_spawn(&s);
        for (int i = 0; i < 10; i++)
            fds[i] = client_of(&s); /* the kernel's backlog takes them */
        cr_assert_eq(jd_sem_acquire_n(&s.entered, 3), 0);
        for (int i = 0; i < 20; i++)
            cr_assert_eq(jd_yield(), 0);
        cr_assert_eq(jd_sem_try_acquire(&s.entered), -EAGAIN); /* full */
        if (pause == 3) {
            cr_assert_eq(jd_sem_release_n(&s.go, 2), 0);
            while (atom_load(&s.now, relaxed) != 1)
                cr_assert_eq(jd_yield(), 0);
            for (int i = 0; i < 20; i++)
                cr_assert_eq(jd_yield(), 0);
            cr_assert_eq(jd_sem_try_acquire(&s.entered), -EAGAIN); /* two are not three */
            cr_assert_eq(jd_sem_release(&s.go), 0);
            cr_assert_eq(jd_sem_acquire_n(&s.entered, 3), 0);
        }
        cr_assert_eq(jd_sem_release_n(&s.go, 10), 0);
        cr_assert_eq(jd_sem_acquire_n(&s.entered, pause == 3 ? 4 : 7), 0);
        cr_assert_eq(atom_load(&s.most, relaxed), 3);
        cr_assert_eq(server_stop(&s), -ECANCELED);
        cr_assert_eq(atom_load(&s.now, relaxed), 0);
        for (int i = 0; i < 10; i++)
            cr_assert_eq(jd_close(fds[i]), 0);
    }
    return jd_ok(NULL);
}

Test(serve, stops_accepting_at_its_bound, .timeout = 20)
{
    on_each_port(bound_body);
}

static void finish_when_draining(int fd, void *arg)
{
    struct server *s = arg;
    jd_future *draining = jd_serve_draining();

    count_in(s);
    cr_assert_eq(jd_future_done(draining), 0);
    cr_assert_eq(jd_future_wait(draining, JD_FOREVER), 0); /* shielded: no -ECANCELED */
    cr_assert_eq(jd_checkpoint(), 0);
    cr_assert_eq(jd_send_all(fd, "bye", 3), 0);
    atom_fetch_add(&s->drained, 1, relaxed);
}

static jd_result drain_body(void *arg)
{
    struct server s;
    char buf[8];
    int fds[5];

    (void)arg;
    server_start(&s, finish_when_draining);
    s.options.grace = JD_FOREVER;
    server_spawn(&s);
    for (int i = 0; i < 5; i++)
        fds[i] = client_of(&s);
    cr_assert_eq(jd_sem_acquire_n(&s.entered, 5), 0);
    cr_assert_eq(server_stop(&s), -ECANCELED);
    cr_assert_eq(atom_load(&s.drained, relaxed), 5);
    for (int i = 0; i < 5; i++) {
        cr_assert_eq(jd_read_full(fds[i], buf, sizeof(buf)), 3); /* then the end of file */
        cr_assert_eq(jd_close(fds[i]), 0);
    }
    return jd_ok(NULL);
}

Test(serve, lets_handlers_finish_after_a_cancel)
{
    on_each_port(drain_body);
}

static jd_result grace_body(void *arg)
{
    struct server s;
    int64_t before;
    int fds[5];

    (void)arg;
    server_start(&s, wait_for_go); /* nobody lets them go */
    s.options.grace = JD_MS(40);
    server_spawn(&s);
    for (int i = 0; i < 5; i++)
        fds[i] = client_of(&s);
    cr_assert_eq(jd_sem_acquire_n(&s.entered, 5), 0);
    before = jd_now();
    cr_assert_eq(server_stop(&s), -ECANCELED);
    cr_assert_geq(jd_now() - before, JD_MS(40));
    cr_assert_lt(jd_now() - before, JD_SEC(4));
    cr_assert_eq(atom_load(&s.cancelled, relaxed), 5);
    for (int i = 0; i < 5; i++)
        cr_assert_eq(jd_close(fds[i]), 0);
    return jd_ok(NULL);
}

Test(serve, cancels_handlers_when_the_grace_is_over)
{
    on_each_port(grace_body);
}

static void keep(int fd, void *arg)
{
    struct server *s = arg;

    cr_assert_eq(jd_send_all(fd, "k", 1), 0);
    cr_assert_eq(jd_close(fd), 0); /* ours: a second close would fail below */
    count_in(s);
}

static jd_result keep_body(void *arg)
{
    struct server s;
    char buf[2];
    int fd;

    (void)arg;
    server_start(&s, keep);
    s.options.flags = JD_SERVE_KEEP_FD;
    server_spawn(&s);
    for (int i = 0; i < 20; i++) {
        fd = client_of(&s);
        cr_assert_eq(jd_read_full(fd, buf, 2), 1);
        cr_assert_eq(jd_close(fd), 0);
    }
    cr_assert_eq(server_stop(&s), -ECANCELED);
    return jd_ok(NULL);
}

Test(serve, leaves_the_descriptor_to_the_handler_when_asked_to)
{
    on_each_port(keep_body);
}

static jd_result closed_body(void *arg)
{
    struct server s;
    jd_result r;
    int fd;

    (void)arg;
    server_start(&s, wait_for_go);
    s.options.grace = 1;
    server_spawn(&s);
    fd = client_of(&s);
    cr_assert_eq(jd_sem_acquire(&s.entered), 0);
    cr_assert_eq(jd_close(s.listener), 0);
    for (int i = 0; i < 20; i++)
        cr_assert_eq(jd_yield(), 0);
    cr_assert_eq(jd_future_done(jd_task_future(s.task)), 0); /* waits for the handler */
    cr_assert_eq(jd_sem_release(&s.go), 0);
    r = jd_join(s.task);
    cr_assert_eq(r.num, -EBADF, "%s", jd_strerror((int)r.num));
    cr_assert_eq(atom_load(&s.cancelled, relaxed), 0); /* nobody cancelled it */
    cr_assert_eq(jd_close(fd), 0);
    return jd_ok(NULL);
}

Test(serve, ends_with_the_error_of_its_listening_socket_after_all_handlers)
{
    on_each_port(closed_body);
}

/* The process runs out of descriptors: accepting pauses, goes on, and nobody's connection is lost. */
static jd_result shortage_body(void *arg)
{
    struct rlimit limit, low;
    struct server s;
    int fds[4], hold[64], held = 0;
    char buf[4];

    (void)arg;
    server_start(&s, echo);
    for (int i = 0; i < 4; i++)
        cr_assert_geq(fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), 0);
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    low = limit;
    low.rlim_cur = (rlim_t)fds[3] + 8;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &low), 0);
    while (held < 64 && (hold[held] = dup(fds[0])) >= 0)
        held++;
    cr_assert_lt(held, 64); /* now there is none left */
    server_spawn(&s);
    for (int i = 0; i < 4; i++) {
        struct sockaddr_in in = { .sin_family = AF_INET };

        in.sin_port = htons((uint16_t)atoi(strrchr(s.address, ':') + 1));
        in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        cr_assert_eq(jd_connect(fds[i], (struct sockaddr *)&in, sizeof(in)), 0);
    }
    cr_assert_eq(jd_sleep(JD_MS(35)), 0); /* its back-off has begun; no synchronisation */
    cr_assert_eq(jd_future_done(jd_task_future(s.task)), 0);
    while (held > 0)
        cr_assert_eq(close(hold[--held]), 0);
    for (int i = 0; i < 4; i++) {
        cr_assert_eq(jd_send_all(fds[i], "late", 4), 0);
        cr_assert_eq(jd_read_full(fds[i], buf, 4), 4);
        cr_assert_eq(jd_close(fds[i]), 0);
    }
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    cr_assert_eq(server_stop(&s), -ECANCELED);
    return jd_ok(NULL);
}

Test(serve, backs_off_without_descriptors_and_keeps_serving, .timeout = 30)
{
    on_each_port(shortage_body);
}

/* An allocation fails somewhere on a connection's way: that one may be lost, the server is not. */
static jd_result memory_body(void *arg)
{
    struct server s;

    (void)arg;
    if (worker_current()->rt->worker_count > 1)
        return jd_ok(NULL); /* points are armed while nobody else allocates */
    server_start(&s, echo);
    server_spawn(&s);
    await_in_flight(1);
    for (uint64_t n = 0; n < 8; n++) {
        char byte;
        ssize_t got;
        int fd;

        fault_arm(FAULT_ALLOC, n, 1);
        fd = jd_dial(s.address);
        if (fd < 0) {
            cr_assert_eq(fd, -ENOMEM, "%s", jd_strerror(fd));
            continue;
        }
        (void)jd_send_all(fd, "x", 1);
        got = jd_read_full(fd, &byte, 1);
        cr_assert(got == 1 || got == 0 || got == -ECONNRESET, "%s", jd_strerror((int)got));
        fault_arm(FAULT_ALLOC, 0, 0);
        cr_assert_eq(jd_close(fd), 0);
    }
    cr_assert_eq(talk(&s).error, 0);
    cr_assert_eq(server_stop(&s), -ECANCELED);
    return jd_ok(NULL);
}

Test(serve, survives_a_failing_allocation)
{
    on_each_port(memory_body);
}

static jd_result options_body(void *arg)
{
    struct {
        jd_serve_options known;
        int later;
    } big = { .known = JD_SERVE_OPTIONS_INIT };
    jd_serve_options o = JD_SERVE_OPTIONS_INIT;
    int listener = jd_listen("127.0.0.1:0", 0, 0), null = open("/dev/null", O_RDONLY);
    jd_scope scope;

    (void)arg;
    cr_assert_eq(jd_serve(listener, NULL, NULL, NULL), -EINVAL);
    o.size = 0;
    cr_assert_eq(jd_serve(listener, echo, NULL, &o), -EINVAL);
    o = (jd_serve_options)JD_SERVE_OPTIONS_INIT;
    o.flags = 1u << 31;
    cr_assert_eq(jd_serve(listener, echo, NULL, &o), -EINVAL);
    o.flags = 0;
    o.grace = -1;
    cr_assert_eq(jd_serve(listener, echo, NULL, &o), -EINVAL);
    o.grace = 0;
    o.backlog_pause = -1;
    cr_assert_eq(jd_serve(listener, echo, NULL, &o), -EINVAL);
    big.known.size = sizeof(big);
    big.later = 1;
    cr_assert_eq(jd_serve(listener, echo, NULL, &big.known), -E2BIG);
    big.later = 0;
    cr_assert_eq(jd_serve(-1, echo, NULL, &big.known), -EBADF);
    cr_assert_eq(jd_serve(null, echo, NULL, NULL), -ENOTSOCK);
    jd_scope_open(&scope, JD_MS(10));
    cr_assert_eq(jd_scope_close_with(&scope, jd_serve(listener, echo, NULL, NULL)), -ETIMEDOUT);
    jd_scope_open(&scope, 0);
    cr_assert_eq(jd_serve(listener, echo, NULL, NULL), -ECANCELED);
    cr_assert_eq(jd_scope_close(&scope), -ETIMEDOUT);
    cr_assert_eq(jd_close(listener), 0);
    cr_assert_eq(jd_close(null), 0);
    return jd_ok(NULL);
}

Test(serve, reads_its_options_carefully)
{
    on_each_port(options_body);
    cr_assert_eq(jd_serve(0, echo, NULL, NULL), -EPERM);
}
