/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/record_verify.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include <openssl/crypto.h>

#include "base/clock.h"

#define BLOCK 65536u
/* So many seals back a number may come again: a machine that lost its power may have kept the
 * records of some seconds and not the state. */
#define RING 4096u
/* So often a number may come: gateways that are killed in the one moment are not many. */
#define TIMES 4u

/* A seal line, for sentences about it later. */
struct place {
    const char *name;
    uint64_t line;
};

/* A number whose key is known: it had its turn, or was passed. */
struct turn {
    struct record_chain chain; /* chain.next is the number */
    bool known, had;
    unsigned n_good; /* seals of this number that fitted, and their MACs */
    uint8_t macs[TIMES][RECORD_MAC_LEN];
    struct place at; /* of the last one that had its turn */
};

/* The line that is being read: as much of it as a seal may have. */
struct line {
    uint64_t off, n, number;
    char text[RECORD_SEAL_MAX];
};

struct seen {
    struct record_seal seal;
    struct place at;
    uint64_t line_end; /* behind its LF */
    uint64_t off, end; /* the octets that it covers */
    bool whole;        /* as many are there */
};

/* One file on its way. */
struct walk {
    const struct record_verify_file *file; /* NULL: there is none */
    uint64_t off;                          /* up to this octet lines were taken */
    struct span rest;                      /* of |block|, not taken yet */
    struct line line;
    uint64_t sealed, sealed_line; /* up to this octet it is judged; the first line behind that */
    bool has;                     /* |seen| is its next seal */
    bool overtook;                /* one of its seals came before those of the file before it */
    bool given_up;                /* the rest of it is not looked at */
    struct seen seen;
    struct record_verify_counts counts;
    char block[BLOCK];
};

struct record_verify {
    struct record_verify_settings set;
    const struct record_verify_file *files;
    size_t n_files, at_file; /* taken so far */
    bool opened;
    struct record_mac *mac;
    struct record_chain chain; /* what the next seal has to fit */
    bool begun;                /* some seal fitted */
    /* The key of the last number that was further on, and one some numbers before it: the way to
     * the first seal of the first file is long. */
    struct record_chain reached, nearby;
    uint64_t steps; /* made so far to such numbers */
    struct turn *ring;
    struct record_verify_counts all, *counts; /* of all files, and of the one that is judged */
    const struct record_verify_file *failed;  /* that could not be read */
    int errnum;
    struct walk walks[2], *walk, *next; /* the file that is walked, and the one behind it */
    char again[BLOCK];                  /* what is read once more for a seal */
};

static void say(struct record_verify *v, enum verify_kind kind, const struct place *at,
                const char *fmt, ...) PRINTF(4, 5);

static void say(struct record_verify *v, enum verify_kind kind, const struct place *at,
                const char *fmt, ...)
{
    struct buf text;
    va_list ap;

    buf_init(&text, 0);
    va_start(ap, fmt);
    buf_vfmt(&text, fmt, ap);
    va_end(ap);
    v->counts->faults += kind == VERIFY_FAULT;
    v->set.say(v->set.arg, kind, at ? at->name : NULL, at ? at->line : 0, buf_cstr(&text));
    buf_done(&text);
}

#define fault(v, at, ...) say(v, VERIFY_FAULT, at, __VA_ARGS__)
#define note(v, at, ...)  say(v, VERIFY_NOTE, at, __VA_ARGS__)
#define NUM(v)            ((unsigned long long)(v))

/* ---- reading again ---- */

/* As many octets of [off, end) as |block| holds. */
static enum err read_block(struct record_verify *v, const struct walk *w, char block[BLOCK],
                           uint64_t off, uint64_t end, struct span *ret)
{
    size_t want = end - off < BLOCK ? (size_t)(end - off) : BLOCK;
    ssize_t n;

    do
        n = pread(w->file->fd, block, want, (off_t)off);
    while (n < 0 && errno == EINTR);
    if (n <= 0) {
        v->errnum = n < 0 ? errno : EIO; /* it became shorter meanwhile */
        v->failed = w->file;
        return ERR_IO;
    }
    *ret = (struct span){block, (size_t)n};
    return OK;
}

