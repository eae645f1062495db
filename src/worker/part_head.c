/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/part_head.h"

#include <string.h>

#include "base/encoded_word.h"

#define NAME_TAIL 64u /* of a name that is too long: its end holds the extension */

static enum err refuse(struct fault *f, const char *why)
{
    return fault_set(f, ERR_SYNTAX, 0, 0, why);
}

/* --- parameters --- */

struct param {
    struct span name;
    struct span value; /* without its quotes, escapes still in it */
    bool quoted;
};

static void skip_space(struct span *s)
{
    while (s->n && (s->p[0] == ' ' || s->p[0] == '\t'))
        *s = span_sub(*s, 1, SIZE_MAX);
}

/* Characters of tokens, and those that careless clients leave without quotes. No comma: some
 * recipients end a boundary there. */
static bool is_bare(char c)
{
    static const char others[] = "()/:=?@[]{}<>";

    return char_is_token((unsigned char)c) ||
           (c != '\0' && memchr(others, c, sizeof others - 1) != NULL);
}

/* Bytes of the value at the start of |s|, or SIZE_MAX. Behind a backslash a quote does not end. */
static size_t quoted_len(struct span s)
{
    for (size_t i = 1; i < s.n; i++) {
        if (s.p[i] == '"')
            return i + 1;
        if (s.p[i] == '\\' && i + 1 < s.n && (s.p[i + 1] == '"' || s.p[i + 1] == '\\'))
            i++;
    }
    return SIZE_MAX;
}

static size_t bare_len(struct span s)
{
    size_t n = 0;

    while (n < s.n && is_bare(s.p[n]))
        n++;
    return n ? n : SIZE_MAX;
}

/* The next "; name=value". ERR_EOF at the end, ERR_SYNTAX for anything else. */
static NODISCARD enum err param_next(struct span *rest, struct param *ret)
{
    size_t n = 0;

    skip_space(rest);
    while (rest->n && rest->p[0] == ';') { /* an empty parameter is harmless */
        *rest = span_sub(*rest, 1, SIZE_MAX);
        skip_space(rest);
        n++;
    }
    if (rest->n == 0)
        return ERR_EOF;
    if (n == 0)
        return ERR_SYNTAX;
    size_t eq = span_find(*rest, '=');

    ret->name = span_sub(*rest, 0, eq);
    if (eq == rest->n || !span_is_token(ret->name))
        return ERR_SYNTAX;
    *rest = span_sub(*rest, eq + 1, SIZE_MAX);
    ret->quoted = rest->n && rest->p[0] == '"';
    n = ret->quoted ? quoted_len(*rest) : bare_len(*rest);
    if (n == SIZE_MAX)
        return ERR_SYNTAX;
    ret->value = ret->quoted ? span_sub(*rest, 1, n - 2) : span_sub(*rest, 0, n);
    *rest = span_sub(*rest, n, SIZE_MAX);
    return OK;
}

/* What stands before the first parameter, in small letters. */
static struct span before_params(struct span value, struct span *ret_params)
{
    size_t semicolon = span_find(value, ';');

    *ret_params = span_sub(value, semicolon, SIZE_MAX);
    return span_trim(span_sub(value, 0, semicolon));
}

/* --- names --- */

static char shown(char c)
{
    return (unsigned char)c < 0x20 || c == 0x7f ? '?' : c;
}

/* |text| may be longer than a name: then its middle goes. */
static void keep_name(struct span text, char ret[OBJECT_NAME_MAX + 1])
{
    size_t first = text.n <= OBJECT_NAME_MAX ? text.n : OBJECT_NAME_MAX - NAME_TAIL;
    size_t last = text.n <= OBJECT_NAME_MAX ? 0 : NAME_TAIL;

    for (size_t i = 0; i < first; i++)
        ret[i] = shown(text.p[i]);
    for (size_t i = 0; i < last; i++)
        ret[first + i] = shown(text.p[text.n - last + i]);
    ret[first + last] = '\0';
}

