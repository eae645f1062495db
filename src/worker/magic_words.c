/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/magic_words.h"

#include <stdlib.h>
#include <string.h>

#define GRAM        3u /* letters by which long words are found */
#define GRAM_MASK   0xffffffu
#define GRAM_BITS   16u
#define BUCKET_BITS 10u
#define PLACES      2u /* offsets at which so many words stand that they are told by a first byte */
#define EVERY_BYTE  256u
#define FLAG_SETS   256u
#define NEAR        16384u /* most words end there, if they are in a file at all */

/* A word with the gram by which it is found, and how far into the word that is. */
struct gram_word {
    uint32_t gram, word;
    uint8_t at;
};

struct list {
    uint32_t *v, n, cap;
};

struct magic_words {
    struct magic_word *v;
    uint32_t n, cap;
    struct list first[PLACES][EVERY_BYTE]; /* words of one place, by that and their first byte */
    struct list elsewhere;                 /* words of one other place, in order */
    struct list lines[EVERY_BYTE]; /* short words of the beginnings of lines, by first byte */
    struct list shorts;            /* other short words */
    struct list longs;
    struct gram_word *grams;
    uint32_t bucket[(1u << BUCKET_BITS) + 1];
    /* Grams that there are, by their hashes; and those of words that may end beyond NEAR. */
    uint64_t seen[(1u << GRAM_BITS) / 64], seen_far[(1u << GRAM_BITS) / 64];
    uint32_t long_end[FLAG_SETS], line_end; /* where the last of these may end */
};

/* ---- one word ---- */

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* |at| is at the beginning of a line, or of where the word may stand, but for white space. */
static bool is_placed(const struct magic_word *w, struct span file, size_t at)
{
    if (w->is.place == ERE_ANYWHERE)
        return true;
    while (w->is.place == ERE_AFTER_BLANKS && at > w->from && is_blank(file.p[at - 1]) &&
           file.p[at - 1] != '\n')
        at--;
    return at == w->from || file.p[at - 1] == '\n';
}

static bool is_at(const struct magic_word *w, struct span file, size_t at)
{
    struct span there = span_sub(file, at, w->is.n), want = {w->is.bytes, w->is.n};

    return at >= w->from && at + w->is.n <= w->to &&
           (w->is.fold ? span_ieq(there, want) : span_eq(there, want)) && is_placed(w, file, at);
}

/* A line has the word's one letter often enough. */
static bool is_often(const struct magic_word *w, struct span s)
{
    unsigned n = 0;

    for (size_t i = span_find(s, w->is.bytes[0]); i < s.n; i++) {
        if (s.p[i] == '\n')
            n = 0;
        else if (s.p[i] == w->is.bytes[0] && ++n >= w->is.times)
            return true;
    }
    return false;
}

bool magic_word_is_in(const struct magic_word *w, struct span file)
{
    size_t end = w->to < file.n ? w->to : file.n;
    struct span s = span_sub(span_sub(file, 0, end), w->from, SIZE_MAX);
    size_t at = w->from;

    if (w->from > end)
        return false;
    if (w->is.times > 1 && !w->is.fold)
        return is_often(w, s);
    for (; at + w->is.n <= end; at++) {
        if (!w->is.fold) {
            const char *next = memmem(file.p + at, end - at, w->is.bytes, w->is.n);

            if (!next)
                return false;
            at = (size_t)(next - file.p);
        }
        if (is_at(w, file, at))
            return true;
    }
    return false;
}

/* ---- making ---- */

/* Letters of both cases, and some other pairs, become one. */
static uint32_t fold(char c)
{
    return (unsigned char)c | 0x20u;
}

static uint32_t gram_of(const char *p)
{
    return fold(p[0]) << 16 | fold(p[1]) << 8 | fold(p[2]);
}

static uint32_t hash_of(uint32_t gram)
{
    return gram * 0x9E3779B1u >> (32u - GRAM_BITS);
}

/* How common it is in texts. */
static unsigned commonness(uint32_t gram)
{
    static const char common[] = "qjzxvkwybgpmfucdlhrsnioate ";
    unsigned sum = 0;

    for (unsigned i = 0; i < GRAM; i++, gram >>= 8) {
        const char *at = memchr(common, (int)(gram & 0xff), sizeof common - 1);

        sum += at ? 4 + (unsigned)(at - common) : 0;
    }
    return sum;
}

