/* SPDX-License-Identifier: MIT */
/*
 * Nothing waits beside an idle worker, and no cancel is lost: in virtual time, so the bounds are
 * exact. A worker burns by watching the clock.
 */
#include <errno.h>

#include "jd_test.h"
#include "seeds.h"
#include "sim/sim.h"

#include <jackdaw/jackdaw.h>

#define PATIENCE JD_MS(2.5) /* two ticks of the watchdog, and a wake */
#define BURN JD_MS(6)       /* longer than that and a call before it, no more: each look costs */

struct burn {
    jd_sem sem;
    int64_t since; /* from when on they could run */
    int64_t first, last;
};

static void burn_until(int64_t when)
{
    while (jd_now() < when) /* bounded: the virtual clock moves with each look */
        ;
}

static void note_delay(struct burn *b)
{
    int64_t delay = jd_now() - b->since;

    b->first = b->first && b->first < delay ? b->first : delay;
    b->last = delay > b->last ? delay : b->last;
}

static struct burn run(uint64_t seed, jd_fn fn)
{
    struct burn b = { .first = 0 };

    (void)jd_sem_init(&b.sem, 0);
    cr_assert_eq(jd_sim_run(seed, fn, &b, NULL).error, 0);
    cr_assert_gt(b.last, 0);
    cr_assert_leq(b.last, PATIENCE, "seed %lu: %ld ns", (unsigned long)seed, (long)b.last);
    return b;
}

/* --- Ready tasks ---------------------------------------------------------------------------- */

static jd_result ready_task(void *arg)
{
    note_delay(arg);
    return jd_ok(NULL);
}

static jd_result burn_beside_ready(void *arg)
{
    struct burn *b = arg;
    jd_task *t[8];

    (void)jd_sleep(JD_MS(5)); /* the others are parked by now */
    b->since = jd_now();
    for (int i = 0; i < 8; i++)
        t[i] = jd_spawn(ready_task, b);
    burn_until(b->since + BURN);
    for (int i = 0; i < 8; i++)
        (void)jd_join(t[i]);
    return jd_ok(NULL);
}

/* A push wakes a sleeper at once; what it missed the watchdog repairs. */
Test(sim_liveness, ready_tasks_do_not_wait_for_one_that_burns)
{
    for_each_seed(seed, jd_test_rounds(100))
        cr_assert_lt(run(seed, burn_beside_ready).first, JD_US(500), "nobody was woken");
}

/* --- A due timer, the LIFO slot, a completion of a worker that burns --------------------------- */

static jd_result sleep_a_ms(void *arg)
{
    (void)jd_sleep(JD_MS(1));
    note_delay(arg);
    return jd_ok(NULL);
}

static jd_result wait_for_permit(void *arg)
{
    (void)jd_sem_acquire(&((struct burn *)arg)->sem);
    note_delay(arg);
    return jd_ok(NULL);
}

/* Runs its first step here, so that it waits on this worker. */
static jd_task *start_here(jd_fn fn, struct burn *b)
{
    jd_task_options opt = JD_TASK_OPTIONS_INIT;

    opt.flags = JD_TASK_EAGER;
    return jd_spawn_with(fn, b, &opt);
}

static jd_result burn_beside_timer(void *arg)
{
    struct burn *b = arg;
    jd_task *t = start_here(sleep_a_ms, b);

    b->since = jd_now() + JD_MS(1);
    burn_until(b->since + BURN);
    return jd_join(t);
}

Test(sim_liveness, a_due_timer_does_not_wait_for_the_burning_worker_it_is_on)
{
    for_each_seed(seed, jd_test_rounds(100))
        (void)run(seed, burn_beside_timer);
}

static jd_result burn_beside_woken(void *arg)
{
    struct burn *b = arg;
    jd_task *t = start_here(wait_for_permit, b);

    (void)jd_sleep(JD_MS(1));
    b->since = jd_now();
    (void)jd_sem_release(&b->sem);
    burn_until(b->since + BURN);
    return jd_join(t);
}

Test(sim_liveness, a_task_in_the_lifo_slot_does_not_wait_for_one_that_burns)
{
    for_each_seed(seed, jd_test_rounds(100))
        (void)run(seed, burn_beside_woken);
}

