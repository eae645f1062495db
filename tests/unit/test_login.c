/* SPDX-License-Identifier: Apache-2.0 */
/* In whose name a server is asked: users in URLs, passwords in files and in the environment. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/cli.h"
#include "cli/login.h"

/* ---- the user ---- */

#define MANY16  "0123456789abcdef"
#define MANY128 MANY16 MANY16 MANY16 MANY16 MANY16 MANY16 MANY16 MANY16

/* clang-format off */
static const struct url_row {
    const char *url;
    const char *user, *rest; /* NULL: refused */
} urls[] = {
    {"icaps://gw.example/inspect", "", "icaps://gw.example/inspect"},
    {"icaps://me@gw.example/inspect", "me", "icaps://gw.example/inspect"},
    {"icap://me@127.0.0.1:1344", "me", "icap://127.0.0.1:1344"},
    {"icaps://me@[::1]:11344/x?y", "me", "icaps://[::1]:11344/x?y"},
    {"icaps://m%40example.org@gw/x", "m@example.org", "icaps://gw/x"},
    {"icaps://%c3%BCber@gw/x", "\xc3\xbc" "ber", "icaps://gw/x"},
    {"icaps://" MANY128 "@gw/x", MANY128, "icaps://gw/x"},
    /* An @ behind the authority is none of it. */
    {"icaps://gw/a@b", "", "icaps://gw/a@b"},
    {"icaps://gw?a@b", "", "icaps://gw?a@b"},
    {"icaps://me@gw/a@b:c", "me", "icaps://gw/a@b:c"},
    /* Whatever this is, it has no user. */
    {"", "", ""},
    {"gw", "", "gw"},
    {"me@gw", "", "me@gw"},
    {"://", "", "://"},
    /* passwords */
    {"icaps://me:secret@gw/x", NULL, NULL},
    {"icaps://me:@gw/x", NULL, NULL},
    {"icaps://:secret@gw/x", NULL, NULL},
    {"icaps://me:sec@ret@gw/x", NULL, NULL},
    /* no names */
    {"icaps://@gw/x", NULL, NULL},
    {"icaps://me%3Asecret@gw/x", NULL, NULL},
    {"icaps://me%00@gw/x", NULL, NULL},
    {"icaps://me%0a@gw/x", NULL, NULL},
    {"icaps://me%7f@gw/x", NULL, NULL},
    {"icaps://me%ff@gw/x", NULL, NULL},
    {"icaps://me%@gw/x", NULL, NULL},
    {"icaps://me%4@gw/x", NULL, NULL},
    {"icaps://me%4g@gw/x", NULL, NULL},
    {"icaps://" MANY128 "x@gw/x", NULL, NULL},
    {"icaps://a b@gw/x", NULL, NULL},
    {"icaps://a#b@gw/x", NULL, NULL},
    {"icaps://a\\b@gw/x", NULL, NULL},
    {"icaps://\xc3\xbc" "ber@gw/x", NULL, NULL},
    /* The host must be the same for whoever reads on. */
    {"icaps://me@evil@gw/x", NULL, NULL},
    {"icaps://me@@gw/x", NULL, NULL},
};
/* clang-format on */

static void test_url(void **state)
{
    const struct url_row *row = *state;
    struct login l;
    struct buf rest;
    const char *why = NULL;

    login_init(&l);
    buf_init(&rest, 0);
    assert_int_equal(login_take_user(&l, row->url, &rest, &why), row->user != NULL);
    if (row->user) {
        assert_null(why);
        assert_string_equal(buf_cstr(&rest), row->rest);
        assert_string_equal(l.user, row->user);
    } else {
        assert_non_null(why);
        assert_null(strstr(why, "ret@"));
        assert_string_equal(l.user, "");
        assert_int_equal(rest.n, 0);
    }
    buf_done(&rest);
}

/* ---- the password ---- */

/* clang-format off */
static const struct file_row {
    const char *name;
    const char *text;
    size_t n;         /* of it; 0: strlen */
    mode_t mode;      /* 0: 0600 */
    const char *value; /* NULL: refused */
} files[] = {
    {"a line", "secret\n", 0, 0, "Basic bWU6c2VjcmV0"},
    {"without an end", "secret", 0, 0, "Basic bWU6c2VjcmV0"},
    {"of another system", "secret\r\n", 0, 0, "Basic bWU6c2VjcmV0"},
    {"the first line", "secret\nanother\n", 0, 0400, "Basic bWU6c2VjcmV0"},
    {"blanks belong to it", " a b \n", 0, 0, "Basic bWU6IGEgYiA="},
    {"a colon", "a:b\n", 0, 0, "Basic bWU6YTpi"},
    {"UTF-8", "\xc3\xa4\n", 0, 0, "Basic bWU6w6Q="},
    {"empty", "", 0, 0, NULL},
    {"an empty line", "\nsecret\n", 0, 0, NULL},
    {"a control character", "sec\tret\n", 0, 0, NULL},
    {"NUL", "sec\0ret\n", 8, 0, NULL},
    {"not UTF-8", "\xe4\n", 0, 0, NULL},
    {"others may read it", "secret\n", 0, 0604, NULL},
    {"its group may read it", "secret\n", 0, 0640, NULL},
    {"others may write it", "secret\n", 0, 0602, NULL},
};
/* clang-format on */

