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

/* A seal line, for sentences about it later. */
struct place {
    const char *name;
    uint64_t line;
};

/* A number that had its turn. */
struct turn {
    struct record_chain chain; /* before it: chain.next is the number */
    uint8_t mac[RECORD_MAC_LEN];
    bool had, good;
    struct place at;
};

struct record_verify {
    struct record_verify_settings set;
    struct record_mac *mac;
    /* What the next seal has to fit: the MAC before it as the last line claims it, or as it should
     * have been. */
    struct record_chain chain;
    uint8_t should[RECORD_MAC_LEN];
    bool doubtful;    /* |should| counts, too */
    bool begun;       /* a seal fitted, so the chain is not at its beginning any more */
    uint64_t highest; /* number that fitted */
    /* A seal whose number is further on: nothing can be said of its batch, because the MAC before
     * it is not known. When the seal after it fits it was a seal of this chain. */
    struct {
        bool is;
        struct record_chain after;
        struct place at;
    } ahead;
    uint64_t steps; /* made so far for ahead */
    struct turn *ring;
    struct record_verify_counts all;
    /* Of the current file. */
    int fd, errnum;
    const char *name;
    uint64_t sealed, sealed_line; /* up to this octet it is judged; the first line behind that */
    struct record_verify_counts here;
    char block[BLOCK], again[BLOCK]; /* what is walked, and what is read again for a seal */
};

/* The line that is being read: as much of it as a seal may have. */
struct line {
    uint64_t off, n, number;
    char text[RECORD_SEAL_MAX];
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
    v->here.faults += kind == VERIFY_FAULT;
    v->set.say(v->set.arg, kind, at ? at->name : NULL, at ? at->line : 0, buf_cstr(&text));
    buf_done(&text);
}

#define fault(v, at, ...) say(v, VERIFY_FAULT, at, __VA_ARGS__)
#define note(v, at, ...)  say(v, VERIFY_NOTE, at, __VA_ARGS__)
#define NUM(v)            ((unsigned long long)(v))

/* ---- reading again ---- */

/* As many octets of [off, end) as |block| holds. */
static enum err read_block(struct record_verify *v, char block[BLOCK], uint64_t off, uint64_t end,
                           struct span *ret)
{
    size_t want = end - off < BLOCK ? (size_t)(end - off) : BLOCK;
    ssize_t n;

    do
        n = pread(v->fd, block, want, (off_t)off);
    while (n < 0 && errno == EINTR);
    if (n <= 0) {
        v->errnum = n < 0 ? errno : EIO; /* it became shorter meanwhile */
        return ERR_IO;
    }
    *ret = (struct span){block, (size_t)n};
    return OK;
}

/* The MAC of the seal that |c| is before, over [off, end). */
static enum err mac_of(struct record_verify *v, const struct record_chain *c, uint64_t off,
                       uint64_t end, uint8_t ret[RECORD_MAC_LEN])
{
    struct span piece;

    TRY(record_mac_begin(v->mac, c, end - off));
    for (; off < end; off += piece.n) {
        TRY(read_block(v, v->again, off, end, &piece));
        TRY(record_mac_add(v->mac, piece));
    }
    return record_mac_end(v->mac, ret);
}

/* Lines that begin in [off, end), when one begins at |off|. */
static enum err count_lines(struct record_verify *v, uint64_t off, uint64_t end, uint64_t *ret)
{
    struct span piece = SPAN_NONE;

    for (*ret = 0; off < end; off += piece.n) {
        TRY(read_block(v, v->again, off, end, &piece));
        for (size_t i = 0; i < piece.n; i++)
            *ret += piece.p[i] == '\n';
    }
    *ret += piece.n > 0 && piece.p[piece.n - 1] != '\n';
    return OK;
}

/* ---- one seal ---- */

struct seen {
    struct record_seal seal;
    struct place at;
    uint64_t off, end; /* the octets that it covers */
    bool whole;        /* as many are there */
};

static enum err fits(struct record_verify *v, const struct record_chain *c, const struct seen *s,
                     uint8_t ret_should[RECORD_MAC_LEN], bool *ret)
{
    *ret = false;
    memset(ret_should, 0, RECORD_MAC_LEN);
    if (!s->whole)
        return OK;
    TRY(mac_of(v, c, s->off, s->end, ret_should));
    *ret = CRYPTO_memcmp(ret_should, s->seal.mac, RECORD_MAC_LEN) == 0;
    return OK;
}

