/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>

#include "base/reader.h"
#include "ipp/ipp_translate_int.h"

/* What is done about an attribute; the table below says which. */
enum topic {
    TOPIC_OTHER,
    TOPIC_OUT,
    TOPIC_SECRET, /* out unless the way to the printer is protected */
    TOPIC_HOLD,   /* out where jobs are held */
    TOPIC_FORMAT, /* the first one only: it is the one that was looked at */
    TOPIC_PRINTER_URI,
    TOPIC_JOB_URI,
    TOPIC_JOB_ID,
    TOPIC_JOB_NUMBER, /* of a job that is not the target */
    TOPIC_JOB_NAMED,  /* such a job, by its URI */
    TOPIC_USER,
    TOPIC_REQUESTED,
    TOPIC_LIMIT,
};

struct request {
    const struct ipp_message *m;
    const struct ipp_request_translation *set;
    bool has_user, has_hold, has_format, has_requested; /* these have been written */
    uint8_t number[4];                                  /* what values are replaced by */
};

/* clang-format off */
#define TOPICS(X, n) \
    X(n, "limit",                           TOPIC_LIMIT) \
    X(n, "job-id",                          TOPIC_JOB_ID) \
    X(n, "job-ids",                         TOPIC_JOB_NUMBER) \
    X(n, "job-uri",                         TOPIC_JOB_URI) \
    X(n, "auth-info",                       TOPIC_SECRET) \
    X(n, "printer-uri",                     TOPIC_PRINTER_URI) \
    X(n, "document-uri",                    TOPIC_OUT) \
    X(n, "first-job-id",                    TOPIC_OUT) \
    X(n, "job-password",                    TOPIC_SECRET) \
    X(n, "notify-job-id",                   TOPIC_JOB_NUMBER) \
    X(n, "job-hold-until",                  TOPIC_HOLD) \
    X(n, "document-access",                 TOPIC_OUT) \
    X(n, "document-format",                 TOPIC_FORMAT) \
    X(n, "document-password",               TOPIC_SECRET) \
    X(n, "predecessor-job-id",              TOPIC_JOB_NUMBER) \
    X(n, "job-hold-until-time",             TOPIC_HOLD) \
    X(n, "predecessor-job-uri",             TOPIC_JOB_NAMED) \
    X(n, "requesting-user-uri",             TOPIC_OUT) \
    X(n, "destination-accesses",            TOPIC_SECRET) \
    X(n, "notify-recipient-uri",            TOPIC_OUT) \
    X(n, "requested-attributes",            TOPIC_REQUESTED) \
    X(n, "requesting-user-name",            TOPIC_USER) \
    X(n, "requesting-user-vcard",           TOPIC_OUT) \
    X(n, "job-password-encryption",         TOPIC_SECRET) \
    X(n, "job-originating-host-name",       TOPIC_OUT) \
    X(n, "job-originating-user-name",       TOPIC_OUT) \
    X(n, "original-requesting-user-name",   TOPIC_OUT)
/* clang-format on */
static_assert(IPP_IS_ORDERED(TOPICS), "shorter names come first");

static enum topic topic_of(struct span name)
{
#define TOPIC(n, name, topic) {SPAN(name), topic},
    static const struct {
        struct span name;
        enum topic topic;
    } rows[] = {TOPICS(TOPIC, 0)};
    static const uint8_t firsts[] = IPP_FIRSTS(TOPICS);

    if (name.n >= IPP_FIRSTS_MAX)
        return TOPIC_OTHER;
    for (size_t i = firsts[name.n]; i < firsts[name.n + 1]; i++)
        if (ipp_name_eq(rows[i].name, name))
            return rows[i].topic;
    return TOPIC_OTHER;
}

/* ---- jobs that are named besides the target ---- */

/* The printer's number; 0: not known. */
static int32_t printer_id_of(const struct ipp_request_translation *t, int32_t id)
{
    for (size_t i = 0; i < t->n_jobs; i++)
        if (t->jobs[i].id == id)
            return t->jobs[i].printer_id;
    return 0;
}

