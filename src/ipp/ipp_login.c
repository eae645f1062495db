/* SPDX-License-Identifier: Apache-2.0 */
/* Who asks: a certificate, a password proved by Digest (RFC 7616), or one that was sent (Basic, RFC
 * 7617) where the printer lets it be. */
#include <stdlib.h>
#include <string.h>

#include "http/digest_hash.h"
#include "ipp/ipp_server_int.h"
#include "tenant/basic.h"
#include "tenant/throttle.h"

#define VALUES_MAX   4u
#define REFUSALS_MAX 5u /* of one connection; then it ends */

/* Some tools try a wrong password for ever, each time on a new connection. */
static const struct throttle_limits failures = {.burst = 10, .every_ms = 6000};

static uint64_t now_s(const struct ipp_exchange *ex)
{
    return clock_wall_ms(loop_clock(ex->server->env.loop)) / 1000;
}

/* ---- what is offered ---- */

static bool digest_at(const struct ipp_exchange *ex, enum ipp_channel channel,
                      struct digest_server *ret)
{
    const struct ipp_digest_settings *set = &ex->snapshot->set->digest;
    const struct ipp_server_environment *env = &ex->server->env;
    unsigned algorithms = set->algorithms;

    /* Whoever listens may try passwords against what MD5 makes of them at leisure. */
    if (channel == IPP_CHANNEL_CLEAR)
        algorithms &= DIGEST_BIT(DIGEST_SHA256) | DIGEST_BIT(DIGEST_SHA256_SESS);
    *ret = (struct digest_server){
        .purpose = DIGEST_WWW,
        .realm = span_of(set->realm),
        .algs = algorithms,
        .qops = DIGEST_BIT(DIGEST_QOP_AUTH),
        .lifetime_s = (uint32_t)(set->lifetime_ms / 1000),
        .rfc2069 = set->rfc2069,
        .userhash = false,
        .keys = &ex->server->keys,
        .replay = env->replay,
        .random = env->random,
    };
    return algorithms != 0 && ex->snapshot->tenants && digest_server_check(ret) == DIGEST_OK;
}

static bool digest_of(const struct ipp_exchange *ex, struct digest_server *ret)
{
    return digest_at(ex, ex->level.channel, ret);
}

/* What a nonce is good for, besides the realm: whoever saw one in clear text, or had a client
 * answer it there, has nothing that is taken within TLS, nor the other way round. */
static struct span binding_at(enum ipp_channel channel)
{
    return channel == IPP_CHANNEL_CLEAR ? SPAN("clear") : SPAN("tls");
}

static struct span binding_of(const struct ipp_exchange *ex)
{
    return binding_at(ex->level.channel);
}

/* At any printer: which one it is the job says, if it is not known yet. */
static bool wants_basic(const struct ipp_exchange *ex)
{
    if (ex->printer)
        return ex->printer->set->basic;
    for (size_t i = 0; i < ex->snapshot->n_printers; i++)
        if (ex->snapshot->printers[i].set->basic)
            return true;
    return false;
}

static bool takes_basic(const struct ipp_exchange *ex)
{
    return wants_basic(ex) && ex->level.channel != IPP_CHANNEL_CLEAR && ex->server->env.logins;
}

/* Digest first: libcups takes the first scheme that it knows, be it Basic. */
bool ipp_login_challenges(struct ipp_exchange *ex, bool stale, struct buf *fields)
{
    struct digest_server d;

    if (digest_of(ex, &d) &&
        digest_challenges_format(&d, stale, binding_of(ex), now_s(ex), fields) != DIGEST_OK)
        return false;
    if (takes_basic(ex))
        buf_fmt(fields, "WWW-Authenticate: Basic realm=\"%s\", charset=\"UTF-8\"\r\n",
                ex->snapshot->set->digest.realm);
    return !fields->err;
}

/* ---- refusals ---- */

static enum ipp_login_step refuse(struct ipp_exchange *ex, unsigned status, bool stale,
                                  enum err err, const char *why)
{
    struct buf fields;

    ex->err = err;
    (void)span_copy(span_of(why), ex->why, sizeof ex->why);
    buf_init(&fields, 8192);
    if (status == 401 && (!ipp_login_challenges(ex, stale, &fields) || fields.n == 0))
        status = 503;
    ipp_reply_http(ex, status, status == 401 ? buf_span(&fields) : SPAN_NONE,
                   status == 401   ? "This needs a user and password."
                   : status == 400 ? "The credentials cannot be read."
                   : status == 429 ? "Too many wrong passwords; try again later."
                                   : "Nobody can log in now.");
    buf_done(&fields);
    return IPP_LOGIN_ANSWERED;
}

