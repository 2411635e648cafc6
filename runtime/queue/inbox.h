/* SPDX-License-Identifier: MIT */
#ifndef QUEUE_INBOX_H
#define QUEUE_INBOX_H

/*
 * Intrusive inbox of one worker: any thread puts nodes in, the owner takes all of them at once, in
 * the order in which they came.
 *
 * I1  `newest` heads a stack linked by next, newest first; NULL is empty.
 * I2  A node belongs to its producer before the CAS, to the inbox until inbox_take_all(), to the
 *     taker afterwards. The inbox itself never follows a link, so there is no ABA and no
 *     reclamation question.
 * I3  The order of the CASes is the order of delivery, hence FIFO per producer. Nodes of an
 *     earlier take come before those of a later one.
 *
 * Linearisation: the CAS, the exchange. Progress: put is lock-free (a failure is another thread's
 * success), take wait-free and O(nodes).
 *
 * Park protocol (Dekker), with the idle word of the scheduler:
 *   S1 inbox_put(), seq_cst CAS [INBOX-2]   P1 the owner announces that it parks, seq_cst
 *   S2 loads the idle word, seq_cst         P2 inbox_is_empty(), seq_cst load [INBOX-2]
 *   If S2 misses P1 then P2 sees S1; otherwise the owner would sleep on a full inbox.
 *
 * Threads: inbox_take_all: the owner (or whoever stands in for it; exchange makes two safe). All
 * others: anyone.
 *
 * Rejected: Vyukov's queue (exchange, then link: a producer preempted in between hides all later
 * nodes from a consumer that must then spin or give up); ck_fifo_mpsc (allocates a dummy node per
 * queue, same gap); ck_stack (the same code, but invisible to TSan and to the model checker).
 */
#include "queue/qlist.h"

struct inbox {
    /* Producers' line. */
    JD_ALIGNED(JD_CACHE_LINE) JD_ATOMIC(struct qnode *) newest;
};

static inline void inbox_init(struct inbox *in)
{
    atom_init(&in->newest, (struct qnode *)0);
}

/* Anyone. True when the inbox was empty: only then does the owner need to hear of it. */
static inline bool inbox_put(struct inbox *in, struct qnode *node)
{
    /* Relaxed: we only link to it, we never look at it. */
    struct qnode *newest = atom_load(&in->newest, relaxed);

    do { /* lock-free: each failure is another thread's put or the owner's take */
        qnode_set_next(node, newest);
        /* [INBOX-1] Release part, pairs with the exchange in inbox_take_all(): publishes the node.
         * [INBOX-2] seq_cst part: S1 of the park protocol above. */
    } while (!atom_cas_weak(&in->newest, &newest, node, seq_cst, relaxed));
    return !newest;
}

/* Owner. Appends all nodes to *out, oldest first; returns their number. */
static inline unsigned inbox_take_all(struct inbox *in, struct qlist *out)
{
    /* Relaxed: only to spare the exchange; who must be sure asks inbox_is_empty(). */
    if (!atom_load(&in->newest, relaxed))
        return 0;
    /* [INBOX-1] Acquire, pairs with the CAS in inbox_put(); those CASes are one release sequence,
     * so all nodes are visible, not only the newest. */
    struct qnode *newest = atom_exchange(&in->newest, (struct qnode *)0, acquire);
    struct qnode *first = NULL;
    unsigned count = 0;

    for (struct qnode *node = newest; node; count++) {
        struct qnode *older = qnode_next(node);

        qnode_set_next(node, first);
        first = node;
        node = older;
    }
    if (first)
        qlist_push_chain(out, first, newest);
    return count;
}

/* P2 of the park protocol above: the caller has announced itself by a seq_cst operation before. */
static inline bool inbox_is_empty(struct inbox *in)
{
    /* [INBOX-2] seq_cst, pairs with the CAS in inbox_put(). */
    return !atom_load(&in->newest, seq_cst);
}

#endif /* QUEUE_INBOX_H */
