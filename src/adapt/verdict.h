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

/* How strict they are is another order: to a client that lets pass on errors an error is a pass, so
 * that it is less than a block. */
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
    unsigned also;    /* bits 1 << enum cause: what stood in the way besides |cause| */
    enum err err;     /* what went wrong, for VERDICT_ERROR */
    char why[256];    /* a sentence of each cause, the gravest first, cut to fit; or "" */
    struct finding findings[FINDINGS_MAX];
    unsigned n_findings;
    char sniffed[SNIFFED_MAX]; /* media type of the (decoded) body as it looks, "" if not asked */
    bool
        incomplete; /* something that was asked could not look at all of it, whatever the verdict */
    uint32_t n_objects; /* in the body: 1, or the leaves of a multipart */
    uint32_t pages;     /* that a printer would print once; 0: not known, or not asked for */
    uint64_t scan_us;   /* in the worker */
};

/* Joins a verdict to |r|. The gravest gives verdict, cause and error: BLOCK before ERROR before
 * NOT_INSPECTED before CHANGED before PASS. The cause of a lesser one stands in |also|, for the
 * service may be stricter with it. */
PRINTF(5, 6)
void scan_result_judge(struct scan_result *r, enum verdict verdict, enum cause cause, enum err err,
                       const char *why, ...);
/* Joins what another engine said of the same file: verdict, causes, findings. */
void scan_result_join(struct scan_result *r, const struct scan_result *other);
/* |cause| and |also| as bits 1 << enum cause; 0 for what is passed. */
unsigned scan_result_causes(const struct scan_result *r);
/* The strictest action that |on| (enum action at each enum cause) has for one of |causes|: BLOCK
 * before ERROR before PASS. *cause: the one to name where several are as strict (CAUSE_NONE: any);
 * then the one that decided. ACTION_PASS without causes. */
enum action causes_action(unsigned causes, const uint8_t on[CAUSES], enum cause *cause);
/* Adds a copy of |f|. When the list is full a finding that blocks takes the place of a note, and
 * what is left over is dropped. */
void scan_result_find(struct scan_result *r, const struct finding *f);

#endif
