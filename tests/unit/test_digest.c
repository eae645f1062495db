/* SPDX-License-Identifier: Apache-2.0 */
/* Digest's formulas against published examples, and its field values, read and written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "guard.h"
#include "http/digest_base64.h"
#include "http/digest_hash.h"
#include "http/digest_params.h"
#include "http/digest_uri.h"

static void assert_span(struct span got, const char *wanted)
{
    if (!span_eq(got, span_of(wanted)))
        print_message("got '" SPAN_FMT "', wanted '%s'\n", SPAN_ARG(got), wanted);
    assert_true(span_eq(got, span_of(wanted)));
}

/* ---- formulas ---- */

struct example {
    const char *user, *realm, *password, *method, *uri, *nonce, *nc, *cnonce, *body;
};
static const struct example ann = {"ann",     "sallyport", "s3cret", "POST", "/q1",
                                   "bm9uY2U", "00000002",  "c0ffee", "hello"};
static const struct example rfc2617 = {
    "Mufasa",   "testrealm@host.com", "Circle Of Life",
    "GET",      "/dir/index.html",    "dcd98b7102dd2f0e8b11d0f600bfb0c093",
    "00000001", "0a4f113b",           ""};
static const struct example rfc2069 = {"Mufasa",
                                       "testrealm@host.com",
                                       "CircleOfLife",
                                       "GET",
                                       "/dir/index.html",
                                       "dcd98b7102dd2f0e8b11d0f600bfb0c093",
                                       "",
                                       "",
                                       ""};
static const struct example rfc7616_1 = {"Mufasa",
                                         "http-auth@example.org",
                                         "Circle of Life",
                                         "GET",
                                         "/dir/index.html",
                                         "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
                                         "00000001",
                                         "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
                                         ""};
static const struct example rfc7616_2 = {"J\xc3\xa4s\xc3\xb8n Doe",
                                         "api@example.org",
                                         "Secret, or not?",
                                         "GET",
                                         "/doe.json",
                                         "5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK",
                                         "00000001",
                                         "NTg6RKcb9boFIAS3KrFK9BGeh+iDa/sm6jUMp2wds69v",
                                         ""};

static const struct vector {
    const struct example *of;
    enum digest_alg alg;
    enum digest_qop qop;
    const char *response, *rspauth; /* rspauth NULL: not given */
} vectors[] = {
    {&ann,       DIGEST_MD5,         DIGEST_QOP_AUTH,     "937b6cfe3a58df23dbcc9dbb9203af61",
     "e8804a9e35edf67c631cbc85c13c2fcd"                                                                                                                         },
    {&ann,       DIGEST_SHA256,      DIGEST_QOP_AUTH,
     "5b1a27b3518de15e6c3dc553b70124a6db67a1d14005289c9e16fa6afb4d479f",                      "c9b9eb7f16bc829007263dacfb18049e82fd21be893aa3f9820bae1d1f801b86"},
    {&ann,       DIGEST_SHA512_256,  DIGEST_QOP_AUTH,
     "004e03be9f4c1e4f360cca86570a1fa7d4634919dc3292c73c9adde222773ede",                      NULL                                                              },
    {&ann,       DIGEST_MD5_SESS,    DIGEST_QOP_AUTH,     "97d1e00e3da626b1fd5f97032fb10727", NULL                                                              },
    {&ann,       DIGEST_SHA256_SESS, DIGEST_QOP_AUTH,
     "34ca6c558ee5546d0395efa8720229a385500bca2e1f3c0f854c8fef8b8029b4",                      NULL                                                              },
    {&ann,       DIGEST_MD5,         DIGEST_QOP_NONE,     "ced39e70be73d3da36c8f2a3f4de1737", NULL                                                              },
    {&ann,       DIGEST_MD5,         DIGEST_QOP_AUTH_INT, "88cd18d25809769c7de3cef5d0032c2a", NULL                                                              },
    {&ann,       DIGEST_SHA256,      DIGEST_QOP_AUTH_INT,
     "e9a8a265f5c69910c3720938b8906627f7f72d3d574d6acd1f798ce98a49db2f",                      NULL                                                              },
    {&rfc2617,   DIGEST_MD5,         DIGEST_QOP_AUTH,     "6629fae49393a05397450978507c4ef1", NULL                                                              }, /* 3.5 */
    {&rfc2069,   DIGEST_MD5,         DIGEST_QOP_NONE,     "1949323746fe6a43ef61f9606e7febea",
     NULL                                                                                                                                                       }, /* 2.4, by its errata */
    {&rfc7616_1, DIGEST_MD5,         DIGEST_QOP_AUTH,     "8ca523f5e9506fed4657c9700eebdbec", NULL                                                              }, /* 3.9.1 */
    {&rfc7616_1, DIGEST_SHA256,      DIGEST_QOP_AUTH,
     "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",                      NULL                                                              },
    {&rfc7616_2, DIGEST_SHA512_256,  DIGEST_QOP_AUTH,
     "3798d4131c277846293534c3edc11bd8a5e4cdcbff78b05db9d95eeb1cec68a5",                      NULL                                                              }, /* 3.9.2, errata 4897 */
};

