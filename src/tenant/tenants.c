/* SPDX-License-Identifier: Apache-2.0 */
#include "tenant/tenants.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>

#include <jansson.h>

#include "base/arena.h"
#include "base/map.h"
#include "http/digest_params.h"
#include "tenant/record_int.h"

/* ---- rows ---- */

bool tenant_name_is_valid(struct span name)
{
    for (size_t i = 0; i < name.n; i++) {
        char c = char_lower(name.p[i]);
        bool alnum = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');

        if (!alnum && (i == 0 || (c != '-' && c != '_' && c != '.')))
            return false;
    }
    return name.n > 0 && name.n <= CREDENTIAL_TENANT_MAX;
}

static const char *valid_name(struct span text)
{
    return tenant_name_is_valid(text)
               ? NULL
               : "be letters, digits, '-', '_' and '.', and begin with a letter or digit";
}

static const char *valid_certificate(struct span text)
{
    sallyport_want *want = NULL;
    char *z = span_dup(text);
    bool ok = z && sallyport_want_new(&want) == 0 && sallyport_want_peer_text(want, z) == 0;

    sallyport_want_free(want);
    free(z);
    return ok ? NULL
              : "be dns:NAME (or dns:*.DOMAIN), uri:URI (or uri:URI/*), email:ADDRESS, ip:ADDRESS, "
                "dn:SUBJECT or key:SHA-256";
}

static const struct config_row tenant_rows[] = {
    CONFIG_STRING("name", struct tenant_settings, name, .required = true, .min = 1,
                  .max = CREDENTIAL_TENANT_MAX, .valid = valid_name,
                  .help = "What it is called in records, in metrics and by `sallyport tenant`. "
                          "Another name is another tenant."),
    CONFIG_STRINGS("certificates", struct tenant_settings, certificates,
                   .max = SALLYPORT_WANT_PEERS_MAX, .valid = valid_certificate,
                   .help = "Client certificates that are this tenant's, by whole names as in a "
                           "listener's peers. No two tenants may name the same one; a "
                           "certificate that several match is nobody's."),
    CONFIG_COUNT("connections", struct tenant_settings, limits.connections, .max = 1000000,
                 .fallback = "unlimited", .zero = "unlimited",
                 .help = "Connections that it may have open at once."),
    CONFIG_COUNT("requests-per-second", struct tenant_settings, limits.requests, .max = 1000000,
                 .fallback = "unlimited", .zero = "unlimited",
                 .help = "Requests that it may make in a second; twice as many may come at once."),
    CONFIG_SIZE("bytes-per-second", struct tenant_settings, limits.bytes, .max = UINT64_C(1) << 44,
                .fallback = "unlimited", .zero = "unlimited",
                .help = "Bytes of requests that are read from it in a second; twice as many may "
                        "come at once."),
    CONFIG_COUNT("scans", struct tenant_settings, limits.scans, .max = 100000,
                 .fallback = "unlimited", .zero = "unlimited",
                 .help = "Files of it that may be inspected at the same time."),
};
const struct config_block tenant_block = CONFIG_ROWS(
    struct tenant_settings, tenant_rows,
    .help = "Customers that share the gateway and must not notice each other. Users and their "
            "passwords are not here: `sallyport tenant` keeps them. A tenant that it made and "
            "that has no entry here has these defaults.");

/* Of those that are in the store alone. */
static const struct tenant_settings no_row;

/* ---- records ---- */

void tenant_record_format(const struct tenant_record *r, struct buf *out)
{
    struct json j = json_to(out);

    json_open(&j, NULL, '{');
    record_hex(&j, "key", r->key, sizeof r->key);
    json_bool(&j, "disabled", r->disabled);
    record_time(&j, "created", r->created_wall_ms);
    json_close(&j, '}');
}

static enum err read_members(const json_t *object, struct tenant_record *r)
{
    TRY(record_read_hex(object, "key", r->key, sizeof r->key));
    TRY(record_read_bool(object, "disabled", &r->disabled));
    return record_read_time(object, "created", &r->created_wall_ms);
}

