/* SPDX-License-Identifier: MIT */
#ifndef REACTOR_EPOLL_PORT_H
#define REACTOR_EPOLL_PORT_H

/*
 * The epoll port: an epoll instance per worker, for where io_uring is refused.
 *
 * I1  An op is tried by a plain system call first; on -EAGAIN it waits on its fd slot, and the
 *     descriptor is armed (EPOLLONESHOT) at one worker's instance, tagged with the slot's
 *     generation.
 * I2  Slot lock held: every waiting op whose direction nobody runs is covered by `epoll_armed`.
 *     Readiness between the attempt and the arming is not lost: arming looks at the level.
 * I3  One thread at a time does the calls of a direction (slot.running), in the order of
 *     submission. OP_POLL consumes nothing and is not serialised; files never wait, but may go to
 *     another thread (epoll_file.c).
 * I4  epoll_wait() is called under the reap lock only, so nobody takes a parked owner's wake-up.
 *
 * The slot lock is held across epoll_ctl(2): it does not wait for anything but other short calls
 * on the same instance, and only ops on the same descriptor contend.
 *
 * Rejected: one edge-triggered registration per descriptor: it saves the re-arm (0.3 us) but a
 * number that the user closed and got again would silently never be armed. Try-first receives
 * after one that drained the socket: the -EAGAIN costs 0.2 us and is nearly certain.
 */
#include "reactor/port.h"

enum {
    EPOLL_NEW,
    EPOLL_WAITING,
    EPOLL_RUNNING,
    EPOLL_HANDED, /* a file's op, among the jobs of r->files: may be withdrawn */
    EPOLL_ENDED
};

struct epoll_port {
    struct port base;
    int fd;
    bool no_pwait2;               /* owner */
    JD_ATOMIC(int64_t) next_look; /* anybody: limits needs_help() */
};

static inline struct epoll_port *epoll_port_of(struct port *p)
{
    return JD_CONTAINER_OF(p, struct epoll_port, base);
}

/* epoll_run.c: no lock held. */
void epoll_run_submit(struct reactor *r, struct op *op);
/* An event of the instance of port `index`. Returns how many ops ended. */
int epoll_run_event(struct reactor *r, unsigned index, uint64_t tag, uint32_t events);
void epoll_run_forget(struct reactor *r, struct fd_slot *slot, int fd);
/* Slot lock held. True: the caller ends the op. */
bool epoll_run_ask(struct op *op, uint8_t why);
bool epoll_is_asked(struct op *op);

/* epoll_file.c: no lock held, the op is RUNNING. */
void epoll_file_submit(struct reactor *r, struct op *op);
/* Slot lock held, the op is HANDED. True: nobody else has it any more. */
bool epoll_file_withdraw(struct op *op);

#endif /* REACTOR_EPOLL_PORT_H */
