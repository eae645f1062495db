/* SPDX-License-Identifier: Apache-2.0 */
/* ipp_cursor.h - walks over the groups, attributes, values and collection members of a message that
 * ipp_message_parse() accepted (RFC 8010 3.1). A cursor is a span: of what is left. Each call cuts
 * the next thing off its front.
 *
 *     for (struct span gs = m->groups; ipp_group_next(&gs, &group);)
 *         for (struct span as = group.attributes; ipp_attribute_next(&as, &attribute);)
 *             for (struct span vs = attribute.values; ipp_value_next(&vs, &value);)
 *                 for (struct span ms = value.members; ipp_member_next(&ms, &member);)
 *
 * Everything found is a view into the message: it lives as long as that, and nothing is allocated.
 * Pure functions: any thread. */
#ifndef IPP_CURSOR_H
#define IPP_CURSOR_H

#include "base/span.h"
#include "ipp/ipp_tags.h"

/* One delimiter tag, or one tag with its name and its value (RFC 8010 3.1.4, 3.1.5, 3.1.7): what
 * the encoding itself consists of. */
struct ipp_record {
    uint8_t tag;
    struct span name, value; /* SPAN_NONE at a delimiter */
    struct span octets;      /* the whole record */
};

struct ipp_group {
    uint8_t tag;
    struct span attributes; /* without the tag */
};

/* An attribute of a group, or a member of a collection (which is one but for its spelling). */
struct ipp_attribute {
    struct span name;
    uint8_t tag;        /* of its first value */
    struct span values; /* records: of an attribute the first one has the name, too */
};

struct ipp_value {
    uint8_t tag;
    struct span value;   /* octets without tag and lengths; of a collection none */
    struct span members; /* of a collection: the records between its tags */
};

#define IPP_RECORD_MIN 5u /* a tag and both lengths */

static inline size_t ipp_u16_at(struct span s, size_t off)
{
    return (size_t)(uint8_t)s.p[off] << 8 | (uint8_t)s.p[off + 1];
}

/* How many octets of |s| its first record has, and how many of these its name; 0: there is none.
 * All walks come through here, several times for each record of an answer. */
static inline size_t ipp_record_measure(struct span s, size_t *ret_name)
{
    size_t name, size;

    *ret_name = 0;
    if (s.n == 0)
        return 0;
    if (ipp_tag_is_delimiter((uint8_t)s.p[0]))
        return 1;
    if (s.n < IPP_RECORD_MIN)
        return 0;
    name = ipp_u16_at(s, 1);
    if (name > s.n - IPP_RECORD_MIN)
        return 0;
    size = IPP_RECORD_MIN + name + ipp_u16_at(s, 3 + name);
    *ret_name = name;
    return size <= s.n ? size : 0;
}

/* False at the end, and where the rest is no record, which no accepted message has. */
static inline bool ipp_record_next(struct span *rest, struct ipp_record *ret)
{
    size_t name, n = ipp_record_measure(*rest, &name);
    struct span s = *rest;

    if (n == 0)
        return false;
    *ret = (struct ipp_record){
        .tag = (uint8_t)s.p[0], .octets = {s.p, n}
    };
    if (n > 1) {
        ret->name = (struct span){s.p + 3, name};
        ret->value = (struct span){s.p + IPP_RECORD_MIN + name, n - IPP_RECORD_MIN - name};
    }
    *rest = (struct span){s.p + n, s.n - n};
    return true;
}
/* The next group of message.groups. */
bool ipp_group_next(struct span *rest, struct ipp_group *ret);
/* The next attribute of group.attributes, all its values with it. */
bool ipp_attribute_next(struct span *rest, struct ipp_attribute *ret);
/* The next value of attribute.values or of a member's; a collection is one value. */
bool ipp_value_next(struct span *rest, struct ipp_value *ret);
/* The next member of value.members (RFC 8010 3.1.7). */
bool ipp_member_next(struct span *rest, struct ipp_attribute *ret);

/* The attribute of that name in group.attributes (also: the member, in value.members, with
 * ipp_member_find). Names compare without case, as CUPS compares them. ERR_MISSING: there is none;
 * ERR_PROTO: there are two (RFC 8010 3.1.3 forbids it), and readers may differ in which they take.
 */
NODISCARD enum err ipp_attribute_find(struct span attributes, struct span name,
                                      struct ipp_attribute *ret);
NODISCARD enum err ipp_member_find(struct span members, struct span name,
                                   struct ipp_attribute *ret);
/* The only value of the attribute, if it has that tag. False: more values, or another tag. */
bool ipp_attribute_single(const struct ipp_attribute *a, uint8_t tag, struct ipp_value *ret);

/* What a value says. False when its tag is another one. */
bool ipp_value_integer(const struct ipp_value *v, int32_t *ret); /* integer, enum */
bool ipp_value_boolean(const struct ipp_value *v, bool *ret);
bool ipp_value_range(const struct ipp_value *v, int32_t *ret_lower, int32_t *ret_upper);
/* Any character string, text and name with language among them: their text without the language. */
bool ipp_value_text(const struct ipp_value *v, struct span *ret);
/* text and name with language (RFC 8010 3.9): both parts. */
bool ipp_value_language(const struct ipp_value *v, struct span *ret_language,
                        struct span *ret_text);

#endif
