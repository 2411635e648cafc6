/* SPDX-License-Identifier: MIT */
/*
 * Simulated files: numbers, bytes, waiting ops, ends. See net.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/alloc.h"
#include "sim/net.h"

#define ROOM_FIRST 512u
#define ROOM_MAX 65536u

void *sim_alloc(struct sim *sim, size_t bytes)
{
    bool before = sim->quiet;
    void *ptr;

    sim->quiet = true;
    ptr = mem_calloc(bytes);
    sim->quiet = before;
    JD_ASSERT(ptr != NULL); /* a simulation without memory ends here */
    return ptr;
}

struct sim_file *sim_file_new(struct sim *sim, int family)
{
    struct sim_file *f = sim_alloc(sim, sizeof(*f));

    f->fd = -1;
    f->family = family;
    f->access = O_RDWR;
    f->room_max = sim->fault_percent ? (size_t)1024 << sim_below(sim, 7) : ROOM_MAX;
    list_init(&f->waiting);
    list_init(&f->link);
    list_init(&f->backlog);
    list_init(&f->messages);
    return f;
}

static void grow_table(struct sim *sim)
{
    unsigned room = sim->file_room ? 2 * sim->file_room : 16;
    struct sim_file **files = sim_alloc(sim, room * sizeof(struct sim_file *));

    if (sim->file_room > 0)
        memcpy(files, sim->files, sim->file_room * sizeof(struct sim_file *));
    mem_free(sim->files, sim->file_room * sizeof(struct sim_file *));
    sim->files = files;
    sim->file_room = room;
}

int sim_file_number(struct sim *sim, struct sim_file *f)
{
    unsigned i = 0;

    while (i < sim->file_room && sim->files[i]) /* bounded by the table; lowest first, I4 */
        i++;
    if (i == sim->file_room)
        grow_table(sim);
    sim->files[i] = f;
    sim->file_count++;
    f->fd = SIM_FD_BASE + (int)i;
    return f->fd;
}

struct sim_file *sim_file_of(struct sim *sim, int fd)
{
    unsigned i = (unsigned)(fd - SIM_FD_BASE);

    return fd >= SIM_FD_BASE && i < sim->file_room ? sim->files[i] : NULL;
}

void sim_file_wake(struct sim *sim, struct sim_file *f)
{
    struct list *link;

    while ((link = list_pop_head(&f->waiting)))
        sim_port_retry(sim, JD_CONTAINER_OF(link, struct op, port_link));
}

/* --- Bytes ---------------------------------------------------------------------------------- */

static void make_room(struct sim *sim, struct sim_file *f, size_t len)
{
    size_t room = f->room ? f->room : ROOM_FIRST;
    char *data;

    while (room < f->len + len)
        room *= 2;
    if (room == f->room)
        return;
    data = sim_alloc(sim, room);
    sim_file_take(f, data, f->len, true);
    mem_free(f->data, f->room);
    f->data = data;
    f->room = room;
    f->head = 0;
}

void sim_file_put(struct sim *sim, struct sim_file *f, const char *from, size_t len)
{
    size_t tail, first;

    make_room(sim, f, len);
    tail = (f->head + f->len) % f->room;
    first = len < f->room - tail ? len : f->room - tail;
    memcpy(f->data + tail, from, first);
    memcpy(f->data, from + first, len - first);
    f->len += len;
}

void sim_file_take(struct sim_file *f, char *to, size_t len, bool peek)
{
    size_t first;

    if (len == 0)
        return;
    JD_ASSERT(len <= f->len);
    first = len < f->room - f->head ? len : f->room - f->head;
    memcpy(to, f->data + f->head, first);
    memcpy(to + first, f->data, len - first);
    if (peek)
        return;
    f->head = (f->head + len) % f->room;
    f->len -= len;
}

/* --- What all transfers share ----------------------------------------------------------------- */

size_t sim_bytes(const struct sim_transfer *t)
{
    size_t len = 0;

    for (size_t i = 0; i < t->count; i++)
        len += t->iov[i].iov_len;
    return len;
}

size_t sim_shorten(struct sim *sim, size_t len)
{
    if (len < 2 || !sim_fault(sim, 1))
        return len;
    return (size_t)sim_between(sim, 1, (int64_t)len - 1);
}

/* The error that the file keeps is told once. */
int sim_take_error(struct sim_file *f)
{
    int error = f->error;

    f->error = 0;
    return error;
}

bool sim_has_errors(const struct sim *sim)
{
    return (sim->flags & JD_SIM_NO_ERRORS) == 0;
}

/* --- Ends ----------------------------------------------------------------------------------- */

static void break_side(struct sim *sim, struct sim_file *f)
{
    f->broken = true;
    f->error = -ECONNRESET;
    f->fin = true;
    f->len = 0;
    f->peer = NULL;
    sim_file_wake(sim, f);
}

void sim_file_break(struct sim *sim, struct sim_file *f)
{
    struct sim_file *peer = f->peer;

    break_side(sim, f);
    if (peer)
        break_side(sim, peer);
}

/* The peer reads what was sent, then the end. What we did not read is lost, and TCP says so. */
static void part_from_peer(struct sim *sim, struct sim_file *f)
{
    struct sim_file *peer = f->peer;

    if (!peer)
        return;
    f->peer = NULL;
    peer->peer = NULL;
    peer->fin = true;
    if (f->kind == FILE_STREAM && f->len > 0 && f->family != AF_UNIX)
        break_side(sim, peer);
    else
        sim_file_wake(sim, peer);
}

void sim_backlog_drop(struct sim *sim, struct sim_file *f)
{
    struct list *link;

    f->backlog_count = 0;
    while ((link = list_pop_head(&f->backlog))) {
        struct sim_file *pending = JD_CONTAINER_OF(link, struct sim_file, link);

        if (pending->peer)
            break_side(sim, pending->peer);
        pending->peer = NULL;
        sim_file_free(sim, pending);
    }
}

void sim_file_free(struct sim *sim, struct sim_file *f)
{
    JD_ASSERT(list_is_empty(&f->waiting)); /* the reactor ended them before the close */
    sim_backlog_drop(sim, f);
    part_from_peer(sim, f);
    sim_datagram_end(sim, f);
    if (list_is_linked(&f->link))
        list_del(&f->link);
    mem_free(f->data, f->room);
    mem_free(f, sizeof(*f));
}

int sim_net_close(struct sim *sim, int fd)
{
    struct sim_file *f = sim_file_of(sim, fd);

    if (fd < SIM_FD_BASE)
        sim_report_descriptor(sim, task_current(), "close", fd);
    if (!f)
        return -EBADF;
    sim->files[fd - SIM_FD_BASE] = NULL;
    sim->file_count--;
    sim_file_free(sim, f);
    return 0;
}

/* The run is over: what nobody closed. */
void sim_net_end(struct sim *sim)
{
    for (unsigned i = 0; i < sim->file_room; i++) /* ops of tasks that resisted: leaked with them */
        if (sim->files[i])
            list_init(&sim->files[i]->waiting);
    for (unsigned i = 0; i < sim->file_room; i++) {
        struct sim_file *f = sim->files[i];

        if (!f)
            continue;
        if (f->peer)
            f->peer->peer = NULL; /* it may be in a backlog, and nobody has to hear of this end */
        f->peer = NULL;
        sim->files[i] = NULL;
        sim_file_free(sim, f);
    }
    mem_free(sim->files, sim->file_room * sizeof(struct sim_file *));
    sim_disk_end(sim);
}
