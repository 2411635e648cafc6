/* SPDX-License-Identifier: MIT */
/*
 * fork(): the child has none of the threads, and locks and lists as they happened to be. Each pool it
 * inherits refuses work (-ESHUTDOWN) and is never freed.
 */
#include <errno.h>
#include <pthread.h>

#include "executor/pool.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct list pools = { &pools, &pools }; /* guarded by lock */
static bool hooked;                            /* guarded by lock */

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
    list_for_each(link, &pools) {
        struct jd_executor *p = JD_CONTAINER_OF(link, struct jd_executor, next_pool);

        atom_store(&p->is_orphan, 1, relaxed); /* Relaxed: this process has one thread. */
    }
    list_init(&pools);
    pthread_mutex_unlock(&lock);
}

int pool_register(struct jd_executor *p)
{
    int error = 0;

    pthread_mutex_lock(&lock);
    if (!hooked)
        error = pthread_atfork(before_fork, in_parent, in_child);
    if (!error) {
        hooked = true;
        list_add_tail(&pools, &p->next_pool);
    }
    pthread_mutex_unlock(&lock);
    return -error;
}

void pool_unregister(struct jd_executor *p)
{
    pthread_mutex_lock(&lock);
    list_del(&p->next_pool);
    pthread_mutex_unlock(&lock);
}
