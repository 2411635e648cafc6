/* SPDX-License-Identifier: MIT */
/*
 * A server: accept, a task per connection, an orderly end.
 *
 * I1  The accept loop runs in the caller's own scope, so a cancel of the caller ends it. Handlers
 *     are members of a group in the caller's frame; each runs under a shield of its own, so that
 *     cancel stops short of them.
 * I2  A shield is on the list `open` while it may be cancelled: entered after it was opened, left
 *     before it is closed, both under the lock. serve_expire() cancels what is on the list, and
 *     sets `expired` for handlers that have not started yet.
 * I3  A connection holds one of `slots_total` permits from before its accept until after its
 *     descriptor was closed. All permits together mean: no connection is left.
 * I4  A connection's descriptor is closed by its own task, or by the accept loop when no task could
 *     be started.
 * I5  A handler's task runs serve_connection() with its `struct accepted`; that is how
 *     jd_serve_draining() finds the server, without a field in every task.
 *
 * Threads: tasks. Rejected: one shield around the group (the accept loop would be behind it, too,
 * and need a watcher task to hear of the cancel).
 */
#include <errno.h>
#include <string.h>

#include <jackdaw/group.h>
#include <jackdaw/net.h>
#include <jackdaw/scope.h>
#include <jackdaw/sync.h>

#include "atomic/spin.h"
#include "base/alloc.h"
#include "base/list.h"
#include "base/mark.h"
#include "io/sys.h"
#include "sched/wait.h"

#define GRACE_DEFAULT JD_SEC(5)
#define SLOTS_UNBOUNDED (1u << 30) /* more than there can be descriptors */
#define BACKOFF_MIN JD_MS(10)
#define BACKOFF_MAX JD_SEC(1)

struct serve {
    int listen_fd;
    jd_serve_fn handler;
    void *arg;
    jd_serve_options options;
    unsigned slots_total;
    unsigned pause; /* permits that must be free before a full server goes on */
    jd_sem slots;
    jd_future *draining;
    jd_group handlers;

    struct spin lock;
    struct list open; /* guarded by lock: struct connection */
    bool expired;     /* guarded by lock: the grace is over */
};

/* In the handler task's frame. */
struct connection {
    struct list link;
    jd_scope shield;
};

/* What the handler's task is started with. */
struct accepted {
    struct serve *serve;
    int fd;
};

/* --- Connections ---------------------------------------------------------------------------- */

static void connection_enter(struct serve *s, struct connection *c)
{
    bool expired;

    jd_scope_open_shielded(&c->shield, JD_FOREVER);
    spin_lock(&s->lock);
    list_add_tail(&s->open, &c->link);
    expired = s->expired;
    spin_unlock(&s->lock);
    if (expired)
        jd_scope_cancel(&c->shield);
}

static void connection_leave(struct serve *s, struct connection *c)
{
    int ended;

    spin_lock(&s->lock);
    list_del(&c->link);
    spin_unlock(&s->lock);
    ended = jd_scope_close(&c->shield);
    (void)ended; /* whether the grace cut it short is the handler's business */
}

static jd_result serve_connection(void *arg)
{
    struct accepted *a = arg;
    struct serve *s = a->serve;
    struct connection c;

    connection_enter(s, &c);
    s->handler(a->fd, s->arg);
    connection_leave(s, &c);
    if (!(s->options.flags & JD_SERVE_KEEP_FD))
        (void)jd_close(a->fd); /* nobody is left to hear of it */
    mem_free(a, sizeof(*a));
    (void)jd_sem_release(&s->slots); /* unbounded: never more than were taken */
    return jd_ok(NULL);
}

static int connection_start(struct serve *s, int fd)
{
    struct accepted *a = mem_alloc(sizeof(*a));
    int error = -ENOMEM;

    if (a) {
        a->serve = s;
        a->fd = fd;
        error = jd_group_spawn(&s->handlers, serve_connection, a);
    }
    if (error < 0) {
        if (a)
            mem_free(a, sizeof(*a));
        (void)jd_close(fd);
    }
    return error;
}

/* --- Accepting ------------------------------------------------------------------------------ */

/* A permit for the next connection; when there is none, waits for `pause` of them. */
static int take_slot(struct serve *s)
{
    int error = jd_sem_try_acquire(&s->slots);

    if (error != -EAGAIN)
        return error;
    error = jd_sem_acquire_n(&s->slots, s->pause);
    if (error == 0)
        (void)jd_sem_release_n(&s->slots, s->pause - 1); /* those just taken */
    return error;
}

/* Errors of the connection that was about to be accepted: the next one may be fine. */
static bool is_peers_error(int error)
{
    switch (-error) {
    case ECONNABORTED:
    case EPROTO:
    case ENETDOWN:
    case ENETUNREACH:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case EHOSTUNREACH:
    case ENONET:
    case EINTR:
        return true;
    default:
        return false;
    }
}

/* Errors that pass when others give something back. EPERM: a firewall's rule. */
static bool is_shortage(int error)
{
    switch (-error) {
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
    case EPERM:
        return true;
    default:
        return false;
    }
}

