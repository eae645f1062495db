/* SPDX-License-Identifier: Apache-2.0 */
/* OPTIONS, and TLS on a connection that began in clear text (RFC 2817). Only OPTIONS upgrades,
 * where the listener does not say otherwise: with another request somebody in between could put his
 * own before another client's handshake, and that client would read its answer. */
#include "ipp/ipp_client.h"
#include "ipp/ipp_server_int.h"
#include "protect/tls_context.h"

/* The lowest that every client knows; which version it is the handshake says. */
#define UPGRADE "Upgrade: TLS/1.2, HTTP/1.1\r\n"

struct span ipp_upgrade_field(void)
{
    return SPAN(UPGRADE);
}

bool ipp_offers_tls(const struct http_request *req)
{
    return req->upgrades && ipp_head_names_tls(req->head, NULL);
}

bool ipp_may_upgrade(const struct ipp_exchange *ex)
{
    const struct listener_settings *s = http_connection_accepted(ex->conn->http)->settings;

    return ex->level.channel == IPP_CHANNEL_CLEAR && s->tls_upgrade &&
           !stream_is_tls(http_connection_stream(ex->conn->http));
}

/* RFC 9110 7.8: an Upgrade that Connection does not list is not for us. A hop that takes Connection
 * off and hands Upgrade on would have TLS begin with whoever is next, who may not be who was asked.
 * The drafts of 1998 were written before that. */
void ipp_upgrade_look(struct ipp_exchange *ex, const struct http_request *req)
{
    const struct listener_settings *s = http_connection_accepted(ex->conn->http)->settings;

    if (!req->upgrade_unlisted || !ipp_head_names_tls(req->head, NULL))
        return;
    ex->odd |= IPP_ODD_UPGRADE;
    if (s->ipp && s->ipp->takes_unlisted)
        http_take_unlisted(http_connection_engine(ex->conn->http));
}

static void answer(struct ipp_exchange *ex, struct span fields)
{
    ipp_reply_http(ex, 200, fields, NULL);
}

/* Clients wait for the final answer inside TLS, and some for ever (libcups 2.4). */
void ipp_upgrade_switched(struct ipp_exchange *ex)
{
    ex->level.channel = IPP_CHANNEL_UPGRADED;
    ex->upgraded = true;
    if (ex->state == EX_UPGRADE && ex->message)
        ipp_admit(ex);
    else if (ex->state == EX_UPGRADE)
        ipp_exchange_no_page(ex);
    else
        answer(ex, SPAN("Allow: OPTIONS, POST, GET, HEAD\r\n"));
}

/* False: it is answered. */
static bool switch_over(struct ipp_exchange *ex)
{
    const struct http_request *req = http_current(http_connection_engine(ex->conn->http));
    struct span offered = head_value(req->head, SPAN("Upgrade"));

    (void)span_copy(offered, ex->conn->offered, sizeof ex->conn->offered);
    enum err e = http_connection_switch(ex->conn->http, ipp_upgrade_field());

    if (e == OK)
        return true;
    ex->err = e;
    if (e == ERR_PROTO) {
        (void)span_copy(SPAN("bytes came in clear text behind a request for TLS"), ex->why,
                        sizeof ex->why);
        http_close_after(http_connection_engine(ex->conn->http));
        ipp_reply_http(ex, 400, SPAN_NONE,
                       "Nothing may follow a request for TLS before its answer.");
    } else {
        ipp_reply_http(ex, 503, SPAN_NONE, "TLS cannot begin now.");
    }
    return false;
}

void ipp_options_end(struct ipp_exchange *ex)
{
    const struct http_request *req = http_current(http_connection_engine(ex->conn->http));

    if (!ipp_may_upgrade(ex))
        answer(ex, SPAN("Allow: OPTIONS, POST, GET, HEAD\r\n"));
    else if (!ipp_offers_tls(req))
        answer(ex, SPAN("Allow: OPTIONS, POST, GET, HEAD\r\n" UPGRADE));
    else
        (void)switch_over(ex);
}

/* ---- the draft, to the letter ---- */

/* A question that is longer is kept for no handshake. */
#define PREAMBLE_MAX 65536u

/* What tells and changes nothing: it does no harm that it was said in clear text. */
static bool is_innocuous(const struct ipp_exchange *ex)
{
    switch (ex->header.code) {
    case IPP_OPERATION_GET_PRINTER_ATTRIBUTES:
    case IPP_OPERATION_GET_PRINTER_SUPPORTED_VALUES:
    case IPP_OPERATION_VALIDATE_JOB:
    case IPP_OPERATION_GET_JOBS:
    case IPP_OPERATION_GET_JOB_ATTRIBUTES: return true;
    default: return false;
    }
}

/* Who wants TLS for it does not want it done in clear text, and it cannot be taken over: it was
 * said where anybody could have written it. */
static void refuse_in_clear(struct ipp_exchange *ex, struct span why)
{
    ex->err = ERR_POLICY;
    ex->rule_name = "upgrade";
    (void)span_copy(why, ex->why, sizeof ex->why);
    ex->wants_tls = true;
    ipp_reply_http(ex, 426, ipp_upgrade_field(), "Ask for TLS first, with OPTIONS.");
}

static bool is_to_the_letter(const struct ipp_exchange *ex, const struct http_request *req)
{
    const struct listener_settings *s = http_connection_accepted(ex->conn->http)->settings;

    return s->ipp && s->ipp->upgrade == IPP_UPGRADE_ANY && ipp_may_upgrade(ex) &&
           ipp_offers_tls(req);
}

bool ipp_upgrade_for_page(const struct ipp_exchange *ex, const struct http_request *req)
{
    return !req->has_body && is_to_the_letter(ex, req);
}

bool ipp_upgrade_wanted(struct ipp_exchange *ex)
{
    const struct http_request *req = http_current(http_connection_engine(ex->conn->http));

    if (!is_to_the_letter(ex, req))
        return false;
    ex->operation = ipp_operation_find(ex->header.code); /* for the record, should it end here */
    if (!is_innocuous(ex) || ex->early.len > 0) {
        refuse_in_clear(ex,
                        SPAN("what changes something came in clear text, with an offer of TLS"));
        return true;
    }
    if (ex->attributes.n > PREAMBLE_MAX) {
        http_close_after(http_connection_engine(ex->conn->http));
        refuse_in_clear(ex,
                        SPAN("a question of over 64 KiB came in clear text, with an offer of TLS"));
        return true;
    }
    ex->state = EX_UPGRADE;
    if (ex->request_over)
        ipp_upgrade_end(ex);
    return true;
}

bool ipp_upgrade_held_back(struct ipp_exchange *ex)
{
    const struct http_request *req = http_current(http_connection_engine(ex->conn->http));

    if (ex->attributes.n > 0 || !is_to_the_letter(ex, req))
        return false;
    refuse_in_clear(ex, SPAN("what would come in clear text, with an offer of TLS, is not known"));
    return true;
}

void ipp_upgrade_end(struct ipp_exchange *ex)
{
    (void)switch_over(ex);
}

/* Clients that begin with TLS name what they want to speak; those that upgrade name something else,
 * or nothing: such a handshake comes from a client that does not know of the request before it. */
void ipp_upgrade_failed(struct ipp_exchange *ex)
{
    const sallyport_report *r = stream_report(http_connection_stream(ex->conn->http));
    sallyport_why why = {.size = sizeof why};

    if ((ex->state == EX_OPTIONS || ex->state == EX_UPGRADE) &&
        sallyport_report_why(r, 0, &why) == 0 && tls_why_is_protocol(&why))
        ex->odd |= IPP_ODD_ALPN;
}
