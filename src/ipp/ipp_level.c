/* SPDX-License-Identifier: Apache-2.0 */
#include "ipp/ipp_level.h"

const char *ipp_channel_name(enum ipp_channel c)
{
    switch (c) {
    case IPP_CHANNEL_CLEAR: return "clear";
    case IPP_CHANNEL_UPGRADED: return "upgraded";
    case IPP_CHANNEL_IMPLICIT: return "implicit";
    }
    return "?";
}

const char *ipp_user_name(enum ipp_user u)
{
    switch (u) {
    case IPP_USER_NONE: return "none";
    case IPP_USER_CLAIMED: return "claimed";
    case IPP_USER_BASIC: return "basic";
    case IPP_USER_DIGEST: return "digest";
    case IPP_USER_CERTIFICATE: return "certificate";
    }
    return "?";
}

static bool is_tls(struct ipp_level l)
{
    return l.channel != IPP_CHANNEL_CLEAR;
}

/* What the user's part is worth on that channel: everybody on the way reads a password in the
 * clear (RFC 7617 4), and a certificate belongs to a handshake. */
static enum ipp_user user_of(struct ipp_level l)
{
    bool needs_tls = l.user == IPP_USER_BASIC || l.user == IPP_USER_CERTIFICATE;

    return needs_tls && !is_tls(l) ? IPP_USER_CLAIMED : l.user;
}

bool ipp_level_covers(struct ipp_level now, struct ipp_level then)
{
    return is_tls(now) >= is_tls(then) && user_of(now) >= user_of(then);
}

struct ipp_level ipp_level_join(struct ipp_level a, struct ipp_level b)
{
    bool upgraded = a.channel == IPP_CHANNEL_UPGRADED || b.channel == IPP_CHANNEL_UPGRADED;

    return (struct ipp_level){
        .channel = upgraded    ? IPP_CHANNEL_UPGRADED
                   : is_tls(a) ? a.channel
                               : b.channel,
        .user = user_of(a) > user_of(b) ? user_of(a) : user_of(b),
    };
}

unsigned ipp_level_auth(struct ipp_level made)
{
    unsigned user = made.user == IPP_USER_DIGEST ? IPP_AUTH_DAA : 0;

    switch (made.channel) {
    case IPP_CHANNEL_CLEAR: return user;
    case IPP_CHANNEL_UPGRADED: return user | IPP_AUTH_TLS;
    case IPP_CHANNEL_IMPLICIT: return user | IPP_AUTH_SSL3;
    }
    return user;
}

void ipp_demand_add(struct ipp_demand *d, struct ipp_demand more)
{
    d->auth |= more.auth;
    d->level = ipp_level_join(d->level, more.level);
}

enum ipp_need ipp_demand_check(const struct ipp_demand *d, struct ipp_level now)
{
    bool by_upgrade = d->auth & IPP_AUTH_TLS || d->level.channel == IPP_CHANNEL_UPGRADED;
    enum ipp_user least = user_of(d->level);

    if (!is_tls(now) && by_upgrade)
        return IPP_NEED_UPGRADE;
    if (!is_tls(now) && (d->auth & IPP_AUTH_SSL3 || is_tls(d->level)))
        return IPP_NEED_SECURE_PORT;
    if (d->auth & IPP_AUTH_DAA && least < IPP_USER_DIGEST)
        least = IPP_USER_DIGEST;
    if (user_of(now) >= least)
        return IPP_NEED_NOTHING;
    return least <= IPP_USER_DIGEST ? IPP_NEED_DIGEST : IPP_NEED_CERTIFICATE;
}
