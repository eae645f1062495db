/* SPDX-License-Identifier: Apache-2.0 */
/* want.c - what is asked of a connection, held against its report. */
#include "sallyport/want.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "protect/peer_int.h"
#include "protect/want_int.h"

int sallyport_want_new(sallyport_want **ret_want)
{
    sallyport_want *want = calloc(1, sizeof *want);

    if (!want)
        return -ENOMEM;
    *ret_want = want;
    return 0;
}

void sallyport_want_free(sallyport_want *want)
{
    if (!want)
        return;
    for (unsigned i = 0; i < want->n_peers; i++) {
        free(want->peers[i].pattern);
        sallyport_peer_unref(want->peers[i].same);
    }
    free(want);
}

int sallyport_want_protect(sallyport_want *want, sallyport_level level, unsigned via)
{
    unsigned both = !via ? want->via : want->via ? want->via & via : via;

    if ((unsigned)level >= REPORT_LEVELS || via & ~WANT_VIA_ALL)
        return -EINVAL;
    if (via && !both) /* no layer is left that both allow; 0 would be any */
        return -EINVAL;
    if (level > want->level)
        want->level = level;
    want->via = both;
    return 0;
}

int sallyport_want_flags(sallyport_want *want, unsigned flags)
{
    if (flags & ~WANT_FLAGS_ALL)
        return -EINVAL;
    want->flags |= flags;
    return 0;
}

void sallyport_want_known_peer(sallyport_want *want)
{
    want->flags |= SALLYPORT_PEER_KNOWN;
}

static int add_peer(sallyport_want *want, struct wanted w)
{
    if (want->n_peers == SALLYPORT_WANT_PEERS_MAX)
        return -E2BIG;
    want->peers[want->n_peers++] = w;
    return 0;
}

int sallyport_want_peer(sallyport_want *want, int kind, const char *pattern)
{
    struct wanted w = {.kind = kind};

    if (!peer_pattern_is_valid(kind, span_of(pattern)))
        return -EINVAL;
    w.pattern = strdup(pattern);
    if (!w.pattern)
        return -ENOMEM;
    int e = add_peer(want, w);

    if (e)
        free(w.pattern);
    return e;
}

int sallyport_want_peer_text(sallyport_want *want, const char *text)
{
    const char *colon = strchr(text, ':');
    int kind = colon ? peer_kind((struct span){text, (size_t)(colon - text)}) : 0;

    return kind ? sallyport_want_peer(want, kind, colon + 1) : -EINVAL;
}

int sallyport_want_same(sallyport_want *want, const sallyport_peer *peer)
{
    struct wanted w = {.same = sallyport_peer_ref(peer)};
    int e = w.same ? add_peer(want, w) : -EINVAL;

    if (e)
        sallyport_peer_unref(w.same);
    return e;
}

/* ---- the check ---- */

static int refuse(struct report_cause *ret, const char *code, const char *text)
{
    *ret = (struct report_cause){.code = code, .stage = SALLYPORT_STAGE_POLICY, .text = text};
    return -reason_find(code)->errs[0];
}

static bool is_wanted(const sallyport_want *want, const sallyport_peer *peer)
{
    for (unsigned i = 0; i < want->n_peers; i++) {
        const struct wanted *w = &want->peers[i];

        if (w->same ? sallyport_peer_equal(w->same, peer, SALLYPORT_SAME_NAME)
                    : sallyport_peer_match(peer, w->kind, w->pattern) == 1)
            return true;
    }
    return false;
}

static int check_peer(const sallyport_want *want, const sallyport_report *report,
                      struct report_cause *ret)
{
    const sallyport_peer *peer = report ? sallyport_report_peer(report) : NULL;

    if (!(want->flags & SALLYPORT_PEER_KNOWN) && want->n_peers == 0)
        return 0;
    if (!peer)
        return refuse(ret, "wrong-peer", "the peer did not authenticate itself, and must");
    if (want->n_peers > 0 && !is_wanted(want, peer))
        return refuse(ret, "wrong-peer",
                      "the peer authenticated itself as somebody who is not wanted here");
    return 0;
}

static int check_flags(unsigned flags, const sallyport_how *how, struct report_cause *ret)
{
    if (flags & SALLYPORT_END_TO_END && how->end_to_end != SALLYPORT_YES)
        return refuse(ret, "not-end-to-end",
                      "the protection is not known to reach from end to end, and must");
    if (flags & SALLYPORT_TRANSPORT_COVERED && how->transport_covered != SALLYPORT_YES)
        return refuse(ret, "level-too-low",
                      "the transport's headers are not protected, and must be: TLS cannot do that");
    if (flags & SALLYPORT_REPLAY_SAFE && how->replay_safe != SALLYPORT_YES)
        return refuse(ret, "level-too-low",
                      "the first bytes may have been sent a second time by somebody else");
    /* What a clear connection carries may come from anybody at any time; TLS keeps to its keys. */
    if (flags & SALLYPORT_LATCHED && !(how->via & SALLYPORT_VIA_TLS))
        return refuse(ret, "level-too-low", "nothing holds the connection to one peer");
    return 0;
}

static int check_level(const sallyport_want *want, const sallyport_how *how,
                       struct report_cause *ret)
{
    if (how->level >= want->level)
        return 0;
    if (how->via == SALLYPORT_VIA_CLEAR && want->via == SALLYPORT_VIA_TLS)
        return refuse(ret, "need-tls", "the connection is clear; TLS is required");
    return refuse(ret, "level-too-low", report_level_why(want->level, how->level));
}

int want_check(const sallyport_want *want, const sallyport_report *report,
               struct report_cause *ret_cause)
{
    sallyport_how how = {.size = sizeof how};
    int e;

    if (!want)
        return 0;
    /* No report, no protection that anybody could vouch for. */
    if (!report || sallyport_report_how(report, &how) != 0)
        how.via = SALLYPORT_VIA_CLEAR;
    e = check_level(want, &how, ret_cause);
    if (e)
        return e;
    if (want->via && !(how.via & want->via))
        return refuse(ret_cause, "local-policy",
                      "the connection is protected by a layer that is not wanted here");
    e = check_flags(want->flags, &how, ret_cause);
    return e ? e : check_peer(want, report, ret_cause);
}

int sallyport_want_check(const sallyport_want *want, const sallyport_report *report,
                         sallyport_why *ret_why)
{
    struct report_cause cause;
    int e = want_check(want, report, &cause);

    if (e && ret_why && reason_fits(ret_why)) {
        sallyport_why why = reason_why(&cause);

        reason_give(&why, ret_why);
    }
    return e;
}
