/* SPDX-License-Identifier: Apache-2.0 */
/* What the pool's threads do with an Authorization value that is not known.
 *
 * Nobody shall learn from the time or the answer whether a user exists: a user who does not is
 * verified against nothing, and every verification takes as many rounds as that of the slowest
 * verifier. Only who has the right password waits for a second derivation. */
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <stdlib.h>

#include "base/secret.h"
#include "tenant/logins_int.h"

struct login_job {
    struct password_job job;
    struct logins *l;
    uint8_t key[LOGIN_KEY];
    uint64_t source, user_key;
    bool trusted;  /* its certificate is of the user's tenant */
    bool renewing; /* what was right an hour ago at most: no guess */
    bool known;
    uint64_t generation; /* of the set that knew or did not know the user */
    struct credential c; /* if it is known; else what it is verified against */
    enum login_answer answer;
    struct session *session; /* with LOGIN_OK */
    bool upgraded;
    struct span password;
    char *text; /* secret */
    size_t n_text;
};

/* ---- failures ---- */

static uint64_t key_of(struct span text)
{
    uint64_t h = map_hash(text.p, text.n);

    return h ? h : 1;
}

static bool throttled(struct logins *l, uint64_t source, uint64_t user)
{
    uint64_t now = clock_mono_us(l->clock);

    (void)pthread_mutex_lock(&l->lock);
    bool yes = !throttle_allows(&l->sources, source, &l->set.per_source, now) ||
               (user && !throttle_allows(&l->users, user, &l->set.per_user, now));
    (void)pthread_mutex_unlock(&l->lock);
    if (yes)
        login_count(&l->throttled, 1);
    return yes;
}

bool login_is_throttled(struct logins *l, const struct login_request *r)
{
    return throttled(l, r->source, 0);
}

static void failed(struct logins *l, uint64_t source, uint64_t user)
{
    uint64_t now = clock_mono_us(l->clock);

    (void)pthread_mutex_lock(&l->lock);
    throttle_failed(&l->sources, source, &l->set.per_source, now);
    if (user)
        throttle_failed(&l->users, user, &l->set.per_user, now);
    (void)pthread_mutex_unlock(&l->lock);
    login_count(&l->refused, 1);
}

/* ---- passwords that somebody else looks at ---- */

static uint64_t key_of_both(struct span user, uint64_t source)
{
    const uint64_t both[] = {key_of(user), source};

    return key_of((struct span){(const char *)both, sizeof both});
}

static struct throttle_limits proof_limits(const struct logins *l)
{
    return (struct throttle_limits){.burst = 1, .every_ms = l->set.session_ms};
}

static bool is_proved(const struct logins *l, uint64_t key, uint64_t now)
{
    const struct throttle_limits once = proof_limits(l);

    return !throttle_allows(&l->proved, key, &once, now);
}

bool logins_may_try(struct logins *l, struct span user, uint64_t source)
{
    uint64_t now = clock_mono_us(l->clock), both = key_of_both(user, source);

    (void)pthread_mutex_lock(&l->lock);
    bool yes =
        throttle_allows(&l->users, key_of(user), &l->set.per_user, now) || is_proved(l, both, now);
    (void)pthread_mutex_unlock(&l->lock);
    if (!yes)
        login_count(&l->throttled, 1);
    return yes;
}

void logins_tried(struct logins *l, struct span user, uint64_t source, bool right)
{
    uint64_t now = clock_mono_us(l->clock), both = key_of_both(user, source);

    (void)pthread_mutex_lock(&l->lock);
    const struct throttle_limits once = proof_limits(l);

    if (!right)
        throttle_failed(&l->users, key_of(user), &l->set.per_user, now);
    else if (!is_proved(l, both, now))
        throttle_failed(&l->proved, both, &once, now);
    (void)pthread_mutex_unlock(&l->lock);
}

/* ---- passwords that cannot be right ---- */

bool login_is_hopeless(struct logins *l, const struct login_request *r)
{
    char text[BASIC_ROOM(BASIC_TOKEN_MAX)];
    struct span user, password;
    bool yes = r->token.n > BASIC_TOKEN_MAX || basic_decode(r->token, text, &user, &password) != OK;

    OPENSSL_cleanse(text, sizeof text);
    if (yes)
        failed(l, r->source, 0);
    return yes;
}

/* ---- the work ---- */

static enum err derive(struct login_job *j, const uint8_t salt[CREDENTIAL_SALT], uint32_t rounds,
                       uint8_t dst[CREDENTIAL_HASH])
{
    login_count(&j->l->rounds_done, rounds);
    return credential_derive(j->password, salt, CREDENTIAL_SALT, rounds, dst);
}

/* OK, or ERR_LOGIN, after the same number of rounds. */
static enum err verify(struct login_job *j, uint32_t rounds)
{
    uint8_t derived[CREDENTIAL_HASH], rest[CREDENTIAL_HASH];
    uint32_t first = j->known ? j->c.rounds : rounds;
    enum err e = derive(j, j->c.salt, first, derived);

