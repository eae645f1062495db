/* SPDX-License-Identifier: Apache-2.0 */
/* WHO: what a certificate names, who is the same, which pattern means whom. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>

#include "protect/peer_int.h"
#include "sallyport/want.h"
#include "test_certs.h"

static struct test_cert ca;

static int make_ca(void **state)
{
    (void)state;
    ca = test_ca_new("Test CA");
    return 0;
}

static int drop_ca(void **state)
{
    (void)state;
    test_cert_free(&ca);
    return 0;
}

static sallyport_peer *peer_new(struct test_cert_spec spec)
{
    struct test_cert t = test_cert_new(&ca, spec);
    sallyport_peer *p = NULL;
    const char *why = NULL;

    assert_int_equal(peer_of_certificate(t.x509, &p, &why), 0);
    test_cert_free(&t);
    return p;
}

static struct span attr(const sallyport_peer *p, int kind, size_t i)
{
    const void *bytes = NULL;
    size_t n = 0;

    if (sallyport_peer_attr(p, kind, i, &bytes, &n) != 0)
        return SPAN_NONE;
    assert_int_equal(((const char *)bytes)[n], '\0');
    return (struct span){bytes, n};
}

#define ASSERT_ATTR(peer, kind, i, text)              \
    do {                                              \
        struct span got_ = attr((peer), (kind), (i)); \
        if (!span_eq(got_, span_of(text)))            \
            fail_msg("%.*s", (int)got_.n, got_.p);    \
    } while (0)

static void what_a_certificate_says(void **state)
{
    sallyport_peer *p = peer_new((struct test_cert_spec){
        .cn = "proxy, one",
        .san = "DNS:Proxy.Example.ORG,DNS:proxy.example.org.,URI:spiffe://example.org/proxy/1,"
               "email:Ops@Example.ORG,IP:192.0.2.1,IP:2001:db8::1"});

    (void)state;
    ASSERT_ATTR(p, SALLYPORT_PEER_AUDIT, 0, "CN=proxy\\, one");
    ASSERT_ATTR(p, SALLYPORT_PEER_METHOD, 0, "certificate");
    ASSERT_ATTR(p, SALLYPORT_PEER_DNS, 0, "proxy.example.org");
    assert_null(attr(p, SALLYPORT_PEER_DNS, 1).p); /* the second is the first */
    ASSERT_ATTR(p, SALLYPORT_PEER_URI, 0, "spiffe://example.org/proxy/1");
    ASSERT_ATTR(p, SALLYPORT_PEER_EMAIL, 0, "Ops@example.org");
    assert_int_equal(attr(p, SALLYPORT_PEER_IP, 0).n, 4);
    assert_int_equal(attr(p, SALLYPORT_PEER_IP, 1).n, 16);
    ASSERT_ATTR(p, SALLYPORT_PEER_SUBJECT, 0, "CN=proxy\\, one");
    ASSERT_ATTR(p, SALLYPORT_PEER_ISSUER, 0, "CN=Test CA");
    assert_true(attr(p, SALLYPORT_PEER_SERIAL, 0).n > 0);
    assert_int_equal(attr(p, SALLYPORT_PEER_KEY, 0).n, 32);
    assert_int_equal(attr(p, SALLYPORT_PEER_NOT_BEFORE, 0).n, strlen("2026-11-28T00:00:00Z"));
    assert_int_equal(attr(p, SALLYPORT_PEER_NOT_AFTER, 0).n, strlen("2026-11-28T00:00:00Z"));
    assert_true(attr(p, SALLYPORT_PEER_CERTIFICATE, 0).n > 200);
    assert_null(attr(p, SALLYPORT_PEER_PURPOSE, 0).p);
    assert_null(attr(p, 99, 0).p);
    sallyport_peer_unref(p);
}

