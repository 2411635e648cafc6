/* SPDX-License-Identifier: MIT */
#ifndef ITEM_H
#define ITEM_H

/*
 * What queue models put into queues: items that notice being lost, taken twice, or taken before
 * what was written into them is visible.
 *
 * I1  item_make() writes an item plainly before it is published, item_consume() reads it plainly:
 *     a missing release or acquire in the queue is a data race.
 * I2  An item is consumed once. item_finish() wants every made item consumed.
 */
#include "atomic/atomic.h"
#include "queue/ring.h"

#define ITEM_COUNT 8

struct item {
    int made;
    int consumed;
};

static struct item items[ITEM_COUNT];

static inline void items_reset(void)
{
    for (int i = 0; i < ITEM_COUNT; i++)
        items[i] = (struct item){ 0 };
}

static inline struct item *item_make(int index)
{
    plain_write(items[index].made, index + 1);
    return &items[index];
}

/* The item's index. */
static inline int item_consume(void *item)
{
    struct item *it = item;
    int index = plain_read(it->made) - 1;

    CHECK_THAT(index >= 0 && &items[index] == it);
    CHECK_THAT(plain_read(it->consumed) == 0);
    plain_write(it->consumed, 1);
    return index;
}

static inline void items_finish(void)
{
    for (int i = 0; i < ITEM_COUNT; i++)
        CHECK_THAT((items[i].made != 0) == (items[i].consumed == 1));
}

/* Rings live in the execution's memory: a thief in a freed ring is reported. */
static inline void item_ring_free(void *ptr, size_t bytes)
{
    (void)bytes;
    check_free(ptr);
}

static const struct ring_memory item_memory = { check_alloc, item_ring_free };

#endif /* ITEM_H */
