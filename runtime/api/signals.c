/* SPDX-License-Identifier: MIT */
/*
 * JD_HANDLE_SIGINT and JD_HANDLE_SIGTERM: the first signal cancels the main task, the second one
 * meets the handler that was there before (by default it kills).
 *
 * I1  One runtime of the process owns the handlers at a time (-EBUSY for a second one).
 * I2  The handler does only async-signal-safe work: atomics and an eventfd write.
 */
#include <errno.h>
#include <signal.h>

#include "api/lifecycle.h"

static const struct {
    int signo;
    uint32_t flag;
} handled[] = { { SIGINT, JD_HANDLE_SIGINT }, { SIGTERM, JD_HANDLE_SIGTERM } };

static JD_ATOMIC(struct jd_runtime *) owner;
static JD_ATOMIC(uint32_t) seen;
static struct sigaction former[JD_ARRAY_LEN(handled)];

static void on_signal(int signo)
{
    /* [SIGNAL-1] Acquire, pairs with the CAS in signals_take(). */
    struct jd_runtime *rt = atom_load(&owner, acquire);

    if (!rt || atom_exchange(&seen, 1, acq_rel)) { /* [SIGNAL-1] the second one */
        for (unsigned i = 0; i < JD_ARRAY_LEN(handled); i++)
            if (handled[i].signo == signo)
                (void)sigaction(signo, &former[i], NULL); /* cannot fail for a known signal */
        (void)raise(signo);
        return;
    }
    atom_store(&rt->signalled, 1, seq_cst); /* [SIGNAL-1] pairs with sched_has_work() */
    reactor_wake(rt->reactor, 0);
}

int signals_take(struct jd_runtime *rt)
{
    struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART | SA_ONSTACK };
    struct jd_runtime *none = NULL;

    if (!(rt->flags & (JD_HANDLE_SIGINT | JD_HANDLE_SIGTERM)) || (rt->flags & JD_NO_SIGNALS))
        return 0;
    if (!atom_cas(&owner, &none, rt, acq_rel, relaxed)) /* [SIGNAL-1] */
        return -EBUSY;
    atom_store(&seen, 0, relaxed); /* Relaxed: no handler of ours is installed yet */
    sigemptyset(&action.sa_mask);
    for (unsigned i = 0; i < JD_ARRAY_LEN(handled); i++)
        if (rt->flags & handled[i].flag)
            (void)sigaction(handled[i].signo, &action, &former[i]); /* cannot fail */
    return 0;
}

bool signals_seen(struct jd_runtime *rt)
{
    return atom_load(&owner, acquire) == rt && atom_load(&seen, acquire) != 0; /* [SIGNAL-1] */
}

void signals_restore(struct jd_runtime *rt)
{
    struct sigaction now;

    if (atom_load(&owner, acquire) != rt) /* [SIGNAL-1] */
        return;
    for (unsigned i = 0; i < JD_ARRAY_LEN(handled); i++)
        if ((rt->flags & handled[i].flag) && !sigaction(handled[i].signo, NULL, &now) &&
            now.sa_handler == on_signal)
            (void)sigaction(handled[i].signo, &former[i], NULL); /* as above */
    atom_store(&owner, NULL, release);                           /* [SIGNAL-1] */
}
