/* SPDX-License-Identifier: Apache-2.0 */
#include "ipp/ipp_scan.h"

#include <assert.h>

#include "ipp/ipp_cursor.h"

#define HEADER_SIZE 8u /* version-number, operation-id or status-code, request-id */

enum scan_state {
    SS_HEADER, /* before the first tag */
    SS_TAG,
    SS_NAME_LENGTH_1, /* first octet of two */
    SS_NAME_LENGTH_2,
    SS_NAME,
    SS_VALUE_LENGTH_1,
    SS_VALUE_LENGTH_2,
    SS_VALUE,
    SS_END,
    SS_FAILED,
};

/* What may come next in a collection (RFC 8010 3.1.6). One of these is enough for all levels: where
 * a nested collection ends, the member that holds it has its value. */
enum scan_expect {
    EXPECT_ANY,    /* a further value, the next member, the end */
    EXPECT_MEMBER, /* the next member, or the end: no value without a name */
    EXPECT_VALUE,  /* the value of the member whose name was read */
};

static enum err refuse(struct ipp_scan *s, enum ipp_flaw flaw, struct ipp_fault *reterr)
{
    s->state = SS_FAILED;
    return ipp_fault_set(reterr, flaw, s->at);
}

/* ---- tags ---- */

static enum err take_delimiter(struct ipp_scan *s, uint8_t tag, struct ipp_fault *reterr)
{
    if (s->depth)
        return refuse(
            s, tag == IPP_GROUP_END ? IPP_FLAW_END_IN_COLLECTION : IPP_FLAW_GROUP_IN_COLLECTION,
            reterr);
    if (!s->grouped && tag != IPP_GROUP_OPERATION)
        return refuse(s, IPP_FLAW_FIRST_GROUP, reterr);
    if (s->grouped && tag == IPP_GROUP_OPERATION)
        return refuse(s, IPP_FLAW_SECOND_OPERATION, reterr);
    if (tag == 0)
        return refuse(s, IPP_FLAW_RESERVED_TAG, reterr);
    if (tag != IPP_GROUP_END)
        s->last_group = s->at;
    s->grouped = true;
    s->named = false;
    s->state = tag == IPP_GROUP_END ? SS_END : SS_TAG;
    return OK;
}

/* Why |tag| may not come here, or NONE. */
static inline enum ipp_flaw tag_flaw(const struct ipp_scan *s, const struct ipp_limits *lim,
                                     uint8_t tag)
{
    bool is_end = tag == IPP_VALUE_END_COLLECTION, is_member = tag == IPP_VALUE_MEMBER_NAME;

    if (!s->grouped)
        return IPP_FLAW_FIRST_GROUP;
    if (s->depth == 0 && is_end)
        return IPP_FLAW_STRAY_END;
    if (s->depth == 0 && is_member)
        return IPP_FLAW_STRAY_MEMBER;
    if (s->depth && s->expect == EXPECT_VALUE && (is_end || is_member))
        return IPP_FLAW_MEMBER_VALUE;
    if (s->depth && s->expect == EXPECT_MEMBER && !is_end && !is_member)
        return IPP_FLAW_MEMBER_NAME;
    if (tag == IPP_VALUE_BEGIN_COLLECTION && s->depth == lim->depth_max)
        return IPP_FLAW_TOO_DEEP;
    return IPP_FLAW_NONE;
}

static enum err take_tag(struct ipp_scan *s, const struct ipp_limits *lim, uint8_t tag,
                         struct ipp_fault *reterr)
{
    enum ipp_flaw flaw;

    if (ipp_tag_is_delimiter(tag))
        return take_delimiter(s, tag, reterr);
    flaw = tag_flaw(s, lim, tag);
    if (flaw)
        return refuse(s, flaw, reterr);
    s->tag = tag;
    s->state = SS_NAME_LENGTH_1;
    return OK;
}

/* ---- lengths ---- */

