/* SPDX-License-Identifier: MIT */
#include "chaos.h"

#include <errno.h>
#include <string.h>

#define ACTIONS 4
#define DEPTH 4

#define PROMISE(b, condition) \
    do { \
        if (!(condition) && (b)->chaos->wrong == 0) \
            (b)->chaos->wrong = __LINE__; \
    } while (0)

static jd_result body_run(void *arg);

static uint32_t pick(struct chaos_body *b, uint32_t n)
{
    return rng_below(&b->rng, n);
}

/* Mostly short, sometimes none, rarely long. */
static int64_t some_time(struct chaos_body *b)
{
    switch (pick(b, 8)) {
    case 0:
        return 0;
    case 1:
        return JD_MS(1) * pick(b, 20);
    default:
        return JD_US(1) * pick(b, 300);
    }
}

static struct chaos_body *child_new(struct chaos_body *b)
{
    struct chaos *c = b->chaos;
    struct chaos_body *child;

    if (b->depth == 0 || c->body_count == CHAOS_BODIES)
        return NULL;
    child = &c->bodies[c->body_count++];
    child->chaos = c;
    child->depth = b->depth - 1;
    rng_seed(&child->rng, rng_next(&b->rng));
    return child;
}

static jd_task *child_spawn(struct chaos_body *b)
{
    struct chaos_body *child = child_new(b);
    jd_task_options opt = JD_TASK_OPTIONS_INIT;

    if (!child)
        return NULL;
    if (pick(b, 4) == 0)
        opt.flags |= JD_TASK_PINNED;
    if (pick(b, 4) == 0)
        opt.flags |= JD_TASK_EAGER;
    return jd_spawn_with(body_run, child, &opt);
}

/* --- Actions -------------------------------------------------------------------------------- */

static void do_wait(struct chaos_body *b)
{
    int error = pick(b, 3) ? jd_sleep(some_time(b)) : jd_yield();

    PROMISE(b, error == 0 || error == -ECANCELED);
}

static void do_lock(struct chaos_body *b)
{
    unsigned n = 1 + pick(b, 2);
    int error = pick(b, 2) ? jd_sem_acquire_n_for(&b->chaos->sem, n, some_time(b))
                           : jd_sem_acquire_n(&b->chaos->sem, n);

    PROMISE(b, error == 0 || error == -ECANCELED || error == -ETIMEDOUT);
    if (error)
        return;
    PROMISE(b, jd_sem_value(&b->chaos->sem) <= (int)(CHAOS_PERMITS - n));
    do_wait(b);
    PROMISE(b, jd_sem_release_n(&b->chaos->sem, n) == 0);
}

static void do_join(struct chaos_body *b)
{
    jd_task *t = child_spawn(b);

    if (!t)
        return;
    if (pick(b, 2))
        do_wait(b);
    if (pick(b, 3) == 0)
        (void)jd_task_cancel(t, "chaos"); /* -EALREADY: it has ended */
    (void)jd_join(t);                     /* any outcome */
}

static void do_await(struct chaos_body *b)
{
    jd_task *t = child_spawn(b);

    if (!t)
        return;
    (void)jd_await(t); /* a cancel leaves it running, on its own */
    if (pick(b, 2))
        (void)jd_task_cancel_wait(t, "chaos");
    jd_task_unref(t);
}

static void do_group(struct chaos_body *b)
{
    unsigned n = 1 + pick(b, 3);
    jd_group g;
    int error;

    jd_group_open(&g, 0, pick(b, 2) ? JD_FOREVER : some_time(b));
    for (unsigned i = 0; i < n; i++) {
        struct chaos_body *child = child_new(b);

        if (child)
            (void)jd_group_spawn(&g, body_run, child); /* refused: no memory, or cancelled */
    }
    do_wait(b);
    if (pick(b, 3) == 0)
        jd_group_cancel(&g);
    error = jd_group_close(&g);
    PROMISE(b, error <= 0);
}

static void do_gather(struct chaos_body *b)
{
    jd_task *t[3];
    jd_result results[3];
    unsigned n = 0;

    for (int i = 0; i < 3; i++)
        if ((t[n] = child_spawn(b)))
            n++;
    if (n > 0 && pick(b, 2))
        (void)jd_gather(t, n, results, pick(b, 2) ? JD_GATHER_CANCEL : 0);
    else if (n > 0) {
        unsigned wanted =
            pick(b, 3); /* no two picks in one call: compilers order them as they like */

        (void)jd_wait(t, n, wanted, some_time(b), NULL);
    }
    for (unsigned i = 0; i < n; i++)
        jd_task_unref(t[i]);
}

static void do_deadline(struct chaos_body *b)
{
    struct chaos_body *child = child_new(b);
    jd_scope s;
    int ended;

    if (child && pick(b, 2)) {
        (void)jd_wait_for(jd_coro_of(body_run, child), some_time(b));
        return;
    }
    if (pick(b, 3) == 0)
        jd_scope_open_shielded(&s, JD_US(100));
    else
        jd_scope_open(&s, some_time(b));
    do_wait(b);
    do_lock(b);
    if (child)
        (void)body_run(child); /* right here, as a function */
    if (pick(b, 4) == 0)
        jd_scope_cancel(&s);
    ended = jd_scope_close(&s);
    PROMISE(b, ended == 0 || ended == -ETIMEDOUT || ended == -ECANCELED);
}

