/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load_answer.c - the checks: head, Encapsulated, offsets, chunk framing, echoed bytes.
 *
 * Stricter than a client has to be: what RFC 3507 lets a server do, but an echo service has no
 * reason to do (chunk extensions, trailers, a 206 that changes something), is a fault here.
 */
#include "load_answer.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define PARTS_MAX 4

struct text {
    const char *p;
    size_t n;
};

struct part {
    struct text name;
    uint64_t off;
};

/* A head while it is being checked. */
struct head {
    struct answer *a;
    const char *p;
    size_t n;        /* bytes that are here */
    size_t icap_len; /* of them, the ICAP head */
    struct text istag, encapsulated, methods, description;
    struct part part[PARTS_MAX];
    unsigned n_parts;
    struct answer_loose loose[ANSWER_LOOSE_MAX];
    unsigned n_loose;
    struct answer_facts facts;
};

static const struct {
    const char *name, *text;
} faults[] = {
#define X(id, name, text) {name, text},
    ANSWER_FAULTS(X)
#undef X
};

const char *answer_fault_name(enum answer_fault f)
{
    return faults[f].name;
}

const char *answer_fault_text(enum answer_fault f)
{
    return faults[f].text;
}

__attribute__((format(printf, 3, 4))) static enum answer_fault
fault(struct answer *a, enum answer_fault f, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    (void)vsnprintf(a->detail, sizeof a->detail, format, ap);
    va_end(ap);
    return f;
}

/* The first bytes of |p| in a form that a terminal survives. */
static const char *printable(const void *p, size_t n, char buf[64])
{
    const unsigned char *s = p;
    size_t o = 0;

    for (size_t i = 0; i < n && o < 56; i++) {
        if (s[i] >= ' ' && s[i] < 127)
            buf[o++] = (char)s[i];
        else
            o += (size_t)snprintf(buf + o, 64 - o, "\\x%02x", s[i]);
    }
    buf[o] = '\0';
    return buf;
}

static bool text_is(struct text t, const char *s)
{
    return t.n == strlen(s) && memcmp(t.p, s, t.n) == 0;
}

static bool text_is_name(struct text t, const char *s)
{
    return t.n == strlen(s) && strncasecmp(t.p, s, t.n) == 0;
}

static struct text text_trim(struct text t)
{
    while (t.n > 0 && (t.p[0] == ' ' || t.p[0] == '\t')) {
        t.p++;
        t.n--;
    }
    while (t.n > 0 && (t.p[t.n - 1] == ' ' || t.p[t.n - 1] == '\t'))
        t.n--;
    return t;
}

/* Digits only, at most 18 of them: no overflow. */
static bool text_number(struct text t, uint64_t *ret)
{
    uint64_t v = 0;

    if (t.n == 0 || t.n > 18)
        return false;
    for (size_t i = 0; i < t.n; i++) {
        if (t.p[i] < '0' || t.p[i] > '9')
            return false;
        v = v * 10 + (uint64_t)(t.p[i] - '0');
    }
    *ret = v;
    return true;
}

/* --- the ICAP head --- */

static enum answer_fault status_line_check(struct head *h, struct text line)
{
    char buf[64];

    if (line.n < 14 || memcmp(line.p, "ICAP/1.0 ", 9) != 0 || line.p[12] != ' ' ||
        !isdigit((unsigned char)line.p[9]) || !isdigit((unsigned char)line.p[10]) ||
        !isdigit((unsigned char)line.p[11]))
        return fault(h->a, FAULT_STATUS_LINE, "got '%s'", printable(line.p, line.n, buf));
    h->facts.status =
        (unsigned)((line.p[9] - '0') * 100 + (line.p[10] - '0') * 10 + (line.p[11] - '0'));
    return FAULT_NONE;
}

static enum answer_fault once(struct head *h, struct text *slot, struct text value)
{
    char buf[64];

