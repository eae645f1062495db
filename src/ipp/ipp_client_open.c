/* SPDX-License-Identifier: Apache-2.0 */
/* ipp_client_open.c - from nothing to a connection that is as the URI demands: the proxy's tunnel
 * (RFC 9110 9.3.6), TLS by Upgrade (RFC 2817) or from the first byte. Nothing of IPP is said here.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "ipp/ipp_client_int.h"
#include "protect/policy.h"

#define USER_AGENT "User-Agent: sallyport/" SALLYPORT_VERSION "\r\n"
/* What is negotiated says the handshake; servers look for one that they know. */
#define OFFERED "TLS/1.3, TLS/1.2"

/* ---- ways ---- */

static void authority_make(struct ipp_client *c)
{
    bool v6 = strchr(c->host, ':') != NULL;

    (void)snprintf(c->authority, sizeof c->authority, v6 ? "[%s]:%u" : "%s:%u", c->host,
                   c->way.port);
}

/* The list cannot be satisfied, and whoever runs us has said to go on. */
static bool open_in_spite(struct ipp_client *c)
{
    if (!c->set.no_insist || !c->not_upgraded || c->in_spite)
        return false;
    ipp_client_warn(c, "%s; what follows goes over the net in clear text", c->result.why);
    c->in_spite = true;
    c->way = (struct ipp_client_way){IPP_CLIENT_CLEAR, c->set.plan.ways[0].port};
    return true;
}

void ipp_client_open(struct ipp_client *c)
{
    if (c->next_way < c->set.plan.n_ways)
        c->way = c->set.plan.ways[c->next_way++];
    else if (!open_in_spite(c))
        return;
    if (c->way.how == IPP_CLIENT_CLEAR && c->upgrade_wanted && !c->in_spite)
        c->way.how = IPP_CLIENT_UPGRADE;
    authority_make(c);
    ipp_client_connect(c);
}

/* This way does not lead there; perhaps another one does. The first sentence is the one that
 * counts, but what a list demands and is not there counts more than a port where nobody listens. */
PRINTF(3, 4)
static void way_failed(struct ipp_client *c, enum ipp_client_end end, const char *fmt, ...)
{
    bool more = c->next_way < c->set.plan.n_ways;
    va_list ap;

    if (!c->failed_before || (end == IPP_CLIENT_SECURITY && c->result.end != end)) {
        c->result.end = end;
        va_start(ap, fmt);
        (void)vsnprintf(c->result.why, sizeof c->result.why, fmt, ap);
        va_end(ap);
    }
    c->failed_before = true;
    ipp_client_let_go(c);
    if (more || (c->set.no_insist && c->not_upgraded && !c->in_spite)) {
        ipp_client_open(c);
        return;
    }
    char why[IPP_CLIENT_TEXT_MAX];

    (void)snprintf(why, sizeof why, "%s", c->result.why);
    ipp_client_fail(c, c->result.end, "%s", why);
}

/* ---- a connection as it must be ---- */

static void note_report(struct ipp_client *c)
{
    const sallyport_report *report = stream_report(c->stream);
    sallyport_how how = {.size = sizeof how};

    c->result.how[0] = '\0';
    if (sallyport_report_how(report, &how) == 0)
        (void)span_copy(span_of(how.text), c->result.how, sizeof c->result.how);
    (void)span_copy(span_of(sallyport_peer_text(sallyport_report_peer(report))), c->result.who,
                    sizeof c->result.who);
}

/* Belt and braces: the ways are made so that this holds. */
static bool is_as_demanded(struct ipp_client *c)
{
    const struct ipp_level now = {.channel = c->level.channel};
    enum ipp_need need = ipp_demand_check(&c->set.plan.demand, now);

    if (c->in_spite || (need != IPP_NEED_UPGRADE && need != IPP_NEED_SECURE_PORT))
        return true;
    ipp_client_fail(c, IPP_CLIENT_SECURITY,
                    "TLS is demanded, and the connection is in clear text: nothing was sent");
    return false;
}

