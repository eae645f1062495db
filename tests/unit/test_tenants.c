/* SPDX-License-Identifier: Apache-2.0 */
/* The set of tenants: rows and records brought together, look-ups, whose a certificate is; and
 * records that are read strictly. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "protect/peer_int.h"
#include "tenant/tenants.h"
#include "test_certs.h"

#define NOW UINT64_C(1700000000000)

/* ---- records ---- */

#define KEY  "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define GOOD "{\"key\":\"" KEY "\",\"disabled\":true,\"created\":\"2023-11-14T22:13:20.000Z\"}"

static void test_record(void **state)
{
    struct tenant_record r, back;
    struct buf out;

    (void)state;
    assert_int_equal(tenant_record_parse(SPAN("acme"), SPAN(GOOD), &r), OK);
    assert_string_equal(r.name, "acme");
    assert_true(r.disabled);
    assert_int_equal(r.key[31], 0x1f);
    assert_int_equal(r.created_wall_ms, NOW);
    buf_init(&out, 0);
    tenant_record_format(&r, &out);
    assert_string_equal(buf_cstr(&out), GOOD);
    assert_int_equal(tenant_record_parse(SPAN("acme"), buf_span(&out), &back), OK);
    assert_memory_equal(back.key, r.key, sizeof r.key);
    buf_done(&out);
    for (size_t n = 0; n < sizeof GOOD - 1; n++)
        assert_int_equal(tenant_record_parse(SPAN("acme"), (struct span){GOOD, n}, &r), ERR_PROTO);
    assert_int_equal(tenant_record_parse(SPAN("a b"), SPAN(GOOD), &r), ERR_PROTO);
    assert_int_equal(tenant_record_parse(SPAN("acme"), SPAN("{\"key\":\"" KEY "\"}"), &r),
                     ERR_PROTO);
    assert_int_equal(tenant_record_parse(SPAN("acme"),
                                         SPAN("{\"key\":\"00\",\"disabled\":true,"
                                              "\"created\":\"2023-11-14T22:13:20.000Z\"}"),
                                         &r),
                     ERR_PROTO);
}

static void test_names(void **state)
{
    static const char *const good[] = {"a", "A9", "a-b_c.d", "0"};
    static const char *const bad[] = {"",    ".a",  "-a",       "_a",  "a b",
                                      "a/b", "a:b", "\xc3\xa4", "a\n", ".."};
    static const char longest[] =
        "a2345678901234567890123456789012345678901234567890123456789012345";

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_true(tenant_name_is_valid(span_of(good[i])));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(tenant_name_is_valid(span_of(bad[i])));
    assert_true(tenant_name_is_valid((struct span){longest, CREDENTIAL_TENANT_MAX}));
    assert_false(tenant_name_is_valid((struct span){longest, CREDENTIAL_TENANT_MAX + 1}));
}

static void test_rows_are_sound(void **state)
{
    struct config_report r;

    (void)state;
    config_report_init(&r);
    assert_int_equal(config_rows_check(&tenant_block, &r), OK);
    config_report_done(&r);
}

/* ---- sets ---- */

static struct tenant_record record(const char *name, bool disabled)
{
    struct tenant_record r = {.disabled = disabled, .created_wall_ms = NOW};

    (void)span_copy(span_of(name), r.name, sizeof r.name);
    memset(r.key, name[0], sizeof r.key);
    return r;
}

static struct credential user(const char *name, const char *tenant)
{
    struct credential c = {.rounds = 210000, .changed_wall_ms = NOW};

    (void)span_copy(span_of(name), c.user, sizeof c.user);
    (void)span_copy(span_of(tenant), c.tenant, sizeof c.tenant);
    return c;
}

static void on_release(void *owner)
{
    ++*(unsigned *)owner;
}

static void test_set(void **state)
{
    const struct tenant_settings rows[] = {
        {.name = "acme", .limits = {.connections = 3}},
        {.name = "unmade"             },
    };
    const struct tenant_record records[] = {record("acme", false), record("other", true),
                                            record("acme", true)};
    const struct credential users[] = {user("joe", "acme"), user("ann", "other"),
                                       user("bob", "gone"), user("joe", "other")};
    unsigned released = 0;
    struct quotas *quotas;
    struct tenants *t;

    (void)state;
    assert_int_equal(quotas_new(&quotas), OK);
    const struct tenants_source src = {.rows = rows,
                                       .n_rows = ARRAY_LEN(rows),
                                       .records = records,
                                       .n_records = ARRAY_LEN(records),
                                       .credentials = users,
                                       .n_credentials = ARRAY_LEN(users),
                                       .quotas = quotas,
                                       .release = on_release,
                                       .owner = &released};

    assert_int_equal(tenants_new(&src, &t), OK);
    assert_int_equal(tenants_count(t), 2);
    const struct tenant *acme = tenants_find(t, SPAN("acme")), *other = tenants_at(t, 1);

    assert_ptr_equal(tenants_at(t, 0), acme);
    assert_ptr_equal(tenants_find(t, SPAN("other")), other);
    assert_null(tenants_find(t, SPAN("unmade"))); /* no record, no key */
    assert_null(tenants_find(t, SPAN("acm")));
    assert_null(tenants_find(t, SPAN("")));
    assert_string_equal(acme->name, "acme");
    assert_false(acme->disabled);
    assert_true(other->disabled);
    assert_int_equal(acme->key[0], 'a');
    assert_ptr_equal(acme->set, &rows[0]);
    assert_null(other->set->name);
    assert_int_equal(other->set->limits.connections, 0);
    assert_true(acme->client != 0 && acme->client != other->client);
    assert_ptr_equal(acme->quota, quotas_get(quotas, SPAN("acme"), &rows[0].limits));

    assert_int_equal(tenants_credentials(t), 2);
    assert_string_equal(tenants_credential(t, SPAN("joe"))->tenant, "acme");
    assert_string_equal(tenants_credential(t, SPAN("ann"))->tenant, "other");
    assert_null(tenants_credential(t, SPAN("bob")));
    assert_null(tenants_credential(t, SPAN("JOE")));
    assert_string_equal(tenants_credential_at(t, 1)->user, "ann");

    tenants_unref(tenants_ref(t));
    assert_int_equal(released, 0);
    tenants_unref(t);
    assert_int_equal(released, 1);
    tenants_unref(NULL);
    quotas_free(quotas);
}

