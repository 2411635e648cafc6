/* SPDX-License-Identifier: MIT */
/*
 * The overflow report: it names the task, passes everything else on, and leaves the process as it
 * found it. Each scenario runs in a child whose standard error is read. Tools bring a SIGSEGV
 * handler of their own, so with them a child may also die by an exit status.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fiber/overflow.h"
#include "fiber/sigline.h"
#include "fiber/stack.h"
#include "jd_test.h"

#define HAS_TOOL (FIBER_ASAN || FIBER_TSAN)

struct outcome {
    int status;
    char text[8192];
};

static struct outcome run_child(void (*scenario)(void))
{
    struct outcome out = { 0 };
    int pipe_fds[2];
    if (tools_is_valgrind())
        jd_test_skip("valgrind delivers faults in its own way");
    cr_assert_eq(pipe(pipe_fds), 0);
    fflush(NULL);
    pid_t child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) {
        dup2(pipe_fds[1], STDERR_FILENO);
        if (!HAS_TOOL) { /* the test runner may have handlers, too */
            signal(SIGSEGV, SIG_DFL);
            signal(SIGBUS, SIG_DFL);
        }
        scenario();
        _exit(0);
    }
    close(pipe_fds[1]);
    size_t len = 0;
    char rest[4096];
    for (ssize_t n; (n = read(pipe_fds[0], rest, sizeof(rest))) > 0;) { /* until the child ends */
        size_t room = sizeof(out.text) - 1 - len;
        size_t keep = (size_t)n < room ? (size_t)n : room;
        memcpy(out.text + len, rest, keep);
        len += keep;
    }
    close(pipe_fds[0]);
    cr_assert_eq(waitpid(child, &out.status, 0), child);
    return out;
}

static bool died_of(const struct outcome *out, int signo)
{
    if (HAS_TOOL && WIFEXITED(out->status))
        return WEXITSTATUS(out->status) != 0;
    return WIFSIGNALED(out->status) && WTERMSIG(out->status) == signo;
}

static struct stack_pool pool;
static struct fiber native;

static JD_NOINLINE int recurse(int depth)
{
    char block[256];
    memset(block, depth, sizeof(block));
    int below = depth < 1 << 30 ? recurse(depth + 1) : 0;
    __asm__ volatile("" ::"r"(block) : "memory");
    return below + block[3];
}

static void entry_overflows(struct fiber *prev)
{
    (void)prev;
    _exit(recurse(1) == 0);
}

static void describe(const struct fiber *f, char *buf, size_t bytes)
{
    struct sigline line = { .buf = buf, .bytes = bytes };
    sigline_str(&line, "task \"");
    sigline_str(&line, f->user);
    sigline_str(&line, "\" id ");
    sigline_dec(&line, 4711);
}

static void overflow_a_fiber(void)
{
    struct overflow_thread thread = { .stack = NULL };
    if (stack_pool_init(&pool, 65536, STACK_GUARD_MPROTECT) || stack_pool_reserve(&pool, 1) ||
        overflow_handler_install() || overflow_thread_enter(&thread))
        _exit(99);
    overflow_set_describe(describe);
    fiber_init_native(&native);
    struct fiber *f = stack_pool_take(&pool);
    fiber_init(f, entry_overflows);
    char name[] = "checkout worker";
    f->user = name;
    (void)fiber_switch(&native, f);
}

Test(overflow, names_the_task_and_dies_of_the_signal)
{
    if (jd_test_is_emulated())
        jd_test_skip("qemu-user's madvise() does nothing");
    struct outcome out = run_child(overflow_a_fiber);
    cr_assert(died_of(&out, SIGSEGV), "status %x", (unsigned)out.status);
    cr_assert_not_null(
        strstr(out.text, "jackdaw: stack overflow: task \"checkout worker\" id 4711"), "%s",
        out.text);
    cr_assert_not_null(strstr(out.text, "stack size 6"), "%s", out.text);
}

static void overflow_with_madv_guard(void)
{
    cr_assert_eq(setenv("JACKDAW_STACK_GUARD", "madv", 1), 0);
    struct overflow_thread thread = { .stack = NULL };
    if (stack_pool_init(&pool, 65536, STACK_GUARD_AUTO) || stack_pool_reserve(&pool, 1) ||
        overflow_handler_install() || overflow_thread_enter(&thread))
        _exit(0);
    fiber_init_native(&native);
    struct fiber *f = stack_pool_take(&pool);
    fiber_init(f, entry_overflows);
    (void)fiber_switch(&native, f);
}

