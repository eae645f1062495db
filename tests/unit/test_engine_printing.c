/* SPDX-License-Identifier: Apache-2.0 */
/* The printing engine: what follows from what a printer would read, of a body and of the files of a
 * form. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sys/mman.h>
#include <unistd.h>

#include "test_pack.h"
#include "test_print_samples.h"
#include "worker/engine_printing.h"
#include "worker/inspect.h"

static struct engines engines;

static struct scan_result look(struct span in, const char *type)
{
    const struct engine_file file = {.p = (const uint8_t *)in.p,
                                     .n = in.n,
                                     .name = "",
                                     .type = type,
                                     .role = OBJECT_BODY,
                                     .where = "",
                                     .time_ms = 1000};
    struct scan_result r;

    memset(&r, 0, sizeof r);
    engines.list[0].scan(engines.list[0].ctx, &file, &r);
    return r;
}

/* ---- what is said of one ---- */

static void test_describe(void **state)
{
    (void)state;
    assert_string_equal(engines.text, "printing 3");
    assert_string_equal(engines.list[0].name, "printing");
    assert_int_equal(engines.list[0].bit, WIRE_ENGINE_PRINTING);
}

static void assert_finding(const struct finding *f, const char *name, const char *where, bool note)
{
    assert_string_equal(f->engine, "printing");
    assert_string_equal(f->name, name);
    assert_string_equal(f->where, where);
    assert_int_equal(f->note, note);
}

static void test_clean(void **state)
{
    struct scan_result r = look(SPAN(PDF TREE), "");

    (void)state;
    assert_int_equal(r.verdict, VERDICT_PASS);
    assert_int_equal(r.n_findings, 0);
    assert_string_equal(r.why, "");
    assert_false(r.incomplete);
    assert_int_equal(r.pages, 1);
}

static void test_blocked(void **state)
{
    struct scan_result r =
        look(SPAN(UEL "@PJL RDYMSG DISPLAY=\"x\"\n@PJL FSDELETE\n@PJL FSINIT\n"), "");

    (void)state;
    assert_int_equal(r.verdict, VERDICT_BLOCK);
    assert_int_equal(r.cause, CAUSE_INFECTED);
    assert_int_equal(r.also, 0);
    assert_int_equal(r.err, OK);
    assert_string_equal(r.why, "pjl-fsdelete");
    assert_int_equal(r.n_findings, 3);
    assert_finding(&r.findings[0], "pjl-fsdelete", "offset 33", false);
    assert_finding(&r.findings[1], "pjl-fsinit", "offset 47", false);
    assert_finding(&r.findings[2], "pjl-rdymsg", "offset 9", true);
}

static void test_noted(void **state)
{
    struct scan_result r = look(SPAN("%!PS\n%%Pages: 2\nquit"), "");

    (void)state;
    assert_int_equal(r.verdict, VERDICT_PASS);
    assert_int_equal(r.n_findings, 1);
    assert_finding(&r.findings[0], "ps-quit", "offset 16", true);
    assert_int_equal(r.pages, 2);
}

/* Nobody has looked into it, and what is seen all the same counts more. */
static void test_encrypted(void **state)
{
    struct scan_result r = look(SPAN(PDF TREE "trailer<</Encrypt 5 0 R>>"), "");

    (void)state;
    assert_int_equal(r.verdict, VERDICT_NOT_INSPECTED);
    assert_int_equal(r.cause, CAUSE_NOT_INSPECTED);
    assert_string_equal(r.why, "the PDF is encrypted");
    assert_true(r.incomplete);
    assert_int_equal(r.n_findings, 1);
    assert_true(r.findings[0].note);
    assert_string_equal(r.findings[0].name, "pdf-encrypted");
    assert_int_equal(r.pages, 1);
    r = look(SPAN(PDF "1 0 obj<</S/Launch>>endobj trailer<</Encrypt 5 0 R>>"), "");
    assert_int_equal(r.verdict, VERDICT_BLOCK);
    assert_int_equal(r.cause, CAUSE_INFECTED);
    assert_int_equal(r.also, 1u << CAUSE_NOT_INSPECTED);
    assert_true(r.incomplete);
}

