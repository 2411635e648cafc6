/* SPDX-License-Identifier: MIT */
#ifndef JD_SIM_H
#define JD_SIM_H

#include <stddef.h>
#include <stdint.h>

#include <jackdaw/export.h>
#include <jackdaw/runtime.h>

JD_BEGIN_DECLS

/**
 * @file
 * Deterministic simulation: a program of tasks, run again and again under other circumstances, each
 * of which a number reproduces.
 *
 * One thread plays all workers. Which of them goes on, whom it steals from, how long an operation
 * takes, whether a cancel or a completion is first, which reads are short: all comes from the seed.
 * Time is virtual and jumps when nothing can run. Sockets made inside by jd_listen() and jd_dial()
 * are simulated, on addresses of the simulation's own; pipes, datagram sockets and files are made by
 * the functions below. Real descriptors do not work, and their use is reported. What the program itself must not do is to ask for the real time, for randomness, or
 * for other threads: the same seed would then not give the same run. JD_SIM_CATCH_ESCAPES finds where
 * it does.
 */

/* jd_sim_options.flags */
#define JD_SIM_NO_ERRORS (1u << 0) /**< No socket call fails by a fault: it is short or slow. */
#define JD_SIM_NO_ENOMEM (1u << 1) /**< No allocation fails by a fault. */
#define JD_SIM_TRACE (1u << 2)     /**< Every event, one line each, on stderr. */
/** System calls, clock reads and threads of simulated tasks are reported as JD_REPORT_ESCAPE, the
 * first eight of a run. Linux on x86-64 from 5.11 on. */
#define JD_SIM_CATCH_ESCAPES (1u << 3)

/** How to simulate. */
typedef struct jd_sim_options {
    size_t size;
    unsigned workers;       /**< Virtual workers, at most 64; 0 = 3. */
    unsigned fault_percent; /**< How often what may fail does, 0..100. */
    int64_t time_limit;     /**< Virtual nanoseconds; 0 = none. */
    unsigned flags;         /**< JD_SIM_*. */
} jd_sim_options;

#define JD_SIM_OPTIONS_INIT \
    { \
        sizeof(jd_sim_options), 0, 0, 0, 0 \
    }

/**
 * Run a function as the main task of a simulated runtime, then cancel and await what is left.
 *
 * Faults, by rate: short reads and writes, slow operations, connections that break, are refused or
 * aborted (-ECONNRESET, -EPIPE, -ECONNREFUSED, -ETIMEDOUT, -ECONNABORTED, -EMFILE), -ENOBUFS,
 * -ENOMEM, workers that stall.
 *
 * When no task can ever run again, each task that waits is reported with what it waits for
 * (JD_REPORT_DEADLOCK), and all are cancelled. A descriptor that is not simulated is reported as
 * JD_REPORT_ESCAPE.
 *
 * @param seed  Any number. The same seed, program and options give the same run.
 * @param fn    Main task.
 * @param arg   Passed to @p fn.
 * @param o     Options; NULL = all defaults.
 *
 * @return  What @p fn returned, or one of these as its error:
 * @retval -EDEADLK    Nothing could run any more.
 * @retval -ETIMEDOUT  The time limit passed; or tasks resisted the final cancel, as in jd_run().
 * @retval -EBUSY      On a worker, or another simulation runs in this process.
 * @retval -EINVAL     @p fn is NULL, or an option is out of range.
 * @retval -ENOSYS     JD_SIM_CATCH_ESCAPES, and the kernel or the machine cannot.
 * @retval -E2BIG      The options are of a newer version and say something unknown.
 * @retval -ENOMEM     No memory for the runtime.
 *
 * @suspends No; blocks the thread for the whole run.  @threads Plain threads, one at a time.
 * @cancel   No.
 * @memory   A runtime for the time of the call.
 * @cost     About 0.3 ms, and 0.2 us per step of a task.  @since 0.1
 */
JD_API jd_result jd_sim_run(uint64_t seed, jd_fn fn, void *arg, const jd_sim_options *o);

/**
 * A number that stands for everything that happened in the calling thread's last simulation.
 *
 * @return  Equal for equal runs; 0 before the first one.
 *
 * @suspends No.  @threads Any.  @cancel No.
 * @memory   None.  @cost Constant.  @since 0.1
 */
JD_API uint64_t jd_sim_trace_hash(void);

/**
 * Make a simulated pipe, for code that is given one.
 *
 * Up to PIPE_BUF bytes are written in one piece. Faults: slow and short reads, short writes of more.
 *
 * @param ret_fds  Receives the read end and the write end; jd_close() each.
 *
 * @retval 0        Done.
 * @retval -EPERM   Not in a simulation.
 * @retval -EINVAL  @p ret_fds is NULL.
 *
 * @suspends No.  @threads Simulated tasks.  @cancel No.
 * @memory   Up to 64 KiB, as it fills.  @cost 0.2 us.  @since 0.1
 */
JD_API int jd_sim_pipe(int ret_fds[2]);

/**
 * Make a pair of connected simulated unix sockets.
 *
 * Faults as on any simulated socket; messages of a pair are not lost and stay in order.
 *
 * @param type     SOCK_STREAM or SOCK_DGRAM.
 * @param ret_fds  Receives both; jd_close() each.
 *
 * @retval 0        Done.
 * @retval -EPERM   Not in a simulation.
 * @retval -EINVAL  @p ret_fds is NULL, or another type.
 *
 * @suspends No.  @threads Simulated tasks.  @cancel No.
 * @memory   Up to 64 KiB each, as they fill.  @cost 0.2 us.  @since 0.1
 */
JD_API int jd_sim_socketpair(int type, int ret_fds[2]);

/**
 * Make a simulated datagram socket with a name. jd_connect() says where jd_send() sends to, and from
 * where alone it receives.
 *
 * UDP messages that find no room are lost. Faults: others that are lost, doubled or overtaken;
 * -ENOBUFS. Unix messages are neither: a sender waits for room.
 *
 * @param address  "127.0.0.1:53", "[::1]:0", "unix:/run/log"; port 0: any free one.
 *
 * @return  The descriptor; jd_close() it. Or:
 * @retval -EPERM       Not in a simulation.
 * @retval -EINVAL      No such address.
 * @retval -EADDRINUSE  Another simulated datagram socket has it.
 *
 * @suspends No.  @threads Simulated tasks.  @cancel No.
 * @memory   Up to 64 KiB, as it fills.  @cost 0.2 us.  @since 0.1
 */
JD_API int jd_sim_datagram(const char *address);

/**
 * Open a file on the simulation's disk, which is empty when the run begins and gone when it ends.
 *
 * Descriptors of one path share the bytes and have positions of their own. Faults: short reads and
 * writes, -EIO, -ENOSPC; the latter also beyond 64 MiB.
 *
 * @param path   Any text; there are no folders.
 * @param flags  O_RDONLY, O_WRONLY or O_RDWR, with O_CREAT, O_EXCL, O_TRUNC, O_APPEND.
 *
 * @return  The descriptor; jd_close() it. Or:
 * @retval -EPERM   Not in a simulation.
 * @retval -ENOENT  No such file, and no O_CREAT.
 * @retval -EEXIST  O_EXCL, and there is one.
 * @retval -EINVAL  @p path is NULL, or other flags.
 *
 * @suspends No.  @threads Simulated tasks.  @cancel No.
 * @memory   What is written.  @cost 0.2 us, and a look at each file there is.  @since 0.1
 */
JD_API int jd_sim_open(const char *path, int flags);

JD_END_DECLS
#endif /* JD_SIM_H */
