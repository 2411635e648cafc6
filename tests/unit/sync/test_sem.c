/* SPDX-License-Identifier: MIT */
/* Semaphores, contract H17-H26: order, hand-over, cancels, timeouts, threads, bound, resize. */
#include "jd_test.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>

#include <jackdaw/jackdaw.h>

#include "base/rng.h"

#define WAITERS 40
#define WORDS_OF(s) (sizeof((s).jd_private) / sizeof((s).jd_private[0]))

/* One worker: a task that has marked itself has queued itself before anybody else runs. */
struct rig {
    jd_sem sem;
    int marked;
    int order[WAITERS];
    int granted;
};

struct waiter_arg {
    struct rig *rig;
    int index;
    unsigned want;
    int64_t timeout;
    int err;
};

static jd_result run_on(unsigned workers, jd_fn fn, void *arg)
{
    jd_config cfg = JD_CONFIG_INIT;

    cfg.workers = workers;
    return jd_run(fn, arg, &cfg);
}

static jd_result acquirer(void *p)
{
    struct waiter_arg *arg = p;
    struct rig *rig = arg->rig;

    rig->marked++;
    arg->err = jd_sem_acquire_n_for(&rig->sem, arg->want, arg->timeout);
    if (!arg->err)
        rig->order[rig->granted++] = arg->index;
    return jd_ok(NULL);
}

static jd_task *start_waiter(struct rig *rig, struct waiter_arg *arg, int index, unsigned want)
{
    int marked = rig->marked;
    jd_task *t;

    *arg = (struct waiter_arg){ rig, index, want, JD_FOREVER, 1 };
    t = jd_spawn(acquirer, arg);
    cr_assert_not_null(t);
    while (rig->marked == marked)
        cr_assert_eq(jd_yield(), 0);
    return t;
}

static void yield_often(void)
{
    for (int i = 0; i < 10; i++)
        cr_assert_eq(jd_yield(), 0);
}

Test(sem, arguments_are_checked)
{
    jd_sem s = JD_SEM_INIT(3);

    cr_assert_eq(jd_sem_value(&s), 3);
    cr_assert_eq(jd_sem_init(&s, (unsigned)INT_MAX + 1), -EINVAL);
    cr_assert_eq(jd_sem_init(NULL, 1), -EINVAL);
    cr_assert_eq(jd_sem_init_bounded(NULL, 1), -EINVAL);
    cr_assert_eq(jd_sem_acquire(NULL), -EINVAL);
    cr_assert_eq(jd_sem_acquire_n(&s, (unsigned)INT_MAX + 1), -EINVAL);
    cr_assert_eq(jd_sem_try_acquire(NULL), -EINVAL);
    cr_assert_eq(jd_sem_release(NULL), -EINVAL);
    cr_assert_eq(jd_sem_release_n(&s, (unsigned)INT_MAX + 1), -EINVAL);
    cr_assert_eq(jd_sem_resize(&s, (unsigned)INT_MAX + 1), -EINVAL);
    cr_assert_eq(jd_sem_value(NULL), -EINVAL);
    cr_assert_eq(jd_sem_value(&s), 3);
    cr_assert_eq(jd_sem_init(&s, 0), 0); /* H17: zero is legal */
    cr_assert_eq(jd_sem_value(&s), 0);
    cr_assert_eq(jd_sem_try_acquire(&s), -EAGAIN);
    cr_assert_eq(jd_sem_acquire_n(&s, 0), 0);
}

