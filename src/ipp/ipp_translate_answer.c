/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>

#include "base/reader.h"
#include "ipp/ipp_translate_int.h"

struct answer;

/* What is done about an attribute: written anew, or asked about value by value, or left out. */
struct rule {
    struct span name;
    void (*write)(struct answer *a, struct ipp_writer *w);
    enum ipp_action (*value)(struct answer *a, const struct ipp_value *v, struct ipp_edit *ret);
    bool names_job; /* its value is the number of the job that the group is about */
};

struct answer {
    const struct ipp_answer_translation *set;
    const struct ipp_job *job; /* what the group is about; NULL: no job, or nobody knows */
    const struct rule *rule;   /* of the attribute; NULL: none */
    uint8_t number[4];         /* what values are replaced by */
    bool has_uris;             /* |uris| are made; most answers need none */
    struct ipp_public_uris uris;
};

/* ---- jobs ---- */

/* NULL: none that may be told. */
static const struct ipp_job *job_of(const struct ipp_answer_translation *set, int32_t printer_id)
{
    if (printer_id <= 0)
        return NULL;
    if (set->named && set->named->printer_id == printer_id)
        return set->named;
    return set->job ? set->job(set->arg, printer_id) : NULL;
}

static bool is_number(const struct ipp_value *v, int32_t *ret)
{
    return v->tag == IPP_VALUE_INTEGER && ipp_value_integer(v, ret);
}

/* ---- attributes that are written anew ---- */

static const struct ipp_public_uris *uris_of(struct answer *a)
{
    if (!a->has_uris)
        ipp_public_uris_make(&a->uris, a->set->printer);
    a->has_uris = true;
    return &a->uris;
}

static void printer_uris(struct answer *a, struct ipp_writer *w)
{
    ipp_write_printer_uris(w, uris_of(a));
}

static void uri_security(struct answer *a, struct ipp_writer *w)
{
    ipp_write_uri_security(w, uris_of(a));
}

static void uri_authentication(struct answer *a, struct ipp_writer *w)
{
    ipp_write_uri_authentication(w, uris_of(a));
}

static void xri(struct answer *a, struct ipp_writer *w)
{
    ipp_write_xri(w, uris_of(a));
}

static void auth_info(struct answer *a, struct ipp_writer *w)
{
    ipp_write_auth_info(w, a->set->printer);
}

static void printer_uri(struct answer *a, struct ipp_writer *w)
{
    ipp_write_printer_uri(w, SPAN("printer-uri"), uris_of(a));
}

static void printer_name(struct answer *a, struct ipp_writer *w)
{
    ipp_write_string(w, IPP_VALUE_NAME, SPAN("printer-name"), span_of(a->set->printer->set->name));
}

static void job_printer_uri(struct answer *a, struct ipp_writer *w)
{
    ipp_write_printer_uri(w, SPAN("job-printer-uri"), uris_of(a));
}

static void job_uri(struct answer *a, struct ipp_writer *w)
{
    if (a->job)
        ipp_write_job_uri(w, a->set->printer, a->job);
}

static void uuid(struct answer *a, struct ipp_writer *w)
{
    if (a->set->printer->uuid)
        ipp_write_string(w, IPP_VALUE_URI, SPAN("printer-uuid"), span_of(a->set->printer->uuid));
}

static void state_message(struct answer *a, struct ipp_writer *w)
{
    ipp_write_clean(w, IPP_VALUE_TEXT, SPAN("printer-state-message"), a->set->state_message);
}

/* ---- values ---- */

static enum ipp_action keep_if(bool keep)
{
    return keep ? IPP_KEEP : IPP_DROP;
}

/* What new kinds of attributes may tell without our knowing. */
static enum ipp_action other(const struct answer *a, const struct ipp_value *v)
{
    return v->tag == IPP_VALUE_URI && ipp_uri_is_inside(v->value, a->set->printer->backend_host)
               ? IPP_DROP_ATTRIBUTE
               : IPP_KEEP;
}

