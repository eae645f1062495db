/* SPDX-License-Identifier: Apache-2.0 */
/* The table of what is known of Authorization values: sessions and failures, least recently used
 * first out, and flights, values that somebody looks at right now with those that wait for it.
 *
 * A value is known by its HMAC under a key of this process, so that the table holds no password. A
 * waiter is as safe as one of adapt/verdict_cache.c, and for the same reasons: it is in its
 * flight's list until logins_land() takes it out and posts its task, both under the shard's lock.
 * Its owner cancels on the loop where the task runs; only that thread reads and writes |ready|.
 * Cancelling and the task itself both pass through the lock, so when either is over, the thread
 * that posts has left loop_post(). */
#include <assert.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <utlist.h>

#include "tenant/logins_int.h"

#define RENEW_LATER 10000u             /* ms; a renewal for which there was no room */
#define HOLD_CROWD  64u                /* refusals let go in the time for which one is held */
#define HOLD_MAX_US UINT64_C(30000000) /* whatever the crowd */

/* ---- keys ---- */

static enum err mac_new(EVP_MAC_CTX **ret)
{
    uint8_t key[LOGIN_KEY];
    char digest[] = "SHA256";
    const OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string("digest", digest, 0),
                                 OSSL_PARAM_construct_end()};
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    EVP_MAC_CTX *ctx = mac ? EVP_MAC_CTX_new(mac) : NULL;
    enum err e = ctx ? OK : ERR_NOMEM;

    if (e == OK && RAND_bytes(key, sizeof key) != 1)
        e = ERR_IO;
    if (e == OK && EVP_MAC_init(ctx, key, sizeof key, params) != 1)
        e = ERR_NOMEM;
    OPENSSL_cleanse(key, sizeof key);
    EVP_MAC_free(mac);
    if (e)
        EVP_MAC_CTX_free(ctx);
    else
        *ret = ctx;
    return e;
}

/* A token and the tenant that it has to be of: what is known of it elsewhere says nothing here. */
static enum err key_make(const struct logins *l, struct span token, const char *only,
                         uint8_t ret[LOGIN_KEY])
{
    struct span tenant = span_of(only);
    EVP_MAC_CTX *ctx = EVP_MAC_CTX_dup(l->mac);
    size_t n = 0;
    bool ok = ctx && EVP_MAC_update(ctx, (const unsigned char *)token.p, token.n) == 1 &&
              EVP_MAC_update(ctx, (const unsigned char *)"\n", 1) == 1 &&
              EVP_MAC_update(ctx, (const unsigned char *)tenant.p, tenant.n) == 1 &&
              EVP_MAC_final(ctx, ret, &n, LOGIN_KEY) == 1;

    EVP_MAC_CTX_free(ctx);
    return ok ? OK : ERR_NOMEM;
}

static struct login_shard *shard_of(struct logins *l, const uint8_t key[LOGIN_KEY])
{
    return &l->shards[key[0] % LOGIN_SHARDS];
}

/* ---- what is kept ---- */

static void kept_drop(struct login_shard *sh, struct login_kept *k)
{
    bool is_session = k->session != NULL;

    assert(sh->order[is_session] && sh->by_key); /* |k| is in both */
    HASH_DEL(sh->by_key, k);
    DL_DELETE(sh->order[is_session], k);
    sh->n[is_session]--;
    session_unref(k->session);
    free(k);
}

static struct login_kept *kept_find(struct login_shard *sh, const uint8_t key[LOGIN_KEY],
                                    uint64_t now)
{
    struct login_kept *k;

    HASH_FIND(hh, sh->by_key, key, LOGIN_KEY, k);
    if (k && (k->session ? !session_is_live(k->session, now) : k->until_ms <= now)) {
        kept_drop(sh, k);
        return NULL;
    }
    return k;
}

static unsigned kept_max(const struct login_settings *set)
{
    return set->sessions_max / LOGIN_SHARDS + 1;
}

/* Without memory it is looked at again the next time. Takes |s| over (NULL: a failure, which counts
 * until |until_ms|). */
