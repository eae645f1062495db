/* SPDX-License-Identifier: Apache-2.0 */
#include "ipp/ipp_snapshot.h"

#include <openssl/evp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const uint64_t time_bounds_us[] = {1000,    2500,     5000,     10000,    25000,
                                          50000,   100000,   250000,   500000,   1000000,
                                          2500000, 10000000, 60000000, 600000000};

static NODISCARD enum err digest_of(const struct buf *text, unsigned char sum[EVP_MAX_MD_SIZE])
{
    return !text->err && EVP_Digest(text->p, text->n, sum, NULL, EVP_sha256(), NULL) == 1
               ? OK
               : ERR_NOMEM;
}

/* Digest of everything that could change the verdict about a document. */
static NODISCARD enum err make_scope(struct ipp_printer *p, const struct ipp_snapshot_source *src)
{
    unsigned char sum[EVP_MAX_MD_SIZE];
    struct buf text;

    buf_init(&text, 0);
    buf_text(&text, "sallyport " SALLYPORT_VERSION " ipp\n");
    config_print(&ipp_printer_block, p->set, CONFIG_PRINT_SECRETS, &text);
    buf_fmt(&text, "steps %llu\n%s\nunpack %llu %u %u %u\nclamav %s\n",
            (unsigned long long)src->decision_steps, src->worker_engines,
            (unsigned long long)src->unpack->size_max, src->unpack->ratio_max,
            src->unpack->codings_max, src->unpack->parts_max,
            p->engines & 1u << PIPELINE_CLAMAV ? src->clamav : "-");
    enum err e = digest_of(&text, sum);

    buf_done(&text);
    for (unsigned i = 0; e == OK && i < IPP_SCOPE_LEN / 2; i++)
        (void)snprintf(p->scope + 2 * i, 3, "%02x", sum[i]);
    return e;
}

/* RFC 9562 5.8: of the names of machine and printer, so that no two gateways share one. */
static NODISCARD enum err make_uuid(struct ipp_printer *p, const char *host)
{
    unsigned char u[EVP_MAX_MD_SIZE];
    struct buf text;

    buf_init(&text, 0);
    buf_fmt(&text, "sallyport printer\n%s\n%s\n", host, p->set->name);
    enum err e = digest_of(&text, u);

    buf_done(&text);
    TRY(e);
    u[6] = (u[6] & 0x0f) | 0x80;
    u[8] = (u[8] & 0x3f) | 0x80;
    (void)snprintf(p->uuid, sizeof p->uuid,
                   "urn:uuid:%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
                   u[0], u[1], u[2], u[3], u[4], u[5], u[6], u[7], u[8], u[9], u[10], u[11], u[12],
                   u[13], u[14], u[15]);
    return OK;
}

/* Printers are told of themselves as ipp:, whatever carries it: CUPS takes no other. */
static NODISCARD enum err read_backend(struct ipp_printer *p, struct buf *why)
{
    struct writer w = writer_of(p->backend_uri, IPP_URI_MAX);
    struct ipp_uri_fault fault;
    struct ipp_uri told;

    if (ipp_uri_parse(span_of(p->set->backend), &p->backend, &fault) != OK) {
        buf_fmt(why, "printer '%s': backend: %s\n", p->set->name, ipp_uri_why_text(fault.why));
        return ERR_CONFIG;
    }
    p->backend_host = p->backend.host;
    told = p->backend;
    told.port = ipp_uri_port(&p->backend, IPP_PORT);
    told.secure = false;
    told.auth = 0;
    told.query = SPAN_NONE;
    return ipp_uri_format(&told, &w);
}

/* Letters of hosts are the same in either case (RFC 3986 3.2.2). */
static NODISCARD enum err make_device(struct ipp_printer *p)
{
    unsigned char sum[EVP_MAX_MD_SIZE];
    size_t slashes = 0;
    struct buf text;

    buf_init(&text, 0);
    for (const char *c = p->backend_uri; *c; c++) {
        slashes += *c == '/';
        buf_char(&text, slashes < 3 ? char_lower(*c) : *c);
    }
    enum err e = digest_of(&text, sum);

    buf_done(&text);
    for (unsigned i = 0; e == OK && i < IPP_JOB_BACKEND_LEN / 2; i++)
        (void)snprintf(p->device + 2 * i, 3, "%02x", sum[i]);
    return e;
}

