/* SPDX-License-Identifier: Apache-2.0 */
/* magic_need.h - what must be in a file before one of libmagic's tests can hold: conditions that
 * are cheap to ask, and never false where the test would hold. Pure. */
#ifndef WORKER_MAGIC_NEED_H
#define WORKER_MAGIC_NEED_H

#include "worker/ere_words.h"
#include "worker/magic_file.h"

enum magic_need_kind {
    MAGIC_NEED_NOTHING, /* known: it may hold for any file */
    MAGIC_NEED_CHECK,   /* magic_check_holds() of |entry| */
    MAGIC_NEED_AT,      /* one of the words stands at |from|, or at a place up to |to| */
    MAGIC_NEED_WORDS,   /* one of the words stands somewhere in from..to */
    MAGIC_NEED_NEVER,   /* it holds for no file in memory */
};

struct magic_need {
    enum magic_need_kind kind;
    const struct magic_entry *entry;
    uint8_t condition;
    bool regex; /* magic_regex_region() and |entry| tell for sure */
    size_t from, to;
    struct ere_words words;
};

#define MAGIC_NEEDS_MAX      16u
#define MAGIC_CONDITIONS_MAX 4u

/* Each condition is that one of the needs with its number is met; all have to hold. */
struct magic_needs {
    unsigned n, n_conditions;
    struct magic_need v[MAGIC_NEEDS_MAX];
};

/* Of a group of tests: before it has any effect on the answer. That is when an entry holds which
 * has a description or a type: of one that has none, one of those under it must hold, too. */
void magic_needs_of(const struct magic_group *g, struct magic_needs *ret);

/* Of numbers, texts in two bytes for each letter, and ASN.1: whether the test of the entry may hold
 * for |file|. */
bool magic_check_holds(const struct magic_entry *e, struct span file);

/* The bytes of |file| on which libmagic tries a regular expression that stands in an entry of its
 * own offset; SPAN_NONE: there are none. */
struct span magic_regex_region(const struct magic_entry *e, struct span file);
/* For regcomp(). */
int magic_regex_flags(const struct magic_entry *e);

#endif
