/* SPDX-License-Identifier: Apache-2.0 */
/* unpack.h - what a message body consists of: the body itself once its Content-Encodings are
 * undone, and the leaves of a multipart. Judges what it cannot take apart. */
#ifndef WORKER_UNPACK_H
#define WORKER_UNPACK_H

#include "adapt/objects.h"
#include "adapt/worker_wire.h"
#include "base/clock.h"
#include "worker/multipart.h"
#include "worker/pages.h"

/* One thing to look at. */
struct unpacked {
    const uint8_t *p;
    struct object facts;           /* without |sniffed| */
    char where[FINDING_WHERE_MAX]; /* "part 3 \"field\" file \"x.exe\"", or "" for the body */
};

struct unpack {
    const struct wire_message *job;
    struct span body;   /* decoded, or as it came; what came out of a broken one */
    struct pages pages; /* what |body| points into when something was decoded */
    bool decoded;       /* a coding was undone, and all is well with it */
    bool split;         /* it is a multipart */
    char type[OBJECT_TYPE_MAX + 1];
    struct multipart parts;
};

/* |original|: the job's file. Decodes at once. */
void unpack_open(struct unpack *u, const struct wire_message *job, struct span original,
                 const struct clock *clock, uint64_t end_us, struct scan_result *r);
void unpack_body(const struct unpack *u, struct unpacked *ret);
/* The next leaf of a multipart; false at the end, also of one that is no multipart. *ret is good
 * until the next call. */
NODISCARD bool unpack_next(struct unpack *u, struct unpacked *ret, struct scan_result *r);
/* Frees what |body| points into. */
void unpack_close(struct unpack *u);

#endif
