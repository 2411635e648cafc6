/* SPDX-License-Identifier: MIT */
/*
 * The memory model: locations with their history of messages, and views.
 *
 * I1  message[i] of a location is its i-th value in modification order (= execution order).
 * I2  thread.current.seen[loc] is the oldest message the thread may read; it only grows.
 * I3  A message's view is what an acquiring reader learns: the writer's whole view for release,
 *     its view at the last release fence for relaxed; read-modify-writes add the view of the
 *     message they read (release sequence).
 * I4  global.seen[loc] is the newest message known to the order S of seq_cst: raised by seq_cst
 *     stores (that location) and fences (the fencing thread's whole view); a floor for seq_cst
 *     loads, learnt in full by seq_cst fences. A seq_cst load raises nothing: that is C11's rule,
 *     and treating it as a fence hides missing fences.
 * I5  An old message may be read again STALE_REREADS times only, so loops end.
 * I6  atom_init() is a plain write: whoever touches the location must be ordered after it.
 *
 * Rejected: keeping values in the objects and views elsewhere (one source of truth is simpler; the
 * object still gets the newest value, for debuggers and un-hooked readers).
 */
#include "check_internal.h"

#include <string.h>

struct message {
    uint64_t value;
    struct view view;
};

struct location {
    void *addr;
    unsigned bytes;
    unsigned count; /* of messages */
    int block;      /* allocation it lies in, or NO_BLOCK */
    uint8_t init_thread;
    uint16_t init_clock;
    struct message messages[CHECK_MESSAGES];
};

#define HASH_SIZE 512

static struct location locations[CHECK_LOCS];
static unsigned location_count;
static size_t view_bytes; /* of seen[] in use, rounded up: views beyond are all zero */
static struct view global;
static struct {
    uint32_t generation;
    uint32_t index;
} hash[HASH_SIZE];
static uint32_t generation;

static void view_join(struct view *to, const struct view *from)
{
    for (size_t at = 0; at < view_bytes; at += VIEW_CHUNK) {
        for (size_t i = at; i < at + VIEW_CHUNK; i++)
            to->seen[i] = to->seen[i] > from->seen[i] ? to->seen[i] : from->seen[i];
    }
    for (unsigned i = 0; i < CHECK_CLOCKS; i++)
        to->clock[i] = to->clock[i] > from->clock[i] ? to->clock[i] : from->clock[i];
}

static void seen_join(struct view *to, const struct view *from)
{
    for (size_t i = 0; i < view_bytes; i++)
        to->seen[i] = to->seen[i] > from->seen[i] ? to->seen[i] : from->seen[i];
}

static void view_copy(struct view *to, const struct view *from)
{
    memcpy(to->seen, from->seen, view_bytes);
    memcpy(to->clock, from->clock, sizeof(to->clock));
}

static void view_zero(struct view *view)
{
    memset(view->seen, 0, view_bytes);
    memset(view->clock, 0, sizeof(view->clock));
}

/* The chunk that came into use is zero in every thread's views; messages get it when written. */
static void views_grow(void)
{
    size_t at = view_bytes;

    view_bytes += VIEW_CHUNK;
    memset(global.seen + at, 0, VIEW_CHUNK);
    for (unsigned i = 0; i < CHECK_CLOCKS; i++) {
        struct thread *t = &engine.threads[i];

        memset(t->current.seen + at, 0, VIEW_CHUNK);
        memset(t->pending.seen + at, 0, VIEW_CHUNK);
        memset(t->fenced.seen + at, 0, VIEW_CHUNK);
        memset(t->rereads + at, 0, VIEW_CHUNK);
        memset(t->stale_read + at, 0, VIEW_CHUNK);
    }
    for (unsigned l = 0; l < location_count; l++) {
        for (unsigned m = 0; m < locations[l].count; m++)
            memset(locations[l].messages[m].view.seen + at, 0, VIEW_CHUNK);
    }
}

void memory_reset(void)
{
    generation++;
    location_count = 0;
    view_bytes = 0;
    view_zero(&global);
    for (unsigned i = 0; i < CHECK_CLOCKS; i++) {
        struct thread *t = &engine.threads[i];

        view_zero(&t->current);
        view_zero(&t->pending);
        view_zero(&t->fenced);
        t->current.clock[i] = 1;
    }
}