static void keep(struct login_shard *sh, const uint8_t key[LOGIN_KEY], struct session *s,
                 uint64_t until_ms, unsigned max)
{
    struct login_kept *k;
    bool is_session = s != NULL;

    HASH_FIND(hh, sh->by_key, key, LOGIN_KEY, k);
    if (k)
        kept_drop(sh, k);
    while (sh->n[is_session] > 0 && sh->n[is_session] >= max)
        kept_drop(sh, sh->order[is_session]);
    k = calloc(1, sizeof *k);
    if (k) {
        memcpy(k->key, key, sizeof k->key);
        HASH_ADD(hh, sh->by_key, key, sizeof k->key, k);
    }
    if (!k || !k->hh.tbl) {
        free(k);
        session_unref(s);
        return;
    }
    k->session = s;
    k->until_ms = until_ms;
    DL_APPEND(sh->order[is_session], k);
    sh->n[is_session]++;
}

/* ---- waiting ---- */

static void waiter_run(struct task *t)
{
    struct login_waiter *w = CONTAINER_OF(t, struct login_waiter, task);

    (void)pthread_mutex_lock(&w->shard->lock);
    (void)pthread_mutex_unlock(&w->shard->lock);
    if (w->ready)
        w->ready(w->arg, w->answer, w->session);
    else
        session_unref(w->session);
    free(w);
}

static struct login_waiter *waiter_new(struct login_shard *sh, struct login_flight *f,
                                       const struct login_request *r)
{
    struct login_waiter *w = calloc(1, sizeof *w);

    if (!w)
        return NULL;
    w->task.run = waiter_run;
    w->loop = r->loop;
    w->shard = sh;
    w->flight = f;
    w->ready = r->ready;
    w->arg = r->arg;
    DL_APPEND(f->waiters, w);
    return w;
}

void logins_cancel(struct login_waiter *w)
{
    if (!w)
        return;
    struct login_shard *sh = w->shard;

    (void)pthread_mutex_lock(&sh->lock);
    bool waits = w->flight != NULL;

    if (waits)
        DL_DELETE(w->flight->waiters, w);
    else
        w->ready = NULL;
    (void)pthread_mutex_unlock(&sh->lock);
    if (waits)
        free(w);
}

static struct login_flight *flight_new(struct login_shard *sh, const uint8_t key[LOGIN_KEY])
{
    struct login_flight *f = calloc(1, sizeof *f);

    if (!f)
        return NULL;
    memcpy(f->key, key, sizeof f->key);
    HASH_ADD(hh, sh->flights, key, sizeof f->key, f);
    if (f->hh.tbl)
        return f;
    free(f);
    return NULL;
}

/* ---- landing ---- */

/* Is |s| a session of a user who may still come? */
static bool is_current(const struct session *s, const struct tenants *t)
{
    const struct credential *c = t ? tenants_credential(t, span_of(s->user)) : NULL;
    const struct tenant *tenant = t ? tenants_find(t, span_of(s->tenant)) : NULL;

    return c && tenant && !c->disabled && !tenant->disabled &&
           c->changed_wall_ms == s->changed_wall_ms &&
           span_eq(span_of(c->tenant), span_of(s->tenant));
}

/* Under the shard's lock: whoever makes another set comes to this shard after us. */
static bool may_stay(struct logins *l, const struct session *s)
{
    struct tenants *t = logins_tenants(l, NULL);
    bool yes = is_current(s, t);

    tenants_unref(t);
    return yes;
}

static void tell(struct login_flight *f, enum login_answer answer, struct session *s)
{
    struct login_waiter *w, *next;

    DL_FOREACH_SAFE(f->waiters, w, next)
    {
        DL_DELETE(f->waiters, w);
        w->flight = NULL;
        w->answer = answer;
        w->session = s ? session_ref(s) : NULL;
        loop_post(w->loop, &w->task);
    }
}

static void land(struct logins *l, struct login_shard *sh, const uint8_t key[LOGIN_KEY],
                 enum login_answer answer, struct session *s)
{
    uint64_t now = clock_mono_ms(l->clock);
    struct login_settings set;
    struct login_kept *k;
    struct login_flight *f;
    uint32_t rounds;

