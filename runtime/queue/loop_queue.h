/* SPDX-License-Identifier: MIT */
#ifndef QUEUE_LOOP_QUEUE_H
#define QUEUE_LOOP_QUEUE_H

/*
 * The loop queue of one worker: callbacks, pinned tasks, and with JD_FIFO all tasks. Never stolen.
 * A tick runs what was there when it began; what is pushed meanwhile waits for the next tick, so
 * that a callback that schedules itself starves neither the port nor the timers (asyncio's rule).
 *
 * I1  FIFO over all ticks: a tick takes a prefix.
 * I2  tick_left <= len: the items of this tick are the first tick_left ones. A count is enough for
 *     the mark, because nothing is removed from the middle.
 *
 * Threads: the owner only, no atomics; others go through inbox.h.
 *
 * Rejected: two lists that are swapped (a tick that ends early must splice them back).
 */
#include "queue/qlist.h"

struct loop_item {
    struct qnode node;
    unsigned char kind; /* whose meaning only the pusher and the worker loop know */
};

struct loop_queue {
    struct qlist list;
    uint64_t len;
    uint64_t tick_left;
};

static inline void loop_queue_init(struct loop_queue *q)
{
    qlist_init(&q->list);
    q->len = 0;
    q->tick_left = 0;
}

static inline void loop_queue_push(struct loop_queue *q, struct loop_item *item)
{
    qlist_push(&q->list, &item->node);
    q->len++;
}

/* Starts a tick over all that is here now, leftovers of the last tick first; returns how many. */
static inline uint64_t loop_queue_begin_tick(struct loop_queue *q)
{
    q->tick_left = q->len;
    return q->len;
}

/* The next item of this tick, or NULL when the tick is over. */
static inline struct loop_item *loop_queue_next(struct loop_queue *q)
{
    if (q->tick_left == 0)
        return NULL;
    struct qnode *node = qlist_pop(&q->list);

    JD_ASSERT(node != NULL);
    q->tick_left--;
    q->len--;
    return JD_CONTAINER_OF(node, struct loop_item, node);
}

static inline uint64_t loop_queue_len(const struct loop_queue *q)
{
    return q->len;
}

/* Nothing of the current tick is left. */
static inline bool loop_queue_tick_is_over(const struct loop_queue *q)
{
    return q->tick_left == 0;
}

static inline bool loop_queue_is_empty(const struct loop_queue *q)
{
    return q->len == 0;
}

#endif /* QUEUE_LOOP_QUEUE_H */
