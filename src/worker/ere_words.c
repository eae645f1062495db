/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/ere_words.h"

#include <string.h>

#define REPEATS_MAX 65535u
#define TIMES_MAX   250u

enum piece_kind {
    PIECE_CHAR,
    PIECE_GROUP,
    PIECE_LINE_START,
    PIECE_OTHER,
};

/* An atom with what stands behind it: a{2,}, (b|c)*, ^. */
struct piece {
    enum piece_kind kind;
    char c;             /* of a CHAR */
    bool fold;          /* its case does not matter */
    struct span inside; /* of a GROUP */
    bool blank;         /* an OTHER that matches white space only */
    bool repeated;      /* it may be there twice */
    uint64_t times;     /* at least so often; 0: it may be missing */
};

enum step { STEP_PIECE, STEP_END, STEP_ODD };

static bool is_in(char c, const char *set)
{
    return c != '\0' && strchr(set, c) != NULL;
}

/* ---- atoms ---- */

/* |s| begins with '['. Its length up to and with the ']', or 0. */
static size_t bracket_len(struct span s)
{
    size_t n = 1;

    if (n < s.n && s.p[n] == '^')
        n++;
    if (n < s.n && s.p[n] == ']')
        n++;
    while (n < s.n && s.p[n] != ']') {
        if (s.p[n] == '[' && n + 1 < s.n && is_in(s.p[n + 1], ":.=")) {
            char close[2] = {s.p[n + 1], ']'};
            const char *end = memmem(s.p + n + 2, s.n - n - 2, close, 2);

            if (!end)
                return 0;
            n = (size_t)(end - s.p) + 2;
        } else {
            n++;
        }
    }
    return n < s.n ? n + 1 : 0;
}

/* Of one atom that is no group, or 0. */
static size_t atom_len(struct span s)
{
    if (s.p[0] == '[')
        return bracket_len(s);
    if (s.p[0] == '\\')
        return s.n > 1 ? 2 : 0;
    return 1;
}

/* |s| begins with '('. Its length up to and with the ')' that belongs to it, or 0. */
static size_t group_len(struct span s)
{
    size_t depth = 0;

    for (size_t n = 0; n < s.n;) {
        size_t step = atom_len(span_sub(s, n, SIZE_MAX));

        if (step == 0)
            return 0;
        depth += s.p[n] == '(';
        if (s.p[n] == ')' && --depth == 0)
            return n + 1;
        n += step;
    }
    return 0;
}

static bool is_blank(char c)
{
    return is_in(c, " \t\n\v\f\r");
}

/* Of a bracket expression: nothing but white space is in it. */
static bool is_blank_bracket(struct span s)
{
    bool blank = true;

    s = span_sub(s, 1, s.n - 2);
    while (blank && s.n) {
        struct span rest = s;

        if (span_starts(s, SPAN("[:space:]")) || span_starts(s, SPAN("[:blank:]")))
            s = span_sub(s, 9, SIZE_MAX);
        else
            s = span_sub(s, 1, SIZE_MAX);
        blank = is_blank(rest.p[0]) || rest.n - s.n == 9;
    }
    return blank;
}

/* [{] is a letter, and so is [Cc]. */
static void take_bracket(struct span s, struct piece *ret)
{
    struct span in = span_sub(s, 1, s.n - 2);
    char c = char_lower(in.p[0]);

    ret->blank = is_blank_bracket(s);
    ret->fold = in.n == 2 && in.p[0] != in.p[1] && c == char_lower(in.p[1]);
    if (ret->fold || (in.n == 1 && in.p[0] != '^')) {
        ret->kind = PIECE_CHAR;
        ret->c = in.p[0];
    }
}

/* Sets kind, c, inside and blank; how many bytes that took, or 0. */
static size_t take_atom(struct span s, struct piece *ret)
{
    size_t n = s.p[0] == '(' ? group_len(s) : atom_len(s);

    *ret = (struct piece){.kind = PIECE_OTHER, .times = 1};
    switch (s.p[0]) {
    case '(':
        ret->kind = PIECE_GROUP;
        ret->inside = span_sub(s, 1, n ? n - 2 : 0);
        return n;
    case '\\':
        /* Of a letter or a digit it may be anything: \b, \w, \1. */
        if (n && is_in(s.p[1], "\\.[](){}*+?|^$/\"-,;: ")) {
            ret->kind = PIECE_CHAR;
            ret->c = s.p[1];
        }
        return n;
    case '^': ret->kind = PIECE_LINE_START; return n;
    case '[':
        if (n)
            take_bracket(span_sub(s, 0, n), ret);
        return n;
    case '.':
    case '$': return n;
    /* Alone they are errors, or not, as the library likes. */
    case ')':
    case '*':
    case '+':
    case '?':
    case '{':
    case '|':
    case '\0': return 0;
    default:
        ret->kind = PIECE_CHAR;
        ret->c = s.p[0];
        ret->blank = is_blank(s.p[0]);
        return n;
    }
}

