/* SPDX-License-Identifier: MIT */
/*
 * System calls: which of them are escapes, and their names. See watch.h I3.
 */
#include "sim/watch.h"

#if defined(__x86_64__)

#include <sys/syscall.h>
#include <unistd.h>

#include "base/attr.h"

#define NAME(name) [SYS_##name] = #name
static const char *const names[] = {
    NAME(accept),
    NAME(accept4),
    NAME(access),
    NAME(bind),
    NAME(clock_getres),
    NAME(clock_gettime),
    NAME(clock_nanosleep),
    NAME(clone),
    NAME(clone3),
    NAME(close),
    NAME(connect),
    NAME(dup),
    NAME(dup2),
    NAME(dup3),
    NAME(epoll_create1),
    NAME(epoll_ctl),
    NAME(epoll_pwait),
    NAME(epoll_wait),
    NAME(eventfd2),
    NAME(execve),
    NAME(fcntl),
    NAME(fork),
    NAME(fstat),
    NAME(fsync),
    NAME(ftruncate),
    NAME(getcwd),
    NAME(getdents64),
    NAME(getpeername),
    NAME(getrandom),
    NAME(getrusage),
    NAME(getsockname),
    NAME(getsockopt),
    NAME(gettimeofday),
    NAME(io_uring_enter),
    NAME(io_uring_setup),
    NAME(ioctl),
    NAME(kill),
    NAME(listen),
    NAME(lseek),
    NAME(lstat),
    NAME(mkdir),
    NAME(nanosleep),
    NAME(newfstatat),
    NAME(open),
    NAME(openat),
    NAME(pause),
    NAME(pipe),
    NAME(pipe2),
    NAME(poll),
    NAME(ppoll),
    NAME(pread64),
    NAME(pselect6),
    NAME(pwrite64),
    NAME(read),
    NAME(readlink),
    NAME(readv),
    NAME(recvfrom),
    NAME(recvmsg),
    NAME(rename),
    NAME(rt_sigtimedwait),
    NAME(sched_getaffinity),
    NAME(select),
    NAME(sendmsg),
    NAME(sendto),
    NAME(setsockopt),
    NAME(shutdown),
    NAME(socket),
    NAME(socketpair),
    NAME(stat),
    NAME(statx),
    NAME(sysinfo),
    NAME(time),
    NAME(timer_create),
    NAME(timerfd_create),
    NAME(times),
    NAME(uname),
    NAME(unlink),
    NAME(vfork),
    NAME(wait4),
    NAME(write),
    NAME(writev),
};
#undef NAME

static bool is_output(long fd)
{
    return fd == STDOUT_FILENO || fd == STDERR_FILENO;
}

enum call_class sim_call_classify(long number, long first)
{
    switch (number) {
    case SYS_mmap:
    case SYS_munmap:
    case SYS_mremap:
    case SYS_mprotect:
    case SYS_madvise:
    case SYS_brk:
    case SYS_mlock:
    case SYS_munlock:
    case SYS_futex:
    case SYS_sched_yield:
    case SYS_membarrier:
    case SYS_rseq:
    case SYS_set_robust_list:
    case SYS_getpid:
    case SYS_gettid:
    case SYS_tgkill:
    case SYS_rt_sigaction:
    case SYS_arch_prctl:
    case SYS_prctl:
        return CALL_QUIET;
    case SYS_rt_sigprocmask:
        return CALL_MASK;
    case SYS_rt_sigreturn:
    case SYS_sigaltstack:
    case SYS_restart_syscall:
    case SYS_exit:
    case SYS_exit_group:
        return CALL_IN_PLACE;
    case SYS_clone:
    case SYS_clone3:
    case SYS_fork:
    case SYS_vfork:
    case SYS_execve:
        return CALL_ESCAPE_IN_PLACE;
    case SYS_write:
    case SYS_writev:
    case SYS_fstat:
    case SYS_newfstatat:
    case SYS_ioctl:
    case SYS_lseek:
        return is_output(first) ? CALL_QUIET : CALL_ESCAPE;
    default:
        return CALL_ESCAPE;
    }
}

const char *sim_call_name(long number)
{
    return number >= 0 && number < (long)JD_ARRAY_LEN(names) ? names[number] : NULL;
}

#endif
