/* SPDX-License-Identifier: Apache-2.0 */
/* Digest at work: nonces, what is remembered of them, whom the server takes, and our client against
 * our server. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "http/digest_client.h"
#include "http/digest_server.h"
#include "test_hash_work.h"

#define T0 UINT64_C(1800000000)

/* Every call another value; none after |left| calls. */
struct counting {
    uint8_t next;
    unsigned left;
};

static bool fill(void *arg, void *dst, size_t n)
{
    struct counting *c = arg;

    if (c->left == 0)
        return false;
    c->left--;
    memset(dst, ++c->next, n);
    return true;
}

/* ---- nonces ---- */

static void test_nonces(void **state)
{
    struct counting count = {0, 1000};
    const struct digest_random random = {fill, &count};
    struct digest_keys keys = {0};
    struct digest_scope www = {DIGEST_WWW, SPAN("r"), SPAN_NONE}, other = www;
    char a[DIGEST_NONCE_LEN + 1], b[DIGEST_NONCE_LEN + 1];
    struct digest_nonce n;

    (void)state;
    assert_int_equal(digest_nonce_make(&keys, &www, T0, &random, a), DIGEST_ESETTINGS);
    assert_int_equal(digest_keys_rotate(&keys, &random), DIGEST_OK);
    assert_int_equal(digest_nonce_make(&keys, &www, T0, &random, a), DIGEST_OK);
    assert_int_equal(digest_nonce_make(&keys, &www, T0, &random, b), DIGEST_OK);
    assert_int_equal(strlen(a), DIGEST_NONCE_LEN);
    assert_string_not_equal(a, b);
#define CHECK(scope, nonce, now) digest_nonce_check(&keys, scope, span_of(nonce), now, 300, &n)
    assert_int_equal(CHECK(&www, a, T0), DIGEST_OK);
    assert_true(n.made_s == T0 && !n.unknown);
    assert_int_equal(CHECK(&www, a, T0 + 300), DIGEST_OK);
    assert_int_equal(CHECK(&www, a, T0 + 301), DIGEST_ESTALE);
    /* The clock was put back. */
    assert_int_equal(CHECK(&www, a, T0 - DIGEST_SKEW_S), DIGEST_OK);
    assert_int_equal(CHECK(&www, a, T0 - DIGEST_SKEW_S - 1), DIGEST_ESTALE);
    /* For something else. */
    other.purpose = DIGEST_PROXY;
    assert_int_equal(CHECK(&other, a, T0), DIGEST_ENONCE);
    other = www;
    other.realm = SPAN("s");
    assert_int_equal(CHECK(&other, a, T0), DIGEST_ENONCE);
    other = (struct digest_scope){DIGEST_WWW, SPAN_NONE, SPAN("r")};
    assert_int_equal(CHECK(&other, a, T0), DIGEST_ENONCE);
    /* Changed anywhere. Its first two characters hold the version: of another one nobody knows. */
    for (size_t i = 0; i < DIGEST_NONCE_LEN; i++) {
        memcpy(b, a, sizeof b);
        b[i] = b[i] == 'A' ? 'Q' : 'A';
        enum digest_err e = CHECK(&www, b, T0);

        assert_int_equal(e, i > 0 && (i > 1 || !n.unknown) ? DIGEST_ENONCE : DIGEST_ESTALE);
    }
    assert_int_equal(CHECK(&www, "", T0), DIGEST_ENONCE);
    count.left = 0;
    assert_int_equal(digest_nonce_make(&keys, &www, T0, &random, a), DIGEST_ERANDOM);
    assert_int_equal(digest_keys_rotate(&keys, &random), DIGEST_ERANDOM);
    digest_keys_done(&keys);
}

static void test_rotation(void **state)
{
    struct counting count = {0, 1000};
    const struct digest_random random = {fill, &count};
    struct digest_keys keys = {0};
    struct digest_scope www = {DIGEST_WWW, SPAN("r"), SPAN_NONE};
    char a[DIGEST_NONCE_LEN + 1], b[DIGEST_NONCE_LEN + 1];
    uint8_t key[DIGEST_KEY_LEN] = {1};
    struct digest_nonce n;

    (void)state;
    assert_int_equal(digest_keys_rotate(&keys, &random), DIGEST_OK);
    assert_int_equal(digest_nonce_make(&keys, &www, T0, &random, a), DIGEST_OK);
    assert_int_equal(digest_keys_rotate(&keys, &random), DIGEST_OK);
    assert_int_equal(CHECK(&www, a, T0), DIGEST_OK);
    assert_int_equal(digest_nonce_make(&keys, &www, T0, &random, b), DIGEST_OK);
    assert_int_equal(digest_keys_rotate(&keys, &random), DIGEST_OK);
    assert_int_equal(CHECK(&www, b, T0), DIGEST_OK);
    assert_int_equal(CHECK(&www, a, T0), DIGEST_ESTALE);
    assert_true(n.unknown);
    /* A key that is put in place of one of the same version. */
    digest_keys_add(&keys, keys.of[keys.newest].version, key);
    assert_int_equal(CHECK(&www, b, T0), DIGEST_OK);
    digest_keys_done(&keys);
}

/* ---- replay ---- */

