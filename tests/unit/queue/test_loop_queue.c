/* SPDX-License-Identifier: MIT */
/* The loop queue: FIFO, and ticks that end at what was there when they began. */
#include "jd_test.h"

#include "queue/loop_queue.h"

Test(loop_queue, a_tick_runs_what_was_there_when_it_began)
{
    struct loop_queue q;
    struct loop_item items[5] = {
        { .kind = 1 }, { .kind = 2 }, { .kind = 3 }, { .kind = 4 }, { .kind = 5 }
    };

    loop_queue_init(&q);
    cr_assert(loop_queue_is_empty(&q));
    cr_assert_eq(loop_queue_begin_tick(&q), 0);
    cr_assert_null(loop_queue_next(&q));
    loop_queue_push(&q, &items[0]);
    cr_assert_null(loop_queue_next(&q), "pushed after the tick began");
    loop_queue_push(&q, &items[1]);
    cr_assert_eq(loop_queue_begin_tick(&q), 2);
    cr_assert_eq(loop_queue_next(&q), &items[0]);
    loop_queue_push(&q, &items[2]); /* a callback schedules another one */
    cr_assert_eq(loop_queue_next(&q), &items[1]);
    cr_assert_null(loop_queue_next(&q));
    cr_assert_eq(loop_queue_len(&q), 1);
    loop_queue_begin_tick(&q);
    cr_assert_eq(loop_queue_next(&q), &items[2]);
    cr_assert_eq(items[2].kind, 3);
    cr_assert(loop_queue_is_empty(&q));
}

Test(loop_queue, a_tick_that_ended_early_is_continued_first)
{
    struct loop_queue q;
    struct loop_item items[4];

    loop_queue_init(&q);
    for (unsigned i = 0; i < 3; i++)
        loop_queue_push(&q, &items[i]);
    loop_queue_begin_tick(&q);
    cr_assert_eq(loop_queue_next(&q), &items[0]);
    loop_queue_push(&q, &items[3]);
    cr_assert_eq(loop_queue_begin_tick(&q), 3);
    for (unsigned i = 1; i < 4; i++)
        cr_assert_eq(loop_queue_next(&q), &items[i]);
    cr_assert_null(loop_queue_next(&q));
}

/* A callback that always schedules itself must not keep a tick alive. */
Test(loop_queue, an_item_that_pushes_itself_runs_once_per_tick)
{
    struct loop_queue q;
    struct loop_item self;

    loop_queue_init(&q);
    loop_queue_push(&q, &self);
    for (unsigned tick = 0; tick < 100; tick++) {
        unsigned runs = 0;
        struct loop_item *item;

        loop_queue_begin_tick(&q);
        while ((item = loop_queue_next(&q))) {
            loop_queue_push(&q, item);
            cr_assert_eq(++runs, 1);
        }
    }
}
