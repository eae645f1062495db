/* SPDX-License-Identifier: Apache-2.0 */
/* ipp/ipp_message.h, ipp/ipp_write.h against libcups, which reads and writes IPP on most systems:
 * what it writes we read, what we write it reads, names agree, and what we refuse because readers
 * differ is what it reads in another way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define _CUPS_NO_DEPRECATED 1
#include <cups/cups.h>

#include "base/buf.h"
#include "ipp/ipp_message.h"
#include "ipp/ipp_names.h"
#include "ipp/ipp_rewrite.h"
#include "test_ipp.h"

static const struct ipp_limits limits = {
    .size_max = 1024u * 1024, .attributes_max = 8192, .depth_max = IPP_DEPTH_MAX};

/* ---- libcups on memory ---- */

static ssize_t to_buf(void *context, ipp_uchar_t *octets, size_t n)
{
    buf_add(context, (struct span){(const char *)octets, n});
    return (ssize_t)n;
}

static ssize_t from_span(void *context, ipp_uchar_t *octets, size_t n)
{
    struct span *rest = context;
    struct span part = span_sub(*rest, 0, n);

    if (part.n)
        memcpy(octets, part.p, part.n);
    *rest = span_sub(*rest, part.n, SIZE_MAX);
    return (ssize_t)part.n;
}

static void cups_write(ipp_t *ipp, struct buf *out)
{
    ipp_state_t state;

    do
        state = ippWriteIO(out, to_buf, 1, NULL, ipp);
    while (state != IPP_STATE_DATA && state != IPP_STATE_ERROR);
    assert_int_equal(state, IPP_STATE_DATA);
}

/* NULL: it does not read it. */
static ipp_t *cups_read(struct span octets)
{
    ipp_t *ipp = ippNew();
    ipp_state_t state;

    do
        state = ippReadIO(&octets, from_span, 1, NULL, ipp);
    while (state != IPP_STATE_DATA && state != IPP_STATE_ERROR);
    if (state == IPP_STATE_DATA && octets.n == 0)
        return ipp;
    ippDelete(ipp);
    return NULL;
}

/* ---- messages ---- */

static ipp_t *cups_media(int width)
{
    ipp_t *size = ippNew(), *media = ippNew();

    ippAddInteger(size, IPP_TAG_ZERO, IPP_TAG_INTEGER, "x-dimension", width);
    ippAddRange(size, IPP_TAG_ZERO, "y-dimension", 1, 29700);
    ippAddCollection(media, IPP_TAG_ZERO, "media-size", size);
    ippAddString(media, IPP_TAG_ZERO, IPP_TAG_KEYWORD, "media-type", NULL, "stationery");
    ippAddBoolean(media, IPP_TAG_ZERO, "media-tracked", 1);
    ippDelete(size);
    return media;
}

static ipp_t *cups_job(void)
{
    static const char *const wanted[] = {"job-id", "job-state", "job-uri"};
    static const int numbers[] = {1, -2, 2147483647};
    ipp_t *ipp = ippNewRequest(IPP_OP_PRINT_JOB);
    ipp_t *media[2] = {cups_media(21000), cups_media(14800)};

    ippSetVersion(ipp, 2, 1);
    ippSetRequestId(ipp, 77);
    ippAddStrings(ipp, IPP_TAG_OPERATION, IPP_TAG_KEYWORD, "requested-attributes", 3, NULL, wanted);
    ippAddString(ipp, IPP_TAG_OPERATION, IPP_TAG_URI, "printer-uri", NULL, "ipp://gw/q1");
    ippAddString(ipp, IPP_TAG_OPERATION, IPP_TAG_NAME, "job-name", NULL, "\xc3\xa4 letter");
    ippAddString(ipp, IPP_TAG_OPERATION, IPP_TAG_TEXTLANG, "message", "de", "Guten Tag");
    ippAddIntegers(ipp, IPP_TAG_JOB, IPP_TAG_INTEGER, "numbers", 3, numbers);
    ippAddCollections(ipp, IPP_TAG_JOB, "media-col", 2, (const ipp_t **)(void *)media);
    ippAddResolution(ipp, IPP_TAG_JOB, "printer-resolution", IPP_RES_PER_INCH, 600, 300);
    ippAddOutOfBand(ipp, IPP_TAG_JOB, IPP_TAG_NOVALUE, "nothing");
    ippAddOctetString(ipp, IPP_TAG_JOB, "octets", "\3\0\3", 3);
    ippAddDate(ipp, IPP_TAG_JOB, "when", ippTimeToDate(1700000000));
    ippDelete(media[0]);
    ippDelete(media[1]);
    return ipp;
}

