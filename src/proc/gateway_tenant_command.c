/* SPDX-License-Identifier: Apache-2.0 */
/* Changes of tenants and users over the control socket. Each reads what it changes, writes it back
 * on the condition that nobody else did meanwhile, and is answered when that is on the disk and in
 * force here. Passwords never come here: only verifiers, made by whoever asks. */
#include <stdlib.h>
#include <string.h>

#include <jansson.h>
#include <openssl/crypto.h>

#include "base/json.h"
#include "base/log.h"
#include "proc/gateway_int.h"

#define TRIES_MAX 16u /* each that fails is another one's change of the same tenant, or user */

/* ---- one change ---- */

struct job;
typedef void (*job_fn)(struct job *j, const struct store_reply *r);

struct job {
    struct gateway_core *gateway;
    struct control_ticket *ticket;
    const struct verb *verb;
    char by[64];
    unsigned uid;
    char tenant[CREDENTIAL_TENANT_MAX + 1]; /* "": not named */
    char user[CREDENTIAL_USER_MAX + 1];
    struct credential verifier; /* rounds, salt, hash and digest only */
    bool digest_removed;        /* what was kept for Digest is of the old password */
    job_fn next;
    void (*failed)(struct job *j, enum err e); /* the store, on the way to |next| */
    struct task in_force;
    /* of add: the tenant that the user is for */
    struct tenant_record record;
    uint64_t user_version;
    unsigned confirms, takes_back; /* so often it was tried */
    /* of remove: users of the tenant */
    char after[STORE_KEY_MAX + 1];
    unsigned removing, removed;
    uint64_t tenant_version;
    bool more;
    enum err err;
};

struct verb {
    const char *name, *done; /* "was added" */
    job_fn begin;
    bool tenant, user;                   /* must be named */
    bool tenant_too, user_too, verifier; /* may be */
};

static void job_free(struct job *j)
{
    explicit_bzero(j, sizeof *j);
    free(j);
}

__attribute__((format(printf, 2, 3))) static void job_fail(struct job *j, const char *fmt, ...)
{
    struct buf why, out;
    struct json json;
    va_list ap;

    buf_init(&why, 4096);
    buf_init(&out, 0);
    va_start(ap, fmt);
    buf_vfmt(&why, fmt, ap);
    va_end(ap);
    json = json_to(&out);
    json_open(&json, NULL, '{');
    json_text(&json, "error", buf_cstr(&why));
    json_close(&json, '}');
    control_answer(j->ticket, buf_span(&out));
    buf_done(&why);
    buf_done(&out);
    job_free(j);
}

/* Of the store. What was done of a removal before stays done. */
static void job_fail_store(struct job *j, enum err e)
{
    if (e != ERR_CONFLICT)
        log_error("tenants", "nothing was changed: %s", err_text(e));
    if (e == ERR_CONFLICT)
        job_fail(j, "somebody else changed it at the same moment, so this changed nothing: look at "
                    "'sallyport tenant list', and try again");
    else if (e == ERR_FULL)
        job_fail(j, "the store or its disk is full (store.size), so nothing was changed");
    else
        job_fail(j, "the store cannot be read or written, so nothing was changed: %s", err_text(e));
}

static void job_answer(struct task *t)
{
    struct job *j = CONTAINER_OF(t, struct job, in_force);
    enum err e = j->gateway->keeper.first_err;
    struct buf out;
    struct json json;

    if (e) {
        job_fail(j, "it is on the disk, but not in force here yet: %s; it is tried again",
                 err_text(e));
        return;
    }
    buf_init(&out, 0);
    json = json_to(&out);
    json_open(&json, NULL, '{');
    json_bool(&json, "ok", true);
    json_text(&json, "tenant", j->tenant[0] ? j->tenant : NULL);
    json_text(&json, "user", j->user[0] ? j->user : NULL);
    if (j->digest_removed)
        json_bool(&json, "digest_removed", true);
    json_close(&json, '}');
    control_answer(j->ticket, buf_span(&out));
    buf_done(&out);
    job_free(j);
}

/* It is on the disk: in force here, too, and then answered. */
static void job_done(struct job *j)
{
    if (j->user[0])
        log_info("tenants", "user '%s' of tenant '%s' %s%s by=%s uid=%u", j->user, j->tenant,
                 j->verb->done,
                 digest_verifier_is_kept(&j->verifier.digest) ? ", also for Digest,"
                 : j->digest_removed                          ? ", but not for Digest any more,"
                                                              : "",
                 j->by, j->uid);
    else
        log_info("tenants", "tenant '%s' %s by=%s uid=%u", j->tenant, j->verb->done, j->by, j->uid);
    j->in_force.run = job_answer;
    gateway_tenants_reload(j->gateway, &j->in_force);
}

