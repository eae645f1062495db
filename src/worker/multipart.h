/* SPDX-License-Identifier: Apache-2.0 */
/* multipart.h - splits a complete multipart body (RFC 2046 5.1, RFC 7578) into its leaves. Pure.
 *
 * Strict: browsers and libraries write one form, and whatever else comes is where recipients differ
 * from each other (lines that end in LF only, text around the parts, boundaries in the middle of a
 * line, two fields of a name, transfer encodings). So each of these is an error, and a part is
 * never left out silently. */
#ifndef WORKER_MULTIPART_H
#define WORKER_MULTIPART_H

#include "worker/part_head.h"

/* multipart/mixed in a part of a form (RFC 2388 4.2, for old clients), and in there again. */
#define MULTIPART_NESTED_MAX 4u

struct multipart_level {
    size_t start, end; /* the level's bytes in the body */
    size_t at;         /* where the next part begins */
    size_t delimiter_n;
    bool closed; /* its closing delimiter was seen: no more parts */
    char delimiter[2 + BOUNDARY_MAX + 1];
};

struct multipart_leaf {
    size_t off, len;
    uint32_t part;                /* from 1, in the order of heads, all levels together */
    const struct part_head *head; /* until the next call */
};

struct multipart {
    struct span body;
    uint32_t parts, parts_max;
    unsigned depth;
    struct multipart_level levels[1 + MULTIPART_NESTED_MAX];
    struct part_head head; /* of the part that is looked at */
    /* After an error: what is wrong with part |parts| (0: with the whole). */
    struct fault fault;
};

/* True when |content_type| is multipart/ something. */
bool multipart_is(struct span content_type);
/* ERR_SYNTAX as multipart_next. */
NODISCARD enum err multipart_init(struct multipart *m, struct span body, struct span content_type,
                                  uint32_t parts_max);
/* The next leaf. ERR_EOF: that was all, and all was well. ERR_SYNTAX with m->fault otherwise, whose
 * |why| goes on after "part 3": "has two names". */
NODISCARD enum err multipart_next(struct multipart *m, struct multipart_leaf *ret);

#endif