uint64_t ipp_login_source(const struct ipp_exchange *ex)
{
    struct address peer = stream_peer(http_connection_stream(ex->conn->http));
    uint64_t source = address_hash(&peer);

    return source ? source : 1;
}

static bool is_throttled(const struct ipp_exchange *ex)
{
    return !throttle_shared_allows(ex->server->env.failures, ipp_login_source(ex), &failures,
                                   loop_now_us(ex->server->env.loop));
}

static void failed(struct ipp_exchange *ex)
{
    throttle_shared_failed(ex->server->env.failures, ipp_login_source(ex), &failures,
                           loop_now_us(ex->server->env.loop));
}

static enum ipp_login_step refuse_wrong(struct ipp_exchange *ex, const char *why)
{
    failed(ex);
    if (++ex->conn->refusals >= REFUSALS_MAX)
        http_close_after(http_connection_engine(ex->conn->http));
    return refuse(ex, 401, false, ERR_LOGIN, why);
}

static enum ipp_login_step password_is_wrong(struct ipp_exchange *ex)
{
    return refuse_wrong(ex, "the user is not known, or the password wrong");
}

static void let_go(struct timer *t)
{
    struct ipp_exchange *ex = CONTAINER_OF(t, struct ipp_exchange, login_timer);

    if (ex->login_held == LOGIN_REFUSED)
        (void)password_is_wrong(ex);
    else
        (void)refuse(ex, 503, false, ERR_BUSY,
                     "too many logins wait, or too many have failed lately");
}

/* Nobody looked at the password, so that asking again would be free: the answer takes a moment. */
static enum ipp_login_step hold(struct ipp_exchange *ex, enum login_answer a)
{
    struct loop *l = ex->server->env.loop;

    ex->login_held = a;
    ex->login_timer.fire = let_go;
    timer_set(l, &ex->login_timer, loop_now_ms(l) + logins_hold_ms(ex->server->env.logins));
    return IPP_LOGIN_WAITS;
}

/* ---- Digest ---- */

/* The user is the one whose HA1 was right, whatever form its name was sent in. */
static enum ipp_login_step digest_is_right(struct ipp_exchange *ex, const struct digest_server *d,
                                           struct digest_accepted *a,
                                           const struct credential *found)
{
    static const char *const names[DIGEST_ALGS] = {
        [DIGEST_SHA512_256] = "digest-SHA-512-256",
        [DIGEST_SHA512_256_SESS] = "digest-SHA-512-256-sess",
        [DIGEST_SHA256] = "digest-SHA-256",
        [DIGEST_SHA256_SESS] = "digest-SHA-256-sess",
        [DIGEST_MD5] = "digest-MD5",
        [DIGEST_MD5_SESS] = "digest-MD5-sess",
    };

    ex->who.kind = IPP_USER_DIGEST;
    ex->who.by = names[a->credentials.alg];
    (void)span_copy(span_of(found->user), ex->who.name, sizeof ex->who.name);
    ex->who.tenant = tenants_find(ex->snapshot->tenants, span_of(found->tenant));
    buf_text(&ex->info, "Authentication-Info: ");
    size_t head = ex->info.n;

    if (digest_info_format(d, a, SPAN_NONE, binding_of(ex), now_s(ex), &ex->info) != DIGEST_OK ||
        ex->info.n == head)
        buf_reset(&ex->info);
    else
        buf_text(&ex->info, "\r\n");
    digest_accepted_done(a);
    return IPP_LOGIN_DONE;
}

/* Whose HA1 is asked for. */
struct digest_ask {
    struct tenants_digest users;
    struct logins *logins;
    uint64_t source;
    struct span user; /* whom failures are counted for; lives as long as the request */
    bool barred;      /* nobody looks: too many were wrong for that user lately */
};

static bool find_ha1(void *arg, const struct digest_credentials *c, struct digest_hex *ret_ha1)
{
    struct digest_ask *a = arg;
    bool found = tenants_digest_ha1(&a->users, c, ret_ha1);

    a->user = a->users.found ? span_of(a->users.found->user) : c->user;
    a->barred = a->logins && !logins_may_try(a->logins, a->user, a->source);
    return found && !a->barred;
}

