/* SPDX-License-Identifier: Apache-2.0 */
/* policy_parse.c - the text of sallyport_policy(5). A line is words; the first says what it is.
 * What is not known is an error: a typing error must not become a door. */
#include <errno.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "protect/peer_int.h"
#include "protect/policy_file_int.h"
#include "protect/strength.h"

#define WORDS_MAX 128u

/* Keys of a statement, as bits: which it may have, which it must, which it has. */
enum {
    KEY_TO = 1u << 0,
    KEY_PROTO = 1u << 1,
    KEY_PORT = 1u << 2,
    KEY_SERVICE = 1u << 3,
    KEY_UID = 1u << 4,
    KEY_MIN = 1u << 5,
    KEY_LEVEL = 1u << 6,
    KEY_VIA = 1u << 7,
    KEY_PEER = 1u << 8,
    KEY_FLAG = 1u << 9,
};
#define KEYS_SCOPE   (KEY_TO | KEY_PROTO | KEY_PORT | KEY_SERVICE)
#define KEYS_DEMANDS (KEY_MIN | KEY_VIA | KEY_PEER | KEY_FLAG)

struct parse {
    struct policy_file *p;
    struct policy_fault *fault;
    unsigned line;
    char *words[WORDS_MAX]; /* of the line, closed by NUL, in the arena */
    unsigned n_words;
    unsigned has;                                          /* KEY_* of the line */
    bool has_version, has_classes, has_marks, has_default; /* of the file */
};

PRINTF(2, 3) static enum err wrong(struct parse *s, const char *fmt, ...)
{
    va_list ap;

    s->fault->line = s->line;
    va_start(ap, fmt);
    (void)vsnprintf(s->fault->why, sizeof s->fault->why, fmt, ap);
    va_end(ap);
    return ERR_SYNTAX;
}

/* ---- words ---- */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* The next word of *rest into |dst|, which has room for all of it, with its quotes undone. */
static enum err take_word(struct parse *s, struct span *rest, char *dst)
{
    bool quoted = false;
    size_t i = 0;

    for (; i < rest->n && (quoted || !is_blank(rest->p[i])); i++) {
        unsigned char c = (unsigned char)rest->p[i];

        if (c < ' ' || c > '~')
            return wrong(s, "byte 0x%02x: words are printable ASCII", c);
        if (c == '"')
            quoted = !quoted;
        else
            *dst++ = (char)c;
    }
    *dst = '\0';
    *rest = span_sub(*rest, i, SIZE_MAX);
    return quoted ? wrong(s, "a quotation mark is not closed") : OK;
}

static enum err split(struct parse *s, struct span line)
{
    s->n_words = 0;
    for (line = span_trim(line); line.n > 0 && line.p[0] != '#'; line = span_trim(line)) {
        char *word = arena_alloc(&s->p->mem, line.n + 1);

        if (!word)
            return ERR_NOMEM;
        if (s->n_words == WORDS_MAX)
            return wrong(s, "more than %u words", WORDS_MAX);
        TRY(take_word(s, &line, word));
        s->words[s->n_words++] = word;
    }
    return OK;
}

/* ---- values ---- */

static bool is_name(const char *text)
{
    return peer_is_visible(span_of(text)) && strlen(text) <= 64;
}

static enum err set_level(struct parse *s, struct policy_rule *r, const char *text)
{
    for (int level = SALLYPORT_NONE; level <= SALLYPORT_STRONG; level++)
        if (strcmp(text, sallyport_level_name((sallyport_level)level)) == 0) {
            r->want->level = (sallyport_level)level;
            return OK;
        }
    return wrong(s, "'%.40s' is no level: none, integrity, weak, strong are", text);
}

static enum err set_via(struct parse *s, struct policy_rule *r, const char *text)
{
    static const struct {
        const char *name;
        unsigned via;
    } layers[] = {
        {"clear", SALLYPORT_VIA_CLEAR},
        {"tls",   SALLYPORT_VIA_TLS  },
        {"ipsec", SALLYPORT_VIA_IPSEC}
    };
    struct span rest = span_of(text);