/* ---- its steps ---- */

static void on_reply(void *arg, const struct store_reply *r)
{
    struct job *j = arg;

    if (r->err && r->err != ERR_MISSING && r->err != ERR_CONFLICT)
        j->failed(j, r->err);
    else
        j->next(j, r);
}

static struct store_asker asker(struct job *j, job_fn next)
{
    j->next = next;
    return (struct store_asker){.loop = j->gateway->keeper.loop, .done = on_reply, .arg = j};
}

static void job_get(struct job *j, const char *space, const char *key, job_fn next)
{
    const struct store_asker by = asker(j, next);
    struct store *s = j->gateway->keeper.store;
    enum err e = s ? store_get(s, space, span_of(key), &by, NULL) : ERR_ABORTED;

    if (e)
        j->failed(j, e);
}

/* Consumes |text|. */
static void job_put(struct job *j, const char *space, const char *key, struct buf *text,
                    uint64_t version, job_fn next)
{
    const struct store_put put = {.key = span_of(key), .value = buf_span(text), .version = version};
    const struct store_asker by = asker(j, next);
    struct store *s = j->gateway->keeper.store;
    enum err e = text->err ? text->err : s ? store_put(s, space, &put, &by, NULL) : ERR_ABORTED;

    buf_done(text);
    if (e)
        j->failed(j, e);
}

static void job_put_tenant(struct job *j, const struct tenant_record *r, job_fn next)
{
    struct buf text;

    buf_init_secret(&text, 0);
    tenant_record_format(r, &text);
    job_put(j, TENANTS_SPACE, r->name, &text, r->version, next);
}

static void job_put_user(struct job *j, const struct credential *c, job_fn next)
{
    struct buf text;

    buf_init_secret(&text, 0);
    credential_format(c, &text);
    job_put(j, USERS_SPACE, c->user, &text, c->version, next);
}

static void job_del(struct job *j, const char *space, const char *key, uint64_t version,
                    job_fn next)
{
    const struct store_asker by = asker(j, next);
    struct store *s = j->gateway->keeper.store;
    enum err e = s ? store_del(s, space, span_of(key), version, &by, NULL) : ERR_ABORTED;

    if (e)
        j->failed(j, e);
}

static void after_last(struct job *j, const struct store_reply *r)
{
    if (r->err)
        job_fail_store(j, ERR_CONFLICT); /* MISSING: removed by somebody else */
    else
        job_done(j);
}

/* The record that |r| brought. False: the job is over, with a complaint. */
static bool take_tenant(struct job *j, const struct store_reply *r, struct tenant_record *ret)
{
    if (r->err == ERR_MISSING)
        job_fail(j, "there is no tenant '%s'", j->tenant);
    else if (tenant_record_parse(span_of(j->tenant), r->items[0].value, ret) != OK)
        job_fail(j, "the record of tenant '%s' cannot be read; remove it, or put the store back",
                 j->tenant);
    else {
        ret->version = r->items[0].version;
        return true;
    }
    return false;
}

static bool take_user(struct job *j, const struct store_reply *r, struct credential *ret)
{
    struct credential c;

    if (r->err == ERR_MISSING)
        job_fail(j, "there is no user '%s'", j->user);
    else if (credential_parse(span_of(j->user), r->items[0].value, &c) != OK)
        job_fail(j, "the record of user '%s' cannot be read; remove it, and add the user again",
                 j->user);
    else if (j->tenant[0] && strcmp(j->tenant, c.tenant) != 0)
        job_fail(j, "user '%s' is not of tenant '%s'", j->user, j->tenant);
    else {
        *ret = c;
        ret->version = r->items[0].version;
        (void)span_copy(span_of(c.tenant), j->tenant, sizeof j->tenant);
        explicit_bzero(&c, sizeof c);
        return true;
    }
    explicit_bzero(&c, sizeof c);
    return false;
}

/* ---- add ---- */

