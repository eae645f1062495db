/* SPDX-License-Identifier: Apache-2.0 */
/* One pump for every event. */
#include "http/http_connection.h"

#include <stdlib.h>

#include "base/deadline.h"
#include "net/fair_queue.h"

#define ROUNDS_MAX  16u         /* of one pump: no peer may starve the others */
#define FEEDS_MAX   4u          /* of one round: of pipelined requests each takes one */
#define PUMP_US     100u        /* of one pump; then others have their turn */
#define OUTPUT_HIGH (64u << 10) /* answer bytes queued in the engine at once */
#define STARVED_MS  50u
#define LINGER_MS   2000u
#define FRESH_MS    2000u /* draining: how long a connection that was just made may begin to speak */

/* From clear text to TLS. ASKED: the 101 is on its way out. */
enum upgrade { UPGRADE_NONE, UPGRADE_ASKED, UPGRADE_HANDSHAKE, UPGRADE_DONE };

struct http_connection {
    struct http_connection_settings set;
    struct accepted accepted;
    struct stream *stream;
    struct http_engine *engine;
    struct slice leftover; /* read, but not taken by the engine yet; holds a reference */
    struct timer timer;
    struct fair_task turn; /* queued: it is to be pumped */
    uint64_t client;       /* whose turn that is */
    uint64_t unsent_ms;    /* since when only the stream holds bytes of answers, and none went */
    uint64_t fresh_ms;     /* draining: until then a first request may come; 0: not waiting */
    uint64_t upgrade_ms;   /* until then TLS has to be there */
    enum upgrade upgrade;
    bool open;    /* a request was told of, and neither |over| nor |failed| came */
    bool starved; /* no memory for a block: try again soon */
    bool little;  /* came last */
    bool eof;
    bool aborted; /* nothing that is still queued anywhere is worth waiting for */
    bool carried; /* a request */
    bool dead;
    enum err lost; /* the handler has given up, and is to be told so */
    char lost_why[200];
};

/* ---- what the handler is told ---- */

static void tell_failed(struct http_connection *c, const struct fault *f)
{
    c->open = false;
    c->set.handler->failed(c->set.arg, f);
}

/* A handler that has given up hears nothing more of the request but that. */
static bool is_open(const struct http_connection *c)
{
    return c->open && !c->lost;
}

static void on_event(struct http_connection *c, const struct http_event *ev)
{
    const struct http_handler *h = c->set.handler;

    switch (ev->kind) {
    case HTTP_EV_NONE: break;
    case HTTP_EV_REQUEST:
        c->open = c->carried = true;
        if (c->fresh_ms) /* draining: this is the one that it may still bring */
            http_close_after(c->engine);
        c->fresh_ms = 0;
        h->request(c->set.arg);
        break;
    case HTTP_EV_BODY:
        if (is_open(c))
            h->body(c->set.arg, ev->slice);
        else
            block_unref(ev->slice.block);
        break;
    case HTTP_EV_END:
        if (is_open(c))
            h->end(c->set.arg);
        break;
    case HTTP_EV_REFUSED:
    case HTTP_EV_GONE:
        if (!c->lost) /* else it is told of that */
            tell_failed(c, &ev->fault);
        break;
    }
}

static void lose(struct http_connection *c, enum err err, const char *why)
{
    const struct fault f = {.err = err, .why = why};

    if (c->aborted)
        return;
    c->aborted = true;
    http_abort(c->engine);
    tell_failed(c, &f);
}

/* ---- output ---- */

static bool output(struct http_connection *c)
{
    struct chain *out = http_output(c->engine);
    uint64_t n = 0;
    enum err e;

    if (c->upgrade == UPGRADE_HANDSHAKE || (out->len == 0 && !stream_has_unsent(c->stream)))
        return false;
    e = http_output_is_last(c->engine) ? stream_write_last(c->stream, out, &n)
                                       : stream_write(c->stream, out, &n);
    if (n) {
        http_sent(c->engine, 0); /* the stream has taken them off the chain already */
        c->unsent_ms = loop_now_ms(c->set.loop);
    }
    if (e != OK && e != ERR_AGAIN)
        lose(c, ERR_ABORTED, "the client went away before it had taken its answer");
    return n > 0;
}

/* ---- what the engine says ---- */

/* Both halves are over, and the next bytes belong to another request. Before the engine is asked
 * for anything more, for then the memory goes that the record is made of. The client need not wait
 * for that, but where the answer is the last one, which leaves with the FIN; answers to pipelined
 * requests leave together. */
