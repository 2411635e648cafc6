/* SPDX-License-Identifier: MIT */
#include "reactor_rig.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "jd_test.h"
#include "reactor/uring_compat.h"

void rig_start(struct rig *rig, enum reactor_want want, unsigned workers, unsigned sq_entries)
{
    struct reactor_config cfg = { .workers = workers, .want = want, .sq_entries = sq_entries };
    int error = reactor_new(&cfg, &rig->reactor);

    if (error < 0 && uring_blocks_all_threads())
        jd_test_skip("io_uring under valgrind");
    cr_assert_eq(error, 0, "%d", error);
    rig->workers = workers;
    reactor_thread_enter(rig->reactor, 0);
}

void rig_stop(struct rig *rig)
{
    reactor_thread_leave(rig->reactor, 0);
    cr_assert_eq(reactor_in_flight(rig->reactor), 0u);
    reactor_free(rig->reactor);
    rig->reactor = NULL;
}

static void *thread_main(void *arg)
{
    struct rig_thread *t = arg;

    reactor_thread_enter(t->rig->reactor, t->index);
    t->run(t);
    reactor_thread_leave(t->rig->reactor, t->index);
    return NULL;
}

void rig_thread_start(struct rig *rig, struct rig_thread *t, unsigned index,
                      void (*run)(struct rig_thread *t), void *data)
{
    pthread_t handle;

    t->rig = rig;
    t->index = index;
    t->run = run;
    t->data = data;
    atomic_init(&t->stage, 0);
    atomic_init(&t->stop, false);
    cr_assert_eq(pthread_create(&handle, NULL, thread_main, t), 0);
    t->handle = (unsigned long)handle;
}

void rig_thread_stop(struct rig_thread *t)
{
    atomic_store(&t->stop, true);
    reactor_wake(t->rig->reactor, t->index);
    cr_assert_eq(pthread_join((pthread_t)t->handle, NULL), 0);
}

void rig_thread_await(struct rig_thread *t, int stage)
{
    while (atomic_load(&t->stage) < stage) /* bounded by the test's time */
        sched_yield();
}

void rig_help_all(struct rig *rig, unsigned self)
{
    for (unsigned i = 0; i < rig->workers; i++)
        if (i != self && reactor_needs_help(rig->reactor, i))
            (void)reactor_help(rig->reactor, i);
}

void rig_help_loop(struct rig_thread *t)
{
    while (!atomic_load(&t->stop)) { /* until told */
        rig_help_all(t->rig, t->index);
        (void)reactor_poll(t->rig->reactor, t->index);
        sched_yield();
    }
}

void rig_help_until_done(struct rig *rig, struct rig_op *o)
{
    while (!rig_is_done(o)) { /* bounded by the test's time */
        rig_help_all(rig, 0);
        (void)reactor_poll(rig->reactor, 0);
    }
}

static void burn(struct rig_thread *t)
{
    struct rig_burner *b = t->data;

    rig_submit(t->rig, t->index, b->op);
    if (b->poll)
        (void)reactor_poll(t->rig->reactor, t->index);
    atomic_store(&t->stage, 1);
    while (!atomic_load(&t->stop)) /* until told; no system call in here */
        ;
}

void rig_burner_start(struct rig *rig, struct rig_thread *t, struct rig_burner *b)
{
    rig_thread_start(rig, t, 1, burn, b);
    rig_thread_await(t, 1);
}

static void count_completion(struct op *op)
{
    struct rig_op *o = JD_CONTAINER_OF(op, struct rig_op, op);

    atomic_fetch_add(&o->completions, 1);
}

static struct rig_op make(uint8_t kind, int fd, void *buf, size_t len)
{
    struct rig_op o;

    memset(&o, 0, sizeof(o));
    o.op.complete = count_completion;
    o.op.kind = kind;
    o.op.fd = fd;
    o.op.buf = buf;
    o.op.len = len;
    o.op.offset = OP_FILE_POSITION;
    return o;
}

struct rig_op rig_recv(int fd, void *buf, size_t len)
{
    return make(OP_RECV, fd, buf, len);
}

struct rig_op rig_send(int fd, const void *buf, size_t len)
{
    return make(OP_SEND, fd, (void *)(uintptr_t)buf, len);
}

