/* SPDX-License-Identifier: Apache-2.0 */
/* What the IPP client makes of URIs before it connects, of attributes as people write them, and
 * what its requests say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "ipp/ipp_client_message.h"
#include "ipp/ipp_names.h"
#include "ipp/ipp_write.h"

/* ---- plans ---- */

#define CLEAR    IPP_CLIENT_CLEAR
#define UPGRADE  IPP_CLIENT_UPGRADE
#define IMPLICIT IPP_CLIENT_IMPLICIT

/* clang-format off */
static const struct plan_row {
    const char *uri;
    struct ipp_client_way ways[IPP_CLIENT_WAYS_MAX];
    unsigned n_ways;
    bool channel;
    unsigned auth;
} plans[] = {
    {"ipp://h/q", {{CLEAR, 631}}, 1, false, 0},
    {"ipp://h:8631/q", {{CLEAR, 8631}}, 1, false, 0},
    {"ipp://h/q;AUTH=DAA", {{CLEAR, 631}}, 1, false, IPP_AUTH_DAA},
    {"ipp://h/q;AUTH=TLS", {{UPGRADE, 631}}, 1, true, IPP_AUTH_TLS},
    {"IPP://h:8631/q;auth=daa,tls", {{UPGRADE, 8631}}, 1, true, IPP_AUTH_TLS | IPP_AUTH_DAA},
    {"ipp://h/q;AUTH=SSL3", {{IMPLICIT, 443}, {IMPLICIT, 631}}, 2, true, IPP_AUTH_SSL3},
    {"ipp://h:8443/q;AUTH=SSL3,DAA", {{IMPLICIT, 8443}}, 1, true, IPP_AUTH_SSL3 | IPP_AUTH_DAA},
    {"ipp://h/q;AUTH=TLS,SSL3", {{UPGRADE, 631}, {IMPLICIT, 443}}, 2, true, IPP_AUTH_CHANNEL},
    {"ipp://h:9/q;AUTH=SSL3,TLS", {{UPGRADE, 9}, {IMPLICIT, 9}}, 2, true, IPP_AUTH_CHANNEL},
    {"ipps://h/q", {{IMPLICIT, 631}}, 1, true, 0},
    {"ipps://h/q;AUTH=TLS", {{IMPLICIT, 631}}, 1, true, IPP_AUTH_TLS},
    {"ipps://h:7/q;AUTH=SSL3,DAA", {{IMPLICIT, 7}}, 1, true, IPP_AUTH_SSL3 | IPP_AUTH_DAA},
    {"http://h:631/q;AUTH=TLS", {{UPGRADE, 631}}, 1, true, IPP_AUTH_TLS},
    {"https://h/q", {{IMPLICIT, 443}}, 1, true, 0},
};
/* clang-format on */

static void test_plan(void **state)
{
    const struct plan_row *row = *state;
    struct ipp_uri u;
    struct ipp_client_plan p;
    char why[IPP_CLIENT_WHY_MAX] = "";

    assert_int_equal(ipp_client_resolve(span_of(row->uri), &u, &p, why), OK);
    assert_int_equal(p.n_ways, row->n_ways);
    for (unsigned i = 0; i < p.n_ways; i++) {
        assert_int_equal(p.ways[i].how, row->ways[i].how);
        assert_int_equal(p.ways[i].port, row->ways[i].port);
    }
    assert_int_equal(p.channel, row->channel);
    assert_int_equal(p.demand.auth, row->auth);
    assert_string_equal(why, "");
}

static const struct wrong_row {
    const char *uri;
    enum err err;
    const char *words;
} wrongs[] = {
    {"ipp://h/q;AUTH=KERB",         ERR_POLICY, "cannot do KERB"                 },
    {"ipp://h/q;AUTH=TLS,IPSEC",    ERR_POLICY, "cannot do IPSEC"                },
    {"ipp://h/q;AUTH=",             ERR_SYNTAX, "the AUTH list is empty"         },
    {"ipp://h/q;AUTH=TLS;AUTH=DAA", ERR_SYNTAX, "two AUTH lists"                 },
    {"ipp://h;AUTH=TLS",            ERR_SYNTAX, "write a slash before it"        },
    {"icap://h/q",                  ERR_SYNTAX, "this scheme leads to no printer"},
    {"ipp://joe:se cret@h/q",       ERR_SYNTAX, "may not stand here"             },
    {"printer",                     ERR_SYNTAX, "this scheme leads to no printer"},
};

