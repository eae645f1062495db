/* SPDX-License-Identifier: Apache-2.0 */
/*
 * icapfloor.c - the least work that still moves an ICAP server's bytes through this kernel.
 *
 * Not a server: it reads a request until its last bytes say that it is over, looks at a few words
 * of the head, and writes a canned answer of the size that an echo service would send. No parsing,
 * no checks, no time-outs, no log. What a real server adds to these figures is its own cost.
 * It trusts its peer: use it on loopback, with icapload --fill.
 *
 *   icapfloor [-t THREADS] [-p PORT] [-P TLSPORT -c CERT -k KEY] [-a] [-n 204|206] [-B]
 *
 * Port 0 lets the kernel choose. The ports are printed, one line each, then "ready".
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#define CHUNK_LEN       65536
#define READ_MAX        (256 * 1024)
#define ONE_PIECE_MAX   20000 /* smaller answers are made in one piece */
#define IOV_MAX_PIECES  16
#define EVENTS_MAX      256
#define ACCEPTS_MAX     64
#define THREADS_MAX     64
#define TLS_BATCH       ((size_t)8 * 16500) /* eight full records with their framing */
#define TLS_READ_BUFFER ((size_t)66 * 1024)
#define NO_PORT         (-1)
#define ISTAG           "ISTag: \"FLOOR-0001-0001-0001-00000000001\"\r\n"

/* What an answer consists of; together with the body length it names a canned answer. */
enum answer_kind {
    ANSWER_OPTIONS,
    ANSWER_CONTINUE,
    ANSWER_NO_CHANGE,
    ANSWER_PARTIAL,
    ANSWER_REQMOD,
    ANSWER_RESPMOD
};

#define NULL_BODY (-1)

struct canned {
    enum answer_kind kind;
    int64_t body; /* bytes, or NULL_BODY */
    char *head;
    size_t head_len;
    uint64_t chunks; /* whole chunks between head and rest */
    char *rest;      /* the short chunk, if any, and the last chunk */
    size_t rest_len;
    struct canned *next;
};

struct conn {
    int fd;
    bool listener, tls;
    bool fresh;       /* the next byte begins a request */
    bool want_write;  /* registered for EPOLLOUT, not EPOLLIN */
    bool close_after; /* the request said Connection: close */
    bool in_preview;
    bool flip; /* -a: which answer the last preview got */
    SSL *ssl;
    enum answer_kind kind; /* what the request at hand asks for */
    int64_t body;
    char tail[5]; /* its last bytes so far */
    size_t tail_len;
    const char *end; /* what the last bytes of the request look like */
    size_t end_len;
    const struct canned *out; /* being written, from off on */
    uint64_t off;
};

struct thread {
    pthread_t id;
    int epoll;
    char *buf;
    struct canned *answers;
};

static struct {
    long threads, port, tls_port;
    const char *cert, *key;
    bool alternate, batch;
    enum answer_kind unchanged; /* -n: how bodies are answered; else with an echo */
    SSL_CTX *tls;
    char unit[CHUNK_LEN + 16]; /* one whole chunk: size line, data, CRLF */
    size_t unit_len;
} floor_conf = {.threads = 1, .port = NO_PORT, .tls_port = NO_PORT, .unchanged = ANSWER_RESPMOD};

static void die(const char *what)
{
    (void)fprintf(stderr, "icapfloor: %s: %s\n", what, strerror(errno));
    exit(2);
}

static void *must_alloc(size_t n)
{
    void *p = calloc(1, n);

    if (!p) {
        die("memory");
        abort();
    }
    return p;
}

/* --- canned answers --- */

static int http_head_format(char *buf, size_t cap, enum answer_kind kind, int64_t body)
{
    if (kind == ANSWER_REQMOD)
        return snprintf(buf, cap,
                        "%s http://www.example.com/path/to/object.html HTTP/1.1\r\n"
                        "Host: www.example.com\r\n"
                        "User-Agent: Mozilla/5.0 (X11; Linux x86_64) icapload/1.0\r\n"
                        "Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\n"
                        "Accept-Language: en-GB,en;q=0.5\r\nAccept-Encoding: identity\r\n\r\n",
                        body >= 0 ? "POST" : "GET");
    return snprintf(buf, cap,
                    "HTTP/1.1 200 OK\r\nDate: Sat, 21 Nov 2026 12:00:00 GMT\r\n"
                    "Server: example/1.0\r\nLast-Modified: Fri, 20 Nov 2026 12:00:00 GMT\r\n"
                    "Content-Type: text/plain\r\nCache-Control: max-age=3600\r\n"
                    "Content-Length: %lld\r\nVia: ICAP/1.0 floor (floor/1.0)\r\n\r\n",
                    (long long)body);
}

