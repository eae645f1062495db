/* SPDX-License-Identifier: Apache-2.0 */
/* icap_snapshot.h - the services of one configuration, compiled: routes, ISTags, counters.
 * Immutable, shared by all loops, counted with atomics; a reload or a change of rules makes a new
 * one, and transactions keep the one they began with. */
#ifndef ICAP_SNAPSHOT_H
#define ICAP_SNAPSHOT_H

#include "adapt/exceptions.h"
#include "icap/icap_settings.h"
#include "observe/metrics.h"
#include "tenant/tenants.h"

#define ICAP_ISTAG_LEN 24

struct icap_service {
    const struct icap_service_settings *set;
    struct rules *rules;
    unsigned engines; /* bits 1 << PIPELINE_*: all that it, or one of its rules, may run */
    char istag[ICAP_ISTAG_LEN + 1];
    char scope[ICAP_ISTAG_LEN + 1]; /* the same without exceptions: what verdicts depend on */
    struct {
        metric_id requests[ICAP_METHODS];
        metric_id actions[ACTIONS];
        metric_id causes[CAUSES];
        metric_id bytes_in, bytes_out;
        metric_id total_time, scan_time;
        metric_id rules, exceptions, bypassed, cached, out_of_steps;
    } metrics;
};

struct icap_snapshot {
    _Atomic unsigned refs;
    const struct icap_limits *limits;
    struct icap_service *services;
    size_t n_services;
    const struct url_lists *urls; /* the owner's */
    const struct unpack_settings *unpack;
    uint64_t decision_steps; /* steps.h: for the types of a body, and again for rules */
    struct exceptions *exceptions;
    struct tenants *tenants; /* NULL: there are none */
    uint64_t serial;         /* no other snapshot of this process has it */
    char host[256];          /* for Via */
    char server[64];         /* Server: */
    void (*release)(
        void *owner); /* called when the last reference goes: the settings may go, too */
    void *owner;
};

struct icap_snapshot_source {
    const struct icap_service_settings *services;
    size_t n_services;
    const struct icap_limits *limits;
    /* Versions: part of the ISTag of services that run them. */
    const char *worker_engines, *clamav;
    const struct url_lists *urls; /* lives until |release| */
    const struct unpack_settings *unpack;
    uint64_t decision_steps;
    struct exceptions *exceptions; /* takes a reference */
    struct tenants *tenants;       /* the same; NULL: none */
    struct metrics *metrics;
    void (*release)(void *owner);
    void *owner;
};
/* On failure |release| is not called, and |why| says what is wrong. The spans and settings are
 * borrowed until |release|. */
NODISCARD enum err icap_snapshot_new(const struct icap_snapshot_source *src,
                                     struct icap_snapshot **ret, struct buf *why);
struct icap_snapshot *icap_snapshot_ref(struct icap_snapshot *s);
void icap_snapshot_unref(struct icap_snapshot *s);
/* By path or alias, for |tenant| (NULL: nobody's): its own before one that is everybody's. NULL:
 * none. */
const struct icap_service *icap_snapshot_find(const struct icap_snapshot *s, struct span path,
                                              const struct tenant *tenant);
/* Some service of that path, whosever: for what all of them say alike. */
const struct icap_service *icap_snapshot_find_any(const struct icap_snapshot *s, struct span path);
/* What |service| is for |tenant|: an ISTag that changes with what concerns it, and with nothing
 * that concerns others, and the scope of its verdicts, which nobody shares. ERR_NOMEM. */
NODISCARD enum err icap_service_for_tenant(const struct icap_snapshot *s,
                                           const struct icap_service *service,
                                           const struct tenant *tenant,
                                           char ret_istag[ICAP_ISTAG_LEN + 1],
                                           char ret_scope[ICAP_ISTAG_LEN + 1]);

#endif
