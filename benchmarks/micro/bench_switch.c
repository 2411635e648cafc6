/* SPDX-License-Identifier: MIT */
/*
 * What a context switch and a stack cost.
 *
 *   switch            one fiber_switch(), two fibers in turn. Goal: <= 4 ns.
 *   switch_many       resume + suspend over many parked fibers: what cache misses add.
 *   take_put          stack_take() + stack_put() with a hot cache.
 *   life              take, init, first switch, abandon, retire, put: a stack that a task keeps.
 *   stacks            reserve many guarded stacks, park a fiber on some of them: VMAs of the
 *                     process, memory per parked fiber with its page tables.
 *
 * Usage: bench_switch [stacks to reserve [stacks to park]], default 1000000 and 100000.
 * Times are the best and the median of RUNS runs, in nanoseconds per operation.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "fiber/fiber.h"
#include "fiber/stack.h"

enum { RUNS = 101, MANY_MAX = 100000 };
static const unsigned SWITCHES = 100000;
static const unsigned LIVES = 10000;

static struct stack_pool pool;
static struct stack_cache cache;
static struct fiber native;

static void must(int err, const char *what)
{
    if (err) {
        fprintf(stderr, "bench_switch: %s: %s\n", what, strerror(-err));
        exit(1);
    }
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print_row(const char *name, double (*run)(void))
{
    double ns[RUNS];
    for (int i = 0; i < RUNS; i++)
        ns[i] = run();
    qsort(ns, RUNS, sizeof(ns[0]), compare_doubles);
    printf("%-24s best %8.2f  median %8.2f  ns\n", name, ns[0], ns[RUNS / 2]);
}

/* Parks at once, each time it is resumed. */
static void park_for_ever(struct fiber *prev)
{
    struct fiber *self = prev->user;
    while (true) /* unbounded: the other side ends it */
        (void)fiber_switch(self, &native);
}

static struct fiber *start_parked(void)
{
    struct fiber *f = stack_take(&cache);
    fiber_init(f, park_for_ever);
    native.user = f;
    (void)fiber_switch(&native, f);
    return f;
}

static void end_parked(struct fiber *f)
{
    f->dying = true; /* it never runs again */
    fiber_retire(f);
    stack_put(&cache, f);
}

/* Two fibers in turn, each at rest in the same loop, as tasks are in sched_suspend() (ADR 0010). */
static struct turn {
    struct fiber *me, *other;
    unsigned left;
} turns[2];

static void take_turns(struct fiber *prev)
{
    struct turn *t = prev->user;
    while (true) { /* unbounded: the other side ends it */
        (void)fiber_switch(t->me, &native);
        struct fiber *me = t->me, *other = t->other; /* in registers: the switch alone */
        for (unsigned left = t->left; left > 0; left--)
            (void)fiber_switch(me, other);
    }
}

static double run_switch(void)
{
    for (int i = 0; i < 2; i++) {
        turns[i].me = stack_take(&cache);
        turns[i].left = SWITCHES / 2;
        fiber_init(turns[i].me, take_turns);
        native.user = &turns[i];
        (void)fiber_switch(&native, turns[i].me);
    }
    turns[0].other = turns[1].me;
    turns[1].other = turns[0].me;
    int64_t start = clock_now();
    (void)fiber_switch(&native, turns[0].me);
    double ns = (double)(clock_now() - start) / SWITCHES;
    end_parked(turns[0].me);
    end_parked(turns[1].me);
    return ns;
}

static size_t many_count;
static struct fiber *many[MANY_MAX];

static double run_switch_many(void)
{
    size_t rounds = SWITCHES / many_count / 4 + 1;
    int64_t start = clock_now();
    for (size_t round = 0; round < rounds; round++) {
        for (size_t i = 0; i < many_count; i++)
            (void)fiber_switch(&native, many[i]);
    }
    return (double)(clock_now() - start) / (double)(rounds * many_count);
}

static double run_take_put(void)
{
    int64_t start = clock_now();
    for (unsigned i = 0; i < LIVES; i++)
        stack_put(&cache, stack_take(&cache));
    return (double)(clock_now() - start) / LIVES;
}

static void end_at_once(struct fiber *prev)
{
    fiber_abandon(prev->user, &native);
}

static double run_life(void)
{
    int64_t start = clock_now();
    for (unsigned i = 0; i < LIVES; i++) {
        struct fiber *f = stack_take(&cache);
        fiber_init(f, end_at_once);
        native.user = f;
        struct fiber *dead = fiber_switch(&native, f);
        fiber_retire(dead);
        stack_put(&cache, dead);
    }
    return (double)(clock_now() - start) / LIVES;
}

