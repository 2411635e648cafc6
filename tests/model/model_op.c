/* SPDX-License-Identifier: MIT */
/*
 * Model of an op's life: reactor/reactor.c, fd_table.c, uring_queue.c, uring_op.c unchanged, over a
 * kernel of forty lines. Submission, completion, cancel by the op's task, close by another one,
 * a second op, and the next file of the same number. Claims: complete() comes once, after which
 * nobody touches the op; a cancel or close ends it; a result that was reached is not lost; close(2)
 * comes once, with nothing on its way to that descriptor; done() comes once; counters meet.
 *
 * Mirrored here, since they sit between system calls: handle_op() and the table of port_uring.c.
 */
#include <sched.h>
#include <unistd.h>

#include "base/fault.h"
#include "check.h"

static int model_close(int fd);
#define close(fd) model_close(fd)
#define sched_yield() spin_hint()
#define fault_hit(point) false

#include "reactor/fd_table.c"
#define self reactor_thread /* others have locals of that name */
#include "reactor/reactor.c"
#undef self
#include "reactor/uring_op.c"
#include "reactor/uring_queue.c"

#define FD 3
#define SQES 2
#define REQUESTS 4

struct call {
    struct op op;
    struct check_event done;
    char byte;
};

struct closing {
    struct fd_close close;
    struct check_event done;
};

static struct reactor reactor;
static struct port *ports[1];
static struct uring_port port;
static struct ring_word words[5];
static struct io_uring_sqe sqes[SQES];
static JD_ATOMIC(struct fd_chunk *) chunk;
static struct fd_chunk slots;

static struct spin kernel_lock; /* the kernel's own order of enters, cancels and completions */
static struct request {
    uint64_t user_data;
    int res; /* what it ends with */
    bool used;
} requests[REQUESTS];
static JD_ATOMIC(uint32_t) ready; /* requests that can end */
static JD_ATOMIC(uint32_t) busy;  /* threads that still need the owner */
static unsigned sq_room;
static bool silent;             /* nothing arrives: requests end by a cancel only */
static struct call *early[2];   /* submitted before the threads start */
static int closed;              /* times close(2) was called */
static uint32_t performed;      /* requests that the kernel carried out */
static JD_ATOMIC(uint32_t) got; /* calls that returned a result */

#include "fake_kernel.h"

/* --- port_uring.c ---------------------------------------------------------------------------- */

static bool handle_op(struct uring_port *p, const struct ring_completion *cqe)
{
    struct op *op = uring_user_record(cqe->user_data);
    int result = -ECANCELED;

    JD_ASSERT(op->generation == (uint16_t)(cqe->user_data >> 48));
    if (!uring_op_ended(op, cqe->res, &result)) {
        if (uring_queue_again(p, op))
            return false;
        result = -ECANCELED;
    }
    uring_queue_end(p, op);
    op_finish(p->base.reactor, op, result);
    return true;
}

static void submit(struct port *base, struct op *op)
{
    uring_queue_op(uring_port_of(base), op);
}

static bool ask(struct port *base, struct op *op, uint8_t why)
{
    return uring_queue_ask(uring_port_of(base), op, why);
}

static void flush_asked(struct port *base)
{
    uring_queue_cancel(uring_port_of(base));
}

static void forget_fd(struct reactor *r, struct fd_slot *slot, int fd)
{
    (void)r, (void)slot, (void)fd;
}

const struct port_ops port_uring_ops = {
    .submit = submit,
    .ask = ask,
    .flush_asked = flush_asked,
    .forget_fd = forget_fd,
};
const struct port_ops port_epoll_ops = { .name = "none" };

/* --- Threads --------------------------------------------------------------------------------- */

static void setup_room(unsigned room, unsigned callers)
{
    struct ring_word **word[] = { &port.ring.sq_head, &port.ring.sq_tail, &port.ring.sq_flags,
                                  &port.ring.cq_head, &port.ring.cq_tail };

    for (int i = 0; i < 5; i++) {
        atom_init(&words[i].value, 0);
        *word[i] = &words[i];
    }
    ports[0] = &port.base;
    reactor.ops = &port_uring_ops;
    reactor.workers = 1;
    reactor.ports = ports;
    reactor.fds.chunks = (void *)&chunk; /* another anonymous struct */
    atom_init(&chunk, &slots);
    slot_init(&slots.slots[FD]);
    port.base.reactor = &reactor;
    atom_init(&port.base.admitted, 0);
    atom_init(&port.base.finished, 0);
    spin_init(&port.submit_lock);
    list_init(&port.fifo);
    list_init(&port.cancels);
    atom_init(&port.fifo_len, 0);
    atom_init(&port.cancels_len, 0);
    atom_init(&port.cancel_next_at, 0);
    for (int i = 0; i < (int)FOREIGN_WORDS; i++)
        atom_init(&port.foreign[i], 0);
    reactor_thread.reactor = &reactor;
    reactor_thread.index = 0;
    spin_init(&kernel_lock);
    memset(requests, 0, sizeof(requests));
    atom_init(&ready, 0);
    atom_init(&busy, callers);
    sq_room = room;
    silent = false;
    early[0] = early[1] = NULL;
    closed = 0;
    performed = 0;
    atom_init(&got, 0);
}

static void setup_1(void)
{
    setup_room(SQES, 1);
}

static void setup_2(void)
{
    setup_room(SQES, 2);
}

static void setup_narrow(void)
{
    setup_room(1, 1);
}

static void call_complete(struct op *op)
{
    check_event_post(&JD_CONTAINER_OF(op, struct call, op)->done);
}

