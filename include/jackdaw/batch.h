/* SPDX-License-Identifier: MIT */
#ifndef JD_BATCH_H
#define JD_BATCH_H

#include <stddef.h>
#include <stdint.h>

#include <jackdaw/export.h>
#include <jackdaw/rate.h>
#include <jackdaw/result.h>
#include <jackdaw/sync.h>
#include <jackdaw/time.h>

JD_BEGIN_DECLS

/**
 * @file
 * Bounded batches of remote calls: any number of items, a fixed number of calls in flight, results
 * one at a time in the caller's task.
 *
 * A slot is taken before an item is pulled: memory is O(limit), never O(items). A started call is
 * driven by the runtime, not by the consumer: a slow sink only stops new starts. Every pulled item
 * ends in exactly one sink or abandon call; nothing of a batch remains when it returns. The order
 * of acquisition is: own slot, shared semaphore, rate token.
 */

/** Gives the next item: 1 an item, 0 the end, < 0 fatal. May suspend. One call at a time. */
typedef int (*jd_source_fn)(void *ctx, void **ret_item);

/** One attempt of one remote call, in a task of its own. See jd_call_attempt(). */
typedef jd_result (*jd_call_fn)(void *item, void *ctx);

/**
 * Takes the outcome of an item, one at a time, in the caller's task. Suspending here is
 * back-pressure. < 0 is fatal to the batch; the item counts as consumed.
 */
typedef int (*jd_sink_fn)(void *item, jd_result r, void *ctx);

#define JD_BATCH_ORDERED (1u << 0) /**< Results in input order instead of completion order. */
/** The first success cancels and joins the rest. Failures before it end nothing, unless errors_max
 * gives a bound; without a success the first failure is returned. Not with JD_BATCH_ORDERED. */
#define JD_BATCH_FIRST_OK (1u << 1)
/** Lower the limit below options.limit when calls time out, or take longer than usual; and raise it
 * again. It starts at 8 and soon doubles. See limit and lowered of jd_batch_stats. */
#define JD_BATCH_ADAPTIVE (1u << 2)

#define JD_ALL (~0u) /**< errors_max: collect all errors and return 0. */

/* What jd_batch_options.classify returns about a failed attempt. */
#define JD_RETRY 0 /**< Try again, as far as attempts, deadlines and the retry budget allow. */
#define JD_FAIL 1  /**< The item has failed. */
#define JD_STOP 2  /**< Fatal: stop the batch; the sink gets this failure. */

/* The three clocks of a batch: what jd_batch_clock() returns. */
#define JD_CLOCK_NONE 0    /**< No clock: an -ETIMEDOUT is the call's own. */
#define JD_CLOCK_ATTEMPT 1 /**< attempt_timeout */
#define JD_CLOCK_ITEM 2    /**< item_timeout */
#define JD_CLOCK_TOTAL 3   /**< total_timeout */

/** How long something took, in nanoseconds: so many percent took no longer. Within 1/16, max exact. */
typedef struct jd_percentiles {
    int64_t p50, p90, p99, p999, max;
} jd_percentiles;

/** Counters of a batch, a snapshot. pulled = ok + failed + cancelled + abandoned at the end. */
typedef struct jd_batch_stats {
    size_t size;            /**< Set by JD_BATCH_STATS_INIT; filled up to this size. */
    uint64_t pulled;        /**< Items taken from the source. */
    uint64_t ok;            /**< Items that succeeded. */
    uint64_t failed;        /**< Items that failed for good. */
    uint64_t retried;       /**< Attempts beyond an item's first, hedges not counted. */
    uint64_t timed_out;     /**< Attempts that ended by one of the three timeouts. */
    uint64_t cancelled;     /**< Items whose call was cancelled by the batch. */
    uint64_t abandoned;     /**< Items that ended in abandon for another cause. */
    uint64_t in_flight;     /**< Calls running now. */
    uint64_t in_flight_max; /**< The most that ever ran at once; never above the limit. */
    uint64_t sleeping;      /**< Retries backing off now. */
    uint64_t waiting;       /**< Pulled items waiting for a permit, a slot or a token now. */
    int64_t elapsed;        /**< Nanoseconds since the start. */
    int64_t p50;            /**< Latency of attempts in nanoseconds: median; likewise below. */
    int64_t p90;
    int64_t p99;
    int64_t p999;
    int64_t max;
    uint64_t limit;             /**< In force now. */
    uint64_t lowered;           /**< How often JD_BATCH_ADAPTIVE has lowered it. */
    uint64_t waiting_for_token; /**< Of those waiting: for a token of the rate. */
    jd_percentiles slot_wait;  /**< Of attempts: from when nothing but slot and permits was missing,
                                     after the pull or the back-off, until both were there. */
    jd_percentiles token_wait; /**< Of attempts: for a token of the rate. */
} jd_batch_stats;

