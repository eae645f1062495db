/* SPDX-License-Identifier: Apache-2.0 */
/* What is kept of a password: known vectors, what a user and a password may be, and records that
 * are read strictly. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"
#include "tenant/credential.h"

#define NOW UINT64_C(1700000000000) /* 2023-11-14T22:13:20.000Z */

static void hex(const uint8_t *p, size_t n, char *ret)
{
    for (size_t i = 0; i < n; i++) {
        ret[2 * i] = "0123456789abcdef"[p[i] >> 4];
        ret[2 * i + 1] = "0123456789abcdef"[p[i] & 15];
    }
    ret[2 * n] = '\0';
}

/* ---- derivation ---- */

#define SALT "\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f"

static const struct vector {
    const char *name;
    struct span password, salt;
    uint32_t rounds;
    const char *want;
} vectors[] = {
    {"RFC 7914 11, one round",
     {"passwd", 6},
     {"salt", 4},
     1,      "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc"},
    {"RFC 7914 11, many",
     {"Password", 8},
     {"NaCl", 4},
     80000,  "4ddcd8f60b98be21830cee5ef22701f9641a4418d04c0414aeff08876b34ab56"},
    {"UTF-8, the draft's floor",
     {"p\xc3\xa4ssw\xc3\xb6rd", 10},
     {SALT, 16},
     100000, "b6b9a7d7879a26a7ad99c592249c145952ca50ec9fefae618844337989ef6a53"},
};

static void test_vector(void **state)
{
    const struct vector *v = *state;
    uint8_t got[CREDENTIAL_HASH];
    char text[2 * CREDENTIAL_HASH + 1];

    assert_int_equal(
        credential_derive(v->password, (const uint8_t *)v->salt.p, v->salt.n, v->rounds, got), OK);
    hex(got, sizeof got, text);
    assert_string_equal(text, v->want);
}

static void test_empty_password_derives(void **state)
{
    uint8_t got[CREDENTIAL_HASH];

    (void)state;
    assert_int_equal(credential_derive(SPAN_NONE, (const uint8_t *)"salt", 4, 1, got), OK);
    assert_int_equal(credential_derive(SPAN_NONE, (const uint8_t *)"salt", 4, 0, got), ERR_BUG);
}

static void test_set_and_check(void **state)
{
    struct credential a = {0}, b = {0};
    uint8_t derived[CREDENTIAL_HASH];

    (void)state;
    assert_int_equal(credential_set_password(&a, SPAN("correct horse"), 100000), OK);
    assert_int_equal(credential_set_password(&b, SPAN("correct horse"), 100000), OK);
    assert_int_equal(a.rounds, 100000);
    assert_memory_not_equal(a.salt, b.salt, sizeof a.salt); /* each its own */
    assert_memory_not_equal(a.hash, b.hash, sizeof a.hash);
    assert_int_equal(
        credential_derive(SPAN("correct horse"), a.salt, sizeof a.salt, a.rounds, derived), OK);
    assert_memory_not_equal(a.hash, derived, sizeof derived); /* not what PBKDF2 yields */
    assert_true(credential_is(&a, derived));
    assert_false(credential_is(&b, derived));
    for (size_t i = 0; i < sizeof derived; i++) {
        derived[i] ^= 1;
        assert_false(credential_is(&a, derived));
        derived[i] ^= 1;
    }
    assert_int_equal(
        credential_derive(SPAN("correct horsf"), a.salt, sizeof a.salt, a.rounds, derived), OK);
    assert_false(credential_is(&a, derived));
}

static void assert_same_digest(const struct digest_verifier *a, const struct digest_verifier *b)
{
    assert_string_equal(a->realm, b->realm);
    for (size_t i = 0; i < DIGEST_HASHES; i++)
        assert_string_equal(a->ha1s.of[i].text, b->ha1s.of[i].text);
}

/* More rounds for the same password, or another one: which of them it is knows the caller. */
static void test_digest_is_not_touched(void **state)
{
    struct credential c = {0};
    struct digest_verifier before;

    (void)state;
    assert_int_equal(
        digest_verifier_make(SPAN("joe"), SPAN("printers"), SPAN("correct horse"), true, &c.digest),
        DIGEST_OK);
    before = c.digest;
    assert_int_equal(credential_set_password(&c, SPAN("correct horse"), 100000), OK);
    assert_same_digest(&c.digest, &before);
}

