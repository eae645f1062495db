/* SPDX-License-Identifier: Apache-2.0 */
/* test_unpack_multipart.c - multipart bodies: what their leaves are, and which bodies are refused
 * because two recipients would find different leaves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "worker/multipart.h"

#define FORM                "multipart/form-data; boundary=B"
#define PARTS_MAX           20000u
#define CD                  "Content-Disposition: form-data; name="
#define PART(head, content) "--B\r\n" head "\r\n\r\n" content "\r\n"
#define END                 "--B--\r\n"

/* clang-format off */
/* --- bodies that are split --- */

struct want {
    const char *kind; /* "file" or "field"; NULL: no more leaves */
    const char *field, *file, *type, *content;
};

#define BODY(literal) literal, sizeof(literal) - 1

static const struct {
    const char *name;
    const char *type;
    const char *body;
    size_t n;
    struct want want[4];
} legal[] = {
    {"a form", FORM, BODY(PART(CD "\"a\"", "1") PART(CD "\"b\"; filename=\"x.exe\"\r\nContent-Type: "
                                                        "Application/X-DosExec; v=1",
                                                     "MZ\0\r\n") END),
     {{"field", "a", "", "", "1"}, {"file", "b", "x.exe", "application/x-dosexec", "MZ"}}},
    {"no parts", FORM, BODY("--B--"), {{.kind = NULL}}},
    {"no last CRLF", FORM, BODY(PART(CD "a", "1") "--B--"), {{"field", "a", "", "", "1"}}},
    {"white space around", FORM, BODY("\r\n\r\n" PART(CD "a", "1") "--B--\r\n \t\r\n\r\n"),
     {{"field", "a", "", "", "1"}}},
    {"padding", FORM, BODY("--B \t\r\n" CD "a\r\n\r\n1\r\n--B-- \t"), {{"field", "a", "", "", "1"}}},
    {"quoted boundary", "Multipart/Form-Data; charset=utf-8; Boundary=\"a b'()+_,-./:=?c\"",
     BODY("--a b'()+_,-./:=?c\r\n" CD "a\r\n\r\n1\r\n--a b'()+_,-./:=?c--"),
     {{"field", "a", "", "", "1"}}},
    {"bare boundary with signs", "multipart/mixed; boundary=----=_Part_1.2/3:4",
     BODY("------=_Part_1.2/3:4\r\n\r\n1\r\n------=_Part_1.2/3:4--"), {{"field", "", "", "", "1"}}},
    {"no head", FORM, BODY("--B\r\n\r\n1\r\n--B--"), {{"field", "", "", "", "1"}}},
    {"no content", FORM, BODY("--B\r\n" CD "a\r\n\r\n\r\n--B--"), {{"field", "a", "", "", ""}}},
    {"the empty line is the delimiter's, too", FORM, BODY("--B\r\n" CD "a\r\n\r\n--B--"),
     {{"field", "a", "", "", ""}}},
    {"nothing at all in a part", FORM, BODY("--B\r\n\r\n--B--"), {{"field", "", "", "", ""}}},
    {"boundary-like", FORM, BODY(PART(CD "a", "\r\n-B\r\n- -B B-- --b") END),
     {{"field", "a", "", "", "\r\n-B\r\n- -B B-- --b"}}},
    {"harmless transfer encoding", FORM,
     BODY(PART(CD "a\r\nContent-Transfer-Encoding: 8BIT", "1") END), {{"field", "a", "", "", "1"}}},
    {"empty file name", FORM, BODY(PART(CD "a; filename=\"\"", "") END), {{"file", "a", "", "", ""}}},
    {"names as browsers send them", FORM,
     BODY(PART(CD "\"a%22b%0d%0Ac%20d\"; filename=\"C:\\dir\\x.txt\"", "") END),
     {{"file", "a\"b??c%20d", "C:\\dir\\x.txt", "", ""}}},
    {"escaped quote", FORM, BODY(PART(CD "a; filename=\"a\\\"b\\\\c\"", "") END),
     {{"file", "a", "a\"b\\c", "", ""}}},
    {"filename* alone", FORM, BODY(PART(CD "a; filename*=UTF-8''%e2%82%AC.txt", "") END),
     {{"file", "a", "\xe2\x82\xac.txt", "", ""}}},
    {"filename* in Latin-1", FORM, BODY(PART(CD "a; filename*=iso-8859-1'en'%A3.txt", "") END),
     {{"file", "a", "\xc2\xa3.txt", "", ""}}},
    {"the same name twice", FORM,
     BODY(PART(CD "a; filename=\"EUR.txt\"; filename*=utf-8''%45UR.txt", "") END),
     {{"file", "a", "EUR.txt", "", ""}}},
    {"single quotes within", FORM, BODY(PART(CD "a'b; filename=\"'c'.txt\"", "") END),
     {{"file", "a'b", "'c'.txt", "", ""}}},
    {"the word in a boundary", "multipart/form-data; charset=utf-8; boundary=--XBoundaryboundary",
     BODY("----XBoundaryboundary\r\n" CD "a\r\n\r\n1\r\n----XBoundaryboundary--"),
     {{"field", "a", "", "", "1"}}},
    {"capitals in both", "multipart/form-data; Boundary=XBoundary",
     BODY("--XBoundary\r\n" CD "a\r\n\r\n1\r\n--XBoundary--"), {{"field", "a", "", "", "1"}}},
    {"NUL in a name", FORM, BODY(PART(CD "a; filename*=utf-8''x%00%1f%7fy", "") END),
     {{"file", "a", "x???y", "", ""}}},
    {"nested", FORM,
     BODY(PART(CD "a", "1") PART(CD "files\r\nContent-Type: multipart/mixed; boundary=C",
                                 "--C\r\nContent-Disposition: file; filename=x\r\n\r\n2\r\n"
                                 "--C\r\nContent-Disposition: file; filename=y\r\n\r\n3\r\n--C--")
              PART(CD "b", "4") END),
     {{"field", "a", "", "", "1"}, {"file", "", "x", "", "2"}, {"file", "", "y", "", "3"},
      {"field", "b", "", "", "4"}}},
    {"a web archive is a file", FORM,
     BODY(PART(CD "a; filename=x.mht\r\nContent-Type: multipart/related", "From: x\r\n") END),
     {{"file", "a", "x.mht", "multipart/related", "From: x\r\n"}}},
};

