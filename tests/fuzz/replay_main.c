/* SPDX-License-Identifier: Apache-2.0 */
/* replay_main.c - runs files through a fuzz target without libFuzzer: the kept corpus as a plain
 * test, and one crash file under gdb.
 *
 *     replay_X PATH...              files, and the files of directories (not below)
 *     replay_X --mutations N PATH...  and N of them with random changes, always the same ones
 *
 * Also cuts: each input is given once as it is and, when small, with its last byte left off, which
 * costs little and finds what only a complete corpus file hides. */
#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv) __attribute__((weak));

#define MUTATED_MAX 65536u /* bytes of a mutated input */

struct input {
    uint8_t *data;
    size_t size;
};

static unsigned long n_inputs, n_mutations;
static struct input *kept; /* small ones, to be mutated */
static size_t n_kept;

static void die(const char *what, const char *path)
{
    fprintf(stderr, "%s %s: %s\n", what, path, strerror(errno));
    exit(2);
}

/* An allocation of exactly |size| bytes, so that reading past the end is seen. */
static void run(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);

    if (copy == NULL)
        die("cannot copy", "an input");
    memcpy(copy, data, size);
    (void)LLVMFuzzerTestOneInput(copy, size);
    free(copy);
    n_inputs++;
}

static uint8_t *read_all(const char *path, size_t size)
{
    FILE *f = fopen(path, "rb");
    uint8_t *data = malloc(size + 1);

    if (f == NULL || data == NULL || fread(data, 1, size, f) != size)
        die("cannot read", path);
    (void)fclose(f);
    return data;
}

/* Takes |data| over. */
static void keep(uint8_t *data, size_t size)
{
    struct input *more = realloc(kept, (n_kept + 1) * sizeof *kept);

    if (more == NULL)
        die("cannot keep", "an input");
    kept = more;
    kept[n_kept++] = (struct input){data, size};
}

static void replay_file(const char *path, size_t size)
{
    uint8_t *data = read_all(path, size);

    run(data, size);
    if (size > 0 && size <= 4096)
        run(data, size - 1);
    if (n_mutations > 0 && size <= MUTATED_MAX / 2)
        keep(data, size);
    else
        free(data);
}

/* ---- mutations ---- */

/* xorshift64: the same numbers on every machine. */
static uint64_t chance(uint64_t below)
{
    static uint64_t x = 0x9e3779b97f4a7c15;

    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return below ? x % below : 0;
}

/* Bytes at which parsers turn. */
static uint8_t turning(void)
{
    static const uint8_t bytes[] = "\r\n\t :;,=/?#\"'\\%-0189afAFzZ\0\x1f\x7f\x80\xff";

    return chance(2) ? bytes[chance(sizeof bytes)] : (uint8_t)chance(256);
}

/* One change of |t|, which has room for MUTATED_MAX bytes; returns the new size. */
static size_t mutate(uint8_t *t, size_t n)
{
    static uint8_t piece[MUTATED_MAX];
    size_t at = chance(n + 1), len = chance(8) ? 1 + chance(16) : 1 + chance(n + 1);
    size_t from = chance(n + 1);

    switch (chance(5)) {
    case 0: /* another bit */
        if (at < n)
            t[at] ^= (uint8_t)(1u << chance(8));
        return n;
    case 1: /* another byte */
        if (at < n)
            t[at] = turning();
        return n;
    case 2: /* a byte more */
        if (n == MUTATED_MAX)
            return n;
        memmove(t + at + 1, t + at, n - at);
        t[at] = turning();
        return n + 1;
    case 3: /* a piece less */
        if (len > n - at)
            len = n - at;
        memmove(t + at, t + at + len, n - at - len);
        return n - len;
    default: /* a piece twice */
        if (len > n - from)
            len = n - from;
        if (len > MUTATED_MAX - n)
            len = MUTATED_MAX - n;
        memcpy(piece, t + from, len);
        memmove(t + at + len, t + at, n - at);
        memcpy(t + at, piece, len);
        return n + len;
    }
}

static void run_mutations(void)
{
    static uint8_t text[MUTATED_MAX];

    for (unsigned long i = 0; i < n_mutations && n_kept > 0; i++) {
        const struct input *in = &kept[i % n_kept];
        size_t n = in->size;

        memcpy(text, in->data, n);
        for (uint64_t changes = 1 + chance(4); changes > 0; changes--)
            n = mutate(text, n);
        run(text, n);
    }
}

/* True when |path| is a regular file, and then |*ret_size| is set. */
static bool is_file(const char *path, size_t *ret_size)
{
    struct stat st;

    if (stat(path, &st) != 0)
        die("cannot find", path);
    *ret_size = (size_t)st.st_size;
    return S_ISREG(st.st_mode);
}

static void replay_dir(const char *path)
{
    struct dirent **names;
    int n = scandir(path, &names, NULL, alphasort);

    if (n < 0)
        die("cannot list", path);
    for (int i = 0; i < n; i++) {
        char full[4096];
        size_t size;
        int len = snprintf(full, sizeof full, "%s/%s", path, names[i]->d_name);

        if (len > 0 && (size_t)len < sizeof full && is_file(full, &size))
            replay_file(full, size);
        free(names[i]);
    }
    free(names);
}

static void replay(const char *path)
{
    size_t size;

    if (is_file(path, &size))
        replay_file(path, size);
    else
        replay_dir(path);
}

int main(int argc, char **argv)
{
    static const uint8_t nothing;

    if (LLVMFuzzerInitialize != NULL)
        (void)LLVMFuzzerInitialize(&argc, &argv);
    run(&nothing, 0);
    if (argc > 2 && strcmp(argv[1], "--mutations") == 0) {
        n_mutations = strtoul(argv[2], NULL, 10);
        argv += 2;
        argc -= 2;
    }
    for (int i = 1; i < argc; i++)
        replay(argv[i]);
    run_mutations();
    for (size_t i = 0; i < n_kept; i++)
        free(kept[i].data);
    free(kept);
    printf("%lu inputs\n", n_inputs);
    return 0;
}
