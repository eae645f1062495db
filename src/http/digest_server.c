/* SPDX-License-Identifier: Apache-2.0 */
#include "http/digest_server.h"

#include "base/map.h"
#include "http/digest_uri.h"

#define QOPS_OFFERED (DIGEST_BIT(DIGEST_QOP_AUTH) | DIGEST_BIT(DIGEST_QOP_AUTH_INT))

enum digest_err digest_server_check(const struct digest_server *s)
{
    bool ok = s->realm.n > 0 && s->realm.n <= DIGEST_REALM_MAX && span_is_field_value(s->realm) &&
              s->algs != 0 && s->algs < DIGEST_BIT(DIGEST_ALGS) && s->qops != 0 &&
              (s->qops & ~QOPS_OFFERED) == 0 && s->lifetime_s > 0 && s->keys &&
              s->keys->of[s->keys->newest].set && s->replay && s->random;

    return ok ? DIGEST_OK : DIGEST_ESETTINGS;
}

static struct digest_scope scope_of(const struct digest_server *s, struct span binding)
{
    return (struct digest_scope){.purpose = s->purpose, .realm = s->realm, .binding = binding};
}

/* ---- asking ---- */

static void format_qops(const struct digest_server *s, struct buf *out)
{
    const char *between = "";

    buf_text(out, ", qop=\"");
    for (unsigned q = DIGEST_QOP_AUTH; q < DIGEST_QOPS; q++)
        if (s->qops & DIGEST_BIT(q)) {
            buf_text(out, between);
            buf_text(out, digest_qop_name((enum digest_qop)q));
            between = ",";
        }
    buf_char(out, '"');
}

static enum digest_err format_challenge(const struct digest_server *s, enum digest_alg alg,
                                        const char *nonce, bool stale, struct buf *out)
{
    buf_text(out, s->purpose == DIGEST_PROXY ? "Proxy-Authenticate" : "WWW-Authenticate");
    buf_text(out, ": Digest realm=");
    if (!digest_quote(s->realm, out))
        return DIGEST_ESETTINGS;
    format_qops(s, out);
    buf_text(out, ", algorithm=");
    buf_text(out, digest_alg_name(alg));
    buf_text(out, ", nonce=\"");
    buf_text(out, nonce);
    buf_text(out, "\", charset=UTF-8");
    if (s->userhash)
        buf_text(out, ", userhash=true");
    if (stale)
        buf_text(out, ", stale=true");
    buf_text(out, "\r\n");
    return out->err ? DIGEST_ENOMEM : DIGEST_OK;
}

enum digest_err digest_challenges_format(const struct digest_server *s, bool stale,
                                         struct span binding, uint64_t now_s, struct buf *out)
{
    struct digest_scope scope = scope_of(s, binding);

    for (unsigned a = 0; a < DIGEST_ALGS; a++) {
        char nonce[DIGEST_NONCE_LEN + 1];

        if (!(s->algs & DIGEST_BIT(a)))
            continue;
        enum digest_err e = digest_nonce_make(s->keys, &scope, now_s, s->random, nonce);

        if (!e)
            e = format_challenge(s, (enum digest_alg)a, nonce, stale, out);
        if (e)
            return e;
    }
    return DIGEST_OK;
}

/* ---- who it is ---- */

void digest_accepted_done(struct digest_accepted *a)
{
    explicit_bzero(a, sizeof *a);
}

bool digest_users_given(void *arg, const struct digest_credentials *c, struct digest_hex *ret_ha1)
{
    const struct digest_ha1s *kept = arg;
    const struct digest_hex *ha1 = kept ? &kept->of[digest_alg_hash(c->alg)] : NULL;

    if (!ha1 || ha1->n == 0)
        return false;
    *ret_ha1 = *ha1;
    return true;
}

