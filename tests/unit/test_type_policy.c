/* SPDX-License-Identifier: Apache-2.0 */
/* Which types of files a service takes: what goes with what, and what is said about an object. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "adapt/type_policy.h"
#include "adapt/type_table.h"

#define PE   "application/vnd.microsoft.portable-executable"
#define DOCX "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
#define DOCM "application/vnd.ms-word.document.macroenabled.12"
#define OLE  "application/x-ole-storage"
#define BIN  "application/octet-stream"

/* ---- mismatch ---- */

/* clang-format off */
static const struct mismatch_row {
    const char *declared, *name, *sniffed;
    const char *kind; /* NULL: they go together */
} mismatches[] = {
    /* programs */
    {"image/png", "a.png", PE, "executable"},
    {"text/plain", "a.txt", PE, "executable"},
    {"text/plain", "", PE, "executable"},
    {"application/pdf", "a.pdf", PE, "executable"},
    {"application/zip", "a.zip", PE, "executable"},
    {"application/msword", "a.doc", PE, "executable"},
    {"image/jpeg", "a.exe", PE, "executable"},
    {"application/x-msdownload", "a.jpg", PE, "executable"},
    {"application/x-msdownload", "a.exe", PE, NULL},
    {"APPLICATION/X-MSDOWNLOAD", "a.EXE", PE, NULL},
    {"application/x-msdownload", "a.dll", "application/x-dosexec", NULL},
    {PE, "a.exe", "application/zip", NULL},
    {"video/mp4", "a.mp4", "application/x-executable", "executable"},
    {"image/png", "", "application/x-ms-shortcut", "executable"},
    /* declared as anything: the name counts */
    {BIN, "a.exe", PE, NULL},
    {BIN, "a.png", PE, "executable"},
    {BIN, "", PE, NULL},
    {"", "a.png", PE, "executable"},
    {"", "", PE, NULL},
    {"binary/octet-stream", "a.pdf", "application/zip", "archive"},
    {"application/x-download", "a.zip", "application/zip", NULL},
    {"application/force-download", "a.txt", PE, "executable"},
    /* not known, or nothing to say */
    {"application/x-of-ours", "a.of-ours", PE, NULL},
    {"application/x-of-ours", "a.png", PE, "executable"},
    {"image/png", "a.png", BIN, NULL},
    {"image/png", "a.png", "", NULL},
    {"image/png", "a.png", "application/x-of-ours", NULL},
    {"image/x-of-ours", "", PE, "executable"},
    /* images and other harmless ones among themselves */
    {"image/png", "a.jpg", "image/gif", NULL},
    {"image/png", "a.png", "text/plain", NULL},
    {"audio/mpeg", "a.mp3", "video/mp4", NULL},
    {"font/woff", "a.woff", "application/json", NULL},
    /* text */
    {"text/plain", "a.txt", "text/html", NULL},
    {"text/plain", "a.txt", "text/x-shellscript", NULL},
    {"text/plain", "a.txt", "image/svg+xml", NULL},
    {"text/css", "a.css", "text/html", NULL},
    {"text/javascript", "a.js", "text/html", NULL},
    {"text/javascript", "a.js", "text/plain", NULL},
    {"text/html", "a.html", "text/xml", NULL},
    {"text/plain", "a.log", "application/gzip", "archive"},
    {"text/plain", "a.txt", "application/pdf", "pdf"},
    {"text/html", "a.html", "application/zip", "archive"},
    {"text/plain", "a.png", "text/html", "html"},
    {"text/plain", "a.docx", DOCX, NULL},
    /* active text under a harmless name */
    {"image/png", "a.png", "text/html", "html"},
    {"image/gif", "a.gif", "text/x-php", "script"},
    {"image/jpeg", "a.jpg", "image/svg+xml", "svg"},
    {"image/svg+xml", "a.svg", "image/svg+xml", NULL},
    {"image/svg+xml", "a.svgz", "application/gzip", "archive"},
    {BIN, "a.svgz", "application/gzip", NULL},
    {"audio/mpeg", "a.mp3", "application/hta", "script"},
    {"application/pdf", "a.pdf", "text/html", "html"},
    {"application/pdf", "a.pdf", "application/pdf", NULL},
    {"application/x-pdf", "a.PDF", "application/pdf", NULL},
    {"image/png", "a.png", "application/pdf", "pdf"},
    /* archives */
    {"application/x-zip-compressed", "a.zip", "application/zip", NULL},
    {"application/zip", "a.zip", "application/gzip", NULL},
    {"application/zip", "a.rar", "application/x-rar", NULL},
    {"image/png", "a.png", "application/zip", "archive"},
    {"image/png", "a.png", "application/x-iso9660-image", "archive"},
    {"application/pdf", "a.pdf", "application/x-7z-compressed", "archive"},
    {"application/zip", "a.zip", "application/java-archive", "executable"},
    {"application/java-archive", "a.jar", "application/zip", NULL},
    /* documents */
    {DOCX, "a.docx", DOCX, NULL},
    {DOCX, "a.docx", "application/zip", NULL},
    {DOCX, "a.docx", OLE, NULL},
    {DOCX, "a.docx", DOCM, "macros"},
    {"application/vnd.ms-word.document.macroEnabled.12", "a.docm", DOCM, NULL},
    {"application/msword", "a.doc", DOCM, NULL},
    {"application/msword", "a.doc", DOCX, NULL},
    {"application/msword", "a.doc", "text/rtf", NULL},
    {"application/msword", "a.doc", OLE, NULL},
    {"application/msword", "a.doc", "application/cdfv2", NULL},
    {"application/vnd.ms-excel", "a.xls", "application/zip", "archive"},
    {"application/vnd.ms-excel", "a.xls", "text/html", "html"},
    {"application/vnd.ms-excel", "a.csv", "text/plain", NULL},
    {"application/rtf", "a.rtf", "application/msword", NULL},
    {"image/png", "a.png", OLE, "office"},
    {"image/png", "a.png", DOCX, NULL},
    {"application/x-msi", "a.msi", OLE, NULL},
    /* names with tricks */
    {BIN, "a.png . ", PE, "executable"},
    {BIN, "a.exe\\b.png", PE, "executable"},
    {BIN, "a.png.exe", PE, NULL},
};
/* clang-format on */

