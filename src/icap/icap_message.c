/* SPDX-License-Identifier: Apache-2.0 */
#include "icap/icap_message.h"

#include <assert.h>

#define ICAP_URI_MAX 4096

const char *icap_method_name(enum icap_method m)
{
    switch (m) {
    case ICAP_OPTIONS: return "OPTIONS";
    case ICAP_REQMOD: return "REQMOD";
    case ICAP_RESPMOD: return "RESPMOD";
    }
    return "?";
}

const char *icap_entity_name(enum icap_entity e)
{
    switch (e) {
    case ICAP_REQ_HDR: return "req-hdr";
    case ICAP_RES_HDR: return "res-hdr";
    case ICAP_REQ_BODY: return "req-body";
    case ICAP_RES_BODY: return "res-body";
    case ICAP_OPT_BODY: return "opt-body";
    case ICAP_NULL_BODY: return "null-body";
    }
    return "?";
}

bool icap_entity_is_body(enum icap_entity e)
{
    return e != ICAP_REQ_HDR && e != ICAP_RES_HDR;
}

/* ---- Encapsulated ---- */

static bool entity_of(struct span name, enum icap_entity *ret)
{
    static const struct {
        struct span name;
        enum icap_entity entity;
    } all[] = {
        {{"req-hdr", 7},   ICAP_REQ_HDR  },
        {{"res-hdr", 7},   ICAP_RES_HDR  },
        {{"req-body", 8},  ICAP_REQ_BODY },
        {{"res-body", 8},  ICAP_RES_BODY },
        {{"opt-body", 8},  ICAP_OPT_BODY },
        {{"null-body", 9}, ICAP_NULL_BODY},
    };

    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        if (name.n == all[i].name.n &&
            (span_eq(name, all[i].name) || span_ieq(name, all[i].name))) {
            *ret = all[i].entity;
            return true;
        }
    return false;
}

/* May |next| stand at this place of the list? Returns what is wrong, or NULL. */
static const char *list_order(const struct icap_encapsulated *e, enum icap_entity next,
                              uint64_t off)
{
    if (e->n == 0)
        return off == 0 ? NULL : "first Encapsulated offset is not 0";
    if (icap_entity_is_body(e->part[e->n - 1].entity))
        return "Encapsulated entity after the body";
    if (off < e->part[e->n - 1].off)
        return "Encapsulated offsets decrease";
    if (!icap_entity_is_body(next) && next <= e->part[e->n - 1].entity)
        return "Encapsulated heads repeated or out of order";
    return NULL;
}

static enum err add_part(struct icap_encapsulated *e, struct span element, size_t off,
                         struct fault *reterr)
{
    struct span rest = element;
    struct span name = span_cut(&rest, '=');
    enum icap_entity entity;
    uint64_t v;
    const char *why;

    if (!entity_of(name, &entity))
        return fault_set(reterr, ERR_PROTO, 400, off, "unknown Encapsulated entity");
    if (span_u64(rest, UINT64_MAX, &v) != OK)
        return fault_set(reterr, ERR_PROTO, 400, off + name.n, "malformed Encapsulated offset");
    why = list_order(e, entity, v);
    if (why)
        return fault_set(reterr, ERR_PROTO, 400, off, why);
    assert(e->n < ICAP_ENCAPSULATED_MAX); /* two heads at most, then the body */
    e->part[e->n].entity = entity;
    e->part[e->n].off = v;
    e->n++;
    return OK;
}

enum err icap_encapsulated_parse(struct span value, struct icap_encapsulated *ret,
                                 struct fault *reterr)
{
    struct icap_encapsulated e = {0};
    struct span rest = value;

    if (value.n == 0)
        return fault_set(reterr, ERR_PROTO, 400, 0, "empty Encapsulated");
    do {
        size_t off = (size_t)(rest.p - value.p);
        struct span element = span_cut(&rest, ',');
        struct span trimmed = span_trim(element);

        TRY(add_part(&e, trimmed, off + (size_t)(trimmed.p - element.p), reterr));
    } while (rest.p);
    if (!icap_entity_is_body(e.part[e.n - 1].entity))
        return fault_set(reterr, ERR_PROTO, 400, value.n, "Encapsulated without a body entity");
    *ret = e;
    return OK;
}

static enum icap_entity last_entity(const struct icap_encapsulated *e)
{
    return e->part[e->n - 1].entity;
}