/* clang-format on */

static void assert_leaf(const struct multipart_leaf *leaf, struct span body, const struct want *w)
{
    assert_string_equal(leaf->head->has_file ? "file" : "field", w->kind);
    assert_string_equal(leaf->head->field, w->field);
    assert_string_equal(leaf->head->file, w->file);
    assert_string_equal(leaf->head->type, w->type);
    assert_true(leaf->off + leaf->len <= body.n);
    assert_true(leaf->len >= strlen(w->content));
    assert_memory_equal(body.p + leaf->off, w->content, strlen(w->content));
}

static void test_legal(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(legal); i++) {
        struct span body = {legal[i].body, legal[i].n};
        struct multipart m;
        struct multipart_leaf leaf;
        size_t n = 0;
        enum err e = multipart_init(&m, body, span_of(legal[i].type), PARTS_MAX);

        assert_true(multipart_is(span_of(legal[i].type)));
        while (e == OK && (e = multipart_next(&m, &leaf)) == OK) {
            assert_true(n < 4 && legal[i].want[n].kind);
            assert_leaf(&leaf, body, &legal[i].want[n++]);
        }
        if (e != ERR_EOF || (n < 4 && legal[i].want[n].kind))
            print_error("%s: %s\n", legal[i].name,
                        m.fault.why ? m.fault.why : "leaves are missing");
        assert_int_equal(e, ERR_EOF);
        assert_true(n == 4 || !legal[i].want[n].kind);
        assert_int_equal(multipart_next(&m, &leaf), ERR_EOF);
    }
}

