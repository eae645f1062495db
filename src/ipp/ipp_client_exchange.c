/* SPDX-License-Identifier: Apache-2.0 */
/* ipp_client_exchange.c - one request over a connection that is as it must be, and its answer (RFC
 * 8010 3.4: POST with application/ipp). */
#include <stdio.h>
#include <string.h>

#include "ipp/ipp_client_int.h"
#include "ipp/ipp_names.h"

/* A printer that says nothing for so long knows no 100 Continue (RFC 9110 10.1.1); libcups waits as
 * long. */
#define CONTINUE_MS 1000u
#define OUTPUT_HIGH (256u << 10) /* bytes of the document that are handed over at once */
#define PIECE_MAX   (1u << 20)

/* ---- what is demanded ---- */

/* What the printer has seen of who asks. */
static enum ipp_user user_now(const struct ipp_client *c)
{
    const struct digest_attempt *a = &c->printer.attempt;

    if (a->sent)
        return a->sent_digest ? IPP_USER_DIGEST : IPP_USER_BASIC;
    return c->set.login.user ? IPP_USER_CLAIMED : IPP_USER_NONE;
}

enum ipp_need ipp_client_lacks(const struct ipp_client *c)
{
    return ipp_demand_check(&c->set.plan.demand, c->level);
}

/* The channel was seen to when the connection was made. */
static bool lacks_user(const struct ipp_client *c)
{
    const struct ipp_level now = {IPP_CHANNEL_IMPLICIT, c->level.user};

    return ipp_demand_check(&c->set.plan.demand, now) != IPP_NEED_NOTHING;
}

/* Before anything goes out that is more than a question. False: it was told. */
static bool may_go_out(struct ipp_client *c)
{
    static const char doubt[] = "Digest is demanded (DAA), and the printer does not ask for it";

    c->level.user = user_now(c);
    if (!lacks_user(c) || c->doubted)
        return true;
    if (c->set.no_insist) {
        ipp_client_warn(c, "%s", doubt);
        c->doubted = true;
        return true;
    }
    ipp_client_fail(c, IPP_CLIENT_SECURITY, "%s", doubt);
    return false;
}

/* ---- the request ---- */

static enum err write_message(struct ipp_client *c)
{
    struct ipp_uri u = c->set.uri;
    struct writer w = writer_of(c->uri, sizeof c->uri);

    /* The draft, 3.0: a list is for those who know what it means. */
    if (!c->sallyport)
        u.auth = 0;
    TRY(ipp_uri_format(&u, &w));
    const struct ipp_client_target t = {
        .uri = writer_span(&w),
        .major = c->major,
        .minor = c->major == 1 ? 1 : 0,
        .request_id = c->request_id,
    };

    buf_reset(&c->message);
    return c->r.write(c->r.write_arg, &t, &c->message);
}

static uint64_t total_len(const struct ipp_client *c)
{
    return c->message.n + c->r.len;
}

/* False: it was told. */
static bool send_head(struct ipp_client *c)
{
    char room[2048];
    struct buf fields;
    struct http_client_request r = {
        .method = SPAN("POST"),
        .target = span_of(c->target),
        .host = span_of(c->authority),
        .has_body = true,
        .length = total_len(c),
        .expect = c->r.len > 0,
    };

    buf_init_on(&fields, room, sizeof room, 16384);
    buf_text(&fields,
             "Content-Type: application/ipp\r\nUser-Agent: sallyport/" SALLYPORT_VERSION "\r\n");
    bool ok = ipp_client_credentials(c, &c->printer, SPAN("POST"), span_of(c->target), &fields);

    r.fields = buf_span(&fields);
    if (ok && (fields.err || http_client_request(c->engine, &r) != OK)) {
        ipp_client_fail(c, IPP_CLIENT_LOCAL, "no memory for a request");
        ok = false;
    }
    if (fields.p)
        explicit_bzero(fields.p, fields.cap);
    explicit_bzero(room, sizeof room);
    buf_done(&fields);
    return ok;
}

void ipp_client_begin(struct ipp_client *c)
{
    c->state = CLIENT_REQUEST;
    c->handed = c->rest = 0;
    c->status = 0;
    c->repeat = c->scanned = c->holds = false;
    c->scan = (struct ipp_scan){0};
    c->printer.attempt.sent = c->printer.attempt.sent_digest = false;
    buf_reset(&c->answer);
    enum err e = write_message(c);

    if (e) {
        ipp_client_fail(c, IPP_CLIENT_LOCAL, "the request cannot be written: %s", err_text(e));
        return;
    }
    if (!send_head(c))
        return;
    /* With a document nothing of the body goes out before the printer had a chance to ask. */
    if (c->r.len == 0 && !c->r.harmless && !may_go_out(c))
        return;
    c->holds = c->r.len > 0;
    c->until_ms = c->holds ? loop_now_ms(c->loop) + CONTINUE_MS : UINT64_MAX;
    ipp_client_queue(c);
}