static bool has_entity(const struct icap_encapsulated *e, enum icap_entity entity)
{
    for (unsigned i = 0; i < e->n; i++)
        if (e->part[i].entity == entity)
            return true;
    return false;
}

bool icap_encapsulated_fits(const struct icap_encapsulated *e, enum icap_method m)
{
    enum icap_entity body;

    if (e->n == 0)
        return m == ICAP_OPTIONS; /* erratum E1 */
    body = last_entity(e);
    switch (m) {
    case ICAP_OPTIONS: return e->n == 1 && (body == ICAP_OPT_BODY || body == ICAP_NULL_BODY);
    case ICAP_REQMOD:
        if (has_entity(e, ICAP_RES_HDR))
            return false;
        /* Erratum E4: heads are optional, but one real part must be there. */
        return body == ICAP_REQ_BODY || (body == ICAP_NULL_BODY && e->n > 1);
    case ICAP_RESPMOD: return body == ICAP_RES_BODY || (body == ICAP_NULL_BODY && e->n > 1);
    }
    return false;
}

bool icap_encapsulated_fits_reply(const struct icap_encapsulated *e, enum icap_method m)
{
    enum icap_entity body;
    bool request, response;

    if (e->n == 0)
        return m == ICAP_OPTIONS;
    body = last_entity(e);
    request = !has_entity(e, ICAP_RES_HDR) &&
              (body == ICAP_REQ_BODY || (body == ICAP_NULL_BODY && e->n > 1));
    response = !has_entity(e, ICAP_REQ_HDR) && has_entity(e, ICAP_RES_HDR) &&
               (body == ICAP_RES_BODY || body == ICAP_NULL_BODY);
    switch (m) {
    case ICAP_OPTIONS: return e->n == 1 && (body == ICAP_OPT_BODY || body == ICAP_NULL_BODY);
    case ICAP_REQMOD: /* RFC 3507 4.8.2: an adapted request, or a response that satisfies it; its
                         head is optional by E4 */
        return request || response || (e->n == 1 && body == ICAP_RES_BODY);
    case ICAP_RESPMOD: return response;
    }
    return false;
}

/* ---- URI ---- */

static enum err uri_fault(struct fault *reterr, size_t off, const char *why)
{
    return fault_set(reterr, ERR_PROTO, 400, off, why);
}

static size_t find_any(struct span s, char a, char b)
{
    size_t i = 0;

    while (i < s.n && s.p[i] != a && s.p[i] != b)
        i++;
    return i;
}

/* RFC 3986 3.2.2: reg-name (with IPv4address), without percent-escapes and sub-delims that no host
 * name has. */
static bool is_reg_name(struct span s)
{
    static const bool may[256] = {
        ['-'] = 1,         ['.'] = 1,         ['_'] = 1,         ['~'] = 1,
        ['0' ... '9'] = 1, ['A' ... 'Z'] = 1, ['a' ... 'z'] = 1,
    };

    for (size_t i = 0; i < s.n; i++)
        if (!may[(unsigned char)s.p[i]])
            return false;
    return s.n > 0;
}

/* Shape only: whether it is an address is for the resolver to say. */
static bool is_ip_literal(struct span s)
{
    for (size_t i = 0; i < s.n; i++)
        if (char_hex(s.p[i]) < 0 && s.p[i] != ':' && s.p[i] != '.')
            return false;
    return s.n >= 2 && s.n <= 45 && span_find(s, ':') < s.n;
}

/* [userinfo "@"] host [":" port]. Userinfo is dropped: some configurations carry it, and it must
 * not come near a log. */
static enum err parse_authority(struct span text, struct span a, struct icap_uri *ret,
                                struct fault *reterr)
{
    size_t at = span_find(a, '@');
    size_t off;
    uint64_t port = 0;

    if (at < a.n)
        a = span_sub(a, at + 1, SIZE_MAX);
    off = (size_t)(a.p - text.p);
    if (a.n && a.p[0] == '[') {
        size_t end = span_find(a, ']');

        ret->host = span_sub(a, 1, end - 1);
        if (end == a.n || !is_ip_literal(ret->host))
            return uri_fault(reterr, off, "malformed IP literal in the URI");
        a = span_sub(a, end + 1, SIZE_MAX);
    } else {
        ret->host = span_sub(a, 0, span_find(a, ':'));
        if (!is_reg_name(ret->host))
            return uri_fault(reterr, off, "malformed host in the URI");
        a = span_sub(a, ret->host.n, SIZE_MAX);
    }
    if (a.n == 0)
        return OK;
    off = (size_t)(a.p - text.p);
    a = a.p[0] == ':' ? span_sub(a, 1, SIZE_MAX) : SPAN("?");
    if (a.n && (span_u64(a, 65535, &port) != OK || port == 0))
        return uri_fault(reterr, off, "malformed port in the URI");
    ret->port = (unsigned)port;
    return OK;
}

