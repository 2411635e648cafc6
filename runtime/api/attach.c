/* SPDX-License-Identifier: MIT */
/*
 * What other libraries keep with a runtime: a list under keys that only grows until the runtime ends.
 *
 * I1  A node is constant once it is in the list, and lives until attachments_free(): a look-up takes
 *     no lock.
 * I2  One node per key: who pushes has seen every node below his own.
 *
 * Threads: any; attachments_free() when nobody else is left. Rejected: a hash table (a process has
 * one or two such libraries), removal (a user could hold what was removed).
 */
#include <errno.h>

#include "api/lifecycle.h"
#include "base/alloc.h"

struct attachment {
    const void *key;
    void *value;
    void (*detach)(void *value);
    struct attachment *next;
};

static struct attachment *find(struct attachment *a, const void *key)
{
    while (a && a->key != key)
        a = a->next;
    return a;
}

int jd_runtime_attach(jd_runtime *rt, const void *key, void *value, void (*detach)(void *value))
{
    struct attachment *a;

    if (!rt || !key || !value)
        return -EINVAL;
    a = mem_alloc(sizeof(*a));
    if (!a)
        return -ENOMEM;
    *a = (struct attachment){ .key = key, .value = value, .detach = detach };
    a->next = atom_load(&rt->attachments, acquire); /* [ATTACH-1] */
    for (;;) {                                      /* bounded by others' success */
        if (find(a->next, key)) {
            mem_free(a, sizeof(*a));
            return -EALREADY;
        }
        /* [ATTACH-1] Release: who finds the node sees it whole, and what its value points to.
         * Acquire on failure: the nodes that came meanwhile are searched. */
        if (atom_cas_weak(&rt->attachments, &a->next, a, release, acquire))
            return 0;
    }
}

void *jd_runtime_attached(const jd_runtime *rt, const void *key)
{
    struct attachment *a;

    if (!rt)
        return NULL;
    a = find(atom_load(&rt->attachments, acquire), key); /* [ATTACH-1] */
    return a ? a->value : NULL;
}

void attachments_free(struct jd_runtime *rt)
{
    /* Relaxed: nobody else is left. */
    struct attachment *a = atom_load(&rt->attachments, relaxed);

    while (a) {
        struct attachment *next = a->next;

        if (a->detach)
            a->detach(a->value);
        mem_free(a, sizeof(*a));
        a = next;
    }
}
