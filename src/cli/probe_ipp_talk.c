/* SPDX-License-Identifier: Apache-2.0 */
/* probe_ipp_talk.c - requests to a printer one by one, over probe_talk.h and with the engine that
 * our client uses: what it refuses the client refuses. */
#include "cli/probe_ipp_int.h"

#include <stdio.h>
#include <string.h>
#include <sys/uio.h>

#include "base/clock.h"

#define BODY_MAX  (2u << 20)
#define IOV_MAX_  8u
#define LISTEN_MS 250u

static uint64_t now_ms(void)
{
    return clock_mono_ms(&clock_system);
}

static enum err fail(struct ipp_talk *t, enum err e, const char *why)
{
    (void)snprintf(t->why, sizeof t->why, "%s", why);
    return e;
}

static void init(struct ipp_talk *t, const struct probe_target *to)
{
    *t = (struct ipp_talk){.limits = http_limits_default};
    t->k.fd = -1;
    t->limits.head_ms = t->limits.body_idle_ms = t->limits.write_idle_ms = to->answer_ms;
    t->limits.idle_ms = 0;
    arena_init(&t->mem, 1 << 20);
    buf_init(&t->head_text, 0);
    buf_init(&t->body, BODY_MAX);
}

static enum err engine_new(struct ipp_talk *t)
{
    return http_client_engine_new(&t->limits, now_ms(), &t->engine);
}

enum err ipp_talk_open(struct ipp_talk *t, const struct probe_target *to)
{
    init(t, to);
    enum err e = probe_talk_open_clear(&t->k, to);

    return e ? fail(t, e, t->k.why) : engine_new(t);
}

enum err ipp_talk_open_tls(struct ipp_talk *t, const struct probe_target *to)
{
    init(t, to);
    enum err e = probe_talk_open_tls(&t->k, to, TLS_PIPE_LOOSE, NULL);

    return e ? fail(t, e, t->k.why) : engine_new(t);
}

void ipp_talk_done(struct ipp_talk *t)
{
    http_client_engine_free(t->engine);
    t->engine = NULL;
    if (t->k.target)
        probe_talk_close(&t->k);
    arena_done(&t->mem);
    buf_done(&t->head_text);
    buf_done(&t->body);
}

/* ---- bytes ---- */

static enum err send_all(struct ipp_talk *t)
{
    struct chain *out = http_client_output(t->engine);
    struct iovec iov[IOV_MAX_];

    while (out->len > 0) {
        size_t n = 0;
        uint32_t count = chain_iovec(out, iov, IOV_MAX_, BLOCK_SIZE, &n);

        for (uint32_t i = 0; i < count; i++) {
            enum err e = probe_talk_send(&t->k, (struct span){iov[i].iov_base, iov[i].iov_len});

            /* The answer may be there although no more is taken. */
            if (e == ERR_EOF || e == ERR_RESET)
                return OK;
            if (e)
                return fail(t, e, t->k.why);
        }
        http_client_sent(t->engine, n);
    }
    return OK;
}

static enum err feed(struct ipp_talk *t, size_t max)
{
    struct block *b = block_new();
    struct span in = span_sub(buf_span(&t->k.in), 0, max);
    size_t used = 0;

    if (!b)
        return fail(t, ERR_NOMEM, "no memory");
    memcpy(b->data, in.p, in.n);
    b->used = (uint32_t)in.n;
    (void)!http_client_feed(t->engine, (struct slice){b, 0, b->used}, &used);
    block_unref(b);
    buf_drop(&t->k.in, used);
    return OK;
}

/* ---- answers ---- */

static void take_head(struct ipp_talk *t)
{
    const struct http_answer *a = http_client_answer(t->engine);
    const struct head_limits lim = {t->limits.request_line_max, t->limits.head_max,
                                    t->limits.fields_max};

    t->status = a->status;
    t->keep_alive = a->keep_alive;
    arena_reset(&t->mem);
    buf_reset(&t->head_text);
    buf_add(&t->head_text, a->head->text);
    if (head_parse(HEAD_HTTP_STATUS, buf_span(&t->head_text), &lim, &t->mem, &t->head, NULL) != OK)
        t->head = (struct head){0};
}

/* True: that was the last one. */
static bool on_event(struct ipp_talk *t, const struct http_client_event *ev, enum err *ret)
{
    switch (ev->kind) {
    case HTTP_CLIENT_EV_NONE:
    case HTTP_CLIENT_EV_GO_ON: return false;
    case HTTP_CLIENT_EV_ANSWER: take_head(t); return false;
    case HTTP_CLIENT_EV_SWITCHED:
        take_head(t);
        t->switched = true;
        return true;
    case HTTP_CLIENT_EV_BODY:
        buf_add(&t->body, slice_span(ev->slice));
        block_unref(ev->slice.block);
        return false;
    case HTTP_CLIENT_EV_END: return true;
    case HTTP_CLIENT_EV_FAILED: break;
    }
    *ret = fail(t, ev->fault.err, ev->fault.why);
    return true;
}

