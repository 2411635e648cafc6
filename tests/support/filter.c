/* SPDX-License-Identifier: MIT */
/*
 * See filter.h. The judge's thread is made before the filter, so it is never judged itself; it gets
 * the listener through a pipe and ends with the process.
 */
#include "filter.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "jd_test.h"

#define CALLS_MAX 8

static struct court {
    filter_judge *judge;
    void *arg;
    int door[2]; /* the listener comes through it */
} court;

/* Answers the listener's descriptor, if one was asked for. */
static int install(struct sock_filter *code, size_t len, unsigned flags)
{
    struct sock_fprog program = { .len = (unsigned short)len, .filter = code };
    long ret;

    cr_assert_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    ret = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
    if (ret < 0)
        jd_test_skip("no seccomp filters here");
    return (int)ret;
}

void filter_refuse(long number, int error)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };

    (void)install(code, sizeof(code) / sizeof(code[0]), 0);
}

static void judge_one(int listener)
{
    /* Zeroed, as the kernel wants it; with room for fields that it may have learnt meanwhile. */
    union {
        struct seccomp_notif call;
        char room[512];
    } in = { .room = "" };
    union {
        struct seccomp_notif_resp answer;
        char room[512];
    } out = { .room = "" };
    uint64_t args[6];
    int error;

    if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &in) != 0) {
        cr_assert(errno == EINTR || errno == ENOENT, "%d", errno); /* ENOENT: the caller died */
        return;
    }
    memcpy(args, in.call.data.args, sizeof(args));
    error = court.judge(in.call.data.nr, args, court.arg);
    out.answer.id = in.call.id;
    out.answer.error = -error;
    out.answer.flags = error == 0 ? SECCOMP_USER_NOTIF_FLAG_CONTINUE : 0;
    if (ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &out) != 0)
        cr_assert_eq(errno, ENOENT); /* interrupted meanwhile: it comes again */
}

static void *court_run(void *arg)
{
    int listener;

    (void)arg;
    cr_assert_eq(read(court.door[0], &listener, sizeof(listener)), (ssize_t)sizeof(listener));
    while (true) /* until the process ends */
        judge_one(listener);
    return NULL;
}

void filter_judge_calls(const long *numbers, size_t count, filter_judge *judge, void *arg)
{
    struct sock_filter code[CALLS_MAX + 3] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
    };
    pthread_t thread;
    int listener;

    cr_assert(count <= CALLS_MAX && !court.judge);
    court.judge = judge;
    court.arg = arg;
    cr_assert_eq(pipe(court.door), 0);
    cr_assert_eq(pthread_create(&thread, NULL, court_run, NULL), 0);
    cr_assert_eq(pthread_detach(thread), 0);
    for (size_t i = 0; i < count; i++) /* to the last statement, or on to the next one */
        code[1 + i] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)numbers[i],
                                                   (unsigned char)(count - i), 0);
    code[1 + count] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    code[2 + count] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF);
    listener = install(code, count + 3, SECCOMP_FILTER_FLAG_NEW_LISTENER);
    cr_assert_eq(write(court.door[1], &listener, sizeof(listener)), (ssize_t)sizeof(listener));
}