/* ---- its body ---- */

static enum err hand_message(struct ipp_client *c)
{
    struct span rest = span_sub(buf_span(&c->message), (size_t)c->handed, BLOCK_SIZE);
    struct block *b = block_new();

    if (!b)
        return ERR_NOMEM;
    memcpy(b->data, rest.p, rest.n);
    b->used = (uint32_t)rest.n;
    enum err e = http_client_body(c->engine, (struct slice){b, 0, b->used},
                                  c->handed + rest.n == total_len(c));

    block_unref(b);
    if (e == OK)
        c->handed += rest.n;
    return e;
}

static enum err hand_document(struct ipp_client *c)
{
    uint64_t off = c->handed - c->message.n, n = c->r.len - off;

    if (n > PIECE_MAX)
        n = PIECE_MAX;
    TRY(http_client_body_file(c->engine, c->document, off, n, off + n == c->r.len));
    c->handed += n;
    c->result.document_sent = true;
    return OK;
}

/* After an early answer the rest is not handed over: the connection ends with it. */
bool ipp_client_hand_over(struct ipp_client *c)
{
    bool moved = false;

    while (c->state == CLIENT_REQUEST && !c->holds && !c->status && c->handed < total_len(c) &&
           http_client_output(c->engine)->len < OUTPUT_HIGH) {
        enum err e = c->handed < c->message.n ? hand_message(c) : hand_document(c);

        if (e) {
            ipp_client_fail(c, IPP_CLIENT_LOCAL, "no memory for a request");
            break;
        }
        moved = true;
    }
    return moved;
}

static void let_body_go(struct ipp_client *c)
{
    c->holds = false;
    c->until_ms = UINT64_MAX;
}

void ipp_client_release(struct ipp_client *c)
{
    if (!c->holds || !may_go_out(c))
        return;
    let_body_go(c);
    http_client_send_body(c->engine);
}

static void on_go_on(struct ipp_client *c)
{
    if (c->holds && may_go_out(c))
        let_body_go(c);
}

/* ---- the answer's head ---- */

/* RFC 9110 15.5.22; 418 is what the draft calls it (3.1), and a joke elsewhere, so it counts only
 * with an Upgrade field that says what is meant. */
static void on_upgrade_demand(struct ipp_client *c, const struct http_answer *a)
{
    bool names = ipp_head_names_tls(a->head, NULL);

    if (!names && a->status == 418)
        ipp_client_fail(c, IPP_CLIENT_REFUSED,
                        "the printer answered HTTP 418, and does not say that it wants TLS");
    else if (!names)
        ipp_client_fail(c, IPP_CLIENT_SECURITY,
                        "the printer wants something else than clear text (HTTP 426) and does not "
                        "say what: a proxy in between may have taken that off; use -p");
    else if (c->level.channel != IPP_CHANNEL_CLEAR || c->in_spite || c->upgrade_wanted)
        ipp_client_fail(c, IPP_CLIENT_SECURITY,
                        "the printer wants TLS (HTTP %u), and does not take what it gets",
                        a->status);
    else {
        c->upgrade_wanted = true;
        c->next_way = 0;
        ipp_client_let_go(c);
        ipp_client_open(c);
    }
}

static void on_refusal(struct ipp_client *c, unsigned status)
{
    const char *what = status == 403   ? ": it does not let us in"
                       : status == 404 ? ": it knows no such path"
                       : status == 413 ? ": the document is too large for it"
                       : status == 503 ? ": it is busy, or down"
                                       : "";

    ipp_client_fail(c, status / 100 == 5 ? IPP_CLIENT_NETWORK : IPP_CLIENT_REFUSED,
                    "the printer answered HTTP %u%s", status, what);
}

static void on_answer(struct ipp_client *c)
{
    const struct http_answer *a = http_client_answer(c->engine);

    c->status = c->result.http_status = a->status;
    let_body_go(c);
    ipp_client_note_server(c, a->head);
    if (a->status == 401)
        ipp_client_challenged(c, &c->printer, a->head);
    else if (a->status == 426 || a->status == 418)
        on_upgrade_demand(c, a);
    else if (a->status != 200)
        on_refusal(c, a->status);
    else if (!ipp_head_is_ipp(a->head))
        ipp_client_fail(c, IPP_CLIENT_NETWORK,
                        "what was answered is not application/ipp: that is no printer, or the "
                        "answer to somebody else's request");
    else
        (void)ipp_client_let_in(c, a->head);
}

/* ---- the answer's body ---- */

static void on_flaw(struct ipp_client *c, const struct ipp_fault *f)
{
    ipp_client_fail(c, IPP_CLIENT_NETWORK, "the printer's answer is no legal IPP: octet %zu: %s",
                    f->off, ipp_flaw_text(f->flaw));
}

