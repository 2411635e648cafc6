/* SPDX-License-Identifier: MIT */
#ifndef GROUP_BATCH_H
#define GROUP_BATCH_H

/*
 * A batch: one consumer (the caller's task) and up to `limit` calls, each in a task of its own.
 *
 *   slot:  free --taken, permit taken, item pulled--> flying --pushed by its call--> done
 *          --its outcome delivered or abandoned, by the consumer--> free
 *
 * I1  A slot, then the shared permit, are taken before the source is asked: a pulled item can
 *     always start. Memory is O(limit); slots come in chunks and are kept until the batch ends.
 * I2  source, sink, abandon and progress run in the consumer, one at a time: while one of them
 *     suspends the others wait, and no new call starts; started calls go on.
 * I3  The call's task owns a flying slot. It leaves `running`, gives the permit back and pushes the
 *     slot on `done`, in this order: so `running` never exceeds the limit, and a permit does not
 *     wait for the consumer.
 * I4  `done` is 0, a stack of slots, or the number of the consumer's wait with the low bit set.
 *     The push that replaces the latter ends that wait: at most one wake per wait, and never one
 *     for another wait.
 * I5  While it waits for the shared permit the consumer also waits for done slots, with one wait;
 *     its place in the semaphore's queue is kept over waits that end otherwise (sem_join).
 * I6  Each pulled item ends in exactly one of sink (or no sink: counted) and abandon.
 * I7  Calls are members of a group whose close is the last thing: nothing is left behind it.
 *
 * Threads: `done` and `running` are everybody's, the rest is the consumer's.
 * Rejected: as many looping workers as slots (no task of its own per call: a cancel, a name or a
 * dump could not tell calls apart); a queue with a lock for done slots (the wake would be inside).
 */
#include <jackdaw/batch.h>
#include <jackdaw/group.h>

#include "base/attr.h"
#include "base/histogram.h"
#include "sync/sem.h"

#define BATCH_CHUNK_SLOTS 64

struct batch;

struct batch_slot {
    struct batch *batch;     /* constant */
    struct batch_slot *next; /* in the free list, the done stack or the ready list */
    void *item;
    jd_result result;
    int64_t latency;
};

struct batch_chunk {
    struct batch_chunk *next;
    struct batch_slot slots[BATCH_CHUNK_SLOTS];
};

struct batch {
    /* Constant. */
    jd_source_fn source;
    jd_call_fn call;
    jd_sink_fn sink;
    jd_batch_options o;
    struct sem *sem; /* o.sem */
    struct jd_task *task;
    jd_group *group;
    int64_t start;

    /* The consumer's. */
    struct batch_chunk *chunks;
    struct batch_slot *free;
    unsigned slots;           /* in all chunks */
    unsigned taken;           /* not free */
    struct batch_slot *ready; /* taken off `done`, oldest first */
    struct batch_slot **ready_end;
    bool drained;         /* the source has said so */
    bool has_permit;      /* of the shared semaphore, for the next item */
    bool permit_queued;   /* `permit` was queued, and is unless a granter found us busy */
    struct waiter permit; /* guarded by the semaphore's lock */
    int64_t progress_at;  /* not before; CLOCK_FOREVER: no progress wanted */
    uint64_t pulled, ok, failed, cancelled, abandoned, timed_out;
    struct histogram latencies;

    /* Everybody's (I3, I4). */
    JD_ALIGNED(JD_CACHE_LINE) JD_ATOMIC(uintptr_t) done;
    JD_ATOMIC(uint32_t) running;
    JD_ATOMIC(uint32_t) running_max;
};

/* batch_option.c: a checked copy of the caller's options. */
int batch_options_take(jd_batch_options *ret, const jd_batch_options *o);

/* batch_slot.c */
struct batch_slot *batch_slot_take(struct batch *b); /* NULL: out of memory */
void batch_slot_put(struct batch *b, struct batch_slot *slot);
void batch_slots_free(struct batch *b);
/* The call's task. */
jd_result batch_call(void *slot);
/* Moves done slots to the ready list. */
void batch_collect(struct batch *b);
/*
 * Sleeps until a slot is done, or the permit is there (only if wanted), or the deadline passes: 0.
 * -ECANCELED: the wait was cancelled (only if cancellable).
 */
int batch_sleep(struct batch *b, bool wants_permit, bool cancellable, int64_t deadline);

/* batch_stats.c */
void batch_stats_fill(const struct batch *b, jd_batch_stats *ret);
int batch_stats_check(const jd_batch_stats *ret);
void batch_stats_give(const struct batch *b, jd_batch_stats *ret);
/* Calls the user's progress if it is time. */
void batch_progress(struct batch *b, bool is_final);

#endif /* GROUP_BATCH_H */