    if (slot->p)
        return fault(h->a, FAULT_FIELD, "doubled, value '%s'", printable(value.p, value.n, buf));
    *slot = value;
    return FAULT_NONE;
}

/* Values that differ from answer to answer, and that nothing here looks at. */
static void loose_add(struct head *h, struct text name, struct text value)
{
    bool moment = text_is_name(name, "Date");
    bool extension = name.n > 2 && strncasecmp(name.p, "X-", 2) == 0;

    if ((moment || extension) && value.n > 0 && h->n_loose < ANSWER_LOOSE_MAX)
        h->loose[h->n_loose++] = (struct answer_loose){(size_t)(value.p - h->p), value.n};
}

static enum answer_fault field_check(struct head *h, struct text line)
{
    const char *colon = memchr(line.p, ':', line.n);
    struct text name = {line.p, colon ? (size_t)(colon - line.p) : 0}, value;
    char buf[64];

    for (size_t i = 0; i < name.n; i++)
        if (name.p[i] <= ' ' || name.p[i] == 127)
            name.n = 0;
    if (name.n == 0)
        return fault(h->a, FAULT_FIELD, "got '%s'", printable(line.p, line.n, buf));
    value = text_trim((struct text){colon + 1, line.n - name.n - 1});
    if (text_is_name(name, "ISTag"))
        return once(h, &h->istag, value);
    if (text_is_name(name, "Encapsulated"))
        return once(h, &h->encapsulated, value);
    if (text_is_name(name, "Methods"))
        return once(h, &h->methods, value);
    if (text_is_name(name, "X-Response-Desc"))
        return once(h, &h->description, value);
    if (text_is_name(name, "Connection"))
        h->facts.close = text_is_name(value, "close");
    loose_add(h, name, value);
    return FAULT_NONE;
}

/* Cuts the next line off |rest|. Every line ends in CR LF, and no other CR or LF is in it. */
static bool line_next(struct text *rest, struct text *ret_line)
{
    const char *lf = memchr(rest->p, '\n', rest->n);
    size_t n = lf ? (size_t)(lf - rest->p) : 0;

    if (n == 0 || lf[-1] != '\r' || memchr(rest->p, '\r', n - 1))
        return false;
    *ret_line = (struct text){rest->p, n - 1};
    rest->p += n + 1;
    rest->n -= n + 1;
    return true;
}

static enum answer_fault icap_head_check(struct head *h)
{
    struct text rest = {h->p, h->icap_len - 2}, line;
    enum answer_fault f;
    char buf[64];
    bool first = true;

    while (rest.n > 0) {
        if (!line_next(&rest, &line))
            return fault(h->a, FAULT_FIELD, "bare CR or LF near '%s'",
                         printable(rest.p, rest.n, buf));
        f = first ? status_line_check(h, line) : field_check(h, line);
        if (f != FAULT_NONE)
            return f;
        first = false;
    }
    return FAULT_NONE;
}

/* RFC 3507 4.7: ISTag is required in every answer, a quoted string of at most 32 bytes. */
static enum answer_fault istag_check(const struct head *h)
{
    struct text t = h->istag;
    char buf[64];

    if (h->facts.status == 100 && !t.p)
        return FAULT_NONE; /* nobody sends it there */
    if (!t.p)
        return fault(h->a, FAULT_ISTAG, "missing");
    if (t.n >= 2 && t.p[0] == '"' && t.p[t.n - 1] == '"') {
        t.p++;
        t.n -= 2;
    }
    if (t.n == 0 || t.n > 32)
        return fault(h->a, FAULT_ISTAG, "%zu bytes: '%s'", t.n, printable(t.p, t.n, buf));
    return FAULT_NONE;
}

/* --- Encapsulated --- */

static enum answer_fault encapsulated_parse(struct head *h)
{
    struct text rest = h->encapsulated;
    char buf[64];

