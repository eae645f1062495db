/* SPDX-License-Identifier: Apache-2.0 */
#include "observe/record.h"

#include "base/clock.h"
#include "base/json.h"

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

static void add_text(struct json *j, const char *key, const char *v)
{
    if (v)
        json_text(j, key, v);
}

static void add_span(struct json *j, const char *key, struct span v)
{
    if (v.n)
        json_span(j, key, bounded(v));
}

static void add_status(struct json *j, const char *key, unsigned status)
{
    if (status)
        json_u64(j, key, status);
}

static void add_protection(struct json *j, const sallyport_report *report)
{
    sallyport_how how = {.size = sizeof how};

    if (!report || sallyport_report_how(report, &how) != 0)
        return;
    json_open(j, "protection", '{');
    json_text(j, "how", sallyport_level_name(how.level));
    add_text(j, "version", how.protocol);
    add_text(j, "cipher", how.cipher);
    add_text(j, "peer", sallyport_report_peer(report));
    json_bool(j, "resumed", how.resumed != 0);
    json_close(j, '}');
}

static void add_findings(struct json *j, const struct record *r)
{
    if (r->n_findings == 0)
        return;
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

static void add_us(struct json *j, const char *key, uint64_t us)
{
    if (us)
        json_milli(j, key, us);
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
    json_text(j, "time", time);
    add_text(j, "id", r->id);
    add_text(j, "follows", r->follows);
    add_span(j, "client", r->client);
    add_span(j, "client_ip", r->client_ip);
    add_span(j, "user", r->user);
    add_text(j, "listener", r->listener);
    add_protection(j, r->report);
}

static void add_what(struct json *j, const struct record *r)
{
    add_text(j, "service", r->service);
    add_text(j, "method", r->method);
    add_span(j, "url_host", r->url_host);
    add_status(j, "icap_status", r->icap_status);
    add_status(j, "http_status", r->http_status);
    json_u64(j, "bytes_in", r->bytes_in);
    json_u64(j, "bytes_out", r->bytes_out);
    json_u64(j, "body_len", r->body_len);
    add_text(j, "sha256", r->sha256);
    add_span(j, "file", r->file);
    add_span(j, "type", r->type);
    add_text(j, "sniffed", r->sniffed);
    if (r->objects > 1)
        json_u64(j, "objects", r->objects);
}

static void add_decision(struct json *j, const struct record *r)
{
    add_text(j, "verdict", r->verdict);
    add_text(j, "action", r->action);
    add_text(j, "cause", r->cause);
    add_text(j, "rule", r->rule);
    add_text(j, "exception", r->exception);
    add_text(j, "bypass", r->bypass);
    if (r->cached)
        json_bool(j, "cached", true);
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
    add_text(&j, "error", r->error);
    add_span(&j, "error_text", r->error_text);
    json_close(&j, '}');
    buf_char(out, '\n');
}