static enum digest_err check_offered(const struct digest_server *s,
                                     const struct digest_credentials *c)
{
    if (!span_eq(c->realm, s->realm))
        return DIGEST_EREALM;
    if (!(s->algs & DIGEST_BIT(c->alg)))
        return DIGEST_EALGORITHM;
    if (c->qop != DIGEST_QOP_NONE)
        return s->qops & DIGEST_BIT(c->qop) ? DIGEST_OK : DIGEST_EQOP;
    return s->rfc2069 == DIGEST_RFC2069_SINGLE_USE && c->alg == DIGEST_MD5 ? DIGEST_OK
                                                                           : DIGEST_EQOP;
}

/* Body hashes are text of ours or of the caller's: lower case. */
static enum digest_err check_body_hash(const struct digest_credentials *c, struct span body_hash,
                                       struct digest_hex *ret)
{
    *ret = (struct digest_hex){.n = 0};
    if (c->qop != DIGEST_QOP_AUTH_INT)
        return DIGEST_OK;
    return digest_hex_of(body_hash, digest_alg_len(c->alg), ret) ? DIGEST_OK : DIGEST_EBODY;
}

/* HA1 of the user, or for nobody something as long that no password has: the rest takes the same
 * time. */
static bool find_ha1(const struct digest_server *s, const struct digest_credentials *c,
                     const struct digest_users *users, struct digest_hex *ret)
{
    struct digest_hex found = {0};
    size_t n = digest_alg_len(c->alg);
    bool known = users->find(users->arg, c, &found) && found.n == n;

    *ret = (struct digest_hex){.n = n};
    memset(ret->text, '0', n);
    if (known)
        *ret = found;
    digest_hex_wipe(&found);
    return known && (s->userhash || !c->userhash);
}

static enum digest_err check_password(const struct digest_server *s, const struct digest_request *r,
                                      const struct digest_credentials *c,
                                      const struct digest_users *users, struct digest_hex *ret_ha1)
{
    struct digest_hex body_hash, right = {0}, given = {0};
    enum digest_err e = check_body_hash(c, r->body_hash, &body_hash);

    if (e)
        return e;
    bool known = find_ha1(s, c, users, ret_ha1);
    const struct digest_proof proof = {
        .alg = c->alg,
        .qop = c->qop,
        .nonce = c->nonce,
        .nc = c->nc,
        .cnonce = c->cnonce,
        .method = r->method,
        .uri = c->uri,
        .body_hash = digest_hex_span(&body_hash),
    };

    e = digest_response(&proof, ret_ha1, &right);
    bool same = digest_hex_of(c->response, digest_alg_len(c->alg), &given);

    same &= digest_hex_equal(&given, &right);
    digest_hex_wipe(&right);
    if (!e && (!same || !known))
        e = DIGEST_ELOGIN;
    if (e)
        digest_hex_wipe(ret_ha1);
    return e;
}

static enum digest_err record(const struct digest_server *s, const struct digest_credentials *c,
                              const struct digest_nonce *nonce, uint64_t now_s)
{
    uint32_t count = c->qop == DIGEST_QOP_NONE ? DIGEST_REPLAY_WHOLE : c->count;

    return digest_replay_use(s->replay, nonce->random, map_hash(c->user.p, c->user.n), count,
                             nonce->made_s + s->lifetime_s, now_s);
}

/* More than 80 % of its lifetime is over, or it cannot be used again. */
static bool wants_renewal(const struct digest_server *s, const struct digest_credentials *c,
                          const struct digest_nonce *nonce, uint64_t now_s)
{
    uint64_t age = now_s > nonce->made_s ? now_s - nonce->made_s : 0;

    return c->qop == DIGEST_QOP_NONE || age * 5 > (uint64_t)s->lifetime_s * 4;
}

enum digest_err digest_verify(const struct digest_server *s, const struct digest_request *r,
                              const struct digest_credentials *c, const struct digest_users *users,
                              struct digest_accepted *ret)
{
    struct digest_scope scope = scope_of(s, r->binding);
    struct digest_nonce nonce;
    struct digest_hex ha1 = {0};
    enum digest_err e = check_offered(s, c), age;