static bool take_events(struct ipp_talk *t, enum err *ret)
{
    struct http_client_event ev;
    bool last = false;

    while (!last && http_client_next(t->engine, &ev))
        last = on_event(t, &ev, ret);
    /* The engine is ready for another request once it has said that nothing waits. */
    while (last && !t->switched && *ret == OK && http_client_next(t->engine, &ev))
        (void)on_event(t, &ev, ret);
    return last;
}

/* What was cut off is no answer, if only the connection's end could tell where it ends. */
static enum err end_input(struct ipp_talk *t)
{
    enum err e = OK;

    if (t->k.tls_broke)
        http_client_cut(t->engine);
    else
        http_client_eof(t->engine);
    if (!take_events(t, &e))
        return fail(t, ERR_EOF, t->k.tls_broke ? t->k.why : "it closed the connection");
    return e;
}

/* |max| bytes at a time. */
static enum err receive(struct ipp_talk *t, size_t max)
{
    uint64_t until = now_ms() + t->k.target->answer_ms;
    enum err e = OK;

    while (!take_events(t, &e)) {
        if (t->body.err)
            break;
        /* Also while something comes: it may be the same for ever. */
        if (now_ms() >= until)
            return fail(t, ERR_TIMEOUT, "no whole answer within the time");
        if (t->k.in.n > 0)
            TRY(feed(t, max));
        else if (t->k.eof)
            return end_input(t);
        else
            (void)probe_talk_listen(&t->k, LISTEN_MS);
    }
    return t->body.err ? fail(t, t->body.err, "the answer is too long") : e;
}

enum err ipp_talk_exchange(struct ipp_talk *t, const struct http_client_request *r,
                           struct span body)
{
    t->status = 0;
    t->switched = t->has_message = false;
    buf_reset(&t->body);
    http_client_tick(t->engine, now_ms());
    if (http_client_request(t->engine, r) != OK)
        return fail(t, ERR_EOF, "the connection takes no further request");
    if (body.n) {
        struct block *b = block_new();

        if (!b || body.n > BLOCK_SIZE) {
            block_unref(b);
            return fail(t, ERR_NOMEM, "no memory");
        }
        memcpy(b->data, body.p, body.n);
        b->used = (uint32_t)body.n;
        enum err e = http_client_body(t->engine, (struct slice){b, 0, b->used}, true);

        block_unref(b);
        if (e)
            return fail(t, e, "no memory");
    }
    TRY(send_all(t));
    return receive(t, BLOCK_SIZE);
}

enum err ipp_talk_start_tls(struct ipp_talk *t, enum tls_pipe_rules rules)
{
    if (!t->switched)
        return fail(t, ERR_PROTO, "the request for TLS is not answered by 101");
    if (t->k.in.n > 0)
        return fail(t, ERR_PROTO, "bytes follow the 101");
    enum err e = probe_talk_start_tls(&t->k, rules);

    return e ? fail(t, e, t->k.why) : OK;
}

enum err ipp_talk_final(struct ipp_talk *t)
{
    t->status = 0;
    t->switched = false;
    if (http_client_switched(t->engine) != OK)
        return fail(t, ERR_BUG, "no request waits for an answer");
    /* Byte by byte: what follows the head is the caller's to look at. */
    return receive(t, 1);
}

/* ---- IPP ---- */

static enum err take_message(struct ipp_talk *t)
{
    const struct ipp_limits lim = IPP_LIMITS_DEFAULT;
    struct ipp_scan scan = {0};
    struct ipp_fault f = {0};
    size_t used = 0;
    enum err e = ipp_scan_feed(&scan, &lim, buf_span(&t->body), &used, &f);

    if (e == OK)
        e = ipp_message_parse(IPP_RESPONSE, span_sub(buf_span(&t->body), 0, used), &lim,
                              &t->message, &f);
    if (e == ERR_AGAIN)
        return fail(t, ERR_PROTO, "the answer ends within its attributes");
    if (e)
        return fail(t, e, ipp_flaw_text(f.flaw));
    if (t->message.header.request_id != 1)
        return fail(t, ERR_PROTO, "the answer has another request-id than the request");
    t->has_message = true;
    return OK;
}

enum err ipp_talk_ask(struct ipp_talk *t, const struct probe_ipp *p,
                      const struct ipp_client_message *m)
{
    const struct ipp_client_target to = {.uri = p->uri, .major = 2, .minor = 0, .request_id = 1};
    struct http_client_request r = {
        .method = SPAN("POST"),
        .target = p->target,
        .host = span_of(p->host_header),
        .fields = SPAN("Content-Type: application/ipp\r\nUser-Agent: sallyport/" SALLYPORT_VERSION
                       "\r\n"),
        .has_body = true,
    };
    struct buf message;
    enum err e;

    buf_init(&message, BLOCK_SIZE);
    e = ipp_client_message_write(m, &to, &message);
    r.length = message.n;
    if (e == OK)
        e = ipp_talk_exchange(t, &r, buf_span(&message));
    buf_done(&message);
    if (e)
        return e;
    if (t->status != 200)
        return OK;
    if (!ipp_head_is_ipp(&t->head))
        return fail(t, ERR_PROTO, "the answer is not application/ipp");
    return take_message(t);
}
