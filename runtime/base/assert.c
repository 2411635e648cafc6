/* SPDX-License-Identifier: MIT */
/*
 * The end of the process after a failed assertion: one line on stderr that can be pasted into an
 * issue, written with one write(2) so that lines of several threads do not mix.
 */
#include "base/assert.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void assert_failed(const char *condition, const char *file, int line, const char *function)
{
    char text[512];
    int len =
        snprintf(text, sizeof(text), "jackdaw: internal error: %s is false in %s() at %s:%d\n",
                 condition, function, file, line);

    if (len > 0)
        (void)!write(STDERR_FILENO, text,
                     (size_t)len < sizeof(text) ? (size_t)len : sizeof(text) - 1);
    abort();
}