static enum ipp_login_step by_digest(struct ipp_exchange *ex, const struct span *values, size_t n)
{
    const struct http_request *req = http_current(http_connection_engine(ex->conn->http));
    struct digest_ask ask = {.users = {.tenants = ex->snapshot->tenants},
                             .logins = ex->server->env.logins,
                             .source = ipp_login_source(ex)};
    const struct digest_users find = {.find = find_ha1, .arg = &ask};
    const struct digest_request r = {
        .method = req->head->method,
        .target = req->head->target,
        .binding = binding_of(ex),
        .now_s = now_s(ex),
    };
    struct digest_accepted a;
    struct digest_server d;
    char room[4096];
    struct writer scratch = writer_of(room, sizeof room);

    if (!digest_of(ex, &d))
        return refuse(ex, 503, false, ERR_BUSY, "no users are known for Digest");
    if (is_throttled(ex))
        return refuse(ex, 429, false, ERR_BUSY, "too many wrong passwords from there");
    ask.users.realm = d.realm;
    enum digest_err e = digest_authorize(&d, &r, values, n, &find, &scratch, &a);

    if (ask.barred || e == DIGEST_ELOGIN)
        ex->tried = ask.users.found;
    if (ask.barred)
        return hold(ex, LOGIN_BUSY);
    if (ask.logins && ask.user.n && (e == DIGEST_OK || e == DIGEST_ELOGIN))
        logins_tried(ask.logins, ask.user, ask.source, e == DIGEST_OK);
    switch (digest_err_answer(e)) {
    case DIGEST_ACCEPT: return digest_is_right(ex, &d, &a, ask.users.found);
    case DIGEST_RENEW: return refuse(ex, 401, true, ERR_LOGIN, digest_err_text(e));
    case DIGEST_CHALLENGE:
        if (e == DIGEST_ELOGIN)
            return refuse_wrong(ex, digest_err_text(e));
        return refuse(ex, 401, false, ERR_LOGIN, digest_err_text(e));
    case DIGEST_REFUSE: return refuse(ex, 400, false, ERR_PROTO, digest_err_text(e));
    case DIGEST_FAIL:
    case DIGEST_GIVE_UP: break;
    }
    return refuse(ex, 503, false, ERR_BUSY, digest_err_text(e));
}

/* ---- Basic ---- */

static enum ipp_login_step basic_is_right(struct ipp_exchange *ex, struct session *s)
{
    ex->session = s;
    ex->who.kind = IPP_USER_BASIC;
    ex->who.by = "basic";
    (void)span_copy(span_of(session_user(s)), ex->who.name, sizeof ex->who.name);
    ex->who.tenant = tenants_find(ex->snapshot->tenants, span_of(session_tenant(s)));
    if (ex->who.tenant && !ex->who.tenant->disabled)
        return IPP_LOGIN_DONE;
    return refuse_wrong(ex, "the tenant is disabled, or gone");
}

static enum ipp_login_step basic_answer(struct ipp_exchange *ex, enum login_answer a,
                                        struct session *s)
{
    switch (a) {
    case LOGIN_OK: return basic_is_right(ex, s);
    case LOGIN_WAIT: return IPP_LOGIN_WAITS;
    case LOGIN_REFUSED: return password_is_wrong(ex);
    case LOGIN_BUSY: break;
    }
    return hold(ex, a);
}

static void on_ready(void *arg, enum login_answer a, struct session *s)
{
    struct ipp_exchange *ex = arg;

    ex->login_waiter = NULL;
    if (basic_answer(ex, a, s) == IPP_LOGIN_DONE)
        ipp_admit_known(ex);
    ipp_exchange_wake(ex);
}

static const struct credential *user_of(const struct ipp_exchange *ex, struct span token)
{
    const struct credential *found = NULL;
    char text[BASIC_ROOM(BASIC_TOKEN_MAX)];
    struct span user, password;

    if (ex->snapshot->tenants && token.n <= BASIC_TOKEN_MAX &&
        basic_decode(token, text, &user, &password) == OK)
        found = tenants_credential(ex->snapshot->tenants, user);
    explicit_bzero(text, sizeof text);
    return found;
}

static enum ipp_login_step by_basic(struct ipp_exchange *ex, struct span token)
{
    const struct login_request r = {
        .loop = ex->server->env.loop,
        .token = token,
        .source = ipp_login_source(ex),
        .ready = on_ready,
        .arg = ex,
    };
    struct session *s = NULL;

    if (!takes_basic(ex))
        return refuse(ex, 401, false, ERR_LOGIN, "Basic is not taken here");
    ex->tried = user_of(ex, token);
    enum login_answer a = logins_ask(ex->server->env.logins, &r, &s, &ex->login_waiter);

    return a == LOGIN_REFUSED ? hold(ex, a) : basic_answer(ex, a, s);
}

/* ---- in their order ---- */

