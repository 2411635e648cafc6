/* SPDX-License-Identifier: MIT */
/*
 * Everything at once, at random: spawn, join, await, cancel, scopes, shields, futures, forks,
 * semaphores, groups of wake-ups, yields and sleeps, on two to four workers, by both ports.
 *
 * What must hold at the end, whatever the order was:
 *   1. Every task that a spawn gave was entered and ended exactly once (entered = ended = spawned).
 *   2. Every future that was made was set or cancelled once (winners = made), and each of its
 *      awaiters that was not cancelled saw the value that won.
 *   3. Every fork ran once; the sums that forks compute are right.
 *   4. The permits of the shared semaphore are all back, and never more than its size were held.
 *   5. A wait that ended with -ECANCELED had a reason: a cancelled task or an expired scope.
 *   6. The error handler was never called, and the runtime ended with 0.
 *
 * Bounded by operations, not by time. Repeat a run with JD_TEST_SEED; more with JD_TEST_MIX_TREES.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <jackdaw/jackdaw.h>

#include "jd_test.h"
#include "refused.h"

#define CHILDREN_MAX 6
#define DEPTH_MAX 3
#define STEPS 8
#define PERMITS 3
#define FORK_DEPTH 9
#define TREES 60
#define FD_FIRST 512
#define FDS 3000

struct world {
    jd_sem sem;
    uint64_t seed;
    _Atomic long spawned, entered, ended;
    _Atomic long made, won;
    _Atomic long forked, fork_runs;
    _Atomic long holders, holders_max;
    _Atomic long canceled, expired, timed_out;
    _Atomic uint64_t next_seed;
};

/* A task's own random numbers (splitmix64), since a task may move between threads. */
struct dice {
    uint64_t state;
};

struct node {
    struct world *world;
    struct dice dice;
    int depth;
};

static struct world world;

