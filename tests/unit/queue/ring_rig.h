/* SPDX-License-Identifier: MIT */
#ifndef RING_RIG_H
#define RING_RIG_H

/* What the tests of the ring queues share: memory that is counted and can run out, and items. */
#include <stdint.h>
#include <stdlib.h>

#include "queue/ring.h"

static unsigned allocations_left = 1000;
static size_t bytes_out;

static void *count_alloc(size_t bytes)
{
    if (allocations_left == 0)
        return NULL;
    allocations_left--;
    bytes_out += bytes;
    return malloc(bytes);
}

static void count_free(void *ptr, size_t bytes)
{
    bytes_out -= bytes;
    free(ptr);
}

static const struct ring_memory memory = { count_alloc, count_free };

static void *item(uintptr_t n)
{
    return (void *)(n + 1); /* never NULL, never followed */
}

#endif /* RING_RIG_H */
