/* SPDX-License-Identifier: MIT */
/*
 * jd_dial(): numeric addresses, names, and what a cancel leaves behind: no descriptor.
 */
#include "dial_rig.h"
#include "footprint.h"

#include <sys/un.h>

/* Each side's own address is what the other one sees. */
static void knows_each_other(int client, int server, const char *listening)
{
    char own[64], seen[64];

    cr_assert_eq(jd_peer_address(client, seen, sizeof(seen)), 0);
    cr_assert_str_eq(seen, listening);
    cr_assert_eq(jd_local_address(server, own, sizeof(own)), 0);
    cr_assert_str_eq(own, listening);
    cr_assert_eq(jd_local_address(client, own, sizeof(own)), 0);
    cr_assert_eq(jd_peer_address(server, seen, sizeof(seen)), 0);
    cr_assert_str_eq(own, seen); /* "unix:" of a client without a name */
    cr_assert_eq(jd_peer_address(server, seen, 3), -ENOBUFS);
    cr_assert_str_eq(seen, "");
}

static void dials(const char *listen_at, const char *dial_host)
{
    char local[64], target[128], peer[64];
    int listener = jd_listen(listen_at, 0, 0), client, server;

    cr_assert_geq(listener, 0, "%s: %s", listen_at, jd_strerror(listener));
    cr_assert_eq(jd_local_address(listener, local, sizeof(local)), 0);
    if (dial_host)
        snprintf(target, sizeof(target), "%s%s", dial_host, strrchr(local, ':'));
    else
        snprintf(target, sizeof(target), "%s", local);
    client = jd_dial(target);
    cr_assert_geq(client, 0, "%s: %s", target, jd_strerror(client));
    server = jd_accept(listener, NULL, NULL, 0);
    cr_assert_geq(server, 0);
    cr_assert_neq(fcntl(client, F_GETFL) & O_NONBLOCK, 0);
    cr_assert_neq(fcntl(client, F_GETFD) & FD_CLOEXEC, 0);
    cr_assert_eq(jd_peer_address(client, peer, sizeof(peer)), 0);
    if (!dial_host && listen_at[0] != ':') /* else it came over the other family, perhaps */
        knows_each_other(client, server, local);
    cr_assert_eq(jd_send_all(client, "hello", 5), 0);
    cr_assert_eq(jd_read_full(server, peer, 5), 5);
    cr_assert_eq(jd_close(client), 0);
    cr_assert_eq(jd_close(server), 0);
    cr_assert_eq(jd_close(listener), 0);
}

static jd_result numeric_body(void *arg)
{
    unsigned before = footprint_descriptors();

    (void)arg;
    dials("127.0.0.1:0", NULL);
    dials("[::1]:0", NULL);
    dials("unix:@jd-test-dial", NULL);
    dials("unix:/tmp/jd-test-dial.sock", NULL);
    cr_assert_eq(unlink("/tmp/jd-test-dial.sock"), 0);
    dials(":0", NULL);
    cr_assert_eq(footprint_descriptors(), before);
    return jd_ok(NULL);
}

Test(dial, reaches_what_jd_local_address_printed)
{
    on_each_port(numeric_body);
}

static jd_result name_body(void *arg)
{
    unsigned before = footprint_descriptors();

    (void)arg;
    dials("127.0.0.1:0", "localhost"); /* maybe after a refused attempt over IPv6 */
    dials(":0", "localhost");
    cr_assert_eq(footprint_descriptors(), before);
    return jd_ok(NULL);
}

Test(dial, resolves_a_name)
{
    on_each_port(name_body);
}

static jd_result refused_body(void *arg)
{
    char address[64], name[64];
    unsigned before = footprint_descriptors();
    int fd = jd_listen("127.0.0.1:0", 0, 0), error;

    (void)arg;
    cr_assert_eq(jd_local_address(fd, address, sizeof(address)), 0);
    snprintf(name, sizeof(name), "localhost%s", strrchr(address, ':'));
    cr_assert_eq(jd_close(fd), 0);
    cr_assert_eq(jd_dial(address), -ECONNREFUSED);
    error = jd_dial(name);
    cr_assert_eq(error, -ECONNREFUSED, "%s", jd_strerror(error));
    cr_assert_eq(jd_dial("unix:@jd-test-nobody"), -ECONNREFUSED);
    cr_assert_eq(jd_dial("unix:/nonexistent/socket"), -ENOENT);
    cr_assert_eq(footprint_descriptors(), before);
    return jd_ok(NULL);
}

Test(dial, says_why_nobody_answers)
{
    on_each_port(refused_body);
}

#define UNIX_MOST 108u /* bytes of a unix name */

