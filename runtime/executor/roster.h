/* SPDX-License-Identifier: MIT */
#ifndef EXECUTOR_ROSTER_H
#define EXECUTOR_ROSTER_H

/*
 * The kernel of a pool: the queue of jobs, and which of its threads look at it. No system call is
 * made here; who must be woken, or that a thread must be made, is told to the caller, who does it
 * without the lock.
 *
 * A thread has a seat: AWAKE (it runs a job, or looks for one), IDLE (asleep until somebody rings
 * its bell), DOZING (asleep for a tick), BLOCKED (inside a job that waits for the runtime). At most
 * one awake or dozing seat is the *lookout*: it has promised to look at the queue. A submitter wakes
 * nobody while somebody looks; otherwise it makes an idle thread, or a new one, the lookout. Who
 * takes a job as the lookout first appoints the next one, if jobs are left. So a burst costs its
 * submitter one wake, and blocking jobs get their threads one after the other, each woken by the
 * one before.
 *
 * Jobs that are shorter than a wake-up would keep all threads awake that way. So a lookout that
 * finds jobs, and sees that others have taken many since it last looked, does not join them but
 * dozes for a tick: as long as they go on it is not needed, and if they all block it finds out
 * within the tick. (It joins when jobs were left at two looks and a CPU is free for it.) Many: so
 * that one took less than ROSTER_SHORT_NS on the average.
 *
 * I1  Everything is guarded by `lock`, but for `bell`s and the hint `queued`.
 * I2  Whenever the lock is free and a job is queued, somebody looks (roster_is_attended), or somebody
 *     is about to drop it: the system has refused a thread, and none is left that is not blocked. To
 *     leave it to those would be a deadlock if they wait for it.
 * I3  Whoever changes a seat from IDLE or DOZING to AWAKE without being that thread rings its bell
 *     exactly once, after the unlock; the thread waits for that ring before it does anything else. So
 *     a bell is never rung for a later sleep, and a seat does not go while it may still be rung.
 * I4  At most `max` threads are not blocked when one is woken or made. When a blocked one comes back
 *     there may be more, until one of them sits down at the end of its job. So a job that waits for a
 *     task that waits for the pool does not wait for ever.
 * I5  One thread that is not blocked stays for as long as the pool is open. Others retire.
 * I6  When closed, nothing is accepted, all seats are awake, and each leaves when the queue is empty.
 * I7  While a thread is being made there is no lookout: it will be the one.
 *
 * Linearisation: each function under the lock. Progress: a leaf lock of a few dozen instructions.
 * Threads: roster_submit, withdraw, pop, close: anyone. Others: see each.
 *
 * Rejected: a lock-free inbox for submitters (a withdrawal, prompt and certain, needs a list with a
 * lock; taking from a stack reverses it, under the lock, for as long as it is deep; and with the lock
 * alone a job costs some 300 ns in all); a queue per thread with stealing
 * (a blocked thread strands its own); a condition variable per pool (its wake is 3 to 8 us, for each
 * job that comes while anybody is idle); waking only while fewer threads run than there are CPUs
 * (jobs that block are what this is for); a manager thread (one more to wake).
 */
#include "atomic/spin.h"
#include "base/assert.h"
#include "queue/job.h"

#define ROSTER_RETRY_TAKES 64 /* arbitrary: after a refused thread, jobs before the next attempt */
#define ROSTER_SHORT_NS 20000 /* about a wake-up: below it a thread more costs more than it helps */

enum seat_state { SEAT_AWAKE, SEAT_DOZING, SEAT_IDLE, SEAT_BLOCKED };

struct seat {
    struct list link;         /* in `idle`; of a closed roster: among those to be rung */
    enum seat_state state;    /* roster's lock */
    bool saw_jobs;            /* roster's lock: jobs were left at its last look as the lookout */
    bool spun;                /* roster's lock: it waited for this job with open eyes */
    uint64_t seen;            /* roster's lock: `takes` at that look */
    int64_t seen_at;          /* roster's lock: when that was */
    JD_ATOMIC(uint32_t) bell; /* 1: rung */
};

struct roster {
    JD_ALIGNED(JD_CACHE_LINE) struct spin lock;
    JD_ATOMIC(uint32_t) queued; /* length of `jobs`; written under the lock, a hint without it */
    bool starting;              /* a thread is being made: it will be the lookout */
    bool closed;
    unsigned threads; /* that exist or are being made */
    unsigned idle_count, blocked;
    unsigned max;  /* constant */
    unsigned cpus; /* constant: more awake threads than that help only jobs that block */
    struct seat *lookout;
    struct list jobs; /* oldest first */
    struct list idle; /* youngest sleep first: its stack is warm, and the others can retire */
    uint64_t takes;
    uint64_t retry_at; /* `takes` from which on a refused thread is asked for again */
};

