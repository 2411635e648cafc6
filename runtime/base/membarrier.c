/* SPDX-License-Identifier: MIT */
#include "base/membarrier.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fault.h"

long membarrier_call(int command, unsigned flags, int cpu)
{
    long ret = syscall(SYS_membarrier, command, flags, cpu);

    return ret < 0 ? -errno : ret;
}

bool membarrier_fence_init(void)
{
    return !fault_hit(FAULT_MEMBARRIER) &&
           membarrier_call(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
}

bool membarrier_fence(void)
{
    return membarrier_call(MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == 0;
}
