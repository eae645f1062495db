/* SPDX-License-Identifier: Apache-2.0 */
/* Both ICAP engines wired back to back in memory, with pieces of random size on the way. Property:
 * the body that the client ends up with is the one it sent, whatever the service decides. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "icap/icap_client_engine.h"

#define RES "HTTP/1.1 200 OK\r\n\r\n"

struct pair {
    struct icap_client_engine *c;
    struct icap_engine *s;
    struct buf to_server, to_client, at_server, at_client, original;
    uint32_t dice;
    unsigned decision; /* what the server says */
    bool answered, client_end, server_end, go_on;
    uint64_t from; /* 206 */
    size_t sent;   /* of the original */
};

static unsigned roll(struct pair *p, unsigned sides)
{
    p->dice = p->dice * 1664525u + 1013904223u;
    return (p->dice >> 8) % sides;
}

static void move_output(struct chain *out, struct buf *to)
{
    for (uint32_t i = 0; i < out->n; i++) {
        const struct segment *s = chain_at(out, i);

        buf_add(to, s->kind == SEGMENT_SLICE ? slice_span(s->slice) : s->text);
    }
}

/* The service: 0 echoes at the end, 1 echoes while it reads, 2 says 204, 3 says 206, 4 continues
 * and then echoes. */
static void serve_start(struct pair *p)
{
    const struct icap_reply r = {
        .status = p->decision == 3 ? 206 : 200,
        .part = ICAP_PART_RESPONSE,
        .http_head = {RES,   sizeof RES - 1},
        .trailer_names = {"X-T", 3             },
        .has_body = true
    };

    assert_int_equal(icap_reply_head(p->s, &r), OK);
    p->answered = true;
}

static void serve_final(struct pair *p)
{
    if (p->decision == 2 && icap_may_204(p->s)) {
        p->answered = true;
        assert_int_equal(icap_no_change(p->s, &(struct icap_reply){0}), OK);
        return;
    }
    if (p->decision == 3 && !icap_may_206(p->s))
        p->decision = 0;
    if (!p->answered)
        serve_start(p);
    if (p->decision == 3) {
        uint64_t from = p->at_server.n / 2;

        assert_int_equal(icap_reply_copy(p->s, span_sub(buf_span(&p->at_server), 0, (size_t)from)),
                         OK);
        assert_int_equal(icap_reply_original(p->s, from), OK);
        return;
    }
    if (p->decision != 1)
        assert_int_equal(icap_reply_copy(p->s, buf_span(&p->at_server)), OK);
    assert_int_equal(icap_reply_end(p->s, SPAN_NONE, SPAN("X-T: done\r\n")), OK);
}

static void server_body(struct pair *p, struct slice s)
{
    buf_add(&p->at_server, slice_span(s));
    if (p->decision == 1 && icap_current(p->s) && !icap_current(p->s)->has_preview) {
        if (!p->answered)
            serve_start(p);
        assert_int_equal(icap_reply_body(p->s, s), OK);
    }
    block_unref(s.block);
}

static void server_events(struct pair *p)
{
    struct icap_event ev;

    while (icap_next(p->s, &ev)) {
        switch (ev.kind) {
        case ICAP_EV_REQUEST:
            if (p->decision == 1 && icap_current(p->s)->has_preview)
                p->decision = 4;
            break;
        case ICAP_EV_BODY: server_body(p, ev.slice); break;
        case ICAP_EV_PREVIEW_END:
            if (ev.ieof)
                break;
            if (p->decision == 4 || p->decision == 0 || (p->decision == 3 && !icap_may_206(p->s)))
                assert_int_equal(icap_go_on(p->s), OK);
            else
                serve_final(p);
            break;
        case ICAP_EV_END:
            p->server_end = true;
            if (!p->answered || p->decision == 1)
                serve_final(p);
            break;
        case ICAP_EV_REFUSED:
        case ICAP_EV_GONE: fail_msg("server: %s", ev.fault.why); break;
        case ICAP_EV_NONE: break;
        }
    }
}

static void client_events(struct pair *p)
{
    struct icap_client_event ev;

    while (icap_client_next(p->c, &ev)) {
        switch (ev.kind) {
        case ICAP_CLIENT_EV_GO_ON: p->go_on = true; break;
        case ICAP_CLIENT_EV_REPLY:
            if (icap_client_reply(p->c)->status == 204)
                buf_add(&p->at_client, buf_span(&p->original));
            break;
        case ICAP_CLIENT_EV_BODY:
            buf_add(&p->at_client, slice_span(ev.slice));
            block_unref(ev.slice.block);
            break;
        case ICAP_CLIENT_EV_ORIGINAL:
            buf_add(&p->at_client, span_sub(buf_span(&p->original), (size_t)ev.from, SIZE_MAX));
            break;
        case ICAP_CLIENT_EV_END: p->client_end = true; break;
        case ICAP_CLIENT_EV_FAILED: fail_msg("client: %s", ev.fault.why); break;
        case ICAP_CLIENT_EV_NONE: break;
        }
    }
}

