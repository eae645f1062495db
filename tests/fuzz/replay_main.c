/* SPDX-License-Identifier: Apache-2.0 */
/* replay_main.c - runs files through a fuzz target without libFuzzer: the kept corpus as a plain
 * test, and one crash file under gdb.
 *
 *     replay_X PATH...      files, and the files of directories (not below)
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

static unsigned long n_inputs;

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

static void replay_file(const char *path, size_t size)
{
    uint8_t *data = read_all(path, size);

    run(data, size);
    if (size > 0 && size <= 4096)
        run(data, size - 1);
    free(data);
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
    for (int i = 1; i < argc; i++)
        replay(argv[i]);
    printf("%lu inputs\n", n_inputs);
    return 0;
}
