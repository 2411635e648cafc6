/* SPDX-License-Identifier: MIT */
/*
 * Callbacks, and the order in which they must come. See program.h.
 */
#include <errno.h>

#include "program.h"

struct callback_model *callback_new(struct program *p, enum callback_kind kind)
{
    struct callback_model *c;

    if (p->callback_count == CALLBACKS_MAX)
        return NULL;
    c = &p->callbacks[p->callback_count++];
    *c = (struct callback_model){ .p = p,
                                  .kind = kind,
                                  .giver = (unsigned)jd_worker_index(),
                                  .given_at = model_now(),
                                  .given = true };
    return c;
}

void callback_refused(struct callback_model *c)
{
    FUZZ_CHECK(!c->ran);
    c->given = false;
}

/* Must `a`, which was given first or is due first, run before `c`? */
static bool is_before(const struct callback_model *a, const struct callback_model *c)
{
    if (a->kind != c->kind || a->loop != c->loop || !a->given)
        return false;
    switch (c->kind) {
    case CALLBACK_SOON:
        return a < c && a->giver == c->giver;
    case CALLBACK_DONE:
        return a < c && a->future == c->future;
    case CALLBACK_TIMER:
        return a->giver == a->loop && c->giver == c->loop && a->given_at < a->when &&
               (a->when < c->when || (a->when == c->when && a < c));
    }
    return false;
}

void callback_runs(struct callback_model *c)
{
    struct program *p = c->p;

    FUZZ_CHECK(c->given && !c->ran && !c->prevented);
    c->ran = true;
    FUZZ_CHECK_THAT((unsigned)jd_worker_index() == c->loop, "worker %d, not %u", jd_worker_index(),
                    c->loop);
    FUZZ_CHECK(jd_task_current() == NULL && jd_yield() == -EPERM);
    for (unsigned i = 0; i < p->callback_count; i++) {
        const struct callback_model *a = &p->callbacks[i];

        FUZZ_CHECK_THAT(a == c || a->ran || a->prevented || !is_before(a, c),
                        "callback %u after %u", i, (unsigned)(c - p->callbacks));
    }
}

static void on_call(void *arg)
{
    struct callback_model *c = arg;

    FUZZ_CHECK(c->kind != CALLBACK_TIMER || model_now() >= c->when);
    callback_runs(c);
}

static void check_given(struct callback_model *c, int error)
{
    if (error == 0)
        return;
    FUZZ_CHECK_THAT((error == -ENOMEM && !c->p->quiet) || (error == -ESHUTDOWN && c->p->ending),
                    "%d", error);
    callback_refused(c);
}

void step_call_soon(struct body *b, struct instruction i)
{
    struct callback_model *c = callback_new(b->p, CALLBACK_SOON);

    if (!c)
        return;
    c->loop = i.a % b->p->workers;
    check_given(c, jd_call_soon(jd_runtime_loop(jd_runtime_current(), c->loop), on_call, c,
                                i.b % 2 ? &c->handle : NULL));
    FUZZ_CHECK(!c->ran);
}

void step_call_later(struct body *b, struct instruction i)
{
    struct callback_model *c = callback_new(b->p, CALLBACK_TIMER);
    int64_t before = model_now(), delay = i.b == 255 ? JD_FOREVER : short_time(i.b);

    if (!c)
        return;
    c->loop = i.a % 4 == 0 ? i.a / 4 % b->p->workers : c->giver;
    check_given(c, jd_call_later(jd_runtime_loop(jd_runtime_current(), c->loop), delay, on_call, c,
                                 &c->handle));
    if (!c->given)
        return;
    c->when = jd_handle_when(c->handle);
    FUZZ_CHECK(!c->ran);
    FUZZ_CHECK(delay == JD_FOREVER ? c->when == JD_FOREVER
                                   : c->when >= before + delay && c->when <= model_now() + delay);
}

void step_handle_cancel(struct body *b, struct instruction i)
{
    struct program *p = b->p;
    struct callback_model *cb = p->callback_count ? &p->callbacks[i.a % p->callback_count] : NULL;
    bool wait = i.b % 2;
    struct call c;
    int cancelled;

    if (!cb || !cb->handle)
        return;
    cb->removers++;
    c = call_starts(b);
    cancelled = wait ? jd_handle_cancel_wait(cb->handle) : jd_handle_cancel(cb->handle);
    cb->removers--;
    if (wait)
        call_ends(&c, cancelled);
    if (wait && cancelled == -ECANCELED)
        return;
    FUZZ_CHECK_THAT(cancelled == 0 || cancelled == 1, "%d", cancelled);
    FUZZ_CHECK(!cancelled || (!cb->ran && !cb->prevented));
    FUZZ_CHECK(cancelled || cb->ran || cb->prevented || cb->removers > 0);
    cb->prevented |= cancelled == 1;
    FUZZ_CHECK(jd_handle_cancelled(cb->handle) == cb->prevented || cb->removers > 0);
}

void callbacks_unref(struct program *p)
{
    for (unsigned i = 0; i < p->callback_count; i++) {
        jd_handle_unref(p->callbacks[i].handle);
        p->callbacks[i].handle = NULL;
    }
}

/* The runtime's end drops what is left; when main waited, nothing is. */
void callbacks_check_end(struct program *p)
{
    for (unsigned i = 0; p->wait && i < p->callback_count; i++) {
        const struct callback_model *c = &p->callbacks[i];

        if (c->given && c->when != JD_FOREVER)
            FUZZ_CHECK_THAT(c->ran != c->prevented, "callback %u: %d, %d", i, c->ran, c->prevented);
    }
}
