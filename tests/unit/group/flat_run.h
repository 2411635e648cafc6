/* SPDX-License-Identifier: MIT */
#ifndef FLAT_RUN_H
#define FLAT_RUN_H

/*
 * A run over very many items whose memory stays flat (BR1). What it needs once is taken by a warm-up
 * before flat_run_begin().
 */
#include <stdio.h>

#include <jackdaw/jackdaw.h>

#include "footprint.h"
#include "jd_test.h"

struct flat_run {
    long resident;
    int64_t start;
};

static inline struct flat_run flat_run_begin(void)
{
    return (struct flat_run){ footprint_resident_bytes(), jd_now() };
}

static inline void flat_run_end(const struct flat_run *run, unsigned long items)
{
    int64_t took = jd_now() - run->start;
    long grown = footprint_resident_bytes() - run->resident;

    printf("# %lu items, %.0f ns each, resident memory %+ld KiB\n", items,
           (double)took / (double)items, grown / 1024);
#ifndef JD_TEST_RUNNER /* a sanitizer keeps freed memory */
    cr_assert_lt(grown, 4L << 20);
#endif
}

#endif /* FLAT_RUN_H */
