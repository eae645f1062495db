/* SPDX-License-Identifier: Apache-2.0 */
/* The filetype engine on small true samples: what libmagic says, and what the second look says
 * better. Each sample stands right before a page that may not be touched, whole and cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <unistd.h>

#include "guard.h"
#include "test_filetype_samples.h"
#include "worker/engine_filetype.h"
#include "worker/filetype_look.h"

static struct engine engine;

static void sniff(struct span in, char ret[OBJECT_TYPE_MAX + 1])
{
    struct engine_file file = {.p = (const uint8_t *)in.p,
                               .n = in.n,
                               .name = "",
                               .type = "",
                               .role = OBJECT_BODY,
                               .where = "",
                               .sniffed = ret,
                               .time_ms = 1000};
    struct scan_result r, untouched;

    memset(&r, 0, sizeof r);
    untouched = r;
    memset(ret, 'X', OBJECT_TYPE_MAX + 1);
    engine.scan(engine.ctx, &file, &r);
    assert_memory_equal(&r, &untouched, sizeof r);
}

static void test_rows(void **state)
{
    char type[OBJECT_TYPE_MAX + 1];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(filetype_samples); i++) {
        struct guard g = guard_new(filetype_samples[i].in.n);

        print_message("%s\n", filetype_samples[i].name);
        sniff(guard_span(&g, filetype_samples[i].in), type);
        assert_string_equal(type, filetype_samples[i].type);
        guard_free(&g);
    }
}

/* ---- ZIP ---- */

static void put(struct buf *b, uint32_t v, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        buf_char(b, (char)(v >> 8 * i & 0xff));
}

struct zip_row {
    const char *name, *entries[6];
    const char *type;
};

/* clang-format off */
static const struct zip_row zips[] = {
    {"plain", {"a.txt", "b/c.txt"}, "application/zip"},
    {"docx", {"[Content_Types].xml", "_rels/.rels", "word/document.xml"}, OOXML
     "wordprocessingml.document"},
    {"docx in another order", {"a", "b", "c", "d", "word/document.xml", "[Content_Types].xml"},
     OOXML "wordprocessingml.document"},
    {"xlsx", {"[Content_Types].xml", "_rels/.rels", "xl/workbook.xml"}, OOXML
     "spreadsheetml.sheet"},
    {"pptx", {"[Content_Types].xml", "_rels/.rels", "ppt/presentation.xml"}, OOXML
     "presentationml.presentation"},
    {"docm", {"[Content_Types].xml", "word/document.xml", "word/vbaProject.bin"},
     "application/vnd.ms-word.document.macroenabled.12"},
    {"xlsm", {"xl/workbook.xml", "xl/vbaProject.bin", "[Content_Types].xml"},
     "application/vnd.ms-excel.sheet.macroenabled.12"},
    {"macros of Excel 4", {"xl/workbook.xml", "xl/macrosheets/sheet1.xml", "[Content_Types].xml"},
     "application/vnd.ms-excel.sheet.macroenabled.12"},
    {"pptm", {"ppt/p.xml", "ppt/vbaProject.bin", "[Content_Types].xml"},
     "application/vnd.ms-powerpoint.presentation.macroenabled.12"},
    {"jar", {"a.class", "META-INF/MANIFEST.MF"}, "application/java-archive"},
    {"apk", {"META-INF/MANIFEST.MF", "AndroidManifest.xml", "classes.dex"},
     "application/vnd.android.package-archive"},
    {"a folder called word", {"word/a.txt"}, "application/zip"},
};
/* clang-format on */

