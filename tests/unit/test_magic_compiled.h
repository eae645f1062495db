/* SPDX-License-Identifier: Apache-2.0 */
/* test_magic_compiled.h - the system's compiled magic file, and bytes in which its tests hold. */
#ifndef TEST_MAGIC_COMPILED_H
#define TEST_MAGIC_COMPILED_H

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "worker/magic_number.h"
#include "worker/magic_subset.h"

#define MAGIC_COMPILED "/usr/share/misc/magic.mgc"

typedef uint32_t magic_random(uint32_t below);

struct magic_compiled {
    struct span map;
    struct magic_base base;
};

/* False: it is not there, or not one that is known here. */
static inline bool magic_compiled_open(struct magic_compiled *m)
{
    struct magic_file file;
    struct stat st;
    int fd = open(MAGIC_COMPILED, O_RDONLY | O_CLOEXEC);
    void *p;

    if (fd < 0)
        return false;
    assert_int_equal(fstat(fd, &st), 0);
    p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    (void)close(fd);
    assert_true(p != MAP_FAILED);
    m->map = (struct span){p, (size_t)st.st_size};
    if (magic_file_parse(m->map, &file) != OK) {
        (void)munmap(p, m->map.n);
        return false;
    }
    assert_int_equal(magic_base_init(&m->base, &file, 1), OK);
    return true;
}

/* For tests that need it. Elsewhere there may be another libmagic; where everything is tested its
 * absence is an error. */
#define MAGIC_COMPILED_NEED(m)                                               \
    do {                                                                     \
        if (!magic_compiled_open(m)) {                                       \
            if (getenv("CI"))                                                \
                fail_msg("no magic file of libmagic 5.44: " MAGIC_COMPILED); \
            skip();                                                          \
        }                                                                    \
    } while (0)

static inline void magic_compiled_close(struct magic_compiled *m)
{
    magic_base_done(&m->base);
    (void)munmap((void *)(uintptr_t)m->map.p, m->map.n);
}

/* ---- one regular expression: a text in which it finds something, mostly ---- */

struct ere_maker {
    const char *p;
    char *to, *end;
    magic_random *pick;
};

static inline void ere_put(struct ere_maker *m, char c)
{
    if (m->to < m->end)
        *m->to++ = c;
}

/* "[:space:]" of a bracket expression, or one letter of it, or a range: one that is in it. */
static inline const char *ere_class(struct ere_maker *m, const char *p, char *ret)
{
    static const struct {
        struct span name;
        const char *letters;
    } classes[] = {
        {SPAN("[:space:]"), " \t\n"},
        {SPAN("[:alpha:]"), "aZ"   },
        {SPAN("[:digit:]"), "07"   },
        {SPAN("[:blank:]"), " \t"  },
        {SPAN("[:alnum:]"), "a7"   },
        {SPAN("[:upper:]"), "AZ"   },
    };

    for (size_t i = 0; i < ARRAY_LEN(classes); i++)
        if (strncmp(p, classes[i].name.p, classes[i].name.n) == 0) {
            *ret = classes[i].letters[m->pick((uint32_t)strlen(classes[i].letters))];
            return p + classes[i].name.n;
        }
    *ret = *p;
    if (p[1] == '-' && p[2] && p[2] != ']') {
        *ret = (char)(p[0] + (char)m->pick((uint32_t)(p[2] - p[0]) + 1));
        return p + 3;
    }
    return p + 1;
}

static inline void ere_bracket(struct ere_maker *m)
{
    bool negated = m->p[1] == '^';
    const char *p = m->p + 1 + negated;
    char c = 'x', one;
    unsigned n = 0;

    do {
        p = ere_class(m, p, &one);
        if (m->pick(++n) == 0)
            c = one;
    } while (*p && *p != ']');
    ere_put(m, negated ? 'x' : c);
    m->p = *p ? p + 1 : p;
}

