/* SPDX-License-Identifier: Apache-2.0 */
/* Names of files: a table of tricks, each input right before a page that may not be touched, and
 * cut anywhere. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "adapt/file_name.h"
#include "base/utf8.h"
#include "guard.h"

#define RLO "\xe2\x80\xae"
#define X10 "xxxxxxxxxx"
#define X50 X10 X10 X10 X10 X10

enum source { DISPOSITION, URL, PLAIN };

/* clang-format off */
static const struct row {
    const char *name;
    enum source source;
    struct span in;
    const char *text; /* NULL: there is none */
    const char *extension;
    const char *tricks;
} rows[] = {
    {"a token", DISPOSITION, SPAN("attachment; filename=report.PDF"), "report.PDF", ".pdf", ""},
    {"a quoted string", DISPOSITION, SPAN("attachment; filename=\"my report.pdf\""),
     "my report.pdf", ".pdf", ""},
    {"a part of a form", DISPOSITION, SPAN("form-data; name=\"f\"; filename=\"a;b=c.txt\""),
     "a;b=c.txt", ".txt", ""},
    {"no name", DISPOSITION, SPAN("attachment"), NULL, NULL, NULL},
    {"no name, but another parameter", DISPOSITION, SPAN("form-data; name=\"filename\""), NULL,
     NULL, NULL},
    {"an empty field", DISPOSITION, SPAN(""), NULL, NULL, NULL},
    {"a parameter without a value", DISPOSITION, SPAN("attachment; filename"), NULL, NULL, NULL},
    {"an empty name", DISPOSITION, SPAN("attachment; filename=\"\""), "", "", ""},
    {"an empty token", DISPOSITION, SPAN("attachment; filename="), "", "", ""},
    {"names in any case, white space", DISPOSITION, SPAN("Attachment ;\tFILENAME = a.exe ; x=y"),
     "a.exe", ".exe", ""},
    {"no disposition type", DISPOSITION, SPAN("filename=a.exe"), "a.exe", ".exe", ""},
    {"a name inside another value", DISPOSITION,
     SPAN("form-data; name=\"a; filename=b.txt\"; filename=c.exe"), "c.exe", ".exe", ""},
    {"escaped quotes", DISPOSITION, SPAN("attachment; filename=\"a \\\"b\\\".txt\""),
     "a \"b\".txt", ".txt", ""},
    {"quotes as forms send them", DISPOSITION, SPAN("form-data; filename=\"a%22b%0D%0A.txt\""),
     "a\"b??.txt", ".txt", "control"},
    {"percent signs that are none", DISPOSITION, SPAN("form-data; filename=\"100%.txt\""),
     "100%.txt", ".txt", ""},
    {"percent-encoding that changes nothing of note", DISPOSITION,
     SPAN("attachment; filename=\"a%20b.txt\""), "a%20b.txt", ".txt", ""},
    {"an extension behind percent-encoding", DISPOSITION,
     SPAN("attachment; filename=\"evil%2Eexe\""), "evil.exe", ".exe", "conflict"},
    {"an extension behind a backslash", DISPOSITION, SPAN("attachment; filename=\"evil.e\\xe\""),
     "evil.exe", ".exe", "path conflict"},
    {"an extension behind both", DISPOSITION, SPAN("attachment; filename=\"evil.e\\x%65\""),
     "evil.exe", ".exe", "path conflict"},
    {"an unterminated quote", DISPOSITION, SPAN("attachment; filename=\"evil.exe"), "evil.exe",
     ".exe", ""},
    {"an unterminated quote, escaped", DISPOSITION, SPAN("attachment; filename=\"evil.exe\\\""),
     "evil.exe\"", ".exe\"", ""},
    {"an unterminated quote, cut in an escape", DISPOSITION, SPAN("attachment; filename=\"evil\\"),
     "evil", "", "path"},
    {"rubbish behind the quote", DISPOSITION, SPAN("a; filename=\"x.txt\"y.exe; z=1"), "x.txt",
     ".txt", ""},
    {"a path with backslashes", DISPOSITION,
     SPAN("form-data; filename=\"C:\\Users\\me\\evil.exe\""), "evil.exe", ".exe", "path"},
    {"a path with escaped backslashes", DISPOSITION,
     SPAN("form-data; filename=\"C:\\\\me\\\\evil.exe\""), "evil.exe", ".exe", "path"},
    {"a token with a path", DISPOSITION, SPAN("a; filename=../../etc/cron.d/x.sh"), "x.sh", ".sh",
     "path"},
    {"ext-value in UTF-8", DISPOSITION, SPAN("a; filename*=UTF-8'en'%e2%82%ac%20rates.txt"),
     "\xe2\x82\xac rates.txt", ".txt", ""},
    {"ext-value in ISO-8859-1", DISPOSITION, SPAN("a; filename*=iso-8859-1''%A3%20rates.txt"),
     "\xc2\xa3 rates.txt", ".txt", ""},
    {"ext-value before the plain one", DISPOSITION,
     SPAN("a; filename=\"EURO rates.txt\"; filename*=utf-8''%e2%82%ac%20rates.txt"),
     "\xe2\x82\xac rates.txt", ".txt", ""},
    {"ext-value and the plain one are the same", DISPOSITION,
     SPAN("a; filename*=utf-8''a.txt; filename=a.txt"), "a.txt", ".txt", ""},
    {"ext-value against the plain one", DISPOSITION,
     SPAN("a; filename=a.txt; filename*=UTF-8''b.txt"), "b.txt", ".txt", "conflict"},
    {"ext-value with another extension", DISPOSITION,
     SPAN("a; filename=\"x.txt\"; filename*=UTF-8''%c3%a4.exe"), "\xc3\xa4.exe", ".exe",
     "conflict"},
    {"two names", DISPOSITION, SPAN("a; filename=a.txt; filename=a.exe"), "a.txt", ".txt",
     "conflict"},
    {"one name twice", DISPOSITION, SPAN("a; filename=a.txt; filename=a.txt"), "a.txt", ".txt", ""},
    {"two ext-values", DISPOSITION, SPAN("a; filename*=UTF-8''a; filename*=UTF-8''b"), "a", "",
     "conflict"},
    {"ten names", DISPOSITION,
     SPAN("filename=a;filename=a;filename=a;filename=a;filename=a;filename=a;filename=a;"
     "filename=a;filename=a;filename=a"), "a", "", "conflict"},
    {"ext-value without its quotes", DISPOSITION, SPAN("a; filename*=a%2eexe"), "a.exe", ".exe",
     ""},
    {"ext-value with one quote", DISPOSITION, SPAN("a; filename*=UTF-8'a.exe"), "UTF-8'a.exe",
     ".exe", ""},
    {"ext-value in a charset that we do not know", DISPOSITION,
     SPAN("a; filename*=koi8-r''%d7%d7.exe"), "??.exe", ".exe", "bad-utf8"},
    {"ext-value, quoted", DISPOSITION, SPAN("a; filename*=\"UTF-8''a%2eexe\""), "a.exe", ".exe",
     ""},
    {"ext-value with NUL", DISPOSITION, SPAN("a; filename*=UTF-8''evil.exe%00.txt"),
     "evil.exe?.txt", ".txt", "nul"},
    {"encoded NUL in the plain one", DISPOSITION, SPAN("a; filename=\"evil.exe%00.txt\""),
     "evil.exe?.txt", ".txt", "nul"},
    {"encoded twice, decoded once", DISPOSITION, SPAN("a; filename*=UTF-8''a%252Eexe"), "a%2Eexe",
     "", ""},
    {"in pieces", DISPOSITION, SPAN("a; filename*0=\"evil.\"; filename*1*=%65xe"), "evil.exe",
     ".exe", ""},
    {"in pieces with a charset", DISPOSITION, SPAN("a; filename*0*=UTF-8''%c3%a4; filename*1=.exe"),
     "\xc3\xa4.exe", ".exe", ""},
    {"in pieces beside another", DISPOSITION,
     SPAN("a; filename=a.txt; filename*0=a; filename*1=.exe"), "a.txt", ".txt", "conflict"},
    {"no pieces", DISPOSITION, SPAN("a; filename**=a; filename*x=b; filename*0"), NULL, NULL, NULL},
    {"URL", URL, SPAN("http://h.example/a/b/report.pdf?x=/y.exe#z/q.zip"), "report.pdf", ".pdf",
     ""},
    {"URL in origin form", URL, SPAN("/a.exe"), "a.exe", ".exe", ""},
    {"URL of a folder", URL, SPAN("http://h.example/a.exe/"), "", "", ""},
    {"URL without a path", URL, SPAN("http://h.example"), "", "", ""},
    {"URL without a path, with a query", URL, SPAN("http://h.example?a/b.exe"), "", "", ""},
    {"authority form", URL, SPAN("h.example:443"), "", "", ""},
    {"URL with an encoded letter", URL, SPAN("/evil%2eex%65"), "evil.exe", ".exe", ""},
    {"URL with an encoded slash", URL, SPAN("/x/a%2Fevil.exe"), "evil.exe", ".exe", "path"},
    {"URL with an encoded question mark", URL, SPAN("/a.exe%3Fb.txt"), "a.exe?b.txt", ".txt", ""},
    {"URL with NUL", URL, SPAN("/evil.exe%00.pdf"), "evil.exe?.pdf", ".pdf", "nul"},
    {"URL encoded twice", URL, SPAN("/evil%252eexe"), "evil%2eexe", "", ""},
    {"URL with a broken escape", URL, SPAN("/a%2.ex%"), "a%2.ex%", ".ex%", ""},
    {"URL with an encoded override", URL, SPAN("/invoice%E2%80%AEfdp.exe"), "invoice?fdp.exe",
     ".exe", "bidi"},
    {"URL with dots", URL, SPAN("/a/.."), "", "", "path"},
    {"plain", PLAIN, SPAN("a.tar.gz"), "a.tar.gz", ".gz", ""},
    {"empty", PLAIN, SPAN(""), "", "", ""},
    {"right to left", PLAIN, SPAN("invoice" RLO "fdp.exe"), "invoice?fdp.exe", ".exe", "bidi"},
    {"isolates and marks", PLAIN, SPAN("a\xe2\x81\xa6" "b\xe2\x81\xa9" "c\xd8\x9c"
     "d\xe2\x80\x8f"), "a?b?c?d?", "", "bidi"},
    {"nothing to see", PLAIN, SPAN("a\xe2\x80\x8b.e\xef\xbb\xbfxe"), "a?.e?xe", ".e?xe", "control"},
    {"a joiner stays", PLAIN, SPAN("a\xe2\x80\x8c" "b.txt"), "a\xe2\x80\x8c" "b.txt", ".txt", ""},
    {"raw NUL", PLAIN, SPAN("evil.exe\0.txt"), "evil.exe?.txt", ".txt", "nul"},
    {"control characters", PLAIN, SPAN("a\x1b[2J\x7f.txt"), "a?[2J?.txt", ".txt", "control"},
    {"C1", PLAIN, SPAN("a\xc2\x9b.txt"), "a?.txt", ".txt", "control"},
    {"tab", PLAIN, SPAN("a\tb.txt"), "a?b.txt", ".txt", "control"},
    {"over-long slash", PLAIN, SPAN("a\xc0\xaf" "b.exe"), "a??b.exe", ".exe", "bad-utf8"},
    {"over-long dot", PLAIN, SPAN("a\xe0\x80\xae" "exe"), "a???exe", "", "bad-utf8"},
    {"a surrogate", PLAIN, SPAN("\xed\xa0\x80"), "???", "", "bad-utf8"},
    {"Latin-1", PLAIN, SPAN("\xe4.txt"), "?.txt", ".txt", "bad-utf8"},
    /* encoded words */
    {"a word", DISPOSITION, SPAN("a; filename=\"=?UTF-8?B?cmVwb3J0LnBkZg==?=\""), "report.pdf",
     ".pdf", ""},
    {"a word, q", DISPOSITION, SPAN("a; filename=\"=?utf-8?q?r=C3=A9sum=C3=A9_1.pdf?=\""),
     "r\xc3\xa9sum\xc3\xa9 1.pdf", ".pdf", ""},
    {"a word without quotes", DISPOSITION, SPAN("a; filename==?utf-8?q?evil=2Eexe?="), "evil.exe",
     ".exe", ""},
    {"a word in Latin 1", DISPOSITION, SPAN("a; filename=\"=?ISO-8859-1?Q?r=E9sum=E9.pdf?=\""),
     "r\xc3\xa9sum\xc3\xa9.pdf", ".pdf", ""},
    {"a word in ASCII", DISPOSITION, SPAN("a; filename=\"=?us-ascii*en?Q?a.pdf?=\""), "a.pdf",
     ".pdf", ""},
    {"a word in ASCII that is not", DISPOSITION, SPAN("a; filename=\"=?us-ascii?Q?=E9.pdf?=\""),
     "?.pdf", ".pdf", "bad-utf8"},
    {"two words", DISPOSITION, SPAN("a; filename=\"=?utf-8?q?ev?= =?utf-8?b?aWwuZXhl?=\""),
     "evil.exe", ".exe", ""},
    {"a letter in two words", DISPOSITION, SPAN("a; filename=\"=?utf-8?q?=C3?=\t=?utf-8?q?=A9.c?=\""),
     "\xc3\xa9.c", ".c", ""},
    {"a word and text", DISPOSITION, SPAN("a; filename=\"=?utf-8?q?r=C3=A9sum=C3=A9?= 1.pdf\""),
     "r\xc3\xa9sum\xc3\xa9 1.pdf", ".pdf", ""},
    {"text and a word with the end", DISPOSITION, SPAN("a; filename=\"report.=?utf-8?q?exe?=\""),
     "report.exe", ".exe", ""},
    {"a word with another end", DISPOSITION, SPAN("a; filename=\"=?utf-8?q?evil.exe?=.pdf\""),
     "evil.exe.pdf", ".pdf", ""},
    {"text, and another end in a word", DISPOSITION, SPAN("a; filename=\"a.pdf =?x?q?" "?= .b=?utf-8?q?at?=\""),
     "a.pdf =?x?q?" "?= .bat", ".bat", "encoded"},
    {"the end is in both, and differs", DISPOSITION, SPAN("a; filename=\"a=?utf-8?q?.ex?=e\""),
     "a.exe", ".exe", "conflict"},
    {"a base64 digit is no path", DISPOSITION, SPAN("a; filename=\"=?utf-8?b?w7/Dvy50eHQ=?=\""),
     "\xc3\xbf\xc3\xbf.txt", ".txt", ""},
    {"a path in a word", DISPOSITION, SPAN("a; filename=\"=?utf-8?q?a=2F..=2Fb.exe?=\""), "b.exe",
     ".exe", "path"},
    {"NUL in a word", DISPOSITION, SPAN("a; filename=\"=?utf-8?q?a.exe=00.pdf?=\""), "a.exe?.pdf",
     ".pdf", "nul"},
    {"order in a word", DISPOSITION, SPAN("a; filename=\"=?utf-8?b?YeKArmZkcC5leGU=?=\""),
     "a?fdp.exe", ".exe", "bidi"},
    {"a word in an unknown charset", DISPOSITION, SPAN("a; filename=\"=?koi8-r?B?xdfJzC/F1y5leGU=?=\""),
     "=?koi8-r?B?xdfJzC?F1y5leGU=?=", "", "encoded"},
    {"an unknown charset, and an end", DISPOSITION, SPAN("a; filename=\"=?utf-7?Q?a?=.pdf\""),
     "=?utf-7?Q?a?=.pdf", ".pdf", "encoded"},
    {"a word that is damaged", DISPOSITION, SPAN("a; filename=\"=?utf-8?B?*?=\""), "=?utf-8?B?*?=",
     "", "encoded"},
    {"a word without an end", DISPOSITION, SPAN("a; filename=\"=?utf-8?Q?evil=2Eexe\""),
     "=?utf-8?Q?evil=2Eexe", "", "encoded"},
    {"a word in a word", DISPOSITION, SPAN("a; filename=\"=?utf-8?Q?=3D=3Futf-8=3FQ=3Fa.exe=3F=3D?=\""),
     "=?utf-8?Q?a.exe?=", ".exe?=", "encoded"},
    {"percent around a word", DISPOSITION, SPAN("a; filename=\"%3D?utf-8?Q?evil=2Eexe?=\""),
     "evil.exe", ".exe", "conflict"},
    {"escapes around a word", DISPOSITION, SPAN("a; filename=\"\\=\\?utf-8?Q?evil=2Eexe?=\""),
     "evil.exe", ".exe", "path conflict"},
    {"words are not for filename*", DISPOSITION, SPAN("a; filename*=utf-8''=?utf-8?Q?a.exe?="),
     "=?utf-8?Q?a.exe?=", ".exe?=", "encoded"},
    {"both, and the same", DISPOSITION, SPAN("a; filename=\"=?utf-8?q?=C3=A9.pdf?=\"; "
     "filename*=utf-8''%C3%A9.pdf"), "\xc3\xa9.pdf", ".pdf", ""},
    {"both, and another", DISPOSITION, SPAN("a; filename=\"=?utf-8?q?a.exe?=\"; "
     "filename*=utf-8''a.pdf"), "a.pdf", ".pdf", "conflict"},
    {"a word in pieces", DISPOSITION, SPAN("a; filename*0=\"=?utf-8?q?a\"; filename*1=\".exe?=\""),
     "=?utf-8?q?a.exe?=", ".exe?=", "encoded"},
    {"nearly a word", DISPOSITION, SPAN("a; filename=\"a=?b?c.pdf\""), "a=?b?c.pdf", ".pdf", ""},
    {"words are not for URLs", URL, SPAN("/%3D%3Futf-8%3FQ%3Fa.exe%3F%3D"), "=?utf-8?Q?a.exe?=",
     ".exe?=", "encoded"},
    {"a plain word", PLAIN, SPAN("=?utf-8?Q?a?="), "=?utf-8?Q?a?=", "", "encoded"},
    {"a cut character", PLAIN, SPAN("a\xe2\x82"), "a??", "", "bad-utf8"},
    {"four bytes", PLAIN, SPAN("\xf0\x9f\x98\x80.png"), "\xf0\x9f\x98\x80.png", ".png", ""},
    {"slashes", PLAIN, SPAN("/tmp/x/a.sh"), "a.sh", ".sh", "path"},
    {"both slashes", PLAIN, SPAN("a/b\\c.exe"), "c.exe", ".exe", "path"},
    {"slashes at the end", PLAIN, SPAN("evil.exe\\//"), "evil.exe", ".exe", "path"},
    {"only slashes", PLAIN, SPAN("//"), "", "", "path"},
    {"a drive", PLAIN, SPAN("C:evil.exe"), "evil.exe", ".exe", "path"},
    {"a colon elsewhere", PLAIN, SPAN("at 10:30.txt"), "at 10:30.txt", ".txt", ""},
    {"a stream of NTFS", PLAIN, SPAN("evil.exe::$Data"), "evil.exe", ".exe", "path"},
    {"the folder above", PLAIN, SPAN(".."), "", "", "path"},
    {"dots in a name", PLAIN, SPAN("a..b.txt"), "a..b.txt", ".txt", ""},
    {"a dot at the end", PLAIN, SPAN("evil.exe."), "evil.exe.", ".exe", "spaces"},
    {"dots and spaces at the end", PLAIN, SPAN("evil.EXE. . "), "evil.EXE. . ", ".exe", "spaces"},
    {"a run of spaces", PLAIN, SPAN("report.pdf        .exe"), "report.pdf        .exe", ".exe",
     "spaces"},
    {"a run of 7", PLAIN, SPAN("report.pdf       .exe"), "report.pdf       .exe", ".exe", ""},
    {"a run of wide spaces", PLAIN,
     SPAN("a\xe3\x80\x80\xc2\xa0\xe3\x80\x80 \xe2\xa0\x80 \xe3\x80\x80 .exe"),
     "a\xe3\x80\x80\xc2\xa0\xe3\x80\x80 \xe2\xa0\x80 \xe3\x80\x80 .exe", ".exe", "spaces"},
    {"a hidden file", PLAIN, SPAN(".profile"), ".profile", ".profile", ""},
    {"a dot and a sentence", PLAIN, SPAN("Mr. Smith and"), "Mr. Smith and", "", ""},
    {"an extension of 15", PLAIN, SPAN("a.12345678901234"), "a.12345678901234", ".12345678901234",
     ""},
    {"an extension of 16", PLAIN, SPAN("a.123456789012345"), "a.123456789012345", "", ""},
    {"255 bytes", PLAIN, SPAN(X50 X50 X50 X50 X50 "5.exe"), X50 X50 X50 X50 X50 "5.exe", ".exe",
     ""},
    {"300 bytes keep their extension", PLAIN, SPAN(X50 X50 X50 X50 X50 X50 ".exe"), X50 X50 X50 X50
     X50 "x.exe", ".exe", "long"},
    {"300 bytes without one", PLAIN, SPAN(X50 X50 X50 X50 X50 X50), X50 X50 X50 X50 X50 "xxxxx",
     "", "long"},
    {"cut between characters", PLAIN, SPAN(X50 X50 X50 X50 X50
     "\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac.exe"), X50 X50 X50 X50 X50 ".exe", ".exe", "long"},
    {"long by what Windows drops", PLAIN, SPAN(X50 X50 X50 X50 X50 ".exe" X10 ".exe. . . ."), X50
     X50 X50 X50 X50 "..exe", ".exe", "spaces long"},
    {"long path, short name", PLAIN, SPAN(X50 X50 X50 X50 X50 X50 "/a.exe"), "a.exe", ".exe",
     "path"},
};
/* clang-format on */

