/* SPDX-License-Identifier: Apache-2.0 */
/* print_scan_int.h - between print_scan.c and the readers of the three languages. */
#ifndef WORKER_PRINT_SCAN_INT_H
#define WORKER_PRINT_SCAN_INT_H

#include "worker/print_scan.h"

enum print_language { PRINT_LANGUAGE_NONE, PRINT_LANGUAGE_PS, PRINT_LANGUAGE_PDF };

struct print_scan {
    const char *body; /* offsets count from here */
    struct print_report *report;
    struct span entered; /* the language that PJL entered last, as it is written; empty: none */
    enum print_language personality; /* that PJL set, of those that are read */
};

/* What is left of a segment behind its PJL. */
struct print_rest {
    struct span payload;
    struct span also; /* from the first text behind a lone CR in PJL on; p NULL: there is none */
    enum print_language language; /* of both, as far as PJL says */
};

/* |at|: where in the body. The first counts. */
void print_found(struct print_scan *s, enum print_find f, const char *at);

/* Counts without turning over. */
uint32_t print_add(uint32_t a, uint32_t b);

/* Blanks, tabs and what no printer shows; an ESC begins something else. */
static inline bool print_is_blank(char c)
{
    return (unsigned char)c <= ' ' && c != '\x1b';
}

/* PJL at the front of |segment|, which stands behind a UEL or begins the body. */
void print_pjl(struct print_scan *s, struct span segment, struct print_rest *ret);

/* Both return the pages, 0: not known. */
uint32_t print_postscript(struct print_scan *s, struct span text);
uint32_t print_pdf(struct print_scan *s, struct span text);

#endif
