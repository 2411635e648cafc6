/* SPDX-License-Identifier: MIT */
/*
 * Makes the clock functions of the vDSO system calls, for good: see watch.h I2. The image is an ELF
 * file in memory, which the kernel maps into every process.
 */
#include "sim/watch.h"

#if defined(__x86_64__)

#include <dirent.h>
#include <fcntl.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/attr.h"
#include "io/sys.h"

static struct {
    uintptr_t begin, end; /* of its code */
    bool patched;
} vdso;

bool vdso_contains(uintptr_t address)
{
    return address >= vdso.begin && address < vdso.end;
}

struct image {
    uintptr_t load;
    const ElfW(Dyn) * dynamic;
    const char *strings;
    const ElfW(Sym) * symbols;
    const uint32_t *hash; /* buckets, chains = symbols */
};

static bool image_open(struct image *image)
{
    uintptr_t base = getauxval(AT_SYSINFO_EHDR);
    const ElfW(Ehdr) *header = (const void *)base;
    const ElfW(Phdr) * segment;

    if (!base)
        return false;
    segment = (const void *)(base + header->e_phoff);
    for (unsigned i = 0; i < header->e_phnum; i++) {
        if (segment[i].p_type == PT_DYNAMIC)
            image->dynamic = (const void *)(base + segment[i].p_offset);
        if (segment[i].p_type != PT_LOAD)
            continue;
        image->load = base + segment[i].p_offset - segment[i].p_vaddr;
        vdso.begin = base;
        vdso.end = base + segment[i].p_memsz;
    }
    for (const ElfW(Dyn) *d = image->dynamic; d && d->d_tag != DT_NULL; d++) {
        if (d->d_tag == DT_STRTAB)
            image->strings = (const char *)(image->load + d->d_un.d_ptr);
        else if (d->d_tag == DT_SYMTAB)
            image->symbols = (const void *)(image->load + d->d_un.d_ptr);
        else if (d->d_tag == DT_HASH)
            image->hash = (const uint32_t *)(image->load + d->d_un.d_ptr);
    }
    return image->strings && image->symbols && image->hash;
}

/* mov $number, %eax; syscall; ret */
static bool patch(int memory, uintptr_t function, uint32_t number)
{
    unsigned char code[8] = { 0xb8, 0, 0, 0, 0, 0x0f, 0x05, 0xc3 };

    memcpy(code + 1, &number, sizeof(number));
    return pwrite(memory, code, sizeof(code), (off_t)function) == (ssize_t)sizeof(code);
}

static bool patch_all(int memory, const struct image *image)
{
    static const struct {
        const char *name;
        uint32_t number;
    } functions[] = { { "__vdso_clock_gettime", SYS_clock_gettime },
                      { "__vdso_gettimeofday", SYS_gettimeofday },
                      { "__vdso_time", SYS_time },
                      { "__vdso_getrandom", SYS_getrandom } };
    bool right = true;

    for (uint32_t i = 0; i < image->hash[1]; i++)
        for (size_t n = 0; n < JD_ARRAY_LEN(functions); n++)
            if (image->symbols[i].st_size >= 8 &&
                !strcmp(image->strings + image->symbols[i].st_name, functions[n].name))
                right &=
                    patch(memory, image->load + image->symbols[i].st_value, functions[n].number);
    return right;
}

/* Its number and two addresses; else "running", or -1 and the addresses. */
static bool is_in_system_call(const char *thread)
{
    char path[64], state[16] = "";
    int fd;

    snprintf(path, sizeof(path), "/proc/self/task/%.16s/syscall", thread);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        (void)!read(fd, state, sizeof(state) - 1); /* nothing read is a no */
        (void)close(fd);
    }
    return state[0] >= '0' && state[0] <= '9';
}

/* Who waits in the kernel does not stand in the middle of what is replaced. */
static bool others_wait(void)
{
    DIR *threads = opendir("/proc/self/task");
    bool wait = threads != NULL;
    struct dirent *entry;

    while (wait && (entry = readdir(threads)))
        wait = entry->d_name[0] == '.' || atol(entry->d_name) == syscall(SYS_gettid) ||
               is_in_system_call(entry->d_name);
    if (threads)
        (void)closedir(threads); /* only read from */
    return wait;
}

JD_NOINLINE bool vdso_patch(void)
{
    struct image image = { .load = 0 };
    int saved = sys_error_save(), memory = -1;

    if (!vdso.patched && others_wait() && image_open(&image))
        memory = open("/proc/self/mem", O_RDWR | O_CLOEXEC); /* it is not writable itself */
    if (memory >= 0) {
        vdso.patched = patch_all(memory, &image);
        (void)close(memory);
    }
    (void)sys_error_take(saved);
    return vdso.patched;
}

#endif
