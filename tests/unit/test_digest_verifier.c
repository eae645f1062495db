/* SPDX-License-Identifier: Apache-2.0 */
/* What is kept for Digest: known values, which realms there are, and objects that are read
 * strictly. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <openssl/evp.h>

#include "base/json.h"
#include "tenant/digest_verifier.h"

/* ---- known values ---- */

#define ANN_SHA256 "e12bd3ce93a9e6a7d7bad91c43fc9e8a37a934e7d11a3554cb5093076015b2c4"
#define ANN_MD5    "a61ed947f0a1bcf7b2c0b83b89c2273c"

static const struct vector {
    const char *name, *user, *realm, *password, *sha256, *md5;
} vectors[] = {
    {"ann",            "ann",           "sallyport",             "s3cret",                   ANN_SHA256,                                                         ANN_MD5                           },
    {"RFC 7616 3.9.1", "Mufasa",        "http-auth@example.org", "Circle of Life",
     "7987c64c30e25f1b74be53f966b49b90f2808aa92faf9a00262392d7b4794232",                                                                                         "3d78807defe7de2157e2b0b6573a855f"},
    {"UTF-8",          "j\xc3\xbcrgen",
     "gr\xc3\xb6\xc3\x9f"
     "e",                                                        "p\xc3\xa4ssw\xc3\xb6rter", "5ab577b5625460d7c96ffa895ba912247e2f9aa2a1074c47162d76c5dc7f6df6",
     "2aa9b783007b0c99994c21159dda794f"                                                                                                                                                            },
};

static void assert_ha1(const struct digest_verifier *d, enum digest_alg alg, const char *want)
{
    const struct digest_hex *ha1 = digest_verifier_ha1(d, alg);

    if (!want) {
        assert_null(ha1);
        return;
    }
    assert_non_null(ha1);
    assert_string_equal(ha1->text, want);
    assert_int_equal(ha1->n, strlen(want));
}

static void test_vector(void **state)
{
    const struct vector *v = *state;

    for (unsigned md5 = 0; md5 < 2; md5++) {
        struct digest_verifier d;

        memset(&d, 'x', sizeof d);
        assert_int_equal(digest_verifier_make(span_of(v->user), span_of(v->realm),
                                              span_of(v->password), md5, &d),
                         DIGEST_OK);
        assert_true(digest_verifier_is_kept(&d));
        assert_string_equal(d.realm, v->realm);
        assert_ha1(&d, DIGEST_SHA256, v->sha256);
        assert_ha1(&d, DIGEST_SHA256_SESS, v->sha256); /* made of the same */
        assert_ha1(&d, DIGEST_MD5, md5 ? v->md5 : NULL);
        assert_ha1(&d, DIGEST_MD5_SESS, md5 ? v->md5 : NULL);
        assert_ha1(&d, DIGEST_SHA512_256, NULL);
    }
}

/* RFC 7616 3.9.1, its published responses: what is kept is what a server needs. */
static void test_published_responses(void **state)
{
    static const struct {
        enum digest_alg alg;
        const char *want;
    } rows[] = {
        {DIGEST_MD5,    "8ca523f5e9506fed4657c9700eebdbec"                                },
        {DIGEST_SHA256, "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"},
    };
    struct digest_verifier d;
    struct digest_hex got;

    (void)state;
    assert_int_equal(digest_verifier_make(SPAN("Mufasa"), SPAN("http-auth@example.org"),
                                          SPAN("Circle of Life"), true, &d),
                     DIGEST_OK);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct digest_proof p = {
            .alg = rows[i].alg,
            .qop = DIGEST_QOP_AUTH,
            .nonce = SPAN("7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v"),
            .nc = SPAN("00000001"),
            .cnonce = SPAN("f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"),
            .method = SPAN("GET"),
            .uri = SPAN("/dir/index.html"),
        };

        assert_int_equal(digest_response(&p, digest_verifier_ha1(&d, p.alg), &got), DIGEST_OK);
        assert_string_equal(got.text, rows[i].want);
    }
}

/* ---- realms ---- */

#define X16 "xxxxxxxxxxxxxxxx"