static enum ipp_action job_number(struct answer *a, const struct ipp_value *v, struct ipp_edit *ret)
{
    struct writer w = writer_of(a->number, sizeof a->number);
    const struct ipp_job *job;
    int32_t number;

    job = is_number(v, &number) ? job_of(a->set, number) : NULL;
    if (!job)
        return IPP_DROP;
    write_u32(&w, (uint32_t)job->id);
    *ret = (struct ipp_edit){IPP_VALUE_INTEGER, writer_span(&w)};
    return IPP_REPLACE;
}

static enum ipp_action operation(struct answer *a, const struct ipp_value *v, struct ipp_edit *ret)
{
    int32_t code;

    (void)ret;
    return keep_if(ipp_value_integer(v, &code) && code >= 0 && code <= UINT16_MAX &&
                   ipp_printer_allows(a->set->printer->set, ipp_operation_find((uint16_t)code),
                                      a->set->is_operator));
}

static enum ipp_action format(struct answer *a, const struct ipp_value *v, struct ipp_edit *ret)
{
    const struct ipp_printer_settings *set = a->set->printer->set;

    (void)ret;
    if (set->formats.n == 0)
        return other(a, v);
    return keep_if(v->tag == IPP_VALUE_MEDIA_TYPE && ipp_printer_takes_format(set, v->value));
}

/* What can be undone to look at the document. */
static enum ipp_action compression(struct answer *a, const struct ipp_value *v,
                                   struct ipp_edit *ret)
{
    (void)a;
    (void)ret;
    return keep_if(v->tag == IPP_VALUE_KEYWORD &&
                   (span_ieq(v->value, SPAN("none")) || span_ieq(v->value, SPAN("gzip")) ||
                    span_ieq(v->value, SPAN("deflate"))));
}

/* ---- which attribute gets which ---- */

/* clang-format off */
#define RULES(X, n) \
    X(n, "job-id",                                  NULL,               job_number,  true) \
    X(n, "job-ids",                                 NULL,               job_number,  false) \
    X(n, "job-uri",                                 job_uri,            NULL,        false) \
    X(n, "device-uri",                              NULL,               NULL,        false) \
    X(n, "member-uris",                             NULL,               NULL,        false) \
    X(n, "printer-uri",                             printer_uri,        NULL,        false) \
    X(n, "document-uri",                            NULL,               NULL,        false) \
    X(n, "printer-name",                            printer_name,       NULL,        false) \
    X(n, "printer-uuid",                            uuid,               NULL,        false) \
    X(n, "job-more-info",                           NULL,               NULL,        false) \
    X(n, "notify-job-id",                           NULL,               job_number,  true) \
    X(n, "parent-job-id",                           NULL,               job_number,  false) \
    X(n, "printer-icons",                           NULL,               NULL,        false) \
    X(n, "document-job-id",                         NULL,               job_number,  true) \
    X(n, "job-printer-uri",                         job_printer_uri,    NULL,        false) \
    X(n, "document-job-uri",                        NULL,               NULL,        false) \
    X(n, "printer-more-info",                       NULL,               NULL,        false) \
    X(n, "auth-info-required",                      auth_info,          NULL,        false) \
    X(n, "notify-printer-uri",                      NULL,               NULL,        false) \
    X(n, "compression-default",                     NULL,               compression, false) \
    X(n, "printer-dns-sd-name",                     NULL,               NULL,        false) \
    X(n, "printer-strings-uri",                     NULL,               NULL,        false) \
    X(n, "document-printer-uri",                    NULL,               NULL,        false) \
    X(n, "notify-recipient-uri",                    NULL,               NULL,        false) \
    X(n, "operations-supported",                    NULL,               operation,   false) \
    X(n, "compression-supported",                   NULL,               compression, false) \
    X(n, "printer-state-message",                   state_message,      NULL,        false) \
    X(n, "printer-uri-supported",                   printer_uris,       NULL,        false) \
    X(n, "printer-xri-supported",                   xri,                NULL,        false) \
    X(n, "uri-security-supported",                  uri_security,       NULL,        false) \
    X(n, "document-format-default",                 NULL,               format,      false) \
    X(n, "printer-supply-info-uri",                 NULL,               NULL,        false) \
    X(n, "notify-schemes-supported",                NULL,               NULL,        false) \
    X(n, "document-format-preferred",               NULL,               format,      false) \
    X(n, "document-format-supported",               NULL,               format,      false) \
    X(n, "printer-privacy-policy-uri",              NULL,               NULL,        false) \
    X(n, "uri-authentication-supported",            uri_authentication, NULL,        false) \
    X(n, "reference-uri-schemes-supported",         NULL,               NULL,        false) \
    X(n, "printer-static-resource-directory-uri",   NULL,               NULL,        false)
