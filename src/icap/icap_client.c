/* SPDX-License-Identifier: Apache-2.0 */
#include "icap/icap_client.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "icap/icap_client_status.h"
#include "observe/record_upstream.h"

#define HEAD_MAX     8192u
#define PREVIEW_MAX  4096u
#define OUTPUT_PIECE (8u << 20) /* file bytes queued in the engine at once */
#define DIGEST_PIECE 65536u
#define SHA256_LEN   32u
#define ROUNDS_MAX   16u /* of one pump: the loop has others to serve */
/* draft-cameron-secure-icap-bcp-00: no session, and no TLS session, is older than an hour. */
#define LOGIN_MS_MAX (55u * 60u * 1000u)
#define DENIED_MAX   2u /* 407 in a row */
#define PAUSES_MAX   3u /* of one file, before a busy server is asked again */
#define PAUSE_MS_MAX 30000u
#define PAUSE_MS_MIN 500u /* Retry-After: 0 */

enum client_state {
    CLIENT_IDLE,
    CLIENT_CONNECT,
    CLIENT_PAUSE, /* the server was busy */
    CLIENT_OPTIONS,
    CLIENT_NEXT, /* the next request, once the engine has let go of the last answer */
    CLIENT_FILE
};

struct icap_client {
    struct loop *loop;
    struct icap_client_settings set;
    struct icap_limits limits;
    struct upstream *upstream;
    struct upstream_ticket *ticket;
    struct stream *stream;
    struct record_upstream *way; /* for records: |stream|, or the last one */
    struct icap_client_engine *engine;
    struct slice leftover;
    struct timer timer;
    enum client_state state;
    bool reused, answered, retried; /* answered: a byte of the answer is here */
    bool deaf;                      /* the server takes no more, but may have answered */
    bool little;                    /* came last */
    bool has_options, use_preview;
    bool only_options; /* no file, somebody just wants to know */
    bool again;        /* the answer that is being read is no result: ask once more */
    unsigned denied;   /* 407 in a row */
    unsigned pauses;
    uint64_t pause_ms; /* with |again|: not before */
    uint64_t since_ms; /* when the connection was made; there is one at a time */
    uint64_t give_up_ms;
    uint64_t preview;
    struct icap_client_file file;
    struct file_ref *ref;
    uint64_t queued; /* bytes of the file given to the engine */
    EVP_MD_CTX *sha; /* of what came back */
    uint64_t start_us;
    struct icap_client_result result;
    icap_client_fn done;
    void *arg;
    struct task tell;
    bool telling, dead;
};

static void client_connect(struct icap_client *c, bool fresh);
static void set_timer(struct icap_client *c, uint64_t at_ms);

/* ---- the end of a file ---- */

/* Takes |way| over. */
static void set_way(struct icap_client *c, struct record_upstream *way)
{
    record_upstream_unref(c->way);
    c->way = way;
}

static struct record_upstream_name way_name(const struct icap_client *c)
{
    return (struct record_upstream_name){.to = "icap", .address = c->set.host_header};
}

/* How it is protected, and what the server has said of it since. */
static void note_way(struct icap_client *c)
{
    const struct record_upstream_name name = way_name(c);

    set_way(c, record_upstream_ref(record_upstream_of(c->stream, &name, NULL)));
}

static void drop_connection(struct icap_client *c, bool reusable)
{
    if (c->stream)
        note_way(c);
    timer_clear(c->loop, &c->timer);
    block_unref(c->leftover.block);
    c->leftover = (struct slice){0};
    icap_client_engine_free(c->engine);
    c->engine = NULL;
    if (c->stream)
        upstream_put(c->upstream, c->stream, reusable);
    c->stream = NULL;
}

static void client_tell(struct task *t)
{
    struct icap_client *c = CONTAINER_OF(t, struct icap_client, tell);

    c->telling = false;
    if (c->dead)
        free(c);
    else
        c->done(c->arg, &c->result);
}