static void settle(struct http_connection *c)
{
    if (!is_open(c) || !http_is_over(c->engine))
        return;
    if (c->leftover.len == 0)
        (void)output(c);
    if (!is_open(c)) /* the client has gone, and the handler knows it */
        return;
    c->open = false;
    c->set.handler->over(c->set.arg);
}

static bool take_events(struct http_connection *c)
{
    struct http_event ev;
    bool any = false;

    for (;;) {
        settle(c);
        if (!http_next(c->engine, &ev))
            return any;
        any = true;
        on_event(c, &ev);
    }
}

/* Here nothing of the handler's is on the stack, and it may free what it likes. */
static void lose_what_was_given_up(struct http_connection *c)
{
    if (c->lost)
        lose(c, c->lost, c->lost_why);
}

/* ---- input ---- */

/* Gives |c->leftover| to the engine; keeps what it does not take. */
static bool feed(struct http_connection *c)
{
    bool moved = false;

    for (unsigned i = 0; i < FEEDS_MAX && c->leftover.len > 0; i++) {
        size_t used = 0;

        /* Without memory the engine has refused the peer: that is an event, and has an answer. */
        (void)!http_feed(c->engine, c->leftover, &used);
        c->leftover = slice_sub(c->leftover, (uint32_t)used, c->leftover.len - (uint32_t)used);
        moved |= take_events(c) || used > 0;
        if (used == 0)
            return moved;
    }
    if (c->leftover.len > 0)
        return moved;
    block_unref(c->leftover.block);
    c->leftover = (struct slice){0};
    return moved;
}

static bool is_working(const struct http_connection *c)
{
    return is_open(c) && c->set.handler->is_working(c->set.arg);
}

static void peer_ended(struct http_connection *c, enum err e)
{
    c->eof = true;
    http_eof(c->engine);
    (void)take_events(c);
    if (e != ERR_EOF)
        lose(c, ERR_ABORTED, "the connection broke");
    else if (is_working(c))
        lose(c, ERR_ABORTED, "the client went away while it had to wait");
}

/* One read. True when something came in. */
static bool read_once(struct http_connection *c)
{
    bool behind = c->leftover.len > 0; /* what waits for the engine goes first */
    uint32_t n = 0;
    enum err e = stream_read_slice(c->stream, c->set.memory, &c->leftover, &n);

    c->starved = e == ERR_BUSY;
    if (e == ERR_AGAIN || e == ERR_BUSY)
        return false;
    c->little = n < STREAM_LITTLE;
    if (e)
        peer_ended(c, e);
    else if (!behind)
        (void)feed(c);
    return true;
}

/* Not the peer's fault that nothing is read: its body deadline stands still. */
static bool is_held_back(const struct http_connection *c)
{
    return is_open(c) && c->set.handler->is_behind(c->set.arg);
}

static bool is_upgrading(const struct http_connection *c)
{
    return c->upgrade == UPGRADE_ASKED || c->upgrade == UPGRADE_HANDSHAKE;
}

/* While somebody works for it the engine wants nothing, but a peer that goes away shall be noticed,
 * also when it has sent something of its next request. */
static bool wants_read(const struct http_connection *c)
{
    if (c->eof || c->starved || is_upgrading(c) || is_held_back(c))
        return false;
    if (c->leftover.len > 0)
        return is_working(c) && c->leftover.block->used < BLOCK_SIZE;
    return (http_wants(c->engine) & HTTP_WANT_READ) || is_working(c);
}

static bool input(struct http_connection *c)
{
    if (is_upgrading(c))
        return false;
    if (c->leftover.len > 0 && (http_wants(c->engine) & HTTP_WANT_READ) && !is_held_back(c))
        return feed(c);
    return stream_may_read(c->stream) && wants_read(c) && read_once(c);
}

/* TLS holds the last records back until the peer takes them; the engine thinks that they are out.
 * When that has to be over. */
static uint64_t unsent_deadline(const struct http_connection *c)
{
    if (http_output(c->engine)->len > 0 || !stream_has_unsent(c->stream))
        return UINT64_MAX;
    return deadline_after(c->unsent_ms, c->set.limits->write_idle_ms);
}

/* ---- TLS on the way (RFC 2817) ---- */

static struct tls_context *upgrade_context(const struct http_connection *c)
{
    const struct listener_settings *s = c->accepted.settings;

    return s->tls_upgrade ? s->tls_upgrade : s->tls;
}

/* What came behind the request, be it read or not, came in clear text and would be taken for
 * protected (CVE-2011-0411). Nobody who waits for the 101 has anything to say before it. */