static void who_has_no_subject(void **state)
{
    static char long_uri[1000];
    static const struct {
        const char *san, *audit;
    } rows[] = {
        {"URI:spiffe://example.org/a,DNS:a.example", "dns:a.example"             },
        {"URI:spiffe://example.org/a",               "uri:spiffe://example.org/a"},
        {"email:a@example.org",                      "email:a@example.org"       },
        {"IP:2001:db8::1",                           "ip:2001:db8::1"            },
        {long_uri,                                   "key:"                      },
        {NULL,                                       "key:"                      },
    };

    (void)state;
    (void)snprintf(long_uri, sizeof long_uri, "URI:spiffe://example.org/%0500d", 0);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        sallyport_peer *p = peer_new((struct test_cert_spec){.san = rows[i].san});
        struct span audit = attr(p, SALLYPORT_PEER_AUDIT, 0);

        assert_true(span_starts(audit, span_of(rows[i].audit)));
        bool is_key = strcmp(rows[i].audit, "key:") == 0;

        assert_int_equal(audit.n, strlen(rows[i].audit) + (is_key ? 64 : 0));
        assert_string_equal(sallyport_peer_text(p), audit.p);
        sallyport_peer_unref(p);
    }
    assert_null(sallyport_peer_text(NULL));
}

/* One alternative name with any bytes. */
static void add_raw_name(X509 *x, int type, int asn1_type, struct span bytes)
{
    GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
    GENERAL_NAME *n = GENERAL_NAME_new();
    ASN1_STRING *s = ASN1_STRING_type_new(asn1_type);

    assert_non_null(s);
    assert_int_equal(ASN1_STRING_set(s, bytes.p, (int)bytes.n), 1);
    GENERAL_NAME_set0_value(n, type, s);
    assert_true(sk_GENERAL_NAME_push(names, n) > 0);
    assert_int_equal(X509_add1_ext_i2d(x, NID_subject_alt_name, names, 0, X509V3_ADD_REPLACE), 1);
    sk_GENERAL_NAME_pop_free(names, GENERAL_NAME_free);
}

/* What can be read in two ways names nobody. */
static void tricky_names_are_nobodys(void **state)
{
    static char longest[256], uri[2050] = "https://example/";

    memset(longest, 'a', sizeof longest);
    memset(uri + strlen(uri), 'a', sizeof uri - strlen(uri));
    const struct {
        int type, asn1_type;
        struct span bytes;
    } rows[] = {
        {GEN_DNS,   V_ASN1_IA5STRING,    SPAN("good.example\0.bad.example")},
        {GEN_DNS,   V_ASN1_IA5STRING,    SPAN("good.example\n")            },
        {GEN_DNS,   V_ASN1_IA5STRING,    SPAN("g\xc3\xb6od.example")       },
        {GEN_DNS,   V_ASN1_IA5STRING,    SPAN("two names.example")         },
        {GEN_DNS,   V_ASN1_IA5STRING,    SPAN("")                          },
        {GEN_DNS,   V_ASN1_IA5STRING,    SPAN(".")                         },
        {GEN_DNS,   V_ASN1_IA5STRING,    {longest, sizeof longest}         },
        {GEN_URI,   V_ASN1_IA5STRING,    SPAN("spiffe://a/b\0c")           },
        {GEN_URI,   V_ASN1_IA5STRING,    SPAN("spiffe://a/b c")            },
        {GEN_URI,   V_ASN1_IA5STRING,    {uri, sizeof uri}                 },
        {GEN_EMAIL, V_ASN1_IA5STRING,    SPAN("nobody")                    },
        {GEN_EMAIL, V_ASN1_IA5STRING,    SPAN("@example.org")              },
        {GEN_EMAIL, V_ASN1_IA5STRING,    SPAN("a@")                        },
        {GEN_EMAIL, V_ASN1_IA5STRING,    SPAN("a\0@example.org")           },
        {GEN_IPADD, V_ASN1_OCTET_STRING, SPAN("123")                       },
        {GEN_IPADD, V_ASN1_OCTET_STRING, SPAN("12345678")                  },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct test_cert t = test_cert_new(&ca, (struct test_cert_spec){.cn = "x"});
        sallyport_peer *p = NULL;
        const char *why = NULL;

        print_message("row %zu\n", i);
        add_raw_name(t.x509, rows[i].type, rows[i].asn1_type, rows[i].bytes);
        assert_int_equal(peer_of_certificate(t.x509, &p, &why), -ENOTUNIQ);
        assert_null(p);
        assert_non_null(why);
        test_cert_free(&t);
    }
}