    do {
        struct span name = span_cut(&rest, ',');
        unsigned via = 0;

        for (size_t i = 0; i < ARRAY_LEN(layers); i++)
            if (span_eq(name, span_of(layers[i].name)))
                via = layers[i].via;
        if (!via || r->want->via & via)
            return wrong(s, "via=%.60s: layers are ipsec, tls and clear, each once, with commas",
                         text);
        r->want->via |= via;
    } while (rest.p);
    return OK;
}

static enum err set_peer(struct parse *s, struct policy_rule *r, const char *text)
{
    int e = sallyport_want_peer_text(r->want, text);

    if (e == 0)
        return OK;
    if (e == -ENOMEM)
        return ERR_NOMEM;
    return e == -E2BIG ? wrong(s, "more than %d peers", SALLYPORT_WANT_PEERS_MAX)
                       : wrong(s, "peer=%.80s names nobody", text);
}

static enum err set_proto(struct parse *s, struct policy_rule *r, const char *text)
{
    static const struct {
        const char *name;
        int proto;
    } names[] = {
        {"tcp",  IPPROTO_TCP },
        {"udp",  IPPROTO_UDP },
        {"sctp", IPPROTO_SCTP},
        {"icmp", IPPROTO_ICMP}
    };
    uint64_t n = 0;

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (strcmp(text, names[i].name) == 0)
            n = (uint64_t)names[i].proto;
    if (n == 0 && (span_u64(span_of(text), 255, &n) != OK || n == 0))
        return wrong(s, "proto=%.40s: tcp, udp, sctp, icmp or a number from 1 to 255", text);
    r->scope.proto = (int)n;
    return OK;
}

static enum err set_port(struct parse *s, struct policy_rule *r, const char *text)
{
    uint64_t n = 0;

    if (span_u64(span_of(text), 65535, &n) != OK || n == 0)
        return wrong(s, "port=%.40s: a number from 1 to 65535", text);
    r->scope.port = (unsigned)n;
    return OK;
}

static enum err set_to(struct parse *s, struct policy_rule *r, const char *text)
{
    return policy_net_parse(text, &r->scope.to)
               ? OK
               : wrong(s,
                       "to=%.60s: an address or a network, as 10.0.0.0/8, without bits behind "
                       "its prefix",
                       text);
}

static enum err set_name(struct parse *s, const char **dst, const char *key, const char *text)
{
    if (!is_name(text))
        return wrong(s, "%s= needs a name of at most 64 bytes", key);
    *dst = text;
    return OK;
}

static enum err set_value(struct parse *s, struct policy_rule *r, unsigned key, const char *text)
{
    switch (key) {
    case KEY_TO: return set_to(s, r, text);
    case KEY_PROTO: return set_proto(s, r, text);
    case KEY_PORT: return set_port(s, r, text);
    case KEY_SERVICE: return set_name(s, &r->scope.service, "service", text);
    case KEY_UID: return set_name(s, &r->scope.uid, "uid", text);
    case KEY_VIA: return set_via(s, r, text);
    case KEY_PEER: return set_peer(s, r, text);
    default: return set_level(s, r, text); /* KEY_MIN, KEY_LEVEL */
    }
}

/* ---- keys ---- */

struct key_row {
    const char *name;
    unsigned key;
    unsigned flag; /* of a want; for words without a value */
};

static const struct key_row keys[] = {
    {"to",          KEY_TO,      0                          },
    {"proto",       KEY_PROTO,   0                          },
    {"port",        KEY_PORT,    0                          },
    {"service",     KEY_SERVICE, 0                          },
    {"uid",         KEY_UID,     0                          },
    {"min",         KEY_MIN,     0                          },
    {"level",       KEY_LEVEL,   0                          },
    {"via",         KEY_VIA,     0                          },
    {"peer",        KEY_PEER,    0                          },
    {"peer",        KEY_FLAG,    SALLYPORT_PEER_KNOWN       },
    {"end-to-end",  KEY_FLAG,    SALLYPORT_END_TO_END       },
    {"latched",     KEY_FLAG,    SALLYPORT_LATCHED          },
    {"covered",     KEY_FLAG,    SALLYPORT_TRANSPORT_COVERED},
    {"replay-safe", KEY_FLAG,    SALLYPORT_REPLAY_SAFE      },
};

static const struct key_row *find_key(struct span name, bool is_flag)
{
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        if (span_eq(name, span_of(keys[i].name)) && (keys[i].key == KEY_FLAG) == is_flag)
            return &keys[i];
    return NULL;
}

