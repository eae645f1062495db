/* SPDX-License-Identifier: Apache-2.0 */
#include "http/digest_client.h"

#include <assert.h>
#include <stdio.h>

#include "base/utf8.h"
#include "http/digest_base64.h"

/* ---- what is remembered ---- */

static struct span text_span(const struct digest_text *t)
{
    return (struct span){t->p, t->n};
}

static bool text_set(struct digest_text *t, struct span s)
{
    if (s.n > sizeof t->p)
        return false;
    if (s.p)
        memcpy(t->p, s.p, s.n);
    t->n = s.n;
    return true;
}

enum digest_err digest_client_init(struct digest_client *c,
                                   const struct digest_client_policy *policy, struct span host,
                                   uint16_t port)
{
    *c = (struct digest_client){.policy = policy, .port = port};
    if (host.n > DIGEST_CLIENT_HOST_MAX)
        return DIGEST_ELONG;
    (void)span_copy(host, c->host, sizeof c->host);
    return DIGEST_OK;
}

void digest_client_forget(struct digest_client *c)
{
    struct digest_client kept = {.policy = c->policy, .port = c->port};

    (void)span_copy(span_of(c->host), kept.host, sizeof kept.host);
    explicit_bzero(c, sizeof *c);
    *c = kept;
}

bool digest_client_is_ready(const struct digest_client *c)
{
    if (c->scheme != DIGEST_SCHEME_DIGEST)
        return c->scheme == DIGEST_SCHEME_BASIC;
    return c->qop == DIGEST_QOP_NONE ? !c->used : c->next_nc != 0;
}

/* Counts begin anew with another nonce only: some servers send the same one again. */
static void set_nonce(struct digest_client *c, struct span nonce)
{
    if (c->next_nc != 0 && span_eq(text_span(&c->nonce), nonce))
        return;
    if (!text_set(&c->nonce, nonce))
        return;
    c->next_nc = 1;
    c->used = false;
    c->cnonce[0] = '\0';
}

/* ---- choosing a challenge ---- */

struct choice {
    struct digest_challenge best;
    unsigned rank;       /* 0: none yet */
    enum digest_err why; /* there is none */
};

/* The larger the better; SHA-256 before SHA-512-256, see the header. */
static unsigned rank_of(const struct digest_challenge *ch)
{
    static const unsigned ranks[DIGEST_ALGS] = {
        [DIGEST_SHA256] = 7,          [DIGEST_SHA256_SESS] = 6, [DIGEST_SHA512_256] = 5,
        [DIGEST_SHA512_256_SESS] = 4, [DIGEST_MD5] = 3,         [DIGEST_MD5_SESS] = 2,
    };

    return digest_challenge_is_digest(ch) ? ranks[ch->alg] : 1;
}

static bool is_basic(const struct digest_challenge *ch)
{
    return span_ieq(ch->scheme, SPAN("Basic"));
}

/* DIGEST_ENONE: no qop that we may use. */
static enum digest_err pick_qop(const struct digest_client *c, const struct digest_challenge *ch,
                                enum digest_qop *ret)
{
    const struct digest_client_policy *p = c->policy;

    *ret = DIGEST_QOP_NONE;
    if (ch->qops & DIGEST_BIT(DIGEST_QOP_AUTH))
        *ret = DIGEST_QOP_AUTH;
    else if (p->auth_int && ch->qops & DIGEST_BIT(DIGEST_QOP_AUTH_INT))
        *ret = DIGEST_QOP_AUTH_INT;
    else if (!p->rfc2069 || p->require_rspauth || !(ch->qops & DIGEST_BIT(DIGEST_QOP_NONE)))
        return DIGEST_ENONE;
    return DIGEST_OK;
}

static enum digest_err may_answer(const struct digest_client *c, const struct digest_challenge *ch,
                                  bool protected)
{
    const struct digest_client_policy *p = c->policy;
    enum digest_qop qop;

    if (is_basic(ch)) {
        if (!p->basic || p->require_rspauth || !protected)
            return DIGEST_EBASIC;
        if (ch->flaw || !ch->realm.p)
            return DIGEST_ENONE;
    } else if (!digest_challenge_is_digest(ch) || ch->flaw || !(p->algs & DIGEST_BIT(ch->alg)) ||
               pick_qop(c, ch, &qop)) {
        return DIGEST_ENONE;
    }
    struct span realm = p->realm.n > 0                    ? p->realm
                        : c->scheme != DIGEST_SCHEME_NONE ? text_span(&c->realm)
                                                          : ch->realm;

    if (!span_eq(realm, ch->realm))
        return DIGEST_EREALM;
    return ch->realm.n > DIGEST_CLIENT_TEXT_MAX || ch->nonce.n > DIGEST_CLIENT_TEXT_MAX ||
                   ch->opaque.n > DIGEST_CLIENT_TEXT_MAX
               ? DIGEST_ELONG
               : DIGEST_OK;
}

