/* SPDX-License-Identifier: MIT */
#include "footprint.h"

#include <dirent.h>
#include <stdio.h>
#include <unistd.h>

#include "jd_test.h"

static void read_pages(long *ret_mapped, long *ret_resident)
{
    FILE *file = fopen("/proc/self/statm", "re");

    cr_assert_not_null(file);
    cr_assert_eq(fscanf(file, "%ld %ld", ret_mapped, ret_resident), 2);
    (void)fclose(file);
}

long footprint_mapped_bytes(void)
{
    long mapped, resident;

    read_pages(&mapped, &resident);
    return mapped * sysconf(_SC_PAGESIZE);
}

long footprint_resident_bytes(void)
{
    long mapped, resident;

    read_pages(&mapped, &resident);
    return resident * sysconf(_SC_PAGESIZE);
}

unsigned footprint_mappings(void)
{
    FILE *file = fopen("/proc/self/maps", "re");
    unsigned lines = 0;

    cr_assert_not_null(file);
    for (int c; (c = fgetc(file)) != EOF;)
        lines += c == '\n';
    (void)fclose(file);
    return lines;
}

/* With "." and "..". */
static unsigned entries_of(const char *path)
{
    DIR *folder = opendir(path);
    unsigned count = 0;

    cr_assert_not_null(folder);
    while (readdir(folder))
        count++;
    closedir(folder);
    return count;
}

unsigned footprint_descriptors(void)
{
    return entries_of("/proc/self/fd") - 3; /* the folder's own, too */
}

unsigned footprint_threads(void)
{
    return entries_of("/proc/self/task") - 2;
}
