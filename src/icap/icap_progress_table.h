/* SPDX-License-Identifier: Apache-2.0 */
/* icap_progress_table.h - the entries of icap_progress.h: a secret token for each file that is
 * scanned or waits to be fetched. The loop that scans owns the entry; requests on other loops hold
 * references while they read it.
 *
 * Threads: any. What an entry says changes once, from SCANNING to its end; whoever has been told
 * the state by progress_find() may read what belongs to it without a lock. */
#ifndef ICAP_PROGRESS_TABLE_H
#define ICAP_PROGRESS_TABLE_H

#include "adapt/verdict.h"
#include "base/map.h"
#include "icap/icap_progress.h"

enum progress_state {
    PROGRESS_SCANNING,
    PROGRESS_READY,
    PROGRESS_BLOCKED,
    PROGRESS_FAILED,
    PROGRESS_EXPIRED, /* nobody came for it in time */
    PROGRESS_UNKNOWN, /* no such token, or somebody else's */
};
#define PROGRESS_STATES (PROGRESS_UNKNOWN + 1)

#define PROGRESS_TOKEN_LEN 26 /* 128 random bits in base 32 */

/* What is known from the beginning. */
struct progress_about {
    const char *service; /* whose files are counted together */
    unsigned files_max;
    struct span client;      /* address of the user, and tenant: nobody else gets the file */
    struct span host;        /* under which it is fetched */
    struct span id, follows; /* of the scan's record, and of the first one */
    struct span name, site;  /* as the user knows the file */
    struct span contact;
    struct span head; /* of the HTTP response with the file */
    uint64_t len;
    uint64_t since_ms, deadline_ms; /* loop time; how long the scan may take */
    uint64_t every_ms;              /* the page's refresh */
};

struct progress_entry {
    UT_hash_handle hh;
    struct icap_progress *table;
    struct progress_share *share;
    unsigned refs;             /* under the lock */
    enum progress_state state; /* under the lock */
    char token[PROGRESS_TOKEN_LEN + 1];
    struct progress_about about; /* its texts follow the struct; service is NULL */
    int file;                    /* READY; else -1 */
    /* BLOCKED */
    struct span page;
    enum cause cause;
    char threat[FINDING_NAME_MAX];
    char texts[];
};

/* For the owner, who has one reference. ERR_BUSY: files_max are there; ERR_NOMEM; ERR_IO. */
NODISCARD enum err progress_add(struct icap_progress *p, const struct progress_about *about,
                                struct progress_entry **ret);
/* The end of the scan; one of these, once. Takes |file| over. */
void progress_ready(struct progress_entry *e, int file);
/* |page|: from malloc(), taken over. */
void progress_block(struct progress_entry *e, enum cause cause, struct span threat,
                    struct span page);
void progress_fail(struct progress_entry *e);
/* Does anybody read it just now? */
bool progress_is_used(struct progress_entry *e);
/* The owner gives it up. |as|: FAILED or EXPIRED, which is what the token tells from now on, for a
 * while; UNKNOWN: it never was. */
void progress_drop(struct progress_entry *e, enum progress_state as);

/* A reference to what |client| has under |token|, and its state; NULL: FAILED, EXPIRED or UNKNOWN.
 */
struct progress_entry *progress_find(struct icap_progress *p, struct span token, struct span client,
                                     enum progress_state *ret);
void progress_unref(struct progress_entry *e);
/* A page, or a file, was shown. On loop |loop|. */
void progress_count(struct icap_progress *p, unsigned loop, enum progress_state state);

#endif
