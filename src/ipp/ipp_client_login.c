/* SPDX-License-Identifier: Apache-2.0 */
/* ipp_client_login.c - challenges of the printer and of the proxy, and what is said to them (RFC
 * 7616; RFC 7617 within TLS and where it is allowed). */
#include <string.h>

#include "ipp/ipp_client_int.h"

#define REST_MS        1000u
#define CHALLENGES_MAX 16u /* fields of one answer; later ones are not looked at */
/* One to a request without credentials, one because a nonce is old, and another time both: a
 * connection may end meanwhile. */
#define ASKED_MAX      4u
#define ALL_ALGORITHMS (DIGEST_BIT(DIGEST_ALGS) - 1u)
#define MD5_ALGORITHMS (DIGEST_BIT(DIGEST_MD5) | DIGEST_BIT(DIGEST_MD5_SESS))

static bool is_proxy(const struct ipp_client *c, const struct ipp_client_door *d)
{
    return d == &c->proxy;
}

void ipp_client_login_init(struct ipp_client *c)
{
    bool digest_only = c->set.plan.demand.auth & IPP_AUTH_DAA && !c->set.no_insist;
    unsigned algorithms = c->set.no_md5 ? ALL_ALGORITHMS & ~MD5_ALGORITHMS : ALL_ALGORITHMS;
    const struct digest_client_policy printer = {
        .algs = algorithms,
        .rfc2069 = true, /* what the draft means by DAA (3.1) */
        .basic = c->set.allow_basic && !c->set.insecure && !digest_only,
        .refuse_clear = c->set.plan.channel,
    };
    const struct digest_client_policy proxy = {.algs = algorithms, .rfc2069 = true};

    c->printer.login = &c->set.login;
    c->printer.policy = printer;
    c->proxy.login = &c->set.proxy_login;
    c->proxy.policy = proxy;
}

/* Whoever asks is known by host and port: what he said is not for others. */
static bool reach_door(struct ipp_client *c, struct ipp_client_door *d)
{
    struct span host = is_proxy(c, d) ? span_of(c->set.proxy_host) : span_of(c->host);
    unsigned port = is_proxy(c, d) ? c->set.proxy_port : c->way.port;

    if (d->digest.policy && d->digest.port == port)
        return true;
    return digest_client_init(&d->digest, &d->policy, host, (uint16_t)port) == DIGEST_OK;
}

static const char *who_asks(const struct ipp_client *c, const struct ipp_client_door *d)
{
    return is_proxy(c, d) ? "the proxy" : "the printer";
}

static bool is_protected(const struct ipp_client *c, const struct ipp_client_door *d)
{
    return !is_proxy(c, d) && c->level.channel != IPP_CHANNEL_CLEAR;
}

static struct digest_user user_of(const struct ipp_client_door *d)
{
    return (struct digest_user){
        .name = span_of(d->login->user),
        .password = span_of(d->password),
    };
}

static struct digest_target target_of(const struct ipp_client *c, const struct ipp_client_door *d,
                                      struct span method, struct span target)
{
    return (struct digest_target){.method = method, .uri = target, .protected = is_protected(c, d)};
}

bool ipp_client_credentials(struct ipp_client *c, struct ipp_client_door *d, struct span method,
                            struct span target, struct buf *fields)
{
    const struct digest_target to = target_of(c, d, method, target);
    size_t before = fields->n;

    if (!d->password || !reach_door(c, d) || !digest_client_is_ready(&d->digest))
        return true;
    const struct digest_user user = user_of(d);

    buf_text(fields, is_proxy(c, d) ? "Proxy-Authorization: " : "Authorization: ");
    enum digest_err e =
        digest_client_format(&d->digest, &d->attempt, &user, &to, c->set.random, fields);

    if (e == DIGEST_OK) {
        buf_text(fields, "\r\n");
        return true;
    }
    fields->n = before;
    if (e == DIGEST_ENONE || e == DIGEST_ECLEAR)
        return true;
    ipp_client_fail(c, e == DIGEST_ENOMEM ? IPP_CLIENT_LOCAL : IPP_CLIENT_LOGIN,
                    "%s cannot be told who asks: %s", who_asks(c, d), digest_err_text(e));
    return false;
}

/* ---- challenges ---- */

