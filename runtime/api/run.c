/* SPDX-License-Identifier: MIT */
/*
 * Running: which threads serve which workers, and how a run ends.
 *
 * I1  Worker 0 is served by the thread that calls run (or a thread of its own after
 *     jd_runtime_start); workers 1.. by threads that are made at the first run and wait on run_cond
 *     between runs, running nothing. Worker 0's own thread sits out the runs of others.
 * I2  `stop` ends a run; it is cleared when the run is over, so a stop before a run makes that run
 *     do one tick (worker.ticked).
 * I3  A run is over when all threads have left their loops (`inside` is 0).
 */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "api/lifecycle.h"
#include "base/alloc.h"
#include "sched/callback.h"
#include "sched/choice.h"
#include "sched/error.h"
#include "sched/spawn.h"
#include "sched/wait.h"
#include "sim/sim.h"

static void wake_all(struct jd_runtime *rt)
{
    for (unsigned i = 0; i < rt->worker_count; i++) {
        sched_wake_worker(&rt->workers[i]);
        reactor_wake(rt->reactor, i); /* also one that is about to park */
    }
}

void runtime_stop_workers(struct jd_runtime *rt)
{
    atom_fetch_or(&rt->stop, STOP_ASKED, seq_cst); /* [STOP-1] */
    wake_all(rt);
}

void runtime_stop_now(struct jd_runtime *rt)
{
    atom_fetch_or(&rt->stop, STOP_ASKED | STOP_NOW, seq_cst); /* [STOP-1] */
    wake_all(rt);
}

void jd_stop(jd_runtime *rt)
{
    if (rt && atom_load(&rt->state, acquire) != RUNTIME_DEAD) /* [STATE-1] */
        runtime_stop_workers(rt);
}

uint64_t runtime_tasks_left(struct jd_runtime *rt)
{
    uint64_t ended = live_ended(&rt->foreign_live), begun; /* ends first: live.h I2 */

    for (unsigned i = 0; i < rt->worker_count; i++)
        ended += live_ended(&rt->workers[i].live);
    begun = live_begun(&rt->foreign_live);
    for (unsigned i = 0; i < rt->worker_count; i++)
        begun += live_begun(&rt->workers[i].live);
    return begun - ended;
}

/* Asked by a worker between two ticks. */
bool runtime_may_stop(struct worker *w)
{
    struct jd_runtime *rt = w->rt;
    /* [STOP-1] Before the look into the queues: what was posted before the stop is run. */
    uint32_t stop = atom_load(&rt->stop, acquire);

    if ((stop & STOP_NOW) || !atom_load(&rt->draining, acquire)) /* [STOP-1] */
        return stop != 0;
    if (!loop_queue_is_empty(&w->loop_queue) || !inbox_is_empty(&w->inbox))
        return false;
    if (stop) /* worker 0 found the end */
        return true;
    if (w->index != 0 || runtime_tasks_left(rt) != 0 || reactor_in_flight(rt->reactor) != 0)
        return false;
    runtime_stop_workers(rt);
    return true;
}

/* Fault signals stay open; others belong to the threads of the user. */
static void block_signals(void)
{
    sigset_t set;

    sigfillset(&set);
    sigdelset(&set, SIGSEGV);
    sigdelset(&set, SIGBUS);
    sigdelset(&set, SIGFPE);
    sigdelset(&set, SIGILL);
    sigdelset(&set, SIGABRT);
    sigdelset(&set, SIGTRAP);
    sigdelset(&set, SIGURG); /* the nudge where membarrier is refused */
    pthread_sigmask(SIG_SETMASK, &set, NULL);
}

static void pin_to_cpu(const struct worker *w)
{
    cpu_set_t allowed, one;
    unsigned left = w->index;

    if (!(w->rt->flags & JD_PIN_WORKERS) || sched_getaffinity(0, sizeof(allowed), &allowed))
        return;
    for (unsigned cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &allowed) || left-- > 0)
            continue;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        (void)sched_setaffinity(0, sizeof(one), &one); /* a wish: without it we still run */
        return;
    }
}

/*
 * A write to a pipe without a reader raises SIGPIPE in the thread that submits it, on whatever
 * worker the task is by then: while a thread serves, the signal stays blocked and the write answers
 * -EPIPE. (Sends to sockets use MSG_NOSIGNAL.)
 */
static void sigpipe_block(sigset_t *ret_former)
{
    sigset_t pipe;

    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe, ret_former);
}

static void sigpipe_restore(const sigset_t *former)
{
    const struct timespec at_once = { 0, 0 };
    sigset_t pipe;

    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    if (!sigismember(former, SIGPIPE))
        (void)sigtimedwait(&pipe, NULL, &at_once); /* takes ours, if any */
    pthread_sigmask(SIG_SETMASK, former, NULL);
}