/* 206: the original body, all of it; so the size of the body is in the head only. */
static int partial_format(char *buf, size_t cap, int64_t body)
{
    char http[512];
    int http_len = http_head_format(http, sizeof http, ANSWER_RESPMOD, body);

    return snprintf(buf, cap,
                    "ICAP/1.0 206 Partial Content\r\nServer: floor/1.0\r\n"
                    "Connection: keep-alive\r\n" ISTAG "Encapsulated: res-hdr=0, res-body=%d\r\n"
                    "\r\n%s0; use-original-body=0\r\n\r\n",
                    http_len, http);
}

static int echo_head_format(char *buf, size_t cap, enum answer_kind kind, int64_t body)
{
    char http[512];
    const char *hdr = kind == ANSWER_REQMOD ? "req" : "res";
    int http_len = http_head_format(http, sizeof http, kind, body);

    return snprintf(buf, cap,
                    "ICAP/1.0 200 OK\r\nServer: floor/1.0\r\nConnection: keep-alive\r\n" ISTAG
                    "Encapsulated: %s-hdr=0, %s-body=%d\r\n\r\n%s",
                    hdr, body < 0 ? "null" : hdr, http_len, http);
}

static int head_format(char *buf, size_t cap, enum answer_kind kind, int64_t body)
{
    switch (kind) {
    case ANSWER_OPTIONS:
        return snprintf(buf, cap,
                        "ICAP/1.0 200 OK\r\nMethods: RESPMOD, REQMOD\r\n"
                        "Service: floor/1.0 service\r\n" ISTAG "Max-Connections: 10000\r\n"
                        "Options-TTL: 3600\r\nDate: Sat, 21 Nov 2026 12:00:00 GMT\r\n"
                        "Preview: 1024\r\nAllow: 204, 206\r\nTransfer-Preview: *\r\n"
                        "Encapsulated: null-body=0\r\n\r\n");
    case ANSWER_CONTINUE: return snprintf(buf, cap, "ICAP/1.0 100 Continue\r\n\r\n");
    case ANSWER_NO_CHANGE:
        return snprintf(buf, cap,
                        "ICAP/1.0 204 Unmodified\r\nServer: floor/1.0\r\n"
                        "Connection: keep-alive\r\n" ISTAG "\r\n");
    case ANSWER_PARTIAL: return partial_format(buf, cap, body);
    case ANSWER_REQMOD:
    case ANSWER_RESPMOD: break;
    }
    return echo_head_format(buf, cap, kind, body);
}

/* Everything after the whole chunks: a shorter one for what is left, and the last chunk. */
static void rest_make(struct canned *c)
{
    size_t left = (size_t)(c->body % CHUNK_LEN);
    size_t cap = left + 64;
    size_t n = 0;

    c->rest = must_alloc(cap);
    if (left > 0) {
        n = (size_t)snprintf(c->rest, cap, "%zx\r\n", left);
        memset(c->rest + n, 'e', left);
        n += left;
        n += (size_t)snprintf(c->rest + n, cap - n, "\r\n");
    }
    c->rest_len = n + (size_t)snprintf(c->rest + n, cap - n, "0\r\n\r\n");
}

/* Small answers become one piece, so that TLS makes one record of them. */
static void canned_join(struct canned *c)
{
    size_t len = c->head_len + c->rest_len;
    char *all;

    if (c->chunks > 0 || len > ONE_PIECE_MAX)
        return;
    all = must_alloc(len + 1);
    memcpy(all, c->head, c->head_len);
    if (c->rest)
        memcpy(all + c->head_len, c->rest, c->rest_len);
    free(c->head);
    free(c->rest);
    c->head = all;
    c->head_len = len;
    c->rest = NULL;
    c->rest_len = 0;
}

