/* SPDX-License-Identifier: MIT */
/*
 * Cost of the worker's queues for their owner, without contention: one line per operation with the
 * number of operations, the median of several runs and the spread (least, most), in ns.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "queue/deque.h"
#include "queue/fifo.h"
#include "queue/inbox.h"
#include "queue/injector.h"

#define RUNS 15
#define ROUNDS 60000
#define BATCH 16

static const struct ring_memory memory = { mem_alloc, mem_free };
static struct fifo fifo;
static struct deque deque;
static struct inbox inbox;
static struct injector injector;
static struct injector_shard shard;
static struct qnode nodes[BATCH];
static void *volatile sink;

static void fifo_batch(void)
{
    for (unsigned i = 0; i < BATCH; i++)
        (void)fifo_push(&fifo, &nodes[i]);
    for (unsigned i = 0; i < BATCH; i++)
        sink = fifo_pop(&fifo);
}

static void fifo_quiet_batch(void)
{
    for (unsigned i = 0; i < BATCH; i++)
        (void)fifo_push_quiet(&fifo, &nodes[i]);
    for (unsigned i = 0; i < BATCH; i++)
        sink = fifo_pop(&fifo);
}

static void fifo_steal_batch(void)
{
    void *out[BATCH];

    for (unsigned i = 0; i < BATCH; i++)
        (void)fifo_push_quiet(&fifo, &nodes[i]);
    while (fifo_steal(&fifo, out, BATCH) > 0)
        sink = out[0];
}

static void deque_batch(void)
{
    for (unsigned i = 0; i < BATCH; i++)
        (void)deque_push(&deque, &nodes[i]);
    for (unsigned i = 0; i < BATCH; i++)
        sink = deque_take(&deque);
}

static void deque_single(void)
{
    for (unsigned i = 0; i < BATCH; i++) {
        (void)deque_push(&deque, &nodes[i]);
        sink = deque_take(&deque);
    }
}

static void deque_nested(void)
{
    (void)deque_push(&deque, &nodes[0]); /* never the last one: as in a fork of depth two */
    deque_single();
    sink = deque_take(&deque);
}

static void inbox_batch(void)
{
    struct qlist l;

    qlist_init(&l);
    for (unsigned i = 0; i < BATCH; i++)
        (void)inbox_put(&inbox, &nodes[i]);
    (void)inbox_take_all(&inbox, &l);
    while ((sink = qlist_pop(&l)))
        ;
}

static void injector_batch(void)
{
    struct qlist l;

    qlist_init(&l);
    for (unsigned i = 0; i < BATCH; i++)
        injector_push(&injector, 0, &nodes[i]);
    (void)injector_pop_batch(&injector, 0, &l, BATCH);
    while ((sink = qlist_pop(&l)))
        ;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static void report(const char *name, void (*batch)(void))
{
    double ns[RUNS];

    for (unsigned run = 0; run < RUNS; run++) {
        int64_t start = clock_now();

        for (unsigned round = 0; round < ROUNDS; round++)
            batch();
        ns[run] = (double)(clock_now() - start) / (ROUNDS * BATCH);
    }
    qsort(ns, RUNS, sizeof(ns[0]), compare);
    printf("%-28s n=%d  %6.2f ns/op  (%.2f .. %.2f)\n", name, ROUNDS * BATCH, ns[RUNS / 2], ns[0],
           ns[RUNS - 1]);
}

int main(void)
{
    injector_init(&injector, &shard, 1);
    inbox_init(&inbox);
    if (!fifo_init(&fifo, 8, &memory) || !deque_init(&deque, 8, &memory, /* may_force= */ true))
        return 1;
    report("fifo push+pop", fifo_batch);
    report("fifo push_quiet+pop", fifo_quiet_batch);
    report("fifo push_quiet+steal half", fifo_steal_batch);
    report("deque push+take, 16 deep", deque_batch);
    report("deque push+take, last item", deque_single);
    report("deque push+take, not last", deque_nested);
    report("inbox put+take", inbox_batch);
    report("injector push+pop, batch 16", injector_batch);
    fifo_fini(&fifo);
    deque_fini(&deque);
    return 0;
}
