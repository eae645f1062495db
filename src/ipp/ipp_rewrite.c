/* SPDX-License-Identifier: Apache-2.0 */
#include "ipp/ipp_rewrite.h"

#include <assert.h>

#include "base/reader.h"

#define ROOM_TO_ADD 512u

/* What values are written into: at depth 0 the attribute, below a member of a collection. */
struct level {
    struct span member;
    size_t begin; /* where its octets begin in |out| */
    bool open;
    bool has_value;
};

struct rewrite {
    const struct ipp_rewrite_rules *rules;
    void *arg;
    struct buf *out;
    struct ipp_place at;
    struct span run; /* attributes that stay, side by side in |m|; not in |out| yet */
    bool ask;        /* about every value of the attribute */
    struct level levels[IPP_DEPTH_MAX + 1];
};

/* ---- runs ---- */

/* At |at| of |out|: what a callback has written is behind it then. */
static void put_run(struct rewrite *r, size_t at)
{
    struct span run = r->run;
    char *room = run.n ? buf_reserve(r->out, run.n) : NULL;

    r->run = SPAN_NONE;
    if (!room)
        return;
    memmove(r->out->p + at + run.n, r->out->p + at, r->out->n - at);
    memcpy(r->out->p + at, run.p, run.n);
    r->out->n += run.n;
}

static void add_to_run(struct rewrite *r, struct span octets)
{
    if (r->run.n && r->run.p + r->run.n == octets.p) {
        r->run.n += octets.n;
    } else {
        put_run(r, r->out->n);
        r->run = octets;
    }
}

/* ---- values ---- */

/* RFC 8010 3.1.5: the first value of an attribute carries the name, whichever it was before. */
static void put_value(struct rewrite *r, uint8_t tag, struct span value)
{
    struct level *l = &r->levels[r->at.depth];
    bool is_first = r->at.depth == 0 && !l->has_value;

    ipp_record_add(r->out, tag, is_first ? r->at.attribute : SPAN_NONE, value);
    l->has_value = true;
}

static void keep_value(struct rewrite *r, const struct ipp_record *record)
{
    struct level *l = &r->levels[r->at.depth];
    bool is_first = r->at.depth == 0 && !l->has_value;

    if (is_first == (record->name.n > 0))
        buf_add(r->out, record->octets);
    else
        put_value(r, record->tag, record->value);
    l->has_value = true;
}

static enum err edit_value(struct rewrite *r, const struct ipp_record *record, bool *ret_gone)
{
    struct ipp_value v = {.tag = record->tag, .value = record->value};
    struct ipp_edit edit = {.tag = record->tag, .value = record->value};
    bool asked = r->rules->value && (r->ask || record->tag == IPP_VALUE_URI);

    switch (asked ? r->rules->value(r->arg, &r->at, &v, &edit) : IPP_KEEP) {
    case IPP_KEEP: keep_value(r, record); return OK;
    case IPP_REPLACE:
        TRY(ipp_value_check(edit.tag, edit.value));
        put_value(r, edit.tag, edit.value);
        return OK;
    case IPP_DROP: return OK;
    case IPP_DROP_ATTRIBUTE: *ret_gone = true; return OK;
    case IPP_ASK: break;
    }
    return ERR_BUG;
}

/* ---- members ---- */

static void show_member(struct rewrite *r)
{
    r->at.member = r->levels[r->at.depth].member;
}

/* A member that lost all of its values goes. */
static void end_member(struct rewrite *r)
{
    struct level *l = &r->levels[r->at.depth];

    if (l->open && !l->has_value)
        r->out->n = l->begin;
    l->open = false;
}

static void begin_member(struct rewrite *r, const struct ipp_record *record)
{
    end_member(r);
    r->levels[r->at.depth] =
        (struct level){.member = record->value, .begin = r->out->n, .open = true};
    buf_add(r->out, record->octets);
    show_member(r);
}

static void begin_collection(struct rewrite *r)
{
    put_value(r, IPP_VALUE_BEGIN_COLLECTION, SPAN_NONE);
    assert(r->at.depth < IPP_DEPTH_MAX); /* ipp_message_parse() */
    r->at.depth++;
    r->levels[r->at.depth] = (struct level){.begin = r->out->n};
    show_member(r);
}

static void end_collection(struct rewrite *r, const struct ipp_record *record)
{
    end_member(r);
    buf_add(r->out, record->octets);
    r->at.depth--;
    show_member(r);
}

/* ---- attributes ---- */

static enum err copy_record(struct rewrite *r, const struct ipp_record *record, bool *ret_gone)
{
    if (record->tag == IPP_VALUE_BEGIN_COLLECTION)
        begin_collection(r);
    else if (record->tag == IPP_VALUE_MEMBER_NAME)
        begin_member(r, record);
    else if (record->tag == IPP_VALUE_END_COLLECTION)
        end_collection(r, record);
    else
        return edit_value(r, record, ret_gone);
    return OK;
}

