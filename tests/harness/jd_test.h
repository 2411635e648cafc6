/* SPDX-License-Identifier: MIT */
#ifndef JD_TEST_H
#define JD_TEST_H

/*
 * One surface for tests, two implementations. Plain builds use Criterion. Builds with a sanitizer,
 * with valgrind or with -DJD_TEST_RUNNER use our own fork+exec runner (runner.c), because Criterion
 * does not start under ThreadSanitizer and passes a test that leaks.
 *
 *   Test(suite, name, .timeout = 2, .signal = SIGABRT, .exit_code = 3, .init = f, .fini = f,
 *        .disabled = true) { ... }
 *   cr_assert(c), cr_assert_eq/neq/lt/leq/gt/geq(a, b), cr_assert_null/not_null(p),
 *   cr_assert_str_eq/str_neq(a, b), cr_assert_arr_eq(a, b, bytes), cr_assert_fail("why"); each may
 *   end in a printf message; each has a cr_expect twin that goes on and fails the test at its end.
 *
 * I1  Each test is a process of its own: statics are fresh, threads and leaks do not pass over.
 * I2  cr_* may be called on any thread and on any stack.
 * I3  A test has 10 seconds unless it says .timeout; tools multiply that (JD_TEST_TIMEOUT_FACTOR).
 */
#pragma GCC system_header /* variadic macros without an argument: fine here, pedantic in C11 */

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define JD_TEST_TIMEOUT_SECONDS 10

/* The run's seed: JD_TEST_SEED when set, else random; printed, so that a failure can be repeated. */
uint64_t jd_test_seed(void);

/* Neither a sanitizer nor valgrind: time, memory, threads and mappings are the test's own. */
bool jd_test_is_plain(void);
/* ThreadSanitizer, which has a thread and signal handling of its own. */
bool jd_test_is_tsan(void);

/* qemu-user (JD_TEST_EMULATED): its madvise() and RLIMIT_AS do nothing, and the child of a fork of a
 * process with threads dies in it. */
bool jd_test_is_emulated(void);

/* True under `./dev test`, which has minutes: what is long runs shorter (JD_TEST_QUICK=1). */
bool jd_test_quick(void);

/* A number of rounds: n in plain builds, a tenth under sanitizers and valgrind; half of that when
 * quick; never 0. */
unsigned long jd_test_rounds(unsigned long n);

#ifndef JD_TEST_RUNNER

#include <criterion/criterion.h>

#undef Test
#define Test(...) JD_TEST_DEFINE(__VA_ARGS__, .sentinel_ = 0)
#define JD_TEST_DEFINE(suite, name, ...) \
    CR_TEST_BASE(suite, name, .timeout = JD_TEST_TIMEOUT_SECONDS, __VA_ARGS__)

/* Ends the test as skipped. Only from the test function's own thread and stack. */
#define jd_test_skip(reason) cr_skip_test("%s", (reason))

#else /* JD_TEST_RUNNER */

struct jd_test_options {
    double timeout; /* seconds; 0 = none */
    int signal;     /* the test must die of it */
    int exit_code;  /* the test must exit with it */
    void (*init)(void);
    void (*fini)(void);
    bool disabled;
    const char *description;
    int sentinel_; /* lets the list of designators end in one of ours */
};

struct jd_test {
    const char *suite;
    const char *name;
    void (*run)(void);
    struct jd_test_options options;
    struct jd_test *next;
};

void jd_test_register(struct jd_test *test);
void jd_test_failed(bool fatal, const char *file, int line, const char *what, const char *format,
                    ...) __attribute__((format(printf, 5, 6)));
__attribute__((noreturn)) void jd_test_skip(const char *reason);

