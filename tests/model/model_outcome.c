/* SPDX-License-Identifier: MIT */
/*
 * Model of task/outcome.h with its users task/future.c and sched/done_callback.c: completion
 * against await, cancel of the await, callbacks added and removed, and the last reference.
 * Claims: a future completes once; every awaiter wakes and sees the result; a cancelled awaiter's
 * node is never touched after its frame ended; a callback runs once or was removed, never both,
 * and after a waiting remove it does not run; the record is freed once, after the last access.
 *
 * The two .c files are included because they are the protocol under test and take all they need
 * from functions that this model supplies; a mirrored copy would drift.
 */
#include "sched/done_callback.c"
#include "task/future.c"

#define LOOP_THREAD 2 /* index of the thread that serves worker 0's loop */
#define THREADS 4

static struct waiting {
    struct wait_target target;
    JD_ATOMIC(uint32_t) armed;
    struct check_event ready;
} waiting[THREADS];

static struct jd_runtime runtime;
static struct worker loop_worker;
static struct runtime_stub stub;
static struct check_event bell;
static JD_ATOMIC(uint32_t) left;  /* threads that may still post to the loop */
static JD_ATOMIC(uint32_t) added; /* the callback is registered */
static struct jd_future *future;
static int called; /* written by the callback and, after a waiting remove, by us */
static int completions[THREADS];
static int removed;
static int seen[THREADS];

static struct jd_future *futures[2]; /* of the gather model */
static struct outcome_counter counter;
static struct counter_node counter_nodes[2];

/*
 * What the two files need from elsewhere.
 */

struct worker *worker_current(void)
{
    return check_self() == LOOP_THREAD ? &loop_worker : NULL;
}

void *mem_alloc(size_t bytes)
{
    return check_alloc(bytes);
}

void mem_free(void *ptr, size_t bytes)
{
    (void)bytes;
    check_free(ptr);
}

jd_future *jd_future_ref(jd_future *f)
{
    future_ref(f);
    return f;
}

void sched_post(struct worker *w, struct loop_item *item)
{
    inbox_put(&w->inbox, &item->node);
    check_event_post(&bell);
}

void parker_ready(struct wait_target *target)
{
    check_event_post(&JD_CONTAINER_OF(target, struct waiting, target)->ready);
}

int call_begin(unsigned kind, struct jd_task **ret_task)
{
    (void)kind;
    *ret_task = NULL;
    return 0;
}

int wait_open_at(struct wait *w, struct jd_task *task, unsigned kind, const struct wait_site *site)
{
    (void)kind, (void)site;
    w->task = task;
    w->target = &waiting[check_self()].target;
    w->seq = word_wait_begin(&w->target->word, /* cancellable= */ true);
    return 0;
}

unsigned wait_sleep(struct wait *w, int64_t deadline)
{
    struct waiting *self = JD_CONTAINER_OF(w->target, struct waiting, target);

    (void)deadline;
    atom_store(&self->armed, w->seq, release);
    if (word_park(&w->target->word))
        check_event_wait(&self->ready);
    word_resume(&w->target->word);
    return word_cause(&w->target->word);
}

void wait_close(struct wait *w)
{
    (void)w;
}

int wait_error(const struct wait *w, unsigned cause)
{
    (void)w;
    CHECK_THAT(cause == CAUSE_CANCELLED);
    return -ECANCELED;
}

void runtime_stub_unref(struct runtime_stub *s)
{
    (void)s;
}

void task_free(struct jd_task *t)
{
    check_fail("task_free(%p): no task here", (void *)t);
}

void task_ready(struct jd_task *t)
{
    check_fail("task_ready(%p): no task here", (void *)t);
}

void future_free_offload(struct jd_future *f)
{
    check_fail("%p is part of no other record", (void *)f);
}

void future_report_unhandled(struct jd_future *f)
{
    check_fail("unhandled failure of %p: none was reported", (void *)f);
}

/*
 * Set-up and threads.
 */

