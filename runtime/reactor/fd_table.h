/* SPDX-License-Identifier: MIT */
#ifndef REACTOR_FD_TABLE_H
#define REACTOR_FD_TABLE_H

/*
 * What the reactor knows of each file descriptor: which ops are in flight on it, whether it is
 * being closed, and (epoll port) where it is registered. Both ports use it.
 *
 * I1  A slot lives until the table dies: a look-up takes no lock and never dangles.
 * I2  OPEN -> CLOSING -> RELEASING -> OPEN. CLOSING admits nobody; RELEASING lasts for close(2)
 *     itself, which is when the number becomes free: who comes then waits, since he may hold the
 *     next file of that number.
 * I3  CLOSING with an empty list does not exist: who removes the last op moves to RELEASING and
 *     must close.
 * I4  The generation changes with every close that went through here.
 *
 * Rejected: a hash table (descriptors are small and dense), clearing the closing mark before
 * close(2) (a straggler's op would then reach the next file of that number).
 */
#include <stdbool.h>
#include <stdint.h>

#include "atomic/spin.h"
#include "reactor/op.h"

struct fd_close;

enum fd_state { FD_OPEN, FD_CLOSING, FD_RELEASING };
enum fd_class {
    FD_CLASS_UNKNOWN,
    FD_CLASS_FILE,
    FD_CLASS_SOCKET,
    FD_CLASS_STREAM, /* pipes and the like */
    FD_CLASS_DEVICE, /* terminals: "ready" says that there is room for one byte */
};
enum fd_direction { FD_IN, FD_OUT, FD_ANY, FD_DIRECTION_COUNT };

/* All fields are guarded by the lock unless they say otherwise. */
struct fd_slot {
    struct spin lock;
    uint32_t generation;
    uint8_t state; /* enum fd_state */
    struct list ops;
    struct fd_close *closer;
    /* A hint of the uring port: a stale one (the user called close(2)) costs time only. */
    JD_ATOMIC(uint8_t) class_hint;

    /* Epoll port: the instance the descriptor is registered at, and what is armed there. */
    int epoll_port; /* -1: none */
    uint32_t epoll_armed;
    bool running[FD_ANY]; /* a thread does system calls for this direction */
    bool expect_wait;     /* the last receive drained the socket: the next one waits first */
};

#define FD_CHUNK_SLOTS 256u
#define FD_CHUNK_COUNT 16384u /* 4 Mi descriptors */

struct fd_chunk;

struct fd_table {
    JD_ATOMIC(struct fd_chunk *) * chunks;
};

int fd_table_init(struct fd_table *t);
void fd_table_fini(struct fd_table *t);

/* The slot of a descriptor, made on first use. -EBADF: out of the table. -ENOMEM. */
int fd_table_slot(struct fd_table *t, int fd, struct fd_slot **ret);

/* Takes the lock; waits while somebody else is inside close(2) for this number. */
void fd_slot_lock(struct fd_slot *slot);

/* Links an op. -EBADF: being closed. */
int fd_slot_admit(struct fd_slot *slot, struct op *op);

/* Unlinks an op. Not NULL: that was the last one of a closing slot, the caller must close. */
struct fd_close *fd_slot_leave(struct fd_slot *slot, struct op *op);

/* After close(2): the number's next life begins. */
void fd_slot_reopen(struct fd_slot *slot);

/* Asks the kernel what kind of file this is; negative errno. */
int fd_classify(int fd);
/* Is it open for this direction? The wrong end of a pipe never becomes ready. True when unknown. */
bool fd_allows(int fd, bool write);

#endif /* REACTOR_FD_TABLE_H */
