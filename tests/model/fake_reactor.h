/* SPDX-License-Identifier: MIT */
#ifndef FAKE_REACTOR_H
#define FAKE_REACTOR_H

/*
 * What reactor.c, fd_table.c and a port call besides the kernel, for the models that include those
 * sources: a clock that stands, the checker's memory, nobody to nudge.
 */

int64_t clock_now(void)
{
    return 0;
}

void *mem_alloc(size_t bytes)
{
    return check_alloc(bytes);
}

void *mem_calloc(size_t bytes)
{
    return check_alloc(bytes);
}

void mem_free(void *ptr, size_t bytes)
{
    (void)bytes;
    if (ptr)
        check_free(ptr);
}

int nudge_init(struct nudge *n, unsigned count)
{
    (void)n, (void)count;
    return 0;
}

void nudge_fini(struct nudge *n)
{
    (void)n;
}

void nudge_enter(struct nudge *n, unsigned index)
{
    (void)n, (void)index;
}

void nudge_leave(struct nudge *n, unsigned index)
{
    (void)n, (void)index;
}

#endif /* FAKE_REACTOR_H */