static void set_verifier(struct job *j, struct credential *c)
{
    c->rounds = j->verifier.rounds;
    memcpy(c->salt, j->verifier.salt, sizeof c->salt);
    memcpy(c->hash, j->verifier.hash, sizeof c->hash);
    j->digest_removed =
        digest_verifier_is_kept(&c->digest) && !digest_verifier_is_kept(&j->verifier.digest);
    c->digest = j->verifier.digest;
    c->changed_wall_ms = clock_wall_ms(&clock_system);
}

static void add_confirm(struct job *j);
static void add_taken_back(struct job *j, const struct store_reply *r);

/* Not confirmed, and not taken back. */
static void add_left_behind(struct job *j, enum err e)
{
    log_error("tenants",
              "user '%s' stays in the store, though nobody knows whether tenant '%s' does: %s",
              j->user, j->tenant, err_text(e));
    job_fail(j,
             "user '%s' is on the disk, but whether tenant '%s' still is cannot be told, and the "
             "user cannot be taken back: %s. Look at 'sallyport tenant list', and remove the user",
             j->user, j->tenant, err_text(e));
}

/* Somebody else changed the user meanwhile: as long as it is of a tenant of that name it goes, as
 * it is now. A user too few is added again; one too many may be another tenant's. */
static void add_take_back_changed(struct job *j, const struct store_reply *r)
{
    struct credential now = {0};
    bool stays = r->err || credential_parse(span_of(j->user), r->items[0].value, &now) != OK ||
                 !span_eq(span_of(now.tenant), span_of(j->tenant));

    explicit_bzero(&now, sizeof now);
    if (stays)
        job_fail_store(j, j->err);
    else
        job_del(j, USERS_SPACE, j->user, r->items[0].version, add_taken_back);
}

static void add_taken_back(struct job *j, const struct store_reply *r)
{
    if (r->err != ERR_CONFLICT) /* MISSING: gone already, as was wanted */
        job_fail_store(j, j->err);
    else if (++j->takes_back < TRIES_MAX)
        job_get(j, USERS_SPACE, j->user, add_take_back_changed);
    else
        add_left_behind(j, r->err);
}

/* The user is in the store and must not stay there: |why| is what is told. */
static void add_take_back(struct job *j, enum err why)
{
    j->err = why;
    j->failed = add_left_behind;
    job_del(j, USERS_SPACE, j->user, j->user_version, add_taken_back);
}

/* One that was made anew under its name has another key. */
static bool is_same_tenant(const struct tenant_record *a, const struct tenant_record *b)
{
    return CRYPTO_memcmp(a->key, b->key, sizeof a->key) == 0;
}

static void add_look_again(struct job *j, const struct store_reply *r)
{
    struct tenant_record now = {0};

    if (r->err || tenant_record_parse(span_of(j->tenant), r->items[0].value, &now) != OK ||
        !is_same_tenant(&now, &j->record)) {
        add_take_back(j, ERR_CONFLICT);
    } else {
        j->record = now;
        j->record.version = r->items[0].version;
        add_confirm(j);
    }
    explicit_bzero(&now, sizeof now);
}

static void add_confirmed(struct job *j, const struct store_reply *r)
{
    if (r->err == OK)
        job_done(j);
    else if (r->err == ERR_CONFLICT && ++j->confirms < TRIES_MAX)
        job_get(j, TENANTS_SPACE, j->tenant, add_look_again);
    else
        add_take_back(j, r->err);
}

/* Writes the tenant as it is. Who removes it looks for its users first, and then removes it on the
 * condition that it is as it was before that look: either that fails now, or this does, and no user
 * stays without a tenant, for the next one of its name. */
static void add_confirm(struct job *j)
{
    job_put_tenant(j, &j->record, add_confirmed);
}

static void add_made_user(struct job *j, const struct store_reply *r)
{
    if (r->err) {
        after_last(j, r);
        return;
    }
    j->user_version = r->version;
    j->failed = add_take_back;
    add_confirm(j);
}

static void add_user(struct job *j)
{
    struct credential c = {0};

    (void)span_copy(span_of(j->user), c.user, sizeof c.user);
    (void)span_copy(span_of(j->tenant), c.tenant, sizeof c.tenant);
    set_verifier(j, &c);
    job_put_user(j, &c, add_made_user);
    explicit_bzero(&c, sizeof c);
}

static void add_made_tenant(struct job *j, const struct store_reply *r)
{
    if (r->err || !j->user[0]) {
        after_last(j, r);
        return;
    }
    log_info("tenants", "tenant '%s' was added by=%s uid=%u", j->tenant, j->by, j->uid);
    j->record.version = r->version;
    add_user(j);
}

