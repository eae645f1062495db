/* SPDX-License-Identifier: Apache-2.0 */
/* ipp/ipp_write.h, ipp/ipp_rewrite.h: what is kept is kept octet by octet, what is edited is legal.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/arena.h"
#include "ipp/ipp_names.h"
#include "ipp/ipp_rewrite.h"
#include "test_ipp.h"

#define GPA       HEADER("\0\x0b")
#define ANSWER    HEADER("\0\0") PREAMBLE
#define URI(u)    "\x45\0\1u\0\1" u
#define URI_OR(u) "\x45\0\0\0\1" u /* a further one, or a member's */
#define KEY(k)    "\x44\0\0\0\1" k

static const struct ipp_limits limits = {
    .size_max = 1024u * 1024, .attributes_max = 8192, .depth_max = IPP_DEPTH_MAX};

/* ---- rules of these tests: single letters are commands ---- */

/* d: drop, r: replace, a: drop the attribute, l: replace by too much, anything else: keep. */
static enum ipp_action by_letter(void *arg, const struct ipp_place *at, const struct ipp_value *v,
                                 struct ipp_edit *ret)
{
    static const char much[1024] = "much";

    (void)arg;
    (void)at;
    switch (v->value.n == 1 ? v->value.p[0] : 0) {
    case 'd': return IPP_DROP;
    case 'a': return IPP_DROP_ATTRIBUTE;
    case 'q': return IPP_ASK; /* no answer to a value */
    case 'r': *ret = (struct ipp_edit){IPP_VALUE_URI, SPAN("new")}; return IPP_REPLACE;
    case 'l':
        *ret = (struct ipp_edit){
            IPP_VALUE_URI, {much, sizeof much}
        };
        return IPP_REPLACE;
    case 'n': *ret = (struct ipp_edit){IPP_VALUE_URI, SPAN("\0")}; return IPP_REPLACE;
    case 't': *ret = (struct ipp_edit){IPP_VALUE_MEMBER_NAME, SPAN("m")}; return IPP_REPLACE;
    default: return IPP_KEEP;
    }
}

/* D: drop, Q: ask, R: replace by two attributes, B: an answer that is none, O: leave one open. */
static enum ipp_action by_name(void *arg, const struct ipp_place *at, const struct ipp_attribute *a,
                               struct ipp_writer *w)
{
    (void)arg;
    assert_true(span_eq(at->attribute, a->name));
    ipp_write_collection(w, SPAN("y"));
    ipp_write_enum(w, SPAN("m"), 2);
    if (span_eq(a->name, SPAN("O")))
        return IPP_REPLACE;
    ipp_write_collection_end(w);
    ipp_write_integer(w, SPAN("z"), 1);
    ipp_write_integer(w, SPAN_NONE, 2);
    switch (a->name.n == 1 ? a->name.p[0] : 0) {
    case 'D': return IPP_DROP;
    case 'Q': return IPP_ASK;
    case 'R': return IPP_REPLACE;
    case 'B': return IPP_DROP_ATTRIBUTE;
    default: return IPP_KEEP;
    }
}

/* Resources go, other groups get one more attribute when they are printers. */
static enum ipp_action by_group(void *arg, const struct ipp_place *at, const struct ipp_group *g)
{
    (void)arg;
    assert_int_equal(at->group, g->tag);
    return g->tag == IPP_GROUP_RESOURCE ? IPP_DROP : IPP_KEEP;
}

static void at_end(void *arg, const struct ipp_place *at, struct ipp_writer *w)
{
    (void)arg;
    if (at->group == IPP_GROUP_PRINTER)
        ipp_write_integer(w, SPAN("z"), 1);
}

static const struct ipp_rewrite_rules rules = {
    .group = by_group, .attribute = by_name, .value = by_letter, .group_end = at_end};

struct row {
    const char *name;
    struct span in;
    enum err want;
    struct span out; /* n == 0: as it was */
};

