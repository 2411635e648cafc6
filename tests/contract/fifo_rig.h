/* SPDX-License-Identifier: MIT */
#ifndef FIFO_RIG_H
#define FIFO_RIG_H

/* What the tests of the exact orders (JD_FIFO) share: short names, and the comparison of the line. */
#include "contract.h"
#include "jd_test.h"

#define EXPECT_ORDER(words) cr_assert_str_eq(rec_text(), words, "got: %s", rec_text())

__attribute__((unused)) static jd_loop *here(void)
{
    return jd_loop_current();
}

__attribute__((unused)) static void soon(const char *word)
{
    cr_assert_eq(jd_call_soon(here(), rec_callback, WORD(word), NULL), 0);
}

__attribute__((unused)) static jd_task *spawn(jd_fn fn, void *arg)
{
    jd_task *t = jd_spawn(fn, arg);

    cr_assert_not_null(t);
    return t;
}

__attribute__((unused)) static void in_fifo(jd_fn fn)
{
    cr_assert_eq(run_fifo(fn, NULL).error, 0);
}

#endif /* FIFO_RIG_H */