void memory_start_threads(void)
{
    struct thread *setup = &engine.threads[CHECK_MAIN_THREAD];

    for (unsigned i = 0; i < engine.thread_count; i++)
        view_join(&engine.threads[i].current, &setup->current);
    setup->current.clock[CHECK_MAIN_THREAD]++;
}

void memory_finish_threads(void)
{
    struct thread *finish = &engine.threads[CHECK_MAIN_THREAD];

    for (unsigned i = 0; i < engine.thread_count; i++)
        view_join(&finish->current, &engine.threads[i].current);
    for (unsigned l = 0; l < location_count; l++)
        finish->current.seen[l] = (uint8_t)(locations[l].count - 1);
}

/* After a turn of a waiting loop: what it read old there, it reads new in the next turn. */
void memory_fresh(struct thread *thread)
{
    if (!thread->stale_in_iteration)
        return;
    thread->stale_in_iteration = false;
    for (unsigned l = 0; l < location_count; l++) {
        if (thread->stale_read[l]) {
            thread->stale_read[l] = false;
            thread->current.seen[l] = (uint8_t)(locations[l].count - 1);
        }
    }
}

static uint64_t mask(unsigned bytes)
{
    return bytes == 8 ? UINT64_MAX : (UINT64_C(1) << (8 * bytes)) - 1;
}

static struct location *location_new(void *addr, unsigned bytes)
{
    struct location *loc;

    if (location_count == CHECK_LOCS)
        check_fail("more than %d atomic locations: make the model smaller", CHECK_LOCS);
    if (location_count == view_bytes)
        views_grow();
    loc = &locations[location_count++];
    loc->addr = addr;
    loc->bytes = bytes;
    loc->count = 1;
    loc->block = race_block_of(addr);
    loc->init_thread = CHECK_MAIN_THREAD;
    loc->init_clock = 0;
    loc->messages[0].value = 0;
    memcpy(&loc->messages[0].value, addr, bytes); /* little endian, like all our machines */
    view_zero(&loc->messages[0].view);
    return loc;
}

static struct location *location_find(void *addr, unsigned bytes)
{
    size_t at = ((uintptr_t)addr * UINT64_C(0x9e3779b97f4a7c15)) >> 55;

    while (hash[at].generation == generation) { /* bounded: CHECK_LOCS < HASH_SIZE */
        struct location *loc = &locations[hash[at].index];

        if (loc->addr == addr) {
            if (loc->bytes != bytes)
                check_fail("mixed-size access to one atomic");
            return loc;
        }
        at = (at + 1) % HASH_SIZE;
    }
    hash[at].generation = generation;
    hash[at].index = location_count;
    return location_new(addr, bytes);
}

/* The location, after the checks every access gets. */
static struct location *location_access(void *addr, unsigned bytes, const struct check_site *site)
{
    struct location *loc = location_find(addr, bytes);
    struct thread *t = engine_self();

    if (t->current.clock[loc->init_thread] < loc->init_clock)
        check_fail("%s:%d: data race: thread %s uses %s, whose atom_init() by thread %s is not "
                   "ordered before",
                   site->file, site->line, engine_thread_name(engine.running), site->object,
                   engine_thread_name(loc->init_thread));
    race_touch_block(loc->block, site);
    if (!t->in_iteration) {
        t->in_iteration = true;
        t->iteration_others = engine.writes - t->writes;
    }
    return loc;
}

static unsigned index_of(const struct location *loc)
{
    return (unsigned)(loc - locations);
}

static bool acquires(enum check_order order)
{
    return order == CHECK_ORDER_acquire || order >= CHECK_ORDER_acq_rel;
}

static bool releases(enum check_order order)
{
    return order >= CHECK_ORDER_release;
}

/* Oldest message the thread may read with this order. */
static unsigned floor_of(const struct location *loc, enum check_order order)
{
    const struct thread *t = engine_self();
    unsigned l = index_of(loc);
    unsigned floor = t->current.seen[l];

    if (order == CHECK_ORDER_seq_cst && global.seen[l] > floor)
        floor = global.seen[l]; /* I4 */
    if (t->rereads[l] >= STALE_REREADS && floor == t->current.seen[l] && floor + 1 < loc->count)
        floor++; /* I5 */
    return floor;
}

