/* SPDX-License-Identifier: Apache-2.0 */
/* print_ps_names.h - what the tokens of a PostScript text mean: which names reach for the device,
 * by themselves or by what stands before them. */
#ifndef WORKER_PRINT_PS_NAMES_H
#define WORKER_PRINT_PS_NAMES_H

#include "worker/print_scan_int.h"

#define PS_HEAD_MAX 20u /* bytes of a string that are looked at */

enum ps_kind {
    PS_OTHER,
    PS_NAME,     /* executable, of |row| */
    PS_LITERAL,  /* /name of |row|, or of none */
    PS_STANDARD, /* a string that names a stream of the job itself: %stdin, %stdout, ... */
    PS_STRING,   /* any other string whose beginning is seen */
    PS_SEEN,     /* the end of a procedure, or a string with nothing in it to hide */
};

struct ps_token {
    enum ps_kind kind;
    const struct ps_row *row; /* of the name, also of one in a string; NULL: it means nothing */
};

struct ps_names {
    struct print_scan *scan;
    struct ps_token last, before; /* the two that came last */
    const struct ps_row *named;   /* the last to be found that a literal or a string named */
    unsigned near_named;          /* for so many tokens that was lately */
    unsigned near_systemdict;     /* for so many tokens it was named lately */
};

/* Each takes the next token. Names are where they stand in the body. */
void ps_names_name(struct ps_names *n, struct span name);
void ps_names_literal(struct ps_names *n, struct span name);
/* |head|: its first bytes, PS_HEAD_MAX at most, decoded. |at|: where it begins. */
void ps_names_string(struct ps_names *n, struct span head, const char *at);
/* OTHER, SEEN. */
void ps_names_push(struct ps_names *n, enum ps_kind kind);

#endif
