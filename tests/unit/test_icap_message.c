/* SPDX-License-Identifier: Apache-2.0 */
/* icap/icap_message.h: Encapsulated, URIs, Allow. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "guard.h"
#include "icap/icap_message.h"

/* ---- Encapsulated ---- */

struct list_row {
    const char *text;
    bool ok;
    bool fits[ICAP_METHODS];  /* as a request to OPTIONS, REQMOD, RESPMOD */
    bool reply[ICAP_METHODS]; /* as a 200 to them */
    size_t off;               /* of the fault */
};

#define NOT_A_LIST(text, off)                  \
    {                                          \
        text, false, {0, 0, 0}, {0, 0, 0}, off \
    }

static const struct list_row list_rows[] = {
    {"req-hdr=0, null-body=170",                  true, {0, 1, 1}, {0, 1, 0}, 0},
    {"req-hdr=0, req-body=147",                   true, {0, 1, 0}, {0, 1, 0}, 0},
    {"req-body=0",                                true, {0, 1, 0}, {0, 1, 0}, 0},
    {"req-hdr=0, res-hdr=45, res-body=100",       true, {0, 0, 1}, {0, 0, 0}, 0},
    {"req-hdr=0, res-hdr=45, null-body=100",      true, {0, 0, 1}, {0, 0, 0}, 0},
    {"res-hdr=0, res-body=213",                   true, {0, 0, 1}, {0, 1, 1}, 0},
    {"res-hdr=0, null-body=213",                  true, {0, 0, 1}, {0, 1, 1}, 0},
    {"req-hdr=0, res-body=213",                   true, {0, 0, 1}, {0, 0, 0}, 0},
    {"res-body=0",                                true, {0, 0, 1}, {0, 1, 0}, 0},
    {"res-hdr=0, req-body=5",                     true, {0, 0, 0}, {0, 0, 0}, 0},
    {"opt-body=0",                                true, {1, 0, 0}, {1, 0, 0}, 0},
    {"null-body=0",                               true, {1, 0, 0}, {1, 0, 0}, 0},
    {"req-hdr=0, opt-body=5",                     true, {0, 0, 0}, {0, 0, 0}, 0},
 /* spelling */
    {"REQ-HDR=0, Null-Body=170",                  true, {0, 1, 1}, {0, 1, 0}, 0},
    {"req-hdr=0,null-body=170",                   true, {0, 1, 1}, {0, 1, 0}, 0},
    {"req-hdr=0 ,\t null-body=170",               true, {0, 1, 1}, {0, 1, 0}, 0},
    {"req-hdr=00, null-body=000170",              true, {0, 1, 1}, {0, 1, 0}, 0},
    {"req-hdr=0, null-body=18446744073709551615", true, {0, 1, 1}, {0, 1, 0}, 0},
 /* equal offsets parse */
    {"req-hdr=0, null-body=0",                    true, {0, 1, 1}, {0, 1, 0}, 0},
    {"req-hdr=0, res-hdr=0, null-body=0",         true, {0, 0, 1}, {0, 0, 0}, 0},
 /* refused */
    NOT_A_LIST("", 0),
    NOT_A_LIST(" ", 1),
    NOT_A_LIST(",", 0),
    NOT_A_LIST("req-hdr=0", 9),
    NOT_A_LIST("req-hdr=0,", 10),
    NOT_A_LIST("req-hdr=0,,null-body=5", 10),
    NOT_A_LIST(",null-body=0", 0),
    NOT_A_LIST("null-body=0,", 12),
    NOT_A_LIST("null-body", 9),
    NOT_A_LIST("null-body=", 9),
    NOT_A_LIST("=0", 0),
    NOT_A_LIST("null-body =0", 0),
    NOT_A_LIST("null-body= 0", 9),
    NOT_A_LIST("null-body=0 0", 9),
    NOT_A_LIST("null-body=+0", 9),
    NOT_A_LIST("null-body=-0", 9),
    NOT_A_LIST("null-body=0x0", 9),
    NOT_A_LIST("null-body=0;a", 9),
    NOT_A_LIST("null-body=\"0\"", 9),
    NOT_A_LIST("null-body=0=0", 9),
    NOT_A_LIST("body=0", 0),
    NOT_A_LIST("req-hdr=0, what-body=5", 11),
    NOT_A_LIST("null-body=1", 0),
    NOT_A_LIST("req-hdr=5, null-body=9", 0),
    NOT_A_LIST("req-hdr=0, null-body=18446744073709551616", 20),
    NOT_A_LIST("req-hdr=0, null-body=99999999999999999999", 20),
    NOT_A_LIST("req-hdr=0, res-hdr=50, res-body=40", 23),
    NOT_A_LIST("req-hdr=0, req-hdr=50, req-body=60", 11),
    NOT_A_LIST("res-hdr=0, req-hdr=50, res-body=60", 11),
    NOT_A_LIST("res-hdr=0, res-hdr=50, res-body=60", 11),
    NOT_A_LIST("null-body=0, req-hdr=0", 13),
    NOT_A_LIST("req-body=0, null-body=5", 12),
    NOT_A_LIST("req-hdr=0, res-hdr=5, req-body=6, res-body=7", 34),
};