static struct turn *turn_of(struct record_verify *v, uint64_t n)
{
    return &v->ring[n % RING];
}

/* |before| had its turn: on to the next number. */
static enum err go_on(struct record_verify *v, const struct record_chain *before,
                      const struct seen *s, bool good)
{
    struct turn *t = turn_of(v, before->next);

    *t = (struct turn){.chain = *before, .had = true, .good = good, .at = s->at};
    memcpy(t->mac, s->seal.mac, RECORD_MAC_LEN);
    v->chain = *before;
    if (good && before->next > v->highest)
        v->highest = before->next;
    if (good)
        v->begun = true;
    v->here.good += good;
    v->all.good += good;
    return record_chain_next(v->mac, s->seal.mac, &v->chain);
}

static void say_lacking(struct record_verify *v, const struct seen *s)
{
    if (!s->whole)
        fault(v, &s->at,
              "seal %llu covers %llu octets, and only %llu stand before it: lines of its batch are "
              "gone",
              NUM(s->seal.n), NUM(s->seal.octets), NUM(s->end - v->sealed));
    else
        fault(v, &s->at, "what seal %llu covers was altered (lines %llu to %llu), or the seal was",
              NUM(s->seal.n), NUM(v->sealed_line), NUM(s->at.line - 1));
}

static void say_repeated(struct record_verify *v, const struct seen *s)
{
    v->here.repeated++;
    v->all.repeated++;
    note(v, &s->at,
         "the number of seal %llu comes again and is good: a gateway was killed, or the machine "
         "lost its power, before it had written down where it was",
         NUM(s->seal.n));
}

/* The seal after the one that is ahead fits, or the state says so: what does that mean for what
 * should have come instead? */
static void settle_ahead(struct record_verify *v)
{
    uint64_t n = v->ahead.after.next - 1;

    v->ahead.is = false;
    if (n == v->chain.next)
        fault(v, &v->ahead.at, "the order is wrong: seal %llu stands before seal %llu", NUM(n),
              NUM(n - 1));
    else if (!v->begun && v->chain.next == 0)
        note(v, &v->ahead.at,
             "the first seal here is %llu: what came before is in older files, without which its "
             "own batch cannot be checked",
             NUM(n));
    else
        fault(v, &v->ahead.at,
              "seals %llu to %llu are missing before seal %llu, whose own batch cannot be checked "
              "without them",
              NUM(v->chain.next), NUM(n - 1), NUM(n));
    v->begun = true;
}

static void drop_ahead(struct record_verify *v)
{
    if (v->ahead.is)
        fault(v, &v->ahead.at,
              "seal %llu fits nothing: it is no seal of these records, or those around it are gone",
              NUM(v->ahead.after.next - 1));
    v->ahead.is = false;
}

static enum err judge_next(struct record_verify *v, const struct seen *s)
{
    uint8_t should[RECORD_MAC_LEN];
    struct record_chain before = v->chain;
    bool good;
    enum err e = fits(v, &before, s, should, &good);

    if (!e && !good && v->doubtful) {
        memcpy(before.before, v->should, sizeof before.before);
        e = fits(v, &before, s, should, &good);
    }
    if (!e && !good) {
        say_lacking(v, s);
    } else if (!e && v->begun && s->seal.n <= v->highest) {
        say_repeated(v, s);
    }
    v->doubtful = !good && s->whole;
    memcpy(v->should, should, sizeof should);
    if (!e)
        e = go_on(v, &before, s, good);
    record_chain_wipe(&before);
    return e;
}

/* A number from before. */
static enum err judge_again(struct record_verify *v, const struct seen *s)
{
    const struct turn t = *turn_of(v, s->seal.n);
    uint8_t should[RECORD_MAC_LEN];
    bool good;

