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

static bool expected(struct batch_settings *cmd, char *const words[])
{
    *cmd = (struct batch_settings){ .count = 1000, .limit = 50 };
    for (int i = 1; words[i]; i++) {
        const char *equals = strchr(words[i], '=');
        char name[16] = "";

        if (!strcmp(words[i], "--json")) {
            cmd->json = true;
        } else if (!strcmp(words[i], "--help") || !strcmp(words[i], "-h")) {
            cmd->help = true;
        } else if (equals && equals - words[i] < (long)sizeof(name)) {
            memcpy(name, words[i], (size_t)(equals - words[i]));
            if (!value_expected(cmd, name, equals + 1))
                return false;
        } else if (equals || !words[i + 1] || !value_expected(cmd, words[i], words[i + 1])) {
            return false;
        } else {
            i++;
        }
    }
    return true;
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
    right = expected(&want, words);
    FUZZ_CHECK((batch_settings_read(&got, count, words) == 0) == right);
    if (right) {
        FUZZ_CHECK(got.count == want.count && got.limit == want.limit);
        FUZZ_CHECK(got.json == want.json && got.help == want.help);
        FUZZ_CHECK(got.progress == want.progress);
    }
    free(text);
    return 0;
}
