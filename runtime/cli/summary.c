/* SPDX-License-Identifier: MIT */
/*
 * See summary.h. The histogram's rows are the counting buckets themselves, so many to a row that
 * ROWS_MAX rows are enough: log-linear, as the counting.
 */
#include "cli/summary.h"

#include <stdio.h>
#include <string.h>

#include "cli/results.h"

#define ROWS_MAX 16u
#define BAR 40u

/* Buckets [first, end) in rows of `step`. */
struct rows {
    unsigned first, end, step;
    uint64_t most; /* in a row */
};

void summary_note_runtime(struct summary *s)
{
    jd_info info = JD_INFO_INIT;
    int err = jd_runtime_info(jd_runtime_current(), &info);

    snprintf(s->reactor, sizeof(s->reactor), "%s", err ? "unknown" : info.reactor);
    s->workers = err ? 0 : info.workers;
}

void summary_add_error(struct summary *s, int error, const char *text, const char *example)
{
    struct error_kind *kind;
    unsigned i = 0;

    while (i < s->error_kinds && strncmp(s->errors[i].text, text, ERROR_TEXT_BYTES - 1) != 0)
        i++;
    if (i == ERROR_KINDS_MAX)
        i--;
    kind = &s->errors[i];
    if (i == s->error_kinds) {
        kind->error = error;
        snprintf(kind->text, sizeof(kind->text), "%s", text);
        snprintf(kind->example, sizeof(kind->example), "%s", example ? example : "");
        s->error_kinds++;
    }
    kind->count++;
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

static void print_histogram(const struct histogram *h, FILE *to)
{
    struct rows rows = rows_of(h);

    for (unsigned i = rows.first; i < rows.end; i += rows.step) {
        uint64_t count = row_count(h, i, rows.step);
        unsigned width = (unsigned)((count * BAR + rows.most - 1) / rows.most);

        fprintf(to, "  %9.2f .. %9.2f ms |", row_from(i),
                milliseconds(histogram_end(i + rows.step - 1)));
        for (unsigned x = 0; x < width; x++)
            fputc('#', to);
        fprintf(to, "%*s %llu\n", (int)(BAR - width), "", (unsigned long long)count);
    }
}

static void print_errors(const struct summary *s, FILE *to)
{
    if (s->error_kinds == 0)
        fputs("  errors      none\n", to);
    for (unsigned i = 0; i < s->error_kinds; i++)
        fprintf(to, "  %-11s %llu x %s%s%s\n", i ? "" : "errors",
                (unsigned long long)s->errors[i].count, s->errors[i].text,
                *s->errors[i].example ? ", first: " : "", s->errors[i].example);
}

static void print_wait(const char *what, const jd_percentiles *p, FILE *to)
{
    if (p->max > 0)
        fprintf(to, "  waited      for %s: p50 %.2f ms, p90 %.2f ms, p99 %.2f ms, max %.2f ms\n",
                what, milliseconds(p->p50), milliseconds(p->p90), milliseconds(p->p99),
                milliseconds(p->max));
}

static void print_remote(const struct summary *s, FILE *to)
{
    fprintf(to, "  at once     %llu at most\n", (unsigned long long)s->stats.in_flight_max);
    fprintf(to, "  received    %llu bytes of bodies\n", (unsigned long long)s->bytes);
    if (s->stats.retried || s->stats.timed_out)
        fprintf(to, "  attempts    %llu beyond the first, %llu timed out\n",
                (unsigned long long)s->stats.retried, (unsigned long long)s->stats.timed_out);
    print_wait("the host", &s->stats.slot_wait, to);
    print_wait("the rate", &s->stats.token_wait, to);
    if (s->skipped)
        fprintf(to, "  skipped     %llu, done by a former run\n", (unsigned long long)s->skipped);
    if (s->unreadable)
        fprintf(to, "  unreadable  %u input%s\n", s->unreadable, s->unreadable == 1 ? "" : "s");
}

void summary_print(const struct summary *s, FILE *to)
{
    const struct histogram *h = &s->latencies;

    fprintf(to, "%llu %s, at most %u at a time, on %u worker%s%s\n", (unsigned long long)s->count,
            s->is_remote ? "URLs" : "calls", s->limit, s->workers, s->workers == 1 ? "" : "s",
            s->interrupted ? " (interrupted: so far)" : "");
    fprintf(to, "  reactor     %s\n", s->reactor);
    fprintf(to, "  calls       %llu ok, %llu failed, %llu cancelled in %.3f s\n",
            (unsigned long long)s->stats.ok, (unsigned long long)s->stats.failed,
            (unsigned long long)(s->stats.cancelled + s->stats.abandoned),
            seconds(s->stats.elapsed));
    fprintf(to, "  rate        %.0f calls per second\n", calls_per_second(s));
    if (s->is_remote)
        print_remote(s, to);
    else
        fprintf(to, "  at once     %llu at most, as the client saw it; %u, as the server did\n",
                (unsigned long long)s->stats.in_flight_max, s->server_max);
    print_errors(s, to);
    if (s->error)
        fprintf(to, "  ended by    %s\n", jd_strerror(s->error));
    fprintf(to, "  latency     p50 %.2f ms, p90 %.2f ms, p99 %.2f ms, max %.2f ms\n",
            milliseconds(histogram_percentile(h, 500)), milliseconds(histogram_percentile(h, 900)),
            milliseconds(histogram_percentile(h, 990)), milliseconds(h->max));
    print_histogram(h, to);
}

static void json_text(const char *key, const char *text, FILE *to)
{
    char buf[6 * ERROR_EXAMPLE_BYTES + 16];
    size_t len = json_string(buf, sizeof(buf), text, strlen(text));

    fprintf(to, ",\"%s\":%.*s", key, (int)len, buf);
}

static void json_errors(const struct summary *s, FILE *to)
{
    fputs("\"errors\":[", to);
    for (unsigned i = 0; i < s->error_kinds; i++) {
        fprintf(to, "%s{\"errno\":%d", i ? "," : "", -s->errors[i].error);
        json_text("text", s->errors[i].text, to);
        fprintf(to, ",\"count\":%llu", (unsigned long long)s->errors[i].count);
        if (*s->errors[i].example)
            json_text("example", s->errors[i].example, to);
        fputs("}", to);
    }
    fputs("],", to);
}

static void json_histogram(const struct histogram *h, FILE *to)
{
    struct rows rows = rows_of(h);

    fputs("\"histogram\":[", to);
    for (unsigned i = rows.first; i < rows.end; i += rows.step)
        fprintf(to, "%s{\"from_ms\":%.6f,\"to_ms\":%.6f,\"count\":%llu}", i > rows.first ? "," : "",
                row_from(i), milliseconds(histogram_end(i + rows.step - 1)),
                (unsigned long long)row_count(h, i, rows.step));
    fputs("]", to);
}

static void json_wait(const char *key, const jd_percentiles *p, FILE *to)
{
    fprintf(to, "\"%s\":{\"p50\":%.6f,\"p90\":%.6f,\"p99\":%.6f,\"max\":%.6f},", key,
            milliseconds(p->p50), milliseconds(p->p90), milliseconds(p->p99), milliseconds(p->max));
}

static void json_remote(const struct summary *s, FILE *to)
{
    fprintf(to,
            "\"at_once_max\":{\"client\":%llu},\"retried\":%llu,\"timed_out\":%llu,\"bytes\":%llu,"
            "\"skipped\":%llu,\"unreadable\":%u,",
            (unsigned long long)s->stats.in_flight_max, (unsigned long long)s->stats.retried,
            (unsigned long long)s->stats.timed_out, (unsigned long long)s->bytes,
            (unsigned long long)s->skipped, s->unreadable);
    json_wait("slot_wait_ms", &s->stats.slot_wait, to);
    json_wait("token_wait_ms", &s->stats.token_wait, to);
}

void summary_print_json(const struct summary *s, FILE *to)
{
    const struct histogram *h = &s->latencies;

    fprintf(to,
            "{\"command\":\"batch\",\"version\":\"%s\",\"reactor\":\"%s\",\"workers\":%u,"
            "\"count\":%llu,\"limit\":%u,\"interrupted\":%s,\"error\":%d,",
            jd_version(), s->reactor, s->workers, (unsigned long long)s->count, s->limit,
            s->interrupted ? "true" : "false", -s->error);
    fprintf(to,
            "\"pulled\":%llu,\"ok\":%llu,\"failed\":%llu,\"cancelled\":%llu,\"elapsed_s\":%.6f,"
            "\"calls_per_second\":%.1f,",
            (unsigned long long)s->stats.pulled, (unsigned long long)s->stats.ok,
            (unsigned long long)s->stats.failed,
            (unsigned long long)(s->stats.cancelled + s->stats.abandoned),
            seconds(s->stats.elapsed), calls_per_second(s));
    fprintf(to, "\"latency_ms\":{\"p50\":%.6f,\"p90\":%.6f,\"p99\":%.6f,\"max\":%.6f},",
            milliseconds(histogram_percentile(h, 500)), milliseconds(histogram_percentile(h, 900)),
            milliseconds(histogram_percentile(h, 990)), milliseconds(h->max));
    if (s->is_remote)
        json_remote(s, to);
    else
        fprintf(to, "\"at_once_max\":{\"client\":%llu,\"server\":%u},\"server_requests\":%llu,",
                (unsigned long long)s->stats.in_flight_max, s->server_max,
                (unsigned long long)s->server_requests);
    json_errors(s, to);
    json_histogram(h, to);
    fputs("}\n", to);
}
