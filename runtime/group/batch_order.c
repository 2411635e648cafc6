/* SPDX-License-Identifier: MIT */
/*
 * Outcomes in the order of the pulls.
 *
 * I1  With JD_BATCH_ORDERED every slot is in the order list from its pull until its outcome is
 *     delivered; the list is in the order of the pulls.
 * I2  A slot that is done and not the first is HELD, without a place. Pulling stops while
 *     reorder_max are held; retries go on, since the first may be one of them.
 *
 * Threads: the consumer's task. Rejected: a ring by number (its size would have to be the sum of
 * all bounds, and a limit may be large).
 */
#include "group/batch.h"

void batch_order_add(struct batch *b, struct batch_slot *slot)
{
    slot->order_next = NULL;
    *b->order_end = slot;
    b->order_end = &slot->order_next;
}

void batch_order_hold(struct batch *b, struct batch_slot *slot)
{
    batch_slot_move(slot, BATCH_DONE, BATCH_HELD);
    b->held++;
}

struct batch_slot *batch_order_pop(struct batch *b)
{
    struct batch_slot *slot = b->order;

    if (!batch_order_is_ready(b))
        return NULL;
    b->order = slot->order_next;
    if (!b->order)
        b->order_end = &b->order;
    b->held--;
    return slot;
}

void batch_abandon_held(struct batch *b)
{
    struct batch_slot *next;

    for (struct batch_slot *slot = b->order; slot; slot = next) { /* bounded by the slots */
        next = slot->order_next;
        if (slot->state == BATCH_HELD)
            batch_abandon(b, slot);
    }
    b->order = NULL; /* the others are abandoned wherever they are */
    b->order_end = &b->order;
    b->held = 0;
}
