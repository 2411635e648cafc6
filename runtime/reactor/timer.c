/* SPDX-License-Identifier: MIT */
/*
 * The timer wheel; timer.h has the concept and the invariants I1-I5.
 *
 * Lock order: expirer (only tried), then lock. claim() runs under the lock, deliver() under the
 * expirer only, so a delivery may arm and disarm timers of the same wheel.
 */
#include "reactor/timer.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/mark.h"

#define SLOT_BITS 6
#define BATCH_MAX 32                 /* claims per hold of the lock */
#define MOVES_MAX 128                /* timers moved down per hold: 5 to 10 us */
#define HOLDS_MAX 32                 /* per call: at most 1024 claims, 4096 moves */
#define SCAN_MAX 16                  /* timers looked at to make a stale min exact */
#define SETTLE_NS (INT64_C(1) << 26) /* 67 ms: keeps elapsed near now on idle wheels */
#define SETTLE_LEVEL 3               /* slots from 262 us on are opened early */
#define DIGIT_MASK (TIMER_SLOTS_PER_LEVEL - 1)

_Static_assert(TIMER_SLOTS_PER_LEVEL == 1 << SLOT_BITS, "a digit is a slot");
_Static_assert(63 <= SLOT_BITS * TIMER_LEVELS, "every deadline has a slot");
_Static_assert(sizeof(struct timer) <= 64, "a timer fits a cache line");

enum timer_place {
    PLACE_OVERDUE = TIMER_SLOTS,
    PLACE_NONE, /* not armed */
};

struct batch {
    unsigned claimed;
    unsigned count;
    void *tokens[BATCH_MAX];
};

static struct timer *timer_of(struct list *link)
{
    return JD_CONTAINER_OF(link, struct timer, link);
}

static uint64_t bit_of(unsigned slot)
{
    return UINT64_C(1) << (slot & DIGIT_MASK);
}