static void ready(struct ipp_client *c)
{
    note_report(c);
    c->http.head_ms = c->set.answer_ms;
    if (!is_as_demanded(c))
        return;
    c->state = CLIENT_START;
    ipp_client_queue(c);
}

/* ---- TLS ---- */

static void start_tls(struct ipp_client *c, struct tls_context *tls)
{
    if (!tls) {
        ipp_client_fail(c, IPP_CLIENT_SECURITY, "the printer wants TLS, which is not set up here");
        return;
    }
    c->state = CLIENT_HANDSHAKE;
    timer_set(c->loop, &c->timer, loop_now_ms(c->loop) + c->set.connect_ms);
    if (stream_start_tls(c->stream, tls, c->host) != OK)
        ipp_client_fail(c, IPP_CLIENT_SECURITY, "TLS cannot begin: %s", stream_error(c->stream));
}

static bool is_good_tls(struct ipp_client *c)
{
    const struct protect_policy policy = {
        .require = c->set.insecure ? SALLYPORT_NONE : SALLYPORT_STRONG,
        .peer = !c->set.insecure,
    };
    char text[PROTECT_WHY_MAX];
    sallyport_why why;

    if (protect_policy_check(&policy, stream_report(c->stream), &why) == OK)
        return true;
    ipp_client_fail(c, IPP_CLIENT_SECURITY, "TLS with %s does not do: %s", c->host,
                    protect_why_text(&why, text));
    return false;
}

void ipp_client_handshake(struct ipp_client *c, unsigned events)
{
    if (events & STREAM_FAILED) {
        ipp_client_fail(c, IPP_CLIENT_SECURITY, "no TLS with %s: %s", c->host,
                        stream_error(c->stream));
        return;
    }
    if (!(events & STREAM_OPEN) || !is_good_tls(c))
        return;
    timer_clear(c->loop, &c->timer);
    stream_arm(c->stream, 0);
    if (c->way.how == IPP_CLIENT_IMPLICIT) {
        c->level.channel = IPP_CHANNEL_IMPLICIT;
        if (ipp_client_engine(c))
            ready(c);
        return;
    }
    c->level.channel = IPP_CHANNEL_UPGRADED;
    c->state = CLIENT_FINAL;
    if (http_client_switched(c->engine) != OK)
        ipp_client_fail(c, IPP_CLIENT_LOCAL, "the upgrade cannot be ended");
    else
        ipp_client_queue(c);
}

/* ---- the upgrade ---- */

/* RFC 2817 3.2. Nothing that needs protection: a method that tells and changes nothing. */
static void ask_upgrade(struct ipp_client *c)
{
    const struct http_client_request r = {
        .method = SPAN("OPTIONS"),
        .target = SPAN("*"),
        .host = span_of(c->authority),
        .fields = SPAN(USER_AGENT),
        .upgrade = SPAN(OFFERED),
        .head_only = true,
    };

    c->state = CLIENT_UPGRADE;
    if (http_client_request(c->engine, &r) != OK)
        ipp_client_fail(c, IPP_CLIENT_LOCAL, "no memory for a request");
    else
        ipp_client_queue(c);
}

/* 101. TLS begins with what we say: whatever came behind it came from somebody else. */
static void switch_over(struct ipp_client *c)
{
    char one;

    if (!c->set.lenient && !ipp_head_names_tls(http_client_answer(c->engine)->head, NULL))
        ipp_client_fail(c, IPP_CLIENT_SECURITY,
                        "the printer switches to something that it does not call TLS");
    else if (c->leftover.len > 0 || stream_peek(c->stream, &one, 1) > 0)
        ipp_client_fail(c, IPP_CLIENT_SECURITY,
                        "something follows the printer's 101 before TLS has begun: somebody in "
                        "between may have put it there");
    else
        start_tls(c, c->set.tls_upgraded);
}

