/* SPDX-License-Identifier: MIT */
#ifndef BASE_HISTOGRAM_H
#define BASE_HISTOGRAM_H

/*
 * Latencies in fixed memory: log-linear buckets, 16 per power of two, so a percentile is
 * within 1/16 of the value it stands for. The maximum is exact.
 *
 * I1  Values below 16 have a bucket each; above, bucket = 16 * (power of two) + next four bits.
 * I2  What is above the last bucket (2^43 ns, 2.4 h) is counted in it.
 *
 * Threads: one. Rejected: keeping samples (grows with the items), P2 estimators (one percentile
 * each, and wrong on the two humps that retries make).
 */
#include <stdint.h>

#define HISTOGRAM_SUB_BITS 4
#define HISTOGRAM_SUB (1u << HISTOGRAM_SUB_BITS)
#define HISTOGRAM_POWER_MAX 42
#define HISTOGRAM_BUCKETS ((HISTOGRAM_POWER_MAX - HISTOGRAM_SUB_BITS + 2) * HISTOGRAM_SUB)

struct histogram {
    uint64_t count;
    int64_t max;
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

static inline unsigned histogram_bucket(int64_t ns)
{
    uint64_t value = ns < 0 ? 0 : (uint64_t)ns;
    unsigned power, bucket;

    if (value < HISTOGRAM_SUB)
        return (unsigned)value;
    power = 63u - (unsigned)__builtin_clzll(value);
    if (power > HISTOGRAM_POWER_MAX)
        return HISTOGRAM_BUCKETS - 1;
    bucket = (power - HISTOGRAM_SUB_BITS + 1) * HISTOGRAM_SUB;
    return bucket + (unsigned)((value >> (power - HISTOGRAM_SUB_BITS)) & (HISTOGRAM_SUB - 1));
}

/* The first value that is above this bucket. */
static inline int64_t histogram_end(unsigned bucket)
{
    unsigned power = bucket / HISTOGRAM_SUB;
    int64_t sub = bucket % HISTOGRAM_SUB;

    if (power == 0)
        return sub + 1;
    return ((int64_t)HISTOGRAM_SUB + sub + 1) << (power - 1);
}

static inline void histogram_add(struct histogram *h, int64_t ns)
{
    h->buckets[histogram_bucket(ns)]++;
    h->count++;
    if (ns > h->max)
        h->max = ns;
}

/* The rank-th smallest of a bucket's samples, as if they were evenly spread in it. */
static inline int64_t histogram_inside(const struct histogram *h, unsigned bucket, uint64_t rank)
{
    int64_t begin = bucket ? histogram_end(bucket - 1) : 0;
    double width = (double)(histogram_end(bucket) - 1 - begin);
    int64_t value = begin + (int64_t)(width * (double)rank / (double)h->buckets[bucket]);

    return value < h->max ? value : h->max;
}

/* The value that `permille` of the samples do not exceed; 0 when there are none. */
static inline int64_t histogram_percentile(const struct histogram *h, unsigned permille)
{
    uint64_t rank = (h->count * permille + 999) / 1000;
    uint64_t seen = 0;

    if (h->count == 0)
        return 0;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        if (seen + h->buckets[i] >= rank && h->buckets[i])
            return histogram_inside(h, i, rank - seen);
        seen += h->buckets[i];
    }
    return h->max;
}

#endif /* BASE_HISTOGRAM_H */
