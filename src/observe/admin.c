/* SPDX-License-Identifier: Apache-2.0 */
#include "observe/admin.h"

#include <arpa/inet.h>
#include <assert.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/log.h"
#include "http/head.h"

/* Scrapers send a few hundred bytes; the limits are for whoever else finds the port. */
static const struct head_limits limits = {.line_max = 2048, .size_max = 8192, .fields_max = 64};
#define READ_MAX      9216u /* of the head's block: more than size_max, so that the limit is seen */
#define ARENA_MAX     16384u
#define PEER_DRAIN_MS 1000u

struct admin_conn {
    struct admin *admin;
    struct loop *loop;
    struct accepted from;
    struct timer timer;
    struct block *in; /* the head, from its first byte on */
    struct head_scan scan;
    struct chain out;
    bool answered;
    struct task bury;
    struct admin_conn *prev, *next;
};

struct admin {
    struct loop *loop;
    struct admin_settings set;
    struct admin_conn *conns;
    unsigned n_conns;
};

/* ---- the answers: a head in, text out ---- */

struct answer {
    unsigned status;
    const char *type;
    struct buf body;
    bool no_body; /* HEAD */
};

static const char *reason(unsigned status)
{
    switch (status) {
    case 200: return "OK";
    case 400: return "Bad Request";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 414: return "URI Too Long";
    case 431: return "Request Header Fields Too Large";
    case 503: return "Service Unavailable";
    case 505: return "HTTP Version Not Supported";
    default: return "Error";
    }
}

static void answer_text(struct answer *a, unsigned status, const char *text)
{
    a->status = status;
    buf_reset(&a->body);
    buf_text(&a->body, text);
    buf_char(&a->body, '\n');
}

static void page_metrics(struct admin *ad, struct answer *a)
{
    a->status = 200;
    a->type = "text/plain; version=0.0.4; charset=utf-8";
    metrics_print(ad->set.metrics, &a->body);
}

static void page_healthz(struct admin *ad, struct answer *a)
{
    (void)ad;
    answer_text(a, 200, "ok");
}

static void page_readyz(struct admin *ad, struct answer *a)
{
    if (!ad->set.ready || ad->set.ready(ad->set.arg, &a->body)) {
        answer_text(a, 200, "ready");
        return;
    }
    a->status = 503;
    buf_char(&a->body, '\n');
}

static const struct page {
    const char *path;
    void (*make)(struct admin *ad, struct answer *a);
} pages[] = {
    {"/metrics", page_metrics},
    {"/healthz", page_healthz},
    {"/readyz",  page_readyz },
};

/* RFC 9110 4.2.1 authority without its port: an IP literal, or localhost. */
static bool is_literal_host(struct span host)
{
    char text[INET6_ADDRSTRLEN];
    unsigned char address[sizeof(struct in6_addr)];
    struct span name = span_sub(host, 0, span_find(host, ':'));

    if (host.n && host.p[0] == '[')
        name = span_sub(host, 1, span_find(host, ']') - 1);
    if (name.n == 0 || name.n >= sizeof text)
        return false;
    (void)span_copy(name, text, sizeof text);
    return span_ieq(name, SPAN("localhost")) ||
           inet_pton(host.p[0] == '[' ? AF_INET6 : AF_INET, text, address) == 1;
}

/* Cuts the absolute-form (RFC 9112 3.2.2) to its origin-form and *host to its authority, and drops
 * the query. */
static struct span target_path(struct span target, struct span *host)
{
    const struct span scheme = SPAN("http://");

    if (span_istarts(target, scheme)) {
        struct span rest = span_sub(target, scheme.n, SIZE_MAX);
        size_t slash = span_find(rest, '/');

        *host = span_sub(rest, 0, slash);
        target = span_sub(rest, slash, SIZE_MAX);
    }
    return span_sub(target, 0, span_find(target, '?'));
}

static void answer_page(struct admin *ad, struct answer *a, struct span path)
{
    for (size_t i = 0; i < ARRAY_LEN(pages); i++)
        if (span_eq(path, span_of(pages[i].path))) {
            pages[i].make(ad, a);
            return;
        }
    answer_text(a, 404, "There are /metrics, /healthz and /readyz here.");
}

