/* SPDX-License-Identifier: MIT */
#ifndef BASE_ASSERT_H
#define BASE_ASSERT_H

/*
 * Assertions in two tiers. JD_ASSERT is O(1) and on in every build: an inner inconsistency must
 * stop the process before it corrupts a user's data. JD_ASSERT_SLOW walks structures and is on in
 * debug builds (-DJD_SLOW_ASSERTS) only. Users err, we do not: public functions return codes.
 */
#include "base/attr.h"

JD_NORETURN JD_COLD void assert_failed(const char *condition, const char *file, int line,
                                       const char *function);

#define JD_ASSERT(c) (JD_LIKELY(c) ? (void)0 : assert_failed(#c, __FILE__, __LINE__, __func__))

#ifdef JD_SLOW_ASSERTS
#define JD_ASSERT_SLOW(c) JD_ASSERT(c)
#else
#define JD_ASSERT_SLOW(c) ((void)sizeof(c))
#endif

#endif /* BASE_ASSERT_H */