    while (rest.n > 0) {
        const char *comma = memchr(rest.p, ',', rest.n);
        size_t n = comma ? (size_t)(comma - rest.p) : rest.n;
        struct text item = text_trim((struct text){rest.p, n}), number;
        const char *eq = item.n > 0 ? memchr(item.p, '=', item.n) : NULL;
        struct part *part = &h->part[h->n_parts];

        if (!eq || h->n_parts == PARTS_MAX)
            return fault(h->a, FAULT_ENCAPSULATED, "got '%s'",
                         printable(h->encapsulated.p, h->encapsulated.n, buf));
        part->name = (struct text){item.p, (size_t)(eq - item.p)};
        number = (struct text){eq + 1, item.n - part->name.n - 1};
        if (!text_number(number, &part->off))
            return fault(h->a, FAULT_ENCAPSULATED, "'%s' is no offset",
                         printable(number.p, number.n, buf));
        h->n_parts++;
        n += comma ? 1 : 0;
        rest.p += n;
        rest.n -= n;
    }
    return FAULT_NONE;
}

/* An echo returns what it was given: one head of the request's kind, and the body if there was one.
 * A block page is a response with a body. Everything else has no parts. */
static enum answer_fault encapsulated_check(struct head *h)
{
    const struct plan *p = h->a->plan;
    bool blocked = h->facts.blocked;
    const char *hdr = p->method == METHOD_REQMOD && !blocked ? "req-hdr" : "res-hdr";
    const char *body = p->method == METHOD_REQMOD && !blocked ? "req-body" : "res-body";
    bool echo = (h->facts.status == 200 || h->facts.status == 206) && p->method != METHOD_OPTIONS;
    char buf[64];

    if (!echo) {
        bool needed = h->facts.status == 200;

        if ((!h->encapsulated.p && !needed) ||
            (h->n_parts == 1 && text_is(h->part[0].name, "null-body") && h->part[0].off == 0))
            return FAULT_NONE;
    } else if (h->n_parts == 2 && text_is(h->part[0].name, hdr)) {
        h->facts.has_body = blocked || p->size >= 0;
        if (text_is(h->part[1].name, h->facts.has_body ? body : "null-body"))
            return FAULT_NONE;
    }
    return fault(h->a, FAULT_ENCAPSULATED, "got '%s'",
                 printable(h->encapsulated.p, h->encapsulated.n, buf));
}

/* The size of the encapsulated head, which begins at offset 0 and ends where the body part is said
 * to begin. It may not be complete yet, but an empty line that comes too early is final. */
static enum answer_fault offsets_check(const struct head *h, bool *ret_complete)
{
    struct text http = {h->p + h->icap_len, h->n - h->icap_len};
    uint64_t want = h->part[h->n_parts - 1].off;
    const char *end = memmem(http.p, http.n, "\r\n\r\n", 4);

    if (h->part[0].off != 0)
        return fault(h->a, FAULT_OFFSET, "the first part begins at %llu",
                     (unsigned long long)h->part[0].off);
    if (end && (uint64_t)(end - http.p) + 4 != want)
        return fault(h->a, FAULT_OFFSET, "the body part is at %llu, but the head has %zu bytes",
                     (unsigned long long)want, (size_t)(end - http.p) + 4);
    if (!end && http.n >= want)
        return fault(h->a, FAULT_OFFSET, "no empty line before offset %llu",
                     (unsigned long long)want);
    *ret_complete = end != NULL;
    return FAULT_NONE;
}

static enum answer_fault http_field_check(struct head *h, struct text line)
{
    const struct plan *p = h->a->plan;
    const char *colon = memchr(line.p, ':', line.n);
    struct text name = {line.p, colon ? (size_t)(colon - line.p) : 0}, value;
    uint64_t n;
    char buf[64];

