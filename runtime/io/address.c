/* SPDX-License-Identifier: MIT */
/*
 * See address.h. Host and port are split at the last colon, so a bare IPv6 address without brackets
 * is refused: "::1:80" could mean two things.
 */
#include "io/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "base/attr.h"
#include "io/sys.h"

#define UNIX_PREFIX "unix:"
#define UNIX_PREFIX_LEN 5
#define UNIX_NAME_MAX sizeof(((struct sockaddr_un *)0)->sun_path)

/* --- Text to address ------------------------------------------------------------------------ */

static bool parse_number(const char *text, uint32_t max, uint32_t *ret)
{
    uint64_t value = 0;

    if (*text == '\0')
        return false;
    for (; *text; text++) { /* bounded: `max` is reached after ten digits */
        if (*text < '0' || *text > '9')
            return false;
        value = value * 10 + (uint64_t)(*text - '0');
        if (value > max)
            return false;
    }
    *ret = (uint32_t)value;
    return true;
}

static bool parse_port(const char *text, uint16_t *ret)
{
    uint32_t port;

    if (strlen(text) > 5 || !parse_number(text, UINT16_MAX, &port))
        return false;
    *ret = (uint16_t)port;
    return true;
}

static int parse_unix(const char *name, struct address *ret)
{
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    size_t len = strlen(name);

    if (len == 0 || len > UNIX_NAME_MAX)
        return -EINVAL;
    memcpy(un.sun_path, name, len);
    ret->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    if (name[0] == '@') {
        if (len == 1)
            return -EINVAL; /* the kernel would make up a name */
        un.sun_path[0] = '\0';
    } else if (len < UNIX_NAME_MAX) {
        ret->len++; /* the terminator belongs to a path, where there is room for it */
    }
    memset(&ret->storage, 0, sizeof(ret->storage));
    memcpy(&ret->storage, &un, sizeof(un));
    return 0;
}

/* Copies [from, to) if it fits. */
static bool copy_part(const char *from, const char *to, char *ret, size_t room)
{
    size_t len = (size_t)(to - from);

    if (len >= room)
        return false;
    memcpy(ret, from, len);
    ret[len] = '\0';
    return true;
}

/* Splits "host:port" or "[host]:port". */
static bool split(const char *text, struct address_text *ret, bool *ret_bracketed)
{
    const char *colon = strrchr(text, ':');
    const char *end = colon;

    if (!colon || !parse_port(colon + 1, &ret->port))
        return false;
    *ret_bracketed = text[0] == '[';
    if (*ret_bracketed) {
        if (colon - text < 2 || colon[-1] != ']')
            return false;
        text++;
        end--;
    }
    return copy_part(text, end, ret->host, sizeof(ret->host));
}

static JD_NOINLINE uint32_t interface_index(const char *name)
{
    int saved = sys_error_save();
    uint32_t index = if_nametoindex(name);

    if (index == 0 && !parse_number(name, INT32_MAX, &index))
        index = 0;
    (void)sys_error_take(saved);
    return index;
}

static int parse_ipv6(char *host, uint16_t port, struct address *ret)
{
    struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
    char *zone = strchr(host, '%');

    if (zone) {
        *zone = '\0';
        in6.sin6_scope_id = interface_index(zone + 1);
        if (in6.sin6_scope_id == 0)
            return -EINVAL;
    }
    if (inet_pton(AF_INET6, host, &in6.sin6_addr) != 1)
        return -EINVAL;
    memset(&ret->storage, 0, sizeof(ret->storage));
    memcpy(&ret->storage, &in6, sizeof(in6));
    ret->len = sizeof(in6);
    return 0;
}

static int parse_ipv4(const char *host, uint16_t port, struct address *ret)
{
    struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(port) };

    if (inet_pton(AF_INET, host, &in.sin_addr) != 1)
        return -EINVAL;
    memset(&ret->storage, 0, sizeof(ret->storage));
    memcpy(&ret->storage, &in, sizeof(in));
    ret->len = sizeof(in);
    return 0;
}

int address_parse(const char *text, struct address *ret)
{
    struct address_text parts;
    bool bracketed;

    if (strncmp(text, UNIX_PREFIX, UNIX_PREFIX_LEN) == 0)
        return parse_unix(text + UNIX_PREFIX_LEN, ret);
    if (!split(text, &parts, &bracketed))
        return -EINVAL;
    if (bracketed)
        return parse_ipv6(parts.host, parts.port, ret);
    return parse_ipv4(parts.host, parts.port, ret);
}

