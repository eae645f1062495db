/* SPDX-License-Identifier: Apache-2.0 */
/* listener_fresh.c - a connection between accept and open: PROXY header, first byte, TLS handshake,
 * policy; all under one deadline. A peer that says nothing costs a descriptor, a stream and a
 * timer: no TLS state before its first byte. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "net/listener_int.h"
#include "net/proxy_protocol.h"

#define TLS_HANDSHAKE_BYTE 0x16 /* RFC 8446 5.1 ContentType.handshake */
/* Long enough for an alert or a refusal to arrive and be read. */
#define REFUSAL_LINGER_MS 2000u
/* Of clear text on a TLS port: how much is looked at for the name of a field. */
#define CLEAR_HEAD_MAX 2048u

enum fresh_phase { FRESH_PROXY, FRESH_FIRST_BYTE, FRESH_HANDSHAKE };

/* The part of a PROXY header that has arrived. */
struct proxy_bytes {
    size_t n;
    char p[PROXY_HEADER_MAX];
};

struct fresh {
    struct listener *li;
    struct fresh *prev, *next;
    struct listener_settings *settings;
    struct stream *stream;
    struct timer timer;
    struct proxy_bytes *proxy;
    uint64_t accepted_us;
    unsigned source;
    enum fresh_phase phase;
};

static bool cidrs_contain(const struct cidr *v, unsigned n, const struct address *a)
{
    for (unsigned i = 0; i < n; i++)
        if (cidr_contains(&v[i], a))
            return true;
    return false;
}

bool fresh_needs_proxy_header(const struct listener_settings *s, const struct address *peer)
{
    return cidrs_contain(s->proxy_from, s->n_proxy_from, peer);
}

bool fresh_is_allowed(const struct listener_settings *s, const struct address *peer)
{
    return s->n_allow == 0 || cidrs_contain(s->allow, s->n_allow, peer);
}

static void fresh_unlink(struct fresh *f)
{
    if (f->prev)
        f->prev->next = f->next;
    else
        f->li->fresh = f->next;
    if (f->next)
        f->next->prev = f->prev;
    f->li->n_fresh--;
}

/* Ends |f|, not its stream, its reference to the settings or its being counted. */
static void fresh_free(struct fresh *f)
{
    timer_clear(f->li->loop, &f->timer);
    fresh_unlink(f);
    free(f->proxy);
    free(f);
}

static void refuse(struct fresh *f, enum err e, const char *why, uint64_t linger_ms)
{
    struct listener *li = f->li;
    struct listener_settings *settings = f->settings;
    struct stream *stream = f->stream;
    struct address peer = stream_peer(stream);
    unsigned source = f->source;

    fresh_free(f);
    group_count_down(li->member, li->count, source);
    li->events->refused(li->arg, li->loop, settings, &peer, e, why, stream_report(stream));
    stream_close(stream, linger_ms);
    listener_settings_unref(settings);
}

static void drop(struct fresh *f)
{
    struct listener *li = f->li;
    struct listener_settings *settings = f->settings;
    unsigned source = f->source;

    stream_close(f->stream, 0);
    fresh_free(f);
    group_count_down(li->member, li->count, source);
    listener_settings_unref(settings);
}

void fresh_drop_all(struct listener *li)
{
    while (li->fresh)
        drop(li->fresh);
}

/* The listener's own, and that of the machine as it is now: whoever takes long to shake hands is
 * not among those who are looked at again when it changes. */
static enum err check_policies(const struct fresh *f, sallyport_why *ret_why)
{
    TRY(protect_policy_check(&f->settings->policy, stream_report(f->stream), ret_why));
    return stream_check_system(f->stream, &f->li->settings->system, ret_why);
}

/* Best effort: it fits into an empty socket buffer, or the peer gets nothing (false). */
static bool send_refusal(struct fresh *f, struct span text)
{
    struct chain c;
    uint64_t n;

    if (text.n == 0)
        return false;
    chain_init(&c, 0);
    bool sent = chain_append_text(&c, text) == OK && stream_write_last(f->stream, &c, &n) == OK;

    chain_done(&c);
    return sent;
}

