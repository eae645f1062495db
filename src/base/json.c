/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json.h"

#include <math.h>

#include "base/utf8.h"

struct json json_to(struct buf *out)
{
    return (struct json){.out = out};
}

/* Runs of plain bytes are added in one go; only the odd byte costs a call. */
static void json_escape(struct buf *out, struct span v)
{
    size_t from = 0, i = 0;

    buf_char(out, '"');
    while (i < v.n) {
        unsigned char c = (unsigned char)v.p[i];
        size_t len = utf8_len(span_sub(v, i, SIZE_MAX));
        /* C1 controls (U+0080..U+009F): a terminal that shows a record may obey them. */
        bool c1 = len == 2 && c == 0xc2 && (unsigned char)v.p[i + 1] < 0xa0;

        if (len > 0 && !c1 && c >= 0x20 && c != '"' && c != '\\' && c != 0x7f) {
            i += len;
            continue;
        }
        buf_add(out, span_sub(v, from, i - from));
        if (c1)
            c = (unsigned char)v.p[++i];
        if (len == 0)
            buf_text(out, "\\ufffd");
        else if (c == '"' || c == '\\')
            buf_fmt(out, "\\%c", c);
        else
            buf_fmt(out, "\\u%04x", c);
        from = ++i;
    }
    buf_add(out, span_sub(v, from, SIZE_MAX));
    buf_char(out, '"');
}

static void json_key(struct json *j, const char *key)
{
    if (j->comma)
        buf_char(j->out, ',');
    j->comma = true;
    if (key) {
        buf_char(j->out, '"');
        buf_text(j->out, key);
        buf_text(j->out, "\":");
    }
}

void json_open(struct json *j, const char *key, char bracket)
{
    json_key(j, key);
    buf_char(j->out, bracket);
    j->comma = false;
}

void json_close(struct json *j, char bracket)
{
    buf_char(j->out, bracket);
    j->comma = true;
}

void json_span(struct json *j, const char *key, struct span v)
{
    json_key(j, key);
    json_escape(j->out, v);
}

void json_text(struct json *j, const char *key, const char *v)
{
    if (v) {
        json_span(j, key, span_of(v));
        return;
    }
    json_key(j, key);
    buf_text(j->out, "null");
}

void json_u64(struct json *j, const char *key, uint64_t v)
{
    json_key(j, key);
    buf_dec(j->out, v);
}

void json_i64(struct json *j, const char *key, int64_t v)
{
    json_key(j, key);
    if (v < 0)
        buf_char(j->out, '-');
    buf_dec(j->out, v < 0 ? 0 - (uint64_t)v : (uint64_t)v);
}

void json_bool(struct json *j, const char *key, bool v)
{
    json_key(j, key);
    buf_text(j->out, v ? "true" : "false");
}

void json_milli(struct json *j, const char *key, uint64_t v)
{
    json_key(j, key);
    buf_dec(j->out, v / 1000);
    buf_char(j->out, '.');
    for (uint64_t part = v % 1000, unit = 100; unit > 0;
         unit /= 10) /* in every record: no printf */
        buf_char(j->out, (char)('0' + part / unit % 10));
}

void json_float(struct json *j, const char *key, double v)
{
    json_key(j, key);
    buf_fmt(j->out, "%.2f", isfinite(v) ? v : 0.0);
}