/* clang-format off */
static const struct row rows[] = {
    {"nothing to do",              S(EXAMPLE), OK, S("")},
    {"unknown group and tags",     S(ANSWER "\x0e\x5e\0\1x\0\3abc\xff\0\0\0\1b" END), OK, S("")},
    {"one uri kept",               S(ANSWER "\2" URI("k") END), OK, S("")},
    {"one uri replaced",           S(ANSWER "\2" URI("r") INTEGER("x") END), OK,
     S(ANSWER "\2\x45\0\1u\0\3new" INTEGER("x") END)},
    {"one uri dropped",            S(ANSWER "\2" URI("d") INTEGER("x") END), OK, S(ANSWER "\2" INTEGER("x") END)},
    {"the first dropped",          S(ANSWER "\2" URI("d") URI_OR("k") URI_OR("l") END), ERR_LIMIT, S("")},
    {"the first of three dropped", S(ANSWER "\2" URI("d") URI_OR("k") URI_OR("m") END), OK,
     S(ANSWER "\2" URI("k") URI_OR("m") END)},
    {"the second dropped",         S(ANSWER "\2" URI("k") URI_OR("d") URI_OR("m") END), OK,
     S(ANSWER "\2" URI("k") URI_OR("m") END)},
    {"all but the last dropped",   S(ANSWER "\2" URI("d") URI_OR("d") URI_OR("r") END), OK,
     S(ANSWER "\2\x45\0\1u\0\3new" END)},
    {"all dropped",                S(ANSWER "\2" URI("d") URI_OR("d") END), OK, S(ANSWER "\2" END)},
    {"the attribute dropped",      S(ANSWER "\2" URI("k") URI_OR("a") URI_OR("m") INTEGER("x") END), OK,
     S(ANSWER "\2" INTEGER("x") END)},
    {"keywords are not asked about", S(ANSWER "\2\x44\0\1k\0\1d" KEY("a") END), OK, S("")},
    {"but when asked",             S(ANSWER "\2\x44\0\1Q\0\1d" KEY("k") KEY("d") END), OK,
     S(ANSWER "\2\x44\0\1Q\0\1k" END)},
    {"an attribute dropped",       S(ANSWER "\4" INTEGER("D") MORE INTEGER("x") END), OK,
     S(ANSWER "\4" INTEGER("x") INTEGER("z") END)},
    {"an attribute replaced",      S(ANSWER "\2" INTEGER("R") MORE INTEGER("x") END), OK,
     S(ANSWER "\2" BEGIN("y") MEMBER("m") "\x23\0\0\0\4\0\0\0\2" FINISH INTEGER("z") MORE INTEGER("x") END)},
    {"between others that stay",
     S(ANSWER "\2" INTEGER("x") INTEGER("y") INTEGER("R") INTEGER("x") INTEGER("D") INTEGER("x") URI("r") INTEGER("y") END),
     OK,
     S(ANSWER "\2" INTEGER("x") INTEGER("y") BEGIN("y") MEMBER("m") "\x23\0\0\0\4\0\0\0\2" FINISH INTEGER("z") MORE
       INTEGER("x") INTEGER("x") "\x45\0\1u\0\3new" INTEGER("y") END)},
    {"a group dropped",            S(ANSWER "\2" INTEGER("x") "\x08" INTEGER("x") "\2" END), OK,
     S(ANSWER "\2" INTEGER("x") "\2" END)},
    {"a uri in a collection kept", S(ANSWER "\2" BEGIN("c") MEMBER("m") URI_OR("k") FINISH END), OK, S("")},
    {"replaced",                   S(ANSWER "\2" BEGIN("c") MEMBER("m") URI_OR("r") URI_OR("k") FINISH END), OK,
     S(ANSWER "\2" BEGIN("c") MEMBER("m") "\x45\0\0\0\3new" URI_OR("k") FINISH END)},
    {"dropped with its member",    S(ANSWER "\2" BEGIN("c") MEMBER("m") URI_OR("d") MEMBER("n") MORE FINISH END), OK,
     S(ANSWER "\2" BEGIN("c") MEMBER("n") MORE FINISH END)},
    {"the last member dropped",    S(ANSWER "\2" BEGIN("c") MEMBER("n") MORE MEMBER("m") URI_OR("d") FINISH END), OK,
     S(ANSWER "\2" BEGIN("c") MEMBER("n") MORE FINISH END)},
    {"the only member dropped",    S(ANSWER "\2" BEGIN("c") MEMBER("m") URI_OR("d") FINISH END), OK,
     S(ANSWER "\2" BEGIN("c") FINISH END)},
    {"dropped from a member's set", S(ANSWER "\2" BEGIN("c") MEMBER("m") URI_OR("d") URI_OR("k") FINISH END), OK,
     S(ANSWER "\2" BEGIN("c") MEMBER("m") URI_OR("k") FINISH END)},
    {"deep inside",
     S(ANSWER "\2" BEGIN("c") MEMBER("m") BEGIN_MORE MEMBER("n") URI_OR("d") FINISH MEMBER("o") URI_OR("r") FINISH END), OK,
     S(ANSWER "\2" BEGIN("c") MEMBER("m") BEGIN_MORE FINISH MEMBER("o") "\x45\0\0\0\3new" FINISH END)},
    {"the attribute dropped from inside",
     S(ANSWER "\2" BEGIN("c") MEMBER("m") BEGIN_MORE MEMBER("n") URI_OR("a") FINISH FINISH INTEGER("x") URI("d") END), OK,
     S(ANSWER "\2" INTEGER("x") END)},
    {"asked in a collection",      S(ANSWER "\2" BEGIN("Q") MEMBER("m") KEY("d") KEY("k") FINISH END), OK,
     S(ANSWER "\2" BEGIN("Q") MEMBER("m") KEY("k") FINISH END)},
    {"too long",                   S(ANSWER "\2" URI("l") END), ERR_LIMIT, S("")},
    {"NUL",                        S(ANSWER "\2" URI("n") END), ERR_SYNTAX, S("")},
    {"a tag that is no value",     S(ANSWER "\2" URI("t") END), ERR_BUG, S("")},
    {"no answer to a value",       S(ANSWER "\2" URI("q") END), ERR_BUG, S("")},
    {"no answer to an attribute",  S(ANSWER "\2" INTEGER("B") END), ERR_BUG, S("")},
    {"a collection left open",     S(ANSWER "\2" INTEGER("O") END), ERR_BUG, S("")},
};
/* clang-format on */

