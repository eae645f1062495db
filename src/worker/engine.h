/* SPDX-License-Identifier: Apache-2.0 */
/* engine.h - an inspection engine as the worker sees it: a name, a bit of the JOB's mask, and a
 * function that looks at a file in memory. The zygote makes engines before it forks; workers only
 * read them. */
#ifndef WORKER_ENGINE_H
#define WORKER_ENGINE_H

#include "adapt/worker_wire.h"

/* The file to look at. |p| may be a mapping that faults when somebody cuts the file off: that costs
 * the worker, and nothing else. */
struct engine_file {
    const uint8_t *p;
    size_t n;
    const char *name; /* as declared, or "" */
    const char *type;
    uint32_t time_ms;
};

struct engine {
    const char *name;
    enum wire_engine bit;
    void *ctx; /* the engine's own, loaded */
    /* Adds findings and judges through engine_judge; leaves |r| as it is for a clean file. */
    void (*scan)(void *ctx, const struct engine_file *file, struct scan_result *r);
};

#define ENGINES_MAX 4

struct engines {
    struct engine list[ENGINES_MAX];
    unsigned n;
    char text[WIRE_TEXT_MAX]; /* "yara 4.2.3 rules 0123456789abcdef": names, versions, digests */
};

/* Sets verdict, cause, error and |why| unless |r| has a graver verdict already: BLOCK before ERROR
 * before NOT_INSPECTED before CHANGED before PASS. */
PRINTF(5, 6)
void engine_judge(struct scan_result *r, enum verdict verdict, enum cause cause, enum err err,
                  const char *why, ...);
/* Adds a copy of |f|. When the list is full a finding that blocks takes the place of a note, and
 * what is left over is dropped. */
void engine_find(struct scan_result *r, const struct finding *f);

#endif