static void test_formulas(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
        const struct vector *v = &vectors[i];
        const struct example *x = v->of;
        struct digest_hex ha1, body, got;
        struct digest_proof p = {.alg = v->alg,
                                 .qop = v->qop,
                                 .nonce = span_of(x->nonce),
                                 .nc = span_of(x->nc),
                                 .cnonce = span_of(x->cnonce),
                                 .method = span_of(x->method),
                                 .uri = span_of(x->uri)};

        print_message("%s %s %s\n", x->user, digest_alg_name(v->alg), digest_qop_name(v->qop));
        assert_int_equal(
            digest_ha1(v->alg, span_of(x->user), span_of(x->realm), span_of(x->password), &ha1),
            DIGEST_OK);
        assert_int_equal(digest_body_hash(v->alg, span_of(x->body), &body), DIGEST_OK);
        p.body_hash = digest_hex_span(&body);
        assert_int_equal(digest_response(&p, &ha1, &got), DIGEST_OK);
        assert_span(digest_hex_span(&got), v->response);
        p.method = SPAN_NONE;
        assert_int_equal(digest_response(&p, &ha1, &got), DIGEST_OK);
        if (v->rspauth)
            assert_span(digest_hex_span(&got), v->rspauth);
    }
}

static void test_ha1_and_userhash(void **state)
{
    static const struct {
        enum digest_alg alg;
        const char *ha1, *userhash;
    } rows[] = {
        {DIGEST_MD5,        "a61ed947f0a1bcf7b2c0b83b89c2273c",                                 NULL},
        {DIGEST_MD5_SESS,   "a61ed947f0a1bcf7b2c0b83b89c2273c",                                 NULL},
        {DIGEST_SHA256,     "e12bd3ce93a9e6a7d7bad91c43fc9e8a37a934e7d11a3554cb5093076015b2c4",
         "01b0e17d99b28750e24bf4fb8fc863f943afccb8a3c60836fd7dd18c015c1db4"                         },
        {DIGEST_SHA512_256, "e599a4673a2f630a6f8fe825a56190de5696d467da164719a1b101c656d0946f",
         NULL                                                                                       },
    };
    struct digest_hex got;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(
            digest_ha1(rows[i].alg, SPAN("ann"), SPAN("sallyport"), SPAN("s3cret"), &got),
            DIGEST_OK);
        assert_span(digest_hex_span(&got), rows[i].ha1);
        assert_int_equal(digest_userhash(rows[i].alg, SPAN("ann"), SPAN("sallyport"), &got),
                         DIGEST_OK);
        if (rows[i].userhash)
            assert_span(digest_hex_span(&got), rows[i].userhash);
    }
    assert_int_equal(digest_userhash(DIGEST_SHA512_256, SPAN("J\xc3\xa4s\xc3\xb8n Doe"),
                                     SPAN("api@example.org"), &got),
                     DIGEST_OK);
    assert_span(digest_hex_span(&got),
                "793263caabb707a56211940d90411ea4a575adeccb7e360aeb624ed06ece9b0b");
}

