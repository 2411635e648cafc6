/* SPDX-License-Identifier: MIT */
/*
 * Model of task/wait_list.h: a semaphore made of it, with waiters, a releaser, a timeout and a
 * cancel. Claims: permits are conserved (each is held by one winner or back in the count); a grant
 * that loses to a cancel goes to the next node; nobody touches a node after its frame ended; a
 * woken waiter sees what the releaser wrote.
 */
#include "list_guard.h"
#include "task/wait_list.h"

#define TASKS 2

static struct {
    struct wait_list list;
    int permits; /* guarded by list.lock */
    int account; /* written by who holds a permit */
} s;

static struct task {
    struct wait_target target;
    JD_ATOMIC(uint32_t) armed; /* the wait's number, for timer and canceller */
    struct check_event ready;
    unsigned cause;
} tasks[TASKS];

static void setup_permits(int permits)
{
    wait_list_init(&s.list);
    s.permits = permits;
    s.account = 0;
    for (int i = 0; i < TASKS; i++) {
        atom_init(&tasks[i].target.word.bits, (uint64_t)WORD_RUNNING);
        atom_init(&tasks[i].armed, 0);
        check_event_init(&tasks[i].ready);
        tasks[i].cause = CAUSE_NONE;
    }
}

static void setup_none(void)
{
    setup_permits(0);
}

static void setup_one(void)
{
    setup_permits(1);
}

/* Suspends until somebody ends the wait; then the node leaves the list. */
static unsigned wait(struct task *t, struct waiter *node)
{
    unsigned cause;

    atom_store(&t->armed, node->seq, release);
    if (word_park(&t->target.word))
        check_event_wait(&t->ready);
    word_resume(&t->target.word);
    cause = word_cause(&t->target.word);
    if (cause < CAUSE_GRANTED)
        wait_list_leave(&s.list, node);
    return cause;
}

/* A frame that ends: the node's memory dies when the function returns. */
static unsigned acquire_permit(struct task *t)
{
    struct waiter *node;
    unsigned cause = CAUSE_GRANTED;
    bool must_wait;

    spin_lock(&s.list.lock);
    must_wait = plain_read(s.permits) == 0;
    if (must_wait) {
        node = check_alloc(sizeof(*node));
        waiter_init(node, &t->target, word_wait_begin(&t->target.word, /* cancellable= */ true));
        list_add_tail(&s.list.waiters, &node->link);
    } else {
        plain_write(s.permits, plain_read(s.permits) - 1);
    }
    spin_unlock(&s.list.lock);
    if (must_wait) {
        cause = wait(t, node);
        check_free(node);
    }
    return cause;
}

static void release_permit(void)
{
    struct wake_batch batch = { .count = 0 };
    struct list *first;

    spin_lock(&s.list.lock);
    plain_write(s.permits, plain_read(s.permits) + 1);
    while (plain_read(s.permits) > 0 && (first = list_pop_head(&s.list.waiters))) {
        if (waiter_grant(JD_CONTAINER_OF(first, struct waiter, link), &batch))
            plain_write(s.permits, plain_read(s.permits) - 1);
    }
    spin_unlock(&s.list.lock);
    for (unsigned i = 0; i < batch.count; i++)
        check_event_post(&JD_CONTAINER_OF(batch.targets[i], struct task, target)->ready);
}

static void end_wait(struct task *t, unsigned cause)
{
    uint32_t seq = atom_load(&t->armed, acquire);

    if (seq != 0 && word_wake(&t->target.word, seq, cause) == WAKE_QUEUE)
        check_event_post(&t->ready);
}

/* The account is guarded by the single permit, or handed over with it. */
static void holder(void)
{
    struct task *t = &tasks[check_self()];

    t->cause = acquire_permit(t);
    if (t->cause != CAUSE_GRANTED)
        return;
    plain_write(s.account, plain_read(s.account) + 1);
    release_permit();
}

static void taker(void)
{
    struct task *t = &tasks[check_self()];

    t->cause = acquire_permit(t);
    if (t->cause == CAUSE_GRANTED)
        plain_write(s.account, plain_read(s.account) + 1);
}

static void releaser(void)
{
    plain_write(s.account, 1);
    release_permit();
}

static void timeout_of_0(void)
{
    end_wait(&tasks[0], CAUSE_TIMED_OUT);
}

static void cancel_of_0(void)
{
    if (word_abort(&tasks[0].target.word) == WAKE_QUEUE)
        check_event_post(&tasks[0].ready);
}

static void releaser_cancelling(void)
{
    release_permit();
    cancel_of_0();
}

static void finish_mutex(void)
{
    CHECK_THAT(s.permits == 1 && list_is_empty(&s.list.waiters));
    CHECK_THAT(tasks[1].cause == CAUSE_GRANTED);
    CHECK_THAT(s.account == 1 + (tasks[0].cause == CAUSE_GRANTED));
}

static void finish_one_taker(void)
{
    CHECK_THAT(list_is_empty(&s.list.waiters));
    CHECK_THAT(s.permits + (tasks[0].cause == CAUSE_GRANTED) == 1);
    CHECK_THAT(s.account == 2 - s.permits);
}

/* Both want the single permit; when the first gave up, the second must get it. */
static void second_taker_releases(void)
{
    taker();
    if (tasks[check_self()].cause == CAUSE_GRANTED)
        release_permit();
}

static void finish_pass_on(void)
{
    CHECK_THAT(list_is_empty(&s.list.waiters));
    CHECK_THAT(s.permits == 1 && tasks[1].cause == CAUSE_GRANTED);
}

static const struct check_model models[] = {
    { .name = "wait-list-mutex",
      .setup = setup_one,
      .threads = { holder, holder, timeout_of_0 },
      .finish = finish_mutex },
    { .name = "wait-list-grant-timeout",
      .setup = setup_none,
      .threads = { taker, releaser, timeout_of_0 },
      .finish = finish_one_taker,
      .bound = 3 },
    { .name = "wait-list-grant-cancel",
      .setup = setup_none,
      .threads = { taker, releaser, cancel_of_0 },
      .finish = finish_one_taker },
    { .name = "wait-list-pass-on",
      .setup = setup_none,
      .threads = { second_taker_releases, second_taker_releases, releaser_cancelling },
      .finish = finish_pass_on,
      .bound = 1 },
};

CHECK_MAIN(models)
