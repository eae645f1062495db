/* SPDX-License-Identifier: Apache-2.0 */
/* test_icap_peer.h - clients of the server in test_icap_world.h: raw bytes out, whole answers in.
 */
#ifndef TEST_ICAP_PEER_H
#define TEST_ICAP_PEER_H

#include "test_icap_world.h"

static inline struct peer *peer_of(struct world *w, int fd)
{
    struct peer *p = &w->peers[w->n_peers++];

    assert_true(w->n_peers <= PEERS_MAX);
    *p = (struct peer){.fd = fd};
    buf_init(&p->in, 0);
    return p;
}

static inline struct peer *peer_new(struct world *w)
{
    unsigned before = icap_server_connections(w->server);
    struct peer *p = peer_of(w, test_connect(&w->address));

    WORLD_UNTIL(w, icap_server_connections(w->server) > before);
    return p;
}

static inline void peer_close(struct peer *p)
{
    (void)close(p->fd);
    p->fd = -1;
}

/* Writes everything, reading meanwhile only what world_step() reads. */
static inline void peer_send(struct world *w, struct peer *p, struct span s)
{
    unsigned turns = 0;

    while (s.n) {
        ssize_t n = send(p->fd, s.p, s.n, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0 && errno != EAGAIN)
            return; /* the server has closed: the test will see that */
        if (n > 0)
            s = span_sub(s, (size_t)n, SIZE_MAX);
        if (n < 0 && ++turns > 20000)
            fail_msg("the server does not read");
        world_step(w, n < 0);
    }
}

static inline void peer_say(struct world *w, struct peer *p, const char *text)
{
    peer_send(w, p, span_of(text));
}

/* A request; the lengths in Encapsulated are computed. */
struct ask {
    const char *method; /* NULL: RESPMOD */
    const char *path;
    const char *fields;             /* ICAP field-lines */
    const char *request, *response; /* heads without their empty line; NULL: none, "": usual */
    const char *body;               /* NULL: null-body; else sent as one chunk */
    size_t body_n;                  /* 0: strlen */
    bool head_only;                 /* the body is the test's business */
};

static inline void ask_format(const struct ask *a, struct buf *b)
{
    const char *method = a->method ? a->method : "RESPMOD";
    bool respmod = strcmp(method, "RESPMOD") == 0;
    const char *request =
        a->request ? a->request
                   : "GET http://files.example/dir/a.bin HTTP/1.1\r\nHost: files.example\r\n";
    const char *response =
        a->response ? a->response : "HTTP/1.1 200 OK\r\nContent-Type: application/pdf\r\n";
    size_t n_request = strlen(request) + 2, n_response = respmod ? strlen(response) + 2 : 0;

    buf_fmt(b, "%s icap://gw%s ICAP/1.0\r\nHost: gw\r\n%s", method, a->path,
            a->fields ? a->fields : "");
    if (strcmp(method, "OPTIONS") == 0) {
        buf_text(b, "\r\n");
        return;
    }
    buf_fmt(b, "Encapsulated: req-hdr=0, ");
    if (respmod)
        buf_fmt(b, "res-hdr=%zu, ", n_request);
    buf_fmt(b, "%s=%zu\r\n\r\n%s\r\n",
            !a->body  ? "null-body"
            : respmod ? "res-body"
                      : "req-body",
            n_request + n_response, request);
    if (respmod)
        buf_fmt(b, "%s\r\n", response);
    if (a->body && !a->head_only) {
        size_t n = a->body_n ? a->body_n : strlen(a->body);

        if (n)
            buf_fmt(b, "%zx\r\n", n);
        buf_add(b, (struct span){a->body, n});
        buf_text(b, n ? "\r\n0\r\n\r\n" : "0\r\n\r\n");
    }
}

static inline void peer_ask(struct world *w, struct peer *p, const struct ask *a)
{
    struct buf b;

    buf_init(&b, 0);
    ask_format(a, &b);
    assert_int_equal(b.err, OK);
    peer_send(w, p, buf_span(&b));
    buf_done(&b);
}

