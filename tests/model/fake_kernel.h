/* SPDX-License-Identifier: MIT */
#ifndef FAKE_KERNEL_H
#define FAKE_KERNEL_H

/*
 * model_op.c's kernel: a ring, the requests in it, close(2), and the other things that the reactor's
 * sources call. It belongs to that model and uses its variables.
 *
 * I1  Enters, cancels, completions and closes are in one order, that of kernel_lock.
 * I2  At close(2) nothing may be on its way to the descriptor: it would find the next file.
 */

#include "fake_reactor.h"

#if URING_TSAN
/* Not needed: the kernel's lock orders, as the real one does. */
void __tsan_acquire(void *address)
{
    (void)address;
}

void __tsan_release(void *address)
{
    (void)address;
}
#endif

bool nudge_send(struct nudge *n, unsigned index)
{
    (void)n, (void)index;
    return false;
}

static int model_close(int fd)
{
    CHECK_THAT(fd == FD);
    spin_lock(&kernel_lock);
    for (int i = 0; i < REQUESTS; i++) /* it would find the next file of that number */
        CHECK_THAT(!requests[i].used);
    CHECK_THAT(ring_unsubmitted(&port.ring) == 0);
    silent = false; /* the next file has data */
    spin_unlock(&kernel_lock);
    plain_write(closed, plain_read(closed) + 1);
    return 0;
}

struct io_uring_sqe *ring_sqe(struct ring *ring)
{
    unsigned tail = atom_load(&ring->sq_tail->value, relaxed);

    if (tail - atom_load(&ring->sq_head->value, acquire) >= sq_room)
        return NULL;
    memset(&sqes[tail % SQES], 0, sizeof(sqes[0]));
    return &sqes[tail % SQES];
}

void ring_publish(struct ring *ring)
{
    atom_store(&ring->sq_tail->value, atom_load(&ring->sq_tail->value, relaxed) + 1, release);
}

static struct request *request_of(uint64_t user_data)
{
    for (int i = 0; i < REQUESTS; i++) {
        if (requests[i].used && requests[i].user_data == user_data)
            return &requests[i];
    }
    return NULL;
}

static void request_add(uint64_t user_data)
{
    for (int i = 0; i < REQUESTS; i++) {
        if (!requests[i].used) {
            requests[i] = (struct request){ .user_data = user_data, .res = 1, .used = true };
            if (!silent)
                atom_fetch_add(&ready, 1, relaxed);
            return;
        }
    }
    check_fail("too few requests");
}

int ring_enter(struct ring *ring, int registered, unsigned submit, unsigned min_complete,
               unsigned flags, int64_t wait_ns)
{
    unsigned head;

    (void)registered, (void)submit, (void)min_complete, (void)flags, (void)wait_ns;
    spin_lock(&kernel_lock);
    head = atom_load(&ring->sq_head->value, relaxed);
    while (head != atom_load(&ring->sq_tail->value, acquire))
        request_add(sqes[head++ % SQES].user_data);
    atom_store(&ring->sq_head->value, head, release);
    spin_unlock(&kernel_lock);
    return 1;
}

int ring_sync_cancel(struct ring *ring, uint64_t user_data, unsigned flags)
{
    struct request *request;

    (void)ring, (void)flags;
    spin_lock(&kernel_lock);
    request = request_of(user_data);
    if (request && silent && request->res > 0)
        atom_fetch_add(&ready, 1, relaxed);
    if (request)
        request->res = -ECANCELED;
    spin_unlock(&kernel_lock);
    return request ? 0 : -ENOENT;
}

/* The oldest request ends. */
static bool kernel_complete(struct ring_completion *ret)
{
    bool found = false;

    spin_lock(&kernel_lock);
    for (int i = 0; i < REQUESTS && !found; i++) {
        if (!requests[i].used || (silent && requests[i].res > 0))
            continue;
        *ret = (struct ring_completion){ requests[i].user_data, requests[i].res, 0 };
        performed += requests[i].res > 0;
        requests[i].used = false;
        atom_fetch_sub(&ready, 1, relaxed);
        found = true;
    }
    spin_unlock(&kernel_lock);
    return found;
}

#endif /* FAKE_KERNEL_H */
