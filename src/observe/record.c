/* SPDX-License-Identifier: Apache-2.0 */
#include "observe/record.h"

#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "observe/record_int.h"
#include "observe/record_upstream.h"

#define ID_LOOP_BITS    12
#define ID_COUNTER_BITS 40

/* The 100 bits of an id, front to back: 48 of the seed, 12 of the loop, 40 of the counter; five to
 * a character. */
void record_id(uint64_t seed, unsigned loop, uint64_t counter, char ret[RECORD_ID_LEN + 1])
{
    static const char digits[] = "0123456789abcdefghjkmnpqrstvwxyz"; /* no i, l, o, u */
    uint64_t tail = ((uint64_t)loop & ((1u << ID_LOOP_BITS) - 1)) << ID_COUNTER_BITS |
                    (counter & ((UINT64_C(1) << ID_COUNTER_BITS) - 1));
    uint64_t head = seed & ((UINT64_C(1) << 48) - 1);

    /* 52 bits in |tail|, 48 in |head|: 50 and 50 after moving two. */
    head = head << 2 | tail >> 50;
    tail &= (UINT64_C(1) << 50) - 1;
    for (unsigned i = 0; i < RECORD_ID_LEN / 2; i++) {
        ret[RECORD_ID_LEN / 2 - 1 - i] = digits[head >> (5 * i) & 31];
        ret[RECORD_ID_LEN - 1 - i] = digits[tail >> (5 * i) & 31];
    }
    ret[RECORD_ID_LEN] = '\0';
}

/* At most RECORD_TEXT_MAX bytes; does not cut a UTF-8 character in two (RFC 3629: 10xxxxxx bytes
 * continue one). */
static struct span bounded(struct span s)
{
    size_t n = RECORD_TEXT_MAX;

    if (s.n <= n)
        return s;
    while (n > RECORD_TEXT_MAX - 4 && ((unsigned char)s.p[n] & 0xc0) == 0x80)
        n--;
    return span_sub(s, 0, n);
}

/* What follows is inline where the key is a literal: then it costs a few stores, and a line has
 * some twenty keys. */
#define INLINE static inline __attribute__((always_inline))

/* One of our own words, which needs no escaping; NULL: none. */
INLINE void add_word(struct json *j, const char *key, const char *v)
{
    const struct span word = span_of(v);
    char *p = v ? json_begin(j, span_of(key), word.n + 2) : NULL;

    if (!p)
        return;
    *p++ = '"';
    memcpy(p, word.p, word.n);
    p += word.n;
    *p++ = '"';
    json_end(j, p);
}

/* Text of any other origin; empty: none. */
INLINE void add_span(struct json *j, const char *key, struct span v)
{
    size_t plain = v.n <= RECORD_TEXT_MAX ? json_plain_len(v) : 0;
    char *p;

    if (v.n == 0)
        return;
    if (plain < v.n) {
        json_put_span(j, span_of(key), bounded(v));
        return;
    }
    p = json_begin(j, span_of(key), v.n + 2);
    if (!p)
        return;
    *p++ = '"';
    memcpy(p, v.p, v.n);
    p += v.n;
    *p++ = '"';
    json_end(j, p);
}

INLINE void add_text(struct json *j, const char *key, const char *v)
{
    add_span(j, key, span_of(v));
}

static char *put_dec(char *p, uint64_t v)
{
    char digits[20];
    size_t at = sizeof digits;

    do {
        digits[--at] = (char)('0' + v % 10);
        v /= 10;
    } while (v);
    for (; at < sizeof digits; at++)
        *p++ = digits[at];
    return p;
}

INLINE void add_number(struct json *j, const char *key, uint64_t v)
{
    char *p = json_begin(j, span_of(key), 20);

    if (p)
        json_end(j, put_dec(p, v));
}

INLINE void add_status(struct json *j, const char *key, unsigned status)
{
    if (status)
        add_number(j, key, status);
}

