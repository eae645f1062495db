/* SPDX-License-Identifier: Apache-2.0 */
/* peer_certificate.c - whom a certificate names. What can be read in two ways (a NUL in a name,
 * bytes that no such name has, more than we keep) names nobody: cut or skipped it could name
 * somebody else. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/objects.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "protect/peer_int.h"

#define URI_MAX      2048u
#define NAME_LEN_MAX 255u
#define NAMED_MAX    (PEER_TEXT_MAX - 8u) /* with its kind in front of it */

/* ---- attributes ---- */

static bool is_there(const sallyport_peer *p, int kind, struct span value)
{
    const void *bytes;
    size_t n;

    for (size_t i = 0; sallyport_peer_attr(p, kind, i, &bytes, &n) == 0; i++)
        if (span_eq((struct span){bytes, n}, value))
            return true;
    return false;
}

/* A set: what is there twice is there once. */
static void add_name(sallyport_peer *p, int kind, struct span value)
{
    if (!is_there(p, kind, value))
        peer_add(p, kind, value);
}

/* ---- alternative names ---- */

static struct span lower(struct span s, char *dst)
{
    for (size_t i = 0; i < s.n; i++)
        dst[i] = char_lower(s.p[i]);
    return (struct span){dst, s.n};
}

static bool add_dns(sallyport_peer *p, struct span s)
{
    char text[NAME_LEN_MAX + 1];

    if (span_ends(s, SPAN(".")))
        s.n--;
    if (!peer_is_visible(s) || s.n > NAME_LEN_MAX)
        return false;
    add_name(p, SALLYPORT_PEER_DNS, lower(s, text));
    return true;
}

static bool add_email(sallyport_peer *p, struct span s)
{
    char text[NAME_LEN_MAX + 1];
    size_t at = s.n;

    if (!peer_is_visible(s) || s.n > NAME_LEN_MAX)
        return false;
    while (at > 0 && s.p[at - 1] != '@')
        at--;
    if (at < 2 || at == s.n)
        return false;
    memcpy(text, s.p, at);
    (void)lower(span_sub(s, at, s.n - at), text + at);
    add_name(p, SALLYPORT_PEER_EMAIL, (struct span){text, s.n});
    return true;
}

static bool add_uri(sallyport_peer *p, struct span s)
{
    if (!peer_is_visible(s) || s.n > URI_MAX)
        return false;
    add_name(p, SALLYPORT_PEER_URI, s);
    return true;
}

static bool add_ip(sallyport_peer *p, struct span s)
{
    if (s.n != 4 && s.n != 16)
        return false;
    add_name(p, SALLYPORT_PEER_IP, s);
    return true;
}

/* Names of kinds that nobody can ask for say nothing. */
static bool add_general_name(sallyport_peer *p, const GENERAL_NAME *name)
{
    int type;
    const ASN1_STRING *s = GENERAL_NAME_get0_value(name, &type);

    if (type != GEN_DNS && type != GEN_URI && type != GEN_EMAIL && type != GEN_IPADD)
        return true;
    struct span value = {(const char *)ASN1_STRING_get0_data(s), (size_t)ASN1_STRING_length(s)};

    switch (type) {
    case GEN_DNS: return add_dns(p, value);
    case GEN_URI: return add_uri(p, value);
    case GEN_EMAIL: return add_email(p, value);
    default: return add_ip(p, value);
    }
}

static const char *add_alternative_names(sallyport_peer *p, const X509 *cert)
{
    int critical = -1;
    GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, &critical, NULL);
    const char *why = NULL;

    if (!names)
        return critical == -1 ? NULL
                              : "the peer's certificate has alternative names that are broken";
    if (sk_GENERAL_NAME_num(names) > (int)PEER_NAMES_MAX)
        why = "the peer's certificate has more than 64 alternative names";
    for (int i = 0; !why && i < sk_GENERAL_NAME_num(names); i++)
        if (!add_general_name(p, sk_GENERAL_NAME_value(names, i)))
            why = "an alternative name of the peer's certificate is none";
    GENERAL_NAMES_free(names);
    return why;
}

/* ---- the rest of it ---- */

/* Control bytes and everything above ASCII become \XX: one printable line. */
static const char *add_distinguished_name(sallyport_peer *p, int kind, const X509_NAME *name)
{
    BIO *out = BIO_new(BIO_s_mem());
    char *text = NULL;
    long n = 0;

    if (out) {
        (void)X509_NAME_print_ex(out, name, 0, XN_FLAG_RFC2253);
        n = BIO_get_mem_data(out, &text);
    }
    if (n > 0 && n <= (long)PEER_TEXT_MAX)
        peer_add(p, kind, (struct span){text, (size_t)n});
    if (!out)
        p->bytes.err = ERR_NOMEM;
    (void)BIO_free(out);
    return n > (long)PEER_TEXT_MAX ? "a name in the peer's certificate is longer than 512 bytes"
                                   : NULL;
}

static void add_time(sallyport_peer *p, int kind, const ASN1_TIME *t)
{
    struct tm tm;
    char text[sizeof "2026-11-28T00:00:00Z"];

    if (ASN1_TIME_to_tm(t, &tm) == 1 && strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm) > 0)
        peer_add(p, kind, span_of(text));
}

