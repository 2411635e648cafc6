/* SPDX-License-Identifier: MIT */
/*
 * Names and staggered attempts under simulation: who starts when, in virtual time; who wins, and
 * that nothing else is left; a cancel at every checkpoint. Contract N9, E32.
 */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "base/rng.h"
#include "io/dial.h"
#include "jd_test.h"
#include "seeds.h"
#include "sim/sim.h"
#include "sweep.h"

#include <jackdaw/jackdaw.h>

#define STAGGER JD_MS(250)
#define PORT 80
/* What a simulated operation takes at most, several of them in a row. */
#define SLACK JD_MS(100)

enum peer { GOOD, REFUSES, SILENT, PEERS };

/* Hosts 127.0.0.1 and so on: some listen, some do not, some have a full backlog. */
struct peers {
    unsigned count;
    enum peer kind[JD_DIAL_ATTEMPTS_MAX];
    struct address list[JD_DIAL_ATTEMPTS_MAX];
    int listener[JD_DIAL_ATTEMPTS_MAX], filler[JD_DIAL_ATTEMPTS_MAX];
    jd_dial_attempt told[JD_DIAL_ATTEMPTS_MAX];
    struct dial dial;
};

/* One connection fills it, and nobody accepts. */
static int fill(struct peers *p, unsigned i, const char *text)
{
    p->filler[i] = jd_dial(text);
    return p->filler[i] < 0 ? p->filler[i] : 0;
}

static int peer_open(struct peers *p, unsigned i)
{
    char text[64];
    int error = 0;

    p->listener[i] = p->filler[i] = -1;
    snprintf(text, sizeof(text), "127.0.0.%u:%u", i + 1, PORT);
    cr_assert_eq(address_parse(text, &p->list[i]), 0);
    if (p->kind[i] == REFUSES)
        return 0;
    p->listener[i] = jd_listen(text, p->kind[i] == SILENT ? 1 : 0, 0);
    if (p->listener[i] < 0)
        error = p->listener[i];
    else if (p->kind[i] == SILENT)
        error = fill(p, i, text);
    return error;
}

static void peers_close(struct peers *p, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (p->listener[i] >= 0)
            (void)jd_close(p->listener[i]);
        if (p->filler[i] >= 0)
            (void)jd_close(p->filler[i]);
    }
}

static int peers_open(struct peers *p)
{
    int error = 0;

    for (unsigned i = 0; i < p->count && error == 0; i++) {
        error = peer_open(p, i);
        if (error < 0)
            peers_close(p, i + 1);
    }
    p->dial = (struct dial){ .stagger = STAGGER,
                             .attempts = p->told,
                             .attempts_max = JD_DIAL_ATTEMPTS_MAX };
    return error;
}

/* --- Who starts when -------------------------------------------------------------------------- */

struct timing {
    enum peer kind[3];
    unsigned count, begun;
    int64_t least;
    int result[3];
};

static jd_result timing_main(void *arg)
{
    const struct timing *t = arg;
    struct peers p = { .count = t->count };
    int64_t start;
    int fd;

    memcpy(p.kind, t->kind, sizeof(t->kind));
    cr_assert_eq(peers_open(&p), 0);
    start = jd_now();
    fd = dial_any(&p.dial, p.list, p.count);
    cr_assert_geq(fd, 0, "%s", jd_strerror(fd));
    cr_assert_geq(jd_now() - start, t->least);
    cr_assert_leq(jd_now() - start, t->least + SLACK);
    cr_assert_eq(p.dial.begun, t->begun);
    for (unsigned i = 0; i < t->begun; i++)
        cr_assert_eq(p.told[i].error, t->result[i], "%u: %s", i, jd_strerror(p.told[i].error));
    cr_assert_eq(jd_close(fd), 0);
    peers_close(&p, p.count);
    return jd_ok(NULL);
}

static void nothing_left(uint64_t seed)
{
    struct sim_summary left = sim_last();

    cr_assert(!left.stuck, "seed %lu", (unsigned long)seed);
    cr_assert_eq(left.handles, 0, "seed %lu: %u handles", (unsigned long)seed, left.handles);
}

static const struct timing timings[] = {
    { { GOOD, GOOD, GOOD }, 3, 1, 0, { 0 } },
    { { REFUSES, GOOD, GOOD }, 3, 2, 0, { -ECONNREFUSED, 0 } },
    { { REFUSES, REFUSES, GOOD }, 3, 3, 0, { -ECONNREFUSED, -ECONNREFUSED, 0 } },
    { { SILENT, GOOD, GOOD }, 3, 2, STAGGER, { -ECANCELED, 0 } },
    { { SILENT, REFUSES, GOOD }, 3, 3, STAGGER, { -ECANCELED, -ECONNREFUSED, 0 } },
    { { SILENT, SILENT, GOOD }, 3, 3, 2 * STAGGER, { -ECANCELED, -ECANCELED, 0 } },
    { { GOOD }, 1, 1, 0, { 0 } },
};

