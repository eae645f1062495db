/* SPDX-License-Identifier: Apache-2.0 */
/* record_verify.h - are the records still those that were written? Files of records, the oldest
 * first, are walked along the chain of their seals (observe/record_chain.h). Everything in them may
 * be an attacker's: memory is bounded, and so are the steps to a number that a line claims.
 *
 * What a seal covers is read twice, so a file must be one that can be read at a place. */
#ifndef CLI_RECORD_VERIFY_H
#define CLI_RECORD_VERIFY_H

#include "base/buf.h"
#include "observe/record_chain.h"

/* A fault is a change that nobody but the gateway may have made; a note is worth knowing. */
enum verify_kind { VERIFY_NOTE, VERIFY_FAULT };

struct record_verify_settings {
    const uint8_t *key;               /* key 0 */
    const struct record_chain *state; /* where the gateway is by now; NULL: not known */
    uint64_t steps_max;               /* to numbers that are claimed, all together */
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

struct record_verify;

/* ERR_NOMEM. */
NODISCARD enum err record_verify_new(const struct record_verify_settings *s,
                                     struct record_verify **ret);
/* NULL is fine. */
void record_verify_free(struct record_verify *v);
/* The next file, up to |size| octets of it; |name| outlives |v|. ERR_IO: *ret_errnum says why it
 * cannot be read; ERR_NOMEM. */
NODISCARD enum err record_verify_file(struct record_verify *v, int fd, uint64_t size,
                                      const char *name, struct record_verify_counts *ret,
                                      int *ret_errnum);
/* There are no more files: is the end there? */
void record_verify_end(struct record_verify *v, struct record_verify_counts *ret);

#endif
