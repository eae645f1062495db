/* SPDX-License-Identifier: Apache-2.0 */
/* sallyport/want.h - what an application asks of a connection: HOW well it must be protected and
 * WHO may be at the other end. Names no algorithm and no mechanism. Part of libsallyport.
 *
 * A want is one thread's until it is complete; from then on it may be read by all. Functions return
 * 0 or -errno. */
#ifndef SALLYPORT_WANT_H
#define SALLYPORT_WANT_H

#include "sallyport/report.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Wants of WHO that one want can hold. */
#define SALLYPORT_WANT_PEERS_MAX 64

typedef struct sallyport_want sallyport_want;

/* What else can be asked for, beside a level; a bit mask. */
enum {
    SALLYPORT_END_TO_END = 1,
    SALLYPORT_PEER_KNOWN = 2, /* an authenticated peer, whoever it is */
    SALLYPORT_LATCHED = 4,    /* for its whole life by the same protection and the same peer */
    SALLYPORT_TRANSPORT_COVERED = 8, /* nobody else can reset it: never so with TLS alone */
    SALLYPORT_REPLAY_SAFE = 16,
    /* Knowingly below what the system's policy demands. Needs a line in it that exempts this
     * program, or is refused: sallyport_policy(5). */
    SALLYPORT_LESS = 32
};

/* Asks for nothing yet. -ENOMEM. */
int sallyport_want_new(sallyport_want **ret_want);
void sallyport_want_free(sallyport_want *want); /* NULL is fine */

/* At least |level|, by one of the layers in |via| (SALLYPORT_VIA_*; 0: any). Said twice, the
 * stricter holds: the higher level, the layers that both name. -EINVAL for a level that does not
 * exist, or when no layer is left; nothing changes then. */
int sallyport_want_protect(sallyport_want *want, sallyport_level level, unsigned via);
/* More flags (SALLYPORT_END_TO_END and so on). -EINVAL for one that does not exist. */
int sallyport_want_flags(sallyport_want *want, unsigned flags);
/* SALLYPORT_PEER_KNOWN. */
void sallyport_want_known_peer(sallyport_want *want);
/* A peer with such a name (sallyport_peer_match()). Several: any of them. -EINVAL for a kind or
 * pattern that is none, -E2BIG above SALLYPORT_WANT_PEERS_MAX, -ENOMEM. */
int sallyport_want_peer(sallyport_want *want, int kind, const char *pattern);
/* The same, written in one text: "dns:*.example.org", "uri:...", "email:...", "ip:...", "dn:...",
 * "key:...". */
int sallyport_want_peer_text(sallyport_want *want, const char *text);
/* That peer again, by name. Takes its own reference. With other wants of WHO: any of them. */
int sallyport_want_same(sallyport_want *want, const sallyport_peer *peer);

/* Is |report| what was wanted? 0, or -errno with the first reason in |ret_why| (NULL: not asked
 * for; its strings are static):
 *   need-tls (ENOKEY: it is clear, and only TLS would do), level-too-low (EACCES), local-policy
 *   (EPERM: not by a wanted layer), not-end-to-end (EACCES), wrong-peer (EACCES: nobody
 *   authenticated, or somebody else).
 * The system's policy is not asked: sallyport_adopt() of conn.h does that. NULL as |want| asks for
 * nothing; NULL as |report| is a connection of which nothing is known. */
int sallyport_want_check(const sallyport_want *want, const sallyport_report *report,
                         sallyport_why *ret_why);

#ifdef __cplusplus
}
#endif
#endif
