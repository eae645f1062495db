/* SPDX-License-Identifier: Apache-2.0 */
/* ipp_snapshot.h - the printers of one configuration, compiled: routes, demands, rules, counters.
 * Immutable, shared by all loops, counted with atomics; a reload makes a new one, and requests keep
 * the one they began with. */
#ifndef IPP_SNAPSHOT_H
#define IPP_SNAPSHOT_H

#include "ipp/ipp_backend.h"
#include "ipp/ipp_jobs.h"
#include "ipp/ipp_names.h"
#include "ipp/ipp_settings.h"
#include "observe/metrics.h"
#include "protect/policy.h"
#include "protect/tls_context.h"
#include "tenant/tenants.h"

#define IPP_SCOPE_LEN 24u /* hex digits */
#define IPP_UUID_LEN  45u /* urn:uuid:... */

struct ipp_printer {
    const struct ipp_printer_settings *set;
    struct ipp_uri backend;   /* of set->backend */
    struct span backend_host; /* as in the URI */
    char backend_uri[IPP_URI_MAX + 1];
    struct tls_context *backend_tls; /* NULL: clear text */
    struct tls_context *icap_tls;    /* the same */
    struct ipp_backend_known *known;
    struct ipp_demand demand;
    struct rules *rules;
    unsigned engines;              /* bits 1 << PIPELINE_*: all that may run */
    char scope[IPP_SCOPE_LEN + 1]; /* what verdicts depend on */
    char uuid[IPP_UUID_LEN + 1];   /* the same after each start, and on each node */
    /* Of the device: host, port and path, however it is reached. What is known of another one's
     * jobs is nothing about this one's. */
    char device[IPP_JOB_BACKEND_LEN + 1];
    struct {
        metric_id requests, jobs, refused, errors, documents, bytes;
        metric_id actions[ACTIONS];
        metric_id causes[CAUSES];
        metric_id scan_time, total_time;
    } metrics;
};

struct ipp_snapshot {
    _Atomic unsigned refs;
    const struct ipp_settings *set;
    struct ipp_printer *printers;
    size_t n_printers;
    const struct unpack_settings *unpack;
    uint64_t decision_steps;
    struct tenants *tenants; /* NULL: there are none */
    uint64_t serial;         /* no other snapshot of this process has it */
    struct protect_system system;
    unsigned port, secure_port;
    bool upgrades;  /* |port| takes TLS by Upgrade */
    char host[256]; /* of this machine */
    void (*release)(void *owner);
    void *owner;
};

struct ipp_snapshot_source {
    const struct ipp_settings *set;
    const struct ipp_snapshot *before; /* what is known of its printers goes on; NULL: nothing is */
    const struct ipp_printer_settings *printers;
    struct tls_context *const *backend_tls; /* one per printer; NULL: clear text */
    struct tls_context *const *icap_tls;    /* the same */
    size_t n_printers;
    unsigned port, secure_port;          /* of the listeners; 0: none */
    bool upgrades;                       /* that of |port| takes TLS by Upgrade */
    const char *worker_engines, *clamav; /* versions */
    const struct url_lists *urls;
    const struct unpack_settings *unpack;
    uint64_t decision_steps;
    struct tenants *tenants;      /* takes a reference; NULL: none */
    struct protect_system system; /* policy of the machine, for connections to printers */
    struct metrics *metrics;
    void (*release)(void *owner);
    void *owner;
};
/* On failure |release| is not called, and |why| says what is wrong. Settings are borrowed until
 * |release|. */
NODISCARD enum err ipp_snapshot_new(const struct ipp_snapshot_source *src,
                                    struct ipp_snapshot **ret, struct buf *why);
struct ipp_snapshot *ipp_snapshot_ref(struct ipp_snapshot *s);
void ipp_snapshot_unref(struct ipp_snapshot *s); /* NULL is fine */

/* By path or alias, both as written. NULL: none. */
const struct ipp_printer *ipp_snapshot_find(const struct ipp_snapshot *s, struct span path);
/* NULL: none of that name. */
const struct ipp_printer *ipp_snapshot_named(const struct ipp_snapshot *s, struct span name);
/* Is |host| one of the names of the gateway, or localhost? Without case. */
bool ipp_snapshot_is_host(const struct ipp_snapshot *s, struct span host);
/* Is |user| of |tenant| (NULL: of none) one of |list|, entries of `allow`? */
bool ipp_snapshot_lists(const struct ipp_snapshot *s, const struct config_strings *list,
                        struct span user, const struct tenant *tenant);

#endif
