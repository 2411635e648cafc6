/* SPDX-License-Identifier: MIT */
#ifndef IO_DIAL_H
#define IO_DIAL_H

/*
 * Connecting to one of several addresses of the same peer, the first that answers.
 *
 * Threads: tasks.
 */
#include <jackdaw/net.h>

#include "io/address.h"

/* How to dial, and what is told of it. */
struct dial {
    int64_t stagger;
    jd_dial_attempt *attempts; /* receives the first `attempts_max`, in the order of their starts */
    unsigned attempts_max;
    unsigned begun; /* how many there were */
};

/* A descriptor, or the negative errno of an attempt: of the first one in the list that met the peer,
 * else of the first one; -ECANCELED of the caller's cancel.
 * 1 <= count <= JD_DIAL_ATTEMPTS_MAX, best first. */
int dial_any(struct dial *d, const struct address *list, unsigned count);

#endif /* IO_DIAL_H */
