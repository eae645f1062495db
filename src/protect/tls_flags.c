/* SPDX-License-Identifier: Apache-2.0 */
#include "protect/tls_flags.h"

#include <openssl/x509_vfy.h>

#define ERRORS_MAX 8u

enum depth_rule { ANY_DEPTH, LEAF, BETWEEN, TOP };

struct flag_row {
    const char *name;
    unsigned flag;
    enum depth_rule where;
    int errors[ERRORS_MAX]; /* ends with 0 */
};

#define REVOCATION_UNKNOWN                                                 \
    {                                                                      \
        X509_V_ERR_UNABLE_TO_GET_CRL, X509_V_ERR_UNABLE_TO_GET_CRL_ISSUER, \
            X509_V_ERR_CRL_NOT_YET_VALID, X509_V_ERR_CRL_HAS_EXPIRED       \
    }

/* Those without errors are about Windows' trust lists, or about what OpenSSL never checks. */
static const struct flag_row rows[] = {
    {"IgnoreNotTimeValid",
     TLS_FLAG_NOT_TIME_VALID,                                                       ANY_DEPTH,
     {X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED}                                                },
    {"IgnoreCtlNotTimeValid",                       TLS_FLAG_CTL_NOT_TIME_VALID,    ANY_DEPTH, {0}               },
    {"IgnoreNotTimeNested",                         TLS_FLAG_NOT_TIME_NESTED,       ANY_DEPTH, {0}               },
    {"IgnoreInvalidBasicConstraints",
     TLS_FLAG_BASIC_CONSTRAINTS,                                                    ANY_DEPTH,
     {X509_V_ERR_INVALID_CA, X509_V_ERR_PATH_LENGTH_EXCEEDED, X509_V_ERR_INVALID_NON_CA}                         },
    {"AllowUnknownCertificateAuthority",
     TLS_FLAG_UNKNOWN_CA,                                                           ANY_DEPTH,
     {X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT, X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT,
      X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN, X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY,
      X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE, X509_V_ERR_CERT_UNTRUSTED}                                     },
    {"IgnoreWrongUsage",
     TLS_FLAG_WRONG_USAGE,                                                          ANY_DEPTH,
     {X509_V_ERR_INVALID_PURPOSE, X509_V_ERR_KEYUSAGE_NO_CERTSIGN,
      X509_V_ERR_KEYUSAGE_NO_DIGITAL_SIGNATURE}                                                                  },
    {"IgnoreInvalidName",
     TLS_FLAG_NAME,                                                                 ANY_DEPTH,
     {X509_V_ERR_PERMITTED_VIOLATION, X509_V_ERR_EXCLUDED_VIOLATION, X509_V_ERR_SUBTREE_MINMAX,
      X509_V_ERR_UNSUPPORTED_CONSTRAINT_TYPE, X509_V_ERR_UNSUPPORTED_CONSTRAINT_SYNTAX,
      X509_V_ERR_UNSUPPORTED_NAME_SYNTAX, X509_V_ERR_HOSTNAME_MISMATCH}                                          },
    {"IgnoreInvalidPolicy",
     TLS_FLAG_POLICY,                                                               ANY_DEPTH,
     {X509_V_ERR_INVALID_POLICY_EXTENSION, X509_V_ERR_NO_EXPLICIT_POLICY}                                        },
    {"IgnoreEndRevocationUnknown",                  TLS_FLAG_END_REVOCATION,        LEAF,      REVOCATION_UNKNOWN},
    {"IgnoreCtlSignerRevocationUnknown",            TLS_FLAG_CTL_SIGNER_REVOCATION, ANY_DEPTH, {0}               },
    {"IgnoreCertificateAuthorityRevocationUnknown", TLS_FLAG_CA_REVOCATION,         BETWEEN,
     REVOCATION_UNKNOWN                                                                                          },
    {"IgnoreRootRevocationUnknown",                 TLS_FLAG_ROOT_REVOCATION,       TOP,       REVOCATION_UNKNOWN},
};

/* One part: a name, or a number. */
static bool part_parse(struct span part, unsigned *flags)
{
    uint64_t n;

    if (span_u64(part, TLS_FLAGS_ALL, &n) == OK) {
        *flags |= (unsigned)n;
        return true;
    }
    if (span_ieq(part, SPAN("NoFlag")))
        return true;
    if (span_ieq(part, SPAN("AllFlags"))) {
        *flags |= TLS_FLAGS_ALL;
        return true;
    }
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (span_ieq(part, span_of(rows[i].name))) {
            *flags |= rows[i].flag;
            return true;
        }
    return false;
}

static struct span next_part(struct span *rest)
{
    size_t n = 0;

    while (n < rest->n && rest->p[n] != ',' && rest->p[n] != '|')
        n++;
    struct span part = span_sub(*rest, 0, n);

    *rest = n < rest->n ? span_sub(*rest, n + 1, rest->n) : SPAN_NONE;
    return span_trim(part);
}

enum err tls_flags_parse(struct span text, unsigned *ret_flags, struct span *reterr_part)
{
    struct span rest = text.p ? text : SPAN("");
    unsigned flags = 0;

    while (rest.p) {
        struct span part = next_part(&rest);

        if (!part_parse(part, &flags)) {
            *reterr_part = part;
            return ERR_SYNTAX;
        }
    }
    *ret_flags = flags;
    return OK;
}

void tls_flags_format(unsigned flags, struct buf *out)
{
    const char *before = "";

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (flags & rows[i].flag) {
            buf_fmt(out, "%s%s", before, rows[i].name);
            before = ", ";
        }
    if (!*before)
        buf_text(out, "NoFlag");
}

static bool is_at(enum depth_rule where, int depth, int top)
{
    switch (where) {
    case ANY_DEPTH: return true;
    case LEAF: return depth == 0;
    case BETWEEN: return depth > 0 && depth < top;
    case TOP: return depth > 0 && depth >= top;
    }
    return false;
}

unsigned tls_flags_tolerate(unsigned flags, int error, int depth, int top)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (!(flags & rows[i].flag) || !is_at(rows[i].where, depth, top))
            continue;
        for (size_t k = 0; k < ERRORS_MAX && rows[i].errors[k]; k++)
            if (rows[i].errors[k] == error)
                return rows[i].flag;
    }
    return 0;
}
