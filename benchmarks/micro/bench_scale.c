/* SPDX-License-Identifier: MIT */
/*
 * What a second, third, ... worker brings, through the shared library: fork trees, a flat crowd of
 * small tasks spawned by one task, and independent trees of tasks. One operation is one leaf.
 *
 * Usage: bench_scale [workers to go up to], default: the CPUs of the process.
 * flat is the hard case: one producer, tasks of about half a microsecond, so thieves gain little; it
 * must not get slower than one worker by more than the noise.
 */
#include "measure.h"

#define WORK_ROUNDS 150 /* about half a microsecond */
#define FAN 16

static jd_result work(void *arg)
{
    uint64_t x = (uint64_t)(uintptr_t)arg | 1;

    for (int i = 0; i < WORK_ROUNDS; i++)
        x = x * UINT64_C(6364136223846793005) + 1442695040888963407u;
    __asm__ volatile("" : "+r"(x)); /* the work is done, whoever looks at it */
    return (jd_result){ 0, { .num = (intptr_t)(x >> 33) } };
}

static jd_result fork_tree(void *arg)
{
    intptr_t leaves = (intptr_t)arg;
    jd_fork f;

    if (leaves <= 1)
        return work(arg);
    jd_fork_start(&f, fork_tree, (void *)(leaves / 2));
    (void)fork_tree((void *)(leaves - leaves / 2));
    return jd_fork_join(&f);
}

static void run_forks(long n)
{
    (void)fork_tree((void *)(intptr_t)n);
}

static void run_flat(long n)
{
    enum { BATCH = 256 };
    static jd_task *tasks[BATCH];

    for (long i = 0; i < n; i += BATCH) {
        for (int k = 0; k < BATCH; k++)
            tasks[k] = jd_spawn(work, NULL);
        for (int k = 0; k < BATCH; k++)
            (void)jd_join(tasks[k]);
    }
}

static jd_result task_tree(void *arg)
{
    intptr_t leaves = (intptr_t)arg;
    jd_task *tasks[FAN];

    if (leaves <= 1)
        return work(arg);
    for (int i = 0; i < FAN; i++)
        tasks[i] = jd_spawn(task_tree, (void *)(leaves / FAN));
    for (int i = FAN; i-- > 0;)
        (void)jd_join(tasks[i]);
    return jd_ok(NULL);
}

static void run_tasks(long n)
{
    (void)task_tree((void *)(intptr_t)n);
}

static void run_work(long n)
{
    for (long i = 0; i < n; i++)
        (void)work((void *)i);
}

static jd_result main_task(void *arg)
{
    const struct row rows[] = {
        { "plain calls", run_work, 65536, NULL },
        { "fork tree", run_forks, 65536, NULL },
        { "task tree", run_tasks, 65536, NULL },
        { "flat tasks", run_flat, 65536, NULL },
    };

    measure_rows(ROWS(rows));
    return jd_ok(arg);
}

int main(int argc, char **argv)
{
    unsigned most = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 0;
    int failed = 0;

    if (most == 0) {
        jd_runtime *rt;

        if (jd_runtime_new(NULL, &rt) != 0)
            return 1;
        most = jd_worker_count(rt);
        (void)jd_runtime_free(rt); /* 0: nothing ran */
    }
    for (unsigned workers = 1; workers <= most && !failed; workers *= 2) {
        printf("-- %u worker%s\n", workers, workers > 1 ? "s" : "");
        failed = run_main(main_task, workers);
    }
    return failed;
}
