/* SPDX-License-Identifier: MIT */
/*
 * What tests share under Criterion and under our own runner: the seed, how long to go on, and which
 * tool watches.
 */
#include "jd_test.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#if defined(__has_feature)
#define HAS_FEATURE(f) __has_feature(f)
#else
#define HAS_FEATURE(f) 0
#endif

#if defined(__SANITIZE_THREAD__) || HAS_FEATURE(thread_sanitizer)
#define IS_TSAN true
#else
#define IS_TSAN false
#endif

#if defined(__SANITIZE_ADDRESS__) || HAS_FEATURE(address_sanitizer) || HAS_FEATURE(memory_sanitizer)
#define IS_SANITIZED true
#else
#define IS_SANITIZED IS_TSAN
#endif

uint64_t jd_test_seed(void)
{
    const char *text = getenv("JD_TEST_SEED");
    uint64_t seed = 0;

    if (text && *text)
        return strtoull(text, NULL, 0);
    if (getrandom(&seed, sizeof(seed), 0) != (ssize_t)sizeof(seed))
        seed = 1;
    fprintf(stderr, "# repeat with JD_TEST_SEED=%" PRIu64 "\n", seed);
    return seed;
}

bool jd_test_is_plain(void)
{
    return !IS_SANITIZED && !getenv("JD_TEST_SLOW");
}

bool jd_test_is_tsan(void)
{
    return IS_TSAN;
}

bool jd_test_is_emulated(void)
{
    return getenv("JD_TEST_EMULATED") != NULL;
}

bool jd_test_quick(void)
{
    const char *text = getenv("JD_TEST_QUICK");

    return text && strcmp(text, "1") == 0;
}

unsigned long jd_test_rounds(unsigned long n)
{
    if (!jd_test_is_plain() && n > 10)
        n /= 10;
    return jd_test_quick() && n > 1 ? n / 2 : n;
}
