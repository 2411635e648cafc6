/* SPDX-License-Identifier: MIT */
/*
 * Slots of a batch: their memory, and how the consumer hears that one is done. See batch.h for the
 * invariants.
 *
 * Threads: batch_push(): any worker, once per flying slot; batch_push_from_anywhere(): any thread,
 * once per wait. All others: the consumer.
 */
#include <errno.h>

#include "base/alloc.h"
#include "group/batch.h"
#include "sched/wait.h"

/* How the consumer's wait ends when a slot is done; CAUSE_GRANTED is the permit. */
#define CAUSE_DONE (CAUSE_GRANTED + 1)

#define DONE_WAITING ((uintptr_t)1)
_Static_assert(sizeof(uintptr_t) == 8, "a wait's number and a tag bit share a word with pointers");

static bool chunk_add(struct batch *b)
{
    struct batch_chunk *chunk = mem_alloc(sizeof(*chunk));

    if (!chunk)
        return false;
    if (!b->is_plain && !batch_heap_reserve(&b->timers, b->slots + BATCH_CHUNK_SLOTS)) {
        mem_free(chunk, sizeof(*chunk));
        return false;
    }
    chunk->next = b->chunks;
    b->chunks = chunk;
    for (unsigned i = 0; i < BATCH_CHUNK_SLOTS; i++) {
        chunk->slots[i] = (struct batch_slot){ .batch = b, .next = b->free };
        list_init(&chunk->slots[i].link);
        chunk->slots[i].proxy.target.kind = TARGET_PROXY;
        word_reset(&chunk->slots[i].proxy.target.word, WORD_RUNNING);
        b->free = &chunk->slots[i];
    }
    b->slots += BATCH_CHUNK_SLOTS;
    return true;
}

struct batch_slot *batch_slot_take(struct batch *b)
{
    struct batch_slot *slot;

    if (!b->free && !chunk_add(b))
        return NULL;
    slot = b->free;
    JD_ASSERT(slot->state == BATCH_FREE);
    b->free = slot->next;
    b->live++;
    return slot;
}

void batch_slot_put(struct batch *b, struct batch_slot *slot)
{
    JD_ASSERT(b->live > 0);
    JD_ASSERT(!slot->has_place);
    slot->state = BATCH_FREE;
    slot->next = b->free;
    b->free = slot;
    b->live--;
}

void batch_slots_free(struct batch *b)
{
    struct batch_chunk *next;

    JD_ASSERT(b->live == 0);
    JD_ASSERT(b->places == 0);
    for (struct batch_chunk *chunk = b->chunks; chunk; chunk = next) {
        next = chunk->next;
        mem_free(chunk, sizeof(*chunk));
    }
    batch_heap_free(&b->timers);
}

/*
 * Behind the tasks that are ready, not in the LIFO slot: calls that end meanwhile are delivered by
 * the same turn (320 against 420 ns per no-op item at limit 50).
 */
static void consumer_ready(struct jd_task *t)
{
    if (JD_UNLIKELY(t->flags & TASK_PINNED))
        task_ready(t);
    else
        sched_push(worker_current(), t);
}

/* True: the consumer t is to be queued. Nothing of the batch may be touched after the CAS. */
static JD_ALWAYS_INLINE bool push(struct batch *b, struct batch_slot *slot, struct jd_task *t)
{
    uintptr_t head = atom_load(&b->done, relaxed); /* Relaxed: only a guess, the CAS decides. */

    do { /* lock-free: a failure is another push, or the consumer's */
        slot->next = head & DONE_WAITING ? NULL : (struct batch_slot *)head;
        /* [BATCH-1] Release, pairs with the acquire in batch_collect(): the outcome and all that
         * the call did happen before the sink. [BATCH-2] Acquire, pairs with done_arm(): whoever
         * reads the wait's number finds that wait open, and not the word of the one before. */
    } while (!atom_cas_weak(&b->done, &head, (uintptr_t)slot, acq_rel, relaxed));
    return (head & DONE_WAITING) &&
           word_wake(&t->target.word, (uint32_t)(head >> 1), CAUSE_DONE) == WAKE_QUEUE;
}

/* The batch is there until its group has seen this task end. */
void batch_push(struct batch *b, struct batch_slot *slot)
{
    struct jd_task *t = b->task;

    if (push(b, slot, t))
        consumer_ready(t);
}

/* The batch may be over as soon as the slot is collected; the reference keeps the word. */
void batch_push_from_anywhere(struct batch *b, struct batch_slot *slot)
{
    struct jd_task *t = b->task;

    future_ref(&t->future);
    if (push(b, slot, t))
        task_ready(t);
    future_unref(&t->future);
}

void batch_collect(struct batch *b)
{
    struct batch_slot *oldest = NULL, *newest;

    if (atom_load(&b->done, relaxed) == 0) /* Relaxed: only to spare the exchange. */
        return;
    /* [BATCH-1] Acquire, pairs with batch_push(): one release sequence, so all slots are seen. */
    newest = (struct batch_slot *)atom_exchange(&b->done, 0, acquire);
    for (struct batch_slot *slot = newest; slot;) {
        struct batch_slot *older = slot->next;

        slot->next = oldest;
        oldest = slot;
        slot = older;
    }
    *b->ready.end = oldest;
    if (newest)
        b->ready.end = &newest->next;
}

/* Tells the calls whom to wake. False: something is done already. */
static bool done_arm(struct batch *b, uint32_t seq)
{
    uintptr_t none = 0;

    /* [BATCH-2] Release, pairs with batch_push(): the wait with this number is open. */
    return atom_cas(&b->done, &none, (uintptr_t)seq << 1 | DONE_WAITING, release, relaxed);
}

static void done_disarm(struct batch *b, uint32_t seq)
{
    uintptr_t armed = (uintptr_t)seq << 1 | DONE_WAITING;

    (void)atom_cas(&b->done, &armed, 0, relaxed, relaxed); /* losing: a slot has come */
}

int batch_sleep(struct batch *b, bool wants_permit, bool cancellable, int64_t deadline)
{
    struct wait_target *target = &b->task->target;
    struct wait w;
    unsigned cause;
    int err = 0;

    (void)wait_open(&w, b->task, cancellable ? WAIT_CANCELLABLE : 0); /* fails for threads only */
    if (!done_arm(b, w.seq)) {
        (void)word_wake(&target->word, w.seq, CAUSE_DONE); /* losing: cancelled first */
    } else if (wants_permit) {
        b->has_permit = sem_join(b->sem, &b->permit, w.seq);
        b->permit_queued = !b->has_permit;
        if (b->has_permit) /* however the wait ends */
            (void)word_wake(&target->word, w.seq, CAUSE_GRANTED);
    }
    cause = wait_sleep(&w, deadline);
    done_disarm(b, w.seq);
    if (cause == CAUSE_GRANTED) {
        b->has_permit = true;
        b->permit_queued = false;
    } else if (cause == CAUSE_CANCELLED) {
        err = wait_error(&w, cause);
    }
    wait_close(&w);
    return err;
}
