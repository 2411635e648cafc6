/* SPDX-License-Identifier: MIT */
#include "seeds.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jackdaw/jackdaw.h>

#include "jd_test.h"

static struct {
    uint64_t end;
    const char *file;
    int line;
    int hashes; /* descriptor, or -1 */
} loop;

static uint64_t setting(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);

    return text && *text ? strtoull(text, NULL, 10) : otherwise;
}

bool seeds_given(void)
{
    return setting("JD_SIM_SEEDS", 0) != 0;
}

uint64_t seeds_begin(uint64_t n, const char *file, int line)
{
    const char *hashes = getenv("JD_SIM_HASHES");
    const char *base = strrchr(file, '/');
    uint64_t first = setting("JD_SIM_FIRST", 1);

    loop.end = first + setting("JD_SIM_SEEDS", n);
    loop.file = base ? base + 1 : file;
    loop.line = line;
    loop.hashes = hashes ? open(hashes, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666) : -1;
    cr_assert(!hashes || loop.hashes >= 0, "%s cannot be written", hashes);
    return first;
}

bool seeds_more(uint64_t seed)
{
    if (seed < loop.end)
        return true;
    if (loop.hashes >= 0)
        close(loop.hashes);
    loop.hashes = -1;
    return false;
}

uint64_t seeds_next(uint64_t seed)
{
    char text[128];
    int len;

    if (loop.hashes >= 0) {
        len = snprintf(text, sizeof(text), "%s:%d %" PRIu64 " %016" PRIx64 "\n", loop.file,
                       loop.line, seed, jd_sim_trace_hash());
        cr_assert_eq(write(loop.hashes, text, (size_t)len), len);
    }
    return seed + 1;
}