static void test_counts(void **state)
{
    static const struct {
        uint32_t count;
        enum digest_err err;
    } rows[] = {
        {5,                   DIGEST_OK     },
        {5,                   DIGEST_EREPLAY},
        {6,                   DIGEST_OK     },
        {4,                   DIGEST_OK     }, /* out of order */
        {4,                   DIGEST_EREPLAY},
        {100,                 DIGEST_OK     }, /* a gap */
        {37,                  DIGEST_OK     },
        {37,                  DIGEST_EREPLAY},
        {36,                  DIGEST_EREPLAY}, /* below the window */
        {99,                  DIGEST_OK     },
        {163,                 DIGEST_OK     },
        {100,                 DIGEST_EREPLAY},
        {99,                  DIGEST_EREPLAY},
        {164,                 DIGEST_OK     },
        {UINT32_MAX,          DIGEST_OK     },
        {UINT32_MAX,          DIGEST_EREPLAY},
        {164,                 DIGEST_EREPLAY},
        {UINT32_MAX - 63,     DIGEST_OK     },
        {DIGEST_REPLAY_WHOLE, DIGEST_EREPLAY},
    };
    struct digest_replay *r = digest_replay_new(8);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_int_equal(digest_replay_use(r, 1, 0, rows[i].count, T0, T0), rows[i].err);
    /* Two nonces, both from 2 on. */
    assert_int_equal(digest_replay_use(r, 2, 0, 2, T0, T0), DIGEST_OK);
    assert_int_equal(digest_replay_use(r, 3, 0, 2, T0, T0), DIGEST_OK);
    assert_int_equal(digest_replay_use(r, 2, 0, 2, T0, T0), DIGEST_EREPLAY);
    /* As a whole. */
    assert_int_equal(digest_replay_use(r, 4, 0, DIGEST_REPLAY_WHOLE, T0, T0), DIGEST_OK);
    assert_int_equal(digest_replay_use(r, 4, 0, 1, T0, T0), DIGEST_EREPLAY);
    assert_int_equal(digest_replay_use(r, 4, 0, UINT32_MAX, T0, T0), DIGEST_EREPLAY);
    assert_int_equal(digest_replay_use(r, 4, 0, DIGEST_REPLAY_WHOLE, T0, T0), DIGEST_EREPLAY);
    assert_int_equal(digest_replay_count(r), 4);
    digest_replay_free(r);
    digest_replay_free(NULL);
    assert_null(digest_replay_new(0));
    assert_null(digest_replay_new(DIGEST_REPLAY_MAX + 1));
}

static void test_a_full_table(void **state)
{
    struct digest_replay *r = digest_replay_new(3);

    (void)state;
    for (uint64_t n = 0; n < 3; n++)
        assert_int_equal(digest_replay_use(r, n * 4, 0, 1, T0 + n, T0), DIGEST_OK); /* one chain */
    assert_int_equal(digest_replay_use(r, 100, 0, 1, T0 + 9, T0), DIGEST_EFULL);
    assert_int_equal(digest_replay_use(r, 4, 0, 2, T0 + 1, T0), DIGEST_OK); /* known ones go on */
    /* The first one is over: its place is free. */
    assert_int_equal(digest_replay_use(r, 100, 0, 1, T0 + 9, T0 + 1), DIGEST_OK);
    assert_int_equal(digest_replay_use(r, 101, 0, 1, T0 + 9, T0 + 1), DIGEST_EFULL);
    assert_int_equal(digest_replay_use(r, 8, 0, 1, T0 + 2, T0 + 1), DIGEST_EREPLAY);
    assert_int_equal(digest_replay_use(r, 101, 0, 1, T0 + 9, T0 + 5), DIGEST_OK);
    assert_int_equal(digest_replay_count(r), 2);
    /* The clock is put back: what was dropped does not come in again. */
    assert_int_equal(digest_replay_use(r, 8, 0, 1, T0 + 2, T0), DIGEST_ESTALE);
    assert_int_equal(digest_replay_use(r, 100, 0, 1, T0 + 9, T0), DIGEST_EREPLAY);
    digest_replay_free(r);
}

/* Whoever has a password, and a new nonce for each request, leaves room for others. */
static void test_share(void **state)
{
    struct digest_replay *r = digest_replay_new(8);
    uint64_t n = 0;

    (void)state;
    while (digest_replay_use(r, n, 7, 1, T0 + n, T0) == DIGEST_OK)
        n++;
    assert_int_equal(n, 6);
    assert_int_equal(digest_replay_use(r, 100, 7, 1, T0 + 9, T0), DIGEST_EFULL);
    assert_int_equal(digest_replay_use(r, 100, 8, 1, T0 + 9, T0), DIGEST_OK);
    assert_int_equal(digest_replay_use(r, 101, 8, 1, T0 + 9, T0), DIGEST_OK);
    assert_int_equal(digest_replay_use(r, 102, 9, 1, T0 + 9, T0), DIGEST_EFULL);
    assert_int_equal(digest_replay_use(r, 5, 7, 2, T0 + 5, T0), DIGEST_OK); /* known ones go on */
    assert_int_equal(digest_replay_use(r, 103, 7, 1, T0 + 9, T0 + 2), DIGEST_OK);
    digest_replay_free(r);
}

/* What was overheard is used up for everybody, and takes no room that users need. */
static void test_burnt(void **state)
{
    struct digest_replay *r = digest_replay_new(16);

    (void)state;
    assert_int_equal(digest_replay_use(r, 1, 7, 1, T0 + 9, T0), DIGEST_OK);
    assert_int_equal(digest_replay_burn(r, 1, T0 + 9, T0), DIGEST_OK);
    for (uint32_t count = 2; count < 80; count++)
        assert_int_equal(digest_replay_use(r, 1, 7, count, T0 + 9, T0), DIGEST_EREPLAY);
    assert_int_equal(digest_replay_use(r, 1, 7, UINT32_MAX, T0 + 9, T0), DIGEST_EREPLAY);
    assert_int_equal(digest_replay_burn(r, 2, T0 + 9, T0), DIGEST_OK);
    assert_int_equal(digest_replay_burn(r, 2, T0 + 9, T0), DIGEST_OK);
    assert_int_equal(digest_replay_use(r, 2, 7, 1, T0 + 9, T0), DIGEST_EREPLAY);
    assert_int_equal(digest_replay_burn(r, 3, T0 + 9, T0), DIGEST_OK);
    assert_int_equal(digest_replay_burn(r, 4, T0 + 9, T0), DIGEST_EFULL); /* two of sixteen */
    assert_int_equal(digest_replay_use(r, 4, 7, 1, T0 + 9, T0), DIGEST_OK);
    assert_int_equal(digest_replay_burn(r, 5, T0 + 20, T0 + 10), DIGEST_OK); /* those are over */
    assert_int_equal(digest_replay_burn(r, 2, T0 + 9, T0), DIGEST_ESTALE);
    digest_replay_free(r);
}

