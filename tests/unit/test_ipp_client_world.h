/* SPDX-License-Identifier: Apache-2.0 */
/* test_ipp_client_world.h - the IPP client's driver under test: against a printer, or a proxy, that
 * the test plays byte by byte, in clear text and inside TLS. */
#ifndef TEST_IPP_CLIENT_WORLD_H
#define TEST_IPP_CLIENT_WORLD_H

#include "test_net.h"

#include <errno.h>
#include <sys/mman.h>

#include "http/digest_hash.h"
#include "ipp/ipp_client_message.h"
#include "ipp/ipp_names.h"
#include "ipp/ipp_write.h"
#include "net/stream.h"
#include "test_certs.h"

#define USER     "ann"
#define PASSWORD "s3cret"
#define LONG_MS  100000u /* longer than anything waits */

static struct test_cert test_ca, test_leaf;
static struct tls_context *server_upgraded, *server_implicit, *client_upgraded, *client_implicit;

struct fixture {
    struct test_clock clock;
    struct loop *loop;
    struct timer pace; /* something to wait for: loop_turn() then looks at the clock */
    /* the printer */
    int listening;
    struct address address;
    unsigned n_accepted;
    struct stream *server; /* the last connection to it */
    struct chain out;
    struct buf in;
    bool eof, tls;
    /* the request that was heard */
    struct ipp_header header;
    char uri[IPP_URI_MAX + 1];
    char authorization[2048]; /* "": none */
    char target[256];
    /* the client */
    char text[256]; /* of the URI */
    struct ipp_client_settings set;
    struct digest_random random;
    uint8_t next_random; /* every call another value; 0: requests are numbered from 1 on */
    struct ipp_client *client;
    struct ipp_client_message message;
    int fd;
    unsigned n_done, n_passwords, n_warnings;
    bool in_call, free_in_callback;
    struct ipp_client_result result;
    uint16_t status; /* of the IPP answer; 0xffff: none */
    char warning[IPP_CLIENT_TEXT_MAX];
};

static inline struct tls_context *test_tls_of(enum tls_role role, const char *alpn)
{
    struct tls_context *c = NULL;
    struct buf why;
    struct tls_settings s = {.role = role, .alpn = span_of(alpn)};

    if (role == TLS_SERVER) {
        s.certificate = span_of(test_leaf.cert_pem);
        s.key = span_of(test_leaf.key_pem);
    } else {
        s.trust = span_of(test_ca.cert_pem);
    }
    buf_init(&why, 0);
    assert_int_equal(tls_context_new(&s, &c, &why), OK);
    buf_done(&why);
    return c;
}

static inline int make_certs(void **state)
{
    (void)state;
    test_ca = test_ca_new("Test CA");
    test_leaf =
        test_cert_new(&test_ca, (struct test_cert_spec){.cn = "printer", .san = "IP:127.0.0.1"});
    server_upgraded = test_tls_of(TLS_SERVER, IPP_ALPN_UPGRADED);
    server_implicit = test_tls_of(TLS_SERVER, IPP_ALPN_IMPLICIT);
    client_upgraded = test_tls_of(TLS_CLIENT, IPP_ALPN_UPGRADED);
    client_implicit = test_tls_of(TLS_CLIENT, IPP_ALPN_IMPLICIT);
    return 0;
}

static inline int drop_certs(void **state)
{
    (void)state;
    tls_context_unref(server_upgraded);
    tls_context_unref(server_implicit);
    tls_context_unref(client_upgraded);
    tls_context_unref(client_implicit);
    test_cert_free(&test_leaf);
    test_cert_free(&test_ca);
    return 0;
}

static inline void no_fire(struct timer *t)
{
    (void)t;
}

static inline bool fill_random(void *arg, void *dst, size_t n)
{
    memset(dst, ((struct fixture *)arg)->next_random++, n);
    return true;
}

static inline int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    test_clock_init(&f->clock, 1000000);
    f->loop = test_loop(&f->clock.clock);
    f->pace.fire = no_fire;
    timer_set(f->loop, &f->pace, UINT64_MAX / 2);
    f->address = test_loopback(0);
    f->listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(f->listening, (struct sockaddr *)&f->address.ss, f->address.len), 0);
    assert_int_equal(listen(f->listening, 8), 0);
    f->address = test_local_address(f->listening);
    f->fd = memfd_create("document", MFD_CLOEXEC);
    chain_init(&f->out, 0);
    buf_init(&f->in, 0);
    f->status = 0xffff;
    f->random = (struct digest_random){fill_random, f};
    f->set.random = &f->random;
    f->message = (struct ipp_client_message){.operation = IPP_OPERATION_GET_PRINTER_ATTRIBUTES};
    *state = f;
    return 0;
}