static void on_rest(struct ipp_client *c, uint64_t n)
{
    c->rest += n;
    if (c->rest <= IPP_CLIENT_REST_MAX)
        return;
    if (c->repeat)
        ipp_client_start_over(c);
    else
        ipp_client_fail(c, IPP_CLIENT_NETWORK, "the printer's answer does not end");
}

static void on_body(struct ipp_client *c, struct span bytes)
{
    const struct ipp_limits lim = IPP_LIMITS_DEFAULT;
    struct ipp_fault f;
    size_t used = 0;

    if (!c->repeat && !c->scanned) {
        enum err e = ipp_scan_feed(&c->scan, &lim, bytes, &used, &f);

        buf_add(&c->answer, span_sub(bytes, 0, used));
        c->scanned = e == OK;
        if (c->answer.err)
            ipp_client_fail(c, IPP_CLIENT_LOCAL, "no memory for the printer's answer");
        else if (e && e != ERR_AGAIN)
            on_flaw(c, &f);
    }
    if (c->state == CLIENT_REQUEST)
        on_rest(c, bytes.n - used);
}

bool ipp_client_is_cut_short(const struct ipp_client *c)
{
    return c->handed < total_len(c) || http_client_output(c->engine)->len > 0 ||
           http_client_answer(c->engine)->cut_short || stream_flush(c->stream) != OK;
}

/* RFC 8011 4.1.8: the version that every printer knows. */
static bool is_too_new(const struct ipp_client *c)
{
    return c->parsed.header.code == IPP_SERVER_ERROR_VERSION_NOT_SUPPORTED && c->major == 2;
}

static void on_message(struct ipp_client *c)
{
    const struct ipp_limits lim = IPP_LIMITS_DEFAULT;
    struct ipp_fault f;

    if (!c->scanned)
        ipp_client_fail(c, IPP_CLIENT_NETWORK, "the printer's answer ends within its attributes");
    else if (ipp_message_parse(IPP_RESPONSE, buf_span(&c->answer), &lim, &c->parsed, &f) != OK)
        on_flaw(c, &f);
    else if (c->parsed.header.request_id != c->request_id)
        ipp_client_fail(c, IPP_CLIENT_NETWORK,
                        "the printer answered request %u instead of %u: somebody in between may "
                        "have asked in our place",
                        (unsigned)c->parsed.header.request_id, (unsigned)c->request_id);
    else if (c->parsed.header.code < IPP_CLIENT_ERROR_BAD_REQUEST && ipp_client_is_cut_short(c))
        ipp_client_fail(c, IPP_CLIENT_NETWORK,
                        "the printer said yes before it had the whole document");
    else if (is_too_new(c)) {
        c->major = 1;
        ipp_client_start_over(c);
    } else {
        c->level.user = user_now(c);
        ipp_client_done(c);
    }
}

static void on_end(struct ipp_client *c)
{
    if (!c->repeat) {
        on_message(c);
    } else if (http_client_answer(c->engine)->keep_alive && !ipp_client_is_cut_short(c)) {
        /* The engine is ready when it has said that nothing more waits: on the next turn. */
        c->state = CLIENT_START;
        c->repeat = false;
        c->reused = true;
        ipp_client_queue(c);
    } else {
        ipp_client_start_over(c);
    }
}

/* ---- when it breaks ---- */

/* RFC 9110 9.2.2: the connection had been closed when we wrote to it. */
static void on_failed(struct ipp_client *c, const struct fault *f)
{
    if (f->err == ERR_RESET && c->reused && !c->again && !c->result.document_sent) {
        c->again = true;
        ipp_client_start_over(c);
    } else if (c->repeat) {
        ipp_client_start_over(c); /* what counts of a 401 is here */
    } else if (f->err == ERR_TIMEOUT) {
        ipp_client_fail(c, IPP_CLIENT_NETWORK, "the printer does not answer: %s", f->why);
    } else if (f->err == ERR_NOMEM) {
        ipp_client_fail(c, IPP_CLIENT_LOCAL, "no memory for the printer's answer");
    } else {
        ipp_client_broke(c, "no good answer from the printer", f->why);
    }
}

void ipp_client_exchange_event(struct ipp_client *c, const struct http_client_event *ev)
{
    switch (ev->kind) {
    case HTTP_CLIENT_EV_NONE: break;
    case HTTP_CLIENT_EV_GO_ON: on_go_on(c); break;
    case HTTP_CLIENT_EV_SWITCHED:
        ipp_client_fail(c, IPP_CLIENT_NETWORK, "the printer switches protocols");
        break;
    case HTTP_CLIENT_EV_ANSWER: on_answer(c); break;
    case HTTP_CLIENT_EV_BODY: on_body(c, slice_span(ev->slice)); break;
    case HTTP_CLIENT_EV_END: on_end(c); break;
    case HTTP_CLIENT_EV_FAILED: on_failed(c, &ev->fault); break;
    }
}
