/* SPDX-License-Identifier: MIT */
/*
 * Commands to the driver, and the driver. The invariants are in client.h.
 *
 * Threads: client_run(): any worker. Functions that take what is the driver's: the driver.
 */
#include "client.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <jackdaw/curl.h>

#define EVENTS_MAX 64 /* of one epoll_wait(); arbitrary */

/* Room for libcurl with a TLS library below it; only touched pages cost memory. */
#define DRIVER_STACK_BYTES ((size_t)512 * 1024)

static struct command idle_mark, asleep_mark;
#define IDLE (&idle_mark)
#define ASLEEP (&asleep_mark)

static jd_result drive(void *client);

/*
 * Making and freeing.
 */

static const char client_key;
static pthread_once_t global_once = PTHREAD_ONCE_INIT;
static CURLcode global_code;

static void global_init(void)
{
    global_code = curl_global_init(CURL_GLOBAL_DEFAULT);
}

static int on_timer(CURLM *multi, long timeout_ms, void *client)
{
    struct client *c = client;

    (void)multi;
    c->deadline = timeout_ms < 0 ? JD_FOREVER : jd_now() + JD_MS((int64_t)timeout_ms);
    return 0;
}

static uint32_t epoll_events(int what)
{
    return (what & CURL_POLL_IN ? (uint32_t)EPOLLIN : 0) |
           (what & CURL_POLL_OUT ? (uint32_t)EPOLLOUT : 0);
}

/* The registration may be gone: closing a socket ends it, and libcurl does not always say so. */
static int on_socket(CURL *easy, curl_socket_t fd, int what, void *client, void *known)
{
    struct client *c = client;
    struct epoll_event e = { .events = epoll_events(what), .data = { .fd = fd } };

    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        (void)epoll_ctl(c->epoll_fd, EPOLL_CTL_DEL, fd, NULL); /* gone already: that is the aim */
        return 0;
    }
    if (epoll_ctl(c->epoll_fd, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &e) &&
        epoll_ctl(c->epoll_fd, known ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &e)) {
        c->broken = -errno;
        return 0; /* not an error to libcurl: its multi handle would be of no use any more */
    }
    if (!known)
        (void)curl_multi_assign(c->multi, fd, c); /* fails if unknown; then ADD is tried again */
    return 0;
}

static void client_free(void *client)
{
    struct client *c = client;

    if (c->multi)
        curl_multi_cleanup(c->multi);
    if (c->epoll_fd >= 0)
        close(c->epoll_fd);
    if (c->wake_fd >= 0)
        close(c->wake_fd);
    free(c);
}

static int client_open(struct client *c)
{
    struct epoll_event e = { .events = EPOLLIN | EPOLLET };

    c->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (c->epoll_fd < 0)
        return -errno;
    c->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (c->wake_fd < 0)
        return -errno;
    /* By edges: it is never read, each write is one. */
    e.data.fd = c->wake_fd;
    if (epoll_ctl(c->epoll_fd, EPOLL_CTL_ADD, c->wake_fd, &e))
        return -errno;
    c->multi = curl_multi_init();
    if (!c->multi)
        return -ENOMEM;
    (void)curl_multi_setopt(c->multi, CURLMOPT_SOCKETFUNCTION, on_socket); /* known options */
    (void)curl_multi_setopt(c->multi, CURLMOPT_SOCKETDATA, c);
    (void)curl_multi_setopt(c->multi, CURLMOPT_TIMERFUNCTION, on_timer);
    (void)curl_multi_setopt(c->multi, CURLMOPT_TIMERDATA, c);
    return 0;
}

static int client_new(jd_runtime *rt, struct client **ret)
{
    struct client *c = calloc(1, sizeof(*c));
    int err;

    if (!c)
        return -ENOMEM;
    c->rt = rt;
    c->epoll_fd = c->wake_fd = -1;
    c->deadline = JD_FOREVER;
    atom_init(&c->word, IDLE);
    atom_init(&c->driver, NULL);
    err = client_open(c);
    if (!err)
        err = jd_runtime_attach(rt, &client_key, c, client_free);
    if (err) {
        client_free(c);
        if (err != -EALREADY)
            return err;
        c = jd_runtime_attached(rt, &client_key); /* another worker was first */
    }
    *ret = c;
    return 0;
}

int client_current(struct client **ret)
{
    jd_runtime *rt = jd_runtime_current();
    int once;

    if (!rt || !jd_task_current())
        return -EPERM;
    *ret = jd_runtime_attached(rt, &client_key);
    if (*ret)
        /* Relaxed: the driver reads what it has written itself; others only see that it is another. */
        return atom_load(&(*ret)->driver, relaxed) == jd_task_current() ? -EDEADLK : 0;
    once = pthread_once(&global_once, global_init);
    if (once || global_code)
        return -ENOMEM; /* all that it fails for, but a libcurl built wrong */
    return client_new(rt, ret);
}

