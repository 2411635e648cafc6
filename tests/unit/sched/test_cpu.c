/* SPDX-License-Identifier: MIT */
/*
 * What cgroup files say about CPUs. More of it: tests/fuzz/fuzz_cgroup.c.
 */
#include <stdio.h>
#include <string.h>

#include "jd_test.h"
#include "sched/cpu.h"
#include "sched/worker.h"

struct file {
    const char *path, *text;
};

static bool read_file(const char *path, char *line, int bytes, void *arg)
{
    for (const struct file *f = arg; f->path; f++) {
        if (strcmp(f->path, path) != 0)
            continue;
        snprintf(line, (size_t)bytes, "%s", f->text);
        return true;
    }
    return false;
}

static unsigned quota(const char *groups, const struct file *files)
{
    FILE *f = fmemopen((void *)(uintptr_t)groups, strlen(groups), "r"); /* only read */
    unsigned cpus;

    cr_assert_not_null(f);
    cpus = cpu_quota(f, read_file, (void *)(uintptr_t)files);
    cr_assert_eq(fclose(f), 0);
    return cpus;
}

Test(cpu, the_smallest_quota_up_to_the_root_counts)
{
    const struct file files[] = { { "/sys/fs/cgroup/a/b/cpu.max", "450000 100000\n" },
                                  { "/sys/fs/cgroup/a/cpu.max", "250000 100000\n" },
                                  { "/sys/fs/cgroup/cpu.max", "max 100000\n" },
                                  { NULL, NULL } };

    cr_expect_eq(quota("0::/a/b\n", files), 2500);
    cr_expect_eq(quota("0::/a\n", files), 2500);
    cr_expect_eq(quota("0::/\n", files), 0);
    cr_expect_eq(quota("0::/c\n", files), 0);
    cr_expect_eq(quota("no line of this kind\n", files), 0);
}

Test(cpu, groups_of_version_1_have_ancestors_too)
{
    const struct file files[] = { { "/sys/fs/cgroup/cpu/a/b/cpu.cfs_quota_us", "-1\n" },
                                  { "/sys/fs/cgroup/cpu/a/b/cpu.cfs_period_us", "100000\n" },
                                  { "/sys/fs/cgroup/cpu/a/cpu.cfs_quota_us", "50000\n" },
                                  { "/sys/fs/cgroup/cpu/a/cpu.cfs_period_us", "100000\n" },
                                  { NULL, NULL } };

    cr_expect_eq(quota("1:cpu:/a/b\n", files), 500);
    cr_expect_eq(quota("1:cpu:/c\n", files), 0);
}

Test(cpu, a_list_of_controllers_is_read_word_by_word)
{
    const struct file files[] = { { "/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "200000\n" },
                                  { "/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n" },
                                  { NULL, NULL } };

    cr_expect_eq(quota("4:cpu,cpuacct:/\n", files), 2000);
    cr_expect_eq(quota("4:cpuset,cpu,cpuacct:/\n", files), 2000);
    cr_expect_eq(quota("4:cpuset:/\n", files), 0);
    cr_expect_eq(quota("4:cpuacct:/\n", files), 0);
}

Test(cpu, numbers_beyond_any_machine_are_no_small_ones)
{
    struct file files[] = { { "/sys/fs/cgroup/cpu.max", "9223372036854775807 100000\n" },
                            { NULL, NULL } };

    cr_expect_eq(quota("0::/\n", files), IDLE_WORKERS_MAX * 1000);
    files[0].text = "4294967296000001 1000000\n"; /* 2^32 periods and one */
    cr_expect_eq(quota("0::/\n", files), IDLE_WORKERS_MAX * 1000);
    files[0].text = "4611686018427387904 9223372036854775807\n";
    cr_expect_eq(quota("0::/\n", files), 500);
    files[0].text = "1 9223372036854775807\n";
    cr_expect_eq(quota("0::/\n", files), 1, "a little is not none");
    files[0].text = "100000 0\n";
    cr_expect_eq(quota("0::/\n", files), 0);
    files[0].text = "-100000 100000\n";
    cr_expect_eq(quota("0::/\n", files), 0);
}

Test(cpu, what_is_left_of_a_cut_line_is_no_line)
{
    const struct file files[] = { { "/sys/fs/cgroup/cpu.max", "100000 100000\n" }, { NULL, NULL } };
    char line[1024];

    memset(line, 'x', sizeof(line));
    memcpy(line, "0::/", 4);
    snprintf(line + 511, sizeof(line) - 511, "x::/\n"); /* fgets() takes 511 */
    cr_expect_eq(quota(line, files), 1000, "the root's, as an ancestor");
    memcpy(line, "1:no:/", 6);
    cr_expect_eq(quota(line, files), 0);
}
