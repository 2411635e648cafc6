/* SPDX-License-Identifier: MIT */
/*
 * See summary.h. The histogram's rows are the counting buckets themselves, so many to a row that
 * ROWS_MAX rows are enough: log-linear, as the counting.
 */
#include "cli/summary.h"

#include <stdio.h>

#define ROWS_MAX 16u
#define BAR 40u

/* Buckets [first, end) in rows of `step`. */
struct rows {
    unsigned first, end, step;
    uint64_t most; /* in a row */
};

void summary_add_error(struct summary *s, int error)
{
    unsigned i = 0;

    while (i < s->error_kinds && s->errors[i].error != error)
        i++;
    if (i == ERROR_KINDS_MAX)
        i--;
    else if (i == s->error_kinds)
        s->errors[s->error_kinds++].error = error;
    s->errors[i].count++;
}

static uint64_t row_count(const struct histogram *h, unsigned first, unsigned step)
{
    uint64_t count = 0;

    for (unsigned i = first; i < first + step && i < HISTOGRAM_BUCKETS; i++)
        count += h->buckets[i];
    return count;
}

static struct rows rows_of(const struct histogram *h)
{
    struct rows rows = { .step = 1 };

    while (rows.first < HISTOGRAM_BUCKETS && !h->buckets[rows.first])
        rows.first++;
    for (unsigned i = rows.first; i < HISTOGRAM_BUCKETS; i++)
        if (h->buckets[i])
            rows.end = i + 1;
    if (rows.end > rows.first)
        rows.step = (rows.end - rows.first + ROWS_MAX - 1) / ROWS_MAX;
    for (unsigned i = rows.first; i < rows.end; i += rows.step) {
        uint64_t count = row_count(h, i, rows.step);

        rows.most = count > rows.most ? count : rows.most;
    }
    return rows;
}

static double milliseconds(int64_t ns)
{
    return (double)ns / 1e6;
}

static double seconds(int64_t ns)
{
    return (double)ns / 1e9;
}

static double row_from(unsigned bucket)
{
    return bucket ? milliseconds(histogram_end(bucket - 1)) : 0;
}

static double calls_per_second(const struct summary *s)
{
    return s->stats.elapsed > 0
               ? (double)(s->stats.ok + s->stats.failed) / seconds(s->stats.elapsed)
               : 0;
}

static void print_histogram(const struct histogram *h)
{
    struct rows rows = rows_of(h);

    for (unsigned i = rows.first; i < rows.end; i += rows.step) {
        uint64_t count = row_count(h, i, rows.step);
        unsigned width = (unsigned)((count * BAR + rows.most - 1) / rows.most);

        printf("  %9.2f .. %9.2f ms |", row_from(i),
               milliseconds(histogram_end(i + rows.step - 1)));
        for (unsigned x = 0; x < width; x++)
            putchar('#');
        printf("%*s %llu\n", (int)(BAR - width), "", (unsigned long long)count);
    }
}

static void print_errors(const struct summary *s)
{
    if (s->error_kinds == 0)
        puts("  errors      none");
    for (unsigned i = 0; i < s->error_kinds; i++)
        printf("  %-11s %llu x %s\n", i ? "" : "errors", (unsigned long long)s->errors[i].count,
               jd_strerror(s->errors[i].error));
}

void summary_print(const struct summary *s)
{
    const struct histogram *h = &s->latencies;

    printf("%llu calls, at most %u at a time, on %u worker%s%s\n", (unsigned long long)s->count,
           s->limit, s->workers, s->workers == 1 ? "" : "s",
           s->interrupted ? " (interrupted: so far)" : "");
    printf("  reactor     %s\n", s->reactor);
    printf("  calls       %llu ok, %llu failed, %llu cancelled in %.3f s\n",
           (unsigned long long)s->stats.ok, (unsigned long long)s->stats.failed,
           (unsigned long long)(s->stats.cancelled + s->stats.abandoned),
           seconds(s->stats.elapsed));
    printf("  rate        %.0f calls per second\n", calls_per_second(s));
    printf("  at once     %llu at most, as the client saw it; %u, as the server did\n",
           (unsigned long long)s->stats.in_flight_max, s->server_max);
    print_errors(s);
    if (s->error)
        printf("  ended by    %s\n", jd_strerror(s->error));
    printf("  latency     p50 %.2f ms, p90 %.2f ms, p99 %.2f ms, max %.2f ms\n",
           milliseconds(histogram_percentile(h, 500)), milliseconds(histogram_percentile(h, 900)),
           milliseconds(histogram_percentile(h, 990)), milliseconds(h->max));
    print_histogram(h);
}

static void json_errors(const struct summary *s)
{
    fputs("\"errors\":[", stdout);
    for (unsigned i = 0; i < s->error_kinds; i++)
        /* Texts of jd_strerror() have neither quotes nor backslashes. */
        printf("%s{\"errno\":%d,\"text\":\"%s\",\"count\":%llu}", i ? "," : "", -s->errors[i].error,
               jd_strerror(s->errors[i].error), (unsigned long long)s->errors[i].count);
    fputs("],", stdout);
}

static void json_histogram(const struct histogram *h)
{
    struct rows rows = rows_of(h);

    fputs("\"histogram\":[", stdout);
    for (unsigned i = rows.first; i < rows.end; i += rows.step)
        printf("%s{\"from_ms\":%.6f,\"to_ms\":%.6f,\"count\":%llu}", i > rows.first ? "," : "",
               row_from(i), milliseconds(histogram_end(i + rows.step - 1)),
               (unsigned long long)row_count(h, i, rows.step));
    fputs("]", stdout);
}

void summary_print_json(const struct summary *s)
{
    const struct histogram *h = &s->latencies;

    printf("{\"command\":\"batch\",\"version\":\"%s\",\"reactor\":\"%s\",\"workers\":%u,"
           "\"count\":%llu,\"limit\":%u,\"interrupted\":%s,\"error\":%d,",
           jd_version(), s->reactor, s->workers, (unsigned long long)s->count, s->limit,
           s->interrupted ? "true" : "false", -s->error);
    printf("\"pulled\":%llu,\"ok\":%llu,\"failed\":%llu,\"cancelled\":%llu,\"elapsed_s\":%.6f,"
           "\"calls_per_second\":%.1f,",
           (unsigned long long)s->stats.pulled, (unsigned long long)s->stats.ok,
           (unsigned long long)s->stats.failed,
           (unsigned long long)(s->stats.cancelled + s->stats.abandoned), seconds(s->stats.elapsed),
           calls_per_second(s));
    printf("\"latency_ms\":{\"p50\":%.6f,\"p90\":%.6f,\"p99\":%.6f,\"max\":%.6f},",
           milliseconds(histogram_percentile(h, 500)), milliseconds(histogram_percentile(h, 900)),
           milliseconds(histogram_percentile(h, 990)), milliseconds(h->max));
    printf("\"at_once_max\":{\"client\":%llu,\"server\":%u},\"server_requests\":%llu,",
           (unsigned long long)s->stats.in_flight_max, s->server_max,
           (unsigned long long)s->server_requests);
    json_errors(s);
    json_histogram(h);
    puts("}");
}
