/* SPDX-License-Identifier: Apache-2.0 */
/* Documents on their way to a printer: what is found in each, and its pages. Every sample whole and
 * cut anywhere, right before a page that may not be touched; and hostile ones that are large. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "guard.h"
#include "test_print_samples.h"

/* The names of what was found, in the order of the table. */
static void finds_text(const struct print_report *r, struct buf *out)
{
    buf_reset(out);
    for (unsigned i = 0; i < PRINT_FINDS; i++)
        if (r->find[i].there)
            buf_fmt(out, "%s%s", out->n ? " " : "", print_find_name((enum print_find)i));
}

static void assert_report(struct span in, enum print_declared declared, const char *finds,
                          uint32_t pages)
{
    struct print_report r;
    struct buf text;

    memset(&r, 0x5a, sizeof r);
    buf_init(&text, 0);
    print_scan(in, declared, &r);
    finds_text(&r, &text);
    assert_string_equal(buf_cstr(&text), finds);
    assert_int_equal(r.pages, pages);
    for (unsigned i = 0; i < PRINT_FINDS; i++)
        assert_true(r.find[i].there ? r.find[i].at < in.n : r.find[i].at == 0);
    buf_done(&text);
}

static void test_row(void **state)
{
    const struct print_sample *row = *state;
    struct guard g = guard_new(row->in.n);

    assert_report(guard_span(&g, row->in), PRINT_OTHER, row->finds, row->pages);
    guard_free(&g);
}

/* No byte behind the end is looked at, and nothing is found there. */
static void test_cut(void **state)
{
    struct print_report r;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(print_samples); i++) {
        struct guard g = guard_new(print_samples[i].in.n);

        for (size_t n = 0; n <= print_samples[i].in.n; n++) {
            print_scan(guard_span(&g, span_sub(print_samples[i].in, 0, n)), PRINT_OTHER, &r);
            for (unsigned f = 0; f < PRINT_FINDS; f++)
                assert_true(!r.find[f].there || r.find[f].at < n);
        }
        guard_free(&g);
    }
}

/* ---- PJL ---- */

/* clang-format off */
static const struct {
    const char *word, *finds;
} commands[] = {
    {"FSDOWNLOAD", "pjl-fsdownload"},
    {"FSUPLOAD",   "pjl-fsupload"},
    {"FSAPPEND",   "pjl-fsappend"},
    {"FSDELETE",   "pjl-fsdelete"},
    {"FSMKDIR",    "pjl-fsmkdir"},
    {"FSINIT",     "pjl-fsinit"},
    {"FSQUERY",    "pjl-fsquery"},
    {"FSDIRLIST",  "pjl-fsdirlist"},
    {"INITIALIZE", "pjl-initialize"},
    {"DEFAULT",    "pjl-default"},
    {"RNVRAM",     "pjl-nvram"},
    {"WNVRAM",     "pjl-nvram"},
    {"CLEARNVRAM", "pjl-nvram"},
    {"NVRAMINIT",  "pjl-nvram"},
    {"DMCMD",      "pjl-dmcmd"},
    {"DISKLOCK",   "pjl-lock"},
    {"UPGRADE",    "pjl-upgrade"},
    {"RESET",      "pjl-reset"},
    {"DMINFO",     "pjl-dminfo"},
    {"RDYMSG",     "pjl-rdymsg"},
    {"OPMSG",      "pjl-opmsg"},
    {"STMSG",      "pjl-stmsg"},
    {"COMMENT",    ""},
    {"SET",        ""},
    {"JOB",        ""},
    {"EOJ",        ""},
    {"ECHO",       ""},
    {"ENTER",      ""},
    {"INFO",       ""},
    {"USTATUS",    ""},
};
static const struct {
    const char *before, *after;
} spellings[] = {
    {UEL "@PJL ", "\n"},
    {UEL "@PJL ", " X=\"1\"\r\n" UEL},
    {"\r\n@PJL\t", " : Y\n"},
    {UEL "@PJL COMMENT x\r\n@PJL  ", ""},
    {"%!PS\nshowpage\n" UEL "@PJL \t", "\t=1\n"},
};
/* clang-format on */

