/* SPDX-License-Identifier: Apache-2.0 */
/* rules.h - a service's rules: who sends what, and what then. The first rule that matches decides;
 * a `note` is recorded and the next one is asked. Conditions in one rule must all hold; values in
 * one condition are alternatives. Compiled once, immutable, any thread. */
#ifndef ADAPT_RULES_H
#define ADAPT_RULES_H

#include "adapt/facts.h"
#include "adapt/url_lists.h"
#include "config/config.h"

enum rule_then { RULE_ALLOW, RULE_BLOCK, RULE_NOTE, RULE_PIPELINE };

struct rule_settings {
    const char *name;
    /* who */
    struct config_strings tenant; /* names */
    struct config_cidrs client;
    struct config_strings user; /* globs */
    /* what */
    struct config_strings method;   /* REQMOD, RESPMOD */
    struct config_strings host;     /* "host.example" exactly, ".example" it and everything below */
    struct config_strings url_list; /* names of engines.url.lists */
    struct config_strings type;     /* globs over declared and sniffed media types: "image/ *" */
    struct config_strings file;     /* globs over file names */
    struct config_strings sha256;
    struct config_strings signature; /* globs over names of findings */
    uint64_t larger, smaller;        /* than so many bytes; 0: no condition */
    enum rule_then then;
    unsigned pipeline; /* for RULE_PIPELINE: engines, as in the service */
    const char *why;   /* for people: in records, and on the block page */
};
extern const struct config_block rule_block;

/* The engines that a pipeline may name, as bits 1 << PIPELINE_*. */
enum pipeline_engine {
    PIPELINE_YARA,
    PIPELINE_FILETYPE,
    PIPELINE_CLAMAV,
    PIPELINE_URL,
    PIPELINE_PRINTING
};
extern const struct config_names pipeline_names;

/* All engines that may run: those of |pipeline|, and those that a rule puts in their place. */
unsigned rules_engines(unsigned pipeline, const struct rule_settings *v, size_t n);

struct rules;
/* Borrows |v| and |lists| (NULL: there are none), which must outlive it. ERR_CONFIG for a list that
 * there is not; |why| says which. */
NODISCARD enum err rules_new(const struct rule_settings *v, size_t n, const struct url_lists *lists,
                             struct rules **ret, struct buf *why);
void rules_free(struct rules *r); /* NULL is fine */

struct rule_match {
    const struct rule_settings *rule; /* NULL: none decided */
    /* A rule that may match needs facts of the body: nothing behind it was asked, except for the
     * pipeline, so |rule| is NULL or a RULE_PIPELINE. */
    bool waits;
    /* There was more to do than facts.steps allows: |rule| is NULL, and nobody knows what the rules
     * would have said. */
    bool out_of_steps;
    const struct rule_settings *notes[8]; /* further ones are left out */
    unsigned n_notes;
    char where[FINDING_WHERE_MAX]; /* "part NAME", the object that made the rule match, or "" */
};
/* Asks the rules in order. With |head_only| a RULE_PIPELINE decides; after the body it is passed
 * over.
 *
 * Doubt never allows: ALLOW and PIPELINE (which leaves the service's own) need certainty, BLOCK and
 * NOTE the possibility.
 *
 * `url-list`: a regular expression at its limit is a match for BLOCK and NOTE only.
 *
 * `type`, `file`: of an ALLOW they must hold for each FILE among the objects (without one, for the
 * BODY; a form of mere fields is never allowed by them), and the type both as far as it is declared
 * and as it looks, which must be known. Of BLOCK and NOTE both conditions must hold for one object,
 * or for the message itself, the type either way; a FIELD has no file name, and a table of objects
 * that cannot be read holds. PIPELINE has the heads' name and declared type only.
 *
 * `signature`: of an ALLOW, all findings that block must fit, and none be left out for room.
 *
 * A tenant, client, user or digest that is not known fits no value. A file name that is not known
 * (facts.name_unknown) may be any: it holds for BLOCK and NOTE, and for no other.
 *
 * Without body facts a rule that needs them and otherwise matches stops the walk (|waits|). `file`
 * needs them when the declared type is a multipart, a BLOCK's or NOTE's `type` when the declared
 * one does not match. */
void rules_match(const struct rules *r, const struct facts *f, bool head_only,
                 struct rule_match *ret);

/* Shared by rules, exceptions and type policies. '*' any bytes, '?' one; letters of any case. */
bool glob_match(struct span pattern, struct span text);
/* The same, and takes steps; the answer to a match that uses up the last is right all the same. */
bool glob_match_within(struct span pattern, struct span text, struct steps *steps);
/* |pattern| "host.example" exactly, ".example" it and everything below; in the spelling of
 * url_normal.h: letters of any case, IPv6 addresses with brackets or without. */
bool host_match(struct span pattern, struct span host);

#endif