static inline enum ipp_flaw name_flaw(const struct ipp_scan *s, const struct ipp_limits *lim,
                                      size_t n)
{
    if (n > IPP_LENGTH_MAX)
        return IPP_FLAW_NEGATIVE_LENGTH;
    if (s->depth)
        return n ? IPP_FLAW_NAME_IN_COLLECTION : IPP_FLAW_NONE;
    if (n == 0)
        return s->named ? IPP_FLAW_NONE : IPP_FLAW_NO_NAME;
    if (n > IPP_NAME_MAX)
        return IPP_FLAW_NAME_LENGTH;
    return s->n_attributes == lim->attributes_max ? IPP_FLAW_TOO_MANY : IPP_FLAW_NONE;
}

static inline void note_name(struct ipp_scan *s, size_t n)
{
    if (n == 0)
        return;
    s->n_attributes++;
    s->named = true;
}

static enum ipp_flaw value_flaw(uint8_t tag, size_t n)
{
    const struct ipp_tag_row *row = &ipp_tag_rows[tag];

    if (n > IPP_LENGTH_MAX)
        return IPP_FLAW_NEGATIVE_LENGTH;
    return n < row->lengths.min || n > row->longest ? IPP_FLAW_VALUE_LENGTH : IPP_FLAW_NONE;
}

/* May a value of that length be one that ipp_message_read() refuses? */
static inline bool is_doubtful(uint8_t tag, size_t n)
{
    return n > ipp_tag_lengths(tag).max || ipp_tag_has_language(tag);
}

static inline void end_value(struct ipp_scan *s)
{
    s->expect = EXPECT_ANY;
    if (s->tag == IPP_VALUE_BEGIN_COLLECTION) {
        s->depth++;
        s->expect = EXPECT_MEMBER;
    } else if (s->tag == IPP_VALUE_END_COLLECTION) {
        s->depth--;
    } else if (s->tag == IPP_VALUE_MEMBER_NAME) {
        s->expect = EXPECT_VALUE;
    }
    s->state = SS_TAG;
}

/* The second octet of a length is here. The bytes that it announces are refused at once when they
 * go over the limit, however many of them are here already. */
static enum err take_length(struct ipp_scan *s, const struct ipp_limits *lim,
                            struct ipp_fault *reterr)
{
    bool of_name = s->state == SS_NAME_LENGTH_2;
    enum ipp_flaw flaw = of_name ? name_flaw(s, lim, s->number) : value_flaw(s->tag, s->number);

    if (flaw)
        return refuse(s, flaw, reterr);
    if (of_name)
        note_name(s, s->number);
    else
        s->doubt |= is_doubtful(s->tag, s->number);
    if (s->number > lim->size_max - s->at - 1)
        return refuse(s, IPP_FLAW_TOO_LARGE, reterr);
    s->left = s->number;
    if (of_name)
        s->state = s->left ? SS_NAME : SS_VALUE_LENGTH_1;
    else if (s->left)
        s->state = SS_VALUE;
    else
        end_value(s);
    return OK;
}

/* ---- fields ---- */

/* Passes over what is here of a field. */
static enum err take_field(struct ipp_scan *s, struct span in, size_t *ret_used,
                           struct ipp_fault *reterr)
{
    struct span here = span_sub(in, 0, s->left);
    bool is_name = s->state == SS_NAME || s->tag == IPP_VALUE_MEMBER_NAME;

    if (is_name) {
        size_t good = ipp_name_check(here);

        if (good < here.n) {
            s->at += good;
            return refuse(s, IPP_FLAW_NAME_OCTET, reterr);
        }
    } else if (ipp_tag_is_string(s->tag)) {
        s->doubt |= ipp_has_nul(here);
    }
    *ret_used = here.n;
    s->left = (uint16_t)(s->left - here.n);
    if (s->left)
        return OK;
    if (s->state == SS_NAME)
        s->state = SS_VALUE_LENGTH_1;
    else
        end_value(s);
    return OK;
}