/* The calling thread serves this worker until the runtime stops. It cannot fail: what it needs was
 * taken with the runtime, and a run that nobody serves would never end. */
static void worker_serve(struct worker *w)
{
    struct jd_runtime *rt = w->rt;
    sigset_t former;

    (void)overflow_thread_enter(&w->overflow); /* refused: overflows have no report, that is all */
    sigpipe_block(&former);
    reactor_thread_enter(rt->reactor, w->index);
    worker_set_current(w);
    w->ticked = false;
    atom_store(&w->serving, 1, relaxed);      /* Relaxed: hints for the watchdog. */
    atom_fetch_add(&rt->running, 1, seq_cst); /* [DOG-1] */
    watchdog_poke(rt);
    sched_enter_loop(w);
    atom_fetch_sub(&rt->running, 1, seq_cst);
    atom_store(&w->serving, 0, relaxed);
    worker_set_current(NULL);
    reactor_thread_leave(rt->reactor, w->index);
    sigpipe_restore(&former);
    overflow_thread_leave(&w->overflow);
}

static void *thread_main(void *arg)
{
    struct worker_thread *self = arg;
    struct jd_runtime *rt = self->rt;
    uint64_t served = self->served;
    bool mine;

    mem_thread_begin();
    block_signals();
    pin_to_cpu(&rt->workers[self->index]);
    pthread_mutex_lock(&rt->run_lock);
    rt->threads_ready++;
    pthread_cond_broadcast(&rt->run_cond);
    while (!rt->quit) { /* unbounded: until the runtime is freed */
        if (served == rt->run_number) {
            pthread_cond_wait(&rt->run_cond, &rt->run_lock);
            continue;
        }
        served = rt->run_number;
        mine = rt->started || self->index != 0; /* I1 */
        pthread_mutex_unlock(&rt->run_lock);
        if (mine)
            worker_serve(&rt->workers[self->index]);
        pthread_mutex_lock(&rt->run_lock);
        rt->inside--;
        pthread_cond_broadcast(&rt->run_cond);
    }
    pthread_mutex_unlock(&rt->run_lock);
    return NULL;
}

static void report_missing(struct jd_runtime *rt, const char *what, int err)
{
    char message[128];

    snprintf(message, sizeof(message), "no thread for %s: %s; the run goes on without it", what,
             jd_strerror(err));
    error_report(rt, &(jd_report){ .size = sizeof(jd_report),
                                   .kind = JD_REPORT_SHUTDOWN,
                                   .message = message,
                                   .error = err });
}

/*
 * run_lock held. Makes the missing threads for workers [first, count). A limit on threads (pids of a
 * container) leaves the work to those there are; only a runtime without any is an error.
 */
static int threads_start(struct jd_runtime *rt, unsigned first)
{
    char name[32]; /* pthread_setname_np() takes 16 with the end */
    int err = 0;

    for (unsigned i = first; i < rt->worker_count && !err; i++) {
        struct worker_thread *t = &rt->threads[i];

        if (t->rt)
            continue;
        t->rt = rt;
        t->index = i;
        t->served = rt->run_number;
        snprintf(name, sizeof(name), "%.9s-%u", rt->name, i);
        err = pthread_create(&t->thread, NULL, thread_main, t);
        if (err) {
            t->rt = NULL;
            if (first > 0 || rt->thread_count > 0)
                report_missing(rt, name, -err);
        } else {
            (void)pthread_setname_np(t->thread, name); /* for people only */
            rt->thread_count++;
        }
    }
    while (rt->threads_ready <
           rt->thread_count) /* before the first task runs: mem_thread_begin() */
        pthread_cond_wait(&rt->run_cond, &rt->run_lock);
    return err && first == 0 && rt->thread_count == 0 ? -err : 0;
}

static int run_begin(struct jd_runtime *rt, bool all_on_threads, jd_future *until)
{
    int err = 0;

    /* [STATE-1] Without the lock: in the child of a fork somebody may hold it for ever. */
    if (atom_load(&rt->state, acquire) == RUNTIME_DEAD)
        return -ESHUTDOWN;
    pthread_mutex_lock(&rt->run_lock);
    if (atom_load(&rt->state, acquire) != RUNTIME_NEW || rt->started)
        err = -EBUSY;
    if (!err && !rt->sim && !rt->watchdog.running && watchdog_start(rt))
        report_missing(rt, "the watchdog", -EAGAIN);
    if (!err && !rt->sim)
        err = threads_start(rt, all_on_threads ? 0 : 1);
    if (!err) {
        rt->started = all_on_threads;
        rt->until = until;
        rt->inside = rt->thread_count;
        rt->run_number++;
        atom_store(&rt->state, RUNTIME_RUNNING, release); /* [STATE-1] */
        pthread_cond_broadcast(&rt->run_cond);
    }
    pthread_mutex_unlock(&rt->run_lock);
    return err;
}