static void test_hashes_in_pieces(void **state)
{
    struct digest_hash h = digest_hash_begin(DIGEST_SHA256);
    struct digest_hex got, whole;

    (void)state;
    digest_hash_add(&h, SPAN("hel"));
    digest_hash_add(&h, SPAN_NONE);
    digest_hash_add(&h, SPAN("lo"));
    assert_int_equal(digest_hash_end(&h, &got), DIGEST_OK);
    assert_int_equal(digest_body_hash(DIGEST_SHA256_SESS, SPAN("hello"), &whole), DIGEST_OK);
    assert_true(digest_hex_equal(&got, &whole));
    digest_hash_add(&h, SPAN("more")); /* after the end: nothing */
    assert_int_equal(digest_hash_end(&h, &got), DIGEST_ECRYPTO);
    digest_hex_wipe(&got);
    assert_false(digest_hex_equal(&got, &got)); /* none is no proof */
}

static void test_words(void **state)
{
    (void)state;
    for (unsigned a = 0; a < DIGEST_ALGS; a++) {
        enum digest_alg alg = DIGEST_ALGS;

        assert_true(digest_alg_of(span_of(digest_alg_name((enum digest_alg)a)), &alg));
        assert_int_equal(alg, a);
    }
    for (unsigned e = 0; e < DIGEST_ERR_CODES; e++)
        assert_true(strlen(digest_err_text((enum digest_err)e)) > 5);
    assert_int_equal(digest_err_answer(DIGEST_ELOGIN), DIGEST_CHALLENGE);
    assert_int_equal(digest_err_answer(DIGEST_ESTALE), DIGEST_RENEW);
    assert_int_equal(digest_err_answer(DIGEST_EURI), DIGEST_REFUSE);
}

static void test_base64(void **state)
{
    static const char *const rows[][3] = {
        {"",                 "",       ""        },
        {"f",                "Zg",     "Zg=="    },
        {"fo",               "Zm8",    "Zm8="    },
        {"foo",              "Zm9v",   "Zm9v"    },
        {"\xff\xfe\xfd\xfb", "__79-w", "//79+w=="},
    };
    uint8_t back[8];
    char text[16];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        size_t n = strlen(rows[i][0]);
        struct buf b;

        buf_init(&b, 0);
        digest_base64(span_of(rows[i][0]), &b);
        assert_string_equal(buf_cstr(&b), rows[i][2]);
        buf_done(&b);
        digest_base64_url((const uint8_t *)rows[i][0], n, text);
        assert_string_equal(text, rows[i][1]);
        assert_true(digest_base64_url_read(span_of(text), back, n));
        assert_memory_equal(back, rows[i][0], n);
        memset(back, 0, sizeof back);
        assert_true(digest_base64_read(span_of(rows[i][2]), back, n));
        assert_memory_equal(back, rows[i][0], n);
    }
    assert_false(digest_base64_url_read(SPAN("Zh"), back, 1)); /* bits left over */
    assert_false(digest_base64_url_read(SPAN("Z+"), back, 1));
    assert_false(digest_base64_url_read(SPAN("Zg="), back, 1));
    static const char *const bad[] = {
        "Zg", "Zg=", "Zg=A", "ZgA=", "Zh==", "Z-==", "Zg===", "Zm8=", " Zg==", "====", "Zg= "};

    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (digest_base64_read(span_of(bad[i]), back, 1))
            fail_msg("%s", bad[i]);
}

/* ---- credentials ---- */

#define MD5_HEX "0123456789abcdef0123456789ABCDEF"
#define REST    "realm=\"r\", nonce=\"n\", uri=\"/q1\", response=\"" MD5_HEX "\""
#define BASE    "Digest username=\"ann\", " REST
#define COUNT   ", qop=auth, nc=00000002, cnonce=\"c\""

static enum digest_err parse(const char *value, struct writer *scratch,
                             struct digest_credentials *ret)
{
    struct guard g = guard_new(strlen(value));
    enum digest_err e = digest_credentials_parse(guard_span(&g, span_of(value)), scratch, ret);

