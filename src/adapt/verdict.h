/* SPDX-License-Identifier: Apache-2.0 */
/* verdict.h - the words of adaptation: what an engine found, why a file could not be passed, and
 * what a service does about it. Plain values, shared by gateway and worker. */
#ifndef ADAPT_VERDICT_H
#define ADAPT_VERDICT_H

#include "base/span.h"

/* NOT_INSPECTED (too large, encrypted, a fragment, an engine's limit) is never PASS. */
enum verdict { VERDICT_PASS, VERDICT_CHANGED, VERDICT_BLOCK, VERDICT_NOT_INSPECTED, VERDICT_ERROR };
#define VERDICTS 5

/* Why a file is not simply passed. Each service says what it does about each (enum action);
 * default: block. */
enum cause {
    CAUSE_NONE,
    CAUSE_INFECTED,      /* an engine found something */
    CAUSE_DENIED,        /* policy forbids it */
    CAUSE_ENGINE_DOWN,   /* no worker, no rules, no daemon */
    CAUSE_TIMEOUT,       /* the scan's deadline passed */
    CAUSE_TOO_LARGE,     /* over the service's or an engine's size limit */
    CAUSE_NOT_INSPECTED, /* an engine could not look inside */
    CAUSE_WORKER_CRASH,  /* the worker died, was killed for hanging, or outgrew its limits */
    CAUSE_OVERLOAD,      /* over a budget */
    CAUSE_DISK_FULL,     /* no room to spool it, or to record it */
};
#define CAUSES 10

enum action { ACTION_PASS, ACTION_BLOCK, ACTION_ERROR };
#define ACTIONS 3

/* "infected", "engine-down", ... as in the configuration, records and metrics. Never NULL. */
const char *verdict_name(enum verdict v);
const char *cause_name(enum cause c);
const char *action_name(enum action a);

#define FINDING_NAME_MAX  128
#define FINDING_WHERE_MAX 128
#define FINDINGS_MAX      16

/* Texts come from rules and from hostile files: any bytes, closed by NUL, cut to fit. */
struct finding {
    char engine[16];
    char name[FINDING_NAME_MAX];
    char where[FINDING_WHERE_MAX];
    bool note; /* recorded, but does not block by itself */
};

#define SNIFFED_MAX 128

struct scan_result {
    enum verdict verdict;
    enum cause cause; /* when verdict is not PASS or CHANGED */
    enum err err;     /* what went wrong, for VERDICT_ERROR */
    char why[160];    /* a sentence, or "" */
    struct finding findings[FINDINGS_MAX];
    unsigned n_findings;
    char sniffed[SNIFFED_MAX]; /* media type of the (decoded) body as it looks, "" if not asked */
    bool
        incomplete; /* something that was asked could not look at all of it, whatever the verdict */
    uint32_t n_objects; /* in the body: 1, or the leaves of a multipart */
    uint64_t scan_us;   /* in the worker */
};

/* Sets verdict, cause, error and |why| unless |r| has a graver verdict already: BLOCK before ERROR
 * before NOT_INSPECTED before CHANGED before PASS. */
PRINTF(5, 6)
void scan_result_judge(struct scan_result *r, enum verdict verdict, enum cause cause, enum err err,
                       const char *why, ...);
/* Adds a copy of |f|. When the list is full a finding that blocks takes the place of a note, and
 * what is left over is dropped. */
void scan_result_find(struct scan_result *r, const struct finding *f);

#endif