static void rows_hold(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct row *row = &rows[i];
        struct span want = row->out.n ? row->out : row->in;
        struct ipp_message m, again;
        struct buf out;
        enum err e;

        buf_init(&out, 0);
        buf_text(&out, "before");
        assert_int_equal(ipp_message_parse(IPP_RESPONSE, row->in, &limits, &m, NULL), OK);
        e = ipp_rewrite(&m, &rules, NULL, &out);
        if (e != row->want)
            fail_msg("%s: %s", row->name, err_code(e));
        buf_drop(&out, 6);
        if (e == OK && !span_eq(buf_span(&out), want))
            fail_msg("%s: something else came out", row->name);
        assert_true(e == OK || out.n == 0);
        if (e == OK)
            assert_int_equal(ipp_message_parse(IPP_RESPONSE, buf_span(&out), &limits, &again, NULL),
                             OK);
        buf_done(&out);
    }
}

/* ---- the example ---- */

static enum ipp_action to_backend(void *arg, const struct ipp_place *at, const struct ipp_value *v,
                                  struct ipp_edit *ret)
{
    (void)v;
    if (!span_eq(at->attribute, SPAN("printer-uri")))
        return IPP_KEEP;
    *ret = (struct ipp_edit){IPP_VALUE_URI, span_of(arg)};
    return IPP_REPLACE;
}

static void the_example_is_rewritten(void **state)
{
    struct ipp_rewrite_rules backend = {.value = to_backend};
    char uri[] = "ipp://localhost:631/printers/q1";
    struct ipp_message m;
    struct buf out;

    (void)state;
    buf_init(&out, 193);
    assert_int_equal(ipp_message_parse(IPP_REQUEST, SPAN(EXAMPLE), &limits, &m, NULL), OK);
    assert_int_equal(ipp_rewrite(&m, &backend, uri, &out), OK);
    assert_int_equal(out.n, 193);
    assert_true(span_eq(buf_span(&out), SPAN(EXAMPLE_REWRITTEN)));
    buf_done(&out);
    buf_init(&out, 192); /* one octet less does not do, and leaves nothing */
    assert_int_equal(ipp_rewrite(&m, &backend, uri, &out), ERR_LIMIT);
    assert_int_equal(out.n, 0);
    buf_done(&out);
}

static void the_request_id_is_replaced(void **state)
{
    struct ipp_rewrite_rules other = {.request_id = 0x01020304};
    struct ipp_message m;
    struct buf out;

    (void)state;
    buf_init(&out, 0);
    assert_int_equal(ipp_message_parse(IPP_REQUEST, SPAN(EXAMPLE), &limits, &m, NULL), OK);
    assert_int_equal(ipp_rewrite(&m, &other, NULL, &out), OK);
    assert_true(span_eq(span_sub(buf_span(&out), 0, 8), SPAN("\2\0\0\2\1\2\3\4")));
    assert_true(
        span_eq(span_sub(buf_span(&out), 8, SIZE_MAX), span_sub(SPAN(EXAMPLE), 8, SIZE_MAX)));
    buf_done(&out);
}

