/* SPDX-License-Identifier: Apache-2.0 */
/* icap_settings.h - the configuration of ICAP: limits of the protocol, and the services. */
#ifndef ICAP_SETTINGS_H
#define ICAP_SETTINGS_H

#include "adapt/adapt_settings.h"
#include "icap/icap_engine.h"

enum icap_service_type { ICAP_SERVICE_ECHO, ICAP_SERVICE_INSPECT };
/* How an echo hands a body back where the client leaves a choice. NO_CHANGE: 204. PARTIAL: 206, and
 * the original from byte 0 on (ICAP Partial Content 5). WHOLE: 200 with all of it, after 100
 * Continue where there is a preview. */
enum icap_echo_answer { ICAP_ECHO_NO_CHANGE, ICAP_ECHO_PARTIAL, ICAP_ECHO_WHOLE };
/* Requests for a part of a file (Range) and answers with one (206). STRIP: take the Range off the
 * request, so that the whole file comes; an answer with a part is not inspected. PASS: let it go,
 * with a record that says so. */
enum icap_ranges { ICAP_RANGES_STRIP, ICAP_RANGES_BLOCK, ICAP_RANGES_PASS };

/* What a client sees while a scan is slow. WAIT: nothing. TRICKLE: the original's head and now and
 * then a byte of it: no block page is possible any more, a blocked file is cut off. PROGRESS: a
 * browser gets a page that shows how far the scan is, and the file when it is done; others wait. */
enum icap_slow_mode { ICAP_SLOW_WAIT, ICAP_SLOW_TRICKLE, ICAP_SLOW_PROGRESS };

struct icap_slow_settings {
    enum icap_slow_mode mode;
    uint64_t after_ms;  /* since the body is complete (trickle: since the request's head) */
    uint64_t every_ms;  /* between two pieces; the page's refresh */
    uint64_t bytes;     /* of each piece */
    uint64_t hold_max;  /* bytes at the end that are never sent before the verdict */
    const char *host;   /* PROGRESS: host name under which results are fetched */
    uint64_t keep_ms;   /* PROGRESS: how long a finished file waits to be fetched */
    unsigned files_max; /* PROGRESS: files that wait or are scanned, at most */
};

struct icap_service_settings {
    const char *name;
    enum icap_service_type type;
    enum icap_echo_answer answer; /* of an echo */
    const char *path;
    struct config_strings aliases;
    struct config_strings tenants; /* empty: everybody's */
    unsigned methods;              /* bit 1 << enum icap_method */
    uint64_t preview;              /* bytes asked for in OPTIONS; 0: none advertised */
    unsigned pipeline;             /* bit 1 << enum pipeline_engine */
    uint64_t body_max;             /* bytes of one body; above: too-large */
    uint64_t memory_max;  /* bytes of one body kept in memory before it goes to the spool */
    uint64_t deadline_ms; /* one scan, waiting for a worker included */
    uint64_t options_ttl_s;
    unsigned connections_max; /* Max-Connections in OPTIONS; 0: not sent */
    uint8_t on[CAUSES];       /* enum action at each enum cause */
    struct type_policy_settings types;
    enum icap_ranges ranges;
    struct icap_slow_settings slow;
    struct rule_settings *rules;
    size_t n_rules;
    bool via;            /* add Via to heads that we modify or make */
    const char *contact; /* whom users shall ask; shown on the block page */
    const char
        *revision; /* goes into the ISTag: change it when clients shall forget cached answers */
};
extern const struct config_block icap_service_block;
extern const struct config_block icap_limits_block; /* struct icap_limits */

#endif
