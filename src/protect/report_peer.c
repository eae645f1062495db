/* SPDX-License-Identifier: Apache-2.0 */
/* report_peer.c - who is at the other end: whom a certificate names that was verified. */
#include <errno.h>

#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>

#include "base/buf.h"
#include "protect/peer_int.h"
#include "protect/report_int.h"
#include "protect/tls_context.h"

static int read_who(sallyport_report *r, const X509 *cert)
{
    const char *why = NULL;
    int e = peer_of_certificate(cert, &r->peer, &why);

    return e == -ENOTUNIQ ? report_add_why(r, "ambiguous-cert", ENOTUNIQ, why) : e;
}

/* Not a refusal, so no errno: what its owner chose to overlook. */
static int add_tolerated(sallyport_report *r, const SSL *ssl)
{
    unsigned flags = tls_tolerated(ssl);
    char room[REPORT_TEXT_MAX];
    struct buf text;
    int e;

    if (!flags)
        return 0;
    buf_init_on(&text, room, sizeof room, 4096);
    tls_flags_format(flags, &text);
    e = text.err ? -ENOMEM : report_add_why(r, "tolerated", 0, buf_cstr(&text));
    buf_done(&text);
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
        e = report_add(r, &(struct report_cause){.code = "we-rejected-peer",
                                                 .stage = SALLYPORT_STAGE_IDENTITY,
                                                 .source = "x509",
                                                 .raw = verify,
                                                 .text = X509_verify_cert_error_string(verify)});
    else if (r->how.resumed && !(tls_tolerated(ssl) & TLS_FLAG_NOT_TIME_VALID) &&
             X509_cmp_current_time(X509_get0_notAfter(cert)) <= 0)
        /* The session outlived the certificate it was made with. */
        e = report_add_why(r, "we-rejected-peer", EKEYEXPIRED,
                           "the peer's certificate has expired since the session began");
    else
        e = read_who(r, cert);
    X509_free(cert);
    return e ? e : add_tolerated(r, ssl);
}
