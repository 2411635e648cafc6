/* SPDX-License-Identifier: MIT */
#ifndef GROUP_RIG_H
#define GROUP_RIG_H

/*
 * What the tests of this folder share: a runtime for one function, and small members. One worker
 * runs in conformance order, so "yield until" is bounded; more workers are for races.
 */
#include <errno.h>
#include <jackdaw/jackdaw.h>
#include <stdatomic.h>

#include "jd_test.h"
#include "task/task.h"

static inline void rig_run(unsigned workers, jd_fn fn)
{
    jd_config cfg = JD_CONFIG_INIT;
    jd_result r;

    cfg.workers = workers;
    cfg.flags = JD_NO_ENV | JD_NO_SIGNALS | (workers == 1 ? JD_FIFO : 0u);
    r = jd_run(fn, NULL, &cfg);
    cr_assert(r.error == 0 && r.num == 42, "the body came to its end: error %d", r.error);
}

/* What a body returns at its end, so that one that never ran is seen. */
#define RIG_DONE jd_ok_num(42)

static inline jd_result rig_sleep_for_ever(void *arg)
{
    (void)arg;
    return jd_err(jd_sleep(JD_FOREVER));
}

static inline jd_result rig_fail(void *arg)
{
    return jd_err((int)(intptr_t)arg);
}

/* Yields arg times, returns arg. */
static inline jd_result rig_yields(void *arg)
{
    for (intptr_t i = 0; i < (intptr_t)arg; i++)
        if (jd_yield())
            return jd_err(-ECANCELED);
    return jd_ok(arg);
}

/* Swallows a cancel and returns a value. */
static inline jd_result rig_stubborn(void *arg)
{
    (void)jd_sleep(JD_FOREVER);
    return jd_ok(arg);
}

/* Ends with this error when it is cancelled. */
static inline jd_result rig_unwind_error(void *arg)
{
    return jd_sleep(JD_FOREVER) == -ECANCELED ? jd_err((int)(intptr_t)arg) : jd_ok(NULL);
}

static inline void *rig_num(intptr_t num)
{
    return (void *)num;
}

/* Lets the others run until the flag is up; the caller must not be cancelled. */
static inline void rig_until(atomic_int *flag, int value)
{
    while (atomic_load(flag) < value)
        cr_assert_eq(jd_yield(), 0);
}

/*
 * Lets the others run until the task sleeps in a wait that has not ended. The caller holds a
 * handle, and knows which wait it can be by what the task did before.
 */
static inline void rig_until_parked(jd_task *t)
{
    while (word_run(atom_load(&t->target.word.bits, acquire)) != WORD_PARKED)
        cr_assert_eq(jd_yield(), 0);
}

#endif /* GROUP_RIG_H */
