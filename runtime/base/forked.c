/* SPDX-License-Identifier: MIT */
/*
 * Who hears of a fork in the child: see forked.h.
 */
#include "base/forked.h"

#include <pthread.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct list watchers = { &watchers, &watchers }; /* guarded by lock */
static bool hooked;                                     /* guarded by lock */

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
    struct list *link;

    while ((link = list_pop_head(&watchers))) { /* bounded by the records */
        struct forked *f = JD_CONTAINER_OF(link, struct forked, link);

        f->in_child(f);
    }
    pthread_mutex_unlock(&lock);
}

int forked_watch(struct forked *f, void (*child)(struct forked *f))
{
    int error = 0;

    f->in_child = child;
    pthread_mutex_lock(&lock);
    if (!hooked)
        error = pthread_atfork(before_fork, in_parent, in_child);
    if (!error) {
        hooked = true;
        list_add_tail(&watchers, &f->link);
    }
    pthread_mutex_unlock(&lock);
    return -error;
}

void forked_unwatch(struct forked *f)
{
    pthread_mutex_lock(&lock);
    list_del(&f->link);
    pthread_mutex_unlock(&lock);
}
