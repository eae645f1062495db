/* SPDX-License-Identifier: Apache-2.0 */
#include "adapt/rules.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"

struct rules {
    const struct rule_settings *v;
    size_t n;
    const struct url_lists *lists;
    unsigned **list_ids; /* of each rule, as many as it names lists; in |ids| */
    unsigned *ids;
};

/* What is not known may become true or false; ordered, so that "and" is the smaller one. */
enum truth { NO, UNKNOWN, YES };

static enum truth truth_and(enum truth a, enum truth b)
{
    return a < b ? a : b;
}

/* ---- compiling ---- */

static enum err find_lists(const struct rule_settings *v, const struct url_lists *lists,
                           unsigned *ids, struct buf *why)
{
    for (size_t i = 0; i < v->url_list.n; i++) {
        int id = lists ? url_lists_find(lists, span_of(v->url_list.v[i])) : -1;

        if (id < 0) {
            buf_fmt(why, "rule '%s': there is no URL list '%s'", v->name, v->url_list.v[i]);
            return ERR_CONFIG;
        }
        ids[i] = (unsigned)id;
    }
    return OK;
}

static enum err compile(struct rules *r, struct buf *why)
{
    size_t n_ids = 1, at = 0;

    for (size_t i = 0; i < r->n; i++)
        n_ids += r->v[i].url_list.n;
    r->ids = mem_fail_now() ? NULL : calloc(n_ids, sizeof *r->ids);
    r->list_ids = mem_fail_now() ? NULL : calloc(r->n + 1, sizeof *r->list_ids);
    if (!r->ids || !r->list_ids)
        return ERR_NOMEM;
    for (size_t i = 0; i < r->n; i++) {
        r->list_ids[i] = r->ids + at;
        at += r->v[i].url_list.n;
        TRY(find_lists(&r->v[i], r->lists, r->list_ids[i], why));
    }
    return OK;
}

enum err rules_new(const struct rule_settings *v, size_t n, const struct url_lists *lists,
                   struct rules **ret, struct buf *why)
{
    struct rules *r = mem_fail_now() ? NULL : calloc(1, sizeof *r);
    enum err e;

    if (!r)
        return ERR_NOMEM;
    *r = (struct rules){.v = v, .n = n, .lists = lists};
    e = compile(r, why);
    if (e != OK) {
        rules_free(r);
        return e;
    }
    *ret = r;
    return OK;
}

void rules_free(struct rules *r)
{
    if (!r)
        return;
    free(r->list_ids);
    free(r->ids);
    free(r);
}

/* ---- who, and which URL ---- */

/* ALLOW and PIPELINE take something away that the service would do by itself. */
static bool needs_certainty(const struct rule_settings *v)
{
    return v->then == RULE_ALLOW || v->then == RULE_PIPELINE;
}

static bool globs_match(const struct config_strings *globs, struct span text, struct steps *steps)
{
    for (size_t i = 0; i < globs->n; i++)
        if (glob_match_within(span_of(globs->v[i]), text, steps))
            return true;
    return false;
}

static bool tenant_holds(const struct config_strings *names, struct span tenant)
{
    for (size_t i = 0; i < names->n; i++)
        if (span_eq(span_of(names->v[i]), tenant))
            return true;
    return false;
}

static bool client_holds(const struct config_cidrs *nets, const struct address *a)
{
    struct sockaddr_in in4;
    struct sockaddr_in6 in6;

    if (a->len >= sizeof in4 && a->ss.ss_family == AF_INET) {
        memcpy(&in4, &a->ss, sizeof in4);
        return config_cidrs_have(nets, 4, (const uint8_t *)&in4.sin_addr);
    }
    if (a->len < sizeof in6 || a->ss.ss_family != AF_INET6)
        return false;
    memcpy(&in6, &a->ss, sizeof in6);
    if (IN6_IS_ADDR_V4MAPPED(&in6.sin6_addr))
        return config_cidrs_have(nets, 4, in6.sin6_addr.s6_addr + 12);
    return config_cidrs_have(nets, 6, in6.sin6_addr.s6_addr);
}