static const struct canned *canned_get(struct thread *t, enum answer_kind kind, int64_t body)
{
    struct canned *c;

    for (c = t->answers; c; c = c->next)
        if (c->kind == kind && c->body == body)
            return c;
    c = must_alloc(sizeof *c);
    c->kind = kind;
    c->body = body;
    c->head = must_alloc(1024);
    c->head_len = (size_t)head_format(c->head, 1024, kind, body);
    if (body >= 0 && kind != ANSWER_PARTIAL) {
        c->chunks = (uint64_t)body / CHUNK_LEN;
        rest_make(c);
    }
    canned_join(c);
    c->next = t->answers;
    t->answers = c;
    return c;
}

static uint64_t canned_len(const struct canned *c)
{
    return c->head_len + c->chunks * floor_conf.unit_len + c->rest_len;
}

/* The pieces of |c| from byte |off| on, |max| at most. */
static int canned_iov(const struct canned *c, uint64_t off, struct iovec *v, int max)
{
    uint64_t chunks_len = c->chunks * floor_conf.unit_len;
    int n = 0;

    if (off < c->head_len) {
        v[n++] = (struct iovec){c->head + off, c->head_len - (size_t)off};
        off = 0;
    } else {
        off -= c->head_len;
    }
    while (n < max && off < chunks_len) {
        size_t in = (size_t)(off % floor_conf.unit_len);

        v[n++] = (struct iovec){floor_conf.unit + in, floor_conf.unit_len - in};
        off += floor_conf.unit_len - in;
    }
    if (n < max && off >= chunks_len && off - chunks_len < c->rest_len) {
        size_t in = (size_t)(off - chunks_len);

        v[n++] = (struct iovec){c->rest + in, c->rest_len - in};
    }
    return n;
}

/* --- writing --- */

enum io { IO_DEAD = -1, IO_WAIT = 0, IO_DONE = 1 };

static void conn_arm(struct thread *t, struct conn *c, bool write)
{
    struct epoll_event ev = {.events = write ? EPOLLOUT : EPOLLIN, .data.ptr = c};

    if (c->want_write == write)
        return;
    c->want_write = write;
    (void)epoll_ctl(t->epoll, EPOLL_CTL_MOD, c->fd, &ev);
}

/* Bytes written, 0 when it would block, -1 when the connection is gone. */
static ssize_t write_plain(struct conn *c)
{
    struct iovec v[IOV_MAX_PIECES];
    struct msghdr m = {.msg_iov = v};
    ssize_t n;

    m.msg_iovlen = (size_t)canned_iov(c->out, c->off, v, IOV_MAX_PIECES);
    n = sendmsg(c->fd, &m, MSG_NOSIGNAL);
    if (n < 0)
        return errno == EAGAIN ? 0 : -1;
    return n;
}

static ssize_t write_tls(struct conn *c)
{
    struct iovec v[1] = {{0}};
    int n, err;

    (void)canned_iov(c->out, c->off, v, 1);
    n = SSL_write(c->ssl, v[0].iov_base, (int)v[0].iov_len);
    if (n > 0)
        return n;
    err = SSL_get_error(c->ssl, n);
    return err == SSL_ERROR_WANT_WRITE || err == SSL_ERROR_WANT_READ ? 0 : -1;
}

/* With -B the records wait in a buffering BIO until it is full or the answer is over. */
static enum io flush_batch(struct conn *c)
{
    BIO *b = SSL_get_wbio(c->ssl);

    if (BIO_flush(b) > 0)
        return IO_DONE;
    return BIO_should_retry(b) ? IO_WAIT : IO_DEAD;
}

static enum io conn_flush(struct thread *t, struct conn *c)
{
    uint64_t len = canned_len(c->out);
    enum io r = IO_DONE;

    while (c->off < len) {
        ssize_t n = c->ssl ? write_tls(c) : write_plain(c);

        if (n < 0)
            return IO_DEAD;
        if (n == 0) {
            conn_arm(t, c, true);
            return IO_WAIT;
        }
        c->off += (uint64_t)n;
    }
    if (c->ssl && floor_conf.batch)
        r = flush_batch(c);
    if (r == IO_DONE)
        c->out = NULL;
    if (r != IO_DEAD)
        conn_arm(t, c, r == IO_WAIT);
    return r;
}

static enum io conn_answer(struct thread *t, struct conn *c, enum answer_kind kind, int64_t body)
{
    c->out = canned_get(t, kind, body);
    c->off = 0;
    return conn_flush(t, c);
}

/* --- reading --- */

