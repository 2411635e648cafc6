/* SPDX-License-Identifier: MIT */
#ifndef FAKE_NAMES_H
#define FAKE_NAMES_H

/*
 * getaddrinfo() of the test program, which comes before the C library's: hosts that end in ".fake"
 * answer what the test wants, all others what the C library says. Included once per program.
 *
 *   list.fake   names.list, or the error names.code
 *   held.fake   the same, after it has said that it is there (names.begun) and was let go (names.gate)
 */
#include <dlfcn.h>
#include <netdb.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "io/address.h"
#include "io_test.h"

#define FAKE_NAMES_MAX 16
#define FAKE_MARK 0x40000000 /* in ai_flags: one of ours */

static struct {
    struct address list[FAKE_NAMES_MAX];
    unsigned count;
    int code, system_error;
    pthread_mutex_t lock;
    struct addrinfo hints; /* of the last call; lock */
    sem_t begun, gate;
    atomic_int calls, lists, freed;
} names;

/* While no look-up runs: see names_await_quiet(). */
static void names_reset(void)
{
    memset(&names, 0, sizeof(names));
    pthread_mutex_init(&names.lock, NULL);
    sem_init(&names.begun, 0, 0);
    sem_init(&names.gate, 0, 0);
}

/* Numeric, with a port, which getaddrinfo() would not have been asked for. */
static void names_add(const char *text)
{
    cr_assert_eq(address_parse(text, &names.list[names.count]), 0, "%s", text);
    names.count++;
}

/* These alone, and all else as at first. */
#define names_are(...) names_set((const char *const[]){ __VA_ARGS__, NULL })
__attribute__((unused)) static void names_set(const char *const *texts)
{
    names_reset();
    for (; *texts; texts++)
        names_add(*texts);
}

/* In a task: until look-ups that nobody waits for have ended, too. */
__attribute__((unused)) static void names_await_quiet(void)
{
    jd_executor *pool = jd_runtime_executor(NULL, JD_EXECUTOR_DNS);
    jd_executor_stats s = JD_EXECUTOR_STATS_INIT;

    do { /* bounded by the test's timeout */
        cr_assert_eq(jd_yield(), 0);
        cr_assert_eq(jd_executor_get_stats(pool, &s), 0);
    } while (s.queued > 0 || s.idle < s.threads);
    cr_assert_eq(names.freed, names.lists);
}

static struct addrinfo *fake_entry(const struct address *a, const struct addrinfo *hints,
                                   struct addrinfo *next)
{
    struct addrinfo *ai = calloc(1, sizeof(*ai) + sizeof(a->storage));

    ai->ai_flags = FAKE_MARK;
    ai->ai_family = a->storage.ss_family;
    ai->ai_socktype = hints ? hints->ai_socktype : SOCK_STREAM;
    ai->ai_addrlen = a->len;
    ai->ai_addr = (struct sockaddr *)(ai + 1);
    memcpy(ai->ai_addr, &a->storage, a->len);
    ai->ai_next = next;
    return ai;
}

static int fake_answer(const struct addrinfo *hints, struct addrinfo **ret)
{
    struct addrinfo *list = NULL;

    if (names.code != 0) {
        errno = names.system_error;
        return names.code;
    }
    for (unsigned i = names.count; i > 0; i--)
        list = fake_entry(&names.list[i - 1], hints, list);
    atomic_fetch_add(&names.lists, 1);
    *ret = list;
    return 0;
}

static bool is_fake(const char *host)
{
    size_t len = host ? strlen(host) : 0;

    return len > 5 && strcmp(host + len - 5, ".fake") == 0;
}

int getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                struct addrinfo **ret)
{
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);

    if (!is_fake(host)) {
        *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
        return real(host, service, hints, ret);
    }
    atomic_fetch_add(&names.calls, 1);
    if (strcmp(host, "held.fake") == 0) {
        sem_post(&names.begun);
        while (sem_wait(&names.gate) != 0)
            ;                               /* interrupted */
        if (strcmp(host, "held.fake") != 0) /* the caller has gone, the text must not */
            return EAI_BADFLAGS;
    }
    pthread_mutex_lock(&names.lock);
    if (hints)
        names.hints = *hints;
    pthread_mutex_unlock(&names.lock);
    return fake_answer(hints, ret);
}

void freeaddrinfo(struct addrinfo *list)
{
    void (*real)(struct addrinfo *);

    if (list && !(list->ai_flags & FAKE_MARK)) {
        *(void **)&real = dlsym(RTLD_NEXT, "freeaddrinfo");
        real(list);
        return;
    }
    while (list) {
        struct addrinfo *next = list->ai_next;

        free(list);
        list = next;
    }
    atomic_fetch_add(&names.freed, 1);
}

#endif /* FAKE_NAMES_H */