static enum err check_numbers(const struct ipp_attribute *a,
                              const struct ipp_request_translation *t)
{
    struct ipp_value v;
    int32_t id;

    for (struct span rest = a->values; ipp_value_next(&rest, &v);)
        if (v.tag != IPP_VALUE_INTEGER || !ipp_value_integer(&v, &id) || printer_id_of(t, id) <= 0)
            return ERR_MISSING;
    return OK;
}

static enum err check_jobs(const struct ipp_message *m, const struct ipp_request_translation *t)
{
    struct ipp_attribute a;
    struct ipp_group g;

    for (struct span gs = m->groups; ipp_group_next(&gs, &g);)
        for (struct span as = g.attributes; ipp_attribute_next(&as, &a);) {
            enum topic topic = topic_of(a.name);

            if (topic == TOPIC_JOB_NAMED)
                return ERR_MISSING;
            if (topic == TOPIC_JOB_NUMBER)
                TRY(check_numbers(&a, t));
        }
    return OK;
}

static enum err check(const struct ipp_message *m, const struct ipp_request_translation *t)
{
    bool names_job = m->target.kind == IPP_TARGET_JOB || m->target.kind == IPP_TARGET_PRINTER_JOB;

    if (m->kind != IPP_REQUEST || m->target.kind == IPP_TARGET_SYSTEM ||
        (names_job && t->job_id <= 0))
        return ERR_BUG;
    return check_jobs(m, t);
}

static enum ipp_action on_value(void *arg, const struct ipp_place *at, const struct ipp_value *v,
                                struct ipp_edit *ret)
{
    struct request *r = arg;
    struct writer w = writer_of(r->number, sizeof r->number);
    int32_t id = 0;

    if (topic_of(at->attribute) != TOPIC_JOB_NUMBER)
        return IPP_KEEP;
    (void)ipp_value_integer(v, &id); /* check_numbers() */
    write_u32(&w, (uint32_t)printer_id_of(r->set, id));
    *ret = (struct ipp_edit){IPP_VALUE_INTEGER, writer_span(&w)};
    return IPP_REPLACE;
}

/* ---- groups ---- */

/* Events that would be pushed to somebody past us. */
static enum ipp_action on_group(void *arg, const struct ipp_place *at, const struct ipp_group *g)
{
    struct ipp_attribute a;
    bool pushes, pulls;

    (void)arg;
    (void)at;
    if (g->tag != IPP_GROUP_SUBSCRIPTION)
        return IPP_KEEP;
    pushes = ipp_attribute_find(g->attributes, SPAN("notify-recipient-uri"), &a) != ERR_MISSING;
    pulls = ipp_attribute_find(g->attributes, SPAN("notify-pull-method"), &a) != ERR_MISSING;
    return pushes && !pulls ? IPP_DROP : IPP_KEEP;
}

static void write_user(struct request *r, struct ipp_writer *w)
{
    ipp_write_string(w, IPP_VALUE_NAME, SPAN("requesting-user-name"), r->set->user);
    r->has_user = true;
}

static void write_hold(struct ipp_writer *w)
{
    ipp_write_string(w, IPP_VALUE_KEYWORD, SPAN("job-hold-until"), SPAN("indefinite"));
}

/* Where clients do not say what they want of subscriptions, RFC 3995 has their numbers told, and
 * not of which jobs they are; CUPS tells all. */
static void write_requested(struct ipp_writer *w)
{
    ipp_write_string(w, IPP_VALUE_KEYWORD, SPAN("requested-attributes"), SPAN("all"));
    ipp_write_string(w, IPP_VALUE_KEYWORD, SPAN_NONE, SPAN("notify-job-id"));
    ipp_write_string(w, IPP_VALUE_KEYWORD, SPAN_NONE, SPAN("notify-subscription-id"));
}

static void on_group_end(void *arg, const struct ipp_place *at, struct ipp_writer *w)
{
    struct request *r = arg;

    if (at->group_index == 0 && r->set->user.n && !r->has_user)
        write_user(r, w);
    if (at->group_index == 0 && r->m->header.code == IPP_OPERATION_GET_SUBSCRIPTIONS &&
        !r->has_requested)
        write_requested(w);
    if (at->group == IPP_GROUP_JOB && r->set->hold && !r->has_hold) {
        write_hold(w);
        r->has_hold = true;
    }
}

