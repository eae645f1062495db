/* SPDX-License-Identifier: Apache-2.0 */
#include "ipp/ipp_cursor.h"

#include "base/reader.h"

/* ---- records ---- */

static struct span behind(struct span s, size_t n)
{
    return (struct span){s.p + n, s.n - n};
}

/* The part of |whole| that is before |rest|, which is its end. */
static struct span before(struct span whole, struct span rest)
{
    return span_sub(whole, 0, whole.n - rest.n);
}

/* Takes records up to where the collection that began is over. False when it never is. */
static bool skip_collection(struct span *rest, struct span *ret_members)
{
    struct span whole = *rest, at = *rest;
    struct ipp_record record;
    size_t depth = 1;

    while (ipp_record_next(rest, &record)) {
        if (record.tag == IPP_VALUE_BEGIN_COLLECTION)
            depth++;
        if (record.tag == IPP_VALUE_END_COLLECTION && --depth == 0) {
            *ret_members = before(whole, at);
            return true;
        }
        at = *rest;
    }
    return false;
}

/* ---- groups, attributes, values, members ---- */

bool ipp_group_next(struct span *rest, struct ipp_group *ret)
{
    struct ipp_record record;
    struct span all;
    size_t name, n;

    if (!ipp_record_next(rest, &record))
        return false;
    all = *rest;
    while ((n = ipp_record_measure(*rest, &name)) > 1)
        *rest = behind(*rest, n);
    *ret = (struct ipp_group){record.tag, before(all, *rest)};
    return true;
}

bool ipp_attribute_next(struct span *rest, struct ipp_attribute *ret)
{
    struct span all = *rest;
    struct ipp_record first;
    size_t name, n;

    if (!ipp_record_next(rest, &first))
        return false;
    while ((n = ipp_record_measure(*rest, &name)) > 1 && name == 0)
        *rest = behind(*rest, n);
    *ret = (struct ipp_attribute){first.name, first.tag, before(all, *rest)};
    return true;
}

bool ipp_value_next(struct span *rest, struct ipp_value *ret)
{
    struct ipp_record record;
    struct ipp_value value;

    if (!ipp_record_next(rest, &record))
        return false;
    value = (struct ipp_value){.tag = record.tag, .value = record.value};
    if (record.tag == IPP_VALUE_BEGIN_COLLECTION && !skip_collection(rest, &value.members))
        return false;
    *ret = value;
    return true;
}

bool ipp_member_next(struct span *rest, struct ipp_attribute *ret)
{
    struct ipp_record name, record;
    struct ipp_value value;
    struct span all, at;

    if (!ipp_record_next(rest, &name))
        return false;
    all = at = *rest;
    while (ipp_record_next(&at, &record) && record.tag != IPP_VALUE_MEMBER_NAME) {
        if (!ipp_value_next(rest, &value))
            return false;
        at = *rest;
    }
    *ret = (struct ipp_attribute){name.value, all.n ? (uint8_t)all.p[0] : 0, before(all, *rest)};
    return true;
}

/* ---- finding ---- */

static enum err find(struct span rest, struct span name, struct ipp_attribute *ret,
                     bool (*next)(struct span *, struct ipp_attribute *))
{
    struct ipp_attribute a, found = {.tag = 0};
    unsigned n = 0;

    while (next(&rest, &a)) {
        if (!ipp_name_eq(a.name, name))
            continue;
        if (n++)
            return ERR_PROTO;
        found = a;
    }
    if (n)
        *ret = found;
    return n ? OK : ERR_MISSING;
}

enum err ipp_attribute_find(struct span attributes, struct span name, struct ipp_attribute *ret)
{
    return find(attributes, name, ret, ipp_attribute_next);
}

enum err ipp_member_find(struct span members, struct span name, struct ipp_attribute *ret)
{
    return find(members, name, ret, ipp_member_next);
}

bool ipp_attribute_single(const struct ipp_attribute *a, uint8_t tag, struct ipp_value *ret)
{
    struct span rest = a->values;

    return a->tag == tag && ipp_value_next(&rest, ret) && rest.n == 0;
}

/* ---- what values say ---- */

bool ipp_value_integer(const struct ipp_value *v, int32_t *ret)
{
    bool is_number = v->tag == IPP_VALUE_INTEGER || v->tag == IPP_VALUE_ENUM;

    if (!is_number || v->value.n < sizeof *ret)
        return false;
    *ret = (int32_t)(ipp_u16_at(v->value, 0) << 16 | ipp_u16_at(v->value, 2));
    return true;
}

bool ipp_value_boolean(const struct ipp_value *v, bool *ret)
{
    if (v->tag != IPP_VALUE_BOOLEAN || v->value.n != 1)
        return false;
    *ret = v->value.p[0] != 0;
    return true;
}

bool ipp_value_range(const struct ipp_value *v, int32_t *ret_lower, int32_t *ret_upper)
{
    struct reader r = reader_of(v->value.p, v->value.n);

    if (v->tag != IPP_VALUE_RANGE)
        return false;
    *ret_lower = (int32_t)read_u32(&r);
    *ret_upper = (int32_t)read_u32(&r);
    return r.err == OK;
}

bool ipp_value_language(const struct ipp_value *v, struct span *ret_language, struct span *ret_text)
{
    struct reader r = reader_of(v->value.p, v->value.n);

    if (v->tag != IPP_VALUE_TEXT_LANGUAGE && v->tag != IPP_VALUE_NAME_LANGUAGE)
        return false;
    *ret_language = read_span(&r, read_u16(&r));
    *ret_text = read_span(&r, read_u16(&r));
    return r.err == OK && reader_left(&r) == 0;
}

bool ipp_value_text(const struct ipp_value *v, struct span *ret)
{
    struct span language;

    if (ipp_tag_is_string(v->tag)) {
        *ret = v->value;
        return true;
    }
    return ipp_value_language(v, &language, ret);
}
