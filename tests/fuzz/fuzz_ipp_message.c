/* SPDX-License-Identifier: Apache-2.0 */
/* ipp/ipp_scan.h, ipp_message.h, ipp_write.h, ipp_rewrite.h. Byte 0: step of the split, request or
 * response. Properties: split = whole; scanner and parser agree, and where the scanner has no doubt
 * there is none; a rewrite that keeps everything, and one through the writer, give the same octets;
 * what any rewrite makes is legal. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "ipp/ipp_rewrite.h"

static const struct ipp_limits limits = {.size_max = 4096, .attributes_max = 32, .depth_max = 4};

struct result {
    enum err err; /* ERR_AGAIN: not over */
    struct ipp_fault fault;
    size_t at;
    bool doubt;
};

static struct result scan(struct span in, size_t step)
{
    struct ipp_scan s = {.at = 0};
    struct result r = {.err = ERR_AGAIN};

    for (size_t at = 0; at < in.n && r.err == ERR_AGAIN; at += step) {
        size_t used = 0;

        r.err = ipp_scan_feed(&s, &limits, span_sub(in, at, step), &used, &r.fault);
        assert(used <= span_sub(in, at, step).n && s.at <= limits.size_max);
    }
    r.at = s.at;
    r.doubt = r.err == OK && s.doubt;
    return r;
}

/* ---- walking ---- */

/* Every attribute is copied through the writer, value by value. */
static enum ipp_action through_writer(void *arg, const struct ipp_place *at,
                                      const struct ipp_attribute *a, struct ipp_writer *w)
{
    struct span rest = a->values, name = a->name;
    struct ipp_value v;

    (void)arg;
    (void)at;
    while (ipp_value_next(&rest, &v)) {
        ipp_write_copy(w, name, &v);
        name = SPAN_NONE;
    }
    assert(rest.n == 0);
    return IPP_REPLACE;
}

/* Values are dropped, replaced and kept as their last octets say. */
static enum ipp_action some(void *arg, const struct ipp_place *at, const struct ipp_value *v,
                            struct ipp_edit *ret)
{
    (void)arg;
    assert(at->depth <= IPP_DEPTH_MAX);
    switch (v->value.n ? v->value.p[v->value.n - 1] & 7 : 0) {
    case 1:
    case 2: return IPP_DROP;
    case 3: return IPP_DROP_ATTRIBUTE;
    case 4: *ret = (struct ipp_edit){IPP_VALUE_URI, SPAN("ipp://localhost/")}; return IPP_REPLACE;
    default: return IPP_KEEP;
    }
}

/* The preamble must stay for the answer to be legal. */
static enum ipp_action ask(void *arg, const struct ipp_place *at, const struct ipp_attribute *a,
                           struct ipp_writer *w)
{
    (void)arg;
    (void)w;
    if (at->group == IPP_GROUP_OPERATION)
        return IPP_KEEP;
    return a->name.n & 1 ? IPP_ASK : IPP_KEEP;
}

static void check_members(struct span members)
{
    struct ipp_attribute member;

    while (ipp_member_next(&members, &member))
        assert(member.name.n > 0 && member.values.n > 0);
    assert(members.n == 0);
}

static void check_walk(const struct ipp_message *m)
{
    struct ipp_group g;
    struct ipp_attribute a;
    struct ipp_value v;
    unsigned n = 0;

    for (struct span gs = m->groups; ipp_group_next(&gs, &g);) {
        for (struct span as = g.attributes; ipp_attribute_next(&as, &a); n++) {
            assert(a.name.n > 0);
            for (struct span vs = a.values; ipp_value_next(&vs, &v);)
                check_members(v.members);
        }
    }
    assert(n == m->n_attributes);
}

/* ---- rewriting ---- */

static void check_same(const struct ipp_message *m, const struct ipp_rewrite_rules *rules)
{
    struct buf out;

    buf_init(&out, m->octets.n);
    assert(ipp_rewrite(m, rules, NULL, &out) == OK);
    assert(span_eq(buf_span(&out), m->octets));
    buf_done(&out);
}

static void check_edits(const struct ipp_message *m)
{
    static const struct ipp_rewrite_rules rules = {.attribute = ask, .value = some};
    struct ipp_limits larger = {.size_max = 1u << 20, .attributes_max = 32, .depth_max = 4};
    struct ipp_message again;
    struct buf out;

    buf_init(&out, 0);
    assert(ipp_rewrite(m, &rules, NULL, &out) == OK);
    assert(ipp_message_parse(IPP_RESPONSE, buf_span(&out), &larger, &again, NULL) == OK);
    assert(again.n_attributes <= m->n_attributes && again.header.code == m->header.code);
    buf_done(&out);
}

/* Where the scanner has no doubt there is nothing to find. */
static void check_doubt(enum ipp_kind kind, struct span in)
{
    struct ipp_fault f = {IPP_FLAW_NONE, 0}, doubted = {IPP_FLAW_NONE, 0};
    struct ipp_scan s = {.at = 0};
    struct ipp_message m;
    size_t used;

    if (ipp_scan_feed(&s, &limits, in, &used, NULL) != OK || used < in.n)
        return;
    enum err e = ipp_message_read(kind, in, &s, &m, &f);

    s.doubt = true;
    assert(e == ipp_message_read(kind, in, &s, &m, &doubted));
    assert(f.flaw == doubted.flaw && f.off == doubted.off);
}

static void check_parse(enum ipp_kind kind, struct span in, const struct result *scanned)
{
    static const struct ipp_rewrite_rules keep = {.request_id = 0};
    static const struct ipp_rewrite_rules writer = {.attribute = through_writer};
    struct ipp_fault f = {IPP_FLAW_NONE, 0};
    struct ipp_message m;
    enum err e = ipp_message_parse(kind, in, &limits, &m, &f);

    assert(e == ipp_flaw_err(f.flaw) && f.off <= in.n);
    check_doubt(kind, in);
    if (scanned->err == ERR_AGAIN)
        assert(f.flaw == IPP_FLAW_TRUNCATED);
    else if (scanned->err != OK)
        assert(f.flaw == scanned->fault.flaw && f.off == scanned->fault.off);
    else if (scanned->at < in.n)
        assert(f.flaw == IPP_FLAW_TRAILING);
    else
        assert(e == OK || f.flaw >= IPP_FLAW_VERSION);
    if (e != OK)
        return;
    check_walk(&m);
    check_same(&m, &keep);
    check_same(&m, &writer);
    check_edits(&m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span in;
    struct result whole, cut;
    enum ipp_kind kind;

    if (size < 2)
        return 0;
    kind = data[0] & 1 ? IPP_RESPONSE : IPP_REQUEST;
    in = (struct span){(const char *)data + 1, size - 1};
    whole = scan(in, in.n);
    cut = scan(in, 1 + data[0] / 2u % 32);
    assert(whole.err == cut.err && whole.at == cut.at && whole.doubt == cut.doubt);
    assert(whole.fault.flaw == cut.fault.flaw && whole.fault.off == cut.fault.off);
    check_parse(kind, in, &whole);
    if (whole.err == OK && whole.at < in.n)
        check_parse(kind, span_sub(in, 0, whole.at), &whole);
    return 0;
}