static const struct realm_row {
    const char *name;
    struct span realm;
    bool good;
} realm_rows[] = {
    {"a word",         {"printers", 8},                         true },
    {"one byte",       {"x", 1},                                true },
    {"longest",        {X16 X16 X16 X16, 64},                   true },
    {"too long",       {X16 X16 X16 X16 "x", 65},               false},
    {"empty",          {"", 0},                                 false},
    {"none",           {NULL, 0},                               false},
    {"spaces",         {" at the office ", 15},                 true },
    {"host",           {"http-auth@example.org", 21},           true },
    {"UTF-8",          {"b\xc3\xbcro", 5},                      true },
    {"colon",          {"a:b", 3},                              true },
    {"apostrophe",     {"ann's", 5},                            true },
    {"quote",          {"a\"b", 3},                             false},
    {"quote first",    {"\"ab", 3},                             false},
    {"backslash",      {"a\\b", 3},                             false},
    {"backslash last", {"ab\\", 3},                             false},
    {"NUL",            {"a\0b", 3},                             false},
    {"LF",             {"ab\n", 3},                             false},
    {"TAB",            {"a\tb", 3},                             false},
    {"DEL",            {"a\x7f", 2},                            false},
    {"C1",             {"a\xc2\x85", 3},                        false},
    {"no UTF-8",       {"b\xfcro", 4},                          false},
    {"cut UTF-8",      {X16 X16 X16 "xxxxxxxxxxxxxxx\xc3", 64}, false},
};

static void test_realm(void **state)
{
    const struct realm_row *r = *state;
    struct digest_verifier d = {.realm = "before"};

    assert_int_equal(digest_verifier_realm_is_valid(r->realm), r->good);
    assert_int_equal(digest_verifier_make(SPAN("ann"), r->realm, SPAN("s3cret"), true, &d),
                     r->good ? DIGEST_OK : DIGEST_ESETTINGS);
    assert_true(span_eq(span_of(d.realm), r->good ? r->realm : SPAN("before")));
}

/* As with a FIPS provider, which has no MD5; here nothing has what is asked for. */
static void test_no_hash(void **state)
{
    struct digest_verifier d = {.realm = "before"};

    (void)state;
    assert_int_equal(EVP_set_default_properties(NULL, "fips=yes"), 1);
    enum digest_err e =
        digest_verifier_make(SPAN("ann"), SPAN("sallyport"), SPAN("s3cret"), true, &d);

    assert_int_equal(EVP_set_default_properties(NULL, ""), 1);
    assert_int_equal(e, DIGEST_ECRYPTO);
    assert_string_equal(d.realm, "before");
    assert_int_equal(digest_verifier_make(SPAN("ann"), SPAN("sallyport"), SPAN("s3cret"), true, &d),
                     DIGEST_OK);
}

/* ---- as text ---- */

#define GOOD "\"digest\":{\"realm\":\"sallyport\",\"sha256\":\"" ANN_SHA256 "\"}"
#define BOTH \
    "\"digest\":{\"realm\":\"sallyport\",\"sha256\":\"" ANN_SHA256 "\",\"md5\":\"" ANN_MD5 "\"}"

static enum err read_members(const char *members, struct digest_verifier *ret)
{
    struct buf text;

    buf_init(&text, 0);
    buf_char(&text, '{');
    buf_text(&text, members);
    buf_char(&text, '}');
    json_t *o = json_loadb(text.p, text.n, JSON_REJECT_DUPLICATES, NULL);

    assert_non_null(o);
    enum err e = digest_verifier_read(o, ret);

    json_decref(o);
    buf_done(&text);
    return e;
}

static void assert_written(const struct digest_verifier *d, const char *want)
{
    struct buf out;

    buf_init(&out, 0);
    struct json j = json_to(&out);

    json_open(&j, NULL, '{');
    json_bool(&j, "x", true);
    digest_verifier_json(d, &j);
    json_bool(&j, "y", true);
    json_close(&j, '}');
    assert_string_equal(buf_cstr(&out), want);
    buf_done(&out);
}

static void test_round_trip(void **state)
{
    struct digest_verifier d, back;

    (void)state;
    for (unsigned md5 = 0; md5 < 2; md5++) {
        const char *text = md5 ? BOTH : GOOD;

        memset(&back, 'x', sizeof back);
        assert_int_equal(
            digest_verifier_make(SPAN("ann"), SPAN("sallyport"), SPAN("s3cret"), md5, &d),
            DIGEST_OK);
        assert_written(&d, md5 ? "{\"x\":true," BOTH ",\"y\":true}"
                               : "{\"x\":true," GOOD ",\"y\":true}");
        assert_int_equal(read_members(text, &back), OK);
        assert_string_equal(back.realm, "sallyport");
        assert_ha1(&back, DIGEST_SHA256, ANN_SHA256);
        assert_ha1(&back, DIGEST_MD5, md5 ? ANN_MD5 : NULL);
        assert_ha1(&back, DIGEST_SHA512_256, NULL);
    }
}

