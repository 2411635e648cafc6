/* SPDX-License-Identifier: MIT */
/*
 * Model of task/parker.c: a plain thread that waits on its state word and a futex. Claims: a wake
 * is never lost, whenever it comes, also when a late wake of the wait before makes the futex
 * return early; a deadline and a grant do not both end a wait; what was granted is visible.
 *
 * The .c file is included because it is the protocol under test; only its system call is replaced.
 */
#include <errno.h>
#include <linux/futex.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "atomic/atomic.h"

#define FIRST_SEQ 2 /* of the first wait: word_reset() takes one number, word_wait_begin() one */

static long model_syscall(long number, const void *word, int operation, ...);

#define syscall(...) model_syscall(__VA_ARGS__)
#include "task/parker.c"
#undef syscall

static struct {
    struct parker *parker;
    JD_ATOMIC(uint32_t) armed; /* number of the wait that is open; 0 = none yet */
    JD_ATOMIC(uint32_t) wakes; /* FUTEX_WAKE calls */
    int gift[3];
    unsigned cause[3];
    bool expires; /* futex waits may time out */
} s;

void *mem_calloc(size_t bytes)
{
    return check_alloc(bytes);
}

/* A sleeper: the kernel compares and goes to sleep in one step, then only a wake ends it. */
struct sleep {
    const void *word;
    uint32_t seen;
    uint32_t wakes;
    bool asleep;
};

static bool sleep_ends(void *arg)
{
    struct sleep *sleep = arg;

    if (sleep->asleep)
        return check_peek(&s.wakes) != sleep->wakes;
    if ((uint32_t)check_newest((void *)(uintptr_t)sleep->word, sizeof(uint32_t)) != sleep->seen)
        return true;
    sleep->asleep = true;
    sleep->wakes = check_peek(&s.wakes);
    return false;
}

static long model_syscall(long number, const void *word, int operation, ...)
{
    va_list args;
    uint32_t value;

    CHECK_THAT(number == SYS_futex);
    va_start(args, operation);
    value = va_arg(args, uint32_t);
    va_end(args);
    if ((operation & FUTEX_CMD_MASK) == FUTEX_WAKE) {
        atom_fetch_add(&s.wakes, 1, release);
        return 1;
    }
    if (s.expires && check_choice(2) == 1) {
        errno = ETIMEDOUT;
        return -1;
    }
    struct sleep sleep = { .word = word, .seen = value };

    check_block_until(sleep_ends, &sleep);
    if (sleep.asleep) /* a real wake orders, by the kernel's locks; a failed comparison does not */
        (void)atom_fetch_add(&s.wakes, 0, acquire);
    return 0;
}

static void setup_expiring(bool expires)
{
    static struct parker first; /* the pool keeps one parker between executions */

    first = (struct parker){ .target.kind = TARGET_THREAD };
    atom_init(&first.target.word.bits, (uint64_t)WORD_DONE);
    atom_init(&first.woken, 0);
    spin_init(&pool.lock);
    pool.head = &first.spare;
    s.parker = &first;
    atom_init(&s.armed, 0);
    atom_init(&s.wakes, 0);
    s.gift[0] = s.gift[1] = s.gift[2] = 0;
    s.expires = expires;
}

static void setup(void)
{
    setup_expiring(false);
}

static void setup_deadline(void)
{
    setup_expiring(true);
}

static void wait_once(int round)
{
    struct parker *p = parker_take();
    uint32_t seq;

    CHECK_THAT(p == s.parker);
    seq = word_wait_begin(&parker_target(p)->word, /* cancellable= */ false);
    atom_store(&s.armed, seq, release);
    s.cause[round] = parker_wait(p, seq, s.expires ? 1 : CLOCK_FOREVER);
    if (s.cause[round] == CAUSE_GRANTED)
        CHECK_THAT(plain_read(s.gift[round]) == 1);
    parker_put(p);
}

static void waiter_once(void)
{
    wait_once(0);
}

static void waiter_twice(void)
{
    wait_once(0);
    wait_once(1);
}

static void grant(uint32_t seq, int round)
{
    plain_write(s.gift[round], 1);
    if (word_wake(&s.parker->target.word, seq, CAUSE_GRANTED) == WAKE_QUEUE)
        parker_ready(&s.parker->target);
}

/* The number of a wait later than this one. */
static uint32_t armed(uint32_t after)
{
    uint32_t seq;

    while ((seq = atom_load(&s.armed, acquire)) <= after)
        spin_hint();
    return seq;
}

static void granter(void)
{
    grant(armed(0), 0);
}

/* Grants the second wait only; its wake meets the late one of the first. */
static void granter_of_second(void)
{
    grant(armed(FIRST_SEQ), 1);
}

static void finish(void)
{
    CHECK_THAT(s.cause[0] == CAUSE_GRANTED || (s.expires && s.cause[0] == CAUSE_TIMED_OUT));
    CHECK_THAT(pool.head == &s.parker->spare);
}

static const struct check_model models[] = {
    { .name = "parker-grant",
      .setup = setup,
      .threads = { waiter_once, granter },
      .finish = finish,
      .bound = -1 },
    { .name = "parker-deadline",
      .setup = setup_deadline,
      .threads = { waiter_once, granter },
      .finish = finish,
      .bound = -1 },
    { .name = "parker-late-wake",
      .setup = setup,
      .threads = { waiter_twice, granter, granter_of_second },
      .finish = finish },
};

CHECK_MAIN(models)
