/* SPDX-License-Identifier: MIT */
#include "refused.h"

#include <errno.h>

#include <jackdaw/jackdaw.h>

#include "jd_test.h"

void skip_if_refused(unsigned reactor, int err)
{
    if (reactor == JD_REACTOR_URING && (err == -ENOSYS || err == -EPERM))
        jd_test_skip("no io_uring here");
}