/* ---- the server ---- */

struct world {
    struct counting count;
    struct digest_random random;
    struct digest_keys keys;
    struct digest_server server;
    struct digest_ha1s ann;
    struct digest_users users;
    struct digest_request request;
    char room[DIGEST_TEXT_MAX];
    struct writer scratch;
    struct buf out;
    struct hash_work work; /* of the last one who tried */
};

static int setup(void **state)
{
    struct world *w = test_calloc(1, sizeof *w);

    w->count.left = 1000;
    w->random = (struct digest_random){fill, &w->count};
    assert_int_equal(digest_keys_rotate(&w->keys, &w->random), DIGEST_OK);
    w->server = (struct digest_server){.realm = SPAN("sallyport"),
                                       .algs = DIGEST_BIT(DIGEST_SHA256) | DIGEST_BIT(DIGEST_MD5),
                                       .qops = DIGEST_BIT(DIGEST_QOP_AUTH),
                                       .lifetime_s = 300,
                                       .keys = &w->keys,
                                       .replay = digest_replay_new(4),
                                       .random = &w->random};
    assert_int_equal(digest_server_check(&w->server), DIGEST_OK);
    for (unsigned a = 0; a < DIGEST_ALGS; a += 2)
        assert_int_equal(digest_ha1((enum digest_alg)a, SPAN("ann"), SPAN("sallyport"),
                                    SPAN("s3cret"), &w->ann.of[a / 2]),
                         DIGEST_OK);
    w->users = (struct digest_users){digest_users_given, &w->ann};
    w->request =
        (struct digest_request){.method = SPAN("POST"), .target = SPAN("/q1"), .now_s = T0};
    buf_init(&w->out, 0);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;

    digest_replay_free(w->server.replay);
    digest_keys_done(&w->keys);
    buf_done(&w->out);
    test_free(w);
    return 0;
}

/* Credentials as any client could make them. */
struct made {
    enum digest_alg alg;
    enum digest_qop qop;
    uint32_t count;
    const char *password, *uri, *nonce;
};

static enum digest_err try(struct world *w, const struct made *m)
{
    struct digest_hex ha1, response;
    char nc[9];
    struct digest_credentials c = {.alg = m->alg,
                                   .alg_named = true,
                                   .qop = m->qop,
                                   .user = SPAN("ann"),
                                   .realm = SPAN("sallyport"),
                                   .nonce = span_of(m->nonce),
                                   .uri = span_of(m->uri ? m->uri : "/q1"),
                                   .cnonce = SPAN("c0ffee")};
    struct digest_accepted who;

    (void)snprintf(nc, sizeof nc, "%08x", (unsigned)m->count);
    c.nc = span_of(nc);
    struct digest_proof p = {.alg = c.alg,
                             .qop = c.qop,
                             .nonce = c.nonce,
                             .nc = c.nc,
                             .cnonce = c.cnonce,
                             .method = SPAN("POST"),
                             .uri = c.uri,
                             .body_hash = w->request.body_hash};

    assert_int_equal(
        digest_ha1(c.alg, c.user, c.realm, span_of(m->password ? m->password : "s3cret"), &ha1),
        DIGEST_OK);
    assert_int_equal(digest_response(&p, &ha1, &response), DIGEST_OK);
    c.response = digest_hex_span(&response);
    buf_reset(&w->out);
    assert_int_equal(digest_credentials_format(&c, &w->out), DIGEST_OK);
    struct span value = buf_span(&w->out);

    w->scratch = writer_of(w->room, sizeof w->room);
    hash_work = (struct hash_work){0};
    enum digest_err e =
        digest_authorize(&w->server, &w->request, &value, 1, &w->users, &w->scratch, &who);

    w->work = hash_work;
    if (!e) {
        assert_true(span_eq(who.credentials.user, SPAN("ann")));
        digest_accepted_done(&who);
    }
    return e;
}

static const char *nonce_of(struct world *w, char text[DIGEST_NONCE_LEN + 1])
{
    struct digest_scope scope = {w->server.purpose, w->server.realm, SPAN_NONE};

    assert_int_equal(digest_nonce_make(&w->keys, &scope, w->request.now_s, &w->random, text),
                     DIGEST_OK);
    return text;
}

static void test_challenges(void **state)
{
    struct world *w = *state;
    struct span text, first, second;

    w->server.userhash = true;
    assert_int_equal(digest_challenges_format(&w->server, true, SPAN_NONE, T0, &w->out), DIGEST_OK);
    text = buf_span(&w->out);
    first = span_cut(&text, '\n');
    second = span_cut(&text, '\n');
    assert_true(span_starts(first, SPAN("WWW-Authenticate: Digest realm=\"sallyport\", "
                                        "qop=\"auth\", algorithm=SHA-256, nonce=\"")));
    assert_true(span_ends(first, SPAN("\", charset=UTF-8, userhash=true, stale=true\r")));
    assert_true(span_starts(second, SPAN("WWW-Authenticate: Digest realm=\"sallyport\", "
                                         "qop=\"auth\", algorithm=MD5, nonce=\"")));
    assert_int_equal(text.n, 0);
    buf_reset(&w->out);
    w->server.purpose = DIGEST_PROXY;
    w->server.qops |= DIGEST_BIT(DIGEST_QOP_AUTH_INT);
    assert_int_equal(digest_challenges_format(&w->server, false, SPAN_NONE, T0, &w->out),
                     DIGEST_OK);
    assert_true(
        span_starts(buf_span(&w->out), SPAN("Proxy-Authenticate: Digest realm=\"sallyport\", "
                                            "qop=\"auth,auth-int\", ")));
    w->count.left = 0;
    assert_int_equal(digest_challenges_format(&w->server, false, SPAN_NONE, T0, &w->out),
                     DIGEST_ERANDOM);
}

