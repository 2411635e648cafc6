/* SPDX-License-Identifier: MIT */
/*
 * The descriptor table: a fixed directory of chunks, each allocated by the first descriptor that
 * falls into it and never freed before the table (fd_table.h I1).
 *
 * Any worker thread may enter; reactor_close() also from plain threads.
 */
#include "reactor/fd_table.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/assert.h"

struct fd_chunk {
    struct fd_slot slots[FD_CHUNK_SLOTS];
};

int fd_table_init(struct fd_table *t)
{
    t->chunks = mem_calloc(FD_CHUNK_COUNT * sizeof(*t->chunks));
    return t->chunks ? 0 : -ENOMEM;
}

void fd_table_fini(struct fd_table *t)
{
    if (!t->chunks)
        return;
    for (unsigned i = 0; i < FD_CHUNK_COUNT; i++) {
        /* Relaxed: nobody else is inside any more. */
        struct fd_chunk *chunk = atom_load(&t->chunks[i], relaxed);

        if (JD_UNLIKELY(chunk != NULL))
            mem_free(chunk, sizeof(*chunk));
    }
    mem_free(t->chunks, FD_CHUNK_COUNT * sizeof(*t->chunks));
    t->chunks = NULL;
}

static void slot_init(struct fd_slot *slot)
{
    spin_init(&slot->lock);
    slot->state = FD_OPEN;
    list_init(&slot->ops);
    slot->epoll_port = -1;
    atom_init(&slot->class_hint, FD_CLASS_UNKNOWN);
}

static struct fd_chunk *chunk_make(struct fd_table *t, unsigned index)
{
    struct fd_chunk *chunk = mem_calloc(sizeof(*chunk)), *other = NULL;

    if (!chunk)
        return NULL;
    for (unsigned i = 0; i < FD_CHUNK_SLOTS; i++)
        slot_init(&chunk->slots[i]);
    /* [FDT-1] Release, pairs with the acquire loads of the same word: initialised slots. */
    if (atom_cas(&t->chunks[index], &other, chunk, release, acquire))
        return chunk;
    mem_free(chunk, sizeof(*chunk));
    return other;
}

int fd_table_slot(struct fd_table *t, int fd, struct fd_slot **ret)
{
    unsigned index = (unsigned)fd / FD_CHUNK_SLOTS;
    struct fd_chunk *chunk;

    if (fd < 0 || index >= FD_CHUNK_COUNT)
        return -EBADF;
    /* [FDT-1] Acquire, pairs with the release in chunk_make(). */
    chunk = atom_load(&t->chunks[index], acquire);
    if (JD_UNLIKELY(!chunk)) {
        chunk = chunk_make(t, index);
        if (!chunk)
            return -ENOMEM;
    }
    *ret = &chunk->slots[(unsigned)fd % FD_CHUNK_SLOTS];
    return 0;
}

void fd_slot_lock(struct fd_slot *slot)
{
    spin_lock(&slot->lock);
    while (JD_UNLIKELY(slot->state == FD_RELEASING)) { /* bounded by one close(2) */
        spin_unlock(&slot->lock);
        sched_yield();
        spin_lock(&slot->lock);
    }
}

int fd_slot_admit(struct fd_slot *slot, struct op *op)
{
    int error = 0;

    fd_slot_lock(slot);
    if (slot->state == FD_CLOSING)
        error = -EBADF;
    else
        list_add_tail(&slot->ops, &op->fd_link);
    spin_unlock(&slot->lock);
    return error;
}

struct fd_close *fd_slot_leave(struct fd_slot *slot, struct op *op)
{
    struct fd_close *closer = NULL;

    spin_lock(&slot->lock);
    JD_ASSERT(list_is_linked(&op->fd_link));
    JD_ASSERT(slot->state != FD_RELEASING);
    list_del(&op->fd_link);
    if (slot->state == FD_CLOSING && list_is_empty(&slot->ops)) {
        slot->state = FD_RELEASING;
        closer = slot->closer;
        slot->closer = NULL;
    }
    spin_unlock(&slot->lock);
    return closer;
}

void fd_slot_reopen(struct fd_slot *slot)
{
    spin_lock(&slot->lock);
    JD_ASSERT(slot->state == FD_RELEASING);
    slot->state = FD_OPEN;
    slot->generation++;
    slot->expect_wait = false;
    atom_store(&slot->class_hint, FD_CLASS_UNKNOWN, relaxed); /* Relaxed: a hint. */
    spin_unlock(&slot->lock);
}

int fd_classify(int fd)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        return -errno;
    if (S_ISSOCK(st.st_mode))
        return FD_CLASS_SOCKET;
    if (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode) || S_ISDIR(st.st_mode))
        return FD_CLASS_FILE;
    return S_ISCHR(st.st_mode) ? FD_CLASS_DEVICE : FD_CLASS_STREAM;
}

bool fd_allows(int fd, bool write)
{
    int flags = fcntl(fd, F_GETFL), mode = flags & O_ACCMODE;

    return flags < 0 || mode == O_RDWR || mode == (write ? O_WRONLY : O_RDONLY);
}
