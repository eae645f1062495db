/* SPDX-License-Identifier: Apache-2.0 */
/* config.h - YAML text to typed structs, by tables. A room describes its struct with rows (name,
 * kind, offset, range, default, help); the text is checked against them and every complaint names
 * file, line and column. The same rows print the effective configuration and the manual page.
 *
 *     struct icap_service_config {
 *         const char *name, *path;
 *         uint32_t preview_max;
 *         uint8_t on[ICAP_CAUSES];
 *     };
 *     static const struct config_names causes = CONFIG_NAMES({"infected", ICAP_INFECTED}, ...);
 *     static const struct config_row service_rows[] = {
 *         CONFIG_STRING("name", struct icap_service_config, name, .required = true,
 *                       .help = "name of the service in records"),
 *         CONFIG_SIZE("preview", struct icap_service_config, preview_max, .max = 65536,
 *                     .fallback = "4k", .help = "bytes of the body that a client shows first"),
 *         CONFIG_MAP("on", struct icap_service_config, on, causes, actions,
 *                    .fallback = "{infected: block}", .help = "what happens on each cause"),
 *     };
 *     const struct config_block icap_service_block =
 *         CONFIG_ROWS(struct icap_service_config, service_rows, .check = service_check);
 *
 * Rows are constant and static. Threads: a report and a load belong to one thread; a loaded struct
 * is not changed any more and may be read by all. */
#ifndef CONFIG_CONFIG_H
#define CONFIG_CONFIG_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/span.h"

#define CONFIG_TEXT_MAX   ((size_t)1024 * 1024) /* bytes of one file */
#define CONFIG_DEPTH_MAX  32u                   /* mappings and lists inside each other */
#define CONFIG_NODES_MAX  100000u               /* keys, values, mappings, lists */
#define CONFIG_ERRORS_MAX 50u                   /* complaints kept; the rest is counted */

struct config_report;

/* ---- values ---- */

/* Words and what they stand for: the values of an enum, the keys of a map. */
struct config_name {
    const char *name;
    uint64_t value;
};

struct config_names {
    const struct config_name *v;
    size_t n;
};

#define CONFIG_NAMES(...)                                                                    \
    {                                                                                        \
        .v = (const struct config_name[]){__VA_ARGS__},                                      \
        .n = sizeof((const struct config_name[]){__VA_ARGS__}) / sizeof(struct config_name), \
    }

struct config_strings {
    const char *const *v;
    size_t n;
};

enum config_address_kind {
    CONFIG_ADDRESS_NONE, /* not set */
    CONFIG_ADDRESS_ANY,  /* "*:1344": every local address, both families; host is "*" */
    CONFIG_ADDRESS_IPV4, /* host is the literal as inet_ntop writes it */
    CONFIG_ADDRESS_IPV6, /* the same, without brackets */
    CONFIG_ADDRESS_NAME, /* a host name, in lower case */
    CONFIG_ADDRESS_UNIX, /* host is the absolute path of a socket; port is 0 */
};

struct config_address {
    enum config_address_kind kind;
    uint16_t port; /* 0: the system picks one (listeners only) */
    const char *host;
};

struct config_cidr {
    uint8_t family; /* 4 or 6 */
    uint8_t prefix; /* 0..32, 0..128 */
    uint8_t addr[16];
};

struct config_cidrs {
    const struct config_cidr *v;
    size_t n;
};

/* ---- rows ---- */

enum config_kind {
    CONFIG_KIND_BOOL,     /* bool */
    CONFIG_KIND_COUNT,    /* unsigned integer of any width */
    CONFIG_KIND_SIZE,     /* the same, bytes: 4096, 4k, 4KiB; k, m, g, t are powers of 1024 */
    CONFIG_KIND_DURATION, /* the same, milliseconds: 250ms, 30s, 5m, 1h, 7d; 0 needs no unit */
    CONFIG_KIND_ENUM,     /* enum or unsigned integer, one of .names */
    CONFIG_KIND_SET,      /* unsigned integer, list of .names: bit 1 << value each */
    CONFIG_KIND_STRING,   /* const char *; NULL when not set and without default */
    CONFIG_KIND_PATH,     /* the same, an absolute path */
    CONFIG_KIND_STRINGS,  /* struct config_strings */
    CONFIG_KIND_PATHS,    /* struct config_strings of absolute paths */
    CONFIG_KIND_ADDRESS,  /* struct config_address: where we listen (IP literal, *, /path) */
    CONFIG_KIND_UPSTREAM, /* struct config_address: where we connect (IP literal, name, /path) */
    CONFIG_KIND_CIDRS,    /* struct config_cidrs: 10.0.0.0/8, 2001:db8::/32, 192.0.2.1 */
    CONFIG_KIND_MAP,   /* uint8_t[]: at the value of a word of .keys the value of one of .names */
    CONFIG_KIND_BLOCK, /* struct, by value: absent means all defaults */
    CONFIG_KIND_OPTIONAL, /* struct *, NULL when absent */
    CONFIG_KIND_LIST,     /* struct * and size_t: list of mappings */
};