static bool may_be_in_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.' || (c & 0x80);
}

int address_parse_name(const char *text, struct address_text *ret)
{
    bool bracketed;

    if (!split(text, ret, &bracketed) || bracketed || ret->host[0] == '\0')
        return -EINVAL;
    for (const char *c = ret->host; *c; c++)
        if (!may_be_in_name(*c))
            return -EINVAL;
    return 0;
}

bool address_parse_port_only(const char *text, uint16_t *ret)
{
    return text[0] == ':' && parse_port(text + 1, ret);
}

void address_set_any6(struct address *a, uint16_t port)
{
    struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };

    in6.sin6_addr = in6addr_any;
    memset(&a->storage, 0, sizeof(a->storage));
    memcpy(&a->storage, &in6, sizeof(in6));
    a->len = sizeof(in6);
}

void address_set_any4(struct address *a, uint16_t port)
{
    struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(port) };

    in.sin_addr.s_addr = htonl(INADDR_ANY);
    memset(&a->storage, 0, sizeof(a->storage));
    memcpy(&a->storage, &in, sizeof(in));
    a->len = sizeof(in);
}

/* --- Address to text ------------------------------------------------------------------------ */

static int put(char *buf, size_t len, int written)
{
    if (written >= 0 && (size_t)written < len)
        return 0;
    buf[0] = '\0'; /* half an address is a wrong one */
    return -ENOBUFS;
}

static int format_ipv4(const struct address *a, char *buf, size_t len)
{
    char host[INET_ADDRSTRLEN];
    struct sockaddr_in in;

    memcpy(&in, &a->storage, sizeof(in));
    inet_ntop(AF_INET, &in.sin_addr, host, sizeof(host));
    return put(buf, len, snprintf(buf, len, "%s:%u", host, ntohs(in.sin_port)));
}

static int format_ipv6(const struct address *a, char *buf, size_t len)
{
    char host[INET6_ADDRSTRLEN];
    struct sockaddr_in6 in6;

    memcpy(&in6, &a->storage, sizeof(in6));
    inet_ntop(AF_INET6, &in6.sin6_addr, host, sizeof(host));
    if (in6.sin6_scope_id != 0)
        return put(
            buf, len,
            snprintf(buf, len, "[%s%%%u]:%u", host, in6.sin6_scope_id, ntohs(in6.sin6_port)));
    return put(buf, len, snprintf(buf, len, "[%s]:%u", host, ntohs(in6.sin6_port)));
}

/* A name without a text: an abstract one that is empty or has a zero in it, a path with an '@'. */
static bool is_unreadable(const char *name, size_t bytes)
{
    if (bytes == 0)
        return false; /* "unix:", a peer without a name */
    if (name[0] == '\0')
        return bytes == 1 || memchr(name + 1, '\0', bytes - 1) != NULL;
    return name[0] == '@';
}

static int format_unix(const struct address *a, char *buf, size_t len)
{
    size_t head = offsetof(struct sockaddr_un, sun_path);
    size_t bytes = a->len > head ? a->len - head : 0;
    struct sockaddr_un un;

    memcpy(&un, &a->storage, sizeof(un));
    if (bytes > sizeof(un.sun_path))
        bytes = sizeof(un.sun_path);
    if (is_unreadable(un.sun_path, bytes))
        return -EAFNOSUPPORT;
    if (bytes > 0 && un.sun_path[0] == '\0')
        un.sun_path[0] = '@'; /* abstract: all its bytes count */
    else
        bytes = strnlen(un.sun_path, bytes);
    return put(buf, len, snprintf(buf, len, UNIX_PREFIX "%.*s", (int)bytes, un.sun_path));
}

int address_format(const struct address *a, char *buf, size_t len)
{
    buf[0] = '\0';
    switch (a->storage.ss_family) {
    case AF_INET:
        return format_ipv4(a, buf, len);
    case AF_INET6:
        return format_ipv6(a, buf, len);
    case AF_UNIX:
        return format_unix(a, buf, len);
    default:
        return -EAFNOSUPPORT;
    }
}