/* requesting-user-name: anybody can write anything there. */
static void take_claim(struct ipp_exchange *ex)
{
    struct ipp_attribute a;
    struct ipp_value v;
    struct span name;

    ex->who.kind = IPP_USER_NONE;
    if (ipp_message_find(ex->message, SPAN("requesting-user-name"), &a) != OK)
        return;
    for (struct span rest = a.values; ipp_value_next(&rest, &v);)
        if (ipp_value_text(&v, &name) && name.n) {
            ipp_job_text(name, ex->who.name, sizeof ex->who.name);
            ex->who.kind = IPP_USER_CLAIMED;
            return;
        }
}

/* Names of any length, of which no two become the same: long ones have their hash at the end, and
 * all that are as long as those then are have one. */
static bool name_exactly(struct span text, char ret[IPP_JOB_USER_MAX + 1])
{
    struct writer w = writer_of(ret, IPP_JOB_USER_MAX);
    struct digest_hash h;
    struct digest_hex hex;

    if (text.n < IPP_JOB_USER_MAX) {
        write_span(&w, text);
    } else {
        h = digest_hash_begin(DIGEST_SHA256);
        digest_hash_add(&h, text);
        if (digest_hash_end(&h, &hex) != DIGEST_OK)
            return false;
        write_span(&w, span_sub(text, 0, IPP_JOB_USER_MAX - 1 - hex.n));
        write_text(&w, "~");
        write_span(&w, digest_hex_span(&hex));
    }
    ret[w.n] = '\0';
    return true;
}

static bool by_certificate(struct ipp_exchange *ex)
{
    const sallyport_peer *peer =
        sallyport_report_peer(stream_report(http_connection_stream(ex->conn->http)));
    bool ambiguous = false;
    const struct tenant *t = ex->snapshot->tenants && peer
                                 ? tenants_of_peer(ex->snapshot->tenants, peer, &ambiguous)
                                 : NULL;

    if (!t || t->disabled || !name_exactly(span_of(sallyport_peer_text(peer)), ex->who.name))
        return false;
    ex->who.kind = IPP_USER_CERTIFICATE;
    ex->who.by = "certificate";
    ex->who.tenant = t;
    return true;
}

static size_t authorizations(const struct head *h, struct span v[VALUES_MAX])
{
    size_t n = 0;

    for (unsigned i = head_find(h, SPAN("Authorization"), 0); i < h->n_fields && n < VALUES_MAX;
         i = head_find(h, SPAN("Authorization"), i + 1))
        v[n++] = h->fields[i].value;
    return n;
}

/* It counts as a wrong password: who has challenges made to send them here, of which there is room
 * for so many, is not heard any more. */
void ipp_login_overheard(struct ipp_exchange *ex, const struct head *h)
{
    struct digest_server d;
    struct span v[VALUES_MAX];
    size_t n = authorizations(h, v);
    char room[4096];
    struct writer scratch = writer_of(room, sizeof room);

    if (n == 0 || stream_is_tls(http_connection_stream(ex->conn->http)) ||
        !digest_at(ex, IPP_CHANNEL_IMPLICIT, &d) || is_throttled(ex))
        return;
    if (digest_overheard(&d, v, n, binding_at(IPP_CHANNEL_IMPLICIT), now_s(ex), &scratch))
        failed(ex);
    explicit_bzero(room, sizeof room);
}

static enum ipp_login_step log_in(struct ipp_exchange *ex, const struct head *h)
{
    struct span v[VALUES_MAX], token;
    size_t n = authorizations(h, v);

    take_claim(ex);
    /* What was sent in clear text before TLS began proves nothing inside it, and the certificate
     * that came afterwards is nobody's word for it: anybody may have written it on the way. */
    if (ex->upgraded || by_certificate(ex) || n == 0)
        return IPP_LOGIN_DONE;
    if (n == 1 && basic_token(v[0], &token) != ERR_MISSING)
        return basic_token(v[0], &token) == OK
                   ? by_basic(ex, token)
                   : refuse(ex, 400, false, ERR_PROTO, "Authorization is not well formed");
    return by_digest(ex, v, n);
}

/* Nobody reads the credentials again, be they good, or nothing that could be read. */
enum ipp_login_step ipp_login_begin(struct ipp_exchange *ex)
{
    const struct head *h = http_current(http_connection_engine(ex->conn->http))->head;
    enum ipp_login_step step = log_in(ex, h);

    head_wipe_credentials(h);
    return step;
}

void ipp_login_end(struct ipp_exchange *ex)
{
    logins_cancel(ex->login_waiter);
    ex->login_waiter = NULL;
    timer_clear(ex->server->env.loop, &ex->login_timer);
}