/* Bytes of the whole answer at the front of |in|, or 0. *ret_heads: without its body. */
static inline size_t reply_len(struct span in, size_t *ret_heads)
{
    const char *end = in.n ? memmem(in.p, in.n, "\r\n\r\n", 4) : NULL;
    size_t head = end ? (size_t)(end - in.p) + 4 : 0;
    const char *list = end ? memmem(in.p, head, "-body=", 6) : NULL;
    size_t heads;

    if (!end)
        return 0;
    heads = head + (list ? strtoul(list + 6, NULL, 10) : 0);
    *ret_heads = heads;
    if (in.n < heads)
        return 0;
    if (!list || (list - in.p >= 4 && memcmp(list - 4, "null", 4) == 0))
        return heads;
    struct span rest = span_sub(in, heads, SIZE_MAX);

    while (rest.n) {
        const char *line = memmem(rest.p, rest.n, "\r\n", 2);
        size_t size = line ? strtoul(rest.p, NULL, 16) : 0;
        size_t whole = line ? (size_t)(line - rest.p) + 2 + size + 2 : 0;

        if (!line || rest.n < whole)
            return 0;
        rest = span_sub(rest, whole, SIZE_MAX);
        if (size == 0)
            return in.n - rest.n;
    }
    return 0;
}

struct reply {
    struct buf heads, body; /* ICAP head with the encapsulated one; body without chunks */
};

static inline void reply_done(struct reply *r)
{
    buf_done(&r->heads);
    buf_done(&r->body);
}

static inline void reply_take(struct peer *p, size_t n, size_t heads, struct reply *ret)
{
    struct span rest = span_sub(buf_span(&p->in), heads, n - heads);

    buf_init(&ret->heads, 0);
    buf_init(&ret->body, 0);
    buf_add(&ret->heads, span_sub(buf_span(&p->in), 0, heads));
    while (rest.n) {
        size_t line = (size_t)((const char *)memmem(rest.p, rest.n, "\r\n", 2) - rest.p) + 2;
        size_t size = strtoul(rest.p, NULL, 16);

        buf_add(&ret->body, span_sub(rest, line, size));
        rest = span_sub(rest, line + size + 2, SIZE_MAX);
    }
    buf_drop(&p->in, n);
}

/* Waits for one whole answer. */
static inline struct reply peer_reply(struct world *w, struct peer *p)
{
    struct reply r;
    size_t n, heads = 0;

    WORLD_UNTIL(w, (n = reply_len(buf_span(&p->in), &heads)) > 0 || p->eof || p->reset);
    if (n == 0)
        fail_msg("closed without an answer, after: %s", buf_cstr(&p->in));
    reply_take(p, n, heads, &r);
    return r;
}

static inline bool reply_has(struct reply *r, const char *text)
{
    return strstr(buf_cstr(&r->heads), text) != NULL;
}

#define assert_reply_has(r, text)                                                  \
    do {                                                                           \
        if (!reply_has((r), (text)))                                               \
            fail_msg("no '%s' in the answer:\n%s", (text), buf_cstr(&(r)->heads)); \
    } while (0)

static inline void assert_status(struct reply *r, unsigned status)
{
    char want[32];

    (void)snprintf(want, sizeof want, "ICAP/1.0 %u ", status);
    if (!span_starts(buf_span(&r->heads), span_of(want)))
        fail_msg("not %u:\n%s", status, buf_cstr(&r->heads));
}

/* Asks, and asserts the status; the answer's texts are dropped. */
static inline void peer_gets(struct world *w, struct peer *p, const struct ask *a, unsigned status)
{
    struct reply r;

    peer_ask(w, p, a);
    r = peer_reply(w, p);
    assert_status(&r, status);
    reply_done(&r);
}

/* Nothing but the end comes. */
static inline void peer_ends(struct world *w, struct peer *p)
{
    WORLD_UNTIL(w, p->eof || p->reset);
}

/* ---- what most tests look at ---- */

/* A record in which only |error| and |status| matter. */
static inline void expect_record(struct world *w, const char *error, unsigned status)
{
    json_t *j = world_record(w);

    assert_string_equal(record_text(j, "error"), error);
    assert_int_equal(record_number(j, "icap_status"), status);
    json_decref(j);
}

static inline unsigned open_transactions(const struct world *w)
{
    struct icap_server_counts c;

    icap_server_count(w->server, &c);
    return c.open;
}

/* Waits until all connections are gone. */
static inline void expect_no_connection(struct world *w)
{
    WORLD_UNTIL(w, icap_server_connections(w->server) == 0);
    assert_int_equal(open_transactions(w), 0);
}

static inline void ask_for_a_scan(struct world *w, struct peer *p)
{
    peer_ask(w, p, &(struct ask){.path = "/scan", .body = "x"});
    WORLD_UNTIL(w, fake_is_busy(&w->zygote));
    assert_int_equal(world_scans(w), 1);
}

#endif
