/* SPDX-License-Identifier: MIT */
/*
 * Laws of conservation for callbacks, on two workers and on three, with cancels at random:
 *
 *   callbacks  each callback runs once, or a cancel said that it will not
 *   watchers   each done callback of a future runs once, or a removal took it
 *
 * Bounded by operations; repeat a run with JD_TEST_SEED.
 */
#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>

#include <jackdaw/jackdaw.h>

#include "contract.h"
#include "jd_test.h"
#include "laws.h"

#define THREADS 3

/* --- Callbacks ---------------------------------------------------------------------------------- */

#define POSTERS 4 /* half of them tasks, half plain threads */
#define POSTS_MAX 1500

struct post {
    jd_handle *handle;
    int turns; /* that it gives to other threads while it runs */
    atomic_int began, ran;
    int prevented; /* cancels that said so */
};

static struct {
    jd_runtime *rt;
    unsigned posts; /* per poster */
    struct post post[POSTERS][POSTS_MAX];
} callbacks;

static void count_run(void *arg)
{
    struct post *p = arg;

    atomic_store(&p->began, 1);
    for (int i = 0; i < p->turns; i++)
        sched_yield();
    atomic_fetch_add(&p->ran, 1);
}

/* False: the runtime stops, which it may while a task still posts. */
static bool post_one(struct post *p, struct rng *rng)
{
    jd_loop *loop = jd_runtime_loop(callbacks.rt, rng_below(rng, jd_worker_count(callbacks.rt)));
    int64_t delay = one_in(rng, 16) ? JD_SEC(1000) : JD_US(rng_below(rng, 200));
    int err;

    p->turns = one_in(rng, 16) ? 4 : 0; /* so that cancels meet it while it runs */
    err = one_in(rng, 2) ? jd_call_soon(loop, count_run, p, &p->handle)
                         : jd_call_later(loop, delay, count_run, p, &p->handle);

    cr_assert(err == 0 || err == -ESHUTDOWN, "%d", err);
    return err == 0;
}

/* Cancels one of the last few, in one of two ways; the second one knows for sure afterwards. */
static void cancel_one(struct post *p, struct rng *rng)
{
    int said;

    for (int i = 0; i < p->turns && !atomic_load(&p->began); i++)
        sched_yield();
    if (one_in(rng, 2)) {
        said = jd_handle_cancel(p->handle);
    } else {
        said = jd_handle_cancel_wait(p->handle);
        if (said == -ECANCELED) /* the runtime stops */
            return;
        cr_assert_eq(atomic_load(&p->ran) + jd_handle_cancelled(p->handle), 1, "it is not over");
    }
    cr_assert(said == 0 || said == 1, "%d", said);
    p->prevented += said;
}

static void post_all(unsigned poster)
{
    struct rng rng = rng_of(poster);
    struct post *mine = callbacks.post[poster];

    for (unsigned i = 0; i < callbacks.posts && post_one(&mine[i], &rng); i++) {
        if (one_in(&rng, 2))
            cancel_one(&mine[i - rng_below(&rng, i < 20 ? i + 1 : 20)], &rng);
    }
}

static void post_on_thread(unsigned index, void *arg)
{
    (void)arg;
    post_all(index);
}

static jd_result post_in_task(void *arg)
{
    post_all((unsigned)(uintptr_t)arg);
    return jd_ok(NULL);
}

static void law_of_callbacks(jd_runtime *rt)
{
    static struct crew crew;
    long ran = 0, prevented = 0, dropped = 0;

    callbacks.rt = rt;
    callbacks.posts = (unsigned)jd_test_rounds(POSTS_MAX);
    crew_start(&crew, POSTERS / 2, post_on_thread, NULL);
    for (uintptr_t i = POSTERS / 2; i < POSTERS; i++)
        cr_assert_eq(jd_runtime_spawn_task(rt, post_in_task, (void *)i, NULL, NULL), 0);
    crew_join(&crew);
    runtime_end(rt); /* drops the timers that are not due */
    for (unsigned i = 0; i < POSTERS * callbacks.posts; i++) {
        struct post *p = &callbacks.post[i / callbacks.posts][i % callbacks.posts];
        int never;

        if (!p->handle)
            continue;
        never = jd_handle_cancelled(p->handle);
        cr_assert_leq(p->prevented, never, "a cancel said that it will not run");
        cr_assert_eq(p->ran + never, 1, "%d of %u ran %d times", (int)i, callbacks.posts, p->ran);
        ran += p->ran;
        prevented += p->prevented;
        dropped += never - p->prevented;
        jd_handle_unref(p->handle);
    }
    fprintf(stderr, "# %ld callbacks ran, %ld prevented, %ld dropped at the end\n", ran, prevented,
            dropped);
    cr_assert_gt(prevented, 0);
    cr_assert_gt(ran, 0);
}

