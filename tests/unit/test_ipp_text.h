/* SPDX-License-Identifier: Apache-2.0 */
/* clang-format off */
/* test_ipp_text.h - IPP messages as a line of text, there and back, for tables of tests. Words with
 * a space between them:
 *
 *     @2           begins the group 02; the first one and its two attributes are always there
 *     name=Tvalue  an attribute, T its type: i integer, e enum, u uri, k keyword, n name, t text,
 *                  m mimeMediaType, s uriScheme, x octetString, d dateTime, - no-value, ? unsupported
 *     +Tvalue      a further value of it
 *     name={ }     a collection and its end; +{ a further one */
/* clang-format on */
#ifndef TEST_IPP_TEXT_H
#define TEST_IPP_TEXT_H

#include <assert.h>
#include <stdlib.h>

#include "ipp/ipp_message.h"
#include "ipp/ipp_write.h"

static const struct {
    char type;
    uint8_t tag;
} text_types[] = {
    {'i', IPP_VALUE_INTEGER     },
    {'e', IPP_VALUE_ENUM        },
    {'u', IPP_VALUE_URI         },
    {'k', IPP_VALUE_KEYWORD     },
    {'n', IPP_VALUE_NAME        },
    {'t', IPP_VALUE_TEXT        },
    {'m', IPP_VALUE_MEDIA_TYPE  },
    {'s', IPP_VALUE_URI_SCHEME  },
    {'x', IPP_VALUE_OCTET_STRING},
    {'d', IPP_VALUE_DATE_TIME   },
    {'-', IPP_VALUE_NO_VALUE    },
    {'?', IPP_VALUE_UNSUPPORTED },
};

/* ---- from text ---- */

static inline void text_value(struct ipp_writer *w, struct span name, struct span value)
{
    uint8_t tag = 0;
    int32_t number = 0;

    if (span_eq(value, SPAN("{"))) {
        ipp_write_collection(w, name);
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(text_types); i++)
        if (value.n && value.p[0] == text_types[i].type)
            tag = text_types[i].tag;
    assert(tag);
    value = span_sub(value, 1, SIZE_MAX);
    if (tag != IPP_VALUE_INTEGER && tag != IPP_VALUE_ENUM) {
        ipp_write_value(w, tag, name, value);
        return;
    }
    number = (int32_t)strtol(value.p, NULL, 10);
    if (tag == IPP_VALUE_INTEGER)
        ipp_write_integer(w, name, number);
    else
        ipp_write_enum(w, name, number);
}

/* Appends the message of operation or status |code|, IPP/2.0, request-id 1. */
static inline void text_message(struct buf *out, uint16_t code, const char *text)
{
    struct span rest = span_of(text);
    struct ipp_writer w;

    ipp_write_begin(&w, out, 2, 0, code, 1);
    ipp_write_group(&w, IPP_GROUP_OPERATION);
    ipp_write_string(&w, IPP_VALUE_CHARSET, SPAN("attributes-charset"), SPAN("utf-8"));
    ipp_write_string(&w, IPP_VALUE_LANGUAGE, SPAN("attributes-natural-language"), SPAN("en"));
    while (rest.n) {
        struct span word = span_cut(&rest, ' ');
        size_t sign = span_find(word, '=');

        if (word.n == 0)
            continue;
        if (word.p[0] == '@')
            ipp_write_group(&w, (uint8_t)strtol(word.p + 1, NULL, 16));
        else if (span_eq(word, SPAN("}")))
            ipp_write_collection_end(&w);
        else if (word.p[0] == '+')
            text_value(&w, SPAN_NONE, span_sub(word, 1, SIZE_MAX));
        else
            text_value(&w, span_sub(word, 0, sign), span_sub(word, sign + 1, SIZE_MAX));
    }
    assert(ipp_write_end(&w) == OK);
}

/* ---- to text ---- */

static inline void text_of_plain(const struct ipp_record *r, struct buf *out)
{
    struct ipp_value v = {.tag = r->tag, .value = r->value};
    char type = '*';
    int32_t number;

    for (size_t i = 0; i < ARRAY_LEN(text_types); i++)
        if (r->tag == text_types[i].tag)
            type = text_types[i].type;
    buf_char(out, type);
    if (ipp_value_integer(&v, &number))
        buf_fmt(out, "%d", number);
    else
        buf_add(out, r->value);
}

static inline void text_of_records(struct span records, struct buf *out)
{
    struct span member = SPAN_NONE;
    struct ipp_record r;

    while (ipp_record_next(&records, &r)) {
        struct span name = r.name.n ? r.name : member;

        if (r.tag == IPP_VALUE_MEMBER_NAME) {
            member = r.value;
            continue;
        }
        member = SPAN_NONE;
        if (out->n)
            buf_char(out, ' ');
        if (r.tag == IPP_VALUE_END_COLLECTION) {
            buf_char(out, '}');
            continue;
        }
        buf_add(out, name);
        buf_char(out, name.n ? '=' : '+');
        if (r.tag == IPP_VALUE_BEGIN_COLLECTION)
            buf_char(out, '{');
        else
            text_of_plain(&r, out);
    }
}

/* Appends |m| as text_message() takes it. */
static inline void text_of_message(const struct ipp_message *m, struct buf *out)
{
    struct span groups = m->groups;
    struct ipp_attribute preamble;
    struct ipp_group g;
    bool is_first = true;

    for (; ipp_group_next(&groups, &g); is_first = false) {
        if (is_first)
            assert(ipp_attribute_next(&g.attributes, &preamble) &&
                   ipp_attribute_next(&g.attributes, &preamble));
        else
            buf_fmt(out, "%s@%x", out->n ? " " : "", (unsigned)g.tag);
        text_of_records(g.attributes, out);
    }
}

#endif
