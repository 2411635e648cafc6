/* SPDX-License-Identifier: MIT */
/*
 * Model of an op's life on the epoll port: reactor/reactor.c, fd_table.c and epoll_run.c unchanged,
 * over one socket and one epoll instance. Receives, arriving data, events that any worker handles,
 * cancel and close; and, with epoll_file.c, files, whose ops go to another thread. Claims: complete() comes once, after which nobody touches the op; data wakes
 * the op that waits for it (I2 of epoll_port.h: nothing is lost between attempt and arming); no
 * data is taken by two, or by an op of the number's former life; a cancel or a close ends an op, and
 * so does a shut of the socket, but not before what has come is taken; bytes of a file that have moved
 * are told, also to those who cancel.
 */
#include <sched.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/clock.h"
#include "check.h"

static int model_close(int fd);
static int model_ctl(int instance, int ctl, int fd, struct epoll_event *ev);
#define close(fd) model_close(fd)
#define sched_yield() spin_hint()
#define epoll_ctl(instance, ctl, fd, ev) model_ctl(instance, ctl, fd, ev)

#include "reactor/fd_table.c"
#define self reactor_thread /* others have locals of that name */
#include "reactor/reactor.c"
#undef self
#include "reactor/epoll_run.c"
#define end file_end
#include "reactor/epoll_file.c"
#undef end

#define FD 3

struct call {
    struct op op;
    struct check_event done;
    int file;  /* which life of the number it works on; 0 = not tried yet */
    int moved; /* bytes of a file */
};

struct closing {
    struct fd_close close;
    struct check_event done;
};

static struct reactor reactor;
static struct port *ports[1];
static struct epoll_port port;
static JD_ATOMIC(struct fd_chunk *) chunk;
static struct fd_chunk slots;

static struct spin kernel_lock;
static struct {
    int file;  /* life of the number */
    int bytes; /* to be received */
    bool shut; /* no more will come */
    bool known;
    uint32_t armed;
    uint64_t tag;
} kernel;
static JD_ATOMIC(uint32_t) busy; /* threads that still need the owner */
static JD_ATOMIC(uint32_t) got;
static int taken;
static struct call *early;

static bool is_file; /* the descriptor is one */
static struct {
    struct spin lock;
    struct list jobs;
    JD_ATOMIC(uint32_t) queued;
    bool refuses;
} pool;

/* --- The kernel and what else the sources need ----------------------------------------------- */

#include "fake_reactor.h"

static int model_close(int fd)
{
    CHECK_THAT(fd == FD);
    spin_lock(&kernel_lock);
    kernel.file++;
    kernel.bytes = 1; /* the next file has data */
    kernel.known = false;
    kernel.armed = 0;
    spin_unlock(&kernel_lock);
    return 0;
}

static int model_ctl(int instance, int ctl, int fd, struct epoll_event *ev)
{
    int error = 0;

    CHECK_THAT(instance == 0 && fd == FD);
    spin_lock(&kernel_lock);
    if (ctl == EPOLL_CTL_ADD ? kernel.known : !kernel.known) {
        error = ctl == EPOLL_CTL_ADD ? EEXIST : ENOENT;
    } else if (ctl == EPOLL_CTL_DEL) {
        kernel.known = false;
        kernel.armed = 0;
    } else {
        kernel.known = true;
        kernel.armed = ev->events & ~(uint32_t)EPOLLONESHOT;
        kernel.tag = ev->data.u64;
    }
    spin_unlock(&kernel_lock);
    errno = error;
    return error ? -1 : 0;
}

enum fd_direction epoll_op_direction(const struct op *op)
{
    (void)op;
    return FD_IN;
}

int epoll_op_is_file(const struct op *op)
{
    (void)op;
    return is_file;
}

/* Which life of the number the call meets: always the same. */
static void meet_file(struct call *c)
{
    spin_lock(&kernel_lock);
    if (c->file == 0)
        c->file = kernel.file;
    CHECK_THAT(c->file == kernel.file);
    spin_unlock(&kernel_lock);
}

/* Something was in memory, or nothing. */
int epoll_op_try_now(struct op *op)
{
    struct call *c = JD_CONTAINER_OF(op, struct call, op);

    meet_file(c);
    op->moved = (int)check_choice(2);
    c->moved = op->moved;
    return -EAGAIN;
}

int epoll_op_do(struct op *op)
{
    struct call *c = JD_CONTAINER_OF(op, struct call, op);

    meet_file(c);
    plain_write(c->moved, plain_read(c->moved) + 1);
    return op->moved + 1;
}

static int pool_submit(void *p, struct job *job)
{
    (void)p;
    if (pool.refuses && check_choice(2) == 1)
        return -EAGAIN;
    spin_lock(&pool.lock);
    list_add_tail(&pool.jobs, &job->link);
    atom_fetch_add(&pool.queued, 1, relaxed);
    spin_unlock(&pool.lock);
    return 0;
}

