/* SPDX-License-Identifier: Apache-2.0 */
/* tls_pipe_int.h - the body of a pipe, for the files that move bytes and that look at the peer. */
#ifndef PROTECT_TLS_PIPE_INT_H
#define PROTECT_TLS_PIPE_INT_H

#include "protect/tls_pipe.h"

struct tls_pipe {
    const struct tls_context *context;
    SSL *ssl;
    char name[256];
    char why[160];
};

#endif
