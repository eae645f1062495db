/* SPDX-License-Identifier: Apache-2.0 */
#include "protect/tls_pipe.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "protect/tls_pipe_int.h"

static bool loosen(SSL *ssl, int min, int max)
{
    SSL_set_security_level(ssl, 0);
    (void)SSL_set_options(ssl, SSL_OP_LEGACY_SERVER_CONNECT);
    return SSL_set_min_proto_version(ssl, min) == 1 && SSL_set_max_proto_version(ssl, max) == 1 &&
           SSL_set_cipher_list(ssl, "ALL:@SECLEVEL=0") == 1;
}

static bool apply(SSL *ssl, enum tls_pipe_rules rules)
{
    switch (rules) {
    case TLS_PIPE_OURS: return true;
    case TLS_PIPE_LOOSE: return loosen(ssl, TLS1_VERSION, TLS1_3_VERSION);
    case TLS_PIPE_ONLY_1_0: return loosen(ssl, TLS1_VERSION, TLS1_VERSION);
    case TLS_PIPE_ONLY_1_1: return loosen(ssl, TLS1_1_VERSION, TLS1_1_VERSION);
    }
    return false;
}

enum err tls_pipe_new(const struct tls_context *context, const char *name, int fd,
                      enum tls_pipe_rules rules, struct tls_pipe **ret)
{
    struct tls_pipe *p = calloc(1, sizeof *p);

    if (!p)
        return ERR_NOMEM;
    p->context = context;
    (void)span_copy(span_of(name), p->name, sizeof p->name);
    p->ssl = tls_context_open(context, name);
    if (!p->ssl || !apply(p->ssl, rules) || SSL_set_fd(p->ssl, fd) != 1) {
        ERR_clear_error();
        tls_pipe_free(p);
        return ERR_TLS;
    }
    SSL_set_connect_state(p->ssl);
    *ret = p;
    return OK;
}

void tls_pipe_free(struct tls_pipe *p)
{
    if (!p)
        return;
    SSL_free(p->ssl);
    free(p);
}

/* What a return value <= 0 of an SSL call means. */
static enum err failure(struct tls_pipe *p, int rc, bool *ret_writes)
{
    int why = SSL_get_error(p->ssl, rc);

    *ret_writes = why == SSL_ERROR_WANT_WRITE;
    switch (why) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE: return ERR_AGAIN;
    case SSL_ERROR_ZERO_RETURN: return ERR_EOF;
    case SSL_ERROR_SYSCALL:
        (void)span_copy(SPAN("the connection was reset"), p->why, sizeof p->why);
        ERR_clear_error();
        return ERR_RESET;
    default: break;
    }
    if (ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING &&
        SSL_is_init_finished(p->ssl)) {
        ERR_clear_error();
        return ERR_EOF;
    }
    tls_error_text(p->ssl, p->why, sizeof p->why);
    return ERR_TLS;
}

enum err tls_pipe_handshake(struct tls_pipe *p, bool *ret_writes)
{
    int rc;

    ERR_clear_error();
    rc = SSL_do_handshake(p->ssl);
    return rc == 1 ? OK : failure(p, rc, ret_writes);
}

enum err tls_pipe_read(struct tls_pipe *p, char *dst, size_t cap, size_t *ret_n, bool *ret_writes)
{
    int rc;

    ERR_clear_error();
    rc = SSL_read_ex(p->ssl, dst, cap, ret_n);
    return rc == 1 ? OK : failure(p, rc, ret_writes);
}

enum err tls_pipe_write(struct tls_pipe *p, struct span bytes, size_t *ret_n, bool *ret_writes)
{
    int rc;

    ERR_clear_error();
    rc = SSL_write_ex(p->ssl, bytes.p, bytes.n, ret_n);
    return rc == 1 ? OK : failure(p, rc, ret_writes);
}

void tls_pipe_close(struct tls_pipe *p)
{
    ERR_clear_error();
    if (SSL_is_init_finished(p->ssl))
        (void)SSL_shutdown(p->ssl);
    ERR_clear_error();
}

const char *tls_pipe_why(const struct tls_pipe *p)
{
    return p->why;
}

bool tls_pipe_resume(struct tls_pipe *to, const struct tls_pipe *from)
{
    SSL_SESSION *session = SSL_get1_session(from->ssl);
    bool ok =
        session && SSL_SESSION_is_resumable(session) == 1 && SSL_set_session(to->ssl, session) == 1;

    SSL_SESSION_free(session);
    ERR_clear_error();
    return ok;
}