    guard_free(&g);
    return e;
}

static void test_which_credentials_are_some(void **state)
{
    static const struct {
        const char *value;
        enum digest_err err;
    } rows[] = {
        {BASE,                                                                                     DIGEST_OK        },
        {BASE COUNT,                                                                               DIGEST_OK        },
        {"  dIgEsT \t username=ann ,, , realm = r,nonce=a/b+==,uri=/a?b=c;d,response=" MD5_HEX
         ",qop=\"auth\",nc=\"00000001\",cnonce=x,",                                       DIGEST_OK        },
        {BASE COUNT ", algorithm=\"md5\", Foo=bar, userhash=false",                                DIGEST_OK        },
        {BASE ", algorithm=MD5-sess",                                                              DIGEST_OK        }, /* refused when it is verified */
        {"Digest username*=UTF-8''J%C3%A4s%c3%b8n%20Doe, " REST,                                   DIGEST_OK        },
        {"Digest username*=\"utf-8'de'x\", " REST,                                                 DIGEST_OK        },
        {"Basic YTpi",                                                                             DIGEST_EOTHER    },
        {"DigestX username=\"a\"",                                                                 DIGEST_EOTHER    },
        {"",                                                                                       DIGEST_ESYNTAX   },
        {"\"Digest\"",                                                                             DIGEST_ESYNTAX   },
        {"Digest",                                                                                 DIGEST_EUSER     },
        {"Digest ",                                                                                DIGEST_EUSER     },
        {"Digest,",                                                                                DIGEST_ESYNTAX   },
        {"Digest YTpi",                                                                            DIGEST_ESYNTAX   },
        {BASE ", Digest username=\"x\"",                                                           DIGEST_ESYNTAX   },
        {BASE " foo=bar",                                                                          DIGEST_ESYNTAX   },
        {BASE ", foo=",                                                                            DIGEST_ESYNTAX   },
        {BASE ", foo",                                                                             DIGEST_ESYNTAX   },
        {BASE ", =foo",                                                                            DIGEST_ESYNTAX   },
        {BASE ", foo=\"bar",                                                                       DIGEST_ESYNTAX   },
        {BASE ", foo=\"bar\\",                                                                     DIGEST_ESYNTAX   },
        {BASE ", foo=\"bar\\\"",                                                                   DIGEST_ESYNTAX   },
        {BASE ", foo=\"b\001r\"",                                                                  DIGEST_ESYNTAX   },
        {BASE ", foo=\"b\\\nr\"",                                                                  DIGEST_ESYNTAX   },
        {BASE ", foo=\"b\"r",                                                                      DIGEST_ESYNTAX   },
        {BASE ", foo=b\"r\"",                                                                      DIGEST_ESYNTAX   },
        {BASE ", uri=\"/q1\"",                                                                     DIGEST_EDOUBLE   },
        {BASE ", URI=/q1",                                                                         DIGEST_EDOUBLE   },
        {BASE ", foo=1, Foo=1",                                                                    DIGEST_EDOUBLE   },
        {BASE ", a=1,b=1,c=1,d=1,e=1,f=1,g=1,h=1,i=1,j=1,k=1,l=1,m=1,n=1,o=1,p=1,q=1,r=1,s=1,t=1",
         DIGEST_EMANY                                                                                               },
        {"Digest " REST,                                                                           DIGEST_EUSER     },
        {"Digest username*=UTF-8''x, username=x, " REST,                                           DIGEST_EUSER     },
        {"Digest username*=UTF-8''x, userhash=true, " REST,                                        DIGEST_EUSER     },
        {"Digest username*=x, " REST,                                                              DIGEST_EUSER     },
        {"Digest username*=UTF-8'x, " REST,                                                        DIGEST_EUSER     },
        {"Digest username*=ISO-8859-1''x, " REST,                                                  DIGEST_EUSER     },
        {"Digest username*=UTF-8''%C3, " REST,                                                     DIGEST_EUSER     },
        {"Digest username*=UTF-8''%C, " REST,                                                      DIGEST_EUSER     },
        {"Digest username*=UTF-8''%00, " REST,                                                     DIGEST_EUSER     },
        {"Digest username*=UTF-8''a/b, " REST,                                                     DIGEST_EUSER     },
        {"Digest username*=UTF-8'a b'a, " REST,                                                    DIGEST_ESYNTAX   },
        {BASE ", userhash=yes",                                                                    DIGEST_EVALUE    },
        {"Digest username=a, nonce=n, uri=/, response=" MD5_HEX,                                   DIGEST_EMISSING  },
        {"Digest username=a, realm=r, uri=/, response=" MD5_HEX,                                   DIGEST_EMISSING  },
        {"Digest username=a, realm=r, nonce=n, response=" MD5_HEX,                                 DIGEST_EMISSING  },
        {"Digest username=a, realm=r, nonce=n, uri=/",                                             DIGEST_EMISSING  },
        {"Digest username=a, realm=r, nonce=n, uri=/, response=\"\"",                              DIGEST_EVALUE    },
        {"Digest username=a, realm=r, nonce=n, uri=/, response=0" MD5_HEX,                         DIGEST_EVALUE    },
        {BASE ", algorithm=SHA-256",                                                               DIGEST_EVALUE    }, /* as long as one of MD5 */
        {BASE ", algorithm=SHA-1",                                                                 DIGEST_EALGORITHM},
        {BASE ", algorithm=\"\"",                                                                  DIGEST_EALGORITHM},
        {BASE ", qop=auth-conf, nc=00000001, cnonce=x",                                            DIGEST_EQOP      },
        {BASE ", qop=\"auth,auth-int\", nc=00000001, cnonce=x",                                    DIGEST_EQOP      },
        {BASE ", qop=auth, nc=00000001",                                                           DIGEST_ECOUNT    },
        {BASE ", qop=auth, cnonce=x",                                                              DIGEST_ECOUNT    },
        {BASE ", qop=auth, nc=00000001, cnonce=\"\"",                                              DIGEST_ECOUNT    },
        {BASE ", nc=00000001",                                                                     DIGEST_ECOUNT    },
        {BASE ", cnonce=x",                                                                        DIGEST_ECOUNT    },
        {BASE ", qop=auth, nc=1, cnonce=x",                                                        DIGEST_EVALUE    },
        {BASE ", qop=auth, nc=000000001, cnonce=x",                                                DIGEST_EVALUE    },
        {BASE ", qop=auth, nc=0000000g, cnonce=x",                                                 DIGEST_EVALUE    },
        {BASE ", qop=auth, nc=00000000, cnonce=x",                                                 DIGEST_EVALUE    },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char room[DIGEST_TEXT_MAX];
        struct writer scratch = writer_of(room, sizeof room);
        struct digest_credentials c;

        print_message("%s\n", rows[i].value);
        assert_int_equal(parse(rows[i].value, &scratch, &c), rows[i].err);
    }
}