    logins_settings(l, &set, &rounds);
    HASH_FIND(hh, sh->flights, key, LOGIN_KEY, f);
    assert(f);
    HASH_DEL(sh->flights, f);
    tell(f, answer, s);
    free(f);
    k = kept_find(sh, key, now);
    if (k && k->renewing) {
        k->renewing = false;
        login_count(&l->renewed, answer == LOGIN_OK);
    }
    if (answer == LOGIN_OK)
        keep(sh, key, session_ref(s), 0, kept_max(&set));
    else if (answer == LOGIN_REFUSED)
        keep(sh, key, NULL, now + set.failure_ms, kept_max(&set));
}

void logins_land(struct logins *l, const uint8_t key[LOGIN_KEY], enum login_answer answer,
                 struct session *s, uint64_t generation)
{
    struct login_shard *sh = shard_of(l, key);

    (void)pthread_mutex_lock(&sh->lock);
    if (answer == LOGIN_OK && !may_stay(l, s)) {
        session_end(s);
        answer = LOGIN_REFUSED;
    } else if (answer == LOGIN_REFUSED && generation != logins_generation(l)) {
        answer = LOGIN_BUSY;
    }
    land(l, sh, key, answer, answer == LOGIN_OK ? s : NULL);
    (void)pthread_mutex_unlock(&sh->lock);
    session_unref(s);
}

/* ---- asking ---- */

/* Long before it ends, and nobody waits for it. Under the shard's lock; true: the caller starts it.
 */
static bool renews(struct login_shard *sh, struct login_kept *k, uint64_t now)
{
    struct login_flight *f = NULL;

    if (now < k->session->renew_ms || k->renewing || now < k->until_ms)
        return false;
    HASH_FIND(hh, sh->flights, k->key, LOGIN_KEY, f);
    if (f || !flight_new(sh, k->key))
        return false;
    k->renewing = true;
    k->until_ms = now + RENEW_LATER;
    return true;
}

/* Nobody has to derive anything to know that it is wrong; what it costs is that it is remembered,
 * and counted, like any other. Under the shard's lock. */
static enum login_answer refuse_hopeless(struct logins *l, struct login_shard *sh,
                                         const uint8_t key[LOGIN_KEY], uint64_t now)
{
    struct login_settings set;
    uint32_t rounds;

    logins_settings(l, &set, &rounds);
    keep(sh, key, NULL, now + set.failure_ms, kept_max(&set));
    return LOGIN_REFUSED;
}

/* *ret_start: a flight was made, and nobody looks yet. */
static enum login_answer look_up(struct logins *l, struct login_shard *sh,
                                 const uint8_t key[LOGIN_KEY], const struct login_request *r,
                                 struct session **ret_session, struct login_waiter **ret_waiter,
                                 bool *ret_start, bool *ret_renews)
{
    uint64_t now = clock_mono_ms(l->clock);
    struct login_kept *k = kept_find(sh, key, now);
    struct login_flight *f;

    if (k) {
        login_count(&l->hits, 1);
        if (!k->session)
            return LOGIN_REFUSED;
        DL_DELETE(sh->order[1], k);
        DL_APPEND(sh->order[1], k);
        *ret_start = *ret_renews = renews(sh, k, now);
        *ret_session = session_ref(k->session);
        return LOGIN_OK;
    }
    HASH_FIND(hh, sh->flights, key, LOGIN_KEY, f);
    if (f) {
        login_count(&l->waits, 1);
    } else {
        if (login_is_throttled(l, r))
            return LOGIN_BUSY;
        if (login_is_hopeless(l, r))
            return refuse_hopeless(l, sh, key, now);
        f = flight_new(sh, key);
        if (!f)
            return LOGIN_BUSY;
        *ret_start = true;
    }
    *ret_waiter = waiter_new(sh, f, r);
    return *ret_waiter ? LOGIN_WAIT : LOGIN_BUSY;
}

enum login_answer logins_ask(struct logins *l, const struct login_request *r,
                             struct session **ret_session, struct login_waiter **ret_waiter)
{
    uint8_t key[LOGIN_KEY];
    bool start = false, renewing = false;