Test(sem, counts_without_a_runtime)
{
    jd_sem s = JD_SEM_INIT(2);

    cr_assert_eq(jd_sem_acquire(&s), 0);
    cr_assert_eq(jd_sem_try_acquire(&s), 0);
    cr_assert_eq(jd_sem_try_acquire(&s), -EAGAIN);
    cr_assert_eq(jd_sem_acquire_for(&s, 0), -ETIMEDOUT);
    cr_assert_eq(jd_sem_acquire_for(&s, JD_MS(1)), -ETIMEDOUT);
    cr_assert_eq(jd_sem_value(&s), 0);
    cr_assert_eq(jd_sem_release_n(&s, 5), 0); /* H24: beyond the start */
    cr_assert_eq(jd_sem_value(&s), 5);
    cr_assert_eq(jd_sem_acquire_n(&s, 5), 0);
    cr_assert_eq(jd_sem_value(&s), 0);
    cr_assert_eq(jd_sem_release_n(&s, INT_MAX), 0);
    cr_assert_eq(jd_sem_release(&s), -EOVERFLOW);
    cr_assert_eq(jd_sem_value(&s), INT_MAX);
}

Test(sem, bounded_refuses_what_nobody_took)
{
    jd_sem s;

    cr_assert_eq(jd_sem_init_bounded(&s, 2), 0);
    cr_assert_eq(jd_sem_release(&s), -EOVERFLOW);
    cr_assert_eq(jd_sem_value(&s), 2);
    cr_assert_eq(jd_sem_acquire_n(&s, 3), -EINVAL);
    cr_assert_eq(jd_sem_acquire_n(&s, 2), 0);
    cr_assert_eq(jd_sem_release_n(&s, 3), -EOVERFLOW);
    cr_assert_eq(jd_sem_release(&s), 0);
    cr_assert_eq(jd_sem_release(&s), 0);
    cr_assert_eq(jd_sem_release(&s), -EOVERFLOW);
    cr_assert_eq(jd_sem_init_bounded(&s, 0), 0);
    cr_assert_eq(jd_sem_release(&s), -EOVERFLOW);
    cr_assert_eq(jd_sem_resize(&s, 1), 0); /* the bound moves along */
    cr_assert_eq(jd_sem_value(&s), 1);
    cr_assert_eq(jd_sem_release(&s), -EOVERFLOW);
}

Test(sem, resize_lowers_below_use_and_never_over_grants)
{
    jd_sem s = JD_SEM_INIT(4);

    cr_assert_eq(jd_sem_acquire_n(&s, 4), 0);
    cr_assert_eq(jd_sem_resize(&s, 1), 0); /* H26: in debt by 3 */
    cr_assert_eq(jd_sem_value(&s), 0);
    cr_assert_eq(jd_sem_resize(&s, 3), 0); /* lower, then raise: still in debt by 1 */
    cr_assert_eq(jd_sem_try_acquire(&s), -EAGAIN);
    cr_assert_eq(jd_sem_release(&s), 0);
    cr_assert_eq(jd_sem_try_acquire(&s), -EAGAIN);
    cr_assert_eq(jd_sem_release(&s), 0);
    cr_assert_eq(jd_sem_try_acquire(&s), 0);
    cr_assert_eq(jd_sem_release_n(&s, 3), 0);
    cr_assert_eq(jd_sem_value(&s), 3);
    cr_assert_eq(jd_sem_resize(&s, 0), 0);
    cr_assert_eq(jd_sem_try_acquire(&s), -EAGAIN);
    cr_assert_eq(jd_sem_resize(&s, INT_MAX), 0);
    cr_assert_eq(jd_sem_value(&s), INT_MAX);
    cr_assert_eq(jd_sem_resize(&s, 0), 0);
    cr_assert_eq(jd_sem_release_n(&s, 7), 0);
    cr_assert_eq(jd_sem_resize(&s, INT_MAX), -EOVERFLOW);
    cr_assert_eq(jd_sem_value(&s), 7);
}

static jd_result mark(void *flag)
{
    *(bool *)flag = true;
    return jd_ok(NULL);
}

static jd_result acquire_does_not_yield(void *unused)
{
    jd_sem s = JD_SEM_INIT(1);
    bool ran = false;
    jd_task *t = jd_spawn(mark, &ran);

    (void)unused;
    cr_assert_eq(jd_sem_acquire(&s), 0);
    cr_assert_not(ran);
    cr_assert_eq(jd_join(t).error, 0);
    cr_assert(ran);
    return jd_ok(NULL);
}

