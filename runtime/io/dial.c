/* SPDX-License-Identifier: MIT */
/*
 * Connecting to an address as text.
 *
 * A name with several addresses is raced (RFC 8305): an attempt starts when the one before has
 * failed or DIAL_STAGGER has passed, and the first connection is taken.
 *
 * I1  Each attempt is a member of a group in the dialling frame, so none outlives the call.
 * I2  `winner` goes from -1 to a descriptor once. Who comes later closes his own. So exactly one
 *     descriptor leaves, or none.
 * I3  A connection that was made wins over a cancel of the caller.
 *
 * Threads: tasks.
 */
#include "io/dial.h"

#include <errno.h>

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
    jd_group attempts;
    jd_sem ended; /* one permit per attempt that has ended */
    JD_ATOMIC(int) winner;
    JD_ATOMIC(int) first_error;
};

struct attempt {
    struct race *race;
    unsigned index;
};

static jd_result attempt_run(void *arg)
{
    const struct attempt *attempt = arg;
    struct race *race = attempt->race;
    int none = -1, no_error = 0;
    int fd = dial_address(&race->list[attempt->index]);

    /* Relaxed, both: read after the semaphore or the close of the group, which order them. */
    if (fd >= 0) {
        if (!atom_cas(&race->winner, &none, fd, relaxed, relaxed))
            (void)jd_close(fd);
    } else if (fd != -ECANCELED) {
        (void)atom_cas(&race->first_error, &no_error, fd, relaxed, relaxed);
    }
    (void)jd_sem_release(&race->ended); /* unbounded: cannot fail for a handful */
    return jd_ok(NULL);
}

/* Launches and waits until one has won, all have failed, or the caller is cancelled. */
static int race_run(struct race *race, struct attempt *attempts)
{
    unsigned count = race->count, launched = 0, ended = 0;
    int error;

    /* Relaxed: the permit that we took orders the winner's store before. */
    while (ended < count && atom_load(&race->winner, relaxed) < 0) {
        if (launched < count) {
            attempts[launched].race = race;
            attempts[launched].index = launched;
            error = jd_group_spawn(&race->attempts, attempt_run, &attempts[launched]);
            if (error < 0)
                return error;
            launched++;
        }
        error = jd_sem_acquire_for(&race->ended, launched < count ? DIAL_STAGGER : JD_FOREVER);
        if (error == 0)
            ended++;
        else if (error != -ETIMEDOUT)
            return error;
    }
    return 0;
}

static int dial_race(const struct address *list, unsigned count)
{
    struct attempt attempts[DIAL_ADDRESSES_MAX];
    struct race race = { .list = list, .count = count };
    int error, ended, winner;

    (void)jd_sem_init(&race.ended, 0); /* cannot fail */
    atom_init(&race.winner, -1);
    atom_init(&race.first_error, 0);
    jd_group_open(&race.attempts, JD_GROUP_KEEP_GOING, JD_FOREVER);
    error = race_run(&race, attempts);
    jd_group_cancel(&race.attempts);
    ended = jd_group_close(&race.attempts);
    (void)ended; /* attempts report through the race */
    /* Relaxed, both: all attempts were joined. */
    winner = atom_load(&race.winner, relaxed);
    if (winner >= 0)
        return winner;
    if (error == 0)
        error = atom_load(&race.first_error, relaxed);
    return error < 0 ? error : -ECANCELED; /* nobody failed: the caller was cancelled */
}

int dial_any(const struct address *list, unsigned count)
{
    JD_ASSERT(count > 0 && count <= DIAL_ADDRESSES_MAX);
    return count == 1 ? dial_address(list) : dial_race(list, count);
}

static int dial_name(const struct address_text *name)
{
    struct resolve *names;
    int fd, error = resolve_name(name, &names);

    if (error < 0)
        return error;
    fd = dial_any(resolve_list(names), resolve_count(names));
    resolve_unref(names);
    return fd;
}

int jd_dial(const char *address)
{
    struct address_text name;
    struct address numeric;
    struct jd_task *task;
    int error = call_begin(WAIT_CANCELLABLE, &task);

    if (error < 0)
        return error;
    if (!address)
        return -EINVAL;
    if (address_parse(address, &numeric) == 0)
        return dial_address(&numeric);
    error = address_parse_name(address, &name);
    return error < 0 ? error : dial_name(&name);
}
