/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "cli/probe_int.h"

#define DAY_S     86400
#define SOON_DAYS 30

static const enum probe_check later[] = {
    PROBE_TLS_VERSION, PROBE_TLS_CIPHER,      PROBE_TLS_CHAIN,        PROBE_TLS_CHAIN_INCOMPLETE,
    PROBE_TLS_NAME,    PROBE_TLS_EXPIRED,     PROBE_TLS_EXPIRES_SOON, PROBE_TLS_WEAK_KEY,
    PROBE_TLS_SHA1,    PROBE_TLS_OLD_VERSION, PROBE_TLS_RESUMPTION,   PROBE_TLS_CLEAR_TEXT,
};

/* ---- certificates ---- */

static int64_t days_left(int64_t not_after)
{
    return (not_after - (int64_t)(clock_wall_ms(&clock_system) / 1000)) / DAY_S;
}

static void look_at_certificate(struct probe *p, const struct tls_peer_cert *c, unsigned n)
{
    int64_t now = (int64_t)(clock_wall_ms(&clock_system) / 1000);
    long long days = (long long)days_left(c->not_after);

    probe_say(p->report, PROBE_SECTION_TLS,
              "certificate %u: %s, issued by %s, %s %d bits, %s, %lld days left", n + 1, c->subject,
              c->self_signed ? "itself" : c->issuer, c->key, c->key_bits, c->signature, days);
    if (c->not_after <= now)
        probe_bad(p->report, PROBE_TLS_EXPIRED, "%s expired %lld days ago", c->subject, -days);
    else if (c->not_before > now)
        probe_bad(p->report, PROBE_TLS_EXPIRED, "%s is not valid yet", c->subject);
    else if (days < SOON_DAYS)
        probe_bad(p->report, PROBE_TLS_EXPIRES_SOON, "%s expires in %lld days", c->subject, days);
    if (c->weak_key)
        probe_bad(p->report, PROBE_TLS_WEAK_KEY, "%s has a key of %d bits (%s)", c->subject,
                  c->key_bits, c->key);
    if (c->broken_hash)
        probe_bad(p->report, PROBE_TLS_SHA1, "%s is signed with %s", c->subject, c->signature);
}

static void look_at_chain(struct probe *p, const struct tls_peer *peer)
{
    if (peer->chain_ok)
        probe_ok(p->report, PROBE_TLS_CHAIN, "the chain that was sent (%u) leads to one we trust",
                 peer->n_sent);
    else
        probe_bad(p->report, PROBE_TLS_CHAIN, "the chain that was sent (%u): %s", peer->n_sent,
                  peer->chain_why);
    if (peer->incomplete)
        probe_bad(p->report, PROBE_TLS_CHAIN_INCOMPLETE,
                  "the server does not send all certificates up to the root; we had the rest");
    else if (peer->issuer_unknown && peer->n_sent == 1 && !peer->certs[0].self_signed)
        probe_bad(
            p->report, PROBE_TLS_CHAIN_INCOMPLETE,
            "the server sends its own certificate alone, and we do not know who issued it: "
            "either certificates between are missing there, or the CA is missing here (--ca)");
    else
        probe_ok(p->report, PROBE_TLS_CHAIN_INCOMPLETE, "no certificate is missing in between");
}

void probe_tls_look(struct probe *p, const struct tls_peer *peer)
{
    bool old = strcmp(peer->protocol, "TLSv1.3") != 0 && strcmp(peer->protocol, "TLSv1.2") != 0;

    if (old)
        probe_bad(p->report, PROBE_TLS_VERSION, "the best that it speaks is %s", peer->protocol);
    else
        probe_ok(p->report, PROBE_TLS_VERSION, "%s", peer->protocol);
    if (peer->modern)
        probe_ok(p->report, PROBE_TLS_CIPHER, "%s", peer->cipher);
    else
        probe_bad(p->report, PROBE_TLS_CIPHER, "%s", peer->cipher);
    for (unsigned i = 0; i < peer->n_certs; i++)
        look_at_certificate(p, &peer->certs[i], i);
    look_at_chain(p, peer);
    if (peer->name_ok)
        probe_ok(p->report, PROBE_TLS_NAME, "the certificate is for %s", p->target.host);
    else
        probe_bad(p->report, PROBE_TLS_NAME, "the certificate is not for %s", p->target.host);
    probe_ok(p->report, PROBE_TLS_EXPIRED, "every certificate is valid now");
    probe_ok(p->report, PROBE_TLS_EXPIRES_SOON, "and for %u days to come", SOON_DAYS);
    probe_ok(p->report, PROBE_TLS_WEAK_KEY, "no key is too short");
    probe_ok(p->report, PROBE_TLS_SHA1, "no signature uses SHA-1 or MD5");
}

/* ---- handshakes ---- */

/* Ours first; if that does not do, anything. */
bool probe_tls_first(struct probe *p, struct tls_peer *ret)
{
    struct probe_talk k;
    enum err e = probe_talk_open_tls(&k, &p->target, TLS_PIPE_OURS, NULL);
    char why[sizeof k.why];

    if (e != OK) {
        (void)snprintf(why, sizeof why, "%s", k.why);
        probe_talk_close(&k);
        e = probe_talk_open_tls(&k, &p->target, TLS_PIPE_LOOSE, NULL);
        if (e != OK)
            probe_bad(p->report, PROBE_TLS_HANDSHAKE, "no TLS: %s", k.why);
        else
            probe_bad(p->report, PROBE_TLS_HANDSHAKE,
                      "only under rules that nobody should have any more: %s", why);
    } else {
        probe_ok(p->report, PROBE_TLS_HANDSHAKE, "TLS stands");
    }
    if (e == OK)
        tls_pipe_peer(k.tls, ret);
    probe_talk_close(&k);
    return e == OK;
}

