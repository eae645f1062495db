/* SPDX-License-Identifier: Apache-2.0 */
#include "ipp/ipp_client.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/deadline.h"
#include "ipp/ipp_client_int.h"

#define ROUNDS_MAX         16u
#define CONNECT_MS_DEFAULT 10000u
#define ANSWER_MS_DEFAULT  300000u

/* ---- the end of a request ---- */

void ipp_client_queue(struct ipp_client *c)
{
    if (!c->queued)
        loop_defer(c->loop, &c->task);
    c->queued = true;
}

void ipp_client_let_go(struct ipp_client *c)
{
    timer_clear(c->loop, &c->timer);
    c->until_ms = UINT64_MAX;
    if (c->ticket)
        upstream_cancel(c->ticket);
    c->ticket = NULL;
    if (c->stream)
        upstream_put(c->upstream, c->stream, false);
    c->stream = NULL;
    upstream_free(c->upstream);
    c->upstream = NULL;
    http_client_engine_free(c->engine);
    c->engine = NULL;
    block_unref(c->leftover.block);
    c->leftover = (struct slice){0};
    c->reused = false;
}

static void finish(struct ipp_client *c)
{
    c->state = CLIENT_DONE;
    file_unref(c->document);
    c->document = NULL;
    c->result.level = c->level;
    c->result.lacks = ipp_client_lacks(c);
    ipp_client_queue(c);
}

void ipp_client_fail(struct ipp_client *c, enum ipp_client_end end, const char *fmt, ...)
{
    va_list ap;

    if (c->state == CLIENT_DONE)
        return;
    c->result.end = end;
    c->result.message = NULL;
    va_start(ap, fmt);
    (void)vsnprintf(c->result.why, sizeof c->result.why, fmt, ap);
    va_end(ap);
    c->keep = false;
    finish(c);
    ipp_client_let_go(c);
}

void ipp_client_broke(struct ipp_client *c, const char *what, const char *why)
{
    bool alert = stream_failure(c->stream) == ERR_TLS && !stream_is_cut(c->stream);

    ipp_client_fail(c, alert ? IPP_CLIENT_SECURITY : IPP_CLIENT_NETWORK, "%s: %s", what,
                    alert ? stream_error(c->stream) : why);
}

void ipp_client_done(struct ipp_client *c)
{
    c->result.end = IPP_CLIENT_ANSWERED;
    c->result.message = &c->parsed;
    c->result.why[0] = '\0';
    /* Whether the engine takes another request is seen when there is one. */
    c->keep = http_client_answer(c->engine)->keep_alive && !ipp_client_is_cut_short(c) &&
              c->leftover.len == 0;
    finish(c);
    if (!c->keep) {
        ipp_client_let_go(c);
        return;
    }
    timer_clear(c->loop, &c->timer);
    stream_arm(c->stream, 0);
}

void ipp_client_start_over(struct ipp_client *c)
{
    ipp_client_let_go(c);
    c->repeat = false;
    c->state = CLIENT_START;
    ipp_client_queue(c);
}

void ipp_client_warn(struct ipp_client *c, const char *fmt, ...)
{
    char text[IPP_CLIENT_TEXT_MAX];
    va_list ap;

    if (!c->set.warn)
        return;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    c->set.warn(c->set.warn_arg, text);
}

/* ---- bytes ---- */

bool ipp_client_engine(struct ipp_client *c)
{
    http_client_engine_free(c->engine);
    c->engine = NULL;
    if (http_client_engine_new(&c->http, loop_now_ms(c->loop), &c->engine) == OK)
        return true;
    ipp_client_fail(c, IPP_CLIENT_LOCAL, "no memory for a connection");
    return false;
}

static bool has_engine(const struct ipp_client *c)
{
    return c->engine && c->state != CLIENT_DONE && c->state != CLIENT_HANDSHAKE;
}

static void on_event(struct ipp_client *c, const struct http_client_event *ev)
{
    if (c->state == CLIENT_REQUEST)
        ipp_client_exchange_event(c, ev);
    else
        ipp_client_open_event(c, ev);
    if (ev->kind == HTTP_CLIENT_EV_BODY)
        block_unref(ev->slice.block);
}

/* False: there is nothing more to do with this connection now. */
static bool take_events(struct ipp_client *c, bool *moved)
{
    struct http_client_event ev;

    while (has_engine(c) && http_client_next(c->engine, &ev)) {
        *moved = true;
        on_event(c, &ev);
    }
    return has_engine(c);
}

static bool feed(struct ipp_client *c)
{
    size_t used = 0;

    (void)!http_client_feed(c->engine, c->leftover, &used);
    c->leftover = slice_sub(c->leftover, (uint32_t)used, c->leftover.len - (uint32_t)used);
    return used > 0;
}