static inline void ere_alternatives(struct ere_maker *m);

static inline void ere_atom(struct ere_maker *m)
{
    switch (*m->p) {
    case '(':
        m->p++;
        ere_alternatives(m);
        m->p += *m->p == ')';
        return;
    case '[': ere_bracket(m); return;
    case '^':
    case '$': m->p++; return;
    case '.': ere_put(m, 'y'); break;
    case '\\': ere_put(m, *++m->p); break;
    default: ere_put(m, *m->p); break;
    }
    m->p += *m->p != '\0';
}

/* Of {2,5} and the like; behind it. */
static inline const char *ere_times(const char *p, magic_random *pick, uint32_t *ret)
{
    uint32_t least = 0;

    switch (*p) {
    case '*': *ret = pick(3); return p + 1;
    case '+': *ret = 1 + pick(2); return p + 1;
    case '?': *ret = pick(2); return p + 1;
    case '{':
        for (p++; *p >= '0' && *p <= '9'; p++)
            least = 10 * least + (uint32_t)(*p - '0');
        *ret = least;
        while (*p && *p++ != '}')
            ;
        return p;
    default: *ret = 1; return p;
    }
}

static inline void ere_piece(struct ere_maker *m)
{
    const char *atom = m->p, *behind;
    char *to = m->to;
    uint32_t times;

    ere_atom(m);
    behind = ere_times(m->p, m->pick, &times);
    if (times == 0)
        m->to = to;
    for (; times > 1; times--) {
        m->p = atom;
        ere_atom(m);
    }
    m->p = behind;
}

/* One of them is taken: the others are made, and thrown away. */
static inline void ere_alternatives(struct ere_maker *m)
{
    char *from = m->to, kept[256];
    size_t n = 0;
    unsigned alternatives = 0;

    for (;;) {
        m->to = from;
        while (*m->p && *m->p != '|' && *m->p != ')')
            ere_piece(m);
        if (m->pick(++alternatives) == 0) {
            n = (size_t)(m->to - from) < sizeof kept ? (size_t)(m->to - from) : sizeof kept;
            memcpy(kept, from, n);
        }
        if (*m->p != '|')
            break;
        m->p++;
    }
    memcpy(from, kept, n);
    m->to = from + n;
}

static inline size_t ere_make(const char *pattern, char *to, size_t room, magic_random *pick)
{
    struct ere_maker m = {.p = pattern, .to = to, .end = to + room, .pick = pick};

    while (*m.p) {
        ere_alternatives(&m);
        m.p += *m.p != '\0'; /* a ')' too many */
    }
    return (size_t)(m.to - to);
}

/* ---- one entry ---- */

/* White space of a value as it may come. */
static inline size_t loosen(const struct magic_entry *e, char *to, magic_random *pick)
{
    bool compact = e->flags & MAGIC_STRING_COMPACT, optional = e->flags & MAGIC_STRING_OPTIONAL;
    size_t n = 0;

    for (size_t i = 0; i < e->value_n; i++) {
        char c = e->value.text[i];
        bool space = c == ' ' || (c >= '\t' && c <= '\r');

        if (!space || !optional || pick(2))
            to[n++] = c;
        if (space && (compact || optional) && pick(2))
            to[n++] = pick(2) ? ' ' : '\t';
        if (!space && (e->flags & MAGIC_STRING_LOWER) && c >= 'a' && c <= 'z' && pick(2))
            to[n - 1] = (char)(c - 0x20);
    }
    return n;
}

