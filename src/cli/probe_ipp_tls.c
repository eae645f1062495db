/* SPDX-License-Identifier: Apache-2.0 */
/* probe_ipp_tls.c - TLS of a printer: by HTTP Upgrade (RFC 2817), and from the first byte (RFC
 * 7472). */
#include "cli/probe_ipp_int.h"

#include <stdio.h>

#include "ipp/ipp_names.h"

#define LONE_MS    300u /* a last-chunk that was announced comes within that, or not at all */
#define TICKETS_MS 300u
#define UPGRADE    "TLS/1.3, TLS/1.2"

/* ---- the request for TLS ---- */

static enum err exchange_upgrade(struct probe_ipp *p, struct ipp_talk *t)
{
    const struct http_client_request r = {
        .method = SPAN("OPTIONS"),
        .target = SPAN("*"),
        .host = span_of(p->host_header),
        .fields = SPAN("User-Agent: sallyport/" SALLYPORT_VERSION "\r\n"),
        .upgrade = SPAN(UPGRADE),
        .head_only = true,
    };

    TRY(ipp_talk_open(t, &p->base.target));
    return ipp_talk_exchange(t, &r, SPAN_NONE);
}

/* 101 as RFC 9110 wants it. */
static bool look_at_101(struct probe_ipp *p, const struct ipp_talk *t)
{
    struct probe_report *r = p->base.report;
    const struct head *h = &t->head;
    bool framed = head_count(h, SPAN("Content-Length")) || head_count(h, SPAN("Transfer-Encoding"));

    probe_ok(r, PROBE_IPP_UPGRADE, "OPTIONS with Upgrade is answered by 101");
    if (ipp_head_names_tls(h, NULL))
        probe_ok(r, PROBE_IPP_101_TOKEN, "101 names TLS: " SPAN_FMT,
                 SPAN_ARG(head_value(h, SPAN("Upgrade"))));
    else
        probe_bad(r, PROBE_IPP_101_TOKEN, "101 does not say to what it switches");
    if (head_has_token(h, SPAN("Connection"), SPAN("upgrade")))
        probe_ok(r, PROBE_IPP_101_CONNECTION, "101 has Connection: Upgrade");
    else
        probe_bad(r, PROBE_IPP_101_CONNECTION,
                  "101 has no Connection: Upgrade (it says: " SPAN_FMT ")",
                  SPAN_ARG(head_value(h, SPAN("Connection"))));
    if (framed)
        probe_bad(r, PROBE_IPP_101_FRAMING, "101 has Content-Length or Transfer-Encoding");
    else
        probe_ok(r, PROBE_IPP_101_FRAMING, "101 announces no body");
    if (t->k.in.n > 0)
        probe_bad(r, PROBE_IPP_101_BYTES, "%zu bytes follow the 101 in clear text", t->k.in.n);
    else
        probe_ok(r, PROBE_IPP_101_BYTES, "nothing follows the 101 in clear text");
    return t->k.in.n == 0;
}

static void look_at_framing(struct probe_ipp *p, struct ipp_talk *t)
{
    struct probe_report *r = p->base.report;
    bool chunked = head_has_token(&t->head, SPAN("Transfer-Encoding"), SPAN("chunked"));
    uint64_t length = 0;

    if (chunked && !probe_talk_listen(&t->k, LONE_MS))
        probe_bad(r, PROBE_IPP_UPGRADE_FRAMING,
                  "the answer to OPTIONS says that it is chunked, and no last chunk comes");
    else if (!chunked && head_content_length(&t->head, &length) == OK && length > 0)
        probe_bad(r, PROBE_IPP_UPGRADE_FRAMING, "the answer to OPTIONS announces a body");
    else
        probe_ok(r, PROBE_IPP_UPGRADE_FRAMING, "the answer to OPTIONS ends where it says");
}

