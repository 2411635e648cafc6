/* SPDX-License-Identifier: MIT */
/*
 * See url_batch.h. The batch runs in a task of its own; the main task watches signals and joins it.
 *
 * I3  An item has a place for the last attempt's outcome and one for the hedge's: attempts of one
 *     kind follow each other, so nothing is allocated per attempt.
 * I4  SIGINT and SIGTERM are blocked in every thread and come by a signalfd: the first stops the
 *     source, the second cancels the batch, the third is let through.
 */
#include "cli/url_batch.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <jackdaw/curl.h>
#include <jackdaw/jackdaw.h>

#include "base/attr.h"
#include "cli/hosts.h"
#include "cli/results.h"
#include "cli/summary.h"
#include "cli/url_source.h"

#define FDS_SPARE 64 /* of the runtime, libcurl and the C library; arbitrary */
#define BACKOFF JD_MS(100)
#define BACKOFF_MAX JD_SEC(10)
#define STATUS_FAILED 400 /* and above */

struct attempt {
    int error; /* of the transfer */
    int status;
    uint64_t bytes;
    int64_t elapsed, retry_after;
    unsigned number;
    const char *message;
};

struct item {
    uint64_t number;
    struct host *host; /* NULL: no bound by host */
    struct attempt attempts[2];
    bool is_cut;
    size_t len;
    char url[];
};

/* One run; the batch's ctx. What is not said to be constant is the consumer's. */
struct run {
    const struct batch_settings *options; /* constant */
    jd_curl_options request;              /* constant */
    struct url_source source;
    struct results results;
    struct hosts hosts;
    jd_rate rate;
    struct progress progress;
    struct summary *summary;
    uint64_t next_number;
    int write_error;
    jd_task *batch; /* constant while the signals are watched */
    int signal_fd;
    unsigned signals; /* the watcher's, and read after its end */
};

/*
 * Items: from the source to their end.
 */

static struct item *item_new(struct run *run, const char *url, size_t len)
{
    struct item *item = malloc(sizeof(*item) + len + 1);

    if (!item)
        return NULL;
    *item = (struct item){ .number = run->next_number - 1, .len = len };
    memcpy(item->url, url, len);
    item->url[len] = '\0';
    if (run->hosts.limit) {
        item->host = host_get(&run->hosts, url, len);
        if (!item->host) {
            free(item);
            return NULL;
        }
    }
    return item;
}

static void item_free(struct run *run, struct item *item)
{
    host_put(&run->hosts, item->host);
    free(item);
}

static int next_item(void *ctx, void **ret_item)
{
    struct run *run = ctx;
    const char *url;
    size_t len;
    bool is_cut;
    int got;

    while ((got = url_source_next(&run->source, &url, &len, &is_cut)) == 1) { /* by the input */
        struct item *item;

        run->next_number++;
        if (results_has(&run->results, run->next_number - 1, url, len)) {
            run->summary->skipped++;
            continue;
        }
        item = item_new(run, url, len);
        if (!item)
            return -ENOMEM;
        item->is_cut = is_cut;
        *ret_item = item;
        return 1;
    }
    return got;
}

static jd_sem *host_of_item(void *item, void *ctx)
{
    (void)ctx;
    return &((struct item *)item)->host->sem;
}

/*
 * Attempts, on any worker.
 */

static int transfer(const struct run *run, const struct item *item, struct attempt *a)
{
    jd_curl_response r = JD_CURL_RESPONSE_INIT;

    if (item->is_cut || strlen(item->url) != item->len) {
        a->message = item->is_cut ? "the line is too long" : "a zero byte in the URL";
        return -EINVAL;
    }
    a->error = jd_curl_get(item->url, &run->request, &r);
    a->status = r.status;
    a->bytes = r.body_len;
    a->retry_after = r.retry_after;
    a->message = r.message;
    jd_curl_response_fini(&r);
    return a->error;
}

static jd_result call(void *arg, void *ctx)
{
    struct run *run = ctx;
    struct item *item = arg;
    struct attempt *a = &item->attempts[jd_call_is_hedge() ? 1 : 0];
    int64_t start = jd_now();
    jd_result r = jd_ok(a);

    *a = (struct attempt){ .number = jd_call_attempt() };
    a->error = transfer(run, item, a);
    a->elapsed = jd_now() - start;
    if (a->error)
        r.error = a->error;
    else if (a->status >= STATUS_FAILED)
        r.error = -EREMOTEIO;
    return r;
}

