/* SPDX-License-Identifier: MIT */
/*
 * Begin and end of a fiber's life. The frames laid out here mirror the pop order of switch_*.S.
 *
 * Threads: the one that will switch to the fiber, or any that hands it over with a release.
 */
#include "fiber/fiber.h"

#include <pthread.h>

#include "fiber/stack.h"

_Static_assert(offsetof(struct fiber, sp) == 0, "switch_*.S stores sp at offset 0");
_Static_assert(sizeof(struct fiber) <= 192, "a parked fiber must leave its page to frames");

#if defined(__x86_64__)
enum { FRAME_WORDS = 7, FRAME_SELF = 4, FRAME_RESUME = 6 }; /* r15 r14 r13 r12 rbx rbp rip */
#elif defined(__aarch64__)
enum { FRAME_WORDS = 20, FRAME_SELF = 0, FRAME_RESUME = 11 }; /* x19 .. x30, d8 .. d15 */
#else
#error "Jackdaw runs on x86-64 and aarch64"
#endif

void fiber_start_asm(void);                                           /* in switch_*.S */
JD_NORETURN void fiber_begin(struct fiber *self, struct fiber *prev); /* called by it */

void fiber_init(struct fiber *f, void (*entry)(struct fiber *prev))
{
    JD_ASSERT(f->pool);
    JD_ASSERT(!f->dying);
    f->entry = entry;
    f->user = NULL;
    f->cxx[0] = f->cxx[1] = 0;
    f->cxx_globals = NULL; /* handed over by the first switch */
    /* The frame ends at high: after the pops sp is 16-aligned, as both ABIs want before a call.
     * Everything else in it is zero, the frame pointer above all. */
    uintptr_t *frame = (uintptr_t *)(void *)f->high - FRAME_WORDS;
    tools_begin(&f->tools, f->low, f->high, (char *)(f + 1), stack_pool_is_valgrind(f->pool));
    memset(frame, 0, FRAME_WORDS * sizeof(*frame));
    frame[FRAME_SELF] = (uintptr_t)f;
    frame[FRAME_RESUME] = (uintptr_t)fiber_start_asm;
    f->sp = frame;
}

void fiber_init_native(struct fiber *f)
{
    memset(f, 0, sizeof(*f));
    f->low = f->high = (char *)UINTPTR_MAX;
    tools_adopt(&f->tools);
    f->cxx_globals = __cxa_get_globals ? __cxa_get_globals() : NULL;
}

void fiber_retire(struct fiber *f)
{
    JD_ASSERT(f->pool);
    JD_ASSERT(f->dying);
    f->dying = false;
    tools_end(&f->tools, f->low, (char *)(f + 1), stack_pool_is_valgrind(f->pool));
}

void fiber_begin(struct fiber *self, struct fiber *prev)
{
    tools_arrive(&self->tools, &prev->tools);
    self->entry(prev);
    assert_failed("a fiber's entry never returns", __FILE__, __LINE__, __func__);
}