/* What the caller must do after the unlock. */
struct roster_call {
    struct seat *ring; /* ring its bell */
    bool start;        /* make a thread; then roster_arrive() there, or roster_refused() */
};

static inline void roster_init(struct roster *r, unsigned max, unsigned cpus)
{
    JD_ASSERT(max > 0);
    spin_init(&r->lock);
    atom_init(&r->queued, 0);
    r->starting = false;
    r->closed = false;
    r->threads = 0;
    r->idle_count = 0;
    r->blocked = 0;
    r->max = max;
    r->cpus = cpus;
    r->lookout = NULL;
    list_init(&r->jobs);
    list_init(&r->idle);
    r->takes = 0;
    r->retry_at = 0;
}

static inline void seat_init(struct seat *s)
{
    list_init(&s->link);
    s->state = SEAT_AWAKE;
    s->saw_jobs = false;
    s->spun = false;
    s->seen = 0;
    s->seen_at = 0;
    atom_init(&s->bell, 0);
}

/* --- Lock held ------------------------------------------------------------------------------- */

static inline bool roster_lookout_is(const struct roster *r, enum seat_state state)
{
    return r->lookout && plain_read(r->lookout->state) == state;
}

/* Threads that have arrived and are awake: each looks at the queue when its job has ended. */
static inline unsigned roster_active(const struct roster *r)
{
    return r->threads - r->idle_count - r->blocked - (r->starting ? 1 : 0) -
           (roster_lookout_is(r, SEAT_DOZING) ? 1 : 0);
}

static inline bool roster_can_wake(const struct roster *r)
{
    return r->idle_count > 0 && r->threads - r->blocked - r->idle_count < r->max;
}

static inline bool roster_can_start(const struct roster *r)
{
    /* Nobody awake: a refusal is not believed for long. */
    return r->threads - r->blocked < r->max && (r->takes >= r->retry_at || roster_active(r) == 0);
}

/* Will somebody look at the queue, without being called? */
static inline bool roster_is_attended(const struct roster *r)
{
    if (r->starting || roster_lookout_is(r, SEAT_AWAKE))
        return true;
    if (roster_active(r) == 0)
        return false;
    /* A dozing lookout looks within its tick, in case those that are awake do not come back. */
    return r->lookout || (!roster_can_wake(r) && !roster_can_start(r));
}

static inline void seat_look(struct roster *r, struct seat *s, int64_t now)
{
    plain_write(s->seen, r->takes);
    s->seen_at = now;
}

static inline void seat_rouse(struct roster *r, struct seat *s, int64_t now,
                              struct roster_call *call)
{
    plain_write(s->state, SEAT_AWAKE);
    plain_write(s->saw_jobs, false);
    seat_look(r, s, now);
    call->ring = s;
}

/* Nobody looks: appoints a lookout, if there can be one. */
static inline void roster_appoint(struct roster *r, int64_t now, struct roster_call *call)
{
    if (r->lookout) {
        seat_rouse(r, r->lookout, now, call); /* it dozes, and who was awake has gone to sleep */
    } else if (roster_can_wake(r)) {
        struct seat *s = JD_CONTAINER_OF(r->idle.next, struct seat, link);

        list_del(&s->link);
        r->idle_count--;
        r->lookout = s;
        seat_rouse(r, s, now, call);
    } else if (roster_can_start(r)) {
        r->threads++;
        r->starting = true;
        call->start = true;
    }
}

static inline void roster_count(struct roster *r, int change)
{
    /* Relaxed, both: written under the lock; who reads it without takes the lock then. */
    atom_store(&r->queued, atom_load(&r->queued, relaxed) + (uint32_t)change, relaxed);
}

/* After a change: I2. */
static inline void roster_settle(struct roster *r, int64_t now, struct roster_call *call)
{
    if (!r->closed && !list_is_empty(&r->jobs) && !roster_is_attended(r))
        roster_appoint(r, now, call);
}

/* --- Submitters --------------------------------------------------------------------------------- */

/* False: closed. The call may stay empty. */
static inline bool roster_submit(struct roster *r, struct job *job, int64_t now,
                                 struct roster_call *call)
{
    bool open;

    *call = (struct roster_call){ NULL, false };
    spin_lock(&r->lock);
    open = !plain_read(r->closed);
    if (open) {
        list_add_tail(&r->jobs, &job->link);
        roster_count(r, 1);
        roster_settle(r, now, call);
    }
    spin_unlock(&r->lock);
    return open;
}

/* True: the job was still queued, and is the caller's again. */
static inline bool roster_withdraw(struct roster *r, struct job *job)
{
    bool queued;

    spin_lock(&r->lock);
    queued = list_is_linked(&job->link);
    if (queued) {
        list_del(&job->link);
        roster_count(r, -1);
    }
    spin_unlock(&r->lock);
    return queued;
}