static bool parse(enum source source, struct span in, struct file_name *ret)
{
    memset(ret, 0x5a, sizeof *ret);
    if (source == DISPOSITION)
        return file_name_disposition(in, ret);
    if (source == URL)
        file_name_url(in, ret);
    else
        file_name_plain(in, ret);
    return true;
}

static void check(const struct row *row, const struct file_name *n, bool has)
{
    char extension[16];
    struct buf tricks;

    assert_int_equal(has, row->text != NULL);
    if (!row->text)
        return;
    buf_init(&tricks, 0);
    file_name_tricks_text(n->tricks, &tricks);
    file_name_extension(n, extension);
    assert_string_equal(n->text, row->text);
    assert_string_equal(extension, row->extension);
    assert_string_equal(buf_cstr(&tricks), row->tricks);
    buf_done(&tricks);
}

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct guard g = guard_new(rows[i].in.n + 1);
        struct file_name n;
        bool has = parse(rows[i].source, guard_span(&g, rows[i].in), &n);

        print_message("%s\n", rows[i].name);
        check(&rows[i], &n, has);
        guard_free(&g);
    }
}

/* What holds for every input: printable UTF-8 without separators that fits, and read again it is
 * what it was. */
static void check_always(const struct file_name *n)
{
    struct span text = {n->text, strnlen(n->text, sizeof n->text)};
    struct file_name again;

    assert_true(text.n <= FILE_NAME_MAX);
    assert_true(utf8_is_valid(text));
    for (size_t i = 0; i < text.n; i++)
        assert_true((unsigned char)text.p[i] >= 0x20 && !strchr("/\\\x7f", text.p[i]));
    file_name_plain(text, &again);
    assert_int_equal(again.tricks & ~(unsigned)(FILE_NAME_SPACES | FILE_NAME_ENCODED), 0);
    if (!(n->tricks & FILE_NAME_LONG))
        assert_int_equal(again.tricks & ~n->tricks, 0);
    assert_string_equal(again.text, n->text);
}

