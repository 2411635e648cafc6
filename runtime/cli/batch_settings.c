/* SPDX-License-Identifier: MIT */
/*
 * See batch_settings.h. What makes no sense is one line on stderr.
 */
#include "cli/batch_settings.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/attr.h"

#define COUNT_MAX 1000000000ull
#define LIMIT_MAX 1000000ull

static int complain(const char *what, const char *word)
{
    fprintf(stderr, "jackdaw batch: %s '%s'; see jackdaw batch --help\n", what, word);
    return -EINVAL;
}

static int parse_number(const char *name, const char *text, uint64_t max, uint64_t *ret)
{
    char *end;
    unsigned long long n;

    errno = 0;
    n = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || errno || n == 0 || n > max) {
        fprintf(stderr, "jackdaw batch: %s must be a whole number from 1 to %llu, not '%s'\n", name,
                (unsigned long long)max, text);
        return -EINVAL;
    }
    *ret = n;
    return 0;
}

static int parse_progress(const char *text, enum progress_when *ret)
{
    static const char *const names[] = { "auto", "always", "never" };

    for (unsigned i = 0; i < JD_ARRAY_LEN(names); i++) {
        if (!strcmp(text, names[i])) {
            *ret = (enum progress_when)i;
            return 0;
        }
    }
    return complain("--progress is auto, always or never, not", text);
}

static int set_value(struct batch_settings *cmd, const char *name, const char *value)
{
    uint64_t limit = 0;
    int err;

    if (!strcmp(name, "--count"))
        return parse_number(name, value, COUNT_MAX, &cmd->count);
    if (!strcmp(name, "--progress"))
        return parse_progress(value, &cmd->progress);
    err = parse_number(name, value, LIMIT_MAX, &limit);
    cmd->limit = (unsigned)limit;
    return err;
}

static bool takes_value(const char *word, size_t len)
{
    static const char *const names[] = { "--count", "--limit", "--progress" };

    for (unsigned i = 0; i < JD_ARRAY_LEN(names); i++)
        if (strlen(names[i]) == len && !strncmp(word, names[i], len))
            return true;
    return false;
}

/* `--name value` or `--name=value`. */
static int parse_valued(struct batch_settings *cmd, char **argv, int *i)
{
    char *word = argv[*i];
    char *equals = strchr(word, '=');

    if (!takes_value(word, equals ? (size_t)(equals - word) : strlen(word)))
        return complain("unknown option", word);
    if (equals) {
        *equals = '\0';
        return set_value(cmd, word, equals + 1);
    }
    if (!argv[*i + 1])
        return complain("a value is missing after", word);
    return set_value(cmd, word, argv[++*i]);
}

int batch_settings_read(struct batch_settings *cmd, int argc, char **argv)
{
    *cmd = (struct batch_settings){ .count = 1000, .limit = 50, .progress = PROGRESS_AUTO };
    for (int i = 1; i < argc; i++) {
        int err = 0;

        if (!strcmp(argv[i], "--json"))
            cmd->json = true;
        else if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))
            cmd->help = true;
        else
            err = parse_valued(cmd, argv, &i);
        if (err)
            return err;
    }
    return 0;
}