/* The oldest job, for those who drop it; NULL: none is left. One by one, since a job in a list of
 * theirs would look as if it could be withdrawn. */
static inline struct job *roster_pop(struct roster *r)
{
    struct list *link;

    spin_lock(&r->lock);
    link = list_pop_head(&r->jobs);
    if (link)
        roster_count(r, -1);
    spin_unlock(&r->lock);
    return link ? JD_CONTAINER_OF(link, struct job, link) : NULL;
}

/* A hint. */
static inline bool roster_has_jobs(struct roster *r)
{
    return atom_load(&r->queued, relaxed) != 0; /* Relaxed: who acts on it takes the lock. */
}

/*
 * Nothing more is accepted. *ret receives seats whose bells the caller must ring, one by one: a seat
 * may go as soon as its bell was rung. True: the pool has no thread.
 */
static inline bool roster_close(struct roster *r, struct list *ret)
{
    struct list *link;
    bool is_empty;

    spin_lock(&r->lock);
    plain_write(r->closed, true);
    while ((link = list_pop_head(&r->idle))) { /* bounded by the threads */
        plain_write(JD_CONTAINER_OF(link, struct seat, link)->state, SEAT_AWAKE);
        list_add_tail(ret, link);
    }
    r->idle_count = 0;
    if (roster_lookout_is(r, SEAT_DOZING)) {
        plain_write(r->lookout->state, SEAT_AWAKE);
        list_add_tail(ret, &r->lookout->link);
    }
    is_empty = r->threads == 0;
    spin_unlock(&r->lock);
    return is_empty;
}

/* --- Whoever was told to make a thread --------------------------------------------------------- */

enum roster_left {
    ROSTER_SERVED, /* others are awake, or were called */
    ROSTER_NOBODY, /* no thread, or all of them are blocked: what is queued must be dropped */
    ROSTER_ENDED,  /* no thread, and the roster was closed meanwhile: the same, and it has ended */
};

/* There is none. Who serves what is queued? */
static inline enum roster_left roster_refused(struct roster *r, int64_t now,
                                              struct roster_call *call)
{
    enum roster_left left;

    *call = (struct roster_call){ NULL, false };
    spin_lock(&r->lock);
    JD_ASSERT(r->starting);
    r->threads--;
    r->starting = false;
    r->retry_at = r->takes + ROSTER_RETRY_TAKES;
    if (roster_can_wake(r))
        roster_settle(r, now, call);
    left = r->threads == r->blocked ? ROSTER_NOBODY : ROSTER_SERVED;
    if (r->threads == 0 && r->closed)
        left = ROSTER_ENDED;
    spin_unlock(&r->lock);
    return left;
}

/* --- The pool's threads -------------------------------------------------------------------------- */

/* The first act of a new thread, whose seat was just made. */
static inline void roster_arrive(struct roster *r, struct seat *s, int64_t now)
{
    spin_lock(&r->lock);
    JD_ASSERT(r->starting);
    JD_ASSERT(!r->lookout);
    r->starting = false;
    r->lookout = s;
    seat_look(r, s, now);
    spin_unlock(&r->lock);
}

enum roster_next {
    ROSTER_RUN,  /* a job */
    ROSTER_SPIN, /* look whether roster_has_jobs() for a moment, then ask again, may_spin false */
    ROSTER_DOZE, /* sleep until the bell, or a tick; after the tick roster_doze_over() */
    ROSTER_SIT,  /* sleep until the bell; when that takes long, roster_retire() */
    ROSTER_QUIT, /* the end of this thread */
    ROSTER_LAST, /* the same, and it was the last one */
};

/* Lock held. Have others gone through short jobs since the lookout last looked, and are at it yet? */
static inline bool roster_goes_on(const struct roster *r, const struct seat *s, int64_t now)
{
    int64_t others = (int64_t)roster_active(r) - 1;
    int64_t taken = (int64_t)(plain_read(r->takes) - s->seen);

    return r->lookout == s && others > 0 && taken * ROSTER_SHORT_NS > others * (now - s->seen_at);
}

/* Lock held. */
static inline enum roster_next roster_decide(struct roster *r, struct seat *s, int64_t now,
                                             bool may_spin)
{
    bool leads = r->lookout == s, goes_on = roster_goes_on(r, s, now);
    bool too_many = roster_active(r) > r->max && !r->closed;
    bool jobs = !list_is_empty(&r->jobs);

    if (jobs && !too_many) {
        bool joins = s->spun || r->closed || (s->saw_jobs && roster_active(r) <= r->cpus);

        s->saw_jobs = true;
        return goes_on && !joins ? ROSTER_DOZE : ROSTER_RUN;
    }
    if (r->closed)
        return --r->threads == 0 ? ROSTER_LAST : ROSTER_QUIT;
    s->saw_jobs = false;
    if (goes_on)
        return ROSTER_DOZE;
    if (may_spin && !jobs && (leads || !roster_lookout_is(r, SEAT_AWAKE)))
        return ROSTER_SPIN;
    return ROSTER_SIT;
}