    if (name.n == 0)
        return fault(h->a, FAULT_HTTP_HEAD, "got '%s'", printable(line.p, line.n, buf));
    if (!text_is_name(name, "Content-Length") || !h->facts.has_body)
        return FAULT_NONE;
    value = text_trim((struct text){colon + 1, line.n - name.n - 1});
    if (h->facts.blocked && text_number(value, &h->facts.body_len))
        return FAULT_NONE;
    if (!text_number(value, &n) || n != (uint64_t)p->size)
        return fault(h->a, FAULT_CONTENT_LENGTH, "%s, but %lld bytes were sent",
                     printable(value.p, value.n, buf), (long long)p->size);
    return FAULT_NONE;
}

static bool is_start_line(const struct head *h, struct text line)
{
    const struct plan *p = h->a->plan;

    if (h->facts.blocked)
        return line.n > 13 && memcmp(line.p, "HTTP/1.1 403 ", 13) == 0;
    return line.n == p->start_line_len && memcmp(line.p, p->start_line, line.n) == 0;
}

static enum answer_fault http_head_check(struct head *h)
{
    struct text rest = {h->p + h->icap_len, (size_t)h->part[h->n_parts - 1].off - 2}, line;
    enum answer_fault f = FAULT_NONE;
    bool first = true;
    char buf[64];

    while (rest.n > 0 && f == FAULT_NONE) {
        if (!line_next(&rest, &line))
            return fault(h->a, FAULT_HTTP_HEAD, "bare CR or LF near '%s'",
                         printable(rest.p, rest.n, buf));
        if (!first)
            f = http_field_check(h, line);
        else if (!is_start_line(h, line))
            f = fault(h->a, FAULT_HTTP_HEAD, "got '%s'", printable(line.p, line.n, buf));
        first = false;
    }
    return f;
}

/* --- all of the head --- */

/* Which statuses this plan can get at all; what depends on the moment is continue_check()'s. */
static enum answer_fault status_check(const struct head *h)
{
    const struct plan *p = h->a->plan;
    unsigned status = h->facts.status;
    bool no_change = p->method != METHOD_OPTIONS && (p->allow_204 || p->preview >= 0);
    bool partial = no_change && p->allow_206 && p->size >= 0; /* ICAP Partial Content 5.1 */
    const char *lf = memchr(h->p, '\n', h->icap_len);
    char buf[64];

    if (status == 100 || (status == 503 && p->refused))
        return FAULT_NONE;
    if ((status == 200 || (status == 204 && no_change) || (status == 206 && partial)) &&
        (p->expect == 0 || p->expect == status))
        return FAULT_NONE;
    return fault(h->a, FAULT_STATUS, "%s",
                 printable(h->p, lf ? (size_t)(lf - h->p) - 1 : h->icap_len, buf));
}

/* 0 in *ret_len: needs more bytes. */
static enum answer_fault head_check(struct head *h, size_t *ret_len)
{
    bool complete = true;
    enum answer_fault f = icap_head_check(h);

    if (f == FAULT_NONE)
        f = status_check(h);
    if (f == FAULT_NONE)
        f = istag_check(h);
    if (f == FAULT_NONE && h->a->plan->method == METHOD_OPTIONS && !h->methods.p)
        f = fault(h->a, FAULT_OPTIONS, "no Methods");
    if (f == FAULT_NONE)
        f = encapsulated_parse(h);
    h->facts.blocked = h->facts.status == 503 ||
                       (h->facts.status == 200 && h->description.p && h->a->plan->blocked &&
                        text_is(h->description, h->a->plan->blocked));
    h->facts.body_len = h->facts.blocked ? 0 : (uint64_t)h->a->plan->size;
    if (f == FAULT_NONE)
        f = encapsulated_check(h);
    if (f != FAULT_NONE || h->n_parts < 2) {
        *ret_len = h->icap_len;
        return f;
    }
    f = offsets_check(h, &complete);
    if (f == FAULT_NONE && complete)
        f = http_head_check(h);
    *ret_len = complete ? h->icap_len + (size_t)h->part[h->n_parts - 1].off : 0;
    return f;
}