Test(overflow, works_with_guard_markers_and_without_a_describer)
{
    enum stack_guard kind;
    if (jd_test_is_emulated())
        jd_test_skip("qemu-user's madvise() does nothing");
    if (guard_choose(STACK_GUARD_MADV, &kind) != 0)
        jd_test_skip("no MADV_GUARD_INSTALL before Linux 6.13");
    struct outcome out = run_child(overflow_with_madv_guard);
    cr_assert(died_of(&out, SIGSEGV), "status %x", (unsigned)out.status);
    cr_assert_not_null(strstr(out.text, "jackdaw: stack overflow: unknown task"), "%s", out.text);
}

static void users_handler(int signo)
{
    static const char text[] = "user's handler";
    (void)!write(STDERR_FILENO, text, sizeof(text) - 1);
    _exit(signo == SIGSEGV ? 42 : 43);
}

static void users_handler_returns(int signo, siginfo_t *info, void *context)
{
    static const char text[] = "user's handler";
    (void)signo, (void)info, (void)context;
    (void)!write(STDERR_FILENO, text, sizeof(text) - 1);
}

static void overflow_with_a_users_handler(void)
{
    struct sigaction action = { .sa_sigaction = users_handler_returns,
                                .sa_flags = SA_SIGINFO | SA_ONSTACK };
    sigaction(SIGSEGV, &action, NULL);
    overflow_a_fiber();
}

Test(overflow, calls_the_former_handler_and_dies_even_if_it_returns)
{
    struct outcome out = run_child(overflow_with_a_users_handler);
    cr_assert(died_of(&out, SIGSEGV), "status %x", (unsigned)out.status);
    const char *ours = strstr(out.text, "jackdaw: stack overflow");
    const char *users = strstr(out.text, "user's handler");
    cr_assert_not_null(ours, "%s", out.text);
    cr_assert_not_null(users, "%s", out.text);
    cr_assert_lt(ours, users);
}

static JD_NOINLINE void fault(void)
{
    char *page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    *(volatile char *)page = 1;
}

static void fault_with_a_users_handler(void)
{
    signal(SIGSEGV, users_handler);
    if (overflow_handler_install())
        _exit(99);
    fault();
}

Test(overflow, other_faults_go_to_the_former_handler)
{
    struct outcome out = run_child(fault_with_a_users_handler);
    cr_assert(WIFEXITED(out.status));
    cr_assert_eq(WEXITSTATUS(out.status), 42);
    cr_assert_null(strstr(out.text, "jackdaw"), "%s", out.text);
}

static void fault_without_a_handler(void)
{
    if (overflow_handler_install())
        _exit(99);
    fault();
}

Test(overflow, other_faults_without_a_handler_kill)
{
    struct outcome out = run_child(fault_without_a_handler);
    cr_assert(died_of(&out, SIGSEGV));
    cr_assert_null(strstr(out.text, "jackdaw: stack"), "%s", out.text);
}

static void receive_a_sent_signal(void)
{
    signal(SIGSEGV, SIG_DFL); /* a tool's handler may return */
    if (overflow_handler_install())
        _exit(99);
    raise(SIGSEGV);
}

Test(overflow, a_sent_signal_kills_as_without_us)
{
    struct outcome out = run_child(receive_a_sent_signal);
    cr_assert(WIFSIGNALED(out.status));
    cr_assert_eq(WTERMSIG(out.status), SIGSEGV);
}

static void ignore_a_sent_signal(void)
{
    signal(SIGSEGV, SIG_IGN);
    if (overflow_handler_install())
        _exit(99);
    raise(SIGSEGV);
    _exit(7);
}

Test(overflow, an_ignored_sent_signal_stays_ignored)
{
    struct outcome out = run_child(ignore_a_sent_signal);
    cr_assert(WIFEXITED(out.status));
    cr_assert_eq(WEXITSTATUS(out.status), 7);
}

