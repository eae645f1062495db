/* SPDX-License-Identifier: Apache-2.0 */
/* tenants.h - who may come: tenants, their users and their certificates, as one immutable set that
 * is made of the configuration and of what the store holds. A change makes a new set.
 *
 * Threads: a set may be read by all; references are atomic. */
#ifndef TENANT_TENANTS_H
#define TENANT_TENANTS_H

#include "config/config.h"
#include "sallyport/want.h"
#include "tenant/credential.h"
#include "tenant/quota.h"

#define TENANT_KEY 32u

/* A row of |tenants|. Tenants that are in the store and in no row have what the rows' defaults say.
 */
struct tenant_settings {
    const char *name;
    struct config_strings certificates; /* as listeners' |peers|: "dns:...", "uri:...", "dn:..." */
    struct quota_limits limits;
};
extern const struct config_block tenant_block;

/* 1..CREDENTIAL_TENANT_MAX letters, digits, '-', '_' and '.', the first one a letter or digit. */
bool tenant_name_is_valid(struct span name);

struct tenant {
    const char *name;
    bool disabled;
    uint64_t client;         /* in fair queues: a hash of the name, never 0 */
    uint8_t key[TENANT_KEY]; /* durable, from the store: for names of what is the tenant's alone */
    const struct tenant_settings *set; /* its row, or the defaults (then without a name) */
    struct quota *quota;               /* shared by all sets; NULL in tests */
};

struct tenants;

/* A tenant as the store has it. */
struct tenant_record {
    char name[CREDENTIAL_TENANT_MAX + 1];
    bool disabled;
    uint8_t key[TENANT_KEY];
    uint64_t created_wall_ms;
    uint64_t version; /* the store's; 0: not from there */
};
/* As a line of JSON, and back; |name| is the key there. ERR_PROTO: not one of ours; ERR_NOMEM. */
void tenant_record_format(const struct tenant_record *r, struct buf *out);
NODISCARD enum err tenant_record_parse(struct span name, struct span text,
                                       struct tenant_record *ret);

struct tenants_source {
    const struct tenant_settings *rows; /* outlive the set: |release| tells when it is gone */
    size_t n_rows;
    const struct tenant_record *records;
    size_t n_records;
    const struct credential *credentials;
    size_t n_credentials;
    struct quotas *quotas; /* NULL: none */
    void (*release)(void *owner);
    void *owner;
};
/* Copies what it needs but the rows. A row without a record is left out: it has no key yet. So is a
 * user whose tenant is not there. ERR_NOMEM; then |release| was not called. */
NODISCARD enum err tenants_new(const struct tenants_source *src, struct tenants **ret);
/* The set is in force: so are the limits of its rows, from now on. */
void tenants_limit(const struct tenants *t);
struct tenants *tenants_ref(struct tenants *t);
void tenants_unref(struct tenants *t); /* NULL is fine */

size_t tenants_count(const struct tenants *t);
const struct tenant *tenants_at(const struct tenants *t, size_t i);
/* NULL: no such tenant. Disabled ones are found. */
const struct tenant *tenants_find(const struct tenants *t, struct span name);
/* NULL: no such user. */
const struct credential *tenants_credential(const struct tenants *t, struct span user);
size_t tenants_credentials(const struct tenants *t);
const struct credential *tenants_credential_at(const struct tenants *t, size_t i);

/* For whom is asked by |c| in |realm|, by name or by hash (RFC 7616 3.4.4). NULL: nobody who may
 * log in: no such user, it or its tenant is disabled, or nothing is kept of its password for this
 * realm and algorithm. Says nothing of whether the response is right. */
struct digest_credentials;
const struct credential *tenants_digest_find(const struct tenants *t, struct span realm,
                                             const struct digest_credentials *c);
/* The same as a |find| of struct digest_users; |arg| is a request's own struct tenants_digest. */
struct tenants_digest {
    const struct tenants *tenants;
    struct span realm;
    const struct credential *found; /* whose HA1 was given; who it is only with DIGEST_OK */
};
bool tenants_digest_ha1(void *arg, const struct digest_credentials *c, struct digest_hex *ret_ha1);

/* Whose certificate it is. NULL: nobody's, or, with *ret_ambiguous, that of several tenants, which
 * is nobody's either. |peer| may be NULL. */
const struct tenant *tenants_of_peer(const struct tenants *t, const sallyport_peer *peer,
                                     bool *ret_ambiguous);

#endif
