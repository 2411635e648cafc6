/* SPDX-License-Identifier: MIT */
/*
 * Making tasks and ending their records.
 *
 * I1  A spawn either gives a queued task or leaves nothing behind: first the stack reservation, then
 *     the record, then the name; each failure undoes what came before.
 * I2  Whoever may suspend has a stack reserved from spawn to end (fiber/stack.h I1).
 * I3  `refs` is stored last (release): a foreach that takes a reference from non-zero sees a whole
 *     record.
 * I4  Ids come in blocks per worker; they are never reused and order nothing.
 */
#include "sched/spawn.h"

#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "sched/choice.h"
#include "sched/error.h"

#define ID_BLOCK 1024

static uint64_t id_take(struct jd_runtime *rt, struct worker *w)
{
    if (!w)
        return atom_fetch_add(&rt->next_id_block, 1, relaxed); /* Relaxed: only unique. */
    if (JD_UNLIKELY(w->next_id == w->id_end)) {
        w->next_id = atom_fetch_add(&rt->next_id_block, ID_BLOCK, relaxed);
        w->id_end = w->next_id + ID_BLOCK;
    }
    return w->next_id++;
}

static char *name_new(const char *name)
{
    char *copy = mem_calloc(TASK_NAME_BYTES);

    if (copy)
        strncpy(copy, name, TASK_NAME_BYTES - 1);
    return copy;
}

static JD_ALWAYS_INLINE void task_init(struct jd_task *t, struct runtime_stub *stub, jd_fn fn,
                                       void *arg, struct scope *parent)
{
    outcome_init(&t->future.outcome);
    atom_store(&t->future.flags, FUTURE_IS_TASK, relaxed); /* Relaxed: published by refs (I3). */
    atom_store(&t->future.reason, NULL, relaxed);
    t->future.stub = stub;
    word_reset(&t->target.word, WORD_NEW);
    t->target.kind = TARGET_TASK;
    t->fiber = NULL;
    t->fn = fn;
    t->arg = arg;
    t->scope = &t->root;
    scope_init(&t->root, parent, t, SCOPE_OPEN);
    atom_store(&t->name, NULL, relaxed);
    t->group = NULL;
    t->flags = 0;
    t->worker = 0;
    t->stack_class = 0;
    t->clock = 0;
}

static struct jd_task *record_take(struct jd_runtime *rt, struct worker *w)
{
    struct jd_task *t =
        w ? slab_take(&rt->depot, &w->slab, rt->stub) : slab_take_shared(&rt->depot, rt->stub);

    if (t)
        t->id = id_take(rt, w);
    return t;
}

static void record_put(struct jd_runtime *rt, struct worker *w, struct jd_task *t)
{
    t->id = 0;
    if (w)
        slab_put(&rt->depot, &w->slab, t);
    else
        slab_put_shared(&rt->depot, t);
}

static int reserve_stack(struct jd_runtime *rt, struct worker *w)
{
    return w ? stack_cache_reserve(&w->stacks) : stack_pool_reserve(&rt->stacks, 1);
}

static void unreserve_stack(struct jd_runtime *rt, struct worker *w)
{
    if (w)
        stack_cache_unreserve(&w->stacks);
    else
        stack_pool_unreserve(&rt->stacks, 1);
}

static void count_spawn(struct jd_runtime *rt, struct worker *w)
{
    if (w)
        live_begin(&w->live);
    else
        live_begin_shared(&rt->foreign_live);
}

/* A whole record with its reservation, `refs` still 0. NULL: out of memory. */
static struct jd_task *task_new(struct jd_runtime *rt, struct worker *w, jd_fn fn, void *arg,
                                struct scope *parent)
{
    struct jd_task *t;

    if (reserve_stack(rt, w))
        return NULL;
    t = record_take(rt, w);
    if (JD_UNLIKELY(!t)) {
        unreserve_stack(rt, w);
        return NULL;
    }
    task_init(t, rt->stub, fn, arg, parent);
    count_spawn(rt, w);
    return t;
}

