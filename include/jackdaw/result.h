/* SPDX-License-Identifier: MIT */
#ifndef JD_RESULT_H
#define JD_RESULT_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h> /* ssize_t, which no C standard header has */

#include <jackdaw/export.h>

JD_BEGIN_DECLS

/**
 * @file
 * The outcome of a task, a future or a call: a negative errno, or a value.
 *
 * Reserved codes, with one meaning in the whole library: -ECANCELED cancelled, -ETIMEDOUT deadline,
 * -EAGAIN would suspend or still pending, -EALREADY already done, -EPIPE closed, -ESHUTDOWN runtime
 * stopping, -EDEADLK waits for itself, -EBUSY in use, -EOVERFLOW over-release, -EPERM called from
 * the wrong context, -ENOBUFS fixed limit, -ENOSYS the kernel lacks it, -EINVAL NULL or out of
 * range. errno is never touched. A completed operation wins over a cancel: -ECANCELED and
 * -ETIMEDOUT mean that nothing happened, except in the calls that say how far they got.
 */
typedef struct jd_result {
    int error; /**< 0, or a negative errno. With an error the value is meaningless. */
    union {
        void *ptr;    /**< Who frees it is agreed between the two ends; the library never does. */
        intptr_t num; /**< Shares its storage with ptr. */
    };
} jd_result;

/**
 * A success that carries a pointer.
 *
 * @param ptr  Any value, NULL included. Not looked at.
 *
 * @suspends No.  @threads Any.  @cancel No.
 * @memory   None.  @cost Constant.  @since 0.1
 */
JD_API jd_result jd_ok(void *ptr);

/**
 * A success that carries a number.
 *
 * @param num  Any value.
 *
 * @suspends No.  @threads Any.  @cancel No.
 * @memory   None.  @cost Constant.  @since 0.1
 */
JD_API jd_result jd_ok_num(intptr_t num);

/**
 * A failure, or none.
 *
 * @param negative_errno  -Exxx, as a failing call returned it; ssize_t so that a byte count which
 *                        turned out to be an error fits without a cast. 0 is jd_ok(NULL), so that
 *                        `return jd_err(err);` is right for every err; a positive one is -EINVAL.
 *
 * @suspends No.  @threads Any.  @cancel No.
 * @memory   None.  @cost Constant.  @since 0.1
 */
JD_API jd_result jd_err(ssize_t negative_errno);

/**
 * A readable text for an error code.
 *
 * @param negative_errno  As returned by any call of the library. 0 is "success"; an unknown code
 *                        has a text of its own too.
 * @return  A static string, never NULL, never translated.
 *
 * @suspends No.  @threads Any.  @cancel No.
 * @memory   None.  @cost Constant.  @since 0.1
 */
JD_API const char *jd_strerror(int negative_errno);

JD_END_DECLS
#endif /* JD_RESULT_H */
