/* SPDX-License-Identifier: MIT */
/*
 * Names with several addresses (RFC 8305): who is tried when, who wins, what is told of each attempt,
 * and that the others leave no descriptor. The same over simulated sockets: tests/sim/test_dial.c.
 */
#include "dial_rig.h"
#include "fake_names.h"
#include "footprint.h"

#include "io/dial.h"

static int dial_list(const struct address *list, unsigned count)
{
    struct dial d = { .stagger = JD_MS(250) };

    return dial_any(&d, list, count);
}

/*
 * Of several addresses: one that refuses is followed at once, one that is silent after 250 ms, and
 * a losing attempt leaves no descriptor.
 */
static jd_result race_body(void *arg)
{
    int silent = jd_listen("127.0.0.1:0", 1, 0), good = jd_listen("127.0.0.1:0", 0, 0);
    int refusing = jd_listen("127.0.0.1:0", 0, 0), held[16] = { 0 }, fd, client;
    struct address list[3];
    char text[64];
    unsigned before;
    int64_t start;
    jd_scope limit;

    (void)arg;
    cr_assert_eq(jd_local_address(refusing, text, sizeof(text)), 0);
    cr_assert_eq(address_parse(text, &list[0]), 0);
    cr_assert_eq(jd_close(refusing), 0);
    cr_assert_eq(jd_local_address(silent, text, sizeof(text)), 0);
    cr_assert_eq(address_parse(text, &list[1]), 0);
    fill_backlog(text, held);
    cr_assert_eq(jd_local_address(good, text, sizeof(text)), 0);
    cr_assert_eq(address_parse(text, &list[2]), 0);
    before = footprint_descriptors();
    start = jd_now();
    client = dial_list(list, 3);
    cr_assert_geq(client, 0, "%s", jd_strerror(client));
    cr_assert_geq(jd_now() - start, JD_MS(250)); /* the silent one had its time */
    fd = jd_accept(good, NULL, NULL, 0);
    cr_assert_geq(fd, 0);
    cr_assert_eq(jd_close(fd), 0);
    cr_assert_eq(jd_close(client), 0);
    cr_assert_eq(footprint_descriptors(), before);
    list[2] = list[0]; /* refused, silent, refused: nobody wins until the caller's time is over */
    jd_scope_open(&limit, JD_MS(300));
    fd = (int)jd_scope_close_with(&limit, dial_list(list, 3));
    cr_assert_eq(fd, -ETIMEDOUT, "%s", jd_strerror(fd));
    cr_assert_eq(footprint_descriptors(), before);
    list[1] = list[0];
    cr_assert_eq(dial_list(list, 3), -ECONNREFUSED);
    cr_assert_eq(footprint_descriptors(), before);
    while (held[0] > 0)
        cr_assert_eq(jd_close(held[held[0]--]), 0);
    cr_assert_eq(jd_close(silent), 0);
    cr_assert_eq(jd_close(good), 0);
    return jd_ok(NULL);
}

Test(dial_race, takes_the_first_of_several_addresses_that_answers, .timeout = 30)
{
    on_each_port(race_body);
}

/* --- Names with several addresses: their order, and what is told of each ------------------------- */

#define ROOM 10

/* A port on which nobody listens, or with `listen_at` only there. */
static int free_port(const char *listen_at, char *ret_port, size_t len)
{
    char text[64], host[64];
    int fd = jd_listen("0.0.0.0:0", 0, 0);

    cr_assert_geq(fd, 0);
    cr_assert_eq(jd_local_address(fd, text, sizeof(text)), 0);
    snprintf(ret_port, len, "%s", strrchr(text, ':') + 1);
    cr_assert_eq(jd_close(fd), 0);
    if (!listen_at)
        return -1;
    snprintf(host, sizeof(host), "%s:%s", listen_at, ret_port);
    fd = jd_listen(host, 0, 0);
    cr_assert_geq(fd, 0, "%s: %s", host, jd_strerror(fd));
    return fd;
}

static int dial_fake(const char *port, int64_t stagger, jd_dial_attempt *attempts, unsigned *count)
{
    jd_dial_options o = JD_DIAL_OPTIONS_INIT;
    char address[32];

    o.stagger = stagger;
    o.attempts = attempts;
    o.attempts_max = ROOM;
    snprintf(address, sizeof(address), "list.fake:%s", port);
    return jd_dial_with(address, &o, count);
}

static void told(const jd_dial_attempt *a, const char *host, const char *port, int error)
{
    char text[64];

    snprintf(text, sizeof(text), "%s:%s", host, port);
    cr_assert_str_eq(a->address, text);
    cr_assert_eq(a->error, error, "%s: %s", text, jd_strerror(a->error));
}

