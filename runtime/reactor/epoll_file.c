/* SPDX-License-Identifier: MIT */
/*
 * Reads, writes and fsyncs of files in the epoll port. What is in memory moves at once, on the
 * worker; what has to wait for the disk is handed to threads that may block (reactor_config.files),
 * and without such threads blocks the worker.
 *
 * I1  A HANDED op is a job of the sink. It ends by exactly one of: its run (or drop); a withdrawal,
 *     asked for under the slot lock. The sink decides which, once.
 * I2  Bytes that the first attempt has moved cannot be taken back: such an op stays RUNNING while it
 *     is a job, so that nobody ends it with -ECANCELED, and a cancelled one ends with those bytes.
 * I3  A wish to end that comes before the job is submitted finds nothing to withdraw; the job sees it.
 *
 * Threads: submit: a worker. run, drop: any thread of the sink, or whoever finds that it has none.
 */
#include <errno.h>

#include "base/assert.h"
#include "reactor/epoll_op.h"
#include "reactor/epoll_port.h"

static void end(struct op *op, int result)
{
    struct fd_slot *slot = op->slot;

    spin_lock(&slot->lock);
    op->state = EPOLL_ENDED;
    spin_unlock(&slot->lock);
    op_finish(op->reactor, op, result);
}

/* True: somebody wants the op to end; it is RUNNING from here on. */
static bool begin(struct op *op)
{
    struct fd_slot *slot = op->slot;
    bool asked;

    spin_lock(&slot->lock);
    op->state = EPOLL_RUNNING;
    asked = epoll_is_asked(op);
    spin_unlock(&slot->lock);
    return asked;
}

static void file_run(struct job *job)
{
    struct op *op = JD_CONTAINER_OF(job, struct op, job);
    bool asked = begin(op);

    if (asked && op->moved == 0)
        end(op, -ECANCELED);
    else
        end(op, asked ? op->moved : epoll_op_do(op));
}

/* No thread takes it: the work is done here, as in a runtime without such threads. */
static void file_drop(struct job *job, int error)
{
    (void)error;
    file_run(job);
}

static const struct job_type file_type = { file_run, file_drop, NULL };

bool epoll_file_withdraw(struct op *op)
{
    struct reactor *r = op->reactor;

    if (!r->files.withdraw(r->files.pool, &op->job))
        return false;
    op->state = EPOLL_ENDED;
    return true;
}

static void hand_over(struct reactor *r, struct op *op)
{
    struct fd_slot *slot = op->slot;

    list_init(&op->job.link);
    op->job.type = &file_type;
    op->job.what = 0;
    if (op->moved == 0) { /* I2 */
        spin_lock(&slot->lock);
        op->state = EPOLL_HANDED;
        spin_unlock(&slot->lock);
    }
    if (r->files.submit(r->files.pool, &op->job) < 0)
        file_run(&op->job); /* not accepted, so nobody else has it; else it may be gone by now */
}

void epoll_file_submit(struct reactor *r, struct op *op)
{
    int result;

    op->reactor = r;
    op->moved = 0;
    if (!r->files.submit) {
        end(op, epoll_op_do(op));
        return;
    }
    result = epoll_op_try_now(op);
    if (result != -EAGAIN)
        end(op, result);
    else
        hand_over(r, op);
}