static void add_with_tenant(struct job *j, const struct store_reply *r)
{
    if (r->err == OK && j->user[0]) {
        if (take_tenant(j, r, &j->record))
            add_user(j);
    } else if (r->err == OK) {
        job_fail(j, "there is a tenant '%s' already", j->tenant);
    } else if (gateway_tenants_record(j->tenant, &j->record) != OK) {
        job_fail(j, "no randomness for a key");
    } else {
        job_put_tenant(j, &j->record, add_made_tenant);
    }
}

static void add_with_user(struct job *j, const struct store_reply *r)
{
    if (r->err == OK)
        job_fail(j, "there is a user '%s' already: 'sallyport tenant passwd' changes its password",
                 j->user);
    else
        job_get(j, TENANTS_SPACE, j->tenant, add_with_tenant);
}

static void add_begin(struct job *j, const struct store_reply *r)
{
    (void)r;
    if (j->user[0])
        job_get(j, USERS_SPACE, j->user, add_with_user);
    else
        job_get(j, TENANTS_SPACE, j->tenant, add_with_tenant);
}

/* ---- passwd ---- */

static void passwd_with_user(struct job *j, const struct store_reply *r)
{
    struct credential c;

    if (!take_user(j, r, &c))
        return;
    set_verifier(j, &c);
    job_put_user(j, &c, after_last);
    explicit_bzero(&c, sizeof c);
}

static void passwd_begin(struct job *j, const struct store_reply *r)
{
    (void)r;
    job_get(j, USERS_SPACE, j->user, passwd_with_user);
}

/* ---- disable, enable ---- */

static bool is_disable(const struct job *j)
{
    return strcmp(j->verb->name, "tenant-disable") == 0;
}

static void able_with_user(struct job *j, const struct store_reply *r)
{
    struct credential c;

    if (!take_user(j, r, &c))
        return;
    c.disabled = is_disable(j);
    job_put_user(j, &c, after_last);
    explicit_bzero(&c, sizeof c);
}

static void able_with_tenant(struct job *j, const struct store_reply *r)
{
    struct tenant_record record;

    if (!take_tenant(j, r, &record))
        return;
    record.disabled = is_disable(j);
    job_put_tenant(j, &record, after_last);
    explicit_bzero(&record, sizeof record);
}

static void able_begin(struct job *j, const struct store_reply *r)
{
    (void)r;
    if (j->user[0])
        job_get(j, USERS_SPACE, j->user, able_with_user);
    else
        job_get(j, TENANTS_SPACE, j->tenant, able_with_tenant);
}

/* ---- remove ---- */

static void remove_users(struct job *j);

/* One that cannot be read is removed, too, when it is named: nothing else gets rid of it. */
static void remove_with_user(struct job *j, const struct store_reply *r)
{
    struct credential c;

    if (r->err == OK && !j->tenant[0] &&
        credential_parse(span_of(j->user), r->items[0].value, &c) != OK)
        job_del(j, USERS_SPACE, j->user, r->items[0].version, after_last);
    else if (take_user(j, r, &c))
        job_del(j, USERS_SPACE, j->user, c.version, after_last);
    explicit_bzero(&c, sizeof c);
}

static void on_removed(void *arg, const struct store_reply *r)
{
    struct job *j = arg;

    j->removing--;
    if (r->err == OK)
        j->removed++;
    else if (r->err != ERR_MISSING && !j->err)
        j->err = r->err;
    if (j->removing == 0)
        remove_users(j);
}

static void remove_one(struct job *j, const struct store_item *item)
{
    const struct store_asker by = {.loop = j->gateway->keeper.loop, .done = on_removed, .arg = j};
    struct store *s = j->gateway->keeper.store;
    struct credential c;

    if (credential_parse(item->key, item->value, &c) != OK)
        return;
    bool is_its = strcmp(c.tenant, j->tenant) == 0;

    explicit_bzero(&c, sizeof c);
    if (!is_its)
        return;
    enum err e = s ? store_del(s, USERS_SPACE, item->key, item->version, &by, NULL) : ERR_ABORTED;

    if (e)
        j->err = e;
    else
        j->removing++;
}

