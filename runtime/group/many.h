/* SPDX-License-Identifier: MIT */
#ifndef GROUP_MANY_H
#define GROUP_MANY_H

/*
 * Waiting for several futures with one wait: the core of gather and wait.
 *
 * I1  One wait, n nodes. Each completion lowers the counter; the one that meets the condition ends
 *     the wait (task/future.c).
 * I2  A completer looks at the counter and its node under the future's lock bit. many_wait() takes
 *     that lock of every future it linked to before it returns, so nobody touches a dead frame.
 * I3  The caller holds all futures alive; no reference is taken.
 *
 * Threads: tasks. Rejected: done callbacks (one allocation and one queue trip per future); a wait
 * per future in turn (n wake-ups, and no answer to "which is first").
 */
#include "task/task.h"

/* Up to so many need no allocation; 16 nodes are 768 bytes of the caller's stack. */
#define MANY_INLINE 16

/* Either array; the other is NULL. */
struct many {
    jd_future *const *futs;
    jd_task *const *tasks;
    size_t n;
};

/* Working space: nodes while waiting, a set of futures while counting. Never both. */
union many_space {
    struct counter_node nodes[MANY_INLINE];
    jd_future *set[MANY_INLINE * 4];
};

struct many_room {
    union many_space *space; /* own, or on the heap */
    size_t bytes;
    union many_space own;
};

enum many_until {
    MANY_ALL,           /* all are done */
    MANY_FIRST,         /* one is done */
    MANY_FIRST_ERROR,   /* one has an error, -ECANCELED included, or all are done */
    MANY_FIRST_FAILURE, /* the same, but one that was cancelled has not failed */
};

static inline jd_future *many_at(const struct many *m, size_t i)
{
    if (m->futs)
        return m->futs[i];
    return m->tasks[i] ? &m->tasks[i]->future : NULL;
}

/* -EINVAL: no array, or a NULL in it. */
int many_check(const struct many *m);
bool many_has(const struct many *m, const jd_future *f);
/* Is the condition met? */
bool many_holds(const struct many *m, enum many_until until);

/* -ENOMEM. */
int many_room_init(struct many_room *room, size_t n);
void many_room_fini(struct many_room *room);

/*
 * The calling task is `t`; kind: 0 or WAIT_CANCELLABLE. 0: the condition is met, maybe since before;
 * else -ETIMEDOUT or -ECANCELED.
 */
int many_wait(const struct many *m, struct many_room *room, struct jd_task *t,
              enum many_until until, int64_t deadline, unsigned kind);

#endif /* GROUP_MANY_H */
