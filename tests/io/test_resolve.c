/* SPDX-License-Identifier: MIT */
/*
 * jd_resolve(): what is asked and answered, where it runs, and what a cancel, a deadline and the end
 * of the runtime do to a look-up that takes long.
 */
#include "fake_names.h"

#include "base/fault.h"
#include "executor/executor.h"

static jd_result numbers_body(void *arg)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *list = NULL;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;

    (void)arg;
    cr_assert_eq(jd_resolve("127.0.0.7", "80", &hints, &list), 0);
    cr_assert_eq(list->ai_family, AF_INET);
    cr_assert_null(list->ai_next);
    memcpy(&in, list->ai_addr, sizeof(in));
    cr_assert_eq(in.sin_addr.s_addr, htonl(0x7f000007));
    cr_assert_eq(in.sin_port, htons(80));
    freeaddrinfo(list);
    cr_assert_eq(jd_resolve("::1", NULL, &hints, &list), 0);
    cr_assert_eq(list->ai_family, AF_INET6);
    memcpy(&in6, list->ai_addr, sizeof(in6));
    cr_assert(IN6_IS_ADDR_LOOPBACK(&in6.sin6_addr) && in6.sin6_port == 0);
    freeaddrinfo(list);
    hints.ai_flags = AI_PASSIVE;
    hints.ai_family = AF_INET;
    cr_assert_eq(jd_resolve(NULL, "81", &hints, &list), 0);
    memcpy(&in, list->ai_addr, sizeof(in));
    cr_assert(in.sin_addr.s_addr == htonl(INADDR_ANY) && in.sin_port == htons(81));
    freeaddrinfo(list);
    cr_assert_eq(jd_resolve("127.0.0.7", "80", NULL, &list), 0); /* any kind of socket */
    cr_assert_not_null(list->ai_next);
    freeaddrinfo(list);
    return jd_ok(NULL);
}

Test(resolve, asks_what_getaddrinfo_is_asked)
{
    on_each_port(numbers_body);
}

static jd_result hints_body(void *arg)
{
    struct addrinfo hints = { .ai_flags = AI_CANONNAME,
                              .ai_family = AF_INET,
                              .ai_socktype = SOCK_DGRAM,
                              .ai_protocol = IPPROTO_UDP };
    struct addrinfo *list;

    names_are("127.0.0.1:1");
    cr_assert_eq(jd_resolve("list.fake", "80", &hints, &list), 0);
    cr_assert_eq(names.hints.ai_flags, AI_CANONNAME);
    cr_assert_eq(names.hints.ai_family, AF_INET);
    cr_assert_eq(names.hints.ai_socktype, SOCK_DGRAM);
    cr_assert_eq(names.hints.ai_protocol, IPPROTO_UDP);
    freeaddrinfo(list);
    cr_assert_eq(names.freed, names.lists, "the list is the caller's, and nobody else's");
    return jd_ok(arg);
}

Test(resolve, takes_hints_along)
{
    on_each_port(hints_body);
}

static jd_result bad_body(void *arg)
{
    char host[257], service[33];
    struct addrinfo *list = arg;

    memset(host, 'a', sizeof(host));
    memset(service, '1', sizeof(service));
    host[256] = service[32] = '\0';
    cr_assert_eq(jd_resolve("localhost", NULL, NULL, NULL), -EINVAL);
    cr_assert_eq(jd_resolve(NULL, NULL, NULL, &list), -EINVAL);
    cr_assert_eq(jd_resolve(host, NULL, NULL, &list), -ENAMETOOLONG);
    cr_assert_eq(jd_resolve(NULL, service, NULL, &list), -ENAMETOOLONG);
    cr_assert_eq(list, arg, "not touched");
    return jd_ok(NULL);
}

Test(resolve, refuses_what_cannot_be_asked)
{
    struct addrinfo *list;

    on_each_port(bad_body);
    cr_assert_eq(jd_resolve("localhost", NULL, NULL, &list), -EPERM);
}

