/* SPDX-License-Identifier: MIT */
#include "books.h"

#include <errno.h>

#include "jd_test.h"

void books_before(void *arg)
{
    *(struct books *)arg = (struct books){ .started = 0 };
    (void)jd_sem_init(&((struct books *)arg)->sem, 2);
}

void books_after(void *arg, jd_result r, unsigned where)
{
    const struct books *b = arg;

    cr_assert_eq(b->wrong, 0, "checkpoint %u: line %d", where, b->wrong);
    cr_assert_eq(b->started, b->ended, "checkpoint %u: %d of %d", where, b->ended, b->started);
    cr_assert_eq(b->callbacks, b->ran, "checkpoint %u: %d of %d", where, b->ran, b->callbacks);
    cr_assert_eq(jd_sem_value(&b->sem), 2, "checkpoint %u", where);
    cr_assert(where != 0 || r.error == 0 || r.error == -ENOMEM, "%d", r.error);
}

bool is_end(int error, int otherwise)
{
    return error == otherwise || error == -ECANCELED;
}

jd_result nap(void *arg)
{
    struct books *b = arg;
    int error;

    b->started++;
    error = jd_sleep(JD_US(50));
    if (!error)
        error = jd_yield();
    b->ended++;
    return error ? jd_err(error) : jd_ok_num(7);
}

jd_result fail_soon(void *arg)
{
    struct books *b = arg;
    int error;

    b->started++;
    error = jd_sleep(JD_US(20));
    b->ended++;
    return jd_err(error ? error : -EIO);
}

unsigned spawn_some(jd_task **t, unsigned n, jd_fn fn, struct books *b)
{
    unsigned count = 0;

    for (unsigned i = 0; i < n; i++) {
        t[count] = jd_spawn(fn, b);
        count += t[count] != NULL; /* NULL: a fault, no memory */
    }
    return count;
}

bool all_done(jd_task *const *t, unsigned n)
{
    bool done = true;

    for (unsigned i = 0; i < n; i++)
        done &= jd_future_done(jd_task_future(t[i]));
    return done;
}

void join_all(jd_task **t, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        (void)jd_join(t[i]);
}

jd_result set_later(void *arg)
{
    struct books *b = arg;

    b->started++;
    (void)jd_sleep(JD_US(30));
    (void)jd_future_set(b->future, jd_ok_num(5)); /* -EALREADY: it was cancelled */
    b->ended++;
    return jd_ok(NULL);
}