Test(sem, acquire_with_a_free_permit_returns_without_yielding)
{
    cr_assert_eq(run_on(1, acquire_does_not_yield, NULL).error, 0);
}

static jd_result fifo_main(void *unused)
{
    static struct rig rig;
    struct waiter_arg args[WAITERS];
    jd_task *tasks[WAITERS];

    (void)unused;
    for (int i = 0; i < WAITERS; i++)
        tasks[i] = start_waiter(&rig, &args[i], i, 1);
    cr_assert_eq(jd_sem_release(&rig.sem), 0);
    /* H20: handed over at once: nothing is free, nobody can take it in this window. */
    cr_assert_eq(jd_sem_value(&rig.sem), 0);
    cr_assert_eq(jd_sem_try_acquire(&rig.sem), -EAGAIN);
    cr_assert_eq(jd_sem_acquire_for(&rig.sem, 0), -ETIMEDOUT);
    cr_assert_eq(rig.granted, 0);
    yield_often();
    cr_assert_eq(rig.granted, 1);
    cr_assert_eq(jd_sem_release_n(&rig.sem, WAITERS), 0); /* H21, more than one batch of wakes */
    cr_assert_eq(jd_sem_value(&rig.sem), 1);
    for (int i = 0; i < WAITERS; i++)
        cr_assert_eq(jd_join(tasks[i]).error, 0);
    cr_assert_eq(rig.granted, WAITERS);
    for (int i = 0; i < WAITERS; i++)
        cr_assert_eq(args[i].err, 0);
    return jd_ok(NULL);
}

Test(sem, first_in_first_out_by_hand_over)
{
    cr_assert_eq(run_on(1, fifo_main, NULL).error, 0);
}

/* One by one, so that the order in which they run is the order in which they were granted. */
static jd_result order_main(void *unused)
{
    static struct rig rig;
    struct waiter_arg args[WAITERS];
    jd_task *tasks[WAITERS];

    (void)unused;
    for (int i = 0; i < WAITERS; i++)
        tasks[i] = start_waiter(&rig, &args[i], i, 1);
    for (int i = 0; i < WAITERS; i++) {
        cr_assert_eq(jd_sem_release(&rig.sem), 0);
        cr_assert_eq(jd_join(tasks[i]).error, 0);
        cr_assert_eq(rig.granted, i + 1);
        cr_assert_eq(rig.order[i], i);
    }
    cr_assert_eq(jd_sem_value(&rig.sem), 0);
    return jd_ok(NULL);
}

Test(sem, each_release_serves_the_oldest)
{
    cr_assert_eq(run_on(1, order_main, NULL).error, 0);
}

static jd_result big_head_main(void *unused)
{
    static struct rig rig;
    struct waiter_arg big, small, third;
    jd_task *first = start_waiter(&rig, &big, 0, 3);
    jd_task *second = start_waiter(&rig, &small, 1, 1);
    jd_task *last = start_waiter(&rig, &third, 2, 1);

    (void)unused;
    cr_assert_eq(jd_sem_release_n(&rig.sem, 2), 0);
    yield_often();
    cr_assert_eq(rig.granted, 0); /* H19: the small ones wait behind the head */
    cr_assert_eq(jd_sem_value(&rig.sem), 0);
    cr_assert_eq(jd_task_cancel(first, NULL), 0);
    (void)jd_join(first);
    cr_assert_eq(big.err, -ECANCELED);
    (void)jd_join(second); /* its leaving let them pass, without another release */
    (void)jd_join(last);
    cr_assert_eq(small.err, 0);
    cr_assert_eq(third.err, 0);
    cr_assert_eq(jd_sem_value(&rig.sem), 0);
    cr_assert_eq(jd_sem_release_n(&rig.sem, 2), 0);
    cr_assert_eq(jd_sem_value(&rig.sem), 2);
    return jd_ok(NULL);
}

