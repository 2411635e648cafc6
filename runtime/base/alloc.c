/* SPDX-License-Identifier: MIT */
/*
 * The seam to the allocator. JD_JEMALLOC selects jemalloc's own entry points: they are used
 * directly, and linking it also replaces the process's malloc (docs/adr). Aligned blocks are
 * zeroed, since every user of them (slabs, workers, rings) wants that.
 */
#include "base/alloc.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/fault.h"

#ifdef JD_JEMALLOC
#include <jemalloc/jemalloc.h>
#endif

static size_t round_up(size_t bytes, size_t align)
{
    return (bytes + align - 1) & ~(align - 1);
}

void mem_thread_begin(void)
{
#ifdef JD_JEMALLOC
    void *ptr = mallocx(1, 0);

    if (ptr)
        sdallocx(ptr, 1, 0);
#endif
}

void *mem_alloc(size_t bytes)
{
    JD_ASSERT(bytes > 0);
    if (fault_hit(FAULT_ALLOC))
        return NULL;
#ifdef JD_JEMALLOC
    return mallocx(bytes, 0);
#else
    return malloc(bytes);
#endif
}

void *mem_calloc(size_t bytes)
{
    void *ptr = mem_alloc(bytes);

    return ptr ? memset(ptr, 0, bytes) : NULL;
}

void *mem_aligned(size_t align, size_t bytes)
{
    void *ptr;

    JD_ASSERT(bytes > 0 && (align & (align - 1)) == 0);
    if (bytes > SIZE_MAX - align || fault_hit(FAULT_ALLOC))
        return NULL;
    bytes = round_up(bytes, align);
#ifdef JD_JEMALLOC
    ptr = mallocx(bytes, MALLOCX_ALIGN(align) | MALLOCX_ZERO);
#else
    ptr = aligned_alloc(align, bytes);
    if (ptr)
        memset(ptr, 0, bytes);
#endif
    return ptr;
}

void mem_free(void *ptr, size_t bytes)
{
    if (!ptr)
        return;
#ifdef JD_JEMALLOC
    sdallocx(ptr, bytes, 0);
#else
    (void)bytes;
    free(ptr);
#endif
}

void mem_free_aligned(void *ptr, size_t align, size_t bytes)
{
    if (!ptr)
        return;
    bytes = round_up(bytes, align);
#ifdef JD_JEMALLOC
    sdallocx(ptr, bytes, MALLOCX_ALIGN(align));
#else
    (void)bytes;
    free(ptr);
#endif
}