Test(sim_dial, an_attempt_starts_when_the_one_before_has_failed_or_had_its_time, .timeout = 30)
{
    for_each_seed(seed, jd_test_rounds(100)) {
        for (size_t i = 0; i < sizeof(timings) / sizeof(timings[0]); i++) {
            jd_result r = jd_sim_run(seed, timing_main, (void *)(uintptr_t)&timings[i], NULL);

            cr_assert_eq(r.error, 0, "seed %lu: %s", (unsigned long)seed, jd_strerror(r.error));
            nothing_left(seed);
        }
    }
}

/* --- Random peers ------------------------------------------------------------------------------- */

struct race {
    uint64_t seed;
    int64_t stagger;
    unsigned kinds[PEERS];
    bool met_losers, may_fail;
};

static void check_told(const struct peers *p, int fd, struct race *r)
{
    unsigned won = 0, good = 0;

    for (unsigned i = 0; i < p->dial.begun; i++) {
        int error = p->told[i].error;
        char text[JD_ADDRESS_BYTES];

        cr_assert_eq(address_format(&p->list[i], text, sizeof(text)), 0);
        cr_assert_str_eq(p->told[i].address, text);
        won += error == 0;
        good += p->kind[i] == GOOD;
        if (r->may_fail)
            continue;
        if (p->kind[i] == REFUSES)
            cr_assert(error == -ECONNREFUSED || (fd >= 0 && error == -ECANCELED) ||
                      fd == -ECANCELED);
        else
            cr_assert(error == -ECANCELED || (p->kind[i] == GOOD && error == 0));
    }
    cr_assert_eq(won, fd >= 0);
    r->met_losers |= good > 1;
}

static jd_result race_main(void *arg)
{
    struct race *r = arg;
    struct peers p = { .count = 0 };
    unsigned kinds[PEERS] = { 0 };
    struct rng rng;
    jd_scope limit;
    int fd;

    rng_seed(&rng, r->seed);
    p.count = 1 + (unsigned)rng_below(&rng, JD_DIAL_ATTEMPTS_MAX);
    for (unsigned i = 0; i < p.count; i++)
        kinds[p.kind[i] = (enum peer)rng_below(&rng, PEERS)]++;
    if (peers_open(&p) < 0)
        return jd_ok(NULL); /* a fault */
    p.dial.stagger = r->stagger > 0 ? r->stagger : 1 + (int64_t)rng_below(&rng, 3000000);
    jd_scope_open(&limit, JD_SEC(3));
    fd = dial_any(&p.dial, p.list, p.count);
    if (jd_scope_close(&limit) == -ETIMEDOUT)
        cr_assert(fd >= 0 || fd == -ECANCELED || r->may_fail, "%s", jd_strerror(fd));
    if (!r->may_fail)
        cr_assert_eq(fd >= 0, kinds[GOOD] > 0, "%s", jd_strerror(fd));
    if (!r->may_fail && kinds[REFUSES] == p.count)
        cr_assert(fd == -ECONNREFUSED && p.dial.begun == p.count);
    if (fd < 0 && kinds[SILENT] > 0 && !r->may_fail)
        cr_assert_eq(fd, -ECANCELED);
    check_told(&p, fd, r);
    if (fd >= 0)
        cr_assert_eq(jd_close(fd), 0);
    peers_close(&p, p.count);
    for (unsigned i = 0; i < PEERS; i++)
        r->kinds[i] += kinds[i];
    return jd_ok(NULL);
}

static void race_seeds(unsigned faults, unsigned flags, unsigned workers)
{
    jd_sim_options o = JD_SIM_OPTIONS_INIT;
    struct race r = { .may_fail = faults > 0 && flags == 0 };

    o.fault_percent = faults;
    o.flags = flags;
    o.workers = workers;
    for_each_seed(seed, jd_test_rounds(1000)) {
        jd_result end;

        r.seed = seed;
        r.stagger = seed % 2 ? STAGGER : 0;
        end = jd_sim_run(seed, race_main, &r, &o);
        cr_assert(end.error == 0 || (r.may_fail && end.error == -ENOMEM), "seed %lu: %s",
                  (unsigned long)seed, jd_strerror(end.error));
        nothing_left(seed);
    }
    if (seeds_given())
        return;
    cr_assert(r.met_losers || faults == 0, "attempts that connect at the same time");
    for (unsigned i = 0; i < PEERS; i++)
        cr_assert_gt(r.kinds[i], 0);
}

Test(sim_dial, one_connection_is_left_and_all_attempts_are_told, .timeout = 60)
{
    race_seeds(0, 0, 3);
    race_seeds(0, 0, 1);
}