/* Of several reasons the one that says most. */
static void refuse(struct choice *choice, enum digest_err why)
{
    if (choice->why == DIGEST_ENONE || (choice->why == DIGEST_EBASIC && why != DIGEST_ENONE))
        choice->why = why;
}

static void choose(const struct digest_client *c, struct span value, bool protected,
                   struct writer *scratch, struct choice *choice)
{
    for (;;) {
        struct digest_challenge ch;
        enum digest_err e = digest_challenge_next(&value, scratch, &ch);

        if (e == DIGEST_END)
            return;
        if (e) {
            refuse(choice, e);
            return;
        }
        e = may_answer(c, &ch, protected);
        if (e) {
            refuse(choice, e);
        } else if (rank_of(&ch) > choice->rank) {
            choice->rank = rank_of(&ch);
            choice->best = ch;
        }
    }
}

static void remember(struct digest_client *c, const struct digest_challenge *ch)
{
    bool basic = is_basic(ch);

    if (!text_set(&c->realm, ch->realm))
        return;
    if (basic) {
        c->scheme = DIGEST_SCHEME_BASIC;
        return;
    }
    if (c->scheme != DIGEST_SCHEME_DIGEST || c->alg != ch->alg)
        c->next_nc = 0;
    c->scheme = DIGEST_SCHEME_DIGEST;
    c->alg = ch->alg;
    c->alg_named = ch->alg_named;
    c->has_opaque = ch->opaque.p != NULL;
    (void)text_set(&c->opaque, ch->opaque);
    c->userhash = ch->userhash;
    c->utf8 = ch->utf8;
    (void)pick_qop(c, ch, &c->qop);
    set_nonce(c, ch->nonce);
    c->used = false; /* the server asks for it */
}

/* What the new challenge says about the credentials that were sent, if any. */
static enum digest_err judge(struct digest_attempt *a, const struct digest_challenge *ch)
{
    bool stale = a->sent_digest && !is_basic(ch) && ch->stale;
    bool was_sent = a->sent, was_fresh = a->fresh;

    a->fresh = true;
    if (!was_sent)
        return DIGEST_OK;
    if (stale ? a->redone : was_fresh)
        return stale ? DIGEST_ESTALE : DIGEST_ELOGIN;
    a->redone = true;
    return DIGEST_OK;
}

enum digest_err digest_client_challenged(struct digest_client *c, struct digest_attempt *a,
                                         const struct digest_origin *from,
                                         const struct span *values, size_t n_values)
{
    char room[DIGEST_TEXT_MAX];
    struct writer scratch = writer_of(room, sizeof room);
    struct choice choice = {.why = DIGEST_ENONE};

    if (from->port != c->port || !span_ieq(from->host, span_of(c->host)))
        return DIGEST_EHOST;
    if (c->policy->refuse_clear && !from->protected)
        return DIGEST_ECLEAR;
    for (size_t i = 0; i < n_values; i++)
        choose(c, values[i], from->protected, &scratch, &choice);
    if (choice.rank == 0)
        return choice.why;
    remember(c, &choice.best);
    return judge(a, &choice.best);
}

/* ---- credentials ---- */

static bool name_is_good(struct span name)
{
    return name.n > 0 && utf8_is_valid(name) && span_is_field_value(name) &&
           span_find(name, ':') == name.n && span_find(name, '\t') == name.n;
}

#define BASIC_MAX (128u + 1u + 1024u) /* the longest user, a colon, the longest password */

