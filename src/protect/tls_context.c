/* SPDX-License-Identifier: Apache-2.0 */
#include "protect/tls_context.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "protect/tls_context_int.h"
#include "protect/tls_ticket.h"

/* AEAD with ephemeral exchange only; AES-128 first, which is 30 % cheaper and strong enough. */
#define CIPHERS_1_2                                              \
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:" \
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:" \
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
#define CIPHERS_1_3 "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
#define GROUPS      "X25519:P-256"

/* One read(2) takes four records. The buffer lives only while it holds something
 * (SSL_MODE_RELEASE_BUFFERS). */
#define READ_AHEAD (66u * 1024)

/* ---- what its files share ---- */

static struct tls_places places;
static pthread_once_t places_once = PTHREAD_ONCE_INIT;

static void make_places(void)
{
    places.context = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, NULL);
    places.noted = SSL_get_ex_new_index(0, NULL, NULL, NULL, NULL);
    places.pending = SSL_get_ex_new_index(0, NULL, NULL, NULL, tls_pending_ticket_free);
    places.level = SSL_SESSION_get_ex_new_index(0, NULL, NULL, NULL, NULL);
}

const struct tls_places *tls_places(void)
{
    (void)pthread_once(&places_once, make_places);
    return &places;
}

struct tls_context *tls_context_of(const SSL *ssl)
{
    return SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), tls_places()->context);
}

int64_t tls_wall_s(const struct tls_context *c)
{
    return (int64_t)(clock_wall_ms(&c->clock) / 1000);
}

enum err tls_refuse(struct buf *why, const char *text)
{
    buf_text(why, text);
    ERR_clear_error();
    return ERR_CONFIG;
}

int tls_no_password(char *dst, int cap, int writing, void *arg)
{
    (void)dst;
    (void)cap;
    (void)writing;
    (void)arg;
    return -1;
}

BIO *tls_bio_of(struct span text)
{
    return text.n <= INT32_MAX ? BIO_new_mem_buf(text.p, (int)text.n) : NULL;
}

bool tls_pem_is_at_end(void)
{
    unsigned long e = ERR_peek_last_error();
    bool end = ERR_GET_LIB(e) == ERR_LIB_PEM && ERR_GET_REASON(e) == PEM_R_NO_START_LINE;

    ERR_clear_error();
    return end;
}

int64_t tls_seconds_of(const ASN1_TIME *t)
{
    struct tm tm;

    return ASN1_TIME_to_tm(t, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

/* ---- load ---- */

static enum err load_rules(SSL_CTX *ssl, enum tls_version minimum, bool cleanse)
{
    char groups[] = GROUPS; /* OpenSSL's macro casts const away */

    SSL_CTX_set_security_level(ssl, 2);
    (void)SSL_CTX_set_options(ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                       SSL_OP_CIPHER_SERVER_PREFERENCE |
                                       (cleanse ? SSL_OP_CLEANSE_PLAINTEXT : 0));
    (void)SSL_CTX_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                    SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(ssl, 1);
    SSL_CTX_set_default_read_buffer_len(ssl, READ_AHEAD);
    /* Tickets carry the state; a cache in here would only be a lock that all threads share. */
    (void)SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
    (void)SSL_CTX_set_timeout(ssl, TLS_SESSION_MAX_S);
    bool ok = SSL_CTX_set_min_proto_version(
                  ssl, minimum == TLS_VERSION_1_3 ? TLS1_3_VERSION : TLS1_2_VERSION) == 1 &&
              SSL_CTX_set_cipher_list(ssl, CIPHERS_1_2) == 1 &&
              SSL_CTX_set_ciphersuites(ssl, CIPHERS_1_3) == 1 &&
              SSL_CTX_set1_groups_list(ssl, groups) == 1;

    return ok ? OK : ERR_BUG;
}

static enum err load(struct tls_context *c, const struct tls_settings *s, struct buf *why)
{
    c->ssl = SSL_CTX_new(s->role == TLS_SERVER ? TLS_server_method() : TLS_client_method());
    if (!c->ssl || SSL_CTX_set_ex_data(c->ssl, tls_places()->context, c) != 1)
        return ERR_NOMEM;
    TRY(load_rules(c->ssl, s->minimum, s->cleanse));
    TRY(tls_own_load(c, s, why));
    TRY(tls_trust_load(c, s, why));
    TRY(tls_alpn_load(c, s->alpn));
    return tls_tickets_load(c, s, why);
}

enum err tls_context_new(const struct tls_settings *s, struct tls_context **ret, struct buf *why)
{
    struct tls_context *c = calloc(1, sizeof *c);

    if (!c)
        return ERR_NOMEM;
    ERR_clear_error();
    atomic_init(&c->refs, 1);
    c->role = s->role;
    c->any_date = s->any_date;
    c->clock = s->clock ? *s->clock : clock_system;
    c->own_clock = s->clock != NULL;
    enum err e = load(c, s, why);

    ERR_clear_error();
    if (e) {
        tls_context_unref(c);
        return e;
    }
    *ret = c;
    return OK;
}

struct tls_context *tls_context_ref(struct tls_context *c)
{
    unsigned before = atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);

    assert(before > 0);
    return c;
}

void tls_context_unref(struct tls_context *c)
{
    if (!c || atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1)
        return;
    SSL_CTX_free(c->ssl);
    tls_own_free(c);
    tls_tickets_free(c);
    free(c);
}

SSL_CTX *tls_context_ssl(const struct tls_context *c)
{
    return c->ssl;
}

enum tls_role tls_context_role(const struct tls_context *c)
{
    return c->role;
}

bool tls_context_has_crls(const struct tls_context *c)
{
    return c->has_crls;
}

int64_t tls_context_not_after(const struct tls_context *c)
{
    return c->n_own ? tls_seconds_of(X509_get0_notAfter(c->own[0].leaf)) : 0;
}

/* RFC 6066 3: names only, without the final dot. RFC 9110 4.3.4: IP literals match iPAddress. */
static bool set_name(SSL *ssl, const char *server_name)
{
    struct span name = span_of(server_name);
    char text[256];
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);

    if (name.n > 2 && name.p[0] == '[' && name.p[name.n - 1] == ']')
        name = span_sub(name, 1, name.n - 2);
    else if (name.n > 1 && name.p[name.n - 1] == '.')
        name.n--;
    if (name.n == 0 || name.n >= sizeof text)
        return false;
    (void)span_copy(name, text, sizeof text);
    if (X509_VERIFY_PARAM_set1_ip_asc(param, text) == 1)
        return true;
    ERR_clear_error();
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return SSL_set1_host(ssl, text) == 1 && SSL_set_tlsext_host_name(ssl, text) == 1;
}

