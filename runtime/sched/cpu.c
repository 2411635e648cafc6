/* SPDX-License-Identifier: MIT */
/*
 * How many CPUs this process may really use: the affinity mask, and the CPU quota of its cgroup
 * (v2: cpu.max of every group up to the root; v1: cpu.cfs_quota_us). A container with two CPUs'
 * worth of quota on a 64-CPU machine gets two workers, not 64 that throttle each other.
 */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sched/worker.h"

#define CGROUP_ROOT "/sys/fs/cgroup"
#define PATH_BYTES 512 /* a longer cgroup path is cut, and then no limit is found there */

static unsigned cpus_of_affinity(void)
{
    /* 8192 CPUs: more than Linux can be configured for. */
    cpu_set_t *set = CPU_ALLOC(8192);
    size_t bytes = CPU_ALLOC_SIZE(8192);
    int count = 0;

    if (set && sched_getaffinity(0, bytes, set) == 0)
        count = CPU_COUNT_S(bytes, set);
    CPU_FREE(set);
    return count > 0 ? (unsigned)count : 1;
}

static bool read_line(const char *path, char *line, int bytes)
{
    FILE *f = fopen(path, "re");
    bool ok = f && fgets(line, bytes, f);

    if (f)
        (void)fclose(f); /* only read from */
    return ok;
}

/* Quota rounded up to whole CPUs; 0 = none. */
static unsigned quota_cpus(long long quota, long long period)
{
    if (quota <= 0 || period <= 0)
        return 0;
    return (unsigned)((quota + period - 1) / period);
}

static unsigned smaller(unsigned a, unsigned b)
{
    if (a == 0 || b == 0)
        return a + b;
    return a < b ? a : b;
}

/* cpu.max is "MAX PERIOD" or "max PERIOD"; every ancestor's limit holds. */
static unsigned quota_v2(char *path, size_t root_len)
{
    unsigned cpus = 0;

    for (;;) { /* bounded by the path's depth */
        char file[PATH_BYTES + 16], line[64];
        long long quota, period;
        char *slash;

        snprintf(file, sizeof(file), "%s/cpu.max", path);
        if (read_line(file, line, sizeof(line)) && sscanf(line, "%lld %lld", &quota, &period) == 2)
            cpus = smaller(cpus, quota_cpus(quota, period));
        slash = strrchr(path, '/');
        if (!slash || (size_t)(slash - path) < root_len)
            return cpus;
        *slash = '\0';
    }
}

static unsigned quota_v1(const char *dir)
{
    char file[PATH_BYTES + 32], line[64];
    long long quota, period;

    snprintf(file, sizeof(file), "%s/cpu.cfs_quota_us", dir);
    if (!read_line(file, line, sizeof(line)) || sscanf(line, "%lld", &quota) != 1)
        return 0;
    snprintf(file, sizeof(file), "%s/cpu.cfs_period_us", dir);
    if (!read_line(file, line, sizeof(line)) || sscanf(line, "%lld", &period) != 1)
        return 0;
    return quota_cpus(quota, period);
}

/* One line of /proc/self/cgroup: "0::/path" (v2) or "4:cpu,cpuacct:/path" (v1). */
static unsigned quota_of_line(char *line)
{
    char dir[PATH_BYTES];
    char *controllers = strchr(line, ':');
    char *path = controllers ? strchr(controllers + 1, ':') : NULL;
    unsigned in_container;

    if (!path)
        return 0;
    *path++ = '\0';
    controllers++;
    path[strcspn(path, "\n")] = '\0';
    if (*controllers == '\0') {
        snprintf(dir, sizeof(dir), CGROUP_ROOT "%.*s", 400, strcmp(path, "/") ? path : "");
        return quota_v2(dir, strlen(CGROUP_ROOT));
    }
    if (!strstr(controllers, "cpu") || strstr(controllers, "cpuset"))
        return 0;
    snprintf(dir, sizeof(dir), CGROUP_ROOT "/cpu%.*s", 400, strcmp(path, "/") ? path : "");
    in_container = quota_v1(CGROUP_ROOT "/cpu"); /* the path may be the host's */
    return smaller(quota_v1(dir), in_container);
}

unsigned cpu_count_usable(bool *ret_has_quota)
{
    unsigned cpus = cpus_of_affinity(), quota = 0;
    char line[PATH_BYTES];
    FILE *f = fopen("/proc/self/cgroup", "re");

    while (f && fgets(line, sizeof(line), f))
        quota = smaller(quota, quota_of_line(line));
    if (f)
        (void)fclose(f); /* only read from */
    *ret_has_quota = quota != 0 && quota < cpus;
    cpus = smaller(cpus, quota);
    return cpus < IDLE_WORKERS_MAX ? cpus : IDLE_WORKERS_MAX;
}
