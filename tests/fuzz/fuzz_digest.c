/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_digest.c - field values of Digest: whatever is read lies within the value or the scratch,
 * credentials that are printed read as the same, and nobody comes in without the password. The
 * first line is the request-target; each other line is a value. */
#include <stdlib.h>
#include <string.h>

#include "http/digest_client.h"
#include "http/digest_server.h"
#include "http/digest_uri.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds)
        abort();
}

struct room {
    char text[DIGEST_TEXT_MAX];
    struct writer scratch;
    struct span value;
};

static void inside(const struct room *r, struct span s)
{
    bool in_value = s.p >= r->value.p && s.p + s.n <= r->value.p + r->value.n;
    bool in_scratch = s.p >= r->text && s.p + s.n <= r->text + r->scratch.n;

    check(!s.p || in_value || in_scratch);
}

static bool same(const struct digest_credentials *a, const struct digest_credentials *b)
{
    return a->alg == b->alg && a->alg_named == b->alg_named && a->qop == b->qop &&
           a->userhash == b->userhash && a->user_ext == b->user_ext && a->count == b->count &&
           span_eq(a->user, b->user) && span_eq(a->realm, b->realm) &&
           span_eq(a->nonce, b->nonce) && span_eq(a->uri, b->uri) &&
           span_eq(a->response, b->response) && span_eq(a->nc, b->nc) &&
           span_eq(a->cnonce, b->cnonce) && span_eq(a->opaque, b->opaque) &&
           !a->opaque.p == !b->opaque.p;
}

static void print_and_read(const struct digest_credentials *c)
{
    static struct room again;
    struct digest_credentials d;
    struct buf out;

    buf_init(&out, 0);
    check(digest_credentials_format(c, &out) == DIGEST_OK);
    again.scratch = writer_of(again.text, sizeof again.text);
    enum digest_err e = digest_credentials_parse(buf_span(&out), &again.scratch, &d);

    check(e == DIGEST_ELONG ? out.n > DIGEST_TEXT_MAX : e == DIGEST_OK && same(c, &d));
    buf_done(&out);
}

static bool fill(void *arg, void *dst, size_t n)
{
    (void)arg;
    memset(dst, 7, n);
    return true;
}

static const struct digest_random sevens = {fill, NULL};

static void verify(const struct digest_credentials *given, struct span target)
{
    static struct digest_ha1s nobody;
    struct digest_keys keys = {0};
    struct digest_server s = {.realm = given->realm,
                              .algs = DIGEST_BIT(DIGEST_ALGS) - 1,
                              .qops = DIGEST_BIT(DIGEST_QOP_AUTH),
                              .lifetime_s = 300,
                              .rfc2069 = DIGEST_RFC2069_SINGLE_USE,
                              .keys = &keys,
                              .replay = digest_replay_new(2),
                              .random = &sevens};
    struct digest_request r = {.method = SPAN("POST"), .target = target, .now_s = 1000};
    struct digest_scope scope = {.realm = given->realm};
    struct digest_users users = {digest_users_given, &nobody};
    struct digest_credentials c = *given;
    char nonce[DIGEST_NONCE_LEN + 1];
    struct digest_accepted who;

    check(s.replay && digest_keys_rotate(&keys, &sevens) == DIGEST_OK);
    check(digest_verify(&s, &r, &c, &users, &who) != DIGEST_OK);
    if (digest_nonce_make(&keys, &scope, 1000, &sevens, nonce) == DIGEST_OK) {
        c.nonce = span_of(nonce);
        enum digest_err e = digest_verify(&s, &r, &c, &users, &who);

        check(e == DIGEST_ELOGIN || e == DIGEST_EURI || e == DIGEST_EQOP);
        check(e == DIGEST_EQOP || (e == DIGEST_EURI) == !digest_uri_is(c.uri, target));
        check(digest_uri_is(c.uri, c.uri));
    }
    check(digest_replay_count(s.replay) == 0);
    digest_replay_free(s.replay);
}

static void credentials(struct room *r, struct span target)
{
    struct digest_credentials c;

    r->scratch = writer_of(r->text, sizeof r->text);
    if (digest_credentials_parse(r->value, &r->scratch, &c) != DIGEST_OK)
        return;
    const struct span all[] = {c.user,     c.realm, c.nonce,  c.uri,
                               c.response, c.nc,    c.cnonce, c.opaque};

    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        inside(r, all[i]);
    check((c.qop != DIGEST_QOP_NONE) == (c.count != 0) && c.response.n == digest_alg_len(c.alg));
    print_and_read(&c);
    verify(&c, target);
}

/* What a client that may do anything answers reads as credentials. */
static void answer(struct span value, struct span target)
{
    static const struct digest_client_policy policy = {
        .algs = DIGEST_BIT(DIGEST_ALGS) - 1, .rfc2069 = true, .basic = true};
    static struct digest_client c;
    static struct digest_attempt a;
    static struct room r;
    const struct digest_origin from = {SPAN("h"), 631, true};
    const struct digest_user user = {SPAN("ann"), SPAN("s3cret"), NULL};
    const struct digest_target t = {SPAN("POST"), target, SPAN_NONE, true};
    struct digest_credentials cred;
    struct buf out;

    memset(&a, 0, sizeof a);
    check(digest_client_init(&c, &policy, SPAN("h"), 631) == DIGEST_OK);
    if (digest_client_challenged(&c, &a, &from, &value, 1) != DIGEST_OK)
        return;
    buf_init(&out, 0);
    enum digest_err e = digest_client_format(&c, &a, &user, &t, &sevens, &out);

    check(e == DIGEST_OK || e == DIGEST_EVALUE || e == DIGEST_ELONG);
    if (e == DIGEST_OK && c.scheme == DIGEST_SCHEME_DIGEST) {
        r.scratch = writer_of(r.text, sizeof r.text);
        check(digest_credentials_parse(buf_span(&out), &r.scratch, &cred) == DIGEST_OK);
        check(span_eq(cred.uri, target));
    }
    e = digest_client_answered(&c, &a, &user, &t, value);
    check(digest_err_answer(e) != DIGEST_FAIL);
    buf_done(&out);
}

static void challenges(struct room *r)
{
    struct span rest = r->value;
    struct digest_challenge c;
    enum digest_err e;
    size_t left = rest.n + 1;

    r->scratch = writer_of(r->text, sizeof r->text);
    while ((e = digest_challenge_next(&rest, &r->scratch, &c)) == DIGEST_OK) {
        const struct span all[] = {c.scheme, c.token68, c.realm, c.nonce, c.opaque};

        for (size_t i = 0; i < ARRAY_LEN(all); i++)
            inside(r, all[i]);
        check(rest.n < left && span_is_token(c.scheme));
        left = rest.n;
    }
    check(rest.n == 0 && (e == DIGEST_END || e == DIGEST_ESYNTAX || e == DIGEST_ELONG));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct room r;
    struct span rest = {(const char *)data, size}, target = span_cut(&rest, '\n');

    while (rest.p) {
        r.value = span_cut(&rest, '\n');
        credentials(&r, target);
        challenges(&r);
        answer(r.value, target);
    }
    return 0;
}