static void do_fork(struct chaos_body *b)
{
    struct chaos_body *child = child_new(b);
    jd_fork f;

    if (!child)
        return;
    jd_fork_start(&f, body_run, child);
    do_wait(b);
    (void)jd_fork_join(&f);
}

static jd_result set_later(void *arg)
{
    jd_future *f = arg;

    (void)jd_sleep(JD_US(50));
    (void)jd_future_set(f, jd_ok_num(7)); /* -EALREADY: it was cancelled */
    jd_future_unref(f);
    return jd_ok(NULL);
}

static void do_future(struct chaos_body *b)
{
    jd_future *f;
    jd_result r;
    int error;

    if (jd_future_new(NULL, &f))
        return;
    if (jd_spawn_detached(set_later, jd_future_ref(f)))
        jd_future_unref(f);
    if (pick(b, 4) == 0)
        (void)jd_future_cancel(f, "chaos");
    error = jd_future_wait(f, JD_MS(1));
    if (error == 0 && jd_future_result(f, &r) == 0)
        PROMISE(b, r.num == 7 || jd_future_cancelled(f));
    jd_future_unref(f);
}

static void on_callback(void *arg)
{
    ((struct chaos *)arg)->callbacks_ran++;
}

static void do_callback(struct chaos_body *b)
{
    jd_handle *h;
    int cancelled = -ECANCELED;

    if (jd_call_later(jd_loop_current(), some_time(b), on_callback, b->chaos, &h))
        return;
    b->chaos->callbacks++;
    if (pick(b, 2)) {
        do_wait(b);
    } else {
        (void)jd_sleep_until(jd_handle_when(h)); /* a cancel ends it */
        cancelled = jd_handle_cancel_wait(h);
    }
    if (cancelled < 0) /* not asked, or in a cancelled scope, where it does nothing */
        cancelled = jd_handle_cancel(h);
    b->chaos->callbacks -= cancelled;
    jd_handle_unref(h);
}

static jd_result send_some(void *arg)
{
    static const char bytes[700] = { 1 };
    int fd = jd_dial(arg);

    if (fd < 0)
        return jd_err(fd);
    (void)jd_send_all(fd, bytes, sizeof(bytes));
    (void)jd_close(fd);
    return jd_ok(NULL);
}

/* The caller may have been refused by a fault. */
static int accept_in_time(int listener)
{
    jd_scope s;
    int fd, ended;

    jd_scope_open(&s, JD_SEC(1));
    fd = jd_accept(listener, NULL, NULL, 0);
    ended = jd_scope_close(&s);
    (void)ended; /* fd says it */
    return fd;
}

static void do_socket(struct chaos_body *b)
{
    char address[64], buf[256];
    int listener = jd_listen("127.0.0.1:0", 0, 0), fd;
    jd_task *t;

    if (listener < 0)
        return;
    (void)jd_local_address(listener, address, sizeof(address));
    t = jd_spawn(send_some, address);
    fd = t ? accept_in_time(listener) : -ENOMEM;
    if (fd >= 0) {
        while (jd_recv(fd, buf, sizeof(buf), 0) > 0) /* bounded by the sender */
            if (pick(b, 8) == 0)
                break;
        PROMISE(b, jd_close(fd) == 0);
    }
    PROMISE(b, jd_close(listener) == 0);
    if (t)
        (void)jd_join(t);
}

static jd_result body_run(void *arg)
{
    static void (*const actions[])(struct chaos_body *) = {
        do_wait,   do_wait,     do_lock, do_lock,   do_join,     do_await,  do_group,
        do_gather, do_deadline, do_fork, do_future, do_callback, do_socket,
    };
    struct chaos_body *b = arg;
    unsigned n = 1 + pick(b, ACTIONS);

    b->chaos->started++;
    for (unsigned i = 0; i < n; i++)
        actions[pick(b, sizeof(actions) / sizeof(actions[0]))](b);
    b->chaos->ended++;
    return pick(b, 8) ? jd_ok(NULL) : jd_err(-EIO);
}

void chaos_init(struct chaos *c, uint64_t seed)
{
    c->seed = seed;
    c->body_count = 1;
    c->started = c->ended = c->callbacks = c->callbacks_ran = c->wrong = 0;
    (void)jd_sem_init(&c->sem, CHAOS_PERMITS);
    c->bodies[0] = (struct chaos_body){ .chaos = c, .depth = DEPTH };
    rng_seed(&c->bodies[0].rng, seed);
}

static void drop_report(const jd_report *r, void *arg)
{
    (void)arg;
    if (r->kind == JD_REPORT_DEADLOCK || r->kind == JD_REPORT_SHUTDOWN)
        ((struct chaos *)arg)->wrong = -(int)r->kind;
}

jd_result chaos_main(void *arg)
{
    struct chaos *c = arg;

    jd_set_error_handler(NULL, drop_report, c); /* failures that nobody looks at are its life */
    for (unsigned i = 0; i < 2; i++)
        (void)body_run(&c->bodies[0]);
    return jd_ok(NULL);
}