static inline size_t number_value(const struct magic_entry *e, char *to)
{
    bool big = e->type == MAGIC_TYPE_BESHORT || e->type == MAGIC_TYPE_BELONG ||
               e->type == MAGIC_TYPE_BEQUAD;
    uint64_t v = e->value.number + (e->reln == '>') - (e->reln == '<');
    size_t n = 4;

    if (e->type == MAGIC_TYPE_BYTE)
        n = 1;
    else if (e->type == MAGIC_TYPE_SHORT || e->type == MAGIC_TYPE_BESHORT ||
             e->type == MAGIC_TYPE_LESHORT)
        n = 2;
    else if (e->type == MAGIC_TYPE_QUAD || e->type == MAGIC_TYPE_BEQUAD ||
             e->type == MAGIC_TYPE_LEQUAD)
        n = 8;
    for (size_t i = 0; i < n; i++)
        to[big ? n - 1 - i : i] = (char)(v >> 8 * i);
    return n;
}

/* Bytes for which |e| holds, if it is of a kind that can be made here; up to 512. */
static inline size_t entry_value(const struct magic_entry *e, char *to, magic_random *pick)
{
    switch (e->type) {
    case MAGIC_TYPE_STRING:
    case MAGIC_TYPE_SEARCH: return loosen(e, to, pick);
    case MAGIC_TYPE_REGEX: return ere_make(e->value.text, to, 512, pick);
    case MAGIC_TYPE_PSTRING:
        to[0] = (char)e->value_n;
        memcpy(to + 1, e->value.text, e->value_n);
        return 1 + (size_t)e->value_n;
    case MAGIC_TYPE_LESTRING16:
    case MAGIC_TYPE_BESTRING16:
        for (size_t i = 0; i < e->value_n; i++) {
            to[2 * i + (e->type == MAGIC_TYPE_BESTRING16)] = e->value.text[i];
            to[2 * i + (e->type == MAGIC_TYPE_LESTRING16)] = '\0';
        }
        return 2 * (size_t)e->value_n;
    case MAGIC_TYPE_GUID: memcpy(to, e->value.text, 16); return 16;
    case MAGIC_TYPE_DER: memcpy(to, "\x30\x82\x01\x0a\x02\x01\x00", 7); return 7;
    default: return number_value(e, to);
    }
}

static inline size_t put_value(const struct magic_entry *e, size_t at, char *bytes, size_t n,
                               size_t max, magic_random *pick)
{
    char value[512];
    size_t len = entry_value(e, value, pick);

    if (e->type == MAGIC_TYPE_SEARCH || e->type == MAGIC_TYPE_REGEX)
        at += e->range == 1 || pick(2) ? 0 : pick(e->range && e->range < 8192 ? e->range : 2000);
    if (at + len > max)
        return n;
    if (at > n)
        memset(bytes + n, pick(2) ? ' ' : 0, at - n);
    memcpy(bytes + at, value, len);
    return at + len > n ? at + len : n;
}

/* Writes what makes the tests of a group hold, down one way under it, over |bytes|, of which |n|
 * are there; returns how many are there then. */
static inline size_t magic_compiled_plant(const struct magic_compiled *m, uint32_t group,
                                          char *bytes, size_t n, size_t max, magic_random *pick)
{
    const struct magic_group *g = &m->base.groups[group];
    size_t at = (size_t)g->v->offset;
    uint16_t level = 0;

    for (uint32_t i = 0; i < g->n; i++) {
        const struct magic_entry *e = &g->v[i];

        if (e->level > level || (e->flag & (MAGIC_FLAG_INDIR | MAGIC_FLAG_INDIROFFADD)) ||
            e->type == MAGIC_TYPE_USE || e->type == MAGIC_TYPE_INDIRECT ||
            e->type == MAGIC_TYPE_DEFAULT || e->type == MAGIC_TYPE_CLEAR)
            continue;
        if (i > 0 && pick(3) == 0)
            continue;
        if (e->flag & MAGIC_FLAG_OFFADD)
            at += 8 + (size_t)(e->offset > 0 ? e->offset : 0);
        else if (e->offset >= 0)
            at = (size_t)e->offset;
        n = put_value(e, at, bytes, n, max, pick);
        level = (uint16_t)(e->level + 1);
    }
    return n;
}

#endif
