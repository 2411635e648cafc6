/* SPDX-License-Identifier: MIT */
/*
 * Model of reactor/timer.c as sched/wait.c, sched/poll.c and sched/park.c use it: expiry against
 * disarm, arm and re-arm from other threads, two that expire at once, and the owner's park.
 * Claims: a timer ends once, by its expiry or by its disarm; after timer_disarm() nobody touches it,
 * so its frame may go; a wait that a timer ends sees the cause; the owner never sleeps past a
 * deadline that somebody armed.
 *
 * The .c file is included because it is the protocol under test.
 */
#include "reactor/timer.c"

#include "check.h"
#include "task/word.h"

#define TIMERS 2

/* sched/wait.h */
struct wait_timer {
    struct timer timer;
    struct task_word *word;
    uint32_t seq;
};

static struct timer_wheel wheel;
static struct task_word word;
static struct wait_timer *frame; /* published by a lock in setup, before the threads */
static struct check_event ready;
static struct check_event bell;
static JD_ATOMIC(uint32_t) parked;
static int fired[TIMERS];
static int disarmed[TIMERS];
static struct timer timers[TIMERS];
static int64_t now;

static void *claim_index(struct timer *t)
{
    return &fired[t - timers];
}

/* Whoever delivers is alone under the expirer. */
static void deliver_index(void *token, void *ctx)
{
    int *count = token;

    (void)ctx;
    plain_write(*count, plain_read(*count) + 1);
}

static void setup(void)
{
    timer_wheel_init(&wheel, 0);
    for (int i = 0; i < TIMERS; i++) {
        timer_init(&timers[i], claim_index);
        fired[i] = 0;
        disarmed[i] = 0;
    }
    atom_init(&word.bits, (uint64_t)WORD_RUNNING);
    check_event_init(&ready);
    check_event_init(&bell);
    atom_init(&parked, 0);
    frame = NULL;
    now = 100;
}

static void setup_armed(void)
{
    setup();
    (void)timer_arm(&wheel, &timers[0], 50);
    (void)timer_arm(&wheel, &timers[1], 60);
}

static void expirer(void)
{
    (void)timer_wheel_expire(&wheel, now, deliver_index, NULL);
}

static void disarmer(void)
{
    disarmed[0] += timer_disarm(&timers[0]);
    disarmed[0] += timer_disarm(&timers[0]); /* twice is once */
}

/* The timer is ours again after a disarm, whichever way it ended. */
static void rearmer(void)
{
    disarmed[0] += timer_disarm(&timers[0]);
    timer_init(&timers[0], claim_index);
    (void)timer_arm(&wheel, &timers[0], 70);
    disarmed[0] += timer_disarm(&timers[0]);
}

static void finish_armed(void)
{
    (void)timer_wheel_expire(&wheel, now, deliver_index, NULL);
    CHECK_THAT(fired[0] + disarmed[0] == 1);
    CHECK_THAT(fired[1] == 1);
    CHECK_THAT(timer_wheel_count(&wheel) == 0 && timer_wheel_next(&wheel) == INT64_MAX);
}

static void finish_rearmed(void)
{
    (void)timer_wheel_expire(&wheel, now, deliver_index, NULL);
    CHECK_THAT(fired[0] + disarmed[0] == 2);
    CHECK_THAT(fired[1] == 1 && timer_wheel_count(&wheel) == 0);
}

/* --- A timed wait whose timer is in its frame (sched/wait.c, task_sleep) --------------------- */

static void *wait_claim(struct timer *timer)
{
    struct wait_timer *t = JD_CONTAINER_OF(timer, struct wait_timer, timer);

    return word_wake(t->word, t->seq, CAUSE_TIMED_OUT) == WAKE_QUEUE ? t->word : NULL;
}

static void deliver_wait(void *token, void *ctx)
{
    (void)ctx;
    CHECK_THAT(token == &word);
    check_event_post(&ready);
}

static uint32_t wait_arm(int64_t deadline)
{
    struct wait_timer *t = check_alloc(sizeof(*t));

    t->word = &word;
    t->seq = word_wait_begin(&word, /* cancellable= */ false);
    timer_init(&t->timer, wait_claim);
    (void)timer_arm(&wheel, &t->timer, deadline);
    frame = t;
    return t->seq;
}

static unsigned wait_end(void)
{
    unsigned cause;

    if (word_park(&word))
        check_event_wait(&ready);
    word_resume(&word);
    cause = word_cause(&word);
    if (cause != CAUSE_TIMED_OUT)
        (void)timer_disarm(&frame->timer);
    check_free(frame);
    return cause;
}

static void setup_wait(void)
{
    setup();
    (void)wait_arm(50);
}

static void waiter(void)
{
    unsigned cause = wait_end();

    CHECK_THAT(cause == CAUSE_TIMED_OUT || cause == CAUSE_GRANTED);
}

/* Two waits in a row: a late timer of the first one must not end the second. */
static void waiter_of_two(void)
{
    uint32_t second;

    (void)wait_end();
    second = wait_arm(1000);
    CHECK_THAT(word_wake(&word, second, CAUSE_GRANTED) == WAKE_WON);
    CHECK_THAT(wait_end() == CAUSE_GRANTED);
}

static void granter(void)
{
    if (word_wake(&word, 1, CAUSE_GRANTED) == WAKE_QUEUE)
        check_event_post(&ready);
}

static void wait_expirer(void)
{
    (void)timer_wheel_expire(&wheel, now, deliver_wait, NULL);
}

static void finish_wait(void)
{
    CHECK_THAT(timer_wheel_count(&wheel) == 0);
}

/* --- The owner's park ------------------------------------------------------------------------ */

static void armer(void)
{
    if (timer_arm(&wheel, &timers[0], 50) && atom_exchange(&parked, 0, seq_cst)) /* S1, S2 */
        check_event_post(&bell);
}

/* Sleeps until the deadline that it knows of; with none it needs the bell. */
static void owner(void)
{
    while (fired[0] == 0) {
        (void)timer_wheel_expire(&wheel, now, deliver_index, NULL);
        if (fired[0])
            break;
        atom_store(&parked, 1, seq_cst);             /* P1 */
        if (timer_wheel_next(&wheel) == INT64_MAX) { /* P2 */
            check_event_wait(&bell);
        } else if (!atom_exchange(&parked, 0, seq_cst)) {
            check_event_wait(&bell);
        }
    }
}

static void finish_park(void)
{
    CHECK_THAT(fired[0] == 1);
}

static const struct check_model models[] = {
    { .name = "timer-disarm",
      .setup = setup_armed,
      .threads = { expirer, disarmer },
      .finish = finish_armed,
      .bound = 4 },
    { .name = "timer-two-expirers",
      .setup = setup_armed,
      .threads = { expirer, disarmer, expirer },
      .finish = finish_armed },
    { .name = "timer-rearm",
      .setup = setup_armed,
      .threads = { expirer, rearmer },
      .finish = finish_rearmed,
      .bound = 4 },
    { .name = "timer-wait",
      .setup = setup_wait,
      .threads = { waiter, wait_expirer, granter },
      .finish = finish_wait,
      .bound = 3 },
    { .name = "timer-next-wait",
      .setup = setup_wait,
      .threads = { waiter_of_two, wait_expirer, granter },
      .finish = finish_wait },
    { .name = "timer-park",
      .setup = setup,
      .threads = { owner, armer },
      .finish = finish_park,
      .bound = 3 },
};

CHECK_MAIN(models)
