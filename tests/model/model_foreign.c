/* SPDX-License-Identifier: MIT */
/*
 * Model of sched/ready.c for threads from outside, and of the end of a runtime (api/runtime.c,
 * jd_runtime_free). Claims: a thread that makes the last task ready, or finds the runtime by its
 * stub (sched/error.c, runtime_hold), is out of it before its memory is freed; a callback that it
 * posts (sched/done_callback.c, future_post_callback) is dropped by somebody.
 *
 * ready.c is included because it is the protocol under test; what it calls is supplied here.
 */
#include "sched/ready.c"

#include "check.h"

static struct jd_runtime *rt;
static struct worker *no_worker; /* a variable: the compiler shall not follow it */
static struct runtime_stub stub;
static struct jd_task task;
static struct injector_shard *shard;
static struct check_event bell;
static uint32_t seq;
static struct loop_item callback;
static bool is_posted; /* guarded by the stub's lock */
static unsigned dropped;

struct worker *worker_current(void)
{
    return no_worker;
}

void sched_inbox_drain(struct worker *w)
{
    (void)w;
    CHECK_THAT(no_worker != NULL); /* only a worker calls it */
}

void reactor_wake(struct reactor *r, unsigned index)
{
    CHECK_THAT(r == NULL && index == 0);
    check_event_post(&bell);
}

static void setup(void)
{
    rt = check_alloc(sizeof(*rt));
    shard = check_alloc(sizeof(*shard));
    injector_init(&rt->injector, shard, 1);
    idle_init(&rt->idle);
    rt->workers = check_alloc(sizeof(*rt->workers));
    rt->workers[0].rt = rt;
    inbox_init(&rt->workers[0].inbox);
    is_posted = false;
    dropped = 0;
    atom_init(&rt->foreign, 0);
    rt->stub = &stub;
    spin_init(&stub.lock);
    stub.rt = rt;
    check_event_init(&bell);
    task.flags = 0;
    task.future.stub = &stub;
    atom_init(&task.target.word.bits, (uint64_t)WORD_RUNNING);
    seq = word_wait_begin(&task.target.word, /* cancellable= */ false);
}

static void stranger(void)
{
    enum word_wake_result woken = word_wake(&task.target.word, seq, CAUSE_GRANTED);

    if (woken == WAKE_QUEUE)
        task_ready(&task);
}

/* error.c: runtime_hold(), a use, runtime_let_go(). */
static void holder(void)
{
    struct jd_runtime *held;

    spin_lock(&stub.lock);
    held = stub.rt;
    if (held)
        atom_fetch_add(&held->foreign, 1, seq_cst);
    spin_unlock(&stub.lock);
    if (!held)
        return;
    CHECK_THAT(held->stub == &stub);
    atom_fetch_sub(&held->foreign, 1, seq_cst);
}

/* done_callback.c: future_post_callback(). */
static void poster(void)
{
    spin_lock(&stub.lock);
    if (stub.rt) {
        is_posted = true;
        sched_post(&stub.rt->workers[0], &callback);
    }
    spin_unlock(&stub.lock);
}

static void drop_posted(void)
{
    struct qlist list;

    qlist_init(&list);
    dropped += inbox_take_all(&rt->workers[0].inbox, &list);
}

static void wait_for_strangers(void)
{
    while (atom_load(&rt->foreign, seq_cst) != 0)
        spin_hint();
}

/* runtime.c: jd_runtime_free() after the drain. */
static void free_runtime(void)
{
    bool was_posted;

    wait_for_strangers();
    drop_posted();
    CHECK_THAT(injector_is_empty(&rt->injector));
    spin_lock(&stub.lock);
    stub.rt = NULL;
    was_posted = is_posted;
    spin_unlock(&stub.lock);
    wait_for_strangers();
    drop_posted();
    CHECK_THAT(dropped == was_posted);
    check_free(rt->workers);
    check_free(shard);
    check_free(rt);
}

/* Its only task parks, is queued by whoever, and ends; then the runtime goes. */
static void worker(void)
{
    struct qlist list;

    qlist_init(&list);
    if (word_park(&task.target.word)) {
        for (;;) { /* park.c: announce, look again, sleep */
            idle_park_announce(&rt->idle, 0, false);
            if (injector_is_empty(&rt->injector))
                check_event_wait(&bell);
            (void)idle_park_retract(&rt->idle, 0);
            if (injector_pop_batch(&rt->injector, 0, &list, 1))
                break;
        }
    }
    word_resume(&task.target.word);
    CHECK_THAT(word_cause(&task.target.word) == CAUSE_GRANTED);
    word_finish(&task.target.word);
    free_runtime();
}

static const struct check_model models[] = {
    { .name = "foreign-wake",
      .setup = setup,
      .threads = { worker, stranger },
      .bound = 3,
      .max = 100000 },
    { .name = "foreign-hold",
      .setup = setup,
      .threads = { worker, stranger, holder },
      .bound = 1,
      .max = 100000 },
    { .name = "foreign-post",
      .setup = setup,
      .threads = { free_runtime, poster },
      .bound = 3,
      .max = 100000 },
};

CHECK_MAIN(models)
