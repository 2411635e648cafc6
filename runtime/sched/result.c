/* SPDX-License-Identifier: MIT */
/*
 * jd_result and the names of errors.
 */
#include <errno.h>
#include <string.h>

#include <jackdaw/jackdaw.h>

jd_result jd_ok(void *ptr)
{
    return (jd_result){ .error = 0, .ptr = ptr };
}

jd_result jd_ok_num(intptr_t num)
{
    return (jd_result){ .error = 0, .num = num };
}

jd_result jd_err(ssize_t negative_errno)
{
    return (jd_result){ .error = negative_errno <= 0 ? (int)negative_errno : -EINVAL, .ptr = NULL };
}

const char *jd_strerror(int negative_errno)
{
    const char *name = negative_errno > -4096 ? strerrordesc_np(-negative_errno) : NULL;

    if (negative_errno == 0)
        return "success";
    return name ? name : "unknown error";
}

const char *jd_version(void)
{
    return JD_VERSION;
}
