/* SPDX-License-Identifier: Apache-2.0 */
/* A shard has two maps: verdicts that are kept, least recently used first out, and flights, keys
 * that somebody scans right now with those that wait for it.
 *
 * How a waiter stays safe. A waiter is in its flight's list until done() or give_up() takes it out
 * and posts its task, both under the shard's lock. Its owner cancels on the loop where the task
 * runs, so exactly one of two things is true then: it is in the list, and goes at once; or its task
 * is in the mailbox, and will find |ready| NULL and free it. Only that thread reads and writes
 * |ready|. Cancelling and the task itself both pass through the lock, so when either is over, the
 * thread that posts has left loop_post(): the loop may be freed. */
#include "adapt/verdict_cache.h"

#include <assert.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base/arena.h"
#include "base/map.h"

#define SHARDS 16u
/* Of an entry, beside itself: malloc's head and the map's bucket. */
#define ENTRY_OVERHEAD 32u

/* A verdict, dense: the texts of |scan_result| back to back, each with its NUL. Counted: a receiver
 * unfolds it outside of the lock. Immutable but for what the shard's lock guards. */
struct kept {
    _Atomic unsigned refs;
    unsigned n_findings;
    enum verdict verdict;
    enum cause cause;
    unsigned also;
    enum err err;
    uint32_t n_objects;
    uint32_t pages;
    bool incomplete;
    uint64_t scan_us;
    struct object_table *objects;
    size_t bytes; /* that it counts for */
    /* The shard's: */
    struct verdict_key key;
    uint64_t since_ms;
    struct kept *prev, *next; /* by use, oldest first; |next| also strings what is to be freed */
    UT_hash_handle hh;
    char texts[];
};

struct verdict_waiter {
    struct task task;
    struct verdict_waiter *prev, *next;
    struct verdict_cache *cache;
    struct shard *shard;
    struct flight *flight; /* guarded by the lock; NULL: the task is posted */
    struct loop *loop;
    verdict_ready_fn ready; /* the loop's thread only; NULL: cancelled */
    void *arg;
    struct kept *value; /* with a reference; NULL: the leader gave up */
};

struct flight {
    struct verdict_key key;
    struct verdict_waiter *waiters;
    UT_hash_handle hh;
};

struct shard {
    _Alignas(64) pthread_mutex_t lock;
    struct kept *map;
    struct kept *used; /* oldest first */
    struct flight *flights;
    struct verdict_cache_counts counts;
};

struct verdict_cache {
    struct shard *shards;
    _Atomic uint64_t shard_max; /* bytes */
    _Atomic uint64_t ttl_ms;
    _Atomic uint64_t waiters; /* that are not freed yet */
};

/* ---- keys ---- */

static bool digest_parts(EVP_MD_CTX *sha, const struct span *parts, unsigned n,
                         uint8_t ret[VERDICT_KEY_LEN])
{
    if (EVP_DigestInit_ex(sha, EVP_sha256(), NULL) != 1)
        return false;
    for (unsigned i = 0; i < n; i++) {
        uint8_t len[8];

        for (unsigned b = 0; b < 8; b++)
            len[b] = (uint8_t)((uint64_t)parts[i].n >> (56 - 8 * b));
        if (EVP_DigestUpdate(sha, len, sizeof len) != 1 ||
            EVP_DigestUpdate(sha, parts[i].p, parts[i].n) != 1)
            return false;
    }
    return EVP_DigestFinal_ex(sha, ret, NULL) == 1;
}

enum err verdict_key_make(const struct span *parts, unsigned n, struct verdict_key *ret)
{
    EVP_MD_CTX *sha = mem_fail_now() ? NULL : EVP_MD_CTX_new();
    uint8_t bytes[VERDICT_KEY_LEN];
    bool done = sha && digest_parts(sha, parts, n, bytes);

    EVP_MD_CTX_free(sha);
    if (!done)
        return ERR_NOMEM;
    memcpy(ret->bytes, bytes, sizeof bytes);
    return OK;
}

/* ---- dense verdicts ---- */

struct texts {
    char *p;
    size_t n;
};

