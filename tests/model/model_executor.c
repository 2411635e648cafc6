/* SPDX-License-Identifier: MIT */
/*
 * Model of executor/roster.h: submitters, the threads of a pool as executor/pool.c arranges them
 * (serve, sleep, carry_out), a withdrawal, a close, and a system that may refuse threads. Claims: an
 * accepted job ends exactly once, by being run, dropped or withdrawn; no job waits while a thread
 * sleeps for good (the end of each model waits for its jobs before it closes); a job may wait for a
 * later one of the same pool; a ringer does not touch the seat of a thread that has left; what the
 * submitter wrote is visible to the job.
 */
#include "list_guard.h"

#include "executor/roster.h"

#define JOBS 3
#define EXECUTIONS 100000 /* of millions: the same states come again and again */
#define NOW 0
#define THREADS_MAX 3 /* model threads that may be pool threads, the last ones of a model */

struct pool_thread {
    struct seat seat;
    unsigned index; /* constant */
};

static void job_run(struct job *job);
static void job_drop(struct job *job, int error);

static const struct job_type type = { .run = job_run, .drop = job_drop };

static struct {
    struct roster roster;
    struct work {
        struct job job;
        int input;                /* plain: submitter to job */
        int ended;                /* plain: by whoever ended it */
        JD_ATOMIC(uint32_t) done; /* how: RUN, DROPPED ... */
        int waits_for;            /* index of a job that must have ended first; -1: none */
        bool blocks;              /* ... and the pool is told */
        bool waits_for_company;   /* until another job is queued */
        JD_ATOMIC(uint32_t) begun;
    } jobs[JOBS];
    JD_ATOMIC(uint32_t) started; /* threads let go */
    JD_ATOMIC(uint32_t) over;    /* nothing will be started any more */
    JD_ATOMIC(uint32_t) left;    /* submitters that have not finished */
    JD_ATOMIC(uint32_t) ended;   /* the last thread has left, or the close found none */
    unsigned threads;            /* how many the system gives at most */
    bool may_refuse;
    bool may_retire;
    bool is_slow;                           /* time passes between two looks, sometimes */
    unsigned first_thread;                  /* index of the model thread that is pool thread 0 */
    struct seat *mine[THREADS_MAX];         /* each thread's own */
    struct check_event asleep[THREADS_MAX]; /* outlive the seats, as addresses do */
} s;

enum { RUN = 1, DROPPED, WITHDRAWN, REFUSED };

static void setup_pool(unsigned max, unsigned threads, unsigned submitters)
{
    roster_init(&s.roster, max, 1);
    for (int i = 0; i < JOBS; i++) {
        s.jobs[i] = (struct work){ .waits_for = -1 };
        list_init(&s.jobs[i].job.link);
        s.jobs[i].job.type = &type;
        atom_init(&s.jobs[i].done, 0);
        atom_init(&s.jobs[i].begun, 0);
    }
    atom_init(&s.started, 0);
    atom_init(&s.over, 0);
    atom_init(&s.left, submitters);
    atom_init(&s.ended, 0);
    for (int i = 0; i < THREADS_MAX; i++)
        check_event_init(&s.asleep[i]);
    s.threads = threads;
    s.may_refuse = false;
    s.may_retire = false;
    s.is_slow = false;
    s.first_thread = submitters;
}

/* --- What pool.c does with a call --------------------------------------------------------------- */

/* A futex: the wake that follows does not touch the seat. */
static void ring(struct seat *seat)
{
    unsigned index = JD_CONTAINER_OF(seat, struct pool_thread, seat)->index;

    seat_ring(seat);
    check_event_post(&s.asleep[index]);
}

static void drop_all(void)
{
    struct job *job;

    while ((job = roster_pop(&s.roster)))
        job->type->drop(job, -1);
}

static bool make_thread(void)
{
    if (s.may_refuse && check_choice(2) == 1)
        return false;
    if (check_peek(&s.started) == s.threads) /* one thread at a time is being made: `starting` */
        return false;
    (void)atom_fetch_add(&s.started, 1, release);
    return true;
}

static enum roster_left carry_out(struct roster_call *call)
{
    enum roster_left left = ROSTER_SERVED;