static void test_too_few_rounds(void **state)
{
    struct credential c = {.rounds = 7};

    (void)state;
    assert_int_equal(credential_set_password(&c, SPAN("password"), 99999), ERR_BUG);
    assert_int_equal(credential_set_password(&c, SPAN("password"), 10000001), ERR_BUG);
    assert_int_equal(c.rounds, 7);
}

/* ---- what may be ---- */

static const struct text_row {
    const char *name;
    struct span text;
    bool user, password;
} text_rows[] = {
    {"plain",     {"icap-client", 11},      true,  true },
    {"short",     {"abc", 3},               true,  false},
    {"seven",     {"abcdefg", 7},           true,  false},
    {"eight",     {"abcdefgh", 8},          true,  true },
    {"empty",     {"", 0},                  false, false},
    {"colon",     {"ab:cdefgh", 9},         false, true },
    {"space",     {"a user name", 11},      true,  true },
    {"UTF-8",     {"j\xc3\xbcrgen-m", 9},   true,  true },
    {"no UTF-8",  {"abcdefgh\xff", 9},      false, false},
    {"overlong",  {"abcdefgh\xc0\xaf", 10}, false, false},
    {"NUL",       {"abcd\0efgh", 9},        false, false},
    {"LF",        {"abcdefgh\n", 9},        false, false},
    {"TAB",       {"abcd\tefgh", 9},        false, false},
    {"DEL",
     {"abcd\x7f"
      "efgh",
      9},
     false,                                        false},
    {"C1",
     {"abcd\xc2\x85"
      "efgh",
      10},
     false,                                        false},
    {"behind C1",
     {"abcd\xc2\xa0"
      "efgh",
      10},
     true,                                         true },
};

static void test_text(void **state)
{
    const struct text_row *r = *state;
    const char *why = NULL;

    assert_int_equal(credential_user_is_valid(r->text), r->user);
    assert_int_equal(credential_password_is_valid(r->text, &why), r->password);
    assert_int_equal(why == NULL, r->password);
}

static void test_lengths(void **state)
{
    static char text[CREDENTIAL_PASSWORD_MAX + 1];
    const char *why;

    (void)state;
    memset(text, 'x', sizeof text);
    assert_true(credential_user_is_valid((struct span){text, CREDENTIAL_USER_MAX}));
    assert_false(credential_user_is_valid((struct span){text, CREDENTIAL_USER_MAX + 1}));
    assert_true(credential_password_is_valid((struct span){text, CREDENTIAL_PASSWORD_MAX}, &why));
    assert_false(
        credential_password_is_valid((struct span){text, CREDENTIAL_PASSWORD_MAX + 1}, &why));
    assert_string_equal(why, "it is longer than 1024 bytes");
}

/* ---- as text ---- */

#define HASH "\"hash\":\"1111111111111111111111111111111111111111111111111111111111111111\""
#define GOOD                                                                     \
    "{\"tenant\":\"acme\",\"method\":\"pbkdf2-hmac-sha256\",\"rounds\":210000,"  \
    "\"salt\":\"000102030405060708090a0b0c0d0e0f\"," HASH ",\"disabled\":false," \
    "\"changed\":\"2023-11-14T22:13:20.000Z\"}"

static void test_round_trip(void **state)
{
    struct credential c, back;
    struct buf out;

    (void)state;
    assert_int_equal(credential_parse(SPAN("joe"), SPAN(GOOD), &c), OK);
    assert_string_equal(c.user, "joe");
    assert_string_equal(c.tenant, "acme");
    assert_int_equal(c.rounds, 210000);
    assert_memory_equal(c.salt, SALT, sizeof c.salt);
    assert_int_equal(c.hash[31], 0x11);
    assert_false(c.disabled);
    assert_int_equal(c.changed_wall_ms, NOW);
    assert_int_equal(c.version, 0);
    buf_init(&out, 0);
    credential_format(&c, &out);
    assert_string_equal(buf_cstr(&out), GOOD);
    c.disabled = true;
    buf_reset(&out);
    credential_format(&c, &out);
    assert_int_equal(credential_parse(SPAN("joe"), buf_span(&out), &back), OK);
    assert_true(back.disabled);
    assert_memory_equal(back.salt, c.salt, sizeof c.salt);
    assert_memory_equal(back.hash, c.hash, sizeof c.hash);
    buf_done(&out);
}

