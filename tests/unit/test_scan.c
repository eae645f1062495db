/* SPDX-License-Identifier: Apache-2.0 */
/* cli/scan_int.h without processes: lists of files, the file of --resume, sizes, the progress line,
 * totals and exit codes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/cli.h"
#include "cli/scan_int.h"

/* ---- --files-from ---- */

static const struct list_row {
    const char *name;
    const char *in;   /* "0" stands for NUL */
    const char *want; /* "|" stands between them */
} list_rows[] = {
    {"nothing",                       "",             ""       },
    {"lines",                         "a\nb c\n",     "a|b c|" },
    {"no LF at the end",              "a\nb",         "a|b|"   },
    {"empty lines",                   "\n\na\n\nb\n", "a|b|"   },
    {"NUL",                           "a0b0",         "a|b|"   },
    {"NUL, and LF is part of a name", "a\nb0c0",      "a\nb|c|"},
    {"no NUL at the end",             "a0b",          "a|b|"   },
    {"CR stays",                      "a\r\nb",       "a\r|b|" },
};

static void test_list(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(list_rows); i++) {
        const struct list_row *r = &list_rows[i];
        struct buf text, got;
        char **paths = NULL;
        size_t n = 0;

        print_message("%s\n", r->name);
        buf_init(&text, 0);
        buf_init(&got, 0);
        for (const char *p = r->in; *p; p++)
            buf_char(&text, *p == '0' ? '\0' : *p);
        assert_true(scan_list_split(&text, &paths, &n));
        for (size_t k = 0; k < n; k++)
            buf_fmt(&got, "%s|", paths[k]);
        assert_string_equal(buf_cstr(&got), r->want);
        assert_true(n == 0 || paths[n] == NULL);
        free(paths);
        buf_done(&text);
        buf_done(&got);
    }
}

static void test_long_list(void **state)
{
    struct buf text;
    char **paths = NULL;
    size_t n = 0;

    (void)state;
    buf_init(&text, 0);
    for (unsigned i = 0; i < 1000; i++)
        buf_fmt(&text, "%u\n", i);
    assert_true(scan_list_split(&text, &paths, &n));
    assert_int_equal(n, 1000);
    assert_string_equal(paths[999], "999");
    assert_null(paths[1000]);
    free(paths);
    buf_done(&text);
}

/* ---- --resume ---- */

struct world {
    char path[64];
    struct stat st;
};

static int set_up(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    int fd;

    assert_non_null(w);
    (void)snprintf(w->path, sizeof w->path, "/tmp/test_scan.XXXXXX");
    fd = mkstemp(w->path);
    assert_true(fd >= 0);
    (void)close(fd);
    w->st = (struct stat){
        .st_size = 5, .st_ino = 77, .st_mtim = {.tv_sec = 1000, .tv_nsec = 5}
    };
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;

    (void)unlink(w->path);
    free(w);
    return 0;
}

