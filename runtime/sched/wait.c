/* SPDX-License-Identifier: MIT */
/*
 * Waiting: see wait.h. The order in wait_open() and wait_sleep() is scope.h I5: link the scopes,
 * open the wait, then look at the cancel flags; a cancel in between is seen by one side or the other.
 */
#include "sched/wait.h"

#include <errno.h>

#include "base/clock.h"
#include "sched/choice.h"
#include "task/parker.h"

int call_begin(unsigned kind, struct jd_task **ret_task)
{
    struct worker *w = worker_current();
    struct jd_task *t = JD_LIKELY(w) ? w->current : NULL;

    *ret_task = t;
    if (JD_UNLIKELY(!t))
        return !w && (kind & WAIT_THREADS) ? 0 : -EPERM;
    choice(kind & WAIT_CANCELLABLE ? CHOICE_CHECKPOINT : CHOICE_CALL);
    if ((kind & WAIT_CANCELLABLE) && JD_UNLIKELY(scope_check(t->scope)))
        return -ECANCELED;
    if (JD_UNLIKELY(sched_charge(w)))
        sched_suspend(POST_YIELD);
    return 0;
}

/* In the caller's own code, for the two that are called most. */
static JD_ALWAYS_INLINE void task_open(struct wait *w, struct jd_task *task, unsigned kind,
                                       const struct wait_site *site)
{
    choice(kind & WAIT_CANCELLABLE ? CHOICE_CHECKPOINT : CHOICE_CALL);
    w->site = site;
    w->task = task;
    w->parker = NULL;
    w->cancellable = (kind & WAIT_CANCELLABLE) != 0;
    if (w->cancellable && JD_UNLIKELY(!scope_is_linked(task->scope)))
        scope_link(task->scope);
    w->target = &task->target;
    if (w->cancellable && (kind & WAIT_LOCKS))
        w->seq = word_wait_begin_locking(&w->target->word);
    else
        w->seq = word_wait_begin(&w->target->word, w->cancellable);
    choice(CHOICE_CALL);
}

static int thread_open(struct wait *w, unsigned kind, const struct wait_site *site)
{
    choice(kind & WAIT_CANCELLABLE ? CHOICE_CHECKPOINT : CHOICE_CALL);
    w->site = site;
    w->task = NULL;
    w->cancellable = false;
    if (choice_simulated())
        return -EDEADLK; /* this thread plays all the workers that could end the wait */
    w->parker = parker_take();
    if (!w->parker)
        return -ENOMEM;
    w->target = parker_target(w->parker);
    w->seq = word_wait_begin(&w->target->word, /* cancellable= */ false);
    choice(CHOICE_CALL);
    return 0;
}

int wait_open_at(struct wait *w, struct jd_task *task, unsigned kind, const struct wait_site *site)
{
    if (!task)
        return thread_open(w, kind, site);
    task_open(w, task, kind, site);
    return 0;
}

/* Under the wheel's lock. */
static void *wait_timer_claim(struct timer *timer)
{
    struct wait_timer *t = JD_CONTAINER_OF(timer, struct wait_timer, timer);
    struct wait_target *target = t->target;

    return word_wake(&target->word, t->seq, CAUSE_TIMED_OUT) == WAKE_QUEUE ? target : NULL;
}

void sched_arm(struct jd_runtime *rt, struct timer *t, int64_t deadline)
{
    struct worker *w = worker_current();

    if (!w || w->rt != rt)
        w = &rt->workers[0];
    if (timer_arm(&w->timers, t, deadline) && w != worker_current())
        sched_wake_worker(w);
}

static JD_NOINLINE void sleep_until(struct wait *w, int64_t deadline)
{
    w->timer.target = w->target;
    w->timer.seq = w->seq;
    timer_init(&w->timer.timer, wait_timer_claim);
    sched_arm(task_runtime(w->task), &w->timer.timer, deadline);
}

static JD_ALWAYS_INLINE unsigned task_sleep(struct wait *w, int64_t deadline)
{
    struct jd_task *t = w->task;
    bool timed = deadline != CLOCK_FOREVER;
    unsigned cause;

    if (w->cancellable && scope_is_cancelled(t->scope))
        (void)word_wake(&t->target.word, w->seq, CAUSE_CANCELLED); /* losing: granted first */
    cause = word_cause(&t->target.word);
    if (cause != CAUSE_NONE)
        return cause;
    if (JD_UNLIKELY(timed))
        sleep_until(w, deadline);
    if (choice_is_armed())
        sim_wait(w);
    while ((cause = word_cause(&t->target.word)) == CAUSE_NONE) /* once: no spurious wakes */
        sched_suspend(POST_PARK);
    if (timed && cause != CAUSE_TIMED_OUT)
        (void)timer_disarm(&w->timer.timer); /* claimed already: it lost and is gone */
    return cause;
}

static JD_NOINLINE unsigned thread_sleep(struct wait *w, int64_t deadline)
{
    unsigned cause;

    executor_thread_blocks();
    cause = parker_wait(w->parker, w->seq, deadline);
    executor_thread_goes_on();
    return cause;
}

unsigned wait_sleep(struct wait *w, int64_t deadline)
{
    if (!w->task)
        return thread_sleep(w, deadline);
    return task_sleep(w, deadline);
}

void wait_close(struct wait *w)
{
    if (w->parker)
        parker_put(w->parker);
}

int wait_error(const struct wait *w, unsigned cause)
{
    JD_ASSERT(cause == CAUSE_CANCELLED || cause == CAUSE_TIMED_OUT);
    if (cause == CAUSE_TIMED_OUT)
        return -ETIMEDOUT;
    (void)scope_check(w->task->scope); /* for its note: who ended us */
    return -ECANCELED;
}

int outcome_await(struct jd_future *f, int64_t deadline, unsigned kind)
{
    static const struct wait_site site = { __FILE_NAME__, __func__ };
    struct waiter node;
    struct jd_task *task;
    struct wait w;
    unsigned cause;
    int err = 0;

    task = call_begin_plain();
    if (!task)
        err = call_begin(kind, &task);
    if (err)
        return err;
    if (outcome_is_done(&f->outcome))
        return 0;
    if (task && f == &task->future)
        return -EDEADLK;
    if (JD_LIKELY(task))
        task_open(&w, task, kind | WAIT_LOCKS, &site);
    else
        err = thread_open(&w, kind, &site);
    if (err)
        return err;
    waiter_init(&node, w.target, w.seq);
    node.want = NODE_WAITER;
    if (!outcome_wait(&f->outcome, &node))
        (void)word_wake(&w.target->word, w.seq, CAUSE_GRANTED); /* losing: cancelled first */
    cause = JD_LIKELY(task) ? task_sleep(&w, deadline) : thread_sleep(&w, deadline);
    if (cause != CAUSE_GRANTED)
        outcome_leave(&f->outcome, &node);
    wait_close(&w);
    if (cause == CAUSE_GRANTED || outcome_is_done(&f->outcome))
        return 0; /* a completion wins over a cancel */
    return wait_error(&w, cause);
}
