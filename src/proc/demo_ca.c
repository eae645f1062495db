/* SPDX-License-Identifier: Apache-2.0 */
#include "proc/demo_ca.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include "base/attr.h"

#define DAY       86400L
#define CA_DAYS   3650L
#define LEAF_DAYS 397L /* what browsers and others still take */
#define KEEP_DAYS 7L
#define PATH_ROOM 4200

/* A certificate and its key. */
struct pair {
    X509 *cert;
    EVP_PKEY *key;
};

static void pair_done(struct pair *p)
{
    X509_free(p->cert);
    EVP_PKEY_free(p->key);
    *p = (struct pair){0};
}

/* ---- making ---- */

static bool add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    bool ok;

    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);

    ok = e && X509_add_ext(cert, e, -1);
    X509_EXTENSION_free(e);
    return ok;
}

static bool set_serial(X509 *cert)
{
    unsigned char bytes[16];
    BIGNUM *n = NULL;
    bool ok;

    if (RAND_bytes(bytes, sizeof bytes) != 1)
        return false;
    bytes[0] &= 0x7f; /* RFC 5280 4.1.2.2: positive */
    n = BN_bin2bn(bytes, sizeof bytes, NULL);
    ok = n && BN_to_ASN1_INTEGER(n, X509_get_serialNumber(cert));
    BN_free(n);
    return ok;
}

static bool set_name(X509_NAME *name, const char *common)
{
    return X509_NAME_add_entry_by_txt(name, "O", MBSTRING_ASC,
                                      (const unsigned char *)"Sallyport demo", -1, -1, 0) &&
           X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)common, -1,
                                      -1, 0);
}

/* Begun an hour ago, for clocks that are a little slow. */
static bool set_head(X509 *cert, EVP_PKEY *key, const char *common, long days)
{
    return X509_set_version(cert, X509_VERSION_3) && set_serial(cert) &&
           X509_gmtime_adj(X509_getm_notBefore(cert), -3600) &&
           X509_gmtime_adj(X509_getm_notAfter(cert), days * DAY) && X509_set_pubkey(cert, key) &&
           set_name(X509_get_subject_name(cert), common);
}

static bool make_ca(struct pair *ret)
{
    ret->key = EVP_EC_gen("P-256");
    ret->cert = X509_new();
    X509 *c = ret->cert;

    return ret->key && c && set_head(c, ret->key, "Sallyport demo CA", CA_DAYS) &&
           X509_set_issuer_name(c, X509_get_subject_name(c)) &&
           add_extension(c, c, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
           add_extension(c, c, NID_key_usage, "critical,keyCertSign,cRLSign") &&
           add_extension(c, c, NID_subject_key_identifier, "hash") &&
           X509_sign(c, ret->key, EVP_sha256()) > 0;
}

/* A certificate of the CA's, for |use| (RFC 5280 4.2.1.12). */
static bool make_leaf(const struct pair *ca, const char *common, const char *use, const char *names,
                      struct pair *ret)
{
    ret->key = EVP_EC_gen("P-256");
    ret->cert = X509_new();
    X509 *c = ret->cert;

    return ret->key && c && set_head(c, ret->key, common, LEAF_DAYS) &&
           X509_set_issuer_name(c, X509_get_subject_name(ca->cert)) &&
           add_extension(c, ca->cert, NID_basic_constraints, "critical,CA:FALSE") &&
           add_extension(c, ca->cert, NID_key_usage, "critical,digitalSignature") &&
           add_extension(c, ca->cert, NID_ext_key_usage, use) &&
           add_extension(c, ca->cert, NID_subject_alt_name, names) &&
           add_extension(c, ca->cert, NID_subject_key_identifier, "hash") &&
           add_extension(c, ca->cert, NID_authority_key_identifier, "keyid:always") &&
           X509_sign(c, ca->key, EVP_sha256()) > 0;
}

/* ---- files ---- */

struct leaf {
    const char *cert_name, *key_name, *common, *use, *names;
};

static FILE *open_file(const char *dir, const char *name, int flags)
{
    char path[PATH_ROOM];

    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    int fd = open(path, flags | O_CLOEXEC | O_NOFOLLOW, 0600);

    return fd < 0 ? NULL : fdopen(fd, flags & O_CREAT ? "w" : "r");
}

static bool finish(FILE *f, bool ok)
{
    return f && fclose(f) == 0 && ok;
}

static bool save(const char *dir, const char *cert_name, const char *key_name, const struct pair *p)
{
    FILE *f = open_file(dir, key_name, O_WRONLY | O_CREAT | O_TRUNC);
    bool ok = finish(f, f && PEM_write_PrivateKey(f, p->key, NULL, NULL, 0, NULL, NULL) == 1);

    f = open_file(dir, cert_name, O_WRONLY | O_CREAT | O_TRUNC);
    /* The certificate is no secret: clients of every user must be able to read the CA. */
    return finish(f, f && PEM_write_X509(f, p->cert) == 1 && fchmod(fileno(f), 0644) == 0) && ok;
}

static bool is_good(const struct pair *p)
{
    time_t soon = time(NULL) + KEEP_DAYS * DAY;

    return p->cert && p->key && X509_check_private_key(p->cert, p->key) == 1 &&
           X509_cmp_time(X509_get0_notAfter(p->cert), &soon) > 0;
}

static bool load(const char *dir, const char *cert_name, const char *key_name, struct pair *ret)
{
    FILE *cert = open_file(dir, cert_name, O_RDONLY);
    FILE *key = open_file(dir, key_name, O_RDONLY);

    ret->cert = cert ? PEM_read_X509(cert, NULL, NULL, NULL) : NULL;
    ret->key = key ? PEM_read_PrivateKey(key, NULL, NULL, NULL) : NULL;
    (void)finish(cert, true);
    (void)finish(key, true);
    ERR_clear_error();
    if (is_good(ret))
        return true;
    pair_done(ret);
    return false;
}

static bool prepare_leaf(const char *dir, const struct pair *ca, const struct leaf *leaf)
{
    struct pair p = {0};
    bool ok = load(dir, leaf->cert_name, leaf->key_name, &p) && X509_verify(p.cert, ca->key) == 1;

    if (!ok) {
        pair_done(&p);
        ok = make_leaf(ca, leaf->common, leaf->use, leaf->names, &p) &&
             save(dir, leaf->cert_name, leaf->key_name, &p);
    }
    pair_done(&p);
    return ok;
}

static bool prepare(const char *dir, struct pair *ca)
{
    static const struct leaf leaves[] = {
        {"server.pem", "server.key", "localhost",   "serverAuth",
         "DNS:localhost,IP:127.0.0.1,IP:::1"                                            },
        {"client.pem", "client.key", "demo client", "clientAuth", "DNS:client.demo.test"},
    };

    if (!load(dir, "ca.pem", "ca.key", ca) && !(make_ca(ca) && save(dir, "ca.pem", "ca.key", ca)))
        return false;
    for (size_t i = 0; i < ARRAY_LEN(leaves); i++)
        if (!prepare_leaf(dir, ca, &leaves[i]))
            return false;
    return true;
}

enum err demo_ca_prepare(const char *dir, struct buf *why)
{
    struct pair ca = {0};
    bool ok;

    errno = 0;
    ok = prepare(dir, &ca);
    if (!ok)
        buf_fmt(why, "cannot make certificates in %s: %s", dir,
                errno ? strerror(errno) : "OpenSSL refused");
    pair_done(&ca);
    ERR_clear_error();
    return ok ? OK : ERR_IO;
}
