/* SPDX-License-Identifier: MIT */
/* See overflow.h for the invariants. */
#include "fiber/overflow.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <unistd.h>

#include "atomic/atomic.h"
#include "fiber/sigline.h"
#include "fiber/stack.h"

#ifndef AT_MINSIGSTKSZ
#define AT_MINSIGSTKSZ 51
#endif

enum {
    SIGNALS = 2,
    DESCRIBE_BYTES = 256,
    REPORT_BYTES = 512,
    /* On top of the signal frame: room for a former handler that symbolises, as ASan's does. */
    ALT_STACK_BYTES = 65536
};

static const int signals[SIGNALS] = { SIGSEGV, SIGBUS };

static pthread_mutex_t install_lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned install_count;
/* Written before our handler is installed, under install_lock; read by it. */
static struct sigaction former_actions[SIGNALS];
/* Under install_lock: left in place at uninstall, since another handler was above it. */
static bool is_buried[SIGNALS];
static JD_ATOMIC(overflow_describe_fn *) describe_fn;

void overflow_set_describe(overflow_describe_fn *describe)
{
    /* Relaxed: a function of the program, nothing is published with it. */
    atom_store(&describe_fn, describe, relaxed);
}

static void report(const struct fiber *f, const char *what, const void *addr)
{
    char who[DESCRIBE_BYTES] = "unknown task";
    char text[REPORT_BYTES];
    struct sigline line = { .buf = text, .bytes = sizeof(text) };
    overflow_describe_fn *describe = atom_load(&describe_fn, relaxed); /* Relaxed: as above. */
    if (describe)
        describe(f, who, sizeof(who));
    sigline_str(&line, "jackdaw: ");
    sigline_str(&line, what);
    sigline_str(&line, ": ");
    sigline_str(&line, who);
    sigline_str(&line, ", stack size ");
    sigline_dec(&line, (size_t)(f->high - f->low));
    sigline_str(&line, " bytes at ");
    sigline_hex(&line, (uintptr_t)f->low);
    if (addr) {
        sigline_str(&line, ", fault at ");
        sigline_hex(&line, (uintptr_t)addr);
    }
    if (line.len + 1 == line.bytes) /* cut: keep the line end */
        line.len--;
    sigline_char(&line, '\n');
    ssize_t written = write(STDERR_FILENO, line.buf, line.len);
    (void)written; /* nobody is left to tell */
}

void overflow_report_canary(const struct fiber *f)
{
    report(f, "stack overflow, found late by a canary (no guard page), memory is corrupt",
           /* addr= */ NULL);
    abort();
}

static void reset_to_default(int signo)
{
    struct sigaction action = { .sa_handler = SIG_DFL };
    sigemptyset(&action.sa_mask);
    (void)sigaction(signo, &action, /* oldact= */ NULL); /* cannot fail for these signals */
}

static bool is_function(const struct sigaction *action)
{
    return (action->sa_flags & SA_SIGINFO) ||
           (action->sa_handler != SIG_DFL && action->sa_handler != SIG_IGN);
}

/* What would have happened without us. */
static void pass_on(int signo, siginfo_t *info, void *context)
{
    const struct sigaction *former = &former_actions[signo == SIGSEGV ? 0 : 1];
    bool is_sent = info->si_code <= 0; /* by kill(): returning would not fault again */
    if (former->sa_flags & SA_SIGINFO) {
        former->sa_sigaction(signo, info, context);
    } else if (is_function(former)) {
        former->sa_handler(signo);
    } else if (!(is_sent && former->sa_handler == SIG_IGN)) {
        reset_to_default(signo);
        if (is_sent)
            (void)raise(signo); /* blocked until we return; a fault repeats by itself */
    }
}

static void on_fault(int signo, siginfo_t *info, void *context)
{
    int saved_errno = errno;
    struct fiber *f = info->si_code > 0 ? stack_find_guard(info->si_addr) : NULL;
    if (f)
        report(f, "stack overflow", info->si_addr);
    pass_on(signo, info, context);
    if (f)
        reset_to_default(signo);
    errno = saved_errno;
}

static bool is_ours(const struct sigaction *action)
{
    return (action->sa_flags & SA_SIGINFO) && action->sa_sigaction == on_fault;
}

static int install_one(int i)
{
    struct sigaction now;
    if (sigaction(signals[i], /* act= */ NULL, &now) != 0)
        return -errno;
    /* Under another handler since an earlier uninstall: it calls ours (I4). To install ours above
     * it would close a circle. */
    if (is_buried[i] || is_ours(&now))
        return 0;
    former_actions[i] = now;
    /* The former handler's mask and re-entrance, since it will run inside ours. */
    struct sigaction action = {
        .sa_sigaction = on_fault,
        .sa_flags = SA_SIGINFO | SA_ONSTACK | (now.sa_flags & SA_NODEFER),
        .sa_mask = now.sa_mask,
    };
    return sigaction(signals[i], &action, /* oldact= */ NULL) == 0 ? 0 : -errno;
}

static void uninstall_one(int i)
{
    struct sigaction now;
    if (sigaction(signals[i], /* act= */ NULL, &now) != 0)
        return; /* impossible for these signals; ours then stays and only passes on */
    is_buried[i] = !is_ours(&now);
    if (!is_buried[i])
        (void)sigaction(signals[i], &former_actions[i], /* oldact= */ NULL); /* was valid */
}

int overflow_handler_install(void)
{
    int err = 0;
    pthread_mutex_lock(&install_lock);
    for (int i = 0; i < SIGNALS && !err && install_count == 0; i++)
        err = install_one(i);
    if (!err)
        install_count++;
    pthread_mutex_unlock(&install_lock);
    return err;
}

void overflow_handler_uninstall(void)
{
    pthread_mutex_lock(&install_lock);
    JD_ASSERT(install_count > 0);
    install_count--;
    for (int i = 0; i < SIGNALS && install_count == 0; i++)
        uninstall_one(i);
    pthread_mutex_unlock(&install_lock);
}

int overflow_thread_init(struct overflow_thread *t)
{
    size_t bytes = ALT_STACK_BYTES + getauxval(AT_MINSIGSTKSZ);
    void *stack = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (stack == MAP_FAILED)
        return -ENOMEM;
    t->stack = stack;
    t->bytes = bytes;
    return 0;
}

void overflow_thread_fini(struct overflow_thread *t)
{
    if (t->stack)
        munmap(t->stack, t->bytes);
    t->stack = NULL;
}

int overflow_thread_enter(struct overflow_thread *t)
{
    int err = t->stack ? 0 : overflow_thread_init(t); /* the one before was left to someone */
    if (err)
        return err;
    stack_t ours = { .ss_sp = t->stack, .ss_size = t->bytes };
    t->entered = sigaltstack(&ours, &t->former) == 0;
    return t->entered ? 0 : -errno;
}

void overflow_thread_leave(struct overflow_thread *t)
{
    stack_t now;
    if (!t->entered)
        return;
    t->entered = false;
    /* Someone who replaced ours since then keeps his; he may put ours back later, so it stays. */
    if (sigaltstack(/* ss= */ NULL, &now) == 0 && now.ss_sp == t->stack)
        (void)sigaltstack(&t->former, /* old_ss= */ NULL); /* it was valid when we read it */
    else
        t->stack = NULL;
}