static inline void drop_server(struct fixture *f)
{
    stream_close(f->server, 0);
    f->server = NULL;
    chain_done(&f->out);
}

static inline int teardown(void **state)
{
    struct fixture *f = *state;

    ipp_client_free(f->client);
    drop_server(f);
    test_settle(f->loop);
    timer_clear(f->loop, &f->pace);
    buf_done(&f->in);
    (void)close(f->listening);
    (void)close(f->fd);
    loop_free(f->loop);
    free(f);
    return 0;
}

/* ---- turning ---- */

static inline void server_read(struct fixture *f)
{
    struct block *b = block_new();
    uint32_t n = 0;
    enum err e = stream_read(f->server, b, BLOCK_SIZE, &n);

    if (e == OK)
        buf_add(&f->in, (struct span){(const char *)b->data, n});
    else if (e != ERR_AGAIN)
        f->eof = true;
    block_unref(b);
}

static inline void server_write(struct fixture *f)
{
    uint64_t n;

    if (f->out.len || stream_has_unsent(f->server))
        (void)!stream_write(f->server, &f->out, &n);
}

static inline void on_server(void *arg, unsigned events)
{
    struct fixture *f = arg;

    if (events & STREAM_OPEN)
        f->tls = true;
    if (events & STREAM_FAILED)
        f->eof = true;
}

static inline void step(struct fixture *f, bool wait)
{
    (void)loop_turn(f->loop, wait);
    if (!f->server || (stream_is_tls(f->server) && !f->tls))
        return;
    server_write(f);
    if (!f->eof)
        server_read(f);
    stream_arm(f->server, STREAM_READABLE | (f->out.len ? STREAM_WRITABLE : 0u));
}

