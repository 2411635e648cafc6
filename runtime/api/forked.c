/* SPDX-License-Identifier: MIT */
/*
 * fork(): the child has one thread and rings that belong to the parent, so each runtime it inherits
 * is dead: spawns and runs answer -ESHUTDOWN. The rings' memory is not in the child at all
 * (MADV_DONTFORK), their descriptors close on exec.
 */
#include <errno.h>
#include <pthread.h>

#include "api/lifecycle.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct jd_runtime *runtimes; /* guarded by lock */
static bool hooked;                 /* guarded by lock */

static void before_fork(void)
{
    pthread_mutex_lock(&lock);
}

static void in_parent(void)
{
    pthread_mutex_unlock(&lock);
}

static void in_child(void)
{
    for (struct jd_runtime *rt = runtimes; rt; rt = rt->next_runtime) {
        atom_store(&rt->state, RUNTIME_DEAD, release); /* [STATE-1] */
        atom_store(&rt->refuse_spawns, 1, release);    /* [STOP-2] */
    }
    runtimes = NULL;
    worker_set_current(NULL); /* the fork may have been in a task */
    reactor_thread_forget();
    pthread_mutex_unlock(&lock);
}

int runtime_register(struct jd_runtime *rt)
{
    int err = 0;

    pthread_mutex_lock(&lock);
    if (!hooked)
        err = pthread_atfork(before_fork, in_parent, in_child);
    if (!err) {
        hooked = true;
        rt->next_runtime = runtimes;
        runtimes = rt;
    }
    pthread_mutex_unlock(&lock);
    return -err;
}

void runtime_unregister(struct jd_runtime *rt)
{
    pthread_mutex_lock(&lock);
    for (struct jd_runtime **at = &runtimes; *at; at = &(*at)->next_runtime) {
        if (*at == rt) {
            *at = rt->next_runtime;
            break;
        }
    }
    pthread_mutex_unlock(&lock);
}
