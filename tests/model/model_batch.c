/* SPDX-License-Identifier: MIT */
/*
 * Model of group/batch_slot.c and batch_ask.c: calls that end on any worker, the consumer that collects their slots
 * and sleeps when there are none, a cancel of its wait. Claims: each slot is delivered once, with
 * its result; the consumer never sleeps on a done slot; a push ends the wait that was announced
 * and no other; when the batch has gone nobody touches it, also not who grants a slot's own wait; what is asked of
 * it is done, however many ask.
 *
 * The .c file is included because it is the protocol under test; what it calls is supplied here.
 */
#include "group/batch_ask.c"
#include "group/batch_slot.c"

#include "check.h"

#define CALLS 2

static struct jd_task task;
static struct batch *batch;
static struct batch_slot *slots[CALLS];
static struct check_event ready;
static struct check_event ended[CALLS]; /* the group's: the last access of a call */
static JD_ATOMIC(uint32_t) armed;
static int delivered[CALLS];
static bool granting; /* slot 0 comes by a grant: its pusher is no member of the group */
static JD_ATOMIC(uint32_t) references;

void *mem_alloc(size_t bytes)
{
    return check_alloc(bytes);
}

void mem_free(void *ptr, size_t bytes)
{
    (void)bytes;
    check_free(ptr);
}

struct worker *worker_current(void)
{
    return NULL;
}

void sched_push(struct worker *w, struct jd_task *t)
{
    (void)w;
    CHECK_THAT(t == &task);
    check_event_post(&ready);
}

void task_ready(struct jd_task *t)
{
    CHECK_THAT(t == &task && granting);
    check_event_post(&ready);
}

void future_ref(struct jd_future *f)
{
    CHECK_THAT(f == &task.future);
    atom_fetch_add(&references, 1, relaxed);
}

void future_unref(struct jd_future *f)
{
    CHECK_THAT(f == &task.future);
    atom_fetch_sub(&references, 1, relaxed);
}

int wait_open_at(struct wait *w, struct jd_task *t, unsigned kind, const struct wait_site *site)
{
    (void)site;
    w->task = t;
    w->target = &t->target;
    w->seq = word_wait_begin(&w->target->word, (kind & WAIT_CANCELLABLE) != 0);
    return 0;
}

unsigned wait_sleep(struct wait *w, int64_t deadline)
{
    struct task_word *word = &w->target->word;

    (void)deadline;
    atom_store(&armed, w->seq, release);
    if (word_park(word))
        check_event_wait(&ready);
    word_resume(word);
    return word_cause(word);
}

void wait_close(struct wait *w)
{
    (void)w;
}

int wait_error(const struct wait *w, unsigned cause)
{
    (void)w, (void)cause;
    return -ECANCELED;
}

static void setup_calls(bool with_grant)
{
    granting = with_grant;
    atom_init(&references, 0);
    atom_init(&task.target.word.bits, (uint64_t)WORD_RUNNING);
    task.flags = 0;
    check_event_init(&ready);
    atom_init(&armed, 0);
    batch = check_alloc(sizeof(*batch));
    batch->task = &task;
    batch->is_plain = true;
    batch->poke.batch = batch;
    batch->poke.state = BATCH_POKE;
    batch->limit = CALLS;
    batch->o.flags = 0;
    atom_init(&batch->counts.limit, CALLS);
    batch->drained = false;
    atom_init(&batch->asked_limit, 0);
    atom_init(&batch->asked_to_drain, 0);
    atom_init(&batch->is_poked, 0);
    batch_list_init(&batch->ready);
    atom_init(&batch->done, 0);
    atom_init(&batch->running, 0);
    atom_init(&batch->running_max, 0);
    for (int i = 0; i < CALLS; i++) {
        check_event_init(&ended[i]);
        delivered[i] = 0;
        slots[i] = batch_slot_take(batch);
        slots[i]->item = &delivered[i];
        slots[i]->state = BATCH_FLYING;
        batch_place_take(batch, slots[i]);
    }
}

