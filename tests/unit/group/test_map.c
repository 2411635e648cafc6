/* SPDX-License-Identifier: MIT */
/* jd_map: order, errors, cancel. */
#include "jd_test.h"

#include <errno.h>

#include <jackdaw/jackdaw.h>

static void run_on(unsigned workers, jd_fn fn, void *arg)
{
    jd_config cfg = JD_CONFIG_INIT;

    cfg.workers = workers;
    cr_assert_eq(jd_run(fn, arg, &cfg).error, 0);
}

#define ON_WORKERS(name, count, seconds) \
    static jd_result name##_main(void *unused); \
    Test(map, name, .timeout = seconds) \
    { \
        run_on(count, name##_main, NULL); \
    } \
    static jd_result name##_main(void *unused JD_TEST_UNUSED)

#define JD_TEST_UNUSED __attribute__((unused))

static jd_result square(void *item, void *ctx)
{
    intptr_t n = (intptr_t)item;

    (void)ctx;
    if (n % 7 == 0)
        return jd_err(-ERANGE);
    (void)jd_yield();
    return jd_ok_num(n * n);
}

ON_WORKERS(map_keeps_the_order, 2, 10)
{
    enum { N = 500 };
    static void *items[N];
    static jd_result ret[N];

    for (intptr_t i = 0; i < N; i++)
        items[i] = (void *)i;
    cr_assert_eq(jd_map(items, N, 9, square, NULL, ret), 0);
    for (intptr_t i = 0; i < N; i++) {
        cr_assert_eq(ret[i].error, i % 7 ? 0 : -ERANGE);
        if (i % 7)
            cr_assert_eq(ret[i].num, i * i);
    }
    cr_assert_eq(jd_map(NULL, 0, 1, square, NULL, NULL), 0);
    cr_assert_eq(jd_map(items, N, 0, square, NULL, ret), -EINVAL);
    cr_assert_eq(jd_map(items, N, 1, NULL, NULL, ret), -EINVAL);
    cr_assert_eq(jd_map(NULL, N, 1, square, NULL, ret), -EINVAL);
    return jd_ok(NULL);
}

static jd_result sleep_or_not(void *item, void *ctx)
{
    (void)ctx;
    if (item)
        return jd_err(jd_sleep(JD_SEC(100)));
    return jd_ok_num(5);
}

ON_WORKERS(map_that_is_cancelled_tells_what_was_called, 1, 10)
{
    void *items[4] = { NULL, &items, &items, &items };
    jd_result ret[4];
    jd_scope scope;

    jd_scope_open(&scope, JD_MS(200));
    cr_assert_eq(jd_map(items, 4, 2, sleep_or_not, NULL, ret), -ECANCELED);
    cr_assert_eq(jd_scope_close(&scope), -ETIMEDOUT);
    cr_assert_eq(ret[0].error, 0);
    cr_assert_eq(ret[0].num, 5);
    for (int i = 1; i < 4; i++)
        cr_assert_eq(ret[i].error, -ECANCELED);
    return jd_ok(NULL);
}