static void test_commands(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 0);
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        for (size_t k = 0; k < 2 * ARRAY_LEN(spellings); k++) {
            buf_reset(&b);
            buf_text(&b, spellings[k / 2].before);
            for (const char *p = commands[i].word; *p; p++)
                buf_char(&b, k % 2 ? char_lower(*p) : *p);
            buf_text(&b, spellings[k / 2].after);
            assert_report(buf_span(&b), PRINT_OTHER, commands[i].finds, 0);
        }
    buf_done(&b);
}

/* The first of several; in a later document, too. */
static void test_offsets(void **state)
{
    static const struct span in =
        SPAN(UEL "@PJL FSDELETE\n@PJL FSDELETE\n" UEL "@PJL\r@PJL FSINIT\n%!PS\n(%disk) quit");
    struct print_report r;

    (void)state;
    print_scan(in, PRINT_OTHER, &r);
    assert_int_equal(r.find[PRINT_PJL_FSDELETE].at, 9);
    assert_int_equal(r.find[PRINT_PJL_FSINIT].at, 9 + 28 + 9 + 5);
    assert_memory_equal(in.p + r.find[PRINT_PJL_FSINIT].at, "@PJL FSINIT", 11);
    assert_memory_equal(in.p + r.find[PRINT_PS_DISK].at, "(%disk)", 7);
    assert_memory_equal(in.p + r.find[PRINT_PS_QUIT].at, "quit", 4);
}

/* ---- what it is declared to be ---- */

static void test_declared(void **state)
{
    (void)state;
    assert_report(SPAN("(a) deletefile"), PRINT_POSTSCRIPT, "ps-deletefile", 0);
    assert_report(SPAN("(a) deletefile"), PRINT_PDF, "", 0);
    assert_report(SPAN("1 0 obj<</S/Launch>>endobj"), PRINT_PDF, "pdf-launch", 0);
    assert_report(SPAN("1 0 obj<</S/Launch>>endobj"), PRINT_POSTSCRIPT, "", 0);
    /* Some printers believe the bytes, others what is declared. */
    assert_report(SPAN("\xff\xd8\xff\xe0"), PRINT_PDF, "", 1);
    assert_report(SPAN("\xff\xd8\xff\xe0(a) deletefile"), PRINT_POSTSCRIPT, "ps-deletefile", 1);
    assert_report(SPAN("%!PS\n1 0 obj<</S/Launch>>endobj (a) deletefile"), PRINT_PDF,
                  "ps-deletefile pdf-launch", 0);
    assert_report(SPAN(PDF "1 0 obj<</S/Launch>>endobj (a) deletefile"), PRINT_POSTSCRIPT,
                  "ps-deletefile pdf-launch", 0);
    assert_report(SPAN("1 pop\n%PDF-\n(%disk0%x) deletefile\n"), PRINT_POSTSCRIPT,
                  "ps-deletefile ps-disk", 0);
    assert_report(SPAN("(%disk0%x) deletefile\n%!PS\nshowpage\n"), PRINT_POSTSCRIPT,
                  "ps-deletefile ps-disk", 0);
    assert_report(SPAN(UEL "@PJL ENTER LANGUAGE=PDF\n(a) deletefile"), PRINT_POSTSCRIPT,
                  "ps-deletefile", 0);
    assert_report(SPAN(UEL "@PJL COMMENT x\r(a) deletefile\r"), PRINT_POSTSCRIPT, "ps-deletefile",
                  0);
    assert_report(SPAN(UEL "@PJL FSINIT\n(a) deletefile"), PRINT_POSTSCRIPT,
                  "pjl-fsinit ps-deletefile", 0);
}

/* Readers look for the head in the first bytes, some of them in the first 4 KiB. */
static void test_far_head(void **state)
{
    static const struct {
        const char *head, *rest, *finds;
        size_t last; /* the last offset at which the head counts */
    } rows[] = {
        {"%PDF-1.7\n", "1 0 obj<</S/Launch>>endobj", "pdf-launch",    4127},
        {"\n%!PS\n",   "(a) deletefile",             "ps-deletefile", 4126},
    };
    struct buf b;

    (void)state;
    buf_init(&b, 0);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        for (size_t off = 4100; off < 4150; off++) {
            buf_reset(&b);
            for (size_t k = 0; k < off; k++)
                buf_char(&b, 'x');
            buf_text(&b, rows[i].head);
            buf_text(&b, rows[i].rest);
            assert_report(buf_span(&b), PRINT_OTHER, off <= rows[i].last ? rows[i].finds : "", 0);
        }
    buf_done(&b);
}

