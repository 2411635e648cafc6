/* SPDX-License-Identifier: MIT */
#ifndef GROUP_BATCH_H
#define GROUP_BATCH_H

/*
 * A batch: one consumer (the caller's task) and up to `limit` calls, each in a task of its own. A
 * slot is the record of one item from pull to end; it holds a place while it counts against the
 * limit.
 *
 *   FREE --place and permit taken, item pulled--> FLYING --pushed by its call--> DONE
 *   DONE --outcome delivered or abandoned, by the consumer--> FREE
 *   DONE --to be retried--> SLEEPING --due--> STARTABLE --place and permit taken--> FLYING
 *   pulled, or due, and its item's own permit is not free: WAITING --granted--> STARTABLE
 *   SLEEPING, WAITING, STARTABLE --its item's time is up--> DONE
 *   ordered, and not the first: DONE --> HELD --all before it delivered--> as DONE
 *
 * I1  A place, then the shared permit, are taken before the source is asked: a pulled item can
 *     always start. Slots come in chunks and are kept until the batch ends. Pulling stops while
 *     sleeping_max items sleep; one more that is to sleep keeps its place. It stops, too, while
 *     waiting_max wait for their own permit or are startable, and while reorder_max are held. So
 *     memory is O(limit + sleeping_max + waiting_max + reorder_max).
 * I2  source, sink, abandon, discard and progress run in the consumer, one at a time: while one of
 *     them suspends the others wait, and no new call starts; started calls go on.
 * I3  The call's task owns a flying slot. It takes the token, then enters `running`; leaves it,
 *     gives the permits back and pushes the slot on `done`, in this order: so `running` never
 *     exceeds the limit, and a permit does not wait for the consumer. In every other state the slot
 *     is the consumer's, but for the word of one that is WAITING.
 * I4  `done` is 0, a stack of slots, or the number of the consumer's wait with the low bit set.
 *     The push that replaces the latter ends that wait: at most one wake per wait, and never one
 *     for another wait.
 * I5  While it waits for the shared permit the consumer also waits for done slots, with one wait;
 *     its place in the semaphore's queue is kept over waits that end otherwise (sem_join).
 * I6  Each pulled item ends in exactly one of sink (or no sink: counted) and abandon, when its slot
 *     is freed. Each result of an attempt goes to exactly one of sink, abandon and discard.
 * I7  Calls are members of a group whose close is the last thing: nothing is left behind it.
 * I8  A place is held in FLYING and DONE. A sleeping slot holds neither place nor permit; what is
 *     startable has precedence over new items, which keeps the number of such slots bounded. The
 *     item's own permit is held in STARTABLE and FLYING: it is asked for after the pull and before
 *     place, shared permit and token, so nothing else is held while waiting for it.
 * I9  Time: the attempt's clock is a scope in its task; the item's is part of that scope while the
 *     slot flies, and an entry of the heap while it does not; the batch's is the group's scope.
 * I10 A WAITING slot is a wait of its own (struct wait_proxy): it keeps its place in the semaphore's
 *     queue whatever the consumer does. Its wait is ended once, by a grant, which pushes the slot
 *     on `done`, or by the consumer, which then takes it out of the queue.
 *
 * I11 While two attempts of an item fly, each has a slot and a place (batch_hedge.c).
 * I12 With JD_BATCH_ADAPTIVE the limit in force is below the one asked for (batch_limit.c).
 * I13 The consumer of the pull form is a task of the batch (batch_pull.c); then others may ask for
 *     things and read statistics meanwhile.
 *
 * Threads: `done`, `running`, what is asked and the counts are everybody's, the rest is the
 * consumer's.
 * Rejected: as many looping workers as slots (no task of its own per call: a cancel, a name or a
 * dump could not tell calls apart); a queue with a lock for done slots (the wake would be inside);
 * a call's task that sleeps until its retry (a stack for each, and nobody to give due retries
 * precedence); a timer per sleeping slot (the consumer is awake when it fires anyway); the
 * consumer's own waiter nodes for WAITING slots (each sleep would have to join every queue again).
 */
#include <jackdaw/batch.h>
#include <jackdaw/group.h>

#include "base/attr.h"
#include "base/histogram.h"
#include "group/batch_heap.h"
#include "sync/sem.h"
#include "task/task.h"

#ifdef JD_CHECK
#define BATCH_CHUNK_SLOTS 2 /* as many as the model uses */
#else
#define BATCH_CHUNK_SLOTS 64
#endif

struct batch;

enum batch_state {
    BATCH_FREE,
    BATCH_POKE, /* no slot: somebody has asked for something */
    BATCH_FLYING,
    BATCH_DONE,
    BATCH_HELD,
    BATCH_SLEEPING,
    BATCH_WAITING,
    BATCH_STARTABLE
};

