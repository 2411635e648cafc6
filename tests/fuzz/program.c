/* SPDX-License-Identifier: MIT */
/*
 * Programs and bodies: decoding, running, the end. See program.h.
 */
#include "program.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "sim/sim.h"

#define END_BLOCK 0u
#define RETURN 1u
#define NEXT_FUNCTION 255u

static const struct operation {
    const char *name;
    operation_fn run;
} operations[] = {
    { "end", NULL },
    { "return", NULL },
    { "yield", step_yield },
    { "sleep", step_sleep },
    { "checkpoint", step_checkpoint },
    { "scope", step_scope },
    { "shield", step_shield },
    { "scope_cancel", step_scope_cancel },
    { "set_deadline", step_set_deadline },
    { "cancel_self", step_cancel_self },
    { "spawn", step_spawn },
    { "spawn", step_spawn },
    { "join", step_join },
    { "await", step_await },
    { "cancel", step_cancel },
    { "cancel_wait", step_cancel_wait },
    { "drop", step_drop },
    { "fork", step_fork },
    { "call", step_call },
    { "group", step_group },
    { "group_spawn", step_group_spawn },
    { "group_spawn", step_group_spawn },
    { "group_cancel", step_group_cancel },
    { "gather", step_gather },
    { "wait", step_wait },
    { "wait_for", step_wait_for },
    { "wait_for_task", step_wait_for_task },
    { "acquire", step_acquire },
    { "acquire", step_acquire },
    { "try_acquire", step_try_acquire },
    { "resize", step_resize },
    { "donate", step_donate },
    { "value", step_value },
    { "future_set", step_future_set },
    { "future_wait", step_future_wait },
    { "future_callback", step_future_callback },
    { "future_forget", step_future_forget },
    { "call_soon", step_call_soon },
    { "call_later", step_call_later },
    { "handle_cancel", step_handle_cancel },
    { "batch", step_batch },
    { "map", step_map },
    { "stream", step_stream },
    { "serve", step_serve },
};

#define OPERATIONS (sizeof(operations) / sizeof(operations[0]))

/* --- Time ------------------------------------------------------------------------------------- */

int64_t model_now(void)
{
    return sim_current()->now;
}

int64_t short_time(uint8_t x)
{
    switch (x % 4) {
    case 0:
        return 0;
    case 1:
        return JD_US(10) * (x / 4);
    case 2:
        return JD_MS(1) * (x / 4);
    default:
        return 100 * (x / 4);
    }
}

/* JD_FOREVER where a deadline ends it. */
int64_t wait_time(const struct body *b, uint8_t x)
{
    if (x % 4 != 0)
        return short_time(x);
    (void)b;
    return x % 8 == 0 && jd_deadline() != JD_FOREVER ? JD_FOREVER : LONG;
}

void check_soon(int64_t since, int64_t began)
{
    int64_t from = since > began ? since : began;

    FUZZ_CHECK_THAT(model_now() - from <= SOON, "%ld ns late", (long)(model_now() - from));
}

/* --- Decoding --------------------------------------------------------------------------------- */

/* Instructions up to each marker; the last function has the rest. */
static void find_functions(struct program *p, const struct fuzz_input *in)
{
    const uint8_t *at = in->at;

    p->function_count = 1;
    p->functions[0] = (struct function){ at, at };
    for (; in->end - at >= 3; at += 3) {
        struct function *f = &p->functions[p->function_count - 1];

        if (at[0] == NEXT_FUNCTION && p->function_count < FUNCTIONS_MAX)
            p->functions[p->function_count++] = (struct function){ at + 3, at + 3 };
        else
            f->end = at + 3;
    }
}

static bool next_instruction(struct body *b, struct instruction *ret)
{
    if (b->leaving || b->p->steps++ > STEPS_MAX || b->at == b->end)
        return false;
    *ret = (struct instruction){ b->at[0], b->at[1], b->at[2] };
    b->at += 3;
    return true;
}

static void trace(const struct body *b, const char *what, struct instruction i)
{
    if (b->p->traced)
        fprintf(stderr, "%12ld w%d body %ld (function %u)%*s %s %u %u\n", (long)model_now(),
                jd_worker_index(), (long)(b - b->p->bodies), b->function, 2 * (int)b->nest, "",
                what, i.a, i.b);
}

/* --- Bodies ----------------------------------------------------------------------------------- */

struct body *body_new(struct body *b, uint8_t which, struct limit *outer)
{
    struct program *p = b->p;
    unsigned later = p->function_count - 1 - b->function;
    struct body *child;

