/* SPDX-License-Identifier: MIT */
/*
 * How many CPUs this process may really use: the affinity mask, and the CPU quota of its cgroup
 * and of all groups above it (v2: cpu.max; v1: cpu.cfs_quota_us). A container with two CPUs' worth of
 * quota on a 64-CPU machine gets two workers, not 64 that throttle each other.
 */
#include <limits.h>
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

/* In thousandths of a CPU, rounded up; 0 = none. */
static unsigned quota_of(long long quota, long long period)
{
    unsigned long long thousandths;

    if (quota <= 0 || period <= 0)
        return 0;
    if (quota / period >= IDLE_WORKERS_MAX)
        return IDLE_WORKERS_MAX * 1000u;
    if (period > LLONG_MAX / 1000) { /* no machine has that: so that no product overflows */
        quota /= 1000;
        period /= 1000;
    }
    thousandths = (unsigned long long)(quota / period) * 1000u +
                  ((unsigned long long)(quota % period) * 1000u + (unsigned long long)period - 1) /
                      (unsigned long long)period;
    return thousandths > 0 ? (unsigned)thousandths : 1;
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

/* cpu.max is "MAX PERIOD" or "max PERIOD". */
static unsigned quota_v2(const struct reader *r, const char *dir)
{
    char file[PATH_BYTES + 32], line[64];
    long long quota, period;

    snprintf(file, sizeof(file), "%s/cpu.max", dir);
    if (!r->read(file, line, sizeof(line), r->arg) ||
        sscanf(line, "%lld %lld", &quota, &period) != 2)
        return 0;
    return quota_of(quota, period);
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
    return quota_of(quota, period);
}

/* The least of the group's and of all above it. In a container the path may be the host's: then the
 * root alone is there, and that is the container's own group. */
static unsigned quota_upwards(const struct reader *r, const char *root, const char *path,
                              unsigned (*look)(const struct reader *, const char *))
{
    char dir[PATH_BYTES];
    size_t root_len = strlen(root);
    unsigned quota = 0;

    snprintf(dir, sizeof(dir), "%s%.*s", root, 400, strcmp(path, "/") ? path : "");
    for (;;) { /* bounded by the path's depth */
        char *slash = strrchr(dir, '/');

        quota = smaller(quota, look(r, dir));
        if (!slash || (size_t)(slash - dir) < root_len)
            return quota;
        *slash = '\0';
    }
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
    char *controllers = strchr(line, ':');
    char *path = controllers ? strchr(controllers + 1, ':') : NULL;

    if (!path || path[1] != '/')
        return 0;
    *path++ = '\0';
    controllers++;
    path[strcspn(path, "\n")] = '\0';
    if (*controllers == '\0')
        return quota_upwards(r, CGROUP_ROOT, path, quota_v2);
    return has_cpu(controllers) ? quota_upwards(r, CGROUP_ROOT "/cpu", path, quota_v1) : 0;
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

unsigned cpu_count_usable(unsigned *ret_quota)
{
    unsigned cpus = cpus_of_affinity(), quota = 0;
    FILE *f = fopen("/proc/self/cgroup", "re");

    if (f) {
        quota = cpu_quota(f, read_line, NULL);
        (void)fclose(f); /* only read from */
    }
    *ret_quota = quota / 1000 < cpus ? quota : 0;
    cpus = smaller(cpus, (quota + 999) / 1000);
    return cpus < IDLE_WORKERS_MAX ? cpus : IDLE_WORKERS_MAX;
}