/* ---- PostScript ---- */

/* A name in a string, of which the end comes within 64 KiB, or does not. */
static void test_long_strings(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 0);
    for (size_t n = 65535 - 40; n < 65535 + 40; n++) {
        buf_reset(&b);
        buf_text(&b, "%!PS\n(deletefile ");
        while (b.n < n + 5) /* with the parenthesis */
            buf_char(&b, 'x');
        buf_text(&b, ") show");
        assert_report(buf_span(&b), PRINT_OTHER, n <= 65535 ? "" : "ps-deletefile", 0);
    }
    /* Behind one that is none the reader is in code again. */
    buf_reset(&b);
    buf_text(&b, "%!PS\n(");
    while (b.n < 70000)
        buf_text(&b, "xxxxxxx ");
    buf_text(&b, "(a) (r) file");
    assert_report(buf_span(&b), PRINT_OTHER, "ps-file", 0);
    /* ... and in the string still. */
    buf_text(&b, "%) pop (a) deletefile");
    assert_report(buf_span(&b), PRINT_OTHER, "ps-deletefile ps-file", 0);
    buf_done(&b);
}

/* However many strings there may be, what comes behind any of them is read. */
static void test_many_readings(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 0);
    for (size_t n = 1; n < 80; n++) {
        buf_reset(&b);
        buf_text(&b, "%!PS\n");
        for (size_t i = 0; i < n; i++)
            buf_text(&b, "(~>");
        for (size_t i = 0; i < n; i++)
            buf_text(&b, "%)");
        assert_report(buf_span(&b), PRINT_OTHER, "", 0);
        buf_text(&b, "(a) deletefile");
        assert_report(buf_span(&b), PRINT_OTHER, "ps-deletefile", 0);
    }
    buf_done(&b);
}

/* ---- pages ---- */

static void put_pwg(struct buf *b, const char *sync, const char *class, uint32_t total)
{
    size_t from = b->n;

    buf_text(b, sync);
    buf_text(b, class);
    while (b->n < from + 4 + 452)
        buf_char(b, '\0');
    for (unsigned i = 0; i < 4; i++)
        buf_char(b, (char)(total >> (24 - 8 * i)));
    while (b->n < from + 4 + 1796)
        buf_char(b, '\0');
    buf_text(b, "\x01\x02picture");
}

static void test_pwg_raster(void **state)
{
    static const struct {
        const char *sync, *class;
        uint32_t total, pages;
    } rows[] = {
        {"RaS2", "PwgRaster", 17,         17        },
        {"RaS2", "PwgRaster", 0,          0         },
        {"RaS2", "PwgRaster", UINT32_MAX, 0         },
        {"RaS2", "PwgRaster", 0x12345678, 0x12345678},
        {"RaS2", "Other",     17,         0         },
        {"RaS3", "PwgRaster", 17,         0         },
    };
    struct buf b;

    (void)state;
    buf_init(&b, 0);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        buf_reset(&b);
        put_pwg(&b, rows[i].sync, rows[i].class, rows[i].total);
        assert_report(buf_span(&b), PRINT_OTHER, "", rows[i].pages);
        for (size_t n = 450; n < 470; n++)
            assert_report(span_sub(buf_span(&b), 0, n), PRINT_OTHER, "",
                          n < 460 ? 0 : rows[i].pages);
    }
    buf_done(&b);
}

static void test_pages_add_up(void **state)
{
    (void)state;
    assert_report(SPAN("UNIRAST\0\xff\xff\xff\xfe" UEL "\xff\xd8\xff"), PRINT_OTHER, "",
                  UINT32_MAX);
    assert_report(SPAN("UNIRAST\0\xff\xff\xff\xfe" UEL "\xff\xd8\xff" UEL "\xff\xd8\xff"),
                  PRINT_OTHER, "", UINT32_MAX);
    assert_report(SPAN("UNIRAST\0\xff\xff\xff\xfe" UEL "\xff\xd8\xff" UEL "?"), PRINT_OTHER, "", 0);
}

/* ---- large ---- */

#define MANY (100u << 20)
#define SOME (8u << 20)

/* clang-format off */
/* What would cost the square of its size if anything were looked at again and again. A slow reader
 * is seen by the test's time limit. */
