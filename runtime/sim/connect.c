/* SPDX-License-Identifier: MIT */
/*
 * Names and connections of the simulated network: bind, listen, connect, accept. See net.h.
 *
 * Faults: a connection that is refused or aborted.
 */
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <string.h>

#include "sim/net.h"

/* In network order, as it is only compared; of a unix name: 0. */
static in_port_t port_of(const struct address *a)
{
    if (a->storage.ss_family == AF_INET)
        return ((const struct sockaddr_in *)(const void *)&a->storage)->sin_port;
    if (a->storage.ss_family == AF_INET6)
        return ((const struct sockaddr_in6 *)(const void *)&a->storage)->sin6_port;
    return 0;
}

static void set_port(struct address *a, in_port_t port)
{
    if (a->storage.ss_family == AF_INET)
        ((struct sockaddr_in *)(void *)&a->storage)->sin_port = port;
    else if (a->storage.ss_family == AF_INET6)
        ((struct sockaddr_in6 *)(void *)&a->storage)->sin6_port = port;
}

static void take_port(struct sim *sim, struct address *a)
{
    set_port(a, htons(sim->next_port++));
}

static bool is_any(const struct address *a)
{
    if (a->storage.ss_family == AF_INET)
        return ((const struct sockaddr_in *)(const void *)&a->storage)->sin_addr.s_addr ==
               INADDR_ANY;
    return a->storage.ss_family == AF_INET6 &&
           IN6_IS_ADDR_UNSPECIFIED(
               &((const struct sockaddr_in6 *)(const void *)&a->storage)->sin6_addr);
}

static bool same_host(const struct address *a, const struct address *b)
{
    const struct sockaddr_in *a4 = (const void *)&a->storage, *b4 = (const void *)&b->storage;
    const struct sockaddr_in6 *a6 = (const void *)&a->storage, *b6 = (const void *)&b->storage;

    if (a->storage.ss_family != b->storage.ss_family)
        return a->storage.ss_family == AF_INET6 && is_any(a); /* both kinds come to [::] */
    if (is_any(a))
        return true;
    if (a->storage.ss_family == AF_INET)
        return a4->sin_addr.s_addr == b4->sin_addr.s_addr;
    return memcmp(&a6->sin6_addr, &b6->sin6_addr, sizeof(a6->sin6_addr)) == 0;
}

/* Does what goes to `to` arrive at `name`? */
bool sim_name_serves(const struct address *name, const struct address *to)
{
    if (address_is_unix(name) || address_is_unix(to))
        return address_is_unix(name) && address_is_unix(to) && name->len == to->len &&
               memcmp(&name->storage, &to->storage, to->len) == 0;
    return port_of(name) == port_of(to) && same_host(name, to);
}

/* Datagrams and streams have ports of their own; FILE_SOCKET: any of the latter. */
static bool is_of_kind(const struct sim_file *f, enum sim_file_kind kind)
{
    return kind == FILE_SOCKET ? f->kind != FILE_DATAGRAM : f->kind == kind;
}

struct sim_file *sim_find(struct sim *sim, const struct address *to, enum sim_file_kind kind)
{
    list_for_each(link, &sim->bound) {
        struct sim_file *f = JD_CONTAINER_OF(link, struct sim_file, link);

        if (is_of_kind(f, kind) && sim_name_serves(&f->local, to))
            return f;
    }
    return NULL;
}

int sim_name_in(struct address *a, const struct sockaddr *addr, socklen_t len, int family)
{
    memset(a, 0, sizeof(*a));
    if (!addr || len > sizeof(a->storage) || len < sizeof(sa_family_t))
        return -EINVAL;
    if (addr->sa_family != family)
        return -EAFNOSUPPORT;
    memcpy(&a->storage, addr, len);
    a->len = len;
    return 0;
}

void sim_name_out(const struct address *a, struct sockaddr *addr, socklen_t *len)
{
    socklen_t room;

    if (!addr || !len)
        return;
    room = *len < a->len ? *len : a->len;
    memcpy(addr, &a->storage, room);
    *len = a->len;
}