static bool may_change(int status)
{
    switch (status) {
    case 408:
    case 425:
    case 429:
    case 500:
    case 502:
    case 503:
    case 504:
        return true;
    default:
        return false;
    }
}

static int classify(void *arg, jd_result r, int64_t *ret_after, void *ctx)
{
    const struct attempt *a = r.ptr;

    (void)arg;
    (void)ctx;
    switch (r.error) {
    case -EREMOTEIO:
        if (a->retry_after > 0)
            *ret_after = a->retry_after;
        return may_change(a->status) ? JD_RETRY : JD_FAIL;
    case -ETIMEDOUT:
    case -ECONNRESET:
    case -ECONNREFUSED:
    case -ECONNABORTED:
    case -EPIPE:
        return JD_RETRY;
    default:
        return JD_FAIL;
    }
}

/*
 * Outcomes, in the consumer.
 */

static const char *message_of(const struct attempt *a, jd_result r, char *buf, size_t room)
{
    if (r.error == 0)
        return NULL;
    if (r.error == -EREMOTEIO) {
        snprintf(buf, room, "HTTP status %d", a->status);
        return buf;
    }
    return r.error == a->error && a->message ? a->message : jd_strerror(r.error);
}

static int take_result(void *arg, jd_result r, void *ctx)
{
    struct run *run = ctx;
    struct item *item = arg;
    const struct attempt *a = r.ptr ? r.ptr : &item->attempts[0];
    char buf[32];
    struct result result = { .number = item->number,
                             .url = item->url,
                             .url_len = item->len,
                             .ok = r.error == 0,
                             .status = a->status,
                             .error = message_of(a, r, buf, sizeof(buf)),
                             .bytes = a->bytes,
                             .elapsed = a->elapsed,
                             .attempts = a->number + 1 };
    int err = run->write_error ? run->write_error : results_add(&run->results, &result);

    run->summary->bytes += a->bytes;
    if (r.error)
        summary_add_error(run->summary, r.error, result.error, item->url);
    else
        histogram_add(&run->summary->latencies, a->elapsed);
    item_free(run, item);
    run->write_error = err;
    return err;
}

static void abandon(void *item, jd_result r, void *ctx)
{
    (void)r;
    item_free(ctx, item);
}

static void show_progress(const jd_batch_stats *s, void *ctx)
{
    struct run *run = ctx;

    progress_show(&run->progress, s);
    if (!run->write_error && run->results.name)
        run->write_error = results_flush(&run->results);
}

/*
 * Signals.
 */

static void let_through(const struct signalfd_siginfo *info)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, (int)info->ssi_signo);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    raise((int)info->ssi_signo);
}