struct rig_op rig_read(int fd, void *buf, size_t len)
{
    return make(OP_READ, fd, buf, len);
}

struct rig_op rig_write(int fd, const void *buf, size_t len)
{
    return make(OP_WRITE, fd, (void *)(uintptr_t)buf, len);
}

struct rig_op rig_poll_op(int fd, short events)
{
    struct rig_op o = make(OP_POLL, fd, NULL, 0);

    o.op.events = events;
    return o;
}

struct rig_op rig_accept(int fd)
{
    struct rig_op o = make(OP_ACCEPT, fd, NULL, 0);

    o.op.op_flags = SOCK_CLOEXEC;
    return o;
}

struct rig_op rig_connect(int fd, struct sockaddr *addr, socklen_t len)
{
    struct rig_op o = make(OP_CONNECT, fd, NULL, 0);

    o.op.addr = addr;
    o.op.addr_len = len;
    return o;
}

void rig_submit(struct rig *rig, unsigned index, struct rig_op *o)
{
    cr_assert_eq(reactor_submit(rig->reactor, index, &o->op), 0);
}

bool rig_is_done(struct rig_op *o)
{
    int n = atomic_load(&o->completions);

    cr_assert_leq(n, 1, "completed %d times", n);
    return n == 1;
}

void rig_turn(struct rig *rig, unsigned index, int64_t wait_ns)
{
    if (reactor_poll(rig->reactor, index) == 0 && reactor_park_begin(rig->reactor, index))
        (void)reactor_park(rig->reactor, index, clock_after(clock_now(), wait_ns));
}

int rig_wait(struct rig *rig, unsigned index, struct rig_op *o)
{
    while (!rig_is_done(o)) /* bounded by the test's time */
        rig_turn(rig, index, 10000000);
    return o->op.result;
}

static void count_done(struct fd_close *c)
{
    struct rig_close *rc = JD_CONTAINER_OF(c, struct rig_close, close);

    atomic_fetch_add(&rc->done, 1);
}

int rig_close(struct rig *rig, unsigned index, struct rig_close *c, int fd)
{
    memset(c, 0, sizeof(*c));
    c->close.done = count_done;
    c->close.fd = fd;
    return reactor_close(rig->reactor, index, &c->close);
}

void rig_wait_close(struct rig *rig, unsigned index, struct rig_close *c)
{
    while (atomic_load(&c->done) == 0) /* bounded by the test's time */
        rig_turn(rig, index, 10000000);
    cr_assert_eq(atomic_load(&c->done), 1);
    cr_assert_eq(c->close.result, 0);
}

void rig_pair(int pair[2])
{
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
}

void rig_pair_close(const int pair[2])
{
    close(pair[0]);
    close(pair[1]);
}

int rig_listen(struct sockaddr_storage *addr, socklen_t *len)
{
    struct sockaddr_in any = { .sin_family = AF_INET };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    cr_assert_geq(fd, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&any, sizeof(any)), 0);
    cr_assert_eq(listen(fd, 64), 0);
    *len = sizeof(*addr);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)addr, len), 0);
    return fd;
}

int64_t rig_now(void)
{
    return clock_now();
}

void rig_receives_init(struct rig_receives *r, unsigned count)
{
    cr_assert_leq(count, RIG_RECEIVES_MAX);
    r->count = count;
    for (unsigned i = 0; i < count; i++) {
        rig_pair(r->pairs[i]);
        r->ops[i] = rig_recv(r->pairs[i][0], &r->bytes[i], 1);
    }
}

void rig_receives_fini(struct rig_receives *r)
{
    for (unsigned i = 0; i < r->count; i++)
        rig_pair_close(r->pairs[i]);
}

void rig_receives_submit(struct rig *rig, unsigned index, struct rig_receives *r)
{
    for (unsigned i = 0; i < r->count; i++)
        rig_submit(rig, index, &r->ops[i]);
}

void rig_receives_send(struct rig_receives *r)
{
    for (unsigned i = 0; i < r->count; i++)
        cr_assert_eq(write(r->pairs[i][1], "x", 1), 1);
}

void rig_receives_wait(struct rig *rig, unsigned index, struct rig_receives *r)
{
    for (unsigned i = 0; i < r->count; i++)
        cr_assert_eq(rig_wait(rig, index, &r->ops[i]), 1, "op %u", i);
}