struct config_row {
    const char *name;
    const char *help; /* one sentence for the manual, plain text; it explains, it does not repeat */
    /* The value when the key is absent, as a person would write it ("30s", "[a, b]",
     * "{infected: block}"); NULL: zero, NULL or an empty list. A map's default fills the words
     * that the text leaves out. */
    const char *fallback;
    const char *unit; /* for people: "connections", "per second" */
    /* A word that stands for 0 and is fine whatever .min says: "off", "auto", "unlimited". */
    const char *zero;
    const char *deprecated; /* a sentence what to use instead; using the key is a warning */
    const char *unique;     /* lists: key of the elements that must differ ("name") */
    /* Strings, paths and their lists: NULL when |text| is fine, or what it must be ("start with
     * '/'", "be a token"). */
    const char *(*valid)(struct span text);
    const struct config_names *names, *keys;
    const struct config_block *block;
    /* Inclusive. Numbers: the value; strings: bytes; lists: elements. max == 0: what the field
     * holds. */
    uint64_t min, max;
    size_t offset, size;
    size_t count_offset; /* lists: the size_t beside the pointer */
    enum config_kind kind;
    bool required;
    bool restart; /* a change needs a new generation of the gateway process, no live swap */
    bool single;  /* lists of texts: a text is a list of one */
    bool secret;  /* printed as "(set)", never quoted in a complaint */
};

/* A struct and its rows: the root, or what stands behind a BLOCK, OPTIONAL or LIST row. */
struct config_block {
    const struct config_row *rows;
    size_t n_rows;
    size_t size;
    const char *help; /* a sentence or two at the head of its section of the manual */
    /* Called when the block and all in it was read without an error, inner blocks first, root
     * last. May fill fields that have no row. Complains through config_fault(); returning an error
     * without a complaint (ERR_NOMEM) fails the load too. */
    enum err (*check)(void *block, struct config_report *r);
};

/* CONFIG_ROWS(struct type, rows, .check = f, .help = "..."): a struct config_block. */
#define CONFIG_ROWS(type, table, ...)                                                  \
    {                                                                                  \
        .rows = (table), .n_rows = ARRAY_LEN(table), .size = sizeof(type), __VA_ARGS__ \
    }