static bool read_some(struct ipp_client *c)
{
    struct block *b = block_new();
    uint32_t n = 0;

    block_unref(c->leftover.block); /* all of it was taken */
    c->leftover = (struct slice){0};
    if (!b) {
        ipp_client_fail(c, IPP_CLIENT_LOCAL, "no memory for an answer");
        return true;
    }
    enum err e = stream_read(c->stream, b, BLOCK_SIZE, &n);

    if (e == OK) {
        c->leftover = (struct slice){block_ref(b), b->used - n, n};
        c->little = n < STREAM_LITTLE;
        (void)feed(c);
    } else if (e == ERR_EOF) {
        http_client_eof(c->engine);
    } else if (e != ERR_AGAIN) {
        http_client_cut(c->engine);
    }
    block_unref(b);
    return e != ERR_AGAIN;
}

/* A part of the document that is not loaded. */
static bool is_file_next(const struct chain *out)
{
    const struct segment *first = chain_first(out);

    return first && first->kind == SEGMENT_FILE;
}

static bool write_some(struct ipp_client *c)
{
    struct chain *out = http_client_output(c->engine);
    uint64_t n = 0;

    if (out->len == 0 && !stream_has_unsent(c->stream))
        return false;
    enum err e = stream_write(c->stream, out, &n);

    if (n)
        http_client_sent(c->engine, 0); /* the stream has taken them off the chain already */
    if ((e == ERR_IO || e == ERR_NOMEM) && is_file_next(out)) {
        ipp_client_fail(c, IPP_CLIENT_LOCAL, "the document cannot be read: %s",
                        stream_failure(c->stream) ? stream_error(c->stream) : err_text(e));
        return true;
    }
    /* What was said before the connection broke may still be read. */
    if (e != OK && e != ERR_AGAIN && !stream_may_read(c->stream))
        http_client_eof(c->engine);
    return n > 0;
}

static bool one_round(struct ipp_client *c)
{
    bool moved = c->state == CLIENT_REQUEST && ipp_client_hand_over(c);

    if (!take_events(c, &moved))
        return false;
    moved |= write_some(c);
    if (!has_engine(c))
        return false;
    if (c->leftover.len > 0)
        moved |= feed(c);
    else if (stream_may_read(c->stream))
        moved |= read_some(c);
    return take_events(c, &moved) && moved;
}

static void pump(struct ipp_client *c)
{
    bool moved = true;

    http_client_tick(c->engine, loop_now_ms(c->loop));
    if (c->holds && loop_now_ms(c->loop) >= c->until_ms)
        ipp_client_release(c);
    for (unsigned i = 0; i < ROUNDS_MAX && moved && has_engine(c); i++)
        moved = one_round(c);
    if (!has_engine(c))
        return;
    if (c->repeat && loop_now_ms(c->loop) >= c->until_ms) {
        ipp_client_start_over(c);
        return;
    }
    stream_arm(c->stream, STREAM_READABLE | (http_client_output(c->engine)->len > 0 ||
                                                     stream_has_unsent(c->stream)
                                                 ? STREAM_WRITABLE
                                                 : 0u));
    if (c->little && !http_client_is_idle(c->engine))
        stream_acknowledge(c->stream); /* it may hold back the rest of its answer */
    c->little = false;
    timer_set(c->loop, &c->timer, deadline_earlier(http_client_deadline(c->engine), c->until_ms));
    if (moved || stream_has_pending(c->stream))
        ipp_client_queue(c);
}

/* ---- turns ---- */

/* Nobody asked, so nobody may have said anything: on a connection that was kept, or that stands
 * since just now. False: it is gone, or it was told. */
static bool is_quiet(struct ipp_client *c)
{
    bool moved = false;

    stream_ask_again(c->stream);
    (void)read_some(c);
    (void)take_events(c, &moved);
    if (c->state != CLIENT_START || !c->stream)
        return false;
    if (http_client_is_idle(c->engine))
        return true;
    if (c->reused)
        ipp_client_start_over(c);
    else
        ipp_client_broke(c, "no connection with the printer", "it was closed at once");
    return false;
}

static void start(struct ipp_client *c)
{
    if (!c->stream)
        ipp_client_connect(c);
    else if (is_quiet(c))
        ipp_client_begin(c);
}

static void tell(struct ipp_client *c)
{
    c->state = c->keep ? CLIENT_KEPT : CLIENT_IDLE;
    c->r.done(c->r.arg, &c->result);
}

static void run(struct task *t)
{
    struct ipp_client *c = CONTAINER_OF(t, struct ipp_client, task);

    c->queued = false;
    if (c->dead)
        free(c);
    else if (c->state == CLIENT_DONE)
        tell(c);
    else if (c->state == CLIENT_START)
        start(c);
    else if (has_engine(c))
        pump(c);
}

static void on_timer(struct timer *t)
{
    struct ipp_client *c = CONTAINER_OF(t, struct ipp_client, timer);

    if (c->state == CLIENT_HANDSHAKE)
        ipp_client_fail(c, IPP_CLIENT_SECURITY,
                        "the printer does not go on with the TLS handshake");
    else
        ipp_client_queue(c);
}

/* ---- from outside ---- */

static void ref_release(struct file_ref *f)
{
    (void)close(f->fd);
    free(f);
}

