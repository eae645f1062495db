/* SPDX-License-Identifier: Apache-2.0 */
/* test_unpack.c - a whole JOB: bodies with codings and parts, seen by engines that are made up, and
 * the memfd that tells what was in them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "test_pack.h"
#include "worker/inspect.h"
#include "worker/printable.h"

#define FORM "multipart/form-data; boundary=BB"
/* In two pieces, so that no scanner takes this file for it. */
#define EICAR                                      \
    "X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR-STANDARD-" \
    "ANTIVIRUS-TEST-FILE!$H+H*"
#define CLEAN "Nothing is hidden in these few bytes.\n"

/* --- engines --- */

struct seen {
    unsigned calls;
    size_t bytes;
    char log[2048]; /* "role|name|type|where|length;" of each object */
};
static struct seen seen;

/* Finds EICAR, notes "NOTE", fails at "FAIL". */
static void find(void *ctx, const struct engine_file *file, struct scan_result *r)
{
    struct span s = {(const char *)file->p, file->n};
    const char *at = memmem(s.p, s.n, EICAR, sizeof EICAR - 1);
    struct finding f = {.engine = "find", .name = "EICAR"};
    size_t n = strlen(seen.log);
    struct writer log = writer_of(seen.log + n, sizeof seen.log - 1 - n);

    assert_ptr_equal(ctx, &seen);
    assert_true(file->n > 0);
    assert_in_range(file->time_ms, 1, 60000);
    seen.calls++;
    seen.bytes += file->n;
    write_fmt(&log, "%d|%s|%s|%s|%zu;", (int)file->role, file->name, file->type, file->where,
              file->n);
    if (at) {
        (void)snprintf(f.where, sizeof f.where, "offset %zu", (size_t)(at - s.p));
        engine_find(r, &f);
        engine_judge(r, VERDICT_BLOCK, CAUSE_INFECTED, OK, "%s", f.name);
    }
    if (memmem(s.p, s.n, "NOTE", 4)) {
        struct finding note = {.engine = "find", .name = "noted", .note = true};

        engine_find(r, &note);
    }
    if (memmem(s.p, s.n, "FAIL", 4))
        engine_judge(r, VERDICT_ERROR, CAUSE_NOT_INSPECTED, ERR_ENGINE, "it failed");
}

static void sniff(void *ctx, const struct engine_file *file, struct scan_result *r)
{
    (void)ctx;
    (void)r;
    assert_string_equal(file->sniffed, "");
    (void)snprintf(file->sniffed, OBJECT_TYPE_MAX + 1, "test/%c", file->p[0]);
}

static const struct engines engines = {
    .n = 2,
    .list = {{.name = "find", .bit = WIRE_ENGINE_YARA, .ctx = &seen, .scan = find},
             {.name = "sniff", .bit = WIRE_ENGINE_FILETYPE, .scan = sniff}}
};

/* --- jobs --- */

struct outcome {
    struct scan_result r;
    int objects;
};

static struct wire_message job_of(const char *type, const char *encoding)
{
    struct wire_message m = {.kind = WIRE_JOB};

    m.job.engines = WIRE_ENGINE_YARA | WIRE_ENGINE_FILETYPE | WIRE_ENGINE_UNPACK;
    m.job.time_ms = 60000;
    m.job.want_objects = true;
    m.job.unpack = (struct wire_unpack){
        .size_max = 1 << 20, .ratio_max = 100, .codings_max = 3, .parts_max = 100};
    (void)span_copy(SPAN("declared.bin"), m.job.name, sizeof m.job.name);
    (void)span_copy(span_of(type), m.job.type, sizeof m.job.type);
    (void)span_copy(span_of(encoding), m.job.encoding, sizeof m.job.encoding);
    return m;
}

static struct outcome run(struct wire_message *job, struct span body)
{
    struct outcome o;
    int fd = memfd_create("body", MFD_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, body.p, body.n), (ssize_t)body.n);
    memset(&seen, 0, sizeof seen);
    job->job.len = body.n;
    worker_inspect(&engines, job, fd, &o.r, &o.objects);
    assert_int_equal(close(fd), 0);
    return o;
}

static void done(struct outcome *o)
{
    if (o->objects >= 0)
        assert_int_equal(close(o->objects), 0);
}

