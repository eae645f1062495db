/* SPDX-License-Identifier: Apache-2.0 */
/* peer_int.h - the body of a peer, for the files that make and read it. */
#ifndef PROTECT_PEER_INT_H
#define PROTECT_PEER_INT_H

#include <openssl/types.h>
#include <stdatomic.h>

#include "base/buf.h"
#include "sallyport/peer.h"

#define PEER_TEXT_MAX  512u /* subject, issuer, audit line */
#define PEER_NAMES_MAX 64u  /* alternative names */
#define PEER_DER_MAX   (64u << 10)

struct peer_attr {
    int kind;
    uint32_t off, len; /* in |bytes|, where a NUL follows */
};

struct sallyport_peer {
    _Atomic unsigned refs;
    struct buf bytes;
    struct peer_attr *attrs;
    unsigned n_attrs, cap;
};

/* With one reference and nothing in it; NULL: out of memory. */
sallyport_peer *peer_alloc(void);
/* Past memory |p->bytes| says so in the end. */
void peer_add(sallyport_peer *p, int kind, struct span value);

/* The user of this machine at the other end of the Unix socket |fd|, by the kernel's word: who
 * connected, or who listened. *ret_peer is NULL for any other socket, and where the kernel does not
 * know, or has no number here for a user of another namespace. 0 or -ENOMEM. */
int peer_of_socket(int fd, sallyport_peer **ret_peer);

/* Who |cert|, which was verified, names. 0; -ENOMEM; -ENOTUNIQ and *ret_why (static) when it cannot
 * be told without doubt: then it names nobody. */
int peer_of_certificate(const X509 *cert, sallyport_peer **ret_peer, const char **ret_why);

/* The kind that stands before the colon of "dns:..."; 0: none that is known. */
int peer_kind(struct span name);
const char *peer_kind_name(int kind); /* NULL: not one to ask for */
/* Something, and nothing but ASCII that can be seen: no space, no control character. */
bool peer_is_visible(struct span s);
/* A pattern of |kind| that means something? */
bool peer_pattern_is_valid(int kind, struct span pattern);

#endif
