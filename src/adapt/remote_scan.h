/* SPDX-License-Identifier: Apache-2.0 */
/* remote_scan.h - a scanner on another machine, as those see it who have files scanned: which
 * protocol it speaks is known to whoever provides it, and not here.
 *
 * Threads: a scanner belongs to one loop. */
#ifndef ADAPT_REMOTE_SCAN_H
#define ADAPT_REMOTE_SCAN_H

#include "adapt/verdict.h"
#include "config/config.h"
#include "protect/policy_file.h"
#include "protect/tls_context.h"

struct remote_scan;
struct record_upstreams;

struct remote_scan_request {
    const char *url;             /* of the service; outlives the scan */
    struct tls_context *tls;     /* NULL: clear text; it takes a reference */
    sallyport_level require;     /* of the connection, at least */
    struct config_strings peers; /* who the service may be; empty: whoever |tls| trusts. Copied */
    /* Of the machine, which the connection must meet as well; NULL: none. It takes a reference. */
    const struct policy_file *policy;
    int fd; /* read-only, the whole file; taken over, whatever the call answers */
    uint64_t len;
    struct span name;     /* of the file; copied */
    uint64_t deadline_ms; /* loop time: no later than that |done| is called */
    /* Gets the connection that the file went over, or that was refused; NULL: nobody asks. Lives
     * until |done|, or cancel(). */
    struct record_upstreams *upstreams;
    /* Once, never inside the call, not after cancel(). A service that hands back another file has
     * blocked this one: nobody takes the other one over. */
    void (*done)(void *arg, const struct scan_result *r);
    void *arg;
};

struct remote_scanner {
    /* ERR_BUSY: too many wait; ERR_NOMEM, ERR_CONFIG: not a URL. */
    enum err (*start)(void *scanner, const struct remote_scan_request *r, struct remote_scan **ret);
    void (*cancel)(struct remote_scan *s);
    void *scanner;
};

#endif
