/* SPDX-License-Identifier: MIT */
/*
 * Model of queue/fifo.h: owner and thieves. Claims: every item is claimed once, each claim is a
 * run of consecutive items, claims follow the order of pushes, with all that was written before;
 * rings grow and are reused under claimers; a worker that parks does not miss a push.
 */
#include "queue/fifo.h"

#include "item.h"

static struct fifo fifo;
static struct check_event bell;
static JD_ATOMIC(uint32_t) parked;

static void setup_log2(unsigned capacity_log2)
{
    items_reset();
    atom_init(&parked, 0);
    check_event_init(&bell);
    CHECK_THAT(fifo_init(&fifo, capacity_log2, &item_memory));
}

static void setup_1(void)
{
    setup_log2(0);
}

static void setup_2(void)
{
    setup_log2(1);
}

static void push(int index)
{
    CHECK_THAT(fifo_push(&fifo, item_make(index)));
}

static int pop(void)
{
    void *item = fifo_pop(&fifo);

    return item ? item_consume(item) : -1;
}

static unsigned steal(unsigned max)
{
    void *out[4];
    unsigned n = fifo_steal(&fifo, out, max);
    int last = -1;

    for (unsigned i = 0; i < n; i++) {
        int index = item_consume(out[i]);

        CHECK_THAT(last < 0 || index == last + 1);
        last = index;
    }
    return n;
}

static void finish(void)
{
    while (pop() >= 0) { /* bounded by the items */
    }
    CHECK_THAT(fifo_is_empty(&fifo) && fifo_len(&fifo) == 0);
    items_finish();
    fifo_fini(&fifo);
}

static void thief_one(void)
{
    steal(1);
}

static void thief_half(void)
{
    steal(4);
}

static void thief_twice(void)
{
    int first = pop(), second = pop();

    CHECK_THAT(second < 0 || second > first);
}

static void push2_pop(void)
{
    push(0);
    push(1);
    pop();
}

static void push_many_pop(void)
{
    void *batch[3] = { item_make(0), item_make(1), item_make(2) };

    CHECK_THAT(fifo_push_many(&fifo, batch, 3));
    pop();
}

static void push_quiet_pop(void)
{
    CHECK_THAT(fifo_push_quiet(&fifo, item_make(0)));
    push(1);
    pop();
}

static void reuse(void)
{
    push(0);
    push(1);
    pop();
    push(2);
}

static void reuse_growth(void)
{
    push(0);
    push(1);
    push(2);
    push(3);
    push(4);
}

static void grow(void)
{
    push(0);
    push(1);
    push(2);
}

/* The Dekker of the header comment: S1 S2 against P1 P2. */
static void submitter(void)
{
    push(0);
    if (atom_load(&parked, seq_cst) == 1)
        check_event_post(&bell);
}

static void submitter_many(void)
{
    void *one = item_make(0);

    CHECK_THAT(fifo_push_many(&fifo, &one, 1));
    if (atom_load(&parked, seq_cst) == 1)
        check_event_post(&bell);
}

static void sleeper(void)
{
    atom_store(&parked, 1, seq_cst);
    if (fifo_is_empty(&fifo))
        check_event_wait(&bell);
    CHECK_THAT(pop() == 0);
}

static const struct check_model models[] = {
    { .name = "fifo-two-items",
      .setup = setup_2,
      .threads = { push2_pop, thief_one, thief_half },
      .finish = finish },
    { .name = "fifo-many",
      .setup = setup_2,
      .threads = { push_many_pop, thief_half, thief_one },
      .finish = finish },
    { .name = "fifo-quiet",
      .setup = setup_1,
      .threads = { push_quiet_pop, thief_twice },
      .finish = finish,
      .bound = 3 },
    { .name = "fifo-growth",
      .setup = setup_1,
      .threads = { grow, thief_half, thief_one },
      .finish = finish },
    { .name = "fifo-reuse",
      .setup = setup_2,
      .threads = { reuse, thief_half, thief_one },
      .finish = finish },
    { .name = "fifo-reuse-growth",
      .setup = setup_2,
      .threads = { reuse_growth, thief_half },
      .finish = finish },
    { .name = "fifo-park",
      .setup = setup_1,
      .threads = { submitter, sleeper },
      .finish = finish,
      .bound = -1 },
    { .name = "fifo-park-many",
      .setup = setup_1,
      .threads = { submitter_many, sleeper },
      .finish = finish,
      .bound = -1 },
};

CHECK_MAIN(models)