static const struct {
    const char *what, *head;
    struct span again;
    size_t size;
} large[] = {
    {"nothing", "", SPAN("\0"), MANY},
    {"nothing in PostScript", "%!PS\n", SPAN("\0"), MANY},
    {"nothing in PDF", PDF, SPAN("\0"), MANY},
    {"nothing in a stream of a PDF", PDF "1 0 obj <<>> stream\n", SPAN("\0"), MANY},
    {"blanks in PJL", UEL "@PJL", SPAN(" "), SOME},
    {"empty lines in PJL", UEL "@PJL\n", SPAN("\r\n"), SOME},
    {"CR in PJL", UEL "@PJL COMMENT ", SPAN("\r@PJL "), SOME},
    {"CR and text in PJL", UEL "@PJL COMMENT ", SPAN("\r%!PS\r@PJL "), SOME},
    {"lines of PJL", UEL, SPAN("@PJL\n"), SOME},
    {"UEL", "%!PS\n", SPAN(UEL), SOME},
    {"UEL and PostScript", "", SPAN(UEL "%!PS\n("), SOME},
    {"UEL and PDF", "", SPAN(UEL PDF "("), SOME},
    {"PostScript, names", "%!PS\n", SPAN("a "), SOME},
    {"PostScript, one name", "%!PS\n", SPAN("a"), SOME},
    {"PostScript, parentheses", "%!PS\n", SPAN("("), SOME},
    {"PostScript, ends of strings", "%!PS\n", SPAN(")"), SOME},
    {"PostScript, data of a filter", "%!PS\n", SPAN("(~>"), SOME},
    {"PostScript, ends of data and escapes", "%!PS\n", SPAN("\\(~>)("), SOME},
    {"PostScript, ends of data in comments", "%!PS\n", SPAN("%%~>"), SOME},
    {"PostScript, ends of jobs in strings", "%!PS\n", SPAN("(\4"), SOME},
    {"PostScript, long strings that begin with lines that go on", "%!PS\n", SPAN("(\\\n\\\n\\\n\\\n~>"), SOME},
    {"PostScript, backslashes", "%!PS\n(", SPAN("\\"), SOME},
    {"PostScript, angles", "%!PS\n", SPAN("<"), SOME},
    {"PostScript, hexadecimal", "%!PS\n", SPAN("<aaaa"), SOME},
    {"PostScript, ASCII85", "%!PS\n", SPAN("<~"), SOME},
    {"PostScript, ASCII85 digits", "%!PS\n<~", SPAN("a"), SOME},
    {"PostScript, comments", "%!PS\n", SPAN("%%Pages: 1\n"), SOME},
    {"PostScript, comments that ^D ends", "%!PS\n", SPAN("%%\4"), SOME},
    {"PostScript, comments that a quoted end of a line ends", "%!PS\n", SPAN("%%\1J"), SOME},
    {"PostScript, pages that ^D ends", "%!PS\n", SPAN("%%Pages: 1\4"), SOME},
    {"PostScript, comments with what a channel keeps", "%!PS\n", SPAN("%%\021\021\021\4"), SOME},
    {"PostScript, data", "%!PS\n", SPAN("%%BeginBinary: 9999\n"), SOME},
    {"PostScript, lines of data", "%!PS\n", SPAN("%%BeginData: 999999 Hex Lines\n"), SOME},
    {"PostScript, slashes", "%!PS\n", SPAN("/"), SOME},
    {"PostScript, names that may be let go", "%!PS\n", SPAN("/quit { "), SOME},
    {"PostScript, names that are held and let go", "%!PS\n/quit 1 /x ", SPAN("/quit where /known exec "), SOME},
    {"PostScript, quoted parentheses", "%!PS\n", SPAN("\1("), SOME},
    {"PostScript, parentheses that are quoted", "%!PS\n", SPAN("\1h"), SOME},
    {"PostScript, quoted ends of data", "%!PS\n", SPAN("(\1>>"), SOME},
    {"PostScript, what a channel keeps", "%!PS\n", SPAN("(\021\021\021\021~>"), SOME},
    {"PostScript, quotes and what a channel keeps", "%!PS\n(", SPAN("\1\021\034\021"), SOME},
    {"PostScript, one quote and what a channel keeps", "%!PS\n~\1", SPAN("\034"), SOME},
    {"PostScript, nothing but that", "%!PS\n(", SPAN("\021"), MANY},
    {"EPS", "\xc5\xd0\xd3\xc6\x08\x01\x01\x01", SPAN("\xc5\xd0\xd3\xc6("), SOME},
    {"PDF, parentheses", PDF, SPAN("("), SOME},
    {"PDF, objects in strings", PDF, SPAN(" 5 0 obj ("), SOME},
    {"PDF, numbers", PDF "(", SPAN("5 "), SOME},
    {"PDF, digits", PDF "(", SPAN("5555555555555555 obj "), SOME},
    {"PDF, blanks before obj", PDF "(", SPAN("                obj "), SOME},
    {"PDF, obj without numbers", PDF "(", SPAN(" obj"), SOME},
    {"PDF, trailers", PDF "(", SPAN("trailer "), SOME},
    {"PDF, trailers with brackets", PDF "(", SPAN("trailer<<"), SOME},
    {"PDF, trailers with comments", PDF "(", SPAN("trailer%"), SOME},
    {"PDF, streams", PDF, SPAN("stream "), SOME},
    {"PDF, blanks before streams", PDF, SPAN("                stream"), SOME},
    {"PDF, ends of streams", PDF "stream ", SPAN("endstrea"), SOME},
    {"PDF, dictionaries", PDF, SPAN("<<"), SOME},
    {"PDF, ends of dictionaries", PDF, SPAN(">>"), SOME},
    {"PDF, arrays", PDF "<<", SPAN("["), SOME},
    {"PDF, names", PDF "<<", SPAN("/#41"), SOME},
    {"PDF, comments", PDF, SPAN("%"), SOME},
    {"PDF, hexadecimal", PDF, SPAN("<a"), SOME},
};
/* clang-format on */