enum err tenant_record_parse(struct span name, struct span text, struct tenant_record *ret)
{
    struct tenant_record r = {0};
    json_t *object = NULL;

    if (!tenant_name_is_valid(name))
        return ERR_PROTO;
    TRY(record_load(text, 3, NULL, &object));
    (void)span_copy(name, r.name, sizeof r.name);
    enum err e = read_members(object, &r);

    json_decref(object);
    if (!e)
        *ret = r;
    OPENSSL_cleanse(&r, sizeof r);
    return e;
}

/* ---- the set ---- */

struct tenant_entry {
    UT_hash_handle hh;
    struct tenant tenant;
    char name[CREDENTIAL_TENANT_MAX + 1];
};

struct user_entry {
    UT_hash_handle hh;
    struct credential credential;
    const struct tenant *tenant; /* an entry's */
};

/* H(user ":" realm), with each hash function of which something is kept. */
struct userhash_entry {
    UT_hash_handle hh;
    struct digest_hex hash;
    const struct user_entry *user;
};

struct tenants {
    _Atomic unsigned refs;
    struct tenant_entry *entries, *by_name;
    size_t n;
    struct user_entry *users, *by_user;
    size_t n_users;
    struct userhash_entry *userhashes, *by_userhash;
    size_t n_userhashes;
    void (*release)(void *owner);
    void *owner;
};

/* Rows by name, while a set is made: there may be as many as records. */
struct row_entry {
    UT_hash_handle hh;
    const struct tenant_settings *row;
};

struct rows {
    struct row_entry *v, *by_name;
};

static enum err rows_init(const struct tenants_source *src, struct rows *ret)
{
    *ret = (struct rows){.v = calloc(src->n_rows + 1, sizeof *ret->v)};
    if (!ret->v)
        return ERR_NOMEM;
    for (size_t i = 0; i < src->n_rows; i++) {
        struct row_entry *e = &ret->v[i];

        e->row = &src->rows[i];
        HASH_ADD_KEYPTR(hh, ret->by_name, e->row->name, strlen(e->row->name), e);
        if (!e->hh.tbl)
            return ERR_NOMEM;
    }
    return OK;
}

static void rows_done(struct rows *r)
{
    HASH_CLEAR(hh, r->by_name);
    free(r->v);
}

static const struct tenant_settings *row_of(const struct rows *r, struct span name)
{
    struct row_entry *e = NULL;

    HASH_FIND(hh, r->by_name, name.p, name.n, e);
    return e ? e->row : &no_row;
}

static uint64_t client_of(struct span name)
{
    uint64_t h = map_hash(name.p, name.n);

    return h ? h : 1;
}

static enum err add_tenant(struct tenants *t, const struct tenants_source *src,
                           const struct rows *rows, const struct tenant_record *r)
{
    struct tenant_entry *e = &t->entries[t->n];
    struct span name = span_of(r->name);

    if (tenants_find(t, name))
        return OK;
    (void)span_copy(name, e->name, sizeof e->name);
    e->tenant = (struct tenant){.name = e->name,
                                .disabled = r->disabled,
                                .client = client_of(name),
                                .set = row_of(rows, name)};
    memcpy(e->tenant.key, r->key, sizeof r->key);
    t->n++;
    HASH_ADD_KEYPTR(hh, t->by_name, e->name, name.n, e);
    if (!e->hh.tbl)
        return ERR_NOMEM;
    if (!src->quotas)
        return OK;
    e->tenant.quota = quotas_get(src->quotas, name, NULL);
    return e->tenant.quota ? OK : ERR_NOMEM;
}

static enum err add_user(struct tenants *t, const struct credential *c)
{
    struct user_entry *u = &t->users[t->n_users];
    const struct tenant *tenant = tenants_find(t, span_of(c->tenant));

    if (!tenant || tenants_credential(t, span_of(c->user)))
        return OK;
    u->credential = *c;
    u->tenant = tenant;
    t->n_users++;
    HASH_ADD_KEYPTR(hh, t->by_user, u->credential.user, strlen(u->credential.user), u);
    return u->hh.tbl ? OK : ERR_NOMEM;
}

