/* SPDX-License-Identifier: MIT */
/*
 * Runs a fuzz target over files and the files of folders: the corpus as a test, and one input again.
 *
 *   fuzz_NAME PATH...
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fuzz.h"

#define INPUT_MAX (1 << 20)

static unsigned inputs;

static int run_file(const char *path)
{
    uint8_t *data = malloc(INPUT_MAX);
    FILE *f = fopen(path, "rb");
    size_t size = f && data ? fread(data, 1, INPUT_MAX, f) : 0;
    int error = !f || !data || ferror(f);

    if (error) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
    } else {
        /* A block of its own, so that a read beyond the end is seen. */
        uint8_t *exact = realloc(data, size ? size : 1);

        data = exact ? exact : data;
        fprintf(stderr, "# %s\n", path);
        (void)LLVMFuzzerTestOneInput(data, size);
        inputs++;
    }
    if (f)
        (void)fclose(f); /* only read from */
    free(data);
    return error;
}

static int is_input(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static int run_folder(const char *path)
{
    struct dirent **entries;
    int error = 0, count = scandir(path, &entries, is_input, alphasort);

    if (count < 0) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return 1;
    }
    for (int i = 0; i < count; i++) {
        char file[4096];

        snprintf(file, sizeof(file), "%s/%s", path, entries[i]->d_name);
        error |= run_file(file);
        free(entries[i]);
    }
    free(entries);
    return error;
}

int main(int argc, char **argv)
{
    int error = argc < 2;

    for (int i = 1; i < argc; i++) {
        struct stat st;

        error |= stat(argv[i], &st) == 0 && S_ISDIR(st.st_mode) ? run_folder(argv[i])
                                                                : run_file(argv[i]);
    }
    printf("%u inputs\n", inputs);
    return error || inputs == 0;
}