static bool look_at_final(struct probe_ipp *p, struct ipp_talk *t)
{
    struct probe_report *r = p->base.report;
    enum err e = ipp_talk_final(t);

    if (e) {
        probe_bad(r, PROBE_IPP_UPGRADE_FINAL, "OPTIONS is not answered inside TLS: %s", t->why);
        return false;
    }
    if (t->status / 100 != 2)
        probe_bad(r, PROBE_IPP_UPGRADE_FINAL, "OPTIONS is answered with %u inside TLS", t->status);
    else
        probe_ok(r, PROBE_IPP_UPGRADE_FINAL, "OPTIONS is answered inside TLS");
    if (t->keep_alive)
        probe_ok(r, PROBE_IPP_UPGRADE_KEPT, "a request may follow the answer to OPTIONS");
    else
        probe_bad(r, PROBE_IPP_UPGRADE_KEPT,
                  "OPTIONS is answered inside TLS so that no request can follow");
    look_at_framing(p, t);
    return t->status / 100 == 2 && t->keep_alive;
}

static void note_protocol(struct probe_ipp *p, const struct tls_peer *peer)
{
    if (!p->protocol[0])
        (void)snprintf(p->protocol, sizeof p->protocol, "%s", peer->protocol);
}

static bool begin_tls(struct probe_ipp *p, struct ipp_talk *t)
{
    struct tls_peer peer;

    p->base.target.tls = p->tls_upgraded;
    if (ipp_talk_start_tls(t, TLS_PIPE_OURS) != OK) {
        probe_bad(p->base.report, PROBE_IPP_UPGRADE_TLS, "101, and then no TLS: %s", t->why);
        return false;
    }
    probe_ok(p->base.report, PROBE_IPP_UPGRADE_TLS, "TLS begins behind the 101");
    tls_pipe_peer(t->k.tls, &peer);
    note_protocol(p, &peer);
    probe_tls_look(&p->base, &peer);
    (void)span_copy(span_of(peer.certs[0].subject), p->subject, sizeof p->subject);
    p->not_after = peer.certs[0].not_after;
    return true;
}

static void not_101(struct probe_ipp *p, const struct ipp_talk *t)
{
    struct probe_report *r = p->base.report;

    if (t->status == 401)
        probe_bad(r, PROBE_IPP_UPGRADE_401, "OPTIONS with Upgrade is answered by 401");
    else
        probe_ok(r, PROBE_IPP_UPGRADE_401, "OPTIONS asks for no password");
    if (t->status)
        probe_say(r, PROBE_SECTION_UPGRADE, "OPTIONS with Upgrade is answered by %u, not 101",
                  t->status);
    else
        probe_say(r, PROBE_SECTION_UPGRADE, "OPTIONS with Upgrade is not answered: %s", t->why);
}

/* A client that wants TLS from the first byte says so by ALPN, and nobody can change that: who lets
 * it in behind an upgrade lets it be joined to another client's connection. Only where both are
 * there. */
static void try_alpn(struct probe_ipp *p)
{
    struct probe_report *r = p->base.report;
    struct ipp_talk t;
    bool joined;

    if (!p->upgrades || !p->implicit) {
        probe_skip(r, PROBE_IPP_UPGRADE_ALPN, "there are not both ways to TLS");
        return;
    }
    p->base.target.tls = p->tls_implicit;
    joined = exchange_upgrade(p, &t) == OK && ipp_talk_start_tls(&t, TLS_PIPE_LOOSE) == OK &&
             ipp_talk_final(&t) == OK;
    if (joined)
        probe_bad(r, PROBE_IPP_UPGRADE_ALPN,
                  "behind an upgrade a handshake is taken that says (ALPN " IPP_ALPN_IMPLICIT
                  ") that it begins a connection");
    else
        probe_ok(r, PROBE_IPP_UPGRADE_ALPN,
                 "behind an upgrade no handshake is taken that says that it begins a connection");
    ipp_talk_done(&t);
}