static void test_settings(void **state)
{
    struct world *w = *state;
    struct digest_server s = w->server;
    static const char long_realm[DIGEST_REALM_MAX + 1] = {'x'};

#define WRONG(member, value)                                     \
    s.member = (value);                                          \
    assert_int_equal(digest_server_check(&s), DIGEST_ESETTINGS); \
    s.member = w->server.member;
    WRONG(realm, SPAN_NONE)
    WRONG(realm, SPAN("a\nb"))
    WRONG(realm, ((struct span){long_realm, sizeof long_realm}))
    WRONG(algs, 0)
    WRONG(algs, DIGEST_BIT(DIGEST_ALGS))
    WRONG(qops, 0)
    WRONG(qops, DIGEST_BIT(DIGEST_QOP_NONE))
    WRONG(lifetime_s, 0)
    WRONG(keys, NULL)
    WRONG(replay, NULL)
    WRONG(random, NULL)
    assert_int_equal(digest_server_check(&s), DIGEST_OK);
}

static void test_refusals(void **state)
{
    struct world *w = *state;
    char nonce[DIGEST_NONCE_LEN + 1];
    struct made good = {DIGEST_SHA256, DIGEST_QOP_AUTH, 2, NULL, NULL, nonce_of(w, nonce)},
                m = good;
    struct span two[] = {SPAN("Digest"), SPAN("Digest")};
    struct digest_accepted who;

    assert_int_equal(
        digest_authorize(&w->server, &w->request, two, 0, &w->users, &w->scratch, &who),
        DIGEST_ENOAUTH);
    assert_int_equal(
        digest_authorize(&w->server, &w->request, two, 2, &w->users, &w->scratch, &who),
        DIGEST_EFIELDS);
    m.password = "wrong";
    assert_int_equal(try(w, &m), DIGEST_ELOGIN);
    m = good;
    m.uri = "/q2";
    assert_int_equal(try(w, &m), DIGEST_EURI);
    m = good;
    m.nonce = "bm9uY2U";
    assert_int_equal(try(w, &m), DIGEST_ENONCE);
    m = good;
    m.alg = DIGEST_SHA256_SESS;
    assert_int_equal(try(w, &m), DIGEST_EALGORITHM);
    m = good;
    m.qop = DIGEST_QOP_AUTH_INT;
    assert_int_equal(try(w, &m), DIGEST_EQOP);
    m.qop = DIGEST_QOP_NONE;
    m.alg = DIGEST_MD5;
    assert_int_equal(try(w, &m), DIGEST_EQOP);
    w->server.realm = SPAN("other");
    assert_int_equal(try(w, &good), DIGEST_EREALM);
    w->server.realm = SPAN("sallyport");
    w->users.arg = NULL;
    assert_int_equal(try(w, &good), DIGEST_ELOGIN);
    w->users.arg = &w->ann;
    w->request.method = SPAN("GET");
    assert_int_equal(try(w, &good), DIGEST_ELOGIN);
    w->request.method = SPAN("POST");
    w->server.qops = DIGEST_BIT(DIGEST_QOP_AUTH_INT);
    m = good;
    m.qop = DIGEST_QOP_AUTH_INT;
    assert_int_equal(try(w, &m), DIGEST_EBODY);
    w->server.qops = DIGEST_BIT(DIGEST_QOP_AUTH);
    assert_int_equal(digest_replay_count(w->server.replay), 0); /* nothing of it was recorded */
    m = good;
    m.uri = "http://h:631/q%31;AUTH=DAA";
    assert_int_equal(try(w, &m), DIGEST_OK);
    assert_int_equal(try(w, &good), DIGEST_EREPLAY);
}

/* The dummy of an unknown user is no key to anything. */
static void test_nobody_has_the_dummy(void **state)
{
    struct world *w = *state;
    char nonce[DIGEST_NONCE_LEN + 1];
    struct digest_hex zeros = {.n = 64}, response;
    struct digest_accepted who;

    memset(zeros.text, '0', 64);
    struct digest_proof p = {.alg = DIGEST_SHA256,
                             .qop = DIGEST_QOP_AUTH,
                             .nonce = span_of(nonce_of(w, nonce)),
                             .nc = SPAN("00000001"),
                             .cnonce = SPAN("c"),
                             .method = SPAN("POST"),
                             .uri = SPAN("/q1")};

    assert_int_equal(digest_response(&p, &zeros, &response), DIGEST_OK);
    struct digest_credentials c = {.alg = p.alg,
                                   .qop = p.qop,
                                   .user = SPAN("nobody"),
                                   .realm = SPAN("sallyport"),
                                   .nonce = p.nonce,
                                   .uri = p.uri,
                                   .response = digest_hex_span(&response),
                                   .nc = p.nc,
                                   .count = 1,
                                   .cnonce = p.cnonce};

    w->users.arg = NULL;
    assert_int_equal(digest_verify(&w->server, &w->request, &c, &w->users, &who), DIGEST_ELOGIN);
}

/* Nobody learns from the time who exists: the same is hashed and compared for a user whom nobody
 * knows, for one who has nothing for that algorithm, and for a wrong password. */
