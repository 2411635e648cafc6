/* SPDX-License-Identifier: MIT */
/*
 * Model of task/slab.c and the references of task/future.c: records that are made, ended and used
 * again (sched/spawn.c, task_init and task_free) against a walk over all records and a late waker.
 * Claims: who walks looks at whole records only, of one life; a record goes back once, after the
 * last access; a waker of a former life changes nothing.
 *
 * The .c files are included because they are the protocol under test; chunks are made small.
 */
#include "task/slab.h"

#undef SLAB_CHUNK_RECORDS
#undef SLAB_BATCH
#define SLAB_CHUNK_RECORDS 2
#define SLAB_BATCH 1

#include "task/future.c"
#include "task/slab.c"

#include "check.h"

#define LIVES 2

static struct runtime_stub stub;
static struct slab_depot depot;
static struct slab_cache cache; /* thread 0's */
static uint64_t next_id;
static struct jd_task *first; /* of the first life, made in setup */
static uint32_t first_seq;

void *mem_alloc(size_t bytes)
{
    return check_alloc(bytes);
}

void *mem_aligned(size_t align, size_t bytes)
{
    (void)align;
    return check_alloc(bytes);
}

void mem_free(void *ptr, size_t bytes)
{
    (void)bytes;
    check_free(ptr);
}

void mem_free_aligned(void *ptr, size_t align, size_t bytes)
{
    (void)align, (void)bytes;
    check_free(ptr);
}

void task_ready(struct jd_task *t)
{
    check_fail("task_ready(%p): a stale wake came through", (void *)t);
}

void parker_ready(struct wait_target *target)
{
    check_fail("parker_ready(%p)", (void *)target);
}

bool future_post_callback(struct waiter *node)
{
    check_fail("future_post_callback(%p)", (void *)node);
}

void future_drop_callback(struct waiter *node)
{
    check_fail("future_drop_callback(%p)", (void *)node);
}

void future_report_unhandled(struct jd_future *f)
{
    check_fail("future_report_unhandled(%p)", (void *)f);
}

void runtime_stub_unref(struct runtime_stub *s)
{
    check_fail("runtime_stub_unref(%p)", (void *)s);
}

/* spawn.c: the last reference, on the worker or elsewhere. */
void task_free(struct jd_task *t)
{
    t->id = 0;
    if (check_self() == 0) {
        slab_put(&depot, &cache, t);
    } else {
        slab_put_shared(&depot, t);
    }
    atom_fetch_add(&stub.refs, 1, relaxed); /* counts what went back */
}

static jd_result body(void *arg)
{
    return (jd_result){ .ptr = arg };
}

/* spawn.c: task_init(), then the references, last. */
static struct jd_task *make(uint32_t refs)
{
    struct jd_task *t = slab_take(&depot, &cache, &stub);

    CHECK_THAT(t && t->id == 0);
    t->id = ++next_id;
    outcome_init(&t->future.outcome);
    atom_store(&t->future.flags, FUTURE_IS_TASK, relaxed);
    t->future.stub = &stub;
    word_reset(&t->target.word, WORD_NEW);
    t->target.kind = TARGET_TASK;
    t->fn = body;
    t->arg = t;
    atom_store(&t->future.refs, refs, release);
    return t;
}

static void end(struct jd_task *t)
{
    CHECK_THAT(future_complete(&t->future, body(t), 0));
    future_unref(&t->future);
}

static void setup(void)
{
    slab_depot_init(&depot);
    cache = (struct slab_cache){ NULL, 0 };
    atom_init(&stub.refs, 0);
    spin_init(&stub.chunk_lock);
    stub.chunks = NULL;
    next_id = 0;
    first = make(1);
    CHECK_THAT(word_claim(&first->target.word));
    first_seq = word_wait_begin(&first->target.word, /* cancellable= */ true);
    CHECK_THAT(word_wake(&first->target.word, first_seq, CAUSE_GRANTED) == WAKE_WON);
}

/* The record's second life comes as soon as the first one's references are gone. */
static void worker(void)
{
    end(first);
    end(make(1));
}

static void worker_that_waits(void)
{
    struct jd_task *t;
    uint32_t seq;

    word_finish(&first->target.word);
    end(first);
    t = make(1);
    CHECK_THAT(word_claim(&t->target.word));
    seq = word_wait_begin(&t->target.word, /* cancellable= */ true);
    CHECK_THAT(word_cause(&t->target.word) == CAUSE_NONE);
    CHECK_THAT(word_wake(&t->target.word, seq, CAUSE_GRANTED) == WAKE_WON);
    word_finish(&t->target.word);
    end(t);
}

/* Holds a reference: all of the record is there, and stays. */
static int look(struct jd_task *t, void *arg)
{
    uint64_t id = t->id;

    (void)arg;
    CHECK_THAT(id >= 1 && id <= LIVES);
    CHECK_THAT(t->fn == body && t->arg == t && t->future.stub == &stub);
    CHECK_THAT(t->id == id);
    return 0;
}

static void walker(void)
{
    (void)slab_foreach(&stub, look, NULL);
}

/* A timer of the first life, delivered late. */
static void late_waker(void)
{
    CHECK_THAT(word_wake(&first->target.word, first_seq, CAUSE_TIMED_OUT) == WAKE_LOST);
}

static void finish(void)
{
    CHECK_THAT(check_peek(&stub.refs) == LIVES);
    CHECK_THAT(slab_count_used(&stub) == 0);
    slab_chunks_free(stub.chunks);
}

static const struct check_model models[] = {
    { .name = "slab-walk", .setup = setup, .threads = { worker, walker }, .finish = finish },
    { .name = "slab-two-walks",
      .setup = setup,
      .threads = { worker, walker, walker },
      .finish = finish,
      .bound = 1,
      .max = 100000 },
    { .name = "slab-late-waker",
      .setup = setup,
      .threads = { worker_that_waits, late_waker },
      .finish = finish,
      .bound = 3 },
};

CHECK_MAIN(models)