static bool has_more_input(struct http_connection *c)
{
    char next;

    return c->leftover.len > 0 || stream_peek(c->stream, &next, 1) > 0;
}

enum err http_connection_switch(struct http_connection *c, struct span fields)
{
    if (!upgrade_context(c) || stream_is_tls(c->stream))
        return ERR_MISSING;
    if (has_more_input(c))
        return ERR_PROTO;
    TRY(http_switch(c->engine, fields));
    c->upgrade = UPGRADE_ASKED;
    c->upgrade_ms = deadline_after(loop_now_ms(c->set.loop), c->accepted.settings->handshake_ms);
    return OK;
}

/* The 101 has to be with the kernel before the first byte of TLS. */
static bool upgrade_begin(struct http_connection *c)
{
    if (c->upgrade != UPGRADE_ASKED || http_output(c->engine)->len > 0 ||
        stream_flush(c->stream) != OK)
        return false;
    c->upgrade = UPGRADE_HANDSHAKE;
    stream_arm(c->stream, 0);
    if (stream_start_tls(c->stream, upgrade_context(c), NULL) != OK)
        lose(c, ERR_TLS, stream_error(c->stream));
    return true;
}

/* The report is another one now, and so may be what the policy of the machine says to it. */
static void upgrade_done(struct http_connection *c)
{
    sallyport_why why;

    c->upgrade = UPGRADE_DONE;
    if (stream_check_system(c->stream, &c->accepted.settings->system, &why) != OK)
        lose(c, ERR_POLICY, why.text);
    else if (http_switched(c->engine) != OK)
        lose(c, ERR_BUG, "the engine does not switch");
    else
        c->set.handler->switched(c->set.arg);
}

/* ---- the pump ---- */

static void closed(struct http_connection *c)
{
    const struct http_handler *h = c->set.handler;

    lose_what_was_given_up(c);
    bool clean = !c->aborted && !http_is_busy(c->engine);
    const struct fault gone = {.err = ERR_ABORTED, .why = "the connection was closed"};

    if (c->open)
        tell_failed(c, &gone);
    h->closed(c->set.arg);
    timer_clear(c->set.loop, &c->timer);
    /* Also where the client said Connection: close: some send bytes behind that all the same. */
    stream_close(c->stream, clean ? LINGER_MS : 0);
    http_engine_free(c->engine);
    slice_wipe(c->leftover); /* no engine has seen it */
    block_unref(c->leftover.block);
    listener_connection_ended(c->accepted.group, c->set.loop, c->accepted.settings,
                              c->accepted.source);
    listener_settings_unref(c->accepted.settings);
    c->dead = true;
    if (!c->turn.queued)
        free(c);
}

static bool must_close(struct http_connection *c)
{
    if (c->aborted)
        return true;
    return (http_wants(c->engine) & HTTP_WANT_CLOSE) && http_output(c->engine)->len == 0 &&
           !stream_has_unsent(c->stream);
}

static void arm(struct http_connection *c)
{
    uint64_t at = http_deadline(c->engine);
    unsigned events = 0;

    if (wants_read(c))
        events |= STREAM_READABLE;
    if (http_output(c->engine)->len > 0 || stream_has_unsent(c->stream))
        events |= STREAM_WRITABLE;
    if (c->upgrade != UPGRADE_HANDSHAKE)
        stream_arm(c->stream, events);
    if (c->little && (http_wants(c->engine) & HTTP_WANT_READ) && http_is_busy(c->engine))
        stream_acknowledge(c->stream); /* it may hold back the rest of its request */
    c->little = false;
    at = deadline_earlier(at, unsent_deadline(c));
    if (c->starved)
        at = deadline_earlier(at, loop_now_ms(c->set.loop) + STARVED_MS);
    if (c->fresh_ms)
        at = deadline_earlier(at, c->fresh_ms);
    if (is_upgrading(c))
        at = deadline_earlier(at, c->upgrade_ms);
    timer_set(c->set.loop, &c->timer, at);
}

static bool pump_round(struct http_connection *c)
{
    lose_what_was_given_up(c);
    bool moved = take_events(c); /* of the call-back that brought us here */

    moved |= input(c);
    if (is_open(c) && !is_upgrading(c) && http_output(c->engine)->len < OUTPUT_HIGH)
        moved |= c->set.handler->drive(c->set.arg);
    moved |= take_events(c);
    moved |= output(c);
    moved |= upgrade_begin(c);
    return moved;
}

