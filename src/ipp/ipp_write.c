/* SPDX-License-Identifier: Apache-2.0 */
#include "ipp/ipp_write.h"

#include "base/reader.h"
#include "base/utf8.h"
#include "ipp/ipp_scan.h"

#define CLEAN_MAX 255u /* RFC 8011 4.1.6.2, 5.1.3 */

static void fail(struct ipp_writer *w, enum err e)
{
    if (!w->err)
        w->err = e;
}

/* ---- octets ---- */

/* In one piece: room for all of it, or an error and nothing. */
void ipp_record_add(struct buf *out, uint8_t tag, struct span name, struct span value)
{
    size_t n = 1 + 2 + name.n + 2 + value.n;
    char *room = buf_reserve(out, n);
    struct writer w = writer_of(room, n);

    if (!room)
        return;
    write_u8(&w, tag);
    write_u16(&w, (uint16_t)name.n);
    write_span(&w, name);
    write_u16(&w, (uint16_t)value.n);
    write_span(&w, value);
    out->n += w.n;
}

/* ---- names and lengths ---- */

static void check_name(struct ipp_writer *w, struct span name)
{
    if (!w->grouped || (name.n == 0 && !w->named))
        fail(w, ERR_BUG);
    else if (name.n > IPP_NAME_MAX)
        fail(w, ERR_LIMIT);
    else if (ipp_name_check(name) < name.n)
        fail(w, ERR_SYNTAX);
}

/* The name, where it belongs: in the record itself, or before it as a member's. Returns what the
 * record is to say. */
static struct span begin_value(struct ipp_writer *w, struct span name)
{
    w->named = true;
    if (w->depth == 0)
        return name;
    if (name.n)
        ipp_record_add(w->out, IPP_VALUE_MEMBER_NAME, SPAN_NONE, name);
    return SPAN_NONE;
}

static bool is_structure(uint8_t tag)
{
    return ipp_tag_is_delimiter(tag) || tag == IPP_VALUE_BEGIN_COLLECTION ||
           tag == IPP_VALUE_END_COLLECTION || tag == IPP_VALUE_MEMBER_NAME;
}

enum err ipp_value_check(uint8_t tag, struct span value)
{
    struct ipp_lengths bounds = ipp_tag_lengths(tag);

    if (is_structure(tag))
        return ERR_BUG;
    if (value.n < bounds.min || value.n > bounds.max)
        return ERR_LIMIT;
    if (ipp_tag_is_string(tag) && span_find(value, '\0') < value.n)
        return ERR_SYNTAX;
    return OK;
}

/* ---- the message ---- */

void ipp_write_begin(struct ipp_writer *w, struct buf *out, uint8_t major, uint8_t minor,
                     uint16_t code, uint32_t request_id)
{
    uint8_t room[8];
    struct writer header = writer_of(room, sizeof room);

    *w = (struct ipp_writer){.out = out, .begin = out->n};
    write_u8(&header, major);
    write_u8(&header, minor);
    write_u16(&header, code);
    write_u32(&header, request_id);
    buf_add(out, writer_span(&header));
}

void ipp_write_group(struct ipp_writer *w, uint8_t tag)
{
    /* The first group, and no other, is operation-attributes. */
    if (w->part || w->depth || !ipp_tag_is_delimiter(tag) || tag == 0 || tag == IPP_GROUP_END ||
        w->grouped == (tag == IPP_GROUP_OPERATION))
        fail(w, ERR_BUG);
    if (w->err)
        return;
    buf_char(w->out, (char)tag);
    w->grouped = true;
    w->named = false;
}

void ipp_write_value(struct ipp_writer *w, uint8_t tag, struct span name, struct span value)
{
    check_name(w, name);
    fail(w, ipp_value_check(tag, value));
    if (w->err)
        return;
    name = begin_value(w, name);
    ipp_record_add(w->out, tag, name, value);
}

static enum err end(struct ipp_writer *w)
{
    if (w->depth || !w->grouped)
        fail(w, ERR_BUG);
    fail(w, w->out->err);
    if (w->err)
        w->out->n = w->begin;
    return w->err;
}

enum err ipp_write_end(struct ipp_writer *w)
{
    if (w->part)
        fail(w, ERR_BUG);
    buf_char(w->out, IPP_GROUP_END);
    return end(w);
}

void ipp_write_part(struct ipp_writer *w, struct buf *out)
{
    *w = (struct ipp_writer){.out = out, .begin = out->n, .grouped = true, .part = true};
}

enum err ipp_write_part_end(struct ipp_writer *w)
{
    if (!w->part)
        fail(w, ERR_BUG);
    return end(w);
}

/* ---- values by type ---- */

void ipp_write_string(struct ipp_writer *w, uint8_t tag, struct span name, struct span text)
{
    if (!ipp_tag_is_string(tag))
        fail(w, ERR_BUG);
    ipp_write_value(w, tag, name, text);
}

/* C1 controls are characters of two octets. */
static bool is_control(struct span c)
{
    unsigned char first = (unsigned char)c.p[0];

    return first < ' ' || first == 0x7f || (first == 0xc2 && (unsigned char)c.p[1] < 0xa0);
}