/* Stored entries of 5 bytes; |streamed|: as written to a pipe, the lengths behind the bytes. */
static void zip_entry(struct buf *b, const char *name, bool streamed)
{
    put(b, 0x04034b50, 4);
    put(b, 20, 2);
    put(b, streamed ? 8 : 0, 2);
    put(b, 0, 2); /* stored */
    put(b, 0, 4);
    put(b, 0x3610a686, 4);
    put(b, streamed ? 0 : 5, 4);
    put(b, streamed ? 0 : 5, 4);
    put(b, (uint32_t)strlen(name), 2);
    put(b, 0, 2);
    buf_text(b, name);
    buf_text(b, "hello");
    if (streamed) {
        put(b, 0x08074b50, 4);
        put(b, 0x3610a686, 4);
        put(b, 5, 4);
        put(b, 5, 4);
    }
}

static void zip_directory_entry(struct buf *b, const char *name)
{
    put(b, 0x02014b50, 4);
    put(b, 20, 2);
    put(b, 20, 2);
    for (unsigned i = 0; i < 4; i++)
        put(b, 0, 2);
    put(b, 0x3610a686, 4);
    put(b, 5, 4);
    put(b, 5, 4);
    put(b, (uint32_t)strlen(name), 2);
    put(b, 0, 4);
    put(b, 0, 4);
    put(b, 0, 4);
    put(b, 0, 4);
    buf_text(b, name);
}

static void zip_make(struct buf *b, const struct zip_row *row, bool streamed, bool directory)
{
    size_t from, size;
    unsigned n = 0;

    for (; n < ARRAY_LEN(row->entries) && row->entries[n]; n++)
        zip_entry(b, row->entries[n], streamed);
    if (!directory)
        return;
    from = b->n;
    for (unsigned i = 0; i < n; i++)
        zip_directory_entry(b, row->entries[i]);
    size = b->n - from;
    put(b, 0x06054b50, 4);
    put(b, 0, 4);
    put(b, n, 2);
    put(b, n, 2);
    put(b, (uint32_t)size, 4);
    put(b, (uint32_t)from, 4);
    put(b, 7, 2);
    buf_text(b, "comment");
}

static void test_zips(void **state)
{
    char type[OBJECT_TYPE_MAX + 1];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(zips); i++)
        for (unsigned how = 0; how < 4; how++) {
            struct buf b;

            print_message("%s, %u\n", zips[i].name, how);
            buf_init(&b, 0);
            zip_make(&b, &zips[i], how & 1, how & 2);
            struct guard g = guard_new(b.n);

            sniff(guard_span(&g, buf_span(&b)), type);
            assert_string_equal(type, zips[i].type);
            guard_free(&g);
            buf_done(&b);
        }
}

/* A document inside an archive, stored, does not make the archive a document. */
static void test_zip_in_zip(void **state)
{
    char type[OBJECT_TYPE_MAX + 1];
    struct buf inner, outer;

    (void)state;
    buf_init(&inner, 0);
    buf_init(&outer, 0);
    zip_make(&inner, &zips[1], false, true);
    put(&outer, 0x04034b50, 4);
    put(&outer, 20, 2);
    put(&outer, 0, 2);
    put(&outer, 0, 2);
    put(&outer, 0, 4);
    put(&outer, 0, 4);
    put(&outer, (uint32_t)inner.n, 4);
    put(&outer, (uint32_t)inner.n, 4);
    put(&outer, 6, 2);
    put(&outer, 0, 2);
    buf_text(&outer, "a.docx");
    buf_add(&outer, buf_span(&inner));
    size_t from = outer.n;

    zip_directory_entry(&outer, "a.docx");
    size_t size = outer.n - from;

    put(&outer, 0x06054b50, 4);
    put(&outer, 0, 4);
    put(&outer, 1, 2);
    put(&outer, 1, 2);
    put(&outer, (uint32_t)size, 4);
    put(&outer, (uint32_t)from, 4);
    put(&outer, 0, 2);
    sniff(buf_span(&outer), type);
    assert_string_equal(type, "application/zip");
    buf_done(&inner);
    buf_done(&outer);
}

/* ---- hostile and large ---- */

