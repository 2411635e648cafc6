/* SPDX-License-Identifier: MIT */
/*
 * Blocking functions of users: as a future that goes on by itself, and as a call that waits.
 *
 *   jd_run_in_executor()   a record on the heap: future, job, function. The pool holds one reference.
 *   jd_to_thread()         a record in the waiting frame, under the protocol of task/handover.h:
 *                          no memory, and nothing left behind when it returns.
 *   ... with JD_ABANDON    the first, awaited; a cancelled caller drops it.
 *
 * I1  A function runs at most once, and not at all once its future is done (cancelled) or its job was
 *     withdrawn.
 * I2  jd_to_thread() returns when its record is nobody else's: the function has returned, or the job
 *     was dropped or withdrawn. So its arg may live in the caller's frame.
 *
 * Threads: see executor.h. Rejected: one allocation for the future and one for the job (two of the
 * 300 ns of an offload); jd_to_thread() over a future (out of memory would be one more way to fail,
 * and its completer touches the future after it has woken the waiter).
 */
#include <errno.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "executor/executor.h"
#include "executor/pool.h"
#include "sched/wait.h"
#include "task/handover.h"
#include "task/stub.h"

/* --- A future that goes on by itself ----------------------------------------------------------------- */

struct offload {
    struct jd_future future;
    struct job job;
    jd_fn fn;
    void *arg;
};

static struct offload *offload_of(const struct job *job)
{
    return JD_CONTAINER_OF((uintptr_t)job, struct offload, job);
}

static void offload_run(struct job *job)
{
    struct offload *o = offload_of(job);

    if (!outcome_is_done(&o->future.outcome))                /* else cancelled: I1 */
        (void)future_complete(&o->future, o->fn(o->arg), 0); /* cancelled meanwhile: dropped */
    future_unref(&o->future);
}

static void offload_drop(struct job *job, int error)
{
    struct offload *o = offload_of(job);

    (void)future_complete(&o->future, jd_err(error), /* cancelled meanwhile: so be it */
                          error == -ECANCELED ? FUTURE_CANCELLED : 0);
    future_unref(&o->future);
}

static bool offload_is_cancelled(const struct job *job)
{
    return outcome_is_done(&offload_of(job)->future.outcome);
}

static const struct job_type offload_type = { offload_run, offload_drop, offload_is_cancelled };

void future_free_offload(struct jd_future *f)
{
    mem_free(JD_CONTAINER_OF(f, struct offload, future), sizeof(struct offload));
}

static struct offload *offload_new(struct jd_executor *e, jd_fn fn, void *arg)
{
    struct worker *w = worker_current();
    struct runtime_stub *stub = w ? w->rt->stub : e->stub;
    struct offload *o = mem_alloc(sizeof(*o));

    if (!o)
        return NULL;
    runtime_stub_ref(stub);
    future_init(&o->future, stub, 2, FUTURE_IS_OFFLOAD);
    o->job.type = &offload_type;
    o->job.what = (uintptr_t)fn;
    o->fn = fn;
    o->arg = arg;
    return o;
}

int jd_executor_submit(jd_executor *e, jd_fn fn, void *arg, jd_future **ret)
{
    struct offload *o;
    int error;

    if (!fn || !ret)
        return -EINVAL;
    e = executor_or_default(e);
    if (!e)
        return -EPERM;
    o = offload_new(e, fn, arg);
    if (!o)
        return -ENOMEM;
    error = pool_submit(e, &o->job);
    if (error < 0) {
        runtime_stub_unref(o->future.stub);
        mem_free(o, sizeof(*o));
        return error;
    }
    *ret = &o->future;
    return 0;
}

jd_future *jd_run_in_executor(jd_executor *e, jd_fn fn, void *arg)
{
    jd_future *f = NULL;

    return jd_executor_submit(e, fn, arg, &f) == 0 ? f : NULL;
}

/* --- A call that waits ------------------------------------------------------------------------------- */

struct thread_call {
    struct job job;
    struct wait_target *target;
    struct handover handover;
    jd_fn fn;
    void *arg;
    jd_result result;
    JD_ATOMIC(uint32_t) is_cancelled;
};

static void call_end(struct thread_call *c, jd_result result)
{
    struct wait_target *target = c->target;
    uint32_t seq;

    c->result = result;
    seq = handover_done(&c->handover); /* the record may be gone from here on */
    if (word_wake(&target->word, seq, CAUSE_GRANTED) == WAKE_QUEUE)
        wait_target_ready(target);
}

