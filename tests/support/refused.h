/* SPDX-License-Identifier: MIT */
#ifndef SUPPORT_REFUSED_H
#define SUPPORT_REFUSED_H

/*
 * A test that asks for a port by name is skipped where the kernel refuses io_uring: err, which a runtime or a
 * run with that port answered, says so. On the epoll port no error excuses anything.
 */
void skip_if_refused(unsigned reactor, int err);

#endif /* SUPPORT_REFUSED_H */
