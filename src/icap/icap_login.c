/* SPDX-License-Identifier: Apache-2.0 */
/* Whose request it is: certificates, passwords and sessions become a tenant, and its quotas are
 * asked. Where that takes a moment the transaction waits, and nothing of its body is read. */
#include "base/deadline.h"
#include "base/log.h"
#include "icap/icap_server_int.h"
#include "tenant/basic.h"

#define REQUEST_WAIT_US 2000000u /* for the tenant's quota of requests */
#define LOGIN_WAIT_MS   60000u   /* for a derivation: somewhere there is too much to do */
#define REFUSALS_MAX    3u       /* of one connection; then it ends */

static const struct login_policy *policy_of(const struct icap_transaction *tx)
{
    return tx->conn->accepted.settings->login;
}

static struct logins *logins_of(const struct icap_transaction *tx)
{
    return tx->server->env.logins;
}

static enum icap_login_step refuse(struct fault *f, unsigned status, enum err err, const char *why)
{
    *f = (struct fault){.err = err, .status = status, .why = why};
    return ICAP_LOGIN_REFUSED;
}

/* No such user, not the password, nothing at all: the same answer. */
static enum icap_login_step refuse_login(struct icap_transaction *tx, struct fault *f,
                                         const char *why)
{
    if (++tx->conn->login.refusals >= REFUSALS_MAX)
        icap_close_after(tx->conn->engine);
    return refuse(f, 407, ERR_LOGIN, why);
}

/* ---- quotas ---- */

static void leave_quota(struct icap_connection *c)
{
    if (c->login.quota)
        quota_disconnect(c->login.quota);
    c->login.quota = NULL;
}

static void charge(struct icap_connection *c, uint64_t n)
{
    uint64_t now = loop_now_us(c->server->env.loop), hold = quota_bytes(c->login.quota, n, now);

    c->login.hold_us = hold ? now + hold : 0;
}

/* The connection counts for the tenant whose request it carried last, and what came before that was
 * known, too. */
static bool enter_quota(struct icap_connection *c, struct quota *q)
{
    if (c->login.quota == q)
        return true;
    if (!quota_connect(q))
        return false;
    leave_quota(c);
    c->login.quota = q;
    charge(c, c->login.early);
    c->login.early = 0;
    return true;
}

static enum icap_login_step wait_for(struct icap_transaction *tx, enum icap_login_next next,
                                     uint64_t ms)
{
    struct loop *l = tx->server->env.loop;

    tx->login_next = next;
    timer_set(l, &tx->login_timer, loop_now_ms(l) + ms);
    return ICAP_LOGIN_WAITS;
}

/* Each that waits has a turn of its own: none is woken to find that another one was faster. One
 * that gets none is not refused before it could have had one, or it would ask again at once. */
static enum icap_login_step ask_quota(struct icap_transaction *tx)
{
    uint64_t now = loop_now_us(tx->server->env.loop), wait;

    if (!quota_turn(tx->tenant->quota, now, REQUEST_WAIT_US, &wait))
        return wait_for(tx, ICAP_LOGIN_HAS_NONE, REQUEST_WAIT_US / 1000);
    if (wait == 0)
        return ICAP_LOGIN_DONE;
    return wait_for(tx, ICAP_LOGIN_HAS_ITS_TURN, wait / 1000 + 1);
}

static enum icap_login_step refuse_over_quota(struct icap_transaction *tx, struct fault *f)
{
    quota_refused(tx->tenant->quota);
    return refuse(f, 503, ERR_BUSY, "more requests than the tenant's quota allows");
}

static enum icap_login_step refuse_busy(struct fault *f)
{
    return refuse(f, 503, ERR_BUSY,
                  "too many logins wait, or too many of this client's have failed lately");
}

static const char *not_right(const struct icap_transaction *tx)
{
    return policy_of(tx)->by == LOGIN_BY_BOTH
               ? "the user is not known to the tenant of the certificate, or the password wrong"
               : "the user is not known, or the password wrong";
}

/* Nobody looked at the password, so that asking again would be free: the answer takes a moment. */
static enum icap_login_step hold(struct icap_transaction *tx, enum icap_login_next next)
{
    return wait_for(tx, next, logins_hold_ms(logins_of(tx)));
}

static enum icap_login_step go_on(struct icap_transaction *tx, struct fault *f)
{
    switch (tx->login_next) {
    case ICAP_LOGIN_IS_WRONG: return refuse_login(tx, f, not_right(tx));
    case ICAP_LOGIN_HAS_ITS_TURN: return ICAP_LOGIN_DONE;
    case ICAP_LOGIN_HAS_NONE: return refuse_over_quota(tx, f);
    case ICAP_LOGIN_GIVES_UP:
    case ICAP_LOGIN_IS_BUSY: break;
    }
    return refuse_busy(f);
}