static void try_old(struct probe *p, enum tls_pipe_rules rules, const char *name)
{
    struct probe_talk k;

    if (probe_talk_open_tls(&k, &p->target, rules, NULL) == OK)
        probe_bad(p->report, PROBE_TLS_OLD_VERSION, "it takes %s", name);
    else
        probe_ok(p->report, PROBE_TLS_OLD_VERSION, "it takes neither TLS 1.0 nor 1.1");
    probe_talk_close(&k);
}

void probe_tls_old_versions(struct probe *p)
{
    try_old(p, TLS_PIPE_ONLY_1_0, "TLS 1.0");
    try_old(p, TLS_PIPE_ONLY_1_1, "TLS 1.1");
}

static void ask_options(struct probe *p, struct buf *out)
{
    buf_init(out, 0);
    probe_add_head(p, out, "OPTIONS", p->url, "ICAP/1.0", "");
}

/* Tickets of TLS 1.3 come after the handshake, and so does the server's word on our certificate:
 * something must have been read. */
static void try_resumption(struct probe *p)
{
    struct probe_talk first, second;
    struct probe_answer a;
    struct tls_peer peer;
    struct buf request;
    enum err e;

    ask_options(p, &request);
    e = probe_fresh_exchange(p, &first, "OPTIONS", buf_span(&request), &a);
    probe_answer_done(&a);
    probe_request_done(&request);
    if (e == ERR_TLS)
        probe_bad(p->report, PROBE_TLS_HANDSHAKE, "after the handshake: %s", first.why);
    if (e != OK) {
        probe_skip(p->report, PROBE_TLS_RESUMPTION, "resumption was not tried: %s", first.why);
        probe_talk_close(&first);
        return;
    }
    e = probe_talk_open_tls(&second, &p->target, TLS_PIPE_LOOSE, &first);
    if (e == OK)
        tls_pipe_peer(second.tls, &peer);
    if (e != OK)
        probe_bad(p->report, PROBE_TLS_RESUMPTION, "sessions are not resumed: %s", second.why);
    else if (!peer.resumed)
        probe_bad(p->report, PROBE_TLS_RESUMPTION, "the server gave a ticket and did not take it");
    else
        probe_ok(p->report, PROBE_TLS_RESUMPTION, "sessions are resumed");
    probe_talk_close(&second);
    probe_talk_close(&first);
}

static void try_clear_text(struct probe *p)
{
    struct probe_talk k;
    struct probe_answer a;
    struct buf request;
    enum err e = probe_talk_open_clear(&k, &p->target);
    struct probe nobody = *p;

    nobody.authorization = NULL; /* a password never goes in clear text */
    probe_answer_init(&a, 1 << 20);
    ask_options(&nobody, &request);
    if (e == OK)
        e = probe_talk_send(&k, buf_span(&request));
    if (e == OK && probe_talk_receive(&k, &a) != OK)
        probe_say(p->report, PROBE_SECTION_TLS, "clear text on the port of TLS: %s", k.why);
    if (a.status / 100 == 1 || a.status / 100 == 2)
        probe_bad(p->report, PROBE_TLS_CLEAR_TEXT,
                  "clear text on the port of TLS is answered, with status %u", a.status);
    else if (a.status)
        probe_ok(p->report, PROBE_TLS_CLEAR_TEXT,
                 "clear text on the port of TLS is refused, with status %u", a.status);
    else
        probe_ok(p->report, PROBE_TLS_CLEAR_TEXT, "clear text on the port of TLS gets no answer");
    probe_request_done(&request);
    probe_answer_done(&a);
    probe_talk_close(&k);
}

bool probe_tls_content(struct probe *p)
{
    static const enum probe_check who[] = {PROBE_TLS_CHAIN, PROBE_TLS_NAME, PROBE_TLS_EXPIRED,
                                           PROBE_TLS_WEAK_KEY, PROBE_TLS_SHA1};
    bool failed = false;

    for (unsigned i = 0; i < ARRAY_LEN(who); i++) {
        if (p->insecure)
            probe_excuse(p->report, who[i]);
        failed = failed || probe_severity_of(p->report, who[i]) == PROBE_FAIL;
    }
    return !failed;
}

bool probe_tls(struct probe *p)
{
    struct tls_peer peer;

    if (!p->target.tls) {
        probe_skip(p->report, PROBE_TLS_HANDSHAKE, "icap:// is clear text");
        for (unsigned i = 0; i < ARRAY_LEN(later); i++)
            probe_skip(p->report, later[i], "icap:// is clear text");
        return true;
    }
    if (!probe_tls_first(p, &peer))
        return false;
    probe_tls_look(p, &peer);
    probe_tls_old_versions(p);
    try_clear_text(p);
    if (!probe_tls_content(p))
        return false;
    try_resumption(p);
    return true; /* OPTIONS will show what remains of it */
}
