/* SPDX-License-Identifier: MIT */
#ifndef SUPPORT_SWEEP_H
#define SUPPORT_SWEEP_H

/*
 * The cancel sweep: a scenario is simulated once to count the checkpoints of its main task, then
 * once for each of them with a cancel of the main task exactly there, and once with a cancel that
 * comes a little later, while the task waits. After each run nothing may be left: no task, no
 * descriptor, no handle, no deadlock; and what the scenario promises must hold.
 */
#include <stdint.h>

#include <jackdaw/jackdaw.h>

struct sweep {
    jd_fn fn;
    void *arg;
    void (*before)(void *arg); /* makes the state that fn uses; may be NULL */
    /* Looks at it afterwards. where: the checkpoint of the cancel, 0 for none. */
    void (*after)(void *arg, jd_result r, unsigned where);
    /* For each checkpoint; 0 = 3. When quick a third of them; under a tool then each fifth checkpoint. */
    unsigned seeds;
    unsigned fault_percent;
};

/* Returns how many checkpoints were swept: a scenario without any proves nothing. */
unsigned sweep_run(const struct sweep *s);

/* One seed, and a cancel at one of its checkpoints, both ways: for many seeds. */
unsigned sweep_sample(const struct sweep *s, uint64_t seed);

/*
 * What a test does: the sweep without faults, then with, and at_least checkpoints in the former (a
 * third when quick); or a sample for each seed, when the environment says which (seeds.h). On one
 * line: compilers differ in the number of a call of several, and it names the place of the hashes.
 */
#define sweep_or_sample(s, at_least) sweep_or_sample_at((s), (at_least), __FILE__, __LINE__)
void sweep_or_sample_at(struct sweep s, unsigned at_least, const char *file, int line);

#endif /* SUPPORT_SWEEP_H */