static bool pool_withdraw(void *p, struct job *job)
{
    bool queued;

    (void)p;
    spin_lock(&pool.lock);
    queued = list_is_linked(&job->link);
    list_del(&job->link);
    spin_unlock(&pool.lock);
    return queued;
}

bool epoll_op_may_wait(const struct op *op)
{
    (void)op;
    return true;
}

int epoll_op_try(struct op *op)
{
    struct call *c = JD_CONTAINER_OF(op, struct call, op);
    int result = -EAGAIN;

    spin_lock(&kernel_lock);
    if (c->file == 0)
        c->file = kernel.file;
    CHECK_THAT(c->file == kernel.file);
    if (kernel.bytes > 0) {
        kernel.bytes--;
        taken++;
        result = 1;
    }
    spin_unlock(&kernel_lock);
    return result;
}

const struct port_ops port_uring_ops = { .name = "none" };

static void submit(struct port *base, struct op *op)
{
    epoll_run_submit(base->reactor, op);
}

static bool ask(struct port *base, struct op *op, uint8_t why)
{
    (void)base;
    return epoll_run_ask(op, why);
}

static void flush_asked(struct port *base)
{
    (void)base;
}

const struct port_ops port_epoll_ops = {
    .submit = submit,
    .ask = ask,
    .flush_asked = flush_asked,
    .forget_fd = epoll_run_forget,
};

/* --- Threads --------------------------------------------------------------------------------- */

static void call_complete(struct op *op)
{
    check_event_post(&JD_CONTAINER_OF(op, struct call, op)->done);
}

/* NULL: it was not admitted. */
static struct call *call_begin(void)
{
    struct call *c = check_alloc(sizeof(*c));
    int error;

    c->op.complete = call_complete;
    c->op.kind = OP_RECV;
    c->op.fd = FD;
    c->op.len = 1;
    check_event_init(&c->done);
    error = reactor_submit(&reactor, 0, &c->op);
    if (error == 0)
        return c;
    CHECK_THAT(error == -EBADF);
    check_free(c);
    return NULL;
}

static void file_call_end(struct call *c, bool cancelled)
{
    int moved = plain_read(c->moved);

    CHECK_THAT(c->op.result == moved || (moved == 0 && c->op.result < 0));
    CHECK_THAT(cancelled || c->op.result != -ECANCELED);
    check_free(c);
}

static void call_end(struct call *c, bool cancelled)
{
    check_event_wait(&c->done);
    if (is_file) {
        file_call_end(c, cancelled);
        return;
    }
    CHECK_THAT(c->op.result == 1 || c->op.result == -ECANCELED || c->op.result == -EBADF ||
               (c->op.result == 0 && kernel.shut && kernel.bytes == 0));
    CHECK_THAT(cancelled || c->op.result != -ECANCELED);
    if (c->op.result == 1)
        atom_fetch_add(&got, 1, relaxed);
    check_free(c);
}

static void setup_busy(uint32_t callers)
{
    ports[0] = &port.base;
    reactor.ops = &port_epoll_ops;
    reactor.workers = 1;
    reactor.ports = ports;
    reactor.fds.chunks = (void *)&chunk; /* another anonymous struct */
    atom_init(&chunk, &slots);
    slots.slots[FD] = (struct fd_slot){ 0 };
    slot_init(&slots.slots[FD]);
    port.base.reactor = &reactor;
    atom_init(&port.base.admitted, 0);
    atom_init(&port.base.finished, 0);
    reactor_thread.reactor = &reactor;
    reactor_thread.index = 0;
    spin_init(&kernel_lock);
    memset(&kernel, 0, sizeof(kernel));
    kernel.file = 1;
    atom_init(&busy, callers);
    atom_init(&got, 0);
    taken = 0;
    early = NULL;
    is_file = false;
    reactor.files = (struct job_sink){ pool_submit, pool_withdraw, NULL };
    spin_init(&pool.lock);
    list_init(&pool.jobs);
    atom_init(&pool.queued, 0);
    pool.refuses = false;
}

static void setup_file(void)
{
    setup_busy(1);
    is_file = true;
    pool.refuses = true;
}

static void setup_file_and_close(void)
{
    setup_busy(2);
    is_file = true;
}

static void setup_1(void)
{
    setup_busy(1);
}

static void setup_2(void)
{
    setup_busy(2);
}

/* One op waits already. */
static void setup_early(void)
{
    setup_busy(2);
    early = call_begin();
}

static void leave(void)
{
    atom_fetch_sub(&busy, 1, relaxed);
}

static void caller(void)
{
    struct call *c = call_begin();

    if (c)
        call_end(c, false);
    leave();
}

static void early_caller(void)
{
    call_end(early, false);
    leave();
}

static void canceller(void)
{
    struct call *c = call_begin();

    reactor_cancel(&reactor, 0, &c->op);
    call_end(c, true);
    leave();
}