/* |local|: the peer is on this machine, where a web page may have sent it by way of a name that it
 * controls (DNS rebinding); a scraper elsewhere may well use a name. */
static void answer_request(struct admin *ad, struct answer *a, const struct head *h, bool local)
{
    struct span host = head_value(h, SPAN("Host"));
    struct span path = target_path(h->target, &host);
    unsigned n_hosts = head_count(h, SPAN("Host"));

    a->no_body = span_eq(h->method, SPAN("HEAD"));
    if (h->major != 1)
        answer_text(a, 505, "HTTP/1.1, please.");
    else if (n_hosts > 1 || (n_hosts == 0 && h->minor > 0)) /* RFC 9112 3.2 */
        answer_text(a, 400, "One Host field is needed.");
    else if (local && host.n && !is_literal_host(host))
        answer_text(a, 403, "From this machine, ask for an IP address or localhost.");
    else if (!a->no_body && !span_eq(h->method, SPAN("GET")))
        answer_text(a, 405, "Only GET and HEAD.");
    else
        answer_page(ad, a, path);
}

static void answer_head(struct admin *ad, struct answer *a, struct span text, bool local)
{
    struct fault fault;
    struct arena mem;
    struct head h;
    enum err e;

    arena_init(&mem, ARENA_MAX);
    e = head_parse(HEAD_HTTP_REQUEST, text, &limits, &mem, &h, &fault);
    if (e)
        answer_text(a, fault.status, fault.why);
    else
        answer_request(ad, a, &h, local);
    arena_done(&mem);
}

static void answer_print(const struct answer *a, const char *date, struct buf *out)
{
    buf_fmt(out,
            "HTTP/1.1 %u %s\r\n"
            "Date: %s\r\n"
            "Content-Type: %s\r\n"
            "Content-Length: %zu\r\n"
            "Cache-Control: no-store\r\n"
            "X-Content-Type-Options: nosniff\r\n"
            "%s"
            "Connection: close\r\n\r\n",
            a->status, reason(a->status), date, a->type, a->body.n,
            a->status == 405 ? "Allow: GET, HEAD\r\n" : "");
    if (!a->no_body)
        buf_add(out, buf_span(&a->body));
}

/* ---- the connection ---- */

static void conn_bury(struct task *t)
{
    free(CONTAINER_OF(t, struct admin_conn, bury));
}

static void conn_close(struct admin_conn *c)
{
    struct admin *ad = c->admin;

    timer_clear(c->loop, &c->timer);
    stream_close(c->from.stream, c->answered ? PEER_DRAIN_MS : 0);
    listener_connection_ended(c->from.group, c->loop, c->from.settings, c->from.source);
    listener_settings_unref(c->from.settings);
    block_unref(c->in);
    chain_done(&c->out);
    if (c->prev)
        c->prev->next = c->next;
    else
        ad->conns = c->next;
    if (c->next)
        c->next->prev = c->prev;
    ad->n_conns--;
    c->bury.run = conn_bury;
    loop_defer(c->loop, &c->bury);
}

static enum err conn_queue(struct admin_conn *c, struct answer *a)
{
    struct buf out;
    enum err e;

    buf_init(&out, 0);
    answer_print(a, loop_http_date(c->loop), &out);
    e = a->body.err ? a->body.err : out.err;
    if (!e)
        e = chain_append_copy(&c->out, buf_span(&out));
    buf_done(&out);
    c->answered = true;
    return e;
}

/* |e|, |fault|: what head_scan() found wrong, or OK and a whole head of |len| bytes. */
static enum err conn_answer(struct admin_conn *c, enum err e, const struct fault *fault, size_t len)
{
    struct answer a = {.type = "text/plain; charset=utf-8"};
    struct address peer = stream_peer(c->from.stream);

    buf_init(&a.body, 0);
    if (e)
        answer_text(&a, fault->status, fault->why);
    else
        answer_head(c->admin, &a, (struct span){(const char *)c->in->data, len},
                    address_is_loopback(&peer));
    e = conn_queue(c, &a);
    buf_done(&a.body);
    return e;
}

