/* SPDX-License-Identifier: MIT */
#ifndef BASE_FORKED_H
#define BASE_FORKED_H

/*
 * fork(): the child has one thread, and locks and lists as they happened to be. Each record that is
 * known here hears of it in the child, once, and is forgotten there.
 *
 * I1  The list is whole in the child: its lock is held across the fork.
 * I2  A record is on the list from forked_watch() until forked_unwatch() returns.
 *
 * Threads: any. in_child() runs in the child's only thread, with the lock held.
 */
#include "base/list.h"

struct forked {
    struct list link;
    void (*in_child)(struct forked *f);
};

int forked_watch(struct forked *f, void (*in_child)(struct forked *f)); /* -ENOMEM */
void forked_unwatch(struct forked *f); /* also one that is forgotten */

#endif /* BASE_FORKED_H */