/* Offset and size of a member, which must have |want|'s type: a row that lies does not compile. */
#define CONFIG_FIELD(type, member, want)                                                       \
    .offset =                                                                                  \
        offsetof(type, member) +                                                               \
        0 * sizeof(struct {                                                                    \
            static_assert(__builtin_types_compatible_p(__typeof__(((type *)0)->member), want), \
                          "config row: " #member " must be " #want);                           \
            int nothing;                                                                       \
        }),                                                                                    \
    .size = sizeof(((type *)0)->member)
/* The same for a member that is some integer. */
#define CONFIG_INTEGER(type, member)                                         \
    .offset = offsetof(type, member) + 0 * sizeof(((type *)0)->member & 1u), \
    .size = sizeof(((type *)0)->member)

/* clang-format off */
#define CONFIG_BOOL(key, type, member, ...)                                                   \
    {.name = (key), .kind = CONFIG_KIND_BOOL, CONFIG_FIELD(type, member, bool), __VA_ARGS__}
#define CONFIG_COUNT(key, type, member, ...)                                                  \
    {.name = (key), .kind = CONFIG_KIND_COUNT, CONFIG_INTEGER(type, member), __VA_ARGS__}
#define CONFIG_SIZE(key, type, member, ...)                                                   \
    {.name = (key), .kind = CONFIG_KIND_SIZE, CONFIG_INTEGER(type, member), __VA_ARGS__}
#define CONFIG_DURATION(key, type, member, ...)                                               \
    {.name = (key), .kind = CONFIG_KIND_DURATION, CONFIG_INTEGER(type, member), __VA_ARGS__}
#define CONFIG_ENUM(key, type, member, words, ...)                                            \
    {.name = (key), .kind = CONFIG_KIND_ENUM, CONFIG_INTEGER(type, member),                   \
     .names = &(words), __VA_ARGS__}
#define CONFIG_SET(key, type, member, words, ...)                                             \
    {.name = (key), .kind = CONFIG_KIND_SET, CONFIG_INTEGER(type, member),                    \
     .names = &(words), __VA_ARGS__}
#define CONFIG_STRING(key, type, member, ...)                                                 \
    {.name = (key), .kind = CONFIG_KIND_STRING, CONFIG_FIELD(type, member, const char *),     \
     __VA_ARGS__}
#define CONFIG_PATH(key, type, member, ...)                                                   \
    {.name = (key), .kind = CONFIG_KIND_PATH, CONFIG_FIELD(type, member, const char *),       \
     __VA_ARGS__}
#define CONFIG_STRINGS(key, type, member, ...)                                                \
    {.name = (key), .kind = CONFIG_KIND_STRINGS,                                              \
     CONFIG_FIELD(type, member, struct config_strings), __VA_ARGS__}
#define CONFIG_PATHS(key, type, member, ...)                                                  \
    {.name = (key), .kind = CONFIG_KIND_PATHS,                                                \
     CONFIG_FIELD(type, member, struct config_strings), __VA_ARGS__}
#define CONFIG_ADDRESS(key, type, member, ...)                                                \
    {.name = (key), .kind = CONFIG_KIND_ADDRESS,                                              \
     CONFIG_FIELD(type, member, struct config_address), __VA_ARGS__}
#define CONFIG_UPSTREAM(key, type, member, ...)                                               \
    {.name = (key), .kind = CONFIG_KIND_UPSTREAM,                                             \
     CONFIG_FIELD(type, member, struct config_address), __VA_ARGS__}
#define CONFIG_CIDRS(key, type, member, ...)                                                  \
    {.name = (key), .kind = CONFIG_KIND_CIDRS,                                                \
     CONFIG_FIELD(type, member, struct config_cidrs), __VA_ARGS__}
#define CONFIG_MAP(key, type, member, key_words, words, ...)                                  \
    {.name = (key), .kind = CONFIG_KIND_MAP, CONFIG_FIELD(type, member, uint8_t[]),           \
     .keys = &(key_words), .names = &(words), __VA_ARGS__}
#define CONFIG_BLOCK(key, type, member, inner, ...)                                           \
    {.name = (key), .kind = CONFIG_KIND_BLOCK, .offset = offsetof(type, member),              \
     .size = sizeof(((type *)0)->member), .block = &(inner), __VA_ARGS__}
/* |member|: pointer to the inner struct. */
#define CONFIG_OPTIONAL(key, type, member, inner, ...)                                        \
    {.name = (key), .kind = CONFIG_KIND_OPTIONAL, .offset = offsetof(type, member),           \
     .size = sizeof(*((type *)0)->member), .block = &(inner), __VA_ARGS__}
/* |member|: pointer to the inner struct; |count|: the size_t that says how many. */
#define CONFIG_LIST(key, type, member, count, inner, ...)                                     \
    {.name = (key), .kind = CONFIG_KIND_LIST, .offset = offsetof(type, member),               \
     .size = sizeof(*((type *)0)->member), .block = &(inner),                                 \
     .count_offset = offsetof(type, count) +                                                  \
                     0 * sizeof(&((type *)0)->count == (size_t *)0), __VA_ARGS__}
/* clang-format on */

/* ---- complaints ---- */

struct config_error {
    const char *text;      /* without the place */
    unsigned line, column; /* from 1; 0: the whole file */
    bool warning;
};

struct config_place;
struct config_builtin;

/* All complaints of one load, and the places of everything that was read: lives as long as
 * somebody may still want to say "the certificate in line 12 cannot be opened". */
struct config_report {
    const char *file; /* copied */
    struct config_error v[CONFIG_ERRORS_MAX];
    size_t n;          /* kept, in the order in which they were found */
    size_t n_errors;   /* found, kept or not */
    size_t n_warnings; /* the same */
    /* inner */
    struct arena mem;  /* texts, nodes */
    struct arena *out; /* the caller's arena, during a load */
    struct config_place *places;
    struct config_builtin *builtins;
    const struct config_block *checking; /* whose check() runs */
    size_t n_nodes;
    bool builtin; /* defaults are being read: their faults are ours */
};

void config_report_init(struct config_report *r);
/* Frees the texts; the loaded struct does not depend on it. */
void config_report_done(struct config_report *r);
/* "file:line:column: message" lines, sorted by place; warnings say "warning:". Control characters
 * of the input are escaped. */
void config_report_print(const struct config_report *r, struct buf *out);

/* Complains about |key| of |block|, any struct that a load with |r| filled (the root, an inner
 * block, an element of a list); also after the load, for what only a driver can find out. |key| may
 * reach down through blocks and maps ("limits.body", "on.infected"); NULL is the block itself. A
 * key that the text does not have is reported at its block. The sentence follows the style "preview
 * must be 0..65536, got '-1'". Always returns ERR_CONFIG. */
PRINTF(4, 5)
enum err config_fault(struct config_report *r, const void *block, const char *key, const char *fmt,
                      ...);
/* The same at element |i| of the list |key|: config_fault_at(r, service, "pipeline", 2, ...). */
PRINTF(5, 6)
enum err config_fault_at(struct config_report *r, const void *block, const char *key, size_t i,
                         const char *fmt, ...);
/* A complaint that does not fail the load. */
PRINTF(4, 5)
void config_warn(struct config_report *r, const void *block, const char *key, const char *fmt, ...);
/* How much was complained of so far. */
struct config_mark {
    size_t n, n_errors;
};
struct config_mark config_report_mark(const struct config_report *r);
/* The first error since |mark|; NULL: there was none (or no room for its text). Lives as long as
 * |r|. */
const char *config_report_since(const struct config_report *r, const struct config_mark *mark);
/* Takes the errors since |mark| back, for whoever has found another way; warnings stay. */
void config_report_rewind(struct config_report *r, const struct config_mark *mark);
/* Was |key| written in the text (and not filled by its default)? */
bool config_is_set(const struct config_report *r, const void *block, const char *key);
/* During a load: where check() callbacks allocate what must live as long as the struct. */
struct arena *config_report_arena(struct config_report *r);
/* "; did you mean 'x'?" for the word of |words| that is nearest to |got|, or "" when none is near.
 * The text lives as long as |r|. For rooms that check references between blocks. */
const char *config_hint(struct config_report *r, struct span got, const char *const *words,
                        size_t n_words);

/* ---- loading ---- */

/* Reads |text| (UTF-8 YAML, one document whose root is a mapping; no aliases, anchors or tags) into
 * |ret|, a struct of block->size bytes. What |ret| points to is allocated in |mem|; nothing points
 * into |text|. |file| names the text in complaints. |r| is fresh from config_report_init().
 * OK; ERR_CONFIG with at least one error in |r|; ERR_NOMEM over |mem|'s budget or out of memory;
 * what a check() returned; ERR_BUG when a row's default does not fit its row. After a failure *ret
 * is all zero bytes. Empty text gives all defaults. */
NODISCARD enum err config_load_text(struct span text, const char *file,
                                    const struct config_block *block, struct arena *mem,
                                    struct config_report *r, void *ret);
/* The same for a file; one that cannot be read is an error in |r| (and ERR_CONFIG). Blocks: for
 * start and reload only. */
NODISCARD enum err config_load_file(const char *path, const struct config_block *block,
                                    struct arena *mem, struct config_report *r, void *ret);

/* ---- what else the rows are good for ---- */

enum {
    CONFIG_PRINT_SECRETS = 1,  /* secrets in clear, for tests and comparisons */
    CONFIG_PRINT_COMMENTS = 2, /* unit, range and help behind or above each key */
};

/* The effective configuration as YAML, every default written out; keys without a value are
 * comments. With CONFIG_PRINT_SECRETS, loading the text gives an equal struct. Errors are |out|'s.
 */
void config_print(const struct config_block *block, const void *value, unsigned flags,
                  struct buf *out);
/* Does a row with .restart differ between |a| and |b|? Compares by value. Elements of a list are
 * paired by its .unique key, or else by position; one that came or went counts when its block has
 * such rows. |ret_key| (may be NULL) gets the path of the first difference
 * ("listeners.edge.address"). ERR_NOMEM without memory. */
NODISCARD enum err config_diff_restart(const struct config_block *block, const void *a,
                                       const void *b, bool *ret_restart, struct buf *ret_key);
/* mdoc fragment: a tagged list of the root's keys, then one .Ss for each inner block. */
void config_man(const struct config_block *block, struct buf *out);
/* The same as Markdown: one table for each block. */
void config_markdown(const struct config_block *block, struct buf *out);
/* For unit tests: are these rows sound (names, offsets, ranges, defaults that load)? Complaints go
 * to |r|; OK, ERR_BUG or ERR_NOMEM. */
NODISCARD enum err config_rows_check(const struct config_block *block, struct config_report *r);

/* The word for |value|, or NULL. */
const char *config_name_of(const struct config_names *names, uint64_t value);
/* Is |addr| (4 or 16 bytes, as |family| 4 or 6 says) in the network? */
bool config_cidr_has(const struct config_cidr *net, unsigned family, const uint8_t *addr);
bool config_cidrs_have(const struct config_cidrs *nets, unsigned family, const uint8_t *addr);
/* "[2001:db8::1]:1344", "*:80", "/run/x.sock": as it would be written in a file. */
void config_address_format(const struct config_address *a, struct buf *out);

#endif