static bool method_holds(const struct config_strings *methods, struct span method)
{
    for (size_t i = 0; i < methods->n; i++)
        if (span_ieq(span_of(methods->v[i]), method))
            return true;
    return false;
}

static bool host_holds(const struct config_strings *hosts, struct span host)
{
    for (size_t i = 0; i < hosts->n; i++)
        if (host_match(span_of(hosts->v[i]), host))
            return true;
    return false;
}

/* The answer to a limit depends on what the rule does, not on what the list is for. */
static bool lists_hold(const struct rules *r, size_t at, const struct facts *f)
{
    for (size_t i = 0; i < r->v[at].url_list.n; i++) {
        bool limit;
        bool match = url_lists_match(r->lists, r->list_ids[at][i], f->host, f->path, &limit);

        if (limit ? !needs_certainty(&r->v[at]) : match)
            return true;
    }
    return false;
}

static bool heads_hold(const struct rules *r, size_t at, const struct facts *f)
{
    const struct rule_settings *v = &r->v[at];

    if (v->tenant.n > 0 && !tenant_holds(&v->tenant, f->tenant))
        return false;
    if (v->client.n > 0 && !client_holds(&v->client, &f->client))
        return false;
    if (v->user.n > 0 && (f->user.n == 0 || !globs_match(&v->user, f->user, f->steps)))
        return false;
    if (v->method.n > 0 && !method_holds(&v->method, f->method))
        return false;
    if (v->host.n > 0 && !host_holds(&v->host, f->host))
        return false;
    return v->url_list.n == 0 || lists_hold(r, at, f);
}

/* ---- the body as a whole ---- */

static bool sha256_holds(const struct config_strings *digests, const char *sha256)
{
    struct span digest = span_of(sha256);

    for (size_t i = 0; i < digests->n; i++)
        if (digest.n > 0 && span_ieq(span_of(digests->v[i]), digest))
            return true;
    return false;
}

static struct span finding_name(const struct finding *f)
{
    return (struct span){f->name, strnlen(f->name, sizeof f->name)};
}

/* One finding that fits is enough to block, but not to allow what else was found. */
static bool signature_holds(const struct rule_settings *v, const struct scan_result *s,
                            struct steps *steps)
{
    unsigned n = s && s->n_findings < FINDINGS_MAX ? s->n_findings : FINDINGS_MAX;
    bool certain = needs_certainty(v), one = false;

    if (!s || (certain && (n == FINDINGS_MAX || s->incomplete)))
        return false;
    for (unsigned i = 0; i < n; i++) {
        if (globs_match(&v->signature, finding_name(&s->findings[i]), steps))
            one = true;
        else if (certain && !s->findings[i].note)
            return false;
    }
    return one;
}

static enum truth body_holds(const struct rule_settings *v, const struct facts *f)
{
    if (v->sha256.n == 0 && v->signature.n == 0 && v->larger == 0 && v->smaller == 0)
        return YES;
    if (!f->has_body_facts)
        return UNKNOWN;
    if (v->sha256.n > 0 && !sha256_holds(&v->sha256, f->sha256))
        return NO;
    if (v->signature.n > 0 && !signature_holds(v, f->result, f->steps))
        return NO;
    if (v->larger > 0 && f->len <= v->larger)
        return NO;
    return v->smaller == 0 || f->len < v->smaller ? YES : NO;
}

/* ---- the objects in it ---- */

static bool may_have_parts(const struct facts *f)
{
    return span_istarts(f->declared, SPAN("multipart/"));
}

static struct span sniffed_of(const struct scan_result *s)
{
    return s ? (struct span){s->sniffed, strnlen(s->sniffed, sizeof s->sniffed)} : SPAN_NONE;
}