/* The one percent-encoding that HTML's form submission makes: of '"', CR and LF. */
static size_t form_escape(struct span s, char *ret)
{
    int hi = s.n >= 3 && s.p[0] == '%' ? char_hex(s.p[1]) : -1;
    int lo = hi >= 0 ? char_hex(s.p[2]) : -1;
    int c = hi * 16 + lo;

    if (lo < 0 || (c != '"' && c != '\r' && c != '\n'))
        return 0;
    *ret = (char)c;
    return 3;
}

/* Some recipients take single quotes for quotes, in spite of RFC 9110 5.6.4, and others for letters
 * of the value. */
static bool is_single_quoted(const struct param *p)
{
    return !p->quoted && span_starts(p->value, SPAN("'"));
}

/* False when there is an encoded word in it (RFC 2047): some recipients undo it, no browser makes
 * one. */
static NODISCARD bool take_name(const struct param *p, char ret[OBJECT_NAME_MAX + 1])
{
    char text[PART_HEAD_MAX];
    size_t n = 0;

    for (size_t i = 0; i < p->value.n && n < sizeof text; n++) {
        size_t len = form_escape(span_sub(p->value, i, SIZE_MAX), &text[n]);

        if (len == 0) {
            /* quoted_len() says which backslashes escape; browsers send others as they are */
            bool escape = p->quoted && p->value.p[i] == '\\' && i + 1 < p->value.n &&
                          (p->value.p[i + 1] == '"' || p->value.p[i + 1] == '\\');

            i += escape;
            text[n] = p->value.p[i];
            len = 1;
        }
        i += len;
    }
    keep_name((struct span){text, n}, ret);
    return !encoded_word_is_in((struct span){text, n});
}

/* RFC 8187 3.2: charset'language'percent-encoded. */
static NODISCARD bool take_ext_name(struct span value, char ret[OBJECT_NAME_MAX + 1])
{
    char text[PART_HEAD_MAX];
    struct span rest = value, charset = span_cut(&rest, '\'');
    bool latin = span_ieq(charset, SPAN("iso-8859-1"));
    size_t n = 0;

    (void)span_cut(&rest, '\'');
    if (!rest.p || (!latin && !span_ieq(charset, SPAN("utf-8"))))
        return false;
    for (size_t i = 0; i < rest.n && n + 2 <= sizeof text; i++) {
        unsigned char c = (unsigned char)rest.p[i];

        if (c == '%') {
            int hi = i + 2 < rest.n ? char_hex(rest.p[i + 1]) : -1;
            int lo = hi >= 0 ? char_hex(rest.p[i + 2]) : -1;

            if (lo < 0)
                return false;
            c = (unsigned char)(hi * 16 + lo);
            i += 2;
        }
        if (latin && c >= 0x80) {
            text[n++] = (char)(0xc0 | c >> 6);
            c = 0x80 | (c & 0x3f);
        }
        text[n++] = (char)c;
    }
    keep_name((struct span){text, n}, ret);
    return true;
}

/* --- fields --- */

enum {
    SEEN_DISPOSITION = 1,
    SEEN_TYPE = 2,
    SEEN_TRANSFER = 4,
    SEEN_NAME = 8,
    SEEN_FILE = 16,
    SEEN_EXT_FILE = 32,
};

/* Sets |bit|; false when it was set before. */
static NODISCARD bool first_time(unsigned *seen, unsigned bit)
{
    bool first = !(*seen & bit);

    *seen |= bit;
    return first;
}

/* With two names, recipients would take one or the other. */
static NODISCARD enum err keep_file(const char name[OBJECT_NAME_MAX + 1], struct part_head *h,
                                    const unsigned *seen, struct fault *f)
{
    const unsigned both = SEEN_FILE | SEEN_EXT_FILE;

    if ((*seen & both) == both && strcmp(h->file, name) != 0)
        return refuse(f, "has two file names that differ");
    h->has_file = true;
    memcpy(h->file, name, OBJECT_NAME_MAX + 1);
    return OK;
}

