/* SPDX-License-Identifier: MIT */
/* Inbox and injector: order, emptiness, sharding, conservation under several producers. */
#include "jd_test.h"

#include <pthread.h>

#include "queue/inbox.h"
#include "queue/injector.h"

struct entry {
    struct qnode node;
    unsigned producer;
    unsigned number;
};

static struct entry *pop_entry(struct qlist *l)
{
    struct qnode *node = qlist_pop(l);

    return node ? JD_CONTAINER_OF(node, struct entry, node) : NULL;
}

Test(inbox, take_gives_all_in_put_order_and_put_tells_the_first)
{
    struct inbox in;
    struct qlist l;
    struct entry e[6];

    inbox_init(&in);
    qlist_init(&l);
    cr_assert(inbox_is_empty(&in));
    cr_assert_eq(inbox_take_all(&in, &l), 0);
    cr_assert(inbox_put(&in, &e[0].node), "the first into an empty inbox");
    cr_assert_not(inbox_put(&in, &e[1].node));
    cr_assert_not(inbox_put(&in, &e[2].node));
    cr_assert_not(inbox_is_empty(&in));
    cr_assert_eq(inbox_take_all(&in, &l), 3);
    cr_assert(inbox_is_empty(&in));
    cr_assert(inbox_put(&in, &e[3].node), "empty again after the take");
    cr_assert_eq(inbox_take_all(&in, &l), 1, "appended behind what the list held");
    for (unsigned i = 0; i < 4; i++)
        cr_assert_eq(pop_entry(&l), &e[i]);
    cr_assert_null(pop_entry(&l));
}

Test(injector, one_shard_up_to_16_workers_then_one_per_8)
{
    cr_assert_eq(injector_shards_for(1), 1);
    cr_assert_eq(injector_shards_for(16), 1);
    cr_assert_eq(injector_shards_for(17), 2);
    cr_assert_eq(injector_shards_for(128), 16);
}

Test(injector, pops_batches_in_order_and_looks_at_every_shard)
{
    static struct injector_shard shards[3];
    struct injector inj;
    struct qlist l;
    struct entry e[7];

    injector_init(&inj, shards, 3);
    qlist_init(&l);
    cr_assert(injector_is_empty(&inj));
    cr_assert_eq(injector_pop_batch(&inj, 7, &l, 10), 0);
    for (unsigned i = 0; i < 4; i++)
        injector_push(&inj, 1, &e[i].node);
    for (unsigned i = 4; i < 6; i++)
        atom_init(&e[i].node.next, &e[i + 1].node);
    injector_push_chain(&inj, 2, &e[4].node, &e[6].node, 3);
    cr_assert_eq(injector_len(&inj), 7);
    cr_assert_eq(injector_pop_batch(&inj, 1, &l, 2), 2, "at most max");
    cr_assert_eq(injector_pop_batch(&inj, 3, &l, 10), 5, "shard 0 is empty, 1 and 2 are not");
    for (unsigned i = 0; i < 7; i++)
        cr_assert_eq(pop_entry(&l), &e[i], "place %u", i);
    cr_assert(injector_is_empty(&inj));
    cr_assert_eq(injector_len(&inj), 0);
}

#define PRODUCERS 3
#define ENTRIES 40000

static struct entry entries[PRODUCERS][ENTRIES];
static struct inbox shared_inbox;
static struct injector shared_injector;
static struct injector_shard shared_shards[2];
static bool use_injector;
static unsigned long per_producer;
static JD_ATOMIC(uint32_t) empties; /* puts that found the inbox empty */

static void *producer(void *arg)
{
    struct entry *mine = arg;

    for (unsigned i = 0; i < per_producer; i++) {
        mine[i].number = i;
        mine[i].producer = (unsigned)((mine - entries[0]) / ENTRIES);
        if (use_injector)
            injector_push(&shared_injector, mine[i].producer, &mine[i].node);
        else if (inbox_put(&shared_inbox, &mine[i].node))
            atom_fetch_add(&empties, 1, relaxed); /* Relaxed: read after the join. */
    }
    return NULL;
}

/* Returns how many consumer's takes found something. */
static unsigned consume_all(void)
{
    unsigned next[PRODUCERS] = { 0 }, takes = 0;
    unsigned long got = 0;
    struct qlist l;
    struct entry *e;

    qlist_init(&l);
    while (got < PRODUCERS * per_producer) {
        unsigned n = use_injector ? injector_pop_batch(&shared_injector, 0, &l, 64)
                                  : inbox_take_all(&shared_inbox, &l);

        takes += n > 0;
        got += n;
        while ((e = pop_entry(&l))) {
            cr_assert_eq(e->number, next[e->producer], "producer %u out of order", e->producer);
            next[e->producer]++;
            n--;
        }
        cr_assert_eq(n, 0, "the count is not the list's length");
    }
    return takes;
}

static unsigned run_producers(void)
{
    pthread_t threads[PRODUCERS];

    per_producer = jd_test_rounds(ENTRIES);
    for (unsigned i = 0; i < PRODUCERS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, producer, entries[i]), 0);
    unsigned takes = consume_all();

    for (unsigned i = 0; i < PRODUCERS; i++)
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
    return takes;
}

/* Each successful take is announced by exactly one put that says "was empty": no lost wake. */
Test(inbox, producers_keep_their_order_and_each_take_was_announced_once, .timeout = 60)
{
    inbox_init(&shared_inbox);
    unsigned takes = run_producers();

    cr_assert_eq(takes, atom_load(&empties, relaxed));
    cr_assert(inbox_is_empty(&shared_inbox));
}

Test(injector, producers_keep_their_order, .timeout = 60)
{
    use_injector = true;
    injector_init(&shared_injector, shared_shards, 2);
    run_producers();
    cr_assert(injector_is_empty(&shared_injector));
}