static const struct {
    int code, system_error, error;
} failures[] = {
    { EAI_NONAME, 0, -ENXIO },       { EAI_NODATA, 0, -ENXIO },
    { EAI_ADDRFAMILY, 0, -ENXIO },   { EAI_AGAIN, 0, -EHOSTUNREACH },
    { EAI_FAIL, 0, -EHOSTUNREACH },  { EAI_MEMORY, 0, -ENOMEM },
    { EAI_SYSTEM, EMFILE, -EMFILE }, { EAI_SYSTEM, 0, -EHOSTUNREACH },
    { EAI_BADFLAGS, 0, -EINVAL },    { EAI_FAMILY, 0, -EINVAL },
    { EAI_SERVICE, 0, -EINVAL },     { EAI_SOCKTYPE, 0, -EINVAL },
};

static jd_result failures_body(void *arg)
{
    struct addrinfo *list = arg;

    for (size_t i = 0; i < sizeof(failures) / sizeof(failures[0]); i++) {
        int error;

        names_reset();
        names.code = failures[i].code;
        names.system_error = failures[i].system_error;
        error = jd_resolve("list.fake", NULL, NULL, &list);
        cr_assert_eq(error, failures[i].error, "%d: %s", names.code, jd_strerror(error));
        cr_assert_eq(jd_dial("list.fake:80"), failures[i].error);
        cr_assert_eq(list, arg);
    }
    return jd_ok(NULL);
}

Test(resolve, says_what_went_wrong)
{
    on_each_port(failures_body);
}

/* --- Look-ups that take long ------------------------------------------------------------------- */

static jd_executor_stats pool_stats(void)
{
    jd_executor_stats stats = JD_EXECUTOR_STATS_INIT;

    cr_assert_eq(jd_executor_get_stats(jd_runtime_executor(NULL, JD_EXECUTOR_DNS), &stats), 0);
    return stats;
}

struct question {
    char host[16];
    jd_task *task;
};

static jd_result ask(void *arg)
{
    struct question *q = arg;
    struct addrinfo *list = NULL;
    int error = jd_resolve(q->host, NULL, NULL, &list);

    if (error == 0)
        freeaddrinfo(list);
    return jd_err(error);
}

static void ask_held(struct question *q)
{
    strcpy(q->host, "held.fake");
    q->task = jd_spawn(ask, q);
    cr_assert_not_null(q->task);
}

static void await_begun(void)
{
    while (sem_trywait(&names.begun) != 0) /* bounded by the test's timeout */
        cr_assert_eq(jd_yield(), 0);
}

static jd_result off_body(void *arg)
{
    struct question q;

    names_are("127.0.0.1:1");
    ask_held(&q);
    await_begun(); /* on one worker, too: this task goes on */
    cr_assert_eq(jd_future_done(jd_task_future(q.task)), 0);
    cr_assert_eq(pool_stats().started, 1);
    sem_post(&names.gate);
    cr_assert_eq(jd_join(q.task).error, 0);
    cr_assert_eq(names.freed, 1);
    return jd_ok(arg);
}

Test(resolve, waits_on_a_thread_and_not_on_the_worker)
{
    on_each_port(off_body);
}

static jd_result cancel_body(void *arg)
{
    struct question q;

    names_are("127.0.0.1:1");
    ask_held(&q);
    await_begun();
    cr_assert_eq(jd_task_cancel(q.task, "test"), 0);
    cr_assert_eq(jd_join(q.task).error, -ECANCELED); /* while the name server is silent */
    memset(&q, 'x', sizeof(q));                      /* nobody looks at it any more */
    sem_post(&names.gate);
    names_await_quiet();
    cr_assert_eq(names.freed, 1, "by the thread");
    return jd_ok(arg);
}

Test(resolve, leaves_a_running_look_up_to_itself_when_cancelled)
{
    on_each_port(cancel_body);
}

static jd_result deadline_body(void *arg)
{
    struct addrinfo *list;
    jd_scope limit;

    names_are("127.0.0.1:1");
    jd_scope_open(&limit, JD_MS(5));
    cr_assert_eq(jd_scope_close_with(&limit, jd_resolve("held.fake", NULL, NULL, &list)),
                 -ETIMEDOUT);
    sem_post(&names.gate);
    names_await_quiet();
    return jd_ok(arg);
}

Test(resolve, ends_with_the_deadline_of_its_scope)
{
    on_each_port(deadline_body);
}

#define MORE 3

