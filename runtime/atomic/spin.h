/* SPDX-License-Identifier: MIT */
#ifndef ATOMIC_SPIN_H
#define ATOMIC_SPIN_H

/*
 * A spin lock for leaf sections of a few dozen instructions: no system call, no allocation and no
 * suspension inside. A spinner gives its CPU away after SPIN_LIMIT tries, since the holder may
 * have been preempted.
 *
 * Rejected: pthread_mutex (40 bytes, and a parked worker costs a 20 us wake); ticket and MCS locks
 * (collapse when a holder or the next in line is preempted, and workers = CPUs here).
 */
#include <stdbool.h>

#include "atomic/atomic.h"
#include "base/attr.h"

#ifndef JD_CHECK
#include <sched.h>
#define SPIN_LIMIT 100
#endif

struct spin {
    JD_ATOMIC(uint32_t) locked;
};

static inline void spin_init(struct spin *s)
{
    atom_init(&s->locked, 0);
}

static inline bool spin_try_lock(struct spin *s)
{
    /* [SPIN-1] Acquire, pairs with the release in spin_unlock(): sees all the last holder wrote. */
    return atom_load(&s->locked, relaxed) == 0 && atom_exchange(&s->locked, 1, acquire) == 0;
}

static JD_NOINLINE JD_UNUSED void spin_lock_slow(struct spin *s)
{
#ifndef JD_CHECK
    for (unsigned tries = 1; !spin_try_lock(s); tries++) { /* bounded by the holder's section */
        cpu_relax();
        if (tries % SPIN_LIMIT == 0)
            sched_yield();
    }
#else
    while (!spin_try_lock(s))
        spin_hint();
#endif
}

static inline void spin_lock(struct spin *s)
{
    /* [SPIN-1] Acquire, as above. At once: a look before it waits for the last unlock's store. */
    if (JD_UNLIKELY(atom_exchange(&s->locked, 1, acquire) != 0))
        spin_lock_slow(s);
}

static inline void spin_unlock(struct spin *s)
{
    /* [SPIN-1] Release, pairs with the acquire in spin_try_lock(). */
    atom_store(&s->locked, 0, release);
}

#endif /* ATOMIC_SPIN_H */