Test(sem, head_that_leaves_lets_smaller_requests_pass)
{
    cr_assert_eq(run_on(1, big_head_main, NULL).error, 0);
}

static jd_result cancel_main(void *unused)
{
    static struct rig rig;
    struct waiter_arg a, b, c;
    jd_task *ta = start_waiter(&rig, &a, 0, 1);
    jd_task *tb = start_waiter(&rig, &b, 1, 1);
    jd_task *tc = start_waiter(&rig, &c, 2, 1);

    (void)unused;
    cr_assert_eq(jd_task_cancel(tb, NULL), 0); /* H22: while queued */
    cr_assert_eq(jd_sem_release(&rig.sem), 0);
    cr_assert_eq(jd_task_cancel(ta, NULL), 0); /* H23: after the grant: it keeps the permit */
    (void)jd_join(ta);
    (void)jd_join(tb);
    cr_assert_eq(a.err, 0);
    cr_assert_eq(b.err, -ECANCELED);
    cr_assert_eq(jd_sem_release(&rig.sem), 0);
    (void)jd_join(tc);
    cr_assert_eq(c.err, 0);
    cr_assert_eq(jd_sem_value(&rig.sem), 0);
    ta = start_waiter(&rig, &a, 0, 1);
    tc = start_waiter(&rig, &c, 2, 1);
    cr_assert_eq(jd_task_cancel(ta, NULL), 0); /* before the release: the next one gets it */
    cr_assert_eq(jd_sem_release(&rig.sem), 0);
    (void)jd_join(ta);
    (void)jd_join(tc);
    cr_assert_eq(a.err, -ECANCELED);
    cr_assert_eq(c.err, 0);
    return jd_ok(NULL);
}

Test(sem, cancels_lose_no_permit)
{
    cr_assert_eq(run_on(1, cancel_main, NULL).error, 0);
}

static jd_result timeout_main(void *unused)
{
    static struct rig rig;
    struct waiter_arg patient;
    jd_task *t;
    int64_t start = jd_now();

    (void)unused;
    cr_assert_eq(jd_sem_acquire_for(&rig.sem, JD_MS(5)), -ETIMEDOUT);
    cr_assert_geq(jd_now() - start, JD_MS(5));
    t = start_waiter(&rig, &patient, 0, 1);
    cr_assert_eq(jd_sem_acquire_for(&rig.sem, JD_MS(2)), -ETIMEDOUT);
    cr_assert_eq(jd_sem_release(&rig.sem), 0);
    (void)jd_join(t);
    cr_assert_eq(patient.err, 0);
    cr_assert_eq(jd_sem_value(&rig.sem), 0);
    cr_assert_eq(jd_sem_release(&rig.sem), 0);
    cr_assert_eq(jd_sem_value(&rig.sem), 1);
    return jd_ok(NULL);
}

Test(sem, timeout_takes_nothing)
{
    cr_assert_eq(run_on(1, timeout_main, NULL).error, 0);
}

static jd_result resize_main(void *unused)
{
    static struct rig rig;
    struct waiter_arg a, b, c;
    jd_task *ta = start_waiter(&rig, &a, 0, 1);
    jd_task *tb = start_waiter(&rig, &b, 1, 1);
    jd_task *tc = start_waiter(&rig, &c, 2, 1);

    (void)unused;
    cr_assert_eq(jd_sem_resize(&rig.sem, 2), 0); /* raising serves at once */
    (void)jd_join(ta);
    (void)jd_join(tb);
    yield_often();
    cr_assert_eq(rig.granted, 2);
    cr_assert_eq(jd_sem_resize(&rig.sem, 1), 0); /* lowering evicts nobody */
    cr_assert_eq(jd_sem_release(&rig.sem), 0);   /* pays the debt */
    yield_often();
    cr_assert_eq(rig.granted, 2);
    cr_assert_eq(jd_sem_release(&rig.sem), 0);
    (void)jd_join(tc);
    cr_assert_eq(rig.granted, 3);
    cr_assert_eq(jd_sem_value(&rig.sem), 0);
    cr_assert_eq(jd_sem_release(&rig.sem), 0);
    cr_assert_eq(jd_sem_value(&rig.sem), 1);
    return jd_ok(NULL);
}