static enum err add_tenants(struct tenants *t, const struct tenants_source *src)
{
    struct rows rows;
    enum err e = rows_init(src, &rows);

    for (size_t i = 0; i < src->n_records && !e; i++)
        e = add_tenant(t, src, &rows, &src->records[i]);
    rows_done(&rows);
    return e;
}

static enum err add_userhash(struct tenants *t, const struct user_entry *u, enum digest_alg alg)
{
    struct userhash_entry *e = &t->userhashes[t->n_userhashes];
    const struct credential *c = &u->credential;

    if (!digest_verifier_ha1(&c->digest, alg))
        return OK;
    if (digest_userhash(alg, span_of(c->user), span_of(c->digest.realm), &e->hash) != DIGEST_OK)
        return alg == DIGEST_MD5 ? OK : ERR_NOMEM; /* a FIPS provider has no MD5: nobody asks */
    e->user = u;
    t->n_userhashes++;
    HASH_ADD_KEYPTR(hh, t->by_userhash, e->hash.text, e->hash.n, e);
    return e->hh.tbl ? OK : ERR_NOMEM;
}

static enum err add_userhashes(struct tenants *t)
{
    size_t n = 0;

    for (size_t i = 0; i < t->n_users; i++)
        if (digest_verifier_is_kept(&t->users[i].credential.digest))
            n += DIGEST_VERIFIER_ALGS;
    if (n == 0)
        return OK;
    t->userhashes = mem_fail_now() ? NULL : calloc(n, sizeof *t->userhashes);
    if (!t->userhashes)
        return ERR_NOMEM;
    for (size_t i = 0; i < t->n_users; i++)
        for (size_t a = 0; a < DIGEST_VERIFIER_ALGS; a++)
            TRY(add_userhash(t, &t->users[i], digest_verifier_algs[a]));
    return OK;
}

static enum err fill(struct tenants *t, const struct tenants_source *src)
{
    t->entries = calloc(src->n_records + 1, sizeof *t->entries);
    t->users = calloc(src->n_credentials + 1, sizeof *t->users);
    if (!t->entries || !t->users)
        return ERR_NOMEM;
    TRY(add_tenants(t, src));
    for (size_t i = 0; i < src->n_credentials; i++)
        TRY(add_user(t, &src->credentials[i]));
    return add_userhashes(t);
}

static void set_free(struct tenants *t)
{
    HASH_CLEAR(hh, t->by_name);
    HASH_CLEAR(hh, t->by_user);
    HASH_CLEAR(hh, t->by_userhash);
    if (t->entries)
        OPENSSL_cleanse(t->entries, t->n * sizeof *t->entries);
    if (t->users)
        OPENSSL_cleanse(t->users, t->n_users * sizeof *t->users);
    free(t->entries);
    free(t->users);
    free(t->userhashes);
    free(t);
}

enum err tenants_new(const struct tenants_source *src, struct tenants **ret)
{
    struct tenants *t = calloc(1, sizeof *t);
    enum err e = t ? fill(t, src) : ERR_NOMEM;

    if (e) {
        if (t)
            set_free(t);
        return e;
    }
    atomic_init(&t->refs, 1);
    t->release = src->release;
    t->owner = src->owner;
    *ret = t;
    return OK;
}

void tenants_limit(const struct tenants *t)
{
    for (size_t i = 0; i < t->n; i++)
        if (t->entries[i].tenant.quota)
            quota_limit(t->entries[i].tenant.quota, &t->entries[i].tenant.set->limits);
}

struct tenants *tenants_ref(struct tenants *t)
{
    atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
    return t;
}

void tenants_unref(struct tenants *t)
{
    if (!t || atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) != 1)
        return;
    if (t->release)
        t->release(t->owner);
    set_free(t);
}

/* ---- questions ---- */

size_t tenants_count(const struct tenants *t)
{
    return t->n;
}

const struct tenant *tenants_at(const struct tenants *t, size_t i)
{
    return &t->entries[i].tenant;
}