static void test_no_plan(void **state)
{
    const struct wrong_row *row = *state;
    struct ipp_uri u;
    struct ipp_client_plan p;
    char why[IPP_CLIENT_WHY_MAX] = "";

    assert_int_equal(ipp_client_resolve(span_of(row->uri), &u, &p, why), row->err);
    if (!strstr(why, row->words))
        fail_msg("'%s' says nothing of '%s'", why, row->words);
    assert_null(strstr(why, "cret"));
}

/* A token of any length is shown in part. */
static void test_long_token(void **state)
{
    char text[600] = "ipp://h/q;AUTH=", why[IPP_CLIENT_WHY_MAX];
    struct ipp_uri u;
    struct ipp_client_plan p;

    (void)state;
    memset(text + strlen(text), 'K', 500);
    assert_int_equal(ipp_client_resolve(span_of(text), &u, &p, why), ERR_POLICY);
    assert_non_null(strstr(why, "KKKKKKKK: "));
}

/* ---- NAME=VALUE ---- */

/* A printer that says of one attribute what syntax it has. */
static size_t make_printer(const char *name, uint8_t tag, uint8_t room[512],
                           struct ipp_message *ret)
{
    const struct ipp_limits lim = IPP_LIMITS_DEFAULT;
    const struct span octets = {"\0\0\0\1\0\0\0\2\3", ipp_tag_lengths(tag).min};
    struct ipp_writer w;
    struct buf out;

    buf_init_on(&out, (char *)room, 512, 512);
    ipp_write_begin(&w, &out, 2, 0, IPP_SUCCESSFUL_OK, 1);
    ipp_write_group(&w, IPP_GROUP_OPERATION);
    ipp_write_string(&w, IPP_VALUE_CHARSET, SPAN("attributes-charset"), SPAN("utf-8"));
    ipp_write_string(&w, IPP_VALUE_LANGUAGE, SPAN("attributes-natural-language"), SPAN("en"));
    ipp_write_group(&w, IPP_GROUP_PRINTER);
    if (tag == IPP_VALUE_BEGIN_COLLECTION) {
        ipp_write_collection(&w, span_of(name));
        ipp_write_collection_end(&w);
    } else if (ipp_tag_is_string(tag)) {
        ipp_write_string(&w, tag, span_of(name), SPAN("x"));
    } else {
        ipp_write_value(&w, tag, span_of(name), octets);
    }
    assert_int_equal(ipp_write_end(&w), OK);
    assert_int_equal(ipp_message_parse(IPP_RESPONSE, buf_span(&out), &lim, ret, NULL), OK);
    return out.n;
}