struct batch_slot {
    struct batch *batch;     /* constant */
    struct batch_slot *next; /* in the free list, the done stack, the ready list */
    void *item;
    jd_result result;
    int64_t latency;
    int64_t slot_wait; /* of the attempt */
    uint32_t attempt;  /* of the item: 0, 1, .. */
    uint8_t state;     /* enum batch_state */
    uint8_t verdict;   /* about a failure: JD_RETRY, JD_FAIL, JD_STOP */
    bool has_place;
    uint8_t clock;  /* JD_CLOCK_*: whose time was up */
    bool has_flown; /* `result` is that of an attempt, and `latency` its own */
    bool has_own_permit;
    /* Not used by a plain batch. */
    int64_t after;      /* classify's wish, or -1 */
    int64_t deadline;   /* of the item; CLOCK_FOREVER */
    int64_t ready_at;   /* since then nothing but slot and permits is missing */
    int64_t token_wait; /* of the attempt */
    struct batch_timer timer;
    struct list link; /* in the startable or waiting list; of due hedges */
    struct batch_slot *order_next;
    struct batch_slot *twin;       /* the other attempt, if two of this item fly or come back */
    struct jd_task *task;          /* of the attempt, a reference; only with hedges */
    JD_ATOMIC(int64_t) entered_at; /* the call; likewise */
    bool is_hedge;
    bool is_aside;           /* back, and its twin is not */
    struct sem *own_sem;     /* of the item, or NULL */
    struct wait_proxy proxy; /* the wait for it */
    struct waiter own_wait;  /* guarded by the semaphore's lock */
};

struct batch_chunk {
    struct batch_chunk *next;
    struct batch_slot slots[BATCH_CHUNK_SLOTS];
};

struct batch_list {
    struct batch_slot *first;
    struct batch_slot **end;
};

/* Written by the consumer, read by all. */
struct batch_counts {
    JD_ATOMIC(uint64_t) sleeping; /* slots that sleep without a place */
    JD_ATOMIC(uint64_t) parked;   /* slots in WAITING and STARTABLE */
    JD_ATOMIC(uint64_t) limit, lowered;
    JD_ATOMIC(uint64_t) pulled, ok, failed, cancelled, abandoned, timed_out, retried;
};

/* What attempts have waited for. Only if somebody may ask for statistics, and they can wait. */
struct batch_waits {
    struct histogram slot, token;
};

/* Of JD_BATCH_ADAPTIVE: see batch_limit.c. */
struct batch_adaptive {
    double limit;
    double usual;    /* latency in ns; 0: not known yet */
    double sum;      /* of latencies in this window */
    unsigned count;  /* of them */
    bool is_used;    /* in this window the limit was reached */
    bool is_opening; /* no overload so far */
    unsigned immune; /* so many attempts are no cause for another cut */
};

struct batch {
    /* Constant. */
    jd_source_fn source;
    jd_call_fn call;
    jd_sink_fn sink;
    int (*before_sink)(void *sink_ctx); /* may suspend; < 0: the outcome does not reach the sink */
    void *source_ctx, *sink_ctx, *abandon_ctx;
    jd_batch_options o; /* with the defaults filled in */
    struct sem *sem;    /* o.sem */
    struct jd_task *task;
    jd_group *group;
    int64_t start;
    bool is_plain;  /* a call is all that there is to an attempt */
    bool is_shared; /* others read statistics meanwhile */

    /* The consumer's. */
    struct batch_chunk *chunks;
    struct batch_slot *free;
    unsigned limit;     /* of places, in force */
    unsigned limit_max; /* asked for */
    struct batch_adaptive adaptive;
    unsigned slots;                        /* in all chunks */
    unsigned live;                         /* slots that are not free */
    unsigned places;                       /* held */
    struct batch_list ready;               /* DONE, taken off `done`, oldest first */
    struct list startable;                 /* first come, first started */
    struct list hedges;                    /* flying slots for which a second attempt is due */
    struct list waiting;                   /* first come, first queued */
    struct batch_slot *order, **order_end; /* ordered: all slots, as they were pulled */
    unsigned held;
    struct batch_heap timers; /* of slots that do not fly */
    uint64_t granted;         /* retries, against the budget */
    uint64_t cut;             /* attempts that the end of the batch has cut short */
    bool has_won;             /* FIRST_OK: there was a success */
    int first_error;          /* of an item */
    bool drained;             /* the source has said so */
    bool has_permit;          /* of the shared semaphore, for the next start */
    bool permit_queued;       /* `permit` was queued, and is unless a granter found us busy */
    struct waiter permit;     /* guarded by the semaphore's lock */
    int64_t permit_since;     /* the next start has been waiting for it; 0: not */
    int ended_by;             /* what consume() has returned; 0 before */
    uint8_t fatal_clock;      /* JD_CLOCK_* of the item that was fatal */
    uint8_t first_clock;      /* of first_error */
    int64_t progress_at;      /* not before; CLOCK_FOREVER: no progress wanted */
    struct batch_counts counts;
    struct spin histograms_lock; /* taken only if is_shared */
    struct histogram latencies;
    struct batch_waits *waits; /* NULL: nothing waits */