/* All in vain: each is told, in the order of the starts. */
static jd_result all_refuse_body(void *arg)
{
    static const char *const order[] = { "[::1]", "127.0.0.2", "[::1]", "127.0.0.3", "127.0.0.4" };
    jd_dial_attempt attempts[ROOM];
    unsigned before = footprint_descriptors(), count = 99;
    char port[8];
    int fd;

    (void)free_port(NULL, port, sizeof(port));
    names_are("[::1]:1", "[::1]:1", "127.0.0.2:1", "127.0.0.3:1", "127.0.0.4:1");
    fd = dial_fake(port, 0, attempts, &count);
    cr_assert_eq(fd, -ECONNREFUSED, "%s", jd_strerror(fd)); /* whatever IPv6 says here */
    cr_assert_eq(count, 5);
    for (unsigned i = 0; i < 5; i++)
        told(&attempts[i], order[i], port, order[i][0] == '[' ? attempts[i].error : -ECONNREFUSED);
    cr_assert_lt(attempts[0].error, 0);
    cr_assert_eq(attempts[2].error, attempts[0].error);
    cr_assert_eq(footprint_descriptors(), before);
    return jd_ok(arg);
}

Test(dial_race, tells_the_error_of_each_attempt_with_the_families_in_turn)
{
    on_each_port(all_refuse_body);
}

/* A broadcast address: TCP has no way there, whatever the machine's routes are. */
static jd_result unreachable_body(void *arg)
{
    jd_dial_attempt attempts[ROOM];
    unsigned count;
    char port[8];

    (void)free_port(NULL, port, sizeof(port));
    names_are("255.255.255.255:1", "255.255.255.255:1");
    cr_assert_eq(dial_fake(port, 0, attempts, &count), -ENETUNREACH);
    names_add("127.0.0.2:1");
    names_add("255.255.255.255:1");
    cr_assert_eq(dial_fake(port, 0, attempts, &count), -ECONNREFUSED);
    cr_assert_eq(count, 4);
    for (unsigned i = 0; i < 4; i++)
        told(&attempts[i], i == 2 ? "127.0.0.2" : "255.255.255.255", port,
             i == 2 ? -ECONNREFUSED : -ENETUNREACH);
    return jd_ok(arg);
}

Test(dial_race, what_a_peer_said_is_told_rather_than_that_there_was_no_way)
{
    on_each_port(unreachable_body);
}

static jd_result second_body(void *arg)
{
    jd_dial_attempt attempts[ROOM];
    unsigned count;
    char port[8];
    int listener = free_port("127.0.0.3", port, sizeof(port));
    int64_t start = jd_now();
    int fd;

    names_are("127.0.0.2:1", "127.0.0.3:1", "127.0.0.4:1");
    fd = dial_fake(port, JD_SEC(100), attempts, &count);
    cr_assert_geq(fd, 0, "%s", jd_strerror(fd));
    cr_assert_lt(jd_now() - start, JD_SEC(100), "a failure starts the next one at once");
    cr_assert_eq(count, 2, "the third was not needed");
    told(&attempts[0], "127.0.0.2", port, -ECONNREFUSED);
    told(&attempts[1], "127.0.0.3", port, 0);
    cr_assert_eq(jd_close(fd), 0);
    cr_assert_eq(jd_close(listener), 0);
    return jd_ok(arg);
}

Test(dial_race, goes_on_at_once_after_a_failure_and_stops_when_connected)
{
    on_each_port(second_body);
}

/* The first address says nothing: the next one starts after the stagger, and ends it. */
static jd_result stagger_body(void *arg)
{
    jd_dial_attempt attempts[ROOM];
    int silent, good, held[16] = { 0 }, fd;
    unsigned count, before;
    char text[64], port[8];
    int64_t start;

    good = free_port("127.0.0.3", port, sizeof(port));
    snprintf(text, sizeof(text), "127.0.0.2:%s", port);
    silent = jd_listen(text, 1, 0);
    cr_assert_geq(silent, 0);
    fill_backlog(text, held);
    names_are("127.0.0.2:1", "127.0.0.3:1");
    before = footprint_descriptors();
    start = jd_now();
    fd = dial_fake(port, JD_MS(5), attempts, &count);
    cr_assert_geq(fd, 0, "%s", jd_strerror(fd));
    cr_assert_geq(jd_now() - start, JD_MS(5));
    cr_assert_eq(count, 2);
    told(&attempts[0], "127.0.0.2", port, -ECANCELED);
    told(&attempts[1], "127.0.0.3", port, 0);
    cr_assert_eq(jd_close(fd), 0);
    cr_assert_eq(footprint_descriptors(), before);
    while (held[0] > 0)
        cr_assert_eq(jd_close(held[held[0]--]), 0);
    cr_assert_eq(jd_close(silent), 0);
    cr_assert_eq(jd_close(good), 0);
    return jd_ok(arg);
}

Test(dial_race, gives_each_attempt_the_stagger_that_was_asked_for)
{
    on_each_port(stagger_body);
}

