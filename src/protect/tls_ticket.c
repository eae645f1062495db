/* SPDX-License-Identifier: Apache-2.0 */
#include "protect/tls_ticket.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>

#include "base/reader.h"
#include "protect/report_int.h"
#include "protect/tls_context_int.h"

#define NAME_LEN   16u /* RFC 5077 4: key_name */
#define AES_LEN    32u
#define MAC_LEN    32u
#define SECRET_MAX 4096u
#define HOUR_S     3600u

/* ---- keys, one set for each hour ---- */

struct hour_keys {
    bool made;
    uint64_t hour;
    unsigned char name[NAME_LEN], aes[AES_LEN], mac[MAC_LEN];
};

struct ticket_keys {
    pthread_mutex_t lock; /* for |hours|; held while a key is derived, twice an hour */
    EVP_CIPHER *cipher;
    struct hour_keys hours[2]; /* of even and odd hours */
    size_t n_secret;
    unsigned char secret[SECRET_MAX];
};

/* RFC 5869. The digest of the trust is in it: a ticket that another configuration made does not
 * even decrypt. */
static bool derive(const struct tls_context *c, uint64_t hour, struct hour_keys *ret)
{
    unsigned char out[NAME_LEN + AES_LEN + MAC_LEN], salt[8];
    char hash[] = "SHA256", label[] = "sallyport session ticket";
    struct writer w = writer_of((char *)salt, sizeof salt);
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
    EVP_KDF_CTX *k = EVP_KDF_CTX_new(kdf);
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, hash, 0),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, c->keys->secret, c->keys->n_secret),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, salt, sizeof salt),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, label, sizeof label - 1),
        /* several INFO are joined */
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, (void *)(uintptr_t)c->digest,
                                          sizeof c->digest),
        OSSL_PARAM_construct_end(),
    };

    write_u64(&w, hour);
    bool ok = k && EVP_KDF_derive(k, out, sizeof out, params) == 1;

    if (ok) {
        ret->made = true;
        ret->hour = hour;
        memcpy(ret->name, out, NAME_LEN);
        memcpy(ret->aes, out + NAME_LEN, AES_LEN);
        memcpy(ret->mac, out + NAME_LEN + AES_LEN, MAC_LEN);
    }
    OPENSSL_cleanse(out, sizeof out);
    EVP_KDF_CTX_free(k);
    EVP_KDF_free(kdf);
    return ok;
}

/* A copy of the keys of |hour|, which is this one or the one before. */
static bool keys_of(struct tls_context *c, uint64_t hour, struct hour_keys *ret)
{
    struct ticket_keys *k = c->keys;
    struct hour_keys *slot = &k->hours[hour % 2];

    (void)pthread_mutex_lock(&k->lock);
    bool ok = (slot->made && slot->hour == hour) || derive(c, hour, slot);

    if (ok)
        *ret = *slot;
    (void)pthread_mutex_unlock(&k->lock);
    return ok;
}

static bool set_mac(EVP_MAC_CTX *mac, unsigned char *key)
{
    char hash[] = "SHA256";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key, MAC_LEN),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, hash, 0),
        OSSL_PARAM_construct_end(),
    };

    return EVP_MAC_CTX_set_params(mac, params) == 1;
}

static int seal_with(struct tls_context *c, unsigned char *name, unsigned char *iv,
                     EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac)
{
    struct hour_keys keys;
    int iv_len = EVP_CIPHER_get_iv_length(c->keys->cipher);
    bool ok = keys_of(c, (uint64_t)tls_wall_s(c) / HOUR_S, &keys) && RAND_bytes(iv, iv_len) == 1 &&
              EVP_EncryptInit_ex2(cipher, c->keys->cipher, keys.aes, iv, NULL) == 1 &&
              set_mac(mac, keys.mac);

    if (ok)
        memcpy(name, keys.name, NAME_LEN);
    OPENSSL_cleanse(&keys, sizeof keys);
    return ok ? 1 : -1;
}

/* 0: not our ticket, or too old a one. */
static int open_with(struct tls_context *c, const unsigned char *name, const unsigned char *iv,
                     EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac)
{
    uint64_t hour = (uint64_t)tls_wall_s(c) / HOUR_S;
    struct hour_keys keys;
    int ret = 0;

    for (uint64_t back = 0; back <= 1 && back <= hour && ret == 0; back++) {
        if (!keys_of(c, hour - back, &keys))
            ret = -1;
        else if (CRYPTO_memcmp(name, keys.name, NAME_LEN) == 0)
            ret = EVP_DecryptInit_ex2(cipher, c->keys->cipher, keys.aes, iv, NULL) == 1 &&
                          set_mac(mac, keys.mac)
                      ? 1
                      : -1;
    }
    OPENSSL_cleanse(&keys, sizeof keys);
    return ret;
}

static int on_keys(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                   EVP_MAC_CTX *mac, int enc)
{
    struct tls_context *c = tls_context_of(ssl);

    if (!c || !c->keys)
        return enc ? -1 : 0;
    return enc ? seal_with(c, name, iv, cipher, mac) : open_with(c, name, iv, cipher, mac);
}