    if (!t.had || t.chain.next != s->seal.n) {
        fault(v, &s->at, "the order is wrong: seal %llu comes where seal %llu should",
              NUM(s->seal.n), NUM(v->chain.next));
        return OK;
    }
    TRY(fits(v, &t.chain, s, should, &good));
    if (!good) {
        fault(v, &s->at,
              "seal %llu comes again (first: line %llu of %s), and this one was altered or put in",
              NUM(s->seal.n), NUM(t.at.line), t.at.name);
        return OK;
    }
    if (t.good && CRYPTO_memcmp(t.mac, s->seal.mac, sizeof t.mac) == 0) {
        fault(v, &s->at, "a copy of seal %llu with its batch (line %llu of %s) was put in",
              NUM(s->seal.n), NUM(t.at.line), t.at.name);
        return OK;
    }
    if (t.good)
        say_repeated(v, s);
    else
        fault(v, &s->at, "seal %llu comes again and is good: the one in line %llu of %s was put in",
              NUM(s->seal.n), NUM(t.at.line), t.at.name);
    v->doubtful = false;
    return go_on(v, &t.chain, s, true);
}

/* From the nearest number that is known. */
static enum err new_ahead(struct record_verify *v, const struct seen *s)
{
    bool from_ahead = v->ahead.is && v->ahead.after.next <= s->seal.n;
    struct record_chain c = from_ahead ? v->ahead.after : v->chain;
    uint64_t steps = s->seal.n - c.next;

    if (steps >= v->set.steps_max - v->steps) {
        fault(v, &s->at,
              "seal %llu is too far from seal %llu to be one of these records: it was put in",
              NUM(s->seal.n), NUM(v->chain.next));
        return OK;
    }
    v->steps += steps + 1;
    drop_ahead(v);
    enum err e = record_chain_skip(v->mac, s->seal.n, &c);

    if (!e)
        e = record_chain_next(v->mac, s->seal.mac, &c);
    v->ahead.is = e == OK;
    v->ahead.after = c;
    v->ahead.at = s->at;
    record_chain_wipe(&c);
    return e;
}

static enum err judge_ahead(struct record_verify *v, const struct seen *s)
{
    uint8_t should[RECORD_MAC_LEN];
    bool good = false;

    if (v->ahead.is && v->ahead.after.next == s->seal.n)
        TRY(fits(v, &v->ahead.after, s, should, &good));
    if (!good)
        return new_ahead(v, s);
    settle_ahead(v);
    v->doubtful = false;
    return go_on(v, &v->ahead.after, s, true);
}

/* [v->sealed, end) is nobody's. */
static enum err judge_unsealed(struct record_verify *v, uint64_t end)
{
    const struct place at = {v->name, v->sealed_line};
    uint64_t lines;

    if (v->sealed == end)
        return OK;
    TRY(count_lines(v, v->sealed, end, &lines));
    fault(v, &at,
          "%llu octets from here on (lines %llu to %llu) are not sealed: nobody vouches for them",
          NUM(end - v->sealed), NUM(v->sealed_line), NUM(v->sealed_line + lines - 1));
    v->sealed_line += lines;
    return OK;
}

static enum err judge(struct record_verify *v, const struct record_seal *seal,
                      const struct line *line)
{
    struct seen s = {
        .seal = *seal,
        .at = {v->name, line->number},
        .end = line->off,
        .whole = seal->octets <= line->off - v->sealed
    };

    s.off = s.whole ? s.end - seal->octets : v->sealed;
    if (v->here.seals++ == 0)
        v->here.first = seal->n;
    v->here.last = seal->n;
    TRY(judge_unsealed(v, s.off));
    if (seal->n == v->chain.next)
        return judge_next(v, &s);
    return seal->n < v->chain.next ? judge_again(v, &s) : judge_ahead(v, &s);
}

/* ---- lines ---- */

static void take_time(struct record_verify *v, struct span text)
{
    const struct span begin = SPAN("{\"time\":\"");
    struct span time = span_sub(text, begin.n, ISO_TIME_LEN);
    uint64_t unused;

    if (!span_starts(text, begin) || clock_iso_parse(time, &unused) != OK || time.n != ISO_TIME_LEN)
        return;
    if (!v->here.from[0])
        (void)span_copy(time, v->here.from, sizeof v->here.from);
    (void)span_copy(time, v->here.until, sizeof v->here.until);
}