    if (call->start && !make_thread())
        left = roster_refused(&s.roster, NOW, call);
    if (call->ring)
        ring(call->ring);
    if (left == ROSTER_ENDED)
        atom_store(&s.ended, 1, release);
    return left;
}

/* --- Jobs ------------------------------------------------------------------------------------- */

static void end_job(struct work *w, uint32_t how)
{
    CHECK_THAT(plain_read(w->ended) == 0);
    plain_write(w->ended, 1);
    atom_store(&w->done, how, release);
}

static bool is_done(void *arg)
{
    struct work *w = arg;

    return check_peek(&w->done) != 0;
}

static unsigned my_index(void)
{
    return check_self() - s.first_thread;
}

static bool has_company(void *arg)
{
    (void)arg;
    return check_peek(&s.roster.queued) != 0;
}

static void job_run(struct job *job)
{
    struct work *w = JD_CONTAINER_OF(job, struct work, job);
    struct seat *seat = s.mine[my_index()];
    struct roster_call call;

    CHECK_THAT(plain_read(w->input) == 1);
    atom_store(&w->begun, 1, relaxed);
    if (w->waits_for_company)
        check_block_until(has_company, NULL);
    if (w->waits_for >= 0) {
        if (w->blocks) {
            roster_block(&s.roster, seat, NOW, &call);
            if (carry_out(&call) != ROSTER_SERVED)
                drop_all();
        }
        check_block_until(is_done, &s.jobs[w->waits_for]);
        if (w->blocks)
            roster_unblock(&s.roster, seat);
    }
    end_job(w, RUN);
}

static void job_drop(struct job *job, int error)
{
    CHECK_THAT(error < 0);
    end_job(JD_CONTAINER_OF(job, struct work, job), DROPPED);
}

static void submit(int index)
{
    struct work *w = &s.jobs[index];
    struct roster_call call;
    enum roster_left left;

    plain_write(w->input, 1);
    if (!roster_submit(&s.roster, &w->job, NOW, &call)) {
        end_job(w, REFUSED);
        return;
    }
    left = carry_out(&call);
    if (left == ROSTER_SERVED)
        return;
    if (roster_withdraw(&s.roster, &w->job))
        end_job(w, REFUSED);
    drop_all();
}

/* --- The pool's threads ------------------------------------------------------------------------- */

struct my_start {
    uint32_t index;
};

static bool may_begin(void *arg)
{
    const struct my_start *start = arg;

    return check_peek(&s.started) > start->index || check_peek(&s.over) != 0;
}

static bool was_started(struct my_start *start)
{
    for (;;) {                                        /* bounded: the newest values end it */
        bool over = atom_load(&s.over, acquire) != 0; /* first: then the other is not older */

        if (atom_load(&s.started, acquire) > start->index)
            return true;
        if (over)
            return false;
        check_block_until(may_begin, start);
        spin_hint();
    }
}

static void sleep_until_rung(struct seat *seat)
{
    while (!seat_was_rung(seat)) /* bounded: the kernel compares with the newest value */
        check_event_wait(&s.asleep[my_index()]);
}

static bool is_rung_or_needed(void *arg)
{
    return check_peek(&((struct seat *)arg)->bell) != 0 || check_peek(&s.roster.queued) != 0;
}

/* False: the thread has retired. */
static bool sit(struct seat *seat)
{
    if (s.may_retire && check_choice(2) == 1 && roster_retire(&s.roster, seat) == ROSTER_RETIRED)
        return false;
    sleep_until_rung(seat);
    return true;
}

/* The tick passes at once, or when it begins to matter; never is not among the choices. */
static void doze(struct seat *seat)
{
    if (check_choice(2) == 1)
        check_block_until(is_rung_or_needed, seat);
    if (!roster_doze_over(&s.roster, seat))
        sleep_until_rung(seat);
}

/* Jobs were short, or they were not. */
static int64_t later(void)
{
    return s.is_slow ? NOW + (int64_t)check_choice(2) * JOBS * ROSTER_SHORT_NS : NOW;
}