    /* Everybody's (I3, I4). */
    JD_ALIGNED(JD_CACHE_LINE) JD_ATOMIC(uintptr_t) done;
    JD_ATOMIC(uint32_t) running;
    JD_ATOMIC(uint32_t) running_max;
    JD_ATOMIC(uint32_t) without_token;               /* attempts that wait for one */
    JD_ATOMIC(uint32_t) asked_limit, asked_to_drain; /* 0: not */
    JD_ATOMIC(uint32_t) is_poked;
    struct batch_slot poke;
};

/* One more of something that only the consumer counts. */
#define batch_count(count) \
    atom_store((count), atom_load((count), relaxed) + 1, relaxed) /* Relaxed: single writer */
#define batch_uncount(count) \
    atom_store((count), atom_load((count), relaxed) - 1, relaxed) /* Relaxed: as above */
/* What only the consumer counts, read by it. */
#define batch_counted(count) atom_load((count), relaxed) /* Relaxed: as above */

static inline void batch_list_init(struct batch_list *l)
{
    l->first = NULL;
    l->end = &l->first;
}

static inline void batch_list_add(struct batch_list *l, struct batch_slot *slot)
{
    slot->next = NULL;
    *l->end = slot;
    l->end = &slot->next;
}

static inline struct batch_slot *batch_list_pop(struct batch_list *l)
{
    struct batch_slot *slot = l->first;

    if (!slot)
        return NULL;
    l->first = slot->next;
    if (!l->first)
        l->end = &l->first;
    return slot;
}

static inline void batch_limit_set(struct batch *b, unsigned limit)
{
    b->limit = limit;
    atom_store(&b->counts.limit, limit, relaxed); /* Relaxed: single writer */
}

/* The old state is named at every edge. */
static inline void batch_slot_move(struct batch_slot *slot, enum batch_state from,
                                   enum batch_state to)
{
    JD_ASSERT(slot->state == from);
    slot->state = (uint8_t)to;
}

/* batch_option.c: a checked copy of the caller's options, with the defaults filled in. */
int batch_options_take(jd_batch_options *ret, const jd_batch_options *o);
/* The two halves of it. */
int batch_options_read(jd_batch_options *ret, const jd_batch_options *o);
int batch_options_check(jd_batch_options *o);
bool batch_options_are_plain(const jd_batch_options *o);

static inline void batch_place_take(struct batch *b, struct batch_slot *slot)
{
    JD_ASSERT(!slot->has_place);
    slot->has_place = true;
    b->places++;
}

static inline void batch_place_put(struct batch *b, struct batch_slot *slot)
{
    JD_ASSERT(slot->has_place);
    slot->has_place = false;
    b->places--;
}

/* batch.c */
/* NULL: out of memory. The caller sets what differs from jd_batch_run(), and b->task. */
struct batch *batch_new(jd_source_fn source, jd_call_fn call, const jd_batch_options *o);
void batch_free(struct batch *b);
/* In b->task: runs it to its end. */
int batch_execute(struct batch *b);
/* Debug mode: might it wait for a permit while its caller holds one of the same semaphore? */
bool batch_is_nested(const struct jd_task *t, const jd_batch_options *o);
/* A place and the shared permit are there: starts an attempt. Else the slot is as it was, but for its
 * own permit, which is given back. */
int batch_spawn(struct batch *b, struct batch_slot *slot);

/* batch_outcome.c */
/* Goes on with the oldest done slot. < 0: fatal. */
int batch_settle_one(struct batch *b);
/* The result of an attempt that is not the outcome. */
void batch_discard(const struct batch *b, const struct batch_slot *slot);
/* An item that does not reach the sink; frees the slot. */
void batch_abandon(struct batch *b, struct batch_slot *slot);
/* The same for one that waits for something. */
void batch_abandon_unflown(struct batch *b, struct batch_slot *slot);
/* The same for one off the ready list, in whatever state. */
void batch_abandon_ready(struct batch *b, struct batch_slot *slot);

