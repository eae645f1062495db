/* SPDX-License-Identifier: Apache-2.0 */
/* icap_server.h - the ICAP server's driver: moves bytes between streams and engines, runs services,
 * leaves a record of each transaction. One object per loop.
 *
 * Threads: belongs to its loop's thread; only icap_server_status() may be called from any. */
#ifndef ICAP_SERVER_H
#define ICAP_SERVER_H

#include "adapt/inspection.h"
#include "adapt/scan_slots.h"
#include "icap/icap_progress.h"
#include "icap/icap_snapshot.h"
#include "net/listener.h"
#include "net/spool.h"
#include "observe/record.h"
#include "observe/troubles.h"
#include "tenant/login_settings.h"

struct icap_server;

/* What all loops share, and what belongs to this one. Everything is borrowed and outlives the
 * server. */
struct icap_server_environment {
    struct loop *loop;
    struct workers *workers; /* for the question whether there are any */
    struct inspector *inspector;
    struct clamd_health *clamd_health; /* NULL: no clamd is configured */
    const struct spool_settings *spool;
    struct scan_slots *scans;   /* open scans of the process */
    uint64_t scan_wait_ms;      /* how long a file waits for one of them before it is overload */
    struct record_log *records; /* NULL: off */
    struct metrics *metrics;
    struct troubles *troubles;      /* NULL: not kept */
    struct icap_progress *progress; /* NULL: slow.mode progress waits */
    struct logins *logins;          /* NULL: there are no tenants */
    uint64_t id_seed;               /* of this process's start, for transaction ids */
};
/* A reload brought another clamd. */
void icap_server_set_clamd_health(struct icap_server *s, struct clamd_health *health);

/* Takes a reference on |snapshot|. */
NODISCARD enum err icap_server_new(const struct icap_server_environment *env,
                                   struct icap_snapshot *snapshot, struct icap_server **ret);
/* Drops all connections. */
void icap_server_free(struct icap_server *s);
/* New requests are served by |snapshot| from now on. */
void icap_server_set_snapshot(struct icap_server *s, struct icap_snapshot *snapshot);
/* The policy of the machine changed: connections of the listener that |settings| are of end, with a
 * record, if they are below it now. */
void icap_server_recheck(struct icap_server *s, const struct listener_settings *settings);
/* Finish what is under way, say Connection: close, close what is idle. |drained| is called once,
 * when the last connection is gone (perhaps at once, but never inside this call). */
void icap_server_drain(struct icap_server *s, void (*drained)(void *arg), void *arg);
unsigned icap_server_connections(const struct icap_server *s);

/* For listeners: their |arg| is an array of servers by loop index. */
struct icap_servers {
    struct icap_server **by_loop;
};
extern const struct listener_events icap_listener_events;
/* The refusal for clear text on a TLS port, and for whom a policy does not let in: 403, closed. */
struct span icap_plaintext_refusal(void);

struct icap_server_counts {
    uint64_t transactions, blocked, refused;
    unsigned connections, open;
};
void icap_server_count(const struct icap_server *s, struct icap_server_counts *ret);

#endif
