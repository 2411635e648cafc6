/* SPDX-License-Identifier: MIT */
/*
 * A thread of a pool: looks, runs, spins, dozes, sits down, leaves, as the roster says.
 *
 * I1  It is made with all signals blocked but those of faults: others are for the user's threads.
 * I2  What is thread-local is read by noinline functions: they are called in tasks, too.
 */
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "executor/pool.h"
#include "sched/wait.h"

#define SPIN_LOOKS 32 /* between two looks at the clock; how long: SPIN_NS, as a worker */
/* A lookout that is not needed looks again; each look costs some 10 us of CPU. */
#define TICK_MIN_NS INT64_C(50000)
#define TICK_MAX_NS INT64_C(800000)
/* Then a thread without work goes. Below 200 ms: an idle process makes no wake-ups after that. */
#define LINGER_NS INT64_C(100000000)

static _Thread_local struct {
    struct pool_thread *thread; /* NULL: not a pool's, or a simulated one's */
    const struct job *job;
    struct jd_executor *pool;
} self;

JD_NOINLINE const struct job *thread_job(void)
{
    return self.job;
}

JD_NOINLINE struct jd_executor *thread_pool(void)
{
    return self.job ? self.pool : NULL;
}

/* --- Bells --------------------------------------------------------------------------------------- */

static void futex_wake(const void *word)
{
    (void)syscall(SYS_futex, word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1, NULL, NULL, 0);
}

/* -ETIMEDOUT or 0; returns early for any reason. */
static int futex_sleep(const void *word, int64_t deadline)
{
    struct timespec ts = { .tv_sec = deadline / 1000000000, .tv_nsec = deadline % 1000000000 };
    long err = syscall(SYS_futex, word, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, 0,
                       deadline == CLOCK_FOREVER ? NULL : &ts, NULL, FUTEX_BITSET_MATCH_ANY);

    return err < 0 && errno == ETIMEDOUT ? -ETIMEDOUT : 0;
}

/* False: the deadline has passed. */
static bool sleep_until_rung(struct seat *s, int64_t deadline)
{
    while (!seat_was_rung(s)) /* bounded by the deadline, or by the pool's end */
        if (futex_sleep(&s->bell, deadline) == -ETIMEDOUT)
            return false;
    return true;
}

void thread_ring(struct pool_thread *t)
{
    const void *bell = &t->seat.bell; /* from here on an address: the thread may go */

    if (t->pool->is_simulated) {
        thread_sim_ring(t);
        return;
    }
    seat_ring(&t->seat);
    futex_wake(bell);
}

/* --- What it does ---------------------------------------------------------------------------------- */

/* Also by simulated ones, on whatever thread that is. */
JD_NOINLINE void thread_run(struct pool_thread *t, struct job *job, int64_t now)
{
    pool_started(t->pool, now - job->queued_at);
    atom_store(&t->since, now, relaxed); /* Relaxed, all: for reports, which may be a little off. */
    atom_store(&t->what, job->what, relaxed);
    self.pool = t->pool;
    self.job = job;
    job->type->run(job); /* its last access */
    self.job = NULL;
    atom_store(&t->what, 0, relaxed);
}

static bool spin_allowed(struct jd_executor *p)
{
    return p->can_spin && atom_load(&p->spin_pays, relaxed); /* Relaxed: a hint. */
}

static void spin(struct pool_thread *t)
{
    struct jd_executor *p = t->pool;
    int64_t end = clock_now() + SPIN_NS;

    t->may_spin = false;
    do { /* bounded by SPIN_NS */
        for (int i = 0; i < SPIN_LOOKS; i++) {
            if (roster_has_jobs(&p->roster))
                return;
            cpu_relax();
        }
    } while (clock_now() < end);
    atom_store(&p->spin_pays, 0, relaxed); /* Relaxed: a hint. */
}

static void doze(struct pool_thread *t)
{
    if (!sleep_until_rung(&t->seat, clock_now() + t->tick) &&
        !roster_doze_over(&t->pool->roster, &t->seat))
        (void)sleep_until_rung(&t->seat, CLOCK_FOREVER); /* true: somebody is about to ring */
    t->tick = t->tick < TICK_MAX_NS ? 2 * t->tick : TICK_MAX_NS;
}

