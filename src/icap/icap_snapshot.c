/* SPDX-License-Identifier: Apache-2.0 */
#include "icap/icap_snapshot.h"

#include <openssl/evp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const uint64_t time_bounds_us[] = {1000,    2500,     5000,    10000,  25000,
                                          50000,   100000,   250000,  500000, 1000000,
                                          2500000, 10000000, 60000000};

/* The engines that the service may run, by itself or because a rule says so. */
static unsigned service_engines(const struct icap_service_settings *set)
{
    unsigned pipeline = set->type == ICAP_SERVICE_INSPECT ? set->pipeline : 0;

    return rules_engines(pipeline, set->rules, set->n_rules);
}

static bool uses_url_lists(const struct icap_service *s)
{
    bool rules = false;

    for (size_t i = 0; i < s->set->n_rules; i++)
        rules |= s->set->rules[i].url_list.n > 0;
    return rules || s->engines & 1u << PIPELINE_URL;
}

static NODISCARD enum err digest_text(const struct buf *text, char ret[ICAP_ISTAG_LEN + 1])
{
    static const char hex[] = "0123456789abcdef";
    unsigned char sum[EVP_MAX_MD_SIZE];

    if (text->err || EVP_Digest(text->p, text->n, sum, NULL, EVP_sha256(), NULL) != 1)
        return ERR_NOMEM;
    for (unsigned i = 0; i < ICAP_ISTAG_LEN / 2; i++) {
        ret[2 * i] = hex[sum[i] >> 4];
        ret[2 * i + 1] = hex[sum[i] & 15];
    }
    return OK;
}

/* |tenant|: those that are of it alone; "": those that are everybody's. */
static void add_exceptions(const struct icap_service *s, const struct exceptions *set,
                           const char *tenant, struct buf *text)
{
    for (size_t i = 0; i < exceptions_count(set); i++) {
        const struct exception *e = exceptions_at(set, i);

        if (strcmp(e->tenant, tenant) == 0 &&
            (!e->service[0] || strcmp(e->service, s->set->name) == 0))
            buf_fmt(text, "exception %s\n", e->id);
    }
}

/* Digest of everything that could change an answer for the same input (RFC 3507 4.7): the service's
 * whole effective configuration and, where it runs engines, their versions and limits; for the
 * ISTag, but not for the cache, the exceptions too. Equal on every node and after every restart. */
static NODISCARD enum err service_istag(struct icap_service *s,
                                        const struct icap_snapshot_source *src)
{
    struct buf text;
    enum err e;

    buf_init(&text, 0);
    buf_text(&text, "sallyport " SALLYPORT_VERSION "\n");
    config_print(&icap_service_block, s->set, CONFIG_PRINT_SECRETS, &text);
    buf_fmt(&text, "steps %llu\n", (unsigned long long)src->decision_steps);
    if (s->engines & ~(1u << PIPELINE_URL))
        buf_fmt(&text, "%s\nunpack %llu %u %u %u\n", src->worker_engines,
                (unsigned long long)src->unpack->size_max, src->unpack->ratio_max,
                src->unpack->codings_max, src->unpack->parts_max);
    if (s->engines & 1u << PIPELINE_CLAMAV)
        buf_fmt(&text, "clamav %s\n", src->clamav);
    if (uses_url_lists(s) && src->urls)
        buf_fmt(&text, "%s\n", url_lists_text(src->urls));
    e = digest_text(&text, s->scope);
    add_exceptions(s, src->exceptions, "", &text);
    if (e == OK)
        e = digest_text(&text, s->istag);
    buf_done(&text);
    return e;
}

static void service_metrics(struct metrics *m, struct icap_service *s)
{
    const struct metrics_owner o = {m, "service", s->set->name};

    for (unsigned i = 0; i < ICAP_METHODS; i++)
        s->metrics.requests[i] =
            metrics_counter_of(&o, "sallyport_icap_requests_total", "method",
                               icap_method_name((enum icap_method)i), "ICAP requests.");
    for (unsigned i = 0; i < ACTIONS; i++)
        s->metrics.actions[i] =
            metrics_counter_of(&o, "sallyport_icap_actions_total", "action",
                               action_name((enum action)i), "What was done with messages.");
    for (unsigned i = CAUSE_NONE + 1; i < CAUSES; i++)
        s->metrics.causes[i] = metrics_counter_of(
            &o, "sallyport_icap_causes_total", "cause", cause_name((enum cause)i),
            "Messages that were not simply passed, by cause; one that had "
            "several counts for each.");
    s->metrics.bytes_in = metrics_counter_of(&o, "sallyport_icap_received_bytes_total", NULL, NULL,
                                             "Bytes of ICAP requests.");
    s->metrics.bytes_out = metrics_counter_of(&o, "sallyport_icap_sent_bytes_total", NULL, NULL,
                                              "Bytes of ICAP answers.");
    s->metrics.total_time =
        metrics_histogram_of(&o, "sallyport_icap_transaction_seconds",
                             "From the first byte of a request to the end of its answer.",
                             time_bounds_us, ARRAY_LEN(time_bounds_us));
    if (s->set->type != ICAP_SERVICE_INSPECT)
        return;
    s->metrics.rules = metrics_counter_of(&o, "sallyport_icap_rule_decisions_total", NULL, NULL,
                                          "Messages that a rule decided about.");
    s->metrics.exceptions = metrics_counter_of(&o, "sallyport_icap_exceptions_used_total", NULL,
                                               NULL, "Messages that passed by an exception.");
    s->metrics.bypassed = metrics_counter_of(&o, "sallyport_icap_bypassed_total", NULL, NULL,
                                             "Messages that passed uninspected by a bypass.");
    s->metrics.cached = metrics_counter_of(&o, "sallyport_icap_cached_verdicts_total", NULL, NULL,
                                           "Verdicts of an earlier or concurrent scan of the same "
                                           "file.");
    s->metrics.out_of_steps = metrics_counter_of(
        &o, "sallyport_icap_out_of_steps_total", NULL, NULL,
        "Messages about whose types or rules nothing was decided, because it was "
        "more work than limits.decision-steps allows.");
    s->metrics.scan_time = metrics_histogram_of(&o, "sallyport_scan_seconds",
                                                "From handing a file over to its verdict.",
                                                time_bounds_us, ARRAY_LEN(time_bounds_us));
}