static void test_large(void **state)
{
    char *p = malloc(MANY);

    (void)state;
    assert_non_null(p);
    for (size_t i = 0; i < ARRAY_LEN(large); i++) {
        struct span again = large[i].again;
        struct print_report r;
        size_t n = strlen(large[i].head);

        memcpy(p, large[i].head, n);
        if (again.n == 1)
            memset(p + n, again.p[0], large[i].size - n);
        for (; again.n > 1 && n + again.n <= large[i].size; n += again.n)
            memcpy(p + n, again.p, again.n);
        print_message("%s\n", large[i].what);
        print_scan((struct span){p, again.n == 1 ? large[i].size : n}, PRINT_OTHER, &r);
        for (unsigned f = 0; f < PRINT_FINDS; f++)
            assert_false(r.find[f].there);
    }
    free(p);
}

/* ---- the table ---- */

static void test_names(void **state)
{
    (void)state;
    for (unsigned i = 0; i < PRINT_FINDS; i++) {
        const char *name = print_find_name((enum print_find)i);

        assert_true(strlen(name) > 3 && strlen(name) < 64);
        for (unsigned k = 0; k < i; k++)
            assert_string_not_equal(name, print_find_name((enum print_find)k));
    }
    assert_true(print_find_blocks(PRINT_PJL_FSDELETE));
    assert_false(print_find_blocks(PRINT_PDF_ENCRYPTED));
    assert_string_equal(print_find_name(PRINT_FINDS), "unknown");
    assert_true(print_find_blocks(PRINT_FINDS));
}

#define ROWS ARRAY_LEN(print_samples)

int main(void)
{
    const struct CMUnitTest others[] = {
        cmocka_unit_test(test_cut),           cmocka_unit_test(test_commands),
        cmocka_unit_test(test_offsets),       cmocka_unit_test(test_declared),
        cmocka_unit_test(test_far_head),      cmocka_unit_test(test_long_strings),
        cmocka_unit_test(test_many_readings), cmocka_unit_test(test_pwg_raster),
        cmocka_unit_test(test_pages_add_up),  cmocka_unit_test(test_large),
        cmocka_unit_test(test_names),
    };
    static struct print_sample copies[ROWS]; /* cmocka's state is not const */
    struct CMUnitTest tests[ROWS];

    memcpy(copies, print_samples, sizeof copies);
    for (size_t i = 0; i < ROWS; i++)
        tests[i] = (struct CMUnitTest){copies[i].what, test_row, NULL, NULL, &copies[i]};
    int failed = cmocka_run_group_tests_name("documents", tests, NULL, NULL);

    return failed + cmocka_run_group_tests_name("others", others, NULL, NULL);
}
