/* SPDX-License-Identifier: Apache-2.0 */
/* stream_tls.c - OpenSSL over a socket, with our own BIO under it. The cost of bulk TLS is the
 * system calls per record, not AES: the BIO collects up to eight records for one write(2), in
 * blocks that go back to the pool as soon as they are sent. */
#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <string.h>

#include "net/stream_int.h"
#include "protect/tls_ticket.h"

#define BATCH_RECORDS 8u
#define OUT_IOV       8u
/* Eight records, and room for answers to a peer that updates its keys without reading (RFC 8446
 * 4.6.3 lets it); beyond that it is not honest. */
#define OUT_MAX (320u * 1024)

/* The BIO. */

static int bio_write(BIO *bio, const char *p, size_t n, size_t *ret_n)
{
    struct stream *s = BIO_get_data(bio);
    ssize_t sent = 0;

    BIO_clear_retry_flags(bio);
    if (s->direct && s->out.len == 0) {
        const struct iovec piece = {(void *)(uintptr_t)p, n};

        sent = stream_send(s, &piece, 1);
        if (sent < 0 && errno != EAGAIN) {
            s->bio_err = stream_fail_errno(s, errno);
            return 0;
        }
        if (sent < 0)
            sent = 0;
    }
    if ((size_t)sent < n) {
        enum err e = chain_append_copy(&s->out, (struct span){p + sent, n - (size_t)sent});

        if (e) {
            s->bio_err = e;
            return 0;
        }
    }
    *ret_n = n;
    return 1;
}

static int bio_read(BIO *bio, char *p, size_t n, size_t *ret_n)
{
    struct stream *s = BIO_get_data(bio);
    ssize_t got;

    BIO_clear_retry_flags(bio);
    got = stream_recv(s, p, n);
    if (got > 0) {
        *ret_n = (size_t)got;
        return 1;
    }
    if (got == 0)
        s->transport_eof = true;
    else if (errno == EAGAIN)
        BIO_set_retry_read(bio);
    else
        s->bio_err = stream_fail_errno(s, errno);
    return 0;
}

static long bio_ctrl(BIO *bio, int cmd, long n, void *arg)
{
    const struct stream *s = BIO_get_data(bio);

    (void)n;
    (void)arg;
    switch (cmd) {
    case BIO_CTRL_FLUSH: return 1; /* we flush when OpenSSL is done */
    case BIO_CTRL_EOF: return s && s->transport_eof;
    default: return 0;
    }
}

static int bio_create(BIO *bio)
{
    BIO_set_init(bio, 1);
    return 1;
}

static BIO_METHOD *method;
static pthread_once_t method_once = PTHREAD_ONCE_INIT;

static void make_method(void)
{
    BIO_METHOD *m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "stream");

    if (m && BIO_meth_set_write_ex(m, bio_write) && BIO_meth_set_read_ex(m, bio_read) &&
        BIO_meth_set_ctrl(m, bio_ctrl) && BIO_meth_set_create(m, bio_create))
        method = m;
}

static BIO *bio_of(struct stream *s)
{
    BIO *bio;

    (void)pthread_once(&method_once, make_method);
    bio = method ? BIO_new(method) : NULL;
    if (bio)
        BIO_set_data(bio, s);
    return bio;
}

/* Errors. */

static void clear_errors(struct stream *s)
{
    s->bio_err = OK;
    /* What others left in this thread's queue would be taken for ours. */
    if (UNLIKELY(ERR_peek_error() != 0))
        ERR_clear_error();
}

/* Reads the error queue, so before it is emptied. Drivers may hold the first report: it stays. */
static void note_late_alert(struct stream *s)
{
    if (s->state != STREAM_TLS || s->late_report)
        return;
    if (sallyport_report_new(s->ssl, &s->late_report) != 0)
        s->late_report = NULL;
}

/* After a call on |ssl| that did not succeed. ERR_AGAIN: wants to read (it never wants to write).
 */
static enum err why_not(struct stream *s)
{
    char text[160];

    if (s->bio_err) {
        ERR_clear_error();
        stream_fail(s, s->bio_err, err_text(s->bio_err));
        return s->bio_err;
    }
    switch (SSL_get_error(s->ssl, 0)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE: return ERR_AGAIN;
    case SSL_ERROR_ZERO_RETURN: return ERR_EOF;
    default: break;
    }
    note_late_alert(s);
    tls_error_text(s->ssl, text, sizeof text);
    stream_fail(s, ERR_TLS, text);
    return ERR_TLS;
}

/* Handshake. */

/* A connection may wait for long before it writes again. */
static void drop_ring(struct stream *s)
{
    chain_done(&s->out);
}

