/* SPDX-License-Identifier: MIT */
#ifndef REACTOR_URING_COMPAT_H
#define REACTOR_URING_COMPAT_H

/*
 * What liburing 2.3 (our floor) lacks, and what tools need to be told about io_uring: neither
 * ThreadSanitizer nor valgrind sees that the kernel orders a submission before its completion and
 * fills buffers in between. The only file of the reactor with conditional compilation.
 */
#include <liburing.h>
#include <stdbool.h>
#include <stddef.h>

#if defined(__SANITIZE_THREAD__)
#define URING_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define URING_TSAN 1
#endif
#endif
#ifndef URING_TSAN
#define URING_TSAN 0
#endif

#if URING_TSAN
void __tsan_acquire(void *address);
void __tsan_release(void *address);
#endif

#if defined(__has_include)
#if __has_include(<valgrind/memcheck.h>)
#include <valgrind/memcheck.h>
#endif
#endif

/* Valgrind 3.19 keeps its one lock while a thread waits in io_uring_enter: all others stand still. */
static inline bool uring_blocks_all_threads(void)
{
#ifdef RUNNING_ON_VALGRIND
    return RUNNING_ON_VALGRIND != 0;
#else
    return false;
#endif
}

/* Before an SQE that refers to `record` is published. */
static inline void uring_note_submitted(void *record)
{
#if URING_TSAN
    __tsan_release(record);
#else
    (void)record;
#endif
}

/* After its CQE was seen, before the record is looked at. */
static inline void uring_note_completed(void *record)
{
#if URING_TSAN
    __tsan_acquire(record);
#else
    (void)record;
#endif
}

/* The kernel wrote these bytes. */
static inline void uring_note_written(void *bytes, size_t count)
{
#ifdef VALGRIND_MAKE_MEM_DEFINED
    VALGRIND_MAKE_MEM_DEFINED(bytes, count);
#else
    (void)bytes;
    (void)count;
#endif
}

#endif /* REACTOR_URING_COMPAT_H */