static void write_media(struct ipp_writer *w, struct span name, int32_t width)
{
    ipp_write_collection(w, name);
    ipp_write_collection(w, SPAN("media-size"));
    ipp_write_integer(w, SPAN("x-dimension"), width);
    ipp_write_range(w, SPAN("y-dimension"), 1, 29700);
    ipp_write_collection_end(w);
    ipp_write_string(w, IPP_VALUE_KEYWORD, SPAN("media-type"), SPAN("stationery"));
    ipp_write_boolean(w, SPAN("media-tracked"), true);
    ipp_write_collection_end(w);
}

/* The same message with our writer. */
static void write_job(struct ipp_writer *w, struct buf *out)
{
    const ipp_uchar_t *date = ippTimeToDate(1700000000);

    ipp_write_begin(w, out, 2, 1, IPP_OPERATION_PRINT_JOB, 77);
    ipp_write_group(w, IPP_GROUP_OPERATION);
    ipp_write_string(w, IPP_VALUE_CHARSET, SPAN("attributes-charset"), SPAN("utf-8"));
    ipp_write_string(w, IPP_VALUE_LANGUAGE, SPAN("attributes-natural-language"), SPAN("en"));
    ipp_write_string(w, IPP_VALUE_KEYWORD, SPAN("requested-attributes"), SPAN("job-id"));
    ipp_write_string(w, IPP_VALUE_KEYWORD, SPAN_NONE, SPAN("job-state"));
    ipp_write_string(w, IPP_VALUE_KEYWORD, SPAN_NONE, SPAN("job-uri"));
    ipp_write_string(w, IPP_VALUE_URI, SPAN("printer-uri"), SPAN("ipp://gw/q1"));
    ipp_write_string(w, IPP_VALUE_NAME, SPAN("job-name"), SPAN("\xc3\xa4 letter"));
    ipp_write_language(w, IPP_VALUE_TEXT_LANGUAGE, SPAN("message"), SPAN("de"), SPAN("Guten Tag"));
    ipp_write_group(w, IPP_GROUP_JOB);
    ipp_write_integer(w, SPAN("numbers"), 1);
    ipp_write_integer(w, SPAN_NONE, -2);
    ipp_write_integer(w, SPAN_NONE, 2147483647);
    write_media(w, SPAN("media-col"), 21000);
    write_media(w, SPAN_NONE, 14800);
    ipp_write_resolution(w, SPAN("printer-resolution"), 600, 300, 3);
    ipp_write_out_of_band(w, IPP_VALUE_NO_VALUE, SPAN("nothing"));
    ipp_write_value(w, IPP_VALUE_OCTET_STRING, SPAN("octets"), SPAN("\3\0\3"));
    ipp_write_value(w, IPP_VALUE_DATE_TIME, SPAN("when"), (struct span){(const char *)date, 11});
}

/* ---- the tests ---- */

/* The encoding leaves no choice, so both writers write the same octets. */
static void both_write_the_same(void **state)
{
    ipp_t *ipp = cups_job();
    struct ipp_writer w;
    struct buf theirs, ours;

    (void)state;
    buf_init(&theirs, 0);
    buf_init(&ours, 0);
    /* libcups takes the language of the environment. */
    ippSetString(ipp,
                 &(ipp_attribute_t *){
                     ippFindAttribute(ipp, "attributes-natural-language", IPP_TAG_LANGUAGE)},
                 0, "en");
    cups_write(ipp, &theirs);
    write_job(&w, &ours);
    assert_int_equal(ipp_write_end(&w), OK);
    assert_int_equal(ours.n, theirs.n);
    assert_true(span_eq(buf_span(&ours), buf_span(&theirs)));
    ippDelete(ipp);
    buf_done(&theirs);
    buf_done(&ours);
}

