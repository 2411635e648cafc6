/* SPDX-License-Identifier: MIT */
#ifndef CONTAINER_PROFILE_H
#define CONTAINER_PROFILE_H

/*
 * A seccomp filter like the default profiles of Docker, containerd and podman: what a program without
 * privileges commonly needs is allowed, all else answers EPERM; clone3 answers ENOSYS, so that the C
 * library takes clone, whose flags can be looked at; io_uring is not in the list.
 */

/* For this thread and all that come from it. 0 or -errno. */
int profile_install(void);

#endif /* CONTAINER_PROFILE_H */