static void remove_page(struct job *j, const struct store_reply *r)
{
    for (size_t i = 0; i < r->n_items && !j->err; i++)
        remove_one(j, &r->items[i]);
    j->more = r->more;
    if (r->n_items)
        (void)span_copy(r->items[r->n_items - 1].key, j->after, sizeof j->after);
    if (j->removing == 0)
        remove_users(j);
}

/* The next page of users; behind the last one, the tenant itself: as long as it is there, whatever
 * failed can be asked for again, and no user comes back with another tenant of its name. */
static void remove_users(struct job *j)
{
    const struct store_asker by = asker(j, remove_page);
    const struct store_range all = {.after = span_of(j->after), .max = STORE_LIST_MAX};
    struct store *s = j->gateway->keeper.store;

    if (j->err) {
        job_fail_store(j, j->err);
    } else if (!j->more) {
        job_del(j, TENANTS_SPACE, j->tenant, j->tenant_version, after_last);
    } else {
        enum err e = s ? store_list(s, USERS_SPACE, &all, &by, NULL) : ERR_ABORTED;

        if (e)
            job_fail_store(j, e);
    }
}

static void remove_with_tenant(struct job *j, const struct store_reply *r)
{
    if (r->err == ERR_MISSING) {
        job_fail(j, "there is no tenant '%s'", j->tenant);
        return;
    }
    j->tenant_version = r->items[0].version;
    j->more = true;
    remove_users(j);
}

static void remove_begin(struct job *j, const struct store_reply *r)
{
    (void)r;
    if (j->user[0])
        job_get(j, USERS_SPACE, j->user, remove_with_user);
    else if (gateway_tenants_has_row(j->gateway, j->tenant))
        job_fail(j,
                 "tenant '%s' is in the configuration (tenants): take it out there first, or "
                 "disable it",
                 j->tenant);
    else
        job_get(j, TENANTS_SPACE, j->tenant, remove_with_tenant);
}

/* ---- what is asked ---- */

static const struct verb verbs[] = {
    {.name = "tenant-add",
     .done = "was added",
     .begin = add_begin,
     .tenant = true,
     .user_too = true,
     .verifier = true},
    {.name = "tenant-passwd",
     .done = "got another password",
     .begin = passwd_begin,
     .user = true,
     .verifier = true      },
    {.name = "tenant-disable",
     .done = "was disabled",
     .begin = able_begin,
     .tenant = true,
     .user_too = true    },
    {.name = "tenant-enable",
     .done = "was enabled",
     .begin = able_begin,
     .tenant = true,
     .user_too = true    },
    {.name = "tenant-remove",
     .done = "was removed",
     .begin = remove_begin,
     .tenant_too = true,
     .user_too = true},
};

static bool take_name(struct asked *a, const char *key, bool (*is_valid)(struct span name),
                      bool required, char *dst, size_t cap)
{
    if (!required && !json_object_get(a->command, key))
        return true;
    const char *name = asked_text(a, key);

    if (!name)
        return false;
    if (is_valid(span_of(name))) {
        (void)span_copy(span_of(name), dst, cap);
        return true;
    }
    buf_fmt(&a->why, "'%.128s' cannot be the name of a %s: %s", name, key,
            strcmp(key, "user") == 0
                ? "at most 128 bytes of UTF-8 without colons and control characters"
                : "at most 64 letters, digits, '-', '_' and '.', the first one a letter or digit");
    return false;
}

static bool take_verifier(struct asked *a, struct job *j)
{
    if (!j->verb->verifier || !j->user[0])
        return true;
    if (credential_verifier_read(a->command, &j->verifier) != OK)
        buf_fmt(&a->why,
                "\"method\" must be pbkdf2-hmac-sha256, \"rounds\" %u to %u, \"salt\" %u and "
                "\"hash\" %u hexadecimal digits",
                CREDENTIAL_ROUNDS_MIN, CREDENTIAL_ROUNDS_MAX, 2 * CREDENTIAL_SALT,
                2 * CREDENTIAL_HASH);
    else if (digest_verifier_read(a->command, &j->verifier.digest) != OK)
        buf_fmt(&a->why,
                "\"digest\" must be an object with \"realm\" (1 to %u bytes without control "
                "characters, '\"' and '\\'), \"sha256\" (64 hexadecimal digits in lower case) and, "
                "if it is wanted, \"md5\" (32)",
                DIGEST_VERIFIER_REALM_MAX);
    else
        return true;
    return false;
}

