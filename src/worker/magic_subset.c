/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/magic_subset.h"

#include <stdlib.h>
#include <string.h>

#define NONE UINT32_MAX

/* ---- the base ---- */

static const struct magic_entry *list_of(const struct magic_file *f, bool names, uint32_t *ret_n)
{
    *ret_n = names ? f->n_names : f->n_tests;
    return names ? f->names : f->tests;
}

/* The groups of all files, one after the other. */
static NODISCARD enum err list_groups(const struct magic_base *b, bool names,
                                      struct magic_group **ret, uint32_t *ret_n)
{
    struct magic_group *v;
    uint32_t k = 0, most = 1, n;

    for (size_t i = 0; i < b->n_files; i++) {
        (void)list_of(&b->files[i], names, &n);
        if (__builtin_add_overflow(most, n, &most))
            return ERR_LIMIT;
    }
    v = calloc(most, sizeof *v);
    if (!v)
        return ERR_NOMEM;
    for (uint32_t i = 0; i < b->n_files; i++) {
        const struct magic_entry *e = list_of(&b->files[i], names, &n);

        for (uint32_t at = 0; at < n; at += v[k++].n)
            v[k] =
                (struct magic_group){.v = e + at, .n = magic_group_size(e + at, n - at), .file = i};
    }
    *ret = v;
    *ret_n = k;
    return OK;
}

/* libmagic takes the first group of that name. */
static uint32_t find_name(const struct magic_base *b, struct span name)
{
    for (uint32_t i = 0; i < b->n_names; i++)
        if (span_eq(name, magic_entry_name(b->names[i].v)))
            return i;
    return NONE;
}

static NODISCARD enum err list_uses(struct magic_base *b)
{
    for (size_t i = 0; i < b->n_files; i++) {
        const struct magic_file *f = &b->files[i];
        size_t n = (size_t)f->n_tests + f->n_names;

        b->uses[i] = calloc(n ? n : 1, sizeof *b->uses[i]);
        if (!b->uses[i])
            return ERR_NOMEM;
        for (size_t k = 0; k < n; k++)
            if (f->tests[k].type == MAGIC_TYPE_USE)
                b->uses[i][k] = find_name(b, magic_entry_name(&f->tests[k]));
    }
    return OK;
}

static NODISCARD enum err base_fill(struct magic_base *b)
{
    TRY(list_groups(b, false, &b->groups, &b->n_groups));
    TRY(list_groups(b, true, &b->names, &b->n_names));
    return list_uses(b);
}

enum err magic_base_init(struct magic_base *b, const struct magic_file *files, size_t n)
{
    enum err e;

    memset(b, 0, sizeof *b);
    if (n > MAGIC_FILES_MAX)
        return ERR_LIMIT;
    memcpy(b->files, files, n * sizeof *files);
    b->n_files = n;
    e = base_fill(b);
    if (e != OK)
        magic_base_done(b);
    return e;
}

void magic_base_done(struct magic_base *b)
{
    free(b->groups);
    free(b->names);
    for (size_t i = 0; i < b->n_files; i++)
        free(b->uses[i]);
    memset(b, 0, sizeof *b);
}

/* ---- a subset ---- */

/* Asked for types, libmagic ends at the first entry that holds and has one: what would be asked
 * under it never is. */
struct walk {
    const struct magic_group *g;
    uint32_t at;
    uint32_t above; /* entries of a higher level are under one that has a type */
};

static const struct magic_entry *walk_next(struct walk *w)
{
    while (w->at < w->g->n) {
        const struct magic_entry *e = &w->g->v[w->at++];

        if (e->level > w->above)
            continue;
        w->above = e->mime[0] ? e->level : UINT32_MAX;
        return e;
    }
    return NULL;
}

static struct walk walk_of(const struct magic_group *g)
{
    return (struct walk){.g = g, .above = UINT32_MAX};
}

/* A subset in the making. */
struct making {
    const struct magic_base *b;
    const struct magic_hits *hits;
    uint32_t n;       /* entries */
    bool follows_any; /* a name is used by a group whose test begins with no value */
    uint32_t names[MAGIC_SUBSET_MAX], n_names; /* used, in the order in which they were found */
};

static bool is_used(const struct making *m, uint32_t name)
{
    for (uint32_t i = 0; i < m->n_names; i++)
        if (m->names[i] == name)
            return true;
    return false;
}

static NODISCARD enum err use(struct making *m, uint32_t name)
{
    if (name == NONE)
        return ERR_MISSING;
    if (is_used(m, name))
        return OK;
    if (m->n_names == ARRAY_LEN(m->names))
        return ERR_LIMIT;
    m->names[m->n_names++] = name;
    return OK;
}

/* A letter of two bytes that is missing at the end of the file, libmagic takes from the value that
 * it had before, which most tests set, and these do not: then it may be one of another group. */