static void test_what_credentials_say(void **state)
{
    char room[DIGEST_TEXT_MAX];
    struct writer scratch = writer_of(room, sizeof room);
    struct digest_credentials c;
    struct span value =
        SPAN("Digest username=\"a\\\"n\\\\n\", realm=\"r, s\", nonce=n==, uri=\"/q1\", "
             "response=" MD5_HEX ", opaque=\"\", qop=auth-int, nc=0000000A, "
             "cnonce=\"c c\", userhash=TRUE, algorithm=md5");

    (void)state;
    assert_int_equal(digest_credentials_parse(value, &scratch, &c), DIGEST_OK);
    assert_span(c.user, "a\"n\\n");
    assert_span(c.realm, "r, s");
    assert_span(c.nonce, "n==");
    assert_span(c.nc, "0000000A");
    assert_int_equal(c.count, 10);
    assert_span(c.cnonce, "c c");
    assert_int_equal(c.qop, DIGEST_QOP_AUTH_INT);
    assert_int_equal(c.alg, DIGEST_MD5);
    assert_true(c.userhash && c.alg_named && c.opaque.p && c.opaque.n == 0);
    value = SPAN("Digest username*=UTF-8''J%C3%A4s%C3%B8n%20Doe, " REST);
    assert_int_equal(digest_credentials_parse(value, &scratch, &c), DIGEST_OK);
    assert_span(c.user, "J\xc3\xa4s\xc3\xb8n Doe");
    assert_true(c.user_ext && !c.userhash && !c.alg_named && !c.opaque.p);
}