static void setup_refs(uint32_t refs, uint32_t threads_beside_loop)
{
    for (int i = 0; i < THREADS; i++) {
        waiting[i].target.kind = TARGET_THREAD;
        atom_init(&waiting[i].target.word.bits, (uint64_t)WORD_RUNNING);
        atom_init(&waiting[i].armed, 0);
        check_event_init(&waiting[i].ready);
        completions[i] = 0;
        seen[i] = 0;
    }
    runtime.workers = &loop_worker;
    runtime.stub = &stub;
    loop_worker.rt = &runtime;
    spin_init(&stub.lock);
    stub.rt = &runtime;
    inbox_init(&loop_worker.inbox);
    check_event_init(&bell);
    atom_init(&left, threads_beside_loop);
    atom_init(&added, 0);
    called = 0;
    removed = 0;
    future = check_alloc(sizeof(*future));
    future_init(future, &stub, refs, 0);
}

static void setup_2(void)
{
    setup_refs(2, 2);
}

static void setup_3(void)
{
    setup_refs(3, 2);
}

static void leave(void)
{
    atom_fetch_sub(&left, 1, relaxed);
    check_event_post(&bell);
}

static void completer(void)
{
    jd_result result = { .num = 7 };

    completions[check_self()] += future_complete(future, result, 0);
    future_unref(future);
    leave();
}

/* sched/wait.c, outcome_await(). */
static int await(struct jd_future *f)
{
    struct waiter node;
    struct wait w;
    unsigned cause;

    if (outcome_is_done(&f->outcome))
        return 0;
    (void)wait_open(&w, NULL, WAIT_CANCELLABLE);
    waiter_init(&node, w.target, w.seq);
    node.want = NODE_WAITER;
    if (!outcome_wait(&f->outcome, &node))
        (void)word_wake(&w.target->word, w.seq, CAUSE_GRANTED);
    cause = wait_sleep(&w, CLOCK_FOREVER);
    if (cause != CAUSE_GRANTED)
        outcome_leave(&f->outcome, &node);
    wait_close(&w);
    return cause == CAUSE_GRANTED || outcome_is_done(&f->outcome) ? 0 : -ECANCELED;
}

/* Writes where ended frames were: who still reads them races with this. */
__attribute__((noinline)) static void scribble(void)
{
    char frames[512];

    for (size_t i = 0; i < sizeof(frames); i += 4)
        plain_write(frames[i], 1);
}

static void awaiter(void)
{
    unsigned self = check_self();

    if (await(future) == 0) {
        CHECK_THAT(plain_read(future->result.num) == 7);
        seen[self] = 1;
    } else {
        seen[self] = -1;
    }
    scribble();
    future_unref(future);
}

static void canceller_of_0(void)
{
    uint32_t seq = atom_load(&waiting[0].armed, acquire);

    if (seq && word_wake(&waiting[0].target.word, seq, CAUSE_CANCELLED) == WAKE_QUEUE)
        parker_ready(&waiting[0].target);
}

static void peeker(void)
{
    if (outcome_is_done(&future->outcome))
        CHECK_THAT(plain_read(future->result.num) == 7);
    future_unref(future);
}

static void on_done(jd_future *f, void *arg)
{
    (void)arg;
    CHECK_THAT(plain_read(f->result.num) == 7);
    plain_write(called, plain_read(called) + 1);
}

static void add(void)
{
    CHECK_THAT(jd_future_add_done_callback(future, on_done, NULL) == 0);
}

static void adder(void)
{
    add();
    future_unref(future);
    leave();
}

static bool loop_may_go(void *arg)
{
    (void)arg;
    return check_peek(&loop_worker.inbox.newest) != NULL || check_peek(&left) == 0;
}

/* Serves worker 0's loop until nobody can post any more. */
static void loop(void)
{
    struct qlist list;
    struct qnode *node;

    do {
        check_block_until(loop_may_go, NULL);
        qlist_init(&list);
        inbox_take_all(&loop_worker.inbox, &list);
        while ((node = qlist_pop(&list)))
            done_callback_run(&loop_worker, JD_CONTAINER_OF(node, struct loop_item, node));
    } while (check_peek(&left) != 0 || check_peek(&loop_worker.inbox.newest) != NULL);
}

static void remover(void)
{
    add();
    removed = jd_future_remove_done_callback(future, on_done, NULL);
    future_unref(future);
    leave();
}

/* The callback is posted already and runs, has run or will run on the loop. */
static void setup_posted(void)
{
    setup_refs(1, 1);
    add();
    CHECK_THAT(future_complete(future, (jd_result){ .num = 7 }, 0));
}

