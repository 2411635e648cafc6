/* SPDX-License-Identifier: MIT */
/*
 * `jackdaw batch` without URLs: server and calls in one runtime, the summary when the runtime is gone.
 *
 * I1  A call's result is its latency, or the negative errno of what went wrong; an answer that is
 *     not the one asked for is -EPROTO.
 * I2  Ctrl-C cancels the main task (JD_HANDLE_SIGINT): the batch cancels and joins its calls, the
 *     server is stopped, and the summary tells what was done so far.
 *
 * Threads: the main thread; inside the runtime the main task is the batch's consumer.
 */
#include "cli/demo_batch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <jackdaw/jackdaw.h>

#include "cli/demo_server.h"
#include "cli/http_call.h"
#include "cli/summary.h"

#define FDS_SPARE 64 /* of the runtime and the C library; arbitrary */

/* One run; the batch's ctx. */
struct run {
    const struct batch_settings *cmd;
    struct demo_server server;
    struct progress progress;
    struct summary *summary;
    uint64_t next; /* the consumer's */
};

/* Each call has a descriptor at both ends. */
static int raise_descriptor_limit(const struct batch_settings *cmd)
{
    uint64_t calls = cmd->limit < cmd->count ? cmd->limit : cmd->count;
    rlim_t wanted = 2 * calls + FDS_SPARE;
    struct rlimit r;

    if (getrlimit(RLIMIT_NOFILE, &r) || r.rlim_cur >= wanted)
        return 0;
    if (r.rlim_max < wanted) {
        fprintf(stderr,
                "jackdaw batch: --limit %u needs %llu file descriptors, the system allows %llu\n",
                cmd->limit, (unsigned long long)wanted, (unsigned long long)r.rlim_max);
        return -EMFILE;
    }
    r.rlim_cur = r.rlim_max;
    return setrlimit(RLIMIT_NOFILE, &r) ? -errno : 0;
}

/*
 * The batch.
 */

static int next_item(void *ctx, void **ret_item)
{
    struct run *run = ctx;

    if (run->next == run->cmd->count)
        return 0;
    *ret_item = (void *)(uintptr_t)run->next++;
    return 1;
}

static jd_result call(void *item, void *ctx)
{
    const struct run *run = ctx;
    int64_t start = jd_now();
    char path[24], body[24];
    int status;

    snprintf(path, sizeof(path), "/%llu", (unsigned long long)(uintptr_t)item);
    status = http_get(run->server.address, path, body, sizeof(body));
    if (status < 0)
        return jd_err(status);
    if (status != 200 || strcmp(body, path + 1) != 0)
        return jd_err(-EPROTO);
    return jd_ok_num((intptr_t)(jd_now() - start));
}

static int take_result(void *item, jd_result r, void *ctx)
{
    struct run *run = ctx;

    (void)item;
    if (r.error)
        summary_add_error(run->summary, r.error, jd_strerror(r.error), /* example= */ NULL);
    else
        histogram_add(&run->summary->latencies, r.num);
    return 0;
}

static void show_progress(const jd_batch_stats *s, void *ctx)
{
    struct run *run = ctx;

    progress_show(&run->progress, s);
}

static int run_calls(struct run *run)
{
    jd_batch_options o = JD_BATCH_OPTIONS_INIT;

    o.limit = run->cmd->limit;
    o.errors_max = JD_ALL;
    o.ctx = run;
    if (run->progress.is_on) {
        o.progress = show_progress;
        o.progress_every = PROGRESS_EVERY;
    }
    return jd_batch_run(next_item, call, take_result, &o, &run->summary->stats);
}

static uint64_t seed_of_delays(void)
{
    const char *text = getenv("JACKDAW_SEED");

    return text ? strtoull(text, NULL, 0) : 1;
}

static jd_result run_main(void *arg)
{
    struct run *run = arg;
    int err;

    summary_note_runtime(run->summary);
    err = demo_server_start(&run->server, seed_of_delays());
    if (err)
        return jd_err(err);
    err = run_calls(run);
    progress_clear(&run->progress);
    demo_server_stop(&run->server);
    /* Relaxed, both: the server was joined. */
    run->summary->server_max = atom_load(&run->server.serving_max, relaxed);
    run->summary->server_requests = atom_load(&run->server.requests, relaxed);
    return err ? jd_err(err) : jd_ok(NULL);
}

static int run_command(const struct batch_settings *cmd, struct summary *summary)
{
    static struct run run; /* too large for a frame; one per process */
    jd_config cfg = JD_CONFIG_INIT;
    jd_result r;

    run.cmd = cmd;
    run.summary = summary;
    progress_init(&run.progress, cmd->progress, cmd->count);
    cfg.flags = JD_HANDLE_SIGINT;
    r = jd_run(run_main, &run, &cfg);
    summary->interrupted = r.error == -EINTR;
    summary->error = summary->interrupted ? 0 : r.error;
    if (!*summary->reactor || *run.server.address == '\0') {
        fprintf(stderr, "jackdaw batch: cannot start: %s\n", jd_strerror(r.error));
        return 1;
    }
    if (cmd->json)
        summary_print_json(summary, stdout);
    else
        summary_print(summary, stdout);
    if (summary->interrupted)
        return 130;
    return summary->error || summary->stats.failed ? 1 : 0;
}

int demo_batch(const struct batch_settings *o)
{
    static struct summary summary; /* as above */

    if (raise_descriptor_limit(o))
        return 2;
    summary.count = o->count;
    summary.limit = o->limit;
    summary.stats = (jd_batch_stats)JD_BATCH_STATS_INIT;
    return run_command(o, &summary);
}