/* --- bodies that are not --- */

/* clang-format off */
#define F64 "a: b\r\na: b\r\na: b\r\na: b\r\na: b\r\na: b\r\na: b\r\na: b\r\n"

static const struct {
    const char *name;
    const char *type;
    const char *body;
    size_t n;
    uint32_t part;
    const char *why;
} evil[] = {
    {"no boundary", "multipart/form-data", BODY("--B--"), 0, "no boundary"},
    {"two boundaries", FORM "; boundary=C", BODY("--B--"), 0, "two boundaries"},
    {"a name that ends so", "multipart/form-data; xboundary=A; boundary=B", BODY("--B--"), 0,
     "two boundaries"},
    {"a name that begins so", "multipart/form-data; boundary=B; boundary-x=A", BODY("--B--"), 0,
     "two boundaries"},
    {"a value that has one", "multipart/form-data; x=\"BOUNDARY=A\"; boundary=B", BODY("--B--"), 0,
     "two boundaries"},
    {"small letters behind capitals", "multipart/form-data; Boundary=boundary", BODY("--B--"), 0,
     "two boundaries"},
    {"a type that has one", "multipart/boundary; boundary=B", BODY("--B--"), 0, "two boundaries"},
    {"boundary in pieces", "multipart/form-data; boundary*0=B", BODY("--B--"), 0, "in pieces"},
    {"empty boundary", "multipart/form-data; boundary=\"\"", BODY("----"), 0, "that is none"},
    {"boundary of 71", "multipart/form-data; boundary=" "1234567890123456789012345678901234567890"
     "1234567890123456789012345678901", BODY("--"), 0, "that is none"},
    {"boundary with a comma", "multipart/form-data; boundary=B,C", BODY("--B--"), 0, "cannot be read"},
    {"boundary that ends in a space", "multipart/form-data; boundary=\"B \"", BODY("--B --"), 0,
     "that is none"},
    {"open quote", "multipart/form-data; boundary=\"B", BODY("--B--"), 0, "cannot be read"},
    {"empty", FORM, BODY(""), 0, "not closed"},
    {"nothing of it", FORM, BODY("hello"), 0, "not closed"},
    {"not closed", FORM, BODY(PART(CD "a", "1")), 1, "not closed"},
    {"opened only", FORM, BODY(PART(CD "a", "1") "--B\r\n"), 2, "head without an end"},
    {"cut in its last line", FORM, BODY(PART(CD "a", "1") "--B-"), 1, "something else in its boundary"},
    {"cut after the boundary", FORM, BODY(PART(CD "a", "1") "--B"), 1, "within a boundary line"},
    {"preamble", FORM, BODY("x\r\n" PART(CD "a", "1") END), 0, "before its first boundary"},
    {"epilogue", FORM, BODY(PART(CD "a", "1") END "x"), 1, "behind the closing boundary"},
    {"parts behind the end", FORM, BODY(PART(CD "a", "1") END PART(CD "b", "2") END), 1,
     "behind the closing boundary"},
    {"junk behind a boundary", FORM, BODY("--BC\r\n" CD "a\r\n\r\n1\r\n--B--"), 0,
     "something else in its boundary line"},
    {"junk behind the last one", FORM, BODY(PART(CD "a", "1") "--B--x"), 1, "something else"},
    {"boundary within a line", FORM, BODY(PART(CD "a", "x--B") END), 1, "within a line"},
    {"boundary after a bare LF", FORM, BODY(PART(CD "a", "x\n--B\r\n") END), 1, "bare CR or LF"},
    {"boundary after a bare CR", FORM, BODY(PART(CD "a", "x\r--B\r\n") END), 1, "bare CR or LF"},
    {"all in LF", FORM, BODY("--B\n" CD "a\n\n1\n--B--\n"), 0, "does not end in CRLF"},
    {"boundary line ends in LF", FORM, BODY(PART(CD "a", "1") "--B\n\n\n" END), 1, "end in CRLF"},
    {"head ends in LF", FORM, BODY("--B\r\n" CD "a\nX: y\r\n\r\n1\r\n" END), 1, "end in CRLF"},
    {"CR in a head", FORM, BODY(PART(CD "a\r; filename=b", "") END), 1, "end in CRLF"},
    {"no empty line", FORM, BODY("--B\r\n" CD "a\r\n--B--"), 1, "head without an end"},
    {"the head goes on behind a boundary", FORM, BODY("--B\r\n" CD "a\r\n" PART(CD "b", "1") END), 1,
     ""},
    {"folded head", FORM, BODY(PART("Content-Disposition: form-data;\r\n name=a", "") END), 1,
     "no field"},
    {"space before the colon", FORM, BODY(PART("Content-Disposition : form-data", "") END), 1,
     "no field"},
    {"no colon", FORM, BODY(PART("hello", "") END), 1, "no field"},
    {"NUL in a head", FORM, BODY(PART("a: \0", "") END), 1, "NUL"},
    {"65 fields", FORM, BODY(PART(F64 F64 F64 F64 F64 F64 F64 F64 "a: b", "") END), 1, "64 fields"},
    {"two dispositions", FORM, BODY(PART(CD "a\r\n" CD "a", "") END), 1, "two Content-Disposition"},
    {"two types", FORM, BODY(PART("Content-Type: a/b\r\ncontent-type: a/b", "") END), 1,
     "two Content-Type"},
    {"two names", FORM, BODY(PART(CD "a; name=a", "") END), 1, "two names"},
    {"two file names that differ", FORM,
     BODY(PART(CD "a; filename=evil.php; filename*=utf-8''ok.txt", "") END), 1, "that differ"},
    {"two that differ, the other first", FORM,
     BODY(PART(CD "a; filename*=utf-8''ok.txt; filename=evil.php", "") END), 1, "that differ"},
    {"single quotes", FORM, BODY(PART(CD "a; filename='evil.php'", "") END), 1, "single quotes"},
    {"a name in single quotes", FORM, BODY(PART(CD "'a'", "") END), 1, "single quotes"},
    {"two file names", FORM, BODY(PART(CD "a; filename=a; FileName=b", "") END), 1, "two file names"},
    {"two filename*", FORM, BODY(PART(CD "a; filename*=utf-8''a; filename*=utf-8''a", "") END), 1,
     "two file names"},
    {"file name in pieces", FORM, BODY(PART(CD "a; filename*0=a; filename*1=b", "") END), 1,
     "in pieces"},
    {"file name in encoded words", FORM, BODY(PART(CD "a; filename=\"=?utf-8?B?YS5leGU=?=\"", "") END),
     1, "encoded words"},
    {"file name in encoded words behind another", FORM,
     BODY(PART(CD "a; filename*=utf-8''a; filename=\"=?koi8-r?q?a?=\"", "") END), 1, "encoded words"},
    {"unknown charset", FORM, BODY(PART(CD "a; filename*=utf-16''a", "") END), 1, "filename*"},
    {"bad percent", FORM, BODY(PART(CD "a; filename*=utf-8''%4", "") END), 1, "filename*"},
    {"open name", FORM, BODY(PART(CD "\"a", "") END), 1, "Content-Disposition that cannot be read"},
    {"name that ends in a backslash", FORM, BODY(PART(CD "a; filename=\"x\\\"", "") END), 1,
     "cannot be read"},
    {"name without a semicolon", FORM, BODY(PART(CD "a filename=x", "") END), 1, "cannot be read"},
    {"base64", FORM, BODY(PART(CD "a\r\nContent-Transfer-Encoding: base64", "") END), 1,
     "Content-Transfer-Encoding"},
    {"gzip within", FORM, BODY(PART(CD "a\r\nContent-Encoding: gzip", "") END), 1,
     "Content-Encoding of its own"},
    {"third part is bad", FORM, BODY(PART(CD "a", "") PART(CD "b", "") PART(CD "a\r\n" CD "a", "") END),
     3, "two Content-Disposition"},
    {"nested without a boundary", FORM, BODY(PART(CD "a\r\nContent-Type: multipart/mixed", "") END), 1,
     "multipart without a boundary"},
    {"nested and empty", FORM, BODY(PART(CD "a\r\nContent-Type: multipart/mixed; boundary=C", "") END),
     1, "not closed"},
    {"nested and not closed", FORM,
     BODY(PART(CD "a\r\nContent-Type: multipart/mixed; boundary=C", "--C\r\n\r\n1") END), 2,
     "not closed"},
    {"closed outside only", FORM,
     BODY(PART(CD "a\r\nContent-Type: multipart/mixed; boundary=BB", "--BB\r\n\r\n1\r\n--BB--") END), 1,
     "something else in its boundary line"},
};

