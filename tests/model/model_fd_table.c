/* SPDX-License-Identifier: MIT */
/*
 * Model of the look-up in reactor/fd_table.c: chunks that are made by whoever comes first. Claims:
 * all get the same slot, initialised; the chunk that lost is freed unseen. (What happens in a slot
 * is modelled by model_op.c.)
 *
 * The .c file is included because it is the protocol under test; chunks are made small.
 */
#include <sched.h>

#include "reactor/fd_table.h"

#include "check.h"

#undef FD_CHUNK_SLOTS
#define FD_CHUNK_SLOTS 2u
#define sched_yield() spin_hint()
#include "reactor/fd_table.c"

#define FD 1

static struct fd_table table;
static JD_ATOMIC(struct fd_chunk *) chunk;

void *mem_calloc(size_t bytes)
{
    return check_alloc(bytes);
}

void mem_free(void *ptr, size_t bytes)
{
    (void)bytes;
    check_free(ptr);
}

static void setup(void)
{
    atom_init(&chunk, NULL);
    table.chunks = (void *)&chunk; /* another anonymous struct */
}

static void admit_and_leave(void)
{
    struct fd_slot *slot;
    struct op *op = check_alloc(sizeof(*op));

    CHECK_THAT(fd_table_slot(&table, FD, &slot) == 0);
    CHECK_THAT(slot->epoll_port == -1);
    CHECK_THAT(fd_slot_admit(slot, op) == 0);
    CHECK_THAT(!fd_slot_leave(slot, op));
    check_free(op);
}

static void finish(void)
{
    struct fd_slot *slot;

    CHECK_THAT(fd_table_slot(&table, FD, &slot) == 0);
    CHECK_THAT(list_is_empty(&slot->ops) && slot->state == FD_OPEN);
    check_free(check_peek(&chunk));
}

static const struct check_model models[] = {
    { .name = "fd-first-slot",
      .setup = setup,
      .threads = { admit_and_leave, admit_and_leave },
      .finish = finish,
      .bound = 3 },
};

CHECK_MAIN(models)
