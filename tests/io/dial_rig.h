/* SPDX-License-Identifier: MIT */
#ifndef DIAL_RIG_H
#define DIAL_RIG_H

/*
 * What the tests of dialling share: a listener that does not answer.
 */
#include <poll.h>

#include "io/address.h"
#include "io_test.h"

/* held[0] counts them. */
__attribute__((unused)) static void fill_backlog(const char *text, int *held)
{
    struct address a;
    int fd;

    cr_assert_eq(address_parse(text, &a), 0);
    for (;;) { /* bounded by the backlog */
        fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        cr_assert(connect(fd, address_sockaddr(&a), a.len) < 0 && errno == EINPROGRESS);
        held[0]++;
        if (jd_poll(fd, POLLOUT, JD_MS(50)) != POLLOUT)
            break;
        held[held[0]] = fd;
        cr_assert_lt(held[0], 15);
    }
    held[held[0]] = fd;
}

#endif /* DIAL_RIG_H */