/* The message as if it were the object: all there is before a table is known, or without one. */
static struct object message_object(const struct facts *f)
{
    struct object o = {.role = OBJECT_BODY, .name = f->name, .declared = f->declared};

    if (f->has_body_facts && !f->objects)
        o.sniffed = sniffed_of(f->result);
    return o;
}

/* The whole body may lack texts that the message has. */
static void complete_body(struct object *o, const struct facts *f)
{
    if (o->role != OBJECT_BODY)
        return;
    if (o->name.n == 0)
        o->name = f->name;
    if (o->declared.n == 0)
        o->declared = f->declared;
    if (o->sniffed.n == 0 && f->objects->n == 1)
        o->sniffed = sniffed_of(f->result);
}

/* Of a part the name is its own; the message's may be one that nobody can read. */
static bool name_is_unknown(const struct facts *f, const struct object *o)
{
    return f->name_unknown && o->role == OBJECT_BODY;
}

static bool name_may_fit(const struct config_strings *globs, const struct facts *f,
                         const struct object *o)
{
    if (o->role == OBJECT_FIELD)
        return false;
    return name_is_unknown(f, o) || globs_match(globs, o->name, f->steps);
}

static enum truth may_hold(const struct rule_settings *v, const struct facts *f,
                           const struct object *o)
{
    enum truth type = YES, file = YES;

    if (v->type.n > 0 && !globs_match(&v->type, o->declared, f->steps) &&
        !globs_match(&v->type, o->sniffed, f->steps))
        type = f->has_body_facts ? NO : UNKNOWN;
    if (v->file.n > 0 && !name_may_fit(&v->file, f, o))
        file = !f->has_body_facts && may_have_parts(f) ? UNKNOWN : NO;
    return truth_and(type, file);
}

static enum truth surely_holds(const struct rule_settings *v, const struct facts *f,
                               const struct object *o)
{
    if (v->file.n > 0 && (name_is_unknown(f, o) || !globs_match(&v->file, o->name, f->steps)))
        return NO;
    if (v->type.n == 0)
        return YES;
    if (o->declared.n > 0 && !globs_match(&v->type, o->declared, f->steps))
        return NO;
    if (o->sniffed.n == 0)
        return f->has_body_facts ? NO : UNKNOWN;
    return globs_match(&v->type, o->sniffed, f->steps) ? YES : NO;
}

static struct objects_reader objects_of(const struct facts *f)
{
    const struct object_table *t = f->objects;
    struct objects_reader walk;

    objects_reader_init(&walk, (struct span){t->bytes, t->len}, t->n, t->original_len,
                        t->derived_len);
    return walk;
}

/* ERR_LIMIT: out of steps. */
static NODISCARD enum err next_object(struct objects_reader *walk, const struct facts *f,
                                      struct object *ret)
{
    if (!steps_take(f->steps, STEPS_OBJECT))
        return ERR_LIMIT;
    TRY(objects_next(walk, ret));
    complete_body(ret, f);
    return OK;
}

static void say_where(const struct object *o, char where[FINDING_WHERE_MAX])
{
    size_t n;

    if (o->role == OBJECT_BODY)
        return;
    n = span_copy(SPAN("part "), where, FINDING_WHERE_MAX);
    (void)span_copy(o->name, where + n, FINDING_WHERE_MAX - n);
}

/* For BLOCK and NOTE: is there one that fits? */
static enum truth one_holds(const struct rule_settings *v, const struct facts *f,
                            char where[FINDING_WHERE_MAX])
{
    struct object o = message_object(f);
    struct objects_reader walk;
    enum truth message = may_hold(v, f, &o);
    enum err e;

    if (message == YES || !f->has_body_facts || !f->objects)
        return message;
    walk = objects_of(f);
    while ((e = next_object(&walk, f, &o)) == OK) {
        if (may_hold(v, f, &o) == YES) {
            say_where(&o, where);
            return YES;
        }
    }
    return e == ERR_EOF ? NO : YES;
}

