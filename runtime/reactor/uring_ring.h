/* SPDX-License-Identifier: MIT */
#ifndef REACTOR_URING_RING_H
#define REACTOR_URING_RING_H

/*
 * One io_uring in shared memory, with the rules which make it usable by many threads.
 *
 * I1  SQEs are written and published under the port's submit lock; a published SQE is never
 *     rewritten. The tail is published by a release store, so any thread can submit by entering
 *     on the plain descriptor: the kernel serialises the enters.
 * I2  CQEs are taken under the port's reap lock only.
 * I3  What is not submitted yet is tail - head in shared memory: nobody counts it privately, so a
 *     short submit needs no bookkeeping.
 *
 * liburing maps the memory and fills SQEs; its own head and tail code is not used, since it
 * assumes one thread.
 */
#include <stdbool.h>
#include <stdint.h>

#include "atomic/atomic.h"
#include "reactor/uring_compat.h"

struct ring_word {
    JD_ATOMIC(unsigned) value;
};

/* A CQE without its flexible tail. */
struct ring_completion {
    uint64_t user_data;
    int32_t res;
    uint32_t flags;
};

struct ring {
    struct io_uring lib; /* mappings, SQE and CQE arrays; constant after ring_init() */
    struct ring_word *sq_head, *sq_tail, *sq_flags, *cq_head, *cq_tail;
    unsigned sq_mask, sq_entries, cq_mask;
};

/* Tries without the newest flags on EINVAL. Negative errno: what io_uring_setup(2) said. */
int ring_init(struct ring *ring, unsigned entries);
void ring_fini(struct ring *ring);

/* Submit lock held. NULL: full. The SQE is zeroed; publish before unlocking. */
struct io_uring_sqe *ring_sqe(struct ring *ring);
void ring_publish(struct ring *ring);

/* Reap lock held. Copies at most `max` CQEs and gives their places back. */
unsigned ring_reap(struct ring *ring, struct ring_completion *out, unsigned max);

/* registered: an index the calling thread registered, or -1 for the plain descriptor.
 * wait_ns: how long to wait for `min_complete`; INT64_MAX: for ever. Negative errno. */
int ring_enter(struct ring *ring, int registered, unsigned submit, unsigned min_complete,
               unsigned flags, int64_t wait_ns);
int ring_register_self(struct ring *ring); /* index or negative errno */
void ring_unregister_self(struct ring *ring, int index);

/* Any thread. Negative errno; -ENOENT: not found. */
int ring_sync_cancel(struct ring *ring, uint64_t user_data, unsigned flags);

/* Failed for now only: interrupted, short of memory (-ENOMEM: for a thread's first enter), or the CQ
 * must be reaped first. */
static inline bool ring_will_recover(int enter_result)
{
    return enter_result == -EINTR || enter_result == -EAGAIN || enter_result == -EBUSY ||
           enter_result == -ENOMEM;
}

static inline unsigned ring_unsubmitted(const struct ring *ring)
{
    /* Relaxed: a stale answer is repaired by the next look; the tail's order matters to the
     * kernel only, which acquires it. The head first: it never passes the tail read later. */
    unsigned head = atom_load(&ring->sq_head->value, relaxed);

    return atom_load(&ring->sq_tail->value, relaxed) - head;
}

static inline bool ring_has_cqe(const struct ring *ring)
{
    /* Relaxed: a look; ring_reap() acquires. */
    return atom_load(&ring->cq_head->value, relaxed) != atom_load(&ring->cq_tail->value, relaxed);
}

static inline unsigned ring_flags(const struct ring *ring)
{
    return atom_load(&ring->sq_flags->value, relaxed); /* Relaxed: a look. */
}

#endif /* REACTOR_URING_RING_H */