static enum err take_key(struct parse *s, struct policy_rule *r, unsigned allowed, const char *word)
{
    struct span value = span_of(word), name = span_cut(&value, '=');
    const struct key_row *row = find_key(name, !value.p);

    if (!row || !(row->key & allowed))
        return wrong(s, "'%.60s' is nothing that %.20s can have", word, s->words[0]);
    if (row->flag) {
        if (r->want->flags & row->flag)
            return wrong(s, "'%s' stands here twice", word);
        r->want->flags |= row->flag;
    } else if (s->has & row->key && row->key != KEY_PEER) {
        return wrong(s, "'%s=' stands here twice", row->name);
    }
    s->has |= row->key;
    return row->flag ? OK : set_value(s, r, row->key, value.p);
}

/* ---- statements about connections ---- */

static enum err rule_new(struct parse *s, enum policy_kind kind, struct policy_rule **ret)
{
    struct policy_file *p = s->p;
    struct policy_rule *r = &p->rules[p->n_rules];

    if (p->n_rules == POLICY_RULES_MAX) {
        (void)wrong(s, "more than %u lines about connections", POLICY_RULES_MAX);
        return ERR_SYNTAX;
    }
    *r = (struct policy_rule){.kind = kind, .line = s->line};
    if (sallyport_want_new(&r->want) != 0)
        return ERR_NOMEM;
    p->n_rules++;
    s->has = 0;
    *ret = r;
    return OK;
}

/* From word |first| on. */
static enum err take_keys(struct parse *s, struct policy_rule *r, unsigned first, unsigned allowed)
{
    for (unsigned i = first; i < s->n_words; i++)
        TRY(take_key(s, r, allowed, s->words[i]));
    return OK;
}

static enum err take_rule(struct parse *s)
{
    struct policy_rule *r = NULL;

    TRY(rule_new(s, POLICY_RULE, &r));
    TRY(take_keys(s, r, 1, KEYS_SCOPE | KEYS_DEMANDS));
    if (!(s->has & KEYS_SCOPE))
        return wrong(s, "a rule says what it is about: to=, proto=, port= or service=; 'default' "
                        "is about everything");
    return s->has & KEYS_DEMANDS ? OK : wrong(s, "the rule demands nothing: min=, via= or peer=");
}

static enum err take_interface(struct parse *s)
{
    struct policy_rule *r = NULL;

    TRY(rule_new(s, POLICY_INTERFACE, &r));
    if (s->n_words < 2 || strchr(s->words[1], '='))
        return wrong(s, "interface needs its name");
    TRY(set_name(s, &r->scope.interface, "interface", s->words[1]));
    TRY(take_keys(s, r, 2, KEYS_SCOPE | KEYS_DEMANDS));
    return s->has & KEYS_DEMANDS ? OK : wrong(s, "the line demands nothing: min=, via= or peer=");
}

/* The one statement that opens something: it must say exactly for what, and for whom. */
static enum err take_exempt(struct parse *s)
{
    struct policy_rule *r = NULL;

    TRY(rule_new(s, POLICY_EXEMPT, &r));
    TRY(take_keys(s, r, 1, KEYS_SCOPE | KEY_UID | KEY_LEVEL));
    if (!(s->has & KEY_PROTO) || !(s->has & KEY_PORT))
        return wrong(s, "exempt needs proto= and port=");
    if (!(s->has & (KEY_UID | KEY_SERVICE)))
        return wrong(s, "exempt needs uid= or service=: who may have less");
    return s->has & KEY_LEVEL ? OK : wrong(s, "exempt needs level=: how much less");
}

static enum err take_default(struct parse *s)
{
    struct policy_rule *r = NULL;

    if (s->has_default)
        return wrong(s, "'default' stands here twice");
    s->has_default = true;
    TRY(rule_new(s, POLICY_DEFAULT, &r));
    TRY(take_keys(s, r, 1, KEYS_DEMANDS));
    return s->has ? OK : wrong(s, "default demands nothing, not even min=none");
}

/* ---- the others ---- */

