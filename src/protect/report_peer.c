/* SPDX-License-Identifier: Apache-2.0 */
/* report_peer.c - who is at the other end: the subject of a certificate that was verified. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/bio.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include "protect/report_int.h"

static int take_text(sallyport_report *r, BIO *out)
{
    char *p = NULL;
    long n = BIO_get_mem_data(out, &p);

    /* A cut name could be somebody else's. */
    if (n <= 0 || n > (long)REPORT_PEER_MAX)
        return report_add_why(r, "ambiguous-cert", ENOTUNIQ,
                              n > 0 ? "the peer's name is longer than 512 bytes"
                                    : "the peer's certificate names nobody");
    r->peer = malloc((size_t)n + 1);
    if (!r->peer)
        return -ENOMEM;
    memcpy(r->peer, p, (size_t)n);
    r->peer[n] = '\0';
    return 0;
}

/* Certificates without a subject carry their name here (RFC 5280 4.1.2.6). */
static void print_alt_name(BIO *out, const X509 *cert)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);

    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        int type;
        const ASN1_STRING *s = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names, i), &type);
        const char *kind = type == GEN_DNS     ? "dns:"
                           : type == GEN_URI   ? "uri:"
                           : type == GEN_EMAIL ? "email:"
                                               : NULL;

        if (!kind)
            continue;
        (void)BIO_puts(out, kind);
        (void)ASN1_STRING_print_ex(out, s, ASN1_STRFLGS_RFC2253);
        break;
    }
    GENERAL_NAMES_free(names);
}

static int read_name(sallyport_report *r, const X509 *cert)
{
    const X509_NAME *subject = X509_get_subject_name(cert);
    BIO *out = BIO_new(BIO_s_mem());

    if (!out)
        return -ENOMEM;
    if (X509_NAME_entry_count(subject) > 0)
        /* Control bytes and everything above ASCII become \\XX: one printable line. */
        (void)X509_NAME_print_ex(out, subject, 0, XN_FLAG_RFC2253);
    else
        print_alt_name(out, cert);
    int e = take_text(r, out);

    (void)BIO_free(out);
    return e;
}

int report_read_peer(sallyport_report *r, SSL *ssl)
{
    X509 *cert = SSL_get1_peer_certificate(ssl);
    long verify = SSL_get_verify_result(ssl);
    int e;

    if (!cert)
        return 0;
    if (verify != X509_V_OK) /* and yet open: somebody chose not to verify */
        e = report_add_why(r, "we-rejected-peer", EKEYREJECTED,
                           X509_verify_cert_error_string(verify));
    else if (r->resumed && X509_cmp_current_time(X509_get0_notAfter(cert)) <= 0)
        /* The session outlived the certificate it was made with. */
        e = report_add_why(r, "we-rejected-peer", EKEYEXPIRED,
                           "the peer's certificate has expired since the session began");
    else
        e = read_name(r, cert);
    X509_free(cert);
    return e;
}