/* clang-format on */
static_assert(IPP_IS_ORDERED(RULES), "shorter names come first");

static const struct rule *rule_of(struct span name)
{
#define RULE(n, name, write, value, names_job) {SPAN(name), write, value, names_job},
    static const struct rule rules[] = {RULES(RULE, 0)};
    static const uint8_t firsts[] = IPP_FIRSTS(RULES);

    if (name.n >= IPP_FIRSTS_MAX)
        return NULL;
    for (size_t i = firsts[name.n]; i < firsts[name.n + 1]; i++)
        if (ipp_name_eq(rules[i].name, name))
            return &rules[i];
    return NULL;
}

/* Out-of-band values only: "unsupported", "no-value". That is not ours to fill in, and names
 * nothing. */
static bool says_nothing(const struct ipp_attribute *a)
{
    struct ipp_value v;

    for (struct span rest = a->values; ipp_value_next(&rest, &v);)
        if (v.tag < 0x10 || v.tag >= 0x20)
            return false;
    return true;
}

static enum ipp_action on_attribute(void *arg, const struct ipp_place *at,
                                    const struct ipp_attribute *attribute, struct ipp_writer *w)
{
    struct answer *a = arg;

    (void)at;
    a->rule = rule_of(attribute->name);
    if (!a->rule)
        return IPP_KEEP;
    if (!a->rule->write && !a->rule->value)
        return IPP_DROP;
    if (a->rule->write == state_message ? a->set->state_message.n == 0 : says_nothing(attribute))
        return IPP_KEEP;
    if (a->rule->value)
        return IPP_ASK;
    a->rule->write(a, w);
    return IPP_REPLACE;
}

static enum ipp_action on_value(void *arg, const struct ipp_place *at, const struct ipp_value *v,
                                struct ipp_edit *ret)
{
    struct answer *a = arg;

    (void)at;
    return a->rule && a->rule->value ? a->rule->value(a, v, ret) : other(a, v);
}

/* ---- groups: whose they are ---- */

/* Adds what |attribute| says to *job. False: not one job, or one that may not be told. */
static bool add_job(const struct ipp_answer_translation *set, const struct ipp_attribute *attribute,
                    const struct ipp_job **job)
{
    const struct ipp_job *found = NULL;
    struct ipp_value v;
    int32_t number;

    if (ipp_attribute_single(attribute, IPP_VALUE_INTEGER, &v) && is_number(&v, &number))
        found = job_of(set, number);
    if (!found || (*job && (*job)->id != found->id))
        return false;
    *job = found;
    return true;
}

/* Is a group that names no job about one all the same? */
static bool is_about_job(const struct ipp_group *g)
{
    static const struct span names[] = {SPAN("job-uri"), SPAN("job-state"), SPAN("job-name"),
                                        SPAN("job-state-reasons")};
    struct ipp_attribute a;

    if (g->tag == IPP_GROUP_JOB || g->tag == IPP_GROUP_DOCUMENT)
        return g->attributes.n > 0;
    for (size_t i = 0; g->tag == IPP_GROUP_EVENT && i < ARRAY_LEN(names); i++)
        if (ipp_attribute_find(g->attributes, names[i], &a) != ERR_MISSING)
            return true;
    return false;
}

