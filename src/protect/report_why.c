/* SPDX-License-Identifier: Apache-2.0 */
/* report_why.c - why a handshake failed, in stable codes. */
#include <errno.h>
#include <stdio.h>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>

#include "base/attr.h"
#include "protect/report_int.h"
#include "protect/tls_context.h"

struct why_row {
    int reason;
    const char *code;
    int err;
    const char *text; /* in place of OpenSSL's, where that says too little; NULL: that one */
};

/* Alerts that the peer sent us: reason numbers are SSL_AD_REASON_OFFSET + alert. */
static const struct why_row alert_rows[] = {
    {SSL_AD_HANDSHAKE_FAILURE,       "no-common-proposal", EPROTO,       NULL},
    {SSL_AD_PROTOCOL_VERSION,        "no-common-proposal", EPROTO,       NULL},
    {SSL_AD_INSUFFICIENT_SECURITY,   "no-common-proposal", EPROTO,       NULL},
    {SSL_AD_NO_APPLICATION_PROTOCOL, "no-common-proposal", EPROTO,       NULL},
    {SSL_AD_BAD_CERTIFICATE,         "peer-rejected-us",   ECONNREFUSED, NULL},
    {SSL_AD_UNSUPPORTED_CERTIFICATE, "peer-rejected-us",   ECONNREFUSED, NULL},
    {SSL_AD_CERTIFICATE_REVOKED,     "peer-rejected-us",   ECONNREFUSED, NULL},
    {SSL_AD_CERTIFICATE_EXPIRED,     "peer-rejected-us",   ECONNREFUSED, NULL},
    {SSL_AD_CERTIFICATE_UNKNOWN,     "peer-rejected-us",   ECONNREFUSED, NULL},
    {SSL_AD_UNKNOWN_CA,              "peer-rejected-us",   ECONNREFUSED, NULL},
    {SSL_AD_DECRYPT_ERROR,           "peer-rejected-us",   ECONNREFUSED, NULL},
    {SSL_AD_CERTIFICATE_REQUIRED,    "peer-rejected-us",   ECONNREFUSED, NULL},
    {SSL_AD_UNRECOGNIZED_NAME,       "peer-rejected-us",   ECONNREFUSED, NULL},
    {SSL_AD_ACCESS_DENIED,           "peer-policy",        ECONNREFUSED, NULL},
};

static const char not_tls[] = "the peer answered with something that is not TLS";
static const char clear_http[] = "the peer sent HTTP in clear text";
static const char other_protocol[] =
    "the peer names only protocols that are not spoken here (ALPN)";
static const char old_versions[] = "the peer speaks only versions of TLS that are not allowed here";

