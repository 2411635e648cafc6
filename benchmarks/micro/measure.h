/* SPDX-License-Identifier: MIT */
#ifndef BENCH_MEASURE_H
#define BENCH_MEASURE_H

/*
 * How the micro benchmarks of the public calls measure and print: through the shared library, as a
 * user would, in a task of a runtime with one worker unless the row says otherwise.
 *
 * A row is RUNS runs of n operations, each shorter than a millisecond or so, that some meet no other
 * load: n, the median and the least nanoseconds of one operation, and the least one's ratio to a plain function call and to a locked read-modify-write of this machine.
 * The goals are for a machine where the latter takes 4.7 ns. On a busy machine look at min.
 * BENCH_OPS in the environment replaces n (for instruction counts under callgrind: few), and
 * BENCH_ROW runs only the rows whose name begins with it.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jackdaw/jackdaw.h>

enum { RUNS = 401 };

struct row {
    const char *name;
    void (*run)(long n); /* does n operations */
    long n;
    void (*prepare)(long n); /* before each run, not timed; or NULL */
};

static __attribute__((noinline, unused)) jd_result plain_call(void *arg)
{
    __asm__ volatile("" ::: "memory");
    return (jd_result){ 0, { arg } };
}

static inline void run_plain_calls(long n)
{
    for (long i = 0; i < n; i++)
        (void)plain_call(NULL);
}

static inline void run_locked(long n)
{
    static _Atomic long word;

    for (long i = 0; i < n; i++)
        (void)atomic_fetch_add(&word, 1);
}

static inline int compare_ns(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static inline long ops_of(const struct row *row)
{
    const char *text = getenv("BENCH_OPS");

    return text ? strtol(text, NULL, 10) : row->n;
}

static inline void time_runs(const struct row *row, double *ns)
{
    long n = ops_of(row);

    for (int i = 0; i < RUNS; i++) {
        int64_t start;

        if (row->prepare)
            row->prepare(n);
        start = jd_now();
        row->run(n);
        ns[i] = (double)(jd_now() - start) / (double)n;
    }
    qsort(ns, RUNS, sizeof(ns[0]), compare_ns);
}

static inline double least_ns(void (*run)(long n))
{
    static double ns[RUNS];

    time_runs(&(struct row){ .name = "", .run = run, .n = 50000 }, ns);
    return ns[0];
}

static inline void measure_rows(const struct row *rows, size_t count)
{
    const char *only = getenv("BENCH_ROW");
    double call = least_ns(run_plain_calls), locked = least_ns(run_locked);

    printf("%-34s call %.2f ns, locked read-modify-write %.2f ns\n", "", call, locked);
    for (size_t i = 0; i < count; i++) {
        static double ns[RUNS]; /* static: too much for a task's frame */

        if (only && strncmp(rows[i].name, only, strlen(only)) != 0)
            continue;
        time_runs(&rows[i], ns);
        printf("%-34s n %8ld  median %8.2f  min %8.2f ns  %6.1f calls  %5.1f rmw\n", rows[i].name,
               ops_of(&rows[i]), ns[RUNS / 2], ns[0], ns[0] / call, ns[0] / locked);
    }
}

static inline int run_main(jd_fn fn, unsigned workers)
{
    jd_config cfg = JD_CONFIG_INIT;
    jd_result r;

    cfg.workers = workers;
    r = jd_run(fn, NULL, &cfg);
    if (r.error)
        fprintf(stderr, "%s\n", jd_strerror(r.error));
    return r.error != 0;
}

#define ROWS(array) (array), sizeof(array) / sizeof((array)[0])

#endif /* BENCH_MEASURE_H */