/* A form of a field and three files, the third of which holds |content|. */
static void add_form(struct span content, struct buf *b)
{
    buf_text(b, "--BB\r\nContent-Disposition: form-data; name=\"who\"\r\n\r\nme\r\n");
    buf_text(b,
             "--BB\r\nContent-Disposition: form-data; name=\"f\"; filename=\"empty\"\r\n\r\n\r\n");
    buf_text(b,
             "--BB\r\nContent-Disposition: form-data; name=\"up\"; filename=\"x\\\"\x01.exe\"\r\n"
             "Content-Type: Application/Octet-Stream; x=y\r\n\r\n");
    buf_add(b, content);
    buf_text(b, "\r\n--BB--\r\n");
}

static const struct {
    const char *steps[3];
    const char *encoding;
} packings[] = {
    {{NULL},           ""         },
    {{"gzip"},         "gzip"     },
    {{"raw"},          "deflate"  },
    {{"br"},           "br"       },
    {{"zstd"},         "zstd"     },
    {{"gzip", "br"},   "gzip, br" },
    {{"zstd", "gzip"}, "zstd,gzip"},
};

static void pack_all(const char *const steps[3], struct buf *b)
{
    struct buf from;

    buf_init(&from, 0);
    for (size_t i = 0; i < 3 && steps[i]; i++) {
        buf_reset(&from);
        buf_add(&from, buf_span(b));
        buf_reset(b);
        pack(steps[i], buf_span(&from), b);
    }
    buf_done(&from);
}

/* --- the same virus, wrapped --- */

static void test_body_is_found(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 0);
    for (size_t i = 0; i < ARRAY_LEN(packings); i++) {
        struct wire_message job = job_of("Text/Plain; charset=x", packings[i].encoding);

        buf_reset(&b);
        buf_text(&b, CLEAN EICAR);
        pack_all(packings[i].steps, &b);
        struct outcome o = run(&job, buf_span(&b));

        assert_int_equal(o.r.verdict, VERDICT_BLOCK);
        assert_int_equal(o.r.cause, CAUSE_INFECTED);
        assert_string_equal(o.r.why, "EICAR");
        assert_int_equal(o.r.n_findings, 1);
        assert_string_equal(o.r.findings[0].where, "offset 38");
        assert_string_equal(seen.log, "1|declared.bin|text/plain||106;");
        assert_int_equal(o.objects >= 0, packings[i].encoding[0] != '\0');
        done(&o);
    }
    buf_done(&b);
}

static void test_part_is_found_and_named(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 0);
    for (size_t i = 0; i < ARRAY_LEN(packings); i++) {
        struct wire_message job = job_of(FORM, packings[i].encoding);

        buf_reset(&b);
        add_form(SPAN("MZ" EICAR), &b);
        pack_all(packings[i].steps, &b);
        struct outcome o = run(&job, buf_span(&b));

        assert_int_equal(o.r.verdict, VERDICT_BLOCK);
        assert_int_equal(o.r.n_findings, 1);
        assert_string_equal(o.r.findings[0].where, "part 3 \"up\" file \"x\\\"?.exe\" offset 2");
        assert_string_equal(seen.log, "3|who||part 1 \"who\"|2;"
                                      "2|x\"?.exe|application/octet-stream|"
                                      "part 3 \"up\" file \"x\\\"?.exe\"|70;"
                                      "1|declared.bin|multipart/form-data||323;");
        done(&o);
    }
    buf_done(&b);
}

/* --- clean bodies, and what is told of them --- */

struct told {
    enum object_source source;
    enum object_role role;
    const char *name, *declared, *sniffed, *content;
};

