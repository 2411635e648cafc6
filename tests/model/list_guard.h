/* SPDX-License-Identifier: MIT */
#ifndef LIST_GUARD_H
#define LIST_GUARD_H

/*
 * Shows the checker the plain accesses of base/list.h: each list operation counts as a write to
 * the nodes it is given, so a missing lock, a lock with too weak an order, or a touched dead node
 * is reported. Include it before the kernel header.
 */
#include "atomic/atomic.h"
#include "base/list.h"

#define GUARD(node) check_plain((void *)(node), true, CHECK_SITE(#node))
#define list_init(node) (GUARD(node), list_init(node))
#define list_add_tail(head, node) (GUARD(head), GUARD(node), list_add_tail(head, node))
#define list_add_head(head, node) (GUARD(head), GUARD(node), list_add_head(head, node))
#define list_del(node) (GUARD(node), list_del(node))
#define list_is_linked(node) \
    (check_plain((void *)(uintptr_t)(node), false, CHECK_SITE(#node)), list_is_linked(node))
#define list_pop_head(head) (GUARD(head), list_pop_head(head))

#endif /* LIST_GUARD_H */
