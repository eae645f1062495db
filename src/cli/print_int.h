/* SPDX-License-Identifier: Apache-2.0 */
/* print_int.h - the parts of `sallyport print`: command_print.c reads the command line, print_run.c
 * goes from the question what the printer can do to the job and, if wanted, to its end,
 * print_progress.c shows how far it is.
 *
 * Threads: one. */
#ifndef CLI_PRINT_INT_H
#define CLI_PRINT_INT_H

#include <stdio.h>

#include "cli/print_link.h"
#include "cli/scan_int.h"

#define PRINT_JOB_OPTIONS_MAX 64u

struct print_job_options {
    const char *file;  /* "-": standard input */
    const char *type;  /* NULL: as it looks */
    const char *title; /* NULL: the name of the file */
    bool create;       /* Create-Job and Send-Document, in place of Print-Job */
    bool wait;         /* for the end of the job */
    bool progress;     /* a line on a terminal */
    struct ipp_client_option options[PRINT_JOB_OPTIONS_MAX];
    unsigned n_options;
};
/* The exit code. */
int print_run(struct print_link *l, struct print_job_options *o);

struct print_progress {
    struct scan_progress line;
    struct print_link *link;
    uint64_t total, start_us;
    struct timer redraw;
};
/* Shows something only if stderr is a terminal and |on|. */
void print_progress_begin(struct print_progress *p, struct print_link *l, uint64_t total, bool on);
/* After a turn of the loop; |arg| is the struct. */
void print_progress_turn(void *arg);
void print_progress_end(struct print_progress *p);
/* One line that fits |columns|. */
void print_progress_text(uint64_t sent, uint64_t total, uint64_t us, unsigned columns,
                         struct buf *out);

#endif