static void test_mismatch(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(mismatches); i++) {
        const struct mismatch_row *row = &mismatches[i];
        const char *kind = "untouched";
        bool found =
            type_mismatch(span_of(row->declared), span_of(row->name), span_of(row->sniffed), &kind);

        print_message("%s, %s is %s\n", row->declared, row->name, row->sniffed);
        assert_int_equal(found, row->kind != NULL);
        assert_string_equal(kind, row->kind ? row->kind : "untouched");
    }
}

/* ---- the table ---- */

static void test_table(void **state)
{
    static const struct {
        const char *type, *row;
    } types[] = {
        {"IMAGE/PNG",                    "image/png"      },
        {"image/x-png",                  "image/png"      },
        {"image/x-of-ours",              "image/"         },
        {"application/x-zip-compressed", "application/zip"},
        {"application/zi",               NULL             },
        {"application",                  NULL             },
        {"",                             NULL             },
        {" ",                            NULL             },
        {"application/zip application",  NULL             },
    };
    static const struct {
        const char *extension, *row;
    } extensions[] = {
        {".doc",  "application/msword"},
        {".JPEG", "image/jpeg"        },
        {"doc",   NULL                },
        {".do",   NULL                },
        {".",     NULL                },
        {"",      NULL                },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        const struct type_row *row = type_find(span_of(types[i].type));

        assert_int_equal(row != NULL, types[i].row != NULL);
        if (row)
            assert_string_equal(row->type, types[i].row);
    }
    for (size_t i = 0; i < ARRAY_LEN(extensions); i++) {
        const struct type_row *row = type_of_extension(span_of(extensions[i].extension));

        assert_int_equal(row != NULL, extensions[i].row != NULL);
        if (row)
            assert_string_equal(row->type, extensions[i].row);
    }
}

/* ---- judging ---- */

#define LIST(...)                                                    \
    {                                                                \
        .v = (const char *const[]){__VA_ARGS__},                     \
        .n = sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *), \
    }
#define FINDINGS 4

