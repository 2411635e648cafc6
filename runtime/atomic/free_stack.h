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
 *     the push, acquire after the pop. The link, which CK reads and writes plainly (I1), is hidden
 *     from it.
 *
 * Under the model checker, which does not see CK either, a locked list stands in: what is checked
 * there is the code around it.
 * Rejected for queues: it is last in, first out (docs/adr/0008).
 */
#include <stddef.h>

#include "base/attr.h"

#ifdef JD_CHECK
#include "atomic/spin.h"

struct free_node {
    struct free_node *next;
};

struct free_stack {
    struct spin lock;
    struct free_node *head;
};

#define FREE_STACK_INITIAL \
    { \
        .head = NULL \
    }

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
void AnnotateIgnoreReadsBegin(const char *file, int line);
void AnnotateIgnoreReadsEnd(const char *file, int line);
void AnnotateIgnoreWritesBegin(const char *file, int line);
void AnnotateIgnoreWritesEnd(const char *file, int line);
#define free_stack_tell(edge, node) __tsan_##edge(node)
#define free_stack_hide(what) AnnotateIgnore##what(__FILE__, __LINE__)
#else
#define free_stack_tell(edge, node) ((void)(node))
#define free_stack_hide(what) ((void)0)
#endif

struct free_node {
    struct ck_stack_entry entry; /* first: a node and its entry have one address */
};

struct free_stack {
    JD_ALIGNED(16)
    struct ck_stack stack; /* cmpxchg16b faults otherwise, and CK does not ask for it */
};

/* The generation is a pointer that CK counts up: not from NULL, which UBSan objects to. */
#define FREE_STACK_INITIAL \
    { \
        .stack = {.head = NULL, .generation = (char *)1 } \
    }

static inline void free_stack_push(struct free_stack *s, struct free_node *node)
{
    free_stack_tell(release, node);
    free_stack_hide(WritesBegin);
    ck_stack_push_mpmc(&s->stack, &node->entry);
    free_stack_hide(WritesEnd);
}

/* NULL: empty. */
static inline struct free_node *free_stack_pop(struct free_stack *s)
{
    struct free_node *node;

    free_stack_hide(ReadsBegin);
    node = (struct free_node *)ck_stack_pop_mpmc(&s->stack);
    free_stack_hide(ReadsEnd);
    if (node)
        free_stack_tell(acquire, node);
    return node;
}

#endif /* JD_CHECK */
#endif /* ATOMIC_FREE_STACK_H */