/* Moves a random piece of |wire| to whoever reads it. */
static void deliver(struct pair *p, struct buf *wire, bool to_server)
{
    struct block *b = block_new();
    uint32_t n = 1 + roll(p, roll(p, 2) ? 9 : 30000);
    size_t used = 0;

    assert_non_null(b);
    if (n > wire->n)
        n = (uint32_t)wire->n;
    memcpy(b->data, wire->p, n);
    if (to_server)
        assert_int_equal(icap_feed(p->s, (struct slice){b, 0, n}, &used), OK);
    else
        assert_int_equal(icap_client_feed(p->c, (struct slice){b, 0, n}, &used), OK);
    buf_drop(wire, used);
    block_unref(b);
    server_events(p);
    client_events(p);
}

static void send_some(struct pair *p)
{
    size_t left = p->original.n - p->sent;
    size_t n = roll(p, 40000);
    struct block *b = block_new();

    assert_non_null(b);
    if (n > left)
        n = left;
    memcpy(b->data, p->original.p + p->sent, n);
    p->sent += n;
    assert_int_equal(
        icap_client_body(p->c, (struct slice){b, 0, (uint32_t)n}, p->sent == p->original.n), OK);
    block_unref(b);
}

static void play_pair(struct pair *p, bool preview, bool allow)
{
    struct icap_client_request r = {.method = ICAP_RESPMOD,
                                    .uri = SPAN("icap://h/s"),
                                    .host = SPAN("h"),
                                    .http_response = SPAN(RES)};
    size_t size = roll(p, 4) ? roll(p, 200000) : roll(p, 3);
    bool whole_sent = false;

    for (size_t i = 0; i < size; i++)
        buf_char(&p->original, (char)roll(p, 256));
    r.has_body = true;
    r.has_preview = preview;
    r.preview = roll(p, 5000);
    r.allow = (struct icap_allow){allow, allow, true};
    assert_int_equal(icap_client_request(p->c, &r), OK);
    for (unsigned turns = 0; !p->client_end || !p->server_end; turns++) {
        assert_true(turns < 200000);
        if (!whole_sent && !p->client_end) {
            send_some(p);
            whole_sent = p->sent == p->original.n;
        }
        move_output(icap_client_output(p->c), &p->to_server);
        icap_client_sent(p->c, icap_client_output(p->c)->len);
        move_output(icap_output(p->s), &p->to_client);
        icap_sent(p->s, icap_output(p->s)->len);
        if (p->to_server.n && roll(p, 2))
            deliver(p, &p->to_server, true);
        if (p->to_client.n && roll(p, 2))
            deliver(p, &p->to_client, false);
    }
    assert_true(span_eq(buf_span(&p->at_client), buf_span(&p->original)));
}

static void pair_reset(struct pair *p)
{
    buf_reset(&p->at_server);
    buf_reset(&p->at_client);
    buf_reset(&p->original);
    p->answered = p->client_end = p->server_end = p->go_on = false;
    p->sent = 0;
}

static void pair_done(struct pair *p)
{
    buf_done(&p->to_server);
    buf_done(&p->to_client);
    buf_done(&p->at_server);
    buf_done(&p->at_client);
    buf_done(&p->original);
    icap_client_engine_free(p->c);
    icap_engine_free(p->s);
}

static void back_to_back(void **state)
{
    static const struct icap_identity identity = {
        {"sallyport", 9},
        {"none",      4}
    };
    struct pair p = {.dice = 4711};

    (void)state;
    assert_int_equal(icap_engine_new(&icap_limits_default, &identity, 0, &p.s), OK);
    assert_int_equal(icap_client_engine_new(&icap_limits_default, 0, &p.c), OK);
    for (unsigned round = 0; round < 200; round++) {
        p.decision = round % 5;
        play_pair(&p, round / 5 % 2, round / 10 % 2);
        /* the connection carries the next one when the client could finish */
        if (!icap_client_is_idle(p.c)) {
            icap_client_engine_free(p.c);
            icap_engine_free(p.s);
            buf_reset(&p.to_server);
            buf_reset(&p.to_client);
            assert_int_equal(icap_engine_new(&icap_limits_default, &identity, 0, &p.s), OK);
            assert_int_equal(icap_client_engine_new(&icap_limits_default, 0, &p.c), OK);
        }
        pair_reset(&p);
    }
    pair_done(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(back_to_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