/* clang-format off */
static const struct judge_row {
    const char *why;
    struct type_policy_settings p;
    enum object_role role;
    const char *declared, *name, *sniffed;
    const char *findings[FINDINGS]; /* with '~' in front: a note */
    bool blocks;
    bool empty; /* no bytes */
} judges[] = {
    {"nothing is asked", {.mismatch = TYPE_MISMATCH_PASS}, OBJECT_BODY, "image/png", "a.png", PE,
     {NULL}, false, false},
    {"a mismatch is noted", {.mismatch = TYPE_MISMATCH_NOTE}, OBJECT_FILE, "image/png", "a.png",
     PE, {"~Type.Mismatch.executable"}, false, false},
    {"a mismatch blocks", {.mismatch = TYPE_MISMATCH_BLOCK}, OBJECT_BODY, "image/png", "a.png", PE,
     {"Type.Mismatch.executable"}, true, false},
    {"a field has no type to match", {.mismatch = TYPE_MISMATCH_BLOCK}, OBJECT_FIELD, "text/plain",
     "a.png", PE, {NULL}, false, false},
    {"an odd name is noted", {.odd_names = TYPE_MISMATCH_NOTE}, OBJECT_FILE, "", "C:\\a.txt\x1b",
     "text/plain", {"~Name.Odd.control+path"}, false, false},
    {"an odd name blocks", {.odd_names = TYPE_MISMATCH_BLOCK}, OBJECT_FILE, "",
     "a\xe2\x80\xaetxt.exe", PE, {"Name.Odd.bidi"}, true, false},
    {"a plain name does not", {.odd_names = TYPE_MISMATCH_BLOCK}, OBJECT_FILE, "", "a.exe", PE,
     {NULL}, false, false},
    {"odd names may pass", {.odd_names = TYPE_MISMATCH_PASS}, OBJECT_FILE, "", "../a", PE, {NULL},
     false, false},
    {"a field's name is no file name", {.odd_names = TYPE_MISMATCH_BLOCK}, OBJECT_FIELD, "", "a/b",
     "text/plain", {NULL}, false, false},
    {"a sniffed type is denied", {.deny = LIST("image/*", PE)}, OBJECT_BODY, "image/png", "", PE,
     {"Type.Denied." PE}, true, false},
    {"under another of its names", {.deny = LIST("application/x-dosexec")}, OBJECT_BODY, "", "",
     PE, {"Type.Denied." PE}, true, false},
    {"by the name of its alias", {.deny = LIST("application/zip")}, OBJECT_BODY, "", "",
     "application/x-zip-compressed", {"Type.Denied.application/x-zip-compressed"}, true, false},
    {"a declared type is denied", {.deny = LIST("application/x-msdownload")}, OBJECT_BODY,
     "application/x-msdownload", "", "text/plain", {"Type.Denied.application/x-msdownload"}, true,
     false},
    {"a tree is denied", {.deny = LIST("VIDEO/*")}, OBJECT_BODY, "", "", "video/mp4",
     {"Type.Denied.video/mp4"}, true, false},
    {"the tree next to it is not", {.deny = LIST("video/*")}, OBJECT_BODY, "audio/mp4", "a.mp4",
     "audio/mp4", {NULL}, false, false},
    {"a name is denied", {.deny = LIST(".exe")}, OBJECT_FILE, "text/plain", "a.EXE", "text/plain",
     {"Type.Denied.exe"}, true, false},
    {"with what Windows drops", {.deny = LIST(".exe")}, OBJECT_FILE, "", "a.exe. .", "text/plain",
     {"Type.Denied.exe"}, true, false},
    {"in a path", {.deny = LIST(".exe")}, OBJECT_FILE, "", "a.exe/", "text/plain",
     {"Type.Denied.exe"}, true, false},
    {"as a pattern", {.deny = LIST(".doc?")}, OBJECT_FILE, "", "a.docm", "text/plain",
     {"Type.Denied.doc?"}, true, false},
    {"two extensions", {.deny = LIST(".tar.*")}, OBJECT_FILE, "", "a.b.tar.xz", "text/plain",
     {"Type.Denied.tar.*"}, true, false},
    {"an extension in the middle", {.deny = LIST(".exe", ".doc*")}, OBJECT_FILE, "",
     "a.exe.doc.txt", "text/plain", {NULL}, false, false},
    {"a name without dots", {.deny = LIST(".exe")}, OBJECT_FILE, "", "exe", "text/plain", {NULL},
     false, false},
    {"a name that nobody can read", {.deny = LIST("image/*", ".exe")}, OBJECT_BODY, "",
     "=?koi8-r?B?xQ==?=", "text/plain", {"Type.Denied.unknown-name"}, true, false},
    {"that is denied by its type, too", {.deny = LIST(".exe", "text/*")}, OBJECT_BODY, "",
     "=?koi8-r?B?xQ==?=", "text/plain", {"Type.Denied.text/plain"}, true, false},
    {"and no name is", {.deny = LIST("image/*")}, OBJECT_BODY, "", "=?koi8-r?B?xQ==?=",
     "text/plain", {NULL}, false, false},
    {"of a field", {.deny = LIST(".exe")}, OBJECT_FIELD, "", "=?koi8-r?B?xQ==?=", "text/plain",
     {NULL}, false, false},
    {"as an odd name", {.odd_names = TYPE_MISMATCH_BLOCK}, OBJECT_FILE, "", "=?koi8-r?B?xQ==?=",
     "text/plain", {"Name.Odd.encoded"}, true, false},
    {"no name", {.deny = LIST(".*")}, OBJECT_FILE, "", "", "text/plain", {NULL}, false, false},
    {"a field's name is not held against it", {.deny = LIST(".exe")}, OBJECT_FIELD, "", "a.exe",
     "text/plain", {NULL}, false, false},
    {"a field's bytes are", {.deny = LIST(PE)}, OBJECT_FIELD, "", "a", PE, {"Type.Denied." PE},
     true, false},
    {"denied once", {.deny = LIST(PE, ".exe", "application/*")}, OBJECT_BODY,
     "application/x-msdownload", "a.exe", PE, {"Type.Denied." PE}, true, false},
    {"a type is on the list", {.allow = LIST("text/*", "image/png")}, OBJECT_BODY, "", "",
     "image/png", {NULL}, false, false},
    {"a type is not", {.allow = LIST("text/*", "image/png")}, OBJECT_BODY, "image/png", "a.png",
     "image/gif", {"Type.NotAllowed.image/gif"}, true, false},
    {"nobody knows the type", {.allow = LIST("image/*")}, OBJECT_BODY, "image/png", "a.png", "",
     {"Type.NotAllowed." BIN}, true, false},
    {"unknown ones may be on the list", {.allow = LIST(BIN)}, OBJECT_BODY, "image/png", "a.png",
     "", {NULL}, false, false},
    {"nothing at all is fine", {.allow = LIST("image/*")}, OBJECT_BODY, "", "", "", {NULL}, false,
     true},
    {"a field is on no list", {.allow = LIST("image/*")}, OBJECT_FIELD, "", "", "text/plain",
     {NULL}, false, false},
    {"denied, and on the list", {.allow = LIST("text/*"), .deny = LIST("text/html")}, OBJECT_BODY,
     "", "", "text/html", {"Type.Denied.text/html"}, true, false},
    {"all at once", {.allow = LIST("text/*"), .deny = LIST(".png"), .mismatch = TYPE_MISMATCH_NOTE,
     .odd_names = TYPE_MISMATCH_BLOCK}, OBJECT_FILE, "image/png", "/a.png", PE, {"Type.Denied.png",
     "Type.NotAllowed." PE, "~Type.Mismatch.executable", "Name.Odd.path"}, true, false},
};
/* clang-format on */

