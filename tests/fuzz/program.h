/* SPDX-License-Identifier: MIT */
#ifndef FUZZ_PROGRAM_H
#define FUZZ_PROGRAM_H

/*
 * Random programs over the API, checked against a naive model: what fuzz_program.c runs.
 *
 * A program is a list of functions, a function a list of instructions of three bytes. An instruction
 * is one call of the API, or a block: what follows it, up to its end, runs inside a scope, a group,
 * with permits held. A function starts later ones only, so every program ends.
 *
 * A body is one run of a function: a task, a fork, or a call in another body's frame. Beside what it
 * does for real it keeps the model: who may be cancelled by now and who must be, who holds which
 * permits, what has ended with which result. After each call the two are compared.
 *
 * I1  In a simulation nothing runs between two lines of a body but what a call in between lets run,
 *     so the model is plain data. Calls that never suspend happen at one moment; the others some time
 *     between their begin and their end, and the checks know no more than that.
 * I2  A wait without an end of its own has one after LONG, so that no program can lock up for good,
 *     and a wake-up that is lost shows: what a body waited for must reach it within SOON.
 */
#include "fuzz.h"

#define FUNCTIONS_MAX 8u
#define BODIES_MAX 64u
#define CALLBACKS_MAX 64u
#define SLOTS 4u
#define NEST_MAX 4u
#define STEPS_MAX 3000u
#define SEMS 3u
#define FUTURES 3u
#define LONG JD_SEC(1000)
#define SOON JD_SEC(1)

struct body;
struct program;

/* A scope of the model. */
struct limit {
    struct limit *outer;
    struct body *root_of; /* the outermost scope of a body; else NULL */
    jd_scope *scope;      /* to cancel it; or */
    jd_group *group;
    int64_t earliest, latest; /* its deadline: the library read the clock in between */
    unsigned may, must;       /* cancels that were begun; that are in force */
    bool shield;
    bool blamed; /* a call failed, and nothing else can have been the cause */
};

struct group_model {
    struct group_model *outer;
    jd_group group;
    struct limit limit;
    unsigned flags;
    unsigned started, ended, failed, won;
    int first_error;
    intptr_t first_win;
};

struct body {
    struct program *p;
    const uint8_t *at, *end; /* instructions left */
    unsigned function, nest;
    bool is_task; /* of its own: no fork, no call in a frame */
    bool leaving; /* the function returns */
    struct limit root, *limit;
    struct body *owner; /* waits for this body in a call that passes a cancel on */
    struct group_model *groups, *member_of;
    jd_task *slots[SLOTS];
    struct body *slot_bodies[SLOTS];
    jd_result result;
    bool started, ended;
    int64_t ended_at;
};

struct acquiring {
    struct acquiring *next;
    struct body *b;
    unsigned k;
    int best; /* the most permits that this one could have had */
};

struct sem_model {
    jd_sem sem;
    bool bounded;
    int total, extra; /* in all; of these, released beyond what it was made with */
    int held;         /* by calls that have returned */
    unsigned events;
    int64_t changed_at;
    struct acquiring *first; /* in the order of their calls */
};

struct future_model {
    jd_future *future;
    bool done, cancelled;
    jd_result result;
    int64_t done_at;
};

enum callback_kind { CALLBACK_SOON, CALLBACK_TIMER, CALLBACK_DONE };

struct callback_model {
    struct program *p;
    enum callback_kind kind;
    unsigned loop, giver;        /* workers; timers: own_loop is told by giver == loop */
    int64_t when, given_at;      /* timers */
    struct future_model *future; /* done callbacks */
    jd_handle *handle;
    unsigned removers; /* in the call that removes it */
    bool given, ran, prevented;
};

struct program {
    struct function {
        const uint8_t *at, *end;
    } functions[FUNCTIONS_MAX];
    unsigned function_count;
    unsigned workers;
    bool quiet;  /* nothing fails by a fault */
    bool wait;   /* main waits for all others */
    bool ending; /* main has returned: the runtime cancels the rest */
    bool traced;
    unsigned steps, running, body_count, callback_count;
    struct body bodies[BODIES_MAX];
    struct sem_model sems[SEMS];
    struct future_model futures[FUTURES];
    struct callback_model callbacks[CALLBACKS_MAX];
};

