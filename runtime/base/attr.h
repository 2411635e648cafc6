/* SPDX-License-Identifier: MIT */
#ifndef BASE_ATTR_H
#define BASE_ATTR_H

/*
 * Compiler attributes and layout helpers: the one place that knows the compiler's spelling.
 */
#include <stddef.h>

#define JD_LIKELY(c) __builtin_expect(!!(c), 1)
#define JD_UNLIKELY(c) __builtin_expect(!!(c), 0)
#define JD_NOINLINE __attribute__((noinline))
#define JD_ALWAYS_INLINE inline __attribute__((always_inline))
#define JD_NORETURN __attribute__((noreturn))
#define JD_COLD __attribute__((cold))
#define JD_UNUSED __attribute__((unused))
#define JD_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

/* 128: x86 prefetches lines in pairs, some aarch64 cores have 128-byte lines. */
#define JD_CACHE_LINE 128
#define JD_ALIGNED(n) __attribute__((aligned(n)))

#define JD_CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#define JD_ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

#endif /* BASE_ATTR_H */
