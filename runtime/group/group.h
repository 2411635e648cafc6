/* SPDX-License-Identifier: MIT */
#ifndef GROUP_GROUP_H
#define GROUP_GROUP_H

/*
 * What a jd_group holds: a scope, a count of live members, and what they left behind.
 *
 * I1  `live` counts members from before their spawn until the last access of their end to the
 *     group. Who raises it is counted itself or is the opener, so a group that reached 0 inside its
 *     close stays at 0.
 * I2  The record lives in the opener's frame. A member's end touches it for the last time when it
 *     leaves the lock after lowering `live`; the close returns only after it held the lock and saw
 *     0. So the wake is decided under the lock and carried out on the type-stable target after it.
 * I3  The scope stays open, and linked or not, until I2 holds: members have it as their parent.
 * I4  A failing member cancels the scope while it still counts as live.
 * I5  A finished member leaves nothing but a number, up to GROUP_ERRORS_KEPT errors and a winner:
 *     a long-lived group does not grow.
 *
 * Threads: the opener, and any worker that runs a member. Rejected: an atomic count with the wake
 * after it (the last member would touch a dead frame); a list of members (nobody needs it: cancels
 * go through the scope tree).
 */
#include <jackdaw/group.h>

#include "atomic/spin.h"
#include "task/scope.h"
#include "task/wait_list.h"

#define GROUP_ERRORS_KEPT 4

enum group_state { GROUP_CLOSED = 1, GROUP_OPEN = 2 };

struct group {
    struct timed_scope scope; /* its owner is the opener */
    struct jd_runtime *rt;    /* constant while open; NULL: inert, opened outside a task */
    uint32_t flags;           /* JD_GROUP_*, constant while open */

    struct spin lock; /* guards all below; a leaf */
    uint32_t state;   /* enum group_state */
    uint32_t live;
    uint32_t error_count;
    bool has_winner;
    bool cut_short;        /* a cancel from outside ended something */
    struct waiter *closer; /* the close's, while it sleeps */
    jd_result winner;
    jd_result errors[GROUP_ERRORS_KEPT];
};
_Static_assert(sizeof(struct group) <= sizeof(jd_group), "a jd_group holds a group");

/* Has its time passed? The opener asks, while it is open. */
bool group_is_expired(const jd_group *g);

#endif /* GROUP_GROUP_H */
