/* SPDX-License-Identifier: MIT */
/*
 * The pool: reservation accounting, growth, the shared list, trimming. See stack.h for the
 * invariants; the cache is in stack_cache.c.
 *
 * Lock order: grow, then lock. Nothing is called with lock held but region bitmap functions.
 */
#include "fiber/stack.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>

#include "base/assert.h"
#include "fiber/overflow.h"

#define REGION_BYTES_FIRST ((size_t)1 << 30)
#define REGION_BYTES_MAX ((size_t)1 << 36)
#define SLAB_BYTES_MIN ((size_t)2 << 20) /* a page table page, as in region.h I2 */
#define SLAB_BYTES_MAX ((size_t)16 << 20)
#define STACK_BYTES_MAX ((size_t)1 << 30)

enum {
    SLAB_SLOTS = 64,
    COLOURS = 16,
    COLOUR_BYTES = 64,
    /* Known to the signal handler. Later pools work, but their overflows are anonymous. */
    POOLS_MAX = 64,
    TRIM_BATCH = 1024, /* stacks out of reach at a time: 0.3 ms of system calls */
    TRIM_CHUNK = 64
};

/* For stack_find_guard(). Never dereferenced after the pool's fini. */
static JD_ATOMIC(struct stack_pool *) pools[POOLS_MAX];

static void register_pool(struct stack_pool *p)
{
    for (size_t i = 0; i < POOLS_MAX; i++) {
        struct stack_pool *expected = NULL;
        /* [STK-3] Release, pairs with the acquire in stack_find_guard(): p is initialised. */
        if (atom_cas(&pools[i], &expected, p, release, relaxed))
            return;
    }
}

static void unregister_pool(struct stack_pool *p)
{
    for (size_t i = 0; i < POOLS_MAX; i++) {
        struct stack_pool *expected = p;
        atom_cas(&pools[i], &expected, NULL, relaxed, relaxed); /* Relaxed: nothing published. */
    }
}

static size_t slot_bytes_for(size_t stack_bytes, size_t guard)
{
    size_t slot = STACK_BYTES_MIN;
    while (slot < stack_bytes)
        slot *= 2;
    while (guard > slot / 4)
        slot *= 2;
    return slot;
}

int stack_pool_init(struct stack_pool *p, size_t stack_bytes, enum stack_guard guard)
{
    if (stack_bytes > STACK_BYTES_MAX)
        return -EINVAL;
    memset(p, 0, sizeof(*p));
    int err = guard_choose(guard, &p->guard);
    if (err)
        return err;
    err = -pthread_mutex_init(&p->grow, /* attr= */ NULL);
    if (err)
        return err;
    p->guard_bytes = guard_bytes();
    p->slot_bytes = slot_bytes_for(stack_bytes, p->guard_bytes);
    p->valgrind = tools_is_valgrind();
    spin_init(&p->lock);
    list_init(&p->hot);
    register_pool(p);
    return 0;
}

void stack_pool_fini(struct stack_pool *p)
{
    JD_ASSERT(atom_load(&p->reserved, relaxed) == 0); /* Relaxed: nobody else is left. */
    JD_ASSERT(p->hot_count + p->cold_count == atom_load(&p->carved, relaxed));
    unregister_pool(p);
    for (unsigned i = 0; i < atom_load(&p->region_count, relaxed); i++)
        region_close(&p->regions[i]);
    pthread_mutex_destroy(&p->grow);
}

/* Growth: under p->grow. */

static size_t region_bytes_wanted(const struct stack_pool *p, unsigned regions, size_t at_least)
{
    size_t bytes = REGION_BYTES_FIRST;
    for (unsigned i = 0; i < regions && bytes < REGION_BYTES_MAX; i++)
        bytes *= 2;
    /* Under a limit of the address space leave most of it to the program. */
    struct rlimit limit;
    if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur / 16 < bytes)
        bytes = limit.rlim_cur / 16 / p->slot_bytes * p->slot_bytes;
    return bytes > at_least ? bytes : at_least;
}