/* Nobody waits for tickets of TLS 1.3, and where the first request is here already they may leave
 * with its answer, if that is there when the driver has had its turn. */
static bool has_ticket_to_hold(const struct stream *s)
{
    return SSL_is_server(s->ssl) && SSL_version(s->ssl) == TLS1_3_VERSION &&
           SSL_has_pending(s->ssl) == 1;
}

static void finish_handshake(struct stream *s, enum err e)
{
    sallyport_report *report = NULL;

    /* Reads the error queue, so before why_not(), which empties it. */
    if (sallyport_report_new(s->ssl, &report) != 0) {
        stream_fail(s, ERR_NOMEM, "no memory for the report");
        e = ERR_NOMEM;
    } else {
        sallyport_report_free(s->report);
        s->report = report;
    }
    if (e == ERR_TLS)
        (void)why_not(s);
    s->state = e ? STREAM_BROKEN : STREAM_TLS;
    s->held = e == OK && has_ticket_to_hold(s);
    if (s->held)
        return;
    /* The last flight and the tickets, or the alert. */
    stream_push(s);
    if (s->out.len == 0)
        drop_ring(s);
}

/* 0: goes on. Otherwise the event that ends it. */
static unsigned handshake_step(struct stream *s)
{
    clear_errors(s);
    int r = SSL_do_handshake(s->ssl);

    if (r == 1) {
        finish_handshake(s, OK);
    } else {
        int want = SSL_get_error(s->ssl, r);

        if (s->bio_err || (want != SSL_ERROR_WANT_READ && want != SSL_ERROR_WANT_WRITE)) {
            finish_handshake(s, ERR_TLS);
        } else {
            enum err e = stream_flush(s);

            if (e == OK || e == ERR_AGAIN)
                return 0;
            finish_handshake(s, e);
        }
    }
    return s->state == STREAM_TLS ? STREAM_OPEN : STREAM_FAILED;
}

void stream_tls_handshake(struct stream *s)
{
    stream_push(s);
    stream_deliver(s, handshake_step(s));
    if (s->held)
        stream_wait_turn(s);
}

enum err stream_start_tls(struct stream *s, struct tls_context *tls, const char *server_name)
{
    BIO *bio;

    if (s->state != STREAM_CLEAR || s->in_err || s->out_err)
        return ERR_PROTO;
    bio = bio_of(s);
    s->ssl = bio ? tls_context_open(tls, server_name) : NULL;
    if (!s->ssl) {
        (void)BIO_free(bio);
        stream_fail(s, ERR_TLS, "no memory for TLS, or no name that a certificate could carry");
        return ERR_TLS;
    }
    SSL_set_bio(s->ssl, bio, bio);
    s->tls = tls_context_ref(tls);
    s->state = STREAM_HANDSHAKE;
    chain_init(&s->out, OUT_MAX);
    /* A client has something to say, and to a server the peer has usually spoken by now. */
    stream_wait_turn(s);
    stream_update(s);
    return OK;
}

/* Reading. */

bool stream_has_pending(const struct stream *s)
{
    if (s->in_err)
        return !s->in_err_told;
    return s->state == STREAM_TLS && !s->starved && SSL_has_pending(s->ssl) == 1;
}

bool stream_tls_holds(const struct stream *s)
{
    return s->ssl && SSL_has_pending(s->ssl) == 1;
}

/* One record at a time is all that OpenSSL hands out: go on while it holds more, so that the block
 * is filled and no read(2) is made for nothing. */
enum err stream_tls_read(struct stream *s, uint8_t *dst, uint32_t max, uint32_t *ret_n)
{
    uint32_t n = 0;
    enum err e = OK;

    do {
        size_t got = 0;

        clear_errors(s);
        if (SSL_read_ex(s->ssl, dst + n, max - n, &got) != 1) {
            e = why_not(s);
            break;
        }
        n += (uint32_t)got;
    } while (n < max && SSL_has_pending(s->ssl) == 1);
    s->starved = e == ERR_AGAIN;
    if (e && e != ERR_AGAIN)
        s->in_err = e;
    /* An answer to a key update, or what found no room until now. */
    if (UNLIKELY(s->out.len > 0) && !s->held) {
        if (stream_tls_flush(s) == ERR_AGAIN)
            stream_update(s);
        stream_shut_if_due(s);
    }
    if (n == 0)
        return e;
    *ret_n = n;
    return OK;
}

/* Writing. */

enum err stream_tls_flush(struct stream *s)
{
    bool was_held = s->held;