#define Test(...) JD_TEST_DEFINE(__VA_ARGS__, .sentinel_ = 0)
#define JD_TEST_DEFINE(suite_, name_, ...) \
    static void jd_test_##suite_##_##name_(void); \
    static struct jd_test jd_entry_##suite_##_##name_ = { \
        #suite_, \
        #name_, \
        jd_test_##suite_##_##name_, \
        { .timeout = JD_TEST_TIMEOUT_SECONDS, __VA_ARGS__ }, \
        NULL, \
    }; \
    __attribute__((constructor)) static void jd_register_##suite_##_##name_(void) \
    { \
        jd_test_register(&jd_entry_##suite_##_##name_); \
    } \
    static void jd_test_##suite_##_##name_(void)

/* Each macro spells its own condition: passed on, an argument would be expanded before #a sees it. */
#define JD_TEST_CHECK(fatal, condition, what, ...) \
    ((condition) ? (void)0 : jd_test_failed(fatal, __FILE__, __LINE__, what, __VA_ARGS__))

#define cr_assert(c, ...) JD_TEST_CHECK(true, c, #c, "" __VA_ARGS__)
#define cr_assert_not(c, ...) JD_TEST_CHECK(true, !(c), "not " #c, "" __VA_ARGS__)
#define cr_assert_eq(a, b, ...) JD_TEST_CHECK(true, (a) == (b), #a " == " #b, "" __VA_ARGS__)
#define cr_assert_neq(a, b, ...) JD_TEST_CHECK(true, (a) != (b), #a " != " #b, "" __VA_ARGS__)
#define cr_assert_lt(a, b, ...) JD_TEST_CHECK(true, (a) < (b), #a " < " #b, "" __VA_ARGS__)
#define cr_assert_leq(a, b, ...) JD_TEST_CHECK(true, (a) <= (b), #a " <= " #b, "" __VA_ARGS__)
#define cr_assert_gt(a, b, ...) JD_TEST_CHECK(true, (a) > (b), #a " > " #b, "" __VA_ARGS__)
#define cr_assert_geq(a, b, ...) JD_TEST_CHECK(true, (a) >= (b), #a " >= " #b, "" __VA_ARGS__)
#define cr_assert_null(p, ...) JD_TEST_CHECK(true, (p) == NULL, #p " is NULL", "" __VA_ARGS__)
#define cr_assert_not_null(p, ...) \
    JD_TEST_CHECK(true, (p) != NULL, #p " is not NULL", "" __VA_ARGS__)
#define cr_assert_str_eq(a, b, ...) \
    JD_TEST_CHECK(true, strcmp(a, b) == 0, #a " is the string " #b, "" __VA_ARGS__)
#define cr_assert_str_neq(a, b, ...) \
    JD_TEST_CHECK(true, strcmp(a, b) != 0, #a " is not the string " #b, "" __VA_ARGS__)
#define cr_assert_arr_eq(a, b, bytes, ...) \
    JD_TEST_CHECK(true, memcmp(a, b, bytes) == 0, #a " has the bytes of " #b, "" __VA_ARGS__)
#define cr_assert_fail(...) JD_TEST_CHECK(true, false, "assert_fail", "" __VA_ARGS__)

#define cr_expect(c, ...) JD_TEST_CHECK(false, c, #c, "" __VA_ARGS__)
#define cr_expect_not(c, ...) JD_TEST_CHECK(false, !(c), "not " #c, "" __VA_ARGS__)
#define cr_expect_eq(a, b, ...) JD_TEST_CHECK(false, (a) == (b), #a " == " #b, "" __VA_ARGS__)
#define cr_expect_neq(a, b, ...) JD_TEST_CHECK(false, (a) != (b), #a " != " #b, "" __VA_ARGS__)
#define cr_expect_lt(a, b, ...) JD_TEST_CHECK(false, (a) < (b), #a " < " #b, "" __VA_ARGS__)
#define cr_expect_leq(a, b, ...) JD_TEST_CHECK(false, (a) <= (b), #a " <= " #b, "" __VA_ARGS__)
#define cr_expect_gt(a, b, ...) JD_TEST_CHECK(false, (a) > (b), #a " > " #b, "" __VA_ARGS__)
#define cr_expect_geq(a, b, ...) JD_TEST_CHECK(false, (a) >= (b), #a " >= " #b, "" __VA_ARGS__)
#define cr_expect_null(p, ...) JD_TEST_CHECK(false, (p) == NULL, #p " is NULL", "" __VA_ARGS__)
#define cr_expect_not_null(p, ...) \
    JD_TEST_CHECK(false, (p) != NULL, #p " is not NULL", "" __VA_ARGS__)
#define cr_expect_str_eq(a, b, ...) \
    JD_TEST_CHECK(false, strcmp(a, b) == 0, #a " is the string " #b, "" __VA_ARGS__)
#define cr_expect_str_neq(a, b, ...) \
    JD_TEST_CHECK(false, strcmp(a, b) != 0, #a " is not the string " #b, "" __VA_ARGS__)
#define cr_expect_arr_eq(a, b, bytes, ...) \
    JD_TEST_CHECK(false, memcmp(a, b, bytes) == 0, #a " has the bytes of " #b, "" __VA_ARGS__)
#define cr_expect_fail(...) JD_TEST_CHECK(false, false, "expect_fail", "" __VA_ARGS__)

#endif /* JD_TEST_RUNNER */
#endif /* JD_TEST_H */