static bool memo_is_same(const struct answer_memo_slot *s, const uint8_t *p)
{
    size_t at = 0;

    for (unsigned i = 0; i < s->n_loose; i++) {
        const struct answer_loose *l = &s->loose[i];

        if (memcmp(s->bytes + at, p + at, l->off - at) != 0 || memchr(p + l->off, '\r', l->len) ||
            memchr(p + l->off, '\n', l->len))
            return false;
        at = l->off + l->len;
    }
    return memcmp(s->bytes + at, p + at, s->len - at) == 0;
}

static bool memo_find(const struct answer_memo *m, const uint8_t *p, size_t n, size_t *ret_len,
                      struct answer_facts *ret_facts)
{
    for (unsigned i = 0; i < ANSWER_MEMO_N; i++) {
        size_t len = m->slot[i].len;

        if (len > 0 && len <= n && memo_is_same(&m->slot[i], p)) {
            *ret_len = len;
            *ret_facts = m->slot[i].facts;
            return true;
        }
    }
    return false;
}

static void memo_add(struct answer_memo *m, const struct head *h, size_t len)
{
    unsigned status = h->facts.status;
    struct answer_memo_slot *s = &m->slot[status == 100 ? 0 : status == 204 ? 1 : 2];

    if (len > ANSWER_MEMO_MAX)
        return;
    memcpy(s->bytes, h->p, len);
    memcpy(s->loose, h->loose, sizeof s->loose);
    s->n_loose = h->n_loose;
    s->len = len;
    s->facts = h->facts;
}

/* Garbage is not worth waiting for the end of its head. */
static enum answer_fault prefix_check(struct answer *a, const uint8_t *p, size_t n)
{
    char buf[64];

    if (memcmp(p, "ICAP/1.0 ", n < 9 ? n : 9) != 0)
        return fault(a, FAULT_STATUS_LINE, "got '%s'", printable(p, n, buf));
    return FAULT_NONE;
}

static enum answer_fault head_parse(struct answer *a, const uint8_t *p, size_t n, size_t *ret_len)
{
    struct head h = {.a = a, .p = (const char *)p, .n = n};
    const uint8_t *end;
    enum answer_fault f;

    *ret_len = 0;
    if (memo_find(a->memo, p, n, ret_len, &a->facts))
        return FAULT_NONE;
    f = prefix_check(a, p, n);
    end = memmem(p, n, "\r\n\r\n", 4);
    if (f != FAULT_NONE || !end)
        return f;
    h.icap_len = (size_t)(end - p) + 4;
    f = head_check(&h, ret_len);
    if (f == FAULT_NONE && *ret_len > ANSWER_HEAD_MAX)
        f = fault(a, FAULT_HEAD_LONG, "%zu bytes", *ret_len);
    if (f == FAULT_NONE && *ret_len > 0) {
        a->facts = h.facts;
        memo_add(a->memo, &h, *ret_len);
    }
    return f;
}

/* --- what follows from the head --- */

/* RFC 3507 4.5: 100 Continue comes once, after a preview that is not the whole body. */
static enum answer_fault continue_check(struct answer *a)
{
    const struct plan *p = a->plan;

    if (a->facts.status != 100) {
        if ((a->facts.status == 204 || a->facts.status == 206) && !p->allow_204 && a->continued)
            return fault(a, FAULT_STATUS, "%u after 100 Continue, without Allow: 204",
                         a->facts.status);
        if (p->on_continue == CONTINUE_ALWAYS && plan_has_rest(p) && !a->continued)
            return fault(a, FAULT_CONTINUE, "%u, but no 100 came before it", a->facts.status);
        if (a->facts.status == 200 && plan_has_rest(p) && !a->continued && !a->facts.blocked)
            return fault(a, FAULT_CONTINUE, "200 for a body of which only the preview was sent");
        return FAULT_NONE;
    }
    if (!plan_has_rest(p))
        return fault(a, FAULT_CONTINUE, "100, but there is no more to send");
    if (a->continued)
        return fault(a, FAULT_CONTINUE, "a second 100");
    if (!a->sent)
        return fault(a, FAULT_CONTINUE, "100 before the preview was complete");
    if (p->on_continue == CONTINUE_NEVER)
        return fault(a, FAULT_CONTINUE, "100, but a final answer is expected");
    return FAULT_NONE;
}

