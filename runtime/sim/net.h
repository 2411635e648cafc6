/* SPDX-License-Identifier: MIT */
#ifndef SIM_NET_H
#define SIM_NET_H

/*
 * The simulated network: stream sockets on virtual addresses, of one process.
 *
 * I1  A file is in sim->files under its number, or in the backlog of one listener (fd is -1).
 * I2  peer is symmetric: a and b are each other's, or one has ended and the other's is NULL.
 * I3  `waiting` holds the ops that were tried and could not proceed. Whatever may change that takes
 *     them off the list and has them tried again (files_wake).
 * I4  The lowest free number is taken first, as POSIX has it: numbers are used again at once, so an
 *     op on a descriptor that was closed meets its next life.
 *
 * Bytes are at the peer as soon as they were sent; how long that takes is in the times of the ops.
 * Rejected: segments with times of their own (nothing that a stream promises would change).
 */
#include "io/address.h"
#include "sim/sim.h"

enum sim_file_kind { FILE_SOCKET, FILE_LISTENER, FILE_STREAM };

struct sim_file {
    enum sim_file_kind kind;
    int fd;
    int family;
    bool bound; /* on sim->listeners */
    bool fin;   /* the peer sends no more */
    bool read_shut, write_shut;
    bool broken; /* was reset */
    int error;   /* told once, then 0 */
    struct address local, remote;
    struct sim_file *peer;
    struct list waiting; /* ops, by port_link */
    struct list link;    /* of sim->listeners, or of a backlog */

    struct list backlog; /* of a listener: connections not accepted */
    unsigned backlog_count, backlog_max;

    char *data; /* received, not yet read: a ring */
    size_t room, head, len, room_max;
};

/* files.c */
struct sim_file *sim_file_new(struct sim *sim, int family);
int sim_file_number(struct sim *sim, struct sim_file *f); /* the new descriptor */
struct sim_file *sim_file_of(struct sim *sim, int fd);    /* NULL: not open, or a real one */
void sim_file_wake(struct sim *sim, struct sim_file *f);
void sim_file_free(struct sim *sim, struct sim_file *f);
void sim_file_put(struct sim *sim, struct sim_file *f, const char *from, size_t len);
void sim_file_take(struct sim_file *f, char *to, size_t len, bool peek);
void sim_file_break(struct sim *sim, struct sim_file *f); /* both sides of the connection */

/* stream.c: what the calls do now; -EAGAIN: they would wait */
struct iovec;
ssize_t sim_stream_recv(struct sim *sim, struct sim_file *f, const struct iovec *iov, size_t n,
                        int flags);
ssize_t sim_stream_send(struct sim *sim, struct sim_file *f, const struct iovec *iov, size_t n);
int sim_stream_poll(const struct sim_file *f, short events);
int sim_stream_shutdown(struct sim *sim, struct sim_file *f, int how);

/* connect.c */
int sim_bind(struct sim *sim, struct sim_file *f, const struct sockaddr *addr, socklen_t len);
int sim_listen(struct sim *sim, struct sim_file *f, int backlog);
int sim_connect(struct sim *sim, struct sim_file *f, const struct sockaddr *addr, socklen_t len);
int sim_accept(struct sim *sim, struct sim_file *f, struct sockaddr *addr, socklen_t *len);
void sim_name_out(const struct address *a, struct sockaddr *addr, socklen_t *len);

#endif /* SIM_NET_H */