static jd_result burn_beside_several(void *arg)
{
    struct burn *b = arg;
    jd_task *t[3];

    for (int i = 0; i < 3; i++)
        t[i] = start_here(wait_for_permit, b);
    (void)jd_sleep(JD_MS(1));
    b->since = jd_now();
    (void)jd_sem_release_n(&b->sem, 3);
    burn_until(b->since + BURN);
    for (int i = 0; i < 3; i++)
        (void)jd_join(t[i]);
    return jd_ok(NULL);
}

/* The slot holds one: the others go to the queue, and that wakes a sleeper at once. */
Test(sim_liveness, tasks_woken_by_one_that_burns_are_stolen_at_once)
{
    for_each_seed(seed, jd_test_rounds(100))
        cr_assert_lt(run(seed, burn_beside_several).first, JD_US(500), "nobody was woken");
}

static jd_result receive_one(void *arg)
{
    struct burn *b = arg;
    int listener = jd_listen("127.0.0.1:80", 0, 0), fd;

    fd = jd_accept(listener, NULL, NULL, 0); /* submitted on the worker that will burn */
    note_delay(b);
    (void)jd_close(fd);
    (void)jd_close(listener);
    return jd_ok(NULL);
}

static jd_result call_once(void *arg)
{
    int fd;

    (void)jd_sleep(JD_MS(1));
    fd = jd_dial("127.0.0.1:80");
    ((struct burn *)arg)->since = jd_now();
    (void)jd_close(fd);
    return jd_ok(NULL);
}

static jd_result burn_beside_completion(void *arg)
{
    struct burn *b = arg;
    jd_task *caller = jd_spawn(call_once, b);
    jd_task *t = start_here(receive_one, b);

    (void)jd_sleep(JD_US(100)); /* the caller sleeps elsewhere, or here */
    burn_until(jd_now() + BURN);
    (void)jd_join(caller);
    return jd_join(t);
}

Test(sim_liveness, a_completion_does_not_wait_for_the_burning_worker_that_submitted)
{
    for_each_seed(seed, jd_test_rounds(100))
        (void)run(seed, burn_beside_completion);
}

/* --- Cancels -------------------------------------------------------------------------------- */

struct endless {
    jd_sem sem;
    jd_future *future;
    int fd;
};

static jd_result sleep_for_ever(void *arg)
{
    (void)arg;
    return jd_err(jd_sleep(JD_FOREVER));
}

static jd_result want_permit(void *arg)
{
    return jd_err(jd_sem_acquire(&((struct endless *)arg)->sem));
}

static jd_result want_outcome(void *arg)
{
    return jd_await(((struct endless *)arg)->future);
}

static jd_result want_connection(void *arg)
{
    return jd_err(jd_accept(((struct endless *)arg)->fd, NULL, NULL, 0));
}

static jd_result want_member(void *arg)
{
    jd_group g;
    int error;

    jd_group_open(&g, 0, JD_FOREVER);
    (void)jd_group_spawn(&g, want_permit, arg);
    error = jd_group_close(&g);
    return jd_err(error);
}

static jd_result cancel_each(void *arg)
{
    static const jd_fn waits[] = { sleep_for_ever, want_permit, want_outcome, want_connection,
                                   want_member };
    struct endless e = { .fd = jd_listen("127.0.0.1:80", 0, 0) };
    jd_result r = jd_ok(NULL);

    (void)arg;
    (void)jd_sem_init(&e.sem, 0);
    if (jd_future_new(NULL, &e.future))
        return jd_err(-ENOMEM);
    for (unsigned i = 0; i < sizeof(waits) / sizeof(waits[0]); i++) {
        jd_task *t = jd_spawn(waits[i], &e);

        for (int n = 0; n < 3; n++)
            (void)jd_checkpoint(); /* somewhere in its life */
        (void)jd_task_cancel(t, NULL);
        if (jd_join(t).error != -ECANCELED)
            r = jd_err(-EBADMSG);
    }
    jd_future_unref(e.future);
    (void)jd_close(e.fd);
    return r;
}

/* A cancel between the look at the flag and the wait is seen by one side or the other. */
Test(sim_liveness, a_cancel_ends_a_wait_that_nothing_else_ends)
{
    for_each_seed(seed, jd_test_rounds(2000)) {
        jd_result r = jd_sim_run(seed, cancel_each, NULL, NULL);

        cr_assert_eq(r.error, 0, "seed %lu: %d", (unsigned long)seed, r.error);
    }
}
