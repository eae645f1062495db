/* SPDX-License-Identifier: Apache-2.0 */
/* What the gateway tells of its printers: the control socket's status. */
#include "base/json.h"
#include "proc/gateway_int.h"

void gateway_print_require_json(const struct ipp_printer_settings *set, struct json *j)
{
    json_open(j, "require", '[');
    if (set->require & 1u << IPP_REQUIRE_TLS)
        json_text(j, NULL, "tls");
    if (set->require & 1u << IPP_REQUIRE_DIGEST)
        json_text(j, NULL, "digest");
    if (set->require & 1u << IPP_REQUIRE_CERTIFICATE)
        json_text(j, NULL, "certificate");
    json_close(j, ']');
}

/* 0: never. */
static void time_json(struct json *j, const char *key, uint64_t wall_ms)
{
    char when[ISO_TIME_LEN + 1];

    clock_iso_time(wall_ms, when);
    json_text(j, key, wall_ms ? when : NULL);
}

/* What came of the last request to it. */
static void backend_json(struct json *j, const struct ipp_printer *p)
{
    struct ipp_backend_report r;

    ipp_backend_known_read(p->known, &r);
    json_text(j, "backend", p->set->backend);
    if (r.answered_wall_ms || r.failed_wall_ms)
        json_bool(j, "answers", r.answers);
    else
        json_put_null(j, SPAN("answers"));
    time_json(j, "answered", r.answered_wall_ms);
    time_json(j, "failed", r.failed_wall_ms);
}

static void counts_json(struct json *j, const struct metrics *m, const struct ipp_printer *p)
{
    json_u64(j, "requests", metrics_value(m, p->metrics.requests));
    json_u64(j, "refused", metrics_value(m, p->metrics.refused));
    json_u64(j, "errors", metrics_value(m, p->metrics.errors));
    json_u64(j, "jobs", metrics_value(m, p->metrics.jobs));
    json_u64(j, "documents", metrics_value(m, p->metrics.documents));
    json_u64(j, "bytes", metrics_value(m, p->metrics.bytes));
    json_open(j, "actions", '{');
    for (unsigned a = 0; a < ACTIONS; a++)
        json_u64(j, action_name((enum action)a), metrics_value(m, p->metrics.actions[a]));
    json_close(j, '}');
}

void gateway_print_json(const struct gateway_core *g, struct json *j)
{
    const struct ipp_snapshot *s = g->print.snapshot;

    json_open(j, "printers", '[');
    for (size_t i = 0; i < s->n_printers; i++) {
        const struct ipp_printer *p = &s->printers[i];

        json_open(j, NULL, '{');
        json_text(j, "name", p->set->name);
        json_text(j, "path", p->set->path);
        gateway_print_require_json(p->set, j);
        gateway_engines_json(p->engines, j);
        backend_json(j, p);
        counts_json(j, g->metrics, p);
        json_close(j, '}');
    }
    json_close(j, ']');
}