/* Decodes once; %25 does not open a second round. A path without escapes, which is nearly every
 * one, stays where it is. */
static enum err decode_path(struct span text, struct span path, struct arena *mem, struct span *ret,
                            struct fault *reterr)
{
    if (path.n && span_find(path, '%') == path.n) {
        while (path.n > 1 && path.p[path.n - 1] == '/')
            path.n--;
        *ret = path;
        return OK;
    }
    char *out = arena_alloc(mem, path.n + 1);
    size_t n = 0;

    if (!out)
        return fault_set(reterr, ERR_NOMEM, 0, 0, "no memory for a URI");
    for (size_t i = 0; i < path.n; i++) {
        size_t off = (size_t)(path.p - text.p) + i;
        unsigned char c = (unsigned char)path.p[i];

        if (c == '%') {
            int high = i + 1 < path.n ? char_hex(path.p[i + 1]) : -1;
            int low = i + 2 < path.n ? char_hex(path.p[i + 2]) : -1;

            if (high < 0 || low < 0)
                return uri_fault(reterr, off, "malformed percent-escape in the URI");
            c = (unsigned char)(high << 4 | low);
            i += 2;
        }
        if (c < 0x20 || c == 0x7f)
            return uri_fault(reterr, off, "control byte in the path");
        out[n++] = (char)c;
    }
    if (n == 0)
        out[n++] = '/'; /* arena_alloc gave path.n + 1 bytes */
    while (n > 1 && out[n - 1] == '/')
        n--;
    *ret = (struct span){out, n};
    return OK;
}

/* Visible ASCII without "#" (a fragment never goes over the wire). */
static bool is_uri_byte(unsigned char c)
{
    return c > ' ' && c < 0x7f && c != '#';
}

static enum err check_uri_text(struct span text, struct fault *reterr)
{
    if (text.n > ICAP_URI_MAX)
        return fault_set(reterr, ERR_LIMIT, 414, ICAP_URI_MAX, "URI too long");
    for (size_t i = 0; i < text.n; i++)
        if (!is_uri_byte((unsigned char)text.p[i]))
            return uri_fault(reterr, i, "byte that may not stand in a URI");
    return OK;
}

enum err icap_uri_parse(struct span text, struct arena *mem, struct icap_uri *ret,
                        struct fault *reterr)
{
    struct icap_uri u = {.secure = span_istarts(text, SPAN("icaps://"))};
    struct span rest, authority;

    TRY(check_uri_text(text, reterr));
    if (!u.secure && !span_istarts(text, SPAN("icap://")))
        return uri_fault(reterr, 0, "the URI is not an absolute icap or icaps URI");
    rest = span_sub(text, u.secure ? 8 : 7, SIZE_MAX);
    authority = span_sub(rest, 0, find_any(rest, '/', '?'));
    TRY(parse_authority(text, authority, &u, reterr));
    rest = span_sub(rest, authority.n, SIZE_MAX);
    struct span path = span_sub(rest, 0, span_find(rest, '?'));

    u.query = span_sub(rest, path.n + 1, SIZE_MAX);
    TRY(decode_path(text, path, mem, &u.path, reterr));
    *ret = u;
    return OK;
}

/* ---- Allow ---- */

struct icap_allow icap_allow_parse(const struct head *h)
{
    const struct span name = SPAN("Allow");
    struct icap_allow allow = {0};

    for (unsigned i = head_find(h, name, 0); i < h->n_fields; i = head_find(h, name, i + 1)) {
        struct span rest = h->fields[i].value;
        struct span token;

        while (span_list_next(&rest, &token)) {
            allow.s204 |= span_eq(token, SPAN("204"));
            allow.s206 |= span_eq(token, SPAN("206"));
            allow.trailers |= span_ieq(token, SPAN("trailers"));
        }
    }
    return allow;
}