static NODISCARD enum err take_file(const struct param *p, struct part_head *h, unsigned *seen,
                                    struct fault *f)
{
    char name[OBJECT_NAME_MAX + 1];

    if (!first_time(seen, SEEN_FILE))
        return refuse(f, "has two file names");
    if (is_single_quoted(p))
        return refuse(f, "has a file name in single quotes");
    if (!take_name(p, name))
        return refuse(f, "has a file name in encoded words");
    return keep_file(name, h, seen, f);
}

/* RFC 7578 4.2 has no filename* in forms: some recipients read it all the same, others do not. */
static NODISCARD enum err take_ext_file(const struct param *p, struct part_head *h, unsigned *seen,
                                        struct fault *f)
{
    char name[OBJECT_NAME_MAX + 1];

    if (!first_time(seen, SEEN_EXT_FILE))
        return refuse(f, "has two file names");
    if (p->quoted || !take_ext_name(p->value, name))
        return refuse(f, "has a filename* that cannot be read");
    return keep_file(name, h, seen, f);
}

static NODISCARD enum err take_param(const struct param *p, struct part_head *h, unsigned *seen,
                                     struct fault *f)
{
    if (span_ieq(p->name, SPAN("name"))) {
        if (!first_time(seen, SEEN_NAME))
            return refuse(f, "has two names");
        if (is_single_quoted(p))
            return refuse(f, "has a name in single quotes");
        (void)!take_name(p, h->field);
    } else if (span_ieq(p->name, SPAN("filename"))) {
        return take_file(p, h, seen, f);
    } else if (span_ieq(p->name, SPAN("filename*"))) {
        return take_ext_file(p, h, seen, f);
    } else if (span_istarts(p->name, SPAN("name*")) || span_istarts(p->name, SPAN("filename*"))) {
        return refuse(f, "has a name in pieces");
    }
    return OK;
}

static NODISCARD enum err take_disposition(struct span value, struct part_head *h, unsigned *seen,
                                           struct fault *f)
{
    struct span rest;
    struct param p;
    enum err e;

    if (!first_time(seen, SEEN_DISPOSITION))
        return refuse(f, "has two Content-Disposition fields");
    if (!span_is_token(before_params(value, &rest)))
        return refuse(f, "has a Content-Disposition that cannot be read");
    while ((e = param_next(&rest, &p)) == OK)
        TRY(take_param(&p, h, seen, f));
    return e == ERR_EOF ? OK : refuse(f, "has a Content-Disposition that cannot be read");
}

static NODISCARD enum err take_type(struct span value, struct part_head *h, unsigned *seen,
                                    struct fault *f)
{
    if (!first_time(seen, SEEN_TYPE))
        return refuse(f, "has two Content-Type fields");
    media_type_of(value, h->type);
    h->is_multipart = span_starts(span_of(h->type), SPAN("multipart/"));
    return h->is_multipart ? media_type_boundary(value, &h->has_boundary, h->boundary, f) : OK;
}

static NODISCARD enum err take_transfer(struct span value, unsigned *seen, struct fault *f)
{
    if (!first_time(seen, SEEN_TRANSFER))
        return refuse(f, "has two Content-Transfer-Encoding fields");
    if (!span_ieq(value, SPAN("7bit")) && !span_ieq(value, SPAN("8bit")) &&
        !span_ieq(value, SPAN("binary")))
        return refuse(f, "has a Content-Transfer-Encoding");
    return OK;
}

static NODISCARD enum err take_field(struct span line, struct part_head *h, unsigned *seen,
                                     struct fault *f)
{
    struct span name = span_cut(&line, ':'), value = span_trim(line);

