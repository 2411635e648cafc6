/* SPDX-License-Identifier: MIT */
#ifndef JD_SYNC_H
#define JD_SYNC_H

#include <stdint.h>

#include <jackdaw/export.h>
#include <jackdaw/time.h>

JD_BEGIN_DECLS

/**
 * @file
 * Semaphores, usable by tasks and by plain threads at once.
 *
 * First in, first out, by direct hand-over: a release gives its permit to the first waiter within
 * the call, so nobody can snatch it, and a waiter that is cancelled then either has it or passes it
 * on. Nothing is ever lost. Permits have no owner: anybody may release, from anywhere.
 *
 * Life: JD_SEM_INIT(n) or jd_sem_init() -> use; no end call, but nobody may wait on it when its
 * memory goes, and, once it was lowered below what was held, nobody may be releasing either. Needs
 * no runtime and is bound to none.
 */
typedef struct jd_sem jd_sem;
JD_VALUE_TYPE(jd_sem, 6);

/** Static initialiser: @p n permits, unbounded, as jd_sem_init(). `jd_sem s = JD_SEM_INIT(4);` */
#ifdef __cplusplus
#define JD_SEM_INIT(n) \
    { \
        {}, \
        { \
            static_cast<uint32_t>(n), 0, 0, 0, 0, static_cast<uint32_t>(n) \
        } \
    }
#else
#define JD_SEM_INIT(n) \
    { \
        { \
            (uint32_t)(n), 0, 0, 0, 0, (uint32_t)(n) \
        } \
    }
#endif

/**
 * Make a semaphore with @p n permits; may be released beyond that.
 *
 * @param s  Space of the caller, nobody waits on it.
 * @param n  Permits, 0 .. INT_MAX.
 *
 * @retval 0        Done.
 * @retval -EINVAL  @p s is NULL or @p n over INT_MAX.
 *
 * @suspends No.  @threads Any, before it is shared.  @cancel No.
 * @memory   None.  @cost Constant.  @since 0.1
 */
JD_API int jd_sem_init(jd_sem *s, unsigned n);

/**
 * Make a semaphore with @p n permits that refuses releases beyond them with -EOVERFLOW.
 *
 * @param s  Space of the caller, nobody waits on it.
 * @param n  Permits and bound, 0 .. INT_MAX.
 *
 * @retval 0        Done.
 * @retval -EINVAL  @p s is NULL or @p n over INT_MAX.
 *
 * @suspends No.  @threads Any, before it is shared.  @cancel No.
 * @memory   None.  @cost Constant.  @since 0.1
 */
JD_API int jd_sem_init_bounded(jd_sem *s, unsigned n);

/**
 * Take one permit, waiting behind those who came earlier.
 *
 * @param s  Semaphore.
 *
 * @retval 0           Taken; wins over a cancel at the same time.
 * @retval -ECANCELED  The calling task is cancelled; nothing was taken.
 * @retval -EPERM      Called inside a loop callback.
 * @retval -EINVAL     @p s is NULL.
 *
 * @suspends Yes, when none is free or others wait.
 * @threads A task suspends, a plain thread blocks.
 * @cancel   Cancellation point.
 * @memory   None: the waiter lives in the caller's frame.  @cost Uncontended: one atomic.
 * @since 0.1
 */
JD_API JD_SUSPENDS int jd_sem_acquire(jd_sem *s);

/**
 * Take one permit within a time.
 *
 * @param s        Semaphore.
 * @param timeout  Nanoseconds; 0 does not wait; JD_FOREVER = jd_sem_acquire().
 *
 * @retval 0           Taken.
 * @retval -ETIMEDOUT  Nothing was taken.
 * @return             Others as jd_sem_acquire().
 *
 * @suspends Yes, when none is free or others wait.
 * @threads A task suspends, a plain thread blocks.
 * @cancel   Cancellation point.
 * @memory   None.  @cost As jd_sem_acquire(), and a timer when it waits.  @since 0.1
 */
JD_API JD_SUSPENDS int jd_sem_acquire_for(jd_sem *s, int64_t timeout);