/* Reads until there is a whole head, or a reason to refuse it, and queues the answer. */
static enum err conn_read(struct admin_conn *c)
{
    while (!c->answered) {
        struct fault fault = {.status = 400, .why = "bad request"};
        size_t len = 0;
        uint32_t n;
        enum err e;

        TRY(stream_read(c->from.stream, c->in, READ_MAX - c->in->used, &n));
        e = head_scan(&c->scan, (struct span){(const char *)c->in->data, c->in->used}, &limits,
                      &len, &fault);
        if (e != ERR_AGAIN)
            TRY(conn_answer(c, e, &fault, len));
        else if (c->in->used >= READ_MAX)
            return ERR_BUG; /* head_scan() has a smaller limit */
    }
    return OK;
}

static enum err conn_write(struct admin_conn *c)
{
    uint64_t n;

    if (c->out.len)
        TRY(stream_write(c->from.stream, &c->out, &n));
    return stream_flush(c->from.stream);
}

static void conn_pump(void *arg, unsigned events)
{
    struct admin_conn *c = arg;
    enum err e = events & STREAM_FAILED ? ERR_RESET : conn_read(c);

    if (!e)
        e = conn_write(c);
    if (e == ERR_AGAIN)
        stream_arm(c->from.stream, c->answered ? STREAM_WRITABLE : STREAM_READABLE);
    else
        conn_close(c);
}

static void conn_timeout(struct timer *t)
{
    struct admin_conn *c = CONTAINER_OF(t, struct admin_conn, timer);

    c->answered = false; /* no patience left for what it still sends */
    conn_close(c);
}

/* ---- the listener's side ---- */

static struct admin_conn *conn_new(struct admin *ad, struct loop *l, const struct accepted *from)
{
    struct admin_conn *c = mem_fail_now() ? NULL : calloc(1, sizeof *c);

    if (!c)
        return NULL;
    c->in = block_new();
    if (!c->in) {
        free(c);
        return NULL;
    }
    c->admin = ad;
    c->loop = l;
    c->from = *from;
    c->timer.fire = conn_timeout;
    chain_init(&c->out, 0);
    c->next = ad->conns;
    if (c->next)
        c->next->prev = c;
    ad->conns = c;
    ad->n_conns++;
    return c;
}

static void on_open(void *arg, struct loop *l, const struct accepted *from)
{
    struct admin *ad = arg;
    struct admin_conn *c;

    assert(l == ad->loop);
    c = ad->n_conns < ad->set.connections_max ? conn_new(ad, l, from) : NULL;
    if (!c) {
        stream_close(from->stream, 0);
        listener_connection_ended(from->group, l, from->settings, from->source);
        listener_settings_unref(from->settings);
        return;
    }
    timer_set(l, &c->timer, loop_now_ms(l) + ad->set.timeout_ms);
    stream_set_callback(from->stream, conn_pump, c);
    stream_arm(from->stream, STREAM_READABLE);
}

static void on_refused(void *arg, struct loop *l, const struct listener_settings *s,
                       const struct address *peer, enum err err, const char *why,
                       const sallyport_report *report)
{
    char text[ADDRESS_TEXT_MAX];

    (void)arg;
    (void)l;
    (void)s;
    (void)report;
    log_debug("admin", "refused %s: %s (%s)", address_text(peer, text), why, err_code(err));
}

const struct listener_events *admin_listener_events(void)
{
    static const struct listener_events events = {.open = on_open, .refused = on_refused};

    return &events;
}

enum err admin_new(struct loop *l, const struct admin_settings *s, struct admin **ret)
{
    struct admin *ad = mem_fail_now() ? NULL : calloc(1, sizeof *ad);

    if (!ad)
        return ERR_NOMEM;
    ad->loop = l;
    ad->set = *s;
    *ret = ad;
    return OK;
}

void admin_free(struct admin *ad)
{
    if (!ad)
        return;
    while (ad->conns)
        conn_close(ad->conns);
    free(ad);
}
