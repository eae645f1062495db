/* SPDX-License-Identifier: Apache-2.0 */
/* demo.h - a whole installation in one directory, made on the spot: a configuration with comments,
 * a certification authority of its own, a certificate for this machine's loopback. To try Sallyport
 * out, and for tests; nobody should trust the CA beyond that. */
#ifndef PROC_DEMO_H
#define PROC_DEMO_H

#include <stdbool.h>

#include "base/buf.h"

/* Zeroed is nothing. */
struct demo {
    char *state;
    char *config_path; /* STATE/demo.yaml, written anew each time */
    char *ca_path;     /* STATE/tls/ca.pem: what clients must trust */
    bool temporary;    /* demo_done() removes the directory */
};

/* |state|: directory, made when it is not there; NULL: a temporary one. |port|: of the clear ICAP
 * listener, icaps and admin get the next two; 0: any free ones; -1: 1344, 11344 and 9344. CA and
 * certificate are kept while they are good for another week. */
NODISCARD enum err demo_prepare(const char *state, int port, struct demo *ret, struct buf *why);
void demo_done(struct demo *d);

#endif