static jd_result seven(void *arg)
{
    (void)arg;
    return jd_ok_num(7);
}

/* As many as the pool has threads hang; the others wait for their turn, and files and users do not. */
static jd_result full_body(void *arg)
{
    struct question q[EXECUTOR_DNS_THREADS + MORE];

    names_are("127.0.0.1:1");
    for (unsigned i = 0; i < EXECUTOR_DNS_THREADS; i++)
        ask_held(&q[i]);
    for (unsigned i = 0; i < EXECUTOR_DNS_THREADS; i++)
        await_begun();
    for (unsigned i = 0; i < MORE; i++)
        ask_held(&q[EXECUTOR_DNS_THREADS + i]);
    while (pool_stats().queued < MORE) /* bounded by the test's timeout */
        cr_assert_eq(jd_yield(), 0);
    for (unsigned i = 0; i < MORE; i++) {
        jd_task *task = q[EXECUTOR_DNS_THREADS + i].task;

        cr_assert_eq(jd_task_cancel(task, "test"), 0);
        cr_assert_eq(jd_join(task).error, -ECANCELED);
    }
    cr_assert_eq(pool_stats().queued, 0);
    cr_assert_eq(jd_to_thread(seven, NULL).num, 7, "users have threads of their own");
    for (unsigned i = 0; i < EXECUTOR_DNS_THREADS; i++)
        sem_post(&names.gate);
    for (unsigned i = 0; i < EXECUTOR_DNS_THREADS; i++)
        cr_assert_eq(jd_join(q[i].task).error, 0);
    cr_assert_eq(names.calls, (int)EXECUTOR_DNS_THREADS, "the others were never asked");
    cr_assert_eq(names.freed, (int)EXECUTOR_DNS_THREADS);
    return jd_ok(arg);
}

Test(resolve, one_that_has_not_begun_never_does_when_cancelled, .timeout = 30)
{
    on_each_port(full_body);
}

static jd_result leave_body(void *arg)
{
    ask_held(arg);
    await_begun();
    jd_task_unref(((struct question *)arg)->task);
    return jd_ok(NULL);
}

/* A name server that does not answer for half a minute does not hold up the end of a program. */
Test(resolve, the_end_of_a_runtime_does_not_wait_for_it)
{
    struct question q;

    names_are("127.0.0.1:1");
    cr_assert_eq(jd_run(leave_body, &q, NULL).error, 0);
    cr_assert_eq(names.lists, 0, "it still hangs");
    sem_post(&names.gate);
    while (names.freed == 0) /* bounded by the test's timeout: it was let go */
        sched_yield();
}

static jd_result refused_body(void *arg)
{
    struct addrinfo *list = NULL;

    names_are("127.0.0.1:1");
    fault_arm(FAULT_THREAD, 0, UINT64_MAX);
    cr_assert_eq(jd_resolve("list.fake", NULL, NULL, &list), -ENOMEM);
    cr_assert_eq(jd_dial("list.fake:1"), -ENOMEM);
    fault_arm(FAULT_THREAD, 0, 0);
    cr_assert_eq(jd_resolve("list.fake", NULL, NULL, &list), 0);
    freeaddrinfo(list);
    cr_assert_eq(names.freed, names.lists);
    return jd_ok(arg);
}

Test(resolve, without_threads_it_fails_and_does_not_wait)
{
    on_each_port(refused_body);
}

#define MANY 200

static jd_result many_body(void *arg)
{
    struct question q[MANY];

    names_are("127.0.0.1:1", "127.0.0.2:1");
    for (unsigned i = 0; i < MANY; i++) {
        strcpy(q[i].host, "list.fake");
        q[i].task = jd_spawn(ask, &q[i]);
        if (i % 3 == 0)
            (void)jd_task_cancel(q[i].task, "some of them");
        if (i % 7 == 0)
            cr_assert_eq(jd_yield(), 0);
    }
    for (unsigned i = 0; i < MANY; i++) {
        int error = jd_join(q[i].task).error;

        cr_assert(error == 0 || (error == -ECANCELED && i % 3 == 0), "%s", jd_strerror(error));
    }
    names_await_quiet();
    return jd_ok(arg);
}

Test(resolve, many_at_once_have_an_answer_each)
{
    on_each_port(many_body);
}
