/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/magic_index.h"

#include <stdlib.h>
#include <string.h>

#include <regex.h>

#include "worker/magic_need.h"
#include "worker/magic_words.h"

/* Words that may stand further away are looked for one by one, and only when all else is met. */
#define NEAR (2 * MAGIC_REGEX_MAX)

/* A need that is asked last, of a group all of whose early conditions are met: by looking for its
 * words, if it has some that were not looked for, and then by its regular expression. */
struct late {
    const struct magic_entry *entry;
    uint8_t condition; /* of the late ones of a condition, one must be met */
    bool is_check, is_regex;
    uint32_t words, n_words; /* in late_words */
    regex_t regex;
};

/* What is to be met for a group, and in this file has been so far: a bit for each condition. */
struct state {
    uint8_t want, got;
    bool hit;
    uint32_t late, n_late;
};

struct check {
    const struct magic_entry *entry;
    uint32_t id;
};

struct magic_index {
    const struct magic_group *groups;
    uint32_t n_groups;
    struct magic_words *words;
    struct check *checks;
    struct late *lates;
    struct magic_word *late_words;
    uint32_t n_checks, n_lates, n_late_words, cap_checks, cap_lates, cap_late_words;
    struct state *states;
    uint32_t *always, n_always; /* groups that want nothing */
    unsigned flags;             /* tests of which are looked for */
    uint32_t *touched, n_touched;
    uint32_t *hits, n_hits;
    char *room; /* for a regular expression */
};

/* ---- making ---- */

/* For one more of |n|; NULL when out of memory, and *v is as it was. */
static NODISCARD void *grown(void *v, uint32_t n, uint32_t *cap, size_t size)
{
    uint32_t more = *cap ? 2 * *cap : 256;

    if (n < *cap)
        return v;
    v = reallocarray(v, more, size);
    if (v)
        *cap = more;
    return v;
}

static uint32_t id_of(uint32_t group, unsigned condition)
{
    return group * MAGIC_CONDITIONS_MAX + condition;
}

static unsigned flags_of(const struct magic_index *x, uint32_t group)
{
    return x->groups[group].v->flag & (MAGIC_FLAG_BINTEST | MAGIC_FLAG_TEXTTEST);
}

static struct magic_word word_of(const struct magic_need *n, unsigned i)
{
    return (struct magic_word){.from = (uint32_t)n->from,
                               .to =
                                   n->to < MAGIC_WORD_NO_END ? (uint32_t)n->to : MAGIC_WORD_NO_END,
                               .is = n->words.v[i]};
}

static NODISCARD bool add_early_words(struct magic_index *x, uint32_t group,
                                      const struct magic_need *n)
{
    for (unsigned i = 0; i < n->words.n; i++) {
        struct magic_word w = word_of(n, i);
        uint32_t last = n->kind == MAGIC_NEED_AT ? w.to : w.from;

        w.flags = (uint8_t)flags_of(x, group);
        w.id = id_of(group, n->condition);
        for (uint32_t place = w.from; place <= last; place++) {
            if (n->kind == MAGIC_NEED_AT) {
                w.from = place;
                w.to = place + w.is.n;
            }
            if (!magic_words_add(x->words, &w))
                return false;
        }
    }
    return true;
}

static NODISCARD bool add_check(struct magic_index *x, uint32_t group, const struct magic_need *n)
{
    struct check *v = grown(x->checks, x->n_checks, &x->cap_checks, sizeof *v);

    if (!v)
        return false;
    x->checks = v;
    v[x->n_checks++] = (struct check){.entry = n->entry, .id = id_of(group, n->condition)};
    return true;
}

static NODISCARD bool add_early(struct magic_index *x, uint32_t group, const struct magic_need *n)
{
    x->states[group].want |= (uint8_t)(1u << n->condition);
    switch (n->kind) {
    case MAGIC_NEED_NOTHING:
    case MAGIC_NEED_NEVER: return true;
    case MAGIC_NEED_CHECK: return add_check(x, group, n);
    case MAGIC_NEED_AT:
    case MAGIC_NEED_WORDS: return add_early_words(x, group, n);
    }
    return false;
}

static NODISCARD bool add_late_words(struct magic_index *x, const struct magic_need *n,
                                     struct late *late)
{
    late->words = x->n_late_words;
    for (unsigned i = 0; i < n->words.n; i++) {
        struct magic_word *v = grown(x->late_words, x->n_late_words, &x->cap_late_words, sizeof *v);

        if (!v)
            return false;
        x->late_words = v;
        v[x->n_late_words] = word_of(n, i);
        if (n->kind == MAGIC_NEED_AT)
            v[x->n_late_words].to += v[x->n_late_words].is.n;
        x->n_late_words++;
    }
    late->n_words = n->words.n;
    return true;
}