static uint32_t slab_slots(const struct stack_pool *p)
{
    size_t bytes = SLAB_SLOTS * p->slot_bytes;
    if (bytes < SLAB_BYTES_MIN)
        bytes = SLAB_BYTES_MIN;
    if (bytes > SLAB_BYTES_MAX)
        bytes = SLAB_BYTES_MAX;
    return bytes > p->slot_bytes ? (uint32_t)(bytes / p->slot_bytes) : 1;
}

/* The region with room left, opened if need be. */
static struct stack_region *growing_region(struct stack_pool *p)
{
    unsigned count = atom_load(&p->region_count, relaxed); /* Relaxed: written under grow. */
    if (count > 0) {
        struct stack_region *last = &p->regions[count - 1];
        if (atom_load(&last->carved, relaxed) < last->slots) /* Relaxed: written under grow. */
            return last;
    }
    if (count == STACK_REGIONS_MAX)
        return NULL;
    size_t least = slab_slots(p) * p->slot_bytes;
    size_t wanted = region_bytes_wanted(p, count, least);
    if (region_open(&p->regions[count], p->slot_bytes, wanted, least) != 0)
        return NULL;
    /* [STK-4] Release, pairs with the acquires in stack_find_guard(), find_region(): it is open. */
    atom_store(&p->region_count, count + 1, release);
    return &p->regions[count];
}

static int grow(struct stack_pool *p, size_t need)
{
    struct stack_region *r = growing_region(p);
    if (!r)
        return -ENOMEM;
    uint32_t first = atom_load(&r->carved, relaxed); /* Relaxed: written under grow. */
    uint32_t slab = slab_slots(p);
    uint32_t n = need < r->slots ? (uint32_t)need : r->slots;
    int made = region_carve(r, n > slab ? n : slab, &p->guard);
    if (made < 0 && n < slab) /* strict overcommit: perhaps there is room for less than a slab */
        made = region_carve(r, n, &p->guard);
    if (made < 0)
        return made;
    uint32_t end = first + (uint32_t)made;
    uint32_t guarded = atom_load(&r->guarded, relaxed); /* Relaxed: written under grow. */
    if (guarded < first)
        guarded = first;
    atom_fetch_add(&p->canary_slots, end - guarded, relaxed); /* Relaxed: statistics. */
    spin_lock(&p->lock);
    region_put_cold(r, first, (uint32_t)made);
    p->cold_count += (size_t)made;
    spin_unlock(&p->lock);
    /* [STK-1] Release, pairs with the acquire in try_reserve(): who counts on these slots finds
     * them in the bitmap. */
    atom_fetch_add(&p->carved, (size_t)made, release);
    return 0;
}

/* Reserve n out of what is carved; else say how many are missing. */
static bool try_reserve(struct stack_pool *p, size_t n, size_t *ret_missing)
{
    size_t reserved = atom_load(&p->reserved, relaxed); /* Relaxed: a count, checked by the CAS. */
    do {
        /* [STK-1] Acquire, pairs with the release in grow(). */
        size_t carved = atom_load(&p->carved, acquire);
        if (n > carved - reserved) {
            *ret_missing = n - (carved - reserved);
            return false;
        }
    } while (!atom_cas_weak(&p->reserved, &reserved, reserved + n, relaxed, relaxed));
    return true;
}

int stack_pool_reserve(struct stack_pool *p, size_t n)
{
    size_t missing = 0;
    if (JD_LIKELY(try_reserve(p, n, &missing)))
        return 0;
    pthread_mutex_lock(&p->grow);
    int err = 0;
    while (!err && !try_reserve(p, n, &missing)) /* bounded: each round carves a slot or fails */
        err = grow(p, missing);
    pthread_mutex_unlock(&p->grow);
    return err;
}