static uint32_t roll(struct dice *d, uint32_t below)
{
    uint64_t z = (d->state += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (uint32_t)((z ^ (z >> 31)) % below);
}

static void count(_Atomic long *counter)
{
    atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

static struct dice new_dice(struct world *w)
{
    return (struct dice){ w->seed ^ atomic_fetch_add(&w->next_seed, UINT64_C(0x632be59bd9b4e019)) };
}

/* Rule 5, where no scope of the function's own is open. */
static void check_cancelled(int err)
{
    cr_assert(err == 0 || err == -ECANCELED, "%d", err);
    if (err == -ECANCELED)
        count(&world.canceled);
}

/* --- Single steps ----------------------------------------------------------------------------- */

static void step_yield(struct node *n)
{
    if (roll(&n->dice, 2))
        check_cancelled(jd_yield());
    else
        check_cancelled(jd_checkpoint());
}

static void step_sleep(struct node *n)
{
    check_cancelled(jd_sleep(JD_US(roll(&n->dice, 200))));
}

/* A scope that may expire, be cancelled by its owner, or be left in time. */
static void step_scope(struct node *n)
{
    jd_scope outer, inner;
    int err, ended;

    jd_scope_open(&outer, JD_US(roll(&n->dice, 150)));
    if (roll(&n->dice, 4) == 0)
        jd_scope_cancel(&outer);
    if (roll(&n->dice, 3) == 0) {
        jd_scope_open_shielded(&inner, JD_FOREVER);
        cr_assert_eq(jd_sleep(JD_US(roll(&n->dice, 50))), 0, "a shield let a cancel through");
        cr_assert_eq(jd_scope_close(&inner), 0);
    }
    err = jd_sleep(JD_US(roll(&n->dice, 150)));
    ended = jd_scope_close(&outer);
    cr_assert(err == 0 || err == -ECANCELED, "%d", err);
    cr_assert(ended == 0 || ended == -ECANCELED || ended == -ETIMEDOUT, "%d", ended);
    if (err == -ECANCELED && ended == 0)
        cr_assert_eq(jd_checkpoint(), -ECANCELED, "cancelled by nobody"); /* it stays cancelled */
    if (ended != 0)
        count(&world.expired);
}

static void step_semaphore(struct node *n)
{
    struct world *w = n->world;
    int err = roll(&n->dice, 2) ? jd_sem_acquire(&w->sem)
                                : jd_sem_acquire_for(&w->sem, JD_US(roll(&n->dice, 100)));
    long now, max;

    cr_assert(err == 0 || err == -ECANCELED || err == -ETIMEDOUT, "%d", err);
    if (err)
        return;
    now = atomic_fetch_add(&w->holders, 1) + 1;
    max = atomic_load(&w->holders_max);
    while (now > max && !atomic_compare_exchange_weak(&w->holders_max, &max, now)) { /* retry */
    }
    step_yield(n);
    atomic_fetch_sub(&w->holders, 1);
    cr_assert_eq(jd_sem_release(&w->sem), 0);
}

/* --- Futures ---------------------------------------------------------------------------------- */

struct setter {
    struct node node;
    jd_future *future;
    intptr_t value;
};

static jd_result set_future(void *arg)
{
    struct setter *s = arg;
    int err;

    count(&world.entered);
    if (roll(&s->node.dice, 2))
        step_yield(&s->node);
    else
        step_sleep(&s->node);
    err = roll(&s->node.dice, 8) == 0 ? jd_future_cancel(s->future, "mix")
                                      : jd_future_set(s->future, jd_ok_num(s->value));
    cr_assert(err == 0 || err == -EALREADY, "%d", err);
    if (err == 0)
        count(&world.won);
    count(&world.ended);
    return jd_ok(NULL);
}

static jd_task *spawn_as(jd_fn fn, void *arg, unsigned flags)
{
    jd_task_options opt = JD_TASK_OPTIONS_INIT;
    jd_task *t;

    opt.flags = flags;
    count(&world.spawned); /* first: an eager one may end before the spawn returns */
    t = jd_spawn_with(fn, arg, &opt);
    cr_assert_not_null(t);
    return t;
}

static jd_task *spawn(jd_fn fn, void *arg)
{
    struct dice d = new_dice(&world);
    unsigned eager = roll(&d, 4) == 0 ? JD_TASK_EAGER : 0;
    unsigned pinned = roll(&d, 8) == 0 ? JD_TASK_PINNED : 0;

    return spawn_as(fn, arg, eager | pinned);
}

/* Two setters race for one future, we await it, perhaps within a time. */
static void step_future(struct node *n)
{
    struct setter setters[2];
    jd_task *tasks[2];
    jd_future *f;
    jd_result r;
    int err;

    cr_assert_eq(jd_future_new(NULL, &f), 0);
    count(&world.made);
    for (int i = 0; i < 2; i++) {
        setters[i] = (struct setter){ { n->world, new_dice(n->world), 0 }, f, 100 + i };
        tasks[i] = spawn(set_future, &setters[i]);
    }
    err = jd_future_wait(f, roll(&n->dice, 2) ? JD_FOREVER : JD_US(roll(&n->dice, 100)));
    cr_assert(err == 0 || err == -ETIMEDOUT || err == -ECANCELED, "%d", err);
    if (err == -ETIMEDOUT)
        count(&world.timed_out);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(jd_join(tasks[i]).error, 0);
    cr_assert_eq(jd_future_result(f, &r), 0);
    cr_assert(r.error == -ECANCELED || (r.error == 0 && (r.num == 100 || r.num == 101)));
    jd_future_unref(f);
}

/* --- Forks ------------------------------------------------------------------------------------ */

static jd_result fork_tree(void *arg)
{
    intptr_t depth = (intptr_t)arg;
    struct dice d = new_dice(&world);
    jd_fork f;
    jd_result left, right;

    if (depth == 0)
        return jd_ok_num(1);
    jd_fork_start(&f, fork_tree, (void *)(depth - 1));
    count(&world.forked);
    if (roll(&d, 16) == 0)
        check_cancelled(jd_yield());
    if (roll(&d, 64) == 0)
        check_cancelled(jd_sleep(JD_US(roll(&d, 50))));
    right = fork_tree((void *)(depth - 1));
    left = jd_fork_join(&f);
    count(&world.fork_runs);
    return jd_ok_num(left.num + right.num);
}

static void step_fork(struct node *n)
{
    intptr_t depth = (intptr_t)roll(&n->dice, FORK_DEPTH);

    cr_assert_eq(fork_tree((void *)depth).num, (intptr_t)1 << depth);
}

/* --- I/O: a byte through a pair of sockets ----------------------------------------------------- */

struct receiver {
    int fd;
};

static jd_result receive(void *arg)
{
    struct receiver *r = arg;
    char byte = 0;
    ssize_t n;

    count(&world.entered);
    n = jd_recv(r->fd, &byte, 1, 0);
    cr_assert(n == 1 || n == 0 || n == -ECANCELED || n == -EBADF, "%zd", n);
    cr_assert(n != 1 || byte == 'x');
    count(&world.ended);
    return jd_ok(NULL);
}

/* A connected pair. The near end gets a number that nobody gets soon again: a receiver that is late
 * must not meet another file under the number of a closed one. */
static void open_pair(int *ret_near, int *ret_far)
{
    static _Atomic unsigned next;
    int ends[2];

    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    *ret_near = fcntl(ends[0], F_DUPFD_CLOEXEC, FD_FIRST + (int)(atomic_fetch_add(&next, 1) % FDS));
    cr_assert_geq(*ret_near, FD_FIRST);
    close(ends[0]);
    *ret_far = ends[1];
}

/* Somebody waits in a recv; it is served, cancelled, or its descriptor is closed. */
static void step_io(struct node *n)
{
    bool closed = false;
    struct receiver r;
    jd_task *t;
    int far;

    open_pair(&r.fd, &far);
    t = spawn(receive, &r);
    if (roll(&n->dice, 2))
        step_yield(n);
    switch (roll(&n->dice, 3)) {
    case 0:
        cr_assert_eq(write(far, "x", 1), 1);
        break;
    case 1:
        (void)jd_task_cancel(t, "mix"); /* -EALREADY: it was served */
        break;
    default:
        cr_assert_eq(jd_close(r.fd), 0);
        closed = true;
        break;
    }
    cr_assert_eq(jd_join(t).error, 0);
    cr_assert_eq(jd_close(far), 0);
    if (!closed)
        cr_assert_eq(jd_close(r.fd), 0);
}

/* --- Trees of tasks --------------------------------------------------------------------------- */

static jd_result node_task(void *arg);

static void end_child(struct node *n, jd_task *t)
{
    jd_result r;
    int err;

    switch (roll(&n->dice, 3)) {
    case 0:
        err = jd_await_outcome(t, &r);
        cr_assert(err == 0 || err == -ECANCELED, "%d", err);
        break; /* not joined yet: jd_join() below takes the reference */
    case 1:
        err = jd_task_cancel_wait(t, "mix");
        cr_assert(err == 0 || err == -EALREADY || err == -ECANCELED, "%d", err);
        break;
    default:
        break;
    }
    cr_assert_eq(jd_join(t).error, 0);
}

static void step_children(struct node *n)
{
    struct node nodes[CHILDREN_MAX];
    jd_task *tasks[CHILDREN_MAX];
    int children = (int)roll(&n->dice, CHILDREN_MAX) + 1;

    if (n->depth >= DEPTH_MAX)
        return;
    for (int i = 0; i < children; i++) {
        nodes[i] = (struct node){ n->world, new_dice(n->world), n->depth + 1 };
        tasks[i] = spawn(node_task, &nodes[i]);
    }
    if (roll(&n->dice, 2))
        step_yield(n);
    for (int i = 0; i < children; i++)
        if (roll(&n->dice, 5) == 0)
            (void)jd_task_cancel(tasks[i], "mix"); /* -EALREADY: it had ended */
    for (int i = children; i-- > 0;)
        end_child(n, tasks[i]);
}

static jd_result node_task(void *arg)
{
    static void (*const steps[])(struct node *) = { step_yield,  step_sleep,   step_scope,
                                                    step_future, step_fork,    step_semaphore,
                                                    step_io,     step_children };
    struct node *n = arg;
    int rounds = (int)roll(&n->dice, STEPS);

    count(&world.entered);
    for (int i = 0; i < rounds; i++)
        steps[roll(&n->dice, sizeof(steps) / sizeof(steps[0]))](n);
    step_children(n);
    count(&world.ended);
    return jd_ok(NULL);
}

static unsigned long trees(void)
{
    const char *text = getenv("JD_TEST_MIX_TREES");

    return text ? strtoul(text, NULL, 10) : jd_test_rounds(TREES);
}

static jd_result main_task(void *arg)
{
    struct node nodes[4];
    jd_task *tasks[4];

    (void)arg;
    for (unsigned long round = 0, rounds = trees(); round < rounds; round++) {
        for (int i = 0; i < 4; i++) {
            nodes[i] = (struct node){ &world, new_dice(&world), 0 };
            tasks[i] = spawn(node_task, &nodes[i]);
        }
        for (int i = 0; i < 4; i++)
            cr_assert_eq(jd_join(tasks[i]).error, 0);
    }
    return jd_ok(NULL);
}

static void allow_many_files(void)
{
    struct rlimit limit;

    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    if (limit.rlim_cur < FD_FIRST + FDS + 256)
        jd_test_skip("not enough file descriptors allowed");
}

static void mix(unsigned reactor, unsigned workers, unsigned flags)
{
    jd_config cfg = JD_CONFIG_INIT;
    jd_result r;

    allow_many_files();
    world.seed = jd_test_seed();
    cr_assert_eq(jd_sem_init_bounded(&world.sem, PERMITS), 0);
    cfg.workers = workers;
    cfg.reactor = reactor;
    cfg.flags = JD_NO_ENV | flags;
    r = jd_run(main_task, NULL, &cfg);
    skip_if_refused(cfg.reactor, r.error);
    cr_assert_eq(r.error, 0);
    cr_assert_eq(world.entered, world.spawned);
    cr_assert_eq(world.ended, world.spawned);
    cr_assert_eq(world.won, world.made);
    cr_assert_eq(world.fork_runs, world.forked);
    cr_assert_eq(world.holders, 0);
    cr_assert_leq(world.holders_max, PERMITS);
    cr_assert_eq(jd_sem_value(&world.sem), PERMITS);
    fprintf(stderr,
            "# %ld tasks, %ld forks, %ld futures (%ld waits timed out), %ld cancelled waits, "
            "%ld scopes ended, %ld permits held at most\n",
            world.spawned, world.forked, world.made, world.timed_out, world.canceled, world.expired,
            world.holders_max);
}

#define MIX(port, reactor, workers) \
    Test(mix, port##_##workers, .timeout = 20) \
    { \
        mix(reactor, workers, 0); \
    }

MIX(uring, JD_REACTOR_URING, 1)
MIX(uring, JD_REACTOR_URING, 2)
MIX(uring, JD_REACTOR_URING, 4)
MIX(epoll, JD_REACTOR_EPOLL, 2)
MIX(epoll, JD_REACTOR_EPOLL, 3)

Test(mix, fifo, .timeout = 20)
{
    mix(JD_REACTOR_AUTO, 1, JD_FIFO);
}
