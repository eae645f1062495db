/* SPDX-License-Identifier: Apache-2.0 */
/* record_upstream.c: what a record says of the connections that its request went over. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>
#include <jansson.h>

#include "observe/record.h"
#include "observe/record_upstream.h"
#include "protect/policy.h"
#include "test_two_ends.h"

static struct test_cert ca, leaf;

static int make_certs(void **state)
{
    (void)state;
    ca = test_ca_new("Test CA");
    leaf = test_cert_new(&ca, (struct test_cert_spec){.cn = "localhost", .san = "DNS:localhost"});
    return 0;
}

static int drop_certs(void **state)
{
    (void)state;
    test_cert_free(&leaf);
    test_cert_free(&ca);
    return 0;
}

static void take_client(void *arg, SSL *ssl)
{
    sallyport_report **ret = arg;

    if (!SSL_is_server(ssl))
        assert_int_equal(sallyport_report_new(ssl, ret), 0);
}

/* A client's, of a handshake with somebody who has |leaf|. */
static sallyport_report *report_of(const char *name)
{
    struct tls_context *server = test_tls_server(&leaf, NULL, false);
    struct tls_context *client = test_tls_client(&ca, NULL);
    SSL *c = SSL_new(tls_context_ssl(client)), *s = SSL_new(tls_context_ssl(server));
    sallyport_report *report = NULL;

    SSL_set_connect_state(c);
    SSL_set_accept_state(s);
    SSL_set_verify(c, SSL_VERIFY_PEER, NULL);
    assert_int_equal(SSL_set1_host(c, name), 1);
    struct meeting m = meeting_of(c, s, take_client, &report);

    assert_non_null(report);
    meeting_end(&m);
    tls_context_unref(client);
    tls_context_unref(server);
    return report;
}

static const struct record_upstream_name printer = {"backend", "printer.test:631"};

static struct record_upstream *upstream_of(const sallyport_report *report, const sallyport_why *why,
                                           enum err err, const char *text)
{
    const struct record_upstream_facts f = {
        .name = printer, .report = report, .why = why, .err = err, .error_text = text};
    struct record_upstream *u = record_upstream_new(&f);

    assert_non_null(u);
    return u;
}

static json_t *read(struct span text)
{
    json_t *j = json_loadb(text.p, text.n, JSON_REJECT_DUPLICATES, NULL);

    assert_non_null(j);
    return j;
}

static const char *text_at(const json_t *j, const char *key)
{
    const char *v = json_string_value(json_object_get(j, key));

    return v ? v : "";
}

static void test_tls(void **state)
{
    sallyport_report *report = report_of("localhost");
    struct record_upstream *u = upstream_of(report, NULL, OK, NULL);
    json_t *j = read(record_upstream_text(u));

    (void)state;
    assert_string_equal(text_at(j, "to"), "backend");
    assert_string_equal(text_at(j, "address"), "printer.test:631");
    assert_string_equal(text_at(j, "how"), "strong");
    assert_string_equal(text_at(j, "version"), "TLSv1.3");
    assert_string_equal(text_at(j, "peer"), "CN=localhost");
    assert_true(json_is_false(json_object_get(j, "resumed")));
    assert_null(json_object_get(j, "why"));
    assert_null(json_object_get(j, "error"));
    json_decref(j);
    record_upstream_unref(u);
    sallyport_report_free(report);
}

static void test_a_certificate_that_is_refused(void **state)
{
    sallyport_report *report = report_of("other.test");
    struct record_upstream *u = upstream_of(report, NULL, ERR_TLS, "cannot use it");
    json_t *j = read(record_upstream_text(u));

    (void)state;
    assert_string_equal(text_at(j, "how"), "none");
    assert_string_equal(text_at(j, "why"), "wrong-peer");
    assert_string_equal(text_at(j, "why_side"), "local");
    assert_string_equal(text_at(j, "why_source"), "x509");
    assert_int_equal(json_integer_value(json_object_get(j, "why_raw")),
                     X509_V_ERR_HOSTNAME_MISMATCH);
    assert_true(json_is_true(json_object_get(j, "why_certain")));
    assert_string_equal(text_at(j, "error"), "tls");
    assert_string_equal(text_at(j, "error_text"), "cannot use it");
    json_decref(j);
    record_upstream_unref(u);
    sallyport_report_free(report);
}