/* |known|: its words, if it has any, are there when this is asked. */
static NODISCARD bool add_late(struct magic_index *x, uint32_t group, const struct magic_need *n,
                               bool known)
{
    struct late *v = grown(x->lates, x->n_lates, &x->cap_lates, sizeof *v);
    struct state *s = &x->states[group];
    struct late late = {.entry = n->entry,
                        .condition = n->condition,
                        .is_check = n->kind == MAGIC_NEED_CHECK,
                        .is_regex = n->regex};

    if (!v)
        return false;
    x->lates = v;
    if (!known && !late.is_check && !add_late_words(x, n, &late))
        return false;
    if (n->regex && regcomp(&late.regex, n->entry->value.text, magic_regex_flags(n->entry)) != 0)
        return false;
    if (s->n_late == 0)
        s->late = x->n_lates;
    s->n_late++;
    v[x->n_lates++] = late;
    return true;
}

/* Cheap to look for with all the others. */
static bool is_near(const struct magic_need *n)
{
    bool near = n->kind == MAGIC_NEED_WORDS && n->to <= NEAR;

    for (unsigned i = 0; i < n->words.n; i++)
        near = near && (n->words.v[i].n >= 3 || n->words.v[i].place != ERE_ANYWHERE);
    return near;
}

/* The test itself is asked of every file, unless only a regular expression can tell; what is under
 * it, when that costs next to nothing because many words are looked for there anyway. */
static bool is_early(const struct magic_index *x, uint32_t group, const struct magic_needs *all,
                     unsigned condition)
{
    bool near = flags_of(x, group) & MAGIC_FLAG_TEXTTEST, known = true, is_test = false;

    for (unsigned i = 0; i < all->n; i++) {
        const struct magic_need *n = &all->v[i];

        if (n->condition != condition)
            continue;
        known = known && n->kind != MAGIC_NEED_NOTHING;
        near = near && is_near(n);
        is_test = n->entry->level == 0;
    }
    return known && (is_test || near);
}

/* A regular expression that has to hold whichever of the condition's needs is met by its words. */
static bool is_all_regex(const struct magic_needs *all, unsigned condition)
{
    bool regex = true;

    for (unsigned i = 0; i < all->n; i++)
        regex = regex && (all->v[i].condition != condition || all->v[i].regex);
    return regex;
}

static NODISCARD bool add_group(struct magic_index *x, uint32_t group)
{
    struct magic_needs all;

    magic_needs_of(&x->groups[group], &all);
    for (unsigned i = 0; i < all.n; i++) {
        const struct magic_need *n = &all.v[i];
        bool early = is_early(x, group, &all, n->condition);

        if (early && !add_early(x, group, n))
            return false;
        if ((!early || is_all_regex(&all, n->condition)) && !add_late(x, group, n, early))
            return false;
    }
    if (x->states[group].want == 0)
        x->always[x->n_always++] = group;
    return true;
}

static NODISCARD bool fill(struct magic_index *x)
{
    size_t n = x->n_groups ? x->n_groups : 1;

    x->words = magic_words_new();
    x->always = calloc(n, sizeof *x->always);
    x->touched = calloc(n, sizeof *x->touched);
    x->hits = calloc(n, sizeof *x->hits);
    x->states = calloc(n, sizeof *x->states);
    x->room = malloc(MAGIC_REGEX_MAX + 1);
    if (!x->words || !x->always || !x->touched || !x->hits || !x->states || !x->room)
        return false;
    for (uint32_t i = 0; i < x->n_groups; i++)
        if (!add_group(x, i))
            return false;
    return magic_words_ready(x->words);
}

enum err magic_index_new(const struct magic_group *groups, uint32_t n, struct magic_index **ret)
{
    struct magic_index *x = calloc(1, sizeof *x);

    if (!x)
        return ERR_NOMEM;
    x->groups = groups;
    x->n_groups = n;
    if (!fill(x)) {
        magic_index_free(x);
        return ERR_NOMEM;
    }
    *ret = x;
    return OK;
}

void magic_index_free(struct magic_index *x)
{
    if (!x)
        return;
    for (uint32_t i = 0; i < x->n_lates; i++)
        if (x->lates[i].is_regex)
            regfree(&x->lates[i].regex);
    magic_words_free(x->words);
    free(x->checks);
    free(x->lates);
    free(x->late_words);
    free(x->states);
    free(x->always);
    free(x->touched);
    free(x->hits);
    free(x->room);
    free(x);
}