    *ret_waiter = NULL;
    if (key_make(l, r->token, r->only, key) != OK)
        return LOGIN_BUSY;
    struct login_shard *sh = shard_of(l, key);

    (void)pthread_mutex_lock(&sh->lock);
    enum login_answer answer = look_up(l, sh, key, r, ret_session, ret_waiter, &start, &renewing);

    (void)pthread_mutex_unlock(&sh->lock);
    if (!start)
        return answer;
    enum err e = login_job_start(l, r, key, renewing);

    if (e) /* those that wait by now hear of it as of any other end */
        logins_land(l, key, LOGIN_BUSY, NULL, logins_generation(l));
    return answer;
}

/* ---- what is in force ---- */

void logins_settings(struct logins *l, struct login_settings *ret, uint32_t *ret_rounds)
{
    (void)pthread_mutex_lock(&l->lock);
    *ret = l->set;
    *ret_rounds = l->rounds;
    (void)pthread_mutex_unlock(&l->lock);
}

uint64_t logins_session_ms(struct logins *l)
{
    struct login_settings set;
    uint32_t rounds;

    logins_settings(l, &set, &rounds);
    return set.session_ms;
}

/* One after the other, as a bucket that leaks. */
uint64_t logins_hold_ms(struct logins *l)
{
    uint64_t now = clock_mono_us(l->clock);

    (void)pthread_mutex_lock(&l->lock);
    uint64_t hold = l->set.hold_ms * 1000, at = l->let_go_us + hold / HOLD_CROWD;

    if (at < now + hold)
        at = now + hold;
    if (at > now + HOLD_MAX_US)
        at = now + HOLD_MAX_US;
    l->let_go_us = at;
    (void)pthread_mutex_unlock(&l->lock);
    if (at > now)
        login_count(&l->held, 1);
    return (at - now + 999) / 1000; /* not a moment less */
}

struct tenants *logins_tenants(struct logins *l, uint64_t *ret_generation)
{
    (void)pthread_mutex_lock(&l->lock);
    struct tenants *t = l->tenants ? tenants_ref(l->tenants) : NULL;

    if (ret_generation)
        *ret_generation = l->generation;

    (void)pthread_mutex_unlock(&l->lock);
    return t;
}

uint64_t logins_generation(struct logins *l)
{
    (void)pthread_mutex_lock(&l->lock);
    uint64_t generation = l->generation;

    (void)pthread_mutex_unlock(&l->lock);
    return generation;
}

static uint32_t slowest(const struct tenants *t, uint32_t rounds)
{
    for (size_t i = 0; t && i < tenants_credentials(t); i++)
        if (tenants_credential_at(t, i)->rounds > rounds)
            rounds = tenants_credential_at(t, i)->rounds;
    return rounds;
}

/* |t| NULL: as before. */
static void put_in_force(struct logins *l, const struct login_settings *set, struct tenants *t)
{
    struct tenants *old = NULL;

    (void)pthread_mutex_lock(&l->lock);
    if (set)
        l->set = *set;
    if (t) {
        old = l->tenants;
        l->tenants = tenants_ref(t);
        l->generation++;
    }
    l->rounds = slowest(l->tenants, l->set.rounds);
    (void)pthread_mutex_unlock(&l->lock);
    tenants_unref(old);
}

void logins_set(struct logins *l, const struct login_settings *set)
{
    put_in_force(l, set, NULL);
}

/* A failure may be right from now on. */
static void sort_out(struct login_shard *sh, const struct tenants *t)
{
    struct login_kept *k, *next;

    while (sh->order[0])
        kept_drop(sh, sh->order[0]);
    DL_FOREACH_SAFE(sh->order[1], k, next)
    {
        if (is_current(k->session, t))
            continue;
        session_end(k->session);
        kept_drop(sh, k);
    }
}

/* Those that a renewal replaced, or that were pushed out, are still in use on connections. */
static void end_strays(struct logins *l, const struct tenants *t)
{
    (void)pthread_mutex_lock(&l->ids_lock);
    for (struct session *s = l->ids; s; s = s->hh.next)
        if (!is_current(s, t))
            session_end(s);
    (void)pthread_mutex_unlock(&l->ids_lock);
}

