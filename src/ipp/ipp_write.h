/* SPDX-License-Identifier: Apache-2.0 */
/* ipp_write.h - writes IPP messages of our own (RFC 8010 3.1) into a struct buf. What it writes
 * ipp_message_parse() reads. The first error sticks, later calls do nothing, and ipp_write_end()
 * says it: the caller writes line by line and checks once.
 *
 *     ipp_write_begin(&w, out, 2, 0, IPP_SUCCESSFUL_OK, request_id);
 *     ipp_write_group(&w, IPP_GROUP_OPERATION);
 *     ipp_write_string(&w, IPP_VALUE_CHARSET, SPAN("attributes-charset"), SPAN("utf-8"));
 *     ...
 *     TRY(ipp_write_end(&w));
 *
 * |name|: of the attribute, or of the member where a collection is open; the empty span: a further
 * value of the attribute or member before. Everything is copied at once. One thread at a time. */
#ifndef IPP_WRITE_H
#define IPP_WRITE_H

#include "base/buf.h"
#include "ipp/ipp_cursor.h"

struct ipp_writer {
    struct buf *out; /* the caller's */
    size_t begin;    /* where in |out| the message began */
    enum err err;
    unsigned depth; /* of open collections */
    bool grouped;   /* a group is open */
    bool named;     /* and something in it that further values can belong to */
    bool part;      /* attributes for a group of somebody else's message: ipp_write_part() */
};

/* Begins a message behind what |out| holds already; no other may write to it until the end. */
void ipp_write_begin(struct ipp_writer *w, struct buf *out, uint8_t major, uint8_t minor,
                     uint16_t code, uint32_t request_id);
/* Begins a group (IPP_GROUP_OPERATION must be the first; not IPP_GROUP_END). */
void ipp_write_group(struct ipp_writer *w, uint8_t tag);
/* A value of any tag but those that collections are made of, as its octets. Refuses a length that
 * the tag does not allow (ERR_LIMIT) and NUL in a character string (ERR_SYNTAX). */
void ipp_write_value(struct ipp_writer *w, uint8_t tag, struct span name, struct span value);
/* text, name, keyword, uri, uriScheme, charset, naturalLanguage, mimeMediaType: as
 * ipp_write_value(), other tags are ERR_BUG. */
void ipp_write_string(struct ipp_writer *w, uint8_t tag, struct span name, struct span text);
/* The same for what people sent and engines found: whole characters of it, at most 255 octets, and
 * "?" for what is none and for what a terminal would obey. */
void ipp_write_clean(struct ipp_writer *w, uint8_t tag, struct span name, struct span text);
/* IPP_VALUE_TEXT_LANGUAGE or IPP_VALUE_NAME_LANGUAGE (RFC 8010 3.9). */
void ipp_write_language(struct ipp_writer *w, uint8_t tag, struct span name, struct span language,
                        struct span text);
void ipp_write_integer(struct ipp_writer *w, struct span name, int32_t value);
void ipp_write_enum(struct ipp_writer *w, struct span name, int32_t value);
void ipp_write_boolean(struct ipp_writer *w, struct span name, bool value);
void ipp_write_range(struct ipp_writer *w, struct span name, int32_t lower, int32_t upper);
/* |units|: 3 dots per inch, 4 dots per centimetre (RFC 8011 5.1.16). */
void ipp_write_resolution(struct ipp_writer *w, struct span name, int32_t x, int32_t y,
                          int8_t units);
/* An out-of-band value, 10..1f: IPP_VALUE_UNKNOWN, IPP_VALUE_NO_VALUE. */
void ipp_write_out_of_band(struct ipp_writer *w, uint8_t tag, struct span name);
/* A collection (RFC 8010 3.1.6): its members are what is written until its end. */
void ipp_write_collection(struct ipp_writer *w, struct span name);
void ipp_write_collection_end(struct ipp_writer *w);
/* Copies a value of a message that was accepted, collections with all that is in them, also where
 * it is longer than we would write it. */
void ipp_write_copy(struct ipp_writer *w, struct span name, const struct ipp_value *v);

/* ipp_rewrite.h: writes attributes into a group that is open already in |out|, instead of a
 * message. Ends with ipp_write_part_end(), whose errors are those of ipp_write_end(). */
void ipp_write_part(struct ipp_writer *w, struct buf *out);
NODISCARD enum err ipp_write_part_end(struct ipp_writer *w);

/* Ends the message. OK; ERR_LIMIT: a value or a name is too long, collections are nested too deep,
 * or |out| is full; ERR_NOMEM; ERR_SYNTAX; ERR_BUG: calls in an order that makes no message. After
 * an error |out| holds what it held before the message (and its own error, as always). */
NODISCARD enum err ipp_write_end(struct ipp_writer *w);

/* May |value| be written with |tag|? ERR_BUG: a tag that is none of a plain value; ERR_LIMIT: a
 * length that the tag does not allow; ERR_SYNTAX: a character string with NUL. */
NODISCARD enum err ipp_value_check(uint8_t tag, struct span value);
/* Appends one record as it is told, unchecked (RFC 8010 3.1.4). */
void ipp_record_add(struct buf *out, uint8_t tag, struct span name, struct span value);

#endif
