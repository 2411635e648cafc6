/* SPDX-License-Identifier: MIT */
/*
 * Addresses, both ways.
 *
 *   'a', family, length, raw bytes   a socket address as a system call may give it: what has a text
 *                                    must be read back as the same address
 *   text                             what is read must be written and read again as the same; a
 *                                    name must be one
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "fuzz.h"
#include "io/address.h"

#define TEXT_MAX 600

/* What the text does not carry is left out. */
static bool same_address(const struct address *a, const struct address *b)
{
    struct sockaddr_in6 a6, b6;

    if (a->storage.ss_family != b->storage.ss_family || a->len != b->len)
        return false;
    if (a->storage.ss_family != AF_INET6)
        return memcmp(&a->storage, &b->storage, a->len) == 0;
    memcpy(&a6, &a->storage, sizeof(a6));
    memcpy(&b6, &b->storage, sizeof(b6));
    return a6.sin6_port == b6.sin6_port && a6.sin6_scope_id == b6.sin6_scope_id &&
           memcmp(&a6.sin6_addr, &b6.sin6_addr, sizeof(a6.sin6_addr)) == 0;
}

/* The rules of bind(2) about lengths, so that no text can be shorter or longer than the name. */
static bool is_canonical(const struct address *a)
{
    const char *path = ((const struct sockaddr_un *)(const void *)&a->storage)->sun_path;
    size_t head = offsetof(struct sockaddr_un, sun_path);

    if (a->storage.ss_family != AF_UNIX)
        return true;
    return a->len > head && (path[0] == '\0' || a->len == head + strlen(path) + 1);
}

static void check_back(const struct address *a)
{
    char text[TEXT_MAX], small[24];
    struct address back;
    int error = address_format(a, text, sizeof(text));
    int cut = address_format(a, small, sizeof(small));

    FUZZ_CHECK_THAT(error == 0 || error == -EAFNOSUPPORT, "%d", error);
    if (error) {
        FUZZ_CHECK(text[0] == '\0');
        return;
    }
    FUZZ_CHECK_THAT((cut == 0) == (strlen(text) < sizeof(small)), "%d for %s", cut, text);
    FUZZ_CHECK(cut == 0 ? strcmp(small, text) == 0 : cut == -ENOBUFS && small[0] == '\0');
    if (!strcmp(text, "unix:"))
        return; /* a peer without a name */
    error = address_parse(text, &back);
    FUZZ_CHECK_THAT(error == 0, "%d: %s", error, text);
    FUZZ_CHECK_THAT(!is_canonical(a) || same_address(a, &back), "%s", text);
}

static void raw_address(struct fuzz_input *in)
{
    static const sa_family_t families[] = { AF_INET, AF_INET6, AF_UNIX, AF_NETLINK };
    struct address a = { .len = 0 };
    size_t len, room;

    a.storage.ss_family = families[fuzz_byte(in) % 4];
    len = fuzz_byte(in);
    room = a.storage.ss_family == AF_INET    ? sizeof(struct sockaddr_in)
           : a.storage.ss_family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                             : sizeof(struct sockaddr_un);
    /* The kernel gives those of the internet whole, and a unix name with its length. */
    if (a.storage.ss_family == AF_UNIX)
        room = sizeof(sa_family_t) + len % (sizeof(struct sockaddr_un) - sizeof(sa_family_t) + 1);
    a.len = (socklen_t)room;
    for (size_t i = sizeof(sa_family_t); i < room; i++)
        ((unsigned char *)&a.storage)[i] = fuzz_byte(in);
    if (a.storage.ss_family == AF_INET)
        memset((unsigned char *)&a.storage + offsetof(struct sockaddr_in, sin_zero), 0, 8);
    if (a.storage.ss_family == AF_INET6) /* an index of an interface is an int */
        ((struct sockaddr_in6 *)(void *)&a.storage)->sin6_scope_id &= INT32_MAX;
    check_back(&a);
}

static bool is_port(const char *text)
{
    return strlen(text) > 0 && strlen(text) <= 5 && strspn(text, "0123456789") == strlen(text) &&
           strtol(text, NULL, 10) <= 65535;
}

static void text_address(const char *text)
{
    const char *colon = strrchr(text, ':');
    bool port = colon && is_port(colon + 1);
    struct address_text name;
    struct address a;
    uint16_t number;

    if (address_parse(text, &a) == 0) {
        FUZZ_CHECK_THAT(strncmp(text, "unix:", 5) == 0 || port, "%s", text);
        check_back(&a);
    }
    if (address_parse_name(text, &name) == 0) {
        FUZZ_CHECK_THAT(port, "%s", text);
        FUZZ_CHECK(strlen(name.host) == (size_t)(colon - text) && name.host[0] != '\0');
        FUZZ_CHECK(strncmp(text, name.host, strlen(name.host)) == 0);
        FUZZ_CHECK(name.port == atoi(colon + 1));
    }
    FUZZ_CHECK_THAT(address_parse_port_only(text, &number) == (port && colon == text), "%s", text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = { data, data + size };
    char *text;

    if (size > TEXT_MAX)
        return 0;
    if (fuzz_left(&in) > 0 && *in.at == 'a') {
        (void)fuzz_byte(&in);
        raw_address(&in);
        return 0;
    }
    text = malloc(size + 1); /* exactly: a read beyond the end is seen */
    FUZZ_CHECK(text != NULL);
    memcpy(text, data, size);
    text[size] = '\0';
    text_address(text);
    free(text);
    return 0;
}
