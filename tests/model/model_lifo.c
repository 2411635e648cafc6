/* SPDX-License-Identifier: MIT */
/*
 * Model of queue/lifo.h: the owner puts and takes, thieves take (sched/ready.c, sched/find.c).
 * Claims: every item is run once, by whoever took it or as the one that was displaced; whoever runs
 * it sees all that was written before its put.
 */
#include "queue/lifo.h"

#include "item.h"

static struct lifo lifo;

static void setup(void)
{
    items_reset();
    lifo_init(&lifo);
}

/* ready_on_worker(): what is displaced goes to a queue, here it is run at once. */
static void put(int index)
{
    void *displaced = lifo_put(&lifo, item_make(index));

    if (displaced)
        item_consume(displaced);
}

static void take(void)
{
    void *item = lifo_take(&lifo);

    if (item)
        item_consume(item);
}

static void owner(void)
{
    put(0);
    put(1);
    take();
    put(2);
    take();
    put(3);
}

static void thief(void)
{
    take();
    take();
}

/* The look before the take is a hint only: an item that it sees may be gone. */
static void owner_once(void)
{
    put(0);
    if (!lifo_is_empty(&lifo))
        take();
}

static void finish(void)
{
    take();
    CHECK_THAT(lifo_is_empty(&lifo));
    items_finish();
}

static const struct check_model models[] = {
    { .name = "lifo-thief",
      .setup = setup,
      .threads = { owner, thief },
      .finish = finish,
      .bound = 4 },
    { .name = "lifo-two-thieves",
      .setup = setup,
      .threads = { owner, thief, thief },
      .finish = finish },
    { .name = "lifo-once",
      .setup = setup,
      .threads = { owner_once, thief },
      .finish = finish,
      .bound = -1 },
};

CHECK_MAIN(models)
