/* SPDX-License-Identifier: MIT */
/*
 * Model of sync/sem.h: holders, a releaser, a resize, timeouts and a semaphore that dies with its
 * waiter's frame. Claims: free plus held permits is the total at all ends; what a holder wrote is
 * visible to the next; who leaves the head of the queue lets smaller requests pass; nobody touches
 * a node or a semaphore after its frame ended.
 */
#include "list_guard.h"
#include "sync/sem.h"

#define TASKS 2

static struct {
    struct sem *sem;
    int account;          /* written by who holds a permit */
    bool tried;           /* written by one thread, read at the end */
    bool bounded;         /* constant */
    JD_ATOMIC(int) held;  /* permits out, as the holders count */
    JD_ATOMIC(int) ended; /* tasks that will not wait any more */
} s;

static struct task {
    struct wait_target target;
    JD_ATOMIC(uint32_t) armed; /* the wait's number, for the timer */
    struct check_event ready;
    unsigned cause;
} tasks[TASKS];

static void setup_total(uint32_t total, bool bounded)
{
    s.sem = check_alloc(sizeof(*s.sem));
    sem_init_kernel(s.sem, total, bounded);
    s.bounded = bounded;
    s.account = 0;
    s.tried = false;
    atom_init(&s.held, 0);
    atom_init(&s.ended, 0);
    for (int i = 0; i < TASKS; i++) {
        atom_init(&tasks[i].target.word.bits, (uint64_t)WORD_RUNNING);
        atom_init(&tasks[i].armed, 0);
        check_event_init(&tasks[i].ready);
        tasks[i].cause = CAUSE_NONE;
    }
}

static void setup_none(void)
{
    setup_total(0, /* bounded= */ false);
}

static void setup_one(void)
{
    setup_total(1, /* bounded= */ false);
}

static void setup_two(void)
{
    setup_total(2, /* bounded= */ false);
}

static void setup_none_bounded(void)
{
    setup_total(1, /* bounded= */ true);
    CHECK_THAT(sem_try_take(s.sem, 1));
}

static void setup_one_bounded(void)
{
    setup_total(1, /* bounded= */ true);
}

static void setup_two_bounded(void)
{
    setup_total(2, /* bounded= */ true);
}

static void flush(struct wake_batch *batch)
{
    for (unsigned i = 0; i < batch->count; i++)
        check_event_post(&JD_CONTAINER_OF(batch->targets[i], struct task, target)->ready);
}

/* The three below as sem.c; the batch is never full here. */
static void give_unbounded(uint32_t k)
{
    int64_t found = sem_put(s.sem, k);
    struct wake_batch batch = { .count = 0 };

    if (found >= 0)
        return;
    CHECK_THAT(!sem_settle(s.sem, k, found, &batch));
    flush(&batch);
}

static void give(uint32_t k)
{
    enum sem_put done = SEM_AGAIN;

    if (!s.bounded) {
        give_unbounded(k);
        return;
    }
    while (done == SEM_AGAIN && !sem_put_bounded(s.sem, k)) {
        struct wake_batch batch = { .count = 0 };

        spin_lock(&s.sem->lock);
        done = sem_put_indebted(s.sem, k);
        if (done == SEM_DONE)
            CHECK_THAT(!sem_serve(s.sem, &batch));
        spin_unlock(&s.sem->lock);
        flush(&batch);
    }
    CHECK_THAT(done != SEM_REFUSED);
}

static void resize(uint32_t total)
{
    struct wake_batch batch = { .count = 0 };

    spin_lock(&s.sem->lock);
    CHECK_THAT(sem_set_total(s.sem, total));
    CHECK_THAT(!sem_serve(s.sem, &batch));
    spin_unlock(&s.sem->lock);
    flush(&batch);
}

static unsigned wait(struct task *t, struct waiter *node)
{
    struct wake_batch batch = { .count = 0 };
    unsigned cause;

    atom_store(&t->armed, node->seq, release);
    if (word_park(&t->target.word))
        check_event_wait(&t->ready);
    word_resume(&t->target.word);
    cause = word_cause(&t->target.word);
    if (cause != CAUSE_GRANTED || !word_was_parked(&t->target.word)) {
        CHECK_THAT(!sem_leave(s.sem, node, &batch));
        flush(&batch);
    }
    return cause;
}