static NODISCARD bool push(struct list *l, uint32_t i)
{
    if (l->n == l->cap) {
        uint32_t cap = l->cap ? 2 * l->cap : 4;
        uint32_t *v = reallocarray(l->v, cap, sizeof *v);

        if (!v)
            return false;
        l->v = v;
        l->cap = cap;
    }
    l->v[l->n++] = i;
    return true;
}

struct magic_words *magic_words_new(void)
{
    return calloc(1, sizeof(struct magic_words));
}

void magic_words_free(struct magic_words *w)
{
    if (!w)
        return;
    for (size_t i = 0; i < EVERY_BYTE; i++) {
        for (size_t place = 0; place < PLACES; place++)
            free(w->first[place][i].v);
        free(w->lines[i].v);
    }
    free(w->elsewhere.v);
    free(w->shorts.v);
    free(w->longs.v);
    free(w->grams);
    free(w->v);
    free(w);
}

/* By its first byte, or both bytes that this may be. */
static NODISCARD bool push_by_byte(struct list lists[EVERY_BYTE], const struct magic_word *word,
                                   uint32_t i)
{
    unsigned char c = (unsigned char)word->is.bytes[0];
    uint32_t small = fold(word->is.bytes[0]);

    return push(&lists[c], i) &&
           (!word->is.fold || small < 'a' || small > 'z' || push(&lists[c ^ 0x20u], i));
}

/* It has one place only. */
static NODISCARD bool push_at_place(struct magic_words *w, uint32_t i)
{
    const struct magic_word *word = &w->v[i];

    if (word->from >= PLACES)
        return push(&w->elsewhere, i);
    return push_by_byte(w->first[word->from], word, i);
}

/* It begins where a line does, or its first letter that is no white space. */
static bool is_of_line(const struct ere_word *w)
{
    return w->place == ERE_LINE_START || (w->place == ERE_AFTER_BLANKS && !is_blank(w->bytes[0]));
}

static NODISCARD bool push_word(struct magic_words *w, uint32_t i)
{
    const struct magic_word *word = &w->v[i];

    if (word->to == word->from + word->is.n && word->is.times == 1)
        return push_at_place(w, i);
    if (word->is.n >= GRAM)
        return push(&w->longs, i);
    if (!is_of_line(&word->is) || word->from)
        return push(&w->shorts, i);
    if (word->to > w->line_end)
        w->line_end = word->to;
    return push_by_byte(w->lines, word, i);
}

bool magic_words_add(struct magic_words *w, const struct magic_word *word)
{
    if (w->n == w->cap) {
        uint32_t cap = w->cap ? 2 * w->cap : 1024;
        struct magic_word *v = reallocarray(w->v, cap, sizeof *v);

        if (!v)
            return false;
        w->v = v;
        w->cap = cap;
    }
    w->v[w->n] = *word;
    return push_word(w, w->n++);
}

static struct gram_word rarest_gram(const struct magic_words *w, uint32_t i)
{
    const struct ere_word *is = &w->v[i].is;
    struct gram_word best = {.gram = gram_of(is->bytes), .word = i};

    for (uint8_t at = 1; at + GRAM <= is->n; at++) {
        uint32_t gram = gram_of(is->bytes + at);

        if (commonness(gram) < commonness(best.gram))
            best = (struct gram_word){.gram = gram, .word = i, .at = at};
    }
    return best;
}

static uint32_t bucket_of(uint32_t hash)
{
    return hash >> (GRAM_BITS - BUCKET_BITS);
}

static int by_hash(const void *a, const void *b)
{
    uint32_t x = hash_of(((const struct gram_word *)a)->gram);
    uint32_t y = hash_of(((const struct gram_word *)b)->gram);

    return x < y ? -1 : x > y;
}

static NODISCARD bool ready_longs(struct magic_words *w)
{
    w->grams = calloc(w->longs.n + 1u, sizeof *w->grams);
    if (!w->grams)
        return false;
    for (uint32_t i = 0; i < w->longs.n; i++) {
        const struct magic_word *word = &w->v[w->longs.v[i]];
        uint32_t hash;

        w->grams[i] = rarest_gram(w, w->longs.v[i]);
        hash = hash_of(w->grams[i].gram);
        w->seen[hash / 64] |= UINT64_C(1) << hash % 64;
        if (word->to > NEAR)
            w->seen_far[hash / 64] |= UINT64_C(1) << hash % 64;
        for (unsigned flags = 0; flags < FLAG_SETS; flags++)
            if ((flags & word->flags) && word->to > w->long_end[flags])
                w->long_end[flags] = word->to;
    }
    qsort(w->grams, w->longs.n, sizeof *w->grams, by_hash);
    for (uint32_t i = 0; i < w->longs.n; i++)
        w->bucket[bucket_of(hash_of(w->grams[i].gram)) + 1]++;
    for (uint32_t i = 1; i < ARRAY_LEN(w->bucket); i++)
        w->bucket[i] += w->bucket[i - 1];
    return true;
}

