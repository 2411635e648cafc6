/* SPDX-License-Identifier: MIT */
/*
 * Plain threads that wait: see parker.h. The futex word carries the wait number of the last wake,
 * so a wake that arrives before the sleep is seen, and a stale one is told apart.
 */
#include "task/parker.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "atomic/free_stack.h"
#include "base/alloc.h"
#include "base/clock.h"

struct parker {
    struct wait_target target;
    JD_ATOMIC(uint32_t) woken; /* seq of the last wait that was ended while we slept */
    struct free_node spare;    /* in the pool */
};

static struct free_stack pool = FREE_STACK_INITIAL;

struct parker *parker_take(void)
{
    struct free_node *spare = free_stack_pop(&pool);
    struct parker *p = spare ? JD_CONTAINER_OF(spare, struct parker, spare) : NULL;

    if (!p) {
        p = mem_calloc(sizeof(*p));
        if (!p)
            return NULL;
        p->target.kind = TARGET_THREAD;
    }
    word_reset(&p->target.word, WORD_RUNNING);
    return p;
}

void parker_put(struct parker *p)
{
    free_stack_push(&pool, &p->spare);
}

struct wait_target *parker_target(struct parker *p)
{
    return &p->target;
}

/* -ETIMEDOUT or 0; returns early for any reason. */
static int futex_sleep(struct parker *p, uint32_t seen, int64_t deadline)
{
    struct timespec ts = { .tv_sec = deadline / 1000000000, .tv_nsec = deadline % 1000000000 };
    long err = syscall(SYS_futex, &p->woken, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, seen,
                       deadline == CLOCK_FOREVER ? NULL : &ts, NULL, FUTEX_BITSET_MATCH_ANY);

    return err < 0 && errno == ETIMEDOUT ? -ETIMEDOUT : 0;
}

unsigned parker_wait(struct parker *p, uint32_t seq, int64_t deadline)
{
    uint32_t seen = atom_load(&p->woken, relaxed); /* Relaxed: only compared by the kernel. */

    if (!word_park(&p->target.word)) {
        word_resume(&p->target.word);
        return word_cause(&p->target.word);
    }
    while (word_cause(&p->target.word) == CAUSE_NONE) { /* bounded by the deadline or a waker */
        if (futex_sleep(p, seen, deadline) == -ETIMEDOUT)
            (void)word_wake(&p->target.word, seq, CAUSE_TIMED_OUT); /* losing: it was granted */
        /* [PARKER-1] Acquire, pairs with parker_ready(): who sees its count sees the cause, too;
         * otherwise we would sleep on the new count with an old look at the word. */
        seen = atom_load(&p->woken, acquire);
    }
    word_resume(&p->target.word);
    return word_cause(&p->target.word);
}

void parker_ready(struct wait_target *target)
{
    struct parker *p = JD_CONTAINER_OF(target, struct parker, target);

    /* [PARKER-1] Release, pairs with the load in parker_wait(): after the word's end of the wait.
     * A parker that was handed on meanwhile sees one spurious return. */
    atom_fetch_add(&p->woken, 1, release);
    (void)syscall(SYS_futex, &p->woken, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1, NULL, NULL, 0);
}
