/* SPDX-License-Identifier: Apache-2.0 */
#include "icap/icap_snapshot.h"

#include <openssl/evp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const uint64_t time_bounds_us[] = {1000,    2500,     5000,    10000,  25000,
                                          50000,   100000,   250000,  500000, 1000000,
                                          2500000, 10000000, 60000000};

/* Digest of everything that could change an answer for the same input (RFC 3507 4.7): the service's
 * whole effective configuration and, where it runs engines, their versions. Equal on every node and
 * after every restart. */
static enum err service_istag(struct icap_service *s, const char *engines)
{
    static const char hex[] = "0123456789abcdef";
    unsigned char sum[EVP_MAX_MD_SIZE];
    struct buf text;
    int ok;

    buf_init(&text, 0);
    buf_text(&text, "sallyport " SALLYPORT_VERSION "\n");
    config_print(&icap_service_block, s->set, CONFIG_PRINT_SECRETS, &text);
    if (s->set->type == ICAP_SERVICE_INSPECT)
        buf_text(&text, engines);
    ok = !text.err && EVP_Digest(text.p, text.n, sum, NULL, EVP_sha256(), NULL) == 1;
    buf_done(&text);
    if (!ok)
        return ERR_NOMEM;
    for (unsigned i = 0; i < ICAP_ISTAG_LEN / 2; i++) {
        s->istag[2 * i] = hex[sum[i] >> 4];
        s->istag[2 * i + 1] = hex[sum[i] & 15];
    }
    return OK;
}

static metric_id service_counter(struct metrics *m, const struct icap_service *s, const char *name,
                                 const char *label, const char *value, const char *help)
{
    struct buf labels;
    metric_id id;

    buf_init(&labels, 0);
    metrics_label(&labels, "service", span_of(s->set->name));
    if (label)
        metrics_label(&labels, label, span_of(value));
    id = metrics_counter(m, name, buf_cstr(&labels), help);
    buf_done(&labels);
    return id;
}

static metric_id service_histogram(struct metrics *m, const struct icap_service *s,
                                   const char *name, const char *help)
{
    struct buf labels;
    metric_id id;

    buf_init(&labels, 0);
    metrics_label(&labels, "service", span_of(s->set->name));
    id = metrics_histogram(m, name, buf_cstr(&labels), help, time_bounds_us,
                           ARRAY_LEN(time_bounds_us));
    buf_done(&labels);
    return id;
}

static void service_metrics(struct metrics *m, struct icap_service *s)
{
    for (unsigned i = 0; i < ICAP_METHODS; i++)
        s->metrics.requests[i] =
            service_counter(m, s, "sallyport_icap_requests_total", "method",
                            icap_method_name((enum icap_method)i), "ICAP requests.");
    for (unsigned i = 0; i < ACTIONS; i++)
        s->metrics.actions[i] =
            service_counter(m, s, "sallyport_icap_actions_total", "action",
                            action_name((enum action)i), "What was done with messages.");
    for (unsigned i = CAUSE_NONE + 1; i < CAUSES; i++)
        s->metrics.causes[i] =
            service_counter(m, s, "sallyport_icap_causes_total", "cause", cause_name((enum cause)i),
                            "Messages that were not simply passed, by cause.");
    s->metrics.bytes_in = service_counter(m, s, "sallyport_icap_received_bytes_total", NULL, NULL,
                                          "Bytes of ICAP requests.");
    s->metrics.bytes_out = service_counter(m, s, "sallyport_icap_sent_bytes_total", NULL, NULL,
                                           "Bytes of ICAP answers.");
    s->metrics.total_time =
        service_histogram(m, s, "sallyport_icap_transaction_seconds",
                          "From the first byte of a request to the end of its answer.");
    if (s->set->type == ICAP_SERVICE_INSPECT)
        s->metrics.scan_time = service_histogram(m, s, "sallyport_scan_seconds",
                                                 "From handing a file over to its verdict.");
}

static enum err services_compile(struct icap_snapshot *s, const struct icap_snapshot_source *src)
{
    for (size_t i = 0; i < s->n_services; i++) {
        s->services[i].set = &src->services[i];
        TRY(service_istag(&s->services[i], src->engines));
        service_metrics(src->metrics, &s->services[i]);
    }
    return OK;
}

enum err icap_snapshot_new(const struct icap_snapshot_source *src, struct icap_snapshot **ret)
{
    struct icap_snapshot *s = calloc(1, sizeof *s);

    if (!s)
        return ERR_NOMEM;
    atomic_init(&s->refs, 1);
    s->limits = src->limits;
    s->n_services = src->n_services;
    s->services = calloc(src->n_services ? src->n_services : 1, sizeof *s->services);
    if (!s->services || services_compile(s, src) != OK) {
        free(s->services);
        free(s);
        return ERR_NOMEM;
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
    if (s->release)
        s->release(s->owner);
    free(s->services);
    free(s);
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

const struct icap_service *icap_snapshot_find(const struct icap_snapshot *s, struct span path)
{
    for (size_t i = 0; i < s->n_services; i++)
        if (service_has_path(s->services[i].set, path))
            return &s->services[i];
    return NULL;
}
