/* SPDX-License-Identifier: MIT */
/*
 * Closing a descriptor: the reactor ends what is in flight on it first (reactor.h I3).
 *
 * I1  The wait is neither cancellable nor timed, so only done() ends it, and the record lives until
 *     then: no hand-over protocol is needed. done() copies what it needs before it ends the wait.
 *
 * Threads: tasks.
 */
#include <errno.h>

#include <jackdaw/io.h>

#include "base/clock.h"
#include "io/op_wait.h"

struct close_wait {
    struct fd_close close;
    struct wait wait;
};

static void close_done(struct fd_close *c)
{
    struct close_wait *w = JD_CONTAINER_OF(c, struct close_wait, close);
    struct wait_target *target = w->wait.target;

    /* The result is published by [WORD-2]; the record may be gone afterwards (I1). */
    if (word_wake(&target->word, w->wait.seq, CAUSE_GRANTED) == WAKE_QUEUE)
        wait_target_ready(target);
}

int jd_close(int fd)
{
    struct close_wait w;
    struct worker *worker;
    struct jd_task *task;
    int error = call_begin(0, &task);

    if (error < 0)
        return error;
    if (fd < 0)
        return -EBADF;
    error = wait_open(&w.wait, task, 0);
    if (error < 0)
        return error;
    w.close.done = close_done;
    w.close.fd = fd;
    worker = worker_current();
    error = reactor_close(worker->rt->reactor, worker->index, &w.close);
    if (error < 0)
        (void)word_wake(&w.wait.target->word, w.wait.seq, CAUSE_GRANTED); /* nobody else will */
    (void)wait_sleep(&w.wait, CLOCK_FOREVER);
    wait_close(&w.wait);
    return error < 0 ? error : w.close.result;
}