void stack_pool_unreserve(struct stack_pool *p, size_t n)
{
    size_t before = atom_fetch_sub(&p->reserved, n, relaxed); /* Relaxed: a count. */
    JD_ASSERT(before >= n);
}

/* The shared list. */

static struct stack_region *find_region(struct stack_pool *p, const void *addr)
{
    /* [STK-4] Acquire, pairs with the release in growing_region(). */
    unsigned count = atom_load(&p->region_count, acquire);
    for (unsigned i = 0; i < count; i++) {
        if ((uintptr_t)addr - (uintptr_t)p->regions[i].base < p->regions[i].bytes)
            return &p->regions[i];
    }
    return NULL;
}

/* Where the fiber of a slot lives (I3). */
static struct fiber *slot_fiber(const struct stack_region *r, uint32_t index)
{
    char *end = r->base + ((size_t)index + 1) * r->slot_bytes;
    return (struct fiber *)(void *)(end - (index % COLOURS) * COLOUR_BYTES) - 1;
}

/* A cold slot has no memory: write its fiber anew. */
static struct fiber *place_fiber(struct stack_pool *p, const struct stack_region *r, uint32_t index)
{
    struct fiber *f = slot_fiber(r, index);
    memset(f, 0, sizeof(*f));
    f->low = r->base + (size_t)index * r->slot_bytes + p->guard_bytes;
    f->high = (char *)f;
    f->pool = p;
    /* Relaxed: on its side of index for ever, since the slot became cold under the lock. */
    f->canary = index >= atom_load(&r->guarded, relaxed);
    list_init(&f->link);
    return f;
}

static struct fiber *take_cold_and_unlock(struct stack_pool *p)
{
    struct stack_region *r = p->regions;
    JD_ASSERT(p->cold_count > 0); /* I1 is broken: a stack taken without a reservation */
    while (r->cold_count == 0)    /* bounded: the pool's sum is not zero */
        r++;
    uint32_t index = region_take_cold(r);
    p->cold_count--;
    spin_unlock(&p->lock);
    return place_fiber(p, r, index);
}

unsigned stack_pool_take_batch(struct stack_pool *p, struct fiber **ret, unsigned max)
{
    spin_lock(&p->lock);
    unsigned n = p->hot_count < max ? (unsigned)p->hot_count : max;
    if (n == 0) { /* one only: cold stacks cost a page each, so nobody hoards them */
        ret[0] = take_cold_and_unlock(p);
        return 1;
    }
    p->hot_count -= n;
    for (unsigned i = n; i > 0; i--)
        ret[i - 1] = JD_CONTAINER_OF(list_pop_head(&p->hot), struct fiber, link);
    spin_unlock(&p->lock);
    return n;
}

struct fiber *stack_pool_take(struct stack_pool *p)
{
    struct fiber *f;
    (void)stack_pool_take_batch(p, &f, 1);
    return f;
}

void stack_pool_put_batch(struct stack_pool *p, struct fiber *const *stacks, unsigned n)
{
    spin_lock(&p->lock);
    for (unsigned i = 0; i < n; i++)
        list_add_head(&p->hot, &stacks[i]->link);
    p->hot_count += n;
    spin_unlock(&p->lock);
}

void stack_pool_put(struct stack_pool *p, struct fiber *f)
{
    JD_ASSERT(f->pool == p);
    JD_ASSERT(!f->dying); /* fiber_retire() comes first */
    if (JD_UNLIKELY(!fiber_canary_is_intact(f)))
        overflow_report_canary(f);
    stack_pool_put_batch(p, &f, 1);
}

/* Trimming: a batch of idle stacks is taken off the list like any user would, with a reservation,
 * so I1 holds while it is gone. */

static void mark_trimming(struct stack_pool *p, const struct fiber *f)
{
    struct stack_region *r = find_region(p, f);
    JD_ASSERT(r);
    region_trim_add(r, (uint32_t)((size_t)((const char *)f - r->base) / r->slot_bytes));
}