/* Notes what the head asks for. The head must come in one read, as icapload sends it; the byte
 * after it must be ours, because the string functions want an end. */
static void request_begin(struct conn *c, char *p, size_t n)
{
    size_t len = n < 2048 ? n : 2047;
    char save = p[len];

    p[len] = '\0';
    c->fresh = false;
    c->tail_len = 0;
    c->body = NULL_BODY;
    c->in_preview = false;
    if (p[0] == 'O') {
        c->kind = ANSWER_OPTIONS;
    } else {
        c->kind = len > 2 && p[2] == 'Q' ? ANSWER_REQMOD : ANSWER_RESPMOD;
        if (!strstr(p, "null-body")) {
            const char *v = strstr(p, "Content-Length: ");

            c->body = v ? strtoll(v + 16, NULL, 10) : 0;
            c->in_preview = strstr(p, "\nPreview: ") != NULL;
        }
    }
    c->end = c->body < 0 ? "\r\n\r\n" : "0\r\n\r\n";
    c->end_len = strlen(c->end);
    c->close_after = strstr(p, "\nConnection: close") != NULL;
    p[len] = save;
}

/* Keeps the last five bytes of the request. */
static void tail_feed(struct conn *c, const char *p, size_t n)
{
    size_t max = sizeof c->tail;
    size_t keep;

    if (n >= max) {
        memcpy(c->tail, p + n - max, max);
        c->tail_len = max;
        return;
    }
    keep = c->tail_len + n > max ? max - n : c->tail_len;
    memmove(c->tail, c->tail + c->tail_len - keep, keep);
    memcpy(c->tail + keep, p, n);
    c->tail_len = keep + n;
}

/* What is said about a request that is over. The body's length matters for echoes and 206. */
static enum io conn_reply(struct thread *t, struct conn *c, bool ieof)
{
    enum answer_kind kind = c->kind;
    int64_t body = c->body;

    if (c->in_preview) {
        c->in_preview = false;
        c->flip = !c->flip;
        kind = floor_conf.unchanged == ANSWER_PARTIAL      ? ANSWER_PARTIAL
               : ieof || !floor_conf.alternate || !c->flip ? ANSWER_NO_CHANGE
                                                           : ANSWER_CONTINUE;
    } else if (body >= 0 && floor_conf.unchanged != ANSWER_RESPMOD) {
        kind = floor_conf.unchanged;
    }
    if (kind == ANSWER_NO_CHANGE || kind == ANSWER_CONTINUE)
        body = NULL_BODY;
    c->fresh = kind != ANSWER_CONTINUE;
    return conn_answer(t, c, kind, body) == IO_DEAD ? IO_DEAD : IO_DONE;
}

/* IO_WAIT: the request goes on; IO_DONE: answered, or being answered. */
static enum io conn_feed(struct thread *t, struct conn *c, char *p, size_t n)
{
    bool ieof;

    if (c->fresh)
        request_begin(c, p, n);
    tail_feed(c, p, n);
    ieof = c->tail_len == 5 && memcmp(c->tail, "f\r\n\r\n", 5) == 0;
    if (!ieof && (c->tail_len < c->end_len ||
                  memcmp(c->tail + c->tail_len - c->end_len, c->end, c->end_len) != 0))
        return IO_WAIT;
    c->tail_len = 0;
    return conn_reply(t, c, ieof);
}

static ssize_t read_plain(struct thread *t, struct conn *c)
{
    ssize_t n = recv(c->fd, t->buf, READ_MAX, 0);

    if (n < 0)
        return errno == EAGAIN ? 0 : -1;
    return n > 0 ? n : -1;
}

static ssize_t read_tls(struct thread *t, struct conn *c)
{
    int n = SSL_read(c->ssl, t->buf, READ_MAX);
    int err;

    if (n > 0)
        return n;
    err = SSL_get_error(c->ssl, n);
    if (err == SSL_ERROR_WANT_READ || err == SSL_ERROR_WANT_WRITE) {
        conn_arm(t, c, err == SSL_ERROR_WANT_WRITE);
        return 0;
    }
    if (err != SSL_ERROR_ZERO_RETURN) { /* broken: no close_notify either */
        SSL_free(c->ssl);
        c->ssl = NULL;
        ERR_clear_error();
    }
    return -1;
}

static bool conn_finished(const struct conn *c)
{
    return c->fresh && c->close_after && !c->out;
}

