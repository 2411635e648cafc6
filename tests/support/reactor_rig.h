/* SPDX-License-Identifier: MIT */
#ifndef REACTOR_RIG_H
#define REACTOR_RIG_H

/*
 * Plain threads acting as workers of a reactor. The test's thread is worker 0. Every test body is
 * run on both ports by ON_BOTH_PORTS.
 */
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "reactor/reactor.h"

#define RIG_WORKERS_MAX 4u

struct rig {
    struct reactor *reactor;
    unsigned workers;
};

/* An op which counts its completions. */
struct rig_op {
    struct op op;
    atomic_int completions;
};

/* A thread that serves a worker index and does what it is told. */
struct rig_thread {
    struct rig *rig;
    unsigned index;
    void (*run)(struct rig_thread *t);
    void *data;
    atomic_int stage; /* for the test's own use */
    atomic_bool stop;
    unsigned long handle;
};

struct rig_close {
    struct fd_close close;
    atomic_int done;
};

void rig_start(struct rig *rig, enum reactor_want want, unsigned workers, unsigned sq_entries);
void rig_stop(struct rig *rig);

void rig_thread_start(struct rig *rig, struct rig_thread *t, unsigned index,
                      void (*run)(struct rig_thread *t), void *data);
void rig_thread_stop(struct rig_thread *t);
void rig_thread_await(struct rig_thread *t, int stage); /* until it is there, or beyond */
/* A `run`: helps every other port until told to stop. */
void rig_help_loop(struct rig_thread *t);
void rig_help_all(struct rig *rig, unsigned self);
/* Worker 0 helps until another one's op has completed. */
void rig_help_until_done(struct rig *rig, struct rig_op *o);

/* Worker 1: submits, polls as asked, then burns CPU without any system call until it is stopped. */
struct rig_burner {
    struct rig_op *op;
    bool poll; /* the kernel has the op before the burn */
};
void rig_burner_start(struct rig *rig, struct rig_thread *t, struct rig_burner *b);

struct rig_op rig_recv(int fd, void *buf, size_t len);
struct rig_op rig_send(int fd, const void *buf, size_t len);
struct rig_op rig_read(int fd, void *buf, size_t len);
struct rig_op rig_write(int fd, const void *buf, size_t len);
struct rig_op rig_poll_op(int fd, short events);
struct rig_op rig_accept(int fd);
struct rig_op rig_connect(int fd, struct sockaddr *addr, socklen_t len);

void rig_submit(struct rig *rig, unsigned index, struct rig_op *o);
bool rig_is_done(struct rig_op *o);
/* Owner of index: parks until the op has completed; returns its result. */
int rig_wait(struct rig *rig, unsigned index, struct rig_op *o);
/* The same for a close started by rig_close(). */
int rig_close(struct rig *rig, unsigned index, struct rig_close *c, int fd);
void rig_wait_close(struct rig *rig, unsigned index, struct rig_close *c);
/* One turn of the owner: poll, park until `wait_ns` at most. */
void rig_turn(struct rig *rig, unsigned index, int64_t wait_ns);

void rig_pair(int pair[2]); /* unix stream sockets */
void rig_pair_close(const int pair[2]);
int rig_listen(struct sockaddr_storage *addr, socklen_t *len); /* tcp, loopback */
int64_t rig_now(void);

/* Receives of one byte each, from pairs of their own. */
#define RIG_RECEIVES_MAX 100u
struct rig_receives {
    unsigned count;
    struct rig_op ops[RIG_RECEIVES_MAX];
    char bytes[RIG_RECEIVES_MAX];
    int pairs[RIG_RECEIVES_MAX][2];
};
void rig_receives_init(struct rig_receives *r, unsigned count);
void rig_receives_fini(struct rig_receives *r);
void rig_receives_submit(struct rig *rig, unsigned index, struct rig_receives *r);
void rig_receives_send(struct rig_receives *r); /* each its byte */
/* Owner of index: until each of them has its byte. */
void rig_receives_wait(struct rig *rig, unsigned index, struct rig_receives *r);

#define ON_BOTH_PORTS(name) \
    static void name(enum reactor_want want); \
    Test(uring, name, .timeout = 10) \
    { \
        name(REACTOR_URING); \
    } \
    Test(epoll, name, .timeout = 10) \
    { \
        name(REACTOR_EPOLL); \
    } \
    static void name(enum reactor_want want)

#endif /* REACTOR_RIG_H */
