/* SPDX-License-Identifier: MIT */
/*
 * The nudge by membarrier(2), or by SIGURG where that is refused. See nudge.h.
 *
 * Threads: enter and leave on the worker's own thread, send from anywhere. The handler's state
 * (handler_users) belongs to the process, guarded by handler_mutex; start and stop only.
 */
#include "reactor/nudge.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <sys/rseq.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/mark.h"
#include "base/membarrier.h"

static pthread_mutex_t handler_mutex = PTHREAD_MUTEX_INITIALIZER;
static unsigned handler_users;

static void ignore_signal(int sig)
{
    (void)sig; /* passing through the kernel is the whole effect */
}

static bool handler_is_ours(const struct sigaction *now)
{
    return !(now->sa_flags & SA_SIGINFO) && now->sa_handler == ignore_signal;
}

static bool handler_take(void)
{
    struct sigaction now, ours = { .sa_handler = ignore_signal, .sa_flags = SA_RESTART };
    bool taken = false;

    pthread_mutex_lock(&handler_mutex);
    if (sigaction(SIGURG, NULL, &now) == 0) {
        if (handler_is_ours(&now))
            taken = true;
        else if (!(now.sa_flags & SA_SIGINFO) && now.sa_handler == SIG_DFL)
            taken = sigaction(SIGURG, &ours, NULL) == 0;
    }
    handler_users += taken;
    pthread_mutex_unlock(&handler_mutex);
    return taken;
}

static void handler_give_back(void)
{
    struct sigaction now, def = { .sa_handler = SIG_DFL };

    pthread_mutex_lock(&handler_mutex);
    JD_ASSERT(handler_users > 0);
    /* A nudge still on its way then meets the default, which is to ignore it. */
    if (--handler_users == 0 && sigaction(SIGURG, NULL, &now) == 0 && handler_is_ours(&now))
        (void)sigaction(SIGURG, &def, NULL); /* cannot fail: the same call succeeded before */
    pthread_mutex_unlock(&handler_mutex);
}

static enum nudge_how choose(void)
{
    long has;

    if (!fault_hit(FAULT_MEMBARRIER)) {
        has = membarrier_call(MEMBARRIER_CMD_QUERY, 0, 0);
        if (has > 0 && (has & MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ) &&
            membarrier_call(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ, 0, 0) == 0)
            return __rseq_size > 0 ? NUDGE_CPU : NUDGE_ALL;
    }
    return handler_take() ? NUDGE_SIGNAL : NUDGE_NONE;
}

int nudge_init(struct nudge *n, unsigned count)
{
    n->targets = mem_calloc(count * sizeof(*n->targets));
    if (!n->targets)
        return -ENOMEM;
    for (unsigned i = 0; i < count; i++) {
        spin_init(&n->targets[i].lock);
        atom_init(&n->targets[i].next_at, 0);
    }
    n->count = count;
    n->how = choose();
    return 0;
}

void nudge_fini(struct nudge *n)
{
    if (!n->targets)
        return;
    if (n->how == NUDGE_SIGNAL)
        handler_give_back();
    mem_free(n->targets, n->count * sizeof(*n->targets));
    n->targets = NULL;
}

const char *nudge_name(const struct nudge *n)
{
    static const char *const names[] = {
        [NUDGE_CPU] = "membarrier per CPU",
        [NUDGE_ALL] = "membarrier",
        [NUDGE_SIGNAL] = "SIGURG",
        [NUDGE_NONE] = "none",
    };

    return names[n->how];
}

void nudge_enter(struct nudge *n, unsigned index)
{
    struct nudge_target *t = &n->targets[index];
    char *thread = __builtin_thread_pointer();
    struct rseq *area = (struct rseq *)(void *)(thread + __rseq_offset);

    spin_lock(&t->lock);
    JD_ASSERT(t->tid == 0);
    t->tid = gettid();
    t->cpu_id = __rseq_size > 0 ? &area->cpu_id : NULL;
    spin_unlock(&t->lock);
}

void nudge_leave(struct nudge *n, unsigned index)
{
    struct nudge_target *t = &n->targets[index];

    spin_lock(&t->lock);
    JD_ASSERT(t->tid == gettid());
    t->tid = 0;
    t->cpu_id = NULL;
    spin_unlock(&t->lock);
}

/* Takes the right to nudge now. Relaxed: it only limits the rate. */
static bool claim_turn(struct nudge_target *t)
{
    int64_t now = clock_now(), next = atom_load(&t->next_at, relaxed);

    return now >= next && atom_cas(&t->next_at, &next, now + NUDGE_INTERVAL_NS, relaxed, relaxed);
}

static pid_t locate(struct nudge_target *t, int *ret_cpu)
{
    pid_t tid;

    spin_lock(&t->lock);
    tid = t->tid;
    /* The kernel writes the CPU when it moves the thread. */
    *ret_cpu = tid != 0 && t->cpu_id ? (int)*t->cpu_id : -1;
    spin_unlock(&t->lock);
    return tid;
}

bool nudge_send(struct nudge *n, unsigned index)
{
    struct nudge_target *t = &n->targets[index];
    int cpu;
    pid_t tid;

    if (n->how == NUDGE_NONE)
        return false;
    tid = locate(t, &cpu);
    if (tid == 0 || tid == gettid() || !claim_turn(t))
        return false;
    MARK(NUDGED);
    /* A failed call (the thread moved or ended) has no effect; I1 repeats it where it matters. */
    if (n->how == NUDGE_SIGNAL)
        (void)syscall(SYS_tgkill, getpid(), tid, SIGURG);
    else if (n->how == NUDGE_CPU && cpu >= 0)
        (void)membarrier_call(MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ, MEMBARRIER_CMD_FLAG_CPU, cpu);
    else
        (void)membarrier_call(MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ, 0, 0);
    return true;
}
