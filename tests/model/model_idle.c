/* SPDX-License-Identifier: MIT */
/*
 * Model of sched/idle.h: workers that run out of work, producers, bells and a thief of completion
 * queues, arranged as in sched/park.c, sched/ready.c and sched/loop.c. Claims: work that is pushed
 * while the last searcher parks is found (no lost wake-up: all work is done, whatever happens);
 * a bell is not eaten while its worker sleeps; `searching` and `parked` come back to their truth.
 */
#include "atomic/spin.h"
#include "sched/idle.h"

#define WORKERS 2

static struct idle idle;
static JD_ATOMIC(uint64_t) queue; /* items waiting, as a seq_cst published queue shows them */
static JD_ATOMIC(uint32_t) todo;  /* items not yet run; 0 stops the workers */

static struct port {
    struct spin lock;        /* of the completion queue */
    struct check_event bell; /* the eventfd */
    bool searching;          /* its worker's own */
} ports[WORKERS];

static void setup_items(uint32_t items, uint64_t queued)
{
    idle_init(&idle);
    atom_init(&queue, queued);
    atom_init(&todo, items);
    for (int i = 0; i < WORKERS; i++) {
        spin_init(&ports[i].lock);
        check_event_init(&ports[i].bell);
        ports[i].searching = false;
    }
}

static void setup_one_item(void)
{
    setup_items(1, 0);
}

static void setup_two_items(void)
{
    setup_items(2, 0);
}

static void setup_two_queued(void)
{
    setup_items(2, 2);
}

static void wake_one(void)
{
    int index = idle_claim(&idle);

    if (index >= 0)
        check_event_post(&ports[index].bell);
}

/* P1, P2. */
static void push(void)
{
    atom_fetch_add(&queue, 1, seq_cst);
    if (idle_wants_wake(&idle))
        wake_one();
}

static bool pop(void)
{
    uint64_t n = atom_load(&queue, acquire);

    while (n > 0) {
        if (atom_cas(&queue, &n, n - 1, acq_rel, acquire))
            return true;
    }
    return false;
}

/* The runtime's stop: the last item rings for everybody. */
static void run_item(void)
{
    if (atom_fetch_sub(&todo, 1, seq_cst) == 1) {
        for (int i = 0; i < WORKERS; i++)
            check_event_post(&ports[i].bell);
    }
}

static bool has_work(void)
{
    return atom_load(&todo, seq_cst) == 0 || atom_load(&queue, seq_cst) != 0;
}

static void park(unsigned self)
{
    struct port *port = &ports[self];
    bool work;

    if (!spin_try_lock(&port->lock)) { /* a thief reaps here: look again when it is done */
        spin_hint();
        return;
    }
    idle_park_announce(&idle, self, port->searching); /* W1 */
    port->searching = false;
    work = has_work(); /* W2 */
    if (!work)
        check_event_wait(&port->bell);
    spin_unlock(&port->lock);
    port->searching = !idle_park_retract(&idle, self);
    if (work && !port->searching)
        port->searching = idle_search_begin(&idle, WORKERS);
}

static void found(struct port *port)
{
    if (!port->searching)
        return;
    port->searching = false;
    if (idle_search_found(&idle) && idle_wants_wake(&idle))
        wake_one();
}

static void worker(void)
{
    unsigned self = check_self();
    struct port *port = &ports[self];

    while (atom_load(&todo, acquire) != 0) {
        if (pop()) {
            found(port);
            run_item();
            continue;
        }
        if (!port->searching) {
            port->searching = idle_search_begin(&idle, 1);
            if (port->searching)
                continue; /* one more look as a searcher */
        }
        park(self);
    }
    if (port->searching) {
        port->searching = false;
        (void)idle_search_found(&idle);
    }
}

static void producer(void)
{
    push();
}

static void producer_of_two(void)
{
    push();
    push();
}

/* Reaps worker 0's completions when it does not hold its queue: swallows a bell that rang. */
static void thief(void)
{
    if (!spin_try_lock(&ports[0].lock))
        return;
    if (check_peek(&ports[0].bell.count) != 0)
        check_event_wait(&ports[0].bell);
    spin_unlock(&ports[0].lock);
}

/* A worker that found the other one searching (maybe an old value) parks without a search. */
static void parker(void)
{
    while (!pop())
        park(0);
    found(&ports[0]);
    run_item();
}

static void finish_parker(void)
{
    CHECK_THAT(check_peek(&queue) == 0 && check_peek(&idle.searching) == 0);
    CHECK_THAT(check_peek(&idle.parked) == 0);
}

/* sched_post(): work for this worker only. */
static void poster(void)
{
    atom_fetch_add(&queue, 1, seq_cst);
    if (idle_claim_worker(&idle, 0))
        check_event_post(&ports[0].bell);
}

static bool queue_is_empty(void *arg)
{
    (void)arg;
    return check_peek(&queue) == 0;
}

/* Work conservation: whoever runs an item needs the other one to be taken, too. */
static void conserving_worker(void)
{
    unsigned self = check_self();
    struct port *port = &ports[self];

    while (!pop()) {
        if (!port->searching && (port->searching = idle_search_begin(&idle, 1)))
            continue;
        park(self);
    }
    found(port);
    check_block_until(queue_is_empty, NULL);
}

static void finish(void)
{
    CHECK_THAT(check_peek(&queue) == 0 && check_peek(&todo) == 0);
    CHECK_THAT(check_peek(&idle.searching) == 0);
    CHECK_THAT(check_peek(&idle.parked) == 0);
    CHECK_THAT(check_peek(&idle.bits[0]) == 0);
}

static const struct check_model models[] = {
    { .name = "idle-one-worker",
      .setup = setup_one_item,
      .threads = { worker, producer },
      .finish = finish,
      .bound = 3 },
    { .name = "idle-last-searcher",
      .setup = setup_one_item,
      .threads = { worker, worker, producer },
      .finish = finish },
    { .name = "idle-two-items",
      .setup = setup_two_items,
      .threads = { worker, worker, producer_of_two },
      .finish = finish },
    { .name = "idle-work-left",
      .setup = setup_two_queued,
      .threads = { worker, worker },
      .finish = finish },
    { .name = "idle-no-searcher",
      .setup = setup_one_item,
      .threads = { parker, producer },
      .finish = finish_parker,
      .bound = 3 },
    { .name = "idle-own-work",
      .setup = setup_one_item,
      .threads = { parker, poster },
      .finish = finish_parker,
      .bound = 3 },
    { .name = "idle-conserve",
      .setup = setup_two_items,
      .threads = { conserving_worker, conserving_worker, producer_of_two },
      .max = 200000 },
    { .name = "idle-thief",
      .setup = setup_two_items,
      .threads = { worker, producer_of_two, thief },
      .finish = finish },
};

CHECK_MAIN(models)