static void finish(struct fresh *f)
{
    struct listener *li = f->li;
    struct accepted a = {
        .stream = f->stream,
        .settings = f->settings,
        .group = li->group,
        .accepted_us = f->accepted_us,
        .handshake_us = loop_now_us(li->loop) - f->accepted_us,
        .source = f->source,
    };
    char text[PROTECT_WHY_MAX];
    sallyport_why why;

    if (check_policies(f, &why) != OK) {
        (void)send_refusal(f, f->settings->policy_refusal);
        refuse(f, ERR_POLICY, protect_why_text(&why, text), REFUSAL_LINGER_MS);
        return;
    }
    fresh_free(f);
    stream_set_callback(a.stream, NULL, NULL);
    stream_arm(a.stream, 0);
    li->events->open(li->arg, li->loop, &a);
}

/* Nothing could be peeked at: is that the end? */
static void take_silence(struct fresh *f)
{
    struct block *b = block_new();
    uint32_t n;

    if (!b) {
        refuse(f, ERR_NOMEM, "no memory for the first bytes", 0);
        return;
    }
    enum err e = stream_read(f->stream, b, 1, &n);

    block_unref(b);
    if (e == ERR_EOF)
        refuse(f, ERR_EOF, "the peer said nothing", 0);
    else if (e != ERR_AGAIN)
        refuse(f, e ? e : ERR_BUG, stream_error(f->stream), 0);
}