static void append(const struct world *w, const char *text)
{
    FILE *f = fopen(w->path, "a");

    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static struct scan_state *open_state(const struct world *w, const char *service)
{
    int code = EXIT_FINE;
    struct scan_state *s = scan_state_open(w->path, service, &code);

    assert_non_null(s);
    assert_int_equal(code, EXIT_FINE);
    return s;
}

static void remember(const struct world *w, const char *path, enum scan_verdict v)
{
    struct scan_state *s = open_state(w, "local");
    struct scan_outcome o = {.verdict = v, .reason = "why", .id = "i", .tag = "t1"};

    assert_true(scan_state_add(s, path, &w->st, &o));
    scan_state_close(s);
}

static bool knows(const struct world *w, const char *service, const char *path,
                  const struct stat *st, const char *tag, struct scan_outcome *ret)
{
    struct scan_state *s = open_state(w, service);
    bool known = scan_state_knows(s, path, st, tag, ret);

    scan_state_close(s);
    return known;
}

static void test_known(void **state)
{
    struct world *w = *state;
    struct scan_outcome o;
    struct stat other = w->st;

    remember(w, "a/b", SCAN_BLOCKED);
    assert_true(knows(w, "local", "a/b", &w->st, "t1", &o));
    assert_int_equal(o.verdict, SCAN_BLOCKED);
    assert_true(o.resumed);
    assert_string_equal(o.reason, "why");
    assert_string_equal(o.id, "i");
    assert_false(knows(w, "local", "a/c", &w->st, "t1", &o));
    assert_false(knows(w, "local", "a/b", &w->st, "t2", &o));
    assert_false(knows(w, "local", "a/b", &w->st, "", &o));
    assert_false(knows(w, "icap://x/y", "a/b", &w->st, "t1", &o));
    other.st_size++;
    assert_false(knows(w, "local", "a/b", &other, "t1", &o));
    other = w->st;
    other.st_ino++;
    assert_false(knows(w, "local", "a/b", &other, "t1", &o));
    other = w->st;
    other.st_mtim.tv_nsec++;
    assert_false(knows(w, "local", "a/b", &other, "t1", &o));
}

static void test_only_final_verdicts(void **state)
{
    struct world *w = *state;
    struct scan_outcome o;

    remember(w, "pass", SCAN_PASS);
    remember(w, "changed", SCAN_CHANGED);
    remember(w, "not", SCAN_NOT_INSPECTED);
    remember(w, "error", SCAN_ERROR);
    assert_true(knows(w, "local", "pass", &w->st, "t1", &o));
    assert_true(knows(w, "local", "changed", &w->st, "t1", &o));
    assert_false(knows(w, "local", "not", &w->st, "t1", &o));
    assert_false(knows(w, "local", "error", &w->st, "t1", &o));
    remember(w, "pass", SCAN_ERROR); /* the last line counts */
    assert_false(knows(w, "local", "pass", &w->st, "t1", &o));
}

static void test_cut_line(void **state)
{
    struct world *w = *state;
    struct scan_outcome o;

    remember(w, "a", SCAN_PASS);
    append(w, "{\"path\":\"b\",\"si");
    assert_true(knows(w, "local", "a", &w->st, "t1", &o));
    remember(w, "c", SCAN_PASS);
    assert_true(knows(w, "local", "c", &w->st, "t1", &o));
    append(w, "no JSON\n[]\n{}\n{\"path\":5,\"verdict\":\"pass\"}\n");
    assert_true(knows(w, "local", "a", &w->st, "t1", &o));
}

static void test_cut_header(void **state)
{
    struct world *w = *state;
    struct scan_outcome o;

    append(w, "{\"sallyport-sc");
    remember(w, "a", SCAN_PASS);
    assert_true(knows(w, "local", "a", &w->st, "t1", &o));
}

static void test_not_ours(void **state)
{
    struct world *w = *state;
    int code = EXIT_FINE;
    struct stat st;

    append(w, "my diary\n");
    assert_null(scan_state_open(w->path, "local", &code));
    assert_int_equal(code, EXIT_USAGE);
    assert_int_equal(stat(w->path, &st), 0);
    assert_int_equal(st.st_size, 9); /* and it is left as it was */
}

static void test_in_use(void **state)
{
    struct world *w = *state;
    struct scan_state *s = open_state(w, "local");
    int code = EXIT_FINE;
    struct stat st;

    assert_null(scan_state_open(w->path, "local", &code));
    assert_int_equal(code, EXIT_USAGE);
    assert_int_equal(stat(w->path, &st), 0);
    assert_true(scan_state_is(s, &st));
    st.st_ino++;
    assert_false(scan_state_is(s, &st));
    scan_state_close(s);
}

static void test_names_that_are_no_text(void **state)
{
    struct world *w = *state;
    struct scan_outcome o;

    remember(w, "\xff", SCAN_PASS);
    assert_false(knows(w, "local", "\xff", &w->st, "t1", &o));
    assert_false(knows(w, "local", "\xfe", &w->st, "t1", &o));
    remember(w, "a\n\"b\" \xc3\xa9", SCAN_PASS);
    assert_true(knows(w, "local", "a\n\"b\" \xc3\xa9", &w->st, "t1", &o));
}

/* ---- telling ---- */

static void test_sizes(void **state)
{
    static const struct {
        uint64_t n;
        const char *want;
    } sizes[] = {
        {0,          "0 bytes"   },
        {1,          "1 byte"    },
        {1023,       "1023 bytes"},
        {1024,       "1.0 KiB"   },
        {1535,       "1.4 KiB"   },
        {1048575,    "1023.9 KiB"},
        {1048576,    "1.0 MiB"   },
        {1610612736, "1.5 GiB"   },
        {UINT64_MAX, "15.9 EiB"  },
    };
    char text[24];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
        assert_string_equal(scan_size_text(sizes[i].n, text), sizes[i].want);
}

static void test_progress(void **state)
{
    struct scan_totals t = {.files = 3, .blocked = 1, .bytes = 2000000, .us = 1000000};
    struct buf line;

    (void)state;
    buf_init(&line, 0);
    scan_progress_text(&t, 10, true, 80, &line);
    assert_string_equal(buf_cstr(&line), "3 of 10+ files, 1 blocked, 1.9 MiB, 2.0 MB/s");
    buf_reset(&line);
    scan_progress_text(&t, 10, false, 20, &line);
    assert_string_equal(buf_cstr(&line), "3 of 10 files, 1 bl");
    buf_done(&line);
}

static void test_exit_codes(void **state)
{
    static const struct {
        enum scan_verdict verdict;
        enum err err;
        bool unreadable;
        int want; /* the worst so far */
    } outcomes[] = {
        {SCAN_PASS,          OK,          false, EXIT_FINE    },
        {SCAN_BLOCKED,       OK,          false, EXIT_REFUSED },
        {SCAN_PASS,          OK,          false, EXIT_REFUSED },
        {SCAN_ERROR,         ERR_IO,      true,  EXIT_USAGE   },
        {SCAN_ERROR,         ERR_TLS,     false, EXIT_SECURITY},
        {SCAN_NOT_INSPECTED, OK,          false, EXIT_SECURITY},
        {SCAN_ERROR,         ERR_TIMEOUT, false, EXIT_NETWORK },
    };
    struct scan_totals t = {0};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(outcomes); i++) {
        struct scan_outcome o = {.verdict = outcomes[i].verdict,
                                 .err = outcomes[i].err,
                                 .unreadable = outcomes[i].unreadable};

        scan_count(&t, &o);
        assert_int_equal(t.worst, outcomes[i].want);
    }
    assert_int_equal(t.files, 7);
    assert_int_equal(t.passed, 2);
    assert_int_equal(t.blocked, 1);
    assert_int_equal(t.not_inspected, 1);
    assert_int_equal(t.failed, 3);
}

static void test_words(void **state)
{
    enum scan_verdict v;

    (void)state;
    for (unsigned i = SCAN_PASS; i <= SCAN_ERROR; i++) {
        assert_true(scan_verdict_parse(scan_verdict_word((enum scan_verdict)i), &v));
        assert_int_equal(v, i);
    }
    assert_false(scan_verdict_parse("fine", &v));
    assert_false(scan_verdict_parse(NULL, &v));
}

#define WITH_WORLD(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_long_list),
        WITH_WORLD(test_known),
        WITH_WORLD(test_only_final_verdicts),
        WITH_WORLD(test_cut_line),
        WITH_WORLD(test_cut_header),
        WITH_WORLD(test_not_ours),
        WITH_WORLD(test_in_use),
        WITH_WORLD(test_names_that_are_no_text),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_progress),
        cmocka_unit_test(test_exit_codes),
        cmocka_unit_test(test_words),
    };

    return cmocka_run_group_tests_name("scan", tests, NULL, NULL);
}