static bool take_members(struct asked *a, struct job *j)
{
    static const char *const names[] = {"tenant", "user", NULL};
    static const char *const with_verifier[] = {"tenant", "user", "method", "rounds",
                                                "salt",   "hash", "digest", NULL};
    const struct verb *v = j->verb;
    bool has_user = json_object_get(a->command, "user") != NULL;

    if (!asked_members_are(a, v->verifier && has_user ? with_verifier : names))
        return false;
    if (!take_name(a, "tenant", tenant_name_is_valid, v->tenant || (v->tenant_too && !has_user),
                   j->tenant, sizeof j->tenant))
        return false;
    return take_name(a, "user", credential_user_is_valid, v->user, j->user, sizeof j->user) &&
           take_verifier(a, j);
}

static const struct verb *verb_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
        if (strcmp(verbs[i].name, name) == 0)
            return &verbs[i];
    return NULL;
}

bool gateway_tenant_command(void *arg, const char *name, const struct json_t *command, unsigned uid,
                            struct control_ticket *ticket)
{
    struct gateway_core *g = arg;
    const struct verb *v = verb_find(name);
    struct job *j = v ? calloc(1, sizeof *j) : NULL;
    struct asked a = {.gateway = g, .command = command, .uid = uid};

    if (!j)
        return false;
    j->gateway = g;
    j->ticket = ticket;
    j->verb = v;
    j->failed = job_fail_store;
    j->uid = uid;
    (void)span_copy(span_of(policy_name_of(&g->policy, uid)), j->by, sizeof j->by);
    buf_init(&a.why, 4096);
    if (take_members(&a, j))
        v->begin(j, NULL);
    else
        job_fail(j, "%s", buf_cstr(&a.why));
    buf_done(&a.why);
    return true;
}

/* ---- list ---- */

static void json_time(struct json *j, const char *key, uint64_t wall_ms)
{
    char text[ISO_TIME_LEN + 1];

    clock_iso_time(wall_ms, text);
    json_text(j, key, text);
}

/* Never the hashes: they are as good as the password. */
static void list_digest(const struct digest_verifier *d, struct json *j)
{
    if (!digest_verifier_is_kept(d)) {
        json_text(j, "digest", NULL);
        return;
    }
    json_open(j, "digest", '{');
    json_text(j, "realm", d->realm);
    json_bool(j, "md5", digest_verifier_ha1(d, DIGEST_MD5) != NULL);
    json_close(j, '}');
}

static void list_user(const struct credential *c, struct json *j)
{
    json_open(j, NULL, '{');
    json_text(j, "user", c->user);
    json_bool(j, "disabled", c->disabled);
    json_u64(j, "rounds", c->rounds);
    json_time(j, "changed", c->changed_wall_ms);
    list_digest(&c->digest, j);
    json_close(j, '}');
}

static void list_use(const struct tenant *t, struct json *j)
{
    struct quota_use use = {0};

    if (t && t->quota)
        quota_read(t->quota, &use);
    json_u64(j, "certificates", t ? t->set->certificates.n : 0);
    json_u64(j, "connections", use.connections);
    json_u64(j, "scans", use.scans);
    json_u64(j, "requests", use.requests);
    json_u64(j, "bytes", use.bytes);
    json_u64(j, "refused", use.refused);
}

void gateway_tenant_list(struct gateway_core *g, struct buf *out)
{
    const struct gateway_tenants *t = &g->keeper;
    struct json j = json_to(out);
    size_t at = 0;

    json_open(&j, NULL, '{');
    json_open(&j, "tenants", '[');
    for (size_t i = 0; i < t->n_records; i++) {
        const struct tenant_record *r = &t->records[i];
        const struct tenant *in_force = tenants_find(g->tenants, span_of(r->name));

        json_open(&j, NULL, '{');
        json_text(&j, "name", r->name);
        json_bool(&j, "disabled", r->disabled);
        json_time(&j, "created", r->created_wall_ms);
        json_bool(&j, "configured", in_force && in_force->set->name);
        list_use(in_force, &j);
        json_open(&j, "users", '[');
        /* Both are sorted; those in between have no tenant. */
        while (at < t->n_credentials && strcmp(t->credentials[at].tenant, r->name) < 0)
            at++;
        for (; at < t->n_credentials && strcmp(t->credentials[at].tenant, r->name) == 0; at++)
            list_user(&t->credentials[at], &j);
        json_close(&j, ']');
        json_close(&j, '}');
    }
    json_close(&j, ']');
    json_close(&j, '}');
}