static void too_many_names_are_nobodys(void **state)
{
    char san[65 * 16] = "", *at = san;

    (void)state;
    for (unsigned n = 0; n < 65; n++)
        at += snprintf(at, 16, "%sDNS:n%u.x", n ? "," : "", n);
    struct test_cert t = test_cert_new(&ca, (struct test_cert_spec){.cn = "x", .san = san});
    sallyport_peer *p = NULL;
    const char *why = NULL;

    assert_int_equal(peer_of_certificate(t.x509, &p, &why), -ENOTUNIQ);
    assert_string_equal(why, "the peer's certificate has more than 64 alternative names");
    test_cert_free(&t);
}

/* Names of kinds that nobody can ask for do no harm. */
static void other_kinds_are_skipped(void **state)
{
    sallyport_peer *p = peer_new((struct test_cert_spec){
        .cn = "x", .san = "otherName:1.3.6.1.4.1.311.20.2.3;UTF8:user@corp,RID:1.2.3,DNS:a.b"});

    (void)state;
    ASSERT_ATTR(p, SALLYPORT_PEER_DNS, 0, "a.b");
    assert_null(attr(p, SALLYPORT_PEER_EMAIL, 0).p);
    sallyport_peer_unref(p);
}

static void who_is_the_same(void **state)
{
    static const struct test_cert_spec a = {.cn = "a", .san = "DNS:a.example,DNS:b.example"};
    static const struct {
        struct test_cert_spec other;
        int same;
    } rows[] = {
        {{.cn = "a", .san = "DNS:a.example,DNS:b.example"},               1},
        {{.cn = "a", .san = "DNS:B.example,DNS:a.example"},               1}, /* in any order */
        {{.cn = "a", .san = "DNS:a.example"},                             0},
        {{.cn = "a", .san = "DNS:a.example,DNS:b.example,DNS:c.example"}, 0},
        {{.cn = "b", .san = "DNS:a.example,DNS:b.example"},               0},
        {{.san = "DNS:a.example,DNS:b.example"},                          0},
        {{.cn = "a"},                                                     0},
        {{.cn = "a", .san = "URI:a.example,DNS:b.example"},               0},
    };
    sallyport_peer *p = peer_new(a);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        sallyport_peer *q = peer_new(rows[i].other); /* with another key */

        print_message("row %zu\n", i);
        assert_int_equal(sallyport_peer_equal(p, q, SALLYPORT_SAME_NAME), rows[i].same);
        assert_int_equal(sallyport_peer_equal(q, p, SALLYPORT_SAME_NAME), rows[i].same);
        assert_int_equal(sallyport_peer_equal(p, q, SALLYPORT_SAME_KEY), 0);
        sallyport_peer_unref(q);
    }
    assert_int_equal(sallyport_peer_equal(p, p, SALLYPORT_SAME_NAME), 1);
    assert_int_equal(sallyport_peer_equal(p, p, SALLYPORT_SAME_KEY), 1);
    assert_int_equal(sallyport_peer_equal(p, p, 7), 0);
    assert_int_equal(sallyport_peer_equal(p, NULL, SALLYPORT_SAME_NAME), 0);
    assert_int_equal(sallyport_peer_equal(NULL, NULL, SALLYPORT_SAME_NAME), 0);
    sallyport_peer_unref(p);
}

/* Without a name it is the key that counts. */
static void the_nameless_are_their_keys(void **state)
{
    sallyport_peer *p = peer_new((struct test_cert_spec){0});
    sallyport_peer *q = peer_new((struct test_cert_spec){0});

    (void)state;
    assert_int_equal(sallyport_peer_equal(p, p, SALLYPORT_SAME_NAME), 1);
    assert_int_equal(sallyport_peer_equal(p, q, SALLYPORT_SAME_NAME), 0);
    sallyport_peer_unref(p);
    sallyport_peer_unref(q);
}

