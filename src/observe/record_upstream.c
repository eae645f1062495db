/* SPDX-License-Identifier: Apache-2.0 */
#include "observe/record_upstream.h"

#include <stdlib.h>

#include "observe/record_int.h"

#define TEXT_MAX 4096u

struct record_upstream {
    unsigned refs;
    const sallyport_report *of; /* never read: which one it was made of */
    size_t n;
    char text[];
};

static void put(struct json *j, const struct record_upstream_facts *f)
{
    json_open(j, NULL, '{');
    json_text(j, "to", f->name.to);
    json_text(j, "address", f->name.address);
    if (f->report)
        record_put_protection(j, f->report, f->why);
    else if (f->why)
        record_put_why(j, f->why);
    if (f->err) {
        json_text(j, "error", err_code(f->err));
        json_text(j, "error_text", f->error_text);
    }
    json_close(j, '}');
}

struct record_upstream *record_upstream_new(const struct record_upstream_facts *f)
{
    struct record_upstream *u = NULL;
    struct buf text;

    buf_init(&text, TEXT_MAX);
    struct json j = json_to(&text);

    put(&j, f);
    if (text.err == OK)
        u = malloc(sizeof *u + text.n);
    if (u) {
        *u = (struct record_upstream){.refs = 1, .of = f->report, .n = text.n};
        memcpy(u->text, text.p, text.n);
    }
    buf_done(&text);
    return u;
}

struct record_upstream *record_upstream_ref(struct record_upstream *u)
{
    if (u)
        u->refs++;
    return u;
}

void record_upstream_unref(struct record_upstream *u)
{
    if (u && --u->refs == 0)
        free(u);
}

struct span record_upstream_text(const struct record_upstream *u)
{
    return (struct span){u->text, u->n};
}

/* ---- of connections ---- */

static void drop_note(void *note)
{
    record_upstream_unref(note);
}

/* A stream that begins TLS, or hears an alert, has another report from then on, while the first one
 * lives or was the one that all in clear text share: so its address tells them apart. */
struct record_upstream *record_upstream_of(struct stream *s,
                                           const struct record_upstream_name *name,
                                           const sallyport_why *why)
{
    const struct record_upstream_facts f = {.name = *name, .report = stream_report(s), .why = why};
    struct record_upstream *u = upstream_note(s);

    if (u && u->of == f.report && !why)
        return u;
    u = record_upstream_new(&f);
    upstream_set_note(s, u, drop_note);
    return u;
}

struct record_upstream *record_upstream_refused(const struct upstream *pool,
                                                const struct record_upstream_name *name,
                                                enum err err, const char *error_text)
{
    const struct upstream_refusal *r = upstream_refused(pool);
    const struct record_upstream_facts f = {
        .name = *name,
        .report = r ? r->report : NULL,
        .why = r && r->by_policy ? &r->why : NULL,
        .err = err,
        .error_text = error_text,
    };

    return err == ERR_NOMEM || err == ERR_DRAINING ? NULL : record_upstream_new(&f);
}

/* ---- of one record ---- */

void record_upstreams_add(struct record_upstreams *list, struct record_upstream *u)
{
    if (!u)
        return;
    for (unsigned i = 0; i < list->n; i++)
        if (list->v[i] == u || span_eq(record_upstream_text(list->v[i]), record_upstream_text(u)))
            return;
    if (list->n < RECORD_UPSTREAMS_MAX)
        list->v[list->n++] = record_upstream_ref(u);
}

void record_upstreams_done(struct record_upstreams *list)
{
    while (list->n > 0)
        record_upstream_unref(list->v[--list->n]);
}
