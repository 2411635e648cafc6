/* SPDX-License-Identifier: MIT */
/*
 * See watch.h. The handler runs on a stack of its own: those of tasks are small.
 *
 *   task: socket()  ->  kernel: selector says so, SIGSYS  ->  on_system_call(): note it, make the
 *   call through the gate, its result in rax  ->  the task goes on behind the system call
 *
 * I1  In the handler and while reports are made the selector lets everything pass.
 * I2  A call that cannot be made for another frame (it makes a thread, or ends a signal handler) is
 *     let through at its place, with the selector open until the next choice point.
 * I3  SIGSYS stays unblocked in the thread, whatever the program asks for: a blocked one kills.
 */
#include "sim/watch.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "fiber/sanitizer.h"
#include "io/sys.h"
#include "sched/error.h"
#include "sim/sim.h"

#if defined(__x86_64__)

#include <dlfcn.h>
#include <execinfo.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#ifndef PR_SET_SYSCALL_USER_DISPATCH /* newer than some headers */
#define PR_SET_SYSCALL_USER_DISPATCH 59
#define PR_SYS_DISPATCH_OFF 0
#define PR_SYS_DISPATCH_ON 1
#endif
#ifndef SYS_USER_DISPATCH
#define SYS_USER_DISPATCH 2 /* si_code */
#endif

#define SELECT_PASS 0
#define SELECT_DISPATCH 1
#define STACK_BYTES 65536u /* a backtrace, and the vector registers twice */
#define KERNEL_SIGSET_BYTES 8
#define SYSCALL_BYTES 2 /* of the instruction */

/* gate_x86_64.S */
extern const char sim_gate_begin[], sim_gate_end[];
long sim_gate_call(long number, const long arguments[6]);
void sim_gate_return(void);

/* What the kernel takes; the C library has another one, with a restorer of its own. */
struct kernel_action {
    void (*handler)(int, siginfo_t *, void *);
    unsigned long flags;
    void (*restorer)(void);
    uint64_t mask;
};

struct sim_watch_saved {
    struct kernel_action action;
    stack_t stack;
    uint64_t mask;
    char handler_stack[STACK_BYTES];
};

static long gate(long number, long a, long b, long c, long d)
{
    const long arguments[6] = { a, b, c, d, 0, 0 };

    return sim_gate_call(number, arguments);
}

/* --- Who called -------------------------------------------------------------------------------- */

static bool is_allocator(const char *symbol)
{
    static const char *const names[] = {
        "malloc",  "calloc",  "realloc",  "free",     "mallocx",       "rallocx",
        "xallocx", "dallocx", "sdallocx", "memalign", "aligned_alloc", "posix_memalign"
    };
    const char *intercepted = strstr(symbol, "interceptor_");

    if (intercepted)
        symbol = intercepted + strlen("interceptor_");
    for (size_t i = 0; i < JD_ARRAY_LEN(names); i++)
        if (!strcmp(symbol, names[i]))
            return true;
    return !strncmp(symbol, "_Znw", 4) || !strncmp(symbol, "_Zna", 4) || !strncmp(symbol, "_Zd", 3);
}

/* An allocator in a library of its own has functions without a name that one can ask for. */
static const void *allocator_library(void)
{
    Dl_info main_program, allocator;

    if (!dladdr((void *)(uintptr_t)sim_gate_begin, &main_program) ||
        !dladdr(dlsym(RTLD_DEFAULT, "malloc"), &allocator) ||
        strstr(allocator.dli_fname, "libc.so") || allocator.dli_fbase == main_program.dli_fbase)
        return NULL;
    return allocator.dli_fbase;
}

static bool is_from_allocator(const struct sim_watch *w, const struct sim_escape *e)
{
    for (int i = 0; i < e->frame_count; i++) {
        Dl_info info;

        if (!dladdr(e->frames[i], &info))
            continue;
        if ((w->allocator && info.dli_fbase == w->allocator) ||
            (info.dli_sname && is_allocator(info.dli_sname)))
            return true;
    }
    return false;
}

