/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include "base/fault.h"
#include "jd_test.h"
#include "reactor/fd_table.h"
#include "reactor/reactor.h"

#define SAME_FD 70000

Test(fd_table, bounds)
{
    struct fd_table t;
    struct fd_slot *slot = NULL, *again = NULL;

    cr_assert_eq(fd_table_init(&t), 0);
    cr_assert_eq(fd_table_slot(&t, -1, &slot), -EBADF);
    cr_assert_eq(fd_table_slot(&t, INT32_MAX, &slot), -EBADF);
    cr_assert_eq(fd_table_slot(&t, (int)(FD_CHUNK_SLOTS * FD_CHUNK_COUNT), &slot), -EBADF);
    cr_assert_eq(fd_table_slot(&t, (int)(FD_CHUNK_SLOTS * FD_CHUNK_COUNT) - 1, &slot), 0);
    cr_assert_eq(fd_table_slot(&t, (int)(FD_CHUNK_SLOTS * FD_CHUNK_COUNT) - 1, &again), 0);
    cr_assert_eq(slot, again);
    cr_assert_eq(fd_table_slot(&t, 0, &again), 0);
    cr_assert_neq(slot, again);
    fd_table_fini(&t);
}

Test(fd_table, out_of_memory)
{
    struct fd_table t;
    struct fd_slot *slot = NULL;

    fault_arm(FAULT_ALLOC, 0, 1);
    cr_assert_eq(fd_table_init(&t), -ENOMEM);
    cr_assert_eq(fd_table_init(&t), 0);
    fault_arm(FAULT_ALLOC, 0, 1);
    cr_assert_eq(fd_table_slot(&t, 3, &slot), -ENOMEM);
    cr_assert_null(slot);
    cr_assert_eq(fd_table_slot(&t, 3, &slot), 0);
    fault_arm(FAULT_ALLOC, 0, 0);
    fd_table_fini(&t);
}

static void *look_up(void *arg)
{
    struct fd_slot *slot = NULL;

    cr_assert_eq(fd_table_slot(arg, SAME_FD, &slot), 0);
    spin_lock(&slot->lock);
    slot->epoll_armed++;
    spin_unlock(&slot->lock);
    return slot;
}

Test(fd_table, threads_agree_on_a_slot)
{
    for (unsigned long i = jd_test_rounds(200); i > 0; i--) {
        struct fd_table t;
        pthread_t other;
        struct fd_slot *mine;
        void *theirs;

        cr_assert_eq(fd_table_init(&t), 0);
        cr_assert_eq(pthread_create(&other, NULL, look_up, &t), 0);
        mine = look_up(&t);
        cr_assert_eq(pthread_join(other, &theirs), 0);
        cr_assert_eq(theirs, (void *)mine);
        cr_assert_eq(mine->epoll_armed, 2u, "both wrote to a slot that survived");
        fd_table_fini(&t);
    }
}

Test(fd_table, the_last_op_of_a_closing_slot_closes)
{
    struct fd_table t;
    struct fd_slot *slot = NULL;
    struct fd_close c = { .fd = 5 };
    struct op a = { .fd = 5 }, b = { .fd = 5 }, late = { .fd = 5 };

    cr_assert_eq(fd_table_init(&t), 0);
    cr_assert_eq(fd_table_slot(&t, 5, &slot), 0);
    cr_assert_eq(fd_slot_admit(slot, &a), 0);
    cr_assert_eq(fd_slot_admit(slot, &b), 0);
    cr_assert_null(fd_slot_leave(slot, &a), "open: nothing to close");
    cr_assert_eq(fd_slot_admit(slot, &a), 0);
    fd_slot_lock(slot);
    slot->state = FD_CLOSING;
    slot->closer = &c;
    spin_unlock(&slot->lock);
    cr_assert_eq(fd_slot_admit(slot, &late), -EBADF);
    cr_assert_null(fd_slot_leave(slot, &b), "one is left");
    cr_assert_eq(fd_slot_leave(slot, &a), &c);
    cr_assert_eq(slot->state, FD_RELEASING);
    fd_slot_reopen(slot);
    cr_assert_eq(slot->generation, 1u);
    cr_assert_eq(fd_slot_admit(slot, &late), 0);
    cr_assert_null(fd_slot_leave(slot, &late));
    fd_table_fini(&t);
}

static void *admit(void *arg)
{
    struct op op = { .fd = 5 };
    struct fd_slot *slot = arg;

    cr_assert_eq(fd_slot_admit(slot, &op), 0, "waits for the end of close, then is admitted");
    cr_assert_eq(slot->generation, 1u);
    cr_assert_null(fd_slot_leave(slot, &op));
    return NULL;
}

Test(fd_table, a_newcomer_waits_while_the_number_is_released)
{
    struct fd_table t;
    struct fd_slot *slot = NULL;
    pthread_t other;

    cr_assert_eq(fd_table_init(&t), 0);
    cr_assert_eq(fd_table_slot(&t, 5, &slot), 0);
    slot->state = FD_RELEASING;
    cr_assert_eq(pthread_create(&other, NULL, admit, slot), 0);
    for (int i = 0; i < 1000; i++) { /* it must not get in, however long it tries */
        spin_lock(&slot->lock);
        cr_assert(list_is_empty(&slot->ops));
        spin_unlock(&slot->lock);
    }
    fd_slot_reopen(slot);
    cr_assert_eq(pthread_join(other, NULL), 0);
    fd_table_fini(&t);
}

Test(fd_table, classes)
{
    int p[2], file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC), sock;
    int device = open("/dev/null", O_WRONLY | O_CLOEXEC);

    cr_assert_eq(pipe(p), 0);
    sock = socket(AF_UNIX, SOCK_STREAM, 0);
    cr_assert_eq(fd_classify(p[0]), FD_CLASS_STREAM);
    cr_assert_eq(fd_classify(file), FD_CLASS_FILE);
    cr_assert_eq(fd_classify(sock), FD_CLASS_SOCKET);
    cr_assert_eq(fd_classify(device), FD_CLASS_DEVICE);
    close(device);
    close(p[0]);
    cr_assert_eq(fd_classify(p[0]), -EBADF);
    close(p[1]);
    close(file);
    close(sock);
}
