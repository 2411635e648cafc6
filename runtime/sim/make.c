/* SPDX-License-Identifier: MIT */
/*
 * What a simulated program is given: pipes, pairs, datagram sockets, files.
 */
#include <errno.h>
#include <fcntl.h>

#include "sim/net.h"

/* NULL: the caller is not in a simulation. */
static struct sim *simulation(void)
{
    return worker_current() ? sim_current() : NULL;
}

int jd_sim_pipe(int ret_fds[2])
{
    struct sim *sim = simulation();
    struct sim_file *read_end, *write_end;

    if (!ret_fds)
        return -EINVAL;
    if (!sim)
        return -EPERM;
    read_end = sim_file_new(sim, AF_UNSPEC);
    write_end = sim_file_new(sim, AF_UNSPEC);
    sim_pipe_pair(read_end, write_end);
    ret_fds[0] = sim_file_number(sim, read_end);
    ret_fds[1] = sim_file_number(sim, write_end);
    return 0;
}

int jd_sim_socketpair(int type, int ret_fds[2])
{
    struct sim *sim = simulation();
    struct sim_file *a, *b;

    if (!ret_fds || (type != SOCK_STREAM && type != SOCK_DGRAM))
        return -EINVAL;
    if (!sim)
        return -EPERM;
    a = sim_file_new(sim, AF_UNIX);
    b = sim_file_new(sim, AF_UNIX);
    if (type == SOCK_STREAM)
        sim_stream_pair(a, b);
    else
        sim_datagram_pair(a, b);
    ret_fds[0] = sim_file_number(sim, a);
    ret_fds[1] = sim_file_number(sim, b);
    return 0;
}

int jd_sim_datagram(const char *address)
{
    struct sim *sim = simulation();
    struct sim_file *f;
    struct address a;
    int error = address ? address_parse(address, &a) : -EINVAL;

    if (error < 0)
        return error;
    if (!sim)
        return -EPERM;
    f = sim_file_new(sim, a.storage.ss_family);
    f->kind = FILE_DATAGRAM;
    error = sim_bind(sim, f, address_sockaddr(&a), a.len);
    if (error < 0) {
        sim_file_free(sim, f);
        return error;
    }
    return sim_file_number(sim, f);
}

#define OPEN_FLAGS \
    (O_ACCMODE | O_CREAT | O_EXCL | O_TRUNC | O_APPEND | O_CLOEXEC | O_NONBLOCK | O_LARGEFILE)

int jd_sim_open(const char *path, int flags)
{
    struct sim *sim = simulation();
    struct sim_inode *inode;
    struct sim_file *f;
    int error;

    if (!path || (flags & ~OPEN_FLAGS) || (flags & O_ACCMODE) == O_ACCMODE)
        return -EINVAL;
    if (!sim)
        return -EPERM;
    error = sim_disk_open(sim, path, flags, &inode);
    if (error < 0)
        return error;
    f = sim_file_new(sim, AF_UNSPEC);
    f->kind = FILE_DISK;
    f->inode = inode;
    f->access = flags & O_ACCMODE;
    f->append = (flags & O_APPEND) != 0;
    return sim_file_number(sim, f);
}
