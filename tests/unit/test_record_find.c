/* SPDX-License-Identifier: Apache-2.0 */
/* One record out of many: wherever it stands, however the blocks cut it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/record_find.h"

struct fixture {
    char path[40];
    int fd;
    struct buf text, line;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    (void)span_copy(SPAN("/tmp/test_record_find-XXXXXX"), f->path, sizeof f->path);
    f->fd = mkstemp(f->path);
    assert_true(f->fd >= 0);
    buf_init(&f->text, 0);
    buf_init(&f->line, 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    buf_done(&f->text);
    buf_done(&f->line);
    (void)close(f->fd);
    (void)unlink(f->path);
    free(f);
    return 0;
}

/* Writes what was gathered in |text| and asks for |id|; the line is in |line|. */
static enum err find(struct fixture *f, const char *id)
{
    int errnum;

    assert_int_equal(ftruncate(f->fd, 0), 0);
    assert_int_equal(pwrite(f->fd, f->text.p, f->text.n, 0), (ssize_t)f->text.n);
    buf_reset(&f->line);
    return record_find(f->path, id, &f->line, &errnum);
}

static void add(struct fixture *f, const char *id, unsigned filler)
{
    buf_fmt(&f->text, "{\"time\":\"t\",\"id\":\"%s\",\"x\":\"%0*d\"}\n", id, (int)filler, 7);
}

struct row {
    const char *name, *text, *id;
    const char *want; /* NULL: there is none */
};

static const struct row rows[] = {
    {"empty file",         "",                                                 "a",  NULL            },
    {"only one",           "{\"id\":\"a\"}\n",                                 "a",  "{\"id\":\"a\"}"},
    {"no last LF",         "{\"id\":\"b\"}\n{\"id\":\"a\"}",                   "a",  "{\"id\":\"a\"}"},
    {"first of three",     "{\"id\":\"a\"}\n{\"id\":\"b\"}\n{\"id\":\"c\"}\n", "a",  "{\"id\":\"a\"}"},
    {"the last one",       "{\"id\":\"a\",\"n\":1}\n{\"id\":\"a\",\"n\":2}\n", "a",
     "{\"id\":\"a\",\"n\":2}"                                                                        },
    {"longer id",          "{\"id\":\"ab\"}\n",                                "a",  NULL            },
    {"in another text",    "{\"id\":\"b\",\"why\":{\"id\":\"a\"}}\n",          "a",  NULL            },
    {"a line that is cut", "{\"id\":\"a\"}\n{\"id\":\"a\",\n",                 "a",  "{\"id\":\"a\"}"},
    {"empty lines",        "\n\n{\"id\":\"a\"}\n\n\n",                         "a",  "{\"id\":\"a\"}"},
    {"no such id",         "{\"id\":\"a\"}\n",                                 "b",  NULL            },
    {"no id at all",       "{\"id\":\"a\"}\n",                                 "",   NULL            },
    {"a hostile id",       "{\"id\":\"a\"}\n",                                 "\"", NULL            },
};

static void small_files(void **state)
{
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        buf_reset(&f->text);
        buf_text(&f->text, rows[i].text);
        enum err e = find(f, rows[i].id);

        if (e != (rows[i].want ? OK : ERR_MISSING) ||
            (rows[i].want && strcmp(buf_cstr(&f->line), rows[i].want) != 0))
            fail_msg("%s: %s, '%s'", rows[i].name, err_text(e), buf_cstr(&f->line));
    }
}

/* Every place of a block's edge within the line. */
static void across_blocks(void **state)
{
    struct fixture *f = *state;

    for (unsigned shift = 0; shift < 60; shift++) {
        buf_reset(&f->text);
        add(f, "first", 5);
        add(f, "wanted", 5);
        add(f, "filler", 65536 - 40 + shift);
        assert_int_equal(find(f, "wanted"), OK);
        assert_true(span_starts(buf_span(&f->line), SPAN("{\"time\":\"t\",\"id\":\"wanted\"")));
        assert_true(span_ends(buf_span(&f->line), SPAN("\"}")));
        assert_int_equal(find(f, "first"), OK);
    }
}

static void long_lines(void **state)
{
    struct fixture *f = *state;

    add(f, "before", 5);
    add(f, "large", 200000); /* several blocks */
    add(f, "huge", RECORD_FIND_LINE_MAX + 200000);
    add(f, "after", 5);
    assert_int_equal(find(f, "after"), OK);
    assert_int_equal(find(f, "huge"), ERR_MISSING); /* no record of ours */
    assert_int_equal(find(f, "large"), OK);
    assert_true(f->line.n > 200000);
    assert_int_equal(find(f, "before"), OK);
    assert_int_equal(find(f, "nothing"), ERR_MISSING);
}

static void many(void **state)
{
    struct fixture *f = *state;
    char id[16];

    for (unsigned i = 0; i < 20000; i++) {
        (void)snprintf(id, sizeof id, "n%u", i);
        add(f, id, i % 90);
    }
    for (unsigned i = 0; i < 20000; i += 1999) {
        (void)snprintf(id, sizeof id, "n%u", i);
        assert_int_equal(find(f, id), OK);
        assert_non_null(strstr(buf_cstr(&f->line), id));
    }
}

static void no_file(void **state)
{
    struct fixture *f = *state;
    int errnum = 0;

    assert_int_equal(record_find("/nonexistent/r", "a", &f->line, &errnum), ERR_IO);
    assert_int_equal(errnum, ENOENT);
    assert_int_equal(record_find("/tmp", "a", &f->line, &errnum), ERR_IO);
    assert_int_equal(errnum, EISDIR);
}

static void ids(void **state)
{
    (void)state;
    assert_true(record_id_is_valid("01abcdefghjkmnpqrstv"));
    assert_false(record_id_is_valid(""));
    assert_false(record_id_is_valid("a b"));
    assert_false(record_id_is_valid("a\"b"));
    assert_false(record_id_is_valid("0123456789012345678901234567890123"));
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(small_files, setup, teardown),
        cmocka_unit_test_setup_teardown(across_blocks, setup, teardown),
        cmocka_unit_test_setup_teardown(long_lines, setup, teardown),
        cmocka_unit_test_setup_teardown(many, setup, teardown),
        cmocka_unit_test_setup_teardown(no_file, setup, teardown),
        cmocka_unit_test(ids),
    };

    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests_name("record_find", tests, NULL, NULL);
}