/* After a waiting remove the callback's data is ours. */
static void remove_and_use(void)
{
    removed = jd_future_remove_done_callback_wait(future, on_done, NULL);
    if (removed >= 0)
        plain_write(called, plain_read(called) + 10);
    scribble();
    future_unref(future);
    leave();
}

static void waiting_remover(void)
{
    add();
    remove_and_use();
}

/* Thread 0 waits for two futures with one wait; its nodes are linked before the threads start. */
static void setup_gather(void)
{
    uint32_t seq;

    setup_refs(1, 1);
    future_unref(future);
    seq = word_wait_begin(&waiting[0].target.word, /* cancellable= */ false);
    atom_init(&counter.pending, 2);
    counter.stop_at_error = false;
    for (int i = 0; i < 2; i++) {
        futures[i] = check_alloc(sizeof(*futures[i]));
        future_init(futures[i], &stub, 1, 0);
        waiter_init(&counter_nodes[i].waiter, &waiting[0].target, seq);
        counter_nodes[i].waiter.want = NODE_COUNTER;
        counter_nodes[i].counter = &counter;
        CHECK_THAT(outcome_wait(&futures[i]->outcome, &counter_nodes[i].waiter));
    }
}

static void gatherer(void)
{
    struct task_word *word = &waiting[0].target.word;

    if (word_park(word))
        check_event_wait(&waiting[0].ready);
    word_resume(word);
    CHECK_THAT(word_cause(word) == CAUSE_GRANTED);
    for (int i = 0; i < 2; i++)
        CHECK_THAT(plain_read(futures[i]->result.num) == i + 1);
}

static void gathered_completer(void)
{
    unsigned self = check_self() - 1;

    CHECK_THAT(future_complete(futures[self], (jd_result){ .num = (intptr_t)self + 1 }, 0));
}

static void finish_await(void)
{
    CHECK_THAT(completions[1] == 1 && seen[0] == 1);
}

static void finish_cancel(void)
{
    CHECK_THAT(completions[1] == 1 && seen[0] != 0);
}

static void finish_race(void)
{
    CHECK_THAT(completions[0] + completions[1] == 1);
}

static void finish_called(void)
{
    CHECK_THAT(called == 1);
}

static void finish_removed(void)
{
    CHECK_THAT(called + removed == 1);
}

static void finish_removed_waiting(void)
{
    CHECK_THAT(called == 10 + (removed == 0));
}

static void finish_removed_cancelled(void)
{
    CHECK_THAT(removed < 0 ? called == 1 : called == 10 + (removed == 0));
}

static const struct check_model models[] = {
    { .name = "outcome-await",
      .setup = setup_2,
      .threads = { awaiter, completer },
      .finish = finish_await,
      .bound = 3 },
    { .name = "outcome-two-awaiters",
      .setup = setup_3,
      .threads = { awaiter, completer, awaiter },
      .finish = finish_await,
      .bound = 1 },
    { .name = "outcome-await-cancel",
      .setup = setup_2,
      .threads = { awaiter, completer, canceller_of_0 },
      .finish = finish_cancel },
    { .name = "outcome-two-completers",
      .setup = setup_3,
      .threads = { completer, completer, peeker },
      .finish = finish_race,
      .bound = 3 },
    { .name = "outcome-gather",
      .setup = setup_gather,
      .threads = { gatherer, gathered_completer, gathered_completer },
      .bound = 3 },
    { .name = "outcome-callback",
      .setup = setup_2,
      .threads = { adder, completer, loop },
      .finish = finish_called,
      .bound = 1 },
    { .name = "outcome-callback-remove",
      .setup = setup_2,
      .threads = { remover, completer, loop },
      .finish = finish_removed,
      .bound = 1 },
    { .name = "outcome-remove-wait",
      .setup = setup_2,
      .threads = { waiting_remover, completer, loop },
      .finish = finish_removed_waiting,
      .bound = 1,
      .max = 150000 },
    { .name = "outcome-remove-wait-cancel",
      .setup = setup_posted,
      .threads = { remove_and_use, canceller_of_0, loop },
      .finish = finish_removed_cancelled,
      .bound = 1,
      .max = 150000 },
};

CHECK_MAIN(models)