static void check_work(struct world *w, const struct made *m)
{
    const struct digest_ha1s nothing = {0};
    const void *const users[] = {NULL, &nothing};
    size_t hash = digest_alg_len(m->alg);

    w->users.arg = &w->ann;
    assert_int_equal(try(w, m), DIGEST_ELOGIN);
    const struct hash_work known = w->work;

    assert_int_equal(known.hashes, digest_alg_is_sess(m->alg) ? 3 : 2);
    assert_true(known.octets > hash * known.hashes);
    assert_int_equal(known.comparisons, 2); /* of the nonce, and of the response */
    assert_true(known.octets_compared > hash);
    for (size_t i = 0; i < ARRAY_LEN(users); i++) {
        w->users.arg = (void *)(uintptr_t)users[i];
        assert_int_equal(try(w, m), DIGEST_ELOGIN);
        assert_same_hash_work(&w->work, &known);
    }
}

static void test_nobody_costs_as_much(void **state)
{
    struct world *w = *state;
    struct digest_hex body;
    char nonce[DIGEST_NONCE_LEN + 1];

    w->server.algs = DIGEST_BIT(DIGEST_ALGS) - 1;
    w->server.qops = DIGEST_BIT(DIGEST_QOP_AUTH) | DIGEST_BIT(DIGEST_QOP_AUTH_INT);
    w->server.rfc2069 = DIGEST_RFC2069_SINGLE_USE;
    for (unsigned a = 0; a < DIGEST_ALGS; a++)
        for (unsigned q = DIGEST_QOP_NONE; q < DIGEST_QOPS; q++) {
            const struct made wrong = {.alg = (enum digest_alg)a,
                                       .qop = (enum digest_qop)q,
                                       .count = 1,
                                       .password = "wrong",
                                       .nonce = nonce_of(w, nonce)};

            if (q == DIGEST_QOP_NONE && a != DIGEST_MD5)
                continue;
            print_message("%s %s\n", digest_alg_name(wrong.alg), digest_qop_name(wrong.qop));
            assert_int_equal(digest_body_hash(wrong.alg, SPAN("job"), &body), DIGEST_OK);
            w->request.body_hash = digest_hex_span(&body);
            check_work(w, &wrong);
            /* Nor where his nonce is over: there the right password is told. */
            w->request.now_s = T0 + 301;
            check_work(w, &wrong);
            w->request.now_s = T0;
        }
}

static void test_stale_is_for_the_right_password(void **state)
{
    struct world *w = *state;
    char nonce[DIGEST_NONCE_LEN + 1];
    struct made good = {DIGEST_MD5, DIGEST_QOP_AUTH, 2, NULL, NULL, nonce_of(w, nonce)}, bad = good;

    bad.password = "wrong";
    w->request.now_s = T0 + 301;
    assert_int_equal(try(w, &good), DIGEST_ESTALE);
    assert_int_equal(try(w, &bad), DIGEST_ELOGIN);
    w->request.now_s = T0;
    assert_int_equal(try(w, &good), DIGEST_OK);
    assert_int_equal(try(w, &good), DIGEST_EREPLAY);
    assert_int_equal(try(w, &bad), DIGEST_ELOGIN);
    /* Both keys change: nobody can tell whether it was genuine, but the password is. */
    assert_int_equal(digest_keys_rotate(&w->keys, &w->random), DIGEST_OK);
    good.count++;
    assert_int_equal(try(w, &good), DIGEST_OK);
    assert_int_equal(digest_keys_rotate(&w->keys, &w->random), DIGEST_OK);
    good.count++;
    assert_int_equal(try(w, &good), DIGEST_ESTALE);
    assert_int_equal(try(w, &bad), DIGEST_ELOGIN);
    /* His part of the table is full. */
    for (unsigned i = 0; i < 2; i++) {
        good.nonce = nonce_of(w, nonce);
        assert_int_equal(try(w, &good), DIGEST_OK);
    }
    bad.nonce = good.nonce = nonce_of(w, nonce);
    assert_int_equal(try(w, &good), DIGEST_EFULL);
    assert_int_equal(digest_err_answer(DIGEST_EFULL), DIGEST_RENEW);
    assert_int_equal(try(w, &bad), DIGEST_ELOGIN);
    w->request.now_s = T0 + 301;
    good.nonce = nonce_of(w, nonce);
    assert_int_equal(try(w, &good), DIGEST_OK);
}

/* Two connections begin at the same time, each with its own challenge, both with 2. */
static void test_two_connections(void **state)
{
    struct world *w = *state;
    char first[DIGEST_NONCE_LEN + 1], second[DIGEST_NONCE_LEN + 1];
    struct made a = {DIGEST_MD5, DIGEST_QOP_AUTH, 2, NULL, NULL, nonce_of(w, first)}, b = a;

    b.nonce = nonce_of(w, second);
    assert_int_equal(try(w, &a), DIGEST_OK);
    assert_int_equal(try(w, &b), DIGEST_OK);
    a.count = b.count = 4; /* and leave one out */
    assert_int_equal(try(w, &b), DIGEST_OK);
    assert_int_equal(try(w, &a), DIGEST_OK);
    a.count = 3;
    assert_int_equal(try(w, &a), DIGEST_OK);
    assert_int_equal(try(w, &a), DIGEST_EREPLAY);
}

static void test_rfc2069_once(void **state)
{
    struct world *w = *state;
    char nonce[DIGEST_NONCE_LEN + 1];
    struct made m = {DIGEST_MD5, DIGEST_QOP_NONE, 0, NULL, NULL, nonce_of(w, nonce)};

    w->server.rfc2069 = DIGEST_RFC2069_SINGLE_USE;
    assert_int_equal(try(w, &m), DIGEST_OK);
    assert_int_equal(try(w, &m), DIGEST_EREPLAY);
    m.qop = DIGEST_QOP_AUTH;
    m.count = 9;
    assert_int_equal(try(w, &m), DIGEST_EREPLAY);
    m.qop = DIGEST_QOP_NONE;
    m.alg = DIGEST_SHA256;
    assert_int_equal(try(w, &m), DIGEST_EQOP);
}

