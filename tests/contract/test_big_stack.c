/* SPDX-License-Identifier: MIT */
/*
 * Tasks that ask for a bigger stack than the runtime's default: they get it, whatever way they are started,
 * and their neighbours stay on theirs.
 */
#include <errno.h>
#include <string.h>

#include "base/fault.h"
#include "contract.h"
#include "jd_test.h"

#define MIB ((size_t)1 << 20)

static __attribute__((noinline)) size_t use_stack(size_t bytes)
{
    volatile char block[4096];
    size_t below = 0;

    memset((void *)(uintptr_t)block, 7, sizeof(block));
    if (bytes > sizeof(block))
        below = use_stack(bytes - sizeof(block));
    return below + (block[100] == 7 ? sizeof(block) : 0);
}

/* Three quarters of what it was promised, before and after it has moved perhaps. */
static jd_result fill(void *arg)
{
    size_t bytes = (size_t)(uintptr_t)arg / 4 * 3;

    cr_assert_geq(use_stack(bytes), bytes);
    yields(2);
    cr_assert_geq(use_stack(bytes), bytes);
    return jd_ok_num((intptr_t)bytes);
}

static jd_task *spawn_big(jd_fn fn, size_t bytes, unsigned flags)
{
    jd_task_options o = JD_TASK_OPTIONS_INIT;
    jd_task *t;

    o.stack_bytes = bytes;
    o.flags = flags;
    t = jd_spawn_with(fn, (void *)(uintptr_t)bytes, &o);
    cr_assert_not_null(t);
    return t;
}

static const size_t sizes[] = { MIB, 64, 2 * MIB, 256 << 10, 4 * MIB + 1, 1 };
#define SIZES (sizeof(sizes) / sizeof(sizes[0]))

static jd_result spawn_and_join(void *arg)
{
    static const unsigned flags[] = { 0, JD_TASK_EAGER, JD_TASK_PINNED };
    jd_task *tasks[SIZES * 3];

    (void)arg;
    for (unsigned i = 0; i < SIZES * 3; i++)
        tasks[i] = spawn_big(sizes[i % SIZES] < 4096 ? return_arg : fill, sizes[i % SIZES],
                             flags[i / SIZES]);
    for (unsigned i = SIZES * 3; i-- > 0;)
        cr_assert_eq(jd_join(tasks[i]).error, 0);
    return jd_ok(NULL);
}

Test(big_stack, every_size_and_way_to_start)
{
    for (unsigned workers = 1; workers <= 3; workers++)
        cr_assert_eq(run_workers(workers, spawn_and_join, NULL).error, 0);
    cr_assert_eq(run_fifo(spawn_and_join, NULL).error, 0);
}

static jd_result not_inlined(void *arg)
{
    jd_task *t = spawn_big(fill, 2 * MIB, 0);

    (void)arg;
    cr_assert_eq(jd_join(t).error, 0, "a join that runs it on this stack would overflow it");
    return jd_ok(NULL);
}

Test(big_stack, a_join_does_not_run_it_on_the_callers_stack)
{
    cr_assert_eq(run_workers(1, not_inlined, NULL).error, 0);
}

static jd_result big_spawns_small(void *arg)
{
    jd_task *small[8];

    (void)arg;
    for (int i = 0; i < 8; i++)
        small[i] = jd_spawn(return_arg, NULL);
    cr_assert_geq(use_stack(MIB), MIB);
    for (int i = 0; i < 8; i++)
        cr_assert_eq(jd_join(small[i]).error, 0);
    cr_assert_eq(jd_sleep(JD_US(50)), 0);
    cr_assert_geq(use_stack(MIB), MIB);
    return jd_ok(NULL);
}

static jd_result among_small_ones(void *arg)
{
    jd_task *tasks[12];

    (void)arg;
    for (int i = 0; i < 12; i++)
        tasks[i] = spawn_big(big_spawns_small, 2 * MIB, 0);
    for (int i = 0; i < 12; i++)
        cr_assert_eq(jd_join(tasks[i]).error, 0);
    return jd_ok(NULL);
}

Test(big_stack, small_tasks_run_beside_and_inside_big_ones)
{
    for (unsigned workers = 1; workers <= 3; workers++)
        cr_assert_eq(run_workers(workers, among_small_ones, NULL).error, 0);
}

Test(big_stack, from_a_plain_thread)
{
    jd_runtime *rt = runtime_of(2, 0);
    jd_task_options o = JD_TASK_OPTIONS_INIT;
    jd_task *t;

    o.stack_bytes = MIB;
    cr_assert_eq(jd_runtime_start(rt), 0);
    t = jd_runtime_spawn(rt, fill, (void *)(uintptr_t)MIB, &o);
    cr_assert_not_null(t);
    cr_assert_eq(jd_await(t).error, 0);
    jd_task_unref(t);
    runtime_end(rt);
}

static jd_result cancelled_before_it_starts(void *arg)
{
    jd_task *t = spawn_big(sleep_forever, MIB, JD_TASK_PINNED);

    (void)arg;
    cr_assert_eq(jd_task_cancel(t, NULL), 0);
    cr_assert_eq(jd_join(t).error, -ECANCELED);
    return jd_ok(NULL);
}

Test(big_stack, a_cancelled_one_gives_its_stack_back)
{
    cr_assert_eq(run_workers(1, cancelled_before_it_starts, NULL).error, 0);
}

/* Fails each visit of a point from the n-th on, for n = 0, 1, ... until a spawn succeeds. */
static unsigned refusals(enum fault_point point, size_t stack_bytes)
{
    jd_task_options o = JD_TASK_OPTIONS_INIT;
    jd_task *t = NULL;
    unsigned n = 0;

    o.stack_bytes = stack_bytes;
    for (; !t && n < 100; n++) {
        fault_arm(point, n, UINT64_MAX);
        t = jd_spawn_with(return_arg, NULL, &o);
        fault_arm(point, 0, 0);
    }
    cr_assert_not_null(t);
    cr_expect_eq(jd_join(t).error, 0);
    return n - 1;
}

static jd_result refused(void *arg)
{
    jd_task_options o = JD_TASK_OPTIONS_INIT;

    (void)arg;
    o.stack_bytes = SIZE_MAX;
    cr_expect_null(jd_spawn_with(return_arg, NULL, &o));
    cr_expect_geq(refusals(FAULT_ALLOC, MIB), 1);
    cr_expect_geq(refusals(FAULT_STACK, 2 * MIB), 1);
    cr_assert_eq(jd_join(spawn_big(fill, MIB, 0)).error, 0, "afterwards it works");
    return jd_ok(NULL);
}

Test(big_stack, without_memory_the_spawn_answers_null)
{
    cr_assert_eq(run_workers(1, refused, NULL).error, 0);
}