static void client_finish(struct icap_client *c)
{
    file_unref(c->ref);
    c->ref = NULL;
    c->state = CLIENT_IDLE;
    c->result.us = loop_now_us(c->loop) - c->start_us;
    c->telling = true;
    loop_defer(c->loop, &c->tell);
}

static void client_fail(struct icap_client *c, enum err err, const char *why)
{
    c->result.verdict = ICAP_CLIENT_ERROR;
    c->result.err = err;
    (void)span_copy(span_of(why), c->result.why, sizeof c->result.why);
    drop_connection(c, false);
    client_finish(c);
}

/* RFC 9110 9.2.2: a connection that was kept may have been closed meanwhile; once more, on a fresh
 * one. */
static void client_broke(struct icap_client *c, enum err err, const char *why)
{
    bool lost = err == ERR_RESET || err == ERR_EOF || err == ERR_TLS;

    if (lost && c->reused && !c->answered && !c->retried) {
        c->retried = true;
        drop_connection(c, false);
        client_connect(c, true);
        return;
    }
    client_fail(c, err, why);
}

/* ---- requests ---- */

static void add_percent(struct buf *b, struct span name)
{
    for (size_t i = 0; i < name.n; i++) {
        unsigned char ch = (unsigned char)name.p[i];

        if (char_is_token(ch) && ch != '%' && ch != '#')
            buf_char(b, (char)ch);
        else
            buf_fmt(b, "%%%02X", ch);
    }
}

static enum err send_request(struct icap_client *c, struct icap_client_request *r)
{
    char room[HEAD_MAX];
    struct buf fields;
    enum err e;

    buf_init_on(&fields, room, sizeof room, sizeof room);
    buf_text(&fields, "User-Agent: sallyport/" SALLYPORT_VERSION "\r\n");
    if (c->set.login.authorization) {
        buf_text(&fields, "Authorization: ");
        buf_text(&fields, c->set.login.authorization);
        buf_text(&fields, "\r\n");
    }
    r->uri = span_of(c->set.uri);
    r->host = span_of(c->set.host_header);
    r->fields = buf_span(&fields);
    e = fields.err ? fields.err : icap_client_request(c->engine, r);
    explicit_bzero(room, sizeof room);
    return e;
}

static enum err send_options(struct icap_client *c)
{
    struct icap_client_request r = {.method = ICAP_OPTIONS};

    c->state = CLIENT_OPTIONS;
    return send_request(c, &r);
}

/* A file is wrapped as the answer to a GET, or as a PUT. */
static enum err send_file(struct icap_client *c)
{
    bool respmod = c->set.method == ICAP_RESPMOD;
    struct icap_client_request r = {
        .method = c->set.method,
        .has_body = c->file.len > 0,
        .has_preview = c->use_preview,
        .preview = c->preview,
        .allow = {.s204 = true},
    };
    struct buf request, response;
    enum err e;

    buf_init(&request, HEAD_MAX);
    buf_init(&response, HEAD_MAX);
    buf_text(&request, respmod ? "GET /" : "PUT /");
    add_percent(&request, c->file.name);
    buf_text(&request, " HTTP/1.1\r\nHost: file.invalid\r\n");
    if (!respmod)
        buf_fmt(&request, "Content-Length: %llu\r\n", (unsigned long long)c->file.len);
    buf_text(&request, "\r\n");
    buf_fmt(&response, "HTTP/1.1 200 OK\r\nContent-Length: %llu\r\n\r\n",
            (unsigned long long)c->file.len);
    r.http_request = buf_span(&request);
    r.http_response = respmod ? buf_span(&response) : SPAN_NONE;
    c->state = CLIENT_FILE;
    c->queued = 0;
    c->result.body_len = 0;
    e = request.err ? request.err : response.err;
    if (e == OK)
        e = send_request(c, &r);
    buf_done(&request);
    buf_done(&response);
    return e;
}

static enum err send_next(struct icap_client *c)
{
    return c->has_options && !c->only_options ? send_file(c) : send_options(c);
}

