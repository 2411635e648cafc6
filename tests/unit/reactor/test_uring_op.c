/* SPDX-License-Identifier: MIT */
/*
 * The little machine of an op over io_uring, without a kernel: what each CQE leads to.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "jd_test.h"
#include "reactor/uring_op.h"

static struct op make(uint8_t kind)
{
    struct op op = { .kind = kind, .fd = 3 };

    op.stage = URING_DIRECT;
    return op;
}

Test(uring_op, success_and_failure_end_it)
{
    struct op op = make(OP_POLL);
    int result = 0;

    cr_assert(uring_op_ended(&op, 1, &result));
    cr_assert_eq(result, 1);
    cr_assert(uring_op_ended(&op, -ECONNRESET, &result));
    cr_assert_eq(result, -ECONNRESET);
}

Test(uring_op, eagain_waits_for_readiness)
{
    struct io_uring_sqe sqe;
    struct op op = make(OP_SENDMSG);
    int result = 0;

    cr_assert_not(uring_op_ended(&op, -EAGAIN, &result));
    cr_assert_eq(op.stage, URING_READY);
    memset(&sqe, 0, sizeof(sqe));
    uring_op_prepare(&op, &sqe);
    cr_assert_eq(sqe.opcode, IORING_OP_POLL_ADD);
    cr_assert_eq(sqe.poll32_events & POLLOUT, (unsigned)POLLOUT);
    cr_assert_not(uring_op_ended(&op, POLLOUT, &result));
    cr_assert_eq(op.stage, URING_DIRECT, "ready: now the operation itself");
    op = make(OP_SENDMSG);
    op.op_flags = MSG_DONTWAIT;
    cr_assert(uring_op_ended(&op, -EAGAIN, &result));
    cr_assert_eq(result, -EAGAIN, "the user wanted to know");
}

Test(uring_op, a_cancel_nobody_asked_for_is_repeated)
{
    struct op op = make(OP_RECV);
    int result = 0;

    cr_assert_not(uring_op_ended(&op, -ECANCELED, &result));
    cr_assert_not(uring_op_ended(&op, -EINTR, &result));
    atom_store(&op.asked, OP_ASKED_CLOSE, relaxed);
    cr_assert(uring_op_ended(&op, -EINTR, &result));
    cr_assert_eq(result, -ECANCELED);
    op = make(OP_RECV);
    atom_store(&op.asked, OP_ASKED_CANCEL, relaxed);
    cr_assert(uring_op_ended(&op, -EAGAIN, &result), "no more waiting");
    cr_assert_eq(result, -ECANCELED);
}

Test(uring_op, a_repeated_connect_may_have_succeeded)
{
    struct op op = make(OP_CONNECT);
    int result = 0;

    cr_assert(uring_op_ended(&op, -EISCONN, &result));
    cr_assert_eq(result, -EISCONN, "the first attempt: the user's mistake");
    op = make(OP_CONNECT);
    cr_assert_not(uring_op_ended(&op, -ECANCELED, &result));
    cr_assert_not(uring_op_ended(&op, -EALREADY, &result));
    cr_assert_eq(op.stage, URING_READY);
    cr_assert_not(uring_op_ended(&op, POLLOUT, &result));
    cr_assert(uring_op_ended(&op, -EISCONN, &result));
    cr_assert_eq(result, 0);
}

Test(uring_op, user_data_carries_all)
{
    struct op op;
    uint64_t name = uring_user_data(&op, URING_TAG_OP, 0xfedc);

    cr_assert_eq(uring_user_record(name), (void *)&op);
    cr_assert_eq(name >> 48, 0xfedcu);
    cr_assert_eq(uring_user_data(NULL, URING_TAG_WAKE, 1) & URING_TAG_MASK, URING_TAG_WAKE);
}