static void register_metrics(struct metrics *m, struct ipp_printer *p)
{
    const struct metrics_owner o = {m, "printer", p->set->name};

    p->metrics.requests =
        metrics_counter_of(&o, "sallyport_ipp_requests_total", NULL, NULL, "IPP requests.");
    p->metrics.jobs = metrics_counter_of(&o, "sallyport_ipp_jobs_total", NULL, NULL,
                                         "Jobs that the printer took.");
    p->metrics.refused = metrics_counter_of(&o, "sallyport_ipp_refused_total", NULL, NULL,
                                            "Requests that were refused here.");
    p->metrics.errors =
        metrics_counter_of(&o, "sallyport_ipp_printer_errors_total", NULL, NULL,
                           "Requests that the printer did not answer, or not legally.");
    p->metrics.documents =
        metrics_counter_of(&o, "sallyport_ipp_documents_total", NULL, NULL, "Documents.");
    p->metrics.bytes = metrics_counter_of(&o, "sallyport_ipp_document_bytes_total", NULL, NULL,
                                          "Bytes of documents.");
    for (unsigned i = 0; i < ACTIONS; i++)
        p->metrics.actions[i] =
            metrics_counter_of(&o, "sallyport_ipp_actions_total", "action",
                               action_name((enum action)i), "What was done with documents.");
    for (unsigned i = CAUSE_NONE + 1; i < CAUSES; i++)
        p->metrics.causes[i] =
            metrics_counter_of(&o, "sallyport_ipp_causes_total", "cause", cause_name((enum cause)i),
                               "Documents that were not simply printed, by cause.");
    p->metrics.scan_time = metrics_histogram_of(&o, "sallyport_ipp_scan_seconds",
                                                "From handing a document over to its verdict.",
                                                time_bounds_us, ARRAY_LEN(time_bounds_us));
    p->metrics.total_time =
        metrics_histogram_of(&o, "sallyport_ipp_request_seconds",
                             "From the first byte of a request to the end of its answer.",
                             time_bounds_us, ARRAY_LEN(time_bounds_us));
}

/* Whether a printer answers is as true as before, unless it is another one. */
static struct ipp_backend_known *known_of(const struct ipp_snapshot *before,
                                          const struct ipp_printer_settings *set)
{
    const struct ipp_printer *p = before ? ipp_snapshot_named(before, span_of(set->name)) : NULL;

    if (!p || strcmp(p->set->backend, set->backend) != 0)
        return ipp_backend_known_new();
    ipp_backend_known_relearn(p->known);
    return ipp_backend_known_ref(p->known);
}

static enum err compile(struct ipp_snapshot *s, const struct ipp_snapshot_source *src,
                        struct buf *why)
{
    for (size_t i = 0; i < s->n_printers; i++) {
        struct ipp_printer *p = &s->printers[i];

        p->set = &src->printers[i];
        p->demand = ipp_printer_demand(p->set);
        p->engines = rules_engines(p->set->pipeline, p->set->rules, p->set->n_rules);
        p->known = known_of(src->before, p->set);
        if (!p->known)
            return ERR_NOMEM;
        TRY(read_backend(p, why));
        TRY(make_device(p));
        if (src->backend_tls[i])
            p->backend_tls = tls_context_ref(src->backend_tls[i]);
        if (src->icap_tls[i])
            p->icap_tls = tls_context_ref(src->icap_tls[i]);
        TRY(rules_new(p->set->rules, p->set->n_rules, src->urls, &p->rules, why));
        TRY(make_scope(p, src));
        TRY(make_uuid(p, s->host));
        register_metrics(src->metrics, p);
    }
    return OK;
}

static _Atomic uint64_t serials = 1;

static void snapshot_free(struct ipp_snapshot *s)
{
    for (size_t i = 0; s->printers && i < s->n_printers; i++) {
        rules_free(s->printers[i].rules);
        tls_context_unref(s->printers[i].backend_tls);
        tls_context_unref(s->printers[i].icap_tls);
        ipp_backend_known_unref(s->printers[i].known);
    }
    tenants_unref(s->tenants);
    free(s->printers);
    free(s);
}

enum err ipp_snapshot_new(const struct ipp_snapshot_source *src, struct ipp_snapshot **ret,
                          struct buf *why)
{
    struct ipp_snapshot *s = calloc(1, sizeof *s);
    enum err e = ERR_NOMEM;

