/* SPDX-License-Identifier: Apache-2.0 */
/* logins_int.h - the bodies behind logins.h, for its own files: logins.c (the table: who asks, who
 * waits, what is kept), login_job.c (what the pool's threads do), session.c (sessions and seals).
 */
#ifndef TENANT_LOGINS_INT_H
#define TENANT_LOGINS_INT_H

#include <openssl/types.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/map.h"
#include "tenant/basic.h"
#include "tenant/logins.h"
#include "tenant/passwords.h"

#define LOGIN_SHARDS 16u
#define LOGIN_KEY    32u

struct session {
    _Atomic unsigned refs;
    _Atomic bool ended;
    struct logins *logins;
    uint64_t login_ms, renew_ms, expires_ms;
    uint64_t changed_wall_ms; /* which password of the user's it was */
    char tenant[CREDENTIAL_TENANT_MAX + 1], user[CREDENTIAL_USER_MAX + 1];
    uint8_t raw_id[SESSION_ID_LEN / 2];
    char id[SESSION_ID_LEN + 1];
    uint8_t *key; /* secret_alloc() */
    UT_hash_handle hh;
};

/* What is known of one Authorization value. */
struct login_kept {
    uint8_t key[LOGIN_KEY];
    struct session *session; /* NULL: it is wrong */
    uint64_t until_ms;       /* of a failure; of a session: no renewal is tried before */
    bool renewing;
    struct login_kept *prev, *next; /* least recently used first */
    UT_hash_handle hh;
};

/* One that is looked at right now. */
struct login_flight {
    uint8_t key[LOGIN_KEY];
    struct login_waiter *waiters;
    UT_hash_handle hh;
};

struct login_shard {
    pthread_mutex_t lock;
    struct login_kept *by_key;
    struct login_kept *order[2]; /* failures, sessions */
    unsigned n[2];
    struct login_flight *flights;
};

struct login_waiter {
    struct task task;
    struct loop *loop;
    struct login_shard *shard;
    struct login_flight *flight; /* NULL: its task is on its way */
    struct login_waiter *prev, *next;
    void (*ready)(void *arg, enum login_answer answer, struct session *s); /* NULL: cancelled */
    void *arg;
    enum login_answer answer;
    struct session *session;
};

struct logins {
    const struct clock *clock;
    struct passwords *pool;
    EVP_MAC_CTX *mac; /* HMAC-SHA-256 with this process's key: to be copied */
    void (*upgrade)(void *arg, const struct credential *c);
    void *upgrade_arg;
    struct login_shard shards[LOGIN_SHARDS];
    pthread_mutex_t lock; /* of what follows; may be taken inside of a shard's */
    struct login_settings set;
    struct tenants *tenants;
    uint64_t generation; /* counts the sets */
    uint64_t let_go_us;  /* when the last refusal that is held will be */
    uint32_t rounds;     /* that every verification takes: those of the slowest verifier */
    struct throttle sources, users;
    struct throttle proved; /* a user and a source: not whole for as long as it is known there */
    pthread_mutex_t ids_lock;
    struct session *ids;
    _Atomic uint64_t hits, misses, waits, verified, derived, rounds_done, upgraded, renewed,
        refused, throttled, held, n_ended;
};

static inline void login_count(_Atomic uint64_t *c, uint64_t n)
{
    (void)atomic_fetch_add_explicit(c, n, memory_order_relaxed);
}

/* ---- logins.c ---- */
/* Ends the flight of |key|: what it found is kept, and all that wait are told. Takes the reference
 * |s|, which is there with LOGIN_OK only. A session whose credential is not the one in force any
 * more is refused; a refusal of before the last change is none (BUSY). */
void logins_land(struct logins *l, const uint8_t key[LOGIN_KEY], enum login_answer answer,
                 struct session *s, uint64_t generation);
/* A copy of what is in force. */
void logins_settings(struct logins *l, struct login_settings *ret, uint32_t *ret_rounds);
/* A reference, or NULL; of which generation the set is. */
struct tenants *logins_tenants(struct logins *l, uint64_t *ret_generation);
uint64_t logins_generation(struct logins *l);

/* ---- login_job.c ---- */
/* Looks at |r|'s token on a thread of the pool; logins_land() tells. OK, or an error: then nobody
 * lands. */
NODISCARD enum err login_job_start(struct logins *l, const struct login_request *r,
                                   const uint8_t key[LOGIN_KEY], bool renewing);
/* Has it failed too often? */
bool login_is_throttled(struct logins *l, const struct login_request *r);
/* Is its token nobody's, with any password? Then that is a failure of its source. */
bool login_is_hopeless(struct logins *l, const struct login_request *r);

/* ---- session.c ---- */
/* A session of |c|'s user, whose password that is: derives its key. ERR_NOMEM, ERR_IO. */
NODISCARD enum err session_new(struct logins *l, const struct credential *c, struct span password,
                               const struct login_settings *set, struct session **ret);
/* Nobody may use it any more. */
void session_end(struct session *s);

#endif
