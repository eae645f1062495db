/* SPDX-License-Identifier: Apache-2.0 */
/* records_verify.h - `sallyport records verify`: which files, which key, and what they say. */
#ifndef CLI_RECORDS_VERIFY_H
#define CLI_RECORDS_VERIFY_H

#include "cli/ask.h"

struct records_verify {
    const struct ask *ask;
    const char *key;   /* file with key 0 */
    const char *chain; /* state of the chain; NULL: beside the records, if it is there */
    char **files;      /* the oldest first; none: the one of |ask| */
    size_t n_files;
};

/* EXIT_FINE, EXIT_REFUSED: something is wrong, EXIT_USAGE: it could not be checked. */
int records_verify(const struct records_verify *a);

#endif
