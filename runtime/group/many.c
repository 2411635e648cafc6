/* SPDX-License-Identifier: MIT */
/*
 * One wait for many futures: see many.h.
 *
 * The counter starts at the number of entries (or 1 for "the first"); the entries that are done
 * already are taken off in one step after all others were linked, so that the last one cannot be
 * missed: whoever brings it to 0, completer or waiter, ends the wait.
 */
#include "group/many.h"

#include <errno.h>

#include "base/alloc.h"
#include "sched/wait.h"

int many_check(const struct many *m)
{
    if (!m->futs && !m->tasks)
        return -EINVAL;
    for (size_t i = 0; i < m->n; i++)
        if (!many_at(m, i))
            return -EINVAL;
    return 0;
}

bool many_has(const struct many *m, const jd_future *f)
{
    for (size_t i = 0; i < m->n; i++)
        if (many_at(m, i) == f)
            return true;
    return false;
}

/* Of one that is done. */
static bool outcome_counts(const jd_future *f, enum many_until until)
{
    if (until < MANY_FIRST_ERROR || !f->result.error)
        return until == MANY_FIRST;
    /* Relaxed: written before the outcome was published. */
    return until == MANY_FIRST_ERROR || !(atom_load(&f->flags, relaxed) & FUTURE_CANCELLED);
}

bool many_holds(const struct many *m, enum many_until until)
{
    size_t done = 0;

    for (size_t i = 0; i < m->n; i++) {
        const jd_future *f = many_at(m, i);

        if (!outcome_is_done(&f->outcome))
            continue;
        if (outcome_counts(f, until))
            return true;
        done++;
    }
    return done == m->n;
}

int many_room_init(struct many_room *room, size_t n)
{
    room->space = &room->own;
    room->bytes = 0;
    if (n <= MANY_INLINE)
        return 0;
    if (n > UINT32_MAX)
        return -ENOMEM; /* the counter has 32 bits */
    room->bytes = n * sizeof(struct counter_node);
    room->space = mem_alloc(room->bytes);
    return room->space ? 0 : -ENOMEM;
}

void many_room_fini(struct many_room *room)
{
    if (room->bytes)
        mem_free(room->space, room->bytes);
}

/* Links to what is pending. Returns how many entries were done; *ret_met: one meets the condition. */
static uint32_t many_link(const struct many *m, struct counter_node *nodes,
                          struct outcome_counter *counter, const struct wait *w,
                          enum many_until until, bool *ret_met)
{
    uint32_t done = 0;

    *ret_met = false;
    for (size_t i = 0; i < m->n; i++) {
        jd_future *f = many_at(m, i);
        struct counter_node *node = &nodes[i];

        waiter_init(&node->waiter, w->target, w->seq);
        node->waiter.want = NODE_COUNTER;
        node->counter = counter;
        if (!outcome_wait(&f->outcome, &node->waiter)) {
            node->counter = NULL; /* never linked: nobody else knows it */
            done++;
            *ret_met |= outcome_counts(f, until);
        }
    }
    return done;
}

/* I2: afterwards no completer looks at a node or the counter. */
static void many_unlink(const struct many *m, struct counter_node *nodes)
{
    for (size_t i = 0; i < m->n; i++)
        if (nodes[i].counter)
            outcome_leave(&many_at(m, i)->outcome, &nodes[i].waiter);
}

/* One wait. A cancelled entry ends that of MANY_FIRST_FAILURE, too: the completer does not ask. */
static unsigned many_sleep(const struct many *m, struct counter_node *nodes, struct wait *w,
                           enum many_until until, int64_t deadline)
{
    struct outcome_counter counter;
    unsigned cause;
    uint32_t done;
    bool met;

    /* Relaxed: published by the lock bits of the futures. */
    atom_init(&counter.pending, until == MANY_FIRST ? 1 : (uint32_t)m->n);
    counter.stop_at_error = until >= MANY_FIRST_ERROR;
    done = many_link(m, nodes, &counter, w, until, &met);
    /* [COUNT-1] Acq_rel, pairs with counter_done(): the last one sees all results. */
    if (met || (done && atom_fetch_sub(&counter.pending, done, acq_rel) == done))
        (void)word_wake(&w->target->word, w->seq, CAUSE_GRANTED); /* losing: cancelled first */
    cause = wait_sleep(w, deadline);
    many_unlink(m, nodes);
    return cause;
}

int many_wait(const struct many *m, struct many_room *room, struct jd_task *t,
              enum many_until until, int64_t deadline, unsigned kind)
{
    while (!many_holds(m, until)) { /* bounded: each round but the last finds one more done */
        struct wait w;
        unsigned cause;

        (void)wait_open(&w, t, kind); /* fails for plain threads only */
        cause = many_sleep(m, room->space->nodes, &w, until, deadline);
        wait_close(&w);
        if (cause < CAUSE_GRANTED && !many_holds(m, until)) /* a completion wins over a cancel */
            return wait_error(&w, cause);
    }
    return 0;
}
