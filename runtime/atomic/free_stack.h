/* SPDX-License-Identifier: MIT */
#ifndef ATOMIC_FREE_STACK_H
#define ATOMIC_FREE_STACK_H

/*
 * A lock-free stack of spare records, any thread pushes and pops: Concurrency Kit's ck_stack with
 * its double-width pop, wrapped.
 *
 * I1  Nodes are type-stable: a popper may read the link of a node that another thread has just
 *     taken; the generation in the head then makes its CAS fail (no ABA).
 * I2  ThreadSanitizer does not see CK's assembly, so the hand-over is told to it: release before
 *     the push, acquire after the pop.
 *
 * Under the model checker, which does not see CK either, a locked list stands in: what is checked
 * there is the code around it.
 * Rejected for queues: it is last in, first out (docs/adr/0008).
 */
#include <stddef.h>

#ifdef JD_CHECK
#include "atomic/spin.h"

struct free_node {
    struct free_node *next;
};

struct free_stack {
    struct spin lock;
    struct free_node *head;
};

#define FREE_STACK_INITIAL { .head = NULL }

static inline void free_stack_push(struct free_stack *s, struct free_node *node)
{
    spin_lock(&s->lock);
    node->next = s->head;
    s->head = node;
    spin_unlock(&s->lock);
}

static inline struct free_node *free_stack_pop(struct free_stack *s)
{
    struct free_node *node;

    spin_lock(&s->lock);
    node = s->head;
    if (node)
        s->head = node->next;
    spin_unlock(&s->lock);
    return node;
}

#else
#include <ck_stack.h>

#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_THREAD__) || __has_feature(thread_sanitizer)
void __tsan_acquire(void *addr);
void __tsan_release(void *addr);
#define free_stack_tell(edge, node) __tsan_##edge(node)
#else
#define free_stack_tell(edge, node) ((void)(node))
#endif

struct free_node {
    struct ck_stack_entry entry; /* first: a node and its entry have one address */
};

struct free_stack {
    struct ck_stack stack;
};

#define FREE_STACK_INITIAL { .stack = CK_STACK_INITIALIZER }

static inline void free_stack_push(struct free_stack *s, struct free_node *node)
{
    free_stack_tell(release, node);
    ck_stack_push_mpmc(&s->stack, &node->entry);
}

/* NULL: empty. */
static inline struct free_node *free_stack_pop(struct free_stack *s)
{
    struct free_node *node = (struct free_node *)ck_stack_pop_mpmc(&s->stack);

    if (node)
        free_stack_tell(acquire, node);
    return node;
}

#endif /* JD_CHECK */
#endif /* ATOMIC_FREE_STACK_H */
