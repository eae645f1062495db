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
};

/* |at|: where in the body. The first counts. */
void print_found(struct print_scan *s, enum print_find f, const char *at);

/* Counts without turning over. */
uint32_t print_add(uint32_t a, uint32_t b);

/* PJL at the front of |segment|, which stands behind a UEL or begins the body. Returns how many
 * bytes of it are PJL; *ret_language: what it enters. */
size_t print_pjl(struct print_scan *s, struct span segment, enum print_language *ret_language);

/* Both return the pages, 0: not known. */
uint32_t print_postscript(struct print_scan *s, struct span text);
uint32_t print_pdf(struct print_scan *s, struct span text);

#endif
