/* SPDX-License-Identifier: Apache-2.0 */
#include "ipp/ipp_message.h"

#include <assert.h>

#include "base/reader.h"
#include "ipp/ipp_names.h"

static enum err refuse_at(const struct ipp_message *m, enum ipp_flaw flaw, struct span where,
                          struct ipp_fault *reterr)
{
    size_t off = where.p ? (size_t)(where.p - m->octets.p) : 0;

    return ipp_fault_set(reterr, flaw, off);
}

/* ---- header and shape ---- */

bool ipp_header_read(struct span octets, struct ipp_header *ret)
{
    struct reader r = reader_of(octets.p, octets.n);
    struct ipp_header h;

    h.major = read_u8(&r);
    h.minor = read_u8(&r);
    h.code = read_u16(&r);
    h.request_id = read_u32(&r);
    if (r.err)
        return false;
    *ret = h;
    return true;
}

static enum err check_shape(struct span octets, const struct ipp_limits *lim, struct ipp_scan *scan,
                            struct ipp_fault *reterr)
{
    size_t used;
    enum err e = ipp_scan_feed(scan, lim, octets, &used, reterr);

    if (e == ERR_AGAIN)
        return ipp_fault_set(reterr, IPP_FLAW_TRUNCATED, octets.n);
    TRY(e);
    return used < octets.n ? ipp_fault_set(reterr, IPP_FLAW_TRAILING, used) : OK;
}

static enum err check_header(struct ipp_message *m, struct ipp_fault *reterr)
{
    if (!ipp_header_read(m->octets, &m->header))
        return ipp_fault_set(reterr, IPP_FLAW_TRUNCATED, m->octets.n);
    if (m->header.major < 1 || m->header.major > 2)
        return ipp_fault_set(reterr, IPP_FLAW_VERSION, 0);
    if (m->header.request_id == 0 || m->header.request_id > INT32_MAX)
        return ipp_fault_set(reterr, IPP_FLAW_REQUEST_ID, 4);
    return OK;
}

/* ---- values ---- */

/* Readers in C end a string at NUL: they would see another one than we do. */
static bool has_nul(const struct ipp_record *r)
{
    struct ipp_value v = {.tag = r->tag, .value = r->value};
    struct span language = SPAN_NONE, text = SPAN_NONE;

    if (ipp_value_language(&v, &language, &text))
        return span_find(language, '\0') < language.n || span_find(text, '\0') < text.n;
    return ipp_tag_is_string(r->tag) && span_find(r->value, '\0') < r->value.n;
}

static enum err check_value(const struct ipp_message *m, const struct ipp_record *r,
                            struct ipp_fault *reterr)
{
    struct ipp_value v = {.tag = r->tag, .value = r->value};
    bool lenient = m->kind == IPP_RESPONSE && ipp_tag_is_text(r->tag);
    struct span language, text;

    if (ipp_tag_has_language(r->tag) && !ipp_value_language(&v, &language, &text))
        return refuse_at(m, IPP_FLAW_LANGUAGE_LENGTHS, r->value, reterr);
    if (!lenient && r->value.n > ipp_tag_lengths(r->tag).max)
        return refuse_at(m, IPP_FLAW_VALUE_TOO_LONG, r->value, reterr);
    if (!lenient && has_nul(r))
        return refuse_at(m, IPP_FLAW_NUL, r->value, reterr);
    return OK;
}

/* Only where |scan| doubts: it has seen every value, and knows that most messages have none that
 * could be refused. */
static enum err check_values(const struct ipp_message *m, const struct ipp_scan *scan,
                             struct ipp_fault *reterr)
{
    struct span rest = m->groups;
    struct ipp_record r;

    while (scan->doubt && ipp_record_next(&rest, &r))
        TRY(check_value(m, &r, reterr));
    return OK;
}

/* ---- charset and language: RFC 8011 4.1.4 ---- */