/* TLS was there, and is not what is demanded. */
static void test_what_a_policy_refuses(void **state)
{
    const struct protect_policy clear = {.require = SALLYPORT_STRONG};
    sallyport_report *report = NULL;
    sallyport_why why;

    (void)state;
    assert_int_equal(sallyport_report_new(NULL, &report), 0);
    assert_int_equal(protect_policy_check(&clear, report, &why), ERR_POLICY);
    struct record_upstream *u = upstream_of(report, &why, ERR_POLICY, "refused \"it\"\n");
    json_t *j = read(record_upstream_text(u));

    assert_string_equal(text_at(j, "how"), "none");
    assert_string_equal(text_at(j, "version"), "clear");
    assert_string_equal(text_at(j, "why"), "level-too-low");
    assert_string_equal(text_at(j, "error"), "policy");
    assert_string_equal(text_at(j, "error_text"), "refused \"it\"\n");
    json_decref(j);
    record_upstream_unref(u);
    sallyport_report_free(report);
}

static void test_nobody_there(void **state)
{
    struct record_upstream *u = upstream_of(NULL, NULL, ERR_UPSTREAM, "cannot connect");
    struct span text = record_upstream_text(u);

    (void)state;
    assert_true(span_eq(text, SPAN("{\"to\":\"backend\",\"address\":\"printer.test:631\","
                                   "\"error\":\"upstream\",\"error_text\":\"cannot connect\"}")));
    record_upstream_unref(u);
}

static void test_each_once(void **state)
{
    static const char *const texts[] = {"a", "b", "a", "c", "d", "e"};
    struct record_upstreams list = {.n = 0};

    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(texts); i++) {
        struct record_upstream *u = upstream_of(NULL, NULL, ERR_UPSTREAM, texts[i]);

        record_upstreams_add(&list, u);
        record_upstreams_add(&list, u);
        record_upstream_unref(u); /* the list has references of its own */
    }
    record_upstreams_add(&list, NULL);
    assert_int_equal(list.n, RECORD_UPSTREAMS_MAX);
    json_t *last = read(record_upstream_text(list.v[RECORD_UPSTREAMS_MAX - 1]));

    assert_string_equal(text_at(last, "error_text"), "d");
    json_decref(last);
    record_upstreams_done(&list);
    assert_int_equal(list.n, 0);
    record_upstreams_done(&list);
}

static void test_place_in_the_line(void **state)
{
    struct record_upstream *v[] = {upstream_of(NULL, NULL, ERR_UPSTREAM, "x"),
                                   upstream_of(NULL, NULL, ERR_TLS, "y")};
    struct record r = {.listener = "edge", .service = "scan", .upstreams = v, .n_upstreams = 2};
    struct buf out;

    (void)state;
    buf_init(&out, 0);
    record_format(&r, &out);
    json_t *j = read(buf_span(&out));

    json_decref(j);
    assert_non_null(strstr(
        buf_cstr(&out),
        "\"listener\":\"edge\",\"upstream\":[{\"to\":\"backend\",\"address\":\"printer.test:631\","
        "\"error\":\"upstream\",\"error_text\":\"x\"},{\"to\":\"backend\",\"address\":"
        "\"printer.test:631\",\"error\":\"tls\",\"error_text\":\"y\"}],\"service\":\"scan\""));
    buf_done(&out);
    record_upstream_unref(v[0]);
    record_upstream_unref(v[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tls),
        cmocka_unit_test(test_a_certificate_that_is_refused),
        cmocka_unit_test(test_what_a_policy_refuses),
        cmocka_unit_test(test_nobody_there),
        cmocka_unit_test(test_each_once),
        cmocka_unit_test(test_place_in_the_line),
    };

    return cmocka_run_group_tests(tests, make_certs, drop_certs);
}
