/* SPDX-License-Identifier: MIT */
/*
 * What cgroup files say about CPUs. The input is a small file tree, lines: the first ones up to an
 * empty one are /proc/self/cgroup, the rest are "PATH=TEXT". Checked against a second reading of
 * the same rules, and against the lines apart: the smallest quota counts.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "sched/cpu.h"
#include "sched/worker.h"

#define ROOT "/sys/fs/cgroup"

struct tree {
    const char *text; /* lines PATH=TEXT */
};

/* The value of a path, up to its newline; NULL: no such file. */
static const char *find(const struct tree *tree, const char *path, size_t len)
{
    for (const char *line = tree->text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (!strncmp(line, path, len) && line[len] == '=')
            return line + len + 1;
    }
    return NULL;
}

static bool read_file(const char *path, char *line, int bytes, void *arg)
{
    const char *value = find(arg, path, strlen(path));
    size_t len;

    if (!value)
        return false;
    len = strcspn(value, "\n");
    len += value[len] == '\n';
    if (len > (size_t)bytes - 1)
        len = (size_t)bytes - 1;
    memcpy(line, value, len);
    line[len] = '\0';
    return len > 0;
}

static double number_of(const struct tree *tree, const char *folder, const char *name)
{
    char path[1024], line[64];
    double value;

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    if (!read_file(path, line, sizeof(line), (void *)(uintptr_t)tree) ||
        strspn(line, " \t+-0123456789\n") != strlen(line) || sscanf(line, "%lf", &value) != 1)
        return 0;
    return value;
}

/* Thousandths of a CPU, without any care for overflow; 0: no limit, or too much for a double, or
 * written oddly. */
static double plain_quota(const struct tree *tree, const char *folder)
{
    double quota = number_of(tree, folder, "cpu.cfs_quota_us");
    double period = number_of(tree, folder, "cpu.cfs_period_us"), cpus;

    if (quota < 1 || period < 1 || quota > 1e12 || period > 1e9)
        return 0;
    cpus = quota * 1000 / period;
    if (cpus > IDLE_WORKERS_MAX * 1000.)
        return IDLE_WORKERS_MAX * 1000.;
    return cpus > (double)(unsigned)cpus ? (double)((unsigned)cpus + 1) : cpus;
}

static void check_v1(struct tree *tree)
{
    char line[] = "4:cpuset,cpu,cpuacct:/\n";
    FILE *groups = fmemopen(line, strlen(line), "r");
    double expected = plain_quota(tree, ROOT "/cpu");
    unsigned cpus;

    FUZZ_CHECK(groups != NULL);
    cpus = cpu_quota(groups, read_file, tree);
    (void)fclose(groups);
    if (expected >= 1)
        FUZZ_CHECK_THAT(cpus == (unsigned)expected, "%u, not %f", cpus, expected);
}

static unsigned quota_of(char *text, size_t len, struct tree *tree)
{
    FILE *groups = len > 0 ? fmemopen(text, len, "r") : NULL;
    unsigned cpus = groups ? cpu_quota(groups, read_file, tree) : 0;

    if (groups)
        (void)fclose(groups);
    FUZZ_CHECK_THAT(cpus <= IDLE_WORKERS_MAX * 1000, "%u", cpus);
    return cpus;
}

/* Line by line it must come to the same. */
static unsigned smallest(char *text, size_t len, struct tree *tree)
{
    unsigned least = 0;

    for (size_t at = 0; at < len;) {
        size_t rest = len - at, line = 0;
        unsigned cpus;

        while (line < rest && text[at + line] != '\n')
            line++;
        line += line < rest;
        cpus = quota_of(text + at, line, tree);
        least = least == 0 || (cpus && cpus < least) ? cpus : least;
        at += line;
    }
    return least;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text, *rest;
    struct tree tree;
    unsigned cpus, least;
    size_t len;

    if (size > 4096 || memchr(data, 0, size))
        return 0;
    text = malloc(size + 1);
    FUZZ_CHECK(text != NULL);
    memcpy(text, data, size);
    text[size] = '\0';
    rest = strstr(text, "\n\n");
    len = rest ? (size_t)(rest - text) + 1 : size;
    tree.text = rest ? rest + 2 : text + size;
    cpus = quota_of(text, len, &tree);
    least = smallest(text, len, &tree);
    FUZZ_CHECK_THAT(cpus == least, "%u, but the smallest is %u", cpus, least);
    check_v1(&tree);
    free(text);
    return 0;
}