static void assert_told(int fd, struct span original, const struct told *want, uint32_t n_want)
{
    off_t end = lseek(fd, 0, SEEK_END);
    uint64_t off = 0, len = 0;
    uint32_t n = 0;
    struct objects_reader reader;
    struct object o;

    assert_true(end >= (off_t)OBJECTS_TAIL);
    assert_int_equal(fcntl(fd, F_GET_SEALS),
                     F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL);
    char *p = mmap(NULL, (size_t)end, PROT_READ, MAP_PRIVATE, fd, 0);
    struct span file = {p, (size_t)end};

    assert_ptr_not_equal(p, MAP_FAILED);
    assert_int_equal(objects_parse_tail(span_sub(file, file.n - OBJECTS_TAIL, OBJECTS_TAIL), file.n,
                                        &off, &len, &n),
                     OK);
    assert_int_equal(n, n_want);
    objects_reader_init(&reader, span_sub(file, (size_t)off, (size_t)len), n, original.n, off);
    for (uint32_t i = 0; i < n; i++) {
        assert_int_equal(objects_next(&reader, &o), OK);
        struct span whole = o.source == OBJECT_ORIGINAL ? original : file;
        struct span content = span_sub(whole, (size_t)o.off, (size_t)o.len);

        assert_int_equal(o.source, want[i].source);
        assert_int_equal(o.role, want[i].role);
        assert_true(span_eq(o.name, span_of(want[i].name)));
        assert_true(span_eq(o.declared, span_of(want[i].declared)));
        assert_true(span_eq(o.sniffed, span_of(want[i].sniffed)));
        if (want[i].content)
            assert_true(span_eq(content, span_of(want[i].content)));
    }
    assert_int_equal(objects_next(&reader, &o), ERR_EOF);
    assert_int_equal(munmap(p, file.n), 0);
}

static void test_objects_of_a_form(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 0);
    for (size_t i = 0; i < ARRAY_LEN(packings); i++) {
        enum object_source source = i == 0 ? OBJECT_ORIGINAL : OBJECT_DERIVED;
        const struct told want[] = {
            {source, OBJECT_BODY,  "declared.bin", "multipart/form-data",      "test/-", NULL },
            {source, OBJECT_FIELD, "who",          "",                         "test/m", "me" },
            {source, OBJECT_FILE,  "empty",        "",                         "",       ""   },
            {source, OBJECT_FILE,  "x\"?.exe",     "application/octet-stream", "test/N", CLEAN},
        };
        struct wire_message job = job_of(FORM, packings[i].encoding);

        buf_reset(&b);
        add_form(SPAN(CLEAN), &b);
        pack_all(packings[i].steps, &b);
        struct outcome o = run(&job, buf_span(&b));

        assert_int_equal(o.r.verdict, VERDICT_PASS);
        assert_int_equal(o.r.n_objects, 3);
        assert_string_equal(o.r.sniffed, "test/-");
        assert_int_equal(seen.calls, 3); /* the empty file has nothing to look at */
        assert_true(o.objects >= 0);
        assert_told(o.objects, buf_span(&b), want, ARRAY_LEN(want));
        done(&o);
    }
    buf_done(&b);
}

static void test_objects_of_a_body(void **state)
{
    struct wire_message job = job_of("text/plain", "gzip");
    const struct told want = {OBJECT_DERIVED, OBJECT_BODY, "declared.bin",
                              "text/plain",   "test/N",    CLEAN};
    struct buf b;

    (void)state;
    buf_init(&b, 0);
    pack("gzip", SPAN(CLEAN), &b);
    struct outcome o = run(&job, buf_span(&b));

    assert_int_equal(o.r.verdict, VERDICT_PASS);
    assert_int_equal(o.r.n_objects, 1);
    assert_told(o.objects, buf_span(&b), &want, 1);
    done(&o);
    job.job.want_objects = false;
    o = run(&job, buf_span(&b));
    assert_int_equal(o.objects, -1);
    job = job_of("text/plain", "");
    o = run(&job, SPAN(CLEAN)); /* nothing that the gateway does not know */
    assert_int_equal(o.objects, -1);
    assert_int_equal(o.r.verdict, VERDICT_PASS);
    assert_string_equal(o.r.sniffed, "test/N");
    buf_done(&b);
}

static void test_empty_bodies(void **state)
{
    static const char *const types[] = {"", FORM, "multipart/form-data"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        struct wire_message job = job_of(types[i], "gzip");
        struct outcome o = run(&job, SPAN(""));

        assert_int_equal(o.r.verdict, VERDICT_PASS);
        assert_int_equal(seen.calls, 0);
        assert_int_equal(o.objects, -1);
    }
    struct wire_message job = job_of(FORM, "gzip");
    struct buf b;

    buf_init(&b, 0);
    pack("gzip", SPAN(""), &b);
    struct outcome o = run(&job, buf_span(&b));

    assert_int_equal(o.r.verdict, VERDICT_PASS);
    assert_int_equal(seen.calls, 0);
    done(&o);
    buf_done(&b);
}