/* Starts so close to each other that several connect: one is the caller's, the others are closed. */
static jd_result winners_body(void *arg)
{
    jd_dial_attempt attempts[ROOM];
    unsigned before, count, more = 0;
    char port[8];
    int listener = free_port("0.0.0.0", port, sizeof(port));

    names_are("127.0.0.2:1", "127.0.0.3:1", "127.0.0.4:1");
    before = footprint_descriptors();
    for (unsigned long i = 0; i < jd_test_rounds(100); i++) {
        unsigned connected = 0;
        int fd = dial_fake(port, 1, attempts, &count);

        cr_assert_geq(fd, 0, "%s", jd_strerror(fd));
        for (unsigned k = 0; k < count; k++) {
            cr_assert(attempts[k].error == 0 || attempts[k].error == -ECANCELED);
            connected += attempts[k].error == 0;
        }
        cr_assert_eq(connected, 1);
        more += count > 1;
        cr_assert_eq(jd_close(fd), 0);
        cr_assert_eq(footprint_descriptors(), before);
    }
    (void)more; /* the simulator makes sure that there are some */
    cr_assert_eq(jd_close(listener), 0);
    return jd_ok(arg);
}

Test(dial_race, closes_the_connections_that_came_second, .timeout = 30)
{
    on_each_port(winners_body);
}

static jd_result most_body(void *arg)
{
    jd_dial_attempt attempts[ROOM];
    jd_dial_options o = JD_DIAL_OPTIONS_INIT;
    unsigned count;
    char port[8], address[32];

    (void)free_port(NULL, port, sizeof(port));
    names_reset();
    for (unsigned i = 0; i < ROOM; i++)
        names_add("127.0.0.2:1");
    cr_assert_eq(dial_fake(port, 0, attempts, &count), -ECONNREFUSED);
    cr_assert_eq(count, JD_DIAL_ATTEMPTS_MAX);
    memset(attempts, 'x', sizeof(attempts)); /* less room than attempts */
    o.attempts = attempts;
    o.attempts_max = 2;
    snprintf(address, sizeof(address), "list.fake:%s", port);
    cr_assert_eq(jd_dial_with(address, &o, &count), -ECONNREFUSED);
    cr_assert_eq(count, JD_DIAL_ATTEMPTS_MAX);
    told(&attempts[1], "127.0.0.2", port, -ECONNREFUSED);
    cr_assert_eq(attempts[2].address[0], 'x');
    cr_assert_eq(jd_dial_with(address, &o, NULL), -ECONNREFUSED);
    names.count = 0;
    cr_assert_eq(jd_dial_with(address, &o, &count), -ENXIO); /* an answer without addresses */
    cr_assert_eq(count, 0);
    return jd_ok(arg);
}

Test(dial_race, tries_eight_addresses_at_most)
{
    on_each_port(most_body);
}

static jd_result options_body(void *arg)
{
    struct {
        jd_dial_options o;
        long later;
    } newer = { JD_DIAL_OPTIONS_INIT, 0 };
    jd_dial_options o = JD_DIAL_OPTIONS_INIT;
    jd_dial_attempt one;
    unsigned count = 99;
    char address[64];
    int listener = jd_listen("127.0.0.1:0", 0, 0), fd;

    cr_assert_eq(jd_local_address(listener, address, sizeof(address)), 0);
    o.size = 0;
    cr_assert_eq(jd_dial_with(address, &o, &count), -EINVAL);
    cr_assert_eq(count, 0);
    o = (jd_dial_options)JD_DIAL_OPTIONS_INIT;
    o.stagger = -1;
    cr_assert_eq(jd_dial_with(address, &o, NULL), -EINVAL);
    o.stagger = 0;
    o.attempts_max = 1;
    cr_assert_eq(jd_dial_with(address, &o, NULL), -EINVAL);
    newer.o.size = sizeof(newer);
    newer.later = 1;
    cr_assert_eq(jd_dial_with(address, &newer.o, NULL), -E2BIG);
    newer.later = 0;
    newer.o.attempts = &one;
    newer.o.attempts_max = 1;
    fd = jd_dial_with(address, &newer.o, &count); /* numbers: one attempt, which is told, too */
    cr_assert_geq(fd, 0);
    cr_assert_eq(count, 1);
    cr_assert_eq(one.error, 0);
    cr_assert_str_eq(one.address, address);
    cr_assert_eq(jd_close(fd), 0);
    cr_assert_eq(jd_close(listener), 0);
    cr_assert_eq(jd_dial_with(address, &newer.o, &count), -ECONNREFUSED);
    cr_assert_eq(one.error, -ECONNREFUSED);
    cr_assert_eq(jd_dial_with("list:", &newer.o, &count), -EINVAL);
    cr_assert_eq(count, 0);
    return jd_ok(arg);
}

Test(dial_race, looks_at_its_options)
{
    unsigned count = 99;

    on_each_port(options_body);
    cr_assert_eq(jd_dial_with("127.0.0.1:1", NULL, &count), -EPERM);
    cr_assert_eq(count, 0);
}
