/* SPDX-License-Identifier: MIT */
/*
 * Is io_uring usable here? Features, opcodes, and a self-test of what the port relies on, since
 * sandboxes may allow the set-up and refuse the rest: a receive that completes, a receive that is
 * cancelled by IORING_REGISTER_SYNC_CANCEL, a multishot poll that wakes. About 200 us.
 *
 * Runs on the thread that makes the reactor; leaves nothing behind.
 */
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/attr.h"
#include "reactor/uring_port.h"

#define TEST_ENTRIES 4u
#define TEST_WAIT_NS INT64_C(1000000000) /* a healthy kernel needs microseconds */
#define TRIES_MAX 4                      /* of what a signal may interrupt */

enum { NAME_RECV = 1, NAME_CANCELLED, NAME_POLL };

static const uint8_t needed_ops[] = {
    IORING_OP_RECV,   IORING_OP_SEND,    IORING_OP_READ,    IORING_OP_WRITE,
    IORING_OP_READV,  IORING_OP_WRITEV,  IORING_OP_RECVMSG, IORING_OP_SENDMSG,
    IORING_OP_ACCEPT, IORING_OP_CONNECT, IORING_OP_FSYNC,   IORING_OP_POLL_ADD,
};

static JD_PRINTF(3, 4) int refuse(char why[PORT_WHY_BYTES], int error, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)vsnprintf(why, PORT_WHY_BYTES, format, args); /* cut off when too long */
    va_end(args);
    return error;
}

static const char *likely_cause(int error)
{
    switch (error) {
    case -EPERM:
        return " (kernel.io_uring_disabled or seccomp)";
    case -ENOSYS:
        return " (no io_uring in this kernel, or seccomp)";
    case -ENOMEM:
        return " (RLIMIT_MEMLOCK or the memory cgroup)";
    default:
        return "";
    }
}

static int check_features(const struct ring *ring, char why[PORT_WHY_BYTES])
{
    unsigned need = IORING_FEAT_NODROP | IORING_FEAT_FAST_POLL | IORING_FEAT_EXT_ARG |
                    IORING_FEAT_SUBMIT_STABLE | IORING_FEAT_RW_CUR_POS;

    if ((ring->lib.features & need) != need)
        return refuse(why, -ENOSYS, "io_uring lacks features: has 0x%x, needs 0x%x",
                      ring->lib.features, need);
    return 0;
}

static int check_opcodes(struct ring *ring, char why[PORT_WHY_BYTES])
{
    struct io_uring_probe *probe = io_uring_get_probe_ring(&ring->lib);
    int error = 0;

    if (!probe)
        return refuse(why, -ENOSYS, "io_uring_register: no opcode probe");
    for (unsigned i = 0; i < JD_ARRAY_LEN(needed_ops) && error == 0; i++)
        if (!io_uring_opcode_supported(probe, needed_ops[i]))
            error = refuse(why, -ENOSYS, "io_uring lacks opcode %d", needed_ops[i]);
    io_uring_free_probe(probe);
    return error;
}

static int submit_one(struct ring *ring)
{
    int ret = -EINTR;

    for (int tries = 0; tries < TRIES_MAX && ret == -EINTR; tries++)
        ret = ring_enter(ring, -1, 1, 0, 0, 0);
    return ret < 0 ? ret : ret == 1 ? 0 : -EIO;
}

/* Waits for one CQE of the given name. */
static int expect(struct ring *ring, uint64_t name, int32_t *ret_res)
{
    struct ring_completion cqe;
    int ret = 0;

    for (int tries = 0; tries < TRIES_MAX && !ring_has_cqe(ring); tries++) {
        ret = ring_enter(ring, -1, 0, 1, 0, TEST_WAIT_NS);
        if (ret < 0 && ret != -EINTR)
            break;
    }
    if (ring_reap(ring, &cqe, 1) == 0)
        return ret < 0 ? ret : -ETIME;
    *ret_res = cqe.res;
    return cqe.user_data == name ? 0 : -EIO;
}

static int stage_recv(struct ring *ring, int fd, char *byte, uint64_t name)
{
    struct io_uring_sqe *sqe = ring_sqe(ring);

    if (!sqe)
        return -EIO;
    io_uring_prep_recv(sqe, fd, byte, 1, 0);
    sqe->user_data = name;
    ring_publish(ring);
    return submit_one(ring);
}

static int test_recv(struct ring *ring, const int pair[2])
{
    char byte = 0;
    int32_t res = 0;
    int error = stage_recv(ring, pair[0], &byte, NAME_RECV);

    if (error == 0 && send(pair[1], "x", 1, MSG_NOSIGNAL) != 1)
        error = -errno;
    if (error == 0)
        error = expect(ring, NAME_RECV, &res);
    return error < 0 ? error : res == 1 && byte == 'x' ? 0 : -EIO;
}

static int test_cancel(struct ring *ring, const int pair[2])
{
    char byte = 0;
    int32_t res = 0;
    int error = stage_recv(ring, pair[0], &byte, NAME_CANCELLED);

    if (error == 0)
        error = ring_sync_cancel(ring, NAME_CANCELLED, 0);
    if (error == -EINVAL)
        error = -ENOSYS; /* kernel before 6.0 */
    if (error >= 0)
        error = expect(ring, NAME_CANCELLED, &res);
    return error < 0 ? error : res == -ECANCELED ? 0 : -EIO;
}

static int test_multishot(struct ring *ring, int event)
{
    struct io_uring_sqe *sqe = ring_sqe(ring);
    int error = sqe ? 0 : -EIO;

    if (error == 0) {
        io_uring_prep_poll_multishot(sqe, event, POLLIN);
        sqe->user_data = NAME_POLL;
        ring_publish(ring);
        error = submit_one(ring);
    }
    for (int i = 0; i < 2 && error == 0; i++) {
        int32_t res = 0;

        if (eventfd_put(event) < 0)
            return -errno;
        error = expect(ring, NAME_POLL, &res);
        if (error == 0 && (res <= 0 || eventfd_take(event) < 0))
            error = -EIO;
    }
    return error;
}

static int self_test(struct ring *ring, char why[PORT_WHY_BYTES])
{
    const char *step = "recv";
    int pair[2], event, error;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return refuse(why, -errno, "socketpair: %s", strerrorname_np(errno));
    event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    error = event < 0 ? -errno : test_recv(ring, pair);
    if (error == 0) {
        step = "cancel";
        error = test_cancel(ring, pair);
    }
    if (error == 0) {
        step = "multishot poll";
        error = test_multishot(ring, event);
    }
    if (event >= 0)
        close(event);
    close(pair[0]);
    close(pair[1]);
    if (error < 0)
        return refuse(why, error, "io_uring self-test, %s: %s", step, strerrorname_np(-error));
    return 0;
}

int uring_probe(char why[PORT_WHY_BYTES])
{
    struct ring ring;
    int error;

    if (uring_blocks_all_threads())
        return refuse(why, -ENOSYS, "valgrind stops all threads during io_uring_enter");
    error = ring_init(&ring, TEST_ENTRIES);
    if (error < 0)
        return refuse(why, error, "io_uring_setup: %s%s", strerrorname_np(-error),
                      likely_cause(error));
    error = check_features(&ring, why);
    if (error == 0)
        error = check_opcodes(&ring, why);
    if (error == 0)
        error = self_test(&ring, why);
    if (error == 0)
        snprintf(why, PORT_WHY_BYTES, "io_uring works%s",
                 ring.lib.flags & IORING_SETUP_TASKRUN_FLAG ? "" : ", without TASKRUN_FLAG");
    ring_fini(&ring);
    return error;
}
