/* SPDX-License-Identifier: MIT */
/* The histogram of latencies: bucket borders, percentiles. */
#include "jd_test.h"

#include "base/histogram.h"

Test(histogram, buckets_are_monotonic_and_a_sixteenth_wide)
{
    unsigned last = 0;

    for (int64_t v = 0; v < INT64_C(1) << 44; v += 1 + v / 37) {
        unsigned bucket = histogram_bucket(v);

        cr_assert_geq(bucket, last);
        cr_assert_lt(bucket, HISTOGRAM_BUCKETS);
        last = bucket;
        if (v >= INT64_C(1) << 43)
            continue;
        cr_assert_lt(v, histogram_end(bucket));
        cr_assert_leq(histogram_end(bucket) - 1 - v, v / 16 + 1);
    }
    cr_assert_eq(histogram_bucket(INT64_MAX), HISTOGRAM_BUCKETS - 1);
    cr_assert_eq(histogram_bucket(-5), 0);
}

Test(histogram, percentiles_of_a_ramp)
{
    static struct histogram h;

    cr_assert_eq(histogram_percentile(&h, 500), 0);
    for (int64_t v = 1; v <= 100000; v++)
        histogram_add(&h, v);
    cr_assert_eq(h.max, 100000);
    cr_assert_geq(histogram_percentile(&h, 500), 50000 * 15 / 16);
    cr_assert_leq(histogram_percentile(&h, 500), 50000 * 17 / 16);
    cr_assert_geq(histogram_percentile(&h, 990), 99000 * 15 / 16);
    cr_assert_leq(histogram_percentile(&h, 1000), 100000);
}
