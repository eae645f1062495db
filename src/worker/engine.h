/* SPDX-License-Identifier: Apache-2.0 */
/* engine.h - an inspection engine as the worker sees it: a name, a bit of the JOB's mask, and a
 * function that looks at a file in memory. The zygote makes engines before it forks; each worker
 * has its own copy of what they keep from one object to the next. */
#ifndef WORKER_ENGINE_H
#define WORKER_ENGINE_H

#include "adapt/objects.h"
#include "adapt/worker_wire.h"

/* The object to look at: a body whose Content-Encodings are undone, or a leaf of a multipart. |p|
 * may be a mapping that faults when somebody cuts the file off: that costs the worker, and nothing
 * else. |n| is never 0. */
struct engine_file {
    const uint8_t *p;
    size_t n;
    const char *name; /* as declared, or ""; of a field of a form, the field's name */
    const char *type; /* as declared, in small letters and without parameters, or "" */
    enum object_role role;
    const char *where; /* "part 3 \"field\" file \"x.exe\"", printable; "" for a body */
    /* OBJECT_TYPE_MAX + 1 bytes: a filetype engine writes the media type there, but not of a FIELD
     */
    char *sniffed;
    uint32_t time_ms;
};

struct engine {
    const char *name;
    enum wire_engine bit;
    void *ctx; /* the engine's own, loaded */
    /* Adds findings and judges through engine_judge; leaves |r| as it is for a clean file. Called
     * for each object of a file with the same |r|. A finding's |where| is a place inside the object
     * ("offset 12"): the caller puts |where| of the object in front of it. */
    void (*scan)(void *ctx, const struct engine_file *file, struct scan_result *r);
};

#define ENGINES_MAX 4

struct engines {
    struct engine list[ENGINES_MAX];
    unsigned n;
    char text[WIRE_TEXT_MAX]; /* "yara 4.2.3 rules 0123456789abcdef": names, versions, digests */
};

/* The gateway judges in the same way (adapt/verdict.h). */
#define engine_judge scan_result_judge
#define engine_find  scan_result_find

#endif