/* batch_slot.c */
struct batch_slot *batch_slot_take(struct batch *b); /* NULL: out of memory */
void batch_slot_put(struct batch *b, struct batch_slot *slot);
void batch_slots_free(struct batch *b);
/* Hands a slot to the consumer: the last access of whoever flew it. */
void batch_push(struct batch *b, struct batch_slot *slot);
/* The same from any thread, which may be no worker: the last access to the batch. */
void batch_push_from_anywhere(struct batch *b, struct batch_slot *slot);
/* Moves done slots to the ready list. */
void batch_collect(struct batch *b);
/*
 * Sleeps until a slot is done, or the permit is there (only if wanted), or the deadline passes: 0.
 * -ECANCELED: the wait was cancelled (only if cancellable).
 */
int batch_sleep(struct batch *b, bool wants_permit, bool cancellable, int64_t deadline);

/* What jd_batch_clock() says from now on in this task. */
static inline void batch_clock_tell(struct jd_task *t, int clock)
{
    t->clock = (uint8_t)clock;
}

/* batch_attempt.c: the task of one attempt. */
jd_result batch_attempt(void *slot);
/* Debug mode: is t, or a task that waits for it in a batch, an attempt that holds a permit of this
 * semaphore? Else false. */
bool batch_would_nest(const struct jd_task *t, const struct sem *sem);

/* batch_wait.c: the item's own permit. */
/* Asks which it is. -EDEADLK: it would wait for itself. */
int batch_own_sem_ask(struct batch *b, struct batch_slot *slot);
/* False: it is not free, and the slot waits for it. */
bool batch_own_permit_take(struct batch *b, struct batch_slot *slot);
/* Whoever has it, also after the call, on any worker. */
void batch_own_permit_put(struct batch_slot *slot);
/* It came with the done slots: now it has the permit. */
void batch_own_permit_granted(struct batch *b, struct batch_slot *slot);
/* Ends the wait; false: it was granted, and the slot is on its way to us. */
bool batch_own_permit_give_up(struct batch *b, struct batch_slot *slot);

/* batch_retry.c */
/* Into WAITING or STARTABLE, and out of it; with the item's deadline. */
void batch_park(struct batch *b, struct batch_slot *slot, enum batch_state state);
void batch_unpark(struct batch *b, struct batch_slot *slot);
/* A slot in WAITING that came with the done ones. */
void batch_come_back(struct batch *b, struct batch_slot *slot);
/* May there be one more attempt, beyond the first of each item? */
bool batch_within_budget(const struct batch *b);
/* Puts a failed slot to sleep; false: that failure is final. */
bool batch_retry(struct batch *b, struct batch_slot *slot);
/* Moves slots whose time has come to where they go on. */
void batch_timers_run(struct batch *b);
/* The next of those that only wait for a place; there is one. */
struct batch_slot *batch_startable_pop(struct batch *b);
/* At the end: those that sleep or could start are abandoned. */
void batch_abandon_parked(struct batch *b);

/* batch_hedge.c: only with hedge_after. */
void batch_hedge_arm(struct batch *b, struct batch_slot *slot);
/* The timer of a flying slot. */
void batch_hedge_due(struct batch *b, struct batch_slot *slot, int64_t now);
/* There is a due one, a place, and the shared permit, which is used up unless it does not start. */
void batch_hedge_start(struct batch *b);
/* An attempt has come back: the slot with which its item goes on, or NULL: not before the twin. */
struct batch_slot *batch_hedge_settle(struct batch *b, struct batch_slot *slot);

/* batch_order.c */
void batch_order_add(struct batch *b, struct batch_slot *slot);
/* It is done. */
void batch_order_hold(struct batch *b, struct batch_slot *slot);
/* The next to be delivered; NULL: it is not done yet. */
struct batch_slot *batch_order_pop(struct batch *b);
void batch_abandon_held(struct batch *b);

static inline bool batch_order_is_ready(const struct batch *b)
{
    return b->order && b->order->state == BATCH_HELD;
}

/* batch_limit.c: only if adaptive. */
void batch_limit_begin(struct batch *b);
/* An attempt has come back, its place not yet. */
void batch_limit_learn(struct batch *b, const struct batch_slot *slot);

/* batch_ask.c: any thread, while somebody keeps the batch and b->task is known. */
void batch_ask_limit(struct batch *b, uint32_t limit);
void batch_ask_drain(struct batch *b);
/* The poke came with the done slots: does what was asked for. */
void batch_obey(struct batch *b);

/* batch_stats.c */
int batch_stats_want(struct batch *b); /* before it runs. -ENOMEM */
void batch_stats_attempt(struct batch *b, const struct batch_slot *slot);
void batch_stats_fill(const struct batch *b, jd_batch_stats *ret);
int batch_stats_check(const jd_batch_stats *ret);
void batch_stats_give(const struct batch *b, jd_batch_stats *ret);
/* Calls the user's progress if it is time. */
void batch_progress(struct batch *b, bool is_final);

#endif /* GROUP_BATCH_H */
