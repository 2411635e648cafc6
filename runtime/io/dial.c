/* SPDX-License-Identifier: MIT */
/*
 * Connecting to an address as text.
 *
 * A name with several addresses is raced (RFC 8305): an attempt starts when the one before has
 * failed or the stagger has passed, and the first connection is taken.
 *
 * I1  Each attempt is a member of a group in the dialling frame, so none outlives the call.
 * I2  `winner` goes from -1 to a descriptor once. Who comes later closes his own. So exactly one
 *     descriptor leaves, or none.
 * I3  A connection that was made wins over a cancel of the caller.
 * I4  Which error is told does not depend on which attempt was faster: a host without IPv6 says
 *     "unreachable" at once, but what the peer said on IPv4 is what people need to know.
 *
 * Threads: tasks.
 */
#include "io/dial.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>

#include <jackdaw/group.h>
#include <jackdaw/net.h>
#include <jackdaw/sync.h>
#include <jackdaw/time.h>

#include "atomic/atomic.h"
#include "base/assert.h"
#include "io/resolve.h"
#include "io/sys.h"
#include "sched/wait.h"

#define DIAL_STAGGER JD_MS(250) /* as RFC 8305 recommends */
#define UNIX_RETRY_MIN JD_MS(1)
#define UNIX_RETRY_MAX JD_MS(100)

/*
 * A unix socket whose backlog is full says EAGAIN to a non-blocking connect and offers nothing to
 * wait for; a blocking one would wait. So we ask again.
 */
static int connect_patiently(int fd, const struct address *a)
{
    int64_t delay = UNIX_RETRY_MIN;
    int error;

    for (;;) { /* unbounded: until there is room, as connect(2) on a blocking socket; or a cancel */
        error = jd_connect(fd, (const struct sockaddr *)&a->storage, a->len);
        if (error != -EAGAIN || !address_is_unix(a))
            return error;
        error = jd_sleep(delay);
        if (error < 0)
            return error;
        delay = delay >= UNIX_RETRY_MAX / 2 ? UNIX_RETRY_MAX : delay * 2;
    }
}