static void test_declared(void **state)
{
    (void)state;
    assert_int_equal(look(SPAN("(a) deletefile"), "").verdict, VERDICT_PASS);
    assert_int_equal(look(SPAN("(a) deletefile"), "text/plain").verdict, VERDICT_PASS);
    assert_int_equal(look(SPAN("(a) deletefile"), "application/postscript").verdict, VERDICT_BLOCK);
    assert_int_equal(look(SPAN("1 0 obj<</S/Launch>>"), "application/pdf").verdict, VERDICT_BLOCK);
}

/* More kinds of findings than a result has room for: what blocks is there. */
static void test_many(void **state)
{
    struct scan_result r;
    struct buf b;
    unsigned notes = 0;

    (void)state;
    buf_init(&b, 0);
    buf_text(&b, UEL "@PJL RESET\n@PJL DMINFO\n@PJL RDYMSG\n@PJL OPMSG\n@PJL STMSG\n@PJL FSINIT\n"
                     "@PJL FSDELETE\n@PJL FSMKDIR\n@PJL FSQUERY\n@PJL ENTER LANGUAGE=POSTSCRIPT\n"
                     "quit file run a cvx exec deletefile renamefile startjob exitserver "
                     "setpassword setsystemparams setdevparams filenameforall sethostname "
                     "(%disk) pop (%pipe%) pop");
    r = look(buf_span(&b), "");
    assert_int_equal(r.verdict, VERDICT_BLOCK);
    assert_int_equal(r.n_findings, FINDINGS_MAX);
    for (unsigned i = 0; i < r.n_findings; i++)
        notes += r.findings[i].note;
    assert_int_equal(notes, FINDINGS_MAX - 15);
    buf_done(&b);
}

/* ---- a whole JOB ---- */

#define FORM "multipart/form-data; boundary=BB"

static void add_part(struct buf *b, const char *name, const char *file, struct span content)
{
    buf_fmt(b, "--BB\r\nContent-Disposition: form-data; name=\"%s\"", name);
    if (file)
        buf_fmt(b, "; filename=\"%s\"\r\nContent-Type: application/pdf", file);
    buf_text(b, "\r\n\r\n");
    buf_add(b, content);
    buf_text(b, "\r\n");
}

static struct scan_result inspect(struct span body, const char *type, const char *encoding,
                                  uint32_t wanted)
{
    struct wire_message job = {.kind = WIRE_JOB};
    int fd = memfd_create("body", MFD_CLOEXEC), objects = -1;
    struct scan_result r;

    assert_true(fd >= 0);
    assert_int_equal(write(fd, body.p, body.n), (ssize_t)body.n);
    job.job.engines = wanted;
    job.job.time_ms = 60000;
    job.job.len = body.n;
    job.job.unpack = (struct wire_unpack){
        .size_max = 1 << 20, .ratio_max = 100, .codings_max = 3, .parts_max = 100};
    (void)span_copy(span_of(type), job.job.type, sizeof job.job.type);
    (void)span_copy(span_of(encoding), job.job.encoding, sizeof job.job.encoding);
    worker_inspect(&engines, &job, fd, &r, &objects);
    assert_int_equal(objects, -1);
    assert_int_equal(close(fd), 0);
    return r;
}

#define WANTED (WIRE_ENGINE_PRINTING | WIRE_ENGINE_UNPACK)

/* Decoded, as the other engines see it. */
static void test_packed(void **state)
{
    static const struct span bad = SPAN(UEL "@PJL FSDELETE\n");
    struct scan_result r;
    struct buf b;

    (void)state;
    buf_init(&b, 0);
    pack("gzip", SPAN(PDF TREE), &b);
    r = inspect(buf_span(&b), "application/pdf", "gzip", WANTED);
    assert_int_equal(r.verdict, VERDICT_PASS);
    assert_int_equal(r.pages, 1);
    buf_reset(&b);
    pack("gzip", bad, &b);
    r = inspect(buf_span(&b), "application/octet-stream", "gzip", WANTED);
    assert_int_equal(r.verdict, VERDICT_BLOCK);
    assert_finding(&r.findings[0], "pjl-fsdelete", "offset 9", false);
    buf_done(&b);
}