static enum answer_event head_done(struct answer *a, enum answer_fault *ret_fault)
{
    a->held_len = 0;
    *ret_fault = continue_check(a);
    if (*ret_fault != FAULT_NONE)
        return ANSWER_EV_FAULT;
    if (a->facts.status == 100) {
        a->continued = true;
        return ANSWER_EV_CONTINUE;
    }
    a->state = a->facts.has_body ? ANSWER_SIZE : ANSWER_DONE;
    return a->facts.has_body ? ANSWER_EV_MORE : ANSWER_EV_DONE;
}

static enum answer_event head_hold(struct answer *a, const uint8_t *p, size_t n,
                                   enum answer_fault *ret_fault)
{
    if (!a->held)
        a->held = malloc(ANSWER_HEAD_MAX);
    if (!a->held || a->held_len + n >= ANSWER_HEAD_MAX) {
        *ret_fault = fault(a, FAULT_HEAD_LONG, "more than %d bytes", ANSWER_HEAD_MAX);
        return ANSWER_EV_FAULT;
    }
    memcpy(a->held + a->held_len, p, n);
    a->held_len += n;
    return ANSWER_EV_MORE;
}

/* The usual head comes whole and is checked where it lies; a cut one is collected first. */
static enum answer_event head_feed(struct answer *a, const uint8_t *p, size_t n, size_t *ret_used,
                                   enum answer_fault *ret_fault)
{
    size_t before = a->held_len, take = n, len;

    if (before > 0) {
        if (take > ANSWER_HEAD_MAX - 1 - before)
            take = ANSWER_HEAD_MAX - 1 - before;
        if (take > 0 && head_hold(a, p, take, ret_fault) == ANSWER_EV_FAULT)
            return ANSWER_EV_FAULT;
        *ret_fault = head_parse(a, a->held, a->held_len, &len);
    } else {
        *ret_fault = head_parse(a, p, n, &len);
    }
    *ret_used = take;
    if (*ret_fault != FAULT_NONE)
        return ANSWER_EV_FAULT;
    if (len == 0 && before == 0)
        return head_hold(a, p, n, ret_fault);
    if (len == 0 && take < n) {
        *ret_fault = fault(a, FAULT_HEAD_LONG, "more than %d bytes", ANSWER_HEAD_MAX);
        return ANSWER_EV_FAULT;
    }
    if (len == 0)
        return ANSWER_EV_MORE;
    *ret_used = len - before;
    return head_done(a, ret_fault);
}

/* --- the body --- */

static int hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static enum answer_fault size_digit(struct answer *a, uint8_t c)
{
    int v = hex_value(c);
    char buf[64];

    if (c == '\r' && a->digits > 0) {
        a->state = ANSWER_SIZE_LF;
        return FAULT_NONE;
    }
    if (c == ';' && a->digits > 0 && a->left == 0 && a->facts.status == 206) {
        a->state = ANSWER_EXTENSION;
        return FAULT_NONE;
    }
    if (v < 0 || a->digits == 15)
        return fault(a, FAULT_CHUNK_SIZE, "'%s' in the size line after %llu body bytes",
                     printable(&c, 1, buf), (unsigned long long)a->body_len);
    a->left = a->left * 16 + (unsigned)v;
    a->digits++;
    return FAULT_NONE;
}

/* ICAP Partial Content 5.2: the original goes on where the bytes that came end, for an echo changes
 * nothing. */