static void note(struct sim_watch *w, long number, const ucontext_t *context)
{
    struct sim_escape *e = &w->notes[w->noted];
    struct jd_task *task = task_current();
    char name[TASK_NAME_BYTES];
    void *at = (void *)context->uc_mcontext.gregs[REG_RIP];
    int first = 0;

    e->number = number;
    e->task_id = task ? task->id : 0;
    if (task)
        snprintf(e->task_name, sizeof(e->task_name), "%s",
                 task_display_name(task, name, sizeof(name)));
    e->frame_count = backtrace(e->frames, SIM_ESCAPE_FRAMES);
    while (first < e->frame_count && e->frames[first] != at) /* the handler's own frames */
        first++;
    e->frame_count -= first;
    memmove(e->frames, e->frames + first, (size_t)e->frame_count * sizeof(e->frames[0]));
    if (!is_from_allocator(w, e))
        w->noted++;
}

/* --- The handler -------------------------------------------------------------------------------- */

/* The mask that the interrupted code will have is in its context. I3 */
static long change_mask(ucontext_t *context, const long arguments[6])
{
    const uint64_t sys = UINT64_C(1) << (SIGSYS - 1);
    long result = sim_gate_call(SYS_rt_sigprocmask, arguments);
    uint64_t now = 0;

    (void)gate(SYS_rt_sigprocmask, SIG_SETMASK, 0, (long)&now, KERNEL_SIGSET_BYTES);
    now &= ~sys;
    memcpy(&context->uc_sigmask, &now, sizeof(now));
    return result;
}

/* In a clock function of the vDSO: its caller is known to unwinders, it is not. */
static void leave_patched_function(ucontext_t *context)
{
    greg_t *r = context->uc_mcontext.gregs;

    r[REG_RIP] = *(greg_t *)r[REG_RSP];
    r[REG_RSP] += (greg_t)sizeof(greg_t);
}

static void carry_out(struct sim_watch *w, long number, ucontext_t *context)
{
    greg_t *r = context->uc_mcontext.gregs;
    const long arguments[6] = {
        r[REG_RDI], r[REG_RSI], r[REG_RDX], r[REG_R10], r[REG_R8], r[REG_R9]
    };
    enum call_class class = sim_call_classify(number, arguments[0]);

    if (vdso_contains((uintptr_t)r[REG_RIP]))
        leave_patched_function(context);
    if ((class == CALL_ESCAPE || class == CALL_ESCAPE_IN_PLACE) && w->noted < SIM_ESCAPES_TOLD)
        note(w, number, context);
    if (class == CALL_IN_PLACE || class == CALL_ESCAPE_IN_PLACE) {
        r[REG_RIP] -= SYSCALL_BYTES;
        r[REG_RAX] = number;
        return; /* I2 */
    }
    r[REG_RAX] =
        class == CALL_MASK ? change_mask(context, arguments) : sim_gate_call(number, arguments);
    if (w->noted < SIM_ESCAPES_TOLD)
        w->selector = SELECT_DISPATCH;
}

static void on_system_call(int signal, siginfo_t *info, void *context)
{
    struct sim *sim = sim_current();
    int saved = sys_error_save();

    (void)signal;
    JD_ASSERT(sim && info->si_code == SYS_USER_DISPATCH); /* another filter traps its own calls */
    sim->watch.selector = SELECT_PASS;
    carry_out(&sim->watch, info->si_syscall, context);
    (void)sys_error_take(saved);
}

/* --- On and off --------------------------------------------------------------------------------- */

static JD_NOINLINE int dispatch(int mode, const volatile unsigned char *selector)
{
    int saved = sys_error_save();
    size_t bytes = mode == PR_SYS_DISPATCH_ON ? (size_t)(sim_gate_end - sim_gate_begin) : 0;

    if (prctl(PR_SET_SYSCALL_USER_DISPATCH, mode,
              mode == PR_SYS_DISPATCH_ON ? (uintptr_t)sim_gate_begin : 0, bytes,
              mode == PR_SYS_DISPATCH_ON ? selector : NULL) < 0)
        return sys_error_take(saved);
    return 0;
}

int sim_watch_check(void)
{
    static const volatile unsigned char pass = SELECT_PASS;

    /* Its library makes system calls in states in which none of our code may run. */
    if (FIBER_TSAN || dispatch(PR_SYS_DISPATCH_ON, &pass) < 0)
        return -ENOSYS;
    (void)dispatch(PR_SYS_DISPATCH_OFF, NULL);
    return 0;
}

bool sim_watch_clocks(void)
{
    return vdso_patch();
}

