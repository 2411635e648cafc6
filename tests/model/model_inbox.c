/* SPDX-License-Identifier: MIT */
/*
 * Model of queue/inbox.h: producers and the owner. Claims: every node arrives once, in the order
 * of its producer, with all that was written before; an owner that parks does not sleep on a full
 * inbox; "was empty" is said to exactly the producer that must ring.
 */
#include "queue/inbox.h"

#include "item.h"

struct letter {
    struct qnode node;
    int producer, number;
    bool taken;
};

static struct inbox inbox;
static struct letter letters[2][2];
static struct check_event bell;
static JD_ATOMIC(uint32_t) parked;

static void setup(void)
{
    inbox_init(&inbox);
    atom_init(&parked, 0);
    check_event_init(&bell);
    for (int p = 0; p < 2; p++) {
        for (int i = 0; i < 2; i++) {
            atom_init(&letters[p][i].node.next, (struct qnode *)0);
            letters[p][i].taken = false;
        }
    }
}

static bool put(int producer, int number)
{
    struct letter *l = &letters[producer][number];

    plain_write(l->producer, producer);
    plain_write(l->number, number);
    return inbox_put(&inbox, &l->node);
}

/* Takes what is there; next[p] is the number that producer p's next letter must have. */
static unsigned take(int *next)
{
    struct qlist out;
    struct qnode *node;
    unsigned count = 0, claimed;

    qlist_init(&out);
    claimed = inbox_take_all(&inbox, &out);
    while ((node = qlist_pop(&out))) {
        struct letter *l = JD_CONTAINER_OF(node, struct letter, node);

        CHECK_THAT(!plain_read(l->taken));
        CHECK_THAT(plain_read(l->number) == next[plain_read(l->producer)]++);
        plain_write(l->taken, true);
        count++;
    }
    CHECK_THAT(count == claimed);
    return count;
}

static void producer(void)
{
    int self = (int)check_self();

    put(self, 0);
    put(self, 1);
}

static void owner(void)
{
    int next[2] = { 0, 0 };

    take(next);
    take(next);
}

static void finish(void)
{
    struct qlist rest;

    qlist_init(&rest);
    inbox_take_all(&inbox, &rest);
    for (struct qnode *node; (node = qlist_pop(&rest));)
        JD_CONTAINER_OF(node, struct letter, node)->taken = true;
    for (int p = 0; p < 2; p++)
        CHECK_THAT(letters[p][0].taken && letters[p][1].taken);
}

/* S1 S2: who finds the inbox empty rings, if the owner is parked. */
static void ringing_producer(void)
{
    if (put((int)check_self(), 0) && atom_load(&parked, seq_cst) == 1)
        check_event_post(&bell);
}

/* P1 P2. */
static void sleeping_owner(void)
{
    int next[2] = { 0, 0 };
    unsigned count = 0;

    while (count < 2) { /* bounded by the letters */
        atom_store(&parked, 1, seq_cst);
        if (inbox_is_empty(&inbox))
            check_event_wait(&bell);
        atom_store(&parked, 0, relaxed);
        count += take(next);
    }
}

static void finish_park(void)
{
    CHECK_THAT(letters[0][0].taken && letters[1][0].taken);
}

static void one_ringing_producer(void)
{
    ringing_producer();
}

static void owner_of_one(void)
{
    int next[2] = { 0, 0 };

    atom_store(&parked, 1, seq_cst);
    if (inbox_is_empty(&inbox))
        check_event_wait(&bell);
    CHECK_THAT(take(next) == 1);
}

static const struct check_model models[] = {
    { .name = "inbox-order",
      .setup = setup,
      .threads = { producer, producer, owner },
      .finish = finish },
    { .name = "inbox-park",
      .setup = setup,
      .threads = { ringing_producer, ringing_producer, sleeping_owner },
      .finish = finish_park },
    { .name = "inbox-park-one",
      .setup = setup,
      .threads = { one_ringing_producer, owner_of_one },
      .bound = -1 },
};

CHECK_MAIN(models)
