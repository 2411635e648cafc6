/* SPDX-License-Identifier: MIT */
/*
 * Model of task/handover.h: a task that waits for operations, their completer, a cancel and a
 * deadline. Claims: the task always wakes; it sees the result; nobody touches an operation's frame
 * after it ended, also when the next operation of the same task has begun.
 */
#include "check.h"
#include "task/handover.h"

/* An operation in its frame. */
struct frame {
    struct handover handover;
    struct task_word *target;
    int result;
};

#define OPS_MAX 2

static struct {
    struct task_word word;
    struct frame *frames[OPS_MAX];
    struct check_event submitted[OPS_MAX]; /* publishes the frame, as the reactor's lock does */
    JD_ATOMIC(uint32_t) timed;             /* number of the first wait, for the deadline */
    struct check_event ready;
    int sum;
} s;

static void setup(void)
{
    atom_init(&s.word.bits, (uint64_t)WORD_RUNNING);
    for (int i = 0; i < OPS_MAX; i++)
        check_event_init(&s.submitted[i]);
    atom_init(&s.timed, 0);
    check_event_init(&s.ready);
    s.sum = 0;
}

static unsigned sleep_on_word(void)
{
    if (word_park(&s.word))
        check_event_wait(&s.ready);
    word_resume(&s.word);
    return word_cause(&s.word);
}

static void perform(unsigned i)
{
    struct frame *f = check_alloc(sizeof(*f));
    uint32_t first = word_wait_begin(&s.word, /* cancellable= */ true), second;

    plain_write(f->target, &s.word);
    handover_open(&f->handover, first);
    atom_store(&s.timed, first, release);
    plain_write(s.frames[i], f);
    check_event_post(&s.submitted[i]);
    if (sleep_on_word() != CAUSE_GRANTED) {
        second = word_wait_begin(&s.word, /* cancellable= */ false);
        if (!handover_move(&f->handover, first, second))
            CHECK_THAT(word_wake(&s.word, second, CAUSE_GRANTED) == WAKE_WON);
        CHECK_THAT(sleep_on_word() == CAUSE_GRANTED);
    }
    s.sum += plain_read(f->result);
    check_free(f);
}

static void task_with_one(void)
{
    perform(0);
}

static void task_with_two(void)
{
    perform(0);
    perform(1);
}

static void complete(unsigned i)
{
    struct task_word *target;
    struct frame *f;
    uint32_t seq;

    check_event_wait(&s.submitted[i]);
    f = plain_read(s.frames[i]);
    plain_write(f->result, 1 << i);
    target = plain_read(f->target);
    seq = handover_done(&f->handover);
    if (word_wake(target, seq, CAUSE_GRANTED) == WAKE_QUEUE)
        check_event_post(&s.ready);
}

static void completer(void)
{
    complete(0);
}

static void completer_of_the_next(void)
{
    complete(1);
}

static void canceller(void)
{
    if (word_abort(&s.word) == WAKE_QUEUE)
        check_event_post(&s.ready);
}

static void deadline(void)
{
    uint32_t seq = atom_load(&s.timed, acquire);

    if (seq != 0 && word_wake(&s.word, seq, CAUSE_TIMED_OUT) == WAKE_QUEUE)
        check_event_post(&s.ready);
}

static void finish_one(void)
{
    CHECK_THAT(s.sum == 1);
}

static void finish_two(void)
{
    CHECK_THAT(s.sum == 3);
}

static const struct check_model models[] = {
    { .name = "handover-cancel",
      .setup = setup,
      .threads = { task_with_one, completer, canceller },
      .finish = finish_one,
      .bound = 3 },
    { .name = "handover-cancel-deadline",
      .setup = setup,
      .threads = { task_with_one, completer, canceller, deadline },
      .finish = finish_one,
      .bound = 1 },
    { .name = "handover-next-op",
      .setup = setup,
      .threads = { task_with_two, completer, completer_of_the_next, canceller },
      .finish = finish_two,
      .bound = 1 },
};

CHECK_MAIN(models)
