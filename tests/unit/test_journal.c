/* SPDX-License-Identifier: Apache-2.0 */
/* The journal: whole lines or nothing, also where the room runs out in the middle of one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "proc/generation_text.h"
#include "proc/journal.h"

struct fixture {
    char path[32];
    struct journal j;
    struct buf why;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    (void)span_copy(SPAN("/tmp/test_journal-XXXXXX"), f->path, sizeof f->path);
    int fd = mkstemp(f->path);

    assert_true(fd >= 0);
    assert_int_equal(fcntl(fd, F_SETFL, O_APPEND), 0);
    journal_init(&f->j, fd);
    buf_init(&f->why, 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    journal_done(&f->j);
    buf_done(&f->why);
    (void)unlink(f->path);
    free(f);
    return 0;
}

static void expect(struct fixture *f, const char *want)
{
    struct span text = SPAN_NONE;

    assert_int_equal(journal_read(&f->j, &text), OK);
    assert_string_equal(text.p, want);
    text_free(&text);
}

/* What is in it before, not through this object. */
static void put(struct fixture *f, const char *text)
{
    assert_int_equal(write(f->j.fd, text, strlen(text)), strlen(text));
}

static void appends(void **state)
{
    struct fixture *f = *state;

    expect(f, "");
    assert_int_equal(journal_append(&f->j, SPAN("a\n"), &f->why), OK);
    assert_false(journal_has_grown(&f->j));
    assert_int_equal(journal_append(&f->j, SPAN("b\nc\n"), &f->why), OK);
    assert_false(journal_has_grown(&f->j));
    put(f, "d\n");
    assert_true(journal_has_grown(&f->j));
    expect(f, "a\nb\nc\nd\n");
    assert_false(journal_has_grown(&f->j));
}

static void after_a_line_that_was_cut(void **state)
{
    struct fixture *f = *state;

    put(f, "a\n{\"op\":");
    expect(f, "a\n{\"op\":");
    assert_int_equal(journal_append(&f->j, SPAN("b\n"), &f->why), OK);
    assert_false(journal_has_grown(&f->j));
    expect(f, "a\n{\"op\":\nb\n");
}

/* Room for half a line: as on a disk that is full. */
static void no_room(void **state)
{
    struct fixture *f = *state;
    struct rlimit old, small = {.rlim_cur = 5};

    put(f, "a\n");
    expect(f, "a\n");
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small.rlim_max = old.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    enum err e = journal_append(&f->j, SPAN("0123456789\n"), &f->why);

    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_not_equal(e, OK);
    assert_non_null(strstr(buf_cstr(&f->why), "nothing was changed"));
    assert_false(journal_has_grown(&f->j));
    expect(f, "a\n");
    assert_int_equal(journal_append(&f->j, SPAN("b\n"), &f->why), OK);
    expect(f, "a\nb\n");
}

static void without_a_file(void **state)
{
    struct fixture *f = *state;
    struct journal none;
    struct span text;

    journal_init(&none, -1);
    assert_int_equal(journal_read(&none, &text), ERR_MISSING);
    assert_false(journal_has_grown(&none));
    assert_int_equal(journal_append(&none, SPAN("a\n"), &f->why), ERR_MISSING);
    assert_true(f->why.n > 0);
    journal_done(&none);
}

static void not_for_ever(void **state)
{
    struct fixture *f = *state;

    f->j.size = JOURNAL_MAX;
    assert_int_equal(journal_append(&f->j, SPAN("a\n"), &f->why), ERR_LIMIT);
    f->j.size = 0;
    expect(f, "");
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(appends, setup, teardown),
        cmocka_unit_test_setup_teardown(after_a_line_that_was_cut, setup, teardown),
        cmocka_unit_test_setup_teardown(no_room, setup, teardown),
        cmocka_unit_test_setup_teardown(without_a_file, setup, teardown),
        cmocka_unit_test_setup_teardown(not_for_ever, setup, teardown),
    };

    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests_name("journal", tests, NULL, NULL);
}
