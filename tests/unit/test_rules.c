/* SPDX-License-Identifier: Apache-2.0 */
/* test_rules.c - loading YARA rules: which files are taken, and what is said about the others. What
 * the rules find is tests/e2e/test_worker_rules.py's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <stdio.h>
#include <unistd.h>

#include "worker/yara_rules.h"

#define FILES_MAX 3

static char directory[] = "/tmp/sallyport-rules-XXXXXX";

struct row {
    const char *name;
    const char *contents[FILES_MAX];
    enum err err;
    size_t n_rules;
    const char *errors; /* '@' stands for the directory; NULL: any */
};

/* clang-format off */
static const struct row rows[] = {
    {"one rule", {"rule a { condition: true }"}, OK, 1, ""},
    {"one name in two files",
     {"rule a { condition: true }", "rule a { condition: false }"}, OK, 2, ""},
    {"variables",
     {"rule a { condition: filename == \"x\" and declared_type contains \"y\" and "
      "extension == \"\" and filepath == \"\" and filetype == \"\" and owner == \"\" }"},
     OK, 1, ""},
    {"actions",
     {"rule a { meta: action = \"note\" condition: true }\n"
      "rule b { meta: action = \"block\" condition: true }"},
     OK, 2, ""},
    {"a warning is no error", {"rule a { strings: $a = \"x\" condition: $a }"}, OK, 1, ""},
    {"syntax", {"rule a {\n\n condition true }"}, ERR_CONFIG, 0, NULL},
    {"undefined", {"\nrule a { condition: b }"}, ERR_CONFIG, 0,
     "@/0.yar:2: undefined identifier \"b\"\n"},
    {"twice in one file", {"rule a { condition: true }\nrule a { condition: true }"}, ERR_CONFIG, 0,
     "@/0.yar:2: duplicated identifier \"a\"\n"},
    {"faults of every file",
     {"rule a { condition: b }", "rule c { condition: true }", "rule d { condition: e }"},
     ERR_CONFIG, 0,
     "@/0.yar:1: undefined identifier \"b\"\n@/2.yar:1: undefined identifier \"e\"\n"},
    {"no rule", {"/* nothing */"}, ERR_CONFIG, 0, "@/0.yar: holds no rule\n"},
    {"unknown action", {"rule a { meta: action = \"explode\" condition: true }"}, ERR_CONFIG, 0,
     "@/0.yar: rule a: meta action must be \"block\" or \"note\"\n"},
    {"action that is no text", {"rule a { meta: action = 1 condition: true }"}, ERR_CONFIG, 0,
     "@/0.yar: rule a: meta action must be \"block\" or \"note\"\n"},
    {"include", {"include \"/etc/passwd\""}, ERR_CONFIG, 0, "@/0.yar:1: includes are disabled\n"},
};
/* clang-format on */

struct files {
    char path[FILES_MAX][64];
    const char *list[FILES_MAX];
    size_t n;
};

static void write_files(const char *const *contents, struct files *f)
{
    *f = (struct files){.n = 0};
    for (; f->n < FILES_MAX && contents[f->n]; f->n++) {
        char *path = f->path[f->n];

        (void)snprintf(path, sizeof f->path[0], "%s/%zu.yar", directory, f->n);
        FILE *out = fopen(path, "w");

        assert_non_null(out);
        assert_true(fputs(contents[f->n], out) >= 0);
        assert_int_equal(fclose(out), 0);
        f->list[f->n] = path;
    }
}

static void assert_errors(struct buf *got, const char *expected)
{
    struct buf text;

    buf_init(&text, 0);
    for (; *expected; expected++)
        if (*expected == '@')
            buf_text(&text, directory);
        else
            buf_char(&text, *expected);
    assert_string_equal(buf_cstr(got), buf_cstr(&text));
    buf_done(&text);
}

static void test_load(void **state)
{
    const struct row *row = *state;
    struct yara_rules rules = {0};
    struct buf errors, warnings;
    struct files files;

    write_files(row->contents, &files);
    buf_init(&errors, 0);
    buf_init(&warnings, 0);
    assert_int_equal(yara_rules_load(files.list, files.n, &rules, &errors, &warnings), row->err);
    if (row->errors)
        assert_errors(&errors, row->errors);
    assert_int_equal(rules.n_rules, row->n_rules);
    assert_int_equal(rules.compiled != NULL, row->err == OK);
    assert_int_equal(strlen(rules.digest), row->err == OK ? YARA_DIGEST_TEXT : 0);
    yara_rules_done(&rules);
    buf_done(&errors);
    buf_done(&warnings);
}

/* --- files that are none, and digests --- */

static enum err load(const char *const *list, size_t n, char ret_digest[YARA_DIGEST_TEXT + 1],
                     struct buf *errors)
{
    struct yara_rules rules = {0};
    struct buf warnings;
    enum err e;