static unsigned level_of(unsigned slot)
{
    return slot >> SLOT_BITS;
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* The slot for a deadline >= elapsed. */
static unsigned slot_for(int64_t elapsed, int64_t deadline)
{
    uint64_t differs = (uint64_t)(elapsed ^ deadline) | 1;
    unsigned level = (63u - (unsigned)__builtin_clzll(differs)) / SLOT_BITS;
    uint64_t digit = ((uint64_t)deadline >> (level * SLOT_BITS)) & DIGIT_MASK;

    return level * TIMER_SLOTS_PER_LEVEL + (unsigned)digit;
}

/* The last deadline that belongs to a slot while elapsed is within or before it. */
static int64_t slot_last(int64_t elapsed, unsigned slot)
{
    unsigned shift = level_of(slot) * SLOT_BITS;
    unsigned above = shift + SLOT_BITS;
    uint64_t high = above < 64 ? ((uint64_t)elapsed >> above) << above : 0;
    uint64_t low = (UINT64_C(1) << shift) - 1;

    return (int64_t)(high | ((uint64_t)(slot & DIGIT_MASK) << shift) | low);
}

void timer_wheel_init(struct timer_wheel *w, int64_t now)
{
    JD_ASSERT(now >= 0);
    atom_init(&w->next, INT64_MAX);
    atom_init(&w->settle_at, now);
    atom_init(&w->count, (uint64_t)0);
    spin_init(&w->expirer);
    spin_init(&w->lock);
    w->levels = 0;
    w->elapsed = now;
    w->opened_min = INT64_MAX;
    w->opened_last = -1;
    w->opened_slot = PLACE_NONE;
    list_init(&w->opened);
    list_init(&w->overdue);
    for (unsigned i = 0; i < TIMER_LEVELS; i++) {
        w->used[i] = 0;
        w->stale[i] = 0;
    }
    for (unsigned i = 0; i < TIMER_SLOTS; i++)
        list_init(&w->slots[i].timers);
}

void timer_init(struct timer *t, void *(*claim)(struct timer *t))
{
    list_init(&t->link);
    t->deadline = INT64_MAX;
    t->wheel = NULL;
    t->claim = claim;
    t->slot = PLACE_NONE;
}

static void wheel_count(struct timer_wheel *w, uint64_t change)
{
    /* Relaxed, both: written under the lock only, read as a statistic. */
    atom_store(&w->count, atom_load(&w->count, relaxed) + change, relaxed);
}

/* From the tail: deadlines in the past mostly come in order. Linear for those that do not. */
static void wheel_add_overdue(struct timer_wheel *w, struct timer *t)
{
    struct list *before = w->overdue.prev;

    while (before != &w->overdue && timer_of(before)->deadline > t->deadline)
        before = before->prev;
    list_insert_between(before, &t->link, before->next);
    t->slot = PLACE_OVERDUE;
}

static void wheel_add_slot(struct timer_wheel *w, struct timer *t)
{
    unsigned number = slot_for(w->elapsed, t->deadline);
    struct timer_slot *slot = &w->slots[number];
    uint64_t bit = bit_of(number);
    unsigned level = level_of(number);

    if (!(w->used[level] & bit) || t->deadline < slot->min) {
        w->used[level] |= bit;
        w->levels |= 1u << level;
        w->stale[level] &= ~bit;
        slot->min = t->deadline;
    }
    list_add_tail(&slot->timers, &t->link);
    t->slot = (uint16_t)number;
}

static void wheel_add(struct timer_wheel *w, struct timer *t)
{
    if (t->deadline < w->elapsed) {
        wheel_add_overdue(w, t);
    } else if (t->deadline <= w->opened_last) { /* I3 */
        list_add_tail(&w->opened, &t->link);
        w->opened_min = earlier(w->opened_min, t->deadline);
        t->slot = w->opened_slot;
    } else {
        wheel_add_slot(w, t);
    }
}

static void slot_emptied(struct timer_wheel *w, unsigned number)
{
    unsigned level = level_of(number);

    w->used[level] &= ~bit_of(number);
    w->stale[level] &= ~bit_of(number);
    if (w->used[level] == 0)
        w->levels &= ~(1u << level);
}

static void opened_emptied(struct timer_wheel *w)
{
    w->opened_min = INT64_MAX;
    w->opened_last = -1;
    w->opened_slot = PLACE_NONE;
}

/* True: its slot is empty now. */
static bool wheel_remove(struct timer_wheel *w, struct timer *t)
{
    unsigned number = t->slot;

    list_del(&t->link);
    t->slot = PLACE_NONE;
    if (number == PLACE_OVERDUE)
        return list_is_empty(&w->overdue);
    if (number == w->opened_slot) {
        if (!list_is_empty(&w->opened))
            return false;
        opened_emptied(w);
        return true;
    }
    if (list_is_empty(&w->slots[number].timers)) {
        slot_emptied(w, number);
        return true;
    }
    if (t->deadline == w->slots[number].min)
        w->stale[level_of(number)] |= bit_of(number);
    return false;
}

/* The earliest used slot; some level is in use. */
static unsigned wheel_first_slot(const struct timer_wheel *w)
{
    unsigned level = (unsigned)__builtin_ctz(w->levels);

    JD_ASSERT(w->used[level] != 0);
    return level * TIMER_SLOTS_PER_LEVEL + (unsigned)__builtin_ctzll(w->used[level]);
}

/* Makes a stale min exact if that is cheap (I4). */
static int64_t slot_min(struct timer_wheel *w, unsigned number)
{
    struct timer_slot *slot = &w->slots[number];
    unsigned looked = 0;
    int64_t min = INT64_MAX;

    if (!(w->stale[level_of(number)] & bit_of(number)))
        return slot->min;
    list_for_each(link, &slot->timers) {
        if (++looked > SCAN_MAX)
            return slot->min;
        min = earlier(min, timer_of(link)->deadline);
    }
    w->stale[level_of(number)] &= ~bit_of(number);
    slot->min = min;
    return min;
}

static int64_t wheel_earliest(struct timer_wheel *w)
{
    int64_t earliest = w->opened_min;

    if (!list_is_empty(&w->overdue))
        earliest = earlier(earliest, timer_of(w->overdue.next)->deadline);
    if (w->levels != 0)
        earliest = earlier(earliest, slot_min(w, wheel_first_slot(w)));
    return earliest;
}

/* After removals. */
static void wheel_publish_later(struct timer_wheel *w)
{
    /* Relaxed: only arms make it earlier, and they pair [TIMER-1]; a late sight of a later value
     * costs a look that finds nothing. Ordered among the writers by the lock. */
    atom_store(&w->next, wheel_earliest(w), relaxed);
}

bool timer_arm(struct timer_wheel *w, struct timer *t, int64_t deadline)
{
    bool earliest;

    spin_lock(&w->lock);
    JD_ASSERT(t->slot == PLACE_NONE);
    t->wheel = w;
    t->deadline = deadline;
    wheel_add(w, t);
    wheel_count(w, 1);
    /* Relaxed: written under the lock only. */
    earliest = deadline < atom_load(&w->next, relaxed);
    if (earliest) {
        /* [TIMER-1] seq_cst, pairs with timer_wheel_next(): S1. */
        atom_store(&w->next, deadline, seq_cst);
    }
    spin_unlock(&w->lock);
    return earliest;
}

bool timer_disarm(struct timer *t)
{
    struct timer_wheel *w = t->wheel;
    bool armed;

    if (!w)
        return false;
    spin_lock(&w->lock); /* even when it has fired: its claim may still run (I5) */
    armed = t->slot != PLACE_NONE;
    if (armed) {
        bool emptied = wheel_remove(w, t);

        wheel_count(w, UINT64_MAX); /* - 1 */
        /* Relaxed: written under the lock only. An early next (I4) is that of a disarmed timer, and
         * is made good when its slot is empty at last. */
        if (emptied || t->deadline == atom_load(&w->next, relaxed))
            wheel_publish_later(w);
    }
    spin_unlock(&w->lock);
    return armed;
}

/* Starts to open a slot: time moves to `elapsed`, which is not later than any of its timers. */
static void wheel_open(struct timer_wheel *w, unsigned number, int64_t elapsed)
{
    JD_ASSERT(list_is_empty(&w->opened));
    JD_ASSERT(elapsed >= w->elapsed);
    JD_ASSERT(elapsed <= w->slots[number].min);
    w->opened_last = slot_last(w->elapsed, number);
    w->opened_min = w->slots[number].min;
    w->elapsed = elapsed;
    list_splice_tail(&w->opened, &w->slots[number].timers);
    slot_emptied(w, number);
    w->opened_slot = (uint16_t)number; /* unused as a slot until time leaves its range */
}

/* Moves timers of the opened slot to where they belong now. False: the allowance is used up. */
static bool wheel_drain(struct timer_wheel *w, unsigned *moves)
{
    while (!list_is_empty(&w->opened)) {
        if (*moves == 0) {
            MARK(TIMER_MOVES_SPENT);
            return false;
        }
        --*moves;
        struct timer *t = timer_of(list_pop_head(&w->opened));

        wheel_add_slot(w, t);
    }
    opened_emptied(w);
    return true;
}

/* Unlinks the earliest timer if it is due. NULL: none is, or the allowance is used up. */
static struct timer *wheel_pop_due(struct timer_wheel *w, int64_t now, unsigned *moves)
{
    if (!list_is_empty(&w->overdue)) {
        struct timer *t = timer_of(w->overdue.next);

        if (t->deadline > now)
            return NULL;
        (void)wheel_remove(w, t); /* whoever collects publishes */
        return t;
    }
    while (wheel_drain(w, moves) && w->levels != 0) { /* ends: each round opens a lower level */
        unsigned number = wheel_first_slot(w);
        struct timer_slot *slot = &w->slots[number];

        if (slot->min > now)
            break;
        struct timer *t = timer_of(slot->timers.next);

        if (level_of(number) == 0 || t->link.next == &slot->timers) {
            slot->min = t->deadline; /* exact now, for all or the only one */
            w->stale[level_of(number)] &= ~bit_of(number);
            if (t->deadline > now)
                break;
            (void)wheel_remove(w, t);
            return t;
        }
        wheel_open(w, number, slot->min);
    }
    return NULL;
}

/* Nothing is due and no slot is open: moves time up to now, so that timers armed from here on land
 * on low levels. */
static void wheel_settle(struct timer_wheel *w, int64_t now, unsigned *moves)
{
    if (now <= w->elapsed)
        return;
    unsigned number = slot_for(w->elapsed, now);

    /* Used slots before this one would be due; the slot of now itself must be opened first. */
    JD_ASSERT_SLOW(w->levels == 0 || wheel_first_slot(w) >= number);
    if (!(w->used[level_of(number)] & bit_of(number))) {
        w->elapsed = now;
    } else if (level_of(number) >= SETTLE_LEVEL) {
        wheel_open(w, number, now);
        (void)wheel_drain(w, moves); /* the rest in the next hold of the lock */
    }
}

/* One hold of the lock. True: there may be more to do at `now`. */
static bool wheel_collect(struct timer_wheel *w, int64_t now, struct batch *batch)
{
    unsigned moves = MOVES_MAX;
    struct timer *t;

    batch->claimed = 0;
    batch->count = 0;
    spin_lock(&w->lock);
    while (batch->claimed < BATCH_MAX && (t = wheel_pop_due(w, now, &moves))) {
        void *token = t->claim(t); /* the timer is gone now (I5) */

        batch->claimed++;
        if (token)
            batch->tokens[batch->count++] = token;
    }
    wheel_count(w, UINT64_C(0) - batch->claimed);
    if (batch->claimed < BATCH_MAX && list_is_empty(&w->opened))
        wheel_settle(w, now, &moves);
    bool more = batch->claimed == BATCH_MAX || !list_is_empty(&w->opened);

    wheel_publish_later(w);
    spin_unlock(&w->lock);
    return more;
}

unsigned timer_wheel_expire(struct timer_wheel *w, int64_t now,
                            void (*deliver)(void *token, void *ctx), void *ctx)
{
    unsigned delivered = 0;
    struct batch batch;
    bool more = true;

    /* Relaxed, both: a miss is made up by the caller's next turn, or by P2 before it parks. */
    if (atom_load(&w->next, relaxed) > now && atom_load(&w->settle_at, relaxed) > now)
        return 0;
    if (!spin_try_lock(&w->expirer))
        return 0;
    for (unsigned holds = 0; more && holds < HOLDS_MAX; holds++) {
        more = wheel_collect(w, now, &batch);
        for (unsigned i = 0; i < batch.count; i++)
            deliver(batch.tokens[i], ctx);
        delivered += batch.count;
    }
    /* Relaxed: a hint, written by the expirer only. */
    atom_store(&w->settle_at, more ? now : clock_after(now, SETTLE_NS), relaxed);
    spin_unlock(&w->expirer);
    return delivered;
}