static unsigned count_values(const struct ipp_attribute *a)
{
    struct span rest = a->values;
    struct ipp_value v;
    unsigned n = 0;

    while (ipp_value_next(&rest, &v))
        n++;
    return n;
}

/* Name, tag, group and number of values of each attribute, in order. */
static void assert_alike(struct span octets)
{
    ipp_t *ipp = cups_read(octets);
    ipp_attribute_t *theirs;
    struct ipp_message m;
    struct ipp_group g;
    struct ipp_attribute a;

    assert_non_null(ipp);
    assert_int_equal(ipp_message_parse(IPP_REQUEST, octets, &limits, &m, NULL), OK);
    assert_int_equal(m.header.code, ippGetOperation(ipp));
    assert_int_equal(m.header.request_id, ippGetRequestId(ipp));
    theirs = ippFirstAttribute(ipp);
    for (struct span groups = m.groups; ipp_group_next(&groups, &g);) {
        for (struct span rest = g.attributes; ipp_attribute_next(&rest, &a);) {
            while (theirs && !ippGetName(theirs)) /* between two groups of one tag */
                theirs = ippNextAttribute(ipp);
            assert_non_null(theirs);
            assert_true(span_eq(a.name, span_of(ippGetName(theirs))));
            assert_int_equal(a.tag, ippGetValueTag(theirs));
            assert_int_equal(g.tag, ippGetGroupTag(theirs));
            assert_int_equal(count_values(&a), ippGetCount(theirs));
            theirs = ippNextAttribute(ipp);
        }
    }
    assert_null(theirs);
    ippDelete(ipp);
}

static void both_read_the_same(void **state)
{
    ipp_t *ipp = cups_job();
    struct ipp_writer w;
    struct buf b;

    (void)state;
    buf_init(&b, 0);
    cups_write(ipp, &b);
    assert_alike(buf_span(&b));
    ippDelete(ipp);
    buf_reset(&b);
    write_job(&w, &b);
    assert_int_equal(ipp_write_end(&w), OK);
    assert_alike(buf_span(&b));
    assert_alike(SPAN(EXAMPLE));
    assert_alike(SPAN(EXAMPLE_REWRITTEN));
    buf_done(&b);
}

/* What the rules about names are for: it finds a target in each of these. */
static void readers_differ(void **state)
{
    static const struct span nul =
        S(HEADER("\0\x0b") PREAMBLE "\x45\0\x0c"
                                    "printer-uri\0\0\x0bipp://gw/q1" END);
    static const struct span other_case =
        S(HEADER("\0\x0b") PREAMBLE "\x45\0\x0b"
                                    "Printer-URI\0\x0bipp://gw/q1" END);
    static const struct span other_group = S(HEADER("\0\x0b") PREAMBLE "\2" PRINTER END);
    ipp_t *ipp = cups_read(nul);

    (void)state;
    assert_non_null(ipp);
    assert_non_null(ippFindAttribute(ipp, "printer-uri", IPP_TAG_URI));
    ippDelete(ipp);
    ipp = cups_read(other_case);
    assert_non_null(ipp);
    assert_non_null(ippFindAttribute(ipp, "printer-uri", IPP_TAG_URI));
    ippDelete(ipp);
    ipp = cups_read(other_group);
    assert_non_null(ipp);
    assert_non_null(ippFindAttribute(ipp, "printer-uri", IPP_TAG_URI));
    ippDelete(ipp);
}

/* libcups 2.4.2 has no name for the newest of them, and gives the number. */
static void check_status(uint16_t code, const char *name)
{
    const char *theirs = ippErrorString((ipp_status_t)code);

    if (!span_starts(span_of(theirs), SPAN("0x")))
        assert_string_equal(theirs, name);
}

static void names_agree(void **state)
{
    size_t n = 0;
    const struct ipp_operation *all = ipp_operations(&n);

    (void)state;
    for (size_t i = 0; i < n; i++)
        assert_string_equal(ippOpString((ipp_op_t)all[i].code), all[i].name);
#define IPP_STATUS_ROW(id, code, name) check_status((code), (name));
#include "ipp/ipp_names.def"
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_write_the_same),
        cmocka_unit_test(both_read_the_same),
        cmocka_unit_test(readers_differ),
        cmocka_unit_test(names_agree),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
