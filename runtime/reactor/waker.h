/* SPDX-License-Identifier: MIT */
#ifndef REACTOR_WAKER_H
#define REACTOR_WAKER_H

/*
 * The wake device of a port: a word and an eventfd which the port watches.
 *
 * I1  RUNNING -> PARKED by the owner, anything -> WOKEN by wakers, anything -> RUNNING by the owner.
 * I2  Exactly the waker that turns PARKED into WOKEN writes the eventfd.
 * I3  While PARKED the owner holds its reap lock, so nobody else consumes the eventfd's event.
 *
 * Lost wake-up: S1 the owner CASes RUNNING -> PARKED, S2 it sleeps; W1 a waker exchanges WOKEN in,
 * W2 it writes if it saw PARKED. Both are RMWs of one word: either S1 fails (W1 was first) and the
 * owner does not sleep, or W1 sees PARKED and writes. The eventfd is consumed level-checked: a
 * late write (the owner woke for another reason) costs one early return of a later park.
 *
 * A non-blocking eventfd is not interrupted by signals, but a supervisor that answers system calls
 * may say EINTR all the same; then it was not written, and the owner would sleep on.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "atomic/atomic.h"
#include "base/assert.h"

enum { WAKER_RUNNING, WAKER_PARKED, WAKER_WOKEN };

struct waker {
    JD_ATOMIC(uint32_t) word;
    int fd;
};

static inline ssize_t eventfd_put(int fd)
{
    uint64_t one = 1;
    ssize_t put;

    do { /* bounded by interruptions */
        put = write(fd, &one, sizeof(one));
    } while (put < 0 && errno == EINTR);
    return put;
}

static inline ssize_t eventfd_take(int fd)
{
    uint64_t count;
    ssize_t got;

    do { /* bounded by interruptions */
        got = read(fd, &count, sizeof(count));
    } while (got < 0 && errno == EINTR);
    return got;
}

static inline int waker_init(struct waker *w)
{
    atom_init(&w->word, WAKER_RUNNING);
    w->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return w->fd < 0 ? -errno : 0;
}

static inline void waker_fini(struct waker *w)
{
    if (w->fd >= 0)
        close(w->fd);
    w->fd = -1;
}

/* Owner: false when a wake is already there, then do not sleep but call waker_finish(). */
static inline bool waker_prepare(struct waker *w)
{
    uint32_t running = WAKER_RUNNING;

    /* [WAKER-1] Acquire on failure, pairs with the waker's exchange: sees why it was woken.
     * Release on success: what the owner checked is before what the waker does next. */
    return atom_cas(&w->word, &running, WAKER_PARKED, acq_rel, acquire);
}

static inline bool waker_is_woken(struct waker *w)
{
    /* Relaxed: only decides whether to sleep again; waker_finish() acquires. */
    return atom_load(&w->word, relaxed) == WAKER_WOKEN;
}

/* Owner, awake again. `event_seen`: the port saw the eventfd's event. */
static inline void waker_finish(struct waker *w, bool event_seen)
{
    /* [WAKER-1] Acquire, pairs with the exchange in waker_wake(). */
    bool woken = atom_exchange(&w->word, WAKER_RUNNING, acq_rel) == WAKER_WOKEN;

    if (woken || event_seen) {
        ssize_t got = eventfd_take(w->fd);

        /* EAGAIN: the waker has not written yet, or never will as the wake came before the park. */
        JD_ASSERT(got == (ssize_t)sizeof(uint64_t) || errno == EAGAIN);
    }
}

static inline void waker_wake(struct waker *w)
{
    /* [WAKER-1] Release, pairs with the owner's exchange and CAS: what it is woken for. */
    if (atom_exchange(&w->word, WAKER_WOKEN, acq_rel) == WAKER_PARKED) {
        ssize_t put = eventfd_put(w->fd);

        /* EAGAIN: the counter is full, so the event is there. */
        JD_ASSERT(put == (ssize_t)sizeof(uint64_t) || errno == EAGAIN);
    }
}

#endif /* REACTOR_WAKER_H */