/* "{2,3}" at the start of |s|: its length, or 0. */
static size_t interval_len(struct span s, uint64_t *ret_min)
{
    size_t end = span_find(s, '}');
    struct span max = span_sub(s, 1, end - 1), min;
    bool has_max = span_find(max, ',') < max.n;
    uint64_t most;

    if (end >= s.n)
        return 0;
    min = span_cut(&max, ',');
    if (span_u64(min, REPEATS_MAX, ret_min) != OK)
        return 0;
    if (has_max && max.n && (span_u64(max, REPEATS_MAX, &most) != OK || most < *ret_min))
        return 0;
    return end + 1;
}

static enum step take_quantifiers(struct span *rest, struct piece *p)
{
    while (rest->n && is_in(rest->p[0], "*+?{")) {
        uint64_t min = rest->p[0] == '+' ? 1 : 0;
        size_t n = 1;

        if (rest->p[0] == '{')
            n = interval_len(*rest, &min);
        if (n == 0)
            return STEP_ODD;
        if (min == 0 || p->times == 0)
            p->times = 0;
        else
            p->times = p->repeated ? 1 : min; /* of a{2}+ that is enough to know */
        p->repeated = true;
        *rest = span_sub(*rest, n, SIZE_MAX);
    }
    return STEP_PIECE;
}

static enum step next_piece(struct span *rest, struct piece *ret)
{
    size_t n;

    if (rest->n == 0)
        return STEP_END;
    n = take_atom(*rest, ret);
    if (n == 0)
        return STEP_ODD;
    *rest = span_sub(*rest, n, SIZE_MAX);
    return take_quantifiers(rest, ret);
}

/* ---- lines ---- */

/* A bracket expression that may match a line feed; with REG_NEWLINE no [^...] does. */
static bool has_line_feed(struct span bracket)
{
    struct span inside = span_sub(bracket, 1, bracket.n - 2);
    bool has_range = span_find(inside, '-') < inside.n, has_control = false;

    if (span_starts(inside, SPAN("^")))
        return false;
    for (size_t i = 0; i < inside.n; i++)
        has_control |= (unsigned char)inside.p[i] < ' ';
    return span_find(inside, '\n') < inside.n || span_find(inside, '[') < inside.n ||
           (has_range && has_control);
}

/* What |s| matches is on one line. Parentheses and quantifiers do not matter for that. */
static bool is_of_one_line(struct span s)
{
    while (s.n) {
        size_t n = atom_len(s);

        if (n == 0 || s.p[0] == '\n' || s.p[0] == '\\' ||
            (s.p[0] == '[' && has_line_feed(span_sub(s, 0, n))))
            return false;
        s = span_sub(s, n, SIZE_MAX);
    }
    return true;
}

/* ---- words ---- */

/* How rare it is, in letters. */
static size_t worth_of(const struct ere_word *w)
{
    static const uint8_t place[] = {
        [ERE_ANYWHERE] = 0, [ERE_AFTER_BLANKS] = 2, [ERE_LINE_START] = 3};

    return (size_t)w->n + place[w->place] + (w->times > 1 ? 2u : 0u);
}

static size_t worth(const struct ere_words *w)
{
    size_t least = w->n ? SIZE_MAX : 0;

    for (unsigned i = 0; i < w->n; i++) {
        size_t one = worth_of(&w->v[i]);

        least = one < least ? one : least;
    }
    return least;
}

static void keep_better(struct ere_words *best, const struct ere_words *w)
{
    if (worth(w) > worth(best))
        *best = *w;
}

/* The word that grows, and the best that was there. */
struct run {
    struct ere_words now, best;
    enum ere_place place; /* where a word stands that begins now */
};

static void run_break(struct run *r)
{
    if (r->now.n)
        keep_better(&r->best, &r->now);
    r->now = (struct ere_words){.n = 0};
}

