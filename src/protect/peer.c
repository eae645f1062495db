/* SPDX-License-Identifier: Apache-2.0 */
/* peer.c - an identity as a list of attributes that never changes. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "protect/peer_int.h"

sallyport_peer *sallyport_peer_ref(const sallyport_peer *peer)
{
    /* Immutable but for the count of those who hold it. */
    sallyport_peer *p = (sallyport_peer *)(uintptr_t)peer;

    if (p)
        atomic_fetch_add_explicit(&p->refs, 1, memory_order_relaxed);
    return p;
}

void sallyport_peer_unref(sallyport_peer *peer)
{
    if (!peer || atomic_fetch_sub_explicit(&peer->refs, 1, memory_order_acq_rel) != 1)
        return;
    buf_done(&peer->bytes);
    free(peer->attrs);
    free(peer);
}

/* ---- making one ---- */

sallyport_peer *peer_alloc(void)
{
    sallyport_peer *p = calloc(1, sizeof *p);

    if (!p)
        return NULL;
    atomic_init(&p->refs, 1);
    buf_init(&p->bytes, 0);
    return p;
}

void peer_add(sallyport_peer *p, int kind, struct span value)
{
    if (p->n_attrs == p->cap) {
        unsigned cap = p->cap ? p->cap * 2 : 16;
        struct peer_attr *attrs = realloc(p->attrs, cap * sizeof *attrs);

        if (!attrs) {
            p->bytes.err = ERR_NOMEM;
            return;
        }
        p->attrs = attrs;
        p->cap = cap;
    }
    struct peer_attr a = {.kind = kind, .off = (uint32_t)p->bytes.n, .len = (uint32_t)value.n};

    buf_add(&p->bytes, value);
    buf_char(&p->bytes, '\0');
    if (!p->bytes.err)
        p->attrs[p->n_attrs++] = a;
}

/* ---- reading it ---- */

static const struct peer_attr *attr_at(const sallyport_peer *p, int kind, size_t i)
{
    for (unsigned k = 0; k < p->n_attrs; k++)
        if (p->attrs[k].kind == kind && i-- == 0)
            return &p->attrs[k];
    return NULL;
}

int sallyport_peer_attr(const sallyport_peer *peer, int kind, size_t i, const void **ret_bytes,
                        size_t *ret_len)
{
    const struct peer_attr *a = attr_at(peer, kind, i);

    if (!a)
        return -ENOENT;
    *ret_bytes = peer->bytes.p + a->off;
    *ret_len = a->len;
    return 0;
}

const char *sallyport_peer_text(const sallyport_peer *peer)
{
    const struct peer_attr *a = peer ? attr_at(peer, SALLYPORT_PEER_AUDIT, 0) : NULL;

    assert(!peer || a);
    return a ? peer->bytes.p + a->off : NULL;
}

/* ---- the same one? ---- */

static struct span attr_span(const sallyport_peer *p, const struct peer_attr *a)
{
    return (struct span){p->bytes.p + a->off, a->len};
}

static bool is_name(int kind)
{
    return (kind >= SALLYPORT_PEER_DNS && kind <= SALLYPORT_PEER_IP) ||
           kind == SALLYPORT_PEER_SUBJECT || kind == SALLYPORT_PEER_UID;
}

static bool has(const sallyport_peer *p, int kind, struct span value)
{
    for (unsigned k = 0; k < p->n_attrs; k++)
        if (p->attrs[k].kind == kind && span_eq(attr_span(p, &p->attrs[k]), value))
            return true;
    return false;
}

/* Has |b| every name of |a|? *ret_n: how many those are. */
static bool covers(const sallyport_peer *a, const sallyport_peer *b, unsigned *ret_n)
{
    *ret_n = 0;
    for (unsigned k = 0; k < a->n_attrs; k++) {
        if (!is_name(a->attrs[k].kind))
            continue;
        ++*ret_n;
        if (!has(b, a->attrs[k].kind, attr_span(a, &a->attrs[k])))
            return false;
    }
    return true;
}

static bool same_key(const sallyport_peer *a, const sallyport_peer *b)
{
    const struct peer_attr *k = attr_at(a, SALLYPORT_PEER_KEY, 0);

    return k && has(b, SALLYPORT_PEER_KEY, attr_span(a, k));
}

int sallyport_peer_equal(const sallyport_peer *a, const sallyport_peer *b, int mode)
{
    unsigned n_a, n_b;

    if (!a || !b)
        return 0;
    if (mode == SALLYPORT_SAME_KEY)
        return same_key(a, b);
    if (mode != SALLYPORT_SAME_NAME || !covers(a, b, &n_a) || !covers(b, a, &n_b))
        return 0;
    return n_a > 0 ? 1 : same_key(a, b);
}