/* Insertion: there are some hundred. */
static void sort_elsewhere(struct magic_words *w)
{
    uint32_t *v = w->elsewhere.v;

    for (uint32_t i = 1; i < w->elsewhere.n; i++)
        for (uint32_t k = i; k > 0 && w->v[v[k]].from < w->v[v[k - 1]].from; k--) {
            uint32_t swap = v[k];

            v[k] = v[k - 1];
            v[k - 1] = swap;
        }
}

bool magic_words_ready(struct magic_words *w)
{
    sort_elsewhere(w);
    return ready_longs(w);
}

/* ---- finding ---- */

struct search {
    const struct magic_words *w;
    struct span file;
    unsigned flags;
    magic_words_found *found;
    void *ctx;
};

static void try_word(const struct search *s, uint32_t i, size_t at)
{
    const struct magic_word *word = &s->w->v[i];

    if ((word->flags & s->flags) && is_at(word, s->file, at))
        s->found(s->ctx, word->id);
}

static void try_list(const struct search *s, const struct list *l, size_t at)
{
    for (uint32_t i = 0; i < l->n; i++)
        try_word(s, l->v[i], at);
}

static void find_at_places(const struct search *s)
{
    const struct list *l = &s->w->elsewhere;

    for (size_t at = 0; at < PLACES && at < s->file.n; at++)
        try_list(s, &s->w->first[at][(unsigned char)s->file.p[at]], at);
    for (uint32_t i = 0; i < l->n && s->w->v[l->v[i]].from < s->file.n; i++)
        try_word(s, l->v[i], s->w->v[l->v[i]].from);
}

static void try_gram(const struct search *s, uint32_t hash, uint32_t gram, size_t at)
{
    const struct magic_words *w = s->w;

    for (uint32_t i = w->bucket[bucket_of(hash)]; i < w->bucket[bucket_of(hash) + 1]; i++)
        if (w->grams[i].gram == gram && at >= w->grams[i].at)
            try_word(s, w->grams[i].word, at - w->grams[i].at);
}

/* From |at|, where |gram| is of what stands before, to |end|. */
static uint32_t find_grams(const struct search *s, const uint64_t *seen, uint32_t gram, size_t at,
                           size_t end)
{
    for (size_t i = at; i < end; i++) {
        uint32_t hash;

        gram = (gram << 8 | fold(s->file.p[i])) & GRAM_MASK;
        hash = hash_of(gram);
        if (UNLIKELY(seen[hash / 64] >> hash % 64 & 1) && i + 1 >= GRAM)
            try_gram(s, hash, gram, i + 1 - GRAM);
    }
    return gram;
}

static void find_longs(const struct search *s)
{
    size_t most = s->w->long_end[s->flags];
    size_t end = most < s->file.n ? most : s->file.n;
    size_t near = end < NEAR ? end : NEAR;

    (void)find_grams(s, s->w->seen_far, find_grams(s, s->w->seen, 0, 0, near), near, end);
}

static void find_shorts(const struct search *s)
{
    for (uint32_t i = 0; i < s->w->shorts.n; i++) {
        const struct magic_word *word = &s->w->v[s->w->shorts.v[i]];

        if ((word->flags & s->flags) && magic_word_is_in(word, s->file))
            s->found(s->ctx, word->id);
    }
}

static void find_lines(const struct search *s)
{
    struct span file = span_sub(s->file, 0, s->w->line_end);

    for (size_t at = 0; at < file.n;) {
        const char *next = memchr(file.p + at, '\n', file.n - at);
        size_t blanks = at;

        try_list(s, &s->w->lines[(unsigned char)file.p[at]], at);
        while (blanks + 1 < file.n && is_blank(file.p[blanks]) && file.p[blanks] != '\n')
            blanks++;
        if (blanks > at)
            try_list(s, &s->w->lines[(unsigned char)file.p[blanks]], blanks);
        at = next ? (size_t)(next - file.p) + 1 : file.n;
    }
}

void magic_words_find(const struct magic_words *w, struct span file, unsigned flags,
                      magic_words_found *found, void *ctx)
{
    const struct search s = {
        .w = w, .file = file, .flags = flags % FLAG_SETS, .found = found, .ctx = ctx};

    find_at_places(&s);
    find_longs(&s);
    find_shorts(&s);
    find_lines(&s);
}
