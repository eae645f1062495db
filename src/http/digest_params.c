/* SPDX-License-Identifier: Apache-2.0 */
#include "http/digest_params.h"

#include "base/utf8.h"
#include "http/digest_params_int.h"

static bool is_digest(struct span scheme)
{
    return span_ieq(scheme, SPAN("Digest"));
}

/* "true" or "false"; absent is false. */
static bool read_flag(struct span value, bool *ret)
{
    *ret = span_ieq(value, SPAN("true"));
    return !value.p || *ret || span_ieq(value, SPAN("false"));
}

/* ---- credentials ---- */

static enum digest_err read_user(const struct digest_list *l, struct writer *scratch,
                                 struct digest_credentials *c)
{
    struct span plain = digest_list_find(l, SPAN("username"));
    struct span ext = digest_list_find(l, SPAN("username*"));

    if (!read_flag(digest_list_find(l, SPAN("userhash")), &c->userhash))
        return DIGEST_EVALUE;
    if ((plain.p == NULL) == (ext.p == NULL) || (ext.p && c->userhash)) /* RFC 7616 3.4 */
        return DIGEST_EUSER;
    c->user = plain;
    c->user_ext = ext.p != NULL;
    return ext.p ? digest_ext_read(ext, scratch, &c->user) : DIGEST_OK;
}

/* RFC 7616 3.4: nc and cnonce with a qop, and only then. */
static enum digest_err read_qop(const struct digest_list *l, struct digest_credentials *c)
{
    struct span qop = digest_list_find(l, SPAN("qop"));
    uint64_t count = 0;

    c->nc = digest_list_find(l, SPAN("nc"));
    c->cnonce = digest_list_find(l, SPAN("cnonce"));
    c->qop = DIGEST_QOP_NONE;
    if (qop.p && !digest_qop_of(qop, &c->qop))
        return DIGEST_EQOP;
    if (!qop.p)
        return c->nc.p || c->cnonce.p ? DIGEST_ECOUNT : DIGEST_OK;
    if (!c->nc.p || c->cnonce.n == 0)
        return DIGEST_ECOUNT;
    if (c->nc.n != 8 || span_hex_u64(c->nc, UINT32_MAX, &count) != OK || count == 0)
        return DIGEST_EVALUE;
    c->count = (uint32_t)count;
    return DIGEST_OK;
}

static enum digest_err read_alg(const struct digest_list *l, enum digest_alg *ret, bool *ret_named)
{
    struct span alg = digest_list_find(l, SPAN("algorithm"));

    *ret = DIGEST_MD5;
    *ret_named = alg.p != NULL;
    return !alg.p || digest_alg_of(alg, ret) ? DIGEST_OK : DIGEST_EALGORITHM;
}

/* |n| hex digits? */
static bool is_hex(struct span s, size_t n)
{
    struct digest_hex hex;

    return digest_hex_of(s, n, &hex);
}

static enum digest_err read_credentials(const struct digest_list *l, struct writer *scratch,
                                        struct digest_credentials *c)
{
    enum digest_err e = read_user(l, scratch, c);

    if (!e)
        e = read_alg(l, &c->alg, &c->alg_named);
    if (!e)
        e = read_qop(l, c);
    if (e)
        return e;
    c->realm = digest_list_find(l, SPAN("realm"));
    c->nonce = digest_list_find(l, SPAN("nonce"));
    c->uri = digest_list_find(l, SPAN("uri"));
    c->response = digest_list_find(l, SPAN("response"));
    c->opaque = digest_list_find(l, SPAN("opaque"));
    if (!c->realm.p || !c->nonce.p || !c->uri.p || !c->response.p)
        return DIGEST_EMISSING;
    return is_hex(c->response, digest_alg_len(c->alg)) ? DIGEST_OK : DIGEST_EVALUE;
}

enum digest_err digest_credentials_parse(struct span value, struct writer *scratch,
                                         struct digest_credentials *ret)
{
    struct span rest = span_trim(value);
    struct digest_credentials c = {0};
    struct digest_list l;