static void call_run(struct job *job)
{
    struct thread_call *c = JD_CONTAINER_OF(job, struct thread_call, job);

    call_end(c, c->fn(c->arg));
}

static void call_drop(struct job *job, int error)
{
    call_end(JD_CONTAINER_OF(job, struct thread_call, job), jd_err(error));
}

static bool call_is_cancelled(const struct job *job)
{
    const struct thread_call *c = JD_CONTAINER_OF((uintptr_t)job, struct thread_call, job);

    return atom_load(&c->is_cancelled, relaxed) != 0; /* Relaxed: a wish, which carries nothing. */
}

static const struct job_type call_type = { call_run, call_drop, call_is_cancelled };

/* The caller was cancelled and the function runs: it hears of it, and is waited for. */
static JD_NOINLINE jd_result wait_to_the_end(struct jd_task *task, struct thread_call *c,
                                             uint32_t first_seq)
{
    struct wait second;
    unsigned cause;

    atom_store(&c->is_cancelled, 1, relaxed); /* Relaxed: as above. */
    (void)wait_open(&second, task, 0);        /* cannot fail: no parker is needed for a task */
    if (!handover_move(&c->handover, first_seq, second.seq))
        (void)word_wake(&second.target->word, second.seq, CAUSE_GRANTED); /* nobody else can */
    cause = wait_sleep(&second, CLOCK_FOREVER);
    JD_ASSERT(cause == CAUSE_GRANTED);
    wait_close(&second);
    return c->result;
}

static jd_result call_and_wait(struct jd_executor *e, struct jd_task *task, jd_fn fn, void *arg)
{
    struct thread_call c = { .job = { .type = &call_type, .what = (uintptr_t)fn },
                             .fn = fn,
                             .arg = arg };
    struct wait first;
    unsigned cause;
    int error = wait_open(&first, task, WAIT_CANCELLABLE);

    if (error < 0)
        return jd_err(error);
    c.target = first.target;
    handover_open(&c.handover, first.seq); /* published by the pool's lock */
    error = pool_submit(e, &c.job);
    if (error < 0) {
        /* Closes the wait; losing to a cancel does that, too. */
        (void)word_wake(&first.target->word, first.seq, CAUSE_GRANTED);
        wait_close(&first);
        return jd_err(error);
    }
    cause = wait_sleep(&first, CLOCK_FOREVER);
    wait_close(&first);
    if (JD_LIKELY(cause == CAUSE_GRANTED))
        return c.result;
    if (pool_withdraw(e, &c.job))
        return jd_err(wait_error(&first, cause));
    if (wait_to_the_end(task, &c, first.seq).error == -ECANCELED)
        (void)wait_error(&first, cause); /* for its note: the scope has stopped the function */
    return c.result;
}

/* A cancelled caller leaves; the future's other reference is the pool's. */
static jd_result call_and_abandon(struct jd_executor *e, jd_fn fn, void *arg)
{
    jd_future *f;
    jd_result r;
    int error = jd_executor_submit(e, fn, arg, &f);

    if (error < 0)
        return jd_err(error);
    error = jd_await_outcome_future(f, &r);
    if (error < 0) {
        (void)jd_future_cancel(f, NULL); /* -EALREADY: it has ended, and nobody wants its result */
        r = jd_err(error);
    }
    jd_future_unref(f);
    return r;
}

jd_result jd_to_thread_with(jd_executor *e, jd_fn fn, void *arg, unsigned flags)
{
    struct jd_task *task;
    int error = call_begin(WAIT_CANCELLABLE, &task);

    if (error < 0)
        return jd_err(error);
    if (!fn || (flags & ~JD_ABANDON))
        return jd_err(-EINVAL);
    e = executor_or_default(e);
    return flags & JD_ABANDON ? call_and_abandon(e, fn, arg) : call_and_wait(e, task, fn, arg);
}

jd_result jd_to_thread(jd_fn fn, void *arg)
{
    return jd_to_thread_with(NULL, fn, arg, 0);
}

int jd_thread_cancelled(void)
{
    const struct job *job = thread_job();
    struct jd_executor *e = thread_pool();

    if (!job || !e)
        return 0;
    if (atom_load(&e->is_ending, relaxed)) /* Relaxed: a wish, which carries nothing. */
        return 1;
    return job->type->is_cancelled && job->type->is_cancelled(job);
}