static const char *const kind_names[] = {[SALLYPORT_PEER_DNS] = "DNS:",
                                         [SALLYPORT_PEER_URI] = "URI:",
                                         [SALLYPORT_PEER_EMAIL] = "email:",
                                         [SALLYPORT_PEER_IP] = "IP:"};

static void patterns(void **state)
{
    enum { NO = 0, YES = 1, BAD = -EINVAL };
    static const struct {
        int kind;
        const char *pattern, *name;
        int match;
    } rows[] = {
        {SALLYPORT_PEER_DNS,    "a.example.org",          "a.example.org",               YES},
        {SALLYPORT_PEER_DNS,    "A.Example.org.",         "a.example.ORG",               YES},
        {SALLYPORT_PEER_DNS,    "example.org",            "a.example.org",               NO },
        {SALLYPORT_PEER_DNS,    "a.example.org",          "aa.example.org",              NO },
        {SALLYPORT_PEER_DNS,    "*.example.org",          "a.example.org",               YES},
        {SALLYPORT_PEER_DNS,    "*.example.org",          "example.org",                 NO },
        {SALLYPORT_PEER_DNS,    "*.example.org",          "a.b.example.org",             NO },
        {SALLYPORT_PEER_DNS,    "*.example.org",          "aexample.org",                NO },
        {SALLYPORT_PEER_DNS,    "*.example.org",          "*.example.org",               NO },
        {SALLYPORT_PEER_DNS,    "*.example.org",          "a.example.org.evil.net",      NO },
        {SALLYPORT_PEER_DNS,    "host",                   "host",                        YES},
        {SALLYPORT_PEER_DNS,    "*.org",                  "a.org",                       BAD},
        {SALLYPORT_PEER_DNS,    "*",                      "a",                           BAD},
        {SALLYPORT_PEER_DNS,    "a*.example.org",         "a.example.org",               BAD},
        {SALLYPORT_PEER_DNS,    "a.*.org",                "a.b.org",                     BAD},
        {SALLYPORT_PEER_DNS,    "*.*.example.org",        "a.b.example.org",             BAD},
        {SALLYPORT_PEER_DNS,    "a..org",                 "a.org",                       BAD},
        {SALLYPORT_PEER_DNS,    ".example.org",           "a.example.org",               BAD},
        {SALLYPORT_PEER_DNS,    "",                       "a.org",                       BAD},
        {SALLYPORT_PEER_DNS,    ".",                      "a.org",                       BAD},
        {SALLYPORT_PEER_DNS,    "b\xc3\xbc.example",      "b.example",                   BAD},
        {SALLYPORT_PEER_DNS,    "-a.example",             "a.example",                   BAD},
        {SALLYPORT_PEER_URI,    "spiffe://t.example/a/b", "spiffe://t.example/a/b",      YES},
        {SALLYPORT_PEER_URI,    "spiffe://t.example/a/b", "spiffe://t.example/a/B",      NO },
        {SALLYPORT_PEER_URI,    "spiffe://t.example/a",   "spiffe://t.example/a/b",      NO },
        {SALLYPORT_PEER_URI,    "spiffe://t.example/a/*", "spiffe://t.example/a/b",      YES},
        {SALLYPORT_PEER_URI,    "spiffe://t.example/a/*", "spiffe://t.example/a/b/c",    YES},
        {SALLYPORT_PEER_URI,    "spiffe://t.example/*",   "spiffe://t.example/a",        YES},
        {SALLYPORT_PEER_URI,    "spiffe://t.example/*",   "spiffe://t.example.evil/a",   NO },
        {SALLYPORT_PEER_URI,    "spiffe://t.example/a/*", "spiffe://t.example/ab",       NO },
        {SALLYPORT_PEER_URI,    "spiffe://t.example/a/*", "spiffe://t.example/a/",       NO },
        {SALLYPORT_PEER_URI,    "spiffe://t.example/a/*", "spiffe://t.example/a/b/",     NO },
        {SALLYPORT_PEER_URI,    "spiffe://t.example/a/*", "spiffe://t.example/a/../b",   NO },
        {SALLYPORT_PEER_URI,    "spiffe://t.example/a/*", "spiffe://t.example/a/..",     NO },
        {SALLYPORT_PEER_URI,    "spiffe://t.example/a/*", "spiffe://t.example/a/./b",    NO },
        {SALLYPORT_PEER_URI,    "spiffe://t.example/a/*", "spiffe://t.example/a//b",     NO },
        {SALLYPORT_PEER_URI,    "spiffe://t.example/a/*", "spiffe://t.example/a/%2e%2e", NO },
        {SALLYPORT_PEER_URI,    "spiffe://t.example/a/*", "spiffe://t.example/a/b?c",    NO },
        {SALLYPORT_PEER_URI,    "spiffe://t.example/a/*", "spiffe://t.example/a/b#c",    NO },
        {SALLYPORT_PEER_URI,    "urn:a:b",                "urn:a:b",                     YES},
        {SALLYPORT_PEER_URI,    "spiffe://*",             "spiffe://a/b",                BAD},
        {SALLYPORT_PEER_URI,    "spiffe:///*",            "spiffe://a/b",                BAD},
        {SALLYPORT_PEER_URI,    "spiffe://t/*/a",         "spiffe://t/b/a",              BAD},
        {SALLYPORT_PEER_URI,    "urn:a/*",                "urn:a/b",                     BAD},
        {SALLYPORT_PEER_URI,    "nothing",                "urn:a",                       BAD},
        {SALLYPORT_PEER_EMAIL,  "Ops@Example.org",        "Ops@example.ORG",             YES},
        {SALLYPORT_PEER_EMAIL,  "ops@example.org",        "Ops@example.org",             NO },
        {SALLYPORT_PEER_EMAIL,  "s@example.org",          "ops@example.org",             NO },
        {SALLYPORT_PEER_EMAIL,  "*@example.org",          "ops@example.org",             BAD},
        {SALLYPORT_PEER_EMAIL,  "example.org",            "ops@example.org",             BAD},
        {SALLYPORT_PEER_EMAIL,  "ops@",                   "ops@example.org",             BAD},
        {SALLYPORT_PEER_IP,     "192.0.2.1",              "192.0.2.1",                   YES},
        {SALLYPORT_PEER_IP,     "192.0.2.1",              "192.0.2.2",                   NO },
        {SALLYPORT_PEER_IP,     "::ffff:192.0.2.1",       "192.0.2.1",                   NO },
        {SALLYPORT_PEER_IP,     "2001:DB8:0::1",          "2001:db8::1",                 YES},
        {SALLYPORT_PEER_IP,     "192.0.2.0/24",           "192.0.2.1",                   BAD},
        {SALLYPORT_PEER_IP,     "192.0.2",                "192.0.2.1",                   BAD},
        {SALLYPORT_PEER_ISSUER, "CN=Test CA",             "a",                           BAD},
        {0,                     "a",                      "a",                           BAD},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char san[160];
        const char *prefix = rows[i].kind > 0 && rows[i].kind <= SALLYPORT_PEER_IP
                                 ? kind_names[rows[i].kind]
                                 : "DNS:";

        print_message("%s %s\n", rows[i].pattern, rows[i].name);
        (void)snprintf(san, sizeof san, "%s%s", prefix, rows[i].name);
        sallyport_peer *p = peer_new((struct test_cert_spec){.cn = "x", .san = san});

        assert_int_equal(sallyport_peer_match(p, rows[i].kind, rows[i].pattern), rows[i].match);
        sallyport_peer_unref(p);
    }
}