/* What a strict reader of lists does and others do not. */
static void try_list(struct probe_ipp *p)
{
    struct probe_report *r = p->base.report;
    struct probe_talk k;
    struct buf request;
    bool is_101 = false;

    buf_init(&request, 4096);
    buf_fmt(&request,
            "OPTIONS * HTTP/1.1\r\nHost: %s\r\nConnection: keep-alive, Upgrade\r\n"
            "Upgrade: " UPGRADE "\r\n\r\n",
            p->host_header);
    enum err e = probe_talk_open_clear(&k, &p->base.target);

    if (e == OK)
        e = probe_talk_send(&k, buf_span(&request));
    if (e == OK && probe_talk_listen(&k, p->base.target.answer_ms))
        is_101 = span_starts(buf_span(&k.in), SPAN("HTTP/1.1 101"));
    if (is_101)
        probe_ok(r, PROBE_IPP_UPGRADE_LIST, "Connection: keep-alive, Upgrade is understood, too");
    else
        probe_bad(r, PROBE_IPP_UPGRADE_LIST, "Connection: keep-alive, Upgrade is not understood");
    probe_talk_close(&k);
    buf_done(&request);
}

static void skip_upgrade(struct probe_ipp *p, const char *why)
{
    static const enum probe_check all[] = {
        PROBE_IPP_101_TOKEN,    PROBE_IPP_101_CONNECTION,  PROBE_IPP_101_FRAMING,
        PROBE_IPP_101_BYTES,    PROBE_IPP_UPGRADE_TLS,     PROBE_IPP_UPGRADE_FINAL,
        PROBE_IPP_UPGRADE_KEPT, PROBE_IPP_UPGRADE_FRAMING, PROBE_IPP_UPGRADE_LIST,
    };

    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        probe_skip(p->base.report, all[i], "%s", why);
}

void probe_ipp_upgrade(struct probe_ipp *p)
{
    struct ipp_talk *t = &p->tls;

    if (p->only_implicit) {
        probe_skip(p->base.report, PROBE_IPP_UPGRADE, "the URL says TLS from the first byte");
        skip_upgrade(p, "the URL says TLS from the first byte");
        return;
    }
    (void)!exchange_upgrade(p, t);
    if (!t->switched) {
        not_101(p, t);
        skip_upgrade(p, "there is no upgrade");
    } else {
        probe_ok(p->base.report, PROBE_IPP_UPGRADE_401, "OPTIONS asks for no password");
        p->upgrades = look_at_101(p, t) && begin_tls(p, t) && look_at_final(p, t);
        try_list(p);
    }
    if (!p->upgrades)
        ipp_talk_done(t);
}

/* ---- from the first byte ---- */

/* Tickets of TLS 1.3 come with what follows the handshake. */
static void look_for_tickets(struct probe_ipp *p, const struct ipp_talk *t)
{
    struct probe_report *r = p->base.report;
    struct tls_pipe *other = NULL;
    struct tls_peer peer;
    bool given;

    tls_pipe_peer(t->k.tls, &peer);
    if (!span_eq(span_of(peer.protocol), SPAN("TLSv1.3"))) {
        probe_ok(r, PROBE_IPP_TICKETS, "tickets of TLS 1.3 there are none in %s", peer.protocol);
        return;
    }
    if (tls_pipe_new(p->base.target.tls, p->base.target.host, -1, TLS_PIPE_LOOSE, &other) != OK)
        return;
    given = tls_pipe_resume(other, t->k.tls);
    tls_pipe_free(other);
    if (given)
        probe_bad(r, PROBE_IPP_TICKETS, "a session ticket comes after the handshake");
    else
        probe_ok(r, PROBE_IPP_TICKETS, "no session ticket comes after the handshake");
}

static void look_at_implicit(struct probe_ipp *p)
{
    const struct ipp_client_message m = {.operation = IPP_OPERATION_GET_PRINTER_ATTRIBUTES};
    struct ipp_talk other, *t = p->upgrades ? &other : &p->tls;

    if (ipp_talk_open_tls(t, &p->base.target) == OK && ipp_talk_ask(t, p, &m) == OK)
        look_for_tickets(p, t);
    else
        probe_skip(p->base.report, PROBE_IPP_TICKETS, "nothing was said inside TLS: %s", t->why);
    if (p->upgrades)
        ipp_talk_done(t);
}