static enum answer_fault extension_done(struct answer *a)
{
    static const char name[] = "use-original-body=";
    struct text t = text_trim((struct text){a->extension, a->extension_len});
    uint64_t from;
    char buf[64];

    if (t.n <= sizeof name - 1 || memcmp(t.p, name, sizeof name - 1) != 0 ||
        !text_number((struct text){t.p + sizeof name - 1, t.n - (sizeof name - 1)}, &from))
        return fault(a, FAULT_ORIGINAL, "got '%s'", printable(t.p, t.n, buf));
    if (from != a->body_len)
        return fault(a, FAULT_ORIGINAL, "from byte %llu on, after %llu bytes of the body",
                     (unsigned long long)from, (unsigned long long)a->body_len);
    a->has_original = true;
    a->state = ANSWER_SIZE_LF;
    return FAULT_NONE;
}

static enum answer_fault extension_byte(struct answer *a, uint8_t c)
{
    if (c == '\r')
        return extension_done(a);
    if (a->extension_len == sizeof a->extension)
        return fault(a, FAULT_ORIGINAL, "more than %zu bytes", sizeof a->extension);
    a->extension[a->extension_len++] = (char)c;
    return FAULT_NONE;
}

static enum answer_fault size_done(struct answer *a)
{
    uint64_t want = a->facts.body_len - a->body_len;

    a->digits = 0;
    a->state = a->left > 0 ? ANSWER_DATA : ANSWER_END_CR;
    if (a->has_original)
        return FAULT_NONE;
    if (a->left == 0 && want > 0)
        return fault(a, FAULT_BODY_LENGTH, "%llu bytes came back of %llu",
                     (unsigned long long)a->body_len, (unsigned long long)a->facts.body_len);
    if (a->left > 0 && want == 0)
        return fault(a, FAULT_BODY_LENGTH, "a chunk of %llu bytes follows the complete body",
                     (unsigned long long)a->left);
    if (a->left > want)
        return fault(a, FAULT_CHUNK_SIZE, "a chunk of %llu bytes, but %llu are left to come",
                     (unsigned long long)a->left, (unsigned long long)want);
    return FAULT_NONE;
}

static enum answer_fault data_fault(struct answer *a, const uint8_t *p, const uint8_t *want)
{
    size_t i = 0;

    while (p[i] == want[i])
        i++;
    return fault(a, FAULT_BODY_BYTE, "byte %llu is 0x%02x, 0x%02x was sent",
                 (unsigned long long)(a->body_len + i), p[i], want[i]);
}

static enum answer_fault data_check(struct answer *a, const uint8_t *p, size_t n, size_t *ret_used)
{
    const uint8_t *want;

    if (n > a->left)
        n = (size_t)a->left;
    if (n > PLAN_CHUNK_LEN)
        n = PLAN_CHUNK_LEN;
    want = a->facts.blocked ? p : plan_bytes(a->plan, &a->body, a->body_len, &n);
    *ret_used = n;
    if (memcmp(p, want, n) != 0)
        return data_fault(a, p, want);
    a->body_len += n;
    a->left -= n;
    if (a->left == 0)
        a->state = ANSWER_DATA_CR;
    return FAULT_NONE;
}

/* One byte of framing: |want| leads to |next|. */
static enum answer_fault framing(struct answer *a, uint8_t c, uint8_t want, enum answer_state next,
                                 enum answer_fault f)
{
    char buf[64];

    if (c != want)
        return fault(a, f, "'%s' after %llu body bytes", printable(&c, 1, buf),
                     (unsigned long long)a->body_len);
    a->state = next;
    return FAULT_NONE;
}

static enum answer_fault body_step(struct answer *a, const uint8_t *p, size_t n, size_t *ret_used)
{
    enum answer_fault f = FAULT_NONE;