static void close_done(struct fd_close *c)
{
    check_event_post(&JD_CONTAINER_OF(c, struct closing, close)->done);
}

static void closer(void)
{
    struct closing *c = check_alloc(sizeof(*c));

    c->close.done = close_done;
    c->close.fd = FD;
    check_event_init(&c->done);
    CHECK_THAT(reactor_close(&reactor, 0, &c->close) == 0);
    check_event_wait(&c->done);
    CHECK_THAT(c->close.result == 0);
    check_free(c);
    leave();
}

static void arrive(int bytes)
{
    spin_lock(&kernel_lock);
    kernel.bytes += bytes;
    spin_unlock(&kernel_lock);
}

static void sender(void)
{
    arrive(1);
}

static void sender_of_two(void)
{
    arrive(2);
}

/* A last datagram, then no more. */
static void shutter(void)
{
    arrive(1);
    spin_lock(&kernel_lock);
    kernel.shut = true;
    spin_unlock(&kernel_lock);
}

static uint32_t events_now(void)
{
    uint32_t in = kernel.bytes > 0 || kernel.shut ? EPOLLIN : 0;

    return (in | (kernel.shut ? EPOLLRDHUP : 0)) & kernel.armed;
}

static bool event_is_there(void *arg)
{
    (void)arg;
    return events_now() || check_peek(&busy) == 0;
}

/* epoll_wait(), then without any lock the event. */
static void handle_event(void)
{
    uint64_t tag;
    uint32_t events;

    spin_lock(&kernel_lock);
    events = events_now();
    tag = kernel.tag;
    if (events)
        kernel.armed = 0; /* EPOLLONESHOT */
    spin_unlock(&kernel_lock);
    if (events)
        (void)epoll_run_event(&reactor, 0, tag, events);
}

static void owner(void)
{
    for (;;) {
        check_block_until(event_is_there, NULL);
        if (check_peek(&busy) == 0)
            return;
        handle_event();
    }
}

static bool job_is_there(void *arg)
{
    (void)arg;
    return check_peek(&pool.queued) != 0 || check_peek(&busy) == 0;
}

/* A thread that may block. A job may be withdrawn before it comes. */
static void pool_thread(void)
{
    do {
        struct list *link;

        check_block_until(job_is_there, NULL);
        spin_lock(&pool.lock);
        link = list_pop_head(&pool.jobs);
        atom_store(&pool.queued, 0, relaxed);
        spin_unlock(&pool.lock);
        if (link)
            JD_CONTAINER_OF(link, struct job, link)
                ->type->run(JD_CONTAINER_OF(link, struct job, link));
    } while (check_peek(&busy) != 0);
}

static void finish(void)
{
    struct fd_slot *slot = &slots.slots[FD];

    CHECK_THAT(list_is_empty(&slot->ops) && slot->state == FD_OPEN && !slot->running[FD_IN]);
    CHECK_THAT(check_peek(&port.base.admitted) == check_peek(&port.base.finished));
    CHECK_THAT((int)check_peek(&got) == taken);
}

/* What came before the shut was taken. */
static void finish_shut(void)
{
    CHECK_THAT(taken == 1);
    finish();
}

static const struct check_model models[] = {
    { .name = "epoll-receive",
      .setup = setup_1,
      .threads = { caller, owner, sender },
      .finish = finish,
      .max = 100000 },
    { .name = "epoll-cancel",
      .setup = setup_1,
      .threads = { canceller, owner, sender },
      .finish = finish,
      .max = 100000 },
    { .name = "epoll-two",
      .setup = setup_early,
      .threads = { early_caller, owner, caller, sender_of_two },
      .finish = finish,
      .bound = 1,
      .max = 100000 },
    { .name = "epoll-shut",
      .setup = setup_1,
      .threads = { caller, owner, shutter },
      .finish = finish_shut,
      .max = 100000 },
    { .name = "epoll-shut-two",
      .setup = setup_early,
      .threads = { early_caller, owner, caller, shutter },
      .finish = finish_shut,
      .bound = 1,
      .max = 100000 },
    { .name = "epoll-close",
      .setup = setup_2,
      .threads = { caller, owner, closer },
      .finish = finish,
      .max = 100000 },
    { .name = "epoll-close-data",
      .setup = setup_early,
      .threads = { early_caller, owner, closer, sender },
      .finish = finish,
      .bound = 1,
      .max = 100000 },
    { .name = "epoll-file",
      .setup = setup_file,
      .threads = { caller, pool_thread },
      .finish = finish,
      .max = 100000 },
    { .name = "epoll-file-cancel",
      .setup = setup_file,
      .threads = { canceller, pool_thread },
      .finish = finish,
      .max = 100000 },
    { .name = "epoll-file-close",
      .setup = setup_file_and_close,
      .threads = { caller, closer, pool_thread },
      .finish = finish,
      .max = 100000 },
};

CHECK_MAIN(models)