SSL *tls_context_open(const struct tls_context *c, const char *server_name)
{
    SSL *ssl = SSL_new(c->ssl);

    if (!ssl)
        return NULL;
    if (c->own_clock)
        X509_VERIFY_PARAM_set_time(SSL_get0_param(ssl), tls_wall_s(c));
    if (c->role == TLS_SERVER) {
        SSL_set_accept_state(ssl);
        return ssl;
    }
    SSL_set_connect_state(ssl);
    /* A chain without a name would prove nothing. */
    if (server_name ? !set_name(ssl, server_name) : c->verify) {
        SSL_free(ssl);
        return NULL;
    }
    return ssl;
}

static const char *reason_text(unsigned long e)
{
    const char *text = ERR_reason_error_string(e);

    return text ? text : "unknown reason";
}

/* A client's errors in words for the people behind it. False: there are none for this one. */
static bool client_error_text(const SSL *ssl, int reason, char *dst, size_t cap)
{
    bool refused = reason == SSL_R_CERTIFICATE_VERIFY_FAILED;
    const char *text = refused ? tls_client_verify_text(SSL_get_verify_result(ssl))
                               : tls_client_reason_text(reason, tls_own_certificate_of(ssl));

    /* No cipher: the server has not said a word of TLS. */
    if (reason == SSL_R_UNEXPECTED_EOF_WHILE_READING && !SSL_get_current_cipher(ssl))
        text = "the server closed the connection in the TLS handshake; is there TLS on this port?";
    if (text)
        (void)snprintf(dst, cap, "%s%s", refused ? "the server's certificate was refused: " : "",
                       text);
    return text != NULL;
}

/* OpenSSL 3.0 has no words for those that TLS 1.3 and ALPN brought (RFC 8446 6.2, RFC 7301 3.2). */
const char *tls_alert_text(int alert)
{
    switch (alert) {
    case SSL_AD_MISSING_EXTENSION: return "missing extension";
    case SSL_AD_CERTIFICATE_REQUIRED: return "certificate required";
    case SSL_AD_NO_APPLICATION_PROTOCOL: return "no application protocol";
    default: return SSL_alert_desc_string_long(alert);
    }
}

void tls_error_text(const SSL *ssl, char *dst, size_t cap)
{
    unsigned long e = ERR_get_error();
    int reason = ERR_GET_REASON(e);
    long verify = ssl ? SSL_get_verify_result(ssl) : X509_V_OK;

    ERR_clear_error();
    if (ssl && !SSL_is_server(ssl) && ERR_GET_LIB(e) == ERR_LIB_SSL &&
        client_error_text(ssl, reason, dst, cap))
        return;
    if (e == 0)
        (void)snprintf(dst, cap, "the TLS connection failed without a reason given");
    else if (ERR_GET_LIB(e) != ERR_LIB_SSL)
        (void)snprintf(dst, cap, "the TLS library failed: %s", reason_text(e));
    else if (reason == SSL_R_CERTIFICATE_VERIFY_FAILED && verify != X509_V_OK)
        (void)snprintf(dst, cap, "the peer's certificate was refused: %s",
                       X509_verify_cert_error_string(verify));
    else if (reason == SSL_R_UNEXPECTED_EOF_WHILE_READING)
        (void)snprintf(dst, cap, "the peer ended the connection without a TLS close");
    else if (reason > SSL_AD_REASON_OFFSET)
        (void)snprintf(dst, cap, "the peer sent the TLS alert '%s'",
                       tls_alert_text(reason - SSL_AD_REASON_OFFSET));
    else
        (void)snprintf(dst, cap, "TLS failed: %s", reason_text(e));
}
