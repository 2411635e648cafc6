/* SPDX-License-Identifier: MIT */
/*
 * Runs a program as containers do, by the kernel's own means, or tries what these must refuse.
 *
 *   box [OPTION...] -- PROGRAM ARG...      becomes the program
 *   box [OPTION...] --bites                0: everything that was asked for holds; else says what not
 *
 *   --cgroup FOLDER    joins a control group (more than one may be given)
 *   --memlock BYTES    RLIMIT_MEMLOCK, hard
 *   --read-only        a mount namespace in which nothing is writable
 *   --seccomp          the filter of profile.h
 *   --memory BYTES, --pids N, --cpu-stat FILE
 *                      what the groups bound, for --bites
 *
 * All capabilities are given up: with CAP_IPC_LOCK, for example, RLIMIT_MEMLOCK means nothing. Status
 * 125: the box cannot be built here, and stderr says why; 1: a wall is missing.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/capability.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "profile.h"

#define NOT_HERE 125
#define CGROUPS_MAX 8

static struct {
    const char *cgroups[CGROUPS_MAX];
    int cgroup_count;
    long memlock, memory, pids;
    const char *cpu_stat;
    bool read_only, seccomp, bites;
} asked;

/* --- Building ----------------------------------------------------------------------------------- */

static void must(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    exit(NOT_HERE);
}

static void join_cgroup(const char *folder)
{
    char path[4096];
    int fd;

    snprintf(path, sizeof(path), "%s/cgroup.procs", folder);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    must(fd >= 0 && write(fd, "0", 1) == 1, path);
    close(fd);
}

static void lock_mounts(void)
{
    struct mount_attr read_only = { .attr_set = MOUNT_ATTR_RDONLY };

    must(unshare(CLONE_NEWNS) == 0 || unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0,
         "a mount namespace");
    must(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0, "private mounts");
    must(syscall(SYS_mount_setattr, AT_FDCWD, "/", AT_RECURSIVE, &read_only, sizeof(read_only)) ==
             0,
         "read-only mounts");
}

static void drop_capabilities(void)
{
    struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = { { 0 } };

    for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
        (void)prctl(PR_CAPBSET_DROP, cap, 0, 0, 0); /* refused: nothing to drop, a plain user */
    must(syscall(SYS_capset, &head, none) == 0, "dropping capabilities");
}

static void build(void)
{
    struct rlimit memlock = { (rlim_t)asked.memlock, (rlim_t)asked.memlock };
    int err;

    for (int i = 0; i < asked.cgroup_count; i++)
        join_cgroup(asked.cgroups[i]);
    if (asked.read_only)
        lock_mounts();
    if (asked.memlock)
        must(setrlimit(RLIMIT_MEMLOCK, &memlock) == 0, "RLIMIT_MEMLOCK");
    drop_capabilities();
    if (asked.seccomp) {
        err = profile_install();
        errno = -err;
        must(err == 0, "a seccomp filter");
    }
}

/* --- Do the walls hold? ------------------------------------------------------------------------- */

static bool missing_wall;

static void wall(bool holds, const char *what)
{
    if (holds)
        return;
    printf("no wall: %s\n", what);
    missing_wall = true;
}

static void try_seccomp(void)
{
    unsigned char params[256] = { 0 };

    wall(syscall(SYS_io_uring_setup, 4, params) == -1 && errno == EPERM, "io_uring_setup");
    wall(syscall(SYS_keyctl, 0, 0, 0, 0, 0) == -1 && errno == EPERM, "keyctl");
    wall(syscall(SYS_clone3, NULL, 0) == -1 && errno == ENOSYS, "clone3");
    wall(unshare(CLONE_NEWUSER) == -1 && errno == EPERM, "unshare");
}

static void try_memlock(void)
{
    size_t bytes = (size_t)asked.memlock + 65536;
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    wall(memory != MAP_FAILED && mlock(memory, bytes) != 0, "RLIMIT_MEMLOCK");
}

static void try_root(void)
{
    static const char *const places[] = { "/box-probe", "/tmp/box-probe", "/dev/shm/box-probe",
                                          "box-probe" };

    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
        wall(open(places[i], O_WRONLY | O_CREAT | O_CLOEXEC, 0600) < 0, places[i]);
}

/* As many children as there may be; all wait for the end of the pipe. */
static void try_pids(void)
{
    long n = 0;
    int ends[2];
    char byte;

    must(pipe2(ends, O_CLOEXEC) == 0, "a pipe");
    for (; n <= asked.pids; n++) {
        pid_t pid = fork();

        if (pid < 0)
            break;
        if (pid == 0) {
            close(ends[1]);
            (void)!read(ends[0], &byte, 1); /* 0: the parent has closed its end */
            _exit(0);
        }
    }
    wall(n < asked.pids, "pids");
    close(ends[1]);
    while (wait(NULL) > 0) /* bounded by n */
        ;
}