static const struct {
    const char *what;
    struct {
        const char *name, *file;
        struct span content;
    } parts[4];
    uint32_t pages;
} forms[] = {
    {"one file",               {{"f", "a.pdf", SPAN(PDF TREE)}},                                            1 },
    {"a file and fields",
     {{"a", NULL, SPAN("1")},
      {"f", "a.pdf", SPAN(PDF TREE)},
      {"b", NULL, SPAN("%!PS\n%%Pages: 9\n")}},
     1                                                                                                        },
    {"two files",              {{"f", "a.pdf", SPAN(PDF TREE)}, {"g", "b.ps", SPAN("%!PS\n%%Pages: 9\n")}}, 10},
    {"two files, one unknown", {{"f", "a.pdf", SPAN(PDF TREE)}, {"g", "b.txt", SPAN("text")}},              0 },
    {"two files, one empty",   {{"f", "a.pdf", SPAN(PDF TREE)}, {"g", "b.txt", SPAN("")}},                  1 },
    {"more than fit",
     {{"f", "a", SPAN("UNIRAST\0\xff\xff\xff\xfe")}, {"g", "b", SPAN("UNIRAST\0\xff\xff\xff\xfe")}},
     UINT32_MAX                                                                                               },
    {"fields",                 {{"a", NULL, SPAN("1")}},                                                    0 },
};

static void test_pages_of_forms(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 0);
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        struct scan_result r;

        print_message("%s\n", forms[i].what);
        buf_reset(&b);
        for (size_t k = 0; k < ARRAY_LEN(forms[i].parts) && forms[i].parts[k].name; k++)
            add_part(&b, forms[i].parts[k].name, forms[i].parts[k].file, forms[i].parts[k].content);
        buf_text(&b, "--BB--\r\n");
        r = inspect(buf_span(&b), FORM, "", WANTED);
        assert_int_equal(r.verdict, VERDICT_PASS);
        assert_int_equal(r.pages, forms[i].pages);
    }
    buf_done(&b);
}

static void test_finding_in_a_form(void **state)
{
    struct scan_result r;
    struct buf b;

    (void)state;
    buf_init(&b, 0);
    add_part(&b, "a", NULL, SPAN("1"));
    add_part(&b, "f", "a.ps", SPAN("%!PS\n(a) deletefile"));
    buf_text(&b, "--BB--\r\n");
    r = inspect(buf_span(&b), FORM, "", WANTED);
    assert_int_equal(r.verdict, VERDICT_BLOCK);
    assert_int_equal(r.n_findings, 1);
    assert_finding(&r.findings[0], "ps-deletefile", "part 2 \"f\" file \"a.ps\" offset 9", false);
    buf_done(&b);
}

static void test_not_asked(void **state)
{
    struct scan_result r = inspect(SPAN(PDF TREE), "", "", WIRE_ENGINE_UNPACK);

    (void)state;
    assert_int_equal(r.pages, 0);
    r = inspect(SPAN(PDF TREE), "", "", WIRE_ENGINE_YARA);
    assert_int_equal(r.verdict, VERDICT_ERROR);
    assert_int_equal(r.cause, CAUSE_ENGINE_DOWN);
    assert_int_equal(r.pages, 0);
}

static int set_up(void **state)
{
    struct buf text;

    (void)state;
    buf_init(&text, 0);
    engines.list[engines.n++] = engine_printing(&text);
    (void)span_copy(buf_span(&text), engines.text, sizeof engines.text);
    buf_done(&text);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_describe),       cmocka_unit_test(test_clean),
        cmocka_unit_test(test_blocked),        cmocka_unit_test(test_noted),
        cmocka_unit_test(test_encrypted),      cmocka_unit_test(test_declared),
        cmocka_unit_test(test_many),           cmocka_unit_test(test_packed),
        cmocka_unit_test(test_pages_of_forms), cmocka_unit_test(test_finding_in_a_form),
        cmocka_unit_test(test_not_asked),
    };

    return cmocka_run_group_tests(tests, set_up, NULL);
}
