/* SPDX-License-Identifier: MIT */
/*
 * Questions about a runtime.
 */
#include <errno.h>
#include <string.h>

#include "api/lifecycle.h"

jd_runtime *jd_runtime_current(void)
{
    struct worker *w = worker_current();

    return w ? w->rt : NULL;
}

int jd_runtime_is_running(const jd_runtime *rt)
{
    return rt && atom_load(&rt->state, acquire) == RUNTIME_RUNNING && /* [STATE-1] */
           !atom_load(&rt->stop, acquire);                            /* [STOP-1] */
}

unsigned jd_worker_count(const jd_runtime *rt)
{
    return rt ? rt->worker_count : 0;
}

int jd_worker_index(void)
{
    struct worker *w = worker_current();

    return w ? (int)w->index : -EPERM;
}

int jd_runtime_info(const jd_runtime *rt, jd_info *ret)
{
    struct stack_stats stacks;
    jd_info info = JD_INFO_INIT;
    size_t size;

    if (!rt || !ret || ret->size == 0)
        return -EINVAL;
    stack_pool_stats((struct stack_pool *)(uintptr_t)&rt->stacks, &stacks);
    size = ret->size < sizeof(info) ? ret->size : sizeof(info);
    info.workers = rt->worker_count;
    info.reactor =
        !strcmp(reactor_name(rt->reactor), "uring") ? "io_uring" : reactor_name(rt->reactor);
    info.why = reactor_why(rt->reactor);
    info.version = jd_version();
    info.guard_pages = stacks.guard != STACK_GUARD_CANARY;
    info.size = ret->size;
    memcpy(ret, &info, size);
    return 0;
}
