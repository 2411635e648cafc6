/* SPDX-License-Identifier: MIT */
/*
 * Leaving a stack and coming back: the only file that switches between tasks.
 *
 * I1  A task is published (parked, queued) only after its stack was left: by sched_after_switch(),
 *     which every resume point and every fresh stack runs first.
 * I2  Before a task suspends, forks that nobody stole are promoted to tasks: a deque holds only
 *     forks of the stack that runs now.
 * I3  Whoever suspends goes straight to the next ready task if that one has a stack; else a fresh
 *     stack is entered whose base frame is the loop. Taking it cannot fail: each task reserved one
 *     at its spawn.
 * I4  The loop's own stack is abandoned when the loop goes to a task with a stack; the other side
 *     puts it back (POST_RETIRE).
 *
 * Threads: workers.
 */
#include "sched/choice.h"
#include "sched/fork.h"
#include "sched/worker.h"

/* A stack of another size carries its task's reservation with it. */
static JD_NOINLINE void retire(struct worker *w, struct fiber *f)
{
    struct stack_pool *pool = f->pool;

    fiber_retire(f);
    if (JD_LIKELY(pool == &w->rt->stacks)) {
        stack_put(&w->stacks, f);
        return;
    }
    stack_pool_put(pool, f);
    stack_pool_unreserve(pool, 1);
}

/* The other side of a switch: carries out what the context that we left asked for. */
void sched_after_switch(struct fiber *prev)
{
    struct worker *w = worker_current();
    struct jd_task *t = w->post.task;
    enum post_kind kind = w->post.kind;

    w->post.kind = POST_NONE;
    w->post.task = NULL;
    switch (kind) {
    case POST_PARK:
        choice(CHOICE_PUBLISH);
        if (!word_park(&t->target.word))
            sched_push(w, t); /* its wait ended while we were leaving */
        break;
    case POST_YIELD:
        word_yield(&t->target.word);
        sched_push_yielded(w, t);
        break;
    case POST_HANDOFF:
        word_yield(&t->target.word);
        qnode_set_next(&t->link.node, w->resume_first ? &w->resume_first->link.node : NULL);
        w->resume_first = t;
        break;
    case POST_RETIRE:
        retire(w, prev);
        break;
    case POST_NONE:
        break;
    }
}

static inline void task_describe(struct worker *w, struct jd_task *t)
{
    w->current = t;
    w->fiber->user = t;
    choice_note(EVENT_STEP, t->id);
    /* Relaxed: read by the watchdog for a report; the name is looked up there. */
    atom_store(&w->epoch, atom_load(&w->epoch, relaxed) + 1, relaxed);
}

/* Makes `next`, which has a stack, the task that runs; returns that stack. */
static inline struct fiber *task_enter(struct worker *w, struct jd_task *next)
{
    word_resume(&next->target.word);
    w->fiber = next->fiber;
    task_describe(w, next);
    return w->fiber;
}

static JD_NOINLINE struct fiber *loop_stack(struct worker *w)
{
    struct fiber *f = stack_take(&w->stacks);

    fiber_init(f, sched_loop_entry);
    f->user = NULL;
    w->fiber = f;
    return f;
}

/* Where to go when the current task stops: a ready task's stack, or the loop on a fresh one. */
static inline struct fiber *next_stack(struct worker *w)
{
    struct jd_task *next = sched_next_local(w);

    if (next && next->fiber)
        return task_enter(w, next);
    w->handoff = next;
    return loop_stack(w);
}

void sched_suspend(enum post_kind kind)
{
    struct worker *w;
    struct jd_task *t;
    struct fiber *from;

    choice(CHOICE_SUSPEND);
    w = worker_current();
    t = w->current;
    from = w->fiber;
    JD_ASSERT(t != NULL);
    if (JD_UNLIKELY(deque_len(&w->forks) != 0))
        fork_promote_all(w);
    t->fiber = from;
    w->current = NULL;
    w->post.kind = kind;
    w->post.task = t;
    struct fiber *to = next_stack(w);

    sched_after_switch(fiber_switch(from, to));
}

/* Is the task that yields the only one that this worker has to run? */
static bool is_alone(struct worker *w)
{
    return !runtime_is_fifo(w->rt) && fifo_len(&w->ready) == 0 && lifo_is_empty(&w->lifo) &&
           deque_len(&w->forks) == 0 && !w->resume_first && injector_len(&w->rt->injector) == 0;
}

/* To the end of the line: behind the ready tasks and, by a poll, behind the loop's callbacks. When
 * the slice is used up the poll begins the next one. */
void sched_give_way(struct worker *w)
{
    if (atom_load(&w->preempt, relaxed) || /* Relaxed: a hint */
        !loop_queue_is_empty(&w->loop_queue) || !inbox_is_empty(&w->inbox))
        w->steps = POLL_STEPS;
    else if (is_alone(w) && ++w->steps < POLL_STEPS)
        return; /* nobody to give way to; the port gets its turn every POLL_STEPS */
    sched_suspend(POST_YIELD);
}

/* Runs the first step of a fresh, claimed task on a stack of its own; the caller goes on when that
 * task suspends or ends. */
void sched_run_eager(struct jd_task *child)
{
    struct worker *w = worker_current();
    struct jd_task *t = w->current;
    struct fiber *from = w->fiber;

    if (deque_len(&w->forks) != 0)
        fork_promote_all(w);
    t->fiber = from;
    w->current = NULL;
    w->post.kind = POST_HANDOFF;
    w->post.task = t;
    w->handoff = child;
    struct fiber *to = loop_stack(w);

    sched_after_switch(fiber_switch(from, to));
}

/* From the loop: go to a task that has a stack, leaving this one for good. */
JD_NORETURN void sched_switch_to_task(struct worker *w, struct jd_task *t)
{
    struct fiber *from = w->fiber;
    struct fiber *to = task_enter(w, t);

    w->post.kind = POST_RETIRE;
    fiber_abandon(from, to);
}

/* From the loop: a fresh task that asked for a bigger stack starts on one, below a loop frame. */
JD_NORETURN void sched_switch_to_class(struct worker *w, struct jd_task *t)
{
    struct fiber *from = w->fiber;
    struct fiber *to = stack_pool_take(w->rt->stack_classes[t->stack_class]);

    fiber_init(to, sched_loop_entry);
    w->fiber = to;
    w->handoff = t;
    w->post.kind = POST_RETIRE;
    fiber_abandon(from, to);
}

/* That task has ended: the loop goes back to a stack of the default size. */
JD_NORETURN void sched_leave_class(struct worker *w)
{
    struct fiber *from = w->fiber;
    struct fiber *to = loop_stack(w);

    w->post.kind = POST_RETIRE;
    fiber_abandon(from, to);
}

/* Back to the thread's own stack: the run is over. */
JD_NORETURN void sched_leave_loop(struct worker *w)
{
    struct fiber *from = w->fiber;

    w->fiber = &w->native;
    w->post.kind = POST_RETIRE;
    fiber_abandon(from, &w->native);
}

struct fiber *sched_begin_loop(struct worker *w)
{
    fiber_init_native(&w->native);
    w->post.kind = POST_NONE;
    return loop_stack(w);
}

void sched_enter_loop(struct worker *w)
{
    struct fiber *loop = sched_begin_loop(w);

    sched_after_switch(fiber_switch(&w->native, loop));
}
