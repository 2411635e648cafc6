/* SPDX-License-Identifier: MIT */
#ifndef JD_JACKDAW_H
#define JD_JACKDAW_H

/**
 * @file
 * All of Jackdaw.
 *
 * The words the other headers use. A *task* suspends and resumes, a *thread* parks and wakes. "Any
 * thread" includes tasks and loop callbacks. A *cancellation point* returns -ECANCELED at once in a
 * cancelled scope, having done nothing. A call from the wrong place returns -EPERM, a pointer NULL;
 * it is never undefined behaviour. A task may resume on another worker thread after any call that
 * suspends, unless it is pinned.
 */
#include <jackdaw/batch.h>
#include <jackdaw/compose.h>
#include <jackdaw/executor.h>
#include <jackdaw/export.h>
#include <jackdaw/future.h>
#include <jackdaw/group.h>
#include <jackdaw/inspect.h>
#include <jackdaw/io.h>
#include <jackdaw/loop.h>
#include <jackdaw/net.h>
#include <jackdaw/rate.h>
#include <jackdaw/result.h>
#include <jackdaw/runtime.h>
#include <jackdaw/scope.h>
#include <jackdaw/sim.h>
#include <jackdaw/sync.h>
#include <jackdaw/task.h>
#include <jackdaw/time.h>
#include <jackdaw/types.h>
#include <jackdaw/version.h>

#endif /* JD_JACKDAW_H */
