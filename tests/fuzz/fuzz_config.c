/* SPDX-License-Identifier: MIT */
/*
 * The configuration of a runtime: a jd_config of raw bytes, and the environment.
 *
 *   how many bytes of the struct (1), those bytes, then the values of JACKDAW_WORKERS, _DEBUG,
 *   _SEED and _REACTOR, one per line
 *
 * Expected is what the documentation says, read once more in the plainest way.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/config.h"
#include "executor/pool.h"
#include "fuzz.h"

#define BEYOND 24 /* of a later version */

static const char *const names[] = { "JACKDAW_WORKERS", "JACKDAW_DEBUG", "JACKDAW_SEED",
                                     "JACKDAW_REACTOR" };
/* IDLE_WORKERS_MAX is 256. */
static const char *const most[] = { "256", "1", "18446744073709551615" };

union raw {
    jd_config cfg;
    unsigned char bytes[sizeof(jd_config) + BEYOND];
};

/* Decimal digits, not above max, which is decimal, too. */
static bool is_number(const char *text, const char *max)
{
    if (text[0] == '\0' || strspn(text, "0123456789") != strlen(text))
        return false;
    text += strspn(text, "0");
    return strlen(text) < strlen(max) || (strlen(text) == strlen(max) && strcmp(text, max) <= 0);
}

static bool env_makes_sense(char *const values[4])
{
    for (int i = 0; i < 3; i++)
        if (values[i][0] && !is_number(values[i], most[i]))
            return false;
    return !values[3][0] || !strcmp(values[3], "uring") || !strcmp(values[3], "epoll") ||
           !strcmp(values[3], "auto");
}

static int struct_expected(const union raw *raw)
{
    const jd_config *c = &raw->cfg;
    jd_config known = JD_CONFIG_INIT;

    if (c->size < offsetof(jd_config, stack_bytes))
        return -EINVAL;
    for (size_t i = sizeof(*c); i < c->size; i++)
        if (raw->bytes[i])
            return -E2BIG;
    memcpy(&known, c, c->size < sizeof(known) ? c->size : sizeof(known));
    if (known.reactor > JD_REACTOR_EPOLL || known.workers > IDLE_WORKERS_MAX ||
        known.stack_bytes > (size_t)1 << 30 || known.flags >= JD_NO_ENV << 1 ||
        known.blocking_threads_max > POOL_THREADS_MAX)
        return -EINVAL;
    return 0;
}

static void check(const union raw *raw, char *const values[4])
{
    struct config read = { .workers = 0 };
    int expected = struct_expected(raw), error;
    bool env;

    for (int i = 0; i < 4; i++)
        FUZZ_CHECK(setenv(names[i], values[i], 1) == 0);
    error = config_read(&raw->cfg, &read);
    env = expected == 0 && !(read.flags & JD_NO_ENV);
    if (env && !env_makes_sense(values))
        expected = -EINVAL;
    FUZZ_CHECK_THAT(error == expected, "%d, not %d", error, expected);
    if (error)
        return;
    FUZZ_CHECK_THAT(read.workers >= 1 && read.workers <= IDLE_WORKERS_MAX, "%u", read.workers);
    if (env && values[0][0] && strtoull(values[0], NULL, 10) > 0)
        FUZZ_CHECK(read.workers == strtoull(values[0], NULL, 10));
    if (env && values[2][0])
        FUZZ_CHECK(read.seed == strtoull(values[2], NULL, 10));
    FUZZ_CHECK(read.stack_bytes > 0 && read.shutdown_timeout > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = { data, data + size };
    union raw raw = { .cfg = JD_CONFIG_INIT };
    char text[4][64] = { "" }, *values[4] = { text[0], text[1], text[2], text[3] };
    size_t given = fuzz_byte(&in) % (sizeof(raw) + 1);

    fuzz_quiet();
    for (size_t i = 0; i < given; i++)
        raw.bytes[i] = fuzz_byte(&in);
    raw.cfg.size %= sizeof(raw) + 1; /* what is not there cannot be read */
    raw.cfg.name = NULL;
    for (size_t i = 0, len = 0; i < 4 && fuzz_left(&in) > 0;) {
        char c = (char)fuzz_byte(&in);

        if (c == '\n' || c == '\0' || len == sizeof(text[0]) - 1) {
            i++;
            len = 0;
        } else {
            text[i][len++] = c;
        }
    }
    check(&raw, values);
    return 0;
}