/* 0: try again. The first shortage waits BACKOFF_MIN, each further one in a row twice as long. */
static int back_off(int error, int64_t *delay)
{
    if (is_peers_error(error))
        return 0;
    if (!is_shortage(error))
        return error;
    MARK(ACCEPT_BACKED_OFF);
    if (*delay == 0)
        *delay = BACKOFF_MIN;
    else
        *delay = *delay >= BACKOFF_MAX / 2 ? BACKOFF_MAX : *delay * 2;
    return jd_sleep(*delay);
}

/* The error that ended it: -ECANCELED when the caller was cancelled. */
static int accept_loop(struct serve *s)
{
    int64_t delay = 0;

    for (;;) { /* unbounded: event loop */
        int error = take_slot(s);
        int fd;

        if (error < 0)
            return error;
        fd = jd_accept(s->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        error = fd < 0 ? fd : connection_start(s, fd);
        if (error == 0) {
            delay = 0;
            continue;
        }
        (void)jd_sem_release(&s->slots); /* the one that take_slot() took */
        error = back_off(error, &delay);
        if (error < 0)
            return error;
    }
}

/* --- The end -------------------------------------------------------------------------------- */

static void serve_expire(struct serve *s)
{
    spin_lock(&s->lock);
    s->expired = true;
    list_for_each(link, &s->open)
        jd_scope_cancel(&JD_CONTAINER_OF(link, struct connection, link)->shield);
    spin_unlock(&s->lock);
}

/* Waits for all permits; true when no connection is left. In a cancelled scope: false at once. */
static bool wait_for_handlers(struct serve *s)
{
    return jd_sem_acquire_n(&s->slots, s->slots_total) == 0;
}

static bool wait_for_handlers_shielded(struct serve *s)
{
    jd_scope shield;
    bool gone;
    int ended;

    jd_scope_open_shielded(&shield, s->options.grace);
    gone = wait_for_handlers(s);
    ended = jd_scope_close(&shield);
    (void)ended; /* `gone` tells the same */
    return gone;
}

/* After the last accept: handlers end by themselves, or a cancel and then the grace ends them. */
static void serve_drain(struct serve *s, int error)
{
    bool gone = false;

    (void)jd_future_set(s->draining, jd_ok(NULL)); /* only here */
    if (error != -ECANCELED)
        gone = wait_for_handlers(s);
    if (!gone && !wait_for_handlers_shielded(s))
        serve_expire(s);
}

/* --- The call ------------------------------------------------------------------------------- */

static int options_read(const jd_serve_options *from, jd_serve_options *ret)
{
    const unsigned char *bytes = (const unsigned char *)from;

    *ret = (jd_serve_options)JD_SERVE_OPTIONS_INIT;
    if (from) {
        if (from->size == 0)
            return -EINVAL;
        for (size_t i = sizeof(*ret); i < from->size; i++)
            if (bytes[i] != 0)
                return -E2BIG;
        memcpy(ret, from, from->size < sizeof(*ret) ? from->size : sizeof(*ret));
    }
    if ((ret->flags & ~JD_SERVE_KEEP_FD) || ret->grace < 0 || ret->backlog_pause < 0)
        return -EINVAL;
    if (ret->grace == 0)
        ret->grace = GRACE_DEFAULT;
    return 0;
}

static void serve_set_slots(struct serve *s)
{
    unsigned max = s->options.connections_max;
    unsigned pause = (unsigned)s->options.backlog_pause;

    s->slots_total = max == 0 || max > SLOTS_UNBOUNDED ? SLOTS_UNBOUNDED : max;
    s->pause = pause == 0 ? 1 : pause;
    if (s->pause > s->slots_total)
        s->pause = s->slots_total;
    (void)jd_sem_init(&s->slots, s->slots_total); /* in range */
}

int jd_serve(int listen_fd, jd_serve_fn handler, void *arg, const jd_serve_options *o)
{
    struct serve s = { .listen_fd = listen_fd, .handler = handler, .arg = arg };
    struct jd_task *task;
    int closed, error = call_begin(WAIT_CANCELLABLE, &task);

    if (error < 0)
        return error;
    if (!handler)
        return -EINVAL;
    error = options_read(o, &s.options);
    if (error == 0)
        error = jd_future_new(NULL, &s.draining);
    if (error < 0)
        return error;
    serve_set_slots(&s);
    spin_init(&s.lock);
    list_init(&s.open);
    jd_group_open(&s.handlers, JD_GROUP_KEEP_GOING, JD_FOREVER);
    error = accept_loop(&s);
    serve_drain(&s, error);
    closed = jd_group_close(&s.handlers);
    (void)closed; /* handlers return nothing */
    jd_future_unref(s.draining);
    return error;
}

jd_future *jd_serve_draining(void)
{
    struct jd_task *t = task_current();

    if (!t || t->fn != serve_connection)
        return NULL;
    return ((const struct accepted *)t->arg)->serve->draining;
}