/* As ipp_attribute_next(), and whether there is a uri among its values or in their collections. */
static bool next_attribute(struct span *rest, struct ipp_attribute *ret, bool *ret_has_uri)
{
    struct span s = *rest;
    size_t name, n = ipp_record_measure(s, &name);

    if (n <= 1)
        return false;
    *ret = (struct ipp_attribute){
        .name = {s.p + 3, name},
          .tag = (uint8_t)s.p[0], .values = {s.p,     0   }
    };
    *ret_has_uri = false;
    do {
        *ret_has_uri |= s.p[0] == IPP_VALUE_URI;
        s = (struct span){s.p + n, s.n - n};
        n = ipp_record_measure(s, &name);
    } while (n > 1 && name == 0);
    ret->values.n = rest->n - s.n;
    *rest = s;
    return true;
}

/* The records one after the other, with a level for each collection that is open: peers decide how
 * deep it goes, so nothing here calls itself. */
static enum err copy_attribute(struct rewrite *r, const struct ipp_attribute *a, bool has_uri)
{
    struct span rest = a->values;
    struct ipp_record record;
    bool gone = false;
    size_t begin;

    if (!r->rules->value || !(r->ask || has_uri)) { /* nobody asks: it goes as it is */
        add_to_run(r, a->values);
        return OK;
    }
    put_run(r, r->out->n);
    begin = r->out->n;
    r->levels[0] = (struct level){.begin = begin, .open = true};
    while (!gone && ipp_record_next(&rest, &record))
        TRY(copy_record(r, &record, &gone));
    if (gone)
        r->out->n = begin;
    r->at.depth = 0;
    r->at.member = SPAN_NONE;
    return OK;
}

static enum err edit_attribute(struct rewrite *r, const struct ipp_attribute *a, bool has_uri)
{
    struct ipp_writer w;
    enum ipp_action action = IPP_KEEP;

    r->at.attribute = a->name;
    ipp_write_part(&w, r->out);
    if (r->rules->attribute)
        action = r->rules->attribute(r->arg, &r->at, a, &w);
    if (action == IPP_REPLACE) {
        TRY(ipp_write_part_end(&w));
        put_run(r, w.begin);
        return OK;
    }
    r->out->n = w.begin;
    r->ask = action == IPP_ASK;
    if (action == IPP_KEEP || action == IPP_ASK)
        return copy_attribute(r, a, has_uri);
    return action == IPP_DROP ? OK : ERR_BUG;
}

/* ---- groups ---- */

static enum err end_group(struct rewrite *r)
{
    struct ipp_writer w;

    r->at.attribute = SPAN_NONE;
    put_run(r, r->out->n);
    if (!r->rules->group_end)
        return OK;
    ipp_write_part(&w, r->out);
    r->rules->group_end(r->arg, &r->at, &w);
    return ipp_write_part_end(&w);
}

/* As ipp_group_next(); but where the last one ends is known, which is nearly all of an answer. */
static bool next_group(const struct ipp_message *m, struct span *rest, struct ipp_group *ret)
{
    if (rest->p != m->octets.p + m->last_group)
        return ipp_group_next(rest, ret);
    *ret = (struct ipp_group){
        (uint8_t)rest->p[0], {rest->p + 1, rest->n - 1}
    };
    *rest = span_sub(*rest, rest->n, 0);
    return true;
}

static enum err copy_group(struct rewrite *r, const struct ipp_group *g)
{
    struct ipp_attribute a;
    enum ipp_action action = IPP_KEEP;
    bool has_uri;

    if (r->rules->group)
        action = r->rules->group(r->arg, &r->at, g);
    if (action == IPP_DROP && r->at.group_index > 0)
        return OK;
    if (action != IPP_KEEP)
        return ERR_BUG;
    buf_char(r->out, (char)g->tag);
    for (struct span rest = g->attributes; next_attribute(&rest, &a, &has_uri);)
        TRY(edit_attribute(r, &a, has_uri));
    return end_group(r);
}

static void copy_header(struct rewrite *r, const struct ipp_message *m)
{
    char room[IPP_HEADER_SIZE];
    struct writer w = writer_of(room, sizeof room);

    write_span(&w, span_sub(m->octets, 0, 4));
    write_u32(&w, r->rules->request_id ? r->rules->request_id : m->header.request_id);
    buf_add(r->out, writer_span(&w));
}

static enum err copy_message(struct rewrite *r, const struct ipp_message *m)
{
    struct ipp_group g;

    if (!r->out->max) /* nothing is left out of most, and little is added */
        (void)buf_reserve(r->out, m->octets.n + ROOM_TO_ADD);
    copy_header(r, m);
    for (struct span rest = m->groups; next_group(m, &rest, &g);) {
        r->at.group = g.tag;
        r->at.attribute = SPAN_NONE;
        TRY(copy_group(r, &g));
        r->at.group_index++;
    }
    buf_char(r->out, IPP_GROUP_END);
    return r->out->err;
}

enum err ipp_rewrite(const struct ipp_message *m, const struct ipp_rewrite_rules *rules, void *arg,
                     struct buf *out)
{
    struct rewrite r = {.rules = rules, .arg = arg, .out = out};
    size_t begin = out->n;
    enum err e = copy_message(&r, m);

    if (e)
        out->n = begin;
    return e;
}
