/* SPDX-License-Identifier: MIT */
#ifndef BASE_ALLOC_H
#define BASE_ALLOC_H

/*
 * All heap memory of the library. Frees are sized, so that jemalloc (mallocx, sdallocx) needs no
 * look-up; the option allocator=system maps to the C library for sanitizers. Only this folder
 * knows which one it is. Every function may answer NULL: the fault point FAULT_ALLOC does it in
 * tests.
 */
#include <stddef.h>

/*
 * What a worker's thread does before anybody may use memory up. jemalloc 5.3 makes a thread's cache
 * at its first allocation, does not notice when there is no memory for it, and crashes.
 */
void mem_thread_begin(void);

void *mem_alloc(size_t bytes);
void *mem_calloc(size_t bytes);
/* align: a power of two; bytes is rounded up to it. Free with mem_free_aligned(). */
void *mem_aligned(size_t align, size_t bytes);
void mem_free(void *ptr, size_t bytes);
void mem_free_aligned(void *ptr, size_t align, size_t bytes);

#endif /* BASE_ALLOC_H */