static enum err take_header(struct ipp_scan *s, struct span in, size_t *ret_used)
{
    *ret_used = span_sub(in, 0, HEADER_SIZE - s->at).n;
    if (s->at + *ret_used == HEADER_SIZE)
        s->state = SS_TAG;
    return OK;
}

/* One octet, or what is here of a field. */
static enum err take(struct ipp_scan *s, const struct ipp_limits *lim, struct span in,
                     size_t *ret_used, struct ipp_fault *reterr)
{
    uint8_t octet = (uint8_t)in.p[0];

    *ret_used = 1;
    switch ((enum scan_state)s->state) {
    case SS_HEADER: return take_header(s, in, ret_used);
    case SS_TAG: return take_tag(s, lim, octet, reterr);
    case SS_NAME_LENGTH_1:
    case SS_VALUE_LENGTH_1:
        s->number = (uint16_t)(octet << 8);
        s->state++;
        return OK;
    case SS_NAME_LENGTH_2:
    case SS_VALUE_LENGTH_2:
        s->number = (uint16_t)(s->number | octet);
        return take_length(s, lim, reterr);
    case SS_NAME:
    case SS_VALUE: return take_field(s, in, ret_used, reterr);
    case SS_END:
    case SS_FAILED: break;
    }
    return ERR_BUG;
}

/* Is nothing wrong with the shape of that record? What is no structure may be anywhere in a group,
 * but not where a collection says what is next. */
static inline bool is_good(const struct ipp_scan *s, const struct ipp_limits *lim,
                           const struct ipp_record *r, const struct ipp_tag_row *row)
{
    struct span name = r->tag == IPP_VALUE_MEMBER_NAME ? r->value : r->name;

    if (row->is_structure || s->depth || !s->grouped) {
        if (ipp_tag_is_delimiter(r->tag) || tag_flaw(s, lim, r->tag))
            return false;
    }
    return !name_flaw(s, lim, r->name.n) && r->value.n >= row->lengths.min &&
           r->value.n <= row->longest && (name.n == 0 || ipp_name_is_good(name));
}

/* Passes over records of which all is here and nothing is wrong: most are such. What is wrong with
 * others their octets tell one by one. Returns the octets taken. */
static size_t take_records(struct ipp_scan *s, const struct ipp_limits *lim, struct span in)
{
    struct span rest = span_sub(in, 0, lim->size_max - s->at), behind = rest;
    struct ipp_record r;

    while (ipp_record_next(&behind, &r) && is_good(s, lim, &r, &ipp_tag_rows[r.tag])) {
        note_name(s, r.name.n);
        s->doubt |=
            is_doubtful(r.tag, r.value.n) || (ipp_tag_is_string(r.tag) && ipp_has_nul(r.value));
        s->tag = r.tag;
        end_value(s);
        rest = behind;
    }
    return (size_t)(rest.p - in.p);
}

enum err ipp_scan_feed(struct ipp_scan *s, const struct ipp_limits *lim, struct span in,
                       size_t *ret_used, struct ipp_fault *reterr)
{
    size_t begin = s->at;

    assert(lim->depth_max <= IPP_DEPTH_MAX && lim->size_max >= HEADER_SIZE);
    *ret_used = 0;
    if (s->state == SS_END || s->state == SS_FAILED)
        return ERR_BUG;
    while (in.n && s->state != SS_END) {
        size_t used;

        if (s->at >= lim->size_max)
            return refuse(s, IPP_FLAW_TOO_LARGE, reterr);
        used = s->state == SS_TAG ? take_records(s, lim, in) : 0;
        if (used == 0)
            TRY(take(s, lim, in, &used, reterr));
        s->at += used;
        in = span_sub(in, used, SIZE_MAX);
    }
    *ret_used = s->at - begin;
    return s->state == SS_END ? OK : ERR_AGAIN;
}