Test(sem, resize_serves_waiters_and_evicts_nobody)
{
    cr_assert_eq(run_on(1, resize_main, NULL).error, 0);
}

static jd_result cancelled_scope_main(void *unused)
{
    jd_sem s = JD_SEM_INIT(1);
    jd_scope scope;

    (void)unused;
    jd_scope_open(&scope, JD_FOREVER);
    jd_scope_cancel(&scope);
    cr_assert_eq(jd_sem_acquire(&s), -ECANCELED); /* level-triggered, nothing is taken */
    cr_assert_eq(jd_sem_try_acquire(&s), 0);
    cr_assert_eq(jd_scope_close(&scope), -ECANCELED);
    return jd_ok(NULL);
}

Test(sem, acquire_in_a_cancelled_scope_takes_nothing)
{
    cr_assert_eq(run_on(1, cancelled_scope_main, NULL).error, 0);
}

static void acquire_in_callback(void *ret)
{
    jd_sem s = JD_SEM_INIT(1);

    *(int *)ret = jd_sem_acquire(&s);
}

static jd_result callback_main(void *unused)
{
    int ret = 1;

    (void)unused;
    cr_assert_eq(jd_call_soon(jd_loop_current(), acquire_in_callback, &ret, NULL), 0);
    while (ret == 1)
        cr_assert_eq(jd_yield(), 0);
    cr_assert_eq(ret, -EPERM);
    return jd_ok(NULL);
}

Test(sem, loop_callbacks_may_not_wait)
{
    cr_assert_eq(run_on(1, callback_main, NULL).error, 0);
}

/*
 * Tasks on two workers and a plain thread, random sizes, timeouts and cancels.
 */

#define STRESS_PERMITS 3
#define STRESS_TASKS 8

static struct {
    jd_sem sem;
    atomic_int held;
    atomic_bool over;
    atomic_ulong taken, cancelled, timed_out;
    atomic_bool stop;
    unsigned long rounds;
} stress;

static void stress_hold(unsigned k)
{
    int held = atomic_fetch_add(&stress.held, (int)k) + (int)k;

    if (held > STRESS_PERMITS)
        atomic_store(&stress.over, true);
    atomic_fetch_add(&stress.taken, 1);
}

static void stress_round(struct rng *rng, bool in_task)
{
    unsigned k = 1 + rng_below(rng, STRESS_PERMITS);
    int64_t timeout = rng_below(rng, 4) == 0 ? JD_US(rng_below(rng, 50)) : JD_FOREVER;
    int err = jd_sem_acquire_n_for(&stress.sem, k, timeout);

    if (err == -ETIMEDOUT)
        atomic_fetch_add(&stress.timed_out, 1);
    else if (err == -ECANCELED)
        atomic_fetch_add(&stress.cancelled, 1);
    else
        cr_assert_eq(err, 0);
    if (err)
        return;
    stress_hold(k);
    if (in_task && rng_below(rng, 2))
        (void)jd_yield(); /* cancelled or not: the permits go back below */
    atomic_fetch_sub(&stress.held, (int)k);
    cr_assert_eq(jd_sem_release_n(&stress.sem, k), 0);
}

static jd_result stress_task(void *seed)
{
    struct rng rng;

    rng_seed(&rng, (uint64_t)(uintptr_t)seed);
    for (unsigned i = 0; i < 20; i++)
        stress_round(&rng, true);
    return jd_ok(NULL);
}

static void *stress_thread(void *seed)
{
    struct rng rng;

    rng_seed(&rng, (uint64_t)(uintptr_t)seed);
    while (!atomic_load(&stress.stop))
        stress_round(&rng, false);
    return NULL;
}