static void distinguished_names(void **state)
{
    static const struct {
        const char *pattern;
        int match;
    } rows[] = {
        {"CN=a\\, b,OU=Proxies,O=Example",  1      },
        {"cn=a\\, b,ou=Proxies,o=Example",  1      },
        {"CN=*,OU=Proxies,O=Example",       1      },
        {"CN=*,OU=*,O=*",                   1      },
        {"CN=a\\, b,OU=proxies,O=Example",  0      }, /* values as they are written */
        {"OU=Proxies,O=Example",            0      },
        {"CN=a\\, b,OU=Proxies",            0      },
        {"CN=a\\, b",                       0      },
        {"CN=*",                            0      },
        {"O=Example,OU=Proxies,CN=a\\, b",  0      },
        {"CN=a, b,OU=Proxies,O=Example",    -EINVAL},
        {"CN=a*,OU=Proxies,O=Example",      -EINVAL},
        {"CN=a\\, b, OU=Proxies,O=Example", -EINVAL},
        {"CN=a\\, b,OU=Proxies,O=Example,", -EINVAL},
        {"CN=,OU=Proxies,O=Example",        -EINVAL},
        {"*",                               -EINVAL},
        {"",                                -EINVAL},
        {"CN=\n",                           -EINVAL},
    };
    struct test_cert t = test_cert_new(&ca, (struct test_cert_spec){0});
    X509_NAME *subject = X509_get_subject_name(t.x509);
    static const char *const parts[][2] = {
        {"O",  "Example"},
        {"OU", "Proxies"},
        {"CN", "a, b"   }
    };
    sallyport_peer *p = NULL;
    const char *why;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        assert_int_equal(X509_NAME_add_entry_by_txt(subject, parts[i][0], MBSTRING_UTF8,
                                                    (const unsigned char *)parts[i][1], -1, -1, 0),
                         1);
    assert_int_equal(peer_of_certificate(t.x509, &p, &why), 0);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        print_message("%s\n", rows[i].pattern);
        assert_int_equal(sallyport_peer_match(p, SALLYPORT_PEER_SUBJECT, rows[i].pattern),
                         rows[i].match);
    }
    sallyport_peer_unref(p);
    test_cert_free(&t);
}

