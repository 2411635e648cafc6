/* SPDX-License-Identifier: MIT */
#include "marks.h"

#include <stdio.h>

#if defined(JD_SLOW_ASSERTS)
static uint64_t before[MARK_COUNT];

static uint64_t count_of(enum mark_id m)
{
    return __atomic_load_n(&mark_counts[m], __ATOMIC_RELAXED);
}

bool mark_rose(enum mark_id m)
{
    return count_of(m) > before[m];
}

void marks_expect(enum mark_id m, void (*body)(void))
{
    before[m] = count_of(m);
    body();
    cr_assert(mark_rose(m), "the marked path was not taken");
    fprintf(stderr, "# reached %lu times\n", (unsigned long)(count_of(m) - before[m]));
}
#else
bool mark_rose(enum mark_id m)
{
    (void)m;
    return true;
}

void marks_expect(enum mark_id m, void (*body)(void))
{
    (void)m;
    (void)body;
    jd_test_skip("marks are compiled in with -Dassertions=full only");
}
#endif
