/* SPDX-License-Identifier: MIT */
#ifndef BASE_LIST_H
#define BASE_LIST_H

/*
 * Intrusive circular doubly linked list. A head and a node are the same type; an unlinked node
 * points to itself, so list_del() of an unlinked node is harmless and membership can be asked.
 * No locking: the owner of a list says what guards it.
 */
#include <stdbool.h>

#include "base/attr.h"

struct list {
    struct list *next, *prev;
};

static inline void list_init(struct list *l)
{
    l->next = l;
    l->prev = l;
}

static inline bool list_is_empty(const struct list *l)
{
    return l->next == l;
}

/* Of a node: is it in some list? */
static inline bool list_is_linked(const struct list *node)
{
    return node->next != node;
}

static inline void list_insert_between(struct list *prev, struct list *node, struct list *next)
{
    node->prev = prev;
    node->next = next;
    prev->next = node;
    next->prev = node;
}

static inline void list_add_tail(struct list *head, struct list *node)
{
    list_insert_between(head->prev, node, head);
}

static inline void list_add_head(struct list *head, struct list *node)
{
    list_insert_between(head, node, head->next);
}

static inline void list_del(struct list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}

static inline struct list *list_pop_head(struct list *head)
{
    struct list *node = head->next;

    if (node == head)
        return NULL;
    list_del(node);
    return node;
}

/* Moves all nodes of `from` to the tail of `to`; `from` is empty afterwards. */
static inline void list_splice_tail(struct list *to, struct list *from)
{
    if (list_is_empty(from))
        return;
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    list_init(from);
}

#define list_for_each(pos, head) \
    for (struct list *pos = (head)->next; pos != (head); pos = pos->next)

#endif /* BASE_LIST_H */