/* ---- what is sealed beside the session ---- */

#define NOTE_MAGIC 0x73707432u /* "spt2" */
#define NOTE_HEAD  36u
#define NOTE_MAX   (NOTE_HEAD + TLS_TICKET_DATA_MAX)
#define NO_END     UINT64_MAX

struct note {
    uint64_t began_s;    /* the full handshake */
    uint64_t until_s;    /* until when what the peer showed was good */
    uint64_t deadline_s; /* of |data|, or NO_END */
    unsigned tolerated;
    sallyport_level level; /* of the full handshake */
    struct span data;
};

struct pending_ticket {
    uint64_t deadline_s;
    size_t n;
    char data[TLS_TICKET_DATA_MAX];
};

void tls_pending_ticket_free(void *parent, void *pending, CRYPTO_EX_DATA *ad, int place, long n,
                             void *arg)
{
    (void)parent;
    (void)ad;
    (void)place;
    (void)n;
    (void)arg;
    if (pending)
        OPENSSL_cleanse(pending, sizeof(struct pending_ticket));
    free(pending);
}

static bool note_read(SSL_SESSION *session, struct note *ret)
{
    void *p = NULL;
    size_t n = 0;

    if (!session || SSL_SESSION_get0_ticket_appdata(session, &p, &n) != 1 || n < NOTE_HEAD)
        return false;
    struct reader r = reader_of(p, n);

    if (read_u32(&r) != NOTE_MAGIC)
        return false;
    ret->began_s = read_u64(&r);
    ret->until_s = read_u64(&r);
    ret->deadline_s = read_u64(&r);
    ret->tolerated = read_u32(&r);
    ret->level = (sallyport_level)read_u32(&r);
    ret->data = span_sub((struct span){p, n}, NOTE_HEAD, n);
    return true;
}

static bool note_write(SSL_SESSION *session, const struct note *note)
{
    char bytes[NOTE_MAX];
    struct writer w = writer_of(bytes, sizeof bytes);

    write_u32(&w, NOTE_MAGIC);
    write_u64(&w, note->began_s);
    write_u64(&w, note->until_s);
    write_u64(&w, note->deadline_s);
    write_u32(&w, note->tolerated);
    write_u32(&w, (uint32_t)note->level);
    write_span(&w, note->data);
    bool ok = SSL_SESSION_set1_ticket_appdata(session, bytes, w.n) == 1;

    OPENSSL_cleanse(bytes, sizeof bytes);
    return ok;
}

