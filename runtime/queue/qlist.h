/* SPDX-License-Identifier: MIT */
#ifndef QUEUE_QLIST_H
#define QUEUE_QLIST_H

/*
 * Intrusive singly linked FIFO list, the plain part of inbox.h, injector.h and loop_queue.h: one
 * word per node, no removal from the middle. Who owns or locks a list says its user.
 *
 * I1  first == NULL if and only if the list is empty; last is meaningless then.
 * I2  The next of the last node is NULL. A node is in at most one list.
 *
 * I3  next is atomic and always relaxed: the user's lock or edge orders it. Atomic, because the
 *     task layer chains the same nodes without a list.
 *
 * plain_read and plain_write let the model checker prove that the user's lock or edge really
 * guards the list. Rejected: base/list.h (two words; these nodes live in every task).
 */
#include <stdbool.h>
#include <stdint.h>

#include "atomic/atomic.h"
#include "base/assert.h"
#include "base/attr.h"

struct qnode {
    JD_ATOMIC(struct qnode *) next;
};

struct qlist {
    struct qnode *first, *last;
};

static inline struct qnode *qnode_next(struct qnode *node)
{
    return atom_load(&node->next, relaxed); /* Relaxed: I3. */
}

static inline void qnode_set_next(struct qnode *node, struct qnode *next)
{
    atom_store(&node->next, next, relaxed); /* Relaxed: I3. */
}

static inline void qlist_init(struct qlist *l)
{
    plain_write(l->first, (struct qnode *)0);
    plain_write(l->last, (struct qnode *)0);
}

static inline bool qlist_is_empty(const struct qlist *l)
{
    return !plain_read(l->first);
}

/* Appends the linked nodes first .. last; the next of last is overwritten. */
static inline void qlist_push_chain(struct qlist *l, struct qnode *first, struct qnode *last)
{
    qnode_set_next(last, NULL);
    if (qlist_is_empty(l))
        plain_write(l->first, first);
    else
        qnode_set_next(plain_read(l->last), first);
    plain_write(l->last, last);
}

static inline void qlist_push(struct qlist *l, struct qnode *node)
{
    qlist_push_chain(l, node, node);
}

/* The oldest node, unlinked, or NULL. */
static inline struct qnode *qlist_pop(struct qlist *l)
{
    struct qnode *node = plain_read(l->first);

    if (node)
        plain_write(l->first, qnode_next(node));
    return node;
}

/* Moves all of `from` behind `to`; `from` is empty afterwards. */
static inline void qlist_append(struct qlist *to, struct qlist *from)
{
    if (qlist_is_empty(from))
        return;
    qlist_push_chain(to, plain_read(from->first), plain_read(from->last));
    plain_write(from->first, (struct qnode *)0);
}

#endif /* QUEUE_QLIST_H */
