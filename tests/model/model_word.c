/* SPDX-License-Identifier: MIT */
/*
 * Model of task/word.h: a task that suspends on one worker and resumes on another, and those who
 * end its wait. Claims: exactly one waker wins; the task is queued exactly once, after its stack
 * was left, and resumed behind it; who resumes sees what the winner handed over; a stale waker
 * ends no later wait; a cancel is not lost between wait_begin and the look at the flag.
 */
#include "task/word.h"

static struct {
    struct task_word word;
    int stack;                  /* written by the post-switch hook's side, read by the resumer */
    int gift;                   /* handed over by the granter */
    JD_ATOMIC(uint32_t) armed;  /* number of the wait the wakers aim at; 0 = none yet */
    JD_ATOMIC(uint32_t) queued; /* the ready queue: entries ever put */
    struct check_event ready;
    JD_ATOMIC(uint32_t) cancelled;
    JD_ATOMIC(int) handle;   /* publishes a new task */
    int wins[CHECK_THREADS]; /* per thread: waits it ended */
    int claims[CHECK_THREADS];
    unsigned cause[2];
} s;

static void setup_run(enum word_run run)
{
    atom_init(&s.word.bits, (UINT64_C(7) << WORD_SEQ_SHIFT) | (uint64_t)run);
    atom_init(&s.armed, 0);
    atom_init(&s.queued, 0);
    atom_init(&s.cancelled, 0);
    atom_init(&s.handle, 0);
    check_event_init(&s.ready);
    s.stack = 0;
    s.gift = 0;
    for (int i = 0; i < CHECK_THREADS; i++) {
        s.wins[i] = 0;
        s.claims[i] = 0;
    }
    s.cause[0] = s.cause[1] = CAUSE_NONE;
}

static void setup(void)
{
    setup_run(WORD_RUNNING);
}

static void setup_new(void)
{
    setup_run(WORD_NEW);
}

/* The runtime's queues are release-acquire; at most one entry at a time (I3). */
static void queue_put(void)
{
    CHECK_THAT(atom_fetch_add(&s.queued, 1, acq_rel) == 0);
    check_event_post(&s.ready);
}

static void queue_take(void)
{
    check_event_wait(&s.ready);
    CHECK_THAT(atom_exchange(&s.queued, 0, acq_rel) == 1);
}

/* The task leaves its stack, then the hook commits. */
static void suspend(void)
{
    plain_write(s.stack, plain_read(s.stack) + 1);
    if (!word_park(&s.word))
        queue_put();
}

static unsigned resume(void)
{
    queue_take();
    word_resume(&s.word);
    plain_write(s.stack, plain_read(s.stack) + 1);
    return word_cause(&s.word);
}

static uint32_t wait_begin(void)
{
    uint32_t seq = word_wait_begin(&s.word, /* cancellable= */ false);

    atom_store(&s.armed, seq, release);
    return seq;
}

static void wake(uint32_t seq, unsigned cause)
{
    enum word_wake_result result = word_wake(&s.word, seq, cause);

    if (result != WAKE_LOST)
        s.wins[check_self()]++;
    if (result == WAKE_QUEUE) {
        (void)plain_read(s.stack);
        queue_put();
    }
}

static uint32_t armed(void)
{
    uint32_t seq;

    while ((seq = atom_load(&s.armed, acquire)) == 0)
        spin_hint();
    return seq;
}

/*
 * One wait, resumed by another worker.
 */

static void first_worker(void)
{
    wait_begin();
    suspend();
}

static void second_worker(void)
{
    s.cause[0] = resume();
    if (s.cause[0] == CAUSE_GRANTED)
        CHECK_THAT(plain_read(s.gift) == 1);
    word_finish(&s.word);
}

static void granter(void)
{
    uint32_t seq = armed();

    plain_write(s.gift, 1);
    wake(seq, CAUSE_GRANTED);
}

static void timer(void)
{
    wake(armed(), CAUSE_TIMED_OUT);
}

static void both_workers(void)
{
    first_worker();
    second_worker();
}

static void finish(void)
{
    CHECK_THAT(s.wins[1] + s.wins[2] == 1);
    CHECK_THAT(s.cause[0] == (s.wins[1] ? CAUSE_GRANTED : CAUSE_TIMED_OUT));
    CHECK_THAT(word_run(check_peek(&s.word.bits)) == WORD_DONE);
}

static void finish_one(void)
{
    CHECK_THAT(s.wins[2] == 1 && s.cause[0] == CAUSE_GRANTED);
}

