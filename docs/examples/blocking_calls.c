/* SPDX-License-Identifier: MIT */
/*
 * Code that blocks, called from tasks: the C library's own file calls, a search that takes long, and
 * a library that may be used by one thread at a time.
 */
#include <jackdaw/jackdaw.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* --- Blocking functions: ordinary C, on a thread of a pool ----------------------------------- */

/* fopen and fgets block: fine here, and never on a worker. */
static jd_result count_lines(void *arg)
{
    char line[1024];
    FILE *file = fopen(arg, "r");
    long lines = 0;

    if (!file)
        return jd_err(-ENOENT);
    while (fgets(line, sizeof(line), file))
        lines += strchr(line, '\n') != NULL;
    fclose(file);
    return jd_ok_num(lines);
}

/* Takes for ever, unless somebody tells it to stop. */
static jd_result search(void *arg)
{
    unsigned long *tried = arg;

    while (!jd_thread_cancelled())
        ++*tried;
    return jd_err(-ECANCELED);
}

/* A library with one global state. */
static int ledger;

static jd_result book(void *arg)
{
    ledger += *(int *)arg; /* no lock: its pool has one thread */
    return jd_ok_num(ledger);
}

/* --- Tasks -------------------------------------------------------------------------------------- */

static int wait_for_a_file(void)
{
    char path[] = "/proc/self/status";
    jd_result r = jd_to_thread(count_lines, path); /* path is on our stack: it waits to the end */

    if (r.error)
        return r.error;
    printf("%s has lines: %s\n", path, r.num > 10 ? "many" : "few");
    return 0;
}

static int stop_a_search(void)
{
    unsigned long tried = 0;
    jd_result r;
    jd_scope limit;

    jd_scope_open(&limit, JD_MS(20));
    r = jd_to_thread(search, &tried);
    if (jd_scope_close_with(&limit, r.error) != -ETIMEDOUT)
        return -EPROTO;
    printf("the search was told to stop, and did\n");
    return 0;
}

static int one_at_a_time(void)
{
    int amounts[] = { 5, -2, 4 };
    jd_executor *one;
    jd_future *booked[3];
    int error = jd_executor_new(1, "ledger", &one);

    for (int i = 0; i < 3 && !error; i++)
        error = jd_executor_submit(one, book, &amounts[i], &booked[i]); /* we go on meanwhile */
    if (error)
        return error;
    for (int i = 0; i < 3; i++) {
        jd_result r = jd_await(booked[i]);

        printf("balance %ld\n", (long)r.num);
        jd_future_unref(booked[i]);
    }
    error = jd_executor_shutdown(one, 0, JD_FOREVER);
    jd_executor_unref(one);
    return error;
}

static jd_result main_task(void *arg)
{
    int error = wait_for_a_file();

    if (!error)
        error = stop_a_search();
    if (!error)
        error = one_at_a_time();
    return error ? jd_err(error) : jd_ok(arg);
}

int main(void)
{
    jd_result r = jd_run(main_task, NULL, NULL);

    if (r.error)
        fprintf(stderr, "blocking_calls: %s\n", jd_strerror(r.error));
    return r.error != 0;
}