static void encapsulated_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(list_rows); i++) {
        const struct list_row *r = &list_rows[i];
        struct span text = span_of(r->text);
        struct guard g = guard_new(text.n + 1);
        struct icap_encapsulated list = {0};
        struct fault f = {0};
        enum err e = icap_encapsulated_parse(guard_span(&g, text), &list, &f);

        if ((e == OK) != r->ok)
            fail_msg("'%s': %s", r->text, f.why ? f.why : "accepted");
        if (e != OK && (e != ERR_PROTO || f.status != 400 || f.off != r->off))
            fail_msg("'%s': %s at %zu", r->text, f.why, f.off);
        for (unsigned m = 0; m < ICAP_METHODS && e == OK; m++) {
            if (icap_encapsulated_fits(&list, (enum icap_method)m) != r->fits[m])
                fail_msg("'%s' in a request: %s", r->text, icap_method_name((enum icap_method)m));
            if (icap_encapsulated_fits_reply(&list, (enum icap_method)m) != r->reply[m])
                fail_msg("'%s' in a reply: %s", r->text, icap_method_name((enum icap_method)m));
        }
        guard_free(&g);
    }
}

/* Erratum E1: OPTIONS may lack the header, nothing else may. */
static void no_list(void **state)
{
    const struct icap_encapsulated none = {0};

    (void)state;
    assert_true(icap_encapsulated_fits(&none, ICAP_OPTIONS));
    assert_false(icap_encapsulated_fits(&none, ICAP_REQMOD));
    assert_false(icap_encapsulated_fits(&none, ICAP_RESPMOD));
    assert_true(icap_encapsulated_fits_reply(&none, ICAP_OPTIONS));
    assert_false(icap_encapsulated_fits_reply(&none, ICAP_REQMOD));
}

/* ---- URIs ---- */

struct uri_row {
    const char *text;
    const char *host; /* NULL: refused */
    unsigned port;
    const char *path, *query;
    bool secure;
};

#define NOT_A_URI(text)                  \
    {                                    \
        text, NULL, 0, NULL, NULL, false \
    }