static void test_many(void **state)
{
    static struct tenant_record records[2000];
    static struct credential users[2000];
    char name[16];
    struct tenants *t;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(records); i++) {
        (void)snprintf(name, sizeof name, "t%zu", i);
        records[i] = record(name, false);
        users[i] = user(name, name);
    }
    const struct tenants_source src = {.records = records,
                                       .n_records = ARRAY_LEN(records),
                                       .credentials = users,
                                       .n_credentials = ARRAY_LEN(users)};

    assert_int_equal(tenants_new(&src, &t), OK);
    for (size_t i = 0; i < ARRAY_LEN(records); i++) {
        (void)snprintf(name, sizeof name, "t%zu", i);
        assert_string_equal(tenants_find(t, span_of(name))->name, name);
        assert_string_equal(tenants_credential(t, span_of(name))->tenant, name);
    }
    tenants_unref(t);
}

/* ---- certificates ---- */

static sallyport_peer *peer_of(const char *cn, const char *san)
{
    struct test_cert ca = test_ca_new("CA");
    struct test_cert t = test_cert_new(&ca, (struct test_cert_spec){.cn = cn, .san = san});
    sallyport_peer *p = NULL;
    const char *why = NULL;

    assert_int_equal(peer_of_certificate(t.x509, &p, &why), 0);
    test_cert_free(&t);
    test_cert_free(&ca);
    return p;
}

static const struct cert_row {
    const char *name, *cn, *san, *want; /* NULL: nobody's */
    bool ambiguous;
} cert_rows[] = {
    {"by name",           "x",   "DNS:a.example",                          "a",   false},
    {"by star",           "x",   "DNS:p1.b.example",                       "b",   false},
    {"by URI",            "x",   "URI:spiffe://example/a/proxy",           "a",   false},
    {"by subject",        "bee", NULL,                                     "b",   false},
    {"unknown",           "x",   "DNS:c.example",                          NULL,  false},
    {"part of a name",    "x",   "DNS:a.example.org",                      NULL,  false},
    {"of two tenants",    "bee", "DNS:a.example",                          NULL,  true },
    {"twice of one",      "x",   "DNS:a.example,URI:spiffe://example/a/b", "a",   false},
    {"of a disabled one", "x",   "DNS:off.example",                        "off", false},
};

static void test_certificate(void **state)
{
    static const char *const a[] = {"dns:a.example", "uri:spiffe://example/a/*"};
    static const char *const b[] = {"dns:*.b.example", "dn:CN=bee"};
    static const char *const off[] = {"DNS:off.example"};
    static const struct tenant_settings rows[] = {
        {.name = "a",   .certificates = {a, 2}  },
        {.name = "b",   .certificates = {b, 2}  },
        {.name = "off", .certificates = {off, 1}},
    };
    const struct tenant_record records[] = {record("a", false), record("b", false),
                                            record("off", true), record("none", false)};
    const struct cert_row *r = *state;
    const struct tenants_source src = {.rows = rows,
                                       .n_rows = ARRAY_LEN(rows),
                                       .records = records,
                                       .n_records = ARRAY_LEN(records)};
    sallyport_peer *p = peer_of(r->cn, r->san);
    struct tenants *t;
    bool ambiguous = true;

    assert_int_equal(tenants_new(&src, &t), OK);
    const struct tenant *found = tenants_of_peer(t, p, &ambiguous);

    assert_int_equal(ambiguous, r->ambiguous);
    if (r->want)
        assert_string_equal(found->name, r->want);
    else
        assert_null(found);
    assert_null(tenants_of_peer(t, NULL, &ambiguous));
    assert_false(ambiguous);
    tenants_unref(t);
    sallyport_peer_unref(p);
}

int main(void)
{
    struct CMUnitTest tests[ARRAY_LEN(cert_rows) + 5];
    size_t n = 0;

    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_record);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_names);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_rows_are_sound);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_set);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_many);
    for (size_t i = 0; i < ARRAY_LEN(cert_rows); i++)
        tests[n++] = (struct CMUnitTest){cert_rows[i].name, test_certificate, NULL, NULL,
                                         (void *)(uintptr_t)&cert_rows[i]};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