/*
 * Commands.
 */

static bool is_list(const struct command *word)
{
    return word && word != IDLE && word != ASLEEP;
}

/* Oldest first. */
static struct command *reversed(struct command *list)
{
    struct command *done = NULL;

    while (list) {
        struct command *next = list->next;

        list->next = done;
        done = list;
        list = next;
    }
    return done;
}

/* There is no driver: ends what has been asked of it. */
static void refuse_commands(struct client *c, int error)
{
    /* [CURL-1] as in commands_take(). */
    struct command *list = reversed(atom_exchange(&c->word, IDLE, acq_rel));

    while (list) {
        struct command *next = list->next;

        if (!list->is_stop)
            list->transfer->error = error;
        (void)jd_sem_release(&list->transfer->ended); /* two at most */
        list = next;
    }
}

static void start_driver(struct client *c)
{
    jd_task_options opt = JD_TASK_OPTIONS_INIT;
    int err;

    opt.name = "curl";
    opt.stack_bytes = DRIVER_STACK_BYTES;
    err = jd_runtime_spawn_task(c->rt, drive, c, &opt, NULL);
    if (err)
        refuse_commands(c, err);
}

static void wake_driver(const struct client *c)
{
    uint64_t one = 1;
    ssize_t written = write(c->wake_fd, &one, sizeof(one));

    (void)written; /* -EAGAIN after 2^64 wake-ups */
}

static void command_add(struct client *c, struct transfer *t, struct command *cmd, bool is_stop)
{
    struct command *word = atom_load(&c->word, relaxed); /* Relaxed: a guess, the CAS decides. */

    cmd->transfer = t;
    cmd->is_stop = is_stop;
    do {
        cmd->next = is_list(word) ? word : NULL;
        /* [CURL-1] Release: the driver sees the command and its transfer. Acquire: of an idle
         * client, what its last driver has left. */
    } while (
        !atom_cas_weak(&c->word, &word, cmd, acq_rel, relaxed)); /* bounded by others' success */
    if (word == IDLE)
        start_driver(c);
    else if (word == ASLEEP)
        wake_driver(c);
}

JD_SUSPENDS int client_run(struct client *c, struct transfer *t)
{
    jd_scope shield;
    int err = jd_checkpoint();

    if (err)
        return err;
    t->code = CURLE_OK;
    t->error = 0;
    t->is_active = false;
    (void)jd_sem_init(&t->ended, 0); /* not NULL, not too many */
    command_add(c, t, &t->start, false);
    if (jd_sem_acquire(&t->ended) == 0)
        return 0;
    command_add(c, t, &t->stop, true);
    jd_scope_open_shielded(&shield, JD_FOREVER);
    err = jd_sem_acquire_n(&t->ended, 2);
    if (err || jd_scope_close(&shield))
        abort(); /* shielded and without a deadline: to go on would end the frame under the driver */
    return 0;
}

/*
 * The driver.
 */

static struct transfer **bucket_of(struct client *c, const CURL *easy)
{
    return &c->transfers[((uintptr_t)easy >> 6) * 2654435761u >> 8 & (TRANSFER_BUCKETS - 1)];
}

/* Where the transfer of a handle is linked. */
static struct transfer **place_of(struct client *c, const CURL *easy)
{
    struct transfer **place = bucket_of(c, easy);

    while (*place && (*place)->easy != easy)
        place = &(*place)->next;
    return place;
}

static void transfer_end(struct client *c, struct transfer *t, CURLcode code, int error)
{
    struct transfer **place = place_of(c, t->easy);

    *place = t->next;
    t->is_active = false;
    c->active--;
    (void)curl_multi_remove_handle(c->multi, t->easy); /* it is in there */
    t->code = code;
    t->error = error;
    (void)jd_sem_release(&t->ended); /* two at most */
}

/*
 * libcurl's own rule is four times the transfers of the moment, used connections included: after a
 * lull it closes what the next burst opens again.
 */
static void keep_connections(struct client *c)
{
    if (c->active <= c->kept / 2)
        return;
    c->kept = 2 * c->active;
    (void)curl_multi_setopt(c->multi, CURLMOPT_MAXCONNECTS, (long)c->kept); /* a known option */
}