/* --- what is not inspected is still looked at as far as it goes --- */

static void test_unpacking_was_not_asked_for(void **state)
{
    static const struct {
        const char *type, *encoding, *why;
    } rows[] = {
        {"text/plain", "gzip",     "the body has a Content-Encoding, and unpacking was not asked for"},
        {FORM,         "",         "the body is a multipart, and unpacking was not asked for"        },
        {"text/plain", "identity", NULL                                                              },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct wire_message job = job_of(rows[i].type, rows[i].encoding);

        job.job.engines = WIRE_ENGINE_YARA;
        struct outcome o = run(&job, SPAN(CLEAN));

        assert_int_equal(o.r.verdict, rows[i].why ? VERDICT_NOT_INSPECTED : VERDICT_PASS);
        assert_string_equal(o.r.why, rows[i].why ? rows[i].why : "");
        assert_int_equal(o.objects, -1);
        o = run(&job, SPAN(EICAR));
        assert_int_equal(o.r.verdict, VERDICT_BLOCK);
    }
}

static void test_damaged_body(void **state)
{
    struct wire_message job = job_of("text/plain", "gzip");
    struct buf b;

    (void)state;
    buf_init(&b, 0);
    pack("gzip", SPAN(CLEAN), &b);
    b.n -= 4; /* all is there but the length */
    struct outcome o = run(&job, buf_span(&b));

    assert_int_equal(o.r.verdict, VERDICT_NOT_INSPECTED);
    assert_string_equal(o.r.why, "the gzip data ends early");
    assert_int_equal(o.objects, -1);
    assert_int_equal(seen.bytes, sizeof CLEAN - 1);
    buf_reset(&b);
    pack("gzip", SPAN(EICAR), &b);
    buf_text(&b, "junk");
    o = run(&job, buf_span(&b));
    assert_int_equal(o.r.verdict, VERDICT_BLOCK);
    o = run(&job, SPAN(EICAR)); /* it is no gzip: a recipient may well show it as it is */
    assert_int_equal(o.r.verdict, VERDICT_BLOCK);
    buf_done(&b);
}

static void test_faulty_multipart(void **state)
{
    struct wire_message job = job_of(FORM, "");
    const struct told want[] = {
        {OBJECT_ORIGINAL, OBJECT_BODY,  "declared.bin", "multipart/form-data", "test/-", NULL},
        {OBJECT_ORIGINAL, OBJECT_FIELD, "who",          "",                    "test/m", "me"},
        {OBJECT_ORIGINAL, OBJECT_FILE,  "empty",        "",                    "",       ""  },
    };
    struct buf b;

    (void)state;
    buf_init(&b, 0);
    add_form(SPAN(CLEAN), &b);
    b.n -= 8; /* in front of the last boundary line */
    struct outcome o = run(&job, buf_span(&b));

    assert_int_equal(o.r.verdict, VERDICT_NOT_INSPECTED);
    assert_int_equal(o.r.cause, CAUSE_NOT_INSPECTED);
    assert_string_equal(o.r.why, "the multipart part 3 \"up\" is not closed by a boundary");
    assert_told(o.objects, buf_span(&b), want, ARRAY_LEN(want));
    done(&o);
    buf_reset(&b);
    add_form(SPAN(EICAR), &b);
    b.n -= 8;
    o = run(&job, buf_span(&b)); /* found in the whole */
    assert_int_equal(o.r.verdict, VERDICT_BLOCK);
    assert_true(span_starts(span_of(o.r.findings[0].where), SPAN("offset ")));
    o = run(&job, SPAN("no boundary at all"));
    assert_string_equal(o.r.why, "the multipart is not closed by a boundary");
    done(&o);
    buf_done(&b);
}

static void test_limits(void **state)
{
    struct wire_message job = job_of(FORM, "");
    struct buf b;

    (void)state;
    buf_init(&b, 0);
    add_form(SPAN(CLEAN), &b);
    job.job.unpack.parts_max = 2;
    struct outcome o = run(&job, buf_span(&b));

    assert_int_equal(o.r.verdict, VERDICT_NOT_INSPECTED);
    assert_string_equal(o.r.why,
                        "the multipart part 2 \"\" is the last one that may be: there are more");
    done(&o);
    job.job.unpack.parts_max = 3;
    o = run(&job, buf_span(&b));
    assert_int_equal(o.r.verdict, VERDICT_PASS);
    done(&o);
    buf_done(&b);
}