/* clang-format on */

static void test_evil(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(evil); i++) {
        struct multipart m;
        struct multipart_leaf leaf;
        enum err e = multipart_init(&m, (struct span){evil[i].body, evil[i].n},
                                    span_of(evil[i].type), PARTS_MAX);

        while (e == OK)
            e = multipart_next(&m, &leaf);
        if (e != ERR_SYNTAX || m.parts != evil[i].part || !strstr(m.fault.why, evil[i].why))
            print_error("%s: %s, part %u, %s\n", evil[i].name, err_code(e), m.parts,
                        m.fault.why ? m.fault.why : "-");
        assert_int_equal(e, ERR_SYNTAX);
        assert_int_equal(m.parts, evil[i].part);
        assert_non_null(strstr(m.fault.why, evil[i].why));
        assert_int_equal(multipart_next(&m, &leaf), ERR_SYNTAX);
    }
}

static void test_is_multipart(void **state)
{
    (void)state;
    assert_true(multipart_is(SPAN("multipart/form-data")));
    assert_true(multipart_is(SPAN(" MULTIPART/x ; a=b")));
    assert_false(multipart_is(SPAN("")));
    assert_false(multipart_is(SPAN("multipart")));
    assert_false(multipart_is(SPAN("text/multipart/mixed")));
    assert_false(multipart_is(SPAN("application/x-www-form-urlencoded")));
}