    *ret_used = 1;
    switch (a->state) {
    case ANSWER_SIZE: return size_digit(a, p[0]);
    case ANSWER_EXTENSION: return extension_byte(a, p[0]);
    case ANSWER_SIZE_LF:
        f = framing(a, p[0], '\n', ANSWER_SIZE_LF, FAULT_CHUNK_SIZE);
        return f == FAULT_NONE ? size_done(a) : f;
    case ANSWER_DATA: return data_check(a, p, n, ret_used);
    case ANSWER_DATA_CR: return framing(a, p[0], '\r', ANSWER_DATA_LF, FAULT_CHUNK_END);
    case ANSWER_DATA_LF: return framing(a, p[0], '\n', ANSWER_SIZE, FAULT_CHUNK_END);
    case ANSWER_END_CR: return framing(a, p[0], '\r', ANSWER_END_LF, FAULT_TRAILER);
    case ANSWER_END_LF: return framing(a, p[0], '\n', ANSWER_DONE, FAULT_TRAILER);
    case ANSWER_HEAD:
    case ANSWER_DONE: break;
    }
    return f;
}

enum answer_event answer_feed(struct answer *a, const uint8_t *p, size_t n, size_t *ret_used,
                              enum answer_fault *ret_fault)
{
    enum answer_fault f = FAULT_NONE;
    size_t off = 0, used = 0;

    if (a->state == ANSWER_HEAD) {
        enum answer_event ev = head_feed(a, p, n, &used, &f);

        *ret_used = off = used;
        if (ev != ANSWER_EV_MORE || a->state == ANSWER_HEAD) {
            *ret_fault = f;
            return ev;
        }
    }
    while (off < n && a->state != ANSWER_DONE) {
        f = body_step(a, p + off, n - off, &used);
        off += used;
        if (f != FAULT_NONE) {
            *ret_fault = f;
            return ANSWER_EV_FAULT;
        }
    }
    *ret_used = off;
    return a->state == ANSWER_DONE ? ANSWER_EV_DONE : ANSWER_EV_MORE;
}

/* --- around the answer --- */

void answer_reset(struct answer *a, const struct plan_body *body)
{
    a->body = *body;
    a->state = ANSWER_HEAD;
    a->facts = (struct answer_facts){0};
    a->body_len = 0;
    a->left = 0;
    a->digits = 0;
    a->has_original = false;
    a->extension_len = 0;
    a->continued = false;
    a->sent = false;
    a->held_len = 0;
}

bool answer_begun(const struct answer *a)
{
    return a->state != ANSWER_HEAD || a->held_len > 0 || a->continued;
}

enum answer_fault answer_end(struct answer *a)
{
    unsigned long long got = a->body_len;

    switch (a->state) {
    case ANSWER_HEAD:
        if (a->held_len > 0)
            return fault(a, FAULT_HEAD_SHORT, "after %zu bytes of the heads", a->held_len);
        return fault(a, FAULT_CLOSED, a->continued ? "after 100 Continue" : "no byte came");
    case ANSWER_END_CR:
    case ANSWER_END_LF: return fault(a, FAULT_TRAILER, "no empty line after the last chunk");
    case ANSWER_DONE: return FAULT_NONE;
    case ANSWER_SIZE:
        if (a->body_len == a->facts.body_len)
            return fault(a, FAULT_LAST_CHUNK, "after all %llu bytes of the body", got);
        break;
    case ANSWER_EXTENSION:
    case ANSWER_SIZE_LF:
    case ANSWER_DATA:
    case ANSWER_DATA_CR:
    case ANSWER_DATA_LF: break;
    }
    return fault(a, FAULT_BODY_SHORT, "after %llu of %llu bytes", got,
                 (unsigned long long)a->facts.body_len);
}

enum answer_fault answer_extra(struct answer *a, const uint8_t *p, size_t n)
{
    char buf[64];

    return fault(a, a->facts.status == 204 ? FAULT_BODY_AFTER_204 : FAULT_EXTRA,
                 "%zu bytes after a %u: '%s'", n, a->facts.status, printable(p, n, buf));
}
