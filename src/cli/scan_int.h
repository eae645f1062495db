/* SPDX-License-Identifier: Apache-2.0 */
/* scan_int.h - `sallyport scan`: command_scan.c walks paths and prints, a scanner inspects one file
 * at a time: at a server (scan_remote.c), or in a worker of its own (scan_local.c). */
#ifndef CLI_SCAN_INT_H
#define CLI_SCAN_INT_H

#include "base/buf.h"
#include "net/loop.h"

enum scan_verdict { SCAN_PASS, SCAN_CHANGED, SCAN_BLOCKED, SCAN_NOT_INSPECTED, SCAN_ERROR };

struct scan_outcome {
    enum scan_verdict verdict;
    enum err err;     /* with SCAN_ERROR: which exit code it means */
    char reason[512]; /* what was found, or what went wrong */
    char id[64];      /* of the transaction, for the server's records */
    unsigned status, http_status;
    uint64_t us;
};

struct scanner {
    /* One file; |fd| stays the caller's. Runs |loop| until it is done. */
    void (*file)(struct scanner *s, struct span name, int fd, uint64_t len,
                 struct scan_outcome *ret);
    void (*close)(struct scanner *s);
    char how[256]; /* HOW the last connection was protected; "" without one */
    char who[256]; /* WHO was there: the authenticated server; "" if nobody is known */
};

struct scan_remote_options {
    const char *url;
    const char *ca; /* PEM file, or NULL: the system's */
    bool insecure;  /* takes any certificate */
    bool reqmod;
};
/* NULL: a message was printed, and *ret_code is the exit code. */
struct scanner *scan_remote_open(const struct scan_remote_options *o, int *ret_code);

struct scan_local_options {
    const char *worker; /* program, or NULL: as `serve` finds it */
    const char *const *rules;
    unsigned n_rules; /* 0: the rules that come with Sallyport */
};
struct scanner *scan_local_open(const struct scan_local_options *o, int *ret_code);

#endif