Test(overflow, uninstall_restores_the_former_handlers)
{
    struct sigaction now;
    signal(SIGSEGV, users_handler);
    signal(SIGBUS, SIG_IGN);
    cr_assert_eq(overflow_handler_install(), 0);
    cr_assert_eq(overflow_handler_install(), 0);
    overflow_handler_uninstall();
    sigaction(SIGSEGV, NULL, &now);
    cr_assert_neq(now.sa_handler, users_handler, "installed twice, uninstalled once");
    overflow_handler_uninstall();
    sigaction(SIGSEGV, NULL, &now);
    cr_assert_eq(now.sa_handler, users_handler);
    sigaction(SIGBUS, NULL, &now);
    cr_assert_eq(now.sa_handler, SIG_IGN);
}

static struct sigaction below_the_late_one;

static void late_handler(int signo, siginfo_t *info, void *context)
{
    if (below_the_late_one.sa_flags & SA_SIGINFO)
        below_the_late_one.sa_sigaction(signo, info, context);
    _exit(44);
}

static void install_again_under_a_late_handler(void)
{
    struct sigaction late = { .sa_sigaction = late_handler, .sa_flags = SA_SIGINFO };
    signal(SIGSEGV, users_handler);
    if (overflow_handler_install())
        _exit(99);
    sigaction(SIGSEGV, &late, &below_the_late_one);
    overflow_handler_uninstall();
    if (overflow_handler_install())
        _exit(99);
    fault(); /* late -> ours -> user's; a circle would not end */
}

Test(overflow, a_handler_installed_above_ours_stays)
{
    struct outcome out = run_child(install_again_under_a_late_handler);
    cr_assert(WIFEXITED(out.status));
    cr_assert_eq(WEXITSTATUS(out.status), 42);
}

Test(overflow, the_threads_alternate_stack_is_restored)
{
    static char users[65536];
    stack_t before;
    stack_t now;
    cr_assert_eq(sigaltstack(NULL, &before), 0);
    cr_assert_eq(sigaltstack(&(stack_t){ .ss_sp = users, .ss_size = sizeof(users) }, NULL), 0);
    struct overflow_thread thread = { .stack = NULL };
    cr_assert_eq(overflow_thread_enter(&thread), 0);
    cr_assert_eq(sigaltstack(NULL, &now), 0);
    cr_assert_eq(now.ss_sp, thread.stack);
    overflow_thread_leave(&thread);
    cr_assert_eq(sigaltstack(NULL, &now), 0);
    cr_assert_eq(now.ss_sp, (void *)users);
    overflow_thread_fini(&thread);
    cr_assert_eq(sigaltstack(&before, NULL), 0);
}

Test(overflow, the_alternate_stack_is_mapped_before_it_is_needed)
{
    static char users[65536];
    struct overflow_thread thread = { .stack = NULL };
    stack_t now, ours;
    cr_assert_eq(overflow_thread_init(&thread), 0);
    void *mapped = thread.stack;
    for (int run = 0; run < 2; run++) { /* one mapping for all runs */
        cr_assert_eq(overflow_thread_enter(&thread), 0);
        cr_assert_eq(sigaltstack(NULL, &ours), 0);
        cr_assert_eq(ours.ss_sp, mapped);
        overflow_thread_leave(&thread);
    }
    cr_assert_eq(overflow_thread_enter(&thread), 0);
    cr_assert_eq(sigaltstack(&(stack_t){ .ss_sp = users, .ss_size = sizeof(users) }, &ours), 0);
    overflow_thread_leave(&thread);
    cr_assert_eq(sigaltstack(&ours, &now), 0, "he puts ours back: it is still there");
    cr_assert_eq(now.ss_sp, (void *)users);
    cr_assert_eq(overflow_thread_enter(&thread), 0);
    cr_assert_neq(thread.stack, mapped, "it is his now");
    overflow_thread_leave(&thread);
    overflow_thread_fini(&thread);
    cr_assert_null(thread.stack);
}

Test(overflow, text_is_cut_not_overrun)
{
    char small[8];
    struct sigline line = { .buf = small, .bytes = sizeof(small) };
    sigline_str(&line, "ab");
    sigline_hex(&line, UINT64_MAX);
    cr_assert_str_eq(small, "ab0xfff");
    char number[32];
    line = (struct sigline){ .buf = number, .bytes = sizeof(number) };
    sigline_dec(&line, UINT64_MAX);
    cr_assert_str_eq(number, "18446744073709551615");
    line = (struct sigline){ .buf = number, .bytes = sizeof(number) };
    sigline_dec(&line, 0);
    cr_assert_str_eq(number, "0");
}