    if (e)
        return e;
    age = digest_nonce_check(s->keys, &scope, c->nonce, r->now_s, s->lifetime_s, &nonce);
    if (age && age != DIGEST_ESTALE)
        return age;
    if (!digest_uri_is(c->uri, r->target))
        return DIGEST_EURI;
    e = check_password(s, r, c, users, &ha1);
    if (!e)
        e = age ? age : record(s, c, &nonce, r->now_s);
    if (!e)
        *ret = (struct digest_accepted){
            .credentials = *c, .ha1 = ha1, .renew = wants_renewal(s, c, &nonce, r->now_s)};
    digest_hex_wipe(&ha1);
    return e;
}

enum digest_err digest_authorize(const struct digest_server *s, const struct digest_request *r,
                                 const struct span *values, size_t n_values,
                                 const struct digest_users *users, struct writer *scratch,
                                 struct digest_accepted *ret)
{
    struct digest_credentials c;

    if (n_values != 1)
        return n_values == 0 ? DIGEST_ENOAUTH : DIGEST_EFIELDS;
    enum digest_err e = digest_credentials_parse(values[0], scratch, &c);

    return e ? e : digest_verify(s, r, &c, users, ret);
}

/* One that is over, or ours no longer, is of no use to anybody. */
static bool overheard(const struct digest_server *s, const struct digest_credentials *c,
                      struct span binding, uint64_t now_s)
{
    struct digest_scope scope = scope_of(s, binding);
    struct digest_nonce nonce;

    if (digest_nonce_check(s->keys, &scope, c->nonce, now_s, s->lifetime_s, &nonce) != DIGEST_OK)
        return false;
    (void)!digest_replay_burn(s->replay, nonce.random, nonce.made_s + s->lifetime_s, now_s);
    return true;
}

bool digest_overheard(const struct digest_server *s, const struct span *values, size_t n_values,
                      struct span binding, uint64_t now_s, struct writer *scratch)
{
    struct digest_credentials c;
    bool any = false;

    for (size_t i = 0; i < n_values; i++) {
        struct writer room = *scratch;

        if (digest_credentials_parse(values[i], &room, &c) == DIGEST_OK)
            any |= overheard(s, &c, binding, now_s);
    }
    return any;
}

/* ---- what the answer says ---- */

static enum digest_err format_proof(const struct digest_accepted *a, struct span body_hash,
                                    struct buf *out)
{
    const struct digest_credentials *c = &a->credentials;
    const struct digest_proof proof = {
        .alg = c->alg,
        .qop = c->qop,
        .nonce = c->nonce,
        .nc = c->nc,
        .cnonce = c->cnonce,
        .method = SPAN_NONE,
        .uri = c->uri,
        .body_hash = body_hash,
    };
    struct digest_hex rspauth;
    enum digest_err e = digest_response(&proof, &a->ha1, &rspauth);

    if (e)
        return e;
    buf_text(out, "qop=");
    buf_text(out, digest_qop_name(c->qop));
    buf_text(out, ", rspauth=\"");
    buf_add(out, digest_hex_span(&rspauth));
    buf_text(out, "\", cnonce=");
    if (!digest_quote(c->cnonce, out))
        return DIGEST_EVALUE;
    buf_text(out, ", nc=");
    buf_add(out, c->nc);
    return DIGEST_OK;
}

enum digest_err digest_info_format(const struct digest_server *s, const struct digest_accepted *a,
                                   struct span body_hash, struct span binding, uint64_t now_s,
                                   struct buf *out)
{
    struct digest_scope scope = scope_of(s, binding);
    const struct digest_credentials *c = &a->credentials;
    struct digest_hex body;
    bool proves = c->qop != DIGEST_QOP_NONE && check_body_hash(c, body_hash, &body) == DIGEST_OK;
    enum digest_err e = proves ? format_proof(a, digest_hex_span(&body), out) : DIGEST_OK;

    if (!e && a->renew) {
        char nonce[DIGEST_NONCE_LEN + 1];

        e = digest_nonce_make(s->keys, &scope, now_s, s->random, nonce);
        if (!e) {
            buf_text(out, proves ? ", nextnonce=\"" : "nextnonce=\"");
            buf_text(out, nonce);
            buf_char(out, '"');
        }
    }
    return e ? e : out->err ? DIGEST_ENOMEM : DIGEST_OK;
}