#define JD_BATCH_STATS_INIT \
    { \
        sizeof(jd_batch_stats), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, \
            { 0, 0, 0, 0, 0 }, \
        { \
            0, 0, 0, 0, 0 \
        } \
    }

/**
 * How a batch runs. Only limit has no default. All times are nanoseconds, 0 = none.
 *
 * A value that an attempt returns comes out exactly once: of sink or abandon with its item, or of
 * discard.
 */
typedef struct jd_batch_options {
    size_t size;    /**< Set by JD_BATCH_OPTIONS_INIT. */
    unsigned limit; /**< Calls in flight, exactly; >= 1. */
    jd_sem *sem;    /**< A second bound, shared between batches; may be NULL. */
    jd_sem *(*item_sem)(void *item, void *ctx); /**< A bound by host or tenant, taken after the pull
                                                     while the slot goes to others; asked once per
                                                     item, in the caller's task; may be NULL, and
                                                     may return NULL: no bound for this item. */
    unsigned waiting_max;          /**< Pulling stops at so many waiting items; 0 = 4 * limit. */
    jd_rate *rate;                 /**< Token bucket per attempt, shareable; may be NULL. The token
                                        is taken last, by the call's task, in a slot. */
    unsigned flags;                /**< JD_BATCH_ORDERED | JD_BATCH_FIRST_OK | JD_BATCH_ADAPTIVE. */
    unsigned reorder_max;          /**< ORDERED: results held behind a slow head, without a slot;
                                        pulling stops at so many. 0 = 4 * limit. */
    unsigned sleeping_max;         /**< Retries asleep; 0 = 4 * limit. Pulling stops at so many; one
                                        more that is to sleep keeps its slot. */
    unsigned errors_max;           /**< 0 = stop at the first failed item, N = at failure N + 1,
                                        JD_ALL = collect all and return 0. */
    int64_t attempt_timeout;       /**< Counts from the entry of call: waiting is not charged. The
                                        call is cancelled, the attempt ends with -ETIMEDOUT; a
                                        value that comes all the same stands. */
    int64_t item_timeout;          /**< Counts from the pull; covers retries and back-off. The item
                                        ends with -ETIMEDOUT. */
    int64_t total_timeout;         /**< Counts from the start of the batch. */
    unsigned attempts;             /**< Per item; 0 = 1. */
    int64_t backoff;               /**< Before the first retry, doubling, with full jitter. The slot
                                        and the permits are released meanwhile. */
    int64_t backoff_max;           /**< The most it doubles to. */
    unsigned retry_budget_percent; /**< Retries and hedges per 100 items pulled, and ten more;
                                        beyond it failures are final. 0 = the default, 10. */
    int (*classify)(void *item, jd_result r, int64_t *ret_after,
                    void *ctx); /**< Asked about failures, on any worker, must not suspend. Returns
                                     JD_RETRY, JD_FAIL or JD_STOP; *ret_after: wait so long, -1 =
                                     the back-off. NULL: timeouts, resets, refused are retried
                                     (-ETIMEDOUT, -ECONNRESET, -ECONNREFUSED, -ECONNABORTED,
                                     -EPIPE). */
    int64_t
        hedge_after; /**< Start a second attempt of a call that takes longer, within limit, budget
                              and rate. The first result that is not to be retried is the outcome; the
                              other attempt is cancelled and joined before that is delivered. */
    void (*discard)(void *item, jd_result attempt,
                    void *ctx); /**< Attempts that did not become the outcome, so that their values
                                     can be freed; in the caller's task; may be NULL. */
    void (*abandon)(void *item, jd_result r,
                    void *ctx); /**< Pulled items that do not reach the sink; may be NULL. */
    void (*progress)(const jd_batch_stats *s,
                     void *ctx); /**< In the caller's task, and once at the end; may be NULL. */
    int64_t progress_every;      /**< The least time between two calls of progress. */
    void *ctx;                   /**< Passed to every function of the batch. */
} jd_batch_options;

#define JD_BATCH_OPTIONS_INIT \
    { \
        sizeof(jd_batch_options), 0, NULL, NULL, 0, NULL, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, NULL, \
            0, NULL, NULL, NULL, 0, NULL \
    }