/* ---- client and server ---- */

struct talk {
    struct world *w;
    struct digest_client_policy policy;
    struct digest_client client;
    struct digest_attempt attempt;
    struct digest_user user;
    struct digest_target target;
    struct digest_origin from;
    struct digest_hex request_hash, answer_hash;
    struct buf sent, asked, info;
    unsigned challenges;
};

static void talk_init(struct talk *t, struct world *w)
{
    *t = (struct talk){
        .w = w,
        .policy = {.algs = DIGEST_BIT(DIGEST_ALGS) - 1, .auth_int = true, .require_rspauth = true},
        .user = {SPAN("ann"),                         SPAN("s3cret"),   NULL                   },
        .target = {SPAN("POST"),                        SPAN("/q1"),      SPAN_NONE,               true},
        .from = {SPAN("Printer"),                                   631,                                     true                      }
    };
    assert_int_equal(digest_client_init(&t->client, &t->policy, SPAN("printer"), 631), DIGEST_OK);
    buf_init(&t->sent, 0);
    buf_init(&t->asked, 0);
    buf_init(&t->info, 0);
}

static void talk_done(struct talk *t)
{
    buf_done(&t->sent);
    buf_done(&t->asked);
    buf_done(&t->info);
}

/* The server asks; the client looks at it. */
static enum digest_err ask(struct talk *t, bool stale)
{
    struct span values[DIGEST_ALGS], text, line;
    size_t n = 0;

    buf_reset(&t->asked);
    assert_int_equal(
        digest_challenges_format(&t->w->server, stale, SPAN_NONE, t->w->request.now_s, &t->asked),
        DIGEST_OK);
    for (text = buf_span(&t->asked); text.n > 0;) {
        line = span_cut(&text, '\n');
        (void)span_cut(&line, ':');
        values[n++] = span_sub(line, 0, line.n - 1);
    }
    t->challenges++;
    return digest_client_challenged(&t->client, &t->attempt, &t->from, values, n);
}

static enum digest_err serve(struct talk *t, struct digest_accepted *ret)
{
    struct world *w = t->w;
    struct span value = buf_span(&t->sent);

    w->scratch = writer_of(w->room, sizeof w->room);
    w->request.target = t->target.uri;
    w->request.body_hash = digest_hex_span(&t->request_hash);
    return digest_authorize(&w->server, &w->request, &value, value.n > 0, &w->users, &w->scratch,
                            ret);
}

/* The client's word on the server's last one. */
static enum digest_err talk_on(struct talk *t)
{
    struct digest_accepted who;

    for (;;) {
        enum digest_err e = DIGEST_OK;

        buf_reset(&t->sent);
        if (digest_client_is_ready(&t->client)) {
            e = digest_body_hash(t->client.alg, SPAN("job"), &t->request_hash);
            assert_int_equal(e, DIGEST_OK);
            e = digest_body_hash(t->client.alg, SPAN("done"), &t->answer_hash);
            assert_int_equal(e, DIGEST_OK);
            t->target.body_hash = digest_hex_span(&t->request_hash);
            e = digest_client_format(&t->client, &t->attempt, &t->user, &t->target, &t->w->random,
                                     &t->sent);
            if (e)
                return e;
        }
        e = serve(t, &who);
        if (!e)
            break;
        if (digest_err_answer(e) != DIGEST_CHALLENGE && digest_err_answer(e) != DIGEST_RENEW)
            return e;
        e = ask(t, digest_err_answer(e) == DIGEST_RENEW);
        if (e)
            return e;
    }
    buf_reset(&t->info);
    assert_int_equal(digest_info_format(&t->w->server, &who, digest_hex_span(&t->answer_hash),
                                        SPAN_NONE, t->w->request.now_s, &t->info),
                     DIGEST_OK);
    t->target.body_hash = digest_hex_span(&t->answer_hash);
    digest_accepted_done(&who);
    return digest_client_answered(&t->client, &t->attempt, &t->user, &t->target,
                                  buf_span(&t->info));
}

static enum digest_err talk(struct talk *t)
{
    t->attempt = (struct digest_attempt){0};
    return talk_on(t);
}

static void test_all_algorithms(void **state)
{
    struct world *w = *state;

    for (unsigned a = 0; a < DIGEST_ALGS; a++)
        for (unsigned q = DIGEST_QOP_AUTH; q < DIGEST_QOPS; q++) {
            struct talk t;

            digest_replay_free(w->server.replay);
            w->server.replay = digest_replay_new(4);
            w->server.algs = DIGEST_BIT(a);
            w->server.qops = DIGEST_BIT(q);
            w->request.now_s = T0;
            w->count.left = 1000;
            talk_init(&t, w);
            print_message("%s %s\n", digest_alg_name((enum digest_alg)a),
                          digest_qop_name((enum digest_qop)q));
            for (unsigned i = 0; i < 5; i++)
                assert_int_equal(talk(&t), DIGEST_OK);
            assert_int_equal(t.challenges, 1); /* asked once, then never again */
            assert_int_equal(t.client.next_nc, 6);
            /* Renewed before its end, without being asked. */
            w->request.now_s = T0 + 241;
            assert_int_equal(talk(&t), DIGEST_OK);
            assert_int_equal(t.client.next_nc, 1);
            assert_int_equal(talk(&t), DIGEST_OK);
            assert_int_equal(t.challenges, 1);
            /* And after its end: once more, and nobody notices. */
            w->request.now_s = T0 + 1000;
            assert_int_equal(talk(&t), DIGEST_OK);
            assert_int_equal(t.challenges, 2);
            /* With a kept HA1 instead of a password. */
            t.user.password = SPAN_NONE;
            t.user.ha1s = &w->ann;
            assert_int_equal(talk(&t), DIGEST_OK);
            /* A wrong password. */
            t.user = (struct digest_user){SPAN("ann"), SPAN("wrong"), NULL};
            assert_int_equal(talk(&t), DIGEST_ELOGIN);
            t.user.password = SPAN("s3cret");
            assert_int_equal(talk(&t), DIGEST_OK);
            talk_done(&t);
        }
}

