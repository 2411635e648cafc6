/* SPDX-License-Identifier: MIT */
/*
 * The search: depth first over the trail with a preemption bound, then PCT, or one replay; and the
 * command line every model executable shares.
 *
 * I1  DFS visits each trail once: the last choice that has an untried option is advanced and all
 *     after it are forgotten.
 * I2  PCT (random priorities, three change points) is seeded per execution, seed S + i, and leaves
 *     an ordinary trail.
 * I3  A failure is run again from its trail with tracing on before anything is reported, so what
 *     is printed is known to replay.
 */
#include "check_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct settings {
    int bound;
    bool bound_given; /* then it wins over the models' own */
    unsigned long max;
    unsigned long pct;
    uint64_t seed;
    const char *replay;
    const char *model;
    bool quiet;
    bool fail_fast;
    bool pct_only;
    bool list;
    bool quick; /* JD_TEST_QUICK=1, the seconds of `./dev test` */
};

#define QUICK_MAX 20000 /* executions of one depth-first search */
#define QUICK_PCT 2000

/* Moves the trail to the next unvisited one; false when all were visited. */
static bool dfs_advance(void)
{
    unsigned length = engine.trail_length;

    while (length > 0 && engine.trail[length - 1].taken + 1 >= engine.trail[length - 1].count)
        length--;
    engine.trail_length = length;
    if (length == 0)
        return false;
    engine.trail[length - 1].taken++;
    return true;
}

enum result {
    RESULT_OK,
    RESULT_CAPPED,
    RESULT_FAILED,
};

static enum result run_dfs(const struct check_model *model, unsigned long max,
                           unsigned long *executions)
{
    engine.search = SEARCH_DFS;
    engine.trail_length = 0;
    do {
        if (*executions == max)
            return RESULT_CAPPED;
        ++*executions;
        if (!engine_execute(model))
            return RESULT_FAILED;
    } while (dfs_advance());
    return RESULT_OK;
}

static enum result run_pct(const struct check_model *model, const struct settings *set,
                           unsigned long *executions)
{
    engine.search = SEARCH_PCT;
    engine.bound = -1;
    for (unsigned long i = 0; i < set->pct; i++) {
        engine.random = set->seed + i;
        engine.trail_length = 0;
        ++*executions;
        if (!engine_execute(model))
            return RESULT_FAILED;
    }
    return RESULT_OK;
}

static bool run_traced(const struct check_model *model)
{
    bool ok;

    engine.search = SEARCH_REPLAY;
    engine.bound = -1;
    engine.trace = true;
    ok = engine_execute(model);
    engine.trace = false;
    return ok;
}

static void report(const struct check_model *model, const struct settings *set,
                   unsigned long executions, const char *how)
{
    char first[sizeof(engine.failure)];

    memcpy(first, engine.failure, sizeof(first));
    printf("model %s: FAILED after %lu executions (%s): %s\n", model->name, executions, how, first);
    if (set->quiet)
        return;
    printf("  replay with --model %s --replay ", model->name);
    trace_print_trail();
    putchar('\n');
    if (run_traced(model) || strcmp(first, engine.failure) != 0)
        printf("  WARNING: the trail does not replay; is the model deterministic?\n");
    fflush(stdout);
}

static bool parse_trail(const char *text)
{
    unsigned length = 0;

    while (*text) { /* bounded by the text and the trail */
        char *end;
        unsigned long taken = strtoul(text, &end, 10);

        if (end == text || taken > 255 || length == CHECK_TRAIL || (*end && *end != '.'))
            return false;
        engine.trail[length++] = (struct choice){ (uint8_t)taken, 1 };
        text = *end ? end + 1 : end;
    }
    engine.trail_length = length;
    return true;
}

static bool run_replay(const struct check_model *model, const struct settings *set)
{
    bool ok;

    if (!parse_trail(set->replay)) {
        fprintf(stderr, "not a trail: %s\n", set->replay);
        return false;
    }
    ok = run_traced(model);
    printf("model %s: replayed, %s%s\n", model->name, ok ? "ok" : "FAILED: ", engine.failure);
    return ok;
}

static double seconds_since(const struct timespec *start)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - start->tv_sec) + (double)(now.tv_nsec - start->tv_nsec) * 1e-9;
}

/* A model that must fail passes when it fails as told. */
static bool expected(const struct check_model *model, enum result result, unsigned long executions)
{
    if (result != RESULT_FAILED) {
        printf("model %s: FAILED: expected to find \"%s\", found nothing in %lu executions\n",
               model->name, model->expect, executions);
        return false;
    }
    if (!strstr(engine.failure, model->expect)) {
        printf("model %s: FAILED: expected \"%s\", found: %s\n", model->name, model->expect,
               engine.failure);
        return false;
    }
    printf("model %s: finds \"%s\" after %lu executions, ok\n", model->name, model->expect,
           executions);
    return true;
}

