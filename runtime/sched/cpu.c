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

#include "sched/cpu.h"
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

static bool read_line(const char *path, char *line, int bytes, void *arg)
{
    FILE *f = fopen(path, "re");
    bool ok = f && fgets(line, bytes, f);

    (void)arg;
    if (f)
        (void)fclose(f); /* only read from */
    return ok;
}

/* Quota rounded up to whole CPUs; 0 = none. */
static unsigned quota_cpus(long long quota, long long period)
{
    long long cpus;

    if (quota <= 0 || period <= 0)
        return 0;
    cpus = quota / period + (quota % period != 0); /* no sum that may overflow */
    return cpus < IDLE_WORKERS_MAX ? (unsigned)cpus : IDLE_WORKERS_MAX;
}

static unsigned smaller(unsigned a, unsigned b)
{
    if (a == 0 || b == 0)
        return a + b;
    return a < b ? a : b;
}

struct reader {
    cpu_read_fn read;
    void *arg;
};

/* cpu.max is "MAX PERIOD" or "max PERIOD"; every ancestor's limit holds. */
static unsigned quota_v2(const struct reader *r, char *path, size_t root_len)
{
    unsigned cpus = 0;

    for (;;) { /* bounded by the path's depth */
        char file[PATH_BYTES + 16], line[64];
        long long quota, period;
        char *slash;

        snprintf(file, sizeof(file), "%s/cpu.max", path);
        if (r->read(file, line, sizeof(line), r->arg) &&
            sscanf(line, "%lld %lld", &quota, &period) == 2)
            cpus = smaller(cpus, quota_cpus(quota, period));
        slash = strrchr(path, '/');
        if (!slash || (size_t)(slash - path) < root_len)
            return cpus;
        *slash = '\0';
    }
}

static unsigned quota_v1(const struct reader *r, const char *dir)
{
    char file[PATH_BYTES + 32], line[64];
    long long quota, period;

    snprintf(file, sizeof(file), "%s/cpu.cfs_quota_us", dir);
    if (!r->read(file, line, sizeof(line), r->arg) || sscanf(line, "%lld", &quota) != 1)
        return 0;
    snprintf(file, sizeof(file), "%s/cpu.cfs_period_us", dir);
    if (!r->read(file, line, sizeof(line), r->arg) || sscanf(line, "%lld", &period) != 1)
        return 0;
    return quota_cpus(quota, period);
}

/* Is "cpu" one of a list like "cpuset,cpu,cpuacct"? */
static bool has_cpu(const char *controllers)
{
    while (*controllers) {
        size_t len = strcspn(controllers, ",");

        if (len == 3 && !strncmp(controllers, "cpu", 3))
            return true;
        controllers += len;
        controllers += *controllers == ',';
    }
    return false;
}

/* One line of /proc/self/cgroup: "0::/path" (v2) or "4:cpu,cpuacct:/path" (v1). */
static unsigned quota_of_line(const struct reader *r, char *line)
{
    char dir[PATH_BYTES];
    char *controllers = strchr(line, ':');
    char *path = controllers ? strchr(controllers + 1, ':') : NULL;
    unsigned in_container;

    if (!path || path[1] != '/')
        return 0;
    *path++ = '\0';
    controllers++;
    path[strcspn(path, "\n")] = '\0';
    if (*controllers == '\0') {
        snprintf(dir, sizeof(dir), CGROUP_ROOT "%.*s", 400, strcmp(path, "/") ? path : "");
        return quota_v2(r, dir, strlen(CGROUP_ROOT));
    }
    if (!has_cpu(controllers))
        return 0;
    snprintf(dir, sizeof(dir), CGROUP_ROOT "/cpu%.*s", 400, strcmp(path, "/") ? path : "");
    in_container = quota_v1(r, CGROUP_ROOT "/cpu"); /* the path may be the host's */
    return smaller(quota_v1(r, dir), in_container);
}

static void skip_line(FILE *f)
{
    int c;

    do /* bounded by the file */
        c = fgetc(f);
    while (c != '\n' && c != EOF);
}

unsigned cpu_quota(FILE *groups, cpu_read_fn read, void *arg)
{
    struct reader r = { read, arg };
    char line[PATH_BYTES];
    unsigned quota = 0;

    while (fgets(line, sizeof(line), groups)) {
        if (!strchr(line, '\n')) /* a cut one: what is left of it is no line of its own */
            skip_line(groups);
        quota = smaller(quota, quota_of_line(&r, line));
    }
    return quota;
}

unsigned cpu_count_usable(bool *ret_has_quota)
{
    unsigned cpus = cpus_of_affinity(), quota = 0;
    FILE *f = fopen("/proc/self/cgroup", "re");

    if (f) {
        quota = cpu_quota(f, read_line, NULL);
        (void)fclose(f); /* only read from */
    }
    *ret_has_quota = quota != 0 && quota < cpus;
    cpus = smaller(cpus, quota);
    return cpus < IDLE_WORKERS_MAX ? cpus : IDLE_WORKERS_MAX;
}
