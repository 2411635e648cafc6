/* SPDX-License-Identifier: MIT */
/* See guard.h for the kinds and their invariants. */
#include "fiber/guard.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "atomic/atomic.h"
#include "base/assert.h"
#include "base/fault.h"

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

enum {
    MAX_MAP_COUNT_DEFAULT = 65530, /* the kernel's, for when /proc is not mounted */
    VMAS_PER_GUARD = 2             /* the guard, and the stack it cuts off */
};

static const char *const kind_names[STACK_GUARD_COUNT] = {
    [STACK_GUARD_AUTO] = "auto",
    [STACK_GUARD_MADV] = "madv",
    [STACK_GUARD_MPROTECT] = "mprotect",
    [STACK_GUARD_CANARY] = "canary",
};

/* VMAs taken by mprotect guards: of the process, as vm.max_map_count is. */
static JD_ATOMIC(size_t) guard_vmas;
static JD_ATOMIC(size_t) guard_vmas_max; /* 0: not read yet */

const char *guard_name(enum stack_guard kind)
{
    JD_ASSERT((unsigned)kind < STACK_GUARD_COUNT);
    return kind_names[kind];
}

size_t guard_bytes(void)
{
#if defined(__aarch64__)
    const size_t at_least = 65536;
#else
    const size_t at_least = 4096;
#endif
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return page > at_least ? page : at_least;
}

static bool try_madv(void)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    void *at = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED)
        return false;
    bool ok = madvise(at, page, MADV_GUARD_INSTALL) == 0;
    munmap(at, page);
    return ok;
}

static int parse_kind(const char *text, enum stack_guard *ret_kind)
{
    for (unsigned kind = 0; kind < STACK_GUARD_COUNT; kind++) {
        if (strcmp(text, kind_names[kind]) == 0) {
            *ret_kind = (enum stack_guard)kind;
            return 0;
        }
    }
    return -EINVAL;
}

int guard_choose(enum stack_guard wanted, enum stack_guard *ret_kind)
{
    const char *text = wanted == STACK_GUARD_AUTO ? getenv("JACKDAW_STACK_GUARD") : NULL;
    if (text && *text) {
        int err = parse_kind(text, &wanted);
        if (err)
            return err;
    }
    if (wanted == STACK_GUARD_AUTO)
        wanted = try_madv() ? STACK_GUARD_MADV : STACK_GUARD_MPROTECT;
    else if (wanted == STACK_GUARD_MADV && !try_madv())
        return -ENOSYS;
    *ret_kind = wanted;
    return 0;
}

static size_t read_max_map_count(void)
{
    char text[32];
    int fd = open("/proc/sys/vm/max_map_count", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return MAX_MAP_COUNT_DEFAULT;
    ssize_t len = read(fd, text, sizeof(text) - 1);
    close(fd);
    if (len <= 0)
        return MAX_MAP_COUNT_DEFAULT;
    text[len] = '\0';
    size_t count = strtoull(text, NULL, 10);
    return count ? count : MAX_MAP_COUNT_DEFAULT;
}

static bool take_budget(void)
{
    /* Relaxed throughout: a count and a constant, they publish nothing. */
    size_t max = atom_load(&guard_vmas_max, relaxed);
    if (max == 0) {
        max = read_max_map_count() / 2;
        atom_store(&guard_vmas_max, max, relaxed);
    }
    if (atom_fetch_add(&guard_vmas, VMAS_PER_GUARD, relaxed) + VMAS_PER_GUARD <= max)
        return true;
    guard_forget(1);
    return false;
}

void guard_forget(size_t n)
{
    atom_fetch_sub(&guard_vmas, n * VMAS_PER_GUARD, relaxed); /* Relaxed: as above. */
}

int guard_install(enum stack_guard kind, void *at, size_t bytes)
{
    if (fault_hit(FAULT_STACK))
        return -ENOMEM;
    if (kind == STACK_GUARD_MADV)
        return madvise(at, bytes, MADV_GUARD_INSTALL) == 0 ? 0 : -errno;
    JD_ASSERT(kind == STACK_GUARD_MPROTECT);
    if (!take_budget())
        return -ENOSPC;
    if (mprotect(at, bytes, PROT_NONE) == 0)
        return 0;
    int err = -errno;
    guard_forget(1);
    /* The kernel's answer when the process is out of VMAs: others used our half as well. */
    return err == -ENOMEM ? -ENOSPC : err;
}