static struct jd_task *make(struct worker *w, jd_fn fn, void *arg, struct scope *parent,
                            uint32_t refs)
{
    struct jd_task *t = task_new(w->rt, w, fn, arg, parent);

    if (t) {
        choice_note(EVENT_SPAWN, t->id);
        atom_store(&t->future.refs, refs, release); /* [REF-2] */
    }
    return t;
}

struct jd_task *sched_make_claimed(struct worker *w, jd_fn fn, void *arg, struct scope *parent)
{
    struct jd_task *t = make(w, fn, arg, parent, 0);

    if (t)
        (void)word_claim(&t->target.word); /* nobody else has seen it */
    return t;
}

struct jd_task *sched_make_queued(struct worker *w, jd_fn fn, void *arg, struct scope *parent)
{
    struct jd_task *t = make(w, fn, arg, parent, 2);

    if (t)
        sched_push_fresh(w, t);
    return t;
}

/* The caller's options as this version's struct: shorter ones of an older version are filled up,
 * the unknown tail of a newer one must be zero. */
static int options_read(const jd_task_options *from, jd_task_options *opt)
{
    const unsigned char *bytes = (const unsigned char *)from;

    if (from->size == 0)
        return -EINVAL;
    for (size_t i = sizeof(*opt); i < from->size; i++)
        if (bytes[i])
            return -E2BIG;
    memcpy(opt, from, from->size < sizeof(*opt) ? from->size : sizeof(*opt));
    if (opt->flags & ~(JD_TASK_PINNED | JD_TASK_EAGER))
        return -EINVAL;
    if (opt->stack_bytes > (size_t)1 << (STACK_CLASSES - 1))
        return -EINVAL;
    return 0;
}

/* The pool for tasks that ask for more than the default, or NULL: out of memory. */
static struct stack_pool *class_pool(struct jd_runtime *rt, unsigned log2)
{
    struct stack_pool *pool;

    pthread_mutex_lock(&rt->class_lock);
    pool = rt->stack_classes[log2];
    if (!pool && (pool = mem_calloc(sizeof(*pool)))) {
        if (stack_pool_init(pool, (size_t)1 << log2, STACK_GUARD_AUTO)) {
            mem_free(pool, sizeof(*pool));
            pool = NULL;
        }
        rt->stack_classes[log2] = pool;
    }
    pthread_mutex_unlock(&rt->class_lock);
    return pool;
}

/* Exchanges the default reservation for one of a bigger class. */
static int class_reserve(struct jd_runtime *rt, struct worker *w, struct jd_task *t, size_t bytes)
{
    unsigned log2 = 64 - (unsigned)__builtin_clzll((unsigned long long)bytes - 1);
    struct stack_pool *pool = class_pool(rt, log2);

    if (!pool || stack_pool_reserve(pool, 1))
        return -ENOMEM;
    unreserve_stack(rt, w);
    t->stack_class = (uint16_t)log2;
    t->flags |= TASK_FOREIGN_STACK;
    return 0;
}

static int options_apply(struct jd_runtime *rt, struct worker *w, struct jd_task *t,
                         const jd_task_options *opt)
{
    if (opt->stack_bytes > rt->stack_bytes) {
        int err = class_reserve(rt, w, t, opt->stack_bytes);

        if (err)
            return err;
    }
    if (opt->flags & JD_TASK_PINNED)
        t->flags |= TASK_PINNED;
    if (opt->name) {
        char *name = name_new(opt->name);

        if (!name)
            return -ENOMEM;
        atom_store(&t->name, name, release); /* [NAME-1] */
    }
    return 0;
}

static void task_start(struct worker *w, struct jd_task *t, bool eager)
{
    if (eager && w && w->current && word_claim(&t->target.word))
        sched_run_eager(t);
    else if (w)
        sched_push_fresh(w, t);
    else
        task_ready(t);
}