    if (later == 0 || p->body_count == BODIES_MAX)
        return NULL;
    child = &p->bodies[p->body_count++];
    memset(child, 0, sizeof(*child));
    child->p = p;
    child->function = b->function + 1 + which % later;
    child->at = p->functions[child->function].at;
    child->end = p->functions[child->function].end;
    child->root = (struct limit){
        .outer = outer, .root_of = child, .earliest = JD_FOREVER, .latest = JD_FOREVER
    };
    child->limit = &child->root;
    p->running++;
    return child;
}

void body_drop(struct body *child)
{
    FUZZ_CHECK(!child->started);
    child->p->running--;
}

/* The body's tasks go on without it, or are joined. */
static void leave_tasks(struct body *b)
{
    for (unsigned i = 0; i < SLOTS; i++) {
        if (b->result.error || i % 2)
            step_join(b, (struct instruction){ 0, (uint8_t)i, 0 });
        else
            step_drop(b, (struct instruction){ 0, (uint8_t)i, 0 });
    }
}

static void body_ends(struct body *b)
{
    struct program *p = b->p;

    FUZZ_CHECK(b->limit == &b->root && b->nest == 0 && !b->ended);
    b->ended_at = model_now();
    b->ended = true;
    if (b->member_of)
        group_member_ends(b->member_of, b->result);
    if (--p->running > 0)
        return;
    futures_unref(p);
    callbacks_unref(p);
}

static void function_run(struct body *b)
{
    while (!b->leaving && b->at < b->end && b->p->steps <= STEPS_MAX)
        body_block(b); /* an end outside of a block is none */
    leave_tasks(b);
}

jd_result body_run(void *arg)
{
    struct body *b = arg;

    FUZZ_CHECK(!b->started);
    b->started = true;
    if (b->is_task)
        FUZZ_CHECK(jd_task_coro(jd_task_current()).arg == b);
    function_run(b);
    trace(b, "ends", (struct instruction){ 0, 0, 0 });
    body_ends(b);
    return b->result;
}

void body_check_result(const struct body *child, jd_result r)
{
    FUZZ_CHECK(child->ended);
    FUZZ_CHECK_THAT(r.error == child->result.error, "%d, not %d", r.error, child->result.error);
    FUZZ_CHECK_THAT(r.error || r.num == child->result.num, "%ld, not %ld", (long)r.num,
                    (long)child->result.num);
}

static jd_result result_of(struct instruction i)
{
    static const int errors[] = { -EIO, -EBADMSG, -ECANCELED, -ETIMEDOUT };

    return i.a % 2 ? jd_err(errors[i.b % 4]) : jd_ok_num(i.b);
}

void body_block(struct body *b)
{
    struct instruction i;

    b->nest++;
    while (next_instruction(b, &i)) {
        const struct operation *o = &operations[i.code % OPERATIONS];

        trace(b, o->name, i);
        if (o == &operations[END_BLOCK])
            break;
        if (o == &operations[RETURN]) {
            b->result = result_of(i);
            b->leaving = true;
        } else {
            o->run(b, i);
        }
    }
    b->nest--;
}

/* --- The program ------------------------------------------------------------------------------ */

static void ignore_report(const jd_report *r, void *arg)
{
    (void)arg;
    FUZZ_CHECK_THAT(r->kind == JD_REPORT_UNHANDLED, "%s", r->message);
}

void program_init(struct program *p, struct fuzz_input *in)
{
    memset(p, 0, sizeof(*p));
    sems_init(p, in);
    find_functions(p, in);
    p->traced = fuzz_is_traced();
}

/* Ends that come by themselves are waited for; where main is cancelled, the runtime sees to it. */
static void wait_for_all(struct program *p)
{
    while (p->running > 1 && jd_sleep(JD_SEC(10)) == 0) /* bounded: waits end after LONG */
        ;
    (void)jd_sleep(JD_SEC(1)); /* callbacks and timers */
}

jd_result program_main(void *arg)
{
    struct program *p = arg;
    struct body *b = &p->bodies[0];

    jd_set_error_handler(NULL, ignore_report, NULL);
    if (!futures_init(p))
        return jd_err(-ENOMEM);
    p->body_count = p->running = 1;
    *b = (struct body){ .p = p, .at = p->functions[0].at, .end = p->functions[0].end };
    b->root = (struct limit){ .root_of = b, .earliest = JD_FOREVER, .latest = JD_FOREVER };
    b->limit = &b->root;
    b->started = true;
    function_run(b);
    futures_settle(p);
    if (p->wait)
        wait_for_all(p);
    p->ending = true;
    body_ends(b);
    return jd_ok(NULL);
}

void program_check_end(struct program *p)
{
    for (unsigned i = 0; i < p->body_count; i++)
        FUZZ_CHECK_THAT(p->bodies[i].started == p->bodies[i].ended, "body %u", i);
    FUZZ_CHECK_THAT(p->running == 0, "%u", p->running);
    sems_check_end(p);
    callbacks_check_end(p);
}