Test(sim_dial, those_that_connect_as_well_are_closed, .timeout = 60)
{
    race_seeds(50, JD_SIM_NO_ERRORS | JD_SIM_NO_ENOMEM, 3); /* slow, but nothing fails */
}

Test(sim_dial, with_faults_nothing_is_left_either, .timeout = 60)
{
    race_seeds(20, 0, 3);
}

/* --- A cancel at every checkpoint --------------------------------------------------------------- */

static jd_result dial_and_close(void *arg)
{
    struct peers p = { .count = 4, .kind = { REFUSES, SILENT, GOOD, GOOD } };
    int error = peers_open(&p), fd;

    (void)arg;
    if (error < 0)
        return jd_err(error);
    p.dial.stagger = JD_MS(1); /* so that attempts meet */
    fd = dial_any(&p.dial, p.list, p.count);
    if (fd >= 0)
        (void)jd_close(fd);
    peers_close(&p, p.count);
    return fd < 0 ? jd_err(fd) : jd_ok(NULL);
}

static jd_result dial_by_name(void *arg)
{
    int listener = jd_listen("127.0.0.1:80", 0, 0), fd;

    (void)arg;
    if (listener < 0)
        return jd_err(listener);
    fd = jd_dial("localhost:80");
    if (fd >= 0)
        (void)jd_close(fd);
    (void)jd_close(listener);
    return fd < 0 ? jd_err(fd) : jd_ok(NULL);
}

static jd_result resolve_twice(void *arg)
{
    struct addrinfo *list;
    int error = 0;

    (void)arg;
    for (int i = 0; i < 2 && error == 0; i++) {
        error = jd_resolve("localhost", "80", NULL, &list);
        if (error == 0)
            freeaddrinfo(list);
        (void)jd_yield(); /* a cancel is seen by the next call */
    }
    return jd_err(error);
}

static void ends_as_it_may(void *arg, jd_result r, unsigned where)
{
    (void)arg;
    cr_assert(r.error == 0 || r.error == -ECANCELED, "checkpoint %u: %s", where,
              jd_strerror(r.error));
}

#define SWEEP_SEEDS 20

static void sweep(jd_fn fn)
{
    struct sweep s = { .fn = fn, .after = ends_as_it_may, .seeds = SWEEP_SEEDS };
    unsigned points = sweep_run(&s);

    cr_assert_geq(points, jd_test_quick() ? SWEEP_SEEDS / 3 : SWEEP_SEEDS, "%u", points);
    s.fault_percent = 25;
    s.after = NULL;
    (void)sweep_run(&s);
}

Test(sim_dial, a_cancelled_race_leaves_no_descriptor, .timeout = 30)
{
    sweep(dial_and_close);
}

Test(sim_dial, a_cancelled_dial_by_name_leaves_nothing, .timeout = 30)
{
    sweep(dial_by_name);
}

Test(sim_dial, a_cancelled_look_up_leaves_nothing, .timeout = 30)
{
    sweep(resolve_twice);
}

/* --- Answers do not depend on the machine ---------------------------------------------------------- */

static void answers(const char *host, int family, int flags, const char *expected)
{
    struct addrinfo hints = { .ai_family = family, .ai_flags = flags, .ai_socktype = SOCK_STREAM };
    struct address a = { .len = 0 };
    struct addrinfo *list;
    char text[JD_ADDRESS_BYTES];

    cr_assert_eq(jd_resolve(host, "80", &hints, &list), 0, "%s", expected);
    cr_assert_null(list->ai_next);
    memcpy(&a.storage, list->ai_addr, list->ai_addrlen);
    a.len = list->ai_addrlen;
    cr_assert_eq(address_format(&a, text, sizeof(text)), 0);
    cr_assert_str_eq(text, expected);
    freeaddrinfo(list);
}

static jd_result answers_main(void *arg)
{
    struct addrinfo *list = arg;
    int64_t start = jd_now();

    answers("localhost", AF_UNSPEC, 0, "127.0.0.1:80");
    answers("localhost", AF_INET6, AI_ADDRCONFIG, "[::1]:80");
    answers(NULL, AF_UNSPEC, 0, "127.0.0.1:80");
    answers(NULL, AF_UNSPEC, AI_PASSIVE, "0.0.0.0:80");
    answers(NULL, AF_INET6, AI_PASSIVE, "[::]:80");
    answers("10.1.2.3", AF_UNSPEC, 0, "10.1.2.3:80");
    cr_assert_gt(jd_now(), start); /* each takes its time */
    cr_assert_eq(jd_resolve("example.org", "80", NULL, &list), -ENXIO);
    cr_assert_eq(jd_resolve("localhost", "http", NULL, &list), -ENXIO);
    return jd_ok(NULL);
}

Test(sim_dial, names_are_the_simulation_s)
{
    for_each_seed(seed, 20) {
        cr_assert_eq(jd_sim_run(seed, answers_main, NULL, NULL).error, 0);
        nothing_left(seed);
    }
}