/* Time passes before a pause ends: while we did not read, the peer was not to blame. */
static void tick(struct http_connection *c)
{
    uint64_t now = loop_now_ms(c->set.loop);
    bool held = is_held_back(c) || is_upgrading(c);

    if (held || c->starved)
        http_pause(c->engine, true);
    http_tick(c->engine, now);
    http_pause(c->engine, held);
    c->starved = false;
    if (unsent_deadline(c) <= now)
        lose(c, ERR_TIMEOUT, "the peer takes no output");
    if (is_upgrading(c) && c->upgrade_ms <= now)
        lose(c, ERR_TIMEOUT, "the TLS handshake behind the upgrade did not end in time");
    if (c->fresh_ms && (c->fresh_ms <= now || http_is_busy(c->engine))) {
        c->fresh_ms = 0;
        http_close_after(c->engine);
    }
}

static void pump(struct http_connection *c)
{
    uint64_t until = 0;
    bool moved = true;

    http_now(c->engine, loop_now_ms(c->set.loop));
    settle(c);
    tick(c);
    for (unsigned i = 0; i < ROUNDS_MAX && moved; i++) {
        moved = pump_round(c);
        if (must_close(c)) {
            closed(c);
            return;
        }
        if (i == 1) /* most are done by now, and need no clock */
            until = loop_now_us(c->set.loop) + PUMP_US;
        else if (i > 1 && loop_now_us(c->set.loop) >= until)
            break;
    }
    arm(c);
    if (moved || (wants_read(c) && stream_has_pending(c->stream)))
        http_connection_wake(c);
}

static void turn_run(struct fair_task *t)
{
    struct http_connection *c = CONTAINER_OF(t, struct http_connection, turn);

    if (c->dead)
        free(c);
    else
        pump(c);
}

void http_connection_wake(struct http_connection *c)
{
    if (!c->dead)
        fair_queue_add(loop_turns(c->set.loop), &c->turn, c->client);
}

static void on_stream(void *arg, unsigned events)
{
    struct http_connection *c = arg;

    if (events & STREAM_OPEN)
        upgrade_done(c);
    else if (events & STREAM_FAILED)
        lose(c, stream_failure(c->stream), stream_error(c->stream));
    http_connection_wake(c);
    if (c->upgrade != UPGRADE_HANDSHAKE)
        stream_arm(c->stream, 0); /* told; the pump asks again */
}

static void on_timer(struct timer *t)
{
    http_connection_wake(CONTAINER_OF(t, struct http_connection, timer));
}

/* ---- from outside ---- */

enum err http_connection_new(const struct http_connection_settings *s, const struct accepted *a,
                             struct http_connection **ret)
{
    struct http_connection *c = calloc(1, sizeof *c);
    struct address peer = stream_peer(a->stream);

    if (!c)
        return ERR_NOMEM;
    c->set = *s;
    c->accepted = *a;
    c->stream = a->stream;
    c->timer.fire = on_timer;
    c->timer.at_ms = UINT64_MAX;
    c->turn.run = turn_run;
    c->client = address_hash(&peer);
    enum err e = http_engine_new(s->limits, loop_now_ms(s->loop), &c->engine);

    if (e) {
        free(c);
        return e;
    }
    http_error_fields(c->engine, s->error_fields);
    stream_set_callback(c->stream, on_stream, c);
    http_connection_wake(c);
    *ret = c;
    return OK;
}

/* Whoever answers may have taken his time. */
struct http_engine *http_connection_engine(struct http_connection *c)
{
    http_now(c->engine, loop_now_ms(c->set.loop));
    return c->engine;
}

struct stream *http_connection_stream(const struct http_connection *c)
{
    return c->stream;
}

const struct accepted *http_connection_accepted(const struct http_connection *c)
{
    return &c->accepted;
}

bool http_connection_is_upgraded(const struct http_connection *c)
{
    return c->upgrade == UPGRADE_DONE;
}

void http_connection_set_client(struct http_connection *c, uint64_t client)
{
    c->client = client;
}

/* Ends with the exchange that is under way. A client whose connection has carried none cannot tell
 * a restart from a refusal, so it may still ask once. */
void http_connection_drain(struct http_connection *c)
{
    if (!c->carried && !http_is_busy(c->engine))
        c->fresh_ms = loop_now_ms(c->set.loop) + FRESH_MS;
    else
        http_close_after(c->engine);
    http_connection_wake(c);
}

void http_connection_lose(struct http_connection *c, enum err err, const char *why)
{
    if (!c->lost) {
        c->lost = err;
        (void)span_copy(span_of(why), c->lost_why, sizeof c->lost_why);
    }
    http_connection_wake(c);
}

void http_connection_end(struct http_connection *c, enum err err, const char *why)
{
    lose(c, err, why);
    closed(c);
}
