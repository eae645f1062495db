/* SPDX-License-Identifier: Apache-2.0 */
/* tls_flags.h - which faults of a client's certificate are let pass: the names and numbers of
 * .NET's X509VerificationFlags, which operators know, and what they mean to OpenSSL. */
#ifndef PROTECT_TLS_FLAGS_H
#define PROTECT_TLS_FLAGS_H

#include <stdbool.h>

#include "base/buf.h"

/* The numbers are .NET's. */
enum {
    TLS_FLAG_NOT_TIME_VALID = 1,
    TLS_FLAG_CTL_NOT_TIME_VALID = 2, /* this and NOT_TIME_NESTED, CTL_SIGNER: no counterpart */
    TLS_FLAG_NOT_TIME_NESTED = 4,
    TLS_FLAG_BASIC_CONSTRAINTS = 8,
    TLS_FLAG_UNKNOWN_CA = 16, /* let in, but never authenticated */
    TLS_FLAG_WRONG_USAGE = 32,
    TLS_FLAG_NAME = 64,
    TLS_FLAG_POLICY = 128,
    TLS_FLAG_END_REVOCATION = 256, /* that it is not known; revoked is never tolerated */
    TLS_FLAG_CTL_SIGNER_REVOCATION = 512,
    TLS_FLAG_CA_REVOCATION = 1024,
    TLS_FLAG_ROOT_REVOCATION = 2048,
    TLS_FLAGS_ALL = 4095,
};

/* With one of these a certificate says less than everybody thinks it does. */
#define TLS_FLAGS_DANGEROUS                                                       \
    (TLS_FLAG_NOT_TIME_VALID | TLS_FLAG_BASIC_CONSTRAINTS | TLS_FLAG_UNKNOWN_CA | \
     TLS_FLAG_WRONG_USAGE | TLS_FLAG_NAME)

/* "IgnoreNotTimeValid, IgnoreWrongUsage", "1|32", "33": names in any case and decimal numbers,
 * joined by comma or vertical bar. ERR_SYNTAX for a name or a bit that is not known, and for
 * nothing at all; *reterr_part is then where. *ret_flags is written on OK only. */
NODISCARD enum err tls_flags_parse(struct span text, unsigned *ret_flags, struct span *reterr_part);
/* Their names, joined by comma; "NoFlag" for none. */
void tls_flags_format(unsigned flags, struct buf *out);
/* The flag of |flags| that lets pass X509_V_ERR_* |error| at |depth| (0: the leaf) of a chain whose
 * last certificate is at |top|; 0: none does. */
unsigned tls_flags_tolerate(unsigned flags, int error, int depth, int top);

#endif