static void no_memory_is_said(void **state)
{
    struct ipp_rewrite_rules keep = {.request_id = 0};
    struct ipp_message m;

    (void)state;
    assert_int_equal(ipp_message_parse(IPP_REQUEST, SPAN(EXAMPLE), &limits, &m, NULL), OK);
    struct buf out;

    buf_init(&out, 0);
    mem_fail_after(1);
    assert_int_equal(ipp_rewrite(&m, &keep, NULL, &out), ERR_NOMEM);
    mem_fail_after(0);
    assert_int_equal(out.n, 0);
    buf_done(&out);
}

/* ---- the place that rules see ---- */

struct seen {
    struct buf text;
};

static enum ipp_action note(void *arg, const struct ipp_place *at, const struct ipp_value *v,
                            struct ipp_edit *ret)
{
    struct seen *seen = arg;

    (void)ret;
    buf_fmt(&seen->text, "%u/%u " SPAN_FMT "." SPAN_FMT "@%u=" SPAN_FMT ";", (unsigned)at->group,
            at->group_index, SPAN_ARG(at->attribute), SPAN_ARG(at->member), at->depth,
            SPAN_ARG(v->value));
    return IPP_KEEP;
}

static void rules_see_the_place(void **state)
{
    struct ipp_rewrite_rules look = {.value = note};
    struct ipp_message m;
    struct seen seen;
    struct buf out;

    (void)state;
    buf_init(&out, 0);
    buf_init(&seen.text, 0);
    assert_int_equal(ipp_message_parse(IPP_RESPONSE,
                                       SPAN(ANSWER "\2" URI("1") "\2" BEGIN("c") MEMBER("m")
                                                BEGIN_MORE MEMBER("n") URI_OR("2")
                                                    FINISH URI_OR("3") FINISH URI("4") END),
                                       &limits, &m, NULL),
                     OK);
    assert_int_equal(ipp_rewrite(&m, &look, &seen, &out), OK);
    assert_string_equal(buf_cstr(&seen.text), "2/1 u.@0=1;2/2 c.n@2=2;2/2 c.m@1=3;2/2 u.@0=4;");
    buf_done(&seen.text);
    buf_done(&out);
}

/* ---- the writer ---- */

static void write_example(struct ipp_writer *w, struct buf *out)
{
    ipp_write_begin(w, out, 2, 0, IPP_OPERATION_PRINT_JOB, 9);
    ipp_write_group(w, IPP_GROUP_OPERATION);
    ipp_write_string(w, IPP_VALUE_CHARSET, SPAN("attributes-charset"), SPAN("utf-8"));
    ipp_write_string(w, IPP_VALUE_LANGUAGE, SPAN("attributes-natural-language"), SPAN("en"));
    ipp_write_string(w, IPP_VALUE_URI, SPAN("printer-uri"), SPAN("ipp://gw.example/q1;AUTH=TLS"));
    ipp_write_string(w, IPP_VALUE_NAME, SPAN("requesting-user-name"), SPAN("ann"));
    ipp_write_string(w, IPP_VALUE_MEDIA_TYPE, SPAN("document-format"), SPAN("text/plain"));
    ipp_write_group(w, IPP_GROUP_JOB);
    ipp_write_integer(w, SPAN("copies"), 2);
}

static void the_example_is_written(void **state)
{
    struct ipp_writer w;
    struct buf out;

    (void)state;
    buf_init(&out, 0);
    write_example(&w, &out);
    assert_int_equal(ipp_write_end(&w), OK);
    assert_true(span_eq(buf_span(&out), SPAN(EXAMPLE)));
    buf_done(&out);
}

