/* SPDX-License-Identifier: MIT */
/*
 * Recorder, sink, crews and runtimes of the contract tests: see contract.h.
 */
#include "contract.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "jd_test.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char text[8192];                /* guarded by lock */
static struct sink_report reports[64]; /* guarded by lock */
static unsigned report_count;          /* guarded by lock */

void rec(const char *word)
{
    size_t len;

    pthread_mutex_lock(&lock);
    len = strlen(text);
    snprintf(text + len, sizeof(text) - len, "%s%s", len ? " " : "", word);
    pthread_mutex_unlock(&lock);
}

void rec_num(const char *word, long number)
{
    char both[64];

    snprintf(both, sizeof(both), "%s%ld", word, number);
    rec(both);
}

const char *rec_text(void)
{
    return text;
}

void rec_clear(void)
{
    pthread_mutex_lock(&lock);
    text[0] = '\0';
    pthread_mutex_unlock(&lock);
}

void rec_callback(void *word)
{
    rec(word);
}

void rec_done(jd_future *f, void *word)
{
    (void)f;
    rec(word);
}

jd_result rec_coro(void *word)
{
    rec(word);
    return jd_ok(NULL);
}

static void sink(const jd_report *r, void *arg)
{
    (void)arg;
    pthread_mutex_lock(&lock);
    if (report_count < sizeof(reports) / sizeof(reports[0])) {
        struct sink_report *to = &reports[report_count++];

        to->kind = r->kind;
        to->error = r->error;
        to->task_id = r->task ? jd_task_id(r->task) : 0;
        snprintf(to->message, sizeof(to->message), "%s", r->message);
    }
    pthread_mutex_unlock(&lock);
}

void sink_install(jd_runtime *rt)
{
    jd_set_error_handler(rt ? rt : jd_runtime_current(), sink, NULL);
}

unsigned sink_count(unsigned kind)
{
    unsigned count = 0;

    pthread_mutex_lock(&lock);
    for (unsigned i = 0; i < report_count; i++)
        count += reports[i].kind == kind;
    pthread_mutex_unlock(&lock);
    return count;
}

struct sink_report sink_last(void)
{
    struct sink_report last = { 0 };

    pthread_mutex_lock(&lock);
    if (report_count > 0)
        last = reports[report_count - 1];
    pthread_mutex_unlock(&lock);
    return last;
}

static void *crew_main(void *arg)
{
    struct crew_member *self = arg;

    pthread_barrier_wait(&self->crew->barrier);
    self->crew->fn(self->index, self->crew->arg);
    return NULL;
}

void crew_start(struct crew *c, unsigned count, void (*fn)(unsigned index, void *arg), void *arg)
{
    cr_assert_leq(count, CREW_MAX);
    c->count = count;
    c->fn = fn;
    c->arg = arg;
    cr_assert_eq(pthread_barrier_init(&c->barrier, NULL, count), 0);
    for (unsigned i = 0; i < count; i++) {
        c->members[i] = (struct crew_member){ c, i };
        cr_assert_eq(pthread_create(&c->threads[i], NULL, crew_main, &c->members[i]), 0);
    }
}

void crew_join(struct crew *c)
{
    for (unsigned i = 0; i < c->count; i++)
        cr_assert_eq(pthread_join(c->threads[i], NULL), 0);
    pthread_barrier_destroy(&c->barrier);
}

void gate_open(sem_t *gate)
{
    cr_assert_eq(sem_post(gate), 0);
}

void gate_pass(sem_t *gate)
{
    int err;

    do { /* bounded by the test's time limit */
        err = sem_wait(gate);
    } while (err && errno == EINTR);
    cr_assert_eq(err, 0);
}

static unsigned reactor_wanted(void)
{
    const char *name = getenv("JACKDAW_REACTOR");

    if (name && !strcmp(name, "epoll"))
        return JD_REACTOR_EPOLL;
    if (name && !strcmp(name, "uring"))
        return JD_REACTOR_URING;
    return JD_REACTOR_AUTO;
}

jd_config config_of(unsigned workers, unsigned flags)
{
    jd_config cfg = JD_CONFIG_INIT;

    cfg.workers = workers;
    cfg.flags = flags | JD_NO_ENV;
    cfg.reactor = reactor_wanted();
    return cfg;
}

jd_result run_fifo(jd_fn fn, void *arg)
{
    jd_config cfg = config_of(1, JD_FIFO);

    return jd_run(fn, arg, &cfg);
}

jd_result run_workers(unsigned workers, jd_fn fn, void *arg)
{
    jd_config cfg = config_of(workers, 0);

    return jd_run(fn, arg, &cfg);
}

jd_runtime *runtime_of(unsigned workers, unsigned flags)
{
    jd_config cfg = config_of(workers, flags);
    jd_runtime *rt = NULL;

    cr_assert_eq(jd_runtime_new(&cfg, &rt), 0);
    cr_assert_not_null(rt);
    return rt;
}

void runtime_end(jd_runtime *rt)
{
    int err;

    if (jd_runtime_is_running(rt))
        jd_stop(rt);
    err = jd_runtime_free(rt);
    cr_assert_eq(err, 0, "jd_runtime_free: %d", err);
}

jd_result sleep_forever(void *arg)
{
    (void)arg;
    return jd_err(jd_sleep(JD_FOREVER));
}

jd_result return_arg(void *arg)
{
    return jd_ok(arg);
}

jd_result fail_with(void *negative)
{
    return jd_err((intptr_t)negative);
}

void yields(unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        cr_assert_eq(jd_yield(), 0);
}

void yield_until(atomic_int *flag)
{
    while (!atomic_load(flag)) /* bounded by the test's time limit */
        cr_assert_eq(jd_yield(), 0);
}
