/* SPDX-License-Identifier: MIT */
#include "run_delay.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static int64_t delay_of(const char *tid)
{
    char path[64];
    int64_t on_cpu = 0, delay = 0;
    FILE *file;

    (void)snprintf(path, sizeof(path), "/proc/self/task/%.20s/schedstat", tid);
    file = fopen(path, "re");
    if (!file)
        return 0; /* it has ended, or the kernel counts nothing */
    if (fscanf(file, "%" SCNd64 " %" SCNd64, &on_cpu, &delay) != 2)
        delay = 0;
    (void)fclose(file);
    return delay;
}

int64_t run_delay_ns(pid_t except)
{
    DIR *tasks = opendir("/proc/self/task");
    struct dirent *entry;
    int64_t sum = 0;

    while (tasks && (entry = readdir(tasks))) {
        long tid = strtol(entry->d_name, NULL, 10);

        if (tid > 0 && tid != except)
            sum += delay_of(entry->d_name);
    }
    if (tasks)
        (void)closedir(tasks);
    return sum;
}