static void check_findings(const struct judge_row *row, const struct scan_result *r)
{
    unsigned n = 0;

    for (; n < FINDINGS && row->findings[n]; n++) {
        const char *want = row->findings[n];

        assert_true(n < r->n_findings);
        assert_string_equal(r->findings[n].engine, "filetype");
        assert_int_equal(r->findings[n].note, want[0] == '~');
        assert_string_equal(r->findings[n].name, want + (want[0] == '~'));
        assert_string_equal(r->findings[n].where, "part 2");
    }
    assert_int_equal(r->n_findings, n);
}

static void judge_one(const struct type_policy_settings *p, const struct object *o,
                      const char *where, struct scan_result *r)
{
    struct type_walk w = {.policy = p, .steps.left = 1000000};

    assert_true(type_policy_judge(&w, o, 0, where, r));
}

static void test_judge(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(judges); i++) {
        const struct judge_row *row = &judges[i];
        const struct object o = {.source = OBJECT_ORIGINAL,
                                 .role = row->role,
                                 .len = row->empty ? 0 : 100,
                                 .name = span_of(row->name),
                                 .declared = span_of(row->declared),
                                 .sniffed = span_of(row->sniffed)};
        struct scan_result r;

        print_message("%s\n", row->why);
        memset(&r, 0, sizeof r);
        judge_one(&row->p, &o, "part 2", &r);
        check_findings(row, &r);
        assert_int_equal(r.verdict, row->blocks ? VERDICT_BLOCK : VERDICT_PASS);
        assert_int_equal(r.cause, row->blocks ? CAUSE_DENIED : CAUSE_NONE);
        assert_int_equal(r.why[0] != '\0', row->blocks);
    }
}