/* Bytes of the line that starts with key in /proc/self/status. */
static double status_bytes(const char *key)
{
    char line[256];
    double kib = 0;
    FILE *file = fopen("/proc/self/status", "re");
    while (file && fgets(line, sizeof(line), file)) {
        if (strncmp(line, key, strlen(key)) == 0)
            kib = strtod(line + strlen(key), NULL);
    }
    if (file)
        (void)fclose(file);
    return kib * 1024;
}

static size_t count_vmas(void)
{
    size_t lines = 0;
    FILE *file = fopen("/proc/self/maps", "re");
    for (int c = 0; file && (c = fgetc(file)) != EOF;)
        lines += c == '\n';
    if (file)
        (void)fclose(file);
    return lines;
}

static void measure_stacks(size_t stack_bytes, size_t reserve, size_t park)
{
    must(stack_pool_init(&pool, stack_bytes, STACK_GUARD_AUTO), "pool");
    double tables = status_bytes("VmPTE:");
    int64_t start = clock_now();
    must(stack_pool_reserve(&pool, reserve), "reserve");
    double reserve_ns = (double)(clock_now() - start) / (double)reserve;
    double tables_reserved = status_bytes("VmPTE:");
    must(stack_cache_init(&cache, &pool), "cache");
    double rss = status_bytes("VmRSS:");
    double tables_before = status_bytes("VmPTE:");
    struct fiber **parked = malloc(park * sizeof(struct fiber *));
    must(parked ? 0 : -1, "memory");
    memset(parked, 1, park * sizeof(struct fiber *));
    rss += (double)(park * sizeof(struct fiber *));
    start = clock_now();
    for (size_t i = 0; i < park; i++)
        parked[i] = start_parked();
    double park_ns = (double)(clock_now() - start) / (double)park;
    struct stack_stats stats;
    stack_pool_stats(&pool, &stats);
    double rss_each = (status_bytes("VmRSS:") - rss) / (double)park;
    double tables_each = (tables_reserved - tables) / (double)reserve +
                         (status_bytes("VmPTE:") - tables_before) / (double)park;
    printf("stacks of %zu KiB, guard %s, %zu without one: %zu reserved at %.0f ns each, %zu parked "
           "at %.0f ns\n",
           stack_bytes / 1024, guard_name(stats.guard), stats.canary_slots, reserve, reserve_ns,
           park, park_ns);
    printf("    VMAs of the process %zu, regions %u; per parked fiber: %.0f B resident + %.0f B of "
           "page tables\n",
           count_vmas(), stats.regions, rss_each, tables_each);
    for (size_t i = 0; i < park; i++)
        end_parked(parked[i]);
    start = clock_now();
    size_t trimmed = stack_pool_trim(&pool, /* keep= */ 0);
    printf("    trim: %zu stacks at %.0f ns\n", trimmed,
           (double)(clock_now() - start) / (double)(trimmed ? trimmed : 1));
    free(parked);
    stack_cache_fini(&cache);
    stack_pool_unreserve(&pool, reserve);
    stack_pool_fini(&pool);
}

static void measure_switches(void)
{
    must(stack_pool_init(&pool, STACK_BYTES_DEFAULT, STACK_GUARD_AUTO), "pool");
    must(stack_pool_reserve(&pool, MANY_MAX), "reserve");
    must(stack_cache_init(&cache, &pool), "cache");
    print_row("switch", run_switch);
    for (many_count = 16; many_count <= MANY_MAX;
         many_count = many_count < 1600 ? 1600 : MANY_MAX) {
        char name[32];
        for (size_t i = 0; i < many_count; i++)
            many[i] = start_parked();
        (void)snprintf(name, sizeof(name), "switch_many %zu", many_count);
        print_row(name, run_switch_many);
        for (size_t i = 0; i < many_count; i++)
            end_parked(many[i]);
        if (many_count == MANY_MAX)
            break;
    }
    print_row("take_put", run_take_put);
    print_row("life", run_life);
    stack_cache_fini(&cache);
    stack_pool_unreserve(&pool, MANY_MAX);
    stack_pool_fini(&pool);
}

int main(int argc, char **argv)
{
    size_t reserve = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000;
    size_t park = argc > 2 ? strtoull(argv[2], NULL, 10) : 100000;
    if (park > reserve)
        park = reserve;
    fiber_init_native(&native);
    measure_switches();
    measure_stacks((size_t)64 << 10, reserve, park);
    measure_stacks(STACK_BYTES_DEFAULT, reserve, park);
    return 0;
}
