/* SPDX-License-Identifier: MIT */
/*
 * The watchdog thread: what nobody looks at because its worker burns CPU is found here, and an idle
 * worker is woken to serve it (Go's sysmon).
 *
 * I1  While at least one worker runs and one is parked it ticks every millisecond. After five ticks
 *     with all of them running or all of them parked it dozes on a futex: for 20 ms, or for ever
 *     (I8 of the architecture: an idle process makes no wake-ups). Whoever parks or unparks ends
 *     the doze, so help comes within two ticks also right after a quiet time (I4); the five ticks
 *     bound the price of that to one futex call in 5 ms.
 * I2  It looks at shared memory only, writes nothing but `stale` and `preempt` hints and its own
 *     notes, and never runs user code except the error handler (slow steps).
 * I3  Doze and poke are a Dekker pair: the watchdog says "sleeping", then counts running workers;
 *     a worker changes that count, then looks for "sleeping".
 */
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/membarrier.h"
#include "sched/error.h"
#include "sched/worker.h"

#define TICK_NS INT64_C(1000000)
#define QUIET_TICK_NS INT64_C(20000000)
#define QUIET_TICKS 5

static long futex(const void *word, int op, uint32_t value, const struct timespec *timeout)
{
    return syscall(SYS_futex, word, op | FUTEX_PRIVATE_FLAG, value, timeout, NULL, 0);
}

/* Is there something of this worker's that others could serve? */
static bool leaves_work(struct jd_runtime *rt, struct worker *w, int64_t now)
{
    return !fifo_is_empty(&w->ready) || deque_len(&w->forks) != 0 || !lifo_is_empty(&w->lifo) ||
           timer_wheel_next(&w->timers) <= now || reactor_needs_help(rt->reactor, w->index);
}

static void report_slow_step(struct jd_runtime *rt, struct worker *w, int64_t now)
{
    int64_t limit = atom_load(&rt->slow_step, relaxed); /* Relaxed: a setting. */

    if (limit <= 0 || now - w->seen_since < limit || w->reported_epoch == w->seen_epoch)
        return;
    w->reported_epoch = w->seen_epoch;
    error_report_slow_step(rt, w->index, now - w->seen_since);
}

/* True: the worker has not moved since the last tick and leaves work. */
static bool look_at(struct jd_runtime *rt, struct worker *w, int64_t now)
{
    uint64_t epoch = atom_load(&w->epoch, relaxed); /* Relaxed: hints, all of them. */

    if (atom_load(&w->is_parked, relaxed) || !atom_load(&w->serving, relaxed))
        return false;
    if (epoch != w->seen_epoch) {
        w->seen_epoch = epoch;
        w->seen_since = now;
        return false;
    }
    atom_store(&w->preempt, 1, relaxed);
    report_slow_step(rt, w, now);
    if (!leaves_work(rt, w, now))
        return false;
    atom_store(&w->stale, 1, relaxed);
    return true;
}

/* One heavy fence for the forks of all workers that burn (deque.h I8). */
static void force_forks(struct jd_runtime *rt)
{
    if (!membarrier_fence())
        return; /* refused since the start: the owners answer the lease themselves */
    for (unsigned i = 0; i < rt->worker_count; i++)
        deque_force(&rt->workers[i].forks);
}

void watchdog_tick(struct jd_runtime *rt)
{
    int64_t now = clock_now();
    bool help = false, leased = false;

    for (unsigned i = 0; i < rt->worker_count; i++) {
        if (!look_at(rt, &rt->workers[i], now))
            continue;
        help = true;
        if (rt->worker_count > 1) /* else there are no thieves */
            leased |= deque_lease(&rt->workers[i].forks);
    }
    if (leased)
        force_forks(rt);
    if (help && idle_wants_wake(&rt->idle)) {
        int index = idle_claim(&rt->idle);

        if (index >= 0)
            reactor_wake(rt->reactor, (unsigned)index);
    }
}

/* Until a worker parks or unparks, or the runtime ends; a tick's time if somebody runs. True: it
 * was poked. */
static bool doze(struct jd_runtime *rt, uint32_t running)
{
    const struct timespec tick = { .tv_sec = 0, .tv_nsec = QUIET_TICK_NS };
    bool poked;

    /* [DOG-1] Seq_cst, Dekker with watchdog_poke(). */
    atom_store(&rt->watchdog.sleeping, 1, seq_cst);
    if (atom_load(&rt->running, seq_cst) == running && !atom_load(&rt->watchdog.stop, seq_cst))
        (void)futex(&rt->watchdog.sleeping, FUTEX_WAIT, 1, running ? &tick : NULL); /* any return */
    poked = !atom_exchange(&rt->watchdog.sleeping, 0, seq_cst);                     /* [DOG-1] */
    return poked || atom_load(&rt->running, relaxed) != running; /* Relaxed: a heuristic. */
}

static void nap(struct jd_runtime *rt, int64_t ns)
{
    struct timespec ts = { .tv_sec = 0, .tv_nsec = ns };

    /* On the stop word, so that the end of the runtime does not wait for a tick. */
    (void)futex(&rt->watchdog.stop, FUTEX_WAIT, 0, &ts);
}

static void *watchdog_main(void *arg)
{
    struct jd_runtime *rt = arg;
    unsigned quiet = 0;

    while (!atom_load(&rt->watchdog.stop, acquire)) {        /* [DOG-2] unbounded: until stopped */
        uint32_t running = atom_load(&rt->running, relaxed); /* Relaxed: a heuristic. */

        watchdog_tick(rt);
        quiet = running > 0 && running < rt->worker_count ? 0 : quiet + 1;
        if (quiet <= QUIET_TICKS) /* a single worker has nobody to help it: only its reports */
            nap(rt, rt->worker_count > 1 ? TICK_NS : QUIET_TICK_NS);
        else if (doze(rt, running))
            quiet = 0;
    }
    return NULL;
}

/* After a worker counted itself as running, or as parked. */
void watchdog_poke(struct jd_runtime *rt)
{
    /* [DOG-1] Seq_cst, Dekker with doze(). */
    if (JD_LIKELY(!atom_load(&rt->watchdog.sleeping, seq_cst)))
        return;
    if (atom_exchange(&rt->watchdog.sleeping, 0, seq_cst)) /* [DOG-1] one of us rings */
        (void)futex(&rt->watchdog.sleeping, FUTEX_WAKE, 1, NULL);
}

int watchdog_start(struct jd_runtime *rt)
{
    sigset_t all, old;
    int err;

    atom_store(&rt->watchdog.stop, 0, relaxed); /* Relaxed: the thread's start publishes. */
    atom_store(&rt->watchdog.sleeping, 0, relaxed);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    err = pthread_create(&rt->watchdog.thread, NULL, watchdog_main, rt);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    rt->watchdog.running = err == 0;
    return -err;
}

void watchdog_stop(struct jd_runtime *rt)
{
    if (!rt->watchdog.running)
        return;
    atom_store(&rt->watchdog.stop, 1, seq_cst); /* [DOG-2] */
    atom_store(&rt->watchdog.sleeping, 0, seq_cst);
    (void)futex(&rt->watchdog.stop, FUTEX_WAKE, INT_MAX, NULL);
    (void)futex(&rt->watchdog.sleeping, FUTEX_WAKE, INT_MAX, NULL);
    pthread_join(rt->watchdog.thread, NULL);
    rt->watchdog.running = false;
}
