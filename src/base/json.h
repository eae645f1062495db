/* SPDX-License-Identifier: Apache-2.0 */
/* json.h - append-only JSON writer for records, metrics pages and --json output (reading is
 * jansson's). Keeps the commas itself; every string is escaped, and bytes that are not UTF-8 become
 * U+FFFD, so that a record is always valid.
 *
 * Each call comes in two forms: with the key as a span, and with the key as C text, inline, so that
 * the length of a literal is known when it is compiled. Every request leaves a record of some
 * twenty members. */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include "base/buf.h"

struct json {
    struct buf *out;
    bool comma; /* the next value needs one before it */
};

struct json json_to(struct buf *out);

/* How many bytes of |v|, from its front, stand for themselves in a string: printable ASCII. */
size_t json_plain_len(struct span v);
/* Begins a member by hand: comma and key, and room for |n| bytes behind them, where the caller goes
 * on and then says json_end(). NULL: no room, and the buf says why. Inline, so that keys that are
 * literals cost a few stores; for records, which are written for every request. */
static inline char *json_begin(struct json *j, struct span key, size_t n)
{
    char *p = buf_reserve(j->out, key.n + n + sizeof ",\"\":");

    if (!p)
        return NULL;
    *p = ',';
    p += j->comma;
    j->comma = true;
    if (key.p) {
        *p++ = '"';
        memcpy(p, key.p, key.n);
        p += key.n;
        *p++ = '"';
        *p++ = ':';
    }
    return p;
}
static inline void json_end(struct json *j, const char *p)
{
    j->out->n = (size_t)(p - j->out->p);
}

/* |key| without bytes (p == NULL): an element of an array, or the root. Keys are ours: plain ASCII.
 */
void json_put_open(struct json *j, struct span key, char bracket);
void json_put_span(struct json *j, struct span key, struct span v);
void json_put_null(struct json *j, struct span key);
void json_put_u64(struct json *j, struct span key, uint64_t v);
void json_put_i64(struct json *j, struct span key, int64_t v);
void json_put_bool(struct json *j, struct span key, bool v);
void json_put_milli(struct json *j, struct span key, uint64_t v);
void json_put_float(struct json *j, struct span key, double v);
void json_close(struct json *j, char bracket); /* '}' or ']' */

/* |key| NULL: as above. */
static inline void json_open(struct json *j, const char *key, char bracket) /* '{' or '[' */
{
    json_put_open(j, span_of(key), bracket);
}
static inline void json_span(struct json *j, const char *key, struct span v)
{
    json_put_span(j, span_of(key), v);
}
static inline void json_text(struct json *j, const char *key, const char *v) /* NULL: null */
{
    if (v)
        json_put_span(j, span_of(key), span_of(v));
    else
        json_put_null(j, span_of(key));
}
static inline void json_u64(struct json *j, const char *key, uint64_t v)
{
    json_put_u64(j, span_of(key), v);
}
static inline void json_i64(struct json *j, const char *key, int64_t v)
{
    json_put_i64(j, span_of(key), v);
}
static inline void json_bool(struct json *j, const char *key, bool v)
{
    json_put_bool(j, span_of(key), v);
}
/* |v| / 1000 with three decimals: milliseconds from microseconds. */
static inline void json_milli(struct json *j, const char *key, uint64_t v)
{
    json_put_milli(j, span_of(key), v);
}
/* |v| with two decimals; never NaN or infinity (0 then). */
static inline void json_float(struct json *j, const char *key, double v)
{
    json_put_float(j, span_of(key), v);
}

#endif