/* Lock held. */
static inline struct job *roster_take(struct roster *r, struct seat *s)
{
    struct job *job = JD_CONTAINER_OF(r->jobs.next, struct job, link);

    list_del(&job->link);
    roster_count(r, -1);
    plain_write(r->takes, r->takes + 1);
    if (r->lookout == s)
        r->lookout = NULL;
    return job;
}

/* Lock held. */
static inline void roster_sit(struct roster *r, struct seat *s)
{
    if (r->lookout == s)
        r->lookout = NULL;
    s->state = SEAT_IDLE;
    list_add_head(&r->idle, &s->link);
    r->idle_count++;
}

/* What an awake thread does next. *ret_job is set for ROSTER_RUN only. */
static inline enum roster_next roster_next(struct roster *r, struct seat *s, int64_t now,
                                           bool may_spin, struct job **ret_job,
                                           struct roster_call *call)
{
    enum roster_next next;

    *call = (struct roster_call){ NULL, false };
    spin_lock(&r->lock);
    JD_ASSERT(s->state == SEAT_AWAKE);
    next = roster_decide(r, s, now, may_spin);
    s->spun = next == ROSTER_SPIN;
    if (next == ROSTER_RUN) {
        *ret_job = roster_take(r, s);
        roster_settle(r, now, call);
    } else if (next == ROSTER_DOZE) {
        plain_write(s->state, SEAT_DOZING);
        seat_look(r, s, now);
    } else if (next == ROSTER_SPIN) {
        if (!r->lookout && !r->starting)
            r->lookout = s;
        seat_look(r, s, now);
    } else if (next == ROSTER_SIT) {
        roster_sit(r, s);
    } else if (r->lookout == s) {
        r->lookout = NULL; /* it quits */
    }
    spin_unlock(&r->lock);
    return next;
}

/* The tick has passed. False: somebody is about to ring, wait for that. */
static inline bool roster_doze_over(struct roster *r, struct seat *s)
{
    bool mine;

    spin_lock(&r->lock);
    mine = plain_read(s->state) == SEAT_DOZING;
    if (mine)
        s->state = SEAT_AWAKE;
    spin_unlock(&r->lock);
    return mine;
}

enum roster_retirement {
    ROSTER_RETIRED, /* the end of this thread */
    ROSTER_STAYS,   /* one must stay: sleep on */
    ROSTER_CALLED,  /* somebody is about to ring */
};

static inline enum roster_retirement roster_retire(struct roster *r, struct seat *s)
{
    enum roster_retirement ret = ROSTER_CALLED;

    spin_lock(&r->lock);
    if (plain_read(s->state) == SEAT_IDLE) {
        ret = r->threads - r->blocked > 1 ? ROSTER_RETIRED : ROSTER_STAYS;
        if (ret == ROSTER_RETIRED) {
            list_del(&s->link);
            r->idle_count--;
            r->threads--;
        }
    }
    spin_unlock(&r->lock);
    return ret;
}

/* The job that this thread runs waits for something outside: others take its place. */
static inline void roster_block(struct roster *r, struct seat *s, int64_t now,
                                struct roster_call *call)
{
    *call = (struct roster_call){ NULL, false };
    spin_lock(&r->lock);
    JD_ASSERT(s->state == SEAT_AWAKE);
    s->state = SEAT_BLOCKED;
    r->blocked++;
    roster_settle(r, now, call);
    spin_unlock(&r->lock);
}

static inline void roster_unblock(struct roster *r, struct seat *s)
{
    spin_lock(&r->lock);
    JD_ASSERT(s->state == SEAT_BLOCKED);
    s->state = SEAT_AWAKE;
    r->blocked--;
    spin_unlock(&r->lock);
}

/* --- Bells --------------------------------------------------------------------------------------- */

/* Then wake who sleeps on the bell; the seat may be gone by then. */
static inline void seat_ring(struct seat *s)
{
    /* [SEAT-1] Release, pairs with the acquire in seat_was_rung(): ... the ringer's look at the seat
     * is over before the thread goes on, and perhaps frees it. */
    atom_store(&s->bell, 1, release);
}

/* The thread itself. True: rung, and quiet again. */
static inline bool seat_was_rung(struct seat *s)
{
    /* [SEAT-1] Acquire, pairs with the release in seat_ring(). */
    if (atom_load(&s->bell, acquire) == 0)
        return false;
    atom_store(&s->bell, 0, relaxed); /* Relaxed: nobody rings before we sleep again (I3). */
    return true;
}

#endif /* EXECUTOR_ROSTER_H */