static void write_whole(struct writer *w, struct span text)
{
    while (text.n) {
        size_t n = utf8_len(text);
        struct span next = span_sub(text, 0, n);

        if (n == 0 || is_control(next))
            next = SPAN("?");
        if (next.n > w->cap - w->n)
            return;
        write_span(w, next);
        text = span_sub(text, n ? n : 1, SIZE_MAX);
    }
}

void ipp_write_clean(struct ipp_writer *w, uint8_t tag, struct span name, struct span text)
{
    char room[CLEAN_MAX];
    struct writer clean = writer_of(room, sizeof room);

    write_whole(&clean, text);
    ipp_write_string(w, tag, name, writer_span(&clean));
}

void ipp_write_language(struct ipp_writer *w, uint8_t tag, struct span name, struct span language,
                        struct span text)
{
    char room[IPP_TEXT_LANGUAGE_MAX];
    struct writer value = writer_of(room, sizeof room);

    if (tag != IPP_VALUE_TEXT_LANGUAGE && tag != IPP_VALUE_NAME_LANGUAGE)
        fail(w, ERR_BUG);
    if (language.n > ipp_tag_lengths(IPP_VALUE_LANGUAGE).max)
        fail(w, ERR_LIMIT);
    write_u16(&value, (uint16_t)language.n);
    write_span(&value, language);
    write_u16(&value, (uint16_t)text.n);
    write_span(&value, text);
    fail(w, value.err);
    if (span_find(language, '\0') < language.n || span_find(text, '\0') < text.n)
        fail(w, ERR_SYNTAX);
    ipp_write_value(w, tag, name, writer_span(&value));
}

static void write_number(struct ipp_writer *w, uint8_t tag, struct span name, int32_t v)
{
    uint8_t room[4];
    struct writer value = writer_of(room, sizeof room);

    write_u32(&value, (uint32_t)v);
    ipp_write_value(w, tag, name, writer_span(&value));
}

void ipp_write_integer(struct ipp_writer *w, struct span name, int32_t value)
{
    write_number(w, IPP_VALUE_INTEGER, name, value);
}

void ipp_write_enum(struct ipp_writer *w, struct span name, int32_t value)
{
    write_number(w, IPP_VALUE_ENUM, name, value);
}

void ipp_write_boolean(struct ipp_writer *w, struct span name, bool value)
{
    ipp_write_value(w, IPP_VALUE_BOOLEAN, name, (struct span){value ? "\1" : "\0", 1});
}

void ipp_write_range(struct ipp_writer *w, struct span name, int32_t lower, int32_t upper)
{
    uint8_t room[8];
    struct writer value = writer_of(room, sizeof room);

    write_u32(&value, (uint32_t)lower);
    write_u32(&value, (uint32_t)upper);
    ipp_write_value(w, IPP_VALUE_RANGE, name, writer_span(&value));
}

void ipp_write_resolution(struct ipp_writer *w, struct span name, int32_t x, int32_t y,
                          int8_t units)
{
    uint8_t room[9];
    struct writer value = writer_of(room, sizeof room);

    write_u32(&value, (uint32_t)x);
    write_u32(&value, (uint32_t)y);
    write_u8(&value, (uint8_t)units);
    ipp_write_value(w, IPP_VALUE_RESOLUTION, name, writer_span(&value));
}

void ipp_write_out_of_band(struct ipp_writer *w, uint8_t tag, struct span name)
{
    if (tag < 0x10 || tag > 0x1f)
        fail(w, ERR_BUG);
    ipp_write_value(w, tag, name, SPAN_NONE);
}

/* ---- collections ---- */

void ipp_write_collection(struct ipp_writer *w, struct span name)
{
    check_name(w, name);
    if (w->depth == IPP_DEPTH_MAX)
        fail(w, ERR_LIMIT);
    if (w->err)
        return;
    name = begin_value(w, name);
    ipp_record_add(w->out, IPP_VALUE_BEGIN_COLLECTION, name, SPAN_NONE);
    w->depth++;
    w->named = false;
}

void ipp_write_collection_end(struct ipp_writer *w)
{
    if (w->depth == 0)
        fail(w, ERR_BUG);
    if (w->err)
        return;
    ipp_record_add(w->out, IPP_VALUE_END_COLLECTION, SPAN_NONE, SPAN_NONE);
    w->depth--;
    w->named = true;
}

static size_t depth_of(struct span members)
{
    struct ipp_record r;
    size_t depth = 0, max = 0;

    while (ipp_record_next(&members, &r)) {
        if (r.tag == IPP_VALUE_BEGIN_COLLECTION && ++depth > max)
            max = depth;
        if (r.tag == IPP_VALUE_END_COLLECTION)
            depth--;
    }
    return max;
}

void ipp_write_copy(struct ipp_writer *w, struct span name, const struct ipp_value *v)
{
    if (v->tag == IPP_VALUE_BEGIN_COLLECTION) {
        ipp_write_collection(w, name);
        if (w->depth + depth_of(v->members) > IPP_DEPTH_MAX)
            fail(w, ERR_LIMIT);
        if (!w->err)
            buf_add(w->out, v->members);
        ipp_write_collection_end(w);
        return;
    }
    check_name(w, name);
    if (!w->err) {
        name = begin_value(w, name);
        ipp_record_add(w->out, v->tag, name, v->value);
    }
}
