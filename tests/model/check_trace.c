/* SPDX-License-Identifier: MIT */
/*
 * What a human reads: the operations of a traced execution and the trail as text.
 *
 * I1  The text of a trail is its choices joined by dots, without trailing zeros: beyond its end
 *     option 0 is taken, which is what an untaken choice means in every search mode.
 */
#include "check_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *engine_thread_name(unsigned thread)
{
    static const char *const names[CHECK_CLOCKS] = { "0", "1", "2", "3", "4", "5", "6", "main" };

    return thread < CHECK_CLOCKS ? names[thread] : "?";
}

const char *trace_order(enum check_order order)
{
    static const char *const names[] = { "relaxed", "acquire", "release", "acq_rel", "seq_cst" };

    return names[order];
}

void trace_op(const struct check_site *site, const char *format, ...)
{
    const char *file = strrchr(site->file, '/');
    char where[64];
    va_list args;

    snprintf(where, sizeof(where), "%s:%d", file ? file + 1 : site->file, site->line);
    printf("  %-4s %*s%-22s %-28s ", engine_thread_name(engine.running),
           engine.running < CHECK_THREADS ? (int)engine.running * 2 : 0, "", where, site->object);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
}

void trace_print_trail(void)
{
    unsigned length = engine.trail_length;

    while (length > 0 && engine.trail[length - 1].taken == 0)
        length--;
    if (length == 0)
        putchar('0');
    for (unsigned i = 0; i < length; i++)
        printf("%s%u", i ? "." : "", engine.trail[i].taken);
}
