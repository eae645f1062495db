/* SPDX-License-Identifier: Apache-2.0 */
/* tls_pipe.h - a TLS client over the caller's descriptor, for probes: it can be made to take less
 * than tls_context.h takes, and tells what the server showed of itself. Calls never wait if the
 * descriptor does not; the caller does, for what *ret_writes says.
 *
 * Threads: one at a time. */
#ifndef PROTECT_TLS_PIPE_H
#define PROTECT_TLS_PIPE_H

#include "protect/tls_context.h"

/* OURS: as every client of this tree. LOOSE: everything that the library can do. The others: this
 * version alone, loose otherwise. */
enum tls_pipe_rules { TLS_PIPE_OURS, TLS_PIPE_LOOSE, TLS_PIPE_ONLY_1_0, TLS_PIPE_ONLY_1_1 };

struct tls_pipe;

/* |name|: SNI and the name to verify. |context| is borrowed. ERR_NOMEM, or ERR_TLS for a name that
 * cannot be one. |fd| stays the caller's. */
NODISCARD enum err tls_pipe_new(const struct tls_context *context, const char *name, int fd,
                                enum tls_pipe_rules rules, struct tls_pipe **ret);
/* Without a word to the peer. NULL is fine. */
void tls_pipe_free(struct tls_pipe *p);

/* OK, ERR_AGAIN (wait for reading, or for writing if *ret_writes), ERR_TLS, ERR_EOF, ERR_RESET. */
NODISCARD enum err tls_pipe_handshake(struct tls_pipe *p, bool *ret_writes);
NODISCARD enum err tls_pipe_read(struct tls_pipe *p, char *dst, size_t cap, size_t *ret_n,
                                 bool *ret_writes);
NODISCARD enum err tls_pipe_write(struct tls_pipe *p, struct span bytes, size_t *ret_n,
                                  bool *ret_writes);
/* close_notify, if it can be sent at once. */
void tls_pipe_close(struct tls_pipe *p);
/* A sentence about the last ERR_TLS; lives as long as the pipe. */
const char *tls_pipe_why(const struct tls_pipe *p);
/* |from| has read something already; |to| is new. False: there is no session to go on with. */
bool tls_pipe_resume(struct tls_pipe *to, const struct tls_pipe *from);

/* ---- what the server showed; after the handshake ---- */

#define TLS_PEER_CERTS_MAX 8u
#define TLS_PEER_TEXT_MAX  256u

struct tls_peer_cert {
    char subject[TLS_PEER_TEXT_MAX], issuer[TLS_PEER_TEXT_MAX]; /* printable ASCII */
    char key[32], signature[48];                                /* "RSA", "ecdsa-with-SHA256" */
    int64_t not_before, not_after; /* seconds since 1970; 0: cannot be read */
    int key_bits;
    bool weak_key;    /* below 112 bits of security */
    bool broken_hash; /* signed with SHA-1 or MD5 */
    bool self_signed;
};

struct tls_peer {
    const char *protocol, *cipher; /* static names */
    bool modern;                   /* AEAD with ephemeral keys */
    bool resumed;
    struct tls_peer_cert certs[TLS_PEER_CERTS_MAX]; /* as sent, the server's own first */
    unsigned n_certs;                               /* filled of |certs| */
    unsigned n_sent;
    bool chain_ok;
    char chain_why[TLS_PEER_TEXT_MAX]; /* if not */
    bool issuer_unknown;               /* that is why */
    bool incomplete; /* verified only because we know a certificate between that was not sent */
    bool name_ok;
};
/* Chain (trust, dates, key sizes, purpose) and name are judged apart from each other, and apart
 * from what the handshake made of them. */
void tls_pipe_peer(const struct tls_pipe *p, struct tls_peer *ret);

#endif