static const struct why_row local_rows[] = {
    {SSL_R_NO_SHARED_CIPHER,                     "no-common-proposal", EPROTO,       NULL          },
    {SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS,       "no-common-proposal", EPROTO,       NULL          },
    {SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM,      "no-common-proposal", EPROTO,       NULL          },
    {SSL_R_NO_SUITABLE_KEY_SHARE,                "no-common-proposal", EPROTO,       NULL          },
    {SSL_R_NO_SUITABLE_GROUPS,                   "no-common-proposal", EPROTO,       NULL          },
    {SSL_R_NO_APPLICATION_PROTOCOL,              "no-common-proposal", EPROTO,       other_protocol},
    {SSL_R_UNSUPPORTED_PROTOCOL,                 "no-common-proposal", EPROTO,       old_versions  },
    {SSL_R_NO_PROTOCOLS_AVAILABLE,               "no-common-proposal", EPROTO,       NULL          },
    {SSL_R_VERSION_TOO_LOW,                      "no-common-proposal", EPROTO,       NULL          },
    {SSL_R_VERSION_TOO_HIGH,                     "no-common-proposal", EPROTO,       NULL          },
    {SSL_R_WRONG_VERSION_NUMBER,                 "no-common-proposal", EPROTO,       not_tls       },
    {SSL_R_WRONG_SSL_VERSION,                    "no-common-proposal", EPROTO,       NULL          },
    {SSL_R_HTTP_REQUEST,                         "no-common-proposal", EPROTO,       clear_http    },
    {SSL_R_PACKET_LENGTH_TOO_LONG,               "no-common-proposal", EPROTO,       not_tls       },
    {SSL_R_BAD_RECORD_TYPE,                      "no-common-proposal", EPROTO,       not_tls       },
    {SSL_R_HTTPS_PROXY_REQUEST,                  "no-common-proposal", EPROTO,       NULL          },
    {SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE,    "we-rejected-peer",   EKEYREJECTED, NULL          },
    {SSL_R_CERTIFICATE_VERIFY_FAILED,            "we-rejected-peer",   EKEYREJECTED, NULL          },
    {SSL_R_DH_KEY_TOO_SMALL,                     "we-rejected-peer",   EKEYREJECTED, NULL          },
    {SSL_R_EE_KEY_TOO_SMALL,                     "we-rejected-peer",   EKEYREJECTED, NULL          },
    {SSL_R_BAD_SIGNATURE,                        "we-rejected-peer",   EKEYREJECTED, NULL          },
    {SSL_R_UNSAFE_LEGACY_RENEGOTIATION_DISABLED, "level-too-low",      EACCES,       NULL          },
};

static const struct why_row *find_row(const struct why_row *rows, size_t n, int reason)
{
    for (size_t i = 0; i < n; i++)
        if (rows[i].reason == reason)
            return &rows[i];
    return NULL;
}

/* The certificate is the cause, whatever alert went out for it. */
static int add_verify_why(sallyport_report *r, long verify)
{
    struct report_cause c = {.code = "we-rejected-peer",
                             .err = EKEYREJECTED,
                             .stage = SALLYPORT_STAGE_IDENTITY,
                             .source = "x509",
                             .raw = verify,
                             .text = X509_verify_cert_error_string(verify)};

    switch (verify) {
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
    case X509_V_ERR_EMAIL_MISMATCH:
        c.code = "wrong-peer";
        c.err = EACCES;
        break;
    case X509_V_ERR_CERT_HAS_EXPIRED: c.err = EKEYEXPIRED; break;
    case X509_V_ERR_CERT_REVOKED: c.err = EKEYREVOKED; break;
    default: break;
    }
    return report_add(r, &c);
}

/* Before TLS 1.3 there is no alert for a certificate that is missing (RFC 5246 7.4.6): a server
 * that asked for one, got none and fails the handshake says the same as one that knows no cipher.
 */
static bool lacked_certificate(const SSL *ssl, int alert)
{
    return alert == SSL_AD_HANDSHAKE_FAILURE && !SSL_is_server(ssl) &&
           SSL_get0_peer_CA_list(ssl) != NULL && SSL_get_certificate(ssl) == NULL;
}

static int add_lack_why(sallyport_report *r, int alert)
{
    return report_add(r, &(struct report_cause){
                             .code = "peer-rejected-us",
                             .stage = SALLYPORT_STAGE_IDENTITY,
                             .source = "tls-alert",
                             .raw = alert,
                             .inferred = true,
                             .text = "the peer asked for a certificate, got none, and sent the TLS "
                                     "alert 'handshake failure'"});
}

static int add_alert_why(sallyport_report *r, int alert, int stage)
{
    const struct why_row *row = find_row(alert_rows, ARRAY_LEN(alert_rows), alert);
    char text[REPORT_TEXT_MAX];

    (void)snprintf(text, sizeof text, "the peer sent the TLS alert '%s'", tls_alert_text(alert));
    return report_add(r, &(struct report_cause){.code = row ? row->code : "unknown",
                                                .err = row ? row->err : EIO,
                                                .stage = stage,
                                                .source = "tls-alert",
                                                .raw = alert,
                                                .text = text});
}