/* The node's memory dies with the call. */
static unsigned acquire(struct task *t, uint32_t k)
{
    struct waiter *node;
    unsigned cause = CAUSE_GRANTED;
    struct wake_batch batch = { .count = 0 };
    bool taken = false;
    int64_t found = 0;

    if (s.bounded)
        taken = sem_try_take(s.sem, k);
    else
        taken = (found = sem_take(s.sem, k)) >= (int64_t)k;
    if (taken)
        return cause;
    node = check_alloc(sizeof(*node));
    waiter_init(node, &t->target, word_wait_begin(&t->target.word, /* cancellable= */ false));
    node->want = k;
    if (s.bounded)
        taken = sem_join(s.sem, node, node->seq);
    else
        CHECK_THAT(!sem_join_owing(s.sem, node, found, &batch));
    flush(&batch);
    if (taken)
        (void)word_wake(&t->target.word, node->seq, CAUSE_GRANTED);
    else
        cause = wait(t, node);
    check_free(node);
    return cause;
}

static void end(void)
{
    atom_fetch_add(&s.ended, 1, relaxed);
}

/* A mutex of one permit around the account. */
static void holder(void)
{
    struct task *t = &tasks[check_self()];

    t->cause = acquire(t, 1);
    if (t->cause == CAUSE_GRANTED) {
        plain_write(s.account, plain_read(s.account) + 1);
        give(1);
    }
    end();
}

static void timeout_of_0(void)
{
    uint32_t seq;

    /* Acquire: as the timer's wheel orders them. Until it waits, or will not any more. */
    while ((seq = atom_load(&tasks[0].armed, acquire)) == 0 && check_peek(&s.ended) == 0)
        spin_hint();
    if (seq != 0 && word_wake(&tasks[0].target.word, seq, CAUSE_TIMED_OUT) == WAKE_QUEUE)
        check_event_post(&tasks[0].ready);
}

/* What a release found nobody for must reach those who come by the short way, too. */
static void timeout_and_try(void)
{
    timeout_of_0();
    if (!sem_try_take(s.sem, 1))
        return;
    plain_write(s.account, plain_read(s.account) + 1);
    s.tried = true;
    give(1);
}

/* Nobody waits: all that is free may be taken, and nothing is kept for the queue. */
static void check_free_is(int64_t free)
{
    CHECK_THAT(check_peek(&s.sem->free) == free);
    CHECK_THAT(s.sem->bank == 0);
}

static void finish_mutex(void)
{
    check_free_is(1);
    CHECK_THAT(tasks[1].cause == CAUSE_GRANTED);
    CHECK_THAT(s.account == 1 + (tasks[0].cause == CAUSE_GRANTED) + s.tried);
}

/* The waiter's frame holds the semaphore. */
static void owner_of_frame(void)
{
    CHECK_THAT(acquire(&tasks[0], 1) == CAUSE_GRANTED);
    CHECK_THAT(plain_read(s.account) == 7);
    check_free(s.sem);
}

static void completer(void)
{
    plain_write(s.account, 7);
    give(1);
}

/* Two permits are out; one comes back, which is too few for the head. The head gives up. */
static void big_head(void)
{
    tasks[0].cause = acquire(&tasks[0], 2);
    if (tasks[0].cause == CAUSE_GRANTED)
        give(2);
    end();
}

static void small_one(void)
{
    tasks[1].cause = acquire(&tasks[1], 1);
    CHECK_THAT(tasks[1].cause == CAUSE_GRANTED);
    give(1);
}

static void finish_all_back(void)
{
    check_free_is(2);
}

static void setup_one_of_two(void)
{
    setup_two();
    CHECK_THAT(sem_try_take(s.sem, 1));
}

static void setup_one_of_two_bounded(void)
{
    setup_two_bounded();
    CHECK_THAT(sem_try_take(s.sem, 1));
}

static void finish_one_back(void)
{
    check_free_is(1);
}

/* Lowered and raised while both want the single permit: never more than one is out. */
static void counted_holder(void)
{
    struct task *t = &tasks[check_self()];

    CHECK_THAT(acquire(t, 1) == CAUSE_GRANTED);
    CHECK_THAT(atom_fetch_add(&s.held, 1, relaxed) < 1);
    atom_fetch_sub(&s.held, 1, relaxed);
    give(1);
}

static void resizer(void)
{
    resize(0);
    resize(1);
}

static void finish_resized(void)
{
    check_free_is(1);
}

