/* SPDX-License-Identifier: Apache-2.0 */
#include "icap/icap_slots.h"

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