#define SHA256 "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"
#define MD5    "dddddddddddddddddddddddddddddddd"
#define DIGEST_MEMBER \
    ",\"digest\":{\"realm\":\"printers\",\"sha256\":\"" SHA256 "\",\"md5\":\"" MD5 "\"}"
#define GOOD_DIGEST                                                              \
    "{\"tenant\":\"acme\",\"method\":\"pbkdf2-hmac-sha256\",\"rounds\":210000,"  \
    "\"salt\":\"000102030405060708090a0b0c0d0e0f\"," HASH ",\"disabled\":false," \
    "\"changed\":\"2023-11-14T22:13:20.000Z\"" DIGEST_MEMBER "}"

static void test_digest_round_trip(void **state)
{
    struct credential c, plain;
    struct buf out;

    (void)state;
    assert_int_equal(credential_parse(SPAN("joe"), SPAN(GOOD_DIGEST), &c), OK);
    assert_string_equal(c.digest.realm, "printers");
    assert_string_equal(digest_verifier_ha1(&c.digest, DIGEST_SHA256)->text, SHA256);
    assert_string_equal(digest_verifier_ha1(&c.digest, DIGEST_MD5)->text, MD5);
    assert_int_equal(c.rounds, 210000);
    buf_init(&out, 0);
    credential_format(&c, &out);
    assert_string_equal(buf_cstr(&out), GOOD_DIGEST);
    /* Gone, the text is what it always was. */
    c.digest = (struct digest_verifier){0};
    buf_reset(&out);
    credential_format(&c, &out);
    assert_string_equal(buf_cstr(&out), GOOD);
    assert_int_equal(credential_parse(SPAN("joe"), SPAN(GOOD), &plain), OK);
    assert_false(digest_verifier_is_kept(&plain.digest));
    for (size_t n = 0; n < sizeof GOOD_DIGEST - 1; n++)
        assert_int_equal(credential_parse(SPAN("joe"), (struct span){GOOD_DIGEST, n}, &c),
                         ERR_PROTO);
    buf_done(&out);
}

/* The longest of everything can be read again. */
static void test_longest(void **state)
{
    struct credential c = {.rounds = CREDENTIAL_ROUNDS_MAX, .disabled = true}, back;
    struct span realm = {c.digest.realm, DIGEST_VERIFIER_REALM_MAX};
    struct buf out;

    (void)state;
    memset(c.user, 'u', CREDENTIAL_USER_MAX);
    memset(c.tenant, 't', CREDENTIAL_TENANT_MAX);
    for (size_t i = 0; i < DIGEST_VERIFIER_REALM_MAX; i += 2)
        memcpy(c.digest.realm + i, "\xc3\xa4", 2);
    assert_int_equal(
        digest_verifier_make(span_of(c.user), realm, SPAN("password"), true, &c.digest), DIGEST_OK);
    buf_init(&out, 0);
    credential_format(&c, &out);
    assert_int_equal(credential_parse(span_of(c.user), buf_span(&out), &back), OK);
    assert_same_digest(&back.digest, &c.digest);
    assert_int_equal(strlen(back.digest.realm), DIGEST_VERIFIER_REALM_MAX);
    buf_done(&out);
}

/* It is secret: as it is written nothing is left where it was before it grew. */
static void test_format_does_not_move(void **state)
{
    struct credential c;
    struct buf out;

    (void)state;
    assert_int_equal(credential_parse(SPAN("joe"), SPAN(GOOD_DIGEST), &c), OK);
    buf_init(&out, 0);
    mem_fail_after(2);
    credential_format(&c, &out);
    mem_fail_after(1);
    assert_int_equal(out.err, OK);
    buf_done(&out);
    credential_format(&c, &out);
    mem_fail_after(0);
    assert_int_equal(out.err, ERR_NOMEM);
    buf_done(&out);
}

