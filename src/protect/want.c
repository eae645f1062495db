/* SPDX-License-Identifier: Apache-2.0 */
/* want.c - what is asked of a connection, held against its report. */
#include "sallyport/want.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "protect/peer_int.h"
#include "protect/report_int.h"

#define VIA_ALL (unsigned)(SALLYPORT_VIA_CLEAR | SALLYPORT_VIA_TLS | SALLYPORT_VIA_IPSEC)

/* One of those who may be there. */
struct wanted {
    int kind; /* 0: |same| */
    char *pattern;
    sallyport_peer *same;
};

struct sallyport_want {
    sallyport_level level;
    unsigned via; /* 0: any */
    bool known_peer;
    unsigned n_peers;
    struct wanted peers[SALLYPORT_WANT_PEERS_MAX];
};

int sallyport_want_new(sallyport_want **ret_want)
{
    *ret_want = calloc(1, sizeof **ret_want);
    return *ret_want ? 0 : -ENOMEM;
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

    if ((unsigned)level >= REPORT_LEVELS || via & ~VIA_ALL)
        return -EINVAL;
    if (via && !both) /* no layer is left that both allow; 0 would be any */
        return -EINVAL;
    if (level > want->level)
        want->level = level;
    want->via = both;
    return 0;
}

void sallyport_want_known_peer(sallyport_want *want)
{
    want->known_peer = true;
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

static int refuse(sallyport_why *ret_why, const char *code, int err, const char *text)
{
    if (ret_why && ret_why->size >= sizeof *ret_why) {
        uint32_t size = ret_why->size;

        *ret_why = (sallyport_why){.size = size, .code = code, .err = err, .text = text};
    }
    return -err;
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
                      sallyport_why *ret_why)
{
    const sallyport_peer *peer = report ? sallyport_report_peer(report) : NULL;

    if (!want->known_peer && want->n_peers == 0)
        return 0;
    if (!peer)
        return refuse(ret_why, "wrong-peer", EACCES,
                      "the peer did not authenticate itself, and must");
    if (want->n_peers > 0 && !is_wanted(want, peer))
        return refuse(ret_why, "wrong-peer", EACCES,
                      "the peer authenticated itself as somebody who is not wanted here");
    return 0;
}

int sallyport_want_check(const sallyport_want *want, const sallyport_report *report,
                         sallyport_why *ret_why)
{
    sallyport_how how = {.size = sizeof how};

    if (!want)
        return 0;
    /* No report, no protection that anybody could vouch for. */
    if (!report || sallyport_report_how(report, &how) != 0)
        how.via = SALLYPORT_VIA_CLEAR;
    if (how.level < want->level && how.via == SALLYPORT_VIA_CLEAR && want->via == SALLYPORT_VIA_TLS)
        return refuse(ret_why, "need-tls", ENOKEY, "the connection is clear; TLS is required");
    if (how.level < want->level)
        return refuse(ret_why, "level-too-low", EACCES, report_level_why(want->level, how.level));
    if (want->via && !(how.via & want->via))
        return refuse(ret_why, "local-policy", EPERM,
                      "the connection is protected by a layer that is not wanted here");
    return check_peer(want, report, ret_why);
}