/* A star is one value, not a second one that somebody hid behind it. */
static void a_star_is_one_value(void **state)
{
    struct test_cert t = test_cert_new(&ca, (struct test_cert_spec){.cn = "a"});
    sallyport_peer *p = NULL;
    const char *why;

    (void)state;
    assert_int_equal(X509_NAME_add_entry_by_txt(X509_get_subject_name(t.x509), "OU", MBSTRING_UTF8,
                                                (const unsigned char *)"b", -1, -1, 1),
                     1);
    assert_int_equal(peer_of_certificate(t.x509, &p, &why), 0);
    assert_int_equal(sallyport_peer_match(p, SALLYPORT_PEER_SUBJECT, "OU=*"), 0);
    assert_int_equal(sallyport_peer_match(p, SALLYPORT_PEER_SUBJECT, sallyport_peer_text(p)), 1);
    sallyport_peer_unref(p);
    test_cert_free(&t);
}

static void keys(void **state)
{
    sallyport_peer *p = peer_new((struct test_cert_spec){0});
    const char *hex = sallyport_peer_text(p) + strlen("key:");
    char other[65], upper[65];

    (void)state;
    for (size_t i = 0; i <= 64; i++) {
        other[i] = hex[i];
        upper[i] = hex[i] >= 'a' ? (char)(hex[i] - 'a' + 'A') : hex[i];
    }
    other[63] = other[63] == '0' ? '1' : '0';
    assert_int_equal(sallyport_peer_match(p, SALLYPORT_PEER_KEY, hex), 1);
    assert_int_equal(sallyport_peer_match(p, SALLYPORT_PEER_KEY, upper), 1);
    assert_int_equal(sallyport_peer_match(p, SALLYPORT_PEER_KEY, other), 0);
    assert_int_equal(sallyport_peer_match(p, SALLYPORT_PEER_KEY, hex + 2), -EINVAL);
    other[0] = 'x';
    assert_int_equal(sallyport_peer_match(p, SALLYPORT_PEER_KEY, other), -EINVAL);
    sallyport_peer_unref(p);
}

/* ---- wants ---- */