const struct tenant *tenants_find(const struct tenants *t, struct span name)
{
    struct tenant_entry *e = NULL;

    if (name.n == 0)
        return NULL;
    HASH_FIND(hh, t->by_name, name.p, name.n, e);
    return e ? &e->tenant : NULL;
}

static const struct user_entry *find_user(const struct tenants *t, struct span name)
{
    struct user_entry *u = NULL;

    HASH_FIND(hh, t->by_user, name.p, name.n, u);
    return u;
}

const struct credential *tenants_credential(const struct tenants *t, struct span user)
{
    const struct user_entry *u = find_user(t, user);

    return u ? &u->credential : NULL;
}

size_t tenants_credentials(const struct tenants *t)
{
    return t->n_users;
}

const struct credential *tenants_credential_at(const struct tenants *t, size_t i)
{
    return &t->users[i].credential;
}

/* ---- Digest ---- */

static const struct user_entry *find_userhash(const struct tenants *t, struct span text,
                                              enum digest_alg alg)
{
    struct digest_hex hash;
    struct userhash_entry *e = NULL;

    if (!digest_hex_of(text, digest_alg_len(alg), &hash))
        return NULL;
    HASH_FIND(hh, t->by_userhash, hash.text, hash.n, e);
    return e ? e->user : NULL;
}

/* One look-up, whoever it is: the time shall not tell who is known. */
const struct credential *tenants_digest_find(const struct tenants *t, struct span realm,
                                             const struct digest_credentials *c)
{
    const struct user_entry *u =
        c->userhash ? find_userhash(t, c->user, c->alg) : find_user(t, c->user);

    if (!u || u->credential.disabled || u->tenant->disabled)
        return NULL;
    bool kept = span_eq(span_of(u->credential.digest.realm), realm) &&
                digest_verifier_ha1(&u->credential.digest, c->alg) != NULL;

    return kept ? &u->credential : NULL;
}

bool tenants_digest_ha1(void *arg, const struct digest_credentials *c, struct digest_hex *ret_ha1)
{
    struct tenants_digest *d = arg;

    d->found = tenants_digest_find(d->tenants, d->realm, c);
    if (d->found)
        *ret_ha1 = *digest_verifier_ha1(&d->found->digest, c->alg);
    return d->found != NULL;
}

/* ---- certificates ---- */

static bool pattern_matches(const sallyport_peer *peer, const char *pattern)
{
    static const struct {
        const char *name;
        int kind;
    } kinds[] = {
        {"dns",   SALLYPORT_PEER_DNS    },
        {"uri",   SALLYPORT_PEER_URI    },
        {"email", SALLYPORT_PEER_EMAIL  },
        {"ip",    SALLYPORT_PEER_IP     },
        {"dn",    SALLYPORT_PEER_SUBJECT},
        {"key",   SALLYPORT_PEER_KEY    },
    };
    const char *colon = strchr(pattern, ':');

    for (size_t i = 0; i < ARRAY_LEN(kinds) && colon; i++)
        if (span_ieq((struct span){pattern, (size_t)(colon - pattern)}, span_of(kinds[i].name)))
            return sallyport_peer_match(peer, kinds[i].kind, colon + 1) == 1;
    return false;
}

static bool has_certificate(const struct tenant *t, const sallyport_peer *peer)
{
    for (size_t i = 0; i < t->set->certificates.n; i++)
        if (pattern_matches(peer, t->set->certificates.v[i]))
            return true;
    return false;
}

const struct tenant *tenants_of_peer(const struct tenants *t, const sallyport_peer *peer,
                                     bool *ret_ambiguous)
{
    const struct tenant *found = NULL;

    *ret_ambiguous = false;
    for (size_t i = 0; peer && i < t->n && !*ret_ambiguous; i++) {
        const struct tenant *one = &t->entries[i].tenant;

        if (!has_certificate(one, peer))
            continue;
        *ret_ambiguous = found != NULL;
        found = one;
    }
    return *ret_ambiguous ? NULL : found;
}