#define UNTIL(f, condition)                                    \
    do {                                                       \
        unsigned turns_ = 0;                                   \
        while (!(condition)) {                                 \
            if (++turns_ > 5000)                               \
                fail_msg("never became true: %s", #condition); \
            step((f), turns_ % 4 == 0);                        \
        }                                                      \
    } while (0)

/* Enough turns for things that must not happen. */
static inline void settle(struct fixture *f)
{
    for (unsigned i = 0; i < 30; i++)
        step(f, false);
}

static inline void pass(struct fixture *f, uint64_t ms)
{
    settle(f);
    f->clock.now_ms += ms;
    settle(f);
}

/* ---- the printer ---- */

static inline void accept_one(struct fixture *f)
{
    int fd = -1;

    UNTIL(f, (fd = accept4(f->listening, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0);
    drop_server(f);
    buf_reset(&f->in);
    f->eof = f->tls = false;
    f->n_accepted++;
    assert_int_equal(stream_new(f->loop, fd, NULL, on_server, f, &f->server), OK);
}

static inline bool nobody_connects(struct fixture *f)
{
    settle(f);
    return accept4(f->listening, NULL, NULL, SOCK_CLOEXEC) < 0 && errno == EAGAIN;
}

static inline void say_span(struct fixture *f, struct span s)
{
    assert_int_equal(chain_append_copy(&f->out, s), OK);
    UNTIL(f, f->out.len == 0 && !stream_has_unsent(f->server));
}

static inline void say(struct fixture *f, const char *text)
{
    say_span(f, span_of(text));
}

static inline size_t find(const struct buf *in, const char *text)
{
    const char *at = in->n ? memmem(in->p, in->n, text, strlen(text)) : NULL;

    return at ? (size_t)(at - in->p) : SIZE_MAX;
}

static inline bool heard(struct fixture *f, const char *text)
{
    return find(&f->in, text) != SIZE_MAX;
}

/* Waits until the client has sent exactly |text|, and forgets it. */
static inline void hear(struct fixture *f, const char *text)
{
    UNTIL(f, f->in.n >= strlen(text) || f->eof);
    if (!span_eq(buf_span(&f->in), span_of(text)))
        fail_msg("heard: %s", buf_cstr(&f->in));
    buf_reset(&f->in);
}

/* A head with its empty line, up to which |in| is dropped. */
static inline void take_head(struct fixture *f, char *dst, size_t cap)
{
    size_t end;

    UNTIL(f, heard(f, "\r\n\r\n") || f->eof);
    end = find(&f->in, "\r\n\r\n");
    if (end == SIZE_MAX)
        fail_msg("closed after: %s", buf_cstr(&f->in));
    assert_true(end + 4 < cap);
    (void)span_copy(span_sub(buf_span(&f->in), 0, end + 4), dst, cap);
    buf_drop(&f->in, end + 4);
}

static inline void field_of(const char *head, const char *name, char *dst, size_t cap)
{
    const char *at = strstr(head, name);

    dst[0] = '\0';
    if (at)
        (void)span_copy((struct span){at + strlen(name), strcspn(at + strlen(name), "\r")}, dst,
                        cap);
}

static inline size_t length_of(const char *head)
{
    char text[32];
    uint64_t n = 0;

    field_of(head, "Content-Length: ", text, sizeof text);
    return span_u64(span_of(text), SIZE_MAX, &n) == OK ? (size_t)n : 0;
}

/* Reads what the message says into the fixture; its octets stay. Returns how many they are. */
static inline size_t read_message(struct fixture *f)
{
    const struct ipp_limits lim = IPP_LIMITS_DEFAULT;
    struct ipp_scan scan = {0};
    struct ipp_message m;
    size_t used;

    assert_int_equal(ipp_scan_feed(&scan, &lim, buf_span(&f->in), &used, NULL), OK);
    assert_int_equal(
        ipp_message_parse(IPP_REQUEST, span_sub(buf_span(&f->in), 0, used), &lim, &m, NULL), OK);
    f->header = m.header;
    (void)span_copy(m.target.uri, f->uri, sizeof f->uri);
    return used;
}

static inline void take_request_head(struct fixture *f, char *head, size_t cap)
{
    take_head(f, head, cap);
    if (strncmp(head, "POST ", 5) != 0)
        fail_msg("no POST: %s", head);
    (void)span_copy((struct span){head + 5, strcspn(head + 5, " ")}, f->target, sizeof f->target);
    field_of(head, "\r\nAuthorization: ", f->authorization, sizeof f->authorization);
}

/* One whole request without a document. */
static inline void hear_request(struct fixture *f)
{
    char head[4096];

    take_request_head(f, head, sizeof head);
    assert_non_null(strstr(head, "\r\nContent-Type: application/ipp\r\n"));
    assert_null(strstr(head, "Upgrade"));
    UNTIL(f, f->in.n >= length_of(head));
    assert_int_equal(read_message(f), length_of(head));
    buf_reset(&f->in);
}

static inline void add_answer(struct buf *b, uint16_t status, uint32_t id)
{
    struct ipp_writer w;

    ipp_write_begin(&w, b, 2, 0, status, id);
    ipp_write_group(&w, IPP_GROUP_OPERATION);
    ipp_write_string(&w, IPP_VALUE_CHARSET, SPAN("attributes-charset"), SPAN("utf-8"));
    ipp_write_string(&w, IPP_VALUE_LANGUAGE, SPAN("attributes-natural-language"), SPAN("en"));
    assert_int_equal(ipp_write_end(&w), OK);
}

/* Appends an answer; |fields|: further field-lines. */
static inline void write_answer(struct buf *b, uint16_t status, uint32_t id, const char *fields,
                                const char *type)
{
    struct buf message;

    buf_init(&message, 0);
    add_answer(&message, status, id);
    buf_fmt(b, "HTTP/1.1 200 OK\r\nContent-Type: %s\r\n%sContent-Length: %zu\r\n\r\n", type, fields,
            message.n);
    buf_add(b, buf_span(&message));
    buf_done(&message);
}

static inline void answer_with(struct fixture *f, uint16_t status, uint32_t id, const char *fields,
                               const char *type)
{
    struct buf all;

    buf_init(&all, 0);
    write_answer(&all, status, id, fields, type);
    say_span(f, buf_span(&all));
    buf_done(&all);
}

static inline void answer(struct fixture *f, uint16_t status, const char *fields)
{
    answer_with(f, status, f->header.request_id, fields, "application/ipp");
}

#define OPTIONS                                                                            \
    "OPTIONS * HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nUser-Agent: sallyport/" SALLYPORT_VERSION \
    "\r\nUpgrade: TLS/1.3, TLS/1.2\r\nConnection: Upgrade\r\n\r\n"
#define SWITCH                                                                      \
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: TLS/1.2, " \
    "HTTP/1.1\r\n\r\n"
#define FINAL      "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
#define FINAL_OURS "HTTP/1.1 200 OK\r\nServer: sallyport\r\nContent-Length: 0\r\n\r\n"
#define CHALLENGE(f) \
    "WWW-Authenticate: Digest realm=\"r\", qop=\"auth\", algorithm=SHA-256, nonce=\"" f "\"\r\n"
#define BASIC      "WWW-Authenticate: Basic realm=\"r\"\r\n"
#define DENIED     "HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n"
#define ASK_DIGEST DENIED CHALLENGE("n1") "\r\nno"

static inline void hear_options(struct fixture *f)
{
    char text[512];

    (void)snprintf(text, sizeof text, OPTIONS, address_port(&f->address));
    hear(f, text);
}

/* TLS on the connection that there is. */
static inline void begin_tls(struct fixture *f, struct tls_context *tls)
{
    assert_int_equal(stream_start_tls(f->server, tls, NULL), OK);
    UNTIL(f, f->tls || f->eof);
}

static inline void upgrade(struct fixture *f, const char *final)
{
    accept_one(f);
    hear_options(f);
    say(f, SWITCH);
    begin_tls(f, server_upgraded);
    assert_true(f->tls);
    say(f, final);
}

/* ---- the client ---- */

static inline const char *give_password(void *arg)
{
    ((struct fixture *)arg)->n_passwords++;
    return PASSWORD;
}

static inline void on_warning(void *arg, const char *text)
{
    struct fixture *f = arg;

    f->n_warnings++;
    (void)span_copy(span_of(text), f->warning, sizeof f->warning);
}

/* |uri|, with the port in place of "%u". f->set may be filled before. */
static inline void use(struct fixture *f, const char *uri)
{
    struct span rest = span_of(uri), before = span_cut(&rest, '%');
    struct writer w = writer_of(f->text, sizeof f->text - 1);
    char why[IPP_CLIENT_WHY_MAX];

    write_span(&w, before);
    write_dec(&w, address_port(&f->address));
    write_span(&w, span_sub(rest, 1, SIZE_MAX));
    assert_int_equal(w.err, OK);
    assert_int_equal(ipp_client_resolve(span_of(f->text), &f->set.uri, &f->set.plan, why), OK);
    if (!f->set.tls_upgraded)
        f->set.tls_upgraded = client_upgraded;
    if (!f->set.tls_implicit)
        f->set.tls_implicit = client_implicit;
    f->set.warn = on_warning;
    f->set.warn_arg = f;
    assert_int_equal(ipp_client_new(f->loop, &f->set, &f->client), OK);
}

static inline void use_as(struct fixture *f, const char *uri, const char *user)
{
    f->set.login = (struct ipp_client_login){.user = user, .password = give_password, .arg = f};
    f->message.user = user;
    use(f, uri);
}

static inline void on_done(void *arg, const struct ipp_client_result *r)
{
    struct fixture *f = arg;

    assert_false(f->in_call);
    f->n_done++;
    f->result = *r;
    f->status = r->message ? r->message->header.code : 0xffff;
    if (f->free_in_callback) {
        ipp_client_free(f->client);
        f->client = NULL;
    }
}

static inline void begin(struct fixture *f, bool harmless, struct span document)
{
    const struct ipp_client_request r = {
        .write = ipp_client_message_write,
        .fd = f->fd,
        .len = document.n,
        .harmless = harmless,
        .done = on_done,
        .write_arg = &f->message,
        .arg = f,
    };

    assert_int_equal(ftruncate(f->fd, 0), 0);
    assert_int_equal(pwrite(f->fd, document.p, document.n, 0), (ssize_t)document.n);
    f->n_done = 0;
    f->in_call = true;
    assert_int_equal(ipp_client_ask(f->client, &r), OK);
    assert_int_equal(ipp_client_ask(f->client, &r), ERR_BUG);
    f->in_call = false;
}

static inline void ask(struct fixture *f)
{
    begin(f, true, SPAN_NONE);
}

static inline void print(struct fixture *f, struct span document)
{
    f->message.operation = IPP_OPERATION_PRINT_JOB;
    begin(f, false, document);
}

/* The same, with the client, and up to its connection. */
static inline void ask_at(struct fixture *f, const char *uri)
{
    use(f, uri);
    ask(f);
    accept_one(f);
}

static inline void ask_at_as(struct fixture *f, const char *uri, const char *user)
{
    use_as(f, uri, user);
    ask(f);
    accept_one(f);
}

static inline void print_at(struct fixture *f, const char *uri, struct span document)
{
    use(f, uri);
    print(f, document);
    accept_one(f);
}

static inline void finish(struct fixture *f, enum ipp_client_end end)
{
    UNTIL(f, f->n_done);
    if (f->result.end != end)
        fail_msg("ended as %d instead of %d: %s", f->result.end, end, f->result.why);
    assert_int_equal(f->n_done, 1);
}

static inline void finish_with(struct fixture *f, enum ipp_client_end end, const char *words)
{
    finish(f, end);
    if (!strstr(f->result.why, words))
        fail_msg("'%s' says nothing of '%s'", f->result.why, words);
}

/* The client has hung up, and has said nothing since. */
static inline void ends_silently(struct fixture *f)
{
    UNTIL(f, f->eof);
    if (f->in.n)
        fail_msg("heard: %s", buf_cstr(&f->in));
}

#endif