/* False: the connection is over. Level-triggered events allow to stop before EAGAIN. */
static bool conn_read(struct thread *t, struct conn *c)
{
    for (;;) {
        ssize_t n = c->ssl ? read_tls(t, c) : read_plain(t, c);
        enum io r;

        if (n <= 0)
            return n == 0;
        r = conn_feed(t, c, t->buf, (size_t)n);
        if (r == IO_DEAD || (r == IO_DONE && conn_finished(c)))
            return false;
        if (c->out)
            return true;
        if (!c->ssl && n < READ_MAX)
            return true;
        if (c->ssl && r == IO_DONE && !SSL_has_pending(c->ssl))
            return true;
    }
}

static bool conn_ready(struct thread *t, struct conn *c)
{
    if (c->out) {
        enum io r = conn_flush(t, c);

        if (r == IO_DEAD || (r == IO_DONE && conn_finished(c)))
            return false;
        /* OpenSSL may hold bytes that epoll cannot see */
        if (r == IO_WAIT || !c->ssl)
            return true;
    }
    return conn_read(t, c);
}

static void conn_free(struct conn *c)
{
    if (c->ssl) {
        (void)SSL_shutdown(c->ssl);
        SSL_free(c->ssl);
        ERR_clear_error();
    }
    (void)close(c->fd);
    free(c);
}

/* --- accepting --- */

static SSL *tls_new(int fd)
{
    SSL *ssl = SSL_new(floor_conf.tls);

    if (!ssl)
        die("TLS");
    if (floor_conf.batch) {
        BIO *sock = BIO_new_socket(fd, BIO_NOCLOSE);
        BIO *buffer = BIO_new(BIO_f_buffer());

        if (!sock || !buffer || !BIO_set_write_buffer_size(buffer, TLS_BATCH) || !BIO_up_ref(sock))
            die("TLS buffer");
        SSL_set_bio(ssl, sock, BIO_push(buffer, sock));
    } else if (SSL_set_fd(ssl, fd) != 1) {
        die("TLS socket");
    }
    SSL_set_accept_state(ssl);
    return ssl;
}

static void conn_watch(struct thread *t, struct conn *c)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};

    if (epoll_ctl(t->epoll, EPOLL_CTL_ADD, c->fd, &ev) != 0)
        die("epoll_ctl");
}

static void listener_ready(struct thread *t, const struct conn *l)
{
    for (int i = 0; i < ACCEPTS_MAX; i++) {
        int fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        int one = 1;
        struct conn *c;

        if (fd < 0)
            return;
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        c = must_alloc(sizeof *c);
        c->fd = fd;
        c->fresh = true;
        c->ssl = l->tls ? tls_new(fd) : NULL;
        conn_watch(t, c);
    }
}

/* Port 0 becomes the port that the kernel chose, for the threads that follow. */
static int listener_open(long *port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)*port)};
    socklen_t len = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int one = 1;

    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one) != 0 ||
        bind(fd, (struct sockaddr *)&a, len) != 0 || listen(fd, 4096) != 0 ||
        getsockname(fd, (struct sockaddr *)&a, &len) != 0)
        die("listen");
    *port = ntohs(a.sin_port);
    return fd;
}

static void thread_listen(struct thread *t, long *port, bool tls)
{
    struct conn *l;

    if (*port == NO_PORT)
        return;
    l = must_alloc(sizeof *l);
    l->fd = listener_open(port);
    l->listener = true;
    l->tls = tls;
    conn_watch(t, l);
}

static void thread_init(struct thread *t)
{
    t->buf = must_alloc(READ_MAX + 1);
    t->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (t->epoll < 0)
        die("epoll_create1");
    thread_listen(t, &floor_conf.port, false);
    thread_listen(t, &floor_conf.tls_port, true);
}

static void *thread_run(void *arg)
{
    struct thread *t = arg;
    struct epoll_event evs[EVENTS_MAX];

    for (;;) {
        int n = epoll_wait(t->epoll, evs, EVENTS_MAX, -1);

        for (int i = 0; i < n; i++) {
            struct conn *c = evs[i].data.ptr;

            if (c->listener)
                listener_ready(t, c);
            else if (!conn_ready(t, c))
                conn_free(c);
        }
    }
    return NULL;
}

/* --- start --- */

