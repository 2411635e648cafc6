/* SPDX-License-Identifier: MIT */
#ifndef GROUP_BATCH_HEAP_H
#define GROUP_BATCH_HEAP_H

/*
 * The deadlines of a batch's slots: a binary heap of intrusive nodes that know their index, so that
 * any of them can leave. Equal times leave in the order they came.
 *
 * I1  nodes[i] is not later than nodes[2i+1] and nodes[2i+2]; nodes[i]->index == i + 1.
 * I2  A node outside has index 0.
 * I3  Room is reserved when a slot is made, so that adding cannot fail.
 *
 * Threads: one. Rejected: the worker's timer wheel (it would wake the consumer from under a lock,
 * for deadlines that only the consumer acts upon).
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/clock.h"

struct batch_timer {
    int64_t when;
    uint64_t order;
    unsigned index;
};

struct batch_heap {
    struct batch_timer **nodes;
    unsigned count, room;
    uint64_t order;
};

/* False: out of memory. */
static inline bool batch_heap_reserve(struct batch_heap *h, unsigned room)
{
    struct batch_timer **nodes;

    if (room <= h->room)
        return true;
    nodes = mem_alloc(room * sizeof(*nodes));
    if (!nodes)
        return false;
    for (unsigned i = 0; i < h->count; i++)
        nodes[i] = h->nodes[i];
    if (h->nodes)
        mem_free(h->nodes, h->room * sizeof(*nodes));
    h->nodes = nodes;
    h->room = room;
    return true;
}

static inline void batch_heap_free(struct batch_heap *h)
{
    JD_ASSERT(h->count == 0);
    if (h->nodes)
        mem_free(h->nodes, h->room * sizeof(*h->nodes));
}

static inline bool batch_timer_is_armed(const struct batch_timer *t)
{
    return t->index != 0;
}

static inline bool batch_timer_before(const struct batch_timer *a, const struct batch_timer *b)
{
    return a->when != b->when ? a->when < b->when : a->order < b->order;
}

static inline void batch_heap_set(struct batch_heap *h, unsigned i, struct batch_timer *t)
{
    h->nodes[i] = t;
    t->index = i + 1;
}

/* Puts t, which belongs to place i or above it, where it belongs. */
static inline void batch_heap_rise(struct batch_heap *h, unsigned i, struct batch_timer *t)
{
    while (i > 0 && batch_timer_before(t, h->nodes[(i - 1) / 2])) { /* bounded by the depth */
        batch_heap_set(h, i, h->nodes[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    batch_heap_set(h, i, t);
}

static inline void batch_heap_add(struct batch_heap *h, struct batch_timer *t, int64_t when)
{
    JD_ASSERT(!batch_timer_is_armed(t));
    JD_ASSERT(h->count < h->room);
    t->when = when;
    t->order = h->order++;
    batch_heap_rise(h, h->count++, t);
}

/* Of a node that is in it. */
static inline void batch_heap_remove(struct batch_heap *h, struct batch_timer *t)
{
    struct batch_timer *last = h->nodes[--h->count];
    unsigned i = t->index - 1, child;

    JD_ASSERT(batch_timer_is_armed(t));
    t->index = 0;
    if (last == t)
        return;
    while ((child = 2 * i + 1) < h->count) { /* bounded by the depth */
        if (child + 1 < h->count && batch_timer_before(h->nodes[child + 1], h->nodes[child]))
            child++;
        if (!batch_timer_before(h->nodes[child], last))
            break;
        batch_heap_set(h, i, h->nodes[child]);
        i = child;
    }
    batch_heap_rise(h, i, last);
}

/* The earliest, or CLOCK_FOREVER. */
static inline int64_t batch_heap_next(const struct batch_heap *h)
{
    return h->count ? h->nodes[0]->when : CLOCK_FOREVER;
}

#endif /* GROUP_BATCH_HEAP_H */