/* ---- late conditions ---- */

/* As magiccheck() of libmagic does it: without the last byte, and up to the first NUL. */
static bool regex_holds(struct magic_index *x, const struct late *l, struct span file)
{
    struct span region = magic_regex_region(l->entry, file);
    size_t n = region.n ? region.n - 1 : 0;
    regmatch_t match;
    int found;

    if (!region.p)
        return true;
    memcpy(x->room, region.p, n);
    x->room[n] = '\0';
    found = regexec(&l->regex, x->room, 1, &match, 0);
    switch (l->entry->reln) {
    case '=': return found != REG_NOMATCH;
    case '!': return found != 0;
    default: return true;
    }
}

static bool late_holds(struct magic_index *x, const struct late *l, struct span file)
{
    bool found = l->n_words == 0;

    if (l->is_check)
        return magic_check_holds(l->entry, file);
    for (uint32_t i = 0; i < l->n_words && !found; i++)
        found = magic_word_is_in(&x->late_words[l->words + i], file);
    return found && (!l->is_regex || regex_holds(x, l, file));
}

/* One of each condition. */
static bool lates_hold(struct magic_index *x, const struct state *s, struct span file)
{
    const struct late *v = &x->lates[s->late];

    for (uint32_t i = 0; i < s->n_late;) {
        uint8_t condition = v[i].condition;
        bool holds = false;

        for (; i < s->n_late && v[i].condition == condition; i++)
            holds = holds || late_holds(x, &v[i], file);
        if (!holds)
            return false;
    }
    return true;
}

/* ---- asking ---- */

static void meet(void *ctx, uint32_t id)
{
    struct magic_index *x = ctx;
    uint32_t group = id / MAGIC_CONDITIONS_MAX;
    struct state *s = &x->states[group];

    if (s->got == 0)
        x->touched[x->n_touched++] = group;
    s->got |= (uint8_t)(1u << id % MAGIC_CONDITIONS_MAX);
}

static void find_checks(struct magic_index *x, struct span file)
{
    for (uint32_t i = 0; i < x->n_checks; i++) {
        const struct check *n = &x->checks[i];

        if ((flags_of(x, n->id / MAGIC_CONDITIONS_MAX) & x->flags) &&
            magic_check_holds(n->entry, file))
            meet(x, n->id);
    }
}

static void add_hit(struct magic_index *x, uint32_t group, struct span s)
{
    struct state *state = &x->states[group];

    if (state->hit || state->got != state->want || !(flags_of(x, group) & x->flags) ||
        !lates_hold(x, state, s))
        return;
    state->hit = true;
    x->hits[x->n_hits++] = group;
}

static void find(struct magic_index *x, struct span s, unsigned flags)
{
    x->flags = flags;
    magic_words_find(x->words, s, flags, meet, x);
    find_checks(x, s);
    for (uint32_t i = 0; i < x->n_touched; i++)
        add_hit(x, x->touched[i], s);
    for (uint32_t i = 0; i < x->n_always; i++)
        add_hit(x, x->always[i], s);
    for (uint32_t i = 0; i < x->n_touched; i++)
        x->states[x->touched[i]].got = 0;
    x->n_touched = 0;
}

static int in_order(const void *a, const void *b)
{
    const uint32_t *x = a, *y = b;

    return *x < *y ? -1 : *x > *y;
}

/* In order; the scratch is clean again. */
static NODISCARD enum err take_hits(struct magic_index *x, struct magic_hits *ret)
{
    uint32_t n = x->n_hits;

    ret->flags = 0;
    for (uint32_t i = 0; i < n; i++) {
        x->states[x->hits[i]].hit = false;
        ret->flags |= flags_of(x, x->hits[i]);
    }
    x->n_hits = 0;
    if (n > MAGIC_HITS_MAX)
        return ERR_LIMIT;
    qsort(x->hits, n, sizeof *x->hits, in_order);
    memcpy(ret->group, x->hits, n * sizeof *x->hits);
    ret->n = n;
    return OK;
}

enum err magic_index_find(struct magic_index *x, struct span file, struct span text,
                          struct magic_hits *ret)
{
    bool same = text.p && text.p == file.p && text.n == file.n;

    find(x, file, MAGIC_FLAG_BINTEST | (same ? MAGIC_FLAG_TEXTTEST : 0));
    if (text.p && !same)
        find(x, text, MAGIC_FLAG_TEXTTEST);
    return take_hits(x, ret);
}