/* True: it goes on. */
static bool serve(struct seat *seat, bool *may_spin)
{
    struct roster_call call;
    struct job *job = NULL;

    switch (roster_next(&s.roster, seat, later(), *may_spin, &job, &call)) {
    case ROSTER_RUN:
        (void)carry_out(&call);
        job->type->run(job);
        *may_spin = true;
        return true;
    case ROSTER_SPIN:
        *may_spin = false; /* a spin that found nothing, or something: the next look tells */
        return true;
    case ROSTER_DOZE:
        doze(seat);
        return true;
    case ROSTER_SIT:
        return sit(seat);
    case ROSTER_QUIT:
        return false;
    case ROSTER_LAST:
    default:
        atom_store(&s.ended, 1, release);
        return false;
    }
}

static void pool_thread(void)
{
    struct my_start start = { .index = my_index() };
    struct pool_thread *t;
    bool may_spin = true;

    if (!was_started(&start))
        return;
    t = check_alloc(sizeof(*t));
    t->index = start.index;
    s.mine[t->index] = &t->seat;
    seat_init(&t->seat);
    roster_arrive(&s.roster, &t->seat, NOW);
    while (serve(&t->seat, &may_spin))
        ;
    check_free(t);
}

/* --- The end ------------------------------------------------------------------------------------- */

static bool all_done(void *arg)
{
    (void)arg;
    for (int i = 0; i < JOBS; i++)
        if (s.jobs[i].input && check_peek(&s.jobs[i].done) == 0)
            return false;
    return check_peek(&s.left) == 0;
}

static bool has_ended(void *arg)
{
    (void)arg;
    return check_peek(&s.ended) != 0;
}

static void close_pool(void)
{
    struct list rings, *link;

    list_init(&rings);
    if (roster_close(&s.roster, &rings))
        atom_store(&s.ended, 1, release);
    while ((link = list_pop_head(&rings)))
        ring(JD_CONTAINER_OF(link, struct seat, link));
    check_block_until(has_ended, NULL);
    atom_store(&s.over, 1, release);
}

static void leave(void)
{
    (void)atom_fetch_sub(&s.left, 1, acq_rel);
}

/* Submits, waits for all jobs of all submitters, closes. */
static void submitter_of_two(void)
{
    submit(0);
    submit(1);
    leave();
    check_block_until(all_done, NULL);
    close_pool();
}

static void submitter_of_first(void)
{
    submit(0);
    leave();
    check_block_until(all_done, NULL);
    close_pool();
}

/* The second one comes when the pool may have gone to sleep. */
static void submitter_one_by_one(void)
{
    submit(0);
    check_block_until(is_done, &s.jobs[0]);
    submit(1);
    check_block_until(is_done, &s.jobs[1]);
    submit(2);
    leave();
    check_block_until(all_done, NULL);
    close_pool();
}

static void submitter_of_three(void)
{
    submit(0);
    submit(1);
    submit(2);
    leave();
    check_block_until(all_done, NULL);
    close_pool();
}

static void submitter_of_last(void)
{
    submit(2);
    leave();
}

static bool has_begun(void *arg)
{
    (void)arg;
    return check_peek(&s.jobs[0].begun) != 0;
}

static void submitter_beside_the_first(void)
{
    submit(0);
    check_block_until(has_begun, NULL);
    submit(1);
    leave();
    check_block_until(all_done, NULL);
    close_pool();
}

static void submitter_after_second(void)
{
    check_block_until(is_done, &s.jobs[1]);
    submit(2);
    leave();
}

static void canceller(void)
{
    submit(2);
    if (roster_withdraw(&s.roster, &s.jobs[2].job))
        end_job(&s.jobs[2], WITHDRAWN);
    leave();
}

/* Closes without waiting for anybody. */
static void closer(void)
{
    submit(0);
    leave();
    close_pool();
}

static void finish(void)
{
    CHECK_THAT(s.roster.threads == 0 && s.roster.blocked == 0 && s.roster.idle_count == 0);
    CHECK_THAT(list_is_empty(&s.roster.jobs) && check_peek(&s.roster.queued) == 0);
    for (int i = 0; i < JOBS; i++)
        CHECK_THAT(!s.jobs[i].input || s.jobs[i].ended == 1);
}

static void finish_all_run(void)
{
    finish();
    for (int i = 0; i < JOBS; i++)
        CHECK_THAT(!s.jobs[i].input || check_peek(&s.jobs[i].done) == RUN);
}