/* Left out when it is 0: milliseconds with three decimals. */
INLINE void add_us(struct json *j, const char *key, uint64_t us)
{
    unsigned part = (unsigned)(us % 1000);
    char *p = us ? json_begin(j, span_of(key), 24) : NULL;

    if (!p)
        return;
    p = put_dec(p, us / 1000);
    *p++ = '.';
    *p++ = (char)('0' + part / 100);
    *p++ = (char)('0' + part / 10 % 10);
    *p++ = (char)('0' + part % 10);
    json_end(j, p);
}

/* Whose fault, whether that is known or a guess, and what it is made of. */
static void add_first_why(struct json *j, const sallyport_why *why)
{
    add_word(j, "why", why->code);
    add_word(j, "why_side", sallyport_side_name(why->side));
    json_bool(j, "why_certain", (why->flags & SALLYPORT_WHY_CERTAIN) != 0);
    if (!why->source || !why->source[0])
        return;
    add_word(j, "why_source", why->source);
    json_i64(j, "why_raw", why->raw);
}

/* The first thing that was wrong (|first|: before all that |report| has), and what the listener's
 * verification-flags overlooked of the peer's certificate. */
INLINE void add_why(struct json *j, const sallyport_report *report, const sallyport_why *first)
{
    sallyport_why why = {.size = sizeof why};
    bool wrong = first != NULL;

    if (first)
        add_first_why(j, first);
    for (size_t i = 0; sallyport_report_why(report, i, &why) == 0; i++) {
        bool tolerated = strcmp(why.code, "tolerated") == 0;

        if (tolerated)
            add_text(j, "tolerated", why.text);
        else if (!wrong)
            add_first_why(j, &why);
        wrong |= !tolerated;
    }
}

INLINE void put_protection(struct json *j, const sallyport_report *report,
                           const sallyport_why *first)
{
    sallyport_how how = {.size = sizeof how};

    if (sallyport_report_how(report, &how) != 0)
        return;
    add_word(j, "how", sallyport_level_name(how.level));
    add_text(j, "version", how.protocol);
    add_text(j, "cipher", how.cipher);
    if (how.via != SALLYPORT_VIA_CLEAR) {
        add_text(j, "group", how.group);
        add_text(j, "limit", how.limit);
        json_bool(j, "end_to_end", how.end_to_end == SALLYPORT_YES);
    }
    add_text(j, "peer", sallyport_peer_text(sallyport_report_peer(report)));
    json_bool(j, "resumed", how.resumed != 0);
    add_why(j, report, first);
}

void record_put_why(struct json *j, const sallyport_why *why)
{
    add_first_why(j, why);
}

void record_put_protection(struct json *j, const sallyport_report *report, const sallyport_why *why)
{
    put_protection(j, report, why);
}

static void add_protection(struct json *j, const sallyport_report *report)
{
    if (!report)
        return;
    json_open(j, "protection", '{');
    put_protection(j, report, NULL);
    json_close(j, '}');
}

/* Each is an object already. */
static void add_upstreams(struct json *j, const struct record *r)
{
    json_open(j, "upstream", '[');
    for (unsigned i = 0; i < r->n_upstreams; i++) {
        struct span text = record_upstream_text(r->upstreams[i]);
        char *p = json_begin(j, SPAN_NONE, text.n);

        if (!p)
            continue;
        memcpy(p, text.p, text.n);
        json_end(j, p + text.n);
    }
    json_close(j, ']');
}

static void add_findings(struct json *j, const struct record *r)
{
    json_open(j, "findings", '[');
    for (unsigned i = 0; i < r->n_findings; i++) {
        const struct record_finding *f = &r->findings[i];

        json_open(j, NULL, '{');
        add_text(j, "engine", f->engine);
        add_span(j, "name", f->name);
        add_span(j, "where", f->where);
        if (f->note)
            json_bool(j, "note", true);
        json_close(j, '}');
    }
    json_close(j, ']');
}

