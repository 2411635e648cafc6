/* SPDX-License-Identifier: MIT */
#ifndef IO_RESOLVE_H
#define IO_RESOLVE_H

/*
 * Host names to addresses, off the workers.
 *
 * getaddrinfo() blocks for as long as name servers let it, and cannot be interrupted. So each
 * look-up is a job of the runtime's pool for names, with a record that job and task share.
 *
 * I1  Record and future are held by both sides: a cancelled task drops its references and leaves;
 *     the job ends some time later, completes a future that nobody waits for, and frees. One that
 *     has not begun is withdrawn.
 * I2  Answers are written before the future is completed and read after it was seen done.
 * I3  The job touches its record and its future, and nothing else of the runtime, which may be gone
 *     by then: its pool is not waited for (executor/executor.h I2).
 *
 * Threads: tasks call; a thread of the pool answers.
 * Rejected: waiting for the job when cancelled (a dead name server would hold up the cancel for half
 * a minute); getaddrinfo_a (its threads and their signals belong to somebody else); the pool for
 * users (what is slow in names would be slow for them).
 */
struct addrinfo;

/* As jd_resolve(), after its checks. In a task. */
int resolve_names(const char *host, const char *service, const struct addrinfo *hints,
                  struct addrinfo **ret);

#endif /* IO_RESOLVE_H */