static void setup(void)
{
    setup_calls(false);
}

static void setup_grant(void)
{
    setup_calls(true);
}

static void setup_ask(void)
{
    setup_calls(true);
    for (int i = 0; i < CALLS; i++) {
        batch_place_put(batch, slots[i]);
        batch_slot_put(batch, slots[i]);
        delivered[i] = 1;
    }
    batch_slots_free(batch);
}

/* batch_wait.c: granted() */
static void granter(void)
{
    slots[0]->result = (jd_result){ .ptr = slots[0]->item };
    batch_push_from_anywhere(batch, slots[0]);
}

static void caller(void)
{
    unsigned self = check_self() - 1;

    slots[self]->result = (jd_result){ .ptr = slots[self]->item }; /* batch_attempt() */
    batch_push(batch, slots[self]);
    check_event_post(&ended[self]);
}

/* batch_outcome.c: batch_settle_one() */
static void deliver_all(void)
{
    struct batch_slot *slot;

    while ((slot = batch_list_pop(&batch->ready))) {
        CHECK_THAT(slot->result.ptr == slot->item && *(int *)slot->item == 0);
        *(int *)slot->item = 1;
        batch_place_put(batch, slot);
        batch_slot_put(batch, slot);
    }
}

static void consumer(void)
{
    bool cancellable = true;

    while (batch->live > 0) {
        batch_collect(batch);
        if (!batch->ready.first &&
            batch_sleep(batch, /* wants_permit= */ false, cancellable, CLOCK_FOREVER))
            cancellable = false; /* abandon_all() */
        deliver_all();
    }
    for (int i = granting; i < CALLS; i++)
        check_event_wait(&ended[i]); /* jd_group_close() */
    batch_slots_free(batch);
    check_free(batch);
}

static void ask_limit(void)
{
    batch_ask_limit(batch, 7);
    check_event_post(&ended[0]);
}

static void ask_drain(void)
{
    batch_ask_drain(batch);
    check_event_post(&ended[1]);
}

/* No calls: it sleeps until all that is asked for is done. */
static void obedient_consumer(void)
{
    struct batch_slot *slot;

    while (batch->limit != 7 || !batch->drained) {
        batch_collect(batch);
        if (!batch->ready.first)
            (void)batch_sleep(batch, /* wants_permit= */ false, /* cancellable= */ false,
                              CLOCK_FOREVER);
        while ((slot = batch_list_pop(&batch->ready))) {
            CHECK_THAT(slot == &batch->poke);
            batch_obey(batch);
        }
    }
    for (int i = 0; i < CALLS; i++)
        check_event_wait(&ended[i]); /* jd_batch_close() comes after them */
    check_free(batch);
}

static void canceller(void)
{
    uint32_t seq = atom_load(&armed, acquire);

    if (seq && word_wake(&task.target.word, seq, CAUSE_CANCELLED) == WAKE_QUEUE)
        check_event_post(&ready);
}

static void finish(void)
{
    for (int i = 0; i < CALLS; i++)
        CHECK_THAT(delivered[i] == 1);
    CHECK_THAT(atom_load(&references, relaxed) == 0);
}

static const struct check_model models[] = {
    { .name = "batch-two-calls",
      .setup = setup,
      .threads = { consumer, caller, caller },
      .finish = finish,
      .max = 100000 },
    { .name = "batch-grant",
      .setup = setup_grant,
      .threads = { consumer, granter, caller },
      .finish = finish,
      .max = 100000 },
    { .name = "batch-ask",
      .setup = setup_ask,
      .threads = { obedient_consumer, ask_limit, ask_drain },
      .finish = finish,
      .max = 100000 },
    { .name = "batch-cancel",
      .setup = setup,
      .threads = { consumer, caller, caller, canceller },
      .finish = finish,
      .bound = 1,
      .max = 100000 },
};

CHECK_MAIN(models)
