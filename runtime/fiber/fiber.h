/* SPDX-License-Identifier: MIT */
#ifndef FIBER_FIBER_H
#define FIBER_FIBER_H

/*
 * A fiber is an execution context at rest or running: a saved stack pointer and the stack it
 * lives on. Tasks come and go on it; the fiber knows none of them.
 *
 * I1  A pooled fiber lives at the high end of its own stack slot (stack.h), so its address names
 *     the stack, and a parked one touches a single page. A native fiber is embedded in a worker.
 * I2  Life: stack_take -> fiber_init -> switched to and from -> fiber_abandon -> fiber_retire by
 *     the next context -> stack_put. A native fiber: fiber_init_native, switched, nothing to end.
 * I3  fiber_switch() returns, and entry() receives, the fiber that ran before on this thread. The
 *     caller runs its post-switch hook there, first thing: only then is the previous context
 *     saved, and may be published, retired or reused.
 * I4  Switched: callee-saved registers, tool state, the two words of __cxa_get_globals. Not
 *     switched: floating point control words, errno, the signal mask; they belong to the worker
 *     thread. A task that changes the rounding mode must restore it before it suspends.
 * I5  The thread may differ after fiber_switch(): no thread-local address survives it.
 *
 * Threads: from must be the fiber running on the caller's thread; to must be at rest, and no other
 * thread may resume it.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "base/attr.h"
#include "base/list.h"
#include "fiber/sanitizer.h"

struct stack_pool;

/* Bytes that a stack without a kernel guard keeps zero below its low end: see stack.h. */
#define FIBER_CANARY_BYTES 256

struct fiber {
    void *sp;  /* first: the assembly knows it. Valid only at rest */
    char *low; /* usable stack: [low, high), high 16-aligned */
    char *high;
    struct stack_pool *pool; /* NULL: native */
    void *user;              /* the scheduler's: what runs here now, for overflow reports */
    void *wait;              /* the scheduler's, under simulation: what it waits in */
    void (*entry)(struct fiber *prev);
    uintptr_t cxx[2];  /* C++ exception globals at rest: caught list, uncaught count */
    void *cxx_globals; /* those of the thread it runs on; NULL: no C++ in the process */
    struct list link;  /* the pool's: in the shared list of idle stacks */
    bool dying;
    bool canary; /* no kernel guard below low */
    struct fiber_tools tools;
} JD_ALIGNED(64);

/*
 * Prepare a taken stack: the first switch to it calls entry(prev), which never returns. Unwinders
 * and frame-pointer walkers end there.
 */
void fiber_init(struct fiber *f, void (*entry)(struct fiber *prev));

/* Adopt the calling thread's own stack; f may live anywhere but on a pooled stack. */
void fiber_init_native(struct fiber *f);

/* End the life of an abandoned fiber, from the context that came after it. Then stack_put(). */
void fiber_retire(struct fiber *f);

/* In switch_*.S. Only for fiber_switch(). */
struct fiber *fiber_switch_asm(struct fiber *from, struct fiber *to);

/*
 * The C++ runtime's per-thread exception state: present only when a C++ library is loaded with
 * the process. Libraries that come later by dlopen() are not seen.
 */
extern void *__cxa_get_globals(void) __attribute__((weak));

/*
 * Both fibers run on this thread, so its globals go from hand to hand: asking for them costs 3 ns.
 * A running fiber's `cxx` is zero, and so is all of it where nobody handles an exception: only loads.
 */
static inline void fiber_swap_cxx(struct fiber *from, struct fiber *to)
{
    uintptr_t *globals = from->cxx_globals;

    if (!globals)
        return;
    to->cxx_globals = globals;
    if (JD_LIKELY((globals[0] | globals[1] | to->cxx[0] | to->cxx[1]) == 0))
        return;
    memcpy(from->cxx, globals, sizeof(from->cxx));
    memcpy(globals, to->cxx, sizeof(to->cxx));
    to->cxx[0] = to->cxx[1] = 0;
}

/* Has nothing run below the low end? Always true for guarded stacks: those fault instead. */
static inline bool fiber_canary_is_intact(const struct fiber *f)
{
    if (!f->canary)
        return true;
    const uint64_t *words = (const uint64_t *)(const void *)(f->low - FIBER_CANARY_BYTES);
    uint64_t any = 0;
    for (size_t i = 0; i < FIBER_CANARY_BYTES / sizeof(*words); i++)
        any |= words[i];
    return any == 0;
}

/* Leave from for to; returns, maybe much later and on another thread, who ran before (I3). */
static inline struct fiber *fiber_switch(struct fiber *from, struct fiber *to)
{
    JD_ASSERT_SLOW(from != to);
    JD_ASSERT_SLOW(fiber_canary_is_intact(from));
    fiber_swap_cxx(from, to);
    tools_leave(&from->tools, &to->tools, from->dying);
    struct fiber *prev = fiber_switch_asm(from, to);
    tools_arrive(&from->tools, &prev->tools);
    return prev;
}

/* Leave from for good. The next context must fiber_retire() it and stack_put() it. */
JD_NORETURN static inline void fiber_abandon(struct fiber *from, struct fiber *to)
{
    from->dying = true;
    (void)fiber_switch(from, to);
    __builtin_unreachable();
}

static inline bool fiber_is_native(const struct fiber *f)
{
    return !f->pool;
}

/* Bytes of stack between sp, an address on f's stack, and the low end; 0 for native fibers (their
 * low is the end of the address space), whose size is not ours to spend. */
static inline size_t fiber_stack_left(const struct fiber *f, const void *sp)
{
    uintptr_t at = (uintptr_t)sp;
    return at > (uintptr_t)f->low ? at - (uintptr_t)f->low : 0;
}

/* Is more than half of the stack free, seen from the calling function? */
static inline bool fiber_is_half_free(const struct fiber *f)
{
    const void *sp = __builtin_frame_address(0);
    return fiber_stack_left(f, sp) > (size_t)(f->high - f->low) / 2;
}

#endif /* FIBER_FIBER_H */
