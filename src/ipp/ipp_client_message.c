/* SPDX-License-Identifier: Apache-2.0 */
#include "ipp/ipp_client_message.h"

#include "base/utf8.h"
#include "ipp/ipp_write.h"

#define NAME_OCTETS_MAX 255u /* RFC 8011 5.1.3 */

/* ---- writing ---- */

static void put_text(struct ipp_writer *w, uint8_t tag, const char *name, const char *text)
{
    if (text)
        ipp_write_string(w, tag, span_of(name), utf8_whole(span_of(text), NAME_OCTETS_MAX));
}

static void write_target(struct ipp_writer *w, const struct ipp_client_message *m,
                         const struct ipp_client_target *t)
{
    /* RFC 8011 4.1.5: third in the group, and job-id behind it. */
    ipp_write_string(w, IPP_VALUE_URI, m->is_job ? SPAN("job-uri") : SPAN("printer-uri"), t->uri);
    if (m->job_id)
        ipp_write_integer(w, SPAN("job-id"), m->job_id);
}

/* "sides" asks for "sides-supported" and "sides-default", which tell the syntax. */
static void write_wanted_option(struct ipp_writer *w, struct span name, struct span more)
{
    static const char *const ends[] = {"-supported", "-default"};
    char room[IPP_NAME_MAX];

    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        struct writer text = writer_of(room, sizeof room);

        write_span(&text, name);
        write_span(&text, span_of(ends[i]));
        if (!text.err)
            ipp_write_string(w, IPP_VALUE_KEYWORD, more, writer_span(&text));
    }
}

static void write_wanted(struct ipp_writer *w, const struct ipp_client_message *m)
{
    for (size_t i = 0; i < m->n_wanted; i++)
        ipp_write_string(w, IPP_VALUE_KEYWORD, i ? SPAN_NONE : SPAN("requested-attributes"),
                         span_of(m->wanted[i]));
    for (size_t i = 0; m->n_wanted && i < m->n_wanted_options; i++)
        write_wanted_option(w, m->wanted_options[i].name, SPAN_NONE);
}

static void write_option(struct ipp_writer *w, const struct ipp_client_option *o)
{
    switch (o->tag) {
    case IPP_VALUE_INTEGER: ipp_write_integer(w, o->name, o->number); break;
    case IPP_VALUE_ENUM: ipp_write_enum(w, o->name, o->number); break;
    case IPP_VALUE_BOOLEAN: ipp_write_boolean(w, o->name, o->number != 0); break;
    case IPP_VALUE_RANGE: ipp_write_range(w, o->name, o->range.lower, o->range.upper); break;
    case IPP_VALUE_RESOLUTION:
        ipp_write_resolution(w, o->name, o->range.lower, o->range.upper, 3);
        break;
    default: ipp_write_string(w, o->tag, o->name, o->text); break;
    }
}

enum err ipp_client_message_write(const void *arg, const struct ipp_client_target *t,
                                  struct buf *out)
{
    const struct ipp_client_message *m = arg;
    struct ipp_writer w;

    ipp_write_begin(&w, out, t->major, t->minor, m->operation, t->request_id);
    ipp_write_group(&w, IPP_GROUP_OPERATION);
    put_text(&w, IPP_VALUE_CHARSET, "attributes-charset", "utf-8");
    put_text(&w, IPP_VALUE_LANGUAGE, "attributes-natural-language", "en");
    write_target(&w, m, t);
    put_text(&w, IPP_VALUE_NAME, "requesting-user-name", m->user);
    put_text(&w, IPP_VALUE_NAME, "job-name", m->title);
    put_text(&w, IPP_VALUE_MEDIA_TYPE, "document-format", m->format);
    if (m->document)
        ipp_write_boolean(&w, SPAN("last-document"), true);
    if (m->limit)
        ipp_write_integer(&w, SPAN("limit"), m->limit);
    put_text(&w, IPP_VALUE_KEYWORD, "which-jobs", m->which);
    write_wanted(&w, m);
    if (m->n_options)
        ipp_write_group(&w, IPP_GROUP_JOB);
    for (size_t i = 0; i < m->n_options; i++)
        write_option(&w, &m->options[i]);
    return ipp_write_end(&w);
}

/* ---- reading ---- */

bool ipp_client_group(const struct ipp_message *m, uint8_t tag, struct ipp_group *ret)
{
    for (struct span gs = m->groups; ipp_group_next(&gs, ret);)
        if (ret->tag == tag)
            return true;
    return false;
}

static bool first_value(struct span attributes, const char *name, struct ipp_value *ret)
{
    struct ipp_attribute a;
    struct span values;

    if (ipp_attribute_find(attributes, span_of(name), &a) != OK)
        return false;
    values = a.values;
    return ipp_value_next(&values, ret);
}

struct span ipp_client_text(struct span attributes, const char *name)
{
    struct ipp_value v;
    struct span text;

    return first_value(attributes, name, &v) && ipp_value_text(&v, &text) ? text : SPAN_NONE;
}

int32_t ipp_client_number(struct span attributes, const char *name, int32_t otherwise)
{
    struct ipp_value v;
    int32_t n;

    return first_value(attributes, name, &v) && ipp_value_integer(&v, &n) ? n : otherwise;
}

bool ipp_client_has(struct span attributes, const char *name, struct span value)
{
    struct ipp_attribute a;
    struct ipp_value v;
    struct span text;

    if (ipp_attribute_find(attributes, span_of(name), &a) != OK)
        return false;
    for (struct span vs = a.values; ipp_value_next(&vs, &v);)
        if (ipp_value_text(&v, &text) && span_ieq(text, value))
            return true;
    return false;
}

struct span ipp_client_status_message(const struct ipp_message *m)
{
    return ipp_client_text(m->operation, "status-message");
}
