/* SPDX-License-Identifier: MIT */
/*
 * Marks of queue/ and of the idle protocol: growth, and races that somebody loses.
 *
 * Who takes from a ring looks at the indices, reads the item, and then tries its CAS. Here the items lie in
 * a page that can be closed: the read faults, and the handler lets somebody else act in between. So each race
 * is lost at once, whatever the machine does beside it.
 */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "jd_test.h"
#include "marks.h"
#include "queue/deque.h"
#include "queue/fifo.h"
#include "sched/idle.h"

static void *plain_alloc(size_t bytes)
{
    return malloc(bytes);
}

static void plain_free(void *ptr, size_t bytes)
{
    (void)bytes;
    free(ptr);
}

static const struct ring_memory memory = { plain_alloc, plain_free };

static void *item(uintptr_t n)
{
    return (void *)(n + 1); /* never NULL, never followed */
}

/* --- Growth, and forks that are shown ------------------------------------------------------------- */

MARK_TEST(DEQUE_GREW)
{
    struct deque d;

    cr_assert(deque_init(&d, 2, &memory, /* may_force= */ false));
    for (uintptr_t i = 0; i < 20; i++)
        cr_assert(deque_push(&d, item(i)));
    for (uintptr_t i = 20; i-- > 0;)
        cr_assert_eq(deque_take(&d), item(i));
    deque_fini(&d);
}

MARK_TEST(FIFO_GREW)
{
    struct fifo f;

    cr_assert(fifo_init(&f, 2, &memory));
    for (uintptr_t i = 0; i < 20; i++)
        cr_assert(fifo_push(&f, item(i)));
    for (uintptr_t i = 0; i < 20; i++)
        cr_assert_eq(fifo_pop(&f), item(i));
    fifo_fini(&f);
}

MARK_TEST(FORKS_FORCED)
{
    struct deque d;
    bool lost;

    cr_assert(deque_init(&d, 2, &memory, /* may_force= */ true));
    cr_assert(deque_push(&d, item(0)));
    cr_assert(deque_push(&d, item(1)));
    cr_assert_null(deque_steal(&d, &lost), "they are private");
    cr_assert(deque_lease(&d));
    deque_force(&d); /* no fence: there is one thread */
    cr_assert_eq(deque_steal(&d, &lost), item(0));
    cr_assert_eq(deque_take(&d), item(1));
    deque_fini(&d);
}

/* --- Between a look and its CAS --------------------------------------------------------------------- */

#define PAGE 4096u
#define ACTS 2

static struct deque deque;
static struct fifo fifo;
static void *page;
static void (*volatile acts[ACTS])(void); /* what the first fault does, and the second */
static atomic_uint faults, stage;
static void *_Atomic rival_got;

static void page_set(int protection)
{
    cr_assert_eq(mprotect(page, PAGE, protection), 0);
}

static void on_fault(int sig)
{
    unsigned n = atomic_fetch_add(&faults, 1);

    if (n < ACTS && acts[n])
        acts[n]();
    else
        (void)signal(sig, SIG_DFL); /* not ours: it faults again */
}

static void *page_alloc(size_t bytes)
{
    cr_assert_leq(bytes, PAGE);
    page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return page == MAP_FAILED ? NULL : page;
}

static void page_free(void *ptr, size_t bytes)
{
    (void)bytes;
    cr_assert_eq(munmap(ptr, PAGE), 0);
}

static const struct ring_memory page_memory = { page_alloc, page_free };

/* From here on each access is an act. */
static void page_close(void)
{
    struct sigaction sa = { .sa_handler = on_fault };

    cr_assert_eq(sigaction(SIGSEGV, &sa, NULL), 0);
    page_set(PROT_NONE);
}

static void wait_for(unsigned n)
{
    while (atomic_load(&stage) < n) /* bounded by the test's time */
        sched_yield();
}

