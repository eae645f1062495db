/* SPDX-License-Identifier: Apache-2.0 */
/* tls_client_error.c - why a server and we do not come together, for people who have to put it
 * right: what OpenSSL calls "sslv3 alert bad certificate" is mostly a client without one. */
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "protect/tls_context_int.h"

#define OURS          "the server refuses our client certificate: "
#define WANTS_ONE     "the server demands a client certificate, and was given none"
#define NOT_TLS       "the server does not speak TLS on this port"
#define NO_COMMON_TLS "the server takes no TLS version that is taken here (1.2 and later)"
#define NO_ISSUER     "nobody who is trusted has issued it; trust its CA if it is the right one"
#define NO_ROOT       "the CA that it leads to is not trusted; trust it if it is the right one"
#define TOO_SHORT     "a key in its chain is too short"
#define TOO_OLD_HASH  "a signature in its chain uses a broken digest"

struct row {
    long code;
    const char *text;
};

/* What is wrong with the server's certificate. */
/* clang-format off */
static const struct row verify_rows[] = {
    {X509_V_ERR_CERT_HAS_EXPIRED, "it, or one above it, has expired"},
    {X509_V_ERR_CERT_NOT_YET_VALID, "it is not valid yet, by our clock"},
    {X509_V_ERR_CERT_REVOKED, "it has been revoked"},
    {X509_V_ERR_HOSTNAME_MISMATCH, "it is for another name than the one that was asked for"},
    {X509_V_ERR_IP_ADDRESS_MISMATCH, "it is not for the address that was asked for"},
    {X509_V_ERR_INVALID_PURPOSE, "it is not meant for servers"},
    {X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT, NO_ISSUER},
    {X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, NO_ISSUER},
    {X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE, NO_ISSUER},
    {X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, "it is signed by itself, and not trusted"},
    {X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN, NO_ROOT},
    {X509_V_ERR_EE_KEY_TOO_SMALL, TOO_SHORT},
    {X509_V_ERR_CA_KEY_TOO_SMALL, TOO_SHORT},
    {X509_V_ERR_CA_MD_TOO_WEAK, TOO_OLD_HASH},
};
/* clang-format on */

/* Alerts about our own certificate (RFC 8446 6.2). */
static const struct row own_rows[] = {
    {SSL_AD_BAD_CERTIFICATE,         OURS "it finds it broken"                     },
    {SSL_AD_UNSUPPORTED_CERTIFICATE, OURS "it takes none of that kind"             },
    {SSL_AD_CERTIFICATE_REVOKED,     OURS "it has been revoked"                    },
    {SSL_AD_CERTIFICATE_EXPIRED,     OURS "it has expired"                         },
    {SSL_AD_CERTIFICATE_UNKNOWN,     OURS "it does not say why"                    },
    {SSL_AD_UNKNOWN_CA,              OURS "it does not trust the CA that issued it"},
    {SSL_AD_ACCESS_DENIED,           OURS "its owner may not come in"              },
};

static const struct row alert_rows[] = {
    {SSL_AD_CERTIFICATE_REQUIRED,  WANTS_ONE                                      },
    {SSL_AD_PROTOCOL_VERSION,      NO_COMMON_TLS                                  },
    {SSL_AD_HANDSHAKE_FAILURE,     "the server finds no TLS that both sides speak"},
    {SSL_AD_INSUFFICIENT_SECURITY, "the server finds our TLS too weak"            },
    {SSL_AD_UNRECOGNIZED_NAME,     "the server has no certificate for that name"  },
};

static const struct row reason_rows[] = {
    {SSL_R_WRONG_VERSION_NUMBER,   NOT_TLS      },
    {SSL_R_HTTP_REQUEST,           NOT_TLS      },
    {SSL_R_PACKET_LENGTH_TOO_LONG, NOT_TLS      },
    {SSL_R_RECORD_LENGTH_MISMATCH, NOT_TLS      },
    {SSL_R_UNSUPPORTED_PROTOCOL,   NO_COMMON_TLS},
};

#define FIND(rows, code) find(rows, ARRAY_LEN(rows), code)

static const char *find(const struct row *rows, size_t n, long code)
{
    for (size_t i = 0; i < n; i++)
        if (rows[i].code == code)
            return rows[i].text;
    return NULL;
}

const char *tls_client_verify_text(long verify)
{
    return FIND(verify_rows, verify);
}

const char *tls_client_reason_text(int reason, enum tls_own_certificate own)
{
    int alert = reason - SSL_AD_REASON_OFFSET;
    const char *about_ours = reason > SSL_AD_REASON_OFFSET ? FIND(own_rows, alert) : NULL;

    if (reason <= SSL_AD_REASON_OFFSET)
        return FIND(reason_rows, reason);
    /* TLS 1.2 has no alert of its own for a certificate that is missing; servers take others. */
    if (about_ours)
        return own == TLS_OWN_GIVEN ? about_ours : WANTS_ONE;
    if (own == TLS_OWN_WANTED && alert == SSL_AD_HANDSHAKE_FAILURE)
        return WANTS_ONE;
    return FIND(alert_rows, alert);
}

enum tls_own_certificate tls_own_certificate_of(const SSL *ssl)
{
    if (SSL_get_certificate(ssl))
        return TLS_OWN_GIVEN;
    /* Of a client: whose certificates the server asked for. In TLS 1.3 it need not say. */
    return SSL_get_client_CA_list(ssl) ? TLS_OWN_WANTED : TLS_OWN_NONE;
}