/* Counts when |t->p| is NULL. */
static void text_add(struct texts *t, const char *text, size_t cap)
{
    size_t n = strnlen(text, cap - 1);

    if (t->p) {
        memcpy(t->p + t->n, text, n);
        t->p[t->n + n] = '\0';
    }
    t->n += n + 1;
}

static void texts_add(struct texts *t, const struct scan_result *r, unsigned n_findings)
{
    text_add(t, r->why, sizeof r->why);
    text_add(t, r->sniffed, sizeof r->sniffed);
    for (unsigned i = 0; i < n_findings; i++) {
        const struct finding *f = &r->findings[i];

        text_add(t, f->note ? "n" : "", 2);
        text_add(t, f->engine, sizeof f->engine);
        text_add(t, f->name, sizeof f->name);
        text_add(t, f->where, sizeof f->where);
    }
}

/* NULL when out of memory. One reference, the caller's. */
static struct kept *kept_new(const struct verdict_key *key, const struct verdict_cache_value *v)
{
    const struct scan_result *r = &v->result;
    unsigned n_findings = r->n_findings < FINDINGS_MAX ? r->n_findings : FINDINGS_MAX;
    struct texts t = {0};

    texts_add(&t, r, n_findings);
    size_t size = sizeof(struct kept) + t.n;
    struct kept *k = mem_fail_now() ? NULL : malloc(size);

    if (!k)
        return NULL;
    *k = (struct kept){
        .n_findings = n_findings,
        .verdict = r->verdict,
        .cause = r->cause,
        .also = r->also,
        .err = r->err,
        .n_objects = r->n_objects,
        .pages = r->pages,
        .incomplete = r->incomplete,
        .scan_us = r->scan_us,
        .objects = object_table_ref(v->objects),
        .key = *key,
        .bytes = size + ENTRY_OVERHEAD + (v->objects ? sizeof *v->objects + v->objects->len : 0),
    };
    atomic_init(&k->refs, 1);
    t = (struct texts){.p = k->texts};
    texts_add(&t, r, n_findings);
    return k;
}

static struct kept *kept_ref(struct kept *k)
{
    atomic_fetch_add_explicit(&k->refs, 1, memory_order_relaxed);
    return k;
}

static void kept_unref(struct kept *k)
{
    if (!k || atomic_fetch_sub_explicit(&k->refs, 1, memory_order_acq_rel) != 1)
        return;
    object_table_unref(k->objects);
    free(k);
}

/* What evicting strung together under the lock. */
static void kept_unref_all(struct kept *list)
{
    while (list) {
        struct kept *next = list->next;

        kept_unref(list);
        list = next;
    }
}

static const char *text_take(const char *p, char *dst, size_t cap)
{
    size_t n = strlen(p);

    (void)span_copy((struct span){p, n}, dst, cap);
    return p + n + 1;
}

/* |objects| is borrowed. */
static void kept_unfold(const struct kept *k, struct verdict_cache_value *ret)
{
    struct scan_result *r = &ret->result;
    const char *p = k->texts;

    *ret = (struct verdict_cache_value){
        .result = {.verdict = k->verdict,
                   .cause = k->cause,
                   .also = k->also,
                   .err = k->err,
                   .n_findings = k->n_findings,
                   .n_objects = k->n_objects,
                   .pages = k->pages,
                   .incomplete = k->incomplete,
                   .scan_us = k->scan_us},
        .objects = k->objects,
    };
    p = text_take(p, r->why, sizeof r->why);
    p = text_take(p, r->sniffed, sizeof r->sniffed);
    for (unsigned i = 0; i < k->n_findings; i++) {
        struct finding *f = &r->findings[i];

        f->note = *p != '\0';
        p += f->note ? 2 : 1;
        p = text_take(p, f->engine, sizeof f->engine);
        p = text_take(p, f->name, sizeof f->name);
        p = text_take(p, f->where, sizeof f->where);
    }
}

/* ---- what is kept (under the lock) ---- */

static struct shard *shard_lock(const struct verdict_cache *c, const struct verdict_key *key)
{
    struct shard *s = &c->shards[key->bytes[0] % SHARDS];