/* clang-format off */
static const struct option_row {
    const char *text;
    const char *attribute; /* of the printer; NULL: it says nothing */
    uint8_t of;            /* with this syntax */
    uint8_t tag;           /* what comes out; 0: refused */
    int32_t number, upper;
} options[] = {
    /* The printer knows. */
    {"sides=two-sided-long-edge", "sides-supported", IPP_VALUE_KEYWORD, IPP_VALUE_KEYWORD, 0, 0},
    {"media=A4 thick", "media-supported", IPP_VALUE_KEYWORD, IPP_VALUE_NAME, 0, 0},
    {"media=a4", "media-default", IPP_VALUE_NAME, IPP_VALUE_NAME, 0, 0},
    {"copies=3", "copies-supported", IPP_VALUE_RANGE, IPP_VALUE_INTEGER, 3, 0},
    {"copies=many", "copies-supported", IPP_VALUE_RANGE, 0, 0, 0},
    {"job-priority=50", "job-priority-supported", IPP_VALUE_INTEGER, IPP_VALUE_INTEGER, 50, 0},
    {"number-up=-2", "number-up-default", IPP_VALUE_INTEGER, IPP_VALUE_INTEGER, -2, 0},
    {"print-quality=high", "print-quality-supported", IPP_VALUE_ENUM, IPP_VALUE_ENUM, 5, 0},
    {"print-quality=4", "print-quality-supported", IPP_VALUE_ENUM, IPP_VALUE_ENUM, 4, 0},
    {"print-quality=best", "print-quality-supported", IPP_VALUE_ENUM, 0, 0, 0},
    {"x-fold=yes", "x-fold-default", IPP_VALUE_BOOLEAN, IPP_VALUE_BOOLEAN, 1, 0},
    {"x-fold=FALSE", "x-fold-default", IPP_VALUE_BOOLEAN, IPP_VALUE_BOOLEAN, 0, 0},
    {"x-fold=2", "x-fold-default", IPP_VALUE_BOOLEAN, 0, 0, 0},
    {"page-ranges=2-7", "page-ranges-supported", IPP_VALUE_BOOLEAN, IPP_VALUE_RANGE, 2, 7},
    {"page-ranges=7-2", "page-ranges-supported", IPP_VALUE_BOOLEAN, 0, 0, 0},
    {"page-ranges=4", "page-ranges-supported", IPP_VALUE_BOOLEAN, IPP_VALUE_RANGE, 4, 4},
    {"printer-resolution=600x1200dpi", "printer-resolution-supported", IPP_VALUE_RESOLUTION, IPP_VALUE_RESOLUTION, 600, 1200},
    {"printer-resolution=600dpi", "printer-resolution-default", IPP_VALUE_RESOLUTION, IPP_VALUE_RESOLUTION, 600, 600},
    {"printer-resolution=600", "printer-resolution-default", IPP_VALUE_RESOLUTION, 0, 0, 0},
    {"printer-resolution=0dpi", "printer-resolution-default", IPP_VALUE_RESOLUTION, 0, 0, 0},
    {"media-col=x", "media-col-default", IPP_VALUE_BEGIN_COLLECTION, 0, 0, 0},
    {"x=1", "x-default", IPP_VALUE_TEXT, IPP_VALUE_TEXT, 0, 0},
    /* no-value tells nothing. */
    {"x=1", "x-default", IPP_VALUE_NO_VALUE, IPP_VALUE_INTEGER, 1, 0},
    /* It does not. */
    {"x=1", NULL, 0, IPP_VALUE_INTEGER, 1, 0},
    {"x=true", NULL, 0, IPP_VALUE_BOOLEAN, 1, 0},
    {"x=iso_a4_210x297mm", NULL, 0, IPP_VALUE_KEYWORD, 0, 0},
    {"x=Very thick", NULL, 0, IPP_VALUE_NAME, 0, 0},
    {"page-ranges=1-3", NULL, 0, IPP_VALUE_RANGE, 1, 3},
    {"finishings=staple", NULL, 0, IPP_VALUE_ENUM, 4, 0},
    {"orientation-requested=landscape", NULL, 0, IPP_VALUE_ENUM, 4, 0},
    {"x=99999999999", NULL, 0, IPP_VALUE_KEYWORD, 0, 0},
    /* No such thing. */
    {"sides", NULL, 0, 0, 0, 0},
    {"=x", NULL, 0, 0, 0, 0},
    {"a b=x", NULL, 0, 0, 0, 0},
    {"x=", NULL, 0, 0, 0, 0},
    {"x=a\x01", NULL, 0, 0, 0, 0},
};
/* clang-format on */

static void test_option(void **state)
{
    const struct option_row *row = *state;
    struct ipp_client_option o;
    struct ipp_message printer;
    uint8_t room[512];
    const char *wrong = ipp_client_option_parse(span_of(row->text), &o);

    if (!wrong && row->attribute)
        (void)make_printer(row->attribute, row->of, room, &printer);
    if (!wrong)
        wrong = ipp_client_option_type(row->attribute ? &printer : NULL, &o);
    assert_int_equal(wrong == NULL, row->tag != 0);
    if (wrong)
        return;
    assert_int_equal(o.tag, row->tag);
    if (row->tag == IPP_VALUE_RANGE || row->tag == IPP_VALUE_RESOLUTION) {
        assert_int_equal(o.range.lower, row->number);
        assert_int_equal(o.range.upper, row->upper);
    } else if (!ipp_tag_is_string(row->tag)) {
        assert_int_equal(o.number, row->number);
    } else {
        assert_true(span_eq(o.text, span_of(strchr(row->text, '=') + 1)));
    }
}

