/* SPDX-License-Identifier: MIT */
/*
 * Model of sched/fork.c over queue/deque.h: a task that forks and joins on worker 0, a thief on
 * worker 1, promotion, joins out of order. Claims: a child runs once, and its parent sees what it
 * wrote; a thief never reads a descriptor whose frame is gone; a promoted or stolen fork gives its
 * parent a whole task to join.
 *
 * The .c file is included because it is the protocol under test; what it calls is supplied here.
 */
#include <sched.h>

#include "check.h"

#define sched_yield() spin_hint()
#include "sched/fork.c"

#include "item.h"

#define CHILDREN 2
#define TASKS 8

static struct jd_runtime runtime;
static struct worker workers[2];
static struct jd_task parent;
static struct jd_task tasks[TASKS];
static bool used[2][TASKS / 2]; /* each worker's own records */
static struct check_event ended[TASKS];
static struct jd_task *queue[TASKS]; /* worker 0's: what was promoted */
static unsigned queued;
static int ran[CHILDREN];
static int order[CHILDREN]; /* in which the parent joins */
static bool may_force;

jd_result jd_err(ssize_t error)
{
    return (jd_result){ .error = (int)error };
}

struct worker *worker_current(void)
{
    return &workers[check_self()];
}

static struct jd_task *task_make(struct worker *w, jd_fn fn, void *arg, struct scope *scope,
                                 uint32_t refs)
{
    unsigned base = w->index * TASKS / 2;

    for (unsigned i = 0; i < TASKS / 2; i++) {
        struct jd_task *t = &tasks[base + i];

        if (used[w->index][i])
            continue;
        used[w->index][i] = true;
        t->fn = fn;
        t->arg = arg;
        t->root.parent = scope;
        atom_store(&t->future.refs, refs, release);
        return t;
    }
    check_fail("too few tasks");
}

struct jd_task *sched_make_claimed(struct worker *w, jd_fn fn, void *arg, struct scope *scope)
{
    return task_make(w, fn, arg, scope, 0);
}

struct jd_task *sched_make_queued(struct worker *w, jd_fn fn, void *arg, struct scope *scope)
{
    CHECK_THAT(w == &workers[0]);
    return queue[queued++] = task_make(w, fn, arg, scope, 2);
}

void sched_unmake_claimed(struct worker *w, struct jd_task *t)
{
    used[w->index][(t - tasks) - w->index * TASKS / 2] = false;
}

void sched_wake_idle(struct jd_runtime *rt)
{
    (void)rt;
}

void sched_suspend(enum post_kind kind)
{
    check_fail("sched_suspend(%d): no slice ends here", (int)kind);
}

bool sched_charge_slow(struct worker *w)
{
    (void)w;
    return false;
}

static void task_run(struct jd_task *t)
{
    CHECK_THAT(t->root.parent == &parent.root);
    t->future.result = t->fn(t->arg);
    check_event_post(&ended[t - tasks]);
}

/* The handle's reference is the joiner's. */
jd_result jd_join(struct jd_task *t)
{
    CHECK_THAT(atom_load(&t->future.refs, relaxed) == 2);
    for (unsigned i = 0; i < queued; i++) {
        if (queue[i] == t)
            task_run(t); /* promoted: it ran on this worker before the join */
    }
    check_event_wait(&ended[t - tasks]);
    return t->future.result;
}

static jd_result child(void *arg)
{
    int *count = arg;

    plain_write(*count, plain_read(*count) + 1);
    return (jd_result){ .ptr = arg };
}

static void setup_order(int first, int second)
{
    runtime.workers = workers;
    runtime.worker_count = 2;
    idle_init(&runtime.idle);
    for (unsigned i = 0; i < 2; i++) {
        workers[i].rt = &runtime;
        workers[i].index = i;
        workers[i].budget = 1000;
        workers[i].current = NULL;
        CHECK_THAT(deque_init(&workers[i].forks, 1, &item_memory, may_force));
        for (unsigned k = 0; k < TASKS / 2; k++)
            used[i][k] = false;
    }
    workers[0].current = &parent;
    parent.scope = &parent.root;
    for (unsigned i = 0; i < TASKS; i++) {
        atom_init(&tasks[i].future.refs, 0);
        check_event_init(&ended[i]);
    }
    queued = 0;
    ran[0] = ran[1] = 0;
    order[0] = first;
    order[1] = second;
}

static void setup(void)
{
    may_force = false;
    setup_order(1, 0);
}

static void setup_private(void)
{
    may_force = true;
    setup_order(1, 0);
}

static void setup_out_of_order(void)
{
    may_force = false;
    setup_order(0, 1);
}

static void forks(unsigned count)
{
    jd_fork *frame = check_alloc(CHILDREN * sizeof(*frame));

    for (unsigned i = 0; i < count; i++)
        jd_fork_start(&frame[i], child, &ran[i]);
    for (unsigned i = 0; i < CHILDREN; i++) {
        int index = order[i];

        if (index >= (int)count)
            continue;
        CHECK_THAT(jd_fork_join(&frame[index]).ptr == &ran[index]);
        CHECK_THAT(plain_read(ran[index]) == 1);
    }
    check_free(frame);
}

static void one(void)
{
    forks(1);
}

static void two(void)
{
    forks(2);
}

/* The task suspends between fork and join: its forks become tasks first (sched/suspend.c). */
static void promoting(void)
{
    jd_fork *frame = check_alloc(sizeof(*frame));

    jd_fork_start(frame, child, &ran[0]);
    fork_promote_all(&workers[0]);
    CHECK_THAT(jd_fork_join(frame).ptr == &ran[0]);
    CHECK_THAT(plain_read(ran[0]) == 1);
    check_free(frame);
}

static void thief(void)
{
    struct jd_task *t = fork_steal(&workers[1], &workers[0]);

    if (t)
        task_run(t);
}

/* As watchdog.c does for a worker that burns. */
static void force_and_steal(void)
{
    if (deque_lease(&workers[0].forks)) {
        check_heavy_fence();
        deque_force(&workers[0].forks);
    }
    thief();
}

static void thief_twice(void)
{
    thief();
    thief();
}

static void finish(void)
{
    CHECK_THAT(deque_len(&workers[0].forks) == 0);
    for (int i = 0; i < 2; i++)
        deque_fini(&workers[i].forks);
}

static const struct check_model models[] = {
    { .name = "fork-one", .setup = setup, .threads = { one, thief }, .finish = finish, .bound = 4 },
    { .name = "fork-two", .setup = setup, .threads = { two, thief }, .finish = finish, .bound = 3 },
    { .name = "fork-out-of-order",
      .setup = setup_out_of_order,
      .threads = { two, thief },
      .finish = finish,
      .bound = 2 },
    { .name = "fork-private",
      .setup = setup_private,
      .threads = { two, thief_twice },
      .finish = finish,
      .bound = 3 },
    { .name = "fork-forced",
      .setup = setup_private,
      .threads = { two, force_and_steal },
      .finish = finish,
      .bound = 3 },
    { .name = "fork-promote",
      .setup = setup,
      .threads = { promoting, thief },
      .finish = finish,
      .bound = 4 },
};

CHECK_MAIN(models)