/* Every cut and every byte turned over: some type, and no byte behind the end is looked at. */
static void test_cut_and_broken(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 0);
    zip_make(&b, &zips[5], true, true);
    struct guard g = guard_new(b.n);

    for (size_t n = 1; n <= b.n; n++) {
        struct span cut = guard_span(&g, span_sub(buf_span(&b), 0, n));
        const char *type = filetype_look(cut, "application/zip");

        assert_non_null(strchr(type, '/'));
        b.p[n - 1] = (char)~b.p[n - 1];
        type = filetype_look(guard_span(&g, buf_span(&b)), "application/zip");
        assert_non_null(strchr(type, '/'));
        b.p[n - 1] = (char)~b.p[n - 1];
    }
    guard_free(&g);
    for (size_t i = 0; i < ARRAY_LEN(filetype_samples); i++) {
        g = guard_new(filetype_samples[i].in.n);
        for (size_t n = 1; n <= filetype_samples[i].in.n; n++)
            assert_non_null(filetype_look(guard_span(&g, span_sub(filetype_samples[i].in, 0, n)),
                                          "text/plain"));
        guard_free(&g);
    }
    buf_done(&b);
}

/* What is deep inside does not count but for a ZIP's directory, and a large text does not
 * take long (the test's time limit). */
static void test_large(void **state)
{
    size_t n = 32u << 20;
    char type[OBJECT_TYPE_MAX + 1], *p = malloc(n);

    (void)state;
    assert_non_null(p);
    memset(p, 'a', n);
    for (size_t i = 72; i < n; i += 73)
        p[i] = '\n';
    sniff((struct span){p, n}, type);
    assert_string_equal(type, "text/plain");
    p[2u << 20] = '\0';
    sniff((struct span){p, n}, type);
    assert_string_equal(type, "text/plain");
    memset(p, 0, n);
    memcpy(p + 32768, "\1CD001\1", 7);
    sniff((struct span){p, n}, type);
    assert_string_equal(type, "application/x-iso9660-image");
    free(p);
}

