/* SPDX-License-Identifier: MIT */
/*
 * The options of `jackdaw batch`: a table of names, each with what it sets and how it is read.
 */
#include "cli/batch_settings.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jackdaw/jackdaw.h>

#include "base/attr.h"

#define COUNT_MAX 1000000000ull
#define LIMIT_MAX 1000000ull
#define USAGE 2

static const char help[] =
    "usage: jackdaw batch --url URL | --urls FILE [OPTION...]\n"
    "       jackdaw batch [--count N] [--limit K] [OPTION...]\n"
    "\n"
    "Calls URLs, a bounded number at a time. Without URLs it is a demonstration: it starts an "
    "HTTP\n"
    "server on a free loopback port that answers after about 20 ms, and calls that.\n"
    "\n"
    "what is called (each may be given several times):\n"
    "  --url URL      http://... or https://...\n"
    "  --urls FILE    one URL per line, read as they are needed; - is stdin\n"
    "  --count N      the demonstration's calls in all (1000)\n"
    "\n"
    "a call:\n"
    "  --method M     GET, or POST when there is data\n"
    "  --header LINE  'Name: value'; several times\n"
    "  --data TEXT    sent with each call; @FILE: what the file holds\n"
    "  --insecure     accept any certificate\n"
    "  --cacert FILE  trust these certificates\n"
    "\n"
    "how:\n"
    "  --limit K      calls in flight at a time (50)\n"
    "  --per-host K   of these, to one host and port\n"
    "  --rate R       calls per second\n"
    "  --timeout S    seconds for one attempt (none)\n"
    "  --attempts N   for one URL (1): after a timeout, a refused or reset connection, or a "
    "status\n"
    "                 of 408, 425, 429, 500, 502, 503, 504; Retry-After is honoured\n"
    "  --retry-budget P  retries in percent of the calls, and ten (10)\n"
    "  --hedge MS     start a second attempt after so long, and take the first answer\n"
    "\n"
    "results:\n"
    "  --output FILE  one JSON object per URL; - is stdout\n"
    "  --ordered      in the order of the URLs\n"
    "  --resume FILE  skip the URLs that FILE, the output of a former run, has; append to it\n"
    "  --json         the summary as one JSON object\n"
    "  --progress auto|always|never\n"
    "                 the live line on stderr; auto: when it is a terminal\n"
    "  --help         this text\n"
    "\n"
    "Ctrl-C ends the calls in flight and starts no more, a second one cancels them; what has no\n"
    "result by then is done by --resume.\n"
    "\n"
    "environment: JACKDAW_WORKERS, JACKDAW_REACTOR=uring|epoll, JACKDAW_SEED (of the delays)\n"
    "exit status: 0 all calls succeeded, 1 some failed, 2 usage, 130 interrupted\n";

static int complain(const char *what, const char *word)
{
    fprintf(stderr, "jackdaw batch: %s '%s'; see jackdaw batch --help\n", what, word);
    return USAGE;
}

/*
 * Values.
 */

static int read_number(const char *name, const char *text, uint64_t max, uint64_t *ret)
{
    char *end;
    unsigned long long n;

    errno = 0;
    n = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || errno || n == 0 || n > max) {
        fprintf(stderr, "jackdaw batch: %s must be a whole number from 1 to %llu, not '%s'\n", name,
                (unsigned long long)max, text);
        return USAGE;
    }
    *ret = n;
    return 0;
}

/* Fractions are fine. */
static int read_real(const char *name, const char *text, double max, double *ret)
{
    char *end;
    double n = strtod(text, &end);

    if ((*text != '.' && (*text < '0' || *text > '9')) || *end || !(n > 0) || n > max) {
        fprintf(stderr, "jackdaw batch: %s must be a number above 0, up to %.0f, not '%s'\n", name,
                max, text);
        return USAGE;
    }
    *ret = n;
    return 0;
}

static int read_unsigned(const char *name, const char *text, unsigned *ret)
{
    uint64_t n = 0;
    int status = read_number(name, text, LIMIT_MAX, &n);

    *ret = (unsigned)n;
    return status;
}