static void test_none(void **state)
{
    const struct digest_verifier none = {0};
    struct digest_verifier d;

    (void)state;
    assert_written(&none, "{\"x\":true,\"y\":true}");
    memset(&d, 'x', sizeof d);
    assert_int_equal(read_members("\"other\":1", &d), OK);
    assert_false(digest_verifier_is_kept(&d));
    for (unsigned a = 0; a < DIGEST_ALGS; a++)
        assert_null(digest_verifier_ha1(&d, (enum digest_alg)a));
}

/* BOTH with |from| (its first one) replaced. */
static const struct bad_row {
    const char *name, *from, *to;
} bad_rows[] = {
    {"null",                BOTH,                             "\"digest\":null"                            },
    {"array",               BOTH,                             "\"digest\":[]"                              },
    {"text",                BOTH,                             "\"digest\":\"sallyport\""                   },
    {"empty",               BOTH,                             "\"digest\":{}"                              },
    {"no realm",            "\"realm\":\"sallyport\",",       ""                                           },
    {"empty realm",         "sallyport",                      ""                                           },
    {"realm with a quote",  "sallyport",                      "sally\\\"port"                              },
    {"realm with a \\",     "sallyport",                      "sally\\\\port"                              },
    {"realm with LF",       "sallyport",                      "sally\\nport"                               },
    {"realm with C1",       "sallyport",                      "sally\\u0085port"                           },
    {"long realm",          "sallyport",                      X16 X16 X16 X16 "x"                          },
    {"realm as number",     "\"sallyport\"",                  "7"                                          },
    {"MD5 alone",           "\"sha256\":\"" ANN_SHA256 "\",", ""                                           },
    {"other hash",          "sha256",                         "sha512"                                     },
    {"short SHA-256",       "e12b",                           "e1"                                         },
    {"long SHA-256",        "e12b",                           "e12b00"                                     },
    {"SHA-256 without hex", "e12b",                           "e12g"                                       },
    {"SHA-256 in capitals", "e12b",                           "E12B"                                       },
    {"empty SHA-256",       ANN_SHA256,                       ""                                           },
    {"SHA-256 as null",     "\"" ANN_SHA256 "\"",             "null"                                       },
    {"short MD5",           "a61e",                           "a6"                                         },
    {"MD5 in capitals",     "a61e",                           "A61E"                                       },
    {"MD5 without hex",     "a61e",                           "a61 "                                       },
    {"MD5 as null",         "\"" ANN_MD5 "\"",                "null"                                       },
    {"SHA-256 for MD5",     ANN_MD5,                          ANN_SHA256                                   },
    {"one more",            "\"realm\"",                      "\"x\":1,\"realm\""                          },
    {"SHA-512-256",         "\"realm\"",                      "\"sha512-256\":\"" ANN_SHA256 "\",\"realm\""},
    {"other name for MD5",  "\"md5\"",                        "\"MD5\""                                    },
};

static void test_bad(void **state)
{
    const struct bad_row *r = *state;
    const char *at = strstr(BOTH, r->from);
    struct digest_verifier d = {.realm = "before"};
    struct buf text;

    assert_non_null(at);
    buf_init(&text, 0);
    buf_add(&text, (struct span){BOTH, (size_t)(at - BOTH)});
    buf_text(&text, r->to);
    buf_text(&text, at + strlen(r->from));
    assert_int_equal(read_members(buf_cstr(&text), &d), ERR_PROTO);
    assert_string_equal(d.realm, "before");
    buf_done(&text);
}

int main(void)
{
    struct CMUnitTest tests[ARRAY_LEN(vectors) + ARRAY_LEN(realm_rows) + ARRAY_LEN(bad_rows) + 4];
    size_t n = 0;

    for (size_t i = 0; i < ARRAY_LEN(vectors); i++)
        tests[n++] = (struct CMUnitTest){vectors[i].name, test_vector, NULL, NULL,
                                         (void *)(uintptr_t)&vectors[i]};
    for (size_t i = 0; i < ARRAY_LEN(realm_rows); i++)
        tests[n++] = (struct CMUnitTest){realm_rows[i].name, test_realm, NULL, NULL,
                                         (void *)(uintptr_t)&realm_rows[i]};
    for (size_t i = 0; i < ARRAY_LEN(bad_rows); i++)
        tests[n++] = (struct CMUnitTest){bad_rows[i].name, test_bad, NULL, NULL,
                                         (void *)(uintptr_t)&bad_rows[i]};
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_published_responses);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_no_hash);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_round_trip);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_none);
    assert_int_equal(n, ARRAY_LEN(tests));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