static void test_rfc2069_talk(void **state)
{
    struct world *w = *state;
    struct talk t;
    struct span old = SPAN("Digest realm=\"sallyport\", nonce=\"n\"");

    talk_init(&t, w);
    assert_int_equal(digest_client_challenged(&t.client, &t.attempt, &t.from, &old, 1),
                     DIGEST_ENONE);
    t.policy.rfc2069 = true;
    t.policy.require_rspauth = false;
    assert_int_equal(digest_client_challenged(&t.client, &t.attempt, &t.from, &old, 1), DIGEST_OK);
    assert_true(digest_client_is_ready(&t.client));
    assert_int_equal(
        digest_client_format(&t.client, &t.attempt, &t.user, &t.target, &w->random, &t.sent),
        DIGEST_OK);
    assert_false(digest_client_is_ready(&t.client));
    /* nextnonce of the answer makes the next one possible. */
    assert_int_equal(
        digest_client_answered(&t.client, &t.attempt, &t.user, &t.target, SPAN("nextnonce=\"m\"")),
        DIGEST_OK);
    assert_true(digest_client_is_ready(&t.client));
    talk_done(&t);
}

static void test_names(void **state)
{
    struct world *w = *state;
    struct talk t;
    struct span name = SPAN("J\xc3\xa4s\xc3\xb8n");

    talk_init(&t, w);
    t.user.name = name;
    assert_int_equal(digest_ha1(DIGEST_SHA256, name, SPAN("sallyport"), SPAN("s3cret"),
                                &w->ann.of[digest_alg_hash(DIGEST_SHA256)]),
                     DIGEST_OK);
    assert_int_equal(talk(&t), DIGEST_OK);
    assert_true(span_starts(buf_span(&t.sent), SPAN("Digest username*=UTF-8''J%C3%A4s%C3%B8n, ")));
    digest_client_forget(&t.client);
    w->server.userhash = true;
    assert_int_equal(talk(&t), DIGEST_OK);
    assert_true(span_ends(buf_span(&t.sent), SPAN(", userhash=true")));
    w->server.userhash = false; /* not offered any more */
    assert_int_equal(talk(&t), DIGEST_OK);
    assert_int_equal(t.challenges, 3);
    t.user.name = SPAN("a:b");
    assert_int_equal(talk(&t), DIGEST_EUSER);
    talk_done(&t);
}

static void test_what_a_client_answers(void **state)
{
    static const struct {
        const char *value;
        bool protected, basic, refuse_clear;
        enum digest_err err;
        const char *begins;
    } rows[] = {
#define D(alg) "Digest realm=\"r\", nonce=\"n\", qop=\"auth\", algorithm=" alg
        {D("MD5") ", " D("SHA-512-256") ", " D("SHA-256"), false, false, false, DIGEST_OK,
                                                                                      "SHA-256"                                                                                     },
        {D("MD5-sess") ", " D("MD5"),                      false, false, false, DIGEST_OK,      "MD5"  },
        {"Basic realm=r, " D("MD5"),                       true,  true,  false, DIGEST_OK,      "MD5"  },
        {"Basic realm=r",                                  true,  true,  false, DIGEST_OK,      "Basic"},
        {"Basic realm=r",                                  false, true,  false, DIGEST_EBASIC,  NULL   },
        {"Basic realm=r",                                  true,  false, false, DIGEST_EBASIC,  NULL   },
        {"Basic",                                          true,  true,  false, DIGEST_ENONE,   NULL   },
        {D("MD5"),                                         false, false, true,  DIGEST_ECLEAR,  NULL   },
        {D("MD5"),                                         true,  false, true,  DIGEST_OK,      "MD5"  },
        {D("SHA-1") ", Negotiate",                         true,  false, false, DIGEST_ENONE,   NULL   },
        {"Digest realm=other, nonce=n, qop=auth",          true,  false, false, DIGEST_EREALM,  NULL   },
        {"Digest realm=r, nonce=n, qop=auth-int",          true,  false, false, DIGEST_ENONE,   NULL   },
        {"Digest realm=r nonce=n",                         true,  false, false, DIGEST_ESYNTAX, NULL   },
        {"",                                               true,  false, false, DIGEST_ENONE,   NULL   },
    };
    struct world *w = *state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct talk t;
        struct span value = span_of(rows[i].value);

        print_message("%s\n", rows[i].value);
        talk_init(&t, w);
        t.policy = (struct digest_client_policy){.algs = DIGEST_BIT(DIGEST_ALGS) - 1,
                                                 .basic = rows[i].basic,
                                                 .refuse_clear = rows[i].refuse_clear,
                                                 .realm = SPAN("r")};
        t.from.protected = t.target.protected = rows[i].protected;
        assert_int_equal(digest_client_challenged(&t.client, &t.attempt, &t.from, &value, 1),
                         rows[i].err);
        assert_int_equal(digest_client_is_ready(&t.client), rows[i].err == DIGEST_OK);
        if (!rows[i].err && t.client.scheme == DIGEST_SCHEME_DIGEST)
            assert_string_equal(digest_alg_name(t.client.alg), rows[i].begins);
        if (!rows[i].err)
            assert_int_equal(digest_client_format(&t.client, &t.attempt, &t.user, &t.target,
                                                  &w->random, &t.sent),
                             DIGEST_OK);
        if (t.client.scheme == DIGEST_SCHEME_BASIC) {
            assert_string_equal(buf_cstr(&t.sent), "Basic YW5uOnMzY3JldA==");
            t.target.protected = false;
            assert_int_equal(digest_client_format(&t.client, &t.attempt, &t.user, &t.target,
                                                  &w->random, &t.sent),
                             DIGEST_ECLEAR);
            assert_int_equal(digest_client_challenged(&t.client, &t.attempt, &t.from, &value, 1),
                             rows[i].protected ? DIGEST_ELOGIN : DIGEST_EBASIC);
        }
        talk_done(&t);
    }
}