static void learn(struct location *loc, unsigned at, enum check_order order)
{
    struct thread *t = engine_self();
    unsigned l = index_of(loc);

    t->last_stale = at + 1 < loc->count;
    if (t->last_stale) {
        t->rereads[l] = at == t->current.seen[l] ? (uint8_t)(t->rereads[l] + 1) : 1;
        t->stale_read[l] = true;
        t->stale_in_iteration = true;
    } else {
        t->rereads[l] = 0;
    }
    t->current.seen[l] = (uint8_t)at;
    view_join(acquires(order) ? &t->current : &t->pending, &loc->messages[at].view);
}

/* chain: the message a read-modify-write read, whose release sequence goes on, or NULL. */
static void append(struct location *loc, uint64_t value, enum check_order order,
                   const struct message *chain)
{
    struct thread *t = engine_self();
    struct message *m = &loc->messages[loc->count];
    unsigned l = index_of(loc);

    if (loc->count + 1 >= CHECK_MESSAGES)
        check_fail("more than %d writes to one location: make the model smaller", CHECK_MESSAGES);
    t->current.seen[l] = (uint8_t)loc->count;
    t->rereads[l] = 0;
    t->last_stale = false;
    m->value = value & mask(loc->bytes);
    view_copy(&m->view, releases(order) ? &t->current : &t->fenced);
    if (chain)
        view_join(&m->view, &chain->view);
    if (releases(order))
        t->current.clock[engine.running]++; /* later plain accesses are not published by this */
    if (order == CHECK_ORDER_seq_cst)
        global.seen[l] = (uint8_t)loc->count; /* I4 */
    loc->count++;
    memcpy(loc->addr, &m->value, loc->bytes);
    t->writes++;
    engine.writes++;
}

uint64_t check_load(void *addr, unsigned bytes, enum check_order order,
                    const struct check_site *site)
{
    struct location *loc;
    unsigned at;

    if (order == CHECK_ORDER_release || order == CHECK_ORDER_acq_rel)
        check_fail("%s:%d: a load cannot be %s", site->file, site->line, trace_order(order));
    engine_point(site);
    loc = location_access(addr, bytes, site);
    at = loc->count - 1 - engine_choose(loc->count - floor_of(loc, order));
    learn(loc, at, order);
    engine_self()->after_load = order != CHECK_ORDER_seq_cst;
    TRACE(site, "load %s = %#llx%s", trace_order(order),
          (unsigned long long)loc->messages[at].value, at + 1 < loc->count ? " (old)" : "");
    return loc->messages[at].value;
}

void check_store(void *addr, unsigned bytes, uint64_t value, enum check_order order,
                 const struct check_site *site)
{
    struct location *loc;

    if (order == CHECK_ORDER_acquire || order == CHECK_ORDER_acq_rel)
        check_fail("%s:%d: a store cannot be %s", site->file, site->line, trace_order(order));
    engine_point(site);
    loc = location_access(addr, bytes, site);
    append(loc, value, order, NULL);
    TRACE(site, "store %s %#llx", trace_order(order), (unsigned long long)value);
}

static uint64_t apply(enum check_rmw op, uint64_t old, uint64_t operand)
{
    switch (op) {
    case CHECK_ADD:
        return old + operand;
    case CHECK_SUB:
        return old - operand;
    case CHECK_OR:
        return old | operand;
    case CHECK_AND:
        return old & operand;
    case CHECK_EXCHANGE:
        break;
    }
    return operand;
}

uint64_t check_rmw(void *addr, unsigned bytes, enum check_rmw op, uint64_t operand,
                   enum check_order order, const struct check_site *site)
{
    static const char *const names[] = { "exchange", "fetch_add", "fetch_sub", "fetch_or",
                                         "fetch_and" };
    struct location *loc;
    struct message *old;

    engine_point(site);
    loc = location_access(addr, bytes, site);
    old = &loc->messages[loc->count - 1];
    learn(loc, loc->count - 1, order);
    append(loc, apply(op, old->value, operand), order, old);
    TRACE(site, "%s %s %#llx -> %#llx", names[op], trace_order(order),
          (unsigned long long)old->value, (unsigned long long)old[1].value);
    return old->value;
}

