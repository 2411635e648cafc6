/* SPDX-License-Identifier: MIT */
#ifndef EXECUTOR_RIG_H
#define EXECUTOR_RIG_H

/*
 * What the tests of executors share: blocking functions that stop where they are told to, and
 * waiting for a pool's state without sleeping (bounded by the test's timeout).
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>

#include <jackdaw/jackdaw.h>

#include "contract.h"
#include "jd_test.h"

/* It reports a thread that is leaked on purpose, and makes none after a fork. */
#ifdef __SANITIZE_THREAD__
#define UNDER_TSAN true
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define UNDER_TSAN true
#endif
#endif
#ifndef UNDER_TSAN
#define UNDER_TSAN false
#endif

/* A blocking function that says when it has begun and ends when the gate is opened. */
struct held {
    sem_t begun, gate;
    atomic_int ran;
    atomic_int saw_cancel; /* when it went on, jd_thread_cancelled() said so */
    jd_result result;
};

__attribute__((unused)) static void held_init(struct held *h)
{
    sem_init(&h->begun, 0, 0);
    sem_init(&h->gate, 0, 0);
    h->ran = 0;
    h->saw_cancel = 0;
    h->result = jd_ok(h);
}

__attribute__((unused)) static jd_result held_run(void *arg)
{
    struct held *h = arg;

    atomic_fetch_add(&h->ran, 1);
    gate_open(&h->begun);
    gate_pass(&h->gate);
    h->saw_cancel = jd_thread_cancelled();
    return h->result;
}

/* The same, and it does not end before it hears that nobody wants its result. */
__attribute__((unused)) static jd_result held_until_cancelled(void *arg)
{
    struct held *h = arg;

    atomic_fetch_add(&h->ran, 1);
    gate_open(&h->begun);
    while (!jd_thread_cancelled()) /* bounded by the test's timeout */
        sched_yield();
    h->saw_cancel = 1;
    gate_pass(&h->gate);
    return h->result;
}

/* In a task: until it has begun. The worker goes on meanwhile. */
__attribute__((unused)) static void await_begun(struct held *h)
{
    while (sem_trywait(&h->begun) != 0)
        cr_assert_eq(jd_yield(), 0);
}

__attribute__((unused)) static jd_result count_up(void *arg)
{
    atomic_fetch_add((atomic_int *)arg, 1);
    return jd_ok(NULL);
}

__attribute__((unused)) static jd_executor_stats stats_of(jd_executor *e)
{
    jd_executor_stats s = JD_EXECUTOR_STATS_INIT;

    cr_assert_eq(jd_executor_get_stats(e, &s), 0);
    return s;
}

__attribute__((unused)) static jd_executor *pool_of(unsigned threads)
{
    jd_executor *e = NULL;

    cr_assert_eq(jd_executor_new(threads, "test", &e), 0);
    return e;
}

/* Everything has ended, and nothing was left to run. */
__attribute__((unused)) static void pool_end(jd_executor *e)
{
    cr_assert_eq(jd_executor_shutdown(e, 0, JD_FOREVER), 0);
    cr_assert_eq(stats_of(e).threads, 0);
    cr_assert_eq(stats_of(e).queued, 0);
    jd_executor_unref(e);
}

#endif /* EXECUTOR_RIG_H */