/* Anything but 101. */
static void not_upgraded(struct ipp_client *c, const struct http_answer *a)
{
    bool names = ipp_head_names_tls(a->head, NULL);

    if (a->status == 401) {
        ipp_client_fail(c, IPP_CLIENT_SECURITY,
                        "the printer asks for a password in clear text, before TLS has begun");
    } else if ((a->status == 426 || a->status == 418) && names) {
        ipp_client_fail(c, IPP_CLIENT_SECURITY,
                        "the printer wants a kind of TLS that is not spoken here");
    } else if (a->status / 100 == 5 && a->status != 501) {
        way_failed(c, IPP_CLIENT_NETWORK, "the printer answered the request for TLS with HTTP %u",
                   a->status);
    } else {
        c->not_upgraded = true;
        way_failed(c, IPP_CLIENT_SECURITY,
                   "the printer does not upgrade to TLS (it answered HTTP %u)", a->status);
    }
}

/* What is owed to the request for TLS, inside TLS. Of its framing only that counts by which another
 * answer could be told from it. */
static void final_answer(struct ipp_client *c, const struct http_answer *a)
{
    if (a->status / 100 != 2) {
        ipp_client_fail(c, IPP_CLIENT_NETWORK,
                        "the printer upgraded to TLS, and then answered HTTP %u", a->status);
        return;
    }
    if (!a->keep_alive) {
        ipp_client_fail(c, IPP_CLIENT_NETWORK,
                        "the printer answers OPTIONS inside TLS so that no request can follow");
        return;
    }
    ipp_client_note_server(c, a->head);
}

/* ---- the proxy ---- */

/* RFC 9110 9.3.6: TLS ends at the printer and not at the proxy, which is told no more than where.
 */
static void ask_tunnel(struct ipp_client *c)
{
    char room[1024];
    struct buf fields;
    struct http_client_request r = {
        .method = SPAN("CONNECT"),
        .target = span_of(c->authority),
        .host = span_of(c->authority),
        .tunnel = true,
    };

    c->state = CLIENT_TUNNEL;
    c->repeat = false;
    c->rest = 0;
    buf_init_on(&fields, room, sizeof room, 8192);
    buf_text(&fields, USER_AGENT);
    bool ok = ipp_client_credentials(c, &c->proxy, SPAN("CONNECT"), span_of(c->authority), &fields);

    r.fields = buf_span(&fields);
    if (ok && (fields.err || http_client_request(c->engine, &r) != OK))
        ipp_client_fail(c, IPP_CLIENT_LOCAL, "no memory for a request");
    else if (ok)
        ipp_client_queue(c);
    explicit_bzero(room, sizeof room);
    buf_done(&fields);
}

static void tunnel_answer(struct ipp_client *c, const struct http_answer *a)
{
    if (a->status / 100 == 2)
        return; /* SWITCHED follows */
    if (a->status == 407)
        ipp_client_challenged(c, &c->proxy, a->head);
    else if (a->status == 403 || a->status == 405)
        way_failed(c, IPP_CLIENT_NETWORK,
                   "the proxy lets nobody through to %s (it answered HTTP %u)", c->authority,
                   a->status);
    else
        ipp_client_fail(c, IPP_CLIENT_NETWORK, "the proxy answered HTTP %u for %s", a->status,
                        c->authority);
}

/* ---- in their order ---- */

/* The stream leads to the printer, or seems to. */
static void begin_way(struct ipp_client *c)
{
    if (c->leftover.len > 0) {
        ipp_client_fail(c, IPP_CLIENT_NETWORK,
                        "something follows the proxy's answer before anything was asked");
        return;
    }
    switch (c->way.how) {
    case IPP_CLIENT_CLEAR:
        if (ipp_client_engine(c))
            ready(c);
        break;
    case IPP_CLIENT_UPGRADE:
        if (ipp_client_engine(c))
            ask_upgrade(c);
        break;
    case IPP_CLIENT_IMPLICIT: start_tls(c, c->set.tls_implicit); break;
    }
}

static void on_answer(struct ipp_client *c)
{
    const struct http_answer *a = http_client_answer(c->engine);

    if (c->state == CLIENT_TUNNEL)
        tunnel_answer(c, a);
    else if (c->state == CLIENT_UPGRADE)
        not_upgraded(c, a);
    else
        final_answer(c, a);
}