int sim_bind(struct sim *sim, struct sim_file *f, const struct sockaddr *addr, socklen_t len)
{
    struct address a;
    int error = sim_name_in(&a, addr, len, f->family);

    if (error < 0)
        return error;
    if (f->bound || (f->kind != FILE_SOCKET && f->kind != FILE_DATAGRAM))
        return -EINVAL;
    if (port_of(&a) == 0)
        take_port(sim, &a);
    if (sim_find(sim, &a, f->kind))
        return -EADDRINUSE;
    f->local = a;
    f->bound = true;
    list_add_tail(&sim->bound, &f->link);
    return 0;
}

int sim_listen(struct sim *sim, struct sim_file *f, int backlog)
{
    (void)sim;
    if (f->kind == FILE_DATAGRAM)
        return -EOPNOTSUPP;
    if (f->kind == FILE_STREAM || !f->bound)
        return -EINVAL;
    f->kind = FILE_LISTENER;
    f->backlog_max = backlog > 0 && backlog < 4096 ? (unsigned)backlog : 4096; /* as somaxconn */
    return 0;
}

void sim_name_towards(struct sim *sim, const struct address *name, const struct address *to,
                      struct address *ret)
{
    in_port_t port = name ? port_of(name) : 0;

    memset(ret, 0, sizeof(*ret));
    if (name && !is_any(name)) {
        *ret = *name;
        return;
    }
    ret->storage.ss_family = to->storage.ss_family;
    ret->len = sizeof(sa_family_t);
    if (address_is_unix(to))
        return;
    *ret = *to; /* the host that it calls: there is one machine */
    if (port == 0)
        take_port(sim, ret);
    else
        set_port(ret, port);
}

static void become_connected(struct sim_file *f, struct sim_file *server, const struct address *to)
{
    f->kind = server->kind = FILE_STREAM;
    f->remote = server->local = *to;
    server->remote = f->local;
    f->peer = server;
    server->peer = f;
}

int sim_connect(struct sim *sim, struct sim_file *f, const struct sockaddr *addr, socklen_t len)
{
    struct sim_file *listener, *server;
    struct address to;
    int error;

    if (f->kind == FILE_DATAGRAM)
        return sim_datagram_connect(sim, f, addr, len);
    error = sim_name_in(&to, addr, len, f->family);
    if (error < 0)
        return error;
    if (f->kind != FILE_SOCKET)
        return f->kind == FILE_STREAM ? -EISCONN : -EINVAL;
    if (sim_has_errors(sim) && sim_fault(sim, 10))
        return sim_percent(sim, 50) ? -ECONNREFUSED : -ETIMEDOUT;
    listener = sim_find(sim, &to, FILE_LISTENER);
    if (!listener || listener->read_shut)
        return -ECONNREFUSED;
    if (listener->backlog_count >= listener->backlog_max)
        return -EINPROGRESS; /* the port asks again */
    if (!f->bound)
        sim_name_towards(sim, NULL, &to, &f->local);
    server = sim_file_new(sim, f->family);
    become_connected(f, server, &to);
    list_add_tail(&listener->backlog, &server->link);
    listener->backlog_count++;
    sim_file_wake(sim, listener);
    return 0;
}

int sim_accept(struct sim *sim, struct sim_file *f, struct sockaddr *addr, socklen_t *len)
{
    struct sim_file *server;
    struct list *link;

    if (f->kind != FILE_LISTENER)
        return f->kind == FILE_DATAGRAM ? -EOPNOTSUPP : -EINVAL;
    if (f->backlog_count == 0)
        return f->read_shut ? -EINVAL : -EAGAIN;
    if (sim_has_errors(sim) && sim_fault(sim, 10))
        return sim_percent(sim, 50) ? -ECONNABORTED : -EMFILE; /* it stays in the backlog */
    link = list_pop_head(&f->backlog);
    f->backlog_count--;
    server = JD_CONTAINER_OF(link, struct sim_file, link);
    sim_name_out(&server->remote, addr, len);
    return sim_file_number(sim, server);
}