static bool is_wide(const struct magic_entry *e)
{
    return e->type == MAGIC_TYPE_LESTRING16 || e->type == MAGIC_TYPE_BESTRING16;
}

static bool sets_value(const struct magic_entry *e)
{
    return !is_wide(e) && e->type != MAGIC_TYPE_SEARCH && e->type != MAGIC_TYPE_REGEX &&
           e->type != MAGIC_TYPE_DER;
}

/* libmagic ends a group early where an offset is beyond the file, and then takes what the group had
 * said by then for the next test's that holds, whatever that is: perhaps one that is not in the
 * subset. Can that happen to this entry, although it was asked? An eight-byte number is asked for
 * beyond the end, '!' holds there, and from the end there is no offset in memory. */
static bool may_end_early(const struct magic_entry *e)
{
    bool eight =
        e->type == MAGIC_TYPE_QUAD || e->type == MAGIC_TYPE_LEQUAD || e->type == MAGIC_TYPE_BEQUAD;

    if (e->level > 0)
        return e->flag & MAGIC_FLAG_OFFNEGATIVE && !(e->flag & MAGIC_FLAG_OFFADD);
    return eight || e->reln == '!';
}

/* It says something that is no type yet. */
static bool says_more_than_type(const struct magic_entry *e)
{
    return (e->desc[0] && !e->mime[0]) || e->type == MAGIC_TYPE_USE;
}

/* Counts what the group has, and notes the names that it uses. |any|: what the test before it left
 * may matter. */
static NODISCARD enum err survey(struct making *m, const struct magic_group *g, bool any)
{
    const struct magic_entry *first = m->b->files[g->file].tests, *e;
    struct walk w = walk_of(g);
    bool ends_early = false, says = false;

    while ((e = walk_next(&w))) {
        if (++m->n > MAGIC_SUBSET_MAX)
            return ERR_LIMIT;
        ends_early = ends_early || may_end_early(e);
        says = says || says_more_than_type(e);
        if (e->type == MAGIC_TYPE_INDIRECT || (any && is_wide(e)))
            return ERR_MISSING;
        if (e->type == MAGIC_TYPE_USE) {
            m->follows_any = m->follows_any || any;
            TRY(use(m, m->b->uses[g->file][e - first]));
        }
    }
    return ends_early && says ? ERR_MISSING : OK;
}

static NODISCARD enum err survey_all(struct making *m)
{
    for (unsigned i = 0; i < m->hits->n; i++) {
        const struct magic_group *g = &m->b->groups[m->hits->group[i]];

        TRY(survey(m, g, !sets_value(g->v)));
    }
    /* Names use names: the list grows while this goes along it. */
    for (uint32_t i = 0; i < m->n_names; i++)
        TRY(survey(m, &m->b->names[m->names[i]], m->follows_any));
    return OK;
}

/* The number of entries that were copied. */
static uint32_t copy(const struct magic_group *g, uint32_t file, struct magic_entry *to)
{
    const struct magic_entry *e;
    struct walk w = walk_of(g);
    uint32_t n = 0;

    while (g->file == file && (e = walk_next(&w)))
        to[n++] = *e;
    return n;
}

/* A name has one group here, so that their order does not matter. */
static uint32_t copy_file(const struct making *m, uint32_t file, struct magic_entry *to)
{
    uint32_t n_tests = 0, n_names = 0;

    for (unsigned i = 0; i < m->hits->n; i++)
        n_tests += copy(&m->b->groups[m->hits->group[i]], file, to + 1 + n_tests);
    for (uint32_t i = 0; i < m->n_names; i++)
        n_names += copy(&m->b->names[m->names[i]], file, to + 1 + n_tests + n_names);
    magic_file_head(to, n_tests, n_names);
    return 1 + n_tests + n_names;
}

static void add_file(struct magic_subset *s, struct magic_entry **to, uint32_t n)
{
    s->files[s->n_files] = *to;
    s->sizes[s->n_files++] = n * sizeof **to;
    *to += n;
}

/* "0 string x", which asks nothing. */
static uint32_t write_end(struct magic_entry *to)
{
    magic_file_head(to, 1, 0);
    to[1] = (struct magic_entry){.flag = MAGIC_FLAG_BINTEST,
                                 .type = MAGIC_TYPE_STRING,
                                 .reln = 'x',
                                 .mime = MAGIC_SUBSET_END};
    return 2;
}

enum err magic_subset_make(const struct magic_base *b, const struct magic_hits *hits, bool end,
                           struct magic_subset *s)
{
    struct making m = {.b = b, .hits = hits};
    struct magic_entry *to = s->room;

    TRY(survey_all(&m));
    s->n_files = 0;
    for (uint32_t i = 0; i < b->n_files; i++)
        add_file(s, &to, copy_file(&m, i, to));
    if (end)
        add_file(s, &to, write_end(to));
    return OK;
}