/* The MAC that the seal of |w| should have, which is number c->next. */
static enum err mac_of(struct record_verify *v, const struct walk *w, const struct record_chain *c,
                       uint8_t ret[RECORD_MAC_LEN])
{
    struct span piece;

    TRY(record_mac_begin(v->mac, c, &w->seen.seal));
    for (uint64_t off = w->seen.off; off < w->seen.end; off += piece.n) {
        TRY(read_block(v, w, v->again, off, w->seen.end, &piece));
        TRY(record_mac_add(v->mac, piece));
    }
    return record_mac_end(v->mac, ret);
}

/* Lines that begin in [off, end), when one begins at |off|. */
static enum err count_lines(struct record_verify *v, const struct walk *w, uint64_t off,
                            uint64_t end, uint64_t *ret)
{
    struct span piece = SPAN_NONE;

    for (*ret = 0; off < end; off += piece.n) {
        TRY(read_block(v, w, v->again, off, end, &piece));
        for (size_t i = 0; i < piece.n; i++)
            *ret += piece.p[i] == '\n';
    }
    *ret += piece.n > 0 && piece.p[piece.n - 1] != '\n';
    return OK;
}

/* ---- one seal ---- */

static struct turn *turn_of(struct record_verify *v, uint64_t n)
{
    return &v->ring[n % RING];
}

static bool is_turn(const struct turn *t, uint64_t n)
{
    return t->known && t->chain.next == n;
}

/* Has the seal of |w| the MAC that it should have? */
static enum err fits(struct record_verify *v, const struct walk *w, const struct record_chain *c,
                     bool *ret)
{
    uint8_t should[RECORD_MAC_LEN];

    *ret = false;
    if (!w->seen.whole)
        return OK;
    TRY(mac_of(v, w, c, should));
    *ret = CRYPTO_memcmp(should, w->seen.seal.mac, RECORD_MAC_LEN) == 0;
    OPENSSL_cleanse(should, sizeof should); /* also the right one of what was altered */
    return OK;
}

/* A number that the gateway cannot have come to, as far as that is known. */
static bool is_too_far(const struct record_verify *v, uint64_t n)
{
    return v->set.state && n > v->set.state->next && n - v->set.state->next > RING;
}

/* From the nearest number that is known. */
static enum err reach(struct record_verify *v, uint64_t n)
{
    struct record_chain c = v->chain;

    if (v->nearby.next <= n && v->nearby.next > c.next)
        c = v->nearby;
    if (v->reached.next <= n && v->reached.next > c.next)
        c = v->reached;
    enum err e = n - c.next > v->set.steps_max - v->steps ? ERR_LIMIT : OK;

    if (!e)
        v->steps += n - c.next;
    if (!e && n - c.next > RING && (e = record_chain_skip(v->mac, n - RING, &c)) == OK)
        v->nearby = c;
    if (!e)
        e = record_chain_skip(v->mac, n, &c);
    if (!e)
        v->reached = c;
    record_chain_wipe(&c);
    return e;
}

static void say_too_far(struct record_verify *v, const struct seen *s)
{
    fault(
        v, &s->at,
        "seal %llu is too far from seal %llu to be checked, and so is the rest of this file: give "
        "the files before it or the state of the chain, or it was put in",
        NUM(s->seal.n), NUM(v->chain.next));
}