/* What has to be found, or to be seen in all, is worth the time even when it is short. */
static unsigned long executions_max(const struct check_model *model, const struct settings *set)
{
    unsigned long max = model->max ? model->max : set->max;

    return set->quick && !model->expect && !model->verdict && max > QUICK_MAX ? QUICK_MAX : max;
}

static bool run_model(const struct check_model *model, const struct settings *set)
{
    unsigned long executions = 0, randoms = 0;
    unsigned long max = executions_max(model, set);
    int bound = model->bound && !set->bound_given ? model->bound : set->bound;
    struct timespec start;
    enum result result;
    char how[32];

    clock_gettime(CLOCK_MONOTONIC, &start);
    snprintf(how, sizeof(how), bound < 0 ? "no bound" : "bound %d", bound);
    engine.bound = bound;
    result = set->pct_only ? RESULT_CAPPED : run_dfs(model, max, &executions);
    if (result == RESULT_FAILED && !model->expect) {
        report(model, set, executions, how);
        return false;
    }
    if (result != RESULT_FAILED && run_pct(model, set, &randoms) == RESULT_FAILED) {
        result = RESULT_FAILED;
        if (!model->expect) {
            report(model, set, executions + randoms, "PCT");
            return false;
        }
    }
    if (model->expect)
        return expected(model, result, executions + randoms);
    if (model->verdict && !model->verdict()) {
        printf("model %s: FAILED verdict after %lu executions\n", model->name, executions);
        return false;
    }
    printf("model %s: %lu executions, %s%s, ok (PCT %lu, %.2f s)\n", model->name, executions, how,
           result == RESULT_CAPPED ? " (capped)" : "", randoms, seconds_since(&start));
    return true;
}

static int usage(const char *program)
{
    fprintf(stderr,
            "usage: %s [--bound N] [--pct N] [--seed S] [--max N] [--model NAME] [--replay TRAIL]\n"
            "          [--pct-only] [--quiet] [--fail-fast] [--list]\n"
            "  bound: preemptions in depth-first search, -1 = no limit (default 2)\n"
            "  pct:   executions with random priorities after it (default 10000)\n"
            "  max:   executions of one depth-first search (default 2000000)\n"
            "  pct-only: no depth-first search, and no model that needs one\n",
            program);
    return 2;
}

/* False: the option is none of those without a value. */
static bool read_flag(struct settings *set, const char *option)
{
    const struct {
        const char *name;
        bool *flag;
    } flags[] = { { "--quiet", &set->quiet },
                  { "--fail-fast", &set->fail_fast },
                  { "--pct-only", &set->pct_only },
                  { "--list", &set->list } };

    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
        if (strcmp(option, flags[i].name) == 0)
            return *flags[i].flag = true;
    return false;
}

int check_main(int argc, char **argv, const struct check_model *models, size_t count)
{
    struct settings set = { .bound = 2, .max = 2000000, .pct = 10000, .seed = 1 };
    const char *quick = getenv("JD_TEST_QUICK");
    bool ok = true;
    size_t run = 0;

    set.quick = quick && strcmp(quick, "1") == 0;
    if (set.quick)
        set.pct = QUICK_PCT;
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;

        if (read_flag(&set, argv[i]))
            continue;
        if (!value)
            return usage(argv[0]);
        if (strcmp(argv[i], "--bound") == 0) {
            set.bound = atoi(value);
            set.bound_given = true;
        } else if (strcmp(argv[i], "--pct") == 0)
            set.pct = strtoul(value, NULL, 0);
        else if (strcmp(argv[i], "--seed") == 0)
            set.seed = strtoull(value, NULL, 0);
        else if (strcmp(argv[i], "--max") == 0) {
            set.max = strtoul(value, NULL, 0);
            set.quick = false;
        } else if (strcmp(argv[i], "--model") == 0)
            set.model = value;
        else if (strcmp(argv[i], "--replay") == 0)
            set.replay = value;
        else
            return usage(argv[0]);
        i++;
    }
    for (size_t i = 0; i < count && (ok || !set.fail_fast); i++) {
        if (set.model && strcmp(set.model, models[i].name) != 0)
            continue;
        if (set.pct_only && (models[i].expect || models[i].verdict))
            continue;
        run++;
        if (set.list)
            printf("%s\n", models[i].name);
        else if (set.replay)
            ok &= run_replay(&models[i], &set);
        else
            ok &= run_model(&models[i], &set);
        fflush(stdout);
    }
    if (run == 0)
        fprintf(stderr, "no such model\n");
    return ok && run > 0 ? 0 : 1;
}