/* Keeps some of the file queued in the engine; never all of a large one. */
static enum err queue_file(struct icap_client *c)
{
    while (c->state == CLIENT_FILE && c->queued < c->file.len &&
           icap_client_output(c->engine)->len < OUTPUT_PIECE) {
        uint64_t n =
            c->file.len - c->queued < OUTPUT_PIECE ? c->file.len - c->queued : OUTPUT_PIECE;

        TRY(icap_client_body_file(c->engine, c->ref, c->queued, n, c->queued + n == c->file.len));
        c->queued += n;
    }
    return OK;
}

/* ---- answers ---- */

static void copy_header(const struct head *h, struct span name, char *dst)
{
    struct span v = head_value(h, name);

    if (v.p && dst[0] == '\0')
        (void)span_copy(v, dst, ICAP_CLIENT_TEXT_MAX);
}

/* "Blocked: infected" of X-Response-Info and X-Response-Desc; the first alone is one word. */
static void add_description(const struct head *h, char info[ICAP_CLIENT_TEXT_MAX])
{
    struct span desc = head_value(h, SPAN("X-Response-Desc"));
    size_t n = strlen(info);

    if (desc.n == 0)
        return;
    if (n > 0)
        n += span_copy(SPAN(": "), info + n, ICAP_CLIENT_TEXT_MAX - n);
    (void)span_copy(desc, info + n, ICAP_CLIENT_TEXT_MAX - n);
}

static void on_options(struct icap_client *c, const struct icap_client_reply *r)
{
    struct span preview = head_value(r->icap, SPAN("Preview"));

    if (c->only_options || r->status == 407) {
        c->result.status = r->status;
        copy_header(r->icap, SPAN("ISTag"), c->result.istag);
    }
    if (r->status == 407)
        return;
    c->has_options = true;
    if (r->status == 200 && preview.p && span_u64(preview, UINT32_MAX, &c->preview) == OK) {
        c->use_preview = true;
        if (c->preview > PREVIEW_MAX)
            c->preview = PREVIEW_MAX;
    }
}

/* RFC 9110 15.5.8: the request may be repeated. We have said who we are, so either the server's
 * session has ended or it does not want us; the second time it is the latter. */
static bool is_renewal(struct icap_client *c, const struct icap_client_reply *r)
{
    if (r->status != 407) {
        c->denied = 0;
        return false;
    }
    return c->set.login.authorization && ++c->denied < DENIED_MAX &&
           icap_client_takes_basic(r->icap);
}

static bool is_pause(struct icap_client *c, const struct icap_client_reply *r)
{
    uint64_t s, ms;

    if (r->status != 503 || c->pauses >= PAUSES_MAX || !icap_client_retry_after(r->icap, &s))
        return false;
    ms = s ? s * 1000 : PAUSE_MS_MIN;
    if (ms > PAUSE_MS_MAX || c->give_up_ms - loop_now_ms(c->loop) <= ms)
        return false;
    c->pauses++;
    c->pause_ms = loop_now_ms(c->loop) + ms;
    return true;
}

static void on_reply(struct icap_client *c)
{
    const struct icap_client_reply *r = icap_client_reply(c->engine);

    c->pause_ms = 0;
    c->again = is_renewal(c, r) || is_pause(c, r);
    if (c->again)
        return;
    icap_client_status_text(r->icap, c->set.login.authorization ? c->set.login.user : NULL,
                            c->set.upstream.tls == NULL, c->result.why, sizeof c->result.why);
    if (c->state == CLIENT_OPTIONS) {
        on_options(c, r);
        return;
    }
    c->result.status = r->status;
    c->result.http_status = r->http_response ? r->http_response->status : 0;
    copy_header(r->icap, SPAN("X-Infection-Found"), c->result.infection);
    copy_header(r->icap, SPAN("X-Virus-ID"), c->result.infection);
    copy_header(r->icap, SPAN("X-Response-Info"), c->result.info);
    add_description(r->icap, c->result.info);
    copy_header(r->icap, SPAN("X-Request-ID"), c->result.id);
    copy_header(r->icap, SPAN("ISTag"), c->result.istag);
    (void)EVP_DigestInit_ex(c->sha, EVP_sha256(), NULL);
}