/**
 * Run calls over all items of a source and hand each outcome to a sink; returns when all is over.
 *
 * Source, sink, abandon and progress run in the caller's task, never two at a time: while one of
 * them suspends no outcome is delivered and no new call starts; calls in flight go on.
 *
 * @param source     Gives the items; suspends as it likes.
 * @param call       One attempt, in a task of its own, on any worker.
 * @param sink       Takes the outcomes in the caller's task; NULL = nobody, only counted.
 * @param o          Options with o->limit >= 1. Copied.
 * @param ret_stats  Receives the final counters, on errors too; may be NULL.
 *
 * @retval 0           The source is drained; failures stayed within o->errors_max. No item: 0.
 * @retval -ETIMEDOUT  o->total_timeout, or the error of the item that was fatal: jd_batch_clock().
 * @retval -ECANCELED  The caller was cancelled. All calls are joined, nothing is delivered later.
 * @retval -EINVAL     A NULL that must not be, limit 0, unknown flags, size 0.
 * @retval -E2BIG      Options of a later version set what this one does not know.
 * @retval -ENOMEM     Out of memory.
 * @retval -EPERM      The caller is not a task.
 * @retval -EDEADLK    Debug mode: the caller is a call that holds a permit of the same semaphore, for
 *                     which the new batch might wait: o->sem, or the one of an item, which is
 *                     abandoned.
 * @return             Else the fatal error of source, sink or item.
 *
 * @suspends Yes.  @threads Tasks only.
 * @cancel   Cancellation point; cancels and joins the calls in flight before it returns.
 * @memory   O(limit + reorder_max + sleeping_max + waiting_max), independent of the items.
 * @cost     A slot is reused without allocation; its semaphore two atomics.  @since 0.1
 */
JD_API JD_SUSPENDS int jd_batch_run(jd_source_fn source, jd_call_fn call, jd_sink_fn sink,
                                    const jd_batch_options *o, jd_batch_stats *ret_stats);

/**
 * A batch whose outcomes are taken one by one: jd_batch_open() -> jd_batch_next() until it returns
 * no 1 -> jd_batch_close(). A task of its own runs it, in a root scope of its own: source, abandon,
 * discard, item_sem and progress are called there. It works ahead of jd_batch_next() until the
 * limit is used up by outcomes that nobody has taken.
 */
typedef struct jd_batch jd_batch;

/** What became of an item. */
typedef struct jd_outcome {
    void *item;
    jd_result result;
} jd_outcome;

/**
 * Start a batch whose outcomes are taken by jd_batch_next().
 *
 * @param ret     Receives the batch; to be closed.
 * @param source  As in jd_batch_run().
 * @param call    As in jd_batch_run().
 * @param o       As in jd_batch_run(). Copied.
 *
 * @retval 0           It runs.
 * @retval -ESHUTDOWN  The runtime is stopping.
 * @return             Others as jd_batch_run(): -EINVAL, -E2BIG, -ENOMEM, -EPERM.
 *
 * @suspends No.  @threads Tasks only.  @cancel No.
 * @memory   As jd_batch_run(), and a task.  @cost As jd_spawn().  @since 0.1
 */
JD_API int jd_batch_open(jd_batch **ret, jd_source_fn source, jd_call_fn call,
                         const jd_batch_options *o);

/**
 * Take the next outcome.
 *
 * @param b    Batch.
 * @param ret  Receives it. Written only with 1.
 *
 * @retval 1           An outcome, a failed one too.
 * @retval 0           The end: the source is drained, all outcomes were taken.
 * @retval -ECANCELED  The caller is cancelled; nothing was taken. Or the batch was.
 * @retval -EBUSY      Another task is in this call.
 * @retval -EINVAL     NULL.
 * @retval -EPERM      The caller is not a task.
 * @return             Else the error that has ended the batch, as of jd_batch_run(); again and
 *                     again.
 *
 * @suspends Yes.  @threads Tasks; one at a time.  @cancel Cancellation point; the batch goes on.
 * @memory   None.  @cost Two switches between tasks.  @since 0.1
 */
JD_API JD_SUSPENDS int jd_batch_next(jd_batch *b, jd_outcome *ret);

/**
 * End a batch, early or not, and free it: cancels and joins the calls in flight; outcomes that were
 * not taken are abandoned.
 *
 * @param b  Batch that nobody uses any more. NULL is a no-op.
 *
 * @retval 0       It had ended well, or was ended by this call.
 * @retval -EPERM  The caller is not a task; nothing happened.
 * @return         Else the error that had ended it.
 *
 * @suspends Yes, while calls end.  @threads Tasks.  @cancel No cancellation point.
 * @memory   Frees all of it.  @cost As the calls take.  @since 0.1
 */
JD_API JD_SUSPENDS int jd_batch_close(jd_batch *b);

/**
 * Pull no more items: what was pulled is brought to its end, retries included, then comes the end.
 *
 * @param b  Batch; NULL is a no-op.
 *
 * @suspends No.  @threads Any, while it is open.  @cancel No.
 * @memory   None.  @cost One wake-up.  @since 0.1
 */