static void add_timing(struct json *j, const struct record *r)
{
    if (!(r->handshake_us | r->head_us | r->body_us | r->scan_us | r->total_us))
        return;
    json_open(j, "timing_ms", '{');
    add_us(j, "handshake", r->handshake_us);
    add_us(j, "head", r->head_us);
    add_us(j, "body", r->body_us);
    add_us(j, "scan", r->scan_us);
    add_us(j, "total", r->total_us);
    json_close(j, '}');
}

static void add_who(struct json *j, const struct record *r)
{
    char time[ISO_TIME_LEN + 1];

    clock_iso_time(r->time_wall_ms, time);
    add_word(j, "time", time);
    add_word(j, "id", r->id);
    add_word(j, "follows", r->follows);
    add_span(j, "client", r->client);
    add_span(j, "client_ip", r->client_ip);
    add_span(j, "user", r->user);
    add_text(j, "listener", r->listener);
    add_text(j, "tenant", r->tenant);
    add_word(j, "session", r->session);
    add_protection(j, r->report);
    if (r->n_upstreams)
        add_upstreams(j, r);
}

static void add_print(struct json *j, const struct record_print *p)
{
    json_open(j, "print", '{');
    add_text(j, "printer", p->printer);
    add_word(j, "operation", p->operation);
    add_status(j, "job", p->job);
    add_status(j, "printer_job", p->printer_job);
    add_word(j, "channel", p->channel);
    add_span(j, "offered", p->offered);
    add_word(j, "required", p->required);
    add_word(j, "lacked", p->lacked);
    add_word(j, "odd", p->odd);
    add_word(j, "auth", p->auth);
    add_text(j, "login", p->login);
    add_span(j, "agent", p->agent);
    add_word(j, "status", p->status);
    add_status(j, "pages", p->pages);
    json_close(j, '}');
}

static void add_what(struct json *j, const struct record *r)
{
    if (r->print)
        add_print(j, r->print);
    add_text(j, "service", r->service);
    add_word(j, "method", r->method);
    add_span(j, "url_host", r->url_host);
    add_status(j, "icap_status", r->icap_status);
    add_status(j, "http_status", r->http_status);
    add_number(j, "bytes_in", r->bytes_in);
    add_number(j, "bytes_out", r->bytes_out);
    add_number(j, "body_len", r->body_len);
    add_word(j, "sha256", r->sha256);
    add_span(j, "file", r->file);
    add_span(j, "type", r->type);
    add_text(j, "sniffed", r->sniffed);
    if (r->objects > 1)
        add_number(j, "objects", r->objects);
}

static void add_causes(struct json *j, const struct record *r)
{
    json_open(j, "causes", '[');
    for (unsigned i = 0; i < r->n_causes; i++)
        json_text(j, NULL, r->causes[i]);
    json_close(j, ']');
}

static void add_decision(struct json *j, const struct record *r)
{
    add_word(j, "verdict", r->verdict);
    add_word(j, "action", r->action);
    if (r->n_causes)
        add_word(j, "cause", r->causes[0]);
    if (r->n_causes > 1)
        add_causes(j, r);
    add_text(j, "rule", r->rule);
    add_word(j, "exception", r->exception);
    add_word(j, "bypass", r->bypass);
    if (r->cached)
        json_bool(j, "cached", true);
    if (r->n_findings)
        add_findings(j, r);
}

/* The order of the keys is documented in docs/guide and never changes; new ones go where they
 * belong in meaning. */
void record_format(const struct record *r, struct buf *out)
{
    struct json j = json_to(out);

    json_open(&j, NULL, '{');
    add_who(&j, r);
    add_what(&j, r);
    add_decision(&j, r);
    add_timing(&j, r);
    add_word(&j, "error", r->error);
    add_span(&j, "error_text", r->error_text);
    json_close(&j, '}');
    buf_char(out, '\n');
}