static bool is_preamble(const struct ipp_attribute *a, struct span name, uint8_t tag)
{
    struct ipp_value v;

    return span_eq(a->name, name) && ipp_attribute_single(a, tag, &v);
}

static enum err check_preamble(struct ipp_message *m, struct ipp_fault *reterr)
{
    struct span charset = SPAN("attributes-charset");
    struct span language = SPAN("attributes-natural-language");
    struct span groups = m->groups, rest;
    struct ipp_group first;
    struct ipp_attribute a;

    if (!ipp_group_next(&groups, &first))
        return ipp_fault_set(reterr, IPP_FLAW_FIRST_GROUP, IPP_HEADER_SIZE);
    m->operation = rest = first.attributes;
    if (!ipp_attribute_next(&rest, &a) || !is_preamble(&a, charset, IPP_VALUE_CHARSET))
        return refuse_at(m, IPP_FLAW_CHARSET, m->operation, reterr);
    if (!ipp_attribute_next(&rest, &a) || !is_preamble(&a, language, IPP_VALUE_LANGUAGE))
        return refuse_at(m, IPP_FLAW_LANGUAGE, m->operation, reterr);
    while (ipp_attribute_next(&rest, &a)) {
        if (ipp_name_eq(a.name, charset))
            return refuse_at(m, IPP_FLAW_CHARSET, a.name, reterr);
        if (ipp_name_eq(a.name, language))
            return refuse_at(m, IPP_FLAW_LANGUAGE, a.name, reterr);
    }
    return OK;
}

/* ---- the target: RFC 8011 4.1.5 ---- */

static enum ipp_target_kind target_kind(struct span name)
{
    if (ipp_name_eq(name, SPAN("printer-uri")))
        return IPP_TARGET_PRINTER;
    if (ipp_name_eq(name, SPAN("job-uri")))
        return IPP_TARGET_JOB;
    if (ipp_name_eq(name, SPAN("system-uri")))
        return IPP_TARGET_SYSTEM;
    return IPP_TARGET_NONE;
}

/* `cancel` of CUPS says 0 where it means all of a printer's jobs. */
static bool is_about_all(uint16_t code)
{
    return code == IPP_OPERATION_CANCEL_JOBS || code == IPP_OPERATION_CANCEL_MY_JOBS;
}

static enum err take_job_id(struct ipp_message *m, const struct ipp_attribute *a,
                            struct ipp_fault *reterr)
{
    struct ipp_value v;
    int32_t id;

    if (m->target.job_id || !ipp_attribute_single(a, IPP_VALUE_INTEGER, &v) ||
        !ipp_value_integer(&v, &id) || id < 0 || (id == 0 && !is_about_all(m->header.code)))
        return refuse_at(m, IPP_FLAW_JOB_ID_VALUE, a->name, reterr);
    m->target.job_id = id;
    return OK;
}

/* CUPS looks for a target in every group, so none may be in another one than the first. */
static enum err take_target(struct ipp_message *m, uint8_t group, const struct ipp_attribute *a,
                            struct ipp_fault *reterr)
{
    enum ipp_target_kind kind = target_kind(a->name);
    bool is_job_id = ipp_name_eq(a->name, SPAN("job-id"));
    struct ipp_value v;

    if (kind == IPP_TARGET_NONE && !is_job_id)
        return OK;
    if (group != IPP_GROUP_OPERATION)
        return refuse_at(m, IPP_FLAW_TARGET_GROUP, a->name, reterr);
    if (is_job_id)
        return take_job_id(m, a, reterr);
    if (m->target.kind != IPP_TARGET_NONE)
        return refuse_at(m, IPP_FLAW_TWO_TARGETS, a->name, reterr);
    if (!ipp_attribute_single(a, IPP_VALUE_URI, &v) || v.value.n == 0)
        return refuse_at(m, IPP_FLAW_TARGET_VALUE, a->name, reterr);
    m->target.kind = kind;
    m->target.uri = v.value;
    return OK;
}

/* ---- what its document is ---- */