/* For ALLOW: does everything fit that a user would open? */
static enum truth each_holds(const struct rule_settings *v, const struct facts *f)
{
    struct object o = message_object(f);
    struct objects_reader walk;
    enum truth files = YES, bodies = YES, fields = YES;
    bool has_file = false, has_body = false;
    enum err e;

    if (!f->has_body_facts && may_have_parts(f))
        return UNKNOWN;
    if (f->has_body_facts && may_have_parts(f) &&
        (!f->objects || !f->result || f->result->incomplete))
        return NO; /* nobody knows its parts, or not all of them */
    if (!f->has_body_facts || !f->objects)
        return surely_holds(v, f, &o);
    walk = objects_of(f);
    while ((e = next_object(&walk, f, &o)) == OK) {
        if (o.role == OBJECT_FILE) {
            has_file = true;
            files = truth_and(files, surely_holds(v, f, &o));
        } else if (o.role == OBJECT_BODY) {
            has_body = true;
            bodies = truth_and(bodies, surely_holds(v, f, &o));
        } else if (object_is_nameless_file(&o)) {
            fields = truth_and(fields, v->file.n ? NO : surely_holds(v, f, &o));
        }
    }
    if (e != ERR_EOF || (!has_file && !has_body))
        return NO;
    return truth_and(fields, has_file ? files : bodies);
}

/* A pipeline is chosen by the heads alone. */
static enum truth declared_holds(const struct rule_settings *v, const struct facts *f)
{
    return (v->type.n == 0 || globs_match(&v->type, f->declared, f->steps)) &&
                   (v->file.n == 0 ||
                    (!f->name_unknown && globs_match(&v->file, f->name, f->steps)))
               ? YES
               : NO;
}

static enum truth objects_hold(const struct rule_settings *v, const struct facts *f,
                               char where[FINDING_WHERE_MAX])
{
    if (v->type.n == 0 && v->file.n == 0)
        return YES;
    switch (v->then) {
    case RULE_ALLOW: return each_holds(v, f);
    case RULE_PIPELINE: return declared_holds(v, f);
    case RULE_BLOCK:
    case RULE_NOTE: break;
    }
    return one_holds(v, f, where);
}

/* ---- the walk ---- */

static enum truth rule_holds(const struct rules *r, size_t at, const struct facts *f,
                             char where[FINDING_WHERE_MAX])
{
    enum truth body;

    where[0] = '\0';
    if (!heads_hold(r, at, f))
        return NO;
    body = body_holds(&r->v[at], f);
    return body == NO ? NO : truth_and(body, objects_hold(&r->v[at], f, where));
}

/* False when the walk is over. Behind a rule that waits only the pipeline is still of interest, and
 * no note may be made; but what would decide there ends the walk all the same. */
static bool take(const struct rule_settings *v, enum truth holds, struct rule_match *m)
{
    if (holds == UNKNOWN)
        m->waits = true;
    if (holds != YES)
        return true;
    if (v->then == RULE_NOTE) {
        if (!m->waits && m->n_notes < ARRAY_LEN(m->notes))
            m->notes[m->n_notes++] = v;
        return true;
    }
    if (!m->waits || v->then == RULE_PIPELINE)
        m->rule = v;
    return false;
}

void rules_match(const struct rules *r, const struct facts *f, bool head_only,
                 struct rule_match *ret)
{
    struct rule_match m = {.rule = NULL};

    for (size_t i = 0; i < r->n; i++) {
        char where[FINDING_WHERE_MAX];
        enum truth holds;

        if (!head_only && r->v[i].then == RULE_PIPELINE)
            continue;
        holds = rule_holds(r, i, f, where);
        m.out_of_steps = steps_are_out(f->steps);
        if (m.out_of_steps)
            break; /* whatever it seems to say */
        if (take(&r->v[i], holds, &m))
            continue;
        if (m.rule)
            memcpy(m.where, where, sizeof where);
        break;
    }
    *ret = m;
}