static size_t challenges(const struct head *h, struct span name, struct span v[CHALLENGES_MAX])
{
    size_t n = 0;

    for (unsigned i = head_find(h, name, 0); i < h->n_fields && n < CHALLENGES_MAX;
         i = head_find(h, name, i + 1))
        v[n++] = h->fields[i].value;
    return n;
}

/* What a challenge that is not answered means. */
static void refuse(struct ipp_client *c, const struct ipp_client_door *d, enum digest_err e)
{
    const char *who = who_asks(c, d);
    bool digest_only = !is_proxy(c, d) && c->set.plan.demand.auth & IPP_AUTH_DAA;

    if (e == DIGEST_ECLEAR)
        ipp_client_fail(c, IPP_CLIENT_SECURITY,
                        "%s asks for a password in clear text, where TLS is demanded", who);
    else if (e == DIGEST_EBASIC && digest_only)
        ipp_client_fail(c, IPP_CLIENT_SECURITY,
                        "Digest is demanded (DAA), and %s offers Basic alone, which would tell it "
                        "the password",
                        who);
    else if (e == DIGEST_EBASIC && is_protected(c, d) && !c->set.insecure)
        ipp_client_fail(c, IPP_CLIENT_LOGIN,
                        "%s offers Basic alone, which tells it the password; --allow-basic if it "
                        "may know it",
                        who);
    else if (e == DIGEST_EBASIC)
        ipp_client_fail(c, IPP_CLIENT_LOGIN,
                        "%s offers Basic alone, which would tell the password to whoever listens",
                        who);
    else if (e == DIGEST_ELOGIN)
        ipp_client_fail(c, IPP_CLIENT_LOGIN, "%s does not accept user '%s' with this password", who,
                        d->login->user);
    else
        ipp_client_fail(c, IPP_CLIENT_LOGIN, "%s asks who we are in a way that is not answered: %s",
                        who, digest_err_text(e));
}

/* False: nobody is there to be named, and it was told. */
static bool get_password(struct ipp_client *c, struct ipp_client_door *d)
{
    if (d->password)
        return true;
    if (!d->login->user) {
        ipp_client_fail(c, IPP_CLIENT_LOGIN, "%s wants to know who asks: name a user%s",
                        who_asks(c, d), is_proxy(c, d) ? " in its URL" : " (-u)");
        return false;
    }
    if (d->login->password)
        d->password = d->login->password(d->login->arg);
    if (!d->password)
        ipp_client_fail(c, IPP_CLIENT_LOGIN,
                        "%s wants the password of user '%s', which is not here", who_asks(c, d),
                        d->login->user);
    return d->password != NULL;
}

void ipp_client_challenged(struct ipp_client *c, struct ipp_client_door *d, const struct head *h)
{
    struct span values[CHALLENGES_MAX];
    size_t n = challenges(h, is_proxy(c, d) ? SPAN("Proxy-Authenticate") : SPAN("WWW-Authenticate"),
                          values);

    if (!reach_door(c, d)) {
        refuse(c, d, DIGEST_ELONG);
        return;
    }
    const struct digest_origin from = {
        .host = span_of(d->digest.host),
        .port = d->digest.port,
        .protected = is_protected(c, d),
    };
    enum digest_err e = digest_client_challenged(&d->digest, &d->attempt, &from, values, n);

    if (!e && ++d->asked > ASKED_MAX)
        e = DIGEST_ESTALE;
    if (e) {
        refuse(c, d, e);
        return;
    }
    c->repeat = get_password(c, d);
    /* What matters of the answer is here. Its rest gets a moment: the connection may do again. */
    if (c->repeat)
        c->until_ms = loop_now_ms(c->loop) + REST_MS;
}

/* ---- the answer ---- */

bool ipp_client_let_in(struct ipp_client *c, const struct head *h)
{
    const struct digest_target to = target_of(c, &c->printer, SPAN("POST"), span_of(c->target));
    const struct digest_user user = user_of(&c->printer);

    if (!c->printer.attempt.sent)
        return true;
    enum digest_err e = digest_client_answered(&c->printer.digest, &c->printer.attempt, &user, &to,
                                               head_value(h, SPAN("Authentication-Info")));

    /* A broken field proves nothing, and nothing was asked to be proved. */
    if (e != DIGEST_ERSPAUTH)
        return true;
    ipp_client_fail(c, IPP_CLIENT_LOGIN,
                    "the printer did not prove that it knows the password of user '%s': somebody "
                    "else may answer in its place",
                    c->set.login.user);
    return false;
}