static void on_login_timer(struct timer *t)
{
    struct icap_transaction *tx = CONTAINER_OF(t, struct icap_transaction, login_timer);
    struct fault f = {.err = OK};

    logins_cancel(tx->login_waiter);
    tx->login_waiter = NULL;
    enum icap_login_step step = go_on(tx, &f);

    icap_transaction_admit(tx, step, &f);
}

void icap_login_read(struct icap_connection *c, uint32_t n)
{
    if (c->login.quota)
        charge(c, n);
    else
        c->login.early += n;
}

/* ---- tenants ---- */

/* Names under which the tenant's things are known: made once for each service and set in force. */
static bool find_names(struct icap_transaction *tx)
{
    struct icap_names *n = &tx->conn->login.names;

    if (n->serial != tx->snapshot->serial || n->service != tx->service ||
        n->tenant != tx->tenant->client) {
        if (icap_service_for_tenant(tx->snapshot, tx->service, tx->tenant, n->istag, n->scope) !=
            OK) {
            n->serial = 0;
            return false;
        }
        n->serial = tx->snapshot->serial;
        n->service = tx->service;
        n->tenant = tx->tenant->client;
    }
    memcpy(tx->names.istag, n->istag, sizeof tx->names.istag);
    memcpy(tx->names.scope, n->scope, sizeof tx->names.scope);
    tx->istag = tx->names.istag;
    tx->scope = tx->names.scope;
    return true;
}

bool icap_login_service(struct icap_transaction *tx)
{
    tx->istag = tx->service->istag;
    tx->scope = tx->service->scope;
    return !tx->tenant || find_names(tx);
}

/* It is |tenant|'s request, if its quotas say so. */
static enum icap_login_step admit(struct icap_transaction *tx, const struct tenant *tenant,
                                  struct fault *f)
{
    struct icap_connection *c = tx->conn;

    if (!tenant || tenant->disabled)
        return refuse_login(tx, f, "the tenant is disabled, or gone");
    tx->tenant = tenant;
    c->client = tenant->client;
    if (!tenant->quota)
        return ICAP_LOGIN_DONE;
    if (!enter_quota(c, tenant->quota)) {
        quota_refused(tenant->quota);
        icap_close_after(c->engine);
        return refuse(f, 503, ERR_BUSY, "more connections than the tenant's quota allows");
    }
    return ask_quota(tx);
}

/* NULL: its certificate, if there is one, is of no tenant that may come. Looked for once in each
 * set in force. */
static const struct tenant *certified(struct icap_transaction *tx)
{
    struct icap_connection *c = tx->conn;

    if (!tx->snapshot->tenants)
        return NULL;
    if (c->login.certified_in != tx->snapshot->serial) {
        const struct tenant *t =
            tenants_of_peer(tx->snapshot->tenants, sallyport_report_peer(stream_report(c->stream)),
                            &c->login.ambiguous);

        c->login.certified = t && !t->disabled ? t : NULL;
        c->login.certified_in = tx->snapshot->serial;
    }
    return c->login.certified;
}

static const char *not_certified(const struct icap_transaction *tx)
{
    return tx->conn->login.ambiguous
               ? "the certificate is of several tenants (tenants.certificates)"
               : "the certificate is of no tenant that may come";
}

/* ---- passwords ---- */

/* Two values are a list, which this field is not; a proxy in between might read the other one. */
static enum err login_field(const struct icap_transaction *tx, struct span name, struct span *ret)
{
    const struct head *h = tx->req->icap;
    unsigned first = head_find(h, name, 0);

    *ret = SPAN_NONE;
    if (first >= h->n_fields)
        return OK;
    if (head_find(h, name, first + 1) < h->n_fields)
        return ERR_PROTO;
    *ret = h->fields[first].value;
    return OK;
}

/* The client's own credentials, if it sent some. */
static enum err login_value(const struct icap_transaction *tx, struct span *ret)
{
    TRY(login_field(tx, SPAN("Authorization"), ret));
    if (!ret->p && policy_of(tx)->proxy_authorization)
        TRY(login_field(tx, SPAN("Proxy-Authorization"), ret));
    return OK;
}

/* A login holds for what follows on its connection, until a second user logs in there: whose a
 * request is that does not say so cannot be known then. */
static bool each_request(const struct icap_transaction *tx)
{
    return policy_of(tx)->each_request || tx->conn->login.shared;
}