static enum err services_compile(struct icap_snapshot *s, const struct icap_snapshot_source *src,
                                 struct buf *why)
{
    for (size_t i = 0; i < s->n_services; i++) {
        struct icap_service *v = &s->services[i];

        v->set = &src->services[i];
        v->engines = service_engines(v->set);
        TRY(rules_new(v->set->rules, v->set->n_rules, src->urls, &v->rules, why));
        TRY(service_istag(v, src));
        service_metrics(src->metrics, v);
    }
    return OK;
}

static _Atomic uint64_t serials = 1;

static void snapshot_free(struct icap_snapshot *s)
{
    for (size_t i = 0; s->services && i < s->n_services; i++)
        rules_free(s->services[i].rules);
    exceptions_unref(s->exceptions);
    tenants_unref(s->tenants);
    free(s->services);
    free(s);
}

enum err icap_snapshot_new(const struct icap_snapshot_source *src, struct icap_snapshot **ret,
                           struct buf *why)
{
    struct icap_snapshot *s = calloc(1, sizeof *s);
    enum err e = ERR_NOMEM;

    if (!s)
        return ERR_NOMEM;
    atomic_init(&s->refs, 1);
    s->limits = src->limits;
    s->urls = src->urls;
    s->unpack = src->unpack;
    s->decision_steps = src->decision_steps;
    s->exceptions = exceptions_ref(src->exceptions);
    s->tenants = src->tenants ? tenants_ref(src->tenants) : NULL;
    s->serial = atomic_fetch_add_explicit(&serials, 1, memory_order_relaxed);
    s->n_services = src->n_services;
    s->services = calloc(src->n_services ? src->n_services : 1, sizeof *s->services);
    if (s->services)
        e = services_compile(s, src, why);
    if (e) {
        snapshot_free(s);
        return e;
    }
    if (gethostname(s->host, sizeof s->host - 1) != 0 || !span_is_token(span_of(s->host)))
        (void)snprintf(s->host, sizeof s->host, "sallyport");
    (void)snprintf(s->server, sizeof s->server, "sallyport/" SALLYPORT_VERSION);
    s->release = src->release;
    s->owner = src->owner;
    *ret = s;
    return OK;
}

struct icap_snapshot *icap_snapshot_ref(struct icap_snapshot *s)
{
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

void icap_snapshot_unref(struct icap_snapshot *s)
{
    if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
        return;
    void (*release)(void *) = s->release;
    void *owner = s->owner;

    snapshot_free(s); /* rules point into what the owner has */
    if (release)
        release(owner);
}

static bool service_has_path(const struct icap_service_settings *set, struct span path)
{
    if (span_eq(path, span_of(set->path)))
        return true;
    for (size_t i = 0; i < set->aliases.n; i++)
        if (span_eq(path, span_of(set->aliases.v[i])))
            return true;
    return false;
}

static bool service_is_for(const struct icap_service_settings *set, const struct tenant *tenant)
{
    for (size_t i = 0; tenant && i < set->tenants.n; i++)
        if (strcmp(set->tenants.v[i], tenant->name) == 0)
            return true;
    return false;
}

const struct icap_service *icap_snapshot_find(const struct icap_snapshot *s, struct span path,
                                              const struct tenant *tenant)
{
    const struct icap_service *everybodys = NULL;

    for (size_t i = 0; i < s->n_services; i++) {
        const struct icap_service *v = &s->services[i];

        if (!service_has_path(v->set, path))
            continue;
        if (service_is_for(v->set, tenant))
            return v;
        if (v->set->tenants.n == 0)
            everybodys = v;
    }
    return everybodys;
}

const struct icap_service *icap_snapshot_find_any(const struct icap_snapshot *s, struct span path)
{
    for (size_t i = 0; i < s->n_services; i++)
        if (service_has_path(s->services[i].set, path))
            return &s->services[i];
    return NULL;
}

static void add_key(struct buf *text, const struct tenant *tenant)
{
    buf_text(text, "tenant ");
    buf_add(text, (struct span){(const char *)tenant->key, sizeof tenant->key});
}

enum err icap_service_for_tenant(const struct icap_snapshot *s, const struct icap_service *service,
                                 const struct tenant *tenant, char ret_istag[ICAP_ISTAG_LEN + 1],
                                 char ret_scope[ICAP_ISTAG_LEN + 1])
{
    struct buf text;
    enum err e;

    buf_init(&text, 0);
    buf_text(&text, service->scope);
    add_key(&text, tenant);
    e = digest_text(&text, ret_scope);
    buf_reset(&text);
    buf_text(&text, service->istag);
    add_key(&text, tenant);
    add_exceptions(service, s->exceptions, tenant->name, &text);
    if (e == OK)
        e = digest_text(&text, ret_istag);
    buf_done(&text);
    return e;
}
