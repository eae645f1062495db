/* SPDX-License-Identifier: Apache-2.0 */
/* gateway_tenants.h - the store, what it holds of tenants and users, and the set that is made of
 * that and of the configuration. Another gateway may write to the same store: so it is looked at
 * once a second, and read again when tenants or users have changed. Nothing here is changed without
 * being on the disk first.
 *
 * Threads: loop 0's. */
#ifndef PROC_GATEWAY_TENANTS_H
#define PROC_GATEWAY_TENANTS_H

#include "base/buf.h"
#include "net/loop.h"
#include "store/store.h"
#include "tenant/tenants.h"

/* Namespaces: names of tenants to struct tenant_record, names of users to struct credential. */
#define TENANTS_SPACE "tenants"
#define USERS_SPACE   "users"

struct gateway_config;
struct gateway_core;
struct tenants_load;

struct gateway_tenants {
    struct gateway_core *gateway;
    struct store *store;
    struct quotas *quotas;
    struct loop *loop; /* where answers come */
    struct timer look;
    struct tenants_load *load; /* under way */
    struct task *waiting;      /* for one that begins from now on; last in, first out */
    struct task begin;         /* |run| NULL: not queued */
    bool wanted;               /* one more, when this one has ended */
    uint64_t changes;          /* of the store, when what is below was read */
    uint64_t marks[2];         /* of tenants and users then; 0: unknown */
    uint64_t seen;             /* a hash of that */
    bool loaded;
    enum err first_err; /* why the last load failed, or a row has no record */
    uint64_t retry_ms;  /* then: when it is tried again */
    uint64_t probe_ms;  /* gateway_store_look()'s: when a store that failed is tried again */
    /* Read last; both sorted, users by tenant first. */
    struct tenant_record *records;
    size_t n_records;
    struct credential *credentials;
    size_t n_credentials;
    /* A new set is in force; may be NULL. |t| lives until the next call, or is referenced. */
    void (*changed)(struct gateway_core *g, struct tenants *t);
};

/* ---- start and end, in this order ---- */

/* Opens the store in the directory |fd| as the user that the gateway will be. Before the jail. */
NODISCARD enum err gateway_tenants_open(struct gateway_core *g, int fd, struct buf *why);
/* After the jail, and before anything else may ask: reads everything, makes a record for each row
 * that has none, and g->tenants. A few seconds at most. */
NODISCARD enum err gateway_tenants_load(struct gateway_core *g, struct buf *why);
/* Loops are there: looks for changes from now on. */
void gateway_tenants_start(struct gateway_core *g);
/* Before the loops are freed; what waits for the store hears so. */
void gateway_tenants_stop(struct gateway_core *g);
/* After every loop was freed. */
void gateway_tenants_done(struct gateway_core *g);

/* ---- sets ---- */

/* Of the rows of |config|, with what was read last. */
NODISCARD enum err gateway_tenants_make(struct gateway_core *g, struct gateway_config *config,
                                        struct tenants **ret);
/* Takes |set| over: it is in force. */
void gateway_tenants_take(struct gateway_core *g, struct tenants *set);
/* Reads everything anew, also records for new rows; |then| (may be NULL) runs on loop 0 when that
 * is done, or could not be. */
void gateway_tenants_reload(struct gateway_core *g, struct task *then);
/* Has the present configuration a row for |name|? */
bool gateway_tenants_has_row(const struct gateway_core *g, const char *name);
/* |c| is the same password with more rounds: kept if nobody changed it meanwhile. */
void gateway_tenants_upgrade(struct gateway_core *g, const struct credential *c);
/* A record with a key of its own. ERR_IO: no randomness. */
NODISCARD enum err gateway_tenants_record(const char *name, struct tenant_record *ret);

#endif
