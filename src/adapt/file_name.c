/* SPDX-License-Identifier: Apache-2.0 */
/* file_name.c - from hostile bytes to a plain name, in two steps: undo the encoding into a bounded
 * buffer (struct raw), then make what came out printable (settle()). In filename= there may be a
 * second encoding within the first, words as in mail.
 *
 * Readers of filename= do not agree: a backslash is an escape for browsers that save and a plain
 * byte for browsers that send, and some of the former undo %XX. So it is read in each of these
 * ways, and where they end with different extensions, the one with more undone is taken. */
#include "adapt/file_name.h"

#include <string.h>

#include "base/encoded_word.h"
#include "base/utf8.h"

#define RAW_MAX       4096u
#define EXTENSION_MAX 15u /* with its dot: what file_name_extension() has room for */
#define SPACES_RUN    8u
#define FILENAMES_MAX 8u /* of one field: more are a conflict, and are not read */

static const struct trick {
    unsigned bit;
    const char *word;
} trick_words[] = {
    {FILE_NAME_NUL,      "nul"     },
    {FILE_NAME_CONTROL,  "control" },
    {FILE_NAME_BIDI,     "bidi"    },
    {FILE_NAME_PATH,     "path"    },
    {FILE_NAME_BAD_UTF8, "bad-utf8"},
    {FILE_NAME_CONFLICT, "conflict"},
    {FILE_NAME_SPACES,   "spaces"  },
    {FILE_NAME_LONG,     "long"    },
    {FILE_NAME_ENCODED,  "encoded" },
};

void file_name_tricks_text(unsigned tricks, struct buf *out)
{
    bool first = true;

    for (size_t i = 0; i < ARRAY_LEN(trick_words); i++) {
        if (!(tricks & trick_words[i].bit))
            continue;
        if (!first)
            buf_char(out, ' ');
        buf_text(out, trick_words[i].word);
        first = false;
    }
}

bool file_name_is_unknown(unsigned tricks)
{
    return tricks & FILE_NAME_ENCODED;
}

/* ---- raw bytes ---- */

/* The end of a name, which has the last part of the path and the extension. Of an endless one the
 * front is dropped. */
struct raw {
    size_t n;
    unsigned tricks;
    char p[RAW_MAX];
};

/* The bytes need no clearing. */
static void raw_init(struct raw *r)
{
    r->n = 0;
    r->tricks = 0;
}

/* Drops the front half, and what is left of a character that was cut. */
static void raw_drop(struct raw *r)
{
    size_t from = RAW_MAX / 2;

    while (from < RAW_MAX / 2 + 3 && ((unsigned char)r->p[from] & 0xc0) == 0x80)
        from++;
    memmove(r->p, r->p + from, r->n - from);
    r->n -= from;
    r->tricks |= FILE_NAME_LONG;
}

/* Tricks of single bytes are seen here, for they may be in a part that is dropped. */
static void raw_put(struct raw *r, char c)
{
    unsigned char u = (unsigned char)c;

    if (u == 0)
        r->tricks |= FILE_NAME_NUL;
    else if (u < 0x20 || u == 0x7f)
        r->tricks |= FILE_NAME_CONTROL;
    else if (c == '/' || c == '\\')
        r->tricks |= FILE_NAME_PATH;
    if (r->n == RAW_MAX)
        raw_drop(r);
    r->p[r->n++] = c;
}

static void raw_put_latin1(struct raw *r, char c)
{
    unsigned char u = (unsigned char)c;

    if (u < 0x80) {
        raw_put(r, c);
        return;
    }
    raw_put(r, (char)(0xc0 | u >> 6));
    raw_put(r, (char)(0x80 | (u & 0x3f)));
}

/* The byte that %XX at |at| stands for, or -1. */
static int percent_at(struct span s, size_t at)
{
    int high, low;

    if (s.n - at < 3 || s.p[at] != '%')
        return -1;
    high = char_hex(s.p[at + 1]);
    low = char_hex(s.p[at + 2]);
    return high < 0 || low < 0 ? -1 : high << 4 | low;
}