static void test_long_option(void **state)
{
    char text[600];
    struct ipp_client_option o;

    (void)state;
    (void)snprintf(text, sizeof text, "x=%0255d", 1);
    assert_null(ipp_client_option_parse(span_of(text), &o));
    (void)snprintf(text, sizeof text, "x=%0256d", 1);
    assert_non_null(ipp_client_option_parse(span_of(text), &o));
    (void)snprintf(text, sizeof text, "%0256d=x", 1);
    assert_non_null(ipp_client_option_parse(span_of(text), &o));
    /* Of the longest name no "-supported" can be asked for. */
    (void)snprintf(text, sizeof text, "%0255d=x", 1);
    assert_null(ipp_client_option_parse(span_of(text), &o));
    assert_null(ipp_client_option_type(NULL, &o));
}

/* ---- requests ---- */

static void parse(const struct ipp_client_message *m, struct buf *out, struct ipp_message *ret)
{
    const struct ipp_client_target t = {
        .uri = SPAN("ipp://gw/q;AUTH=TLS"), .major = 1, .minor = 1, .request_id = 7};
    const struct ipp_limits lim = IPP_LIMITS_DEFAULT;
    struct ipp_fault f;

    assert_int_equal(ipp_client_message_write(m, &t, out), OK);
    if (ipp_message_parse(IPP_REQUEST, buf_span(out), &lim, ret, &f) != OK)
        fail_msg("%s", ipp_flaw_text(f.flaw));
    assert_int_equal(ret->header.code, m->operation);
    assert_int_equal(ret->header.request_id, 7);
    assert_int_equal(ret->header.major, 1);
    assert_true(span_eq(ret->target.uri, t.uri));
}

static void test_print_job(void **state)
{
    struct ipp_client_option o[3] = {
        {.name = SPAN("copies"),      .tag = IPP_VALUE_INTEGER, .number = 2              },
        {.name = SPAN("page-ranges"), .tag = IPP_VALUE_RANGE,   .range = {1, 3}          },
        {.name = SPAN("sides"),       .tag = IPP_VALUE_KEYWORD, .text = SPAN("one-sided")},
    };
    const struct ipp_client_message m = {
        .operation = IPP_OPERATION_PRINT_JOB,
        .user = "ann",
        .title = "letter",
        .format = "application/pdf",
        .options = o,
        .n_options = 3,
    };
    struct ipp_message p;
    struct ipp_group g;
    struct buf out;

    (void)state;
    buf_init(&out, 0);
    parse(&m, &out, &p);
    assert_int_equal(p.target.kind, IPP_TARGET_PRINTER);
    assert_true(span_eq(ipp_client_text(p.operation, "requesting-user-name"), SPAN("ann")));
    assert_true(span_eq(ipp_client_text(p.operation, "job-name"), SPAN("letter")));
    assert_true(span_eq(ipp_client_text(p.operation, "document-format"), SPAN("application/pdf")));
    assert_true(ipp_client_group(&p, IPP_GROUP_JOB, &g));
    assert_int_equal(ipp_client_number(g.attributes, "copies", 0), 2);
    assert_true(ipp_client_has(g.attributes, "sides", SPAN("one-sided")));
    assert_false(ipp_client_has(g.attributes, "sides", SPAN("two-sided")));
    assert_int_equal(ipp_client_number(g.attributes, "nothing", 9), 9);
    assert_null(ipp_client_text(g.attributes, "copies").p);
    buf_done(&out);
}

static void test_job_requests(void **state)
{
    static const char *const wanted[] = {"job-state", "job-name"};
    struct ipp_client_message m = {
        .operation = IPP_OPERATION_GET_JOB_ATTRIBUTES,
        .job_id = 42,
        .wanted = wanted,
        .n_wanted = 2,
    };
    struct ipp_message p;
    struct ipp_group g;
    struct buf out;

    (void)state;
    buf_init(&out, 0);
    parse(&m, &out, &p);
    assert_int_equal(p.target.kind, IPP_TARGET_PRINTER_JOB);
    assert_int_equal(p.target.job_id, 42);
    assert_true(ipp_client_has(p.operation, "requested-attributes", SPAN("job-name")));
    assert_false(ipp_client_group(&p, IPP_GROUP_JOB, &g));
    buf_reset(&out);
    m.job_id = 0;
    m.is_job = true;
    parse(&m, &out, &p);
    assert_int_equal(p.target.kind, IPP_TARGET_JOB);
    buf_done(&out);
}