static void wants_say_no(void **state)
{
    sallyport_want *w = NULL;

    (void)state;
    assert_int_equal(sallyport_want_new(&w), 0);
    assert_int_equal(sallyport_want_protect(w, (sallyport_level)4, 0), -EINVAL);
    assert_int_equal(sallyport_want_protect(w, SALLYPORT_NONE, 8), -EINVAL);
    assert_int_equal(sallyport_want_peer(w, SALLYPORT_PEER_DNS, "*"), -EINVAL);
    assert_int_equal(sallyport_want_peer_text(w, "dns"), -EINVAL);
    assert_int_equal(sallyport_want_peer_text(w, "dns:"), -EINVAL);
    assert_int_equal(sallyport_want_peer_text(w, "name:a.example"), -EINVAL);
    assert_int_equal(sallyport_want_peer_text(w, ""), -EINVAL);
    assert_int_equal(sallyport_want_same(w, NULL), -EINVAL);
    assert_int_equal(sallyport_want_check(w, NULL, NULL), 0); /* nothing was taken */
    for (unsigned i = 0; i < SALLYPORT_WANT_PEERS_MAX; i++)
        assert_int_equal(sallyport_want_peer_text(w, "URI:urn:a:b"), 0);
    assert_int_equal(sallyport_want_peer_text(w, "uri:urn:a:b"), -E2BIG);
    sallyport_want_free(w);
    sallyport_want_free(NULL);
    assert_int_equal(sallyport_want_check(NULL, NULL, NULL), 0);
}

/* Said twice, the stricter holds; what nothing can meet is said at once. */
static void wants_join(void **state)
{
    sallyport_want *w = NULL;
    sallyport_report *clear = NULL;
    sallyport_why why = {.size = sizeof why};

    (void)state;
    assert_int_equal(sallyport_report_new(NULL, &clear), 0);
    assert_int_equal(sallyport_want_new(&w), 0);
    assert_int_equal(sallyport_want_check(w, clear, &why), 0);
    assert_int_equal(sallyport_want_protect(w, SALLYPORT_WEAK, 0), 0);
    assert_int_equal(sallyport_want_protect(w, SALLYPORT_NONE, 0), 0);
    assert_int_equal(sallyport_want_check(w, clear, &why), -EACCES);
    assert_string_equal(why.code, "level-too-low");
    assert_int_equal(
        sallyport_want_protect(w, SALLYPORT_NONE, SALLYPORT_VIA_TLS | SALLYPORT_VIA_IPSEC), 0);
    assert_int_equal(sallyport_want_check(w, clear, &why), -EACCES);
    assert_int_equal(sallyport_want_protect(w, SALLYPORT_NONE, SALLYPORT_VIA_TLS), 0);
    assert_int_equal(sallyport_want_check(w, clear, &why), -ENOKEY);
    assert_string_equal(why.code, "need-tls");
    assert_int_equal(sallyport_want_protect(w, SALLYPORT_NONE, SALLYPORT_VIA_IPSEC), -EINVAL);
    assert_int_equal(sallyport_want_check(w, clear, &why), -ENOKEY); /* as it was */
    sallyport_want_free(w);
    assert_int_equal(sallyport_want_new(&w), 0);
    assert_int_equal(sallyport_want_protect(w, SALLYPORT_NONE, SALLYPORT_VIA_IPSEC), 0);
    assert_int_equal(sallyport_want_check(w, clear, &why), -EPERM);
    assert_string_equal(why.code, "local-policy");
    sallyport_want_free(w);
    sallyport_report_free(clear);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_certificate_says),
        cmocka_unit_test(who_has_no_subject),
        cmocka_unit_test(tricky_names_are_nobodys),
        cmocka_unit_test(too_many_names_are_nobodys),
        cmocka_unit_test(other_kinds_are_skipped),
        cmocka_unit_test(who_is_the_same),
        cmocka_unit_test(the_nameless_are_their_keys),
        cmocka_unit_test(patterns),
        cmocka_unit_test(distinguished_names),
        cmocka_unit_test(a_star_is_one_value),
        cmocka_unit_test(keys),
        cmocka_unit_test(wants_say_no),
        cmocka_unit_test(wants_join),
    };

    return cmocka_run_group_tests(tests, make_ca, drop_ca);
}
