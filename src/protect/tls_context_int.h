/* SPDX-License-Identifier: Apache-2.0 */
/* tls_context_int.h - what the loader asks of the checker. */
#ifndef PROTECT_TLS_CONTEXT_INT_H
#define PROTECT_TLS_CONTEXT_INT_H

#include <openssl/types.h>

#include "protect/tls_context.h"

/* Validity dates and key size of one certificate; |what| names it in the sentence. */
NODISCARD enum err tls_check_certificate(const X509 *cert, const char *what, struct buf *why);
NODISCARD enum err tls_check_key(const X509 *cert, const EVP_PKEY *key, struct buf *why);

#endif
