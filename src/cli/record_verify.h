/* SPDX-License-Identifier: Apache-2.0 */
/* record_verify.h - are the records still those that were written? Files of records, the oldest
 * first, are walked along the chain of their seals (observe/record_chain.h). Everything in them may
 * be an attacker's: memory is bounded, and so are the steps to a number that a line claims.
 *
 * What a seal covers is read twice, so a file must be one that can be read at a place. Two
 * processes may have written while the files were rotated, so the next file is looked into, too,
 * where a number is not the next one. */
#ifndef CLI_RECORD_VERIFY_H
#define CLI_RECORD_VERIFY_H

#include "base/buf.h"
#include "observe/record_chain.h"

/* A fault is a change that nobody but the gateway may have made; a note is worth knowing. */
enum verify_kind { VERIFY_NOTE, VERIFY_FAULT };

struct record_verify_settings {
    const uint8_t *key;               /* key 0; outlives the walk, as |state| does */
    const struct record_chain *state; /* where the gateway is by now; NULL: not known */
    /* To numbers that are claimed, all together; what is further is not checked. */
    uint64_t steps_max;
    /* A sentence; |name| of the file and |line| that it is about, NULL and 0 for none. */
    void (*say)(void *arg, enum verify_kind kind, const char *name, uint64_t line,
                const char *text);
    void *arg;
};

/* Of one file, or of all. */
struct record_verify_counts {
    uint64_t records, seals, good, repeated, faults;
    uint64_t first, last;     /* numbers of its seals, when there are any */
    char from[25], until[25]; /* times of its first and last record; "" without one */
};

struct record_verify_file {
    const char *name;
    int fd;
    uint64_t size; /* so much of it is looked at */
};

struct record_verify;

/* |files| outlive it. ERR_NOMEM. */
NODISCARD enum err record_verify_new(const struct record_verify_settings *s,
                                     const struct record_verify_file *files, size_t n_files,
                                     struct record_verify **ret);
/* NULL is fine. */
void record_verify_free(struct record_verify *v);
/* Goes on to the end of the next file, |*ret|, in their order. ERR_EOF: there are no more. ERR_IO:
 * *ret cannot be read, and *ret_errnum says why; ERR_NOMEM: *ret may be NULL. */
NODISCARD enum err record_verify_next(struct record_verify *v,
                                      const struct record_verify_file **ret,
                                      struct record_verify_counts *ret_counts, int *ret_errnum);
/* After ERR_EOF: is the end there? ERR_NOMEM. */
NODISCARD enum err record_verify_end(struct record_verify *v, struct record_verify_counts *ret);

#endif
