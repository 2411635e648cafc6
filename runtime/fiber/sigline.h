/* SPDX-License-Identifier: MIT */
#ifndef FIBER_SIGLINE_H
#define FIBER_SIGLINE_H

/*
 * Text for signal handlers: appends to a caller's buffer, cuts what does not fit, always leaves a
 * terminated string. Async-signal-safe, which snprintf() is not.
 */
#include <stddef.h>
#include <stdint.h>

struct sigline {
    char *buf;
    size_t bytes; /* of buf, > 0 */
    size_t len;
};

static inline void sigline_char(struct sigline *l, char c)
{
    if (l->len + 1 < l->bytes)
        l->buf[l->len++] = c;
    l->buf[l->len] = '\0';
}

static inline void sigline_str(struct sigline *l, const char *text)
{
    for (; *text; text++)
        sigline_char(l, *text);
}

static inline void sigline_number(struct sigline *l, uint64_t value, unsigned base)
{
    char digits[20];
    size_t n = 0;
    do {
        digits[n++] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value > 0);
    while (n > 0)
        sigline_char(l, digits[--n]);
}

static inline void sigline_dec(struct sigline *l, uint64_t value)
{
    sigline_number(l, value, 10);
}

static inline void sigline_hex(struct sigline *l, uint64_t value)
{
    sigline_str(l, "0x");
    sigline_number(l, value, 16);
}

#endif /* FIBER_SIGLINE_H */
