/* SPDX-License-Identifier: MIT */
/* See region.h for the picture and the invariants. */
#include "fiber/region.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/fault.h"

#define ALIGN_MIN ((size_t)2 << 20) /* one page table page */

static size_t bitmap_bytes(const struct stack_region *r)
{
    return ((size_t)r->slots + 63) / 64 * sizeof(uint64_t);
}

/* Reserve bytes at a multiple of align: reserve more and give the ends back. */
static char *reserve_aligned(size_t bytes, size_t align)
{
    size_t all = bytes + align;
    char *at = mmap(NULL, all, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED)
        return NULL;
    size_t head = (align - ((uintptr_t)at & (align - 1))) & (align - 1);
    if (head)
        munmap(at, head);
    munmap(at + head + bytes, align - head);
    return at + head;
}

/* As region_open(), without the bitmaps. */
static char *reserve_shrinking(size_t slot_bytes, size_t bytes_min, size_t *bytes)
{
    size_t align = slot_bytes > ALIGN_MIN ? slot_bytes : ALIGN_MIN;
    while (true) { /* bounded: halved until the least */
        char *base = reserve_aligned(*bytes, align);
        if (base || *bytes == bytes_min)
            return base;
        *bytes = *bytes / 2 / slot_bytes * slot_bytes;
        if (*bytes < bytes_min)
            *bytes = bytes_min;
    }
}

int region_open(struct stack_region *r, size_t slot_bytes, size_t bytes_wanted, size_t bytes_min)
{
    JD_ASSERT(bytes_wanted >= bytes_min && bytes_min % slot_bytes == 0);
    JD_ASSERT(bytes_wanted % slot_bytes == 0);
    if (fault_hit(FAULT_STACK))
        return -ENOMEM;
    size_t bytes = bytes_wanted;
    char *base = reserve_shrinking(slot_bytes, bytes_min, &bytes);
    if (!base)
        return -ENOMEM;
    /* A huge page behind a stack would cost a parked task its whole slot. Refused only by kernels
     * built without huge pages, which have nothing to switch off. */
    (void)madvise(base, bytes, MADV_NOHUGEPAGE);
    memset(r, 0, sizeof(*r));
    r->base = base;
    r->bytes = bytes;
    r->slot_bytes = slot_bytes;
    r->slots = (uint32_t)(bytes / slot_bytes);
    r->cold = mem_calloc(bitmap_bytes(r));
    r->trimming = mem_calloc(bitmap_bytes(r));
    if (r->cold && r->trimming)
        return 0;
    region_close(r);
    return -ENOMEM;
}

void region_close(struct stack_region *r)
{
    guard_forget(r->vma_guards);
    mem_free(r->cold, bitmap_bytes(r));
    mem_free(r->trimming, bitmap_bytes(r));
    munmap(r->base, r->bytes);
    memset(r, 0, sizeof(*r));
}

static enum stack_guard weaker_kind(enum stack_guard kind)
{
    return kind == STACK_GUARD_MADV ? STACK_GUARD_MPROTECT : STACK_GUARD_CANARY;
}

/* Guard the slot with this index, with a weaker kind if need be. -ENOMEM is the only error. */
static int guard_slot(struct stack_region *r, uint32_t index, size_t bytes, enum stack_guard *kind)
{
    char *slot = r->base + (size_t)index * r->slot_bytes;
    while (*kind != STACK_GUARD_CANARY) { /* bounded: each round ends or weakens the kind */
        int err = guard_install(*kind, slot, bytes);
        if (!err) {
            /* Relaxed: for slots that are handed out, published under the pool's lock. */
            atom_store(&r->guarded, index + 1, relaxed);
            r->vma_guards += *kind == STACK_GUARD_MPROTECT;
        }
        if (!err || err == -ENOMEM)
            return err;
        *kind = weaker_kind(*kind);
    }
    return 0;
}

int region_carve(struct stack_region *r, uint32_t n, enum stack_guard *kind)
{
    uint32_t first = atom_load(&r->carved, relaxed); /* Relaxed: we are the only writer. */
    if (n > r->slots - first)
        n = r->slots - first;
    char *start = r->base + (size_t)first * r->slot_bytes;
    if (n == 0 || mprotect(start, (size_t)n * r->slot_bytes, PROT_READ | PROT_WRITE) != 0)
        return -ENOMEM;
    size_t bytes = guard_bytes();
    uint32_t end = first;
    while (end < first + n && guard_slot(r, end, bytes, kind) == 0)
        end++;
    /* [STK-2] Release, pairs with the acquire in stack_find_guard(): slots below are open. */
    atom_store(&r->carved, end, release);
    return end > first ? (int)(end - first) : -ENOMEM;
}

uint32_t region_take_cold(struct stack_region *r)
{
    JD_ASSERT(r->cold_count > 0);
    uint32_t word = r->cold_hint;
    while (r->cold[word] == 0) /* bounded: cold_count > 0 */
        word++;
    r->cold_hint = word;
    unsigned bit = (unsigned)__builtin_ctzll(r->cold[word]);
    r->cold[word] &= r->cold[word] - 1;
    r->cold_count--;
    return word * 64 + bit;
}

void region_put_cold(struct stack_region *r, uint32_t first, uint32_t n)
{
    for (uint32_t i = first; i < first + n; i++)
        r->cold[i / 64] |= UINT64_C(1) << (i % 64);
    r->cold_count += n;
    if (first / 64 < r->cold_hint)
        r->cold_hint = first / 64;
}

void region_trim_add(struct stack_region *r, uint32_t index)
{
    uint32_t word = index / 64;
    r->trimming[word] |= UINT64_C(1) << (index % 64);
    if (r->trim_first == r->trim_end) {
        r->trim_first = word;
        r->trim_end = word + 1;
    }
    if (word < r->trim_first)
        r->trim_first = word;
    if (word >= r->trim_end)
        r->trim_end = word + 1;
}

void region_trim_advise(struct stack_region *r)
{
    uint32_t end = r->trim_end * 64 < r->slots ? r->trim_end * 64 : r->slots;
    for (uint32_t i = r->trim_first * 64; i < end; i++) {
        if (!(r->trimming[i / 64] >> (i % 64))) {
            i |= 63; /* nothing more in this word */
            continue;
        }
        uint32_t first = i;
        while (i < end && (r->trimming[i / 64] >> (i % 64) & 1))
            i++;
        /* Guards survive it. A failure keeps the memory, which is what the caller had before. */
        if (i > first)
            (void)madvise(r->base + first * r->slot_bytes, (i - first) * r->slot_bytes,
                          MADV_DONTNEED);
    }
}

void region_trim_finish(struct stack_region *r)
{
    for (uint32_t word = r->trim_first; word < r->trim_end; word++) {
        r->cold[word] |= r->trimming[word];
        r->cold_count += (uint32_t)__builtin_popcountll(r->trimming[word]);
        r->trimming[word] = 0;
    }
    if (r->trim_first < r->cold_hint && r->trim_first < r->trim_end)
        r->cold_hint = r->trim_first;
    r->trim_first = r->trim_end = 0;
}
