/* SPDX-License-Identifier: Apache-2.0 */
/* Records as they come: whole lines only, and over every kind of rotation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/record_find.h"
#include "cli/record_follow.h"

struct fixture {
    char dir[40], path[64], old[64];
    struct record_follow *f;
    int fd;
};

static int open_new(const struct fixture *x)
{
    int fd = open(x->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    return fd;
}

static int setup(void **state)
{
    struct fixture *x = calloc(1, sizeof *x);
    int errnum;

    (void)span_copy(SPAN("/tmp/test_record_follow-XXXXXX"), x->dir, sizeof x->dir);
    assert_non_null(mkdtemp(x->dir));
    (void)snprintf(x->path, sizeof x->path, "%s/records", x->dir);
    (void)snprintf(x->old, sizeof x->old, "%s/records.1", x->dir);
    x->fd = open_new(x);
    assert_int_equal(record_follow_open(x->path, &x->f, &errnum), OK);
    *state = x;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *x = *state;

    record_follow_close(x->f);
    (void)close(x->fd);
    (void)unlink(x->path);
    (void)unlink(x->old);
    (void)rmdir(x->dir);
    free(x);
    return 0;
}

static void put(int fd, const char *text)
{
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

static void expect(struct fixture *x, const char *line)
{
    struct span got;
    int errnum;

    assert_int_equal(record_follow_next(x->f, &got, &errnum), OK);
    assert_int_equal(got.n, strlen(line));
    assert_memory_equal(got.p, line, got.n);
}

static void expect_none(struct fixture *x)
{
    struct span got;
    int errnum;

    assert_int_equal(record_follow_next(x->f, &got, &errnum), ERR_AGAIN);
}

static void test_lines_as_they_come(void **state)
{
    struct fixture *x = *state;

    expect_none(x);
    put(x->fd, "one\ntwo\nthr");
    expect(x, "one");
    expect(x, "two");
    expect_none(x);
    put(x->fd, "ee\n\n");
    expect(x, "three");
    expect(x, "");
    expect_none(x);
}

static void test_rotation(void **state)
{
    struct fixture *x = *state;
    int fresh;

    put(x->fd, "one\n");
    expect(x, "one");
    assert_int_equal(rename(x->path, x->old), 0);
    expect_none(x); /* there is nothing at the path */
    put(x->fd, "two\n");
    expect(x, "two");
    fresh = open_new(x);
    put(x->fd, "three\n"); /* the writer has not heard of it yet */
    expect(x, "three");
    expect_none(x);
    put(x->fd, "four\n");
    put(fresh, "five\n");
    expect(x, "four");
    expect(x, "five");
    expect_none(x);
    put(fresh, "six\n");
    expect(x, "six");
    (void)close(fresh);
}

static void test_half_a_line_ends_with_its_file(void **state)
{
    struct fixture *x = *state;
    int fresh;

    put(x->fd, "one\nhal");
    assert_int_equal(rename(x->path, x->old), 0);
    fresh = open_new(x);
    put(fresh, "two\n");
    expect(x, "one");
    expect(x, "two");
    (void)close(fresh);
}

static void test_cut_short(void **state)
{
    struct fixture *x = *state;

    put(x->fd, "one\ntwo\n");
    expect(x, "one");
    expect(x, "two");
    assert_int_equal(ftruncate(x->fd, 0), 0);
    expect_none(x);
    put(x->fd, "three\n");
    expect(x, "three");
}

static void test_what_is_no_record(void **state)
{
    struct fixture *x = *state;
    size_t n = 2u * RECORD_FIND_LINE_MAX;
    char *line = malloc(n + 2);

    assert_non_null(line);
    memset(line, 'x', n);
    line[n] = '\n';
    line[n + 1] = '\0';
    put(x->fd, "one\n");
    put(x->fd, line);
    put(x->fd, "two\n");
    expect(x, "one");
    expect(x, "two");
    expect_none(x);
    free(line);
}

static void test_pipe(void **state)
{
    struct fixture x = {.fd = -1};
    int fds[2], errnum;

    (void)state;
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    (void)snprintf(x.path, sizeof x.path, "/proc/self/fd/%d", fds[0]);
    put(fds[1], "one\ntwo\n");
    assert_int_equal(record_follow_open(x.path, &x.f, &errnum), OK);
    (void)close(fds[1]);
    expect(&x, "one");
    expect(&x, "two");
    expect_none(&x);
    expect_none(&x);
    record_follow_close(x.f);
    (void)close(fds[0]);
}

static void test_cannot_be_read(void **state)
{
    struct record_follow *f;
    struct span line;
    int errnum;

    (void)state;
    assert_int_equal(record_follow_open("/nonexistent/r", &f, &errnum), ERR_IO);
    assert_int_equal(errnum, ENOENT);
    assert_int_equal(record_follow_open("/tmp", &f, &errnum), OK);
    assert_int_equal(record_follow_next(f, &line, &errnum), ERR_IO);
    assert_int_equal(errnum, EISDIR);
    record_follow_close(f);
    record_follow_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_lines_as_they_come, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rotation, setup, teardown),
        cmocka_unit_test_setup_teardown(test_half_a_line_ends_with_its_file, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cut_short, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_no_record, setup, teardown),
        cmocka_unit_test(test_pipe),
        cmocka_unit_test(test_cannot_be_read),
    };

    return cmocka_run_group_tests_name("record_follow", tests, NULL, NULL);
}