/* Forms have thousands of fields: nobody asks what their texts look like. */
static void test_fields(void **state)
{
    static const struct {
        enum object_role role;
        const char *bytes, *type;
    } roles[] = {
        {OBJECT_BODY,  "<html>",        "text/html"         },
        {OBJECT_FILE,  "<html>",        "text/html"         },
        {OBJECT_FIELD, "<html>",        "text/html"         },
        {OBJECT_FILE,  "hello there",   "text/plain"        },
        {OBJECT_FIELD, "hello there",   ""                  },
        {OBJECT_FIELD, "42",            ""                  },
        {OBJECT_FIELD, "%PDF-1.4\n1 0", "application/pdf"   },
        {OBJECT_FIELD, "#!/bin/sh\nls", "text/x-shellscript"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(roles); i++) {
        char type[OBJECT_TYPE_MAX + 1] = "";
        const struct engine_file file = {.p = (const uint8_t *)roles[i].bytes,
                                         .n = strlen(roles[i].bytes),
                                         .name = "",
                                         .type = "",
                                         .role = roles[i].role,
                                         .where = "",
                                         .sniffed = type,
                                         .time_ms = 1000};
        struct scan_result r;

        memset(&r, 0, sizeof r);
        engine.scan(engine.ctx, &file, &r);
        assert_string_equal(type, roles[i].type);
    }
}

/* ---- loading ---- */

struct loaded {
    struct engine e;
    struct buf describe, errors;
    enum err err;
};

static void load(struct loaded *l, const char *const *files, size_t n)
{
    l->e = (struct engine){.ctx = NULL};
    buf_init(&l->describe, 0);
    buf_init(&l->errors, 0);
    l->err = engine_filetype(files, n, &l->e, &l->describe, &l->errors);
}

static void unload(struct loaded *l)
{
    engine_filetype_done(&l->e);
    buf_done(&l->describe);
    buf_done(&l->errors);
}

static void test_describe(void **state)
{
    struct loaded l;
    struct span text;

    (void)state;
    load(&l, NULL, 0);
    assert_int_equal(l.err, OK);
    assert_string_equal(l.e.name, "filetype");
    assert_int_equal(l.e.bit, WIRE_ENGINE_FILETYPE);
    text = buf_span(&l.describe);
    assert_true(span_starts(text, SPAN("filetype 5.")));
    assert_int_equal(text.n, strlen("filetype 5.44 magic 0123456789abcdef"));
    assert_int_equal(strspn(buf_cstr(&l.describe) + 20, "0123456789abcdef"), 16);
    assert_int_equal(l.errors.n, 0);
    unload(&l);
}

static void write_file(char *path, const char *text)
{
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(close(fd), 0);
}

static void test_own_magic(void **state)
{
    char one[] = "/tmp/sallyport-magic-XXXXXX", two[] = "/tmp/sallyport-magic-XXXXXX";
    const char *files[] = {one, two};
    char type[OBJECT_TYPE_MAX + 1];
    struct engine kept = engine;
    struct loaded l, other;

    (void)state;
    write_file(one, "0\tstring\tSALLY\tSally's own\n!:mime\tapplication/x-Sally\n");
    write_file(two, "0\tstring\tPORT\tPort's own\n!:mime\tapplication/x-port\n");
    load(&l, files, 2);
    assert_string_equal(buf_cstr(&l.errors), "");
    assert_int_equal(l.err, OK);
    engine = l.e;
    sniff(SPAN("SALLY says"), type);
    assert_string_equal(type, "application/x-sally");
    sniff(SPAN("PORTs say"), type);
    assert_string_equal(type, "application/x-port");
    engine = kept;
    load(&other, files, 1);
    assert_int_equal(other.err, OK);
    assert_string_not_equal(buf_cstr(&other.describe), buf_cstr(&l.describe));
    unload(&other);
    unload(&l);
    (void)unlink(one);
    (void)unlink(two);
}

static void test_bad_magic(void **state)
{
    static const char *const missing[] = {"/nowhere/magic"};
    static const char *const colon[] = {"/a:b"};
    static const char *const folder[] = {"/"};
    char path[] = "/tmp/sallyport-magic-XXXXXX";
    const char *rubbish[] = {path};
    struct {
        const char *const *files;
        const char *name;
    } cases[] = {
        {missing, "/nowhere/magic: No such file or directory\n"},
        {colon,   "/a:b: must not have a ':' in its name\n"    },
        {folder,  "/: Is a directory\n"                        },
        {rubbish, NULL                                         },
    };

    (void)state;
    write_file(path, "this is no magic\n");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct loaded l;

        load(&l, cases[i].files, 1);
        assert_int_equal(l.err, ERR_CONFIG);
        assert_null(l.e.ctx);
        assert_int_equal(l.describe.n, 0);
        if (cases[i].name)
            assert_string_equal(buf_cstr(&l.errors), cases[i].name);
        else
            assert_true(span_starts(buf_span(&l.errors), span_of(path)));
        unload(&l);
    }
    (void)unlink(path);
}

static int set_up(void **state)
{
    struct buf describe, errors;
    enum err e;

    (void)state;
    buf_init(&describe, 0);
    buf_init(&errors, 0);
    e = engine_filetype(NULL, 0, &engine, &describe, &errors);
    buf_done(&describe);
    buf_done(&errors);
    return e == OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    engine_filetype_done(&engine);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),       cmocka_unit_test(test_zips),
        cmocka_unit_test(test_zip_in_zip), cmocka_unit_test(test_cut_and_broken),
        cmocka_unit_test(test_large),      cmocka_unit_test(test_fields),
        cmocka_unit_test(test_describe),   cmocka_unit_test(test_own_magic),
        cmocka_unit_test(test_bad_magic),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
