/* SPDX-License-Identifier: MIT */
/*
 * The per-worker cache of stacks: an array, newest last, with the pool's shared list behind it.
 *
 * I1  Never more than STACK_CACHE_MAX stacks and 2 x STACK_CACHE_BATCH credits: the cache reserved
 *     the former, and the latter are reservations by themselves.
 * I2  The newest stack goes out first: its last page is in this CPU's cache.
 *
 * Threads: the owner only.
 */
#include <string.h>

#include "base/assert.h"
#include "base/mark.h"
#include "fiber/overflow.h"
#include "fiber/stack.h"

/* The stack the worker stands on, and one abandoned but not put back yet: stack.h I2. */
enum { RESERVED_PER_CACHE = STACK_CACHE_MAX + 2 };

int stack_cache_init(struct stack_cache *c, struct stack_pool *p)
{
    *c = (struct stack_cache){ .pool = p };
    return stack_pool_reserve(p, RESERVED_PER_CACHE);
}

void stack_cache_fini(struct stack_cache *c)
{
    if (c->count > 0)
        stack_pool_put_batch(c->pool, c->stacks, c->count);
    stack_pool_unreserve(c->pool, RESERVED_PER_CACHE + c->credits);
    c->count = 0;
    c->credits = 0;
}

struct fiber *stack_take(struct stack_cache *c)
{
    if (JD_UNLIKELY(c->count == 0)) {
        MARK(STACK_CACHE_EMPTY);
        c->count = stack_pool_take_batch(c->pool, c->stacks, STACK_CACHE_BATCH);
    }
    return c->stacks[--c->count];
}

static JD_NOINLINE void spill_oldest(struct stack_cache *c)
{
    MARK(STACKS_SPILLED);
    stack_pool_put_batch(c->pool, c->stacks, STACK_CACHE_BATCH);
    c->count -= STACK_CACHE_BATCH;
    memmove(c->stacks, c->stacks + STACK_CACHE_BATCH, c->count * sizeof(c->stacks[0]));
}

void stack_put(struct stack_cache *c, struct fiber *f)
{
    JD_ASSERT(f->pool == c->pool);
    JD_ASSERT(!f->dying); /* fiber_retire() comes first */
    if (JD_UNLIKELY(!fiber_canary_is_intact(f)))
        overflow_report_canary(f);
    if (JD_UNLIKELY(c->count == STACK_CACHE_MAX))
        spill_oldest(c);
    c->stacks[c->count++] = f;
}

int stack_cache_fill_credits(struct stack_cache *c)
{
    if (stack_pool_reserve(c->pool, STACK_CACHE_BATCH) == 0) {
        c->credits += STACK_CACHE_BATCH;
        return 0;
    }
    int err = stack_pool_reserve(c->pool, 1); /* near the limit every one counts */
    if (!err)
        c->credits++;
    return err;
}

void stack_cache_drain_credits(struct stack_cache *c)
{
    stack_pool_unreserve(c->pool, STACK_CACHE_BATCH);
    c->credits -= STACK_CACHE_BATCH;
}
