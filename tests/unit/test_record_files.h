/* SPDX-License-Identifier: Apache-2.0 */
/* test_record_files.h - two files of records with the state of their chain, and what the verifier
 * says about them: for the tests of who seals and of who verifies. */
#ifndef TEST_RECORD_FILES_H
#define TEST_RECORD_FILES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/record_verify.h"
#include "observe/record_sealer.h"

#define STEPS (UINT64_C(1) << 20)

struct files {
    char path[2][64], chain[72];
    int fd[2];
    uint8_t key[RECORD_MAC_LEN];
    struct buf said; /* "F 3: what\n", "N 0: what\n" */
    struct record_verify_counts counts;
};

static void write_chain(const struct files *f, const struct record_chain *c)
{
    char state[RECORD_CHAIN_STATE_LEN];
    int fd = open(f->chain, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    record_chain_encode(c, state);
    assert_int_equal(write(fd, state, sizeof state), sizeof state);
    (void)close(fd);
}

static struct record_chain read_chain(const struct files *f)
{
    char state[RECORD_CHAIN_STATE_LEN];
    int fd = open(f->chain, O_RDONLY | O_CLOEXEC);
    struct record_chain c;

    assert_int_equal(read(fd, state, sizeof state), sizeof state);
    assert_int_equal(record_chain_decode((struct span){state, sizeof state}, &c), OK);
    (void)close(fd);
    return c;
}

static int setup(void **state)
{
    struct files *f = calloc(1, sizeof *f);
    const char *tmp = getenv("TMPDIR");
    struct record_chain c;

    assert_non_null(f);
    (void)signal(SIGXFSZ, SIG_IGN);
    for (unsigned i = 0; i < 2; i++) {
        (void)snprintf(f->path[i], sizeof f->path[i], "%s/test_seals.XXXXXX", tmp ? tmp : "/tmp");
        f->fd[i] = mkostemp(f->path[i], O_APPEND | O_CLOEXEC);
        assert_true(f->fd[i] >= 0);
    }
    (void)snprintf(f->chain, sizeof f->chain, "%s.c", f->path[0]);
    memset(f->key, 0x42, sizeof f->key);
    record_chain_begin(f->key, &c);
    write_chain(f, &c);
    buf_init(&f->said, 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct files *f = *state;

    for (unsigned i = 0; i < 2; i++) {
        (void)unlink(f->path[i]);
        (void)close(f->fd[i]);
    }
    (void)unlink(f->chain);
    buf_done(&f->said);
    free(f);
    return 0;
}

static struct record_sealer *new_sealer(const struct files *f)
{
    int fd = open(f->chain, O_RDWR | O_CLOEXEC);
    struct record_sealer *s = NULL;

    assert_true(fd >= 0);
    assert_int_equal(record_sealer_new(fd, &s), OK);
    return s;
}

static off_t size_of(int fd)
{
    struct stat st;

    assert_int_equal(fstat(fd, &st), 0);
    return st.st_size;
}

static void fill(const struct files *f, struct span text)
{
    assert_int_equal(ftruncate(f->fd[0], 0), 0);
    assert_int_equal(write(f->fd[0], text.p, text.n), text.n);
}

/* ---- verifying ---- */

static void on_say(void *arg, enum verify_kind kind, const char *name, uint64_t line,
                   const char *text)
{
    struct files *f = arg;

    (void)name;
    buf_fmt(&f->said, "%c %llu: %s\n", kind == VERIFY_FAULT ? 'F' : 'N', (unsigned long long)line,
            text);
}

static void verify_fds(struct files *f, const struct record_chain *chain, const int *fds,
                       unsigned n)
{
    const struct record_verify_settings set = {
        .key = f->key, .state = chain, .steps_max = STEPS, .say = on_say, .arg = f};
    struct record_verify_file files[3];
    const struct record_verify_file *file;
    struct record_verify_counts one;
    struct record_verify *v;
    int errnum;

    buf_reset(&f->said);
    for (unsigned i = 0; i < n; i++)
        files[i] = (struct record_verify_file){"f", fds[i], (uint64_t)size_of(fds[i])};
    assert_int_equal(record_verify_new(&set, files, n, &v), OK);
    for (unsigned i = 0; i < n; i++) {
        assert_int_equal(record_verify_next(v, &file, &one, &errnum), OK);
        assert_ptr_equal(file, &files[i]);
    }
    assert_int_equal(record_verify_next(v, &file, &one, &errnum), ERR_EOF);
    assert_int_equal(record_verify_end(v, &f->counts), OK);
    record_verify_free(v);
}

/* Both files, with the state. */
static void verify(struct files *f)
{
    const struct record_chain c = read_chain(f);

    verify_fds(f, &c, f->fd, 2);
}

static void assert_said(struct files *f, const char *want)
{
    if (!strstr(buf_cstr(&f->said), want))
        print_error("lacks '%s':\n%s", want, buf_cstr(&f->said));
    assert_non_null(strstr(buf_cstr(&f->said), want));
}

static void assert_good(struct files *f)
{
    assert_string_equal(buf_cstr(&f->said), "");
    assert_int_equal(f->counts.faults, 0);
}

#endif