/* --- several verdicts become one --- */

static void test_notes_and_failures_name_their_part(void **state)
{
    struct wire_message job = job_of(FORM, "");
    struct buf b;

    (void)state;
    buf_init(&b, 0);
    add_form(SPAN("NOTE"), &b);
    struct outcome o = run(&job, buf_span(&b));

    assert_int_equal(o.r.verdict, VERDICT_PASS);
    assert_int_equal(o.r.n_findings, 1); /* the same in the whole says nothing new */
    assert_true(o.r.findings[0].note);
    assert_string_equal(o.r.findings[0].where, "part 3 \"up\" file \"x\\\"?.exe\"");
    done(&o);
    buf_reset(&b);
    add_form(SPAN("FAIL"), &b);
    o = run(&job, buf_span(&b));
    assert_int_equal(o.r.verdict, VERDICT_ERROR);
    assert_string_equal(o.r.why, "part 3 \"up\" file \"x\\\"?.exe\": it failed");
    done(&o);
    buf_done(&b);
}

static void test_long_names_leave_room_for_the_offset(void **state)
{
    struct wire_message job = job_of(FORM, "");
    struct buf b;

    (void)state;
    buf_init(&b, 0);
    buf_text(&b, "--BB\r\nContent-Disposition: form-data; name=\"");
    for (unsigned i = 0; i < 300; i++)
        buf_text(&b, "\xc3\xa4");
    buf_text(&b, "\"; filename=\"");
    for (unsigned i = 0; i < 300; i++)
        buf_text(&b, "b");
    buf_text(&b, "\"\r\n\r\n" EICAR "\r\n--BB--");
    struct outcome o = run(&job, buf_span(&b));

    assert_int_equal(o.r.verdict, VERDICT_BLOCK);
    assert_string_equal(o.r.findings[0].where,
                        "part 1 \"\\xc3\\xa4\\xc3\\xa4\\xc3\\xa4...\" file "
                        "\"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb...\" offset 0");
    buf_done(&b);
}

static void test_no_time(void **state)
{
    struct wire_message job = job_of("text/plain", "gzip");
    char *zeros = calloc(1, 8 << 20);
    struct buf b;

    (void)state;
    assert_non_null(zeros);
    buf_init(&b, 0);
    pack("gzip", (struct span){zeros, 8 << 20}, &b);
    job.job.time_ms = 1;
    job.job.unpack.size_max = 64 << 20;
    job.job.unpack.ratio_max = 100000;
    struct outcome o = run(&job, buf_span(&b));

    assert_int_equal(o.r.verdict, VERDICT_ERROR);
    assert_int_equal(o.r.cause, CAUSE_TIMEOUT);
    assert_int_equal(seen.calls, 0);
    assert_int_equal(o.objects, -1);
    buf_done(&b);
    free(zeros);
}

static void test_printable(void **state)
{
    char text[12];

    (void)state;
    printable(SPAN("abc"), text, sizeof text);
    assert_string_equal(text, "abc");
    printable(SPAN("0123456789a"), text, sizeof text);
    assert_string_equal(text, "0123456789a");
    printable(SPAN("0123456789ab"), text, sizeof text);
    assert_string_equal(text, "01234567...");
    printable(SPAN("\"\\\x7f\n"), text, sizeof text);
    assert_string_equal(text, "\\\"\\\\\\x7f...");
    printable(SPAN("\0\xff\x1f"), text, sizeof text);
    assert_string_equal(text, "\\x00\\xff...");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_body_is_found),
        cmocka_unit_test(test_part_is_found_and_named),
        cmocka_unit_test(test_objects_of_a_form),
        cmocka_unit_test(test_objects_of_a_body),
        cmocka_unit_test(test_empty_bodies),
        cmocka_unit_test(test_unpacking_was_not_asked_for),
        cmocka_unit_test(test_damaged_body),
        cmocka_unit_test(test_faulty_multipart),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_notes_and_failures_name_their_part),
        cmocka_unit_test(test_long_names_leave_room_for_the_offset),
        cmocka_unit_test(test_no_time),
        cmocka_unit_test(test_printable),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