static enum err take_compression(struct ipp_message *m, const struct ipp_attribute *a,
                                 struct ipp_fault *reterr)
{
    struct ipp_value v;

    if (m->compression.p || !ipp_attribute_single(a, IPP_VALUE_KEYWORD, &v))
        return refuse_at(m, IPP_FLAW_COMPRESSION_VALUE, a->name, reterr);
    m->compression = v.value;
    return OK;
}

/* Print-Job of the scheduler of CUPS has it twice, the document's own first. */
static enum err take_format(struct ipp_message *m, const struct ipp_attribute *a,
                            struct ipp_fault *reterr)
{
    struct ipp_value v;

    if (!ipp_attribute_single(a, IPP_VALUE_MEDIA_TYPE, &v))
        return refuse_at(m, IPP_FLAW_FORMAT_VALUE, a->name, reterr);
    if (!m->format.p)
        m->format = v.value;
    return OK;
}

/* Printers look for both in every group and take the first value that they find: what is inspected
 * is what is printed only where that is the one which we take, too. */
static enum err take_document(struct ipp_message *m, uint8_t group, const struct ipp_attribute *a,
                              struct ipp_fault *reterr)
{
    bool is_format = ipp_name_eq(a->name, SPAN("document-format"));

    if (!is_format && !ipp_name_eq(a->name, SPAN("compression")))
        return OK;
    if (group != IPP_GROUP_OPERATION)
        return refuse_at(m, IPP_FLAW_DOCUMENT_GROUP, a->name, reterr);
    return is_format ? take_format(m, a, reterr) : take_compression(m, a, reterr);
}

/* ---- both, in one walk ---- */

static enum err take_attributes(struct ipp_message *m, struct ipp_fault *reterr)
{
    struct span groups = m->groups, rest;
    struct ipp_group g;
    struct ipp_attribute a;

    while (ipp_group_next(&groups, &g))
        for (rest = g.attributes; ipp_attribute_next(&rest, &a);) {
            TRY(take_target(m, g.tag, &a, reterr));
            TRY(take_document(m, g.tag, &a, reterr));
        }
    if (m->target.job_id == 0)
        return OK;
    if (m->target.kind == IPP_TARGET_JOB)
        return ipp_fault_set(reterr, IPP_FLAW_TWO_TARGETS, IPP_HEADER_SIZE);
    if (m->target.kind != IPP_TARGET_PRINTER)
        return ipp_fault_set(reterr, IPP_FLAW_JOB_ID_ALONE, IPP_HEADER_SIZE);
    m->target.kind = IPP_TARGET_PRINTER_JOB;
    return OK;
}

enum err ipp_message_parse(enum ipp_kind kind, struct span octets, const struct ipp_limits *lim,
                           struct ipp_message *ret, struct ipp_fault *reterr)
{
    struct ipp_scan scan = {.at = 0};

    TRY(check_shape(octets, lim, &scan, reterr));
    return ipp_message_read(kind, octets, &scan, ret, reterr);
}

enum err ipp_message_read(enum ipp_kind kind, struct span octets, const struct ipp_scan *scan,
                          struct ipp_message *ret, struct ipp_fault *reterr)
{
    struct ipp_message m = {
        .kind = kind,
        .octets = octets,
        .groups = span_sub(octets, IPP_HEADER_SIZE, octets.n - IPP_HEADER_SIZE - 1),
        .last_group = scan->last_group,
        .n_attributes = scan->n_attributes,
    };

    assert(scan->at == octets.n && octets.n > IPP_HEADER_SIZE);
    TRY(check_header(&m, reterr));
    TRY(check_values(&m, scan, reterr));
    TRY(check_preamble(&m, reterr));
    if (kind == IPP_REQUEST)
        TRY(take_attributes(&m, reterr));
    *ret = m;
    return OK;
}

enum err ipp_message_find(const struct ipp_message *m, struct span name, struct ipp_attribute *ret)
{
    return ipp_attribute_find(m->operation, name, ret);
}
