/* SPDX-License-Identifier: Apache-2.0 */
/* ipp_client_option.c - attributes of a job as people write them, "sides=two-sided-long-edge", and
 * the syntax that they have (RFC 8011 5.2). */
#include "ipp/ipp_client_message.h"

#define NUMBER_MAX 2147483647u

/* ---- NAME=VALUE ---- */

/* RFC 8011 5.1.4. */
static bool is_keyword(struct span s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = char_lower(s.p[i]);

        if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-' && c != '_' && c != '.')
            return false;
    }
    return s.n > 0 && s.n <= IPP_NAME_MAX;
}

const char *ipp_client_option_parse(struct span text, struct ipp_client_option *ret)
{
    struct span value = text, name = span_cut(&value, '=');

    if (!value.p)
        return "it has no =; write NAME=VALUE, as in sides=two-sided-long-edge";
    if (!is_keyword(name))
        return "what stands before = is no name of an attribute";
    if (value.n == 0)
        return "nothing stands behind =";
    if (value.n > IPP_NAME_MAX)
        return "the value is longer than 255 octets";
    if (!span_is_field_value(value))
        return "the value has control characters";
    *ret = (struct ipp_client_option){.name = name, .tag = IPP_VALUE_KEYWORD, .text = value};
    return NULL;
}

/* ---- values ---- */

static bool take_number(struct span s, int32_t *ret)
{
    bool minus = s.n > 0 && s.p[0] == '-';
    uint64_t n;

    if (span_u64(span_sub(s, minus, SIZE_MAX), NUMBER_MAX, &n) != OK)
        return false;
    *ret = minus ? -(int32_t)n : (int32_t)n;
    return true;
}

static bool take_boolean(struct span s, int32_t *ret)
{
    bool yes = span_ieq(s, SPAN("true")) || span_ieq(s, SPAN("yes"));

    if (!yes && !span_ieq(s, SPAN("false")) && !span_ieq(s, SPAN("no")))
        return false;
    *ret = yes;
    return true;
}

/* "2-7" or "4", which is from 4 to 4. */
static bool take_range(struct span s, struct ipp_client_option *o)
{
    struct span rest = s, low = span_cut(&rest, '-');
    int32_t lower, upper;

    if (!take_number(low, &lower) || !take_number(rest.p ? rest : low, &upper) || upper < lower)
        return false;
    o->range.lower = lower;
    o->range.upper = upper;
    return true;
}

/* "600dpi", "600x1200dpi". */
static bool take_resolution(struct span s, struct ipp_client_option *o)
{
    struct span rest, across;
    int32_t x, y;

    if (!span_ends(s, SPAN("dpi")))
        return false;
    rest = span_sub(s, 0, s.n - 3);
    across = span_cut(&rest, 'x');
    if (!take_number(across, &x) || !take_number(rest.p ? rest : across, &y) || x <= 0 || y <= 0)
        return false;
    o->range.lower = x;
    o->range.upper = y;
    return true;
}

/* Words of enums (RFC 8011 5.2.6, 5.2.10, 5.2.13) that people use. */
static bool take_enum(struct span name, struct span s, int32_t *ret)
{
    static const struct {
        const char *name, *word;
        int32_t value;
    } words[] = {
        {"print-quality",         "draft",             3},
        {"print-quality",         "normal",            4},
        {"print-quality",         "high",              5},
        {"orientation-requested", "portrait",          3},
        {"orientation-requested", "landscape",         4},
        {"orientation-requested", "reverse-landscape", 5},
        {"orientation-requested", "reverse-portrait",  6},
        {"finishings",            "none",              3},
        {"finishings",            "staple",            4},
        {"finishings",            "punch",             5},
    };

    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (span_ieq(name, span_of(words[i].name)) && span_ieq(s, span_of(words[i].word))) {
            *ret = words[i].value;
            return true;
        }
    return take_number(s, ret);
}

