/* SPDX-License-Identifier: MIT */
/*
 * Model of queue/deque.h: owner against one or two thieves, and the forcer. Claims: every item is
 * taken once, in LIFO order by the owner and FIFO order by a thief, with all that was written before
 * its push; rings grow and are reused under thieves; a steal that is not empty and not lost takes;
 * private items that the forcer shows are taken once, too.
 */
#include "queue/deque.h"

#include "item.h"

static struct deque deque;

static void setup_log2(unsigned capacity_log2)
{
    items_reset();
    CHECK_THAT(deque_init(&deque, capacity_log2, &item_memory, /* may_force= */ false));
}

/* With a private end. */
static void setup_private(void)
{
    items_reset();
    CHECK_THAT(deque_init(&deque, 1, &item_memory, /* may_force= */ true));
}

static void setup_1(void)
{
    setup_log2(0);
}

static void setup_2(void)
{
    setup_log2(1);
}

static void setup_4(void)
{
    setup_log2(2);
}

static void push(int index)
{
    CHECK_THAT(deque_push(&deque, item_make(index)));
}

static bool take(void)
{
    void *item = deque_take(&deque);

    if (item)
        item_consume(item);
    return item != NULL;
}

static void take_all(void)
{
    while (take()) { /* bounded by the items */
    }
}

static int steal(void)
{
    bool lost;
    void *item = deque_steal(&deque, &lost);

    CHECK_THAT(!(item && lost));
    return item ? item_consume(item) : -1;
}

/* As the watchdog does. */
static void force(void)
{
    if (!deque_lease(&deque))
        return;
    check_heavy_fence();
    deque_force(&deque);
}

static void finish(void)
{
    take_all();
    CHECK_THAT(deque_len(&deque) == 0);
    items_finish();
    deque_fini(&deque);
}

static void thief(void)
{
    steal();
}

static void ask_and_steal(void)
{
    (void)deque_ask(&deque);
    steal();
}

static void force_and_steal(void)
{
    force();
    steal();
}

static void force_twice(void)
{
    force();
    force();
}

/* What one thief gets is in the order of the pushes. */
static void thief_twice(void)
{
    int first = steal(), second = steal();

    CHECK_THAT(second < 0 || second > first);
}

static void push_take(void)
{
    push(0);
    take();
}

static void push2_take2(void)
{
    push(0);
    push(1);
    take();
    take();
}

/* Index b is pushed, taken and pushed again: a thief must not mix the two (I3). */
static void push_take_push(void)
{
    push(0);
    take();
    push(1);
    take();
}

/* Two pushes, one take, one more at the index just left. */
static void push2_take_push(void)
{
    push(0);
    push(1);
    take();
    push(2);
}

/* From one slot to two to four, with a take in between. */
static void grow(void)
{
    push(0);
    push(1);
    push(2);
    take();
}

/* Two slots, used again as thieves free them; grows when they do not. */
static void reuse(void)
{
    push(0);
    push(1);
    push(2);
    push(3);
}

/* Promotion: the owner empties its deque by takes, thieves interfering. */
static void promote(void)
{
    push(0);
    push(1);
    push(2);
    take_all();
}

/* The owner shows all, as before a suspension. */
static void publish(void)
{
    push(0);
    push(1);
    deque_publish(&deque);
    take();
}

/* Private, taken, and private again at the same index, under a lease from before. */
static void push_take_push_take(void)
{
    push(0);
    take();
    push(1);
    push(2);
    take();
    take();
}

static const struct check_model models[] = {
    { .name = "deque-asked",
      .setup = setup_private,
      .threads = { push2_take2, ask_and_steal, thief },
      .finish = finish },
    { .name = "deque-forced",
      .setup = setup_private,
      .threads = { push_take, force_and_steal, thief },
      .finish = finish,
      .bound = 3 },
    { .name = "deque-forced-two",
      .setup = setup_private,
      .threads = { push2_take2, force, thief },
      .finish = finish },
    { .name = "deque-forced-same-index",
      .setup = setup_private,
      .threads = { push_take_push_take, force_twice, thief_twice },
      .finish = finish },
    { .name = "deque-forced-and-asked",
      .setup = setup_private,
      .threads = { push2_take_push, force_and_steal, ask_and_steal },
      .finish = finish },
    { .name = "deque-published",
      .setup = setup_private,
      .threads = { publish, force_and_steal, thief },
      .finish = finish },
    { .name = "deque-one-item",
      .setup = setup_1,
      .threads = { push_take, thief, thief },
      .finish = finish,
      .bound = 4 },
    { .name = "deque-two-items",
      .setup = setup_2,
      .threads = { push2_take2, thief, thief },
      .finish = finish },
    { .name = "deque-same-index",
      .setup = setup_1,
      .threads = { push_take_push, thief_twice },
      .finish = finish,
      .bound = 3 },
    { .name = "deque-same-index-2",
      .setup = setup_2,
      .threads = { push2_take_push, thief, thief },
      .finish = finish },
    { .name = "deque-growth",
      .setup = setup_1,
      .threads = { grow, thief_twice, thief },
      .finish = finish },
    { .name = "deque-reuse",
      .setup = setup_2,
      .threads = { reuse, thief_twice },
      .finish = finish,
      .bound = 3 },
    { .name = "deque-promotion",
      .setup = setup_4,
      .threads = { promote, thief_twice, thief },
      .finish = finish },
};

CHECK_MAIN(models)