static void test_too_long(void **state)
{
    static char value[DIGEST_TEXT_MAX + 2];
    char room[8];
    struct writer scratch = writer_of(room, sizeof room);
    struct digest_credentials c;

    (void)state;
    memset(value, 'x', sizeof value);
    memcpy(value, BASE ", foo=", sizeof BASE + 5);
    struct span s = {value, DIGEST_TEXT_MAX};

    assert_int_equal(digest_credentials_parse(s, &scratch, &c), DIGEST_OK);
    s.n++;
    assert_int_equal(digest_credentials_parse(s, &scratch, &c), DIGEST_ELONG);
    /* The scratch is too small. */
    s = SPAN("Digest username=\"\\a23456789\", " REST);
    assert_int_equal(digest_credentials_parse(s, &scratch, &c), DIGEST_ELONG);
}

static void test_cut_anywhere(void **state)
{
    static const char value[] = BASE COUNT ", algorithm=MD5, opaque=\"\\\"\"";

    (void)state;
    for (size_t n = 0; n < sizeof value; n++) {
        char room[DIGEST_TEXT_MAX];
        struct writer scratch = writer_of(room, sizeof room);
        struct guard g = guard_new(n);
        struct digest_credentials c;
        struct digest_challenge ch;
        struct span s = guard_span(&g, (struct span){value, n}), rest = s;

        assert_true(digest_credentials_parse(s, &scratch, &c) != DIGEST_OK || n > sizeof BASE - 2);
        while (digest_challenge_next(&rest, &scratch, &ch) == DIGEST_OK) {
        }
        guard_free(&g);
    }
}

static void test_writing_credentials(void **state)
{
    struct digest_credentials c = {.alg = DIGEST_MD5,
                                   .qop = DIGEST_QOP_AUTH,
                                   .alg_named = true,
                                   .user = SPAN("a\"n"),
                                   .realm = SPAN("r"),
                                   .nonce = SPAN("n"),
                                   .uri = SPAN("/"),
                                   .response = SPAN(MD5_HEX),
                                   .nc = SPAN("00000001"),
                                   .cnonce = SPAN("c"),
                                   .opaque = SPAN("o")};
    struct buf out;

    (void)state;
    buf_init(&out, 0);
    assert_int_equal(digest_credentials_format(&c, &out), DIGEST_OK);
    assert_string_equal(
        buf_cstr(&out),
        "Digest username=\"a\\\"n\", realm=\"r\", nonce=\"n\", uri=\"/\", response=\"" MD5_HEX
        "\", cnonce=\"c\", nc=00000001, qop=auth, algorithm=MD5, opaque=\"o\"");
    buf_reset(&out);
    c.uri = SPAN("/\r\nX: y");
    assert_int_equal(digest_credentials_format(&c, &out), DIGEST_EVALUE);
    buf_done(&out);
    buf_init(&out, 64);
    c.uri = SPAN("/");
    assert_int_equal(digest_credentials_format(&c, &out), DIGEST_ENOMEM);
    buf_done(&out);
}

/* ---- challenges ---- */