/* A child that takes four times the memory must be killed. */
static void try_memory(void)
{
    size_t bytes = 4 * (size_t)asked.memory;
    pid_t pid = fork();
    int status = 0;

    must(pid >= 0, "a child");
    if (pid == 0) {
        char *memory =
            mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        for (size_t i = 0; memory != MAP_FAILED && i < bytes; i += 4096)
            memory[i] = 1;
        _exit(0);
    }
    must(waitpid(pid, &status, 0) == pid, "the child");
    wall(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "memory");
}

/* The line of cpu.stat, for both versions of control groups. */
static long throttled(void)
{
    FILE *file = fopen(asked.cpu_stat, "re");
    char line[128];
    long n = -1;

    while (file && fgets(line, sizeof(line), file))
        if (strncmp(line, "nr_throttled ", 13) == 0)
            n = strtol(line + 13, NULL, 10);
    if (file)
        (void)fclose(file); /* only read from */
    return n;
}

static atomic_bool burned;

static void *burn(void *unused)
{
    (void)unused;
    while (!atomic_load(&burned)) /* bounded by try_cpu() */
        ;
    return NULL;
}

/* Burns until the kernel has throttled us. On a busy machine we may get less than the quota. */
static void try_cpu(void)
{
    struct timespec now, end;
    pthread_t thread;
    bool second = pthread_create(&thread, NULL, burn, NULL) == 0;
    long n = throttled(), start = n;

    must(start >= 0, asked.cpu_stat);
    clock_gettime(CLOCK_MONOTONIC, &now);
    end = now;
    end.tv_sec += 8;
    while (n == start && (now.tv_sec < end.tv_sec || now.tv_nsec < end.tv_nsec)) {
        for (int i = 0; i < 200000; i++)
            atomic_signal_fence(memory_order_seq_cst);
        clock_gettime(CLOCK_MONOTONIC, &now);
        n = throttled();
    }
    atomic_store(&burned, true);
    if (second)
        pthread_join(thread, NULL);
    errno = EBUSY;
    must(n > start, "being throttled by the quota");
}

static int bites(void)
{
    if (asked.seccomp)
        try_seccomp();
    if (asked.memlock)
        try_memlock();
    if (asked.read_only)
        try_root();
    if (asked.pids)
        try_pids();
    if (asked.memory)
        try_memory();
    if (asked.cpu_stat)
        try_cpu();
    return missing_wall ? 1 : 0;
}

/* --- The command line --------------------------------------------------------------------------- */

static void usage(void)
{
    fprintf(stderr, "usage: box [OPTION...] -- PROGRAM ARG... | box [OPTION...] --bites\n");
    exit(2);
}

static void read_options(int argc, char **argv)
{
    enum { CGROUP = 1, MEMLOCK, MEMORY, PIDS, CPU_STAT, READ_ONLY, SECCOMP, BITES };
    static const struct option options[] = {
        { "cgroup", required_argument, NULL, CGROUP },
        { "memlock", required_argument, NULL, MEMLOCK },
        { "memory", required_argument, NULL, MEMORY },
        { "pids", required_argument, NULL, PIDS },
        { "cpu-stat", required_argument, NULL, CPU_STAT },
        { "read-only", no_argument, NULL, READ_ONLY },
        { "seccomp", no_argument, NULL, SECCOMP },
        { "bites", no_argument, NULL, BITES },
        { NULL, 0, NULL, 0 },
    };
    int option;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == CGROUP && asked.cgroup_count < CGROUPS_MAX)
            asked.cgroups[asked.cgroup_count++] = optarg;
        else if (option == MEMLOCK)
            asked.memlock = strtol(optarg, NULL, 10);
        else if (option == MEMORY)
            asked.memory = strtol(optarg, NULL, 10);
        else if (option == PIDS)
            asked.pids = strtol(optarg, NULL, 10);
        else if (option == CPU_STAT)
            asked.cpu_stat = optarg;
        else if (option == READ_ONLY || option == SECCOMP || option == BITES)
            *(option == READ_ONLY ? &asked.read_only
              : option == SECCOMP ? &asked.seccomp
                                  : &asked.bites) = true;
        else
            usage();
    }
    if (asked.bites != (optind == argc))
        usage();
}

int main(int argc, char **argv)
{
    read_options(argc, argv);
    build();
    if (asked.bites)
        return bites();
    execv(argv[optind], argv + optind);
    must(false, argv[optind]);
    return NOT_HERE;
}
