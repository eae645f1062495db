/* SPDX-License-Identifier: Apache-2.0 */
/* sallyport/peer.h - WHO is at the other end: an authenticated identity, opaque, immutable and
 * counted. What applications need of it is to know it again; names are there for audit lines and
 * for access rules. Part of libsallyport.
 *
 * Peers may be read from any thread, and outlive the report and the connection that they came from.
 * Functions return 0 or -errno where nothing else is said. */
#ifndef SALLYPORT_PEER_H
#define SALLYPORT_PEER_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sallyport_peer sallyport_peer;

/* Kinds of attributes. More will come: skip what you do not know. */
enum {
    SALLYPORT_PEER_AUDIT = 1,   /* one line of printable ASCII, at most 512 bytes; always there */
    SALLYPORT_PEER_METHOD = 2,  /* how it was authenticated: "certificate", or "local": the kernel
                                   says so, of a user of this machine */
    SALLYPORT_PEER_DNS = 3,     /* names from subjectAltName: in small letters, no closing dot */
    SALLYPORT_PEER_URI = 4,     /* as it stands there */
    SALLYPORT_PEER_EMAIL = 5,   /* the domain in small letters */
    SALLYPORT_PEER_IP = 6,      /* 4 or 16 bytes, network order */
    SALLYPORT_PEER_SUBJECT = 7, /* distinguished name as RFC 4514 text, printable ASCII */
    SALLYPORT_PEER_ISSUER = 8,
    SALLYPORT_PEER_SERIAL = 9,      /* bytes, most significant first */
    SALLYPORT_PEER_KEY = 10,        /* 32 bytes: SHA-256 of its SubjectPublicKeyInfo */
    SALLYPORT_PEER_NOT_BEFORE = 11, /* "2026-11-28T00:00:00Z" */
    SALLYPORT_PEER_NOT_AFTER = 12,
    SALLYPORT_PEER_PURPOSE = 13,     /* extended key usage, one dotted OID each */
    SALLYPORT_PEER_CERTIFICATE = 14, /* DER */
    SALLYPORT_PEER_USER = 15,        /* of a local user: the name, where the system has one */
    SALLYPORT_PEER_UID = 16          /* and the number, decimal */
};

/* Another reference; NULL is fine. */
sallyport_peer *sallyport_peer_ref(const sallyport_peer *peer);
void sallyport_peer_unref(sallyport_peer *peer); /* NULL is fine */

/* The |i|-th attribute of |kind|; -ENOENT past the last. *ret_bytes lives as long as the peer;
 * texts have a closing NUL, which does not count. */
int sallyport_peer_attr(const sallyport_peer *peer, int kind, size_t i, const void **ret_bytes,
                        size_t *ret_len);
/* The audit line. NULL for NULL. */
const char *sallyport_peer_text(const sallyport_peer *peer);

/* What must be the same. NAME: subject and all alternative names, which outlives a renewal of the
 * certificate; of a peer that has no name, the key; of a local user, the number. KEY: the public
 * key. */
enum { SALLYPORT_SAME_NAME = 0, SALLYPORT_SAME_KEY = 1 };
/* 1 or 0. NULL equals nobody, not even NULL. */
int sallyport_peer_equal(const sallyport_peer *a, const sallyport_peer *b, int mode);

/* Does a name of |peer| match |pattern|? 1 or 0; -EINVAL for a pattern that says nothing clear.
 * Whole names are compared, never parts of one, by the rules of their |kind|:
 *   DNS      "icap.example.org", or "*.example.org" for exactly one more label on the left
 *   URI      "spiffe://example.org/a"; or ending in a slash and a star: everything below that path
 *   EMAIL    "name@example.org"; the name as it is written
 *   IP       "192.0.2.1", "2001:db8::1"
 *   SUBJECT  "CN=proxy*,O=..." is not one: each part is a value, or a star alone for any value:
 *            "CN=*,O=Example" - in the order and with the escapes of RFC 4514
 *   KEY      64 hex digits */
int sallyport_peer_match(const sallyport_peer *peer, int kind, const char *pattern);

#ifdef __cplusplus
}
#endif
#endif
