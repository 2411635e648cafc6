/* SPDX-License-Identifier: MIT */
/*
 * Cost of the timer wheel on one thread, lock included: a million timers at random within 60 s, and
 * the usual timeout (arm, then disarm) beside few and many others. Median of several runs, ns.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/rng.h"
#include "reactor/timer.h"

#define TIMERS 1000000u
#define SPAN_NS INT64_C(60000000000)
#define RUNS 5

static struct timer_wheel wheel;
static struct timer *timers;
static struct rng rng;
static int64_t longest_turn = INT64_MAX; /* least of the runs: without preemption */

static void *claim(struct timer *t)
{
    return t;
}

static void deliver(void *token, void *ctx)
{
    (void)token;
    ++*(unsigned *)ctx;
}

static int64_t random_deadline(int64_t now)
{
    return now + (int64_t)(rng_next(&rng) % (uint64_t)SPAN_NS);
}

static void arm_all(unsigned count)
{
    timer_wheel_init(&wheel, 0);
    for (unsigned i = 0; i < count; i++)
        timer_init(&timers[i], claim);
    for (unsigned i = 0; i < count; i++)
        timers[i].deadline = random_deadline(0); /* chosen outside the measured part */
}

static double measure_arm(void)
{
    arm_all(TIMERS);
    int64_t start = clock_now();

    for (unsigned i = 0; i < TIMERS; i++)
        timer_arm(&wheel, &timers[i], timers[i].deadline);
    return (double)(clock_now() - start) / TIMERS;
}

static double measure_disarm(void)
{
    (void)measure_arm();
    int64_t start = clock_now();

    for (unsigned i = 0; i < TIMERS; i++)
        timer_disarm(&timers[i]);
    return (double)(clock_now() - start) / TIMERS;
}

/* A turn each millisecond of the wheel's time, as a busy worker does. */
static double measure_expire(void)
{
    unsigned fired = 0;
    int64_t turn = 0, used = 0, longest = 0;

    (void)measure_arm();
    while (fired < TIMERS) {
        turn += 1000000;
        int64_t start = clock_now();

        timer_wheel_expire(&wheel, turn, deliver, &fired);
        int64_t took = clock_now() - start;

        used += took;
        longest = took > longest ? took : longest;
    }
    longest_turn = longest < longest_turn ? longest : longest_turn;
    return (double)used / TIMERS;
}

/* All due at once: the sorting alone. */
static double measure_expire_burst(void)
{
    unsigned fired = 0;

    (void)measure_arm();
    int64_t start = clock_now();

    while (fired < TIMERS)
        timer_wheel_expire(&wheel, SPAN_NS, deliver, &fired);
    return (double)(clock_now() - start) / TIMERS;
}

static double measure_timeout(unsigned live)
{
    struct timer t;
    int64_t deadline = SPAN_NS / 2;

    arm_all(live);
    for (unsigned i = 0; i < live; i++)
        timer_arm(&wheel, &timers[i], timers[i].deadline);
    timer_init(&t, claim);
    int64_t start = clock_now();

    for (unsigned i = 0; i < TIMERS; i++) {
        timer_arm(&wheel, &t, deadline++);
        timer_disarm(&t);
    }
    return (double)(clock_now() - start) / TIMERS;
}

static double measure_timeout_1k(void)
{
    return measure_timeout(1000);
}

static double measure_timeout_900k(void)
{
    return measure_timeout(900000);
}

static double measure_timeout_alone(void)
{
    return measure_timeout(0);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static void report(const char *name, double (*measure)(void))
{
    double ns[RUNS];

    for (unsigned run = 0; run < RUNS; run++)
        ns[run] = measure();
    qsort(ns, RUNS, sizeof(ns[0]), compare);
    printf("%-30s n=%u  %7.2f ns/op  (%.2f .. %.2f)\n", name, TIMERS, ns[RUNS / 2], ns[0],
           ns[RUNS - 1]);
}

int main(void)
{
    timers = mem_alloc(TIMERS * sizeof(*timers));
    if (!timers)
        return 1;
    rng_seed(&rng, 1);
    report("arm, within 60 s", measure_arm);
    report("disarm, in arming order", measure_disarm);
    report("arm+disarm, 1k live", measure_timeout_1k);
    report("arm+disarm, 900k live", measure_timeout_900k);
    report("arm+disarm, the only one", measure_timeout_alone);
    report("expire, a turn per ms", measure_expire);
    report("expire, all at once", measure_expire_burst);
    printf("%-30s %.1f us\n", "longest turn of expire", (double)longest_turn / 1000);
    mem_free(timers, TIMERS * sizeof(*timers));
    return 0;
}