static void keep_session(struct icap_connection *c, struct session *s)
{
    session_unref(c->login.session);
    c->login.session = s;
}

/* With the login in it, as long as that lasts: who resumes with it need not send it again. Without
 * one (TLS 1.2, tickets off, no memory) the next connection begins with a login. */
static void issue_ticket(struct icap_transaction *tx, const struct session *s)
{
    const struct loop *l = tx->server->env.loop;
    uint64_t now = loop_now_ms(l), expires = session_expires_ms(s);
    uint64_t wall = clock_wall_ms(loop_clock(l));
    uint8_t seal[SESSION_SEAL_LEN];

    if (!stream_is_tls(tx->conn->stream) || expires <= now)
        return;
    session_seal(s, seal);
    (void)!stream_issue_ticket(tx->conn->stream, (struct span){(const char *)seal, sizeof seal},
                               (wall + expires - now) / 1000);
}

/* The user of this connection has logged in again; not: another tenant has, who shares it. */
static bool is_renewed(const struct icap_connection *c, const struct session *s)
{
    const struct session *last = c->login.session;

    return last && last != s && span_eq(span_of(session_user(last)), span_of(session_user(s)));
}

/* A login that was renewed has another session key, and the connection other record keys
 * (draft-cameron-secure-icap-bcp-00: rekeying is by authenticating again). Only TLS 1.3 can. */
static void rekey(struct icap_transaction *tx)
{
    (void)!stream_rekey(tx->conn->stream);
}

/* Takes the reference over. */
static enum icap_login_step admit_session(struct icap_transaction *tx, struct session *s,
                                          struct fault *f)
{
    const struct tenant *tenant = tenants_find(tx->snapshot->tenants, span_of(session_tenant(s)));

    bool renewed = is_renewed(tx->conn, s), ticket = renewed || !tx->conn->login.ticketed;
    const struct session *last = tx->conn->login.session;

    tx->session = s;
    tx->conn->login.shared |= last && last != s && !renewed;
    /* A ticket may bring a login back to another listener. */
    if (policy_of(tx)->by == LOGIN_BY_BOTH && certified(tx) != tenant)
        return refuse_login(tx, f, "certificate and password are not of the same tenant");
    if (s != tx->conn->login.session)
        keep_session(tx->conn, session_ref(s));
    if (renewed)
        rekey(tx);
    if (ticket && !each_request(tx))
        issue_ticket(tx, s);
    tx->conn->login.ticketed = true;
    return admit(tx, tenant, f);
}

static enum icap_login_step answer(struct icap_transaction *tx, enum login_answer a,
                                   struct session *s, struct fault *f)
{
    switch (a) {
    case LOGIN_OK: return admit_session(tx, s, f);
    case LOGIN_WAIT: return wait_for(tx, ICAP_LOGIN_GIVES_UP, LOGIN_WAIT_MS);
    case LOGIN_REFUSED: return refuse_login(tx, f, not_right(tx));
    case LOGIN_BUSY: break;
    }
    return hold(tx, ICAP_LOGIN_IS_BUSY);
}

static void on_ready(void *arg, enum login_answer a, struct session *s)
{
    struct icap_transaction *tx = arg;
    struct fault f = {.err = OK};

    tx->login_waiter = NULL;
    timer_clear(tx->server->env.loop, &tx->login_timer);
    enum icap_login_step step = answer(tx, a, s, &f);

    if (step != ICAP_LOGIN_WAITS)
        icap_transaction_admit(tx, step, &f);
}

static uint64_t source_of(const struct icap_transaction *tx, const struct tenant *certified_as)
{
    struct address peer = stream_peer(tx->conn->stream);
    uint64_t source = certified_as ? certified_as->client : address_hash(&peer);

    return source ? source : 1;
}

static enum icap_login_step ask(struct icap_transaction *tx, struct span token, struct fault *f)
{
    const struct tenant *certified_as = certified(tx);
    const struct login_request r = {
        .loop = tx->server->env.loop,
        .token = token,
        .source = source_of(tx, certified_as),
        .tenant = certified_as ? certified_as->name : NULL,
        .ready = on_ready,
        .arg = tx,
        .only = policy_of(tx)->by == LOGIN_BY_BOTH ? certified_as->name : NULL,
    };
    struct session *s = NULL;
    enum login_answer a = logins_ask(logins_of(tx), &r, &s, &tx->login_waiter);

    return a == LOGIN_REFUSED ? hold(tx, ICAP_LOGIN_IS_WRONG) : answer(tx, a, s, f);
}

