/* SPDX-License-Identifier: Apache-2.0 */
/* inspection.h - one body through the pipeline of its service: verdict cache, jailed worker
 * (unpack, yara, filetype, printing), clamd; their answers joined into one result. One inspector
 * per loop.
 *
 * Threads: belongs to its loop's thread. */
#ifndef ADAPT_INSPECTION_H
#define ADAPT_INSPECTION_H

#include "adapt/adapt_settings.h"
#include "adapt/clamd.h"
#include "adapt/verdict_cache.h"
#include "adapt/workers.h"

struct inspector;

struct inspector_environment {
    struct loop *loop;
    struct workers *workers;
    struct clamd *clamd;         /* NULL: none is configured */
    struct verdict_cache *cache; /* NULL: none */
    struct budget *memory; /* what is unpacked and waits for clamd counts here; NULL: nowhere */
};
NODISCARD enum err inspector_new(const struct inspector_environment *env, struct inspector **ret);
/* Every open inspection must have ended or been cancelled. NULL is fine. */
void inspector_free(struct inspector *i);
/* A reload: |clamd| may be another one or NULL. */
void inspector_set_clamd(struct inspector *i, struct clamd *clamd);

struct inspection_result {
    struct scan_result scan;
    struct record_upstream *upstream; /* clamd's, borrowed for the call; NULL: it was not asked */
    struct object_table *objects;     /* NULL: one object, the body itself; borrowed for the call */
    bool cached;                      /* from the cache, or from a scan that somebody else did */
    bool out_of_steps;                /* its types were not all judged */
    uint64_t worker_us, clamd_us;     /* 0: not asked */
};
typedef void (*inspection_fn)(void *arg, const struct inspection_result *result);

struct inspection_request {
    int fd; /* read-only, the whole body; taken over, whatever the call answers. -1: see need_file
             */
    /* With fd -1: called once if an engine has to look, so if the cache does not know the answer;
     * perhaps inside inspection_start(). inspection_file() follows, not inside this call. */
    void (*need_file)(void *arg);
    uint64_t len;
    unsigned pipeline;                /* bits 1 << PIPELINE_*; PIPELINE_URL is not asked here */
    struct span sha256;               /* hex; empty: the cache is not used */
    struct span scope;                /* what else the verdict depends on: the service's ISTag */
    struct span name, type, encoding; /* declared: file name, Content-Type, Content-Encoding */
    unsigned tricks;                  /* FILE_NAME_* that the name had before it was made plain */
    /* The texts are copied, the settings are not. */
    const struct unpack_settings *unpack;
    const struct type_policy_settings *types;
    uint64_t steps_max;   /* for the types of all its parts (steps.h) */
    uint64_t client;      /* address_hash(): files of several are inspected in turn */
    uint64_t deadline_ms; /* loop time: no later than that |done| is called */
    inspection_fn done;   /* once, never inside the call; not after a cancel */
    void *arg;
};

struct inspection;
/* ERR_BUSY when a queue is full, ERR_NOMEM. */
NODISCARD enum err inspection_start(struct inspector *i, const struct inspection_request *r,
                                    struct inspection **ret);
/* The file that was needed: read-only, the whole body; taken over. When there is none: cancel. */
void inspection_file(struct inspection *s, int fd);
/* Nobody wants the answer any more; what waited for the same file goes on. */
void inspection_cancel(struct inspection *s);

#endif