    if (e == OK && first < rounds)
        e = derive(j, j->c.salt, rounds - first, rest);
    if (e == OK && !(credential_is(&j->c, derived) & j->known & !j->c.disabled))
        e = ERR_LOGIN;
    OPENSSL_cleanse(derived, sizeof derived);
    OPENSSL_cleanse(rest, sizeof rest);
    login_count(&j->l->verified, 1);
    return e;
}

static enum login_answer look(struct login_job *j, struct session **ret)
{
    struct login_settings set;
    uint32_t rounds;

    if (!j->renewing && throttled(j->l, j->source, j->trusted ? 0 : j->user_key))
        return LOGIN_BUSY;
    logins_settings(j->l, &set, &rounds);
    enum err e = verify(j, rounds);

    if (e == OK)
        e = session_new(j->l, &j->c, j->password, &set, ret);
    if (e == ERR_LOGIN && logins_generation(j->l) != j->generation)
        return LOGIN_BUSY; /* it may be right by now */
    if (e == ERR_LOGIN) {
        if (!j->renewing)
            failed(j->l, j->source, j->trusted ? 0 : j->user_key);
        return LOGIN_REFUSED;
    }
    return e ? LOGIN_BUSY : LOGIN_OK;
}

static void job_free(struct login_job *j)
{
    secret_free(j->text, j->n_text);
    OPENSSL_cleanse(j, sizeof *j);
    free(j);
}

static void run(struct password_job *job)
{
    struct login_job *j = CONTAINER_OF(job, struct login_job, job);

    j->answer = look(j, &j->session);
}

/* The setting has risen since the password was set: j->c becomes one with more rounds. */
static void run_upgrade(struct password_job *job)
{
    struct login_job *j = CONTAINER_OF(job, struct login_job, job);
    uint64_t changed = j->c.changed_wall_ms;
    struct login_settings set;
    uint32_t rounds;

    logins_settings(j->l, &set, &rounds);
    j->upgraded =
        j->c.rounds < set.rounds && credential_set_password(&j->c, j->password, set.rounds) == OK;
    j->c.changed_wall_ms = changed; /* it is the same password */
}

static void done_upgrade(struct password_job *job, bool dropped)
{
    struct login_job *j = CONTAINER_OF(job, struct login_job, job);

    if (!dropped && j->upgraded) {
        login_count(&j->l->upgraded, 1);
        j->l->upgrade(j->l->upgrade_arg, &j->c);
    }
    job_free(j);
}

static bool wants_upgrade(struct login_job *j)
{
    struct login_settings set;
    uint32_t rounds;

    logins_settings(j->l, &set, &rounds);
    return j->l->upgrade && j->c.rounds < set.rounds;
}

/* Whoever waits is told first; what else there is to do waits behind other logins. */
static void done(struct password_job *job, bool dropped)
{
    struct login_job *j = CONTAINER_OF(job, struct login_job, job);
    enum login_answer answer = dropped ? LOGIN_BUSY : j->answer;

    logins_land(j->l, j->key, answer, j->session, j->generation);
    j->job.run = run_upgrade;
    j->job.done = done_upgrade;
    if (answer != LOGIN_OK || !wants_upgrade(j) ||
        passwords_submit(j->l->pool, &j->job, j->source) != OK)
        job_free(j);
}

/* ---- start ---- */

static enum err know_user(struct login_job *j, struct span user, const struct login_request *r)
{
    struct tenants *t = logins_tenants(j->l, &j->generation);
    const struct credential *c = t ? tenants_credential(t, user) : NULL;

    if (c && r->only && !span_eq(span_of(c->tenant), span_of(r->only)))
        c = NULL; /* nobody of this name there */
    j->known = c != NULL;
    j->user_key = key_of(user);
    if (c)
        j->c = *c;
    j->trusted = c && r->tenant && span_eq(span_of(c->tenant), span_of(r->tenant));
    tenants_unref(t);
    return c || RAND_bytes(j->c.salt, sizeof j->c.salt) == 1 ? OK : ERR_IO;
}

static enum err fill(struct login_job *j, const struct login_request *r)
{
    struct span user;

    j->n_text = BASIC_ROOM(r->token.n);
    j->text = secret_alloc(j->n_text);
    if (!j->text)
        return ERR_NOMEM;
    TRY(basic_decode(r->token, j->text, &user, &j->password));
    TRY(know_user(j, user, r));
    return OK;
}

enum err login_job_start(struct logins *l, const struct login_request *r,
                         const uint8_t key[LOGIN_KEY], bool renewing)
{
    struct login_job *j = l->pool ? calloc(1, sizeof *j) : NULL;

    if (!j)
        return ERR_NOMEM;
    j->renewing = renewing;
    j->job.run = run;
    j->job.done = done;
    j->l = l;
    j->source = r->source;
    memcpy(j->key, key, sizeof j->key);
    enum err e = fill(j, r);

    if (e == OK)
        e = passwords_submit(l->pool, &j->job, r->source);
    if (e)
        job_free(j);
    else
        login_count(&l->misses, 1);
    return e;
}
