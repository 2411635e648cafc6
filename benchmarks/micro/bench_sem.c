/* SPDX-License-Identifier: MIT */
/*
 * A semaphore that nobody contends, through the shared library: two atomic read-modify-writes.
 * Goal: at most 15 ns for acquire + release.
 */
#include "measure.h"

static jd_sem sem = JD_SEM_INIT(4);

static void run_pair(long n)
{
    for (long i = 0; i < n; i++) {
        (void)jd_sem_acquire(&sem);
        (void)jd_sem_release(&sem);
    }
}

static void run_try(long n)
{
    for (long i = 0; i < n; i++) {
        (void)jd_sem_try_acquire(&sem);
        (void)jd_sem_release(&sem);
    }
}

static jd_result main_task(void *arg)
{
    const struct row rows[] = {
        { "acquire+release", run_pair, 20000, NULL },
        { "try_acquire+release", run_try, 20000, NULL },
    };

    measure_rows(ROWS(rows));
    return jd_ok(arg);
}

int main(void)
{
    return run_main(main_task, 1);
}
