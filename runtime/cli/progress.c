/* SPDX-License-Identifier: MIT */
/*
 * See progress.h. One write(2) per state, so that lines of two programs do not mix. It may block
 * on a stopped terminal, and with it the batch's consumer: that is what a user means by ^S.
 */
#include "cli/progress.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define BAR 20

void progress_init(struct progress *p, enum progress_when when, uint64_t total)
{
    p->total = total;
    p->in_place = isatty(STDERR_FILENO);
    p->is_on = when == PROGRESS_ALWAYS || (when == PROGRESS_AUTO && p->in_place);
}

static void write_text(const char *text, int len)
{
    ssize_t written = write(STDERR_FILENO, text, (size_t)len);

    (void)written; /* a progress line that is lost is no error */
}

static void write_line(const char *line, size_t room, int len)
{
    if (len > 0)
        write_text(line, len < (int)room ? len : (int)room - 1);
}

static void eta_text(char *buf, size_t room, uint64_t left, double rate)
{
    if (rate <= 0)
        snprintf(buf, room, "-");
    else
        snprintf(buf, room, "%.1f s", (double)left / rate);
}

void progress_show(const struct progress *p, const jd_batch_stats *s)
{
    uint64_t done = s->ok + s->failed;
    double rate = s->elapsed > 0 ? (double)done * 1e9 / (double)s->elapsed : 0;
    int filled = p->total ? (int)((double)done / (double)p->total * BAR) : 0;
    char bar[BAR + 1], eta[32], line[192];
    int len;

    if (!p->is_on)
        return;
    if (p->total == 0) {
        len = snprintf(line, sizeof(line), "%s%llu done  %llu in flight  %.0f/s  %llu errors%s",
                       p->in_place ? "\r" : "", (unsigned long long)done,
                       (unsigned long long)s->in_flight, rate, (unsigned long long)s->failed,
                       p->in_place ? "\033[K" : "\n");
        write_line(line, sizeof(line), len);
        return;
    }
    memset(bar, '.', BAR);
    memset(bar, '#', (size_t)(filled > BAR ? BAR : filled));
    bar[BAR] = '\0';
    eta_text(eta, sizeof(eta), p->total > done ? p->total - done : 0, rate);
    len = snprintf(line, sizeof(line),
                   "%s[%s] %llu/%llu  %llu in flight  %.0f/s  %llu errors  eta %s%s",
                   p->in_place ? "\r" : "", bar, (unsigned long long)done,
                   (unsigned long long)p->total, (unsigned long long)s->in_flight, rate,
                   (unsigned long long)s->failed, eta, p->in_place ? "\033[K" : "\n");
    write_line(line, sizeof(line), len);
}

void progress_clear(const struct progress *p)
{
    static const char clear[] = "\r\033[K";

    if (p->is_on && p->in_place)
        write_text(clear, sizeof(clear) - 1);
}