    if (!s)
        return ERR_NOMEM;
    atomic_init(&s->refs, 1);
    s->set = src->set;
    s->unpack = src->unpack;
    s->system = src->system;
    s->decision_steps = src->decision_steps;
    s->port = src->set->port ? src->set->port : src->port;
    s->upgrades = src->upgrades;
    s->secure_port = src->set->secure_port ? src->set->secure_port : src->secure_port;
    s->tenants = src->tenants ? tenants_ref(src->tenants) : NULL;
    s->serial = atomic_fetch_add_explicit(&serials, 1, memory_order_relaxed);
    if (gethostname(s->host, sizeof s->host - 1) != 0)
        (void)snprintf(s->host, sizeof s->host, "localhost");
    s->n_printers = src->n_printers;
    s->printers = calloc(src->n_printers ? src->n_printers : 1, sizeof *s->printers);
    if (s->printers)
        e = compile(s, src, why);
    if (e) {
        snapshot_free(s);
        return e;
    }
    s->release = src->release;
    s->owner = src->owner;
    *ret = s;
    return OK;
}

struct ipp_snapshot *ipp_snapshot_ref(struct ipp_snapshot *s)
{
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

void ipp_snapshot_unref(struct ipp_snapshot *s)
{
    if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
        return;
    void (*release)(void *) = s->release;
    void *owner = s->owner;

    snapshot_free(s); /* rules point into what the owner has */
    if (release)
        release(owner);
}

/* ---- questions ---- */

static bool has_path(const struct ipp_printer_settings *set, struct span path)
{
    if (span_eq(path, span_of(set->path)))
        return true;
    for (size_t i = 0; i < set->aliases.n; i++)
        if (span_eq(path, span_of(set->aliases.v[i])))
            return true;
    return false;
}

const struct ipp_printer *ipp_snapshot_find(const struct ipp_snapshot *s, struct span path)
{
    for (size_t i = 0; i < s->n_printers; i++)
        if (has_path(s->printers[i].set, path))
            return &s->printers[i];
    return NULL;
}

const struct ipp_printer *ipp_snapshot_named(const struct ipp_snapshot *s, struct span name)
{
    for (size_t i = 0; i < s->n_printers; i++)
        if (span_eq(name, span_of(s->printers[i].set->name)))
            return &s->printers[i];
    return NULL;
}

/* Names of the configuration may have the brackets of URIs. */
static bool is_name(const char *name, struct span host)
{
    struct span n = span_of(name);

    if (n.n > 2 && n.p[0] == '[')
        n = span_sub(n, 1, n.n - 2);
    return span_ieq(n, host);
}

bool ipp_snapshot_is_host(const struct ipp_snapshot *s, struct span host)
{
    static const char *const local[] = {"localhost", "127.0.0.1", "::1"};

    if (host.n > 1 && host.p[host.n - 1] == '.')
        host.n--;
    for (size_t i = 0; i < ARRAY_LEN(local); i++)
        if (is_name(local[i], host))
            return true;
    for (size_t i = 0; i < s->set->names.n; i++)
        if (is_name(s->set->names.v[i], host))
            return true;
    return (s->set->host && is_name(s->set->host, host)) || is_name(s->host, host);
}

static bool is_in_group(const struct ipp_snapshot *s, struct span group, struct span user)
{
    for (size_t i = 0; i < s->set->n_groups; i++) {
        const struct ipp_group_settings *g = &s->set->groups[i];

        for (size_t k = 0; span_eq(group, span_of(g->name)) && k < g->users.n; k++)
            if (span_eq(user, span_of(g->users.v[k])))
                return true;
    }
    return false;
}

bool ipp_snapshot_lists(const struct ipp_snapshot *s, const struct config_strings *list,
                        struct span user, const struct tenant *tenant)
{
    for (size_t i = 0; i < list->n; i++) {
        struct span who = span_of(list->v[i]), kind = span_cut(&who, ':');

        if (span_eq(kind, SPAN("user")) && user.n && span_eq(who, user))
            return true;
        if (span_eq(kind, SPAN("group")) && user.n && is_in_group(s, who, user))
            return true;
        if (span_eq(kind, SPAN("tenant")) && tenant && span_eq(who, span_of(tenant->name)))
            return true;
    }
    return false;
}
