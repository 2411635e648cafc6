/* SPDX-License-Identifier: MIT */
/*
 * What a simulation says to people: deadlocks and escapes, through the runtime's error handler.
 *
 * Threads: the controller, with no worker running, so every task stands still.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "io/op_wait.h"
#include "sched/error.h"
#include "sim/net.h"
#include "task/slab.h"
#include "task/stub.h"

static const char *const op_names[OP_KIND_COUNT] = {
    [OP_RECV] = "recv",       [OP_SEND] = "send",       [OP_READ] = "read",
    [OP_WRITE] = "write",     [OP_READV] = "readv",     [OP_WRITEV] = "writev",
    [OP_RECVMSG] = "recvmsg", [OP_SENDMSG] = "sendmsg", [OP_ACCEPT] = "accept",
    [OP_CONNECT] = "connect", [OP_POLL] = "poll",       [OP_FSYNC] = "fsync",
};

/* The op whose completion the target waits for; NULL: none. */
static const struct op *op_of(struct sim *sim, const struct wait_target *target)
{
    for (unsigned i = 0; i < sim->file_room; i++) {
        if (!sim->files[i])
            continue;
        list_for_each(link, &sim->files[i]->waiting) {
            struct op *op = JD_CONTAINER_OF(link, struct op, port_link);

            if (JD_CONTAINER_OF(op, struct op_wait, op)->target == target)
                return op;
        }
    }
    return NULL;
}

struct joined {
    const struct wait_target *waiter;
    struct jd_task *task; /* whose end it waits for; NULL: none found */
};

static int find_joined(struct jd_task *t, void *arg)
{
    struct joined *joined = arg;
    struct list *first = outcome_first(outcome_lock(&t->future.outcome)), *link = first;

    while (link) { /* bounded by the ring */
        if (JD_CONTAINER_OF(link, struct waiter, link)->target == joined->waiter)
            joined->task = t;
        link = link->next == first ? NULL : link->next;
    }
    outcome_unlock(&t->future.outcome, first, 0);
    return joined->task != NULL;
}

static void describe_site(struct sim *sim, const struct wait *w, char *buf, size_t bytes)
{
    struct joined joined = { .waiter = w->target };
    char name[TASK_NAME_BYTES];

    (void)slab_foreach(sim->rt->stub, find_joined, &joined);
    if (joined.task)
        snprintf(buf, bytes, "%s (%s) for the end of task %s (id %llu)", w->site->function,
                 w->site->file, task_display_name(joined.task, name, sizeof(name)),
                 (unsigned long long)joined.task->id);
    else
        snprintf(buf, bytes, "%s (%s)", w->site->function, w->site->file);
}

static void describe_wait(struct sim *sim, struct jd_task *t, char *buf, size_t bytes)
{
    const struct wait *w = t->fiber ? t->fiber->wait : NULL;
    const struct op *op = op_of(sim, &t->target);

    if (t->fiber && t->fiber->user != t)
        snprintf(buf, bytes, "the task that it runs in its own frame");
    else if (!w || w->task != t)
        snprintf(buf, bytes, "its first step");
    else if (op)
        snprintf(buf, bytes, "%s on descriptor %d", op_names[op->kind], op->fd);
    else
        describe_site(sim, w, buf, bytes);
}

static int report_task(struct jd_task *t, void *arg)
{
    struct sim *sim = arg;
    char message[320], what[160], name[TASK_NAME_BYTES];

    describe_wait(sim, t, what, sizeof(what));
    snprintf(message, sizeof(message), "simulation: deadlock: task %s (id %llu) waits in %s",
             task_display_name(t, name, sizeof(name)), (unsigned long long)t->id, what);
    error_report(sim->rt, &(jd_report){ .size = sizeof(jd_report),
                                        .kind = JD_REPORT_DEADLOCK,
                                        .message = message,
                                        .task = t,
                                        .error = -EDEADLK });
    return 0;
}

void sim_report_deadlock(struct sim *sim)
{
    (void)slab_foreach(sim->rt->stub, report_task, sim); /* in the order of the records */
}

const char *sim_op_name(unsigned kind)
{
    return op_names[kind];
}

void sim_report_escape(struct sim *sim, struct jd_task *t, const char *format, ...)
{
    char message[320];
    int head = snprintf(message, sizeof(message), "simulation: escape: ");
    va_list args;

    if (sim->escapes++ >= SIM_ESCAPES_TOLD)
        return;
    va_start(args, format);
    vsnprintf(message + head, sizeof(message) - (size_t)head, format, args);
    va_end(args);
    error_report(sim->rt, &(jd_report){ .size = sizeof(jd_report),
                                        .kind = JD_REPORT_ESCAPE,
                                        .message = message,
                                        .task = t,
                                        .error = -EBADF });
}

void sim_report_descriptor(struct sim *sim, struct jd_task *t, const char *call, int fd)
{
    char name[TASK_NAME_BYTES];

    if (t)
        sim_report_escape(sim, t, "task %s (id %llu): %s on descriptor %d, which is not simulated",
                          task_display_name(t, name, sizeof(name)), (unsigned long long)t->id, call,
                          fd);
    else
        sim_report_escape(sim, NULL, "%s on descriptor %d, which is not simulated", call, fd);
}