static void test_challenges(void **state)
{
    static const struct {
        const char *value;
        const char *said; /* a line for each: scheme, realm or token, what is known of Digest */
        enum digest_err end;
    } rows[] = {
        {"Digest realm=\"a, b\", qop=\"auth\", algorithm=SHA-256, nonce=\"n\", charset=utf-8",
         "Digest a, b|n SHA-256 2 utf8;",                                                                                        DIGEST_END    },
        {"Digest realm=r, nonce=n, stale=TRUE, userhash=true, qop=\"auth-int , auth, x\"",
         "Digest r|n MD5 6 stale userhash;",                                                                                     DIGEST_END    },
        {"Digest realm=r, nonce=n",                                                            "Digest r|n MD5 1;",              DIGEST_END    },
        {"Basic realm=\"x\", Digest realm=r, nonce=n,, Negotiate, NTLM abc==,Bearer ,Foo a=b",
         "Basic x;Digest r|n MD5 1;Negotiate;NTLM abc==;Bearer;Foo;",                                                            DIGEST_END    },
        {" , ,Negotiate a/b+c==  , Digest , realm=r , nonce=n",                                "Negotiate a/b+c==;Digest flaw;",
         DIGEST_ESYNTAX                                                                                                                        },
        {"Basic realm=\"a\\\"b, Digest realm=\\\"\"",                                          "Basic a\"b, Digest realm=\";",   DIGEST_END    },
        {"Digest realm=r",                                                                     "Digest r flaw;",                 DIGEST_END    },
        {"Digest nonce=n",                                                                     "Digest flaw;",                   DIGEST_END    },
        {"Digest realm=r, nonce=n, nonce=n, Basic realm=x",                                    "Digest r flaw;Basic x;",         DIGEST_END    },
        {"Digest realm=r, nonce=n, algorithm=SHA-3, Basic realm=x",                            "Digest r flaw;Basic x;",
         DIGEST_END                                                                                                                            },
        {"Digest realm=r, nonce=n, qop=\"\"",                                                  "Digest r flaw;",                 DIGEST_END    },
        {"Digest realm=r, nonce=n, qop=x",                                                     "Digest r flaw;",                 DIGEST_END    },
        {"Digest realm=r, nonce=n, algorithm=MD5-sess",                                        "Digest r flaw;",                 DIGEST_END    },
        {"",                                                                                   "",                               DIGEST_END    },
        {",",                                                                                  "",                               DIGEST_END    },
        {"=",                                                                                  "",                               DIGEST_ESYNTAX},
        {"Digest realm=\"r",                                                                   "",                               DIGEST_ESYNTAX},
        {"Digest realm=r nonce=n",                                                             "",                               DIGEST_ESYNTAX},
        {"Foo bar baz",                                                                        "",                               DIGEST_ESYNTAX},
        {"Foo=bar",                                                                            "",                               DIGEST_ESYNTAX},
        {"Foo \"bar\"",                                                                        "",                               DIGEST_ESYNTAX},
        {"Basic realm=x, =",                                                                   "",                               DIGEST_ESYNTAX},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char room[DIGEST_TEXT_MAX];
        struct writer scratch = writer_of(room, sizeof room);
        struct span rest = span_of(rows[i].value);
        struct digest_challenge c;
        enum digest_err e;
        struct buf said;

        print_message("%s\n", rows[i].value);
        buf_init(&said, 0);
        while ((e = digest_challenge_next(&rest, &scratch, &c)) == DIGEST_OK) {
            buf_add(&said, c.scheme);
            if (c.realm.n || c.token68.n)
                buf_fmt(&said, " " SPAN_FMT, SPAN_ARG(c.realm.n ? c.realm : c.token68));
            if (c.flaw)
                buf_text(&said, " flaw");
            else if (digest_challenge_is_digest(&c))
                buf_fmt(&said, "|" SPAN_FMT " %s %u%s%s%s", SPAN_ARG(c.nonce),
                        digest_alg_name(c.alg), c.qops, c.utf8 ? " utf8" : "",
                        c.stale ? " stale" : "", c.userhash ? " userhash" : "");
            buf_char(&said, ';');
        }
        assert_int_equal(e, rows[i].end);
        assert_string_equal(buf_cstr(&said), rows[i].said);
        assert_null(rest.n ? rest.p : NULL);
        buf_done(&said);
    }
}

