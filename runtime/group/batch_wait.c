/* SPDX-License-Identifier: MIT */
/*
 * The item's own permit: of its host, its tenant. See batch.h I8 and I10.
 *
 * A slot that waits is a wait without a task: its word is opened and parked by the consumer, and
 * whoever ends the wait says WAKE_QUEUE, which here means: push the slot on `done`.
 *
 * Threads: the consumer's task; granted(): any thread that releases a permit.
 */
#include <errno.h>

#include "group/batch.h"

static void granted(struct wait_proxy *proxy)
{
    struct batch_slot *slot = JD_CONTAINER_OF(proxy, struct batch_slot, proxy);

    batch_push_from_anywhere(slot->batch, slot);
}

/* Granted between the join and the park: the granter may still hold the lock (sem.h I6). */
static void granted_early(struct batch_slot *slot)
{
    sem_quit(slot->own_sem, &slot->own_wait);
    word_resume(&slot->proxy.target.word);
    slot->has_own_permit = true;
}

/* True: it was free, after all. */
static bool wait_begin(struct batch_slot *slot)
{
    struct wait_target *target = &slot->proxy.target;
    uint32_t seq = word_wait_begin(&target->word, /* cancellable= */ false);

    slot->proxy.ready = granted;
    waiter_init(&slot->own_wait, target, seq);
    slot->own_wait.want = 1;
    if (sem_join(slot->own_sem, &slot->own_wait, seq))
        (void)word_wake(&target->word, seq, CAUSE_GRANTED); /* nobody else knows of this wait */
    if (word_park(&target->word))
        return false;
    granted_early(slot);
    return true;
}

int batch_own_sem_ask(struct batch *b, struct batch_slot *slot)
{
    jd_sem *own = b->o.item_sem(slot->item, b->o.ctx);

    slot->own_sem = own ? sem_of(own) : NULL;
    return own && batch_would_nest(b->task, slot->own_sem) ? -EDEADLK : 0;
}

bool batch_own_permit_take(struct batch *b, struct batch_slot *slot)
{
    JD_ASSERT(!slot->has_own_permit);
    if (!slot->own_sem)
        return true;
    slot->has_own_permit = sem_try_take(slot->own_sem, 1);
    if (slot->has_own_permit)
        return true;
    batch_park(b, slot, BATCH_WAITING); /* before it can come back */
    if (!wait_begin(slot))
        return false;
    batch_unpark(b, slot);
    return true;
}

void batch_own_permit_put(struct batch_slot *slot)
{
    JD_ASSERT(slot->has_own_permit);
    slot->has_own_permit = false;
    (void)sem_give(slot->own_sem, 1); /* refused only if others released what they did not hold */
}

void batch_own_permit_granted(struct batch *b, struct batch_slot *slot)
{
    JD_ASSERT(slot->state == BATCH_WAITING);
    word_resume(&slot->proxy.target.word);
    slot->has_own_permit = true;
    batch_unpark(b, slot);
}

bool batch_own_permit_give_up(struct batch *b, struct batch_slot *slot)
{
    struct task_word *word = &slot->proxy.target.word;

    if (word_wake(word, slot->own_wait.seq, CAUSE_TIMED_OUT) == WAKE_LOST)
        return false;
    sem_quit(slot->own_sem, &slot->own_wait);
    word_resume(word);
    batch_unpark(b, slot);
    return true;
}
