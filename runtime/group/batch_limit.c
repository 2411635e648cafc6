/* SPDX-License-Identifier: MIT */
/*
 * The adaptive limit: how many calls the other side can take, found out from how it answers.
 *
 * I1  1 <= limit in force <= the limit asked for. It starts at START and doubles with each window until
 *     the first sign of overload, so that what is usual is learned from an unloaded server.
 * I2  A timeout means overload: the limit falls to CUT of itself. The calls that flew then are no
 *     cause for another cut: they were started under the old limit.
 * I3  Over a window of successes, their mean latency is compared with what is usual. Above TOLERANCE
 *     times that, the limit falls in proportion, at most to half, damped by SMOOTH; else it rises
 *     by one. Calls that did not use the limit do not raise it.
 * I4  What is usual follows the means slowly, so that another normal state is learned; faster
 *     downwards, so that a batch which started in an overload finds out.
 *
 * Threads: the consumer's task. Rejected: the least latency ever as what is usual (one lucky call,
 * and the limit falls for ever); a decision per call (one slow call is not a slow server).
 */
#include <errno.h>

#include "group/batch.h"

#define START 8
#define CUT 0.5
#define TOLERANCE 1.5
#define SMOOTH 0.2
#define WINDOW_MIN 8

static double between(double least, double value, double most)
{
    return value < least ? least : value > most ? most : value;
}

static void set(struct batch *b, double limit)
{
    struct batch_adaptive *a = &b->adaptive;
    unsigned before = b->limit;

    a->limit = between(1, limit, b->limit_max);
    batch_limit_set(b, (unsigned)a->limit);
    if (b->limit < before)
        batch_count(&b->counts.lowered);
    a->is_opening &= a->limit >= before;
}

static void window_start(struct batch_adaptive *a)
{
    a->sum = 0;
    a->count = 0;
    a->is_used = false;
}

static void overloaded(struct batch *b)
{
    struct batch_adaptive *a = &b->adaptive;

    if (a->immune > 0)
        return;
    a->immune = b->places;
    set(b, a->limit * CUT);
    window_start(a);
}

static void window_end(struct batch *b)
{
    struct batch_adaptive *a = &b->adaptive;
    double mean = a->sum / a->count + 1, gradient; /* never 0 */

    if (a->usual == 0)
        a->usual = mean;
    gradient = between(0.5, TOLERANCE * a->usual / mean, 1);
    a->usual += (mean - a->usual) * (mean < a->usual ? 0.5 : 0.01);
    if (gradient < 1)
        set(b, a->limit * (1 - SMOOTH * (1 - gradient)));
    else if (a->is_used)
        set(b, a->is_opening ? 2 * a->limit : a->limit + 1);
    window_start(a);
}

void batch_limit_begin(struct batch *b)
{
    unsigned limit = b->limit_max < START ? b->limit_max : START;

    b->adaptive = (struct batch_adaptive){ .limit = limit, .is_opening = true };
    batch_limit_set(b, limit);
}

void batch_limit_learn(struct batch *b, const struct batch_slot *slot)
{
    struct batch_adaptive *a = &b->adaptive;

    if (a->immune > 0)
        a->immune--;
    if (slot->clock || slot->result.error == -ETIMEDOUT) {
        overloaded(b);
    } else if (slot->has_flown && !slot->result.error) {
        a->sum += (double)slot->latency;
        a->is_used |= b->places + 1 >= b->limit;
        if (++a->count >= WINDOW_MIN && a->count >= b->limit)
            window_end(b);
    }
}