/* The key of a seal that is not the next one and had no turn. Without one it is said why not. */
static enum err find_key(struct record_verify *v, struct walk *w, struct record_chain *ret,
                         bool *ret_found)
{
    const struct seen *s = &w->seen;
    enum err e = OK;

    *ret_found = false;
    if (s->seal.n < v->chain.next) {
        fault(v, &s->at, "the order is wrong: seal %llu comes where seal %llu should",
              NUM(s->seal.n), NUM(v->chain.next));
    } else if (is_too_far(v, s->seal.n)) {
        fault(v, &s->at, "seal %llu was put in: the gateway has not come further than seal %llu",
              NUM(s->seal.n), NUM(v->set.state->next));
    } else if ((e = reach(v, s->seal.n)) == ERR_LIMIT) {
        e = OK;
        w->given_up = true;
        say_too_far(v, s);
    } else if (!e) {
        *ret = v->reached;
        *ret_found = true;
    }
    return e;
}

/* What is passed on the way to |to|, if anything, may still come. */
static enum err pass(struct record_verify *v, uint64_t to)
{
    struct record_chain c = v->chain;
    enum err e = OK;

    if (v->nearby.next <= to && v->nearby.next > c.next)
        c = v->nearby;
    while (c.next < to && !e) {
        struct turn *t = turn_of(v, c.next);

        if (!is_turn(t, c.next))
            *t = (struct turn){.chain = c, .known = true};
        e = record_chain_next(v->mac, &c);
    }
    record_chain_wipe(&c);
    return e;
}

/* |key| is that of the seal, which has its turn. */
static struct turn *take_turn(struct record_verify *v, const struct record_chain *key,
                              const struct seen *s)
{
    struct turn *t = turn_of(v, key->next);

    if (!is_turn(t, key->next))
        *t = (struct turn){.chain = *key, .known = true};
    t->had = true;
    t->at = s->at;
    return t;
}

static enum err go_on(struct record_verify *v, const struct record_chain *key)
{
    v->chain = *key;
    return record_chain_next(v->mac, &v->chain);
}

static enum err judge_bad(struct record_verify *v, const struct walk *w,
                          const struct record_chain *key)
{
    const struct seen *s = &w->seen;
    const struct turn *t = turn_of(v, s->seal.n);

    if (is_turn(t, s->seal.n) && t->had)
        fault(v, &s->at,
              "seal %llu comes again (before: line %llu of %s), and this one was altered or put in",
              NUM(s->seal.n), NUM(t->at.line), t->at.name);
    else if (!s->whole)
        fault(v, &s->at,
              "seal %llu covers %llu octets, and only %llu stand before it: lines of its batch are "
              "gone",
              NUM(s->seal.n), NUM(s->seal.octets), NUM(s->end - w->sealed));
    else
        fault(v, &s->at, "what seal %llu covers was altered (lines %llu to %llu), or the seal was",
              NUM(s->seal.n), NUM(w->sealed_line), NUM(s->at.line - 1));
    if (s->seal.n != v->chain.next)
        return OK; /* of a number that somebody made up nothing follows */
    (void)take_turn(v, key, s);
    return go_on(v, key);
}

/* Is it there already, or too often? */
static bool is_copy(struct record_verify *v, const struct seen *s, const struct turn *t)
{
    for (unsigned i = 0; i < t->n_good; i++)
        if (CRYPTO_memcmp(t->macs[i], s->seal.mac, RECORD_MAC_LEN) == 0) {
            fault(v, &s->at, "a copy of seal %llu with its batch (line %llu of %s) was put in",
                  NUM(s->seal.n), NUM(t->at.line), t->at.name);
            return true;
        }
    if (t->n_good == TIMES)
        fault(v, &s->at, "the number of seal %llu comes more than %u times", NUM(s->seal.n), TIMES);
    return t->n_good == TIMES;
}

/* It is good, and its number had its turn before. */
static void say_again(struct record_verify *v, const struct seen *s, const struct turn *t)
{
    if (!t->n_good) {
        fault(v, &s->at, "seal %llu comes again and is good: the one in line %llu of %s was put in",
              NUM(s->seal.n), NUM(t->at.line), t->at.name);
        return;
    }
    v->counts->repeated++;
    note(v, &s->at,
         "the number of seal %llu comes again and is good: a gateway was killed, or the machine "
         "lost its power, before it had written down where it was",
         NUM(s->seal.n));
}