    buf_init(&warnings, 0);
    e = yara_rules_load(list, n, &rules, errors, &warnings);
    memcpy(ret_digest, rules.digest, sizeof rules.digest);
    yara_rules_done(&rules);
    buf_done(&warnings);
    return e;
}

static void test_no_file(void **state)
{
    const char *list[] = {"/nowhere/a.yar", directory, "/dev/zero"};
    char digest[YARA_DIGEST_TEXT + 1];
    struct buf errors;

    (void)state;
    buf_init(&errors, 0);
    assert_int_equal(load(list, 3, digest, &errors), ERR_CONFIG);
    assert_errors(&errors, "/nowhere/a.yar: No such file or directory\n"
                           "@: not a regular file\n"
                           "/dev/zero: not a regular file\n");
    assert_int_equal(load(NULL, 0, digest, &errors), ERR_CONFIG);
    buf_done(&errors);
}

static void test_nul_in_file(void **state)
{
    static const char contents[] = "rule a { condition: true }\0rule b { condition: nothing }";
    char path[64], digest[YARA_DIGEST_TEXT + 1];
    const char *list[] = {path};
    struct buf errors;

    (void)state;
    (void)snprintf(path, sizeof path, "%s/0.yar", directory);
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    assert_int_equal(fwrite(contents, 1, sizeof contents, f), sizeof contents);
    assert_int_equal(fclose(f), 0);
    buf_init(&errors, 0);
    assert_int_equal(load(list, 1, digest, &errors), ERR_CONFIG);
    assert_errors(&errors, "@/0.yar: holds a NUL byte\n");
    buf_done(&errors);
}

static void test_few_faults_of_one_file(void **state)
{
    static const char *contents[FILES_MAX] = {
        "rule a { condition: x }\nrule b { condition: x }\nrule c { condition: x }\n"
        "rule d { condition: x }\nrule e { condition: x }\nrule f { condition: x }\n"
        "rule g { condition: x }\nrule h { condition: x }\nrule i { condition: x }\n"
        "rule j { condition: x }\n"};
    char digest[YARA_DIGEST_TEXT + 1];
    struct files files;
    struct buf errors;
    size_t lines = 0;

    (void)state;
    write_files(contents, &files);
    buf_init(&errors, 0);
    assert_int_equal(load(files.list, 1, digest, &errors), ERR_CONFIG);
    for (size_t i = 0; i < errors.n; i++)
        lines += errors.p[i] == '\n';
    assert_int_equal(lines, 8);
    buf_done(&errors);
}

/* Contents and their order count, names do not. */
static void test_digest(void **state)
{
    static const char *const a[FILES_MAX] = {"rule a { condition: true }",
                                             "rule b { condition: true }"};
    static const char *const swapped[FILES_MAX] = {"rule b { condition: true }",
                                                   "rule a { condition: true }"};
    char one[YARA_DIGEST_TEXT + 1], two[YARA_DIGEST_TEXT + 1], three[YARA_DIGEST_TEXT + 1];
    struct files files;
    struct buf errors;

    (void)state;
    buf_init(&errors, 0);
    write_files(a, &files);
    assert_int_equal(load(files.list, 2, one, &errors), OK);
    const char *turned[] = {files.list[1], files.list[0]};

    assert_int_equal(load(turned, 2, two, &errors), OK);
    assert_string_not_equal(one, two);
    write_files(swapped, &files);
    assert_int_equal(load(files.list, 2, three, &errors), OK);
    assert_string_equal(two, three);
    buf_done(&errors);
}

static int make_directory(void **state)
{
    (void)state;
    return mkdtemp(directory) ? 0 : -1;
}

static int remove_directory(void **state)
{
    char path[64];

    (void)state;
    for (unsigned i = 0; i < FILES_MAX; i++) {
        (void)snprintf(path, sizeof path, "%s/%u.yar", directory, i);
        (void)unlink(path);
    }
    return rmdir(directory);
}

#define ROWS ARRAY_LEN(rows)

int main(void)
{
    static struct row copies[ROWS]; /* cmocka's state is not const */
    struct CMUnitTest tests[ROWS + 4];
    const struct CMUnitTest others[] = {
        cmocka_unit_test(test_no_file),
        cmocka_unit_test(test_nul_in_file),
        cmocka_unit_test(test_few_faults_of_one_file),
        cmocka_unit_test(test_digest),
    };

    memcpy(copies, rows, sizeof rows);
    for (size_t i = 0; i < ROWS; i++)
        tests[i] = (struct CMUnitTest){rows[i].name, test_load, NULL, NULL, &copies[i]};
    memcpy(tests + ROWS, others, sizeof others);
    return cmocka_run_group_tests_name("rules", tests, make_directory, remove_directory);
}
