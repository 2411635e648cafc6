/* SPDX-License-Identifier: MIT */
/*
 * What a library keeps with a runtime: found by key, one value per key, given back at the end.
 */
#include "jd_test.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include <jackdaw/jackdaw.h>

#define THREADS 4
#define KEYS 200

static char keys[KEYS];
static unsigned detached[KEYS]; /* in which order, from 1 */
static unsigned detached_count;

static void note_detached(void *value)
{
    detached[(size_t)((char *)value - keys)] = ++detached_count;
}

Test(attach, a_value_is_found_by_its_key_and_given_back_at_the_end_latest_first)
{
    jd_runtime *rt;

    cr_assert_eq(jd_runtime_new(NULL, &rt), 0);
    cr_assert_null(jd_runtime_attached(rt, &keys[0]));
    cr_assert_eq(jd_runtime_attach(rt, &keys[0], &keys[0], note_detached), 0);
    cr_assert_eq(jd_runtime_attach(rt, &keys[1], &keys[1], note_detached), 0);
    cr_assert_eq(jd_runtime_attach(rt, &keys[2], &keys[2], NULL), 0);
    cr_assert_eq(jd_runtime_attached(rt, &keys[0]), &keys[0]);
    cr_assert_eq(jd_runtime_attached(rt, &keys[1]), &keys[1]);
    cr_assert_eq(detached_count, 0);
    cr_assert_eq(jd_runtime_free(rt), 0);
    cr_assert_eq(detached_count, 2);
    cr_assert_eq(detached[1], 1);
    cr_assert_eq(detached[0], 2);
}

Test(attach, a_key_has_one_value_and_what_must_not_be_null_is_refused)
{
    jd_runtime *rt;

    cr_assert_eq(jd_runtime_new(NULL, &rt), 0);
    cr_assert_eq(jd_runtime_attach(rt, &keys[0], &keys[0], note_detached), 0);
    cr_assert_eq(jd_runtime_attach(rt, &keys[0], &keys[1], note_detached), -EALREADY);
    cr_assert_eq(jd_runtime_attached(rt, &keys[0]), &keys[0]);
    cr_assert_eq(jd_runtime_attach(NULL, &keys[1], &keys[1], NULL), -EINVAL);
    cr_assert_eq(jd_runtime_attach(rt, NULL, &keys[1], NULL), -EINVAL);
    cr_assert_eq(jd_runtime_attach(rt, &keys[1], NULL, NULL), -EINVAL);
    cr_assert_null(jd_runtime_attached(NULL, &keys[0]));
    cr_assert_eq(jd_runtime_free(rt), 0);
    cr_assert_eq(detached_count, 1);
}

static struct {
    jd_runtime *rt;
    pthread_barrier_t start;
    unsigned won[THREADS];
} race;

static void *attach_all(void *won)
{
    unsigned *count = won;

    pthread_barrier_wait(&race.start);
    for (unsigned i = 0; i < KEYS; i++) {
        int err = jd_runtime_attach(race.rt, &keys[i], &keys[i], note_detached);

        *count += err == 0;
        cr_assert(err == 0 || err == -EALREADY);
        cr_assert_eq(jd_runtime_attached(race.rt, &keys[i]), &keys[i]);
    }
    return NULL;
}

Test(attach, of_threads_that_race_for_a_key_one_wins)
{
    pthread_t threads[THREADS];
    unsigned won = 0;

    cr_assert_eq(jd_runtime_new(NULL, &race.rt), 0);
    cr_assert_eq(pthread_barrier_init(&race.start, NULL, THREADS), 0);
    for (unsigned i = 0; i < THREADS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, attach_all, &race.won[i]), 0);
    for (unsigned i = 0; i < THREADS; i++) {
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
        won += race.won[i];
    }
    cr_assert_eq(won, KEYS);
    cr_assert_eq(jd_runtime_free(race.rt), 0);
    cr_assert_eq(detached_count, KEYS);
}