/* An infection stays one; what could not be inspected is blocked all the same. */
static void test_graver(void **state)
{
    const struct type_policy_settings p = {.deny = LIST(PE)};
    const struct object o = {.role = OBJECT_BODY, .len = 1, .sniffed = SPAN(PE)};
    struct scan_result r = {.verdict = VERDICT_BLOCK, .cause = CAUSE_INFECTED, .why = "first"};

    (void)state;
    judge_one(&p, &o, "", &r);
    assert_int_equal(r.cause, CAUSE_INFECTED);
    assert_int_equal(r.also, 1u << CAUSE_DENIED);
    assert_memory_equal(r.why, "first; files of this type", 25);
    assert_int_equal(r.n_findings, 1);
    r.verdict = VERDICT_NOT_INSPECTED;
    judge_one(&p, &o, "", &r);
    assert_int_equal(r.verdict, VERDICT_BLOCK);
    assert_int_equal(r.cause, CAUSE_DENIED);
}

/* Types come from strangers, and may be longer than a finding. */
static void test_long_types(void **state)
{
    const struct type_policy_settings p = {.deny = LIST("a/*")};
    char type[1000];
    const struct object o = {
        .role = OBJECT_BODY, .len = 1, .declared = {type, sizeof type}
    };
    struct scan_result r = {.verdict = VERDICT_PASS};

    (void)state;
    memset(type, 'b', sizeof type);
    memcpy(type, "a/", 2);
    judge_one(&p, &o, "", &r);
    assert_int_equal(r.n_findings, 1);
    assert_int_equal(strlen(r.findings[0].name), FINDING_NAME_MAX - 1);
    assert_int_equal(r.verdict, VERDICT_BLOCK);
}

/* ---- steps ---- */

static uint64_t steps_of(const struct type_policy_settings *p, const struct object *v, size_t n)
{
    struct type_walk w = {.policy = p, .steps.left = UINT64_MAX};
    struct scan_result r = {.verdict = VERDICT_PASS};

    for (size_t i = 0; i < n; i++)
        assert_true(type_policy_judge(&w, &v[i], 0, "", &r));
    return UINT64_MAX - w.steps.left;
}

/* The same for the same objects; the second of a kind costs less than the first. */
static void test_steps(void **state)
{
    const struct type_policy_settings p = {.deny = LIST(".exe", "video/*")};
    const struct object same = {.role = OBJECT_FILE,
                                .len = 1,
                                .name = SPAN("a.pdf"),
                                .declared = SPAN("application/pdf"),
                                .sniffed = SPAN("application/pdf")};
    const struct object two[] = {same, same};
    uint64_t one = steps_of(&p, two, 1), both = steps_of(&p, two, 2);
    struct type_walk w = {.policy = &p, .steps.left = both};
    struct scan_result r = {.verdict = VERDICT_PASS};

    (void)state;
    assert_true(one > 0 && both > one && both - one < one);
    assert_int_equal(steps_of(&p, two, 2), both);
    assert_true(type_policy_judge(&w, &same, 0, "", &r));
    assert_true(type_policy_judge(&w, &same, 0, "", &r));
    assert_int_equal(w.steps.left, 0);
    assert_false(type_policy_judge(&w, &same, 0, "", &r));
    assert_true(w.steps.out);
    assert_int_equal(r.verdict, VERDICT_PASS); /* what is to become of it is the caller's to say */
}