static jd_result bad_body(void *arg)
{
    static const char *const bad[] = { "",
                                       ":",
                                       ":80",
                                       "localhost",
                                       "localhost:",
                                       "localhost:http",
                                       "localhost:65536",
                                       "local host:80",
                                       "[localhost]:80",
                                       "::1:80",
                                       "unix:",
                                       "a/b:80" };

    (void)arg;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        cr_assert_eq(jd_dial(bad[i]), -EINVAL, "'%s'", bad[i]);
    cr_assert_eq(jd_dial(NULL), -EINVAL);
    for (unsigned len = UNIX_MOST - 1; len <= UNIX_MOST + 1; len++) {
        char path[UNIX_MOST + 16] = "unix:/";

        memset(path + 6, 'n', len - 1); /* no such file, in a directory that is there */
        path[5 + len] = '\0';
        cr_assert_eq(jd_dial(path), len > UNIX_MOST ? -EINVAL : -ENOENT, "%u", len);
        path[5] = '@';
        cr_assert_eq(jd_dial(path), len > UNIX_MOST ? -EINVAL : -ECONNREFUSED, "%u", len);
        if (len > UNIX_MOST)
            cr_assert_eq(jd_listen(path, 0, 0), -EINVAL);
    }
    return jd_ok(NULL);
}

Test(dial, refuses_what_is_no_address)
{
    on_each_port(bad_body);
    cr_assert_eq(jd_dial("127.0.0.1:80"), -EPERM);
}

static jd_result dial_run(void *arg)
{
    int fd = jd_dial(arg);

    return fd < 0 ? jd_err(fd) : jd_ok_num(fd);
}

/* A full backlog: the last dial has to wait, and is cancelled in its wait. */
static jd_result full_backlog_body(void *arg)
{
    struct sockaddr_un un = { .sun_family = AF_UNIX, .sun_path = "\0jd-test-full" };
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 13);
    int listener = jd_listen("unix:@jd-test-full", 1, 0), filler[8], n = 0;
    unsigned before;
    jd_scope limit;
    jd_task *task;
    jd_result r;
    int fd;

    (void)arg;
    cr_assert_geq(listener, 0);
    do {
        filler[n] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    } while (connect(filler[n], (struct sockaddr *)&un, len) == 0 && ++n < 8);
    cr_assert_lt(n, 8);
    close(filler[n]);
    before = footprint_descriptors();
    jd_scope_open(&limit, JD_MS(30));
    fd = jd_dial("unix:@jd-test-full");
    fd = (int)jd_scope_close_with(&limit, fd);
    cr_assert_eq(fd, -ETIMEDOUT, "%s", jd_strerror(fd));
    cr_assert_eq(footprint_descriptors(), before); /* nothing was left open */
    char address[] = "unix:@jd-test-full";
    task = jd_spawn(dial_run, address);
    cr_assert_eq(jd_yield(), 0);
    while (n > 0) { /* room: now it gets through */
        fd = jd_accept(listener, NULL, NULL, 0);
        cr_assert_geq(fd, 0);
        cr_assert_eq(jd_close(fd), 0);
        cr_assert_eq(jd_close(filler[--n]), 0);
    }
    r = jd_join(task);
    cr_assert_eq(r.error, 0, "%s", jd_strerror(r.error));
    cr_assert_eq(jd_close((int)r.num), 0);
    cr_assert_eq(jd_close(listener), 0);
    return jd_ok(NULL);
}

Test(dial, waits_for_room_in_a_unix_socket_s_backlog_and_can_be_cancelled)
{
    on_each_port(full_backlog_body);
}

/* Whatever a dial was doing when the cancel came, it leaves no descriptor and no memory. */
static jd_result cancel_body(void *arg)
{
    char address[64], name[64];
    int listener = jd_listen("127.0.0.1:0", 0, 0);
    unsigned before = footprint_descriptors();

    (void)arg;
    cr_assert_eq(jd_local_address(listener, address, sizeof(address)), 0);
    snprintf(name, sizeof(name), "localhost%s", strrchr(address, ':'));
    for (int i = 0; i < 60; i++) {
        jd_task *task = jd_spawn(dial_run, i % 2 ? name : address);
        jd_result r;

        for (int k = 0; k < i / 2; k++)
            cr_assert_eq(jd_yield(), 0);
        (void)jd_task_cancel(task, "test");
        r = jd_join(task);
        if (r.error == 0)
            cr_assert_eq(jd_close((int)r.num), 0);
        else
            cr_assert_eq(r.error, -ECANCELED, "%s", jd_strerror(r.error));
    }
    /* Abandoned look-ups may hold a descriptor for a moment yet. */
    while (footprint_descriptors() > before) /* bounded by the test's timeout */
        cr_assert_eq(jd_yield(), 0);
    cr_assert_eq(jd_close(listener), 0);
    return jd_ok(NULL);
}

Test(dial, leaves_nothing_open_when_it_is_cancelled_at_any_moment, .timeout = 30)
{
    on_each_port(cancel_body);
}

static jd_result unknown_body(void *arg)
{
    jd_scope limit;
    int fd;

    (void)arg;
    jd_scope_open(&limit, JD_SEC(3)); /* without a name server the resolver may take long */
    fd = (int)jd_scope_close_with(&limit, jd_dial("no-such-host.invalid:80"));
    cr_assert(fd == -ENXIO || fd == -EHOSTUNREACH || fd == -ETIMEDOUT, "%s", jd_strerror(fd));
    return jd_ok(NULL);
}

Test(dial, an_unknown_name_is_an_error_and_holds_nobody_up, .timeout = 30)
{
    on_each_port(unknown_body);
}