static int set_count(struct batch_settings *o, const char *name, const char *text)
{
    o->has_count = true;
    return read_number(name, text, COUNT_MAX, &o->count);
}

static int set_limit(struct batch_settings *o, const char *name, const char *text)
{
    return read_unsigned(name, text, &o->limit);
}

static int set_per_host(struct batch_settings *o, const char *name, const char *text)
{
    return read_unsigned(name, text, &o->per_host);
}

static int set_attempts(struct batch_settings *o, const char *name, const char *text)
{
    return read_unsigned(name, text, &o->attempts);
}

static int set_retry_budget(struct batch_settings *o, const char *name, const char *text)
{
    return read_unsigned(name, text, &o->retry_budget);
}

static int set_rate(struct batch_settings *o, const char *name, const char *text)
{
    return read_real(name, text, 1e9, &o->rate);
}

static int set_time(const char *name, const char *text, double unit, int64_t *ret)
{
    double n = 0;
    int status = read_real(name, text, 1e8, &n);

    *ret = (int64_t)(n * unit);
    return status;
}

static int set_timeout(struct batch_settings *o, const char *name, const char *text)
{
    return set_time(name, text, 1e9, &o->timeout);
}

static int set_hedge(struct batch_settings *o, const char *name, const char *text)
{
    return set_time(name, text, 1e6, &o->hedge);
}

static int set_progress(struct batch_settings *o, const char *name, const char *text)
{
    static const char *const names[] = { "auto", "always", "never" };

    (void)name;
    for (unsigned i = 0; i < JD_ARRAY_LEN(names); i++) {
        if (!strcmp(text, names[i])) {
            o->progress = (enum progress_when)i;
            return 0;
        }
    }
    return complain("--progress is auto, always or never, not", text);
}

static int add_url(struct batch_settings *o, const char *name, const char *text)
{
    (void)name;
    o->inputs[o->input_count++] = (struct batch_input){ .text = text };
    return 0;
}

static int add_file(struct batch_settings *o, const char *name, const char *text)
{
    (void)name;
    o->inputs[o->input_count++] = (struct batch_input){ .text = text, .is_file = true };
    return 0;
}

static int add_header(struct batch_settings *o, const char *name, const char *text)
{
    (void)name;
    if (!strchr(text, ':') || *text == ':' || strpbrk(text, "\r\n"))
        return complain("--header is 'Name: value', not", text);
    o->headers[o->header_count++] = text;
    return 0;
}

static int set_method(struct batch_settings *o, const char *name, const char *text)
{
    (void)name;
    o->method = text;
    return *text && strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == strlen(text)
               ? 0
               : complain("--method is a word in capitals, not", text);
}

static int read_whole(int fd, struct batch_settings *o)
{
    struct stat st;
    size_t room;

    if (fstat(fd, &st))
        return -errno;
    if (!S_ISREG(st.st_mode))
        return -EINVAL;
    room = (size_t)st.st_size + 1;
    o->data_memory = malloc(room);
    if (!o->data_memory)
        return -ENOMEM;
    while (o->data_len < room - 1) { /* bounded by the file */
        ssize_t got = read(fd, o->data_memory + o->data_len, room - 1 - o->data_len);

        if (got < 0)
            return -errno;
        if (got == 0)
            break;
        o->data_len += (size_t)got;
    }
    o->data = o->data_memory;
    return 0;
}

static int set_data(struct batch_settings *o, const char *name, const char *text)
{
    int fd, err;

    (void)name;
    free(o->data_memory); /* of a former --data */
    o->data_memory = NULL;
    o->data = text;
    o->data_len = strlen(text);
    if (*text != '@')
        return 0;
    o->data_len = 0;
    fd = open(text + 1, O_RDONLY | O_CLOEXEC);
    err = fd < 0 ? -errno : read_whole(fd, o);
    if (fd >= 0)
        close(fd);
    if (err)
        fprintf(stderr, "jackdaw batch: --data: cannot read '%s': %s\n", text + 1,
                jd_strerror(err));
    return err ? USAGE : 0;
}

