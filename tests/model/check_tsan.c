/* SPDX-License-Identifier: MIT */
/*
 * Ordinary memory accesses of a model that is compiled with -fsanitize=thread: the compiler calls
 * the functions below instead of ThreadSanitizer's library, which is not linked. So lists, results
 * and frames that no plain_read() marks are checked for races and use after free, too.
 *
 * I1  Only the model is compiled that way, never check_*.c. Without the flag nothing here runs.
 * I2  Accesses count per 4 bytes (smaller ones by their own address), so neighbours with different
 *     guards do not mix. What is reported stands near the thread's last atomic operation.
 * I3  setup() and finish() race with nobody; of what they touch, only blocks can be dead.
 *
 * Rejected: plain_read() everywhere in base/list.h and the kernels' callers (noise, forgotten
 * once, unchecked for ever).
 */
#include "check_internal.h"

#include <string.h>

#define GRANULE 4

static void touch(const void *addr, size_t bytes, bool write)
{
    uintptr_t at = (uintptr_t)addr;
    struct check_site site;
    bool trace = engine.trace;

    if (!engine.active)
        return;
    if (engine.running == CHECK_MAIN_THREAD && race_block_of(addr) == NO_BLOCK) /* I3 */
        return;
    engine.trace = false; /* too many to print; a race among them is reported all the same */
    site = engine_self()->last;
    site.object = write ? "memory (write nearby)" : "memory (read nearby)";
    do { /* bounded by bytes */
        check_plain((void *)at, write, &site);
        at += GRANULE;
    } while (at < (uintptr_t)addr + bytes);
    engine.trace = trace;
}

/* Declared here: the compiler knows them, no header does. */
#define ACCESS(name, bytes, write) \
    void name(void *addr); \
    void name(void *addr) \
    { \
        touch(addr, bytes, write); \
    }

ACCESS(__tsan_read1, 1, false)
ACCESS(__tsan_read2, 2, false)
ACCESS(__tsan_read4, 4, false)
ACCESS(__tsan_read8, 8, false)
ACCESS(__tsan_read16, 16, false)
ACCESS(__tsan_write1, 1, true)
ACCESS(__tsan_write2, 2, true)
ACCESS(__tsan_write4, 4, true)
ACCESS(__tsan_write8, 8, true)
ACCESS(__tsan_write16, 16, true)
ACCESS(__tsan_unaligned_read2, 2, false)
ACCESS(__tsan_unaligned_read4, 4, false)
ACCESS(__tsan_unaligned_read8, 8, false)
ACCESS(__tsan_unaligned_read16, 16, false)
ACCESS(__tsan_unaligned_write2, 2, true)
ACCESS(__tsan_unaligned_write4, 4, true)
ACCESS(__tsan_unaligned_write8, 8, true)
ACCESS(__tsan_unaligned_write16, 16, true)

void __tsan_init(void);
void __tsan_init(void)
{
}

void __tsan_func_entry(void *caller);
void __tsan_func_entry(void *caller)
{
    (void)caller;
}

void __tsan_func_exit(void);
void __tsan_func_exit(void)
{
}

void __tsan_read_range(void *addr, size_t bytes);
void __tsan_read_range(void *addr, size_t bytes)
{
    touch(addr, bytes, false);
}

void __tsan_write_range(void *addr, size_t bytes);
void __tsan_write_range(void *addr, size_t bytes)
{
    touch(addr, bytes, true);
}

void *__tsan_memset(void *to, int byte, size_t bytes);
void *__tsan_memset(void *to, int byte, size_t bytes)
{
    touch(to, bytes, true);
    return memset(to, byte, bytes);
}

void *__tsan_memcpy(void *to, const void *from, size_t bytes);
void *__tsan_memcpy(void *to, const void *from, size_t bytes)
{
    touch(from, bytes, false);
    touch(to, bytes, true);
    return memcpy(to, from, bytes);
}
