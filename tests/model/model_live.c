/* SPDX-License-Identifier: MIT */
/*
 * Model of sched/live.h as the end of a runtime uses it: api/run.c (runtime_tasks_left,
 * runtime_may_stop), sched/run.c (task_finish) and sched/park.c (a draining worker 0 looks again
 * within a millisecond). Claims: worker 0 finds the end only when no task lives, so nothing is
 * freed under one; it does find the end, and the other worker leaves.
 */
#include "queue/lifo.h"
#include "sched/live.h"

#define WORKERS 2

struct task {
    int children; /* length of the chain of tasks that it begins */
};

static struct worker {
    struct live live;
} workers[WORKERS];
static struct live foreign_live;
static struct lifo queue; /* one at a time is enough for chains */
static struct task tasks[4];
static JD_ATOMIC(uint32_t) made;
static JD_ATOMIC(uint32_t) stop;
static int *memory; /* what tasks use and the end frees */

static void setup(void)
{
    lifo_init(&queue);
    for (int i = 0; i < WORKERS; i++) {
        atom_init(&workers[i].live.begun, 0);
        atom_init(&workers[i].live.ended, 0);
    }
    atom_init(&foreign_live.begun, 0);
    atom_init(&foreign_live.ended, 0);
    atom_init(&made, 0);
    atom_init(&stop, 0);
    memory = check_alloc(sizeof(*memory));
}

static void push(int children)
{
    struct task *t = &tasks[atom_fetch_add(&made, 1, relaxed)];

    plain_write(t->children, children);
    CHECK_THAT(!lifo_put(&queue, t));
}

/* spawn.c: counted first, then visible. */
static void spawn(unsigned self, int children)
{
    live_begin(&workers[self].live);
    push(children);
}

static void run(unsigned self, struct task *t)
{
    int children = plain_read(t->children);

    (void)plain_read(*memory);
    if (children > 0)
        spawn(self, children - 1);
    (void)plain_read(*memory);
    live_end(&workers[self].live);
}

/* runtime_tasks_left() */
static uint64_t tasks_left(void)
{
    uint64_t ended = live_ended(&foreign_live), begun;

    for (int i = 0; i < WORKERS; i++)
        ended += live_ended(&workers[i].live);
    begun = live_begun(&foreign_live);
    for (int i = 0; i < WORKERS; i++)
        begun += live_begun(&workers[i].live);
    return begun - ended;
}

static void worker_0(void)
{
    for (;;) {
        struct task *t = lifo_take(&queue);

        if (t) {
            run(0, t);
        } else if (tasks_left() == 0) {
            break;
        } else {
            spin_hint(); /* DRAIN_LOOK_NS: looks again, rung or not */
        }
    }
    atom_store(&stop, 1, seq_cst);
}

static void worker_1(void)
{
    while (!atom_load(&stop, acquire)) {
        struct task *t = lifo_take(&queue);

        if (t)
            run(1, t);
        else
            spin_hint();
    }
}

/* All that is left to do is done by worker 1, worker 0 only looks. */
static void looker(void)
{
    uint64_t left;

    while ((left = tasks_left()) != 0) {
        CHECK_THAT(left < 4); /* an end without its begin would make it huge */
        spin_hint();
    }
    plain_write(*memory, 1);
    check_free(memory);
    memory = NULL;
    atom_store(&stop, 1, seq_cst);
}

static void setup_chain(void)
{
    setup();
    live_begin(&workers[0].live);
    push(2);
}

static void setup_one(void)
{
    setup();
    live_begin(&workers[0].live);
    push(0);
}

static void setup_stranger(void)
{
    setup_one();
    live_begin_shared(&foreign_live);
}

/* A spawn from outside that is undone (spawn.c, task_undo). */
static void stranger(void)
{
    (void)plain_read(*memory);
    live_end_shared(&foreign_live);
}

static void finish(void)
{
    CHECK_THAT(tasks_left() == 0);
    CHECK_THAT(lifo_is_empty(&queue));
    if (memory)
        check_free(memory);
}

static const struct check_model models[] = {
    { .name = "live-chain",
      .setup = setup_chain,
      .threads = { looker, worker_1 },
      .finish = finish,
      .bound = 3 },
    { .name = "live-two-workers",
      .setup = setup_chain,
      .threads = { worker_0, worker_1 },
      .finish = finish,
      .max = 100000 },
    { .name = "live-stranger",
      .setup = setup_stranger,
      .threads = { looker, worker_1, stranger },
      .finish = finish },
};

CHECK_MAIN(models)