static void on_body(struct icap_client *c, struct slice s)
{
    if (c->state == CLIENT_FILE && !c->again) {
        (void)EVP_DigestUpdate(c->sha, slice_span(s).p, s.len);
        c->result.body_len += s.len;
    }
    block_unref(s.block);
}

/* Digest of |len| bytes of the file from |from| on, added to |md|. Blocking reads: the command-line
 * client may. */
static bool digest_file(EVP_MD_CTX *md, int fd, uint64_t from, uint64_t len)
{
    unsigned char piece[DIGEST_PIECE];

    while (len > 0) {
        ssize_t n = pread(fd, piece, len < sizeof piece ? (size_t)len : sizeof piece, (off_t)from);

        if (n <= 0)
            return false;
        (void)EVP_DigestUpdate(md, piece, (size_t)n);
        from += (uint64_t)n;
        len -= (uint64_t)n;
    }
    return true;
}

static void on_original(struct icap_client *c, uint64_t from)
{
    if (from > c->file.len || !digest_file(c->sha, c->file.fd, from, c->file.len - from)) {
        client_fail(c, ERR_PROTO, "use-original-body points behind the end of the file");
        return;
    }
    c->result.body_len += c->file.len - from;
}

static bool came_back_unchanged(struct icap_client *c)
{
    unsigned char theirs[EVP_MAX_MD_SIZE], ours[EVP_MAX_MD_SIZE];
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    bool same = false;

    if (md && c->result.body_len == c->file.len && EVP_DigestFinal_ex(c->sha, theirs, NULL) == 1 &&
        EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1 &&
        digest_file(md, c->file.fd, 0, c->file.len) && EVP_DigestFinal_ex(md, ours, NULL) == 1)
        same =
            span_eq((struct span){(const char *)theirs, SHA256_LEN},
                    (struct span){(const char *)ours, SHA256_LEN}); /* public: time tells nothing */
    EVP_MD_CTX_free(md);
    return same;
}

static bool has_infection(const struct icap_client_result *r)
{
    /* Some gateways send the field with a clean verdict, too. */
    return r->infection[0] && !span_istarts(span_of(r->infection), SPAN("no threats"));
}

/* False: the status alone makes it an error. */
static bool judge_status(struct icap_client *c)
{
    struct icap_client_result *r = &c->result;

    /* 202 is some sandboxes' word for "still looking": no verdict. */
    r->verdict = r->status / 100 == 2 && r->status != 202 ? ICAP_CLIENT_PASS : ICAP_CLIENT_ERROR;
    if (r->verdict == ICAP_CLIENT_PASS)
        r->why[0] = '\0';
    return r->verdict == ICAP_CLIENT_PASS;
}

static void judge(struct icap_client *c)
{
    struct icap_client_result *r = &c->result;

    if (!judge_status(c))
        return;
    if (has_infection(r) ||
        (r->status != 204 && c->set.method == ICAP_RESPMOD && r->http_status >= 400) ||
        (c->set.method == ICAP_REQMOD && r->http_status != 0)) {
        r->verdict = ICAP_CLIENT_BLOCKED;
    } else {
        r->verdict =
            r->status == 204 || came_back_unchanged(c) ? ICAP_CLIENT_PASS : ICAP_CLIENT_CHANGED;
    }
}

/* May the connection carry another request? Not when the server said no, not when it has answered
 * early, for the rest of a request cannot be taken back, and not when its login is about to end. */
static bool may_keep(struct icap_client *c)
{
    bool old = c->set.login.authorization && loop_now_ms(c->loop) - c->since_ms >= LOGIN_MS_MAX;

    return !old && icap_client_reply(c->engine)->keep_alive && !c->deaf &&
           (icap_client_wants(c->engine) & ICAP_WANT_READ) &&
           icap_client_output(c->engine)->len == 0;
}