static void raw_put_percent(struct raw *r, struct span s, bool latin1)
{
    for (size_t i = 0; i < s.n; i++) {
        int byte = percent_at(s, i);
        char c = byte < 0 ? s.p[i] : (char)byte;

        if (byte >= 0)
            i += 2;
        if (latin1)
            raw_put_latin1(r, c);
        else
            raw_put(r, c);
    }
}

/* ---- plain text ---- */

/* A well-formed character of |len| bytes as its number. */
static uint32_t code_point(const char *p, size_t len)
{
    static const unsigned char first[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    uint32_t c = (unsigned char)p[0] & first[len];

    for (size_t i = 1; i < len; i++)
        c = c << 6 | ((unsigned char)p[i] & 0x3f);
    return c;
}

struct range {
    uint32_t from, to;
};

static bool is_in(const struct range *v, size_t n, uint32_t c)
{
    for (size_t i = 0; i < n; i++)
        if (c >= v[i].from && c <= v[i].to)
            return true;
    return false;
}

static const struct range bidi[] = {
    {0x061c, 0x061c},
    {0x200e, 0x200f},
    {0x202a, 0x202e},
    {0x2066, 0x2069},
};

/* C0, C1, and what takes no room on a screen. The joiners U+200C and U+200D spell words in Persian
 * and Indic scripts and stay. */
static const struct range controls[] = {
    {0x01,    0x1f   },
    {0x7f,    0x9f   },
    {0x00ad,  0x00ad },
    {0x180e,  0x180e },
    {0x200b,  0x200b },
    {0x2028,  0x2029 },
    {0x2060,  0x2065 },
    {0xfeff,  0xfeff },
    {0xfff9,  0xfffb },
    {0xe0000, 0xe007f},
};

static const struct range spaces[] = {
    {0x20,   0x20  },
    {0x00a0, 0x00a0},
    {0x1680, 0x1680},
    {0x2000, 0x200a},
    {0x202f, 0x202f},
    {0x205f, 0x205f},
    {0x2800, 0x2800},
    {0x3000, 0x3000},
    {0x3164, 0x3164},
};

/* The trick that a character is, or 0. */
static unsigned trick_of(uint32_t c)
{
    if (c == 0)
        return FILE_NAME_NUL;
    if (is_in(controls, ARRAY_LEN(controls), c))
        return FILE_NAME_CONTROL;
    return is_in(bidi, ARRAY_LEN(bidi), c) ? FILE_NAME_BIDI : 0;
}

/* Replaces in place what is not printable; it never gets longer. */
static void make_printable(struct raw *r)
{
    size_t out = 0, run = 0;

    for (size_t i = 0; i < r->n;) {
        if (r->p[i] > 0x20 && r->p[i] < 0x7f) { /* nearly all of nearly every name */
            r->p[out++] = r->p[i++];
            run = 0;
            continue;
        }
        size_t len = utf8_len((struct span){r->p + i, r->n - i});
        uint32_t c = len ? code_point(r->p + i, len) : 0xfffd;
        unsigned trick = len ? trick_of(c) : FILE_NAME_BAD_UTF8;

        run = is_in(spaces, ARRAY_LEN(spaces), c) ? run + 1 : 0;
        r->tricks |= trick | (run >= SPACES_RUN ? FILE_NAME_SPACES : 0u);
        if (trick) {
            r->p[out++] = '?';
            i += len ? len : 1;
            continue;
        }
        memmove(r->p + out, r->p + i, len);
        out += len;
        i += len;
    }
    r->n = out;
}

static bool is_separator(char c)
{
    return c == '/' || c == '\\';
}

static bool is_letter(char c)
{
    return char_lower(c) >= 'a' && char_lower(c) <= 'z';
}

/* The last part of a path. Separators at the end have no name behind them and are dropped, as
 * basename(3) does; "." and ".." are no names; "a.exe::$DATA" is how NTFS spells "a.exe". */
static struct span last_part(const struct raw *r, unsigned *seen)
{
    struct span s = {r->p, r->n};
    size_t from;

    while (s.n && is_separator(s.p[s.n - 1]))
        s.n--;
    for (from = s.n; from && !is_separator(s.p[from - 1]); from--)
        ;
    s = span_sub(s, from, SIZE_MAX);
    while (s.n >= 2 && s.p[1] == ':' && is_letter(s.p[0])) {
        *seen |= FILE_NAME_PATH;
        s = span_sub(s, 2, SIZE_MAX);
    }
    while (s.n >= 7 && span_ieq(span_sub(s, s.n - 7, 7), SPAN("::$DATA"))) {
        *seen |= FILE_NAME_PATH;
        s.n -= 7;
    }
    if (!span_eq(s, SPAN(".")) && !span_eq(s, SPAN("..")))
        return s;
    *seen |= FILE_NAME_PATH;
    return SPAN_NONE;
}

/* Without dots and spaces at the end, which Windows drops. */
static struct span without_tail(struct span s)
{
    while (s.n && (s.p[s.n - 1] == '.' || s.p[s.n - 1] == ' '))
        s.n--;
    return s;
}

/* With its dot; empty without one, and when it is too long or has a space to be one. */
static struct span extension_of(struct span name)
{
    struct span s = without_tail(name);
    size_t from = s.n;

    while (from && s.p[from - 1] != '.')
        from--;
    if (from == 0)
        return SPAN_NONE;
    s = span_sub(s, from - 1, SIZE_MAX);
    return s.n <= EXTENSION_MAX && span_find(s, ' ') == s.n ? s : SPAN_NONE;
}

/* Copies |s| cut to FILE_NAME_MAX: out of the middle, so that the extension stays. */
static void cut_to_fit(struct span s, struct file_name *ret)
{
    struct span extension;
    size_t stem;

    if (s.n > FILE_NAME_MAX) {
        ret->tricks |= FILE_NAME_LONG;
        s = without_tail(s);
    }
    if (s.n <= FILE_NAME_MAX) {
        (void)span_copy(s, ret->text, sizeof ret->text);
        return;
    }
    extension = extension_of(s);
    stem = FILE_NAME_MAX - extension.n;
    while (stem && ((unsigned char)s.p[stem] & 0xc0) == 0x80)
        stem--;
    memcpy(ret->text, s.p, stem);
    (void)span_copy(extension, ret->text + stem, sizeof ret->text - stem);
}

static void settle(struct raw *r, struct file_name *ret)
{
    struct span s;

    make_printable(r);
    s = last_part(r, &r->tricks);
    ret->text[0] = '\0';
    ret->tricks = r->tricks;
    if (without_tail(s).n != s.n)
        ret->tricks |= FILE_NAME_SPACES;
    if (encoded_word_is_in(s))
        ret->tricks |= FILE_NAME_ENCODED;
    cut_to_fit(s, ret);
}

void file_name_plain(struct span name, struct file_name *ret)
{
    struct raw r;

    raw_init(&r);
    for (size_t i = 0; i < name.n; i++)
        raw_put(&r, name.p[i]);
    settle(&r, ret);
}

void file_name_extension(const struct file_name *n, char ret[16])
{
    struct span s = extension_of(span_of(n->text));

    for (size_t i = 0; i < s.n; i++)
        ret[i] = char_lower(s.p[i]);
    ret[s.n] = '\0';
}

/* ---- URLs ---- */

/* From the first '/' of the path on; without one, as in "host:443" and "*", empty. */
static struct span url_path(struct span target)
{
    struct span path = target;
    size_t colon = span_find(path, ':');

    path.n = span_find(path, '#');
    path.n = span_find(path, '?');
    if (colon < span_find(path, '/') && span_starts(span_sub(path, colon, 3), SPAN("://")))
        path = span_sub(path, colon + 3, SIZE_MAX);
    return span_sub(path, span_find(path, '/'), SIZE_MAX);
}

/* Letters, digits, '-', '_' and inner dots: nothing to undo and no trick, as nearly every one. */
static bool is_simple(struct span name)
{
    static const bool simple[256] = {
        ['-'] = 1, ['.'] = 1, ['_'] = 1, ['0' ... '9'] = 1, ['A' ... 'Z'] = 1, ['a' ... 'z'] = 1,
    };

    if (name.n == 0 || name.n > FILE_NAME_MAX || name.p[0] == '.' || name.p[name.n - 1] == '.')
        return false;
    for (size_t i = 0; i < name.n; i++)
        if (!simple[(unsigned char)name.p[i]])
            return false;
    return true;
}

void file_name_url(struct span target, struct file_name *ret)
{
    struct span path = url_path(target);
    struct raw r;
    size_t from = path.n;

    while (from && path.p[from - 1] != '/')
        from--;
    path = span_sub(path, from, SIZE_MAX);
    if (is_simple(path)) {
        (void)span_copy(path, ret->text, sizeof ret->text);
        ret->tricks = 0;
        return;
    }
    raw_init(&r);
    raw_put_percent(&r, path, false);
    settle(&r, ret);
}

/* ---- encoded words (RFC 2047) ---- */

/* The bytes of |w| go to |to| (NULL: nowhere). False: they are not all there. */
static bool put_word(const struct encoded_word *w, struct raw *to)
{
    bool latin1 = span_ieq(w->charset, SPAN("ISO-8859-1"));
    struct encoded_word_reader r;
    int c;

    encoded_word_read(&r, w);
    while ((c = encoded_word_next(&r)) >= 0) {
        if (to && latin1)
            raw_put_latin1(to, (char)c);
        else if (to)
            raw_put(to, (char)c);
    }
    return c == ENCODED_WORD_END;
}

static bool is_known_charset(struct span charset)
{
    return span_ieq(charset, SPAN("UTF-8")) || span_ieq(charset, SPAN("ISO-8859-1")) ||
           span_ieq(charset, SPAN("US-ASCII"));
}

/* The word at the start of |s| that can be undone. */
static bool find_word(struct span s, struct encoded_word *ret, size_t *ret_len)
{
    return encoded_word_parse(s, ret, ret_len) && is_known_charset(ret->charset) &&
           put_word(ret, NULL);
}

static size_t blanks(struct span s)
{
    size_t n = 0;

    while (n < s.n && (s.p[n] == ' ' || s.p[n] == '\t'))
        n++;
    return n;
}

/* What looks like a word and cannot be undone stays as it stands, to its end if it has one. A '/'
 * in it is a digit, and no path. */
static size_t put_unknown(struct span s, struct raw *to)
{
    struct encoded_word w;
    size_t len = s.n;

    (void)encoded_word_parse(s, &w, &len);
    for (size_t i = 0; i < len; i++)
        raw_put(to, s.p[i] == '/' || s.p[i] == '\\' ? '?' : s.p[i]);
    to->tricks |= FILE_NAME_ENCODED;
    return len;
}

/* Anywhere in a name, as the most generous readers do. True: it is made of nothing but words, so
 * that nobody takes them for the name itself. */
static bool undo_words(const struct raw *in, struct raw *out)
{
    struct span s = {in->p, in->n};
    bool behind_word = false, alone = true;
    struct encoded_word w;
    size_t len;

    raw_init(out);
    if (in->tricks & FILE_NAME_LONG)
        out->tricks = in->tricks; /* some are in what was dropped */
    while (s.n) {
        size_t gap = behind_word ? blanks(s) : 0;

        /* RFC 2047 6.2: blanks between two words belong to neither. */
        if (find_word(span_sub(s, gap, SIZE_MAX), &w, &len)) {
            (void)put_word(&w, out);
            s = span_sub(s, gap + len, SIZE_MAX);
            behind_word = true;
            continue;
        }
        behind_word = alone = false;
        if (encoded_word_begins(s)) {
            s = span_sub(s, put_unknown(s, out), SIZE_MAX);
        } else {
            raw_put(out, s.p[0]);
            s = span_sub(s, 1, SIZE_MAX);
        }
    }
    return alone;
}

static bool same_extension(const struct file_name *a, const struct file_name *b)
{
    return span_ieq(extension_of(span_of(a->text)), extension_of(span_of(b->text)));
}

/* Some undo words only where they are the whole value, others not at all: where they see another
 * extension, the name is one thing to them and another here. */
static void settle_words(struct raw *r, struct file_name *ret)
{
    struct raw undone;
    struct file_name literal;

    if (undo_words(r, &undone)) {
        settle(&undone, ret);
        return;
    }
    settle(&undone, ret);
    settle(r, &literal);
    if (extension_of(span_of(literal.text)).n && !same_extension(ret, &literal))
        ret->tricks |= FILE_NAME_CONFLICT;
}

/* ---- Content-Disposition ---- */

/* How a value of filename= is read. */
struct reading {
    bool quoted;
    bool escapes; /* every backslash, not only those before '"' and '\\' */
    bool percent; /* every %XX, not only those that form submission makes, and NUL */
};

static bool is_form_encoded(int byte)
{
    return (byte >= 0 && byte < 0x20) || byte == '"' || byte == 0x7f;
}

static void read_value(struct span s, struct reading how, struct file_name *ret)
{
    struct raw r;

    raw_init(&r);
    for (size_t i = 0; i < s.n; i++) {
        int byte = percent_at(s, i);

        if (how.quoted && s.p[i] == '\\' && i + 1 < s.n &&
            (how.escapes || s.p[i + 1] == '"' || s.p[i + 1] == '\\')) {
            raw_put(&r, s.p[++i]);
        } else if (byte >= 0 && (how.percent || is_form_encoded(byte))) {
            raw_put(&r, (char)byte);
            i += 2;
        } else {
            raw_put(&r, s.p[i]);
        }
    }
    if (encoded_word_is_in((struct span){r.p, r.n}))
        settle_words(&r, ret);
    else
        settle(&r, ret);
}

/* filename=, in the ways in which others read it. */
static void read_filename(struct span s, bool quoted, struct file_name *ret)
{
    const struct reading more[] = {
        {.quoted = quoted, .escapes = true},
        {                .quoted = quoted, .percent = true               },
        { .quoted = quoted, .escapes = true,                .percent = true},
    };

    read_value(s, (struct reading){.quoted = quoted}, ret);
    if (span_find(s, '%') == s.n && (!quoted || span_find(s, '\\') == s.n))
        return;
    for (size_t i = 0; i < ARRAY_LEN(more); i++) {
        struct file_name other;

        read_value(s, more[i], &other);
        if (same_extension(ret, &other))
            continue;
        other.tricks |= ret->tricks | FILE_NAME_CONFLICT;
        *ret = other;
    }
}

/* filename*= (RFC 8187 3.2): charset'language'value. A charset that we do not know is taken as
 * UTF-8, and a value without quotes as one in it: whoever reads it otherwise gets no plain name
 * either. */
static void read_filename_ext(struct span s, struct file_name *ret)
{
    struct span value = s;
    struct span charset = span_cut(&value, '\'');
    struct raw r;

    raw_init(&r);
    if (value.p)
        (void)span_cut(&value, '\'');
    if (!value.p) {
        value = s;
        charset = SPAN_NONE;
    }
    raw_put_percent(&r, value, span_ieq(charset, SPAN("ISO-8859-1")));
    settle(&r, ret);
}

struct parameter {
    struct span name, value; /* the value without its quotes, with what is escaped in them */
    bool quoted;
};

/* The inside of a quoted string that begins |*rest|, which is moved behind it. Without a closing
 * quote it is all that is left. */
static struct span take_quoted(struct span *rest)
{
    struct span inside = span_sub(*rest, 1, SIZE_MAX);
    size_t at = 0;

    while (at < inside.n && inside.p[at] != '"')
        at += inside.p[at] == '\\' && at + 1 < inside.n ? 2 : 1;
    *rest = span_sub(inside, at + 1, SIZE_MAX);
    return span_sub(inside, 0, at);
}

/* Next of a list between ';'; the disposition's type is one without a value. False at the end. */
static bool next_parameter(struct span *rest, struct parameter *ret)
{
    size_t at = 0;

    if (rest->n == 0)
        return false;
    *ret = (struct parameter){.name = SPAN_NONE};
    while (at < rest->n && rest->p[at] != ';' && rest->p[at] != '=')
        at++;
    ret->name = span_trim(span_sub(*rest, 0, at));
    if (at == rest->n || rest->p[at] == ';') {
        *rest = span_sub(*rest, at + 1, SIZE_MAX);
        return true;
    }
    *rest = span_trim(span_sub(*rest, at + 1, SIZE_MAX));
    ret->quoted = span_starts(*rest, SPAN("\""));
    if (ret->quoted)
        ret->value = take_quoted(rest);
    at = span_find(*rest, ';');
    if (!ret->quoted)
        ret->value = span_trim(span_sub(*rest, 0, at));
    *rest = span_sub(*rest, at + 1, SIZE_MAX);
    return true;
}

static bool is_ascii(const struct file_name *n)
{
    for (const char *p = n->text; *p; p++)
        if ((unsigned char)*p >= 0x80)
            return false;
    return true;
}

/* Do filename and filename* say different things? RFC 6266 appendix D has the plain one stand in
 * for letters that are not in ASCII: that is no trick while the extension is the same. */
static bool is_conflict(const struct file_name *plain, const struct file_name *ext)
{
    if (strcmp(plain->text, ext->text) == 0)
        return false;
    return is_ascii(ext) || !same_extension(plain, ext);
}

/* What one kind of parameter said. */
struct kept {
    struct file_name name; /* the first one; of the others only the tricks */
    unsigned n;
};

static void keep(struct kept *k, const struct parameter *p, bool is_ext)
{
    struct file_name found;

    if (k->n++ >= FILENAMES_MAX) {
        k->name.tricks |= FILE_NAME_CONFLICT;
        return;
    }
    if (is_ext)
        read_filename_ext(p->value, &found);
    else
        read_filename(p->value, p->quoted, &found);
    if (k->n == 1) {
        k->name = found;
        return;
    }
    k->name.tricks |= found.tricks;
    if (strcmp(k->name.text, found.text) != 0)
        k->name.tricks |= FILE_NAME_CONFLICT;
}

/* One name in pieces, filename*0="a."; filename*1*=%65xe (RFC 2231 3): RFC 8187 has no such thing,
 * mail and one browser do. The order is the one in which they stand. */
struct pieces {
    unsigned n;
    struct raw raw;
};

static bool is_piece(struct span name)
{
    struct span number = span_sub(name, sizeof "filename*" - 1, SIZE_MAX);

    if (span_ends(number, SPAN("*")))
        number.n--;
    return span_istarts(name, SPAN("filename*")) && number.n && char_hex(number.p[0]) >= 0 &&
           char_hex(number.p[0]) <= 9;
}

static void keep_piece(struct pieces *p, const struct parameter *found)
{
    struct span value = found->value, rest = value;

    if (p->n++ == 0)
        raw_init(&p->raw);
    if (p->n == 1 && span_ends(found->name, SPAN("*"))) {
        (void)span_cut(&rest, '\'');
        (void)span_cut(&rest, '\'');
        value = rest.p ? rest : value;
    }
    raw_put_percent(&p->raw, value, false);
}

/* It counts where there is no other. */
static void add_pieces(struct pieces *p, bool alone, struct file_name *ret)
{
    struct file_name joined;

    settle(&p->raw, &joined);
    if (alone) {
        *ret = joined;
        return;
    }
    ret->tricks |= joined.tricks;
    if (strcmp(joined.text, ret->text) != 0)
        ret->tricks |= FILE_NAME_CONFLICT;
}

static bool is_name(const struct parameter *p, const char *name)
{
    return p->value.p && span_ieq(p->name, span_of(name));
}

bool file_name_disposition(struct span value, struct file_name *ret)
{
    struct kept plain = {.n = 0}, ext = {.n = 0};
    struct span rest = value;
    struct pieces pieces;
    struct parameter p;

    pieces.n = 0;
    while (next_parameter(&rest, &p)) {
        if (is_name(&p, "filename"))
            keep(&plain, &p, false);
        else if (is_name(&p, "filename*"))
            keep(&ext, &p, true);
        else if (p.value.p && is_piece(p.name))
            keep_piece(&pieces, &p);
    }
    *ret = ext.n ? ext.name : plain.name;
    ret->tricks = ext.name.tricks | plain.name.tricks;
    if (ext.n && plain.n && is_conflict(&plain.name, &ext.name))
        ret->tricks |= FILE_NAME_CONFLICT;
    if (pieces.n)
        add_pieces(&pieces, !plain.n && !ext.n, ret);
    return plain.n || ext.n || pieces.n;
}