/* --- cut anywhere --- */

/* Leaves of |body| before the end or the fault. */
static size_t leaves_of(struct span body, const char *type, enum err *ret)
{
    struct multipart m;
    struct multipart_leaf leaf;
    size_t n = 0;
    enum err e = multipart_init(&m, body, span_of(type), PARTS_MAX);

    while (e == OK && (e = multipart_next(&m, &leaf)) == OK)
        n++;
    *ret = e;
    return n;
}

/* A body that ends too early is never a good one with fewer leaves: only what stands behind the
 * closing boundary may be missing. */
static void test_cut_anywhere(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(legal); i++) {
        enum err e;
        size_t all = leaves_of((struct span){legal[i].body, legal[i].n}, legal[i].type, &e);

        assert_int_equal(e, ERR_EOF);
        for (size_t n = 0; n < legal[i].n; n++) {
            char *cut = malloc(n ? n : 1);

            assert_non_null(cut);
            memcpy(cut, legal[i].body, n);
            size_t got = leaves_of((struct span){cut, n}, legal[i].type, &e);

            free(cut);
            if (e != ERR_SYNTAX)
                assert_int_equal(got, all);
        }
    }
}

/* --- sizes --- */

static void add_parts(struct buf *b, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        buf_fmt(b, "--B\r\n" CD "f%u\r\n\r\n%u\r\n", i, i);
    buf_text(b, END);
}