/* NULL, or what is wrong. */
static const char *take_value(struct ipp_client_option *o, uint8_t tag)
{
    struct ipp_client_option new = *o;
    const char *wrong = NULL;

    switch (tag) {
    case IPP_VALUE_INTEGER:
        wrong = take_number(o->text, &new.number) ? NULL : "a number is wanted";
        break;
    case IPP_VALUE_BOOLEAN:
        wrong = take_boolean(o->text, &new.number) ? NULL : "true or false is wanted";
        break;
    case IPP_VALUE_ENUM:
        wrong = take_enum(o->name, o->text, &new.number) ? NULL : "the number of an enum is wanted";
        break;
    case IPP_VALUE_RANGE:
        wrong = take_range(o->text, &new) ? NULL : "a range such as 2-7 is wanted";
        break;
    case IPP_VALUE_RESOLUTION:
        wrong = take_resolution(o->text, &new) ? NULL : "a resolution such as 600dpi is wanted";
        break;
    case IPP_VALUE_KEYWORD:
        /* Where a printer knows keywords, its operator may have added names (RFC 8011 5.1.4). */
        if (!is_keyword(o->text))
            tag = IPP_VALUE_NAME;
        break;
    default: break;
    }
    if (wrong)
        return wrong;
    new.tag = tag;
    *o = new;
    return NULL;
}

/* ---- syntaxes ---- */

/* The syntax of |o| by that of NAME-supported, which is not always the same (RFC 8011 5.2); 0: that
 * attribute says nothing. */
static uint8_t tag_of_supported(struct span name, uint8_t tag)
{
    if (span_ieq(name, SPAN("page-ranges"))) /* page-ranges-supported is whether there are any */
        return IPP_VALUE_RANGE;
    if (tag == IPP_VALUE_RANGE) /* copies-supported: from 1 to so many */
        return IPP_VALUE_INTEGER;
    if (tag == IPP_VALUE_NAME_LANGUAGE)
        return IPP_VALUE_NAME;
    return tag >= 0x20 ? tag : 0;
}

static uint8_t tag_of_default(uint8_t tag)
{
    if (tag == IPP_VALUE_NAME_LANGUAGE)
        return IPP_VALUE_NAME;
    return tag >= 0x20 ? tag : 0;
}

/* The tag of the attribute NAME with that end; 0: there is none. */
static uint8_t tag_in(struct span attributes, struct span name, const char *end)
{
    char room[IPP_NAME_MAX];
    struct writer text = writer_of(room, sizeof room);
    struct ipp_attribute a;

    write_span(&text, name);
    write_span(&text, span_of(end));
    if (text.err || ipp_attribute_find(attributes, writer_span(&text), &a) != OK)
        return 0;
    return a.tag;
}

static uint8_t tag_of_printer(const struct ipp_message *printer, struct span name)
{
    struct ipp_group g;
    uint8_t tag;

    if (!printer || !ipp_client_group(printer, IPP_GROUP_PRINTER, &g))
        return 0;
    tag = tag_of_supported(name, tag_in(g.attributes, name, "-supported"));
    return tag ? tag : tag_of_default(tag_in(g.attributes, name, "-default"));
}

/* What it looks like. */
static uint8_t tag_of_text(const struct ipp_client_option *o)
{
    int32_t n;

    if (span_ieq(o->name, SPAN("page-ranges")))
        return IPP_VALUE_RANGE;
    if (span_ieq(o->name, SPAN("print-quality")) || span_ieq(o->name, SPAN("finishings")) ||
        span_ieq(o->name, SPAN("orientation-requested")))
        return IPP_VALUE_ENUM;
    if (take_number(o->text, &n))
        return IPP_VALUE_INTEGER;
    return take_boolean(o->text, &n) ? IPP_VALUE_BOOLEAN : IPP_VALUE_KEYWORD;
}

const char *ipp_client_option_type(const struct ipp_message *printer, struct ipp_client_option *o)
{
    uint8_t tag = tag_of_printer(printer, o->name);

    if (!tag)
        tag = tag_of_text(o);
    switch (tag) {
    case IPP_VALUE_INTEGER:
    case IPP_VALUE_BOOLEAN:
    case IPP_VALUE_ENUM:
    case IPP_VALUE_RANGE:
    case IPP_VALUE_RESOLUTION:
    case IPP_VALUE_KEYWORD:
    case IPP_VALUE_NAME:
    case IPP_VALUE_TEXT:
    case IPP_VALUE_URI:
    case IPP_VALUE_MEDIA_TYPE: return take_value(o, tag);
    default: return "the printer has a syntax for it that cannot be written as NAME=VALUE";
    }
}