    s->held = false;
    if (s->out_err)
        return s->out_err;
    while (s->out.len > 0) {
        struct iovec iov[OUT_IOV];
        size_t bytes, pieces = chain_iovec(&s->out, iov, OUT_IOV, SIZE_MAX, &bytes);
        ssize_t n = stream_send(s, iov, pieces);

        if (n < 0 && errno == EAGAIN)
            return ERR_AGAIN;
        if (n < 0) {
            enum err e = stream_fail_errno(s, errno);

            return stream_fail_out(s, e, "");
        }
        chain_skip(&s->out, (uint64_t)n);
        if ((size_t)n < bytes)
            return ERR_AGAIN;
    }
    if (was_held)
        drop_ring(s);
    return OK;
}

/* The bytes of the next record: where they lie, or gathered, so that head, body and last chunk of a
 * small answer are one record. Empty when a file range is in front. */
static struct span next_record(const struct chain *c)
{
    struct iovec iov[OUT_IOV];
    uint8_t *scratch;
    size_t bytes, n = 0;
    uint32_t pieces = chain_iovec(c, iov, OUT_IOV, STREAM_RECORD_MAX, &bytes);

    if (pieces <= 1)
        return pieces ? (struct span){iov[0].iov_base, iov[0].iov_len} : SPAN_NONE;
    scratch = stream_scratch();
    for (uint32_t i = 0; i < pieces; i++) {
        memcpy(scratch + n, iov[i].iov_base, iov[i].iov_len);
        n += iov[i].iov_len;
    }
    return (struct span){(const char *)scratch, n};
}

static enum err write_batch(struct stream *s, struct chain *c, uint64_t *ret_n)
{
    for (unsigned i = 0; i < BATCH_RECORDS && c->len > 0; i++) {
        struct span record = next_record(c);
        size_t taken = 0;

        if (record.n == 0)
            break;
        clear_errors(s);
        s->direct = i == 0 && record.n == c->len && !SSL_in_init(s->ssl); /* no ticket before it */
        int ok = SSL_write_ex(s->ssl, record.p, record.n, &taken);

        s->direct = false;
        if (ok != 1) {
            enum err e = why_not(s);

            if (e == ERR_AGAIN)
                s->write_wants_read = true;
            else
                s->out_err = e;
            return e;
        }
        chain_skip(c, taken);
        *ret_n += taken;
    }
    return OK;
}

enum err stream_tls_write(struct stream *s, struct chain *c, uint64_t *ret_n)
{
    if (!s->held || c->len == 0)
        TRY(stream_tls_flush(s));
    while (c->len > 0) {
        const struct segment *first = chain_first(c);

        if (first->kind == SEGMENT_FILE) {
            TRY(stream_load_first(s, c));
            continue;
        }
        TRY(write_batch(s, c, ret_n));
        TRY(stream_tls_flush(s));
    }
    return OK;
}

/* Keys and tickets. */

enum err stream_rekey(struct stream *s)
{
    if (s->state != STREAM_TLS || s->out_err || SSL_version(s->ssl) != TLS1_3_VERSION)
        return ERR_MISSING;
    clear_errors(s);
    bool ok = SSL_key_update(s->ssl, SSL_KEY_UPDATE_REQUESTED) == 1;

    /* Out of OpenSSL's hands now, else no ticket could be asked for before the next write. */
    if (ok)
        (void)SSL_do_handshake(s->ssl);
    ERR_clear_error();
    return ok ? OK : ERR_AGAIN;
}

enum err stream_issue_ticket(struct stream *s, struct span data, uint64_t deadline_wall_s)
{
    if (s->state != STREAM_TLS || s->out_err)
        return ERR_MISSING;
    clear_errors(s);
    enum err e = tls_ticket_issue(s->ssl, data, deadline_wall_s);

    ERR_clear_error();
    return e;
}

bool stream_ticket_data(const struct stream *s, struct span *ret_data)
{
    return s->state == STREAM_TLS && tls_ticket_data(s->ssl, ret_data);
}

void stream_tls_close_notify(struct stream *s)
{
    if (s->state != STREAM_TLS || s->out_err)
        return;
    clear_errors(s);
    /* A ticket that nothing was written behind; OpenSSL does not shut down with it in its hands. */
    if (SSL_in_init(s->ssl))
        (void)SSL_do_handshake(s->ssl);
    s->direct = true;
    if (SSL_shutdown(s->ssl) < 0)
        ERR_clear_error(); /* the peer learns from the FIN, then */
    s->direct = false;
}

void stream_tls_free(struct stream *s)
{
    SSL_free(s->ssl);
    tls_context_unref(s->tls);
    s->ssl = NULL;
    s->tls = NULL;
}
