/* SPDX-License-Identifier: MIT */
/*
 * The jackdaw command: finds the subcommand and hands over to it. Usage errors are one line on
 * stderr and exit status 2, as with the system's own tools.
 *
 * Threads: the main thread.
 */
#include <stdio.h>
#include <string.h>

#include <jackdaw/jackdaw.h>

#include "base/attr.h"
#include "cli/batch_command.h"

/*
 * Read by jemalloc. A batch allocates on all workers and frees on one: with the default of 10 s, what
 * waits to be given back is more than what is in use (38 MiB against 22, 200 URLs at a time).
 */
extern const char *malloc_conf __attribute__((visibility("default")));
const char *malloc_conf = "dirty_decay_ms:500,muzzy_decay_ms:0";

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *about;
} commands[] = {
    { "batch", batch_command, "HTTP calls, a bounded number at a time" },
};

static void print_help(void)
{
    puts("usage: jackdaw COMMAND [OPTION...]\n\ncommands:");
    for (size_t i = 0; i < JD_ARRAY_LEN(commands); i++)
        printf("  %-10s %s\n", commands[i].name, commands[i].about);
    puts("\noptions:\n"
         "  --help     this text; `jackdaw COMMAND --help` tells a command's options\n"
         "  --version  the version of the library");
}

int main(int argc, char **argv)
{
    const char *word = argc > 1 ? argv[1] : "";

    if (!strcmp(word, "--help") || !strcmp(word, "-h")) {
        print_help();
        return 0;
    }
    if (!strcmp(word, "--version")) {
        printf("jackdaw %s\n", jd_version());
        return 0;
    }
    for (size_t i = 0; i < JD_ARRAY_LEN(commands); i++)
        if (!strcmp(word, commands[i].name))
            return commands[i].run(argc - 1, argv + 1);
    if (*word)
        fprintf(stderr, "jackdaw: unknown command '%s'; see jackdaw --help\n", word);
    else
        fputs("jackdaw: no command; see jackdaw --help\n", stderr);
    return 2;
}
