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
    /* What is to be found of what literals named that are not let go, that are, and strings lately:
     * a bit for each enum print_find. */
    uint64_t held, let_go, lately;
    bool taken; /* something took hold of what was not seen, perhaps to do so again later */
    bool doubt; /* nothing is let go: what does so may be redefined, or the literal be data */
    unsigned near_string;     /* for so many tokens |lately| holds */
    unsigned near_systemdict; /* for so many tokens it was named lately */
};

/* Each takes the next token. |name|: its first bytes, PS_HEAD_MAX at most. |at|: where it stands in
 * the body. */
void ps_names_name(struct ps_names *n, struct span name, const char *at);
/* True: it names what is to be found; say next whether it is let go. */
bool ps_names_literal(struct ps_names *n, struct span name, const char *at);
/* That literal. |let_go|: nothing takes hold of it but what comes next, as far as that is seen. */
void ps_names_keep(struct ps_names *n, bool let_go, const char *at);
/* |head|: its first bytes, PS_HEAD_MAX at most, decoded. |at|: where it begins. */
void ps_names_string(struct ps_names *n, struct span head, const char *at);
/* OTHER, SEEN. */
void ps_names_push(struct ps_names *n, enum ps_kind kind);

#endif
