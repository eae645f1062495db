/* SPDX-License-Identifier: Apache-2.0 */
#include "icap/icap_engine_in.h"

#include <assert.h>

void icap_gather_done(struct icap_gather *g)
{
    block_unref(g->held);
    buf_done(&g->text);
    *g = (struct icap_gather){0};
}

static void advance(struct slice *s, size_t n)
{
    *s = slice_sub(*s, (uint32_t)n, s->len - (uint32_t)n);
}

static enum err keep(struct icap_gather *g, struct span bytes, struct fault *reterr)
{
    buf_add(&g->text, bytes);
    return g->text.err ? fault_set(reterr, ERR_NOMEM, 503, 0, "no memory for a head") : OK;
}

/* Views will point into the block of |s|. */
static void hold(struct icap_gather *g, struct slice s)
{
    assert(!g->held);
    g->held = block_ref(s.block);
}

enum err icap_gather_head(struct icap_gather *g, struct slice *left, const struct head_limits *lim,
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
        advance(left, in.n);
        return ERR_AGAIN;
    }
    TRY(e);
    if (!had)
        hold(g, *left);
    advance(left, len - had);
    *ret_text = span_sub(had ? buf_span(&g->text) : in, 0, len);
    return OK;
}

enum err icap_gather_bytes(struct icap_gather *g, struct slice *left, uint64_t need,
                           struct span *ret_text, struct fault *reterr)
{
    size_t had = g->text.n;
    struct span in = span_sub(slice_span(*left), 0, (size_t)need - had);

    if (!had && in.n == need)
        hold(g, *left);
    else
        TRY(keep(g, in, reterr));
    advance(left, in.n);
    if (had + in.n < need)
        return ERR_AGAIN;
    *ret_text = g->held ? in : buf_span(&g->text);
    return OK;
}

/* ---- slots ---- */

static uint64_t slot_len(const struct icap_encapsulated *list, unsigned i)
{
    return list->part[i + 1].off - list->part[i].off;
}

uint64_t icap_slots_len(const struct icap_encapsulated *list)
{
    return list->n ? list->part[list->n - 1].off : 0;
}

enum err icap_slots_check(const struct icap_encapsulated *list, uint64_t head_max,
                          struct fault *reterr)
{
    for (unsigned i = 0; i + 1 < list->n; i++) {
        if (slot_len(list, i) == 0)
            return fault_set(reterr, ERR_PROTO, 400, 0, "empty encapsulated head");
        if (slot_len(list, i) > head_max)
            return fault_set(reterr, ERR_LIMIT, 431, 0, "encapsulated head too long");
    }
    return OK;
}

static enum err parse_slot(enum icap_entity entity, struct span slot, const struct head_limits *lim,
                           struct arena *mem, struct head *ret, struct fault *reterr)
{
    enum head_kind kind = entity == ICAP_REQ_HDR ? HEAD_HTTP_REQUEST : HEAD_HTTP_STATUS;
    struct head_scan scan = {0};
    size_t len;

    /* In a text without bare CR, LF or NUL the parser sees itself where the head ends. */
    if (head_parse(kind, slot, lim, mem, ret, reterr) == OK && ret->plain)
        return OK;
    enum err e = head_scan(&scan, slot, lim, &len, reterr);

    if (e == ERR_AGAIN)
        return fault_set(reterr, ERR_PROTO, 400, slot.n,
                         "encapsulated head does not end in its slot");
    TRY(e);
    if (len != slot.n)
        return fault_set(reterr, ERR_PROTO, 400, len, "encapsulated head ends before its slot");
    return head_parse(kind, slot, lim, mem, ret, reterr);
}

enum err icap_slots_parse(const struct icap_encapsulated *list, struct span text,
                          const struct head_limits *lim, struct arena *mem,
                          const struct head **ret_request, const struct head **ret_response,
                          struct fault *reterr)
{
    for (unsigned i = 0; i + 1 < list->n; i++) {
        struct span slot = span_sub(text, (size_t)list->part[i].off, (size_t)slot_len(list, i));
        struct head *h = ARENA_NEW(mem, struct head);

        if (!h)
            return fault_set(reterr, ERR_NOMEM, 503, 0, "no memory for a head");
        TRY(parse_slot(list->part[i].entity, slot, lim, mem, h, reterr));
        if (list->part[i].entity == ICAP_REQ_HDR)
            *ret_request = h;
        else
            *ret_response = h;
    }
    return OK;
}