static const struct uri_row uri_rows[] = {
    {"icap://h/s",                                    "h",              0,     "/s",                "",              false},
    {"icaps://gw.example.org:11344/resp-cdr-service", "gw.example.org", 11344, "/resp-cdr-service",
     "",                                                                                                             true },
    {"ICAP://H/s",                                    "H",              0,     "/s",                "",              false},
    {"IcapS://h/s",                                   "h",              0,     "/s",                "",              true },
    {"icap://h",                                      "h",              0,     "/",                 "",              false},
    {"icap://h/",                                     "h",              0,     "/",                 "",              false},
    {"icap://h//",                                    "h",              0,     "/",                 "",              false},
    {"icap://h/s/",                                   "h",              0,     "/s",                "",              false},
    {"icap://h/s///",                                 "h",              0,     "/s",                "",              false},
    {"icap://h/a/b",                                  "h",              0,     "/a/b",              "",              false},
    {"icap://h?x=1",                                  "h",              0,     "/",                 "x=1",           false},
    {"icap://h/s?mode=x&lang=y",                      "h",              0,     "/s",                "mode=x&lang=y", false},
    {"icap://h/s?a?b/c%zz",                           "h",              0,     "/s",                "a?b/c%zz",      false},
    {"icap://h/s?",                                   "h",              0,     "/s",                "",              false},
    {"icap://192.0.2.1:1344/s",                       "192.0.2.1",      1344,  "/s",                "",              false},
    {"icap://[2001:db8::1]/s",                        "2001:db8::1",    0,     "/s",                "",              false},
    {"icap://[::1]:1344/s",                           "::1",            1344,  "/s",                "",              false},
    {"icap://h:/s",                                   "h",              0,     "/s",                "",              false},
    {"icap://h:65535/s",                              "h",              65535, "/s",                "",              false},
    {"icap://user:secret@h/s",                        "h",              0,     "/s",                "",              false},
    {"icap://user@[::1]:1/s",                         "::1",            1,     "/s",                "",              false},
    {"icap://h/%61vscan",                             "h",              0,     "/avscan",           "",              false},
    {"icap://h/%2561",                                "h",              0,     "/%61",              "",              false}, /* once */
    {"icap://h/a%2Fb",                                "h",              0,     "/a/b",              "",              false},
    {"icap://h/%c3%a4",                               "h",              0,     "/\xc3\xa4",         "",              false},
    {"icap://h_x/s",                                  "h_x",            0,     "/s",                "",              false},
    NOT_A_URI(""),
    NOT_A_URI("*"),
    NOT_A_URI("/s"),
    NOT_A_URI("h/s"),
    NOT_A_URI("icap:/h/s"),
    NOT_A_URI("icap:h/s"),
    NOT_A_URI("http://h/s"),
    NOT_A_URI("icapx://h/s"),
    NOT_A_URI("icap://"),
    NOT_A_URI("icap:///s"),
    NOT_A_URI("icap://:1344/s"),
    NOT_A_URI("icap://@/s"),
    NOT_A_URI("icap://a@b@c/s"),
    NOT_A_URI("icap://h:0/s"),
    NOT_A_URI("icap://h:65536/s"),
    NOT_A_URI("icap://h:-1/s"),
    NOT_A_URI("icap://h:1x/s"),
    NOT_A_URI("icap://h:1:2/s"),
    NOT_A_URI("icap://[::1/s"),
    NOT_A_URI("icap://[]/s"),
    NOT_A_URI("icap://[::1]x/s"),
    NOT_A_URI("icap://[h]/s"),
    NOT_A_URI("icap://::1/s"),
    NOT_A_URI("icap://h%41/s"),
    NOT_A_URI("icap://h/s#f"),
    NOT_A_URI("icap://h/s t"),
    NOT_A_URI("icap://h/\x7f"),
    NOT_A_URI("icap://h/\x01"),
    NOT_A_URI("icap://h/\xc3\xa4"),
    NOT_A_URI("icap://h/%"),
    NOT_A_URI("icap://h/%4"),
    NOT_A_URI("icap://h/%4x"),
    NOT_A_URI("icap://h/%00"),
    NOT_A_URI("icap://h/%0d%0a"),
    NOT_A_URI("icap://h/%7f"),
};

