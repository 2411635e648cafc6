/* SPDX-License-Identifier: MIT */
/*
 * The words of `jackdaw batch`, one per line. Expected is what --help says, read once more in the
 * plainest way.
 */
#include <stdlib.h>
#include <string.h>

#include "cli/batch_settings.h"
#include "fuzz.h"

#define WORDS_MAX 16

static bool number_expected(const char *text, uint64_t max, uint64_t *ret)
{
    char *digits = strndup(text, 64); /* longer ones are above any max, or zeros */
    uint64_t value;

    FUZZ_CHECK(digits != NULL);
    value = strtoull(digits, NULL, 10);
    free(digits);
    *ret = value;
    return text[0] && strspn(text, "0123456789") == strlen(text) && value >= 1 && value <= max;
}

static bool value_expected(struct batch_settings *cmd, const char *name, const char *value)
{
    uint64_t number;

    if (!strcmp(name, "--progress")) {
        cmd->progress = !strcmp(value, "auto")     ? PROGRESS_AUTO
                        : !strcmp(value, "always") ? PROGRESS_ALWAYS
                                                   : PROGRESS_NEVER;
        return !strcmp(value, "auto") || !strcmp(value, "always") || !strcmp(value, "never");
    }
    if (!strcmp(name, "--count")) {
        bool right = number_expected(value, 1000000000, &number);

        cmd->count = number;
        return right;
    }
    if (!strcmp(name, "--limit")) {
        bool right = number_expected(value, 1000000, &number);

        cmd->limit = (unsigned)number;
        return right;
    }
    return false;
}

static bool real_expected(const char *text, double max)
{
    char *end;
    double n = strtod(text, &end);

    return text[0] && strchr("0123456789.", text[0]) && !*end && n > 0 && n <= max;
}

/* Options of URLs; the first one that needs URLs, and whether there are some, is in `urls`. */
struct urls {
    bool are_there, are_needed, is_resumed_from_stdin;
};

static bool url_value_expected(struct urls *urls, const char *name, const char *value)
{
    static const char *const numbers[] = { "--attempts", "--retry-budget", "--per-host" };
    static const char *const texts[] = { "--data", "--output", "--resume", "--cacert" };
    uint64_t number;

    urls->are_needed = true;
    if (!strcmp(name, "--url") || !strcmp(name, "--urls"))
        return urls->are_there = true;
    for (unsigned i = 0; i < 3; i++)
        if (!strcmp(name, numbers[i]))
            return number_expected(value, 1000000, &number);
    if (!strcmp(name, "--rate"))
        return real_expected(value, 1e9);
    if (!strcmp(name, "--timeout") || !strcmp(name, "--hedge"))
        return real_expected(value, 1e8);
    if (!strcmp(name, "--header"))
        return strchr(value, ':') && value[0] != ':' && !strchr(value, '\r');
    if (!strcmp(name, "--method"))
        return value[0] && strspn(value, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == strlen(value);
    if (!strcmp(name, "--resume"))
        urls->is_resumed_from_stdin = !strcmp(value, "-");
    for (unsigned i = 0; i < 4; i++)
        if (!strcmp(name, texts[i]))
            return true;
    return false;
}

static bool expected(struct batch_settings *cmd, char *const words[])
{
    struct urls urls = { false, false, false };
    bool is_demo = false;

    *cmd = (struct batch_settings){ .count = 1000, .limit = 50 };
    for (int i = 1; words[i]; i++) {
        const char *equals = strchr(words[i], '=');
        char name[16] = "";
        const char *value = equals ? equals + 1 : words[i + 1];

        if (!strcmp(words[i], "--json")) {
            cmd->json = true;
        } else if (!strcmp(words[i], "--help") || !strcmp(words[i], "-h")) {
            cmd->help = true;
        } else if (!strcmp(words[i], "--ordered") || !strcmp(words[i], "--insecure")) {
            urls.are_needed = true;
        } else {
            size_t len = equals ? (size_t)(equals - words[i]) : strlen(words[i]);

            if (len >= sizeof(name) || !value)
                return false;
            memcpy(name, words[i], len);
            is_demo |= !strcmp(name, "--count");
            if (!value_expected(cmd, name, value) && !url_value_expected(&urls, name, value))
                return false;
            i += !equals;
        }
    }
    if (cmd->help)
        return true;
    return !(is_demo && urls.are_there) && (urls.are_there || !urls.are_needed) &&
           !urls.is_resumed_from_stdin;
}

/* A file that it reads is not foreseen here. */
static bool reads_a_file(char *const words[])
{
    for (int i = 1; words[i]; i++)
        if (!strncmp(words[i], "--data=@", 8) ||
            (!strcmp(words[i], "--data") && words[i + 1] && words[i + 1][0] == '@'))
            return true;
    return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *words[WORDS_MAX + 2] = { (char[]){ "batch" } }, *text = malloc(size + 1), *next = text;
    struct batch_settings want, got;
    int count = 1;
    bool right;

    fuzz_quiet();
    FUZZ_CHECK(text != NULL);
    memcpy(text, data, size);
    text[size] = '\0';
    while (next && size > 0 && count <= WORDS_MAX)
        words[count++] = strsep(&next, "\n");
    if (reads_a_file(words)) {
        free(text);
        return 0;
    }
    right = expected(&want, words);
    FUZZ_CHECK((batch_settings_read(&got, count, words) == 0) == right);
    if (right) {
        FUZZ_CHECK(got.count == want.count && got.limit == want.limit);
        FUZZ_CHECK(got.json == want.json && got.help == want.help);
        FUZZ_CHECK(got.progress == want.progress);
    }
    batch_settings_free(&got);
    free(text);
    return 0;
}
