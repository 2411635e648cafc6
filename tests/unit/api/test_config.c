/* SPDX-License-Identifier: MIT */
/*
 * Numbers in the environment. More of it: tests/fuzz/fuzz_config.c.
 */
#include <errno.h>
#include <stdlib.h>

#include "api/config.h"
#include "jd_test.h"

static int with(const char *name, const char *value, struct config *ret)
{
    int error;

    cr_assert_eq(setenv(name, value, 1), 0);
    error = config_read(NULL, ret);
    cr_assert_eq(unsetenv(name), 0);
    return error;
}

Test(config, a_number_in_the_environment_is_digits_alone)
{
    static const char *const bad[] = { " 4", "+4", "-4", " -4", "4 ", "\t4", "4x", "x", "0x4" };
    struct config c;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        cr_expect_eq(with("JACKDAW_WORKERS", bad[i], &c), -EINVAL, "'%s'", bad[i]);
        cr_expect_eq(with("JACKDAW_SEED", bad[i], &c), -EINVAL, "'%s'", bad[i]);
    }
    cr_expect_eq(with("JACKDAW_WORKERS", "", &c), 0);
    cr_expect_eq(with("JACKDAW_WORKERS", "004", &c), 0);
    cr_expect_eq(c.workers, 4);
}

Test(config, a_number_in_the_environment_has_a_range)
{
    struct config c;

    cr_expect_eq(with("JACKDAW_WORKERS", "256", &c), 0);
    cr_expect_eq(c.workers, 256);
    cr_expect_eq(with("JACKDAW_WORKERS", "257", &c), -EINVAL);
    cr_expect_eq(with("JACKDAW_WORKERS", "99999999999999999999", &c), -EINVAL);
    cr_expect_eq(with("JACKDAW_DEBUG", "2", &c), -EINVAL);
    cr_expect_eq(with("JACKDAW_SEED", "18446744073709551615", &c), 0);
    cr_expect_eq(c.seed, UINT64_MAX);
    cr_expect_eq(with("JACKDAW_SEED", "18446744073709551616", &c), -EINVAL);
}
