/* SPDX-License-Identifier: Apache-2.0 */
/* report_why.c - why a handshake failed, in stable codes. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>

#include "base/attr.h"
#include "protect/report_int.h"

struct why_row {
    int reason;
    const char *code;
    int err;
};

/* Alerts that the peer sent us: reason numbers are SSL_AD_REASON_OFFSET + alert. */
static const struct why_row alert_rows[] = {
    {SSL_AD_HANDSHAKE_FAILURE,       "no-common-proposal", EPROTO      },
    {SSL_AD_PROTOCOL_VERSION,        "no-common-proposal", EPROTO      },
    {SSL_AD_INSUFFICIENT_SECURITY,   "no-common-proposal", EPROTO      },
    {SSL_AD_NO_APPLICATION_PROTOCOL, "no-common-proposal", EPROTO      },
    {SSL_AD_BAD_CERTIFICATE,         "peer-rejected-us",   ECONNREFUSED},
    {SSL_AD_UNSUPPORTED_CERTIFICATE, "peer-rejected-us",   ECONNREFUSED},
    {SSL_AD_CERTIFICATE_REVOKED,     "peer-rejected-us",   ECONNREFUSED},
    {SSL_AD_CERTIFICATE_EXPIRED,     "peer-rejected-us",   ECONNREFUSED},
    {SSL_AD_CERTIFICATE_UNKNOWN,     "peer-rejected-us",   ECONNREFUSED},
    {SSL_AD_UNKNOWN_CA,              "peer-rejected-us",   ECONNREFUSED},
    {SSL_AD_DECRYPT_ERROR,           "peer-rejected-us",   ECONNREFUSED},
    {SSL_AD_CERTIFICATE_REQUIRED,    "peer-rejected-us",   ECONNREFUSED},
    {SSL_AD_UNRECOGNIZED_NAME,       "peer-rejected-us",   ECONNREFUSED},
    {SSL_AD_ACCESS_DENIED,           "peer-policy",        ECONNREFUSED},
};

static const struct why_row local_rows[] = {
    {SSL_R_NO_SHARED_CIPHER,                     "no-common-proposal", EPROTO      },
    {SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS,       "no-common-proposal", EPROTO      },
    {SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM,      "no-common-proposal", EPROTO      },
    {SSL_R_NO_SUITABLE_KEY_SHARE,                "no-common-proposal", EPROTO      },
    {SSL_R_NO_SUITABLE_GROUPS,                   "no-common-proposal", EPROTO      },
    {SSL_R_UNSUPPORTED_PROTOCOL,                 "no-common-proposal", EPROTO      },
    {SSL_R_NO_PROTOCOLS_AVAILABLE,               "no-common-proposal", EPROTO      },
    {SSL_R_VERSION_TOO_LOW,                      "no-common-proposal", EPROTO      },
    {SSL_R_VERSION_TOO_HIGH,                     "no-common-proposal", EPROTO      },
    {SSL_R_WRONG_VERSION_NUMBER,                 "no-common-proposal", EPROTO      },
    {SSL_R_WRONG_SSL_VERSION,                    "no-common-proposal", EPROTO      },
    {SSL_R_HTTP_REQUEST,                         "no-common-proposal", EPROTO      },
    {SSL_R_HTTPS_PROXY_REQUEST,                  "no-common-proposal", EPROTO      },
    {SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE,    "we-rejected-peer",   EKEYREJECTED},
    {SSL_R_CERTIFICATE_VERIFY_FAILED,            "we-rejected-peer",   EKEYREJECTED},
    {SSL_R_DH_KEY_TOO_SMALL,                     "we-rejected-peer",   EKEYREJECTED},
    {SSL_R_EE_KEY_TOO_SMALL,                     "we-rejected-peer",   EKEYREJECTED},
    {SSL_R_BAD_SIGNATURE,                        "we-rejected-peer",   EKEYREJECTED},
    {SSL_R_UNSAFE_LEGACY_RENEGOTIATION_DISABLED, "level-too-low",      EACCES      },
};

int report_add_why(sallyport_report *r, const char *code, int err, const char *text)
{
    struct report_why *w;

    if (!r->whys)
        r->whys = calloc(REPORT_WHYS_MAX, sizeof *r->whys);
    if (!r->whys)
        return -ENOMEM;
    if (r->n_whys == REPORT_WHYS_MAX)
        return 0;
    w = &r->whys[r->n_whys++];
    w->code = code;
    w->err = err;
    (void)snprintf(w->text, sizeof w->text, "%s", text);
    return 0;
}

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
    const char *text = X509_verify_cert_error_string(verify);

    switch (verify) {
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
    case X509_V_ERR_EMAIL_MISMATCH: return report_add_why(r, "wrong-peer", EACCES, text);
    case X509_V_ERR_CERT_HAS_EXPIRED:
        return report_add_why(r, "we-rejected-peer", EKEYEXPIRED, text);
    case X509_V_ERR_CERT_REVOKED: return report_add_why(r, "we-rejected-peer", EKEYREVOKED, text);
    default: return report_add_why(r, "we-rejected-peer", EKEYREJECTED, text);
    }
}

static int add_alert_why(sallyport_report *r, int alert)
{
    const struct why_row *row = find_row(alert_rows, ARRAY_LEN(alert_rows), alert);
    char text[REPORT_TEXT_MAX];

    (void)snprintf(text, sizeof text, "the peer sent the TLS alert '%s'",
                   SSL_alert_desc_string_long(alert));
    return report_add_why(r, row ? row->code : "unknown", row ? row->err : EIO, text);
}

int report_read_failure(sallyport_report *r, SSL *ssl)
{
    long verify = SSL_get_verify_result(ssl);
    unsigned long error = ERR_peek_error();
    int reason = ERR_GET_REASON(error);

    /* Without verification the result is only an opinion, not the cause. */
    if (verify != X509_V_OK && SSL_get_verify_mode(ssl) != SSL_VERIFY_NONE)
        return add_verify_why(r, verify);
    if (error == 0 || ERR_GET_LIB(error) != ERR_LIB_SSL)
        return report_add_why(r, error ? "unknown" : "no-answer", error ? EIO : ETIMEDOUT,
                              error ? "the TLS library failed"
                                    : "the peer did not go through with the handshake");
    if (reason == SSL_R_UNEXPECTED_EOF_WHILE_READING)
        return report_add_why(r, "no-answer", ETIMEDOUT,
                              "the peer closed the connection during the handshake");
    if (reason > SSL_AD_REASON_OFFSET)
        return add_alert_why(r, reason - SSL_AD_REASON_OFFSET);
    const struct why_row *row = find_row(local_rows, ARRAY_LEN(local_rows), reason);
    const char *text = ERR_reason_error_string(error);

    return report_add_why(r, row ? row->code : "unknown", row ? row->err : EIO,
                          text ? text : "the TLS handshake failed");
}
