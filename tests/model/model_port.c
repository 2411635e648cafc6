/* SPDX-License-Identifier: MIT */
/*
 * Model of reactor/waker.h and the lock of a completion queue: the owner parks (sched/park.c,
 * port_uring.c: uring_park), a thief reaps for it (reap), the kernel completes, wakers ring.
 * Claims: each completion is handled once; a parked owner wakes for a completion and for a wake,
 * whoever else reaps; the thief, finding the lock taken, may leave. So nothing is left undone while
 * everybody sleeps.
 *
 * waker.h is compiled unchanged over an eventfd of the model. The ring is a word that counts
 * completions; the multishot poll of the eventfd adds one of its own for every write, which may be
 * reaped by a thief, too.
 */
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "atomic/spin.h"
#include "check.h"

static ssize_t model_read(int fd, void *buf, size_t bytes);
static ssize_t model_write(int fd, const void *buf, size_t bytes);
#define read(fd, buf, bytes) model_read(fd, buf, bytes)
#define write(fd, buf, bytes) model_write(fd, buf, bytes)
#include "reactor/waker.h"
#undef read
#undef write

#define CQE 1u
#define CQE_WAKE 0x100u /* of the eventfd's poll */

static struct port {
    struct spin reap_lock;
    struct waker waker;
    JD_ATOMIC(uint32_t) cqes;
    JD_ATOMIC(uint64_t) device; /* the eventfd's counter */
} port;
static JD_ATOMIC(uint32_t) posted; /* work of another worker, rung for */
static JD_ATOMIC(uint32_t) left;   /* completions and posts not yet handled */
static int payload;                /* written before the completion or the post */

static ssize_t model_read(int fd, void *buf, size_t bytes)
{
    uint64_t count = atom_exchange(&port.device, 0, acq_rel);

    (void)fd;
    memcpy(buf, &count, bytes);
    errno = EAGAIN;
    return count ? (ssize_t)bytes : -1;
}

static ssize_t model_write(int fd, const void *buf, size_t bytes)
{
    (void)fd, (void)buf;
    atom_fetch_add(&port.device, 1, acq_rel);
    atom_fetch_add(&port.cqes, CQE_WAKE, release);
    return (ssize_t)bytes;
}

static void setup_left(uint32_t count)
{
    spin_init(&port.reap_lock);
    atom_init(&port.waker.word, WAKER_RUNNING);
    port.waker.fd = 0;
    atom_init(&port.cqes, 0);
    atom_init(&port.device, 0);
    atom_init(&posted, 0);
    atom_init(&left, count);
    payload = 0;
}

static void setup_1(void)
{
    setup_left(1);
}

static void setup_2(void)
{
    setup_left(2);
}

/* What the task of a completion does: the last one ends the model, by a wake of the owner. */
static void handle(uint32_t count)
{
    if (count > 0 && atom_fetch_sub(&left, count, acq_rel) == count)
        waker_wake(&port.waker);
}

static uint32_t reap(void)
{
    return atom_exchange(&port.cqes, 0, acquire);
}

/* io_uring_enter() */
static bool ring_speaks(void *arg)
{
    (void)arg;
    return check_peek(&port.cqes) != 0;
}

/* sched/park.c and uring_park() */
static void park(void)
{
    uint32_t cqes;

    if (!spin_try_lock(&port.reap_lock)) {
        spin_hint();
        return;
    }
    if (atom_load(&posted, seq_cst) != 0 || atom_load(&left, seq_cst) == 0) { /* W2 */
        spin_unlock(&port.reap_lock);
        return;
    }
    if (waker_prepare(&port.waker)) {
        while (atom_load(&port.cqes, relaxed) == 0 && !waker_is_woken(&port.waker))
            check_block_until(ring_speaks, NULL);
    }
    cqes = reap();
    spin_unlock(&port.reap_lock);
    waker_finish(&port.waker, cqes >= CQE_WAKE);
    handle(cqes % CQE_WAKE);
}

static void owner(void)
{
    while (atom_load(&left, acquire) != 0) {
        if (atom_exchange(&posted, 0, acquire)) {
            CHECK_THAT(plain_read(payload) == 1);
            handle(1);
        } else {
            park();
        }
    }
}

static void thief(void)
{
    uint32_t cqes;

    if (atom_load(&port.cqes, relaxed) == 0 || !spin_try_lock(&port.reap_lock))
        return;
    cqes = reap();
    spin_unlock(&port.reap_lock);
    handle(cqes % CQE_WAKE);
}

static void kernel(void)
{
    atom_fetch_add(&port.cqes, CQE, release);
}

/* ready.c: work, then the bell (idle.h is modelled elsewhere; here everybody rings). */
static void poster(void)
{
    plain_write(payload, 1);
    atom_store(&posted, 1, seq_cst);
    waker_wake(&port.waker);
}

/* A reason without an order of its own: the wake itself must show it. */
static void reasoner(void)
{
    atom_store(&posted, 1, relaxed);
    waker_wake(&port.waker);
}

static void owner_without_look(void)
{
    while (atom_load(&posted, relaxed) == 0) {
        if (waker_prepare(&port.waker)) {
            while (!waker_is_woken(&port.waker))
                check_block_until(ring_speaks, NULL);
        }
        waker_finish(&port.waker, reap() >= CQE_WAKE);
    }
}

static void finish(void)
{
    CHECK_THAT(check_peek(&left) == 0 && check_peek(&posted) == 0);
    CHECK_THAT(check_peek(&port.cqes) % CQE_WAKE == 0);
    CHECK_THAT(check_peek(&port.waker.word) != WAKER_PARKED);
}

static const struct check_model models[] = {
    { .name = "port-wake",
      .setup = setup_1,
      .threads = { owner, poster },
      .finish = finish,
      .bound = 4 },
    { .name = "port-reason",
      .setup = setup_1,
      .threads = { owner_without_look, reasoner },
      .bound = -1 },
    { .name = "port-thief",
      .setup = setup_1,
      .threads = { owner, kernel, thief },
      .finish = finish,
      .bound = 3 },
    { .name = "port-all",
      .setup = setup_2,
      .threads = { owner, kernel, thief, poster },
      .finish = finish,
      .max = 200000 },
};

CHECK_MAIN(models)