/* The next request, or the same one again, here or on a connection of its own. */
static void go_on(struct icap_client *c)
{
    if (may_keep(c)) {
        c->state = CLIENT_NEXT;
        c->reused = true;
        c->answered = false;
        return;
    }
    drop_connection(c, false);
    client_connect(c, true);
}

static void ask_again(struct icap_client *c)
{
    c->again = false;
    if (c->pause_ms == 0) {
        go_on(c);
        return;
    }
    drop_connection(c, may_keep(c));
    c->state = CLIENT_PAUSE;
    set_timer(c, c->pause_ms);
}

static void on_end(struct icap_client *c)
{
    bool keep = may_keep(c);

    if (c->again) {
        ask_again(c);
        return;
    }
    if (c->only_options || (c->state == CLIENT_OPTIONS && !c->has_options)) {
        (void)judge_status(c);
        drop_connection(c, keep);
        client_finish(c);
        return;
    }
    if (c->state == CLIENT_OPTIONS) {
        go_on(c);
        return;
    }
    judge(c);
    drop_connection(c, keep);
    client_finish(c);
}

/* False: the connection is gone. */
static bool on_event(struct icap_client *c, const struct icap_client_event *ev)
{
    switch (ev->kind) {
    case ICAP_CLIENT_EV_NONE:
    case ICAP_CLIENT_EV_GO_ON: break;
    case ICAP_CLIENT_EV_REPLY: on_reply(c); break;
    case ICAP_CLIENT_EV_BODY: on_body(c, ev->slice); break;
    case ICAP_CLIENT_EV_ORIGINAL: on_original(c, ev->from); break;
    case ICAP_CLIENT_EV_END: on_end(c); break;
    case ICAP_CLIENT_EV_FAILED: client_broke(c, ev->fault.err, ev->fault.why); break;
    }
    return c->engine != NULL;
}

static bool client_events(struct icap_client *c, bool *moved)
{
    struct icap_client_event ev;

    while (icap_client_next(c->engine, &ev)) {
        *moved = true;
        if (!on_event(c, &ev))
            return false;
    }
    return true;
}

/* ---- the pump ---- */

static bool client_feed(struct icap_client *c, bool *moved)
{
    while (c->leftover.len > 0) {
        size_t used = 0;
        enum err e = icap_client_feed(c->engine, c->leftover, &used);

        if (e) {
            client_fail(c, e, "no memory for an answer");
            return false;
        }
        c->leftover = slice_sub(c->leftover, (uint32_t)used, c->leftover.len - (uint32_t)used);
        if (!client_events(c, moved))
            return false;
        if (used == 0)
            return true;
        *moved = true;
    }
    block_unref(c->leftover.block);
    c->leftover = (struct slice){0};
    return true;
}

static bool client_read(struct icap_client *c, bool *moved)
{
    struct block *b = block_new();
    uint32_t n = 0;
    enum err e;

    if (!b) {
        client_fail(c, ERR_NOMEM, "no memory for an answer");
        return false;
    }
    e = stream_read(c->stream, b, BLOCK_SIZE, &n);
    if (e == OK) {
        *moved = true;
        c->answered = true;
        c->little = n < STREAM_LITTLE;
        c->leftover = (struct slice){b, b->used - n, n};
        return client_feed(c, moved);
    }
    block_unref(b);
    if (e == ERR_AGAIN)
        return true;
    if (e == ERR_TLS && stream_is_cut(c->stream))
        e = ERR_EOF; /* no answer ends with the connection, so nothing can be cut off unseen */
    if (e == ERR_EOF) {
        icap_client_eof(c->engine);
        if (!client_events(c, moved))
            return false;
    }
    client_broke(c, e,
                 e == ERR_EOF   ? "the server closed the connection without a whole answer"
                 : e == ERR_TLS ? stream_error(c->stream)
                                : err_text(e));
    return false;
}

static void client_write(struct icap_client *c, bool *moved)
{
    struct chain *out = icap_client_output(c->engine);
    uint64_t n = 0;
    enum err e;

    if (c->deaf || (out->len == 0 && !stream_has_unsent(c->stream)))
        return;
    e = stream_write(c->stream, out, &n);
    if (n) {
        *moved = true;
        icap_client_sent(c->engine, 0); /* the stream has taken them off the chain already */
    }
    /* RFC 3507 erratum E7: the answer may be there although the server takes no more. Reading says
     * how it ends. */
    c->deaf = e != OK && e != ERR_AGAIN;
}

