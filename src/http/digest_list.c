/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of auth-params, and the encoding of username*. */
#include "base/utf8.h"
#include "http/digest_params_int.h"

void digest_skip_space(struct span *s)
{
    while (s->n > 0 && (s->p[0] == ' ' || s->p[0] == '\t'))
        *s = span_sub(*s, 1, SIZE_MAX);
}

struct span digest_take_token(struct span *s)
{
    size_t n = 0;

    while (n < s->n && char_is_token((unsigned char)s->p[n]))
        n++;
    struct span token = span_sub(*s, 0, n);

    *s = span_sub(*s, n, SIZE_MAX);
    return token;
}

/* ---- values ---- */

static bool is_text(char c)
{
    return ((unsigned char)c >= 0x20 && c != 0x7f) || c == '\t';
}

/* RFC 9110 5.6.4: |raw| is what stands between the quotes. */
static enum digest_err unescape(struct span raw, struct writer *scratch, struct span *ret)
{
    size_t from = scratch->n;

    for (size_t i = 0; i < raw.n; i++) {
        if (raw.p[i] == '\\')
            i++;
        write_u8(scratch, (uint8_t)raw.p[i]);
    }
    if (scratch->err)
        return DIGEST_ELONG;
    *ret = (struct span){(const char *)scratch->p + from, scratch->n - from};
    return DIGEST_OK;
}

/* |*s| begins with the opening quote. */
static enum digest_err take_quoted(struct span *s, struct writer *scratch, struct span *ret)
{
    bool escaped = false;
    size_t i = 1;

    for (; i < s->n && s->p[i] != '"'; i++) {
        if (s->p[i] == '\\') {
            escaped = true;
            i++;
        }
        if (i == s->n || !is_text(s->p[i]))
            return DIGEST_ESYNTAX;
    }
    if (i == s->n)
        return DIGEST_ESYNTAX;
    struct span raw = span_sub(*s, 1, i - 1);

    *s = span_sub(*s, i + 1, SIZE_MAX);
    if (escaped)
        return unescape(raw, scratch, ret);
    *ret = raw;
    return DIGEST_OK;
}

/* A token, or what careless peers leave unquoted: paths, base64. */
static enum digest_err take_bare(struct span *s, struct span *ret)
{
    size_t n = 0;

    while (n < s->n && s->p[n] > ' ' && s->p[n] < 0x7f && s->p[n] != ',' && s->p[n] != '"' &&
           s->p[n] != '\\')
        n++;
    *ret = span_sub(*s, 0, n);
    *s = span_sub(*s, n, SIZE_MAX);
    return n > 0 ? DIGEST_OK : DIGEST_ESYNTAX;
}

/* ---- lists ---- */

static void add(struct digest_list *l, struct span name, struct span value)
{
    if (digest_list_find(l, name).p) {
        l->flaw = l->flaw ? l->flaw : DIGEST_EDOUBLE;
    } else if (l->n == DIGEST_PARAMS_MAX) {
        l->flaw = l->flaw ? l->flaw : DIGEST_EMANY;
    } else {
        l->params[l->n].name = name;
        l->params[l->n++].value = value;
    }
}

/* Past commas and white space; true when a comma was among them. */
static bool skip_commas(struct span *s)
{
    bool comma = false;

    for (digest_skip_space(s); s->n > 0 && s->p[0] == ','; digest_skip_space(s)) {
        comma = true;
        *s = span_sub(*s, 1, SIZE_MAX);
    }
    return comma;
}

static bool takes_value(struct span *s)
{
    digest_skip_space(s);
    if (s->n == 0 || s->p[0] != '=')
        return false;
    *s = span_sub(*s, 1, SIZE_MAX);
    digest_skip_space(s);
    return true;
}

enum digest_err digest_list_read(struct span *rest, struct writer *scratch, struct digest_list *ret)
{
    bool comma = true;

    ret->n = 0;
    ret->flaw = DIGEST_OK;
    (void)skip_commas(rest);
    while (rest->n > 0) {
        struct span at = *rest, name = digest_take_token(&at), value;

        if (name.n == 0 || !comma)
            return DIGEST_ESYNTAX;
        if (!takes_value(&at))
            return ret->n > 0 ? DIGEST_OK : DIGEST_ESYNTAX; /* a scheme */
        enum digest_err e =
            at.n > 0 && at.p[0] == '"' ? take_quoted(&at, scratch, &value) : take_bare(&at, &value);

        if (e)
            return e;
        add(ret, name, value);
        *rest = at;
        comma = skip_commas(rest);
    }
    return DIGEST_OK;
}

struct span digest_list_find(const struct digest_list *l, struct span name)
{
    for (unsigned i = 0; i < l->n; i++)
        if (span_ieq(l->params[i].name, name))
            return l->params[i].value;
    return SPAN_NONE;
}

/* ---- RFC 8187 ---- */

static bool is_attr_char(char c)
{
    return char_is_token((unsigned char)c) && c != '*' && c != '\'' && c != '%';
}

/* One character of value-chars off |*s|; -1: it is none, or a control character. */
static int take_value_char(struct span *s)
{
    int v = (unsigned char)s->p[0];
    size_t n = 1;

    if (v == '%') {
        int high = s->n >= 3 ? char_hex(s->p[1]) : -1, low = high >= 0 ? char_hex(s->p[2]) : -1;

        v = low >= 0 ? high * 16 + low : -1;
        n = 3;
    } else if (!is_attr_char(s->p[0])) {
        return -1;
    }
    if (v < 0x20 || v == 0x7f)
        return -1;
    *s = span_sub(*s, n, SIZE_MAX);
    return v;
}

enum digest_err digest_ext_read(struct span value, struct writer *scratch, struct span *ret)
{
    size_t from = scratch->n;
    struct span text = value, charset = span_cut(&text, '\''), language = span_cut(&text, '\'');

    if (!text.p || !span_ieq(charset, SPAN("UTF-8")))
        return DIGEST_EUSER;
    for (size_t i = 0; i < language.n; i++)
        if (!char_is_token((unsigned char)language.p[i]))
            return DIGEST_EUSER;
    while (text.n > 0) {
        int c = take_value_char(&text);

        if (c < 0)
            return DIGEST_EUSER;
        write_u8(scratch, (uint8_t)c);
    }
    if (scratch->err)
        return DIGEST_ELONG;
    *ret = (struct span){(const char *)scratch->p + from, scratch->n - from};
    return utf8_is_valid(*ret) ? DIGEST_OK : DIGEST_EUSER;
}

void digest_ext_format(struct span text, struct buf *out)
{
    buf_text(out, "UTF-8''");
    for (size_t i = 0; i < text.n; i++)
        if (is_attr_char(text.p[i]))
            buf_char(out, text.p[i]);
        else
            buf_fmt(out, "%%%02X", (unsigned)(unsigned char)text.p[i]);
}