JD_API void jd_batch_drain(jd_batch *b);

/**
 * Change the limit while it runs. Raising starts calls at once; lowering ends none, new ones wait
 * until enough have ended. The other bounds stay as they were.
 *
 * @param b      Batch; NULL is a no-op.
 * @param limit  Calls in flight, >= 1; 0 is ignored.
 *
 * @suspends No.  @threads Any, while it is open.  @cancel No.
 * @memory   None.  @cost One wake-up.  @since 0.1
 */
JD_API void jd_batch_set_limit(jd_batch *b, unsigned limit);

/**
 * Look at a batch while it runs.
 *
 * @param b    Batch.
 * @param ret  Receives its counters, up to ret->size; each one is right, though they may be of
 *             slightly different moments.
 *
 * @retval 0        Filled.
 * @retval -EINVAL  NULL, or size 0.
 *
 * @suspends No.  @threads Any, while it is open.  @cancel No.
 * @memory   None.  @cost Some microseconds.  @since 0.1
 */
JD_API int jd_batch_get_stats(const jd_batch *b, jd_batch_stats *ret);

/**
 * One call with the attempts, deadlines, permits and tokens of a batch.
 *
 * @param call  One attempt, in a task of its own.
 * @param item  Passed to @p call.
 * @param o     Options, or NULL: one attempt. What is about many items does not count: limit, flags,
 *              errors_max, the other bounds, abandon, progress.
 *
 * @return  The result of the last attempt. jd_err(-ETIMEDOUT): item or total time; -ECANCELED: the
 *          caller was cancelled before there was a result; -EINVAL, -E2BIG, -ENOMEM, -EPERM,
 *          -EDEADLK as jd_batch_run().
 *
 * @suspends Yes.  @threads Tasks only.
 * @cancel   Cancellation point; cancels and joins the attempt before it returns.
 * @memory   Some KiB while it runs.  @cost Some microseconds.  @since 0.1
 */
JD_API JD_SUSPENDS jd_result jd_call(jd_call_fn call, void *item, const jd_batch_options *o);

/**
 * Call a function for each element of an array, a limited number at a time; all results, in order.
 *
 * @param items  Array of @p n, each passed to @p call as it is.
 * @param n      Elements; 0 returns 0 at once.
 * @param limit  Calls in flight, >= 1.
 * @param call   One call, in a task of its own.
 * @param ctx    Passed to @p call.
 * @param ret    Receives @p n results, in the order of @p items, errors included. -ECANCELED where
 *               the call was cancelled or never started.
 *
 * @retval 0           All were called; look at each result.
 * @retval -ECANCELED  The caller was cancelled; all calls are joined.
 * @retval -EINVAL     A NULL that must not be, limit 0.
 * @retval -ENOMEM     Out of memory.
 * @retval -EPERM      The caller is not a task.
 *
 * @suspends Yes.  @threads Tasks only.  @cancel As jd_batch_run().
 * @memory   O(limit).  @cost As jd_batch_run().  @since 0.1
 */
JD_API JD_SUSPENDS int jd_map(void *const *items, size_t n, unsigned limit, jd_call_fn call,
                              void *ctx, jd_result *ret);

/**
 * In a call function: which attempt this is.
 *
 * @return  0 for the first, 1 for the first retry, ...; 0 outside a call function.
 *
 * @suspends No.  @threads The attempt's own task; 0 elsewhere.  @cancel No.
 * @memory   None.  @cost One load.  @since 0.1
 */
JD_API unsigned jd_call_attempt(void);

/**
 * In a call function: whether this is the second of two attempts that race.
 *
 * @return  1 or 0; 0 outside a call function.
 *
 * @suspends No.  @threads The attempt's own task; 0 elsewhere.  @cancel No.
 * @memory   None.  @cost One load.  @since 0.1
 */
JD_API int jd_call_is_hedge(void);

/**
 * Which clock is behind the outcome that the calling task was told of last: in sink, abandon,
 * discard and classify the one that they were called with, after jd_batch_next(), jd_call(),
 * jd_batch_run() the one that was returned.
 *
 * @return  JD_CLOCK_ATTEMPT, JD_CLOCK_ITEM, JD_CLOCK_TOTAL, or JD_CLOCK_NONE: no time was up. A call
 *          that came to an end with a value in spite of its clock counts as none.
 *
 * @suspends No.  @threads A task; JD_CLOCK_NONE elsewhere.  @cancel No.
 * @memory   None.  @cost One load.  @since 0.1
 */
JD_API int jd_batch_clock(void);

JD_END_DECLS
#endif /* JD_BATCH_H */