static void on_end(struct ipp_client *c)
{
    if (c->state == CLIENT_FINAL) {
        ready(c);
    } else if (c->repeat) {
        /* The same connection may do; but a fresh one does in any case. */
        ipp_client_start_over(c);
    }
}

static void on_body(struct ipp_client *c, uint64_t n)
{
    c->rest += n;
    if (c->rest > IPP_CLIENT_REST_MAX && c->repeat)
        ipp_client_start_over(c);
}

static void on_failed(struct ipp_client *c, const struct fault *f)
{
    if (c->state == CLIENT_START && c->reused)
        ipp_client_start_over(c); /* said with the end of a connection that was idle */
    else if (c->state == CLIENT_START)
        ipp_client_fail(c, IPP_CLIENT_NETWORK,
                        "the printer says something before it was asked: somebody in between may "
                        "have asked in its client's place");
    else if (c->repeat)
        ipp_client_start_over(c); /* what counts of a 407 is here */
    else if (c->state == CLIENT_TUNNEL)
        ipp_client_fail(c, IPP_CLIENT_NETWORK, "no good answer from the proxy: %s", f->why);
    else if (c->state == CLIENT_UPGRADE)
        way_failed(c, IPP_CLIENT_NETWORK, "no good answer to the request for TLS: %s", f->why);
    else
        ipp_client_broke(c, "no good answer after TLS has begun", f->why);
}

void ipp_client_open_event(struct ipp_client *c, const struct http_client_event *ev)
{
    switch (ev->kind) {
    case HTTP_CLIENT_EV_NONE:
    case HTTP_CLIENT_EV_GO_ON: break;
    case HTTP_CLIENT_EV_SWITCHED:
        if (c->state == CLIENT_TUNNEL)
            begin_way(c);
        else
            switch_over(c);
        break;
    case HTTP_CLIENT_EV_ANSWER: on_answer(c); break;
    case HTTP_CLIENT_EV_BODY: on_body(c, ev->slice.len); break;
    case HTTP_CLIENT_EV_END: on_end(c); break;
    case HTTP_CLIENT_EV_FAILED: on_failed(c, &ev->fault); break;
    }
}

/* ---- connecting ---- */

static void on_stream(void *arg, unsigned events)
{
    struct ipp_client *c = arg;

    if (c->state == CLIENT_HANDSHAKE) {
        ipp_client_handshake(c, events);
        return;
    }
    stream_arm(c->stream, 0); /* told; the pump asks again */
    ipp_client_queue(c);
}

static void on_connected(void *arg, struct stream *stream, bool reused, enum err err,
                         const char *why)
{
    struct ipp_client *c = arg;

    (void)reused;
    c->ticket = NULL;
    if (!stream) {
        if (err == ERR_NOMEM)
            ipp_client_fail(c, IPP_CLIENT_LOCAL, "no memory for a connection");
        else if (c->set.proxy_host)
            ipp_client_fail(c, IPP_CLIENT_NETWORK, "the proxy: %s", why);
        else
            way_failed(c, IPP_CLIENT_NETWORK, "%s", why);
        return;
    }
    c->stream = stream;
    stream_set_callback(stream, on_stream, c);
    if (!c->set.proxy_host)
        begin_way(c);
    else if (ipp_client_engine(c))
        ask_tunnel(c);
}

void ipp_client_connect(struct ipp_client *c)
{
    const struct upstream_settings s = {
        .host = c->set.proxy_host ? c->set.proxy_host : c->host,
        .port = c->set.proxy_host ? c->set.proxy_port : c->way.port,
        .connect_ms = c->set.connect_ms,
        .idle_max = 1,
    };

    c->state = CLIENT_CONNECT;
    c->level.channel = IPP_CHANNEL_CLEAR;
    c->result.how[0] = c->result.who[0] = c->result.server[0] = '\0';
    c->http.head_ms = c->set.connect_ms;
    if (upstream_new(c->loop, &s, &c->upstream) != OK ||
        upstream_get(c->upstream, true, on_connected, c, &c->ticket) != OK)
        ipp_client_fail(c, IPP_CLIENT_LOCAL, "no memory for a connection");
}
