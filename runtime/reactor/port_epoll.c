/* SPDX-License-Identifier: MIT */
/*
 * The epoll port: life, events, parking. What happens to ops is in epoll_run.c, the design in
 * epoll_port.h, the park in waker.h and reactor.h.
 */
#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/clock.h"
#include "base/fault.h"
#include "reactor/epoll_port.h"

#define WAKE_TAG UINT64_MAX
#define LOOK_INTERVAL_NS INT64_C(100000) /* of needs_help(), which costs a system call here */

struct harvest {
    struct epoll_event events[PORT_BATCH];
    int count;
};

/* --- Life ------------------------------------------------------------------------------------- */

static int epoll_probe(char why[PORT_WHY_BYTES])
{
    (void)why;
    return 0; /* every Linux has it */
}

static void epoll_free(struct port *base)
{
    struct epoll_port *p = epoll_port_of(base);

    if (p->fd >= 0)
        close(p->fd);
    port_fini(base);
    mem_free_aligned(p, JD_CACHE_LINE, sizeof(*p));
}

static int watch_waker(struct epoll_port *p)
{
    struct epoll_event ev = { .events = EPOLLIN | EPOLLET, .data.u64 = WAKE_TAG };

    p->fd = epoll_create1(EPOLL_CLOEXEC);
    if (p->fd < 0 || epoll_ctl(p->fd, EPOLL_CTL_ADD, p->base.waker.fd, &ev) < 0)
        return -errno;
    return 0;
}

static int epoll_new(struct reactor *r, unsigned index, unsigned sq_entries, struct port **ret)
{
    struct epoll_port *p = mem_aligned(JD_CACHE_LINE, sizeof(*p));
    int error;

    (void)sq_entries;
    if (!p)
        return -ENOMEM;
    *p = (struct epoll_port){ .fd = -1 };
    error = port_init(&p->base, r, index);
    if (error == 0)
        error = watch_waker(p);
    if (error < 0) {
        epoll_free(&p->base);
        return error;
    }
    *ret = &p->base;
    return 0;
}

static void epoll_thread_enter(struct port *base)
{
    (void)base;
}

static void epoll_thread_leave(struct port *base)
{
    (void)base; /* the kernel keeps nothing of the thread */
}

/* --- Events ------------------------------------------------------------------------------------ */

/* No lock held. */
static int handle_all(struct epoll_port *p, const struct harvest *h, bool *ret_wake)
{
    int finished = 0;

    for (int i = 0; i < h->count; i++) {
        if (h->events[i].data.u64 == WAKE_TAG)
            *ret_wake = true;
        else
            finished += epoll_run_event(p->base.reactor, p->base.index, h->events[i].data.u64,
                                        h->events[i].events);
    }
    return finished;
}

/* Reap lock held. */
static void collect(struct epoll_port *p, struct harvest *h)
{
    h->count = epoll_wait(p->fd, h->events, PORT_BATCH, 0);
    JD_ASSERT(h->count >= 0 || errno == EINTR);
    if (h->count < 0)
        h->count = 0;
}

static int epoll_poll(struct port *base)
{
    struct epoll_port *p = epoll_port_of(base);
    struct harvest h;
    bool wake = false;

    if (!spin_try_lock(&base->reap_lock))
        return 0;
    collect(p, &h);
    spin_unlock(&base->reap_lock);
    /* A wake seen here was for a park that is over, or will be found in the waker's word. */
    return handle_all(p, &h, &wake);
}

static bool epoll_needs_help(struct port *base)
{
    struct epoll_port *p = epoll_port_of(base);
    struct pollfd look = { .fd = p->fd, .events = POLLIN };
    /* Relaxed: both only limit the rate. */
    int64_t now = clock_now(), next = atom_load(&p->next_look, relaxed);

    if (now < next || !atom_cas(&p->next_look, &next, now + LOOK_INTERVAL_NS, relaxed, relaxed))
        return false;
    return poll(&look, 1, 0) > 0; /* consumes nothing */
}

static bool epoll_has_staged(struct port *base)
{
    (void)base;
    return false; /* ops are tried at once */
}

/* --- Parking ------------------------------------------------------------------------------------ */

static int wait_ms(struct epoll_port *p, struct harvest *h, int64_t wait_ns)
{
    int64_t ms = wait_ns / 1000000 + (wait_ns % 1000000 != 0);

    if (wait_ns == INT64_MAX)
        return epoll_wait(p->fd, h->events, PORT_BATCH, -1);
    return epoll_wait(p->fd, h->events, PORT_BATCH, ms > INT32_MAX ? INT32_MAX : (int)ms);
}

static int wait_ns_or_ms(struct epoll_port *p, struct harvest *h, int64_t wait_ns)
{
    struct timespec ts = { .tv_sec = wait_ns / 1000000000, .tv_nsec = wait_ns % 1000000000 };
    int ret;

    if (p->no_pwait2)
        return wait_ms(p, h, wait_ns);
    ret = epoll_pwait2(p->fd, h->events, PORT_BATCH, wait_ns == INT64_MAX ? NULL : &ts, NULL);
    if (ret < 0 && (errno == ENOSYS || errno == EPERM)) { /* before 5.11, or seccomp */
        p->no_pwait2 = true;
        return wait_ms(p, h, wait_ns);
    }
    return ret;
}

/* One sleep. False: no point in another one. */
static bool sleep_once(struct epoll_port *p, struct harvest *h, int64_t deadline)
{
    int64_t now = clock_now();

    if (now >= deadline)
        return false;
    if (fault_hit(FAULT_EINTR))
        return true;
    h->count = wait_ns_or_ms(p, h, deadline == CLOCK_FOREVER ? INT64_MAX : deadline - now);
    JD_ASSERT(h->count >= 0 || errno == EINTR);
    if (h->count >= 0)
        return false;
    h->count = 0;
    return true;
}

static int epoll_park(struct port *base, int64_t deadline)
{
    struct epoll_port *p = epoll_port_of(base);
    struct harvest h;
    bool wake = false;

    collect(p, &h);
    if (h.count == 0 && waker_prepare(&base->waker)) {
        /* Unbounded but for the deadline: interruptions end nothing. */
        while (!waker_is_woken(&base->waker) && sleep_once(p, &h, deadline))
            ;
    }
    spin_unlock(&base->reap_lock);
    for (int i = 0; i < h.count; i++)
        wake |= h.events[i].data.u64 == WAKE_TAG;
    waker_finish(&base->waker, wake);
    return handle_all(p, &h, &wake);
}

static void epoll_submit(struct port *base, struct op *op)
{
    epoll_run_submit(base->reactor, op);
}

static bool epoll_ask(struct port *base, struct op *op, uint8_t why)
{
    (void)base;
    return epoll_run_ask(op, why);
}

static void epoll_flush_asked(struct port *base)
{
    (void)base; /* whoever runs an op looks at the wish */
}

const struct port_ops port_epoll_ops = {
    .name = "epoll",
    .probe = epoll_probe,
    .new = epoll_new,
    .free = epoll_free,
    .thread_enter = epoll_thread_enter,
    .thread_leave = epoll_thread_leave,
    .submit = epoll_submit,
    .has_staged = epoll_has_staged,
    .ask = epoll_ask,
    .flush_asked = epoll_flush_asked,
    .forget_fd = epoll_run_forget,
    .poll = epoll_poll,
    .help = epoll_poll,
    .needs_help = epoll_needs_help,
    .park = epoll_park,
};
