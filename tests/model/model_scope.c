/* SPDX-License-Identifier: MIT */
/*
 * Model of task/scope.c with task/word.h: a task that opens a scope, waits in it and closes it,
 * against a cancel from above. Claims: a cancel ends the wait, whether it comes before the scope is
 * linked, before the wait opens, before the park or after; a shield keeps it out; a cancelled task
 * is queued once; nobody touches a scope after its close.
 *
 * The .c file is included because it is the protocol under test; what it calls is supplied here.
 */
#include "task/scope.c"

static struct jd_task task, member;
static struct check_event ready, member_ready;
static unsigned cause, member_cause;
static JD_ATOMIC(uint32_t) armed;

int64_t clock_now(void)
{
    return 0;
}

void scope_arm(struct timed_scope *s)
{
    check_fail("scope_arm(%p): no timed scope here", (void *)s);
}

void task_ready(struct jd_task *t)
{
    check_event_post(t == &task ? &ready : &member_ready);
}

static void task_setup(struct jd_task *t, struct scope *parent)
{
    atom_init(&t->target.word.bits, (uint64_t)WORD_RUNNING);
    atom_init(&t->link.node.next, NULL);
    scope_init(&t->root, parent, t, SCOPE_OPEN);
    t->scope = &t->root;
}

static void setup(void)
{
    task_setup(&task, NULL);
    task_setup(&member, &task.root);
    check_event_init(&ready);
    check_event_init(&member_ready);
    atom_init(&armed, 0);
    cause = CAUSE_NONE;
    member_cause = CAUSE_NONE;
}

/* sched/wait.c: wait_open() and task_sleep(). */
static unsigned wait(struct jd_task *t, struct check_event *event)
{
    struct task_word *word = &t->target.word;
    uint32_t seq;

    scope_link(t->scope);
    seq = word_wait_begin(word, /* cancellable= */ true);
    atom_store(&armed, seq, release);
    if (scope_is_cancelled(t->scope))
        (void)word_wake(word, seq, CAUSE_CANCELLED);
    if (word_cause(word) != CAUSE_NONE)
        return word_cause(word);
    if (word_park(word))
        check_event_wait(event);
    word_resume(word);
    return word_cause(word);
}

static void scope_open(struct jd_task *t, uint32_t flags)
{
    struct scope *s = check_alloc(sizeof(*s));

    scope_init(s, t->scope, t, SCOPE_OPEN | flags);
    t->scope = s;
}

static void scope_close(struct jd_task *t)
{
    struct scope *s = t->scope;

    scope_unlink(s);
    t->scope = s->parent;
    check_free(s);
}

static void waiter_inside(void)
{
    scope_open(&task, 0);
    cause = wait(&task, &ready);
    scope_close(&task);
}

static void waiter_in_root(void)
{
    cause = wait(&task, &ready);
}

static void waiter_shielded(void)
{
    scope_open(&task, SCOPE_SHIELD);
    cause = wait(&task, &ready);
    scope_close(&task);
}

/* Opens and closes without a wait: never linked, or linked by nobody. */
static void waiter_after_a_scope(void)
{
    scope_open(&task, 0);
    scope_close(&task);
    waiter_inside();
}

static void member_waiter(void)
{
    member_cause = wait(&member, &member_ready);
    scope_unlink(&member.root);
}

static void canceller(void)
{
    scope_cancel(&task.root, SCOPE_CANCELLED);
}

static void granter(void)
{
    uint32_t seq;

    while ((seq = atom_load(&armed, acquire)) == 0)
        spin_hint();
    if (word_wake(&task.target.word, seq, CAUSE_GRANTED) == WAKE_QUEUE)
        task_ready(&task);
}

static void finish_cancelled(void)
{
    CHECK_THAT(cause == CAUSE_CANCELLED);
}

static void finish_members(void)
{
    CHECK_THAT(member_cause == CAUSE_CANCELLED);
}

static void finish_both(void)
{
    finish_cancelled();
    finish_members();
}

static void finish_granted(void)
{
    CHECK_THAT(cause == CAUSE_GRANTED);
}

static void finish_any(void)
{
    CHECK_THAT(cause == CAUSE_GRANTED || cause == CAUSE_CANCELLED);
}

static const struct check_model models[] = {
    { .name = "scope-cancel",
      .setup = setup,
      .threads = { waiter_inside, canceller },
      .finish = finish_cancelled,
      .bound = 4 },
    { .name = "scope-cancel-root",
      .setup = setup,
      .threads = { waiter_in_root, canceller },
      .finish = finish_cancelled,
      .bound = 4 },
    { .name = "scope-cancel-second",
      .setup = setup,
      .threads = { waiter_after_a_scope, canceller },
      .finish = finish_cancelled,
      .bound = 3 },
    { .name = "scope-shield",
      .setup = setup,
      .threads = { waiter_shielded, canceller, granter },
      .finish = finish_granted },
    { .name = "scope-grant-or-cancel",
      .setup = setup,
      .threads = { waiter_inside, canceller, granter },
      .finish = finish_any },
    { .name = "scope-member",
      .setup = setup,
      .threads = { member_waiter, canceller },
      .finish = finish_members,
      .bound = 3 },
    { .name = "scope-both",
      .setup = setup,
      .threads = { waiter_inside, canceller, member_waiter },
      .finish = finish_both,
      .max = 200000 },
};

CHECK_MAIN(models)