/**
 * Take several permits at once, all or none, waiting behind those who came earlier. Later ones wait
 * behind it too, also where fewer permits would do for them.
 *
 * @param s  Semaphore.
 * @param k  Permits, 0 .. INT_MAX; 0 takes nothing and returns 0.
 *
 * @retval 0        All taken.
 * @retval -EINVAL  @p s is NULL, or @p k over INT_MAX or over the bound.
 * @return          Others as jd_sem_acquire().
 *
 * @suspends Yes, when fewer are free or others wait.
 * @threads A task suspends, a plain thread blocks.
 * @cancel   Cancellation point.
 * @memory   None.  @cost As jd_sem_acquire().  @since 0.1
 */
JD_API JD_SUSPENDS int jd_sem_acquire_n(jd_sem *s, unsigned k);

/**
 * jd_sem_acquire_n() within a time.
 *
 * @param s        Semaphore.
 * @param k        Permits, 0 .. INT_MAX.
 * @param timeout  Nanoseconds; 0 does not wait.
 *
 * @retval 0           All taken.
 * @retval -ETIMEDOUT  Nothing was taken.
 * @return             Others as jd_sem_acquire_n().
 *
 * @suspends Yes, when fewer are free or others wait.
 * @threads A task suspends, a plain thread blocks.
 * @cancel   Cancellation point.
 * @memory   None.  @cost As jd_sem_acquire_for().  @since 0.1
 */
JD_API JD_SUSPENDS int jd_sem_acquire_n_for(jd_sem *s, unsigned k, int64_t timeout);

/**
 * Take one permit if one is free and nobody waits for it.
 *
 * @param s  Semaphore.
 *
 * @retval 0        Taken.
 * @retval -EAGAIN  Would have to wait.
 * @retval -EINVAL  @p s is NULL.
 *
 * @suspends No.  @threads Any, callbacks included.  @cancel No.
 * @memory   None.  @cost One atomic.  @since 0.1
 */
JD_API int jd_sem_try_acquire(jd_sem *s);

/**
 * Give one permit back: to the first waiter, or to the pool.
 *
 * @param s  Semaphore.
 *
 * @retval 0           Given.
 * @retval -EOVERFLOW  Beyond the bound of a bounded one, or over INT_MAX; nothing changed.
 * @retval -EINVAL     @p s is NULL.
 *
 * @suspends No.  @threads Any, callbacks included.  @cancel No.
 * @memory   None.  @cost Nobody waits: one atomic. Else one wake-up.  @since 0.1
 */
JD_API int jd_sem_release(jd_sem *s);

/**
 * Give several permits back, all or none; wakes as many waiters as they serve.
 *
 * @param s  Semaphore.
 * @param k  Permits, 0 .. INT_MAX.
 *
 * @retval 0           Given.
 * @retval -EOVERFLOW  As jd_sem_release(); nothing changed.
 * @retval -EINVAL     @p s is NULL or @p k over INT_MAX.
 *
 * @suspends No.  @threads Any, callbacks included.  @cancel No.
 * @memory   None.  @cost As jd_sem_release(), per waiter served.  @since 0.1
 */
JD_API int jd_sem_release_n(jd_sem *s, unsigned k);

/**
 * How many permits are free, at some moment of the call.
 *
 * @param s  Semaphore.
 * @return   Free permits, >= 0: 0 while somebody waits, and while a lowered number is not yet
 *           reached. -EINVAL for NULL.
 *
 * @suspends No.  @threads Any.  @cancel No.
 * @memory   None.  @cost One load.  @since 0.1
 */
JD_API int jd_sem_value(const jd_sem *s);

/**
 * Change how many permits there are in all. Raising serves waiters at once; lowering evicts nobody,
 * new grants wait until enough came back. Lower, then raise: never grants too many.
 *
 * @param s  Semaphore. The number counts from its init, or its last resize.
 * @param n  Permits in all, 0 .. INT_MAX.
 *
 * @retval 0           Done.
 * @retval -EINVAL     @p s is NULL or @p n over INT_MAX.
 * @retval -EOVERFLOW  With what was released beyond the number, over INT_MAX; nothing changed.
 *
 * @suspends No.  @threads Any.  @cancel No.
 * @memory   None.  @cost As jd_sem_release_n().  @since 0.1
 */
JD_API int jd_sem_resize(jd_sem *s, unsigned n);

JD_END_DECLS
#endif /* JD_SYNC_H */
