/* SPDX-License-Identifier: Apache-2.0 */
#include "http/head_gather.h"

#include <assert.h>

void head_gather_done(struct head_gather *g)
{
    block_unref(g->held.block);
    buf_done(&g->text);
    *g = (struct head_gather){0};
}

/* What came in pieces is in secret memory, and wiped by head_gather_done(). */
void head_gather_wipe(struct head_gather *g)
{
    slice_wipe(g->held);
}

static void advance(struct slice *s, size_t n)
{
    *s = slice_sub(*s, (uint32_t)n, s->len - (uint32_t)n);
}

/* Past |n| bytes of which there is a copy. */
static void advance_kept(struct slice *s, size_t n)
{
    slice_wipe(slice_sub(*s, 0, (uint32_t)n));
    advance(s, n);
}

/* Passwords may be in there, and are not left behind anywhere but where whoever reads them wipes
 * them. */
static enum err keep(struct head_gather *g, struct span bytes, struct fault *reterr)
{
    if (!g->text.secret)
        buf_init_secret(&g->text, 0);
    buf_add(&g->text, bytes);
    return g->text.err ? fault_set(reterr, ERR_NOMEM, 503, 0, "no memory for a head") : OK;
}

/* Views will point into the block of |s|, at its first |n| bytes. */
static void hold(struct head_gather *g, struct slice s, size_t n)
{
    assert(!g->held.block);
    g->held = slice_sub(s, 0, (uint32_t)n);
    (void)block_ref(s.block);
}

enum err head_gather_head(struct head_gather *g, struct slice *left, const struct head_limits *lim,
                          struct span *ret_text, struct fault *reterr)
{
    size_t had = g->text.n;
    struct span in = slice_span(*left);
    size_t len;
    enum err e;

    if (had) {
        in = span_sub(in, 0, lim->size_max + 1 - had); /* enough to see the limit passed */
        TRY(keep(g, in, reterr));
    }
    e = head_scan(&g->scan, had ? buf_span(&g->text) : in, lim, &len, reterr);
    if (e == ERR_AGAIN) {
        if (!had)
            TRY(keep(g, in, reterr));
        advance_kept(left, in.n);
        return ERR_AGAIN;
    }
    TRY(e);
    *ret_text = span_sub(had ? buf_span(&g->text) : in, 0, len);
    if (had) {
        advance_kept(left, len - had);
        return OK;
    }
    hold(g, *left, len);
    advance(left, len);
    return OK;
}

enum err head_gather_bytes(struct head_gather *g, struct slice *left, uint64_t need,
                           struct span *ret_text, struct fault *reterr)
{
    size_t had = g->text.n;
    struct span in = span_sub(slice_span(*left), 0, (size_t)need - had);

    if (!had && in.n == need)
        hold(g, *left, in.n);
    else
        TRY(keep(g, in, reterr));
    advance(left, in.n);
    if (had + in.n < need)
        return ERR_AGAIN;
    *ret_text = g->held.block ? in : buf_span(&g->text);
    return OK;
}
