/* SPDX-License-Identifier: MIT */
#ifndef SIM_NET_H
#define SIM_NET_H

/*
 * What simulated descriptors stand for: stream and datagram sockets on virtual addresses, pipes, and
 * files on a disk that is as old as the run. All of one process.
 *
 * I1  A file is in sim->files under its number, or in the backlog of one listener (fd is -1).
 * I2  peer is symmetric: a and b are each other's, or one has ended and the other's is NULL.
 * I3  `waiting` holds the ops that were tried and could not proceed. Whatever may change that takes
 *     them off the list and has them tried again (sim_file_wake).
 * I4  The lowest free number is taken first, as POSIX has it: numbers are used again at once, so an
 *     op on a descriptor that was closed meets its next life.
 *
 * Bytes are at the peer as soon as they were sent; how long that takes is in the times of the ops.
 * Rejected: segments with times of their own (nothing that a stream promises would change).
 */
#include <sys/uio.h>

#include "io/address.h"
#include "sim/sim.h"

enum sim_file_kind {
    FILE_SOCKET, /* neither listens nor is connected */
    FILE_LISTENER,
    FILE_STREAM,
    FILE_DATAGRAM,
    FILE_PIPE_READ,
    FILE_PIPE_WRITE,
    FILE_DISK
};

struct sim_file {
    enum sim_file_kind kind;
    int fd;
    int family; /* of a socket, else AF_UNSPEC */
    int access; /* O_RDONLY, O_WRONLY, O_RDWR */
    bool bound; /* on sim->bound */
    bool fin;   /* the peer sends no more */
    bool read_shut, write_shut;
    bool broken; /* was reset */
    int error;   /* told once, then 0 */
    struct address local, remote;
    struct sim_file *peer;
    struct list waiting; /* ops, by port_link */
    struct list link;    /* of sim->bound, or of a backlog */

    struct list backlog; /* of a listener: connections not accepted */
    unsigned backlog_count, backlog_max;

    char *data; /* received, not yet read: a ring */
    size_t room, head, len, room_max;

    struct list messages; /* of a datagram socket: received, not yet read; their bytes are `len` */

    struct sim_inode *inode; /* of a file on the disk */
    int64_t position;
    bool append;
};

/* What a call or an op moves. */
struct sim_transfer {
    const struct iovec *iov;
    size_t count;
    int64_t offset;     /* OP_FILE_POSITION: the file's own */
    int flags;          /* MSG_* */
    bool for_socket;    /* recv, send and the like */
    struct msghdr *msg; /* of recvmsg, sendmsg; NULL */
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
void sim_backlog_drop(struct sim *sim, struct sim_file *f);

void *sim_alloc(struct sim *sim, size_t bytes); /* zeroed; never fails by a fault */
size_t sim_bytes(const struct sim_transfer *t);
size_t sim_shorten(struct sim *sim, size_t len); /* a fault: at least 1 stays */
int sim_take_error(struct sim_file *f);
bool sim_has_errors(const struct sim *sim); /* calls may fail by a fault */

static inline bool sim_is_socket(const struct sim_file *f)
{
    return f->family != AF_UNSPEC;
}

/* What the calls do now, by kind of file; -EAGAIN: they would wait. */

/* stream.c */
ssize_t sim_stream_recv(struct sim *sim, struct sim_file *f, const struct sim_transfer *t);
ssize_t sim_stream_send(struct sim *sim, struct sim_file *f, const struct sim_transfer *t);
int sim_stream_poll(const struct sim_file *f);
int sim_stream_shutdown(struct sim *sim, struct sim_file *f, int how);
void sim_stream_pair(struct sim_file *a, struct sim_file *b);

/* datagram.c */
ssize_t sim_datagram_recv(struct sim *sim, struct sim_file *f, const struct sim_transfer *t);
ssize_t sim_datagram_send(struct sim *sim, struct sim_file *f, const struct sim_transfer *t);
int sim_datagram_poll(const struct sim_file *f);
int sim_datagram_shutdown(struct sim *sim, struct sim_file *f, int how);
int sim_datagram_connect(struct sim *sim, struct sim_file *f, const struct sockaddr *addr,
                         socklen_t len);
void sim_datagram_pair(struct sim_file *a, struct sim_file *b);
void sim_datagram_end(struct sim *sim, struct sim_file *f);

/* pipe.c */
ssize_t sim_pipe_read(struct sim *sim, struct sim_file *f, const struct sim_transfer *t);
ssize_t sim_pipe_write(struct sim *sim, struct sim_file *f, const struct sim_transfer *t);
int sim_pipe_poll(const struct sim_file *f);
void sim_pipe_pair(struct sim_file *read_end, struct sim_file *write_end);

/* disk.c */
int sim_disk_open(struct sim *sim, const char *path, int flags, struct sim_inode **ret);
ssize_t sim_disk_read(struct sim *sim, struct sim_file *f, const struct sim_transfer *t);
ssize_t sim_disk_write(struct sim *sim, struct sim_file *f, const struct sim_transfer *t);
int sim_disk_sync(struct sim *sim, struct sim_file *f);
void sim_disk_end(struct sim *sim);

/* connect.c */
int sim_name_in(struct address *a, const struct sockaddr *addr, socklen_t len, int family);
void sim_name_out(const struct address *a, struct sockaddr *addr, socklen_t *len);
struct sim_file *sim_find(struct sim *sim, const struct address *to, enum sim_file_kind kind);
bool sim_name_serves(const struct address *name, const struct address *to);
/* The name that who sends to `to` has there; takes a port when `name` has none. */
void sim_name_towards(struct sim *sim, const struct address *name, const struct address *to,
                      struct address *ret);
int sim_bind(struct sim *sim, struct sim_file *f, const struct sockaddr *addr, socklen_t len);
int sim_listen(struct sim *sim, struct sim_file *f, int backlog);
int sim_connect(struct sim *sim, struct sim_file *f, const struct sockaddr *addr, socklen_t len);
int sim_accept(struct sim *sim, struct sim_file *f, struct sockaddr *addr, socklen_t *len);

#endif /* SIM_NET_H */