/* ---- attributes ---- */

static enum ipp_action target(struct request *r, enum topic topic, struct ipp_writer *w)
{
    if (topic != TOPIC_JOB_ID)
        ipp_write_string(w, IPP_VALUE_URI, SPAN("printer-uri"), r->set->printer_uri);
    if (topic != TOPIC_PRINTER_URI)
        ipp_write_integer(w, SPAN("job-id"), r->set->job_id);
    return IPP_REPLACE;
}

static enum ipp_action user(struct request *r, const struct ipp_place *at, struct ipp_writer *w)
{
    if (r->set->user.n == 0)
        return IPP_KEEP;
    if (r->has_user || at->group_index > 0)
        return IPP_DROP;
    write_user(r, w);
    return IPP_REPLACE;
}

/* What says which job, or subscription, something is about, for that says to whom it may be told.
 * Jobs without it are told to nobody; subscriptions and events without notify-job-id are the
 * printer's own, so that it has to be asked for in so many words. */
struct said {
    struct span names[2]; /* the second may be empty */
    bool by_group;        /* to ask for all, or for a group of attributes, will do */
};

static const struct said *said_in(uint16_t operation)
{
    static const struct said jobs = {{SPAN("job-id")}, true};
    static const struct said subscriptions = {
        {SPAN("notify-job-id"), SPAN("notify-subscription-id")},
        false
    };

    switch (operation) {
    case IPP_OPERATION_GET_JOBS: return &jobs;
    case IPP_OPERATION_GET_SUBSCRIPTIONS:
    case IPP_OPERATION_GET_SUBSCRIPTION_ATTRIBUTES:
    case IPP_OPERATION_GET_NOTIFICATIONS: return &subscriptions;
    default: return NULL;
    }
}

/* Compared as printers may compare it, with case, and as nothing but a keyword. No name is asked
 * for by everybody. */
static bool asks_for(const struct ipp_attribute *a, struct span name, bool by_group)
{
    struct ipp_value v;

    if (name.n == 0)
        return true;
    for (struct span rest = a->values; ipp_value_next(&rest, &v);) {
        bool is_group = span_eq(v.value, SPAN("all")) || span_eq(v.value, SPAN("job-description"));

        if (v.tag == IPP_VALUE_KEYWORD && (span_eq(v.value, name) || (by_group && is_group)))
            return true;
    }
    return false;
}

static bool asks_for_all(const struct ipp_attribute *a, const struct said *said)
{
    for (size_t i = 0; i < ARRAY_LEN(said->names); i++)
        if (!asks_for(a, said->names[i], said->by_group))
            return false;
    return true;
}

static enum ipp_action requested(struct request *r, const struct ipp_attribute *a,
                                 struct ipp_writer *w)
{
    const struct said *said = said_in(r->m->header.code);
    struct span name = a->name;
    struct ipp_value v;

    r->has_requested = true;
    if (!said || asks_for_all(a, said))
        return IPP_KEEP;
    for (struct span rest = a->values; ipp_value_next(&rest, &v); name = SPAN_NONE)
        ipp_write_copy(w, name, &v);
    for (size_t i = 0; i < ARRAY_LEN(said->names); i++) {
        if (asks_for(a, said->names[i], said->by_group))
            continue;
        ipp_write_string(w, IPP_VALUE_KEYWORD, name, said->names[i]);
        name = SPAN_NONE;
    }
    return IPP_REPLACE;
}

static enum ipp_action limit(struct request *r, const struct ipp_attribute *a, struct ipp_writer *w)
{
    if (r->m->header.code == IPP_OPERATION_GET_SUBSCRIPTIONS)
        return IPP_DROP;
    if (r->m->header.code != IPP_OPERATION_GET_JOBS || r->set->limit <= 0)
        return IPP_KEEP;
    ipp_write_integer(w, a->name, r->set->limit);
    return IPP_REPLACE;
}