/* RFC 7617; draft-cameron-secure-icap-bcp-00: on the first request of a connection at the latest.
 * Where several users share it, on each. */
static enum icap_login_step by_password(struct icap_transaction *tx, struct fault *f)
{
    struct session *s = tx->conn->login.session;
    struct span value, token;

    if (login_value(tx, &value) != OK)
        return refuse(f, 400, ERR_PROTO, "there is more than one Authorization");
    if (!logins_of(tx) || !tx->snapshot->tenants)
        return refuse(f, 503, ERR_BUSY, "there are no tenants yet");
    if (policy_of(tx)->by == LOGIN_BY_BOTH && !certified(tx))
        return refuse_login(tx, f, not_certified(tx)); /* no password is looked at */
    if (value.p && basic_token(value, &token) == OK)
        return ask(tx, token, f);
    if (value.p)
        return refuse_login(tx, f, "Authorization is not Basic, or not well formed");
    if (each_request(tx))
        return refuse_login(tx, f,
                            policy_of(tx)->each_request
                                ? "there is no Authorization, and each request needs one here"
                                : "there is no Authorization, and several users have logged in on "
                                  "this connection");
    if (s && session_is_live(s, loop_now_ms(tx->server->env.loop)))
        return admit_session(tx, session_ref(s), f);
    return refuse_login(
        tx, f, s ? "the login is over: it has to be sent again" : "there is no Authorization");
}

/* OPTIONS of a client that cannot log in there. */
static bool may_ask_options(const struct icap_transaction *tx, const struct tenant *certified_as)
{
    struct span value;

    if (tx->method != ICAP_OPTIONS || login_value(tx, &value) != OK || value.p ||
        (tx->conn->login.session && !each_request(tx)))
        return false;
    switch (policy_of(tx)->options) {
    case LOGIN_OPTIONS_REQUIRED: return false;
    case LOGIN_OPTIONS_CERTIFICATE: return certified_as != NULL;
    case LOGIN_OPTIONS_OPEN: return true;
    }
    return false;
}

/* ---- in their order ---- */

static enum icap_login_step log_in(struct icap_transaction *tx, struct fault *f)
{
    const struct tenant *certified_as = certified(tx);

    if (may_ask_options(tx, certified_as)) {
        tx->anonymous = !certified_as;
        return certified_as ? admit(tx, certified_as, f) : ICAP_LOGIN_DONE;
    }
    if (policy_of(tx)->by != LOGIN_BY_CERTIFICATE)
        return by_password(tx, f);
    if (certified_as)
        return admit(tx, certified_as, f);
    icap_close_after(tx->conn->engine);
    return refuse(f, 403, ERR_LOGIN, not_certified(tx));
}

/* Nobody reads the credentials again, be they good, or nothing that could be read. */
enum icap_login_step icap_login_begin(struct icap_transaction *tx, struct fault *f)
{
    tx->login_timer.fire = on_login_timer;
    enum icap_login_step step = log_in(tx, f);

    head_wipe_credentials(tx->req->icap);
    return step;
}

void icap_login_end(struct icap_transaction *tx)
{
    logins_cancel(tx->login_waiter);
    tx->login_waiter = NULL;
    timer_clear(tx->server->env.loop, &tx->login_timer);
}

/* ---- connections ---- */

/* Nine to ten tenths of it: what was opened together does not end together. */
static uint64_t spread(uint64_t ms, uint64_t any)
{
    return ms - ms / 10 * (any % 1024) / 1024;
}

void icap_login_open(struct icap_connection *c)
{
    struct logins *logins = c->server->env.logins;
    uint64_t now = loop_now_ms(c->server->env.loop);

    struct span seal;

    c->login.until_ms = UINT64_MAX;
    if (!c->accepted.settings->login || !logins)
        return;
    c->login.until_ms = now + spread(logins_session_ms(logins), c->server->next_id * 389);
    if (!c->accepted.settings->login->each_request && stream_ticket_data(c->stream, &seal))
        c->login.session = logins_unseal(logins, seal);
}

uint64_t icap_login_deadline(const struct icap_connection *c)
{
    uint64_t at = c->login.until_ms;

    if (c->login.session)
        at = deadline_earlier(at, session_expires_ms(c->login.session));
    return at;
}

void icap_login_over(struct icap_connection *c)
{
    c->login.until_ms = UINT64_MAX;
    keep_session(c, NULL);
    icap_close_after(c->engine);
}

void icap_login_close(struct icap_connection *c)
{
    leave_quota(c);
    keep_session(c, NULL);
}
