/* SPDX-License-Identifier: MIT */
/*
 * Model of queue/loop_queue.h with queue/inbox.h: one worker's loop (sched/loop.c, sched/poll.c),
 * strangers that post to it (sched/ready.c, sched_post), and the park between them. Claims: every
 * item runs once and sees what was written before its post; items of one producer run in order; a
 * tick runs what was there when it began; the worker never sleeps on an item (only the producer
 * that found the inbox empty rings).
 */
#include "queue/inbox.h"
#include "queue/loop_queue.h"

#include "check.h"

#define PRODUCERS 2
#define ITEMS 2 /* per producer */
#define OWN PRODUCERS

struct item {
    struct loop_item loop;
    int made;
    int ran;
};

static struct inbox inbox;
static struct loop_queue queue;
static struct item items[PRODUCERS + 1][ITEMS];
static JD_ATOMIC(uint32_t) parked;
static struct check_event bell;
static int ran;
static unsigned expected;

static void setup_for(unsigned producers)
{
    inbox_init(&inbox);
    loop_queue_init(&queue);
    atom_init(&parked, 0);
    check_event_init(&bell);
    for (int i = 0; i <= PRODUCERS; i++)
        for (int k = 0; k < ITEMS; k++)
            items[i][k] = (struct item){ 0 };
    ran = 0;
    expected = producers * ITEMS;
}

static void setup_1(void)
{
    setup_for(1);
}

static void setup_2(void)
{
    setup_for(2);
}

/* sched_post() from elsewhere, with idle_claim_worker() as one word. */
static void post(struct item *item)
{
    plain_write(item->made, 1);
    if (inbox_put(&inbox, &item->loop.node) && atom_exchange(&parked, 0, seq_cst))
        check_event_post(&bell);
}

static void producer(void)
{
    unsigned self = check_self() - 1;

    for (int k = 0; k < ITEMS; k++)
        post(&items[self][k]);
}

/* sched_inbox_drain() */
static void drain(void)
{
    struct qlist list;
    struct qnode *node;

    qlist_init(&list);
    if (!inbox_take_all(&inbox, &list))
        return;
    while ((node = qlist_pop(&list)))
        loop_queue_push(&queue, JD_CONTAINER_OF(node, struct loop_item, node));
}

static void run_item(struct item *item)
{
    unsigned from = (unsigned)((item - &items[0][0]) / ITEMS);
    unsigned index = (unsigned)((item - &items[0][0]) % ITEMS);

    CHECK_THAT(plain_read(item->made) == 1);
    CHECK_THAT(!item->ran);
    CHECK_THAT(index == 0 || items[from][index - 1].ran);
    item->ran = 1;
    ran++;
    if (from == 0 && index == 0) { /* a callback that schedules another one */
        items[OWN][0].made = 1;
        loop_queue_push(&queue, &items[OWN][0].loop);
        expected++;
    }
}

static void tick(void)
{
    uint64_t left = loop_queue_begin_tick(&queue);
    struct loop_item *item;

    while ((item = loop_queue_next(&queue))) {
        CHECK_THAT(left-- > 0); /* no more than there were */
        run_item(JD_CONTAINER_OF(item, struct item, loop));
    }
    CHECK_THAT(left == 0 && loop_queue_tick_is_over(&queue));
}

static void park(void)
{
    atom_store(&parked, 1, seq_cst); /* P1 */
    if (!inbox_is_empty(&inbox)) {   /* P2 */
        if (!atom_exchange(&parked, 0, seq_cst))
            check_event_wait(&bell); /* it rings in a moment: not for the next park */
        return;
    }
    check_event_wait(&bell);
}

static void owner(void)
{
    while (ran < (int)expected) {
        drain();
        if (loop_queue_is_empty(&queue))
            park();
        else
            tick();
    }
}

static void finish(void)
{
    CHECK_THAT(loop_queue_is_empty(&queue) && loop_queue_len(&queue) == 0);
    CHECK_THAT(inbox_is_empty(&inbox));
    CHECK_THAT(ran == (int)expected);
}

static const struct check_model models[] = {
    { .name = "loop-one-producer",
      .setup = setup_1,
      .threads = { owner, producer },
      .finish = finish,
      .bound = 4 },
    { .name = "loop-two-producers",
      .setup = setup_2,
      .threads = { owner, producer, producer },
      .finish = finish,
      .bound = 1,
      .max = 200000 },
};

CHECK_MAIN(models)