static void run_end(struct jd_runtime *rt)
{
    runtime_stop_workers(rt);
    pthread_mutex_lock(&rt->run_lock);
    while (rt->inside > 0)
        pthread_cond_wait(&rt->run_cond, &rt->run_lock);
    atom_store(&rt->stop, 0, seq_cst);            /* [STOP-1] I2 */
    atom_store(&rt->state, RUNTIME_NEW, release); /* [STATE-1] */
    rt->started = false;
    pthread_mutex_unlock(&rt->run_lock);
}

/* jd_runtime_start(), then jd_stop(): nobody has waited for the end of that run. */
static void end_stopped_run(struct jd_runtime *rt)
{
    if (rt->started && atom_load(&rt->stop, acquire)) /* [STOP-1] */
        run_end(rt);
}

/* On worker 0. One that was left over from a former run (it was stopped before) stops nothing. */
static void stop_run(jd_future *f, void *arg)
{
    struct jd_runtime *rt = arg;

    if (rt->until == f)
        jd_stop(rt);
}

int runtime_run(struct jd_runtime *rt, jd_future *until, struct done_callback *stopper)
{
    int err;

    end_stopped_run(rt);
    if (until)
        done_callback_add(stopper, until, stop_run, rt);
    err = run_begin(rt, false, until);
    if (!err) {
        if (rt->sim)
            sim_serve(rt->sim, rt);
        else
            worker_serve(&rt->workers[0]);
        run_end(rt);
    }
    if (until)
        (void)jd_future_remove_done_callback(until, stop_run, rt); /* 0: it is scheduled */
    return err;
}

void runtime_join_threads(struct jd_runtime *rt)
{
    pthread_mutex_lock(&rt->run_lock);
    rt->quit = true;
    pthread_cond_broadcast(&rt->run_cond);
    pthread_mutex_unlock(&rt->run_lock);
    for (unsigned i = 0; i < rt->worker_count; i++)
        if (rt->threads[i].rt)
            pthread_join(rt->threads[i].thread, NULL);
    rt->thread_count = rt->threads_ready = 0;
}

int jd_runtime_start(jd_runtime *rt)
{
    if (!rt)
        return -EINVAL;
    if (worker_current())
        return -EBUSY;
    end_stopped_run(rt);
    return run_begin(rt, true, NULL);
}

int jd_run_forever(jd_runtime *rt)
{
    if (!rt)
        return -EINVAL;
    return worker_current() ? -EBUSY : runtime_run(rt, NULL, NULL);
}

jd_result runtime_run_for(struct jd_runtime *rt, jd_future *fut, struct done_callback *stopper)
{
    jd_result result;
    int err = runtime_run(rt, fut, stopper);

    if (err)
        return jd_err(err);
    err = jd_future_result(fut, &result); /* -EAGAIN: stopped before */
    return err ? jd_err(err) : result;
}

jd_result jd_run_until_complete(jd_runtime *rt, jd_future *fut)
{
    struct done_callback *stopper;

    if (!rt || !fut || fut->stub != rt->stub)
        return jd_err(-EINVAL);
    if (worker_current())
        return jd_err(-EBUSY);
    stopper = done_callback_new();
    return stopper ? runtime_run_for(rt, fut, stopper) : jd_err(-ENOMEM);
}

jd_result jd_runtime_call(jd_runtime *rt, jd_fn fn, void *arg)
{
    jd_result result;
    jd_task *t;
    int err;

    if (!rt || !fn)
        return jd_err(-EINVAL);
    if (worker_current() || choice_simulated()) /* this thread would have to run the task */
        return jd_err(-EDEADLK);
    err = sched_spawn(rt, fn, arg, NULL, NULL, NULL, &t);
    if (err)
        return jd_err(err);
    /* Out of memory for the wait: fn may use the caller's arg, so we cannot leave; try again. */
    while ((err = jd_await_outcome_task(t, &result)) == -ENOMEM) /* bounded by the task */
        sched_yield();
    jd_task_unref(t);
    return err ? jd_err(err) : result;
}

int jd_runtime_spawn_task(jd_runtime *rt, jd_fn fn, void *arg, const jd_task_options *opt,
                          jd_task **ret)
{
    return rt ? sched_spawn(rt, fn, arg, opt, NULL, NULL, ret) : -EINVAL;
}

jd_task *jd_runtime_spawn(jd_runtime *rt, jd_fn fn, void *arg, const jd_task_options *opt)
{
    jd_task *t = NULL;

    return jd_runtime_spawn_task(rt, fn, arg, opt, &t) == 0 ? t : NULL;
}