    (void)pthread_mutex_lock(&s->lock);
    return s;
}

static void shard_unlock(struct shard *s)
{
    (void)pthread_mutex_unlock(&s->lock);
}

/* Out of the shard and onto |*gone|, with the shard's reference. */
static void kept_remove(struct shard *s, struct kept *k, struct kept **gone)
{
    HASH_DEL(s->map, k);
    DL_DELETE(s->used, k);
    s->counts.entries--;
    s->counts.bytes -= k->bytes;
    k->next = *gone;
    *gone = k;
}

static void evict_over(struct shard *s, uint64_t max, struct kept **gone)
{
    while (s->used && s->counts.bytes > max) {
        kept_remove(s, s->used, gone);
        s->counts.evicted++;
    }
}

/* Loops read their clocks at different moments: an entry may seem to come from the future. */
static bool is_expired(const struct kept *k, uint64_t now_ms, uint64_t ttl_ms)
{
    return now_ms > k->since_ms && now_ms - k->since_ms > ttl_ms;
}

static struct kept *find_fresh(struct shard *s, const struct verdict_key *key, uint64_t now_ms,
                               uint64_t ttl_ms, struct kept **gone)
{
    struct kept *k = NULL;

    HASH_FIND(hh, s->map, key->bytes, VERDICT_KEY_LEN, k);
    if (!k)
        return NULL;
    if (is_expired(k, now_ms, ttl_ms)) {
        kept_remove(s, k, gone);
        s->counts.expired++;
        return NULL;
    }
    DL_DELETE(s->used, k);
    DL_APPEND(s->used, k);
    return k;
}

/* Takes the caller's reference. */
static void kept_store(struct shard *s, struct kept *k, uint64_t now_ms, uint64_t max,
                       struct kept **gone)
{
    struct kept *old = NULL;

    HASH_FIND(hh, s->map, k->key.bytes, VERDICT_KEY_LEN, old);
    if (old)
        kept_remove(s, old, gone);
    if (k->bytes <= max)
        HASH_ADD(hh, s->map, key.bytes, VERDICT_KEY_LEN, k);
    if (!k->hh.tbl) { /* too large for us, or no memory for the map */
        k->next = *gone;
        *gone = k;
        return;
    }
    k->since_ms = now_ms;
    DL_APPEND(s->used, k);
    s->counts.entries++;
    s->counts.bytes += k->bytes;
    evict_over(s, max, gone);
}

/* What is true of the file, and will be when it comes again. */
#define LASTING \
    (1u << CAUSE_INFECTED | 1u << CAUSE_DENIED | 1u << CAUSE_NOT_INSPECTED | 1u << CAUSE_TOO_LARGE)

/* Whatever the caller says: an accident is no verdict on the file. */
static bool may_keep(const struct scan_result *r)
{
    if (r->also & ~LASTING)
        return false;
    switch (r->verdict) {
    case VERDICT_PASS: return r->cause == CAUSE_NONE && r->err == OK;
    case VERDICT_BLOCK: return r->cause == CAUSE_INFECTED || r->cause == CAUSE_DENIED;
    case VERDICT_NOT_INSPECTED:
        return r->cause == CAUSE_NOT_INSPECTED || r->cause == CAUSE_TOO_LARGE;
    case VERDICT_CHANGED:
    case VERDICT_ERROR: break;
    }
    return false;
}

/* ---- waiters ---- */

static void waiter_free(struct verdict_waiter *w)
{
    atomic_fetch_sub_explicit(&w->cache->waiters, 1, memory_order_release);
    free(w);
}

static void waiter_run(struct task *t)
{
    struct verdict_waiter *w = CONTAINER_OF(t, struct verdict_waiter, task);
    verdict_ready_fn ready = w->ready;
    struct kept *k = w->value;
    void *arg = w->arg;
    struct verdict_cache_value value;

    /* Whoever posted us holds it until it has left our loop alone. */
    (void)pthread_mutex_lock(&w->shard->lock);
    shard_unlock(w->shard);
    waiter_free(w);
    if (ready && k) {
        kept_unfold(k, &value);
        ready(arg, &value);
    } else if (ready) {
        ready(arg, NULL);
    }
    kept_unref(k);
}