static void test_info(void **state)
{
    char room[DIGEST_TEXT_MAX];
    struct writer scratch = writer_of(room, sizeof room);
    struct digest_info i;

    (void)state;
    assert_int_equal(
        digest_info_parse(SPAN("nextnonce=\"n\", qop=auth, rspauth=\"ab\", cnonce=c, nc=00000001"),
                          &scratch, &i),
        DIGEST_OK);
    assert_span(i.nextnonce, "n");
    assert_span(i.rspauth, "ab");
    assert_int_equal(i.qop, DIGEST_QOP_AUTH);
    assert_int_equal(digest_info_parse(SPAN_NONE, &scratch, &i), DIGEST_OK);
    assert_null(i.rspauth.p);
    assert_int_equal(digest_info_parse(SPAN("qop=x"), &scratch, &i), DIGEST_EVALUE);
    assert_int_equal(digest_info_parse(SPAN("nc=1, nc=1"), &scratch, &i), DIGEST_EDOUBLE);
    assert_int_equal(digest_info_parse(SPAN("nc=1, Digest a=b"), &scratch, &i), DIGEST_ESYNTAX);
    assert_int_equal(digest_info_parse(SPAN("Digest"), &scratch, &i), DIGEST_ESYNTAX);
}

/* ---- targets ---- */

static void test_targets(void **state)
{
    static const struct {
        const char *uri, *target;
        bool same;
    } rows[] = {
        {"/q1",                   "/q1",              true },
        {"/q1",                   "/q2",              false},
        {"/q1",                   "/q1/",             false},
        {"/q1",                   "/Q1",              false},
        {"/q%31",                 "/q1",              true },
        {"/%7Eann/a%20b",         "/~ann/a%20b",      true },
        {"/a%2fb",                "/a/b",             false}, /* another resource */
        {"/a%2fb",                "/a%2Fb",           true },
        {"/a%3fb",                "/a?b",             false},
        {"/a%25b",                "/a%b",             false},
        {"/a%2",                  "/a%2",             true },
        {"/a%zz",                 "/a%zz",            true },
        {"/a?b",                  "/a?b",             true },
        {"/a?b",                  "/a",               false},
        {"/a?",                   "/a",               false},
        {"/a?b",                  "/a?c",             false},
        {"http://h:631/q1",       "/q1",              true },
        {"/q1",                   "ipp://other/q1",   true },
        {"ipp://h",               "/",                true },
        {"ipp://h?x",             "/?x",              true },
        {"ipp://h?x/y",           "/?x/y",            true },
        {"http://h/q1",           "http://h/q2",      false},
        {"/q1",                   "/q1;AUTH=TLS,DAA", true },
        {"/q1;auth=daa",          "/q1",              true },
        {"/q1;auth=daa?x",        "/q1?x",            true },
        {"/q1;a=b;AUTH=DAA;c=d",  "/q1;a=b;c=d",      true },
        {"/q1;AUTH=TLS",          "/q1;AUTH=DAA",     true },
        {"/q1;AUTH=TLS;AUTH=DAA", "/q1",              false},
        {"/q1%3BAUTH=TLS",        "/q1",              false},
        {"/a;AUTH=TLS/b",         "/a/b",             false}, /* an ordinary segment */
        {"/a?x;AUTH=TLS",         "/a?x",             false},
        {"/a;b=1",                "/a",               false},
        {"h:631",                 "h:631",            true }, /* CONNECT */
        {"h:631",                 "h:632",            false},
        {"*",                     "*",                true },
        {"*",                     "/*",               false},
        {"",                      "",                 true },
        {"",                      "/",                false},
        {"://h/x",                "/x",               false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        print_message("%s %s\n", rows[i].uri, rows[i].target);
        assert_int_equal(digest_uri_is(span_of(rows[i].uri), span_of(rows[i].target)),
                         rows[i].same);
        assert_int_equal(digest_uri_is(span_of(rows[i].target), span_of(rows[i].uri)),
                         rows[i].same);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_formulas),
        cmocka_unit_test(test_ha1_and_userhash),
        cmocka_unit_test(test_hashes_in_pieces),
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_base64),
        cmocka_unit_test(test_which_credentials_are_some),
        cmocka_unit_test(test_what_credentials_say),
        cmocka_unit_test(test_too_long),
        cmocka_unit_test(test_cut_anywhere),
        cmocka_unit_test(test_writing_credentials),
        cmocka_unit_test(test_challenges),
        cmocka_unit_test(test_info),
        cmocka_unit_test(test_targets),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
