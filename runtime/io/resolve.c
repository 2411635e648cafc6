/* SPDX-License-Identifier: MIT */
/*
 * See resolve.h. The order of answers is getaddrinfo's (RFC 6724).
 */
#include "io/resolve.h"

#include <errno.h>
#include <netdb.h>
#include <string.h>

#include <jackdaw/future.h>
#include <jackdaw/net.h>

#include "atomic/atomic.h"
#include "base/alloc.h"
#include "base/attr.h"
#include "executor/pool.h"
#include "io/address.h"
#include "io/sys.h"
#include "sched/choice.h"
#include "sched/wait.h"

#define SERVICE_BYTES 32 /* as NI_MAXSERV */

struct resolve {
    JD_ATOMIC(uint32_t) refs;
    struct job job;
    jd_future *done; /* one reference of the job's, one of the task's */
    /* Constant once submitted. */
    struct addrinfo hints;
    bool has_host, has_service;
    char host[ADDRESS_HOST_BYTES];
    char service[SERVICE_BYTES];
    /* The job's until `done` is. */
    int error;
    struct addrinfo *list;
};

static void resolve_unref(struct resolve *r)
{
    /* [RESOLVE-1] pairs with itself: release, our accesses are over; acquire, the last one frees. */
    if (atom_fetch_sub(&r->refs, 1, acq_rel) > 1)
        return;
    if (r->list)
        freeaddrinfo(r->list); /* of a task that did not wait for it */
    mem_free(r, sizeof(*r));
}

static int resolve_error(int code, int system_error)
{
    switch (code) {
    case 0:
        return 0;
    case EAI_SYSTEM:
        return system_error < 0 ? system_error : -EHOSTUNREACH;
    case EAI_MEMORY:
        return -ENOMEM;
    case EAI_NONAME:
    case EAI_NODATA:
    case EAI_ADDRFAMILY:
        return -ENXIO; /* there is no such host, or it has no address */
    case EAI_AGAIN:
    case EAI_FAIL:
        return -EHOSTUNREACH; /* no name server has answered; -EAGAIN means something else here */
    default:
        return -EINVAL; /* flags, family, type or service that make no sense */
    }
}

static void look_up(struct resolve *r)
{
    int saved = sys_error_save();
    int code = getaddrinfo(r->has_host ? r->host : NULL, r->has_service ? r->service : NULL,
                           &r->hints, &r->list);

    r->error = resolve_error(code, sys_error_take(saved));
    if (code != 0)
        r->list = NULL;
}

/* In a simulation there is one host, and nothing outside is asked: all is numbers. One answer, so
 * that it does not depend on the machine's addresses which one comes first. */
static void look_up_simulated(struct resolve *r)
{
    bool six = r->hints.ai_family == AF_INET6;

    if (!r->has_host && (r->hints.ai_flags & AI_PASSIVE))
        strcpy(r->host, six ? "::" : "0.0.0.0");
    else if (!r->has_host || strcmp(r->host, "localhost") == 0)
        strcpy(r->host, six ? "::1" : "127.0.0.1");
    r->has_host = true;
    r->hints.ai_flags |= AI_NUMERICHOST | AI_NUMERICSERV;
    r->hints.ai_flags &= ~AI_ADDRCONFIG;
    look_up(r);
}

static void resolve_end(struct resolve *r)
{
    jd_future *done = r->done;

    (void)jd_future_set(done, jd_ok(NULL)); /* the only one who completes it */
    jd_future_unref(done);
    resolve_unref(r);
}

static void resolve_run(struct job *job)
{
    struct resolve *r = JD_CONTAINER_OF(job, struct resolve, job);

    if (choice_simulated())
        look_up_simulated(r);
    else
        look_up(r);
    resolve_end(r);
}

static void resolve_drop(struct job *job, int error)
{
    struct resolve *r = JD_CONTAINER_OF(job, struct resolve, job);

    r->error =
        error == -EAGAIN ? -ENOMEM : error; /* no thread; -EAGAIN means something else here */
    resolve_end(r);
}

static const struct job_type resolve_type = { resolve_run, resolve_drop, NULL };

static int set_query(struct resolve *r, const char *host, const char *service,
                     const struct addrinfo *hints)
{
    if (host && strlen(host) >= sizeof(r->host))
        return -ENAMETOOLONG;
    if (service && strlen(service) >= sizeof(r->service))
        return -ENAMETOOLONG;
    r->has_host = host != NULL;
    r->has_service = service != NULL;
    if (host)
        strcpy(r->host, host);
    if (service)
        strcpy(r->service, service);
    if (hints) {
        r->hints.ai_flags = hints->ai_flags;
        r->hints.ai_family = hints->ai_family;
        r->hints.ai_socktype = hints->ai_socktype;
        r->hints.ai_protocol = hints->ai_protocol;
    }
    return 0;
}

static int resolve_new(const char *host, const char *service, const struct addrinfo *hints,
                       struct resolve **ret)
{
    struct resolve *r = mem_calloc(sizeof(*r));
    int error;

    if (!r)
        return -ENOMEM;
    atom_init(&r->refs, 2);
    r->job.type = &resolve_type;
    error = set_query(r, host, service, hints);
    if (error == 0)
        error = jd_future_new(NULL, &r->done);
    if (error < 0) {
        mem_free(r, sizeof(*r));
        return error;
    }
    (void)jd_future_ref(r->done);
    *ret = r;
    return 0;
}

/* The job's references: it will not run. */
static void resolve_withdrawn(struct resolve *r)
{
    jd_future_unref(r->done);
    resolve_unref(r);
}

static int resolve_wait(struct jd_executor *pool, struct resolve *r)
{
    int error = pool_submit(pool, &r->job);

    if (error < 0) {
        resolve_withdrawn(r);
        return error == -EAGAIN ? -ENOMEM : error;
    }
    error = jd_future_wait(r->done, JD_FOREVER);
    if (error < 0 && pool_withdraw(pool, &r->job))
        resolve_withdrawn(r);
    return error < 0 ? error : r->error;
}

int resolve_names(const char *host, const char *service, const struct addrinfo *hints,
                  struct addrinfo **ret)
{
    struct jd_executor *pool = worker_current()->rt->executors[JD_EXECUTOR_DNS];
    struct resolve *r;
    int error = resolve_new(host, service, hints, &r);

    if (error < 0)
        return error;
    error = resolve_wait(pool, r);
    jd_future_unref(r->done);
    if (error == 0) {
        *ret = r->list; /* the job is done with it */
        r->list = NULL;
    }
    resolve_unref(r);
    return error;
}

int jd_resolve(const char *host, const char *service, const struct addrinfo *hints,
               struct addrinfo **ret)
{
    struct jd_task *task;
    int error = call_begin(WAIT_CANCELLABLE, &task);

    if (error < 0)
        return error;
    if (!ret || (!host && !service))
        return -EINVAL;
    return resolve_names(host, service, hints, ret);
}
