/* SPDX-License-Identifier: Apache-2.0 */
/* What comes back from a printer. */
#include <stdio.h>

#include "ipp/ipp_backend_int.h"
#include "ipp/ipp_names.h"

#define REST_MAX (64u << 10) /* bytes behind an answer's attributes that nobody reads */

static bool is_ipp(const struct head *h)
{
    struct span type = head_value(h, SPAN("Content-Type"));

    type = span_trim(span_cut(&type, ';'));
    return head_count(h, SPAN("Content-Type")) == 1 && span_ieq(type, SPAN("application/ipp"));
}

static const char *status_why(unsigned status)
{
    switch (status) {
    case 401: return "the printer asks the gateway for a password";
    case 403: return "the printer does not let the gateway in";
    case 404: return "the printer knows no such path: see `backend`";
    case 426: return "the printer wants TLS: write ipps: in `backend`";
    default: return "the printer answered with an HTTP error";
    }
}

/* 426 to a request in clear text: the next connection begins with TLS. A document is on its way by
 * now, and cannot be sent twice. */
static bool may_upgrade(struct ipp_errand *e, unsigned status)
{
    struct ipp_backend *b = e->backend;

    if (status != 426 || !b->set.tls || b->set.uri.secure || stream_is_tls(e->stream))
        return false;
    atomic_store(&b->set.known->upgrades, true);
    return !e->r.document && !e->again;
}

static void on_answer(struct ipp_errand *e)
{
    const struct http_answer *a = http_client_answer(e->engine);

    if (e->upgrade) {
        ipp_errand_upgrade_answer(e, a);
        return;
    }
    if (may_upgrade(e, a->status)) {
        ipp_errand_again(e);
        return;
    }
    e->answer.http_status = a->status;
    /* RFC 9110 15.5: it did not do what it was asked for. */
    e->answer.sent &= a->status < 400 || a->status > 499;
    if (a->status != 200)
        ipp_errand_end(e, ERR_UPSTREAM, status_why(a->status));
    else if (!is_ipp(a->head))
        ipp_errand_end(e, ERR_PROTO, "what the printer answered is not application/ipp");
}

static void on_flaw(struct ipp_errand *e, const struct ipp_fault *f)
{
    char why[200];

    (void)snprintf(why, sizeof why, "the printer's answer is no legal IPP: %s",
                   ipp_flaw_text(f->flaw));
    ipp_errand_end(e, ipp_flaw_err(f->flaw), why);
}

static void take_spare(struct ipp_errand *e)
{
    struct buf *spare = e->r.spare;

    if (e->octets.p || !spare)
        return;
    e->octets.p = spare->p;
    e->octets.cap = spare->cap;
    buf_init(spare, 0);
}

/* What follows the attributes is passed over: none of the operations that are let through answers
 * with data. */
static void on_body(struct ipp_errand *e, struct span bytes)
{
    struct ipp_fault f;
    size_t used = 0;

    if (!e->scanned) {
        enum err err = ipp_scan_feed(&e->scan, &e->backend->set.message, bytes, &used, &f);

        take_spare(e);
        buf_add(&e->octets, span_sub(bytes, 0, used));
        e->scanned = err == OK;
        if (e->octets.err)
            ipp_errand_end(e, ERR_NOMEM, "no memory for the printer's answer");
        else if (err && err != ERR_AGAIN)
            on_flaw(e, &f);
    }
    e->rest += bytes.n - used;
    if (e->rest > REST_MAX)
        ipp_errand_end(e, ERR_LIMIT, "the printer's answer does not end");
}

/* Not all of the request has gone out, and no more will. */
static bool is_cut_short(const struct ipp_errand *e)
{
    return e->handed < ipp_errand_len(e) || http_client_output(e->engine)->len > 0 ||
           http_client_answer(e->engine)->cut_short || stream_flush(e->stream) != OK;
}

static void take(struct ipp_errand *e)
{
    e->answer.message = &e->message;
    e->answer.octets = &e->octets;
    ipp_errand_end(e, OK, "");
}

static void on_end(struct ipp_errand *e)
{
    struct ipp_message *m = &e->message;
    struct ipp_header asked = {.request_id = 0};
    struct ipp_fault f;

    (void)ipp_header_read(e->r.attributes, &asked);
    if (!e->scanned)
        ipp_errand_end(e, ERR_PROTO, "the printer's answer ends within its attributes");
    else if (ipp_message_read(IPP_RESPONSE, buf_span(&e->octets), &e->scan, m, &f) != OK)
        on_flaw(e, &f);
    else if (m->header.request_id != asked.request_id)
        ipp_errand_end(e, ERR_PROTO, "the printer answered another request");
    else if (m->header.code < IPP_CLIENT_ERROR_BAD_REQUEST && is_cut_short(e))
        ipp_errand_end(e, ERR_PROTO, "the printer said yes before it had the whole document");
    else
        take(e);
}

/* RFC 9110 9.2.2: the connection had been closed when we wrote to it. */
static void on_failed(struct ipp_errand *e, const struct fault *f)
{
    if (f->err == ERR_RESET && e->reused && !e->r.document && !e->again) {
        ipp_errand_again(e);
        return;
    }
    ipp_errand_end(
        e,
        f->err == ERR_TIMEOUT || f->err == ERR_PROTO || f->err == ERR_NOMEM ? f->err : ERR_UPSTREAM,
        f->err == ERR_TIMEOUT ? "the printer does not answer" : f->why);
}
/* The answer to OPTIONS came inside TLS: now the request. */
static void upgraded(struct ipp_errand *e)
{
    e->upgrade = NOT_UPGRADING;
    e->greeted = true;
}

void ipp_errand_event(struct ipp_errand *e, const struct http_client_event *ev)
{
    switch (ev->kind) {
    case HTTP_CLIENT_EV_NONE:
    case HTTP_CLIENT_EV_GO_ON: break;
    case HTTP_CLIENT_EV_SWITCHED: ipp_errand_switched(e); break;
    case HTTP_CLIENT_EV_ANSWER: on_answer(e); break;
    case HTTP_CLIENT_EV_BODY:
        on_body(e, slice_span(ev->slice));
        block_unref(ev->slice.block);
        break;
    case HTTP_CLIENT_EV_END:
        if (e->upgrade)
            upgraded(e);
        else
            on_end(e);
        break;
    case HTTP_CLIENT_EV_FAILED: on_failed(e, &ev->fault); break;
    }
}
