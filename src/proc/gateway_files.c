/* SPDX-License-Identifier: Apache-2.0 */
/* What the gateway knows of the policy, the lists and the CAs of printers on the disk: whether they
 * are those in use, from the supervisor, which is the one that looks at them. */
#include "base/json.h"
#include "proc/gateway_int.h"

static double gauge_failed(void *arg)
{
    const struct gateway_files *f = arg;

    return f->why[0] != '\0';
}

void gateway_files_metrics(struct gateway_core *g)
{
    struct buf labels;

    buf_init(&labels, 0);
    for (unsigned i = 0; i < FILES_KINDS; i++) {
        buf_reset(&labels);
        metrics_label(&labels, "files", span_of(files_kind_name((enum files_kind)i)));
        (void)metrics_gauge(g->metrics, "sallyport_files_reload_failed", buf_cstr(&labels),
                            "1 while the files on the disk are not those in use.", gauge_failed,
                            &g->files[i]);
    }
    buf_done(&labels);
}

void gateway_files_hear(struct gateway_core *g, unsigned kind, struct span why)
{
    if (kind < FILES_KINDS)
        (void)span_copy(why, g->files[kind].why, sizeof g->files[kind].why);
}

void gateway_files_json(const struct gateway_core *g, struct json *j)
{
    json_open(j, "files", '[');
    for (unsigned i = 0; i < FILES_KINDS; i++) {
        const char *why = g->files[i].why;

        json_open(j, NULL, '{');
        json_text(j, "name", files_kind_name((enum files_kind)i));
        json_bool(j, "refused", why[0] != '\0');
        json_text(j, "why", why[0] ? why : NULL);
        json_close(j, '}');
    }
    json_close(j, ']');
}
