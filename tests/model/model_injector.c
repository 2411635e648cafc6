/* SPDX-License-Identifier: MIT */
/*
 * Model of queue/injector.h (and queue/qlist.h under a lock): plain threads push, workers pop.
 * Claims: every node is popped once, FIFO per shard; len counts the list; a worker that parks
 * does not miss a push, in no shard.
 */
#include "queue/injector.h"

#include "item.h"

#define SHARDS 2

struct parcel {
    struct qnode node;
    struct item *item;
};

static struct injector injector;
static struct injector_shard shards[SHARDS];
static struct parcel parcels[4];
static struct check_event bell;
static JD_ATOMIC(uint32_t) parked;

static void setup_shards(unsigned count)
{
    items_reset();
    injector_init(&injector, shards, count);
    atom_init(&parked, 0);
    check_event_init(&bell);
    for (int i = 0; i < 4; i++)
        atom_init(&parcels[i].node.next, (struct qnode *)0);
}

static void setup_one(void)
{
    setup_shards(1);
}

static void setup_two(void)
{
    setup_shards(2);
}

static struct parcel *parcel_make(int index)
{
    plain_write(parcels[index].item, item_make(index));
    return &parcels[index];
}

static void push(unsigned hint, int index)
{
    injector_push(&injector, hint, &parcel_make(index)->node);
}

static unsigned pop(unsigned hint, unsigned max)
{
    struct qlist out;
    struct qnode *node;
    unsigned claimed, count = 0;
    int last = -1;

    qlist_init(&out);
    claimed = injector_pop_batch(&injector, hint, &out, max);
    while ((node = qlist_pop(&out))) {
        int index = item_consume(plain_read(JD_CONTAINER_OF(node, struct parcel, node)->item));

        CHECK_THAT(injector.shard_count > 1 || index > last || last >= 2);
        last = index;
        count++;
    }
    CHECK_THAT(count == claimed && count <= max);
    return count;
}

static void pusher_0(void)
{
    push(0, 0);
    push(0, 1);
}

static void pusher_1(void)
{
    struct parcel *a = parcel_make(2), *b = parcel_make(3);

    atom_store(&a->node.next, &b->node, relaxed);
    injector_push_chain(&injector, 1, &a->node, &b->node, 2);
}

static void popper(void)
{
    pop(check_self(), 2);
}

static void finish(void)
{
    while (pop(0, 2) > 0) { /* bounded by the parcels */
    }
    CHECK_THAT(injector_len(&injector) == 0 && injector_is_empty(&injector));
    items_finish();
}

static void submitter(void)
{
    push(check_self(), (int)check_self());
    if (atom_load(&parked, seq_cst) == 1)
        check_event_post(&bell);
}

static void sleeper(void)
{
    atom_store(&parked, 1, seq_cst);
    if (injector_is_empty(&injector))
        check_event_wait(&bell);
    CHECK_THAT(pop(0, 1) == 1);
}

static const struct check_model models[] = {
    { .name = "injector-one-shard",
      .setup = setup_one,
      .threads = { pusher_0, pusher_1, popper },
      .finish = finish },
    { .name = "injector-two-poppers",
      .setup = setup_one,
      .threads = { pusher_1, popper, popper },
      .finish = finish },
    { .name = "injector-park",
      .setup = setup_one,
      .threads = { submitter, sleeper },
      .finish = finish,
      .bound = -1 },
    { .name = "injector-park-shards",
      .setup = setup_two,
      .threads = { submitter, submitter, sleeper },
      .finish = finish },
};

CHECK_MAIN(models)
