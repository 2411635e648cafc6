/* SPDX-License-Identifier: MIT */
/*
 * See resolve.h. The order of answers is getaddrinfo's (RFC 6724), with the two families taken in
 * turn (RFC 8305), so that a broken IPv6 costs one delay and not one per address.
 */
#include "io/resolve.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include <jackdaw/future.h>
#include <jackdaw/sync.h>

#include "atomic/atomic.h"
#include "base/alloc.h"
#include "base/attr.h"
#include "io/sys.h"
#include "sched/choice.h"

struct resolve {
    JD_ATOMIC(uint32_t) refs;
    jd_future *done;          /* one reference of the thread's, one of the task's */
    struct address_text name; /* constant */
    /* The thread's until `done` is. */
    int error;
    unsigned count;
    struct address list[DIAL_ADDRESSES_MAX];
};

static jd_sem threads = JD_SEM_INIT(RESOLVE_THREADS_MAX);

void resolve_unref(struct resolve *r)
{
    /* [RESOLVE-1] pairs with itself: release, our accesses are over; acquire, the last one frees. */
    if (atom_fetch_sub(&r->refs, 1, acq_rel) == 1)
        mem_free(r, sizeof(*r));
}

unsigned resolve_count(const struct resolve *r)
{
    return r->count;
}

const struct address *resolve_list(const struct resolve *r)
{
    return r->list;
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
        return -EINVAL;
    }
}

static const struct addrinfo *next_of(const struct addrinfo *ai, int family, bool other)
{
    while (ai &&
           ((ai->ai_family != family) != other || ai->ai_addrlen > sizeof(struct sockaddr_in6)))
        ai = ai->ai_next; /* bounded by the list */
    return ai;
}

static void take(struct resolve *r, const struct addrinfo *ai)
{
    struct address *a = &r->list[r->count++];
    in_port_t port = htons(r->name.port);

    memset(&a->storage, 0, sizeof(a->storage));
    memcpy(&a->storage, ai->ai_addr, ai->ai_addrlen);
    a->len = ai->ai_addrlen;
    if (ai->ai_family == AF_INET6)
        ((struct sockaddr_in6 *)(void *)&a->storage)->sin6_port = port;
    else
        ((struct sockaddr_in *)(void *)&a->storage)->sin_port = port;
}

/* The first answer's family and the other one in turn. */
static void take_all(struct resolve *r, const struct addrinfo *list)
{
    int family = list->ai_family;
    const struct addrinfo *same = next_of(list, family, false);
    const struct addrinfo *other = next_of(list, family, true);

    while (r->count < DIAL_ADDRESSES_MAX && (same || other)) {
        if (same) {
            take(r, same);
            same = next_of(same->ai_next, family, false);
        }
        if (other && r->count < DIAL_ADDRESSES_MAX) {
            take(r, other);
            other = next_of(other->ai_next, family, true);
        }
    }
}

/*
 * Without AI_ADDRCONFIG: it would hide ::1 from a host whose only IPv6 address that is. An address
 * that cannot be reached fails at once, and is sorted last.
 */
static void look_up(struct resolve *r)
{
    struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
    struct addrinfo *list = NULL;
    int saved = sys_error_save();
    int code = getaddrinfo(r->name.host, NULL, &hints, &list);

    r->error = resolve_error(code, sys_error_take(saved));
    if (code != 0)
        return;
    take_all(r, list);
    freeaddrinfo(list);
    if (r->count == 0)
        r->error = -ENXIO;
}

/* In a simulation there is one host. */
static void look_up_simulated(struct resolve *r)
{
    if (strcmp(r->name.host, "localhost") != 0) {
        r->error = -ENXIO;
        return;
    }
    address_set_any4(&r->list[0], r->name.port);
    ((struct sockaddr_in *)(void *)&r->list[0].storage)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    r->count = 1;
}

static void *resolve_thread(void *arg)
{
    struct resolve *r = arg;
    jd_future *done = r->done;

    if (choice_simulated())
        look_up_simulated(r);
    else
        look_up(r);
    resolve_unref(r);
    (void)jd_future_set(done, jd_ok(NULL)); /* the only one who completes it */
    jd_future_unref(done);
    (void)jd_sem_release(&threads); /* never more than were taken */
    return NULL;
}

/* Signals are not for this thread. */
static JD_NOINLINE int start_thread(struct resolve *r)
{
    sigset_t all, before;
    pthread_attr_t attr;
    pthread_t thread;
    int error;

    if (choice_simulated())
        return sim_run_later(resolve_thread, r) ? 0 : -ENOMEM;
    error = pthread_attr_init(&attr);
    if (error != 0)
        return -error;
    (void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED); /* cannot fail */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    error = pthread_create(&thread, &attr, resolve_thread, r);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return error > 0 ? -ENOMEM : 0; /* EAGAIN: the system gives no thread */
}

static int resolve_new(const struct address_text *name, struct resolve **ret)
{
    struct resolve *r = mem_alloc(sizeof(*r));
    int error;

    if (!r)
        return -ENOMEM;
    atom_init(&r->refs, 2);
    r->name = *name;
    r->error = 0;
    r->count = 0;
    error = jd_future_new(NULL, &r->done);
    if (error < 0) {
        mem_free(r, sizeof(*r));
        return error;
    }
    (void)jd_future_ref(r->done);
    *ret = r;
    return 0;
}

static int resolve_start(const struct address_text *name, struct resolve **ret)
{
    struct resolve *r;
    int error = resolve_new(name, &r);

    if (error < 0)
        return error;
    error = start_thread(r);
    if (error < 0) { /* the thread's references, and ours */
        jd_future_unref(r->done);
        jd_future_unref(r->done);
        mem_free(r, sizeof(*r));
        return error;
    }
    *ret = r;
    return 0;
}

int resolve_name(const struct address_text *name, struct resolve **ret)
{
    struct resolve *r;
    int error = jd_sem_acquire(&threads);

    if (error < 0)
        return error;
    error = resolve_start(name, &r);
    if (error < 0) {
        (void)jd_sem_release(&threads); /* not taken by a thread */
        return error;
    }
    error = jd_future_wait(r->done, JD_FOREVER);
    jd_future_unref(r->done);
    if (error == 0)
        error = r->error;
    if (error < 0)
        resolve_unref(r);
    else
        *ret = r;
    return error;
}