/* Cut anywhere, it is some other name: no byte behind the cut is looked at. */
static void test_cut_anywhere(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct guard g = guard_new(rows[i].in.n + 1);

        print_message("%s\n", rows[i].name);
        for (size_t n = 0; n <= rows[i].in.n; n++) {
            struct span head = guard_span(&g, span_sub(rows[i].in, 0, n));

            for (enum source source = DISPOSITION; source <= PLAIN; source++) {
                struct file_name name;

                if (parse(source, head, &name))
                    check_always(&name);
            }
        }
        guard_free(&g);
    }
}

/* An endless name is looked at from its end, and tricks in front of that are not forgotten. */
static void test_endless(void **state)
{
    static char name[100000];
    struct file_name n;

    (void)state;
    memset(name, 'a', sizeof name);
    name[5] = '\0';
    memcpy(name + sizeof name - 4, ".exe", 4);
    file_name_plain((struct span){name, sizeof name}, &n);
    assert_int_equal(strlen(n.text), FILE_NAME_MAX);
    assert_string_equal(n.text + FILE_NAME_MAX - 5, "a.exe");
    assert_int_equal(n.tricks, FILE_NAME_NUL | FILE_NAME_LONG);
    memset(name, (char)0x80, sizeof name);
    file_name_plain((struct span){name, sizeof name}, &n);
    assert_int_equal(n.tricks, FILE_NAME_BAD_UTF8 | FILE_NAME_LONG);
}

static void test_all_tricks(void **state)
{
    struct buf out;

    (void)state;
    buf_init(&out, 0);
    file_name_tricks_text(511, &out);
    assert_string_equal(buf_cstr(&out),
                        "nul control bidi path bad-utf8 conflict spaces long encoded");
    buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_cut_anywhere),
        cmocka_unit_test(test_endless),
        cmocka_unit_test(test_all_tricks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
