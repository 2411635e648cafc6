/* SPDX-License-Identifier: MIT */
/*
 * Same seed, same run: in one process, in two, and whatever the compiler. With JD_SIM_CHILD=SEED in
 * the environment the program prints the hashes of its scenarios and ends, so that two builds can
 * be compared.
 */
#include <inttypes.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "jd_test.h"
#include "scenario.h"
#include "seeds.h"

#include <jackdaw/jackdaw.h>

extern char **environ;

#define FAULTS 15

static uint64_t hash_of(uint64_t seed, jd_fn fn, unsigned faults)
{
    jd_sim_options o = JD_SIM_OPTIONS_INIT;
    jd_result r;

    o.fault_percent = faults;
    r = jd_sim_run(seed, fn, NULL, &o);
    (void)r; /* a fault may be its result */
    return jd_sim_trace_hash();
}

__attribute__((constructor)) static void child(void)
{
    const char *seed = getenv("JD_SIM_CHILD");

    if (!seed)
        return;
    printf("%016" PRIx64 " %016" PRIx64 "\n", hash_of(strtoull(seed, NULL, 10), scenario_echo, 0),
           hash_of(strtoull(seed, NULL, 10), scenario_echo, FAULTS));
    fflush(stdout);
    _exit(0);
}

static void run_child(uint64_t seed, uint64_t ret[2])
{
    char text[32], line[80];
    posix_spawn_file_actions_t actions;
    char *args[] = { (char *)(uintptr_t) "child", NULL };
    int fds[2], status;
    ssize_t n;
    pid_t pid;

    snprintf(text, sizeof(text), "%" PRIu64, seed);
    cr_assert_eq(setenv("JD_SIM_CHILD", text, 1), 0);
    cr_assert_eq(pipe(fds), 0);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, fds[1], STDOUT_FILENO);
    cr_assert_eq(posix_spawn(&pid, "/proc/self/exe", &actions, NULL, args, environ), 0);
    close(fds[1]);
    n = read(fds[0], line, sizeof(line) - 1);
    close(fds[0]);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    posix_spawn_file_actions_destroy(&actions);
    unsetenv("JD_SIM_CHILD");
    cr_assert_gt(n, 0);
    line[n] = '\0';
    cr_assert_eq(sscanf(line, "%" SCNx64 " %" SCNx64, &ret[0], &ret[1]), 2, "%s", line);
}

Test(sim_hash, the_same_seed_gives_the_same_run_twice)
{
    for_each_seed(seed, jd_test_rounds(200)) {
        uint64_t first = hash_of(seed, scenario_echo, FAULTS);

        cr_assert_eq(hash_of(seed, scenario_echo, FAULTS), first, "seed %lu", (unsigned long)seed);
    }
}

Test(sim_hash, different_seeds_give_different_runs)
{
    uint64_t last = hash_of(0, scenario_echo, 0);

    for (uint64_t seed = 1; seed < 50; seed++) {
        uint64_t hash = hash_of(seed, scenario_echo, 0);

        cr_assert_neq(hash, last);
        last = hash;
    }
}

/* Addresses differ between processes: whatever they decide shows here. */
Test(sim_hash, another_process_gives_the_same_hash)
{
    for (uint64_t seed = 0; seed < 10; seed++) {
        uint64_t theirs[2];

        run_child(seed, theirs);
        cr_assert_eq(theirs[0], hash_of(seed, scenario_echo, 0), "seed %lu", (unsigned long)seed);
        cr_assert_eq(theirs[1], hash_of(seed, scenario_echo, FAULTS));
    }
}