/* Which message a CAS reads: the newest, or an old one that makes it fail. Sets *spurious. */
static unsigned cas_reads(struct location *loc, uint64_t expected, bool weak, enum check_order fail,
                          bool *spurious)
{
    struct thread *t = engine_self();
    unsigned options[CHECK_MESSAGES];
    unsigned newest = loc->count - 1, count = 0, taken;
    bool may_fail = weak && t->spurious < SPURIOUS_MAX && loc->messages[newest].value == expected;

    options[count++] = newest;
    if (may_fail)
        options[count++] = newest;
    for (unsigned at = newest; at-- > floor_of(loc, fail);) {
        if (loc->messages[at].value != expected)
            options[count++] = at;
    }
    taken = engine_choose(count);
    *spurious = may_fail && taken == 1;
    return options[taken];
}

bool check_cas(void *addr, unsigned bytes, void *expected, uint64_t desired, bool weak,
               enum check_order succ, enum check_order fail, const struct check_site *site)
{
    struct location *loc;
    uint64_t want = 0;
    unsigned at;
    bool spurious;

    if (fail == CHECK_ORDER_release || fail == CHECK_ORDER_acq_rel)
        check_fail("%s:%d: a failed CAS cannot be %s", site->file, site->line, trace_order(fail));
    engine_point(site);
    memcpy(&want, expected, bytes);
    loc = location_access(addr, bytes, site);
    at = cas_reads(loc, want, weak, fail, &spurious);
    if (loc->messages[at].value == want && !spurious) {
        learn(loc, at, succ);
        append(loc, desired, succ, &loc->messages[at]);
        TRACE(site, "cas %s %#llx -> %#llx", trace_order(succ), (unsigned long long)want,
              (unsigned long long)desired);
        return true;
    }
    learn(loc, at, fail);
    engine_self()->after_load = fail != CHECK_ORDER_seq_cst && !spurious;
    if (spurious) {
        engine_self()->spurious++;
        engine_self()->stale_in_iteration = true;
    }
    memcpy(expected, &loc->messages[at].value, bytes);
    TRACE(site, "cas %s %#llx failed%s: %#llx%s", trace_order(fail), (unsigned long long)want,
          spurious ? " spuriously" : "", (unsigned long long)loc->messages[at].value,
          at + 1 < loc->count ? " (old)" : "");
    return false;
}

void check_init(void *addr, unsigned bytes, uint64_t value, const struct check_site *site)
{
    struct location *loc = location_find(addr, bytes);
    struct thread *t = engine_self();

    t->last = *site;
    race_touch_block(loc->block, site);
    if (engine.running != CHECK_MAIN_THREAD) {
        append(loc, value, CHECK_ORDER_relaxed, NULL);
        loc->init_thread = (uint8_t)engine.running; /* I6 */
        loc->init_clock = t->current.clock[engine.running];
    } else {
        loc->messages[0].value = value & mask(bytes);
        loc->count = 1;
        memcpy(addr, &loc->messages[0].value, bytes);
    }
    TRACE(site, "init %#llx", (unsigned long long)value);
}

void check_fence(enum check_order order, const struct check_site *site)
{
    struct thread *t = engine_self();

    engine_point(site);
    if (acquires(order))
        view_join(&t->current, &t->pending);
    if (order == CHECK_ORDER_seq_cst) {
        seen_join(&t->current, &global); /* I4 */
        seen_join(&global, &t->current);
    }
    if (releases(order)) {
        view_copy(&t->fenced, &t->current);
        t->current.clock[engine.running]++;
    }
    TRACE(site, "fence");
}

/* membarrier(2): a seq_cst fence of every thread, between two operations of each. It orders what they
 * see; happens-before between plain accesses it gives to nobody. */
void check_fence_all(const struct check_site *site)
{
    engine_point(site);
    for (unsigned i = 0; i < CHECK_CLOCKS; i++)
        seen_join(&global, &engine.threads[i].current);
    for (unsigned i = 0; i < CHECK_CLOCKS; i++)
        seen_join(&engine.threads[i].current, &global);
    TRACE(site, "heavy fence");
}

uint64_t check_newest(void *addr, unsigned bytes)
{
    const struct location *loc = location_find(addr, bytes);

    return loc->messages[loc->count - 1].value;
}
