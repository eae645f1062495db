/* SPDX-License-Identifier: Apache-2.0 */
/* logins.h - credential sessions (draft-cameron-secure-icap-bcp-00): from an Authorization value to
 * a session of a tenant, with exactly two derivations for each session, one for the verifier and
 * one for its key, however many connections ask at the same time; and a keyed look-up for every
 * request after that.
 *
 * Sessions live in this process's memory and nowhere else. They end an hour after their login at
 * the latest, and at once when their user or tenant is disabled, removed or gets another password.
 * Before that a request renews them, early and each at another time, so that they do not all end
 * together. A wrong password and an unknown user cost the same and look the same.
 *
 * Threads: any, but requests and their cancelling, which are their loop's. */
#ifndef TENANT_LOGINS_H
#define TENANT_LOGINS_H

#include "net/loop.h"
#include "tenant/tenants.h"
#include "tenant/throttle.h"

#define SESSION_ID_LEN 32u /* hex digits */
#define SESSION_MS_MAX 3600000u

/* One login. Immutable, but for whether it has ended. */
struct session;
struct session *session_ref(struct session *s);
void session_unref(struct session *s);           /* NULL is fine */
const char *session_id(const struct session *s); /* made of its key; says nothing about it */
const char *session_tenant(const struct session *s);
const char *session_user(const struct session *s);
uint64_t session_expires_ms(const struct session *s); /* of the clock */
/* Is it good for a request at |now_ms|? */
bool session_is_live(const struct session *s, uint64_t now_ms);

struct login_settings {
    uint32_t rounds;         /* of new verifiers; older ones below it are made anew at a login */
    uint32_t session_rounds; /* of session keys; CREDENTIAL_ROUNDS_MIN at least */
    uint64_t session_ms;     /* SESSION_MS_MAX at most */
    uint64_t failure_ms;     /* how long a wrong value is known to be wrong */
    uint64_t hold_ms;        /* a refusal that cost nothing waits that long */
    unsigned sessions_max;   /* and as many failures */
    unsigned threads, queue_max;
    struct throttle_limits per_source, per_user; /* failures */
};

struct logins;
struct logins_source {
    const struct clock *clock; /* borrowed; that of the loops */
    const struct login_settings *set;
    /* A password was right and its verifier has too few rounds: |c| is the same password's with
     * more. On a thread of the pool. NULL: stays as it is. */
    void (*upgrade)(void *arg, const struct credential *c);
    void *arg;
};
/* ERR_NOMEM, ERR_IO (no randomness). */
NODISCARD enum err logins_new(const struct logins_source *src, struct logins **ret);
/* Nothing is derived any more, and no upgrade comes: before loops are freed. Whoever waits is told
 * BUSY. */
void logins_stop(struct logins *l);
/* After every loop that asked was freed. NULL is fine. */
void logins_free(struct logins *l);
/* From now on. |threads| and |queue_max| stay as they began. */
void logins_set(struct logins *l, const struct login_settings *set);
/* How long a login lasts. */
uint64_t logins_session_ms(struct logins *l);
/* For how long a BUSY, or a REFUSED that came at once, is to be held back by whoever asked: there
 * was no derivation that would have slowed the guesses down. A crowd is let go one after the other,
 * so that it is held for longer, 30 seconds at most. Counted where it is not 0. */
uint64_t logins_hold_ms(struct logins *l);
/* The set in force changed: ends the sessions of which it does not know any more. Takes its own
 * reference. */
void logins_set_tenants(struct logins *l, struct tenants *t);
/* Forgets what is over: every second or so. */
void logins_sweep(struct logins *l);

enum login_answer {
    LOGIN_OK,      /* *ret_session: the caller's reference */
    LOGIN_WAIT,    /* |ready| will be called */
    LOGIN_REFUSED, /* no such user, or not the password: nobody is told which */
    LOGIN_BUSY,    /* nobody looked: too many failures from there, or too many wait. Later. */
};

struct login_request {
    struct loop *loop; /* this thread's */
    struct span token; /* basic_token()'s, exactly as it came */
    uint64_t source;   /* whom failures are counted for: a keyed hash of the peer's address, or of
                          the tenant that its certificate names; not 0 */
    /* Of its certificate, or NULL: its own users' logins are not held up by failures that others
     * have under their names. */
    const char *tenant;
    /* On |loop|, never inside the call, once; not after logins_cancel(). |s|: the receiver's
     * reference, with OK only. Never WAIT. */
    void (*ready)(void *arg, enum login_answer answer, struct session *s);
    void *arg;
    /* NULL, or the one tenant whose users count: for all others it is as if there were none. */
    const char *only;
};
struct login_waiter; /* the table's; a handle to cancel by */
/* *ret_waiter for WAIT only. */
enum login_answer logins_ask(struct logins *l, const struct login_request *r,
                             struct session **ret_session, struct login_waiter **ret_waiter);
/* Passwords that somebody else looks at, at no cost (Digest), and whose failures count for their
 * user as others do. May one be tried for |user|, whether there is such a user or not, by |source|,
 * not 0? Else that is BUSY. Who has had the right one within the time of a session is not held up.
 */
bool logins_may_try(struct logins *l, struct span user, uint64_t source);
void logins_tried(struct logins *l, struct span user, uint64_t source, bool right);
/* On its own loop's thread, before its call. NULL is fine. */
void logins_cancel(struct login_waiter *w);

/* For a resumed connection: what |s| can be told by later, as bytes for its ticket, and back. Made
 * with the session's key, so that nobody else can make one, and worth nothing when that is gone. */
#define SESSION_SEAL_LEN 56u
void session_seal(const struct session *s, uint8_t ret[SESSION_SEAL_LEN]);
/* NULL: not known here, or over. Else a reference. */
struct session *logins_unseal(struct logins *l, struct span seal);

struct logins_counts {
    unsigned sessions, failures, waiting; /* now; |waiting|: derivations */
    uint64_t hits, misses, waits;         /* answers from the table; jobs; those that joined one */
    uint64_t verified, derived;           /* derivations of verifiers (also for unknown users); of
                                             session keys */
    uint64_t rounds;                      /* of verifiers, all together */
    uint64_t upgraded, renewed, refused, throttled, held, ended; /* |held|: logins_hold_ms() */
    uint64_t queue_full; /* passwords that nobody looked at: too many waited */
};
void logins_count(struct logins *l, struct logins_counts *ret);

#endif