/* --- The models ----------------------------------------------------------------------------------- */

static void setup_two_threads(void)
{
    setup_pool(2, 2, 2);
}

static void setup_refusing(void)
{
    setup_pool(2, 2, 2);
    s.may_refuse = true;
}

/* The system gives one thread and refuses the second, while another submitter counts on it. */
static void setup_one_given(void)
{
    setup_pool(2, 1, 2);
    s.jobs[0].waits_for_company = true;
}

static void setup_one_by_one(void)
{
    setup_pool(2, 2, 1);
    s.may_retire = true;
}

/* The first job waits for the second one: it needs the second thread. */
static void setup_waiting(void)
{
    setup_pool(2, 2, 1);
    s.jobs[0].waits_for = 1;
}

/* The second waits for the third. Whoever was woken behind the first finds two taken, and dozes: the
 * third has nothing but its tick. */
static void setup_waiting_second(void)
{
    setup_pool(2, 2, 1);
    s.jobs[1].waits_for = 2;
    s.is_slow = true;
}

/* A pool of one: the first job says that it waits for the second one. */
static void setup_blocking(void)
{
    setup_pool(1, 2, 1);
    s.jobs[0].waits_for = 1;
    s.jobs[0].blocks = true;
}

/* The same where the system gives no second thread: the second job is dropped, or nobody goes on. */
static void setup_blocking_alone(void)
{
    setup_blocking();
    s.threads = 1;
}

/* The same, and a third job that comes from elsewhere: the thread that returns may be one too many. */
static void setup_blocking_late(void)
{
    setup_pool(1, 2, 2);
    s.jobs[0].waits_for = 2;
    s.jobs[0].blocks = true;
}

static const struct check_model models[] = {
    { .name = "executor-two-submitters",
      .setup = setup_two_threads,
      .threads = { submitter_of_two, submitter_of_last, pool_thread, pool_thread },
      .finish = finish_all_run,
      .max = EXECUTIONS },
    { .name = "executor-withdraw",
      .setup = setup_two_threads,
      .threads = { submitter_of_first, canceller, pool_thread, pool_thread },
      .finish = finish,
      .max = EXECUTIONS },
    { .name = "executor-close",
      .setup = setup_two_threads,
      .threads = { closer, submitter_of_last, pool_thread, pool_thread },
      .finish = finish,
      .max = EXECUTIONS },
    { .name = "executor-refused-threads",
      .setup = setup_refusing,
      .threads = { submitter_of_first, submitter_of_last, pool_thread, pool_thread },
      .finish = finish,
      .max = EXECUTIONS },
    { .name = "executor-refused-late",
      .setup = setup_one_given,
      .threads = { submitter_beside_the_first, submitter_after_second, pool_thread },
      .finish = finish_all_run,
      .max = EXECUTIONS },
    { .name = "executor-asleep-between-jobs",
      .setup = setup_one_by_one,
      .threads = { submitter_one_by_one, pool_thread, pool_thread },
      .finish = finish_all_run,
      .max = EXECUTIONS },
    { .name = "executor-job-waits-for-job",
      .setup = setup_waiting,
      .threads = { submitter_of_two, pool_thread, pool_thread },
      .finish = finish_all_run,
      .max = EXECUTIONS },
    { .name = "executor-doze",
      .setup = setup_waiting_second,
      .threads = { submitter_of_three, pool_thread, pool_thread },
      .finish = finish_all_run,
      .max = EXECUTIONS },
    { .name = "executor-blocked-in-the-runtime",
      .setup = setup_blocking,
      .threads = { submitter_of_two, pool_thread, pool_thread },
      .finish = finish_all_run,
      .max = EXECUTIONS },
    { .name = "executor-blocked-and-refused",
      .setup = setup_blocking_alone,
      .threads = { submitter_of_two, pool_thread, pool_thread },
      .finish = finish,
      .max = EXECUTIONS },
    { .name = "executor-blocked-and-one-too-many",
      .setup = setup_blocking_late,
      .threads = { submitter_of_two, submitter_of_last, pool_thread, pool_thread },
      .finish = finish_all_run,
      .max = EXECUTIONS },
};

CHECK_MAIN(models)