/* As many kinds as there are parts, from a sender who wants it to take long. */
static void test_steps_of_many_types(void **state)
{
    const struct type_policy_settings p = {.deny = LIST("video/*")};
    struct type_walk w = {.policy = &p, .steps.left = 100000};
    struct scan_result r = {.verdict = VERDICT_PASS};
    unsigned n = 0;
    char type[40];

    (void)state;
    for (; n < 1000; n++) {
        struct object o = {.role = OBJECT_FILE, .len = 1};

        (void)snprintf(type, sizeof type, "application/x-%u", n);
        o.declared = span_of(type);
        if (!type_policy_judge(&w, &o, 0, "", &r))
            break;
    }
    assert_true(n > 10 && n < 100);
}

/* What is remembered is what would be found. */
static void test_memo(void **state)
{
    static const char *const names[] = {"application/pdf", ".pdf", "image/x-unknown", ".nothing",
                                        "no/thing",        ".EXE", "IMAGE/PNG",       "",
                                        "text/html",       ".js",  "image/png"};
    struct type_memo m = {.next = 0};

    (void)state;
    for (unsigned i = 0; i < 200; i++) {
        struct span name = span_of(names[(i * 7 + i / 11) % ARRAY_LEN(names)]);

        assert_ptr_equal(type_recall(&m, name),
                         span_starts(name, SPAN(".")) ? type_of_extension(name) : type_find(name));
    }
    assert_true(m.n_lookups < 200);
    m.n_lookups = 0;
    for (unsigned i = 0; i < 10; i++)
        (void)type_recall(&m, SPAN("application/pdf"));
    assert_true(m.n_lookups <= 1);
}

/* ---- settings ---- */

/* clang-format off */
static const struct settings_row {
    const char *text;
    const char *complaint; /* NULL: fine */
} settings[] = {
    {"{}", NULL},
    {"{allow: [image/*, '*/*', application/vnd.*], deny: [.exe, .tar.*, text/html]}", NULL},
    {"{mismatch: block, odd-names: pass}", NULL},
    {"{mismatch: deny}", "mismatch"},
    {"{deny: [exe]}", "must be a media type (image/*) or the end of a file name (.exe)"},
    {"{deny: [.]}", "must be a media type (image/*) or the end of a file name (.exe)"},
    {"{deny: [./a]}", "must be a media type (image/*) or the end of a file name (.exe)"},
    {"{allow: [.exe]}", "must be a media type, such as image/png or image/*"},
    {"{allow: [image]}", "must be a media type, such as image/png or image/*"},
    {"{allow: ['image/png; q=1']}", "must be a media type, such as image/png or image/*"},
};
/* clang-format on */

static void test_settings(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(settings); i++) {
        struct type_policy_settings p;
        struct config_report *r = calloc(1, sizeof *r);
        struct arena mem;
        struct buf out;
        enum err e;

        assert_non_null(r);
        print_message("%s\n", settings[i].text);
        config_report_init(r);
        arena_init(&mem, 0);
        buf_init(&out, 0);
        e = config_load_text(span_of(settings[i].text), "x", &type_policy_block, &mem, r, &p);
        config_report_print(r, &out);
        assert_int_equal(e, settings[i].complaint ? ERR_CONFIG : OK);
        if (settings[i].complaint)
            assert_non_null(strstr(buf_cstr(&out), settings[i].complaint));
        if (i == 0) {
            assert_int_equal(p.allow.n + p.deny.n, 0);
            assert_int_equal(p.mismatch, TYPE_MISMATCH_NOTE);
            assert_int_equal(p.odd_names, TYPE_MISMATCH_NOTE);
        }
        buf_done(&out);
        arena_done(&mem);
        config_report_done(r);
        free(r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mismatch), cmocka_unit_test(test_table),
        cmocka_unit_test(test_judge),    cmocka_unit_test(test_graver),
        cmocka_unit_test(test_steps),    cmocka_unit_test(test_steps_of_many_types),
        cmocka_unit_test(test_memo),     cmocka_unit_test(test_long_types),
        cmocka_unit_test(test_settings),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
