/* SPDX-License-Identifier: Apache-2.0 */
#include "http/digest.h"

#include "http/digest_hash.h"

/* ---- errors ---- */

#define ERR_TEXT(id, answer, text)   [id] = (text),
#define ERR_ANSWER(id, answer, text) [id] = DIGEST_##answer,
static const char *const err_texts[DIGEST_ERR_CODES] = {DIGEST_ERRS(ERR_TEXT)};
static const enum digest_answer err_answers[DIGEST_ERR_CODES] = {DIGEST_ERRS(ERR_ANSWER)};

const char *digest_err_text(enum digest_err e)
{
    return e < DIGEST_ERR_CODES ? err_texts[e] : "an error without a name";
}

enum digest_answer digest_err_answer(enum digest_err e)
{
    return e < DIGEST_ERR_CODES ? err_answers[e] : DIGEST_FAIL;
}

/* ---- words ---- */

static const char *const alg_names[DIGEST_ALGS] = {
    [DIGEST_SHA512_256] = "SHA-512-256",
    [DIGEST_SHA512_256_SESS] = "SHA-512-256-sess",
    [DIGEST_SHA256] = "SHA-256",
    [DIGEST_SHA256_SESS] = "SHA-256-sess",
    [DIGEST_MD5] = "MD5",
    [DIGEST_MD5_SESS] = "MD5-sess",
};
static const char *const qop_names[DIGEST_QOPS] = {
    [DIGEST_QOP_NONE] = "",
    [DIGEST_QOP_AUTH] = "auth",
    [DIGEST_QOP_AUTH_INT] = "auth-int",
};

const char *digest_alg_name(enum digest_alg alg)
{
    return alg_names[alg];
}

const char *digest_qop_name(enum digest_qop qop)
{
    return qop_names[qop];
}

bool digest_alg_of(struct span name, enum digest_alg *ret)
{
    for (unsigned a = 0; a < DIGEST_ALGS; a++)
        if (span_ieq(name, span_of(alg_names[a]))) {
            *ret = (enum digest_alg)a;
            return true;
        }
    return false;
}

bool digest_qop_of(struct span name, enum digest_qop *ret)
{
    for (unsigned q = DIGEST_QOP_AUTH; q < DIGEST_QOPS; q++)
        if (span_ieq(name, span_of(qop_names[q]))) {
            *ret = (enum digest_qop)q;
            return true;
        }
    return false;
}

bool digest_alg_is_sess(enum digest_alg alg)
{
    return alg % 2 == 1;
}

size_t digest_alg_len(enum digest_alg alg)
{
    return alg == DIGEST_MD5 || alg == DIGEST_MD5_SESS ? 32 : 64;
}

unsigned digest_alg_hash(enum digest_alg alg)
{
    return alg / 2;
}

/* ---- hex digits ---- */

struct span digest_hex_span(const struct digest_hex *h)
{
    return (struct span){h->text, h->n};
}

void digest_hex_wipe(struct digest_hex *h)
{
    explicit_bzero(h, sizeof *h);
}

bool digest_hex_of(struct span text, size_t n, struct digest_hex *ret)
{
    struct digest_hex h = {.n = n};

    if (text.n != n || n > DIGEST_HEX_MAX)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (char_hex(text.p[i]) < 0)
            return false;
        h.text[i] = char_lower(text.p[i]);
    }
    *ret = h;
    return true;
}

bool digest_hex_equal(const struct digest_hex *a, const struct digest_hex *b)
{
    return a->n > 0 && a->n == b->n && digest_equal(a->text, b->text, a->n);
}

/* ---- formulas ---- */

/* H of |parts| with colons between them. */
static enum digest_err joined(enum digest_alg alg, const struct span *parts, size_t n,
                              struct digest_hex *ret)
{
    struct digest_hash h = digest_hash_begin(alg);

    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            digest_hash_add(&h, SPAN(":"));
        digest_hash_add(&h, parts[i]);
    }
    return digest_hash_end(&h, ret);
}

enum digest_err digest_ha1(enum digest_alg alg, struct span user, struct span realm,
                           struct span password, struct digest_hex *ret)
{
    const struct span parts[] = {user, realm, password};

    return joined(alg, parts, ARRAY_LEN(parts), ret);
}

enum digest_err digest_userhash(enum digest_alg alg, struct span user, struct span realm,
                                struct digest_hex *ret)
{
    const struct span parts[] = {user, realm};

    return joined(alg, parts, ARRAY_LEN(parts), ret);
}

enum digest_err digest_body_hash(enum digest_alg alg, struct span body, struct digest_hex *ret)
{
    return joined(alg, &body, 1, ret);
}

/* RFC 7616 3.4.2: the -sess variants hash HA1 once more, as hex digits (RFC 2617 errata 1649). */
static enum digest_err session_ha1(const struct digest_proof *p, const struct digest_hex *ha1,
                                   struct digest_hex *ret)
{
    const struct span parts[] = {digest_hex_span(ha1), p->nonce, p->cnonce};

    if (digest_alg_is_sess(p->alg))
        return joined(p->alg, parts, ARRAY_LEN(parts), ret);
    *ret = *ha1;
    return DIGEST_OK;
}

/* RFC 7616 3.4.3. */
static enum digest_err ha2(const struct digest_proof *p, struct digest_hex *ret)
{
    const struct span parts[] = {p->method, p->uri, p->body_hash};

    return joined(p->alg, parts, p->qop == DIGEST_QOP_AUTH_INT ? 3 : 2, ret);
}

enum digest_err digest_response(const struct digest_proof *p, const struct digest_hex *ha1,
                                struct digest_hex *ret)
{
    struct digest_hex first = {0}, second = {0};
    enum digest_err e = session_ha1(p, ha1, &first);

    if (!e)
        e = ha2(p, &second);
    if (!e) {
        const struct span with_qop[] = {
            digest_hex_span(&first), p->nonce, p->nc, p->cnonce, span_of(digest_qop_name(p->qop)),
            digest_hex_span(&second)};
        const struct span without[] = {digest_hex_span(&first), p->nonce, digest_hex_span(&second)};

        e = p->qop == DIGEST_QOP_NONE ? joined(p->alg, without, ARRAY_LEN(without), ret)
                                      : joined(p->alg, with_qop, ARRAY_LEN(with_qop), ret);
    }
    digest_hex_wipe(&first);
    return e;
}