static bool is_letter(unsigned char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

/* Nobody here looks at the password, but whoever listens on the way may have. What has not come
 * with the first bytes is not waited for. */
static bool brings_a_password(const struct fresh *f)
{
    char head[CLEAR_HEAD_MAX];
    struct span rest = {head, stream_peek(f->stream, head, sizeof head)};
    bool yes = false;

    while (rest.n && !yes) {
        (void)span_cut(&rest, '\n');
        yes = span_istarts(rest, SPAN("authorization:")) ||
              span_istarts(rest, SPAN("proxy-authorization:"));
    }
    explicit_bzero(head, sizeof head);
    return yes;
}

static void refuse_clear_text(struct fresh *f)
{
    const char *why = brings_a_password(f) ? "clear text where TLS is required, with a password in "
                                             "it, which has to be changed"
                                           : "clear text where TLS is required";

    bool told = send_refusal(f, f->settings->plaintext_refusal);

    refuse(f, ERR_PLAINTEXT, why, told ? REFUSAL_LINGER_MS : 0);
}

static void look_at_first_byte(struct fresh *f)
{
    bool sniff = f->settings->handshake == LISTENER_TLS_SNIFF;
    unsigned char first;

    if (stream_peek(f->stream, &first, 1) == 0) {
        take_silence(f);
        return;
    }
    if (sniff && first != TLS_HANDSHAKE_BYTE) {
        finish(f);
        return;
    }
    if (first != TLS_HANDSHAKE_BYTE && is_letter(first)) {
        refuse_clear_text(f);
        return;
    }
    f->phase = FRESH_HANDSHAKE;
    stream_arm(f->stream, 0);
    enum err e = stream_start_tls(f->stream, f->settings->tls, NULL);

    if (e)
        refuse(f, e, stream_error(f->stream), 0);
}

static void after_proxy(struct fresh *f)
{
    if (!f->settings->tls || f->settings->handshake == LISTENER_TLS_LATER) {
        finish(f);
        return;
    }
    f->phase = FRESH_FIRST_BYTE;
    stream_arm(f->stream, STREAM_READABLE);
}

/* Takes |n| bytes off the stream that were peeked at before. */
static bool consume(struct fresh *f, size_t n)
{
    struct block *b = block_new();
    bool ok = b != NULL;

    while (ok && n > 0) {
        uint32_t got = 0;

        ok = stream_read(f->stream, b, (uint32_t)n, &got) == OK;
        n -= got;
    }
    block_unref(b);
    return ok;
}

/* As long as the parser wants more, all that has come is header, and is taken off the socket: else
 * stream would tell of it again and again. */
static void read_proxy_header(struct fresh *f)
{
    struct proxy_bytes *h = f->proxy;
    size_t had = h->n, used = 0;
    bool has_peer = false;
    struct address peer;
    struct fault fault = {.why = ""};

    h->n += stream_peek(f->stream, h->p + h->n, sizeof h->p - h->n);
    if (h->n == had) {
        take_silence(f);
        return;
    }
    enum err e = proxy_header_parse((struct span){h->p, h->n}, &used, &has_peer, &peer, &fault);

    if (e && e != ERR_AGAIN) {
        refuse(f, e, fault.why, 0);
        return;
    }
    if (!consume(f, e == ERR_AGAIN ? h->n - had : used - had)) {
        refuse(f, ERR_RESET, "the connection broke within its PROXY header", 0);
        return;
    }
    if (e == ERR_AGAIN)
        return;
    if (has_peer)
        stream_set_peer(f->stream, &peer);
    /* A header that names nobody (LOCAL, UNKNOWN) leaves the balancer itself as the peer. */
    peer = stream_peer(f->stream);
    if (!fresh_is_allowed(f->settings, &peer))
        refuse(f, ERR_POLICY, FRESH_NOT_ALLOWED, 0);
    else
        after_proxy(f);
}

static void on_stream(void *arg, unsigned events)
{
    struct fresh *f = arg;

    if (events & STREAM_FAILED)
        refuse(f, stream_failure(f->stream), stream_error(f->stream), REFUSAL_LINGER_MS);
    else if (events & STREAM_OPEN)
        finish(f);
    else if (f->phase == FRESH_PROXY)
        read_proxy_header(f);
    else if (f->phase == FRESH_FIRST_BYTE)
        look_at_first_byte(f);
}

static void on_deadline(struct timer *t)
{
    struct fresh *f = CONTAINER_OF(t, struct fresh, timer);
    char why[96];

    (void)snprintf(why, sizeof why, "%s did not come within %llu ms",
                   f->phase == FRESH_PROXY        ? "the PROXY header"
                   : f->phase == FRESH_FIRST_BYTE ? "the first byte"
                                                  : "the end of the TLS handshake",
                   (unsigned long long)f->settings->handshake_ms);
    refuse(f, ERR_TIMEOUT, why, 0);
}

static struct fresh *fresh_new(struct listener *li, int fd, const struct address *peer, bool proxy)
{
    struct fresh *f = calloc(1, sizeof *f);

    if (!f)
        return NULL;
    f->proxy = proxy ? calloc(1, sizeof *f->proxy) : NULL;
    if ((proxy && !f->proxy) || stream_new(li->loop, fd, peer, on_stream, f, &f->stream) != OK) {
        free(f->proxy);
        free(f);
        return NULL;
    }
    return f;
}

void fresh_begin(struct listener *li, int fd, const struct address *peer,
                 struct listener_settings *settings, uint64_t accepted_us, unsigned source)
{
    bool proxy = fresh_needs_proxy_header(settings, peer);
    struct fresh *f = fresh_new(li, fd, peer, proxy);

    if (!f) {
        (void)close(fd);
        group_count_down(li->member, li->count, source);
        li->events->refused(li->arg, li->loop, settings, peer, ERR_NOMEM,
                            "no memory for a connection", NULL);
        listener_settings_unref(settings);
        return;
    }
    f->li = li;
    f->settings = settings;
    f->accepted_us = accepted_us;
    f->source = source;
    f->timer.fire = on_deadline;
    f->next = li->fresh;
    if (f->next)
        f->next->prev = f;
    li->fresh = f;
    li->n_fresh++;
    timer_set(li->loop, &f->timer, loop_now_ms(li->loop) + settings->handshake_ms);
    if (!proxy) {
        after_proxy(f);
        return;
    }
    f->phase = FRESH_PROXY;
    stream_arm(f->stream, STREAM_READABLE);
}