/* What a writer refuses: one row, one call too many behind a good beginning. */
static void refuse_tag(struct ipp_writer *w)
{
    ipp_write_value(w, IPP_VALUE_BEGIN_COLLECTION, SPAN("x"), SPAN_NONE);
}
static void refuse_delimiter(struct ipp_writer *w)
{
    ipp_write_value(w, IPP_GROUP_END, SPAN("x"), SPAN_NONE);
}
static void refuse_group(struct ipp_writer *w)
{
    ipp_write_group(w, IPP_GROUP_OPERATION);
}
static void refuse_end_group(struct ipp_writer *w)
{
    ipp_write_group(w, IPP_GROUP_END);
}
static void refuse_nameless(struct ipp_writer *w)
{
    ipp_write_group(w, IPP_GROUP_JOB);
    ipp_write_integer(w, SPAN_NONE, 1);
}
static void refuse_nameless_member(struct ipp_writer *w)
{
    ipp_write_collection(w, SPAN("c"));
    ipp_write_integer(w, SPAN_NONE, 1);
    ipp_write_collection_end(w);
}
static void refuse_open(struct ipp_writer *w)
{
    ipp_write_collection(w, SPAN("c"));
}
static void refuse_close(struct ipp_writer *w)
{
    ipp_write_collection_end(w);
}
static void refuse_long_uri(struct ipp_writer *w)
{
    static const char text[1024] = "u";

    ipp_write_string(w, IPP_VALUE_URI, SPAN("u"), (struct span){text, sizeof text});
}
static void refuse_long_value(struct ipp_writer *w)
{
    static const char text[32768];

    ipp_write_value(w, IPP_VALUE_OCTET_STRING, SPAN("o"), (struct span){text, sizeof text});
}
static void refuse_long_text(struct ipp_writer *w)
{
    static const char text[1100] = "u";

    ipp_write_language(w, IPP_VALUE_TEXT_LANGUAGE, SPAN("t"), SPAN("en"),
                       (struct span){text, sizeof text});
}
static void refuse_depth(struct ipp_writer *w)
{
    for (unsigned i = 0; i <= IPP_DEPTH_MAX; i++)
        ipp_write_collection(w, SPAN("c"));
}
static void refuse_nul(struct ipp_writer *w)
{
    ipp_write_string(w, IPP_VALUE_TEXT, SPAN("t"), SPAN("a\0"));
}
static void refuse_name(struct ipp_writer *w)
{
    ipp_write_integer(w, SPAN("a b"), 1);
}

static void the_writer_refuses(void **state)
{
    static const struct {
        void (*call)(struct ipp_writer *);
        enum err want;
    } calls[] = {
        {refuse_tag,             ERR_BUG   },
        {refuse_delimiter,       ERR_BUG   },
        {refuse_group,           ERR_BUG   },
        {refuse_end_group,       ERR_BUG   },
        {refuse_nameless,        ERR_BUG   },
        {refuse_nameless_member, ERR_BUG   },
        {refuse_open,            ERR_BUG   },
        {refuse_close,           ERR_BUG   },
        {refuse_long_uri,        ERR_LIMIT },
        {refuse_long_value,      ERR_LIMIT },
        {refuse_depth,           ERR_LIMIT },
        {refuse_long_text,       ERR_LIMIT },
        {refuse_nul,             ERR_SYNTAX},
        {refuse_name,            ERR_SYNTAX},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
        struct ipp_writer w;
        struct buf out;

        buf_init(&out, 0);
        buf_text(&out, "before");
        write_example(&w, &out);
        calls[i].call(&w);
        assert_int_equal(ipp_write_end(&w), calls[i].want);
        assert_true(span_eq(buf_span(&out), SPAN("before")));
        buf_done(&out);
    }
}

static void operations_are_found(void **state)
{
    size_t n = 0;
    const struct ipp_operation *all = ipp_operations(&n);

    (void)state;
    assert_int_equal(ipp_operation_find(0x0002)->class, IPP_CLASS_DOCUMENT);
    assert_int_equal(ipp_operation_find(0x0002)->usual, IPP_USUAL_ALLOW);
    assert_int_equal(ipp_operation_find(0x4003)->usual, IPP_USUAL_NEVER);
    assert_int_equal(ipp_operation_find(0x4028)->usual, IPP_USUAL_NEVER);
    assert_int_equal(ipp_operation_find(0x4027)->usual, IPP_USUAL_DENY);
    assert_null(ipp_operation_find(0));
    assert_null(ipp_operation_find(0x7fff));
    assert_int_equal(ipp_operation_named(SPAN("get-jobs"))->code, IPP_OPERATION_GET_JOBS);
    assert_null(ipp_operation_named(SPAN("")));
    for (size_t i = 0; i < n; i++) {
        assert_ptr_equal(ipp_operation_find(all[i].code), &all[i]);
        assert_ptr_equal(ipp_operation_named(span_of(all[i].name)), &all[i]);
        assert_non_null(ipp_class_name(all[i].class));
        if (all[i].class == IPP_CLASS_FETCH || all[i].class == IPP_CLASS_DATA)
            assert_int_equal(all[i].usual, IPP_USUAL_DENY);
    }
    assert_string_equal(ipp_status_name(0x041a), "client-error-document-security-error");
    assert_null(ipp_status_name(0x0999));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_hold),
        cmocka_unit_test(the_example_is_rewritten),
        cmocka_unit_test(the_request_id_is_replaced),
        cmocka_unit_test(no_memory_is_said),
        cmocka_unit_test(rules_see_the_place),
        cmocka_unit_test(the_example_is_written),
        cmocka_unit_test(the_writer_refuses),
        cmocka_unit_test(operations_are_found),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
