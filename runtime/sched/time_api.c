/* SPDX-License-Identifier: MIT */
/*
 * Sleeping.
 */
#include <errno.h>

#include "base/clock.h"
#include "sched/choice.h"
#include "sched/wait.h"

int64_t jd_now(void)
{
    choice(CHOICE_CALL); /* so that others go on beside a task that watches the clock */
    return clock_now();
}

int jd_sleep_until(int64_t when)
{
    struct jd_task *task;
    struct wait w;
    unsigned cause;
    int err = call_begin(WAIT_CANCELLABLE, &task);

    if (err)
        return err;
    if (when != CLOCK_FOREVER && when <= clock_now()) {
        sched_give_way(worker_current());
        return 0;
    }
    err = wait_open(&w, task, WAIT_CANCELLABLE);
    if (err)
        return err;
    cause = wait_sleep(&w, when);
    wait_close(&w);
    return cause == CAUSE_TIMED_OUT ? 0 : wait_error(&w, cause);
}

int jd_sleep(int64_t d)
{
    return d <= 0 ? jd_yield() : jd_sleep_until(clock_after(clock_now(), d));
}
