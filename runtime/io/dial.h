/* SPDX-License-Identifier: MIT */
#ifndef IO_DIAL_H
#define IO_DIAL_H

/*
 * Connecting to one of several addresses of the same peer, the first that answers.
 *
 * Threads: tasks.
 */
#include "io/address.h"

#define DIAL_ADDRESSES_MAX 8 /* arbitrary; the best come first */

/* A descriptor, or the negative errno of the first attempt that failed. 1 <= count <= MAX. */
int dial_any(const struct address *list, unsigned count);

#endif /* IO_DIAL_H */