/* It is good, and does not stand where it should. */
static void say_place(struct record_verify *v, const struct seen *s)
{
    if (s->seal.n < v->chain.next)
        fault(v, &s->at, "the order is wrong: seal %llu comes where seal %llu should",
              NUM(s->seal.n), NUM(v->chain.next));
    else if (!v->begun && v->chain.next == 0)
        note(v, &s->at, "the first seal here is %llu: what came before is in older files",
             NUM(s->seal.n));
    else
        fault(v, &s->at, "seals %llu to %llu are missing before seal %llu", NUM(v->chain.next),
              NUM(s->seal.n - 1), NUM(s->seal.n));
}

static enum err judge_good(struct record_verify *v, const struct seen *s,
                           const struct record_chain *key)
{
    struct turn *t = turn_of(v, s->seal.n);
    bool again = is_turn(t, s->seal.n) && t->had;
    bool late = !again && s->seal.n < v->chain.next;

    if (again && is_copy(v, s, t))
        return OK;
    if (again)
        say_again(v, s, t);
    if (late || s->seal.n > v->chain.next)
        say_place(v, s);
    TRY(pass(v, s->seal.n));
    t = take_turn(v, key, s);
    memcpy(t->macs[t->n_good++], s->seal.mac, RECORD_MAC_LEN);
    v->begun = true;
    v->counts->good++;
    /* Behind a number that came again those after it come again, too. */
    return late ? OK : go_on(v, key);
}

static enum err judge_sealed(struct record_verify *v, struct walk *w)
{
    const struct seen *s = &w->seen;
    const struct turn *t = turn_of(v, s->seal.n);
    struct record_chain key = is_turn(t, s->seal.n) ? t->chain : v->chain;
    bool found = key.next == s->seal.n, good = false;
    enum err e = found ? OK : find_key(v, w, &key, &found);

    if (!e && found)
        e = fits(v, w, &key, &good);
    if (!e && found)
        e = good ? judge_good(v, s, &key) : judge_bad(v, w, &key);
    record_chain_wipe(&key);
    return e;
}

/* [w->sealed, end) is nobody's. */
static enum err judge_unsealed(struct record_verify *v, const struct walk *w, uint64_t end)
{
    const struct place at = {w->file->name, w->sealed_line};
    uint64_t lines;

    if (w->sealed == end)
        return OK;
    TRY(count_lines(v, w, w->sealed, end, &lines));
    fault(v, &at,
          "%llu octets from here on (lines %llu to %llu) are not sealed: nobody vouches for them",
          NUM(end - w->sealed), NUM(w->sealed_line), NUM(w->sealed_line + lines - 1));
    return OK;
}

/* The seal that |w| has reached. */
static enum err judge(struct record_verify *v, struct walk *w)
{
    const struct seen *s = &w->seen;

    v->counts = &w->counts;
    if (v->counts->seals++ == 0)
        v->counts->first = s->seal.n;
    v->counts->last = s->seal.n;
    TRY(judge_unsealed(v, w, s->off));
    TRY(judge_sealed(v, w));
    w->sealed = s->line_end;
    w->sealed_line = s->at.line + 1;
    w->has = false;
    if (w->given_up)
        w->off = w->sealed = w->file->size;
    return OK;
}

/* ---- lines ---- */

static void take_time(struct record_verify_counts *c, struct span text)
{
    const struct span begin = SPAN("{\"time\":\"");
    struct span time = span_sub(text, begin.n, ISO_TIME_LEN);
    uint64_t unused;

    if (!span_starts(text, begin) || clock_iso_parse(time, &unused) != OK || time.n != ISO_TIME_LEN)
        return;
    if (!c->from[0])
        (void)span_copy(time, c->from, sizeof c->from);
    (void)span_copy(time, c->until, sizeof c->until);
}

