/* SPDX-License-Identifier: MIT */
#ifndef FIBER_SANITIZER_H
#define FIBER_SANITIZER_H

/*
 * What the checking tools must be told about stacks: the one header that knows them. Without a
 * tool every function here is empty and struct fiber_tools holds one word.
 *
 * I1  Tools see a *life* of a stack, from fiber_init() to fiber_retire(), not the memory: a reused
 *     stack is a new TSan fiber, else races across lives hide.
 * I2  tools_leave() is the last thing before the switch, tools_arrive() the first thing after it,
 *     both in fiber_switch() and fiber_begin() and nowhere else.
 * I3  A dying context passes NULL to ASan, which then frees its fake stack; the next context
 *     destroys the TSan fiber, since nobody may destroy the one it stands on.
 *
 * Limits: TSan stops at 8128 live threads and fibers. TSan's switch synchronises, so races between
 * fibers of one thread are invisible: stress runs need two workers.
 */
#include <stdbool.h>
#include <stddef.h>

#ifndef __has_feature
#define __has_feature(x) 0
#endif
#ifndef __has_include
#define __has_include(x) 0
#endif

#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#define FIBER_ASAN 1
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#include <sanitizer/lsan_interface.h>
#else
#define FIBER_ASAN 0
#endif

#if defined(__SANITIZE_THREAD__) || __has_feature(thread_sanitizer)
#define FIBER_TSAN 1
#include <sanitizer/tsan_interface.h>
#else
#define FIBER_TSAN 0
#endif

#if !defined(JD_NO_VALGRIND) && !FIBER_ASAN && !FIBER_TSAN && __has_include(<valgrind/valgrind.h>)
#define FIBER_VALGRIND 1
#include <valgrind/valgrind.h>
#else
#define FIBER_VALGRIND 0
#endif

struct fiber_tools {
#if FIBER_ASAN
    void *fake_stack;   /* ASan's state while the context is at rest */
    const void *bottom; /* what ASan believes to be its stack */
    size_t bytes;
#endif
#if FIBER_TSAN
    void *tsan;
#endif
    unsigned valgrind_id;
};

/* Is this process run by valgrind? Asked once per pool: the question costs 2 ns. */
static inline bool tools_is_valgrind(void)
{
#if FIBER_VALGRIND
    return RUNNING_ON_VALGRIND != 0;
#else
    return false;
#endif
}

/* A native thread enters; ASan learns its bounds at the first switch away from it. */
static inline void tools_adopt(struct fiber_tools *t)
{
    *t = (struct fiber_tools){ .valgrind_id = 0 };
#if FIBER_TSAN
    t->tsan = __tsan_get_current_fiber();
#endif
}

/* A stack begins a life. root_end: end of the memory that LSan scans, from low. */
static inline void tools_begin(struct fiber_tools *t, char *low, char *high, char *root_end,
                               bool valgrind)
{
    *t = (struct fiber_tools){ .valgrind_id = 0 };
    (void)low, (void)high, (void)root_end, (void)valgrind;
#if FIBER_ASAN
    t->bottom = low;
    t->bytes = (size_t)(high - low);
    /* Frames of an abandoned life never returned, so their red zones are still poisoned. */
    __asan_unpoison_memory_region(low, t->bytes);
    __lsan_register_root_region(low, (size_t)(root_end - low));
#endif
#if FIBER_TSAN
    t->tsan = __tsan_create_fiber(0);
#endif
#if FIBER_VALGRIND
    if (valgrind)
        t->valgrind_id = VALGRIND_STACK_REGISTER(low, high);
#endif
}

static inline void tools_end(struct fiber_tools *t, char *low, char *root_end, bool valgrind)
{
    (void)t, (void)low, (void)root_end, (void)valgrind;
#if FIBER_ASAN
    __lsan_unregister_root_region(low, (size_t)(root_end - low));
#endif
#if FIBER_TSAN
    __tsan_destroy_fiber(t->tsan);
    t->tsan = NULL;
#endif
#if FIBER_VALGRIND
    if (valgrind)
        VALGRIND_STACK_DEREGISTER(t->valgrind_id);
#endif
}

static inline void tools_leave(struct fiber_tools *from, struct fiber_tools *to, bool dying)
{
    (void)from, (void)to, (void)dying;
#if FIBER_ASAN
    __sanitizer_start_switch_fiber(dying ? NULL : &from->fake_stack, to->bottom, to->bytes);
#endif
#if FIBER_TSAN
    __tsan_switch_to_fiber(to->tsan, 0);
#endif
}

static inline void tools_arrive(struct fiber_tools *self, struct fiber_tools *prev)
{
    (void)self, (void)prev;
#if FIBER_ASAN
    __sanitizer_finish_switch_fiber(self->fake_stack, &prev->bottom, &prev->bytes);
#endif
}

#endif /* FIBER_SANITIZER_H */
