/* SPDX-License-Identifier: Apache-2.0 */
/* adapt_settings.h - the configuration of inspection: engines, workers, budgets. */
#ifndef ADAPT_SETTINGS_H
#define ADAPT_SETTINGS_H

#include "adapt/clamd.h"
#include "adapt/rules.h"
#include "adapt/type_policy.h"
#include "adapt/url_lists.h"
#include "adapt/verdict.h"
#include "adapt/worker_wire.h"
#include "config/config.h"

struct yara_settings {
    struct config_strings rules; /* rule files; empty: the installed set */
};

struct worker_settings {
    unsigned count;    /* workers of each loop */
    uint64_t memory;   /* address space of one worker, bytes */
    unsigned reuse;    /* files that one worker inspects before it is replaced */
    unsigned queue;    /* files waiting for a worker, each loop; above: overload */
    uint64_t grace_ms; /* a worker that is that late after its deadline is killed */
};

struct clamav_settings {
    struct config_address address;   /* where clamd listens */
    bool plaintext_outside_loopback; /* that it is on another machine is meant */
    enum clamd_transport transport;
    unsigned connections; /* of each loop */
    unsigned queue;       /* files that wait for a connection, each loop */
    uint64_t max_scan;    /* larger: not inspected */
    bool trust_silent;    /* believe a daemon that calls clean what is over its limits */
    uint64_t check_ms;    /* between two looks at the daemon */
    uint64_t self_test_ms;
};

struct filetype_settings {
    struct config_strings magic; /* compiled or source magic files; empty: the system's */
};

struct url_settings {
    struct url_list_settings *lists;
    size_t n_lists;
};

struct unpack_settings {
    uint64_t size_max;
    unsigned ratio_max, codings_max, parts_max;
};

struct cache_settings {
    uint64_t size; /* bytes of all kept verdicts; 0: none is kept */
    uint64_t ttl_ms;
};

struct engines_settings {
    struct yara_settings yara;
    struct filetype_settings filetype;
    struct clamav_settings *clamav; /* NULL: none */
    struct url_settings url;
    struct unpack_settings unpack;
    struct cache_settings cache;
    struct worker_settings workers;
};
extern const struct config_block engines_block;

extern const struct config_names cause_names; /* without CAUSE_NONE */
extern const struct config_names action_names;

#endif
