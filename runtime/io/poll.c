/* SPDX-License-Identifier: MIT */
/*
 * Waiting for readiness.
 *
 * poll(2) looks first: it answers the common case without a trip through the reactor, it is all
 * that a timeout of 0 asks for, and it reports a descriptor that is not open (POLLNVAL) or that is
 * always ready (a regular file) in the same way on every port.
 * Threads: tasks.
 */
#include <errno.h>
#include <poll.h>

#include <jackdaw/io.h>

#include "base/clock.h"
#include "io/op_wait.h"
#include "io/sys.h"

int jd_poll(int fd, short events, int64_t timeout)
{
    struct jd_task *task;
    int ready;
    int error = call_begin(WAIT_CANCELLABLE, &task);

    if (error < 0)
        return error;
    if (fd < 0)
        return -EBADF;
    ready = sys_poll_now(fd, events);
    if (ready != 0)
        return ready;
    if (timeout <= 0)
        return -ETIMEDOUT;

    struct op_wait w = { .op = { .kind = OP_POLL, .fd = fd, .events = events } };

    return op_wait(task, &w, clock_after(clock_now(), timeout));
}
