/* SPDX-License-Identifier: MIT */
/*
 * fork(): the child has one thread and rings that belong to the parent, so each runtime it inherits
 * is dead: spawns and runs answer -ESHUTDOWN. The rings' memory is not in the child at all
 * (MADV_DONTFORK), their descriptors close on exec.
 */
#include "api/lifecycle.h"

static void in_child(struct forked *f)
{
    struct jd_runtime *rt = JD_CONTAINER_OF(f, struct jd_runtime, forked);

    atom_store(&rt->state, RUNTIME_DEAD, release); /* [STATE-1] */
    atom_store(&rt->refuse_spawns, 1, release);    /* [STOP-2] */
    worker_set_current(NULL);                      /* the fork may have been in a task */
    reactor_thread_forget();
}

int runtime_register(struct jd_runtime *rt)
{
    return forked_watch(&rt->forked, in_child);
}

void runtime_unregister(struct jd_runtime *rt)
{
    forked_unwatch(&rt->forked);
}