static int set_output(struct batch_settings *o, const char *name, const char *text)
{
    (void)name;
    o->output = text;
    return 0;
}

static int set_resume(struct batch_settings *o, const char *name, const char *text)
{
    (void)name;
    o->resume = text;
    return 0;
}

static int set_ca_file(struct batch_settings *o, const char *name, const char *text)
{
    (void)name;
    o->ca_file = text;
    return 0;
}

/*
 * Words.
 */

static const struct {
    const char *name;
    int (*set)(struct batch_settings *o, const char *name, const char *text);
    bool is_for_urls;
} valued[] = {
    { "--count", set_count, false },       { "--limit", set_limit, false },
    { "--progress", set_progress, false }, { "--url", add_url, true },
    { "--urls", add_file, true },          { "--method", set_method, true },
    { "--header", add_header, true },      { "--data", set_data, true },
    { "--rate", set_rate, true },          { "--timeout", set_timeout, true },
    { "--attempts", set_attempts, true },  { "--retry-budget", set_retry_budget, true },
    { "--hedge", set_hedge, true },        { "--per-host", set_per_host, true },
    { "--output", set_output, true },      { "--resume", set_resume, true },
    { "--cacert", set_ca_file, true },
};

/* The first option that makes sense with URLs only. */
struct words {
    const char *for_urls;
};

static bool set_flag(struct batch_settings *o, struct words *w, const char *word)
{
    bool is_for_urls = true;

    if (!strcmp(word, "--ordered"))
        o->ordered = true;
    else if (!strcmp(word, "--insecure"))
        o->insecure = true;
    else
        is_for_urls = false;
    if (is_for_urls) {
        w->for_urls = w->for_urls ? w->for_urls : word;
        return true;
    }
    if (!strcmp(word, "--json"))
        return o->json = true;
    if (!strcmp(word, "--help") || !strcmp(word, "-h"))
        return o->help = true;
    return false;
}

/* `--name value` or `--name=value`. */
static int parse_valued(struct batch_settings *o, struct words *w, char **argv, int *i)
{
    char *word = argv[*i];
    char *equals = strchr(word, '=');
    size_t len = equals ? (size_t)(equals - word) : strlen(word);

    for (unsigned v = 0; v < JD_ARRAY_LEN(valued); v++) {
        const char *name = valued[v].name;

        if (strlen(name) != len || strncmp(word, name, len) != 0)
            continue;
        if (!equals && !argv[*i + 1])
            return complain("a value is missing after", word);
        if (valued[v].is_for_urls && !w->for_urls)
            w->for_urls = name;
        return valued[v].set(o, name, equals ? equals + 1 : argv[++*i]);
    }
    return complain("unknown option", word);
}

static int check_together(const struct batch_settings *o, const struct words *w)
{
    if (o->input_count && o->has_count)
        return complain("this is for the demonstration, which calls no URLs:", "--count");
    if (!o->input_count && w->for_urls)
        return complain("--url or --urls is missing; without it this makes no sense:", w->for_urls);
    if (o->resume && !strcmp(o->resume, "-"))
        return complain("--resume is a file, not", o->resume);
    return 0;
}

int batch_settings_read(struct batch_settings *o, int argc, char **argv)
{
    struct words words = { NULL };

    *o = (struct batch_settings){ .count = 1000, .limit = 50 };
    o->inputs = calloc((size_t)argc + 1, sizeof(*o->inputs));
    o->headers = calloc((size_t)argc + 1, sizeof(*o->headers));
    if (!o->inputs || !o->headers) {
        fputs("jackdaw batch: out of memory\n", stderr);
        return 1;
    }
    for (int i = 1; i < argc; i++) {
        int status = set_flag(o, &words, argv[i]) ? 0 : parse_valued(o, &words, argv, &i);

        if (status)
            return status;
    }
    return o->help ? 0 : check_together(o, &words);
}

void batch_settings_free(struct batch_settings *o)
{
    free(o->inputs);
    free(o->headers);
    free(o->data_memory);
}

void batch_settings_help(void)
{
    fputs(help, stdout);
}
