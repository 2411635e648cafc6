/* SPDX-License-Identifier: MIT */
#ifndef CONTRACT_H
#define CONTRACT_H

/*
 * What the contract tests share: a recorder of events, a sink of error reports, plain threads that
 * start together, and runtimes of a fixed shape.
 *
 * I1  One test is one process, so the recorder and the sink are globals.
 * I2  Nothing here sleeps: threads meet at gates, tasks at futures.
 */
#include <jackdaw/jackdaw.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* A literal as the argument of a callback. */
#define WORD(literal) ((void *)(uintptr_t)(literal))

/* Events, each a word; the text is the words in order with one blank between. Any thread. */
void rec(const char *word);
void rec_num(const char *word, long number);
const char *rec_text(void);
void rec_clear(void);
/* A callback and a done callback that record their argument, and a coroutine function, too. */
void rec_callback(void *word);
void rec_done(jd_future *f, void *word);
jd_result rec_coro(void *word);

/* Error reports. */
struct sink_report {
    unsigned kind;
    int error;
    uint64_t task_id;
    char message[200];
};
void sink_install(jd_runtime *rt); /* NULL: the caller's */
unsigned sink_count(unsigned kind);
struct sink_report sink_last(void); /* kind 0 and an empty message when there was none */

/* Plain threads: all of them pass a barrier before the first one calls fn. */
#define CREW_MAX 16
struct crew {
    pthread_t threads[CREW_MAX];
    struct crew_member {
        struct crew *crew;
        unsigned index;
    } members[CREW_MAX];
    pthread_barrier_t barrier;
    unsigned count;
    void (*fn)(unsigned index, void *arg);
    void *arg;
};
void crew_start(struct crew *c, unsigned count, void (*fn)(unsigned index, void *arg), void *arg);
void crew_join(struct crew *c);

/* A gate that plain threads and callbacks wait at. */
void gate_open(sem_t *gate);
void gate_pass(sem_t *gate);

/* JACKDAW_REACTOR chooses the reactor; the rest of the environment has no say. */
jd_config config_of(unsigned workers, unsigned flags);
jd_result run_fifo(jd_fn fn, void *arg); /* one worker, conformance order */
jd_result run_workers(unsigned workers, jd_fn fn, void *arg);
jd_runtime *runtime_of(unsigned workers, unsigned flags);
void runtime_end(jd_runtime *rt); /* stops a started one, frees, asserts success */

jd_result sleep_forever(void *arg);  /* a coroutine function: until cancelled, then that error */
jd_result return_arg(void *arg);     /* jd_ok(arg) */
jd_result fail_with(void *negative); /* jd_err((intptr_t)negative) */
void yields(unsigned n);             /* n jd_yield()s that must succeed */
/* The caller yields until *flag is not 0. */
void yield_until(atomic_int *flag);

#endif /* CONTRACT_H */