/* GOOD with |from| (once in it) replaced. */
static const struct bad_row {
    const char *name, *from, *to;
} bad_rows[] = {
    {"too few rounds",   "210000",                   "99999"              },
    {"negative rounds",  "210000",                   "-210000"            },
    {"too many rounds",  "210000",                   "10000001"           },
    {"rounds as text",   "210000",                   "\"210000\""         },
    {"rounds as float",  "210000",                   "210000.5"           },
    {"another method",   "pbkdf2-hmac-sha256",       "pbkdf2-hmac-sha1"   },
    {"short salt",       "000102",                   "0102"               },
    {"salt no hex",      "000102",                   "0001zz"             },
    {"bad tenant",       "acme",                     "a/b"                },
    {"no tenant",        "acme",                     ""                   },
    {"disabled as text", "false",                    "\"false\""          },
    {"no time",          "2023-11-14T22:13:20.000Z", "yesterday"          },
    {"one more",         "{",                        "{\"x\":1,"          },
    {"one twice",        "{",                        "{\"disabled\":true,"},
    {"one less",         ",\"disabled\":false",      ""                   },
    {"other name",       "\"disabled\"",             "\"enabled\""        },
    {"cut",              "Z\"}",                     "Z\""                },
    {"two",              "Z\"}",                     "Z\"}{}"             },
    {"array",            GOOD,                       "[]"                 },
    {"nothing",          GOOD,                       ""                   },
};

static const struct bad_row bad_digest_rows[] = {
    {"digest is null",      "Z\"}",                "Z\",\"digest\":null}"                                       },
    {"digest is empty",     "Z\"}",                "Z\",\"digest\":{}}"                                         },
    {"digest in capitals",  "Z\"}",                "Z\",\"Digest\":{\"realm\":\"x\",\"sha256\":\"" SHA256 "\"}}"},
    {"digest, one less",    ",\"disabled\":false", DIGEST_MEMBER                                                },
    {"digest twice",        ",\"disabled\":false", ",\"disabled\":false" DIGEST_MEMBER DIGEST_MEMBER            },
    {"digest and one more", ",\"disabled\":false", ",\"disabled\":false,\"x\":1" DIGEST_MEMBER                  },
};

static void test_bad(void **state)
{
    const struct bad_row *r = *state;
    const char *at = strstr(GOOD, r->from);
    struct credential c = {.rounds = 7};
    struct buf text;

    assert_non_null(at);
    buf_init(&text, 0);
    buf_add(&text, (struct span){GOOD, (size_t)(at - GOOD)});
    buf_text(&text, r->to);
    buf_text(&text, at + strlen(r->from));
    assert_int_equal(credential_parse(SPAN("joe"), buf_span(&text), &c), ERR_PROTO);
    assert_int_equal(c.rounds, 7);
    buf_done(&text);
}

static void test_bad_user(void **state)
{
    struct credential c;

    (void)state;
    assert_int_equal(credential_parse(SPAN("j:oe"), SPAN(GOOD), &c), ERR_PROTO);
    assert_int_equal(credential_parse(SPAN(""), SPAN(GOOD), &c), ERR_PROTO);
}

/* Cut anywhere there is no record. */
static void test_cut(void **state)
{
    struct credential c;

    (void)state;
    for (size_t n = 0; n < sizeof GOOD - 1; n++)
        assert_int_equal(credential_parse(SPAN("joe"), (struct span){GOOD, n}, &c), ERR_PROTO);
}

int main(void)
{
    struct CMUnitTest tests[ARRAY_LEN(vectors) + ARRAY_LEN(text_rows) + ARRAY_LEN(bad_rows) +
                            ARRAY_LEN(bad_digest_rows) + 11];
    size_t n = 0;

    for (size_t i = 0; i < ARRAY_LEN(vectors); i++)
        tests[n++] = (struct CMUnitTest){vectors[i].name, test_vector, NULL, NULL,
                                         (void *)(uintptr_t)&vectors[i]};
    for (size_t i = 0; i < ARRAY_LEN(text_rows); i++)
        tests[n++] = (struct CMUnitTest){text_rows[i].name, test_text, NULL, NULL,
                                         (void *)(uintptr_t)&text_rows[i]};
    for (size_t i = 0; i < ARRAY_LEN(bad_rows); i++)
        tests[n++] = (struct CMUnitTest){bad_rows[i].name, test_bad, NULL, NULL,
                                         (void *)(uintptr_t)&bad_rows[i]};
    for (size_t i = 0; i < ARRAY_LEN(bad_digest_rows); i++)
        tests[n++] = (struct CMUnitTest){bad_digest_rows[i].name, test_bad, NULL, NULL,
                                         (void *)(uintptr_t)&bad_digest_rows[i]};
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_empty_password_derives);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_set_and_check);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_digest_is_not_touched);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_too_few_rounds);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_lengths);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_round_trip);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_digest_round_trip);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_longest);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_format_does_not_move);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_bad_user);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_cut);
    assert_int_equal(n, ARRAY_LEN(tests));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