void sim_watch_on(struct sim *sim)
{
    struct sim_watch *w = &sim->watch;
    const struct kernel_action action = {
        .handler = on_system_call,
        .flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER | 0x04000000ul, /* SA_RESTORER */
        .restorer = sim_gate_return,
    };
    stack_t stack = { .ss_size = STACK_BYTES };
    void *frames[1];
    const uint64_t sys = UINT64_C(1) << (SIGSYS - 1);

    sim->quiet = true;
    w->saved = mem_calloc(sizeof(*w->saved));
    sim->quiet = false;
    JD_ASSERT(w->saved != NULL); /* a simulation without memory ends here */
    stack.ss_sp = w->saved->handler_stack;
    (void)backtrace(frames, 1); /* the first one loads a library */
    w->allocator = allocator_library();
    (void)gate(SYS_rt_sigaction, SIGSYS, (long)&action, (long)&w->saved->action,
               KERNEL_SIGSET_BYTES);
    (void)gate(SYS_sigaltstack, (long)&stack, (long)&w->saved->stack, 0, 0);
    (void)gate(SYS_rt_sigprocmask, SIG_UNBLOCK, (long)&sys, (long)&w->saved->mask,
               KERNEL_SIGSET_BYTES);
    w->selector = SELECT_DISPATCH;
    w->on = dispatch(PR_SYS_DISPATCH_ON, &w->selector) == 0;
    JD_ASSERT(w->on); /* it worked in sim_watch_check() */
}

void sim_watch_off(struct sim *sim)
{
    struct sim_watch *w = &sim->watch;

    w->selector = SELECT_PASS;
    (void)dispatch(PR_SYS_DISPATCH_OFF, NULL);
    w->on = false;
    (void)gate(SYS_rt_sigprocmask, SIG_SETMASK, (long)&w->saved->mask, 0, KERNEL_SIGSET_BYTES);
    (void)gate(SYS_sigaltstack, (long)&w->saved->stack, 0, 0, 0);
    (void)gate(SYS_rt_sigaction, SIGSYS, (long)&w->saved->action, 0, KERNEL_SIGSET_BYTES);
    mem_free(w->saved, sizeof(*w->saved));
}

/* --- Reports ------------------------------------------------------------------------------------ */

/* The first function that is not the C library's. */
static void describe_caller(const struct sim_escape *e, char *buf, size_t bytes)
{
    *buf = '\0';
    for (int i = 0; i < e->frame_count; i++) {
        Dl_info info;
        const char *file;

        if (!dladdr(e->frames[i], &info) || !info.dli_fname || strstr(info.dli_fname, "libc.so") ||
            (info.dli_sname && strstr(info.dli_sname, "interceptor_")))
            continue;
        file = strrchr(info.dli_fname, '/');
        if (info.dli_sname)
            snprintf(buf, bytes, ", from %s()", info.dli_sname);
        else
            snprintf(buf, bytes, ", from %s+0x%lx", file ? file + 1 : info.dli_fname,
                     (unsigned long)((char *)e->frames[i] - (char *)info.dli_fbase));
        return;
    }
}

static void tell(struct sim *sim, const struct sim_escape *e)
{
    const char *name = sim_call_name(e->number);
    struct jd_task *task = task_current();
    char what[48], who[64], from[96];

    if (name)
        snprintf(what, sizeof(what), "%s()", name);
    else
        snprintf(what, sizeof(what), "system call %ld", e->number);
    if (e->task_id)
        snprintf(who, sizeof(who), "task %s (id %llu)", e->task_name,
                 (unsigned long long)e->task_id);
    else
        snprintf(who, sizeof(who), "a callback");
    describe_caller(e, from, sizeof(from));
    sim_report_escape(sim, task && task->id == e->task_id ? task : NULL, "%s called %s%s", who,
                      what, from);
}

void sim_watch_tell(struct sim *sim)
{
    struct sim_watch *w = &sim->watch;

    w->selector = SELECT_PASS;
    while (w->told < w->noted) /* bounded: SIM_ESCAPES_TOLD */
        tell(sim, &w->notes[w->told++]);
    if (w->on && w->noted < SIM_ESCAPES_TOLD)
        w->selector = SELECT_DISPATCH;
}

#else /* no such dispatch, or not written */

int sim_watch_check(void)
{
    return -ENOSYS;
}

void sim_watch_on(struct sim *sim)
{
    (void)sim;
}

void sim_watch_off(struct sim *sim)
{
    (void)sim;
}

void sim_watch_tell(struct sim *sim)
{
    (void)sim;
}

bool sim_watch_clocks(void)
{
    return false;
}

#endif