/* Move up to max of the oldest idle stacks beyond keep from the list to the trimming bitmaps. */
static size_t detach_oldest(struct stack_pool *p, size_t keep, size_t max)
{
    size_t n = 0;
    spin_lock(&p->lock);
    while (n < max && p->hot_count > keep) {
        struct list *oldest = p->hot.prev;
        list_del(oldest);
        p->hot_count--;
        mark_trimming(p, JD_CONTAINER_OF(oldest, struct fiber, link));
        if (++n % TRIM_CHUNK == 0) { /* old stacks miss the cache: let others in */
            spin_unlock(&p->lock);
            spin_lock(&p->lock);
        }
    }
    spin_unlock(&p->lock);
    return n;
}

/* Returns how many it trimmed; 0: done. Under grow: the trimming bitmaps have one user. */
static size_t trim_batch(struct stack_pool *p, size_t keep)
{
    size_t missing;
    size_t max = TRIM_BATCH;
    while (!try_reserve(p, max, &missing)) { /* bounded: max shrinks */
        if (missing >= max)
            return 0; /* every idle stack is promised to someone */
        max -= missing;
    }
    size_t n = detach_oldest(p, keep, max);
    unsigned count = atom_load(&p->region_count, relaxed); /* Relaxed: written under grow. */
    for (unsigned i = 0; i < count && n > 0; i++)
        region_trim_advise(&p->regions[i]);
    spin_lock(&p->lock);
    for (unsigned i = 0; i < count && n > 0; i++)
        region_trim_finish(&p->regions[i]);
    p->cold_count += n;
    spin_unlock(&p->lock);
    stack_pool_unreserve(p, max);
    return n;
}

size_t stack_pool_trim(struct stack_pool *p, size_t keep)
{
    size_t sum = 0;
    size_t n;
    do { /* bounded: the list shrinks by n each time, unless others put more */
        pthread_mutex_lock(&p->grow); /* per batch: a spawn may wait for it */
        n = trim_batch(p, keep);
        pthread_mutex_unlock(&p->grow);
        sum += n;
    } while (n > 0);
    atom_fetch_add(&p->trimmed, sum, relaxed); /* Relaxed: statistics. */
    return sum;
}

void stack_pool_stats(struct stack_pool *p, struct stack_stats *ret_stats)
{
    pthread_mutex_lock(&p->grow);
    spin_lock(&p->lock);
    *ret_stats = (struct stack_stats){
        .stack_bytes = p->slot_bytes - p->guard_bytes - sizeof(struct fiber),
        /* Relaxed, all of them: statistics. */
        .carved = atom_load(&p->carved, relaxed),
        .reserved = atom_load(&p->reserved, relaxed),
        .idle_hot = p->hot_count,
        .idle_cold = p->cold_count,
        .canary_slots = atom_load(&p->canary_slots, relaxed),
        .trimmed = atom_load(&p->trimmed, relaxed),
        .regions = atom_load(&p->region_count, relaxed),
        .guard = p->guard,
    };
    spin_unlock(&p->lock);
    pthread_mutex_unlock(&p->grow);
}

struct fiber *stack_find_guard(const void *addr)
{
    for (size_t i = 0; i < POOLS_MAX; i++) {
        /* [STK-3] Acquire, pairs with the release in register_pool(). */
        struct stack_pool *p = atom_load(&pools[i], acquire);
        const struct stack_region *r = p ? find_region(p, addr) : NULL;
        if (!r)
            continue;
        size_t offset = (size_t)((uintptr_t)addr - (uintptr_t)r->base);
        uint32_t index = (uint32_t)(offset / r->slot_bytes);
        /* [STK-2] Acquire, pairs with the release in region_carve(). */
        if (index >= atom_load(&r->carved, acquire) || offset % r->slot_bytes >= p->guard_bytes)
            return NULL;
        struct fiber *f = slot_fiber(r, index);
        return f->pool == p ? f : NULL; /* zero: the slot was never used */
    }
    return NULL;
}
