/* SPDX-License-Identifier: MIT */
#ifndef SUPPORT_BOOKS_H
#define SUPPORT_BOOKS_H

/*
 * Books for a cancel sweep (sweep.h): what a scenario starts and what ends, and the line of the first
 * promise that it found broken; and the helpers that are entered there.
 */
#include <stdbool.h>

#include "sweep.h"

#include <jackdaw/jackdaw.h>

struct books {
    int started, ended; /* helpers */
    int callbacks, ran; /* that were not cancelled */
    int wrong;          /* line of the first broken promise */
    jd_sem sem;
    jd_future *future;
};

#define PROMISE(b, condition) \
    do { \
        if (!(condition) && (b)->wrong == 0) \
            (b)->wrong = __LINE__; \
    } while (0)

void books_before(void *arg);
void books_after(void *arg, jd_result r, unsigned where); /* all even, both permits there */

/* The sweep over a scenario whose argument is its books. */
#define SWEEP(scenario, at_least) \
    sweep_or_sample(((struct sweep){ .fn = (scenario), \
                                     .arg = &(struct books){ .started = 0 }, \
                                     .before = books_before, \
                                     .after = books_after, \
                                     .seeds = 10 }), \
                    (at_least))

/* -ECANCELED, or all is as without a cancel. */
bool is_end(int error, int otherwise);

jd_result nap(void *arg);       /* 7, after a while */
jd_result fail_soon(void *arg); /* -EIO */
jd_result set_later(void *arg); /* books.future to 5 */

unsigned spawn_some(jd_task **t, unsigned n, jd_fn fn, struct books *b);
bool all_done(jd_task *const *t, unsigned n);
/* Whatever the scenario left running ends here, so that its books can be compared. */
void join_all(jd_task **t, unsigned n);

#endif /* SUPPORT_BOOKS_H */