static bool client_round(struct icap_client *c, bool *moved)
{
    enum err e = OK;

    if (c->state == CLIENT_NEXT && icap_client_is_idle(c->engine)) {
        e = send_next(c);
        *moved = true;
    }
    if (e == OK)
        e = queue_file(c);
    if (e) {
        client_fail(c, e, "the request could not be written");
        return false;
    }
    if (!client_events(c, moved))
        return false;
    client_write(c, moved);
    if (c->leftover.len > 0)
        return client_feed(c, moved);
    return client_read(c, moved);
}

static void set_timer(struct icap_client *c, uint64_t at_ms)
{
    timer_set(c->loop, &c->timer, at_ms < c->give_up_ms ? at_ms : c->give_up_ms);
}

static void client_pump(struct icap_client *c)
{
    bool moved = true, writes;

    icap_client_tick(c->engine, loop_now_ms(c->loop));
    for (unsigned round = 0; round < ROUNDS_MAX && moved; round++) {
        moved = false;
        if (!client_round(c, &moved))
            return;
    }
    /* What still moves goes on with the next turn: there is room to write, or it waits for some. */
    writes = moved || icap_client_output(c->engine)->len > 0 || stream_has_unsent(c->stream);
    stream_arm(c->stream, STREAM_READABLE | (writes && !c->deaf ? STREAM_WRITABLE : 0u));
    if (c->little && !icap_client_is_idle(c->engine))
        stream_acknowledge(c->stream); /* it may hold back the rest of its answer */
    c->little = false;
    set_timer(c, icap_client_deadline(c->engine));
}

static void on_stream(void *arg, unsigned events)
{
    (void)events;
    client_pump(arg);
}

static void on_timer(struct timer *t)
{
    struct icap_client *c = CONTAINER_OF(t, struct icap_client, timer);

    if (loop_now_ms(c->loop) < c->give_up_ms) {
        if (c->state == CLIENT_PAUSE)
            client_connect(c, false);
        else
            client_pump(c);
        return;
    }
    icap_client_give_up(c, ERR_TIMEOUT, "no whole answer within the time that was given");
}

/* ---- connecting ---- */

/* Belt and braces: what the pool was told to demand is one thing, what leaves here another. */
static bool may_say_who(const struct icap_client *c, const sallyport_how *how)
{
    const sallyport_report *report = stream_report(c->stream);

    return !c->set.login.authorization || c->set.login.insecure ||
           (how->level >= SALLYPORT_WEAK && sallyport_report_peer(report));
}

static void on_connected(void *arg, struct stream *stream, bool reused, enum err err,
                         const char *why)
{
    struct icap_client *c = arg;
    sallyport_how how = {.size = sizeof how};

    const struct record_upstream_name name = way_name(c);

    c->ticket = NULL;
    if (!stream) {
        set_way(c, record_upstream_refused(c->upstream, &name, err, why));
        client_fail(c, err, why);
        return;
    }
    c->stream = stream;
    note_way(c);
    c->reused = reused;
    if (!reused)
        c->since_ms = loop_now_ms(c->loop);
    c->answered = false;
    c->deaf = false;
    if (sallyport_report_how(stream_report(stream), &how) == 0)
        (void)span_copy(span_of(how.text), c->result.how, sizeof c->result.how);
    (void)span_copy(span_of(sallyport_peer_text(sallyport_report_peer(stream_report(stream)))),
                    c->result.who, sizeof c->result.who);
    if (!may_say_who(c, &how)) {
        client_fail(c, ERR_POLICY,
                    "no password was sent: the connection is not encrypted, or the server has not "
                    "proved who it is");
        return;
    }
    err = icap_client_engine_new(&c->limits, loop_now_ms(c->loop), &c->engine);
    if (err == OK)
        err = send_next(c);
    if (err) {
        client_fail(c, err, "the request could not be written");
        return;
    }
    stream_set_callback(stream, on_stream, c);
    client_pump(c);
}