static void transfer_begin(struct client *c, struct transfer *t)
{
    CURLMcode code = curl_multi_add_handle(c->multi, t->easy);
    struct transfer **bucket = bucket_of(c, t->easy);

    if (code) {
        t->error = code == CURLM_OUT_OF_MEMORY ? -ENOMEM : -EINVAL;
        (void)jd_sem_release(&t->ended); /* two at most */
        return;
    }
    t->next = *bucket;
    *bucket = t;
    t->is_active = true;
    c->active++;
    keep_connections(c);
}

static void carry_out(struct client *c, const struct command *cmd)
{
    struct transfer *t = cmd->transfer;

    if (!cmd->is_stop) {
        transfer_begin(c, t);
        return;
    }
    if (t->is_active)
        transfer_end(c, t, CURLE_OK, -ECANCELED);
    (void)jd_sem_release(&t->ended); /* two at most */
}

static void commands_take(struct client *c)
{
    /* [CURL-1] Acquire: the commands. Release: nothing, but the word stays one chain. */
    struct command *word = atom_exchange(&c->word, NULL, acq_rel);

    for (struct command *cmd = is_list(word) ? reversed(word) : NULL; cmd;) {
        struct command *next = cmd->next;

        carry_out(c, cmd); /* its memory may go with this */
        cmd = next;
    }
}

static int select_bits(uint32_t events)
{
    return (events & EPOLLIN ? CURL_CSELECT_IN : 0) | (events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
           (events & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0);
}

/* What it returns concerns the multi handle; of single transfers results_take() hears. */
static void act(struct client *c, curl_socket_t fd, int bits)
{
    int running;
    CURLMcode code = curl_multi_socket_action(c->multi, fd, bits, &running);

    if (code && code != CURLM_BAD_SOCKET) /* that one was closed: an event of a moment ago */
        c->broken = code == CURLM_OUT_OF_MEMORY ? -ENOMEM : -EIO;
}

static void events_take(struct client *c)
{
    struct epoll_event events[EVENTS_MAX];
    int n = epoll_wait(c->epoll_fd, events, EVENTS_MAX, 0);

    for (int i = 0; i < n; i++)
        if (events[i].data.fd != c->wake_fd)
            act(c, events[i].data.fd, select_bits(events[i].events));
    if (c->deadline <= jd_now()) {
        c->deadline = JD_FOREVER;
        act(c, CURL_SOCKET_TIMEOUT, 0);
    }
}

static void results_take(struct client *c)
{
    CURLMsg *message;
    int left;

    while ((message = curl_multi_info_read(c->multi, &left))) { /* bounded by the transfers */
        struct transfer *t = *place_of(c, message->easy_handle);

        if (t && message->msg == CURLMSG_DONE)
            transfer_end(c, t, message->data.result, 0);
    }
}

/* No socket can be watched, or libcurl has lost its way: all end, the next ones try again. */
static void end_all(struct client *c)
{
    for (unsigned i = 0; i < TRANSFER_BUCKETS; i++)
        while (c->transfers[i])
            transfer_end(c, c->transfers[i], CURLE_OK, c->broken);
    c->broken = 0;
}

/* Sleeps unless there are commands; true: there is nothing to do any more, and no driver. */
static bool rest(struct client *c)
{
    struct command *word = NULL;
    int ready;

    if (c->active == 0) {
        atom_store(&c->driver, NULL, relaxed); /* Relaxed: as in client_current(). */
        /* [CURL-1] Release: the next driver sees what this one leaves. */
        if (atom_cas(&c->word, &word, IDLE, release, relaxed))
            return true;
        atom_store(&c->driver, jd_task_current(), relaxed); /* Relaxed: as above. */
        return false;
    }
    /* Relaxed: the commands that the exchange will find are what counts. */
    if (!atom_cas(&c->word, &word, ASLEEP, relaxed, relaxed))
        return false;
    ready = jd_poll(c->epoll_fd, POLLIN,
                    c->deadline == JD_FOREVER ? JD_FOREVER : c->deadline - jd_now());
    if (ready < 0 && ready != -ETIMEDOUT)
        c->broken = ready;
    return false;
}

static jd_result drive(void *client)
{
    struct client *c = client;
    jd_scope shield;

    atom_store(&c->driver, jd_task_current(), relaxed); /* Relaxed: as in client_current(). */
    jd_scope_open_shielded(&shield, JD_FOREVER);
    do {
        commands_take(c);
        events_take(c);
        results_take(c);
        if (c->broken)
            end_all(c);
        if (jd_should_yield())
            (void)jd_yield(); /* shielded: it does not fail */
    } while (!rest(c));       /* bounded by the transfers */
    return jd_err(jd_scope_close(&shield));
}
