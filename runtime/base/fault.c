/* SPDX-License-Identifier: MIT */
/*
 * Counters behind the fault points. base/ lies below atomic/, hence the builtins; all orders are
 * relaxed since a test arms points while nothing runs and reads counters after everything ended.
 */
#include "base/fault.h"

#include <stddef.h>

int fault_armed_any;

static struct {
    uint64_t visits, first, count;
} points[FAULT_POINT_COUNT];

static bool (*source)(enum fault_point point);

static void update_armed(void)
{
    int any = __atomic_load_n(&source, __ATOMIC_RELAXED) != NULL;

    for (int i = 0; i < FAULT_POINT_COUNT; i++)
        any |= points[i].count != 0;
    __atomic_store_n(&fault_armed_any, any, __ATOMIC_RELAXED);
}

void fault_set_source(bool (*fn)(enum fault_point point))
{
    __atomic_store_n(&source, fn, __ATOMIC_RELAXED);
    update_armed();
}

void fault_arm(enum fault_point point, uint64_t first, uint64_t count)
{
    points[point].visits = 0;
    points[point].first = first;
    points[point].count = count;
    update_armed();
}

uint64_t fault_visits(enum fault_point point)
{
    return __atomic_load_n(&points[point].visits, __ATOMIC_RELAXED);
}

bool fault_hit_slow(enum fault_point point)
{
    bool (*asked)(enum fault_point) = __atomic_load_n(&source, __ATOMIC_RELAXED);
    uint64_t visit;

    if (asked && asked(point))
        return true;
    if (points[point].count == 0)
        return false;
    visit = __atomic_fetch_add(&points[point].visits, 1, __ATOMIC_RELAXED);
    return visit >= points[point].first && visit - points[point].first < points[point].count;
}