/* No word from the peer: what that means can only be guessed. */
static int add_silence_why(sallyport_report *r, const char *text)
{
    return report_add(r, &(struct report_cause){.code = "no-answer",
                                                .stage = SALLYPORT_STAGE_HANDSHAKE,
                                                .inferred = true,
                                                .text = text});
}

static int add_library_why(sallyport_report *r, unsigned long error, int stage)
{
    int reason = ERR_GET_REASON(error);
    const struct why_row *row = find_row(local_rows, ARRAY_LEN(local_rows), reason);
    const char *text = ERR_reason_error_string(error);

    if (row && row->text)
        text = row->text;
    return report_add(r, &(struct report_cause){.code = row ? row->code : "unknown",
                                                .err = row ? row->err : EIO,
                                                .stage = stage,
                                                .source = "tls",
                                                .raw = reason,
                                                .text = text ? text : "the TLS library failed"});
}

bool report_alert_waits(void)
{
    unsigned long error = ERR_peek_error();

    return error && ERR_GET_LIB(error) == ERR_LIB_SSL &&
           ERR_GET_REASON(error) > SSL_AD_REASON_OFFSET;
}

int report_read_failure(sallyport_report *r, SSL *ssl)
{
    long verify = SSL_get_verify_result(ssl);
    unsigned long error = ERR_peek_error();
    int reason = ERR_GET_REASON(error);

    /* Without verification the result is only an opinion, not the cause. */
    if (verify != X509_V_OK && SSL_get_verify_mode(ssl) != SSL_VERIFY_NONE)
        return add_verify_why(r, verify);
    if (error == 0)
        return add_silence_why(r, "the peer did not go through with the handshake");
    if (ERR_GET_LIB(error) != ERR_LIB_SSL)
        return report_add(r, &(struct report_cause){.code = "unknown",
                                                    .stage = SALLYPORT_STAGE_HANDSHAKE,
                                                    .text = "the TLS library failed"});
    if (reason == SSL_R_UNEXPECTED_EOF_WHILE_READING)
        return add_silence_why(r, "the peer closed the connection during the handshake");
    if (reason > SSL_AD_REASON_OFFSET && lacked_certificate(ssl, reason - SSL_AD_REASON_OFFSET))
        return add_lack_why(r, reason - SSL_AD_REASON_OFFSET);
    if (reason > SSL_AD_REASON_OFFSET)
        return add_alert_why(r, reason - SSL_AD_REASON_OFFSET, SALLYPORT_STAGE_HANDSHAKE);
    return add_library_why(r, error, SALLYPORT_STAGE_HANDSHAKE);
}

static int add_hung_up_why(sallyport_report *r, const char *text)
{
    return report_add(
        r, &(struct report_cause){
               .code = "no-answer", .stage = SALLYPORT_STAGE_OPEN, .inferred = true, .text = text});
}

/* A peer that hangs up later need not have refused anything: only what it says counts. */
int report_read_later_failure(sallyport_report *r)
{
    unsigned long error = ERR_peek_error();
    int reason = ERR_GET_REASON(error), e;
    bool first = r->how.accepted_by_peer == SALLYPORT_UNKNOWN;

    /* The system's errors leave nothing in the queue. */
    if (error == 0 && first)
        return add_hung_up_why(r, "the peer reset the connection before its first byte");
    if (error == 0 || ERR_GET_LIB(error) != ERR_LIB_SSL)
        return 0;
    if (reason == SSL_R_UNEXPECTED_EOF_WHILE_READING)
        return first ? add_hung_up_why(r, "the peer closed the connection before its first byte, "
                                          "without saying why")
                     : 0;
    if (reason <= SSL_AD_REASON_OFFSET)
        return add_library_why(r, error, SALLYPORT_STAGE_OPEN);
    e = add_alert_why(r, reason - SSL_AD_REASON_OFFSET,
                      first ? SALLYPORT_STAGE_IDENTITY : SALLYPORT_STAGE_OPEN);
    if (!e && first)
        r->how.accepted_by_peer = SALLYPORT_NO;
    return e;
}
