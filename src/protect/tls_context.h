/* SPDX-License-Identifier: Apache-2.0 */
/* tls_context.h - certificates, keys, trust and rules of one TLS role, loaded once, immutable and
 * shared by threads. A reload makes a new one; connections keep the one that they began with. */
#ifndef PROTECT_TLS_CONTEXT_H
#define PROTECT_TLS_CONTEXT_H

#include <openssl/types.h>
#include <stdbool.h>

#include "base/buf.h"

enum tls_role { TLS_SERVER, TLS_CLIENT };
enum tls_version { TLS_VERSION_1_2, TLS_VERSION_1_3 };

struct tls_settings {
    enum tls_role role;
    enum tls_version minimum;
    struct span certificate; /* PEM chain, leaf first; required for a server */
    struct span key;         /* PEM; not encrypted */
    struct span trust; /* PEM CAs for the peer's certificate; empty: the system's for a client, none
                          for a server */
    bool require_peer; /* server: ask for and demand a client certificate from |trust| */
    bool insecure_no_verify; /* client: takes any certificate; for probes only, and the name is the
                                warning */
};

struct tls_context;

/* Checks that key and certificate match, chain dates and minimum sizes. On failure *why holds a
 * sentence that names what is wrong (no secrets), and nothing else is written. Counted: starts with
 * one reference. Any thread. */
NODISCARD enum err tls_context_new(const struct tls_settings *s, struct tls_context **ret,
                                   struct buf *why);
struct tls_context *tls_context_ref(struct tls_context *c);
void tls_context_unref(struct tls_context *c); /* NULL is fine */
SSL_CTX *tls_context_ssl(const struct tls_context *c);
enum tls_role tls_context_role(const struct tls_context *c);
/* A new SSL for one connection; |server_name|: SNI and the name to verify for clients (DNS name or
 * IP literal), NULL for servers. NULL when out of memory, or when a client that verifies was given
 * no usable name. The caller frees it. */
SSL *tls_context_open(const struct tls_context *c, const char *server_name);
/* notAfter of the own certificate, seconds since 1970; 0 without one. */
int64_t tls_context_not_after(const struct tls_context *c);
/* The first error of this thread's OpenSSL queue as a sentence; empties the queue. |ssl| may be
 * NULL. */
void tls_error_text(const SSL *ssl, char *dst, size_t cap);

#endif
