/* SPDX-License-Identifier: Apache-2.0 */
/* ipp_server.h - the print gateway's driver: what clients ask of its printers is judged, scanned,
 * carried to the printers behind it, and leaves a record. One object per loop.
 *
 * Threads: belongs to its loop's thread; only ipp_server_count() may be called from any. */
#ifndef IPP_SERVER_H
#define IPP_SERVER_H

#include "adapt/inspection.h"
#include "adapt/remote_scan.h"
#include "adapt/scan_slots.h"
#include "http/digest_replay.h"
#include "ipp/ipp_jobs.h"
#include "ipp/ipp_refusals.h"
#include "ipp/ipp_snapshot.h"
#include "net/listener.h"
#include "net/spool.h"
#include "observe/record.h"
#include "observe/troubles.h"
#include "store/store.h"
#include "tenant/logins.h"

struct ipp_server;

/* What all loops share, and what belongs to this one. Everything is borrowed and outlives the
 * server. */
struct ipp_server_environment {
    struct loop *loop;
    struct inspector *inspector;
    const struct remote_scanner *remote; /* scanners elsewhere */
    const struct spool_settings *spool;
    struct scan_slots *scans; /* open scans of the process */
    uint64_t scan_wait_ms;    /* how long a document waits for one of them before it is overload */
    struct store *store;      /* jobs, subscriptions */
    struct ipp_jobs_numbers *numbers;
    struct record_log *records; /* NULL: off */
    struct metrics *metrics;
    struct troubles *troubles; /* NULL: not kept */
    struct logins *logins; /* NULL: nobody counts wrong passwords by user, and Basic is not taken */
    const struct digest_keys *digest_keys; /* to begin with; copied */
    struct digest_replay *replay;
    struct throttle_shared *failures; /* wrong passwords, by address, of all loops */
    struct throttle_shared *asked;    /* requests of unknown users, likewise */
    struct ipp_refusals *refusals;    /* of documents, likewise */
    const struct digest_random *random;
    uint64_t id_seed; /* of this process's start, for ids of records */
};

/* Takes a reference on |snapshot|. */
NODISCARD enum err ipp_server_new(const struct ipp_server_environment *env,
                                  struct ipp_snapshot *snapshot, struct ipp_server **ret);
/* Drops all connections. */
void ipp_server_free(struct ipp_server *s);
/* New requests are served by |snapshot| from now on. ERR_NOMEM: they are not. */
NODISCARD enum err ipp_server_set_snapshot(struct ipp_server *s, struct ipp_snapshot *snapshot);
/* Challenges are made with |keys|, which are copied, from now on. */
void ipp_server_set_keys(struct ipp_server *s, const struct digest_keys *keys);
/* The policy of the machine changed: connections of the listener that |settings| are of end, with a
 * record, if they are below it now. */
void ipp_server_recheck(struct ipp_server *s, const struct listener_settings *settings);
/* Finish what is under way, close what is idle. |drained| is called once, when the last connection
 * and the last scan that nobody waits for are over (perhaps at once, but never inside this call).
 */
void ipp_server_drain(struct ipp_server *s, void (*drained)(void *arg), void *arg);

/* For listeners: their |arg| is an array of servers by loop index. */
struct ipp_servers {
    struct ipp_server **by_loop;
};
extern const struct listener_events ipp_listener_events;

/* The refusal for clear text where TLS begins with the first byte: 403, closed. */
struct span ipp_plaintext_refusal(void);

/* How printer |i| of the snapshot in force is to be announced (ipp_advertise.h): asks it for its
 * attributes, until |deadline_ms| of the loop (0: not at all). |done| is called once, never inside
 * the call, when the server is freed at the latest if it was to be asked. |why| NULL: it answered;
 * else why it did not, for operators ("": it was not asked), and |txt| has what is known without
 * it. ERR_MISSING: there is none; ERR_NOMEM. */
struct ipp_announced {
    const struct ipp_printer *printer;
    const char *why;
    unsigned port, secure_port; /* of _ipp._tcp and _ipps._tcp; 0: it is not there */
    struct span txt;
};
typedef void (*ipp_announced_fn)(void *arg, const struct ipp_announced *told);
NODISCARD enum err ipp_server_announce(struct ipp_server *s, size_t i, uint64_t deadline_ms,
                                       ipp_announced_fn done, void *arg);

struct ipp_server_counts {
    uint64_t requests, jobs, refused;
    unsigned connections;
};
void ipp_server_count(const struct ipp_server *s, struct ipp_server_counts *ret);

#endif