/* Two halves of what the frame's owner waits for; each half's giver may be the last. */
static void owner_of_two(void)
{
    CHECK_THAT(acquire(&tasks[0], 2) == CAUSE_GRANTED);
    check_free(s.sem);
}

static void half(void)
{
    give(1);
}

/* What the first finds in part, and brings late, is what the second, who came later, needs. */
static void three(void)
{
    CHECK_THAT(acquire(&tasks[0], 3) == CAUSE_GRANTED);
    end();
}

static void one(void)
{
    CHECK_THAT(acquire(&tasks[1], 1) == CAUSE_GRANTED);
    end();
}

static void give_two(void)
{
    give(2);
}

static void finish_none_left(void)
{
    check_free_is(0);
    CHECK_THAT(check_peek(&s.ended) == 2);
}

/* As a batch takes: under the lock, and its node may be the head while others owe. */
static void one_by_join(void)
{
    struct task *t = &tasks[1];
    struct waiter *node = check_alloc(sizeof(*node));

    waiter_init(node, &t->target, word_wait_begin(&t->target.word, /* cancellable= */ false));
    node->want = 1;
    if (sem_join(s.sem, node, node->seq))
        (void)word_wake(&t->target.word, node->seq, CAUSE_GRANTED);
    else
        CHECK_THAT(wait(t, node) == CAUSE_GRANTED);
    check_free(node);
    end();
}

/* At the upper end: of two gifts to a full one, one for each permit taken is right. */
static void setup_full(void)
{
    setup_total(INT_MAX, /* bounded= */ false);
}

static void give_to_full(void)
{
    int64_t found = sem_put(s.sem, 1);

    if (found > INT_MAX - 1 && sem_undo(s.sem, 1))
        return;
    atom_fetch_add(&s.held, -1, relaxed);
}

static void take_from_full(void)
{
    CHECK_THAT(sem_try_take(s.sem, 1));
    atom_fetch_add(&s.held, 1, relaxed);
}

static void finish_full(void)
{
    check_free_is((int64_t)INT_MAX - check_peek(&s.held));
    CHECK_THAT(check_peek(&s.held) >= 0);
}

static const struct check_model models[] = {
    { .name = "sem-mutex",
      .setup = setup_one,
      .threads = { holder, holder, timeout_and_try },
      .finish = finish_mutex,
      .max = 300000 },
    { .name = "sem-mutex-bounded",
      .setup = setup_one_bounded,
      .threads = { holder, holder, timeout_and_try },
      .finish = finish_mutex,
      .max = 300000 },
    { .name = "sem-dies-with-its-waiter",
      .setup = setup_none,
      .threads = { owner_of_frame, completer } },
    { .name = "sem-dies-with-its-waiter-bounded",
      .setup = setup_none_bounded,
      .threads = { owner_of_frame, completer } },
    { .name = "sem-dies-after-two",
      .setup = setup_none,
      .threads = { owner_of_two, half, half },
      .max = 300000 },
    { .name = "sem-big-head",
      .setup = setup_one_of_two,
      .threads = { big_head, small_one, timeout_of_0 },
      .finish = finish_one_back,
      .max = 300000 },
    { .name = "sem-big-head-bounded",
      .setup = setup_one_of_two_bounded,
      .threads = { big_head, small_one, timeout_of_0 },
      .finish = finish_one_back,
      .max = 300000 },
    { .name = "sem-all-or-nothing",
      .setup = setup_two,
      .threads = { big_head, small_one },
      .finish = finish_all_back },
    { .name = "sem-parts",
      .setup = setup_two,
      .threads = { three, one, give_two },
      .finish = finish_none_left,
      .max = 300000 },
    { .name = "sem-parts-joined",
      .setup = setup_two,
      .threads = { three, one_by_join, give_two },
      .finish = finish_none_left,
      .max = 300000 },
    { .name = "sem-full",
      .setup = setup_full,
      .threads = { give_to_full, give_to_full, take_from_full },
      .finish = finish_full },
    { .name = "sem-resize",
      .setup = setup_one,
      .threads = { counted_holder, counted_holder, resizer },
      .finish = finish_resized,
      .max = 300000 },
    { .name = "sem-resize-bounded",
      .setup = setup_one_bounded,
      .threads = { counted_holder, counted_holder, resizer },
      .finish = finish_resized,
      .max = 300000 },
};

CHECK_MAIN(models)
