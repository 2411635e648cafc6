/* SPDX-License-Identifier: MIT */
#ifndef IO_ADDRESS_H
#define IO_ADDRESS_H

/*
 * Socket addresses as text, both ways.
 *
 *   127.0.0.1:80   [::1]:80   [fe80::1%eth0]:80   unix:/run/x.sock   unix:@abstract
 *
 * I1  What address_format() writes, address_parse() reads (a peer without a name, "unix:", apart).
 * I2  Strict: decimal ports of 0..65535, no spaces, no names of services, no octal or short IPv4.
 *
 * Threads: any; nothing is kept. No system call, but for the number of an interface.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct address {
    socklen_t len;
    struct sockaddr_storage storage;
};

#define ADDRESS_HOST_BYTES 256 /* a DNS name has at most 253 */

/* "host:port" taken apart. */
struct address_text {
    char host[ADDRESS_HOST_BYTES];
    uint16_t port;
};

/* A numeric or unix address: 0 or -EINVAL. */
int address_parse(const char *text, struct address *ret);
/* A host name and a port: 0 or -EINVAL. The host is not empty. */
int address_parse_name(const char *text, struct address_text *ret);
/* ":port": true, and the port. */
bool address_parse_port_only(const char *text, uint16_t *ret);

void address_set_any6(struct address *a, uint16_t port);
void address_set_any4(struct address *a, uint16_t port);

static inline bool address_is_unix(const struct address *a)
{
    return a->storage.ss_family == AF_UNIX;
}

static inline struct sockaddr *address_sockaddr(struct address *a)
{
    return (struct sockaddr *)&a->storage;
}

/* Always terminated. -ENOBUFS: it does not fit; -EAFNOSUPPORT: it has no text. */
int address_format(const struct address *a, char *buf, size_t len);

#endif /* IO_ADDRESS_H */
