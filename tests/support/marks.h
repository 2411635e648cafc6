/* SPDX-License-Identifier: MIT */
#ifndef SUPPORT_MARKS_H
#define SUPPORT_MARKS_H

/*
 * Tests of coverage marks (base/mark.h): MARK_TEST(STEAL_LOST) { ... } is the test marks::STEAL_LOST. It
 * fails unless the count of MARK_STEAL_LOST rises while its body runs; what the rare path must then do is
 * for the body to assert. Builds without marks skip it.
 */
#include <stdbool.h>

#include "base/mark.h"
#include "jd_test.h"

#define MARK_TEST(name) \
    static void mark_##name(void); \
    Test(marks, name, .timeout = 20) \
    { \
        marks_expect(MARK_##name, mark_##name); \
    } \
    static void mark_##name(void)

void marks_expect(enum mark_id m, void (*body)(void));

/* Since the test began. For bodies that repeat a race until it is lost; bounded by the timeout. */
bool mark_rose(enum mark_id m);

#endif /* SUPPORT_MARKS_H */