static void signal_take(struct run *run)
{
    struct signalfd_siginfo info;

    if (read(run->signal_fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
        return; /* it does not block */
    run->signals++;
    if (run->signals == 1)
        url_source_stop(&run->source);
    else if (run->signals == 2)
        (void)jd_task_cancel(run->batch, "interrupted twice"); /* -EALREADY: it has ended */
    else
        let_through(&info);
}

static jd_result watch_signals(void *arg)
{
    struct run *run = arg;
    int ready;

    do {
        ready = jd_poll(run->signal_fd, POLLIN, JD_FOREVER);
        if (ready > 0)
            signal_take(run);
    } while (ready > 0); /* until the batch has ended */
    return jd_err(ready);
}

static int signals_open(struct run *run)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    if (pthread_sigmask(SIG_BLOCK, &set, NULL))
        return -EINVAL;
    run->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    return run->signal_fd < 0 ? -errno : 0;
}

/*
 * The run.
 */

static void options_fill(jd_batch_options *b, struct run *run)
{
    const struct batch_settings *o = run->options;

    b->limit = o->limit;
    b->errors_max = JD_ALL;
    b->flags = o->ordered ? JD_BATCH_ORDERED : 0;
    b->attempt_timeout = o->timeout;
    b->hedge_after = o->hedge;
    if (o->attempts > 1) {
        b->attempts = o->attempts;
        b->backoff = BACKOFF;
        b->backoff_max = BACKOFF_MAX;
        b->retry_budget_percent = o->retry_budget;
        b->classify = classify;
    }
    if (o->rate > 0) {
        (void)jd_rate_init(&run->rate, o->rate, 1); /* checked by the settings */
        b->rate = &run->rate;
    }
    if (o->per_host)
        b->item_sem = host_of_item;
    b->abandon = abandon;
    b->progress = show_progress;
    b->progress_every = PROGRESS_EVERY;
    b->ctx = run;
}

static jd_result run_batch(void *arg)
{
    jd_batch_options b = JD_BATCH_OPTIONS_INIT;
    struct run *run = arg;

    options_fill(&b, run);
    return jd_err(jd_batch_run(next_item, call, take_result, &b, &run->summary->stats));
}

static jd_result run_main(void *arg)
{
    struct run *run = arg;
    jd_task *watcher;
    int err, written;

    summary_note_runtime(run->summary);
    run->batch = jd_spawn(run_batch, run);
    watcher = run->batch ? jd_spawn(watch_signals, run) : NULL;
    if (!watcher)
        (void)jd_task_cancel(run->batch, "out of memory"); /* NULL, too: the join says so */
    if (run->batch)
        (void)jd_task_ref(run->batch); /* the watcher's */
    err = jd_join(run->batch).error;
    (void)jd_task_cancel(watcher, "the batch has ended"); /* NULL: as above */
    (void)jd_join(watcher); /* cancelled, or it could not wait for signals any more */
    if (run->batch)
        jd_task_unref(run->batch);
    progress_clear(&run->progress);
    written = results_close(&run->results);
    return jd_err(err ? err : written);
}

static void request_fill(struct run *run)
{
    const struct batch_settings *o = run->options;

    run->request = (jd_curl_options)JD_CURL_OPTIONS_INIT;
    run->request.method = o->method;
    run->request.headers = o->headers;
    run->request.data = o->data;
    run->request.data_len = o->data_len;
    run->request.ca_file = o->ca_file;
    run->request.flags = JD_CURL_DISCARD_BODY | JD_CURL_NO_HEADERS;
    if (o->insecure)
        run->request.flags |= JD_CURL_INSECURE;
}

/* A connection for each call, and as many that are being opened to the other address of a host. */
static int raise_descriptor_limit(unsigned limit)
{
    rlim_t least = (rlim_t)limit + FDS_SPARE, wanted = 4 * (rlim_t)limit + FDS_SPARE;
    struct rlimit r;

    if (getrlimit(RLIMIT_NOFILE, &r) || r.rlim_cur >= wanted)
        return 0;
    if (r.rlim_max < least) {
        fprintf(stderr,
                "jackdaw batch: --limit %u needs %llu file descriptors, the system allows %llu\n",
                limit, (unsigned long long)least, (unsigned long long)r.rlim_max);
        return -EMFILE;
    }
    r.rlim_cur = r.rlim_max < wanted ? r.rlim_max : wanted;
    return setrlimit(RLIMIT_NOFILE, &r) ? -errno : 0;
}

static int tell(const struct run *run, struct summary *s, int error)
{
    FILE *to = run->options->output && !strcmp(run->options->output, "-") ? stderr : stdout;

    s->interrupted = run->signals > 0;
    s->error = s->interrupted && error == -ECANCELED ? 0 : error;
    s->unreadable = run->source.unreadable;
    s->count = run->next_number;
    if (run->options->json)
        summary_print_json(s, to);
    else
        summary_print(s, to);
    if (s->interrupted)
        return 130;
    return s->error || s->stats.failed || s->unreadable ? 1 : 0;
}

static int prepare(struct run *run)
{
    const struct batch_settings *o = run->options;
    int err;

    if (raise_descriptor_limit(o->limit))
        return 2;
    err = signals_open(run); /* first: a signal must not leave an output that is only begun */
    if (!err && results_open(&run->results, o->output, o->resume))
        return 2;
    if (!err)
        err = url_source_init(&run->source, o);
    if (err)
        fprintf(stderr, "jackdaw batch: cannot start: %s\n", jd_strerror(err));
    return err ? 1 : 0;
}

int url_batch(const struct batch_settings *o)
{
    static struct summary summary; /* too large for a frame, both; one per process */
    static struct run run;
    jd_config cfg = JD_CONFIG_INIT;
    jd_result r;
    int status;

    run.options = o;
    run.summary = &summary;
    run.hosts.limit = o->per_host;
    summary.limit = o->limit;
    summary.is_remote = true;
    summary.stats = (jd_batch_stats)JD_BATCH_STATS_INIT;
    request_fill(&run);
    status = prepare(&run);
    if (status)
        return status;
    progress_init(&run.progress, o->progress, 0);
    r = jd_run(run_main, &run, &cfg);
    status = tell(&run, &summary, r.error);
    url_source_fini(&run.source);
    (void)close(run.signal_fd); /* nothing to lose */
    return status;
}