/* False: it has retired. */
static bool sit(struct pool_thread *t)
{
    int64_t since = clock_now();

    if (!sleep_until_rung(&t->seat, since + LINGER_NS)) {
        if (roster_retire(&t->pool->roster, &t->seat) == ROSTER_RETIRED)
            return false;
        (void)sleep_until_rung(&t->seat, CLOCK_FOREVER); /* true, whenever it comes */
    }
    if (clock_now() - since < 2 * SPIN_NS)
        atom_store(&t->pool->spin_pays, 1, relaxed); /* Relaxed: a hint. */
    t->may_spin = true;
    t->tick = TICK_MIN_NS;
    return true;
}

/* ROSTER_QUIT or ROSTER_LAST: this was the end. */
static enum roster_next serve(struct pool_thread *t)
{
    struct jd_executor *p = t->pool;
    struct roster_call call;
    struct job *job = NULL;
    int64_t now = clock_now();
    enum roster_next next =
        roster_next(&p->roster, &t->seat, now, t->may_spin && spin_allowed(p), &job, &call);

    switch (next) {
    case ROSTER_RUN:
        if (call.ring || call.start)
            pool_carry_out(p, &call); /* first: the job may block for ever */
        thread_run(t, job, now);
        t->may_spin = true;
        t->tick = TICK_MIN_NS;
        break;
    case ROSTER_SPIN:
        spin(t);
        break;
    case ROSTER_DOZE:
        doze(t);
        break;
    case ROSTER_SIT:
        return sit(t) ? ROSTER_RUN : ROSTER_QUIT;
    case ROSTER_QUIT:
    case ROSTER_LAST:
        break;
    }
    return next;
}

static void *thread_main(void *arg)
{
    struct pool_thread *t = arg;
    enum roster_next next;

    self.thread = t;
    (void)pthread_setname_np(pthread_self(), t->pool->name); /* for people */
    roster_arrive(&t->pool->roster, &t->seat, clock_now());
    do { /* unbounded: until it is not needed any more */
        next = serve(t);
    } while (next != ROSTER_QUIT && next != ROSTER_LAST);
    pool_thread_gone(t, next == ROSTER_LAST);
    return NULL;
}

/* --- Its life -------------------------------------------------------------------------------------- */

static void block_signals(sigset_t *ret_former)
{
    static const int faults[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP };
    sigset_t set;

    sigfillset(&set);
    for (size_t i = 0; i < JD_ARRAY_LEN(faults); i++)
        sigdelset(&set, faults[i]);
    pthread_sigmask(SIG_SETMASK, &set, ret_former);
}

bool thread_make(struct pool_thread *t)
{
    sigset_t former;
    pthread_t id;
    int error;

    t->tick = TICK_MIN_NS;
    if (t->pool->is_simulated) {
        thread_sim_make(t);
        return true;
    }
    block_signals(&former);
    error = pthread_create(&id, NULL, thread_main, t);
    pthread_sigmask(SIG_SETMASK, &former, NULL);
    if (error)
        return false;
    spin_lock(
        &t->pool->lock); /* it may have come and gone, but nobody frees the record before this */
    t->id = id;
    t->has_id = true;
    spin_unlock(&t->pool->lock);
    return true;
}

bool thread_join(struct pool_thread *t, bool wait)
{
    if (t->pool->is_simulated)
        return true; /* there never was a thread */
    if (!wait)
        return pthread_tryjoin_np(t->id, NULL) == 0;
    if (pthread_equal(t->id, pthread_self()))
        (void)pthread_detach(t->id); /* cannot fail: nobody else has joined it */
    else
        (void)pthread_join(t->id, NULL); /* cannot fail, either */
    return true;
}

/* --- Jobs that wait in the runtime: sched/wait.c calls these around each wait of a plain thread ------ */

JD_NOINLINE void executor_thread_blocks(void)
{
    struct roster_call call;

    if (!self.thread || !self.job)
        return;
    roster_block(&self.pool->roster, &self.thread->seat, clock_now(), &call);
    if (call.ring || call.start)
        pool_carry_out(self.pool, &call);
}

JD_NOINLINE void executor_thread_goes_on(void)
{
    if (self.thread && self.job)
        roster_unblock(&self.pool->roster, &self.thread->seat);
}