/* False: the group may not be told. */
static bool find_job(const struct ipp_answer_translation *set, const struct ipp_group *g,
                     const struct ipp_job **ret)
{
    const struct ipp_job *job = NULL;
    struct ipp_attribute a;

    for (struct span rest = g->attributes; ipp_attribute_next(&rest, &a);) {
        const struct rule *rule = rule_of(a.name);

        if (rule && rule->names_job && !says_nothing(&a) && !add_job(set, &a, &job))
            return false;
    }
    *ret = job ? job : set->named;
    return *ret || !is_about_job(g);
}

static bool may_tell_subscription(const struct ipp_answer_translation *set,
                                  const struct ipp_group *g)
{
    struct ipp_attribute a;
    struct ipp_value v;
    int32_t id;

    if (g->tag != IPP_GROUP_SUBSCRIPTION || !set->subscription)
        return true;
    return ipp_attribute_find(g->attributes, SPAN("notify-subscription-id"), &a) == OK &&
           ipp_attribute_single(&a, IPP_VALUE_INTEGER, &v) && is_number(&v, &id) &&
           set->subscription(set->arg, id);
}

static enum ipp_action on_group(void *arg, const struct ipp_place *at, const struct ipp_group *g)
{
    struct answer *a = arg;
    bool may_be_of_job = g->tag == IPP_GROUP_JOB || g->tag == IPP_GROUP_DOCUMENT ||
                         g->tag == IPP_GROUP_EVENT || g->tag == IPP_GROUP_SUBSCRIPTION;

    (void)at;
    a->job = a->set->named;
    if ((may_be_of_job && !find_job(a->set, g, &a->job)) || !may_tell_subscription(a->set, g))
        return IPP_DROP;
    return IPP_KEEP;
}

/* ---- the message ---- */

enum err ipp_translate_answer(const struct ipp_message *m, const struct ipp_answer_translation *t,
                              struct buf *out)
{
    const struct ipp_rewrite_rules rules = {
        .group = on_group,
        .attribute = on_attribute,
        .value = on_value,
        .request_id = t->request_id,
    };
    struct answer a = {.set = t};

    if (m->kind != IPP_RESPONSE)
        return ERR_BUG;
    return ipp_rewrite(m, &rules, &a, out);
}

/* ---- the jobs that it tells of ---- */

static void note_jobs(const struct ipp_attribute *a, int32_t *v, size_t max, size_t *n)
{
    const struct rule *rule = rule_of(a->name);
    struct ipp_value value;
    int32_t id;

    if (!rule || rule->value != job_number)
        return;
    for (struct span rest = a->values; ipp_value_next(&rest, &value);) {
        if (!is_number(&value, &id) || id <= 0)
            continue;
        if (*n < max)
            v[*n] = id;
        ++*n;
    }
}

size_t ipp_answer_jobs(const struct ipp_message *m, int32_t *v, size_t max)
{
    struct ipp_attribute a;
    struct ipp_group g;
    size_t n = 0;

    for (struct span gs = m->groups; ipp_group_next(&gs, &g);)
        for (struct span as = g.attributes; ipp_attribute_next(&as, &a);)
            note_jobs(&a, v, max, &n);
    return n;
}

int32_t ipp_answer_job(const struct ipp_message *m)
{
    struct ipp_attribute a;
    struct ipp_value v;
    struct ipp_group g;
    int32_t id = 0;

    for (struct span gs = m->groups; ipp_group_next(&gs, &g);) {
        if (g.tag != IPP_GROUP_JOB)
            continue;
        if (ipp_attribute_find(g.attributes, SPAN("job-id"), &a) == OK &&
            ipp_attribute_single(&a, IPP_VALUE_INTEGER, &v) && is_number(&v, &id) && id > 0)
            return id;
        return 0;
    }
    return 0;
}