static jd_result stress_main(void *seed)
{
    struct rng rng;

    rng_seed(&rng, (uint64_t)(uintptr_t)seed);
    for (unsigned long round = 0; round < stress.rounds; round++) {
        jd_task *tasks[STRESS_TASKS];

        for (int i = 0; i < STRESS_TASKS; i++)
            tasks[i] = jd_spawn(stress_task, (void *)(uintptr_t)rng_next(&rng));
        for (int i = 0; i < STRESS_TASKS; i++) {
            if (rng_below(&rng, 2))
                (void)jd_task_cancel(tasks[i], NULL); /* -EALREADY: it was faster */
            cr_assert_eq(jd_yield(), 0);
        }
        for (int i = 0; i < STRESS_TASKS; i++)
            (void)jd_join(tasks[i]);
    }
    return jd_ok(NULL);
}

Test(sem, nothing_is_lost_or_granted_twice_under_cancels, .timeout = 60)
{
    uint64_t seed = jd_test_seed();
    pthread_t thread;

    stress.rounds = jd_test_rounds(300);
    cr_assert_eq(jd_sem_init_bounded(&stress.sem, STRESS_PERMITS), 0);
    cr_assert_eq(pthread_create(&thread, NULL, stress_thread, (void *)(uintptr_t)(seed + 1)), 0);
    cr_assert_eq(run_on(2, stress_main, (void *)(uintptr_t)seed).error, 0);
    atomic_store(&stress.stop, true);
    pthread_join(thread, NULL);
    cr_assert_not(atomic_load(&stress.over));
    cr_assert_eq(jd_sem_value(&stress.sem), STRESS_PERMITS);
    cr_assert_gt(atomic_load(&stress.taken), 0);
    cr_assert_gt(atomic_load(&stress.cancelled), 0);
}

/* A semaphore in the frame of the one who waits: the releaser is out when the wait is over. */
static jd_result release_it(void *sem)
{
    cr_assert_eq(jd_sem_release(sem), 0);
    return jd_ok(NULL);
}

static jd_result frame_main(void *unused)
{
    unsigned long rounds = jd_test_rounds(3000);

    (void)unused;
    for (unsigned long i = 0; i < rounds; i++) {
        jd_sem done = JD_SEM_INIT(0);
        jd_task *t = jd_spawn(release_it, &done);

        cr_assert_eq(jd_sem_acquire(&done), 0);
        memset(&done, 0xff, sizeof(done)); /* a releaser still inside would write to it */
        (void)jd_join(t);
        for (unsigned word = 0; word < WORDS_OF(done); word++)
            cr_assert_eq(done.jd_private[word], UINT64_MAX);
    }
    return jd_ok(NULL);
}

Test(sem, releaser_is_out_when_the_wait_is_over)
{
    cr_assert_eq(run_on(2, frame_main, NULL).error, 0);
}

/* Threads only, in both directions. */
static struct {
    jd_sem go, done;
} ping = { JD_SEM_INIT(0), JD_SEM_INIT(0) };

static void *pong_thread(void *unused)
{
    (void)unused;
    for (int i = 0; i < 500; i++) {
        cr_assert_eq(jd_sem_acquire(&ping.go), 0);
        cr_assert_eq(jd_sem_release(&ping.done), 0);
    }
    return NULL;
}

Test(sem, plain_threads_wait_without_a_runtime)
{
    pthread_t thread;

    cr_assert_eq(pthread_create(&thread, NULL, pong_thread, NULL), 0);
    for (int i = 0; i < 500; i++) {
        cr_assert_eq(jd_sem_release(&ping.go), 0);
        cr_assert_eq(jd_sem_acquire(&ping.done), 0);
    }
    pthread_join(thread, NULL);
    cr_assert_eq(jd_sem_value(&ping.go), 0);
    cr_assert_eq(jd_sem_value(&ping.done), 0);
}