static void uri_rows_hold(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(uri_rows); i++) {
        const struct uri_row *r = &uri_rows[i];
        struct span text = span_of(r->text);
        struct guard g = guard_new(text.n + 1);
        struct icap_uri u = {0};
        struct fault f = {0};
        struct arena mem;
        enum err e;

        arena_init(&mem, 0);
        e = icap_uri_parse(guard_span(&g, text), &mem, &u, &f);
        if ((e == OK) != (r->host != NULL))
            fail_msg("'%s': %s", r->text, f.why ? f.why : "accepted");
        if (e == OK && (!span_eq(u.host, span_of(r->host)) || u.port != r->port ||
                        !span_eq(u.path, span_of(r->path)) ||
                        !span_eq(u.query, span_of(r->query)) || u.secure != r->secure))
            fail_msg("'%s': " SPAN_FMT " %u " SPAN_FMT " " SPAN_FMT, r->text, SPAN_ARG(u.host),
                     u.port, SPAN_ARG(u.path), SPAN_ARG(u.query));
        if (e != OK && (e != ERR_PROTO || f.status != 400 || f.off > text.n))
            fail_msg("'%s': fault %u", r->text, f.status);
        arena_done(&mem);
        guard_free(&g);
    }
}

static void uri_length(void **state)
{
    char text[4098];
    struct icap_uri u;
    struct fault f = {0};
    struct arena mem;

    (void)state;
    memset(text, 'a', sizeof text);
    memcpy(text, "icap://h/", 9);
    arena_init(&mem, 0);
    assert_int_equal(icap_uri_parse((struct span){text, 4096}, &mem, &u, &f), OK);
    assert_int_equal(icap_uri_parse((struct span){text, 4097}, &mem, &u, &f), ERR_LIMIT);
    assert_int_equal(f.status, 414);
    arena_done(&mem);
    text[12] = '%';
    text[13] = text[14] = '4'; /* what needs decoding needs memory */
    mem_fail_after(1);
    assert_int_equal(icap_uri_parse((struct span){text, 20}, &mem, &u, &f), ERR_NOMEM);
    mem_fail_after(0);
    arena_done(&mem);
}

/* ---- Allow ---- */

static void allow_rows(void **state)
{
    static const struct {
        const char *fields;
        bool s204, s206, trailers;
    } rows[] = {
        {"",                              0, 0, 0},
        {"Allow: 204\r\n",                1, 0, 0},
        {"Allow: 204, 206, trailers\r\n", 1, 1, 1},
        {"allow: TRAILERS\r\n",           0, 0, 1},
        {"Allow: 204\r\nAllow: 206\r\n",  1, 1, 0},
        {"Allow: ,, 206 ,\r\n",           0, 1, 0},
        {"Allow: 2046, 1204, 20\r\n",     0, 0, 0},
        {"Allow: 204;q=1\r\n",            0, 0, 0},
        {"Allow: \"204\"\r\n",            0, 0, 0},
        {"X-Allow: 204\r\n",              0, 0, 0},
        {"Allow: xyz, 204\r\n",           1, 0, 0},
    };
    static const struct head_limits limits = {100, 1000, 10};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char text[256];
        struct head h;
        struct icap_allow a;
        struct arena mem;

        (void)snprintf(text, sizeof text, "OPTIONS icap://h ICAP/1.0\r\n%s\r\n", rows[i].fields);
        arena_init(&mem, 0);
        assert_int_equal(head_parse(HEAD_ICAP_REQUEST, span_of(text), &limits, &mem, &h, NULL), OK);
        a = icap_allow_parse(&h);
        if (a.s204 != rows[i].s204 || a.s206 != rows[i].s206 || a.trailers != rows[i].trailers)
            fail_msg("%s", rows[i].fields);
        arena_done(&mem);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(encapsulated_rows), cmocka_unit_test(no_list),
        cmocka_unit_test(uri_rows_hold),     cmocka_unit_test(uri_length),
        cmocka_unit_test(allow_rows),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
