/* tests/fuzz/driver.c - runs a fuzz target where there is no libFuzzer.
 *
 * Aim     Every target also runs as a plain test: some seconds, no special compiler.
 * Method  Inputs are taken from a corpus (what the target gives by fuzz_corpus, and whatever
 *         earlier inputs left there) and changed: bytes and bits flipped, runs removed, doubled,
 *         spliced from another input, numbers put to their limits. MERLE_FUZZ_RUNS says how many
 *         inputs; without it there are 20,000, and more until MERLE_FUZZ_SECONDS are over.
 *         --seed=N or MERLE_TEST_SEED repeats a run. A file named as argument is run as it is. A
 *         target that fails leaves its input in the file named by MERLE_FUZZ_CRASH, if set.
 * Blind   It does not see coverage, so it finds what lies near the corpus and little else.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/random.h"
#include "tests/fuzz/driver.h"

#define INPUT_SIZE_MAX ((size_t)4096)
#define CORPUS_MAX ((size_t)512)
#define RUNS_DEFAULT 20000u
/* How many inputs lie between two looks at the clock. */
#define RUNS_A_ROUND 1000u

typedef struct input {
    size_t size;
    uint8_t data[INPUT_SIZE_MAX];
} input;

static input corpus[CORPUS_MAX];
static size_t corpus_count;
static const uint8_t *running_data;
static size_t running_size;
static const char *crash_path;

static void corpus_add(const void *data, size_t size) {
    if (corpus_count == CORPUS_MAX || size > INPUT_SIZE_MAX) return;
    if (size > 0) memcpy(corpus[corpus_count].data, data, size);
    corpus[corpus_count++].size = size;
}

/* Writes down the input that made the target abort: only what may be called in a signal handler. */
static void on_abort(int signal_number) {
    int file = crash_path == NULL ? -1 : open(crash_path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (file >= 0) {
        ssize_t written = write(file, running_data, running_size);
        (void)written;
        (void)close(file);
    }
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

static void change_bytes(input *in, mrl_random *random) {
    static const uint8_t limits[] = {0x00, 0x01, 0x7f, 0x80, 0x90, 0xa0,
                                     0xc0, 0xc1, 0xd9, 0xdf, 0xff};
    if (in->size == 0) return;
    size_t at = (size_t)mrl_random_below(random, in->size);
    switch (mrl_random_below(random, 4)) {
    case 0:
        in->data[at] ^= (uint8_t)(1u << mrl_random_below(random, 8));
        return;
    case 1:
        in->data[at] = (uint8_t)mrl_random_next(random);
        return;
    case 2:
        in->data[at] = limits[mrl_random_below(random, sizeof(limits))];
        return;
    default:
        in->data[at] = (uint8_t)(in->data[at] + (mrl_random_below(random, 2) ? 1 : -1));
        return;
    }
}

static void remove_run(input *in, mrl_random *random) {
    if (in->size == 0) return;
    size_t at = (size_t)mrl_random_below(random, in->size);
    size_t size = 1 + (size_t)mrl_random_below(random, in->size - at);
    if (mrl_random_below(random, 2) && size > 4) size = 1 + size % 4;
    memmove(in->data + at, in->data + at + size, in->size - at - size);
    in->size -= size;
}

static void insert_run(input *in, mrl_random *random, const uint8_t *from, size_t from_size) {
    uint8_t run[256];
    if (from_size == 0) return;
    size_t begin = (size_t)mrl_random_below(random, from_size);
    size_t size = 1 + (size_t)mrl_random_below(random, from_size - begin);
    if (size > sizeof(run)) size = sizeof(run);
    if (size > INPUT_SIZE_MAX - in->size) return;
    memcpy(run, from + begin, size);
    size_t at = (size_t)mrl_random_below(random, in->size + 1);
    memmove(in->data + at + size, in->data + at, in->size - at);
    memcpy(in->data + at, run, size);
    in->size += size;
}

static void change(input *in, mrl_random *random) {
    const input *other = &corpus[mrl_random_below(random, corpus_count)];
    switch (mrl_random_below(random, 8)) {
    case 0:
        remove_run(in, random);
        return;
    case 1:
        insert_run(in, random, in->data, in->size);
        return;
    case 2:
        insert_run(in, random, other->data, other->size);
        return;
    default:
        change_bytes(in, random);
        return;
    }
}

static void run(const uint8_t *data, size_t size) {
    /* In memory of its own size, so that the sanitizer sees every byte read too far. */
    uint8_t *exact = malloc(size == 0 ? 1 : size);
    if (exact == NULL) return;
    if (size > 0) memcpy(exact, data, size);
    running_data = exact;
    running_size = size;
    (void)LLVMFuzzerTestOneInput(exact, size);
    free(exact);
}

static int run_file(const char *path) {
    static uint8_t data[1 << 20];
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        fprintf(stderr, "cannot open %s\n", path);
        return 1;
    }
    size_t size = fread(data, 1, sizeof(data), file);
    (void)fclose(file);
    run(data, size);
    return 0;
}

static void run_random(mrl_random *random, uint64_t run_count) {
    static input in;
    for (size_t i = 0; i < corpus_count; i++) run(corpus[i].data, corpus[i].size);
    for (uint64_t i = 0; i < run_count; i++) {
        in = corpus[mrl_random_below(random, corpus_count)];
        for (uint64_t changes = 1 + mrl_random_below(random, 6); changes > 0; changes--)
            change(&in, random);
        run(in.data, in.size);
        /* Some inputs stay, so that changes add up. */
        if (mrl_random_below(random, 64) != 0) continue;
        if (corpus_count < CORPUS_MAX)
            corpus_add(in.data, in.size);
        else
            corpus[CORPUS_MAX / 2 + mrl_random_below(random, CORPUS_MAX / 2)] = in;
    }
}

int main(int argc, char **argv) {
    const char *seed_text = getenv("MERLE_TEST_SEED"), *runs_text = getenv("MERLE_FUZZ_RUNS");
    mrl_random random;
    crash_path = getenv("MERLE_FUZZ_CRASH");
    signal(SIGABRT, on_abort);
    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "--seed=", 7) == 0)
            seed_text = argv[i] + 7;
        else
            return run_file(argv[i]);
    }
    uint64_t seed = seed_text != NULL ? strtoull(seed_text, NULL, 0) : mrl_random_seed();
    uint64_t run_count = runs_text != NULL ? strtoull(runs_text, NULL, 0) : RUNS_DEFAULT;
    const char *seconds_text = getenv("MERLE_FUZZ_SECONDS");
    time_t until = time(NULL) + (seconds_text != NULL ? (time_t)strtoll(seconds_text, NULL, 0) : 0);
    printf("# seed %llu\n", (unsigned long long)seed);
    (void)fflush(stdout);
    mrl_random_init(&random, seed);
    corpus_add("", 0);
    if (fuzz_corpus != NULL) fuzz_corpus(corpus_add);
    run_random(&random, run_count);
    for (; runs_text == NULL && time(NULL) < until; run_count += RUNS_A_ROUND)
        run_random(&random, RUNS_A_ROUND);
    printf("1..1\nok 1 - %llu inputs\n", (unsigned long long)run_count);
    return 0;
}