static void add_key(sallyport_peer *p, const X509 *cert)
{
    unsigned char *der = NULL, sum[EVP_MAX_MD_SIZE];
    unsigned n_sum = 0;
    int n = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &der);

    if (n > 0 && EVP_Digest(der, (size_t)n, sum, &n_sum, EVP_sha256(), NULL) == 1)
        peer_add(p, SALLYPORT_PEER_KEY, (struct span){(const char *)sum, n_sum});
    else
        p->bytes.err = ERR_NOMEM;
    OPENSSL_free(der);
}

static void add_purposes(sallyport_peer *p, const X509 *cert)
{
    EXTENDED_KEY_USAGE *uses = X509_get_ext_d2i(cert, NID_ext_key_usage, NULL, NULL);

    for (int i = 0; i < sk_ASN1_OBJECT_num(uses) && i < (int)PEER_NAMES_MAX; i++) {
        char text[80];
        int n = OBJ_obj2txt(text, sizeof text, sk_ASN1_OBJECT_value(uses, i), 1);

        if (n > 0 && (size_t)n < sizeof text)
            peer_add(p, SALLYPORT_PEER_PURPOSE, span_of(text));
    }
    EXTENDED_KEY_USAGE_free(uses);
}

static const char *add_der(sallyport_peer *p, const X509 *cert)
{
    unsigned char *der = NULL;
    int n = i2d_X509(cert, &der);

    if (n > 0 && n <= (int)PEER_DER_MAX)
        peer_add(p, SALLYPORT_PEER_CERTIFICATE, (struct span){(const char *)der, (size_t)n});
    OPENSSL_free(der);
    return n > 0 && n <= (int)PEER_DER_MAX ? NULL : "the peer's certificate is larger than 64 KiB";
}

/* The subject's text, else the first alternative name, else the key: whole, for what is cut may be
 * somebody else's, too. */
static void audit_line(const sallyport_peer *p, struct buf *line)
{
    static const int named[] = {SALLYPORT_PEER_DNS, SALLYPORT_PEER_URI, SALLYPORT_PEER_EMAIL};
    char ip[INET6_ADDRSTRLEN];
    const void *bytes;
    size_t n;

    if (sallyport_peer_attr(p, SALLYPORT_PEER_SUBJECT, 0, &bytes, &n) == 0) {
        buf_add(line, (struct span){bytes, n});
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(named); i++)
        if (sallyport_peer_attr(p, named[i], 0, &bytes, &n) == 0 && n < NAMED_MAX) {
            buf_fmt(line, "%s:", peer_kind_name(named[i]));
            buf_add(line, (struct span){bytes, n});
            return;
        }
    if (sallyport_peer_attr(p, SALLYPORT_PEER_IP, 0, &bytes, &n) == 0 &&
        inet_ntop(n == 4 ? AF_INET : AF_INET6, bytes, ip, sizeof ip)) {
        buf_fmt(line, "ip:%s", ip);
        return;
    }
    buf_text(line, "key:");
    if (sallyport_peer_attr(p, SALLYPORT_PEER_KEY, 0, &bytes, &n) == 0)
        for (size_t i = 0; i < n; i++)
            buf_fmt(line, "%02x", ((const unsigned char *)bytes)[i]);
}

static void add_audit(sallyport_peer *p)
{
    struct buf line;

    buf_init(&line, PEER_TEXT_MAX);
    audit_line(p, &line);
    if (line.err)
        p->bytes.err = line.err;
    else
        peer_add(p, SALLYPORT_PEER_AUDIT, buf_span(&line));
    buf_done(&line);
}

static const char *fill(sallyport_peer *p, const X509 *cert)
{
    const ASN1_INTEGER *serial = X509_get0_serialNumber(cert);
    const char *why = add_alternative_names(p, cert);

    if (!why)
        why = add_distinguished_name(p, SALLYPORT_PEER_SUBJECT, X509_get_subject_name(cert));
    if (!why)
        why = add_distinguished_name(p, SALLYPORT_PEER_ISSUER, X509_get_issuer_name(cert));
    if (!why)
        why = add_der(p, cert);
    if (why)
        return why;
    peer_add(p, SALLYPORT_PEER_METHOD, SPAN("certificate"));
    peer_add(p, SALLYPORT_PEER_SERIAL,
             (struct span){(const char *)ASN1_STRING_get0_data(serial),
                           (size_t)ASN1_STRING_length(serial)});
    add_time(p, SALLYPORT_PEER_NOT_BEFORE, X509_get0_notBefore(cert));
    add_time(p, SALLYPORT_PEER_NOT_AFTER, X509_get0_notAfter(cert));
    add_key(p, cert);
    add_purposes(p, cert);
    add_audit(p);
    return NULL;
}

int peer_of_certificate(const X509 *cert, sallyport_peer **ret_peer, const char **ret_why)
{
    sallyport_peer *p = peer_alloc();
    const char *why;

    if (!p)
        return -ENOMEM;
    why = fill(p, cert);
    if (why || p->bytes.err) {
        int e = p->bytes.err ? -ENOMEM : -ENOTUNIQ;

        sallyport_peer_unref(p);
        *ret_why = why;
        return e;
    }
    *ret_peer = p;
    return 0;
}