/* --- Done callbacks ----------------------------------------------------------------------------- */

#define FUTURES 8

static struct {
    jd_future *future[FUTURES];
    atomic_long added, ran, removed, set;
} watchers;

static void count_done(jd_future *f, void *arg)
{
    cr_assert_eq(jd_future_done(f), 1);
    more(arg, 1);
}

/* Adds, removes and completes as the dice say, beside others who do the same. */
static void watch_some(struct rng *rng)
{
    for (int i = 0; i < 60; i++) {
        jd_future *f = watchers.future[rng_below(rng, FUTURES)];
        int n;

        switch (rng_below(rng, 24)) {
        case 0:
            n = one_in(rng, 2) ? jd_future_set(f, jd_ok(NULL)) : jd_future_cancel(f, "law");
            cr_assert(n == 0 || n == -EALREADY, "%d", n);
            more(&watchers.set, n == 0);
            break;
        case 1:
        case 2:
            n = jd_future_remove_done_callback(f, count_done, &watchers.ran);
            cr_assert_geq(n, 0);
            more(&watchers.removed, n);
            break;
        default:
            cr_assert_eq(jd_future_add_done_callback(f, count_done, &watchers.ran), 0);
            more(&watchers.added, 1);
        }
    }
}

static void watch_on_thread(unsigned index, void *arg)
{
    struct rng rng = rng_of((unsigned)(uintptr_t)arg + index);

    watch_some(&rng);
}

static jd_result watch_in_task(void *arg)
{
    struct rng rng = rng_of((unsigned)(uintptr_t)arg);

    watch_some(&rng);
    return jd_ok(NULL);
}

static void watch_round(jd_runtime *rt, unsigned user)
{
    static struct crew crew;
    jd_task *t[THREADS];

    for (int i = 0; i < FUTURES; i++)
        cr_assert_eq(jd_future_new(rt, &watchers.future[i]), 0);
    for (unsigned i = 0; i < THREADS; i++)
        cr_assert_eq(
            jd_runtime_spawn_task(rt, watch_in_task, (void *)(uintptr_t)(user + i), NULL, &t[i]),
            0);
    crew_start(&crew, 2, watch_on_thread, (void *)(uintptr_t)(user + THREADS));
    crew_join(&crew);
    for (unsigned i = 0; i < THREADS; i++) {
        cr_assert_eq(jd_future_wait(jd_task_future(t[i]), JD_FOREVER), 0);
        jd_task_unref(t[i]);
    }
    for (int i = 0; i < FUTURES; i++) {
        (void)jd_future_set(watchers.future[i], jd_ok(NULL)); /* -EALREADY: somebody had */
        jd_future_unref(watchers.future[i]);                  /* what is added holds it */
    }
}

static void law_of_watchers(jd_runtime *rt)
{
    unsigned rounds = (unsigned)jd_test_rounds(100);

    for (unsigned i = 0; i < rounds; i++)
        watch_round(rt, 5000 + i * (THREADS + 2));
    runtime_end(rt); /* runs those that are scheduled */
    fprintf(stderr, "# %ld done callbacks, %ld removed\n", watchers.added, watchers.removed);
    cr_assert_eq(watchers.ran + watchers.removed, watchers.added);
    cr_assert_gt(watchers.removed, 0);
    cr_assert_gt(watchers.ran, 0);
}

/* --- The tests ---------------------------------------------------------------------------------- */

LAW_OF_A_RUNTIME(laws_callbacks, callbacks)
LAW_OF_A_RUNTIME(laws_callbacks, watchers)
