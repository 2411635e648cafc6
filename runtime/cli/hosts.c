/* SPDX-License-Identifier: MIT */
/*
 * See hosts.h. What is no URL has a host as well: its text up to the first slash.
 */
#include "cli/hosts.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Host and port, without scheme and user. */
static const char *authority(const char *url, size_t *len)
{
    const char *at = memmem(url, *len, "://", 3);
    const char *begin = at ? at + 3 : url;
    size_t rest = *len - (size_t)(begin - url), n = 0;

    while (n < rest && !strchr("/?#", begin[n])) /* a zero byte ends it, too */
        n++;
    at = memrchr(begin, '@', n);
    if (at) {
        n -= (size_t)(at + 1 - begin);
        begin = at + 1;
    }
    *len = n;
    return begin;
}

static unsigned bucket_of(const char *name, size_t len)
{
    uint32_t hash = 2166136261u; /* FNV-1a */

    for (size_t i = 0; i < len; i++)
        hash = (hash ^ ((unsigned char)name[i] | 0x20)) * 16777619u;
    return hash % HOST_BUCKETS;
}

struct host *host_get(struct hosts *h, const char *url, size_t len)
{
    const char *name = authority(url, &len);
    struct host **bucket = &h->buckets[bucket_of(name, len)];
    struct host *host = *bucket;

    while (host && (host->len != len || strncasecmp(host->name, name, len) != 0))
        host = host->next;
    if (!host) {
        host = malloc(sizeof(*host) + len);
        if (!host)
            return NULL;
        *host = (struct host){ .next = *bucket, .len = len };
        memcpy(host->name, name, len);
        (void)jd_sem_init(&host->sem, h->limit); /* not NULL, and checked by the options */
        *bucket = host;
    }
    host->refs++;
    return host;
}

void host_put(struct hosts *h, struct host *host)
{
    struct host **place;

    if (!host || --host->refs)
        return;
    place = &h->buckets[bucket_of(host->name, host->len)];
    while (*place != host) /* bounded: it is in there */
        place = &(*place)->next;
    *place = host->next;
    free(host);
}