struct instruction {
    uint8_t code, a, b;
};

typedef void (*operation_fn)(struct body *b, struct instruction i);

/* program.c: bodies */
void program_init(struct program *p, struct fuzz_input *in);
jd_result program_main(void *program);
void program_check_end(struct program *p);
/* A body for a later function, under `outer`; NULL: there is none. body_drop(): it did not run. */
struct body *body_new(struct body *b, uint8_t which, struct limit *outer);
void body_drop(struct body *child);
jd_result body_run(void *body);
void body_block(struct body *b); /* what follows, up to the end of the block */
/* The result of a body that has ended is what was told. */
void body_check_result(const struct body *child, jd_result r);
void check_soon(int64_t since, int64_t began);

/* The time, but unlike jd_now() nothing happens at it. */
int64_t model_now(void);
/* Durations that a byte stands for. */
int64_t short_time(uint8_t x);                      /* up to some ms, often none */
int64_t wait_time(const struct body *b, uint8_t x); /* ends some day */

/* program_limit.c: the model of cancels */
void limit_open(struct body *b, struct limit *l, int64_t before, int64_t timeout);
void limit_close(struct body *b, struct limit *l);
bool may_be_cancelled(const struct body *b);
bool must_be_cancelled(const struct body *b);
bool limit_may_be_cancelled(const struct limit *l);

/* Around a call that a cancel ends. */
struct call {
    struct body *b;
    bool must;
    int64_t began;
};
struct call call_starts(struct body *b);
/* `error` is the call's own, and -ECANCELED in it means a cancel of the caller. */
void call_ends(const struct call *c, int error);

/* The instructions, by file. */
void step_yield(struct body *b, struct instruction i);
void step_sleep(struct body *b, struct instruction i);
void step_checkpoint(struct body *b, struct instruction i);
void step_scope(struct body *b, struct instruction i);
void step_shield(struct body *b, struct instruction i);
void step_scope_cancel(struct body *b, struct instruction i);
void step_set_deadline(struct body *b, struct instruction i);
void step_cancel_self(struct body *b, struct instruction i);

void step_spawn(struct body *b, struct instruction i);
void step_join(struct body *b, struct instruction i);
void step_await(struct body *b, struct instruction i);
void step_cancel(struct body *b, struct instruction i);
void step_cancel_wait(struct body *b, struct instruction i);
void step_drop(struct body *b, struct instruction i);
void step_fork(struct body *b, struct instruction i);
void step_call(struct body *b, struct instruction i);

void step_group(struct body *b, struct instruction i);
void step_group_spawn(struct body *b, struct instruction i);
void step_group_cancel(struct body *b, struct instruction i);
void group_member_ends(struct group_model *g, jd_result r);
void step_gather(struct body *b, struct instruction i);
void step_wait(struct body *b, struct instruction i);
void step_wait_for(struct body *b, struct instruction i);
void step_wait_for_task(struct body *b, struct instruction i);

void step_acquire(struct body *b, struct instruction i);
void step_try_acquire(struct body *b, struct instruction i);
void step_resize(struct body *b, struct instruction i);
void step_donate(struct body *b, struct instruction i);
void step_value(struct body *b, struct instruction i);
void sems_init(struct program *p, struct fuzz_input *in);
void sems_check_end(struct program *p);

void step_future_set(struct body *b, struct instruction i);
void step_future_wait(struct body *b, struct instruction i);
void step_future_callback(struct body *b, struct instruction i);
void step_future_forget(struct body *b, struct instruction i);
bool futures_init(struct program *p);
void futures_settle(struct program *p);
void futures_unref(struct program *p);

void step_call_soon(struct body *b, struct instruction i);
void step_call_later(struct body *b, struct instruction i);
void step_handle_cancel(struct body *b, struct instruction i);
struct callback_model *callback_new(struct program *p, enum callback_kind kind);
void callback_refused(struct callback_model *c);
void callback_runs(struct callback_model *c);
void callbacks_unref(struct program *p);
void callbacks_check_end(struct program *p);

void step_batch(struct body *b, struct instruction i);
void step_map(struct body *b, struct instruction i);
void step_stream(struct body *b, struct instruction i);
void step_serve(struct body *b, struct instruction i);

#endif /* FUZZ_PROGRAM_H */