/* Attributes that are asked for because of what the user wants. */
static void test_wanted_options(void **state)
{
    static const char *const wanted[] = {"printer-state"};
    struct ipp_client_option o = {.name = SPAN("sides"), .tag = IPP_VALUE_KEYWORD};
    struct ipp_client_message m = {
        .operation = IPP_OPERATION_GET_PRINTER_ATTRIBUTES,
        .wanted = wanted,
        .n_wanted = 1,
        .wanted_options = &o,
        .n_wanted_options = 1,
    };
    struct ipp_message p;
    struct buf out;

    (void)state;
    buf_init(&out, 0);
    parse(&m, &out, &p);
    assert_true(ipp_client_has(p.operation, "requested-attributes", SPAN("printer-state")));
    assert_true(ipp_client_has(p.operation, "requested-attributes", SPAN("sides-supported")));
    assert_true(ipp_client_has(p.operation, "requested-attributes", SPAN("sides-default")));
    buf_done(&out);
}

/* A title is cut at a whole character (RFC 8011 5.1.3). */
static void test_long_title(void **state)
{
    char title[400];
    struct ipp_client_message m = {.operation = IPP_OPERATION_VALIDATE_JOB, .title = title};
    struct ipp_message p;
    struct span text;
    struct buf out;

    (void)state;
    memset(title, 'x', 254);
    (void)snprintf(title + 254, sizeof title - 254, "\xc3\xbc\xc3\xbc");
    buf_init(&out, 0);
    parse(&m, &out, &p);
    text = ipp_client_text(p.operation, "job-name");
    assert_int_equal(text.n, 254);
    buf_done(&out);
}

static void test_no_room(void **state)
{
    const struct ipp_client_message m = {
        .operation = IPP_OPERATION_GET_JOBS, .which = "completed", .limit = 5, .document = true};
    const struct ipp_client_target t = {.uri = SPAN("ipp://gw/q"), .major = 2, .request_id = 1};
    struct buf out;

    (void)state;
    for (size_t max = 1; max < 150; max++) {
        buf_init(&out, max);
        assert_int_equal(ipp_client_message_write(&m, &t, &out), ERR_LIMIT);
        buf_done(&out);
    }
}

int main(void)
{
    static const struct CMUnitTest plain[] = {
        cmocka_unit_test(test_long_token),     cmocka_unit_test(test_long_option),
        cmocka_unit_test(test_print_job),      cmocka_unit_test(test_job_requests),
        cmocka_unit_test(test_wanted_options), cmocka_unit_test(test_long_title),
        cmocka_unit_test(test_no_room),
    };
    struct CMUnitTest
        all[ARRAY_LEN(plain) + ARRAY_LEN(plans) + ARRAY_LEN(wrongs) + ARRAY_LEN(options)];
    size_t n = ARRAY_LEN(plain);

    memcpy(all, plain, sizeof plain);
    for (size_t i = 0; i < ARRAY_LEN(plans); i++)
        all[n++] = (struct CMUnitTest){.name = plans[i].uri,
                                       .test_func = test_plan,
                                       .initial_state = (void *)(uintptr_t)&plans[i]};
    for (size_t i = 0; i < ARRAY_LEN(wrongs); i++)
        all[n++] = (struct CMUnitTest){.name = wrongs[i].uri,
                                       .test_func = test_no_plan,
                                       .initial_state = (void *)(uintptr_t)&wrongs[i]};
    for (size_t i = 0; i < ARRAY_LEN(options); i++)
        all[n++] = (struct CMUnitTest){.name = options[i].text,
                                       .test_func = test_option,
                                       .initial_state = (void *)(uintptr_t)&options[i]};
    return cmocka_run_group_tests(all, NULL, NULL);
}