    if (!line.p || !span_is_token(name))
        return refuse(f, "has a line in its head that is no field");
    if (span_find(value, '\0') != value.n)
        return refuse(f, "has a NUL in its head");
    if (span_ieq(name, SPAN("content-disposition")))
        return take_disposition(value, h, seen, f);
    if (span_ieq(name, SPAN("content-type")))
        return take_type(value, h, seen, f);
    if (span_ieq(name, SPAN("content-transfer-encoding")))
        return take_transfer(value, seen, f);
    if (span_ieq(name, SPAN("content-encoding")) && !span_ieq(value, SPAN("identity")))
        return refuse(f, "has a Content-Encoding of its own");
    return OK;
}

enum err part_head_parse(struct span head, struct part_head *ret, struct fault *fault)
{
    unsigned seen = 0, fields = 0;

    memset(ret, 0, sizeof *ret);
    while (head.n) {
        struct span line = span_cut(&head, '\n');

        if (!head.p || line.n == 0 || span_find(line, '\r') != line.n - 1)
            return refuse(fault, "has a line in its head that does not end in CRLF");
        if (++fields > PART_FIELDS_MAX)
            return refuse(fault, "has more than 64 fields in its head");
        TRY(take_field(span_sub(line, 0, line.n - 1), ret, &seen, fault));
    }
    return OK;
}

/* --- media types --- */

void media_type_of(struct span value, char ret[OBJECT_TYPE_MAX + 1])
{
    struct span rest, type = before_params(span_trim(value), &rest);

    (void)span_copy(type, ret, OBJECT_TYPE_MAX + 1);
    for (size_t i = 0; i < type.n && i < OBJECT_TYPE_MAX; i++)
        ret[i] = char_lower(shown(type.p[i]));
}

/* RFC 2046 5.1.1, bchars. */
static bool is_boundary(struct span s)
{
    static const char others[] = "'()+_,-./:=? ";

    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i], small = char_lower(c);

        if (!(c >= '0' && c <= '9') && !(small >= 'a' && small <= 'z') &&
            (c == '\0' || !memchr(others, c, sizeof others - 1)))
            return false;
    }
    return s.n > 0 && s.n <= BOUNDARY_MAX && s.p[s.n - 1] != ' ';
}

static bool has_word(struct span s)
{
    const struct span word = SPAN("boundary");

    for (; s.n >= word.n; s = span_sub(s, 1, SIZE_MAX))
        if (span_istarts(s, word))
            return true;
    return false;
}

/* Some recipients do not read parameters, but look for the word and take what is behind the next
 * "=": in small letters first. So it stands nowhere but in the one name, and, where that has
 * capitals, not in small letters in its value either. */
static bool is_ambiguous(const struct param *p, bool is_boundary_itself)
{
    struct span v = p->value;

    if (!is_boundary_itself)
        return has_word(p->name) || has_word(v);
    return !span_eq(p->name, SPAN("boundary")) && v.n &&
           memmem(v.p, v.n, "boundary", sizeof "boundary" - 1) != NULL;
}

enum err media_type_boundary(struct span value, bool *ret_has, char ret[BOUNDARY_MAX + 1],
                             struct fault *fault)
{
    struct span rest, type = before_params(value, &rest);
    struct param p;
    enum err e;

    *ret_has = false;
    if (has_word(type))
        return refuse(fault, "has two boundaries");
    while ((e = param_next(&rest, &p)) == OK) {
        bool is_it = span_ieq(p.name, SPAN("boundary"));

        if (span_istarts(p.name, SPAN("boundary*")))
            return refuse(fault, "has a boundary in pieces");
        if (is_ambiguous(&p, is_it))
            return refuse(fault, "has two boundaries");
        if (!is_it)
            continue;
        if (*ret_has)
            return refuse(fault, "has two boundaries");
        if (!is_boundary(p.value))
            return refuse(fault, "has a boundary that is none");
        *ret_has = true;
        (void)span_copy(p.value, ret, BOUNDARY_MAX + 1);
    }
    return e == ERR_EOF ? OK : refuse(fault, "has a Content-Type that cannot be read");
}
