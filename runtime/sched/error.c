/* SPDX-License-Identifier: MIT */
/*
 * The error handler and its callers.
 *
 * I1  A failure is reported at most once: FUTURE_REPORTED is set by a fetch_or whose winner reports.
 * I2  The handler is called with no lock held and may be called by several threads at once.
 */
#include "sched/error.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "fiber/sigline.h"

#include "task/stub.h"

static void report_to_stderr(const jd_report *report)
{
    char line[512];
    int len = snprintf(line, sizeof(line), "jackdaw: %s\n", report->message);

    if (len > 0)
        (void)!write(STDERR_FILENO, line, /* nobody is left to hear that stderr is gone */
                     (size_t)len < sizeof(line) ? (size_t)len : sizeof(line) - 1);
}

void error_report(struct jd_runtime *rt, const jd_report *report)
{
    jd_error_fn fn;
    void *arg;

    spin_lock(&rt->handler_lock);
    fn = rt->error_fn;
    arg = rt->error_arg;
    spin_unlock(&rt->handler_lock);
    if (fn)
        fn(report, arg);
    else
        report_to_stderr(report);
}

void jd_set_error_handler(jd_runtime *rt, jd_error_fn fn, void *arg)
{
    if (!rt)
        rt = jd_runtime_current();
    if (!rt)
        return;
    spin_lock(&rt->handler_lock);
    rt->error_fn = fn;
    rt->error_arg = arg;
    spin_unlock(&rt->handler_lock);
}

void jd_set_slow_step(jd_runtime *rt, int64_t threshold)
{
    if (!rt)
        rt = jd_runtime_current();
    if (!rt)
        return;
    if (threshold <= 0)
        threshold = rt->flags & JD_DEBUG ? SLOW_STEP_DEFAULT : 0;
    atom_store(&rt->slow_step, threshold, relaxed); /* Relaxed: a setting */
}

void task_made_up_name(const struct jd_task *t, char *buf, size_t bytes)
{
    snprintf(buf, bytes, "task-%llu", (unsigned long long)t->id);
}

const char *task_display_name(struct jd_task *t, char *buf, size_t bytes)
{
    const char *name = atom_load(&t->name, acquire); /* [NAME-1] */

    if (name)
        return name;
    task_made_up_name(t, buf, bytes);
    return buf;
}

/* The runtime of a future, kept from going until runtime_let_go(); NULL: it is gone. */
static struct jd_runtime *runtime_hold(struct runtime_stub *stub)
{
    struct jd_runtime *rt;

    spin_lock(&stub->lock);
    rt = stub->rt;
    if (rt)
        atom_fetch_add(&rt->foreign, 1, seq_cst); /* [FOREIGN-1] */
    spin_unlock(&stub->lock);
    return rt;
}

static void runtime_let_go(struct jd_runtime *rt)
{
    atom_fetch_sub(&rt->foreign, 1, seq_cst); /* [FOREIGN-1] the last access */
}

static void report_unhandled_to(struct jd_runtime *rt, struct jd_future *f)
{
    struct jd_task *t = future_is_task(f) ? task_of_future(f) : NULL;
    char message[256], name[TASK_NAME_BYTES];

    snprintf(message, sizeof(message), "%s%s failed with %s and nobody looked at its result",
             t ? "task " : "a future", t ? task_display_name(t, name, sizeof(name)) : "",
             jd_strerror(f->result.error));
    error_report(rt, &(jd_report){ .size = sizeof(jd_report),
                                   .kind = JD_REPORT_UNHANDLED,
                                   .message = message,
                                   .task = t,
                                   .error = f->result.error });
}

void future_report_unhandled(struct jd_future *f)
{
    uint32_t flags = atom_fetch_or(&f->flags, FUTURE_REPORTED, relaxed); /* I1 */
    struct jd_runtime *rt;

    if (flags & (FUTURE_REPORTED | FUTURE_LOOKED_AT | FUTURE_CANCELLED))
        return;
    rt = runtime_hold(f->stub); /* the last reference may go on any thread, while rt is freed */
    if (!rt)
        return;
    report_unhandled_to(rt, f);
    runtime_let_go(rt);
}

void error_report_leftover(struct jd_runtime *rt, struct jd_task *t)
{
    char message[256], name[TASK_NAME_BYTES];

    snprintf(message, sizeof(message),
             "task %s (function %p) did not end within the shutdown timeout after its cancel",
             task_display_name(t, name, sizeof(name)), (void *)(uintptr_t)t->fn);
    error_report(rt, &(jd_report){ .size = sizeof(jd_report),
                                   .kind = JD_REPORT_SHUTDOWN,
                                   .message = message,
                                   .task = t,
                                   .error = -ETIMEDOUT });
}

void error_report_slow_step(struct jd_runtime *rt, unsigned worker, int64_t duration)
{
    char message[256];

    snprintf(
        message, sizeof(message),
        "a step on worker %u has run for %lld ms without suspending: what waits for this "
        "worker's callbacks waits with it; move long work to jd_to_thread() or call jd_yield()",
        worker, (long long)(duration / 1000000));
    error_report(rt, &(jd_report){ .size = sizeof(jd_report),
                                   .kind = JD_REPORT_SLOW_STEP,
                                   .message = message,
                                   .duration = duration });
}

JD_NORETURN JD_COLD static void misuse(const char *who, const char *what, const char *where,
                                       const void *site)
{
    char line[384];
    int len = snprintf(line, sizeof(line), "jackdaw: %s %s (%s %p)\n", who, what, where, site);

    if (len > 0)
        (void)!write(STDERR_FILENO, line,
                     (size_t)len < sizeof(line) ? (size_t)len : sizeof(line) - 1);
    abort();
}

void error_scope_outlived(struct jd_task *t)
{
    char name[TASK_NAME_BYTES];

    /* The scope itself is gone with the frame. */
    misuse(task_display_name(t, name, sizeof(name)),
           "returned with a scope or group still open: close it before its frame ends",
           "its function is at", (const void *)(uintptr_t)t->fn);
}

void error_fork_outlived(struct jd_task *t)
{
    char name[TASK_NAME_BYTES];

    misuse(task_display_name(t, name, sizeof(name)),
           "returned with a fork that was not joined: join it before its frame ends",
           "its function is at", (const void *)(uintptr_t)t->fn);
}

void error_scope_order(const struct timed_scope *s)
{
    misuse("a scope or group", "was closed out of order: close the innermost one first",
           "it was opened at", s->site);
}

void error_describe_fiber(const struct fiber *f, char *buf, size_t bytes)
{
    struct sigline line = { .buf = buf, .bytes = bytes };
    struct jd_task *t = f->user;
    const char *name;

    if (!t) {
        sigline_str(&line, "a worker loop");
        return;
    }
    name = atom_load(&t->name, acquire); /* [NAME-1] */
    sigline_str(&line, "task ");
    if (name) {
        sigline_str(&line, name);
    } else {
        sigline_str(&line, "task-");
        sigline_dec(&line, t->id);
    }
    sigline_str(&line, " (id ");
    sigline_dec(&line, t->id);
    sigline_str(&line, ", function ");
    sigline_hex(&line, (uintptr_t)t->fn);
    sigline_str(&line, ")");
}