static enum ipp_action drop_if(bool drop)
{
    return drop ? IPP_DROP : IPP_KEEP;
}

static enum ipp_action format(struct request *r)
{
    bool again = r->has_format;

    r->has_format = true;
    return drop_if(again);
}

static enum ipp_action on_attribute(void *arg, const struct ipp_place *at,
                                    const struct ipp_attribute *a, struct ipp_writer *w)
{
    enum topic topic = topic_of(a->name);
    struct request *r = arg;

    switch (topic) {
    case TOPIC_OTHER: return IPP_KEEP;
    case TOPIC_OUT:
    case TOPIC_JOB_NAMED: return IPP_DROP;
    case TOPIC_SECRET: return drop_if(!r->set->secure);
    case TOPIC_HOLD: return drop_if(r->set->hold);
    case TOPIC_FORMAT: return format(r);
    case TOPIC_PRINTER_URI:
    case TOPIC_JOB_URI:
    case TOPIC_JOB_ID: return target(r, topic, w);
    case TOPIC_JOB_NUMBER: return IPP_ASK;
    case TOPIC_USER: return user(r, at, w);
    case TOPIC_REQUESTED: return requested(r, a, w);
    case TOPIC_LIMIT: return limit(r, a, w);
    }
    return IPP_KEEP;
}

/* ---- the message ---- */

/* The message that begins at |begin| of |out| has no job attributes: they come behind the first
 * group (RFC 8011 4.2.1.1). */
static enum err insert_hold(struct buf *out, size_t begin)
{
    struct span groups = span_sub(buf_span(out), begin + IPP_HEADER_SIZE, SIZE_MAX);
    struct ipp_writer w;
    struct ipp_group first;
    char octets[64];
    struct buf group;
    size_t at;

    buf_init_on(&group, octets, sizeof octets, sizeof octets);
    buf_char(&group, IPP_GROUP_JOB);
    ipp_write_part(&w, &group);
    write_hold(&w);
    TRY(ipp_write_part_end(&w));
    if (!ipp_group_next(&groups, &first))
        return ERR_BUG;
    at = out->n - groups.n;
    if (!buf_reserve(out, group.n))
        return out->err;
    memmove(out->p + at + group.n, out->p + at, out->n - at);
    memcpy(out->p + at, group.p, group.n);
    out->n += group.n;
    return OK;
}

enum err ipp_translate_request(const struct ipp_message *m, const struct ipp_request_translation *t,
                               struct buf *out)
{
    static const struct ipp_rewrite_rules rules = {
        .group = on_group,
        .attribute = on_attribute,
        .value = on_value,
        .group_end = on_group_end,
    };
    struct request r = {.m = m, .set = t};
    size_t begin = out->n;
    enum err e;

    TRY(check(m, t));
    TRY(ipp_rewrite(m, &rules, &r, out));
    if (!t->hold || r.has_hold)
        return OK;
    e = insert_hold(out, begin);
    if (e)
        out->n = begin;
    return e;
}

size_t ipp_request_jobs(const struct ipp_message *m, int32_t *v, size_t max)
{
    struct ipp_attribute a;
    struct ipp_value value;
    struct ipp_group g;
    size_t n = 0;

    for (struct span gs = m->groups; ipp_group_next(&gs, &g);)
        for (struct span as = g.attributes; ipp_attribute_next(&as, &a);) {
            if (topic_of(a.name) != TOPIC_JOB_NUMBER)
                continue;
            for (struct span vs = a.values; ipp_value_next(&vs, &value); n++)
                if (n < max && !ipp_value_integer(&value, &v[n]))
                    v[n] = 0;
        }
    return n;
}

bool ipp_request_has_secrets(const struct ipp_message *m)
{
    struct ipp_attribute a;
    struct ipp_group g;

    for (struct span gs = m->groups; ipp_group_next(&gs, &g);)
        for (struct span as = g.attributes; ipp_attribute_next(&as, &a);)
            if (topic_of(a.name) == TOPIC_SECRET)
                return true;
    return false;
}