void logins_set_tenants(struct logins *l, struct tenants *t)
{
    put_in_force(l, NULL, t);
    for (unsigned i = 0; i < LOGIN_SHARDS; i++) {
        (void)pthread_mutex_lock(&l->shards[i].lock);
        sort_out(&l->shards[i], t);
        (void)pthread_mutex_unlock(&l->shards[i].lock);
    }
    end_strays(l, t);
}

void logins_sweep(struct logins *l)
{
    uint64_t now = clock_mono_ms(l->clock);
    struct login_kept *k, *next;

    for (unsigned i = 0; i < LOGIN_SHARDS; i++) {
        struct login_shard *sh = &l->shards[i];

        (void)pthread_mutex_lock(&sh->lock);
        HASH_ITER (hh, sh->by_key, k, next)
            if (k->session ? !session_is_live(k->session, now) : k->until_ms <= now)
                kept_drop(sh, k);
        (void)pthread_mutex_unlock(&sh->lock);
    }
}

/* ---- start and end ---- */

enum err logins_new(const struct logins_source *src, struct logins **ret)
{
    struct logins *l = calloc(1, sizeof *l);

    if (!l)
        return ERR_NOMEM;
    l->clock = src->clock;
    l->set = *src->set;
    l->rounds = src->set->rounds;
    l->upgrade = src->upgrade;
    l->upgrade_arg = src->arg;
    (void)pthread_mutex_init(&l->lock, NULL);
    (void)pthread_mutex_init(&l->ids_lock, NULL);
    for (unsigned i = 0; i < LOGIN_SHARDS; i++)
        (void)pthread_mutex_init(&l->shards[i].lock, NULL);
    enum err e = mac_new(&l->mac);

    if (e == OK)
        e = passwords_new(src->set->threads, src->set->queue_max, &l->pool);
    if (e) {
        logins_free(l);
        return e;
    }
    *ret = l;
    return OK;
}

void logins_stop(struct logins *l)
{
    passwords_free(l->pool);
    l->pool = NULL;
}

void logins_free(struct logins *l)
{
    if (!l)
        return;
    logins_stop(l);
    for (unsigned i = 0; i < LOGIN_SHARDS; i++) {
        struct login_shard *sh = &l->shards[i];

        for (unsigned k = 0; k < 2; k++)
            while (sh->order[k])
                kept_drop(sh, sh->order[k]);
        (void)pthread_mutex_destroy(&sh->lock);
    }
    tenants_unref(l->tenants);
    EVP_MAC_CTX_free(l->mac);
    (void)pthread_mutex_destroy(&l->ids_lock);
    (void)pthread_mutex_destroy(&l->lock);
    free(l);
}

static uint64_t counted(const _Atomic uint64_t *c)
{
    return atomic_load_explicit(c, memory_order_relaxed);
}

void logins_count(struct logins *l, struct logins_counts *ret)
{
    struct passwords_counts pool = {0};

    if (l->pool)
        passwords_count(l->pool, &pool);
    *ret = (struct logins_counts){
        .waiting = pool.waiting + pool.running,
        .hits = counted(&l->hits),
        .misses = counted(&l->misses),
        .waits = counted(&l->waits),
        .verified = counted(&l->verified),
        .derived = counted(&l->derived),
        .rounds = counted(&l->rounds_done),
        .upgraded = counted(&l->upgraded),
        .renewed = counted(&l->renewed),
        .refused = counted(&l->refused),
        .throttled = counted(&l->throttled),
        .held = counted(&l->held),
        .ended = counted(&l->n_ended),
        .queue_full = pool.refused,
    };
    for (unsigned i = 0; i < LOGIN_SHARDS; i++) {
        (void)pthread_mutex_lock(&l->shards[i].lock);
        ret->failures += l->shards[i].n[0];
        ret->sessions += l->shards[i].n[1];
        (void)pthread_mutex_unlock(&l->shards[i].lock);
    }
}