/* The first end of anything that the verification rested on. */
static uint64_t good_until(const struct tls_context *c, const SSL *ssl)
{
    const STACK_OF(X509) *chain = SSL_get0_verified_chain(ssl);
    uint64_t until = chain && c->crl_until < INT64_MAX ? (uint64_t)c->crl_until : NO_END;

    if (c->flags & TLS_FLAG_NOT_TIME_VALID)
        return until;
    for (int i = 0; i < sk_X509_num(chain); i++) {
        int64_t end = tls_seconds_of(X509_get0_notAfter(sk_X509_value(chain, i)));

        if (end >= 0 && (uint64_t)end < until)
            until = (uint64_t)end;
    }
    return until;
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* The client is told how long its ticket is good for (RFC 8446 4.6.1, ticket_lifetime). */
static void limit_lifetime(SSL_SESSION *session, const struct note *note, uint64_t now)
{
    uint64_t end =
        smaller(note->began_s + TLS_SESSION_MAX_S, smaller(note->until_s, note->deadline_s));

    (void)SSL_SESSION_set_timeout(session, end > now ? (long)(end - now) : 1);
}

static sallyport_level level_of(SSL *ssl)
{
    sallyport_report *r = report_alloc();
    sallyport_level level =
        r && report_read_how(r, ssl) == 0 ? r->how.level : SALLYPORT_NONE; /* without memory */

    sallyport_report_free(r);
    return level;
}

static int on_ticket_made(SSL *ssl, void *arg)
{
    struct tls_context *c = arg;
    SSL_SESSION *session = SSL_get_session(ssl);
    struct pending_ticket *p = SSL_get_ex_data(ssl, tls_places()->pending);
    uint64_t now = (uint64_t)tls_wall_s(c);
    struct note note;

    /* Of this very session, of the one that it resumes, or the first one. */
    if (!note_read(session, &note))
        note = (struct note){.began_s = now,
                             .until_s = good_until(c, ssl),
                             .deadline_s = NO_END,
                             .tolerated = tls_tolerated(ssl),
                             .level = level_of(ssl)};
    if (p) {
        note.deadline_s = p->deadline_s;
        note.data = (struct span){p->data, p->n};
    }
    limit_lifetime(session, &note, now);
    return note_write(session, &note);
}

static bool is_good(const struct note *note, uint64_t now)
{
    return note->began_s <= now && now - note->began_s < TLS_SESSION_MAX_S && now < note->until_s &&
           now < note->deadline_s;
}

static SSL_TICKET_RETURN on_ticket_opened(SSL *ssl, SSL_SESSION *session, const unsigned char *name,
                                          size_t n_name, SSL_TICKET_STATUS status, void *arg)
{
    const struct tls_context *c = arg;
    struct note note;

    (void)name;
    (void)n_name;
    if (status != SSL_TICKET_SUCCESS && status != SSL_TICKET_SUCCESS_RENEW)
        return SSL_TICKET_RETURN_IGNORE_RENEW;
    if (!note_read(session, &note) || !is_good(&note, (uint64_t)tls_wall_s(c)))
        return SSL_TICKET_RETURN_IGNORE_RENEW;
    /* RFC 8446 C.4: a ticket is for one use, so that nobody on the way recognizes its bearer. */
    return SSL_version(ssl) == TLS1_3_VERSION ? SSL_TICKET_RETURN_USE_RENEW : SSL_TICKET_RETURN_USE;
}

unsigned tls_ticket_tolerated(SSL *ssl)
{
    struct note note;

    return note_read(SSL_get_session(ssl), &note) ? note.tolerated : 0;
}

bool tls_ticket_level(SSL *ssl, sallyport_level *ret)
{
    struct note note;

    if (!tls_context_of(ssl) || !SSL_is_server(ssl) || !note_read(SSL_get_session(ssl), &note))
        return false;
    *ret = note.level;
    return true;
}

/* ---- tickets on request ---- */

enum err tls_ticket_issue(SSL *ssl, struct span data, uint64_t deadline_wall_s)
{
    const struct tls_context *c = tls_context_of(ssl);
    const struct tls_places *places = tls_places();

    if (data.n > TLS_TICKET_DATA_MAX)
        return ERR_LIMIT;
    if (!c || !c->keys || SSL_version(ssl) != TLS1_3_VERSION)
        return ERR_MISSING;
    struct pending_ticket *p = SSL_get_ex_data(ssl, places->pending);

    if (!p) {
        p = calloc(1, sizeof *p);
        if (!p || SSL_set_ex_data(ssl, places->pending, p) != 1) {
            free(p);
            return ERR_NOMEM;
        }
    }
    p->deadline_s = deadline_wall_s;
    p->n = data.n;
    if (data.n)
        memcpy(p->data, data.p, data.n);
    return SSL_new_session_ticket(ssl) == 1 ? OK : ERR_MISSING;
}

bool tls_ticket_data(SSL *ssl, struct span *ret_data)
{
    struct note note;

    if (!tls_context_of(ssl) || SSL_version(ssl) != TLS1_3_VERSION ||
        SSL_session_reused(ssl) != 1 || !note_read(SSL_get_session(ssl), &note) || note.data.n == 0)
        return false;
    *ret_data = note.data;
    return true;
}

/* ---- load ---- */

static enum err keys_new(const struct tls_settings *s, struct ticket_keys **ret, struct buf *why)
{
    struct span secret = s->ticket_secret;

    if (secret.p && secret.n < TLS_TICKET_SECRET_MIN)
        return tls_refuse(why, "the secret of the tickets has less than 32 bytes: make one with "
                               "'openssl rand -out FILE 32'");
    if (secret.n > SECRET_MAX)
        return tls_refuse(why, "the secret of the tickets has more than 4096 bytes");
    struct ticket_keys *k = calloc(1, sizeof *k);

    if (!k)
        return ERR_NOMEM;
    (void)pthread_mutex_init(&k->lock, NULL);
    *ret = k;
    k->cipher = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
    k->n_secret = secret.p ? secret.n : TLS_TICKET_SECRET_MIN;
    if (secret.p)
        memcpy(k->secret, secret.p, secret.n);
    else if (RAND_bytes(k->secret, (int)k->n_secret) != 1)
        return ERR_BUG;
    return k->cipher ? OK : ERR_BUG;
}

enum err tls_tickets_load(struct tls_context *c, const struct tls_settings *s, struct buf *why)
{
    if (c->role != TLS_SERVER)
        return OK;
    if (s->no_tickets) {
        /* In TLS 1.3 OpenSSL would send tickets into its cache, then, which is off. */
        (void)SSL_CTX_set_options(c->ssl, SSL_OP_NO_TICKET);
        return SSL_CTX_set_num_tickets(c->ssl, 0) == 1 ? OK : ERR_BUG;
    }
    TRY(keys_new(s, &c->keys, why));
    bool ok = SSL_CTX_set_num_tickets(c->ssl, s->tickets_on_request ? 0 : 1) == 1 &&
              SSL_CTX_set_tlsext_ticket_key_evp_cb(c->ssl, on_keys) == 1 &&
              SSL_CTX_set_session_ticket_cb(c->ssl, on_ticket_made, on_ticket_opened, c) == 1;

    return ok ? OK : ERR_BUG;
}

void tls_tickets_free(struct tls_context *c)
{
    if (!c->keys)
        return;
    EVP_CIPHER_free(c->keys->cipher);
    (void)pthread_mutex_destroy(&c->keys->lock);
    OPENSSL_cleanse(c->keys, sizeof *c->keys);
    free(c->keys);
    c->keys = NULL;
}