static void end_line(struct record_verify *v, struct walk *w)
{
    const struct line *line = &w->line;
    const struct place at = {w->file->name, line->number};
    const struct span text = {line->text,
                              line->n < sizeof line->text ? (size_t)line->n : sizeof line->text};
    struct record_seal seal;
    enum err e = record_seal_parse(text, &seal);

    if (e == OK) {
        w->has = true;
        w->seen = (struct seen){.seal = seal,
                                .at = at,
                                .line_end = line->off + line->n + 1,
                                .end = line->off,
                                .whole = seal.octets <= line->off - w->sealed};
        w->seen.off = w->seen.whole ? line->off - seal.octets : w->sealed;
        return;
    }
    v->counts = &w->counts;
    if (e != ERR_MISSING)
        fault(v, &at, "this was a seal, and was altered");
    else if (line->n > 0)
        w->counts.records++;
    take_time(&w->counts, text);
}

static void line_add(struct line *line, struct span piece)
{
    size_t room = line->n < sizeof line->text ? sizeof line->text - (size_t)line->n : 0;
    struct span kept = span_sub(piece, 0, room);

    if (kept.n)
        memcpy(line->text + line->n, kept.p, kept.n);
    line->n += piece.n;
}

/* On to its next seal, or to its end. */
static enum err walk_on(struct record_verify *v, struct walk *w)
{
    while (!w->has && w->off < w->file->size) {
        if (w->rest.n == 0)
            TRY(read_block(v, w, w->block, w->off, w->file->size, &w->rest));
        size_t lf = span_find(w->rest, '\n');
        bool ends = lf < w->rest.n;

        line_add(&w->line, span_sub(w->rest, 0, lf));
        w->off += lf + ends;
        w->rest = span_sub(w->rest, lf + 1, SIZE_MAX);
        if (!ends)
            continue;
        end_line(v, w);
        w->line = (struct line){.off = w->off, .number = w->line.number + 1};
    }
    return OK;
}

/* ---- files ---- */

/* The next file in |w|, which has none when there are no more. */
static enum err open_walk(struct record_verify *v, struct walk *w)
{
    w->file = v->at_file < v->n_files ? &v->files[v->at_file++] : NULL;
    w->off = w->sealed = 0;
    w->sealed_line = 1;
    w->rest = SPAN_NONE;
    w->line = (struct line){.number = 1};
    w->has = w->overtook = w->given_up = false;
    w->counts = (struct record_verify_counts){0};
    return w->file ? walk_on(v, w) : OK;
}

enum err record_verify_new(const struct record_verify_settings *s,
                           const struct record_verify_file *files, size_t n_files,
                           struct record_verify **ret)
{
    struct record_verify *v = calloc(1, sizeof *v);
    enum err e = v ? record_mac_new(&v->mac) : ERR_NOMEM;

    if (!e && !(v->ring = calloc(RING, sizeof *v->ring)))
        e = ERR_NOMEM;
    if (e) {
        record_verify_free(v);
        return e;
    }
    v->set = *s;
    v->files = files;
    v->n_files = n_files;
    v->walk = &v->walks[0];
    v->next = &v->walks[1];
    v->counts = &v->all;
    record_chain_begin(s->key, &v->chain);
    v->reached = v->nearby = v->chain;
    *ret = v;
    return OK;
}

void record_verify_free(struct record_verify *v)
{
    if (!v)
        return;
    record_mac_free(v->mac);
    if (v->ring)
        OPENSSL_cleanse(v->ring, RING * sizeof *v->ring);
    free(v->ring);
    OPENSSL_cleanse(v, sizeof *v);
    free(v);
}

static void add_counts(struct record_verify_counts *all, const struct record_verify_counts *here)
{
    if (here->seals && !all->seals)
        all->first = here->first;
    if (here->seals)
        all->last = here->last;
    if (!all->from[0])
        memcpy(all->from, here->from, sizeof all->from);
    if (here->until[0])
        memcpy(all->until, here->until, sizeof all->until);
    all->records += here->records;
    all->seals += here->seals;
    all->good += here->good;
    all->repeated += here->repeated;
    all->faults += here->faults;
}

