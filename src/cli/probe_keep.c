/* SPDX-License-Identifier: Apache-2.0 */
/* probe_keep.c - more than one request on a connection, and its end. */
#include "cli/probe_int.h"

#define CLOSE_MS 2000u

static const char text[] = "A plain text for a connection that is kept.\n";

static void make_request(const struct probe *p, struct buf *out, bool close)
{
    struct probe_request r = {
        .method = p->methods & 1u << ICAP_RESPMOD ? ICAP_RESPMOD : ICAP_REQMOD,
        .name = "sallyport-probe.txt",
        .body = {text, sizeof text - 1},
        .allow_204 = true,
        .close = close
    };

    buf_init(out, 0);
    probe_add_request(p, &r, out);
}

static void try_keep_alive(struct probe *p)
{
    struct probe_talk k;
    struct probe_answer first, second;
    struct buf request;
    enum err e;

    make_request(p, &request, false);
    e = probe_fresh_exchange(p, &k, "the first of two requests", buf_span(&request), &first);
    if (e != OK) {
        probe_bad(p->report, PROBE_KEEP_ALIVE, "the first request is not answered: %s", k.why);
    } else if (span_ieq(probe_answer_field(&first, SPAN("Connection")), SPAN("close"))) {
        probe_bad(p->report, PROBE_KEEP_ALIVE, "the server says Connection: close each time");
    } else {
        e = probe_exchange(p, &k, "the second request of a connection", buf_span(&request),
                           &second);
        if (e != OK)
            probe_bad(p->report, PROBE_KEEP_ALIVE, "the second request of a connection: %s", k.why);
        else
            probe_ok(p->report, PROBE_KEEP_ALIVE,
                     "a second request on the same connection is answered");
        probe_answer_done(&second);
    }
    probe_answer_done(&first);
    probe_talk_close(&k);
    probe_request_done(&request);
}

static void try_pipelining(struct probe *p)
{
    struct probe_talk k;
    struct probe_answer first, second;
    struct buf request, again;
    enum err e;

    make_request(p, &request, false);
    make_request(p, &again, false);
    buf_add(&request, buf_span(&again));
    buf_done(&again);
    probe_answer_init(&second, 1 << 20);
    e = probe_fresh_exchange(p, &k, "the first of two requests at once", buf_span(&request),
                             &first);
    if (e == OK)
        e = probe_talk_receive(&k, &second);
    if (e == OK && second.status == first.status)
        probe_ok(p->report, PROBE_PIPELINING, "two requests at once are answered");
    else if (e == OK)
        probe_bad(p->report, PROBE_PIPELINING, "two equal requests at once: status %u, then %u",
                  first.status, second.status);
    else
        probe_bad(p->report, PROBE_PIPELINING, "two requests at once: %s", k.why);
    probe_answer_done(&first);
    probe_answer_done(&second);
    probe_talk_close(&k);
    probe_request_done(&request);
}

static void try_close(struct probe *p)
{
    struct probe_talk k;
    struct probe_answer a;
    struct buf request;
    enum err e;

    make_request(p, &request, true);
    e = probe_fresh_exchange(p, &k, "a request with Connection: close", buf_span(&request), &a);
    if (e != OK)
        probe_bad(p->report, PROBE_CLOSE_IGNORED, "a request with Connection: close: %s", k.why);
    else if (!probe_talk_listen(&k, CLOSE_MS) && k.eof)
        probe_ok(p->report, PROBE_CLOSE_IGNORED, "Connection: close is obeyed");
    else
        probe_bad(p->report, PROBE_CLOSE_IGNORED,
                  "Connection: close, and %u seconds later it is still open", CLOSE_MS / 1000);
    probe_answer_done(&a);
    probe_talk_close(&k);
    probe_request_done(&request);
}

void probe_keep(struct probe *p)
{
    if (p->methods == 0 || probe_severity_of(p->report, PROBE_ADAPT_ANSWER) == PROBE_FAIL) {
        probe_skip(p->report, PROBE_KEEP_ALIVE, "requests are not answered anyway");
        probe_skip(p->report, PROBE_PIPELINING, "requests are not answered anyway");
        probe_skip(p->report, PROBE_CLOSE_IGNORED, "requests are not answered anyway");
        return;
    }
    try_keep_alive(p);
    try_pipelining(p);
    try_close(p);
}