/* With a descriptor of its own: a read may still be under way in the pool when the caller closes
 * his. */
static struct file_ref *ref_new(int fd)
{
    struct file_ref *ref = malloc(sizeof *ref);

    if (!ref)
        return NULL;
    *ref = (struct file_ref){.refs = 1, .release = ref_release};
    ref->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (ref->fd >= 0)
        return ref;
    free(ref);
    return NULL;
}

enum err ipp_client_ask(struct ipp_client *c, const struct ipp_client_request *r)
{
    if (c->state != CLIENT_IDLE && c->state != CLIENT_KEPT)
        return ERR_BUG;
    c->document = r->len ? ref_new(r->fd) : NULL;
    if (r->len && !c->document)
        return ERR_NOMEM;
    c->r = *r;
    c->request_id++;
    c->again = c->repeat = c->failed_before = c->holds = false;
    c->handed = 0;
    c->printer.attempt = c->proxy.attempt = (struct digest_attempt){0};
    c->printer.asked = c->proxy.asked = 0;
    c->level.user = IPP_USER_NONE;
    c->result.why[0] = '\0';
    c->result.http_status = 0;
    c->result.document_sent = false;
    c->reused = c->state == CLIENT_KEPT;
    if (!c->reused) {
        c->next_way = 0;
        c->not_upgraded = c->in_spite = false;
        ipp_client_open(c);
    } else {
        c->state = CLIENT_START;
        ipp_client_queue(c);
    }
    return OK;
}

uint64_t ipp_client_sent(const struct ipp_client *c)
{
    uint64_t waits = c->engine ? http_client_output(c->engine)->len : 0;
    uint64_t head = c->message.n + waits;

    return c->handed > head ? c->handed - head : 0;
}

void ipp_client_note_server(struct ipp_client *c, const struct head *h)
{
    c->sallyport = ipp_head_is_sallyport(h);
    (void)span_copy(head_value(h, SPAN("Server")), c->result.server, sizeof c->result.server);
}

bool ipp_client_is_sallyport(const struct ipp_client *c)
{
    return c->sallyport;
}

static enum err texts_make(struct ipp_client *c)
{
    struct writer target = writer_of(c->target, sizeof c->target - 1);

    if (c->set.uri.host.n >= sizeof c->host)
        return ERR_LIMIT;
    (void)span_copy(c->set.uri.host, c->host, sizeof c->host);
    TRY(ipp_uri_format_target(&c->set.uri, &target));
    c->target[target.n] = '\0';
    return OK;
}

/* Numbers go to 2^31-1 (RFC 8011 4.1.1); the first one is of the lower half. Whoever asked in our
 * place, and then joined our handshake to his connection, has an answer waiting there: it is taken
 * for ours if he knows what number we give. */
static enum err number_begin(struct ipp_client *c)
{
    uint32_t number;

    if (!c->set.random->fill(c->set.random->arg, &number, sizeof number))
        return ERR_IO;
    c->request_id = number >> 2;
    return OK;
}

enum err ipp_client_new(struct loop *l, const struct ipp_client_settings *s,
                        struct ipp_client **ret)
{
    struct ipp_client *c = calloc(1, sizeof *c);

    if (!c)
        return ERR_NOMEM;
    c->loop = l;
    c->set = *s;
    c->task.run = run;
    c->timer.fire = on_timer;
    c->timer.at_ms = c->until_ms = UINT64_MAX;
    c->major = 2;
    c->http = http_limits_default;
    if (!c->set.connect_ms)
        c->set.connect_ms = CONNECT_MS_DEFAULT;
    if (!c->set.answer_ms)
        c->set.answer_ms = ANSWER_MS_DEFAULT;
    if (!c->set.random)
        c->set.random = &digest_random_system;
    c->http.body_idle_ms = c->http.write_idle_ms = c->set.answer_ms;
    c->http.idle_ms = 0;
    buf_init(&c->message, IPP_LIMITS_DEFAULT.size_max);
    buf_init(&c->answer, IPP_LIMITS_DEFAULT.size_max);
    if (s->tls_upgraded)
        c->set.tls_upgraded = tls_context_ref(s->tls_upgraded);
    if (s->tls_implicit)
        c->set.tls_implicit = tls_context_ref(s->tls_implicit);
    ipp_client_login_init(c);
    enum err e = texts_make(c);

    if (e == OK)
        e = number_begin(c);
    if (e) {
        ipp_client_free(c);
        return e;
    }
    *ret = c;
    return OK;
}

void ipp_client_free(struct ipp_client *c)
{
    if (!c)
        return;
    ipp_client_let_go(c);
    file_unref(c->document);
    tls_context_unref(c->set.tls_upgraded);
    tls_context_unref(c->set.tls_implicit);
    buf_done(&c->message);
    buf_done(&c->answer);
    digest_client_forget(&c->printer.digest);
    digest_client_forget(&c->proxy.digest);
    c->dead = true;
    if (!c->queued)
        free(c);
}