static void unit_init(void)
{
    size_t n = (size_t)snprintf(floor_conf.unit, sizeof floor_conf.unit, "%x\r\n", CHUNK_LEN);

    memset(floor_conf.unit + n, 'e', CHUNK_LEN);
    memcpy(floor_conf.unit + n + CHUNK_LEN, "\r\n", 2);
    floor_conf.unit_len = n + CHUNK_LEN + 2;
}

static void tls_init(void)
{
    const char *key = floor_conf.key ? floor_conf.key : floor_conf.cert;
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

    if (!ctx || !floor_conf.cert || SSL_CTX_use_certificate_chain_file(ctx, floor_conf.cert) != 1 ||
        SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1) {
        (void)fprintf(stderr, "icapfloor: -P needs a certificate (-c) and its key (-k)\n");
        exit(2);
    }
    (void)SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE |
                                    SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    (void)SSL_CTX_set_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE);
    (void)SSL_CTX_set_ciphersuites(ctx, "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384");
    (void)SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"floor", 5);
    if (floor_conf.batch) {
        SSL_CTX_set_read_ahead(ctx, 1);
        SSL_CTX_set_default_read_buffer_len(ctx, TLS_READ_BUFFER);
    }
    floor_conf.tls = ctx;
}

static long number(const char *s, long min, long max)
{
    char *end;
    long v = strtol(s, &end, 10);

    if (end == s || *end != '\0' || v < min || v > max) {
        (void)fprintf(stderr, "icapfloor: expected %ld..%ld, got '%s'\n", min, max, s);
        exit(2);
    }
    return v;
}

static enum answer_kind unchanged_parse(const char *s)
{
    if (strcmp(s, "204") == 0)
        return ANSWER_NO_CHANGE;
    if (strcmp(s, "206") == 0)
        return ANSWER_PARTIAL;
    (void)fprintf(stderr, "icapfloor: expected 204 or 206, got '%s'\n", s);
    exit(2);
}

static void options_parse(int argc, char **argv)
{
    int ch;

    while ((ch = getopt(argc, argv, "t:p:P:c:k:an:B")) != -1)
        switch (ch) {
        case 't': floor_conf.threads = number(optarg, 1, THREADS_MAX); break;
        case 'p': floor_conf.port = number(optarg, 0, 65535); break;
        case 'P': floor_conf.tls_port = number(optarg, 0, 65535); break;
        case 'c': floor_conf.cert = optarg; break;
        case 'k': floor_conf.key = optarg; break;
        case 'a': floor_conf.alternate = true; break;
        case 'n': floor_conf.unchanged = unchanged_parse(optarg); break;
        case 'B': floor_conf.batch = true; break;
        default:
            (void)fprintf(stderr, "usage: icapfloor [-t THREADS] [-p PORT] "
                                  "[-P TLSPORT -c CERT -k KEY] [-a] [-n 204|206] [-B]\n"
                                  "  -a  answer every other preview with 100 Continue, not 204\n"
                                  "  -n  answer every request that has a body with this status\n"
                                  "  -B  TLS: read ahead, and up to eight records per write\n");
            exit(2);
        }
}

static void files_raise(void)
{
    struct rlimit rl;

    if (getrlimit(RLIMIT_NOFILE, &rl) == 0) {
        rl.rlim_cur = rl.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &rl);
    }
}

static void ports_print(void)
{
    if (floor_conf.port != NO_PORT)
        (void)printf("plain 127.0.0.1:%ld\n", floor_conf.port);
    if (floor_conf.tls_port != NO_PORT)
        (void)printf("tls 127.0.0.1:%ld\n", floor_conf.tls_port);
    (void)printf("ready\n");
    (void)fflush(stdout);
}

int main(int argc, char **argv)
{
    static struct thread threads[THREADS_MAX];

    options_parse(argc, argv);
    if (signal(SIGPIPE, SIG_IGN) == SIG_ERR)
        die("signal");
    files_raise();
    unit_init();
    if (floor_conf.tls_port != NO_PORT)
        tls_init();
    for (long i = 0; i < floor_conf.threads; i++)
        thread_init(&threads[i]);
    ports_print();
    for (long i = 1; i < floor_conf.threads; i++)
        if (pthread_create(&threads[i].id, NULL, thread_run, &threads[i]) != 0)
            die("pthread_create");
    (void)thread_run(&threads[0]);
    return 0;
}
