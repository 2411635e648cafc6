/* SPDX-License-Identifier: MIT */
/*
 * Plain data and lifetimes: races by vector clocks, so a missing order is found in whatever
 * interleaving was run; memory of one execution with use-after-free checks; the event primitive.
 *
 * I1  A plain write must happen after every earlier access of the cell, a read after its last
 *     write: else a data race.
 * I2  Freeing a block is a write to all of it, any access a read: the free must happen after
 *     every access, and no access may follow in execution order.
 * I3  Freed memory is not reused within an execution, so a stale pointer is always noticed.
 */
#include "check_internal.h"

#include <string.h>

#define CELLS 4096 /* power of two, at most half used */
#define BLOCKS 64
#define ARENA_BYTES (256 * 1024)

struct cell {
    uint32_t generation;
    uint8_t writer;
    uint16_t write_clock;
    uint16_t read_clock[CHECK_CLOCKS];
    int block;
    const void *addr;
    struct check_site write_site;
};

struct block {
    char *start;
    size_t bytes;
    bool freed;
    uint16_t access_clock[CHECK_CLOCKS];
    struct check_site access_site[CHECK_CLOCKS];
};

static struct cell cells[CELLS];
static unsigned cell_count;
static uint32_t generation;
static struct block blocks[BLOCKS];
static unsigned block_count;
static char arena[ARENA_BYTES] __attribute__((aligned(128)));
static size_t arena_used;

void race_reset(void)
{
    generation++;
    cell_count = 0;
    block_count = 0;
    arena_used = 0;
}

int race_block_of(const void *addr)
{
    const char *at = addr;

    if (at < arena || at >= arena + ARENA_BYTES)
        return NO_BLOCK;
    for (unsigned i = 0; i < block_count; i++) {
        if (at >= blocks[i].start && at < blocks[i].start + blocks[i].bytes)
            return (int)i;
    }
    return NO_BLOCK;
}

void race_touch_block(int index, const struct check_site *site)
{
    struct block *b;

    if (index == NO_BLOCK)
        return;
    b = &blocks[index];
    if (b->freed)
        check_fail("%s:%d: use after free: thread %s, %s", site->file, site->line,
                   engine_thread_name(engine.running), site->object);
    b->access_clock[engine.running] = engine_self()->current.clock[engine.running];
    b->access_site[engine.running] = *site;
}

static struct cell *cell_find(const void *addr)
{
    size_t at = ((uintptr_t)addr * UINT64_C(0x9e3779b97f4a7c15)) >> 52;

    while (cells[at].generation == generation) { /* bounded: half of the cells are free */
        if (cells[at].addr == addr)
            return &cells[at];
        at = (at + 1) % CELLS;
    }
    if (++cell_count > CELLS / 2)
        check_fail("more than %d plain cells: make the model smaller", CELLS / 2);
    memset(&cells[at], 0, sizeof(cells[at]));
    cells[at].generation = generation;
    cells[at].addr = addr;
    cells[at].block = race_block_of(addr);
    cells[at].writer = CHECK_MAIN_THREAD;
    return &cells[at];
}

static void race_fail(const struct check_site *site, bool write, unsigned other,
                      const struct check_site *other_site)
{
    check_fail("%s:%d: data race: %s of %s by thread %s is not ordered after thread %s's %s%s:%d",
               site->file, site->line, write ? "write" : "read", site->object,
               engine_thread_name(engine.running), engine_thread_name(other),
               other_site ? "write at " : "read ", other_site ? other_site->file : "",
               other_site ? other_site->line : 0);
}

void check_plain(void *addr, bool write, const struct check_site *site)
{
    struct cell *c = cell_find(addr);
    const struct view *now = &engine_self()->current;

    race_touch_block(c->block, site);
    if (now->clock[c->writer] < c->write_clock)
        race_fail(site, write, c->writer, &c->write_site);
    if (write) {
        for (unsigned i = 0; i < CHECK_CLOCKS; i++) {
            if (now->clock[i] < c->read_clock[i])
                race_fail(site, write, i, NULL);
        }
        c->writer = (uint8_t)engine.running;
        c->write_clock = now->clock[engine.running];
        c->write_site = *site;
    } else {
        c->read_clock[engine.running] = now->clock[engine.running];
    }
    TRACE(site, "plain %s", write ? "write" : "read");
}

void *check_alloc(size_t bytes)
{
    struct block *b;
    size_t rounded = (bytes + 127) & ~(size_t)127;

    if (block_count == BLOCKS || arena_used + rounded > ARENA_BYTES)
        check_fail("more than %d allocations or %d bytes: make the model smaller", BLOCKS,
                   ARENA_BYTES);
    b = &blocks[block_count++];
    b->start = arena + arena_used;
    b->bytes = bytes;
    b->freed = false;
    memset(b->access_clock, 0, sizeof(b->access_clock));
    memset(b->start, 0, bytes);
    arena_used += rounded;
    return b->start;
}

void check_release(void *ptr, const struct check_site *site)
{
    int index = race_block_of(ptr);
    struct block *b;

    if (!ptr)
        return;
    if (index == NO_BLOCK || blocks[index].start != (char *)ptr)
        check_fail("%s:%d: free of what check_alloc() did not give", site->file, site->line);
    b = &blocks[index];
    if (b->freed)
        check_fail("%s:%d: double free of %s", site->file, site->line, site->object);
    for (unsigned i = 0; i < CHECK_CLOCKS; i++) {
        if (engine_self()->current.clock[i] < b->access_clock[i])
            check_fail("%s:%d: free of %s by thread %s is not ordered after thread %s's use at "
                       "%s:%d",
                       site->file, site->line, site->object, engine_thread_name(engine.running),
                       engine_thread_name(i), b->access_site[i].file, b->access_site[i].line);
    }
    b->freed = true;
    TRACE(site, "free");
}

/*
 * Events.
 */

void check_event_init(struct check_event *event)
{
    check_init(&event->count, sizeof(event->count), 0, CHECK_SITE("event"));
}

void check_event_add(struct check_event *event, const struct check_site *site)
{
    check_rmw(&event->count, sizeof(event->count), CHECK_ADD, 1, CHECK_ORDER_acq_rel, site);
}

static bool event_set(void *arg)
{
    struct check_event *event = arg;

    return check_peek(&event->count) != 0;
}

bool check_event_take(struct check_event *event, bool may_expire, const struct check_site *site)
{
    if (may_expire && check_choose(2, site) == 1)
        return false;
    check_block(event_set, event, site);
    check_rmw(&event->count, sizeof(event->count), CHECK_EXCHANGE, 0, CHECK_ORDER_acq_rel, site);
    return true;
}