    if (rest.n > DIGEST_TEXT_MAX)
        return DIGEST_ELONG;
    struct span scheme = digest_take_token(&rest);

    if (scheme.n == 0 || (rest.n > 0 && rest.p[0] != ' '))
        return DIGEST_ESYNTAX;
    if (!is_digest(scheme))
        return DIGEST_EOTHER;
    enum digest_err e = digest_list_read(&rest, scratch, &l);

    if (!e)
        e = rest.n > 0 ? DIGEST_ESYNTAX : l.flaw;
    if (!e)
        e = read_credentials(&l, scratch, &c);
    if (!e)
        *ret = c;
    return e;
}

/* ---- writing them ---- */

bool digest_quote(struct span s, struct buf *out)
{
    if (!span_is_field_value(s))
        return false;
    buf_char(out, '"');
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '"' || s.p[i] == '\\')
            buf_char(out, '\\');
        buf_char(out, s.p[i]);
    }
    buf_char(out, '"');
    return true;
}

static bool quoted(struct buf *out, const char *name, struct span value)
{
    buf_text(out, name);
    return digest_quote(value, out);
}

static bool format_user(const struct digest_credentials *c, struct buf *out)
{
    if (!c->user_ext)
        return quoted(out, "Digest username=", c->user);
    if (c->userhash || !utf8_is_valid(c->user) || !span_is_field_value(c->user) ||
        span_find(c->user, '\t') < c->user.n)
        return false;
    buf_text(out, "Digest username*=");
    digest_ext_format(c->user, out);
    return true;
}

static bool format_qop(const struct digest_credentials *c, struct buf *out)
{
    if (c->qop == DIGEST_QOP_NONE)
        return true;
    if (!is_hex(c->nc, 8) || c->cnonce.n == 0 || !quoted(out, ", cnonce=", c->cnonce))
        return false;
    buf_text(out, ", nc=");
    buf_add(out, c->nc);
    buf_text(out, ", qop=");
    buf_text(out, digest_qop_name(c->qop));
    return true;
}

enum digest_err digest_credentials_format(const struct digest_credentials *c, struct buf *out)
{
    if (!format_user(c, out) || !quoted(out, ", realm=", c->realm) ||
        !quoted(out, ", nonce=", c->nonce) || !quoted(out, ", uri=", c->uri) ||
        !is_hex(c->response, digest_alg_len(c->alg)) || !quoted(out, ", response=", c->response) ||
        !format_qop(c, out))
        return DIGEST_EVALUE;
    if (c->alg_named) {
        buf_text(out, ", algorithm=");
        buf_text(out, digest_alg_name(c->alg));
    }
    if (c->opaque.p && !quoted(out, ", opaque=", c->opaque))
        return DIGEST_EVALUE;
    if (c->userhash)
        buf_text(out, ", userhash=true");
    return out->err ? DIGEST_ENOMEM : DIGEST_OK;
}

/* ---- challenges ---- */

bool digest_challenge_is_digest(const struct digest_challenge *c)
{
    return is_digest(c->scheme);
}

static bool is_token68_char(char c)
{
    static const char others[] = "-._~+/";

    return (c >= '0' && c <= '9') || (char_lower(c) >= 'a' && char_lower(c) <= 'z') ||
           memchr(others, c, sizeof others - 1) != NULL;
}

/* RFC 7235 2.1: token68 alone, up to a comma or the end. */
static bool take_token68(struct span *rest, struct span *ret)
{
    size_t n = 0;

    while (n < rest->n && is_token68_char(rest->p[n]))
        n++;
    while (n > 0 && n < rest->n && rest->p[n] == '=')
        n++;
    struct span after = span_sub(*rest, n, SIZE_MAX);

    digest_skip_space(&after);
    if (n == 0 || (after.n > 0 && after.p[0] != ','))
        return false;
    *ret = span_sub(*rest, 0, n);
    *rest = after;
    return true;
}

/* A list of words; those that we do not know do not count. */
static enum digest_err read_qops(struct span value, unsigned *ret)
{
    struct span element;
    enum digest_qop qop;