/* Under the lock. */
static struct verdict_waiter *waiter_new(struct verdict_cache *c, struct shard *s, struct flight *f)
{
    struct verdict_waiter *w = mem_fail_now() ? NULL : malloc(sizeof *w);

    if (!w)
        return NULL;
    *w = (struct verdict_waiter){
        .task = {.run = waiter_run},
        .cache = c,
        .shard = s,
        .flight = f,
    };
    atomic_fetch_add_explicit(&c->waiters, 1, memory_order_relaxed);
    DL_APPEND(f->waiters, w);
    return w;
}

void verdict_cache_cancel(struct verdict_waiter *w)
{
    bool waits;

    if (!w)
        return;
    (void)pthread_mutex_lock(&w->shard->lock);
    waits = w->flight != NULL;
    if (waits)
        DL_DELETE(w->flight->waiters, w);
    shard_unlock(w->shard);
    w->ready = NULL;
    if (waits)
        waiter_free(w);
}

/* ---- flights (under the lock) ---- */

static struct flight *flight_find(struct shard *s, const struct verdict_key *key)
{
    struct flight *f = NULL;

    HASH_FIND(hh, s->flights, key->bytes, VERDICT_KEY_LEN, f);
    return f;
}

static bool flight_begin(struct shard *s, const struct verdict_key *key)
{
    struct flight *f = mem_fail_now() ? NULL : calloc(1, sizeof *f);

    if (!f)
        return false;
    f->key = *key;
    HASH_ADD(hh, s->flights, key.bytes, VERDICT_KEY_LEN, f);
    if (!f->hh.tbl) {
        free(f);
        return false;
    }
    return true;
}

/* |value| NULL: they shall ask again. */
static void flight_end(struct shard *s, const struct verdict_key *key, struct kept *value)
{
    struct flight *f = flight_find(s, key);

    if (!f)
        return;
    HASH_DEL(s->flights, f);
    while (f->waiters) {
        struct verdict_waiter *w = f->waiters;

        DL_DELETE(f->waiters, w);
        w->flight = NULL;
        w->value = value ? kept_ref(value) : NULL;
        loop_post(w->loop, &w->task);
    }
    free(f);
}

/* ---- the cache ---- */

enum err verdict_cache_new(uint64_t bytes_max, uint64_t ttl_ms, struct verdict_cache **ret)
{
    struct verdict_cache *c = mem_fail_now() ? NULL : calloc(1, sizeof *c);
    struct shard *shards =
        mem_fail_now() ? NULL : aligned_alloc(_Alignof(struct shard), SHARDS * sizeof *shards);

    if (!c || !shards) {
        free(c);
        free(shards);
        return ERR_NOMEM;
    }
    memset(shards, 0, SHARDS * sizeof *shards);
    for (unsigned i = 0; i < SHARDS; i++)
        (void)pthread_mutex_init(&shards[i].lock, NULL);
    c->shards = shards;
    atomic_init(&c->shard_max, bytes_max / SHARDS);
    atomic_init(&c->ttl_ms, ttl_ms);
    *ret = c;
    return OK;
}

void verdict_cache_free(struct verdict_cache *c)
{
    struct kept *gone = NULL;

    if (!c)
        return;
    assert(atomic_load_explicit(&c->waiters, memory_order_acquire) == 0);
    for (unsigned i = 0; i < SHARDS; i++) {
        struct shard *s = &c->shards[i];
        struct flight *f, *next;

        while (s->used)
            kept_remove(s, s->used, &gone);
        HASH_ITER (hh, s->flights, f, next) {
            HASH_DEL(s->flights, f);
            free(f);
        }
        (void)pthread_mutex_destroy(&s->lock);
    }
    kept_unref_all(gone);
    free(c->shards);
    free(c);
}