static void client_connect(struct icap_client *c, bool fresh)
{
    c->state = CLIENT_CONNECT;
    set_timer(c, UINT64_MAX);
    if (upstream_get(c->upstream, fresh, on_connected, c, &c->ticket) != OK)
        client_fail(c, ERR_NOMEM, "no memory for a connection");
}

/* ---- public ---- */

enum err icap_client_new(struct loop *l, const struct icap_client_settings *s,
                         struct icap_client **ret)
{
    struct icap_client *c = calloc(1, sizeof *c);
    enum err e;

    if (!c)
        return ERR_NOMEM;
    c->loop = l;
    c->set = *s;
    c->limits = icap_limits_default;
    if (s->file_ms) /* who says how long he waits, waits so long */
        c->limits.transaction_ms = c->limits.body_idle_ms = c->limits.head_ms = s->file_ms;
    c->timer.fire = on_timer;
    c->timer.at_ms = UINT64_MAX;
    c->tell.run = client_tell;
    c->sha = EVP_MD_CTX_new();
    e = c->sha ? upstream_new(l, &s->upstream, &c->upstream) : ERR_NOMEM;
    if (e) {
        EVP_MD_CTX_free(c->sha);
        free(c);
        return e;
    }
    *ret = c;
    return OK;
}

void icap_client_free(struct icap_client *c)
{
    if (!c)
        return;
    if (c->ticket)
        upstream_cancel(c->ticket);
    drop_connection(c, false);
    file_unref(c->ref);
    set_way(c, NULL);
    upstream_free(c->upstream);
    EVP_MD_CTX_free(c->sha);
    c->dead = true;
    if (!c->telling)
        free(c);
}

struct record_upstream *icap_client_upstream(const struct icap_client *c)
{
    return c->way;
}

void icap_client_give_up(struct icap_client *c, enum err err, const char *why)
{
    if (c->state == CLIENT_IDLE) /* or the result is being told */
        return;
    if (c->ticket)
        upstream_cancel(c->ticket);
    c->ticket = NULL;
    client_fail(c, err, why);
}

static void ref_release(struct file_ref *f)
{
    (void)close(f->fd);
    free(f);
}

/* With a descriptor of its own: a read of the file may still be under way in the pool when an early
 * answer ends the scan and the caller closes its own. */
static struct file_ref *ref_new(int fd)
{
    struct file_ref *ref = malloc(sizeof *ref);

    if (!ref)
        return NULL;
    *ref = (struct file_ref){.refs = 1, .release = ref_release};
    ref->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (ref->fd < 0) {
        free(ref);
        return NULL;
    }
    return ref;
}

static enum err client_start(struct icap_client *c, icap_client_fn done, void *arg)
{
    c->done = done;
    c->arg = arg;
    set_way(c, NULL);
    c->retried = false;
    c->denied = c->pauses = 0;
    c->result = (struct icap_client_result){0};
    c->start_us = loop_now_us(c->loop);
    c->give_up_ms = c->set.file_ms ? loop_now_ms(c->loop) + c->set.file_ms : UINT64_MAX;
    client_connect(c, false);
    return OK;
}

enum err icap_client_scan(struct icap_client *c, const struct icap_client_file *f,
                          icap_client_fn done, void *arg)
{
    if (c->state != CLIENT_IDLE || c->telling)
        return ERR_BUG;
    c->ref = ref_new(f->fd);
    if (!c->ref)
        return ERR_NOMEM;
    c->file = *f;
    c->only_options = false;
    return client_start(c, done, arg);
}

enum err icap_client_ask(struct icap_client *c, icap_client_fn done, void *arg)
{
    if (c->state != CLIENT_IDLE || c->telling)
        return ERR_BUG;
    c->file = (struct icap_client_file){.fd = -1};
    c->only_options = true;
    return client_start(c, done, arg);
}