static void test_what_a_client_refuses(void **state)
{
    struct world *w = *state;
    struct talk t;
    struct span other = SPAN("Digest realm=\"else\", nonce=\"n\", qop=\"auth\"");
    struct span stale[] = {
        SPAN("Digest realm=\"sallyport\", nonce=\"1\", qop=\"auth\", stale=true"),
        SPAN("Digest realm=\"sallyport\", nonce=\"2\", qop=\"auth\", stale=true")};

    talk_init(&t, w);
    t.from.host = SPAN("elsewhere");
    assert_int_equal(ask(&t, false), DIGEST_EHOST);
    t.from.host = SPAN("printer");
    t.from.port = 80;
    assert_int_equal(ask(&t, false), DIGEST_EHOST);
    t.from.port = 631;
    assert_int_equal(talk(&t), DIGEST_OK);
    /* Another realm than before. */
    t.attempt = (struct digest_attempt){0};
    assert_int_equal(digest_client_challenged(&t.client, &t.attempt, &t.from, &other, 1),
                     DIGEST_EREALM);
    /* One nonce after the other is old. */
    assert_int_equal(
        digest_client_format(&t.client, &t.attempt, &t.user, &t.target, &w->random, &t.sent),
        DIGEST_OK);
    assert_int_equal(digest_client_challenged(&t.client, &t.attempt, &t.from, &stale[0], 1),
                     DIGEST_OK);
    assert_int_equal(
        digest_client_format(&t.client, &t.attempt, &t.user, &t.target, &w->random, &t.sent),
        DIGEST_OK);
    assert_int_equal(digest_client_challenged(&t.client, &t.attempt, &t.from, &stale[1], 1),
                     DIGEST_ESTALE);
    /* A uri that would end the field. */
    t.target.uri = SPAN("/\r\nX: y");
    assert_int_equal(
        digest_client_format(&t.client, &t.attempt, &t.user, &t.target, &w->random, &t.sent),
        DIGEST_EVALUE);
    talk_done(&t);
}

static void test_proofs(void **state)
{
    struct world *w = *state;
    struct talk t;
    char wrong[512];
    size_t n;

    talk_init(&t, w);
    assert_int_equal(talk(&t), DIGEST_OK);
#define ANSWERED(info) digest_client_answered(&t.client, &t.attempt, &t.user, &t.target, (info))
    assert_int_equal(ANSWERED(buf_span(&t.info)), DIGEST_OK);
    assert_int_equal(ANSWERED(SPAN_NONE), DIGEST_ERSPAUTH);
    assert_int_equal(ANSWERED(SPAN("nextnonce=x")), DIGEST_ERSPAUTH);
    assert_int_equal(ANSWERED(SPAN("nextnonce=")), DIGEST_ERSPAUTH);
    assert_int_equal(ANSWERED(SPAN("rspauth=00")), DIGEST_ERSPAUTH);
    /* Another digit of rspauth, another cnonce, another nc. */
    n = span_copy(buf_span(&t.info), wrong, sizeof wrong);
    static const size_t at[] = {sizeof "qop=auth, rspauth=\"" + 3,
                                sizeof "qop=auth, rspauth=\"\", cnonce=\"" + 66};

    for (size_t i = 0; i < ARRAY_LEN(at); i++) {
        char kept = wrong[at[i]];

        wrong[at[i]] = kept == '1' ? '2' : '1';
        assert_int_equal(ANSWERED(((struct span){wrong, n})), DIGEST_ERSPAUTH);
        wrong[at[i]] = kept;
    }
    wrong[n - 1] = wrong[n - 1] == '1' ? '2' : '1';
    assert_int_equal(ANSWERED(((struct span){wrong, n})), DIGEST_ERSPAUTH);
    /* Not asked for: what is there has to be right all the same. */
    t.policy.require_rspauth = false;
    assert_int_equal(ANSWERED(SPAN_NONE), DIGEST_OK);
    assert_int_equal(ANSWERED(SPAN("nextnonce=x, rspauth=00")), DIGEST_ERSPAUTH);
    assert_false(span_eq((struct span){t.client.nonce.p, t.client.nonce.n}, SPAN("x")));
    assert_int_equal(ANSWERED(SPAN("nextnonce=x")), DIGEST_OK);
    assert_true(span_eq((struct span){t.client.nonce.p, t.client.nonce.n}, SPAN("x")));
    talk_done(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nonces),
        cmocka_unit_test(test_rotation),
        cmocka_unit_test(test_counts),
        cmocka_unit_test(test_a_full_table),
        cmocka_unit_test(test_share),
        cmocka_unit_test(test_burnt),
        cmocka_unit_test_setup_teardown(test_challenges, setup, teardown),
        cmocka_unit_test_setup_teardown(test_settings, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refusals, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nobody_has_the_dummy, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nobody_costs_as_much, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stale_is_for_the_right_password, setup, teardown),
        cmocka_unit_test_setup_teardown(test_two_connections, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rfc2069_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_all_algorithms, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rfc2069_talk, setup, teardown),
        cmocka_unit_test_setup_teardown(test_names, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_a_client_answers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_a_client_refuses, setup, teardown),
        cmocka_unit_test_setup_teardown(test_proofs, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