/* A grant that comes before the task leaves its stack is seen without a park (sched/wait.c). */
static void early_look(void)
{
    wait_begin();
    s.cause[0] = word_cause(&s.word);
    if (s.cause[0] == CAUSE_NONE) {
        suspend();
        s.cause[0] = resume();
    }
    CHECK_THAT(s.cause[0] == CAUSE_GRANTED && plain_read(s.gift) == 1);
}

/*
 * Two waits on one worker: the timer of the first must not end the second.
 */

static void two_waits(void)
{
    for (int i = 0; i < 2; i++) {
        uint32_t seq = wait_begin();

        suspend();
        s.cause[i] = resume();
        CHECK_THAT(s.cause[i] != CAUSE_NONE && seq == 8u + (unsigned)i);
    }
}

static void granter_of_both(void)
{
    for (uint32_t seq = 8; seq <= 9; seq++) {
        while (atom_load(&s.armed, acquire) < seq)
            spin_hint();
        wake(seq, CAUSE_GRANTED);
    }
}

static void finish_stale(void)
{
    CHECK_THAT(s.wins[1] + s.wins[2] == 2 && s.wins[2] <= 1);
    CHECK_THAT(s.cause[1] == CAUSE_GRANTED);
    CHECK_THAT(s.cause[0] == (s.wins[2] ? CAUSE_TIMED_OUT : CAUSE_GRANTED));
}

/* A stale timer of the first wait only: it knows number 8. */
static void timer_of_first(void)
{
    if (atom_load(&s.armed, acquire) != 0)
        wake(8, CAUSE_TIMED_OUT);
}

/*
 * Cancel: Dekker between the waiter's flag and the canceller's look (scope.c).
 */

static void cancellable_wait(void)
{
    uint32_t seq = word_wait_begin(&s.word, /* cancellable= */ true);

    if (atom_load(&s.cancelled, seq_cst))
        wake(seq, CAUSE_CANCELLED);
    suspend();
    s.cause[0] = resume();
}

static void canceller(void)
{
    enum word_wake_result result;

    atom_fetch_or(&s.cancelled, 1, seq_cst);
    result = word_abort(&s.word);
    if (result != WAKE_LOST)
        s.wins[check_self()]++;
    if (result == WAKE_QUEUE)
        queue_put();
}

static void finish_cancel(void)
{
    CHECK_THAT(s.cause[0] == CAUSE_CANCELLED);
    CHECK_THAT(s.wins[0] + s.wins[1] == 1);
}

/* A shielded wait is not cancelled. */
static void uncancellable_wait(void)
{
    wait_begin();
    suspend();
    s.cause[0] = resume();
}

static void granter_1(void)
{
    wake(armed(), CAUSE_GRANTED);
}

static void finish_shield(void)
{
    CHECK_THAT(s.cause[0] == CAUSE_GRANTED);
}

/*
 * Yield and claim.
 */

static void yielder(void)
{
    plain_write(s.stack, 1);
    word_yield(&s.word);
    queue_put();
}

static void yield_resumer(void)
{
    queue_take();
    word_resume(&s.word);
    (void)plain_read(s.stack);
    word_finish(&s.word);
}

static void spawner(void)
{
    plain_write(s.stack, 1);
    atom_store(&s.handle, 1, release);
}

/* Scheduler, thief and join compete for the start. */
static void starter(void)
{
    if (atom_load(&s.handle, acquire) == 0 || !word_claim(&s.word))
        return;
    plain_write(s.stack, plain_read(s.stack) + 1);
    s.claims[check_self()]++;
}

static void finish_claim(void)
{
    int claims = s.claims[1] + s.claims[2];

    CHECK_THAT(claims <= 1 && s.stack == 1 + claims);
}

static const struct check_model models[] = {
    { .name = "word-grant",
      .setup = setup,
      .threads = { first_worker, second_worker, granter },
      .finish = finish_one,
      .bound = 4 },
    { .name = "word-grant-timeout",
      .setup = setup,
      .threads = { both_workers, granter, timer },
      .finish = finish },
    { .name = "word-early-look", .setup = setup, .threads = { early_look, granter }, .bound = -1 },
    { .name = "word-stale-wake",
      .setup = setup,
      .threads = { two_waits, granter_of_both, timer_of_first },
      .finish = finish_stale },
    { .name = "word-cancel",
      .setup = setup,
      .threads = { cancellable_wait, canceller },
      .finish = finish_cancel,
      .bound = -1 },
    { .name = "word-cancel-shielded",
      .setup = setup,
      .threads = { uncancellable_wait, canceller, granter_1 },
      .finish = finish_shield },
    { .name = "word-yield", .setup = setup, .threads = { yielder, yield_resumer }, .bound = -1 },
    { .name = "word-claim",
      .setup = setup_new,
      .threads = { spawner, starter, starter },
      .finish = finish_claim,
      .bound = -1 },
};

CHECK_MAIN(models)