static struct call *call_new(void)
{
    struct call *c = check_alloc(sizeof(*c));

    c->op.complete = call_complete;
    c->op.kind = OP_RECV;
    c->op.fd = FD;
    c->op.buf = &c->byte;
    c->op.len = 1;
    check_event_init(&c->done);
    return c;
}

/* NULL: it was not admitted. */
static struct call *call_begin(void)
{
    struct call *c = call_new();
    int error = reactor_submit(&reactor, 0, &c->op);

    if (error == 0)
        return c;
    CHECK_THAT(error == -EBADF);
    check_free(c);
    return NULL;
}

/* io/op_wait.c: whatever happens, the op's end is waited for. */
static void call_end(struct call *c, bool cancelled)
{
    check_event_wait(&c->done);
    CHECK_THAT(c->op.result == 1 || c->op.result == -ECANCELED || c->op.result == -EBADF);
    CHECK_THAT(cancelled || c->op.result != -ECANCELED);
    if (c->op.result == 1)
        atom_fetch_add(&got, 1, relaxed);
    check_free(c);
}

static void perform(bool cancel)
{
    struct call *c = call_begin();

    if (c && cancel)
        reactor_cancel(&reactor, 0, &c->op);
    if (c)
        call_end(c, cancel);
    atom_fetch_sub(&busy, 1, relaxed);
}

/* Two tasks of one worker, one after another; there is room for one SQE only. */
static void two_callers(void)
{
    struct call *first = call_begin(), *second = call_begin();

    CHECK_THAT(first && second);
    reactor_cancel(&reactor, 0, &second->op);
    call_end(first, false);
    call_end(second, true);
    atom_fetch_sub(&busy, 1, relaxed);
}

static void caller(void)
{
    perform(false);
}

static void canceller(void)
{
    perform(true);
}

static void close_done(struct fd_close *c)
{
    check_event_post(&JD_CONTAINER_OF(c, struct closing, close)->done);
}

static void closer(void)
{
    struct closing *c = check_alloc(sizeof(*c));
    int error;

    c->close.done = close_done;
    c->close.fd = FD;
    check_event_init(&c->done);
    error = reactor_close(&reactor, 0, &c->close);
    if (error == 0) {
        check_event_wait(&c->done);
        CHECK_THAT(c->close.result == 0);
    } else {
        CHECK_THAT(error == -EBADF); /* another one closes it */
    }
    check_free(c);
    atom_fetch_sub(&busy, 1, relaxed);
}

/* Two ops are in flight. */
static void setup_two_early(void)
{
    setup_room(SQES, 1);
    early[0] = call_begin();
    early[1] = call_begin();
}

/* One is in flight and would last for ever. */
static void setup_silent(void)
{
    setup_room(SQES, 2);
    silent = true;
    early[0] = call_begin();
}

/* Their task is on another worker, and ends after the close here. */
static void closer_under_ops(void)
{
    atom_fetch_add(&busy, 1, relaxed);
    closer();
    for (int i = 0; i < 2; i++) {
        if (early[i])
            call_end(early[i], false);
    }
    atom_fetch_sub(&busy, 1, relaxed);
}

static bool owner_has_work(void *arg)
{
    (void)arg;
    return check_peek(&ready) != 0 || check_peek(&busy) == 0 || check_peek(&port.fifo_len) != 0 ||
           check_peek(&words[0].value) != check_peek(&words[1].value);
}

/* uring_poll(); the completions come from the kernel one by one. */
static void owner(void)
{
    struct ring_completion cqe;

    for (;;) {
        check_block_until(owner_has_work, NULL);
        if (check_peek(&busy) == 0)
            return;
        uring_queue_drain(&port);
        uring_queue_submit(&port);
        if (kernel_complete(&cqe))
            (void)handle_op(&port, &cqe);
    }
}

static void finish(void)
{
    CHECK_THAT(list_is_empty(&slots.slots[FD].ops) && slots.slots[FD].state == FD_OPEN);
    CHECK_THAT(list_is_empty(&port.fifo) && list_is_empty(&port.cancels));
    CHECK_THAT(check_peek(&port.fifo_len) == 0 && check_peek(&port.cancels_len) == 0);
    CHECK_THAT(check_peek(&port.base.admitted) == check_peek(&port.base.finished));
    CHECK_THAT(check_peek(&got) == performed); /* no result is lost, none is made up */
}

static void finish_closed(void)
{
    finish();
    CHECK_THAT(closed == 1);
}

static const struct check_model models[] = {
    { .name = "op-complete",
      .setup = setup_1,
      .threads = { caller, owner },
      .finish = finish,
      .bound = 3 },
    { .name = "op-cancel", .setup = setup_1, .threads = { canceller, owner }, .finish = finish },
    { .name = "op-close",
      .setup = setup_2,
      .threads = { caller, owner, closer },
      .finish = finish_closed,
      .max = 120000 },
    { .name = "op-cancel-close",
      .setup = setup_2,
      .threads = { canceller, owner, closer },
      .finish = finish_closed,
      .bound = 1,
      .max = 120000 },
    { .name = "op-close-two",
      .setup = setup_two_early,
      .threads = { closer_under_ops, owner },
      .finish = finish_closed,
      .max = 120000 },
    { .name = "op-close-silent",
      .setup = setup_silent,
      .threads = { closer_under_ops, owner, caller },
      .finish = finish_closed,
      .bound = 1,
      .max = 120000 },
    { .name = "op-queue-full",
      .setup = setup_narrow,
      .threads = { two_callers, owner },
      .finish = finish,
      .bound = 1,
      .max = 120000 },
};

CHECK_MAIN(models)