/* RFC 7617 2. */
static enum digest_err format_basic(const struct digest_client *c, const struct digest_user *user,
                                    const struct digest_target *target, struct buf *out)
{
    char room[BASIC_MAX];
    struct writer w = writer_of(room, sizeof room);

    if (!c->policy->basic || !target->protected)
        return DIGEST_ECLEAR;
    if (!user->password.p || !span_is_field_value(user->password))
        return DIGEST_EUSER;
    write_span(&w, user->name);
    write_u8(&w, ':');
    write_span(&w, user->password);
    buf_text(out, "Basic ");
    digest_base64(writer_span(&w), out);
    bool whole = !w.err;

    explicit_bzero(room, sizeof room);
    return !whole ? DIGEST_ELONG : out->err ? DIGEST_ENOMEM : DIGEST_OK;
}

static enum digest_err find_ha1(enum digest_alg alg, struct span realm,
                                const struct digest_user *user, struct digest_hex *ret)
{
    if (!user->ha1s)
        return user->password.p ? digest_ha1(alg, user->name, realm, user->password, ret)
                                : DIGEST_EUSER;
    *ret = user->ha1s->of[digest_alg_hash(alg)];
    return ret->n == digest_alg_len(alg) ? DIGEST_OK : DIGEST_EUSER;
}

/* Nonce, count and cnonce of this request. */
static enum digest_err begin(struct digest_client *c, struct digest_attempt *a,
                             const struct digest_random *random)
{
    uint8_t raw[16];

    a->alg = c->alg;
    a->qop = c->qop;
    a->nonce = c->nonce;
    a->nc[0] = a->cnonce[0] = '\0';
    if (c->qop == DIGEST_QOP_NONE)
        return DIGEST_OK;
    (void)snprintf(a->nc, sizeof a->nc, "%08x", (unsigned)c->next_nc);
    if (digest_alg_is_sess(c->alg) && c->cnonce[0]) {
        memcpy(a->cnonce, c->cnonce, sizeof a->cnonce);
        return DIGEST_OK;
    }
    static_assert(BASE64_URL_LEN(sizeof raw) == DIGEST_CNONCE_LEN, "16 bytes");
    if (!random->fill(random->arg, raw, sizeof raw))
        return DIGEST_ERANDOM;
    digest_base64_url(raw, sizeof raw, a->cnonce);
    memcpy(c->cnonce, a->cnonce, sizeof c->cnonce);
    return DIGEST_OK;
}

static struct digest_proof proof_of(const struct digest_attempt *a, struct span method,
                                    const struct digest_target *target)
{
    return (struct digest_proof){
        .alg = a->alg,
        .qop = a->qop,
        .nonce = text_span(&a->nonce),
        .nc = span_of(a->nc),
        .cnonce = span_of(a->cnonce),
        .method = method,
        .uri = target->uri,
        .body_hash = target->body_hash,
    };
}

static bool is_ascii(struct span s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] >= 0x80)
            return false;
    return true;
}

/* RFC 7616 3.4: the name's hash where the server takes it; username* where it says that it reads
 * UTF-8 and the name needs that. */
static enum digest_err set_user(const struct digest_client *c, const struct digest_user *user,
                                struct digest_hex *hash, struct digest_credentials *cred)
{
    cred->user = user->name;
    cred->userhash = c->userhash;
    cred->user_ext = !c->userhash && c->utf8 && !is_ascii(user->name);
    if (!c->userhash)
        return DIGEST_OK;
    enum digest_err e = digest_userhash(c->alg, user->name, text_span(&c->realm), hash);

    cred->user = digest_hex_span(hash);
    return e;
}

static enum digest_err format_credentials(const struct digest_client *c,
                                          const struct digest_attempt *a,
                                          const struct digest_user *user,
                                          const struct digest_proof *proof,
                                          const struct digest_hex *response, struct buf *out)
{
    struct digest_hex hash = {0};
    struct digest_credentials cred = {
        .alg = a->alg,
        .alg_named = c->alg_named,
        .qop = a->qop,
        .realm = text_span(&c->realm),
        .nonce = proof->nonce,
        .uri = proof->uri,
        .response = digest_hex_span(response),
        .nc = proof->nc,
        .cnonce = proof->cnonce,
        .opaque = c->has_opaque ? text_span(&c->opaque) : SPAN_NONE,
    };
    size_t before = out->n;
    enum digest_err e = set_user(c, user, &hash, &cred);

    if (!e)
        e = digest_credentials_format(&cred, out);
    return !e && out->n - before > DIGEST_TEXT_MAX ? DIGEST_ELONG : e;
}