static void public_forks(unsigned count)
{
    cr_assert(deque_init(&deque, 2, &page_memory, /* may_force= */ false));
    for (uintptr_t i = 0; i < count; i++)
        cr_assert(deque_push(&deque, item(i)));
    deque_publish(&deque);
}

static void rival_steals(void)
{
    bool lost;

    page_set(PROT_READ | PROT_WRITE);
    atomic_store(&rival_got, deque_steal(&deque, &lost));
}

MARK_TEST(STEAL_LOST)
{
    void *got;
    bool lost;

    public_forks(2);
    acts[0] = rival_steals;
    page_close();
    got = deque_steal(&deque, &lost);
    cr_assert_null(got);
    cr_assert(lost, "not empty: another was faster");
    cr_assert_eq(atomic_load(&rival_got), item(0));
    cr_assert_eq(deque_steal(&deque, &lost), item(1));
    deque_fini(&deque);
}

/* The thief has seen the last fork, and now the owner wants it, too. */
static void thief_waits(void)
{
    atomic_store(&stage, 1);
    wait_for(2);
}

/* The owner has seen that nobody has it yet: now the thief goes on. */
static void owner_waits(void)
{
    page_set(PROT_READ | PROT_WRITE);
    atomic_store(&stage, 2);
    wait_for(3);
}

static void *thief_main(void *arg)
{
    bool lost;

    atomic_store(&rival_got, deque_steal(&deque, &lost));
    atomic_store(&stage, 3);
    return arg;
}

MARK_TEST(TAKE_LOST)
{
    pthread_t thief;

    public_forks(1);
    acts[0] = thief_waits;
    acts[1] = owner_waits;
    page_close();
    cr_assert_eq(pthread_create(&thief, NULL, thief_main, NULL), 0);
    wait_for(1);
    cr_assert_null(deque_take(&deque));
    cr_assert_eq(pthread_join(thief, NULL), 0);
    cr_assert_eq(atomic_load(&rival_got), item(0));
    cr_assert(deque_push(&deque, item(1)), "the owner goes on");
    cr_assert_eq(deque_take(&deque), item(1));
    deque_fini(&deque);
}

static void rival_claims(void)
{
    page_set(PROT_READ | PROT_WRITE);
    atomic_store(&rival_got, fifo_pop(&fifo));
}

MARK_TEST(CLAIM_LOST)
{
    void *got;

    cr_assert(fifo_init(&fifo, 2, &page_memory));
    cr_assert(fifo_push(&fifo, item(0)));
    cr_assert(fifo_push(&fifo, item(1)));
    acts[0] = rival_claims;
    page_close();
    got = fifo_pop(&fifo);
    cr_assert_eq(atomic_load(&rival_got), item(0));
    cr_assert_eq(got, item(1), "the next one, since the first was lost");
    cr_assert_null(fifo_pop(&fifo));
    fifo_fini(&fifo);
}

/* --- The sleeper wakes by itself while it is to be woken ------------------------------------------- */

static struct idle *idle;
static bool by_itself;

static void sleeper_wakes(void)
{
    page_set(PROT_READ | PROT_WRITE);
    by_itself = idle_park_retract(idle, 0);
}

/* idle_claim() sees the sleeper's bit, counts it as searching, and then tries to take the bit: the bits lie
 * behind the page, the counts at its end. */
MARK_TEST(WAKE_LOST)
{
    if (jd_test_is_tsan())
        jd_test_skip("its atomics must not fault");
    page = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq(page, MAP_FAILED);
    idle = (void *)((char *)page + PAGE - offsetof(struct idle, bits));
    idle_init(idle);
    idle_park_announce(idle, 0, /* was_searching= */ false);
    acts[0] = sleeper_wakes;
    page_close();
    cr_assert_eq(idle_claim(idle), -1, "nobody is to be woken any more");
    cr_assert(by_itself);
    cr_assert_eq(atom_load(&idle->searching, relaxed), 0);
    cr_assert_eq(atom_load(&idle->parked, relaxed), 0);
    cr_assert_eq(munmap(page, 2 * PAGE), 0);
}