static enum err take_version(struct parse *s)
{
    if (s->has_version)
        return wrong(s, "'version' stands here twice");
    if (s->n_words != 2 || strcmp(s->words[1], "1") != 0)
        return wrong(s, "only 'version 1' is known here");
    s->has_version = true;
    return OK;
}

static enum err take_classes(struct parse *s)
{
    if (s->has_classes)
        return wrong(s, "'classes' stands here twice");
    s->has_classes = true;
    if (s->n_words != 2 || strcmp(s->words[1], STRENGTH_CLASSES) != 0)
        return wrong(s, "the table of strengths that is known here is %s", STRENGTH_CLASSES);
    return OK;
}

static enum err take_marks(struct parse *s)
{
    struct span text = s->n_words == 2 ? span_of(s->words[1]) : SPAN_NONE;
    uint64_t bits = 0;

    if (s->has_marks)
        return wrong(s, "'mark-bits' stands here twice");
    s->has_marks = true;
    if (!span_starts(text, SPAN("0x")) ||
        span_hex_u64(span_sub(text, 2, SIZE_MAX), UINT32_MAX, &bits) != OK || bits == 0)
        return wrong(s, "mark-bits needs a mask of 32 bits, as 0x0fff0000");
    s->p->mark_bits = (uint32_t)bits;
    return OK;
}

static enum err take_attr(struct parse *s)
{
    struct policy_attr_rule *a = &s->p->attrs[s->p->n_attrs];
    struct span value = s->n_words == 3 ? span_of(s->words[1]) : SPAN_NONE;
    struct span name = span_cut(&value, '=');
    struct span pattern = s->n_words == 3 ? span_of(s->words[2]) : SPAN_NONE;

    if (s->p->n_attrs == POLICY_ATTRS_MAX)
        return wrong(s, "more than %u attributes", POLICY_ATTRS_MAX);
    if (!value.p || value.n == 0 || !span_is_token(name) || !is_name(s->words[1]) ||
        !span_starts(pattern, SPAN("for=")))
        return wrong(s, "attr is written as: attr role=printer for=uri:spiffe://example.org/*");
    pattern = span_sub(pattern, 4, SIZE_MAX);
    a->kind = peer_kind(span_cut(&pattern, ':'));
    if (!a->kind || !pattern.p || !peer_pattern_is_valid(a->kind, pattern))
        return wrong(s, "'%.80s' names nobody", s->words[2] + 4);
    a->text = s->words[1];
    a->pattern = pattern.p;
    s->p->n_attrs++;
    return OK;
}

static const struct {
    const char *name;
    enum err (*take)(struct parse *s);
} statements[] = {
    {"version",   take_version  },
    {"classes",   take_classes  },
    {"mark-bits", take_marks    },
    {"interface", take_interface},
    {"rule",      take_rule     },
    {"exempt",    take_exempt   },
    {"attr",      take_attr     },
    {"default",   take_default  },
};

static enum err take_line(struct parse *s, struct span line)
{
    TRY(split(s, line));
    if (s->n_words == 0)
        return OK;
    for (size_t i = 0; i < ARRAY_LEN(statements); i++)
        if (strcmp(s->words[0], statements[i].name) == 0) {
            if (!s->has_version && i > 0)
                return wrong(s, "the file begins with 'version 1'");
            return statements[i].take(s);
        }
    return wrong(s, "'%.40s' is no statement", s->words[0]);
}

static enum err take_text(struct parse *s, struct span text)
{
    if (text.n > POLICY_TEXT_MAX)
        return wrong(s, "more than %u bytes", POLICY_TEXT_MAX);
    while (text.p && text.n > 0) {
        s->line++;
        TRY(take_line(s, span_cut(&text, '\n')));
    }
    s->line = 0;
    return s->has_version ? OK : wrong(s, "the file begins with 'version 1'");
}

enum err policy_parse(struct span text, struct policy_file **ret, struct policy_fault *ret_fault)
{
    struct parse s = {.p = calloc(1, sizeof *s.p), .fault = ret_fault};
    enum err e;

    *ret_fault = (struct policy_fault){0};
    if (!s.p)
        return ERR_NOMEM;
    atomic_init(&s.p->refs, 1);
    arena_init(&s.p->mem, 0);
    e = take_text(&s, text);
    if (e)
        policy_unref(s.p);
    else
        *ret = s.p;
    return e;
}
