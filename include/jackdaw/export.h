/* SPDX-License-Identifier: MIT */
#ifndef JD_EXPORT_H
#define JD_EXPORT_H

#include <stdint.h>

/**
 * @file
 * What the compiler must know about a declaration. All compiler and language tests of the public
 * headers live here, so that the others read the same in C11 and in C++17.
 */

#ifdef __cplusplus
#define JD_BEGIN_DECLS extern "C" {
#define JD_END_DECLS }
/** Generic calls are overloads in C++; the linkage holds even inside a user's extern "C" block. */
#define JD_BEGIN_OVERLOADS extern "C++" {
#define JD_END_OVERLOADS }
#else
#define JD_BEGIN_DECLS
#define JD_END_DECLS
#endif

#if defined(__GNUC__) || defined(__clang__)
/** Part of the library's ABI: listed by name in runtime/jackdaw.map. */
#define JD_API __attribute__((visibility("default")))
/** The result must be looked at: it says who owns something, or that work did not happen. */
#define JD_NODISCARD __attribute__((warn_unused_result))
/** Runs a function on the variable's address at the end of its block, in C and in C++. */
#define JD_CLEANUP(function) __attribute__((cleanup(function)))
/** A helper defined in a header; no symbol of the library. */
#define JD_INLINE static inline __attribute__((unused))
#else
#error "Jackdaw's headers need a compiler with GNU attributes (gcc or clang)"
#endif

/** May suspend the calling task. Visible to clang based checkers; says nothing to the compiler. */
#if defined(__clang__)
#define JD_SUSPENDS __attribute__((annotate("jd_suspends")))
#else
#define JD_SUSPENDS
#endif

/**
 * A structure in the caller's memory whose contents belong to the library. It must not be moved or
 * copied while in use: C++ refuses a copy at compile time, debug mode finds one in C. The empty
 * base class keeps it an aggregate in C++17 and in C++20 and adds no byte.
 */
#ifdef __cplusplus
struct jd_uncopyable {
    jd_uncopyable() = default;
    jd_uncopyable(const jd_uncopyable &) = delete;
    jd_uncopyable &operator=(const jd_uncopyable &) = delete;
};
#define JD_VALUE_TYPE(name, words) \
    struct name : jd_uncopyable { \
        uint64_t jd_private[words]; \
    }
#else
#define JD_VALUE_TYPE(name, words) \
    struct name { \
        uint64_t jd_private[words]; \
    }
#endif

#endif /* JD_EXPORT_H */