/* Undoes task_new() of a task that nobody has seen. */
static void task_undo(struct jd_runtime *rt, struct worker *w, struct jd_task *t)
{
    if (w)
        live_end(&w->live);
    else
        live_end_shared(&rt->foreign_live);
    if (t->flags & TASK_FOREIGN_STACK)
        stack_pool_unreserve(rt->stack_classes[t->stack_class], 1);
    else
        unreserve_stack(rt, w);
    word_reset(&t->target.word, WORD_DONE);
    record_put(rt, w, t);
}

void sched_unmake_claimed(struct worker *w, struct jd_task *t)
{
    task_undo(w->rt, w, t);
}

/* opt: whole, or NULL. */
static JD_ALWAYS_INLINE int spawn(struct jd_runtime *rt, jd_fn fn, void *arg,
                                  const jd_task_options *opt, struct scope *parent_scope,
                                  struct group *group, jd_task **ret)
{
    struct worker *w = worker_current();
    struct jd_task *t;
    int err;

    if (!fn)
        return -EINVAL;
    if (w && w->rt != rt)
        w = NULL;
    /* [STOP-2] Acquire, pairs with the shutdown's store. */
    if (JD_UNLIKELY(atom_load(&rt->refuse_spawns, acquire)))
        return -ESHUTDOWN;
    t = task_new(rt, w, fn, arg, parent_scope);
    if (JD_UNLIKELY(!t))
        return -ENOMEM;
    if (opt && (err = options_apply(rt, w, t, opt))) {
        task_undo(rt, w, t);
        return err;
    }
    t->worker = (uint16_t)(w ? w->index : 0);
    if (!w)
        t->flags |= TASK_LINKED; /* it goes to the injector or an inbox */
    t->group = group;
    if (!ret)
        t->flags |= TASK_DETACHED;
    atom_store(&t->future.refs, ret ? 2 : 1, release); /* [REF-2] */
    if (ret)
        *ret = t;
    choice_note(EVENT_SPAWN, t->id);
    task_start(w, t, opt && (opt->flags & JD_TASK_EAGER));
    return 0;
}

static JD_NOINLINE int spawn_with(struct jd_runtime *rt, jd_fn fn, void *arg,
                                  const jd_task_options *options, struct scope *parent_scope,
                                  struct group *group, jd_task **ret)
{
    jd_task_options opt = JD_TASK_OPTIONS_INIT;
    int err = options_read(options, &opt);

    return err ? err : spawn(rt, fn, arg, &opt, parent_scope, group, ret);
}

int sched_spawn(struct jd_runtime *rt, jd_fn fn, void *arg, const jd_task_options *options,
                struct scope *parent_scope, struct group *group, jd_task **ret)
{
    if (options)
        return spawn_with(rt, fn, arg, options, parent_scope, group, ret);
    return spawn(rt, fn, arg, NULL, parent_scope, group, ret);
}

/* The last reference is gone: by a worker of the runtime, another thread, or after its end. */
void task_free(struct jd_task *t)
{
    struct runtime_stub *stub = t->future.stub;
    struct worker *w = worker_current();

    if (t->future.result.error && outcome_is_done(&t->future.outcome) && !t->group)
        future_report_unhandled(&t->future);
    mem_free(atom_load(&t->name, acquire), TASK_NAME_BYTES); /* [NAME-1] */
    if (w && w->rt->stub == stub) {
        record_put(w->rt, w, t);
        return;
    }
    spin_lock(&stub->lock);
    bool alive = stub->rt != NULL;
    if (alive)
        record_put(stub->rt, NULL, t);
    else
        t->id = 0; /* the chunk goes with the stub */
    spin_unlock(&stub->lock);
    if (!alive)
        runtime_stub_unref(stub); /* the record's, given when the runtime was freed */
}
