/* SPDX-License-Identifier: MIT */
#ifndef SIM_SCENARIO_H
#define SIM_SCENARIO_H

/*
 * Programs that several simulation tests run.
 */
#include <jackdaw/jackdaw.h>

/* An echo server with 8 handlers and 8 clients that send and check ECHO_ROUNDS messages each: 16
 * tasks on simulated sockets. The result counts the messages; a connection that breaks ends one
 * client only. */
#define ECHO_CLIENTS 8
#define ECHO_ROUNDS 4
jd_result scenario_echo(void *arg);

/* Two messages of 600 bytes, read by one recv each: right only as long as nothing is short. */
jd_result scenario_assumes_full_read(void *arg);

#endif /* SIM_SCENARIO_H */