static void make_file(char path[32], const char *text, size_t n, mode_t mode)
{
    int fd;

    (void)span_copy(SPAN("/tmp/login-XXXXXX"), path, 32);
    fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, n), (ssize_t)n);
    assert_int_equal(fchmod(fd, mode), 0);
    (void)close(fd);
}

static bool has_bytes(const void *p, size_t n, const char *text)
{
    return memmem(p, n, text, strlen(text)) != NULL;
}

static void test_file(void **state)
{
    const struct file_row *row = *state;
    struct login l;
    char path[32];

    make_file(path, row->text, row->n ? row->n : strlen(row->text), row->mode ? row->mode : 0600);
    login_init(&l);
    (void)span_copy(SPAN("me"), l.user, sizeof l.user);
    assert_int_equal(login_read(&l, "scan", path, "gw"), row->value ? EXIT_FINE : EXIT_USAGE);
    assert_string_equal(l.value, row->value ? row->value : "");
    assert_false(has_bytes(&l, sizeof l, "sec"));
    login_wipe(&l);
    assert_false(has_bytes(&l, sizeof l, "Basic"));
    (void)unlink(path);
}

/* For schemes that send something else than the password. */
static void test_password_itself(void **state)
{
    struct login l;
    char path[32];

    (void)state;
    make_file(path, "secret\n", 7, 0600);
    login_init(&l);
    (void)span_copy(SPAN("me"), l.user, sizeof l.user);
    assert_int_equal(login_password(&l, "print", path, "gw"), EXIT_FINE);
    assert_string_equal(l.password, "secret");
    assert_string_equal(l.value, "");
    login_wipe(&l);
    assert_false(has_bytes(&l, sizeof l, "sec"));
    (void)span_copy(SPAN("me"), l.user, sizeof l.user);
    assert_int_equal(chmod(path, 0644), 0);
    assert_int_equal(login_password(&l, "print", path, "gw"), EXIT_USAGE);
    assert_false(has_bytes(&l, sizeof l, "sec"));
    (void)unlink(path);
}

static void test_longest(void **state)
{
    char text[LOGIN_PASSWORD_MAX + 3], path[32];
    struct login l;

    (void)state;
    memset(text, 'x', sizeof text);
    for (unsigned more = 0; more < 2; more++) {
        text[LOGIN_PASSWORD_MAX + more] = '\n';
        make_file(path, text, LOGIN_PASSWORD_MAX + more + 1, 0600);
        text[LOGIN_PASSWORD_MAX + more] = 'x';
        login_init(&l);
        (void)snprintf(l.user, sizeof l.user, "%s", MANY128);
        assert_int_equal(login_read(&l, "scan", path, "gw"), more ? EXIT_USAGE : EXIT_FINE);
        /* 4 letters for 3 bytes of user, colon, password. */
        assert_int_equal(strlen(l.value),
                         more ? 0 : 6 + (128 + 1 + LOGIN_PASSWORD_MAX + 2) / 3 * 4);
        (void)unlink(path);
    }
}

static void test_no_file(void **state)
{
    struct login l;

    (void)state;
    login_init(&l);
    assert_int_equal(login_read(&l, "scan", "/nothing", "gw"), EXIT_USAGE);
    assert_int_equal(login_read(&l, "scan", "/", "gw"), EXIT_USAGE);
}

static void test_environment(void **state)
{
    struct login l;
    char path[32];

    (void)state;
    assert_int_equal(setenv(LOGIN_VARIABLE, "secret", 1), 0);
    const char *was = getenv(LOGIN_VARIABLE);

    login_init(&l);
    assert_null(getenv(LOGIN_VARIABLE));
    assert_int_equal(was[0], '\0');
    (void)span_copy(SPAN("me"), l.user, sizeof l.user);
    assert_int_equal(login_read(&l, "scan", NULL, "gw"), EXIT_FINE);
    assert_string_equal(l.value, "Basic bWU6c2VjcmV0");
    /* A file was named, so it is the file's. */
    assert_int_equal(setenv(LOGIN_VARIABLE, "secret", 1), 0);
    make_file(path, "a:b", 3, 0600);
    login_init(&l);
    (void)span_copy(SPAN("me"), l.user, sizeof l.user);
    assert_int_equal(login_read(&l, "scan", path, "gw"), EXIT_FINE);
    assert_string_equal(l.value, "Basic bWU6YTpi");
    (void)unlink(path);
}

static void test_environment_that_cannot_be_used(void **state)
{
    char text[2 * LOGIN_PASSWORD_MAX];
    struct login l;

    (void)state;
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\0';
    assert_int_equal(setenv(LOGIN_VARIABLE, text, 1), 0);
    login_init(&l);
    (void)span_copy(SPAN("me"), l.user, sizeof l.user);
    assert_int_equal(login_read(&l, "scan", NULL, "gw"), EXIT_USAGE);
    assert_string_equal(l.value, "");
}

#define ROWS(table, fn, field)                                             \
    for (size_t i = 0; i < ARRAY_LEN(table); i++)                          \
        tests[n++] = (struct CMUnitTest){(table)[i].field, fn, NULL, NULL, \
                                         (void *)(uintptr_t) & (table)[i]};

int main(void)
{
    struct CMUnitTest tests[ARRAY_LEN(urls) + ARRAY_LEN(files) + 5];
    size_t n = 0;

    ROWS(urls, test_url, url)
    ROWS(files, test_file, name)
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_password_itself);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_longest);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_no_file);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_environment);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_environment_that_cannot_be_used);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
