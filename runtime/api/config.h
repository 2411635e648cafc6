/* SPDX-License-Identifier: MIT */
#ifndef API_CONFIG_H
#define API_CONFIG_H

/*
 * From what the caller and the environment say to what a runtime is built with.
 */
#include "sched/worker.h"

struct config {
    unsigned workers;
    size_t stack_bytes;
    unsigned blocking_threads;
    enum reactor_want reactor;
    uint32_t flags;
    int64_t shutdown_timeout;
    uint64_t seed;
    bool has_quota;
    const char *name;
    enum stack_guard guard; /* 0: the best one */
    struct sim *sim;        /* plays the workers; NULL: threads do */
};

/* -EINVAL, -E2BIG: what the caller or the environment says makes no sense. */
int config_read(const jd_config *cfg, struct config *ret);

#endif /* API_CONFIG_H */