void verdict_cache_set_limits(struct verdict_cache *c, uint64_t bytes_max, uint64_t ttl_ms)
{
    struct kept *gone = NULL;

    atomic_store_explicit(&c->ttl_ms, ttl_ms, memory_order_relaxed);
    atomic_store_explicit(&c->shard_max, bytes_max / SHARDS, memory_order_relaxed);
    for (unsigned i = 0; i < SHARDS; i++) {
        (void)pthread_mutex_lock(&c->shards[i].lock);
        evict_over(&c->shards[i], bytes_max / SHARDS, &gone);
        shard_unlock(&c->shards[i]);
    }
    kept_unref_all(gone);
}

static enum verdict_cache_answer wait_or_lead(struct verdict_cache *c, struct shard *s,
                                              const struct verdict_key *key,
                                              struct verdict_waiter **ret)
{
    struct flight *f = flight_find(s, key);

    if (!f) {
        s->counts.misses++;
        return flight_begin(s, key) ? VERDICT_CACHE_MINE : VERDICT_CACHE_NONE;
    }
    *ret = waiter_new(c, s, f);
    if (!*ret) {
        s->counts.misses++;
        return VERDICT_CACHE_NONE;
    }
    s->counts.waits++;
    return VERDICT_CACHE_WAIT;
}

enum verdict_cache_answer verdict_cache_ask(struct verdict_cache *c, const struct verdict_key *key,
                                            struct loop *loop, verdict_ready_fn ready, void *arg,
                                            struct verdict_waiter **ret_waiter,
                                            struct verdict_cache_value *ret_value)
{
    uint64_t ttl_ms = atomic_load_explicit(&c->ttl_ms, memory_order_relaxed);
    enum verdict_cache_answer answer = VERDICT_CACHE_HIT;
    struct verdict_waiter *w = NULL;
    struct kept *gone = NULL;
    struct shard *s = shard_lock(c, key);
    struct kept *k = find_fresh(s, key, loop_now_ms(loop), ttl_ms, &gone);

    if (k) {
        (void)kept_ref(k);
        s->counts.hits++;
    } else {
        answer = wait_or_lead(c, s, key, &w);
    }
    if (w) { /* before the lock goes: then another thread may post it */
        w->loop = loop;
        w->ready = ready;
        w->arg = arg;
        *ret_waiter = w;
    }
    shard_unlock(s);
    kept_unref_all(gone);
    if (k) {
        kept_unfold(k, ret_value);
        (void)object_table_ref(ret_value->objects);
        kept_unref(k);
    }
    return answer;
}

void verdict_cache_done(struct verdict_cache *c, const struct verdict_key *key, uint64_t now_ms,
                        const struct verdict_cache_value *value, bool keep)
{
    /* Without memory those that wait ask again: one of them scans it, with more luck. */
    struct kept *k = kept_new(key, value), *gone = NULL;
    struct shard *s = shard_lock(c, key);
    /* Under the lock: what is kept after a change of limits obeys them. */
    uint64_t max = atomic_load_explicit(&c->shard_max, memory_order_relaxed);

    flight_end(s, key, k);
    if (k && keep && may_keep(&value->result))
        kept_store(s, kept_ref(k), now_ms, max, &gone);
    shard_unlock(s);
    kept_unref_all(gone);
    kept_unref(k);
}

void verdict_cache_give_up(struct verdict_cache *c, const struct verdict_key *key)
{
    struct shard *s = shard_lock(c, key);

    flight_end(s, key, NULL);
    shard_unlock(s);
}

void verdict_cache_count(const struct verdict_cache *c, struct verdict_cache_counts *ret)
{
    struct verdict_cache_counts sum = {0};

    for (unsigned i = 0; i < SHARDS; i++) {
        struct shard *s = &c->shards[i];

        (void)pthread_mutex_lock(&s->lock);
        sum.hits += s->counts.hits;
        sum.misses += s->counts.misses;
        sum.waits += s->counts.waits;
        sum.evicted += s->counts.evicted;
        sum.expired += s->counts.expired;
        sum.entries += s->counts.entries;
        sum.bytes += s->counts.bytes;
        shard_unlock(s);
    }
    *ret = sum;
}