static enum digest_err format_digest(struct digest_client *c, struct digest_attempt *a,
                                     const struct digest_user *user,
                                     const struct digest_target *target,
                                     const struct digest_random *random, struct buf *out)
{
    struct digest_hex ha1 = {0}, response = {0};

    if (c->qop == DIGEST_QOP_AUTH_INT && target->body_hash.n != digest_alg_len(c->alg))
        return DIGEST_EBODY;
    enum digest_err e = begin(c, a, random);
    struct digest_proof proof = proof_of(a, target->method, target);

    if (!e)
        e = find_ha1(c->alg, text_span(&c->realm), user, &ha1);
    if (!e)
        e = digest_response(&proof, &ha1, &response);
    if (!e)
        e = format_credentials(c, a, user, &proof, &response, out);
    digest_hex_wipe(&ha1);
    return e;
}

enum digest_err digest_client_format(struct digest_client *c, struct digest_attempt *a,
                                     const struct digest_user *user,
                                     const struct digest_target *target,
                                     const struct digest_random *random, struct buf *out)
{
    if (!digest_client_is_ready(c))
        return DIGEST_ENONE;
    if (c->policy->refuse_clear && !target->protected)
        return DIGEST_ECLEAR;
    if (!name_is_good(user->name))
        return DIGEST_EUSER;
    bool basic = c->scheme == DIGEST_SCHEME_BASIC;
    enum digest_err e =
        basic ? format_basic(c, user, target, out) : format_digest(c, a, user, target, random, out);

    if (e)
        return e;
    a->sent = true;
    a->sent_digest = !basic;
    if (!basic) {
        c->used = true;
        c->next_nc += c->qop != DIGEST_QOP_NONE; /* after the last one there is no other: 0 */
    }
    return DIGEST_OK;
}

/* ---- the answer ---- */

/* RFC 7616 3.5: the proof belongs to this request, and only who knows the password can make it. */
static enum digest_err check_proof(const struct digest_client *c, const struct digest_attempt *a,
                                   const struct digest_user *user,
                                   const struct digest_target *target,
                                   const struct digest_info *info)
{
    struct digest_proof proof = proof_of(a, SPAN_NONE, target);
    struct digest_hex ha1 = {0}, right = {0}, given;
    uint64_t nc = 0, sent = 0;

    if (info->qop != DIGEST_QOP_NONE)
        proof.qop = info->qop; /* the answer may have another one than the request */
    if ((info->cnonce.p && !span_eq(info->cnonce, proof.cnonce)) ||
        (info->nc.p && (span_hex_u64(info->nc, UINT32_MAX, &nc) ||
                        span_hex_u64(proof.nc, UINT32_MAX, &sent) || nc != sent)) ||
        !digest_hex_of(info->rspauth, digest_alg_len(a->alg), &given) ||
        (proof.qop == DIGEST_QOP_AUTH_INT && proof.body_hash.n != digest_alg_len(a->alg)))
        return DIGEST_ERSPAUTH;
    enum digest_err e = find_ha1(a->alg, text_span(&c->realm), user, &ha1);

    if (!e)
        e = digest_response(&proof, &ha1, &right);
    if (!e && !digest_hex_equal(&given, &right))
        e = DIGEST_ERSPAUTH;
    digest_hex_wipe(&ha1);
    digest_hex_wipe(&right);
    return e;
}

enum digest_err digest_client_answered(struct digest_client *c, const struct digest_attempt *a,
                                       const struct digest_user *user,
                                       const struct digest_target *target, struct span info)
{
    char room[DIGEST_TEXT_MAX];
    struct writer scratch = writer_of(room, sizeof room);
    struct digest_info i;
    enum digest_err e = digest_info_parse(info, &scratch, &i);

    if (!a->sent_digest)
        return c->policy->require_rspauth ? DIGEST_ERSPAUTH : DIGEST_OK;
    if (e)
        return c->policy->require_rspauth ? DIGEST_ERSPAUTH : e;
    bool proves = i.rspauth.p && a->qop != DIGEST_QOP_NONE; /* RFC 2069 has none */

    if (proves)
        e = check_proof(c, a, user, target, &i);
    else if (c->policy->require_rspauth)
        e = DIGEST_ERSPAUTH;
    if (!e && i.nextnonce.n > 0 && c->scheme == DIGEST_SCHEME_DIGEST)
        set_nonce(c, i.nextnonce);
    return e;
}