static int dial_address(const struct address *a)
{
    int fd = sys_socket(a->storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int error;

    if (fd < 0)
        return fd;
    error = connect_patiently(fd, a);
    if (error < 0) {
        (void)jd_close(fd); /* the connection that failed is the error */
        return error;
    }
    return fd;
}

struct race {
    const struct address *list;
    unsigned count;
    int64_t stagger;
    jd_group attempts;
    jd_sem ended; /* one permit per attempt that has ended */
    JD_ATOMIC(int) winner;
};

struct attempt {
    struct race *race;
    unsigned index;
    int error; /* the attempt's own until it was joined; 0: it has won, or was not even begun */
};

static jd_result attempt_run(void *arg)
{
    struct attempt *attempt = arg;
    struct race *race = attempt->race;
    int none = -1;
    int fd = dial_address(&race->list[attempt->index]);

    attempt->error = fd < 0 ? fd : 0;
    /* Relaxed: read after the semaphore or the close of the group, which order it. */
    if (fd >= 0 && !atom_cas(&race->winner, &none, fd, relaxed, relaxed)) {
        (void)jd_close(fd); /* nobody has used it */
        attempt->error = -ECANCELED;
    }
    (void)jd_sem_release(&race->ended); /* unbounded: cannot fail for a handful */
    return jd_ok(NULL);
}

/* Launches and waits until one has won, all have failed, or the caller is cancelled. */
static int race_run(struct race *race, struct attempt *attempts, unsigned *ret_launched)
{
    unsigned count = race->count, launched = 0, ended = 0;
    int error;

    /* Relaxed: the permit that we took orders the winner's store before. */
    while (ended < count && atom_load(&race->winner, relaxed) < 0) {
        if (launched < count) {
            attempts[launched] = (struct attempt){ .race = race, .index = launched };
            error = jd_group_spawn(&race->attempts, attempt_run, &attempts[launched]);
            if (error < 0)
                return error;
            *ret_launched = ++launched;
        }
        error = jd_sem_acquire_for(&race->ended, launched < count ? race->stagger : JD_FOREVER);
        if (error == 0)
            ended++;
        else if (error != -ETIMEDOUT)
            return error;
    }
    return 0;
}

/* Errors that say something of this host and its routes, and nothing of the peer. */
static bool is_local(int error)
{
    switch (error) {
    case -ENETUNREACH:
    case -EHOSTUNREACH:
    case -ENETDOWN:
    case -EADDRNOTAVAIL:
    case -EAFNOSUPPORT:
    case -EACCES:
    case -EPERM:
        return true;
    default:
        return false;
    }
}

/* I4. 0: no attempt has failed by itself. */
static int race_error(const struct attempt *attempts, unsigned count)
{
    int told = 0;

    for (unsigned i = 0; i < count; i++) {
        int error = attempts[i].error;

        if (error != 0 && (told == 0 || (is_local(told) && !is_local(error))))
            told = error;
    }
    return told;
}

static void tell(struct dial *d, const struct address *a, int error)
{
    if (d->begun < d->attempts_max) {
        jd_dial_attempt *told = &d->attempts[d->begun];

        told->error = error;
        (void)address_format(a, told->address, sizeof(told->address)); /* long enough for all */
    }
    d->begun++;
}

static int dial_race(struct dial *d, const struct address *list, unsigned count)
{
    struct attempt attempts[JD_DIAL_ATTEMPTS_MAX] = { { .error = 0 } };
    struct race race = { .list = list, .count = count, .stagger = d->stagger };
    unsigned launched = 0;
    int error, ended, winner;

    (void)jd_sem_init(&race.ended, 0); /* cannot fail */
    atom_init(&race.winner, -1);
    jd_group_open(&race.attempts, JD_GROUP_KEEP_GOING, JD_FOREVER);
    error = race_run(&race, attempts, &launched);
    jd_group_cancel(&race.attempts);
    ended = jd_group_close(&race.attempts);
    (void)ended; /* attempts report through the race */
    for (unsigned i = 0; i < launched; i++)
        tell(d, &list[i], attempts[i].error);
    /* Relaxed: all attempts were joined. */
    winner = atom_load(&race.winner, relaxed);
    if (winner >= 0)
        return winner;
    if (error == 0)
        error = race_error(attempts, count);
    return error < 0 ? error : -ECANCELED; /* nobody failed: the caller was cancelled */
}

static int dial_one(struct dial *d, const struct address *a)
{
    int fd = dial_address(a);

    tell(d, a, fd < 0 ? fd : 0);
    return fd;
}

int dial_any(struct dial *d, const struct address *list, unsigned count)
{
    JD_ASSERT(count > 0 && count <= JD_DIAL_ATTEMPTS_MAX);
    return count == 1 ? dial_one(d, list) : dial_race(d, list, count);
}

/* --- Names ---------------------------------------------------------------------------------------- */

static const struct addrinfo *next_of(const struct addrinfo *ai, int family, bool other)
{
    while (ai &&
           ((ai->ai_family != family) != other || ai->ai_addrlen > sizeof(struct sockaddr_in6)))
        ai = ai->ai_next; /* bounded by the list */
    return ai;
}

static void take_address(struct address *a, const struct addrinfo *ai, in_port_t port)
{
    memset(&a->storage, 0, sizeof(a->storage));
    memcpy(&a->storage, ai->ai_addr, ai->ai_addrlen);
    a->len = ai->ai_addrlen;
    if (ai->ai_family == AF_INET6)
        ((struct sockaddr_in6 *)(void *)&a->storage)->sin6_port = port;
    else
        ((struct sockaddr_in *)(void *)&a->storage)->sin_port = port;
}

/* The first answer's family and the other one in turn (RFC 8305), so that a broken IPv6 costs one
 * delay and not one per address. How many there are. */
static unsigned take_addresses(const struct addrinfo *ai, uint16_t port, struct address *ret)
{
    int family = ai ? ai->ai_family : AF_UNSPEC;
    const struct addrinfo *same = next_of(ai, family, false), *other = next_of(ai, family, true);
    unsigned count = 0;

    while (count < JD_DIAL_ATTEMPTS_MAX && (same || other)) {
        if (same) {
            take_address(&ret[count++], same, htons(port));
            same = next_of(same->ai_next, family, false);
        }
        if (other && count < JD_DIAL_ATTEMPTS_MAX) {
            take_address(&ret[count++], other, htons(port));
            other = next_of(other->ai_next, family, true);
        }
    }
    return count;
}

/*
 * Without AI_ADDRCONFIG: it would hide ::1 from a host whose only IPv6 address that is. An address
 * that cannot be reached fails at once, and is sorted last.
 */
static int dial_name(struct dial *d, const struct address_text *name)
{
    static const struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
    struct address list[JD_DIAL_ATTEMPTS_MAX];
    struct addrinfo *answers;
    unsigned count;
    int error = resolve_names(name->host, NULL, &hints, &answers);

    if (error < 0)
        return error;
    count = take_addresses(answers, name->port, list);
    freeaddrinfo(answers);
    return count > 0 ? dial_any(d, list, count) : -ENXIO;
}

static int dial_text(struct dial *d, const char *address)
{
    struct address_text name;
    struct address numeric;
    int error = address_parse(address, &numeric);

    if (error == 0)
        return dial_one(d, &numeric);
    error = address_parse_name(address, &name);
    return error < 0 ? error : dial_name(d, &name);
}

static int options_read(const jd_dial_options *from, struct dial *ret)
{
    jd_dial_options o = JD_DIAL_OPTIONS_INIT;
    const unsigned char *bytes = (const unsigned char *)from;

    if (from) {
        if (from->size == 0)
            return -EINVAL;
        for (size_t i = sizeof(o); i < from->size; i++)
            if (bytes[i] != 0)
                return -E2BIG;
        memcpy(&o, from, from->size < sizeof(o) ? from->size : sizeof(o));
    }
    if (o.stagger < 0 || (o.attempts_max > 0 && !o.attempts))
        return -EINVAL;
    *ret = (struct dial){ .stagger = o.stagger > 0 ? o.stagger : DIAL_STAGGER,
                          .attempts = o.attempts,
                          .attempts_max = o.attempts_max };
    return 0;
}

int jd_dial_with(const char *address, const jd_dial_options *o, unsigned *ret_attempts)
{
    struct dial d;
    struct jd_task *task;
    int fd, error = call_begin(WAIT_CANCELLABLE, &task);

    if (ret_attempts)
        *ret_attempts = 0;
    if (error < 0)
        return error;
    if (!address)
        return -EINVAL;
    error = options_read(o, &d);
    if (error < 0)
        return error;
    fd = dial_text(&d, address);
    if (ret_attempts)
        *ret_attempts = d.begun;
    return fd;
}

int jd_dial(const char *address)
{
    return jd_dial_with(address, NULL, NULL);
}
