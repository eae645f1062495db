/* SPDX-License-Identifier: Apache-2.0 */
/* client_tls.h - TLS of the commands that are clients: whom to trust, and who we are. */
#ifndef CLI_CLIENT_TLS_H
#define CLI_CLIENT_TLS_H

#include "protect/tls_context.h"

struct client_tls_options {
    const char *ca;   /* PEM file, or NULL: the system's */
    const char *cert; /* PEM file with our certificate and those above it, or NULL: none */
    const char *key;  /* PEM file with its key, or NULL: in |cert| */
    const char *alpn; /* what is spoken inside, or NULL: that is not said */
    bool insecure;    /* the handshake takes any certificate */
    bool only_1_3;    /* TLS 1.2 is not taken */
};

/* EXIT_FINE, or an exit code after a sentence on stderr that names the file. */
NODISCARD int client_tls_open(const char *command, const struct client_tls_options *o,
                              struct tls_context **ret);

#endif
