/* SPDX-License-Identifier: MIT */
#ifndef FUZZ_H
#define FUZZ_H

/*
 * What the fuzz targets share. A target is a file fuzz_NAME.c with LLVMFuzzerTestOneInput(); built
 * with -Dfuzz=true it is a libFuzzer program, else replay.c runs it over its corpus as a test.
 *
 * I1  A target keeps nothing between two inputs, and an input decides everything: the same bytes do
 *     the same in both programs.
 * I2  A wrong answer ends the process (FUZZ_CHECK), in both programs.
 *
 * JD_FUZZ_TRACE=1 in the environment makes a target tell what it does, on stderr.
 */
#include <jackdaw/jackdaw.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FUZZ_CHECK(condition) FUZZ_CHECK_THAT(condition, "%s", "")
/* Followed by a printf format and its arguments. */
#define FUZZ_CHECK_THAT(condition, ...) \
    ((condition) ? (void)0 : fuzz_failed(__FILE__, __LINE__, #condition, __VA_ARGS__))

_Noreturn void fuzz_failed(const char *file, int line, const char *what, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

bool fuzz_is_traced(void);

/* What the code under test says on stderr is not wanted, millions of times. */
void fuzz_quiet(void);

/* Bytes that are taken one by one; 0 when there are no more. */
struct fuzz_input {
    const uint8_t *at, *end;
};

static inline size_t fuzz_left(const struct fuzz_input *in)
{
    return (size_t)(in->end - in->at);
}

static inline uint8_t fuzz_byte(struct fuzz_input *in)
{
    return in->at < in->end ? *in->at++ : 0;
}

/* One simulated life of a program. */
struct fuzz_life {
    uint64_t seed;
    unsigned workers, fault_percent, flags;
    const uint8_t *choices; /* taken before those of the seed */
    size_t choice_count;
    unsigned cut_at; /* the main task is cancelled at its n-th checkpoint; 0: never */
    bool cut_later;  /* a little after it, while it waits */
};

/*
 * Runs it, and checks what holds for every program that closes what it opens: no deadlock, and
 * nothing left of tasks, descriptors and handles.
 */
jd_result fuzz_live(const struct fuzz_life *life, jd_fn fn, void *arg);

#endif /* FUZZ_H */