/* One that offers TLS in no way. */
static void sum_up(struct probe_ipp *p)
{
    struct probe_report *r = p->base.report;

    if (p->implicit)
        probe_ok(r, PROBE_IPP_IMPLICIT, "TLS from the first byte on port %u", p->base.target.port);
    else if (p->upgrades)
        probe_bad(r, PROBE_IPP_IMPLICIT, "no TLS from the first byte on port %u",
                  p->base.target.port);
    else
        probe_skip(r, PROBE_IPP_IMPLICIT, "no TLS from the first byte on port %u",
                   p->base.target.port);
    if (p->implicit || p->upgrades)
        probe_ok(r, PROBE_IPP_NO_TLS, "there is TLS");
    else
        probe_bad(r, PROBE_IPP_NO_TLS,
                  "there is no TLS, neither by upgrade nor from the first byte");
    if (p->upgrades || p->only_implicit)
        return;
    if (p->implicit)
        probe_skip(r, PROBE_IPP_UPGRADE, "there is no TLS by upgrade");
    else
        probe_bad(r, PROBE_IPP_UPGRADE, "there is no TLS by upgrade");
}

/* The certificate behind the upgrade is mostly the same. */
static bool is_known(const struct probe_ipp *p, const struct tls_peer_cert *c)
{
    return p->upgrades && p->not_after == c->not_after &&
           span_eq(span_of(p->subject), span_of(c->subject));
}

void probe_ipp_implicit(struct probe_ipp *p)
{
    struct probe_report *r = p->base.report;
    struct probe_talk k;
    struct tls_peer peer;

    p->base.target.tls = p->tls_implicit;
    /* A port that takes clear text alone is no broken one: tried apart from the rest. */
    enum err e = probe_talk_open_tls(&k, &p->base.target, TLS_PIPE_LOOSE, NULL);

    p->implicit = e == OK;
    if (e)
        probe_say(r, PROBE_SECTION_IMPLICIT, "TLS from the first byte: %s", k.why);
    probe_talk_close(&k);
    if (p->implicit && probe_tls_first(&p->base, &peer)) {
        note_protocol(p, &peer);
        if (!is_known(p, &peer.certs[0]))
            probe_tls_look(&p->base, &peer);
        probe_tls_old_versions(&p->base);
        look_at_implicit(p);
    } else {
        probe_skip(r, PROBE_IPP_TICKETS, "there is no TLS from the first byte");
        probe_skip(r, PROBE_TLS_OLD_VERSION, "there is no TLS from the first byte");
        if (p->upgrades)
            probe_ok(r, PROBE_TLS_HANDSHAKE, "TLS stands, by upgrade");
        else
            probe_skip(r, PROBE_TLS_HANDSHAKE, "there is no TLS");
    }
    try_alpn(p);
    sum_up(p);
}

/* ---- again ---- */

static enum err upgrade_again(struct probe_ipp *p)
{
    struct ipp_talk *t = &p->tls;

    p->base.target.tls = p->tls_upgraded;
    TRY(exchange_upgrade(p, t));
    TRY(ipp_talk_start_tls(t, TLS_PIPE_LOOSE));
    return ipp_talk_final(t);
}

static enum err open_again(struct probe_ipp *p)
{
    ipp_talk_done(&p->tls);
    if (p->upgrades)
        return upgrade_again(p);
    p->base.target.tls = p->tls_implicit;
    return ipp_talk_open_tls(&p->tls, &p->base.target);
}

enum err probe_ipp_ask_tls(struct probe_ipp *p, const struct ipp_client_message *m)
{
    enum err e = ERR_EOF;

    if (p->tls.engine && http_client_is_idle(p->tls.engine))
        e = ipp_talk_ask(&p->tls, p, m);
    /* Some close after each answer, and some say something then. */
    if (e == ERR_EOF || e == ERR_RESET || (e == ERR_PROTO && !p->tls.status))
        e = open_again(p) == OK ? ipp_talk_ask(&p->tls, p, m) : ERR_EOF;
    return e;
}
