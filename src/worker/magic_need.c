/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/magic_need.h"

#include <string.h>

#include <regex.h>

#include "worker/magic_number.h"

#define LINE_LEN 80u   /* what libmagic takes for the length of a line */
#define DER_TAG  0x1fu /* in the first byte; all of them: the tag has more bytes */
#define DER_SEQ  0x10u /* ASN.1's SEQUENCE */

static bool is_in(char c, const char *set)
{
    return c != '\0' && strchr(set, c) != NULL;
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* The flags of other types mean other things. */
static bool is_text_type(const struct magic_entry *e)
{
    return e->type == MAGIC_TYPE_STRING || e->type == MAGIC_TYPE_SEARCH ||
           e->type == MAGIC_TYPE_REGEX;
}

static bool is_fold(const struct magic_entry *e)
{
    return e->flags & (MAGIC_STRING_LOWER | MAGIC_STRING_UPPER);
}

/* ---- words ---- */

static void add_word(struct span word, struct magic_need *n)
{
    struct ere_word *w = &n->words.v[n->words.n++];

    *w = (struct ere_word){.times = 1,
                           .n = (uint8_t)(word.n < ERE_WORD_LEN_MAX ? word.n : ERE_WORD_LEN_MAX)};
    memcpy(w->bytes, word.p, w->n);
}

static void need_at(struct span word, size_t to, struct magic_need *n)
{
    if (word.n == 0)
        return;
    n->kind = MAGIC_NEED_AT;
    n->to = to;
    add_word(word, n);
}

static bool has_loose_space(const struct magic_entry *e)
{
    return e->flags & (MAGIC_STRING_COMPACT | MAGIC_STRING_OPTIONAL);
}

/* What of |s| comes before white space. */
static struct span first_run(struct span s)
{
    size_t n = 0;

    while (n < s.n && !is_space(s.p[n]))
        n++;
    return span_sub(s, 0, n);
}

static struct span longest_run(struct span s)
{
    struct span best = SPAN_NONE;

    while (s.n) {
        struct span run = first_run(s);

        if (run.n > best.n)
            best = run;
        s = span_sub(s, run.n + 1, SIZE_MAX);
    }
    return best;
}

/* ---- one entry ---- */

static void need_number(const struct magic_entry *e, struct magic_need *n)
{
    char bytes[4];
    size_t len = magic_number_bytes(e, bytes);

    n->kind = MAGIC_NEED_CHECK;
    if (len)
        need_at((struct span){bytes, len}, n->from, n);
}

static void need_string(const struct magic_entry *e, struct magic_need *n)
{
    struct span value = {e->value.text, e->value_n};

    if (e->range == 0) /* else libmagic would compare with a copy that is cut */
        need_at(has_loose_space(e) ? first_run(value) : value, n->from, n);
}

/* libmagic moves the text in front of the byte that tells its length. */
static void need_pstring(const struct magic_entry *e, struct magic_need *n)
{
    size_t len = strnlen(e->value.text, e->value_n);

    if (e->range != 0 || e->flags != MAGIC_PSTRING_1)
        return;
    n->from++;
    need_at((struct span){e->value.text, len}, n->from, n);
}

/* A range of |r| has the places 0 to r - 1, or with memmem(), which libmagic takes for what has no
 * flags, 0 to r. */
static void need_search(const struct magic_entry *e, struct magic_need *n)
{
    struct span value = {e->value.text, e->value_n}, word = value;

    if (has_loose_space(e))
        word = e->range == 1 ? first_run(value) : longest_run(value);
    if (e->range == 1) {
        need_at(word, n->from + 1, n);
        return;
    }
    if (word.n == 0)
        return;
    n->kind = MAGIC_NEED_WORDS;
    n->to = e->range && word.p == value.p ? n->from + e->range + word.n : SIZE_MAX;
    add_word(word, n);
}

static void need_guid(const struct magic_entry *e, struct magic_need *n)
{
    need_at((struct span){e->value.text, 16}, n->from, n);
}

/* libmagic takes the low byte of each letter; NUL, when that is not all of the letter, for a space.
 * Behind the end of the file is what the test before this one left: nobody knows. */
static bool wide_holds(const struct magic_entry *e, struct span file)
{
    size_t at = (size_t)e->offset + (e->type == MAGIC_TYPE_BESTRING16);

    for (size_t i = 0; i < e->value_n && at < file.n; i++, at += 2)
        if (file.p[at] != e->value.text[i] && (file.p[at] != '\0' || e->value.text[i] != ' '))
            return false;
    return true;
}

/* A tag of several bytes may come out as any; of one that has no more bytes libmagic makes none. */
static bool der_holds(const struct magic_entry *e, struct span file)
{
    struct span s = span_sub(file, (size_t)e->offset, 2);
    unsigned tag = s.n ? (unsigned char)s.p[0] & DER_TAG : 0;

    return tag == DER_SEQ || (tag == DER_TAG && s.n > 1 && (unsigned char)s.p[1] >= 0x80);
}

bool magic_check_holds(const struct magic_entry *e, struct span file)
{
    switch (e->type) {
    case MAGIC_TYPE_BESTRING16:
    case MAGIC_TYPE_LESTRING16: return wide_holds(e, file);
    case MAGIC_TYPE_DER: return der_holds(e, file);
    default: return magic_number_holds(e, file);
    }
}

int magic_regex_flags(const struct magic_entry *e)
{
    return REG_EXTENDED | REG_NEWLINE | (is_fold(e) ? REG_ICASE : 0);
}

/* One that libmagic cannot compile makes it fail for every file that comes so far. */
static bool compiles(const struct magic_entry *e)
{
    regex_t compiled;
    char last = '\0';

    if (!memchr(e->value.text, '\0', sizeof e->value.text))
        return false;
    for (const char *p = e->value.text; *p; p++) {
        bool is_text = is_space(*p) || *p == '\b' || (*p >= ' ' && *p <= '~');

        if (!is_text || (*p == last && is_in(*p, "?*+{")))
            return false;
        last = *p;
    }
    if (regcomp(&compiled, e->value.text, magic_regex_flags(e)) != 0)
        return false;
    regfree(&compiled);
    return true;
}

/* At most, without a look at lines. */
static size_t region_max(const struct magic_entry *e)
{
    size_t most = e->range;

    if (e->flags & MAGIC_REGEX_LINES)
        most *= LINE_LEN;
    return most == 0 || most > MAGIC_REGEX_MAX ? MAGIC_REGEX_MAX : most;
}

static void need_regex(const struct magic_entry *e, struct magic_need *n)
{
    if (!compiles(e))
        return;
    n->regex = true;
    if (e->reln != '=')
        return;
    ere_words(span_of(e->value.text), &n->words);
    if (n->words.n == 0)
        return;
    n->to = n->from + region_max(e);
    n->kind = MAGIC_NEED_WORDS;
}

/* mcopy() of libmagic. */
static size_t region_of_lines(const struct magic_entry *e, struct span s)
{
    size_t last = s.n, b = 0, lines = e->range;

    while (lines && b < s.n) {
        const char *next = memchr(s.p + b, '\n', s.n - b);

        if (!next)
            next = memchr(s.p + b, '\r', s.n - b);
        if (!next)
            break;
        b = (size_t)(next - s.p);
        if (b + 1 < s.n && s.p[b] == '\r' && s.p[b + 1] == '\n')
            b++;
        if (b + 1 < s.n && s.p[b] == '\n')
            b++;
        last = b;
        lines--;
        b++;
    }
    return lines ? s.n : last;
}

struct span magic_regex_region(const struct magic_entry *e, struct span file)
{
    struct span s = span_sub(file, (size_t)e->offset, region_max(e));

    if (file.n < (size_t)e->offset)
        return SPAN_NONE;
    if (e->flags & MAGIC_REGEX_LINES)
        s.n = region_of_lines(e, s);
    return s;
}

static void need_of_kind(const struct magic_entry *e, struct magic_need *n)
{
    if (magic_number_is(e)) {
        need_number(e, n);
        return;
    }
    if (e->type == MAGIC_TYPE_REGEX) {
        need_regex(e, n);
        return;
    }
    if (e->reln != '=')
        return;
    switch (e->type) {
    case MAGIC_TYPE_STRING: need_string(e, n); break;
    case MAGIC_TYPE_PSTRING: need_pstring(e, n); break;
    case MAGIC_TYPE_BESTRING16:
    case MAGIC_TYPE_LESTRING16: n->kind = MAGIC_NEED_CHECK; break;
    case MAGIC_TYPE_SEARCH: need_search(e, n); break;
    case MAGIC_TYPE_GUID: need_guid(e, n); break;
    case MAGIC_TYPE_DER:
        if (strncmp(e->value.text, "seq", 3) == 0)
            n->kind = MAGIC_NEED_CHECK;
        break;
    default: break;
    }
}

/* In letters of any case. */
static void fold_words(struct magic_need *n)
{
    for (unsigned i = 0; i < n->words.n; i++)
        n->words.v[i].fold = true;
}

#define RELATIVE (MAGIC_FLAG_OFFADD)
#define INDIRECT (MAGIC_FLAG_INDIR | MAGIC_FLAG_INDIROFFADD)
#define FAR      ((int32_t)MAGIC_ENCODING_MAX / 2) /* in front of the end of any long text */

/* Where the one above it was found nobody knows here: its words may stand anywhere. */
static void make_relative(struct magic_need *n)
{
    n->regex = false;
    n->from = 0;
    n->to = SIZE_MAX;
    if (n->kind == MAGIC_NEED_AT)
        n->kind = MAGIC_NEED_WORDS;
    if (n->kind == MAGIC_NEED_CHECK)
        n->kind = MAGIC_NEED_NOTHING;
    for (unsigned i = 0; i < n->words.n; i++)
        n->words.v[i].place = ERE_ANYWHERE;
}

/* |text|: it is tried on the text, which may end sooner than that of which is asked here. */
static void need_of(const struct magic_entry *e, bool text, struct magic_need *n)
{
    bool is_relative = e->flag & RELATIVE;

    *n = (struct magic_need){.kind = MAGIC_NEED_NOTHING, .entry = e};
    if ((e->flag & INDIRECT) || (e->offset < 0 && !is_relative))
        return;
    if (e->flag & MAGIC_FLAG_OFFNEGATIVE) {
        /* Counted from the end of a file that has a descriptor: there is none. */
        n->kind = e->level == 0 ? MAGIC_NEED_NEVER : MAGIC_NEED_NOTHING;
        return;
    }
    if (e->type == MAGIC_TYPE_DER && e->level > 0)
        return;
    n->from = is_relative ? 0 : (size_t)e->offset;
    need_of_kind(e, n);
    if (is_text_type(e) && is_fold(e))
        fold_words(n);
    if (is_relative)
        make_relative(n);
    if (text && n->kind == MAGIC_NEED_CHECK)
        n->kind = MAGIC_NEED_NOTHING;
    if (text && e->offset > FAR)
        n->regex = false;
}

static bool is_known(const struct magic_need *n)
{
    return n->kind != MAGIC_NEED_NOTHING || n->regex;
}

/* ---- groups ---- */

/* It may fail to hold, and do nothing else: libmagic neither gives up over it nor goes elsewhere.
 */
static bool is_harmless(const struct magic_entry *e)
{
    if ((e->flag & (INDIRECT | MAGIC_FLAG_OFFNEGATIVE)) || !is_in((char)e->reln, "=!<>&^x"))
        return false;
    switch (e->type) {
    case MAGIC_TYPE_DEFAULT:
    case MAGIC_TYPE_CLEAR:
    case MAGIC_TYPE_STRING:
    case MAGIC_TYPE_SEARCH: return true;
    case MAGIC_TYPE_REGEX: return compiles(e);
    default: return magic_number_is(e);
    }
}

static bool has_effect(const struct magic_entry *e)
{
    return e->desc[0] || e->mime[0] || e->type == MAGIC_TYPE_USE || e->type == MAGIC_TYPE_INDIRECT;
}

static NODISCARD bool add_need(struct magic_needs *all, const struct magic_need *n)
{
    if (all->n == MAGIC_NEEDS_MAX)
        return false;
    all->v[all->n] = *n;
    all->v[all->n++].condition = (uint8_t)all->n_conditions;
    return true;
}

/* The next entry right under g->v[parent], behind |at|; 0: there is none. */
static uint32_t next_child(const struct magic_group *g, uint32_t parent, uint32_t at)
{
    uint16_t level = g->v[parent].level;

    for (at++; at < g->n && g->v[at].level > level; at++)
        if (g->v[at].level == level + 1)
            return at;
    return 0;
}

/* One condition out of all that is right under g->v[parent]; none, when of one nothing is known. */
static void add_children(const struct magic_group *g, uint32_t parent, struct magic_needs *all)
{
    unsigned n = all->n;

    for (uint32_t i = parent; (i = next_child(g, parent, i)) != 0;) {
        struct magic_need need = {.kind = MAGIC_NEED_NOTHING};

        need_of(&g->v[i], g->v->flag & MAGIC_FLAG_TEXTTEST, &need);
        if (!is_known(&need) || !add_need(all, &need)) {
            all->n = n;
            return;
        }
    }
    all->n_conditions += all->n > n;
}

void magic_needs_of(const struct magic_group *g, struct magic_needs *ret)
{
    bool text = g->v->flag & MAGIC_FLAG_TEXTTEST;
    struct magic_need need;
    uint32_t at = 0, child;

    ret->n = ret->n_conditions = 0;
    need_of(g->v, text, &need);
    if (is_known(&need))
        ret->n_conditions += add_need(ret, &need);
    else if (!is_harmless(g->v))
        return;
    while (!has_effect(&g->v[at]) && ret->n_conditions < MAGIC_CONDITIONS_MAX) {
        child = next_child(g, at, at);
        if (child == 0)
            return;
        add_children(g, at, ret);
        if (next_child(g, at, child) != 0 || !is_harmless(&g->v[child]))
            return;
        at = child;
    }
}
