/* SPDX-License-Identifier: MIT */
/*
 * Set-up, publication, reaping and system calls of one ring. See uring_ring.h.
 */
#include "reactor/uring_ring.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/attr.h"
#include "base/fault.h"

/* Newest first; each attempt drops one more. COOP_TASKRUN and its flag came together (5.19). */
static const unsigned flag_sets[] = {
    IORING_SETUP_CLAMP | IORING_SETUP_CQSIZE | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_COOP_TASKRUN |
        IORING_SETUP_TASKRUN_FLAG,
    IORING_SETUP_CLAMP | IORING_SETUP_CQSIZE | IORING_SETUP_SUBMIT_ALL,
    IORING_SETUP_CLAMP | IORING_SETUP_CQSIZE,
};

static struct ring_word *word(unsigned *shared)
{
    _Static_assert(sizeof(struct ring_word) == sizeof(unsigned), "laid over shared memory");
    return (struct ring_word *)(void *)shared;
}

static void map_words(struct ring *ring)
{
    struct io_uring_sq *sq = &ring->lib.sq;
    struct io_uring_cq *cq = &ring->lib.cq;

    ring->sq_head = word(sq->khead);
    ring->sq_tail = word(sq->ktail);
    ring->sq_flags = word(sq->kflags);
    ring->cq_head = word(cq->khead);
    ring->cq_tail = word(cq->ktail);
    ring->sq_mask = *sq->kring_mask;
    ring->sq_entries = *sq->kring_entries;
    ring->cq_mask = *cq->kring_mask;
    for (unsigned i = 0; i < ring->sq_entries; i++)
        sq->array[i] = i; /* the indirection is never used */
}

int ring_init(struct ring *ring, unsigned entries)
{
    int error = -EINVAL;

    if (fault_hit(FAULT_URING_SETUP))
        return -EPERM;
    for (unsigned i = 0; i < JD_ARRAY_LEN(flag_sets) && error == -EINVAL; i++) {
        struct io_uring_params params = {
            .flags = flag_sets[i],
            .cq_entries = 4 * entries,
        };

        error = io_uring_queue_init_params(entries, &ring->lib, &params);
    }
    if (error < 0)
        return error;
    map_words(ring);
    error = io_uring_ring_dontfork(&ring->lib);
    if (error < 0)
        ring_fini(ring);
    return error;
}

void ring_fini(struct ring *ring)
{
    io_uring_queue_exit(&ring->lib);
}

struct io_uring_sqe *ring_sqe(struct ring *ring)
{
    /* Relaxed: written under the submit lock, which the caller holds. */
    unsigned tail = atom_load(&ring->sq_tail->value, relaxed);
    struct io_uring_sqe *sqe;

    /* [RING-1] Acquire, pairs with the kernel's store of the head: it has read those SQEs. */
    if (tail - atom_load(&ring->sq_head->value, acquire) >= ring->sq_entries)
        return NULL;
    sqe = &ring->lib.sq.sqes[tail & ring->sq_mask];
    memset(sqe, 0, sizeof(*sqe));
    return sqe;
}

void ring_publish(struct ring *ring)
{
    /* [RING-1] Release, pairs with the kernel's acquire of the tail in whichever thread enters. */
    atom_store(&ring->sq_tail->value, atom_load(&ring->sq_tail->value, relaxed) + 1, release);
}

unsigned ring_reap(struct ring *ring, struct ring_completion *out, unsigned max)
{
    /* Relaxed: written under the reap lock, which the caller holds. */
    unsigned head = atom_load(&ring->cq_head->value, relaxed), count;

    /* [RING-2] Acquire, pairs with the kernel's release of the CQ tail. */
    count = atom_load(&ring->cq_tail->value, acquire) - head;
    if (count > max)
        count = max;
    for (unsigned i = 0; i < count; i++) {
        const struct io_uring_cqe *cqe = &ring->lib.cq.cqes[(head + i) & ring->cq_mask];

        out[i] = (struct ring_completion){ cqe->user_data, cqe->res, cqe->flags };
    }
    /* [RING-2] Release, pairs with the kernel's read of the head: the places are free. */
    if (count > 0)
        atom_store(&ring->cq_head->value, head + count, release);
    return count;
}

int ring_enter(struct ring *ring, int registered, unsigned submit, unsigned min_complete,
               unsigned flags, int64_t wait_ns)
{
    int fd = registered >= 0 ? registered : ring->lib.ring_fd;
    struct __kernel_timespec ts;
    struct io_uring_getevents_arg arg = { 0 };
    long ret;

    if (registered >= 0)
        flags |= IORING_ENTER_REGISTERED_RING;
    if (min_complete > 0 && wait_ns != INT64_MAX) {
        ts.tv_sec = wait_ns / 1000000000;
        ts.tv_nsec = wait_ns % 1000000000;
        arg.ts = (uint64_t)(uintptr_t)&ts;
    }
    if (min_complete > 0)
        ret = syscall(SYS_io_uring_enter, fd, submit, min_complete,
                      flags | IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, &arg, sizeof(arg));
    else
        ret = syscall(SYS_io_uring_enter, fd, submit, 0, flags, NULL, 0);
    return ret < 0 ? -errno : (int)ret;
}

int ring_register_self(struct ring *ring)
{
    struct io_uring_rsrc_update update = {
        .offset = -1U,
        .data = (unsigned)ring->lib.ring_fd,
    };
    long ret =
        syscall(SYS_io_uring_register, ring->lib.ring_fd, IORING_REGISTER_RING_FDS, &update, 1);

    if (ret < 0)
        return -errno;
    return ret == 1 ? (int)update.offset : -EINVAL;
}

void ring_unregister_self(struct ring *ring, int index)
{
    struct io_uring_rsrc_update update = { .offset = (unsigned)index };

    /* Refused (the program has shut itself into a sandbox since): the place, one of the thread's 16,
     * stays taken until the thread ends. */
    (void)syscall(SYS_io_uring_register, ring->lib.ring_fd, IORING_UNREGISTER_RING_FDS, &update, 1);
}

int ring_sync_cancel(struct ring *ring, uint64_t user_data, unsigned flags)
{
    struct io_uring_sync_cancel_reg reg = {
        .addr = user_data,
        .flags = flags,
        .timeout = { .tv_sec = 0, .tv_nsec = 0 }, /* never wait: the CQE tells the end */
    };
    long ret =
        syscall(SYS_io_uring_register, ring->lib.ring_fd, IORING_REGISTER_SYNC_CANCEL, &reg, 1);

    return ret < 0 ? -errno : (int)ret;
}