static void run_char(struct run *r, const struct piece *p)
{
    struct ere_word *w = &r->now.v[0];

    if (p->times == 0) {
        run_break(r);
        return;
    }
    if (r->now.n == 0) {
        r->now.n = 1;
        *w = (struct ere_word){.place = (uint8_t)r->place, .times = 1};
    }
    w->fold = w->fold || p->fold;
    if (w->n < ERE_WORD_LEN_MAX)
        w->bytes[w->n++] = p->c;
    if (p->repeated)
        run_break(r);
}

static void run_move(struct run *r, const struct piece *p)
{
    if (p->kind == PIECE_LINE_START && !p->repeated)
        r->place = ERE_LINE_START;
    else if (p->blank && r->place != ERE_ANYWHERE)
        r->place = ERE_AFTER_BLANKS;
    else
        r->place = ERE_ANYWHERE;
}

/* The alternatives of |s|, one by one; STEP_END behind the last. */
static enum step next_alternative(struct span *rest, struct span *ret)
{
    struct span s = *rest;

    if (!s.p)
        return STEP_END;
    for (size_t n = 0; n < s.n;) {
        struct span here = span_sub(s, n, SIZE_MAX);
        size_t step = s.p[n] == '(' ? group_len(here) : atom_len(here);

        if (step == 0)
            return STEP_ODD;
        if (s.p[n] == '|') {
            *ret = span_sub(s, 0, n);
            *rest = span_sub(s, n + 1, SIZE_MAX);
            return STEP_PIECE;
        }
        n += step;
    }
    *ret = s;
    *rest = SPAN_NONE;
    return STEP_PIECE;
}

/* Of one alternative, in which groups say nothing. */
static enum step alternative_words(struct span s, enum ere_place place, struct ere_words *ret)
{
    struct run r = {.place = place};
    struct piece p;
    enum step step;

    while ((step = next_piece(&s, &p)) == STEP_PIECE) {
        if (p.kind == PIECE_CHAR)
            run_char(&r, &p);
        else
            run_break(&r);
        run_move(&r, &p);
    }
    run_break(&r);
    *ret = r.best;
    return step;
}

/* All of them together: one for each alternative. */
static enum step group_words(struct span s, enum ere_place place, struct ere_words *ret)
{
    struct ere_words all = {.n = 0}, one;
    struct span alternative;
    enum step step;
    bool known = true;

    while ((step = next_alternative(&s, &alternative)) == STEP_PIECE) {
        if (alternative_words(alternative, place, &one) == STEP_ODD)
            return STEP_ODD;
        known = known && one.n == 1 && all.n < ERE_WORDS_MAX;
        if (known)
            all.v[all.n++] = one.v[0];
    }
    *ret = known ? all : (struct ere_words){.n = 0};
    return step;
}

static enum step run_group(struct run *r, const struct piece *p, bool one_line)
{
    struct ere_words w;
    enum step step = group_words(p->inside, r->place, &w);

    run_break(r);
    if (step == STEP_ODD || p->times == 0)
        return step;
    if (p->times > 1 && one_line && w.n == 1 && w.v[0].n == 1) {
        w.v[0].times = (uint8_t)(p->times < TIMES_MAX ? p->times : TIMES_MAX);
        w.v[0].place = ERE_ANYWHERE;
    }
    keep_better(&r->best, &w);
    return step;
}

/* Of a whole pattern without alternatives outside of groups. */
static enum step pattern_words(struct span s, struct ere_words *ret)
{
    bool one_line = is_of_one_line(s);
    struct run r = {.place = ERE_ANYWHERE};
    struct piece p;
    enum step step;

    while ((step = next_piece(&s, &p)) == STEP_PIECE) {
        if (p.kind == PIECE_GROUP && run_group(&r, &p, one_line) == STEP_ODD)
            return STEP_ODD;
        if (p.kind == PIECE_CHAR)
            run_char(&r, &p);
        else if (p.kind != PIECE_GROUP)
            run_break(&r);
        run_move(&r, &p);
    }
    run_break(&r);
    *ret = r.best;
    return step;
}

void ere_words(struct span pattern, struct ere_words *ret)
{
    struct span rest = pattern, first;
    enum step step = next_alternative(&rest, &first);

    *ret = (struct ere_words){.n = 0};
    if (step == STEP_PIECE)
        step = rest.p ? group_words(pattern, ERE_ANYWHERE, ret) : pattern_words(pattern, ret);
    if (step == STEP_ODD)
        *ret = (struct ere_words){.n = 0};
}
