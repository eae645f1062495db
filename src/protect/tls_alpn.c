/* SPDX-License-Identifier: Apache-2.0 */
/* tls_alpn.c - the protocol that is spoken inside (RFC 7301): one name for each context. */
#include <openssl/ssl.h>
#include <string.h>

#include "protect/tls_context_int.h"

/* |list|: names with their lengths before them; OpenSSL has checked the shape. */
static bool holds(const unsigned char *list, unsigned n, struct span name)
{
    for (unsigned at = 0; at < n; at += 1u + list[at])
        if (span_eq((struct span){(const char *)list + at + 1, list[at]}, name))
            return true;
    return false;
}

static int choose(SSL *ssl, const unsigned char **ret, unsigned char *ret_n,
                  const unsigned char *offered, unsigned n_offered, void *arg)
{
    const struct tls_context *c = arg;
    struct span own = {(const char *)c->alpn + 1, c->alpn[0]};

    (void)ssl;
    if (!holds(offered, n_offered, own))
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *ret = c->alpn + 1;
    *ret_n = c->alpn[0];
    return SSL_TLSEXT_ERR_OK;
}

enum err tls_alpn_load(struct tls_context *c, struct span name)
{
    if (name.n == 0)
        return OK;
    if (name.n > TLS_ALPN_MAX)
        return ERR_BUG;
    c->alpn[0] = (unsigned char)name.n;
    memcpy(c->alpn + 1, name.p, name.n);
    if (c->role == TLS_SERVER) {
        SSL_CTX_set_alpn_select_cb(c->ssl, choose, c);
        return OK;
    }
    /* This one returns 0 when it went well. */
    return SSL_CTX_set_alpn_protos(c->ssl, c->alpn, c->alpn[0] + 1u) == 0 ? OK : ERR_NOMEM;
}

bool tls_why_is_protocol(const sallyport_why *why)
{
    return strcmp(why->source, "tls") == 0 && why->raw == SSL_R_NO_APPLICATION_PROTOCOL;
}