/* While files are rotated one process may still write to the old one when another one writes to the
 * new one already: then the number that should come next is in the next file. */
static struct walk *choose(struct record_verify *v)
{
    struct walk *w = v->next;

    if (v->walk->seen.seal.n <= v->chain.next || !w->file || !w->has ||
        w->seen.seal.n != v->chain.next)
        return v->walk;
    v->counts = &w->counts;
    if (!w->overtook)
        note(v, &w->seen.at,
             "seals from %llu on go before some of the file before: two processes wrote while the "
             "files were rotated",
             NUM(w->seen.seal.n));
    w->overtook = true;
    return w;
}

static enum err walk_file(struct record_verify *v)
{
    while (v->walk->has) {
        struct walk *w = choose(v);

        TRY(judge(v, w));
        TRY(walk_on(v, w));
    }
    v->counts = &v->walk->counts;
    return judge_unsealed(v, v->walk, v->walk->file->size);
}

/* The first two at the first call, and one more for each that is over. */
static enum err open_walks(struct record_verify *v)
{
    struct walk *over = v->walk;

    if (v->opened) {
        v->walk = v->next;
        v->next = over;
    } else {
        v->opened = true;
        TRY(open_walk(v, v->walk));
    }
    return open_walk(v, v->next);
}

enum err record_verify_next(struct record_verify *v, const struct record_verify_file **ret,
                            struct record_verify_counts *ret_counts, int *ret_errnum)
{
    v->errnum = 0;
    enum err e = open_walks(v);

    if (!e && !v->walk->file)
        return ERR_EOF;
    if (!e)
        e = walk_file(v);
    *ret_errnum = v->errnum;
    if (e) {
        *ret = v->failed; /* NULL: it was not a file that failed */
        return e;
    }
    add_counts(&v->all, &v->walk->counts);
    *ret = v->walk->file;
    *ret_counts = v->walk->counts;
    return OK;
}

/* Whoever cuts the end off would like a state that is behind: its key must be the one of its
 * number, which nobody has who came later. */
static enum err state_is_ours(struct record_verify *v, bool *ret)
{
    const struct record_chain *state = v->set.state;
    struct record_chain c = v->chain;
    enum err e = OK;

    if (state->next < c.next) {
        record_chain_begin(v->set.key, &c);
        e = record_chain_skip(v->mac, state->next, &c);
    }
    *ret = CRYPTO_memcmp(state->key, c.key, sizeof c.key) == 0;
    record_chain_wipe(&c);
    return e;
}

static enum err compare_state(struct record_verify *v)
{
    const struct record_chain *state = v->set.state;
    bool ours;

    TRY(state_is_ours(v, &ours));
    if (!v->all.seals && state->next > 0)
        fault(v, NULL,
              "there is no seal at all, and the gateway had written %llu: give the older "
              "files, too",
              NUM(state->next));
    else if (v->chain.next < state->next)
        fault(v, NULL,
              "the end is missing: the last seal here is %llu, and the gateway had written up to "
              "%llu",
              NUM(v->chain.next - 1), NUM(state->next - 1));
    else if (!ours)
        fault(v, NULL, "the state of the chain is not that of these records and this key");
    else if (v->chain.next > state->next)
        note(v, NULL,
             "the state of the chain is at seal %llu and the records are at %llu: the next ones "
             "will have numbers again",
             NUM(state->next), NUM(v->chain.next));
    return OK;
}

enum err record_verify_end(struct record_verify *v, struct record_verify_counts *ret)
{
    v->counts = &v->all;
    if (v->all.seals > 0 && v->all.good == 0)
        fault(v, NULL,
              "no seal can be checked: is this the key of these records, and are the files before "
              "these given?");
    else if (v->set.state)
        TRY(compare_state(v));
    *ret = v->all;
    return OK;
}
