/* SPDX-License-Identifier: Apache-2.0 */
/* ipp_level.h - how well a request is protected, as observed and never as claimed, and what AUTH
 * lists, schemes and jobs demand of it. Plain values and pure functions; any thread.
 *
 * "The draft" here and in the other headers of this room is "Internet Printing Protocol Scheme:
 * Security", an Internet-Draft of 1998. */
#ifndef IPP_LEVEL_H
#define IPP_LEVEL_H

#include <stdbool.h>

/* What an AUTH list may name, as a set of bits: order in a list means nothing (the draft, 2.0).
 * TLS and SSL3 are two ways to one thing, a secure channel; either will do. SSL3 names the secure
 * port of those days ("https"), and not that protocol, which nothing here enables. */
#define IPP_AUTH_TLS     1u /* TLS by HTTP Upgrade on the usual port (RFC 2817) */
#define IPP_AUTH_SSL3    2u /* TLS from the first byte, on a port of its own */
#define IPP_AUTH_DAA     4u /* Digest access authentication (RFC 7616) */
#define IPP_AUTH_CHANNEL (IPP_AUTH_TLS | IPP_AUTH_SSL3)
#define IPP_AUTH_ALL     (IPP_AUTH_CHANNEL | IPP_AUTH_DAA)

enum ipp_channel {
    IPP_CHANNEL_CLEAR,
    IPP_CHANNEL_UPGRADED, /* TLS after Upgrade on the same connection */
    IPP_CHANNEL_IMPLICIT, /* TLS from the first byte */
};

/* From none to the most. */
enum ipp_user {
    IPP_USER_NONE,
    IPP_USER_CLAIMED,     /* requesting-user-name, or another name that nothing proves */
    IPP_USER_BASIC,       /* a password, within TLS; in the clear it counts as claimed */
    IPP_USER_DIGEST,      /* Digest */
    IPP_USER_CERTIFICATE, /* of the client, checked; without TLS it counts as claimed */
};

struct ipp_level {
    enum ipp_channel channel;
    enum ipp_user user;
};

/* "clear", "upgraded", "implicit" and "none", "claimed", "basic", "digest", "certificate", for
 * records. Static; never NULL. */
const char *ipp_channel_name(enum ipp_channel c);
const char *ipp_user_name(enum ipp_user u);

/* Is a request at |now| protected at least as well as one at |then|? The order is that of pairs:
 * clear < TLS, both kinds of it equal; none < claimed < Basic within TLS < Digest < certificate.
 * Some levels cannot be compared, and then neither covers the other. */
bool ipp_level_covers(struct ipp_level now, struct ipp_level then);
/* The least level that covers both. Of the two kinds of TLS it is the upgraded one, if either is:
 * that can be asked for on the connection that there is. */
struct ipp_level ipp_level_join(struct ipp_level a, struct ipp_level b);
/* The AUTH tokens that say how a request at |made| came (the draft, 3.3: the URI of a job matches
 * what made it): TLS or SSL3 for its channel, DAA for Digest. */
unsigned ipp_level_auth(struct ipp_level made);

/* What a request must satisfy: each bit and level that somebody with a say put into it. Zero
 * demands nothing. Only ipp_demand_add() changes one, so a demand never shrinks: a URI can raise
 * the bar, and leaving its list out lowers nothing. */
struct ipp_demand {
    unsigned auth;          /* IPP_AUTH_ bits */
    struct ipp_level level; /* at least; of a job, that of the request which made it */
};

/* Adds what |more| demands: the union of policy, lists (ipp_uri_demand()) and the job's level. */
void ipp_demand_add(struct ipp_demand *d, struct ipp_demand more);

/* What a request lacks; the channel comes before the user, since nobody may be asked for
 * credentials in the clear where a secure channel is demanded (the draft, 3.1). */
enum ipp_need {
    IPP_NEED_NOTHING,
    IPP_NEED_UPGRADE,     /* TLS: 426 with Upgrade (RFC 9110 15.5.22) */
    IPP_NEED_SECURE_PORT, /* TLS, and nothing asked for an upgrade: 426 all the same where the
                             listener upgrades, else 403 that names the secure port */
    IPP_NEED_DIGEST,      /* 401 with Digest; d->level.user tells whether less would do */
    IPP_NEED_CERTIFICATE, /* a client certificate; credentials cannot make up for it */
};

/* Holds what was observed (|now|) against |d|. Channel tokens are alternatives, and any TLS
 * satisfies either, for it is not weaker; channel and DAA must both hold. A certificate satisfies
 * DAA. */
enum ipp_need ipp_demand_check(const struct ipp_demand *d, struct ipp_level now);

#endif
