/* SPDX-License-Identifier: MIT */
/*
 * Configuration: the caller's struct, overridden by the environment (unless JD_NO_ENV).
 *
 * A value in the environment that makes no sense is an error, not ignored: somebody who sets
 * JACKDAW_WORKERS=four should hear of it. The line on stderr says which one; the library writes
 * nowhere else on its own.
 */
#include "api/config.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "executor/pool.h"

#define STACK_BYTES_LIMIT ((size_t)1 << 30)
#define KNOWN_FLAGS \
    (JD_DEBUG | JD_PIN_WORKERS | JD_FIFO | JD_HANDLE_SIGINT | JD_HANDLE_SIGTERM | JD_NO_SIGNALS | \
     JD_NO_ENV)

static int complain(const char *name, const char *value, const char *expected)
{
    fprintf(stderr, "jackdaw: %s=%s: expected %s\n", name, value, expected);
    return -EINVAL;
}

/* Decimal digits and nothing else. No strtoull(): it takes blanks, signs, and says overflow in errno
 * (tasks may run on this thread later). */
static bool parse_number(const char *text, uint64_t max, uint64_t *ret)
{
    uint64_t value = 0;

    for (; *text; text++) { /* bounded: `max` is reached after twenty digits */
        uint64_t digit = (uint64_t)*text - '0';

        if (*text < '0' || *text > '9' || digit > max || value > (max - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    *ret = value;
    return true;
}

static int env_number(const char *name, uint64_t max, uint64_t *ret)
{
    const char *text = secure_getenv(name);

    if (!text || !*text)
        return 0;
    return parse_number(text, max, ret) ? 1 : complain(name, text, "a whole number in range");
}

static int env_reactor(enum reactor_want *ret)
{
    const char *text = secure_getenv("JACKDAW_REACTOR");

    if (!text || !*text)
        return 0;
    if (!strcmp(text, "uring"))
        *ret = REACTOR_URING;
    else if (!strcmp(text, "epoll"))
        *ret = REACTOR_EPOLL;
    else if (!strcmp(text, "auto"))
        *ret = REACTOR_AUTO;
    else
        return complain("JACKDAW_REACTOR", text, "uring, epoll or auto");
    return 0;
}

static int config_env(struct config *c)
{
    uint64_t value;
    int err = env_number("JACKDAW_WORKERS", IDLE_WORKERS_MAX, &value);

    if (err < 0)
        return err;
    if (err > 0)
        c->workers = (unsigned)value; /* 0: as many as there are CPUs */
    err = env_number("JACKDAW_DEBUG", 1, &value);
    if (err < 0)
        return err;
    if (err > 0 && value)
        c->flags |= JD_DEBUG;
    err = env_number("JACKDAW_SEED", UINT64_MAX, &c->seed);
    if (err < 0)
        return err;
    return env_reactor(&c->reactor);
}

/* What a newer caller knows and we do not must be zero. */
static int check_tail(const jd_config *cfg)
{
    const unsigned char *bytes = (const unsigned char *)cfg;

    for (size_t i = sizeof(*cfg); i < cfg->size; i++)
        if (bytes[i])
            return -E2BIG;
    return 0;
}

static int config_copy(const jd_config *cfg, struct config *c)
{
    jd_config known = JD_CONFIG_INIT;

    if (!cfg)
        cfg = &known;
    if (cfg->size < offsetof(jd_config, stack_bytes))
        return -EINVAL;
    if (cfg->size > sizeof(known) && check_tail(cfg))
        return -E2BIG;
    memcpy(&known, cfg, cfg->size < sizeof(known) ? cfg->size : sizeof(known));
    if (known.reactor > JD_REACTOR_EPOLL || (known.flags & ~KNOWN_FLAGS) ||
        known.workers > IDLE_WORKERS_MAX || known.stack_bytes > STACK_BYTES_LIMIT ||
        known.blocking_threads_max > POOL_THREADS_MAX)
        return -EINVAL;
    c->workers = known.workers;
    c->stack_bytes = known.stack_bytes ? known.stack_bytes : STACK_BYTES_DEFAULT;
    c->blocking_threads =
        known.blocking_threads_max ? known.blocking_threads_max : POOL_THREADS_DEFAULT;
    c->reactor = (enum reactor_want)known.reactor;
    c->flags = known.flags;
    c->shutdown_timeout = known.shutdown_timeout > 0 ? known.shutdown_timeout : JD_SEC(10);
    c->name = known.name ? known.name : "jackdaw";
    return 0;
}

int config_read(const jd_config *cfg, struct config *ret)
{
    unsigned cpus, quota;
    int err = config_copy(cfg, ret);

    if (err)
        return err;
    ret->seed = (uint64_t)clock_now();
    if (!(ret->flags & JD_NO_ENV)) {
        err = config_env(ret);
        if (err)
            return err;
    }
    cpus = cpu_count_usable(&quota);
    if (ret->workers == 0)
        ret->workers = cpus;
    ret->has_quota = quota != 0 && quota < ret->workers * 1000; /* cpus are rounded up */
    return 0;
}
