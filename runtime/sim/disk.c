/* SPDX-License-Identifier: MIT */
/*
 * Simulated files: names and bytes that live as long as the run. See net.h.
 *
 * A file is never waited for. Faults: short reads and writes, -EIO, -ENOSPC. Without any the disk is
 * still finite.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/alloc.h"
#include "reactor/op.h"
#include "sim/net.h"

#define DISK_BYTES_MAX (64u * 1024 * 1024)
#define ROOM_FIRST 512u

struct sim_inode {
    struct list link; /* of sim->disk */
    char *name;
    size_t name_bytes;
    char *data; /* zeroes from len to room */
    size_t len, room;
};

static struct sim_inode *find(struct sim *sim, const char *path)
{
    list_for_each(link, &sim->disk) {
        struct sim_inode *inode = JD_CONTAINER_OF(link, struct sim_inode, link);

        if (strcmp(inode->name, path) == 0)
            return inode;
    }
    return NULL;
}

static struct sim_inode *inode_new(struct sim *sim, const char *path)
{
    struct sim_inode *inode = sim_alloc(sim, sizeof(*inode));

    inode->name_bytes = strlen(path) + 1;
    inode->name = sim_alloc(sim, inode->name_bytes);
    memcpy(inode->name, path, inode->name_bytes);
    list_add_tail(&sim->disk, &inode->link);
    return inode;
}

static void inode_cut(struct sim *sim, struct sim_inode *inode)
{
    mem_free(inode->data, inode->room);
    sim->disk_bytes -= inode->room;
    inode->data = NULL;
    inode->len = inode->room = 0;
}

int sim_disk_open(struct sim *sim, const char *path, int flags, struct sim_inode **ret)
{
    struct sim_inode *inode = find(sim, path);

    if (!inode && !(flags & O_CREAT))
        return -ENOENT;
    if (inode && (flags & O_CREAT) && (flags & O_EXCL))
        return -EEXIST;
    if (!inode)
        inode = inode_new(sim, path);
    else if ((flags & O_TRUNC) && (flags & O_ACCMODE) != O_RDONLY)
        inode_cut(sim, inode);
    *ret = inode;
    return 0;
}

static int64_t position_of(const struct sim_file *f, const struct sim_transfer *t)
{
    return t->offset == OP_FILE_POSITION ? f->position : t->offset;
}

ssize_t sim_disk_read(struct sim *sim, struct sim_file *f, const struct sim_transfer *t)
{
    const struct sim_inode *inode = f->inode;
    size_t at = (size_t)position_of(f, t), left = sim_bytes(t), done = 0;

    if (f->access == O_WRONLY)
        return -EBADF;
    if (left == 0 || at >= inode->len)
        return 0;
    if (sim_has_errors(sim) && sim_fault(sim, 20))
        return -EIO;
    left = sim_shorten(sim, left < inode->len - at ? left : inode->len - at);
    for (size_t i = 0; i < t->count && left > 0; i++) {
        size_t part = t->iov[i].iov_len < left ? t->iov[i].iov_len : left;

        memcpy(t->iov[i].iov_base, inode->data + at + done, part);
        done += part;
        left -= part;
    }
    if (t->offset == OP_FILE_POSITION)
        f->position += (int64_t)done;
    return (ssize_t)done;
}

/* -ENOSPC: the disk is full. */
static int make_room(struct sim *sim, struct sim_inode *inode, size_t end)
{
    size_t room = inode->room ? inode->room : ROOM_FIRST;
    char *data;

    while (room < end)
        room *= 2;
    if (room == inode->room)
        return 0;
    if (sim->disk_bytes - inode->room + room > DISK_BYTES_MAX)
        return -ENOSPC;
    data = sim_alloc(sim, room);
    if (inode->len > 0)
        memcpy(data, inode->data, inode->len);
    mem_free(inode->data, inode->room);
    sim->disk_bytes += room - inode->room;
    inode->data = data;
    inode->room = room;
    return 0;
}

ssize_t sim_disk_write(struct sim *sim, struct sim_file *f, const struct sim_transfer *t)
{
    struct sim_inode *inode = f->inode;
    size_t at = f->append ? inode->len : (size_t)position_of(f, t), left = sim_bytes(t), done = 0;

    if (f->access == O_RDONLY)
        return -EBADF;
    if (left == 0)
        return 0;
    if (sim_has_errors(sim) && sim_fault(sim, 20))
        return sim_percent(sim, 50) ? -ENOSPC : -EIO;
    left = sim_shorten(sim, left);
    if (at > DISK_BYTES_MAX || left > DISK_BYTES_MAX || make_room(sim, inode, at + left) < 0)
        return -ENOSPC;
    for (size_t i = 0; i < t->count && left > 0; i++) {
        size_t part = t->iov[i].iov_len < left ? t->iov[i].iov_len : left;

        memcpy(inode->data + at + done, t->iov[i].iov_base, part);
        done += part;
        left -= part;
    }
    if (at + done > inode->len)
        inode->len = at + done;
    if (t->offset == OP_FILE_POSITION)
        f->position = (int64_t)(at + done);
    return (ssize_t)done;
}

int sim_disk_sync(struct sim *sim, struct sim_file *f)
{
    (void)f;
    return sim_has_errors(sim) && sim_fault(sim, 20) ? -EIO : 0;
}

void sim_disk_end(struct sim *sim)
{
    struct list *link;

    while ((link = list_pop_head(&sim->disk))) {
        struct sim_inode *inode = JD_CONTAINER_OF(link, struct sim_inode, link);

        inode_cut(sim, inode);
        mem_free(inode->name, inode->name_bytes);
        mem_free(inode, sizeof(*inode));
    }
}