static enum err end_line(struct record_verify *v, const struct line *line)
{
    const struct place at = {v->name, line->number};
    const struct span text = {line->text,
                              line->n < sizeof line->text ? (size_t)line->n : sizeof line->text};
    struct record_seal seal;
    enum err e = record_seal_parse(text, &seal);

    if (e == OK && line->n == text.n) {
        TRY(judge(v, &seal, line));
        v->sealed = line->off + line->n + 1;
        v->sealed_line = line->number + 1;
        return OK;
    }
    if (e != ERR_MISSING)
        fault(v, &at, "this was a seal, and was altered");
    else if (line->n > 0)
        v->here.records++;
    take_time(v, text);
    return OK;
}

static void line_add(struct line *line, struct span piece)
{
    if (line->n < sizeof line->text)
        (void)memcpy(line->text + line->n, piece.p,
                     piece.n < sizeof line->text - line->n ? piece.n
                                                           : sizeof line->text - (size_t)line->n);
    line->n += piece.n;
}

static enum err walk(struct record_verify *v, uint64_t size)
{
    struct line line = {.number = 1};
    struct span text;

    for (uint64_t off = 0; off < size;) {
        TRY(read_block(v, v->block, off, size, &text));
        while (text.n) {
            size_t lf = span_find(text, '\n');

            line_add(&line, span_sub(text, 0, lf));
            off += lf + (lf < text.n);
            text = span_sub(text, lf + 1, SIZE_MAX);
            if (line.off + line.n == off)
                break;
            TRY(end_line(v, &line));
            line = (struct line){.off = off, .number = line.number + 1};
        }
    }
    return judge_unsealed(v, size);
}

/* ---- files ---- */

enum err record_verify_new(const struct record_verify_settings *s, struct record_verify **ret)
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
    record_chain_begin(s->key, &v->chain);
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
    all->faults += here->faults;
}

enum err record_verify_file(struct record_verify *v, int fd, uint64_t size, const char *name,
                            struct record_verify_counts *ret, int *ret_errnum)
{
    v->fd = fd;
    v->name = name;
    v->errnum = 0;
    v->sealed = 0;
    v->sealed_line = 1;
    v->here = (struct record_verify_counts){0};
    enum err e = walk(v, size);

    add_counts(&v->all, &v->here);
    *ret = v->here;
    *ret_errnum = v->errnum;
    return e;
}

static bool is_at(const struct record_chain *state, const struct record_chain *c)
{
    return state && state->next == c->next &&
           CRYPTO_memcmp(state->before, c->before, sizeof state->before) == 0;
}

/* No seal came behind it; but the state knows the MAC of the last one. */
static void settle_by_state(struct record_verify *v)
{
    if (is_at(v->set.state, &v->chain)) {
        drop_ahead(v);
    } else if (v->begun || v->chain.next > 0 || is_at(v->set.state, &v->ahead.after)) {
        settle_ahead(v);
        v->chain = v->ahead.after;
    }
}

static void compare_state(struct record_verify *v)
{
    const struct record_chain *state = v->set.state;
    bool same = CRYPTO_memcmp(state->key, v->chain.key, sizeof state->key) == 0;

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
    else if (v->chain.next == state->next && !same)
        fault(v, NULL, "the state of the chain is not that of these records and this key");
    else if (v->chain.next == state->next && !v->doubtful && !is_at(state, &v->chain))
        fault(v, NULL, "the last seal here, %llu, is not the one that the gateway wrote",
              NUM(state->next - 1));
    else if (v->chain.next > state->next)
        note(v, NULL,
             "the state of the chain is at seal %llu and the records are at %llu: the next ones "
             "will have numbers again",
             NUM(state->next), NUM(v->chain.next));
}

void record_verify_end(struct record_verify *v, struct record_verify_counts *ret)
{
    v->here = (struct record_verify_counts){0};
    if (v->ahead.is)
        settle_by_state(v);
    if (v->all.seals > 0 && v->all.good == 0 && !v->begun)
        fault(v, NULL,
              "no seal can be checked: is this the key of these records, and are the files before "
              "these given?");
    else if (v->set.state)
        compare_state(v);
    v->all.faults += v->here.faults;
    *ret = v->all;
}