    *ret = value.p ? 0 : DIGEST_BIT(DIGEST_QOP_NONE);
    while (span_list_next(&value, &element))
        if (digest_qop_of(element, &qop))
            *ret |= DIGEST_BIT(qop);
    return *ret ? DIGEST_OK : DIGEST_EQOP;
}

static enum digest_err read_challenge(const struct digest_list *l, struct digest_challenge *c)
{
    enum digest_err e = l->flaw;

    c->nonce = digest_list_find(l, SPAN("nonce"));
    c->opaque = digest_list_find(l, SPAN("opaque"));
    c->utf8 = span_ieq(digest_list_find(l, SPAN("charset")), SPAN("UTF-8"));
    (void)read_flag(digest_list_find(l, SPAN("stale")), &c->stale);
    (void)read_flag(digest_list_find(l, SPAN("userhash")), &c->userhash);
    if (!e)
        e = read_alg(l, &c->alg, &c->alg_named);
    if (!e)
        e = read_qops(digest_list_find(l, SPAN("qop")), &c->qops);
    if (!e && (!c->realm.p || !c->nonce.p))
        e = DIGEST_EMISSING;
    if (!e && c->qops == DIGEST_BIT(DIGEST_QOP_NONE) && digest_alg_is_sess(c->alg))
        e = DIGEST_EVALUE; /* a -sess without qop has no cnonce to be made of */
    return e;
}

static enum digest_err take_challenge(struct span *rest, struct writer *scratch,
                                      struct digest_challenge *c)
{
    struct digest_list l = {.n = 0};

    c->scheme = digest_take_token(rest);
    if (c->scheme.n == 0)
        return DIGEST_ESYNTAX;
    bool space = rest->n > 0 && rest->p[0] == ' ';

    digest_skip_space(rest);
    if (rest->n > 0 && rest->p[0] != ',' && !space)
        return DIGEST_ESYNTAX;
    if (!take_token68(rest, &c->token68)) {
        bool alone = rest->n == 0 || rest->p[0] == ',';
        enum digest_err e = alone ? DIGEST_OK : digest_list_read(rest, scratch, &l);

        if (e)
            return e;
    }
    c->realm = digest_list_find(&l, SPAN("realm"));
    c->flaw = digest_challenge_is_digest(c) ? read_challenge(&l, c) : l.flaw;
    return DIGEST_OK;
}

enum digest_err digest_challenge_next(struct span *rest, struct writer *scratch,
                                      struct digest_challenge *ret)
{
    struct digest_challenge c = {0};

    if (rest->n > DIGEST_TEXT_MAX) {
        *rest = SPAN_NONE;
        return DIGEST_ELONG;
    }
    while (rest->n > 0 && (rest->p[0] == ',' || rest->p[0] == ' ' || rest->p[0] == '\t'))
        *rest = span_sub(*rest, 1, SIZE_MAX);
    if (rest->n == 0)
        return DIGEST_END;
    enum digest_err e = take_challenge(rest, scratch, &c);

    if (e)
        *rest = SPAN_NONE;
    else
        *ret = c;
    return e;
}

/* ---- what an answer says ---- */

enum digest_err digest_info_parse(struct span value, struct writer *scratch,
                                  struct digest_info *ret)
{
    struct digest_info i = {.qop = DIGEST_QOP_NONE};
    struct digest_list l;

    if (value.n > DIGEST_TEXT_MAX)
        return DIGEST_ELONG;
    enum digest_err e = digest_list_read(&value, scratch, &l);

    if (!e)
        e = value.n > 0 ? DIGEST_ESYNTAX : l.flaw;
    if (e)
        return e;
    struct span qop = digest_list_find(&l, SPAN("qop"));

    i.nextnonce = digest_list_find(&l, SPAN("nextnonce"));
    i.rspauth = digest_list_find(&l, SPAN("rspauth"));
    i.cnonce = digest_list_find(&l, SPAN("cnonce"));
    i.nc = digest_list_find(&l, SPAN("nc"));
    if (qop.p && !digest_qop_of(qop, &i.qop))
        return DIGEST_EVALUE;
    *ret = i;
    return DIGEST_OK;
}