static void test_many_parts(void **state)
{
    struct multipart m;
    struct multipart_leaf leaf;
    struct buf b;
    enum err e;

    (void)state;
    buf_init(&b, 0);
    add_parts(&b, 10000);
    assert_int_equal(leaves_of(buf_span(&b), FORM, &e), 10000);
    assert_int_equal(e, ERR_EOF);
    assert_int_equal(multipart_init(&m, buf_span(&b), SPAN(FORM), 9999), OK);
    for (unsigned i = 0; i < 9999; i++)
        assert_int_equal(multipart_next(&m, &leaf), OK);
    assert_string_equal(leaf.head->field, "f9998");
    assert_int_equal(multipart_next(&m, &leaf), ERR_SYNTAX);
    assert_string_equal(m.fault.why, "is the last one that may be: there are more");
    buf_done(&b);
}

static void nest(struct buf *b, unsigned deep)
{
    buf_text(b, "--B\r\n");
    for (unsigned i = 0; i < deep; i++)
        buf_fmt(b, "Content-Type: multipart/mixed; boundary=C%u\r\n\r\n--C%u\r\n", i, i);
    buf_text(b, "\r\n1");
    for (unsigned i = deep; i > 0; i--)
        buf_fmt(b, "\r\n--C%u--", i - 1);
    buf_text(b, "\r\n" END);
}

static void test_deep(void **state)
{
    struct buf b;
    enum err e;

    (void)state;
    buf_init(&b, 0);
    nest(&b, MULTIPART_NESTED_MAX);
    assert_int_equal(leaves_of(buf_span(&b), FORM, &e), 1);
    assert_int_equal(e, ERR_EOF);
    buf_reset(&b);
    nest(&b, MULTIPART_NESTED_MAX + 1);
    assert_int_equal(leaves_of(buf_span(&b), FORM, &e), 0);
    assert_int_equal(e, ERR_SYNTAX);
    buf_done(&b);
}

static void test_large_heads(void **state)
{
    enum err e;
    struct buf b;

    (void)state;
    buf_init(&b, 0);
    for (unsigned over = 0; over < 2; over++) {
        buf_reset(&b);
        buf_text(&b, "--B\r\nx: ");
        for (size_t i = 0; i < PART_HEAD_MAX - 7 + over; i++)
            buf_char(&b, 'y');
        buf_text(&b, "\r\n\r\n1\r\n" END);
        assert_int_equal(leaves_of(buf_span(&b), FORM, &e), 1 - over);
        assert_int_equal(e, over ? ERR_SYNTAX : ERR_EOF);
    }
    buf_done(&b);
}

/* Of a long name both ends stay: the last one is the extension's. */
static void test_long_name(void **state)
{
    struct multipart m;
    struct multipart_leaf leaf;
    struct buf b;

    (void)state;
    buf_init(&b, 0);
    buf_text(&b, "--B\r\n" CD "a; filename=\"");
    for (unsigned i = 0; i < 1000; i++)
        buf_char(&b, 'x');
    buf_text(&b, ".exe\"\r\n\r\n\r\n" END);
    assert_int_equal(multipart_init(&m, buf_span(&b), SPAN(FORM), 1), OK);
    assert_int_equal(multipart_next(&m, &leaf), OK);
    assert_int_equal(strlen(leaf.head->file), OBJECT_NAME_MAX);
    assert_string_equal(leaf.head->file + OBJECT_NAME_MAX - 5, "x.exe");
    buf_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_legal),        cmocka_unit_test(test_evil),
        cmocka_unit_test(test_is_multipart), cmocka_unit_test(test_cut_anywhere),
        cmocka_unit_test(test_many_parts),   cmocka_unit_test(test_deep),
        cmocka_unit_test(test_large_heads),  cmocka_unit_test(test_long_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
