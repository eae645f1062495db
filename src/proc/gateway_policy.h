/* SPDX-License-Identifier: Apache-2.0 */
/* gateway_policy.h - what decides about files and changes while the gateway runs, without a new
 * configuration: exceptions and bypasses, whether ClamAV answers and with which version, the
 * verdict cache. Whenever something of it changes, all services get new ISTags in a new snapshot,
 * on every loop.
 *
 * Threads: loop 0's, but for the cache and |clamd_health|. */
#ifndef PROC_GATEWAY_POLICY_H
#define PROC_GATEWAY_POLICY_H

#include "adapt/clamd.h"
#include "adapt/exceptions.h"
#include "adapt/verdict_cache.h"
#include "icap/icap_snapshot.h"
#include "proc/journal.h"
#include "proc/settings.h"

#define EXCEPTION_MAX_MS (UINT64_C(90) * 24 * 3600 * 1000)
#define BYPASS_MAX_MS    (UINT64_C(24) * 3600 * 1000)

struct gateway_config;
struct gateway_core;
struct gateway_loop;
struct bypass_watch;
struct bypass_gauge;
struct clamd_version;

struct gateway_policy {
    struct gateway_core *gateway;
    struct journal journal;
    struct exceptions *exceptions;
    struct timer look;            /* what is over, what others wrote to the journal */
    struct bypass_watch *watches; /* bypasses that are in force */
    struct bypass_gauge *gauges;
    unsigned own_uid;
    char own_name[64]; /* of the user that the gateway runs as */
    struct verdict_cache *cache;
    /* ClamAV; |clamd_health| is NULL without it */
    struct clamd_settings clamd_settings;
    struct clamd_health *clamd_health;
    struct clamd_monitor *clamd_monitor;
    struct clamd_version *clamd_versions;
    struct clamd_health_report clamd; /* as it was when we looked last */
    char clamd_text[CLAMD_VERSION_MAX + 96];
    uint64_t epoch_s; /* when something changed that no version tells; 0: never */
};

/* ---- start and end, in this order ---- */

/* Before the jail, which takes the users' names out of sight. */
void policy_learn_names(struct gateway_policy *p, const struct settings *s);
/* Takes the journal's descriptor |fd| (-1: none). */
NODISCARD enum err policy_init(struct gateway_core *g, int fd, struct buf *why);
NODISCARD enum err policy_build_loop(struct gateway_loop *gl);
/* Asks ClamAV, and waits for its first word (a few seconds at most), so that the gateway does not
 * begin with files that nobody looks at. Loop 0 turns meanwhile. */
NODISCARD enum err policy_start(struct gateway_core *g, struct buf *why);
void policy_stop(struct gateway_core *g);
void policy_free_loop(struct gateway_loop *gl);
/* After every loop was freed. */
void policy_done(struct gateway_core *g);

/* ---- snapshots ---- */

/* Of |config|, with everything else as it is. */
NODISCARD enum err policy_snapshot(struct gateway_core *g, struct gateway_config *config,
                                   struct icap_snapshot **ret, struct buf *why);
/* Takes |snapshot| over, and tells every loop. */
void policy_publish(struct gateway_core *g, struct icap_snapshot *snapshot);
/* The same for a change that must not fail: other rules, another database. */
void policy_refresh(struct gateway_core *g);
/* Verdicts so far do not count any more: forgets them, and changes the ISTags of services that ask
 * clamd, whose version does not tell of signatures of one's own. */
void policy_forget_verdicts(struct gateway_core *g);
/* |config| is in force now: services may have come, limits of the cache may be others. */
void policy_configured(struct gateway_core *g);

/* ---- exceptions and bypasses ---- */

/* Who |uid| is, for |by|. */
const char *policy_name_of(const struct gateway_policy *p, unsigned uid);
/* Completes |e| (id, created), writes it down and puts it in force. A bypass takes the place of one
 * of the same service. |why|: nothing was changed. */
NODISCARD enum err policy_add(struct gateway_core *g, struct exception *e, struct buf *why);
/* *ret_gone is what was removed. ERR_MISSING: no such id. */
NODISCARD enum err policy_remove(struct gateway_core *g, const char *id, const char *by,
                                 struct exception *ret_gone, struct buf *why);
/* Of the service |name| in the present configuration, or NULL. */
const struct icap_service *policy_service(const struct gateway_core *g, const char *name);
/* Messages that |bypass| let pass, as far as this process knows. */
uint64_t policy_bypassed(const struct gateway_policy *p, const struct exception *bypass);

/* ---- gateway_clamd.c ---- */
NODISCARD enum err policy_clamd_init(struct gateway_policy *p, const struct clamav_settings *s);
NODISCARD enum err policy_clamd_start(struct gateway_core *g);
/* Another configuration, and perhaps another policy of the machine: may clamd be asked? */
void policy_clamd_configured(struct gateway_core *g);
void policy_clamd_done(struct gateway_policy *p);

#endif
